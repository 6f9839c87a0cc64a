//! Certificates, keys and authorities: from the files that were named to what a handshake takes.
//!
//! Invariant: whatever a handshake could stumble over is found here, named by its file; nothing of a key is.

use super::{At, Compiler};
use crate::config::file::{Channel as WrittenChannel, TlsListener as Written, present};
use crate::config::problem::shown;
use crate::config::snapshot::{ChannelTls, TlsFiles, TlsListener};
use crate::tls::identity::{Fault, Validity};
use crate::tls::{ClientTls, Identity, Roots, ServerTls};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Two settings that name a certificate's file and its key's, with their places.
type Pair<'a> = ((At, &'a str), (At, &'a str));

impl Compiler<'_, '_> {
    /// `[[server.tls]]`; `plain` are the addresses without.
    pub(super) fn tls_listeners(
        &mut self,
        at: &At,
        written: &[Option<Written>],
        plain: &[SocketAddr],
    ) -> Vec<TlsListener> {
        let mut taken = plain.to_vec();
        let mut listeners = Vec::new();
        for (index, written) in present(written) {
            let at = at.item(index);
            let address = self.free_address(&at.key("listen"), &written.listen, &taken);
            taken.extend(address);
            let compiled = self.tls_listener(&at, written);
            if let (Some(listen), Some((tls, certificates))) = (address, compiled) {
                let client_ca = written.client_ca.as_ref().map(|path| self.beside(&at, path));
                listeners.push(TlsListener { listen, tls: Arc::new(tls), certificates, client_ca });
            }
        }
        listeners
    }

    fn tls_listener(&mut self, at: &At, written: &Written) -> Option<(ServerTls, Vec<TlsFiles>)> {
        let mut pairs = vec![pair(at, &written.cert, &written.key)];
        pairs.extend(
            present(&written.certs)
                .map(|(index, further)| pair(&at.key("certs").item(index), &further.cert, &further.key)),
        );
        if pairs.len() > CERTIFICATES_MAX {
            let what = format!("has {} certificates; at most {CERTIFICATES_MAX} are possible", pairs.len());
            self.problem(&at.key("certs"), what, None);
            return None;
        }
        // All of them before giving up on any, so that every problem is told at once.
        let read: Vec<_> = pairs.into_iter().map(|pair| self.identity(&pair, true)).collect();
        let clients = written.client_ca.as_ref().map(|path| self.roots(&at.key("client_ca"), path, true));
        let (identities, files): (Vec<_>, Vec<_>) =
            read.into_iter().collect::<Option<Vec<_>>>()?.into_iter().unzip();
        let clients = match clients {
            Some(roots) => Some(roots?),
            None => None,
        };
        let tls = ServerTls::new(identities, clients.as_deref());
        let tls = tls.map_err(|error| format!("cannot be used: {error}"));
        Some((self.checked(at, tls)?, files))
    }

    /// `ca`, `client_cert` and `client_key` of a channel; what one that is switched off lacks does not matter yet.
    pub(super) fn channel_tls(&mut self, at: &At, written: &WrittenChannel, has_tls: bool) -> ChannelTls {
        let enabled = written.enabled.unwrap_or(true);
        let settings =
            [("ca", &written.ca), ("client_cert", &written.client_cert), ("client_key", &written.client_key)];
        for (name, _) in settings.iter().filter(|(_, written)| written.is_some() && !has_tls) {
            self.problem(&at.key(name), "has no effect, since `base_url` is without TLS", None);
        }
        let roots = written.ca.as_ref().and_then(|path| self.roots(&at.key("ca"), path, enabled));
        let client = match (&written.client_cert, &written.client_key) {
            (Some(cert), Some(key)) => {
                let pair = ((at.key("client_cert"), cert.as_str()), (at.key("client_key"), key.as_str()));
                self.identity(&pair, enabled)
            }
            (Some(_), None) => {
                self.problem(&at.key("client_cert"), "needs a `client_key`", None);
                None
            }
            (None, Some(_)) => {
                self.problem(&at.key("client_key"), "needs a `client_cert`", None);
                None
            }
            (None, None) => None,
        };
        let (identity, client) = client.unzip();
        ChannelTls {
            tls: Arc::new(ClientTls::new(roots, identity)),
            ca: written.ca.as_ref().map(|path| self.beside(at, path)),
            client,
        }
    }

    fn identity(&mut self, pair: &Pair<'_>, must_be_there: bool) -> Option<(Arc<Identity>, TlsFiles)> {
        let ((at_cert, cert), (at_key, key)) = pair;
        let chain = self.tls_file(at_cert, cert, must_be_there);
        let private = self.tls_file(at_key, key, must_be_there);
        match Identity::from_pem(&chain?, &private?) {
            Ok(identity) => {
                self.warn_of_time(at_cert, cert, identity.validity());
                let files =
                    TlsFiles { certificate: self.beside(at_cert, cert), key: self.beside(at_key, key) };
                Some((Arc::new(identity), files))
            }
            Err(fault) => {
                let (at, path, what) = match fault {
                    Fault::Certificate(what) => (at_cert, cert, what),
                    Fault::Key(what) => (at_key, key, what),
                };
                self.problem(at, format!("file {} {what}", shown(path)), None);
                None
            }
        }
    }

    /// The authorities of a file that must be there.
    pub(super) fn trusted(&mut self, at: &At, path: &str) -> Option<Arc<Roots>> {
        self.roots(at, path, true)
    }

    fn roots(&mut self, at: &At, path: &str, must_be_there: bool) -> Option<Arc<Roots>> {
        let bundle = self.tls_file(at, path, must_be_there)?;
        let roots = Roots::from_pem(&bundle).map_err(|what| format!("file {} {what}", shown(path)));
        self.checked(at, roots).map(Arc::new)
    }

    fn tls_file(&mut self, at: &At, path: &str, must_be_there: bool) -> Option<Vec<u8>> {
        if path.trim().is_empty() || path.contains("-----BEGIN") {
            // A key itself written where its file belongs must not be repeated in a message.
            self.problem(at, "must be the path of a file", None);
            return None;
        }
        match self.reads.file(&self.beside(at, path)) {
            Ok(bytes) => Some(bytes),
            Err(error) if must_be_there => {
                self.problem(at, format!("file {} cannot be read: {error}", shown(path)), None);
                None
            }
            Err(_) => None,
        }
    }

    /// A path relative to the file that names it.
    fn beside(&self, at: &At, path: &str) -> PathBuf {
        self.sheets[at.file].path.parent().unwrap_or(Path::new("")).join(path)
    }

    /// A warning and no more: yesterday's certificate must not keep today's other changes out.
    fn warn_of_time(&mut self, at: &At, path: &str, validity: Validity) {
        let now = self.reads.source.unix_seconds();
        let shown_time = |seconds: u64| {
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            humantime::format_rfc3339_seconds(time).to_string()
        };
        if validity.until < now {
            let until = shown_time(validity.until);
            self.warning(at, format!("the certificate in {} expired at {until}", shown(path)), None);
        } else if validity.from > now {
            let from = shown_time(validity.from);
            self.warning(at, format!("the certificate in {} is not valid before {from}", shown(path)), None);
        }
    }
}

fn pair<'a>(at: &At, cert: &'a str, key: &'a str) -> Pair<'a> {
    ((at.key("cert"), cert), (at.key("key"), key))
}

/// Each is held in memory and looked at on every reload.
const CERTIFICATES_MAX: usize = 1000;

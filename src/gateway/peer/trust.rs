//! TLS towards providers.
//!
//! Pingora's connector makes a channel's own settings anew for every connection, and with them an empty memory of
//! sessions; this keeps one value per distinct settings, over reloads too, so that sessions are resumed.
//! Invariant: a server's certificate is verified against its name, always: nothing here can turn that off, and
//! an endpoint without a name (which Pingora would take for a wish not to verify) is not connected to.

use super::egress;
use crate::config::snapshot::Channel;
use crate::gateway::guard::Plain;
use crate::tls::{ClientTls, Digest};
use dashmap::{DashMap, DashSet};
use pingora::protocols::tls::{CaType, client};
use pingora::protocols::{ALPN, SocketDigest, Stream};
use pingora::tls::{ClientConfig, RootCertStore, TlsConnector, load_native_certs};
use pingora::upstreams::peer::{HttpPeer, Peer as _};
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use pingora::{BError, Error, ErrorType};
use std::os::fd::AsRawFd as _;
use std::sync::{Arc, OnceLock};
use tokio::net::TcpSocket;

/// Whom we trust, and what we remember of those we spoke to.
pub(super) struct Trust {
    /// Read where they are first needed: a configuration may do without them.
    system: OnceLock<Arc<RootCertStore>>,
    settings: DashMap<Digest, Arc<Settings>>,
    /// Servers that want HTTP/1.1 although they agreed on HTTP/2, by what tells connections apart.
    http1_only: DashSet<u64>,
}

/// One channel's settings, ready for use.
struct Settings {
    config: Arc<ClientConfig>,
    /// The same for Pingora's own pipeline.
    ca: Option<Arc<CaType>>,
    own: Option<Arc<CertKey>>,
}

impl Trust {
    pub(super) fn new() -> Self {
        Self { system: OnceLock::new(), settings: DashMap::new(), http1_only: DashSet::new() }
    }

    /// A fresh connection, through the channel's proxy where it has one, secured where the peer is.
    pub(super) async fn dial(
        &self,
        peer: &HttpPeer,
        (tls, channel): (&ClientTls, &Channel),
    ) -> Result<Stream, BError> {
        let connecting = async {
            let tcp = connect(peer, channel).await?;
            if peer.is_tls() { self.secure(tcp, peer, tls).await } else { Ok(Box::new(tcp) as Stream) }
        };
        match peer.total_connection_timeout() {
            Some(time) => tokio::time::timeout(time, connecting)
                .await
                .unwrap_or_else(|_| Error::e_explain(ErrorType::ConnectTimedout, "connecting took too long")),
            None => connecting.await,
        }
    }

    async fn secure(&self, tcp: Plain, peer: &HttpPeer, tls: &ClientTls) -> Result<Stream, BError> {
        if peer.sni.is_empty() {
            return Error::e_explain(ErrorType::InvalidCert, "the endpoint has no name to verify");
        }
        // What is shared by all copies is the memory of sessions.
        let mut config = ClientConfig::clone(&self.settings(tls)?.config);
        let only_http1 = self.http1_only.contains(&peer.reuse_hash());
        config.alpn_protocols = match peer.options.alpn {
            ALPN::H2 => vec![HTTP2.to_vec()],
            ALPN::H2H1 if !only_http1 => vec![HTTP2.to_vec(), HTTP1.to_vec()],
            _ => vec![HTTP1.to_vec()],
        };
        let secured = client::handshake(&TlsConnector::from(Arc::new(config)), &peer.sni, tcp).await;
        match secured {
            Ok(secured) => Ok(Box::new(secured)),
            Err(error) => Error::e_explain(ErrorType::TLSHandshakeFailure, in_short(&error)),
        }
    }

    /// Gives a peer for Pingora's own pipeline the same trust.
    pub(super) fn equip(&self, peer: &mut HttpPeer, tls: &ClientTls) -> Result<(), BError> {
        if peer.is_tls() {
            let settings = self.settings(tls)?;
            peer.options.ca.clone_from(&settings.ca);
            peer.client_cert_key.clone_from(&settings.own);
        }
        Ok(())
    }

    /// The server wants HTTP/1.1 from now on.
    pub(super) fn prefer_http1(&self, peer: &HttpPeer) {
        if self.http1_only.len() >= HTTP1_ONLY_MAX {
            self.http1_only.clear();
        }
        self.http1_only.insert(peer.reuse_hash());
    }

    fn settings(&self, tls: &ClientTls) -> Result<Arc<Settings>, BError> {
        if let Some(known) = self.settings.get(tls.digest()) {
            return Ok(Arc::clone(&known));
        }
        let fresh = Arc::new(Settings::of(tls, self.system.get_or_init(system_roots))?);
        // Renewed certificates leave their predecessors here; to forget all of them costs a few full handshakes.
        if self.settings.len() >= SETTINGS_MAX {
            self.settings.clear();
        }
        // Whoever came first at the same time has it; all others use the same.
        Ok(Arc::clone(&self.settings.entry(*tls.digest()).or_insert(fresh)))
    }
}

impl Settings {
    fn of(tls: &ClientTls, system: &Arc<RootCertStore>) -> Result<Self, BError> {
        let config = tls.config(system);
        let config = config.map_err(|error| Error::because(ErrorType::InvalidCert, "TLS settings", error))?;
        let ca = tls.roots().map(|roots| {
            let wrap = |certificate: &rustls::pki_types::CertificateDer<'_>| {
                WrappedX509::new(certificate.to_vec(), parse_x509)
            };
            roots.certificates().iter().map(wrap).collect()
        });
        let own = tls.identity().map(|own| {
            let chain = own.chain().iter().map(|certificate| certificate.to_vec()).collect();
            Arc::new(CertKey::new(chain, own.expose_key().to_vec()))
        });
        Ok(Self { config: Arc::new(config), ca, own })
    }
}

/// A connection of our own: Pingora's keeps 64 KiB for reading ahead, where what is read here is copied out at once.
async fn connect(peer: &HttpPeer, channel: &Channel) -> Result<Plain, BError> {
    let failed = |error: std::io::Error| {
        let kind = match error.kind() {
            std::io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
            std::io::ErrorKind::TimedOut => ErrorType::ConnectTimedout,
            _ => ErrorType::ConnectError,
        };
        Error::because(kind, "connecting", error)
    };
    let address = *peer.address().as_inet().ok_or_else(|| Error::new(ErrorType::InternalError))?;
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(failed)?;
    // Larger is only room for what a slow client does not take.
    drop(socket.set_recv_buffer_size(KERNEL_READS_MAX));
    let tcp = socket.connect(address).await.map_err(failed)?;
    drop(tcp.set_nodelay(true));
    let tcp = egress::through(tcp, channel).await?;
    let digest = SocketDigest::from_raw_fd(tcp.as_raw_fd());
    drop(digest.peer_addr.set(Some(address.into())));
    Ok(Plain::new(tcp, digest))
}

/// The window of a connection, as that of a stream over HTTP/2.
const KERNEL_READS_MAX: u32 = 256 * 1024;

/// What the library said, out of what was wrapped around it: `invalid peer certificate: UnknownIssuer`.
fn in_short(error: &BError) -> String {
    let text = error.to_string();
    let said = text.rsplit_once("cause: ").map_or(&*text, |(_, said)| said);
    let said = said.rsplit_once(", SNI: ").map_or(said, |(said, _)| said);
    said.trim().to_owned()
}

/// Whom the machine trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` count). A certificate that cannot be read is left
/// out: nothing that it vouches for can be verified then, and everything else can.
fn system_roots() -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match load_native_certs() {
        Ok(found) => {
            roots.add_parsable_certificates(found);
        }
        Err(error) => tracing::error!(%error, "the system's trusted certificates cannot be read"),
    }
    if roots.is_empty() {
        tracing::error!("the system trusts nobody, so no https channel without `ca` can be reached");
    }
    Arc::new(roots)
}

const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";
/// Distinct settings of channels; there are few.
const SETTINGS_MAX: usize = 1024;
/// As many as connections are kept.
const HTTP1_ONLY_MAX: usize = 1024;

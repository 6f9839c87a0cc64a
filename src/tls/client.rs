//! What we show and whom we trust where we call.

use super::{Digest, Identity, Roots, digest, provider};
use rustls::client::{ClientConfig, Resumption};
use rustls::sign::SingleCertAndKey;
use rustls::{Error, RootCertStore};
use std::sync::Arc;

/// How one channel's connections are secured, beyond that the server's certificate must be good for its name.
#[derive(Debug)]
pub struct ClientTls {
    roots: Option<Arc<Roots>>,
    identity: Option<Arc<Identity>>,
    digest: Digest,
}

impl ClientTls {
    /// `roots` are trusted instead of the system's; `identity` is shown where the server asks.
    pub fn new(roots: Option<Arc<Roots>>, identity: Option<Arc<Identity>>) -> Self {
        let parts = [roots.as_ref().map(|roots| roots.digest()), identity.as_ref().map(|own| own.digest())];
        let digest = digest(parts.iter().map(|part| part.map_or(&[][..], |digest| &digest[..])));
        Self { roots, identity, digest }
    }

    /// Those who are trusted; `None`: whom the system trusts.
    pub fn roots(&self) -> Option<&Arc<Roots>> {
        self.roots.as_ref()
    }

    /// What is shown where the server asks.
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.as_ref()
    }

    /// What connections must have in common to be shared.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The settings of a handshake. Those who share one resume each other's sessions.
    pub fn config(&self, system: &Arc<RootCertStore>) -> Result<ClientConfig, Error> {
        let roots = self.roots.as_ref().map_or(system, |roots| roots.store());
        let builder = ClientConfig::builder_with_provider(provider());
        let builder = builder
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_root_certificates(Arc::clone(roots));
        let mut config = match &self.identity {
            Some(own) => builder
                .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&own.certified)))),
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        Ok(config)
    }
}

impl Default for ClientTls {
    fn default() -> Self {
        Self::new(None, None)
    }
}

/// Servers whose sessions are kept; one channel has one name.
const SESSIONS_MAX: usize = 256;

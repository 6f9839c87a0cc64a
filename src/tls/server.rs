//! What we show and whom we trust where we are called.
//!
//! The certificate is chosen by the name the client asks for: an exact name before `*.`, the order written
//! among equals, as far as the client can verify the key; the first certificate for a client that names nobody
//! or somebody else, as nginx does.
//! Invariant: a session is only resumed under the settings it began with. Each value has ticket keys of its own
//! (rotated every six hours), so what one listener accepted, or what was accepted before the authorities
//! changed, opens nothing elsewhere.

use super::{Digest, Identity, Roots, digest, provider};
use rustls::Error;
use rustls::crypto::ring::Ticketer;
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::sync::Arc;

/// How the connections of one listener are secured.
#[derive(Debug)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    identities: Vec<Arc<Identity>>,
    digest: Digest,
}

impl ServerTls {
    /// `identities` has at least one; with `clients`, only those whom these authorities vouch for get in.
    pub fn new(identities: Vec<Arc<Identity>>, clients: Option<&Roots>) -> Result<Self, Error> {
        let builder = ServerConfig::builder_with_provider(provider());
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
        let builder = match clients {
            Some(roots) => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::clone(roots.store()), provider());
                let verifier = verifier.build().map_err(|error| Error::General(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(ByName::of(&identities)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = Ticketer::new()?;
        let own = identities.iter().map(|identity| &identity.digest()[..]);
        let digest = digest(own.chain([clients.map_or(&[][..], |roots| &roots.digest()[..])]));
        Ok(Self { config: Arc::new(config), identities, digest })
    }

    /// The settings of a handshake.
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// The certificates, the first one first.
    pub fn identities(&self) -> &[Arc<Identity>] {
        &self.identities
    }

    /// What tells it from other settings.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

impl PartialEq for ServerTls {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for ServerTls {}

/// The certificates by the names they are for, `*.` included.
#[derive(Debug)]
struct ByName {
    all: Vec<Arc<CertifiedKey>>,
    places: HashMap<String, Vec<usize>>,
}

impl ByName {
    fn of(identities: &[Arc<Identity>]) -> Self {
        let mut places: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, identity) in identities.iter().enumerate() {
            for name in identity.names() {
                places.entry(name.clone()).or_default().push(place);
            }
        }
        let all = identities.iter().map(|identity| Arc::clone(&identity.certified)).collect();
        Self { all, places }
    }

    /// Where the certificates for this name are; empty: there is none.
    fn named(&self, name: &str) -> &[usize] {
        let name = name.to_ascii_lowercase();
        let wildcard = || self.places.get(&format!("*.{}", name.split_once('.')?.1));
        self.places.get(&name).or_else(wildcard).map_or(&[], Vec::as_slice)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fitting = self.named(hello.server_name().unwrap_or_default());
        let usable =
            |place: &&usize| self.all[**place].key.choose_scheme(hello.signature_schemes()).is_some();
        let chosen = fitting.iter().find(usable).or(fitting.first()).copied().unwrap_or(0);
        self.all.get(chosen).cloned()
    }
}

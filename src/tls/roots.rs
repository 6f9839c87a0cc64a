//! Whom one trusts: the certificates of authorities.

use super::{Digest, certificates, digest};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use std::sync::Arc;

/// A bundle of authorities, never empty.
#[derive(Debug)]
pub struct Roots {
    store: Arc<RootCertStore>,
    certificates: Vec<CertificateDer<'static>>,
    digest: Digest,
}

impl Roots {
    /// From a PEM bundle; every certificate in it must be usable.
    pub fn from_pem(bundle: &[u8]) -> Result<Self, String> {
        let certificates = certificates(bundle, BUNDLE_MAX)?;
        let mut store = RootCertStore::empty();
        for certificate in &certificates {
            let added = store.add(certificate.clone());
            added.map_err(|_| "holds a certificate that cannot be an authority's".to_owned())?;
        }
        let digest = digest(certificates.iter().map(|certificate| &**certificate));
        Ok(Self { store: Arc::new(store), certificates, digest })
    }

    /// As a handshake takes them.
    pub fn store(&self) -> &Arc<RootCertStore> {
        &self.store
    }

    /// As they were written.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// Of all of them.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

/// The authorities of the web are about 150.
const BUNDLE_MAX: usize = 2000;

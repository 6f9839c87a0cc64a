//! Certificates, keys and what a handshake may agree on: from PEM text to the settings of a handshake.
//!
//! Pure but for the random keys of session tickets: no file is opened here and no clock read. TLS 1.2 and 1.3
//! only, with the library's own choice of suites, all of them with forward secrecy and authenticated; no early
//! data, which could be replayed.
//! Invariants: a private key never reaches a message; a value that exists works, so that no handshake fails for
//! a reason that loading could have found; a peer is always verified, there is no switch for that.

pub mod client;
pub mod identity;
pub mod roots;
pub mod server;
pub mod word;

pub use self::client::ClientTls;
pub use self::identity::Identity;
pub use self::roots::Roots;
pub use self::server::ServerTls;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

/// What tells two settings apart: of certificates, keys and everything else that a handshake depends on.
pub type Digest = [u8; 32];

/// The one library for everything that is computed.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Every certificate of a PEM text; what else is in it is passed over, so that one file may hold the key too.
fn certificates(pem: &[u8], max: usize) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("is not valid PEM: {}", pem_fault(&error)))?;
        parsed(&certificate)?;
        found.push(certificate);
        if found.len() > max {
            return Err(format!("holds more than {max} certificates"));
        }
    }
    if found.is_empty() {
        return Err("holds no certificate (a PEM section `BEGIN CERTIFICATE`)".to_owned());
    }
    Ok(found)
}

/// A certificate taken apart. Whoever uses one later may rely on this having worked.
fn parsed<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, String> {
    match X509Certificate::from_der(certificate) {
        Ok(([], parsed)) => Ok(parsed),
        _ => Err("holds a certificate that cannot be read".to_owned()),
    }
}

/// The library's own words may repeat the line they stumbled over, which may be of a key.
fn pem_fault(error: &PemError) -> &'static str {
    match error {
        PemError::MissingSectionEnd { .. } => "a section has no end",
        PemError::IllegalSectionStart { .. } => "a section's first line is broken",
        PemError::Base64Decode(_) => "a section is not Base64",
        _ => "it cannot be read",
    }
}

/// Each part with its length, so that no two lists of parts run together.
fn digest<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Digest {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests;

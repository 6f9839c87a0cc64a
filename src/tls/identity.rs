//! Who one is in a handshake: a certificate with its chain, and the key that belongs to it.

use super::{Digest, certificates, digest, parsed, pem_fault, provider};
use rustls::Error;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

/// A certificate with its key, which were found to belong together.
#[derive(Debug)]
pub struct Identity {
    pub(super) certified: Arc<CertifiedKey>,
    key: PrivateKeyDer<'static>,
    names: Vec<String>,
    label: String,
    validity: Validity,
    digest: Digest,
}

/// From when to when a certificate is valid, in Unix seconds; before 1970 is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub from: u64,
    /// The last one.
    pub until: u64,
}

/// Which of the two texts is to blame, and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The certificates.
    Certificate(String),
    /// The key, or that it is not this certificate's.
    Key(String),
}

impl Identity {
    /// From the certificate with its chain, the leaf first, and the key: PKCS#8, PKCS#1 or SEC1.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, Fault> {
        let chain = certificates(chain, CHAIN_MAX).map_err(Fault::Certificate)?;
        let key = private_key(key).map_err(Fault::Key)?;
        let signing = provider().key_provider.load_private_key(key.clone_key());
        let signing =
            signing.map_err(|_| Fault::Key("holds a key of a kind that is not supported".into()))?;
        let certified = CertifiedKey::new(chain, signing);
        certified.keys_match().map_err(|error| mismatch(&error))?;
        let leaf = &certified.cert[0];
        let read = parsed(leaf).map_err(Fault::Certificate)?;
        let (names, label) = (dns_names(&read), label(&read));
        let validity = validity(&read);
        let parts = certified.cert.iter().map(|certificate| &**certificate);
        let digest = digest(parts.chain([key.secret_der()]));
        Ok(Self { certified: Arc::new(certified), key, names, label, validity, digest })
    }

    /// The DNS names it is for, in lower case; `*.` stands for one label.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// What it is called in logs and metrics: its first name.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// When it is valid.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// Of certificate, chain and key.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The certificate and its chain.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    /// The key's own bytes, for a library that takes nothing else. Every call is a place where it leaves custody.
    pub fn expose_key(&self) -> &[u8] {
        self.key.secret_der()
    }
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    let encrypted = ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"];
    if encrypted.iter().any(|mark| memchr::memmem::find(pem, mark.as_bytes()).is_some()) {
        return Err("holds a key that is encrypted, and nobody is there to type its passphrase".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| match &error {
        PemError::NoItemsFound => "holds no private key (a PEM section `BEGIN PRIVATE KEY`)".to_owned(),
        error => format!("is not valid PEM: {}", pem_fault(error)),
    })?;
    // A library that is given the bytes alone must recognize them too.
    match PrivateKeyDer::try_from(key.secret_der()) {
        Ok(_) => Ok(key),
        Err(_) => Err("holds a key of a kind that is not supported".to_owned()),
    }
}

fn mismatch(error: &Error) -> Fault {
    match error {
        Error::InconsistentKeys(_) => Fault::Key(
            "does not belong to the certificate, which must be the first one of its file".to_owned(),
        ),
        _ => Fault::Certificate("holds a certificate that cannot be used".to_owned()),
    }
}

fn alternative_names<'a>(certificate: &'a X509Certificate<'_>) -> &'a [GeneralName<'a>] {
    let extension = certificate.subject_alternative_name().ok().flatten();
    extension.map_or(&[], |extension| &extension.value.general_names)
}

fn dns_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = alternative_names(certificate).iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    names.take(NAMES_MAX).collect()
}

fn label(certificate: &X509Certificate<'_>) -> String {
    let alternative = alternative_names(certificate).iter().find_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    });
    let common = || certificate.subject().iter_common_name().find_map(|name| name.as_str().ok());
    let label = alternative.or_else(|| common().map(str::to_owned)).unwrap_or_default();
    if label.is_empty() { "unnamed".to_owned() } else { label.chars().take(LABEL_CHARS_MAX).collect() }
}

fn address(bytes: &[u8]) -> Option<String> {
    let four = <[u8; 4]>::try_from(bytes).map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes)));
    let address =
        four.or_else(|_| <[u8; 16]>::try_from(bytes).map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes))));
    address.ok().map(|address| address.to_string())
}

fn validity(certificate: &X509Certificate<'_>) -> Validity {
    let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
    let validity = certificate.validity();
    Validity {
        from: seconds(validity.not_before.timestamp()),
        until: seconds(validity.not_after.timestamp()),
    }
}

/// A leaf and what leads to a root; real chains have two to four.
const CHAIN_MAX: usize = 16;
/// Public authorities stop at 100 or 250.
const NAMES_MAX: usize = 1000;
/// A DNS name has at most 253.
const LABEL_CHARS_MAX: usize = 253;

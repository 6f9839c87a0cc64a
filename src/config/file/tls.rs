//! Listeners with TLS, as written.

use super::List;
use schemars::JsonSchema;
use serde::Deserialize;

/// An address for clients over TLS: HTTP/1.1 and HTTP/2, as the client prefers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct TlsListener {
    /// The address. Changing it takes a restart.
    pub(in super::super) listen: String,
    /// The file with its certificate and the chain to an authority, PEM; also for clients that name no certificate's name.
    pub(in super::super) cert: String,
    /// The file with the certificate's private key, PEM.
    pub(in super::super) key: String,
    /// Further certificates, chosen by the name that the client asks for.
    #[serde(default)]
    pub(in super::super) certs: List<CertPair>,
    /// The file with the authorities that must vouch for a client's own certificate, PEM; absent: none is asked for.
    pub(in super::super) client_ca: Option<String>,
}

/// A further certificate.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct CertPair {
    /// The file with the certificate and its chain, PEM.
    pub(in super::super) cert: String,
    /// The file with its private key, PEM.
    pub(in super::super) key: String,
}

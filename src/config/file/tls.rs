//! Listeners with TLS, as written.

use super::List;
use schemars::JsonSchema;
use serde::Deserialize;

/// An address for clients over TLS: HTTP/1.1 and HTTP/2, as the client prefers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct TlsListener {
    /// Where. No other listener may have it.
    #[schemars(extend("x-type" = "address"))]
    pub(in super::super) listen: String,
    /// The certificate, then the chain to an authority: what certbot calls `fullchain.pem`.
    #[schemars(extend("x-type" = "path"))]
    pub(in super::super) cert: String,
    /// Its private key: PKCS#8, PKCS#1 or SEC1, without a passphrase. May be the same file.
    #[schemars(extend("x-type" = "path"))]
    pub(in super::super) key: String,
    /// Further certificates.
    #[serde(default)]
    pub(in super::super) certs: List<CertPair>,
    /// Mutual TLS: the authorities, one of which must have signed the client's certificate. Absent: no certificate is asked for. Keys are needed all the same.
    #[schemars(extend("x-type" = "path"))]
    pub(in super::super) client_ca: Option<String>,
}

/// A further certificate.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct CertPair {
    /// The file with the certificate and its chain, PEM.
    #[schemars(extend("x-type" = "path"))]
    pub(in super::super) cert: String,
    /// The file with its private key, PEM.
    #[schemars(extend("x-type" = "path"))]
    pub(in super::super) key: String,
}

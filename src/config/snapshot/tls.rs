//! What secures connections, in both directions, with the names of the files it came from.

use crate::tls::{ClientTls, ServerTls};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// One `[[server.tls]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsListener {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What it shows and whom it lets in.
    pub tls: Arc<ServerTls>,
    /// The certificates' files, in the order of [`ServerTls::identities`].
    pub certificates: Vec<TlsFiles>,
    /// The file of the authorities that must vouch for clients.
    pub client_ca: Option<PathBuf>,
}

/// Where a certificate and its key were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and its chain.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// How a channel's connections are secured.
#[derive(Debug, Clone, Default)]
pub struct ChannelTls {
    /// Whom we trust and what we show.
    pub tls: Arc<ClientTls>,
    /// The file of those whom we trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// The files of what we show.
    pub client: Option<TlsFiles>,
}

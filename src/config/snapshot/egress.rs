//! The proxy that a channel's connections go through.

use crate::secret::Secret;
use std::hash::{Hash, Hasher};

/// A proxy, and how one logs in there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressProxy {
    /// What it speaks.
    pub speaks: ProxyProtocol,
    /// Host name or address literal, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User and password, where it wants them.
    pub login: Option<(Secret, Secret)>,
}

/// What a proxy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProxyProtocol {
    /// HTTP with the method CONNECT.
    Http,
    /// SOCKS version 5; names are the proxy's to resolve.
    Socks5,
}

impl ProxyProtocol {
    /// Its scheme in a URL.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Socks5 => "socks5",
        }
    }
}

impl EgressProxy {
    /// Its address without the login, which is only hinted at.
    pub fn shown(&self) -> String {
        let login = if self.login.is_some() { "…@" } else { "" };
        let (scheme, host, port) = (self.speaks.scheme(), &self.host, self.port);
        if host.contains(':') {
            format!("{scheme}://{login}[{host}]:{port}")
        } else {
            format!("{scheme}://{login}{host}:{port}")
        }
    }
}

impl Hash for EgressProxy {
    /// Tells connections apart: who logged in otherwise has others.
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.speaks, &self.host, self.port).hash(state);
        self.login.as_ref().map(|(user, password)| (user.expose(), password.expose())).hash(state);
    }
}

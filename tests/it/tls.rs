//! TLS on both sides: what clients get, what they are refused, what a renewal changes, and how providers are reached.

mod handshakes;
mod renewal;
mod serving;
mod upstreams;

use crate::support::tls::{Authority, Client, Files};
use crate::support::{Gateway, channel, key, provider};
use std::net::SocketAddr;
use tollgate_loadtest::Provider;

/// A gateway with one TLS listener for `gateway.test`, before a provider.
struct House {
    authority: Authority,
    files: Files,
    upstream: Provider,
    gateway: Gateway,
}

impl House {
    /// `more` are further lines of the listener.
    async fn new(more: &str) -> Self {
        Self::with("", |_, _| more.to_owned()).await
    }

    async fn with(server: &str, more: impl FnOnce(&Authority, &Files) -> String) -> Self {
        let (authority, files, upstream) = (Authority::new(), Files::new(), provider().await);
        let more = more(&authority, &files);
        let listener = files.listener(&authority.issue(&["gateway.test"]), &more);
        let text = listener + &rest(&upstream);
        let gateway = Gateway::with_server(server, &text).await;
        Self { authority, files, upstream, gateway }
    }

    fn addr(&self) -> SocketAddr {
        self.gateway.running.secured[0]
    }

    fn client(&self) -> Client {
        Client::new(&self.authority, "gateway.test")
    }

    async fn failures(&self, reason: &str) -> u64 {
        self.gateway.count(&format!("tollgate_tls_handshake_failures_total{{reason=\"{reason}\"}}")).await
    }
}

fn rest(upstream: &Provider) -> String {
    channel("main", "openai", upstream, "") + &key()
}

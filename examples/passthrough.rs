//! A bare pass-through on Pingora with its default settings: what `loadtest/run` measures a gateway against.
//!
//! `cargo run --release --example passthrough -- 127.0.0.1:8000 127.0.0.1:9000` listens on the first address and asks the second.
//! It reads nothing, checks nothing and counts nothing; its allocator is the system's.
#![expect(clippy::expect_used, reason = "an example ends where its set-up fails")]

use async_trait::async_trait;
use pingora::Result;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::upstreams::peer::HttpPeer;
use std::net::SocketAddr;

struct PassThrough {
    provider: SocketAddr,
}

#[async_trait]
impl ProxyHttp for PassThrough {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.provider, false, String::new())))
    }
}

fn main() {
    let mut words = std::env::args().skip(1);
    let listen = words.next().expect("an address to listen on");
    let provider = words.next().expect("an address to ask").parse().expect("an address");
    let mut server = Server::new(None).expect("a server");
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, PassThrough { provider });
    service.add_tcp(&listen);
    server.add_service(service);
    server.run_forever();
}

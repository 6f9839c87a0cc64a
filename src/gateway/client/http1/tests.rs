//! The end of a connection that takes nothing any more, and how a chunk begins.

use super::*;
use crate::gateway::guard::{Rate, Rules};
use crate::telemetry::Telemetry;
use crate::telemetry::access::Access;
use crate::telemetry::metrics::Metrics;
use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

const SECOND: Duration = Duration::from_secs(1);

/// A connection over TLS whose socket is full: the farewell waits, and its own way to end does not for long.
#[derive(Debug)]
struct Full;

impl AsyncRead for Full {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Full {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

#[async_trait]
impl Shutdown for Full {
    async fn shutdown(&mut self) {
        drop(timeout(SECOND, AsyncWriteExt::shutdown(self)).await);
    }
}

#[async_trait]
impl Peek for Full {}

impl UniqueID for Full {
    fn id(&self) -> UniqueIDType {
        0
    }
}

impl Ssl for Full {}

impl GetTimingDigest for Full {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Full {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Full {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_take_our_farewell_is_not_waited_for() {
    let rules = Rules {
        head: SECOND,
        head_bytes: 1 << 10,
        idle: SECOND,
        body: Rate::of_bodies(SECOND),
        answer: Rate::of_answers(SECOND),
        age: SECOND,
        follows_on: false,
        telemetry: Arc::new(Telemetry::new(Metrics::new("0", "tests").unwrap(), Access::off())),
    };
    let head = http::Request::get("/").body(()).unwrap().into_parts().0;
    let guarded = Box::new(Guarded::new(Box::new(Full), rules));
    let ended =
        timeout(5 * SECOND, Http1::new(guarded, Box::new(Parts::from(&head)), Bytes::new()).finish()).await;
    assert!(ended.expect("it ends").is_none());
}

#[test]
fn the_size_of_a_chunk_is_written_as_it_is_read() {
    for size in [1, 9, 10, 15, 16, 255, 256, 4095, 32 << 10, 0xdead_beef, usize::MAX] {
        let mut out = BytesMut::new();
        put_size(&mut out, size);
        assert_eq!(out, format!("{size:x}\r\n").as_bytes());
    }
}

//! Connections in: one accept loop for the binary, the demo and the tests.
//!
//! Invariants: no more connections than the limits allow, over all and per address; a connection that sends
//! nothing in time is closed; running out of file descriptors pauses the loop instead of spinning it.

use crate::gateway::guard::{Guarded, HeadBounds};
use dashmap::DashMap;
use pingora::apps::ServerApp;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::{GetSocketDigest, SocketDigest, Stream as BoxedStream};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

/// The connections of one process and their limits.
#[derive(Debug, Default)]
pub struct Connections {
    open: AtomicUsize,
    by_ip: DashMap<IpAddr, usize>,
}

/// What a connection may do.
#[derive(Debug, Clone, Copy)]
pub struct Caps {
    /// Open at once.
    pub connections: usize,
    /// Of one address; 0: no limit.
    pub per_ip: usize,
    /// Until its first byte.
    pub first_byte: Duration,
    /// What a request's head may take; `None`: it is not guarded.
    pub head: Option<HeadBounds>,
}

impl Connections {
    /// A place for one more, or none.
    fn enter(self: &Arc<Self>, ip: IpAddr, caps: Caps) -> Option<Place> {
        let open = self.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| {
            (open < caps.connections).then_some(open + 1)
        });
        open.ok()?;
        let place = Place { connections: Arc::clone(self), ip };
        let mut own = self.by_ip.entry(ip).or_insert(0);
        *own += 1;
        let over = caps.per_ip > 0 && *own > caps.per_ip;
        drop(own);
        (!over).then_some(place)
    }

    /// Open now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }
}

/// One open connection.
struct Place {
    connections: Arc<Connections>,
    ip: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open.fetch_sub(1, Ordering::AcqRel);
        if let Some(mut own) = self.connections.by_ip.get_mut(&self.ip) {
            *own = own.saturating_sub(1);
        }
        self.connections.by_ip.remove_if(&self.ip, |_, own| *own == 0);
    }
}

/// Accepts until `shutdown` says so; connections that are open then go on.
pub async fn accept<A>(
    listener: TcpListener,
    app: Arc<A>,
    connections: Arc<Connections>,
    caps: impl Fn() -> Caps + Send + Sync + 'static,
    mut shutdown: watch::Receiver<bool>,
) where
    A: ServerApp + Send + Sync + 'static,
{
    let ended = shutdown.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            // Only a word ends it: a sender that is gone means that nobody will ever give one.
            Ok(()) = shutdown.changed() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, from)) => {
                let caps = caps();
                let Some(place) = connections.enter(from.ip(), caps) else { continue };
                let (app, ended) = (Arc::clone(&app), ended.clone());
                tokio::spawn(async move {
                    // Pingora's peek for the HTTP/2 preface has no deadline of its own.
                    if timeout(caps.first_byte, tcp.readable()).await.is_ok_and(|ready| ready.is_ok()) {
                        app.process_new(stream(tcp, from, caps.head), &ended).await;
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn stream(tcp: TcpStream, from: SocketAddr, head: Option<HeadBounds>) -> BoxedStream {
    // Without it a small answer would wait for the client's acknowledgement of the one before.
    drop(tcp.set_nodelay(true));
    if let Some(bounds) = head {
        return Box::new(Guarded::new(tcp, from, bounds));
    }
    let mut stream = Stream::from(tcp);
    let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
    drop(digest.peer_addr.set(Some(from.into())));
    stream.set_socket_digest(digest);
    Box::new(stream)
}

/// Long enough for descriptors to come back, short enough not to be noticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

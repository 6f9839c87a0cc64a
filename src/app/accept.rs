//! Connections in: one accept loop for the binary, the demo and the tests.
//!
//! Invariants: no more connections than the limits allow, over all and per address; a connection that sends
//! nothing in time, or takes too long over its handshake, is closed; running out of file descriptors pauses the loop instead of spinning it.

use crate::app::secured::Secured;
use crate::gateway::guard::{Guarded, HeadBounds, Plain};
use crate::telemetry::Telemetry;
use crate::tls::ServerTls;
use dashmap::DashMap;
use pingora::apps::ServerApp;
use pingora::protocols::{SocketDigest, Stream as BoxedStream};
use std::future::pending;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// The connections of one process and their limits.
#[derive(Debug, Default)]
pub struct Connections {
    open: AtomicUsize,
    by_ip: DashMap<IpAddr, usize>,
}

/// What a connection may do.
#[derive(Debug, Clone)]
pub struct Caps {
    /// Open at once.
    pub connections: usize,
    /// Of one address; 0: no limit.
    pub per_ip: usize,
    /// Until its first byte.
    pub first_byte: Duration,
    /// What a request's head may take; `None`: it is not guarded.
    pub head: Option<HeadBounds>,
    /// How it is secured; `None`: not at all.
    pub tls: Option<Tls>,
}

/// How a connection is secured, and where it is told if that comes to nothing.
#[derive(Debug, Clone)]
pub struct Tls {
    /// What we show and whom we let in.
    pub server: Arc<ServerTls>,
    /// Where failures are counted.
    pub telemetry: Arc<Telemetry>,
}

impl Connections {
    /// A place for one more, or none.
    fn enter(self: &Arc<Self>, ip: IpAddr, caps: &Caps) -> Option<Place> {
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

/// Accepts until `shutdown` says so; connections that are open then go on, and so do those that wait to be accepted.
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
            Ok(()) = shutdown.changed() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, from)) => serve(&app, tcp, from, (&connections, caps()), &ended),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Who was let in by the kernel would otherwise be reset with its request.
    let Ok(listener) = listener.into_std() else { return };
    for _ in 0..BACKLOG_MAX {
        let Ok((tcp, from)) = listener.accept() else { return };
        if tcp.set_nonblocking(true).is_ok()
            && let Ok(tcp) = TcpStream::from_std(tcp)
        {
            serve(&app, tcp, from, (&connections, caps()), &ended);
        }
    }
}

/// Serves a connection in a task of its own, where there is room for it.
fn serve<A: ServerApp + Send + Sync + 'static>(
    app: &Arc<A>,
    tcp: TcpStream,
    from: SocketAddr,
    (connections, caps): (&Arc<Connections>, Caps),
    ended: &watch::Receiver<bool>,
) {
    let Some(place) = connections.enter(from.ip(), &caps) else { return };
    let (app, ended) = (Arc::clone(app), ended.clone());
    tokio::spawn(async move {
        let greeted = tokio::select! {
            biased;
            greeted = greet(tcp, from, &caps) => greeted,
            () = long_ended(ended.clone()) => None,
        };
        if let Some(stream) = greeted {
            app.process_new(stream, &ended).await;
        }
        drop(place);
    });
}

/// Resolves when nothing more is expected of who has said nothing yet.
async fn long_ended(mut ended: watch::Receiver<bool>) {
    if ended.wait_for(|ended| *ended).await.is_err() {
        pending::<()>().await;
    }
    sleep(LAST_GREETING).await;
}

/// Waits for the first bytes, and with TLS for the whole handshake; `None`: it came to nothing.
async fn greet(tcp: TcpStream, from: SocketAddr, caps: &Caps) -> Option<BoxedStream> {
    // Without it a small answer would wait for the client's acknowledgement of the one before.
    drop(tcp.set_nodelay(true));
    let digest = SocketDigest::from_raw_fd(tcp.as_raw_fd());
    drop(digest.peer_addr.set(Some(from.into())));
    let Some(tls) = &caps.tls else {
        // Pingora's peek for the HTTP/2 preface has no deadline of its own.
        let ready = timeout(caps.first_byte, tcp.readable()).await;
        return ready.is_ok_and(|ready| ready.is_ok()).then(|| plain(tcp, digest, caps.head));
    };
    let deadline = sleep(caps.first_byte).deadline();
    match Secured::accept(tcp, &tls.server, digest, deadline).await {
        Ok(secured) => {
            let stream: BoxedStream = Box::new(secured?);
            Some(match caps.head {
                Some(bounds) => Box::new(Guarded::secured(stream, bounds, deadline)),
                None => stream,
            })
        }
        Err(word) => {
            tracing::debug!(%from, reason = word.text(), "a TLS handshake failed");
            tls.telemetry.metrics.handshake_failed(word);
            None
        }
    }
}

fn plain(tcp: TcpStream, digest: SocketDigest, head: Option<HeadBounds>) -> BoxedStream {
    let stream = Box::new(Plain::new(tcp, digest));
    match head {
        Some(bounds) => Box::new(Guarded::new(stream, bounds)),
        None => stream,
    }
}

/// Long enough for descriptors to come back, short enough not to be noticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What the kernel holds ready at most: the length that tokio gives the queue.
const BACKLOG_MAX: usize = 1024;
/// A connection that comes while the listeners close gets this long to say what it wants.
const LAST_GREETING: Duration = Duration::from_millis(500);

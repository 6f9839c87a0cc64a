//! Connections in: one accept loop for the binary, the demo and the tests.
//!
//! Invariants: no more connections than the limits allow, over all and per address; a connection that sends
//! nothing in time, or takes too long over its handshake, is closed; running out of file descriptors pauses the loop instead of spinning it;
//! a connection that is old serves what it has begun and then ends.

use crate::app::lanes::{Lane, Lanes, Seat};
use crate::app::secured::Secured;
use crate::gateway::guard::{Guarded, Plain, Rules};
use crate::gateway::seldom::seldom;
use crate::tls::ServerTls;
use dashmap::DashMap;
use pingora::apps::ServerApp;
use pingora::protocols::{SocketDigest, Stream as BoxedStream};
use socket2::SockRef;
use std::future::pending;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
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
    open: Arc<AtomicUsize>,
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
    /// What it may take once it is in.
    pub rules: Rules,
    /// How it is secured; `None`: not at all.
    pub tls: Option<Arc<ServerTls>>,
}

impl Connections {
    /// How many are open, to be looked at by others.
    pub fn count(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.open)
    }

    /// A place for one more, or which limit says no.
    fn enter(self: &Arc<Self>, ip: IpAddr, caps: &Caps) -> Result<Place, &'static str> {
        let ip = counted(ip);
        let open = self.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| {
            (open < caps.connections).then_some(open + 1)
        });
        open.map_err(|_| "limit")?;
        let place = Place { connections: Arc::clone(self), ip };
        let mut own = self.by_ip.entry(ip).or_insert(0);
        *own += 1;
        let over = caps.per_ip > 0 && *own > caps.per_ip;
        drop(own);
        if over { Err("per_ip") } else { Ok(place) }
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

/// Whom an address is counted as: of IPv6 a client has a whole network of its own.
fn counted(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
        ip @ IpAddr::V4(_) => ip,
    }
}

/// Accepts until `shutdown` says so; connections that are open then go on, and so do those that wait to be accepted.
pub async fn accept<A>(
    listener: TcpListener,
    lanes: Lanes<A>,
    connections: Arc<Connections>,
    caps: impl Fn() -> Caps + Send + Sync + 'static,
    mut shutdown: watch::Receiver<bool>,
) where
    A: ServerApp + Send + Sync + 'static,
{
    let ended = shutdown.clone();
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            biased;
            // Only a word ends it: a sender that is gone means that nobody will ever give one.
            Ok(()) = shutdown.changed() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, from)) => {
                failing = false;
                admit(&lanes, tcp, from, (&connections, caps()), &ended);
            }
            Err(error) => {
                // Once for a row of them: a log that fills the disk helps nobody.
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "cannot accept a connection; trying again until it works");
                }
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
            admit(&lanes, tcp, from, (&connections, caps()), &ended);
        }
    }
}

/// Serves a connection in a task of its own, where there is room for it.
fn admit<A: ServerApp + Send + Sync + 'static>(
    lanes: &Lanes<A>,
    tcp: TcpStream,
    from: SocketAddr,
    (connections, caps): (&Arc<Connections>, Caps),
    ended: &watch::Receiver<bool>,
) {
    match connections.enter(from.ip(), &caps) {
        Ok(place) => {
            if let Some(lane) = lanes.least() {
                start(lane, tcp, from, ended.clone(), (caps, place));
            }
        }
        Err(reason) => turn_away(&tcp, &caps, reason),
    }
}

/// Hands a connection to its thread, whose runtime will be told of its bytes from then on.
fn start<A: ServerApp + Send + Sync + 'static>(
    lane: &Lane<A>,
    tcp: TcpStream,
    from: SocketAddr,
    ended: watch::Receiver<bool>,
    (caps, place): (Caps, Place),
) {
    let (app, seat) = (Arc::clone(&lane.app), lane.enter());
    let Some(runtime) = &lane.runtime else {
        drop(tokio::spawn(serve(tcp, from, (app, ended), (caps, place, seat))));
        return;
    };
    let Ok(tcp) = tcp.into_std() else { return };
    drop(runtime.spawn(async move {
        if let Ok(tcp) = TcpStream::from_std(tcp) {
            serve(tcp, from, (app, ended), (caps, place, seat)).await;
        }
    }));
}

/// One connection from its first byte to its last.
async fn serve<A>(
    tcp: TcpStream,
    from: SocketAddr,
    (app, mut ended): (Arc<A>, watch::Receiver<bool>),
    (caps, place, seat): (Caps, Place, Seat),
) where
    A: ServerApp + Send + Sync + 'static,
{
    let greeted = tokio::select! {
        biased;
        greeted = greet(tcp, from, &caps) => greeted,
        () = long_ended(ended.clone()) => None,
    };
    if let Some(stream) = greeted {
        // Its own word to end: the process's, or its age. HTTP/2 then says so to the client and serves what is open.
        let (end, ending) = watch::channel(*ended.borrow());
        let served = app.process_new(stream, &ending);
        tokio::pin!(served);
        tokio::select! {
            biased;
            _ = &mut served => {}
            () = seldom(told_or_old(&mut ended, caps.rules.age)) => {
                end.send_replace(true);
                served.await;
            }
        }
    }
    drop((place, seat));
}

/// Resolves when nothing more is expected of who has said nothing yet.
async fn long_ended(mut ended: watch::Receiver<bool>) {
    if ended.wait_for(|ended| *ended).await.is_err() {
        pending::<()>().await;
    }
    sleep(LAST_GREETING).await;
}

/// Returns when a connection should serve nothing new.
async fn told_or_old(ended: &mut watch::Receiver<bool>, age: Duration) {
    let told = async {
        // A sender that is gone will never say it.
        if ended.wait_for(|ended| *ended).await.is_err() {
            pending::<()>().await;
        }
    };
    drop(timeout(age, told).await);
}

/// Says that there is no room, as far as the socket takes it at once: who is many does not get to hold us up.
fn turn_away(tcp: &TcpStream, caps: &Caps, reason: &'static str) {
    caps.rules.telemetry.metrics.connection_refused(reason);
    if caps.tls.is_none() {
        drop(tcp.try_write(NO_ROOM));
    }
}

/// Waits for the first bytes, and with TLS for the whole handshake; `None`: it came to nothing.
async fn greet(tcp: TcpStream, from: SocketAddr, caps: &Caps) -> Option<BoxedStream> {
    // Without it a small answer would wait for the client's acknowledgement of the one before.
    drop(tcp.set_nodelay(true));
    // Else the system takes megabytes for a client that reads slowly, and says nothing until a third of them is gone.
    drop(SockRef::from(&tcp).set_tcp_notsent_lowat(UNSENT_MAX));
    let digest = SocketDigest::from_raw_fd(tcp.as_raw_fd());
    drop(digest.peer_addr.set(Some(from.into())));
    let Some(tls) = &caps.tls else {
        let ready = timeout(caps.first_byte, tcp.readable()).await;
        let stream = Box::new(Plain::new(tcp, digest));
        return ready
            .is_ok_and(|ready| ready.is_ok())
            .then(|| -> BoxedStream { Box::new(Guarded::new(stream, caps.rules.clone())) });
    };
    let deadline = sleep(caps.first_byte).deadline();
    match Secured::accept(tcp, tls, digest, deadline).await {
        Ok(secured) => Some(Box::new(Guarded::secured(Box::new(secured?), caps.rules.clone(), deadline))),
        Err(word) => {
            tracing::debug!(%from, reason = word.text(), "a TLS handshake failed");
            caps.rules.telemetry.metrics.handshake_failed(word);
            None
        }
    }
}

/// Long enough for descriptors to come back, short enough not to be noticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What the kernel holds ready at most: the length that tokio gives the queue.
const BACKLOG_MAX: usize = 1024;
/// A connection that comes while the listeners close gets this long to say what it wants.
const LAST_GREETING: Duration = Duration::from_millis(500);
/// What may wait in the system beyond what the line carries: a slow client's pace is seen in steps of half of it.
const UNSENT_MAX: u32 = 32 << 10;
const NO_ROOM: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

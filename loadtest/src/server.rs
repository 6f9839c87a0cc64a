//! The running fake as its users hold it: start, address, scripts, records, waiting.
//!
//! Invariant: dropping [`Provider`] ends every task it started and closes every connection.

use crate::connection;
use crate::exchange::Shared;
use crate::faults::Fault;
use crate::options::Options;
use crate::record::{Counts, Recorded};
use crate::script::Selector;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::{JoinHandle, JoinSet};

/// How many connections are served at once; more wait in the listen queue.
const CONNECTIONS_MAX: usize = 65_536;
/// How long to wait after a failed accept (no file descriptors left, say) before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// A running fake provider.
#[derive(Debug)]
pub struct Provider {
    shared: Arc<Shared>,
    addr: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Provider {
    /// Starts listening; connections are served on the caller's runtime.
    pub async fn start(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen).await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared::new(options));
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { shared, addr, accepting })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://` and the address, without a path.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The requests that arrived, oldest first; at most `RECORDED_MAX`.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.log.requests()
    }

    /// How many requests arrived, kept or not.
    pub fn request_count(&self) -> usize {
        self.shared.log.counts().requests
    }

    /// Returns once `count` requests have arrived.
    pub async fn wait_for_requests(&self, count: usize) {
        self.shared.log.wait(|counts| counts.requests >= count).await;
    }

    /// All counters at one moment.
    pub fn counts(&self) -> Counts {
        self.shared.log.counts()
    }

    /// Returns once the counters are as wanted, at once if they already are.
    pub async fn wait_for(&self, reached: impl FnMut(&Counts) -> bool) {
        self.shared.log.wait(reached).await;
    }

    /// Returns once peers have given up `count` requests while they were being answered. What each had received by
    /// then is in its record.
    pub async fn wait_for_aborted(&self, count: usize) {
        self.wait_for(|counts| counts.aborted >= count).await;
    }

    /// Returns once nothing is being answered any more, whatever became of it.
    pub async fn wait_for_all_settled(&self) {
        self.wait_for(|counts| counts.completed + counts.failed + counts.aborted == counts.requests).await;
    }

    /// How often a peer left while it was being answered.
    pub fn disconnects(&self) -> usize {
        self.shared.log.counts().disconnects
    }

    /// Returns once peers have left `count` times while they were being answered.
    pub async fn wait_for_disconnects(&self, count: usize) {
        self.shared.log.wait(|counts| counts.disconnects >= count).await;
    }

    /// How many answers wait for `release` or hang on purpose right now.
    pub fn holding(&self) -> usize {
        self.shared.log.counts().holding
    }

    /// Returns once at least `count` answers hold or hang at the same time.
    pub async fn wait_for_holding(&self, count: usize) {
        self.shared.log.wait(|counts| counts.holding >= count).await;
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.shared.log.counts().open
    }

    /// Returns once at most `count` connections are open.
    pub async fn wait_for_open_connections_at_most(&self, count: usize) {
        self.shared.log.wait(|counts| counts.open <= count).await;
    }

    /// How many connections were ever accepted.
    pub fn total_connections(&self) -> usize {
        self.shared.log.counts().total
    }

    /// The next matching requests get these faults, one each; after that answers are normal again.
    pub fn script(&self, selector: Selector, faults: Vec<Fault>) {
        self.shared.scripts.add(selector, faults, false);
    }

    /// Every matching request gets this fault until `clear_scripts`.
    pub fn script_forever(&self, selector: Selector, fault: Fault) {
        self.shared.scripts.add(selector, vec![fault], true);
    }

    /// Forgets all scripts; answers that have begun are not changed.
    pub fn clear_scripts(&self) {
        self.shared.scripts.clear();
    }

    /// Lets one held answer go on: the one that has held longest, or else the next that would hold. Nothing is lost
    /// when `release` comes first.
    pub fn release(&self) {
        self.release_many(1);
    }

    /// The same for several.
    pub fn release_many(&self, count: usize) {
        self.shared.release(count);
    }

    /// Serves until the task is dropped.
    pub async fn run(mut self) {
        // Accepting ends only when it is aborted, which dropping `self` does.
        (&mut self.accepting).await.unwrap_or_default();
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Starts a fake provider and serves until the task is dropped.
pub async fn serve_forever(options: Options) -> io::Result<()> {
    Provider::start(options).await?.run().await;
    Ok(())
}

/// A port nobody listens on: a connect is refused as long as this lives, and no one else can take the port.
#[derive(Debug)]
pub struct ReservedPort {
    addr: SocketAddr,
    _bound: TcpSocket,
}

impl ReservedPort {
    /// Reserves a free port on loopback.
    pub fn new() -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        Ok(Self { addr: socket.local_addr()?, _bound: socket })
    }

    /// The address that refuses.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// Accepts for ever. The connections live in this task's set, so that aborting it ends them too.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection::serve(Arc::clone(&shared), stream));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_ended) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

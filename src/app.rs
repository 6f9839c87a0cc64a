//! The process: listeners, background tasks, signals, and its end. Assembly only, read from top to bottom.
//!
//! Invariant: [`start`] is the one way a gateway comes to life, for the binary, the demo and the tests; a
//! process that was told to stop takes no new connection, ends idle ones, and leaves when the last exchange
//! has ended or the drain deadline has passed.

pub mod accept;
pub mod demo;
pub mod descriptors;
pub mod drain;
pub mod front;
pub mod lanes;
pub mod listeners;
mod notify;
#[cfg(feature = "otlp")]
mod otlp;
pub mod run;
pub mod secrecy;
pub mod secured;
mod signals;
pub mod trials;
mod upgrade;

use crate::admin::{Admin, Bound};
use crate::app::accept::{Caps, Connections, accept};
use crate::app::front::Front;
use crate::app::lanes::{Lanes, Threads};
use crate::app::listeners::{Held, Listeners};
use crate::config::{Loaded, Snapshot};
use crate::fleet;
use crate::gateway::Gateway;
use crate::gateway::guard::{Rate, Rules};
use crate::gateway::peer::Upstream;
use crate::gateway::pipeline::Pipeline;
use crate::gateway::room::Room;
use crate::gateway::tokens::{self, Tokens};
use crate::process::Shared;
use crate::process::reload::Reloader;
use crate::telemetry::{Access, Metrics, Telemetry};
use crate::tls::ServerTls;
use crate::world::World;
use arc_swap::ArcSwap;
use pingora::apps::HttpServerOptions;
use pingora::apps::http_app::HttpServer;
use pingora::protocols::http::v2::server::H2Options;
use pingora::proxy::http_proxy;
use pingora::server::configuration::ServerConf;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A gateway that runs.
pub struct Running {
    /// Where clients call.
    pub public: Vec<SocketAddr>,
    /// Where clients call over TLS.
    pub secured: Vec<SocketAddr>,
    /// Where operators call.
    pub admin: SocketAddr,
    /// Its parts.
    pub shared: Shared,
    /// The way a new configuration comes in; `None`: it was not read from a file.
    pub reloader: Option<Arc<Reloader>>,
    /// Its open connections.
    pub connections: Arc<Connections>,
    lanes: Lanes<Front>,
    fleet: fleet::Running,
    #[cfg(feature = "otlp")]
    exporter: otlp::Exporter,
    held: Held,
    stop: watch::Sender<bool>,
    stop_admin: watch::Sender<bool>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("public", &self.public)
            .field("secured", &self.secured)
            .field("admin", &self.admin)
            .finish_non_exhaustive()
    }
}

/// Starts a gateway on the addresses of its configuration; port 0 takes a free one. `entry` is the file to
/// watch and reload.
pub async fn start(
    loaded: Loaded,
    entry: Option<&Path>,
    access: Access,
    metrics: Metrics,
    world: Arc<dyn World>,
) -> std::io::Result<Running> {
    start_on((Listeners::default(), &Threads::none()), (loaded, entry), (access, metrics), world).await
}

/// The same, on listeners that another process has handed over, as far as they are configured, with threads of its own for
/// what clients ask.
pub async fn start_on(
    (mut listeners, threads): (Listeners, &Threads),
    (loaded, entry): (Loaded, Option<&Path>),
    (access, metrics): (Access, Metrics),
    world: Arc<dyn World>,
) -> std::io::Result<Running> {
    let snapshot = Arc::new(loaded.snapshot);
    let shared = Shared::new(&snapshot, Telemetry::new(metrics, access), world);
    shared.open_ledger().map_err(std::io::Error::other)?;
    let parts = fleet::Parts {
        registry: Arc::clone(&shared.registry),
        telemetry: Arc::clone(&shared.telemetry),
        world: Arc::clone(&shared.world),
    };
    let fleet = fleet::start(parts, shared.fleet.subscribe());
    fleet.settled().await;
    #[cfg(feature = "otlp")]
    let exporter = otlp::start(&shared);
    let (stop, stopped) = watch::channel(false);
    // Everybody's: they are as many as the process has descriptors for.
    let connections = Arc::new(Connections::default());
    let room = Arc::new(Room::of(descriptors::total(), connections.count()));
    let kept_max = descriptors::kept(threads.count());
    let upstream = upstreams(&shared, stopped.clone());
    let lanes = threads.lanes(|| front(&shared, &room, upstream(kept_max)));
    let mut public = Vec::new();
    for address in &snapshot.server.listen {
        let listener = listeners.listen(*address).await?;
        public.push(listener.local_addr()?);
        let (caps, connections) = (caps(&shared, &room, None), Arc::clone(&connections));
        tokio::spawn(accept(listener, lanes.clone(), connections, caps, stopped.clone()));
    }
    let mut secured = Vec::new();
    for place in 0..snapshot.server.tls.len() {
        let listener = listeners.listen(snapshot.server.tls[place].listen).await?;
        secured.push(listener.local_addr()?);
        let caps = caps(&shared, &room, Some(Securing::of(&snapshot, place)));
        tokio::spawn(accept(listener, lanes.clone(), Arc::clone(&connections), caps, stopped.clone()));
    }
    let reloader = |entry| Reloader::new(entry, (&loaded.watched, loaded.files), shared.clone());
    let reloader = entry.map(reloader).transpose()?.map(Arc::new);
    if let Some(reloader) = &reloader {
        tokio::spawn(follow(Arc::clone(reloader), stopped.clone()));
    }
    let listener = listeners.listen(snapshot.server.admin).await?;
    let admin = listener.local_addr()?;
    let bound = Bound { public: public.clone(), secured: secured.clone(), admin };
    let app = Threads::none()
        .lanes(|| HttpServer::new_app(Admin::new(shared.clone(), reloader.clone(), bound.clone())));
    // Operators look while the gateway drains, so this one ends with the process, or where another has its place.
    let (stop_admin, admin_stopped) = watch::channel(false);
    tokio::spawn(accept(listener, app, Arc::default(), admin_caps(&shared), admin_stopped));
    let held = listeners.done();
    Ok(Running {
        public,
        secured,
        admin,
        shared,
        reloader,
        connections,
        lanes,
        fleet,
        #[cfg(feature = "otlp")]
        exporter,
        held,
        stop,
        stop_admin,
    })
}

/// What a connection may do, by the configuration at the moment it comes.
fn caps(
    shared: &Shared,
    room: &Arc<Room>,
    securing: Option<Securing>,
) -> impl Fn() -> Caps + Send + Sync + 'static {
    let (live, telemetry, room) = (Arc::clone(&shared.live), Arc::clone(&shared.telemetry), Arc::clone(room));
    move || {
        let live = live.load();
        let server = &live.snapshot.server;
        Caps {
            connections: room.for_clients(&server.limits),
            per_ip: server.limits.connections_per_ip,
            first_byte: server.timeouts.header,
            rules: Rules {
                head: server.timeouts.header,
                head_bytes: server.limits.header_bytes,
                idle: server.timeouts.idle,
                body: Rate::of_bodies(server.timeouts.body_idle),
                answer: Rate::of_answers(server.timeouts.write_idle),
                age: server.timeouts.age,
                follows_on: false,
                telemetry: Arc::clone(&telemetry),
            },
            tls: securing.as_ref().map(|securing| securing.now(&live.snapshot)),
        }
    }
}

/// What an operator's connection may do, whatever is configured for clients: health is asked for by what reloads it.
fn admin_caps(shared: &Shared) -> impl Fn() -> Caps + Send + Sync + 'static {
    let telemetry = Arc::clone(&shared.telemetry);
    move || Caps {
        connections: ADMIN_CONNECTIONS_MAX,
        per_ip: 0,
        first_byte: ADMIN_HEAD,
        rules: Rules {
            head: ADMIN_HEAD,
            head_bytes: ADMIN_HEAD_BYTES_MAX,
            idle: ADMIN_IDLE,
            body: Rate::of_bodies(ADMIN_HEAD),
            answer: Rate::of_answers(ADMIN_IDLE),
            age: ADMIN_AGE,
            // Its requests are answered one by one, and nothing is read meanwhile.
            follows_on: true,
            telemetry: Arc::clone(&telemetry),
        },
        tls: None,
    }
}

/// One TLS listener's settings over the reloads: those of its address, as long as the configuration has it.
struct Securing {
    listen: SocketAddr,
    /// Which of those with this address; only port 0 may stand there twice.
    nth: usize,
    last: ArcSwap<ServerTls>,
}

impl Securing {
    fn of(snapshot: &Snapshot, place: usize) -> Self {
        let listeners = &snapshot.server.tls;
        let listen = listeners[place].listen;
        let nth = listeners[..place].iter().filter(|other| other.listen == listen).count();
        Self { listen, nth, last: ArcSwap::new(Arc::clone(&listeners[place].tls)) }
    }

    /// Settings that stay the same stay the same value, so that sessions go on being resumed after a reload.
    fn now(&self, snapshot: &Snapshot) -> Arc<ServerTls> {
        let mut own = snapshot.server.tls.iter().filter(|listener| listener.listen == self.listen);
        let last = self.last.load_full();
        match own.nth(self.nth) {
            Some(listener) if listener.tls != last => {
                self.last.store(Arc::clone(&listener.tls));
                Arc::clone(&listener.tls)
            }
            _ => last,
        }
    }
}

/// Ways to the providers, each with so many connections kept; their tokens are one another's, and fetched from now on.
fn upstreams(shared: &Shared, stopped: watch::Receiver<bool>) -> impl Fn(usize) -> Upstream + use<> {
    let (resolver, world) = (Arc::clone(&shared.resolver), Arc::clone(&shared.world));
    let tokens = Arc::new(Tokens::default());
    let upstream = move |kept_max| {
        Upstream::new(Arc::clone(&resolver), Arc::clone(&world), Arc::clone(&tokens), kept_max)
    };
    tokio::spawn(tokens::keep(upstream(1), Arc::clone(&shared.live), stopped));
    upstream
}

/// What one thread serves with: the counters are everybody's, the connections to providers its own.
fn front(shared: &Shared, room: &Arc<Room>, upstream: Upstream) -> Front {
    let gateway = Arc::new(Gateway {
        live: Arc::clone(&shared.live),
        registry: Arc::clone(&shared.registry),
        upstream,
        telemetry: Arc::clone(&shared.telemetry),
        world: Arc::clone(&shared.world),
        under_way: Arc::clone(&shared.under_way),
        room: Arc::clone(room),
        draining: Arc::clone(&shared.draining),
        over: shared.over.subscribe(),
    });
    // A tunnel is only tried again where a pooled connection had died and nothing was streamed up yet.
    let conf = ServerConf { max_retries: 2, ..ServerConf::default() };
    let mut proxy = http_proxy(&Arc::new(conf), Pipeline(Arc::clone(&gateway)));
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    options.h2_idle_timeout = Some(shared.live.load().snapshot.server.timeouts.idle);
    proxy.server_options = Some(options);
    let mut h2 = H2Options::new();
    h2.max_concurrent_streams(H2_STREAMS_MAX)
        .initial_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW)
        .max_header_list_size(H2_HEADER_LIST_MAX);
    proxy.h2_options = Some(h2);
    Front::new(gateway, proxy)
}

/// Reloads whenever the files have changed.
async fn follow(reloader: Arc<Reloader>, mut stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = reloader.changed() => {}
            Ok(()) = stopped.changed() => return,
        }
        // What it has to say it has said, in the log and the metrics.
        drop(reloader.reload_aside().await);
    }
}

const H2_STREAMS_MAX: u32 = 100;
/// A megabyte prompt in one flight.
const H2_STREAM_WINDOW: u32 = 1 << 20;
const H2_CONNECTION_WINDOW: u32 = 4 << 20;
const H2_HEADER_LIST_MAX: u32 = 64 << 10;
const ADMIN_CONNECTIONS_MAX: usize = 256;
const ADMIN_HEAD: Duration = Duration::from_secs(10);
const ADMIN_HEAD_BYTES_MAX: usize = 64 << 10;
const ADMIN_AGE: Duration = Duration::from_secs(3600);
const ADMIN_IDLE: Duration = Duration::from_secs(75);

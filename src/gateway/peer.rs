//! Connections to providers: addresses from the background resolver, Pingora's pool behind them.
//!
//! Invariants: connections are shared only within one channel and credential; an https peer always has a
//! server name, without which Pingora would not verify it (the configuration refuses an empty one).

use crate::config::is_link_local;
use crate::config::snapshot::Channel;
use crate::failure::{Failure, FailureKind, Sent};
use crate::gateway::forward::Link;
use crate::limit::Nanos;
use crate::resolve::Resolver;
use crate::secret::Secret;
use crate::world::World;
use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::Connector;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{BError, ErrorType};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// The way to every provider; clones share one pool.
#[derive(Clone)]
pub struct Upstream {
    connector: Arc<Connector>,
    resolver: Arc<Resolver>,
    world: Arc<dyn World>,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").field("resolver", &self.resolver).finish_non_exhaustive()
    }
}

impl Upstream {
    /// An empty pool.
    pub fn new(resolver: Arc<Resolver>, world: Arc<dyn World>) -> Self {
        let connector = Arc::new(Connector::new(Some(ConnectorOptions::new(POOLED_MAX))));
        Self { connector, resolver, world }
    }

    /// A connection to this channel, pooled or new; several addresses are tried in turn.
    pub async fn connect(
        &self,
        channel: &Channel,
        credential: &Secret,
        link: &mut Link,
    ) -> Result<(HttpSession, HttpPeer), Failure> {
        let addresses = self.addresses(channel).await?;
        let mut last = None;
        for address in addresses.iter().take(ADDRESSES_TRIED_MAX) {
            let peer = peer(channel, credential, *address);
            let began = self.world.now();
            match self.connector.get_http_session(&peer).await {
                Ok((session, reused)) => {
                    let took = Duration::from_nanos(self.world.now().saturating_sub(began));
                    *link = Link { reused, connect: (!reused).then_some(took) };
                    return Ok((session, peer));
                }
                Err(error) => last = Some(error),
            }
        }
        Err(connect_failure(last.as_ref()))
    }

    /// A peer for Pingora's own pipeline.
    pub async fn peer(&self, channel: &Channel, credential: &Secret) -> Result<HttpPeer, Failure> {
        let addresses = self.addresses(channel).await?;
        let first = addresses.first().copied();
        first.map(|address| peer(channel, credential, address)).ok_or_else(|| connect_failure(None))
    }

    async fn addresses(&self, channel: &Channel) -> Result<Arc<[IpAddr]>, Failure> {
        let looked_up = self.resolver.addresses(&channel.endpoint.host);
        match tokio::time::timeout(channel.timeouts.connect, looked_up).await {
            Ok(Ok(addresses)) => allowed(channel, addresses),
            Ok(Err(why)) => Err(Failure::new(FailureKind::Dns, Sent::NotBegun, why)),
            Err(_) => {
                Err(Failure::new(FailureKind::Dns, Sent::NotBegun, "the first lookup is still under way"))
            }
        }
    }

    /// What the clock says; for waits that go over several steps.
    pub fn now(&self) -> Nanos {
        self.world.now()
    }

    /// Gives a connection back, complete in both directions.
    pub fn release(&self, session: HttpSession, peer: HttpPeer) {
        let connector = Arc::clone(&self.connector);
        tokio::spawn(async move {
            connector.release_http_session(session, &peer, peer.options.idle_timeout).await;
        });
    }
}

/// A name may lead to a machine's own metadata service; that is only gone to where the operator says so.
fn allowed(channel: &Channel, addresses: Arc<[IpAddr]>) -> Result<Arc<[IpAddr]>, Failure> {
    if channel.allow_link_local || !addresses.iter().any(|address| is_link_local(*address)) {
        return Ok(addresses);
    }
    let kept: Vec<IpAddr> = addresses.iter().copied().filter(|address| !is_link_local(*address)).collect();
    if kept.is_empty() {
        let why = "the name leads to a link-local or metadata address, which allow_link_local would permit";
        return Err(Failure::new(FailureKind::Dns, Sent::NotBegun, why));
    }
    Ok(kept.into())
}

fn peer(channel: &Channel, credential: &Secret, address: IpAddr) -> HttpPeer {
    let endpoint = &channel.endpoint;
    let address = SocketAddr::new(address, endpoint.port);
    let mut peer = HttpPeer::new(address, endpoint.tls, endpoint.host.clone());
    let mut hasher = DefaultHasher::new();
    (channel.id.as_str(), credential.expose()).hash(&mut hasher);
    peer.group_key = hasher.finish();
    peer.options.connection_timeout = Some(channel.timeouts.connect);
    peer.options.total_connection_timeout = Some(channel.timeouts.connect);
    peer.options.idle_timeout = Some(POOL_IDLE);
    peer
}

fn connect_failure(error: Option<&BError>) -> Failure {
    let Some(error) = error else {
        return Failure::new(FailureKind::Dns, Sent::NotBegun, "the name has no addresses");
    };
    let timed_out = matches!(error.etype, ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout);
    let kind = if timed_out { FailureKind::ConnectTimeout } else { FailureKind::Connect };
    Failure::new(kind, Sent::NotBegun, error.etype.as_str())
}

/// Idle connections kept, over all channels.
const POOLED_MAX: usize = 1024;
/// Below the 60 s after which most servers close an idle connection, so that reuse seldom meets a dead one.
const POOL_IDLE: Duration = Duration::from_secs(55);
const ADDRESSES_TRIED_MAX: usize = 3;

//! Connections to providers: addresses from the background resolver, Pingora's pool behind them.
//!
//! Invariants: connections are shared only within one channel, credential, proxy and TLS settings; an https peer always
//! has a server name, without which Pingora would not verify it (the configuration refuses an empty one).

pub(super) mod egress;
mod kept;
mod trust;

use crate::config::is_link_local;
use crate::config::snapshot::{Channel, Conduct, HttpVersion};
use crate::failure::{Failure, FailureKind, Sent};
use crate::gateway::forward::{Link, Origin};
use crate::gateway::guard::clock::within;
use crate::gateway::tokens::Tokens;
use crate::gateway::wire::{Http1, Http2, Wire};
use crate::limit::Nanos;
use crate::resolve::Resolver;
use crate::secret::Secret;
use crate::spread;
use crate::world::World;
use kept::Kept;
use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::v2::{Connector as Http2Connector, H2HandshakeSettings, handshake};
use pingora::protocols::http::v2::client::Http2Session;
use pingora::protocols::{ALPN, Stream};
use pingora::upstreams::peer::{HttpPeer, Peer as _};
use pingora::{BError, Error, ErrorType};
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use trust::Trust;

/// The way to every provider; clones share one pool.
#[derive(Clone)]
pub struct Upstream {
    lines: Arc<Lines>,
    resolver: Arc<Resolver>,
    world: Arc<dyn World>,
    tokens: Arc<Tokens>,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").field("resolver", &self.resolver).finish_non_exhaustive()
    }
}

impl Upstream {
    /// An empty pool, which keeps so many idle connections of either HTTP; the tokens are everybody's.
    pub fn new(resolver: Arc<Resolver>, world: Arc<dyn World>, tokens: Arc<Tokens>, kept_max: usize) -> Self {
        Self { lines: Arc::new(Lines::new(Arc::clone(&world), kept_max)), resolver, world, tokens }
    }

    /// The access tokens of the process.
    pub(super) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Its clocks.
    pub(super) fn world(&self) -> &Arc<dyn World> {
        &self.world
    }

    /// Seconds since the Unix epoch.
    pub(super) fn unix(&self) -> u64 {
        self.world.unix_ms() / 1000
    }

    /// A connection to this channel, kept or new; several addresses are tried in turn and share the time, the first
    /// of them half. For a request that one connection lost already it is a new one.
    pub async fn connect(&self, target: (&Channel, &Secret), link: &mut Link) -> Result<Wire, Failure> {
        let (channel, credential) = target;
        let addresses = self.addresses(channel).await?;
        let (mut started, mut last) = (None, None);
        let tried = addresses.len().min(ADDRESSES_TRIED_MAX);
        for (at, address) in addresses.iter().take(tried).enumerate() {
            let since = self.world.lately();
            if !link.resent
                && let Some(wire) = self.lines.kept_http1((channel, credential), *address, since)
            {
                *link = Link { origin: Origin::Idle, connect: None, since, ..*link };
                return Ok(wire);
            }
            let began = self.world.now();
            let started = *started.get_or_insert(began);
            let mut peer = peer(channel, credential, *address);
            let passed = Duration::from_nanos(began.saturating_sub(started));
            let share = connect_share(channel.timeouts.connect.saturating_sub(passed), tried - at);
            peer.options.connection_timeout = Some(share);
            peer.options.total_connection_timeout = Some(share);
            match self.lines.open(peer, channel, !link.resent).await {
                Ok((wire, origin)) => {
                    let since = self.world.now();
                    let took = Duration::from_nanos(since.saturating_sub(began));
                    let connect = (origin == Origin::New).then_some(took);
                    *link = Link { origin, connect, since, ..*link };
                    return Ok(wire);
                }
                Err(error) => last = Some(error),
            }
        }
        self.resolver.suspect(channel.dialed().0);
        Err(connect_failure(last.as_deref()))
    }

    /// A connection of its own that can switch to another protocol, which HTTP/2 cannot here.
    pub async fn connect_to_switch(
        &self,
        target: (&Channel, &Secret),
        link: &mut Link,
    ) -> Result<Wire, Failure> {
        let (channel, credential) = target;
        let http1 = Conduct { http_version: HttpVersion::Http1, ..channel.conduct.clone() };
        let channel = Channel { conduct: http1, ..channel.clone() };
        // No kept one: it would be lost to the others.
        let mut fresh = Link { resent: true, ..*link };
        let wire = self.connect((&channel, credential), &mut fresh).await;
        *link = Link { resent: link.resent, ..fresh };
        wire
    }

    /// A peer for Pingora's own pipeline. Its connection is nobody else's, before and after: what a provider adds behind an
    /// answer, or frames in a way that Pingora takes and we would not, ends with it.
    pub async fn peer(&self, channel: &Channel, credential: &Secret) -> Result<HttpPeer, Failure> {
        let addresses = self.addresses(channel).await?;
        let first = addresses.first().copied();
        let mut peer =
            first.map(|address| peer(channel, credential, address)).ok_or_else(|| connect_failure(None))?;
        if channel.conduct.http_version != HttpVersion::Http2 {
            peer.options.set_http_version(1, 1);
        }
        peer.group_key = self.world.random();
        peer.options.idle_timeout = Some(Duration::ZERO);
        let equipped = self.lines.trust.equip(&mut peer, &channel.tls.tls);
        equipped.map_err(|error| connect_failure(Some(error.as_ref())))?;
        Ok(peer)
    }

    async fn addresses(&self, channel: &Channel) -> Result<Arc<[IpAddr]>, Failure> {
        if let (None, Some(literal)) = (&channel.egress_proxy, &channel.endpoint.literal) {
            return allowed(channel, Arc::clone(literal));
        }
        let looked_up = self.resolver.addresses(channel.dialed().0);
        match within(channel.timeouts.connect, pin!(looked_up)).await {
            Ok(Ok(addresses)) => allowed(channel, addresses),
            Ok(Err(why)) => Err(Failure::new(FailureKind::Dns, Sent::NotBegun, why)),
            Err(_) => {
                Err(Failure::new(FailureKind::Dns, Sent::NotBegun, "the first lookup is still under way"))
            }
        }
    }

    /// What the clock said last; for waits that go over several steps.
    pub fn lately(&self) -> Nanos {
        self.world.lately()
    }
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}

/// The connections themselves: kept ones of either HTTP, and how new ones come about.
pub struct Lines {
    http1: Arc<Kept>,
    http2: Http2Connector,
    trust: Trust,
    world: Arc<dyn World>,
}

impl Lines {
    fn new(world: Arc<dyn World>, kept_max: usize) -> Self {
        // Pingora's own TLS is not used on these lines; where it were by mistake, it would trust nobody.
        let mut options = ConnectorOptions::new(kept_max);
        options.ca_file = Some(NOBODY.to_owned());
        Self {
            http1: Arc::new(Kept::new(kept_max)),
            http2: Http2Connector::new(Some(options)),
            trust: Trust::new(),
            world,
        }
    }

    /// One that is there already, where HTTP/1.1 is all this channel speaks.
    fn kept_http1(
        self: &Arc<Self>,
        (channel, credential): (&Channel, &Secret),
        address: IpAddr,
        now: Nanos,
    ) -> Option<Wire> {
        let only_http1 = match channel.conduct.http_version {
            HttpVersion::Http1 => true,
            HttpVersion::Auto => !channel.endpoint.tls,
            HttpVersion::Http2 => false,
        };
        if !only_http1 {
            return None;
        }
        let address = SocketAddr::new(address, channel.dialed().1);
        let place = place(group(channel, credential), address);
        let stream = self.http1.take(place, now)?;
        Some(self.http1(stream, place))
    }

    /// A connection or a stream of one, and where it came from.
    async fn open(
        self: &Arc<Self>,
        peer: HttpPeer,
        channel: &Channel,
        reuse: bool,
    ) -> Result<(Wire, Origin), BError> {
        let (version, tls) = (channel.conduct.http_version, &*channel.tls.tls);
        let only_http1 = match version {
            HttpVersion::Http1 => true,
            HttpVersion::Auto => !peer.is_tls(),
            HttpVersion::Http2 => false,
        };
        let place = place_of(&peer);
        if only_http1 {
            let stream = Box::pin(self.trust.dial(&peer, (tls, channel))).await?;
            return Ok((self.http1(stream, place), Origin::New));
        }
        if reuse && let Some((session, origin)) = self.kept_http2(&peer).await {
            return Ok((self.http2(session, peer), origin));
        }
        // A provider may turn out to speak HTTP/1.1 only; its connections are kept with the others.
        if reuse
            && version == HttpVersion::Auto
            && let Some(stream) = self.http1.take(place, self.world.now())
        {
            return Ok((self.http1(stream, place), Origin::Idle));
        }
        let stream = Box::pin(self.trust.dial(&peer, (tls, channel))).await?;
        let is_http2 = match stream.selected_alpn_proto() {
            Some(agreed) => agreed == ALPN::H2,
            // Without TLS there is nothing to agree on: the configuration knows.
            None => version == HttpVersion::Http2 && !peer.is_tls(),
        };
        match is_http2 {
            true => Ok((self.http2(self.first_stream(stream, &peer).await?, peer), Origin::New)),
            false if version == HttpVersion::Auto => Ok((self.http1(stream, place), Origin::New)),
            false => Err(Error::explain(ErrorType::H2Downgrade, "the provider does not speak HTTP/2")),
        }
    }

    /// A stream of a connection that is there already, and whether it is the only one on it; Pingora's
    /// `reused_http_session`, which does not tell. One that cannot be used any more (the provider said goodbye) is no
    /// reason not to open another.
    async fn kept_http2(&self, peer: &HttpPeer) -> Option<(Http2Session, Origin)> {
        let (in_use, key) = (self.http2.in_use_pool(), peer.reuse_hash());
        let shared = in_use.get(key).filter(|connection| !connection.is_closed());
        let connection = shared.or_else(|| self.http2.idle_pool().get(&key))?;
        if !peer.matches_fd(connection.id()) {
            return None;
        }
        let origin = if connection.is_idle() { Origin::Idle } else { Origin::Shared };
        let session = connection.spawn_stream().await.ok().flatten();
        if connection.more_streams_allowed() {
            in_use.insert(key, connection);
        }
        session.map(|session| (session, origin))
    }

    /// Makes a connection one of HTTP/2 that others may use too, and begins the first stream on it.
    async fn first_stream(&self, stream: Stream, peer: &HttpPeer) -> Result<Http2Session, BError> {
        let mut settings = H2HandshakeSettings::new();
        settings.max_streams = peer.options.max_h2_streams;
        settings.ping_interval = peer.options.h2_ping_interval;
        settings.stream_window_size = peer.options.h2_stream_window_size;
        settings.connection_window_size = peer.options.h2_connection_window_size;
        let connection = handshake(stream, settings).await?;
        let Some(session) = connection.spawn_stream().await? else {
            return Error::e_explain(ErrorType::H2Error, "a new connection that takes no stream");
        };
        if connection.more_streams_allowed() {
            self.http2.in_use_pool().insert(peer.reuse_hash(), connection);
        }
        Ok(session)
    }

    fn http1(self: &Arc<Self>, stream: Stream, place: u64) -> Wire {
        Wire::Http1(Box::new(Http1::new(stream, Arc::clone(self), place)))
    }

    fn http2(self: &Arc<Self>, session: Http2Session, peer: HttpPeer) -> Wire {
        Wire::Http2(Box::new(Http2::new(session, Arc::clone(self), peer)))
    }

    /// The provider wants HTTP/1.1 for this (RFC 9113 section 9.2.2 has such cases).
    pub(super) fn prefer_http1(&self, peer: &HttpPeer) {
        self.trust.prefer_http1(peer);
    }

    /// Keeps a connection that is complete in both directions.
    pub(super) fn keep(&self, stream: Stream, place: u64) {
        self.http1.put(stream, place, &self.world);
    }

    /// Gives a stream of an HTTP/2 connection back, however far it got.
    pub(super) fn give_back(&self, session: Http2Session, peer: &HttpPeer) {
        self.http2.release_http_session(session, peer, peer.options.idle_timeout);
    }
}

/// How much of the time that is left the next of so many addresses gets: half, and the last one all of it. One that
/// refuses at once leaves the others nearly everything.
fn connect_share(left: Duration, addresses: usize) -> Duration {
    if addresses > 1 { left / 2 } else { left }
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
    let address = SocketAddr::new(address, channel.dialed().1);
    let mut peer = HttpPeer::new(address, endpoint.tls, endpoint.host.clone());
    peer.group_key = group(channel, credential);
    peer.options.connection_timeout = Some(channel.timeouts.connect);
    peer.options.total_connection_timeout = Some(channel.timeouts.connect);
    peer.options.idle_timeout = Some(POOL_IDLE);
    match channel.conduct.http_version {
        HttpVersion::Http1 => peer.options.set_http_version(1, 1),
        HttpVersion::Auto => peer.options.set_http_version(if endpoint.tls { 2 } else { 1 }, 1),
        HttpVersion::Http2 => peer.options.set_http_version(2, 2),
    }
    peer.options.max_h2_streams = HTTP2_STREAMS_MAX;
    peer.options.h2_ping_interval = Some(HTTP2_PING);
    peer.options.h2_stream_window_size = Some(HTTP2_STREAM_WINDOW);
    peer.options.h2_connection_window_size = Some(HTTP2_CONNECTION_WINDOW);
    peer
}

/// Whose connections may be shared.
fn group(channel: &Channel, credential: &Secret) -> u64 {
    let mut hasher = spread::hasher();
    let endpoint = &channel.endpoint;
    (channel.id.as_str(), credential.expose(), channel.tls.tls.digest()).hash(&mut hasher);
    // Behind a proxy the address is the proxy's, and says nothing of where it leads.
    (&endpoint.host, endpoint.port, endpoint.tls, &channel.egress_proxy).hash(&mut hasher);
    hasher.finish()
}

/// Where connections of one group to one address are kept.
fn place(group: u64, address: SocketAddr) -> u64 {
    let mut hasher = spread::hasher();
    (group, address).hash(&mut hasher);
    hasher.finish()
}

fn place_of(peer: &HttpPeer) -> u64 {
    peer.address().as_inet().map_or(peer.group_key, |address| place(peer.group_key, *address))
}

/// Why there is no connection.
pub(super) fn connect_failure(error: Option<&Error>) -> Failure {
    let Some(error) = error else {
        return Failure::new(FailureKind::Dns, Sent::NotBegun, "the name has no addresses");
    };
    let timed_out = matches!(error.etype, ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout);
    let kind = if timed_out { FailureKind::ConnectTimeout } else { FailureKind::Connect };
    let what = error.etype.as_str();
    match &error.context {
        Some(why) if error.etype == ErrorType::ConnectProxyFailure => {
            Failure::new(kind, Sent::NotBegun, why.as_str())
        }
        Some(why) if error.etype == ErrorType::TLSHandshakeFailure => {
            Failure::new(kind, Sent::NotBegun, format!("{what}: {}", why.as_str()))
        }
        _ => Failure::new(kind, Sent::NotBegun, what),
    }
}

/// A file of authorities that has none.
const NOBODY: &str = "/dev/null";
/// Below the 60 s after which most servers close an idle connection, so that reuse seldom meets a dead one.
const POOL_IDLE: Duration = Duration::from_secs(55);
/// Streams of one HTTP/2 connection; what providers allow, and few enough to fall with it.
const HTTP2_STREAMS_MAX: usize = 100;
/// A connection that died without a word is noticed by then.
const HTTP2_PING: Duration = Duration::from_secs(30);
/// How much of an answer waits here for a slow client: a megabyte of image in four round trips.
const HTTP2_STREAM_WINDOW: u32 = 256 * 1024;
/// Room for every stream's window, so that slow clients never hold up the other streams of the connection.
const HTTP2_CONNECTION_WINDOW: u32 = 128 * HTTP2_STREAM_WINDOW;
const ADDRESSES_TRIED_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_several_addresses_gets_half_of_the_time_and_all_of_them_no_more_than_all() {
        let whole = Duration::from_secs(3);
        for addresses in 1..=ADDRESSES_TRIED_MAX {
            let mut left = whole;
            let shares = (1..=addresses).rev().map(|to_try| {
                let share = connect_share(left, to_try);
                left -= share;
                share
            });
            let shares: Vec<_> = shares.collect();
            assert_eq!(shares.iter().sum::<Duration>(), whole);
            assert!(shares[0] >= whole / 2, "{shares:?}");
        }
    }
}

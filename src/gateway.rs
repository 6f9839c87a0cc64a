//! The page: the way of a request, receive → identify → admit → inspect → route → reserve → rewrite →
//! forward → observe → settle → record.
//!
//! An exchange (a request whose body names a model) is answered by the attempt loop below, over connections of our own; a
//! tunnel (files) goes on through Pingora's stock pipeline ([`pipeline`]) and is never buffered (decision 0001).
//! Invariants: one configuration for the whole exchange; every refusal goes through [`Reply::refuse`]; behind an answer that
//! is not whole no end is written; `Gateway::close` settles and records, once, whatever happened.

pub mod bearer;
pub mod body;
pub mod borrow;
pub mod boxed;
pub mod client;
pub mod direct;
pub mod exchange;
pub mod forward;
pub mod guard;
pub mod learn;
pub mod local;
pub mod peer;
pub mod pipeline;
pub mod queued;
pub mod realtime;
pub mod relay;
pub mod reply;
pub mod rewritten;
pub mod room;
pub mod seen;
pub mod seldom;
pub mod signed;
pub mod spend;
pub mod status;
pub mod task;
pub mod tokens;
pub mod traced;
pub mod trial;
pub mod tunnel;
pub mod waiting;
pub mod wire;

use crate::code::Code;
use crate::config::snapshot::Key;
use crate::gateway::bearer::Asked;
use crate::gateway::client::Client;
use crate::gateway::exchange::{Accepted, Exchange, UnderWay};
use crate::gateway::forward::{Answer, Outcome, Reading, Target};
use crate::gateway::peer::Upstream;
use crate::gateway::relay::Relayed;
use crate::gateway::reply::{Reply, Sent, elapsed};
use crate::gateway::rewritten::Rewritten;
use crate::gateway::room::Room;
use crate::protocol::entry::{self, Entry};
use crate::protocol::fields::names;
use crate::protocol::observe::estimate;
use crate::protocol::{http2, inspect};
use crate::record::{Path, Text};
use crate::refusal::Refusal;
use crate::stage::plan::{Attempt, Next};
use crate::stage::{foreign, identify, session, verdict};
use crate::state::{Live, Registry};
use crate::telemetry::Telemetry;
use crate::world::{self, World};
use arc_swap::ArcSwap;
use smol_str::SmolStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::time::Duration;
use tokio::sync::watch;

/// Everything an exchange can reach.
#[derive(Debug)]
pub struct Gateway {
    /// The configuration in force, with its counters.
    pub live: Arc<ArcSwap<Live>>,
    /// The counters of the process.
    pub registry: Arc<Registry>,
    /// The way to the providers.
    pub upstream: Upstream,
    /// Metrics, access log, recent exchanges.
    pub telemetry: Arc<Telemetry>,
    /// Clocks and randomness.
    pub world: Arc<dyn World>,
    /// Exchanges under way; a drain waits for zero.
    pub under_way: Arc<AtomicI64>,
    /// The places for what needs a provider, as many as the process has file descriptors for.
    pub room: Arc<Room>,
    /// Whether the process has been told to stop.
    pub draining: Arc<AtomicBool>,
    /// Whether what is under way shall end now.
    pub over: watch::Receiver<bool>,
}

/// Why an exchange goes no further.
#[derive(Debug)]
pub enum Stop {
    /// We say no.
    Refused(Refusal),
    /// Nobody is there any more.
    ClientGone,
    /// The process ends.
    Over,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Gateway {
    /// A fresh exchange; nothing is known of it.
    fn begin(&self) -> Exchange {
        let unix_ms = self.world.unix_ms();
        let id = world::exchange_id(&*self.world, unix_ms);
        let under_way = UnderWay::new(&self.under_way);
        Exchange::new(id, self.world.now(), unix_ms, self.live.load_full(), under_way)
    }

    /// The clocks of a client's connection.
    fn greet(client: &mut Client<'_>, exchange: &Exchange) {
        client.greet(exchange.live.snapshot.server.timeouts.write_idle, DRAIN_UNREAD_MAX);
    }

    /// What the address asks for.
    fn asked(client: &Client<'_>) -> Result<Entry, Refusal> {
        let head = client.head();
        entry::entry(&head.method, head.uri.path(), head.uri.query(), &head.headers)
    }

    /// Answers what is no tunnel.
    async fn answer(
        &self,
        client: &mut Client<'_>,
        exchange: &mut Exchange,
        entry: Result<Entry, Refusal>,
    ) -> Sent {
        match self.receive(client, exchange, entry) {
            _ if local::is_preflight(client) => self.preflight(client, exchange).await,
            Err(refusal) => self.reply(client, exchange).refuse(&refusal).await,
            Ok(entry) if entry.operation.is_exchange() => self.exchange(client, exchange, entry).await,
            Ok(entry) => self.local(client, exchange, &entry).await,
        }
    }

    /// Opens a tunnel; else says why not.
    async fn tunnel(
        &self,
        client: &mut Client<'_>,
        exchange: &mut Exchange,
        entry: Result<Entry, Refusal>,
    ) -> Option<Sent> {
        let opened = match self.receive(client, exchange, entry) {
            Ok(entry) => self.open_tunnel(client, exchange, entry).await,
            Err(refusal) => Err(Stop::Refused(refusal)),
        };
        match opened {
            Ok(()) => None,
            Err(stop) => Some(self.stopped(client, exchange, stop).await),
        }
    }

    /// settle → record.
    fn close(&self, client: &Client<'_>, exchange: &mut Exchange) {
        guard::next_head(client);
        if exchange.tunnel.is_some() {
            self.close_tunnel(client, exchange);
        }
        self.settle(exchange);
        if exchange.logged {
            exchange.record.duration = elapsed(exchange.started, self.world.now());
            self.telemetry.report(exchange.take_record());
        }
    }

    /// receive: what the head says, before anything is asked of it.
    fn receive(
        &self,
        client: &Client<'_>,
        exchange: &mut Exchange,
        entry: Result<Entry, Refusal>,
    ) -> Result<Entry, Refusal> {
        exchange.trace(client, &*self.world);
        let head = client.head();
        let path = head.uri.path();
        let server = &exchange.live.snapshot.server;
        let record = &mut exchange.record;
        record.client_ip = client.peer().map_or(record.client_ip, |peer| {
            identify::client_ip(peer, &head.headers, &server.trusted_proxies)
        });
        record.dialect = match &entry {
            Ok(entry) => entry.dialect,
            Err(_) => entry::dialect_of(path, &head.headers),
        };
        record.path = Path::received(path);
        record.user_agent = head.headers.text(names::USER_AGENT).map(Text::new);
        for label in &exchange.live.snapshot.log.labels {
            if let Some(value) = head.headers.text(label) {
                record.labels.push(label, value);
            }
        }
        if head.version == http::Version::HTTP_2 {
            http2::check(&head.uri, &head.headers)?;
        }
        let entry = entry?;
        record.operation = Some(entry.operation);
        realtime::check(&entry, head, server)?;
        if entry.operation.is_exchange() || entry.operation.is_tunnel() {
            self.enter(client, exchange)?;
        }
        if let Some(kind) = entry.fixup {
            self.telemetry.metrics.base_url_fixed(kind);
        }
        Ok(entry)
    }

    /// identify: whose request is it, and may they use it here and now?
    fn identify(client: &Client<'_>, exchange: &mut Exchange, entry: &Entry) -> Result<Arc<Key>, Refusal> {
        let headers = &client.head().headers;
        let key = identify::identify(&exchange.live.snapshot, headers, entry.query_key.as_deref())?;
        exchange.identified(Arc::clone(&key));
        identify::vouch(&key, exchange.record.client_ip, exchange.began_unix())?;
        Ok(key)
    }

    /// admit → inspect → route → reserve; after this every fact about the exchange is known.
    async fn accept(
        &self,
        client: &mut Client<'_>,
        exchange: &mut Exchange,
        entry: Entry,
    ) -> Result<Box<Accepted>, Stop> {
        if entry.operation.is_of_task() {
            return self.accept_task(client, exchange, entry).await;
        }
        let key = Self::identify(client, exchange, &entry)?;
        let live = Arc::clone(&exchange.live);
        let bearer = self.admit(exchange, &key, entry.operation).await?;
        let mut share = self.registry.bodies().share();
        let server = &live.snapshot.server;
        let bounds = body::Bounds::of(&key, server);
        let (body, received) = body::read(client, bounds, &mut share).await?;
        exchange.record.bytes_in = received;
        let read_at = self.world.lately();
        let inspection = inspect::read(entry.operation, &client.head().headers, &body)?;
        // Now, because the body has just come from memory.
        let request_tokens = estimate::tokens_of(entry.operation, &body);
        // A large body takes milliseconds to read, which limits must not count twice.
        self.world.now();
        let named = inspection.model.as_ref().map(|model| model.name.clone());
        let requested = entry.model.as_deref().map(SmolStr::new).or(named).ok_or_else(no_model)?;
        exchange.record.model_requested = Some(Text::of(&requested));
        exchange.record.stream = inspection.stream;
        if let Some(session) =
            session::find(&live.snapshot.trace, &client.head().headers, &inspection.session)
        {
            exchange.in_session(&session);
        }
        let thinking = foreign::read(self.registry.signers(), entry.operation, &body, read_at);
        let asked = Asked::of(&entry, (&requested, body.len()), &inspection, &thinking);
        let (plan, others) = self.bear(exchange, bearer, &asked).await?;
        exchange.record.overhead.request = elapsed(read_at, self.world.now());
        let (usage_refused_by, task) = (Vec::new(), None);
        // Written to where it stays, because it is half a kilobyte to move.
        Ok(Box::write(
            Box::new_uninit(),
            Accepted {
                entry,
                body,
                inspection,
                requested,
                plan,
                others,
                thinking,
                usage_refused_by,
                task,
                share,
                request_tokens,
            },
        ))
    }

    /// rewrite → forward → observe, one attempt at a time; ends with the first answer, or with none left.
    async fn serve(
        &self,
        client: &mut Client<'_>,
        exchange: &mut Exchange,
        mut accepted: Box<Accepted>,
    ) -> Sent {
        let live = Arc::clone(&exchange.live);
        let mut again = self.first(exchange, &mut accepted);
        loop {
            let next = again.take().map(Next::Attempt);
            let now = self.world.lately();
            let next = next.unwrap_or_else(|| accepted.plan.next(&live, &self.registry, now));
            let mut attempt = match next {
                Next::Attempt(attempt) => attempt,
                Next::Queue(pause) if self.queue(client, exchange, &accepted, &pause).await => continue,
                Next::Wait(wait) if self.reply(client, exchange).pause(wait).await => continue,
                Next::Borrow(loan) => {
                    borrow::lent(loan).await;
                    continue;
                }
                Next::Queue(_) | Next::Wait(_) => return self.reply(client, exchange).given_up().await,
                Next::Exhausted(_) if self.fall_back(exchange, &mut accepted).await => continue,
                Next::Exhausted(refusal) => {
                    return self.exhausted(client, exchange, &accepted, &refusal).await;
                }
            };
            exchange.attempt_began = now;
            match self.attempt(client, exchange, &accepted, &attempt).await {
                Outcome::Answered(answer) => {
                    return self.pass_on(client, exchange, accepted, (attempt, answer)).await;
                }
                Outcome::GivenUp => return self.reply(client, exchange).given_up().await,
                Outcome::Untranslatable(refusal) => {
                    self.unwritten(exchange, &attempt);
                    accepted.plan.untranslatable(&mut attempt, refusal);
                }
                Outcome::Failed(failure) if failure.kind.is_ours() => {
                    accepted.refused_by(&attempt.channel, failure.kind);
                    again = Some(attempt);
                }
                Outcome::Failed(failure) => {
                    if !failure.may_fail_over(accepted.creates()) {
                        accepted.plan.give_up();
                    }
                    let at = (self.world.now(), self.jitter());
                    accepted.plan.failed(&live, &attempt, failure, at);
                }
            }
            let mut reply = self.reply(client, exchange);
            if reply.client_has_left().await {
                return reply.client_left();
            }
        }
    }

    /// rewrite → forward: one try at one channel.
    async fn attempt(
        &self,
        client: &mut Client<'_>,
        exchange: &mut Exchange,
        accepted: &Accepted,
        attempt: &Attempt,
    ) -> Outcome {
        let rewritten = match Rewritten::of(client.head(), exchange, accepted, attempt) {
            Ok(rewritten) => rewritten,
            Err(refusal) => return Outcome::Untranslatable(refusal),
        };
        let target = Target {
            channel: &attempt.channel,
            credential: &attempt.credential,
            secrets: std::slice::from_ref(&attempt.credential),
            operation: accepted.entry.operation,
            stream: accepted.inspection.stream,
            rewritten: &rewritten,
            creates: accepted.creates(),
            plan: &accepted.plan,
            early_ping: accepted.early_ping(&attempt.channel),
            rename: accepted.rename(attempt),
            model_upstream: &attempt.model_upstream,
            task: accepted.task.as_ref(),
            bodies: self.registry.bodies(),
            now_unix: exchange.unix_at(exchange.attempt_began),
            telling: exchange.telling(),
        };
        let mut reply = self.reply(client, exchange);
        let attempted = forward::attempt(&self.upstream, &target, &mut reply).await;
        // What it did with the answer, translated it or held it, is in it too.
        let now = self.world.now();
        let tried = attempted.tried(elapsed(exchange.attempt_began, now), &target);
        self.learn(exchange, &accepted.plan, attempt, (&tried, now));
        if matches!(attempted.outcome, Outcome::Answered(_)) {
            exchange.answered = now;
        }
        exchange.attempted(attempt, tried);
        attempted.outcome
    }

    /// observe: the answer, to its end.
    async fn pass_on(
        &self,
        client: &mut Client<'_>,
        exchange: &mut Exchange,
        accepted: Box<Accepted>,
        (mut attempt, answer): (Box<Attempt>, Box<Answer>),
    ) -> Sent {
        verdict::answered(&exchange.live, &mut attempt, answer.head.status.as_u16());
        if answer.head.status.is_success() {
            accepted.learn_usage(&exchange.live, &attempt.channel, exchange.answered);
        }
        if matches!(answer.reading, Reading::Socket) {
            return self.open_socket(client, exchange, (accepted, attempt, answer)).await;
        }
        let is_renamed = accepted.rename(&attempt).is_some();
        let relayed = Relayed {
            operation: accepted.entry.operation,
            binding: accepted.binding(exchange, &attempt),
            keeping: self.keeping(exchange, &accepted, &attempt),
            tab: accepted.task.as_ref().and_then(|of| of.task.tab.clone()),
            channel: Arc::clone(&attempt.channel),
            streams: self.registry.streams(),
            share: self.registry.bodies().share(),
            request_tokens: accepted.request_tokens,
            // From the first byte on nothing is sent again: the body's memory goes now.
            rename: Some(accepted.into_requested()).filter(|_| is_renamed),
        };
        exchange.slot = attempt.slot.take();
        exchange.charges.extend(attempt.charge.take());
        let sent = self.reply(client, exchange).relay(answer, relayed).await;
        let now = self.world.lately();
        exchange.answered_until(now);
        self.judge_end(exchange, &attempt, now);
        sent
    }

    /// Spreads what many gateways would otherwise do at the same moment.
    fn jitter(&self) -> u8 {
        self.world.random().to_le_bytes()[0]
    }

    fn reply<'a>(&'a self, client: &'a mut Client<'_>, exchange: &'a mut Exchange) -> Reply<'a> {
        Reply {
            client: client.lend(),
            exchange,
            world: &*self.world,
            draining: &self.draining,
            over: &self.over,
        }
    }

    /// One exchange from its head to its end.
    async fn exchange(&self, client: &mut Client<'_>, exchange: &mut Exchange, entry: Entry) -> Sent {
        let accepted = tokio::select! {
            biased;
            accepted = self.accept(client, exchange, entry) => accepted,
            () = waiting::ended(&self.draining, &self.over) => Err(Stop::Over),
        };
        match accepted {
            Ok(accepted) => self.serve(client, exchange, accepted).await,
            Err(stop) => self.stopped(client, exchange, stop).await,
        }
    }

    async fn stopped(&self, client: &mut Client<'_>, exchange: &mut Exchange, stop: Stop) -> Sent {
        let mut reply = self.reply(client, exchange);
        match stop {
            Stop::Refused(refusal) => reply.refuse(&refusal).await,
            Stop::ClientGone => reply.client_left(),
            Stop::Over => reply.given_up().await,
        }
    }
}

fn no_model() -> Refusal {
    Refusal::new(Code::InvalidRequest, "The request names no model. Add \"model\" to the body.")
        .param("model")
}

const DRAIN_UNREAD_MAX: Duration = Duration::from_secs(2);

//! The client's side of an exchange: our own answers, and the head of a provider's.
//!
//! Invariants: every answer carries the exchange's id; a refused client gets to read its answer, so what it
//! is still sending is read and thrown away, bounded; what could not be written whole is [`Sent::Broken`].

use crate::code::Code;
use crate::config::snapshot::Server;
use crate::gateway::body;
use crate::gateway::client::Client;
use crate::gateway::exchange::{Downstream, Exchange};
use crate::gateway::guard::Read;
use crate::gateway::guard::clock::within;
use crate::gateway::waiting::{is_over, long_over};
use crate::gateway::wire::AnswerHead;
use crate::limit::{Counted, Level, Nanos};
use crate::protocol::fields::Fields;
use crate::protocol::fields::names::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CONNECTION, CONTENT_LENGTH, EXPECT, ORIGIN,
    TRANSFER_ENCODING, VARY,
};
use crate::protocol::render::{self, LimitView, Limited};
use crate::protocol::{Medium, Operation, key_forms};
use crate::record::End;
use crate::refusal::Refusal;
use crate::world::World;
use bytes::Bytes;
use http::{StatusCode, Version};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Whether the client got an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// The answer is whole; the connection may serve again.
    Whole,
    /// It is not: the connection must not end politely.
    Broken,
}

/// The client's side of one exchange.
pub struct Reply<'a> {
    /// The connection.
    pub client: Client<'a>,
    /// The exchange.
    pub exchange: &'a mut Exchange,
    /// Clocks.
    pub world: &'a dyn World,
    /// Whether the process has been told to stop: connections then end with their answer.
    pub draining: &'a AtomicBool,
    /// Whether what is under way shall end now.
    pub over: &'a watch::Receiver<bool>,
}

impl std::fmt::Debug for Reply<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply").field("exchange", self.exchange.id()).finish_non_exhaustive()
    }
}

impl Reply<'_> {
    /// Says no, in the caller's dialect.
    pub async fn refuse(&mut self, refusal: &Refusal) -> Sent {
        let end = if refusal.code.is_upstream() { End::Failed } else { End::Refused };
        if !self.exchange.told_after.is_zero() {
            let turn = sleep(std::mem::take(&mut self.exchange.told_after));
            tokio::select! { () = turn => {}, () = is_over(self.over.clone()) => {} }
        }
        self.refuse_as(refusal, end).await
    }

    /// Ends an exchange that nobody waits for, or that the process has no time left for.
    pub async fn given_up(&mut self) -> Sent {
        if self.exchange.has_left() || !self.is_over() {
            return self.client_left();
        }
        let refusal = Refusal::new(Code::GatewayOverloaded, SHUTTING_DOWN).retry_after(SHUTTING_DOWN_WAIT);
        self.refuse_as(&refusal, End::Drained).await
    }

    async fn refuse_as(&mut self, refusal: &Refusal, end: End) -> Sent {
        self.exchange.ended(end, Some(refusal.code));
        self.exchange.record.limit_hit = refusal.limit;
        if self.exchange.downstream == Downstream::Opened {
            return self.refuse_in_stream(refusal).await;
        }
        let answer = render::refusal(self.exchange.record.dialect, refusal, self.exchange.id());
        self.whole(answer).await
    }

    /// Sends an answer of our own.
    pub async fn whole(&mut self, answer: render::Answer) -> Sent {
        let Ok(status) = StatusCode::from_u16(answer.status) else { return Sent::Broken };
        let mut head = AnswerHead { status, headers: Fields::of(&answer.headers) };
        if answer.status != 204 {
            head.headers.set_number(CONTENT_LENGTH, answer.body.len());
        }
        self.identify_answer(&mut head.headers);
        let unread = self.unread_body(answer.status);
        match unread {
            Unread::Nothing => {}
            // Pingora would close for any unread byte; these few are read below.
            Unread::Small => self.client.stays_though_unread(),
            Unread::Large | Unread::Withheld => self.client.make_last(),
        }
        if !self.write_head(head).await {
            return Sent::Broken;
        }
        let sent = self.write_last(Bytes::from(answer.body)).await;
        if matches!(unread, Unread::Small | Unread::Large) {
            self.discard_body().await;
        }
        sent
    }

    /// The head the client gets: the provider's, without what is nobody's business, with our ids.
    pub(super) fn client_head(&mut self, upstream: &mut AnswerHead, length: Option<usize>) -> AnswerHead {
        let mut headers = std::mem::take(&mut upstream.headers);
        key_forms::hide(&mut headers, &[CONTENT_LENGTH]);
        let mut head = AnswerHead { status: upstream.status, headers };
        if let Some(length) = length {
            self.exchange.left = Some(length as u64);
            head.headers.set_number(CONTENT_LENGTH, length);
        } else {
            self.frame(&mut head);
        }
        self.identify_answer(&mut head.headers);
        head
    }

    /// Says how a body of unknown length ends.
    pub(super) fn frame(&mut self, head: &mut AnswerHead) {
        let version = self.client.head().version;
        if version == Version::HTTP_11 && !matches!(head.status.as_u16(), 204 | 304) {
            head.headers.set(TRANSFER_ENCODING, "chunked");
        } else if version < Version::HTTP_11 {
            self.client.make_last();
            head.headers.set(CONNECTION, "close");
        }
    }

    /// What every answer carries: the exchange's id, the key's limits and, for allowed browsers, that they
    /// may read it.
    pub(super) fn identify_answer(&mut self, headers: &mut Fields) {
        for name in ["x-request-id", "request-id"] {
            headers.set(name, self.exchange.record.request_id.as_str());
        }
        let snapshot = &self.exchange.live.snapshot;
        if let Some(origin) = allowed_origin(&snapshot.server, &self.client) {
            headers.append(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.append(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
            headers.append(VARY, "origin");
        }
        if snapshot.server.loss_header && !self.exchange.record.losses.is_empty() {
            headers.set("x-tollgate-losses", header_text(&self.exchange.record.losses.words().join("; ")));
        }
        let now = self.world.lately();
        let (dialect, now_unix) = (self.exchange.record.dialect, self.exchange.unix_at(now));
        for view in self.limits(now).iter().flatten() {
            render::limit_headers(dialect, view, now_unix, headers);
        }
    }

    /// Of the limits this exchange counts against, for each thing they count the one that will be used up first.
    fn limits(&self, now: Nanos) -> Tightest {
        let mut tightest = [None; Limited::COUNT];
        let Some(key) = &self.exchange.key else { return tightest };
        let live = &self.exchange.live;
        let state = live.key(key.index);
        let requested = self.exchange.record.model_requested.as_ref();
        let model = requested.and_then(|model| state.model(&key.model_limits, model.as_str()));
        let gates = [Some(&state.gate), Some(live.group(key.group.index)), model];
        for gate in gates.into_iter().flatten() {
            let medium = self.exchange.record.operation.and_then(Operation::medium);
            if let Some(level) = gate.rpm_level(now).filter(|_| !medium.is_some_and(Medium::is_apart)) {
                tighten(&mut tightest, Limited::Requests, level);
            }
            if let Some(level) = medium.and_then(|medium| gate.medium_level(medium, now)) {
                tighten(&mut tightest, Limited::Requests, level);
            }
            for (counted, level) in gate.token_levels(now) {
                tighten(&mut tightest, Limited::Tokens, level);
                match counted {
                    Counted::All => {}
                    Counted::Input => tighten(&mut tightest, Limited::InputTokens, level),
                    Counted::Output => tighten(&mut tightest, Limited::OutputTokens, level),
                }
            }
        }
        tightest
    }

    /// Says no inside a stream that a keep-alive has opened.
    async fn refuse_in_stream(&mut self, refusal: &Refusal) -> Sent {
        let operation = self.exchange.record.operation.unwrap_or(Operation::ChatCompletions);
        let event = render::stream_error(operation, refusal.code, &refusal.message, self.exchange.id());
        self.write_last(event).await
    }

    pub(super) async fn write_head(&mut self, head: AnswerHead) -> bool {
        if self.exchange.has_left() {
            return true;
        }
        let now = self.world.now();
        self.exchange.record.ttfb.get_or_insert(elapsed(self.exchange.started, now));
        if self.exchange.answered > 0 {
            self.exchange.record.overhead.response = elapsed(self.exchange.answered, now);
        }
        if self.exchange.downstream == Downstream::Opened {
            return true;
        }
        self.exchange.record.status = head.status.as_u16();
        if self.draining.load(Ordering::Relaxed) {
            self.client.make_last();
        }
        // Pingora bounds the writes of a body, not those of a head and of the end.
        let (patience, unix) = (self.patience(), self.exchange.unix_at(now));
        let written = {
            let written = pin!(self.client.write_head(head, unix));
            within(patience, written).await.is_ok_and(|written| written.is_ok())
        };
        if !written {
            self.client_has_gone();
        }
        written
    }

    /// How long a client may take nothing.
    fn patience(&self) -> Duration {
        self.exchange.live.snapshot.server.timeouts.write_idle
    }

    pub(super) async fn write(&mut self, piece: Bytes) -> bool {
        let mut rest = if self.exchange.has_left() { Bytes::new() } else { piece };
        while !rest.is_empty() {
            // In pieces, because the time a write may take is counted for each.
            let part = rest.split_to(rest.len().min(WRITE_PIECE));
            let length = part.len() as u64;
            self.exchange.sends(length);
            let over = self.over;
            let written = tokio::select! {
                biased;
                written = self.client.write(part) => written.is_ok(),
                () = async { long_over(over.clone()).await } => false,
            };
            if !written {
                self.client_has_gone();
                return false;
            }
            self.exchange.record.bytes_out += length;
        }
        true
    }

    pub(super) async fn write_last(&mut self, piece: Bytes) -> Sent {
        if self.exchange.has_left() || !self.write(piece).await {
            return self.client_left();
        }
        // Small answers leave only here, so here too nobody is waited for whom the process has no time left for.
        let (patience, over) = (self.patience(), self.over);
        let ended = tokio::select! {
            biased;
            ended = async { within(patience, pin!(self.client.end())).await } => ended,
            () = async { long_over(over.clone()).await } => {
                self.client_has_gone();
                return self.client_left();
            }
        };
        // A client that has everything may well be gone by now; that is no early leaving.
        if ended.is_ok_and(|ended| ended.is_ok()) { Sent::Whole } else { Sent::Broken }
    }

    /// Books that the client left; where nothing was sent, as 499, which no client ever sees.
    pub fn client_left(&mut self) -> Sent {
        if self.exchange.record.status == 0 {
            self.exchange.record.status = CLIENT_CLOSED_REQUEST;
        }
        self.exchange.ended(End::ClientClosed, None);
        Sent::Broken
    }

    fn unread_body(&mut self, status: u16) -> Unread {
        if self.client.is_body_read() {
            return Unread::Nothing;
        }
        let headers = &self.client.head().headers;
        let unasked = headers.has(EXPECT) && !self.client.was_answered();
        if unasked || status == REQUEST_TIMEOUT {
            return Unread::Withheld;
        }
        let declared = body::declared_length(headers);
        let is_small = declared.is_some_and(|length| length <= DISCARDED_BYTES_MAX);
        if is_small { Unread::Small } else { Unread::Large }
    }

    /// Reads what the client is still sending, bounded, so that it sees the answer and not a reset.
    async fn discard_body(&mut self) {
        let mut left = DISCARDED_BYTES_MAX;
        let mut scratch = Vec::with_capacity(DISCARD_STEP);
        let discard = timeout(DISCARD_WAIT, async {
            loop {
                scratch.clear();
                let read = match self.client.read(&mut scratch).await {
                    Ok(Read::End | Read::Whole(_)) => return true,
                    Ok(Read::Piece(piece)) => piece.len(),
                    Ok(Read::Filled(read)) => read,
                    Ok(Read::NoRoom) | Err(_) => return false,
                };
                let Some(rest) = left.checked_sub(read) else { return false };
                left = rest;
            }
        });
        if discard.await != Ok(true) {
            self.client.make_last();
        }
    }
}

/// What of a request's body has not been read when its answer is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unread {
    Nothing,
    /// So little that reading it is cheaper than a new connection.
    Small,
    /// Much, or who knows how much.
    Large,
    /// It waits for our word before it comes, or has stopped coming: this answer is the word.
    Withheld,
}

/// Keeps a limit if none that counts the same has less left.
fn tighten(tightest: &mut Tightest, of: Limited, level: Level) {
    let known = &mut tightest[of as usize];
    if known.is_none_or(|known| level.remaining < known.remaining) {
        *known = Some(LimitView { of, limit: level.limit, remaining: level.remaining, reset: level.reset });
    }
}

/// By what is counted.
type Tightest = [Option<LimitView>; Limited::COUNT];

/// The request's origin, where the configuration allows it.
pub fn allowed_origin<'a>(server: &Server, client: &'a Client<'_>) -> Option<&'a str> {
    let origin = client.head().headers.text(ORIGIN)?;
    server.cors_origins.iter().any(|allowed| allowed == origin || allowed == "*").then_some(origin)
}

/// From one instant to another.
pub fn elapsed(from: Nanos, to: Nanos) -> Duration {
    Duration::from_nanos(to.saturating_sub(from))
}

/// A text as a header can carry it: names of members are the client's.
fn header_text(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}

/// What a browser's script may read of an answer beside its body: everything, as no cookies are involved; by name what SDKs
/// need in browsers that do not know the asterisk.
const EXPOSED: &str = "*, x-request-id, request-id, retry-after, retry-after-ms, x-should-retry";
const SHUTTING_DOWN: &str =
    "This gateway is shutting down before an answer has come. Send the request again.";
/// By then another one serves.
const SHUTTING_DOWN_WAIT: Duration = Duration::from_secs(1);
/// What has to be taken in the time a write may take: 546 bytes a second by default.
const WRITE_PIECE: usize = 32 * 1024;
/// What nginx logs for a client that left before an answer.
const CLIENT_CLOSED_REQUEST: u16 = 499;
/// A body that stopped arriving is not waited for again.
const REQUEST_TIMEOUT: u16 = 408;
const DISCARDED_BYTES_MAX: usize = 256 * 1024;
const DISCARD_STEP: usize = 16 * 1024;
const DISCARD_WAIT: Duration = Duration::from_secs(2);

//! A provider's answer on its way to the client, as it comes.
//!
//! Invariants: an answer that did not end honestly never looks finished: a cut stream gets one error event
//! of its dialect, a cut whole is aborted ([`Sent::Broken`] makes the page return an error, so that Pingora
//! writes no last chunk, and `guard::cut` resets a connection whose end would be the answer's); nothing is appended after a stream's terminal event; each upstream chunk is
//! written and flushed as it comes.

mod events;

use crate::code::Code;
use crate::config::snapshot::Channel;
use crate::gateway::body::declared_length;
use crate::gateway::exchange::Downstream;
use crate::gateway::forward::{self, Answer, Passing, Reading, is_plain_success};
use crate::gateway::reply::{Reply, Sent};
use crate::gateway::seen::Seen;
use crate::gateway::status;
use crate::gateway::waiting::{Due, Meanwhile, Silence};
use crate::id::KeyId;
use crate::protocol::observe::{self, AnswerFacts, Telling, estimate};
use crate::protocol::splice::{self, Pieces, splice};
use crate::protocol::{Operation, task};
use crate::record::End;
use crate::refusal::Refusal;
use crate::stage::task::Binding;
use crate::state::bodies::Share;
use crate::state::responses::{Keeper, Responses, Tab};
use crate::usage::{Usage, UsageSource};
use bytes::Bytes;
use smallvec::smallvec;
use smol_str::SmolStr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

/// What the relay needs to know of the attempt besides its answer.
#[derive(Debug)]
pub struct Relayed<'a> {
    /// How to read it.
    pub operation: Operation,
    /// The model's name to show, where it differs.
    pub rename: Option<SmolStr>,
    /// What its ids of tasks are bound to, where it tells of some.
    pub binding: Option<Binding>,
    /// Remembers who keeps it, where it is a response.
    pub keeping: Option<Keeping<'a>>,
    /// What is still to be booked of the response that is looked at.
    pub tab: Option<Arc<Tab>>,
    /// Whose answer it is.
    pub channel: Arc<Channel>,
    /// Counts the streams being relayed.
    pub streams: &'a Arc<AtomicI64>,
    /// What is held of an answer counts like what is held of requests.
    pub share: Share,
    /// What the request is estimated at, where the provider does not count.
    pub request_tokens: u64,
}

/// What remembers a response.
#[derive(Debug)]
pub struct Keeping<'a> {
    /// Where.
    pub responses: &'a Responses,
    /// Whose it is.
    pub key: KeyId,
    /// Who keeps it.
    pub keeper: Keeper,
}

impl Relayed<'_> {
    /// Remembers a response as soon as its id is known: its client may ask for it before it is whole.
    fn remember(&self, response: Option<&str>) {
        if let (Some(keeping), Some(id)) = (&self.keeping, response) {
            keeping.responses.learn(&keeping.key, id, keeping.keeper.clone());
        }
    }

    /// What bounds the provider's silence within a stream, and the client's.
    fn silence(&self) -> Silence {
        let ping = Some(self.channel.conduct.ping_interval).filter(|ping| !ping.is_zero());
        Silence::new(Some(self.channel.timeouts.idle), ping)
    }
}

impl Reply<'_> {
    /// Relays a provider's answer to its end.
    pub async fn relay(&mut self, answer: Box<Answer>, relayed: Relayed<'_>) -> Sent {
        let request_tokens = relayed.request_tokens;
        let looked_at = relayed.tab.clone();
        let made = relayed.keeping.as_ref().and_then(|keeping| keeping.keeper.tab.clone());
        let sent = match answer.reading {
            Reading::Made(_)
                if self.exchange.downstream == Downstream::Opened && !answer.head.status.is_success() =>
            {
                self.told_in_stream(&answer).await
            }
            Reading::Whole | Reading::Held(_) if self.exchange.downstream == Downstream::Opened => {
                self.told_in_stream(&answer).await
            }
            Reading::Events(_) => self.relay_events(answer, relayed).await,
            Reading::Held(_) => self.relay_renamed(answer, relayed).await,
            Reading::Made(_) => self.relay_made(answer, relayed).await,
            Reading::Whole => self.relay_whole(answer, relayed).await,
            // Whoever opened it has taken it before.
            Reading::Socket => Sent::Broken,
        };
        self.exchange.complete_usage(request_tokens);
        let record = &self.exchange.record;
        if let Some(tab) = made {
            tab.made(record.usage, record.usage_source == UsageSource::Reported);
        }
        // What was seen of one that goes on, or broke off on its way here, without a count.
        if let Some(tab) = looked_at.filter(|_| self.exchange.unreported > 0) {
            let (seen, source) = estimate::complete(None, 0, self.exchange.unreported);
            self.exchange.book_rest(&tab, tab.seen(seen.output), source);
        }
        sent
    }

    /// Tells what cannot be an answer any more, because a keep-alive has opened the stream.
    async fn told_in_stream(&mut self, answer: &Answer) -> Sent {
        let status = answer.head.status;
        let refusal = if status.is_success() {
            Refusal::new(Code::UpstreamError, "The AI provider answered without a stream.")
        } else {
            let said = status::text(&answer.held.concat());
            let message =
                format!("The AI provider refused the request with status {}: {said}", status.as_u16());
            Refusal::new(Code::InvalidRequest, message)
        };
        self.refuse(&refusal).await
    }

    /// Relays a body as it comes, and reads the usage from a copy of its slices.
    async fn relay_whole(&mut self, mut answer: Box<Answer>, mut relayed: Relayed<'_>) -> Sent {
        let length = declared_length(&answer.head.headers).filter(|_| answer.head.status != 204);
        let share = std::mem::take(&mut relayed.share);
        let mut seen = Seen::of(relayed.operation, is_plain_success(&answer.head), share);
        let head = self.client_head(&mut answer.head, length);
        if !self.write_head(head).await && !self.wants_rest(&relayed.channel) {
            return self.client_left();
        }
        let ended = self.pass_whole(&mut answer, &relayed, &mut seen).await;
        // Up to where it broke off, if it did.
        if let Some(body) = seen.take() {
            self.read_body(&observe::answer(relayed.operation, &body), &body, &relayed);
        }
        match ended {
            Chunk::ClientGone => self.client_left(),
            Chunk::Idle => self.cut(End::StreamIdleTimeout, Some(Code::StreamIdleTimeout)),
            Chunk::Lost => self.cut(End::StreamTruncated, Some(Code::StreamTruncated)),
            Chunk::Over => self.cut(End::Drained, Some(Code::StreamTruncated)),
            Chunk::End | Chunk::Bytes(_) | Chunk::Silent => {
                self.exchange.ended(End::Ok, None);
                let sent = self.write_last(Bytes::new()).await;
                forward::recycle(answer);
                sent
            }
        }
    }

    /// Passes a body on to its end, or to what ends it early.
    async fn pass_whole(&mut self, answer: &mut Answer, relayed: &Relayed<'_>, seen: &mut Seen) -> Chunk {
        let idle = relayed.channel.timeouts.idle;
        let mut silence = Silence::new(Some(idle), None);
        if answer.held.is_empty() {
            silence = silence.at_first(answer.at_first(self.world.lately(), idle));
        }
        let mut early = std::mem::take(&mut answer.held).into_iter();
        loop {
            let next = match early.next() {
                Some(piece) => Chunk::Bytes(piece),
                None if answer.complete => Chunk::End,
                None => {
                    let satisfied = self.exchange.left == Some(0);
                    self.next_chunk(answer, relayed, &mut silence, satisfied).await
                }
            };
            match next {
                Chunk::Bytes(piece) => {
                    if !seen.keep(&piece) {
                        seen.forget();
                    }
                    // Its tokens are settled before the client can know that this was the last of it.
                    if self.exchange.left == Some(piece.len() as u64)
                        && let Some(body) = seen.take()
                    {
                        self.read_body(&observe::answer(relayed.operation, &body), &body, relayed);
                    }
                    if !self.deliver(piece, &relayed.channel).await {
                        return Chunk::ClientGone;
                    }
                }
                Chunk::Silent => {}
                // It has every byte that was announced to it.
                Chunk::ClientGone if self.exchange.left == Some(0) => return Chunk::End,
                ended => return ended,
            }
        }
    }

    /// Relays a JSON answer under the model's name the client asked for, its tasks under our ids.
    async fn relay_renamed(&mut self, mut answer: Box<Answer>, relayed: Relayed<'_>) -> Sent {
        let reading = std::mem::replace(&mut answer.reading, Reading::Whole);
        let Reading::Held(mut seen) = reading else { return Sent::Broken };
        let body = seen.take().unwrap_or_default();
        let facts = observe::answer(relayed.operation, &body);
        self.read_body(&facts, &body, &relayed);
        let mut edits =
            relayed.binding.as_ref().map(|binding| task::ids(&body, |id| binding.id(id))).unwrap_or_default();
        for edit in relayed.rename.iter().flat_map(|requested| facts.renamed(requested)) {
            splice::insert(&mut edits, edit);
        }
        let pieces = splice(&body, &edits);
        self.give(answer, pieces, &relayed).await
    }

    /// Sends an answer that was written anew.
    async fn relay_made(&mut self, mut answer: Box<Answer>, relayed: Relayed<'_>) -> Sent {
        let reading = std::mem::replace(&mut answer.reading, Reading::Whole);
        let Reading::Made(made) = reading else { return Sent::Broken };
        self.read(&made.facts, &relayed);
        self.exchange.told(made.told.as_ref());
        self.exchange.lost(&made.losses);
        self.give(answer, smallvec![made.body], &relayed).await
    }

    /// Sends an answer that is there as a whole.
    async fn give(&mut self, mut answer: Box<Answer>, pieces: Pieces, relayed: &Relayed<'_>) -> Sent {
        let length: usize = pieces.iter().map(Bytes::len).sum();
        let head = self.client_head(&mut answer.head, Some(length));
        if !self.write_head(head).await {
            return self.client_left();
        }
        for piece in pieces {
            if !self.deliver(piece, &relayed.channel).await {
                return self.client_left();
            }
        }
        self.exchange.ended(End::Ok, None);
        let sent = self.write_last(Bytes::new()).await;
        forward::recycle(answer);
        sent
    }

    /// The next bytes of the answer, or why there are none; a satisfied client has all that was promised to
    /// it, and leaving is nothing to be made up for.
    async fn next_chunk(
        &mut self,
        answer: &mut Answer,
        relayed: &Relayed<'_>,
        silence: &mut Silence,
        satisfied: bool,
    ) -> Chunk {
        let mut read = pin!(answer.wire.read());
        loop {
            let read = match self.meanwhile(read.as_mut(), silence.wait()).await {
                Meanwhile::Done(read) => read,
                Meanwhile::Over => return Chunk::Over,
                Meanwhile::Left if satisfied => return Chunk::ClientGone,
                Meanwhile::Left => {
                    self.client_has_gone();
                    if self.wants_rest(&relayed.channel) {
                        continue;
                    }
                    return Chunk::ClientGone;
                }
                Meanwhile::Silent => {
                    return if silence.passed() == Due::Idle { Chunk::Idle } else { Chunk::Silent };
                }
            };
            silence.heard();
            return match read {
                Ok(Some(_)) if !self.wants_rest(&relayed.channel) => Chunk::ClientGone,
                Ok(Some(bytes)) => Chunk::Bytes(bytes),
                Ok(None) => Chunk::End,
                Err(_) => Chunk::Lost,
            };
        }
    }

    /// Writes, unless the client has left and the answer is read on without it. Whether to go on.
    async fn deliver(&mut self, piece: Bytes, channel: &Channel) -> bool {
        // Pinned, because to await it as it is would be to move all of it.
        let written = { pin!(self.write(piece)).await };
        written || self.wants_rest(channel)
    }

    pub(super) fn cut(&mut self, end: End, code: Option<Code>) -> Sent {
        if self.exchange.has_left() {
            return self.client_left();
        }
        self.exchange.ended(end, code);
        Sent::Broken
    }

    /// Books what a stream has said so far.
    fn observed(&mut self, observer: &Passing, relayed: &Relayed<'_>) {
        self.usage(observer.usage(), relayed);
        self.exchange.unreported = observer.unreported();
        self.exchange.signatures = observer.signatures().to_vec();
        self.exchange.told(observer.told());
    }

    /// Books what was read of a whole answer.
    fn read_body(&mut self, facts: &AnswerFacts, body: &[u8], relayed: &Relayed<'_>) {
        self.read(facts, relayed);
        if self.exchange.telling() == Telling::Trace {
            self.exchange.told(Some(&observe::told(relayed.operation, body)));
        }
    }

    /// Books what a whole answer says.
    fn read(&mut self, facts: &AnswerFacts, relayed: &Relayed<'_>) {
        relayed.remember(facts.response.as_deref());
        self.usage(facts.usage, relayed);
        self.exchange.unreported = facts.unreported;
        self.exchange.signatures.clone_from(&facts.signatures);
    }

    fn usage(&mut self, usage: Option<Usage>, relayed: &Relayed<'_>) {
        if let (Some(tab), Some(usage)) = (&relayed.tab, usage) {
            self.exchange.book_rest(tab, tab.close(usage), UsageSource::Reported);
        }
        let has_usage = self.exchange.record.operation.is_some_and(Operation::has_usage);
        if let Some(usage) = usage.filter(|_| has_usage) {
            self.exchange.record.usage = usage;
            self.exchange.record.usage_source = UsageSource::Reported;
        }
    }
}

enum Chunk {
    Bytes(Bytes),
    End,
    /// Nothing for a while, but not for too long.
    Silent,
    Idle,
    Lost,
    ClientGone,
    /// The process ends.
    Over,
}

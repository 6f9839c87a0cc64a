//! Both directions of a conversation, in one task.
//!
//! Reading one side never waits for writing to it, so that a client that sends while it is slow to read is no deadlock; where one
//! side takes nothing the other is read no further.
//! Invariants: what waits in either direction is bounded; who is silent is asked whether it is there (RFC 6455 section 5.5.2), and
//! what it answers to us the other side never sees.

use super::books::{Books, FromClient, FromProvider};
use super::line::{Due, Line};
use crate::gateway::guard::Guarded;
use crate::gateway::guard::clock::{self, Clock};
use crate::gateway::waiting::is_over;
use crate::protocol::websocket::passage::Passage;
use crate::protocol::websocket::{Breach, Opcode, Writer, write_frame};
use crate::refusal::Refusal;
use pingora::protocols::Stream;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// A conversation.
pub(super) struct Talk<'a> {
    pub(super) books: Books<'a>,
    pub(super) client: Line<&'a mut Guarded>,
    pub(super) provider: Line<Stream>,
    /// What the client says.
    pub(super) up: Passage,
    /// What the provider says.
    pub(super) down: Passage,
    buffer: Box<[u8]>,
    passed: Vec<u8>,
    clock: Clock,
    /// Since when one side has closed and the other has not.
    closing: Option<Instant>,
}

/// Why a conversation ends.
#[derive(Debug)]
pub(super) enum Why {
    /// Both sides said so.
    Closed,
    /// The client is gone, or cannot be reached.
    ClientGone,
    /// The provider's connection ended without a word.
    ProviderGone,
    /// The client broke the protocol.
    ClientBreach(Breach),
    /// The provider did.
    ProviderBreach(Breach),
    /// The provider has said nothing for too long, nor that it is there.
    ProviderSilent,
    /// We do not let it go on.
    Refused(Refusal),
    /// The process ends.
    Over,
}

/// What happened.
enum Turn {
    FromClient(io::Result<usize>),
    FromProvider(io::Result<usize>),
    ClientGone,
    ProviderGone,
    Time,
    Over,
}

impl<'a> Talk<'a> {
    pub(super) fn new(books: Books<'a>, client: &'a mut Guarded, provider: Stream) -> Self {
        let now = clock::now();
        Self {
            books,
            client: Line::new(client, now),
            provider: Line::new(provider, now),
            up: Passage::new(Writer::Client, MESSAGE_BYTES_MAX),
            down: Passage::new(Writer::Server, MESSAGE_BYTES_MAX),
            buffer: vec![0; READ_BYTES].into(),
            passed: Vec::new(),
            clock: Clock::default(),
            closing: None,
        }
    }

    /// Holds it until it ends; `early` is what the provider said with its answer.
    pub(super) async fn hold(&mut self, early: &[u8], over: watch::Receiver<bool>) -> Why {
        let mut over = pin!(is_over(over));
        let mut told = self.provider_says(early);
        loop {
            if let Some(why) = told.or_else(|| self.decided()) {
                return why;
            }
            let turn = poll_fn(|context| self.poll_turn(context, over.as_mut())).await;
            let now = clock::now();
            told = match turn {
                Turn::FromClient(Ok(read @ 1..)) => {
                    self.client.heard = now;
                    self.heard_client(read)
                }
                Turn::FromProvider(Ok(read @ 1..)) => {
                    self.provider.heard = now;
                    let buffer = std::mem::take(&mut self.buffer);
                    let told = self.provider_says(&buffer[..read]);
                    self.buffer = buffer;
                    told
                }
                Turn::FromClient(_) | Turn::ClientGone if self.provider.closing => Some(Why::Closed),
                Turn::FromClient(_) | Turn::ClientGone => Some(Why::ClientGone),
                Turn::FromProvider(_) | Turn::ProviderGone
                    if self.provider.closing || self.client.closing =>
                {
                    Some(Why::Closed)
                }
                Turn::FromProvider(_) | Turn::ProviderGone => Some(Why::ProviderGone),
                Turn::Time => self.time(now),
                Turn::Over => Some(Why::Over),
            };
        }
    }

    /// What ends it beside what happened last.
    fn decided(&mut self) -> Option<Why> {
        if let Some(refusal) = self.books.refused.take() {
            return Some(Why::Refused(refusal));
        }
        if (self.client.closing || self.provider.closing) && self.closing.is_none() {
            self.closing = Some(clock::now() + CLOSE_WAIT);
        }
        let over = self.closing.is_some_and(|until| clock::now() >= until);
        (over || self.client.closing && self.provider.closing).then_some(Why::Closed)
    }

    fn heard_client(&mut self, read: usize) -> Option<Why> {
        self.books.exchange.record.bytes_in += read as u64;
        // Behind its close frame it has nothing to say.
        if self.client.closing {
            return None;
        }
        let mut reader = FromClient { books: &mut self.books, closing: &mut self.client.closing };
        let fed = self.up.feed(&self.buffer[..read], &mut reader, &mut self.passed);
        self.provider.send(&self.passed);
        self.passed.clear();
        self.passed.shrink_to(READ_BYTES);
        self.tell_client();
        fed.err().map(Why::ClientBreach)
    }

    fn provider_says(&mut self, said: &[u8]) -> Option<Why> {
        if self.provider.closing {
            return None;
        }
        let mut reader = FromProvider { books: &mut self.books, closing: &mut self.provider.closing };
        let fed = self.down.feed(said, &mut reader, &mut self.passed);
        self.books.exchange.record.bytes_out += self.passed.len() as u64;
        self.client.send(&self.passed);
        self.passed.clear();
        self.passed.shrink_to(READ_BYTES);
        self.tell_client();
        fed.err().map(Why::ProviderBreach)
    }

    /// What we have to say to the client ourselves, where it can stand.
    pub(super) fn tell_client(&mut self) {
        let may_speak = self.down.between_messages() && !self.provider.closing && !self.client.is_full();
        if self.books.says.is_empty() || !may_speak {
            return;
        }
        let mut frames = Vec::new();
        for event in self.books.says.drain(..) {
            write_frame(Opcode::Text, &event, None, &mut frames);
        }
        self.books.exchange.record.bytes_out += frames.len() as u64;
        self.client.send(&frames);
    }

    fn time(&mut self, now: Instant) -> Option<Why> {
        // Who is not read has no chance to be heard.
        if self.client.is_full() {
            self.provider.heard = now;
        }
        if self.provider.is_full() {
            self.client.heard = now;
        }
        let patience = self.books.patience;
        match self.client.due(now, patience) {
            Due::Gone => return Some(Why::ClientGone),
            Due::Ping => {
                self.client.asked(now);
                if self.down.at_boundary() && !self.provider.closing {
                    let mut frame = Vec::new();
                    write_frame(Opcode::Ping, PING, None, &mut frame);
                    self.client.send(&frame);
                }
            }
            Due::Nothing => {}
        }
        match self.provider.due(now, patience) {
            Due::Gone => return Some(Why::ProviderSilent),
            Due::Ping => {
                self.provider.asked(now);
                if self.up.at_boundary() && !self.client.closing {
                    let mut frame = Vec::new();
                    write_frame(Opcode::Ping, PING, Some(self.books.mask()), &mut frame);
                    self.provider.send(&frame);
                }
            }
            Due::Nothing => {}
        }
        None
    }

    fn poll_turn(
        &mut self,
        context: &mut Context<'_>,
        over: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<Turn> {
        if let Poll::Ready(Err(_)) = self.client.poll_write(context) {
            return Poll::Ready(Turn::ClientGone);
        }
        if let Poll::Ready(Err(_)) = self.provider.poll_write(context) {
            return Poll::Ready(Turn::ProviderGone);
        }
        if over.poll(context).is_ready() {
            return Poll::Ready(Turn::Over);
        }
        if !self.client.is_full()
            && let Poll::Ready(read) = self.provider.poll_read(context, &mut self.buffer)
        {
            return Poll::Ready(Turn::FromProvider(read));
        }
        if !self.provider.is_full()
            && let Poll::Ready(read) = self.client.poll_read(context, &mut self.buffer)
        {
            return Poll::Ready(Turn::FromClient(read));
        }
        let patience = self.books.patience;
        let due = self.client.next_due(patience).min(self.provider.next_due(patience));
        let due = self.closing.map_or(due, |until| until.min(due));
        if self.clock.has_struck(due, context) { Poll::Ready(Turn::Time) } else { Poll::Pending }
    }
}

/// What a ping of ours carries, by which its answer is known.
pub(super) const PING: &[u8] = b"tollgate";
/// One message: the sound of half an hour. It is not held.
const MESSAGE_BYTES_MAX: u64 = 64 << 20;
const READ_BYTES: usize = 16 << 10;
/// How long a side that was told of the end may take to say so too.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

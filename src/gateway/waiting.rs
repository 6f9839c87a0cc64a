//! The client while a provider is waited for: it may leave, and a stream that is silent for long is kept alive.
//!
//! Invariants: keep-alives go out between two events only; the first one before any answer commits to status
//! 200, so it is only sent where the channel says so; an answer that is read on without its client is bounded.

use crate::config::snapshot::{Channel, ClientAbort};
use crate::gateway::exchange::Downstream;
use crate::gateway::guard::clock;
use crate::gateway::reply::{Reply, elapsed};
use crate::gateway::seldom::seldom;
use crate::gateway::wire::AnswerHead;
use crate::protocol::fields::Fields;
use crate::protocol::fields::names::{CACHE_CONTROL, CONTENT_TYPE};
use crate::protocol::{Operation, render};
use crate::world;
use bytes::Bytes;
use http::StatusCode;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// What came first.
#[derive(Debug)]
pub enum Meanwhile<T> {
    /// What was waited for.
    Done(T),
    /// The time is over.
    Silent,
    /// The client has left.
    Left,
    /// The process ends.
    Over,
}

/// How long nothing has been heard, and nothing said: in waits, without a clock.
#[derive(Debug)]
pub struct Silence {
    idle: Option<Duration>,
    /// What bounds it instead once something was heard.
    idle_then: Option<Duration>,
    ping: Option<Duration>,
    unheard: Duration,
    unsaid: Duration,
    wait: Option<Duration>,
}

/// What is due when a wait has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// The provider has been silent for too long.
    Idle,
    /// The client should hear something.
    Ping,
}

impl Silence {
    /// Nothing has passed yet; `idle` bounds the provider's silence, `ping` the client's.
    pub fn new(idle: Option<Duration>, ping: Option<Duration>) -> Self {
        Self { idle, idle_then: idle, ping, unheard: Duration::ZERO, unsaid: Duration::ZERO, wait: None }
    }

    /// Until something is heard, so much silence is borne.
    #[must_use]
    pub fn at_first(self, idle: Duration) -> Self {
        Self { idle: Some(idle), ..self }
    }

    /// How long to wait next; `None`: for ever.
    pub fn wait(&mut self) -> Option<Duration> {
        let idle = self.idle.map(|idle| idle.saturating_sub(self.unheard));
        let ping = self.ping.map(|ping| ping.saturating_sub(self.unsaid));
        self.wait = idle.into_iter().chain(ping).min();
        self.wait
    }

    /// That wait has passed.
    pub fn passed(&mut self) -> Due {
        let waited = self.wait.unwrap_or_default();
        self.unheard += waited;
        self.unsaid += waited;
        if self.idle.is_some_and(|idle| self.unheard >= idle) {
            return Due::Idle;
        }
        self.unsaid = Duration::ZERO;
        Due::Ping
    }

    /// The provider said something.
    pub fn heard(&mut self) {
        self.idle = self.idle_then;
        self.unheard = Duration::ZERO;
        self.unsaid = Duration::ZERO;
    }
}

impl Reply<'_> {
    /// Waits for the work, the client or the time.
    pub async fn meanwhile<T>(
        &mut self,
        work: Pin<&mut impl Future<Output = T>>,
        wait: Option<Duration>,
    ) -> Meanwhile<T> {
        // Work that is always done at once would never let the end be seen.
        if self.is_over() {
            return Meanwhile::Over;
        }
        let left = self.exchange.has_left();
        let (draining, over) = (self.draining, self.over);
        let clock = &mut self.exchange.clock;
        let mut deadline = None;
        // It begins where there is something to wait for.
        let silent = poll_fn(|context| match wait {
            Some(wait) if clock.has_struck(*deadline.get_or_insert_with(|| clock::now() + wait), context) => {
                Poll::Ready(())
            }
            _ => Poll::Pending,
        });
        tokio::select! {
            biased;
            done = work => Meanwhile::Done(done),
            () = self.client.gone(), if !left => Meanwhile::Left,
            () = silent => Meanwhile::Silent,
            () = ended(draining, over) => Meanwhile::Over,
        }
    }

    /// Waits so long; says whether the exchange goes on then.
    pub async fn pause(&mut self, wait: Duration) -> bool {
        matches!(self.meanwhile(pin!(pending::<()>()), Some(wait)).await, Meanwhile::Silent)
    }

    /// Whether the process ends, and what is under way with it.
    pub fn is_over(&self) -> bool {
        has_ended(self.draining, self.over)
    }

    /// Whether the client has left by now: nothing is tried for one that has.
    pub async fn client_has_left(&mut self) -> bool {
        if self.exchange.has_left() {
            return true;
        }
        let mut gone = pin!(self.client.gone());
        poll_fn(|context| Poll::Ready(gone.as_mut().poll(context).is_ready())).await
    }

    /// Books that the client is gone: its key's slots are given back, whether or not its answer is read on.
    pub fn client_has_gone(&mut self) {
        if !self.exchange.has_left() {
            self.exchange.downstream = Downstream::Left(self.world.now());
            self.exchange.admitted = None;
        }
    }

    /// Whether the rest of the answer is wanted: by its client, or for its usage where the channel says so.
    pub fn wants_rest(&self, channel: &Channel) -> bool {
        let Downstream::Left(since) = self.exchange.downstream else { return true };
        // It is read on for its usage; of a film, or of what costs nothing, there is none to come.
        let counts = self.exchange.record.operation.is_some_and(Operation::has_usage);
        let drains = counts && channel.conduct.on_client_abort == ClientAbort::Drain;
        drains && elapsed(since, self.world.now()) < READ_ON_MAX
    }

    /// Keeps a client alive that has heard nothing yet: opens its stream. Whether it is still there.
    pub async fn open_with_ping(&mut self, operation: Operation) -> bool {
        if self.exchange.downstream == Downstream::Waiting {
            let head = self.stream_head();
            if !self.write_head(head).await {
                return false;
            }
            self.exchange.downstream = Downstream::Opened;
            // That was our own word; the provider's first is still to come.
            self.exchange.record.ttfb = None;
        }
        self.write(Bytes::from_static(render::ping(operation))).await
    }

    fn stream_head(&mut self) -> AnswerHead {
        let headers = Fields::of(&[
            (CONTENT_TYPE, "text/event-stream; charset=utf-8"),
            (CACHE_CONTROL, "no-cache, no-transform"),
            ("x-accel-buffering", "no"),
        ]);
        let mut head = AnswerHead { status: StatusCode::OK, headers };
        self.frame(&mut head);
        self.identify_answer(&mut head.headers);
        head
    }
}

fn has_ended(draining: &AtomicBool, over: &watch::Receiver<bool>) -> bool {
    draining.load(Ordering::Relaxed) && *over.borrow()
}

/// Resolves when the process ends; whoever waits for it is woken then by [`woken_when_over`].
pub async fn ended(draining: &AtomicBool, over: &watch::Receiver<bool>) {
    poll_fn(|_| if has_ended(draining, over) { Poll::Ready(()) } else { Poll::Pending }).await;
}

/// Does this, and looks at it once more when the process ends: whatever waits in it finds out for itself. One look at what all
/// threads share for all exchanges of a connection, instead of one for each wait of each.
pub async fn woken_when_over<T>(
    over: watch::Receiver<bool>,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> T {
    let mut over = pin!(seldom(is_over(over)));
    let mut has_come = false;
    poll_fn(|context| {
        has_come = has_come || over.as_mut().poll(context).is_ready();
        world::turn(|| work.as_mut().poll(context))
    })
    .await
}

/// Resolves when the process has waited long enough for a client to take what was written for it.
pub async fn long_over(over: watch::Receiver<bool>) {
    is_over(over).await;
    sleep(LAST_WORDS_MAX).await;
}

/// Resolves when the process ends; never where nobody is left to say so.
pub async fn is_over(mut over: watch::Receiver<bool>) {
    if over.wait_for(|over| *over).await.is_err() {
        pending::<()>().await;
    }
}

/// What is read slowly is given this much longer than everything else when the process ends.
const LAST_WORDS_MAX: Duration = Duration::from_secs(2);
/// An answer nobody waits for is read no longer than this for its usage: what most providers allow at most.
const READ_ON_MAX: Duration = Duration::from_secs(900);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn silence_is_filled_with_pings_until_the_provider_has_been_silent_for_too_long() {
        let mut silence = Silence::new(Some(40 * SECOND), Some(15 * SECOND));
        let mut due = Vec::new();
        for _ in 0..3 {
            due.push((silence.wait(), silence.passed()));
        }
        let (fifteen, ten) = (Some(15 * SECOND), Some(10 * SECOND));
        assert_eq!(due, [(fifteen, Due::Ping), (fifteen, Due::Ping), (ten, Due::Idle)]);
        silence.heard();
        assert_eq!((silence.wait(), silence.passed()), (fifteen, Due::Ping));
    }

    #[test]
    fn the_first_word_may_take_longer_than_the_next() {
        let mut silence = Silence::new(Some(SECOND), None).at_first(9 * SECOND);
        assert_eq!(silence.wait(), Some(9 * SECOND));
        silence.heard();
        assert_eq!((silence.wait(), silence.passed()), (Some(SECOND), Due::Idle));
    }

    #[test]
    fn without_a_ping_only_the_end_is_waited_for() {
        let mut silence = Silence::new(Some(SECOND), None);
        assert_eq!((silence.wait(), silence.passed()), (Some(SECOND), Due::Idle));
        assert_eq!(Silence::new(None, None).wait(), None);
    }
}

//! How slowly bytes may move while somebody waits for them.
//!
//! Only waiting counts: a client that is kept waiting by us, or a stream that has nothing to say, is not slow.
//! Invariants: who moves nothing for `idle` is late, and so is who moves less than `bytes` in a `window` of waiting;
//! what moved quickly before earns no right to stop.

use super::clock::{Clock, now};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// What is asked of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The longest wait without a byte.
    pub idle: Duration,
    /// In so much waiting …
    pub window: Duration,
    /// … so many bytes have to move.
    pub bytes: u64,
}

impl Rate {
    /// Of a request's body, with this much patience for silence.
    pub fn of_bodies(idle: Duration) -> Self {
        Self { idle, window: BODY_WINDOW, bytes: BODY_BYTES_PER_SECOND_MIN * BODY_WINDOW.as_secs() }
    }

    /// Of what a client is sent. A socket takes bytes in lumps, so the window is as long as the silence.
    pub fn of_answers(idle: Duration) -> Self {
        Self { idle, window: idle, bytes: ANSWER_BYTES_PER_SECOND_MIN * idle.as_secs() }
    }
}

/// Bytes a second of a body that is waited for: less is an attack or a line nobody can work with.
const BODY_BYTES_PER_SECOND_MIN: u64 = 1 << 10;
const BODY_WINDOW: Duration = Duration::from_secs(10);
/// Bytes a second of an answer that is waiting to be taken.
const ANSWER_BYTES_PER_SECOND_MIN: u64 = 512;

/// One direction of one connection.
#[derive(Debug, Default)]
pub struct Pace {
    /// Since when nothing has moved that is waited for; `None`: nothing is.
    since: Option<Instant>,
    /// From when on that counts for the window.
    from: Option<Instant>,
    /// What was waited in the window before.
    waited: Duration,
    /// In the window.
    moved: u64,
    clock: Clock,
}

impl Pace {
    /// The work's result; `None`: bytes it waits for came too slowly.
    pub async fn within<T>(&mut self, rate: &Rate, mut work: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if self.is_late(rate, context) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// Bytes moved.
    pub fn moved(&mut self, bytes: usize) {
        self.since = None;
        if let Some(from) = self.from.take() {
            self.waited += now().saturating_duration_since(from);
        }
        self.moved += bytes as u64;
    }

    /// What moves next has nothing to do with what has moved.
    pub(super) fn anew(&mut self) {
        (self.since, self.from, self.waited, self.moved) = (None, None, Duration::ZERO, 0);
    }

    /// Nothing moves now; says whether that has been so for too long, and else wakes when it will have.
    pub(super) fn is_late(&mut self, rate: &Rate, context: &mut Context<'_>) -> bool {
        loop {
            let since = *self.since.get_or_insert_with(now);
            let from = *self.from.get_or_insert(since);
            let (silent, window) = (since + rate.idle, from + rate.window.saturating_sub(self.waited));
            if !self.clock.has_struck(silent.min(window), context) {
                return false;
            }
            if silent <= window || self.moved < rate.bytes {
                return true;
            }
            // A new window; the silence so far goes on.
            (self.from, self.waited, self.moved) = (Some(window), Duration::ZERO, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use tokio::time::advance;

    /// The stopped clock goes on when nothing else is to do.
    async fn passing(time: Duration) {
        drop(tokio::time::timeout(time, std::future::pending::<()>()).await);
    }

    const RATE: Rate = Rate { idle: Duration::from_secs(30), window: Duration::from_secs(10), bytes: 10_240 };

    /// Moves `bytes` each `every` until it is late; after how many seconds that was.
    async fn late_after(rate: Rate, bytes: usize, every: Duration) -> u64 {
        let (mut pace, began) = (Pace::default(), now());
        loop {
            if pace.within(&rate, pin!(passing(every))).await.is_none() {
                return now().duration_since(began).as_secs();
            }
            pace.moved(bytes);
            if now().duration_since(began) > Duration::from_secs(3600) {
                return u64::MAX;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_after_its_time_and_a_drip_after_its_window() {
        let second = Duration::from_secs(1);
        let hour = 3600 * second;
        assert_eq!(late_after(RATE, 0, hour).await, 10, "nothing at all is below every rate");
        assert_eq!(late_after(Rate { window: hour, ..RATE }, 0, hour).await, 30);
        assert_eq!(late_after(RATE, 1, second).await, 10);
        assert_eq!(late_after(RATE, 1_000, second).await, 10);
        assert_eq!(late_after(RATE, 1_200, second).await, u64::MAX);
        assert_eq!(late_after(RATE, 40_000, 9 * second).await, u64::MAX, "lumps are no drip");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_quick_before_may_not_stop() {
        let mut pace = Pace::default();
        pace.moved(1 << 30);
        let began = now();
        assert_eq!(pace.within(&RATE, pin!(std::future::pending::<()>())).await, None);
        assert_eq!(now().duration_since(began).as_secs(), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_waits_does_not_count() {
        let mut pace = Pace::default();
        for _ in 0..100 {
            advance(Duration::from_secs(60)).await;
            let late = poll_fn(|context| Poll::Ready(pace.is_late(&RATE, context))).await;
            assert!(!late);
            pace.moved(1);
        }
    }
}

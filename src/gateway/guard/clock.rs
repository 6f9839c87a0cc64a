//! Time for those who wait again and again: a timer that is set anew for every wait, and seldom rings.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

/// A timer that costs nothing until it is needed and is set again without a new one.
#[derive(Debug, Default)]
pub struct Clock(Option<Pin<Box<Sleep>>>);

impl Clock {
    /// Whether it is `deadline`; else the task is woken then, or once before.
    pub fn has_struck(&mut self, deadline: Instant, context: &mut Context<'_>) -> bool {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        // One that rings early is set anew only then: most waits are over before, and each would have to set it.
        while sleep.as_mut().poll(context).is_ready() {
            if sleep.deadline() >= deadline {
                return true;
            }
            sleep.as_mut().reset(deadline);
        }
        false
    }

    /// Does this within so much time; `None`: it took longer.
    pub async fn within<T>(
        &mut self,
        limit: Duration,
        mut work: Pin<&mut impl Future<Output = T>>,
    ) -> Option<T> {
        let deadline = now() + limit;
        poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if self.has_struck(deadline, context) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }
}

/// Does this within so much time, which begins where it has to be waited for: most that can be done at once is, and needs
/// no timer. The work is pinned by who has it, because to take it would be to move all of it, twice.
pub async fn within<T>(limit: Duration, mut work: Pin<&mut impl Future<Output = T>>) -> Result<T, Elapsed> {
    match poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await {
        Poll::Ready(done) => Ok(done),
        Poll::Pending => timeout(limit, work).await,
    }
}

/// The runtime's own clock, which tests can stop.
#[expect(clippy::disallowed_methods, reason = "this is the edge where the runtime's clock comes in")]
pub fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};
    use std::pin::pin;

    const SECOND: Duration = Duration::from_secs(1);

    /// After how many seconds it strikes, waiting for this.
    async fn struck(clock: &mut Clock, seconds: u32) -> Duration {
        let (began, deadline) = (now(), now() + seconds * SECOND);
        poll_fn(|context| if clock.has_struck(deadline, context) { Poll::Ready(()) } else { Poll::Pending })
            .await;
        now() - began
    }

    #[tokio::test(start_paused = true)]
    async fn it_strikes_when_it_should_whatever_it_was_set_to_before() {
        let mut clock = Clock::default();
        for seconds in [3, 1, 5, 2] {
            let deadline = now() + 10 * SECOND;
            assert!(!poll_fn(|context| Poll::Ready(clock.has_struck(deadline, context))).await);
            assert_eq!(struck(&mut clock, seconds).await, seconds * SECOND);
            // The runtime's timers are to the millisecond.
            let late = struck(&mut clock, 12).await;
            assert!(late >= 12 * SECOND && late <= 12 * SECOND + SECOND / 100, "{late:?}");
        }
        let past = now();
        assert!(poll_fn(|context| Poll::Ready(clock.has_struck(past, context))).await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_too_long_is_given_up() {
        assert_eq!(within(Duration::ZERO, pin!(ready(1))).await, Ok(1));
        let began = now();
        assert!(within(SECOND, pin!(pending::<()>())).await.is_err());
        assert!(now() - began >= SECOND);
        let mut clock = Clock::default();
        assert_eq!(clock.within(60 * SECOND, pin!(sleep_until(now() + SECOND))).await, Some(()));
        let began = now();
        assert_eq!(clock.within(SECOND, pin!(pending::<()>())).await, None);
        assert!(now() - began >= SECOND && now() - began < 2 * SECOND);
    }
}

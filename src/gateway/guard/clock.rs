//! Time for those who wait again and again: a timer that is set anew for every wait, and seldom rings.

use std::future::Future as _;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// A timer that costs nothing until it is needed and is set again without a new one.
#[derive(Debug, Default)]
pub struct Clock(Option<Pin<Box<Sleep>>>);

impl Clock {
    /// Whether it is `deadline`; else the task is woken then.
    pub fn has_struck(&mut self, deadline: Instant, context: &mut Context<'_>) -> bool {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(context).is_ready()
    }
}

/// The runtime's own clock, which tests can stop.
pub fn now() -> Instant {
    sleep(Duration::ZERO).deadline()
}

//! Whether, and how soon, an exchange may make its next attempt: the retry budget of its channels, and the spacing
//! between attempts at one channel.
//!
//! Invariant: the first attempt is free and pays in; each further one is paid for once, however often the plan looks
//! for a channel to make it at.

use crate::config::snapshot::Channel;
use crate::failure::FailureKind;
use crate::limit::Nanos;
use crate::limit::budget::Budget;
use crate::state::{Live, Registry};
use std::sync::Arc;
use std::time::Duration;

/// How one exchange stands with its budget.
#[derive(Debug, Default)]
pub struct Retries {
    /// There from the first attempt on.
    budget: Option<Arc<Budget>>,
    step: Step,
}

/// What was done for the attempt that comes next.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Step {
    #[default]
    Nothing,
    Paid,
    /// Paid for, and waited where it had to.
    Spaced,
    /// The budget was used up.
    Denied,
}

impl Retries {
    /// Pays in before the first attempt, and takes a retry before each further one; says whether there was one.
    pub fn pay(&mut self, live: &Live, registry: &Registry, candidates: &[Arc<Channel>], now: Nanos) -> bool {
        if self.step == Step::Nothing {
            let granted = if let Some(budget) = &self.budget {
                budget.take(now)
            } else {
                let names = candidates.iter().map(|channel| &channel.id);
                let budget = self.budget.insert(registry.budgets().of(names, now));
                budget.deposit(live.snapshot.retry_budget_permille, now);
                true
            };
            self.step = if granted { Step::Paid } else { Step::Denied };
        }
        self.step != Step::Denied
    }

    /// Takes a retry for a request that is sent once more within its attempt.
    pub fn resend(&self, now: Nanos) -> bool {
        self.budget.as_ref().is_some_and(|budget| budget.take(now))
    }

    /// How long to wait before the same channel is asked again with another credential; `last` is how the one before
    /// failed. Only a rate limit makes it wait: two accounts of one provider often share one, by address or
    /// organization. A refused credential (401, 402, 403) says nothing of its siblings.
    pub fn space(&mut self, last: FailureKind, now: Nanos) -> Option<Duration> {
        if self.step == Step::Spaced || last != FailureKind::RateLimited {
            return None;
        }
        self.step = Step::Spaced;
        // A clock's nanoseconds are random enough to keep a crowd from coming back in step.
        Some(SPACING_MIN + Duration::from_nanos(now % SPACING_JITTER_NANOS))
    }

    /// The attempt is made.
    pub fn made(&mut self) {
        self.step = Step::Nothing;
    }

    /// The attempt could not be made after all: what was paid for it pays for the next.
    pub fn unmade(&mut self) {
        self.step = Step::Paid;
    }

    /// Whether the budget denied one.
    pub fn is_denied(&self) -> bool {
        self.step == Step::Denied
    }
}

/// The least time between two attempts at one channel whose provider limits us: short for a person, long enough for
/// a window to move on.
const SPACING_MIN: Duration = Duration::from_millis(50);
const SPACING_JITTER_NANOS: Nanos = 50_000_000;

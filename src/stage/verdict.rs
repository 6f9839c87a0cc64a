//! What the end of an attempt says of its channel and credential, booked where the next plans look.
//!
//! Invariant: only what is the channel's own touches its breaker; what one credential, one model or one request
//! caused is booked there or nowhere. A probe's place is given up with the first word about the channel.

use super::plan::Attempt;
use crate::balance::{self, Verdict};
use crate::failure::{Failure, FailureKind};
use crate::limit::Nanos;
use crate::state::Live;
use crate::state::health::Why;

/// Books a failure; `at` is the time and a random number.
pub fn note(live: &Live, attempt: &Attempt, failure: &Failure, (now, jitter): (Nanos, u8)) -> Verdict {
    let state = live.channel(attempt.channel.index);
    let refused = &state.health.refused;
    let verdict = balance::judge(failure);
    match verdict {
        Verdict::RestChannel(length) => state.health.rest.begin(now, length, Why::Asked),
        Verdict::Broken => state.health.failed(now, attempt.probe.as_ref(), jitter),
        Verdict::RestCredential(length) => {
            if let Some(rest) = state.credentials.get(attempt.credential_index) {
                rest.begin(now, length, why(failure.kind));
            }
        }
        Verdict::Forbidden => {
            if let Some(key) = &attempt.asked_by {
                refused.forbidden(&attempt.credential, &attempt.model_upstream, key, now);
            }
        }
        Verdict::NotServed => refused.not_served(&attempt.credential, &attempt.model_upstream, now),
        Verdict::Noted => {}
    }
    verdict
}

/// Books that an answer has begun: the channel is there, which is all a probe was to find out, however long the
/// answer takes; and where it is a success, the credential may use the model.
pub fn answered(live: &Live, attempt: &mut Attempt, status: u16) {
    let health = &live.channel(attempt.channel.index).health;
    if let Some(probe) = attempt.probe.take() {
        health.worked(Some(&probe));
    }
    if matches!(status, 101 | 200..300) {
        health.refused.served(&attempt.credential, &attempt.model_upstream);
    }
}

fn why(kind: FailureKind) -> Why {
    match kind {
        FailureKind::Unauthorized => Why::Unauthorized,
        FailureKind::Unpaid => Why::Unpaid,
        _ => Why::RateLimited,
    }
}

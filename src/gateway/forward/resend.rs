//! What becomes of a request that was lost before its answer: sent once more within its attempt, or a failure.
//!
//! A kept connection may have ended before the request reached it, which is nobody's failure. Only where it had been
//! idle is that likely: where other exchanges live on a connection, what ended it may well be this request.
//! Invariants: at most one re-send per attempt, on a new connection, and paid for out of the retry budget like a
//! further attempt; nothing that creates is sent twice once its provider may have begun.

use crate::failure::{FailureKind, Sent};
use crate::gateway::wire::Stage;
use crate::limit::Nanos;

/// Where a connection came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Origin {
    /// It was made for this attempt.
    #[default]
    New,
    /// It was kept, and nothing else is under way on it.
    Idle,
    /// It was kept, and serves other exchanges at the same time.
    Shared,
}

/// Whether the request may be sent once more.
pub(super) fn may_resend(stage: Stage, origin: Origin, since_sent: Nanos, creates: bool) -> bool {
    match stage {
        Stage::Elsewhere => true,
        Stage::Refused => origin == Origin::Idle,
        Stage::Silent => origin == Origin::Idle && since_sent < STALE_WITHIN && !creates,
        Stage::Unfit | Stage::Begun | Stage::Garbled => false,
    }
}

/// The failure it is where it is not sent once more.
pub(super) fn failure(stage: Stage) -> (FailureKind, Sent) {
    match stage {
        Stage::Unfit => (FailureKind::Unfit, Sent::NotBegun),
        Stage::Refused | Stage::Elsewhere => (FailureKind::Reset, Sent::NotBegun),
        Stage::Silent | Stage::Begun => (FailureKind::Reset, Sent::MaybeBegun),
        Stage::Garbled => (FailureKind::Garbage, Sent::MaybeBegun),
    }
}

/// A kept connection that had died says so as soon as something is sent on it.
const STALE_WITHIN: Nanos = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::FailureKind::{Garbage, Reset, Unfit};
    use crate::failure::Sent::{MaybeBegun, NotBegun};
    use Origin::{Idle, New, Shared};

    #[test]
    fn only_what_cannot_have_begun_and_what_an_idle_connection_swallowed_is_sent_again() {
        let (at_once, later) = (0, STALE_WITHIN);
        for (stage, again_on, failed) in [
            (Stage::Unfit, &[][..], (Unfit, NotBegun)),
            (Stage::Refused, &[Idle], (Reset, NotBegun)),
            (Stage::Elsewhere, &[New, Idle, Shared], (Reset, NotBegun)),
            (Stage::Silent, &[Idle], (Reset, MaybeBegun)),
            (Stage::Begun, &[], (Reset, MaybeBegun)),
            (Stage::Garbled, &[], (Garbage, MaybeBegun)),
        ] {
            assert_eq!(failure(stage), failed, "{stage:?}");
            for origin in [New, Idle, Shared] {
                let again = again_on.contains(&origin);
                assert_eq!(may_resend(stage, origin, at_once, false), again, "{stage:?} {origin:?}");
                // What may have begun is not begun twice, and a late end is an answer of a kind.
                let unless = again && stage != Stage::Silent;
                assert_eq!(may_resend(stage, origin, at_once, true), unless, "{stage:?} {origin:?} creates");
                assert_eq!(may_resend(stage, origin, later, false), unless, "{stage:?} {origin:?} late");
            }
        }
    }
}

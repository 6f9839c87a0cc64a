//! What a response made in the background has used and nobody has booked yet.
//!
//! `POST responses` with `background` is answered at once, without counts; they come with a look at it, minutes later. Who makes
//! one books an estimate, who first sees what it used the rest.
//! Invariants: what is booked by all of them together is what the provider counts, or more where the estimate was; nothing is
//! booked twice, however many look at once; while it is being made its maker counts.

use crate::usage::Usage;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The open account of one response.
#[derive(Debug)]
pub struct Tab {
    /// The model by the client's name.
    pub requested: String,
    /// The model by the provider's name, which has the price.
    pub upstream: String,
    standing: Mutex<Standing>,
}

#[derive(Debug, Clone, Copy)]
enum Standing {
    /// The exchange that makes it goes on.
    Making,
    /// So much of it is booked.
    Open(Usage),
    /// All of it is.
    Closed,
}

impl Tab {
    /// Of one that is being made with this model, by the client's name and the provider's.
    pub fn new(requested: &str, upstream: &str) -> Self {
        let (requested, upstream) = (requested.to_owned(), upstream.to_owned());
        Self { requested, upstream, standing: Mutex::new(Standing::Making) }
    }

    /// The exchange that made it is over, and has booked so much: all of it where its provider said so.
    pub fn made(&self, booked: Usage, is_whole: bool) {
        *self.standing() = if is_whole { Standing::Closed } else { Standing::Open(booked) };
    }

    /// Whether a look at it has nothing to book any more.
    pub fn is_closed(&self) -> bool {
        matches!(*self.standing(), Standing::Closed)
    }

    /// What of the provider's count was not booked before and is now.
    pub fn close(&self, used: Usage) -> Option<Usage> {
        let mut standing = self.standing();
        let Standing::Open(booked) = *standing else { return None };
        *standing = Standing::Closed;
        Some(rest(used, booked))
    }

    /// What of an answer that was seen as far as this, without a count, was not booked before and is now.
    pub fn seen(&self, output: u64) -> Option<Usage> {
        let mut standing = self.standing();
        let Standing::Open(booked) = *standing else { return None };
        let beyond = output.checked_sub(booked.output).filter(|beyond| *beyond > 0)?;
        *standing = Standing::Open(Usage { output, ..booked });
        Some(Usage { output: beyond, ..Usage::default() })
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is left of a count beyond an estimate: of the prompt the estimate knows no caches, so it stands for the dearest parts
/// first.
fn rest(used: Usage, booked: Usage) -> Usage {
    let mut before = booked.input_total();
    let mut beyond = |part: u64| {
        let covered = part.min(before);
        before -= covered;
        part - covered
    };
    let (cache_write, input, cache_read) =
        (beyond(used.cache_write), beyond(used.input), beyond(used.cache_read));
    let output = used.output.saturating_sub(booked.output);
    let reasoning = used.reasoning.min(output);
    let cache_write_1h = used.cache_write_1h.min(cache_write);
    Usage { input, output, cache_read, cache_write, reasoning, cache_write_1h, ..used }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(input: u64, cache_read: u64, output: u64) -> Usage {
        Usage { input, output, cache_read, ..Usage::default() }
    }

    #[test]
    fn what_a_look_shows_is_booked_once_beyond_what_was_estimated() {
        let tab = Tab::new("mine", "theirs");
        assert_eq!((tab.close(usage(9, 0, 9)), tab.seen(9)), (None, None), "its maker counts");
        tab.made(usage(10, 0, 0), false);
        assert_eq!(tab.seen(5), Some(usage(0, 0, 5)));
        assert_eq!(tab.seen(4), None, "an earlier part of the same");
        assert_eq!(tab.close(usage(6, 40, 100)), Some(usage(0, 36, 95)));
        assert!(tab.is_closed());
        assert_eq!((tab.close(usage(6, 40, 100)), tab.seen(200)), (None, None));
    }

    #[test]
    fn one_that_was_counted_when_it_was_made_is_booked_already() {
        let tab = Tab::new("mine", "theirs");
        tab.made(usage(10, 0, 20), true);
        assert_eq!((tab.close(usage(10, 0, 20)), tab.seen(30)), (None, None));
    }

    #[test]
    fn an_estimate_that_was_too_high_gives_nothing_back() {
        assert_eq!(rest(usage(1, 0, 1), usage(5, 0, 5)), usage(0, 0, 0));
        let used = Usage { reasoning: 7, ..usage(1, 0, 9) };
        assert_eq!(rest(used, usage(0, 0, 4)), Usage { reasoning: 5, ..usage(1, 0, 5) });
    }
}

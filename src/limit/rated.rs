//! A count and the rate it is counted by, which change in one step.
//!
//! There are two places for the rate. The count's word says in its lowest bits which of them holds: a new rate is written to
//! the other place, and one exchange of the word turns to it and recounts. Invariants: no decision is made by the interval of
//! one rate and the burst of another, or by a rate and a count of another; nothing that is counted meanwhile is lost. It
//! holds where one caller at a time sets rates, and unless [`GENERATIONS`] of them come while one count is taken.

use super::sync::{AtomicU64, Ordering};
use std::convert::Infallible;

#[derive(Debug, Default)]
pub(super) struct Rated {
    /// The count, and in its lowest bits the number of rates before this one, modulo [`GENERATIONS`].
    word: AtomicU64,
    /// Two numbers that mean a rate, for even generations and for odd ones.
    rates: [[AtomicU64; 2]; 2],
}

/// What the two numbers mean is the caller's.
pub(super) type Rate = (u64, u64);

impl Rated {
    /// The count and its rate.
    pub(super) fn now(&self) -> (u64, Rate) {
        loop {
            let word = self.word.load(Ordering::Acquire);
            let rate = self.rate(word);
            if self.still(word) {
                return (word / GENERATIONS, rate);
            }
        }
    }

    /// Puts another count in its place, or nothing where `Err` is said.
    pub(super) fn change<E>(&self, change: impl Fn(u64, Rate) -> Result<u64, E>) -> Result<(), E> {
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            match change(word / GENERATIONS, self.rate(word)) {
                Ok(count) => {
                    let next = packed(count, word % GENERATIONS);
                    match self.word.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire) {
                        Ok(_) => return Ok(()),
                        Err(seen) => word = seen,
                    }
                }
                // Said by a rate that was being replaced, it would be no answer.
                Err(error) if self.still(word) => return Err(error),
                Err(_) => word = self.word.load(Ordering::Acquire),
            }
        }
    }

    /// Puts another count in its place.
    pub(super) fn update(&self, change: impl Fn(u64, Rate) -> u64) {
        match self.change(|count, rate| Ok::<_, Infallible>(change(count, rate))) {
            Ok(()) => {}
            Err(never) => match never {},
        }
    }

    /// Sets the rate; the count becomes what `recount` makes of it and of the rate before. One caller at a time.
    pub(super) fn set(&self, rate: Rate, recount: impl Fn(u64, Rate) -> u64) {
        let word = self.word.load(Ordering::Acquire);
        let before = self.rate(word);
        if before == rate {
            return;
        }
        let generation = (word + 1) % GENERATIONS;
        let [first, second] = self.place(generation);
        first.store(rate.0, Ordering::Release);
        second.store(rate.1, Ordering::Release);
        let _before = self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            Some(packed(recount(word / GENERATIONS, before), generation))
        });
    }

    /// Whether the rate of this word holds: if not, what was read as its rate may be parts of a newer one.
    fn still(&self, word: u64) -> bool {
        self.word.load(Ordering::Acquire) % GENERATIONS == word % GENERATIONS
    }

    fn rate(&self, word: u64) -> Rate {
        let [first, second] = self.place(word);
        (first.load(Ordering::Acquire), second.load(Ordering::Acquire))
    }

    fn place(&self, generation: u64) -> &[AtomicU64; 2] {
        &self.rates[usize::from(generation % 2 == 1)]
    }
}

fn packed(count: u64, generation: u64) -> u64 {
    count.min(COUNT_MAX) * GENERATIONS + generation
}

/// So many rates are told apart: who was stopped in the middle of a count finds out, unless just so many came meanwhile.
const GENERATIONS: u64 = 8;
/// The room that is left for the count: 73 years in nanoseconds, and four years of the highest rate of tokens that can be
/// configured.
pub(super) const COUNT_MAX: u64 = u64::MAX / GENERATIONS;

//! What is learned of each model's costs, by the model's name after the profile's mapping.
//!
//! Invariant: the table has a fixed size, whatever names clients send. Two models that fall into one place share
//! their estimates, which costs accuracy and nothing else: every exchange is settled on what it really cost.

use crate::limit::{Amount, Learned};
use crate::spread;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;

/// Every model's figures.
#[derive(Debug, Clone)]
pub struct Lessons(Arc<[Learned]>);

impl Default for Lessons {
    fn default() -> Self {
        Self((0..PLACES_MAX).map(|_| Learned::default()).collect())
    }
}

impl Lessons {
    /// What is known of this model.
    pub fn of(&self, model: &str) -> &Learned {
        &self.0[place(model)]
    }

    /// What an exchange with this model will have taught once it has been counted.
    pub fn lesson(&self, model: &str, body_bytes: usize, capped: bool) -> Lesson {
        Lesson { lessons: self.clone(), place: place(model), body_bytes: body_bytes as u64, capped }
    }
}

/// One exchange from which something can be learned.
#[derive(Debug)]
pub struct Lesson {
    lessons: Lessons,
    place: usize,
    body_bytes: u64,
    /// Whether its answer had a cap: then its length says nothing of those without.
    capped: bool,
}

impl Lesson {
    /// The provider counted this.
    pub fn learn(self, counted: Amount) {
        let learned = &self.lessons.0[self.place];
        if counted.input > 0 {
            learned.learn_input(self.body_bytes, counted.input);
        }
        if counted.output > 0 && !self.capped {
            learned.learn_output(counted.output);
        }
    }
}

fn place(model: &str) -> usize {
    let mut hasher = spread::hasher();
    model.hash(&mut hasher);
    usize::try_from(hasher.finish() % PLACES_MAX as u64).unwrap_or(0)
}

/// Some ten times as many as a large installation has models, in 16 KiB.
const PLACES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_learns_from_its_own_exchanges_and_nothing_of_a_capped_answers_length() {
        let lessons = Lessons::default();
        let fresh = lessons.of("other").output();
        for _ in 0..50 {
            lessons.lesson("m", 8_000, false).learn(Amount { input: 4_000, output: 100 });
            lessons.lesson("capped", 8_000, true).learn(Amount { input: 4_000, output: 1 });
        }
        assert!(lessons.of("m").input(8_000) > 3_900 && lessons.of("m").output() < 200);
        assert!(lessons.of("capped").input(8_000) > 3_900);
        assert_eq!((lessons.of("capped").output(), lessons.of("other").output()), (fresh, fresh));
    }

    #[test]
    fn every_name_has_a_place() {
        let lessons = Lessons::default();
        for name in ["", "m", &"x".repeat(1 << 20), "模型"] {
            lessons.lesson(name, 0, false).learn(Amount { input: u64::MAX, output: u64::MAX });
            assert_eq!(lessons.of(name).input(0), 0);
        }
    }
}

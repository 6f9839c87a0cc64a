//! [`Slots`], the [`Breaker`]'s one probe, a retry [`Budget`], and [`Learned`]: small words that many write.
#![cfg(loom)]

use std::sync::Arc;
use tollgate_loom::limit::breaker::{Breaker, Phase};
use tollgate_loom::limit::budget::{Budget, FLOOR_BURST};
use tollgate_loom::limit::{Learned, Nanos, Slots};
use tollgate_loom::{model, with};

const SECOND: Nanos = 1_000_000_000;

#[test]
fn never_more_slots_than_there_are_and_each_is_free_again() {
    model(4, || {
        let slots = Arc::new(Slots::default());
        slots.configure(Some(2));
        let hold = |slots: &Slots| {
            slots.take().map(|()| {
                let taken = slots.taken();
                slots.release();
                taken
            })
        };
        let others = [with(&slots, hold), with(&slots, hold)];
        let mine = hold(&slots);
        for result in others.map(|other| other.join().expect("no panic")).into_iter().chain([mine]) {
            assert!(matches!(result, Ok(1 | 2) | Err(2)), "{result:?}");
        }
        assert_eq!((slots.taken(), slots.is_full()), (0, false));
    });
}

#[test]
fn a_reload_takes_no_slot_away_and_gives_none_twice() {
    model(4, || {
        let slots = Arc::new(Slots::default());
        slots.configure(Some(2));
        let take = |slots: &Slots| slots.take().is_ok();
        let others = [with(&slots, take), with(&slots, take)];
        slots.configure(Some(1));
        let late = slots.take().is_ok();
        let got = others.map(|other| other.join().expect("no panic"));
        let count = got.into_iter().chain([late]).filter(|got| *got).count();
        assert!((1..=2).contains(&count) && slots.taken() as usize == count, "{count}");
        assert!(slots.take().is_err());
    });
}

fn opened() -> Arc<Breaker> {
    let breaker = Arc::new(Breaker::default());
    (0..3).for_each(|_| breaker.failed(SECOND, None, 0));
    breaker
}

#[test]
fn of_three_that_find_it_half_open_one_is_the_probe() {
    model(4, || {
        let breaker = opened();
        let pass = |breaker: &Breaker| u32::from(matches!(breaker.pass(3 * SECOND), Ok(Some(_))));
        let others = [with(&breaker, pass), with(&breaker, pass)];
        let probes =
            pass(&breaker) + others.map(|other| other.join().expect("no panic")).into_iter().sum::<u32>();
        assert_eq!(probes, 1);
    });
}

#[test]
fn a_probe_that_ends_lets_one_other_in_and_its_word_stands() {
    for failed in [false, true] {
        model(4, move || {
            let breaker = opened();
            let place = breaker.pass(3 * SECOND).expect("half-open").expect("a probe");
            let pass = |breaker: &Breaker| breaker.pass(3 * SECOND);
            let others = [
                with(&breaker, pass),
                with(&breaker, |breaker| {
                    breaker.failed(3 * SECOND, None, 0);
                    breaker.worked(None);
                    breaker.pass(3 * SECOND)
                }),
            ];
            if failed {
                breaker.failed(3 * SECOND, Some(place), 0);
            } else {
                breaker.release(place);
            }
            let probes = others.map(|other| other.join().expect("no panic").is_ok());
            let probes = probes.into_iter().filter(|passed| *passed).count();
            assert!(probes <= usize::from(!failed), "{probes}");
            assert_eq!(matches!(breaker.phase(3 * SECOND), Phase::Open(_)), failed);
        });
    }
}

#[test]
fn a_success_and_a_failure_at_once_leave_one_whole_state() {
    model(4, || {
        let breaker = Arc::new(Breaker::default());
        breaker.failed(SECOND, None, 0);
        breaker.failed(SECOND, None, 0);
        let other = with(&breaker, |breaker| breaker.worked(None));
        breaker.failed(SECOND, None, 0);
        other.join().expect("no panic");
        // Forgotten first: a row of one. Failed first: open, and a success from before says nothing. Looked away: closed.
        assert!(matches!(breaker.phase(SECOND), Phase::Closed | Phase::Open(_)));
        assert_eq!(breaker.pass(SECOND).is_ok(), breaker.phase(SECOND) == Phase::Closed);
    });
}

#[test]
fn threads_together_get_no_more_retries_than_both_accounts_hold() {
    model(3, || {
        let budget = Arc::new(Budget::new(SECOND));
        let floor = FLOOR_BURST / 1_000;
        assert!((0..floor - 1).all(|_| budget.take(SECOND)), "one is left of the floor");
        let other = with(&budget, move |budget| {
            // Pays in what was owed, and one more.
            (0..floor).for_each(|_| budget.deposit(1_000, SECOND));
            u32::from(budget.take(SECOND)) + u32::from(budget.take(SECOND))
        });
        let taken = u32::from(budget.take(SECOND)) + other.join().expect("no panic");
        assert!((1..=2).contains(&taken), "one of the floor and one of the share: {taken}");
    });
}

#[test]
fn two_lessons_at_once_are_both_learned() {
    let after = |lessons: [u64; 2]| {
        let learned = Learned::default();
        for tokens in lessons {
            learned.learn_output(tokens);
        }
        learned.output()
    };
    model(4, move || {
        let learned = Arc::new(Learned::default());
        let other = with(&learned, |learned| learned.learn_output(8_000));
        learned.learn_output(10);
        other.join().expect("no panic");
        assert!([after([10, 8_000]), after([8_000, 10])].contains(&learned.output()));
    });
}

//! [`Tokens`] and [`Meter`]: exact sums whatever meets, and reloads that meet reservations and settlements.
#![cfg(loom)]
#![expect(clippy::expect_used, reason = "what a model's helper does not find fails the model")]

use std::sync::Arc;
use std::time::Duration;
use tollgate_loom::limit::{Amount, Counted, Meter, Nanos, Tokens};
use tollgate_loom::{model, with};

const SECOND: Nanos = 1_000_000_000;
const HOUR: Nanos = 3_600 * SECOND;

fn tokens(per_minute: u64, burst: u64) -> Arc<Tokens> {
    let tokens = Arc::new(Tokens::default());
    tokens.configure(Some((per_minute, burst)), 0);
    tokens
}

fn left(tokens: &Tokens, now: Nanos) -> u64 {
    tokens.level(now).expect("it has a limit").remaining
}

/// How long a settled bucket's debt lasts, as tokens at one each second.
fn debt(tokens: &Tokens, now: Nanos) -> u64 {
    let level = tokens.level(now).expect("it has a limit");
    level.reset.as_secs()
}

#[test]
fn three_threads_get_exactly_the_burst() {
    model(4, || {
        let tokens = tokens(60, 10);
        let take = |amount: u64| {
            move |tokens: &Tokens| if tokens.reserve(amount, SECOND).is_ok() { amount } else { 0 }
        };
        let others = [with(&tokens, take(5)), with(&tokens, take(5))];
        let mut got = take(5)(&tokens);
        got += others.map(|other| other.join().expect("no panic")).into_iter().sum::<u64>();
        assert_eq!((got, left(&tokens, SECOND)), (10, 0));
    });
}

#[test]
fn what_is_settled_is_what_was_spent_below_the_estimate_and_above_it() {
    model(3, || {
        let tokens = tokens(60, 10);
        let spend = |estimate, actual| {
            move |tokens: &Tokens| {
                let Ok(reserved) = tokens.reserve(estimate, SECOND) else { return 0 };
                tokens.settle(reserved, actual);
                actual
            }
        };
        let others = [with(&tokens, spend(6, 1)), with(&tokens, spend(6, 25))];
        let spent = others.map(|other| other.join().expect("no panic")).into_iter().sum::<u64>();
        assert!([1, 25, 26].contains(&spent), "at least one fits: {spent}");
        assert_eq!(debt(&tokens, SECOND), spent, "the debt is there, whoever was first");
        assert_eq!(tokens.reserve(1, SECOND).is_ok(), spent < 10);
    });
}

#[test]
fn a_reload_keeps_every_token_that_it_meets() {
    for (before, after) in [((60, 100), (6_000, 100)), ((6_000, 100), (60, 50)), ((60, 100), (60, 10))] {
        model(3, move || {
            let tokens = tokens(before.0, before.1);
            let other = with(&tokens, |tokens| {
                let first = tokens.reserve(9, HOUR).expect("it fits into either");
                tokens.settle(first, 4);
            });
            tokens.configure(Some(after), HOUR);
            other.join().expect("no panic");
            assert_eq!(left(&tokens, HOUR), after.1 - 4, "{before:?} {after:?}");
        });
    }
}

/// What does not fit has its wait from one rate, not from a count of one and the clock of another.
#[test]
fn two_reloads_in_a_row_refuse_nobody_for_whom_there_is_room() {
    for rates in [[6_000, 600, 60], [60, 600, 6_000], [60, 60, 60]] {
        model(3, move || {
            let tokens = tokens(rates[0], 10);
            assert!(tokens.reserve(1, HOUR).is_ok());
            let other = with(&tokens, |tokens| tokens.reserve(5, HOUR).map(|_| ()));
            tokens.configure(Some((rates[1], 11)), HOUR);
            tokens.configure(Some((rates[2], 12)), HOUR);
            assert_eq!(other.join().expect("no panic"), Ok(()), "{rates:?}");
            assert_eq!(left(&tokens, HOUR), 6, "{rates:?}");
        });
    }
}

#[test]
fn two_reloads_in_a_row_admit_nothing_that_fits_into_none_of_them() {
    model(3, || {
        let tokens = tokens(60, 10);
        let full = tokens.reserve(10, HOUR).expect("it fits");
        let other = with(&tokens, |tokens| tokens.reserve(10, HOUR).err());
        tokens.configure(Some((60, 15)), HOUR);
        tokens.configure(Some((60, 12)), HOUR);
        let wait = other.join().expect("no panic").expect("two, five or none are left");
        assert!([10, 5, 8].map(Duration::from_secs).contains(&wait), "{wait:?}");
        tokens.settle(full, 0);
        assert_eq!(left(&tokens, HOUR), 12);
    });
}

/// An exchange that was let in without a limit, and one whose limit is lifted and set again.
#[test]
fn a_limit_that_is_lifted_and_set_again_forgets_and_miscounts_nothing_after() {
    model(3, || {
        let tokens = tokens(60, 10);
        let other =
            with(&tokens, |tokens| tokens.reserve(5, HOUR).map(|reserved| tokens.settle(reserved, 3)));
        tokens.configure(None, HOUR);
        tokens.configure(Some((600, 10)), HOUR);
        assert_eq!(other.join().expect("no panic"), Ok(()));
        let left = left(&tokens, HOUR);
        // Forgotten whole; settled against the new limit; or its refund alone, in a full bucket.
        assert!([10, 7].contains(&left), "{left}");
    });
}

#[test]
fn a_reader_sees_one_rate_or_the_other() {
    model(3, || {
        let tokens = tokens(60, 10);
        assert!(tokens.reserve(4, HOUR).is_ok());
        let reader = with(&tokens, |tokens| tokens.level(HOUR).expect("it has a limit"));
        tokens.configure(Some((6_000, 20)), HOUR);
        tokens.configure(Some((600, 30)), HOUR);
        let level = reader.join().expect("no panic");
        assert!([(10, 6), (20, 16), (30, 26)].contains(&(level.limit, level.remaining)), "{level:?}");
    });
}

#[test]
fn an_exchange_is_let_in_by_all_three_buckets_or_holds_nothing_of_any() {
    model(2, || {
        let meter = Arc::new(Meter::default());
        meter.configure([Some((60, 20)), Some((60, 10)), Some((60, 10))], 0);
        let spend = |input, output, used: u64| {
            move |meter: &Meter| {
                let Ok(held) = meter.reserve(Amount { input, output }, SECOND) else { return 0 };
                meter.settle(held, Amount { input: used, output: used });
                used
            }
        };
        let other = with(&meter, spend(8, 8, 2));
        let refused = spend(1, 11, 7)(&meter);
        // More than the burst is let in where that bucket is full.
        assert!([0, 7].contains(&refused));
        let spent = refused + other.join().expect("no panic");
        let left =
            Counted::ALL.map(|counted| meter.level(counted, SECOND).expect("it has a limit").remaining);
        assert_eq!(left, [20 - 2 * spent, 10 - spent, 10 - spent]);
    });
}

#[test]
fn the_first_limit_of_a_meter_counts_what_it_meets_whole_or_not_at_all() {
    model(3, || {
        let meter = Arc::new(Meter::default());
        let other = with(&meter, |meter| {
            let held =
                meter.reserve(Amount { input: 5, output: 3 }, SECOND).expect("it fits, or there is no limit");
            meter.settle(held, Amount { input: 4, output: 2 });
        });
        meter.configure([Some((60, 20)), None, None], SECOND);
        other.join().expect("no panic");
        let left = meter.level(Counted::All, SECOND).expect("it has a limit").remaining;
        // Neither seen; the settlement alone, which counts what was used; or both.
        assert!([20, 14].contains(&left), "{left}");
        meter.configure([None; 3], SECOND);
        assert_eq!(meter.charge(Amount { input: 5, output: 3 }, SECOND).taken(), [0; 3]);
    });
}

#[test]
fn what_a_fleet_has_admitted_is_booked_and_settled_once_whatever_it_meets() {
    model(3, || {
        let tokens = tokens(60, 100);
        let other = with(&tokens, |tokens| {
            let charged = tokens.charge(20, HOUR);
            tokens.settle(charged, 5);
        });
        tokens.configure(Some((600, 50)), HOUR);
        let charged = tokens.charge(10, HOUR);
        other.join().expect("no panic");
        tokens.settle(charged, 30);
        assert_eq!(left(&tokens, HOUR), 15);
    });
}

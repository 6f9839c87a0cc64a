//! [`Bucket`]: the burst exactly, nothing lost when given back, and a reload that meets requests.
#![cfg(loom)]
#![expect(clippy::expect_used, reason = "what a model's helper does not find fails the model")]

use std::sync::Arc;
use tollgate_loom::limit::{Bucket, Nanos};
use tollgate_loom::{model, with};

const SECOND: Nanos = 1_000_000_000;

fn bucket(per_minute: u64, burst: u64) -> Arc<Bucket> {
    let bucket = Arc::new(Bucket::default());
    bucket.configure(Some((per_minute, burst)), 0);
    bucket
}

fn remaining(bucket: &Bucket, now: Nanos) -> u64 {
    bucket.level(now).expect("it has a limit").remaining
}

#[test]
fn three_threads_get_exactly_the_burst() {
    model(4, || {
        let bucket = bucket(60, 2);
        let others = [(); 2].map(|()| with(&bucket, |bucket| u32::from(bucket.take(SECOND).is_ok())));
        let mut taken = u32::from(bucket.take(SECOND).is_ok());
        taken += others.map(|other| other.join().expect("no panic")).into_iter().sum::<u32>();
        assert_eq!((taken, remaining(&bucket, SECOND)), (2, 0));
    });
}

#[test]
fn clocks_that_differ_between_threads_earn_nothing_twice() {
    model(4, || {
        let bucket = bucket(60, 1);
        let late = with(&bucket, |bucket| {
            [2, 3].map(|second| u32::from(bucket.take(second * SECOND).is_ok())).into_iter().sum::<u32>()
        });
        let early = [1, 2].map(|second| u32::from(bucket.take(second * SECOND).is_ok()));
        let taken = early.into_iter().sum::<u32>() + late.join().expect("no panic");
        assert!((2..=3).contains(&taken), "one at once and one in each of two seconds: {taken}");
    });
}

#[test]
fn what_is_given_back_is_there_again_and_no_more() {
    model(4, || {
        let bucket = bucket(60, 2);
        let fickle =
            with(&bucket, |bucket| bucket.take(SECOND).is_ok().then(|| bucket.give_back()).is_some());
        let other = with(&bucket, |bucket| u64::from(bucket.take(SECOND).is_ok()));
        let taken = u64::from(bucket.take(SECOND).is_ok());
        let fickle = fickle.join().expect("no panic");
        let taken = taken + other.join().expect("no panic");
        assert!(taken == 2 || fickle && taken == 1, "only a place that is given back may be missed: {taken}");
        assert_eq!(remaining(&bucket, SECOND), 2 - taken);
    });
}

/// Whatever the reload meets, each request counts as one: before it by the old rate, after it by the new.
#[test]
fn a_reload_counts_every_request_that_it_meets() {
    for (before, after) in
        [((60, 4), (6_000, 4)), ((6_000, 4), (60, 4)), ((60, 4), (60, 8)), ((60, 4), (600, 3))]
    {
        model(3, move || {
            let bucket = bucket(before.0, before.1);
            let takes = |bucket: &Bucket| [(); 2].map(|()| bucket.take(SECOND).is_ok());
            let other = with(&bucket, takes);
            bucket.configure(Some(after), SECOND);
            let other = other.join().expect("no panic").into_iter().filter(|taken| *taken).count() as u64;
            assert_eq!((other, remaining(&bucket, SECOND)), (2, after.1 - 2), "{before:?} {after:?}");
        });
    }
}

/// Nobody is let in by one rate's interval and another's burst.
#[test]
fn a_request_is_counted_by_one_rate_or_the_other_and_by_no_mixture() {
    model(3, || {
        // One at once, before and after; a minute's tolerance at a thousandth of a second would be sixty thousand.
        let bucket = bucket(1, 1);
        assert!(bucket.take(SECOND).is_ok());
        let other = with(&bucket, |bucket| [(); 2].map(|()| bucket.take(SECOND).is_ok()));
        bucket.configure(Some((60_000, 1)), SECOND);
        assert_eq!(other.join().expect("no panic"), [false, false]);
        assert_eq!(remaining(&bucket, SECOND), 0);
    });
}

#[test]
fn a_request_is_given_back_whole_whatever_rate_it_was_taken_by() {
    model(3, || {
        let bucket = bucket(60, 4);
        assert!(bucket.take(SECOND).is_ok() && bucket.take(SECOND).is_ok());
        let other = with(&bucket, Bucket::give_back);
        bucket.configure(Some((6_000, 4)), SECOND);
        other.join().expect("no panic");
        assert_eq!(remaining(&bucket, SECOND), 3);
    });
}

#[test]
fn a_reader_sees_one_rate_or_the_other() {
    model(3, || {
        let bucket = bucket(60, 4);
        assert!(bucket.take(SECOND).is_ok());
        let reader = with(&bucket, |bucket| bucket.level(SECOND).expect("it has a limit"));
        bucket.configure(Some((6_000, 8)), SECOND);
        bucket.configure(Some((600, 16)), SECOND);
        let level = reader.join().expect("no panic");
        assert!([(4, 3), (8, 7), (16, 15)].contains(&(level.limit, level.remaining)), "{level:?}");
    });
}

#[test]
fn what_a_fleet_has_admitted_is_booked_once_whatever_it_meets() {
    model(3, || {
        let bucket = bucket(60, 8);
        let other = with(&bucket, |bucket| {
            bucket.charge(SECOND);
            bucket.take(SECOND)
        });
        bucket.configure(Some((600, 8)), SECOND);
        bucket.charge(SECOND);
        assert_eq!(other.join().expect("no panic"), Ok(()));
        assert_eq!(remaining(&bucket, SECOND), 5);
    });
}

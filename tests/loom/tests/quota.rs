//! [`Quota`]: what is spent is counted once and in its own window, whatever meets: callers, the turn of a day, a reload.
#![cfg(loom)]

use std::sync::Arc;
use tollgate_loom::limit::calendar::Period;
use tollgate_loom::limit::quota::{Measure, Quota, Spent};
use tollgate_loom::{model, with};

const DAY: u64 = 86_400;
/// A Friday.
const NOW: u64 = 20_833 * DAY;

fn quota(limits: [Option<u64>; 3], period: Period) -> Arc<Quota> {
    let quota = Arc::new(Quota::default());
    quota.configure(limits, period);
    quota
}

fn spent(nano_usd: u64, tokens: u64, requests: u64) -> Spent {
    Spent { nano_usd, tokens, requests }
}

/// Settled and reserved in the window of this moment.
fn sums(quota: &Quota, at: u64) -> (Spent, Spent) {
    let standing = quota.standing(at);
    (standing.settled, standing.reserved)
}

#[test]
fn exactly_as_many_requests_as_there_are() {
    model(2, || {
        let quota = quota([None, None, Some(1)], Period::Day);
        let serve = |quota: &Quota| {
            let held = quota.reserve(spent(3, 30, 1), NOW).ok()?;
            held.settle(spent(2, 20, 1));
            Some(())
        };
        let other = with(&quota, serve);
        let served = [serve(&quota), other.join().expect("no panic")].into_iter().flatten().count();
        assert_eq!((served, sums(&quota, NOW)), (1, (spent(2, 20, 1), Spent::default())));
    });
}

#[test]
fn what_is_refused_by_a_later_measure_is_given_back_to_the_earlier_ones() {
    model(3, || {
        let quota = quota([Some(100), None, Some(1)], Period::Day);
        let other = with(&quota, |quota| {
            quota.reserve(spent(60, 1, 1), NOW).map(|held| held.settle(spent(50, 1, 1)))
        });
        let mine = quota.reserve(spent(60, 1, 1), NOW);
        assert_eq!(u8::from(mine.is_ok()) + u8::from(other.join().expect("no panic").is_ok()), 1);
        let used = mine.is_ok();
        drop(mine);
        let settled = if used { Spent::default() } else { spent(50, 1, 1) };
        assert_eq!(sums(&quota, NOW), (settled, Spent::default()));
    });
}

#[test]
fn what_is_known_early_and_settled_later_is_counted_once_beside_others() {
    model(2, || {
        let quota = quota([None, Some(100), None], Period::Month);
        let other = with(&quota, |quota| {
            let mut held = quota.reserve(spent(0, 50, 1), NOW).expect("there is room");
            held.revise(spent(0, 10, 1));
            held.settle(spent(1, 11, 1));
        });
        drop(quota.reserve(spent(0, 40, 1), NOW).expect("there is room"));
        let (settled, reserved) = sums(&quota, NOW);
        assert!(
            settled.tokens + reserved.tokens <= 50 && [0, 11].contains(&settled.tokens),
            "{settled:?} {reserved:?}"
        );
        other.join().expect("no panic");
        assert_eq!(sums(&quota, NOW), (spent(1, 11, 1), Spent::default()));
        assert_eq!(quota.spent(NOW), None::<Measure>);
    });
}

#[test]
fn whoever_opens_the_day_and_whoever_comes_late_count_in_their_own() {
    model(2, || {
        let quota = quota([None; 3], Period::Day);
        drop(quota.reserve(Spent::default(), NOW));
        let spend = |tokens, at| {
            move |quota: &Quota| {
                let held = quota.reserve(spent(0, 9, 1), at).expect("no limit");
                held.settle(spent(0, tokens, 1));
            }
        };
        let other = with(&quota, spend(1, NOW + DAY));
        spend(2, NOW + DAY)(&quota);
        spend(4, NOW)(&quota);
        other.join().expect("no panic");
        assert_eq!(sums(&quota, NOW + DAY), (spent(0, 3, 2), Spent::default()));
        assert_eq!(sums(&quota, NOW), (spent(0, 4, 1), Spent::default()));
    });
}

#[test]
fn a_reload_with_another_period_loses_nothing_that_lies_in_its_window() {
    model(2, || {
        let quota = quota([None; 3], Period::Day);
        let spend = |tokens| {
            move |quota: &Quota| {
                let held = quota.reserve(spent(0, 9, 1), NOW).expect("no limit");
                held.settle(spent(0, tokens, 1));
            }
        };
        let other = with(&quota, spend(1));
        quota.configure([None; 3], Period::Month);
        spend(2)(&quota);
        other.join().expect("no panic");
        assert_eq!(sums(&quota, NOW), (spent(0, 3, 2), Spent::default()));
    });
}

#[test]
fn what_was_written_down_is_booked_once_beside_what_is_spent() {
    model(2, || {
        let quota = quota([None, Some(100), None], Period::Day);
        let resume = |quota: &Quota| assert!(quota.resume(NOW, spent(0, 50, 2)));
        let other = with(&quota, resume);
        let held = quota.reserve(spent(0, 9, 1), NOW).expect("there is room");
        resume(&quota);
        other.join().expect("no panic");
        held.settle(spent(0, 7, 1));
        assert_eq!(sums(&quota, NOW), (spent(0, 57, 3), Spent::default()));
    });
}

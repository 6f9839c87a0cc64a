//! What quotas promise: never more than them, under any concurrency; nothing lost or counted twice.

use super::*;
use proptest::prelude::*;
use std::sync::Barrier;

const DAY: u64 = 86_400;
/// A Friday.
const NOW: u64 = 20_833 * DAY;

fn quota(limits: [Option<u64>; 3], period: Period) -> Quota {
    let quota = Quota::default();
    quota.configure(limits, period);
    quota
}

fn spent(nano_usd: u64, tokens: u64, requests: u64) -> Spent {
    Spent { nano_usd, tokens, requests }
}

fn settled(quota: &Quota, at: u64) -> [u64; 3] {
    quota.standing(at).settled.parts()
}

fn reserved(quota: &Quota, at: u64) -> [u64; 3] {
    quota.standing(at).reserved.parts()
}

fn spend(quota: &Quota, amount: Spent, at: u64) {
    quota.reserve(Spent::default(), at).expect("it is below the quota").settle(amount);
}

#[test]
fn it_admits_while_settled_and_reserved_are_below_it() {
    let quota = quota([Some(1_000), Some(100), Some(3)], Period::Day);
    let first = quota.reserve(spent(400, 60, 1), NOW).expect("nothing is spent");
    let second = quota.reserve(spent(400, 60, 1), NOW).expect("60 are below 100");
    let refused = quota.reserve(spent(0, 0, 1), NOW).expect_err("120 are not");
    assert_eq!(refused, UsedUp { measure: Measure::Tokens, settled: false });
    assert_eq!(reserved(&quota, NOW), [800, 120, 2], "a refused one holds nothing of any measure");
    first.settle(spent(1_500, 10, 1));
    let refused = quota.reserve(spent(0, 0, 1), NOW).expect_err("the dollars are spent");
    assert_eq!(refused, UsedUp { measure: Measure::Usd, settled: true });
    assert_eq!((quota.spent(NOW), settled(&quota, NOW)), (Some(Measure::Usd), [1_500, 10, 1]));
    drop(second);
    assert_eq!((settled(&quota, NOW), reserved(&quota, NOW)), ([1_500, 10, 1], [0; 3]));
    assert_eq!(quota.spent(NOW + DAY), None, "a new day");
}

#[test]
fn what_is_known_early_takes_the_place_of_what_was_expected_and_is_settled_once() {
    let quota = quota([None, Some(100), None], Period::Month);
    let mut held = quota.reserve(spent(0, 90, 1), NOW).expect("nothing is spent");
    held.revise(spent(7, 20, 1));
    assert_eq!((settled(&quota, NOW), reserved(&quota, NOW)), ([0; 3], [7, 20, 1]));
    held.revise(spent(8, 21, 1));
    held.settle(spent(9, 22, 1));
    assert_eq!((settled(&quota, NOW), reserved(&quota, NOW)), ([9, 22, 1], [0; 3]));
}

#[test]
fn an_exchange_counts_in_the_window_in_which_it_began() {
    let quota = quota([None, None, Some(2)], Period::Day);
    let late = NOW + DAY - 1;
    let held = quota.reserve(spent(0, 0, 1), late).expect("nothing is spent");
    spend(&quota, spent(0, 5, 1), NOW + DAY);
    held.settle(spent(0, 7, 1));
    assert_eq!(settled(&quota, late), [0, 7, 1]);
    assert_eq!((settled(&quota, NOW + DAY), reserved(&quota, NOW + DAY)), ([0, 5, 1], [0; 3]));
    // One that began before the turn and was slow to come.
    spend(&quota, spent(0, 9, 1), late);
    assert_eq!((settled(&quota, late), settled(&quota, NOW + DAY)), ([0, 16, 2], [0, 5, 1]));
    assert!(quota.reserve(Spent::default(), late).is_err(), "its window is spent");
    assert!(quota.reserve(Spent::default(), NOW + DAY).is_ok(), "the new one is not");
}

#[test]
fn a_clock_that_is_set_back_forgets_nothing_of_the_window_it_was_set_back_from() {
    let quota = quota([None, Some(10), None], Period::Month);
    spend(&quota, spent(0, 10, 1), NOW);
    let before = NOW - 40 * DAY;
    spend(&quota, spent(0, 10, 1), before);
    assert_eq!((quota.spent(NOW), quota.spent(before)), (Some(Measure::Tokens), Some(Measure::Tokens)));
    assert_eq!(quota.spent(NOW + 31 * DAY), None);
    assert_eq!(quota.spent(NOW), Some(Measure::Tokens));
}

#[test]
fn a_total_never_renews() {
    let quota = quota([None, None, Some(1)], Period::Total);
    spend(&quota, spent(0, 0, 1), NOW);
    assert_eq!(quota.spent(NOW * 2), Some(Measure::Requests));
    assert_eq!(quota.standing(NOW * 2).renews_unix, None);
}

#[test]
fn a_changed_amount_keeps_what_was_spent_in_every_measure() {
    let quota = quota([None, Some(100), None], Period::Week);
    spend(&quota, spent(50, 99, 4), NOW);
    quota.configure([Some(60), Some(90), Some(5)], Period::Week);
    assert_eq!((settled(&quota, NOW), quota.spent(NOW)), ([50, 99, 4], Some(Measure::Tokens)));
    quota.configure([Some(60), Some(200), None], Period::Week);
    assert_eq!(quota.spent(NOW), None);
    assert_eq!(quota.standing(NOW).limits, [Some(60), Some(200), None]);
}

#[test]
fn another_period_keeps_what_lies_in_its_window_and_no_more() {
    for (before, after, kept) in [
        (Period::Day, Period::Month, true),
        (Period::Day, Period::Week, true),
        (Period::Week, Period::Total, true),
        (Period::Month, Period::Day, false),
        (Period::Total, Period::Month, false),
    ] {
        let quota = quota([Some(5), None, None], before);
        let held = quota.reserve(spent(1, 0, 0), NOW).expect("nothing is spent");
        spend(&quota, spent(7, 0, 0), NOW);
        quota.configure([Some(5), None, None], after);
        assert_eq!(settled(&quota, NOW)[0], if kept { 7 } else { 0 }, "{before:?} {after:?}");
        held.settle(spent(2, 0, 0));
        assert_eq!(settled(&quota, NOW)[0], if kept { 9 } else { 0 }, "{before:?} {after:?}");
        assert_eq!(reserved(&quota, NOW), [0; 3]);
    }
    // A day of the past says nothing of this one's month.
    let quota = quota([Some(5), None, None], Period::Day);
    spend(&quota, spent(7, 0, 0), NOW - DAY);
    quota.configure([Some(5), None, None], Period::Month);
    assert_eq!(settled(&quota, NOW), [0; 3]);
}

#[test]
fn what_was_written_down_is_booked_once_however_often_it_is_told() {
    let quota = quota([Some(100), None, None], Period::Month);
    let start = quota.window_start(NOW);
    assert!(!quota.resume(start + 1, spent(5, 5, 5)), "no window begins there");
    assert!(quota.resume(start, spent(90, 5, 1)) && quota.resume(start, spent(90, 5, 1)));
    let held = quota.reserve(spent(5, 0, 1), NOW).expect("it is below");
    spend(&quota, spent(3, 1, 1), NOW);
    assert!(quota.resume(start, spent(91, 9, 1)));
    assert_eq!(settled(&quota, NOW), [93, 9, 2], "of dollars and requests more is known already");
    drop(held);
    assert_eq!((settled(&quota, NOW), reserved(&quota, NOW)), ([93, 9, 2], [0; 3]));
    assert!(quota.resume(start, spent(200, 0, 0)));
    assert_eq!(quota.spent(NOW), Some(Measure::Usd));
}

#[test]
fn absurd_counts_fill_no_counter_to_its_brim() {
    let quota = quota([None, Some(10), None], Period::Day);
    spend(&quota, spent(u64::MAX, u64::MAX, 1), NOW);
    assert!(settled(&quota, NOW)[1] < u64::MAX / 8);
    assert_eq!(quota.spent(NOW), Some(Measure::Tokens));
}

fn threads<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(count);
    std::thread::scope(|scope| {
        let run = |index| {
            let (barrier, work) = (&barrier, &work);
            scope.spawn(move || {
                barrier.wait();
                work(index)
            })
        };
        let running: Vec<_> = (0..count).map(run).collect();
        running.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}

#[test]
fn sixteen_threads_get_exactly_the_requests_of_each_day_whoever_opens_it() {
    let quota = quota([None, None, Some(1_000)], Period::Day);
    for day in 0..20 {
        let at = NOW + day * DAY;
        let serve = |fails: bool| {
            let held = quota.reserve(spent(0, 0, 1), at).ok()?;
            // Some fail, and give back what others then get.
            if fails {
                drop(held);
            } else {
                held.settle(spent(0, 0, 1));
            }
            (!fails).then_some(())
        };
        let admitted =
            threads(16, |index| (0..200).filter_map(|turn| serve((turn + index) % 5 == 0)).count());
        let mut admitted: usize = admitted.into_iter().sum();
        assert!(admitted <= 1_000, "day {day}: {admitted}");
        // Who was turned away while one that failed held the last of them may ask again.
        admitted += std::iter::from_fn(|| serve(false)).count();
        assert_eq!((admitted, settled(&quota, at)[2]), (1_000, 1_000), "day {day}");
        assert_eq!(reserved(&quota, at), [0; 3]);
    }
}

#[test]
fn sixteen_threads_spend_at_most_the_quota_the_underestimates_and_the_last_one() {
    const LIMIT: u64 = 100_000;
    for (expected, actual) in [(100, 100), (100, 40), (100, 130), (1, 900)] {
        let quota = quota([Some(LIMIT), None, None], Period::Month);
        threads(16, |_| {
            for _ in 0..400 {
                let Ok(held) = quota.reserve(spent(expected, 0, 0), NOW) else { continue };
                std::thread::yield_now();
                held.settle(spent(actual, 0, 0));
            }
        });
        let total = settled(&quota, NOW)[0];
        let under = actual.saturating_sub(expected) * 16;
        assert!(total < LIMIT + actual.max(expected) + under, "{expected} {actual}: {total}");
        assert!(actual < expected || total >= LIMIT, "{expected} {actual}: {total}");
    }
}

#[test]
fn threads_that_meet_the_turn_of_the_day_lose_nothing_of_either() {
    let quota = quota([None, None, None], Period::Day);
    for day in 0..200 {
        let (before, after) = (NOW + day * DAY, NOW + (day + 1) * DAY);
        threads(8, |index| {
            for turn in 0..20 {
                let at = if (turn + index) % 2 == 0 { before } else { after };
                let held = quota.reserve(spent(0, 3, 1), at).expect("it has no limit");
                held.settle(spent(0, 2, 1));
            }
        });
        let expected = if day == 0 { 80 } else { 160 };
        assert_eq!(settled(&quota, before), [0, 2 * expected, expected], "day {day}");
        assert_eq!(settled(&quota, after), [0, 160, 80], "day {day}");
        assert_eq!((reserved(&quota, before), reserved(&quota, after)), ([0; 3], [0; 3]));
    }
}

#[test]
fn threads_that_meet_a_reload_with_another_period_lose_nothing() {
    for _ in 0..200 {
        let quota = quota([None, None, None], Period::Day);
        threads(8, |index| {
            for turn in 0..40 {
                if (index, turn) == (0, 20) {
                    quota.configure([None, None, None], Period::Week);
                }
                let held = quota.reserve(spent(0, 3, 1), NOW).expect("it has no limit");
                held.settle(spent(0, 2, 1));
            }
        });
        assert_eq!((settled(&quota, NOW), reserved(&quota, NOW)), ([0, 640, 320], [0; 3]));
        assert_eq!(quota.window_start(NOW), NOW - 4 * DAY);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Reserve(u64, u64),
    Settle(usize, u64),
    Drop(usize),
    Later(u64),
    Resume(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u64..300, 0_u64..20_000).prop_map(|(amount, ago)| Step::Reserve(amount, ago)),
        3 => (any::<usize>(), 0_u64..400).prop_map(|(at, amount)| Step::Settle(at, amount)),
        1 => any::<usize>().prop_map(Step::Drop),
        2 => (0_u64..40_000).prop_map(Step::Later),
        1 => (0_u64..600).prop_map(Step::Resume),
    ]
}

proptest! {
    /// Against a ledger that writes down every exchange with the day in which it began.
    #[test]
    fn every_exchange_is_counted_once_in_its_own_day(steps in prop::collection::vec(step(), 1..200)) {
        const LIMIT: u64 = 1_000;
        let quota = quota([None, Some(LIMIT), None], Period::Day);
        let mut now = NOW;
        let mut days: std::collections::BTreeMap<u64, (u64, u64)> = std::collections::BTreeMap::new();
        let mut running: Vec<(Held, u64, u64)> = Vec::new();
        for step in steps {
            match step {
                Step::Reserve(amount, ago) => {
                    let day = (now - ago) / DAY;
                    let (settled, held) = *days.entry(day).or_default();
                    let got = quota.reserve(spent(0, amount, 0), now - ago);
                    prop_assert_eq!(got.is_ok(), settled + held < LIMIT);
                    if let Ok(got) = got {
                        days.entry(day).or_default().1 += amount;
                        running.push((got, day, amount));
                    }
                }
                Step::Settle(at, actual) if !running.is_empty() => {
                    let (held, day, amount) = running.swap_remove(at % running.len());
                    held.settle(spent(0, actual, 0));
                    let day = days.entry(day).or_default();
                    *day = (day.0 + actual, day.1 - amount);
                }
                Step::Drop(at) if !running.is_empty() => {
                    let (held, day, amount) = running.swap_remove(at % running.len());
                    drop(held);
                    days.entry(day).or_default().1 -= amount;
                }
                Step::Later(by) => {
                    now += by;
                    // Every day is looked at, so that the one before is kept.
                    quota.standing(now);
                }
                Step::Resume(sum) => {
                    prop_assert!(quota.resume(now / DAY * DAY, spent(0, sum, 0)));
                    let day = days.entry(now / DAY).or_default();
                    day.0 = day.0.max(sum);
                }
                Step::Settle(..) | Step::Drop(_) => {}
            }
            let (settled_now, held_now) = days.get(&(now / DAY)).copied().unwrap_or_default();
            prop_assert_eq!(settled(&quota, now)[1], settled_now);
            prop_assert_eq!(reserved(&quota, now)[1], held_now);
        }
    }
}

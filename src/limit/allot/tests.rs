//! What replicas promise together, against a model of the store, with questions that get lost, come twice or come late.

use super::*;
use crate::limit::calendar::Period;
use crate::limit::quota::{Held, Quota, Spent};
use proptest::prelude::*;
use std::collections::BTreeMap;

const MS: Nanos = MILLISECOND;
const SECOND: Nanos = 1_000 * MS;
const TTL: Duration = Duration::from_secs(10);
const UNIX: u64 = 1_800_000_000;

/// What the script does.
#[derive(Debug, Default)]
struct Store(BTreeMap<usize, Entry>);

#[derive(Debug, Clone, Copy)]
struct Entry {
    seq: u64,
    settled: Parts,
    top: Parts,
    until: Nanos,
}

impl Store {
    fn ask(&mut self, id: usize, call: &Call, now: Nanos) -> Option<Answer> {
        if self.0.get(&id).is_some_and(|entry| call.seq <= entry.seq) {
            return None;
        }
        let sum = |of: &dyn Fn(&Entry) -> Parts| {
            let others = self.0.iter().filter(|(other, _)| **other != id);
            others.fold([0; 3], |sum: Parts, (_, entry)| [0, 1, 2].map(|at| sum[at] + of(entry)[at]))
        };
        let held = sum(&|entry| if entry.until <= now { entry.settled } else { entry.top });
        let settled = sum(&|entry| entry.settled);
        let free = [0, 1, 2].map(|at| {
            let taken = held[at].max(call.known[at]) + call.top[at];
            call.limits[at].map(|limit| i128::from(limit) - i128::from(taken))
        });
        let mut granted = [0; 3];
        if (0..3).all(|at| call.need[at] == 0 || free[at].is_none_or(|free| free > 0)) {
            let mut is_whole = true;
            for at in 0..3 {
                let Some(free) = free[at].filter(|_| call.need[at] > 0) else { continue };
                let least = call.least[at].max(1);
                let most = u64::try_from(free).expect("there is some").div_ceil(least) * least;
                granted[at] = call.need[at].min(most);
                is_whole &= granted[at] == call.need[at];
            }
            for at in 0..3 {
                let rest = free[at].map_or(0, |free| free - i128::from(granted[at]));
                if is_whole && rest > 1 {
                    granted[at] += call.extra[at].min(u64::try_from(rest / 2).expect("positive"));
                }
            }
        }
        let top = [0, 1, 2].map(|at| call.top[at] + granted[at]);
        let until = now + u64::try_from(TTL.as_nanos()).expect("short") * 11 / 10;
        self.0.insert(id, Entry { seq: call.seq, settled: call.settled, top, until });
        Some(Answer { granted, held, settled })
    }
}

/// One replica: its counters and what is held of them.
struct Replica {
    quota: Quota,
    allotment: Allotment,
    running: Vec<(Held, Spent)>,
}

impl Replica {
    fn new(limits: [Option<u64>; 3]) -> Self {
        let quota = Quota::default();
        quota.configure(limits, Period::Month);
        Self { quota, allotment: Allotment::default(), running: Vec::new() }
    }

    fn own(&self) -> Figures {
        self.quota.window(UNIX).figures()
    }

    fn admit(&mut self, expected: Spent, now: Nanos) -> Result<bool, Short> {
        let (own, limits) = (self.own(), self.quota.limits_now());
        let low = self.allotment.admit(&own, limits, expected.parts(), now)?;
        self.running.push((self.quota.window(UNIX).charge(expected), expected));
        Ok(low)
    }

    fn call(&mut self, now: Nanos) -> Option<Call> {
        let (own, limits) = (self.own(), self.quota.limits_now());
        self.allotment.call(&own, limits, 3, now)
    }

    fn hear(&mut self, seq: u64, answer: Option<Answer>, now: Nanos) {
        let limits = self.quota.limits_now();
        match answer {
            Some(answer) => self.allotment.answer(seq, (answer, limits), TTL, now),
            None => self.allotment.unanswered(seq),
        }
    }

    /// Asks until it is let in or refused, as the gateway does.
    fn try_in(&mut self, id: usize, store: &mut Store, expected: Spent, now: Nanos) -> bool {
        loop {
            match self.admit(expected, now) {
                Ok(_) => return true,
                Err(Short::UsedUp(_)) => return false,
                Err(Short::Ask) => {
                    self.allotment.join(expected.parts());
                    let call = self.call(now).expect("none is under way");
                    let answer = store.ask(id, &call, now);
                    self.hear(call.seq, answer, now);
                    self.allotment.leave(expected.parts());
                }
            }
        }
    }
}

fn fleet(limits: [Option<u64>; 3]) -> [Replica; 3] {
    std::array::from_fn(|_| Replica::new(limits))
}

fn used(fleet: &[Replica; 3]) -> Parts {
    fleet.iter().fold([0; 3], |sum, replica| [0, 1, 2].map(|at| sum[at] + replica.own().used[at]))
}

fn requests(expected: u64) -> Spent {
    Spent { requests: expected, ..Spent::default() }
}

#[test]
fn three_replicas_admit_exactly_the_requests_and_one_more_call_is_refused_from_memory() {
    let (mut fleet, mut store) = (fleet([None, None, Some(100)]), Store::default());
    let mut admitted = 0;
    for round in 0..400_usize {
        let id = round % 7 % 3;
        admitted += u64::from(fleet[id].try_in(id, &mut store, requests(1), SECOND + round as u64 * MS));
    }
    assert_eq!((admitted, used(&fleet)[2]), (100, 100));
    let late = SECOND + 400 * MS;
    for replica in &mut fleet {
        for (held, expected) in replica.running.drain(..) {
            held.settle(expected);
        }
    }
    for (id, replica) in fleet.iter_mut().enumerate() {
        let call = replica.call(late).expect("none is under way");
        let answer = store.ask(id, &call, late);
        replica.hear(call.seq, answer, late);
    }
    let own = fleet[2].own();
    assert_eq!(fleet[2].allotment.spent(&own, fleet[2].quota.limits_now()), Some(Measure::Requests));
    assert!(!fleet[2].allotment.asks(&own, fleet[2].quota.limits_now(), [0, 0, 1], late + SECOND));
}

#[test]
fn a_large_quota_is_spent_from_memory_and_its_end_is_exact() {
    let (mut fleet, mut store) = (fleet([None, Some(1_000_000), None]), Store::default());
    let each = Spent { tokens: 100, ..Spent::default() };
    let (mut calls, mut now, mut admitted) = (0, SECOND, 0);
    'all: loop {
        for (id, replica) in fleet.iter_mut().enumerate() {
            now += MS / 3;
            let seq = replica.allotment.seq;
            if !replica.try_in(id, &mut store, each, now) {
                break 'all;
            }
            admitted += 1;
            calls += replica.allotment.seq - seq;
        }
    }
    // The last round may refuse one where another still has a little.
    assert!((9_990..=10_000).contains(&admitted), "{admitted}");
    assert!(calls < admitted / 4, "{calls} questions for {admitted}");
}

#[test]
fn the_last_one_is_let_in_however_small_the_rest_and_there_is_one_for_all() {
    let (mut fleet, mut store) = (fleet([Some(1_000), None, None]), Store::default());
    let usd = |nano_usd| Spent { nano_usd, ..Spent::default() };
    assert!(fleet[0].try_in(0, &mut store, usd(999), SECOND));
    assert!(fleet[1].try_in(1, &mut store, usd(5_000), SECOND), "one nano-dollar is left");
    for (id, replica) in fleet.iter_mut().enumerate() {
        assert!(!replica.try_in(id, &mut store, usd(1), SECOND + MS), "{id}");
        assert!(!replica.try_in(id, &mut store, usd(0), SECOND + MS), "{id}");
    }
    // What it did not cost is there again, at once here, for the others with the next word.
    let (held, _) = fleet[1].running.pop().expect("it runs");
    held.settle(usd(0));
    assert!(fleet[1].allotment.is_off(&fleet[1].own(), fleet[1].quota.limits_now()));
    let later = SECOND + 100 * MS;
    let call = fleet[1].call(later).expect("none is under way");
    assert_eq!((call.top, call.settled), ([0; 3], [0; 3]));
    let answer = store.ask(1, &call, later);
    fleet[1].hear(call.seq, answer, later);
    assert!(fleet[2].try_in(2, &mut store, usd(7), later));
}

#[test]
fn a_rest_that_was_lent_is_no_rest_that_nobody_can_spend() {
    let (mut fleet, mut store) = (fleet([None, Some(103), None]), Store::default());
    let tokens = |tokens| Spent { tokens, ..Spent::default() };
    assert!(fleet[0].try_in(0, &mut store, tokens(100), SECOND));
    fleet[0].allotment.join([0, 1, 0]);
    fleet[0].allotment.join([0, 10, 0]);
    let call = fleet[0].call(SECOND).expect("none is under way");
    let answer = store.ask(0, &call, SECOND);
    fleet[0].hear(call.seq, answer, SECOND);
    assert!(fleet[0].admit(tokens(1), SECOND).is_ok());
    fleet[0].allotment.leave([0, 1, 0]);
    fleet[0].allotment.leave([0, 10, 0]);
    assert!(fleet[0].try_in(0, &mut store, tokens(10), SECOND), "101 of 103 are used");
    assert!(!fleet[1].try_in(1, &mut store, tokens(1), SECOND));
}

#[test]
fn apart_each_goes_on_with_its_part_of_what_was_left() {
    let (mut fleet, mut store) = (fleet([None, None, Some(100)]), Store::default());
    for round in 0..40_usize {
        assert!(fleet[round % 2].try_in(round % 2, &mut store, requests(1), SECOND));
    }
    // The last word: everybody knows of all.
    for (id, replica) in fleet.iter_mut().enumerate() {
        let call = replica.call(SECOND).expect("none is under way");
        let answer = store.ask(id, &call, SECOND);
        replica.hear(call.seq, answer, SECOND);
        replica.allotment.interrupt();
    }
    let mut apart = [0; 3];
    for (id, replica) in fleet.iter_mut().enumerate() {
        loop {
            let (own, limits) = (replica.own(), replica.quota.limits_now());
            if replica.allotment.admit_apart(&own, limits, 3).is_err() {
                break;
            }
            replica.running.push((replica.quota.window(UNIX).charge(requests(1)), requests(1)));
            apart[id] += 1;
        }
    }
    assert_eq!(apart, [20; 3], "a third of sixty each");
}

#[test]
fn an_emptied_store_sells_nothing_twice_to_who_remembers() {
    let (mut fleet, mut store) = (fleet([None, None, Some(30)]), Store::default());
    for round in 0..24_usize {
        assert!(fleet[round % 3].try_in(round % 3, &mut store, requests(1), SECOND));
    }
    for replica in &mut fleet {
        for (held, expected) in replica.running.drain(..) {
            held.settle(expected);
        }
    }
    for (id, replica) in fleet.iter_mut().enumerate().chain([]) {
        let call = replica.call(SECOND).expect("none is under way");
        let answer = store.ask(id, &call, SECOND);
        replica.hear(call.seq, answer, SECOND);
    }
    // The last one to be heard knows of all; it alone speaks to the empty store.
    store = Store::default();
    let more = (0..30).filter(|_| fleet[2].try_in(2, &mut store, requests(1), SECOND)).count();
    assert_eq!(more, 6);
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    Fine,
    Lost,
    Unheard,
    Late,
}

type Step = (u64, usize, u64, usize, u64, Fate);

fn step() -> impl Strategy<Value = Step> {
    let fate = prop_oneof![
        6 => Just(Fate::Fine), 1 => Just(Fate::Lost), 1 => Just(Fate::Unheard), 1 => Just(Fate::Late)
    ];
    (0_u64..400, 0_usize..3, 1_u64..40, 0_usize..12, 0_u64..40, fate)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// While nothing costs more than was expected: below the quota, and the last one let in, whatever gets lost.
    #[test]
    fn all_together_use_at_most_the_quota_and_the_last_one(
        limit in 1_u64..3_000, steps in prop::collection::vec(step(), 1..250),
    ) {
        let (mut fleet, mut store, mut now) = (fleet([None, Some(limit), None]), Store::default(), SECOND);
        let mut late: Vec<(usize, Call)> = Vec::new();
        let mut largest = 0;
        for (wait, id, tokens, times, actual, fate) in steps {
            // Everybody is heard within the life of a hold, as beats see to.
            now += wait * MS;
            for (other, replica) in fleet.iter_mut().enumerate().filter(|(other, _)| *other != id) {
                if let Some(call) = replica.call(now) {
                    let answer = store.ask(other, &call, now);
                    replica.hear(call.seq, answer, now);
                }
            }
            let expected = Spent { tokens, ..Spent::default() };
            largest = largest.max(tokens);
            let replica = &mut fleet[id];
            for _ in 0..times {
                if replica.admit(expected, now).is_err() {
                    break;
                }
            }
            replica.allotment.join(expected.parts());
            if let Some(call) = replica.call(now) {
                let answer = match fate {
                    Fate::Fine => store.ask(id, &call, now),
                    Fate::Lost => None,
                    Fate::Unheard => store.ask(id, &call, now).and(None),
                    Fate::Late => { late.push((id, call)); None }
                };
                replica.hear(call.seq, answer, now);
            }
            replica.allotment.leave(expected.parts());
            while replica.running.len() > 8 {
                let (held, expected) = replica.running.swap_remove(times % 8);
                held.settle(Spent { tokens: actual.min(expected.tokens), ..Spent::default() });
            }
            if times % 3 == 0 {
                for (id, call) in late.drain(..) {
                    store.ask(id, &call, now);
                }
            }
            let used = used(&fleet)[1];
            prop_assert!(used < limit + largest, "{used} of {limit}");
        }
    }
}

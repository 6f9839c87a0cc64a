//! The arithmetic of leases against a model of the store, with calls that get lost, come twice or come late.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const MS: Nanos = MILLISECOND;
const SECOND: Nanos = 1_000 * MS;
const TTL: Duration = Duration::from_millis(2_500);

/// What the scripts do, in whole numbers: `spent` is in units × [`MINUTE`].
#[derive(Debug, Default)]
struct Store {
    spent: i128,
    at: Nanos,
    replicas: BTreeMap<usize, Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    seq: u64,
    total: i64,
    held: u64,
    until: Nanos,
}

impl Store {
    fn ask(&mut self, shape: Shape, id: usize, (call, known): (Call, u64), now: Nanos) -> Option<Answer> {
        let unit = i128::from(MINUTE);
        if self.replicas.get(&id).is_some_and(|entry| call.seq <= entry.seq) {
            return None;
        }
        let earned = i128::from(now - self.at) * i128::from(shape.per_minute);
        (self.spent, self.at) = ((self.spent - earned).max(0), now);
        for entry in self.replicas.values_mut().filter(|entry| entry.until <= now) {
            if shape.per_minute > 0 {
                self.spent += i128::from(entry.held) * unit;
            }
            entry.held = 0;
        }
        let told = match self.replicas.get(&id) {
            Some(entry) => i128::from(call.total) - i128::from(entry.total),
            None => i128::from(call.unconfirmed).max(i128::from(known)),
        };
        self.spent = (self.spent + told * unit).max(0);
        let others = self.replicas.iter().filter(|(other, _)| **other != id).map(|(_, entry)| entry.held);
        let holds = i128::from(others.sum::<u64>() + call.keep) * unit;
        let free = (i128::from(shape.burst) * unit - self.spent - holds).div_euclid(unit);
        let whole = u64::try_from(free).unwrap_or(0);
        let mut granted = if whole >= call.least { call.need.min(whole) } else { 0 };
        if granted == call.need && whole > granted + 1 {
            granted += call.extra.min((whole - granted) / 2);
        }
        let short = (i128::from(call.least) + i128::from(granted) - free).max(0) * unit;
        let wait = short.checked_div(i128::from(shape.per_minute)).unwrap_or(0);
        let until = now + nanos(TTL);
        self.replicas
            .insert(id, Entry { seq: call.seq, total: call.total, held: call.keep + granted, until });
        let wait = if granted < call.need {
            Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX))
        } else {
            Duration::ZERO
        };
        Some(Answer { granted, free: whole.saturating_sub(granted), wait })
    }
}

/// What was really admitted, as one bucket counts it: how far above its burst it ever was.
#[derive(Debug, Default)]
struct Truth {
    backlog: i128,
    at: Nanos,
    over: i128,
}

impl Truth {
    fn admitted(&mut self, shape: Shape, units: u64, now: Nanos) {
        let earned = i128::from(now - self.at) * i128::from(shape.per_minute);
        self.backlog = (self.backlog - earned).max(0) + i128::from(units) * i128::from(MINUTE);
        self.at = now;
        self.over = self.over.max(self.backlog - i128::from(shape.burst) * i128::from(MINUTE));
    }
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    /// Asked and answered.
    Fine,
    /// The store never heard of it.
    Lost,
    /// The store heard, the replica did not hear back.
    Unheard,
    /// It reaches the store after the replica has given it up, and with the next step.
    Late,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![6 => Just(Fate::Fine), 1 => Just(Fate::Lost), 1 => Just(Fate::Unheard), 1 => Just(Fate::Late)]
}

/// One step: so long after the last, this replica wants so much, and its question has this fate.
type Step = (u64, usize, u64, u64, Fate);

fn steps(units: u64) -> impl Strategy<Value = Vec<Step>> {
    let wait = prop_oneof![8 => 0u64..50, 2 => 0u64..1_000, 1 => 0u64..20_000];
    prop::collection::vec((wait, 0usize..3, 1..units, 0u64..30, fate()), 1..250)
}

/// Lets three replicas take what they can; what was admitted goes through `truth`.
fn run(shape: Shape, steps: Vec<Step>) -> (Truth, u64) {
    let (mut store, mut truth, mut now, mut admitted) = (Store::default(), Truth::default(), SECOND, 0);
    let mut leases: [Lease; 3] = std::array::from_fn(|_| Lease::default());
    let mut late: Vec<(usize, Call)> = Vec::new();
    for lease in &mut leases {
        lease.configure(shape, 3);
    }
    (store.at, truth.at) = (now, now);
    for (wait_ms, id, units, times, fate) in steps {
        now += wait_ms * MS;
        let lease = &mut leases[id];
        for _ in 0..times {
            if lease.take(units, 0, now).is_ok() {
                truth.admitted(shape, units, now);
                admitted += units;
            }
        }
        let wanted = lease.join(units);
        if let Some(call) = lease.call(0, now) {
            assert_eq!(call.seq, wanted);
            match fate {
                Fate::Lost => lease.unanswered(call.seq),
                Fate::Late => {
                    lease.unanswered(call.seq);
                    late.push((id, call));
                }
                Fate::Unheard => {
                    store.ask(shape, id, (call, 0), now);
                    lease.unanswered(call.seq);
                }
                Fate::Fine => {
                    let answer = store.ask(shape, id, (call, 0), now).expect("it is the newest");
                    now += 3 * MS;
                    lease.answer(call.seq, answer, TTL, now);
                }
            }
        }
        lease.leave(units);
        if times % 3 == 0 {
            for (id, call) in late.drain(..) {
                store.ask(shape, id, (call, 0), now);
            }
        }
    }
    (truth, admitted)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// The promise, over every window: a single bucket that saw what was really admitted was never above its burst.
    #[test]
    fn three_replicas_never_admit_more_than_one_bucket_would(
        burst in 1u64..400, per_minute in 1u64..60_000, steps in steps(4),
    ) {
        let (truth, _) = run(Shape { burst, per_minute }, steps.into_iter().map(|s| (s.0, s.1, s.2.min(burst), s.3, s.4)).collect());
        prop_assert!(truth.over <= 0, "above the burst by {} units / minute", truth.over);
    }

    /// Slots in use are never more than the limit, whatever gets lost, as long as holds outlast the outages.
    #[test]
    fn slots_in_use_are_never_more_than_there_are(
        limit in 1u64..40,
        steps in prop::collection::vec((0u64..40, 0usize..3, 0u64..6, 0u64..6, fate()), 1..250),
    ) {
        let shape = Shape { burst: limit, per_minute: 0 };
        let (mut store, mut now) = (Store::default(), SECOND);
        store.at = now;
        let mut leases: [(Lease, u64); 3] = std::array::from_fn(|_| (Lease::default(), 0));
        for (lease, _) in &mut leases {
            lease.configure(shape, 3);
        }
        for (wait, id, takes, releases, fate) in steps {
            // Everybody is heard every now and then, as heartbeats see to.
            now += wait * MS;
            for (other, (lease, in_use)) in leases.iter_mut().enumerate() {
                if let Some(call) = lease.call(*in_use, now) {
                    match store.ask(shape, other, (call, 0), now) {
                        Some(answer) if matches!(fate, Fate::Fine) || other != id => lease.answer(call.seq, answer, TTL, now),
                        _ => lease.unanswered(call.seq),
                    }
                }
            }
            let (lease, in_use) = &mut leases[id];
            *in_use = in_use.saturating_sub(releases);
            for _ in 0..takes {
                if lease.take(1, *in_use, now).is_ok() {
                    *in_use += 1;
                }
            }
            lease.join(takes.max(1));
            if let (Some(call), false) = (lease.call(*in_use, now), matches!(fate, Fate::Lost)) {
                let answer = store.ask(shape, id, (call, 0), now).expect("it is the newest");
                lease.answer(call.seq, answer, TTL, now);
            } else {
                lease.unanswered(lease.seq);
            }
            lease.leave(takes.max(1));
            let total: u64 = leases.iter().map(|(_, in_use)| in_use).sum();
            prop_assert!(total <= limit, "{total} of {limit}");
        }
    }
}

fn ask(store: &mut Store, lease: &mut Lease, id: usize, now: Nanos) -> Answer {
    let call = lease.call(0, now).expect("none is under way");
    let answer = store.ask(lease.shape(), id, (call, 0), now).expect("it is the newest");
    lease.answer(call.seq, answer, TTL, now);
    answer
}

fn lease(burst: u64, per_minute: u64, replicas: u64) -> Lease {
    let mut lease = Lease::default();
    lease.configure(Shape { burst, per_minute }, replicas);
    lease
}

fn taken(lease: &mut Lease, now: Nanos) -> u64 {
    std::iter::from_fn(|| lease.take(1, 0, now).ok()).take(1_000).count() as u64
}

/// What an old slice and a refilled bucket would otherwise do together.
#[test]
fn a_slice_that_is_held_takes_its_place_in_the_burst_until_it_is_spent_or_over() {
    let (mut store, mut one, mut other) =
        (Store { at: SECOND, ..Store::default() }, lease(60, 60, 2), lease(60, 60, 2));
    one.join(30);
    assert_eq!(ask(&mut store, &mut one, 0, SECOND).granted, 30);
    // Long enough for the bucket to have refilled what was only borrowed, and the hold is still good.
    let later = SECOND + 2_400 * MS;
    for _ in 0..60 {
        other.join(1);
    }
    let answer = ask(&mut store, &mut other, 1, later);
    assert_eq!(answer.granted, 30, "thirty are held elsewhere");
    assert_eq!((taken(&mut one, later), taken(&mut other, later)), (30, 30));
    // Over at its holder, and for the store spent, not free.
    let mut third = lease(60, 60, 2);
    third.join(1);
    assert_eq!(ask(&mut store, &mut third, 2, SECOND + 2_500 * MS).granted, 0);
    assert_eq!(taken(&mut one, SECOND + 2_500 * MS), 0);
}

#[test]
fn a_hold_ends_at_its_replica_no_later_than_at_the_store_however_slow_the_answer() {
    let mut lease = lease(60, 60, 1);
    lease.join(5);
    let call = lease.call(0, SECOND).expect("a question");
    // The store reckons from when it answered, the replica from when it asked.
    lease.answer(call.seq, Answer { granted: 5, free: 55, wait: Duration::ZERO }, TTL, SECOND + 2_000 * MS);
    assert_eq!(lease.take(1, 0, SECOND + 2_499 * MS), Ok(false));
    assert_eq!(lease.take(1, 0, SECOND + 2_500 * MS), Err(Short::Ask));
}

#[test]
fn what_is_used_up_is_refused_without_asking_again_and_again() {
    let (mut store, mut lease) = (Store { at: SECOND, ..Store::default() }, lease(2, 60, 3));
    for _ in 0..3 {
        lease.join(1);
    }
    assert_eq!(
        ask(&mut store, &mut lease, 0, SECOND),
        Answer { granted: 2, free: 0, wait: Duration::from_secs(1) }
    );
    (0..3).for_each(|_| lease.leave(1));
    assert_eq!((taken(&mut lease, SECOND), lease.is_open(0)), (2, true));
    let wait = Duration::from_millis(960);
    assert_eq!(lease.take(1, 0, SECOND + 40 * MS), Err(Short::Dry(wait)));
    assert_eq!(lease.take(1, 0, SECOND + 100 * MS), Err(Short::Ask), "somebody may have given some back");
    ask(&mut store, &mut lease, 0, SECOND + 600 * MS);
    assert!(!lease.is_open(0), "nothing held, nothing owed: the store is left alone");
}

#[test]
fn a_busy_limit_is_spent_from_memory_and_an_idle_one_is_given_back() {
    let (mut store, mut lease) = (Store { at: SECOND, ..Store::default() }, lease(6_000, 6_000, 3));
    let (mut now, mut calls, mut admitted) = (SECOND, 0, 0);
    while now < 11 * SECOND {
        now += 10 * MS;
        match lease.take(1, 0, now) {
            Ok(false) => admitted += 1,
            Ok(true) => {
                admitted += 1;
                ask(&mut store, &mut lease, 0, now);
                calls += 1;
            }
            Err(Short::Ask) => {
                lease.join(1);
                ask(&mut store, &mut lease, 0, now);
                lease.leave(1);
                calls += 1;
                assert!(lease.take(1, 0, now).is_ok());
                admitted += 1;
            }
            Err(Short::Dry(wait)) => panic!("{wait:?}"),
        }
    }
    assert_eq!(admitted, 1_000);
    assert!((40..160).contains(&calls), "about ten a second: {calls}");
    assert!(lease.available(0, now) <= 60, "what is held follows the demand: {lease:?}");
    let later = now + 500 * MS;
    ask(&mut store, &mut lease, 0, later);
    assert_eq!((lease.available(0, later), store.replicas[&0].held, lease.is_open(0)), (0, 0, false));
}

#[test]
fn what_is_given_back_is_spent_again_only_where_the_store_counts_it_as_held() {
    let (mut store, mut lease) = (Store { at: SECOND, ..Store::default() }, lease(100, 60, 100));
    lease.join(40);
    ask(&mut store, &mut lease, 0, SECOND);
    lease.leave(40);
    lease.take(40, 0, SECOND).expect("it is held");
    lease.settle(40, 10);
    assert_eq!(lease.available(0, SECOND), 30, "the store has not heard of it");
    lease.take(30, 0, SECOND).expect("it is held");
    ask(&mut store, &mut lease, 0, SECOND);
    lease.settle(30, 10);
    assert_eq!(lease.available(0, SECOND), 0, "the store counts it as spent, and takes it back itself");
    assert_eq!(ask(&mut store, &mut lease, 0, SECOND).free, 80);
    lease.take(0, 0, SECOND).expect("nothing is always there");
    lease.settle(0, 130);
    assert_eq!(ask(&mut store, &mut lease, 0, SECOND).free, 0);
    lease.join(1);
    assert_eq!(
        ask(&mut store, &mut lease, 0, SECOND).wait,
        Duration::from_secs(51),
        "fifty of debt, and one"
    );
}

#[test]
fn an_outage_is_told_afterwards_but_for_what_was_earned_back_meanwhile() {
    let (mut store, mut lease) = (Store { at: SECOND, ..Store::default() }, lease(100, 60, 1));
    lease.join(40);
    ask(&mut store, &mut lease, 0, SECOND);
    lease.leave(40);
    lease.take(30, 0, SECOND).expect("it is held");
    lease.interrupt();
    assert_eq!(
        lease.take(1, 0, SECOND),
        Err(Short::Ask),
        "what was held is not spent beside the local count"
    );
    lease.spend(500);
    lease.rejoin(70);
    let answer = ask(&mut store, &mut lease, 0, SECOND);
    assert_eq!(answer.free + answer.granted, 30);
    // A store that has lost its data believes what the replica counted itself.
    let mut empty = Store { at: SECOND, ..Store::default() };
    let call = lease.call(0, SECOND).expect("a question");
    assert_eq!(
        empty.ask(lease.shape(), 0, (call, 70), SECOND).map(|answer| answer.free + call.keep),
        Some(30)
    );
}

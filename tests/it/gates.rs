//! Who is let in at a full channel, who waits and for how long: the decisions alone, nothing is sent.

use crate::support::key;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::task::JoinSet;
use tollgate::code::Code;
use tollgate::config::{self, FsSource};
use tollgate::failure::{Failure, FailureKind, Sent};
use tollgate::limit::{Amount, Counted};
use tollgate::protocol::{Dialect, Operation};
use tollgate::refusal::Refusal;
use tollgate::stage::plan::{Attempt, Next, Pause, Plan};
use tollgate::stage::route::{self, Wanted};
use tollgate::state::{Live, Registry};

const NOW: u64 = 1_000_000_000;
const SECOND: u64 = 1_000_000_000;

/// A configuration in force, and its counters.
struct House {
    registry: Registry,
    live: Live,
}

impl House {
    fn build(channels: &str) -> Self {
        let registry = Registry::default();
        let live = bound(&registry, channels, NOW);
        Self { registry, live }
    }

    fn reload(&mut self, channels: &str, now: u64) {
        self.live = bound(&self.registry, channels, now);
    }

    fn plan(&self) -> Plan {
        let key = self.live.snapshot.key_named("alice").expect("it is configured");
        let wanted = Wanted {
            dialect: Dialect::OpenAi,
            operation: Operation::ChatCompletions,
            model: Some("m"),
            stream: false,
        };
        *route::route(&self.live, key, wanted).expect("a plan")
    }

    fn costing(&self, tokens: u64) -> Plan {
        let mut plan = self.plan();
        plan.expect(Amount { input: tokens, output: 0 });
        plan
    }

    fn attempt(&self, plan: &mut Plan, now: u64) -> Attempt {
        match plan.next(&self.live, &self.registry, now) {
            Next::Attempt(attempt) => *attempt,
            other => panic!("no attempt but {other:?}"),
        }
    }

    fn pause(&self, plan: &mut Plan, now: u64) -> Pause {
        match plan.next(&self.live, &self.registry, now) {
            Next::Queue(pause) => pause,
            other => panic!("no wait but {other:?}"),
        }
    }

    fn refusal(&self, plan: &mut Plan, now: u64) -> Refusal {
        match plan.next(&self.live, &self.registry, now) {
            Next::Exhausted(refusal) => refusal,
            other => panic!("no refusal but {other:?}"),
        }
    }

    /// How many wait for each channel.
    fn waiting(&self) -> Vec<usize> {
        let channels = self.live.snapshot.channels.iter();
        channels.map(|channel| self.live.channel(channel.index).queue.waiting()).collect()
    }

    /// Nothing is held any more.
    fn is_empty(&self) -> bool {
        let leases = self.registry.leases().load(Ordering::SeqCst);
        leases == 0 && self.waiting().iter().all(|waiting| *waiting == 0)
    }
}

fn bound(registry: &Registry, channels: &str, now: u64) -> Live {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("tollgate.toml");
    std::fs::write(&file, format!("{channels}{}", key())).expect("it is written");
    let loaded = config::load(&file, &FsSource).unwrap_or_else(|problems| panic!("{problems}"));
    registry.bind(Arc::new(loaded.snapshot), now)
}

fn channel(name: &str, more: &str) -> String {
    let keys = format!("api_keys = [\"sk-one-{name}-01234\", \"sk-two-{name}-01234\"]");
    format!("[[channel]]\nname = \"{name}\"\ntype = \"openai\"\n{keys}\n{more}\n")
}

fn is_woken(pause: &Pause) -> bool {
    let mut woken = pin!(pause.signal.woken());
    woken.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[test]
fn a_freed_slot_wakes_the_first_and_nobody_overtakes() {
    let house = House::build(&channel("a", "limits = { concurrency = 1 }\nqueue = 2"));
    let mut running = house.attempt(&mut house.plan(), NOW);
    let (mut first, mut second, mut late) = (house.plan(), house.plan(), house.plan());
    let (to_first, to_second) = (house.pause(&mut first, NOW), house.pause(&mut second, NOW));
    assert_eq!(to_first.longest, Duration::from_secs(10), "the default queue_timeout");
    assert_eq!(house.refusal(&mut late, NOW).code, Code::NoChannelAvailable, "both places are taken");
    assert!(!is_woken(&to_first));
    // The slot comes back before the end of the answer is written, the tokens are settled after it.
    drop(running.slot.take());
    assert_eq!((is_woken(&to_first), is_woken(&to_second)), (true, false));
    house.refusal(&mut late, NOW);
    house.pause(&mut second, NOW);
    let served = house.attempt(&mut first, NOW);
    assert_eq!(house.waiting(), [1]);
    house.pause(&mut late, NOW);
    assert!(is_woken(&to_second), "it is the first now");
    let still = house.pause(&mut second, NOW);
    drop(served);
    assert!(is_woken(&still));
    drop(second);
    let last = house.attempt(&mut late, NOW);
    drop((last, first, late));
    assert!(house.is_empty());
}

#[test]
fn who_is_turned_away_does_not_wake_itself() {
    let limits = "limits = { concurrency = 9, tpm = 1000 }\ncredential_limits = { tpm = 100 }\nqueue = 2";
    let house = House::build(&channel("a", limits));
    let running: Vec<_> = (0..2).map(|_| house.attempt(&mut house.costing(100), NOW)).collect();
    let mut waiting = house.costing(50);
    let pause = house.pause(&mut waiting, NOW);
    assert!(!is_woken(&pause), "what it gave back by itself is nothing new");
    assert_eq!(pause.longest, Duration::from_secs(10));
    drop(running);
    assert!(is_woken(&pause));
    let attempt = house.attempt(&mut waiting, NOW);
    drop((attempt, waiting));
    assert!(house.is_empty());
}

#[test]
fn a_known_wait_is_told_and_a_queue_has_nobody_longer_than_its_timeout() {
    let limits = "limits = { rpm = 60, burst = 1 }\nqueue = 3\nqueue_timeout = \"2500ms\"";
    let house = House::build(&channel("a", limits));
    drop(house.attempt(&mut house.plan(), NOW));
    let mut plans: Vec<_> = (0..3).map(|_| house.plan()).collect();
    let pauses: Vec<_> = plans.iter_mut().map(|plan| house.pause(plan, NOW).longest.as_millis()).collect();
    assert_eq!(pauses, [1_000, 2_000, 2_500], "one after the other, and none past its timeout");

    drop(house.attempt(&mut plans[0], NOW + SECOND));
    assert_eq!(house.pause(&mut plans[1], NOW + SECOND).longest, Duration::from_secs(1));
    let mut late = [house.plan(), house.plan()];
    house.pause(&mut late[0], NOW + SECOND);
    let refused = house.refusal(&mut late[1], NOW + SECOND);
    assert_eq!(refused.retry_after, Some(Duration::from_secs(4)), "three are before it");
    drop(late);
    drop(house.attempt(&mut plans[1], NOW + 2 * SECOND));
    assert_eq!(house.pause(&mut plans[2], NOW + 2 * SECOND).longest, Duration::from_millis(500));
    let refused = house.refusal(&mut plans[2], NOW + 5 * SECOND / 2);
    assert_eq!(
        (refused.code, refused.retry_after),
        (Code::NoChannelAvailable, Some(Duration::from_millis(500)))
    );
    assert!(house.is_empty());
    let again = house.refusal(&mut plans[2], NOW + 5 * SECOND / 2);
    assert_eq!(again.code, Code::NoChannelAvailable, "its patience is used up for good");
}

#[test]
fn whoever_can_be_served_by_several_waits_for_all_of_them_and_leaves_the_others() {
    let limits = "limits = { concurrency = 1 }\nqueue = 5";
    let house = House::build(
        &(channel("a", limits) + &channel("b", limits) + &channel("c", "limits = { concurrency = 1 }")),
    );
    let mut running: Vec<_> = (0..3).map(|_| house.attempt(&mut house.plan(), NOW)).collect();
    running.sort_by_key(|attempt| attempt.channel.index);
    let mut plan = house.plan();
    let pause = house.pause(&mut plan, NOW);
    assert_eq!(house.waiting(), [1, 1, 0], "one ticket each, and none where there is no queue");
    drop(running.remove(1));
    assert!(is_woken(&pause));
    let served = house.attempt(&mut plan, NOW);
    assert_eq!((served.channel.id.as_str(), house.waiting()), ("b", vec![0, 0, 0]));
}

#[test]
fn a_channel_that_rests_is_waited_for_no_longer() {
    let limits = "limits = { concurrency = 1 }\nqueue = 5";
    let house = House::build(&(channel("a", limits) + &channel("b", limits)));
    let mut plans = [house.plan(), house.plan()];
    let mut running = plans.each_mut().map(|plan| house.attempt(plan, NOW));
    running.sort_by_key(|attempt| attempt.channel.index);
    let mut waiting = house.plan();
    let pause = house.pause(&mut waiting, NOW);
    let [a, b] = running;
    let fails = |plan: &mut Plan, attempt: Attempt| {
        let overloaded = Failure::new(FailureKind::Overloaded, Sent::NotBegun, "");
        let failure = Failure { retry_after: Some(Duration::from_secs(4)), ..overloaded };
        plan.failed(&house.live, &attempt, failure, (NOW, 0));
    };
    let [one, other] = &mut plans;
    fails(one, a);
    assert!(is_woken(&pause));
    assert_eq!(house.pause(&mut waiting, NOW).longest, Duration::from_secs(4), "until the rest is over");
    assert_eq!(house.waiting(), [0, 1]);
    fails(other, b);
    let refused = house.refusal(&mut waiting, NOW);
    assert_eq!((refused.code, refused.retry_after), (Code::NoChannelAvailable, Some(Duration::from_secs(4))));
    assert!(house.is_empty());
}

#[test]
fn a_full_credential_is_passed_by_and_a_shut_one_leaves_nothing_taken() {
    let limits = "limits = { concurrency = 9, rpm = 9 }\ncredential_limits = { concurrency = 2 }";
    let house = House::build(&channel("a", limits));
    let running: Vec<_> = (0..4).map(|_| house.attempt(&mut house.plan(), NOW)).collect();
    let on_first = running.iter().filter(|attempt| attempt.credential_index == 0).count();
    assert_eq!(on_first, 2);
    for _ in 0..5 {
        assert_eq!(house.refusal(&mut house.plan(), NOW).code, Code::NoChannelAvailable);
    }
    let gate = &house.live.channel(0).gate;
    assert_eq!((gate.slots.taken(), gate.rpm_level(NOW).map(|level| level.remaining)), (4, Some(5)));
    drop(running);
    assert!(house.is_empty());
}

#[test]
fn tokens_are_taken_at_both_gates_or_at_neither_and_come_back() {
    let limits = "limits = { tpm = 1000 }\ncredential_limits = { tpm = 300 }";
    let house = House::build(&channel("a", limits));
    let left = || {
        let state = house.live.channel(0);
        let gates = [&state.gate, &state.credential_gates[0], &state.credential_gates[1]];
        gates.map(|gate| gate.token_level(Counted::All, NOW).expect("it has a limit").remaining)
    };
    let mut running: Vec<_> = (0..2).map(|_| house.attempt(&mut house.costing(200), NOW)).collect();
    assert_eq!(left(), [600, 100, 100]);
    let refused = house.refusal(&mut house.costing(150), NOW);
    assert_eq!(refused.retry_after, Some(Duration::from_secs(10)), "fifty tokens at five a second");
    assert_eq!(left(), [600, 100, 100]);
    let settled = running.pop().and_then(|mut attempt| attempt.charge.take()).expect("a charge");
    settled.settle(Amount { input: 250, output: 0 });
    assert_eq!(left().iter().sum::<u64>(), 550 + 100 + 50);
    drop(running);
    assert_eq!(left().iter().sum::<u64>(), 750 + 300 + 50, "a failed attempt costs nothing");
    let kept = house.attempt(&mut house.costing(300), NOW).charge.take().expect("a charge");
    kept.keep();
    assert_eq!(left().iter().sum::<u64>(), 450 + 50);
    assert!(house.is_empty());
}

#[test]
fn what_a_credential_used_survives_a_reload_and_a_longer_limit_wakes_who_waits() {
    let limits = |concurrency: u32, rpm: u32| {
        channel(
            "a",
            &format!(
                "limits = {{ concurrency = {concurrency} }}\ncredential_limits = {{ rpm = {rpm} }}\nqueue = 5"
            ),
        )
    };
    let mut house = House::build(&limits(1, 2));
    let running = house.attempt(&mut house.plan(), NOW);
    let mut waiting = house.plan();
    let pause = house.pause(&mut waiting, NOW);
    house.reload(&limits(2, 2), NOW);
    assert!(is_woken(&pause));
    let second = house.attempt(&mut waiting, NOW);
    drop((running, second));
    let used = |house: &House| -> u64 {
        let gates = house.live.channel(0).credential_gates.iter();
        gates.map(|gate| 2 - gate.rpm_level(NOW).expect("it has a limit").remaining).sum()
    };
    assert_eq!(used(&house), 2);
    house.reload(&channel("other", ""), NOW);
    house.reload(&limits(2, 2), NOW);
    assert_eq!(used(&house), 0, "a name that was gone starts anew");
}

/// Nothing but what is given back wakes anybody here: a lost wake-up would hang this test.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_tasks_at_two_channels_with_two_credentials_each_are_all_served() {
    let limits =
        "limits = { concurrency = 3, tpm = 100 }\ncredential_limits = { concurrency = 1 }\nqueue = 64";
    let house = Arc::new(House::build(&(channel("a", limits) + &channel("b", limits))));
    let busy = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for task in 0..64u64 {
        let (house, busy) = (Arc::clone(&house), Arc::clone(&busy));
        tasks.spawn(async move {
            for round in 0..30 {
                let mut plan = house.costing(task % 60);
                let attempt = loop {
                    match plan.next(&house.live, &house.registry, NOW) {
                        Next::Attempt(attempt) => break attempt,
                        Next::Queue(pause) => pause.signal.woken().await,
                        other => panic!("{other:?}"),
                    }
                };
                assert!(busy.fetch_add(1, Ordering::SeqCst) < 4, "two channels, two credentials each");
                if round % 3 == 0 {
                    tokio::task::yield_now().await;
                }
                busy.fetch_sub(1, Ordering::SeqCst);
                drop(attempt);
            }
        });
    }
    tasks.join_all().await;
    assert!(house.is_empty());
    for index in 0..2 {
        let gate = &house.live.channel(index).gate;
        assert_eq!(
            (gate.slots.taken(), gate.token_level(Counted::All, NOW).map(|level| level.remaining)),
            (0, Some(100))
        );
    }
}

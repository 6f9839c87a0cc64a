//! `balance`: which of several channels of one priority, by weight, by load, by how quick they are.

use crate::support::decide::{Decides, SECOND, line, place};
use crate::support::{Gateway, StillWorld, channel, key, provider, speech};
use speech::{MODEL, Speech};
use std::sync::Arc;
use std::time::Duration;
use tollgate::failure::FailureKind;
use tollgate::stage::plan::Attempt;
use tollgate::state::health::Why;
use tollgate::world::World;
use tollgate_loadtest::{Fault, Selector};

fn two(balance: &str, weights: (u32, u32)) -> Decides {
    let more = |weight| format!("balance = \"{balance}\"\nweight = {weight}");
    Decides::new(&(line("a", &["sk-a"], &more(weights.0)) + &line("b", &["sk-b"], &more(weights.1))))
}

#[test]
fn the_least_busy_keeps_what_is_in_flight_in_proportion_to_the_weights() {
    let decides = two("least_busy", (3, 1));
    let mut held: Vec<_> = (0..400).map(|_| decides.attempt(None)).collect();
    let on = |held: &[Attempt], name| held.iter().filter(|attempt| place(attempt) == name).count();
    assert!(on(&held, "a/0").abs_diff(300) <= 8, "{}", on(&held, "a/0"));
    // What ends at one channel only is made up for there.
    held.retain(|attempt| place(attempt) == "b/0");
    let before = held.len();
    held.extend((0..before * 3).map(|_| decides.attempt(None)));
    assert!(on(&held, "b/0") <= before + 8, "{before}, then {}", on(&held, "b/0"));
}

#[test]
fn idle_channels_are_chosen_by_weight_in_every_way() {
    for balance in ["weighted", "least_busy", "least_latency"] {
        let decides = two(balance, (70, 30));
        let on_a = (0..10_000).filter(|_| decides.serve("alice", None).0 == "a/0").count();
        assert!(on_a.abs_diff(7_000) <= 200, "{balance}: {on_a}");
    }
}

#[test]
fn a_slow_channel_and_one_that_times_out_get_little_and_a_recovered_one_its_share() {
    for slowly in [None, Some(FailureKind::FirstByteTimeout)] {
        let mut decides = two("least_latency", (1, 1));
        let mut run = |slow: Duration, requests: u64| {
            let mut on_a = 0;
            for _ in 0..requests {
                decides.now += SECOND / 2;
                let mut plan = decides.plan("alice", None);
                let attempt = decides.next(&mut plan);
                let first = place(&attempt) == "a/0";
                on_a += u64::from(first);
                match slowly {
                    // What it does to the channel's health is another matter.
                    Some(kind) if first && slow > Duration::from_secs(1) => {
                        decides.failed(&mut plan, &attempt, kind, slow);
                        decides.live.channel(attempt.channel.index).health.worked(None);
                    }
                    _ if first => decides.answered(&plan, &attempt, slow),
                    _ => decides.answered(&plan, &attempt, Duration::from_millis(300)),
                }
            }
            on_a
        };
        let slow = run(Duration::from_secs(3), 2_000);
        assert!((1..300).contains(&slow), "{slowly:?} {slow}");
        run(Duration::from_millis(300), 400);
        let recovered = run(Duration::from_millis(300), 2_000);
        assert!(recovered.abs_diff(1_000) <= 200, "{slowly:?} {recovered}");
    }
}

#[test]
fn the_first_channel_of_a_priority_speaks_for_it_even_while_it_rests() {
    let text = line("a", &["sk-a"], "balance = \"least_busy\"")
        + &line("b", &["sk-b"], "")
        + &line("c", &["sk-c"], "");
    let decides = Decides::new(&text);
    decides.live.channel(0).health.rest.begin(decides.now, Duration::from_secs(60), Why::Asked);
    let mut held: Vec<_> = (0..80).map(|_| decides.attempt(None)).collect();
    held.retain(|attempt| place(attempt) == "b/0");
    assert!(held.len() >= 30, "{}", held.len());
    let next: Vec<_> = (0..20).map(|_| place(&decides.attempt(None))).collect();
    assert!(next.iter().filter(|at| *at == "c/0").count() >= 19, "the busier one is avoided: {next:?}");
}

#[tokio::test]
async fn the_time_to_the_first_event_is_measured_where_it_passes() {
    let (slow, quick) = (provider().await, provider().await);
    for provider in [&slow, &quick] {
        provider.script_forever(Selector::Any, Fault::HoldFirstByte);
    }
    let more = "balance = \"least_latency\"";
    let text = channel("slow", "openai", &slow, more) + &channel("quick", "openai", &quick, more) + &key();
    let world = StillWorld::new();
    let clocks: Arc<dyn World> = Arc::<StillWorld>::clone(&world);
    let gateway = Gateway::in_world("", &text, clocks).await;
    for stream in [true, false] {
        let before = slow.request_count();
        for _ in 0..60 {
            let asked = Speech::Chat.ask(gateway.addr(), MODEL, stream);
            let answered = async {
                tokio::select! {
                    () = slow.wait_for_holding(1) => {
                        world.advance(Duration::from_secs(20));
                        slow.release();
                    }
                    () = quick.wait_for_holding(1) => {
                        world.advance(Duration::from_millis(200));
                        quick.release();
                    }
                }
            };
            let (answer, ()) = tokio::join!(asked, answered);
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let on_slow = slow.request_count() - before;
        assert!((1..=9).contains(&on_slow), "stream {stream}: {on_slow} of 60");
    }
}

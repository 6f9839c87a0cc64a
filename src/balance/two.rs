//! The better of two: a choice by load that needs no view of all, and does not send everybody to the same place.
//!
//! One candidate is drawn by weight and one evenly from the others. Both run a race: each one's time is what
//! it has in flight and this request, times its pace, divided by its weight. This request counts as a random
//! part with mean 1 (exponential), so that between idle candidates each wins in proportion to its weight.
//! Invariant: where paces and loads are equal, the shares are the weights, exactly: the pair {i, j} is drawn with
//! probability (wᵢ + wⱼ) / (W (n − 1)), of which i wins wᵢ / (wᵢ + wⱼ), and the sum over j is wᵢ / W.

use super::rendezvous::{mix, unit};

/// What is known of a candidate at this moment.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Exchanges under way.
    pub inflight: u32,
    /// How long it takes to begin an answer, in any unit; `None`: nobody knows, so it is taken to be as quick
    /// as the one it races with.
    pub pace: Option<f64>,
}

/// Picks one of the candidates with these weights; `None` where the weights sum to nothing. Only the two that
/// are drawn are asked for their load.
pub fn better_of_two(weights: &[u32], random: u64, load: impl Fn(usize) -> Load) -> Option<usize> {
    let first = by_weight(weights, mix(random ^ FIRST))?;
    let others = weights.iter().enumerate().filter(|(at, weight)| *at != first && **weight > 0).count();
    let skipped = (u128::from(mix(random ^ SECOND)) * others as u128) >> 64;
    let second = weights
        .iter()
        .enumerate()
        .filter(|(at, weight)| *at != first && **weight > 0)
        .nth(usize::try_from(skipped).unwrap_or(0));
    let Some((second, _)) = second else { return Some(first) };
    let (one, other) = (load(first), load(second));
    let (pace, other_pace) = match (one.pace, other.pace) {
        (Some(one), Some(other)) => (one, other),
        _ => (1.0, 1.0),
    };
    let time = |load: Load, weight: u32, pace: f64, salt: u64| {
        (f64::from(load.inflight) - unit(mix(random ^ salt)).ln()) * pace / f64::from(weight)
    };
    let its = time(one, weights[first], pace, THIRD);
    Some(if time(other, weights[second], other_pace, FOURTH) < its { second } else { first })
}

/// Draws by weight.
fn by_weight(weights: &[u32], random: u64) -> Option<usize> {
    let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    let point = (u128::from(random) * total) >> 64;
    let mut upto = 0u128;
    weights.iter().position(|weight| {
        upto += u128::from(*weight);
        point < upto
    })
}

/// Four independent numbers out of one: any four different words do.
const FIRST: u64 = 0x243F_6A88_85A3_08D3;
const SECOND: u64 = 0x1319_8A2E_0370_7344;
const THIRD: u64 = 0xA409_3822_299F_31D0;
const FOURTH: u64 = 0x082E_FA98_EC4E_6C89;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::pace::Pace;
    use std::collections::VecDeque;
    use std::time::Duration;

    const MILLISECOND: u64 = 1_000_000;

    /// A channel of a simulation: how long it takes to answer, and what it has under way.
    struct Channel {
        weight: u32,
        pace: Pace,
        ends: VecDeque<u64>,
    }

    /// Sends requests, one each `every` milliseconds, for so many; a channel's answers begin after
    /// `takes(channel, now)` milliseconds and end then. Says how many each got.
    fn simulate(weights: &[u32], every: u64, requests: u64, takes: impl Fn(usize, u64) -> u64) -> Vec<u64> {
        let mut channels: Vec<_> = weights
            .iter()
            .map(|weight| Channel { weight: *weight, pace: Pace::default(), ends: VecDeque::new() })
            .collect();
        let mut counts = vec![0; weights.len()];
        let mut due: Vec<(u64, usize, u64)> = Vec::new();
        for turn in 0..requests {
            let now = 1_000_000 + turn * every;
            due.sort_unstable();
            while due.first().is_some_and(|(at, ..)| *at <= now) {
                let (at, channel, took) = due.remove(0);
                channels[channel].pace.answered(Duration::from_millis(took), at * MILLISECOND);
                channels[channel].ends.pop_front();
            }
            let load = |at: usize| Load {
                inflight: u32::try_from(channels[at].ends.len()).unwrap(),
                pace: channels[at].pace.at(now * MILLISECOND).map(|pace| pace.as_secs_f64()),
            };
            let weights: Vec<_> = channels.iter().map(|channel| channel.weight).collect();
            let chosen = better_of_two(&weights, mix(turn), load).expect("some weight");
            let took = takes(chosen, now);
            channels[chosen].ends.push_back(now + took);
            due.push((now + took, chosen, took));
            counts[chosen] += 1;
        }
        counts
    }

    fn percent(counts: &[u64]) -> Vec<u64> {
        let total: u64 = counts.iter().sum();
        counts.iter().map(|count| (count * 100 + total / 2) / total).collect()
    }

    #[test]
    fn between_equals_the_weights_decide_whatever_is_in_flight() {
        let cases =
            [(vec![70, 30], [70, 30, 0]), (vec![8, 1, 1], [80, 10, 10]), (vec![1, 1, 1], [33, 33, 33])];
        for (weights, shares) in cases {
            // One at a time, ten and a hundred at once.
            for every in [400, 30, 3] {
                let counts = percent(&simulate(&weights, every, 20_000, |_, _| 300));
                for (count, share) in counts.iter().zip(shares) {
                    assert!(count.abs_diff(share) <= 4, "{weights:?} every {every} ms: {counts:?}");
                }
            }
        }
    }

    #[test]
    fn paces_that_vary_alike_do_not_move_the_shares_far() {
        let vary = |_, now: u64| 100 + mix(now) % 900;
        let counts = percent(&simulate(&[3, 1], 100, 20_000, vary));
        assert!(counts[0].abs_diff(75) <= 6, "{counts:?}");
    }

    #[test]
    fn one_ten_times_slower_gets_little_at_any_load() {
        for every in [1_000, 300, 30, 3] {
            let counts = percent(&simulate(&[1, 1], every, 10_000, |at, _| [3_000, 300][at]));
            assert!((1..15).contains(&counts[0]), "every {every} ms: {counts:?}");
        }
    }

    #[test]
    fn one_that_recovers_gets_its_share_back() {
        let half = 1_000_000 + 5_000 * 100;
        let takes = |at: usize, now: u64| if at == 0 && now < half { 10_000 } else { 300 };
        let slow = simulate(&[1, 1], 100, 5_000, takes)[0];
        // Two more minutes for noticing, then ten with both alike.
        let noticed = simulate(&[1, 1], 100, 6_200, takes)[0];
        let after = simulate(&[1, 1], 100, 12_200, takes)[0];
        assert!(slow < 250, "{slow}");
        assert!((after - noticed).abs_diff(3_000) <= 300, "{slow} {noticed} {after}");
    }

    #[test]
    fn an_unmeasured_one_is_tried_and_not_flooded() {
        let known = Load { inflight: 0, pace: Some(0.3) };
        let wins = |inflight| {
            let load = |at| if at == 0 { Load { inflight, pace: None } } else { known };
            (0..1_000).filter(|turn| better_of_two(&[1, 1], mix(*turn), load) == Some(0)).count()
        };
        assert!(wins(0).abs_diff(500) <= 60, "{}", wins(0));
        assert!(wins(5) <= 10, "{}", wins(5));
    }

    #[test]
    fn nothing_to_choose_from_is_none_and_no_weight_is_never_chosen() {
        let idle = |_| Load { inflight: 0, pace: None };
        assert_eq!(better_of_two(&[], 1, idle), None);
        assert_eq!(better_of_two(&[0, 0], 1, idle), None);
        assert!((0..1_000).all(|turn| better_of_two(&[0, 1, 0], mix(turn), idle) == Some(1)));
        assert!((0..1_000).all(|turn| better_of_two(&[0, 1, 2], mix(turn), idle) != Some(0)));
    }
}

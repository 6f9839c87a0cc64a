//! Which exchanges go to a channel on trial: an exact share of them, or a share of sessions that stays together.
//!
//! Invariants: over any run of draws a canary gets its share to within a few exchanges; whether an exchange is drawn says
//! nothing of where it goes otherwise, so the weights of the others stay exact; a session that is drawn at a share is drawn at
//! every larger one of the first canary.

use super::rendezvous;

/// Of a million.
pub const WHOLE: u32 = 1_000_000;

/// The point of the n-th draw: multiples of √2, modulo 1. Those of the golden ratio are taken by the choice by weight, and
/// points of both together fill the square evenly, which those of one step twice would not.
pub fn of_turn(turn: u64) -> u64 {
    turn.wrapping_mul(SILVER)
}

/// The point of a session, the same at every replica, and no part of where the session goes otherwise.
pub fn of_session(mark: u64) -> u64 {
    rendezvous::mix(mark ^ SALT)
}

/// Whose share a point is in, of shares of a million one after the other; `None`: nobody's.
pub fn drawn(shares: impl IntoIterator<Item = u32>, point: u64) -> Option<usize> {
    let at = (u128::from(point) * u128::from(WHOLE)) >> 64;
    let mut upto = 0u128;
    shares.into_iter().position(|share| {
        upto += u128::from(share);
        at < upto
    })
}

/// The broken part of √2, times 2⁶⁴.
const SILVER: u64 = 0x6A09_E667_F3BC_C908;
const SALT: u64 = 0xCA11_A27E_57A2_7ED0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::pick;

    #[test]
    fn every_share_is_exact_over_short_runs_and_leaves_the_weights_alone() {
        for share in [1_000, 10_000, 50_000, 100_000, 333_333, 500_000, 950_000, WHOLE] {
            let is_drawn = |turn: u64| drawn([share], of_turn(turn)).is_some();
            for begin in [0, 777, u64::MAX - 5_000] {
                let count = (0..10_000).filter(|at| is_drawn(begin.wrapping_add(*at))).count();
                let expected = usize::try_from(share / 100).unwrap();
                assert!(count.abs_diff(expected) <= 10, "{share} from {begin}: {count}");
            }
            // The others share by weight what is left, turn by turn of their own or of one counter for both.
            let left: Vec<u64> = (0..40_000).filter(|turn| !is_drawn(*turn)).collect();
            for turn_of in [(|at, _| at) as fn(u64, u64) -> u64, |_, turn| turn] {
                let chosen =
                    left.iter().zip(0..).filter(|(turn, at)| pick(&[3, 1], turn_of(*at, **turn)) == Some(0));
                let (count, expected) = (chosen.count(), left.len() * 3 / 4);
                assert!(count.abs_diff(expected) <= 60, "{share}: {count} of {}", left.len());
            }
        }
    }

    #[test]
    fn shares_of_sessions_are_right_over_many_and_grow_without_moving_anybody_back() {
        let marks: Vec<u64> = (0..20_000).map(|at: u64| rendezvous::mark([&at.to_le_bytes()[..]])).collect();
        let of = |share: u32| marks.iter().filter(move |mark| drawn([share], of_session(**mark)).is_some());
        for (share, expected) in [(0, 0), (50_000, 1_000usize), (500_000, 10_000), (WHOLE, 20_000)] {
            assert!(of(share).count().abs_diff(expected) <= 200, "{share}: {}", of(share).count());
        }
        assert!(of(50_000).all(|mark| drawn([100_000], of_session(*mark)).is_some()));
    }

    #[test]
    fn several_canaries_have_shares_of_their_own_and_never_more_than_all() {
        let count = |shares: &[u32], who: Option<usize>| {
            (0..10_000).filter(|turn| drawn(shares.iter().copied(), of_turn(*turn)) == who).count()
        };
        let shares = [50_000, 0, 100_000];
        for (who, expected) in [(Some(0), 500usize), (Some(1), 0), (Some(2), 1_000), (None, 8_500)] {
            assert!(count(&shares, who).abs_diff(expected) <= 10, "{who:?}: {}", count(&shares, who));
        }
        assert_eq!(count(&[700_000, 700_000], None), 0);
        assert_eq!(drawn([], 0), None);
    }
}

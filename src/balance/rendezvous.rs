//! Where a session goes that nobody remembers: the same place at every replica, without asking one another.
//!
//! Highest random weight: each candidate's name and the session make a number in (0, 1), and the highest
//! −weight / ln(number) wins. Invariants: the choice depends on names and weights alone, not on their order; a candidate that
//! comes or goes moves only the sessions it gains or loses; over many sessions the shares are the weights.

/// A name as a number that is the same in every process and on every machine (FNV-1a, then mixed).
pub fn mark<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    for part in parts {
        // The length first, so that where one part ends and the next begins counts too.
        for byte in (part.len() as u64).to_le_bytes().iter().chain(part) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }
    mix(hash)
}

/// The winner among candidates of these marks and weights for this session.
pub fn winner(session: u64, candidates: impl Iterator<Item = (u64, u32)>) -> Option<usize> {
    let scored = candidates.enumerate().filter(|(_, (_, weight))| *weight > 0);
    let scored = scored.map(|(at, (mark, weight))| (at, mark, score(session, mark, weight)));
    // Equal scores are next to impossible but for equal names; then the mark decides, never the order.
    scored.max_by(|one, other| one.2.total_cmp(&other.2).then(one.1.cmp(&other.1))).map(|(at, ..)| at)
}

fn score(session: u64, mark: u64, weight: u32) -> f64 {
    -f64::from(weight) / unit(mix(session ^ mark)).ln()
}

/// Whether a place with so much in flight may take one more exchange only because its session prefers it:
/// up to five quarters of its share of what the tier has in flight, and `SPARE` more.
pub fn has_room(inflight: u64, tier_inflight: u64, weight: u64, tier_weight: u64) -> bool {
    let share = (5 * tier_inflight * weight).div_ceil(4 * tier_weight.max(1));
    inflight <= share + SPARE
}

/// So much a place takes whatever its share: a tool sends up to eight requests of one session at once, and
/// they shall find the same cache.
const SPARE: u64 = 8;

/// Spreads a number's bits over the whole word (the finisher of `SplitMix64`).
pub fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

/// A number in (0, 1), never an end of it.
#[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
pub(super) fn unit(random: u64) -> f64 {
    ((random >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> u64 {
        mark([name.as_bytes()])
    }

    fn chosen(session: u64, candidates: &[(&'static str, u32)]) -> &'static str {
        let marked = candidates.iter().map(|(name, weight)| (named(name), *weight));
        candidates[winner(session, marked).expect("some weight")].0
    }

    #[test]
    fn sessions_are_shared_by_weight() {
        let candidates = [("a", 70), ("b", 30), ("c", 0)];
        let on_a = (0..10_000).filter(|session| chosen(mix(*session), &candidates) == "a").count();
        assert!(on_a.abs_diff(7_000) <= 150, "{on_a}");
        assert!((0..1_000).all(|session| chosen(mix(session), &candidates) != "c"));
        assert_eq!(winner(1, std::iter::empty()), None);
    }

    #[test]
    fn the_order_does_not_count_and_a_change_moves_only_its_own() {
        let (three, two) = ([("a", 1), ("b", 2), ("c", 1)], [("c", 1), ("a", 1)]);
        for session in 0..2_000 {
            let session = mix(session);
            let with_b = chosen(session, &three);
            assert_eq!(with_b, chosen(session, &[three[2], three[0], three[1]]));
            assert!(with_b == "b" || with_b == chosen(session, &two));
        }
    }

    #[test]
    fn a_mark_is_the_same_for_good_and_parts_count_apart() {
        assert_eq!(named("openai-main"), 180_980_050_586_460_529);
        assert_ne!(mark([&b"ab"[..], b"c"]), mark([&b"a"[..], b"bc"]));
    }

    #[test]
    fn room_is_a_little_more_than_the_share_and_some_to_spare() {
        assert!(has_room(8, 8, 1, 2), "eight requests of one session at once");
        assert!(has_room(23, 23, 1, 2) && !has_room(24, 24, 1, 2), "the only session there is");
        assert!(!has_room(134, 200, 1, 2) && has_room(133, 200, 1, 2));
        assert!(has_room(10_000, 10_000, 1, 1), "alone in its tier");
        let sum = u64::from(u32::MAX);
        assert!(has_room(0, sum, 1_000_000, 64_000_000), "no overflow");
    }

    #[test]
    fn somebody_always_has_room() {
        for turn in 0..2_000 {
            let loads: Vec<_> = (0..4).map(|at| mix(turn * 4 + at) % 500).collect();
            let weights: Vec<_> = (0..4).map(|at| 1 + mix(turn * 4 + at + 1_000_000) % 9).collect();
            let (all, weight) = (loads.iter().sum(), weights.iter().sum());
            assert!((0..4).any(|at| has_room(loads[at], all, weights[at], weight)), "{loads:?} {weights:?}");
        }
    }
}

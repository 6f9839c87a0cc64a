//! What exchanges with a model usually cost, learned from what the provider counted.
//!
//! Two figures, each in one atomic word. The *ratio* of a body's bytes to its tokens is that of the sums over
//! recent exchanges, older ones weighing less and less, so that long bodies count for more than short ones. The
//! *output bound* is the mean length of an answer and twice its mean deviation, both exponentially weighted
//! (RFC 6298 bounds a round trip in the same way): above most answers, and near them where they are alike.
//! Invariant: both stay within fixed bounds, whatever a provider reports, and begin where nothing is known.

use super::sync::{AtomicU64, Ordering};

/// The two figures of one model.
#[derive(Debug)]
pub struct Learned {
    /// Bytes in the upper half, tokens in the lower, in parts as below.
    input: AtomicU64,
    /// The mean in the upper half, the deviation in the lower, in [`FINE`] parts of a token.
    output: AtomicU64,
}

impl Default for Learned {
    fn default() -> Self {
        Self {
            input: AtomicU64::new(packed(BYTES_PER_TOKEN * PRIOR_TOKENS * FINE, PRIOR_TOKENS * FINE)),
            output: AtomicU64::new(packed(OUTPUT_USUAL / 2 * FINE, OUTPUT_USUAL / 4 * FINE)),
        }
    }
}

impl Learned {
    /// How many tokens a body of this size has, as a guess.
    pub fn input(&self, body_bytes: u64) -> u64 {
        let (bytes, tokens) = halves(self.input.load(Ordering::Relaxed));
        let guess = u128::from(body_bytes) * u128::from(tokens) / u128::from(bytes.max(1));
        let guess = u64::try_from(guess).unwrap_or(u64::MAX);
        guess.clamp(body_bytes / BYTES_PER_TOKEN_MAX, body_bytes / BYTES_PER_TOKEN_MIN)
    }

    /// How long an answer hardly ever is exceeded in, where the client sets no cap.
    pub fn output(&self) -> u64 {
        let (mean, deviation) = halves(self.output.load(Ordering::Relaxed));
        ((mean + 2 * deviation) / FINE).clamp(OUTPUT_MIN, OUTPUT_MAX)
    }

    /// A body of this size had so many tokens.
    pub fn learn_input(&self, body_bytes: u64, tokens: u64) {
        if body_bytes == 0 {
            return;
        }
        let tokens = tokens.clamp(body_bytes.div_ceil(BYTES_PER_TOKEN_MAX), body_bytes / BYTES_PER_TOKEN_MIN);
        // A picture is worth no more than a long text.
        let weight = body_bytes.min(SAMPLE_BYTES_MAX) * FINE;
        let tokens = u128::from(tokens) * u128::from(weight) / u128::from(body_bytes);
        let tokens = u64::try_from(tokens).unwrap_or(weight);
        update(&self.input, |bytes, before| {
            let kept = |sum: u64| sum - sum / MEMORY;
            // Never so little that the parts it is counted in show.
            (kept(bytes).max(MEMORY) + weight, kept(before).max(1) + tokens)
        });
    }

    /// An answer without a cap had so many tokens.
    pub fn learn_output(&self, tokens: u64) {
        let sample = tokens.min(OUTPUT_MAX) * FINE;
        update(&self.output, |mean, deviation| {
            let error = sample.abs_diff(mean);
            (towards(mean, sample, 8), towards(deviation, error, 4))
        });
    }
}

fn update(word: &AtomicU64, change: impl Fn(u64, u64) -> (u64, u64)) {
    let _before = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
        let (upper, lower) = halves(word);
        let (upper, lower) = change(upper, lower);
        Some(packed(upper, lower))
    });
}

/// A step of one part of the way.
fn towards(from: u64, to: u64, parts: u64) -> u64 {
    if to >= from { from + (to - from) / parts } else { from - (from - to) / parts }
}

fn halves(word: u64) -> (u64, u64) {
    (word >> 32, word & u64::from(u32::MAX))
}

fn packed(upper: u64, lower: u64) -> u64 {
    let half = |value: u64| value.min(u64::from(u32::MAX));
    (half(upper) << 32) | half(lower)
}

/// English text and JSON have about four bytes to a token with every published tokenizer: what holds until
/// something else is learned.
const BYTES_PER_TOKEN: u64 = 4;
/// The bounds of what is believed: fewer than one byte to a token is a conversation that the provider keeps, more
/// than sixteen are pictures; neither says anything of the next text.
const BYTES_PER_TOKEN_MIN: u64 = 1;
const BYTES_PER_TOKEN_MAX: u64 = 16;
/// How much the beginning weighs: about as much as one short body.
const PRIOR_TOKENS: u64 = 1_024;
/// A longer body counts as this one.
const SAMPLE_BYTES_MAX: u64 = 32 * 1_024;
/// Each exchange takes this part of what was before it.
const MEMORY: u64 = 16;
/// Most answers are shorter.
const OUTPUT_USUAL: u64 = 1_024;
/// No model is believed to answer in less.
const OUTPUT_MIN: u64 = 16;
/// The longest answer that is reserved for: clients set their cap to the model's own and hardly an answer comes
/// near; to believe 64,000 would keep a limit idle for text that is never written.
pub const OUTPUT_MAX: u64 = 8_192;
/// Parts of a token, so that small steps are not lost.
const FINE: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_known_is_four_bytes_to_a_token_and_a_thousand_tokens_of_answer() {
        let learned = Learned::default();
        assert_eq!((learned.input(4_000), learned.output()), (1_000, OUTPUT_USUAL));
    }

    #[test]
    fn the_ratio_follows_what_is_reported_within_its_bounds() {
        for (bytes, tokens, ratio_permille) in [
            (6_000, 3_000, 500),    // two bytes to a token
            (100_000, 12_500, 125), // eight
            (3_000_000, 1_500, 62), // a picture: sixteen at most
            (100, 50_000, 1_000),   // a conversation kept elsewhere: one at least
            (5, 2, 400),            // tiny bodies too
        ] {
            let learned = Learned::default();
            for _ in 0..200 {
                learned.learn_input(bytes, tokens);
            }
            let got = learned.input(1_000);
            assert!(got.abs_diff(ratio_permille) <= ratio_permille / 5 + 2, "{bytes} {tokens}: {got}");
        }
    }

    #[test]
    fn one_picture_among_texts_moves_the_ratio_only_for_a_while() {
        let learned = Learned::default();
        (0..50).for_each(|_| learned.learn_input(20_000, 5_000));
        learned.learn_input(5_000_000, 1_000);
        assert!(learned.input(20_000) > 4_000, "{}", learned.input(20_000));
        (0..50).for_each(|_| learned.learn_input(20_000, 5_000));
        assert!(learned.input(20_000).abs_diff(5_000) < 100);
    }

    #[test]
    fn the_bound_comes_near_answers_that_are_alike_and_stays_above_most_that_are_not() {
        let alike = Learned::default();
        (0..100).for_each(|_| alike.learn_output(200));
        assert!((195..=215).contains(&alike.output()), "{}", alike.output());
        let spread = Learned::default();
        (0..300u64).for_each(|turn| spread.learn_output(100 + turn * 37 % 400));
        let above = (100..500).filter(|tokens| *tokens > spread.output()).count();
        assert!(above < 100, "of 400 lengths {above} are above {}", spread.output());
        let long = Learned::default();
        (0..100).for_each(|_| long.learn_output(u64::MAX));
        assert!((OUTPUT_MAX - 20..=OUTPUT_MAX).contains(&long.output()), "{}", long.output());
        let none = Learned::default();
        (0..500).for_each(|_| none.learn_output(0));
        assert_eq!(none.output(), OUTPUT_MIN);
    }

    proptest! {
        #[test]
        fn nothing_reported_takes_it_out_of_its_bounds(
            samples in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u64>()), 0..200)
        ) {
            let learned = Learned::default();
            for (bytes, tokens, output) in samples {
                learned.learn_input(bytes, tokens);
                learned.learn_output(output);
                let guess = learned.input(1_000_000);
                prop_assert!((1_000_000 / 17..=1_000_000).contains(&guess), "{guess}");
                prop_assert!((OUTPUT_MIN..=OUTPUT_MAX).contains(&learned.output()));
            }
        }
    }
}

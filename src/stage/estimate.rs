//! How many tokens an exchange will amount, guessed before it is sent; settled on what the provider counts.
//!
//! Invariant: the guess is bounded, whatever the client sends: it decides who waits, never whether a request is
//! possible at all.

use crate::limit::learned::OUTPUT_MAX;
use crate::limit::{Amount, Learned};
use crate::protocol::{Medium, Operation};

/// What a request says of its size.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Its body.
    pub body_bytes: usize,
    /// The client's own cap on the answer.
    pub max_tokens: Option<u64>,
    /// The key's.
    pub max_output_tokens: Option<u64>,
}

/// The guess from the size of the body, the caps on the answer, and what was learned of the model.
pub fn tokens(operation: Operation, size: Size, learned: &Learned) -> Amount {
    // Films are billed by their length.
    if !operation.has_usage() || operation.medium() == Some(Medium::Videos) {
        return Amount::default();
    }
    let input = learned.input(size.body_bytes as u64).clamp(1, INPUT_MAX);
    let output = match operation {
        Operation::Embeddings
        | Operation::EmbedContent
        | Operation::BatchEmbedContents
        | Operation::Rerank
        | Operation::Speech
        // Nothing was said yet; what is left of a limit has to be something.
        | Operation::Realtime => 0,
        _ => {
            let asked = size.max_tokens.unwrap_or_else(|| learned.output());
            asked.min(size.max_output_tokens.unwrap_or(OUTPUT_MAX)).min(OUTPUT_MAX)
        }
    };
    Amount { input, output }
}

/// The largest context there is to buy. What is larger is pictures, whose bytes say little about their tokens.
const INPUT_MAX: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guess_follows_the_body_and_the_caps_within_bounds() {
        let chat = Operation::ChatCompletions;
        let learned = Learned::default();
        for (operation, body_bytes, max_tokens, max_output_tokens, guess) in [
            (chat, 4_000, None, None, (1_000, 1_024)),
            (chat, 4_000, None, Some(300), (1_000, 300)),
            (chat, 4_000, None, Some(90_000), (1_000, 1_024)),
            (chat, 4_000, Some(10), Some(300), (1_000, 10)),
            (chat, 4_000, Some(u64::MAX), None, (1_000, OUTPUT_MAX)),
            (chat, 4_000, Some(u64::MAX), Some(300), (1_000, 300)),
            (chat, 3, Some(0), None, (1, 0)),
            (chat, usize::MAX, Some(1), None, (INPUT_MAX, 1)),
            (Operation::Embeddings, 4_000, Some(500), None, (1_000, 0)),
            (Operation::EmbedContent, 4_000, None, None, (1_000, 0)),
            (Operation::CountTokens, 4_000, Some(500), None, (0, 0)),
            (Operation::Files, 4_000, None, None, (0, 0)),
            (Operation::Videos, 4_000, None, Some(9), (0, 0)),
        ] {
            let got = tokens(operation, Size { body_bytes, max_tokens, max_output_tokens }, &learned);
            assert_eq!((got.input, got.output), guess, "{operation:?} {body_bytes} {max_tokens:?}");
        }
    }

    #[test]
    fn what_was_learned_counts() {
        let learned = Learned::default();
        for _ in 0..100 {
            learned.learn_input(8_000, 4_000);
            learned.learn_output(100);
        }
        let size = Size { body_bytes: 8_000, max_tokens: None, max_output_tokens: None };
        let got = tokens(Operation::Messages, size, &learned);
        assert!(got.input.abs_diff(4_000) < 100 && got.output < 150, "{got:?}");
    }
}

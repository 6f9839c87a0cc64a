//! How many tokens an exchange will cost, guessed before it is sent; settled on what the provider counts.
//!
//! Invariant: the guess is bounded, whatever the client sends: it decides who waits, never whether a request is
//! possible at all.

use crate::protocol::Operation;

/// The guess from the size of the body and the client's own cap on the answer.
pub fn tokens(operation: Operation, body_bytes: usize, max_tokens: Option<u64>) -> u64 {
    if !operation.has_usage() {
        return 0;
    }
    let input = (body_bytes as u64 / BYTES_PER_TOKEN).clamp(1, INPUT_MAX);
    let output = match operation {
        Operation::Embeddings | Operation::EmbedContent => 0,
        _ => max_tokens.unwrap_or(OUTPUT_USUAL).min(OUTPUT_MAX),
    };
    input + output
}

/// English text and JSON have about four bytes to a token with every published tokenizer; other scripts have
/// fewer, which the settling makes good.
const BYTES_PER_TOKEN: u64 = 4;
/// The largest context there is to buy. What is larger is pictures, whose bytes say little about their tokens.
const INPUT_MAX: u64 = 1_000_000;
/// Most answers are shorter.
const OUTPUT_USUAL: u64 = 1_024;
/// Clients set their cap to the model's own and hardly an answer comes near: to believe 64,000 would keep a
/// channel idle for text that is never written.
const OUTPUT_MAX: u64 = 8_192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guess_follows_the_body_and_the_cap_within_bounds() {
        let chat = Operation::ChatCompletions;
        for (operation, bytes, cap, guess) in [
            (chat, 4_000, None, 1_000 + OUTPUT_USUAL),
            (chat, 4_000, Some(10), 1_010),
            (chat, 4_000, Some(u64::MAX), 1_000 + OUTPUT_MAX),
            (chat, 3, Some(0), 1),
            (chat, usize::MAX, Some(1), INPUT_MAX + 1),
            (Operation::Embeddings, 4_000, Some(500), 1_000),
            (Operation::EmbedContent, 4_000, None, 1_000),
            (Operation::CountTokens, 4_000, Some(500), 0),
            (Operation::Files, 4_000, None, 0),
        ] {
            assert_eq!(tokens(operation, bytes, cap), guess, "{operation:?} {bytes} {cap:?}");
        }
    }
}

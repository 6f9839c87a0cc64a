//! The cap that a key puts on its answers, written into the request where the client asks for more or does not
//! say.
//!
//! Invariant: what goes up asks for no more than the cap in any field the provider is known to read; a smaller
//! number of the client's own stays as it is.

use crate::config::snapshot::{Channel, Maker};
use crate::protocol::inspect::OutputCap;
use crate::protocol::splice::Edit;

/// The edits that hold the answer to this many tokens at this channel.
pub fn edits(asked: &OutputCap, max: Option<u64>, channel: &Channel) -> Vec<Edit> {
    // OpenAI's reasoning models take nothing but `max_completion_tokens`, and who only imitates OpenAI may not know it;
    // `max_tokens` is known everywhere, and what a server does not know it may ignore.
    max.map_or_else(Vec::new, |max| asked.held_to(max, channel.maker == Maker::OpenAi))
}

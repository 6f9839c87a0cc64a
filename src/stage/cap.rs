//! The cap that a key puts on its answers, written into the request where the client asks for more or does not
//! say.
//!
//! Invariant: what goes up asks for no more than the cap in any field the provider is known to read; a smaller
//! number of the client's own stays as it is.

use crate::config::snapshot::Channel;
use crate::protocol::inspect::OutputCap;
use crate::protocol::splice::Edit;

/// The edits that hold the answer to this many tokens at this channel.
pub fn edits(asked: &OutputCap, max: Option<u64>, channel: &Channel) -> Vec<Edit> {
    max.map_or_else(Vec::new, |max| asked.held_to(max, is_openais_own(&channel.endpoint.host)))
}

/// Whether chat completions there take `max_completion_tokens`: OpenAI's reasoning models take nothing else, and
/// who only imitates OpenAI may not know it. `max_tokens` is known everywhere, and what a server does not know it
/// may ignore.
fn is_openais_own(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    OPENAIS_OWN.iter().any(|own| host == own[1..] || host.ends_with(own))
}

const OPENAIS_OWN: [&str; 2] = [".openai.com", ".openai.azure.com"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openai_is_known_by_its_hosts() {
        for (host, own) in [
            ("api.openai.com", true),
            ("EU.API.openai.com.", true),
            ("acme.openai.azure.com", true),
            ("api.notopenai.com", false),
            ("api.openai.com.example.com", false),
            ("127.0.0.1", false),
        ] {
            assert_eq!(is_openais_own(host), own, "{host}");
        }
    }
}

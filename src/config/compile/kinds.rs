//! The channel types: adding a provider that speaks a known dialect is adding a row.

use crate::protocol::{Dialect, Protocol};

/// One channel type.
#[derive(Debug)]
pub(in crate::config) struct Kind {
    /// The word in `type = "…"`.
    pub(in crate::config) name: &'static str,
    /// What it speaks, and with that how the credential is sent.
    pub(in crate::config) dialect: Dialect,
    /// What it speaks of what can be translated, unless the operator says otherwise; others are translated into the
    /// first.
    pub(in crate::config) protocols: &'static [Protocol],
    /// Where it is, unless the operator says otherwise.
    pub(in crate::config) base_url: &'static str,
}

const KINDS: &[Kind] = &[
    Kind {
        name: "openai",
        dialect: Dialect::OpenAi,
        // What is compatible with OpenAI has chat completions; fewer have responses.
        protocols: &[Protocol::Chat, Protocol::Responses],
        base_url: "https://api.openai.com/v1",
    },
    Kind {
        name: "anthropic",
        dialect: Dialect::Anthropic,
        protocols: &[Protocol::Anthropic],
        base_url: "https://api.anthropic.com",
    },
    Kind {
        name: "gemini",
        dialect: Dialect::Gemini,
        protocols: &[Protocol::Gemini],
        base_url: "https://generativelanguage.googleapis.com",
    },
];

/// The row of a type.
pub(in crate::config) fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// Every type's word.
pub(in crate::config) fn names() -> Vec<&'static str> {
    KINDS.iter().map(|kind| kind.name).collect()
}

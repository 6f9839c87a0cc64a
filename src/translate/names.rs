//! Names of tools and ids of calls in the alphabet of each protocol, and the way back.
//!
//! Invariant: a name that fits stays; of one that does not, the replacement depends on the name alone, so that a
//! tool, its choice and every call of it agree, from one request to the next; two names never become one.

use super::json::Text;
use super::unified::{Protocol, Request, ToolKind};
use std::borrow::Cow;
use std::collections::HashMap;

/// What an answer needs to be told in the client's names: those that had to change, and the tools that take free
/// text and were sent as functions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    original: HashMap<String, String>,
    free: Vec<String>,
}

impl Names {
    /// Of a request to a provider of that protocol.
    pub(super) fn of(request: &Request<'_>, target: Protocol) -> Self {
        let mut names = Self::default();
        for tool in &request.tools {
            let sent = tool_name(&tool.name, target);
            if matches!(tool.kind, ToolKind::Free { .. }) && target != Protocol::Responses {
                names.free.push(sent.clone().into_owned());
            }
            if *sent != *tool.name {
                names.original.insert(sent.into_owned(), (*tool.name).to_owned());
            }
        }
        names
    }

    /// The client's name of a tool.
    pub(super) fn original<'t>(&self, sent: Text<'t>) -> Text<'t> {
        match self.original.get(&*sent) {
            Some(original) => original.clone().into(),
            None => sent,
        }
    }

    /// Whether a tool takes free text, which was sent and comes back as the `input` of a function.
    pub(super) fn is_free(&self, sent: &str) -> bool {
        self.free.iter().any(|name| name == sent)
    }
}

/// The name of a tool as a provider of the protocol takes it.
pub(super) fn tool_name(name: &str, target: Protocol) -> Cow<'_, str> {
    let longest = match target {
        Protocol::Chat | Protocol::Responses | Protocol::Gemini => 64,
        Protocol::Anthropic => 128,
    };
    let begins = |c: char| target != Protocol::Gemini || c.is_ascii_alphabetic() || c == '_';
    fitted(name, longest, begins, |c| is_plain(c) || (target == Protocol::Gemini && matches!(c, '.' | ':')))
}

/// The id of a call as a provider of the protocol takes it.
pub(super) fn call_id(id: &str, target: Protocol) -> Cow<'_, str> {
    match target {
        Protocol::Chat => fitted(id, 40, |_| true, |c| c.is_ascii_graphic()),
        Protocol::Responses => fitted(id, 64, |_| true, |c| c.is_ascii_graphic()),
        Protocol::Anthropic => fitted(id, 64, |_| true, is_plain),
        Protocol::Gemini => Cow::Borrowed(id),
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

fn fitted(
    name: &str,
    longest: usize,
    begins: impl Fn(char) -> bool,
    holds: impl Fn(char) -> bool,
) -> Cow<'_, str> {
    let fits = name.chars().all(&holds) && name.starts_with(&begins) && name.len() <= longest;
    if fits {
        return Cow::Borrowed(name);
    }
    let mut kept: String = name.chars().map(|c| if holds(c) { c } else { '_' }).collect();
    if !kept.starts_with(&begins) {
        kept.insert(0, '_');
    }
    // Every character that holds is of one byte.
    kept.truncate(longest - DIGEST_LETTERS - 1);
    Cow::Owned(format!("{kept}_{:08x}", digest(name) & 0xffff_ffff))
}

const DIGEST_LETTERS: usize = 8;

/// A number that is the same for the same text everywhere (FNV-1a).
pub(super) fn digest(text: &str) -> u64 {
    digest_of(text.bytes())
}

fn digest_of(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// An end user's id, within the length OpenAI takes; a longer one becomes a number of it.
pub(super) fn user_id(user: &str) -> Cow<'_, str> {
    if user.len() <= USER_LETTERS_MAX {
        return Cow::Borrowed(user);
    }
    Cow::Owned(format!("user_{:016x}{:016x}", digest_of(user.bytes()), digest_of(user.bytes().rev())))
}

const USER_LETTERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_fits_stays_and_others_fit_afterwards_and_differ() {
        assert_eq!(tool_name("get_weather-2", Protocol::Chat), "get_weather-2");
        let dotted = tool_name("files.read", Protocol::Anthropic);
        assert!(dotted.starts_with("files_read_") && dotted.len() == "files_read_".len() + 8, "{dotted}");
        assert_ne!(dotted, tool_name("files:read", Protocol::Anthropic));
        assert_eq!(tool_name("files.read", Protocol::Gemini), "files.read");
        assert!(tool_name("2nd", Protocol::Gemini).starts_with("_2nd_"));
        assert_eq!(tool_name(&"x".repeat(80), Protocol::Chat).len(), 64);
        assert_eq!(tool_name("", Protocol::Chat).len(), 10);
        assert!(tool_name("ünïcode", Protocol::Gemini).starts_with("_n_code_"));
    }

    #[test]
    fn ids_of_calls_fit_too() {
        assert_eq!(call_id("toolu_01A", Protocol::Chat), "toolu_01A");
        assert_eq!(call_id(&"c".repeat(50), Protocol::Chat).len(), 40);
        assert!(call_id("call.1|x", Protocol::Anthropic).starts_with("call_1_x_"));
        assert_eq!(user_id("u-1"), "u-1");
        assert_eq!(user_id(&"ü".repeat(60)).len(), 37);
    }
}

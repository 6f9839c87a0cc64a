//! Which session of the client's tool a request belongs to, as far as its body says.
//!
//! Invariant: an id is bounded and printable, or it is not there; it ends up in logs and as a table's key.

use super::{Operation, nested};
use crate::refusal::Refusal;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Session ids found in a body. Which headers hold one is said elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sessions {
    /// Claude Code's, out of `metadata.user_id`.
    pub claude_code: Option<String>,
    /// OpenAI's `prompt_cache_key`, which Codex fills with its session.
    pub prompt_cache_key: Option<String>,
}

pub(super) fn of(
    operation: Operation,
    metadata: Option<&str>,
    prompt_cache_key: Option<&str>,
) -> Result<Sessions, Refusal> {
    let anthropic = matches!(operation, Operation::Messages | Operation::CountTokens);
    let claude_code = match metadata {
        Some(raw) if anthropic => {
            nested::<Metadata<'_>>(raw)?.and_then(|metadata| user_session(metadata.user_id?))
        }
        _ => None,
    };
    let prompt_cache_key = prompt_cache_key.and_then(|raw| serde_json::from_str(raw).ok()).and_then(sound);
    Ok(Sessions { claude_code, prompt_cache_key })
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow)]
    user_id: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct UserId {
    session_id: Option<String>,
}

/// Newer releases put a JSON object into the string, older ones `user_<hash>_account_<uuid>_session_<uuid>`.
fn user_session(raw: &RawValue) -> Option<String> {
    if raw.get().len() > USER_ID_BYTES_MAX {
        return None;
    }
    let text: String = serde_json::from_str(raw.get()).ok()?;
    if text.starts_with('{') {
        return serde_json::from_str::<UserId>(&text).ok()?.session_id.and_then(sound);
    }
    let (user, session) = text.rsplit_once("_session_")?;
    user.starts_with("user_").then(|| session.to_owned()).and_then(sound)
}

/// What Codex says of a turn in its header `x-codex-turn-metadata`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Turn {
    /// The session.
    pub session: Option<String>,
    /// The thread of the session: its main one, or a subagent's.
    pub thread: Option<String>,
}

#[derive(Deserialize)]
struct TurnMetadata {
    session_id: Option<String>,
    thread_id: Option<String>,
}

/// Reads the JSON of that header; `None`: it is none.
pub fn codex_turn(metadata: &str) -> Option<Turn> {
    if metadata.len() > TURN_BYTES_MAX || !metadata.starts_with('{') {
        return None;
    }
    let read: TurnMetadata = serde_json::from_str(metadata).ok()?;
    Some(Turn { session: read.session_id.and_then(sound), thread: read.thread_id.and_then(sound) })
}

/// An id as a header holds it, if it is one.
pub fn session_id(text: &str) -> Option<String> {
    sound(text.trim().to_owned())
}

fn sound(id: String) -> Option<String> {
    let sound = !id.is_empty() && id.len() <= SESSION_BYTES_MAX && !id.chars().any(char::is_control);
    sound.then_some(id)
}

/// A longer id is no id: cut short where it is recorded, two sessions could become one.
pub(super) const SESSION_BYTES_MAX: usize = 128;
/// Device, account and session with their names, and room to spare.
const USER_ID_BYTES_MAX: usize = 4096;
/// It names the workspaces with their remotes too; a longer one is not read, the other headers say the same.
const TURN_BYTES_MAX: usize = 16_384;

//! Anthropic's conversations: results stand first in the message right after their calls.
//!
//! Messages of one role that follow each other are one turn there; system messages in between belong to none.

use super::{Turn, check_signature, is_name, list, schema, string, text_of};
use crate::api::Api;
use crate::errors::Refused;
use serde_json::Value;

/// How long a tool's name may be.
const NAME_BYTES_MAX: usize = 128;

fn bad(message: impl Into<String>) -> Refused {
    Refused::bad(Api::Anthropic, message)
}

pub(super) fn turns(body: &Value) -> Result<Vec<Turn>, Refused> {
    let mut turns: Vec<Turn> = Vec::new();
    let mut open: Vec<&str> = Vec::new();
    for (at, message) in list(body, "messages").iter().enumerate() {
        let by_model = match string(message, "role") {
            Some("assistant") => true,
            Some("user") => false,
            _ => continue,
        };
        if turns.last().is_none_or(|last| last.by_model != by_model) {
            if by_model {
                all_answered(&open, at)?;
            }
            turns.push(Turn { by_model, ..Turn::default() });
        }
        let Some(turn) = turns.last_mut() else { continue };
        if let Some(Value::String(text)) = message.get("content") {
            turn.texts.push(text.clone());
        }
        for (number, block) in list(message, "content").iter().enumerate() {
            let at = format!("messages.{at}.content.{number}");
            read_block(block, &at, turn, &mut open)?;
        }
    }
    all_answered(&open, turns.len())?;
    Ok(turns)
}

fn read_block<'a>(
    block: &'a Value,
    at: &str,
    turn: &mut Turn,
    open: &mut Vec<&'a str>,
) -> Result<(), Refused> {
    match string(block, "type").unwrap_or_default() {
        "text" => match string(block, "text") {
            Some("") | None => return Err(bad(format!("{at}: text content blocks must be non-empty"))),
            Some(text) => turn.texts.push(text.to_owned()),
        },
        "tool_use" => {
            if !turn.by_model {
                return Err(bad(format!("{at}: `tool_use` blocks can only be in `assistant` messages")));
            }
            open.push(check_call(block, at)?);
            turn.calls += 1;
        }
        "tool_result" => {
            let id = string(block, "tool_use_id")
                .ok_or_else(|| bad(format!("{at}.tool_result.tool_use_id: Field required")))?;
            let known = open.iter().position(|known| *known == id).filter(|_| !turn.by_model);
            let known = known.ok_or_else(|| {
                bad(format!("{at}: unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each `tool_result` block must have a corresponding `tool_use` block in the previous message."))
            })?;
            open.remove(known);
            if !turn.texts.is_empty() {
                return Err(bad(format!("{at}: `tool_result` blocks must come before any text")));
            }
            turn.results.push(text_of(block.get("content")).concat());
        }
        "thinking" => {
            let missing = |what: &str| bad(format!("{at}.thinking.{what}: Field required"));
            let text = string(block, "thinking").ok_or_else(|| missing("thinking"))?;
            let signed = string(block, "signature").ok_or_else(|| missing("signature"))?;
            check_signature(Api::Anthropic, at, text, signed)?;
        }
        _ => {}
    }
    Ok(())
}

fn check_call<'a>(block: &'a Value, at: &str) -> Result<&'a str, Refused> {
    let missing = |what: &str| bad(format!("{at}.tool_use.{what}: Field required"));
    check_name(string(block, "name").ok_or_else(|| missing("name"))?, &format!("{at}.tool_use.name"))?;
    if !block.get("input").is_some_and(Value::is_object) {
        return Err(bad(format!("{at}.tool_use.input: Input should be a valid dictionary")));
    }
    let id = string(block, "id").ok_or_else(|| missing("id"))?;
    if !is_name(id, usize::MAX) {
        return Err(bad(format!("{at}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'")));
    }
    Ok(id)
}

fn check_name(name: &str, at: &str) -> Result<(), Refused> {
    if is_name(name, NAME_BYTES_MAX) {
        return Ok(());
    }
    Err(bad(format!("{at}: String should match pattern '^[a-zA-Z0-9_-]{{1,{NAME_BYTES_MAX}}}$'")))
}

fn all_answered(open: &[&str], at: usize) -> Result<(), Refused> {
    if open.is_empty() {
        return Ok(());
    }
    let (ids, at) = (open.join(", "), at.saturating_sub(1));
    Err(bad(format!(
        "messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately after: {ids}. Each `tool_use` block must have a corresponding `tool_result` block in the next message."
    )))
}

/// The names of the tools that have a schema.
pub(super) fn tools(body: &Value) -> Result<Vec<String>, Refused> {
    let mut names: Vec<String> = Vec::new();
    for (at, tool) in list(body, "tools").iter().enumerate() {
        if !matches!(string(tool, "type"), None | Some("custom")) {
            continue;
        }
        let name = string(tool, "name").unwrap_or_default();
        check_name(name, &format!("tools.{at}.custom.name"))?;
        if names.iter().any(|known| known == name) {
            return Err(bad("tools: Tool names must be unique."));
        }
        schema::anthropic(tool.get("input_schema"), at).map_err(bad)?;
        names.push(name.to_owned());
    }
    Ok(names)
}

//! `OpenAI`'s conversations: messages of chat completions, items of responses.

use super::{Turn, check_signature, is_name, list, schema, string, text_of};
use crate::api::Api;
use crate::errors::Refused;
use serde_json::Value;

/// How long a tool's name may be.
const NAME_BYTES_MAX: usize = 64;

fn bad(message: impl Into<String>) -> Refused {
    Refused::bad(Api::OpenAi, message)
}

/// The turns of a chat: every call is answered by the messages right after it, and nothing else is.
pub(super) fn chat_turns(body: &Value) -> Result<Vec<Turn>, Refused> {
    let mut open: Vec<&str> = Vec::new();
    let mut turns = Vec::new();
    for (at, message) in list(body, "messages").iter().enumerate() {
        let role = string(message, "role").unwrap_or_default();
        if role != "tool" {
            all_answered(&open)?;
        }
        let mut turn = Turn { by_model: role == "assistant", ..Turn::default() };
        match role {
            "tool" => {
                let id = string(message, "tool_call_id").ok_or_else(|| {
                    bad(format!("Missing required parameter: 'messages[{at}].tool_call_id'."))
                })?;
                let known = open.iter().position(|known| *known == id);
                let known = known.ok_or_else(|| {
                    bad("Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.")
                })?;
                open.remove(known);
                turn.results.push(text_of(message.get("content")).concat());
            }
            "assistant" => {
                for call in list(message, "tool_calls") {
                    open.push(check_chat_call(call, at)?);
                }
                turn.calls = open.len();
                let said = message.get("content").is_some_and(|content| !content.is_null());
                if !said && open.is_empty() && message.get("refusal").is_none_or(Value::is_null) {
                    return Err(bad(format!(
                        "Invalid value for 'content': expected a string, got null. (messages[{at}])"
                    )));
                }
            }
            "user" => turn.texts = text_of(message.get("content")),
            _ => {}
        }
        turns.push(turn);
    }
    all_answered(&open)?;
    Ok(turns)
}

fn check_chat_call(call: &Value, at: usize) -> Result<&str, Refused> {
    let missing =
        |what: &str| bad(format!("Missing required parameter: 'messages[{at}].tool_calls[0].{what}'."));
    let function = call.get("function").or_else(|| call.get("custom")).ok_or_else(|| missing("function"))?;
    let name = string(function, "name").ok_or_else(|| missing("function.name"))?;
    check_name(name, &format!("messages[{at}].tool_calls[0].function.name"))?;
    string(function, "arguments")
        .or_else(|| string(function, "input"))
        .ok_or_else(|| missing("function.arguments"))?;
    string(call, "id").filter(|id| !id.is_empty()).ok_or_else(|| missing("id"))
}

fn all_answered(open: &[&str]) -> Result<(), Refused> {
    if open.is_empty() {
        return Ok(());
    }
    let ids = open.join(", ");
    Err(bad(format!(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The following tool_call_ids did not have response messages: {ids}"
    )))
}

fn check_name(name: &str, at: &str) -> Result<(), Refused> {
    if is_name(name, NAME_BYTES_MAX) {
        return Ok(());
    }
    Err(bad(format!(
        "Invalid '{at}': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$' of at most {NAME_BYTES_MAX} characters."
    )))
}

/// The names of a chat's functions.
pub(super) fn chat_tools(body: &Value) -> Result<Vec<String>, Refused> {
    if body.get("tools").is_some_and(|tools| tools.as_array().is_some_and(Vec::is_empty)) {
        return Err(bad("Invalid 'tools': empty array. Expected an array with minimum length 1."));
    }
    let tools =
        list(body, "tools").iter().enumerate().filter(|(_, tool)| string(tool, "type") == Some("function"));
    tools
        .map(|(at, tool)| {
            let missing = || bad(format!("Missing required parameter: 'tools[{at}].function'."));
            let function = tool.get("function").ok_or_else(missing)?;
            check_function(function, &format!("tools[{at}].function"))
        })
        .collect()
}

fn check_function(function: &Value, at: &str) -> Result<String, Refused> {
    let name = string(function, "name").unwrap_or_default();
    check_name(name, &format!("{at}.name"))?;
    schema::openai(name, function).map_err(bad)?;
    Ok(name.to_owned())
}

/// The turns of a response's input: every call has its output somewhere behind it, and every output its call.
pub(super) fn responses_turns(body: &Value) -> Result<Vec<Turn>, Refused> {
    let kept = body.get("previous_response_id").is_some_and(|id| !id.is_null());
    let mut turns =
        vec![Turn { texts: text_of(body.get("input").filter(|input| input.is_string())), ..Turn::default() }];
    let mut open: Vec<(&str, &str)> = Vec::new();
    for (at, item) in list(body, "input").iter().enumerate() {
        let kind = string(item, "type").unwrap_or("message");
        let mut turn = Turn::default();
        match kind {
            "message" => {
                turn.by_model = string(item, "role") == Some("assistant");
                if string(item, "role") == Some("user") {
                    turn.texts = text_of(item.get("content"));
                }
                check_id(item, at, "msg")?;
            }
            "function_call" | "custom_tool_call" => {
                open.push((kind, check_call(item, at, kind)?));
                (turn.by_model, turn.calls) = (true, 1);
            }
            "function_call_output" | "custom_tool_call_output" => {
                let id = call_id(item, at)?;
                let call = kind.trim_end_matches("_output");
                match open.iter().position(|open| *open == (call, id)) {
                    Some(known) => drop(open.remove(known)),
                    None if kept => {}
                    None => {
                        return Err(bad(format!(
                            "No tool call found for {} output with call_id {id}.",
                            call.replace('_', " ")
                        )));
                    }
                }
                turn.results.push(text_of(item.get("output")).concat());
            }
            "reasoning" => {
                check_reasoning(item, at)?;
                continue;
            }
            _ => continue,
        }
        turns.push(turn);
    }
    match open.first() {
        Some((kind, id)) => Err(bad(format!("No tool output found for {} {id}.", kind.replace('_', " ")))),
        None => Ok(turns),
    }
}

fn call_id(item: &Value, at: usize) -> Result<&str, Refused> {
    let id = string(item, "call_id").filter(|id| !id.is_empty());
    id.ok_or_else(|| bad(format!("Missing required parameter: 'input[{at}].call_id'.")))
}

fn check_call<'a>(item: &'a Value, at: usize, kind: &str) -> Result<&'a str, Refused> {
    let (prefix, what) = if kind == "function_call" { ("fc", "arguments") } else { ("ctc", "input") };
    check_id(item, at, prefix)?;
    let missing = |what: &str| bad(format!("Missing required parameter: 'input[{at}].{what}'."));
    check_name(string(item, "name").ok_or_else(|| missing("name"))?, &format!("input[{at}].name"))?;
    string(item, what).ok_or_else(|| missing(what))?;
    call_id(item, at)
}

/// What an id must begin with, where there is one.
fn check_id(item: &Value, at: usize, prefix: &str) -> Result<(), Refused> {
    match string(item, "id") {
        Some(id) if !id.starts_with(prefix) => {
            Err(bad(format!("Invalid 'input[{at}].id': '{id}'. Expected an ID that begins with '{prefix}'.")))
        }
        _ => Ok(()),
    }
}

fn check_reasoning(item: &Value, at: usize) -> Result<(), Refused> {
    check_id(item, at, "rs")?;
    let Some(summary) = item.get("summary").and_then(Value::as_array) else {
        return Err(bad(format!("Missing required parameter: 'input[{at}].summary'.")));
    };
    let text: String = summary.iter().filter_map(|part| string(part, "text")).collect();
    if text.is_empty() {
        // What is sealed is the thinking itself; the summary may be left out.
        return Ok(());
    }
    check_signature(
        Api::OpenAi,
        &format!("input[{at}]"),
        &text,
        string(item, "encrypted_content").unwrap_or_default(),
    )
}

/// The names of the functions of a response, those in namespaces too.
pub(super) fn responses_tools(body: &Value) -> Result<Vec<String>, Refused> {
    let mut names = Vec::new();
    for (at, tool) in list(body, "tools").iter().enumerate() {
        if string(tool, "type") == Some("function") {
            names.push(check_function(tool, &format!("tools[{at}]"))?);
        }
    }
    Ok(names)
}

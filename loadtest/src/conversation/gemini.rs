//! Gemini's conversations: as many results as calls, of the same names, in the turn right after them. A result that
//! comes twice with one id, as in the sessions Gemini CLI resumes, is one result.

use super::{Turn, list, schema, string};
use crate::api::Api;
use crate::errors::Refused;
use serde_json::Value;

/// How long a function's name may be.
const NAME_BYTES_MAX: usize = 64;

fn bad(message: impl Into<String>) -> Refused {
    Refused::bad(Api::Gemini, message)
}

pub(super) fn turns(body: &Value) -> Result<Vec<Turn>, Refused> {
    let mut turns = Vec::new();
    let mut open: Vec<&str> = Vec::new();
    for content in list(body, "contents") {
        let by_model = string(content, "role") == Some("model");
        let mut turn = Turn { by_model, ..Turn::default() };
        let (mut called, mut answered, mut ids) = (Vec::new(), Vec::new(), Vec::new());
        for part in list(content, "parts") {
            let answer = part.get("functionResponse").or_else(|| part.get("function_response"));
            if let Some(id) = answer.and_then(|answer| string(answer, "id")) {
                if ids.contains(&id) {
                    continue;
                }
                ids.push(id);
            }
            read_part(part, &mut turn, (&mut called, &mut answered))?;
        }
        check_answers(&open, &answered)?;
        open = called;
        turns.push(turn);
    }
    if open.is_empty() {
        return Ok(turns);
    }
    Err(bad("Please ensure that function call turn is followed by a function response turn."))
}

/// The names of what a turn calls and answers.
type Names<'n, 'a> = (&'n mut Vec<&'a str>, &'n mut Vec<&'a str>);

fn read_part<'a>(part: &'a Value, turn: &mut Turn, (called, answered): Names<'_, 'a>) -> Result<(), Refused> {
    let member = |camel: &str, snake: &str| part.get(camel).or_else(|| part.get(snake));
    if let Some(call) = member("functionCall", "function_call") {
        called.push(check_name(call, "function_call")?);
        turn.calls += 1;
        if !call.get("args").is_none_or(Value::is_object) {
            return Err(bad("Invalid value at 'function_call.args': a struct is needed"));
        }
    } else if let Some(answer) = member("functionResponse", "function_response") {
        answered.push(check_name(answer, "function_response")?);
        let Some(Value::Object(response)) = answer.get("response") else {
            return Err(bad("Invalid value at 'function_response.response': a struct is needed"));
        };
        let said =
            response.get("output").or_else(|| response.get("result")).or_else(|| response.get("error"));
        turn.results.push(match said {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => Value::Object(response.clone()).to_string(),
        });
    } else if let Some(text) = string(part, "text") {
        turn.texts.push(text.to_owned());
    }
    Ok(())
}

fn check_name<'a>(of: &'a Value, at: &str) -> Result<&'a str, Refused> {
    let name = string(of, "name").unwrap_or_default();
    let begins = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':');
    if begins && name.len() <= NAME_BYTES_MAX && name.bytes().all(letters) {
        return Ok(name);
    }
    Err(bad(format!(
        "{at}.name: Invalid function name. Must start with a letter or an underscore. Must be alphameric (a-z, A-Z, 0-9), underscores (_), dots (.), colons (:), or dashes (-), with a maximum length of {NAME_BYTES_MAX}."
    )))
}

fn check_answers(open: &[&str], answered: &[&str]) -> Result<(), Refused> {
    if open.is_empty() && !answered.is_empty() {
        return Err(bad(
            "Please ensure that function response turn comes immediately after a function call turn.",
        ));
    }
    let sorted = |names: &[&str]| {
        let mut names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        names.sort_unstable();
        names
    };
    if open.len() != answered.len() {
        return Err(bad(
            "Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.",
        ));
    }
    if sorted(open) != sorted(answered) {
        return Err(bad("Please ensure that the function response names match the function call names."));
    }
    Ok(())
}

/// The names of the functions.
pub(super) fn tools(body: &Value) -> Result<Vec<String>, Refused> {
    let mut names = Vec::new();
    for (at, tool) in list(body, "tools").iter().enumerate() {
        let functions = [list(tool, "functionDeclarations"), list(tool, "function_declarations")].concat();
        for (number, function) in functions.iter().enumerate() {
            let place = format!("tools[{at}].function_declarations[{number}]");
            names.push(check_name(function, &place)?.to_owned());
            if let Some(parameters) = function.get("parameters") {
                schema::gemini(parameters, &format!("{place}.parameters")).map_err(bad)?;
            }
        }
    }
    Ok(names)
}

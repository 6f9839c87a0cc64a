//! What is asked of the trees that other gateways' files are.
//!
//! Invariant: a value of another type than expected is an absent one; nothing here fails.

use serde_json::Value;

/// A text that is not empty; numbers count, as the sources write some names without quotes.
pub(super) fn text(of: &Value, name: &str) -> Option<String> {
    as_text(&of[name])
}

/// The same of the value itself.
pub(super) fn as_text(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// A whole number; texts that are one count, as databases export some so.
pub(super) fn whole(of: &Value, name: &str) -> Option<i64> {
    match &of[name] {
        Value::String(text) => text.trim().parse().ok(),
        number => number.as_i64(),
    }
}

/// A number above zero.
pub(super) fn positive(of: &Value, name: &str) -> Option<u64> {
    whole(of, name).and_then(|number| u64::try_from(number).ok()).filter(|number| *number > 0)
}

/// Any number above or at zero; texts that are one count.
pub(super) fn number(of: &Value, name: &str) -> Option<f64> {
    let number = match &of[name] {
        Value::String(text) => text.trim().parse().ok(),
        number => number.as_f64(),
    };
    number.filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

/// Whether it says yes: databases know 1 and 0 only.
pub(super) fn flag(of: &Value, name: &str) -> bool {
    match &of[name] {
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_i64() == Some(1),
        Value::String(text) => matches!(text.as_str(), "1" | "true" | "t"),
        _ => false,
    }
}

/// The texts of a list; one text is a list of one.
pub(super) fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().filter_map(as_text).collect(),
        one => as_text(one).into_iter().collect(),
    }
}

/// The pieces of a text between these characters.
pub(super) fn split(text: &str, at: &[char]) -> Vec<String> {
    text.split(at).map(str::trim).filter(|piece| !piece.is_empty()).map(str::to_owned).collect()
}

/// JSON that is a text in a column, or has been read as what it is.
pub(super) fn inner(of: &Value, name: &str) -> Value {
    match &of[name] {
        Value::String(text) => serde_json::from_str(text.trim()).unwrap_or(Value::Null),
        other => other.clone(),
    }
}

/// Whether there is something in it.
pub(super) fn is_set(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !matches!(text.trim(), "" | "{}" | "[]" | "null"),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => members.values().any(is_set),
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::Bool(true) => true,
    }
}

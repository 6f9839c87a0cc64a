//! A change as one line that people read: in the log, in a terminal, on the status page.
//!
//! Invariant: one line, of a bounded length, without control characters.

use super::{Change, Kind, Setting};
use serde_json::Value;
use std::collections::HashMap;

/// Longer values are cut: a line is to be read at one look.
const VALUE_CHARS_MAX: usize = 60;

/// A list of a hundred models has about that.
const VALUE_BYTES_MAX: usize = 4_096;

/// Of a list that grew or shrank.
const ITEMS_MAX: usize = 5;

/// A program gets values as they are, but none that outgrows the rest: of such a one the beginning as text.
pub(super) fn bounded(value: &Value) -> Value {
    let text = value.to_string();
    if text.len() <= VALUE_BYTES_MAX { value.clone() } else { Value::String(shown(value)) }
}

/// `channel main: weight 3 → 5, limits.rpm not set → 100`.
pub(super) fn line(change: &Change) -> String {
    let subject = match &change.name {
        Some(name) => format!("{} {}", change.what, cut(name)),
        None => change.what.to_owned(),
    };
    match change.kind {
        Kind::Removed => format!("{subject}: removed"),
        Kind::Reordered => format!("{subject}s: in another order"),
        Kind::Added if change.settings.is_empty() => format!("{subject}: added"),
        Kind::Added => {
            let facts = change.settings.iter().map(|it| format!("{} {}", it.name, shown(&it.after)));
            format!("{subject}: added ({})", facts.collect::<Vec<_>>().join(", "))
        }
        Kind::Changed => {
            let mut parts: Vec<String> = change.settings.iter().map(setting).collect();
            if change.more > 0 {
                parts.push(format!("… and {} more", change.more));
            }
            format!("{subject}: {}", parts.join(", "))
        }
    }
}

fn setting(setting: &Setting) -> String {
    let name = &setting.name;
    if setting.is_secret {
        return format!("{name} replaced");
    }
    match (items(&setting.before), items(&setting.after)) {
        (Some(before), Some(after)) => format!("{name} {}", moved(before, after)),
        _ => format!("{name} {} → {}", shown(&setting.before), shown(&setting.after)),
    }
}

/// A list, or one that is not set beside a list.
fn items(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

/// What came and what went.
fn moved(before: &[Value], after: &[Value]) -> String {
    let (gone, new) = (without(before, after), without(after, before));
    if gone.is_empty() && new.is_empty() {
        return "in another order".to_owned();
    }
    let signed = |sign: char, items: &[&Value]| {
        let mut parts: Vec<String> =
            items.iter().take(ITEMS_MAX).map(|item| format!("{sign}{}", shown(item))).collect();
        if items.len() > ITEMS_MAX {
            parts.push(format!("({sign}{} more)", items.len() - ITEMS_MAX));
        }
        parts
    };
    [signed('+', &new), signed('-', &gone)].concat().join(" ")
}

/// The items of one list that the other has not, each as often as it has more of them.
fn without<'a>(one: &'a [Value], other: &[Value]) -> Vec<&'a Value> {
    let mut left: HashMap<String, usize> = HashMap::new();
    for item in other {
        *left.entry(item.to_string()).or_default() += 1;
    }
    let mut is_there = |item: &Value| match left.get_mut(&item.to_string()) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    };
    one.iter().filter(|item| !is_there(item)).collect()
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => "not set".to_owned(),
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(" "),
        Value::Object(table) => {
            let parts = table.iter().filter(|(_, value)| !value.is_null());
            let parts: Vec<String> = parts.map(|(name, value)| format!("{name} {}", shown(value))).collect();
            format!("{{{}}}", parts.join(", "))
        }
        other => other.to_string(),
    };
    cut(&text)
}

fn cut(text: &str) -> String {
    let mut chars = text.chars().filter(|c| !c.is_control());
    let kept: String = chars.by_ref().take(VALUE_CHARS_MAX).collect();
    if chars.next().is_some() { kept + "…" } else { kept }
}

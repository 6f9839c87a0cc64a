//! The tables of docs/configuration.md, written from the schema: what the types and their comments say, and nothing else.
//!
//! A row is a key, its type, its default and its meaning. The type follows from the schema where that knows it (numbers with
//! their bounds, the words of a closed list, lengths of time …); `x-type` names it where it is text with a meaning.

use super::schema::generated;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The rows of each table by key; `root` is the file's own.
pub fn reference() -> BTreeMap<String, BTreeMap<String, String>> {
    let root = generated();
    let definitions = root["$defs"].as_object().into_iter().flatten();
    let all = definitions.map(|(name, schema)| (name.as_str(), schema)).chain([("root", &root)]);
    let tables = all.filter_map(|(name, schema)| Some((name, schema, schema["properties"].as_object()?)));
    tables.map(|(name, schema, properties)| (name.to_owned(), rows(schema, properties))).collect()
}

fn rows(schema: &Value, properties: &Map<String, Value>) -> BTreeMap<String, String> {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let row = |(key, property): (&String, &Value)| {
        let told = |name: &str| property[name].as_str().map(str::to_owned);
        let kind = told("x-type").unwrap_or_else(|| kind(property));
        let default =
            if required.contains(&key.as_str()) { Some("required".to_owned()) } else { told("x-default") };
        let default = default.unwrap_or_else(|| "–".to_owned());
        let meaning = told("description").unwrap_or_default().replace('\n', " ");
        let cells = [format!("`{key}`"), kind, default, meaning].map(|cell| cell.replace('|', "\\|"));
        (key.clone(), format!("| {} |", cells.join(" | ")))
    };
    properties.iter().map(row).collect()
}

/// What the schema says of a value.
fn kind(property: &Value) -> String {
    let number = |name: &str| property[name].as_f64();
    if let Some(words) = property["enum"].as_array() {
        let words = words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`"));
        return words.collect::<Vec<_>>().join(", ");
    }
    if let (Some(least), Some(most)) = (number("minimum"), number("maximum")) {
        return between(least, most);
    }
    let example = &property["examples"][0];
    match property["type"].as_str() {
        Some("boolean") => "true, false".to_owned(),
        Some("string") if example == "10s" => "duration".to_owned(),
        Some("array") if property["items"].get("$ref").is_some() => "list of tables".to_owned(),
        Some("string") => "text".to_owned(),
        None if example == "64MiB" => "size".to_owned(),
        None if example.get("env").is_some() => "secret".to_owned(),
        _ => "table".to_owned(),
    }
}

fn between(least: f64, most: f64) -> String {
    if most >= NO_BOUND {
        format!("{} or more", grouped(least))
    } else {
        format!("{}–{}", grouped(least), grouped(most))
    }
}

/// A number with commas from five digits on.
fn grouped(number: f64) -> String {
    let plain = format!("{number}");
    if plain.len() < 5 || !plain.bytes().all(|byte| byte.is_ascii_digit()) {
        return plain;
    }
    let mut text = String::new();
    for (at, digit) in plain.char_indices() {
        if at > 0 && (plain.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What is bounded by no more than what makes sense.
const NO_BOUND: f64 = 10_000_000.0;

/// What editors get of this: a default that is a value as `default`, no words of our own, and text without links.
pub(super) fn for_editors(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(for_editors),
        Value::Object(object) => {
            object.remove("x-type");
            if let Some(Value::String(text)) = object.remove("x-default")
                && let Some(value) = text.strip_prefix('`').and_then(|text| text.strip_suffix('`'))
                && let Ok(value) = serde_json::from_str(value)
            {
                object.insert("default".to_owned(), value);
            }
            if let Some(Value::String(text)) = object.get_mut("description") {
                // Where the page goes on is nothing to an editor.
                *text = match text.split_once(": [below](") {
                    Some((said, _)) => format!("{said}."),
                    None => without_links(text),
                };
            }
            object.values_mut().for_each(for_editors);
        }
        _ => {}
    }
}

/// `[words](target)` as the words alone.
fn without_links(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        plain.push_str(before);
        let link =
            after.split_once("](").and_then(|(words, behind)| Some((words, behind.split_once(')')?.1)));
        let (words, behind) = link.filter(|(words, _)| !words.contains('[')).unwrap_or(("[", after));
        plain.push_str(words);
        rest = behind;
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn types_are_told_from_the_schema() {
        for (property, expected) in [
            (json!({ "type": "boolean" }), "true, false"),
            (json!({ "type": "string", "enum": ["a", "b"] }), "`a`, `b`"),
            (json!({ "type": "integer", "minimum": 1, "maximum": 10 }), "1–10"),
            (json!({ "type": "integer", "minimum": 0, "maximum": 100_000 }), "0–100,000"),
            (json!({ "type": "integer", "minimum": 1, "maximum": 1_000_000_000 }), "1 or more"),
            (json!({ "type": "string", "examples": ["10s"] }), "duration"),
            (json!({ "anyOf": [], "examples": ["64MiB"] }), "size"),
            (json!({ "anyOf": [], "examples": [{ "env": "A" }] }), "secret"),
            (json!({ "type": "array", "items": { "$ref": "#/$defs/A" } }), "list of tables"),
            (json!({ "$ref": "#/$defs/A" }), "table"),
            (json!({ "type": "string" }), "text"),
        ] {
            assert_eq!(kind(&property), expected, "{property}");
        }
    }

    #[test]
    fn editors_get_defaults_and_no_links() {
        let mut schema = json!({ "a": { "x-type": "path", "x-default": "`\"10s\"`", "description": "See [it](a.md#b) in [x]." },
            "b": { "x-default": "the system's", "description": "The log: [below](#log)." } });
        for_editors(&mut schema);
        assert_eq!(
            schema,
            json!({ "a": { "default": "10s", "description": "See it in [x]." }, "b": { "description": "The log." } })
        );
    }
}

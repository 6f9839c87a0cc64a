//! The JSON Schema: published for editors, and what files are held against (`super::fit`).
//!
//! Invariant: it is generated from the types that files are read into (`super::file`), so that the two cannot differ.

use super::file::File;
use super::reference::for_editors;
use serde_json::Value as Json;

/// The JSON Schema of a configuration file, pretty printed.
pub fn schema() -> String {
    let mut schema = generated();
    for_editors(&mut schema);
    let mut text = format!("{schema:#}");
    text.push('\n');
    text
}

pub(super) fn generated() -> Json {
    let mut root = schemars::schema_for!(File).to_value();
    without_null(&mut root);
    root
}

/// Takes `null` out: an `Option` here means that the key may be absent, never that it may be empty.
fn without_null(schema: &mut Json) {
    match schema {
        Json::Array(items) => items.iter_mut().for_each(without_null),
        Json::Object(object) => {
            if let Some(Json::Array(types)) = object.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            if let Some(Json::Array(alternatives)) = object.get_mut("anyOf") {
                alternatives.retain(|schema| schema.get("type").is_none_or(|name| name != "null"));
                if let [Json::Object(only)] = alternatives.as_slice() {
                    let only = only.clone();
                    object.remove("anyOf");
                    only.into_iter().for_each(|(key, value)| {
                        object.entry(key).or_insert(value);
                    });
                }
            }
            object.retain(|key, value| key != "default" || !value.is_null());
            object.values_mut().for_each(without_null);
        }
        _ => {}
    }
}

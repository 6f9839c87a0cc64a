//! JSON schemas, reshaped where a provider refuses keywords.
//!
//! Invariants: members keep their order, since models answer in it; a schema that fits is written as it was; nothing
//! recurses deeper than [`DEPTH_MAX`], references that lead back to themselves included.

mod google;

pub(super) use self::google::{from_google, google};

use super::json::{Members, Raw, object};
use bytes::BytesMut;

/// Deeper than any tool's parameters; below it, anything goes.
const DEPTH_MAX: usize = 24;

/// For a tool of Anthropic's: an object, which says so, without alternatives at its top.
pub(super) fn with_type(schema: &Raw<'_>, out: &mut BytesMut) {
    let members = Members::of(schema);
    let alternatives = |key: &str| matches!(key, "anyOf" | "oneOf" | "allOf");
    let typed = members.find("type").is_some();
    if typed && !members.0.iter().any(|(key, _)| alternatives(key)) {
        out.extend_from_slice(schema.json().as_bytes());
        return;
    }
    object(out, |of| {
        if !typed {
            of.text("type", "object");
        }
        for (key, value) in members.0.iter().filter(|(key, _)| !alternatives(key)) {
            of.raw(key, value);
        }
    });
}

/// For an answer of Anthropic's: every object is closed, and keywords it does not hold to are not there.
pub(super) fn closed(schema: &Raw<'_>, out: &mut BytesMut) {
    closed_at(schema, 0, out);
}

fn closed_at(schema: &Raw<'_>, depth: usize, out: &mut BytesMut) {
    if !schema.is_object() || depth > DEPTH_MAX {
        out.extend_from_slice(schema.json().as_bytes());
        return;
    }
    let members = Members::of(schema);
    let is_object = members.find("properties").is_some()
        || members.find("type").is_some_and(|kind| kind.json() == "\"object\"");
    object(out, |of| {
        for (key, value) in &members.0 {
            match &**key {
                "properties" | "$defs" | "definitions" => {
                    of.value(key, |out| {
                        each_member(value, out, |value, out| closed_at(value, depth + 1, out));
                    });
                }
                "items" => {
                    of.value(key, |out| closed_at(value, depth + 1, out));
                }
                "anyOf" | "allOf" | "oneOf" => {
                    let key = if &**key == "oneOf" { "anyOf" } else { key };
                    of.value(key, |out| each_item(value, out, |value, out| closed_at(value, depth + 1, out)));
                }
                "minItems" if !matches!(value.json(), "0" | "1") => {}
                "type" | "required" | "enum" | "const" | "$ref" | "default" | "description" | "title"
                | "format" | "minItems" | "pattern" => {
                    of.raw(key, value);
                }
                _ => {}
            }
        }
        if is_object {
            of.flag("additionalProperties", false);
        }
    });
}

/// An object with each of its values written anew.
fn each_member(value: &Raw<'_>, out: &mut BytesMut, mut write: impl FnMut(&Raw<'_>, &mut BytesMut)) {
    object(out, |of| {
        for (key, value) in &Members::of(value).0 {
            of.value(key, |out| write(value, out));
        }
    });
}

/// A list with each of its items written anew.
fn each_item(value: &Raw<'_>, out: &mut BytesMut, mut write: impl FnMut(&Raw<'_>, &mut BytesMut)) {
    super::json::array(out, |list| {
        for item in value.read::<Vec<Raw<'_>>>().unwrap_or_default() {
            list.value(|out| write(&item, out));
        }
    });
}

#[cfg(test)]
mod tests;

//! The part of JSON schema Gemini takes (its `Schema` is a subset of `OpenAPI`'s), and the way back from it.

use super::super::json::{Members, Object, Raw, Text, array, object};
use super::super::loss::Losses;
use super::DEPTH_MAX;
use bytes::BytesMut;
use std::collections::HashSet;

/// Writes a schema as Gemini takes it; `field` names it where something of it is lost.
pub(in crate::translate) fn google(schema: &Raw<'_>, field: &str, losses: &mut Losses, out: &mut BytesMut) {
    let root = Members::of(schema);
    let mut walk = Walk { root: &root, lost: false, nodes: 0 };
    walk.node(schema, 0, out);
    if walk.lost {
        losses.approximated(field, "keywords Gemini refuses are left out");
    }
}

struct Walk<'r> {
    root: &'r Members<'r>,
    lost: bool,
    /// How many were written: references may branch without end.
    nodes: usize,
}

/// The members a node has once references and `allOf` are followed.
type Node = Vec<(Text<'static>, Raw<'static>)>;

impl Walk<'_> {
    fn node(&mut self, schema: &Raw<'_>, depth: usize, out: &mut BytesMut) {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            self.lost = true;
            out.extend_from_slice(ANYTHING.json().as_bytes());
            return;
        }
        let mut node = Node::new();
        self.gather(schema, depth, &mut node);
        object(out, |of| self.write(&node, depth, of));
    }

    fn gather(&mut self, schema: &Raw<'_>, depth: usize, node: &mut Node) {
        if depth > DEPTH_MAX || node.len() > MEMBERS_MAX {
            self.lost = true;
            return;
        }
        for (key, value) in Members::of(schema).0 {
            match &*key {
                "$ref" => {
                    let found = value.text().and_then(|path| self.referred(&path));
                    match found {
                        Some(found) => self.gather(&found, depth + 1, node),
                        None => self.lost = true,
                    }
                }
                "allOf" => {
                    for part in value.read::<Vec<Raw<'_>>>().unwrap_or_default() {
                        self.gather(&part, depth + 1, node);
                    }
                }
                _ => node.push((key.into_owned(), value.into_owned())),
            }
        }
    }

    /// `#/$defs/Name`, as every generator of schemas writes it.
    fn referred(&self, path: &str) -> Option<Raw<'static>> {
        let rest = path.strip_prefix("#/")?;
        let (section, name) = rest.split_once('/')?;
        let section = self.root.find(section)?;
        Members::of(section).find(name).map(|found| found.clone().into_owned())
    }

    fn write(&mut self, node: &Node, depth: usize, of: &mut Object<'_>) {
        let find = |key: &str| node.iter().find(|(name, _)| &**name == key).map(|(_, value)| value);
        let kinds = kinds(find("type"));
        let kind = kind(find, &kinds);
        let nullable = kinds.iter().any(|kind| kind.eq_ignore_ascii_case("null"));
        if let Some(kind) = &kind {
            of.text("type", kind);
        }
        let several: Vec<&String> = kinds.iter().filter(|kind| !kind.eq_ignore_ascii_case("null")).collect();
        if several.len() > 1 {
            of.array("anyOf", |list| {
                for kind in several {
                    list.object(|of| {
                        of.text("type", kind);
                        if kind.eq_ignore_ascii_case("array") {
                            of.raw("items", &ANYTHING);
                        }
                    });
                }
            });
        }
        let mut nulls = nullable;
        let is = |name: &str| kind.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case(name));
        for key in KEYWORDS {
            if let Some(value) = find(key) {
                self.keyword((key, value), (&is, depth), of, &mut nulls);
            }
        }
        self.object_parts(node, depth, is("object"), of);
        if is("array") && find("items").is_none() {
            of.raw("items", &ANYTHING);
        }
        if nulls {
            of.flag("nullable", true);
        }
        let is_known = |key: &str| {
            KEYWORDS.contains(&key)
                || SILENT.contains(&key)
                || matches!(key, "properties" | "required" | "type")
        };
        self.lost |= node.iter().any(|(key, _)| !is_known(key));
    }

    fn keyword(
        &mut self,
        (key, value): (&str, &Raw<'_>),
        (is, depth): (&dyn Fn(&str) -> bool, usize),
        of: &mut Object<'_>,
        nulls: &mut bool,
    ) {
        match key {
            "items" => {
                of.value(key, |out| self.node(value, depth + 1, out));
            }
            "anyOf" | "oneOf" => self.alternatives(value, depth, of, nulls),
            "const" => match value.text() {
                Some(text) => drop_in(of.array("enum", |list| list.text(&text))),
                None => self.lost = true,
            },
            "enum" => self.choices(value, is("string"), of),
            "format" => {
                let word = value.text().unwrap_or_default();
                let taken = match &*word {
                    "date-time" | "enum" => is("string"),
                    "float" | "double" => is("number"),
                    "int32" | "int64" => is("integer"),
                    _ => false,
                };
                if taken {
                    of.text(key, &word);
                } else {
                    self.lost = true;
                }
            }
            "nullable" => *nulls |= value.json() == "true",
            _ => drop_in(of.raw(key, value)),
        }
    }

    /// One of them may be null alone, which is a keyword here.
    fn alternatives(&mut self, value: &Raw<'_>, depth: usize, of: &mut Object<'_>, nulls: &mut bool) {
        let all = value.read::<Vec<Raw<'_>>>().unwrap_or_default();
        let is_null = |one: &Raw<'_>| {
            Members::of(one).find("type").and_then(Raw::text).is_some_and(|kind| &*kind == "null")
        };
        *nulls |= all.iter().any(is_null);
        let rest: Vec<&Raw<'_>> = all.iter().filter(|one| !is_null(one)).collect();
        // What only says which members must be there says nothing here.
        if !rest.iter().any(|one| says_what(one)) {
            self.lost |= !rest.is_empty();
            return;
        }
        if let [only] = &*rest {
            let mut node = Node::new();
            self.gather(only, depth + 1, &mut node);
            return self.write(&node, depth + 1, of);
        }
        of.array("anyOf", |list| {
            for one in rest {
                list.value(|out| self.node(one, depth + 1, out));
            }
        });
    }

    /// Choices are texts.
    fn choices(&mut self, value: &Raw<'_>, of_text: bool, of: &mut Object<'_>) {
        let texts: Option<Vec<Text<'_>>> = value.read();
        match texts.filter(|_| of_text) {
            Some(texts) => drop_in(of.array("enum", |list| {
                texts.iter().filter(|text| !text.is_empty()).for_each(|text| list.text(text));
            })),
            None => self.lost = true,
        }
    }

    /// The properties of all its parts, and of the required ones those that are there.
    fn object_parts(&mut self, node: &Node, depth: usize, is_object: bool, of: &mut Object<'_>) {
        let all =
            |key: &'static str| node.iter().filter(move |(name, _)| &**name == key).map(|(_, value)| value);
        let mut names = HashSet::new();
        let mut properties: Vec<(Text<'_>, Raw<'_>)> = Vec::new();
        for (name, value) in all("properties").flat_map(|value| Members::of(value).0) {
            if names.insert((*name).to_owned()) {
                properties.push((name, value));
            }
        }
        if properties.is_empty() || !is_object {
            return;
        }
        of.object("properties", |of| {
            for (name, value) in &properties {
                of.value(name, |out| self.property(value, depth, out));
            }
        });
        let required = all("required").flat_map(|value| value.read::<Vec<Text<'_>>>().unwrap_or_default());
        let required: Vec<Text<'_>> = required.filter(|name| names.contains(&**name)).collect();
        if !required.is_empty() {
            of.value("required", |out| array(out, |list| required.iter().for_each(|name| list.text(name))));
        }
    }

    /// `true`, or nothing at all, stands for anything.
    fn property(&mut self, value: &Raw<'_>, depth: usize, out: &mut BytesMut) {
        if value.is_object() && value.json() != "{}" {
            return self.node(value, depth + 1, out);
        }
        self.lost = true;
        out.extend_from_slice(ANYTHING.json().as_bytes());
    }
}

/// Whether a schema says what a value is, and not only what more must be true of it.
fn says_what(schema: &Raw<'_>) -> bool {
    let words = ["type", "properties", "items", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"];
    Members::of(schema).0.iter().any(|(key, _)| words.contains(&&**key))
}

/// A builder's answer that is not needed.
fn drop_in(_: &mut Object<'_>) {}

fn kinds(value: Option<&Raw<'_>>) -> Vec<String> {
    let Some(value) = value else { return Vec::new() };
    let one = value.text().map(|kind| vec![kind.into_string()]);
    one.or_else(|| value.read()).unwrap_or_default()
}

/// The one type, as it is said, or as its members tell.
fn kind<'n>(find: impl Fn(&str) -> Option<&'n Raw<'static>>, kinds: &[String]) -> Option<String> {
    let mut said = kinds.iter().filter(|kind| !kind.eq_ignore_ascii_case("null"));
    match (said.next(), said.next()) {
        (Some(kind), None) => Some(kind.clone()),
        (Some(_), Some(_)) => None,
        (None, _) if find("properties").is_some() => Some("object".to_owned()),
        (None, _) if find("items").is_some() => Some("array".to_owned()),
        (None, _) if find("anyOf").is_some() || find("oneOf").is_some() => None,
        (None, _) => Some("string".to_owned()),
    }
}

/// What a node without a type is here.
const ANYTHING: Raw<'static> = Raw::known("{\"type\":\"string\"}");
/// More nodes than any tool's parameters have, references followed.
const NODES_MAX: usize = 8192;
/// More members than any schema's node has, its parts included.
const MEMBERS_MAX: usize = 256;
/// Those it takes, in the order they are written.
const KEYWORDS: [&str; 19] = [
    "format",
    "title",
    "description",
    "nullable",
    "enum",
    "const",
    "items",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "pattern",
    "minimum",
    "maximum",
    "default",
    "anyOf",
    "oneOf",
];
/// Those whose loss changes nothing.
const SILENT: [&str; 7] =
    ["$schema", "$id", "$defs", "definitions", "additionalProperties", "$comment", "propertyOrdering"];

/// A schema of Gemini's in the words of JSON schema: types in small letters, `nullable` as a type.
pub(in crate::translate) fn from_google(schema: &Raw<'_>) -> Raw<'static> {
    let mut out = BytesMut::new();
    back(schema, 0, &mut out);
    let text = String::from_utf8_lossy(&out).into_owned();
    Raw::object(text.into()).unwrap_or(Raw::known("{}"))
}

fn back(schema: &Raw<'_>, depth: usize, out: &mut BytesMut) {
    if !schema.is_object() || depth > DEPTH_MAX {
        out.extend_from_slice(schema.json().as_bytes());
        return;
    }
    let members = Members::of(schema);
    let nullable = members.find("nullable").is_some_and(|value| value.json() == "true");
    object(out, |of| {
        for (key, value) in &members.0 {
            match &**key {
                "type" => {
                    let kind = value.text().unwrap_or_default().to_ascii_lowercase();
                    if nullable {
                        of.array("type", |list| {
                            list.text(&kind);
                            list.text("null");
                        });
                    } else {
                        of.text("type", &kind);
                    }
                }
                "nullable" | "propertyOrdering" | "example" => {}
                "properties" => {
                    of.value(key, |out| {
                        super::each_member(value, out, |value, out| back(value, depth + 1, out));
                    });
                }
                "items" => {
                    of.value(key, |out| back(value, depth + 1, out));
                }
                "anyOf" => {
                    of.value(key, |out| {
                        super::each_item(value, out, |value, out| back(value, depth + 1, out));
                    });
                }
                // Google writes its numbers of 64 bits as texts.
                "minItems" | "maxItems" | "minLength" | "maxLength" | "minProperties" | "maxProperties" => {
                    let number = value.text().and_then(|text| text.parse::<i64>().ok());
                    match number {
                        Some(number) => drop_in(of.raw(key, &Raw::from_number(number))),
                        None => drop_in(of.raw(key, value)),
                    }
                }
                _ => drop_in(of.raw(key, value)),
            }
        }
    });
}

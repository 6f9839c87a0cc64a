//! The JSON Schema: published for editors, and used here to find everything that may not be written.
//!
//! serde stops at the first unknown or ill-typed field; an operator wants all of them. So the tree is held
//! against the schema that `super::file`'s types generate, each misfit is noted and left out, and the rest
//! goes on to be compiled, so that one load reports as much as it can.
//! Invariant: what `Schema::fit` returns deserializes into `File`, and only what was reported is missing.

use super::file::File;
use super::node::{Entry, Node, Place, Step, Value};
use super::problem::{Findings, Problem, did_you_mean, shown};
use super::reference::for_editors;
use serde_json::{Map, Value as Json};
use std::path::Path;

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

/// The schema, ready to hold files against.
#[derive(Debug)]
pub(super) struct Schema {
    root: Json,
}

impl Schema {
    /// Generates it.
    pub(super) fn new() -> Self {
        Self { root: generated() }
    }

    /// What of the tree fits; the rest is reported.
    pub(super) fn fit(&self, sheet: (usize, &Path, &Node), findings: &mut Findings) -> Json {
        let (file, path, root) = sheet;
        let mut fitting = Fitting { schema: self, root, file, path, steps: Vec::new(), findings };
        fitting.node(root, &self.root).unwrap_or_default()
    }

    fn resolve<'a>(&'a self, schema: &'a Json) -> &'a Json {
        let target = schema.get("$ref").and_then(Json::as_str).and_then(|text| text.strip_prefix('#'));
        target.and_then(|pointer| self.root.pointer(pointer)).unwrap_or(schema)
    }

    /// The schemas of which one must fit.
    fn alternatives<'a>(&'a self, schema: &'a Json) -> Vec<&'a Json> {
        match schema.get("anyOf").and_then(Json::as_array) {
            Some(alternatives) => alternatives.iter().map(|schema| self.resolve(schema)).collect(),
            None => vec![self.resolve(schema)],
        }
    }
}

struct Fitting<'a> {
    schema: &'a Schema,
    root: &'a Node,
    file: usize,
    path: &'a Path,
    steps: Vec<Step>,
    findings: &'a mut Findings,
}

impl<'a> Fitting<'a> {
    fn report(&mut self, place: Place, what: impl Into<String>, hint: Option<String>) {
        let Self { root, path, steps, .. } = self;
        let problem =
            || Problem { path: root.dotted(steps), ..Problem::at_place(path, place, what) }.hint(hint);
        self.findings.problem(self.file, problem);
    }

    fn node(&mut self, node: &Node, schema: &'a Json) -> Option<Json> {
        let alternatives = self.schema.alternatives(schema);
        if matches!(node.value, Value::Null) {
            self.report(node.place, "has no value; write one or remove the line", None);
            return None;
        }
        let Some(fitting) = alternatives.iter().find(|schema| is_kind(schema, node)) else {
            let expected: Vec<&str> = alternatives.iter().map(|schema| kind(schema)).collect();
            let what = format!("expected {}, found {}", expected.join(" or "), node.kind());
            self.report(node.place, what, self.example(schema, node));
            return None;
        };
        match &node.value {
            Value::Null => None,
            Value::Bool(flag) => Some(Json::Bool(*flag)),
            // Where fractions are taken, so are whole numbers; what is out of an `i32` is out of every bound.
            Value::Integer(number) if fitting.get("type").is_some_and(|kind| kind == "number") => {
                let clamped = i32::try_from(*number).unwrap_or(if *number < 0 { i32::MIN } else { i32::MAX });
                self.fraction(f64::from(clamped), node.place, fitting)
            }
            Value::Integer(number) => self.integer(*number, node.place, fitting),
            Value::Float(number) => self.fraction(*number, node.place, fitting),
            Value::Text(text) => self.text(text, node.place, fitting),
            Value::Date(text) => Some(Json::String(text.clone())),
            Value::List(items) => Some(self.list(items, fitting)),
            Value::Table(entries) => self.table(node, entries, fitting),
        }
    }

    /// A hint for a value of the wrong kind.
    fn example(&self, schema: &Json, node: &Node) -> Option<String> {
        if let ([Step::Key(section)], Value::Table(_)) = (self.steps.as_slice(), &node.value) {
            return Some(format!("in TOML each entry begins with `[[{section}]]`"));
        }
        schema.get("examples")?.get(0).map(|example| format!("for example {example}"))
    }

    fn integer(&mut self, number: i64, place: Place, schema: &Json) -> Option<Json> {
        let bound = |name| schema.get(name).and_then(Json::as_i64);
        let (min, max) = (bound("minimum").unwrap_or(i64::MIN), bound("maximum").unwrap_or(i64::MAX));
        if number < min {
            self.report(place, format!("must be at least {min}"), None);
            return None;
        }
        if number > max {
            self.report(place, format!("must be at most {max}"), None);
            return None;
        }
        Some(Json::from(number))
    }

    fn fraction(&mut self, number: f64, place: Place, schema: &Json) -> Option<Json> {
        let bound = |name| schema.get(name).and_then(Json::as_f64);
        let (min, max) = (bound("minimum").unwrap_or(f64::MIN), bound("maximum").unwrap_or(f64::MAX));
        if !(min..=max).contains(&number) {
            self.report(place, format!("must be a number from {min} to {max}"), None);
            return None;
        }
        serde_json::Number::from_f64(number).map(Json::Number)
    }

    fn text(&mut self, text: &str, place: Place, schema: &Json) -> Option<Json> {
        let words: Option<Vec<&str>> = schema
            .get("enum")
            .and_then(Json::as_array)
            .map(|words| words.iter().filter_map(Json::as_str).collect());
        match words {
            Some(words) if !words.contains(&text) => {
                let what = format!("unknown value {}; one of {}", shown(text), words.join(", "));
                self.report(place, what, did_you_mean(text, words.iter().copied()));
                None
            }
            _ => Some(Json::String(text.to_owned())),
        }
    }

    fn list(&mut self, items: &[Node], schema: &'a Json) -> Json {
        let item_schema = schema.get("items").unwrap_or(&Json::Null);
        let fit = |(index, item)| {
            self.steps.push(Step::Index(index));
            let fitted = self.node(item, item_schema).unwrap_or(Json::Null);
            self.steps.pop();
            fitted
        };
        Json::Array(items.iter().enumerate().map(fit).collect())
    }

    fn table(&mut self, node: &Node, entries: &[Entry], schema: &'a Json) -> Option<Json> {
        let known = schema.get("properties").and_then(Json::as_object);
        let other = schema.get("additionalProperties").filter(|schema| schema.is_object());
        let mut fitted = Map::new();
        for entry in entries {
            self.steps.push(Step::Key(entry.key.clone()));
            if let Some(schema) = known.and_then(|known| known.get(&entry.key)).or(other) {
                let value = self.node(&entry.node, schema);
                fitted.extend(value.map(|value| (entry.key.clone(), value)));
            } else {
                let words = known.into_iter().flat_map(Map::keys).map(String::as_str);
                self.report(entry.place, "unknown key", did_you_mean(&entry.key, words));
            }
            self.steps.pop();
        }
        let required = schema.get("required").and_then(Json::as_array).into_iter().flatten();
        let mut complete = true;
        for key in required.filter_map(Json::as_str).filter(|key| !fitted.contains_key(*key)) {
            complete = false;
            if node.get(key).is_none() {
                self.report(node.place, format!("`{key}` is missing"), None);
            }
        }
        complete.then_some(Json::Object(fitted))
    }
}

/// Whether the value is of the schema's kind.
fn is_kind(schema: &Json, node: &Node) -> bool {
    let kind = schema.get("type").and_then(Json::as_str).unwrap_or_default();
    match node.value {
        Value::Null => false,
        Value::Bool(_) => kind == "boolean",
        Value::Integer(_) => kind == "integer" || kind == "number",
        Value::Float(_) => kind == "number",
        Value::Text(_) => kind == "string",
        Value::Date(_) => {
            kind == "string" && schema.get("format").is_some_and(|format| format == "date-time")
        }
        Value::List(_) => kind == "array",
        Value::Table(_) => kind == "object",
    }
}

/// The schema's kind, for "expected …".
fn kind(schema: &Json) -> &'static str {
    match schema.get("type").and_then(Json::as_str) {
        Some("boolean") => "true or false",
        Some("integer") => "a whole number",
        Some("number") => "a number",
        Some("array") => "a list",
        Some("object") => "a table",
        _ if schema.get("format").is_some_and(|format| format == "date-time") => {
            "a date with time and offset"
        }
        _ => "a string",
    }
}

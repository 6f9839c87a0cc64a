//! What each provider refuses in the schema of a tool's parameters.

use serde_json::Value;

/// How deep a schema is looked into.
const DEPTH_MAX: usize = 64;

/// The members of Gemini's `Schema`; whatever else stands in one is an unknown field to it.
const GEMINI: &[&str] = &[
    "type",
    "format",
    "title",
    "description",
    "nullable",
    "enum",
    "maxItems",
    "minItems",
    "properties",
    "required",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "pattern",
    "example",
    "anyOf",
    "propertyOrdering",
    "default",
    "items",
    "minimum",
    "maximum",
];

/// Function parameters of `OpenAI`: an object, and closed to the last member where they are strict.
pub(super) fn openai(name: &str, function: &Value) -> Result<(), String> {
    let Some(parameters) = function.get("parameters").filter(|parameters| !parameters.is_null()) else {
        return Ok(());
    };
    let kind = parameters.get("type").and_then(Value::as_str).unwrap_or("None");
    if kind != "object" {
        return Err(format!(
            "Invalid schema for function '{name}': schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{kind}\"'."
        ));
    }
    if function.get("strict") == Some(&Value::Bool(true)) {
        return strict(parameters, 0)
            .map_err(|reason| format!("Invalid schema for function '{name}': {reason}"));
    }
    Ok(())
}

fn strict(schema: &Value, depth: usize) -> Result<(), String> {
    if depth > DEPTH_MAX {
        return Err("nested too deeply".to_owned());
    }
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        if schema.get("additionalProperties") != Some(&Value::Bool(false)) {
            return Err("'additionalProperties' is required to be supplied and to be false.".to_owned());
        }
        let required = super::list(schema, "required");
        if let Some(name) = properties.keys().find(|name| !required.contains(&Value::from(name.as_str()))) {
            return Err(format!(
                "'required' is required to be supplied and to be an array including every key in properties. Missing '{name}'."
            ));
        }
    }
    below(schema).try_for_each(|inner| strict(inner, depth + 1))
}

/// Anthropic's: an object, without alternatives at the top.
pub(super) fn anthropic(schema: Option<&Value>, at: usize) -> Result<(), String> {
    let schema = schema.ok_or_else(|| format!("tools.{at}.custom.input_schema: Field required"))?;
    if schema.get("type").and_then(Value::as_str) != Some("object") {
        return Err(format!("tools.{at}.custom.input_schema.type: Input should be 'object'"));
    }
    if ["oneOf", "anyOf", "allOf"].iter().any(|name| schema.get(*name).is_some()) {
        return Err(format!(
            "tools.{at}.custom.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level"
        ));
    }
    Ok(())
}

/// Gemini's: only the members it has, lists that say of what, choices among strings.
pub(super) fn gemini(schema: &Value, at: &str) -> Result<(), String> {
    walk_gemini(schema, at, 0)
}

fn walk_gemini(schema: &Value, at: &str, depth: usize) -> Result<(), String> {
    let Some(members) = schema.as_object().filter(|_| depth <= DEPTH_MAX) else {
        return Err(format!(
            "Invalid value at '{at}' (type.googleapis.com/google.ai.generativelanguage.v1beta.Schema)"
        ));
    };
    if let Some(unknown) = members.keys().find(|name| !GEMINI.contains(&name.as_str())) {
        return Err(format!(
            "Invalid JSON payload received. Unknown name \"{unknown}\" at '{at}': Cannot find field."
        ));
    }
    match members.get("type") {
        None | Some(Value::String(_)) => {}
        Some(_) => return Err(format!("Proto field is not repeating, cannot start list. ('{at}.type')")),
    }
    let is = |kind: &str| {
        members.get("type").and_then(Value::as_str).is_some_and(|it| it.eq_ignore_ascii_case(kind))
    };
    if is("array") && !members.contains_key("items") {
        return Err(format!("* GenerateContentRequest.{at}.items: missing field."));
    }
    let choices = super::list(schema, "enum");
    if !choices.is_empty() && !is("string") {
        return Err(format!("* GenerateContentRequest.{at}.enum: only allowed for STRING type"));
    }
    if choices.iter().any(|choice| choice.as_str().is_none_or(str::is_empty)) {
        return Err(format!("* GenerateContentRequest.{at}.enum: cannot be empty"));
    }
    let properties = members.get("properties").and_then(Value::as_object);
    if let Some(name) = super::list(schema, "required")
        .iter()
        .filter_map(Value::as_str)
        .find(|name| properties.is_none_or(|properties| !properties.contains_key(*name)))
    {
        return Err(format!("* GenerateContentRequest.{at}.required[0]: property is not defined: {name}"));
    }
    below(schema).try_for_each(|inner| walk_gemini(inner, at, depth + 1))
}

/// The schemas within a schema.
fn below(schema: &Value) -> impl Iterator<Item = &Value> {
    let properties =
        schema.get("properties").and_then(Value::as_object).into_iter().flat_map(|all| all.values());
    let items = schema.get("items").into_iter();
    properties.chain(items).chain(super::list(schema, "anyOf"))
}

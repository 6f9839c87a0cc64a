//! A request of responses, read; and what its answer repeats of it.

use super::super::json::{Members, Raw, Text, object};
use super::super::unified::{
    Choice, Format, Keep, List, Logprobs, Need, Part, Place, Protocol, Reasoning, Request, Role, Sampling,
    Search, Show, Tool, ToolKind, Turn,
};
use super::super::{search, unreadable, words};
use super::{Body, ReasoningConfig, TextConfig, TextFormat, ToolDef, spaced, turns};
use crate::refusal::Refusal;
use crate::translate::chat::decode::tier;
use bytes::BytesMut;
use serde_json::value::RawValue;

/// Reads it.
pub(in crate::translate) fn request(body: &[u8]) -> Result<Request<'_>, Refusal> {
    let mut body: Body<'_> = serde_json::from_slice(body).map_err(|error| unreadable(&error))?;
    let mut request = Request::new(Protocol::Responses);
    request.losses.unknown("", body.unknown.iter().map(|name| &**name));
    request.echo = echo(&body);
    request.model = body.model.take().unwrap_or_default();
    needs(&body, &mut request);
    if let Some(text) = body.instructions.take().filter(|text| !text.is_empty()) {
        let place = Place { list: List::Instructions, item: 0, part: None };
        let parts = vec![Part { place, ..Part::text(text) }];
        request.turns.push(Turn { role: Role::System, parts, name: None });
    }
    turns::read(body.input.take().unwrap_or_default(), &mut request);
    tools(&body, &mut request)?;
    let text: TextConfig<'_> = body.text.map(again).transpose()?.unwrap_or_default();
    request.verbosity = text.verbosity.as_deref().and_then(words::verbosity);
    request.format = format(text.format);
    request.reasoning = body.reasoning.as_ref().map(reasoning).unwrap_or_default();
    request.sampling = Sampling { temperature: body.temperature, top_p: body.top_p, ..Sampling::default() };
    request.max_tokens = body.max_output_tokens;
    let told = body.include.iter().flatten().any(|what| &**what == "message.output_text.logprobs");
    request.logprobs = (told || body.top_logprobs.is_some()).then_some(Logprobs { top: body.top_logprobs });
    request.stream = body.stream.unwrap_or(false);
    request.stream_usage = true;
    request.user = body.safety_identifier.take().or(body.user.take());
    request.metadata = words::metadata(body.metadata.as_ref().map(|raw| read_members(raw)));
    request.tier = body.service_tier.as_deref().and_then(tier);
    request.cache.key = body.prompt_cache_key.take();
    request.cache.keep = body.prompt_cache_retention.as_deref().map(|word| match word {
        "24h" => Keep::Hour,
        _ => Keep::Minutes,
    });
    if body.max_tool_calls.is_some() {
        request.losses.dropped("max_tool_calls", "counts calls of the provider's own tools");
    }
    if body.truncation.as_deref() == Some("auto") {
        request.losses.dropped("truncation", "the conversation is sent whole");
    }
    Ok(request)
}

fn read_members(raw: &Raw<'_>) -> Members<'static> {
    let members = Members::of(raw).0.into_iter();
    Members(members.map(|(key, value)| (key.into_owned(), value.into_owned())).collect())
}

fn needs(body: &Body<'_>, request: &mut Request<'_>) {
    for (is_there, need) in [
        (body.previous_response_id.is_some(), Need::PreviousResponse),
        (body.conversation.is_some(), Need::Conversation),
        (body.background == Some(true), Need::Background),
        (body.store == Some(true), Need::Store),
        (body.prompt.is_some(), Need::Prompt),
    ] {
        if is_there {
            request.needs.push(need);
        }
    }
}

/// Members that the answer repeats as they are, and that are read all the same.
fn again<'a, T: serde::Deserialize<'a>>(raw: &'a RawValue) -> Result<T, Refusal> {
    serde_json::from_str(raw.get()).map_err(|error| unreadable(&error))
}

fn tools<'a>(body: &Body<'a>, request: &mut Request<'a>) -> Result<(), Refusal> {
    let defs: Vec<ToolDef<'a>> = body.tools.map(again).transpose()?.unwrap_or_default();
    for def in defs {
        if def.kind.as_deref() == Some("namespace") {
            let space = def.name.unwrap_or_default();
            for mut inner in def.tools.into_iter().flatten() {
                inner.name = inner.name.map(|name| spaced(&space, &name).into());
                request.tools.push(tool(inner));
            }
            request.namespaces.push((*space).to_owned());
        } else {
            request.tools.push(tool(def));
        }
    }
    request.choice = body.tool_choice.as_ref().and_then(choice);
    request.parallel = body.parallel_tool_calls;
    Ok(())
}

fn tool(def: ToolDef<'_>) -> Tool<'_> {
    let (name, description, cache) = (def.name, def.description, None);
    match def.kind.as_deref() {
        Some("function") => Tool {
            name: name.unwrap_or_default(),
            description,
            kind: ToolKind::Function {
                parameters: def.parameters.filter(|schema| !words::takes_nothing(schema)),
                strict: def.strict,
            },
            cache,
        },
        Some("custom") => {
            let name = name.unwrap_or_default();
            Tool { name, description, kind: ToolKind::Free { grammar: def.format }, cache }
        }
        Some(kind) if is_search(kind) => {
            let filters = def.filters.unwrap_or_default();
            search::tool(Search {
                allowed: filters.allowed_domains.unwrap_or_default(),
                blocked: filters.blocked_domains.unwrap_or_default(),
                uses: None,
                size: def.search_context_size,
                place: search::place(def.user_location),
            })
        }
        _ => Tool { name: def.kind.unwrap_or_default(), description: None, kind: ToolKind::Own, cache },
    }
}

/// `web_search`, its earlier names, and those with a date.
fn is_search(kind: &str) -> bool {
    kind == search::NAME || kind.starts_with("web_search_preview") || kind.starts_with("web_search_20")
}

fn choice<'a>(raw: &Raw<'a>) -> Option<Choice<'a>> {
    if let Some(word) = raw.text() {
        return words::choice(&word);
    }
    let members = Members::of(raw);
    let text = |members: &Members<'_>, key: &str| members.find(key).and_then(Raw::text).map(Text::into_owned);
    match text(&members, "type")?.as_ref() {
        "function" | "custom" => text(&members, "name").map(Choice::Named),
        "allowed_tools" => {
            let tools: Vec<Raw<'_>> = members.find("tools").and_then(Raw::read).unwrap_or_default();
            let name = |tool: &Raw<'_>| {
                let members = Members::of(tool);
                let kind = || {
                    text(&members, "type")
                        .map(|kind| if is_search(&kind) { search::NAME.into() } else { kind })
                };
                text(&members, "name").or_else(kind)
            };
            let names = tools.iter().filter_map(name).collect();
            Some(Choice::Among { names, required: text(&members, "mode").as_deref() == Some("required") })
        }
        own if is_search(own) => Some(Choice::Named(search::NAME.into())),
        own => Some(Choice::Named(own.to_owned().into())),
    }
}

fn format(of: Option<TextFormat<'_>>) -> Format<'_> {
    let Some(of) = of else { return Format::Text };
    match (of.kind.as_deref(), of.schema) {
        (Some("json_schema"), Some(schema)) => {
            Format::Schema { name: of.name, description: of.description, schema, strict: of.strict }
        }
        (Some("json_object" | "json_schema"), _) => Format::Json,
        _ => Format::Text,
    }
}

fn reasoning(raw: &Raw<'_>) -> Reasoning {
    let of: ReasoningConfig<'_> = raw.read().unwrap_or_default();
    let show = of.summary.or(of.generate_summary).and_then(|word| match &*word {
        "auto" => Some(Show::Auto),
        "concise" => Some(Show::Concise),
        "detailed" => Some(Show::Detailed),
        _ => None,
    });
    Reasoning { show, ..words::effort_or_off(of.effort.as_deref()) }
}

/// The members an answer repeats, with what the official API puts where the request says nothing.
fn echo(body: &Body<'_>) -> String {
    let mut out = BytesMut::new();
    object(&mut out, |of| {
        of.text_or_null("instructions", body.instructions.as_deref());
        of.some_number("max_tool_calls", body.max_tool_calls);
        match body.max_output_tokens {
            Some(tokens) => of.number("max_output_tokens", tokens),
            None => of.null("max_output_tokens"),
        };
        of.flag("parallel_tool_calls", body.parallel_tool_calls.unwrap_or(true));
        of.null("previous_response_id").some("prompt_cache_key", body.prompt_cache_key.as_deref());
        of.raw("reasoning", body.reasoning.as_ref().unwrap_or(&NO_REASONING));
        of.some("safety_identifier", body.safety_identifier.as_deref());
        of.flag("store", false).some_float("temperature", Some(body.temperature.unwrap_or(1.0)));
        of.raw("text", body.text.map(Raw::of).as_ref().unwrap_or(&PLAIN_TEXT));
        of.raw("tool_choice", body.tool_choice.as_ref().unwrap_or(&AUTO));
        of.raw("tools", body.tools.map(Raw::of).as_ref().unwrap_or(&NO_TOOLS));
        of.number("top_logprobs", body.top_logprobs.unwrap_or(0));
        of.some_float("top_p", Some(body.top_p.unwrap_or(1.0)));
        of.text("truncation", body.truncation.as_deref().unwrap_or("disabled"));
        of.text_or_null("user", body.user.as_deref());
        of.raw("metadata", body.metadata.as_ref().unwrap_or(&NO_METADATA));
    });
    let written = String::from_utf8_lossy(&out);
    let inner = written.get(1..written.len().saturating_sub(1)).unwrap_or_default();
    format!(",{inner}")
}

const NO_REASONING: Raw<'static> = Raw::known("{\"effort\":null,\"summary\":null}");
const PLAIN_TEXT: Raw<'static> = Raw::known("{\"format\":{\"type\":\"text\"}}");
const AUTO: Raw<'static> = Raw::known("\"auto\"");
const NO_TOOLS: Raw<'static> = Raw::known("[]");
const NO_METADATA: Raw<'static> = Raw::known("{}");

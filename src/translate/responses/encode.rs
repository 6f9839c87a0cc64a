//! A request of responses, written. Nothing is kept at the provider: the conversation is all here.

use super::super::json::{Object, object};
use super::super::loss::{Field, Losses, Lost};
use super::super::names::{tool_name, user_id};
use super::super::unified::{
    Choice, Format, Keep, Protocol, Reasoning, Request, Role, Show, Thinking, Tool, ToolKind,
};
use super::super::{Target, chat, prompt, search, words};
use super::items;
use bytes::BytesMut;

/// Writes it.
pub(in crate::translate) fn request(
    request: &Request<'_>,
    target: &Target<'_>,
    losses: &mut Losses,
    out: &mut BytesMut,
) {
    object(out, |body| {
        conversation(request, target, body, losses);
        settings(request, body, losses);
        lost(request, losses);
        body.flag("store", false);
        let thinks = chat::encode::thinks(target.model) || request.reasoning.effort.is_some();
        let told = request.logprobs.is_some();
        if thinks || told {
            body.array("include", |list| {
                if thinks {
                    list.text("reasoning.encrypted_content");
                }
                if told {
                    list.text("message.output_text.logprobs");
                }
            });
        }
        if target.stream {
            body.flag("stream", true);
        }
    });
}

/// What the body of a request to count tokens has.
pub(in crate::translate) fn count(
    request: &Request<'_>,
    target: &Target<'_>,
    losses: &mut Losses,
    out: &mut BytesMut,
) {
    object(out, |body| conversation(request, target, body, losses));
}

fn conversation(request: &Request<'_>, target: &Target<'_>, body: &mut Object<'_>, losses: &mut Losses) {
    body.text("model", target.model);
    let mut turns = &*request.turns;
    if let [first, rest @ ..] = turns
        && first.role == Role::System
        && first.parts.iter().all(prompt::is_text)
    {
        let texts: Vec<&str> = prompt::texts(&first.parts).collect();
        body.text("instructions", &texts.join("\n\n"));
        turns = rest;
    }
    body.array("input", |list| items::write(turns, list, losses));
    tools(request, body, losses);
    let effort = words::openai_effort(&request.reasoning);
    let summary = summary(&request.reasoning);
    if effort.is_some() || summary.is_some() {
        body.object("reasoning", |of| {
            of.some("effort", effort).some("summary", summary);
        });
    }
    text(request, body);
}

/// Whoever turned thinking on wants to see it, unless they say otherwise.
fn summary(reasoning: &Reasoning) -> Option<&'static str> {
    match (reasoning.show, reasoning.thinking) {
        (Some(Show::Concise), _) => Some("concise"),
        (Some(Show::Detailed), _) => Some("detailed"),
        (Some(Show::Auto), _) | (None, Some(Thinking::Adaptive | Thinking::Budget(_))) => Some("auto"),
        (Some(Show::Nothing) | None, _) => None,
    }
}

fn tools(request: &Request<'_>, body: &mut Object<'_>, losses: &mut Losses) {
    let mut kept: Vec<&Tool<'_>> = Vec::new();
    let allowed = prompt::allowed(request);
    for (at, tool) in request.tools.iter().enumerate() {
        if tool.kind == ToolKind::Own {
            losses
                .dropped(format!("{}[{at}]", Field::Tools.spelled(request.source)), "a provider's own tool");
        } else if allowed.as_ref().is_none_or(|names| names.contains(&*tool.name)) {
            kept.push(tool);
        }
    }
    if kept.is_empty() {
        return;
    }
    body.array("tools", |list| {
        for tool in &kept {
            list.object(|of| match &tool.kind {
                ToolKind::Search(search) => search::responses(search, request, of, losses),
                _ => self::tool(tool, request.source, of),
            });
        }
    });
    // Its own tools are counted together, and the search is all it has of them here.
    body.some_number("max_tool_calls", search::asked(request).and_then(|(_, search)| search.uses));
    match prompt::choice(request) {
        None => {}
        Some(Choice::Auto) => {
            body.text("tool_choice", "auto");
        }
        Some(Choice::None) => {
            body.text("tool_choice", "none");
        }
        Some(Choice::Required | Choice::Among { .. }) => {
            body.text("tool_choice", "required");
        }
        Some(Choice::Named(name)) => {
            let kind = request.tool(&name).map(|tool| &tool.kind);
            body.object("tool_choice", |choice| match kind {
                // By itself it is no type of a choice, but it may be the only one allowed.
                Some(ToolKind::Search(_)) => {
                    choice.text("type", "allowed_tools").text("mode", "required").array("tools", |list| {
                        list.object(|tool| {
                            tool.text("type", search::NAME);
                        });
                    });
                }
                Some(ToolKind::Free { .. }) => {
                    choice.text("type", "custom").text("name", &tool_name(&name, Protocol::Responses));
                }
                _ => {
                    choice.text("type", "function").text("name", &tool_name(&name, Protocol::Responses));
                }
            });
        }
    }
    body.some_flag("parallel_tool_calls", request.parallel);
}

/// A function is strict here unless it says that it is not.
fn tool(tool: &Tool<'_>, source: Protocol, of: &mut Object<'_>) {
    let name = tool_name(&tool.name, Protocol::Responses);
    let is_free = matches!(tool.kind, ToolKind::Free { .. });
    of.text("type", if is_free { "custom" } else { "function" }).text("name", &name);
    of.some("description", tool.description.as_deref());
    match &tool.kind {
        ToolKind::Function { parameters, strict } => {
            of.raw("parameters", parameters.as_ref().unwrap_or(&words::NO_PARAMETERS));
            of.some_flag("strict", strict.or((source != Protocol::Responses).then_some(false)));
        }
        ToolKind::Free { grammar } => {
            of.some_raw("format", grammar.as_ref());
        }
        ToolKind::Search(_) | ToolKind::Own => {}
    }
}

fn text(request: &Request<'_>, body: &mut Object<'_>) {
    if request.format == Format::Text && request.verbosity.is_none() {
        return;
    }
    body.object("text", |text| {
        match &request.format {
            Format::Text => {}
            Format::Json => {
                text.object("format", |format| {
                    format.text("type", "json_object");
                });
            }
            Format::Schema { name, description, schema, strict } => {
                text.object("format", |format| {
                    format.text("type", "json_schema").text("name", name.as_deref().unwrap_or("answer"));
                    format.some("description", description.as_deref()).raw("schema", schema);
                    format.some_flag(
                        "strict",
                        strict.or((request.source != Protocol::Responses).then_some(false)),
                    );
                });
            }
        }
        text.some("verbosity", request.verbosity.map(words::verbosity_word));
    });
}

fn settings(request: &Request<'_>, body: &mut Object<'_>, losses: &mut Losses) {
    let sampling = &request.sampling;
    body.some_float("temperature", sampling.temperature).some_float("top_p", sampling.top_p);
    if request.max_tokens.is_some_and(|tokens| tokens < OUTPUT_TOKENS_MIN) {
        losses.field(Field::MaxTokens, Lost::Approximated, "16 is the least");
    }
    body.some_number("max_output_tokens", request.max_tokens.map(|tokens| tokens.max(OUTPUT_TOKENS_MIN)));
    body.some_number("top_logprobs", request.logprobs.and_then(|told| told.top));
    body.some("user", request.user.as_deref().map(user_id).as_deref());
    if !request.metadata.is_empty() {
        body.object("metadata", |metadata| {
            for (key, value) in &request.metadata {
                metadata.text(key, value);
            }
        });
    }
    body.some("service_tier", request.tier.map(chat::encode::tier));
    let by_user = || request.user.as_deref().filter(|_| request.source == Protocol::Anthropic).map(user_id);
    let key = request.cache.key.as_deref().map(Into::into).or_else(by_user);
    body.some("prompt_cache_key", key.as_deref());
    if request.source != Protocol::Anthropic && request.cache.keep == Some(Keep::Hour) {
        body.text("prompt_cache_retention", "24h");
    }
}

/// The least the official API takes.
const OUTPUT_TOKENS_MIN: u64 = 16;

fn lost(request: &Request<'_>, losses: &mut Losses) {
    let sampling = &request.sampling;
    let is_set = |value: Option<f64>| value.is_some_and(|value| value.abs() > f64::EPSILON);
    for (is_there, field) in [
        (!request.stops.is_empty(), Field::Stops),
        (sampling.top_k.is_some(), Field::TopK),
        (sampling.seed.is_some(), Field::Seed),
        (is_set(sampling.frequency_penalty), Field::FrequencyPenalty),
        (is_set(sampling.presence_penalty), Field::PresencePenalty),
        (sampling.logit_bias.as_ref().is_some_and(|bias| bias.json() != "{}"), Field::LogitBias),
    ] {
        if is_there {
            losses.field(field, Lost::Dropped, "responses has none");
        }
    }
}

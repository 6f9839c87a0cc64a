//! A request of chat completions, written.
//!
//! Written for any provider that speaks the protocol, not for OpenAI alone: instructions are `system` messages of one
//! text, tools are functions, and nothing is sent that the client did not ask for in some way.

use super::super::json::{Array, Object, Raw, object};
use super::super::loss::{Field, Losses, Lost};
use super::super::names::{call_id, tool_name, user_id};
use super::super::unified::{
    Call, Choice, Content, Format, Input, Media, Outcome, Part, Protocol, Request, Role, Source, Tier, Tool,
    ToolKind, Turn,
};
use super::super::{Target, prompt, search, words};
use bytes::BytesMut;

/// Writes it.
pub(in crate::translate) fn request(
    request: &Request<'_>,
    target: &Target<'_>,
    losses: &mut Losses,
    out: &mut BytesMut,
) {
    object(out, |body| {
        body.text("model", target.model);
        body.array("messages", |messages| self::messages(request, messages, losses));
        tools(request, target.model, body, losses);
        settings(request, target, body, losses);
        sampling(request, body, losses);
        if target.stream {
            body.flag("stream", true);
        }
        if target.stream && target.include_usage {
            body.object("stream_options", |options| {
                options.flag("include_usage", true);
            });
        }
    });
}

/// Instructions at the beginning are one message: many models' templates take no second one.
fn messages(request: &Request<'_>, messages: &mut Array<'_>, losses: &mut Losses) {
    let is_system = |turn: &Turn<'_>| matches!(turn.role, Role::System | Role::Developer);
    let leading = request.turns.iter().take_while(|turn| is_system(turn)).count();
    let (system, rest) = request.turns.split_at(leading);
    instructions(system, messages);
    let thoughts_from = prompt::thoughts_from(rest);
    for (at, turn) in rest.iter().enumerate() {
        match turn.role {
            Role::System | Role::Developer => instructions(std::slice::from_ref(turn), messages),
            Role::User => user(turn, messages, losses),
            Role::Model => model(turn, at >= thoughts_from, messages, losses),
        }
    }
}

fn instructions(turns: &[Turn<'_>], messages: &mut Array<'_>) {
    let texts: Vec<&str> = turns.iter().flat_map(|turn| prompt::texts(&turn.parts)).collect();
    if texts.is_empty() {
        return;
    }
    messages.object(|message| {
        message.text("role", "system").text("content", &texts.join("\n\n"));
        message.some("name", turns.first().and_then(|turn| turn.name.as_deref()));
    });
}

/// The results of tools have messages of their own, and hold text alone: pictures follow as the user's.
fn user(turn: &Turn<'_>, messages: &mut Array<'_>, losses: &mut Losses) {
    let mut rest: Vec<&Part<'_>> = Vec::new();
    let mut heads: Vec<Part<'_>> = Vec::new();
    let mut shown: Vec<(usize, &Part<'_>)> = Vec::new();
    for part in &turn.parts {
        let Content::Outcome(outcome) = &part.content else {
            rest.push(part);
            continue;
        };
        messages.object(|message| self::outcome(outcome, part, message, losses));
        let media: Vec<&Part<'_>> = outcome.parts.iter().filter(|part| !prompt::is_text(part)).collect();
        if !media.is_empty() {
            losses.part(
                part.place,
                "",
                Lost::Approximated,
                "a tool's result holds text alone: shown by the user",
            );
            heads.push(Part::text(format!("From the result of the tool call {}:", &*outcome.id)));
            shown.extend(media.into_iter().map(|part| (heads.len() - 1, part)));
        }
    }
    let mut all: Vec<&Part<'_>> = Vec::new();
    for (at, head) in heads.iter().enumerate() {
        all.push(head);
        all.extend(shown.iter().filter(|(of, _)| *of == at).map(|(_, part)| *part));
    }
    all.extend(rest);
    let only_outcomes = all.is_empty() && !turn.parts.is_empty();
    if !only_outcomes {
        messages.object(|message| {
            message.text("role", "user");
            user_content(&all, message, losses);
            message.some("name", turn.name.as_deref());
        });
    }
}

fn user_content(parts: &[&Part<'_>], message: &mut Object<'_>, losses: &mut Losses) {
    match parts {
        [] => {
            message.text("content", "");
        }
        [Part { content: Content::Text { text, .. }, .. }] => {
            message.text("content", text);
        }
        parts => {
            message.array("content", |pieces| {
                for part in parts {
                    piece(part, pieces, losses);
                }
            });
        }
    }
}

fn piece(part: &Part<'_>, pieces: &mut Array<'_>, losses: &mut Losses) {
    match &part.content {
        Content::Text { text, .. } | Content::Refusal(text) => pieces.object(|piece| {
            piece.text("type", "text").text("text", text);
        }),
        Content::Image(of) if !matches!(of.source, Source::File(_)) => pieces.object(|piece| {
            piece.text("type", "image_url").object("image_url", |image| {
                of.write_url("url", "image/png", image);
                image.some("detail", of.detail.as_deref());
            });
        }),
        Content::Audio(of) if audio_format(of).is_some() => pieces.object(|piece| {
            piece.text("type", "input_audio").object("input_audio", |audio| {
                if let (Source::Base64(data), Some(format)) = (&of.source, audio_format(of)) {
                    audio.text("data", data).text("format", format);
                }
            });
        }),
        Content::Document { media, context, .. } => {
            losses.citations(part);
            document(media, context.as_deref(), part, pieces, losses);
        }
        Content::Image(_) | Content::Audio(_) | Content::Video(_) => {
            losses.refuse(part.place, "It is in a form that chat completions does not take.");
        }
        Content::Call(_) | Content::Outcome(_) | Content::Reasoning { .. } => {}
    }
}

/// Sound is taken as `wav` or `mp3`, in base64.
fn audio_format(of: &Media<'_>) -> Option<&'static str> {
    matches!(of.source, Source::Base64(_)).then_some(())?;
    match of.mime.as_deref()? {
        "audio/wav" | "audio/x-wav" | "audio/wave" => Some("wav"),
        "audio/mp3" | "audio/mpeg" => Some("mp3"),
        _ => None,
    }
}

fn document(
    of: &Media<'_>,
    context: Option<&str>,
    part: &Part<'_>,
    pieces: &mut Array<'_>,
    losses: &mut Losses,
) {
    if let Some(context) = context {
        pieces.object(|piece| {
            piece.text("type", "text").text("text", context);
        });
    }
    match &of.source {
        Source::Plain(text) => pieces.object(|piece| {
            let title = of.name.as_deref().unwrap_or("Document");
            piece.text("type", "text").pieces("text", &[title, ":\n\n", text]);
        }),
        Source::Base64(_) => pieces.object(|piece| {
            piece.text("type", "file").object("file", |file| {
                file.text("filename", &of.file_name());
                of.write_url("file_data", "application/pdf", file);
            });
        }),
        Source::Url(_) | Source::File(_) => {
            losses.refuse(part.place, "Chat completions takes files as base64 alone.");
        }
    }
}

fn outcome(of: &Outcome<'_>, part: &Part<'_>, message: &mut Object<'_>, losses: &mut Losses) {
    message.text("role", "tool").text("tool_call_id", &call_id(&of.id, Protocol::Chat));
    let texts: Vec<&str> = prompt::texts(&of.parts).collect();
    let mut text = texts.join("\n");
    if of.error && !text.to_ascii_lowercase().starts_with("error") {
        losses.part(part.place, ".is_error", Lost::Approximated, "said in the result's text");
        text.insert_str(0, if text.is_empty() { "Error" } else { "Error: " });
    }
    message.text("content", &text);
}

/// Thinking goes back within the round of tools it belongs to, unsigned as it came.
fn model(turn: &Turn<'_>, with_thoughts: bool, messages: &mut Array<'_>, losses: &mut Losses) {
    let (mut said, mut refused, mut thoughts) = (String::new(), String::new(), String::new());
    let mut calls = Vec::new();
    for part in &turn.parts {
        match &part.content {
            Content::Text { text, .. } => {
                losses.citations(part);
                said.push_str(text);
            }
            Content::Refusal(text) => refused.push_str(text),
            Content::Call(call) => calls.push(call),
            Content::Reasoning { text, signature: None } if with_thoughts => thoughts.push_str(text),
            Content::Reasoning { signature: None, .. } => {}
            Content::Reasoning { .. } => {
                losses.part(part.place, "", Lost::Dropped, "thinking that another provider signed");
            }
            _ => losses.part(part.place, "", Lost::Dropped, "not a thing the model says in chat completions"),
        }
    }
    if said.is_empty() && refused.is_empty() && calls.is_empty() && !turn.parts.is_empty() {
        return;
    }
    messages.object(|message| {
        message.text("role", "assistant");
        if said.is_empty() && (!calls.is_empty() || !refused.is_empty()) {
            message.null("content");
        } else {
            message.text("content", &said);
        }
        message.some("refusal", Some(&*refused).filter(|text| !text.is_empty()));
        message.some("reasoning_content", Some(&*thoughts).filter(|text| !text.is_empty()));
        message.some("name", turn.name.as_deref());
        if !calls.is_empty() {
            message.array("tool_calls", |list| {
                for call in calls {
                    list.object(|of| self::call(call, of));
                }
            });
        }
    });
}

/// A call of a tool, as a message of the model has it.
pub(in crate::translate) fn call(call: &Call<'_>, of: &mut Object<'_>) {
    of.text("id", &call_id(&call.id, Protocol::Chat)).text("type", "function").object(
        "function",
        |function| {
            function.text("name", &tool_name(&call.name, Protocol::Chat));
            match &call.input {
                Input::Json(raw) => {
                    function.text("arguments", raw.json());
                }
                Input::Text { text, .. } => {
                    function.text("arguments", &prompt::as_input(text));
                }
            }
        },
    );
}

fn tools(request: &Request<'_>, model: &str, body: &mut Object<'_>, losses: &mut Losses) {
    let tools: Vec<&Tool<'_>> = prompt::tools(request, losses);
    search::chat(request, model, body, losses);
    if tools.is_empty() {
        return;
    }
    body.array("tools", |list| {
        for tool in tools {
            list.object(|of| {
                of.text("type", "function").object("function", |function| self::function(tool, function));
            });
        }
    });
    match prompt::choice(request) {
        None => {}
        Some(Choice::Named(name)) => {
            body.object("tool_choice", |choice| {
                choice.text("type", "function").object("function", |function| {
                    function.text("name", &tool_name(&name, Protocol::Chat));
                });
            });
        }
        Some(Choice::Auto) => {
            body.text("tool_choice", "auto");
        }
        Some(Choice::None) => {
            body.text("tool_choice", "none");
        }
        Some(Choice::Required | Choice::Among { .. }) => {
            body.text("tool_choice", "required");
        }
    }
    body.some_flag("parallel_tool_calls", request.parallel);
}

fn function(tool: &Tool<'_>, function: &mut Object<'_>) {
    function.text("name", &tool_name(&tool.name, Protocol::Chat));
    function.some("description", prompt::description(tool).as_deref());
    match &tool.kind {
        ToolKind::Function { parameters, strict } => {
            function.raw("parameters", parameters.as_ref().unwrap_or(&words::NO_PARAMETERS));
            function.some_flag("strict", *strict);
        }
        _ => {
            function.raw("parameters", &prompt::FREE_INPUT);
        }
    }
}

fn settings(request: &Request<'_>, target: &Target<'_>, body: &mut Object<'_>, losses: &mut Losses) {
    match &request.format {
        Format::Text => {}
        Format::Json => {
            body.object("response_format", |format| {
                format.text("type", "json_object");
            });
        }
        Format::Schema { name, description, schema, strict } => {
            body.object("response_format", |format| {
                format.text("type", "json_schema").object("json_schema", |of| {
                    of.text("name", name.as_deref().unwrap_or("answer"));
                    of.some("description", description.as_deref());
                    of.raw("schema", schema).some_flag("strict", *strict);
                });
            });
        }
    }
    body.some("verbosity", request.verbosity.map(words::verbosity_word));
    body.some("reasoning_effort", words::openai_effort(&request.reasoning));
    let member = if thinks(target.model) { "max_completion_tokens" } else { "max_tokens" };
    body.some_number(member, request.max_tokens);
    body.some("user", request.user.as_deref().map(user_id).as_deref());
    if !request.metadata.is_empty() {
        losses.field(Field::Metadata, Lost::Dropped, "chat completions takes labels of what it keeps alone");
    }
    body.some("service_tier", request.tier.map(tier));
    body.some("prompt_cache_key", request.cache.key.as_deref());
    if request.source != Protocol::Anthropic && request.cache.keep == Some(super::super::unified::Keep::Hour)
    {
        body.text("prompt_cache_retention", "24h");
    }
}

/// OpenAI's models that think take no `max_tokens`; most other providers know nothing else.
pub(in crate::translate) fn thinks(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    let begins = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    let gpt = name.strip_prefix("gpt-").is_some_and(|rest| begins(rest) && !rest.starts_with(['3', '4']));
    gpt || name.strip_prefix('o').is_some_and(begins)
}

/// OpenAI's word for it.
pub(in crate::translate) fn tier(tier: Tier) -> &'static str {
    match tier {
        Tier::Auto => "auto",
        Tier::Standard => "default",
        Tier::Flex => "flex",
        Tier::Priority => "priority",
    }
}

fn sampling(request: &Request<'_>, body: &mut Object<'_>, losses: &mut Losses) {
    let sampling = &request.sampling;
    body.some_float("temperature", sampling.temperature);
    body.some_float("top_p", sampling.top_p);
    body.some_float("frequency_penalty", sampling.frequency_penalty);
    body.some_float("presence_penalty", sampling.presence_penalty);
    if let Some(seed) = sampling.seed {
        body.raw("seed", &Raw::from_number(seed));
    }
    body.some_raw("logit_bias", sampling.logit_bias.as_ref());
    if sampling.top_k.is_some() {
        losses.field(Field::TopK, Lost::Dropped, "chat completions has no top_k");
    }
    match request.stops.as_slice() {
        [] => {}
        [one] => {
            body.text("stop", one);
        }
        several => {
            if several.len() > STOPS_MAX {
                losses.field(Field::Stops, Lost::Approximated, "chat completions takes four");
            }
            body.array("stop", |list| several.iter().take(STOPS_MAX).for_each(|stop| list.text(stop)));
        }
    }
    if let Some(told) = request.logprobs {
        body.flag("logprobs", true).some_number("top_logprobs", told.top);
    }
}

/// As many as the official API takes.
const STOPS_MAX: usize = 4;

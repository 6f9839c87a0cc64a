//! A whole answer of chat completions, read and written.

use super::super::fault::Fault;
use super::super::free::unwrapped;
use super::super::json::{Many, Raw, Text, message, object};
use super::super::loss::Losses;
use super::super::unified::{Answer, Call, Citation, Content, FreeCalls, Input, Part, Signer, Stop};
use super::super::{Back, Client, logprobs, usage, words};
use super::turns::{call, cited};
use super::{Annotation, Piece, ToolCall, encode};
use crate::protocol::Grammar;
use crate::protocol::observe::counted;
use bytes::BytesMut;

message! {
    Whole {
        id: Text<'a>,
        model: Text<'a>,
        choices: Vec<Choice<'a>>,
        usage: &'a serde_json::value::RawValue,
        error: Raw<'a>,
    }
}

message! {
    Choice {
        index: u64,
        message: Box<Said<'a>>,
        delta: Said<'a>,
        finish_reason: Text<'a>,
        logprobs: Logprobs<'a>,
    }
}

message! {
    Said {
        role: Text<'a>,
        content: Many<'a, Piece<'a>>,
        refusal: Text<'a>,
        reasoning_content: Text<'a>,
        reasoning: Text<'a>,
        tool_calls: Vec<ToolCall<'a>>,
        annotations: Vec<Annotation<'a>>,
    }
}

message! { Logprobs { content: Raw<'a>, refusal: Raw<'a> } }

/// Reads it.
pub(in crate::translate) fn read<'a>(body: &'a [u8], back: &Back) -> Result<Answer<'a>, Fault<'static>> {
    let whole: Whole<'_> = serde_json::from_slice(body).map_err(|_| Fault::read(502, body))?;
    if whole.error.is_some() {
        return Err(Fault::read(0, body));
    }
    let choice = whole.choices.into_iter().flatten().find(|choice| choice.index.unwrap_or(0) == 0);
    let Some(choice) = choice else { return Err(Fault::new(502, "The AI provider gave no answer.")) };
    let mut parts = Vec::new();
    let said = *choice.message.unwrap_or_default();
    if let Some(text) = said.reasoning_content.or(said.reasoning).filter(|text| !text.is_empty()) {
        parts.push(Part::new(Content::Reasoning { text, signature: None }));
    }
    if let Some(text) = said.content.map(joined).filter(|text| !text.is_empty()) {
        parts.push(Part::new(Content::Text { text, citations: cited(said.annotations) }));
    }
    if let Some(text) = said.refusal.filter(|text| !text.is_empty()) {
        parts.push(Part::new(Content::Refusal(text)));
    }
    let calls = said.tool_calls.unwrap_or_default();
    let called = !calls.is_empty();
    for (at, of) in calls.into_iter().enumerate() {
        parts.push(Part::new(Content::Call(back_again(call(of), at, back))));
    }
    Ok(Answer {
        id: whole.id.unwrap_or_default(),
        model: whole.model.unwrap_or_default(),
        parts,
        stop: stop(choice.finish_reason.as_deref(), called).ok_or_else(Fault::unfinished)?,
        usage: whole.usage.and_then(|raw| counted(Grammar::Chat, raw, None)),
        logprobs: choice.logprobs.and_then(|told| told.content.or(told.refusal)),
    })
}

/// A call under the client's name for the tool.
pub(in crate::translate) fn back_again<'a>(call: Call<'a>, at: usize, back: &Back) -> Call<'a> {
    let id = if call.id.is_empty() { format!("call_{}_{at}", back.id).into() } else { call.id };
    let input = match call.input {
        Input::Json(raw) if back.names.is_free(&call.name) => {
            Input::Text { text: unwrapped(Text::from(raw.cow().into_owned())), free: true }
        }
        other => other,
    };
    Call { id, name: back.names.original(call.name), input }
}

/// Some providers send a list of texts.
pub(in crate::translate) fn joined<'a>(content: Many<'a, Piece<'a>>) -> Text<'a> {
    match content {
        Many::Text(text) => text,
        Many::List(list) => {
            let texts: Vec<String> =
                list.into_iter().filter_map(|piece| piece.text).map(Text::into_string).collect();
            texts.concat().into()
        }
    }
}

/// Why it stopped; `None`: the provider could not go on.
pub(in crate::translate) fn stop(reason: Option<&str>, called: bool) -> Option<Stop<'static>> {
    Some(match reason {
        Some("length") => Stop::MaxTokens,
        Some("tool_calls" | "function_call") => Stop::ToolUse,
        Some("content_filter") => Stop::Refusal,
        Some("model_context_window_exceeded") => Stop::ContextFull,
        Some("error" | "insufficient_system_resource") => return None,
        // Some providers say `stop` whatever the model did.
        _ if called => Stop::ToolUse,
        _ => Stop::End,
    })
}

pub(in crate::translate) fn stop_word(stop: &Stop<'_>) -> &'static str {
    match stop {
        Stop::End | Stop::Sequence(_) | Stop::Pause => "stop",
        Stop::MaxTokens | Stop::ContextFull => "length",
        Stop::ToolUse => "tool_calls",
        Stop::Refusal => "content_filter",
    }
}

/// Writes it.
pub(in crate::translate) fn write(
    answer: &Answer<'_>,
    client: &Client,
    losses: &mut Losses,
    out: &mut BytesMut,
) {
    object(out, |body| {
        body.pieces("id", &["chatcmpl-", &client.id]).text("object", "chat.completion");
        body.number("created", client.created).text("model", &client.model);
        body.array("choices", |choices| {
            choices.object(|choice| {
                choice.number("index", 0);
                choice.object("message", |message| {
                    self::message(answer, client.free_calls, message, losses);
                });
                match &answer.logprobs {
                    Some(told) => choice.object("logprobs", |of| {
                        of.array("content", |list| logprobs::openai(told, list)).null("refusal");
                    }),
                    None => choice.null("logprobs"),
                };
                choice.text("finish_reason", stop_word(&answer.stop));
            });
        });
        body.object("usage", |of| usage::chat(&answer.usage.unwrap_or_default(), of));
    });
}

fn message(
    answer: &Answer<'_>,
    free_calls: FreeCalls,
    message: &mut super::super::json::Object<'_>,
    losses: &mut Losses,
) {
    let (mut said, mut refused, mut thoughts) = (String::new(), String::new(), String::new());
    let mut calls = Vec::new();
    let mut citations: Vec<(usize, usize, &Citation<'_>)> = Vec::new();
    for part in &answer.parts {
        match &part.content {
            Content::Text { text, citations: of } => {
                let start = said.chars().count();
                said.push_str(text);
                citations.extend(of.iter().map(|citation| (start, said.chars().count(), citation)));
            }
            Content::Refusal(text) => refused.push_str(text),
            Content::Call(call) => calls.push(call),
            Content::Reasoning { text, signature } => {
                thoughts.push_str(text);
                if signature.as_ref().is_some_and(|signature| signature.signer != Signer::OpenAi) {
                    losses.dropped("signature", "chat completions has no place for signed thinking");
                }
            }
            _ => losses.dropped("content", "chat completions answers in text alone"),
        }
    }
    message.text("role", "assistant");
    let said = Some(&*said).filter(|said| !said.is_empty() || (calls.is_empty() && refused.is_empty()));
    message.text_or_null("content", said);
    message.text_or_null("refusal", Some(&*refused).filter(|text| !text.is_empty()));
    message.some("reasoning_content", Some(&*thoughts).filter(|text| !text.is_empty()));
    message.array("annotations", |list| {
        for (start, end, citation) in citations {
            annotation(citation, (start, end), list, losses);
        }
    });
    if !calls.is_empty() {
        message.array("tool_calls", |list| {
            for call in calls {
                list.object(|of| told(call, free_calls, of));
            }
        });
    }
}

/// A call in the client's own form: free text where the tool takes that.
fn told(call: &Call<'_>, free_calls: FreeCalls, of: &mut super::super::json::Object<'_>) {
    let Input::Text { text, free: true } = &call.input else {
        return encode::call(call, of);
    };
    if free_calls == FreeCalls::Function {
        of.text("id", &call.id).text("type", "function").object("function", |function| {
            function.text("name", &call.name).text("arguments", text);
        });
        return;
    }
    of.text("id", &call.id).text("type", "custom").object("custom", |custom| {
        custom.text("name", &call.name).text("input", text);
    });
}

/// A citation with an address; `at` is where the cited text is.
pub(in crate::translate) fn annotation(
    citation: &Citation<'_>,
    at: (usize, usize),
    list: &mut super::super::json::Array<'_>,
    losses: &mut Losses,
) {
    let Some(url) = citation.url.as_deref() else {
        losses.dropped("citations", "chat completions cites addresses alone");
        return;
    };
    let (start, end) = words::span(citation, at);
    list.object(|annotation| {
        annotation.text("type", "url_citation").object("url_citation", |of| {
            of.number("start_index", start).number("end_index", end);
            of.text("url", url).text("title", citation.title.as_deref().unwrap_or(url));
        });
    });
}

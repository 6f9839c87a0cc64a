//! A whole answer of Anthropic's messages, read and written.

use super::super::fault::Fault;
use super::super::json::{Object, Raw, Text, message, object};
use super::super::loss::Losses;
use super::super::unified::{Answer, Citation, Content, Part, Signature, Signer, Stop};
use super::super::{Back, Client, signature, usage};
use super::{Block, blocks, citations, turns};
use crate::protocol::Grammar;
use crate::protocol::observe::counted;
use crate::translate::chat::answer::back_again;
use crate::translate::unified::Protocol;
use bytes::BytesMut;

message! {
    Whole {
        kind["type"]: Text<'a>,
        id: Text<'a>,
        model: Text<'a>,
        content: Vec<Block<'a>>,
        stop_reason: Text<'a>,
        stop_sequence: Text<'a>,
        usage: &'a serde_json::value::RawValue,
    }
}

/// Reads it.
pub(in crate::translate) fn read<'a>(body: &'a [u8], back: &Back) -> Result<Answer<'a>, Fault<'static>> {
    let whole: Whole<'_> = serde_json::from_slice(body).map_err(|_| Fault::read(502, body))?;
    if whole.kind.as_deref() == Some("error") {
        return Err(Fault::read(0, body));
    }
    let mut parts = Vec::new();
    for block in whole.content.unwrap_or_default() {
        let at = parts.len();
        parts.extend(part(block, at, back));
    }
    Ok(Answer {
        id: whole.id.unwrap_or_default(),
        model: whole.model.unwrap_or_default(),
        parts,
        stop: stop(whole.stop_reason.as_deref(), whole.stop_sequence),
        usage: whole.usage.and_then(|raw| counted(Grammar::Messages, raw, None)),
        logprobs: None,
    })
}

/// A block of an answer; what Anthropic's own tools say in between is not the model's.
fn part<'a>(block: Block<'a>, at: usize, back: &Back) -> Option<Part<'a>> {
    Some(Part::new(match block.kind.as_deref()? {
        "text" => {
            let citations = citations(block.citations.as_ref());
            let text = block.text.unwrap_or_default();
            if text.is_empty() {
                return None;
            }
            Content::Text { text, citations }
        }
        "thinking" => Content::Reasoning {
            text: block.thinking.unwrap_or_default(),
            signature: block.signature.and_then(|of| signature::opened(of, Signer::Anthropic)),
        },
        "redacted_thinking" => Content::Reasoning {
            text: Text::default(),
            signature: Some(Signature { signer: Signer::Redacted, data: block.data.unwrap_or_default() }),
        },
        "tool_use" => Content::Call(back_again(turns::call(block), at, back)),
        _ => return None,
    }))
}

pub(super) fn stop<'a>(reason: Option<&str>, sequence: Option<Text<'a>>) -> Stop<'a> {
    match reason {
        Some("max_tokens") => Stop::MaxTokens,
        Some("stop_sequence") => Stop::Sequence(sequence),
        Some("tool_use") => Stop::ToolUse,
        Some("refusal") => Stop::Refusal,
        Some("pause_turn") => Stop::Pause,
        Some("model_context_window_exceeded") => Stop::ContextFull,
        _ => Stop::End,
    }
}

pub(super) fn stop_word(stop: &Stop<'_>) -> &'static str {
    match stop {
        Stop::End => "end_turn",
        Stop::MaxTokens => "max_tokens",
        Stop::Sequence(_) => "stop_sequence",
        Stop::ToolUse => "tool_use",
        Stop::Refusal => "refusal",
        Stop::Pause => "pause_turn",
        Stop::ContextFull => "model_context_window_exceeded",
    }
}

/// Why it stopped.
pub(super) fn stopped(stop: &Stop<'_>, of: &mut Object<'_>) {
    of.text("stop_reason", stop_word(stop));
    match stop {
        Stop::Sequence(sequence) => of.text_or_null("stop_sequence", sequence.as_deref()),
        _ => of.null("stop_sequence"),
    };
}

/// Writes it.
pub(in crate::translate) fn write(
    answer: &Answer<'_>,
    client: &Client,
    losses: &mut Losses,
    out: &mut BytesMut,
) {
    object(out, |body| {
        body.pieces("id", &["msg_", &client.id]).text("type", "message").text("role", "assistant");
        body.text("model", &client.model);
        body.array("content", |content| {
            for part in until_last(&answer.parts, losses) {
                if !is_said(part, losses) {
                    continue;
                }
                content.object(|block| said(part, block));
            }
        });
        if answer.logprobs.is_some() {
            losses.dropped("logprobs", "Anthropic has none");
        }
        stopped(&answer.stop, body);
        body.object("usage", |of| usage::anthropic(&answer.usage.unwrap_or_default(), of));
    });
}

/// Why a signature at the end is left out.
pub(super) const LAST: &str = "a message of Anthropic's does not end with thinking";

/// The parts without what is nothing but a signature after everything that is said.
fn until_last<'p, 'a>(parts: &'p [Part<'a>], losses: &mut Losses) -> &'p [Part<'a>] {
    let is_mark = |part: &Part<'_>| matches!(&part.content, Content::Reasoning { text, signature: Some(of) } if text.is_empty() && of.signer != Signer::Redacted);
    let Some(last) = parts.iter().rposition(|part| !is_mark(part)) else { return parts };
    if last + 1 < parts.len() {
        losses.dropped("signature", LAST);
    }
    parts.get(..=last).unwrap_or(parts)
}

fn is_said(part: &Part<'_>, losses: &mut Losses) -> bool {
    match &part.content {
        Content::Text { text, citations } => {
            if citations.iter().any(|of| !is_cited(of)) {
                losses.dropped("citations", "Anthropic cites addresses, and what it was shown");
            }
            !text.is_empty()
        }
        Content::Refusal(text) => !text.is_empty(),
        Content::Call(_) | Content::Reasoning { .. } => true,
        _ => {
            losses.dropped("content", "Anthropic answers in text alone");
            false
        }
    }
}

fn said(part: &Part<'_>, block: &mut Object<'_>) {
    match &part.content {
        Content::Text { text, citations } => {
            block.text("type", "text").text("text", text);
            if citations.iter().any(is_cited) {
                block.array("citations", |list| {
                    for of in citations.iter().filter(|of| is_cited(of)) {
                        list.value(|out| out.extend_from_slice(citation(of).json().as_bytes()));
                    }
                });
            } else {
                block.null("citations");
            }
        }
        Content::Refusal(text) => {
            block.text("type", "text").text("text", text).null("citations");
        }
        Content::Call(call) => blocks::call(call, block),
        Content::Reasoning { text, signature: Some(signature) } => blocks::thinking(text, signature, block),
        Content::Reasoning { text, signature: None } => {
            block.text("type", "thinking").text("thinking", text).text("signature", "");
        }
        _ => {}
    }
}

/// Whether there is a form for it: its own, or that of an address.
pub(super) fn is_cited(of: &Citation<'_>) -> bool {
    of.anthropic.is_some() || of.url.is_some()
}

/// A citation as Anthropic writes it: its own, or of a page of the web.
pub(super) fn citation(of: &Citation<'_>) -> Raw<'static> {
    if let Some(raw) = &of.anthropic {
        return raw.clone().into_owned();
    }
    let mut out = BytesMut::new();
    object(&mut out, |citation| {
        let url = of.url.as_deref().unwrap_or_default();
        citation.text("type", "web_search_result_location").text("url", url);
        citation.text_or_null("title", of.title.as_deref());
        citation.text("cited_text", of.quote.as_deref().unwrap_or_default()).text("encrypted_index", "");
    });
    let text = String::from_utf8_lossy(&out).into_owned();
    Raw::object(text.into()).unwrap_or(Raw::known("{}"))
}

/// What a signature is to a client of this protocol.
pub(super) fn carried(of: &Signature<'_>) -> String {
    signature::sealed(of, Protocol::Anthropic).unwrap_or_default()
}

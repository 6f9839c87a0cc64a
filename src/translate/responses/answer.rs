//! A whole answer of responses, read and written.

use super::super::fault::Fault;
use super::super::json::{Many, Object, Raw, Text, message, object};
use super::super::logprobs::joined;
use super::super::loss::Losses;
use super::super::unified::{Answer, Call, Content, Input, Media, Part, Stop};
use super::super::{Back, Client};
use super::output::{Called, Envelope, image, item_id, output_text, reasoning};
use super::turns::{call, cited, reasoning as thought};
use super::{Item, output};
use crate::protocol::Grammar;
use crate::protocol::observe::counted;
use crate::translate::chat::answer::back_again;
use bytes::BytesMut;

message! {
    Whole {
        id: Text<'a>,
        model: Text<'a>,
        status: Text<'a>,
        output: Vec<Item<'a>>,
        incomplete_details: Details<'a>,
        error: Raw<'a>,
        usage: &'a serde_json::value::RawValue,
    }
}

message! { Details { reason: Text<'a> } }

/// Reads it.
pub(in crate::translate) fn read<'a>(body: &'a [u8], back: &Back) -> Result<Answer<'a>, Fault<'static>> {
    let whole: Whole<'_> = serde_json::from_slice(body).map_err(|_| Fault::read(502, body))?;
    if whole.error.is_some() || whole.status.as_deref() == Some("failed") {
        return Err(Fault::read(0, body));
    }
    let reason = whole.incomplete_details.as_ref().and_then(|details| details.reason.as_deref());
    let mut answer = Answer {
        id: whole.id.unwrap_or_default(),
        model: whole.model.unwrap_or_default(),
        usage: whole.usage.and_then(|raw| counted(Grammar::Responses, raw, None)),
        ..Answer::default()
    };
    for item in whole.output.unwrap_or_default() {
        add(item, &mut answer, back);
    }
    let called = answer.parts.iter().any(|part| matches!(part.content, Content::Call(_)));
    answer.stop = stop(whole.status.as_deref(), reason, called).ok_or_else(Fault::unfinished)?;
    Ok(answer)
}

/// Why it stopped; `None`: the provider could not go on.
pub(super) fn stop(status: Option<&str>, reason: Option<&str>, called: bool) -> Option<Stop<'static>> {
    Some(match (status, reason) {
        (Some("incomplete"), Some("content_filter")) => Stop::Refusal,
        (Some("incomplete"), _) => Stop::MaxTokens,
        (Some("failed" | "cancelled"), _) => return None,
        _ if called => Stop::ToolUse,
        _ => Stop::End,
    })
}

fn add<'a>(item: Item<'a>, answer: &mut Answer<'a>, back: &Back) {
    match item.kind.as_deref() {
        Some("message") => {
            let Some(Many::List(pieces)) = item.content else { return };
            for piece in pieces {
                if let Some(text) = piece.text.filter(|text| !text.is_empty()) {
                    if let Some(told) = piece.logprobs.filter(|raw| raw.json() != "[]") {
                        let before = answer.logprobs.take().map(Raw::into_owned);
                        answer.logprobs = Some(joined(before, &told));
                    }
                    answer.parts.push(Part::new(Content::Text { text, citations: cited(piece.annotations) }));
                } else if let Some(text) = piece.refusal {
                    answer.parts.push(Part::new(Content::Refusal(text)));
                }
            }
        }
        Some("function_call" | "custom_tool_call") => {
            let at = answer.parts.len();
            answer.parts.push(Part::new(Content::Call(back_again(call(item), at, back))));
        }
        Some("reasoning") => {
            let content = thought(item);
            if !matches!(&content, Content::Reasoning { text, signature: None } if text.is_empty()) {
                answer.parts.push(Part::new(content));
            }
        }
        Some("image_generation_call") => {
            let media = Media::bytes(Some("image/png".into()), item.result.unwrap_or_default());
            answer.parts.push(Part::new(Content::Image(media)));
        }
        _ => {}
    }
}

/// Writes it.
pub(in crate::translate) fn write(
    answer: &Answer<'_>,
    client: &Client,
    losses: &mut Losses,
    out: &mut BytesMut,
) {
    let envelope = Envelope::stopped(client, &answer.stop, answer.usage);
    let mut logprobs = answer.logprobs.as_ref();
    object(out, |body| {
        envelope.write(body, |list| {
            for (at, part) in (0..).zip(&answer.parts) {
                if matches!(
                    part.content,
                    Content::Audio(_) | Content::Video(_) | Content::Document { .. } | Content::Outcome(_)
                ) {
                    losses.dropped("content", "responses answers in texts, calls and pictures");
                    continue;
                }
                let told = if matches!(part.content, Content::Text { .. }) { logprobs.take() } else { None };
                list.object(|item| self::item(&part.content, told, (client, at), item, losses));
            }
        });
    });
}

fn item(
    content: &Content<'_>,
    told: Option<&Raw<'_>>,
    (client, at): (&Client, u64),
    item: &mut Object<'_>,
    losses: &mut Losses,
) {
    let id = |kind: &str| item_id(client, kind, at);
    match content {
        Content::Text { text, citations } => output::message(
            &id("msg"),
            "completed",
            |list| list.object(|part| output_text(text, citations, told, part, losses)),
            item,
        ),
        Content::Refusal(text) => output::message(
            &id("msg"),
            "completed",
            |list| {
                list.object(|part| {
                    part.text("type", "refusal").text("refusal", text);
                });
            },
            item,
        ),
        Content::Call(Call { id: call, name, input }) => {
            let (text, free) = match input {
                Input::Json(raw) => (raw.json(), false),
                Input::Text { text, free } => (&**text, *free),
            };
            let own = id(if free { "ctc" } else { "fc" });
            Called { item: &own, id: call, name, free }.write(client, "completed", text, item);
        }
        Content::Reasoning { text, signature } => reasoning(&id("rs"), text, signature.as_ref(), item),
        Content::Image(of) => image(&id("ig"), of, item),
        _ => {}
    }
}

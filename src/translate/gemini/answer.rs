//! A whole answer of generateContent, read and written.

use super::super::fault::Fault;
use super::super::json::{Object, Raw, Text, array, message, object};
use super::super::loss::Losses;
use super::super::unified::{Answer, Call, Citation, Content, Part, Place, Signature, Source, Stop};
use super::super::{Back, Client, logprobs, signature, usage};
use super::{ContentOf, contents, turns};
use crate::protocol::Grammar;
use crate::protocol::observe::counted;
use crate::translate::chat::answer::back_again;
use crate::translate::unified::Protocol;
use bytes::BytesMut;

message! {
    Whole {
        candidates: Vec<Candidate<'a>>,
        feedback["promptFeedback"]: Feedback<'a>,
        usage["usageMetadata"]: &'a serde_json::value::RawValue,
        model["modelVersion"]: Text<'a>,
        id["responseId"]: Text<'a>,
        error: Raw<'a>,
    }
}

message! { Feedback { blocked["blockReason"]: Text<'a>, message["blockReasonMessage"]: Text<'a> } }

message! {
    Candidate {
        index: u64,
        content: ContentOf<'a>,
        finish["finishReason"]: Text<'a>,
        grounding["groundingMetadata"]: Grounding<'a>,
        logprobs["logprobsResult"]: Raw<'a>,
    }
}

message! {
    Grounding {
        chunks["groundingChunks"]: Vec<Chunk<'a>>,
        supports["groundingSupports"]: Vec<Support<'a>>,
    }
}

message! { Chunk { web: Web<'a> } }
message! { Web { uri: Text<'a>, title: Text<'a> } }
message! { Support { segment: Segment<'a>, chunks["groundingChunkIndices"]: Vec<usize> } }
message! { Segment { text: Text<'a> } }

/// Reads it.
pub(in crate::translate) fn read<'a>(body: &'a [u8], back: &Back) -> Result<Answer<'a>, Fault<'static>> {
    let whole: Whole<'_> = serde_json::from_slice(body).map_err(|_| Fault::read(502, body))?;
    if whole.error.is_some() {
        return Err(Fault::read(0, body));
    }
    let mut answer = Answer {
        id: whole.id.unwrap_or_default(),
        model: whole.model.unwrap_or_default(),
        usage: whole.usage.and_then(|raw| counted(Grammar::Gemini, raw, None)),
        ..Answer::default()
    };
    let candidate =
        whole.candidates.into_iter().flatten().find(|candidate| candidate.index.unwrap_or(0) == 0);
    let Some(candidate) = candidate else {
        if whole.feedback.and_then(|feedback| feedback.blocked).is_none() {
            return Err(Fault::new(502, "The AI provider gave no answer."));
        }
        answer.stop = Stop::Refusal;
        return Ok(answer);
    };
    let mut parts: Vec<Part<'a>> = Vec::new();
    for piece in turns::pieces(candidate.content.and_then(|content| content.parts)) {
        turns::read_into(piece, Place::default(), &mut parts);
    }
    answer.parts = joined(parts, back);
    answer.logprobs = candidate.logprobs.as_ref().and_then(logprobs::from_google);
    let called = answer.parts.iter().any(|part| matches!(part.content, Content::Call(_)));
    answer.stop = stop(candidate.finish.as_deref(), called).ok_or_else(Fault::unfinished)?;
    let text = answer.parts.iter_mut().rev().find_map(|part| match &mut part.content {
        Content::Text { citations, .. } => Some(citations),
        _ => None,
    });
    if let (Some(citations), Some(of)) = (text, candidate.grounding) {
        citations.extend(cited(of));
    }
    Ok(answer)
}

/// Texts that follow each other are one, as they would be in a stream.
fn joined<'a>(parts: Vec<Part<'a>>, back: &Back) -> Vec<Part<'a>> {
    let mut kept: Vec<Part<'a>> = Vec::with_capacity(parts.len());
    let mut calls = 0;
    for part in parts {
        let content = match (part.content, kept.last_mut().map(|part| &mut part.content)) {
            (Content::Text { text: more, .. }, Some(Content::Text { text, .. })) => {
                text.push(&more);
                continue;
            }
            (
                Content::Reasoning { text: more, signature },
                Some(Content::Reasoning { text, signature: of @ None }),
            ) if !more.is_empty() => {
                text.push(&more);
                *of = signature;
                continue;
            }
            (Content::Call(call), _) => {
                calls += 1;
                Content::Call(back_again(call, calls - 1, back))
            }
            (content, _) => content,
        };
        kept.push(Part::new(content));
    }
    kept
}

/// What an answer rests on.
pub(super) fn cited(of: Grounding<'_>) -> Vec<Citation<'_>> {
    let chunks = of.chunks.unwrap_or_default();
    let at = |index: usize, quote: Option<Text<'static>>| {
        let web = chunks.get(index)?.web.as_ref()?;
        let (url, title) = (web.uri.clone(), web.title.clone());
        Some(Citation { url, title, quote, ..Citation::default() })
    };
    let supports = of.supports.unwrap_or_default();
    if supports.is_empty() {
        return (0..chunks.len()).filter_map(|index| at(index, None)).collect();
    }
    let of_support = |support: Support<'_>| {
        let quote = support.segment.and_then(|segment| segment.text).map(Text::into_owned);
        let indices = support.chunks.unwrap_or_default();
        indices.into_iter().filter_map(|index| at(index, quote.clone())).collect::<Vec<_>>()
    };
    supports.into_iter().flat_map(of_support).collect()
}

/// Why it stopped; `None`: the provider could not go on.
pub(super) fn stop(reason: Option<&str>, called: bool) -> Option<Stop<'static>> {
    Some(match reason {
        Some("MAX_TOKENS") => Stop::MaxTokens,
        Some(
            "SAFETY"
            | "RECITATION"
            | "LANGUAGE"
            | "BLOCKLIST"
            | "PROHIBITED_CONTENT"
            | "SPII"
            | "IMAGE_SAFETY"
            | "IMAGE_PROHIBITED_CONTENT"
            | "IMAGE_RECITATION"
            | "MODEL_ARMOR",
        ) => Stop::Refusal,
        Some("STOP" | "FINISH_REASON_UNSPECIFIED") | None if called => Stop::ToolUse,
        Some("STOP" | "FINISH_REASON_UNSPECIFIED") | None => Stop::End,
        Some(_) => return None,
    })
}

pub(super) fn stop_word(stop: &Stop<'_>) -> &'static str {
    match stop {
        Stop::End | Stop::Sequence(_) | Stop::ToolUse | Stop::Pause => "STOP",
        Stop::MaxTokens | Stop::ContextFull => "MAX_TOKENS",
        Stop::Refusal => "SAFETY",
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
        body.array("candidates", |list| {
            list.object(|candidate| {
                candidate.object("content", |content| {
                    content.value("parts", |out| parts(answer, out, losses)).text("role", "model");
                });
                candidate.text("finishReason", stop_word(&answer.stop)).number("index", 0);
                let citations = answer.parts.iter().flat_map(|part| match &part.content {
                    Content::Text { citations, .. } => &**citations,
                    _ => &[],
                });
                grounding(&citations.collect::<Vec<_>>(), candidate, losses);
                if let Some(told) = &answer.logprobs {
                    logprobs::google(told, candidate);
                }
            });
        });
        body.object("usageMetadata", |of| usage::gemini(&answer.usage.unwrap_or_default(), of));
        tail(client, body);
    });
}

/// What every answer and chunk ends with.
pub(super) fn tail(client: &Client, body: &mut Object<'_>) {
    body.text("modelVersion", &client.model).text("responseId", &client.id);
}

fn parts(answer: &Answer<'_>, out: &mut BytesMut, losses: &mut Losses) {
    let mut pending: Option<String> = None;
    array(out, |list| {
        for part in &answer.parts {
            match &part.content {
                Content::Text { text, .. } | Content::Refusal(text) => list.object(|part| {
                    part.text("text", text).some("thoughtSignature", pending.take().as_deref());
                }),
                Content::Reasoning { text, signature: of } => {
                    if !text.is_empty() {
                        list.object(|part| {
                            part.text("text", text).flag("thought", true);
                        });
                    }
                    if let Some(of) = of
                        && let Some(earlier) = std::mem::replace(&mut pending, carried(text, of))
                    {
                        list.object(|part| {
                            part.text("text", "").text("thoughtSignature", &earlier);
                        });
                    }
                }
                Content::Call(of) => list.object(|part| {
                    called(of, part);
                    part.some("thoughtSignature", pending.take().as_deref());
                }),
                Content::Image(of) => list.object(|part| {
                    if let Source::Base64(data) = &of.source {
                        part.object("inlineData", |inline| {
                            inline.text("mimeType", of.mime_or("image/png")).text("data", data);
                        });
                    }
                }),
                _ => losses.dropped("content", "not a thing an answer of Gemini's has"),
            }
        }
        if let Some(signature) = pending.take() {
            list.object(|part| {
                part.text("text", "").text("thoughtSignature", &signature);
            });
        }
    });
}

/// A signature as a client of this protocol carries it, with the text it signs where it is no use without.
pub(super) fn carried(text: &str, of: &Signature<'_>) -> Option<String> {
    signature::sealed_with(text, of, Protocol::Gemini)
}

pub(super) fn called(of: &Call<'_>, part: &mut Object<'_>) {
    contents::call(of, part);
}

/// The addresses a text rests on.
pub(super) fn grounding(citations: &[&Citation<'_>], candidate: &mut Object<'_>, losses: &mut Losses) {
    if citations.is_empty() {
        return;
    }
    let (web, other): (Vec<&Citation<'_>>, Vec<&Citation<'_>>) =
        citations.iter().partition(|citation| citation.url.is_some());
    if !other.is_empty() {
        losses.dropped("citations", "Gemini cites addresses alone");
    }
    if web.is_empty() {
        return;
    }
    candidate.object("groundingMetadata", |of| {
        of.array("groundingChunks", |list| {
            for citation in &web {
                list.object(|chunk| {
                    chunk.object("web", |web| {
                        web.some("uri", citation.url.as_deref()).some("title", citation.title.as_deref());
                    });
                });
            }
        });
    });
}

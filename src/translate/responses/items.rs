//! Turns as input items.

use super::super::json::{Array, Object};
use super::super::loss::{Losses, Lost};
use super::super::names::{call_id, tool_name};
use super::super::unified::{
    Call, Content, Input, Media, Outcome, Part, Protocol, Role, Signer, Source, Turn,
};
use super::turns::parts_of;

/// Writes them.
pub(super) fn write(turns: &[Turn<'_>], list: &mut Array<'_>, losses: &mut Losses) {
    for turn in turns {
        match turn.role {
            Role::System => message("system", turn.parts.iter(), list, losses),
            Role::Developer => message("developer", turn.parts.iter(), list, losses),
            Role::User => user(turn, list, losses),
            Role::Model => model(turn, list, losses),
        }
    }
}

fn user(turn: &Turn<'_>, list: &mut Array<'_>, losses: &mut Losses) {
    let mut rest = Vec::new();
    for part in &turn.parts {
        match &part.content {
            Content::Outcome(of) => list.object(|item| outcome(of, part, item, losses)),
            _ => rest.push(part),
        }
    }
    if !rest.is_empty() || turn.parts.is_empty() {
        message("user", rest.into_iter(), list, losses);
    }
}

fn message<'p>(
    role: &str,
    parts: impl Iterator<Item = &'p Part<'p>>,
    list: &mut Array<'_>,
    losses: &mut Losses,
) {
    let mut parts = parts.peekable();
    list.object(|item| {
        item.text("type", "message").text("role", role);
        if parts.peek().is_none() {
            item.text("content", "");
            return;
        }
        item.array("content", |pieces| {
            for part in parts {
                piece(part, pieces, losses);
            }
        });
    });
}

/// Something said to the model.
fn piece(part: &Part<'_>, pieces: &mut Array<'_>, losses: &mut Losses) {
    match &part.content {
        Content::Text { text, .. } | Content::Refusal(text) => pieces.object(|piece| {
            piece.text("type", "input_text").text("text", text);
        }),
        Content::Image(of) if !matches!(of.source, Source::File(_)) => pieces.object(|piece| {
            piece.text("type", "input_image").text("detail", of.detail.as_deref().unwrap_or("auto"));
            of.write_url("image_url", "image/png", piece);
        }),
        Content::Document { media, context, .. } => {
            losses.citations(part);
            if let Some(context) = context {
                pieces.object(|piece| {
                    piece.text("type", "input_text").text("text", context);
                });
            }
            document(media, part, pieces, losses);
        }
        Content::Image(_) | Content::Audio(_) | Content::Video(_) => {
            losses.refuse(part.place, "Responses takes it in no form that others do.");
        }
        Content::Call(_) | Content::Outcome(_) | Content::Reasoning { .. } => {}
    }
}

fn document(of: &Media<'_>, part: &Part<'_>, pieces: &mut Array<'_>, losses: &mut Losses) {
    match &of.source {
        Source::Plain(text) => pieces.object(|piece| {
            let title = of.name.as_deref().unwrap_or("Document");
            piece.text("type", "input_text").pieces("text", &[title, ":\n\n", text]);
        }),
        Source::Base64(_) => pieces.object(|piece| {
            piece.text("type", "input_file").text("filename", &of.file_name());
            of.write_url("file_data", "application/pdf", piece);
        }),
        Source::Url(url) => pieces.object(|piece| {
            piece.text("type", "input_file").text("file_url", url);
        }),
        Source::File(_) => losses.refuse(part.place, "The file is kept at another provider."),
    }
}

fn outcome(of: &Outcome<'_>, part: &Part<'_>, item: &mut Object<'_>, losses: &mut Losses) {
    item.text("type", if of.free { "custom_tool_call_output" } else { "function_call_output" });
    item.text("call_id", &call_id(&of.id, Protocol::Responses));
    let prefix = if of.error && !says_error(of) {
        losses.part(part.place, ".is_error", Lost::Approximated, "said in the result's text");
        "Error: "
    } else {
        ""
    };
    match &*of.parts {
        [] => {
            item.text("output", prefix.trim_end());
        }
        [Part { content: Content::Text { text, .. }, .. }] => {
            item.pieces("output", &[prefix, text]);
        }
        parts => {
            item.array("output", |pieces| {
                if !prefix.is_empty() {
                    pieces.object(|piece| {
                        piece.text("type", "input_text").text("text", prefix.trim_end());
                    });
                }
                for part in parts {
                    piece(part, pieces, losses);
                }
            });
        }
    }
}

fn says_error(of: &Outcome<'_>) -> bool {
    let first = super::super::prompt::texts(&of.parts).next().unwrap_or_default();
    first.get(..5).is_some_and(|word| word.eq_ignore_ascii_case("error"))
}

fn model(turn: &Turn<'_>, list: &mut Array<'_>, losses: &mut Losses) {
    for part in &turn.parts {
        match &part.content {
            // Parts of an answer have ids of their provider's; what was said is a text.
            Content::Text { text, .. } | Content::Refusal(text) => {
                losses.citations(part);
                list.object(|item| {
                    item.text("type", "message").text("role", "assistant").text("content", text);
                });
            }
            Content::Call(of) => list.object(|item| call(of, item)),
            Content::Reasoning { text, signature: Some(of) } if of.signer == Signer::OpenAi => {
                let (id, encrypted) = parts_of(&of.data);
                list.object(|item| {
                    item.text("type", "reasoning").text("id", id);
                    item.array("summary", |list| {
                        if !text.is_empty() {
                            list.object(|piece| {
                                piece.text("type", "summary_text").text("text", text);
                            });
                        }
                    });
                    item.text("encrypted_content", encrypted);
                });
            }
            // What nobody signed is of use to nobody.
            Content::Reasoning { signature: None, .. } => {}
            Content::Reasoning { .. } => {
                losses.part(part.place, "", Lost::Dropped, "thinking that another provider signed");
            }
            _ => losses.part(part.place, "", Lost::Dropped, "not a thing the model says in responses"),
        }
    }
}

fn call(of: &Call<'_>, item: &mut Object<'_>) {
    let (id, name) = (call_id(&of.id, Protocol::Responses), tool_name(&of.name, Protocol::Responses));
    match &of.input {
        Input::Text { text, free: true } => {
            item.text("type", "custom_tool_call")
                .text("call_id", &id)
                .text("name", &name)
                .text("input", text);
        }
        Input::Text { text, .. } => {
            let input = super::super::prompt::as_input(text);
            item.text("type", "function_call")
                .text("call_id", &id)
                .text("name", &name)
                .text("arguments", &input);
        }
        Input::Json(raw) => {
            item.text("type", "function_call").text("call_id", &id).text("name", &name);
            item.text("arguments", raw.json());
        }
    }
}

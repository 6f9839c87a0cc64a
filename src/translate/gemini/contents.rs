//! Turns as contents.
//!
//! Invariants: users and model take turns; no part is empty; a signature stands at the part it belongs to, and the
//! first call of a turn has one, be it Google's word for none.

use super::super::json::{Array, Object};
use super::super::loss::{Losses, Lost};
use super::super::names::tool_name;
use super::super::prompt;
use super::super::unified::{
    Call, Content, Input, Media, Outcome, Part, Protocol, Role, Signer, Source, Turn,
};
use super::{UNSIGNED, has_levels};

/// Writes them.
pub(super) fn write(turns: &[Turn<'_>], model: &str, list: &mut Array<'_>, losses: &mut Losses) {
    let groups = groups(turns);
    let begins = groups.first().is_none_or(|(is_model, _)| !is_model);
    if !begins {
        losses.conversation("the conversation begins with the model: a user's turn goes before it");
        list.object(|content| {
            content.text("role", "user").array("parts", |parts| {
                text_part("(The conversation goes on.)", parts);
            });
        });
    }
    for (is_model, turns) in groups {
        list.object(|content| {
            content.text("role", if is_model { "model" } else { "user" });
            content.array("parts", |parts| {
                for turn in turns {
                    match turn.role {
                        Role::Model => said(turn, model, parts, losses),
                        Role::User => user(turn, model, parts, losses),
                        Role::System | Role::Developer => instruction(turn, parts, losses),
                    }
                }
            });
        });
    }
}

/// What each side says until the other does; turns of which nothing would be left are not there.
fn groups<'t, 'a>(turns: &'t [Turn<'a>]) -> Vec<(bool, Vec<&'t Turn<'a>>)> {
    let mut groups: Vec<(bool, Vec<&Turn<'_>>)> = Vec::new();
    for turn in turns.iter().filter(|turn| turn.parts.iter().any(|part| is_written(part, turn.role))) {
        let is_model = turn.role == Role::Model;
        match groups.last_mut() {
            Some((of, group)) if *of == is_model => group.push(turn),
            _ => groups.push((is_model, vec![turn])),
        }
    }
    groups
}

fn is_written(part: &Part<'_>, role: Role) -> bool {
    match &part.content {
        Content::Text { text, .. } | Content::Refusal(text) => !text.is_empty(),
        Content::Reasoning { signature, .. } => {
            role == Role::Model && signature.as_ref().is_some_and(|of| of.signer == Signer::Gemini)
        }
        _ => true,
    }
}

fn text_part(text: &str, parts: &mut Array<'_>) {
    parts.object(|part| {
        part.text("text", text);
    });
}

fn instruction(turn: &Turn<'_>, parts: &mut Array<'_>, losses: &mut Losses) {
    for part in &turn.parts {
        losses.part(
            part.place,
            "",
            Lost::Approximated,
            "an instruction amid the conversation: as the user's",
        );
    }
    for text in prompt::texts(&turn.parts) {
        parts.object(|part| {
            part.pieces("text", &["<system>\n", text, "\n</system>"]);
        });
    }
}

fn user(turn: &Turn<'_>, model: &str, parts: &mut Array<'_>, losses: &mut Losses) {
    let outcomes = turn.parts.iter().filter(|part| matches!(part.content, Content::Outcome(_)));
    let mut beside = Vec::new();
    for part in outcomes {
        if let Content::Outcome(of) = &part.content {
            outcome(of, model, parts, losses);
            if !has_levels(model) {
                beside.extend(of.parts.iter().filter(|part| !prompt::is_text(part)));
            }
        }
    }
    if let Some(first) = beside.first() {
        losses.part(
            first.place,
            "",
            Lost::Approximated,
            "a tool's result holds text alone: shown by the user",
        );
    }
    let rest = turn.parts.iter().filter(|part| !matches!(part.content, Content::Outcome(_)));
    for part in beside.into_iter().chain(rest) {
        match &part.content {
            Content::Text { text, .. } | Content::Refusal(text) if !text.is_empty() => text_part(text, parts),
            Content::Image(of) | Content::Audio(of) | Content::Video(of) => media(of, part, parts, losses),
            Content::Document { media: of, context, .. } => {
                losses.citations(part);
                if let Some(context) = context {
                    text_part(context, parts);
                }
                document(of, part, parts, losses);
            }
            _ => {}
        }
    }
}

fn document(of: &Media<'_>, part: &Part<'_>, parts: &mut Array<'_>, losses: &mut Losses) {
    match &of.source {
        Source::Plain(text) => parts.object(|part| {
            let title = of.name.as_deref().unwrap_or("Document");
            part.pieces("text", &[title, ":\n\n", text]);
        }),
        _ => media(of, part, parts, losses),
    }
}

fn media(of: &Media<'_>, part: &Part<'_>, parts: &mut Array<'_>, losses: &mut Losses) {
    if matches!(of.source, Source::File(_)) {
        losses.refuse(part.place, "The file is kept at another provider.");
        return;
    }
    parts.object(|written| blob(of, part, written));
}

fn blob(of: &Media<'_>, part: &Part<'_>, written: &mut Object<'_>) {
    let usual = match part.content {
        Content::Image(_) => "image/png",
        Content::Audio(_) => "audio/wav",
        Content::Video(_) => "video/mp4",
        _ => "application/pdf",
    };
    let mime = of.mime.as_deref().or(of.guessed_mime()).unwrap_or(usual);
    match &of.source {
        Source::Base64(data) => written.object("inlineData", |inline| {
            inline.text("mimeType", mime).text("data", data);
        }),
        Source::Url(uri) | Source::File(uri) => written.object("fileData", |file| {
            file.text("mimeType", mime).text("fileUri", uri);
        }),
        Source::Plain(text) => written.text("text", text),
    };
}

/// Pictures are part of a function's response since Gemini 3; before, they stand beside it.
fn outcome(of: &Outcome<'_>, model: &str, parts: &mut Array<'_>, losses: &mut Losses) {
    let texts: Vec<&str> = prompt::texts(&of.parts).collect();
    parts.object(|part| {
        part.object("functionResponse", |response| {
            response.text("id", &of.id);
            let name = of.name.as_deref().unwrap_or(&of.id);
            response.text("name", &tool_name(name, Protocol::Gemini));
            response.object("response", |inner| {
                inner.text(if of.error { "error" } else { "output" }, &texts.join("\n"));
            });
            let shown: Vec<&Part<'_>> = of.parts.iter().filter(|part| !prompt::is_text(part)).collect();
            if has_levels(model) && !shown.is_empty() {
                response.array("parts", |parts| {
                    for part in shown {
                        match &part.content {
                            Content::Image(of)
                            | Content::Audio(of)
                            | Content::Video(of)
                            | Content::Document { media: of, .. } => media(of, part, parts, losses),
                            _ => {}
                        }
                    }
                });
            }
        });
    });
}

fn said(turn: &Turn<'_>, model: &str, parts: &mut Array<'_>, losses: &mut Losses) {
    let mut pending: Option<&str> = None;
    let mut called = false;
    for part in &turn.parts {
        match &part.content {
            Content::Reasoning { text, signature: Some(of) } if of.signer == Signer::Gemini => {
                if let Some(earlier) = pending.replace(&of.data) {
                    signed_nothing(earlier, parts);
                }
                if !text.is_empty() {
                    parts.object(|part| {
                        part.text("text", text).flag("thought", true);
                    });
                }
            }
            Content::Reasoning { signature: None, .. } => {}
            Content::Reasoning { .. } => {
                losses.part(part.place, "", Lost::Dropped, "thinking that another provider signed");
            }
            Content::Text { text, .. } | Content::Refusal(text) if !text.is_empty() => {
                losses.citations(part);
                parts.object(|part| {
                    part.text("text", text).some("thoughtSignature", pending.take());
                });
            }
            Content::Call(of) => {
                let first = !std::mem::replace(&mut called, true);
                let unsigned = (first && has_levels(model)).then_some(UNSIGNED);
                parts.object(|part| {
                    call(of, part);
                    part.some("thoughtSignature", pending.take().or(unsigned));
                });
            }
            Content::Image(of) => parts.object(|written| {
                blob(of, part, written);
                written.some("thoughtSignature", pending.take());
            }),
            _ => {}
        }
    }
    if let Some(last) = pending {
        signed_nothing(last, parts);
    }
}

/// A signature that comes after everything stands at an empty text.
fn signed_nothing(signature: &str, parts: &mut Array<'_>) {
    parts.object(|part| {
        part.text("text", "").text("thoughtSignature", signature);
    });
}

/// A call.
pub(super) fn call(of: &Call<'_>, part: &mut Object<'_>) {
    part.object("functionCall", |call| {
        call.text("id", &of.id).text("name", &tool_name(&of.name, Protocol::Gemini));
        match &of.input {
            Input::Json(raw) => call.raw("args", raw),
            Input::Text { text, .. } => call.object("args", |args| {
                args.text(prompt::FREE_INPUT_NAME, text);
            }),
        };
    });
}

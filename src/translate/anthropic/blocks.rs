//! Turns as messages of blocks.
//!
//! Invariants: users and model take turns; the results of tools come first in their message; there is no empty block
//! and no empty message, since Anthropic refuses both.

use super::super::json::{Array, Object};
use super::super::loss::{Losses, Lost};
use super::super::media;
use super::super::names::{call_id, tool_name};
use super::super::unified::{
    Call, Content, Input, Keep, Media, Outcome, Part, Protocol, Role, Signature, Signer, Source, Turn,
};
use super::super::{prompt, signature};

/// The instructions.
pub(super) fn system(parts: &[&Part<'_>], mark: Option<Keep>, body: &mut Object<'_>) {
    let marked = mark.is_some() || parts.iter().any(|part| part.cache.is_some());
    if let ([part], false) = (parts, marked) {
        for text in prompt::texts(std::slice::from_ref(*part)) {
            body.text("system", text);
        }
        return;
    }
    body.array("system", |blocks| {
        for (at, part) in parts.iter().enumerate() {
            for text in prompt::texts(std::slice::from_ref(*part)) {
                blocks.object(|block| {
                    block.text("type", "text").text("text", text);
                    cache_control(part.cache.or(mark.filter(|_| at + 1 == parts.len())), block);
                });
            }
        }
    });
}

/// A mark up to which the prompt is cached.
pub(super) fn cache_control(keep: Option<Keep>, of: &mut Object<'_>) {
    let Some(keep) = keep else { return };
    of.object("cache_control", |control| {
        control.text("type", "ephemeral");
        if keep == Keep::Hour {
            control.text("ttl", "1h");
        }
    });
}

/// What becomes one message.
#[derive(Debug)]
pub(super) struct Group<'t, 'a> {
    pub(super) role: Role,
    parts: Vec<Said<'t, 'a>>,
}

#[derive(Debug, Clone, Copy)]
enum Said<'t, 'a> {
    Part(&'t Part<'a>),
    /// Instructions within the conversation.
    Instruction(&'t Part<'a>),
}

impl<'t, 'a> Group<'t, 'a> {
    /// The messages of a conversation.
    pub(super) fn of(turns: &'t [Turn<'a>], losses: &mut Losses) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        for turn in turns {
            let is_instruction = matches!(turn.role, Role::System | Role::Developer);
            let role = if turn.role == Role::Model { Role::Model } else { Role::User };
            let mut said = Vec::new();
            for part in &turn.parts {
                if !keeps(part, role, losses) {
                    continue;
                }
                if is_instruction {
                    losses.part(
                        part.place,
                        "",
                        Lost::Approximated,
                        "an instruction amid the conversation: as the user's",
                    );
                    said.push(Said::Instruction(part));
                } else {
                    said.push(Said::Part(part));
                }
            }
            if said.is_empty() {
                continue;
            }
            match groups.last_mut() {
                Some(group) if group.role == role => group.parts.extend(said),
                _ => groups.push(Self { role, parts: said }),
            }
        }
        for group in &mut groups {
            group.parts.sort_by_key(|said| match said {
                Said::Part(part) => !matches!(part.content, Content::Outcome(_)) && role_sorts(group.role),
                Said::Instruction(_) => true,
            });
        }
        groups
    }

    pub(super) fn write(
        &self,
        is_last: bool,
        mark: Option<Keep>,
        message: &mut Object<'_>,
        losses: &mut Losses,
    ) {
        let is_model = self.role == Role::Model;
        message.text("role", if is_model { "assistant" } else { "user" });
        if let ([Said::Part(Part { content: Content::Text { text, citations }, cache: None, .. })], None) =
            (&*self.parts, mark)
            && citations.is_empty()
        {
            message.text("content", trimmed(text, is_last && is_model));
            return;
        }
        message.array("content", |blocks| {
            for (at, said) in self.parts.iter().enumerate() {
                let ends = at + 1 == self.parts.len();
                match said {
                    Said::Instruction(part) => instruction(part, mark.filter(|_| ends), blocks),
                    Said::Part(part) => {
                        let mark = part.cache.or(mark.filter(|_| ends));
                        block(part, mark, is_last && is_model && ends, blocks, losses);
                    }
                }
            }
        });
    }
}

fn role_sorts(role: Role) -> bool {
    role == Role::User
}

/// Anthropic refuses an answer begun with space at its end.
fn trimmed(text: &str, is_prefill: bool) -> &str {
    if is_prefill { text.trim_end() } else { text }
}

/// Whether a part becomes a block; says what is lost where it does not.
fn keeps(part: &Part<'_>, role: Role, losses: &mut Losses) -> bool {
    match &part.content {
        Content::Text { text, .. } | Content::Refusal(text) => !text.trim().is_empty(),
        Content::Call(_) => role == Role::Model,
        Content::Outcome(_) => role == Role::User,
        Content::Reasoning { signature: Some(signature), .. } => {
            let is_own = signature.signer.is_of(Protocol::Anthropic);
            if !is_own {
                losses.part(part.place, "", Lost::Dropped, "thinking that another provider signed");
            }
            is_own
        }
        // Thinking nobody signed is verified by nobody, and refused.
        Content::Reasoning { signature: None, .. } => false,
        Content::Image(_) | Content::Document { .. } if role == Role::Model => {
            losses.part(part.place, "", Lost::Dropped, "not a thing the model says at Anthropic");
            false
        }
        Content::Image(of) => taken(part, image(of).is_some(), losses),
        Content::Document { media, .. } => taken(part, is_document(media), losses),
        Content::Audio(_) | Content::Video(_) => taken(part, false, losses),
    }
}

fn taken(part: &Part<'_>, is_taken: bool, losses: &mut Losses) -> bool {
    if !is_taken {
        losses.refuse(
            part.place,
            "Anthropic takes pictures (JPEG, PNG, GIF, WebP), PDFs and plain texts alone.",
        );
    }
    is_taken
}

fn instruction(part: &Part<'_>, mark: Option<Keep>, blocks: &mut Array<'_>) {
    for text in prompt::texts(std::slice::from_ref(part)) {
        blocks.object(|block| {
            block.text("type", "text").pieces("text", &["<system>\n", text, "\n</system>"]);
            cache_control(part.cache.or(mark), block);
        });
    }
}

fn block(part: &Part<'_>, mark: Option<Keep>, is_prefill: bool, blocks: &mut Array<'_>, losses: &mut Losses) {
    match &part.content {
        Content::Document { media, context, cited } => {
            document(media, (context.as_deref(), *cited), mark, blocks);
        }
        content => blocks.object(|block| {
            match content {
                Content::Text { text, citations } => {
                    block.text("type", "text").text("text", trimmed(text, is_prefill));
                    if citations.iter().any(|citation| citation.anthropic.is_some()) {
                        block.array("citations", |list| {
                            citations
                                .iter()
                                .filter_map(|of| of.anthropic.as_ref())
                                .for_each(|raw| list.raw(raw));
                        });
                    }
                }
                Content::Refusal(text) => {
                    block.text("type", "text").text("text", trimmed(text, is_prefill));
                }
                Content::Image(of) => source("image", of, block),
                Content::Call(call) => self::call(call, block),
                Content::Outcome(of) => outcome(of, block, losses),
                Content::Reasoning { text, signature: Some(signature) } => thinking(text, signature, block),
                _ => {}
            }
            if !matches!(content, Content::Reasoning { .. }) {
                cache_control(mark, block);
            }
        }),
    }
}

/// Thinking that is Anthropic's own, or carried under a seal.
pub(super) fn thinking(text: &str, of: &Signature<'_>, block: &mut Object<'_>) {
    if of.signer == Signer::Redacted {
        block.text("type", "redacted_thinking").text("data", &of.data);
        return;
    }
    let carried = signature::sealed(of, Protocol::Anthropic).unwrap_or_default();
    block.text("type", "thinking").text("thinking", text).text("signature", &carried);
}

/// A call.
pub(super) fn call(call: &Call<'_>, block: &mut Object<'_>) {
    block.text("type", "tool_use").text("id", &call_id(&call.id, Protocol::Anthropic));
    block.text("name", &tool_name(&call.name, Protocol::Anthropic));
    match &call.input {
        Input::Json(raw) => block.raw("input", raw),
        Input::Text { text, .. } => block.object("input", |input| {
            input.text(prompt::FREE_INPUT_NAME, text);
        }),
    };
}

fn outcome(of: &Outcome<'_>, block: &mut Object<'_>, losses: &mut Losses) {
    block.text("type", "tool_result").text("tool_use_id", &call_id(&of.id, Protocol::Anthropic));
    let parts: Vec<&Part<'_>> = of.parts.iter().filter(|part| keeps(part, Role::User, losses)).collect();
    match &*parts {
        [] => {}
        [Part { content: Content::Text { text, .. }, cache: None, .. }] => {
            block.text("content", text);
        }
        parts => {
            block.array("content", |list| {
                for part in parts {
                    self::block(part, part.cache, false, list, losses);
                }
            });
        }
    }
    if of.error {
        block.flag("is_error", true);
    }
}

/// The type of a picture Anthropic takes.
fn image<'m>(of: &'m Media<'_>) -> Option<&'m str> {
    match &of.source {
        Source::Url(_) => Some(""),
        Source::Base64(_) => {
            let mime = of.mime_or("image/png");
            let mime = if mime == "image/jpg" { "image/jpeg" } else { mime };
            matches!(mime, "image/jpeg" | "image/png" | "image/gif" | "image/webp").then_some(mime)
        }
        Source::Plain(_) | Source::File(_) => None,
    }
}

fn is_document(of: &Media<'_>) -> bool {
    match &of.source {
        Source::Url(_) | Source::Plain(_) => true,
        Source::Base64(data) => {
            let mime = of.mime_or("application/pdf");
            mime == "application/pdf" || (is_texts(mime) && signature::from_base64(data).is_some())
        }
        Source::File(_) => false,
    }
}

fn is_texts(mime: &str) -> bool {
    media::kind(mime) == media::Kind::Document
        && (mime.starts_with("text/") || matches!(mime, "application/json" | "application/xml"))
}

fn source(kind: &str, of: &Media<'_>, block: &mut Object<'_>) {
    block.text("type", kind).object("source", |source| match &of.source {
        Source::Url(url) | Source::File(url) => {
            source.text("type", "url").text("url", url);
        }
        Source::Plain(text) => {
            source.text("type", "text").text("media_type", "text/plain").text("data", text);
        }
        Source::Base64(data) if is_texts(of.mime_or("")) => {
            let text = signature::from_base64(data).unwrap_or_default();
            source.text("type", "text").text("media_type", "text/plain").text("data", &text);
        }
        Source::Base64(data) => {
            let mime = if kind == "image" { image(of).unwrap_or("image/png") } else { "application/pdf" };
            source.text("type", "base64").text("media_type", mime).text("data", data);
        }
    });
}

fn document(
    of: &Media<'_>,
    (context, cited): (Option<&str>, bool),
    mark: Option<Keep>,
    blocks: &mut Array<'_>,
) {
    blocks.object(|block| {
        source("document", of, block);
        block.some("title", of.name.as_deref()).some("context", context);
        if cited {
            block.object("citations", |citations| {
                citations.flag("enabled", true);
            });
        }
        cache_control(mark, block);
    });
}

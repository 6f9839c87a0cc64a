//! The output items of an answer, and the response they are in: the same whole and in the events of a stream.

use super::super::json::{Array, Object, Raw};
use super::super::loss::Losses;
use super::super::signature;
use super::super::unified::{Citation, Media, Protocol, Signature, Signer, Source, Stop};
use super::super::{Client, logprobs, usage, words};
use super::turns::parts_of;
use crate::usage::Usage;

/// The id of the item at a place.
pub(super) fn item_id(client: &Client, kind: &str, at: u64) -> String {
    format!("{kind}_{}_{at}", client.id)
}

/// The response object around its output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Envelope<'e> {
    pub(super) client: &'e Client,
    pub(super) status: &'static str,
    pub(super) reason: Option<&'static str>,
    pub(super) usage: Option<Usage>,
    pub(super) error: Option<(&'e str, &'e str)>,
}

impl<'e> Envelope<'e> {
    pub(super) fn begun(client: &'e Client) -> Self {
        Self { client, status: "in_progress", reason: None, usage: None, error: None }
    }

    pub(super) fn stopped(client: &'e Client, stop: &Stop<'_>, usage: Option<Usage>) -> Self {
        let (status, reason) = match stop {
            Stop::MaxTokens | Stop::ContextFull => ("incomplete", Some("max_output_tokens")),
            Stop::Refusal => ("incomplete", Some("content_filter")),
            _ => ("completed", None),
        };
        Self { client, status, reason, usage: Some(usage.unwrap_or_default()), error: None }
    }

    pub(super) fn write(&self, of: &mut Object<'_>, output: impl FnOnce(&mut Array<'_>)) {
        of.pieces("id", &["resp_", &self.client.id]).text("object", "response");
        of.number("created_at", self.client.created).text("status", self.status).flag("background", false);
        match self.error {
            Some((code, message)) => of.object("error", |error| {
                error.text("code", code).text("message", message);
            }),
            None => of.null("error"),
        };
        match self.reason {
            Some(reason) => of.object("incomplete_details", |details| {
                details.text("reason", reason);
            }),
            None => of.null("incomplete_details"),
        };
        of.text("model", &self.client.model).array("output", output);
        match &self.usage {
            Some(usage) => of.object("usage", |of| usage::responses(usage, of)),
            None => of.null("usage"),
        };
        of.members(self.client.echo.as_bytes());
    }
}

/// A text as part of a message.
pub(super) fn output_text(
    text: &str,
    citations: &[Citation<'_>],
    told: Option<&Raw<'_>>,
    part: &mut Object<'_>,
    losses: &mut Losses,
) {
    let length = text.chars().count();
    part.text("type", "output_text").text("text", text).array("annotations", |list| {
        for citation in citations {
            annotation(citation, length, list, losses);
        }
    });
    match told {
        Some(told) => part.array("logprobs", |list| logprobs::openai(told, list)),
        None => part.array("logprobs", |_| {}),
    };
}

pub(super) fn annotation(citation: &Citation<'_>, length: usize, list: &mut Array<'_>, losses: &mut Losses) {
    let Some(url) = citation.url.as_deref() else {
        losses.dropped("citations", "responses cites addresses, and files of OpenAI's own");
        return;
    };
    let (start, end) = words::span(citation, (0, length));
    list.object(|annotation| {
        annotation.text("type", "url_citation").number("start_index", start).number("end_index", end);
        annotation.text("url", url).text("title", citation.title.as_deref().unwrap_or(url));
    });
}

/// A message of one part.
pub(super) fn message(id: &str, status: &str, part: impl FnOnce(&mut Array<'_>), item: &mut Object<'_>) {
    item.text("id", id).text("type", "message").text("status", status).text("role", "assistant");
    item.array("content", part);
}

/// Thinking. What OpenAI encrypted goes under the id it was given; the others' signatures under a seal.
pub(super) fn reasoning(id: &str, text: &str, of: Option<&Signature<'_>>, item: &mut Object<'_>) {
    let (id, carried) = match of {
        Some(of) if of.signer == Signer::OpenAi => {
            let (own, encrypted) = parts_of(&of.data);
            (own, Some(encrypted.to_owned()))
        }
        Some(of) => (id, signature::sealed(of, Protocol::Responses)),
        None => (id, None),
    };
    item.text("id", id).text("type", "reasoning").array("summary", |list| {
        if !text.is_empty() {
            list.object(|piece| {
                piece.text("type", "summary_text").text("text", text);
            });
        }
    });
    item.text_or_null("encrypted_content", carried.as_deref());
}

/// A call as its item.
#[derive(Debug, Clone, Copy)]
pub(super) struct Called<'c> {
    pub(super) item: &'c str,
    pub(super) id: &'c str,
    pub(super) name: &'c str,
    pub(super) free: bool,
}

impl Called<'_> {
    pub(super) fn write(&self, client: &Client, status: &str, input: &str, item: &mut Object<'_>) {
        item.text("id", self.item).text("type", if self.free { "custom_tool_call" } else { "function_call" });
        if !self.free {
            item.text("status", status);
        }
        item.text("call_id", self.id);
        let space = client.namespaces.iter().find_map(|space| {
            let begins = super::spaced(space, "");
            Some((space, self.name.strip_prefix(&*begins)?))
        });
        match space {
            Some((space, name)) => item.text("name", name).text("namespace", space),
            None => item.text("name", self.name),
        };
        item.text(if self.free { "input" } else { "arguments" }, input);
    }
}

/// A picture.
pub(super) fn image(id: &str, of: &Media<'_>, item: &mut Object<'_>) {
    item.text("id", id).text("type", "image_generation_call").text("status", "completed");
    match &of.source {
        Source::Base64(data) => item.text("result", data),
        _ => item.null("result"),
    };
}

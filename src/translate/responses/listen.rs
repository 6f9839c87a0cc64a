//! A stream of responses, heard. What an item's deltas did not say, its end does.

use super::super::fault::Fault;
use super::super::flow::{Flow, Kind, Sink};
use super::super::json::{Many, Raw, Text, message};
use super::super::unified::{Media, Opened};
use super::answer::stop;
use super::turns::{PARAGRAPH, citation, signed};
use super::{Annotation, Item, spaced};
use crate::protocol::Grammar;
use crate::protocol::observe::counted;

message! {
    Heard {
        kind["type"]: Text<'a>,
        response: Box<Response<'a>>,
        item: Box<Item<'a>>,
        delta: Raw<'a>,
        annotation: Box<Annotation<'a>>,
        summary_index: u64,
        logprobs: Raw<'a>,
    }
}

message! {
    Response {
        id: Text<'a>,
        model: Text<'a>,
        status: Text<'a>,
        incomplete_details: Details<'a>,
        usage: &'a serde_json::value::RawValue,
    }
}

message! { Details { reason: Text<'a> } }

/// What is known of the open item.
#[derive(Debug, Default)]
pub(in crate::translate) struct Listener {
    /// A delta of it was heard.
    told: bool,
}

impl Listener {
    pub(in crate::translate) fn event(&mut self, name: &[u8], data: &[u8], flow: &mut Flow, sink: Sink<'_>) {
        let Ok(mut heard) = serde_json::from_slice::<Heard<'_>>(data) else {
            return flow.unreadable(sink);
        };
        let kind = heard.kind.take();
        let kind = kind.as_deref().or(std::str::from_utf8(name).ok()).unwrap_or_default();
        match kind {
            "response.created" | "response.in_progress" | "response.queued" => {
                let response = heard.response.unwrap_or_default();
                flow.start(response.id, response.model, sink);
            }
            "response.output_item.added" => self.added(&heard.item.unwrap_or_default(), flow, sink),
            "response.output_item.done" => self.done(*heard.item.unwrap_or_default(), flow, sink),
            "response.content_part.added" | "response.content_part.done" => {
                if matches!(flow.open_kind(), Some(Kind::Text | Kind::Refusal)) {
                    flow.close(sink);
                }
            }
            "response.reasoning_summary_part.added" if heard.summary_index.unwrap_or(0) > 0 && self.told => {
                flow.say(Kind::Reasoning, PARAGRAPH.into(), sink);
            }
            "response.output_text.annotation.added" => {
                if let Some(of) = heard.annotation.and_then(|of| citation(*of)) {
                    flow.cite(of, sink);
                }
            }
            "response.completed" | "response.incomplete" => {
                let response = heard.response.unwrap_or_default();
                if let Some(usage) = response.usage.and_then(|raw| counted(Grammar::Responses, raw, None)) {
                    flow.usage(usage, sink);
                }
                let reason = response.incomplete_details.and_then(|details| details.reason);
                let stop = stop(response.status.as_deref(), reason.as_deref(), flow.has_called());
                flow.stop_or_fail(stop, sink);
                flow.end(sink);
            }
            "response.failed" | "response.cancelled" | "error" => flow.error(Fault::read(0, data), sink),
            _ => self.delta(kind, &heard, flow, sink),
        }
    }

    fn delta(&mut self, kind: &str, heard: &Heard<'_>, flow: &mut Flow, sink: Sink<'_>) {
        let Some(delta) = heard.delta.as_ref().and_then(Raw::text) else { return };
        match kind {
            "response.output_text.delta" => {
                flow.said(delta, heard.logprobs.clone(), sink);
            }
            "response.refusal.delta" => flow.say(Kind::Refusal, delta, sink),
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                flow.say(Kind::Reasoning, delta, sink);
            }
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                flow.input(delta, sink);
            }
            _ => return,
        }
        self.told = true;
    }

    fn added(&mut self, item: &Item<'_>, flow: &mut Flow, sink: Sink<'_>) {
        flow.close(sink);
        self.told = false;
        if matches!(item.kind.as_deref(), Some("function_call" | "custom_tool_call")) {
            self.begin(item, flow, sink);
        }
    }

    fn begin(&mut self, item: &Item<'_>, flow: &mut Flow, sink: Sink<'_>) {
        let free = item.kind.as_deref() == Some("custom_tool_call");
        let name = item.name.clone().unwrap_or_default();
        let name = match &item.namespace {
            Some(space) if !space.is_empty() => spaced(space, &name).into(),
            _ => name,
        };
        flow.call(item.call_id.clone().or(item.id.clone()).unwrap_or_default(), name, free, sink);
        let begun = item.input.clone().or(item.arguments.clone()).filter(|text| !text.is_empty());
        if let Some(text) = begun {
            self.told = true;
            flow.input(text, sink);
        }
    }

    fn done(&mut self, item: Item<'_>, flow: &mut Flow, sink: Sink<'_>) {
        let told = std::mem::replace(&mut self.told, false);
        match item.kind.as_deref() {
            Some("function_call" | "custom_tool_call") => {
                if flow.open_kind() != Some(Kind::Call) {
                    self.begin(&item, flow, sink);
                } else if !told {
                    flow.input(item.input.or(item.arguments).unwrap_or_default(), sink);
                }
            }
            Some("message") if !told => {
                if let Some(Many::List(pieces)) = item.content {
                    for piece in pieces {
                        flow.close(sink);
                        flow.say(Kind::Text, piece.text.unwrap_or_default(), sink);
                        flow.say(Kind::Refusal, piece.refusal.unwrap_or_default(), sink);
                    }
                }
            }
            Some("reasoning") => reasoned(item, told, flow, sink),
            Some("image_generation_call") => {
                let media = Media::bytes(Some("image/png".into()), item.result.unwrap_or_default());
                flow.whole(Opened::Image(media), sink);
            }
            _ => {}
        }
        flow.close(sink);
        self.told = false;
    }
}

fn reasoned(mut item: Item<'_>, told: bool, flow: &mut Flow, sink: Sink<'_>) {
    let signature = item.encrypted_content.take().and_then(|encrypted| signed(item.id.as_deref(), encrypted));
    if !told {
        for (at, piece) in item.summary.into_iter().flatten().enumerate() {
            if at > 0 {
                flow.say(Kind::Reasoning, PARAGRAPH.into(), sink);
            }
            flow.say(Kind::Reasoning, piece.text.unwrap_or_default(), sink);
        }
    }
    if let Some(signature) = signature {
        flow.sign(signature, sink);
    }
}

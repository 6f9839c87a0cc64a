//! A stream of Anthropic's messages, heard.

use super::super::fault::Fault;
use super::super::flow::{Flow, Kind, Sink};
use super::super::json::{Text, message};
use super::super::signature;
use super::super::unified::{Signature, Signer};
use super::answer::stop;
use super::{Block, citation};
use crate::protocol::Grammar;
use crate::protocol::observe::counted;
use crate::translate::json::Raw;
use crate::usage::Usage;

message! {
    Heard {
        kind["type"]: Text<'a>,
        message: Started<'a>,
        content_block: Box<Block<'a>>,
        delta: Delta<'a>,
        usage: &'a serde_json::value::RawValue,
        index: u64,
        error: Raw<'a>,
    }
}

message! { Started { id: Text<'a>, model: Text<'a>, usage: &'a serde_json::value::RawValue } }

message! {
    Delta {
        kind["type"]: Text<'a>,
        text: Text<'a>,
        thinking: Text<'a>,
        signature: Text<'a>,
        partial_json: Text<'a>,
        citation: Raw<'a>,
        stop_reason: Text<'a>,
        stop_sequence: Text<'a>,
    }
}

/// What is known of the stream.
#[derive(Debug, Default)]
pub(in crate::translate) struct Listener {
    usage: Option<Usage>,
    /// The input a block began with, which stands where no delta follows.
    input: Option<String>,
    /// The open block is of one of Anthropic's own tools.
    foreign: bool,
    signature: String,
}

impl Listener {
    pub(in crate::translate) fn event(&mut self, name: &[u8], data: &[u8], flow: &mut Flow, sink: Sink<'_>) {
        let Ok(heard) = serde_json::from_slice::<Heard<'_>>(data) else {
            return flow.unreadable(sink);
        };
        let kind = heard.kind.as_deref().or(std::str::from_utf8(name).ok()).unwrap_or_default();
        match kind {
            "message_start" => {
                let started = heard.message.unwrap_or_default();
                flow.start(started.id, started.model, sink);
                self.count(started.usage, flow, sink);
            }
            "content_block_start" => self.open(*heard.content_block.unwrap_or_default(), flow, sink),
            "content_block_delta" => self.delta(heard.delta.unwrap_or_default(), flow, sink),
            "content_block_stop" => self.close(flow, sink),
            "message_delta" => {
                self.close(flow, sink);
                self.count(heard.usage, flow, sink);
                let delta = heard.delta.unwrap_or_default();
                if delta.stop_reason.is_some() {
                    flow.stop(stop(delta.stop_reason.as_deref(), delta.stop_sequence), sink);
                }
            }
            "message_stop" if flow.is_stopped() => flow.end(sink),
            "error" => flow.error(Fault::read(0, data), sink),
            _ => {}
        }
    }

    fn count(&mut self, raw: Option<&serde_json::value::RawValue>, flow: &mut Flow, sink: Sink<'_>) {
        let Some(usage) = raw.and_then(|raw| counted(Grammar::Messages, raw, self.usage)) else { return };
        self.usage = Some(usage);
        flow.usage(usage, sink);
    }

    fn open(&mut self, block: Block<'_>, flow: &mut Flow, sink: Sink<'_>) {
        self.close(flow, sink);
        match block.kind.as_deref() {
            Some("text") => {
                flow.say(Kind::Text, block.text.unwrap_or_default(), sink);
            }
            Some("thinking") => {
                flow.part(Kind::Reasoning, sink);
                flow.say(Kind::Reasoning, block.thinking.unwrap_or_default(), sink);
                self.signature = block.signature.map(Text::into_string).unwrap_or_default();
            }
            Some("redacted_thinking") => {
                let data = block.data.unwrap_or_default();
                flow.sign(Signature { signer: Signer::Redacted, data }, sink);
            }
            Some("tool_use") => {
                let input = block.input.filter(|input| input.is_object() && input.json() != "{}");
                self.input = Some(input.map(|input| input.cow().into_owned()).unwrap_or_default());
                flow.call(block.id.unwrap_or_default(), block.name.unwrap_or_default(), false, sink);
            }
            _ => self.foreign = true,
        }
    }

    fn delta(&mut self, delta: Delta<'_>, flow: &mut Flow, sink: Sink<'_>) {
        if self.foreign {
            return;
        }
        if let Some(text) = delta.text {
            flow.say(Kind::Text, text, sink);
        }
        if let Some(text) = delta.thinking {
            flow.say(Kind::Reasoning, text, sink);
        }
        if let Some(more) =
            delta.signature.filter(|more| self.signature.len() + more.len() <= SIGNATURE_BYTES_MAX)
        {
            self.signature.push_str(&more);
        }
        if let Some(json) = delta.partial_json.filter(|json| !json.is_empty()) {
            self.input = None;
            flow.input(json, sink);
        }
        if let Some(of) = delta.citation.as_ref().and_then(citation) {
            flow.part(Kind::Text, sink);
            flow.cite(of, sink);
        }
    }

    fn close(&mut self, flow: &mut Flow, sink: Sink<'_>) {
        if let Some(input) = self.input.take() {
            flow.input(input.into(), sink);
        }
        let signature = std::mem::take(&mut self.signature);
        if let Some(signature) = signature::opened(signature.into(), Signer::Anthropic) {
            flow.sign(signature, sink);
        }
        self.foreign = false;
        flow.close(sink);
    }
}

/// Hidden thinking may be long.
const SIGNATURE_BYTES_MAX: usize = 1 << 20;

//! A stream of generateContent, heard: chunks of parts; nothing says that it is over but a reason to finish.

use super::super::fault::Fault;
use super::super::flow::{Flow, Kind, Sink};
use super::super::json::Raw;
use super::super::logprobs::from_google;
use super::super::signature::opened;
use super::super::unified::{Content, Opened, Place, Signer, Stop};
use super::answer::{Candidate, Whole, cited, stop};
use super::{Piece, UNSIGNED, turns};
use crate::protocol::Grammar;
use crate::protocol::observe::counted;

/// What is known of the stream: nothing but what is open.
#[derive(Debug, Default)]
pub(in crate::translate) struct Listener {}

impl Listener {
    #[expect(clippy::unused_self, reason = "the listeners of all protocols are alike")]
    pub(in crate::translate) fn event(&self, data: &[u8], flow: &mut Flow, sink: Sink<'_>) {
        let Ok(chunk) = serde_json::from_slice::<Whole<'_>>(data) else {
            return flow.unreadable(sink);
        };
        if chunk.error.is_some() {
            return flow.error(Fault::read(0, data), sink);
        }
        flow.start(chunk.id, chunk.model, sink);
        let usage = chunk.usage.and_then(|raw| counted(Grammar::Gemini, raw, None));
        let blocked = chunk.feedback.and_then(|feedback| feedback.blocked).is_some();
        let candidate =
            chunk.candidates.into_iter().flatten().find(|candidate| candidate.index.unwrap_or(0) == 0);
        let finished = candidate.and_then(|candidate| said(candidate, flow, sink));
        if let Some(usage) = usage {
            flow.usage(usage, sink);
        }
        if let Some(stop) = finished {
            flow.stop_or_fail(stop, sink);
        } else if blocked {
            flow.stop(Stop::Refusal, sink);
        }
    }
}

/// Says what it says; and, once it is finished, why, or that it could not go on.
#[expect(clippy::option_option, reason = "not finished, or failed")]
fn said(candidate: Candidate<'_>, flow: &mut Flow, sink: Sink<'_>) -> Option<Option<Stop<'static>>> {
    let mut told = candidate.logprobs.as_ref().and_then(from_google);
    for piece in turns::pieces(candidate.content.and_then(|content| content.parts)) {
        part(piece, &mut told, flow, sink);
    }
    for citation in candidate.grounding.into_iter().flat_map(cited) {
        flow.cite(citation, sink);
    }
    let reason = candidate.finish?;
    Some(stop(Some(&reason), flow.has_called()))
}

/// Says a part; the chunk's probabilities are those of its first text.
fn part(mut piece: Piece<'_>, told: &mut Option<Raw<'static>>, flow: &mut Flow, sink: Sink<'_>) {
    let signature = piece.signature.take().filter(|of| &**of != UNSIGNED);
    let signature = signature.and_then(|of| opened(of, Signer::Gemini));
    let is_thought = piece.thought == Some(true);
    if is_thought {
        flow.say(Kind::Reasoning, piece.text.take().unwrap_or_default(), sink);
    }
    if let Some(signature) = signature {
        flow.sign(signature, sink);
        flow.close(sink);
    }
    if is_thought {
        return;
    }
    if let Some(text) = piece.text {
        return flow.said(text, told.take(), sink);
    }
    if let Some(call) = piece.call {
        flow.call(call.id.unwrap_or_default(), call.name.unwrap_or_default(), false, sink);
        let args = call.args.filter(Raw::is_object).unwrap_or(Raw::known("{}"));
        flow.input(args.json().into(), sink);
        return flow.close(sink);
    }
    let mut parts = Vec::new();
    turns::read_into(piece, Place::default(), &mut parts);
    for part in parts {
        if let Content::Image(media) = part.content {
            flow.whole(Opened::Image(media), sink);
        }
    }
}

//! What one chunk of Gemini's says, or its whole answer, which is written alike.
//!
//! Invariant: what counts stands at its place in the protocol, never text that looks the same.

use super::read::object;
use super::words::{FINISH, says};
use serde::Deserialize;
use serde_json::value::RawValue;

/// One chunk of Gemini's, or its whole answer.
#[derive(Deserialize)]
pub(super) struct GeminiChunk<'a> {
    #[serde(borrow)]
    pub(super) error: Option<&'a RawValue>,
    #[serde(borrow, rename = "usageMetadata")]
    pub(super) usage: Option<&'a RawValue>,
    #[serde(borrow, rename = "modelVersion")]
    pub(super) model: Option<&'a RawValue>,
    #[serde(borrow)]
    candidates: Option<&'a RawValue>,
    #[serde(borrow, rename = "promptFeedback")]
    feedback: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Candidate<'a> {
    #[serde(borrow, rename = "finishReason")]
    reason: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Feedback<'a> {
    #[serde(borrow, rename = "blockReason")]
    reason: Option<&'a RawValue>,
}

impl GeminiChunk<'_> {
    /// Whether it gives a reason to finish, or to give nothing.
    pub(super) fn finishes(&self) -> bool {
        let candidates = self.candidates.map_or("", RawValue::get);
        let finished = says(candidates.as_bytes(), &FINISH)
            && serde_json::from_str::<Vec<Candidate<'_>>>(candidates)
                .is_ok_and(|list| list.iter().filter_map(|candidate| candidate.reason).any(is_reason));
        let blocked = self.feedback.and_then(|raw| object::<Feedback<'_>>(raw.get().as_bytes()));
        finished || blocked.and_then(|feedback| feedback.reason).is_some_and(is_reason)
    }
}

fn is_reason(raw: &RawValue) -> bool {
    raw.get().len() > 2 && raw.get().starts_with('"') && raw.get() != "\"FINISH_REASON_UNSPECIFIED\""
}

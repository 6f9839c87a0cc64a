//! The members of a body that are looked at, as they stand.
//!
//! Two ways to the same: a walk over the members, which is eight times as fast, and serde, which knows what is wrong where
//! something is. Invariant: what the walk finds is what serde finds in every body that serde takes.

use super::blocks;
use super::even_null;
use super::members;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The inspected keys. A field that is there with `null` counts as absent, but where its place may have to change.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Peek<'a> {
    #[serde(borrow)]
    pub(super) model: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) stream: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "even_null")]
    pub(super) max_tokens: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "even_null")]
    pub(super) max_completion_tokens: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "even_null")]
    pub(super) max_output_tokens: Option<&'a RawValue>,
    #[serde(
        borrow,
        default,
        deserialize_with = "even_null",
        rename = "generationConfig",
        alias = "generation_config"
    )]
    pub(super) generation_config: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) prompt_cache_key: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) background: Option<&'a RawValue>,
    /// Of speech, which has no `stream`.
    #[serde(borrow)]
    pub(super) stream_format: Option<&'a RawValue>,
    /// The one where `null` is not absent: it has a place in the body that may have to change.
    #[serde(borrow, default, deserialize_with = "even_null")]
    pub(super) stream_options: Option<&'a RawValue>,
}

impl<'a> Peek<'a> {
    /// Looks into a body.
    pub(super) fn of(json: &'a str) -> Result<Self, serde_json::Error> {
        match Self::walked(json, blocks::read) {
            Some(peek) => Ok(peek),
            None => serde_json::from_str(json),
        }
    }

    /// `None`: something is wrong with it, or stands there twice.
    fn walked(json: &'a str, read: blocks::Reader) -> Option<Self> {
        let (mut peek, mut seen) = (Self::default(), 0);
        members::walk(json, read, &mut |key, value| peek.member(key, value, &mut seen))?;
        Some(peek)
    }

    fn member(&mut self, key: &'a str, value: &'a str, seen: &mut u16) -> Option<()> {
        let name = key.get(1..key.len().checked_sub(1)?)?;
        let name = if name.contains('\\') { serde_json::from_str(key).ok()? } else { Cow::Borrowed(name) };
        let (number, field, takes_null) = match &*name {
            "model" => (0, &mut self.model, false),
            "stream" => (1, &mut self.stream, false),
            "max_tokens" => (2, &mut self.max_tokens, true),
            "max_completion_tokens" => (3, &mut self.max_completion_tokens, true),
            "max_output_tokens" => (4, &mut self.max_output_tokens, true),
            "generationConfig" | "generation_config" => (5, &mut self.generation_config, true),
            "metadata" => (6, &mut self.metadata, false),
            "prompt_cache_key" => (7, &mut self.prompt_cache_key, false),
            "background" => (8, &mut self.background, false),
            "stream_format" => (9, &mut self.stream_format, false),
            "stream_options" => (10, &mut self.stream_options, true),
            _ => return Some(()),
        };
        let bit = 1 << number;
        if *seen & bit != 0 {
            return None;
        }
        *seen |= bit;
        let value: &RawValue = serde_json::from_str(value).ok()?;
        *field = Some(value).filter(|value| takes_null || value.get() != "null");
        Some(())
    }
}

#[cfg(test)]
mod tests;

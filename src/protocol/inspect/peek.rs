//! The members of a body that are looked at, as they stand.
//!
//! Two ways to the same: a walk over the members, which is eight times as fast, and serde, which knows what is wrong where
//! something is. Invariant: what the walk finds is what serde finds in every body that serde takes.

use super::even_null;
use super::members::{Key, Walked, walk};
use super::wording::Words;
use crate::protocol::plain::plain_len;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// What is wrong with a body.
#[derive(Debug)]
pub(super) enum Odd {
    /// It is not UTF-8.
    Text,
    /// It is not what is read here.
    Json(serde_json::Error),
}

/// The inspected keys. A field that is there with `null` counts as absent, but where its place may have to change.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Peek<'a> {
    #[serde(borrow, default, deserialize_with = "written")]
    pub(super) model: Option<&'a str>,
    #[serde(borrow, default, deserialize_with = "written")]
    pub(super) stream: Option<&'a str>,
    #[serde(borrow, default, deserialize_with = "written_even_null")]
    pub(super) max_tokens: Option<&'a str>,
    #[serde(borrow, default, deserialize_with = "written_even_null")]
    pub(super) max_completion_tokens: Option<&'a str>,
    #[serde(borrow, default, deserialize_with = "written_even_null")]
    pub(super) max_output_tokens: Option<&'a str>,
    #[serde(
        borrow,
        default,
        deserialize_with = "written_even_null",
        rename = "generationConfig",
        alias = "generation_config"
    )]
    pub(super) generation_config: Option<&'a str>,
    #[serde(borrow, default, deserialize_with = "written")]
    pub(super) metadata: Option<&'a str>,
    #[serde(borrow, default, deserialize_with = "written")]
    pub(super) prompt_cache_key: Option<&'a str>,
    #[serde(borrow, default, deserialize_with = "written")]
    pub(super) background: Option<&'a str>,
    /// Of speech, which has no `stream`.
    #[serde(borrow, default, deserialize_with = "written")]
    pub(super) stream_format: Option<&'a str>,
    /// The one where `null` is not absent: it has a place in the body that may have to change.
    #[serde(borrow, default, deserialize_with = "written_even_null")]
    pub(super) stream_options: Option<&'a str>,
    /// Seen by the walk alone, which does not look into them.
    #[serde(skip)]
    pub(super) words: Words<'a>,
}

impl<'a> Peek<'a> {
    /// Looks into a body.
    pub(super) fn of(body: &'a [u8]) -> Result<Self, Odd> {
        // What is skipped is not looked at otherwise, and a provider may read such bytes in another way.
        let text = || simdutf8::basic::from_utf8(body).map_err(|_| Odd::Text);
        match Self::walked(body) {
            Some((peek, Walked::Ascii)) => Ok(peek),
            Some((peek, Walked::Bytes)) => text().map(|_| peek),
            None => serde_json::from_str(text()?).map_err(Odd::Json),
        }
    }

    /// `None`: something is wrong with it, or stands there twice.
    fn walked(body: &'a [u8]) -> Option<(Self, Walked)> {
        let (mut peek, mut seen) = (Self::default(), 0);
        let walked = walk(body, |key, value| peek.member(key, value, &mut seen))?;
        Some((peek, walked))
    }

    fn member(&mut self, key: Key<'a>, value: &'a [u8], seen: &mut u16) -> Option<()> {
        let (number, field, takes_null) = match &*key.name()? {
            b"model" => (0, &mut self.model, false),
            b"stream" => (1, &mut self.stream, false),
            b"max_tokens" => (2, &mut self.max_tokens, true),
            b"max_completion_tokens" => (3, &mut self.max_completion_tokens, true),
            b"max_output_tokens" => (4, &mut self.max_output_tokens, true),
            b"generationConfig" | b"generation_config" => (5, &mut self.generation_config, true),
            b"metadata" => (6, &mut self.metadata, false),
            b"prompt_cache_key" => (7, &mut self.prompt_cache_key, false),
            b"background" => (8, &mut self.background, false),
            b"stream_format" => (9, &mut self.stream_format, false),
            b"stream_options" => (10, &mut self.stream_options, true),
            other => {
                self.words.member(other, value);
                return Some(());
            }
        };
        let bit = 1 << number;
        if *seen & bit != 0 {
            return None;
        }
        *seen |= bit;
        let value = sound(value)?;
        *field = Some(value).filter(|value| takes_null || *value != "null");
        Some(())
    }
}

/// A member's value, where it is JSON throughout. Of numbers and literals the walk has seen that they are, and a string
/// without escapes has nothing in it that could be wrong.
fn sound(value: &[u8]) -> Option<&str> {
    let is_known = match value {
        [b'"', text @ .., b'"'] => plain_len(text) == text.len(),
        [b'"' | b'{' | b'[', ..] => false,
        _ => true,
    };
    if is_known {
        return std::str::from_utf8(value).ok();
    }
    serde_json::from_slice::<&RawValue>(value).ok().map(RawValue::get)
}

/// A member as it stands; `null` is as if it were not there.
fn written<'de: 'a, 'a, D: Deserializer<'de>>(json: D) -> Result<Option<&'a str>, D::Error> {
    Option::<&RawValue>::deserialize(json).map(|raw| raw.map(RawValue::get))
}

/// A member as it stands, `null` included.
fn written_even_null<'de: 'a, 'a, D: Deserializer<'de>>(json: D) -> Result<Option<&'a str>, D::Error> {
    even_null(json).map(|raw| raw.map(RawValue::get))
}

/// These members of a JSON object, where they are and are not `null`. `None`: it is no object, or one of them stands there
/// twice. What is inside of the others is not looked at.
pub(in crate::protocol) fn fields<'a, const N: usize>(
    json: &'a [u8],
    names: [&str; N],
) -> Option<[Option<&'a RawValue>; N]> {
    let mut found: [Option<&RawValue>; N] = [None; N];
    each(json, |name, value| {
        let Some(at) = names.iter().position(|wanted| wanted.as_bytes() == name) else { return Some(()) };
        let value = serde_json::from_slice(value).ok()?;
        found[at].replace(value).is_none().then_some(())
    })?;
    Some(found.map(|value| value.filter(|value| value.get() != "null")))
}

/// Tells every member of a JSON object: its key without quotes and escapes, and its value as it stands. `None`: it is no
/// object, or the visitor said so. What is inside of a value is not looked at.
#[inline]
pub(in crate::protocol) fn each<'a>(
    json: &'a [u8],
    mut visit: impl FnMut(&[u8], &'a [u8]) -> Option<()>,
) -> Option<()> {
    walk(json, |key, value| visit(&key.name()?, value)).map(|_| ())
}

#[cfg(test)]
mod tests;

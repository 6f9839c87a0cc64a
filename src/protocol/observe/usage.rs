//! Token counts as each protocol writes them, converted to types that do not overlap.
//!
//! Invariants: what is subtracted never goes below zero, whatever a provider claims; a count that cannot be one
//! is as if it were not there; counts are cumulative, so one that is missing later stays as it was.

mod plain;

use super::estimate;
use crate::protocol::inspect::each;
use crate::protocol::{Grammar, Operation};
use crate::usage::{Media, Usage};
use serde::Deserialize;
use serde_json::value::RawValue;

/// An object of which some members are read, as they stand; one that is there twice makes it none.
macro_rules! members {
    ($name:ident { $($(#[$doc:meta])* $field:ident = $($key:literal)|+),* $(,)? }) => {
        #[derive(Default)]
        struct $name<'a> {
            $($(#[$doc])* $field: Count<'a>,)*
        }

        impl<'a> $name<'a> {
            fn of(json: &'a [u8]) -> Option<Self> {
                let mut found = read(json, Self::take)?;
                $(found.$field = found.$field.filter(|value| *value != b"null");)*
                Some(found)
            }

            #[inline]
            fn take(&mut self, name: &[u8], value: &'a [u8]) -> Option<()> {
                let place = match name {
                    $($($key)|+ => &mut self.$field,)*
                    _ => return Some(()),
                };
                place.replace(value).is_none().then_some(())
            }
        }
    };
}
pub(super) use members;

/// What takes all members of an object; one that it does not take makes it none.
#[inline]
pub(super) fn read<'a, T: Default>(
    json: &'a [u8],
    take: impl Fn(&mut T, &[u8], &'a [u8]) -> Option<()>,
) -> Option<T> {
    if json.len() <= PLAIN_BYTES_MAX {
        let mut found = T::default();
        if plain::each(json, |name, value| take(&mut found, name, value)).is_some() {
            return Some(found);
        }
    }
    let mut found = T::default();
    each(json, |name, value| take(&mut found, name, value))?;
    Some(found)
}

/// No object of counts is longer; a whole answer is.
const PLAIN_BYTES_MAX: usize = 512;

/// What an answer's usage object counts, over what was counted before it.
pub fn counted(grammar: Grammar, raw: &RawValue, seen: Option<Usage>) -> Option<Usage> {
    let mut tally = Tally { grammar, reranks: false, seen, keys: &[], unreported: 0 };
    tally.add(Some(raw.get().as_bytes()));
    tally.seen
}

/// The counts seen so far; later ones replace earlier ones.
#[derive(Debug)]
pub(super) struct Tally {
    grammar: Grammar,
    reranks: bool,
    seen: Option<Usage>,
    /// The keys of the text the model says.
    keys: &'static [&'static [u8]],
    /// Bytes of text since output was last counted.
    unreported: u64,
}

impl Tally {
    pub(super) fn new(operation: Operation) -> Self {
        let keys = estimate::said_under(operation);
        let reranks = operation == Operation::Rerank;
        Self { grammar: operation.grammar(), reranks, seen: None, keys, unreported: 0 }
    }

    pub(super) fn usage(&self) -> Option<Usage> {
        self.seen
    }

    /// How many bytes of text the counts do not cover.
    pub(super) fn unreported(&self) -> u64 {
        self.unreported
    }

    /// Notes the text in a piece of the answer, of which counts are read afterwards, and so many bytes before it.
    pub(super) fn said(&mut self, json: &[u8], before: u64) {
        self.unreported = self.unreported.saturating_add(before).saturating_add(self.text_bytes(json));
    }

    pub(super) fn text_bytes(&self, json: &[u8]) -> u64 {
        estimate::text_bytes(json, self.keys)
    }

    /// Reads a usage object, if it is one.
    pub(super) fn add(&mut self, raw: Option<&[u8]>) {
        let Some(json) = raw else { return };
        let read = match self.grammar {
            Grammar::Chat if self.reranks => rerank_usage(json),
            Grammar::Chat => Chat::of(json).and_then(|counts| counts.usage()),
            Grammar::Responses => Responses::of(json).and_then(|counts| counts.usage()),
            Grammar::Messages => Messages::of(json).and_then(|counts| counts.over(self.seen)),
            Grammar::Gemini => Gemini::of(json).and_then(|counts| counts.usage()),
            Grammar::Media => media_usage(json),
        };
        let Some(read) = read else { return };
        if read.output > 0 {
            self.unreported = 0;
        }
        self.seen = Some(kept(read, self.seen.unwrap_or_default()));
    }
}

/// The later counts, and of those before what the later ones say nothing of.
fn kept(read: Usage, seen: Usage) -> Usage {
    let (mut input, mut output) = (read, read);
    if read.input == 0 && read.cache_read == 0 && read.cache_write == 0 {
        input = seen;
    }
    if read.output == 0 {
        output = seen;
    }
    let web_searches = read.web_searches.max(seen.web_searches);
    let audio_seconds = read.audio_seconds.max(seen.audio_seconds);
    Usage { output: output.output, reasoning: output.reasoning, web_searches, audio_seconds, ..input }
}

/// A number that may be there, or `null`, or something else.
pub(super) type Count<'a> = Option<&'a [u8]>;

fn count(raw: Count<'_>) -> Option<u64> {
    let digits = raw.filter(|digits| !digits.is_empty())?;
    digits.iter().try_fold(0_u64, |count, byte| {
        let digit = byte.wrapping_sub(b'0');
        let count = count * 10 + u64::from(digit);
        (digit < 10 && count <= TOKENS_MAX).then_some(count)
    })
}

/// A thousand times the largest context there is: whoever claims more has a defect.
const TOKENS_MAX: u64 = 1_000_000_000;

fn details(raw: Count<'_>) -> Details<'_> {
    raw.and_then(Details::of).unwrap_or_default()
}

members! {
    Details {
        cached = b"cached_tokens",
        /// Of realtime: which of it was no text.
        of_cache = b"cached_tokens_details",
        written = b"cache_write_tokens",
        reasoning = b"reasoning_tokens" | b"thinking_tokens",
        audio = b"audio_tokens",
        image = b"image_tokens",
    }
}

impl Details<'_> {
    fn kinds(&self) -> Kinds {
        Kinds { audio: count(self.audio).unwrap_or(0), image: count(self.image).unwrap_or(0), video: 0 }
    }
}

/// Tokens that were no text.
#[derive(Default, Clone, Copy)]
struct Kinds {
    audio: u64,
    image: u64,
    video: u64,
}

/// What of the prompt and of the answer was no text. Where nobody says which of it the cache gave, that is what the
/// rest of the prompt has no room for.
fn media(usage: &Usage, sent: Kinds, cached: Option<Kinds>, made: Kinds) -> Media {
    let from_cache = |kind: fn(&Kinds) -> u64| {
        let told = cached.as_ref().map(kind);
        told.unwrap_or_else(|| kind(&sent).saturating_sub(usage.input)).min(usage.cache_read)
    };
    let (cache_read_audio, cache_read_image) =
        (from_cache(|kinds| kinds.audio), from_cache(|kinds| kinds.image));
    Media {
        input_audio: sent.audio.saturating_sub(cache_read_audio).min(usage.input),
        input_image: sent.image.saturating_sub(cache_read_image).min(usage.input),
        input_video: sent.video.min(usage.input),
        cache_read_audio,
        cache_read_image,
        output_audio: made.audio.min(usage.output),
        output_image: made.image.min(usage.output),
        output_video: made.video.min(usage.output),
    }
}

members! {
    Chat {
        prompt_tokens = b"prompt_tokens",
        completion_tokens = b"completion_tokens",
        total_tokens = b"total_tokens",
        prompt_tokens_details = b"prompt_tokens_details",
        completion_tokens_details = b"completion_tokens_details",
        /// DeepSeek.
        prompt_cache_hit_tokens = b"prompt_cache_hit_tokens",
        /// Moonshot.
        cached_tokens = b"cached_tokens",
    }
}

impl Chat<'_> {
    fn usage(&self) -> Option<Usage> {
        let (prompt, completion) = (count(self.prompt_tokens), count(self.completion_tokens));
        if prompt.is_none() && completion.is_none() {
            return None;
        }
        let (prompt, completion) = (prompt.unwrap_or(0), completion.unwrap_or(0));
        let sent = details(self.prompt_tokens_details);
        let cached = count(sent.cached)
            .or_else(|| count(self.prompt_cache_hit_tokens))
            .or_else(|| count(self.cached_tokens));
        let written = count(sent.written);
        let made = details(self.completion_tokens_details);
        let reasoning = count(made.reasoning);
        let beside = self.beside(prompt + completion, reasoning, cached.or(written).is_some());
        let reasoning = reasoning.unwrap_or(beside);
        let usage = inclusive(prompt, cached, written, (completion + beside, reasoning));
        Some(Usage { media: media(&usage, sent.kinds(), None, made.kinds()), ..usage })
    }

    /// Reasoning that is counted beside the completion; the total tells. xAI gives its number, Google's
    /// compatible address only the total: there the rest is reasoning, unless it could be the cache's.
    fn beside(&self, counted: u64, reasoning: Option<u64>, cached: bool) -> u64 {
        let rest = count(self.total_tokens).unwrap_or(0).saturating_sub(counted);
        match reasoning {
            Some(reasoning) if reasoning == rest => rest,
            None if !cached && self.prompt_tokens.is_some() && self.completion_tokens.is_some() => rest,
            _ => 0,
        }
    }
}

/// Of a rerank: Jina's `usage` may say the total alone, and it is all input; Cohere's `meta` counts searches, of which
/// one is what a request costs, and others' `meta` tokens.
fn rerank_usage(json: &[u8]) -> Option<Usage> {
    let counts = Rerank::of(json)?;
    let tokens = counts.tokens.and_then(Responses::of);
    let billed = counts.billed_units.and_then(Billed::of);
    let counted = tokens.and_then(|counts| counts.usage());
    let in_total = || count(counts.total_tokens).map(|input| Usage { input, ..Usage::default() });
    let one_search = || {
        let searches = count(billed?.search_units)?;
        (searches == 1).then(Usage::default)
    };
    counted.or_else(in_total).or_else(one_search)
}

members! {
    Rerank {
        total_tokens = b"total_tokens",
        tokens = b"tokens",
        billed_units = b"billed_units",
    }
}

members! {
    Billed {
        search_units = b"search_units",
    }
}

/// Of pictures and sound: tokens, in the words of one protocol or another, or seconds.
fn media_usage(json: &[u8]) -> Option<Usage> {
    let in_tokens = Responses::of(json).and_then(|counts| counts.usage());
    let as_chat = || Chat::of(json).and_then(|counts| counts.usage());
    let in_seconds = || Seconds::of(json).and_then(|counts| counts.usage());
    in_tokens.or_else(as_chat).or_else(in_seconds)
}

members! {
    Seconds {
        seconds = b"seconds",
    }
}

impl Seconds<'_> {
    /// A begun second counts whole, as it is billed.
    fn usage(&self) -> Option<Usage> {
        let seconds: f64 = std::str::from_utf8(self.seconds?).ok()?.parse().ok()?;
        let sound = (0.0..SECONDS_MAX).contains(&seconds);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the range above")]
        let whole = || Usage { audio_seconds: seconds.ceil() as u64, ..Usage::default() };
        sound.then(whole)
    }
}

/// A year.
const SECONDS_MAX: f64 = 31_536_000.0;

members! {
    Responses {
        input_tokens = b"input_tokens",
        output_tokens = b"output_tokens",
        input_tokens_details = b"input_tokens_details" | b"input_token_details",
        output_tokens_details = b"output_tokens_details" | b"output_token_details",
    }
}

impl Responses<'_> {
    fn usage(&self) -> Option<Usage> {
        let input = count(self.input_tokens)?;
        let sent = details(self.input_tokens_details);
        let output = count(self.output_tokens).unwrap_or(0);
        let made = details(self.output_tokens_details);
        let reasoning = count(made.reasoning).unwrap_or(0);
        let usage = inclusive(input, count(sent.cached), count(sent.written), (output, reasoning));
        let cached = sent.of_cache.and_then(Details::of).map(|cached| cached.kinds());
        Some(Usage { media: media(&usage, sent.kinds(), cached, made.kinds()), ..usage })
    }
}

/// From a prompt's count that includes what the cache gave and took.
fn inclusive(prompt: u64, read: Option<u64>, written: Option<u64>, (output, reasoning): (u64, u64)) -> Usage {
    let cache_read = read.unwrap_or(0).min(prompt);
    let cache_write = written.unwrap_or(0).min(prompt - cache_read);
    let input = prompt - cache_read - cache_write;
    Usage { input, output, cache_read, cache_write, reasoning: reasoning.min(output), ..Usage::default() }
}

members! {
    Messages {
        input_tokens = b"input_tokens",
        output_tokens = b"output_tokens",
        cache_creation_input_tokens = b"cache_creation_input_tokens",
        cache_read_input_tokens = b"cache_read_input_tokens",
        output_tokens_details = b"output_tokens_details",
        /// The cache writes by how long they are kept.
        cache_creation = b"cache_creation",
        server_tool_use = b"server_tool_use",
    }
}

members! {
    Kept {
        ephemeral_1h_input_tokens = b"ephemeral_1h_input_tokens",
    }
}

members! {
    ServerTools {
        web_search_requests = b"web_search_requests",
    }
}

impl Messages<'_> {
    /// The event at the start knows the input, the one at the end the output: each field stands until said
    /// again.
    fn over(&self, seen: Option<Usage>) -> Option<Usage> {
        let (input, output) = (count(self.input_tokens), count(self.output_tokens));
        if input.is_none() && output.is_none() {
            return None;
        }
        let seen = seen.unwrap_or_default();
        let output = output.unwrap_or(0);
        let reasoning = count(details(self.output_tokens_details).reasoning).unwrap_or(seen.reasoning);
        // A compatible provider that counts at the start says 0 at the end, or the other way round.
        let said = |raw| count(raw).filter(|count| *count > 0);
        let (read, written) = (said(self.cache_read_input_tokens), said(self.cache_creation_input_tokens));
        let moved = read.is_some() || written.is_some();
        let cache_write = written.unwrap_or(seen.cache_write);
        let hour =
            self.cache_creation.and_then(Kept::of).and_then(|kept| count(kept.ephemeral_1h_input_tokens));
        let searches =
            self.server_tool_use.and_then(ServerTools::of).and_then(|tools| count(tools.web_search_requests));
        Some(Usage {
            input: input.filter(|input| *input > 0 || moved).unwrap_or(seen.input),
            output,
            cache_read: read.unwrap_or(seen.cache_read),
            cache_write,
            reasoning: reasoning.min(output),
            cache_write_1h: hour.unwrap_or(seen.cache_write_1h).min(cache_write),
            web_searches: searches.unwrap_or(seen.web_searches),
            ..Usage::default()
        })
    }
}

members! {
    Gemini {
        prompt = b"promptTokenCount",
        tool_use = b"toolUsePromptTokenCount",
        cached = b"cachedContentTokenCount",
        candidates = b"candidatesTokenCount",
        thoughts = b"thoughtsTokenCount",
        prompt_kinds = b"promptTokensDetails",
        cached_kinds = b"cacheTokensDetails",
        candidate_kinds = b"candidatesTokensDetails",
    }
}

#[derive(Deserialize)]
struct Modality<'a> {
    #[serde(borrow)]
    modality: Option<&'a RawValue>,
    #[serde(borrow, rename = "tokenCount")]
    tokens: Option<&'a RawValue>,
}

/// Gemini's list of counts by modality.
fn kinds(raw: Count<'_>) -> Option<Kinds> {
    let listed: Vec<Modality<'_>> = serde_json::from_slice(raw?).ok()?;
    let mut kinds = Kinds::default();
    for one in listed {
        let of = match one.modality.map_or("", RawValue::get) {
            "\"AUDIO\"" => &mut kinds.audio,
            "\"IMAGE\"" => &mut kinds.image,
            "\"VIDEO\"" => &mut kinds.video,
            _ => continue,
        };
        *of = of.saturating_add(count(one.tokens.map(|raw| raw.get().as_bytes())).unwrap_or(0));
    }
    Some(kinds)
}

impl Gemini<'_> {
    fn usage(&self) -> Option<Usage> {
        let prompt = count(self.prompt)?.saturating_add(count(self.tool_use).unwrap_or(0));
        let thoughts = count(self.thoughts).unwrap_or(0);
        let output = count(self.candidates).unwrap_or(0).saturating_add(thoughts);
        let usage = inclusive(prompt, count(self.cached), None, (output, thoughts));
        let (sent, made) = (kinds(self.prompt_kinds), kinds(self.candidate_kinds));
        let cached = kinds(self.cached_kinds);
        Some(Usage {
            media: media(&usage, sent.unwrap_or_default(), cached, made.unwrap_or_default()),
            ..usage
        })
    }
}

#[cfg(test)]
mod kinds;
#[cfg(test)]
mod tests;

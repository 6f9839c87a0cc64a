//! What an exchange costs: counted tokens times rates, in whole numbers.
//!
//! Invariant: no floating point. A rate is nano-dollars per million units, so that every published price is a
//! whole number; an amount is nano-dollars, rounded once, at the end, half up. Invariant: every token is
//! priced exactly once, by the rate of what it was or of what that is a kind of; where a token has neither,
//! the amount is not known, which is something else than nothing.

mod clause;
pub mod decimal;
pub mod table;

use crate::usage::Usage;
pub use decimal::Rate;
use std::sync::Arc;

/// What may have a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Prompt tokens.
    Input,
    /// Completion tokens.
    Output,
    /// Prompt tokens from the cache.
    CacheRead,
    /// Prompt tokens written to the cache, for minutes.
    CacheWrite,
    /// Prompt tokens written to the cache, for an hour.
    CacheWrite1h,
    /// Completion tokens that were reasoning.
    Reasoning,
    /// Sound in the prompt.
    InputAudio,
    /// Pictures in the prompt.
    InputImage,
    /// Film in the prompt.
    InputVideo,
    /// Sound from the cache.
    CacheReadAudio,
    /// Pictures from the cache.
    CacheReadImage,
    /// Sound in the answer.
    OutputAudio,
    /// Pictures in the answer.
    OutputImage,
    /// Film in the answer.
    OutputVideo,
    /// A search of the web.
    WebSearch,
    /// A second of sound, where sound is billed by time.
    AudioSecond,
    /// A second of film.
    VideoSecond,
    /// The request itself.
    Request,
}

impl Unit {
    /// Every unit, in the order of its number.
    pub const ALL: [Self; 18] = [
        Self::Input,
        Self::Output,
        Self::CacheRead,
        Self::CacheWrite,
        Self::CacheWrite1h,
        Self::Reasoning,
        Self::InputAudio,
        Self::InputImage,
        Self::InputVideo,
        Self::CacheReadAudio,
        Self::CacheReadImage,
        Self::OutputAudio,
        Self::OutputImage,
        Self::OutputVideo,
        Self::WebSearch,
        Self::AudioSecond,
        Self::VideoSecond,
        Self::Request,
    ];

    /// Its word in the table and in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::CacheRead => "cache_read",
            Self::CacheWrite => "cache_write",
            Self::CacheWrite1h => "cache_write_1h",
            Self::Reasoning => "reasoning",
            Self::InputAudio => "input_audio",
            Self::InputImage => "input_image",
            Self::InputVideo => "input_video",
            Self::CacheReadAudio => "cache_read_audio",
            Self::CacheReadImage => "cache_read_image",
            Self::OutputAudio => "output_audio",
            Self::OutputImage => "output_image",
            Self::OutputVideo => "output_video",
            Self::WebSearch => "web_search",
            Self::AudioSecond => "audio_second",
            Self::VideoSecond => "video_second",
            Self::Request => "request",
        }
    }

    /// What it is a kind of, and priced as where it has no rate of its own.
    fn kind_of(self) -> Option<Self> {
        match self {
            Self::CacheWrite1h => Some(Self::CacheWrite),
            Self::CacheReadAudio | Self::CacheReadImage => Some(Self::CacheRead),
            Self::CacheRead | Self::CacheWrite | Self::InputAudio | Self::InputImage | Self::InputVideo => {
                Some(Self::Input)
            }
            Self::Reasoning | Self::OutputAudio | Self::OutputImage | Self::OutputVideo => Some(Self::Output),
            Self::Input
            | Self::Output
            | Self::WebSearch
            | Self::AudioSecond
            | Self::VideoSecond
            | Self::Request => None,
        }
    }

    /// Fees come on top: most models have none, so that a missing one is none.
    fn is_fee(self) -> bool {
        matches!(self, Self::WebSearch | Self::Request)
    }
}

/// One rate per unit that has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates([Option<Rate>; Unit::ALL.len()]);

impl Rates {
    /// Sets a unit's own rate.
    pub fn set(&mut self, unit: Unit, rate: Rate) {
        self.0[unit as usize] = Some(rate);
    }

    /// A unit's own rate.
    pub fn own(&self, unit: Unit) -> Option<Rate> {
        self.0[unit as usize]
    }

    /// What a unit is priced at.
    fn effective(&self, unit: Unit) -> Option<Rate> {
        self.own(unit).or_else(|| self.effective(unit.kind_of()?))
    }

    /// Nano-dollars; `None`: something was used that has no rate.
    fn amount(&self, usage: &Usage) -> Option<u64> {
        // Eighteen times 2^64 units at most 2^50: far from 2^128.
        let (mut sum, mut is_known): (u128, bool) = (0, true);
        each_part(usage, |unit, count| match self.effective(unit) {
            Some(rate) => sum += u128::from(count) * u128::from(rate.nanos_per_million()),
            None => is_known &= unit.is_fee(),
        });
        is_known.then(|| u64::try_from((sum + MILLION / 2) / MILLION).unwrap_or(u64::MAX))
    }
}

const MILLION: u128 = 1_000_000;

/// Tells every counted thing in exactly one part; most parts of most exchanges are nothing, of which nothing is told.
pub fn each_part(usage: &Usage, mut tell: impl FnMut(Unit, u64)) {
    let media = &usage.media;
    let (mut input, mut output, mut read, mut write) =
        (usage.input, usage.output, usage.cache_read, usage.cache_write);
    let mut part = |unit, count| {
        if count > 0 {
            tell(unit, count);
        }
    };
    part(Unit::CacheWrite1h, take(&mut write, usage.cache_write_1h));
    part(Unit::CacheWrite, write);
    part(Unit::CacheReadAudio, take(&mut read, media.cache_read_audio));
    part(Unit::CacheReadImage, take(&mut read, media.cache_read_image));
    part(Unit::CacheRead, read);
    part(Unit::InputAudio, take(&mut input, media.input_audio));
    part(Unit::InputImage, take(&mut input, media.input_image));
    part(Unit::InputVideo, take(&mut input, media.input_video));
    part(Unit::Input, input);
    part(Unit::Reasoning, take(&mut output, usage.reasoning));
    part(Unit::OutputAudio, take(&mut output, media.output_audio));
    part(Unit::OutputImage, take(&mut output, media.output_image));
    part(Unit::OutputVideo, take(&mut output, media.output_video));
    part(Unit::Output, output);
    part(Unit::WebSearch, usage.web_searches);
    part(Unit::AudioSecond, usage.audio_seconds);
    part(Unit::VideoSecond, usage.video_seconds);
    part(Unit::Request, 1);
}

/// Takes a part out of what is left; a part that is larger than its whole is the whole.
fn take(left: &mut u64, part: u64) -> u64 {
    let taken = part.min(*left);
    *left -= taken;
    taken
}

/// A model's price at a provider: it may depend on the day, on the hour and on the size of the prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// The last one that applies counts, the first one where none does. Never empty.
    cases: Vec<Case>,
}

/// Rates and when they apply.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Case {
    when: When,
    /// Rates of prompts larger than so many tokens, ascending; the first is for any.
    bands: Vec<(u64, Rates)>,
}

/// When rates apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    /// From this Unix second on.
    From(u64),
    /// Every day from this second of the day, up to that one, in UTC.
    Daily(u64, u64),
}

impl When {
    fn applies(self, unix_seconds: u64) -> bool {
        match self {
            Self::Always => true,
            Self::From(start) => unix_seconds >= start,
            Self::Daily(start, end) => (start..end).contains(&(unix_seconds % DAY_SECONDS)),
        }
    }
}

const DAY_SECONDS: u64 = 24 * 3600;

impl Price {
    /// The same rates always.
    pub fn flat(rates: Rates) -> Arc<Self> {
        Arc::new(Self { cases: vec![Case { when: When::Always, bands: vec![(0, rates)] }] })
    }

    /// What an exchange that began then costs, in nano-dollars; `None`: something was used that has no rate.
    pub fn cost(&self, usage: &Usage, unix_seconds: u64) -> Option<u64> {
        let applies = |case: &&Case| case.when.applies(unix_seconds);
        let case = self.cases.iter().rev().find(applies).or(self.cases.first())?;
        let prompt = usage.input.saturating_add(usage.cache_read).saturating_add(usage.cache_write);
        let larger = case.bands.iter().rev().find(|(above, _)| prompt > *above);
        larger.or(case.bands.first())?.1.amount(usage)
    }

    /// What so many tokens read and written may cost in an exchange that begins then: text, each at the dearest of what
    /// it can turn out to be.
    pub fn expected(&self, input: u64, output: u64, unix_seconds: u64) -> Option<u64> {
        let plain = Usage { input, output, ..Usage::default() };
        let dear = Usage { cache_write: input, output, reasoning: output, ..Usage::default() };
        [plain, dear].iter().filter_map(|usage| self.cost(usage, unix_seconds)).max()
    }
}

#[cfg(test)]
mod tests;

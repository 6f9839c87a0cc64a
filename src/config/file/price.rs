//! An operator's own prices, as written.

use crate::price::Unit;
use schemars::JsonSchema;
use serde::Deserialize;

/// What a model costs, instead of the built-in price; US dollars per million tokens. The first that matches counts. A
/// kind of token without a price of its own costs what it is a kind of: cached input what input costs, reasoning what
/// output costs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Price {
    /// The model as its provider calls it, or as it is called here: a name, or a pattern with `*`.
    pub(in super::super) model: String,
    /// Only at this channel; at every one if absent.
    pub(in super::super) channel: Option<String>,
    /// Prompt tokens.
    #[schemars(range(min = 0.0, max = 100_000.0))]
    pub(in super::super) input: Option<f64>,
    /// Completion tokens.
    #[schemars(range(min = 0.0, max = 100_000.0))]
    pub(in super::super) output: Option<f64>,
    /// Prompt tokens read from the provider's cache; as `input` if absent.
    #[schemars(range(min = 0.0, max = 100_000.0))]
    pub(in super::super) cache_read: Option<f64>,
    /// Prompt tokens written to the provider's cache; as `input` if absent.
    #[schemars(range(min = 0.0, max = 100_000.0))]
    pub(in super::super) cache_write: Option<f64>,
    /// Prompt tokens written to the cache for an hour; as `cache_write` if absent.
    #[schemars(range(min = 0.0, max = 100_000.0))]
    pub(in super::super) cache_write_1h: Option<f64>,
    /// Completion tokens that were reasoning; as `output` if absent.
    #[schemars(range(min = 0.0, max = 100_000.0))]
    pub(in super::super) reasoning: Option<f64>,
    /// Sound in the prompt; as `input` if absent.
    #[schemars(range(min = 0.0, max = 100_000.0))]
    pub(in super::super) input_audio: Option<f64>,
    /// Pictures in the prompt; as `input` if absent.
    #[schemars(range(min = 0.0, max = 100_000.0))]
    pub(in super::super) input_image: Option<f64>,
    /// Sound in the answer; as `output` if absent.
    #[schemars(range(min = 0.0, max = 100_000.0))]
    pub(in super::super) output_audio: Option<f64>,
    /// Pictures in the answer; as `output` if absent.
    #[schemars(range(min = 0.0, max = 100_000.0))]
    pub(in super::super) output_image: Option<f64>,
    /// A thousand searches of the web by the provider; none if absent.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub(in super::super) web_search: Option<f64>,
    /// A thousand seconds of sound, where it is billed by time; unknown if absent.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub(in super::super) audio_second: Option<f64>,
    /// A thousand requests, beside their tokens; none if absent.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub(in super::super) request: Option<f64>,
}

impl Price {
    /// What was written, by unit.
    pub(in super::super) fn written(&self) -> impl Iterator<Item = (Unit, f64)> {
        let all = [
            (Unit::Input, self.input),
            (Unit::Output, self.output),
            (Unit::CacheRead, self.cache_read),
            (Unit::CacheWrite, self.cache_write),
            (Unit::CacheWrite1h, self.cache_write_1h),
            (Unit::Reasoning, self.reasoning),
            (Unit::InputAudio, self.input_audio),
            (Unit::InputImage, self.input_image),
            (Unit::OutputAudio, self.output_audio),
            (Unit::OutputImage, self.output_image),
            (Unit::WebSearch, self.web_search),
            (Unit::AudioSecond, self.audio_second),
            (Unit::Request, self.request),
        ];
        all.into_iter().filter_map(|(unit, price)| price.map(|price| (unit, price)))
    }
}

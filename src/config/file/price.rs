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
    /// The model as the provider is asked for it, or, if none matches that, as it is called here (before `model_map`). Not as the client asked for it.
    #[schemars(extend("x-type" = "name or pattern"))]
    pub(in super::super) model: String,
    /// Only what this channel answers.
    #[schemars(extend("x-type" = "channel name", "x-default" = "every channel"))]
    pub(in super::super) channel: Option<String>,
    /// Prompt tokens; US dollars per million, with up to nine digits after the point, exactly. So are the others, but the last three.
    #[schemars(range(min = 0.0, max = 100_000.0))]
    #[schemars(extend("x-default" = "unknown"))]
    pub(in super::super) input: Option<f64>,
    /// Completion tokens.
    #[schemars(range(min = 0.0, max = 100_000.0))]
    #[schemars(extend("x-default" = "unknown"))]
    pub(in super::super) output: Option<f64>,
    /// Prompt tokens from the provider's cache.
    #[schemars(range(min = 0.0, max = 100_000.0))]
    #[schemars(extend("x-default" = "`input`"))]
    pub(in super::super) cache_read: Option<f64>,
    /// Prompt tokens written to it.
    #[schemars(range(min = 0.0, max = 100_000.0))]
    #[schemars(extend("x-default" = "`input`"))]
    pub(in super::super) cache_write: Option<f64>,
    /// Those written for an hour (Anthropic).
    #[schemars(range(min = 0.0, max = 100_000.0))]
    #[schemars(extend("x-default" = "`cache_write`"))]
    pub(in super::super) cache_write_1h: Option<f64>,
    /// Completion tokens that were reasoning.
    #[schemars(range(min = 0.0, max = 100_000.0))]
    #[schemars(extend("x-default" = "`output`"))]
    pub(in super::super) reasoning: Option<f64>,
    /// Sound in the prompt.
    #[schemars(range(min = 0.0, max = 100_000.0))]
    #[schemars(extend("x-default" = "`input`"))]
    pub(in super::super) input_audio: Option<f64>,
    /// Pictures in the prompt.
    #[schemars(range(min = 0.0, max = 100_000.0))]
    #[schemars(extend("x-default" = "`input`"))]
    pub(in super::super) input_image: Option<f64>,
    /// Sound in the answer.
    #[schemars(range(min = 0.0, max = 100_000.0))]
    #[schemars(extend("x-default" = "`output`"))]
    pub(in super::super) output_audio: Option<f64>,
    /// Pictures in the answer.
    #[schemars(range(min = 0.0, max = 100_000.0))]
    #[schemars(extend("x-default" = "`output`"))]
    pub(in super::super) output_image: Option<f64>,
    /// A thousand searches the provider did (Anthropic).
    #[schemars(range(min = 0.0, max = 100.0))]
    #[schemars(extend("x-default" = "none"))]
    pub(in super::super) web_search: Option<f64>,
    /// A thousand seconds of sound, where a provider bills transcriptions by time (`whisper-1`: 0.1).
    #[schemars(range(min = 0.0, max = 100.0))]
    #[schemars(extend("x-default" = "unknown"))]
    pub(in super::super) audio_second: Option<f64>,
    /// A thousand seconds of film.
    #[schemars(range(min = 0.0, max = 1_000.0))]
    #[schemars(extend("x-default" = "unknown"))]
    pub(in super::super) video_second: Option<f64>,
    /// A thousand requests, beside their tokens.
    #[schemars(range(min = 0.0, max = 100.0))]
    #[schemars(extend("x-default" = "none"))]
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
            (Unit::VideoSecond, self.video_second),
            (Unit::Request, self.request),
        ];
        all.into_iter().filter_map(|(unit, price)| price.map(|price| (unit, price)))
    }
}

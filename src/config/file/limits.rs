//! Limits, as written.

use schemars::JsonSchema;
use serde::Deserialize;

/// Limits; what is absent is unlimited.
#[derive(Debug, Default, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Limits {
    /// Requests per minute, refilled evenly: `rpm = 100` admits 100 at once when rested and then one every 0.6 s.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    #[schemars(extend("x-default" = "no limit"))]
    pub(in super::super) rpm: Option<u64>,
    /// How many may come at once. Never more than burst + rate × time.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    #[schemars(extend("x-default" = "`rpm`"))]
    pub(in super::super) burst: Option<u64>,
    /// Tokens per minute, input and output together, refilled evenly: estimated before, settled after.
    #[schemars(range(min = 1, max = 1_000_000_000_000u64))]
    #[schemars(extend("x-default" = "no limit"))]
    pub(in super::super) tpm: Option<u64>,
    /// How many may be spent at once.
    #[schemars(range(min = 1, max = 1_000_000_000_000u64))]
    #[schemars(extend("x-default" = "`tpm`"))]
    pub(in super::super) tpm_burst: Option<u64>,
    /// Tokens of input per minute: all of the prompt, read from a cache or not.
    #[schemars(range(min = 1, max = 1_000_000_000_000u64))]
    #[schemars(extend("x-default" = "no limit"))]
    pub(in super::super) input_tpm: Option<u64>,
    /// How many may be spent at once.
    #[schemars(range(min = 1, max = 1_000_000_000_000u64))]
    #[schemars(extend("x-default" = "`input_tpm`"))]
    pub(in super::super) input_tpm_burst: Option<u64>,
    /// Tokens of output per minute, reasoning included.
    #[schemars(range(min = 1, max = 1_000_000_000_000u64))]
    #[schemars(extend("x-default" = "no limit"))]
    pub(in super::super) output_tpm: Option<u64>,
    /// How many may be spent at once.
    #[schemars(range(min = 1, max = 1_000_000_000_000u64))]
    #[schemars(extend("x-default" = "`output_tpm`"))]
    pub(in super::super) output_tpm_burst: Option<u64>,
    /// Exchanges at once, from admission to the end of the answer.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    #[schemars(extend("x-default" = "no limit"))]
    pub(in super::super) concurrency: Option<u32>,
    /// Requests for pictures per minute (`images/…`), refilled evenly. Keys and groups only.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    #[schemars(extend("x-default" = "no limit"))]
    pub(in super::super) images_rpm: Option<u64>,
    /// How many may come at once.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    #[schemars(extend("x-default" = "`images_rpm`"))]
    pub(in super::super) images_burst: Option<u64>,
    /// Requests for speech and of transcriptions per minute (`audio/…`), refilled evenly. Keys and groups only.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    #[schemars(extend("x-default" = "no limit"))]
    pub(in super::super) audio_rpm: Option<u64>,
    /// How many may come at once.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    #[schemars(extend("x-default" = "`audio_rpm`"))]
    pub(in super::super) audio_burst: Option<u64>,
    /// Counts of tokens per minute (`messages/count_tokens`, `:countTokens`), refilled evenly. They count here alone: neither in `rpm` nor in `concurrency`. Keys and groups only.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    #[schemars(extend("x-default" = "ten times `rpm`"))]
    pub(in super::super) count_tokens_rpm: Option<u64>,
    /// How many may come at once.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    #[schemars(extend("x-default" = "`count_tokens_rpm`"))]
    pub(in super::super) count_tokens_burst: Option<u64>,
    /// Requests that make videos per minute (`videos`, `videos/{id}/remix` …), refilled evenly. Keys and groups only.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub(in super::super) videos_rpm: Option<u64>,
    /// How many may come at once.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    #[schemars(extend("x-default" = "`videos_rpm`"))]
    pub(in super::super) videos_burst: Option<u64>,
    /// Requests that look after videos per minute (whether one is done, its content, its deletion), refilled evenly. They count here alone: neither in `rpm` nor in `concurrency`, nor in any limit of the channel. Keys and groups only.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    #[schemars(extend("x-default" = "ten times `rpm`"))]
    pub(in super::super) polls_rpm: Option<u64>,
    /// How many may come at once.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    #[schemars(extend("x-default" = "`polls_rpm`"))]
    pub(in super::super) polls_burst: Option<u64>,
}

/// Limits of a key for some models.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct ModelLimit {
    /// As the client asks for it.
    #[schemars(extend("x-type" = "name or pattern"))]
    pub(in super::super) model: String,
    /// As in [limits](#limits).
    #[schemars(range(min = 1, max = 1_000_000_000))]
    #[schemars(extend("x-default" = "no limit"))]
    pub(in super::super) rpm: Option<u64>,
    /// How many requests may come at once.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    #[schemars(extend("x-default" = "`rpm`"))]
    pub(in super::super) burst: Option<u64>,
    /// Tokens per minute, input and output together, refilled evenly.
    #[schemars(range(min = 1, max = 1_000_000_000_000u64))]
    #[schemars(extend("x-default" = "no limit"))]
    pub(in super::super) tpm: Option<u64>,
    /// How many tokens may be spent at once.
    #[schemars(range(min = 1, max = 1_000_000_000_000u64))]
    #[schemars(extend("x-default" = "`tpm`"))]
    pub(in super::super) tpm_burst: Option<u64>,
    /// Tokens of input per minute, read from a cache or not.
    #[schemars(range(min = 1, max = 1_000_000_000_000u64))]
    #[schemars(extend("x-default" = "no limit"))]
    pub(in super::super) input_tpm: Option<u64>,
    /// How many tokens of input may be spent at once.
    #[schemars(range(min = 1, max = 1_000_000_000_000u64))]
    #[schemars(extend("x-default" = "`input_tpm`"))]
    pub(in super::super) input_tpm_burst: Option<u64>,
    /// Tokens of output per minute, reasoning included.
    #[schemars(range(min = 1, max = 1_000_000_000_000u64))]
    #[schemars(extend("x-default" = "no limit"))]
    pub(in super::super) output_tpm: Option<u64>,
    /// How many tokens of output may be spent at once.
    #[schemars(range(min = 1, max = 1_000_000_000_000u64))]
    #[schemars(extend("x-default" = "`output_tpm`"))]
    pub(in super::super) output_tpm_burst: Option<u64>,
    /// Exchanges at once.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    #[schemars(extend("x-default" = "no limit"))]
    pub(in super::super) concurrency: Option<u32>,
}

//! What may be spent, as written.

use schemars::JsonSchema;
use serde::Deserialize;

/// How much may be spent in a window of the calendar, in UTC: dollars, tokens, requests, or several of them. It admits
/// requests while what is spent and reserved is below it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Quota {
    /// US dollars by [the models' prices](#prices), up to nine digits after the point. What has no known price counts nothing.
    #[schemars(range(min = 0.0, max = 100_000_000.0))]
    #[schemars(extend("x-type" = "above 0, up to 100000000", "x-default" = "no bound"))]
    pub(in super::super) usd: Option<f64>,
    /// Input, cache reads, cache writes and output, each once; reasoning is part of output.
    #[schemars(range(min = 1, max = 1_000_000_000_000_000u64))]
    #[schemars(extend("x-default" = "no bound"))]
    pub(in super::super) tokens: Option<u64>,
    /// Requests that were served.
    #[schemars(range(min = 1, max = 1_000_000_000_000u64))]
    #[schemars(extend("x-default" = "no bound"))]
    pub(in super::super) requests: Option<u64>,
    /// The window: a calendar day, an ISO week (from Monday) or a calendar month in UTC, or all time.
    #[schemars(extend("enum" = ["day", "week", "month", "total"]))]
    pub(in super::super) per: String,
}

/// A quota of all keys with this `project`, whatever their groups.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Project {
    /// As keys give it in `project`, in whatever group they are.
    pub(in super::super) name: String,
    /// What these keys may spend together.
    pub(in super::super) quota: Quota,
}

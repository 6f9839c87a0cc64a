//! `[history]` as it is written.

use schemars::JsonSchema;
use serde::Deserialize;

/// The last good configurations, to go back to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct History {
    /// A directory; it is made where there is none, with mode 0700. Each gateway has its own.
    #[schemars(extend("x-type" = "path"))]
    pub(in crate::config) path: String,
    /// How many good configurations are kept; the newest two stay in any case.
    #[schemars(range(min = 1, max = 1000))]
    #[schemars(extend("x-type" = "1 to 1,000", "x-default" = "`20`"))]
    pub(in crate::config) keep: Option<u32>,
}

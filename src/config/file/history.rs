//! `[history]` as it is written.

use schemars::JsonSchema;
use serde::Deserialize;

/// The last good configurations, to go back to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct History {
    /// The directory, which is made where it is not there; of the gateway's user alone.
    pub(in crate::config) path: String,
    /// How many good configurations are kept; 20 if absent.
    #[schemars(range(min = 1, max = 1000))]
    pub(in crate::config) keep: Option<u32>,
}

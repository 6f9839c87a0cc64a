//! Which keys, groups, channels and models may be label values: the configured ones, and no others.
//!
//! Invariant: the number of series is bounded by the configuration, never by what clients send. Keys and groups
//! past [`KEY_SERIES_MAX`], and those a reload removed, count as `_overflow`; other models and channels as `_other`.

use std::collections::HashSet;

/// Some 20 series per key at most: what a Prometheus takes from one target without a thought.
pub const KEY_SERIES_MAX: usize = 2_000;

/// Credentials of one channel that have series: more than anybody rotates among.
pub const CREDENTIAL_SERIES_MAX: usize = 100;

/// The label value of keys without series of their own.
pub const OVERFLOW: &str = "_overflow";

/// The label value of models and channels that are not configured.
pub const OTHER: &str = "_other";

/// The configured names.
#[derive(Debug, Default)]
pub(super) struct Names {
    keys: HashSet<String>,
    groups: HashSet<String>,
    channels: HashSet<String>,
    models: HashSet<String>,
}

impl Names {
    pub(super) fn new((keys, groups): (&[&str], &[&str]), models: &[&str], channels: &[&str]) -> Self {
        Self {
            keys: keys.iter().take(KEY_SERIES_MAX).map(|name| (*name).to_owned()).collect(),
            groups: groups.iter().take(KEY_SERIES_MAX).map(|name| (*name).to_owned()).collect(),
            channels: channels.iter().map(|name| (*name).to_owned()).collect(),
            models: models.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    pub(super) fn key<'a>(&self, name: &'a str) -> &'a str {
        if self.keys.contains(name) { name } else { OVERFLOW }
    }

    pub(super) fn group<'a>(&self, name: &'a str) -> &'a str {
        if self.groups.contains(name) { name } else { OVERFLOW }
    }

    pub(super) fn channel<'a>(&self, name: &'a str) -> &'a str {
        if self.channels.contains(name) { name } else { OTHER }
    }

    pub(super) fn model<'a>(&self, name: Option<&'a str>) -> &'a str {
        name.filter(|name| self.models.contains(*name)).unwrap_or(OTHER)
    }

    /// Whether a label's values come from here.
    pub(super) fn bounds(label: &str) -> bool {
        matches!(label, "key" | "group" | "channel" | "model")
    }

    /// Whether the value may stay a label value.
    pub(super) fn knows(&self, label: &str, value: &str) -> bool {
        match label {
            "key" => value == OVERFLOW || self.keys.contains(value),
            "group" => value == OVERFLOW || self.groups.contains(value),
            "channel" => value == OTHER || self.channels.contains(value),
            "model" => value == OTHER || self.models.contains(value),
            _ => true,
        }
    }
}

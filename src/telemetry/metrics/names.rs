//! Which keys, groups, channels and models may be label values: the configured ones, and no others.
//!
//! Invariant: the number of series is bounded by the configuration, never by what clients send. Keys and groups
//! past [`KEY_SERIES_MAX`], and those a reload removed, count as `_overflow`; other models and channels as `_other`.

use super::series::{ChannelSeries, GroupSeries, KeySeries};
use crate::spread::{Map, Set};

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
    keys: Map<String, KeySeries>,
    groups: Map<String, GroupSeries>,
    channels: Map<String, ChannelSeries>,
    models: Set<String>,
    /// Of what has no series of its own.
    overflow: (KeySeries, GroupSeries),
    other: ChannelSeries,
}

impl Names {
    pub(super) fn new((keys, groups): (&[&str], &[&str]), models: &[&str], channels: &[&str]) -> Self {
        Self {
            keys: named(keys.iter().take(KEY_SERIES_MAX)),
            groups: named(groups.iter().take(KEY_SERIES_MAX)),
            channels: named(channels.iter()),
            models: models.iter().map(|name| (*name).to_owned()).collect(),
            ..Self::default()
        }
    }

    pub(super) fn key<'a>(&self, name: &'a str) -> &'a str {
        self.key_series(name).0
    }

    /// The label's value, and what is counted under it.
    pub(super) fn key_series<'a>(&self, name: &'a str) -> (&'a str, &KeySeries) {
        self.keys.get(name).map_or((OVERFLOW, &self.overflow.0), |series| (name, series))
    }

    pub(super) fn group_series<'a>(&self, name: &'a str) -> (&'a str, &GroupSeries) {
        self.groups.get(name).map_or((OVERFLOW, &self.overflow.1), |series| (name, series))
    }

    pub(super) fn channel_series<'a>(&self, name: &'a str) -> (&'a str, &ChannelSeries) {
        self.channels.get(name).map_or((OTHER, &self.other), |series| (name, series))
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
            "key" => value == OVERFLOW || self.keys.contains_key(value),
            "group" => value == OVERFLOW || self.groups.contains_key(value),
            "channel" => value == OTHER || self.channels.contains_key(value),
            "model" => value == OTHER || self.models.contains(value),
            _ => true,
        }
    }
}

fn named<'a, T: Default>(names: impl Iterator<Item = &'a &'a str>) -> Map<String, T> {
    names.map(|name| ((*name).to_owned(), T::default())).collect()
}

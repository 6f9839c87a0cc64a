//! What the status page and `tollgate top` show, in one answer: every list short enough to be looked at.
//!
//! Invariant: each list has a bound; the whole of it is at an address of its own.

use super::traffic::Window;
use super::{parameter, views};
use crate::process::Shared;
use crate::record::Record;
use crate::telemetry::access;
use serde_json::{Value, json};
use std::sync::Arc;

/// More lines than this are read with a search, not with the eye.
const CHANNELS_MAX: usize = 200;
const KEYS_MAX: usize = 100;
/// At the first look, and at each one after it.
const EXCHANGES_MAX: usize = 200;

/// Channels, keys, sessions and the last exchanges; `?after=` says what was seen of these already.
pub(super) fn detail(shared: &Shared, window: &Window, started_unix_ms: u64, query: &str) -> Value {
    let mut channels = views::channel_rows(shared, window);
    channels.truncate(CHANNELS_MAX);
    let mut keys = views::key_rows(shared, window);
    keys.sort_by_key(|row| std::cmp::Reverse(busy(row)));
    keys.truncate(KEYS_MAX);
    let (count, sessions) = window.sessions();
    json!({
        "channels": channels,
        "keys": keys,
        "sessions": { "count": count, "rows": sessions },
        "exchanges": News::look(shared, started_unix_ms, query, EXCHANGES_MAX).value(),
    })
}

/// Who is at work now comes first, then who was lately.
fn busy(row: &Value) -> (u64, u64) {
    (row["inflight"].as_u64().unwrap_or(0), row["recent"]["exchanges"].as_u64().unwrap_or(0))
}

/// The exchanges since `?after=`, as they were logged.
pub(super) struct News {
    /// What to say as `after` the next time.
    next: u64,
    /// How many passed unseen.
    missed: u64,
    /// Newest first.
    records: Vec<Arc<Record>>,
}

impl News {
    pub(super) fn look(shared: &Shared, started_unix_ms: u64, query: &str, rows_max: usize) -> Self {
        let number = |name| parameter(query, name).and_then(|text| text.parse::<u64>().ok());
        // Who counts from another process has seen nothing of this one.
        let base = started_unix_ms.saturating_mul(CURSORS_PER_MS);
        let seen = number("after").and_then(|after| after.checked_sub(base));
        let mut news = shared.telemetry.recent.since(seen.unwrap_or(0));
        let limit = number("limit").and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let left_out = news.records.len().saturating_sub(limit.min(rows_max));
        news.records.truncate(limit.min(rows_max));
        let missed = if seen.is_some() { news.missed + left_out as u64 } else { 0 };
        Self { next: base.saturating_add(news.seen), missed, records: news.records }
    }

    /// As a part of a greater whole.
    fn value(&self) -> Value {
        let rows: Vec<Value> = self.records.iter().map(|record| views::line(record)).collect();
        json!({ "next": self.next, "missed": self.missed, "rows": rows })
    }

    /// With every access line as it is in the log: its fields in their order, its amount with every digit.
    pub(super) fn text(&self) -> String {
        let lines =
            self.records.iter().map(|record| String::from_utf8_lossy(&access::line(record)).into_owned());
        let rows = lines.collect::<Vec<_>>().join(",");
        format!("{{\"next\":{},\"missed\":{},\"rows\":[\n{rows}]}}\n", self.next, self.missed)
    }
}

/// A process that starts a millisecond later begins beyond all that an earlier one can have counted.
const CURSORS_PER_MS: u64 = 1_000;

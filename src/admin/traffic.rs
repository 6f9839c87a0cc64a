//! The last minutes in numbers: all together, by channel, by key and by session.
//!
//! Everything is counted anew from the last exchanges at each look, so serving pays nothing for it. Invariant: the window
//! is [`WINDOW_MS`], or as far back as the last exchanges reach where those were more; what is shown says how long it is.

use super::quotas::dollars;
use crate::process::Shared;
use crate::record::{AttemptRecord, Cost, End, Record, Text};
use crate::telemetry::recent::RECENT_MAX;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// Long enough that a few requests make a number, short enough to be about now.
const WINDOW_MS: u64 = 300_000;
/// So many columns has the curve of requests.
const COLUMNS: usize = 30;
/// Sessions are shown to find one, not to list them all.
const SESSIONS_MAX: usize = 50;
/// A share of fewer milliseconds is no speed but noise.
const STREAMED_MS_MIN: f64 = 20.0;

/// The exchanges that ended within the window, newest first.
#[derive(Debug)]
pub(super) struct Window {
    records: Vec<Arc<Record>>,
    now_ms: u64,
    span_ms: u64,
}

impl Window {
    /// As it is now, for a process that started then.
    pub(super) fn look(shared: &Shared, started_unix_ms: u64) -> Self {
        let now_ms = shared.world.unix_ms();
        let mut records = shared.telemetry.recent.latest(RECENT_MAX);
        let since = now_ms.saturating_sub(WINDOW_MS);
        let reach = records.last().filter(|_| records.len() >= RECENT_MAX).map(|oldest| ended_ms(oldest));
        let since = since.max(started_unix_ms).max(reach.unwrap_or(0));
        records.retain(|record| ended_ms(record) >= since);
        Self { records, now_ms, span_ms: now_ms.saturating_sub(since).max(1_000) }
    }

    /// All together.
    pub(super) fn traffic(&self) -> Value {
        let mut all = Tally::default();
        self.records.iter().for_each(|record| all.add(record));
        let seconds = float(self.span_ms) / 1000.0;
        let (requests, failed) = self.columns();
        json!({
            "window_seconds": self.span_ms / 1000,
            "exchanges": all.exchanges,
            "per_second": round(float(all.exchanges) / seconds, 3),
            "ok": all.ok,
            "failed": all.failed,
            "refused": all.refused,
            "client_closed": all.left,
            "failed_over": all.failed_over,
            "success": all.success(),
            "first_token_ms": quantiles(&mut all.first_token_ms),
            "output_tokens_per_second": round(float(all.output) / seconds, 1),
            "tokens": { "input": all.input, "output": all.output, "cache_read": all.cache_read },
            "cost_usd": dollars(all.cost_nanos),
            "unknown_cost": all.unknown_cost,
            "columns": { "requests": requests, "failed": failed },
        })
    }

    /// Requests, and those that failed, over the window in equal parts, the oldest first.
    fn columns(&self) -> ([u64; COLUMNS], [u64; COLUMNS]) {
        let (mut requests, mut failed) = ([0; COLUMNS], [0; COLUMNS]);
        for record in &self.records {
            let age = self.now_ms.saturating_sub(ended_ms(record));
            let back = usize::try_from(age * COLUMNS as u64 / self.span_ms).unwrap_or(COLUMNS);
            let at = COLUMNS - 1 - back.min(COLUMNS - 1);
            requests[at] += 1;
            failed[at] += u64::from(Fate::of(record.end) == Fate::Failed);
        }
        (requests, failed)
    }

    /// By the channel's name.
    pub(super) fn channels(&self) -> HashMap<&str, Value> {
        let mut tallies: HashMap<&str, Tries> = HashMap::new();
        for record in &self.records {
            for (at, attempt) in record.attempts.iter().enumerate() {
                let is_last = at + 1 == record.attempts.len();
                tallies.entry(attempt.channel.as_str()).or_default().add(record, attempt, is_last);
            }
        }
        tallies.into_iter().map(|(name, tries)| (name, tries.shown())).collect()
    }

    /// By the key's name: how many, what they cost, and when the last one ended.
    pub(super) fn keys(&self) -> HashMap<&str, Value> {
        let mut tallies: HashMap<&str, (Tally, u64)> = HashMap::new();
        for record in &self.records {
            let Some(key) = &record.key else { continue };
            let (tally, last_ms) = tallies.entry(key.id.as_str()).or_default();
            tally.add(record);
            *last_ms = (*last_ms).max(ended_ms(record));
        }
        let shown = |(tally, last_ms): (Tally, u64)| {
            json!({
                "exchanges": tally.exchanges,
                "refused": tally.refused,
                "failed": tally.failed,
                "tokens": tally.input + tally.cache_read + tally.output,
                "cost_usd": dollars(tally.cost_nanos),
                "last_unix_ms": last_ms,
            })
        };
        tallies.into_iter().map(|(name, told)| (name, shown(told))).collect()
    }

    /// The sessions that clients named, the latest first, and how many there were.
    pub(super) fn sessions(&self) -> (usize, Value) {
        let mut order: Vec<&str> = Vec::new();
        let mut sessions: HashMap<&str, Session<'_>> = HashMap::new();
        for record in &self.records {
            let Some(trace) = &record.trace_id else { continue };
            let session = sessions.entry(trace.as_str()).or_insert_with(|| {
                order.push(trace.as_str());
                Session { newest: record, tally: Tally::default(), channels: Vec::new(), first_ms: u64::MAX }
            });
            session.add(record);
        }
        let rows =
            order.iter().take(SESSIONS_MAX).filter_map(|trace| Some(sessions.get(trace)?.shown(trace)));
        (order.len(), rows.collect())
    }
}

/// What became of an exchange, in the four words of a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Ok,
    Refused,
    Failed,
    Left,
}

impl Fate {
    fn of(end: End) -> Self {
        match end {
            End::Ok => Self::Ok,
            End::Refused => Self::Refused,
            End::Failed | End::StreamTruncated | End::StreamIdleTimeout | End::Drained => Self::Failed,
            End::ClientClosed => Self::Left,
        }
    }
}

#[derive(Debug, Default)]
struct Tally {
    exchanges: u64,
    ok: u64,
    refused: u64,
    failed: u64,
    left: u64,
    failed_over: u64,
    first_token_ms: Vec<f64>,
    input: u64,
    output: u64,
    cache_read: u64,
    cost_nanos: u64,
    unknown_cost: u64,
}

impl Tally {
    fn add(&mut self, record: &Record) {
        self.exchanges += 1;
        match Fate::of(record.end) {
            Fate::Ok => self.ok += 1,
            Fate::Refused => self.refused += 1,
            Fate::Failed => self.failed += 1,
            Fate::Left => self.left += 1,
        }
        self.failed_over += u64::from(record.end == End::Ok && record.attempts.len() > 1);
        if let Some(ttfb) = record.ttfb.filter(|_| record.stream && record.end == End::Ok) {
            self.first_token_ms.push(ttfb.as_secs_f64() * 1000.0);
        }
        self.input += record.usage.input;
        self.output += record.usage.output;
        self.cache_read += record.usage.cache_read;
        self.cost_nanos = self.cost_nanos.saturating_add(record.cost.nanos().unwrap_or(0));
        self.unknown_cost += u64::from(matches!(record.cost, Cost::NoUsage | Cost::NoPrice));
    }

    /// Of those whose end was not the client's doing.
    fn success(&self) -> Option<f64> {
        share(self.ok, self.ok + self.failed)
    }
}

/// The attempts at one channel.
#[derive(Debug, Default)]
struct Tries {
    attempts: u64,
    failed: u64,
    first_token_ms: Vec<f64>,
    speeds: Vec<f64>,
}

impl Tries {
    fn add(&mut self, record: &Record, attempt: &AttemptRecord, is_last: bool) {
        let cut = is_last && matches!(record.end, End::StreamTruncated | End::StreamIdleTimeout);
        self.attempts += 1;
        self.failed += u64::from(attempt.failure.is_some() || cut);
        let Some(ttfb) = record.ttfb.filter(|_| is_last && record.stream && record.end == End::Ok) else {
            return;
        };
        let before = record.duration.saturating_sub(attempt.took);
        self.first_token_ms.push(ttfb.saturating_sub(before).as_secs_f64() * 1000.0);
        let streamed = record.duration.saturating_sub(ttfb).as_secs_f64();
        if streamed * 1000.0 >= STREAMED_MS_MIN && record.usage.output > 0 {
            self.speeds.push(float(record.usage.output) / streamed);
        }
    }

    fn shown(mut self) -> Value {
        json!({
            "attempts": self.attempts,
            "failed": self.failed,
            "success": share(self.attempts - self.failed, self.attempts),
            "first_token_ms": quantiles(&mut self.first_token_ms),
            "tokens_per_second": quantile(&mut self.speeds, 0.5).map(|speed| round(speed, 1)),
        })
    }
}

#[derive(Debug)]
struct Session<'a> {
    newest: &'a Record,
    tally: Tally,
    channels: Vec<&'a str>,
    first_ms: u64,
}

impl<'a> Session<'a> {
    fn add(&mut self, record: &'a Record) {
        self.tally.add(record);
        self.first_ms = self.first_ms.min(record.ts_unix_ms);
        if let Some(channel) = &record.channel
            && !self.channels.contains(&channel.as_str())
        {
            self.channels.push(channel.as_str());
        }
    }

    fn shown(&self, trace: &str) -> Value {
        json!({
            "trace_id": trace,
            "key": self.newest.key.as_ref().map(|key| key.id.as_str()),
            "model": self.newest.model_requested.as_ref().map(Text::as_str),
            "channels": self.channels,
            "exchanges": self.tally.exchanges,
            "failed": self.tally.failed,
            "tokens": self.tally.input + self.tally.cache_read + self.tally.output,
            "cost_usd": dollars(self.tally.cost_nanos),
            "first_unix_ms": self.first_ms,
            "last_unix_ms": ended_ms(self.newest),
        })
    }
}

fn ended_ms(record: &Record) -> u64 {
    let took = u64::try_from(record.duration.as_millis()).unwrap_or(u64::MAX);
    record.ts_unix_ms.saturating_add(took)
}

fn quantiles(values: &mut [f64]) -> Value {
    let at = |values: &mut [f64], part| quantile(values, part).map(|value| round(value, 1));
    json!({ "p50": at(values, 0.5), "p95": at(values, 0.95) })
}

/// The smallest value that so large a part does not exceed.
fn quantile(values: &mut [f64], part: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let wanted = part * float(values.len() as u64);
    let at = (1..=values.len()).find(|rank| float(*rank as u64) >= wanted)?;
    values.get(at - 1).copied()
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| round(float(part) / float(whole), 4))
}

fn round(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

#[expect(clippy::cast_precision_loss, reason = "for showing; exact below 2^53")]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{key_facts, sample};
    use std::time::Duration;

    fn window(records: Vec<Record>) -> Window {
        let records = records.into_iter().map(Arc::new).collect();
        Window { records, now_ms: NOW_MS, span_ms: 100_000 }
    }

    const NOW_MS: u64 = 1_763_683_300_000;

    /// Ended so long ago, after two seconds of which half a second was waiting.
    fn streamed(ago_ms: u64) -> Record {
        let mut record = Record {
            ts_unix_ms: NOW_MS - ago_ms - 2_000,
            duration: Duration::from_secs(2),
            ttfb: Some(Duration::from_millis(500)),
            ..sample()
        };
        record.attempts.remove(0);
        record.attempts[0].took = Duration::from_millis(1_900);
        record.usage.output = 300;
        record
    }

    #[test]
    fn traffic_is_counted_with_success_apart_from_what_clients_did() {
        let end = |end| Record { end, ..streamed(1_000) };
        let told =
            window(vec![streamed(0), end(End::Failed), end(End::Refused), end(End::ClientClosed)]).traffic();
        assert_eq!((&told["exchanges"], &told["success"]), (&json!(4), &json!(0.5)), "{told}");
        assert_eq!((&told["per_second"], &told["window_seconds"]), (&json!(0.04), &json!(100)));
        assert_eq!(told["first_token_ms"], json!({ "p50": 500.0, "p95": 500.0 }));
        assert_eq!(told["output_tokens_per_second"], json!(12.0));
        assert_eq!(told["cost_usd"], json!(0.004_938));
        let columns = &told["columns"];
        assert_eq!((&columns["requests"][29], &columns["failed"][29]), (&json!(4), &json!(1)));
        let none = window(Vec::new()).traffic();
        assert_eq!((&none["success"], &none["first_token_ms"]["p50"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn columns_go_from_the_oldest_to_now() {
        let told = window(vec![streamed(0), streamed(50_000), streamed(99_999)]).traffic();
        let columns = told["columns"]["requests"].as_array().unwrap();
        let filled: Vec<usize> = (0..COLUMNS).filter(|at| columns[*at] != 0).collect();
        assert_eq!(filled, [0, 14, 29]);
    }

    #[test]
    fn a_channel_has_its_attempts_and_only_its_own_time_to_the_first_token() {
        let mut failed_over = sample();
        failed_over.duration = Duration::from_secs(2);
        failed_over.ttfb = Some(Duration::from_millis(1_500));
        failed_over.attempts[1].took = Duration::from_millis(900);
        let window = window(vec![failed_over, streamed(0)]);
        let told = window.channels();
        assert_eq!(told["first"]["success"], json!(0.0));
        assert_eq!((&told["second"]["attempts"], &told["second"]["success"]), (&json!(2), &json!(1.0)));
        // 1,500 ms less the 1,100 before the channel was chosen; 500 ms less 100.
        assert_eq!(told["second"]["first_token_ms"]["p50"], json!(400.0));
        // 20 tokens in half a second, 300 in one and a half.
        assert_eq!(told["second"]["tokens_per_second"], json!(40.0));
    }

    #[test]
    fn keys_and_sessions_are_told_apart_and_the_latest_comes_first() {
        let other = Record { trace_id: None, key: Some(key_facts("bob")), ..streamed(5_000) };
        let window = window(vec![streamed(1_000), other, streamed(9_000)]);
        let keys = window.keys();
        assert_eq!((&keys["alice-laptop"]["exchanges"], &keys["bob"]["exchanges"]), (&json!(2), &json!(1)));
        let (count, sessions) = window.sessions();
        assert_eq!((count, &sessions[0]["exchanges"]), (1, &json!(2)));
        assert_eq!(sessions[0]["last_unix_ms"], json!(NOW_MS - 1_000));
        assert_eq!(sessions[0]["first_unix_ms"], json!(NOW_MS - 11_000));
        assert_eq!(sessions[0]["channels"], json!(["second"]));
    }

    #[test]
    fn quantiles_are_values_that_were_there() {
        let mut values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!((quantile(&mut values, 0.5), quantile(&mut values, 0.95)), (Some(50.0), Some(95.0)));
        assert_eq!((quantile(&mut [], 0.5), quantile(&mut [7.0], 0.95)), (None, Some(7.0)));
    }
}

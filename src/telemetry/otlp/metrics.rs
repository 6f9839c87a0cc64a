//! Histograms of the conventions, counted from finished exchanges since the process began.
//!
//! Invariant: at most [`SERIES_MAX`] combinations of attributes per histogram; what is one too many is counted in one series
//! that says so, as OpenTelemetry's own libraries do.

use super::attributes::{Attributes, operation_name};
use super::spans::error_of_attempt;
use super::wire::{Histogram, KeyValue, Metric, Point};
use super::{Convention, Peer};
use crate::code::Code;
use crate::id::ChannelId;
use crate::protocol::Operation;
use crate::record::{AttemptRecord, Record, Text};
use crate::usage::UsageSource;
use std::collections::HashMap;

/// As OpenTelemetry's specification has it for one instrument.
pub const SERIES_MAX: usize = 2_000;

/// One of the histograms.
#[derive(Debug)]
struct Instrument {
    name: &'static str,
    unit: &'static str,
    description: &'static str,
    bounds: &'static [f64],
}

/// The tokens of answers, by type.
const TOKENS: usize = 0;
/// How long attempts took.
const ATTEMPTS: usize = 1;
/// How long exchanges took.
const EXCHANGES: usize = 2;

const INSTRUMENTS: [Instrument; 3] = [
    Instrument {
        name: "gen_ai.client.token.usage",
        unit: "{token}",
        description: "Number of input and output tokens used.",
        bounds: &[
            1.0,
            4.0,
            16.0,
            64.0,
            256.0,
            1_024.0,
            4_096.0,
            16_384.0,
            65_536.0,
            262_144.0,
            1_048_576.0,
            4_194_304.0,
            16_777_216.0,
            67_108_864.0,
        ],
    },
    Instrument {
        name: "gen_ai.client.operation.duration",
        unit: "s",
        description: "GenAI operation duration.",
        bounds: &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92],
    },
    Instrument {
        name: "http.server.request.duration",
        unit: "s",
        description: "Duration of HTTP server requests.",
        bounds: &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0],
    },
];

/// What tells a series from the others of its histogram; what has no text is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Series {
    operation: &'static str,
    provider: &'static str,
    model: Box<str>,
    host: Box<str>,
    port: u16,
    error: Box<str>,
    token: &'static str,
    route: &'static str,
    method: Box<str>,
    status: u16,
    secured: bool,
    overflow: bool,
}

#[derive(Debug, Clone)]
struct Counts {
    buckets: Vec<u64>,
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
}

/// Everything counted.
#[derive(Debug)]
pub struct Histograms {
    convention: Convention,
    since_unix_ms: u64,
    counted: [HashMap<Series, Counts>; INSTRUMENTS.len()],
}

impl Histograms {
    /// Nothing counted yet.
    pub fn new(convention: Convention, now_unix_ms: u64) -> Self {
        Self { convention, since_unix_ms: now_unix_ms, counted: Default::default() }
    }

    /// Whether there is anything to send.
    pub fn is_empty(&self) -> bool {
        self.counted.iter().all(HashMap::is_empty)
    }

    /// Counts a finished exchange.
    pub fn count<'a>(&mut self, record: &Record, peer: impl Fn(&ChannelId) -> Option<&'a Peer>) {
        let error = |error: Option<String>| error.unwrap_or_default().into_boxed_str();
        // Without traces the method of a request is not kept, and nearly all are posted.
        let (method, secured) =
            record.span.as_ref().map_or(("POST", false), |span| (super::spans::method(span), span.secured));
        let series = Series {
            route: record.operation.map_or("", Operation::route),
            method: method.into(),
            secured,
            status: record.status,
            error: error(super::spans::error_of_exchange(record).filter(|_| record.status >= 500)),
            ..Series::default()
        };
        self.observe(EXCHANGES, series, record.duration.as_secs_f64());
        let Some(operation) = record.operation.and_then(operation_name) else { return };
        for (at, attempt) in record.attempts.iter().enumerate() {
            // Nothing was sent.
            if attempt.failure.is_some_and(|failure| failure.code == Code::UntranslatableRequest) {
                continue;
            }
            let series = self.series(operation, attempt, peer(&attempt.channel));
            let is_answer = at + 1 == record.attempts.len() && attempt.failure.is_none();
            if is_answer && record.usage_source != UsageSource::None {
                let counts = [("input", record.usage.input_total()), ("output", record.usage.output)];
                for (token, tokens) in counts {
                    self.observe(TOKENS, Series { token, ..series.clone() }, whole(tokens));
                }
            }
            let series = Series { error: error(error_of_attempt(record, (at, attempt))), ..series };
            self.observe(ATTEMPTS, series, attempt.took.as_secs_f64());
        }
    }

    fn series(&self, operation: &'static str, attempt: &AttemptRecord, peer: Option<&Peer>) -> Series {
        let model = attempt.model_upstream.as_ref().map(Text::as_str).unwrap_or_default();
        let kind = peer.map_or("", |peer| peer.kind);
        Series {
            operation,
            provider: self.convention.provider(kind),
            model: model.into(),
            host: peer.map(|peer| Box::from(&*peer.host)).unwrap_or_default(),
            port: peer.map_or(0, |peer| peer.port),
            ..Series::default()
        }
    }

    fn observe(&mut self, instrument: usize, series: Series, value: f64) {
        let (counted, bounds) = (&mut self.counted[instrument], INSTRUMENTS[instrument].bounds);
        let is_known = counted.contains_key(&series) || counted.len() + 1 < SERIES_MAX;
        let series = if is_known { series } else { Series { overflow: true, ..Series::default() } };
        let counts = counted.entry(series).or_insert_with(|| Counts::new(bounds.len() + 1));
        counts.observe(bounds, value);
    }

    /// As messages.
    pub(super) fn messages(&self, now_unix_ms: u64) -> Vec<Metric> {
        let instruments = INSTRUMENTS.iter().zip(&self.counted).filter(|(_, counted)| !counted.is_empty());
        instruments
            .map(|(instrument, counted)| {
                let point = |(series, counts): (&Series, &Counts)| Point {
                    start_time_unix_nano: self.since_unix_ms.saturating_mul(1_000_000),
                    time_unix_nano: now_unix_ms.saturating_mul(1_000_000),
                    count: counts.count,
                    sum: Some(counts.sum),
                    bucket_counts: counts.buckets.clone(),
                    explicit_bounds: instrument.bounds.to_vec(),
                    attributes: series.attributes(self.convention),
                    min: Some(counts.min),
                    max: Some(counts.max),
                };
                let data_points = counted.iter().map(point).collect();
                Metric {
                    name: instrument.name.to_owned(),
                    description: instrument.description.to_owned(),
                    unit: instrument.unit.to_owned(),
                    histogram: Some(Histogram { data_points, aggregation_temporality: CUMULATIVE }),
                }
            })
            .collect()
    }
}

impl Counts {
    fn new(buckets: usize) -> Self {
        Self { buckets: vec![0; buckets], count: 0, sum: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }

    fn observe(&mut self, bounds: &[f64], value: f64) {
        // A bucket has its upper bound in it.
        self.buckets[bounds.partition_point(|bound| *bound < value)] += 1;
        self.count += 1;
        self.sum += value;
        (self.min, self.max) = (self.min.min(value), self.max.max(value));
    }
}

impl Series {
    fn attributes(&self, convention: Convention) -> Vec<KeyValue> {
        let mut attributes = Attributes::default();
        if self.overflow {
            attributes.flag("otel.metric.overflow", true);
            return attributes.into_message();
        }
        let said = |text: &str| !text.is_empty();
        for (name, text) in [
            ("gen_ai.operation.name", self.operation),
            (convention.provider_key(), self.provider),
            ("gen_ai.token.type", self.token),
            ("gen_ai.request.model", &*self.model),
            ("server.address", &*self.host),
            ("error.type", &*self.error),
            ("http.request.method", &*self.method),
            ("http.route", self.route),
        ] {
            attributes.maybe(name, Some(text).filter(|text| said(text)));
        }
        for (name, number) in [("server.port", self.port), ("http.response.status_code", self.status)] {
            if number > 0 {
                attributes.whole(name, number);
            }
        }
        if !self.method.is_empty() {
            attributes.text("url.scheme", if self.secured { "https" } else { "http" });
        }
        attributes.into_message()
    }
}

#[expect(clippy::cast_precision_loss, reason = "a histogram's sum is a float, and 2^53 tokens are many")]
fn whole(tokens: u64) -> f64 {
    tokens as f64
}

/// Every export says all that was counted since the beginning.
const CUMULATIVE: i32 = 2;

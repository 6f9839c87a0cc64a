//! What a finished exchange counts.

use super::names::Names;
use super::series::{ChannelSeries, ModelSeries};
use super::{Metrics, NANOS, abort_side, float, is_usage_missing};
use crate::code::Code;
use crate::id::ChannelId;
use crate::protocol::{Operation, Protocol};
use crate::record::{AttemptRecord, Cost, ModelName, Over, Record, Text};
use crate::usage::UsageSource;
use prometheus::IntCounter;
use std::sync::Arc;

impl Metrics {
    /// Counts a finished exchange.
    pub fn report(&self, record: &Record) {
        let names = self.names.load();
        self.count_request(record);
        self.count_key(record, &names);
        let from = record.operation.and_then(Operation::protocol);
        let mut place = None;
        for (index, attempt) in record.attempts.iter().enumerate() {
            let place = place.insert(Place::of(&names, &attempt.channel, attempt.model_upstream.as_ref()));
            self.count_attempt(attempt, (from, index + 1 < record.attempts.len()), place);
        }
        if let Some(channel) = &record.channel {
            let (last, model) = (record.attempts.last(), record.model_upstream.as_ref());
            // What answered is what was tried last, which need not be looked up twice.
            let same =
                last.is_some_and(|last| last.channel == *channel && last.model_upstream.as_ref() == model);
            let place = place.filter(|_| same).unwrap_or_else(|| Place::of(&names, channel, model));
            self.count_answer(record, &place);
        }
    }

    fn count_request(&self, record: &Record) {
        let families = &self.families;
        let api = record.api();
        let series = self.common.api(record.operation);
        let answers = |status: &str| families.requests_total.with_label_values(&[api, status]);
        match record.status {
            200 => series.answered.get_or_init(|| answers("200")).inc(),
            other => answers(&other.to_string()).inc(),
        }
        let stream = if record.stream { "true" } else { "false" };
        series.duration[usize::from(record.stream)]
            .get_or_init(|| families.request_duration_seconds.with_label_values(&[api, stream]))
            .observe(record.duration.as_secs_f64());
        // A refusal's time is not what a forwarded request pays.
        if !record.attempts.is_empty() {
            let phases = [("request", record.overhead.request), ("response", record.overhead.response)];
            for (series, (phase, time)) in self.common.overhead.iter().zip(phases) {
                let overhead = series.get_or_init(|| families.overhead_seconds.with_label_values(&[phase]));
                overhead.observe(time.as_secs_f64());
            }
        }
        if let Some(queued) = record.queued {
            families.queue_seconds.with_label_values::<&str>(&[]).observe(queued.as_secs_f64());
        }
        if let Some(code) = record.code {
            families.errors_total.with_label_values(&[code.word()]).inc();
        }
        if let Some(side) = abort_side(record.end).filter(|_| record.stream) {
            families.stream_aborts_total.with_label_values(&[side]).inc();
        }
    }

    fn count_key(&self, record: &Record, names: &Names) {
        let Some(key) = &record.key else { return };
        let families = &self.families;
        let ((key, series), (group, of_group)) =
            (names.key_series(key.id.as_str()), names.group_series(key.group.as_str()));
        series.requests.get_or_init(|| families.key_requests_total.with_label_values(&[key])).inc();
        if let Some(limit) = record.limit_hit {
            families.ratelimit_rejections_total.with_label_values(&[key, limit]).inc();
        }
        if let Cost::Known(nanos) = record.cost {
            let cost =
                of_group.cost.get_or_init(|| families.group_cost_usd_total.with_label_values(&[group]));
            cost.inc_by(float(nanos) / NANOS);
        }
        if record.usage_source != UsageSource::None {
            for (series, (kind, count)) in series.tokens.iter().zip(record.usage.by_type()) {
                let tokens = series.get_or_init(|| families.key_tokens_total.with_label_values(&[key, kind]));
                add(tokens, count);
            }
        }
    }

    fn count_attempt(
        &self,
        attempt: &AttemptRecord,
        (from, another_followed): (Option<Protocol>, bool),
        place: &Place<'_>,
    ) {
        // Nothing was sent, and nothing is known of the channel.
        if attempt.failure.is_some_and(|failure| failure.code == Code::UntranslatableRequest) {
            return;
        }
        let families = &self.families;
        let Place { channel, series, model, of_model } = place;
        let answers =
            |code: &str| families.upstream_requests_total.with_label_values(&[channel, model, code]);
        match attempt.status {
            Some(200) => of_model.answered.get_or_init(|| answers("200")).inc(),
            Some(other) => answers(&other.to_string()).inc(),
            None => answers("none").inc(),
        }
        series
            .duration
            .get_or_init(|| families.upstream_duration_seconds.with_label_values(&[channel]))
            .observe(attempt.took.as_secs_f64());
        if let Some(connect) = attempt.connect {
            families.upstream_connect_seconds.with_label_values(&[channel]).observe(connect.as_secs_f64());
        }
        if attempt.over == Over::Kept {
            series.reused.get_or_init(|| families.upstream_reused_total.with_label_values(&[channel])).inc();
        }
        if attempt.thinking_stripped > 0 {
            let blocks = u64::from(attempt.thinking_stripped);
            families.thinking_stripped_total.with_label_values(&[channel]).inc_by(blocks);
        }
        if let (Some(from), Some(to)) = (from, attempt.translated) {
            families.translations_total.with_label_values(&[from.word(), to.word()]).inc();
        }
        if let Some(failure) = attempt.failure.filter(|_| another_followed) {
            families.failovers_total.with_label_values(&[failure.reason]).inc();
        }
    }

    fn count_answer(&self, record: &Record, place: &Place<'_>) {
        let Place { channel, model, of_model: series, .. } = place;
        let families = &self.families;
        let translated = record.attempts.last().and_then(|last| last.translated);
        if let (Some(from), Some(to)) = (record.operation.and_then(Operation::protocol), translated)
            && !record.losses.is_empty()
        {
            families.translation_losses_total.with_label_values(&[from.word(), to.word()]).inc();
        }
        // What we say where every attempt failed is no provider's first byte.
        let answered = record.attempts.last().is_some_and(|last| last.failure.is_none());
        if let Some(ttfb) = record.ttfb.filter(|_| answered) {
            series
                .first_byte
                .get_or_init(|| families.time_to_first_byte_seconds.with_label_values(&[channel, model]))
                .observe(ttfb.as_secs_f64());
        }
        match record.cost {
            Cost::Known(nanos) => {
                let cost =
                    series.cost.get_or_init(|| families.cost_usd_total.with_label_values(&[channel, model]));
                cost.inc_by(float(nanos) / NANOS);
            }
            Cost::NoPrice => families.price_unknown_total.with_label_values(&[channel, model]).inc(),
            Cost::Nothing | Cost::NoUsage => {}
        }
        if record.usage_source != UsageSource::None {
            for (series, (kind, count)) in series.tokens.iter().zip(record.usage.by_type()) {
                let tokens =
                    series.get_or_init(|| families.tokens_total.with_label_values(&[channel, model, kind]));
                add(tokens, count);
            }
        }
        if record.usage_source != UsageSource::Reported && is_usage_missing(record) {
            families.usage_missing_total.with_label_values(&[channel]).inc();
        }
    }
}

/// Most exchanges have none of most types of token, and an addition of nothing waits like any other for what other threads add.
fn add(counter: &IntCounter, count: u64) {
    if count > 0 {
        counter.inc_by(count);
    }
}

/// A channel and a model as labels, and what is counted under them.
struct Place<'a> {
    channel: &'a str,
    series: &'a ChannelSeries,
    model: &'a str,
    of_model: Arc<ModelSeries>,
}

impl<'a> Place<'a> {
    fn of(names: &'a Names, channel: &'a ChannelId, model: Option<&'a ModelName>) -> Self {
        let (channel, series) = names.channel_series(channel.as_str());
        let model = model.map(Text::as_str);
        // What was counted before under these names need not be asked for once more.
        let counted = model.and_then(|model| Some((model, series.known(model)?)));
        let (model, of_model) = counted.unwrap_or_else(|| {
            let model = names.model(model);
            (model, series.known(model).unwrap_or_else(|| series.model(model)))
        });
        Self { channel, series, model, of_model }
    }
}

//! Every metric we export, declared once: its field, its name, its help, its labels.
//!
//! Invariant: a metric that is not in the table does not exist (`docs/metrics.md` is checked against it), its
//! name is `tollgate_` and the field's name, and its label values come from closed sets or through
//! [`Names`](super::names::Names).

use super::names::Names;
use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, Result};

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Declared {
    /// The full name.
    pub name: &'static str,
    /// What it means, in one sentence.
    pub help: &'static str,
    /// counter, gauge or histogram.
    pub kind: &'static str,
    /// Label names, in the order values are given.
    pub labels: &'static [&'static str],
    /// Upper bounds of a histogram's buckets; empty for the others.
    pub buckets: &'static [f64],
}

/// A registered family of series.
pub(super) trait Family: Collector + Clone + Sized + 'static {
    const KIND: &'static str;
    fn make(declared: &Declared) -> Result<Self>;
    /// Makes a family without labels visible from the start, at 0.
    fn touch(&self);
    fn prune(&self, declared: &Declared, names: &Names);
}

macro_rules! families {
    ($($field:ident: $kind:ty, [$($label:literal),*], $buckets:expr, $help:literal;)*) => {
        /// The families, by field.
        #[derive(Debug)]
        pub(super) struct Families {
            $(pub(super) $field: $kind,)*
        }

        /// The table.
        pub const TABLE: &[Declared] = &[
            $(Declared {
                name: concat!("tollgate_", stringify!($field)),
                help: $help,
                kind: <$kind as Family>::KIND,
                labels: &[$($label),*],
                buckets: $buckets,
            },)*
        ];

        impl Families {
            /// Registers every row.
            pub(super) fn register(registry: &Registry) -> Result<Self> {
                let mut rows = TABLE.iter();
                Ok(Self { $($field: register::<$kind>(registry, rows.next())?,)* })
            }

            /// Deletes the series of keys, channels and models that are configured no more.
            pub(super) fn prune(&self, names: &Names) {
                let mut rows = TABLE.iter();
                $(if let Some(declared) = rows.next() { self.$field.prune(declared, names) })*
            }
        }
    };
}

families! {
    requests_total: IntCounterVec, ["api", "code"], NONE,
        "Requests answered, by operation and HTTP status.";
    request_duration_seconds: HistogramVec, ["api", "stream"], SECONDS,
        "Time from the first byte of a request to the end of its answer.";
    inflight_requests: GaugeVec, [], NONE,
        "Requests in flight.";
    active_streams: GaugeVec, [], NONE,
        "Streams that are being relayed.";
    overhead_seconds: HistogramVec, ["phase"], OVERHEAD_SECONDS,
        "Time the gateway itself added, on the way up (request) and down (response).";
    time_to_first_byte_seconds: HistogramVec, ["channel", "model"], SECONDS,
        "Time from the first byte of a request to the first byte of its answer, where that is a provider's.";
    stream_aborts_total: IntCounterVec, ["side"], NONE,
        "Streams that ended before their end, by who ended them: client, upstream or drain.";
    upstream_requests_total: IntCounterVec, ["channel", "model", "code"], NONE,
        "Attempts at a channel, by HTTP status; none where no status came.";
    upstream_duration_seconds: HistogramVec, ["channel"], SECONDS,
        "Time from choosing a channel to the end of the attempt.";
    upstream_connect_seconds: HistogramVec, ["channel"], CONNECT_SECONDS,
        "Time to a new connection to a channel, TLS included.";
    upstream_reused_total: IntCounterVec, ["channel"], NONE,
        "Attempts served by a connection that was already open.";
    errors_total: IntCounterVec, ["code"], NONE,
        "Requests that did not end with the provider's own answer, by the code in the error body.";
    thinking_stripped_total: IntCounterVec, ["channel"], NONE,
        "Blocks of thinking that another provider signed and that were cut out of what a channel was sent.";
    translations_total: IntCounterVec, ["from", "to"], NONE,
        "Requests written anew for a channel that speaks another protocol, by the client's protocol and the channel's.";
    translation_losses_total: IntCounterVec, ["from", "to"], NONE,
        "Answered requests of which translation could not carry everything; the access log's losses say what.";
    failovers_total: IntCounterVec, ["reason"], NONE,
        "Attempts that failed and were followed by another one, by reason.";
    sticky_total: IntCounterVec, ["result"], NONE,
        "Answered requests of a session, by where they went: kept, moved or new.";
    channel_canary_ratio: GaugeVec, ["channel"], NONE,
        "The share of exchanges that a channel on trial gets before all others; only for those that are.";
    channel_up: GaugeVec, ["channel"], NONE,
        "1 where a channel takes new requests, 0 where it is cooling or off.";
    realtime_unread_total: IntCounterVec, [], NONE,
        "Events of realtime sessions that were too long to be read on their way; what an answer used whose count was one is estimated.";
    retry_budget_exhausted_total: IntCounterVec, [], NONE,
        "Requests whose failed attempt was not followed by another one because the retry budget was used up.";
    credential_up: GaugeVec, ["channel", "credential"], NONE,
        "1 where a channel's credential is used, 0 where it was put away or is cooling.";
    channel_inflight: GaugeVec, ["channel"], NONE,
        "Attempts in flight at a channel.";
    queue_seconds: HistogramVec, [], SECONDS,
        "Time a request waited for a place at a full channel, where it did.";
    queued_requests: GaugeVec, ["channel"], NONE,
        "Requests that wait for a place at a channel; one may wait at several.";
    tokens_total: IntCounterVec, ["channel", "model", "type"], NONE,
        "Tokens counted by the provider; types are disjoint, but reasoning is part of output.";
    cost_usd_total: CounterVec, ["channel", "model"], NONE,
        "What answers cost in US dollars, where the model's price is known.";
    group_cost_usd_total: CounterVec, ["group"], NONE,
        "The same by the group that bears it.";
    price_unknown_total: IntCounterVec, ["channel", "model"], NONE,
        "Answers whose tokens are known and whose price is not: give the model a [[price]].";
    usage_missing_total: IntCounterVec, ["channel"], NONE,
        "Successful answers without token counts.";
    key_requests_total: IntCounterVec, ["key"], NONE,
        "Requests with an identified key, refused ones too.";
    key_tokens_total: IntCounterVec, ["key", "type"], NONE,
        "Tokens by key; types as in tollgate_tokens_total.";
    key_limit: GaugeVec, ["key", "limit"], NONE,
        "What a key's limit admits.";
    key_limit_remaining: GaugeVec, ["key", "limit"], NONE,
        "What is left of a key's limit now.";
    ratelimit_rejections_total: IntCounterVec, ["key", "limit"], NONE,
        "Requests refused by a limit.";
    quota_limit: GaugeVec, ["scope", "name", "unit"], NONE,
        "What a quota of a key, group or project admits in its window; unit is usd, tokens or requests.";
    quota_remaining: GaugeVec, ["scope", "name", "unit"], NONE,
        "What is left of a quota, less what is reserved; negative where exchanges cost more than was expected.";
    quota_uncounted_total: IntCounterVec, ["key"], NONE,
        "Answers to keys under a quota in dollars whose cost is not known, so that they did not count.";
    key_inflight: GaugeVec, ["key"], NONE,
        "Requests of a key in flight.";
    config_last_reload_successful: GaugeVec, [], NONE,
        "1 where the last reload took effect, 0 where it was refused.";
    config_last_reload_success_timestamp_seconds: GaugeVec, [], NONE,
        "When the running configuration was loaded, in Unix seconds.";
    config_reloads_total: IntCounterVec, ["result"], NONE,
        "Reloads, by result: success or failure.";
    config_info: GaugeVec, ["hash"], NONE,
        "1, with the hash of the running configuration.";
    leases_open: GaugeVec, [], NONE,
        "Permits that are held: requests admitted and not settled.";
    limit_store_up: GaugeVec, [], NONE,
        "1 where the fleet's store counts the limits, 0 where it is out of reach; absent without [fleet].";
    limit_store_replicas: GaugeVec, [], NONE,
        "Replicas that share the limits, as far as this one knows; absent without [fleet].";
    limit_store_call_seconds: HistogramVec, ["call"], OVERHEAD_SECONDS,
        "Time to the store's answer, or to giving it up, by the limit that was asked about, quota or replicas.";
    limit_store_errors_total: IntCounterVec, ["reason"], NONE,
        "Times the store was lost or not found: timeout, unreachable, denied, read_only, out_of_memory, loading, other.";
    limit_store_lent_total: IntCounterVec, ["limit"], NONE,
        "Requests, tokens and slots that the store lent to this replica, by limit.";
    buffered_body_bytes: GaugeVec, [], NONE,
        "Request bodies held in memory.";
    dns_names: GaugeVec, ["state"], NONE,
        "Names of providers by how they resolve: ok, stale (they stopped; the last addresses are used), failed.";
    base_url_fixups_total: IntCounterVec, ["kind"], NONE,
        "Requests whose address was understood though it was not right, by what was wrong with it.";
    accesslog_dropped_total: IntCounterVec, [], NONE,
        "Access log lines that were lost: queue full or target not writable.";
    accesslog_write_errors_total: IntCounterVec, [], NONE,
        "Writes of access log lines that the target did not take; the lines wait in memory, up to 128 KiB, for the next try.";
    accesslog_up: GaugeVec, [], NONE,
        "Whether the access log's target took the last write: 1 yes, also without a log; 0 no, lines wait in memory or are lost.";
    otlp_exported_total: IntCounterVec, ["signal"], NONE,
        "Spans (traces) and exports (metrics) that the OTLP collector took.";
    otlp_dropped_total: IntCounterVec, ["signal", "reason"], NONE,
        "What did not reach the OTLP collector, by reason: finished exchanges whose queue was full (queue_full), spans and exports of metrics it refused (refused) or that could not be delivered in time (unreachable).";
    heads_refused_total: IntCounterVec, ["reason"], NONE,
        "Request heads that were answered before they were understood, by reason: malformed, framing, host, method, target_too_long, too_long, slow.";
    connections_refused_total: IntCounterVec, ["reason"], NONE,
        "Connections that were closed as they came: limit (too many open), per_ip (too many of one address).";
    tls_handshake_failures_total: IntCounterVec, ["reason"], NONE,
        "TLS handshakes with clients that came to nothing, by reason.";
    certificate_expiry_timestamp_seconds: GaugeVec, ["listener", "name"], NONE,
        "When a certificate expires, in Unix seconds: those of TLS listeners by address and first name, those shown to channels with the listener upstream and the channel's name.";
    ledger_up: GaugeVec, [], NONE,
        "1 where the ledger takes what is booked, 0 where it does not and usage is kept in memory; absent without one.";
    ledger_unwritten: GaugeVec, [], NONE,
        "Exchanges that are booked in memory and not in the ledger's file yet; absent without one.";
    ledger_folded_total: IntCounterVec, [], NONE,
        "Exchanges that are in the ledger's sums and could not be kept one by one.";
    ledger_dropped_total: IntCounterVec, [], NONE,
        "Exchanges that the ledger lost.";
    build_info: GaugeVec, ["version", "revision"], NONE,
        "1, with the version and revision of the program.";
}

const NONE: &[f64] = &[];

/// 10 ms doubled up to eleven minutes: agents' streams last minutes, and the answer limit is ten.
const SECONDS: &[f64] = &[
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84, 327.68,
    655.36,
];

/// 10 µs to 100 ms: the number a gateway is judged by.
const OVERHEAD_SECONDS: &[f64] = &[
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1,
];

/// 0.5 ms (loopback) to past the default connect timeout.
const CONNECT_SECONDS: &[f64] =
    &[0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096];

fn register<F: Family>(registry: &Registry, declared: Option<&Declared>) -> Result<F> {
    let missing = || prometheus::Error::Msg("the table has a row for every field".to_owned());
    let declared = declared.ok_or_else(missing)?;
    let family = F::make(declared)?;
    registry.register(Box::new(family.clone()))?;
    if declared.labels.is_empty() {
        family.touch();
    }
    Ok(family)
}

macro_rules! family {
    ($type:ty, $kind:literal, $options:expr) => {
        impl Family for $type {
            const KIND: &'static str = $kind;

            fn make(declared: &Declared) -> Result<Self> {
                Self::new($options(declared), declared.labels)
            }

            fn touch(&self) {
                drop(self.with_label_values::<&str>(&[]));
            }

            fn prune(&self, declared: &Declared, names: &Names) {
                prune(self, declared, names);
            }
        }
    };
}

family!(IntCounterVec, "counter", |declared: &Declared| Opts::new(declared.name, declared.help));
family!(CounterVec, "counter", |declared: &Declared| Opts::new(declared.name, declared.help));
family!(GaugeVec, "gauge", |declared: &Declared| Opts::new(declared.name, declared.help));
family!(HistogramVec, "histogram", |declared: &Declared| {
    HistogramOpts::new(declared.name, declared.help).buckets(declared.buckets.to_vec())
});

fn prune<B: MetricVecBuilder>(family: &MetricVec<B>, declared: &Declared, names: &Names) {
    if !declared.labels.iter().any(|label| Names::bounds(label)) {
        return;
    }
    for metrics in family.collect() {
        for series in metrics.get_metric() {
            let value = |label: &&str| {
                let pair = series.get_label().iter().find(|pair| pair.name() == *label);
                pair.map(|pair| pair.value().to_owned()).unwrap_or_default()
            };
            let values: Vec<String> = declared.labels.iter().map(value).collect();
            let known = declared.labels.iter().zip(&values).all(|(label, value)| names.knows(label, value));
            // Another reload may have deleted it first; gone is gone.
            if !known && family.remove_label_values(&values).is_err() {
                tracing::debug!(metric = declared.name, "a series was deleted twice");
            }
        }
    }
}

//! The numbers Prometheus scrapes: counted from records, or read from the live state when it asks.
//!
//! Counters and histograms are fed by [`Metrics::report`], once per finished exchange and off its path. Gauges
//! are set by [`Metrics::scrape`] from what the state says at that moment: nothing is kept in step by hand, so
//! nothing drifts. Invariant: the series are those of [`TABLE`], with label values from closed sets or the
//! configuration.

mod edge;
mod fleet;
mod names;
mod report;
mod series;
mod table;

pub use fleet::FleetLive;
pub use names::{CREDENTIAL_SERIES_MAX, KEY_SERIES_MAX, OTHER, OVERFLOW};
pub use table::{Declared, TABLE};

use crate::code::Code;
use crate::id::{ChannelId, KeyId};
use crate::ledger::{Counters, State};
use crate::protocol::Operation;
use crate::record::{End, Record};
use crate::telemetry::access;
use crate::tls::word::Word;
use arc_swap::ArcSwap;
use names::Names;
use prometheus::{GaugeVec, IntCounter, Registry, Result, TextEncoder};
use series::CommonSeries;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use table::Families;

/// The registry and its families.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    families: Families,
    names: ArcSwap<Names>,
    common: CommonSeries,
    scraping: Mutex<()>,
}

/// What is true at the moment of a scrape.
#[derive(Debug, Clone, Default)]
pub struct Live<'a> {
    /// Requests in flight.
    pub inflight_requests: u64,
    /// Streams being relayed.
    pub active_streams: u64,
    /// Permits held.
    pub leases_open: u64,
    /// Bytes of buffered request bodies.
    pub buffered_body_bytes: u64,
    /// Names that resolve, that did before, and that never did.
    pub names: [(&'static str, u64); 3],
    /// The fleet, where there is one.
    pub fleet: Option<FleetLive>,
    /// Every configured channel.
    pub channels: Vec<ChannelLive<'a>>,
    /// Every configured key.
    pub keys: Vec<KeyLive<'a>>,
    /// Every certificate of ours.
    pub certificates: Vec<CertificateLive<'a>>,
    /// How the ledger is, where there is one.
    pub ledger: Option<State>,
    /// Every measure of every quota.
    pub quotas: Vec<QuotaLive<'a>>,
}

/// A quota at the moment of a scrape.
#[derive(Debug, Clone)]
pub struct QuotaLive<'a> {
    /// `key`, `group` or `project`.
    pub scope: &'static str,
    /// Whose.
    pub name: &'a str,
    /// `usd`, `tokens` or `requests`.
    pub unit: &'static str,
    /// What it admits.
    pub max: f64,
    /// What is left; it may be less than nothing.
    pub remaining: f64,
}

/// A certificate of ours at the moment of a scrape.
#[derive(Debug, Clone)]
pub struct CertificateLive<'a> {
    /// The address it is shown at, or `upstream`.
    pub listener: String,
    /// What it is called.
    pub name: &'a str,
    /// When it expires, in Unix seconds.
    pub until: u64,
}

/// A channel at the moment of a scrape.
#[derive(Debug, Clone)]
pub struct ChannelLive<'a> {
    /// Its name.
    pub channel: &'a ChannelId,
    /// Whether it takes new requests.
    pub up: bool,
    /// Attempts in flight.
    pub inflight: u64,
    /// Its credentials by what may be shown of them, and whether each is used.
    pub credentials: Vec<(String, bool)>,
    /// Requests that wait for a place.
    pub queued: u64,
    /// The share of exchanges it gets on trial.
    pub canary: Option<f64>,
}

/// A key at the moment of a scrape.
#[derive(Debug, Clone)]
pub struct KeyLive<'a> {
    /// Its name.
    pub key: &'a KeyId,
    /// Its requests in flight.
    pub inflight: u64,
    /// Its limits.
    pub limits: Vec<LimitLive>,
}

/// A key's limit at the moment of a scrape.
#[derive(Debug, Clone, Copy)]
pub struct LimitLive {
    /// `rpm`, `concurrency` …
    pub limit: &'static str,
    /// What it admits.
    pub max: u64,
    /// What is left.
    pub remaining: u64,
}

impl Metrics {
    /// Registers every family of [`TABLE`] and the process's own numbers. An error means that the table
    /// contradicts itself, which a test excludes.
    pub fn new(version: &str, revision: &str) -> Result<Self> {
        let registry = Registry::new();
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let families = Families::register(&registry)?;
        families.build_info.with_label_values(&[version, revision]).set(1.0);
        for result in ["success", "failure"] {
            families.config_reloads_total.with_label_values(&[result]).inc_by(0);
        }
        for result in ["kept", "moved", "new"] {
            families.sticky_total.with_label_values(&[result]).inc_by(0);
        }
        for reason in edge::HEAD_REASONS {
            families.heads_refused_total.with_label_values(&[reason]).inc_by(0);
        }
        for reason in edge::CONNECTION_REASONS {
            families.connections_refused_total.with_label_values(&[reason]).inc_by(0);
        }
        for reason in Word::ALL {
            families.tls_handshake_failures_total.with_label_values(&[reason.text()]).inc_by(0);
        }
        for code in Code::ALL {
            families.errors_total.with_label_values(&[code.word()]).inc_by(0);
        }
        Ok(Self {
            registry,
            families,
            names: ArcSwap::default(),
            common: CommonSeries::default(),
            scraping: Mutex::new(()),
        })
    }

    /// Takes the names of a new configuration and deletes the series of those that are gone.
    pub fn configure(&self, (keys, groups): (&[&str], &[&str]), models: &[&str], channels: &[&str]) {
        let names = Names::new((keys, groups), models, channels);
        for key in keys.iter().take(KEY_SERIES_MAX) {
            self.families.key_requests_total.with_label_values(&[*key]).inc_by(0);
        }
        self.names.store(Arc::new(names));
        self.families.prune(&self.names.load());
    }

    /// A configuration took effect.
    pub fn reloaded(&self, hash: &str, unix_seconds: u64) {
        let families = &self.families;
        set(&families.config_last_reload_successful, &[], 1);
        set(&families.config_last_reload_success_timestamp_seconds, &[], unix_seconds);
        families.config_reloads_total.with_label_values(&["success"]).inc();
        families.config_info.reset();
        set(&families.config_info, &[hash], 1);
    }

    /// A configuration was refused; the last good one stays.
    pub fn reload_refused(&self) {
        set(&self.families.config_last_reload_successful, &[], 0);
        self.families.config_reloads_total.with_label_values(&["failure"]).inc();
    }

    /// An address was understood though it was not right; `kind` is of the protocol's closed list.
    pub fn base_url_fixed(&self, kind: &'static str) {
        self.families.base_url_fixups_total.with_label_values(&[kind]).inc();
    }

    /// A session's exchange was served: `kept`, `moved` or `new`.
    pub fn followed(&self, result: &'static str) {
        self.families.sticky_total.with_label_values(&[result]).inc();
    }

    /// An event of a realtime session was too long to be read.
    pub fn realtime_unread(&self) {
        self.families.realtime_unread_total.with_label_values::<&str>(&[]).inc();
    }

    /// A failed attempt was not repeated, because too many were already.
    pub fn retry_budget_exhausted(&self) {
        self.families.retry_budget_exhausted_total.with_label_values::<&str>(&[]).inc();
    }

    /// An exchange of a key under a quota in dollars did not count, because nobody knows what it cost.
    pub fn quota_uncounted(&self, key: &str) {
        let names = self.names.load();
        self.families.quota_uncounted_total.with_label_values(&[names.key(key)]).inc();
    }

    /// What the access log says of itself.
    pub fn accesslog(&self) -> access::Counts {
        let families = &self.families;
        let up = families.accesslog_up.with_label_values::<&str>(&[]);
        up.set(1.0);
        access::Counts {
            dropped: families.accesslog_dropped_total.with_label_values::<&str>(&[]),
            errors: families.accesslog_write_errors_total.with_label_values::<&str>(&[]),
            up,
        }
    }

    /// The counter of exchanges that the exporter of traces and metrics never saw.
    pub fn spool_dropped(&self) -> IntCounter {
        self.families.otlp_dropped_total.with_label_values(&["records", "queue_full"])
    }

    /// The OTLP collector took so much of a signal (`traces`, `metrics`).
    pub fn otlp_exported(&self, signal: &'static str, count: u64) {
        self.families.otlp_exported_total.with_label_values(&[signal]).inc_by(count);
    }

    /// So much of a signal never reached it; `reason` is `queue_full`, `refused` or `unreachable`.
    pub fn otlp_dropped(&self, signal: &'static str, reason: &'static str, count: u64) {
        self.families.otlp_dropped_total.with_label_values(&[signal, reason]).inc_by(count);
    }

    /// The counters of what the ledger could not keep.
    pub fn ledger(&self) -> Counters {
        let families = &self.families;
        Counters {
            folded: families.ledger_folded_total.with_label_values::<&str>(&[]),
            dropped: families.ledger_dropped_total.with_label_values::<&str>(&[]),
        }
    }

    /// Sets the gauges to what is true now, and renders everything. Scrapes wait for one another, so that none
    /// sees another's half-set gauges.
    pub fn scrape(&self, live: &Live<'_>) -> String {
        let _one_at_a_time = self.scraping.lock().unwrap_or_else(PoisonError::into_inner);
        let families = &self.families;
        set(&families.inflight_requests, &[], live.inflight_requests);
        set(&families.active_streams, &[], live.active_streams);
        set(&families.leases_open, &[], live.leases_open);
        set(&families.buffered_body_bytes, &[], live.buffered_body_bytes);
        for (state, count) in live.names {
            set(&families.dns_names, &[state], count);
        }
        self.set_fleet(live.fleet);
        families.channel_canary_ratio.reset();
        for gauges in [&families.channel_up, &families.channel_inflight, &families.queued_requests] {
            gauges.reset();
        }
        let gauges = [&families.key_limit, &families.key_limit_remaining, &families.credential_up];
        for gauges in gauges.into_iter().chain([&families.key_inflight]) {
            gauges.reset();
        }
        for channel in &live.channels {
            let name = [channel.channel.as_str()];
            set(&families.channel_up, &name, u64::from(channel.up));
            set(&families.channel_inflight, &name, channel.inflight);
            for (credential, up) in channel.credentials.iter().take(CREDENTIAL_SERIES_MAX) {
                set(&families.credential_up, &[name[0], credential], u64::from(*up));
            }
            set(&families.queued_requests, &name, channel.queued);
            if let Some(share) = channel.canary {
                families.channel_canary_ratio.with_label_values(&name).set(share);
            }
        }
        self.set_keys(&live.keys);
        self.set_certificates(&live.certificates);
        for gauge in [&families.ledger_up, &families.ledger_unwritten] {
            gauge.reset();
        }
        if let Some(ledger) = live.ledger {
            set(&families.ledger_up, &[], u64::from(ledger.up));
            set(&families.ledger_unwritten, &[], ledger.unwritten);
        }
        self.set_quotas(&live.quotas);
        self.encode()
    }

    /// Keys without series of their own are in flight together; their limits, being different, are not shown.
    fn set_keys(&self, keys: &[KeyLive<'_>]) {
        let names = self.names.load();
        for key in keys {
            let name = names.key(key.key.as_str());
            self.families.key_inflight.with_label_values(&[name]).add(float(key.inflight));
            if name == OVERFLOW {
                continue;
            }
            for limit in &key.limits {
                set(&self.families.key_limit, &[name, limit.limit], limit.max);
                set(&self.families.key_limit_remaining, &[name, limit.limit], limit.remaining);
            }
        }
    }

    /// Of several with the same labels (one for RSA and one for ECDSA) the one that expires first.
    fn set_certificates(&self, certificates: &[CertificateLive<'_>]) {
        let family = &self.families.certificate_expiry_timestamp_seconds;
        family.reset();
        for certificate in certificates.iter().take(CERTIFICATE_SERIES_MAX) {
            let gauge = family.with_label_values(&[&*certificate.listener, certificate.name]);
            let (until, known) = (float(certificate.until), gauge.get());
            gauge.set(if known > 0.0 { known.min(until) } else { until });
        }
    }

    /// Each scope has as many names with series as keys have.
    fn set_quotas(&self, quotas: &[QuotaLive<'_>]) {
        let families = &self.families;
        families.quota_limit.reset();
        families.quota_remaining.reset();
        let mut names: HashMap<&str, HashSet<&str>> = HashMap::new();
        for quota in quotas {
            let names = names.entry(quota.scope).or_default();
            if names.len() >= KEY_SERIES_MAX && !names.contains(quota.name) {
                continue;
            }
            names.insert(quota.name);
            let labels = [quota.scope, quota.name, quota.unit];
            families.quota_limit.with_label_values(&labels).set(quota.max);
            families.quota_remaining.with_label_values(&labels).set(quota.remaining);
        }
    }

    /// Everything in Prometheus' text format, the gauges as they were last set.
    pub fn encode(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_else(|problem| {
            tracing::error!(%problem, "the metrics could not be rendered");
            String::new()
        })
    }
}

/// Certificates that have series: more than anybody looks at.
const CERTIFICATE_SERIES_MAX: usize = 1000;

/// Nano-dollars in a dollar.
const NANOS: f64 = 1e9;

/// Who ended a stream before its end.
fn abort_side(end: End) -> Option<&'static str> {
    match end {
        End::StreamTruncated | End::StreamIdleTimeout => Some("upstream"),
        End::ClientClosed => Some("client"),
        End::Drained => Some("drain"),
        End::Ok | End::Refused | End::Failed => None,
    }
}

/// A whole 2xx answer of an operation that providers count, without counts.
fn is_usage_missing(record: &Record) -> bool {
    let counted = record.operation.is_some_and(Operation::has_usage);
    counted && record.end == End::Ok && (200..300).contains(&record.status)
}

fn set(gauges: &GaugeVec, labels: &[&str], value: u64) {
    gauges.with_label_values(labels).set(float(value));
}

#[expect(clippy::cast_precision_loss, reason = "exact below 2^53, and Prometheus has no other numbers")]
fn float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests;

//! What the admin listener shows, as values: read from the live state at the moment of the call.

use super::traffic::Window;
use super::{Bound, credentials, detail, parameter, quotas};
use crate::config::Snapshot;
use crate::limit::breaker::Phase;
use crate::process::Shared;
use crate::process::history::Kept;
use crate::process::reload::{Last, Reloader};
use crate::protocol::Medium;
use crate::record::{Excerpt, Text};
use crate::state::Live;
use crate::state::health::{Resting, Why};
use crate::state::lending::Mode;
use crate::telemetry::failures::LastFailure;
use crate::telemetry::{access, metrics};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// Everything for Prometheus.
pub(super) fn metrics(shared: &Shared) -> String {
    let live = shared.live.load();
    let now = shared.world.now();
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    let channels = live.snapshot.channels.iter().map(|channel| metrics::ChannelLive {
        channel: &channel.id,
        up: why_down(&live, channel.index, now).is_none(),
        inflight: u64::from(live.channel(channel.index).gate.slots.taken()),
        credentials: credentials::used(&live, channel, now),
        queued: live.channel(channel.index).queue.waiting() as u64,
        canary: channel.canary_share(),
    });
    let keys = live.snapshot.keys.iter().map(|key| metrics::KeyLive {
        key: &key.id,
        inflight: u64::from(live.key(key.index).gate.slots.taken()),
        limits: limits(&live, key.index, now),
    });
    shared.telemetry.metrics.scrape(&metrics::Live {
        inflight_requests: count(shared.under_way.load(Ordering::Acquire)),
        active_streams: count(shared.registry.streams().load(Ordering::Acquire)),
        leases_open: count(shared.registry.leases().load(Ordering::Acquire)),
        buffered_body_bytes: shared.registry.bodies().held() as u64,
        names: names(shared),
        fleet: fleet(shared),
        channels: channels.collect(),
        keys: keys.collect(),
        certificates: certificates(&live.snapshot),
        ledger: shared.telemetry.ledger().map(|ledger| ledger.state()),
        quotas: quotas::gauges(&live, unix(shared)),
    })
}

fn names(shared: &Shared) -> [(&'static str, u64); 3] {
    let names = shared.resolver.names();
    [("ok", names.ok), ("stale", names.stale), ("failed", names.failed)]
}

/// Every certificate of ours: those of the listeners, and those we show to channels.
fn certificates(snapshot: &Snapshot) -> Vec<metrics::CertificateLive<'_>> {
    let shown = snapshot.server.tls.iter().flat_map(|listener| {
        listener.tls.identities().iter().map(|identity| metrics::CertificateLive {
            listener: listener.listen.to_string(),
            name: identity.label(),
            until: identity.validity().until,
        })
    });
    let to_channels = snapshot.channels.iter().filter_map(|channel| {
        Some(metrics::CertificateLive {
            listener: "upstream".to_owned(),
            name: channel.id.as_str(),
            until: channel.tls.tls.identity()?.validity().until,
        })
    });
    shown.chain(to_channels).collect()
}

fn fleet(shared: &Shared) -> Option<metrics::FleetLive> {
    let lender = shared.registry.lender();
    let mode = Some(lender.mode()).filter(|mode| *mode != Mode::Off)?;
    Some(metrics::FleetLive { up: mode == Mode::Shared, replicas: lender.replicas() })
}

fn limits(live: &Live, index: usize, now: u64) -> Vec<metrics::LimitLive> {
    let gate = &live.key(index).gate;
    let rpm = gate.rpm_level(now).map(|level| metrics::LimitLive {
        limit: "rpm",
        max: level.limit,
        remaining: level.remaining,
    });
    let media = Medium::ALL.into_iter().filter_map(|medium| {
        let level = gate.medium_level(medium, now)?;
        Some(metrics::LimitLive { limit: medium.limit(), max: level.limit, remaining: level.remaining })
    });
    let tokens = gate.token_levels(now).map(|(counted, level)| metrics::LimitLive {
        limit: counted.word(),
        max: level.limit,
        remaining: level.remaining,
    });
    let slots = gate.slots_level().map(|(limit, remaining)| metrics::LimitLive {
        limit: "concurrency",
        max: limit,
        remaining,
    });
    rpm.into_iter().chain(media).chain(tokens).chain(slots).collect()
}

/// Why a channel takes no requests now; `None`: it does.
fn why_down(live: &Live, index: usize, now: u64) -> Option<&'static str> {
    let (channel, state) = (&live.snapshot.channels[index], live.channel(index));
    if !channel.enabled {
        Some("disabled")
    } else if channel.weight == 0 {
        Some("weight 0")
    } else if !channel.is_in_service() {
        Some("canary 0%")
    } else if state.health.at(now).is_some() {
        Some("cooling")
    } else if state.credentials.iter().all(|rest| rest.at(now).is_some()) {
        Some("credentials cooling")
    } else {
        None
    }
}

/// Whether a channel is in service at all. One that only cools is: that passes by itself, and every replica has it at the
/// same time, so that taking this one away would help nobody.
fn is_in_service(live: &Live, index: usize, now: u64) -> bool {
    let (channel, state) = (&live.snapshot.channels[index], live.channel(index));
    let put_away = |resting: Resting| matches!(resting.why, Why::Unauthorized | Why::Unpaid);
    let has_credential = state.credentials.iter().any(|rest| !rest.at(now).is_some_and(put_away));
    channel.is_in_service() && has_credential
}

/// How many channels are in service.
pub(super) fn channels_in_service(shared: &Shared) -> usize {
    let live = shared.live.load();
    let now = shared.world.now();
    (0..live.snapshot.channels.len()).filter(|index| is_in_service(&live, *index, now)).count()
}

/// How many channels could take a request now.
pub(super) fn usable_channels(shared: &Shared) -> usize {
    let live = shared.live.load();
    let now = shared.world.now();
    (0..live.snapshot.channels.len()).filter(|index| why_down(&live, *index, now).is_none()).count()
}

/// The process at a glance; with `?detail=1` all that the status page shows.
pub(super) fn status(
    shared: &Shared,
    reloader: Option<&Reloader>,
    bound: &Bound,
    since: u64,
    query: &str,
) -> Value {
    let window = Window::look(shared, since);
    let mut status = glance(shared, reloader, bound, (since, &window));
    if parameter(query, "detail").is_some() {
        status["detail"] = detail::detail(shared, &window, since, query);
    }
    status
}

fn glance(
    shared: &Shared,
    reloader: Option<&Reloader>,
    bound: &Bound,
    (since, window): (u64, &Window),
) -> Value {
    let last = reloader.map(Reloader::last);
    let last = last.as_ref();
    let live = shared.live.load();
    let now_unix_ms = shared.world.unix_ms();
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    let queued: usize =
        live.snapshot.channels.iter().map(|channel| live.channel(channel.index).queue.waiting()).sum();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "now_unix_ms": now_unix_ms,
        "started_unix_ms": since,
        "uptime_seconds": now_unix_ms.saturating_sub(since) / 1000,
        "draining": shared.draining.load(Ordering::Acquire),
        "listen": bound.public,
        "tls": bound.secured,
        "admin": bound.admin,
        "config": {
            "hash": live.snapshot.hash,
            "file": reloader.map(|reloader| reloader.file().display().to_string()),
            "reload": last.map(reload),
            "history": last.map(|last| history(&live.snapshot, &last.kept)),
        },
        "inflight": shared.under_way.load(Ordering::Acquire),
        "streams": count(shared.registry.streams().load(Ordering::Acquire)),
        "queued": queued,
        "buffered_body_bytes": shared.registry.bodies().held(),
        "traffic": window.traffic(),
        "channels": { "configured": live.snapshot.channels.len(), "usable": usable_channels(shared) },
        "credentials_away": credentials::away(&live, shared.world.now()),
        "keys": live.snapshot.keys.len(),
        "quotas": quotas::glance(&live, unix(shared)),
    })
}

/// Where what is in force was kept.
fn history(snapshot: &Snapshot, kept: &Kept) -> Value {
    let (number, problem) = match kept {
        Kept::Nowhere => return Value::Null,
        Kept::As(number) => (Some(number), None),
        Kept::Not(problem) => (None, Some(problem)),
    };
    let path = snapshot.history.as_ref().map(|history| history.path.display().to_string());
    json!({ "path": path, "number": number, "problem": problem })
}

/// How the last reload went.
pub(super) fn reload(last: &Last) -> Value {
    json!({
        "successful": last.successful,
        "generation": last.generation,
        "last_success_unix_ms": last.success_unix_ms,
        "problems": last.problems,
        "needs_restart": last.needs_restart,
        "changes": last.changes.value(),
    })
}

/// Every channel, how it is and how it was in the last minutes.
pub(super) fn channel_rows(shared: &Shared, window: &Window) -> Vec<Value> {
    let live = shared.live.load();
    let now = shared.world.now();
    let recent = window.channels();
    let rows = live.snapshot.channels.iter().map(|channel| {
        let state = live.channel(channel.index);
        let rest = state.health.at(now);
        let idle = if state.health.phase(now) == Phase::HalfOpen { "half-open" } else { "healthy" };
        json!({
            "channel": channel.id.as_str(),
            "type": channel.kind,
            "protocol": channel.dialect.word(),
            "priority": channel.priority,
            "weight": channel.weight,
            "canary": channel.canary_share(),
            "up": why_down(&live, channel.index, now).is_none(),
            "state": why_down(&live, channel.index, now).unwrap_or(idle),
            "cooling_ms": rest.map(|rest| rest.left.as_millis()),
            "credentials": channel.credentials.len(),
            "credentials_cooling": state.credentials.iter().filter(|rest| rest.at(now).is_some()).count(),
            "credential_states": credentials::states(&live, channel, now),
            "refused_models": credentials::refused_models(&live, channel, now),
            "inflight": state.gate.slots.taken(),
            "queued": state.queue.waiting(),
            "breaker": breaker(state.health.phase(now)),
            "recent": recent.get(channel.id.as_str()),
            "last_error": shared.telemetry.failures.of(&channel.id).map(|failure| last_error(&failure)),
        })
    });
    rows.collect()
}

fn breaker(phase: Phase) -> &'static str {
    match phase {
        Phase::Closed => "closed",
        Phase::Open(_) => "open",
        Phase::HalfOpen => "half-open",
        Phase::Probing(_) => "probing",
    }
}

fn last_error(failure: &LastFailure) -> Value {
    json!({
        "unix_ms": failure.unix_ms,
        "request_id": failure.request_id.as_str(),
        "model": failure.model.as_ref().map(Text::as_str),
        "status": failure.status,
        "code": failure.code,
        "reason": failure.reason,
        "said": failure.said.as_ref().map(Excerpt::as_str),
    })
}

/// Every quota.
pub(super) fn quotas(shared: &Shared) -> Value {
    quotas::all(&shared.live.load(), unix(shared))
}

fn unix(shared: &Shared) -> u64 {
    shared.world.unix_ms() / 1000
}

/// Every key, what is left of its limits and of the quotas that count it, and what it did in the last minutes.
pub(super) fn key_rows(shared: &Shared, window: &Window) -> Vec<Value> {
    let live = shared.live.load();
    let (now, unix) = (shared.world.now(), unix(shared));
    let recent = window.keys();
    let rows = live.snapshot.keys.iter().map(|key| {
        let limits: serde_json::Map<String, Value> = limits(&live, key.index, now)
            .into_iter()
            .map(|limit| {
                (limit.limit.to_owned(), json!({ "limit": limit.max, "remaining": limit.remaining }))
            })
            .collect();
        json!({
            "key": key.id.as_str(),
            "last4": key.last4,
            "owner": key.owner,
            "project": key.project,
            "group": key.group.id.as_str(),
            "groups": key.in_groups().map(|key| key.group.id.as_str()).collect::<Vec<_>>(),
            "profile": key.profile.as_ref().map(|profile| profile.id.as_str()),
            "enabled": key.enabled,
            "inflight": live.key(key.index).gate.slots.taken(),
            "limits": limits,
            "quotas": quotas::of_key(&live, key, unix),
            "recent": recent.get(key.id.as_str()),
        })
    });
    rows.collect()
}

/// The last exchanges, newest first; `?trace=ID` keeps one session's, `?limit=N` fewer.
pub(super) fn exchanges(shared: &Shared, query: &str) -> Value {
    let count = parameter(query, "limit").and_then(|text| text.parse().ok()).unwrap_or(EXCHANGES_SHOWN);
    let trace = parameter(query, "trace");
    let recent = shared.telemetry.recent.latest(usize::MAX);
    let kept = recent.iter().filter(|record| {
        trace.as_deref().is_none_or(|trace| record.trace_id.as_ref().is_some_and(|id| id.as_str() == trace))
    });
    kept.take(count).map(|record| line(record)).collect()
}

/// An access line.
pub(super) fn line(record: &crate::record::Record) -> Value {
    serde_json::from_slice(&access::line(record)).unwrap_or_default()
}

const EXCHANGES_SHOWN: usize = 100;

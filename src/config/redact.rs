//! The snapshot for people to look at: `/api/config` and `check --dump`.
//!
//! Invariant: of every secret only the last four characters, and none of a header's value that an operator
//! set. Everything is in a fixed order, so that two dumps can be compared.

use super::snapshot::{
    AccessTarget, Balance, Channel, ChannelTls, ClientAbort, Conduct, Fleet, ForeignThinking, Group,
    HttpVersion, Key, Limits, Mapping, MappingFrom, Otlp, Patterns, PriceRule, Profile, Project, Quota,
    Server, Snapshot, TlsFiles, TlsListener, Tool, UpstreamTimeouts,
};
use crate::price::{Unit, decimal};
use crate::protocol::Medium;
use crate::protocol::trace_context::Sampling;
use crate::tls::Identity;
use serde_json::{Map, Value, json};
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The whole snapshot without its secrets.
pub fn redacted(snapshot: &Snapshot) -> Value {
    let mut profiles: Vec<_> = snapshot.profiles.values().collect();
    profiles.sort_by(|one, other| one.id.cmp(&other.id));
    let mut tree = process(snapshot);
    for (name, value) in [
        ("hash", json!(snapshot.hash)),
        ("channel", snapshot.channels.iter().map(|it| channel(it)).collect()),
        ("profile", profiles.into_iter().map(|it| profile(it)).collect()),
        ("group", snapshot.groups.iter().map(|it| group(it)).collect()),
        ("project", snapshot.projects.iter().map(project).collect()),
        ("key", snapshot.keys.iter().map(key).collect()),
        ("price", snapshot.prices.rules().iter().map(price).collect()),
    ] {
        tree[name] = value;
    }
    tree
}

/// What there is one of: how the process serves, what it writes, whom it counts with.
pub(super) fn process(snapshot: &Snapshot) -> Value {
    json!({
        "server": server(&snapshot.server),
        "upstream": {
            "attempts": snapshot.attempts,
            "retry_budget": f64::from(snapshot.retry_budget_permille) / 1000.0,
        },
        "trace": {
            "claude_code_trace_enabled": snapshot.trace.tools.contains(&Tool::ClaudeCode),
            "codex_trace_enabled": snapshot.trace.tools.contains(&Tool::Codex),
            "opencode_trace_enabled": snapshot.trace.tools.contains(&Tool::Opencode),
            "headers": snapshot.trace.headers,
            "sticky": snapshot.trace.sticky,
        },
        "log": {
            "labels": snapshot.log.labels,
            "level": snapshot.log.level,
            "access": match &snapshot.log.access {
                AccessTarget::Stdout => "stdout".to_owned(),
                AccessTarget::Stderr => "stderr".to_owned(),
                AccessTarget::Off => "off".to_owned(),
                AccessTarget::File(path) => path.display().to_string(),
            },
            "sample_successes": snapshot.log.sampling.map_or(1.0, |it| f64::from(it.successes_ppm) / 1e6),
            "slow": snapshot.log.sampling.map(|it| wait(it.slow)),
        },
        "ledger": snapshot.ledger.as_ref().map(|ledger| json!({
            "path": ledger.path.display().to_string(),
            "retention": retention(ledger.retention),
        })),
        "history": snapshot.history.as_ref().map(|history| json!({
            "path": history.path.display().to_string(),
            "keep": history.keep,
        })),
        "fleet": snapshot.fleet.as_ref().map(fleet),
        "otlp": snapshot.otlp.as_deref().map(otlp),
    })
}

pub(super) fn group(group: &Group) -> Value {
    json!({
        "name": group.id.as_str(),
        "limits": limits(&group.limits),
        "quota": group.quota.as_ref().map(quota),
    })
}

pub(super) fn project(project: &Project) -> Value {
    json!({ "name": project.name, "quota": quota(&project.quota) })
}

/// Of the address nothing but its end: a password may stand anywhere before.
fn fleet(fleet: &Fleet) -> Value {
    json!({
        "redis": fleet.redis.to_string(),
        "on_error": fleet.on_error.word(),
        "prefix": fleet.prefix,
        "replicas": fleet.replicas,
        "timeout": wait(fleet.timeout),
    })
}

/// Of a header nothing but its name and the end of its value.
fn otlp(otlp: &Otlp) -> Value {
    let headers = otlp.headers.iter().map(|(name, value)| (name.to_string(), json!(value.to_string())));
    json!({
        "endpoint": otlp.collector.endpoint.base_url(),
        "headers": headers.collect::<Map<_, _>>(),
        "ca": otlp.ca.as_ref().map(|path| path.display().to_string()),
        "traces": otlp.traces.is_some(),
        "metrics": otlp.metrics,
        "sample_ratio": otlp.traces.map(Sampling::ratio),
        "semconv": otlp.convention.word(),
        "resource": otlp.resource.iter().map(|(name, value)| (name.clone(), json!(value))).collect::<Map<_, _>>(),
        "timeout": wait(otlp.timeout),
        "delay": wait(otlp.delay),
        "interval": wait(otlp.interval),
    })
}

fn server(server: &Server) -> Value {
    json!({
        "listen": texts(&server.listen),
        "tls": server.tls.iter().map(tls_listener).collect::<Vec<_>>(),
        "admin": server.admin.to_string(),
        "admin_token": server.admin_token.as_ref().map(ToString::to_string),
        "threads": server.threads,
        "trusted_proxies": texts(&server.trusted_proxies),
        "cors_origins": server.cors_origins,
        "loss_header": server.loss_header,
        "timeouts": {
            "header": wait(server.timeouts.header),
            "body_idle": wait(server.timeouts.body_idle),
            "write_idle": wait(server.timeouts.write_idle),
            "idle": wait(server.timeouts.idle),
            "age": wait(server.timeouts.age),
            "drain_delay": wait(server.timeouts.drain_delay),
            "drain": wait(server.timeouts.drain),
        },
        "limits": {
            "connections": server.limits.connections,
            "connections_per_ip": server.limits.connections_per_ip,
            "exchanges": server.limits.exchanges,
            "header_bytes": server.limits.header_bytes,
            "body_bytes": server.limits.body_bytes,
            "buffered_body_bytes": server.limits.buffered_body_bytes,
        },
    })
}

/// Where things are, whom they are for and until when: of keys only the file.
fn tls_listener(listener: &TlsListener) -> Value {
    let certificate = |(files, identity): (&TlsFiles, &Arc<Identity>)| {
        json!({
            "cert": files.certificate.display().to_string(),
            "key": files.key.display().to_string(),
            "names": identity.names(),
            "expires_unix": identity.validity().until,
        })
    };
    json!({
        "listen": listener.listen.to_string(),
        "certs": listener.certificates.iter().zip(listener.tls.identities()).map(certificate).collect::<Vec<_>>(),
        "client_ca": listener.client_ca.as_ref().map(|path| path.display().to_string()),
    })
}

fn channel_tls(tls: &ChannelTls) -> Value {
    let path = |path: &Path| path.display().to_string();
    json!({
        "ca": tls.ca.as_deref().map(path),
        "client_cert": tls.client.as_ref().map(|files| path(&files.certificate)),
        "client_key": tls.client.as_ref().map(|files| path(&files.key)),
        "client_cert_expires_unix": tls.tls.identity().map(|identity| identity.validity().until),
    })
}

pub(super) fn channel(channel: &Channel) -> Value {
    let mut groups: Option<Vec<&str>> =
        channel.groups.as_ref().map(|groups| groups.iter().map(crate::id::GroupId::as_str).collect());
    if let Some(groups) = &mut groups {
        groups.sort_unstable();
    }
    let model_map: Map<String, Value> =
        channel.model_map.iter().map(|(here, there)| (here.clone(), json!(there))).collect();
    let addresses: Map<String, Value> = channel
        .protocols
        .iter()
        .map(|protocol| (protocol.word().to_owned(), json!(channel.address_of(*protocol))))
        .collect();
    json!({
        "name": channel.id.as_str(),
        "type": channel.kind,
        "protocols": channel.protocols.iter().map(|protocol| protocol.word()).collect::<Vec<_>>(),
        "stream": channel.streams.word(),
        "base_url": channel.endpoint.base_url(),
        "addresses": addresses,
        "api_version": channel.places.other.api_version,
        "api_keys": texts(&channel.credentials),
        "tls": channel_tls(&channel.tls),
        "models": patterns(channel.models.as_ref()),
        "model_map": model_map,
        "priority": channel.priority,
        "weight": channel.weight,
        "canary": channel.canary.as_ref().map(super::snapshot::Canary::percent),
        "groups": groups,
        "enabled": channel.enabled,
        "allow_link_local": channel.allow_link_local,
        "egress_proxy": channel.egress_proxy.as_ref().map(|proxy| proxy.shown()),
        "limits": limits(&channel.limits),
        "credential_limits": limits(&channel.credential_limits),
        "request_headers": {
            "set": channel.set_headers.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            "remove": channel.remove_headers,
        },
        "timeouts": timeouts(&channel.timeouts),
        "conduct": conduct(&channel.conduct),
    })
}

fn conduct(conduct: &Conduct) -> Value {
    json!({
        "balance": match conduct.balance {
            Balance::Weighted => "weighted",
            Balance::LeastLatency => "least_latency",
            Balance::LeastBusy => "least_busy",
        },
        "queue": conduct.queue,
        "queue_timeout": wait(conduct.queue_timeout),
        "ping_interval": wait(conduct.ping_interval),
        "ping_before_first_event": conduct.ping_before_first_event,
        "on_client_abort": match conduct.on_client_abort {
            ClientAbort::Cancel => "cancel",
            ClientAbort::Drain => "drain",
        },
        "foreign_thinking": match conduct.foreign_thinking {
            ForeignThinking::Strip => "strip",
            ForeignThinking::Refuse => "refuse",
        },
        "include_usage": conduct.include_usage,
        "http_version": match conduct.http_version {
            HttpVersion::Auto => "auto",
            HttpVersion::Http1 => "1.1",
            HttpVersion::Http2 => "2",
        },
    })
}

fn timeouts(timeouts: &UpstreamTimeouts) -> Value {
    json!({
        "connect_timeout": wait(timeouts.connect),
        "first_byte_timeout": wait(timeouts.first_byte),
        "response_timeout": wait(timeouts.response),
        "idle_timeout": wait(timeouts.idle),
    })
}

pub(super) fn profile(profile: &Profile) -> Value {
    let mapping = |mapping: &Mapping| match &mapping.from {
        MappingFrom::Exact(name) => json!({ "from": name, "to": mapping.to }),
        MappingFrom::Regex(regex) => json!({ "from_regex": regex.as_str(), "to": mapping.to }),
    };
    json!({
        "name": profile.id.as_str(),
        "mappings": profile.mappings.iter().map(mapping).collect::<Vec<_>>(),
    })
}

/// Prices as text: every digit, and no float's.
pub(super) fn price(rule: &PriceRule) -> Value {
    let rates =
        Unit::ALL.into_iter().filter_map(|unit| Some((unit.word(), rule.rates.own(unit)?.to_string())));
    let rates: Map<String, Value> = rates.map(|(unit, rate)| (unit.to_owned(), json!(rate))).collect();
    json!({
        "model": rule.model,
        "channel": rule.channel.as_ref().map(crate::id::ChannelId::as_str),
        "usd_per_million": rates,
    })
}

pub(super) fn key(key: &Arc<Key>) -> Value {
    let of_model = |limit: &super::snapshot::ModelLimit| json!({ "model": limit.model, "limits": limits(&limit.limits) });
    json!({
        "name": key.id.as_str(),
        "last4": key.last4,
        "owner": key.owner,
        "project": key.project,
        "group": key.group.id.as_str(),
        "groups": key.in_groups().map(|key| key.group.id.as_str()).collect::<Vec<_>>(),
        "profiles": key.profiles.iter().map(crate::id::ProfileId::as_str).collect::<Vec<_>>(),
        "active_profile": key.profile.as_ref().map(|profile| profile.id.as_str()),
        "models": patterns(key.models.as_ref()),
        "allowed_ips": texts(&key.allowed_ips),
        "expires_unix": key.expires_unix,
        "enabled": key.enabled,
        "stream": key.stream,
        "strict_translation": key.strict_translation,
        "body_bytes": key.body_bytes,
        "max_output_tokens": key.max_output_tokens,
        "limits": limits(&key.limits),
        "model_limits": key.model_limits.iter().map(of_model).collect::<Vec<_>>(),
        "quota": key.quota.as_ref().map(quota),
    })
}

/// Money as text, like prices.
fn quota(quota: &Quota) -> Value {
    json!({
        "usd": quota.nano_usd.map(decimal::usd),
        "tokens": quota.tokens,
        "requests": quota.requests,
        "per": quota.per.word(),
    })
}

fn limits(limits: &Limits) -> Value {
    let mut shown = Map::new();
    for (name, burst, rate) in [
        ("rpm", "burst", limits.rpm),
        ("tpm", "tpm_burst", limits.tpm),
        ("input_tpm", "input_tpm_burst", limits.input_tpm),
        ("output_tpm", "output_tpm_burst", limits.output_tpm),
    ] {
        shown.insert(name.to_owned(), json!(rate.map(|rate| rate.per_minute)));
        shown.insert(burst.to_owned(), json!(rate.map(|rate| rate.burst)));
    }
    shown.insert("concurrency".to_owned(), json!(limits.concurrency));
    for (medium, rate) in Medium::ALL.into_iter().zip(limits.media) {
        shown.insert(medium.limit().to_owned(), json!(rate.map(|rate| rate.per_minute)));
        shown.insert(medium.burst().to_owned(), json!(rate.map(|rate| rate.burst)));
    }
    Value::Object(shown)
}

fn patterns(patterns: Option<&Patterns>) -> Value {
    patterns.map_or(Value::Null, |patterns| json!(patterns.listed()))
}

fn texts<T: Display>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

/// In days where it is days: months of 30.44 days, which the other durations have, nobody wrote.
fn retention(kept: Duration) -> String {
    let days = kept.as_secs() / DAY_SECONDS;
    if kept == Duration::from_secs(days * DAY_SECONDS) { format!("{days}d") } else { wait(kept) }
}

const DAY_SECONDS: u64 = 24 * 3600;

fn wait(wait: Duration) -> String {
    humantime::format_duration(wait).to_string()
}

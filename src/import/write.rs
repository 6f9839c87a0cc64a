//! The draft as TOML.
//!
//! Invariant: every text goes through `quoted`, so that no name or key of the source can end a string or a line.

use super::draft::{Channel, Credential, Draft, Group, Key, KeySecret, Limits, Price, Profile, Quota};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The whole of it.
pub(super) fn written(draft: &Draft) -> String {
    let mut out =
        String::from("# Written by `tollgate import`, which said beside it what is not the same here.\n");
    if !draft.upstream.is_empty() {
        out.push_str("\n[upstream]\n");
        for (name, value) in &draft.upstream {
            line(&mut out, name, value);
        }
    }
    let of_groups = draft.groups.values().map(|group| group.quota);
    if of_groups.chain(draft.keys.iter().map(|key| key.quota)).any(|quota| quota.is_some()) {
        out.push_str("\n# Quotas go on from what is kept there.\n[ledger]\npath = \"ledger.db\"\n");
    }
    draft.channels.iter().for_each(|channel| self::channel(channel, &mut out));
    draft.profiles.iter().for_each(|profile| self::profile(profile, &mut out));
    for (name, group) in &draft.groups {
        self::group(name, group, &mut out);
    }
    draft.keys.iter().for_each(|key| self::key(key, &mut out));
    draft.prices.iter().for_each(|price| self::price(price, &mut out));
    out
}

fn channel(channel: &Channel, out: &mut String) {
    out.push_str("\n[[channel]]\n");
    line(out, "name", &quoted(&channel.name));
    line(out, "type", &quoted(channel.kind));
    if let Some(url) = &channel.base_url {
        line(out, "base_url", &quoted(url));
    }
    let api_keys = channel.api_keys.iter().map(|key| match key {
        Credential::Variable(name) => format!("{{ env = {} }}", quoted(name)),
        Credential::Text(text) => quoted(text),
    });
    if !channel.api_keys.is_empty() {
        line(out, "api_keys", &list(api_keys));
    }
    texts(out, "models", &channel.models);
    table(out, "model_map", &channel.model_map);
    if channel.priority != 0 {
        line(out, "priority", &channel.priority.to_string());
    }
    if let Some(weight) = channel.weight {
        line(out, "weight", &weight.to_string());
    }
    texts(out, "groups", &channel.groups);
    if channel.disabled {
        line(out, "enabled", "false");
    }
    limits(out, channel.limits);
    if let Some(stream) = channel.stream {
        line(out, "stream", &quoted(stream));
    }
    for (name, value) in &channel.settings {
        line(out, name, value);
    }
    let mut headers = Vec::new();
    if !channel.set_headers.is_empty() {
        headers.push(format!("set = {}", inline(&channel.set_headers)));
    }
    if !channel.remove_headers.is_empty() {
        headers.push(format!("remove = {}", list(channel.remove_headers.iter().map(|name| quoted(name)))));
    }
    if !headers.is_empty() {
        line(out, "request_headers", &format!("{{ {} }}", headers.join(", ")));
    }
}

fn profile(profile: &Profile, out: &mut String) {
    out.push_str("\n[[profile]]\n");
    line(out, "name", &quoted(&profile.name));
    out.push_str("mappings = [\n");
    for (from, is_regex, to) in &profile.mappings {
        let name = if *is_regex { "from_regex" } else { "from" };
        let _written = writeln!(out, "  {{ {name} = {}, to = {} }},", quoted(from), quoted(to));
    }
    out.push_str("]\n");
}

fn group(name: &str, group: &Group, out: &mut String) {
    out.push_str("\n[[group]]\n");
    line(out, "name", &quoted(name));
    quota(out, group.quota);
}

fn key(key: &Key, out: &mut String) {
    out.push_str("\n[[key]]\n");
    line(out, "name", &quoted(&key.name));
    match &key.secret {
        KeySecret::Variable(name) => line(out, "secret", &format!("{{ env = {} }}", quoted(name))),
        KeySecret::Digest(digest, last4) => {
            line(out, "hash", &quoted(digest));
            if !last4.is_empty() {
                line(out, "last4", &quoted(last4));
            }
        }
    }
    for (name, value) in [("owner", &key.owner), ("project", &key.project), ("group", &key.group)] {
        if let Some(value) = value {
            line(out, name, &quoted(value));
        }
    }
    texts(out, "profiles", &key.profiles);
    if let Some(active) = &key.active_profile {
        line(out, "active_profile", &quoted(active));
    }
    texts(out, "models", &key.models);
    texts(out, "allowed_ips", &key.allowed_ips);
    if let Some(expires) = key.expires {
        line(out, "expires", &quoted(&instant(expires)));
    }
    if key.disabled {
        line(out, "enabled", "false");
    }
    limits(out, key.limits);
    quota(out, key.quota);
}

fn price(price: &Price, out: &mut String) {
    out.push_str("\n[[price]]\n");
    line(out, "model", &quoted(&price.model));
    if let Some(channel) = &price.channel {
        line(out, "channel", &quoted(channel));
    }
    for (name, rate) in &price.rates {
        line(out, name, &decimal(rate.min(RATE_MAX)));
    }
}

fn limits(out: &mut String, limits: Limits) {
    let all = [("rpm", limits.rpm), ("tpm", limits.tpm), ("concurrency", limits.concurrency)];
    let set: Vec<String> = all
        .into_iter()
        .filter_map(|(name, limit)| Some(format!("{name} = {}", limit?.min(LIMIT_MAX))))
        .collect();
    if !set.is_empty() {
        line(out, "limits", &format!("{{ {} }}", set.join(", ")));
    }
}

/// What limits, quotas and prices may be at most here; what is above it means "none" where it comes from.
const LIMIT_MAX: u64 = 1_000_000_000;
const USD_MAX: f64 = 100_000_000.0;
const RATE_MAX: f64 = 100_000.0;

fn quota(out: &mut String, quota: Option<Quota>) {
    let Some(quota) = quota else { return };
    let usd = quota.usd.map(|usd| format!("usd = {}, ", decimal(usd.min(USD_MAX)))).unwrap_or_default();
    let tokens = quota.tokens.map(|tokens| format!("tokens = {tokens}, ")).unwrap_or_default();
    let requests = quota.requests.map(|requests| format!("requests = {requests}, ")).unwrap_or_default();
    line(out, "quota", &format!("{{ {usd}{tokens}{requests}per = \"{}\" }}", quota.per));
}

fn line(out: &mut String, name: &str, value: &str) {
    let _written = writeln!(out, "{name} = {value}");
}

fn texts<'a>(out: &mut String, name: &str, texts: impl IntoIterator<Item = &'a String>) {
    let mut texts = texts.into_iter().map(|text| quoted(text)).peekable();
    if texts.peek().is_some() {
        line(out, name, &list(texts));
    }
}

fn table(out: &mut String, name: &str, members: &BTreeMap<String, String>) {
    if !members.is_empty() {
        line(out, name, &inline(members));
    }
}

fn inline(members: &BTreeMap<String, String>) -> String {
    let members: Vec<String> =
        members.iter().map(|(key, value)| format!("{} = {}", quoted(key), quoted(value))).collect();
    format!("{{ {} }}", members.join(", "))
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// A text as TOML's basic string.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => {
                let _written = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A number with its decimal point and without what floating point adds at its end.
fn decimal(number: f64) -> String {
    let text = format!("{number:.6}");
    let text = text.trim_end_matches('0');
    if text.ends_with('.') { format!("{text}0") } else { text.to_owned() }
}

/// Unix seconds as a date and a time in UTC.
fn instant(unix: u64) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(unix);
    humantime::format_rfc3339_seconds(time).to_string()
}

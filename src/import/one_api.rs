//! Rows of the tables of one-api (github.com/songquanpeng/one-api, `model/`) and New API (github.com/QuantumNous/new-api).
//!
//! What people have is the database: `sqlite3 -json one-api.db 'SELECT * FROM channels; SELECT * FROM tokens; SELECT * FROM
//! users'`, or `json_agg` of the same in `PostgreSQL` and `JSON_ARRAYAGG` in `MySQL`: lists of rows, one after the other. The
//! answers of `/api/channel/` and `/api/token/` are read too; they have no keys of providers in them.
//! A row is told by its columns. New API is told from one-api by columns that it alone has: the two count their types
//! differently from 26 on.

use super::draft::{Channel, Credential, Draft, Key, KeySecret, Quota, What, variable};
use super::providers::{self, Provider};
use super::read::{as_text, flag, inner, is_set, positive, split, text, whole};
use serde_json::{Deserializer, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Reads them.
pub(super) fn read(source: &str) -> Result<Draft, String> {
    let mut rows = Vec::new();
    for value in Deserializer::from_str(source.trim_start_matches('\u{feff}')).into_iter::<Value>() {
        let value = value.map_err(|error| format!("it is not JSON: {error}"))?;
        collect(value, 0, &mut rows);
    }
    let (channels, others): (Vec<Value>, Vec<Value>) = rows.into_iter().partition(is_channel);
    if channels.is_empty() {
        return Err("there is no row of the table `channels` in it".to_owned());
    }
    let newer = channels.iter().any(|row| NEWER.iter().any(|column| row.get(column).is_some()));
    let users = users(&others);
    let mut draft = Draft::default();
    for row in &channels {
        channel(row, newer, &mut draft);
    }
    for row in others.iter().filter(|row| is_token(row)) {
        token(row, &users, &mut draft);
    }
    if !others.iter().any(is_token) {
        let what = "the table `tokens` is not in the file: users would need new keys";
        draft.left_to_do("tokens", what);
    }
    Ok(draft)
}

/// Columns that New API's channels have and one-api's do not.
const NEWER: [&str; 4] = ["channel_info", "auto_ban", "setting", "param_override"];
/// Rows stand in lists, answers of the API have them in `data` or `data.items`; nobody nests them further.
const DEPTH_MAX: usize = 4;

fn collect(value: Value, depth: usize, rows: &mut Vec<Value>) {
    match value {
        Value::Array(items) if depth < DEPTH_MAX => {
            for item in items {
                collect(item, depth + 1, rows);
            }
        }
        Value::Object(members) if is_row(&members) => rows.push(Value::Object(members)),
        Value::Object(members) if depth < DEPTH_MAX => {
            for (_, member) in members {
                collect(member, depth + 1, rows);
            }
        }
        _ => {}
    }
}

fn is_row(members: &serde_json::Map<String, Value>) -> bool {
    members.contains_key("id")
        && ["models", "remain_quota", "username"].iter().any(|name| members.contains_key(*name))
}

fn is_channel(row: &Value) -> bool {
    row.get("type").is_some() && row.get("models").is_some()
}

fn is_token(row: &Value) -> bool {
    row.get("remain_quota").is_some()
}

fn channel(row: &Value, newer: bool, draft: &mut Draft) {
    let number = whole(row, "type").unwrap_or(0);
    let named = text(row, "name").unwrap_or_else(|| format!("channel {}", whole(row, "id").unwrap_or(0)));
    let at = format!("channels.{named}");
    let azure = number == AZURE;
    let found = if newer { providers::of_new_api(number) } else { providers::of_one_api(number) };
    let Some(provider) = (if azure { Some(providers::AZURE) } else { found }) else {
        draft.lost(at, format!("there is no type of channel for its type {number}"));
        return;
    };
    let name = draft.name(What::Channel, &named);
    let mut channel = Channel {
        kind: provider.kind,
        models: split(&text(row, "models").unwrap_or_default(), &[',']),
        // The higher the earlier there.
        priority: -whole(row, "priority").unwrap_or(0).clamp(-PRIORITY_MAX, PRIORITY_MAX),
        weight: Some(positive(row, "weight").unwrap_or(1).min(WEIGHT_MAX)),
        groups: split(&text(row, "group").unwrap_or_else(|| DEFAULT.to_owned()), &[','])
            .into_iter()
            .collect(),
        disabled: whole(row, "status").is_some_and(|status| status != ENABLED),
        name,
        ..Channel::default()
    };
    address(&at, row, (provider, azure), &mut channel, draft);
    credentials(&at, row, &mut channel, draft);
    for (here, there) in inner(row, "model_mapping").as_object().into_iter().flatten() {
        if let Some(there) = as_text(there) {
            if !channel.models.is_empty() && !channel.models.contains(here) {
                channel.models.push(here.clone());
            }
            channel.model_map.insert(here.clone(), there);
        }
    }
    headers(&at, row, &mut channel, draft);
    unknown(&at, row, draft);
    draft.channels.push(channel);
}

const AZURE: i64 = 3;
const ENABLED: i64 = 1;
const DEFAULT: &str = "default";
/// What a channel's priority and weight may be here.
const PRIORITY_MAX: i64 = 400_000;
const WEIGHT_MAX: u64 = 1_000_000;

fn address(
    at: &str,
    row: &Value,
    (provider, azure): (Provider, bool),
    channel: &mut Channel,
    draft: &mut Draft,
) {
    let written = text(row, "base_url");
    if let Some((url, _)) = written.as_deref().and_then(|word| PLANS.iter().find(|(_, plan)| *plan == word)) {
        channel.base_url = Some((*url).to_owned());
        return;
    }
    channel.base_url = match written.as_deref().and_then(|url| providers::base_url(url, provider)) {
        Some(url) if azure => {
            draft.changed(at, "asked by Azure's v1 API (…/openai/v1), which needs no API version");
            Some(format!("{}/openai/v1", url.trim_end_matches("/openai")))
        }
        Some(url) => Some(url),
        None if azure || !provider.hosted => {
            draft.left_to_do(at, "it has no address: write its base_url in, then set enabled = true");
            channel.disabled = true;
            Some("https://address.invalid/v1".to_owned())
        }
        None => provider.base_url.map(str::to_owned),
    };
}

/// Words that New API takes for addresses (constant/channel.go).
const PLANS: [(&str, &str); 4] = [
    ("https://open.bigmodel.cn/api/coding/paas/v4", "glm-coding-plan"),
    ("https://api.z.ai/api/coding/paas/v4", "glm-coding-plan-international"),
    ("https://api.kimi.com/coding/v1", "kimi-coding-plan"),
    ("https://ark.cn-beijing.volces.com/api/coding/v3", "doubao-coding-plan"),
];

/// Keys stand in lines or a JSON list; those that are switched off by their place stay away.
fn credentials(at: &str, row: &Value, channel: &mut Channel, draft: &mut Draft) {
    let written = text(row, "key").unwrap_or_default();
    let listed: Vec<String> = match serde_json::from_str(&written) {
        Ok(Value::Array(items)) => items.iter().filter_map(as_text).collect(),
        _ => split(&written, &['\n', '\r']),
    };
    let states = &inner(row, "channel_info")["multi_key_status_list"];
    let is_on =
        |place: usize| states[place.to_string().as_str()].as_i64().is_none_or(|status| status == ENABLED);
    let mut on: Vec<String> = Vec::new();
    for (place, key) in listed.iter().enumerate() {
        if !is_on(place) {
            draft.lost(at, "one of its keys that is switched off");
        } else if !on.contains(key) {
            on.push(key.clone());
        }
    }
    if on.iter().any(|key| key.starts_with('{') || key.contains('*')) {
        draft.lost(at, "a key that is a document or is masked: its account needs another way in");
        on.retain(|key| !key.starts_with('{') && !key.contains('*'));
    }
    channel.api_keys = on.into_iter().map(Credential::Text).collect();
    if channel.api_keys.is_empty() {
        channel.api_keys = vec![Credential::Variable(variable(&channel.name))];
    }
}

fn headers(at: &str, row: &Value, channel: &mut Channel, draft: &mut Draft) {
    if let Some(organization) = text(row, "openai_organization") {
        channel.set_header("openai-organization", &organization);
    }
    for (name, value) in inner(row, "header_override").as_object().into_iter().flatten() {
        let value = as_text(value).filter(|value| !value.contains('{'));
        if !value.is_some_and(|value| channel.set_header(name, &value)) {
            draft.lost(
                format!("{at}.header_override.{name}"),
                "a credential, a placeholder, or the connection's own",
            );
        }
    }
}

fn unknown(at: &str, row: &Value, draft: &mut Draft) {
    for (column, what) in [
        ("param_override", "requests are relayed as they come"),
        ("status_code_mapping", "a provider's status means the same everywhere here"),
        ("system_prompt", "no prompt is put into a conversation here"),
    ] {
        if is_set(&inner(row, column)) || (column == "system_prompt" && text(row, column).is_some()) {
            draft.lost(format!("{at}.{column}"), what);
        }
    }
    for column in ["setting", "settings", "config"] {
        let members = inner(row, column);
        for (name, _) in members.as_object().into_iter().flatten().filter(|(_, value)| is_set(value)) {
            draft.lost(format!("{at}.{column}.{name}"), "there is no such setting of a channel");
        }
    }
}

/// Names and groups of users, by their number.
fn users(rows: &[Value]) -> BTreeMap<i64, (Option<String>, Option<String>)> {
    let users = rows.iter().filter(|row| row.get("username").is_some() && !is_token(row));
    users.filter_map(|row| Some((whole(row, "id")?, (text(row, "username"), text(row, "group"))))).collect()
}

fn token(row: &Value, users: &BTreeMap<i64, (Option<String>, Option<String>)>, draft: &mut Draft) {
    let named = text(row, "name").unwrap_or_else(|| format!("token {}", whole(row, "id").unwrap_or(0)));
    let at = format!("tokens.{named}");
    let Some(written) = text(row, "key").filter(|key| !key.contains('*')) else {
        draft.left_to_do(at, "its text is not in the file: give its holder a new one (`tollgate keys new`)");
        return;
    };
    let written = written.strip_prefix("sk-").unwrap_or(&written).to_owned();
    let (owner, group) = whole(row, "user_id").and_then(|id| users.get(&id)).cloned().unwrap_or_default();
    let limited = row.get("model_limits").is_none() || flag(row, "model_limits_enabled");
    let models =
        text(row, "models").or_else(|| text(row, "model_limits").filter(|_| limited)).unwrap_or_default();
    let ips = text(row, "allow_ips").or_else(|| text(row, "subnet")).unwrap_or_default();
    let group =
        text(row, "group").or(group).filter(|group| group != "auto").unwrap_or_else(|| DEFAULT.to_owned());
    let key = Key {
        name: draft.name(What::Key, &named),
        secret: KeySecret::of(&format!("sk-{written}")),
        owner,
        group: Some(group),
        models: split(&models, &[',']),
        allowed_ips: addresses(&at, &ips, draft),
        expires: whole(row, "expired_time")
            .and_then(|time| u64::try_from(time).ok())
            .filter(|time| (1..=EXPIRES_MAX).contains(time)),
        disabled: whole(row, "status").is_some_and(|status| status != ENABLED),
        quota: quota(&at, row, draft),
        ..Key::default()
    };
    draft.keys.push(key);
}

fn addresses(at: &str, written: &str, draft: &mut Draft) -> Vec<String> {
    let listed: BTreeSet<String> = split(written, &['\n', '\r', ',', ' ']).into_iter().collect();
    let is_one =
        |text: &String| text.parse::<std::net::IpAddr>().is_ok() || text.parse::<ipnet::IpNet>().is_ok();
    let (good, bad): (Vec<String>, Vec<String>) = listed.into_iter().partition(is_one);
    if !bad.is_empty() {
        draft.lost(at, "an allowed address that is none");
    }
    good
}

/// What is left of it; five hundred thousand units are a dollar unless somebody changed that.
fn quota(at: &str, row: &Value, draft: &mut Draft) -> Option<Quota> {
    if flag(row, "unlimited_quota") {
        return None;
    }
    let left = u32::try_from(whole(row, "remain_quota")?.max(0)).unwrap_or(u32::MAX);
    draft.changed(
        at,
        "what was left of its quota, in dollars at 500,000 units each, for good; it counts from zero here",
    );
    Some(Quota { usd: Some(f64::from(left) / UNITS), tokens: None, requests: None, per: "total" })
}

const UNITS: f64 = 500_000.0;
/// The end of the year 9999.
const EXPIRES_MAX: u64 = 253_402_300_799;

//! AxonHub's backup (github.com/looplj/axonhub, `internal/server/backup`, `internal/objects`).
//!
//! Invariant: a key that may use some channels only may use no others here: channels then say which groups they are for.

use super::draft::{Channel, Credential, Draft, Key, KeySecret, Limits, Price, Quota, What, variable};
use super::providers;
use super::read::{as_text, inner, is_set, number, positive, text, texts, whole};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Reads it.
pub(super) fn read(source: &str) -> Result<Draft, String> {
    let tree: Value = serde_json::from_str(source.trim_start_matches('\u{feff}'))
        .map_err(|error| format!("it is not JSON: {error}"))?;
    let Some(channels) = tree["channels"].as_array() else {
        return Err("there is no list `channels` in it: is this AxonHub's backup?".to_owned());
    };
    let mut draft = Draft::default();
    let mut origins = Vec::new();
    for written in channels {
        if let Some(found) = channel(written, &mut draft) {
            origins.push((whole(written, "id"), texts(&written["tags"])));
            draft.channels.push(found);
        }
    }
    if draft.channels.is_empty() {
        return Err("none of its channels can be served here".to_owned());
    }
    for written in tree["api_keys"].as_array().into_iter().flatten() {
        key(written, &origins, &mut draft);
    }
    for written in tree["channel_model_prices"].as_array().into_iter().flatten() {
        price(written, &mut draft);
    }
    for written in tree["models"].as_array().into_iter().flatten() {
        if is_set(&inner(written, "settings")["associations"]) {
            let name = text(written, "model_id").unwrap_or_default();
            draft.lost(
                format!("models.{name}.settings.associations"),
                "who serves a model is said by channels alone",
            );
        }
    }
    if tree["api_keys"].as_array().is_none_or(Vec::is_empty) {
        draft.left_to_do(
            "api_keys",
            "they are not in the backup: tick them when you make one, or give out new ones",
        );
    }
    Ok(draft)
}

fn channel(written: &Value, draft: &mut Draft) -> Option<Channel> {
    let named = text(written, "name")?;
    let at = format!("channels.{named}");
    let word = text(written, "type").unwrap_or_default();
    if text(written, "status").as_deref() == Some("archived") {
        draft.lost(at, "it is archived");
        return None;
    }
    let Some(provider) = providers::of_axonhub(&word) else {
        draft.lost(at, format!("there is no type of channel for {word}"));
        return None;
    };
    let settings = inner(written, "settings");
    let mut channel = Channel {
        name: draft.name(What::Channel, &named),
        kind: provider.kind,
        models: texts(&written["supported_models"]),
        weight: positive(written, "ordering_weight").map(|weight| weight.min(1_000_000)).or(Some(1)),
        disabled: text(written, "status").as_deref() != Some("enabled"),
        ..Channel::default()
    };
    let url = text(written, "base_url");
    if url.as_deref().is_some_and(|url| url.ends_with('#')) {
        draft.changed(
            at.clone(),
            "its address was taken as it stands (#); here the version of the API may be added",
        );
    }
    channel.base_url = url.and_then(|url| providers::base_url(&url, provider));
    let provider = providers::at_address(provider, channel.base_url.as_deref());
    channel.kind = provider.kind;
    if let Some(protocol) = provider.protocol {
        channel.settings.insert("protocols", format!("[\"{protocol}\"]"));
    }
    if channel.base_url.is_none() {
        channel.base_url = provider.base_url.map(str::to_owned);
        if !provider.hosted {
            draft.left_to_do(at.clone(), "it has no address: write its base_url in, then set enabled = true");
            channel.disabled = true;
            channel.base_url = Some("https://address.invalid/v1".to_owned());
        }
    }
    credentials(&at, written, &mut channel, draft);
    models(&at, &settings, &mut channel, draft);
    headers(&at, &settings, &mut channel, draft);
    limits(&at, &settings["rateLimit"], &mut channel, draft);
    channel.stream = match text(&inner(written, "policies"), "stream").as_deref() {
        Some("require") => Some("require"),
        Some("forbid") => Some("forbid"),
        _ => None,
    };
    unknown(&at, written, &settings, draft);
    Some(channel)
}

fn credentials(at: &str, written: &Value, channel: &mut Channel, draft: &mut Draft) {
    let held = inner(written, "credentials");
    let disabled: Vec<String> = written["disabled_api_keys"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| text(one, "key"))
        .collect();
    let mut keys = texts(&held["apiKey"]);
    keys.extend(texts(&held["apiKeys"]));
    let all = keys.len();
    let is_usable = |key: &String| !disabled.contains(key) && !key.starts_with('{');
    let usable: BTreeSet<String> = keys.into_iter().filter(is_usable).collect();
    if usable.len() < all {
        draft.lost(format!("{at}.credentials"), "keys that are switched off or there twice, or a login");
    }
    if is_set(&held["oauth"]) || is_set(&held["gcp"]) {
        draft.lost(format!("{at}.credentials"), "a login or a cloud's account: only keys are sent here");
    }
    channel.api_keys = usable.into_iter().map(Credential::Text).collect();
    if channel.api_keys.is_empty() {
        channel.api_keys = vec![Credential::Variable(variable(&channel.name))];
    }
}

/// Names under which it serves its models beside their own.
fn models(at: &str, settings: &Value, channel: &mut Channel, draft: &mut Draft) {
    let own = channel.models.clone();
    let mut add = |from: String, to: &str| {
        if from != *to && !channel.model_map.contains_key(&from) && !own.contains(&from) {
            channel.model_map.insert(from.clone(), to.to_owned());
            channel.models.push(from);
        }
    };
    for mapping in settings["modelMappings"].as_array().into_iter().flatten() {
        if let (Some(from), Some(to)) = (text(mapping, "from"), text(mapping, "to")) {
            add(from, &to);
        }
    }
    if let Some(prefix) = text(settings, "extraModelPrefix") {
        for model in &own {
            add(format!("{prefix}/{model}"), model);
        }
    }
    for prefix in texts(&settings["autoTrimedModelPrefixes"]) {
        for model in &own {
            if let Some(short) = model.strip_prefix(&format!("{prefix}/")) {
                add(short.to_owned(), model);
            }
        }
    }
    if settings["hideOriginalModels"] == true {
        let mapped: Vec<String> = channel.model_map.values().cloned().collect();
        channel.models.retain(|model| !mapped.contains(model));
    }
    for name in ["hideMappedModels", "lowercaseModelId"] {
        if settings[name] == true {
            draft
                .lost(format!("{at}.settings.{name}"), "names are listed, and compared, as they are written");
        }
    }
}

fn headers(at: &str, settings: &Value, channel: &mut Channel, draft: &mut Draft) {
    let operations = settings["headerOverrideOperations"].as_array();
    let old = settings["overrideHeaders"].as_array().filter(|_| operations.is_none());
    let old = old.into_iter().flatten().map(|one| ("set".to_owned(), text(one, "key"), text(one, "value")));
    let new = operations.into_iter().flatten();
    let new = new.map(|one| (text(one, "op").unwrap_or_default(), text(one, "path"), text(one, "value")));
    for (op, name, value) in old.chain(new) {
        let name = name.unwrap_or_default();
        let is_done = match (op.as_str(), value) {
            ("set", Some(value)) if value == "__AXONHUB_CLEAR__" => channel.remove_header(&name),
            ("set", Some(value)) => !value.contains("{{") && channel.set_header(&name, &value),
            ("delete", _) => channel.remove_header(&name),
            _ => false,
        };
        if !is_done {
            draft.lost(
                format!("{at}.settings.headers.{name}"),
                "a credential, a template, or more than set and delete",
            );
        }
    }
}

fn limits(at: &str, written: &Value, channel: &mut Channel, draft: &mut Draft) {
    channel.limits = Limits {
        rpm: positive(written, "rpm"),
        tpm: positive(written, "tpm"),
        concurrency: positive(written, "maxConcurrent"),
    };
    if let Some(places) = positive(written, "queueSize") {
        channel.settings.insert("queue", places.min(1_000_000).to_string());
        if let Some(wait) = positive(written, "queueTimeoutMs") {
            channel.settings.insert("queue_timeout", format!("\"{}ms\"", wait.min(QUEUE_WAIT_MS_MAX)));
        }
    } else if channel.limits.concurrency.is_some() {
        draft.changed(
            format!("{at}.settings.rateLimit"),
            "past its maxConcurrent it is passed over, not only asked later",
        );
    }
}

/// An hour.
const QUEUE_WAIT_MS_MAX: u64 = 3_600_000;

fn unknown(at: &str, written: &Value, settings: &Value, draft: &mut Draft) {
    for (name, what) in [
        ("overrideParameters", "requests are relayed as they come"),
        ("bodyOverrideOperations", "requests are relayed as they come"),
        ("proxy", "there is no such setting of a channel"),
        ("transformOptions", "translation does by itself what each provider needs"),
        ("retryableStatusCodes", "what is tried again follows from what went wrong"),
        ("retryableErrorPatterns", "what is tried again follows from what went wrong"),
        ("providerQuota", "what a provider's account has left is not asked for"),
    ] {
        if is_set(&settings[name]) {
            draft.lost(format!("{at}.settings.{name}"), what);
        }
    }
    if is_set(&written["endpoints"]) {
        draft.lost(format!("{at}.endpoints"), "a channel has one address: make one for each");
    }
}

/// Where channels come from: their number there, and their tags.
type Origins = [(Option<i64>, Vec<String>)];

fn key(written: &Value, origins: &Origins, draft: &mut Draft) {
    let named = text(written, "name").unwrap_or_default();
    let at = format!("api_keys.{named}");
    let Some(mut secret) =
        text(written, "key").filter(|_| text(written, "type").as_deref() != Some("noauth"))
    else {
        draft.lost(at, "a key without a text, for requests without a key: there are none here");
        return;
    };
    if !secret.starts_with("sk-") {
        secret = format!("sk-{secret}");
        draft.changed(at.clone(), "keys begin with `sk-` here: its holder puts that before it");
    }
    let mut key = Key {
        name: draft.name(What::Key, &named),
        secret: KeySecret::of(&secret),
        project: text(written, "project_name"),
        disabled: text(written, "status").is_some_and(|status| status != "enabled"),
        ..Key::default()
    };
    let profiles = inner(written, "profiles");
    let active = text(&profiles, "activeProfile");
    for profile in profiles["profiles"].as_array().into_iter().flatten() {
        let name = text(profile, "name").unwrap_or_default();
        let is_active = active.as_deref() == Some(name.as_str());
        let mappings = mappings((&at, profile), draft);
        if !mappings.is_empty() {
            let named = draft.profile(&format!("{named} {name}"), mappings);
            key.active_profile = is_active.then(|| named.clone()).or(key.active_profile.take());
            key.profiles.push(named);
        }
        if is_active {
            restrictions((&at, profile), origins, &mut key, draft);
        } else if ["channelIDs", "channelTags", "modelIDs", "quota"]
            .iter()
            .any(|member| is_set(&profile[*member]))
        {
            draft.lost(
                format!("{at}.profiles.{name}"),
                "what a profile that is not active restricts: profiles map here",
            );
        }
    }
    key.profiles.dedup();
    draft.keys.push(key);
}

/// Sources are regular expressions there; one that is a plain name is a name.
fn mappings((at, profile): (&str, &Value), draft: &mut Draft) -> Vec<(String, bool, String)> {
    let mut read = Vec::new();
    for one in profile["modelMappings"].as_array().into_iter().flatten() {
        let (Some(from), Some(to)) = (text(one, "from"), text(one, "to")) else { continue };
        let is_regex = from.contains(['*', '+', '?', '[', '(', '|', '^', '$', '\\']);
        if is_regex && regex::Regex::new(&from).is_err() {
            draft.lost(format!("{at}.modelMappings.{from}"), "is no regular expression here");
        } else {
            read.push((from, is_regex, to));
        }
    }
    read
}

fn restrictions((at, profile): (&str, &Value), origins: &Origins, key: &mut Key, draft: &mut Draft) {
    key.models = texts(&profile["modelIDs"]);
    let ids: BTreeSet<i64> =
        profile["channelIDs"].as_array().into_iter().flatten().filter_map(Value::as_i64).collect();
    let tags = texts(&profile["channelTags"]);
    if !ids.is_empty() || !tags.is_empty() {
        let is_open = |(id, its): &(Option<i64>, Vec<String>)| {
            id.is_some_and(|id| ids.contains(&id)) || its.iter().any(|tag| tags.contains(tag))
        };
        let open: Vec<bool> = origins.iter().map(is_open).collect();
        confine(at, &open, key, draft);
    }
    key.quota = quota(at, &profile["quota"], draft);
}

/// Puts a key into a group of its own to which these channels are open, and closes the others to it.
fn confine(at: &str, open: &[bool], key: &mut Key, draft: &mut Draft) {
    let group = key.name.clone();
    for (channel, is_open) in draft.channels.iter_mut().zip(open) {
        if channel.groups.is_empty() {
            channel.groups.insert("default".to_owned());
        }
        if *is_open {
            channel.groups.insert(group.clone());
        }
    }
    draft.changed(at, "the channels its profile names are open to a group of its name");
    key.group = Some(group);
}

fn quota(at: &str, written: &Value, draft: &mut Draft) -> Option<Quota> {
    let (usd, tokens, requests) =
        (number(written, "cost"), positive(written, "totalTokens"), positive(written, "requests"));
    if usd.is_none() && tokens.is_none() && requests.is_none() {
        return None;
    }
    let period = &written["period"];
    let unit = as_text(&period["calendarDuration"]["unit"]).or(as_text(&period["pastDuration"]["unit"]));
    let per = match (text(period, "type").as_deref(), unit.as_deref()) {
        (Some("all_time"), _) => "total",
        (Some("calendar_duration"), Some("month")) => "month",
        (Some("calendar_duration"), Some("day")) => "day",
        _ => {
            draft.changed(format!("{at}.quota"), "counted by the calendar's day");
            "day"
        }
    };
    Some(Quota { usd, tokens, requests, per })
}

/// Per million tokens there as here.
fn price(written: &Value, draft: &mut Draft) {
    let (Some(model), Some(channel)) = (text(written, "model_id"), text(written, "channel_name")) else {
        return;
    };
    let at = format!("channel_model_prices.{channel}.{model}");
    if !draft.channels.iter().any(|other| other.name == channel) {
        return;
    }
    let mut rates = BTreeMap::new();
    for item in written["price"]["items"].as_array().into_iter().flatten() {
        let ours = match text(item, "itemCode").as_deref() {
            Some("prompt_tokens") => "input",
            Some("completion_tokens") => "output",
            Some("prompt_cached_tokens") => "cache_read",
            Some("prompt_write_cached_tokens") => "cache_write",
            Some("completion_reasoning_tokens") => "reasoning",
            _ => continue,
        };
        match number(&item["pricing"], "usagePerUnit") {
            Some(rate) => drop(rates.insert(ours, rate)),
            None => draft.lost(at.clone(), "a price per request, or one in tiers"),
        }
        for variant in item["promptWriteCacheVariants"].as_array().into_iter().flatten() {
            let rate = number(&variant["pricing"], "usagePerUnit");
            if let Some(rate) = rate.filter(|_| text(variant, "variantCode").as_deref() == Some("one_hour")) {
                rates.insert("cache_write_1h", rate);
            }
        }
    }
    if !rates.is_empty() {
        draft.prices.push(Price { model, channel: Some(channel), rates });
    }
}

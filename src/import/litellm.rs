//! LiteLLM's `config.yaml` (docs.litellm.ai/docs/proxy/configs).
//!
//! A deployment there is a model at an account. Deployments of one account that differ in nothing but the model are one
//! channel here; a fallback from one model to another is a channel of a later priority that serves the first under the name
//! of the second.

use super::draft::{Channel, Credential, Draft, Group, Key, KeySecret, Limits, Price, Quota, What};
use super::providers::{self, AZURE, Provider};
use super::read::{self, flag, is_set, number, positive, text, texts};
use serde_json::Value;
use std::collections::BTreeMap;

mod routing;

/// One entry of `model_list`, as far as it has an equivalent.
#[derive(Debug, Clone)]
struct Deployment {
    /// The model as clients ask for it, and as the provider calls it.
    model: (String, String),
    /// Everything else.
    channel: Channel,
}

/// Reads it.
pub(super) fn read(source: &str) -> Result<Draft, String> {
    let tree = crate::config::yaml(source)?;
    let Some(listed) = tree["model_list"].as_array() else {
        return Err("there is no `model_list` in it: is this LiteLLM's config.yaml?".to_owned());
    };
    let mut draft = Draft::default();
    let credentials = &tree["credential_list"];
    let mut deployments = Vec::new();
    for (index, entry) in listed.iter().enumerate() {
        let at = format!("model_list[{index}]");
        if let Some(deployment) = deployment(&at, entry, credentials, &mut draft) {
            price(entry, &deployment, &mut draft);
            deployments.push(deployment);
        }
    }
    routing::aliases(&tree, &mut deployments, &mut draft);
    let fallbacks = routing::fallbacks(&tree, &deployments, &mut draft);
    gathered(deployments, &mut draft);
    gathered(fallbacks, &mut draft);
    if draft.channels.is_empty() {
        return Err("no entry of `model_list` can be served here".to_owned());
    }
    routing::settings(&tree, &mut draft);
    general(&tree["general_settings"], &mut draft);
    rest(&tree, &mut draft);
    Ok(draft)
}

fn deployment(at: &str, entry: &Value, credentials: &Value, draft: &mut Draft) -> Option<Deployment> {
    let named = text(entry, "model_name")?;
    let params = with_credential(&entry["litellm_params"], credentials);
    let at = format!("{at} ({named})");
    let Some(model) = text(&params, "model") else {
        draft.lost(at, "it names no model of a provider");
        return None;
    };
    let (word, model) = provider_word(&params, &model);
    let azure = matches!(word.as_str(), "azure" | "azure_text");
    if CLOUDS.contains(&word.as_str()) {
        draft.lost(at, "a credential of a cloud has another form here: write a channel of type vertex or bedrock by hand");
        return None;
    }
    let Some(provider) = (if azure { Some(AZURE) } else { providers::of_litellm(&word) }) else {
        draft.lost(at, format!("there is no type of channel for the provider {word}"));
        return None;
    };
    let model = wildcard(&at, &named, model, &word, draft)?;
    let mut channel = Channel { name: word.clone(), kind: provider.kind, ..Channel::default() };
    address(&at, &params, (provider, azure), &mut channel, draft);
    let key = text(&params, "api_key").map_or_else(|| usual_key(provider), |key| secret(&key));
    channel.api_keys = vec![key];
    settings(&at, &params, &mut channel, draft);
    if named.contains('*') {
        // There as here the channels that name a model come first.
        channel.priority += AFTER_ALL_NAMED;
    }
    unknown(&at, &params, draft);
    Some(Deployment { model: (named, model), channel })
}

/// Nobody has as many steps.
const ORDER_MAX: i64 = 500;
/// Of patterns; below it there is room for every `order` and fallback.
const AFTER_ALL_NAMED: i64 = 1_000;

/// What a named credential says comes first; the entry's own words count.
fn with_credential(params: &Value, credentials: &Value) -> Value {
    let name = text(params, "litellm_credential_name");
    let found = credentials
        .as_array()
        .into_iter()
        .flatten()
        .find(|one| name.is_some() && text(one, "credential_name") == name);
    let mut merged = found.map_or(Value::Null, |one| one["credential_values"].clone());
    match (merged.as_object_mut(), params.as_object()) {
        (Some(merged), Some(params)) => merged.extend(params.clone()),
        _ => merged = params.clone(),
    }
    merged
}

/// The provider, and the model without its word.
fn provider_word(params: &Value, model: &str) -> (String, String) {
    if let Some(word) = text(params, "custom_llm_provider") {
        let plain = model.strip_prefix(&format!("{word}/")).unwrap_or(model);
        return (word, plain.to_owned());
    }
    match model.split_once('/') {
        Some((word, rest))
            if providers::of_litellm(word).is_some() || NO_CHANNEL.contains(&word) || word == "azure" =>
        {
            (word.to_owned(), rest.strip_prefix("responses/").unwrap_or(rest).to_owned())
        }
        _ if model.starts_with("claude-") => ("anthropic".to_owned(), model.to_owned()),
        _ => ("openai".to_owned(), model.to_owned()),
    }
}

/// Who asks there is said in settings of their own.
const CLOUDS: [&str; 4] = ["bedrock", "bedrock_converse", "vertex_ai", "vertex_ai_beta"];

/// Providers whose word is known and that no type of channel speaks to.
const NO_CHANNEL: [&str; 19] = [
    "bedrock",
    "bedrock_converse",
    "vertex_ai",
    "vertex_ai_beta",
    "sagemaker",
    "sagemaker_chat",
    "huggingface",
    "replicate",
    "watsonx",
    "databricks",
    "cohere",
    "cohere_chat",
    "azure_ai",
    "azure_text",
    "perplexity",
    "deepinfra",
    "novita",
    "github",
    "cloudflare",
];

/// A pattern has to mean the same name on both sides: a channel maps names, and no patterns.
fn wildcard(at: &str, named: &str, model: String, word: &str, draft: &mut Draft) -> Option<String> {
    if !named.contains('*') {
        return Some(model);
    }
    if named == model || named == "*" {
        return Some(named.to_owned());
    }
    let what = format!(
        "clients would have to ask for `{word}/…`, and the provider for the same without: list the models you use, \
                        each with its name at the provider in `model_map`"
    );
    draft.lost(at, what);
    None
}

fn address(
    at: &str,
    params: &Value,
    (provider, azure): (Provider, bool),
    channel: &mut Channel,
    draft: &mut Draft,
) {
    let written = text(params, "api_base").or_else(|| text(params, "base_url"));
    if let Some(variable) = written.as_deref().and_then(variable) {
        let what = format!(
            "its address is in the variable {variable}, and a base_url here is a text: write it in, then \
                            set enabled = true"
        );
        draft.left_to_do(at, what);
        channel.base_url = Some(UNKNOWN_ADDRESS.to_owned());
        channel.disabled = true;
        return;
    }
    let url = written.as_deref().and_then(|url| providers::base_url(url, provider));
    channel.base_url = match url {
        Some(url) if azure => {
            draft.changed(at, "asked by Azure's v1 API (…/openai/v1), which needs no api_version");
            Some(azure_url(&url))
        }
        None if azure || !provider.hosted => {
            draft.left_to_do(at, "it has no address: write its base_url in, then set enabled = true");
            channel.disabled = true;
            Some(UNKNOWN_ADDRESS.to_owned())
        }
        Some(url) => Some(url),
        None => provider.base_url.map(str::to_owned),
    };
}

const UNKNOWN_ADDRESS: &str = "https://address.invalid/v1";

/// `https://NAME.openai.azure.com`, whatever stood after it, with the path of the API that is OpenAI's own.
fn azure_url(url: &str) -> String {
    let root = url.find("/openai").map_or(url, |at| &url[..at]);
    format!("{}/openai/v1", root.trim_end_matches('/'))
}

fn settings(at: &str, params: &Value, channel: &mut Channel, draft: &mut Draft) {
    channel.limits = Limits {
        rpm: positive(params, "rpm"),
        tpm: positive(params, "tpm"),
        concurrency: positive(params, "max_parallel_requests"),
    };
    channel.weight = positive(params, "weight");
    channel.priority = read::whole(params, "order").unwrap_or(0).clamp(-ORDER_MAX, ORDER_MAX);
    for (theirs, ours) in [("timeout", "response_timeout"), ("stream_timeout", "first_byte_timeout")] {
        match number(params, theirs).map(seconds) {
            Some(Some(wait)) => {
                channel.settings.insert(ours, wait);
            }
            Some(None) => draft.lost(at, format!("a {theirs} below a second")),
            None => {}
        }
    }
    if let Some(organization) = text(params, "organization").filter(|text| variable(text).is_none()) {
        channel.set_header("openai-organization", &organization);
    }
    for (name, value) in params["extra_headers"].as_object().into_iter().flatten() {
        let value = read::as_text(value).filter(|value| variable(value).is_none());
        if !value.is_some_and(|value| channel.set_header(name, &value)) {
            draft.lost(
                format!("{at} extra_headers.{name}"),
                "a credential, a value in a variable, or the connection's own",
            );
        }
    }
}

/// Whole seconds as a duration of ours.
fn seconds(number: f64) -> Option<String> {
    let text = format!("{number:.0}");
    (1.0..=86_400.0).contains(&number).then(|| format!("\"{text}s\""))
}

/// What of an entry's parameters nothing here does.
fn unknown(at: &str, params: &Value, draft: &mut Draft) {
    for (name, value) in params.as_object().into_iter().flatten() {
        if is_set(value) && !KNOWN.contains(&name.as_str()) {
            draft.lost(format!("{at} {name}"), "there is no such setting of a channel");
        }
    }
}

const KNOWN: [&str; 20] = [
    "model",
    "api_key",
    "api_base",
    "base_url",
    "api_version",
    "custom_llm_provider",
    "rpm",
    "tpm",
    "weight",
    "order",
    "timeout",
    "stream_timeout",
    "max_parallel_requests",
    "organization",
    "extra_headers",
    "litellm_credential_name",
    "input_cost_per_token",
    "output_cost_per_token",
    "cache_read_input_token_cost",
    "cache_creation_input_token_cost",
];

fn price(entry: &Value, of: &Deployment, draft: &mut Draft) {
    let (params, info) = (&entry["litellm_params"], &entry["model_info"]);
    let mut rates = BTreeMap::new();
    for (theirs, ours) in [
        ("input_cost_per_token", "input"),
        ("output_cost_per_token", "output"),
        ("cache_read_input_token_cost", "cache_read"),
        ("cache_creation_input_token_cost", "cache_write"),
    ] {
        if let Some(rate) = number(params, theirs).or_else(|| number(info, theirs)) {
            rates.insert(ours, rate * 1e6);
        }
    }
    let price = Price { model: of.model.1.clone(), channel: None, rates };
    if !price.rates.is_empty() && !draft.prices.contains(&price) {
        draft.prices.push(price);
    }
}

/// Deployments that differ in the model alone, as one channel.
fn gathered(deployments: Vec<Deployment>, draft: &mut Draft) {
    let mut channels: Vec<Channel> = Vec::new();
    for Deployment { model: (named, model), channel } in deployments {
        let fits = |other: &Channel| {
            let alike = Channel { models: Vec::new(), model_map: BTreeMap::new(), ..other.clone() };
            let is_limited = channel.limits != Limits::default();
            alike == channel && !is_limited && !other.models.contains(&named)
        };
        let at = channels.iter().position(fits).unwrap_or_else(|| {
            channels.push(channel);
            channels.len() - 1
        });
        let into = &mut channels[at];
        if named != model {
            into.model_map.insert(named.clone(), model);
        }
        into.models.push(named);
    }
    for mut channel in channels {
        channel.name = draft.name(What::Channel, &channel.name);
        if channel.models.iter().any(|model| model == "*") {
            channel.models.clear();
        }
        draft.channels.push(channel);
    }
}

/// `os.environ/NAME` names a variable.
fn variable(written: &str) -> Option<&str> {
    written.strip_prefix("os.environ/").map(str::trim).filter(|name| !name.is_empty())
}

fn secret(written: &str) -> Credential {
    match variable(written) {
        Some(name) => Credential::Variable(name.to_owned()),
        None => Credential::Text(written.to_owned()),
    }
}

fn usual_key(provider: Provider) -> Credential {
    if !provider.hosted || provider.kind == "ollama" {
        return Credential::Text("none".to_owned());
    }
    Credential::Variable(provider.variable.to_owned())
}

/// The master key, as an ordinary key; the rest of what is said of the server.
fn general(settings: &Value, draft: &mut Draft) {
    if let Some(written) = text(settings, "master_key") {
        let at = "general_settings.master_key";
        let name = draft.name(What::Key, "master");
        let secret = match variable(&written) {
            Some(name) => KeySecret::Variable(name.to_owned()),
            None if written.starts_with("sk-") => KeySecret::of(&written),
            None => {
                draft.changed(at, "keys begin with `sk-` here: its holder puts that before it");
                KeySecret::of(&format!("sk-{written}"))
            }
        };
        draft.keys.push(Key { name, secret, ..Key::default() });
        draft.changed(at, "an ordinary key here: what an administrator may do is the admin listener's");
    }
    if is_set(&settings["database_url"]) || flag(settings, "store_model_in_db") {
        let what = "keys, teams, budgets and models that LiteLLM keeps in its database are not in this file; a key of its \
                    table LiteLLM_VerificationToken is here `hash = \"sha256:\"` and its column token";
        draft.left_to_do("general_settings.database_url", what);
    }
    for (name, value) in settings.as_object().into_iter().flatten() {
        if is_set(value) && !["master_key", "database_url", "store_model_in_db"].contains(&name.as_str()) {
            draft.lost(format!("general_settings.{name}"), "there is no such setting");
        }
    }
}

/// What else stands in the file.
fn rest(tree: &Value, draft: &mut Draft) {
    let sections =
        ["model_list", "credential_list", "router_settings", "litellm_settings", "general_settings"];
    for (name, value) in tree.as_object().into_iter().flatten() {
        if name == "environment_variables" {
            let names: Vec<&str> =
                value.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
            if !names.is_empty() {
                draft.left_to_do(name, format!("set them where the gateway runs: {}", names.join(", ")));
            }
        } else if is_set(value) && !sections.contains(&name.as_str()) {
            draft.lost(name, "there is no such section");
        }
    }
    let budget = &tree["litellm_settings"];
    if let Some(usd) = number(budget, "max_budget") {
        let per = match text(budget, "budget_duration").as_deref() {
            None => "total",
            Some("1d" | "24h") => "day",
            Some("7d" | "1w") => "week",
            Some("30d" | "1mo") => "month",
            Some(other) => {
                draft.changed("litellm_settings.budget_duration", format!("a month in the place of {other}"));
                "month"
            }
        };
        let quota = Quota { usd: Some(usd), tokens: None, requests: None, per };
        draft.groups.insert("default".to_owned(), Group { quota: Some(quota) });
        draft.changed(
            "litellm_settings.max_budget",
            "the quota of the group `default`, in windows of the calendar",
        );
    }
}

/// Texts of a member, however they are written.
fn listed(of: &Value, name: &str) -> Vec<String> {
    texts(&of[name])
}

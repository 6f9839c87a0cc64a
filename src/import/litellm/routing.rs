//! What LiteLLM's file says of routing: aliases, fallbacks, strategies, retries.

use super::super::draft::Draft;
use super::super::read::{is_set, number, text, whole};
use super::{Deployment, listed, seconds};
use serde_json::Value;

/// Another name for a model: the same deployments serve it too.
pub(super) fn aliases(tree: &Value, deployments: &mut Vec<Deployment>, draft: &mut Draft) {
    let written = &tree["router_settings"]["model_group_alias"];
    for (alias, target) in written.as_object().into_iter().flatten() {
        let target = text(target, "model").or_else(|| super::read::as_text(target)).unwrap_or_default();
        let aliased: Vec<Deployment> = serving(deployments, &target)
            .map(|of| Deployment { model: (alias.clone(), of.model.1.clone()), ..of.clone() })
            .collect();
        if aliased.is_empty() {
            draft.lost(
                format!("router_settings.model_group_alias.{alias}"),
                format!("nothing here serves {target}"),
            );
        }
        deployments.extend(aliased);
    }
}

fn serving<'d>(deployments: &'d [Deployment], name: &str) -> impl Iterator<Item = &'d Deployment> {
    deployments.iter().filter(move |of| of.model.0 == name)
}

/// The channels that serve a model when its own do not, in the order they are written.
pub(super) fn fallbacks(tree: &Value, deployments: &[Deployment], draft: &mut Draft) -> Vec<Deployment> {
    let mut found = Vec::new();
    let named = deployments.iter().filter(|of| !of.model.0.contains('*'));
    let last = named.map(|of| of.channel.priority).max().unwrap_or(0);
    for section in ["litellm_settings", "router_settings"] {
        let at = format!("{section}.fallbacks");
        for rule in tree[section]["fallbacks"].as_array().into_iter().flatten() {
            for (model, _) in rule.as_object().into_iter().flatten() {
                if model.contains('*') || serving(deployments, model).next().is_none() {
                    draft.lost(format!("{at}.{model}"), "no channel serves exactly this name");
                    continue;
                }
                for (place, name) in (1..).zip(listed(rule, model)) {
                    let before = found.len();
                    let step = |of: &Deployment| fallback(of, model, last + place);
                    found.extend(serving(deployments, &name).map(step));
                    if found.len() == before {
                        draft.lost(format!("{at}.{model}"), format!("nothing here serves {name}"));
                    }
                }
            }
        }
        for name in ["default_fallbacks", "context_window_fallbacks", "content_policy_fallbacks"] {
            if is_set(&tree[section][name]) {
                draft.lost(format!("{section}.{name}"), WHY_NOT);
            }
        }
    }
    if !found.is_empty() {
        let what = "a channel of a later priority for each, which counts its limits and its health for itself; answers show \
                    the name the client asked for";
        draft.changed("fallbacks", what);
    }
    found
}

const WHY_NOT: &str =
    "another channel is asked when one fails, not when the provider refuses the request itself";

fn fallback(of: &Deployment, model: &str, priority: i64) -> Deployment {
    let mut channel = of.channel.clone();
    channel.priority = priority;
    channel.name = format!("{}-fallback", channel.name);
    Deployment { model: (model.to_owned(), of.model.1.clone()), channel }
}

/// Strategy, retries, waits; the rest by name.
pub(super) fn settings(tree: &Value, draft: &mut Draft) {
    let (router, module) = (&tree["router_settings"], &tree["litellm_settings"]);
    if let Some(strategy) = text(router, "routing_strategy") {
        let at = "router_settings.routing_strategy";
        match strategy.as_str() {
            "simple-shuffle" => {}
            "least-busy" => drop(draft.upstream.insert("balance", "\"least_busy\"".to_owned())),
            "latency-based-routing" => drop(draft.upstream.insert("balance", "\"least_latency\"".to_owned())),
            other => draft.changed(
                at,
                format!("{other} is by weight here: limits pass a full channel over all the same"),
            ),
        }
    }
    if let Some(retries) = whole(router, "num_retries").or_else(|| whole(module, "num_retries")) {
        draft.upstream.insert("attempts", retries.saturating_add(1).clamp(1, 10).to_string());
    }
    let wait = number(router, "timeout").or_else(|| number(module, "request_timeout")).and_then(seconds);
    if let Some(wait) = wait {
        draft.upstream.insert("response_timeout", wait);
    }
    if let Some(wait) = number(router, "stream_timeout").and_then(seconds) {
        draft.upstream.insert("first_byte_timeout", wait);
    }
    if is_set(&router["redis_host"]) || is_set(&router["redis_url"]) {
        draft.left_to_do(
            "router_settings.redis_host",
            "for several replicas that count together: [fleet] redis = \"redis://…\"",
        );
    }
    for (section, value) in [("router_settings", router), ("litellm_settings", module)] {
        for (name, value) in value.as_object().into_iter().flatten() {
            if is_set(value) && !KNOWN.contains(&name.as_str()) {
                draft.lost(format!("{section}.{name}"), why(name));
            }
        }
    }
}

/// Of settings that many have, what is here in their place.
fn why(name: &str) -> &'static str {
    match name {
        "drop_params" | "modify_params" => {
            "not needed: relayed requests keep every field, translated ones say what they lose"
        }
        "allowed_fails" | "cooldown_time" | "allowed_fails_policy" | "disable_cooldowns" => {
            "how long a channel rests follows from what it said, and a breaker sees to the rest"
        }
        "enable_pre_call_checks" => "not needed: a full or resting channel is passed over",
        "retry_policy" | "retry_after" | "model_group_retry_policy" => {
            "what is tried again follows from what went wrong"
        }
        "success_callback" | "failure_callback" | "callbacks" | "service_callback" => {
            "the access log and the metrics have what there is to send"
        }
        "cache" | "cache_params" => "answers are not kept here; the providers' own prompt caches are used",
        _ => "there is no such setting",
    }
}

const KNOWN: [&str; 19] = [
    "routing_strategy",
    "num_retries",
    "timeout",
    "request_timeout",
    "stream_timeout",
    "redis_host",
    "redis_port",
    "redis_password",
    "redis_url",
    "model_group_alias",
    "fallbacks",
    "default_fallbacks",
    "context_window_fallbacks",
    "content_policy_fallbacks",
    "max_budget",
    "budget_duration",
    "set_verbose",
    "telemetry",
    "json_logs",
];

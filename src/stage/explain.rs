//! Why this channel? The same decision as `route`, told instead of taken; nothing is sent, nothing counted.
//!
//! Invariant: every channel of the configuration is named, in the order it would be tried, with the one
//! reason that keeps it out or the word that it is eligible.

use crate::config::snapshot::{Channel, Key};
use crate::limit::Nanos;
use crate::protocol::{Dialect, Protocol};
use crate::stage::route::{self, Wanted};
use crate::stage::way::{Question, Way, spoken, way};
use crate::state::Live;
use serde_json::{Value, json};
use std::sync::Arc;

/// What would happen to a request of this key for this model, now. Without a dialect, that of the first
/// channel that serves the model is assumed.
pub fn explain(live: &Live, key: &Arc<Key>, requested: &str, dialect: Option<Dialect>, now: Nanos) -> Value {
    let model = route::mapped(key, requested);
    let serving = key.in_groups().find_map(|key| {
        live.snapshot.channels.iter().find(|channel| channel.open_to(&key.group.id) && channel.serves(model))
    });
    let dialect = dialect.or(serving.map(|channel| channel.dialect)).unwrap_or(Dialect::OpenAi);
    let operation = dialect.operation();
    let wanted = Wanted { dialect, operation, model: Some(requested), stream: false };
    let question = wanted.question();
    let groups: Vec<_> = key.in_groups().map(|key| key.group.id.as_str()).collect();
    let bearer = key.in_groups().find(|key| route::route(live, key, wanted).is_ok());
    let key = bearer.unwrap_or(key);
    let mut ordered: Vec<_> = live.snapshot.channels.iter().collect();
    ordered.sort_by_key(|channel| {
        let is_out = reason(live, channel, (key, model, question), now).is_some();
        (
            is_out,
            channel.canary.is_some(),
            channel.priority,
            matches!(way(question, channel), Some(Way::Translate(_))),
        )
    });
    let candidates: Vec<Value> = ordered
        .into_iter()
        .map(|channel| {
            let why = reason(live, channel, (key, model, question), now);
            json!({
                "channel": channel.id.as_str(),
                "model_upstream": channel.upstream_model(model),
                "protocol": protocol(question, channel),
                "translated": matches!(way(question, channel), Some(Way::Translate(_))),
                "priority": channel.priority,
                "weight": channel.weight,
                "canary": channel.canary_share(),
                "include_usage": channel.conduct.include_usage,
                "eligible": why.is_none(),
                "reason": why.unwrap_or_else(|| eligible(channel)),
            })
        })
        .collect();
    let refusal = route::route(live, key, wanted).err();
    json!({
        "key": key.id.as_str(),
        "group": key.group.id.as_str(),
        "groups": groups,
        "profile": key.profile.as_ref().map(|profile| profile.id.as_str()),
        "model_requested": requested,
        "model": model,
        "candidates": candidates,
        "refusal": refusal.map(|refusal| json!({ "code": refusal.code.word(), "message": refusal.message })),
    })
}

fn eligible(channel: &Channel) -> String {
    match &channel.canary {
        Some(canary) => format!("eligible: canary, {} of exchanges come here first", canary.percent()),
        None => "eligible".to_owned(),
    }
}

/// What the channel would be asked in.
fn protocol(question: Question, channel: &Channel) -> &'static str {
    spoken(question, channel).map_or(channel.dialect.word(), Protocol::word)
}

fn reason(
    live: &Live,
    channel: &Channel,
    (key, model, question): (&Key, &str, Question),
    now: Nanos,
) -> Option<String> {
    let group = &key.group.id;
    let state = live.channel(channel.index);
    if !channel.enabled {
        return Some("disabled".to_owned());
    }
    if channel.groups.as_ref().is_some_and(|groups| !groups.contains(group)) {
        return Some(format!("not open to group {group}"));
    }
    if !channel.serves(model) {
        return Some(format!("does not serve {model}"));
    }
    if question.dialect == channel.dialect && way(question, channel).is_none() {
        return Some(format!("does not offer {}", question.operation.api()));
    }
    if way(question, channel).is_none() {
        return Some(format!("speaks {}, the request {}", channel.dialect.word(), question.dialect.word()));
    }
    if channel.weight == 0 {
        return Some("weight 0: no new exchanges".to_owned());
    }
    if channel.canary_share() == Some(0.0) {
        return Some("canary 0%: no new exchanges".to_owned());
    }
    if let Some(rest) = state.health.at(now) {
        return Some(format!("cooling for another {} s", rest.left.as_secs() + 1));
    }
    if !state.credentials.iter().any(|rest| rest.at(now).is_none()) {
        return Some("all its credentials are cooling".to_owned());
    }
    let upstream = channel.upstream_model(model);
    if channel.credentials.iter().all(|one| state.health.refused.at(one, upstream, now).is_some()) {
        return Some(format!("the provider refuses its credentials {upstream}"));
    }
    if let Some(limit) = state.gate.full(now) {
        return Some(format!("its {limit} limit is reached"));
    }
    let all_full = state.credential_gates.iter().all(|gate| gate.full(now).is_some());
    all_full.then(|| "all its credentials' limits are reached".to_owned())
}

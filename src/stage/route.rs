//! Which channels may serve this exchange at all, by what is configured; which of them comes next is
//! [`super::plan`]'s to say.
//!
//! Invariant: a plan has at least one candidate, and every candidate serves the model to the key's group and
//! speaks the client's protocol or one that the request can be translated into.

use super::canary;
use super::plan::{Candidates, Plan, Turns, unavailable};
use crate::code::Code;
use crate::config::snapshot::{Channel, Key, Profile};
use crate::protocol::inspect::Wording;
use crate::protocol::{Dialect, Operation};
use crate::refusal::{Refusal, quoted};
use crate::stage::way::{Question, Way, way};
use crate::state::Live;
use smol_str::SmolStr;
use std::sync::Arc;

/// What the client wants, as far as routing cares.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// What it speaks.
    pub dialect: Dialect,
    /// What is to be done.
    pub operation: Operation,
    /// The model by the client's name for it; `None`: the operation has none (files).
    pub model: Option<&'a str>,
    /// Whether it asks for a stream.
    pub stream: bool,
}

impl Wanted<'_> {
    /// What of it decides whether a channel can answer: in whose words it is asked decides only how.
    pub fn question(&self) -> Question {
        let (dialect, operation, stream) = (self.dialect, self.operation, self.stream);
        Question { dialect, operation, stream, wording: Wording::Own }
    }
}

/// Draws up the plan, or says why there is none.
pub fn route(live: &Live, key: &Key, wanted: Wanted<'_>) -> Result<Box<Plan>, Refusal> {
    if wanted.stream {
        may_stream(key)?;
    }
    let requested = wanted.model.unwrap_or_default();
    if wanted.model.is_some() {
        allowed(key, requested)?;
    }
    if wanted.operation == Operation::Realtime && key.max_output_tokens.is_some() {
        return Err(Refusal::new(Code::ModelNotAllowed, NO_CAP));
    }
    let (name, mapped) = (SmolStr::new(requested), mapped(key, requested));
    let model = if mapped == requested { name.clone() } else { SmolStr::new(mapped) };
    let serves = |channel: &Channel| wanted.model.is_none() || channel.serves(&model);
    let serving = || reachable(live, key).filter(|channel| serves(channel));
    let question = wanted.question();
    let speaking = || serving().filter(|channel| way(question, channel).is_some());
    let is_open = |channel: &&Arc<Channel>| channel.open_to(&key.group.id);
    let candidates: Candidates = speaking().filter(is_open).map(Arc::clone).collect();
    if candidates.is_empty() {
        if speaking().next().is_some() {
            return Err(unavailable(requested, None));
        }
        if serving().next().is_none() {
            return Err(not_found(requested));
        }
        // A count that nobody makes is estimated.
        if !wanted.operation.counts() {
            return Err(match wanted.operation.protocol() {
                None if serving().any(|channel| channel.dialect == wanted.dialect) => {
                    not_offered(requested, wanted.operation)
                }
                _ => untranslatable(requested, wanted.dialect),
            });
        }
    }
    let turns = if wanted.model.is_some() { Turns::Weighted } else { Turns::First };
    let names = (model, name);
    let mut plan = Box::write(Box::new_uninit(), Plan::new(names, candidates, turns, live.snapshot.attempts));
    if turns == Turns::First {
        canary::avoid(&mut plan);
    }
    let translates = |channel: &Channel| matches!(way(question, channel), Some(Way::Translate(_)));
    plan.translating(translates);
    plan.asked_by(&key.id);
    Ok(plan)
}

/// Refuses a stream to a key that may have none.
pub fn may_stream(key: &Key) -> Result<(), Refusal> {
    if key.stream {
        return Ok(());
    }
    let message = "This API key may not stream. Send the request without \"stream\": true.";
    Err(Refusal::new(Code::StreamNotAllowed, message).param("stream"))
}

/// Refuses a model that is not among those that the key may use.
pub fn allowed(key: &Key, requested: &str) -> Result<(), Refusal> {
    if key.models.as_ref().is_none_or(|models| models.matches(requested)) {
        return Ok(());
    }
    let message = format!("This API key may not use the model {}.", quoted(requested));
    Err(Refusal::new(Code::ModelNotAllowed, message).param("model"))
}
const NO_CAP: &str = "This API key is held to answers of a length, and the answers of a realtime session cannot be. Ask the \
    operator for a key without that limit.";

/// The model's name after the key's active profile.
pub fn mapped<'a>(key: &'a Key, requested: &'a str) -> &'a str {
    let mapping = key.profile.as_deref().and_then(|profile: &Profile| profile.map(requested));
    mapping.map_or(requested, |mapping| mapping.to.as_str())
}

/// Every channel of the key's group, also those that take nothing at the moment.
pub fn reachable<'a>(live: &'a Live, key: &'a Key) -> impl Iterator<Item = &'a Arc<Channel>> {
    live.snapshot
        .channels
        .iter()
        .filter(|channel| channel.groups.as_ref().is_none_or(|groups| groups.contains(&key.group.id)))
}

fn not_found(requested: &str) -> Refusal {
    let hint = if requested.trim() == requested { "" } else { " Its name has spaces around it." };
    Refusal::new(
        Code::ModelNotFound,
        format!("The model {} does not exist here or is not open to this API key.{hint}", quoted(requested)),
    )
    .param("model")
}

fn not_offered(requested: &str, operation: Operation) -> Refusal {
    let (model, operation) = (quoted(requested), operation.api());
    let message =
        format!("The model {model} is served here, but its provider does not offer this ({operation}).");
    Refusal::new(Code::UntranslatableRequest, message).param("model")
}

fn untranslatable(requested: &str, dialect: Dialect) -> Refusal {
    let speaks = match dialect {
        Dialect::OpenAi => "OpenAI's",
        Dialect::Anthropic => "Anthropic's",
        Dialect::Gemini => "Gemini's",
    };
    Refusal::new(
        Code::UntranslatableRequest,
        format!(
            "The model {} is served here, but not through {speaks} API. Use it through its own provider's API, \
             or another model.",
            quoted(requested)
        ),
    )
    .param("model")
}

//! May this key do one more thing now? What needs no body is decided by [`admit`], what needs the model or the
//! size of the request by [`reserve`].
//!
//! Invariant: a refused exchange holds nothing: neither a slot nor a request nor a token of any rate.

use crate::code::Code;
use crate::config::snapshot::Key;
use crate::limit::{Amount, Counted, Empty, Nanos};
use crate::refusal::{Refusal, quoted};
use crate::state::charge::Charge;
use crate::state::permit::{Permit, Shut};
use crate::state::{Live, Registry};
use std::time::Duration;

/// Takes one request and one slot of the key and of its group.
pub fn admit(live: &Live, registry: &Registry, key: &Key, now: Nanos) -> Result<Permit, Refusal> {
    let mut permit = Permit::new(registry.leases());
    let gates = [&live.key(key.index).gate, live.group(key.group.index)];
    permit.pass(&gates, now).map_err(|(at, shut)| {
        let names = if at == 0 { ("rpm", "concurrency") } else { ("group_rpm", "group_concurrency") };
        refuse(&whose(key, at, ""), shut, names)
    })?;
    Ok(permit)
}

/// Takes one request and one slot of the key's limits for this model, where it has some, and the tokens that the
/// exchange is estimated to cost of all limits it counts against.
pub fn reserve(
    live: &Live,
    key: &Key,
    permit: &mut Permit,
    (requested, amount): (&str, Amount),
    now: Nanos,
) -> Result<Charge, Refusal> {
    let state = live.key(key.index);
    let model = state.model(&key.model_limits, requested);
    if let Some(gate) = model {
        permit.pass(&[gate], now).map_err(|(_, shut)| {
            permit.refund();
            refuse(&whose(key, OF_MODEL, requested), shut, ("model_rpm", "model_concurrency"))
        })?;
    }
    let gates = [Some(&state.gate), Some(live.group(key.group.index)), model];
    let gates: Vec<_> = gates.into_iter().flatten().collect();
    Charge::take(&gates, amount, now).map_err(|first| {
        permit.refund();
        // Of several that have too little, the one that has it the longest: a wait for another would be too short.
        let short =
            gates.iter().enumerate().filter_map(|(at, gate)| Some((at, gate.tokens.short(amount, now)?)));
        let (at, empty) = short.max_by_key(|(_, empty)| empty.wait).unwrap_or(first);
        let burst = gates[at].tokens.level(empty.counted, now).map_or(0, |level| level.limit);
        too_many_tokens(&whose(key, at, requested), empty, (burst, TOKEN_LIMITS[at.min(OF_MODEL)]))
    })
}

/// The limit's owner by the gate's position: the key, its group, the key's rule for the model.
fn whose(key: &Key, at: usize, requested: &str) -> String {
    match at {
        0 => "This API key's".to_owned(),
        OF_MODEL => format!("For the model {}, this API key's", quoted(requested)),
        _ => format!("The group {}'s", key.group.id),
    }
}

const OF_MODEL: usize = 2;

/// What the limits are called, by the gate's position and in the order of [`Counted::ALL`].
const TOKEN_LIMITS: [[&str; 3]; 3] = [
    ["tpm", "input_tpm", "output_tpm"],
    ["group_tpm", "group_input_tpm", "group_output_tpm"],
    ["model_tpm", "model_input_tpm", "model_output_tpm"],
];

fn too_many_tokens(whose: &str, empty: Empty, (burst, names): (u64, [&'static str; 3])) -> Refusal {
    let (what, name) = match empty.counted {
        Counted::All => ("tokens", names[0]),
        Counted::Input => ("input tokens", names[1]),
        Counted::Output => ("output tokens", names[2]),
    };
    let message = format!(
        "{whose} rate of {what} per minute is used up (at most {burst} at once, refilled evenly; this request is \
         estimated at {}). Try again in {} s.",
        empty.tokens,
        whole_seconds(empty.wait)
    );
    Refusal::new(Code::RateLimitExceeded, message).retry_after(empty.wait).limit(name)
}

fn refuse(whose: &str, shut: Shut, (rate, slots): (&'static str, &'static str)) -> Refusal {
    match shut {
        Shut::Rate(wait, level) => {
            let limit = level.map_or(0, |level| level.limit);
            let message = format!(
                "{whose} rate of requests per minute is used up (at most {limit} at once, refilled evenly). \
                 Try again in {} s.",
                whole_seconds(wait)
            );
            Refusal::new(Code::RateLimitExceeded, message).retry_after(wait).limit(rate)
        }
        Shut::Slots(limit) => {
            let message = format!(
                "{whose} limit of {limit} requests at once is reached. Try again when one of them has ended."
            );
            Refusal::new(Code::ConcurrencyLimitExceeded, message).retry_after(SLOT_WAIT).limit(slots)
        }
    }
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// Nobody knows when a running answer ends; a second is soon enough and no storm.
const SLOT_WAIT: Duration = Duration::from_secs(1);

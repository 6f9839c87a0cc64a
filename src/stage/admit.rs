//! May this key do one more thing now? What needs no body is decided by [`admit`], what needs the model or the
//! size of the request by [`reserve`].
//!
//! Invariant: a refused exchange holds nothing: neither a slot nor a request nor a token of any rate.

use crate::code::Code;
use crate::config::snapshot::Key;
use crate::limit::{Amount, Counted, Empty, Nanos};
use crate::protocol::Medium;
use crate::refusal::{Refusal, quoted};
use crate::state::charge::Charge;
use crate::state::gate::{Gate, Lack, Shut, UNKNOWN_WAIT};
use crate::state::lending::{Loan, Wish};
use crate::state::permit::Permit;
use crate::state::{Live, Registry};
use std::sync::Arc;
use std::time::Duration;

/// Why something was not let in.
#[derive(Debug)]
pub enum Denied {
    /// It may not.
    Refused(Refusal),
    /// It may, once the fleet's store has lent what this asks for: ask again then.
    Borrow(Loan),
}

/// Takes one request and one slot of the key and of its group.
pub fn admit(
    live: &Live,
    registry: &Registry,
    key: &Key,
    medium: Option<Medium>,
    now: Nanos,
) -> Result<Permit, Denied> {
    let mut permit = Permit::new(registry.leases()).of(medium);
    let gates = [&live.key(key.index).gate, live.group(key.group.index)];
    permit.pass(&gates, now).map_err(|(at, shut)| {
        if shut == Shut::Ask {
            return Denied::Borrow(Loan::of(&gates, Wish::Pass(medium), now));
        }
        let names = if at == 0 { ("rpm", "concurrency") } else { ("group_rpm", "group_concurrency") };
        let names = match shut {
            Shut::MediumRate(medium, ..) if at == 0 => (medium.limit(), names.1),
            Shut::MediumRate(medium, ..) => (medium.group_limit(), names.1),
            _ => names,
        };
        Denied::Refused(refuse(&whose(key, at, ""), shut, names))
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
) -> Result<Charge, Denied> {
    let state = live.key(key.index);
    let model = state.model(&key.model_limits, requested);
    // Asked again after a loan, it has passed already.
    if let Some(gate) = model.filter(|gate| !permit.holds(gate)) {
        permit.pass(&[gate], now).map_err(|(_, shut)| {
            if shut == Shut::Ask {
                return Denied::Borrow(Loan::of(&[gate], Wish::Pass(None), now));
            }
            permit.refund();
            let names = ("model_rpm", "model_concurrency");
            Denied::Refused(refuse(&whose(key, OF_MODEL, requested), shut, names))
        })?;
    }
    let (own, group) = (&state.gate, live.group(key.group.index));
    let gates: &[_] = match model {
        Some(model) => &[own, group, model],
        None => &[own, group],
    };
    Charge::take(gates, amount, now).map_err(|(at, lack)| {
        let first = match lack {
            Lack::Ask => return Denied::Borrow(Loan::of(gates, Wish::Tokens(amount), now)),
            Lack::Empty(empty) => (at, empty),
            Lack::Unknown => {
                permit.refund();
                return Denied::Refused(unknown());
            }
        };
        permit.refund();
        Denied::Refused(short_of_tokens(gates, amount, first, now, |at| whose(key, at, requested)))
    })
}

/// A place to settle at, at all limits of the key for this model.
pub fn account(live: &Live, key: &Key, requested: &str, now: Nanos) -> Charge {
    let state = live.key(key.index);
    let model = state.model(&key.model_limits, requested);
    let gates = [Some(&state.gate), Some(live.group(key.group.index)), model];
    Charge::account(&gates.into_iter().flatten().collect::<Vec<_>>(), now)
}

/// Whether anything is left of the rates of tokens that count a conversation: what it costs is known afterwards only, so it goes
/// on where there is one token.
pub fn has_tokens(live: &Live, key: &Key, requested: &str, now: Nanos) -> Result<(), Refusal> {
    let state = live.key(key.index);
    let model = state.model(&key.model_limits, requested);
    let gates = [Some(&state.gate), Some(live.group(key.group.index)), model];
    let gates: Vec<_> = gates.into_iter().flatten().collect();
    let one = Amount { input: 1, output: 1 };
    let short = gates.iter().enumerate().filter_map(|(at, gate)| Some((at, gate.short(one, now)?)));
    match short.max_by_key(|(_, empty)| empty.wait) {
        Some(first) => Err(short_of_tokens(&gates, one, first, now, |at| whose(key, at, requested))),
        None => Ok(()),
    }
}

/// Of several gates that have too little, the one that has it the longest: a wait for another would be too short.
fn short_of_tokens(
    gates: &[&Arc<Gate>],
    amount: Amount,
    first: (usize, Empty),
    now: Nanos,
    whose: impl Fn(usize) -> String,
) -> Refusal {
    let short = gates.iter().enumerate().filter_map(|(at, gate)| Some((at, gate.short(amount, now)?)));
    let (at, empty) = short.max_by_key(|(_, empty)| empty.wait).unwrap_or(first);
    let burst = gates[at].token_level(empty.counted, now).map_or(0, |level| level.limit);
    too_many_tokens(&whose(at), empty, (burst, TOKEN_LIMITS[at.min(OF_MODEL)]))
}

/// The answer where limits cannot be counted, and `on_error` says that nobody passes then.
pub fn unknown() -> Refusal {
    let message = "The gateway cannot count its limits at the moment. Try again in a moment.";
    Refusal::new(Code::GatewayOverloaded, message).retry_after(UNKNOWN_WAIT)
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
        Shut::Rate(wait, level) | Shut::MediumRate(_, wait, level) => {
            let limit = level.map_or(0, |level| level.limit);
            let what = if let Shut::MediumRate(medium, ..) = shut { medium.requests() } else { "requests" };
            let message = format!(
                "{whose} rate of {what} per minute is used up (at most {limit} at once, refilled evenly). \
                 Try again in {} s.",
                whole_seconds(wait)
            );
            Refusal::new(Code::RateLimitExceeded, message).retry_after(wait).limit(rate)
        }
        Shut::Ask | Shut::Unknown => unknown(),
        Shut::Slots(limit, _) => {
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

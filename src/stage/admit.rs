//! May this key do one more thing now? What needs no body is decided by [`admit`], what needs the model by
//! [`reserve`]; the tokens and the quota of an exchange will be held at the same two places.
//!
//! Invariant: a refused exchange holds nothing: neither a slot nor a request of any rate.

use crate::code::Code;
use crate::config::snapshot::Key;
use crate::limit::Nanos;
use crate::refusal::{Refusal, quoted};
use crate::state::permit::{Permit, Shut};
use crate::state::{Live, Registry};
use std::time::Duration;

/// Takes one request and one slot of the key and of its group.
pub fn admit(live: &Live, registry: &Registry, key: &Key, now: Nanos) -> Result<Permit, Refusal> {
    let mut permit = Permit::new(registry.leases());
    let gates = [&live.key(key.index).gate, live.group(key.group.index)];
    permit.pass(&gates, now).map_err(|(at, shut)| {
        let (whose, rate, slots) = match at {
            0 => ("This API key's".to_owned(), "rpm", "concurrency"),
            _ => (format!("The group {}'s", key.group.id), "group_rpm", "group_concurrency"),
        };
        refuse(&whose, shut, (rate, slots))
    })?;
    Ok(permit)
}

/// Takes one request and one slot of the key's limits for this model, where it has some.
pub fn reserve(
    live: &Live,
    key: &Key,
    permit: &mut Permit,
    requested: &str,
    now: Nanos,
) -> Result<(), Refusal> {
    let Some(gate) = live.key(key.index).model(&key.model_limits, requested) else { return Ok(()) };
    permit.pass(&[gate], now).map_err(|(_, shut)| {
        permit.refund();
        let whose = format!("For the model {}, this API key's", quoted(requested));
        refuse(&whose, shut, ("model_rpm", "model_concurrency"))
    })
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

//! Is there enough of the quotas left that this key's exchanges count against: its own, its group's, its project's?
//!
//! What is spent already refuses from the head alone ([`check`]); [`reserve`] decides, once the model and the size of
//! the request are known.
//! Invariants: operations that cost nothing are never refused; a refused exchange holds nothing; the answer names no
//! amount.

use crate::code::Code;
use crate::config::snapshot::Key;
use crate::limit::calendar::Period;
use crate::limit::quota::{Measure, Spent, UsedUp};
use crate::limit::{Amount, Nanos};
use crate::protocol::Operation;
use crate::refusal::{Refusal, quoted};
use crate::stage::admit::{Denied, unknown};
use crate::stage::plan::Plan;
use crate::state::Live;
use crate::state::quotas::{Barred, NamedQuota, QuotaHold, QuotaScope};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// When an exchange began, which decides the window in which it counts, and what time it is now.
#[derive(Debug, Clone, Copy)]
pub struct When {
    /// In Unix seconds.
    pub began_unix: u64,
    /// In Unix seconds.
    pub now_unix: u64,
    /// The same on the clock of limits.
    pub now: Nanos,
}

/// Refuses what would be refused anyway, before its body is read: where all of a quota is spent. What is reserved
/// for exchanges under way does not count yet: it may come back while the body arrives.
pub fn check(live: &Live, key: &Key, operation: Operation, when: When) -> Result<(), Refusal> {
    for named in live.quotas().of_key(key).iter().filter(|_| operation.has_usage()) {
        if let Some(measure) = named.spent(when.began_unix) {
            return Err(refuse(key, named, UsedUp { measure, settled: true }, when));
        }
    }
    Ok(())
}

/// Takes what the exchange is expected to spend of all quotas that count it.
pub fn reserve(
    live: &Live,
    key: &Key,
    (operation, plan, amount): (Operation, &Plan, Amount),
    when: When,
) -> Result<QuotaHold, Denied> {
    let quotas = live.quotas().of_key(key);
    if quotas.is_empty() || !operation.has_usage() {
        return Ok(QuotaHold::default());
    }
    let expected = expected(live, plan, amount, when.began_unix);
    QuotaHold::take(quotas, expected, when.began_unix, when.now).map_err(|(at, barred)| match barred {
        Barred::UsedUp(used_up) => Denied::Refused(refuse(key, &quotas[at], used_up, when)),
        Barred::Ask => Denied::Borrow(QuotaHold::loan(quotas, expected, when.began_unix, when.now)),
        Barred::Unknown => Denied::Refused(unknown()),
    })
}

/// Whether a conversation has used up a quota: what it has cost so far is in what is reserved. How many requests there are is
/// nothing that grows with it.
pub fn left(live: &Live, key: &Key, when: When) -> Result<(), Refusal> {
    for named in live.quotas().of_key(key) {
        let standing = named.standing(when.began_unix);
        let spent = standing.measures().find(|(measure, limit, settled, reserved)| {
            *measure != Measure::Requests && settled.saturating_add(*reserved) >= *limit
        });
        if let Some((measure, ..)) = spent {
            return Err(refuse(key, named, UsedUp { measure, settled: true }, when));
        }
    }
    Ok(())
}

/// By the price at the channel that is asked first; a model without a price costs nothing that could be counted.
fn expected(live: &Live, plan: &Plan, amount: Amount, began_unix: u64) -> Spent {
    let first = plan.candidates().iter().min_by_key(|channel| channel.priority);
    let price = first.and_then(|channel| {
        let model = channel.upstream_model(&plan.model);
        live.snapshot.prices.find(&channel.id, model)
    });
    let nano_usd = price.and_then(|price| price.expected(amount.input, amount.output, began_unix));
    Spent { nano_usd: nano_usd.unwrap_or(0), tokens: amount.total(), requests: 1 }
}

fn refuse(key: &Key, named: &Arc<NamedQuota>, used_up: UsedUp, when: When) -> Refusal {
    let standing = named.standing(when.began_unix);
    let group = quoted(key.group.id.as_str());
    let whose = match &named.scope {
        QuotaScope::Key(_) => format!("this API key (group {group})"),
        QuotaScope::Group(_) => format!("the group {group}"),
        QuotaScope::Project(name) => format!("the project {} (group {group})", quoted(name)),
    };
    let per = match standing.period {
        Period::Day => "daily quota",
        Period::Week => "weekly quota",
        Period::Month => "monthly quota",
        Period::Total => "quota",
    };
    let what = match used_up.measure {
        Measure::Usd => "US dollars",
        Measure::Tokens => "tokens",
        Measure::Requests => "requests",
    };
    let renews = standing.renews_unix.filter(|renews| *renews > when.now_unix);
    let next = match renews.map(rfc3339) {
        _ if !used_up.settled => "by requests under way. Try again when they have ended".to_owned(),
        Some(time) => format!("and renews at {time}. Try again then"),
        None if standing.renews_unix.is_some() => "and has just been renewed. Try again now".to_owned(),
        None => "and does not renew. Use another key".to_owned(),
    };
    let message =
        format!("The {per} of {what} of {whose} is used up {next}, or ask whoever issued the key for more.");
    let refusal = Refusal::new(Code::InsufficientQuota, message).limit(limit(&named.scope, used_up.measure));
    let wait = renews.map(|renews| Duration::from_secs(renews - when.now_unix));
    match wait.filter(|wait| *wait <= RENEWAL_WAIT_MAX) {
        Some(wait) => refusal.retry_after(wait),
        None => refusal,
    }
}

/// What the quota is called where the limit that was hit is named.
fn limit(scope: &QuotaScope, measure: Measure) -> &'static str {
    let names = match scope {
        QuotaScope::Key(_) => ["quota_usd", "quota_tokens", "quota_requests"],
        QuotaScope::Group(_) => ["group_quota_usd", "group_quota_tokens", "group_quota_requests"],
        QuotaScope::Project(_) => ["project_quota_usd", "project_quota_tokens", "project_quota_requests"],
    };
    names[measure as usize]
}

fn rfc3339(unix: u64) -> String {
    let at = UNIX_EPOCH + Duration::from_secs(unix.min(UNIX_MAX));
    humantime::format_rfc3339_seconds(at).to_string()
}

/// The last second of the year 9999, the end of RFC 3339.
const UNIX_MAX: u64 = 253_402_300_799;
/// Clients wait so long at most: longer, and a person has to decide.
const RENEWAL_WAIT_MAX: Duration = Duration::from_secs(60);

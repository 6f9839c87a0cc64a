//! Quotas as they stand: whose, what they admit, what was spent and reserved, and when they renew.

use crate::config::snapshot::Key;
use crate::limit::quota::{Measure, Standing};
use crate::state::Live;
use crate::state::quotas::NamedQuota;
use crate::telemetry::metrics::QuotaLive;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// For Prometheus: every measure of every quota.
pub(super) fn gauges(live: &Live, now_unix: u64) -> Vec<QuotaLive<'_>> {
    let mut gauges = Vec::new();
    for named in live.quotas().all() {
        for (measure, max, settled, reserved) in named.standing(now_unix).measures() {
            gauges.push(QuotaLive {
                scope: named.scope.word(),
                name: named.scope.name(),
                unit: measure.word(),
                max: float(measure, max),
                remaining: remaining(measure, max, settled, reserved),
            });
        }
    }
    gauges
}

/// Every quota.
pub(super) fn all(live: &Live, now_unix: u64) -> Value {
    live.quotas().all().iter().map(|named| row(named, now_unix)).collect()
}

/// Those that the exchanges of a key count against.
pub(super) fn of_key(live: &Live, key: &Key, now_unix: u64) -> Value {
    live.quotas().of_key(key).iter().map(|named| row(named, now_unix)).collect()
}

/// How many there are, and which are used up.
pub(super) fn glance(live: &Live, now_unix: u64) -> Value {
    let quotas = live.quotas().all();
    let used_up: Vec<_> = quotas.iter().filter(|named| named.standing(now_unix).is_used_up()).collect();
    let shown = used_up.iter().take(USED_UP_SHOWN_MAX).map(|named| row(named, now_unix));
    json!({ "configured": quotas.len(), "used_up": used_up.len(), "first_used_up": shown.collect::<Value>() })
}

/// A look at the whole is no list: that is `/api/quotas`.
const USED_UP_SHOWN_MAX: usize = 20;

fn row(named: &Arc<NamedQuota>, now_unix: u64) -> Value {
    let standing = named.standing(now_unix);
    json!({
        "scope": named.scope.word(),
        "name": named.scope.name(),
        "per": standing.period.word(),
        "window_start_unix": standing.start_unix,
        "renews_unix": standing.renews_unix,
        "used_up": standing.is_used_up(),
        "units": units(&standing),
    })
}

fn units(standing: &Standing) -> Map<String, Value> {
    let unit = |(measure, limit, settled, reserved): (Measure, u64, u64, u64)| {
        let shown = json!({
            "limit": number(measure, limit),
            "used": number(measure, settled),
            "reserved": number(measure, reserved),
            "remaining": signed(measure, (limit, settled, reserved)),
        });
        (measure.word().to_owned(), shown)
    };
    standing.measures().map(unit).collect()
}

/// Dollars with a fraction; what is counted is whole.
fn number(measure: Measure, amount: u64) -> Value {
    if measure == Measure::Usd { json!(float(measure, amount)) } else { json!(amount) }
}

fn signed(measure: Measure, (limit, settled, reserved): (u64, u64, u64)) -> Value {
    if measure == Measure::Usd {
        return json!(remaining(measure, limit, settled, reserved));
    }
    let left = i128::from(limit) - i128::from(settled) - i128::from(reserved);
    json!(i64::try_from(left).unwrap_or(i64::MIN))
}

fn remaining(measure: Measure, limit: u64, settled: u64, reserved: u64) -> f64 {
    let used = settled.saturating_add(reserved);
    if used > limit { -float(measure, used - limit) } else { float(measure, limit - used) }
}

/// For showing: dollars of nano-dollars.
pub(super) fn dollars(nanos: u64) -> f64 {
    float(Measure::Usd, nanos)
}

/// For showing: dollars of nano-dollars, and what is counted as it is.
#[expect(clippy::cast_precision_loss, reason = "exact below 2^53; what decides is never a float")]
fn float(measure: Measure, amount: u64) -> f64 {
    if measure == Measure::Usd { amount as f64 / 1e9 } else { amount as f64 }
}

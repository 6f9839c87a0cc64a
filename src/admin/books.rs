//! What the ledger says: usage over a period, and an exchange that is no longer among the last ones.
//!
//! Invariant: the file is read in a thread of its own, never in one that serves requests. Invariant: amounts go out
//! with every digit, so they are passed on as text and never become a float.

use super::{Page, parameter};
use crate::ledger::{By, Ledger, Period};
use crate::process::Shared;
use crate::telemetry::access;
use serde_json::json;
use std::sync::Arc;

/// `/api/usage?by=…&since=…&until=…`.
pub(super) async fn usage(shared: &Shared, query: &str) -> Page {
    let Some(ledger) = shared.telemetry.ledger() else {
        return refused(404, NO_LEDGER);
    };
    let word = parameter(query, "by").unwrap_or_else(|| By::Key.word().to_owned());
    let Some(by) = By::named(&word) else {
        return refused(400, &format!("by= is one of {}", By::ALL.map(By::word).join(", ")));
    };
    let (since, until) = (parameter(query, "since"), parameter(query, "until"));
    let now_unix = shared.world.unix_ms() / 1000;
    match Period::parse(since.as_deref(), until.as_deref(), now_unix) {
        Ok(period) => in_thread(move || told(&ledger, by, period)).await,
        Err(problem) => refused(400, &problem),
    }
}

fn told(ledger: &Ledger, by: By, period: Period) -> Page {
    ledger.flush();
    let report = ledger.reader().and_then(|reader| reader.usage(by, period));
    match report {
        Ok(report) => Page(200, JSON, report.json(ledger.state().unwritten)),
        Err(problem) => refused(500, &problem),
    }
}

/// `/api/exchanges/{id}`: the access line, or what the ledger has of it.
pub(super) async fn exchange(shared: &Shared, id: &str) -> Page {
    if let Some(record) = shared.telemetry.recent.find(id) {
        return Page(200, JSON, String::from_utf8_lossy(&access::line(&record)).into_owned());
    }
    let Some(ledger) = shared.telemetry.ledger() else {
        return refused(404, NOT_RECENT);
    };
    let id = id.to_owned();
    in_thread(move || kept(&ledger, &id)).await
}

fn kept(ledger: &Arc<Ledger>, id: &str) -> Page {
    match ledger.reader().and_then(|reader| reader.exchange(id)) {
        Ok(Some(kept)) => Page(200, JSON, kept + "\n"),
        Ok(None) => refused(404, NOT_BOOKED),
        Err(problem) => refused(500, &problem),
    }
}

async fn in_thread(read: impl FnOnce() -> Page + Send + 'static) -> Page {
    tokio::task::spawn_blocking(read).await.unwrap_or_else(|_| refused(500, "the answer was given up"))
}

fn refused(status: u16, why: &str) -> Page {
    Page::json(status, &json!({ "error": why }))
}

const JSON: &str = "application/json";
const NO_LEDGER: &str = "there is no ledger: with [ledger] path usage is kept and reported; the sums since the start \
                         are in /metrics (tollgate_key_tokens_total, tollgate_group_cost_usd_total)";
const NOT_RECENT: &str = "no such exchange among the last 1,000, and no [ledger] to look it up in: older ones are in \
                          the access log";
const NOT_BOOKED: &str = "no such exchange among the last 1,000, nor in the ledger: nothing was sent to a provider for \
                          it, or it is older than [ledger] retention, or another gateway had it; the access log has \
                          them all";

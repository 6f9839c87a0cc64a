//! Whole answers of providers and their errors: read without a panic, renamed without another byte changed.

use bytes::Bytes;
use serde_json::Value;
use tollgate::protocol::observe;
use tollgate::protocol::splice::splice;
use tollgate::protocol::{Dialect, Grammar};

/// The first byte chooses the operation.
///
/// # Panics
///
/// Where a promise is broken.
pub fn run(input: &[u8]) {
    let Some((operation, body)) = crate::operation(input) else { return };
    let body = Bytes::copy_from_slice(body);
    let facts = observe::answer(operation, &body);
    assert!(facts.unreported <= body.len() as u64, "no more text than there is");
    let edits: Vec<_> = facts.renamed(NAME).collect();
    let renamed = splice(&body, &edits).concat();
    let oracle: Option<Value> = serde_json::from_slice(&body).ok();
    if facts.models.is_empty() {
        assert_eq!(renamed, body, "who names no model is not changed");
    } else if let Some(mut oracle) = oracle.filter(|oracle| oracle.is_object() && is_named_once(&body)) {
        let field = if operation.grammar() == Grammar::Gemini { "modelVersion" } else { "model" };
        if oracle[field].is_string() {
            oracle[field] = NAME.into();
            assert_eq!(serde_json::from_slice::<Value>(&renamed).ok(), Some(oracle));
        }
    }
    for dialect in [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini] {
        for status in [400, 401, 403, 404, 429, 529] {
            let _known = observe::operator_fault(dialect, status, &body, Some("mapped"));
        }
    }
    let status = observe::implied_status(&body);
    assert!(status.is_none_or(|status| (100..600).contains(&status)), "a status is one");
    let _refused = (observe::is_unverified_thinking(400, &body), observe::is_usage_refused(400, &body));
}

/// Whether only one place can be the model's, so that the oracle need not know which one counts.
fn is_named_once(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    text.matches("odel").count() == 1 && !text.contains('\\')
}

const NAME: &str = "another \"name\"";

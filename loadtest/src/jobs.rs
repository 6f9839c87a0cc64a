//! Work that is asked for now and done later: batches and fine-tuning jobs, as far as a gateway sees of them.
//!
//! Invariant: a job that lacks what the real provider needs is refused; nothing is ever done.

use crate::errors::Refused;
use crate::reply::Reply;
use crate::route::Route;
use serde_json::{Value, json};

/// What a job of each kind must say.
const NEEDED: &[(&str, &[&str])] = &[
    ("batch", &["input_file_id", "endpoint", "completion_window"]),
    ("fine_tuning.job", &["model", "training_file"]),
    ("message_batch", &["requests"]),
    ("upload", &["filename", "purpose", "bytes", "mime_type"]),
];

/// Answers a call about jobs of this kind: a body makes one, everything else shows one.
pub(crate) fn answer(route: &Route, kind: &str, made: bool, body: &[u8]) -> Result<Reply, Refused> {
    if made {
        let given: Value = serde_json::from_slice(body)
            .map_err(|error| Refused::bad(route.api, format!("We could not parse the JSON body: {error}")))?;
        let needed = NEEDED.iter().find(|(known, _)| *known == kind).map_or(&[][..], |(_, needed)| needed);
        if let Some(missing) = needed.iter().find(|name| given[**name].is_null()) {
            return Err(Refused::bad(route.api, format!("Missing required parameter: '{missing}'.")));
        }
    }
    let field = if kind == "message_batch" { "type" } else { "object" };
    Ok(Reply::json(200, json!({ "id": "job_fake", field: kind, "status": "in_progress" }).to_string()))
}

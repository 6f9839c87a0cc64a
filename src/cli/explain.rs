//! `tollgate explain`: who would serve a request and why, from a file or from a running gateway.
//!
//! Invariant: nothing is sent to a provider; the rewritten bytes are made by the splice that would send them.

use super::offline::{NOW, live, table_or_json};
use super::{ExplainArgs, Failed, Format, online, print};
use crate::protocol::inspect::ModelField;
use crate::protocol::splice::{self, Edit};
use crate::protocol::{Dialect, entry, inspect};
use crate::stage::explain;
use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::{Value, json};
use std::path::Path;

pub(super) fn explain(config: &Path, args: &ExplainArgs) -> Result<(), Failed> {
    let asked = Asked::of(args)?;
    let mut told = if let Some(url) = &args.admin.admin {
        online::explanation(url, &args.key, &asked.model, asked.dialect)?
    } else {
        let live = live(config)?;
        let key = live.snapshot.key_named(&args.key).ok_or("no key of that name is configured")?;
        explain::explain(&live, key, &asked.model, asked.dialect, NOW)
    };
    if let Some((body, field)) = &asked.body {
        add_rewritten(&mut told, body, field);
    }
    print(&if args.format == Format::Json { format!("{told:#}") } else { as_text(&told) })
}

/// What the question comes down to.
struct Asked {
    model: String,
    /// Where neither a body nor a path says, that of the channel that serves the model.
    dialect: Option<Dialect>,
    body: Option<(Bytes, ModelField)>,
}

impl Asked {
    fn of(args: &ExplainArgs) -> Result<Self, Failed> {
        let entry =
            entry::entry(&Method::POST, &args.path, None, &HeaderMap::new()).map_err(|no| no.message)?;
        let body = match &args.request {
            Some(file) => Some(std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?),
            None => None,
        };
        let inspected = body.as_deref().map(|body| inspect::inspect(entry.operation, body)).transpose();
        let field = inspected.map_err(|refusal| refusal.message)?.and_then(|inspection| inspection.model);
        let named = field.as_ref().map(|field| field.name.clone());
        let model = args.model.clone().or(entry.model).or(named).ok_or("the request names no model")?;
        let dialect = (args.request.is_some() || args.path != DEFAULT_PATH).then_some(entry.dialect);
        Ok(Self { model, dialect, body: body.map(Bytes::from).zip(field) })
    }
}

/// The body as the first eligible channel would get it.
fn add_rewritten(told: &mut Value, body: &Bytes, field: &ModelField) {
    let candidates = told["candidates"].as_array();
    let first = candidates.and_then(|all| all.iter().find(|one| one["eligible"] == true));
    let upstream = first.and_then(|one| one["model_upstream"].as_str()).map(str::to_owned);
    if let Some(upstream) = upstream.filter(|upstream| *upstream != field.name) {
        let pieces = splice::splice(body, &[Edit::text(field.at.clone(), &upstream)]);
        told["rewritten"] = json!(String::from_utf8_lossy(&pieces.concat()));
        told["rewritten_bytes"] = json!({ "from": field.at.start, "to": field.at.end });
    }
}

/// The explanation as a person reads it.
fn as_text(told: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    let mut lines = vec![
        format!(
            "key      {}   group {}   profile {}",
            word(&told["key"]),
            word(&told["group"]),
            word(&told["profile"])
        ),
        format!("model    {} -> {}", word(&told["model_requested"]), word(&told["model"])),
    ];
    let rows = told["candidates"].as_array().cloned().unwrap_or_default();
    let columns = ["channel", "model_upstream", "protocol", "priority", "weight", "reason"];
    lines.push(table_or_json(&rows, &columns, false));
    if let Some(refusal) = told["refusal"].as_object() {
        lines.push(format!("refused  {}: {}", word(&refusal["code"]), word(&refusal["message"])));
    }
    if let Some(body) = told["rewritten"].as_str() {
        lines.push(format!("body     {body}"));
    }
    lines.join("\n")
}

const DEFAULT_PATH: &str = "/v1/chat/completions";

//! `tollgate explain`: who would serve a request and why, from a file or from a running gateway.
//!
//! Invariant: nothing is sent to a provider; the rewritten bytes are made by the splice or the translation that would send them.

use super::cells::{Cell, Column, Tone, labelled};
use super::offline::{NOW, live};
use super::terminal::Terminal;
use super::{ExplainArgs, Failed, Format, online, print, rows};
use crate::protocol::fields::{Fields, names};
use crate::protocol::inspect::{Inspection, Wording};
use crate::protocol::splice;
use crate::protocol::{Dialect, Operation, Protocol, entry, inspect};
use crate::stage::explain;
use crate::translate::{self, Target};
use bytes::Bytes;
use http::Method;
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
    if let Some((body, inspection)) = &asked.body {
        add_rewritten(&mut told, &asked, (body, inspection));
    }
    if args.format == Format::Json {
        return print(&format!("{told:#}"));
    }
    let terminal = Terminal::look();
    print(&lines(&told, terminal.room(), terminal.colour).join("\n"))
}

/// What the question comes down to.
struct Asked {
    model: String,
    /// Where neither a body nor a path says, that of the channel that serves the model.
    dialect: Option<Dialect>,
    operation: Operation,
    body: Option<(Bytes, Box<Inspection>)>,
}

impl Asked {
    fn of(args: &ExplainArgs) -> Result<Self, Failed> {
        let entry =
            entry::entry(&Method::POST, &args.path, None, &Fields::default()).map_err(|no| no.message)?;
        let body = match &args.request {
            Some(file) => Some(std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?),
            None => None,
        };
        let inspected =
            body.as_deref().map(|body| inspect::read(entry.operation, &content_type(body), body)).transpose();
        let inspected = inspected.map_err(|refusal| refusal.message)?;
        let field = inspected.as_ref().and_then(|inspection| inspection.model.as_ref());
        let named = field.map(|field| field.name.clone());
        let model = args
            .model
            .clone()
            .or(entry.model)
            .or(named.map(String::from))
            .ok_or("the request names no model")?;
        let dialect = (args.request.is_some() || args.path != DEFAULT_PATH).then_some(entry.dialect);
        Ok(Self { model, dialect, operation: entry.operation, body: body.map(Bytes::from).zip(inspected) })
    }
}

/// A form says its boundary in its first line.
fn content_type(body: &[u8]) -> Fields {
    let line = body.split(|byte| *byte == b'\r').next().and_then(|line| line.strip_prefix(b"--"));
    let boundary = line.and_then(|line| std::str::from_utf8(line).ok()).filter(|line| line.len() <= LINE_MAX);
    let value = boundary.map(|boundary| format!("multipart/form-data; boundary=\"{boundary}\""));
    let value = value.unwrap_or_else(|| "application/json".to_owned());
    Fields::of(&[(names::CONTENT_TYPE, value)])
}

/// Longer than any boundary.
const LINE_MAX: usize = 100;

/// The body as the first eligible channel would get it.
fn add_rewritten(told: &mut Value, asked: &Asked, (body, inspection): (&Bytes, &Inspection)) {
    let candidates = told["candidates"].as_array();
    let first = candidates.and_then(|all| all.iter().find(|one| one["eligible"] == true)).cloned();
    let Some(first) = first else { return };
    if first["translated"] == true || inspection.wording != Wording::Own {
        return add_translated(told, asked, (body, inspection), &first);
    }
    let mut edits = splice::Edits::new();
    if let (Some(field), Some(upstream)) = (&inspection.model, first["model_upstream"].as_str())
        && upstream != field.name
    {
        edits.push(field.edit(upstream));
    }
    // A gateway that does not say is one from before the setting.
    if let Some(edit) = inspection.ask_usage.as_ref().filter(|_| first["include_usage"] == true) {
        splice::insert(&mut edits, edit.clone());
    }
    if let (Some(from), Some(to)) = (edits.first(), edits.last()) {
        let bytes = json!({ "from": from.at.start, "to": to.at.end });
        told["rewritten"] = json!(String::from_utf8_lossy(&splice::splice(body, &edits).concat()));
        told["rewritten_bytes"] = bytes;
    }
}

/// The body as it would be written for a channel of another protocol, and what that would lose.
fn add_translated(told: &mut Value, asked: &Asked, (body, inspection): (&Bytes, &Inspection), first: &Value) {
    let word = |name: &str| first[name].as_str().unwrap_or_default();
    let protocols = asked.operation.protocol().zip(Protocol::named(word("protocol")));
    let Some((from, to)) = protocols else { return };
    let (stream, wording) = (inspection.stream, inspection.wording);
    let include_usage = first["include_usage"] != false;
    let target =
        Target { protocol: to, model: word("model_upstream"), stream, max_tokens: None, include_usage };
    let of_address = translate::Asked { model: &asked.model, stream };
    let request = translate::request_in(wording, from, body, &of_address);
    match request.and_then(|request| translate::outgoing(&request, &target, ID)) {
        Ok(outgoing) => {
            let losses = outgoing.losses.iter().map(|loss| format!("{}: {}", loss.field, loss.what.word()));
            told["losses"] = losses.collect::<Vec<_>>().into();
            told["rewritten"] = json!(String::from_utf8_lossy(&outgoing.body));
        }
        Err(refusal) => {
            told["refusal"] = json!({ "code": refusal.code.word(), "message": refusal.message });
        }
    }
}

/// What ids are made of in a request that is never sent.
const ID: &str = "explained";

/// The explanation as a person reads it.
fn lines(told: &Value, width: usize, colour: bool) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    let (group, profile) = (word(&told["group"]), word(&told["profile"]));
    let line =
        |label, text: String, tone| labelled((label, LABEL_COLUMNS), &Cell::new(&text, tone), width, colour);
    let mut lines =
        line("key", format!("{}   group {group}   profile {profile}", word(&told["key"])), Tone::Plain);
    let model = format!("{} -> {}", word(&told["model_requested"]), word(&told["model"]));
    lines.extend(line("model", model, Tone::Plain));
    let candidates = told["candidates"].as_array().map(Vec::as_slice).unwrap_or_default();
    lines.extend(rows::lines(candidates, &COLUMNS, width, colour));
    if let Some(refusal) = told["refusal"].as_object() {
        let text = format!("{}: {}", word(&refusal["code"]), word(&refusal["message"]));
        lines.extend(line("refused", text, Tone::Bad));
    }
    let losses: Vec<_> = told["losses"].as_array().into_iter().flatten().map(&word).collect();
    if !losses.is_empty() {
        lines.extend(line("lost", losses.join(", "), Tone::Warn));
    }
    if let Some(body) = told["rewritten"].as_str() {
        // In one line, to be copied.
        lines.push(format!("body     {body}"));
    }
    lines
}

const LABEL_COLUMNS: usize = 9;
const COLUMNS: [Column; 6] = [
    Column::name("channel", 0),
    Column::name("model_upstream", 1),
    Column::name("protocol", 4),
    Column::number("priority", 3),
    Column::number("weight", 2),
    Column::name("reason", 0).worth(50),
];

const DEFAULT_PATH: &str = "/v1/chat/completions";

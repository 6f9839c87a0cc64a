//! `tollgate lookup`: what happened to one exchange, in words that support can pass on.
//!
//! Invariant: everything said comes from the access line or the ledger's row, which hold no prompt and no secret;
//! control characters that a client or a provider wrote reach no terminal.

use super::cells::{Cell, Tone, labelled, visible};
use super::online::{self, Asked};
use super::terminal::Terminal;
use super::usage::from_file;
use super::{Failed, complain, print};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::path::Path;

pub(super) fn lookup(
    id: &str,
    (admin, config): (Option<&str>, Option<&Path>),
    as_json: bool,
) -> Result<(), Failed> {
    let line = found(id, admin, config)?;
    let line = line.trim_end();
    if as_json {
        return print(line);
    }
    let terminal = Terminal::look();
    print(&Exchange::of(line)?.told(terminal.room(), terminal.colour).join("\n"))
}

fn found(id: &str, admin: Option<&str>, config: Option<&Path>) -> Result<String, Failed> {
    let nobody = match online::ask(admin, config, &format!("/api/exchanges/{}", online::encoded(id)))? {
        Asked::Said(200, text) => return Ok(text),
        Asked::Said(status, text) => {
            let said: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
            return online::expect_ok(status, &said).map(|()| String::new());
        }
        Asked::Nobody(why) => why,
    };
    let (reader, file) = from_file(admin, config, nobody)?;
    complain(&format!("no gateway answers; read from {file}"));
    reader
        .exchange(id)?
        .ok_or_else(|| format!("{file} has no exchange {id}: nothing was sent for it, or it is too old"))
}

/// A line taken apart; the amount as it was written.
struct Exchange {
    line: Value,
    cost: String,
}

impl Exchange {
    fn of(text: &str) -> Result<Self, Failed> {
        let wrong = |error| format!("the gateway's answer is no access line: {error}");
        let raw: HashMap<String, Box<RawValue>> = serde_json::from_str(text).map_err(wrong)?;
        let cost = raw.get("cost_usd").map_or("null", |raw| raw.get()).to_owned();
        Ok(Self { line: serde_json::from_str(text).map_err(wrong)?, cost })
    }

    fn told(&self, width: usize, colour: bool) -> Vec<String> {
        let (id, ts, ms) = (self.text("request_id"), self.text("ts"), &self.line["duration_ms"]);
        let first = Cell::new(&format!("{id}   {ts}   took {ms} ms"), Tone::Strong);
        let mut lines = labelled(("", 0), &first, width, colour);
        let mut line = |label: &str, text: String, tone: Tone| {
            lines.extend(labelled((label, LABEL_COLUMNS), &Cell::new(&text, tone), width, colour));
        };
        line("asked by", self.asked_by(), Tone::Plain);
        line("asked for", self.asked_for(), Tone::Plain);
        line("answered", self.answered(), tone(self.line["end"] == "ok" && self.line["code"].is_null()));
        let attempts = self.line["attempts"].as_array().map(Vec::as_slice).unwrap_or_default();
        for (at, attempt) in attempts.iter().enumerate() {
            line(&format!("attempt {}", at + 1), tried(attempt), tone(attempt["code"].is_null()));
        }
        if self.line["upstream_error"].is_string() {
            line("it said", self.text("upstream_error"), Tone::Plain);
        }
        if self.line["usage_source"] != "none" {
            line("used", self.used(), Tone::Plain);
        }
        line("charged", self.charged(!attempts.is_empty()), Tone::Plain);
        if self.line["from"] == "ledger" {
            line("", "this is what the ledger has of it; the access log has more".to_owned(), Tone::Soft);
        }
        lines
    }

    fn asked_by(&self) -> String {
        if self.line["key"].is_null() {
            return "nobody we know: no valid key".to_owned();
        }
        let last4 = &self.line["key_last4"];
        let last4 = last4.as_str().map_or(String::new(), |last4| format!(" (…{})", visible(last4)));
        let (key, group) = (self.text("key"), self.text("group"));
        format!(
            "key {key}{last4}, group {group}, owner {}, project {}",
            self.text("owner"),
            self.text("project")
        )
    }

    fn asked_for(&self) -> String {
        let stream = if self.line["stream"] == true { ", streamed" } else { "" };
        format!("{} ({}{stream})", self.text("model_requested"), self.text("api"))
    }

    fn answered(&self) -> String {
        let (status, end) = (&self.line["status"], self.text("end"));
        let code = self.line["code"].as_str().map_or(String::new(), |code| format!(" {}", visible(code)));
        format!("{status}{code}, end: {end}")
    }

    fn used(&self) -> String {
        let tokens = &self.line["tokens"];
        let by =
            if self.line["usage_source"] == "reported" { "by the provider's own count" } else { "estimated" };
        format!(
            "input {}, output {} ({} of it reasoning), cache read {}, cache written {}: {by}",
            tokens["input"],
            tokens["output"],
            tokens["reasoning"],
            tokens["cache_read"],
            tokens["cache_write"]
        )
    }

    /// Whether anybody was charged, how much, and who bears it.
    fn charged(&self, was_tried: bool) -> String {
        let borne = format!(
            "billed by the provider behind channel {}, booked on key {} and group {}",
            self.text("channel"),
            self.text("key"),
            self.text("group")
        );
        match self.line["bill"].as_str().unwrap_or_default() {
            "nothing_sent" if was_tried => {
                "no: no connection came about, nothing was sent to a provider".to_owned()
            }
            "nothing_sent" => "no: nothing was sent to a provider".to_owned(),
            "not_billed" => "no: it was sent, and providers do not bill what came of it".to_owned(),
            "reported" => format!("yes: {} USD by the provider's own count, {borne}", self.cost),
            "estimated" => format!("yes: {} USD by our estimate, {borne}", self.cost),
            "unknown" if self.line["usage_source"] == "none" => {
                format!("yes, how much is not known, since the provider said no count; {borne}")
            }
            "unknown" => format!("yes, how much is not known, since the model has no price; {borne}"),
            _ => "this gateway does not say".to_owned(),
        }
    }

    fn text(&self, name: &str) -> String {
        self.line[name].as_str().map_or_else(|| "-".to_owned(), visible)
    }
}

fn tried(attempt: &Value) -> String {
    let word = |name: &str| attempt[name].as_str().map(visible);
    let model = word("model_upstream").map_or(String::new(), |model| format!(" as {model}"));
    let status =
        if attempt["status"].is_null() { "no answer".to_owned() } else { attempt["status"].to_string() };
    let failed = word("code").map_or(String::new(), |code| match word("reason") {
        Some(reason) => format!(", {code} ({reason})"),
        None => format!(", {code}"),
    });
    format!("{}{model}: {status}{failed}, {} ms", word("channel").unwrap_or_default(), attempt["ms"])
}

fn tone(went_well: bool) -> Tone {
    if went_well { Tone::Good } else { Tone::Bad }
}

const LABEL_COLUMNS: usize = 11;

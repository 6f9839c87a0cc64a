//! `tollgate logs tail`: the last exchanges and those that come, from a running gateway or from the access log's file.
//!
//! Invariant: an access line goes out as it was written (`--format json`) or in words made of it; what is no access line
//! is passed over. Invariant: what was shown once is not shown again, and what was missed is said.

mod file;
mod line;

use super::online::{Admin, expect_ok};
use super::terminal::{Terminal, put, rest};
use super::{AdminArg, Failed, Format, complain};
use clap::{Args, Subcommand};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(super) enum LogsCommand {
    /// The last exchanges, and those that come, until Ctrl-C.
    Tail(TailArgs),
}

#[derive(Debug, Args)]
pub(super) struct TailArgs {
    /// How many of the last ones to begin with.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    lines: usize,
    /// Show these and leave.
    #[arg(long)]
    no_follow: bool,
    /// Read the access log from this file instead of asking a gateway; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "admin")]
    file: Option<PathBuf>,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    admin: AdminArg,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// What is shown; of several all must fit.
#[derive(Debug, Args)]
struct Filter {
    /// Only this key's, by its name.
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// Only those that asked this channel, whoever answered in the end.
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    /// Only this status (429) or class (5xx).
    #[arg(long, value_name = "STATUS", value_parser = statuses)]
    status: Option<Statuses>,
    /// Only this request id; its beginning is enough.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Only this session's.
    #[arg(long, value_name = "ID")]
    trace: Option<String>,
    /// Only what did not end well, or not at the first attempt.
    #[arg(long)]
    problems: bool,
}

/// From, to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Statuses(u64, u64);

fn statuses(text: &str) -> Result<Statuses, String> {
    let class = text.strip_suffix("xx").and_then(|digit| digit.parse::<u64>().ok());
    if let Some(digit) = class.filter(|digit| (1..=9).contains(digit)) {
        return Ok(Statuses(digit * 100, digit * 100 + 99));
    }
    let status = text.parse().ok().filter(|status| (100..=999).contains(status));
    status.map(|status| Statuses(status, status)).ok_or_else(|| "such as 429 or 5xx".to_owned())
}

impl Filter {
    fn fits(&self, line: &Value) -> bool {
        let is = |name: &str, wanted: &Option<String>| {
            wanted.as_ref().is_none_or(|wanted| line[name].as_str() == Some(wanted))
        };
        let attempts = line["attempts"].as_array().map(Vec::as_slice).unwrap_or_default();
        let asked = |wanted: &String| {
            line["channel"].as_str() == Some(wanted)
                || attempts.iter().any(|one| one["channel"].as_str() == Some(wanted))
        };
        let status = line["status"].as_u64().unwrap_or(0);
        is("key", &self.key)
            && is("trace_id", &self.trace)
            && self.channel.as_ref().is_none_or(asked)
            && self.status.is_none_or(|wanted| (wanted.0..=wanted.1).contains(&status))
            && self
                .id
                .as_ref()
                .is_none_or(|id| line["request_id"].as_str().is_some_and(|own| own.starts_with(id)))
            && (!self.problems || line::is_problem(line))
    }
}

pub(super) fn logs(command: &LogsCommand, config: Option<&Path>) -> Result<(), Failed> {
    let LogsCommand::Tail(args) = command;
    let mut shown = Shown { args, headed: false };
    match &args.file {
        Some(path) if path.as_os_str() == "-" => file::piped(&mut shown),
        Some(path) => file::followed(path, &mut shown),
        None => asked(args, config, &mut shown),
    }
}

/// Where access lines go.
struct Shown<'a> {
    args: &'a TailArgs,
    headed: bool,
}

impl Shown<'_> {
    /// The lines that fit, of which the `last` newest only, in the order they came.
    fn show<'l>(
        &mut self,
        lines: impl Iterator<Item = &'l str>,
        last: usize,
    ) -> Result<ControlFlow<()>, Failed> {
        let parsed = lines.filter_map(|raw| {
            let line: Value = serde_json::from_str(raw).ok()?;
            (line["request_id"].is_string() && self.args.filter.fits(&line)).then_some((raw, line))
        });
        let mut fitting: Vec<(&str, Value)> = parsed.collect();
        drop(fitting.drain(..fitting.len().saturating_sub(last)));
        let terminal = Terminal::look();
        for (raw, line) in fitting {
            let text = match self.args.format {
                Format::Json => format!("{}\n", raw.trim_end()),
                Format::Text => self.heading(terminal) + &line::told(&line, terminal.width, terminal.colour),
            };
            if put(&text)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Once, above the first line.
    fn heading(&mut self, terminal: Terminal) -> String {
        if std::mem::replace(&mut self.headed, true) {
            return String::new();
        }
        line::heading(terminal.width, terminal.colour)
    }
}

/// From a running gateway. One that is gone is waited for; one that came in its place begins anew.
fn asked(args: &TailArgs, config: Option<&Path>, shown: &mut Shown<'_>) -> Result<(), Failed> {
    let admin = Admin::find(args.admin.admin.as_deref(), config)?;
    let mut news = News::ask(&admin, 0)?;
    let mut last = args.lines;
    let mut is_lost = false;
    loop {
        if news.missed > 0 {
            complain(&format!("{} exchanges passed unseen; the access log has them", news.missed));
        }
        if shown.show(news.lines(), last)?.is_break() || args.no_follow {
            return Ok(());
        }
        last = usize::MAX;
        rest(BETWEEN_LOOKS);
        match News::ask(&admin, news.next) {
            Ok(next) => {
                if std::mem::take(&mut is_lost) {
                    complain("the gateway answers again");
                }
                news = next;
            }
            Err(why) => {
                if !std::mem::replace(&mut is_lost, true) {
                    complain(&format!("{why}; asking on"));
                }
                news.forget();
            }
        }
    }
}

/// What came since the last question, newest first.
#[derive(Debug)]
struct News {
    next: u64,
    missed: u64,
    rows: Vec<Box<RawValue>>,
}

impl News {
    fn ask(admin: &Admin, after: u64) -> Result<Self, Failed> {
        let (status, text) = admin.get_text(&format!("/api/exchanges?after={after}"))?;
        if status != 200 {
            let said = serde_json::from_str(&text).unwrap_or(Value::String(text.trim().to_owned()));
            expect_ok(status, &said)?;
        }
        Self::parsed(&text).map_err(|error| {
            format!("this gateway does not say what came since (an earlier version?): {error}")
        })
    }

    fn parsed(text: &str) -> serde_json::Result<Self> {
        let all: HashMap<String, Box<RawValue>> = serde_json::from_str(text)?;
        let member = |name: &str| all.get(name).map_or("null", |raw| raw.get());
        Ok(Self {
            next: serde_json::from_str(member("next"))?,
            missed: serde_json::from_str(member("missed"))?,
            rows: serde_json::from_str(member("rows"))?,
        })
    }

    /// The oldest first.
    fn lines(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().rev().map(|row| row.get())
    }

    fn forget(&mut self) {
        (self.missed, self.rows) = (0, Vec::new());
    }
}

/// Soon enough to look live; a gateway under load answers it without effort.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_is_one_or_a_class() {
        assert_eq!(statuses("429"), Ok(Statuses(429, 429)));
        assert_eq!(statuses("5xx"), Ok(Statuses(500, 599)));
        for wrong in ["", "xx", "0xx", "12xx", "99", "1000", "ok"] {
            assert!(statuses(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn of_several_filters_all_must_fit() {
        let none =
            || Filter { key: None, channel: None, status: None, id: None, trace: None, problems: false };
        let line = json!({ "request_id": "req_01abc", "key": "alice", "channel": "b", "status": 200, "end": "ok",
                           "trace_id": "t", "attempts": [{ "channel": "a" }, { "channel": "b" }] });
        let some = |text: &str| Some(text.to_owned());
        for (filter, fits) in [
            (none(), true),
            (Filter { key: some("alice"), ..none() }, true),
            (Filter { key: some("ali"), ..none() }, false),
            (Filter { channel: some("a"), ..none() }, true),
            (Filter { channel: some("c"), ..none() }, false),
            (Filter { status: Some(Statuses(200, 299)), ..none() }, true),
            (Filter { status: Some(Statuses(500, 599)), ..none() }, false),
            (Filter { id: some("req_01"), ..none() }, true),
            (Filter { id: some("01"), ..none() }, false),
            (Filter { trace: some("t"), problems: true, ..none() }, true),
            (Filter { key: some("alice"), channel: some("c"), ..none() }, false),
        ] {
            assert_eq!(filter.fits(&line), fits, "{filter:?}");
        }
    }
}

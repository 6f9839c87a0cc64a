//! `tollgate channels list` and `tollgate channels test`.

use super::cells::Column;
use super::offline;
use super::rows::{lines, table_or_json};
use super::terminal::Terminal;
use super::{Failed, print};
use crate::app::trials::{self, Row};
use crate::config::snapshot::Channel;
use serde_json::{Value, json};
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

/// Which channels are tried, and how.
pub(super) struct Wanted<'a> {
    /// By name; `None`: every enabled one.
    pub(super) name: Option<&'a str>,
    /// By its name here.
    pub(super) model: Option<&'a str>,
    pub(super) slow: Duration,
    pub(super) as_json: bool,
}

pub(super) fn list(config: &Path, as_json: bool) -> Result<(), Failed> {
    let live = offline::live(config)?;
    let rows: Vec<Value> = live
        .snapshot
        .channels
        .iter()
        .map(|channel| {
            let protocols: Vec<&str> = channel.protocols.iter().map(|protocol| protocol.word()).collect();
            json!({
                "channel": channel.id.as_str(),
                "type": channel.kind,
                "base_url": channel.main_address(),
                "protocols": protocols.join(","),
                "credentials": channel.credentials.len(),
                "priority": channel.priority,
                "weight": channel.weight,
                "enabled": channel.enabled,
            })
        })
        .collect();
    let columns = [
        Column::name("channel", 0),
        Column::name("type", 3),
        Column::name("base_url", 0),
        Column::name("protocols", 7),
        Column::number("credentials", 6),
        Column::number("priority", 5),
        Column::number("weight", 4),
        Column::id("enabled", 0),
    ];
    print(&table_or_json(&rows, &columns, as_json))
}

/// Asks each of the channels something small, with each of its credentials.
pub(super) fn test(config: &Path, wanted: &Wanted<'_>) -> Result<(), Failed> {
    let live = offline::live(config)?;
    let is_wanted =
        |channel: &Channel| wanted.name.map_or(channel.enabled, |name| channel.id.is_called(name));
    let channels: Vec<_> =
        live.snapshot.channels.iter().filter(|channel| is_wanted(channel)).cloned().collect();
    match (channels.first(), wanted.name) {
        (None, Some(name)) => return Err(format!("no channel {name} is configured")),
        (None, None) => return Err("no channel is enabled".to_owned()),
        (Some(channel), Some(name)) if channel.credentials.is_empty() => {
            return Err(format!("channel {name} has no credential"));
        }
        _ => {}
    }
    let mut progress = Progress { done: 0, in_place: std::io::stderr().is_terminal() };
    let tell = |row: &Row, all: usize| {
        let text = format!("{} {}: {}", row.channel, row.credential, row.trial.verdict.word());
        drop(std::io::stderr().write_all(progress.line(&text, all).as_bytes()));
    };
    let rows = trials::trials(&live.snapshot, &channels, (wanted.model, wanted.slow), tell)?;
    let bad = rows.iter().filter(|row| !row.is_ok()).count();
    let shown: Vec<Value> = rows.iter().map(|row| shown(row, wanted.as_json)).collect();
    let columns = [
        Column::name("channel", 0),
        Column::id("credential", 0),
        Column::name("model", 0),
        Column::id("result", 0),
        Column::number("status", 0),
        Column::number("connect_ms", 0),
        Column::number("first_ms", 0),
        Column::name("what_to_do", 0),
        Column::name("detail", 0),
    ];
    // Never cut: what to do, and the provider's own words, are what it was asked for.
    let text = || lines(&shown, &columns, usize::MAX, Terminal::look().colour).join("\n");
    print(&if wanted.as_json { format!("{:#}", json!(shown)) } else { text() })?;
    if bad == 0 { Ok(()) } else { Err(format!("{bad} of {} do not answer as they should", rows.len())) }
}

/// How far the trials are, for whoever waits.
struct Progress {
    done: usize,
    /// One line that changes, as a terminal can; else a line each, as a log wants it.
    in_place: bool,
}

impl Progress {
    fn line(&mut self, ended: &str, all: usize) -> String {
        self.done += 1;
        let done = self.done;
        let text = format!("tollgate: {done}/{all} {ended}");
        match (self.in_place, done < all) {
            (false, _) => text + "\n",
            (true, true) => format!("{START_AND_CLEAR}{text}"),
            (true, false) => START_AND_CLEAR.to_owned(),
        }
    }
}

/// To the beginning of the line, and nothing behind that.
const START_AND_CLEAR: &str = "\r\u{1b}[K";

fn shown(row: &Row, as_json: bool) -> Value {
    let trial = &row.trial;
    let ms = |time: Option<Duration>| time.and_then(|time| u64::try_from(time.as_millis()).ok());
    let detail = if as_json || !trial.detail.is_empty() { json!(trial.detail) } else { Value::Null };
    json!({
        "channel": row.channel,
        "credential": row.credential,
        "model": row.model,
        "result": trial.verdict.word(),
        "status": trial.status,
        "connect_ms": ms(trial.connect),
        "first_ms": ms(trial.first),
        "what_to_do": what_to_do(trial.verdict.word()),
        "detail": detail,
    })
}

/// One sentence for each word.
fn what_to_do(result: &str) -> Value {
    json!(match result {
        "dns" => "check the host in base_url, and this machine's resolver",
        "proxy" => "check egress_proxy and what it allows",
        "connect" => "check host and port, and the firewall between",
        "tls" => "check the server's certificate, or give its authority as ca",
        "path" => "check the path of base_url, and the type",
        "token" =>
            "no access token was issued: check the credential, the clock, and the way to who issues it",
        "key" => "the provider refuses this key: replace it, or its rights",
        "model" => "check the model's name at the provider (model_map), and that the account has it",
        "quota" => "the account cannot pay: top it up, or raise its limit",
        "rate_limit" => "too many requests at the moment: try later, or set limits",
        "slow" => "it answers too late: try again, or ask another region",
        "refused" => "the provider refuses the request: read its words",
        "provider" => "the provider is in trouble: try later",
        _ => return Value::Null,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_one_line_on_a_terminal_and_gone_at_the_end_and_a_line_each_elsewhere() {
        let shown = |in_place| {
            let mut progress = Progress { done: 0, in_place };
            ["a 6789: ok", "b 6789: key"].map(|ended| progress.line(ended, 2))
        };
        assert_eq!(shown(false), ["tollgate: 1/2 a 6789: ok\n", "tollgate: 2/2 b 6789: key\n"]);
        assert_eq!(shown(true), ["\r\u{1b}[Ktollgate: 1/2 a 6789: ok", "\r\u{1b}[K"]);
    }
}

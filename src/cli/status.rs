//! `tollgate status`: what a running gateway says of itself, at a glance.
//!
//! Invariant: whatever wants a hand is said in full, whatever the width; the exit code is for `--ready` alone.

use super::cells::{Cell, Column, Tone, labelled, row};
use super::online::{Admin, change_lines, expect_ok};
use super::terminal::Terminal;
use super::top::problems;
use super::{Failed, print, rows};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

pub(super) fn status(
    admin: Option<&str>,
    config: Option<&Path>,
    ready: bool,
    as_json: bool,
) -> Result<(), Failed> {
    let admin = Admin::find(admin, config)?;
    if ready {
        let (status, _) = admin.get("/readyz")?;
        return if status == 200 { print("ready") } else { Err("not ready".to_owned()) };
    }
    let (code, answer) = admin.get("/api/status")?;
    expect_ok(code, &answer)?;
    if as_json {
        return print(&format!("{answer:#}"));
    }
    let (_, channels) = admin.get("/api/channels")?;
    let terminal = Terminal::look();
    let channels = channels.as_array().map(Vec::as_slice).unwrap_or_default();
    print(&lines(&answer, channels, terminal.room(), terminal.colour).join("\n"))
}

fn lines(status: &Value, channels: &[Value], width: usize, colour: bool) -> Vec<String> {
    let reload = &status["config"]["reload"];
    let mut lines =
        vec![row(&head(status), width, colour), row(&configuration(&status["config"]), width, colour)];
    let changes = change_lines(&reload["changes"]).into_iter().take(CHANGES_SHOWN_MAX);
    lines.extend(changes.flat_map(|line| labelled(("", 2), &Cell::plain(line), width, colour)));
    lines.extend(problems(status).into_iter().flat_map(|cell| labelled(("", 0), &cell, width, colour)));
    lines.extend(rows::lines(channels, &columns(channels), width, colour));
    lines
}

fn head(status: &Value) -> [Cell; 5] {
    let channels = &status["channels"];
    let is_whole = channels["usable"] == channels["configured"];
    let up = Duration::from_secs(status["uptime_seconds"].as_u64().unwrap_or(0));
    let usable = format!("{}/{} channels usable", channels["usable"], channels["configured"]);
    [
        Cell::new(&format!("tollgate {}", status["version"].as_str().unwrap_or_default()), Tone::Strong),
        Cell::plain(format!("up {}", humantime::format_duration(up))),
        Cell::plain(format!("in flight {}", status["inflight"])),
        Cell::new(&usable, if is_whole { Tone::Good } else { Tone::Warn }),
        Cell::plain(format!("{} keys", status["keys"])),
    ]
}

fn configuration(config: &Value) -> [Cell; 3] {
    let hash: String = config["hash"].as_str().unwrap_or_default().chars().take(12).collect();
    let reload = &config["reload"];
    let last = if reload["successful"] == true {
        Cell::plain("last reload ok")
    } else {
        Cell::new("last reload REFUSED, the last good one serves", Tone::Bad)
    };
    [Cell::plain(format!("config {hash}")), Cell::plain(format!("generation {}", reload["generation"])), last]
}

/// A column for trials only where there are some.
fn columns(channels: &[Value]) -> Vec<Column> {
    let canary = channels.iter().any(|row| !row["canary"].is_null()).then(|| Column::number("canary", 2));
    let first = [Column::name("channel", 0), Column::name("type", 5), Column::name("state", 0)];
    let numbers = [Column::number("priority", 4), Column::number("weight", 3)];
    let last = [Column::number("inflight", 1)];
    first.into_iter().chain(numbers).chain(canary).chain(last).collect()
}

/// At a glance; `/api/status` has all of them.
const CHANGES_SHOWN_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::cells::columns as width_of;
    use serde_json::json;

    fn told(width: usize, colour: bool) -> Vec<String> {
        let status = json!({ "version": "0.1.0", "uptime_seconds": 61, "inflight": 2, "keys": 3,
            "channels": { "usable": 1, "configured": 2 }, "quotas": { "first_used_up": [{ "scope": "key", "name": "ci" }] },
            "credentials_away": [{ "channel": "main", "credential": "3x9q", "reason": "unauthorized" }],
            "config": { "hash": "0123456789abcdef", "reload": { "generation": 4, "successful": false,
                "problems": ["t.toml:3: key.k: unknown setting `naem`, did you mean `name`?"], "needs_restart": ["server.listen"],
                "changes": { "rows": [{ "text": "key bob: added" }], "more": 0 } } } });
        let channels = [
            json!({ "channel": "main", "type": "openai", "state": "healthy", "priority": 0, "weight": 3, "inflight": 2, "canary": null }),
            json!({ "channel": "trial", "type": "anthropic", "state": "cooling", "cooling_ms": 900, "priority": 0, "weight": 1,
                    "inflight": 0, "canary": 0.05 }),
        ];
        lines(&status, &channels, width, colour)
    }

    #[test]
    fn it_says_what_wants_a_hand_and_fits_the_terminal() {
        let whole = [
            "tollgate 0.1.0  up 1m 1s  in flight 2  1/2 channels usable  3 keys",
            "config 0123456789ab  generation 4  last reload REFUSED, the last good one serves",
            "  key bob: added",
            "t.toml:3: key.k: unknown setting `naem`, did you mean `name`?",
            "needs a restart: server.listen",
            "credential 3x9q of main is not used: unauthorized",
            "quota of key ci is used up",
            "channel  type       state       priority  weight  canary  inflight",
            "main     openai     healthy            0       3       -         2",
            "trial    anthropic  cooling 1s         0       1      5%         0",
        ];
        assert_eq!(told(usize::MAX, false), whole);
        let narrow = told(40, false);
        assert_eq!(
            narrow[3..5],
            ["t.toml:3: key.k: unknown setting `naem`,", "did you mean `name`?"],
            "all of it"
        );
        assert!(narrow.iter().all(|line| width_of(line) <= 40), "{narrow:?}");
        assert!(narrow.contains(&"channel  state       canary  inflight".to_owned()), "{narrow:?}");
        let colourful = told(120, true).join("\n");
        assert!(
            colourful.contains("\u{1b}[31mlast reload REFUSED") && colourful.contains("\u{1b}[32mhealthy")
        );
    }
}

//! One look at a gateway, as lines.
//!
//! Invariant: no line is wider than asked, and where a height is given there are no more lines than that.

use crate::cli::cells::{Cell, Column, Tone, dollars, millis, percent, rate, row, short, span, table};
use crate::cli::rows;
use serde_json::Value;

/// `height`: of a terminal; without one, lists have their usual lengths.
pub(super) fn frame(status: &Value, width: usize, height: Option<usize>, colour: bool) -> Vec<String> {
    let mut lines = head(status, width, colour);
    let detail = &status["detail"];
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (channels, keys) = (list(&detail["channels"]), list(&detail["keys"]));
    let exchanges = list(&detail["exchanges"]["rows"]);
    let room = height.map(|height| height.saturating_sub(lines.len() + LINES_BETWEEN));
    let shown = room.map_or(USUAL, |room| parts(room, channels.len(), keys.len()));
    let sections = [
        channel_table(&channels[..shown.0.min(channels.len())], width, colour),
        key_table(&keys[..shown.1.min(keys.len())], width, colour),
        exchange_table(&exchanges[..shown.2.min(exchanges.len())], width, colour),
    ];
    for section in sections {
        lines.push(String::new());
        lines.extend(section);
    }
    lines.truncate(height.unwrap_or(usize::MAX));
    lines
}

/// Nobody answers.
pub(super) fn lost(why: &str, width: usize, colour: bool) -> String {
    row(&[Cell::new("NO ANSWER", Tone::Bad), Cell::plain(why)], width, colour)
}

/// How many channels, keys and exchanges; these have what the others leave.
fn parts(room: usize, channels: usize, keys: usize) -> (usize, usize, usize) {
    let channels = channels.min((room / 3).max(1));
    let keys = keys.min((room / 4).max(1));
    (channels, keys, room.saturating_sub(channels + keys))
}

/// Where there is no height.
const USUAL: (usize, usize, usize) = (20, 10, 10);
/// An empty line and a heading for each list.
const LINES_BETWEEN: usize = 6;

/// Which configuration it is since the start; what is not from a file is the only one.
fn generation(status: &Value) -> String {
    let generation = status["config"]["reload"]["generation"].as_u64();
    generation.map_or_else(String::new, |generation| format!(", generation {generation}"))
}

fn head(status: &Value, width: usize, colour: bool) -> Vec<String> {
    let hash: String = text(&status["config"]["hash"]).chars().take(12).collect();
    let mut lines = vec![row(
        &[
            Cell::new(&format!("tollgate {}", text(&status["version"])), Tone::Strong),
            state(status),
            Cell::plain(format!("up {}", span(status["uptime_seconds"].as_u64().unwrap_or(0)))),
            Cell::soft(format!("config {hash}{}", generation(status))),
        ],
        width,
        colour,
    )];
    lines.extend(problems(status).into_iter().take(PROBLEMS_MAX).map(|cell| row(&[cell], width, colour)));
    lines.push(String::new());
    lines.extend(tiles(status, width, colour));
    lines
}

fn state(status: &Value) -> Cell {
    let channels = &status["channels"];
    if status["draining"] == true {
        Cell::new("draining", Tone::Warn)
    } else if channels["usable"] == 0 {
        Cell::new("no channel usable", Tone::Bad)
    } else if status["config"]["reload"]["successful"] == false {
        Cell::new("reload refused", Tone::Warn)
    } else {
        Cell::new("ready", Tone::Good)
    }
}

/// What wants a hand, a line each.
pub(in crate::cli) fn problems(status: &Value) -> Vec<Cell> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let reload = &status["config"]["reload"];
    let refused = list(&reload["problems"]).into_iter().map(|problem| Cell::new(text(&problem), Tone::Bad));
    let restart = list(&reload["needs_restart"]);
    let restart =
        restart.iter().map(|what| Cell::new(&format!("needs a restart: {}", text(what)), Tone::Warn));
    let away = list(&status["credentials_away"]).into_iter().map(|one| {
        let (channel, credential) = (text(&one["channel"]), text(&one["credential"]));
        let line = format!("credential {credential} of {channel} is not used: {}", text(&one["reason"]));
        Cell::new(&line, Tone::Warn)
    });
    let used_up = list(&status["quotas"]["first_used_up"]).into_iter().map(|quota| {
        let line = format!("quota of {} {} is used up", text(&quota["scope"]), text(&quota["name"]));
        Cell::new(&line, Tone::Warn)
    });
    refused.chain(restart).chain(away).chain(used_up).collect()
}

/// The rest is in `tollgate status`.
const PROBLEMS_MAX: usize = 5;

/// Six numbers: in one line where they fit, else in two.
fn tiles(status: &Value, width: usize, colour: bool) -> Vec<String> {
    let traffic = &status["traffic"];
    let first = &traffic["first_token_ms"];
    let success = traffic["success"].as_f64();
    let unknown = traffic["unknown_cost"].as_u64().unwrap_or(0) > 0;
    // What has no price is not in it; where nothing has one, nothing is known.
    let cost = traffic["cost_usd"].as_f64().filter(|cost| !unknown || *cost > 0.0);
    let more = if unknown && cost.is_some() { "+" } else { "" };
    let tile = |name: &str, value: String, note: String, tone| {
        let note = if note.is_empty() { note } else { format!(" ({note})") };
        vec![Cell::soft(name), Cell::new(&(value + &note), tone)]
    };
    let tiles = [
        tile("requests", format!("{}/s", rate(number(&traffic["per_second"]))), String::new(), Tone::Plain),
        tile(
            "in flight",
            status["inflight"].to_string(),
            format!("{} streams", status["streams"]),
            Tone::Plain,
        ),
        tile("success", percent(success), format!("{} failed", traffic["failed"]), grade(success)),
        tile(
            "first token",
            millis(first["p50"].as_f64()),
            format!("p95 {}", millis(first["p95"].as_f64())),
            Tone::Plain,
        ),
        tile(
            "output",
            format!("{} tok/s", rate(number(&traffic["output_tokens_per_second"]))),
            String::new(),
            Tone::Plain,
        ),
        tile("cost", format!("{}{more}", dollars(cost)), String::new(), Tone::Plain),
    ];
    let window = span(traffic["window_seconds"].as_u64().unwrap_or(0));
    let note = format!("last {window}: {} exchanges, {} refused", traffic["exchanges"], traffic["refused"]);
    let per_line = if width >= WIDTH_FOR_ALL { 6 } else { 3 };
    let mut lines: Vec<String> =
        tiles.chunks(per_line).map(|part| row(&part.concat(), width, colour)).collect();
    lines.push(row(&[Cell::soft(note)], width, colour));
    lines
}

const WIDTH_FOR_ALL: usize = 150;

fn channel_table(channels: &[Value], width: usize, colour: bool) -> Vec<String> {
    const COLUMNS: [Column; 9] = [
        Column::name("CHANNEL", 0),
        Column::name("STATE", 0),
        Column::number("WEIGHT", 5),
        Column::number("TRIES", 4),
        Column::number("OK", 0),
        Column::number("FIRST", 2),
        Column::number("TOK/S", 3),
        Column::number("BUSY", 1),
        Column::name("LAST ERROR", 6),
    ];
    let line = |channel: &Value| {
        let (recent, success) = (&channel["recent"], channel["recent"]["success"].as_f64());
        vec![
            Cell::plain(text(&channel["channel"])),
            rows::state(channel),
            Cell::plain(channel["weight"].to_string()),
            Cell::plain(short(number(&recent["attempts"]))),
            Cell::new(&percent(success), grade(success)),
            Cell::plain(millis(recent["first_token_ms"]["p50"].as_f64())),
            Cell::plain(recent["tokens_per_second"].as_f64().map_or_else(|| "-".to_owned(), rate)),
            Cell::plain(channel["inflight"].to_string()),
            Cell::soft(last_error(&channel["last_error"])),
        ]
    };
    table(&COLUMNS, &channels.iter().map(line).collect::<Vec<_>>(), width, colour)
}

fn last_error(error: &Value) -> String {
    if error.is_null() {
        return "-".to_owned();
    }
    let status = error["status"].as_u64().map_or(String::new(), |status| format!("{status} "));
    format!("{status}{}", text(&error["code"]))
}

fn key_table(keys: &[Value], width: usize, colour: bool) -> Vec<String> {
    const COLUMNS: [Column; 7] = [
        Column::name("KEY", 0),
        Column::name("GROUP", 3),
        Column::number("BUSY", 1),
        Column::number("REQUESTS", 0),
        Column::number("TOKENS", 2),
        Column::number("COST", 0),
        Column::name("MOST USED", 0),
    ];
    let line = |key: &Value| {
        let recent = &key["recent"];
        vec![
            Cell::plain(text(&key["key"])),
            Cell::soft(text(&key["group"])),
            Cell::plain(key["inflight"].to_string()),
            Cell::plain(short(number(&recent["exchanges"]))),
            Cell::plain(short(number(&recent["tokens"]))),
            Cell::plain(dollars(Some(number(&recent["cost_usd"])))),
            most_used(key),
        ]
    };
    table(&COLUMNS, &keys.iter().map(line).collect::<Vec<_>>(), width, colour)
}

/// The limit or quota that is nearest to its end.
fn most_used(key: &Value) -> Cell {
    let limits = key["limits"].as_object().into_iter().flatten().map(|(name, limit)| {
        let max = number(&limit["limit"]);
        (max - number(&limit["remaining"]), max, name.clone())
    });
    let quotas = key["quotas"].as_array().into_iter().flatten().flat_map(|quota| {
        quota["units"].as_object().into_iter().flatten().map(|(unit, amount)| {
            let used = number(&amount["used"]) + number(&amount["reserved"]);
            (used, number(&amount["limit"]), format!("{unit} per {}", text(&quota["per"])))
        })
    });
    let part = |used: f64, max: f64| if max > 0.0 { used / max } else { 1.0 };
    let most =
        limits.chain(quotas).max_by(|one, other| part(one.0, one.1).total_cmp(&part(other.0, other.1)));
    let Some((used, max, name)) = most else { return Cell::soft("no limits") };
    let part = part(used, max).clamp(0.0, 1.0);
    let tone = if part >= 1.0 {
        Tone::Bad
    } else if part >= 0.8 {
        Tone::Warn
    } else {
        Tone::Plain
    };
    Cell::new(&format!("{} {:>3.0}% {name}", bar(part), part * 100.0), tone)
}

/// So full, in eight columns.
fn bar(part: f64) -> String {
    let full = (1..=BAR_COLUMNS).filter(|at| part * f64::from(BAR_COLUMNS) >= f64::from(*at) - 0.5).count();
    "#".repeat(full) + &".".repeat(BAR_COLUMNS as usize - full)
}

const BAR_COLUMNS: u32 = 8;

fn exchange_table(exchanges: &[Value], width: usize, colour: bool) -> Vec<String> {
    const COLUMNS: [Column; 9] = [
        Column::id("UTC", 0),
        Column::id("STATUS", 0),
        Column::name("CODE", 3),
        Column::name("KEY", 0).worth(12),
        Column::name("MODEL", 1).worth(12),
        Column::name("CHANNEL", 2).worth(12),
        Column::number("FIRST", 4),
        Column::number("TOOK", 0),
        Column::id("REQUEST ID", 5),
    ];
    if exchanges.is_empty() {
        return vec![row(&[Cell::soft("no exchange yet")], width, colour)];
    }
    let line = |one: &Value| {
        let (status, code) = fate(one);
        vec![
            Cell::soft(clock(one)),
            status,
            code,
            Cell::plain(one["key"].as_str().unwrap_or("-")),
            Cell::plain(one["model_requested"].as_str().unwrap_or("-")),
            Cell::plain(one["channel"].as_str().unwrap_or("-")),
            Cell::plain(millis(one["ttfb_ms"].as_f64())),
            Cell::plain(millis(one["duration_ms"].as_f64())),
            Cell::soft(text(&one["request_id"])),
        ]
    };
    table(&COLUMNS, &exchanges.iter().map(line).collect::<Vec<_>>(), width, colour)
}

/// The time of day of an access line.
pub(in crate::cli) fn clock(line: &Value) -> &str {
    text(&line["ts"]).get(11..19).unwrap_or_default()
}

/// Status and word of an access line; no word where it ended well.
pub(in crate::cli) fn fate(line: &Value) -> (Cell, Cell) {
    let status = line["status"].as_u64().unwrap_or(0);
    let tone = match text(&line["end"]) {
        "ok" if status < 400 => Tone::Good,
        "ok" | "refused" => Tone::Warn,
        "client_closed" => Tone::Soft,
        _ => Tone::Bad,
    };
    let word = line["code"].as_str().unwrap_or(match text(&line["end"]) {
        "ok" => "",
        end => end,
    });
    (Cell::new(&status.to_string(), tone), Cell::new(word, tone))
}

fn grade(success: Option<f64>) -> Tone {
    match success {
        Some(part) if part < 0.9 => Tone::Bad,
        Some(part) if part < 0.99 => Tone::Warn,
        _ => Tone::Plain,
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::cells::columns;
    use serde_json::json;

    fn status() -> Value {
        let channel = |name: &str, state: &str| {
            json!({ "channel": name, "state": state, "weight": 3, "inflight": 2, "cooling_ms": 12_300,
                    "recent": { "attempts": 120, "success": 0.95, "first_token_ms": { "p50": 420.0 }, "tokens_per_second": 61.5 },
                    "last_error": { "status": 529, "code": "upstream_overloaded" } })
        };
        let key = json!({ "key": "alice-laptop", "group": "team-a", "inflight": 1,
            "limits": { "rpm": { "limit": 60, "remaining": 6 }, "concurrency": { "limit": 8, "remaining": 7 } },
            "quotas": [{ "per": "month", "units": { "usd": { "limit": 50.0, "used": 12.5, "reserved": 0.0 } } }],
            "recent": { "exchanges": 31, "tokens": 48_000, "cost_usd": 0.42 } });
        let one = json!({ "ts": "2026-01-31T15:04:05.678Z", "status": 200, "code": null, "end": "ok", "key": "alice-laptop",
            "model_requested": "claude-sonnet-4-5", "channel": "anthropic-main", "ttfb_ms": 800.0, "duration_ms": 4_200.0,
            "request_id": "req_01hxyzabcdefghjkmnpqrstvwx" });
        json!({ "version": "0.1.0", "uptime_seconds": 3_700, "draining": false, "inflight": 3, "streams": 2,
            "channels": { "usable": 1, "configured": 2 }, "credentials_away": [], "quotas": { "first_used_up": [] },
            "config": { "hash": "0123456789abcdef", "reload": { "successful": true, "generation": 4, "problems": [], "needs_restart": [] } },
            "traffic": { "window_seconds": 300, "exchanges": 120, "per_second": 0.4, "failed": 3, "refused": 7, "success": 0.975,
                "first_token_ms": { "p50": 420.0, "p95": 1_900.0 }, "output_tokens_per_second": 312.0, "cost_usd": 1.5, "unknown_cost": 1 },
            "detail": { "channels": [channel("anthropic-main", "healthy"), channel("evil\u{1b}[2J", "cooling")], "keys": [key],
                "exchanges": { "rows": vec![one; 30] } } })
    }

    #[test]
    fn a_frame_fits_every_terminal() {
        for (width, height) in [(40, 10), (80, 24), (120, 40), (200, 60)] {
            let lines = frame(&status(), width, Some(height), false);
            assert!(lines.len() <= height, "{}", lines.join("\n"));
            for line in &lines {
                assert!(columns(line) <= width, "{width}: {line}");
            }
        }
        assert_eq!(frame(&status(), 80, Some(24), false).len(), 24, "the last exchanges fill what is left");
    }

    #[test]
    fn a_configuration_that_is_from_no_file_has_no_generation() {
        let mut status = status();
        assert!(frame(&status, 120, None, false)[0].ends_with("config 0123456789ab, generation 4"));
        status["config"]["reload"] = Value::Null;
        assert!(frame(&status, 120, None, false)[0].ends_with("config 0123456789ab"));
    }

    #[test]
    fn a_frame_says_what_is_there_and_colours_it_only_when_asked() {
        let told = frame(&status(), 120, None, false).join("\n");
        for said in [
            "tollgate 0.1.0  ready  up 1h 1m",
            "0.40/s",
            "97.5% (3 failed)",
            "420ms (p95 1.9s)",
            "$1.50+",
            "evil\u{fffd}[2J",
            "cooling 13s",
            "529 upstream_overloaded",
            "#######.  90% rpm",
            "15:04:05",
        ] {
            assert!(told.contains(said), "{said} in\n{told}");
        }
        assert!(!told.contains('\u{1b}'));
        assert!(frame(&status(), 120, None, true).join("\n").contains("\u{1b}[32mready"));
    }

    #[test]
    fn what_wants_a_hand_stands_at_the_top() {
        let mut status = status();
        status["config"]["reload"]["successful"] = json!(false);
        status["config"]["reload"]["problems"] = json!(["keys.toml:3: key.k: unknown setting"]);
        status["credentials_away"] =
            json!([{ "channel": "a", "credential": "3x9q", "reason": "unauthorized" }]);
        let told = frame(&status, 80, Some(24), false);
        assert!(told[0].contains("reload refused") && told[1].contains("keys.toml:3"), "{told:?}");
        assert!(told[2].contains("credential 3x9q of a is not used: unauthorized"), "{told:?}");
    }
}

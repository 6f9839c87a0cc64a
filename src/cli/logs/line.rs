//! An access line in words: one line as wide as the terminal, and a second one where something went wrong.
//!
//! Invariant: times are UTC, as in the log; an id stands with every line that support may be asked about.

use crate::cli::cells::{Cell, Tone, dollars, fixed, millis, row, short};
use crate::cli::top::{clock, fate};
use serde_json::Value;

/// The columns' names.
pub(super) fn heading(width: Option<usize>, colour: bool) -> String {
    let Some(layout) = width.map(Layout::of) else { return String::new() };
    let names =
        ["UTC", "STATUS", "CODE", "KEY", "MODEL", "CHANNEL", "FIRST", "TOOK", "TOKENS", "COST", "REQUEST ID"];
    layout.drawn(&names.map(Cell::soft), colour)
}

/// An exchange. Where no width is known nothing is cut: somebody searches in it.
pub(super) fn told(line: &Value, width: Option<usize>, colour: bool) -> String {
    let tokens = &line["tokens"];
    let count = |name: &str| tokens[name].as_f64().unwrap_or(0.0);
    let read = count("input") + count("cache_read") + count("cache_write");
    let (status, code) = fate(line);
    let cells = [
        Cell::soft(clock(line)),
        status,
        code,
        Cell::plain(text(line, "key")),
        Cell::plain(text(line, "model_requested")),
        Cell::plain(text(line, "channel")),
        Cell::plain(millis(line["ttfb_ms"].as_f64())),
        Cell::plain(millis(line["duration_ms"].as_f64())),
        Cell::plain(format!("{}/{}", short(read), short(count("output")))),
        Cell::plain(dollars(line["cost_usd"].as_f64())),
        Cell::soft(text(line, "request_id")),
    ];
    let Some(width) = width else {
        return row(&cells, usize::MAX, colour) + "\n" + &story(line, &Layout::WHOLE, usize::MAX, colour);
    };
    let layout = Layout::of(width);
    layout.drawn(&cells, colour) + &story(line, &layout, width, colour)
}

/// Whether it did not end well, or not at the first attempt.
pub(super) fn is_problem(line: &Value) -> bool {
    line["end"] != "ok"
        || line["status"].as_u64().unwrap_or(0) >= 400
        || line["attempts"].as_array().is_some_and(|attempts| attempts.len() > 1)
}

/// What has no room above, what was tried, and what the provider said; nothing where all went well.
fn story(line: &Value, above: &Layout, width: usize, colour: bool) -> String {
    if !is_problem(line) {
        return String::new();
    }
    let tried = line["attempts"].as_array().into_iter().flatten().map(|attempt| {
        let status =
            attempt["status"].as_u64().map_or_else(|| text(attempt, "code").to_owned(), |s| s.to_string());
        format!("{} {status} {}", text(attempt, "channel"), millis(attempt["ms"].as_f64()))
    });
    let mut parts: Vec<String> = Vec::new();
    parts.extend((!above.has(CODE)).then(|| line["code"].as_str().map(str::to_owned)).flatten());
    parts.extend((!above.has(ID)).then(|| text(line, "request_id").to_owned()));
    parts.push(tried.collect::<Vec<_>>().join(" > "));
    parts.extend(line["limit_hit"].as_str().map(|limit| format!("limit {limit}")));
    parts.extend(line["upstream_error"].as_str().map(|said| format!("\"{said}\"")));
    parts.retain(|part| !part.is_empty());
    if parts.is_empty() {
        return String::new();
    }
    let marked = format!("          {}", parts.join(", "));
    row(&[Cell::new(&marked, Tone::Soft)], width, colour) + "\n"
}

/// How wide each column is; none: there is no room for it.
struct Layout([usize; COLUMNS]);

const COLUMNS: usize = 11;
const CODE: usize = 2;
const ID: usize = 10;

impl Layout {
    /// Where there is room for all.
    const WHOLE: Self = Self([usize::MAX; COLUMNS]);

    fn of(width: usize) -> Self {
        // Time, status and what it took stand always; names share what is left.
        let mut widths = [8, 6, 0, 0, 0, 0, 0, 6, 0, 0, 0];
        for (at, least, wide) in [(6, 84, 6), (8, 92, 9), (9, 100, 8), (CODE, 120, 19), (ID, 150, 30)] {
            if width >= least {
                widths[at] = wide;
            }
        }
        let shown = widths.iter().filter(|wide| **wide > 0).count() + 3;
        let left = width.saturating_sub(widths.iter().sum::<usize>() + (shown - 1) * 2);
        widths[3] = (left * 3 / 10).clamp(4, 24);
        widths[5] = (left * 7 / 20).clamp(4, 24);
        widths[4] = left.saturating_sub(widths[3] + widths[5]).clamp(2, 36);
        Self(widths)
    }

    fn has(&self, column: usize) -> bool {
        self.0[column] > 0
    }

    fn drawn(&self, cells: &[Cell; COLUMNS], colour: bool) -> String {
        let kept = cells.iter().zip(self.0).enumerate().filter(|(_, (_, width))| *width > 0);
        let drawn = kept.map(|(at, (cell, width))| fixed(cell, width, (6..=9).contains(&at), colour));
        let line = drawn.collect::<Vec<_>>().join("  ");
        line.trim_end().to_owned() + "\n"
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::cells::columns;
    use serde_json::json;

    fn line() -> Value {
        json!({ "ts": "2026-01-31T15:04:05.678Z", "request_id": "req_01hxyzabcdefghjkmnpqrstvwx", "key": "alice\u{1b}[2J",
            "model_requested": "claude-sonnet-4-5-20250929-with-a-long-name", "channel": "渠道二", "status": 200, "code": null,
            "end": "ok", "ttfb_ms": 800.0, "duration_ms": 4_200.0, "cost_usd": 0.0123, "attempts": [
                { "channel": "first", "status": 529, "code": "upstream_overloaded", "ms": 12.0 },
                { "channel": "渠道二", "status": 200, "code": null, "ms": 4_100.0 }],
            "tokens": { "input": 12_000, "output": 345, "cache_read": 0, "cache_write": 0 }, "upstream_error": "busy" })
    }

    #[test]
    fn a_line_fits_every_width_and_has_its_id_with_every_problem() {
        for width in [40, 60, 80, 100, 120, 160, 240] {
            let told = told(&line(), Some(width), false) + &heading(Some(width), false);
            for one in told.lines() {
                assert!(columns(one) <= width, "{width}: {one}");
            }
            assert!(width < 60 || told.contains("req_01hxyzabcdefghjkmnpqrstvwx"), "{told}");
            assert!(!told.contains('\u{1b}'));
        }
        let narrow = told(&line(), Some(80), false);
        assert_eq!(narrow.lines().count(), 2, "{narrow}");
        assert!(narrow.contains("first 529 12ms > 渠道二 200 4.1s"), "{narrow}");
        let good = json!({ "attempts": [{}], "end": "ok", "status": 200 });
        assert_eq!(told(&good, Some(80), false).lines().count(), 1);
    }

    #[test]
    fn where_no_width_is_known_nothing_is_cut() {
        let told = told(&line(), None, false);
        assert!(told.contains("claude-sonnet-4-5-20250929-with-a-long-name  渠道二"), "{told}");
        assert!(told.contains("req_01hxyzabcdefghjkmnpqrstvwx\n"), "{told}");
        assert_eq!(heading(None, false), "");
    }

    #[test]
    fn a_problem_is_what_did_not_end_well_or_not_at_once() {
        for (line, is) in [
            (json!({ "end": "ok", "status": 200, "attempts": [{}] }), false),
            (json!({ "end": "ok", "status": 200, "attempts": [{}, {}] }), true),
            (json!({ "end": "ok", "status": 400, "attempts": [{}] }), true),
            (json!({ "end": "stream_truncated", "status": 200, "attempts": [{}] }), true),
        ] {
            assert_eq!(is_problem(&line), is, "{line}");
        }
    }
}

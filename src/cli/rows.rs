//! Rows of facts: a table that fits the terminal for a person, JSON for a program.
//!
//! Invariant: where there is no terminal the table has every column, in full and without colour; JSON has every fact,
//! shown or not.

use super::cells::{Cell, Column, Tone, span, table};
use super::terminal::Terminal;
use serde_json::{Value, json};

/// These members of the rows as columns under their names, or the rows as they are.
pub(super) fn table_or_json(rows: &[Value], columns: &[Column], as_json: bool) -> String {
    if as_json {
        return format!("{:#}", json!(rows));
    }
    let terminal = Terminal::look();
    lines(rows, columns, terminal.room(), terminal.colour).join("\n")
}

/// The same as lines, so wide at the most.
pub(super) fn lines(rows: &[Value], columns: &[Column], width: usize, colour: bool) -> Vec<String> {
    let cells = |row: &Value| columns.iter().map(|column| cell(row, column.title)).collect();
    table(columns, &rows.iter().map(cells).collect::<Vec<_>>(), width, colour)
}

/// What stands in a column; colour says again what the word says.
fn cell(row: &Value, member: &str) -> Cell {
    match (member, &row[member]) {
        ("state", Value::String(_)) => state(row),
        ("canary", Value::Number(part)) => Cell::plain(format!("{}%", part.as_f64().unwrap_or(0.0) * 100.0)),
        (_, Value::Null) => Cell::soft("-"),
        ("enabled", Value::Bool(false)) => Cell::new("false", Tone::Warn),
        ("reason", Value::String(why)) => {
            Cell::new(why, if row["eligible"] == true { Tone::Good } else { Tone::Warn })
        }
        ("result", Value::String(word)) => Cell::new(word, if word == "ok" { Tone::Good } else { Tone::Bad }),
        (_, Value::String(text)) => Cell::plain(text),
        (_, other) => Cell::plain(other.to_string()),
    }
}

/// How a channel is, and how long it rests.
pub(super) fn state(channel: &Value) -> Cell {
    let left =
        channel["cooling_ms"].as_u64().map_or(String::new(), |ms| format!(" {}", span(ms.div_ceil(1000))));
    let word = channel["state"].as_str().unwrap_or_default();
    let tone = match word {
        "healthy" => Tone::Good,
        "half-open" => Tone::Warn,
        "disabled" | "weight 0" => Tone::Soft,
        _ => Tone::Bad,
    };
    Cell::new(&format!("{word}{left}"), tone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_terminal_a_table_fits_and_its_words_have_colours_and_elsewhere_it_is_whole() {
        let columns =
            [Column::name("channel", 0), Column::number("weight", 1), Column::name("reason", 0).worth(50)];
        let rows = [
            json!({ "channel": "a-channel-with-a-long-name", "weight": 3, "reason": "eligible", "eligible": true }),
            json!({ "channel": "b\u{1b}[2J", "weight": 10, "reason": "cooling for 12 s", "eligible": false }),
        ];
        let whole = lines(&rows, &columns, usize::MAX, false);
        assert_eq!(whole[1], "a-channel-with-a-long-name       3  eligible");
        assert_eq!(whole[2], "b\u{fffd}[2J                           10  cooling for 12 s");
        assert_eq!(lines(&rows, &columns, 30, false)[2], "b\u{fffd}[2J         cooling for 12 s");
        let colourful = lines(&rows, &columns, 80, true).join("\n");
        assert!(colourful.contains("\u{1b}[32meligible") && colourful.contains("\u{1b}[33mcooling"));
        assert!(!colourful.contains("[2J\u{1b}[") && !colourful.contains("\u{1b}[2J"));
    }

    #[test]
    fn a_state_says_how_long_and_a_canary_its_share() {
        let columns = [Column::name("state", 0), Column::number("canary", 0)];
        let rows = [
            json!({ "state": "cooling", "cooling_ms": 12_300, "canary": 0.05 }),
            json!({ "state": "healthy", "canary": null }),
        ];
        assert_eq!(
            lines(&rows, &columns, 40, false),
            ["state        canary", "cooling 13s      5%", "healthy           -"]
        );
    }
}

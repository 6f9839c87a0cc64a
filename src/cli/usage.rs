//! `tollgate usage`: what was used and what it cost, from a running gateway or from the ledger's file.
//!
//! Invariant: every number stands as the ledger has it; an amount never becomes a float. Invariant: a name that a
//! client chose (a model's) moves no cursor and is no formula of a spreadsheet.

use super::cells::{Cell, Column, Tone, table};
use super::online::{self, Asked};
use super::terminal::Terminal;
use super::{DEFAULT_CONFIG, Failed, UsageArgs, UsageBy, UsageFormat, complain, print};
use crate::config::{self, FsSource};
use crate::ledger::{By, Period, Reader};
use crate::world::{System, World as _};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::path::Path;

pub(super) fn usage(args: &UsageArgs, config: Option<&Path>) -> Result<(), Failed> {
    let told = Told::of(&asked(args, config)?)?;
    let by = by(args.by).word();
    match args.format {
        UsageFormat::Json => print(&told.json())?,
        UsageFormat::Csv => print(&told.csv(by))?,
        UsageFormat::Table => {
            let terminal = Terminal::look();
            print(&told.table(by, terminal.room(), terminal.colour).join("\n"))?;
        }
    }
    told.notes().iter().for_each(|note| complain(note));
    Ok(())
}

/// The report's JSON: a running gateway's, which has the latest, else the file's.
fn asked(args: &UsageArgs, config: Option<&Path>) -> Result<String, Failed> {
    let mut path = format!("/api/usage?by={}", by(args.by).word());
    for (name, value) in [("&since=", &args.since), ("&until=", &args.until)] {
        if let Some(value) = value {
            path.extend([name, &online::encoded(value)]);
        }
    }
    let nobody = match online::ask(args.admin.admin.as_deref(), config, &path)? {
        Asked::Said(200, text) => return Ok(text),
        Asked::Said(status, text) => {
            let said: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
            return online::expect_ok(status, &said).map(|()| String::new());
        }
        Asked::Nobody(why) => why,
    };
    let (reader, file) = from_file(args.admin.admin.as_deref(), config, nobody)?;
    complain(&format!("no gateway answers; read from {file}"));
    let now_unix = System::start().unix_ms() / 1000;
    let period = Period::parse(args.since.as_deref(), args.until.as_deref(), now_unix)?;
    Ok(reader.usage(by(args.by), period)?.json(0))
}

/// The ledger that the configuration names, where no gateway was named that should have answered.
pub(super) fn from_file(
    admin: Option<&str>,
    config: Option<&Path>,
    nobody: Failed,
) -> Result<(Reader, String), Failed> {
    let entry = config.unwrap_or(Path::new(DEFAULT_CONFIG));
    let path = if admin.is_some() { None } else { config::ledger_path(entry, &FsSource) };
    let path = path.ok_or(nobody)?;
    Ok((Reader::open(&path)?, path.display().to_string()))
}

fn by(by: UsageBy) -> By {
    match by {
        UsageBy::Key => By::Key,
        UsageBy::Owner => By::Owner,
        UsageBy::Group => By::Group,
        UsageBy::Project => By::Project,
        UsageBy::Model => By::Model,
        UsageBy::Channel => By::Channel,
        UsageBy::Day => By::Day,
    }
}

/// A row's members, as they were written.
type Row = HashMap<String, Box<RawValue>>;

/// A report taken apart.
struct Told {
    raw_rows: Vec<Box<RawValue>>,
    rows: Vec<Row>,
    total: Row,
    since: String,
    truncated: bool,
    unwritten: u64,
}

impl Told {
    fn of(text: &str) -> Result<Self, Failed> {
        Self::parsed(text).map_err(|error| format!("the gateway's answer is no report of usage: {error}"))
    }

    fn parsed(text: &str) -> serde_json::Result<Self> {
        let all: Row = serde_json::from_str(text)?;
        let member = |name: &str| all.get(name).map_or("null", |raw| raw.get());
        let raw_rows: Vec<Box<RawValue>> = serde_json::from_str(member("rows"))?;
        let rows: serde_json::Result<Vec<Row>> =
            raw_rows.iter().map(|row| serde_json::from_str(row.get())).collect();
        Ok(Self {
            rows: rows?,
            raw_rows,
            total: serde_json::from_str(member("total"))?,
            since: serde_json::from_str(member("since"))?,
            truncated: serde_json::from_str(member("truncated"))?,
            unwritten: serde_json::from_str(member("unwritten"))?,
        })
    }

    fn json(&self) -> String {
        let rows: Vec<String> = self.raw_rows.iter().map(|row| format!("  {}", row.get())).collect();
        if rows.is_empty() { "[]".to_owned() } else { format!("[\n{}\n]", rows.join(",\n")) }
    }

    /// The rows alone: a total would be counted twice by whoever adds them up.
    fn csv(&self, by: &str) -> String {
        let header = format!("{by},{}", NUMBERS.join(","));
        let line = |row: &Row| {
            let numbers: Vec<&str> = NUMBERS.iter().map(|column| number(row, column)).collect();
            format!("{},{}", csv_cell(&name(row).unwrap_or_default()), numbers.join(","))
        };
        let lines: Vec<String> = std::iter::once(header).chain(self.rows.iter().map(line)).collect();
        lines.join("\n")
    }

    fn table(&self, by: &'static str, width: usize, colour: bool) -> Vec<String> {
        let digits = self.rows.iter().chain([&self.total]).map(|row| fraction(number(row, COST)).len());
        let digits = digits.max().unwrap_or(0);
        let cells = |name: &str, row: &Row, tone| {
            let cell = |column: &&str| match *column {
                COST => Cell::new(&padded(number(row, COST), digits), tone),
                other => Cell::new(number(row, other), tone),
            };
            std::iter::once(Cell::new(name, tone)).chain(NUMBERS.iter().map(cell)).collect::<Vec<Cell>>()
        };
        let named = |row: &Row| cells(name(row).as_deref().unwrap_or("-"), row, Tone::Plain);
        let rows: Vec<_> =
            self.rows.iter().map(named).chain([cells("total", &self.total, Tone::Strong)]).collect();
        let numbers = NUMBERS.iter().zip(SPARE).map(|(title, spare)| Column::number(title, spare));
        table(&std::iter::once(Column::name(by, 0)).chain(numbers).collect::<Vec<_>>(), &rows, width, colour)
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = vec![format!("since {}, in UTC", self.since)];
        if self.truncated {
            notes.push(format!("only the first {} rows; ask for a shorter period", self.rows.len()));
        }
        if self.unwritten > 0 {
            notes.push(format!(
                "{} exchanges are not in it: the ledger cannot be written now",
                self.unwritten
            ));
        }
        if number(&self.total, UNKNOWN) != "0" {
            let count = number(&self.total, UNKNOWN);
            notes.push(format!("the cost of {count} exchanges is not known and not in cost_usd"));
        }
        notes
    }
}

const COST: &str = "cost_usd";
const UNKNOWN: &str = "unknown_cost";
const NUMBERS: [&str; 8] =
    ["requests", "input", "output", "cache_read", "cache_write", "reasoning", COST, UNKNOWN];

/// What goes first where a terminal is too narrow; requests and dollars stay.
const SPARE: [u8; 8] = [0, 2, 1, 4, 5, 6, 0, 3];

/// `None`: none, such as the owner of a key that has none.
fn name(row: &Row) -> Option<String> {
    row.get("name").and_then(|raw| serde_json::from_str(raw.get()).ok())
}

fn number<'a>(row: &'a Row, column: &str) -> &'a str {
    row.get(column).map_or("0", |raw| raw.get())
}

fn fraction(amount: &str) -> &str {
    amount.split_once('.').map_or("", |(_, fraction)| fraction)
}

/// An amount with so many digits after its point, so that points stand below one another.
fn padded(amount: &str, digits: usize) -> String {
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    if digits == 0 { whole.to_owned() } else { format!("{whole}.{fraction:0<digits$}") }
}

/// Quoted where it must be; what a spreadsheet would take for a formula gets an apostrophe before it.
fn csv_cell(text: &str) -> String {
    let guarded =
        if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() };
    if guarded.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", guarded.replace('"', "\"\""))
    } else {
        guarded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"{"by":"model","since":"2026-11-01T00:00:00Z","until":null,"rows":[
        {"name":"gpt \"x\", y","requests":3,"input":1200,"output":20,"cache_read":0,"cache_write":0,"reasoning":0,
         "cost_usd":12345678.901234567,"unknown_cost":1},
        {"name":"=cmd|'/c'!A1","requests":1,"input":1,"output":2,"cache_read":3,"cache_write":4,"reasoning":5,
         "cost_usd":0.5,"unknown_cost":0},
        {"name":null,"requests":1,"input":0,"output":0,"cache_read":0,"cache_write":0,"reasoning":0,
         "cost_usd":0,"unknown_cost":0},
        {"name":"a\u001b[2J\n","requests":0,"input":0,"output":0,"cache_read":0,"cache_write":0,"reasoning":0,
         "cost_usd":0,"unknown_cost":0}],
        "total":{"requests":5,"input":1201,"output":22,"cache_read":3,"cache_write":4,"reasoning":5,
        "cost_usd":12345679.401234567,"unknown_cost":1},"truncated":true,"unwritten":2}"#;

    #[test]
    fn a_table_aligns_numbers_and_points_and_shows_no_control_characters() {
        let told = Told::of(REPORT).unwrap();
        let expected = [
            "model         requests  input  output  cache_read  cache_write  reasoning            cost_usd  unknown_cost",
            "gpt \"x\", y           3   1200      20           0            0          0  12345678.901234567             1",
            "=cmd|'/c'!A1         1      1       2           3            4          5         0.500000000             0",
            "-                    1      0       0           0            0          0         0.000000000             0",
            "a\u{fffd}[2J\u{fffd}               0      0       0           0            0          0         0.000000000             0",
            "total                5   1201      22           3            4          5  12345679.401234567             1",
        ];
        assert_eq!(told.table("model", usize::MAX, false), expected);
        let narrow = told.table("model", 50, true);
        assert!(narrow[0].contains("requests") && narrow[0].contains("cost_usd"), "{narrow:?}");
        assert!(!narrow[0].contains("reasoning") && narrow[5].starts_with("\u{1b}[1mtotal"), "{narrow:?}");
        assert_eq!(told.notes().len(), 4, "period, truncated, unwritten, unknown cost");
    }

    #[test]
    fn csv_is_quoted_and_holds_no_formula_and_json_keeps_every_digit() {
        let told = Told::of(REPORT).unwrap();
        let csv = told.csv("model");
        assert!(csv.starts_with(
            "model,requests,input,output,cache_read,cache_write,reasoning,cost_usd,unknown_cost\n"
        ));
        assert!(csv.contains("\n\"gpt \"\"x\"\", y\",3,1200,20,0,0,0,12345678.901234567,1\n"), "{csv}");
        assert!(csv.contains("\n'=cmd|'/c'!A1,1,"), "{csv}");
        assert!(csv.contains("\n,1,0,0,0,0,0,0,0\n"), "{csv}");
        for formula in ["=1", "+1", "-1", "@x", "\tx"] {
            assert!(csv_cell(formula).starts_with('\''), "{formula}");
        }
        assert!(told.json().contains("12345678.901234567"));
        assert!(Told::of("{}").is_err());
    }
}

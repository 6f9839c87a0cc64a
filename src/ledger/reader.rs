//! The reading side of the file: sums over a period, one exchange, what quotas begin with.
//!
//! Invariant: nothing is written. A reader sees what was committed when it asked, and keeps no writer waiting.

use super::period::{Period, rfc3339};
use super::row::Spent;
use super::schema;
use crate::price::decimal;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row as Found, params};
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::path::Path;

/// The open file.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
}

/// What usage is reported by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Key.
    Key,
    /// Who holds the key.
    Owner,
    /// Group.
    Group,
    /// What the key is for.
    Project,
    /// Model, as the provider was asked for it.
    Model,
    /// Channel.
    Channel,
    /// Day in UTC.
    Day,
}

impl By {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Key, Self::Owner, Self::Group, Self::Project, Self::Model, Self::Channel, Self::Day];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Owner => "owner",
            Self::Group => "group",
            Self::Project => "project",
            Self::Model => "model",
            Self::Channel => "channel",
            Self::Day => "day",
        }
    }

    /// The one of this word.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|by| by.word() == word)
    }

    fn expression(self) -> &'static str {
        match self {
            Self::Group => "group_name",
            Self::Day => "date(hour_unix, 'unixepoch')",
            other => other.word(),
        }
    }

    fn order(self) -> &'static str {
        if self == Self::Day { "1" } else { "9 DESC, 2 DESC, 1" }
    }
}

/// What a quota is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Keys by name.
    Key,
    /// Groups by name.
    Group,
    /// Projects by name.
    Project,
}

/// Usage over a period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What by.
    pub by: By,
    /// From when to when.
    pub period: Period,
    /// The dearest first; days in their order.
    pub rows: Vec<(Option<String>, Spent)>,
    /// Everything, also what is not listed.
    pub total: Spent,
    /// Whether there are more than [`ROWS_MAX`].
    pub truncated: bool,
}

/// More names than anybody reads; a program asks for shorter periods.
pub const ROWS_MAX: usize = 10_000;

const SUMS: &str = "sum(requests), sum(charged), sum(input), sum(output), sum(cache_read), sum(cache_write), \
                    sum(reasoning), sum(nano_usd), sum(unknown_cost)";

impl Reader {
    /// Opens the file of a gateway, whether it runs or not.
    pub fn open(path: &Path) -> Result<Self, String> {
        let opened = schema::open_to_read(path);
        Ok(Self { connection: opened.map_err(|fault| schema::explain(path, &fault))? })
    }

    /// The ledger's own name, which no other has.
    pub fn name(&self) -> Result<String, String> {
        let found = self.connection.query_row("SELECT name FROM identity", (), |row| row.get(0));
        found.map_err(|error| failed(&error))
    }

    /// Usage over a period.
    pub fn usage(&self, by: By, period: Period) -> Result<Report, String> {
        self.report(by, period).map_err(|error| failed(&error))
    }

    fn report(&self, by: By, period: Period) -> rusqlite::Result<Report> {
        let ends = params![number(period.since), period.until.map_or(i64::MAX, number)];
        let within = "FROM sums WHERE hour_unix >= ?1 AND hour_unix < ?2";
        // One transaction, so that the rows add up to the total.
        let read = self.connection.unchecked_transaction()?;
        let (name, order) = (by.expression(), by.order());
        let limit = ROWS_MAX + 1;
        let sql = format!("SELECT {name}, {SUMS} {within} GROUP BY 1 ORDER BY {order} LIMIT {limit}");
        let row = |found: &Found<'_>| {
            let name: String = found.get(0)?;
            Ok((Some(name).filter(|name| !name.is_empty()), spent(found, 1)?))
        };
        let mut rows = read.prepare(&sql)?.query_map(ends, row)?.collect::<rusqlite::Result<Vec<_>>>()?;
        let truncated = rows.len() > ROWS_MAX;
        rows.truncate(ROWS_MAX);
        let total = read.query_row(&format!("SELECT {SUMS} {within}"), ends, |found| spent(found, 0))?;
        Ok(Report { by, period, rows, total, truncated })
    }

    /// What was used since then by everybody of a scope who used something; cut down to whole hours.
    pub fn spent(&self, scope: Scope, since_unix: u64) -> Result<HashMap<String, Spent>, String> {
        let name = match scope {
            Scope::Key => "key",
            Scope::Group => "group_name",
            Scope::Project => "project",
        };
        let sql =
            format!("SELECT {name}, {SUMS} FROM sums WHERE hour_unix >= ?1 AND {name} <> '' GROUP BY 1");
        let since = number(super::row::hour(since_unix));
        let all = || -> rusqlite::Result<HashMap<String, Spent>> {
            let mut statement = self.connection.prepare(&sql)?;
            let found = statement.query_map([since], |found| Ok((found.get(0)?, spent(found, 1)?)))?;
            found.collect()
        };
        all().map_err(|error| failed(&error))
    }

    /// How many single exchanges there are.
    pub fn exchanges(&self) -> Result<u64, String> {
        let counted =
            self.connection.query_row("SELECT count(*) FROM exchange", (), |found| found.get::<_, i64>(0));
        counted.map(|count| u64::try_from(count).unwrap_or(0)).map_err(|error| failed(&error))
    }

    /// One exchange as JSON, with the access line's names for what is kept of it.
    pub fn exchange(&self, request_id: &str) -> Result<Option<String>, String> {
        let found = self
            .connection
            .query_row("SELECT * FROM exchange WHERE request_id = ?1", [request_id], Kept::of)
            .optional()
            .map_err(|error| failed(&error))?;
        found.map(|kept| serde_json::to_string(&kept).map_err(|error| error.to_string())).transpose()
    }
}

fn failed(error: &rusqlite::Error) -> String {
    format!("the ledger cannot be read: {error}")
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The sums from a column on; without a row there are none.
fn spent(found: &Found<'_>, from: usize) -> rusqlite::Result<Spent> {
    let mut spent = Spent::default();
    for (offset, sum) in spent.numbers_mut().into_iter().enumerate() {
        *sum = u64::try_from(found.get::<_, Option<i64>>(from + offset)?.unwrap_or(0)).unwrap_or(0);
    }
    Ok(spent)
}

impl Report {
    /// As JSON, a line for every row; `unwritten` is how many exchanges are not in it yet.
    pub fn json(&self, unwritten: u64) -> String {
        let text = |name: &str| serde_json::Value::from(name).to_string();
        let until = self.period.until.map_or("null".to_owned(), |until| text(&rfc3339(until)));
        let rows: Vec<String> = self
            .rows
            .iter()
            .map(|(name, spent)| {
                format!(
                    "    {}",
                    line(&format!("\"name\": {}, ", serde_json::Value::from(name.as_deref())), spent)
                )
            })
            .collect();
        let rows = if rows.is_empty() { "[]".to_owned() } else { format!("[\n{}\n  ]", rows.join(",\n")) };
        format!(
            "{{\n  \"by\": {},\n  \"since\": {},\n  \"until\": {until},\n  \"rows\": {rows},\n  \"total\": {},\n  \
             \"truncated\": {},\n  \"unwritten\": {unwritten}\n}}\n",
            text(self.by.word()),
            text(&rfc3339(self.period.since)),
            line("", &self.total),
            self.truncated,
        )
    }
}

/// One row; the total has no name.
fn line(name: &str, spent: &Spent) -> String {
    format!(
        "{{{}\"requests\": {}, \"input\": {}, \"output\": {}, \"cache_read\": {}, \"cache_write\": {}, \
         \"reasoning\": {}, \"cost_usd\": {}, \"unknown_cost\": {}}}",
        name,
        spent.requests,
        spent.input,
        spent.output,
        spent.cache_read,
        spent.cache_write,
        spent.reasoning,
        decimal::usd(spent.nanos),
        spent.unknown_cost,
    )
}

/// What is kept of one exchange, in the order of the access line.
#[derive(Serialize)]
struct Kept {
    ts: String,
    request_id: String,
    key: String,
    owner: Option<String>,
    project: Option<String>,
    group: String,
    model_requested: Option<String>,
    model_upstream: Option<String>,
    channel: String,
    attempts: Option<Box<RawValue>>,
    status: u16,
    code: Option<String>,
    stream: bool,
    duration_ms: u64,
    tokens: Tokens,
    usage_source: String,
    cost_usd: Option<Box<RawValue>>,
    charged: bool,
    end: String,
    api: String,
    bill: String,
    /// Says why the other fields are missing.
    from: &'static str,
}

#[derive(Serialize)]
struct Tokens {
    input: u64,
    output: u64,
    cache_read: u64,
    cache_write: u64,
    reasoning: u64,
}

impl Kept {
    fn of(found: &Found<'_>) -> rusqlite::Result<Self> {
        let count =
            |name: &str| Ok::<_, rusqlite::Error>(u64::try_from(found.get::<_, i64>(name)?).unwrap_or(0));
        let nanos = match found.get::<_, Value>("nano_usd")? {
            Value::Integer(nanos) => Some(u64::try_from(nanos).unwrap_or(0)),
            _ => None,
        };
        let unix_ms = count("ts_unix_ms")?;
        Ok(Self {
            ts: rfc3339(unix_ms / 1000).replace('Z', &format!(".{:03}Z", unix_ms % 1000)),
            request_id: found.get("request_id")?,
            key: found.get("key")?,
            owner: found.get("owner")?,
            project: found.get("project")?,
            group: found.get("group_name")?,
            model_requested: found.get("model_requested")?,
            model_upstream: found.get("model_upstream")?,
            channel: found.get("channel")?,
            attempts: RawValue::from_string(found.get("attempts")?).ok(),
            status: found.get("status")?,
            code: found.get("code")?,
            stream: found.get("stream")?,
            duration_ms: count("duration_ms")?,
            tokens: Tokens {
                input: count("input")?,
                output: count("output")?,
                cache_read: count("cache_read")?,
                cache_write: count("cache_write")?,
                reasoning: count("reasoning")?,
            },
            usage_source: found.get("usage_source")?,
            cost_usd: nanos.and_then(|nanos| RawValue::from_string(decimal::usd(nanos)).ok()),
            charged: found.get("charged")?,
            end: found.get("end")?,
            api: found.get("api")?,
            bill: found.get("bill")?,
            from: "ledger",
        })
    }
}

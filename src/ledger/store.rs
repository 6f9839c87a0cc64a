//! The writing side of the file.
//!
//! Invariant: one call, one transaction. An exchange whose id is there already, or a fold whose name is, changes
//! nothing, so that a write whose outcome is not known can be repeated.

use super::Row;
use super::fold::Fold;
use super::row::{Spent, SumKey};
use super::schema::{self, Fault};
use crate::id::ExchangeId;
use rusqlite::{Connection, Result, Transaction, TransactionBehavior, params};
use std::collections::HashMap;
use std::path::Path;

/// The open file.
#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
}

impl Store {
    pub(super) fn open(path: &Path) -> std::result::Result<Self, Fault> {
        Ok(Self { connection: schema::open(path)? })
    }

    /// Writes exchanges and a fold, all or none of them.
    pub(super) fn write(&mut self, rows: &[Row], fold: Option<&Fold>) -> Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut sums: HashMap<SumKey, Spent> = HashMap::new();
        for row in rows {
            if insert(&transaction, row)? {
                sums.entry(SumKey::of(row)).or_default().add(&Spent::of(row));
            }
        }
        add(&transaction, &sums)?;
        if let Some(Fold { name: Some(name), sums, .. }) = fold {
            let mut statement = transaction.prepare_cached("INSERT OR IGNORE INTO fold VALUES (?1)")?;
            if statement.execute([name.as_str()])? == 1 {
                add(&transaction, sums)?;
            }
        }
        transaction.commit()
    }

    /// Deletes some of the exchanges that began before then; `true`: there may be more of them.
    pub(super) fn forget(&mut self, unix_ms: u64) -> Result<bool> {
        let before = ExchangeId::from_parts(unix_ms, [0; 10]);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let gone = transaction
            .prepare_cached(
                "DELETE FROM exchange WHERE request_id IN (SELECT request_id FROM exchange \
                 WHERE request_id < ?1 ORDER BY request_id LIMIT ?2)",
            )?
            .execute(params![before.as_str(), FORGET_ROWS])?;
        transaction.prepare_cached("DELETE FROM fold WHERE name < ?1")?.execute([before.as_str()])?;
        transaction.commit()?;
        Ok(gone >= FORGET_ROWS as usize)
    }

    /// The page limit stands in for a full disk.
    #[cfg(test)]
    pub(super) fn limit_pages(&self, pages: u32) {
        self.connection
            .pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0))
            .unwrap();
    }
}

/// So many go in one transaction of some milliseconds, between which the booked ones are written.
const FORGET_ROWS: u32 = 2_000;

/// Whether it was not there yet.
fn insert(transaction: &Transaction<'_>, row: &Row) -> Result<bool> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO exchange VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, \
         ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25) ON CONFLICT (request_id) DO NOTHING",
    )?;
    // Words and numbers written to memory: nothing in it can fail.
    let attempts = serde_json::to_string(&row.attempts).unwrap_or_default();
    let inserted = statement.execute(params![
        row.request_id.as_str(),
        number(row.ts_unix_ms),
        number(row.duration_ms),
        row.key.as_str(),
        row.owner,
        row.project,
        row.group.as_str(),
        row.api,
        row.model_requested.as_deref(),
        row.model_upstream.as_deref(),
        row.channel.as_str(),
        attempts,
        row.stream,
        row.status,
        row.code,
        row.end,
        number(row.usage.input),
        number(row.usage.output),
        number(row.usage.cache_read),
        number(row.usage.cache_write),
        number(row.usage.reasoning),
        row.usage_source,
        row.nanos.map(number),
        row.charged,
        row.bill,
    ])?;
    Ok(inserted == 1)
}

/// Adds to the sums; one that is as large as it can be stays there.
fn add(transaction: &Transaction<'_>, sums: &HashMap<SumKey, Spent>) -> Result<()> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO sums VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16) \
         ON CONFLICT DO UPDATE SET \
         requests = min(requests + excluded.requests, 9223372036854775807), \
         charged = min(charged + excluded.charged, 9223372036854775807), \
         input = min(input + excluded.input, 9223372036854775807), \
         output = min(output + excluded.output, 9223372036854775807), \
         cache_read = min(cache_read + excluded.cache_read, 9223372036854775807), \
         cache_write = min(cache_write + excluded.cache_write, 9223372036854775807), \
         reasoning = min(reasoning + excluded.reasoning, 9223372036854775807), \
         nano_usd = min(nano_usd + excluded.nano_usd, 9223372036854775807), \
         unknown_cost = min(unknown_cost + excluded.unknown_cost, 9223372036854775807)",
    )?;
    for (key, sum) in sums {
        let [requests, charged, input, output, cache_read, cache_write, reasoning, nanos, unknown] =
            sum.numbers().map(number);
        statement.execute(params![
            number(key.hour_unix),
            key.key.as_str(),
            key.owner,
            key.project,
            key.group.as_str(),
            key.model,
            key.channel.as_str(),
            requests,
            charged,
            input,
            output,
            cache_read,
            cache_write,
            reasoning,
            nanos,
            unknown,
        ])?;
    }
    Ok(())
}

/// SQLite's integers are signed; what is larger is as large as they get.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

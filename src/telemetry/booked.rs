//! A record as the ledger books it.
//!
//! Invariant: what is booked was tried at a provider for a known key. What we refused costs nobody anything and is
//! in the access log, so that a flood of refusals does not become a flood of disk writes.

use crate::ledger::{Attempt, Row};
use crate::record::{AttemptRecord, Record, Text};

/// The row; `None`: there is nothing to book.
pub(super) fn row(record: &Record) -> Option<Row> {
    let key = record.key.as_ref()?;
    let channel = record.channel.clone().filter(|_| !record.attempts.is_empty())?;
    Some(Row {
        request_id: record.request_id.clone(),
        ts_unix_ms: record.ts_unix_ms,
        duration_ms: millis(record.duration),
        key: key.id.clone(),
        owner: key.owner.clone(),
        project: key.project.clone(),
        group: key.group.clone(),
        api: record.api(),
        model_requested: text(record.model_requested.as_ref()),
        model_upstream: text(record.model_upstream.as_ref()),
        channel,
        attempts: record.attempts.iter().map(attempt).collect(),
        stream: record.stream,
        status: record.status,
        code: record.code.map(crate::code::Code::word),
        end: record.end.word(),
        usage: record.usage,
        usage_source: record.usage_source.word(),
        nanos: record.cost.nanos(),
        charged: record.is_counted(),
        bill: record.bill().word(),
    })
}

fn attempt(attempt: &AttemptRecord) -> Attempt {
    Attempt {
        channel: attempt.channel.clone(),
        status: attempt.status,
        code: attempt.failure.map(|failure| failure.code.word()),
        ms: millis(attempt.took),
        reason: attempt.failure.map(|failure| failure.reason),
    }
}

fn text<const CHARS_MAX: usize>(text: Option<&Text<CHARS_MAX>>) -> Option<Box<str>> {
    text.map(|text| text.as_str().into())
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

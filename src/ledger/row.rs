//! What is booked of an exchange, and what is summed.
//!
//! Invariant: no prompt, no answer, no address of a client and no part of a credential has a place here.

use crate::id::{ChannelId, ExchangeId, GroupId, KeyId};
use crate::usage::Usage;

/// One exchange that was tried at a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its id: in the ledger once at most.
    pub request_id: ExchangeId,
    /// When it began, in Unix milliseconds; the hour it is summed under.
    pub ts_unix_ms: u64,
    /// How long it took.
    pub duration_ms: u64,
    /// The key.
    pub key: KeyId,
    /// Who holds it.
    pub owner: Option<String>,
    /// What it is for.
    pub project: Option<String>,
    /// The group that bears the cost.
    pub group: GroupId,
    /// The operation's word.
    pub api: &'static str,
    /// What the client said.
    pub model_requested: Option<Box<str>>,
    /// What the last attempt sent.
    pub model_upstream: Option<Box<str>>,
    /// The channel of the last attempt.
    pub channel: ChannelId,
    /// Every attempt, in order.
    pub attempts: Vec<Attempt>,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// The status the client got.
    pub status: u16,
    /// Our word, where it did not end with the provider's own answer.
    pub code: Option<&'static str>,
    /// How it ended.
    pub end: &'static str,
    /// Counted tokens.
    pub usage: Usage,
    /// Who counted them.
    pub usage_source: &'static str,
    /// Nano-dollars; `None`: not known.
    pub nanos: Option<u64>,
    /// Whether a provider bills for it.
    pub charged: bool,
    /// What became of its cost, in one word.
    pub bill: &'static str,
}

/// One try at one channel.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Attempt {
    /// Where.
    #[serde(serialize_with = "name")]
    pub channel: ChannelId,
    /// The provider's status, where there was one.
    pub status: Option<u16>,
    /// What went wrong, where something did.
    pub code: Option<&'static str>,
    /// How long it took.
    pub ms: u64,
    /// The finer word for what went wrong.
    pub reason: Option<&'static str>,
}

fn name<S: serde::Serializer>(channel: &ChannelId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(channel.as_str())
}

/// What exchanges are summed by; where something is not known the text is empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct SumKey {
    pub(super) hour_unix: u64,
    pub(super) key: KeyId,
    pub(super) owner: String,
    pub(super) project: String,
    pub(super) group: GroupId,
    /// As the provider was asked for it: that is what has a price.
    pub(super) model: String,
    pub(super) channel: ChannelId,
}

impl SumKey {
    pub(super) fn of(row: &Row) -> Self {
        Self {
            hour_unix: hour(row.ts_unix_ms / 1000),
            key: row.key.clone(),
            owner: row.owner.clone().unwrap_or_default(),
            project: row.project.clone().unwrap_or_default(),
            group: row.group.clone(),
            model: row.model_upstream.as_deref().unwrap_or_default().to_owned(),
            channel: row.channel.clone(),
        }
    }
}

/// A sum over exchanges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// Exchanges that were tried at a provider.
    pub requests: u64,
    /// Those of them that a provider bills for.
    pub charged: u64,
    /// Prompt tokens that were neither read from nor written to a cache.
    pub input: u64,
    /// Tokens of the answers.
    pub output: u64,
    /// Prompt tokens read from a cache.
    pub cache_read: u64,
    /// Prompt tokens written to a cache.
    pub cache_write: u64,
    /// The part of the output that was reasoning.
    pub reasoning: u64,
    /// Nano-dollars.
    pub nanos: u64,
    /// Exchanges that somebody bills for and whose cost is not known.
    pub unknown_cost: u64,
}

impl Spent {
    pub(super) fn of(row: &Row) -> Self {
        Self {
            requests: 1,
            charged: u64::from(row.charged),
            input: row.usage.input,
            output: row.usage.output,
            cache_read: row.usage.cache_read,
            cache_write: row.usage.cache_write,
            reasoning: row.usage.reasoning,
            nanos: row.nanos.unwrap_or(0),
            unknown_cost: u64::from(row.nanos.is_none()),
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (sum, more) in self.numbers_mut().into_iter().zip(other.numbers()) {
            *sum = sum.saturating_add(more);
        }
    }

    /// Tokens, each counted once.
    pub fn tokens(&self) -> u64 {
        let parts = [self.input, self.output, self.cache_read, self.cache_write];
        parts.into_iter().fold(0, u64::saturating_add)
    }

    /// In the order of the columns.
    pub(super) fn numbers(&self) -> [u64; 9] {
        [
            self.requests,
            self.charged,
            self.input,
            self.output,
            self.cache_read,
            self.cache_write,
            self.reasoning,
            self.nanos,
            self.unknown_cost,
        ]
    }

    pub(super) fn numbers_mut(&mut self) -> [&mut u64; 9] {
        [
            &mut self.requests,
            &mut self.charged,
            &mut self.input,
            &mut self.output,
            &mut self.cache_read,
            &mut self.cache_write,
            &mut self.reasoning,
            &mut self.nanos,
            &mut self.unknown_cost,
        ]
    }
}

/// The beginning of the hour.
pub(super) fn hour(unix: u64) -> u64 {
    unix - unix % HOUR
}

pub(super) const HOUR: u64 = 3600;

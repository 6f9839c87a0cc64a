//! The facts of one finished exchange: what is logged, counted and shown to support. Nothing else is.
//!
//! Invariant: a record has no place for a prompt, an answer, a header's value (but the labels the operator
//! asked for) or a whole credential. Everything a client or a provider wrote into it is a [`Text`], bounded by
//! its type, or an [`Excerpt`], which is also scrubbed of credentials. A [`Path`] has no query.

pub mod losses;
mod span;
mod text;

pub use losses::Losses;
pub use span::{Answered, Span};
pub use text::{Excerpt, Path, Text};

use crate::code::Code;
use crate::failure::Failure;
use crate::id::{ChannelId, ExchangeId, GroupId, KeyId, ProfileId, TraceId};
use crate::protocol::{Dialect, Operation, Protocol};
use crate::usage::{Usage, UsageSource};
use std::net::IpAddr;
use std::time::Duration;

/// One finished exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When it began, in Unix milliseconds.
    pub ts_unix_ms: u64,
    /// Its id, as the client saw it.
    pub request_id: ExchangeId,
    /// The session it belongs to, where the configuration looks for one.
    pub trace_id: Option<TraceId>,
    /// Who called, as far as trusted proxies may say.
    pub client_ip: IpAddr,
    /// What the client calls itself.
    pub user_agent: Option<UserAgent>,
    /// The address family it came in by.
    pub dialect: Dialect,
    /// What it asked for; `None`: no operation at this address.
    pub operation: Option<Operation>,
    /// The path as received.
    pub path: Path,
    /// The key, once identified.
    pub key: Option<KeyFacts>,
    /// What the client said.
    pub model_requested: Option<ModelName>,
    /// What the last attempt sent.
    pub model_upstream: Option<ModelName>,
    /// The channel of the last attempt.
    pub channel: Option<ChannelId>,
    /// Every try at a channel, in order; empty: nothing was sent.
    pub attempts: Vec<AttemptRecord>,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// The status the client got; 499 where it left before one.
    pub status: u16,
    /// Our word, where it did not end with the provider's own answer.
    pub code: Option<Code>,
    /// The limit that was hit (`rpm`, `concurrency` …), where one was.
    pub limit_hit: Option<&'static str>,
    /// Body bytes read from the client.
    pub bytes_in: u64,
    /// Body bytes written to the client.
    pub bytes_out: u64,
    /// From the first byte of the request to the end.
    pub duration: Duration,
    /// From the first byte of the request to the first byte of the answer.
    pub ttfb: Option<Duration>,
    /// The part of it that was ours.
    pub overhead: Overhead,
    /// How long it waited for a place at a full channel; `None`: it did not.
    pub queued: Option<Duration>,
    /// Counted tokens.
    pub usage: Usage,
    /// Who counted them.
    pub usage_source: UsageSource,
    /// What that costs.
    pub cost: Cost,
    /// Whether a provider is known or estimated to bill for it.
    pub charged: bool,
    /// The key's cap on answers, where it was written into the request.
    pub output_cap: Option<u64>,
    /// The session id as the client's tool sent it.
    pub session_id: Option<SessionId>,
    /// Request headers the operator asked to see.
    pub labels: Labels,
    /// How it ended.
    pub end: End,
    /// What the provider wrote when it refused: for the log only.
    pub upstream_error: Option<Excerpt>,
    /// What translation could not carry over.
    pub losses: Losses,
    /// How many of a million like it are written to the access log: what it weighs there.
    pub sample_rate: u32,
    /// Its place in a trace that spans programs, where traces are configured.
    pub span: Option<Box<Span>>,
}

impl Record {
    /// The `api` label: the operation's word, or `unknown`.
    pub fn api(&self) -> &'static str {
        self.operation.map_or("unknown", Operation::api)
    }

    /// Whether it is one of the requests that are counted: those that somebody bills for. A look that shows what a response
    /// has used is none beside the one that made it.
    pub fn is_counted(&self) -> bool {
        self.charged && self.operation != Some(Operation::Response)
    }

    /// Whether anybody bills for it, and how the amount is known.
    pub fn bill(&self) -> Bill {
        let was_sent = |attempt: &AttemptRecord| attempt.failure.is_none_or(|failure| failure.was_sent);
        if !self.attempts.iter().any(was_sent) {
            Bill::NothingSent
        } else if !self.charged {
            Bill::NotBilled
        } else if self.cost.nanos().is_none() {
            Bill::Unknown
        } else if self.usage_source == UsageSource::Reported {
            Bill::Reported
        } else {
            Bill::Estimated
        }
    }
}

/// What may be said about a key, all known at once when it is identified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFacts {
    /// Its name.
    pub id: KeyId,
    /// Its last four characters: there is no room for more.
    pub last4: Text<4>,
    /// Who holds it.
    pub owner: Option<String>,
    /// What it is for.
    pub project: Option<String>,
    /// The group that bears its cost.
    pub group: GroupId,
    /// Its active profile.
    pub profile: Option<ProfileId>,
}

/// One try at one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRecord {
    /// Where.
    pub channel: ChannelId,
    /// The model's name as it was sent.
    pub model_upstream: Option<ModelName>,
    /// The provider's status, where there was one.
    pub status: Option<u16>,
    /// What went wrong, where something did.
    pub failure: Option<AttemptFailure>,
    /// When it began, counted from the exchange's beginning.
    pub began: Duration,
    /// From choosing the channel to its end.
    pub took: Duration,
    /// The connection it went over.
    pub over: Over,
    /// Time to a new connection, TLS included.
    pub connect: Option<Duration>,
    /// How many blocks of thinking that another provider signed it was not sent.
    pub thinking_stripped: u32,
    /// Whether it was asked for the usage of the stream, which the client did not ask for.
    pub usage_asked: bool,
    /// What it was asked in, where that is not what the client speaks.
    pub translated: Option<Protocol>,
}

/// The connection an attempt went over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// One made for it.
    New,
    /// One that was open already.
    Kept,
    /// One made for it after another had lost the request unread: it was sent once more.
    Second,
}

/// A failed attempt in two closed words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptFailure {
    /// The word in the log.
    pub code: Code,
    /// The finer word in `failovers_total`.
    pub reason: &'static str,
    /// Whether the request was sent all the same, as far as can be known.
    pub was_sent: bool,
}

impl From<&Failure> for AttemptFailure {
    fn from(failure: &Failure) -> Self {
        Self { code: failure.code(), reason: failure.reason(), was_sent: failure.was_sent() }
    }
}

/// Time we added, apart from waiting for the client or the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Overhead {
    /// From the whole request read to the attempt begun.
    pub request: Duration,
    /// From the provider's bytes read to the client's bytes written.
    pub response: Duration,
}

impl Overhead {
    /// Both together.
    pub fn total(&self) -> Duration {
        self.request.saturating_add(self.response)
    }
}

/// What an exchange cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cost {
    /// Nobody bills for it.
    #[default]
    Nothing,
    /// So many nano-dollars.
    Known(u64),
    /// Somebody bills for it, and how many tokens is not known.
    NoUsage,
    /// The tokens are known, and what the model costs is not.
    NoPrice,
}

impl Cost {
    /// Nano-dollars; `None`: not known, which is something else than nothing.
    pub fn nanos(self) -> Option<u64> {
        match self {
            Self::Nothing => Some(0),
            Self::Known(nanos) => Some(nanos),
            Self::NoUsage | Self::NoPrice => None,
        }
    }
}

/// Whether anybody bills for an exchange, and how the amount is known: what support is asked first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bill {
    /// No provider was sent anything.
    NothingSent,
    /// Providers were sent the request, and do not bill what came of it: an error, a count of tokens, a file.
    NotBilled,
    /// The provider counted, and the price is known.
    Reported,
    /// We counted, and the price is known.
    Estimated,
    /// Somebody bills for it; how much is not known.
    Unknown,
}

impl Bill {
    /// The word in the access log.
    pub fn word(self) -> &'static str {
        match self {
            Self::NothingSent => "nothing_sent",
            Self::NotBilled => "not_billed",
            Self::Reported => "reported",
            Self::Estimated => "estimated",
            Self::Unknown => "unknown",
        }
    }
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// With the provider's own answer, its 4xx included.
    Ok,
    /// We said no.
    Refused,
    /// No attempt succeeded.
    Failed,
    /// The provider cut the stream after content.
    StreamTruncated,
    /// The provider went silent after content.
    StreamIdleTimeout,
    /// The client left first.
    ClientClosed,
    /// We stopped, and the grace period was over.
    Drained,
}

impl End {
    /// The word in the access log.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::StreamTruncated => "stream_truncated",
            Self::StreamIdleTimeout => "stream_idle_timeout",
            Self::ClientClosed => "client_closed",
            Self::Drained => "drained",
        }
    }
}

/// The request headers of `[log] labels`, in the operator's order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels(Vec<(Text<64>, Text<128>)>);

impl Labels {
    /// Adds a header; past [`LABELS_MAX`] it is left out.
    pub fn push(&mut self, name: &str, value: &str) {
        if self.0.len() < LABELS_MAX {
            self.0.push((Text::new(name), Text::new(value)));
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// More labels than this belong into the client's own log.
pub const LABELS_MAX: usize = 16;

/// Long enough for every client's product list, too short for a page of text.
pub type UserAgent = Text<256>;

/// Long enough for every published model name.
pub type ModelName = Text<128>;

/// Long enough for a UUID with a prefix, or a hash.
pub type SessionId = Text<128>;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::failure::{FailureKind, Sent};

    /// A failed-over, streamed chat with everything filled in.
    pub(crate) fn sample() -> Record {
        let mut labels = Labels::default();
        labels.push("x-team", "search");
        Record {
            ts_unix_ms: 1_763_683_200_123,
            request_id: ExchangeId::new("req_01"),
            trace_id: Some(TraceId::new("trace-1")),
            client_ip: IpAddr::from([10, 0, 0, 7]),
            user_agent: Some(Text::new("OpenAI/Python 3.52.0")),
            dialect: Dialect::OpenAi,
            operation: Some(Operation::ChatCompletions),
            path: Path::received("/v1/chat/completions"),
            key: Some(key_facts("alice-laptop")),
            model_requested: Some(Text::new("gpt-4.1")),
            model_upstream: Some(Text::new("gpt-4.1-2025-04-14")),
            channel: Some(ChannelId::new("second")),
            attempts: vec![failed_attempt(), good_attempt()],
            stream: true,
            status: 200,
            code: None,
            limit_hit: None,
            bytes_in: 2_048,
            bytes_out: 9_000,
            duration: Duration::from_micros(1_234_567),
            ttfb: Some(Duration::from_micros(345_600)),
            overhead: Overhead { request: Duration::from_micros(80), response: Duration::from_micros(41) },
            queued: Some(Duration::from_micros(7_500)),
            usage: Usage {
                input: 100,
                output: 20,
                cache_read: 50,
                cache_write: 5,
                reasoning: 7,
                ..Usage::default()
            },
            usage_source: UsageSource::Reported,
            cost: Cost::Known(1_234_500),
            charged: true,
            output_cap: Some(4_096),
            session_id: Some(Text::new("5f0c")),
            labels,
            end: End::Ok,
            losses: Losses::default(),
            sample_rate: 1_000_000,
            upstream_error: None,
            span: None,
        }
    }

    pub(crate) fn key_facts(name: &str) -> KeyFacts {
        KeyFacts {
            id: KeyId::new(name),
            last4: Text::new("3x9q"),
            owner: Some("alice".to_owned()),
            project: None,
            group: GroupId::new("team-a"),
            profile: Some(ProfileId::new("economy")),
        }
    }

    fn failed_attempt() -> AttemptRecord {
        let failure = Failure::new(FailureKind::Connect, Sent::NotBegun, "connection refused");
        AttemptRecord {
            channel: ChannelId::new("first"),
            model_upstream: Some(Text::new("gpt-4.1")),
            status: None,
            failure: Some(AttemptFailure::from(&failure)),
            began: Duration::from_micros(400),
            took: Duration::from_millis(3),
            over: Over::New,
            connect: None,
            thinking_stripped: 0,
            usage_asked: true,
            translated: None,
        }
    }

    fn good_attempt() -> AttemptRecord {
        AttemptRecord {
            channel: ChannelId::new("second"),
            model_upstream: Some(Text::new("gpt-4.1-2025-04-14")),
            status: Some(200),
            failure: None,
            began: Duration::from_millis(4),
            took: Duration::from_micros(1_230_500),
            over: Over::Kept,
            connect: None,
            thinking_stripped: 2,
            usage_asked: true,
            translated: None,
        }
    }

    #[test]
    fn a_record_without_an_operation_counts_as_unknown() {
        let record = Record { operation: None, ..sample() };
        assert_eq!((record.api(), sample().api()), ("unknown", "chat"));
    }

    #[test]
    fn labels_past_the_bound_are_left_out_and_values_are_cut() {
        let mut labels = Labels::default();
        for _ in 0..LABELS_MAX + 5 {
            labels.push("team", &"v".repeat(1_000));
        }
        assert_eq!(labels.iter().count(), LABELS_MAX);
        assert!(labels.iter().all(|(_, value)| value.chars().count() == 128));
    }
}

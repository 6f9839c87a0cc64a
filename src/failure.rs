//! How an attempt at an upstream went wrong: for the decision whether another channel may try.
//!
//! Three axes, kept apart because they are decided by different facts: what happened (`kind`), whose fault
//! it is (the channel's health is only touched by its own), and whether the request may be sent again
//! (`sent`: an operation that creates something is not repeated once the provider may have begun it).

use crate::code::Code;
use std::time::Duration;

/// One attempt that went wrong before a byte of its answer reached the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What happened.
    pub kind: FailureKind,
    /// The provider's status, where there was one.
    pub status: Option<u16>,
    /// What the provider asked us to wait (`retry-after`), where it did and the value makes sense.
    pub retry_after: Option<Duration>,
    /// How far the request had got.
    pub sent: Sent,
    /// For the operator's log: bounded, without secrets, never shown to the client.
    pub detail: String,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The name does not resolve.
    Dns,
    /// No connection: refused, unreachable, TLS.
    Connect,
    /// Connecting took longer than `connect_timeout`.
    ConnectTimeout,
    /// Closed or reset before a byte of the answer.
    Reset,
    /// The provider stopped reading the request.
    SendTimeout,
    /// No first byte in time.
    FirstByteTimeout,
    /// An answer that went silent before it was whole, and before a byte of it went down.
    IdleTimeout,
    /// Bytes that are not an HTTP answer, or a stream without an event.
    Garbage,
    /// 401: our credential is refused.
    Unauthorized,
    /// Nobody issued the access token that the provider asks for.
    NoToken,
    /// 403: our credential may not do this.
    Forbidden,
    /// 429.
    RateLimited,
    /// 503 or 529.
    Overloaded,
    /// Another 5xx, or a redirect, or an answer that makes no sense here.
    ServerError,
    /// A 4xx that is the operator's fault and no credential's: the provider does not serve this gateway at all.
    Refused,
    /// The account behind the credential cannot pay: 402, no balance, quota used up.
    Unpaid,
    /// The provider does not serve this model to this account: an unknown deployment, a mapping to nowhere.
    ModelRefused,
    /// The account cannot pay for this one request; smaller ones go on.
    Unaffordable,
    /// A 200 stream whose first event is an error.
    StreamError,
    /// A 200 stream whose first event says that the request is wrong.
    StreamRefused,
    /// A 400 about signed thinking in the conversation that can be sent again without it.
    Unverified,
    /// It cannot be sent like this to anybody: the client's own.
    Unfit,
    /// The request cannot be written in the channel's protocol.
    Untranslatable,
    /// A 4xx about the usage that we asked for, in a stream that can be asked for without.
    UsageRefused,
}

impl FailureKind {
    /// Whether it is about what we left in the request, or put there: the same channel is asked once more.
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Unverified | Self::UsageRefused)
    }
}

/// How far the request had got when the attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// The provider cannot have begun: nothing was sent, or its status refuses.
    NotBegun,
    /// The provider may have begun: the request was under way and no status came.
    MaybeBegun,
}

impl Failure {
    /// A failure without a status.
    pub fn new(kind: FailureKind, sent: Sent, detail: impl Into<String>) -> Self {
        Self { kind, status: None, retry_after: None, sent, detail: detail.into() }
    }

    /// The word in the log's attempt, the `failovers_total` metric, and the answer if no candidate is left.
    pub fn code(&self) -> Code {
        match self.kind {
            FailureKind::Dns | FailureKind::Connect | FailureKind::Reset | FailureKind::NoToken => {
                Code::UpstreamUnreachable
            }
            FailureKind::ConnectTimeout
            | FailureKind::SendTimeout
            | FailureKind::FirstByteTimeout
            | FailureKind::IdleTimeout => Code::UpstreamTimeout,
            FailureKind::Garbage
            | FailureKind::ServerError
            | FailureKind::StreamError
            | FailureKind::StreamRefused => Code::UpstreamError,
            FailureKind::Unauthorized | FailureKind::Forbidden => Code::UpstreamUnauthorized,
            FailureKind::RateLimited => Code::UpstreamRateLimited,
            FailureKind::Unfit => Code::InvalidRequest,
            FailureKind::Untranslatable => Code::UntranslatableRequest,
            FailureKind::Overloaded => Code::UpstreamOverloaded,
            FailureKind::Refused
            | FailureKind::Unpaid
            | FailureKind::ModelRefused
            | FailureKind::Unaffordable
            | FailureKind::Unverified
            | FailureKind::UsageRefused => Code::UpstreamRefused,
        }
    }

    /// Whether a byte of the request went up: without a connection none did.
    pub fn was_sent(&self) -> bool {
        use FailureKind::{Connect, ConnectTimeout, Dns, NoToken, Untranslatable};
        !matches!(self.kind, Dns | Connect | ConnectTimeout | NoToken | Untranslatable)
    }

    /// The `reason` label of `failovers_total`.
    pub fn reason(&self) -> &'static str {
        match self.kind {
            FailureKind::Dns => "dns",
            FailureKind::Connect => "connect",
            FailureKind::ConnectTimeout => "connect_timeout",
            FailureKind::Reset => "reset",
            FailureKind::SendTimeout => "send_timeout",
            FailureKind::FirstByteTimeout => "first_byte_timeout",
            FailureKind::IdleTimeout => "idle_timeout",
            FailureKind::Garbage => "garbage",
            FailureKind::Unauthorized => "unauthorized",
            FailureKind::NoToken => "no_token",
            FailureKind::Forbidden => "forbidden",
            FailureKind::RateLimited => "rate_limited",
            FailureKind::Overloaded => "overloaded",
            FailureKind::ServerError => "server_error",
            FailureKind::Refused => "refused",
            FailureKind::Unpaid => "unpaid",
            FailureKind::ModelRefused => "model_refused",
            FailureKind::Unaffordable => "unaffordable",
            FailureKind::StreamError => "stream_error",
            FailureKind::StreamRefused => "stream_refused",
            FailureKind::Unverified => "unverified_thinking",
            FailureKind::UsageRefused => "usage_refused",
            FailureKind::Untranslatable => "untranslatable",
            FailureKind::Unfit => "unfit",
        }
    }

    /// Whether the provider bills for it all the same: it had answered with success, and broke off. A stream
    /// without an event is no answer yet.
    pub fn is_billed(&self, stream: bool) -> bool {
        let broke_off = matches!(self.kind, FailureKind::Reset | FailureKind::IdleTimeout);
        let success = self.status.is_some_and(|status| (200..300).contains(&status));
        !stream && broke_off && success
    }

    /// Whether another candidate may be sent the same request. An operation that creates something
    /// (`creates`) is only repeated where the provider cannot have begun it.
    pub fn may_fail_over(&self, creates: bool) -> bool {
        self.kind != FailureKind::Unfit && (!creates || self.sent == Sent::NotBegun)
    }
}

//! One channel with one credential, tried out: what came of it, in the word that says who can mend it.
//!
//! Invariants: the connection is made as for an exchange (address, proxy, trust, deadlines); what is read of an answer
//! is bounded; nothing is counted, and the channel's health hears nothing of it.

use crate::config::snapshot::Channel;
use crate::failure::{Failure, FailureKind};
use crate::gateway::forward::Link;
use crate::gateway::peer::Upstream;
use crate::gateway::status;
use crate::gateway::wire::{AnswerHead, Lost, Wire};
use crate::protocol::Protocol;
use crate::protocol::fields::names::CONTENT_TYPE;
use crate::secret::Secret;
use crate::stage::rewrite::Outgoing;
use crate::stage::trial::Question;
use serde_json::Value;
use std::slice;
use std::time::Duration;
use tokio::time::timeout;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// In a word.
    pub verdict: Verdict,
    /// The provider's status, where there was one.
    pub status: Option<u16>,
    /// Time to a connection.
    pub connect: Option<Duration>,
    /// Time from sending the request to the first event, or to the end of a whole answer.
    pub first: Option<Duration>,
    /// The provider's words, bounded, without the credential.
    pub detail: String,
}

/// What came of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It answers.
    Ok,
    /// Its name does not resolve.
    Dns,
    /// The egress proxy says no.
    Proxy,
    /// No connection.
    Connect,
    /// A connection, and no trust.
    Tls,
    /// Nothing is at this path: the base URL is wrong.
    Path,
    /// Nobody issues the access token that the provider asks for.
    Token,
    /// The key is refused.
    Key,
    /// The model is not there, or not for this key.
    Model,
    /// The account cannot pay.
    Quota,
    /// Too many requests at the moment.
    RateLimit,
    /// It answers, later than it may.
    Slow,
    /// The provider refuses the request for another reason.
    Refused,
    /// The provider is in trouble.
    Provider,
}

impl Verdict {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Dns => "dns",
            Self::Proxy => "proxy",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Path => "path",
            Self::Token => "token",
            Self::Key => "key",
            Self::Model => "model",
            Self::Quota => "quota",
            Self::RateLimit => "rate_limit",
            Self::Slow => "slow",
            Self::Refused => "refused",
            Self::Provider => "provider",
        }
    }
}

/// Tries it; an answer that begins after `slow` is a slow one.
pub async fn trial(
    upstream: &Upstream,
    (channel, credential): (&Channel, &Secret),
    question: &Question,
    slow: Duration,
) -> Trial {
    let mut signed = None;
    if !channel.identities.is_empty() {
        match upstream.signed((channel, credential), &question.outgoing).await {
            Ok(made) => signed = Some(made),
            Err(failure) => return unsigned(&failure),
        }
    }
    let outgoing = signed.as_ref().map_or(&question.outgoing, |signed| &signed.outgoing);
    let mut link = Link::default();
    let wire = match upstream.connect((channel, credential), &mut link).await {
        Ok(wire) => wire,
        Err(failure) => return unreached(channel, &failure),
    };
    // Measured, so the clock is looked at before and behind.
    let began = upstream.world().now();
    let limit = if question.stream { channel.timeouts.first_byte } else { channel.timeouts.response };
    let limit = limit.min(slow.max(WAIT_MAX));
    let mut heard = Heard::default();
    let ended = timeout(limit, answer(wire, (question, outgoing), &mut heard)).await;
    let first = Duration::from_nanos(upstream.world().now().saturating_sub(began));
    let (found, detail) = concluded(channel, question, &heard, ended.ok());
    let verdict = if found == Verdict::Ok && first > slow { Verdict::Slow } else { found };
    let is_answer = matches!(verdict, Verdict::Ok | Verdict::Slow);
    let secrets = signed.as_ref().map_or(slice::from_ref(credential), |signed| &signed.secrets);
    let said = || one_line(&status::detail(&heard.body, secrets));
    Trial {
        verdict,
        status: heard.head.as_ref().map(|head| head.status.as_u16()),
        connect: link.connect,
        first: detail.is_empty().then_some(first),
        detail: if is_answer || !detail.is_empty() { detail } else { said() },
    }
}

/// What came of it, and our own words where the provider has none.
fn concluded(
    channel: &Channel,
    question: &Question,
    heard: &Heard,
    ended: Option<Result<(), Lost>>,
) -> (Verdict, String) {
    match (&heard.head, ended) {
        // What it refuses is said with the head, however the body goes on.
        (Some(head), _) if !head.status.is_success() => {
            (judged(channel, question, head, &heard.body), String::new())
        }
        (_, None) => (Verdict::Slow, "no answer in time".to_owned()),
        (_, Some(Err(lost))) => (Verdict::Provider, one_line(&lost.detail)),
        (Some(head), Some(Ok(()))) => (judged(channel, question, head, &heard.body), String::new()),
        (None, Some(Ok(()))) => (Verdict::Provider, "no answer".to_owned()),
    }
}

fn unsigned(failure: &Failure) -> Trial {
    let detail = one_line(&failure.detail);
    Trial { verdict: Verdict::Token, status: None, connect: None, first: None, detail }
}

fn unreached(channel: &Channel, failure: &Failure) -> Trial {
    let verdict = match failure.kind {
        _ if TLS_FAILURES.iter().any(|begin| failure.detail.starts_with(begin)) => Verdict::Tls,
        _ if channel.egress_proxy.is_some() => Verdict::Proxy,
        FailureKind::Dns => Verdict::Dns,
        _ => Verdict::Connect,
    };
    Trial { verdict, status: None, connect: None, first: None, detail: one_line(&failure.detail) }
}

/// What was read of an answer.
#[derive(Default)]
struct Heard {
    head: Option<AnswerHead>,
    body: Vec<u8>,
}

/// Asks, and reads as much of the answer as says how it is.
async fn answer(
    mut wire: Wire,
    (question, outgoing): (&Question, &Outgoing),
    heard: &mut Heard,
) -> Result<(), Lost> {
    wire.begin(outgoing)?;
    let mut head = match wire.sent_or_answered().await? {
        Some(head) => head,
        None => wire.head().await?,
    };
    let mut wire = wire.decoded(&mut head);
    let stream = question.stream && head.status.is_success();
    heard.head = Some(head);
    while heard.body.len() < READ_BYTES_MAX && !(stream && first_event(&heard.body).is_some()) {
        match wire.read().await? {
            Some(bytes) => heard.body.extend_from_slice(&bytes),
            None => break,
        }
    }
    Ok(())
}

/// The data of the first whole event.
fn first_event(body: &[u8]) -> Option<&[u8]> {
    let begin = memchr::memmem::find(body, b"data:")? + 5;
    let line = &body[begin..];
    let end = memchr::memchr2(b'\n', b'\r', line)?;
    Some(line[..end].trim_ascii())
}

fn judged(channel: &Channel, question: &Question, head: &AnswerHead, body: &[u8]) -> Verdict {
    let dialect = question.operation.protocol().map_or(channel.dialect, Protocol::dialect);
    let (code, model) = (head.status.as_u16(), question.model.as_deref());
    if head.status.is_success() {
        let kind = |event| status::stream_failure_kind(dialect, event, model);
        return match first_event(body).filter(|_| question.stream) {
            Some(event) if is_error(event) => of_kind(kind(event)),
            Some(_) => Verdict::Ok,
            // Some say in a body what others say in a status.
            None if is_error(body) => of_kind(kind(body)),
            None if !question.stream && serde_json::from_slice::<Value>(body).is_ok() => Verdict::Ok,
            None if is_page(head) => Verdict::Path,
            None => Verdict::Provider,
        };
    }
    // Somewhere else, said nicely.
    if head.status.is_redirection() {
        return Verdict::Path;
    }
    let about_model = || !is_page(head) && model.is_some_and(|model| names(body, model));
    let kind = match status::exception(&head.headers) {
        Some(exception) => status::aws_failure_kind(exception, code, body),
        None => status::failure_kind(dialect, code, body, model),
    };
    match (kind, code) {
        (Some(kind), _) => of_kind(kind),
        (None, 404) if about_model() => Verdict::Model,
        (None, 404 | 405) => Verdict::Path,
        (None, _) => Verdict::Refused,
    }
}

/// Whether this model is named there, and not as a part of another word.
fn names(body: &[u8], model: &str) -> bool {
    let goes_on = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    memchr::memmem::find_iter(body, model.as_bytes())
        .any(|at| !goes_on(body[..at].last()) && !goes_on(body.get(at + model.len())))
}

/// Whether an event says that something is wrong.
fn is_error(event: &[u8]) -> bool {
    let value: Value = serde_json::from_slice(event).unwrap_or_default();
    let value = value.get(0).unwrap_or(&value);
    let is_said = value.get("error").is_some_and(|error| !error.is_null());
    is_said || value["type"] == "error" || value["type"] == "response.failed"
}

/// A website where an API should be.
fn is_page(head: &AnswerHead) -> bool {
    head.headers.text(CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/html"))
}

fn of_kind(kind: FailureKind) -> Verdict {
    match kind {
        FailureKind::Unauthorized | FailureKind::Forbidden => Verdict::Key,
        FailureKind::Unpaid | FailureKind::Unaffordable => Verdict::Quota,
        FailureKind::RateLimited => Verdict::RateLimit,
        FailureKind::ModelRefused => Verdict::Model,
        FailureKind::Refused | FailureKind::StreamRefused => Verdict::Refused,
        _ => Verdict::Provider,
    }
}

fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(DETAIL_CHARS_MAX).collect()
}

const TLS_FAILURES: [&str; 3] = ["TLSHandshake", "InvalidCert", "TLSWantX509Lookup"];
/// Somebody sits before it; a long answer may take longer, "hi" may not.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// An error's words, or the events before the first with data.
const READ_BYTES_MAX: usize = 64 << 10;
const DETAIL_CHARS_MAX: usize = 300;

//! The spans of an exchange: one for what the client asked, and one for each attempt at a provider.
//!
//! Invariant: an attempt's id is the one that its provider was told, so that what the provider records hangs on it; tokens
//! are on the attempt that was answered and nowhere else, so that adding spans up counts nothing twice.

use super::attributes::{Attributes, operation_name};
use super::wire::{Span, SpanKind, Status, StatusCode};
use super::{Convention, Peer};
use crate::id::ChannelId;
use crate::protocol::Operation;
use crate::record::{Answered, AttemptRecord, End, KeyFacts, Over, Record, Span as Place, Text};
use crate::usage::UsageSource;
use http::Version;
use std::time::Duration;

/// A span, ready to be sent.
#[derive(Debug, Clone)]
pub struct SpanMessage(pub(super) Span);

/// The spans of an exchange; none where its trace is not recorded. `peer` says where a channel's attempts go.
pub fn spans<'a>(
    record: &Record,
    convention: Convention,
    peer: impl Fn(&ChannelId) -> Option<&'a Peer>,
) -> Vec<SpanMessage> {
    let Some(place) = record.span.as_deref().filter(|place| place.is_sampled()) else { return Vec::new() };
    let mut spans = Vec::with_capacity(1 + record.attempts.len());
    spans.push(SpanMessage(of_exchange(record, place)));
    for (at, attempt) in record.attempts.iter().enumerate() {
        let told = Told { record, place, at, attempt, peer: peer(&attempt.channel) };
        spans.push(SpanMessage(told.span(convention)));
    }
    spans
}

fn of_exchange(record: &Record, place: &Place) -> Span {
    let route = record.operation.map(Operation::route);
    let method = method(place);
    let mut attributes = Attributes::default();
    attributes.text("http.request.method", method);
    attributes.text("url.path", record.path.as_str());
    attributes.text("url.scheme", if place.secured { "https" } else { "http" });
    attributes.maybe("http.route", route);
    attributes.maybe("network.protocol.version", version(place.version));
    attributes.text("client.address", &record.client_ip.to_string());
    attributes.maybe("user_agent.original", record.user_agent.as_ref().map(Text::as_str));
    if record.status > 0 {
        attributes.whole("http.response.status_code", record.status);
    }
    attributes.maybe("gen_ai.operation.name", record.operation.and_then(operation_name));
    attributes.maybe("gen_ai.request.model", record.model_requested.as_ref().map(Text::as_str));
    conversation(record, &mut attributes);
    attributes.text("tollgate.request_id", record.request_id.as_str());
    attributes.text("tollgate.end", record.end.word());
    attributes.whole("tollgate.attempts", i64::try_from(record.attempts.len()).unwrap_or(i64::MAX));
    if let Some(key) = &record.key {
        of_key(key, &mut attributes);
    }
    if let Some(queued) = record.queued {
        attributes.number("tollgate.queued", queued.as_secs_f64());
    }
    let error = error_of_exchange(record);
    attributes.maybe("error.type", error.as_deref());
    let name = route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
    let start = nanos(record, Duration::ZERO);
    // A client's own mistake is no error of the server's: the conventions for HTTP leave its status unset.
    let failed = record.status >= 500 || !matches!(record.end, End::Ok | End::Refused);
    Span {
        parent_span_id: place.parent.map(|parent| parent.to_be_bytes().to_vec()).unwrap_or_default(),
        flags: flags(place, place.parent.is_some()),
        end_time_unix_nano: nanos(record, record.duration),
        ..span((place, place.id), (name, SpanKind::Server), start, (attributes, failed))
    }
}

fn of_key(key: &KeyFacts, attributes: &mut Attributes) {
    attributes.text("tollgate.key", key.id.as_str());
    attributes.text("tollgate.group", key.group.as_str());
    attributes.maybe("tollgate.owner", key.owner.as_deref());
    attributes.maybe("tollgate.project", key.project.as_deref());
    attributes.maybe("tollgate.profile", key.profile.as_ref().map(crate::id::ProfileId::as_str));
}

fn conversation(record: &Record, attributes: &mut Attributes) {
    let session = record.session_id.as_ref().map(Text::as_str);
    attributes.maybe("gen_ai.conversation.id", session);
    attributes.maybe("session.id", session);
}

/// What is known of an attempt.
struct Told<'a> {
    record: &'a Record,
    place: &'a Place,
    at: usize,
    attempt: &'a AttemptRecord,
    peer: Option<&'a Peer>,
}

impl Told<'_> {
    fn span(&self, convention: Convention) -> Span {
        let Self { record, place, at, attempt, peer } = self;
        let operation = record.operation.and_then(operation_name);
        let model = attempt.model_upstream.as_ref().map(Text::as_str);
        let mut attributes = Attributes::default();
        attributes.maybe("gen_ai.operation.name", operation);
        if let Some(Peer { kind, host, port }) = peer {
            attributes.text(convention.provider_key(), convention.provider(kind));
            attributes.text("server.address", host);
            attributes.whole("server.port", *port);
        }
        attributes.maybe("gen_ai.request.model", model);
        conversation(record, &mut attributes);
        attributes.text("http.request.method", method(place));
        if let Some(status) = attempt.status {
            attributes.whole("http.response.status_code", status);
        }
        if *at > 0 {
            attributes.whole("http.request.resend_count", i64::try_from(*at).unwrap_or(i64::MAX));
        }
        attributes.text("tollgate.channel", attempt.channel.as_str());
        attributes.flag("tollgate.connection.reused", attempt.over == Over::Kept);
        attributes.maybe("tollgate.failure", attempt.failure.map(|failure| failure.reason));
        attributes.maybe("tollgate.translated", attempt.translated.map(crate::protocol::Protocol::word));
        if self.is_answer() {
            self.answer(convention, &mut attributes);
        }
        let error = error_of_attempt(record, (*at, attempt));
        attributes.maybe("error.type", error.as_deref());
        let words: Vec<&str> = operation.or(Some(record.api())).into_iter().chain(model).collect();
        let start = nanos(record, attempt.began);
        Span {
            parent_span_id: place.id.to_be_bytes().to_vec(),
            flags: flags(place, false),
            end_time_unix_nano: nanos(record, attempt.began.saturating_add(attempt.took)),
            ..span(
                (place, place.of_attempt(*at)),
                (words.join(" "), SpanKind::Client),
                start,
                (attributes, error.is_some()),
            )
        }
    }

    /// Whether the client's answer is this one's.
    fn is_answer(&self) -> bool {
        self.at + 1 == self.record.attempts.len() && self.attempt.failure.is_none()
    }

    fn answer(&self, convention: Convention, attributes: &mut Attributes) {
        let Self { record, attempt, place, .. } = self;
        let Answered { model, finishes } = &place.answered;
        attributes.maybe("gen_ai.response.model", model.as_ref().map(Text::as_str));
        attributes.texts("gen_ai.response.finish_reasons", finishes.iter().map(Text::as_str));
        let is_latest = convention == Convention::V1_41;
        if is_latest && record.stream {
            attributes.flag("gen_ai.request.stream", true);
            if let Some(first) = record.ttfb {
                let first = first.saturating_sub(attempt.began);
                attributes.number("gen_ai.response.time_to_first_chunk", first.as_secs_f64());
            }
        }
        if record.usage_source == UsageSource::None {
            return;
        }
        let usage = &record.usage;
        attributes.whole("gen_ai.usage.input_tokens", usage.input_total());
        attributes.whole("gen_ai.usage.output_tokens", usage.output);
        attributes.text("tollgate.usage_source", record.usage_source.word());
        let beside = [
            ("gen_ai.usage.cache_read.input_tokens", usage.cache_read),
            ("gen_ai.usage.cache_creation.input_tokens", usage.cache_write),
            ("gen_ai.usage.reasoning.output_tokens", usage.reasoning),
        ];
        for (name, tokens) in beside.into_iter().filter(|(_, tokens)| is_latest && *tokens > 0) {
            attributes.whole(name, tokens);
        }
        if let Some(nanos) = record.cost.nanos() {
            attributes.text("tollgate.cost_usd", &crate::price::decimal::usd(nanos));
        }
    }
}

/// The class of what went wrong with an exchange: our word, or a provider's status that was passed on.
pub(super) fn error_of_exchange(record: &Record) -> Option<String> {
    let status = || (record.status >= 400).then(|| record.status.to_string());
    let end = || (record.end == End::ClientClosed).then(|| record.end.word().to_owned());
    record.code.map(|code| code.word().to_owned()).or_else(end).or_else(status)
}

/// The same for an attempt; how the exchange ended counts for the one that was answered.
pub(super) fn error_of_attempt(record: &Record, (at, attempt): (usize, &AttemptRecord)) -> Option<String> {
    if let Some(failure) = attempt.failure {
        return Some(failure.code.word().to_owned());
    }
    let last = at + 1 == record.attempts.len();
    match attempt.status {
        Some(status) if status >= 400 => Some(status.to_string()),
        _ if last && record.end != End::Ok => error_of_exchange(record),
        _ => None,
    }
}

fn span(
    (place, id): (&Place, u64),
    (name, kind): (String, SpanKind),
    start: u64,
    (attributes, failed): (Attributes, bool),
) -> Span {
    let status = failed.then(|| Status { message: String::new(), code: StatusCode::Error.into() });
    Span {
        trace_id: place.trace.to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        trace_state: place.state.as_deref().unwrap_or_default().to_owned(),
        parent_span_id: Vec::new(),
        name,
        kind: kind.into(),
        start_time_unix_nano: start,
        end_time_unix_nano: start,
        attributes: attributes.into_message(),
        status,
        flags: 0,
    }
}

/// What is passed on, and whether the parent is in another program.
fn flags(place: &Place, remote: bool) -> u32 {
    u32::from(place.flags) | HAS_IS_REMOTE | if remote { IS_REMOTE } else { 0 }
}

const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// A time of the exchange, in nanoseconds of Unix.
fn nanos(record: &Record, after: Duration) -> u64 {
    let after = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
    record.ts_unix_ms.saturating_mul(1_000_000).saturating_add(after)
}

/// One that is known, else the conventions' word for the others.
pub(super) fn method(place: &Place) -> &str {
    let known = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    known.into_iter().find(|known| *known == place.method.as_str()).unwrap_or("_OTHER")
}

pub(super) fn version(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        _ => None,
    }
}

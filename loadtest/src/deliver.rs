//! Turns an answer and a fault into steps: what goes on the wire, in which writes, with which waits, and how it ends.
//!
//! Pure: the same answer and fault always give the same plan; `server` only walks it. Invariant: an answer without a
//! fault is one plan of one write (or one write per event where events are paced), and its bytes do not depend on the pace.

use crate::anthropic::PING;
use crate::api::{Api, Operation};
use crate::errors;
use crate::faults::{Cut, Fault};
use crate::reply::{Body, EVENT_STREAM, LAST_CHUNK, Reply, chunk, named_event};
use bytes::Bytes;
use std::fmt::Write as _;

/// One step of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Write these bytes.
    Send(Bytes),
    /// Let the time between two events pass.
    Pace,
    /// Wait for `release`.
    Hold,
    /// Wait until the peer leaves.
    Stall,
}

/// What becomes of the connection after the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    KeepAlive,
    Close,
    Reset,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) end: End,
}

/// What a plan needs to know of the request.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) api: Api,
    pub(crate) operation: &'a Operation,
    pub(crate) request_id: &'a str,
    /// The peer asked to close after this answer.
    pub(crate) close: bool,
    /// Events are sent one by one, with time between them.
    pub(crate) paced: bool,
}

/// Plans an answer.
pub(crate) fn plan(reply: &Reply, fault: &Fault, frame: &Frame<'_>) -> Plan {
    let only = |steps, end| Plan { steps, end };
    match fault {
        Fault::Reset => only(vec![], End::Reset),
        Fault::CloseSilently | Fault::Refuse => only(vec![], End::Close),
        Fault::Hang => only(vec![Step::Stall], End::Close),
        Fault::Garbage => only(vec![Step::Send(Bytes::from_static(GARBAGE))], End::Close),
        Fault::Raw(text) => only(vec![Step::Send(Bytes::from(text.clone()))], End::Close),
        Fault::None if !frame.paced => in_one_write(reply, frame),
        _ => {
            let replaced = replacement(reply, fault, frame);
            let shape = shape(replaced.as_ref().unwrap_or(reply), fault, frame);
            shape.plan(replaced.as_ref().unwrap_or(reply), fault, frame)
        }
    }
}

/// Looks like a TLS alert, and has no line end that a lenient parser could wait for.
const GARBAGE: &[u8] = b"\x15\x03\x03\x00\x02\x02\x28\x00\xff\xfeNOT HTTP\r\n\r\n";

/// Headers of the real providers that a gateway has to keep from its clients.
const HIDDEN_HEADERS: &str = "server: fake-provider\r\n\
    via: 1.1 fake-edge\r\n\
    alt-svc: h3=\":443\"; ma=86400\r\n\
    set-cookie: __cf_bm=fake; path=/; HttpOnly; Secure\r\n\
    openai-organization: fake-org\r\n\
    openai-processing-ms: 12\r\n\
    anthropic-organization-id: fake-org\r\n\
    x-ratelimit-limit-requests: 10000\r\n\
    x-ratelimit-remaining-requests: 9999\r\n\
    x-ratelimit-reset-requests: 6ms\r\n\
    anthropic-ratelimit-requests-limit: 10000\r\n\
    anthropic-ratelimit-requests-remaining: 9999\r\n";

fn in_one_write(reply: &Reply, frame: &Frame<'_>) -> Plan {
    let (transfer, body) = match &reply.body {
        Body::Whole(bytes) => (Transfer::Length(bytes.len()), bytes),
        Body::Events(events) => (Transfer::Chunked, &events.framed),
    };
    let mut out = head(reply, transfer, frame).into_bytes();
    out.extend_from_slice(body);
    let end = if frame.close { End::Close } else { End::KeepAlive };
    Plan { steps: vec![Step::Send(out.into())], end }
}

/// The answer that stands in for the normal one, where the fault wants another.
fn replacement(reply: &Reply, fault: &Fault, frame: &Frame<'_>) -> Option<Reply> {
    let stream = matches!(reply.body, Body::Events(_));
    match fault {
        Fault::Status { status, headers, body } => {
            let mut reply = match body {
                Some(body) => Reply::json(*status, body.clone()),
                None => errors::published(frame.api, *status, frame.request_id),
            };
            if matches!(status, 204 | 304) {
                reply.body = Body::Whole(Bytes::new());
            }
            reply.headers.extend(headers.iter().filter(|header| is_sendable(header)).cloned());
            Some(reply)
        }
        Fault::EarlyStatus { status } => Some(errors::published(frame.api, *status, frame.request_id)),
        Fault::StreamErrorFirst | Fault::StreamErrorAfter { .. } if !stream => {
            Some(errors::published(frame.api, 500, frame.request_id))
        }
        Fault::EmptyStream if !stream => Some(Reply::events(EVENT_STREAM, Vec::new())),
        _ => None,
    }
}

/// Framing stays ours, and a line is one line.
fn is_sendable((name, value): &(String, String)) -> bool {
    let framing = ["content-length", "transfer-encoding", "connection"];
    !framing.iter().any(|known| name.eq_ignore_ascii_case(known))
        && !format!("{name}{value}").contains(['\r', '\n'])
}

/// How a body is laid out on the wire.
#[derive(Debug)]
struct Shape {
    units: Vec<Bytes>,
    transfer: Transfer,
    /// Before which unit to wait for `release`.
    hold: Hold,
    ending: Ending,
}

#[derive(Debug, Clone, Copy)]
enum Transfer {
    Length(usize),
    Chunked,
    UntilClose,
}

#[derive(Debug, Clone, Copy)]
enum Hold {
    Never,
    Before(usize),
    Each,
}

#[derive(Debug, Clone, Copy)]
enum Ending {
    /// As HTTP wants it.
    Complete,
    /// In the middle of the body.
    Broken(End),
    /// Never.
    Stalled,
}

fn shape(reply: &Reply, fault: &Fault, frame: &Frame<'_>) -> Shape {
    let mut shape = match &reply.body {
        Body::Whole(bytes) => whole_shape(bytes, fault),
        Body::Events(events) => {
            let units = edited(&events.list, events.terminal, fault, frame);
            Shape { units, transfer: Transfer::Chunked, hold: Hold::Never, ending: Ending::Complete }
        }
    };
    match fault {
        Fault::HoldMidStream { after_events } => {
            let last = shape.units.len().saturating_sub(1);
            shape.hold = Hold::Before((*after_events).min(last));
        }
        Fault::HoldEveryEvent => shape.hold = Hold::Each,
        Fault::HangAfterHead => {
            shape.units.clear();
            shape.ending = Ending::Stalled;
        }
        Fault::HangAfterTerminal => shape.ending = Ending::Stalled,
        Fault::ResetAfterTerminal => shape.ending = Ending::Broken(End::Reset),
        Fault::Cut { how, .. } => shape.ending = cut_ending(*how),
        Fault::CutBody { after_bytes } => shape.cut_body(*after_bytes),
        Fault::CloseDelimited => shape.transfer = Transfer::UntilClose,
        Fault::SplitEveryByte => shape.split_every_byte(),
        _ => {}
    }
    shape
}

fn cut_ending(how: Cut) -> Ending {
    match how {
        Cut::Fin => Ending::Broken(End::Close),
        Cut::Reset => Ending::Broken(End::Reset),
        Cut::CleanEndWithoutTerminal => Ending::Complete,
    }
}

/// An answer that is no stream, in halves where the fault acts at the middle of the body.
fn whole_shape(bytes: &Bytes, fault: &Fault) -> Shape {
    let middle = bytes.len() / 2;
    let (first, second) = (bytes.slice(..middle), bytes.slice(middle..));
    let length = Transfer::Length(bytes.len());
    let (units, transfer) = match fault {
        Fault::Cut { how: Cut::CleanEndWithoutTerminal, .. } => (vec![first], Transfer::Chunked),
        Fault::Cut { .. } => (vec![first], length),
        Fault::HoldMidStream { after_events: 0 } => (vec![bytes.clone()], length),
        Fault::HoldMidStream { .. } | Fault::HoldEveryEvent => (vec![first, second], length),
        _ => (vec![bytes.clone()], length),
    };
    Shape { units, transfer, hold: Hold::Never, ending: Ending::Complete }
}

/// The events of a stream, as the fault changes them.
fn edited(list: &[Bytes], terminal: usize, fault: &Fault, frame: &Frame<'_>) -> Vec<Bytes> {
    let good = |count: usize| list.iter().take(count.min(terminal)).cloned().collect::<Vec<_>>();
    let lead = |before: Vec<Bytes>| before.into_iter().chain(list.iter().cloned()).collect();
    let sse = *frame.operation != Operation::StreamGenerate(false);
    let error = |after: usize| errors::in_band(frame.api, frame.operation, after, frame.request_id);
    match fault {
        Fault::StreamErrorFirst => vec![error(0)],
        Fault::StreamErrorAfter { events } => {
            let mut units = good(*events);
            units.push(error(units.len()));
            units
        }
        Fault::Cut { after_events, .. } => good(*after_events),
        Fault::EmptyStream => Vec::new(),
        Fault::AfterTerminal(text) => {
            let mut units = list.to_vec();
            units.push(Bytes::from(text.clone()));
            units
        }
        Fault::PingsThenStream { pings } if sse => lead(vec![ping(frame.api); (*pings).min(PINGS_MAX)]),
        Fault::LeadingComments if sse => {
            lead(vec![Bytes::from_static(b": a comment\n:\n\n"), ping(Api::OpenAi)])
        }
        Fault::Crlf if frame.api != Api::Gemini => list.iter().map(with_crlf).collect(),
        _ => list.to_vec(),
    }
}

/// How many pings one answer may begin with.
const PINGS_MAX: usize = 10_000;

fn ping(api: Api) -> Bytes {
    match api {
        Api::Anthropic => named_event("ping", PING),
        Api::OpenAi | Api::Gemini => Bytes::from_static(b": keep-alive\n\n"),
    }
}

fn with_crlf(event: &Bytes) -> Bytes {
    String::from_utf8_lossy(event).replace('\n', "\r\n").into()
}

impl Shape {
    fn cut_body(&mut self, after_bytes: usize) {
        let all = self.units.concat();
        let kept = after_bytes.min(all.len().saturating_sub(1));
        self.transfer = Transfer::Length(all.len());
        self.units = vec![Bytes::from(all).slice(..kept)];
        self.ending = Ending::Broken(End::Close);
    }

    fn split_every_byte(&mut self) {
        let all = Bytes::from(self.units.concat());
        self.units = (0..all.len()).map(|at| all.slice(at..=at)).collect();
    }

    fn plan(self, reply: &Reply, fault: &Fault, frame: &Frame<'_>) -> Plan {
        let mut steps = Vec::with_capacity(self.units.len() * 2 + 4);
        if *fault == Fault::HoldFirstByte {
            steps.push(Step::Hold);
        }
        if *fault == Fault::Informational {
            steps.push(Step::Send(Bytes::from_static(EARLY_HINTS)));
        }
        steps.push(Step::Send(head(reply, self.transfer, frame).into()));
        for (at, unit) in self.units.iter().enumerate() {
            if at > 0 && frame.paced {
                steps.push(Step::Pace);
            }
            match self.hold {
                Hold::Each => steps.push(Step::Hold),
                Hold::Before(index) if index == at => steps.push(Step::Hold),
                _ => {}
            }
            // An empty chunk would be the last one.
            if !unit.is_empty() {
                let chunked = matches!(self.transfer, Transfer::Chunked);
                steps.push(Step::Send(if chunked { chunk(unit) } else { unit.clone() }));
            }
        }
        let end = match (self.ending, self.transfer) {
            (Ending::Broken(end), _) => end,
            (Ending::Stalled, _) => {
                steps.push(Step::Stall);
                End::Close
            }
            (Ending::Complete, Transfer::UntilClose) => End::Close,
            (Ending::Complete, transfer) => {
                if matches!(transfer, Transfer::Chunked) {
                    steps.push(Step::Send(Bytes::from_static(LAST_CHUNK)));
                }
                if frame.close { End::Close } else { End::KeepAlive }
            }
        };
        Plan { steps, end }
    }
}

const EARLY_HINTS: &[u8] = b"HTTP/1.1 103 Early Hints\r\nlink: </fake>; rel=preconnect\r\n\r\n";

fn head(reply: &Reply, transfer: Transfer, frame: &Frame<'_>) -> String {
    let own_type = reply.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let content_type = own_type.map_or(&reply.content_type, |(_, value)| value);
    let (status, id) = (reply.status, frame.request_id);
    let mut out = String::with_capacity(1024);
    let mut line = |text: std::fmt::Arguments<'_>| {
        // Writing into a String cannot fail.
        out.write_fmt(text).unwrap_or_default();
    };
    line(format_args!("HTTP/1.1 {status} {}\r\ncontent-type: {content_type}\r\n", phrase(status)));
    line(format_args!("{HIDDEN_HEADERS}x-request-id: {id}\r\nrequest-id: {id}\r\n"));
    for (name, value) in reply.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("content-type")) {
        line(format_args!("{name}: {value}\r\n"));
    }
    match transfer {
        Transfer::Length(length) => line(format_args!("content-length: {length}\r\n")),
        Transfer::Chunked => line(format_args!("transfer-encoding: chunked\r\n")),
        Transfer::UntilClose => {}
    }
    if frame.close || matches!(transfer, Transfer::UntilClose) {
        line(format_args!("connection: close\r\n"));
    }
    line(format_args!("\r\n"));
    out
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        422 => "Unprocessable Entity",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        529 => "Overloaded",
        _ => "Status",
    }
}

//! Turns an answer and a fault into steps: what is sent, in which pieces, with which waits, and how it ends.
//!
//! Pure: the same answer and fault always give the same plan; `walk` only walks it, over HTTP/1.1 or HTTP/2. Invariant:
//! an answer without a fault is one step (or one per event where events are paced), and its bytes do not depend on the
//! pace. What differs between the protocols is said in `faults` and decided here or in the two deliveries.

use crate::api::{Api, Operation};
use crate::errors;
use crate::faults::{Early, Fault, Then};
use crate::head::{AnswerHead, Transfer};
use crate::malformed;
use crate::reply::{Body, EVENT_STREAM, Reply};
use crate::shape;
use bytes::Bytes;
use std::time::Duration;

/// One step of an answer.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Head, body and end at once.
    Whole(AnswerHead, Body),
    /// A 103 before the head.
    Informational,
    Head(AnswerHead),
    /// The head byte by byte, with this wait before each.
    DripHead(AnswerHead, Wait),
    Unit(Unit),
    /// The end of the body as HTTP wants it, with these trailers.
    Finish(&'static [(&'static str, &'static str)]),
    /// These bytes as they are; HTTP/1.1 only.
    Raw(Bytes),
    /// These bytes again and again, up to a bound; HTTP/1.1 only.
    RawWithoutEnd(Bytes),
    Wait(Wait),
}

/// A piece of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) bytes: Bytes,
    /// How many events of a stream end in it.
    pub(crate) events: usize,
}

/// What to wait for; in any case until the peer leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The next `release`.
    Release,
    Time(Duration),
    Forever,
}

/// What becomes of the connection (HTTP/1.1) or the stream (HTTP/2) after the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    KeepAlive,
    Close,
    /// Say that nothing more comes, and let the answer arrive although there is unread input.
    Linger,
    /// Read what is left of the request body, then keep alive.
    Drain,
    Reset,
    /// The stream was not looked at; over HTTP/1.1 a close.
    Refuse,
    /// The connection ends: FIN or `GOAWAY`.
    Leave,
    /// The connection ends with a reset, over HTTP/2 with `GOAWAY`.
    LeaveWithReset,
    /// The fault cannot be said in this protocol.
    Unspeakable,
}

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) end: End,
    /// Nothing of the peer is read while the steps are walked.
    pub(crate) deaf: bool,
}

/// What a plan needs to know of the request.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) api: Api,
    pub(crate) operation: &'a Operation,
    pub(crate) request_id: &'a str,
    /// The peer asked to close after this answer.
    pub(crate) close: bool,
    /// The time between two events; zero: none.
    pub(crate) pace: Duration,
    pub(crate) http2: bool,
}

impl Plan {
    pub(crate) fn new(steps: Vec<Step>, end: End) -> Self {
        Self { steps, end, deaf: false }
    }

    fn deaf_for_ever(mut steps: Vec<Step>) -> Self {
        steps.push(Step::Wait(Wait::Forever));
        Self { steps, end: End::Close, deaf: true }
    }
}

impl Frame<'_> {
    /// How a complete answer ends.
    pub(crate) fn end(&self) -> End {
        if self.close { End::Close } else { End::KeepAlive }
    }
}

/// Plans an answer.
pub(crate) fn plan(reply: &Reply, fault: &Fault, frame: &Frame<'_>) -> Plan {
    match fault {
        Fault::Garbage | Fault::Raw(_) | Fault::Malformed(_) if frame.http2 => {
            Plan::new(vec![], End::Unspeakable)
        }
        Fault::Reset => Plan::new(vec![], End::Reset),
        Fault::CloseSilently => Plan::new(vec![], End::Leave),
        Fault::Refuse => Plan::new(vec![], End::Refuse),
        Fault::Hang => Plan::new(vec![Step::Wait(Wait::Forever)], End::Close),
        Fault::SilentOnAccept | Fault::StopReading { .. } => Plan::deaf_for_ever(vec![]),
        Fault::Garbage => Plan::new(vec![Step::Raw(Bytes::from_static(GARBAGE))], End::Close),
        Fault::Raw(text) => Plan::new(vec![Step::Raw(Bytes::from(text.clone()))], End::Close),
        Fault::Malformed(how) => malformed::plan(reply, *how, frame),
        Fault::None if frame.pace.is_zero() => at_once(reply, frame),
        Fault::EarlyStatus { status } => {
            let reply = errors::published(frame.api, *status, frame.request_id);
            Plan { end: End::Linger, ..at_once(&reply, frame) }
        }
        Fault::EarlyStatusThen { status, then } => {
            let plan = at_once(&errors::published(frame.api, *status, frame.request_id), frame);
            after_early(plan, *then)
        }
        _ => {
            let replaced = replacement(reply, fault, frame);
            shape::plan(replaced.as_ref().unwrap_or(reply), fault, frame)
        }
    }
}

/// Looks like a TLS alert, and has no line end that a lenient parser could wait for.
const GARBAGE: &[u8] = b"\x15\x03\x03\x00\x02\x02\x28\x00\xff\xfeNOT HTTP\r\n\r\n";

fn at_once(reply: &Reply, frame: &Frame<'_>) -> Plan {
    let transfer = match &reply.body {
        Body::Whole(bytes) => Transfer::Length(bytes.len()),
        Body::Events(_) => Transfer::Chunked,
    };
    let head = AnswerHead::new(reply, transfer, frame);
    Plan::new(vec![Step::Whole(head, reply.body.clone())], frame.end())
}

fn after_early(plan: Plan, then: Early) -> Plan {
    let end = match then {
        Early::StopReading => return Plan::deaf_for_ever(plan.steps),
        Early::Drain => End::Drain,
        Early::Close => End::Close,
        Early::Reset => End::Reset,
    };
    Plan { end, deaf: true, ..plan }
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
        Fault::StreamErrorFirst
        | Fault::StreamErrorAfter { .. }
        | Fault::LeadThen { then: Then::Error, .. }
            if !stream =>
        {
            Some(errors::published(frame.api, 500, frame.request_id))
        }
        Fault::EmptyStream | Fault::LeadThen { then: Then::Nothing, .. } if !stream => {
            Some(Reply::events(EVENT_STREAM, Vec::new()))
        }
        _ => None,
    }
}

/// Framing stays ours, and a line is one line.
fn is_sendable((name, value): &(String, String)) -> bool {
    let framing = ["content-length", "transfer-encoding", "connection"];
    !framing.iter().any(|known| name.eq_ignore_ascii_case(known))
        && !format!("{name}{value}").contains(['\r', '\n'])
}

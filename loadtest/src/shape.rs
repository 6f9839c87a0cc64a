//! The body of an answer in the pieces a fault wants, and the steps that send them.
//!
//! Invariant: a fault that speaks of events never lets the terminal one out before its turn, and no unit is empty (an
//! empty chunk would be the last one).

use crate::anthropic::PING;
use crate::api::{Api, Operation};
use crate::deliver::{End, Frame, Plan, Step, Unit, Wait};
use crate::errors;
use crate::faults::{Cut, DripFrom, Fault, Then};
use crate::head::{AnswerHead, Keep, Transfer};
use crate::reply::{Body, Reply, named_event};
use bytes::Bytes;
use std::time::Duration;

/// How many pings, and how many comments, one answer may begin with.
const LEAD_MAX: usize = 10_000;
/// What the fake sends after the last chunk.
const TRAILERS: &[(&str, &str)] = &[("x-fake-trailer", "1"), ("server-timing", "fake;dur=1")];

/// How a body is laid out.
#[derive(Debug)]
struct Shape {
    units: Vec<Unit>,
    transfer: Transfer,
    /// Before which unit to wait.
    hold: Hold,
    ending: Ending,
}

#[derive(Debug, Clone, Copy)]
enum Hold {
    Never,
    Before(usize),
    Each(Wait),
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

/// The steps of an answer whose body a fault changes.
pub(crate) fn plan(reply: &Reply, fault: &Fault, frame: &Frame<'_>) -> Plan {
    shape(reply, fault, frame).plan(reply, fault, frame)
}

fn shape(reply: &Reply, fault: &Fault, frame: &Frame<'_>) -> Shape {
    let mut shape = match &reply.body {
        Body::Whole(bytes) => whole_shape(bytes, fault),
        Body::Events(events) => {
            let units = edited(&events.list, events.terminal, fault, frame);
            Shape { units, transfer: Transfer::Chunked, hold: Hold::Never, ending: Ending::Complete }
        }
    };
    shape.waits_and_end(fault);
    match fault {
        Fault::CutBody { after_bytes } => shape.cut_body(*after_bytes),
        Fault::CutChunked { after_bytes, .. } => {
            shape.keep(*after_bytes);
            shape.transfer = Transfer::Chunked;
        }
        Fault::CloseDelimited => shape.transfer = Transfer::UntilClose,
        Fault::ChunkExtensions => shape.transfer = Transfer::ChunkedWithExtensions,
        Fault::Trailers => shape.transfer = Transfer::Chunked,
        Fault::Http10KeepAlive => shape.transfer = Transfer::Length(shape.len()),
        Fault::SplitEveryByte | Fault::Drip { .. } => shape.split(1),
        Fault::Pieces { bytes } => shape.split(*bytes),
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
        Fault::Cut { how: Cut::CleanEndWithoutTerminal, .. }
        | Fault::CutInEvent { how: Cut::CleanEndWithoutTerminal, .. } => (vec![first], Transfer::Chunked),
        Fault::Cut { .. } | Fault::CutInEvent { .. } => (vec![first], length),
        Fault::HoldMidStream { after_events: 0 } => (vec![bytes.clone()], length),
        Fault::HoldMidStream { .. } | Fault::HoldEveryEvent => (vec![first, second], length),
        _ => (vec![bytes.clone()], length),
    };
    let units = units.into_iter().map(part).collect();
    Shape { units, transfer, hold: Hold::Never, ending: Ending::Complete }
}

fn event(bytes: Bytes) -> Unit {
    Unit { bytes, events: 1 }
}

/// A piece that is no event: a comment, a part of one, a body that is no stream.
fn part(bytes: Bytes) -> Unit {
    Unit { bytes, events: 0 }
}

/// The events of a stream, as the fault changes them.
fn edited(list: &[Bytes], terminal: usize, fault: &Fault, frame: &Frame<'_>) -> Vec<Unit> {
    let all = || list.iter().cloned().map(event);
    let good = |count: usize| all().take(count.min(terminal)).collect::<Vec<_>>();
    let and = |mut units: Vec<Unit>, last: Unit| {
        units.push(last);
        units
    };
    let sse = *frame.operation != Operation::StreamGenerate(false);
    let error = |after: usize| event(errors::in_band(frame.api, frame.operation, after, frame.request_id));
    match fault {
        Fault::StreamErrorFirst => vec![error(0)],
        Fault::StreamErrorAfter { events } => and(good(*events), error((*events).min(terminal))),
        Fault::ErrorAfterTerminal => and(all().collect(), error(list.len())),
        Fault::Cut { after_events, .. } => good(*after_events),
        Fault::CutInEvent { after_events, .. } => {
            let whole = good(*after_events);
            let next = list.get(whole.len()).cloned().unwrap_or_default();
            and(whole, part(next.slice(..next.len() / 2)))
        }
        Fault::EmptyStream => Vec::new(),
        Fault::AfterTerminal(text) => and(all().collect(), part(Bytes::from(text.clone()))),
        Fault::TerminalWithoutBlankLine { .. } => {
            let last = list.get(terminal).map(without_blank_line).unwrap_or_default();
            and(good(terminal), event(last))
        }
        Fault::PingsThenStream { pings } if sse => lead(*pings, 0, frame.api).chain(all()).collect(),
        Fault::LeadingComments if sse => {
            let comments = [": a comment\n:\n\n", ": keep-alive\n\n"]
                .map(|text| part(Bytes::from_static(text.as_bytes())));
            comments.into_iter().chain(all()).collect()
        }
        Fault::LeadThen { pings, comments, then } => {
            let lead = lead(*pings, *comments, frame.api).filter(|_| sse);
            match then {
                Then::Stream => lead.chain(all()).collect(),
                Then::Error => lead.chain([error(0)]).collect(),
                Then::Nothing | Then::Silence => lead.collect(),
            }
        }
        Fault::CommentsBetween if sse => list.iter().flat_map(|one| commented(one, frame.api)).collect(),
        Fault::Crlf if frame.api != Api::Gemini => list.iter().map(|one| event(with_crlf(one))).collect(),
        _ => all().collect(),
    }
}

fn lead(pings: usize, comments: usize, api: Api) -> impl Iterator<Item = Unit> {
    let comment = part(Bytes::from_static(b": a comment\n\n"));
    std::iter::repeat_n(ping(api), pings.min(LEAD_MAX))
        .chain(std::iter::repeat_n(comment, comments.min(LEAD_MAX)))
}

fn ping(api: Api) -> Unit {
    match api {
        Api::Anthropic => event(named_event("ping", PING)),
        Api::OpenAi | Api::Gemini => part(Bytes::from_static(b": keep-alive\n\n")),
    }
}

/// A comment before the event, and one as its first line.
fn commented(one: &Bytes, api: Api) -> [Unit; 2] {
    let line_end = if api == Api::Gemini { "\r\n" } else { "\n" };
    let mut inside = format!(": inside{line_end}").into_bytes();
    inside.extend_from_slice(one);
    [part(format!(": between{line_end}{line_end}").into()), event(inside.into())]
}

fn with_crlf(one: &Bytes) -> Bytes {
    String::from_utf8_lossy(one).replace('\n', "\r\n").into()
}

fn without_blank_line(one: &Bytes) -> Bytes {
    let blank = [b"\r\n\r\n".as_slice(), b"\n\n"].into_iter().find(|blank| one.ends_with(blank));
    one.slice(..one.len() - blank.map_or(0, |blank| blank.len() / 2))
}

impl Shape {
    fn len(&self) -> usize {
        self.units.iter().map(|unit| unit.bytes.len()).sum()
    }

    fn waits_and_end(&mut self, fault: &Fault) {
        match fault {
            Fault::HoldMidStream { after_events } => {
                let last = self.units.len().saturating_sub(1);
                self.hold = Hold::Before((*after_events).min(last));
            }
            Fault::HoldEveryEvent => self.hold = Hold::Each(Wait::Release),
            Fault::Drip { every_ms, .. } => self.hold = Hold::Each(drip_wait(*every_ms)),
            Fault::HangAfterHead => {
                self.units.clear();
                self.ending = Ending::Stalled;
            }
            Fault::LeadThen { then: Then::Silence, .. } => {
                // What is no stream has no pings that could come first.
                if matches!(self.transfer, Transfer::Length(_)) {
                    self.units.clear();
                }
                self.ending = Ending::Stalled;
            }
            Fault::HangAfterTerminal => self.ending = Ending::Stalled,
            Fault::ResetAfterTerminal => self.ending = Ending::Broken(End::Reset),
            Fault::Cut { how, .. }
            | Fault::CutInEvent { how, .. }
            | Fault::CutChunked { how, .. }
            | Fault::TerminalWithoutBlankLine { how } => self.ending = cut_ending(*how),
            _ => {}
        }
    }

    fn cut_body(&mut self, after_bytes: usize) {
        self.transfer = Transfer::Length(self.len());
        self.keep(after_bytes);
        self.ending = Ending::Broken(End::Close);
    }

    /// Keeps so many bytes, and always leaves one out.
    fn keep(&mut self, bytes: usize) {
        let mut left = bytes.min(self.len().saturating_sub(1));
        for unit in &mut self.units {
            if unit.bytes.len() > left {
                unit.events = 0;
            }
            unit.bytes.truncate(left);
            left -= unit.bytes.len();
        }
        self.units.retain(|unit| !unit.bytes.is_empty());
    }

    /// Cuts the body, events or not, into pieces of this length.
    fn split(&mut self, length: usize) {
        let mut at = 0;
        let ends: Vec<usize> = self
            .units
            .iter()
            .filter_map(|unit| {
                at += unit.bytes.len();
                (unit.events > 0).then_some(at)
            })
            .collect();
        let all: Bytes = self.units.iter().flat_map(|unit| unit.bytes.iter().copied()).collect();
        let length = length.max(1);
        let piece = |from: usize| {
            let to = (from + length).min(all.len());
            let events = ends.partition_point(|end| *end <= to) - ends.partition_point(|end| *end <= from);
            Unit { bytes: all.slice(from..to), events }
        };
        self.units = (0..all.len()).step_by(length).map(piece).collect();
    }

    fn plan(self, reply: &Reply, fault: &Fault, frame: &Frame<'_>) -> Plan {
        let mut steps = Vec::with_capacity(self.units.len() * 2 + 4);
        steps.extend(self.beginning(reply, fault, frame));
        for (at, unit) in self.units.into_iter().enumerate().filter(|(_, unit)| !unit.bytes.is_empty()) {
            if at > 0 && !frame.pace.is_zero() {
                steps.push(Step::Wait(Wait::Time(frame.pace)));
            }
            match self.hold {
                Hold::Each(wait) => steps.push(Step::Wait(wait)),
                Hold::Before(index) if index == at => steps.push(Step::Wait(Wait::Release)),
                _ => {}
            }
            steps.push(Step::Unit(unit));
        }
        let end = match self.ending {
            Ending::Broken(end) => end,
            Ending::Stalled => {
                steps.push(Step::Wait(Wait::Forever));
                End::Close
            }
            Ending::Complete => {
                steps.push(Step::Finish(if *fault == Fault::Trailers { TRAILERS } else { &[] }));
                complete_end(fault, self.transfer, frame)
            }
        };
        Plan::new(steps, end)
    }

    /// Everything up to the head.
    fn beginning(&self, reply: &Reply, fault: &Fault, frame: &Frame<'_>) -> Vec<Step> {
        let mut head = AnswerHead::new(reply, self.transfer, frame);
        match fault {
            Fault::HoldFirstByte => vec![Step::Wait(Wait::Release), Step::Head(head)],
            Fault::Informational => vec![Step::Informational, Step::Head(head)],
            Fault::Drip { from: DripFrom::Head, every_ms } => {
                vec![Step::DripHead(head, drip_wait(*every_ms))]
            }
            Fault::Http10KeepAlive if head.keep == Keep::Silent => {
                head.keep = Keep::Http10;
                vec![Step::Head(head)]
            }
            _ => vec![Step::Head(head)],
        }
    }
}

fn drip_wait(every_ms: Option<u64>) -> Wait {
    every_ms.map_or(Wait::Release, |ms| Wait::Time(Duration::from_millis(ms)))
}

fn complete_end(fault: &Fault, transfer: Transfer, frame: &Frame<'_>) -> End {
    match fault {
        Fault::CloseAfterAnswer => End::Leave,
        Fault::ResetAfterAnswer => End::LeaveWithReset,
        _ if transfer == Transfer::UntilClose => End::Close,
        _ => frame.end(),
    }
}

//! The order in which a stream's events come, whatever order a provider tells things in.
//!
//! Invariant: what goes out is one start, then parts one after the other, each closed before the next opens, then one
//! stop and one end; after an error or the end nothing goes out.

use super::fault::Fault;
use super::free::Unwrap;
use super::json::{Raw, Text};
use super::names::Names;
use super::unified::{Citation, Event, Opened, Signature, Stop};
use crate::usage::Usage;

/// Where events go.
pub(super) type Sink<'s> = &'s mut dyn FnMut(Event<'_>);

/// What is known of the stream so far.
#[derive(Debug)]
pub(super) struct Flow {
    names: Names,
    /// What ids are made of where a provider gives none.
    id: String,
    calls: u32,
    open: Option<Kind>,
    unwrap: Option<Unwrap>,
    phase: Phase,
    called: bool,
}

/// How far a stream has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Waiting,
    Started,
    Stopped,
    Ended,
    Failed,
}

/// What a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Refusal,
    Reasoning,
    Call,
}

impl Flow {
    pub(super) fn new(names: Names, id: String) -> Self {
        Self { names, id, calls: 0, open: None, unwrap: None, phase: Phase::Waiting, called: false }
    }

    pub(super) fn is_over(&self) -> bool {
        self.phase >= Phase::Ended
    }

    pub(super) fn has_failed(&self) -> bool {
        self.phase == Phase::Failed
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.phase >= Phase::Stopped
    }

    /// Whether a tool was called.
    pub(super) fn has_called(&self) -> bool {
        self.called
    }

    pub(super) fn open_kind(&self) -> Option<Kind> {
        self.open
    }

    /// Goes on to a phase, unless it is past it.
    fn reaches(&mut self, phase: Phase) -> bool {
        let further = self.phase < phase;
        self.phase = self.phase.max(phase);
        further
    }

    pub(super) fn start(&mut self, id: Option<Text<'_>>, model: Option<Text<'_>>, sink: Sink<'_>) {
        if self.reaches(Phase::Started) {
            sink(Event::Start { id: id.unwrap_or_default(), model: model.unwrap_or_default() });
        }
    }

    /// Adds to the open part of that kind, or begins one.
    pub(super) fn say(&mut self, kind: Kind, text: Text<'_>, sink: Sink<'_>) {
        if text.is_empty() {
            return;
        }
        self.part(kind, sink);
        sink(Event::Text(text));
    }

    /// Makes sure that a part of that kind is open.
    pub(super) fn part(&mut self, kind: Kind, sink: Sink<'_>) {
        if self.open == Some(kind) {
            return;
        }
        self.close(sink);
        self.open = Some(kind);
        sink(Event::Open(match kind {
            Kind::Refusal => Opened::Refusal,
            Kind::Reasoning => Opened::Reasoning,
            Kind::Text | Kind::Call => Opened::Text,
        }));
    }

    /// Begins a call. `free`: the provider itself takes free text for it.
    pub(super) fn call(&mut self, id: Text<'_>, name: Text<'_>, free: bool, sink: Sink<'_>) {
        self.close(sink);
        self.open = Some(Kind::Call);
        self.called = true;
        let wrapped = self.names.is_free(&name);
        self.unwrap = wrapped.then(Unwrap::default);
        let id = self.call_id(id);
        let name = self.names.original(name);
        sink(Event::Open(Opened::Call { id, name, free: free || wrapped }));
    }

    /// The id of a call, made where there is none.
    pub(super) fn call_id<'t>(&mut self, id: Text<'t>) -> Text<'t> {
        self.calls += 1;
        if id.is_empty() { format!("call_{}_{}", self.id, self.calls - 1).into() } else { id }
    }

    /// More of the open call's input.
    pub(super) fn input(&mut self, text: Text<'_>, sink: Sink<'_>) {
        if text.is_empty() || self.open != Some(Kind::Call) {
            return;
        }
        match &mut self.unwrap {
            None => sink(Event::Text(text)),
            Some(unwrap) => {
                let free = unwrap.feed(&text);
                if !free.is_empty() {
                    sink(Event::Text(free.into()));
                }
            }
        }
    }

    pub(super) fn sign(&mut self, signature: Signature<'_>, sink: Sink<'_>) {
        self.part(Kind::Reasoning, sink);
        sink(Event::Sign(signature));
    }

    pub(super) fn cite(&mut self, citation: Citation<'_>, sink: Sink<'_>) {
        if self.open == Some(Kind::Text) {
            sink(Event::Cite(citation));
        }
    }

    /// Text, and how probable its tokens were.
    pub(super) fn said(&mut self, text: Text<'_>, logprobs: Option<Raw<'_>>, sink: Sink<'_>) {
        let Some(told) = logprobs.filter(|told| told.json() != "[]") else {
            return self.say(Kind::Text, text, sink);
        };
        if !text.is_empty() {
            self.part(Kind::Text, sink);
        }
        // Without a text there may be a token all the same: a piece of a letter.
        if self.open == Some(Kind::Text) {
            sink(Event::Logprobs(told));
        }
        self.say(Kind::Text, text, sink);
    }

    /// A part that is whole at once.
    pub(super) fn whole(&mut self, part: Opened<'_>, sink: Sink<'_>) {
        self.close(sink);
        sink(Event::Open(part));
        sink(Event::Close);
    }

    pub(super) fn close(&mut self, sink: Sink<'_>) {
        if self.open.take().is_none() {
            return;
        }
        if let Some(rest) = self.unwrap.take().map(Unwrap::rest).filter(|rest| !rest.is_empty()) {
            sink(Event::Text(rest.into()));
        }
        sink(Event::Close);
    }

    pub(super) fn usage(&self, usage: Usage, sink: Sink<'_>) {
        if !self.is_over() {
            sink(Event::Usage(usage));
        }
    }

    /// The end, or that the provider could not go on.
    pub(super) fn stop_or_fail(&mut self, stop: Option<Stop<'_>>, sink: Sink<'_>) {
        match stop {
            Some(stop) => self.stop(stop, sink),
            None => self.error(Fault::unfinished(), sink),
        }
    }

    pub(super) fn stop(&mut self, stop: Stop<'_>, sink: Sink<'_>) {
        self.close(sink);
        if self.reaches(Phase::Stopped) {
            sink(Event::Stop(stop));
        }
    }

    pub(super) fn end(&mut self, sink: Sink<'_>) {
        self.close(sink);
        if self.reaches(Phase::Ended) {
            sink(Event::End);
        }
    }

    pub(super) fn error(&mut self, fault: Fault<'_>, sink: Sink<'_>) {
        if !self.is_over() && self.reaches(Phase::Failed) {
            // What is open stays so: nothing follows an error.
            self.open = None;
            sink(Event::Error(fault));
        }
    }

    /// An event that is no JSON, or not of the protocol.
    pub(super) fn unreadable(&mut self, sink: Sink<'_>) {
        self.error(Fault::new(502, "The AI provider sent an event that cannot be read."), sink);
    }
}

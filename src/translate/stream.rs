//! Streams: a provider's bytes into events, events into a client's bytes.
//!
//! Invariants: cutting the bytes elsewhere changes nothing that comes out; nothing waits longer than the event it is
//! in, except what the client's protocol says only at the end; memory does not grow with the stream, except where that
//! protocol repeats the answer at its end, and there it has a bound.

use super::fault::Fault;
use super::flow::{Flow, Sink};
use super::loss::{Loss, Losses};
use super::unified::{Answer, Event, Protocol};
use super::{Back, Client, aggregate, anthropic, chat, gemini, responses};
use crate::protocol::sse::Scanner;
use bytes::BytesMut;

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As it should.
    Whole,
    /// With an error of the provider's, which the client was told.
    Failed,
    /// Amid the answer: what the client has of it must not look whole.
    Cut,
}

/// Reads a provider's stream of events (`text/event-stream`).
#[derive(Debug)]
pub struct Decoder {
    scanner: Scanner,
    flow: Flow,
    listener: Listener,
}

#[derive(Debug)]
enum Listener {
    Chat(Box<chat::listen::Listener>),
    Responses(Box<responses::listen::Listener>),
    Anthropic(Box<anthropic::listen::Listener>),
    Gemini(Box<gemini::listen::Listener>),
}

impl Decoder {
    /// A reader of a stream from its beginning.
    pub fn new(protocol: Protocol, back: &Back) -> Self {
        let listener = match protocol {
            Protocol::Chat => Listener::Chat(Box::default()),
            Protocol::Responses => Listener::Responses(Box::default()),
            Protocol::Anthropic => Listener::Anthropic(Box::default()),
            Protocol::Gemini => Listener::Gemini(Box::default()),
        };
        Self { scanner: Scanner::new(), flow: Flow::new(back.names.clone(), back.id.clone()), listener }
    }

    /// Reads more of it.
    pub fn feed(&mut self, chunk: &[u8], sink: &mut dyn FnMut(Event<'_>)) {
        let mut from = 0;
        while let Some(found) = self.scanner.next(chunk, from) {
            from = found.end;
            let event = found.event;
            heard(&mut self.listener, &mut self.flow, (event.name, event.data, event.whole), sink);
        }
    }

    /// The provider's bytes have ended; had its answer?
    pub fn finish(&mut self, sink: &mut dyn FnMut(Event<'_>)) -> Ending {
        // Some providers leave out the last blank line; half an event is none.
        let rest = self.scanner.rest().filter(|event| is_whole(event.data));
        if let Some(event) = rest {
            heard(&mut self.listener, &mut self.flow, (event.name, event.data, event.whole), sink);
        }
        // Some leave out the very last event, and Gemini has none.
        if self.flow.is_stopped() {
            self.flow.end(sink);
        }
        match (self.flow.is_over(), self.flow.has_failed()) {
            (true, false) => Ending::Whole,
            (true, true) => Ending::Failed,
            (false, _) => Ending::Cut,
        }
    }

    /// Whether nothing more will come out.
    pub fn is_over(&self) -> bool {
        self.flow.is_over()
    }
}

fn is_whole(data: &[u8]) -> bool {
    data.trim_ascii() == b"[DONE]" || serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok()
}

fn heard(listener: &mut Listener, flow: &mut Flow, event: (&[u8], &[u8], bool), sink: Sink<'_>) {
    let (name, data, whole) = event;
    if flow.is_over() || data.iter().all(u8::is_ascii_whitespace) {
        return;
    }
    if !whole {
        flow.error(Fault::new(502, "The AI provider sent an event that is too long."), sink);
        return;
    }
    match listener {
        Listener::Chat(listener) => listener.event(data, flow, sink),
        Listener::Responses(listener) => listener.event(name, data, flow, sink),
        Listener::Anthropic(listener) => listener.event(name, data, flow, sink),
        Listener::Gemini(listener) => listener.event(data, flow, sink),
    }
}

/// Writes a client's stream.
#[derive(Debug)]
pub struct Encoder {
    speaker: Speaker,
    losses: Losses,
}

#[derive(Debug)]
enum Speaker {
    Chat(Box<chat::speak::Speaker>),
    Responses(Box<responses::speak::Speaker>),
    Anthropic(Box<anthropic::speak::Speaker>),
    Gemini(Box<gemini::speak::Speaker>),
}

impl Encoder {
    /// A writer of a stream from its beginning.
    pub fn new(client: &Client) -> Self {
        let speaker = match client.protocol {
            Protocol::Chat => Speaker::Chat(Box::new(chat::speak::Speaker::new(client))),
            Protocol::Responses => Speaker::Responses(Box::new(responses::speak::Speaker::new(client))),
            Protocol::Anthropic => Speaker::Anthropic(Box::new(anthropic::speak::Speaker::new(client))),
            Protocol::Gemini => Speaker::Gemini(Box::new(gemini::speak::Speaker::new(client))),
        };
        Self { speaker, losses: Losses::new(client.protocol) }
    }

    /// Writes an event.
    pub fn event(&mut self, event: &Event<'_>, out: &mut BytesMut) {
        match &mut self.speaker {
            Speaker::Chat(speaker) => speaker.event(event, &mut self.losses, out),
            Speaker::Responses(speaker) => speaker.event(event, &mut self.losses, out),
            Speaker::Anthropic(speaker) => speaker.event(event, &mut self.losses, out),
            Speaker::Gemini(speaker) => speaker.event(event, &mut self.losses, out),
        }
    }

    /// What of the answer could not be said.
    pub fn losses(&self) -> &[Loss] {
        self.losses.list()
    }
}

/// A provider's stream as a client's stream.
#[derive(Debug)]
pub struct Translator {
    decoder: Decoder,
    encoder: Encoder,
}

impl Translator {
    /// From a provider of that protocol to that client.
    pub fn new(provider: Protocol, back: &Back, client: &Client) -> Self {
        Self { decoder: Decoder::new(provider, back), encoder: Encoder::new(client) }
    }

    /// Translates more of it.
    pub fn feed(&mut self, chunk: &[u8], out: &mut BytesMut) {
        let encoder = &mut self.encoder;
        self.decoder.feed(chunk, &mut |event| encoder.event(&event, out));
    }

    /// The provider's bytes have ended; had its answer?
    pub fn finish(&mut self, out: &mut BytesMut) -> Ending {
        let encoder = &mut self.encoder;
        self.decoder.finish(&mut |event| encoder.event(&event, out))
    }

    /// Whether nothing more will come out.
    pub fn is_over(&self) -> bool {
        self.decoder.is_over()
    }

    /// What of the answer could not be said.
    pub fn losses(&self) -> &[Loss] {
        self.encoder.losses()
    }
}

/// Collects a stream into a whole answer, for a client that does not stream.
#[derive(Debug, Default)]
pub struct Aggregate {
    answer: Answer<'static>,
    failed: Option<Fault<'static>>,
    held: usize,
}

impl Aggregate {
    /// Adds an event.
    pub fn event(&mut self, event: Event<'_>) {
        if self.failed.is_some() {
            return;
        }
        self.held += aggregate::size(&event);
        if self.held > AGGREGATE_BYTES_MAX {
            self.failed = Some(Fault::new(502, "The AI provider's answer is too long to be given at once."));
            return;
        }
        if let Event::Error(fault) = event {
            self.failed = Some(fault.into_owned());
        } else {
            aggregate::add(&mut self.answer, event);
        }
    }

    /// The answer, or the error the stream ended with.
    pub fn finish(self) -> Result<Answer<'static>, Fault<'static>> {
        match self.failed {
            Some(fault) => Err(fault),
            None => Ok(self.answer),
        }
    }
}

/// More than any model says; pictures are the largest things said.
pub const AGGREGATE_BYTES_MAX: usize = 64 << 20;

/// Tells a whole answer as the events a stream would have had.
pub fn events(answer: &Answer<'_>, sink: &mut dyn FnMut(Event<'_>)) {
    sink(Event::Start { id: answer.id.borrowed(), model: answer.model.borrowed() });
    aggregate::tell(answer, sink);
    if let Some(usage) = answer.usage {
        sink(Event::Usage(usage));
    }
    sink(Event::Stop(answer.stop.clone()));
    sink(Event::End);
}

/// Writes one event of a stream.
pub(super) fn sse(out: &mut BytesMut, name: Option<&str>, write: impl FnOnce(&mut super::json::Object<'_>)) {
    if let Some(name) = name {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\n");
    }
    out.extend_from_slice(b"data: ");
    super::json::object(out, write);
    out.extend_from_slice(b"\n\n");
}

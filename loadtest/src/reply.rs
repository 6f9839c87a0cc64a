//! An answer as a value: status, content type and a body that is whole or made of events. No sockets here.
//!
//! Invariant: `Events::framed` is exactly the chunks of `list` one after the other and the last chunk, so the fast path
//! (one write) and the slow path (one write per event) put the same bytes on the wire.

use bytes::Bytes;
use std::fmt::Write as _;
use std::sync::Arc;

/// The content type of event streams.
pub(crate) const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";
/// The content type of everything else but file contents.
pub(crate) const JSON: &str = "application/json";

/// A complete answer, before any fault.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Body,
}

/// The body of an answer.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// Sent with a content-length.
    Whole(Bytes),
    /// Sent as chunks, one per event.
    Events(Arc<Events>),
}

/// The events of a stream.
#[derive(Debug)]
pub(crate) struct Events {
    pub(crate) list: Vec<Bytes>,
    /// Index of the event that ends the stream in the provider's grammar.
    pub(crate) terminal: usize,
    pub(crate) framed: Bytes,
}

impl Reply {
    /// A JSON answer.
    pub(crate) fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self::whole(status, JSON, body)
    }

    /// An answer of any type with a content-length.
    pub(crate) fn whole(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            content_type: content_type.to_owned(),
            headers: Vec::new(),
            body: Body::Whole(body.into()),
        }
    }

    /// An event stream whose last event is the terminal one.
    pub(crate) fn events(content_type: &str, list: Vec<Bytes>) -> Self {
        let terminal = list.len().saturating_sub(1);
        let events = Events { framed: frame_all(&list), list, terminal };
        let (content_type, body) = (content_type.to_owned(), Body::Events(Arc::new(events)));
        Self { status: 200, content_type, headers: Vec::new(), body }
    }
}

/// One chunk of the chunked transfer coding.
pub(crate) fn chunk(data: &[u8]) -> Bytes {
    chunk_with(data, "")
}

/// The same with extensions after the size.
pub(crate) fn chunk_with(data: &[u8], extensions: &str) -> Bytes {
    let mut out = format!("{:x}{extensions}\r\n", data.len()).into_bytes();
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
    out.into()
}

/// The chunk that ends a body.
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

fn frame_all(list: &[Bytes]) -> Bytes {
    let mut out = Vec::new();
    for event in list {
        out.extend_from_slice(&chunk(event));
    }
    out.extend_from_slice(LAST_CHUNK);
    out.into()
}

/// Collects the events of one stream in the grammar of server-sent events.
#[derive(Debug, Default)]
pub(crate) struct Sse {
    list: Vec<Bytes>,
}

impl Sse {
    /// An event with data only.
    pub(crate) fn data(&mut self, data: &str) {
        self.list.push(format!("data: {data}\n\n").into());
    }

    /// An event with a name.
    pub(crate) fn named(&mut self, name: &str, data: &str) {
        self.list.push(named_event(name, data));
    }

    /// The reply made of the events so far.
    pub(crate) fn reply(self) -> Reply {
        Reply::events(EVENT_STREAM, self.list)
    }

    /// How many events there are; the `OpenAI` responses number theirs.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }
}

/// One named event as bytes.
pub(crate) fn named_event(name: &str, data: &str) -> Bytes {
    format!("event: {name}\ndata: {data}\n\n").into()
}

/// Lower-case hexadecimal, for digests in answers.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing into a String cannot fail.
        write!(out, "{byte:02x}").unwrap_or_default();
        out
    })
}

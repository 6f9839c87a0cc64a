//! An answer whose events come in AWS's frames, read as the server-sent events that they carry.
//!
//! Invariant: who reads it sees a stream as its protocol's own provider sends it; frames that are damaged, or cut, are an
//! answer that broke off.

use super::{AnswerHead, Lost, Wire};
use crate::cloud::aws::events::Events;
use crate::protocol::fields::names;
use bytes::{Bytes, BytesMut};
use std::task::{Context, Poll, ready};

/// A connection with such an answer.
#[derive(Debug)]
pub struct Decoded {
    pub(super) wire: Wire,
    events: Events,
    broken: bool,
}

impl Decoded {
    pub(super) fn new(wire: Wire) -> Self {
        Self { wire, events: Events::default(), broken: false }
    }

    pub(super) fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Lost>> {
        loop {
            if self.broken {
                return Poll::Ready(Err(Lost::garbled("a broken event stream")));
            }
            let Some(chunk) = ready!(self.wire.poll_body(context))? else {
                self.broken = !self.events.is_between();
                let cut = || Lost::garbled("an event stream that ends within a frame");
                return Poll::Ready(if self.broken { Err(cut()) } else { Ok(None) });
            };
            let mut out = BytesMut::new();
            let fed = self.events.feed(&chunk, &mut out);
            self.broken = fed.is_err();
            if !out.is_empty() {
                // What was whole goes first; what is wrong is said when more is asked for.
                return Poll::Ready(Ok(Some(out.freeze())));
            }
            if let Err(why) = fed {
                return Poll::Ready(Err(Lost::garbled(why)));
            }
        }
    }
}

/// Whether the answer comes in frames; its head says then what becomes of it.
pub(super) fn is_framed(head: &mut AnswerHead) -> bool {
    let kind = head.headers.get(names::CONTENT_TYPE).unwrap_or_default();
    let framed = head.status.is_success() && kind.eq_ignore_ascii_case(b"application/vnd.amazon.eventstream");
    if framed {
        head.headers.set(names::CONTENT_TYPE, "text/event-stream; charset=utf-8");
        head.headers.remove(names::CONTENT_LENGTH);
    }
    framed
}

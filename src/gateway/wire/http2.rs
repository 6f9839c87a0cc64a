//! HTTP/2 to a provider: one stream of a connection that Pingora keeps.
//!
//! Invariants: the stream is given back in every way an exchange can end, or the connection's count of them
//! would never fall; one that is not complete is reset with it, so that the provider stops.

use super::{AnswerHead, Lost, Outbox, Sending, Stage};
use crate::gateway::peer::Lines;
use crate::protocol::fields::{Fields, names};
use crate::stage::rewrite::Outgoing;
use bytes::Bytes;
use h2::SendStream;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use pingora::http::RequestHeader;
use pingora::protocols::http::v2::client::Http2Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{BError, ErrorType, RetryType};
use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// A stream for one exchange.
pub struct Http2 {
    session: Option<Http2Session>,
    lines: Arc<Lines>,
    peer: HttpPeer,
    sink: Option<SendStream<Bytes>>,
    outbox: Outbox,
    sending: Sending,
    /// How much of an answer of declared length is still to come.
    left: Option<u64>,
    /// All of a declared length has come and was said to be the end; the stream's own end may be on its way.
    whole: bool,
    complete: bool,
}

impl std::fmt::Debug for Http2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http2").field("sending", &self.sending).finish_non_exhaustive()
    }
}

impl Http2 {
    /// An exchange on this stream.
    pub fn new(session: Http2Session, lines: Arc<Lines>, peer: HttpPeer) -> Self {
        Self {
            session: Some(session),
            lines,
            peer,
            sink: None,
            outbox: Outbox::default(),
            sending: Sending::Open,
            left: None,
            whole: false,
            complete: false,
        }
    }

    pub(super) fn begin(&mut self, outgoing: &Outgoing) -> Result<(), Lost> {
        let Some(session) = &mut self.session else { return Err(Lost::new(Stage::Refused, "no stream")) };
        let head =
            request_head(outgoing, self.peer.is_tls()).map_err(|detail| Lost::new(Stage::Unfit, detail))?;
        outgoing.body.iter().for_each(|piece| self.outbox.push(piece.clone()));
        let bare = self.outbox.is_empty();
        session.write_request_header(head, bare).map_err(|error| {
            let unfit = error.etype == ErrorType::InvalidHTTPHeader;
            Lost::new(if unfit { Stage::Unfit } else { Stage::Refused }, error.etype.as_str())
        })?;
        if bare {
            self.sending = Sending::Whole;
        } else {
            self.sink = session.take_request_body_writer();
        }
        Ok(())
    }

    /// Sends what the windows take; ready when nothing more will be sent.
    pub(super) fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.sending != Sending::Open {
            return Poll::Ready(());
        }
        let sent = ready!(self.poll_write(context));
        if sent {
            self.sending = Sending::Whole;
        } else {
            self.stop_sending();
        }
        Poll::Ready(())
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        let Some(sink) = &mut self.sink else { return Poll::Ready(false) };
        while let Some(front) = self.outbox.next() {
            sink.reserve_capacity(front.len().min(FRAMES_AHEAD_MAX));
            if sink.capacity() == 0 {
                match ready!(sink.poll_capacity(context)) {
                    Some(Ok(_)) => continue,
                    Some(Err(_)) | None => return Poll::Ready(false),
                }
            }
            let part = front.slice(..front.len().min(sink.capacity()));
            let length = part.len();
            self.outbox.advance(length);
            if sink.send_data(part, self.outbox.is_empty()).is_err() {
                return Poll::Ready(false);
            }
        }
        Poll::Ready(true)
    }

    pub(super) fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<AnswerHead, Lost>> {
        let Some(session) = &mut self.session else {
            return Poll::Ready(Err(Lost::new(Stage::Refused, "no stream")));
        };
        let read = ready!(pin!(session.read_response_header()).poll(context));
        if let Err(error) = read {
            if error.etype == ErrorType::H2Downgrade {
                // Whatever comes next needs a connection that can be an HTTP/1.1 one.
                session.conn.mark_shutdown();
                self.lines.prefer_http1(&self.peer);
            }
            return Poll::Ready(Err(lost(&error, false)));
        }
        let Some(head) = session.response_header() else {
            return Poll::Ready(Err(Lost::garbled("an answer without a head")));
        };
        let sound = !head.headers.contains_key(CONNECTION)
            && !head.headers.contains_key(TRANSFER_ENCODING)
            && !head.status.is_informational();
        if !sound {
            return Poll::Ready(Err(Lost::garbled("a head that HTTP/2 does not have")));
        }
        let length = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        self.left = length.and_then(|length| length.parse().ok());
        Poll::Ready(Ok(AnswerHead { status: head.status, headers: Fields::from(&head.headers) }))
    }

    pub(super) fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Lost>> {
        let Some(session) = &mut self.session else { return Poll::Ready(Ok(None)) };
        loop {
            let read = pin!(session.read_response_body()).poll(context);
            if read.is_pending() && self.left == Some(0) && !self.whole {
                // The client has all of it, and would wait on its connection for nothing.
                self.whole = true;
                return Poll::Ready(Ok(None));
            }
            match ready!(read) {
                // A frame may be empty.
                Ok(Some(data)) if data.is_empty() => {}
                Ok(Some(data)) => {
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    return Poll::Ready(Ok(Some(data)));
                }
                Ok(None) => {
                    self.complete = true;
                    return Poll::Ready(Ok(None));
                }
                // A provider that needs no more of the request may reset its stream behind a whole answer
                // (RFC 9113 section 8.1).
                Err(_) if self.left == Some(0) => {
                    self.complete = true;
                    return Poll::Ready(Ok(None));
                }
                Err(error) => return Poll::Ready(Err(lost(&error, true))),
            }
        }
    }

    pub(super) fn stop_sending(&mut self) {
        if self.sending == Sending::Open {
            self.sending = Sending::Stopped;
            self.outbox.clear();
            // The stream is reset when it is given back; until then its answer is still read.
        }
    }

    pub(super) fn sending(&self) -> Sending {
        self.sending
    }

    pub(super) fn moved(&self) -> u64 {
        self.outbox.moved
    }

    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        drop(self.sink.take());
        if let Some(session) = self.session.take() {
            self.lines.give_back(session, &self.peer);
        }
    }
}

/// The host goes into `:authority`, and nowhere else (RFC 9113 section 8.3.1).
fn request_head(outgoing: &Outgoing, tls: bool) -> Result<Box<RequestHeader>, String> {
    let authority = outgoing.headers.get(names::HOST).unwrap_or_default();
    let uri = http::Uri::builder()
        .scheme(if tls { "https" } else { "http" })
        .authority(authority)
        .path_and_query(outgoing.target.as_str())
        .build();
    let uri = uri.map_err(|error| format!("unusable path: {error}"))?;
    let built = RequestHeader::build(outgoing.method.clone(), b"/", Some(outgoing.headers.len()));
    let mut head = built.map_err(|error| format!("unusable method: {}", error.etype.as_str()))?;
    head.set_uri(uri);
    for (name, value) in outgoing.headers.to_map().iter().filter(|(name, _)| **name != HOST) {
        head.append_header(name, value)
            .map_err(|error| format!("unusable header: {}", error.etype.as_str()))?;
    }
    Ok(Box::new(head))
}

fn lost(error: &BError, answering: bool) -> Lost {
    let detail = error.etype.as_str();
    if matches!(error.etype, ErrorType::InvalidHTTPHeader | ErrorType::InvalidH2) {
        return Lost::garbled(detail);
    }
    let stage = match &error.retry {
        _ if answering => Stage::Begun,
        // What Pingora marks so was not begun (RFC 9113 section 8.7), or lay on a connection that had ended.
        RetryType::Decided(true) if asks_for_another(error) => Stage::Elsewhere,
        RetryType::Decided(true) => Stage::Refused,
        // The connection broke; a stream that was reset in so many words is another matter.
        RetryType::ReusedOnly => Stage::Silent,
        RetryType::Decided(false) => Stage::Begun,
    };
    Lost::new(stage, detail)
}

/// Whether the provider wants another connection for it: this one says goodbye, or is of the wrong HTTP.
fn asks_for_another(error: &BError) -> bool {
    let said = error.root_cause().downcast_ref::<h2::Error>();
    error.etype == ErrorType::H2Downgrade || said.is_some_and(h2::Error::is_go_away)
}

/// How much of a body may wait inside the connection for its turn.
const FRAMES_AHEAD_MAX: usize = 64 * 1024;

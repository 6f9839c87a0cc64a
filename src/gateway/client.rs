//! The client's side of a request, whoever moves its bytes.
//!
//! Invariant: nobody else in the gateway asks what a request came over.

mod http1;

pub use self::http1::Http1;

use crate::gateway::guard::clock::Clock;
use crate::gateway::guard::{self, BodyFault, Guarded, Read};
use crate::gateway::wire::AnswerHead;
use crate::protocol::parts::Parts;
use bytes::Bytes;
use http::Version;
use http::header::CONTENT_LENGTH;
use pingora::ErrorType;
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::protocols::{GetSocketDigest as _, Ssl as _};
use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A client, while one request of its is answered.
#[expect(missing_debug_implementations, reason = "Pingora's session has none")]
pub enum Client<'a> {
    /// A connection of HTTP/1, our codec.
    Http1(&'a mut Http1),
    /// A stream of HTTP/2, or what Pingora's pipeline moves.
    Pingora(&'a mut ServerSession, Cow<'a, Parts>),
}

/// The client is no longer there, or takes nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

impl<'a> Client<'a> {
    /// What Pingora moves the bytes of.
    pub fn pingora(session: &'a mut ServerSession) -> Self {
        let head = Parts::from(&**session.req_header());
        Self::Pingora(session, Cow::Owned(head))
    }
}

impl Client<'_> {
    /// The same for somebody else, for a while.
    pub fn lend(&mut self) -> Client<'_> {
        match self {
            Self::Http1(request) => Client::Http1(request),
            Self::Pingora(session, head) => Client::Pingora(session, Cow::Borrowed(head)),
        }
    }

    /// The head of its request.
    pub fn head(&self) -> &Parts {
        match self {
            Self::Http1(request) => request.head(),
            Self::Pingora(_, head) => head,
        }
    }

    /// Who is at the other end of the connection.
    pub fn peer(&self) -> Option<IpAddr> {
        match self {
            Self::Http1(request) => {
                let socket = request.guarded().get_socket_digest()?;
                socket.peer_addr().and_then(|address| address.as_inet()).map(SocketAddr::ip)
            }
            Self::Pingora(session, _) => {
                session.client_addr().and_then(|address| address.as_inet()).map(SocketAddr::ip)
            }
        }
    }

    /// Whether it came over TLS.
    pub fn is_secured(&self) -> bool {
        match self {
            Self::Http1(request) => request.guarded().get_ssl_digest().is_some(),
            Self::Pingora(session, _) => session.digest().is_some_and(|digest| digest.ssl_digest.is_some()),
        }
    }

    /// The connection, where it is this request's alone.
    pub(super) fn connection(&self) -> Option<&Guarded> {
        match self {
            Self::Http1(request) => Some(request.guarded()),
            Self::Pingora(session, _) => {
                session.stream().and_then(|stream| (**stream).as_any().downcast_ref())
            }
        }
    }

    /// What times the answer, to be brought back where the connection answers one request after the other.
    pub fn take_clock(&mut self) -> Clock {
        match self {
            Self::Http1(request) => std::mem::take(request.clock()),
            Self::Pingora(..) => Clock::default(),
        }
    }

    /// Brings it back.
    pub fn return_clock(&mut self, clock: Clock) {
        if let Self::Http1(request) = self {
            *request.clock() = clock;
        }
    }

    /// Sets the clocks: how long it may take nothing, and for how long what is unread of its body is read at the end.
    pub fn greet(&mut self, write_idle: Duration, drain: Duration) {
        let is_old = guard::is_old(self);
        match self {
            // The guard's paces are all the clocks it needs.
            Self::Http1(request) if is_old => request.make_last(),
            Self::Http1(_) => {}
            Self::Pingora(session, _) => {
                if session.get_keepalive().is_some() {
                    // Without an end of Pingora's own: the guard knows the time between two requests from that of a head.
                    session.set_keepalive(if is_old { None } else { Some(0) });
                }
                // The body's own clock runs where it is read; Pingora's would end a longer one early.
                session.set_read_timeout(None);
                session.set_write_timeout(Some(write_idle));
                session.set_total_drain_timeout(Some(drain));
            }
        }
    }

    /// Nothing follows this answer on its connection.
    pub fn make_last(&mut self) {
        match self {
            Self::Http1(request) => request.make_last(),
            Self::Pingora(session, _) => session.set_keepalive(None),
        }
    }

    /// Another request may follow although the body of this one is not read yet: it will be.
    pub fn stays_though_unread(&mut self) {
        match self {
            Self::Http1(_) => {}
            Self::Pingora(session, _) => session.set_close_on_response_before_downstream_finish(false),
        }
    }

    /// Informational answers of a provider are for the hop that sent them.
    pub fn takes_no_information(&mut self) {
        match self {
            Self::Http1(_) => {}
            Self::Pingora(session, _) => session.set_ignore_info_resp(true),
        }
    }

    /// Whether the body has been read to its end.
    pub fn is_body_read(&mut self) -> bool {
        match self {
            Self::Http1(request) => request.is_body_read(),
            Self::Pingora(session, _) => session.is_body_done(),
        }
    }

    /// More of the body; straight to where it is wanted where that can be.
    pub async fn read(&mut self, into: &mut Vec<u8>) -> Result<Read, BodyFault> {
        match self {
            Self::Http1(request) => request.read(into).await.map_err(|error| guard::fault(&error)),
            Self::Pingora(session, _) => {
                let read = session.read_request_body().await;
                let read = read.map_err(|error| body_fault(&error).unwrap_or(BodyFault::Gone))?;
                Ok(read.map_or(Read::End, Read::Piece))
            }
        }
    }

    /// Says that the body may come.
    pub async fn go_on(&mut self) -> Result<(), Gone> {
        match self {
            Self::Http1(request) => request.go_on().await,
            Self::Pingora(session, _) => session.write_continue_response().await.map_err(|_| Gone),
        }
    }

    /// Resolves when it has left; asked once its body has been read.
    pub async fn gone(&mut self) {
        match self {
            Self::Http1(request) => request.gone().await,
            // Any word of the idle read is an end: closed, reset, or bytes where none may come.
            Self::Pingora(session, _) => drop(session.read_body_or_idle(true).await),
        }
    }

    /// Whether anything was said to it, be it only that its body may come.
    pub fn was_answered(&self) -> bool {
        match self {
            Self::Http1(request) => request.was_answered(),
            Self::Pingora(session, _) => session.response_written().is_some(),
        }
    }

    /// Whether the head of an answer was sent.
    pub fn has_head(&self) -> bool {
        match self {
            Self::Http1(request) => request.has_head(),
            Self::Pingora(session, _) => answer_head(session).is_some(),
        }
    }

    /// Whether only the end of the connection says that the answer is whole.
    pub fn is_unframed(&self) -> bool {
        match self {
            Self::Http1(request) => request.is_unframed(),
            Self::Pingora(session, _) => {
                session.req_header().version < Version::HTTP_11
                    && answer_head(session).is_some_and(|head| !head.headers.contains_key(CONTENT_LENGTH))
            }
        }
    }

    /// Sends the head of its answer, in this second since the Unix epoch.
    pub async fn write_head(&mut self, head: AnswerHead, unix: u64) -> Result<(), Gone> {
        match self {
            Self::Http1(request) => {
                request.write_head(head, unix);
                Ok(())
            }
            Self::Pingora(session, _) => {
                session.write_response_header(Box::new(head.into())).await.map_err(|_| Gone)
            }
        }
    }

    /// Sends more of the answer.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), Gone> {
        match self {
            Self::Http1(request) => request.write(piece).await,
            Self::Pingora(session, _) => session.write_response_body(piece, false).await.map_err(|_| Gone),
        }
    }

    /// Ends the answer.
    pub async fn end(&mut self) -> Result<(), Gone> {
        match self {
            Self::Http1(request) => request.end().await,
            Self::Pingora(session, _) => {
                session.write_response_body(Bytes::new(), true).await.map_err(|_| Gone)
            }
        }
    }

    /// The connection behind an answer that switches to another protocol; there is none where it is shared.
    pub async fn switch(&mut self) -> Result<&mut Guarded, Gone> {
        match self {
            Self::Http1(request) => request.switch().await,
            Self::Pingora(..) => Err(Gone),
        }
    }

    /// Leaves the answer as it is: nothing more follows.
    pub fn abandon(&mut self) {
        match self {
            Self::Http1(request) => request.abandon(),
            Self::Pingora(..) => {}
        }
    }

    /// What Pingora's pipeline moved of the request and of the answer, in bytes.
    pub fn moved(&self) -> (u64, u64) {
        match self {
            Self::Http1(_) => (0, 0),
            Self::Pingora(session, _) => (session.body_bytes_read() as u64, session.body_bytes_sent() as u64),
        }
    }
}

fn answer_head(session: &ServerSession) -> Option<&ResponseHeader> {
    session.response_written().filter(|head| !head.status.is_informational())
}

/// What is wrong with a body; `None`: the connection is.
pub(super) fn body_fault(error: &pingora::Error) -> Option<BodyFault> {
    guard::body_fault(error).or_else(|| is_malformed(error).then_some(BodyFault::Broken))
}

/// Whether the bytes were wrong, as opposed to the connection being gone.
fn is_malformed(error: &pingora::Error) -> bool {
    use ErrorType::{ConnectionClosed, Custom, ReadError, ReadTimedout};
    !matches!(error.etype, ConnectionClosed | ReadError | ReadTimedout | Custom("PrematureBodyEnd"))
        && error.cause.is_none()
}

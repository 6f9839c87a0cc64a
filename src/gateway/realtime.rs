//! A realtime session: a WebSocket to the client and one to its provider, and what passes between them.
//!
//! Up to the provider's 101 it is an exchange like any other, with its attempts, its failures and its refusals; from there on both
//! connections belong to the conversation (`talk`), what is said is read as far as it is counted and limited (`books`), and the
//! end is said to both sides (`ending`). Decision 0023.
//! Invariants: the client hears 101 only from a provider that has proved it understands; behind it every end is a close frame where
//! one can still be written, and one record; slots and places are held as long as the conversation.

mod books;
mod ending;
mod line;
mod talk;

use self::books::Books;
use self::talk::Talk;
use crate::code::Code;
use crate::config::snapshot::Server;
use crate::gateway::Gateway;
use crate::gateway::client::{Client, Gone};
use crate::gateway::exchange::{Accepted, Exchange, UnderWay};
use crate::gateway::forward::Answer;
use crate::gateway::reply::Sent;
use crate::gateway::wire::Wire;
use crate::protocol::Operation;
use crate::protocol::entry::Entry;
use crate::protocol::fields::names::{
    CONNECTION, ORIGIN, SEC_WEBSOCKET_PROTOCOL, TRANSFER_ENCODING, UPGRADE,
};
use crate::protocol::fields::printable;
use crate::protocol::parts::Parts;
use crate::protocol::websocket::handshake;
use crate::refusal::Refusal;
use crate::stage::plan::Attempt;
use bytes::BytesMut;
use pingora::protocols::Stream;
use smol_str::SmolStr;

/// A conversation that both sides have agreed on.
pub struct Opened {
    attempt: Box<Attempt>,
    /// The model by the client's name.
    requested: SmolStr,
    /// The provider's connection, and what has come of it already.
    provider: Stream,
    early: BytesMut,
    streaming: UnderWay,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").field("requested", &self.requested).finish_non_exhaustive()
    }
}

/// Refuses what is no handshake where there is nothing else, and the pages of origins that may not call: a browser asks nobody
/// before it opens a WebSocket.
pub fn check(entry: &Entry, head: &Parts, server: &Server) -> Result<(), Refusal> {
    if entry.operation != Operation::Realtime {
        return Ok(());
    }
    handshake::check(head.version, &head.headers)?;
    let origin = head.headers.get(ORIGIN).map(|origin| printable(origin).unwrap_or("null"));
    let is_page =
        |origin: &&str| *origin == "null" || origin.starts_with("http:") || origin.starts_with("https:");
    let may_call =
        |origin: &str| server.cors_origins.iter().any(|allowed| allowed == origin || allowed == "*");
    match origin.filter(is_page) {
        Some(origin) if !may_call(origin) => Err(Refusal::new(Code::OriginNotAllowed, FOREIGN)),
        _ => Ok(()),
    }
}

const FOREIGN: &str =
    "Pages of this origin may not open a WebSocket here. Whoever runs the gateway can allow the origin.";

impl Gateway {
    /// Tells the client that its WebSocket is open; what follows is [`Gateway::converse`]'s.
    pub(super) async fn open_socket(
        &self,
        client: &mut Client<'_>,
        exchange: &mut Exchange,
        (accepted, mut attempt, mut answer): (Box<Accepted>, Box<Attempt>, Box<Answer>),
    ) -> Sent {
        let requested = accepted.requested.clone();
        drop(accepted);
        exchange.slot = attempt.slot.take();
        exchange.charges.extend(attempt.charge.take());
        // What a conversation comes to says nothing of the next one.
        exchange.lesson = None;
        let protocol = handshake::chosen(&answer.head.headers, &client.head().headers);
        let mut reply = self.reply(client, exchange);
        let mut head = reply.client_head(&mut answer.head, None);
        head.headers.remove(TRANSFER_ENCODING);
        head.headers.set(UPGRADE, "websocket");
        head.headers.set(CONNECTION, "Upgrade");
        if let Some(protocol) = protocol {
            head.headers.set(SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        if !reply.write_head(head).await {
            return reply.client_left();
        }
        let Wire::Http1(wire) = answer.wire else { return Sent::Broken };
        let (provider, early) = wire.into_parts();
        let streaming = UnderWay::new(self.registry.streams());
        exchange.opened = Some(Box::new(Opened { attempt, requested, provider, early, streaming }));
        Sent::Whole
    }

    /// The conversation to its end.
    pub(super) async fn converse(&self, client: &mut Client<'_>, exchange: &mut Exchange, opened: Opened) {
        let Opened { attempt, requested, provider, early, streaming } = opened;
        let books = Books::new(self, exchange, &attempt, requested);
        match client.switch().await {
            Ok(client) => {
                let mut talk = Talk::new(books, client, provider);
                let why = talk.hold(&early, self.over.clone()).await;
                talk.end(why).await;
            }
            Err(Gone) => books.nobody_there(),
        }
        drop(streaming);
        exchange.answered_until(self.world.now());
        self.judge_end(exchange, &attempt, self.world.now());
    }
}

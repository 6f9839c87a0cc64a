//! A WebSocket client that writes exactly the frames it is told, right or wrong, and reports exactly what came back.

use super::client::{Answer, Connection};
use serde_json::Value;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tollgate::protocol::websocket::frames::{Frames, Part};
use tollgate::protocol::websocket::{Opcode, Writer, close_payload, write_frame};

/// What the other side said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Said {
    Event(Value),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16, String),
    /// The connection ended.
    End,
}

/// A conversation, over TLS or not.
pub(crate) struct Socket<S = TcpStream> {
    connection: Connection<S>,
    frames: Frames,
    input: Vec<u8>,
    message: Vec<u8>,
    /// The answer to the handshake.
    pub(crate) answer: Answer,
    /// The frames of the last text, as they came.
    pub(crate) raw: Vec<u8>,
}

/// The key of RFC 6455's example, and what proves that it was understood.
pub(crate) const HANDSHAKE_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const PROOF: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The bytes of a handshake.
pub(crate) fn handshake(target: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut head = format!(
        "GET {target} HTTP/1.1\r\nhost: gateway\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: {HANDSHAKE_KEY}\r\n"
    );
    for (name, value) in headers {
        head.extend([*name, ": ", *value, "\r\n"]);
    }
    head.push_str("\r\n");
    head.into_bytes()
}

impl Socket {
    /// Opens one; the error is the answer that was no 101.
    pub(crate) async fn open(
        addr: SocketAddr,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, Answer> {
        let mut connection = Connection::open(addr).await;
        // An offer that is not taken, as every browser makes it.
        let offer = ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits");
        let headers: Vec<_> = headers.iter().copied().chain([offer]).collect();
        connection.send(&handshake(target, &headers)).await;
        Self::opened(connection).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// Over a connection on which the handshake was sent.
    pub(crate) async fn opened(mut connection: Connection<S>) -> Result<Self, Answer> {
        let answer = connection.head_and_refusal().await;
        if answer.status != 101 {
            return Err(answer);
        }
        let frames = Frames::new(Writer::Server, 1 << 30);
        Ok(Self { connection, frames, input: Vec::new(), message: Vec::new(), answer, raw: Vec::new() })
    }

    pub(crate) async fn send(&mut self, event: &Value) {
        self.frame(Opcode::Text, event.to_string().as_bytes()).await;
    }

    pub(crate) async fn frame(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut bytes = Vec::new();
        write_frame(opcode, payload, Some(MASK), &mut bytes);
        self.bytes(&bytes).await;
    }

    /// Says it, unless nobody listens any more.
    pub(crate) async fn bytes(&mut self, bytes: &[u8]) {
        self.connection.send_anyway(bytes).await;
    }

    /// Closes politely, and reads to the end.
    pub(crate) async fn close(mut self) -> Vec<Said> {
        self.frame(Opcode::Close, &close_payload(1000, "done")).await;
        self.rest().await
    }

    /// Leaves without a word.
    pub(crate) fn leave(self) {
        drop(self.connection);
    }

    /// The next thing that was said.
    pub(crate) async fn next(&mut self) -> Said {
        loop {
            let mut input = self.input.as_slice();
            let part = self.frames.next(&mut input).expect("the gateway keeps the rules");
            let is_hungry = part.is_none();
            let said = match part {
                Some(Part::Begin(head, raw)) => {
                    if head.opcode != Opcode::Continuation {
                        self.raw.clear();
                    }
                    self.raw.extend_from_slice(&raw);
                    None
                }
                Some(Part::Payload(_, _, bytes)) => {
                    self.message.extend_from_slice(bytes);
                    self.raw.extend_from_slice(bytes);
                    None
                }
                Some(Part::End(head)) if head.fin => {
                    let text = std::mem::take(&mut self.message);
                    Some(Said::Event(serde_json::from_slice(&text).expect("events are JSON")))
                }
                Some(Part::Control(Opcode::Ping, payload, _)) => Some(Said::Ping(payload.to_vec())),
                Some(Part::Control(Opcode::Pong, payload, _)) => Some(Said::Pong(payload.to_vec())),
                Some(Part::Control(_, payload, _)) => {
                    let code = payload.first_chunk().map_or(0, |code| u16::from_be_bytes(*code));
                    let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default()).into_owned();
                    Some(Said::Close(code, reason))
                }
                _ => None,
            };
            let read = self.input.len() - input.len();
            self.input.drain(..read);
            if let Some(said) = said {
                return said;
            }
            if is_hungry {
                let more = self.connection.some_bytes().await;
                if more.is_empty() {
                    return Said::End;
                }
                self.input.extend(more);
            }
        }
    }

    /// The next event, whatever else is said before it.
    pub(crate) async fn event(&mut self) -> Value {
        loop {
            match self.next().await {
                Said::Event(event) => return event,
                Said::Ping(_) | Said::Pong(_) => {}
                other => panic!("{other:?} instead of an event"),
            }
        }
    }

    /// The next event of this type.
    pub(crate) async fn event_of(&mut self, kind: &str) -> Value {
        loop {
            let event = self.event().await;
            if event["type"] == kind {
                return event;
            }
        }
    }

    /// Asks for an answer, and reads it to its end.
    pub(crate) async fn answered(&mut self) -> Value {
        self.send(&serde_json::json!({ "type": "response.create" })).await;
        self.event_of("response.done").await
    }

    /// All that is still said, to the end.
    pub(crate) async fn rest(&mut self) -> Vec<Said> {
        let mut said = Vec::new();
        loop {
            let next = self.next().await;
            if next == Said::End {
                return said;
            }
            said.push(next);
        }
    }
}

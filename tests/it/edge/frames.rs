//! HTTP/2 written by hand: frames that no client library would send.

use super::heads::{MALFORMED, OTHERS};
use super::{house, large};
use crate::support::client::{self, Connection};
use crate::support::speech::{MODEL, Speech};
use crate::support::{Gateway, KEY};
use std::collections::HashMap;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tollgate_loadtest::{Fault, Selector};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PROTOCOL_ERROR: u32 = 1;
const ENHANCE_YOUR_CALM: u32 = 11;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is short").to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// HPACK without its tables: each field in full.
fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            // Lengths of 127 and more go on in sevens of bits.
            if let Some(length) = u8::try_from(text.len()).ok().filter(|length| *length < 127) {
                block.push(length);
            } else {
                block.push(127);
                let mut rest = text.len() - 127;
                while rest >= 128 {
                    block.push(u8::try_from(rest % 128).expect("it is small") | 128);
                    rest /= 128;
                }
                block.push(u8::try_from(rest).expect("it is small"));
            }
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// What came back.
#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    /// The error of a reset or a goodbye.
    fn error(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("four bytes"))
    }

    /// The status, where it stands in HPACK's own table, else 0.
    fn status(&self) -> u16 {
        match self.payload.first() {
            Some(0x88) => 200,
            Some(0x8c) => 400,
            Some(0x8d) => 404,
            _ => 0,
        }
    }
}

struct Wire(TcpStream);

impl Wire {
    /// With a greeting that has these settings in it.
    async fn greet(addr: SocketAddr, settings: &[u8]) -> Self {
        let mut wire = Self(TcpStream::connect(addr).await.expect("the gateway listens"));
        wire.send(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(SETTINGS, 0, 0, settings)[..]].concat())
            .await;
        wire
    }

    async fn open(addr: SocketAddr) -> Self {
        Self::greet(addr, &[]).await
    }

    /// `false`: nobody listens any more.
    async fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).await.is_ok()
    }

    /// The next frame; `None`: the connection has ended.
    async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5] & 127, head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The first that ends this stream: its headers where it has a status, a reset, or the goodbye to all.
    async fn verdict(&mut self, stream: u32) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            let own = frame.stream == stream && matches!(frame.kind, HEADERS | RST_STREAM);
            if own || frame.kind == GOAWAY {
                return Some(frame);
            }
        }
    }

    /// Everything until the end; the error of the goodbye, if one was said.
    async fn farewell(&mut self) -> Option<u32> {
        let mut said = None;
        while let Some(frame) = self.next().await {
            if frame.kind == GOAWAY {
                said = Some(frame.error());
            }
        }
        said
    }
}

fn asking<'a>(bearer: &'a str, more: &[(&'a str, &'a str)]) -> Vec<u8> {
    let mut list = vec![
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/v1/chat/completions"),
        (":authority", "a"),
        ("authorization", bearer),
        ("content-type", "application/json"),
    ];
    list.extend_from_slice(more);
    fields(&list)
}

fn bearer() -> String {
    format!("Bearer {KEY}")
}

const CHAT: &[u8] = br#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;

/// It still serves, over either protocol.
async fn serves(gateway: &Gateway) {
    assert_eq!(Speech::Chat.ask_h2(gateway.addr(), MODEL, false).await.status, 200);
    let mut connection = Connection::open(gateway.addr()).await;
    connection.send(&Speech::Chat.request(KEY, MODEL, false)).await;
    assert_eq!(connection.answer().await.expect("an answer").status, 200);
}

#[tokio::test]
async fn windows_suit_long_prompts_and_what_is_held_is_bounded() {
    let (_upstream, gateway) = house("").await;
    let mut wire = Wire::open(gateway.addr()).await;
    let settings = wire.next().await.expect("its settings");
    assert_eq!(settings.kind, SETTINGS);
    let told: HashMap<u16, u32> = settings
        .payload
        .chunks(6)
        .map(|pair| {
            (u16::from_be_bytes([pair[0], pair[1]]), u32::from_be_bytes([pair[2], pair[3], pair[4], pair[5]]))
        })
        .collect();
    // MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_HEADER_LIST_SIZE.
    assert_eq!((told[&3], told[&4], told[&6]), (100, 1 << 20, 64 << 10));
    // A megabyte goes up without a word from the gateway, once its settings are agreed to.
    assert!(wire.send(&frame(SETTINGS, 1, 0, &[])).await);
    let mut body = br#"{"model":"m","messages":[{"role":"user","content":""#.to_vec();
    body.resize((1 << 20) - 4, b'x');
    body.extend_from_slice(br#""}]}"#);
    body.truncate(1 << 20);
    assert!(wire.send(&frame(HEADERS, END_HEADERS, 1, &asking(&bearer(), &[]))).await);
    let pieces = body.chunks(16_384);
    let last = pieces.len() - 1;
    for (at, piece) in pieces.enumerate() {
        assert!(wire.send(&frame(DATA, u8::from(at == last), 1, piece)).await);
    }
    let verdict = wire.verdict(1).await.expect("an answer");
    assert_eq!((verdict.kind, verdict.status()), (HEADERS, 200), "{verdict:?}");
}

#[tokio::test]
async fn rapid_resets_end_the_connection_and_cost_no_provider_anything() {
    let (upstream, gateway) = house("").await;
    let mut wire = Wire::open(gateway.addr()).await;
    let block = asking(&bearer(), &[]);
    let mut sent = 0u32;
    while sent < 100_000 {
        let mut burst = Vec::new();
        for _ in 0..100 {
            let stream = 2 * sent + 1;
            burst.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &block));
            burst.extend(frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()));
            sent += 1;
        }
        if !wire.send(&burst).await {
            break;
        }
    }
    assert!(sent < 100_000, "nobody stopped it");
    assert!(matches!(wire.farewell().await, None | Some(ENHANCE_YOUR_CALM)));
    assert_eq!(upstream.request_count(), 0);
    serves(&gateway).await;
    assert_eq!(gateway.count("tollgate_inflight_requests").await, 0);
}

#[tokio::test]
async fn a_head_without_end_is_ended() {
    for (name, piece) in [("large pieces", vec![0x40; 16_384]), ("empty pieces", Vec::new())] {
        let (upstream, gateway) = house("").await;
        let mut wire = Wire::open(gateway.addr()).await;
        assert!(wire.send(&frame(HEADERS, 0, 1, &asking(&bearer(), &[]))).await);
        let mut sent = 0;
        while sent < 50_000 && wire.send(&frame(CONTINUATION, 0, 1, &piece)).await {
            sent += 1;
        }
        assert!(sent < 50_000, "{name}: nobody stopped it");
        serves(&gateway).await;
        assert_eq!(upstream.request_count(), 2, "{name}");
    }
}

#[tokio::test]
async fn frames_that_carry_nothing_end_the_connection_when_they_are_a_flood() {
    let (_upstream, gateway) = house("").await;
    let floods = [
        ("PING", frame(PING, 0, 0, &[0; 8])),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[])),
        ("PRIORITY", frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 1])),
        ("of no kind", frame(0xbb, 0, 0, b"x")),
    ];
    for (name, flood) in floods {
        let mut wire = Wire::open(gateway.addr()).await;
        let mut sent = 0;
        while sent < 1_000_000 && wire.send(&flood.repeat(500)).await {
            sent += 500;
        }
        assert!(sent < 1_000_000, "{name}: nobody stopped it");
    }
    serves(&gateway).await;
    // A few are answered.
    let mut wire = Wire::open(gateway.addr()).await;
    assert!(wire.send(&frame(PING, 0, 0, b"tollgate").repeat(50)).await);
    let mut answered = 0;
    while answered < 50 {
        let frame = wire.next().await.expect("it goes on");
        answered += usize::from(frame.kind == PING && frame.flags == 1);
    }
}

#[tokio::test]
async fn heads_over_the_limits_are_refused_and_the_connection_goes_on() {
    let (upstream, gateway) = house("").await;
    let long = |bytes: usize| "a".repeat(bytes);
    let many: Vec<(String, String)> = (0..130).map(|at| (format!("x-{at}"), "b".to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let bearer = bearer();
    let value = long(16_385);
    for (name, path, headers, status, code) in [
        ("many", "/v1/chat/completions".to_owned(), many.clone(), 431, "header_too_large"),
        ("long", "/v1/chat/completions".to_owned(), vec![("x-a", value.as_str())], 431, "header_too_large"),
        ("target", format!("/v1/{}", long(8_192)), vec![], 414, "uri_too_long"),
        (
            "disguised",
            "/v1/chat/completions".to_owned(),
            vec![("content_length", "1")],
            400,
            "invalid_request",
        ),
    ] {
        let headers = [&[("authorization", bearer.as_str())][..], &headers].concat();
        let answer = client::post_h2(gateway.addr(), &path, &headers, CHAT).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{name}");
    }
    // All together over 64 KiB: the library says so, and the next stream is served.
    let mut wire = Wire::open(gateway.addr()).await;
    let block = asking(&bearer, &[("x-a", &long(40_000)), ("x-b", &long(40_000))]);
    let mut pieces = block.chunks(16_000);
    assert!(wire.send(&frame(HEADERS, END_STREAM, 1, pieces.next().expect("a first"))).await);
    let rest: Vec<_> = pieces.collect();
    for (at, piece) in rest.iter().enumerate() {
        let flags = if at + 1 == rest.len() { END_HEADERS } else { 0 };
        assert!(wire.send(&frame(CONTINUATION, flags, 1, piece)).await);
    }
    let verdict = wire.verdict(1).await.expect("an answer");
    assert_eq!((verdict.kind, verdict.stream), (HEADERS, 1), "{verdict:?}");
    assert_ne!(verdict.status(), 200);
    assert_eq!(upstream.request_count(), 0);
    wire.send(&frame(HEADERS, END_HEADERS, 3, &asking(&bearer, &[]))).await;
    wire.send(&frame(DATA, END_STREAM, 3, CHAT)).await;
    assert_eq!(wire.verdict(3).await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn what_cannot_be_said_in_http1_is_not_said_in_http2_either() {
    let (upstream, gateway) = house("").await;
    let bearer = bearer();
    let malformed = MALFORMED.iter().map(|(name, more)| (*name, asking(&bearer, more)));
    let others = OTHERS.iter().map(|(name, list)| (*name, fields(list)));
    for (name, block) in malformed.chain(others) {
        let mut wire = Wire::open(gateway.addr()).await;
        wire.send(&frame(HEADERS, END_HEADERS, 1, &block)).await;
        wire.send(&frame(DATA, END_STREAM, 1, CHAT)).await;
        match wire.verdict(1).await {
            Some(frame) if frame.kind == HEADERS => assert_ne!(frame.status(), 200, "{name}"),
            Some(frame) => assert_eq!(frame.error(), PROTOCOL_ERROR, "{name}"),
            None => {}
        }
    }
    assert_eq!((upstream.request_count(), upstream.total_connections()), (0, 0));
    serves(&gateway).await;
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_it_said_never_arrives() {
    for (name, length) in [("shorter than said", "100"), ("longer than said", "3"), ("said to be none", "0")]
    {
        for path in ["/v1/chat/completions", "/v1/files"] {
            let (upstream, gateway) = house("").await;
            let mut wire = Wire::open(gateway.addr()).await;
            let bearer = bearer();
            let block = fields(&[
                (":method", "POST"),
                (":scheme", "http"),
                (":path", path),
                (":authority", "a"),
                ("authorization", &bearer),
                ("content-length", length),
            ]);
            wire.send(&frame(HEADERS, END_HEADERS, 1, &block)).await;
            wire.send(&frame(DATA, END_STREAM, 1, CHAT)).await;
            match wire.verdict(1).await {
                Some(frame) if frame.kind == HEADERS => assert_ne!(frame.status(), 200, "{name}, {path}"),
                Some(frame) => assert_eq!(frame.error(), PROTOCOL_ERROR, "{name}, {path}"),
                None => {}
            }
            assert_eq!(upstream.counts().completed, 0, "{name}, {path}");
        }
    }
}

#[tokio::test]
async fn connections_without_a_stream_and_bodies_that_stop_end_in_their_time() {
    let (upstream, gateway) =
        house("timeouts = { idle = \"200ms\", body_idle = \"100ms\", header = \"300ms\" }").await;
    let mut idle = Wire::open(gateway.addr()).await;
    idle.farewell().await;
    let mut body = Wire::open(gateway.addr()).await;
    body.send(&frame(HEADERS, END_HEADERS, 1, &asking(&bearer(), &[]))).await;
    body.send(&frame(DATA, 0, 1, &CHAT[..10])).await;
    let verdict = body.verdict(1).await.expect("an answer");
    assert_eq!(verdict.kind, HEADERS, "{verdict:?}");
    assert_eq!(gateway.log.line().await["code"], "request_timeout");
    body.farewell().await;
    // Half of a preface, and nothing more.
    let mut half = Connection::open(gateway.addr()).await;
    half.send(b"PRI * HTTP/2.0\r\n\r\nSM").await;
    assert_eq!(half.answer().await.expect("it is told").status, 408);
    assert_eq!(upstream.request_count(), 0);
}

#[tokio::test]
async fn an_old_connection_says_goodbye_and_serves_what_was_begun() {
    let (upstream, gateway) = house("timeouts = { age = \"200ms\" }").await;
    upstream.script(Selector::Any, vec![Fault::HoldFirstByte]);
    let mut wire = Wire::open(gateway.addr()).await;
    wire.send(&frame(HEADERS, END_HEADERS, 1, &asking(&bearer(), &[]))).await;
    wire.send(&frame(DATA, END_STREAM, 1, CHAT)).await;
    let goodbye = wire.verdict(1).await.expect("a goodbye");
    assert_eq!((goodbye.kind, goodbye.error()), (GOAWAY, 0));
    upstream.wait_for_holding(1).await;
    upstream.release();
    let answer = wire.verdict(1).await.expect("and the answer");
    assert_eq!((answer.kind, answer.status()), (HEADERS, 200), "{answer:?}");
}

#[tokio::test]
async fn a_stream_whose_window_stays_shut_is_ended() {
    let (upstream, gateway) = house("timeouts = { write_idle = \"200ms\" }").await;
    upstream.script(Selector::Any, vec![large()]);
    // INITIAL_WINDOW_SIZE 0, and it is never raised.
    let mut wire = Wire::greet(gateway.addr(), &[0, 4, 0, 0, 0, 0]).await;
    wire.send(&frame(HEADERS, END_HEADERS, 1, &asking(&bearer(), &[]))).await;
    wire.send(&frame(DATA, END_STREAM, 1, CHAT)).await;
    assert_eq!(wire.verdict(1).await.expect("an answer").status(), 200);
    assert_eq!(wire.verdict(1).await.expect("and its end").kind, RST_STREAM);
    assert_eq!(gateway.log.line().await["end"], "client_closed");
}

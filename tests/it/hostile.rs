//! Requests that two readers could understand differently, and others that only an attack sends: byte for byte, on
//! real sockets, against exchanges, tunnels and the admin listener.
//!
//! What is refused is answered once and closed, whatever comes behind it, and nothing of it reaches a provider. What
//! is served reaches one exactly once, framed without doubt.

mod chunks;
mod fields;
mod framing;
mod lines;
mod secured;
mod sound;

use crate::support::client::Connection;
use crate::support::{Gateway, KEY, channel, key, provider};
use std::collections::HashSet;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncWrite};
use tollgate_loadtest::Provider;

/// One request and what must be said to it. In its bytes `|` stands for a line end, `{P}` for a path, `{H}` for a host
/// with `{A}`, that for the key and the type, `{K}` for the key, `{T}` for the type, `{F}` for a length and a body, `{B}` for the body, `{L}` for its
/// length, `{X}` for that in hexadecimal, `{C}` for the body in one chunk.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    name: &'static str,
    bytes: &'static str,
    status: u16,
}

const fn row(name: &'static str, bytes: &'static str, status: u16) -> Row {
    Row { name, bytes, status }
}

/// Where a request goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Exchange,
    Tunnel,
    Admin,
}

const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
const FORM: &str = "--b\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b--\r\n";

impl Way {
    fn path(self) -> &'static str {
        match self {
            Self::Exchange => "/v1/chat/completions",
            Self::Tunnel => "/v1/files",
            Self::Admin => "/livez",
        }
    }

    fn body(self) -> &'static str {
        if self == Self::Tunnel { FORM } else { CHAT }
    }

    fn bytes(self, text: &str) -> Vec<u8> {
        let kind = if self == Self::Tunnel { "multipart/form-data; boundary=b" } else { "application/json" };
        let body = self.body();
        let size = format!("{:x}", body.len());
        let framed = text
            .replace("{F}", "Content-Length: {L}||{B}")
            .replace("{C}", "{X}|{B}|0||")
            .replace("{H}", "Host: t|{A}")
            .replace("{A}", "Authorization: Bearer {K}|Content-Type: {T}|")
            .replace("{T}", kind)
            .replace('|', "\r\n");
        let framed = framed.replace("{P}", self.path()).replace("{K}", KEY).replace("{X}", &size);
        framed.replace("{L}", &body.len().to_string()).replace("{B}", body).into_bytes()
    }
}

struct House {
    upstream: Provider,
    gateway: Gateway,
}

impl House {
    async fn new(server: &str) -> Self {
        let upstream = provider().await;
        let gateway =
            Gateway::with_server(server, &(channel("main", "openai", &upstream, "") + &key())).await;
        Self { upstream, gateway }
    }

    fn addr(&self, way: Way) -> SocketAddr {
        if way == Way::Admin { self.gateway.running.admin } else { self.gateway.addr() }
    }

    /// Sends a request and behind it one that would be served; the answer to the first must be the only one.
    async fn refuses(&self, way: Way, name: &str, request: &[u8], status: u16) {
        refuses(Connection::open(self.addr(way)).await, (way, name), request, status).await;
    }

    /// Nothing has reached the provider, not even a connection.
    fn is_quiet(&self) {
        assert_eq!((self.upstream.request_count(), self.upstream.total_connections()), (0, 0));
    }
}

async fn refuses<S: AsyncRead + AsyncWrite + Unpin>(
    mut connection: Connection<S>,
    (way, name): (Way, &str),
    request: &[u8],
    status: u16,
) {
    let behind = Way::Exchange.bytes("POST {P} HTTP/1.1|{H}{F}");
    connection.send_anyway(&[request, &behind].concat()).await;
    let answer = connection.answer().await.unwrap_or_else(|| panic!("no answer: {name}, {way:?}"));
    assert_eq!(answer.status, status, "{name}, {way:?}: {}", answer.text());
    assert!(connection.is_closed().await, "goes on: {name}, {way:?}");
}

fn names_are_unique(tables: &[&[Row]]) -> usize {
    let names: HashSet<_> = tables.iter().flat_map(|rows| rows.iter()).map(|row| row.name).collect();
    let rows = tables.iter().map(|rows| rows.len()).sum();
    assert_eq!(names.len(), rows, "each row says something else");
    rows
}

#[tokio::test]
async fn a_head_that_is_not_fit_is_refused_and_nothing_behind_it_is_served() {
    let tables = [lines::ROWS, fields::ROWS, framing::ROWS];
    assert!(names_are_unique(&tables) >= 190);
    let house = House::new("").await;
    let mut refused = 0;
    for row in tables.into_iter().flatten() {
        for way in [Way::Exchange, Way::Tunnel, Way::Admin] {
            house.refuses(way, row.name, &way.bytes(row.bytes), row.status).await;
            refused += 1;
        }
    }
    house.is_quiet();
    let mut counted = 0;
    for reason in ["malformed", "framing", "host", "method"] {
        let series = format!("tollgate_heads_refused_total{{reason=\"{reason}\"}}");
        counted += house.gateway.count(&series).await;
    }
    assert_eq!(counted, refused, "each is counted");
    assert_eq!(house.gateway.log.text(), "", "what is no request has no access line");
}

#[tokio::test]
async fn it_is_refused_as_well_behind_a_request_that_was_served_and_cut_anywhere() {
    let house = House::new("").await;
    let before = Way::Exchange.bytes("POST {P} HTTP/1.1|{H}{F}");
    for (at, row) in lines::ROWS.iter().chain(fields::ROWS).chain(framing::ROWS).enumerate() {
        let bad = Way::Exchange.bytes(row.bytes);
        let mut connection = Connection::open(house.gateway.addr()).await;
        let request = [&before[..], &bad[..]].concat();
        let cut = (at * 37) % request.len();
        connection.send(&request[..cut]).await;
        connection.send_anyway(&request[cut..]).await;
        connection.send_anyway(&before).await;
        assert_eq!(connection.answer().await.expect("an answer").status, 200, "{}", row.name);
        assert_eq!(connection.answer().await.map(|answer| answer.status), Some(row.status), "{}", row.name);
        assert!(connection.is_closed().await, "{}", row.name);
        assert_eq!(house.upstream.request_count(), at + 1, "{}", row.name);
    }
}

#[tokio::test]
async fn a_body_whose_framing_is_broken_is_refused_and_never_arrives() {
    names_are_unique(&[chunks::BROKEN, chunks::SOUND]);
    let house = House::new("").await;
    for row in chunks::BROKEN {
        for way in [Way::Exchange, Way::Tunnel] {
            let text = format!("POST {{P}} HTTP/1.1|{{H}}Transfer-Encoding: chunked||{}", row.bytes);
            house.refuses(way, row.name, &way.bytes(&text), row.status).await;
        }
    }
    // An upload that streams has begun when its framing breaks; it must not end as if it were whole.
    let counts = house.upstream.counts();
    assert_eq!(counts.completed, 0, "{counts:?}");
}

#[tokio::test]
async fn what_looks_odd_and_is_sound_arrives_once_and_framed_without_doubt() {
    names_are_unique(&[sound::ROWS, sound::REFUSED]);
    let house = House::new("").await;
    let chunked = chunks::SOUND
        .iter()
        .map(|row| (row.name, format!("POST {{P}} HTTP/1.1|{{H}}Transfer-Encoding: chunked||{}", row.bytes)));
    let plain = sound::ROWS.iter().map(|row| (row.name, row.bytes.to_owned()));
    let mut sent = 0;
    for (name, text) in plain.chain(chunked) {
        for way in [Way::Exchange, Way::Tunnel] {
            let mut connection = Connection::open(house.gateway.addr()).await;
            connection.send(&way.bytes(&text)).await;
            let answer = connection.answer().await.unwrap_or_else(|| panic!("no answer: {name}, {way:?}"));
            if way == Way::Exchange {
                assert_eq!(answer.status, 200, "{name}: {}", answer.text());
            }
            sent += 1;
            assert_eq!(house.upstream.request_count(), sent, "{name}, {way:?}");
            arrived_sound(&house.upstream, way, name);
        }
    }
}

/// Nothing of what the last request came with is left but its body.
fn arrived_sound(upstream: &Provider, way: Way, name: &str) {
    let arrived = upstream.requests().pop().expect("it is there");
    assert_eq!(&arrived.body[..], way.body().as_bytes(), "{name}, {way:?}");
    let count = |wanted: &str| {
        arrived.headers.iter().filter(|(header, _)| header.eq_ignore_ascii_case(wanted)).count()
    };
    assert_eq!(count("content-length") + count("transfer-encoding"), 1, "{name}, {way:?}");
    assert_eq!((count("host"), count("authorization")), (1, 1), "{name}, {way:?}");
    for gone in [
        "x-api-key",
        "cookie",
        "proxy-authorization",
        "x-forwarded-for",
        "forwarded",
        "te",
        "trailer",
        "upgrade",
        "http2-settings",
        "expect",
    ] {
        assert_eq!(count(gone), 0, "{name}, {way:?}: {gone}");
    }
    for (header, value) in &arrived.headers {
        let value = String::from_utf8_lossy(value);
        assert!(!value.contains("evil") && !value.contains(KEY), "{name}, {way:?}: {header}");
    }
}

#[tokio::test]
async fn what_is_understood_and_not_served_is_said_in_the_dialect() {
    let house = House::new("").await;
    for row in sound::REFUSED {
        let mut connection = Connection::open(house.gateway.addr()).await;
        connection.send(&Way::Exchange.bytes(row.bytes)).await;
        let answer = connection.answer().await.unwrap_or_else(|| panic!("no answer: {}", row.name));
        assert_eq!(answer.status, row.status, "{}: {}", row.name, answer.text());
        assert!(answer.json()["error"]["code"].is_string(), "{}", row.name);
    }
    house.is_quiet();
}

#[tokio::test]
async fn what_is_too_long_or_too_many_is_refused_with_its_own_status() {
    let house = House::new("").await;
    let head = "POST {P} HTTP/1.1|{H}";
    let long = |bytes: usize| "a".repeat(bytes);
    let many = |lines: usize| "X-A: b|".repeat(lines);
    let rows = [
        ("a target over 8 KiB", format!("GET /{} HTTP/1.1|{{H}}|", long(8192)), 414),
        ("a query over 8 KiB", format!("GET {{P}}?{} HTTP/1.1|{{H}}|", long(8192)), 414),
        ("a target that does not end", format!("GET /{}", long(20_000)), 414),
        ("an absolute target over 8 KiB", format!("GET http://t/{} HTTP/1.1|{{H}}|", long(8192)), 414),
        ("a method that does not end", long(9_000), 400),
        ("a value over 16 KiB", format!("{head}X-A: {}|{{F}}", long(16_385)), 431),
        ("a value that does not end", format!("{head}X-A: {}", long(20_000)), 431),
        ("a name over 256 bytes", format!("{head}{}: a|{{F}}", long(257)), 431),
        ("a name that does not end", format!("{head}{}", long(20_000)), 431),
        ("129 headers", format!("{head}{}{{F}}", many(129 - 4)), 431),
        ("10,000 headers", format!("{head}{}{{F}}", many(10_000)), 431),
        ("100,000 empty headers", format!("{head}{}", "a:|".repeat(100_000)), 431),
        ("a head over 64 KiB", format!("{head}{}{{F}}", format!("X-A: {}|", long(8_000)).repeat(9)), 431),
        ("a host over 255 bytes", format!("POST {{P}} HTTP/1.1|Host: {}|{{A}}{{F}}", long(256)), 400),
    ];
    for (name, text, status) in &rows {
        for way in [Way::Exchange, Way::Tunnel, Way::Admin] {
            house.refuses(way, name, &way.bytes(text), *status).await;
        }
    }
    house.is_quiet();
    let count = async |reason| {
        house.gateway.count(&format!("tollgate_heads_refused_total{{reason=\"{reason}\"}}")).await
    };
    assert_eq!((count("target_too_long").await, count("too_long").await), (4 * 3, 8 * 3));
}

#[tokio::test]
async fn what_is_just_short_enough_is_served() {
    let house = House::new("").await;
    let fill = |bytes: usize| "a".repeat(bytes);
    let path = "{P}?a=";
    for (name, text) in [
        ("a target of 8 KiB", format!("POST {path}{} HTTP/1.1|{{H}}{{F}}", fill(8192 - 6 - 20))),
        ("a value of 16 KiB", format!("POST {{P}} HTTP/1.1|{{H}}X-A: {}|{{F}}", fill(16_384))),
        ("128 headers", format!("GET /v1/models HTTP/1.1|{{H}}{}|", "X-A: b|".repeat(128 - 3))),
    ] {
        let mut connection = Connection::open(house.gateway.addr()).await;
        connection.send(&Way::Exchange.bytes(&text)).await;
        assert_eq!(connection.answer().await.expect("an answer").status, 200, "{name}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_and_closed_however_it_is_framed() {
    let house = House::new("limits = { body_bytes = \"1KiB\" }").await;
    let body = "x".repeat(1025);
    for framing in
        [format!("Content-Length: 1025||{body}"), format!("Transfer-Encoding: chunked||401|{body}|0||")]
    {
        let mut connection = Connection::open(house.gateway.addr()).await;
        connection.send_anyway(&Way::Exchange.bytes(&format!("POST {{P}} HTTP/1.1|{{H}}{framing}"))).await;
        let answer = connection.answer().await.expect("an answer");
        assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
    }
    let huge = Way::Exchange.bytes("POST {P} HTTP/1.1|{H}Content-Length: 999999999999999||");
    let mut connection = Connection::open(house.gateway.addr()).await;
    connection.send(&huge).await;
    assert_eq!(connection.answer().await.expect("before a byte of it").status, 413);
    house.is_quiet();
}

#[tokio::test]
async fn requests_behind_each_other_are_answered_in_order_and_a_body_is_never_taken_for_one() {
    let house = House::new("").await;
    let whole = Way::Exchange.bytes("POST {P} HTTP/1.1|{H}{F}");
    let inner = String::from_utf8(whole.clone()).expect("text").replace("\r\n", "|");
    let hidden = format!("POST {{P}} HTTP/1.1|{{H}}Content-Length: {}||{inner}", whole.len());
    let chunked = Way::Exchange.bytes("POST {P} HTTP/1.1|{H}Transfer-Encoding: chunked||{C}");
    let get = Way::Exchange.bytes("GET /v1/models HTTP/1.1|{H}|");
    let mut connection = Connection::open(house.gateway.addr()).await;
    // All at once: each waits for the answer to the one before.
    let all = [&whole[..], &get, &chunked, &whole, &Way::Exchange.bytes(&hidden), &get].concat();
    connection.send(&all).await;
    for status in [200, 200, 200, 200, 400, 200] {
        let answer = connection.answer().await.expect("an answer");
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    assert_eq!(house.upstream.request_count(), 3, "what was hidden in a body stayed there");
    let mut slowly = Connection::open(house.gateway.addr()).await;
    for byte in &[&whole[..], &chunked].concat() {
        slowly.send(&[*byte]).await;
    }
    assert_eq!(slowly.answer().await.expect("an answer").status, 200);
    assert_eq!(slowly.answer().await.expect("an answer").status, 200);
    assert_eq!(house.upstream.request_count(), 5);
}

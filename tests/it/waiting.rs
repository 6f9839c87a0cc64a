//! What happens while a provider is waited for: the client leaves, the time is over, the stream is kept alive.

mod codings;
mod deadlines;
mod drain;
mod early;
mod gone;
mod pings;

use crate::support::speech::{MODEL, Speech};
use crate::support::{Gateway, channel, credential, key, provider};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tollgate_loadtest::{Fault, Provider};

/// HTTP towards the provider, as a channel's line.
const VERSIONS: [&str; 2] = ["http_version = \"1.1\"", "http_version = \"2\""];

/// Two candidates in order.
struct House {
    first: Provider,
    second: Provider,
    gateway: Gateway,
}

impl House {
    /// `more` are further lines of the first channel.
    async fn build(speech: Speech, more: &str) -> Self {
        let (first, second) = (provider().await, provider().await);
        let text = key()
            + &channel("first", speech.kind(), &first, &format!("priority = 0\n{more}"))
            + &channel("second", speech.kind(), &second, "priority = 1");
        Self { first, second, gateway: Gateway::start(&text).await }
    }

    /// The access line of the exchange before which there were so many: a client left, and nobody else was asked.
    async fn check_left(&self, before: usize, context: &str) -> Value {
        let line = self.gateway.log.lines(before + 1).await.remove(before);
        assert_eq!(
            (&line["end"], &line["code"]),
            (&json!("client_closed"), &Value::Null),
            "{context} {line}"
        );
        assert_eq!(line["attempts"].as_array().map(Vec::len), Some(1), "{context} {line}");
        assert_eq!(self.second.total_connections(), 0, "{context}");
        for gauge in ["leases_open", "buffered_body_bytes", "inflight_requests", "active_streams"] {
            self.gateway.count_reaches(&format!("tollgate_{gauge}"), 0).await;
        }
        line
    }
}

/// Returns once the gateway has looked at what happened before: these requests go through the same loop.
async fn settle(gateway: &Gateway) {
    for _ in 0..3 {
        gateway.metrics().await;
    }
}

/// A gateway with one channel.
async fn gateway(speech: Speech, upstream: &Provider, more: &str) -> Gateway {
    Gateway::start(&(channel("main", speech.kind(), upstream, more) + &key())).await
}

/// The first `events` events of a provider's own stream, and the rest of it.
async fn own_stream(speech: Speech, events: usize) -> (String, String) {
    let own = speech.spoken_by(MODEL, true, Fault::None).await.text();
    let blank = if speech == Speech::Gemini { "\r\n\r\n" } else { "\n\n" };
    let said: usize = own.split_inclusive(blank).take(events).map(str::len).sum();
    (own[..said].to_owned(), own[said..].to_owned())
}

/// What keeps a stream of this speech alive.
fn ping(speech: Speech) -> &'static str {
    match speech {
        Speech::Chat | Speech::Responses => ": keep-alive\n\n",
        Speech::Messages => "event: ping\ndata: {\"type\": \"ping\"}\n\n",
        Speech::Gemini => "\n\n",
    }
}

/// What is left of a text after the pings it begins with, and how many there are.
fn after_pings(speech: Speech, mut text: &str) -> (usize, &str) {
    let mut pings = 0;
    while let Some(rest) = text.strip_prefix(ping(speech)) {
        (pings, text) = (pings + 1, rest);
    }
    (pings, text)
}

/// The code of the one error event that a text is.
fn error_event(speech: Speech, text: &str, context: &str) -> String {
    let event = text.strip_suffix("\n\n").unwrap_or_else(|| panic!("{context}: {text}"));
    assert!(!event.contains("\n\n"), "{context}: one event: {text}");
    let named = matches!(speech, Speech::Messages | Speech::Responses);
    assert_eq!(event.starts_with("event: error\n"), named, "{context}: {event}");
    let data = event.rsplit_once("data: ").map_or("", |(_, data)| data);
    let error: Value = serde_json::from_str(data).unwrap_or_else(|why| panic!("{context}: {why}: {text}"));
    let shown = match speech {
        Speech::Gemini => &error["error"]["details"][0]["reason"],
        _ => &error["error"]["code"],
    };
    shown.as_str().unwrap_or_else(|| panic!("{context}: {text}")).to_owned()
}

/// A provider whose every move is the test's own.
struct Puppet(TcpListener);

impl Puppet {
    async fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.expect("a port"))
    }

    /// A channel in front of it.
    fn channel(&self, name: &str, speech: Speech, more: &str) -> String {
        let addr = self.0.local_addr().expect("an address");
        channel_at(name, speech, &format!("http://{addr}"), more)
    }

    /// The next request's connection, the request being read.
    async fn request(&self) -> TcpStream {
        let (mut socket, _) = self.0.accept().await.expect("the gateway connects");
        read_request(&mut socket).await;
        socket
    }
}

/// Reads a request to its end.
async fn read_request(socket: &mut TcpStream) {
    let mut seen = Vec::new();
    let head = loop {
        assert!(socket.read_buf(&mut seen).await.expect("the request") > 0, "the gateway left");
        if let Some(end) = seen.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break String::from_utf8_lossy(&seen[..end]).to_lowercase();
        }
    };
    let length = head
        .split_once("content-length: ")
        .and_then(|(_, rest)| rest.split("\r\n").next().and_then(|length| length.parse::<usize>().ok()));
    let whole = head.len() + 4 + length.expect("a length");
    while seen.len() < whole {
        assert!(socket.read_buf(&mut seen).await.expect("the request") > 0, "the gateway left");
    }
}

/// A channel at any address.
fn channel_at(name: &str, speech: Speech, base: &str, more: &str) -> String {
    let (kind, credential) = (speech.kind(), credential(name));
    format!(
        "[[channel]]\nname = \"{name}\"\ntype = \"{kind}\"\nbase_url = \"{base}\"\napi_keys = [\"{credential}\"]\n{more}\n"
    )
}

/// An answer that is whole.
async fn answer(socket: &mut TcpStream, status: u16, body: &str) {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    socket.write_all(head.as_bytes()).await.expect("it is read");
}

/// The beginning of a stream that goes on.
async fn begin_stream(socket: &mut TcpStream, events: &str) {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    socket.write_all(format!("{head}{events}").as_bytes()).await.expect("it is read");
}

/// A listener whose queue is full: a connection to it stays on its way.
struct Blackhole {
    listener: std::net::TcpListener,
    _queued: Vec<TcpStream>,
}

impl Blackhole {
    async fn new() -> Self {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let listener = socket.listen(1).expect("it listens").into_std().expect("a listener");
        let (addr, mut queued) = (listener.local_addr().expect("an address"), Vec::new());
        // The kernel takes in a few more than asked for; the first that it leaves waiting shows that it is full.
        while let Ok(connected) = tokio::time::timeout(FULL_AFTER, TcpStream::connect(addr)).await {
            queued.push(connected.expect("it listens"));
            assert!(queued.len() < 16, "the queue has no end");
        }
        Self { listener, _queued: queued }
    }

    fn addr(&self) -> std::net::SocketAddr {
        self.listener.local_addr().expect("an address")
    }

    /// How many connections are on their way to it, as the kernel tells.
    fn connecting(&self) -> usize {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's table of connections");
        let to = format!("0100007F:{:04X} 02", self.addr().port());
        table.lines().filter(|line| line.contains(&to)).count()
    }
}

/// A loopback connect that takes longer than this is not being accepted.
const FULL_AFTER: std::time::Duration = std::time::Duration::from_millis(300);

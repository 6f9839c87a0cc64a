//! The smallest HTTP client that hides nothing: requests are text, answers keep their head and say how they ended.

use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tollgate_loadtest::{Options, Provider};

pub(crate) const OPENAI: &str = "authorization: Bearer sk-1\r\n";
pub(crate) const ANTHROPIC: &str = "x-api-key: sk-1\r\nanthropic-version: 2023-06-01\r\n";
pub(crate) const GEMINI: &str = "x-goog-api-key: sk-1\r\n";

/// A fake with the usual options.
pub(crate) async fn fake() -> Provider {
    Provider::start(Options::default()).await.expect("a free port")
}

/// A GET as text.
pub(crate) fn get(target: &str, headers: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: fake\r\n{headers}\r\n")
}

/// A JSON POST as text.
pub(crate) fn post(target: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {target} HTTP/1.1\r\nhost: fake\r\n{headers}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// A streamed request of each API: chat, responses, messages, Gemini.
pub(crate) fn streams() -> [String; 4] {
    [
        post("/v1/chat/completions", OPENAI, r#"{"model":"m","messages":[{"role":"user"}],"stream":true}"#),
        post("/v1/responses", OPENAI, r#"{"model":"m","input":"hi","stream":true}"#),
        post(
            "/v1/messages",
            ANTHROPIC,
            r#"{"model":"m","max_tokens":9,"messages":[{"role":"user"}],"stream":true}"#,
        ),
        post(
            "/v1beta/models/m:streamGenerateContent?alt=sse",
            GEMINI,
            r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#,
        ),
    ]
}

/// A plain chat request.
pub(crate) fn chat() -> String {
    post("/v1/chat/completions", OPENAI, r#"{"model":"m","messages":[{"role":"user"}]}"#)
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// As HTTP wants it.
    Complete,
    /// The connection was closed before that.
    Fin,
    /// The connection was reset before that.
    Reset,
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    /// Without chunks.
    pub(crate) body: Vec<u8>,
    pub(crate) chunks: usize,
    pub(crate) end: End,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("UTF-8")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(addr).await.expect("the fake listens"), buffer: Vec::new() }
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.expect("the fake reads");
    }

    /// Reads until the buffer has at least `count` bytes, then gives them all.
    pub(crate) async fn at_least(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert!(self.more().await.is_none(), "the fake closed early");
        }
        std::mem::take(&mut self.buffer)
    }

    /// Reads until this text has come; gives everything so far, and keeps it.
    pub(crate) async fn until(&mut self, text: &str) -> String {
        loop {
            let so_far = String::from_utf8_lossy(&self.buffer).into_owned();
            if so_far.contains(text) {
                return so_far;
            }
            assert!(self.more().await.is_none(), "the fake closed before {text:?}");
        }
    }

    /// Writes until the other side takes nothing more; gives how much it took.
    pub(crate) async fn fill_up(&mut self) -> usize {
        let (mut taken, some) = (0, [b'x'; 8 * 1024]);
        loop {
            match self.stream.try_write(&some) {
                Ok(count) => taken += count,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    // Loopback delivers at once: what is not writable after other tasks ran stays so.
                    tokio::task::yield_now().await;
                    if self.stream.try_write(b"x").is_err() {
                        return taken;
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Leaves with a reset.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().expect("a socket");
    }

    /// Everything until the connection ends.
    pub(crate) async fn rest(&mut self) -> (Vec<u8>, End) {
        loop {
            if let Some(end) = self.more().await {
                return (std::mem::take(&mut self.buffer), end);
            }
        }
    }

    /// Reads one answer, skipping informational ones.
    pub(crate) async fn answer(&mut self) -> Answer {
        loop {
            let head = self.head().await;
            let status: u16 = head.get(9..12).and_then(|digits| digits.parse().ok()).expect("a status");
            if status >= 200 {
                return self.body(status, head).await;
            }
        }
    }

    async fn head(&mut self) -> String {
        let head = self.until("\r\n\r\n").await;
        let length = head.find("\r\n\r\n").expect("just found") + 4;
        self.buffer.drain(..length);
        head.get(..length).expect("ASCII head").to_owned()
    }

    async fn body(&mut self, status: u16, head: String) -> Answer {
        let mut answer = Answer { status, head, body: Vec::new(), chunks: 0, end: End::Complete };
        if answer.head.contains("transfer-encoding: chunked") {
            self.chunked(&mut answer).await;
            return answer;
        }
        let length = answer.head.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next());
        let length = length.map_or(usize::MAX, |digits| digits.parse().expect("a number"));
        while self.buffer.len() < length {
            if let Some(end) = self.more().await {
                answer.end = if length == usize::MAX && end == End::Fin { End::Complete } else { end };
                break;
            }
        }
        let taken = length.min(self.buffer.len());
        answer.body = self.buffer.drain(..taken).collect();
        answer
    }

    async fn chunked(&mut self, answer: &mut Answer) {
        loop {
            let line_end = self.buffer.windows(2).position(|pair| pair == b"\r\n");
            let size = line_end.and_then(|end| {
                let digits = std::str::from_utf8(self.buffer.get(..end)?).ok()?;
                usize::from_str_radix(digits, 16).ok().map(|size| (end + 2, size))
            });
            match size {
                Some((start, size)) if self.buffer.len() >= start + size + 2 => {
                    let chunk: Vec<u8> = self.buffer.drain(..start + size + 2).collect();
                    if size == 0 {
                        return;
                    }
                    answer.chunks += 1;
                    answer.body.extend_from_slice(chunk.get(start..start + size).expect("a whole chunk"));
                }
                _ => {
                    if let Some(end) = self.more().await {
                        answer.end = end;
                        return;
                    }
                }
            }
        }
    }

    async fn more(&mut self) -> Option<End> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Some(End::Fin),
            Ok(_) => None,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Some(End::Reset),
            Err(error) => panic!("{error}"),
        }
    }
}

/// One request on a connection of its own.
pub(crate) async fn ask(fake: &Provider, request: &str) -> Answer {
    let mut client = Client::connect(fake.addr()).await;
    client.send(request).await;
    client.answer().await
}

/// The data of every event of a stream.
pub(crate) fn events(body: &str) -> Vec<String> {
    let blocks = body.split("\n\n").flat_map(|block| block.split("\r\n\r\n"));
    blocks
        .filter_map(|block| block.lines().find_map(|line| line.strip_prefix("data: ")))
        .map(str::to_owned)
        .collect()
}

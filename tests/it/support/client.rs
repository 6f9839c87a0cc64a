//! A client that sends exactly the bytes it is told and reports exactly what came back.

use bytes::{Bytes, BytesMut};
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How an answer's body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// As its framing said.
    Whole,
    /// The connection went first.
    Cut,
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) ended: Ended,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// `error.code` of an OpenAI or Anthropic error, `details[0].reason` of a Gemini one.
    pub(crate) fn code(&self) -> String {
        let json = self.json();
        let code = json["error"]["code"].as_str().or(json["error"]["details"][0]["reason"].as_str());
        code.unwrap_or_else(|| panic!("no code in {json}")).to_owned()
    }
}

/// One HTTP/1.1 connection, over TLS or not.
pub(crate) struct Connection<S = TcpStream> {
    stream: S,
    buffer: BytesMut,
}

impl Connection {
    pub(crate) async fn open(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.expect("the gateway listens");
        stream.set_nodelay(true).expect("a TCP option");
        Self::over(stream)
    }

    /// Leaves with a reset.
    pub(crate) fn reset(self) {
        let socket = socket_linger_zero(self.stream);
        drop(socket);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the gateway reads");
    }

    /// Sends what it can: a gateway that answers early may close while we are still sending.
    pub(crate) async fn send_anyway(&mut self, bytes: &[u8]) {
        drop(self.stream.write_all(bytes).await);
    }

    /// Reads the head of the next answer, informational ones left out; `None`: closed without one.
    pub(crate) async fn head(&mut self) -> Option<Answer> {
        loop {
            let head = self.until(b"\r\n\r\n").await?;
            let text = String::from_utf8_lossy(&head).into_owned();
            let mut lines = text.lines();
            let status: u16 = lines.next()?.split(' ').nth(1)?.parse().ok()?;
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            let headers = lines
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
                .collect();
            return Some(Answer { status, headers, body: Vec::new(), ended: Ended::Whole });
        }
    }

    /// The status of the next head, an informational one included.
    pub(crate) async fn interim(&mut self) -> u16 {
        let head = self.until(b"\r\n\r\n").await.expect("a head");
        let text = String::from_utf8_lossy(&head).into_owned();
        text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{text}"))
    }

    /// Reads the next answer whole.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        let mut answer = self.head().await?;
        let length = answer.header("content-length").and_then(|length| length.parse::<usize>().ok());
        if answer.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk().await {
                if chunk.is_empty() {
                    return Some(answer);
                }
                answer.body.extend_from_slice(&chunk);
            }
            answer.ended = Ended::Cut;
        } else if let Some(length) = length {
            while self.buffer.len() < length && self.fill().await {}
            if self.buffer.len() < length {
                answer.ended = Ended::Cut;
            }
            let there = length.min(self.buffer.len());
            answer.body = self.buffer.split_to(there).to_vec();
        } else if !matches!(answer.status, 204 | 304) {
            while self.fill().await {}
            answer.body = self.buffer.split().to_vec();
        }
        Some(answer)
    }

    /// The next chunk of a chunked body; empty: the last one; `None`: cut.
    pub(crate) async fn chunk(&mut self) -> Option<Bytes> {
        let line = self.until(b"\r\n").await?;
        let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).ok()?;
        while self.buffer.len() < size + 2 {
            if !self.fill().await {
                return None;
            }
        }
        let chunk = self.buffer.split_to(size).freeze();
        drop(self.buffer.split_to(2));
        Some(chunk)
    }

    /// The next bytes as they come, framing and all.
    pub(crate) async fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count && self.fill().await {}
        let there = count.min(self.buffer.len());
        self.buffer.split_to(there).to_vec()
    }

    /// What comes next, in whatever pieces; empty: nothing more.
    pub(crate) async fn some_bytes(&mut self) -> Vec<u8> {
        if self.buffer.is_empty() {
            self.fill().await;
        }
        self.buffer.split().to_vec()
    }

    /// The next answer: of one that switches protocols the head alone.
    pub(crate) async fn head_and_refusal(&mut self) -> Answer {
        let mut head = self.head().await.expect("an answer");
        if head.status != 101 {
            let length = head.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            head.body = self.bytes(length).await;
        }
        head
    }

    /// Reads the head of a request, where this is the provider's side.
    pub(crate) async fn head_of_request(&mut self) -> String {
        let head = self.until(b"\r\n\r\n").await.expect("a request");
        String::from_utf8_lossy(&head).into_owned()
    }

    /// Reads body chunks until their text so far contains this.
    pub(crate) async fn chunks_until(&mut self, wanted: &str) -> String {
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains(wanted) {
            let chunk = self.chunk().await.unwrap_or_else(|| panic!("cut before {wanted}"));
            assert!(!chunk.is_empty(), "ended before {wanted}");
            seen.extend_from_slice(&chunk);
        }
        String::from_utf8_lossy(&seen).into_owned()
    }

    /// Whether the gateway closes now, without another byte.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && !self.fill().await
    }

    async fn until(&mut self, end: &[u8]) -> Option<Bytes> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.buffer, end) {
                return Some(self.buffer.split_to(at + end.len()).freeze());
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    async fn fill(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.buffer).await, Ok(read) if read > 0)
    }
}

#[expect(deprecated, reason = "zero linger is how a test makes a reset; it blocks nobody")]
fn socket_linger_zero(stream: TcpStream) -> TcpStream {
    drop(stream.set_linger(Some(std::time::Duration::ZERO)));
    stream
}

/// One request on a connection of its own.
pub(crate) async fn once(addr: SocketAddr, request: &[u8]) -> Answer {
    let mut connection = Connection::open(addr).await;
    connection.send_anyway(request).await;
    connection.answer().await.expect("an answer")
}

/// A GET.
pub(crate) async fn get(addr: SocketAddr, path: &str) -> Answer {
    // The host is its own: without a token the admin listener shows nothing under a foreign name.
    let head = format!("GET {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n");
    once(addr, head.as_bytes()).await
}

/// A POST with a JSON body, its length declared.
pub(crate) async fn post(addr: SocketAddr, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    once(addr, &request("POST", path, headers, body)).await
}

/// A request's bytes, its length declared.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: test\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
        request.push_str("content-type: application/json\r\n");
    }
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    let mut request = request.into_bytes();
    request.extend_from_slice(body);
    request
}

/// The same with a chunked body in pieces of this size.
pub(crate) fn chunked(path: &str, headers: &[(&str, &str)], body: &[u8], piece: usize) -> Vec<u8> {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n"
    );
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    let mut request = request.into_bytes();
    for part in body.chunks(piece) {
        request.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        request.extend_from_slice(part);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    request
}

/// A POST over HTTP/2 without TLS (prior knowledge).
pub(crate) async fn post_h2(addr: SocketAddr, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut request = http::Request::post(format!("http://test{path}"));
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
        request = request.header("content-type", "application/json");
    }
    once_h2(addr, request, headers, body).await
}

/// A GET over HTTP/2.
pub(crate) async fn get_h2(addr: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    once_h2(addr, http::Request::get(format!("http://test{path}")), headers, b"").await
}

/// So many requests at once on one HTTP/2 connection; their statuses.
pub(crate) async fn many_h2(
    addr: SocketAddr,
    count: usize,
    request: impl Fn(usize) -> (http::request::Builder, String),
) -> Vec<u16> {
    let stream = TcpStream::connect(addr).await.expect("the gateway listens");
    let (mut client, connection) = h2::client::handshake(stream).await.expect("HTTP/2 is spoken");
    let driving = tokio::spawn(connection);
    let mut under_way = Vec::new();
    for at in 0..count {
        let (head, body) = request(at);
        client = client.ready().await.expect("a stream is free");
        let (response, mut upload) =
            client.send_request(head.body(()).expect("a request"), false).expect("it is sent");
        upload.send_data(Bytes::from(body), true).expect("it is sent");
        under_way.push(response);
    }
    let mut statuses = Vec::new();
    for response in under_way {
        statuses.push(response.await.expect("an answer").status().as_u16());
    }
    driving.abort();
    statuses
}

async fn once_h2(
    addr: SocketAddr,
    request: http::request::Builder,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let stream = TcpStream::connect(addr).await.expect("the gateway listens");
    over_h2(stream, request, headers, body).await
}

/// One request on a fresh connection that HTTP/2 is spoken on.
pub(crate) async fn over_h2<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    stream: S,
    mut request: http::request::Builder,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    // The library's own guard against tiny frames would end the streams that are sent byte by byte.
    let mut builder = h2::client::Builder::new();
    builder.data_frame_budget(1 << 30);
    let (client, connection) = builder.handshake(stream).await.expect("HTTP/2 is spoken");
    let driving = tokio::spawn(connection);
    let mut client = client.ready().await.expect("a stream is free");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(()).expect("a request");
    let empty = body.is_empty();
    let (response, mut upload) = client.send_request(request, empty).expect("it is sent");
    let mut rest = Bytes::copy_from_slice(body);
    while !rest.is_empty() {
        upload.reserve_capacity(rest.len());
        let Some(Ok(granted)) = std::future::poll_fn(|context| upload.poll_capacity(context)).await else {
            break;
        };
        if upload.send_data(rest.split_to(granted.min(rest.len())), false).is_err() {
            break;
        }
    }
    if !empty {
        drop(upload.send_data(Bytes::new(), true));
    }
    let response = response.await.expect("an answer");
    let headers = response
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let mut answer =
        Answer { status: response.status().as_u16(), headers, body: Vec::new(), ended: Ended::Whole };
    let mut download = response.into_body();
    while let Some(data) = download.data().await {
        let Ok(data) = data else {
            answer.ended = Ended::Cut;
            break;
        };
        answer.body.extend_from_slice(&data);
        drop(download.flow_control().release_capacity(data.len()));
    }
    driving.abort();
    answer
}

//! A front as a cloud has it before a model's own API: what it takes is looked at strictly, the rest is the fake provider's.

use super::client::{self, Answer};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Came {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Came {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the connection goes before the end that was announced.
    pub(crate) cut: bool,
}

impl Reply {
    pub(crate) fn json(status: u16, body: &serde_json::Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self { status, headers, body: body.to_string().into_bytes(), cut: false }
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        let kept = ["content-type", "retry-after", "request-id"];
        let is_kept = |(name, _): &(String, String)| kept.contains(&name.to_ascii_lowercase().as_str());
        let headers = answer.headers.into_iter().filter(is_kept).collect();
        Self { status: answer.status, headers, body: answer.body, cut: answer.ended == client::Ended::Cut }
    }
}

/// A reply under way.
pub(crate) type Replying = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// Serves until the test ends.
pub(crate) async fn serve<F>(answers: F) -> SocketAddr
where
    F: Fn(Came) -> Replying + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("it has an address");
    let answers = Arc::new(answers);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(connection(tcp, Arc::clone(&answers)));
        }
    });
    addr
}

async fn connection<F: Fn(Came) -> Replying>(mut tcp: TcpStream, answers: Arc<F>) -> Option<()> {
    loop {
        let came = read(&mut tcp).await?;
        let reply = answers(came).await;
        let length = reply.body.len() + usize::from(reply.cut);
        let mut head = format!("HTTP/1.1 {} X\r\ncontent-length: {length}\r\n", reply.status);
        for (name, value) in &reply.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        tcp.write_all(head.as_bytes()).await.ok()?;
        tcp.write_all(&reply.body).await.ok()?;
        if reply.cut {
            return None;
        }
    }
}

async fn read(tcp: &mut TcpStream) -> Option<Came> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, value)| value.parse().expect("a length"))];
    tcp.read_exact(&mut body).await.ok()?;
    Some(Came { method, target, headers, body })
}

/// Asks the fake provider behind the front.
pub(crate) async fn behind(
    addr: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: &serde_json::Value,
) -> Reply {
    let mut all = vec![("content-type", "application/json")];
    all.extend_from_slice(headers);
    client::post(addr, path, &all, body.to_string().as_bytes()).await.into()
}

//! A client that speaks HTTP/1.1 over a kept connection, byte by byte, and can leave in every way.

use crate::answer::{Answer, Ended, How, Manner, When};
use crate::question::Question;
use bytes::{Buf as _, BytesMut};
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    inbox: BytesMut,
    served: usize,
}

/// Where the body of an answer ends.
#[derive(Debug, Clone, Copy)]
enum Framing {
    Length(usize),
    Chunked,
    Close,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, inbox: BytesMut::new(), served: 0 })
    }

    /// Asks; gives the connection back where it can serve again.
    pub(crate) async fn ask(mut self, question: &Question, manner: Manner) -> (Answer, Option<Self>) {
        let mut answer = Answer { reused: self.served > 0, ..Answer::default() };
        let (patience, otherwise) = manner.patience();
        let whole = timeout(patience, self.exchange(question, manner, &mut answer)).await;
        answer.ended = match whole {
            Ok(Ok(ended)) => ended,
            Ok(Err(_)) if answer.status == 0 => Ended::Nothing,
            Ok(Err(_)) => Ended::Cut,
            Err(_) => otherwise,
        };
        if answer.ended == Ended::Left(How::Reset) {
            self.stream.set_zero_linger().unwrap_or_default();
        }
        self.served += 1;
        let closes = answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let keeps = answer.ended == Ended::Whole && !closes && self.inbox.is_empty();
        (answer, keeps.then_some(self))
    }

    async fn exchange(
        &mut self,
        question: &Question,
        manner: Manner,
        answer: &mut Answer,
    ) -> io::Result<Ended> {
        let body = question.body();
        let head = head(question, body.len());
        if let Some(how) = manner.leaves_at(When::InHead) {
            self.stream.write_all(&head.as_bytes()[..head.len() / 2]).await?;
            return Ok(Ended::Left(how));
        }
        if let Some(how) = manner.leaves_at(When::InBody) {
            let half = format!("{head}{}", &body[..body.len() / 2]);
            self.stream.write_all(half.as_bytes()).await?;
            answer.asked = true;
            return Ok(Ended::Left(how));
        }
        // A gateway that answers early may close while we are still sending: its answer counts.
        let sent = self.stream.write_all(format!("{head}{body}").as_bytes()).await;
        answer.asked = sent.is_ok();
        let framing = self.head(answer).await?;
        match framing {
            Framing::Length(length) => self.counted(length, manner, answer).await,
            Framing::Chunked => self.chunked(manner, answer).await,
            Framing::Close => loop {
                if self.fill(manner).await.is_err() {
                    return Ok(Ended::Whole);
                }
                answer.body.extend_from_slice(&self.inbox.split());
            },
        }
    }

    async fn head(&mut self, answer: &mut Answer) -> io::Result<Framing> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
            let mut response = httparse::Response::new(&mut headers);
            let parsed = response.parse(&self.inbox).map_err(io::Error::other)?;
            let httparse::Status::Complete(length) = parsed else {
                self.fill(Manner::default()).await?;
                continue;
            };
            answer.status = response.code.unwrap_or_default();
            answer.headers = response
                .headers
                .iter()
                .map(|header| (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned()))
                .collect();
            self.inbox.advance(length);
            let declared = answer.header("content-length").and_then(|length| length.parse().ok());
            let chunked = answer.header("transfer-encoding") == Some("chunked");
            return Ok(match declared {
                _ if chunked => Framing::Chunked,
                Some(length) => Framing::Length(length),
                None => Framing::Close,
            });
        }
    }

    async fn counted(&mut self, length: usize, manner: Manner, answer: &mut Answer) -> io::Result<Ended> {
        loop {
            let wanted = (length - answer.body.len()).min(self.inbox.len());
            answer.body.extend_from_slice(&self.inbox.split_to(wanted));
            if answer.body.len() == length {
                return Ok(Ended::Whole);
            }
            if let Some(how) = manner.has_enough(answer.body.len()) {
                return Ok(Ended::Left(how));
            }
            self.fill(manner).await?;
        }
    }

    async fn chunked(&mut self, manner: Manner, answer: &mut Answer) -> io::Result<Ended> {
        loop {
            match httparse::parse_chunk_size(&self.inbox) {
                Ok(httparse::Status::Complete((at, size))) => {
                    let size = usize::try_from(size).map_err(io::Error::other)?;
                    while self.inbox.len() < at + size + 2 {
                        self.fill(manner).await?;
                    }
                    self.inbox.advance(at);
                    answer.body.extend_from_slice(&self.inbox.split_to(size));
                    self.inbox.advance(2);
                    manner.got(size);
                    if size == 0 {
                        return Ok(Ended::Whole);
                    }
                    if let Some(how) = manner.has_enough(answer.body.len()) {
                        return Ok(Ended::Left(how));
                    }
                }
                Ok(httparse::Status::Partial) => self.fill(manner).await?,
                Err(_) => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }

    async fn fill(&mut self, manner: Manner) -> io::Result<()> {
        if let Some(pause) = manner.slow {
            sleep(pause).await;
        }
        match self.stream.read_buf(&mut self.inbox).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

fn head(question: &Question, length: usize) -> String {
    let mut head =
        format!("POST {} HTTP/1.1\r\nhost: gateway\r\ncontent-length: {length}\r\n", question.path());
    for (name, value) in question.headers() {
        head.extend([name, ": ", &value, "\r\n"]);
    }
    head + "\r\n"
}

/// One plain call on a connection of its own, for the admin listener.
pub(crate) async fn call(address: SocketAddr, method: &str, path: &str) -> io::Result<(u16, String)> {
    let mut connection = Connection::open(address).await?;
    let head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\n\r\n");
    connection.stream.write_all(head.as_bytes()).await?;
    let mut answer = Answer::default();
    let manner = Manner::default();
    match connection.head(&mut answer).await? {
        Framing::Length(length) => connection.counted(length, manner, &mut answer).await?,
        Framing::Chunked => connection.chunked(manner, &mut answer).await?,
        Framing::Close => return Err(io::ErrorKind::InvalidData.into()),
    };
    Ok((answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
}

const HEADERS_MAX: usize = 64;

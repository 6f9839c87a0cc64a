//! Answers over HTTP/2 with prior knowledge: many streams on one connection, each read, decided and answered by itself.
//!
//! Invariants: what a request gets is decided as over HTTP/1.1. A stream is reset only after everything sent on it
//! before was written, as far as the peer's windows and the socket took it. A connection that ends ends its streams; the
//! streams whose connection a fault ended are `Failed`, not `Closed`.

use crate::deliver::{End, Unit};
use crate::exchange::{self, Judged, Shared};
use crate::head::{AnswerHead, HIDDEN_HEADERS, Transfer};
use crate::http::{self as http1, Framing, Head, Left, Trouble, Wire};
use crate::record::{Protocol, Sent};
use crate::reply::Body;
use crate::walk::{Delivery, walk};
use bytes::{Bytes, BytesMut};
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use std::future::poll_fn;
use std::io::Cursor;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

/// How many streams one connection may have: a load test puts 10,000 on very few.
const STREAMS_MAX: u32 = 32_768;
/// How much of one request body may come before it is read.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// The same for all streams of a connection together.
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024 * 1024;
/// How much of an answer waits in memory for the peer's window.
const SEND_BUFFER_BYTES_MAX: usize = 256 * 1024;
/// The longest request head.
const HEAD_BYTES_MAX: u32 = 64 * 1024;
/// How many streams a peer may reset before we looked at them: clients that leave in crowds are our business.
const RESET_STREAMS_MAX: usize = 65_536;
/// How many orders of streams to their connection may wait; more make the streams wait.
const ORDERS_MAX: usize = 1024;

/// What a stream asks of its connection.
enum Order {
    /// Say when everything sent so far was written.
    Flush(oneshot::Sender<()>),
    /// End with `GOAWAY`; the flag: and let the streams finish.
    Leave(bool),
}

/// What a stream knows of its connection.
#[derive(Clone)]
struct Home {
    shared: Arc<Shared>,
    number: u64,
    orders: mpsc::Sender<Order>,
    /// True once we ended the connection and its streams; closed once it has ended.
    leaving: watch::Receiver<bool>,
}

/// Serves one connection until either side closes it.
pub(crate) async fn serve(shared: &Arc<Shared>, wire: Wire, number: u64) {
    let (stream, read_already) = wire.into_parts();
    let (reader, writer) = stream.into_split();
    let io = tokio::io::join(Cursor::new(read_already).chain(reader), writer);
    let mut settings = Builder::new();
    settings
        .max_concurrent_streams(STREAMS_MAX)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buffer_size(SEND_BUFFER_BYTES_MAX)
        .max_header_list_size(HEAD_BYTES_MAX)
        .max_concurrent_reset_streams(RESET_STREAMS_MAX)
        .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
        .max_local_error_reset_streams(None);
    if let Ok(connection) = settings.handshake::<_, Bytes>(io).await {
        run(connection, Arc::clone(shared), number).await;
    }
}

/// Accepts streams until the connection ends, then waits for theirs.
async fn run<T: AsyncRead + AsyncWrite + Unpin>(
    mut connection: Connection<T, Bytes>,
    shared: Arc<Shared>,
    number: u64,
) {
    let (orders, mut ordered) = mpsc::channel(ORDERS_MAX);
    let (leaves, leaving) = watch::channel(false);
    let home = Home { shared, number, orders, leaving };
    let mut streams = JoinSet::new();
    let mut flushed = Vec::new();
    loop {
        let turn = poll_fn(|context| turn(context, &mut connection, &mut ordered, &mut flushed)).await;
        match turn {
            Turn::Stream(stream) => {
                streams.spawn(one(home.clone(), stream));
                // Those that ended are let go in step with those that begin.
                while streams.try_join_next().is_some() {}
            }
            Turn::Leave(true) => connection.graceful_shutdown(),
            Turn::Leave(false) => {
                leaves.send_replace(true);
                connection.abrupt_shutdown(Reason::NO_ERROR);
            }
            Turn::End => break,
        }
    }
    drop((connection, leaves, ordered, flushed));
    while streams.join_next().await.is_some() {}
}

/// A stream as it was accepted.
type Accepted = (Request<RecvStream>, SendResponse<Bytes>);

enum Turn {
    Stream(Box<Accepted>),
    Leave(bool),
    End,
}

/// Lets the connection read and write all it can, then hears the next order.
fn turn<T: AsyncRead + AsyncWrite + Unpin>(
    context: &mut Context<'_>,
    connection: &mut Connection<T, Bytes>,
    ordered: &mut mpsc::Receiver<Order>,
    flushed: &mut Vec<oneshot::Sender<()>>,
) -> Poll<Turn> {
    loop {
        match connection.poll_accept(context) {
            Poll::Ready(Some(Ok(stream))) => return Poll::Ready(Turn::Stream(Box::new(stream))),
            Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Turn::End),
            Poll::Pending => {}
        }
        for waiting in flushed.drain(..) {
            // Who asked and left does not mind.
            waiting.send(()).unwrap_or_default();
        }
        match ordered.poll_recv(context) {
            // The connection has to be polled once more before the answer is true.
            Poll::Ready(Some(Order::Flush(waiting))) => flushed.push(waiting),
            Poll::Ready(Some(Order::Leave(gracefully))) => return Poll::Ready(Turn::Leave(gracefully)),
            Poll::Ready(None) | Poll::Pending => return Poll::Pending,
        }
    }
}

/// One stream: one request and its answer.
async fn one(home: Home, accepted: Box<Accepted>) {
    let (request, respond) = *accepted;
    let (parts, mut body) = request.into_parts();
    let mut answer = OnStream { home, respond, stream: None, ended: false };
    let head = match read_head(&parts, body.is_end_stream()) {
        Ok(head) => head,
        Err(trouble) => return answer.trouble(&trouble).await,
    };
    let shared = Arc::clone(&answer.home.shared);
    let judged = exchange::judge(&shared, &head);
    if head.expects_continue && judged.body_bytes().is_none() {
        answer.interim(StatusCode::CONTINUE, &[]);
    }
    let bytes = match read_body(&mut body, judged.body_bytes()).await {
        Ok(bytes) => bytes,
        Err(Trouble::Gone) => {
            let counted = !matches!(judged, Judged::Control);
            return shared.log.count(|counts| counts.unfinished += usize::from(counted));
        }
        Err(trouble) => return answer.trouble(&trouble).await,
    };
    let decision = exchange::decide(&shared, &head, &judged, &bytes, answer.home.number);
    if let Ok(end) = walk(&shared, &mut answer, decision).await {
        answer.end(end, &mut body).await;
    }
}

/// The head as HTTP/1.1 would have it.
fn read_head(parts: &http::request::Parts, ends: bool) -> Result<Head, Trouble> {
    let target = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let mut headers = Vec::with_capacity(parts.headers.len() + 1);
    let authority = parts.uri.authority().map_or("", |authority| authority.as_str());
    if !authority.is_empty() {
        headers.push(("host".to_owned(), authority.as_bytes().to_vec()));
    }
    for (name, value) in &parts.headers {
        // A host beside the authority is only wrong where it differs.
        if !(name == "host" && value == authority) {
            headers.push((name.as_str().to_owned(), value.as_bytes().to_vec()));
        }
    }
    let head = Head {
        method: parts.method.to_string(),
        target,
        headers,
        protocol: Protocol::Http2,
        framing: Framing::None,
        close: false,
        expects_continue: false,
    };
    let mut head = http1::judge_head(head)?;
    if !ends && head.framing == Framing::None {
        head.framing = Framing::Stream;
    }
    Ok(head)
}

/// Reads the body, or at least this much of it.
async fn read_body(body: &mut RecvStream, at_least: Option<usize>) -> Result<Bytes, Trouble> {
    let mut bytes = BytesMut::new();
    while at_least.is_none_or(|wanted| bytes.len() < wanted) {
        let Some(data) = body.data().await else { break };
        let data = data.map_err(|_| Trouble::Gone)?;
        if bytes.len() + data.len() > http1::BODY_BYTES_MAX {
            return Err(http1::TOO_LARGE);
        }
        body.flow_control().release_capacity(data.len()).map_err(|_| Trouble::Gone)?;
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

/// One answer on its way.
struct OnStream {
    home: Home,
    respond: SendResponse<Bytes>,
    /// Where the body goes, once the head is sent.
    stream: Option<SendStream<Bytes>>,
    /// The end of the body is sent.
    ended: bool,
}

impl Delivery for OnStream {
    async fn informational(&mut self) -> Result<(), Left> {
        self.interim(StatusCode::EARLY_HINTS, &[("link", "</fake>; rel=preconnect")]);
        Ok(())
    }

    async fn whole(&mut self, head: &AnswerHead, body: &Body, sent: &mut Sent) -> Result<(), Left> {
        let list = match body {
            Body::Whole(bytes) => std::slice::from_ref(bytes),
            Body::Events(events) => &events.list,
        };
        let Some(last) = list.iter().rposition(|bytes| !bytes.is_empty()) else {
            return self.start(head, true);
        };
        self.start(head, false)?;
        for (at, bytes) in list.iter().take(last + 1).enumerate() {
            self.data(bytes.clone(), at == last, &mut sent.bytes).await?;
            sent.events += usize::from(matches!(body, Body::Events(_)));
        }
        Ok(())
    }

    async fn head(&mut self, head: &AnswerHead) -> Result<(), Left> {
        self.start(head, false)
    }

    fn head_pieces(&mut self, _: &AnswerHead) -> Vec<Bytes> {
        vec![Bytes::new()]
    }

    async fn head_piece(&mut self, head: &AnswerHead, _: &Bytes) -> Result<(), Left> {
        self.start(head, false)
    }

    async fn unit(&mut self, unit: &Unit, sent: &mut Sent) -> Result<(), Left> {
        self.data(unit.bytes.clone(), false, &mut sent.bytes).await
    }

    async fn finish(&mut self, trailers: &[(&str, &str)]) -> Result<(), Left> {
        if trailers.is_empty() {
            return self.put(Bytes::new(), true);
        }
        let mut map = HeaderMap::new();
        for (name, value) in trailers {
            add(&mut map, name, value);
        }
        let left = self.home.left(Left::Reset);
        let stream = self.stream.as_mut().ok_or(left)?;
        stream.send_trailers(map).map_err(|_| left)?;
        self.ended = true;
        Ok(())
    }

    /// No plan for HTTP/2 has raw bytes: `deliver` says `Unspeakable` instead.
    async fn raw(&mut self, _: &Bytes, _: &mut Sent) -> Result<(), Left> {
        Err(Left::Ours)
    }

    async fn gone(&mut self) -> Left {
        let Self { home, respond, stream, .. } = self;
        let reset = poll_fn(|context| match stream.as_mut() {
            Some(stream) => stream.poll_reset(context),
            None => respond.poll_reset(context),
        });
        let left = tokio::select! {
            reset = reset => if reset.is_ok() { Left::Reset } else { Left::Closed },
            left = home.ended() => left,
        };
        self.home.left(left)
    }

    /// Nothing is read of a stream unless we ask.
    fn stop_reading(&mut self) {}
}

impl OnStream {
    fn start(&mut self, head: &AnswerHead, ends: bool) -> Result<(), Left> {
        let stream = self.respond.send_response(response(head), ends);
        self.stream = Some(stream.map_err(|_| self.home.left(Left::Reset))?);
        self.ended = ends;
        Ok(())
    }

    fn interim(&mut self, status: StatusCode, headers: &[(&str, &str)]) {
        let mut response = Response::new(());
        *response.status_mut() = status;
        for (name, value) in headers {
            add(response.headers_mut(), name, value);
        }
        // Where this fails the peer is gone, which the answer will find too.
        self.respond.send_informational(response).unwrap_or_default();
    }

    /// Sends data as the peer's window allows; `sent` counts what was taken.
    async fn data(&mut self, mut bytes: Bytes, ends: bool, sent: &mut usize) -> Result<(), Left> {
        while !bytes.is_empty() {
            let room = self.room(bytes.len()).await?;
            let piece = bytes.split_to(room.min(bytes.len()));
            let length = piece.len();
            self.put(piece, ends && bytes.is_empty())?;
            *sent += length;
        }
        Ok(())
    }

    /// How much may be sent, once that is anything.
    async fn room(&mut self, wanted: usize) -> Result<usize, Left> {
        let Some(stream) = &mut self.stream else { return Err(Left::Ours) };
        stream.reserve_capacity(wanted);
        while stream.capacity() == 0 {
            match poll_fn(|context| stream.poll_capacity(context)).await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(self.home.left(left_by(&error))),
                // The stream takes nothing any more; why it does not is known there.
                None => return Err(self.gone().await),
            }
        }
        Ok(stream.capacity())
    }

    fn put(&mut self, bytes: Bytes, ends: bool) -> Result<(), Left> {
        let Some(stream) = &mut self.stream else { return Err(Left::Ours) };
        stream.send_data(bytes, ends).map_err(|_| self.home.left(Left::Reset))?;
        self.ended = ends;
        Ok(())
    }

    /// Answers a request that HTTP itself forbids.
    async fn trouble(&mut self, trouble: &Trouble) {
        let Trouble::Broken(status, why) = trouble else { return };
        self.home.shared.log.count(|counts| counts.broken += 1);
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_REQUEST);
        if let Ok(stream) = self.respond.send_response(response, false) {
            self.stream = Some(stream);
            // A peer that left has no use for it.
            self.data(Bytes::from_static(why.as_bytes()), true, &mut 0).await.unwrap_or_default();
        }
    }

    /// What comes after the steps.
    async fn end(&mut self, end: End, body: &mut RecvStream) {
        match end {
            End::Drain => drop(read_body(body, None).await),
            End::Refuse => self.reset(Reason::REFUSED_STREAM),
            End::Unspeakable => self.reset(Reason::PROTOCOL_ERROR),
            End::Leave | End::LeaveWithReset => {
                self.home.order(Order::Leave(self.ended)).await;
                if !self.ended {
                    // Dropping the stream now would reset it before the connection says why.
                    self.home.closed().await;
                }
            }
            End::KeepAlive | End::Close | End::Linger if self.ended => {}
            End::KeepAlive | End::Close | End::Linger | End::Reset => {
                self.home.flushed().await;
                self.reset(Reason::INTERNAL_ERROR);
            }
        }
    }

    fn reset(&mut self, reason: Reason) {
        match &mut self.stream {
            Some(stream) => stream.send_reset(reason),
            None => self.respond.send_reset(reason),
        }
    }
}

fn response(head: &AnswerHead) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(head.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    add(headers, "content-type", &head.content_type);
    for (name, value) in HIDDEN_HEADERS {
        add(headers, name, value);
    }
    add(headers, "x-request-id", &head.request_id);
    add(headers, "request-id", &head.request_id);
    for (name, value) in &head.extra {
        add(headers, name, value);
    }
    if let Transfer::Length(length) = head.transfer {
        add(headers, "content-length", &length.to_string());
    }
    response
}

/// Adds a header; what cannot be one is left out.
fn add(headers: &mut HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
        headers.append(name, value);
    }
}

impl Home {
    async fn order(&self, order: Order) {
        // A connection that has ended needs no orders.
        self.orders.send(order).await.unwrap_or_default();
    }

    async fn flushed(&self) {
        let (done, flushed) = oneshot::channel();
        self.order(Order::Flush(done)).await;
        flushed.await.unwrap_or_default();
    }

    fn left(&self, left: Left) -> Left {
        if *self.leaving.borrow() { Left::Ours } else { left }
    }

    /// Returns when the connection has ended.
    async fn closed(&mut self) {
        while self.leaving.changed().await.is_ok() {}
    }

    /// Returns when the connection has ended, or we end it.
    async fn ended(&mut self) -> Left {
        // An error says that the sender is gone with the connection.
        match self.leaving.wait_for(|leaving| *leaving).await {
            Ok(_) => Left::Ours,
            Err(_) => Left::Closed,
        }
    }
}

fn left_by(error: &h2::Error) -> Left {
    if error.is_reset() { Left::Reset } else { Left::Closed }
}

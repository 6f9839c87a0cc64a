//! The same answers, faults and books over HTTP/2 with prior knowledge, seen by the `h2` crate's client.

use crate::client::{Client, chat, fake, streams};
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use http::{Request, Response};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tollgate_loadtest::{
    Cut, DripFrom, Early, Fault, Framing, Malformed, Options, Outcome, Protocol, Provider, Selector, Then,
};

/// One connection, and the task that drives it.
struct Http2 {
    send: SendRequest<Bytes>,
    driver: JoinHandle<Result<(), h2::Error>>,
}

/// An answer as far as it came.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: Response<()>,
    body: Vec<u8>,
    frames: usize,
    trailers: usize,
    /// Why it ended, where it did not end well.
    reset: Option<Reason>,
}

impl Http2 {
    async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.expect("the fake listens");
        let mut settings = h2::client::Builder::new();
        settings.initial_window_size(1 << 20).initial_connection_window_size(1 << 28);
        settings.initial_max_send_streams(20_000).max_concurrent_reset_streams(20_000);
        let (send, connection) = settings.handshake(stream).await.expect("the fake speaks HTTP/2");
        Self { send, driver: tokio::spawn(connection) }
    }

    /// Sends the head of a request that is given as the text of HTTP/1.1.
    async fn begin(&mut self, text: &str, ends: bool) -> (ResponseFuture, SendStream<Bytes>) {
        let (head, _) = text.split_once("\r\n\r\n").expect("a head");
        let mut lines = head.split("\r\n");
        let mut first = lines.next().expect("a request line").split(' ');
        let (method, target) = (first.next().expect("a method"), first.next().expect("a target"));
        let mut request = Request::builder().method(method).uri(format!("http://fake{target}"));
        for (name, value) in
            lines.filter_map(|line| line.split_once(": ")).filter(|(name, _)| *name != "host")
        {
            request = request.header(name, value);
        }
        self.send = self.send.clone().ready().await.expect("room for a stream");
        self.send.send_request(request.body(()).expect("a request"), ends).expect("sent")
    }

    async fn send(&mut self, text: &str) -> ResponseFuture {
        let (_, body) = text.split_once("\r\n\r\n").expect("a head");
        let (response, mut stream) = self.begin(text, body.is_empty()).await;
        if !body.is_empty() {
            stream.send_data(Bytes::from(body.to_owned()), true).expect("sent");
        }
        response
    }

    /// Asks, and reads the whole answer; the error is a reset before the head.
    async fn ask(&mut self, text: &str) -> Result<Answer, Option<Reason>> {
        read(self.send(text).await).await
    }
}

async fn read(response: ResponseFuture) -> Result<Answer, Option<Reason>> {
    let (head, mut body) = response.await.map_err(|error| error.reason())?.into_parts();
    let head = Response::from_parts(head, ());
    let status = head.status().as_u16();
    let mut answer = Answer { status, head, body: Vec::new(), frames: 0, trailers: 0, reset: None };
    while let Some(data) = body.data().await {
        match data {
            Ok(data) => {
                body.flow_control().release_capacity(data.len()).expect("it was received");
                answer.frames += usize::from(!data.is_empty());
                answer.body.extend_from_slice(&data);
            }
            Err(error) => {
                answer.reset = error.reason().or(Some(Reason::NO_ERROR));
                return Ok(answer);
            }
        }
    }
    answer.trailers = body.trailers().await.ok().flatten().map_or(0, |trailers| trailers.len());
    Ok(answer)
}

/// The body over HTTP/1.1, without its chunks.
async fn over_http1(fake: &Provider, text: &str) -> Vec<u8> {
    let mut client = Client::connect(fake.addr()).await;
    client.send(text).await;
    client.answer().await.body
}

#[tokio::test]
async fn every_dialect_answers_with_the_same_bytes_over_both_protocols() {
    let fake = fake().await;
    let mut client = Http2::connect(fake.addr()).await;
    for request in streams().into_iter().chain([chat()]) {
        let answer = client.ask(&request).await.expect("an answer");
        assert_eq!((answer.status, answer.reset), (200, None));
        assert_eq!(answer.body, over_http1(&fake, &request).await);
        assert_eq!(answer.head.headers()["server"], "fake-provider");
        assert!(!answer.head.headers().contains_key("connection"));
    }
    fake.wait_for(|counts| counts.completed == 10).await;
    let requests = fake.requests();
    let [first, second, ..] = requests.as_slice() else { panic!("ten requests") };
    assert_eq!((first.protocol, second.protocol), (Protocol::Http2, Protocol::Http1));
    assert_eq!((&first.body, &first.target, first.framing), (&second.body, &second.target, second.framing));
    assert_eq!((first.header("host"), first.header("authorization")), (Some("fake"), Some("Bearer sk-1")));
    assert_eq!((first.sent, first.outcome), (second.sent, Outcome::Completed));
    assert_eq!(fake.total_connections(), 6, "one connection carried all of HTTP/2");
}

#[tokio::test]
async fn strictness_leaks_and_the_control_address_are_the_same() {
    let fake = fake().await;
    let mut client = Http2::connect(fake.addr()).await;
    let leak = chat().replace("host: fake\r\n", "host: fake\r\nvia: 1.1 x\r\n");
    let answer = client.ask(&leak).await.expect("an answer");
    assert!(answer.status == 400 && String::from_utf8_lossy(&answer.body).contains("leak: the header via"));
    let unframed = chat().replace("content-length: 42\r\n", "");
    assert_eq!(client.ask(&unframed).await.expect("an answer").status, 200);
    assert_eq!(fake.requests().last().map(|request| request.framing), Some(Framing::Stream));
    let counts = client.ask(&crate::client::get("/__fake/counts", "")).await.expect("an answer");
    let counts: serde_json::Value = serde_json::from_slice(&counts.body).expect("JSON");
    assert_eq!((counts["requests"].as_u64(), counts["total_connections"].as_u64()), (Some(2), Some(1)));
    let shown = client.ask(&crate::client::get("/__fake/requests", "")).await.expect("an answer");
    assert!(String::from_utf8_lossy(&shown.body).contains(r#""protocol":"HTTP/2""#));
}

#[tokio::test]
async fn faults_of_the_connection_become_resets_of_the_stream() {
    let fake = fake().await;
    let [stream, ..] = streams();
    let mut client = Http2::connect(fake.addr()).await;
    for (fault, reason) in [
        (Fault::Reset, Reason::INTERNAL_ERROR),
        (Fault::Garbage, Reason::PROTOCOL_ERROR),
        (Fault::Raw("HTTP/1.1 200 OK\r\n\r\n".into()), Reason::PROTOCOL_ERROR),
        (Fault::Malformed(Malformed::TwoLengths), Reason::PROTOCOL_ERROR),
    ] {
        fake.script(Selector::Any, vec![fault.clone()]);
        assert_eq!(client.ask(&stream).await.expect_err("no answer"), Some(reason), "{fault:?}");
    }
    fake.script(Selector::Credential("sk-1".into()), vec![Fault::Refuse]);
    assert_eq!(client.ask(&stream).await.expect_err("no answer"), Some(Reason::REFUSED_STREAM));
    assert_eq!((fake.counts().failed, fake.total_connections()), (5, 1));
}

#[tokio::test]
async fn what_was_sent_before_a_reset_arrives_before_it() {
    let fake = fake().await;
    let mut client = Http2::connect(fake.addr()).await;
    for request in streams() {
        let whole = client.ask(&request).await.expect("an answer").body;
        for (fault, frames) in [
            (Fault::Cut { after_events: 0, how: Cut::Reset }, 0),
            (Fault::Cut { after_events: 2, how: Cut::Fin }, 2),
            (Fault::CutInEvent { after_events: 2, how: Cut::Reset }, 3),
        ] {
            fake.script(Selector::Any, vec![fault.clone()]);
            let answer = client.ask(&request).await.expect("a head");
            assert_eq!((answer.status, answer.reset), (200, Some(Reason::INTERNAL_ERROR)), "{fault:?}");
            assert_eq!((answer.frames, whole.starts_with(&answer.body)), (frames, true), "{fault:?}");
        }
        fake.script(Selector::Any, vec![Fault::ResetAfterTerminal]);
        let answer = client.ask(&request).await.expect("a head");
        assert_eq!((answer.reset, answer.body), (Some(Reason::INTERNAL_ERROR), whole));
    }
    fake.script(Selector::Any, vec![Fault::CutBody { after_bytes: 10 }]);
    let answer = client.ask(&chat()).await.expect("a head");
    assert_eq!((answer.body.len(), answer.reset), (10, Some(Reason::INTERNAL_ERROR)));
    let sent = fake.requests().last().map(|request| (request.sent.bytes, request.outcome));
    assert_eq!(sent, Some((10, Outcome::Failed)));
}

#[tokio::test]
async fn faults_that_leave_http_alone_are_the_same_answer() {
    let fake = fake().await;
    let mut client = Http2::connect(fake.addr()).await;
    let [stream, ..] = streams();
    let normal = client.ask(&stream).await.expect("an answer").body;
    for (fault, frames, trailers) in [
        (Fault::Pieces { bytes: 1 }, normal.len(), 0),
        (Fault::Drip { from: DripFrom::Head, every_ms: Some(0) }, normal.len(), 0),
        (Fault::Trailers, 7, 2),
        (Fault::ChunkExtensions, 7, 0),
        (Fault::Http10KeepAlive, 7, 0),
        (Fault::CloseDelimited, 7, 0),
        (Fault::Informational, 7, 0),
    ] {
        fake.script(Selector::Any, vec![fault.clone()]);
        let answer = client.ask(&stream).await.expect("an answer");
        assert_eq!((answer.frames, answer.trailers, answer.reset), (frames, trailers, None), "{fault:?}");
        assert_eq!(answer.body, normal, "{fault:?}");
    }
    assert_eq!(fake.total_connections(), 1);
}

#[tokio::test]
async fn a_silent_close_ends_the_connection_and_every_stream_on_it() {
    let fake = fake().await;
    let [stream, ..] = streams();
    let mut client = Http2::connect(fake.addr()).await;
    fake.script(Selector::Any, vec![Fault::HoldMidStream { after_events: 1 }, Fault::CloseSilently]);
    let held = client.send(&stream).await;
    fake.wait_for_holding(1).await;
    let reason = client.ask(&stream).await.expect_err("no answer");
    assert_eq!(reason, None, "not the stream was reset: the connection ended under it");
    let held = read(held).await.expect("its head was sent");
    assert!(held.reset.is_some(), "{held:?}");
    fake.wait_for(|counts| counts.failed == 2).await;
    fake.wait_for_open_connections_at_most(0).await;
    assert_eq!(fake.counts().aborted, 0, "we ended them, not the peer");
}

/// One frame: type, flags and stream, payload.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short frame");
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

#[tokio::test]
async fn a_silent_close_says_goaway_and_resets_no_stream() {
    let fake = fake().await;
    fake.script(Selector::Any, vec![Fault::None, Fault::CloseSilently]);
    let lines = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "fake"),
        (":path", "/v1/models"),
        ("authorization", "Bearer sk-1"),
    ];
    // HPACK: literals without indexing.
    let mut head = Vec::new();
    for text in lines {
        head.push(0);
        for part in [text.0, text.1] {
            head.push(u8::try_from(part.len()).expect("short"));
            head.extend_from_slice(part.as_bytes());
        }
    }
    let (headers, settings, reset, go_away) = (1, 4, 3, 7);
    let request = |stream| frame(headers, 5, stream, &head);
    let bytes =
        [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(settings, 0, 0, &[]), request(1), request(3)];
    let mut client = TcpStream::connect(fake.addr()).await.expect("the fake listens");
    // The preface alone must not be taken for HTTP/1.1, however it is cut.
    for byte in bytes.concat() {
        client.write_all(&[byte]).await.expect("the fake reads");
        tokio::task::yield_now().await;
    }
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.expect("a FIN");
    let mut frames = Vec::new();
    let mut rest = answer.as_slice();
    while let [_, high, low, kind, _, _, _, _, stream, after @ ..] = rest {
        let (payload, next) = after.split_at(usize::from(*high) * 256 + usize::from(*low));
        frames.push((*kind, *stream, payload));
        rest = next;
    }
    assert!(frames.iter().any(|(kind, stream, _)| (*kind, *stream) == (headers, 1)), "{frames:?}");
    assert!(
        frames.iter().all(|(kind, stream, _)| *kind != reset && (*kind, *stream) != (headers, 3)),
        "{frames:?}"
    );
    // The last stream that was processed, and NO_ERROR.
    assert_eq!(frames.last(), Some(&(go_away, 0, [0, 0, 0, 3, 0, 0, 0, 0].as_slice())));
}

#[tokio::test]
async fn a_connection_that_closes_after_an_answer_lets_its_streams_finish() {
    let fake = fake().await;
    let [stream, ..] = streams();
    let mut client = Http2::connect(fake.addr()).await;
    fake.script(Selector::Any, vec![Fault::HoldMidStream { after_events: 1 }, Fault::CloseAfterAnswer]);
    let held = client.send(&stream).await;
    fake.wait_for_holding(1).await;
    let answer = client.ask(&stream).await.expect("an answer");
    assert_eq!((answer.status, answer.reset), (200, None));
    fake.release();
    let held = read(held).await.expect("an answer");
    assert_eq!((held.body, held.reset), (answer.body, None));
    fake.wait_for_open_connections_at_most(0).await;
    assert_eq!(fake.counts().completed, 2);
}

#[tokio::test]
async fn a_client_that_resets_or_leaves_is_noticed_with_what_it_had() {
    let fake = fake().await;
    let [stream, ..] = streams();
    for (count, by_reset) in [(1, true), (2, false)] {
        let mut client = Http2::connect(fake.addr()).await;
        fake.script(Selector::Any, vec![Fault::HoldMidStream { after_events: 2 }]);
        let response = client.send(&stream).await.await.expect("a head");
        fake.wait_for_holding(1).await;
        if by_reset {
            // Without anybody to read it the client cancels the stream.
            drop(response);
        } else {
            client.driver.abort();
        }
        fake.wait_for_aborted(count).await;
        let request = fake.requests().pop().expect("recorded");
        assert_eq!((request.sent.status, request.sent.events), (Some(200), 2));
        assert_eq!(request.outcome, if by_reset { Outcome::Reset } else { Outcome::Closed });
        assert!(request.sent.bytes > 100);
    }
    assert_eq!((fake.counts().completed, fake.disconnects()), (0, 2));
}

#[tokio::test]
async fn a_stream_can_be_answered_early_or_never_and_its_body_left_unread() {
    let fake = fake().await;
    let mut client = Http2::connect(fake.addr()).await;
    let head = chat().replace("content-length: 42\r\n", "");
    for then in [Early::StopReading, Early::Drain, Early::Close, Early::Reset] {
        fake.script(Selector::Any, vec![Fault::EarlyStatusThen { status: 429, then }]);
        let (response, mut body) = client.begin(&head, false).await;
        let answer = read(response).await;
        if let Ok(answer) = &answer {
            assert_eq!(answer.status, 429, "{then:?}");
        }
        match then {
            Early::StopReading => {
                fake.wait_for_holding(1).await;
                body.send_reset(Reason::CANCEL);
                fake.wait_for(|counts| counts.holding == 0).await;
            }
            Early::Drain => body.send_data(Bytes::from_static(b"{}"), true).expect("still taken"),
            Early::Close | Early::Reset => {
                let reason = std::future::poll_fn(|context| body.poll_reset(context)).await.expect("a reset");
                let wanted = if then == Early::Close { Reason::NO_ERROR } else { Reason::INTERNAL_ERROR };
                assert_eq!(reason, wanted);
            }
        }
        fake.wait_for_all_settled().await;
    }
    fake.script(Selector::Any, vec![Fault::StopReading { after_bytes: 3 }]);
    let (response, mut body) = client.begin(&head, false).await;
    body.send_data(Bytes::from_static(b"{\"mo"), false).expect("sent");
    fake.wait_for_holding(1).await;
    assert_eq!(fake.requests().last().map(|request| request.body_len), Some(4));
    drop((response, body));
    fake.wait_for_aborted(1).await;
}

#[tokio::test]
async fn pings_and_comments_lead_to_what_was_asked_for() {
    let fake = fake().await;
    let mut client = Http2::connect(fake.addr()).await;
    for request in streams() {
        let fault = Fault::LeadThen { pings: 2, comments: 1, then: Then::Error };
        fake.script(Selector::Any, vec![fault]);
        let answer = client.ask(&request).await.expect("an answer");
        assert_eq!((answer.frames, answer.reset), (4, None));
    }
}

/// Every stream is open at once, every event arrives, and two connections carry them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_streams_are_open_at_once_on_two_connections() {
    const STREAMS: usize = 10_000;
    let options = Options { record_bodies: false, ..Options::default() };
    let fake = Provider::start(options).await.expect("a free port");
    let [stream, ..] = streams();
    let normal = over_http1(&fake, &stream).await;
    fake.script_forever(Selector::Any, Fault::HoldMidStream { after_events: 2 });
    let mut clients = [Http2::connect(fake.addr()).await, Http2::connect(fake.addr()).await];
    let mut answers = tokio::task::JoinSet::new();
    for number in 0..STREAMS {
        let client = clients.get_mut(number % 2).expect("two clients");
        answers.spawn(read(client.send(&stream).await));
    }
    fake.wait_for_holding(STREAMS).await;
    fake.release_many(STREAMS);
    while let Some(answer) = answers.join_next().await {
        let answer = answer.expect("no panic").expect("an answer");
        assert_eq!((answer.reset, answer.body == normal), (None, true));
    }
    fake.wait_for_all_settled().await;
    assert_eq!((fake.counts().completed, fake.total_connections()), (STREAMS + 1, 3));
}

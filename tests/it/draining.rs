//! The end of a gateway: what is under way is served to its end, or gets an honest one when the time is over.

use crate::support::client::{self, Answer, Connection, Ended};
use crate::support::speech::{MODEL, Speech};
use crate::support::{Gateway, KEY, channel, key, provider};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tollgate_loadtest::{Fault, Provider, Selector};

/// No time for anything: the deadline has passed when the drain begins.
const AT_ONCE: &str = "timeouts = { drain = \"0s\" }";

async fn gateway(server: &str, speech: Speech, upstream: &Provider, more: &str) -> Gateway {
    Gateway::with_server(server, &(channel("main", speech.kind(), upstream, more) + &key())).await
}

/// A stream under way, of which the client has seen the head.
async fn streaming(speech: Speech, gateway: &Gateway, upstream: &Provider) -> Connection {
    upstream.script(Selector::Any, vec![Fault::HoldMidStream { after_events: 2 }]);
    let mut client = Connection::open(gateway.addr()).await;
    client.send(&speech.request(KEY, MODEL, true)).await;
    assert_eq!(client.head().await.expect("an answer").status, 200);
    upstream.wait_for_holding(1).await;
    client
}

/// A file of so many bytes that its provider keeps: the request that brought it, and where its content is.
async fn uploaded(gateway: &Gateway, bytes: usize) -> (Vec<u8>, String) {
    let bearer = format!("Bearer {KEY}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "multipart/form-data; boundary=b")];
    let file = "x".repeat(bytes);
    let form = format!(
        "--b\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b\r\n\
         content-disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n{file}\r\n--b--\r\n"
    );
    let whole = client::request("POST", "/v1/files", &headers, form.as_bytes());
    let sent = client::once(gateway.addr(), &whole).await.json();
    (whole, format!("/v1/files/{}/content", sent["id"].as_str().expect("an id")))
}

#[tokio::test]
async fn at_the_deadline_a_stream_ends_with_the_error_event_of_its_dialect() {
    for speech in Speech::ALL {
        let upstream = provider().await;
        let gateway = gateway(AT_ONCE, speech, &upstream, "").await;
        let mut client = streaming(speech, &gateway, &upstream).await;
        assert!(!gateway.running.drain().await, "{speech:?}: not all of it ended by itself");
        let mut text = String::new();
        while let Some(chunk) = client.chunk().await.filter(|chunk| !chunk.is_empty()) {
            text += &String::from_utf8_lossy(&chunk);
        }
        let last = text.trim_end().rsplit("\n\n").next().expect("an event");
        assert!(last.contains("error") && last.contains("shutting down"), "{speech:?}: {last}");
        let code = if speech == Speech::Gemini { "STREAM_TRUNCATED" } else { "stream_truncated" };
        assert!(last.to_lowercase().contains(&code.to_lowercase()), "{speech:?}: {last}");
        let line = gateway.log.line().await;
        assert_eq!((&line["end"], &line["code"]), (&json!("drained"), &json!("stream_truncated")), "{line}");
        assert_eq!(line["charged"], true, "{line}");
        assert_eq!(gateway.count("tollgate_stream_aborts_total{side=\"drain\"}").await, 1);
        upstream.wait_for_aborted(1).await;
    }
}

#[tokio::test]
async fn at_the_deadline_a_stream_over_http2_ends_with_the_same_event() {
    let upstream = provider().await;
    let gateway = gateway(AT_ONCE, Speech::Messages, &upstream, "").await;
    upstream.script(Selector::Any, vec![Fault::HoldMidStream { after_events: 2 }]);
    let drained = async {
        upstream.wait_for_holding(1).await;
        gateway.running.drain().await
    };
    let (answer, drained) = tokio::join!(Speech::Messages.ask_h2(gateway.addr(), MODEL, true), drained);
    assert!(!drained && answer.ended == Ended::Whole, "{}", answer.text());
    let text = answer.text();
    let last = text.trim_end().rsplit("\n\n").next().expect("an event");
    assert!(last.starts_with("event: error\n") && last.contains("shutting down"), "{text}");
}

/// What the client of an exchange that has not begun to answer gets.
async fn refused(gateway: &Gateway, client: &mut Connection) -> (Answer, Value) {
    let answer = client.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.ended), (503, Ended::Whole), "{}", answer.text());
    assert_eq!(answer.code(), "gateway_overloaded");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.header("connection"), Some("close"));
    let line = gateway.log.line().await;
    assert_eq!((&line["end"], &line["code"]), (&json!("drained"), &json!("gateway_overloaded")), "{line}");
    (answer, line)
}

#[tokio::test]
async fn at_the_deadline_what_has_no_answer_yet_is_told_to_come_again() {
    for stream in [true, false] {
        let upstream = provider().await;
        let gateway = gateway(AT_ONCE, Speech::Chat, &upstream, "").await;
        upstream.script(Selector::Any, vec![Fault::HoldFirstByte]);
        let mut client = Connection::open(gateway.addr()).await;
        client.send(&Speech::Chat.request(KEY, MODEL, stream)).await;
        upstream.wait_for_holding(1).await;
        let (drained, (_, line)) = tokio::join!(gateway.running.drain(), refused(&gateway, &mut client));
        assert!(!drained, "stream={stream}");
        assert_eq!(line["attempts"].as_array().map(Vec::len), Some(1), "{line}");
        upstream.wait_for_aborted(1).await;
    }
}

#[tokio::test]
async fn at_the_deadline_who_waits_for_a_place_or_still_sends_is_told_to_come_again() {
    let upstream = provider().await;
    let more = "limits = { concurrency = 1 }\nqueue = 5\nqueue_timeout = \"600s\"";
    let gateway = gateway(AT_ONCE, Speech::Chat, &upstream, more).await;
    let mut first = streaming(Speech::Chat, &gateway, &upstream).await;
    let request = Speech::Chat.request(KEY, MODEL, false);
    let mut waiting = Connection::open(gateway.addr()).await;
    waiting.send(&request).await;
    let mut sending = Connection::open(gateway.addr()).await;
    sending.send(&request[..request.len() - 3]).await;
    gateway.count_reaches("tollgate_inflight_requests", 3).await;
    gateway.count_reaches("tollgate_queued_requests{channel=\"main\"}", 1).await;
    let (drained, one, other) = tokio::join!(gateway.running.drain(), waiting.answer(), sending.answer());
    let statuses = [one, other].map(|answer| answer.map(|answer| (answer.status, answer.code())));
    let told = Some((503, "gateway_overloaded".to_owned()));
    assert_eq!((drained, statuses), (false, [told.clone(), told]));
    assert!(first.chunks_until("shutting down").await.contains("stream_truncated"));
    let lines = gateway.log.lines(3).await;
    assert!(lines.iter().all(|line| line["end"] == "drained"), "{lines:?}");
}

#[tokio::test]
async fn at_the_deadline_a_whole_that_has_begun_is_aborted() {
    let upstream = provider().await;
    let gateway = gateway(AT_ONCE, Speech::Chat, &upstream, "").await;
    upstream.script(Selector::Any, vec![Fault::HoldMidStream { after_events: 1 }]);
    let mut client = Connection::open(gateway.addr()).await;
    client.send(&Speech::Chat.request(KEY, MODEL, false)).await;
    upstream.wait_for_holding(1).await;
    let (drained, answer) = tokio::join!(gateway.running.drain(), client.answer());
    assert!(!drained);
    assert!(answer.is_none_or(|answer| answer.ended == Ended::Cut), "it does not look whole");
    assert_eq!(gateway.log.line().await["end"], "drained");
}

#[tokio::test]
async fn at_the_deadline_a_download_is_aborted_and_an_upload_is_told() {
    for h2 in [false, true] {
        let upstream = provider().await;
        let more = if h2 { "http_version = \"2\"" } else { "" };
        let gateway = gateway(AT_ONCE, Speech::Chat, &upstream, more).await;
        let bearer = ("authorization", &*format!("Bearer {KEY}"));
        let (whole, path) = uploaded(&gateway, 300_000).await;
        gateway.log.line().await;
        upstream.script(Selector::Any, vec![Fault::HoldMidStream { after_events: 1 }]);
        let (mut download, mut upload) =
            (Connection::open(gateway.addr()).await, Connection::open(gateway.addr()).await);
        download.send(&client::request("GET", &path, &[bearer], b"")).await;
        assert_eq!(download.head().await.expect("a head").status, 200, "h2={h2}");
        upstream.wait_for_holding(1).await;
        upload.send(&whole[..whole.len() - 1000]).await;
        gateway.count_reaches("tollgate_channel_inflight{channel=\"main\"}", 2).await;
        let (drained, told) = tokio::join!(gateway.running.drain(), upload.answer());
        assert!(!drained, "h2={h2}");
        let told = told.expect("it is told");
        assert_eq!((told.status, told.code().as_str()), (503, "gateway_overloaded"), "h2={h2}");
        let mut lines = gateway.log.lines(3).await.split_off(1);
        lines.sort_by_key(|line| line["status"].as_u64());
        let ends: Vec<_> = lines.iter().map(|line| (&line["status"], &line["end"], &line["code"])).collect();
        assert_eq!(
            ends,
            [
                (&json!(200), &json!("drained"), &json!("stream_truncated")),
                (&json!(503), &json!("drained"), &json!("gateway_overloaded"))
            ],
            "h2={h2}"
        );
        assert_eq!(gateway.count("tollgate_channel_inflight{channel=\"main\"}").await, 0, "h2={h2}");
    }
}

#[tokio::test]
async fn at_the_deadline_a_download_that_nobody_takes_is_aborted_too() {
    for h2 in [false, true] {
        let upstream = provider().await;
        let gateway = gateway(AT_ONCE, Speech::Chat, &upstream, "").await;
        let bearer = ("authorization", &*format!("Bearer {KEY}"));
        // More than the sockets on the way take of a client that reads nothing.
        let (_, path) = uploaded(&gateway, 8 << 20).await;
        let drained = if h2 {
            let socket = TcpStream::connect(gateway.addr()).await.expect("the gateway listens");
            let (client, connection) = h2::client::handshake(socket).await.expect("HTTP/2 is spoken");
            let connection = tokio::spawn(connection);
            let mut client = client.ready().await.expect("a stream is free");
            let request = http::Request::get(format!("http://test{path}")).header(bearer.0, bearer.1);
            let request = request.body(()).expect("a request");
            let (response, _) = client.send_request(request, true).expect("it is sent");
            let _unread = response.await.expect("an answer");
            let drained = gateway.running.drain().await;
            drop(connection.await.expect("it was driven"));
            drained
        } else {
            let mut unread = Connection::open(gateway.addr()).await;
            unread.send(&client::request("GET", &path, &[bearer], b"")).await;
            assert_eq!(unread.head().await.expect("a head").status, 200);
            gateway.running.drain().await
        };
        assert!(!drained, "h2={h2}");
        let log = gateway.log.text();
        let line = log.lines().nth(1).expect("it has its line");
        let line: Value = serde_json::from_str(line).expect("JSON");
        let end = (&line["status"], &line["end"], &line["code"]);
        assert_eq!(end, (&json!(200), &json!("drained"), &json!("stream_truncated")), "h2={h2}: {line}");
    }
}

#[tokio::test]
async fn at_the_deadline_nobody_waits_for_who_takes_no_small_answers() {
    let upstream = provider().await;
    let gateway = gateway(AT_ONCE, Speech::Chat, &upstream, "").await;
    let body = Some(format!("{{\"error\":{{\"message\":\"{}\"}}}}", "x".repeat(4_000)));
    upstream.script_forever(Selector::Any, Fault::Status { status: 400, headers: Vec::new(), body });
    let socket = TcpStream::connect(gateway.addr()).await.expect("the gateway listens");
    let (_unread, mut requests) = socket.into_split();
    let many = Speech::Chat.request(KEY, MODEL, false).repeat(2_000);
    // What does not fit into the sockets is never sent.
    let asking = tokio::spawn(async move { drop(requests.write_all(&many).await) });
    // Until one waits for room in the socket: the lines do not catch up any more.
    let (mut asked, mut looks) = (0, 0);
    while looks < 100 {
        gateway.count("tollgate_inflight_requests").await;
        let (now, lines) = (upstream.request_count(), gateway.log.text().lines().count());
        looks = if now == asked && lines + 1 == now { looks + 1 } else { 0 };
        asked = now;
    }
    assert!(!gateway.running.drain().await);
    assert_eq!(gateway.log.text().lines().count(), asked, "the last one has its line too");
    asking.abort();
}

#[tokio::test]
async fn a_draining_gateway_serves_what_comes_on_its_connections_and_ends_them() {
    let upstream = provider().await;
    // Long enough for the next request to come in time on any machine.
    let gateway = gateway("timeouts = { drain_delay = \"2s\" }", Speech::Chat, &upstream, "").await;
    let mut stream = streaming(Speech::Chat, &gateway, &upstream).await;
    let mut kept = Connection::open(gateway.addr()).await;
    kept.send(&Speech::Chat.request(KEY, MODEL, false)).await;
    let before = kept.answer().await.expect("an answer");
    assert_eq!((before.status, before.header("connection")), (200, Some("keep-alive")), "it is kept");
    let clients = async {
        while client::get(gateway.running.admin, "/readyz").await.status != 503 {}
        kept.send(&Speech::Chat.request(KEY, MODEL, false)).await;
        let last = kept.answer().await.expect("it is served");
        assert_eq!((last.status, last.header("connection")), (200, Some("close")));
        assert!(kept.is_closed().await);
        while TcpStream::connect(gateway.addr()).await.is_ok() {}
        upstream.release();
        assert!(stream.chunks_until("data: [DONE]\n\n").await.ends_with("data: [DONE]\n\n"));
        assert!(stream.chunk().await.is_some_and(|last| last.is_empty()), "it ends whole");
    };
    let (drained, ()) = tokio::join!(gateway.running.drain(), clients);
    assert!(drained, "everything ended by itself");
    let lines = gateway.log.lines(3).await;
    assert!(lines.iter().all(|line| line["end"] == "ok"), "{lines:?}");
}

#[tokio::test]
async fn a_draining_gateway_says_goodbye_on_http2() {
    let upstream = provider().await;
    let gateway = gateway("", Speech::Chat, &upstream, "").await;
    upstream.script(Selector::Any, vec![Fault::HoldMidStream { after_events: 2 }]);
    let socket = TcpStream::connect(gateway.addr()).await.expect("the gateway listens");
    let (client, connection) = h2::client::handshake(socket).await.expect("HTTP/2 is spoken");
    let connection = tokio::spawn(connection);
    let mut client = client.ready().await.expect("a stream is free");
    let request = http::Request::post("http://test/v1/chat/completions")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {KEY}"))
        .body(())
        .expect("a request");
    let (response, mut upload) = client.send_request(request, false).expect("it is sent");
    upload.send_data(Speech::Chat.body(MODEL, true).into(), true).expect("it is sent");
    let mut body = response.await.expect("an answer").into_body();
    let clients = async {
        // The farewell: no stream may be begun any more, and the one under way goes on.
        while client.clone().ready().await.is_ok() {
            client::get(gateway.running.admin, "/readyz").await;
        }
        upstream.release();
        let mut text = String::new();
        while let Some(data) = body.data().await {
            let data = data.expect("it is not reset");
            drop(body.flow_control().release_capacity(data.len()));
            text += &String::from_utf8_lossy(&data);
        }
        assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    };
    let (drained, ()) = tokio::join!(gateway.running.drain(), clients);
    assert!(drained, "everything ended by itself");
    connection.await.expect("it was driven").expect("the connection ends without an error");
}

//! Odd, half-open, dripping and malformed answers over HTTP/1.1, byte for byte, and what the fake books of them.

use crate::client::{Answer, Client, End, OPENAI, ask, chat, events, fake, get, streams};
use tollgate_loadtest::{
    ABSURD_RETRY_AFTER, Cut, DripFrom, Early, Fault, Malformed, Outcome, Provider, Selector, Then,
};

/// Asks once with this fault.
async fn meet(fake: &Provider, fault: Fault, request: &str) -> Answer {
    fake.script(Selector::Any, vec![fault]);
    ask(fake, request).await
}

/// A connection that has sent a request and met a fault.
async fn sent(fake: &Provider, fault: Fault, request: &str) -> Client {
    fake.script(Selector::Any, vec![fault]);
    let mut client = Client::connect(fake.addr()).await;
    client.send(request).await;
    client
}

/// The beginning of a request with a body of a megabyte.
fn upload() -> String {
    let json = "content-type: application/json\r\ncontent-length: 1000000\r\n";
    format!("POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n{OPENAI}{json}\r\n{{\"mo")
}

#[tokio::test]
async fn a_connection_can_be_silent_from_the_start() {
    let fake = fake().await;
    let client = sent(&fake, Fault::SilentOnAccept, &chat()).await;
    fake.wait_for_holding(1).await;
    assert_eq!((fake.request_count(), fake.open_connections()), (0, 1));
    drop(client);
    fake.wait_for_open_connections_at_most(0).await;
    // Where only the credential tells, the head is read, and nothing after it.
    fake.script(Selector::Credential("sk-1".into()), vec![Fault::SilentOnAccept]);
    let mut client = Client::connect(fake.addr()).await;
    client.send(&upload()).await;
    fake.wait_for_holding(1).await;
    assert_eq!(fake.requests().first().map(|request| request.body_len), Some(0));
    drop(client);
    fake.wait_for_aborted(1).await;
}

#[tokio::test]
async fn a_half_open_peer_stops_reading_and_never_answers() {
    let fake = fake().await;
    let mut client = sent(&fake, Fault::StopReading { after_bytes: 3 }, &upload()).await;
    fake.wait_for_holding(1).await;
    assert_eq!(fake.requests().first().map(|request| request.body_len), Some(3));
    // More than any kernel buffers: the writes must come to a stop.
    let stuck = client.fill_up().await;
    assert!(stuck > 100_000, "{stuck}");
    client.reset();
    fake.wait_for_aborted(1).await;
    assert_eq!(fake.requests().first().map(|request| request.outcome), Some(Outcome::Reset));
}

#[tokio::test]
async fn an_early_answer_leaves_the_connection_as_asked() {
    let fake = fake().await;
    let early = |then| Fault::EarlyStatusThen { status: 503, then };
    for (then, end) in [(Early::Close, None), (Early::Reset, Some(End::Reset))] {
        let mut client = sent(&fake, early(then), &upload()).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.head.contains("connection:")), (503, false));
        let (rest, ended) = client.rest().await;
        assert!(rest.is_empty() && end.is_none_or(|end| end == ended), "{then:?}: {ended:?}");
    }
    let mut client = sent(&fake, early(Early::StopReading), &upload()).await;
    assert_eq!(client.answer().await.status, 503);
    fake.wait_for_holding(1).await;
    assert!(client.fill_up().await > 100_000);
    client.reset();
    fake.wait_for_open_connections_at_most(0).await;

    let mut client = sent(&fake, early(Early::Drain), &upload()).await;
    assert_eq!(client.answer().await.status, 503);
    client.send(&"x".repeat(1_000_000 - 4)).await;
    client.send(&chat()).await;
    assert_eq!(client.answer().await.status, 200);
    fake.wait_for_all_settled().await;
    let counts = fake.counts();
    assert_eq!((counts.completed, counts.aborted, counts.requests), (5, 0, 5));
}

#[tokio::test]
async fn what_is_not_to_be_read_stays_in_the_kernel() {
    for fault in [Fault::StopReading { after_bytes: 1 }, Fault::SilentOnAccept] {
        let fake = fake().await;
        let mut client = sent(&fake, fault, &upload()).await;
        fake.wait_for_holding(1).await;
        client.send("more").await;
        assert_eq!(ask(&fake, &chat()).await.status, 200);
        drop(fake);
        // Closing a socket with unread input is a reset, without it a FIN.
        assert_eq!(client.rest().await, (Vec::new(), End::Reset));
    }
}

#[tokio::test]
async fn dripping_answers_come_byte_by_byte_at_each_release() {
    let fake = fake().await;
    let [stream, ..] = streams();
    let normal = ask(&fake, &stream).await;
    let drip = |from| Fault::Drip { from, every_ms: None };
    let mut client = sent(&fake, drip(DripFrom::Head), &stream).await;
    for wanted in ["H", "HT", "HTT", "HTTP"] {
        fake.wait_for_holding(1).await;
        fake.release();
        assert_eq!(client.until(wanted).await, wanted);
    }
    fake.release_many(normal.head.len() + normal.body.len() - 4);
    assert_eq!(client.answer().await.body, normal.body);

    let mut client = sent(&fake, drip(DripFrom::Body), &stream).await;
    assert!(client.until("\r\n\r\n").await.ends_with("\r\n\r\n"));
    fake.wait_for_holding(1).await;
    fake.release_many(2);
    assert!(client.until("a\r\n").await.ends_with("\r\n\r\n1\r\nd\r\n1\r\na\r\n"));
    drop(client);
    fake.wait_for_aborted(1).await;
    let request = fake.requests().pop().expect("recorded");
    assert_eq!((request.sent.bytes, request.sent.events, request.outcome), (2, 0, Outcome::Closed));
    let timed = meet(&fake, Fault::Drip { from: DripFrom::Head, every_ms: Some(0) }, &stream).await;
    assert_eq!(timed.body, normal.body);
}

#[tokio::test]
async fn a_stream_can_end_in_the_middle_of_any_event() {
    let fake = fake().await;
    for request in streams() {
        let normal = ask(&fake, &request).await;
        for (after_events, how, end) in [
            (0, Cut::Fin, End::Fin),
            (2, Cut::Reset, End::Reset),
            (99, Cut::CleanEndWithoutTerminal, End::Complete),
        ] {
            let answer = meet(&fake, Fault::CutInEvent { after_events, how }, &request).await;
            assert_eq!(answer.end, end);
            assert_eq!(answer.chunks, after_events.min(normal.chunks - 1) + 1);
            assert!(normal.body.starts_with(&answer.body) && !answer.body.ends_with(b"\n"));
            assert!(answer.body.len() < normal.body.len());
        }
        let cut = Fault::TerminalWithoutBlankLine { how: Cut::Fin };
        let answer = meet(&fake, cut, &request).await;
        let missing = if request.contains("v1beta") { 2 } else { 1 };
        assert_eq!((answer.end, answer.body.len()), (End::Fin, normal.body.len() - missing));
        assert!(normal.body.starts_with(&answer.body) && answer.body.ends_with(b"\n"));
    }
    let whole = ask(&fake, &chat()).await.body;
    let answer = meet(&fake, Fault::CutChunked { after_bytes: 20, how: Cut::Fin }, &chat()).await;
    assert_eq!((answer.end, answer.body.as_slice()), (End::Fin, &whole[..20]));
    assert!(answer.head.contains("transfer-encoding: chunked"));
}

#[tokio::test]
async fn errors_come_after_pings_and_after_the_terminal_event() {
    let fake = fake().await;
    for request in streams() {
        let normal = ask(&fake, &request).await;
        let lead = |then| Fault::LeadThen { pings: 2, comments: 3, then };
        let error = meet(&fake, lead(Then::Error), &request).await;
        let alone = meet(&fake, Fault::StreamErrorFirst, &request).await;
        assert!(error.text().contains(": a comment\n\n") && error.chunks == 6, "{}", error.text());
        // Request ids count up; the rest is the same.
        assert_eq!(
            error.body.len() - alone.body.len(),
            meet(&fake, lead(Then::Nothing), &request).await.body.len()
        );
        let whole = meet(&fake, lead(Then::Stream), &request).await;
        assert!(whole.body.ends_with(&normal.body) && whole.chunks == normal.chunks + 5);
        let late = meet(&fake, Fault::ErrorAfterTerminal, &request).await;
        assert!(late.body.starts_with(&normal.body) && late.chunks == normal.chunks + 1);
        assert!(events(&late.text()).last().is_some_and(|event| event.contains("error")));
        let mut silent = sent(&fake, lead(Then::Silence), &request).await;
        silent.until(&"d\r\n: a comment\n\n\r\n".repeat(3)).await;
        fake.wait_for_holding(1).await;
        drop(silent);
        fake.wait_for(|counts| counts.holding == 0).await;
    }
    assert_eq!(fake.counts().aborted, 4);
    let pings: Vec<usize> =
        fake.requests().iter().filter(|one| one.outcome.is_aborted()).map(|one| one.sent.events).collect();
    assert_eq!(pings, [0, 0, 2, 0], "pings of Anthropic are events, comments are none");
    assert_eq!(
        meet(&fake, Fault::LeadThen { pings: 1, comments: 0, then: Then::Error }, &chat()).await.status,
        500
    );
}

#[tokio::test]
async fn comments_and_pieces_change_no_event() {
    let fake = fake().await;
    for request in streams() {
        let normal = ask(&fake, &request).await;
        let commented = meet(&fake, Fault::CommentsBetween, &request).await;
        let text = commented.text();
        assert_eq!(
            (text.matches(": between").count(), text.matches(": inside").count()),
            (normal.chunks, normal.chunks)
        );
        assert_eq!(events(&text), events(&normal.text()));
        for bytes in [0, 7, 1000] {
            let pieces = meet(&fake, Fault::Pieces { bytes }, &request).await;
            assert_eq!(
                (pieces.chunks, &pieces.body),
                (normal.body.len().div_ceil(bytes.max(1)), &normal.body)
            );
        }
        fake.wait_for_all_settled().await;
        let counted: Vec<usize> = fake.requests().iter().rev().take(5).map(|one| one.sent.events).collect();
        assert_eq!(counted, [normal.chunks; 5]);
    }
}

#[tokio::test]
async fn unusual_framing_that_is_right() {
    let fake = fake().await;
    for request in [streams()[0].clone(), chat()] {
        let normal = ask(&fake, &request).await;
        let mut client = sent(&fake, Fault::ChunkExtensions, &request).await;
        assert!(client.until("0\r\n\r\n").await.contains(";fake=1;quoted=\"a b\"\r\n"));
        let mut client = sent(&fake, Fault::Trailers, &request).await;
        assert!(client.until("dur=1\r\n\r\n").await.contains("\r\n0\r\nx-fake-trailer: 1\r\n"));
        let old = meet(&fake, Fault::Http10KeepAlive, &request).await;
        assert!(
            old.head.starts_with("HTTP/1.0 200 OK\r\n") && old.head.contains("connection: keep-alive\r\n")
        );
        assert_eq!((old.body, old.end), (normal.body, End::Complete));
    }
}

#[tokio::test]
async fn a_pooled_connection_goes_stale_after_a_whole_answer() {
    let fake = fake().await;
    for (fault, wanted) in [(Fault::CloseAfterAnswer, End::Fin), (Fault::ResetAfterAnswer, End::Reset)] {
        for request in [streams()[0].clone(), chat()] {
            let mut client = sent(&fake, fault.clone(), &request).await;
            let answer = client.answer().await;
            assert_eq!(
                (answer.status, answer.end, answer.head.contains("connection:")),
                (200, End::Complete, false)
            );
            assert_eq!(client.rest().await, (Vec::new(), wanted));
        }
    }
    assert_eq!(fake.counts().completed, 4);
}

#[tokio::test]
async fn malformed_answers_say_what_they_should() {
    let fake = fake().await;
    let part = |how| match how {
        Malformed::LengthAndChunked => "\r\ntransfer-encoding: chunked\r\n",
        Malformed::TwoLengths => "\r\ncontent-length: ",
        Malformed::LengthList => ", ",
        Malformed::NegativeLength => "\r\ncontent-length: -",
        Malformed::SignedLength => "\r\ncontent-length: +",
        Malformed::OverflowingLength => "99999999999999999999\r\n",
        Malformed::OtherCoding => "\r\ntransfer-encoding: gzip\r\n",
        Malformed::CodingList => "\r\ntransfer-encoding: gzip, chunked\r\n",
        Malformed::ObsFold => "x-folded: one\r\n two\r\n",
        Malformed::BareLineFeed => "HTTP/1.1 200 OK\ncontent-type",
        Malformed::NulInHeader => "x-nul: a\0b\r\n",
        Malformed::LongHead => "x-long: ",
        Malformed::EndlessHead => "x-endless: ",
        Malformed::EndlessInformational => "HTTP/1.1 103 ",
        Malformed::SwitchingProtocols => "HTTP/1.1 101 ",
        Malformed::BadChunkSize => "\r\n0xg\r\n",
        Malformed::ChunkSizeOverflow => "\r\n10000000000000000",
        Malformed::ChunkWithoutLineEnd => "too much\r\n",
    };
    for request in streams().into_iter().chain([chat()]) {
        for how in Malformed::ALL {
            let mut client = sent(&fake, Fault::Malformed(how), &request).await;
            let endless = matches!(how, Malformed::EndlessHead | Malformed::EndlessInformational);
            if endless || how == Malformed::LongHead {
                assert!(client.at_least(64 * 1024 + 1).await.starts_with(b"HTTP/1.1 "), "{how:?}");
            } else {
                client.until(part(how)).await;
            }
        }
    }
    fake.wait_for_all_settled().await;
    let counts = fake.counts();
    assert_eq!((counts.completed, counts.failed + counts.aborted), (0, 5 * Malformed::ALL.len()));
}

#[tokio::test]
async fn when_to_come_back_is_said_in_every_form() {
    let fake = fake().await;
    for value in ABSURD_RETRY_AFTER.iter().chain(&["2", "Wed, 21 Oct 2026 07:28:00 GMT"]) {
        let fault = Fault::status_with(429, &[("retry-after", value), ("retry-after-ms", "1500")]);
        let head = meet(&fake, fault, &chat()).await.head;
        assert!(head.contains(&format!("\r\nretry-after: {value}\r\nretry-after-ms: 1500\r\n")), "{head}");
    }
}

#[tokio::test]
async fn every_request_is_in_exactly_one_book() {
    let fake = fake().await;
    let [stream, ..] = streams();
    ask(&fake, &stream).await;
    assert_eq!(meet(&fake, Fault::status(503), &chat()).await.status, 503);
    sent(&fake, Fault::Reset, &chat()).await.rest().await;
    let mut client = sent(&fake, Fault::HoldMidStream { after_events: 3 }, &stream).await;
    client.until("，世界！").await;
    drop(client);
    fake.wait_for_aborted(1).await;
    let mut client = Client::connect(fake.addr()).await;
    client.send(&upload()).await;
    drop(client);
    fake.wait_for(|counts| counts.unfinished == 1).await;
    let mut client = Client::connect(fake.addr()).await;
    client.send("GET / HTTP/3\r\n\r\n").await;
    client.rest().await;
    fake.wait_for_all_settled().await;
    let counts = ask(&fake, &get("/__fake/counts", "")).await.json();
    let books = ["requests", "completed", "failed", "aborted", "unfinished", "broken", "holding"];
    assert_eq!(books.map(|book| counts[book].as_u64().unwrap_or(99)), [4, 2, 1, 1, 1, 1, 0]);
    let shown = ask(&fake, &get("/__fake/requests", "")).await.json();
    let outcomes: Vec<_> = shown
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| (one["outcome"].as_str(), one["status"].as_u64(), one["sent_events"].as_u64()))
        .collect();
    assert_eq!(
        outcomes,
        [
            (Some("completed"), Some(200), Some(7)),
            (Some("completed"), Some(503), Some(0)),
            (Some("failed"), None, Some(0)),
            (Some("closed"), Some(200), Some(3)),
        ]
    );
}

#[tokio::test]
async fn shell_scripts_can_ask_for_every_new_fault() {
    let fake = fake().await;
    let order = r#"{"selector":"any","faults":[
        {"early_status_then":{"status":429,"then":"drain"}}, {"stop_reading":{"after_bytes":1}}, "silent_on_accept",
        {"drip":{"from":"head","every_ms":5}}, {"drip":{"from":"body"}}, {"malformed":"two_lengths"},
        {"cut_in_event":{"after_events":1,"how":"reset"}}, {"cut_chunked":{"after_bytes":9,"how":"fin"}},
        {"lead_then":{"pings":1,"comments":1,"then":"silence"}}, "error_after_terminal", "comments_between",
        {"terminal_without_blank_line":{"how":"fin"}}, {"pieces":{"bytes":3}}, "chunk_extensions", "trailers",
        "http10_keep_alive", "close_after_answer", "reset_after_answer"]}"#;
    let answer = ask(&fake, &crate::client::post("/__fake/script", "", order)).await;
    assert_eq!(answer.text(), r#"{"ok":true}"#);
    assert_eq!(ask(&fake, &chat()).await.status, 429);
}

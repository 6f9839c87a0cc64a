//! Every fault, seen from the other end of the wire.

use crate::client::{Answer, Client, End, GEMINI, OPENAI, ask, chat, events, fake, post, streams};
use tollgate_loadtest::{Cut, Fault, Provider, ReservedPort, Selector, UsageNumbers};

/// Asks once with this fault.
async fn meet(fake: &Provider, fault: Fault, request: &str) -> Answer {
    fake.script(Selector::Any, vec![fault]);
    ask(fake, request).await
}

/// Sends a request that gets no answer in HTTP; gives what came instead.
async fn meet_raw(fake: &Provider, fault: Fault, request: &str) -> (Vec<u8>, End) {
    fake.script(Selector::Any, vec![fault]);
    let mut client = Client::connect(fake.addr()).await;
    client.send(request).await;
    client.rest().await
}

#[tokio::test]
async fn a_status_has_the_providers_error_shape_unless_a_body_is_given() {
    let fake = fake().await;
    let [openai, _, anthropic, gemini] = streams();
    for (status, kinds) in [
        (401, ["invalid_api_key", "authentication_error", "UNAUTHENTICATED"]),
        (403, ["request_forbidden", "permission_error", "PERMISSION_DENIED"]),
        (404, ["model_not_found", "not_found_error", "NOT_FOUND"]),
        (429, ["rate_limit_exceeded", "rate_limit_error", "RESOURCE_EXHAUSTED"]),
        (500, ["server_error", "api_error", "INTERNAL"]),
        (503, ["server_is_overloaded", "api_error", "UNAVAILABLE"]),
        (529, ["server_error", "overloaded_error", "UNAVAILABLE"]),
    ] {
        for (request, kind) in [&openai, &anthropic, &gemini].into_iter().zip(kinds) {
            let fault =
                Fault::Status { status, headers: vec![("retry-after".into(), "2".into())], body: None };
            let answer = meet(&fake, fault, request).await;
            assert_eq!(answer.status, status);
            assert!(answer.json()["error"].is_object() && answer.text().contains(kind), "{}", answer.text());
            assert!(answer.head.contains("\r\nretry-after: 2\r\n"));
        }
    }
    let headers = vec![("Content-Type".into(), "text/html".into()), ("content-length".into(), "1".into())];
    let fault = Fault::Status { status: 502, headers, body: Some("<html>".into()) };
    let answer = meet(&fake, fault, &openai).await;
    assert_eq!((answer.status, answer.text().as_str()), (502, "<html>"));
    assert!(answer.head.contains("content-type: text/html\r\n") && !answer.head.contains("application/json"));
}

#[tokio::test]
async fn an_answer_can_end_before_it_begins() {
    let fake = fake().await;
    let none = Vec::new;
    assert_eq!(meet_raw(&fake, Fault::Reset, &chat()).await, (none(), End::Reset));
    assert_eq!(meet_raw(&fake, Fault::CloseSilently, &chat()).await, (none(), End::Fin));
    let (garbage, end) = meet_raw(&fake, Fault::Garbage, &chat()).await;
    assert!(!garbage.starts_with(b"HTTP") && !garbage.is_empty());
    assert_eq!(end, End::Fin);
    let raw = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc";
    assert_eq!(meet_raw(&fake, Fault::Raw(raw.into()), &chat()).await, (raw.into(), End::Fin));
    assert_eq!(fake.request_count(), 4);
}

#[tokio::test]
async fn refused_connections_close_without_a_byte_and_without_a_request() {
    let fake = fake().await;
    fake.script(Selector::Any, vec![Fault::Refuse]);
    let mut client = Client::connect(fake.addr()).await;
    assert!(client.rest().await.0.is_empty());
    assert_eq!((fake.request_count(), fake.total_connections()), (0, 1));
    assert_eq!(ask(&fake, &chat()).await.status, 200);
    let reserved = ReservedPort::new().expect("a free port");
    let error = tokio::net::TcpStream::connect(reserved.addr()).await.expect_err("nobody listens");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn hanging_answers_end_when_the_peer_leaves() {
    let fake = fake().await;
    let [stream, ..] = streams();
    for (count, fault) in
        [Fault::Hang, Fault::HangAfterHead, Fault::HangAfterTerminal].into_iter().enumerate()
    {
        fake.script(Selector::Any, vec![fault.clone()]);
        let mut client = Client::connect(fake.addr()).await;
        client.send(&stream).await;
        match fault {
            Fault::HangAfterHead => drop(client.until("\r\n\r\n").await),
            Fault::HangAfterTerminal => drop(client.until("[DONE]\n\n").await),
            _ => {}
        }
        fake.wait_for_holding(1).await;
        assert_eq!(fake.disconnects(), count);
        drop(client);
        fake.wait_for_disconnects(count + 1).await;
        fake.wait_for_open_connections_at_most(0).await;
    }
}

#[tokio::test]
async fn held_answers_go_on_step_by_step() {
    let fake = fake().await;
    let [stream, ..] = streams();
    let normal = ask(&fake, &stream).await.body;
    fake.script(
        Selector::Any,
        vec![Fault::HoldFirstByte, Fault::HoldMidStream { after_events: 2 }, Fault::HoldEveryEvent],
    );
    let mut client = Client::connect(fake.addr()).await;
    client.send(&stream).await;
    fake.wait_for_holding(1).await;
    fake.release();
    assert_eq!(client.answer().await.body, normal);

    client.send(&stream).await;
    let so_far = client.until("你好").await;
    assert_eq!((so_far.matches("data: ").count(), fake.disconnects()), (2, 0));
    fake.wait_for_holding(1).await;
    fake.release();
    assert_eq!(client.answer().await.body, normal);

    client.send(&stream).await;
    fake.wait_for_holding(1).await;
    fake.release_many(7);
    assert_eq!(client.answer().await.body, normal);
    assert_eq!(fake.total_connections(), 2);
}

#[tokio::test]
async fn a_peer_that_leaves_a_held_stream_is_counted() {
    let fake = fake().await;
    let [_, _, stream, _] = streams();
    fake.script(Selector::Any, vec![Fault::HoldMidStream { after_events: 4 }]);
    let mut client = Client::connect(fake.addr()).await;
    client.send(&stream).await;
    client.until("你好").await;
    drop(client);
    fake.wait_for_disconnects(1).await;
    assert_eq!(ask(&fake, &stream).await.end, End::Complete);
    assert_eq!(fake.disconnects(), 1);
}

#[tokio::test]
async fn a_peer_that_leaves_in_the_middle_of_a_large_write_is_counted() {
    let fake = fake().await;
    let [stream, ..] = streams();
    fake.script(Selector::Any, vec![Fault::BigEvent { bytes: 32 * 1024 * 1024 }]);
    let mut client = Client::connect(fake.addr()).await;
    client.send(&stream).await;
    client.until("xxxx").await;
    drop(client);
    fake.wait_for_disconnects(1).await;
}

#[tokio::test]
async fn in_band_errors_have_each_providers_form() {
    let fake = fake().await;
    let forms = [r#"data: {"error":{"#, "event: error\n", "event: error\n", "data: {\"error\":{\"code\":503"];
    for (request, form) in streams().iter().zip(forms) {
        let answer = meet(&fake, Fault::StreamErrorFirst, request).await;
        assert_eq!((answer.status, answer.end, answer.chunks), (200, End::Complete, 1));
        assert!(answer.text().starts_with(form), "{}", answer.text());
        let normal = ask(&fake, request).await.body;
        let answer = meet(&fake, Fault::StreamErrorAfter { events: 2 }, request).await;
        assert_eq!((answer.end, answer.chunks), (End::Complete, 3));
        let error_at = answer.body.iter().zip(&normal).take_while(|(a, b)| a == b).count();
        assert!(error_at > 100, "two good events first");
        assert!(answer.text().contains("error"));
        serde_json::from_str::<serde_json::Value>(events(&answer.text()).last().expect("events"))
            .expect("JSON");
    }
    let array =
        post("/v1beta/models/m:streamGenerateContent", GEMINI, r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#);
    for (events, length) in [(0, 1), (2, 3)] {
        let fault = if events == 0 { Fault::StreamErrorFirst } else { Fault::StreamErrorAfter { events } };
        let answer = meet(&fake, fault, &array).await.json();
        assert_eq!(answer.as_array().map(Vec::len), Some(length));
        assert_eq!(answer[length - 1]["error"]["status"], "UNAVAILABLE");
    }
    assert_eq!(meet(&fake, Fault::StreamErrorFirst, &chat()).await.status, 500);
}

#[tokio::test]
async fn cut_streams_lack_the_terminal_event_and_end_as_asked() {
    let fake = fake().await;
    for request in streams() {
        let normal = ask(&fake, &request).await;
        for (how, end) in
            [(Cut::Fin, End::Fin), (Cut::Reset, End::Reset), (Cut::CleanEndWithoutTerminal, End::Complete)]
        {
            for (after_events, chunks) in [(0, 0), (2, 2), (1000, normal.chunks - 1)] {
                let answer = meet(&fake, Fault::Cut { after_events, how }, &request).await;
                assert_eq!((answer.end, answer.chunks), (end, chunks));
                assert!(normal.body.starts_with(&answer.body) && answer.body.len() < normal.body.len());
            }
        }
    }
}

#[tokio::test]
async fn cut_bodies_are_shorter_than_they_say() {
    let fake = fake().await;
    let whole = ask(&fake, &chat()).await.body.len();
    for (after_bytes, length) in [(0, 0), (10, 10), (usize::MAX, whole - 1)] {
        let answer = meet(&fake, Fault::CutBody { after_bytes }, &chat()).await;
        assert_eq!((answer.end, answer.body.len()), (End::Fin, length));
        assert!(answer.head.contains(&format!("content-length: {whole}\r\n")));
    }
    let answer = meet(&fake, Fault::Cut { after_events: 1, how: Cut::Reset }, &chat()).await;
    assert_eq!((answer.end, answer.body.len()), (End::Reset, whole / 2));
}

#[tokio::test]
async fn an_early_status_comes_while_the_body_is_still_on_its_way() {
    let fake = fake().await;
    fake.script(Selector::Credential("sk-1".into()), vec![Fault::EarlyStatus { status: 429 }]);
    let mut client = Client::connect(fake.addr()).await;
    let json = "content-type: application/json\r\ncontent-length: 1000000\r\n";
    client.send(&format!("POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n{OPENAI}{json}\r\n{{\"mo")).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.end), (429, End::Complete));
    assert!(answer.head.contains("connection: close\r\n"));
    assert_eq!(fake.requests().first().map(|request| request.body_len), Some(0));
}

#[tokio::test]
async fn what_follows_the_terminal_event_is_sent_as_it_is() {
    let fake = fake().await;
    let [stream, ..] = streams();
    let normal = ask(&fake, &stream).await;
    let late = "data: {\"late\":true}\n\n";
    let answer = meet(&fake, Fault::AfterTerminal(late.into()), &stream).await;
    assert_eq!(answer.text(), normal.text() + late);
    let answer = meet(&fake, Fault::ResetAfterTerminal, &stream).await;
    assert_eq!((answer.text(), answer.end), (normal.text(), End::Reset));
}

#[tokio::test]
async fn unusual_but_valid_answers_carry_the_same_content() {
    let fake = fake().await;
    for request in streams() {
        let normal = ask(&fake, &request).await;
        let split = meet(&fake, Fault::SplitEveryByte, &request).await;
        assert_eq!((&split.body, split.chunks), (&normal.body, normal.body.len()));
        let bare = meet(&fake, Fault::CloseDelimited, &request).await;
        assert_eq!((&bare.body, bare.end), (&normal.body, End::Complete));
        assert!(!bare.head.contains("content-length") && !bare.head.contains("transfer-encoding"));
        for fault in [Fault::PingsThenStream { pings: 3 }, Fault::LeadingComments, Fault::Crlf] {
            let answer = meet(&fake, fault.clone(), &request).await;
            let without_pings =
                events(&answer.text()).into_iter().filter(|data| !data.contains(r#":"ping""#));
            let normal_events =
                events(&normal.text()).into_iter().filter(|data| !data.contains(r#":"ping""#));
            assert!(without_pings.eq(normal_events), "{fault:?}: {}", answer.text());
            assert_ne!(
                answer.body == normal.body,
                !(fault == Fault::Crlf && request.contains("v1beta")),
                "{fault:?}"
            );
        }
        let crlf = meet(&fake, Fault::Crlf, &request).await.text();
        assert_eq!(crlf.matches('\n').count(), crlf.matches("\r\n").count());
    }
    assert_eq!(meet(&fake, Fault::SplitEveryByte, &chat()).await.body, ask(&fake, &chat()).await.body);
}

#[tokio::test]
async fn early_hints_come_before_the_normal_answer() {
    let fake = fake().await;
    fake.script(Selector::Any, vec![Fault::Informational]);
    let mut client = Client::connect(fake.addr()).await;
    client.send(&chat()).await;
    assert!(client.until("\r\n\r\n").await.starts_with("HTTP/1.1 103 Early Hints\r\n"));
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn empty_and_big_streams_and_other_usage() {
    let fake = fake().await;
    for request in streams() {
        let empty = meet(&fake, Fault::EmptyStream, &request).await;
        assert_eq!((empty.status, empty.body.len(), empty.end), (200, 0, End::Complete));
        let big = meet(&fake, Fault::BigEvent { bytes: 300_000 }, &request).await;
        assert!(events(&big.text()).iter().any(|event| event.len() > 300_000));
        let usage = UsageNumbers { input: 1000, output: 777, ..UsageNumbers::default() };
        let with_usage =
            request.replace(r#""stream":true}"#, r#""stream":true,"stream_options":{"include_usage":true}}"#);
        let asks_for_it = request.contains("chat/completions");
        let length = format!("content-length: {}", request.split("\r\n\r\n").nth(1).expect("a body").len());
        let body_len = with_usage.split("\r\n\r\n").nth(1).expect("a body").len();
        let with_usage = with_usage.replace(&length, &format!("content-length: {body_len}"));
        let answer = meet(&fake, Fault::Usage(usage), if asks_for_it { &with_usage } else { &request }).await;
        // Gemini reports output without the 5 of reasoning.
        assert!(answer.text().contains(":777") || answer.text().contains(":772"), "{}", answer.text());
    }
}

//! The traps of forwarding with a loop of our own: framing, ends, pools, and what HTTP allows on the way.

use crate::support::client::{self, Connection, Ended};
use crate::support::speech::{MODEL, Speech};
use crate::support::{Gateway, KEY, channel, key, provider};
use serde_json::{Value, json};
use tollgate_loadtest::{Fault, Provider, Selector};

async fn house(more: &str) -> (Provider, Gateway) {
    let upstream = provider().await;
    let gateway = Gateway::start(&(channel("main", "openai", &upstream, more) + &key())).await;
    (upstream, gateway)
}

fn raw(head: &str, body: &str) -> Fault {
    Fault::Raw(format!("HTTP/1.1 {head}\r\nconnection: close\r\n\r\n{body}"))
}

#[tokio::test]
async fn an_answer_without_a_body_stays_one() {
    for (head, status) in [("204 No Content", 204), ("200 OK\r\ncontent-length: 0", 200)] {
        for h2 in [false, true] {
            let (upstream, gateway) = house("").await;
            upstream.script(Selector::Any, vec![raw(head, "")]);
            let speech = Speech::Chat;
            if h2 {
                let answer = speech.ask_h2(gateway.addr(), MODEL, false).await;
                assert_eq!((answer.status, answer.body.len(), answer.ended), (status, 0, Ended::Whole));
                continue;
            }
            let mut connection = Connection::open(gateway.addr()).await;
            connection.send(&speech.request(KEY, MODEL, false)).await;
            let answer = connection.answer().await.expect("an answer");
            assert_eq!((answer.status, answer.body.len(), answer.ended), (status, 0, Ended::Whole));
            assert_eq!(answer.header("transfer-encoding"), None, "{head}");
            connection.send(&speech.request(KEY, MODEL, false)).await;
            assert_eq!(connection.answer().await.expect("another").status, 200, "{head}");
        }
    }
}

#[tokio::test]
async fn an_answer_of_declared_length_is_whole_with_its_last_byte() {
    let (upstream, gateway) = house("http_version = \"2\"\nidle_timeout = \"2s\"").await;
    // All of the body, and then nothing: the provider's stream stays open.
    upstream.script(Selector::Any, vec![Fault::HangAfterTerminal]);
    let mut connection = Connection::open(gateway.addr()).await;
    for asked in 1..=2 {
        connection.send(&Speech::Chat.request(KEY, MODEL, false)).await;
        let answer = connection.answer().await.expect("an answer on the kept connection");
        assert_eq!((answer.status, answer.ended), (200, Ended::Whole));
        let lines = gateway.log.lines(asked).await;
        assert_eq!(lines[asked - 1]["end"], "ok", "{}", lines[asked - 1]);
    }
    // The stream that never ends is given up.
    upstream.wait_for_aborted(1).await;
}

#[tokio::test]
async fn an_answer_with_trailers_is_whole_without_them() {
    let (upstream, gateway) = house("").await;
    let head = "200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\ntrailer: x-t";
    upstream.script(Selector::Any, vec![raw(head, "5\r\nhello\r\n0\r\nx-t: 1\r\n\r\n")]);
    let answer = Speech::Chat.ask(gateway.addr(), MODEL, false).await;
    assert_eq!((answer.status, answer.text().as_str(), answer.ended), (200, "hello", Ended::Whole));
    assert_eq!(answer.header("trailer"), None);
}

#[tokio::test]
async fn a_request_with_trailers_and_chunk_extensions_goes_up_without_them() {
    let (upstream, gateway) = house("").await;
    let body = Speech::Chat.body(MODEL, false);
    let (first, second) = body.split_at(20);
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\ntrailer: x-t\r\n\r\n{:x};a=b\r\n{first}\r\n{:X}\r\n{second}\r\n0\r\nx-t: 1\r\n\r\n",
        first.len(),
        second.len()
    );
    let answer = client::once(gateway.addr(), request.as_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let sent = &upstream.requests()[0];
    assert_eq!(sent.body, body.as_bytes());
    assert_eq!((sent.header("trailer"), sent.header("x-t")), (None, None));
    assert_eq!(sent.header("content-length"), Some(&*body.len().to_string()));
}

#[tokio::test]
async fn ambiguous_framing_is_answered_once_and_the_connection_closes() {
    let (upstream, gateway) = house("").await;
    let body = Speech::Chat.body(MODEL, false);
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let mut connection = Connection::open(gateway.addr()).await;
    connection.send_anyway(format!("{request}{request}").as_bytes()).await;
    let answer = connection.answer().await.expect("an answer");
    assert!(matches!(answer.status, 200 | 400), "{}", answer.text());
    assert!(connection.is_closed().await, "what follows cannot be trusted");
    assert!(upstream.requests().iter().all(|sent| sent.body == body.as_bytes()));
    assert!(upstream.request_count() <= 1);
}

#[tokio::test]
async fn a_failed_answer_that_was_read_whole_leaves_its_connection_in_the_pool() {
    let (upstream, gateway) = house("").await;
    upstream.script(Selector::Any, vec![Fault::Status { status: 400, headers: Vec::new(), body: None }]);
    for status in [400, 200, 200] {
        assert_eq!(Speech::ask_plainly(gateway.addr()).await, status);
    }
    assert_eq!((upstream.request_count(), upstream.total_connections()), (3, 1));
    assert_eq!(gateway.log.lines(3).await[1]["attempts"][0]["reused"], true);
}

#[tokio::test]
async fn a_connection_that_refused_early_or_was_cut_is_never_used_again() {
    for fault in [
        Fault::EarlyStatus { status: 400 },
        Fault::CutBody { after_bytes: 10 },
        Fault::HangAfterTerminal,
        Fault::AfterTerminal("data: late\n\n".to_owned()),
    ] {
        let (upstream, gateway) = house("").await;
        upstream.script(Selector::Any, vec![fault.clone()]);
        let stream = matches!(fault, Fault::HangAfterTerminal | Fault::AfterTerminal(_));
        let first = Speech::Chat.ask(gateway.addr(), MODEL, stream).await;
        assert!(matches!(first.status, 200 | 400), "{fault:?}");
        let own = Speech::Chat.spoken_by(MODEL, false, Fault::None).await;
        let second = Speech::Chat.ask(gateway.addr(), MODEL, false).await;
        assert_eq!((second.status, second.body == own.body), (200, true), "{fault:?} {}", second.text());
    }
}

#[tokio::test]
async fn channels_and_credentials_never_share_a_connection() {
    let upstream = provider().await;
    let text = key()
        + &channel("a", "openai", &upstream, "models = [\"a\"]")
        + &channel("b", "openai", &upstream, "models = [\"b\"]");
    let gateway = Gateway::start(&text).await;
    for model in ["a", "b", "a", "b"] {
        assert_eq!(Speech::Chat.ask(gateway.addr(), model, false).await.status, 200);
    }
    assert_eq!(upstream.total_connections(), 2);
    let sent = upstream.requests();
    assert!(sent.iter().all(|request| {
        let own = if request.connection == sent[0].connection { "upstream-a" } else { "upstream-b" };
        request.header("authorization").is_some_and(|value| value.contains(own))
    }));
}

#[tokio::test]
async fn a_large_error_of_the_provider_passes_whole() {
    for size in [60 * 1024, 64 * 1024, 1024 * 1024] {
        let (upstream, gateway) = house("").await;
        let body = format!("{{\"error\":{{\"message\":\"{}\"}}}}", "x".repeat(size));
        let status = Fault::Status { status: 422, headers: Vec::new(), body: Some(body.clone()) };
        upstream.script(Selector::Any, vec![status]);
        let answer = Speech::Chat.ask(gateway.addr(), MODEL, false).await;
        assert_eq!((answer.status, answer.ended), (422, Ended::Whole), "{size}");
        assert!(answer.text() == body, "{size}");
    }
}

#[tokio::test]
async fn many_requests_share_one_http2_connection() {
    let (_upstream, gateway) = house("").await;
    let statuses = client::many_h2(gateway.addr(), 20, |at| {
        let mut request = http::Request::post("http://test/v1/chat/completions");
        for (name, value) in Speech::Chat.headers(KEY) {
            request = request.header(name, value);
        }
        (request.header("content-type", "application/json"), Speech::Chat.body(MODEL, at % 2 == 0))
    })
    .await;
    assert_eq!(statuses, vec![200; 20]);
}

#[tokio::test]
async fn a_second_answer_on_the_line_is_never_shown_to_anybody() {
    // The provider says more than it announced: the rest must not become the next client's answer.
    let (upstream, gateway) = house("").await;
    let extra = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstolen";
    upstream.script(Selector::Any, vec![Fault::Raw(extra.to_owned())]);
    let answer = Speech::Chat.ask(gateway.addr(), MODEL, false).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
    let answer = Speech::Chat.ask(gateway.addr(), MODEL, false).await;
    assert!(answer.status == 200 && !answer.text().contains("stolen"), "{}", answer.text());
}

#[tokio::test]
async fn a_stream_that_answers_a_plain_request_is_relayed_as_what_it_is() {
    let (upstream, gateway) = house("").await;
    let events = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n";
    upstream.script(Selector::Any, vec![raw("200 OK\r\ncontent-type: text/event-stream", events)]);
    let answer = Speech::Chat.ask(gateway.addr(), MODEL, false).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, events));
    // And the other way round: a whole for a stream.
    upstream.script(
        Selector::Any,
        vec![raw("200 OK\r\ncontent-type: application/json\r\ncontent-length: 2", "{}")],
    );
    let answer = Speech::Chat.ask(gateway.addr(), MODEL, true).await;
    assert_eq!((answer.status, answer.text().as_str(), answer.ended), (200, "{}", Ended::Whole));
    let lines = gateway.log.lines(2).await;
    assert!(lines.iter().all(|line| line["end"] == json!("ok") && line["code"] == Value::Null), "{lines:?}");
}

/// A stream of the shared connection loses its answer: its exchange is another candidate's, or its own again, and those
/// beside it notice nothing.
#[tokio::test]
async fn what_befalls_one_stream_of_a_shared_connection_befalls_no_other() {
    for (fault, resent) in [
        (Fault::Refuse, false),
        (Fault::Reset, false),
        (Fault::CloseAfterAnswer, false),
        (Fault::CutBody { after_bytes: 20 }, false),
    ] {
        let (first, second) = (provider().await, provider().await);
        let text = key()
            + &channel("first", "openai", &first, "priority = 0\nhttp_version = \"2\"")
            + &channel("second", "openai", &second, "priority = 1");
        let gateway = Gateway::start(&text).await;
        let addr = gateway.addr();
        let ask =
            |model: &'static str| tokio::spawn(async move { Speech::Chat.ask(addr, model, true).await });
        first.script(Selector::Model("beside".to_owned()), vec![Fault::HoldMidStream { after_events: 2 }]);
        first.script(Selector::Model("odd".to_owned()), vec![fault.clone()]);
        let beside = ask("beside");
        first.wait_for_holding(1).await;
        let odd = ask("odd").await.expect("no panic");
        assert_eq!((odd.status, odd.ended), (200, Ended::Whole), "{fault:?} {}", odd.text());
        assert_eq!(first.request_count(), 2, "{fault:?}: nothing is sent again beside others");
        let line = &gateway.log.lines(1).await[0];
        assert_eq!(line["attempts"][0]["resent"], resent, "{fault:?} {line}");
        assert_eq!(line["attempts"][0]["reused"], true, "{fault:?} {line}");
        first.release();
        let answer = beside.await.expect("no panic");
        assert_eq!(
            answer.text(),
            Speech::Chat.spoken_by("beside", true, Fault::None).await.text(),
            "{fault:?}"
        );
        assert_eq!((first.total_connections(), answer.ended), (1, Ended::Whole), "{fault:?}");
    }
}

/// The connection itself ends: each of its exchanges is told, and none of them is sent again on its account.
#[tokio::test]
async fn a_shared_connection_that_breaks_is_broken_for_each_of_its_exchanges_once() {
    let (first, second) = (provider().await, provider().await);
    let text = key()
        + &channel("first", "openai", &first, "priority = 0\nhttp_version = \"2\"")
        + &channel("second", "openai", &second, "priority = 1");
    let gateway = Gateway::start(&text).await;
    let addr = gateway.addr();
    let ask = |model: &'static str| tokio::spawn(async move { Speech::Chat.ask(addr, model, false).await });
    first.script(Selector::Model("beside".to_owned()), vec![Fault::Hang]);
    // It says goodbye and ends every stream of the connection.
    first.script(Selector::Model("odd".to_owned()), vec![Fault::CloseSilently]);
    let beside = ask("beside");
    first.wait_for_holding(1).await;
    let odd = ask("odd");
    for asked in [beside, odd] {
        assert_eq!(asked.await.expect("no panic").status, 200);
    }
    assert_eq!((first.request_count(), second.request_count()), (2, 2));
    let lines = gateway.log.lines(2).await;
    assert!(lines.iter().all(|line| line["attempts"][0]["resent"] == false), "{lines:?}");
}

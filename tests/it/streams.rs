//! What a client sees of a stream: the provider's bytes, and an end that is never a lie.

use crate::support::client::{Answer, Connection, Ended};
use crate::support::speech::{MODEL, Speech};
use crate::support::{Gateway, KEY, channel, key, provider};
use serde_json::{Value, json};
use tollgate_loadtest::{Cut, Fault, Provider, Selector};

async fn gateway(speech: Speech, upstream: &Provider, more: &str) -> Gateway {
    Gateway::start(&(channel("main", speech.kind(), upstream, more) + &key())).await
}

/// What passes through as it is: nothing, and what only changes how the bytes are cut or what stands between events.
fn harmless() -> Vec<Fault> {
    vec![
        Fault::None,
        Fault::Crlf,
        Fault::SplitEveryByte,
        Fault::LeadingComments,
        Fault::PingsThenStream { pings: 3 },
        Fault::BigEvent { bytes: 256 * 1024 },
        Fault::CloseDelimited,
        Fault::Informational,
    ]
}

#[tokio::test]
async fn a_whole_stream_passes_byte_for_byte() {
    for speech in Speech::ALL {
        for fault in harmless() {
            let own = speech.spoken_by(MODEL, true, fault.clone()).await;
            let upstream = provider().await;
            let gateway = gateway(speech, &upstream, "").await;
            for (at, h2) in [false, true].into_iter().enumerate() {
                upstream.script(Selector::Any, vec![fault.clone()]);
                let answer = ask(speech, &gateway, h2).await;
                let context = format!("{speech:?} h2={h2} {fault:?}");
                assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{context}");
                assert!(answer.body == own.body, "{context}: {}", answer.text());
                assert_eq!(answer.header("content-type"), own.header("content-type"), "{context}");
                assert_eq!(answer.header("content-length"), None, "{context}");
                assert_eq!(answer.header("cache-control"), Some("no-cache, no-transform"), "{context}");
                assert_eq!(answer.header("x-accel-buffering"), Some("no"), "{context}");
                let line = &gateway.log.lines(at + 1).await[at];
                assert_eq!((&line["end"], &line["stream"]), (&json!("ok"), &json!(true)), "{context} {line}");
                assert_eq!(line["bytes_out"], own.body.len(), "{context}");
            }
        }
    }
}

async fn ask(speech: Speech, gateway: &Gateway, h2: bool) -> Answer {
    if h2 {
        return speech.ask_h2(gateway.addr(), MODEL, true).await;
    }
    speech.ask(gateway.addr(), MODEL, true).await
}

#[tokio::test]
async fn what_comes_after_the_terminal_event_is_dropped_and_held_against_nobody() {
    for speech in [Speech::Chat, Speech::Responses, Speech::Messages] {
        let own = speech.spoken_by(MODEL, true, Fault::None).await;
        for fault in [
            Fault::AfterTerminal("data: {\"error\":{\"message\":\"late\"}}\n\n".to_owned()),
            Fault::AfterTerminal("garbage without an end".to_owned()),
            Fault::ResetAfterTerminal,
            Fault::HangAfterTerminal,
        ] {
            check_honest_end(speech, &fault, &own).await;
        }
    }
    // Gemini has no terminal event: a reason to finish says that the end which follows is one.
    let own = Speech::Gemini.spoken_by(MODEL, true, Fault::None).await;
    for fault in [Fault::ResetAfterTerminal, Fault::HangAfterTerminal] {
        check_honest_end(Speech::Gemini, &fault, &own).await;
    }
}

async fn check_honest_end(speech: Speech, fault: &Fault, own: &Answer) {
    for h2 in [false, true] {
        let upstream = provider().await;
        upstream.script(Selector::Any, vec![fault.clone()]);
        let idle = if speech == Speech::Gemini { "idle_timeout = \"300ms\"" } else { "" };
        let gateway = gateway(speech, &upstream, idle).await;
        let answer = ask(speech, &gateway, h2).await;
        let context = format!("{speech:?} h2={h2} {fault:?}");
        assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{context}");
        assert_eq!(answer.text(), own.text(), "{context}");
        let line = gateway.log.line().await;
        assert_eq!((&line["end"], &line["code"]), (&json!("ok"), &Value::Null), "{context} {line}");
        assert_eq!(line["usage_source"], "reported", "{context}");
    }
}

#[tokio::test]
async fn a_stream_cut_after_content_gets_one_error_event_and_no_invented_end() {
    for speech in Speech::ALL {
        for how in [Cut::Fin, Cut::Reset, Cut::CleanEndWithoutTerminal] {
            let clean = Fault::Cut { after_events: 2, how: Cut::CleanEndWithoutTerminal };
            let said = speech.spoken_by(MODEL, true, clean).await.text();
            for h2 in [false, true] {
                let upstream = provider().await;
                upstream.script(Selector::Any, vec![Fault::Cut { after_events: 2, how }]);
                let gateway = gateway(speech, &upstream, "").await;
                let answer = ask(speech, &gateway, h2).await;
                let context = format!("{speech:?} h2={h2} {how:?}");
                check_broken_end(speech, &answer, &said, "stream_truncated", &context);
                let line = gateway.log.line().await;
                assert_eq!(line["end"], "stream_truncated", "{context}");
                assert_eq!(
                    (&line["code"], &line["status"]),
                    (&json!("stream_truncated"), &json!(200)),
                    "{context}"
                );
                assert_eq!(upstream.request_count(), 1, "{context}");
            }
        }
    }
}

/// The bytes so far, then exactly one error event of the dialect with this code.
fn check_broken_end(speech: Speech, answer: &Answer, said: &str, code: &str, context: &str) {
    assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{context}");
    let text = answer.text();
    let rest = text.strip_prefix(said).unwrap_or_else(|| panic!("{context}: {text}"));
    let event = rest.strip_suffix("\n\n").unwrap_or_else(|| panic!("{context}: {rest}"));
    assert!(!event.contains("\n\n"), "{context}: one event: {rest}");
    let named = matches!(speech, Speech::Messages | Speech::Responses);
    assert_eq!(event.starts_with("event: error\n"), named, "{context}: {event}");
    let data = event.rsplit_once("data: ").map_or("", |(_, data)| data);
    let error: Value =
        serde_json::from_str(data).unwrap_or_else(|problem| panic!("{context}: {problem} {data}"));
    let shown = match speech {
        Speech::Gemini => &error["error"]["details"][0]["reason"],
        _ => &error["error"]["code"],
    };
    assert_eq!(shown, code, "{context}: {error}");
    let id = answer.header("x-request-id").expect("an id");
    assert!(error["error"]["message"].as_str().is_some_and(|message| message.contains(id)), "{context}");
    for invented in ["[DONE]", "message_stop", "response.completed", "finishReason"] {
        assert!(!text.contains(invented), "{context}: {text}");
    }
}

#[tokio::test]
async fn a_silent_stream_ends_with_an_idle_timeout_event() {
    for speech in Speech::ALL {
        let clean = Fault::Cut { after_events: 2, how: Cut::CleanEndWithoutTerminal };
        let said = speech.spoken_by(MODEL, true, clean).await.text();
        for h2 in [false, true] {
            let upstream = provider().await;
            upstream.script(Selector::Any, vec![Fault::HoldMidStream { after_events: 2 }]);
            let gateway = gateway(speech, &upstream, "idle_timeout = \"300ms\"").await;
            let answer = ask(speech, &gateway, h2).await;
            let context = format!("{speech:?} h2={h2}");
            check_broken_end(speech, &answer, &said, "stream_idle_timeout", &context);
            assert!(answer.text().contains("idle timeout"), "{context}");
            assert_eq!(gateway.log.line().await["end"], "stream_idle_timeout", "{context}");
            upstream.wait_for_disconnects(1).await;
        }
    }
}

#[tokio::test]
async fn a_silent_stream_without_content_is_a_first_byte_timeout() {
    for speech in Speech::ALL {
        let upstream = provider().await;
        upstream.script(Selector::Any, vec![Fault::HangAfterHead]);
        let gateway = gateway(speech, &upstream, "first_byte_timeout = \"100ms\"").await;
        let answer = ask(speech, &gateway, false).await;
        assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"), "{speech:?}");
        upstream.wait_for_disconnects(1).await;
    }
}

#[tokio::test]
async fn a_providers_own_error_after_content_passes_and_gets_no_second_one() {
    for speech in Speech::ALL {
        let fault = Fault::StreamErrorAfter { events: 2 };
        let own = speech.spoken_by(MODEL, true, fault.clone()).await;
        for h2 in [false, true] {
            let upstream = provider().await;
            upstream.script(Selector::Any, vec![fault.clone()]);
            let gateway = gateway(speech, &upstream, "").await;
            let answer = ask(speech, &gateway, h2).await;
            let context = format!("{speech:?} h2={h2}");
            assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{context}");
            assert_eq!(
                answer.text().replace("req_fake_00000002", "req_fake_00000001"),
                own.text(),
                "{context}"
            );
            // `response.failed` is what that grammar ends a stream with, like any other end.
            let (end, code) = match speech {
                Speech::Responses => (json!("ok"), Value::Null),
                _ => (json!("failed"), json!("upstream_error")),
            };
            let line = gateway.log.line().await;
            assert_eq!((&line["end"], &line["code"]), (&end, &code), "{context}");
        }
    }
}

#[tokio::test]
async fn an_error_that_is_followed_by_a_terminal_event_is_no_success() {
    let events = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"error\":{\"message\":\"b\"}}\n\ndata: [DONE]\n\n";
    let upstream = provider().await;
    upstream.script(
        Selector::Any,
        vec![Fault::Raw(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{events}"
        ))],
    );
    let gateway = gateway(Speech::Chat, &upstream, "").await;
    let answer = ask(Speech::Chat, &gateway, false).await;
    assert_eq!((answer.ended, answer.text().as_str()), (Ended::Whole, events));
    let line = gateway.log.line().await;
    assert_eq!((&line["end"], &line["code"]), (&json!("failed"), &json!("upstream_error")));
}

#[tokio::test]
async fn a_mapped_model_is_shown_as_requested_in_every_event_and_all_else_is_the_same() {
    const UPSTREAM: &str = "upstream-model-x";
    for speech in Speech::ALL {
        for fault in harmless() {
            for stream in [true, false] {
                let own = speech.spoken_by(UPSTREAM, stream, fault.clone()).await;
                let shown = own.text().replace(&format!("\"{UPSTREAM}\""), &format!("\"{MODEL}\""));
                assert!(own.text().contains(UPSTREAM) && !own.text().contains(MODEL));
                let upstream = provider().await;
                upstream.script(Selector::Any, vec![fault.clone()]);
                let map = format!("model_map = {{ {MODEL} = \"{UPSTREAM}\" }}");
                let gateway = gateway(speech, &upstream, &map).await;
                let answer = speech.ask(gateway.addr(), MODEL, stream).await;
                let context = format!("{speech:?} stream={stream} {fault:?}");
                assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{context}");
                assert!(answer.text() == shown, "{context}: {}", answer.text());
                let line = gateway.log.line().await;
                assert_eq!(
                    (&line["model_requested"], &line["model_upstream"]),
                    (&json!(MODEL), &json!(UPSTREAM))
                );
            }
        }
    }
}

#[tokio::test]
async fn every_event_reaches_the_client_before_the_next_one_is_sent() {
    const UPSTREAM: &str = "upstream-model-x";
    for speech in Speech::ALL {
        let own = speech.spoken_by(UPSTREAM, true, Fault::None).await.text();
        let shown = own.replace(&format!("\"{UPSTREAM}\""), &format!("\"{MODEL}\""));
        let map = format!("model_map = {{ {MODEL} = \"{UPSTREAM}\" }}");
        for h2 in [false, true] {
            check_every_event(speech, "", &speech.spoken_by(MODEL, true, Fault::None).await.text(), h2).await;
            check_every_event(speech, &map, &shown, h2).await;
        }
    }
}

async fn check_every_event(speech: Speech, more: &str, stream: &str, h2: bool) {
    let blank = if speech == Speech::Gemini { "\r\n\r\n" } else { "\n\n" };
    let events: Vec<&str> = stream.split_inclusive(blank).collect();
    let context = format!("{speech:?} h2={h2} {more}");
    assert!(events.len() > 3, "{context}");
    let upstream = provider().await;
    upstream.script(Selector::Any, vec![Fault::HoldEveryEvent]);
    let gateway = gateway(speech, &upstream, more).await;
    let mut asking = Asking::start(speech, &gateway, h2).await;
    upstream.wait_for_holding(1).await;
    let mut seen = String::new();
    for (at, event) in events.iter().enumerate() {
        upstream.release();
        if at == 0 {
            asking.head().await;
        }
        let expected = seen.clone() + event;
        while seen.len() < expected.len() {
            seen.push_str(&asking.more().await.expect("more of it"));
        }
        assert_eq!(seen, expected, "{context}");
    }
    assert_eq!(asking.more().await, None, "{context}");
}

/// A stream that is read piece by piece.
enum Asking {
    H1(Connection),
    H2 {
        _client: h2::client::SendRequest<bytes::Bytes>,
        response: Option<h2::client::ResponseFuture>,
        body: Option<h2::RecvStream>,
    },
}

impl Asking {
    async fn start(speech: Speech, gateway: &Gateway, h2: bool) -> Self {
        if !h2 {
            let mut client = Connection::open(gateway.addr()).await;
            client.send(&speech.request(KEY, MODEL, true)).await;
            return Self::H1(client);
        }
        let stream = tokio::net::TcpStream::connect(gateway.addr()).await.expect("the gateway listens");
        let (client, connection) = h2::client::handshake(stream).await.expect("HTTP/2 is spoken");
        tokio::spawn(async move { drop(connection.await) });
        let mut client = client.ready().await.expect("a stream is free");
        let mut request = http::Request::post(format!("http://test{}", speech.path(MODEL, true)));
        for (name, value) in speech.headers(KEY) {
            request = request.header(name, value);
        }
        let request = request.header("content-type", "application/json").body(()).expect("a request");
        let (response, mut sending) = client.send_request(request, false).expect("it is sent");
        sending.send_data(speech.body(MODEL, true).into(), true).expect("it is sent");
        Self::H2 { _client: client, response: Some(response), body: None }
    }

    async fn head(&mut self) {
        match self {
            Self::H1(client) => assert_eq!(client.head().await.expect("a head").status, 200),
            Self::H2 { response, body, .. } => {
                let response = response.take().expect("asked once").await.expect("a head");
                assert_eq!(response.status(), 200);
                *body = Some(response.into_body());
            }
        }
    }

    /// The next piece; `None`: an honest end.
    async fn more(&mut self) -> Option<String> {
        let piece = match self {
            Self::H1(client) => client.chunk().await.expect("no cut"),
            Self::H2 { body, .. } => loop {
                match body.as_mut().expect("after its head").data().await {
                    None => break bytes::Bytes::new(),
                    Some(data) => {
                        let data = data.expect("no reset");
                        if !data.is_empty() {
                            break data;
                        }
                    }
                }
            },
        };
        (!piece.is_empty()).then(|| String::from_utf8_lossy(&piece).into_owned())
    }
}

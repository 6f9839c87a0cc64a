//! `ping_before_first_event`: the stream is open before there is an answer, and what goes wrong then is told inside it.

use super::{Puppet, after_pings, answer, channel_at, error_event, gateway, ping, settle};
use crate::support::client::{self, Answer, Connection, Ended};
use crate::support::leaver::{Leaver, Way};
use crate::support::speech::{MODEL, Speech};
use crate::support::{Gateway, KEY, channel, key, provider};
use serde_json::{Value, json};
use tollgate_loadtest::{Fault, Selector};

const EARLY: &str = "ping_interval = \"50ms\"\nping_before_first_event = true";

async fn ask(speech: Speech, gateway: &Gateway, h2: bool) -> Answer {
    if h2 {
        speech.ask_h2(gateway.addr(), MODEL, true).await
    } else {
        speech.ask(gateway.addr(), MODEL, true).await
    }
}

/// An opened stream: its head, and what stands in it after its pings.
fn opened(speech: Speech, answer: &Answer, context: &str) -> String {
    assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{context} {}", answer.text());
    for (name, value) in [
        ("content-type", "text/event-stream; charset=utf-8"),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{context}");
    }
    assert_eq!(answer.header("content-length"), None, "{context}");
    assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()), "{context}");
    let text = answer.text();
    let (pings, rest) = after_pings(speech, &text);
    assert!(pings >= 1, "{context}: {text}");
    rest.to_owned()
}

#[tokio::test]
async fn a_late_answer_follows_its_pings_byte_for_byte() {
    for speech in Speech::ALL {
        let own = speech.spoken_by(MODEL, true, Fault::None).await.text();
        for fault in [Fault::HoldFirstByte, Fault::HoldMidStream { after_events: 0 }] {
            let upstream = provider().await;
            let gateway = gateway(speech, &upstream, EARLY).await;
            upstream.script(Selector::Any, vec![fault.clone()]);
            let mut client = Connection::open(gateway.addr()).await;
            client.send(&speech.request(KEY, MODEL, true)).await;
            let mut answer = client.head().await.expect("a head");
            while answer.text().len() < 2 * ping(speech).len() {
                answer.body.extend(client.chunk().await.expect("no cut"));
            }
            upstream.release();
            while let Some(chunk) = client.chunk().await.filter(|chunk| !chunk.is_empty()) {
                answer.body.extend(chunk);
            }
            let context = format!("{speech:?} {fault:?}");
            assert_eq!(opened(speech, &answer, &context), own, "{context}");
            let line = gateway.log.line().await;
            assert_eq!((&line["end"], &line["status"]), (&json!("ok"), &json!(200)), "{context} {line}");
            assert_eq!(line["bytes_out"], answer.body.len(), "{context}");
            // The provider's first byte, not our first ping.
            assert!(line["ttfb_ms"].as_f64().is_some_and(|ttfb| ttfb >= 100.0), "{context} {line}");
            // The connection goes on.
            client.send(&speech.request(KEY, MODEL, false)).await;
            assert_eq!(client.answer().await.map(|answer| answer.status), Some(200), "{context}");
        }
    }
}

#[tokio::test]
async fn another_candidate_can_still_answer() {
    for speech in Speech::ALL {
        let own = speech.spoken_by(MODEL, true, Fault::None).await.text();
        for h2 in [false, true] {
            for fault in [Fault::Hang, Fault::HangAfterHead] {
                let (first, second) = (provider().await, provider().await);
                let more = format!("priority = 0\nfirst_byte_timeout = \"300ms\"\n{EARLY}");
                let text = key()
                    + &channel("first", speech.kind(), &first, &more)
                    + &channel("second", speech.kind(), &second, "priority = 1");
                let gateway = Gateway::start(&text).await;
                first.script(Selector::Any, vec![fault.clone()]);
                let answer = ask(speech, &gateway, h2).await;
                let context = format!("{speech:?} h2={h2} {fault:?}");
                assert_eq!(opened(speech, &answer, &context), own, "{context}");
                let line = gateway.log.line().await;
                assert_eq!(line["attempts"].as_array().map(Vec::len), Some(2), "{context} {line}");
                assert_eq!((&line["end"], &line["channel"]), (&json!("ok"), &json!("second")), "{context}");
            }
        }
    }
}

#[tokio::test]
async fn the_last_failure_is_one_event() {
    for speech in Speech::ALL {
        for h2 in [false, true] {
            let upstream = provider().await;
            let gateway =
                gateway(speech, &upstream, &format!("first_byte_timeout = \"300ms\"\n{EARLY}")).await;
            upstream.script(Selector::Any, vec![Fault::Hang]);
            let answer = ask(speech, &gateway, h2).await;
            let context = format!("{speech:?} h2={h2}");
            let event = opened(speech, &answer, &context);
            assert_eq!(error_event(speech, &event, &context), "upstream_timeout", "{context}");
            assert!(event.contains(answer.header("x-request-id").expect("an id")), "{context} {event}");
            let line = gateway.log.line().await;
            assert_eq!((&line["end"], &line["status"]), (&json!("failed"), &json!(200)), "{context} {line}");
            assert_eq!(line["code"], "upstream_timeout", "{context} {line}");
        }
    }
}

/// What a provider says after the first ping, the code the client gets, and what the event says.
fn words() -> Vec<(u16, &'static str, &'static str, &'static str)> {
    vec![
        (429, "{}", "upstream_rate_limited", "limiting"),
        (503, "{}", "upstream_overloaded", "overloaded"),
        (401, "{}", "upstream_unauthorized", "credential"),
        (500, "{}", "upstream_error", "failed"),
        // The client's own fault, in the provider's own words.
        (
            400,
            r#"{"error":{"message":"temperature is too hot"}}"#,
            "invalid_request",
            "temperature is too hot",
        ),
        (422, "no json", "invalid_request", "no json"),
        // A whole where a stream was asked for cannot be one any more.
        (200, r#"{"id":"x"}"#, "upstream_error", "without a stream"),
    ]
}

#[tokio::test]
async fn what_a_provider_says_then_is_one_event() {
    for speech in Speech::ALL {
        for (status, body, code, word) in words() {
            let puppet = Puppet::new().await;
            let gateway = Gateway::start(&(puppet.channel("main", speech, EARLY) + &key())).await;
            let mut client = Connection::open(gateway.addr()).await;
            client.send(&speech.request(KEY, MODEL, true)).await;
            let mut upstream = puppet.request().await;
            let mut seen = client.head().await.expect("a head");
            seen.body.extend(client.chunk().await.expect("a ping"));
            answer(&mut upstream, status, body).await;
            while let Some(chunk) = client.chunk().await.filter(|chunk| !chunk.is_empty()) {
                seen.body.extend(chunk);
            }
            let context = format!("{speech:?} {status}");
            let event = opened(speech, &seen, &context);
            assert_eq!(error_event(speech, &event, &context), code, "{context} {event}");
            assert!(event.contains(word), "{context} {event}");
            assert!(!event.contains("sk-upstream"), "{context} {event}");
            let line = gateway.log.line().await;
            assert_eq!((&line["code"], &line["status"]), (&json!(code), &json!(200)), "{context} {line}");
            assert_eq!(line["attempts"][0]["status"], status, "{context} {line}");
        }
    }
}

/// Where an answer is no stream of events, a ping would be in the middle of something else.
#[tokio::test]
async fn what_is_no_stream_of_events_is_never_opened_early() {
    let waits = format!("first_byte_timeout = \"300ms\"\nresponse_timeout = \"300ms\"\n{EARLY}");
    for speech in Speech::ALL {
        let upstream = provider().await;
        let gateway = gateway(speech, &upstream, &waits).await;
        upstream.script(Selector::Any, vec![Fault::Hang]);
        let answer = speech.ask(gateway.addr(), MODEL, false).await;
        assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"), "{speech:?}");
    }
    // Gemini's array.
    let upstream = provider().await;
    let gateway = gateway(Speech::Gemini, &upstream, &waits).await;
    upstream.script(Selector::Any, vec![Fault::Hang]);
    let path = format!("/v1beta/models/{MODEL}:streamGenerateContent");
    let body = Speech::Gemini.body(MODEL, true);
    let answer = client::post(gateway.addr(), &path, &[("x-goog-api-key", KEY)], body.as_bytes()).await;
    assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"));
}

/// HTTP/1.0 has no chunks: there the end of the connection is the end of the stream, whatever the client hoped.
#[tokio::test]
async fn an_old_client_is_kept_alive_too() {
    let upstream = provider().await;
    let gateway = gateway(Speech::Chat, &upstream, &format!("first_byte_timeout = \"300ms\"\n{EARLY}")).await;
    upstream.script(Selector::Any, vec![Fault::Hang]);
    let request = String::from_utf8(Speech::Chat.request(KEY, MODEL, true)).expect("text");
    let old = request.replace("HTTP/1.1\r\n", "HTTP/1.0\r\nconnection: keep-alive\r\n");
    let mut client = Connection::open(gateway.addr()).await;
    client.send(old.as_bytes()).await;
    let answer = client.answer().await.expect("an answer");
    assert_eq!((answer.header("transfer-encoding"), answer.header("connection")), (None, Some("close")));
    let event = opened(Speech::Chat, &answer, "HTTP/1.0");
    assert_eq!(error_event(Speech::Chat, &event, "HTTP/1.0"), "upstream_timeout");
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_client_that_leaves_an_opened_stream_lets_the_provider_go() {
    for way in Way::ALL {
        let upstream = provider().await;
        let gateway = gateway(Speech::Messages, &upstream, EARLY).await;
        upstream.script(Selector::Any, vec![Fault::HoldFirstByte]);
        let mut client = Leaver::begin(way, gateway.addr(), Speech::Messages, 0).await;
        client.read_some().await;
        client.leave(way);
        upstream.wait_for_aborted(1).await;
        let line = gateway.log.line().await;
        assert_eq!((&line["end"], &line["code"]), (&json!("client_closed"), &Value::Null), "{way:?} {line}");
        assert_eq!((&line["status"], &line["usage_source"]), (&json!(200), &json!("none")), "{way:?} {line}");
        gateway.count_reaches("tollgate_leases_open", 0).await;
    }
}

#[tokio::test]
async fn an_opened_stream_whose_client_left_is_read_on_where_that_is_wanted() {
    for way in Way::ALL {
        let upstream = provider().await;
        let more = format!("{EARLY}\non_client_abort = \"drain\"");
        let gateway = gateway(Speech::Messages, &upstream, &more).await;
        upstream.script(Selector::Any, vec![Fault::HoldFirstByte]);
        let mut client = Leaver::begin(way, gateway.addr(), Speech::Messages, 0).await;
        client.read_some().await;
        client.leave(way);
        settle(&gateway).await;
        upstream.release();
        let line = gateway.log.line().await;
        assert_eq!((&line["end"], &line["status"]), (&json!("client_closed"), &json!(200)), "{way:?} {line}");
        assert_eq!(line["tokens"]["output"], 17, "{way:?} {line}");
        assert_eq!(upstream.counts().completed, 1, "{way:?}");
    }
}

/// Nobody could be connected to: our own word, inside the stream.
#[tokio::test]
async fn a_provider_that_cannot_be_reached_is_told_in_the_stream() {
    let hole = super::Blackhole::new().await;
    let more = format!("connect_timeout = \"300ms\"\n{EARLY}");
    for speech in Speech::ALL {
        let text = key() + &channel_at("main", speech, &format!("http://{}", hole.addr()), &more);
        let gateway = Gateway::start(&text).await;
        let answer = ask(speech, &gateway, false).await;
        let event = opened(speech, &answer, "unreachable");
        assert_eq!(error_event(speech, &event, "unreachable"), "upstream_timeout", "{speech:?}");
        assert!(event.contains("connect timeout"), "{speech:?} {event}");
    }
}

/// At the beginning of a stream it means nothing; behind our ping it would be part of the first event.
#[tokio::test]
async fn a_byte_order_mark_behind_our_pings_is_taken_off() {
    for speech in Speech::ALL {
        let own = speech.spoken_by(MODEL, true, Fault::None).await.text();
        let upstream = Puppet::new().await;
        let gateway = Gateway::start(&(key() + &upstream.channel("main", speech, EARLY))).await;
        let mut client = Connection::open(gateway.addr()).await;
        client.send(&speech.request(KEY, MODEL, true)).await;
        let mut socket = upstream.request().await;
        let mut answer = client.head().await.expect("a head");
        answer.body.extend(client.chunk().await.expect("a ping"));
        super::begin_stream(&mut socket, &format!("\u{feff}{own}")).await;
        drop(socket);
        while let Some(chunk) = client.chunk().await.filter(|chunk| !chunk.is_empty()) {
            answer.body.extend(chunk);
        }
        assert_eq!(opened(speech, &answer, "BOM"), own, "{speech:?}");
    }
}

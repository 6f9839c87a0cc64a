//! `on_client_abort = "drain"`: an answer whose client has left is read to its end, for its usage.

use super::{House, Puppet, VERSIONS, answer, settle};
use crate::support::leaver::{Leaver, Way};
use crate::support::speech::{MODEL, Speech};
use crate::support::{Gateway, StillWorld, channel, key, provider};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tollgate_loadtest::{Fault, Options, Outcome, Provider, Selector};

const DRAIN: &str = "on_client_abort = \"drain\"";

/// A fault, whether a stream is asked for, whether its client has seen something of it.
fn moments() -> Vec<(Fault, bool, bool)> {
    vec![
        (Fault::HoldFirstByte, true, false),
        (Fault::HoldFirstByte, false, false),
        (Fault::HoldMidStream { after_events: 0 }, true, false),
        (Fault::HoldMidStream { after_events: 2 }, true, true),
        (Fault::HoldMidStream { after_events: 1 }, false, false),
    ]
}

async fn check(speech: Speech, version: &str, more: &str) {
    for (fault, stream, seen) in moments() {
        let house = House::build(speech, &format!("{DRAIN}\n{version}\n{more}")).await;
        for (at, way) in Way::ALL.into_iter().enumerate() {
            let context = format!("{speech:?} {fault:?} stream={stream} {version} {more} {way:?}");
            house.first.script(Selector::Any, vec![fault.clone()]);
            let body = speech.body(MODEL, stream);
            let mut client = Leaver::ask(way, house.gateway.addr(), speech, stream, &body).await;
            house.first.wait_for_holding(1).await;
            if seen {
                client.read_some().await;
            }
            client.leave(way);
            settle(&house.gateway).await;
            house.first.release();
            let line = house.check_left(at, &context).await;
            assert_eq!(house.first.requests()[at].outcome, Outcome::Completed, "{context}");
            assert_eq!(line["tokens"]["output"], 17, "{context} {line}");
            let booked = (&line["usage_source"], &line["charged"]);
            assert_eq!(booked, (&json!("reported"), &json!(true)), "{context} {line}");
            if seen {
                assert_eq!(line["status"], 200, "{context} {line}");
            }
        }
    }
}

#[tokio::test]
async fn an_answer_is_read_to_its_end_for_its_usage() {
    for speech in [Speech::Chat, Speech::Messages] {
        for version in VERSIONS {
            check(speech, version, "").await;
        }
    }
}

#[tokio::test]
async fn a_renamed_answer_is_read_to_its_end_for_its_usage() {
    for speech in [Speech::Responses, Speech::Gemini] {
        check(speech, VERSIONS[0], "model_map = { some-model = \"other\" }").await;
    }
}

/// The client is gone, and the gateway knows: what the log says of a head that nobody got.
#[tokio::test]
async fn an_answer_that_began_after_its_client_left_has_no_status() {
    for (fault, stream) in [(Fault::HoldFirstByte, true), (Fault::HoldFirstByte, false)] {
        let house = House::build(Speech::Chat, &format!("{DRAIN}\nfirst_byte_timeout = \"600s\"")).await;
        house.first.script(Selector::Any, vec![fault]);
        let body = Speech::Chat.body(MODEL, stream);
        let client = Leaver::ask(Way::Fin, house.gateway.addr(), Speech::Chat, stream, &body).await;
        house.first.wait_for_holding(1).await;
        client.leave(Way::Fin);
        settle(&house.gateway).await;
        house.first.release();
        let line = house.check_left(0, "").await;
        assert_eq!((&line["status"], &line["ttfb_ms"]), (&json!(499), &Value::Null), "{line}");
        assert_eq!(line["tokens"]["output"], 17, "{line}");
    }
}

#[tokio::test]
async fn a_failure_after_its_client_left_leads_to_no_other_attempt() {
    let wait = "first_byte_timeout = \"300ms\"\nresponse_timeout = \"300ms\"";
    for fault in [Fault::Hang, Fault::HangAfterHead] {
        let house = House::build(Speech::Chat, &format!("{DRAIN}\n{wait}")).await;
        house.first.script(Selector::Any, vec![fault]);
        let client = Leaver::begin(Way::Fin, house.gateway.addr(), Speech::Chat, 0).await;
        house.first.wait_for_holding(1).await;
        client.leave(Way::Fin);
        let line = house.check_left(0, "").await;
        assert_eq!((&line["status"], &line["usage_source"]), (&json!(499), &json!("none")), "{line}");
        house.first.wait_for_aborted(1).await;
    }
}

/// The one failure after which the same channel is asked again at once.
#[tokio::test]
async fn thinking_that_is_refused_after_its_client_left_is_not_sent_again() {
    let puppet = Puppet::new().await;
    let gateway = Gateway::start(&(puppet.channel("main", Speech::Messages, DRAIN) + &key())).await;
    let body = format!(
        r#"{{"model":"{MODEL}","stream":true,"max_tokens":9,"messages":[{{"role":"user","content":"a"}},{{"role":"assistant","content":[{{"type":"thinking","thinking":"hm","signature":"c2lnbmVkLWJ5LXNvbWVib2R5LWVsc2U"}},{{"type":"text","text":"b"}}]}},{{"role":"user","content":"c"}}]}}"#
    );
    let client = Leaver::ask(Way::Fin, gateway.addr(), Speech::Messages, true, &body).await;
    let mut upstream = puppet.request().await;
    client.leave(Way::Fin);
    settle(&gateway).await;
    let refused = r#"{"type":"error","error":{"type":"invalid_request_error","message":"messages.1.content.0: Invalid `signature` in `thinking` block"}}"#;
    answer(&mut upstream, 400, refused).await;
    let line = gateway.log.line().await;
    assert_eq!(line["attempts"].as_array().map(Vec::len), Some(1), "{line}");
    assert_eq!(line["end"], "client_closed", "{line}");
}

#[tokio::test]
async fn an_answer_without_a_client_is_not_read_for_ever() {
    let upstream =
        Provider::start(Options { chunks: 5_000, ..Options::default() }).await.expect("a loopback port");
    let world = StillWorld::new();
    let text = key() + &channel("main", "openai", &upstream, DRAIN);
    let gateway = Gateway::in_world("", &text, Arc::<StillWorld>::clone(&world)).await;
    upstream.script(Selector::Any, vec![Fault::HoldEveryEvent]);
    let mut client = Leaver::begin(Way::Fin, gateway.addr(), Speech::Chat, 0).await;
    upstream.release_many(2);
    client.read_some().await;
    client.leave(Way::Fin);
    while upstream.counts().aborted == 0 {
        assert_eq!(upstream.counts().completed, 0, "it was read to its end");
        world.advance(Duration::from_secs(901));
        upstream.release();
        gateway.metrics().await;
    }
    let line = gateway.log.line().await;
    assert_eq!((&line["end"], &line["status"]), (&json!("client_closed"), &json!(200)), "{line}");
}

#[tokio::test]
async fn a_provider_that_breaks_off_after_the_client_left_is_no_news() {
    let (upstream, text) = {
        let upstream = provider().await;
        let text =
            key() + &channel("main", "anthropic", &upstream, &format!("{DRAIN}\nidle_timeout = \"300ms\""));
        (upstream, text)
    };
    let gateway = Gateway::start(&text).await;
    upstream.script(Selector::Any, vec![Fault::HoldMidStream { after_events: 2 }]);
    let mut client = Leaver::begin(Way::Rst, gateway.addr(), Speech::Messages, 0).await;
    client.read_some().await;
    client.leave(Way::Rst);
    let line = gateway.log.line().await;
    assert_eq!((&line["end"], &line["code"]), (&json!("client_closed"), &Value::Null), "{line}");
    assert_eq!((&line["usage_source"], &line["tokens"]["cache_read"]), (&json!("reported"), &json!(10)));
    upstream.wait_for_aborted(1).await;
}

#[tokio::test]
async fn an_answer_that_is_read_on_holds_its_channels_slot_and_not_its_keys() {
    for (fault, seen) in [(Fault::HoldFirstByte, false), (Fault::HoldMidStream { after_events: 2 }, true)] {
        let upstream = provider().await;
        let limited = key() + "limits = { concurrency = 1 }\n";
        let text = limited
            + &channel("main", "openai", &upstream, &format!("{DRAIN}\nlimits = {{ concurrency = 2 }}"));
        let gateway = Gateway::start(&text).await;
        upstream.script(Selector::Any, vec![fault.clone()]);
        let body = Speech::Chat.body(MODEL, true);
        let mut client = Leaver::ask(Way::Rst, gateway.addr(), Speech::Chat, true, &body).await;
        upstream.wait_for_holding(1).await;
        if seen {
            client.read_some().await;
        }
        assert_eq!(Speech::ask_plainly(gateway.addr()).await, 429, "{fault:?}: the key is busy");
        client.leave(Way::Rst);
        gateway.count_reaches("tollgate_key_inflight{key=\"alice\"}", 0).await;
        assert_eq!(Speech::ask_plainly(gateway.addr()).await, 200, "{fault:?}");
        assert_eq!(gateway.count("tollgate_channel_inflight{channel=\"main\"}").await, 1, "{fault:?}");
        upstream.release();
        let line = gateway.log.lines(3).await.remove(2);
        assert_eq!(
            (&line["end"], &line["tokens"]["output"]),
            (&json!("client_closed"), &json!(17)),
            "{line}"
        );
        gateway.count_reaches("tollgate_leases_open", 0).await;
    }
}

//! Realtime sessions: a WebSocket on both sides, limits and usage counted between them, and every end said honestly.

mod ends;
mod hostile;
mod limits;
mod opening;
mod secured;

use crate::support::client::Answer;
use crate::support::socket::{Said, Socket};
use crate::support::{Gateway, KEY, channel, key, provider};
use serde_json::{Value, json};
use tollgate_loadtest::Provider;

const BEARER: (&str, &str) = ("authorization", "Bearer sk-test-alice-0123456789");
const TARGET: &str = "/v1/realtime?model=gpt-realtime";
/// What every answer of the fake costs in tokens.
const TOKENS: (u64, u64, u64) = (15, 5, 10);

/// A gateway before one provider, with further lines of the channel.
async fn gateway(upstream: &Provider, more: &str) -> Gateway {
    Gateway::start(&(channel("main", "openai", upstream, more) + &key())).await
}

async fn open(gateway: &Gateway) -> Socket {
    opened(gateway, TARGET).await
}

/// A session whose beginning was heard.
async fn opened(gateway: &Gateway, target: &str) -> Socket {
    let mut socket =
        Socket::open(gateway.addr(), target, &[BEARER]).await.unwrap_or_else(|answer| panic!("{answer:?}"));
    assert_eq!(socket.event().await["type"], "session.created");
    socket
}

async fn refused(gateway: &Gateway, target: &str, headers: &[(&str, &str)]) -> Answer {
    match Socket::open(gateway.addr(), target, headers).await {
        Ok(_) => panic!("{target} was opened"),
        Err(answer) => answer,
    }
}

/// Asks for an answer that breaks as this word says.
fn ordered(word: &str) -> Value {
    json!({ "type": "response.create", "response": { "instructions": word } })
}

/// The events the provider heard, a line each.
fn heard(upstream: &Provider) -> Vec<Value> {
    let requests = upstream.requests();
    let said = &requests.last().expect("a session").body;
    said.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("an event"))
        .collect()
}

/// The code and reason of the last thing that was said.
fn closed(said: &[Said]) -> (u16, &str) {
    match said.last() {
        Some(Said::Close(code, reason)) => (*code, reason),
        other => panic!("{other:?} instead of a close frame: {said:?}"),
    }
}

/// The events among what was said.
fn events(said: &[Said]) -> Vec<&Value> {
    said.iter().filter_map(|said| if let Said::Event(event) = said { Some(event) } else { None }).collect()
}

#[tokio::test]
async fn a_session_is_relayed_both_ways_and_what_it_used_is_counted() {
    let upstream = provider().await;
    let gateway = gateway(&upstream, "").await;
    let mut socket = open(&gateway).await;
    assert_eq!(socket.answer.header("sec-websocket-extensions"), None);
    let id = socket.answer.header("x-request-id").expect("an id").to_owned();
    let appended = json!({ "type": "input_audio_buffer.append", "audio": "A".repeat(20_000) });
    socket.send(&appended).await;
    for _ in 0..2 {
        let done = socket.answered().await;
        assert_eq!(done["response"]["usage"]["output_tokens"], 10);
    }
    assert_eq!(gateway.count("tollgate_active_streams").await, 1);
    let said = socket.close().await;
    assert_eq!(closed(&said), (1000, "done"));
    assert_eq!(heard(&upstream)[0], appended);
    let sent = &upstream.requests()[0];
    assert_eq!(sent.target, TARGET);
    assert_eq!(sent.header("authorization"), Some("Bearer sk-upstream-main-0123456789"));
    let line = gateway.log.line().await;
    assert_eq!(
        (&line["end"], &line["status"], &line["stream"]),
        (&json!("ok"), &json!(101), &json!(true)),
        "{line}"
    );
    assert_eq!((&line["request_id"], &line["path"]), (&json!(id), &json!("/v1/realtime")), "{line}");
    assert_eq!(
        (&line["channel"], &line["model_upstream"]),
        (&json!("main"), &json!("gpt-realtime")),
        "{line}"
    );
    let (input, cached, output) = TOKENS;
    assert_eq!(
        (&line["tokens"]["input"], &line["tokens"]["cache_read"], &line["tokens"]["output"]),
        (&json!(2 * input), &json!(2 * cached), &json!(2 * output)),
        "{line}"
    );
    assert_eq!((&line["usage_source"], &line["charged"]), (&json!("reported"), &json!(true)), "{line}");
    assert!(line["bytes_in"].as_u64().expect("a number") > 20_000, "{line}");
    assert!(line["bytes_out"].as_u64().expect("a number") > 500, "{line}");
    assert_eq!(gateway.count("tollgate_active_streams").await, 0);
    assert_eq!(gateway.count("tollgate_leases_open").await, 0);
    let series = "tollgate_tokens_total{channel=\"main\",model=\"_other\",type=\"output\"}";
    assert_eq!(gateway.count(series).await, 2 * output);
}

#[tokio::test]
async fn frames_that_nobody_changes_pass_as_they_came() {
    let upstream = provider().await;
    let gateway = gateway(&upstream, "").await;
    let (mut through, mut direct) = (open(&gateway).await, {
        let key = [("authorization", "Bearer sk-any-0123456789")];
        // The fake takes no extension to be asked for.
        let mut connection = crate::support::client::Connection::open(upstream.addr()).await;
        connection.send(&crate::support::socket::handshake(TARGET, &key)).await;
        Socket::opened(connection).await.unwrap_or_else(|answer| panic!("{answer:?}"))
    });
    direct.event().await;
    for order in ["plain", "fragments", "large"] {
        for socket in [&mut through, &mut direct] {
            socket.send(&ordered(order)).await;
        }
        for kind in ["response.created", "response.output_text.delta", "response.done"] {
            assert_eq!(through.event().await["type"], kind, "{order}");
            assert_eq!(direct.event().await["type"], kind, "{order}");
            assert_eq!(through.raw, direct.raw, "{order} {kind}");
        }
    }
    assert_eq!(gateway.count("tollgate_realtime_unread_total").await, 1);
    through.close().await;
    let line = gateway.log.line().await;
    // The large one was not read, and of its text one piece had passed.
    assert_eq!(line["tokens"]["output"], 2 * TOKENS.2 + 1, "{line}");
    assert_eq!(line["usage_source"], "estimated", "{line}");
}

#[tokio::test]
async fn models_go_up_under_the_providers_names_and_come_back_under_the_clients() {
    let upstream = provider().await;
    let channel = channel(
        "main",
        "openai",
        &upstream,
        "models = [\"talk\", \"ears\"]\nmodel_map = { talk = \"gpt-realtime-1\", ears = \"gpt-4o-transcribe\" }",
    );
    let profile = "[[profile]]\nname = \"p\"\nmappings = [{ from = \"mine\", to = \"talk\" }, { from = \"my-ears\", to = \"ears\" }]\n";
    let key = key() + "profiles = [\"p\"]\nactive_profile = \"p\"\nmodels = [\"mine\", \"my-ears\"]\n";
    let gateway = Gateway::start(&(channel + profile + &key)).await;
    let target = "/v1/realtime?a=b%20c&model=mine&d";
    let mut socket = Socket::open(gateway.addr(), target, &[BEARER]).await.expect("it opens");
    let created = socket.event().await;
    assert_eq!(created["session"]["model"], "mine", "{created}");
    assert_eq!(upstream.requests()[0].target, "/v1/realtime?a=b%20c&model=gpt-realtime-1&d");
    let update = |model: &str, ears: &str| {
        json!({ "type": "session.update", "event_id": "mine-1",
            "session": { "model": model, "audio": { "input": { "transcription": { "model": ears } } } } })
    };
    socket.send(&update("mine", "my-ears")).await;
    let updated = socket.event().await;
    assert_eq!(updated["type"], "session.updated", "{updated}");
    assert_eq!(
        updated["session"],
        json!({ "id": "sess_fake", "object": "realtime.session", "model": "mine",
        "audio": { "input": { "transcription": { "model": "my-ears" } } } })
    );
    assert_eq!(heard(&upstream)[0], update("gpt-realtime-1", "gpt-4o-transcribe"));
    for (model, ears, code) in [
        ("other", "my-ears", "invalid_request"),
        ("gpt-realtime-1", "my-ears", "invalid_request"),
        ("mine", "gpt-4o-transcribe", "model_not_allowed"),
    ] {
        socket.send(&update(model, ears)).await;
        let error = socket.event().await;
        assert_eq!((&error["type"], &error["error"]["code"]), (&json!("error"), &json!(code)), "{error}");
        assert_eq!(error["error"]["event_id"], "mine-1", "{error}");
        assert!(!error.to_string().contains("main"), "{error}");
    }
    assert_eq!(heard(&upstream).len(), 1, "what is refused goes no further");
    socket.send(&json!({ "type": "input_audio_buffer.commit" })).await;
    socket.event_of("conversation.item.input_audio_transcription.completed").await;
    socket.close().await;
    let line = gateway.log.line().await;
    assert_eq!(
        (&line["model_requested"], &line["model_upstream"]),
        (&json!("mine"), &json!("gpt-realtime-1")),
        "{line}"
    );
    assert_eq!((&line["tokens"]["input"], &line["tokens"]["output"]), (&json!(6), &json!(3)), "{line}");
}

#[tokio::test]
async fn a_session_for_transcription_is_routed_by_a_model_that_its_provider_does_not_see_in_the_query() {
    let upstream = provider().await;
    let unnamed = gateway(&upstream, "models = [\"gpt-4o-transcribe\"]").await;
    opened(&unnamed, "/v1/realtime?intent=transcription").await.close().await;
    assert_eq!(unnamed.log.line().await["model_requested"], "gpt-4o-transcribe");
    let gateway = gateway(&upstream, "model_map = { ears = \"gpt-4o-transcribe\" }").await;
    let mut socket = opened(&gateway, "/v1/realtime?intent=transcription&model=ears").await;
    for sent in upstream.requests() {
        assert_eq!(sent.target, "/v1/realtime?intent=transcription");
    }
    let session = |model: &str| {
        json!({ "type": "session.update", "session": { "type": "transcription",
            "audio": { "input": { "transcription": { "model": model } } } } })
    };
    socket.send(&session("ears")).await;
    let updated = socket.event().await;
    assert_eq!(updated["session"]["audio"]["input"]["transcription"]["model"], "ears", "{updated}");
    assert_eq!(heard(&upstream)[0], session("gpt-4o-transcribe"));
    socket.close().await;
}

#[tokio::test]
async fn what_is_known_of_a_session_is_found_afterwards() {
    let upstream = provider().await;
    let gateway = gateway(&upstream, "").await;
    let mut socket = open(&gateway).await;
    socket.answered().await;
    let id = socket.answer.header("x-request-id").expect("an id").to_owned();
    socket.close().await;
    gateway.log.line().await;
    let shown =
        crate::support::client::get(gateway.running.admin, &format!("/api/exchanges/{id}")).await.json();
    assert_eq!((&shown["status"], &shown["end"]), (&json!(101), &json!("ok")), "{shown}");
    let series = "tollgate_requests_total{api=\"realtime\",code=\"101\"}";
    assert_eq!(gateway.count(series).await, 1);
    assert_eq!(
        gateway
            .count("tollgate_upstream_requests_total{channel=\"main\",code=\"101\",model=\"_other\"}")
            .await,
        1
    );
    assert!(!gateway.log.text().contains(KEY), "{}", gateway.log.text());
}

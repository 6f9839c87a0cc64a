//! What the fake is as a server: connections, framings, records, scripts, its control address, its end.

use crate::client::{Client, OPENAI, ask, chat, fake, get, post};
use serde_json::json;
use tollgate_loadtest::{Fault, Framing, Options, Provider, RECORDED_MAX, Selector};

/// SHA-256 of the body of `chat()`, computed elsewhere.
const CHAT_SHA256: &str = "314b3047d4cca0c5dd67a7b0bf47cd2db98df61fda634e40a1eba7d89ceee384";

#[tokio::test]
async fn requests_are_recorded_exactly_as_they_arrived() {
    let fake = fake().await;
    let mut client = Client::connect(fake.addr()).await;
    let request = chat().replace("host: fake", "HoSt: fake\r\nx-Odd:  a b \r\nx-odd: c");
    client.send(&request.replace("/v1/chat/completions", "/v1/chat/completions?x=%2F&y")).await;
    client.answer().await;
    client.send(&get("/v1/models", OPENAI)).await;
    client.answer().await;
    let requests = fake.requests();
    let [first, second] = requests.as_slice() else { panic!("two requests") };
    assert_eq!((first.method.as_str(), first.target.as_str()), ("POST", "/v1/chat/completions?x=%2F&y"));
    let names: Vec<&str> = first.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["HoSt", "x-Odd", "x-odd", "authorization", "content-type", "content-length"]);
    assert_eq!((first.header("X-ODD"), first.header_count("x-odd")), (Some("a b"), 2));
    assert_eq!((first.body.len(), first.framing), (first.body_len, Framing::ContentLength(first.body_len)));
    assert_eq!((second.framing, second.connection, first.connection), (Framing::None, 1, 1));
    assert_eq!((fake.total_connections(), fake.open_connections()), (1, 1));
    drop(client);
    fake.wait_for_open_connections_at_most(0).await;
    assert_eq!(fake.disconnects(), 0, "leaving between requests is no abort");
}

#[tokio::test]
async fn chunked_bodies_and_expected_continues_are_understood() {
    let fake = fake().await;
    let mut client = Client::connect(fake.addr()).await;
    let head =
        format!("POST /v1/completions HTTP/1.1\r\nhost: a\r\n{OPENAI}content-type: application/json\r\n");
    let chunks = "a;x=y\r\n{\"model\":\"\r\n10\r\nm\",\"prompt\":\"h\"}\r\n0\r\nx-trailer: 1\r\n\r\n";
    client.send(&format!("{head}transfer-encoding: chunked\r\n\r\n{chunks}")).await;
    assert_eq!(client.answer().await.status, 200);
    client.send(&format!("{head}expect: 100-continue\r\ncontent-length: 26\r\n\r\n")).await;
    assert_eq!(client.at_least(25).await, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.send(r#"{"model":"m","prompt":"h"}"#).await;
    assert_eq!(client.answer().await.status, 200);
    let requests = fake.requests();
    assert_eq!(
        requests.iter().map(|request| &request.body).collect::<Vec<_>>(),
        [r#"{"model":"m","prompt":"h"}"#, r#"{"model":"m","prompt":"h"}"#]
    );
    assert_eq!(requests.first().map(|request| request.framing), Some(Framing::Chunked));
}

#[tokio::test]
async fn only_length_and_digest_of_bodies_are_kept_for_load_tests() {
    let fake = Provider::start(Options { record_bodies: false, ..Options::default() }).await.expect("starts");
    ask(&fake, &chat()).await;
    let requests = fake.requests();
    let request = requests.first().expect("recorded");
    let digest: String =
        request.body_sha256.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    assert_eq!((request.body.len(), request.body_len, digest.as_str()), (0, 42, CHAT_SHA256));
}

#[tokio::test]
async fn the_oldest_requests_are_forgotten_but_counted() {
    let fake = fake().await;
    let mut client = Client::connect(fake.addr()).await;
    for number in 0..=RECORDED_MAX {
        client.send(&get(&format!("/v1/models/{number}"), OPENAI)).await;
        client.answer().await;
    }
    assert_eq!((fake.requests().len(), fake.request_count()), (RECORDED_MAX, RECORDED_MAX + 1));
    assert_eq!(fake.requests().first().map(|request| request.target.clone()), Some("/v1/models/1".into()));
}

#[tokio::test]
async fn scripts_choose_by_model_and_by_credential() {
    let fake = fake().await;
    let status = |status| Fault::Status { status, headers: Vec::new(), body: None };
    fake.script(Selector::Model("m".into()), vec![status(500), Fault::None, status(503)]);
    fake.script_forever(Selector::Credential("sk-2".into()), status(403));
    let other_key = chat().replace("sk-1", "sk-2").replace("\"m\"", "\"n\"");
    for (request, expected) in [
        (&other_key, 403),
        (&chat(), 500),
        (&chat(), 200),
        (&other_key, 403),
        (&chat(), 503),
        (&chat(), 200),
        (&other_key, 403),
    ] {
        assert_eq!(ask(&fake, request).await.status, expected);
    }
    fake.clear_scripts();
    assert_eq!(ask(&fake, &other_key).await.status, 200);
}

#[tokio::test]
async fn a_refused_request_uses_up_no_fault() {
    let fake = fake().await;
    fake.script(Selector::Any, vec![Fault::Status { status: 500, headers: Vec::new(), body: None }]);
    assert_eq!(ask(&fake, &get("/v1/models", "")).await.status, 401);
    assert_eq!(ask(&fake, &chat()).await.status, 500);
}

#[tokio::test]
async fn waiting_returns_when_the_request_arrives() {
    let fake = fake().await;
    let chat = chat();
    let (answer, ()) = tokio::join!(ask(&fake, &chat), fake.wait_for_requests(1));
    assert_eq!((answer.status, fake.request_count()), (200, 1));
}

#[tokio::test]
async fn shell_scripts_can_set_faults_and_read_what_arrived() {
    let fake = fake().await;
    let json = |path, body: &str| post(path, "", body);
    let order = r#"{"selector":{"model":"m"},"faults":[{"status":{"status":429,"headers":[["retry-after","1"]]}},"hold_first_byte",{"cut":{"after_events":1,"how":"fin"}}]}"#;
    assert_eq!(ask(&fake, &json("/__fake/script", order)).await.json(), json!({ "ok": true }));
    assert_eq!(ask(&fake, &chat()).await.status, 429);
    assert_eq!(ask(&fake, &json("/__fake/release", r#"{"count":1}"#)).await.status, 200);
    assert_eq!(ask(&fake, &chat()).await.status, 200);
    assert_eq!(ask(&fake, &json("/__fake/clear", "")).await.status, 200);
    assert_eq!(ask(&fake, &chat()).await.end, crate::client::End::Complete);
    let shown = ask(&fake, &get("/__fake/requests", "")).await.json();
    assert_eq!(shown.as_array().map(Vec::len), Some(3));
    assert_eq!(shown[0]["target"], "/v1/chat/completions");
    assert_eq!(shown[0]["headers"][1], json!(["authorization", "Bearer sk-1"]));
    assert_eq!(shown[0]["body_sha256"], CHAT_SHA256);
    for (path, body, status) in [
        ("/__fake/script", r#"{"faults":["dance"]}"#, 400),
        ("/__fake/script", r#"{"faults":[],"extra":1}"#, 400),
        ("/__fake/nothing", "", 404),
    ] {
        assert_eq!(ask(&fake, &json(path, body)).await.status, status);
    }
}

#[tokio::test]
async fn dropping_the_provider_closes_its_connections_and_its_port() {
    let fake = fake().await;
    let addr = fake.addr();
    fake.script(Selector::Any, vec![Fault::Hang]);
    let mut client = Client::connect(addr).await;
    client.send(&chat()).await;
    fake.wait_for_holding(1).await;
    drop(fake);
    assert!(client.rest().await.0.is_empty());
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
}

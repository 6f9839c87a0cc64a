//! Files go through Pingora's own pipeline: streamed both ways, never buffered, with the same refusals and the same care
//! for credentials as everything else.

use crate::support::client::{self, Answer, Connection, Ended};
use crate::support::{Gateway, KEY, StillWorld, channel, credential, key, provider};
use serde_json::{Value, json};
use std::sync::Arc;
use tollgate_loadtest::{Fault, Provider, ReservedPort, Selector};

const BEARER: (&str, &str) = ("authorization", "Bearer sk-test-alice-0123456789");
const MULTIPART: (&str, &str) = ("content-type", "multipart/form-data; boundary=xYzZY");

/// A form with this file in it.
fn form(file: &[u8]) -> Vec<u8> {
    let mut form = b"--xYzZY\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--xYzZY\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n\r\n".to_vec();
    form.extend_from_slice(file);
    form.extend_from_slice(b"\r\n--xYzZY--\r\n");
    form
}

/// Bytes of every value that hold no boundary.
fn file(size: usize) -> Vec<u8> {
    (0..size).map(|at| u8::try_from(at * 7 % 251).unwrap_or_default()).collect()
}

fn chunked(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let request = client::chunked(path, headers, body, 60_000);
    let text = b"content-type: application/json\r\n";
    let at = request.windows(text.len()).position(|window| window == text).expect("its type");
    [&request[..at], &request[at + text.len()..]].concat()
}

async fn house(more: &str) -> (Provider, Gateway) {
    let upstream = provider().await;
    let gateway = Gateway::start(&(channel("main", "openai", &upstream, more) + &key())).await;
    (upstream, gateway)
}

async fn call(gateway: &Gateway, method: &str, path: &str) -> Answer {
    let request = format!("{method} {path} HTTP/1.1\r\nhost: a\r\n{}: {}\r\n\r\n", BEARER.0, BEARER.1);
    client::once(gateway.addr(), request.as_bytes()).await
}

#[tokio::test]
async fn a_file_goes_up_and_comes_down_byte_for_byte() {
    let file = file(5 * 1024 * 1024);
    let form = form(&file);
    for way in ["declared", "chunked", "h2"] {
        let (upstream, gateway) = house("").await;
        let answer = match way {
            "declared" => client::post(gateway.addr(), "/v1/files", &[BEARER, MULTIPART], &form).await,
            "chunked" => {
                client::once(gateway.addr(), &chunked("/api/v1/files", &[BEARER, MULTIPART], &form)).await
            }
            _ => client::post_h2(gateway.addr(), "/openai/v1/files", &[BEARER, MULTIPART], &form).await,
        };
        assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{way} {}", answer.text());
        let sent = &upstream.requests()[0];
        assert_eq!((sent.method.as_str(), sent.target.as_str()), ("POST", "/v1/files"), "{way}");
        assert!(sent.body[..] == form[..], "{way}");
        let id = answer.json()["id"].as_str().expect("an id").to_owned();

        let content = call(&gateway, "GET", &format!("/v1/files/{id}/content")).await;
        assert_eq!((content.status, content.ended), (200, Ended::Whole), "{way}");
        assert!(content.body == file, "{way}");
        assert_eq!(call(&gateway, "GET", &format!("/openai/v1/files/{id}")).await.json()["id"], id.as_str());
        assert_eq!(call(&gateway, "GET", "/v1/files?limit=5").await.json()["data"][0]["id"], id.as_str());
        assert_eq!(upstream.requests()[3].target, "/v1/files?limit=5", "{way}");
        assert_eq!(call(&gateway, "DELETE", &format!("/v1/files/{id}")).await.json()["deleted"], true);
        assert_eq!(
            call(&gateway, "GET", &format!("/v1/files/{id}")).await.status,
            404,
            "the provider's own word"
        );

        let lines = gateway.log.lines(6).await;
        assert!(lines.iter().all(|line| line["end"] == "ok" && line["channel"] == "main"), "{way} {lines:?}");
        assert_eq!((&lines[0]["bytes_in"], &lines[1]["bytes_out"]), (&json!(form.len()), &json!(file.len())));
        assert_eq!(gateway.count("tollgate_leases_open").await, 0, "{way}");
        assert_eq!(gateway.count("tollgate_inflight_requests").await, 0, "{way}");
    }
}

#[tokio::test]
async fn an_upload_is_never_buffered() {
    let (upstream, gateway) = house("").await;
    let form = form(&file(5 * 1024 * 1024));
    let request = client::request("POST", "/v1/files", &[BEARER, MULTIPART], &form);
    let mut connection = Connection::open(gateway.addr()).await;
    connection.send(&request[..request.len() - 1000]).await;
    // What was sent has gone on: the provider has the connection, and we hold nothing.
    gateway.count_reaches("tollgate_inflight_requests", 1).await;
    while upstream.open_connections() == 0 {
        assert_eq!(gateway.count("tollgate_buffered_body_bytes").await, 0);
    }
    assert_eq!(gateway.count("tollgate_buffered_body_bytes").await, 0);
    connection.send(&request[request.len() - 1000..]).await;
    assert_eq!(connection.answer().await.expect("an answer").status, 200);
}

#[tokio::test]
async fn an_upload_over_the_body_limits_of_exchanges_still_passes() {
    let upstream = provider().await;
    let server = "[server.limits]\nbody_bytes = \"100KiB\"\nbuffered_body_bytes = \"200KiB\"\n";
    let gateway = Gateway::with_server(server, &(channel("main", "openai", &upstream, "") + &key())).await;
    let form = form(&file(1024 * 1024));
    let answer = client::post(gateway.addr(), "/v1/files", &[BEARER, MULTIPART], &form).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn an_upload_carries_the_channels_credential_and_none_of_the_clients() {
    let (upstream, gateway) =
        house("request_headers = { set = { \"x-org\" = \"acme\" }, remove = [\"x-internal\"] }").await;
    let headers = [
        BEARER,
        MULTIPART,
        ("x-api-key", "sk-another"),
        ("cookie", "a=b"),
        ("x-forwarded-for", "192.0.2.1"),
        ("openai-organization", "org-mine"),
        ("x-internal", "secret"),
        ("x-custom", "kept"),
        ("connection", "x-hop"),
        ("x-hop", "gone"),
    ];
    let answer = client::post(gateway.addr(), "/v1/files", &headers, &form(b"a")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let sent = &upstream.requests()[0];
    assert_eq!(sent.header("authorization"), Some(&*format!("Bearer {}", credential("main"))));
    assert_eq!((sent.header("x-custom"), sent.header("x-org")), (Some("kept"), Some("acme")));
    assert_eq!(sent.header("host"), Some(&*upstream.addr().to_string()));
    for gone in ["x-api-key", "cookie", "x-forwarded-for", "openai-organization", "x-internal", "x-hop"] {
        assert_eq!(sent.header(gone), None, "{gone}");
    }
    for hidden in ["server", "via", "set-cookie", "alt-svc", "openai-organization"] {
        assert_eq!(answer.header(hidden), None, "{hidden}");
    }
    assert_eq!(answer.header("x-request-id"), gateway.log.line().await["request_id"].as_str());
    assert!(!gateway.log.text().contains(KEY) && !gateway.log.text().contains(&credential("main")));
}

#[tokio::test]
async fn an_upload_with_an_expectation_is_told_to_go_on() {
    for fault in [Fault::None, Fault::Informational] {
        let (upstream, gateway) = house("").await;
        upstream.script(Selector::Any, vec![fault.clone()]);
        let form = form(&file(100_000));
        let request =
            client::request("POST", "/v1/files", &[BEARER, MULTIPART, ("expect", "100-continue")], &form);
        let (head, rest) = request.split_at(request.len() - form.len());
        let mut connection = Connection::open(gateway.addr()).await;
        connection.send(head).await;
        assert_eq!(connection.interim().await, 100, "{fault:?}");
        connection.send(rest).await;
        let answer = connection.answer().await.expect("an answer");
        assert_eq!(answer.status, 200, "{fault:?} {}", answer.text());
        assert_eq!(gateway.log.line().await["end"], "ok", "{fault:?}");
    }
    let (upstream, gateway) = house("").await;
    let request = client::request("POST", "/v1/files", &[BEARER, MULTIPART, ("expect", "tea")], &form(b"a"));
    let answer = client::once(gateway.addr(), &request).await;
    assert_eq!((answer.status, answer.code().as_str()), (417, "expectation_failed"));
    assert_eq!(upstream.request_count(), 0);
}

#[tokio::test]
async fn a_tunnel_that_fails_is_told_in_the_dialect() {
    let port = ReservedPort::new().expect("a port");
    let base = format!("http://{}", port.addr());
    for (fault, status, code) in [
        (None, 502, "upstream_unreachable"),
        (Some(Fault::CloseSilently), 502, "upstream_unreachable"),
        (Some(Fault::Reset), 502, "upstream_unreachable"),
        (Some(Fault::Garbage), 502, "upstream_error"),
        (Some(answers(401)), 502, "upstream_unauthorized"),
        (Some(answers(402)), 502, "upstream_refused"),
        (Some(answers(429)), 429, "upstream_rate_limited"),
        (Some(answers(500)), 502, "upstream_error"),
        (Some(answers(503)), 503, "upstream_overloaded"),
        (Some(answers(529)), 503, "upstream_overloaded"),
        (Some(Fault::Hang), 504, "upstream_timeout"),
    ] {
        let upstream = provider().await;
        let hangs = fault == Some(Fault::Hang);
        let wait = if hangs { "response_timeout = \"100ms\"" } else { "" };
        let mut text = channel("hidden-channel", "openai", &upstream, wait) + &key();
        match &fault {
            Some(fault) => upstream.script(Selector::Any, vec![fault.clone()]),
            None => text = text.replace(&upstream.base_url(), &base),
        }
        let gateway = Gateway::start(&text).await;
        let answer =
            client::post(gateway.addr(), "/v1/files", &[BEARER, MULTIPART], &form(&file(10_000))).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{fault:?} {}", answer.text());
        assert_eq!(answer.header("retry-after").is_some(), matches!(status, 429 | 503), "{fault:?}");
        for hidden in ["hidden-channel", "127.0.0.1", "sk-upstream"] {
            assert!(!answer.text().contains(hidden), "{fault:?}");
        }
        let line = gateway.log.line().await;
        assert_eq!((&line["end"], &line["code"]), (&json!("failed"), &json!(code)), "{fault:?} {line}");
        assert_eq!(line["attempts"][0]["code"], code, "{fault:?} {line}");
        assert_eq!(gateway.count("tollgate_leases_open").await, 0, "{fault:?}");
    }
}

fn answers(status: u16) -> Fault {
    Fault::Status { status, headers: Vec::new(), body: None }
}

#[tokio::test]
async fn a_download_that_is_cut_never_ends_cleanly() {
    for h2 in [false, true] {
        let (upstream, gateway) = house("").await;
        let uploaded =
            client::post(gateway.addr(), "/v1/files", &[BEARER, MULTIPART], &form(&file(300_000))).await;
        let id = uploaded.json()["id"].as_str().expect("an id").to_owned();
        upstream.script(Selector::Any, vec![Fault::CutBody { after_bytes: 100_000 }]);
        let path = format!("/v1/files/{id}/content");
        let answer = if h2 {
            client::get_h2(gateway.addr(), &path, &[BEARER]).await
        } else {
            call(&gateway, "GET", &path).await
        };
        assert_eq!((answer.status, answer.ended), (200, Ended::Cut), "h2={h2}");
        assert_eq!(gateway.log.lines(2).await[1]["end"], "stream_truncated", "h2={h2}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_its_upload_lets_the_upstream_go() {
    let (upstream, gateway) = house("").await;
    let form = form(&file(200_000));
    let request = client::request("POST", "/v1/files", &[BEARER, MULTIPART], &form);
    let mut connection = Connection::open(gateway.addr()).await;
    connection.send(&request[..100_000]).await;
    gateway.count_reaches("tollgate_inflight_requests", 1).await;
    drop(connection);
    let line = gateway.log.line().await;
    assert_eq!((&line["end"], &line["code"]), (&json!("client_closed"), &Value::Null), "{line}");
    upstream.wait_for_open_connections_at_most(0).await;
    assert_eq!(gateway.count("tollgate_leases_open").await, 0);
}

#[tokio::test]
async fn a_client_that_leaves_its_download_lets_the_upstream_go() {
    for reset in [false, true] {
        let (upstream, gateway) = house("").await;
        let sent = form(&file(300_000));
        let uploaded = client::post(gateway.addr(), "/v1/files", &[BEARER, MULTIPART], &sent).await;
        let id = uploaded.json()["id"].as_str().expect("an id").to_owned();
        upstream.script(Selector::Any, vec![Fault::HoldMidStream { after_events: 1 }]);
        let mut connection = Connection::open(gateway.addr()).await;
        let request =
            format!("GET /v1/files/{id}/content HTTP/1.1\r\nhost: a\r\n{}: {}\r\n\r\n", BEARER.0, BEARER.1);
        connection.send(request.as_bytes()).await;
        assert_eq!(connection.head().await.expect("a head").status, 200);
        upstream.wait_for_holding(1).await;
        if reset {
            connection.reset();
        } else {
            drop(connection);
        }
        upstream.wait_for_disconnects(1).await;
        let line = &gateway.log.lines(2).await[1];
        assert_eq!((&line["end"], &line["status"]), (&json!("client_closed"), &json!(200)), "{reset} {line}");
        assert_eq!(gateway.count("tollgate_leases_open").await, 0, "{reset}");
    }
}

#[tokio::test]
async fn an_early_answer_to_an_upload_is_told_while_it_is_still_sent() {
    for (status, code) in [(401, "upstream_unauthorized"), (429, "upstream_rate_limited")] {
        let (upstream, gateway) = house("").await;
        upstream.script(Selector::Any, vec![Fault::EarlyStatus { status }]);
        let sent = form(&file(5 * 1024 * 1024));
        let answer = client::post(gateway.addr(), "/v1/files", &[BEARER, MULTIPART], &sent).await;
        assert_eq!((answer.ended, answer.code().as_str()), (Ended::Whole, code), "{}", answer.text());
    }
    // What the provider says of the request itself is the client's, early or not.
    let (upstream, gateway) = house("").await;
    upstream.script(Selector::Any, vec![Fault::EarlyStatus { status: 413 }]);
    let sent = form(&file(5 * 1024 * 1024));
    let answer = client::post(gateway.addr(), "/v1/files", &[BEARER, MULTIPART], &sent).await;
    assert_eq!((answer.status, answer.ended), (413, Ended::Whole), "{}", answer.text());
    assert!(answer.text().contains("Request exceeds the maximum size"), "{}", answer.text());
}

#[tokio::test]
async fn a_tunnel_is_refused_before_anything_is_sent() {
    let (upstream, gateway) = house("").await;
    let form = form(&file(1024 * 1024));
    let wrong = ("authorization", "Bearer sk-unknown-0123456789");
    let answer = client::post(gateway.addr(), "/v1/files", &[wrong, MULTIPART], &form).await;
    assert_eq!((answer.status, answer.ended, answer.code().as_str()), (401, Ended::Whole, "invalid_api_key"));
    let answer = client::post(gateway.addr(), "/v1/files", &[MULTIPART], &form).await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "missing_api_key"));
    assert_eq!(upstream.total_connections(), 0);
}

#[tokio::test]
async fn what_a_limited_provider_asks_for_counts_for_files_too() {
    let (upstream, world) = (provider().await, StillWorld::new());
    let text = channel("main", "openai", &upstream, "") + &key();
    for (status, path, pointer) in
        [(429, "/api/status", "/credentials_away/0/left_ms"), (503, "/api/channels", "/0/cooling_ms")]
    {
        let gateway = Gateway::in_world("", &text, Arc::<StillWorld>::clone(&world)).await;
        upstream.script(Selector::Any, vec![Fault::status_with(status, &[("retry-after", "7")])]);
        assert_eq!(call(&gateway, "GET", "/v1/files").await.status, status);
        let view = client::get(gateway.running.admin, path).await.json();
        assert_eq!(view.pointer(pointer), Some(&json!(7_000)), "{status} {view}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_leaves_an_attempt_without_a_status() {
    let (upstream, gateway) = house("").await;
    upstream.script(Selector::Any, vec![Fault::Hang]);
    let mut client = Connection::open(gateway.addr()).await;
    let request = format!("GET /v1/files HTTP/1.1\r\nhost: a\r\n{}: {}\r\n\r\n", BEARER.0, BEARER.1);
    client.send(request.as_bytes()).await;
    upstream.wait_for_holding(1).await;
    drop(client);
    let line = gateway.log.line().await;
    assert_eq!((&line["end"], &line["status"]), (&json!("client_closed"), &json!(499)), "{line}");
    assert_eq!(line["attempts"][0]["status"], Value::Null, "{line}");
}

/// The key, and what Anthropic's clients send beside it.
fn job_headers<'a>(path: &str, bearer: &'a str) -> Vec<(&'static str, &'a str)> {
    let version = path.contains("messages").then_some(("anthropic-version", "2023-06-01"));
    [("authorization", bearer)].into_iter().chain(version).collect()
}

/// A new piece of work that its provider does later.
const JOBS: [(&str, &str, &str); 4] = [
    (
        "/v1/batches",
        "/v1/batches",
        r#"{"input_file_id":"f","endpoint":"/v1/responses","completion_window":"24h"}"#,
    ),
    ("/openai/v1/fine_tuning/jobs", "/v1/fine_tuning/jobs", r#"{"model":"m","training_file":"f"}"#),
    (
        "/v1/uploads",
        "/v1/uploads",
        r#"{"filename":"a","purpose":"batch","bytes":1,"mime_type":"text/plain"}"#,
    ),
    ("/v1/messages/batches", "/v1/messages/batches", r#"{"requests":[{"custom_id":"a","params":{}}]}"#),
];

#[tokio::test]
async fn batches_and_fine_tuning_go_to_the_account_that_files_go_to() {
    let (upstream, other) = (provider().await, provider().await);
    let text = channel("main", "openai", &upstream, "")
        + &channel("other", "openai", &other, "")
        + &channel("claude", "anthropic", &upstream, "")
        + &key();
    let gateway = Gateway::start(&text).await;
    for (path, target, body) in JOBS {
        for _ in 0..3 {
            let answer =
                client::post(gateway.addr(), path, &job_headers(path, BEARER.1), body.as_bytes()).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            let sent = upstream.requests().pop().expect("it was asked");
            assert_eq!((sent.target.as_str(), &sent.body[..]), (target, body.as_bytes()));
        }
        let request = client::request("GET", &format!("{path}/job_fake"), &job_headers(path, BEARER.1), b"");
        assert_eq!(client::once(gateway.addr(), &request).await.status, 200, "{path}");
    }
    assert_eq!(other.request_count(), 0, "they live in one account");
    let lines = gateway.log.lines(16).await;
    let apis: Vec<_> = lines.iter().step_by(4).map(|line| line["api"].as_str().unwrap_or_default()).collect();
    assert_eq!(apis, ["batches", "fine_tuning", "files", "batches"]);
}

#[tokio::test]
async fn work_that_nobody_sees_is_refused_to_a_key_that_is_held_to_anything_it_could_go_past() {
    let upstream = provider().await;
    let secret = |name: &str| format!("sk-{name}-0123456789");
    let mut text = channel("main", "openai", &upstream, "") + &channel("claude", "anthropic", &upstream, "");
    let held = [
        ("models", "models = [\"gpt-*\"]"),
        ("tokens", "limits = { tpm = 1000 }"),
        ("quota", "quota = { usd = 1.0, per = \"day\" }"),
        ("length", "max_output_tokens = 10"),
        ("rate", "limits = { rpm = 1000, concurrency = 8 }"),
    ];
    for (name, lines) in held {
        text += &format!("[[key]]\nname = \"{name}\"\nsecret = \"{}\"\n{lines}\n", secret(name));
    }
    let gateway = Gateway::start(&text).await;
    for (name, _) in held {
        let bearer = format!("Bearer {}", secret(name));
        for (path, _, body) in JOBS {
            let answer =
                client::post(gateway.addr(), path, &job_headers(path, &bearer), body.as_bytes()).await;
            let may = name == "rate" || path == "/v1/uploads";
            assert_eq!(answer.status, if may { 200 } else { 403 }, "{name} {path}: {}", answer.text());
        }
    }
    assert_eq!(upstream.request_count(), 8);
}

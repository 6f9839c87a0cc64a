//! The normal answers: every operation, every stream's grammar, the numbers tests elsewhere rely on.

use crate::client::{ANTHROPIC, Client, End, GEMINI, OPENAI, ask, events, fake, get, post, streams};
use serde_json::{Value, json};
use std::time::Duration;
use tollgate_loadtest::{Options, Provider, full_text};

/// Asks, and compares what is at some places of the JSON that comes back.
async fn check(fake: &Provider, request: &str, expected: &[(&str, Value)]) {
    let answer = ask(fake, request).await;
    assert_eq!((answer.status, answer.end), (200, End::Complete), "{request}\n{}", answer.text());
    let body = answer.json();
    for (place, value) in expected {
        assert_eq!(body.pointer(place), Some(value), "{place} of {body} for {request}");
    }
}

#[tokio::test]
async fn every_openai_and_anthropic_operation_answers_in_its_published_shape() {
    let fake = fake().await;
    let text = json!(full_text(4));
    let user = r#""messages":[{"role":"user","content":"hi"}]"#;
    let ask = |path, body: &str| post(path, OPENAI, body);
    check(
        &fake,
        &ask("/v1/chat/completions", &format!(r#"{{{user},"model":"模型\"x"}}"#)),
        &[
            ("/choices/0/message/content", text.clone()),
            ("/model", json!("模型\"x")),
            ("/usage/prompt_tokens", json!(42)),
            ("/usage/prompt_tokens_details/cached_tokens", json!(10)),
            ("/usage/completion_tokens_details/reasoning_tokens", json!(5)),
        ],
    )
    .await;
    check(
        &fake,
        &ask("/v1/completions", r#"{"model":"m","prompt":"hi"}"#),
        &[("/choices/0/text", text.clone())],
    )
    .await;
    check(
        &fake,
        &ask("/v1/responses", r#"{"model":"m","input":"hi"}"#),
        &[("/output/0/content/0/text", text.clone()), ("/usage/total_tokens", json!(59))],
    )
    .await;
    check(
        &fake,
        &ask("/v1/embeddings", r#"{"model":"m","input":["a","b"]}"#),
        &[("/data/1/embedding", json!([0.5, -0.25, 0.125, 1.0])), ("/data/1/index", json!(1))],
    )
    .await;
    check(&fake, &ask("/v1/moderations", r#"{"input":"a"}"#), &[("/results/0/flagged", json!(false))]).await;
    check(&fake, &get("/v1/models", OPENAI), &[("/data/0/object", json!("model"))]).await;
    check(&fake, &get("/v1/models/a.b", OPENAI), &[("/id", json!("a.b"))]).await;
    check(&fake, &get("/v1/models", ANTHROPIC), &[("/data/0/type", json!("model"))]).await;
    check(
        &fake,
        &post("/v1/messages?beta=true", ANTHROPIC, &format!(r#"{{"model":"m",{user},"max_tokens":1}}"#)),
        &[
            ("/content/0/text", text.clone()),
            ("/usage/input_tokens", json!(25)),
            ("/usage/cache_read_input_tokens", json!(10)),
            ("/usage/cache_creation_input_tokens", json!(7)),
            ("/usage/output_tokens", json!(17)),
        ],
    )
    .await;
    let count = post("/v1/messages/count_tokens", ANTHROPIC, &format!(r#"{{"model":"m",{user}}}"#));
    check(&fake, &count, &[("/input_tokens", json!(42))]).await;
}

#[tokio::test]
async fn every_gemini_operation_answers_in_its_published_shape() {
    let fake = fake().await;
    let contents = r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#;
    check(&fake, &get("/v1beta/models?key=k", ""), &[("/models/0/name", json!("models/fake-large"))]).await;
    let google = |path, body: &str| post(path, GEMINI, body);
    check(
        &fake,
        &google("/v1/models/g:generateContent", contents),
        &[
            ("/candidates/0/content/parts/0/text", json!(full_text(4))),
            ("/usageMetadata/candidatesTokenCount", json!(12)),
            ("/usageMetadata/thoughtsTokenCount", json!(5)),
            ("/modelVersion", json!("g")),
        ],
    )
    .await;
    check(&fake, &google("/v1beta/models/g:countTokens", contents), &[("/totalTokens", json!(42))]).await;
    let content = r#"{"content":{"parts":[{"text":"hi"}]}}"#;
    check(&fake, &google("/v1beta/models/g:embedContent", content), &[("/embedding/values/0", json!(0.5))])
        .await;
    let of = |model: &str| content.replacen('{', &format!("{{\"model\":\"models/{model}\","), 1);
    let batch = |second: &str| {
        let requests = format!(r#"{{"requests":[{},{}]}}"#, of("g"), of(second));
        google("/v1beta/models/g:batchEmbedContents", &requests)
    };
    check(&fake, &batch("g"), &[("/embeddings/1/values/0", json!(0.5))]).await;
    assert_eq!(ask(&fake, &batch("other")).await.status, 400);
}

#[tokio::test]
async fn every_stream_is_json_events_whose_text_adds_up_and_whose_last_is_terminal() {
    let fake = fake().await;
    let text_places =
        ["/choices/0/delta/content", "/delta", "/delta/text", "/candidates/0/content/parts/0/text"];
    let terminals = ["[DONE]", "response.completed", "message_stop", "\"finishReason\":\"STOP\""];
    for ((request, place), terminal) in streams().iter().zip(text_places).zip(terminals) {
        let answer = ask(&fake, request).await;
        assert!(answer.head.contains("content-type: text/event-stream"), "{}", answer.head);
        assert_eq!(answer.end, End::Complete);
        let events = events(&answer.text());
        assert_eq!(answer.chunks, events.len(), "one chunk per event");
        let (last, _) = events.split_last().expect("events");
        assert!(last.contains(terminal), "{last}");
        let parsed = events.iter().filter(|data| *data != "[DONE]");
        let parsed: Vec<Value> = parsed.map(|data| serde_json::from_str(data).expect("JSON")).collect();
        let text: String = parsed.iter().filter_map(|event| event.pointer(place)?.as_str()).collect();
        assert_eq!(text, full_text(4), "{place}");
    }
}

#[tokio::test]
async fn chat_usage_comes_in_a_chunk_without_choices_and_only_when_asked_for() {
    let fake = fake().await;
    let chat = ("/v1/chat/completions", r#""messages":[{"role":"user"}]"#);
    let text = ("/v1/completions", r#""prompt":"hi""#);
    for ((path, prompt), options, expected) in [
        (chat, "", None),
        (chat, r#","stream_options":null"#, None),
        (chat, r#","stream_options":{}"#, None),
        (chat, r#","stream_options":{"include_usage":false}"#, None),
        (chat, r#","stream_options":{"include_usage":true}"#, Some(59)),
        (text, "", None),
        (text, r#","stream_options":{"include_usage":true}"#, Some(59)),
    ] {
        let body = format!(r#"{{"model":"m",{prompt},"stream":true{options}}}"#);
        let answer = ask(&fake, &post(path, OPENAI, &body)).await;
        let events = events(&answer.text());
        // Asked for, it is in every chunk, as `null` in those before the last.
        let chunks = events.iter().filter(|data| *data != "[DONE]");
        assert!(chunks.clone().all(|data| data.contains("\"usage\":") == expected.is_some()), "{body}");
        let nulls = chunks.clone().filter(|data| data.contains("\"usage\":null")).count();
        assert_eq!(nulls, if expected.is_some() { chunks.count() - 1 } else { 0 }, "{body}");
        let before_done: Value =
            serde_json::from_str(events.iter().rev().nth(1).expect("events")).expect("JSON");
        let usage = before_done.pointer("/usage/total_tokens").and_then(Value::as_i64);
        assert_eq!(usage, expected);
        assert_eq!(before_done.get("choices") == Some(&json!([])), expected.is_some());
    }
}

#[tokio::test]
async fn responses_events_are_named_and_numbered() {
    let fake = fake().await;
    let [_, request, ..] = streams();
    let body = ask(&fake, &request).await.text();
    for (number, block) in body.trim_end().split("\n\n").enumerate() {
        let (name, data) = block.split_once('\n').expect("two lines");
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON");
        assert_eq!(Some(data["type"].as_str().expect("type")), name.strip_prefix("event: "));
        assert_eq!(data["sequence_number"], number);
    }
}

#[tokio::test]
async fn gemini_without_sse_is_a_json_array() {
    let fake = fake().await;
    let request =
        post("/v1beta/models/m:streamGenerateContent", GEMINI, r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#);
    let answer = ask(&fake, &request).await;
    assert_eq!(answer.json().as_array().map(Vec::len), Some(4));
    assert_eq!(answer.chunks, 4);
}

#[tokio::test]
async fn pace_changes_no_byte_of_the_body() {
    let fast = fake().await;
    let slow = Provider::start(Options { pace: Duration::from_millis(1), ..Options::default() })
        .await
        .expect("starts");
    for request in streams() {
        assert_eq!(ask(&fast, &request).await.body, ask(&slow, &request).await.body);
    }
}

#[tokio::test]
async fn files_come_back_byte_for_byte() {
    let fake = fake().await;
    let content = "line\r\n--bound\r\n\u{0}數據";
    let form = format!(
        "--boundary\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--boundary\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.jsonl\"\r\nContent-Type: text/plain\r\n\r\n{content}\r\n--boundary--\r\n"
    );
    let upload = format!(
        "POST /v1/files HTTP/1.1\r\nhost: fake\r\n{OPENAI}content-type: multipart/form-data; boundary=boundary\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    );
    let file = ask(&fake, &upload).await.json();
    assert_eq!((&file["filename"], &file["purpose"]), (&json!("a.jsonl"), &json!("batch")));
    assert_eq!(file["bytes"], content.len());
    assert_eq!(file["sha256"].as_str().map(str::len), Some(64));
    assert_eq!(ask(&fake, &get("/v1/files/file-fake1/content", OPENAI)).await.text(), content);
    assert_eq!(ask(&fake, &get("/v1/files", OPENAI)).await.json()["data"][0], file);
    let delete = get("/v1/files/file-fake1", OPENAI).replacen("GET", "DELETE", 1);
    assert_eq!(ask(&fake, &delete).await.json()["deleted"], true);
    assert_eq!(ask(&fake, &delete).await.status, 404);
}

#[tokio::test]
async fn answers_carry_headers_a_gateway_has_to_hide_and_an_id_of_their_own() {
    let fake = fake().await;
    let mut client = Client::connect(fake.addr()).await;
    for number in 1..=2 {
        client.send(&get("/v1/models", OPENAI)).await;
        let head = client.answer().await.head;
        for name in
            ["server", "set-cookie", "openai-organization", "x-ratelimit-limit-requests", "via", "alt-svc"]
        {
            assert!(head.contains(&format!("\r\n{name}: ")), "{name} in {head}");
        }
        assert!(head.contains(&format!("\r\nx-request-id: req_fake_0000000{number}\r\n")), "{head}");
    }
}

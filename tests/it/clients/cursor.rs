//! Cursor behind "Override `OpenAI` Base URL": bodies in the words of responses at the address of chat completions, or chat with
//! tools of responses among its own, and chunks of chat expected back, every call of a tool as one of a function.
//!
//! The shapes are those that gateways and users report of Cursor 2 and 3 (github.com/BerriAI/litellm/pull/34029,
//! github.com/icebear0828/codex-proxy/issues/707 and pull/708, github.com/maximhq/bifrost/issues/1985).

use crate::support::client::{self, Answer};
use crate::support::speech::{MODEL, Speech};
use crate::support::{Gateway, KEY, channel, key, provider};
use serde_json::{Value, json};

const PATCH: &str = "*** Begin Patch\n*** Update File: a.txt\n-old \"x\"\n+new\n*** End Patch";

fn patch_tool() -> Value {
    json!({ "type": "custom", "name": "ApplyPatch", "description": "Edits files.",
        "format": { "type": "grammar", "syntax": "lark", "definition": "start: begin_patch hunk end_patch" } })
}

fn schema() -> Value {
    json!({ "type": "object", "properties": { "path": { "type": "string" } }, "required": ["path"] })
}

/// Everything in the words of responses.
fn responses(input: &Value, stream: bool) -> Value {
    json!({ "model": MODEL, "user": "u", "stream": stream, "stream_options": { "include_usage": true }, "store": false,
        "include": ["reasoning.encrypted_content"], "reasoning": { "effort": "low", "summary": "auto" },
        "instructions": "Be short.", "input": input, "max_output_tokens": 900,
        "tools": [{ "type": "function", "name": "Read", "description": "Reads.", "parameters": schema(), "strict": false },
            patch_tool()] })
}

/// Chat, with one tool as responses have it.
fn mixed(messages: &Value, stream: bool) -> Value {
    json!({ "model": MODEL, "stream": stream, "messages": messages,
        "tools": [{ "type": "function", "function": { "name": "Read", "description": "Reads.", "parameters": schema() } },
            patch_tool()] })
}

async fn ask(gateway: &Gateway, body: &Value) -> Answer {
    let bearer = format!("Bearer {KEY}");
    let headers = [("authorization", bearer.as_str())];
    client::post(gateway.addr(), "/v1/chat/completions", &headers, body.to_string().as_bytes()).await
}

/// The chunks of a stream; the last line must be `[DONE]`.
fn chunks(answer: &Answer) -> Vec<Value> {
    let text = answer.text();
    assert!(text.trim_end().ends_with("data: [DONE]"), "{text}");
    let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    data.map(|data| serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"))).collect()
}

/// Name and arguments of the calls in a stream, put together as a client does.
fn calls(chunks: &[Value]) -> Vec<(String, String)> {
    let mut calls: Vec<(String, String)> = Vec::new();
    for delta in
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"].as_array()).flatten()
    {
        assert!(delta.get("custom").is_none(), "{delta}");
        if let Some(name) = delta["function"]["name"].as_str() {
            assert_eq!(delta["type"], "function", "{delta}");
            calls.push((name.to_owned(), String::new()));
        }
        let last = calls.last_mut().expect("a call has begun");
        last.1.push_str(delta["function"]["arguments"].as_str().unwrap_or_default());
    }
    calls
}

/// What makes the fake provider call the tool that takes free text.
fn order() -> String {
    format!("[[call ApplyPatch {}]]", json!({ "input": PATCH }))
}

#[tokio::test]
async fn a_body_of_responses_gets_chunks_of_chat_from_channels_of_every_protocol() {
    for there in Speech::ALL {
        let upstream = provider().await;
        let lines = format!("protocols = [\"{}\"]\n", there.word());
        let gateway = Gateway::start(&(channel("there", there.kind(), &upstream, &lines) + &key())).await;
        let input = json!([
            { "role": "system", "content": "You edit." },
            { "role": "user", "content": [{ "type": "input_text", "text": "hi" }] },
        ]);
        let answer = ask(&gateway, &responses(&input, true)).await;
        assert_eq!(answer.status, 200, "{there:?}: {}", answer.text());
        let chunks = chunks(&answer);
        let text: String =
            chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
        assert!(!text.is_empty(), "{there:?}");
        assert!(
            chunks.iter().all(|chunk| chunk["object"] == "chat.completion.chunk"),
            "{there:?}: {chunks:?}"
        );
        let last = chunks.last().expect("there are some");
        assert!(last["usage"]["total_tokens"].as_u64() > Some(0), "{there:?}: {last}");
        let whole = ask(&gateway, &responses(&input, false)).await.json();
        assert_eq!(whole["object"], "chat.completion", "{there:?}: {whole}");
        let sent = upstream.requests();
        let sent = String::from_utf8_lossy(&sent[0].body).into_owned();
        assert!(
            sent.contains("You edit.") && sent.contains("Be short.") && sent.contains("900"),
            "{there:?}: {sent}"
        );
    }
}

#[tokio::test]
async fn a_patch_comes_as_the_arguments_of_a_function_and_is_understood_when_it_comes_back() {
    for there in Speech::ALL {
        let upstream = provider().await;
        let lines = format!("protocols = [\"{}\"]\n", there.word());
        let gateway = Gateway::start(&(channel("there", there.kind(), &upstream, &lines) + &key())).await;
        let context = format!("{there:?}");
        let user = json!({ "role": "user", "content": order() });
        for stream in [true, false] {
            let answer = ask(&gateway, &mixed(&json!([user]), stream)).await;
            assert_eq!(answer.status, 200, "{context}: {}", answer.text());
            if there == Speech::Responses {
                // It has tools of free text itself, which the fake provider does not call.
                let sent = String::from_utf8_lossy(&upstream.requests()[0].body).into_owned();
                assert!(sent.contains(r#""type":"custom""#) && sent.contains("lark"), "{sent}");
            } else if stream {
                let said = calls(&chunks(&answer));
                assert_eq!(said, [("ApplyPatch".to_owned(), PATCH.to_owned())], "{context}");
            } else {
                let call = &answer.json()["choices"][0]["message"]["tool_calls"][0];
                let expected = json!({ "name": "ApplyPatch", "arguments": PATCH });
                assert_eq!((&call["type"], &call["function"]), (&json!("function"), &expected), "{context}");
            }
        }
        let asked = mixed(
            &json!([user,
                { "role": "assistant", "content": null, "tool_calls": [
                    { "id": "call_1", "type": "function", "function": { "name": "ApplyPatch", "arguments": PATCH } }] },
                { "role": "tool", "tool_call_id": "call_1", "content": "done" },
                { "role": "user", "content": "thanks" }]),
            true,
        );
        let answer = ask(&gateway, &asked).await;
        assert_eq!(answer.status, 200, "{context}: {}", answer.text());
        let sent = upstream.requests().pop().expect("it came");
        let sent = String::from_utf8_lossy(&sent.body).into_owned();
        assert!(sent.contains("*** Begin Patch") && sent.contains("done"), "{context}: {sent}");
    }
}

#[tokio::test]
async fn what_chat_itself_has_is_relayed_as_it_is() {
    let upstream = provider().await;
    let gateway = Gateway::start(&(channel("there", "openai", &upstream, "") + &key())).await;
    let body = json!({ "model": MODEL, "messages": [{ "role": "user", "content": "the \"input\" of a \"custom\" tool" }],
        "tools": [{ "type": "custom", "custom": { "name": "ApplyPatch", "format": { "type": "text" } } }] });
    let answer = ask(&gateway, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(upstream.requests()[0].body, body.to_string().as_bytes());
}

#[tokio::test]
async fn a_keys_cap_holds_in_whatever_words_the_answer_is_asked_for() {
    let upstream = provider().await;
    let text = channel("there", "openai", &upstream, "protocols = [\"chat\"]")
        + &format!("[[key]]\nname = \"alice\"\nsecret = \"{KEY}\"\nmax_output_tokens = 77\n");
    let gateway = Gateway::start(&text).await;
    for body in [responses(&json!("hi"), false), json!({ "model": MODEL, "input": "hi" })] {
        let answer = ask(&gateway, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let sent: Value =
            serde_json::from_slice(&upstream.requests().pop().expect("it came").body).expect("it is JSON");
        assert_eq!(sent["max_tokens"], 77, "{sent}");
    }
}

#[tokio::test]
async fn what_only_a_provider_of_responses_can_do_is_refused_by_its_name() {
    let upstream = provider().await;
    let gateway =
        Gateway::start(&(channel("there", "openai", &upstream, "protocols = [\"chat\"]") + &key())).await;
    let body = json!({ "model": MODEL, "input": "hi", "previous_response_id": "resp_1" });
    let answer = ask(&gateway, &body).await;
    assert_eq!(
        (answer.status, answer.json()["error"]["code"].as_str()),
        (400, Some("untranslatable_request"))
    );
    assert!(answer.text().contains("previous_response_id"), "{}", answer.text());
    assert_eq!(upstream.requests().len(), 0);
}

//! Rounds with tools: what orders a call and thinking, how each API says it, and which conversations are refused.

use crate::client::{ANTHROPIC, GEMINI, OPENAI, ask, events, fake, post};
use serde_json::{Value, json};
use tollgate_loadtest::full_text;

/// One of the four conversational APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speech {
    Chat,
    Responses,
    Messages,
    Gemini,
}

use Speech::{Chat, Gemini, Messages, Responses};

const ALL: [Speech; 4] = [Chat, Responses, Messages, Gemini];
const ARGUMENTS: &str = r#"{"city":"Zürich \"$text\"","days":3}"#;

impl Speech {
    /// A request with one tool, `look`, that has this conversation.
    fn request(self, conversation: &Value, stream: bool) -> String {
        let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
        let tool = json!({ "name": "look", "description": "Looks.", "parameters": schema });
        let (path, headers, body) = match self {
            Chat => (
                "/v1/chat/completions",
                OPENAI,
                json!({ "model": "m", "messages": conversation, "stream": stream,
                    "tools": [{ "type": "function", "function": tool }] }),
            ),
            Responses => {
                let mut tool = tool;
                tool["type"] = json!("function");
                (
                    "/v1/responses",
                    OPENAI,
                    json!({ "model": "m", "input": conversation, "stream": stream, "tools": [tool] }),
                )
            }
            Messages => (
                "/v1/messages",
                ANTHROPIC,
                json!({ "model": "m", "max_tokens": 9, "messages": conversation, "stream": stream,
                    "tools": [{ "name": "look", "input_schema": schema }] }),
            ),
            Gemini => {
                let verb = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
                let body = json!({ "contents": conversation, "tools": [{ "functionDeclarations": [tool] }] });
                return post(&format!("/v1beta/models/m:{verb}"), GEMINI, &body.to_string());
            }
        };
        post(path, headers, &body.to_string())
    }

    fn user(self, text: &str) -> Value {
        match self {
            Gemini => json!([{ "role": "user", "parts": [{ "text": text }] }]),
            _ => json!([{ "role": "user", "content": text }]),
        }
    }

    /// What the model's answer adds to the conversation, from the whole answer.
    fn turn(self, answer: &Value) -> Vec<Value> {
        match self {
            Chat => vec![answer["choices"][0]["message"].clone()],
            Responses => answer["output"].as_array().expect("items").clone(),
            Messages => vec![json!({ "role": "assistant", "content": answer["content"] })],
            Gemini => vec![answer["candidates"][0]["content"].clone()],
        }
    }

    /// The result of a call with this id, or of this tool where there are no ids.
    fn result(self, id: &str, text: &str) -> Value {
        match self {
            Chat => json!({ "role": "tool", "tool_call_id": id, "content": text }),
            Responses => json!({ "type": "function_call_output", "call_id": id, "output": text }),
            Messages => json!({ "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": id, "content": [{ "type": "text", "text": text }] } ] }),
            Gemini => json!({ "role": "user", "parts": [
                { "functionResponse": { "name": id, "response": { "output": text } } } ] }),
        }
    }

    fn id(self, number: usize) -> String {
        match self {
            Chat | Responses => format!("call_fake_{number}"),
            Messages => format!("toolu_fake_{number}"),
            Gemini => "look".to_owned(),
        }
    }

    /// Thinking, calls as name and arguments, text, and why it ended: of a whole answer.
    fn read(self, answer: &Value) -> Said {
        let mut said = Said::default();
        match self {
            Chat => {
                let message = &answer["choices"][0]["message"];
                said.thought = string(&message["reasoning_content"]);
                said.text = string(&message["content"]);
                for call in items(&message["tool_calls"]) {
                    said.call(&call["function"]["name"], &parsed(&call["function"]["arguments"]));
                }
                said.end = string(&answer["choices"][0]["finish_reason"]);
            }
            Responses => {
                for item in items(&answer["output"]) {
                    said.thought += &string(&item["summary"][0]["text"]);
                    said.text += &string(&item["content"][0]["text"]);
                    if item["type"] == "function_call" {
                        said.call(&item["name"], &parsed(&item["arguments"]));
                    }
                }
                said.end = string(&answer["status"]);
            }
            Messages => {
                for block in items(&answer["content"]) {
                    said.thought += &string(&block["thinking"]);
                    said.text += &string(&block["text"]);
                    if block["type"] == "tool_use" {
                        said.call(&block["name"], &block["input"]);
                    }
                }
                said.end = string(&answer["stop_reason"]);
            }
            Gemini => {
                for part in items(&answer["candidates"][0]["content"]["parts"]) {
                    let text = string(&part["text"]);
                    if part["thought"] == true {
                        said.thought += &text;
                    } else {
                        said.text += &text;
                    }
                    if let Some(call) = part.get("functionCall") {
                        said.call(&call["name"], &call["args"]);
                    }
                }
                said.end = string(&answer["candidates"][0]["finishReason"]);
            }
        }
        said
    }

    /// A whole answer, put together from the events of a stream as a client does.
    fn gather(self, events: &[Value]) -> Value {
        match self {
            Responses => events.last().expect("events")["response"].clone(),
            Gemini => {
                let mut all = events.last().expect("events").clone();
                let parts =
                    events.iter().flat_map(|event| items(&event["candidates"][0]["content"]["parts"]));
                all["candidates"][0]["content"]["parts"] = parts.collect();
                all
            }
            Chat => gather_chat(events),
            Messages => gather_message(events),
        }
    }
}

fn gather_chat(events: &[Value]) -> Value {
    let (mut message, mut calls, mut finish) =
        (json!({ "content": "", "reasoning_content": "" }), Vec::new(), Value::Null);
    for choice in events.iter().map(|event| &event["choices"][0]) {
        for member in ["content", "reasoning_content"] {
            message[member] = (string(&message[member]) + &string(&choice["delta"][member])).into();
        }
        for fragment in items(&choice["delta"]["tool_calls"]) {
            let at = usize::try_from(fragment["index"].as_u64().expect("an index")).expect("small");
            if at == calls.len() {
                calls.push(fragment);
            } else {
                let arguments = &mut calls[at]["function"]["arguments"];
                *arguments = (string(arguments) + &string(&fragment["function"]["arguments"])).into();
            }
        }
        if !choice["finish_reason"].is_null() {
            finish = choice["finish_reason"].clone();
        }
    }
    message["tool_calls"] = calls.into();
    json!({ "choices": [{ "message": message, "finish_reason": finish }] })
}

fn gather_message(events: &[Value]) -> Value {
    let (mut blocks, mut json_text, mut stop) = (Vec::new(), String::new(), Value::Null);
    for event in events {
        match event["type"].as_str().expect("a type") {
            "content_block_start" => {
                assert_eq!(event["index"], blocks.len(), "blocks are numbered");
                blocks.push(event["content_block"].clone());
                json_text.clear();
            }
            "content_block_delta" => {
                let block = blocks.last_mut().expect("it was started");
                for member in ["text", "thinking", "signature"] {
                    if let Some(piece) = event["delta"][member].as_str() {
                        block[member] = (string(&block[member]) + piece).into();
                    }
                }
                json_text += event["delta"]["partial_json"].as_str().unwrap_or_default();
            }
            "content_block_stop" if !json_text.is_empty() => {
                blocks.last_mut().expect("it was started")["input"] =
                    serde_json::from_str(&json_text).expect("JSON");
            }
            "message_delta" => stop = event["delta"]["stop_reason"].clone(),
            _ => {}
        }
    }
    json!({ "content": blocks, "stop_reason": stop })
}

#[derive(Debug, Default, PartialEq)]
struct Said {
    thought: String,
    text: String,
    calls: Vec<(String, Value)>,
    end: String,
}

impl Said {
    fn call(&mut self, name: &Value, arguments: &Value) {
        self.calls.push((string(name), arguments.clone()));
    }
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn items(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn parsed(text: &Value) -> Value {
    serde_json::from_str(text.as_str().expect("a string")).expect("JSON")
}

/// Asks whole and streamed; both must say the same.
async fn said(fake: &tollgate_loadtest::Provider, speech: Speech, conversation: &Value) -> (Said, Value) {
    let whole = ask(fake, &speech.request(conversation, false)).await;
    assert_eq!(whole.status, 200, "{speech:?}: {}", whole.text());
    let stream = ask(fake, &speech.request(conversation, true)).await;
    let events: Vec<Value> = events(&stream.text())
        .iter()
        .filter(|data| *data != "[DONE]")
        .map(|data| serde_json::from_str(data).expect("JSON"))
        .collect();
    let whole = whole.json();
    let (said, streamed) = (speech.read(&whole), speech.read(&speech.gather(&events)));
    assert_eq!(said, streamed, "{speech:?}");
    if speech == Responses {
        let numbers: Vec<_> = events.iter().map(|event| event["sequence_number"].as_u64()).collect();
        let expected: Vec<_> = (0..events.len() as u64).map(Some).collect();
        assert_eq!(numbers, expected, "events are numbered");
        assert_eq!(events.last().expect("events")["response"]["output"], whole["output"]);
    }
    (said, whole)
}

#[tokio::test]
async fn a_round_of_calls_results_and_a_quote_in_every_api() {
    let fake = fake().await;
    let expected: Value = serde_json::from_str(ARGUMENTS).expect("JSON");
    for speech in ALL {
        let order =
            format!("[[think]] Do [[call look {ARGUMENTS}]] and [[call look {{}}]] [[call hide {{}}]]");
        let mut conversation = speech.user(&order);
        let (first, whole) = said(&fake, speech, &conversation).await;
        let calls = vec![("look".to_owned(), expected.clone()), ("look".to_owned(), json!({}))];
        assert_eq!((&first.calls, first.text.as_str()), (&calls, ""), "{speech:?}");
        assert_eq!(first.thought, "Let me think: 思考, then answer.", "{speech:?}");
        let ends = match speech {
            Chat => "tool_calls",
            Responses => "completed",
            Messages => "tool_use",
            Gemini => "STOP",
        };
        assert_eq!(first.end, ends, "{speech:?}");

        let turns = conversation.as_array_mut().expect("turns");
        turns.extend(speech.turn(&whole));
        let results = [speech.result(&speech.id(0), "sunny $text"), speech.result(&speech.id(1), "rain")];
        if speech == Gemini {
            let parts: Vec<Value> = results.iter().map(|result| result["parts"][0].clone()).collect();
            turns.push(json!({ "role": "user", "parts": parts }));
        } else {
            turns.extend(results);
        }
        let (second, whole) = said(&fake, speech, &conversation).await;
        assert_eq!(second.text, "The tool answered: sunny $text\nrain", "{speech:?}");
        assert!(second.calls.is_empty() && !second.thought.is_empty(), "{speech:?}");

        let turns = conversation.as_array_mut().expect("turns");
        turns.extend(speech.turn(&whole));
        turns.extend(items(&speech.user("And now?")));
        let (third, _) = said(&fake, speech, &conversation).await;
        assert_eq!((third.text, third.thought), (full_text(4), String::new()), "{speech:?}");
        conversation.as_array_mut().expect("turns").pop();
        conversation.as_array_mut().expect("turns").extend(items(&speech.user("[[call look {}]]")));
        let (_, whole) = said(&fake, speech, &conversation).await;
        let id = if speech == Gemini { "look".to_owned() } else { speech.id(2) };
        assert!(whole.to_string().contains(&format!("{id:?}")), "ids go on counting: {whole}");
    }
}

#[tokio::test]
async fn conversations_whose_tools_do_not_fit_together_are_refused() {
    let fake = fake().await;
    for speech in ALL {
        let ordered = speech.user("[[call look {}]]");
        let (_, whole) = said(&fake, speech, &ordered).await;
        let called = [items(&ordered), speech.turn(&whole)].concat();
        let with = |more: &[Value]| Value::from([called.clone(), more.to_vec()].concat());
        let id = speech.id(0);
        let foreign = [speech.result("call_foreign", "x")];
        let twice = [speech.result(&id, "x"), speech.result(&id, "y")];
        let orphan = [items(&ordered), vec![speech.result(&id, "x")]].concat();
        let unanswered = with(&items(&speech.user("go on")));
        for (what, conversation) in [
            ("another id", with(&foreign)),
            ("twice", with(&twice)),
            ("no call", Value::from(orphan)),
            ("no result", unanswered),
            ("nothing after it", with(&[])),
        ] {
            let answer = ask(&fake, &speech.request(&conversation, true)).await;
            assert_eq!(answer.status, 400, "{speech:?} {what}: {}", answer.text());
            let said = answer.text().to_ascii_lowercase();
            assert!(said.contains("tool") || said.contains("function"), "{speech:?} {what}: {said}");
        }
        if speech == Gemini {
            // Once more with the same id, as Gemini CLI resumes: that is one result.
            let mut result = speech.result("look", "x");
            result["parts"][0]["functionResponse"]["id"] = json!("call");
            let parts = json!([result["parts"][0], result["parts"][0]]);
            result["parts"] = parts;
            let answer = ask(&fake, &speech.request(&with(&[result]), false)).await;
            assert_eq!(speech.read(&answer.json()).text, "The tool answered: x");
        }
        let answer = ask(&fake, &speech.request(&with(&[speech.result(&id, "x")]), true)).await;
        assert_eq!(answer.status, 200, "{speech:?}: {}", answer.text());
    }
}

#[tokio::test]
async fn signed_thinking_comes_back_as_it_was_or_not_at_all() {
    let fake = fake().await;
    for speech in [Responses, Messages] {
        let ordered = speech.user("[[think]][[call look {}]]");
        let (_, whole) = said(&fake, speech, &ordered).await;
        let result = speech.result(&speech.id(0), "x");
        let good = Value::from([items(&ordered), speech.turn(&whole), vec![result]].concat());
        let changed = good.to_string().replace("思考", "thinking");
        let changed: Value = serde_json::from_str(&changed).expect("JSON");
        let foreign: Value =
            serde_json::from_str(&changed.to_string().replace("\"Fake", "\"Other")).expect("JSON");
        for (conversation, status) in [(good, 200), (changed, 400), (foreign, 200)] {
            let answer = ask(&fake, &speech.request(&conversation, false)).await;
            assert_eq!(answer.status, status, "{speech:?}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn schemas_and_names_a_provider_does_not_take_are_refused() {
    let fake = fake().await;
    let long = "n".repeat(65);
    let chat = |tools: Value| {
        let body =
            json!({ "model": "m", "messages": [{ "role": "user", "content": "[[think]]" }], "tools": tools });
        post("/v1/chat/completions", OPENAI, &body.to_string())
    };
    let function = |name: &str, more: Value| json!([{ "type": "function", "function": { "name": name, "strict": true, "parameters": more } }]);
    let anthropic = |name: &str, schema: Value| {
        let body = json!({ "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": "[[think]]" }],
            "tools": [{ "name": name, "input_schema": schema }] });
        post("/v1/messages", ANTHROPIC, &body.to_string())
    };
    let gemini = |name: &str, schema: Value| {
        let body = json!({ "contents": [{ "parts": [{ "text": "[[think]]" }] }],
            "tools": [{ "functionDeclarations": [{ "name": name, "parameters": schema }] }] });
        post("/v1beta/models/m:generateContent", GEMINI, &body.to_string())
    };
    let object = json!({ "type": "object", "properties": { "a": { "type": "string" } } });
    let closed = json!({ "type": "object", "properties": { "a": { "type": "string" } }, "required": ["a"], "additionalProperties": false });
    for (request, status, part) in [
        (chat(json!([])), 400, "empty array"),
        (chat(function(&long, closed.clone())), 400, "match pattern"),
        (chat(function("f", json!({}))), 400, "type"),
        (chat(function("f", object.clone())), 400, "additionalProperties"),
        (chat(function("f", closed.clone())), 200, ""),
        (anthropic("a.b", object.clone()), 400, "match pattern"),
        (anthropic("f", json!({ "properties": {} })), 400, "input_schema.type"),
        (anthropic("f", json!({ "type": "object", "anyOf": [] })), 400, "anyOf"),
        (anthropic(&long, closed.clone()), 200, ""),
        (gemini("1f", object.clone()), 400, "Invalid function name"),
        (gemini("f", closed), 400, "Unknown name \\\"additionalProperties\\\""),
        (gemini("f", json!({ "type": ["string", "null"] })), 400, "not repeating"),
        (gemini("f", json!({ "type": "array" })), 400, "items"),
        (gemini("f", json!({ "type": "integer", "enum": [1] })), 400, "STRING"),
        (gemini("f", json!({ "type": "object", "required": ["b"] })), 400, "not defined"),
        (gemini("a.b", object), 200, ""),
    ] {
        let answer = ask(&fake, &request).await;
        assert_eq!(answer.status, status, "{part}: {}", answer.text());
        assert!(answer.text().contains(part), "{part}: {}", answer.text());
    }
}

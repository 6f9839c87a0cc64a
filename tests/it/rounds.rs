//! Rounds with tools and thinking, of every client at a channel of every protocol: what the client sends back must be
//! what the provider takes, which the strict fake judges (ids, order, signatures over unchanged thinking).

use crate::support::client::{self, Answer};
use crate::support::speech::{MODEL, Speech};
use crate::support::{Gateway, KEY, channel, key, provider};
use serde_json::{Value, json};

const ORDER: &str = r#"[[think]] [[call look {"at":"gate 1"}]] [[call look {"at":"gate 2"}]]"#;
const QUOTE: &str = "The tool answered: ";

fn items(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

impl Speech {
    fn user(self, text: &str) -> Value {
        match self {
            Self::Gemini => json!({ "role": "user", "parts": [{ "text": text }] }),
            _ => json!({ "role": "user", "content": text }),
        }
    }

    /// A request with one tool.
    fn talk(self, conversation: &[Value], stream: bool) -> Value {
        let schema = json!({ "type": "object", "properties": { "at": { "type": "string" } } });
        let tool = json!({ "name": "look", "description": "Looks.", "parameters": schema });
        match self {
            Self::Chat => json!({ "model": MODEL, "messages": conversation, "stream": stream,
                "tools": [{ "type": "function", "function": tool }] }),
            Self::Responses => json!({ "model": MODEL, "input": conversation, "stream": stream,
                "store": false, "include": ["reasoning.encrypted_content"],
                "tools": [{ "type": "function", "name": "look", "parameters": schema, "strict": false }] }),
            Self::Messages => json!({ "model": MODEL, "max_tokens": 4096, "messages": conversation,
                "stream": stream, "thinking": { "type": "enabled", "budget_tokens": 1024 },
                "tools": [{ "name": "look", "input_schema": schema }] }),
            Self::Gemini => json!({ "contents": conversation, "tools": [{ "functionDeclarations": [tool] }],
                "generationConfig": { "thinkingConfig": { "includeThoughts": true } } }),
        }
    }

    async fn asks(self, gateway: &Gateway, conversation: &[Value], stream: bool) -> Answer {
        let headers = self.headers(KEY);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let body = self.talk(conversation, stream).to_string();
        client::post(gateway.addr(), &self.path(MODEL, stream), &headers, body.as_bytes()).await
    }

    /// What a client keeps of a whole answer.
    fn turn(self, answer: &Value) -> Vec<Value> {
        match self {
            Self::Chat => vec![answer["choices"][0]["message"].clone()],
            Self::Responses => items(&answer["output"]),
            Self::Messages => vec![json!({ "role": "assistant", "content": answer["content"] })],
            Self::Gemini => vec![answer["candidates"][0]["content"].clone()],
        }
    }

    /// The results of the calls of a turn, each with a number.
    fn results(self, turn: &[Value]) -> Vec<Value> {
        let calls = match self {
            Self::Chat => items(&turn[0]["tool_calls"]),
            Self::Responses => turn.to_vec(),
            Self::Messages => items(&turn[0]["content"]),
            Self::Gemini => items(&turn[0]["parts"]),
        };
        let calls = calls
            .iter()
            .filter(|call| ["gate 1", "gate 2"].iter().any(|at| call.to_string().contains(at)))
            .zip(1..);
        let result = |(call, number): (&Value, u32)| {
            let text = format!("result {number}");
            match self {
                Self::Chat => json!({ "role": "tool", "tool_call_id": call["id"], "content": text }),
                Self::Responses => {
                    json!({ "type": "function_call_output", "call_id": call["call_id"], "output": text })
                }
                Self::Messages => {
                    json!({ "type": "tool_result", "tool_use_id": call["id"], "content": text })
                }
                Self::Gemini => json!({ "functionResponse": { "id": call["functionCall"]["id"],
                    "name": call["functionCall"]["name"], "response": { "output": text } } }),
            }
        };
        let results: Vec<Value> = calls.map(result).collect();
        assert_eq!(results.len(), 2, "{self:?}: {turn:?}");
        match self {
            Self::Chat | Self::Responses => results,
            Self::Messages => vec![json!({ "role": "user", "content": results })],
            Self::Gemini => vec![json!({ "role": "user", "parts": results })],
        }
    }
}

/// What a client leaves out of a turn it sends back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeps {
    All,
    /// Gemini's clients drop thoughts and keep their marks.
    NoThoughts,
}

fn kept(keeps: Keeps, mut turn: Vec<Value>) -> Vec<Value> {
    if keeps == Keeps::NoThoughts {
        for content in &mut turn {
            let parts = items(&content["parts"]);
            content["parts"] = parts.into_iter().filter(|part| part["thought"] != true).collect();
        }
    }
    turn
}

async fn round(gateway: &Gateway, client: Speech, keeps: Keeps, context: &str) {
    let mut conversation = vec![client.user(ORDER)];
    let first = client.asks(gateway, &conversation, false).await;
    assert_eq!(first.status, 200, "{context}: {}", first.text());
    let turn = client.turn(&first.json());
    let results = client.results(&turn);
    conversation.extend(kept(keeps, turn));
    conversation.extend(results);
    let second = client.asks(gateway, &conversation, false).await;
    assert_eq!(second.status, 200, "{context}: {}", second.text());
    for part in [QUOTE, "result 1", "result 2"] {
        assert!(second.text().contains(part), "{context}: {}", second.text());
    }
    conversation.extend(kept(keeps, client.turn(&second.json())));
    conversation.push(client.user("Thank you."));
    let third = client.asks(gateway, &conversation, false).await;
    assert_eq!(third.status, 200, "{context}: {}", third.text());
}

#[tokio::test]
async fn every_client_has_a_round_with_tools_and_thinking_at_every_channel() {
    for there in Speech::ALL {
        let upstream = provider().await;
        let lines = format!("protocols = [\"{}\"]\n", there.word());
        let gateway = Gateway::start(&(channel("there", there.kind(), &upstream, &lines) + &key())).await;
        for client in Speech::ALL {
            round(&gateway, client, Keeps::All, &format!("{client:?} at {there:?}")).await;
        }
        let context = format!("Gemini without thoughts at {there:?}");
        round(&gateway, Speech::Gemini, Keeps::NoThoughts, &context).await;
    }
}

#[tokio::test]
async fn a_message_never_ends_with_thinking_that_shows_nothing() {
    let upstream = provider().await;
    let gateway = Gateway::start(&(channel("there", "gemini", &upstream, "") + &key())).await;
    let conversation = [Speech::Messages.user("[[think]]")];
    for stream in [true, false] {
        let answer = Speech::Messages.asks(&gateway, &conversation, stream).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let blocks: Vec<Value> = if stream {
            let text = answer.text();
            let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
            let events = data.map(|data| serde_json::from_str::<Value>(data).expect("JSON"));
            events
                .filter(|event| event["type"] == "content_block_start")
                .map(|event| event["content_block"].clone())
                .collect()
        } else {
            items(&answer.json()["content"])
        };
        let kinds: Vec<_> = blocks.iter().map(|block| block["type"].as_str()).collect();
        assert_eq!(kinds, [Some("thinking"), Some("text")], "stream {stream}");
    }
    let lost = &gateway.log.lines(2).await[0]["losses"];
    assert!(lost.to_string().contains("signature: dropped"), "what was left out is said: {lost}");
}

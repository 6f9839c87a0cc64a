//! What translation costs beside relaying: a request of 100 KB, and a stream of 500 events, for every pair of protocols.
//!
//! Relaying a request is finding its model and putting another name there; relaying a stream is watching its events. Both are
//! the whole of what the gateway computes for them, so a row beside its protocol's `relayed` row is the price of translation.
//! Run with `cargo bench --locked --bench translate`; compare figures of one run only (docs/performance.md).
#![expect(clippy::expect_used, reason = "a benchmark's set-up fails the benchmark")]

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};
use std::hint::black_box;
use tollgate::protocol::Operation;
use tollgate::protocol::inspect::inspect;
use tollgate::protocol::observe::StreamObserver;
use tollgate::protocol::splice::{Edit, splice};
use tollgate::translate::unified::{Event, Opened, Stop};
use tollgate::translate::{self, Asked, Back, Client, Encoder, Protocol, Target, Translator};
use tollgate::usage::Usage;

const ID: &str = "0123456789abcdef";
const CREATED: u64 = 1_763_000_000;
const REQUEST_BYTES: usize = 100 * 1024;
const EVENTS: usize = 500;
const ASKED: Asked<'static> = Asked { model: "gemini-2.5-pro", stream: true };

fn model(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Chat | Protocol::Responses => "gpt-5.1",
        Protocol::Anthropic => "claude-sonnet-4-5",
        Protocol::Gemini => "gemini-2.5-pro",
    }
}

fn operation(protocol: Protocol) -> Operation {
    match protocol {
        Protocol::Chat => Operation::ChatCompletions,
        Protocol::Responses => Operation::Responses,
        Protocol::Anthropic => Operation::Messages,
        Protocol::Gemini => Operation::StreamGenerateContent,
    }
}

/// A coding agent's conversation: long instructions, a dozen tools, rounds of calls with code as their results.
fn conversation() -> Value {
    let line = "fn main() {\n    println!(\"a \\\"quoted\\\" line\");\n}\n";
    let mut messages = vec![json!({"role": "system", "content": "You write code with care. ".repeat(400)})];
    messages.push(json!({"role": "user", "content": "Mend the build."}));
    let mut bytes = 0;
    for round in 0.. {
        let (id, result) = (format!("call_{round}"), line.repeat(60));
        bytes += result.len() + line.len();
        let call = json!({"id": id, "type": "function", "function": {"name": "tool_3", "arguments": "{\"path\":\"src/main.rs\"}"}});
        messages
            .push(json!({"role": "assistant", "content": "I look at the next file.", "tool_calls": [call]}));
        messages.push(json!({"role": "tool", "tool_call_id": id, "content": result}));
        if bytes > REQUEST_BYTES * 3 / 4 {
            break;
        }
    }
    let schema = json!({"type": "object", "properties": {
        "path": {"type": "string", "description": "The file."}, "from": {"type": "integer"},
    }, "required": ["path"]});
    let tool = |at: usize| {
        json!({"type": "function", "function": {
            "name": format!("tool_{at}"), "description": "Reads a file of the project. ".repeat(20), "parameters": schema,
        }})
    };
    let tools: Vec<Value> = (0..12).map(tool).collect();
    json!({"model": "gpt-5.1", "messages": messages, "tools": tools, "stream": true, "temperature": 1.0})
}

/// The conversation as a client of that protocol sends it.
fn body(protocol: Protocol) -> Bytes {
    let chat = conversation().to_string();
    if protocol == Protocol::Chat {
        return chat.into();
    }
    let request = translate::request(Protocol::Chat, chat.as_bytes(), &Asked::default()).expect("it is read");
    let target =
        Target { protocol, model: model(protocol), stream: true, max_tokens: None, include_usage: true };
    translate::outgoing(&request, &target, ID).expect("it is written").body.freeze()
}

fn client(protocol: Protocol) -> Client {
    let body = body(protocol);
    let request = translate::request(protocol, &body, &ASKED).expect("it is read");
    Client::of(&request, ID, CREATED)
}

fn requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("request");
    for client in Protocol::ALL {
        let body = body(client);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(format!("{}-relayed", client.word()), |bencher| {
            bencher.iter(|| {
                let found = inspect(operation(client), black_box(&body)).expect("it is valid");
                let edit = found.model.map(|model| Edit::text(model.at, "another-name"));
                splice(&body, edit.as_slice())
            });
        });
        for channel in Protocol::ALL.into_iter().filter(|channel| *channel != client) {
            let target = Target {
                protocol: channel,
                model: model(channel),
                stream: true,
                max_tokens: None,
                include_usage: true,
            };
            group.bench_function(format!("{}-to-{}", client.word(), channel.word()), |bencher| {
                bencher.iter(|| {
                    let request = translate::request(client, black_box(&body), &ASKED).expect("it is read");
                    translate::outgoing(&request, &target, ID).expect("it is written").body.len()
                });
            });
        }
    }
    group.finish();
}

/// A stream of that protocol, one chunk for each event as providers send them.
fn stream(protocol: Protocol) -> Vec<Bytes> {
    let mut encoder = Encoder::new(&client(protocol));
    let mut chunks = Vec::new();
    let mut say = |event: &Event<'_>| {
        let mut out = BytesMut::new();
        encoder.event(event, &mut out);
        chunks.push(out.freeze());
    };
    say(&Event::Start { id: "id".into(), model: "model".into() });
    say(&Event::Open(Opened::Text));
    for at in 0..EVENTS {
        say(&Event::Text([" hello", " world,\n", " \"said\"", " the"][at % 4].into()));
    }
    say(&Event::Close);
    say(&Event::Usage(Usage { input: 900, output: 500, ..Usage::default() }));
    say(&Event::Stop(Stop::End));
    say(&Event::End);
    chunks.retain(|chunk| !chunk.is_empty());
    chunks
}

fn streams(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stream");
    group.throughput(Throughput::Elements(EVENTS as u64));
    for provider in Protocol::ALL {
        let chunks = stream(provider);
        group.bench_function(format!("{}-relayed", provider.word()), |bencher| {
            bencher.iter(|| {
                let mut observer = StreamObserver::new(operation(provider), None);
                let mut out = Vec::with_capacity(4);
                for chunk in &chunks {
                    out.clear();
                    observer.feed(black_box(chunk), &mut out);
                }
                observer.usage()
            });
        });
        for to in Protocol::ALL.into_iter().filter(|to| *to != provider) {
            let (client, back) = (client(to), Back::default());
            let mut out = BytesMut::new();
            group.bench_function(format!("{}-to-{}", provider.word(), to.word()), |bencher| {
                bencher.iter(|| {
                    let mut translator = Translator::new(provider, &back, &client);
                    let mut bytes = 0;
                    for chunk in &chunks {
                        out.clear();
                        translator.feed(black_box(chunk), &mut out);
                        bytes += out.len();
                    }
                    (translator.finish(&mut out), bytes)
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, requests, streams);
criterion_main!(benches);

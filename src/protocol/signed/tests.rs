//! What is found, what goes with it, and that nothing else does.

use super::*;
use crate::protocol::splice::splice;
use proptest::prelude::*;
use serde_json::{Value, json};

/// The body without every block, and how many there were.
fn stripped(operation: Operation, body: &str) -> (usize, String) {
    let signed = Signed::find(operation, body.as_bytes());
    let pieces = splice(&Bytes::from(body.to_owned()), &signed.without(&|_| true));
    (signed.blocks().len(), String::from_utf8(pieces.concat()).unwrap())
}

fn check(operation: Operation, rows: &[(&str, usize, &str)]) {
    for (body, count, left) in rows {
        assert_eq!(stripped(operation, body), (*count, (*left).to_owned()), "{body}");
    }
}

#[test]
fn anthropics_blocks_go_with_one_comma() {
    check(
        Operation::Messages,
        &[
            (
                r#"{"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"s"},{"type":"text","text":"a"}]}]}"#,
                1,
                r#"{"messages":[{"role":"assistant","content":[{"type":"text","text":"a"}]}]}"#,
            ),
            (
                r#"{"messages":[{"role":"assistant","content":[{"type":"text","text":"a"} , {"type":"redacted_thinking","data":"d"} ]}]}"#,
                1,
                r#"{"messages":[{"role":"assistant","content":[{"type":"text","text":"a"} ]}]}"#,
            ),
            (
                r#"{"messages":[{"role":"assistant","content":[1,{"type":"thinking","signature":"s"}, {"type":"thinking","signature":"s"} ,2]}]}"#,
                2,
                r#"{"messages":[{"role":"assistant","content":[1 ,2]}]}"#,
            ),
            (
                "{\n  \"messages\": [\n    {\n      \"content\": [\n        {\n          \"type\": \"thinking\",\n          \"signature\": \"s\"\n        },\n        {\n          \"type\": \"text\"\n        }\n      ],\n      \"role\": \"assistant\"\n    }\n  ]\n}\n",
                1,
                "{\n  \"messages\": [\n    {\n      \"content\": [\n        {\n          \"type\": \"text\"\n        }\n      ],\n      \"role\": \"assistant\"\n    }\n  ]\n}\n",
            ),
            // Without a signature of its own it is one all the same, where another has one.
            (
                r#"{"messages":[{"role":"assistant","content":[{"type":"thinking","signature":""},{"type":"thinking"},{"type":"text"}]}]}"#,
                2,
                r#"{"messages":[{"role":"assistant","content":[{"type":"text"}]}]}"#,
            ),
            // Keys and types behind escapes.
            (
                r#"{"m\u0065ssages":[{"r\u006fle":"assist\u0061nt","cont\u0065nt":[{"typ\u0065":"think\u0069ng","signatur\u0065":"s"},3]}]}"#,
                1,
                r#"{"m\u0065ssages":[{"r\u006fle":"assist\u0061nt","cont\u0065nt":[3]}]}"#,
            ),
        ],
    );
}

#[test]
fn a_message_with_nothing_left_goes_too() {
    let only = r#"{"role":"assistant","content":[{"type":"thinking","signature":"s"},{"type":"redacted_thinking","data":"d"}]}"#;
    let user = r#"{"role":"user","content":"u"}"#;
    for (messages, left) in [
        (format!("[{user},{only},{user}]"), format!("[{user},{user}]")),
        (format!("[{user} , {only}]"), format!("[{user}]")),
        (format!("[{only},\n{user}]"), format!("[{user}]")),
        (format!("[ {only} ]"), "[  ]".to_owned()),
        (format!("[{only},{only},{user},{only}]"), format!("[{user}]")),
    ] {
        let body = format!(r#"{{"model":"m","messages":{messages},"n":1}}"#);
        let (_, got) = stripped(Operation::Messages, &body);
        assert_eq!(got, format!(r#"{{"model":"m","messages":{left},"n":1}}"#));
    }
}

#[test]
fn what_only_looks_like_a_block_stays() {
    let block = r#"{"type":"thinking","thinking":"t","signature":"s"}"#;
    let quoted = Value::from(block);
    let bodies = [
        // In a string, in a user's turn, in a tool's result, in a tool's input, as a single value, elsewhere.
        format!(r#"{{"messages":[{{"role":"assistant","content":{quoted}}}]}}"#),
        format!(r#"{{"messages":[{{"role":"assistant","content":[{{"type":"text","text":{quoted}}}]}}]}}"#),
        format!(r#"{{"messages":[{{"role":"user","content":[{block}]}}]}}"#),
        format!(r#"{{"messages":[{{"role":"assistant","role":"user","content":[{block}]}}]}}"#),
        format!(r#"{{"messages":[{{"content":[{block}]}}]}}"#),
        format!(
            r#"{{"messages":[{{"role":"assistant","content":[{{"type":"tool_result","content":[{block}]}}]}}]}}"#
        ),
        format!(
            r#"{{"messages":[{{"role":"assistant","content":[{{"type":"tool_use","input":{block}}}]}}]}}"#
        ),
        format!(r#"{{"messages":[{{"role":"assistant","content":{block}}}]}}"#),
        format!(r#"{{"messages":{{"role":"assistant","content":[{block}]}}}}"#),
        format!(r#"{{"other":[{{"role":"assistant","content":[{block}]}}]}}"#),
        format!(r#"{{"x":{{"messages":[{{"role":"assistant","content":[{block}]}}]}}}}"#),
        r#"{"messages":[{"role":"assistant","content":[{"type":"thinking","type":"text","signature":"s"}]}]}"#
            .to_owned(),
    ];
    for body in bodies {
        serde_json::from_str::<Value>(&body).expect("the test's body is JSON");
        assert_eq!(stripped(Operation::Messages, &body), (0, body.clone()));
    }
    let body = format!(r#"{{"messages":[{{"role":"assistant","content":[{block}]}}]}}"#);
    assert_eq!(stripped(Operation::ChatCompletions, &body), (0, body));
}

#[test]
fn of_keys_that_are_there_twice_the_last_one_counts_and_none_keeps_a_block() {
    check(
        Operation::Messages,
        &[
            (
                r#"{"messages":[{"role":"assistant","content":[{"type":"thinking","signature":"s"}],"content":[1]}]}"#,
                1,
                r#"{"messages":[{"role":"assistant","content":[],"content":[1]}]}"#,
            ),
            (
                r#"{"messages":[0,{"role":"assistant","content":[1],"content":[{"type":"thinking","signature":"s"}]}]}"#,
                1,
                r#"{"messages":[0]}"#,
            ),
            (
                r#"{"messages":[{"role":"assistant","content":[{"type":"thinking","signature":"s"}],"content":"x"}]}"#,
                1,
                r#"{"messages":[{"role":"assistant","content":[],"content":"x"}]}"#,
            ),
            (
                r#"{"messages":[{"role":"assistant","content":[{"type":"text","type":"thinking","signature":"s"},1]}],"messages":[{"role":"assistant","content":[2,{"type":"thinking","signature":"s"}]}]}"#,
                2,
                r#"{"messages":[{"role":"assistant","content":[1]}],"messages":[{"role":"assistant","content":[2]}]}"#,
            ),
        ],
    );
}

#[test]
fn openais_reasoning_goes_and_what_was_done_after_it_stays() {
    check(
        Operation::Responses,
        &[
            (
                r#"{"input":[{"role":"user","content":"u"},{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAA"},{"type":"function_call","name":"f"}]}"#,
                1,
                r#"{"input":[{"role":"user","content":"u"},{"type":"function_call","name":"f"}]}"#,
            ),
            // One without encrypted content stands for what the provider keeps.
            (
                r#"{"input":[{"type":"reasoning","encrypted_content":"gAAA"},{"type":"reasoning","encrypted_content":null}]}"#,
                2,
                r#"{"input":[]}"#,
            ),
            // A compaction is the conversation itself.
            (
                r#"{"input":[{"type":"compaction","encrypted_content":"gAAA"}]}"#,
                0,
                r#"{"input":[{"type":"compaction","encrypted_content":"gAAA"}]}"#,
            ),
            (r#"{"input":"encrypted_content"}"#, 0, r#"{"input":"encrypted_content"}"#),
        ],
    );
}

#[test]
fn geminis_signature_goes_alone_and_a_call_keeps_the_documented_placeholder() {
    check(
        Operation::GenerateContent,
        &[
            (
                r#"{"contents":[{"role":"model","parts":[{"text":"a", "thoughtSignature":"s"},{"thought_signature":"s","text":"b"}]}]}"#,
                2,
                r#"{"contents":[{"role":"model","parts":[{"text":"a"},{"text":"b"}]}]}"#,
            ),
            (
                r#"{"contents":[{"parts":[{"functionCall":{"name":"f","args":{"thoughtSignature":"x"}},"thoughtSignature":"s"}]}]}"#,
                1,
                r#"{"contents":[{"parts":[{"functionCall":{"name":"f","args":{"thoughtSignature":"x"}},"thoughtSignature":"skip_thought_signature_validator"}]}]}"#,
            ),
            (
                r#"{"contents":[{"parts":[{"text":"a"},{"thoughtSignature":"s"}]},{"parts":[{"thoughtSignature":"s"}]}]}"#,
                2,
                r#"{"contents":[{"parts":[{"text":"a"}]}]}"#,
            ),
            // Google reads one object as a list of one.
            (
                r#"{"contents":{"parts":{"text":"a","thoughtSignature":"s"}}}"#,
                1,
                r#"{"contents":{"parts":{"text":"a"}}}"#,
            ),
            (r#"{"contents":{"parts":{"thoughtSignature":"s"}}}"#, 1, r#"{"contents":{"parts":{}}}"#),
        ],
    );
}

#[test]
fn only_the_blocks_that_are_asked_for_go() {
    let body = r#"{"messages":[{"role":"assistant","content":[{"type":"thinking","signature":"a"},{"type":"thinking","signature":"b"},{"type":"thinking","signature":"c"}]}]}"#;
    let signed = Signed::find(Operation::Messages, body.as_bytes());
    let expected = ["a", "b", "c"].map(Block::of);
    assert_eq!(signed.blocks(), expected);
    for kept in 0..8u32 {
        let gone = |number: usize| kept >> number & 1 == 0;
        let pieces = splice(&Bytes::from_static(body.as_bytes()), &signed.without(&gone)).concat();
        let left: Value = serde_json::from_slice(&pieces).unwrap();
        let names: Vec<_> = ["a", "b", "c"]
            .into_iter()
            .enumerate()
            .filter(|(n, _)| !gone(*n))
            .map(|(_, name)| name)
            .collect();
        let found: Vec<_> = left["messages"][0]["content"]
            .as_array()
            .map(|content| content.iter().filter_map(|block| block["signature"].as_str()).collect())
            .unwrap_or_default();
        assert_eq!(found, names);
    }
}

#[test]
fn what_another_family_signed_is_known_by_its_seal() {
    for (operation, body, sealed) in [
        (
            Operation::Messages,
            r#"{"messages":[{"role":"assistant","content":[{"type":"thinking","signature":"tollgate.01.g.c2ln"},{"type":"thinking","signature":"c2ln"},{"type":"redacted_thinking","data":"tollgate.01.o.rs_1:gAAA"}]}]}"#,
            &[true, false, true][..],
        ),
        (
            Operation::Responses,
            r#"{"input":[{"type":"reasoning","encrypted_content":"tollgate.01.a.EqQB"},{"type":"reasoning","encrypted_content":"gAAA tollgate.01.a.EqQB"},{"type":"reasoning","encrypted_content":null}]}"#,
            &[true, false, false],
        ),
        (
            Operation::GenerateContent,
            r#"{"contents":[{"role":"model","parts":[{"functionCall":{"name":"f"},"thoughtSignature":"dG9sbGdhdGUuMDEuYS5FcVFC"},{"text":"x","thoughtSignature":"dG9s"}]}]}"#,
            &[true, false],
        ),
    ] {
        let found: Vec<_> =
            Signed::find(operation, body.as_bytes()).blocks().iter().map(|block| block.sealed).collect();
        assert_eq!(found, sealed, "{body}");
    }
}

#[test]
fn a_digest_tells_signatures_apart_by_their_end_and_their_length() {
    let long = "x".repeat(4 * DIGESTED_BYTES);
    assert_eq!(SignatureDigest::of(&long), SignatureDigest::of(&long.clone()));
    assert_ne!(SignatureDigest::of(&long), SignatureDigest::of(&format!("{long}x")));
    assert_ne!(SignatureDigest::of(&format!("{long}a")), SignatureDigest::of(&format!("{long}b")));
    assert_eq!(SignatureDigest::of(""), None);
}

#[test]
fn answers_give_their_signatures_whole_or_event_by_event() {
    for (grammar, answer, given_) in [
        (
            Grammar::Messages,
            r#"{"content":[{"type":"thinking","thinking":"t","signature":"a\/b"},{"type":"redacted_thinking","data":"d"},{"type":"text","text":"x"}]}"#,
            &["a/b", "d"][..],
        ),
        (
            Grammar::Messages,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"a"}}"#,
            &["a"],
        ),
        (
            Grammar::Messages,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"signature_delta","signature":"a"}}"#,
            &[],
        ),
        (
            Grammar::Messages,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
            &[],
        ),
        (
            Grammar::Messages,
            r#"{"type":"content_block_start","content_block":{"type":"redacted_thinking","data":"d"}}"#,
            &["d"],
        ),
        (
            Grammar::Responses,
            r#"{"output":[{"type":"reasoning","encrypted_content":"e"},{"type":"message"}]}"#,
            &["e"],
        ),
        (
            Grammar::Responses,
            r#"{"type":"response.output_item.done","item":{"type":"reasoning","encrypted_content":"e"}}"#,
            &["e"],
        ),
        (
            Grammar::Gemini,
            r#"{"candidates":[{"content":{"parts":[{"text":"","thoughtSignature":"g"}]}}]}"#,
            &["g"],
        ),
        (
            Grammar::Gemini,
            r#"[{"candidates":[{"content":{"parts":[{"thoughtSignature":"g"}]}}]},{"candidates":[{"content":{"parts":[{"thoughtSignature":"h"}]}}]}]"#,
            &["g", "h"],
        ),
        (Grammar::Chat, r#"{"signature":"x"}"#, &[]),
    ] {
        let mut found = Vec::new();
        given(grammar, answer.as_bytes(), &mut found);
        let expected: Vec<_> = given_.iter().filter_map(|signature| SignatureDigest::of(signature)).collect();
        assert_eq!(found, expected, "{answer}");
    }
}

#[test]
fn more_blocks_than_any_conversation_has_are_left_as_they_are() {
    let block = r#"{"type":"thinking","signature":"s"}"#;
    let content = vec![block; SIGNED_BLOCKS_MAX + 2].join(",");
    let body = format!(r#"{{"messages":[{{"role":"assistant","content":[{content}]}}]}}"#);
    let left = format!(r#"{{"messages":[{{"role":"assistant","content":[{block},{block}]}}]}}"#);
    assert_eq!(stripped(Operation::Messages, &body), (SIGNED_BLOCKS_MAX, left));
}

/// Text that looks like what is sought.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("thinking".to_owned()),
        Just(r#"{"type":"thinking","signature":"s"},"#.to_owned()),
        Just("\",\"signature\":[{\\".to_owned()),
        ".{0,12}",
    ]
}

fn blocks() -> impl Strategy<Value = Value> {
    prop_oneof![
        (texts(), texts()).prop_map(|(thinking, signature)| {
            json!({"type": "thinking", "thinking": thinking, "signature": format!("{signature}s")})
        }),
        texts().prop_map(|data| json!({"type": "redacted_thinking", "data": data})),
        texts().prop_map(|text| json!({"type": "text", "text": text})),
        texts().prop_map(
            |text| json!({"type": "tool_result", "content": [{"type": "thinking", "signature": text}]})
        ),
        Just(json!({"type": "tool_use", "input": {"role": "assistant", "content": [{"type": "thinking"}]}})),
    ]
}

fn messages() -> impl Strategy<Value = Value> {
    let role = prop_oneof![Just("assistant"), Just("user")];
    let content = prop_oneof![
        prop::collection::vec(blocks(), 0..6).prop_map(Value::from),
        texts().prop_map(Value::from),
    ];
    let message = (role, content).prop_map(|(role, content)| json!({"role": role, "content": content}));
    prop::collection::vec(message, 0..6).prop_map(Value::from)
}

/// The same conversation without its blocks, made by a JSON library.
fn expected(mut body: Value) -> Value {
    let messages = body["messages"].as_array_mut().unwrap();
    messages.retain_mut(|message| {
        let assistant = message["role"] == "assistant";
        let Some(content) = message["content"].as_array_mut().filter(|_| assistant) else { return true };
        let before = content.len();
        content.retain(|block| block["type"] != "thinking" && block["type"] != "redacted_thinking");
        before == 0 || !content.is_empty()
    });
    body
}

proptest! {
    #[test]
    fn what_remains_is_the_same_json_without_the_blocks(
        messages in messages(), text in texts(), pretty in any::<bool>(),
    ) {
        // The word is somewhere, so that the walk happens.
        let body = json!({"a": text, "messages": messages, "z": {"signature": 1}});
        let bytes = if pretty { serde_json::to_string_pretty(&body) } else { serde_json::to_string(&body) };
        let (_, left) = stripped(Operation::Messages, &bytes.unwrap());
        prop_assert_eq!(serde_json::from_str::<Value>(&left).unwrap(), expected(body));
    }

    #[test]
    fn nothing_that_is_not_json_makes_the_walk_fall(garbage in "[\\[\\]{}\",:\\\\a ]{0,40}", start in 0usize..2) {
        let head = [r#"{"z":"thoughtSignature","contents":[{"parts":[{"thoughtSignature":"s"},"#, ""][start];
        let text = format!("{head}{garbage}");
        let signed = Signed::find(Operation::GenerateContent, text.as_bytes());
        drop(splice(&Bytes::from(text.clone()), &signed.without(&|_| true)));
        given(Grammar::Gemini, text.as_bytes(), &mut Vec::new());
    }
}

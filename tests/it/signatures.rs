//! A conversation with thinking that one provider signed goes to another one without it, or not at all.

use crate::support::client::{self, Answer, Ended};
use crate::support::speech::{MODEL, Speech};
use crate::support::{Gateway, KEY, channel, credential, key, provider};
use serde_json::{Value, json};
use tollgate_loadtest::{Fault, Provider, Selector};

/// The protocols that have signed thinking.
const SPEECHES: [Speech; 3] = [Speech::Messages, Speech::Responses, Speech::Gemini];

/// A conversation with thinking of this signature, and the same without it.
fn conversation(speech: Speech, signature: &str, stream: bool) -> (String, String) {
    let (text, block, other) = match speech {
        Speech::Messages => (
            r#"{"model":"some-model", "stream":@,"max_tokens":9,"messages":[{"role":"user","content":"\"type\":\"thinking\" é"},
                {"role":"assistant","content":[#{"type":"tool_use","id":"t","name":"f","input":{"type":"thinking","signature":"x"}}]},
                {"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"{\"type\":\"thinking\"}"}]}]}"#,
            format!(r#"{{"type":"thinking","thinking":"hm","signature":"{signature}"}}, "#),
            "",
        ),
        Speech::Responses => (
            r#"{"model":"some-model","stream":@, "input":[{"role":"user","content":"\"encrypted_content\""} #, {"type":"message","role":"assistant","content":[]}]}"#,
            format!(r#",{{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"{signature}"}}"#),
            "",
        ),
        Speech::Gemini => (
            r#"{"contents":[{"role":"user","parts":[{"text":"thoughtSignature"}]},{"role":"model","parts":[{"functionCall":{"name":"f","args":{}}, "thoughtSignature":#}]},{"role":"user","parts":[{"functionResponse":{"name":"f","response":{}}}]}]}"#,
            format!("\"{signature}\""),
            "\"skip_thought_signature_validator\"",
        ),
        Speech::Chat => unreachable!("it has no signed thinking"),
    };
    let text = text.replace('@', &stream.to_string());
    // The space before an item stays with what is before it, one after the comma goes with the block.
    let other = if speech == Speech::Responses { text.replace(" #", "") } else { text.replace('#', other) };
    let text =
        if speech == Speech::Responses { text.replace(" #", &block) } else { text.replace('#', &block) };
    (text, other)
}

/// An answer whose thinking has this signature.
fn signed(speech: Speech, signature: &str, stream: bool) -> Fault {
    let (kind, body) = match (speech, stream) {
        (Speech::Messages, false) => (
            "application/json",
            format!(
                r#"{{"id":"m","type":"message","role":"assistant","model":"some-model","content":[{{"type":"thinking","thinking":"hm","signature":"{signature}"}},{{"type":"text","text":"a"}}],"stop_reason":"end_turn","usage":{{"input_tokens":1,"output_tokens":1}}}}"#
            ),
        ),
        (Speech::Messages, true) => (
            "text/event-stream",
            format!(
                "event: message_start\ndata: {{\"type\":\"message_start\",\"message\":{{\"id\":\"m\",\"model\":\"some-model\",\"usage\":{{\"input_tokens\":1,\"output_tokens\":1}}}}}}\n\n\
                 event: content_block_start\ndata: {{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}}}\n\n\
                 event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"signature_delta\",\"signature\":\"{signature}\"}}}}\n\n\
                 event: message_stop\ndata: {{\"type\":\"message_stop\"}}\n\n"
            ),
        ),
        (Speech::Responses, false) => (
            "application/json",
            format!(
                r#"{{"id":"r","model":"some-model","output":[{{"type":"reasoning","encrypted_content":"{signature}"}}],"usage":{{"input_tokens":1,"output_tokens":1}}}}"#
            ),
        ),
        (Speech::Responses, true) => (
            "text/event-stream",
            format!(
                "event: response.output_item.done\ndata: {{\"type\":\"response.output_item.done\",\"item\":{{\"type\":\"reasoning\",\"encrypted_content\":\"{signature}\"}}}}\n\n\
                 event: response.completed\ndata: {{\"type\":\"response.completed\",\"response\":{{\"model\":\"some-model\",\"usage\":{{\"input_tokens\":1,\"output_tokens\":1}}}}}}\n\n"
            ),
        ),
        (Speech::Gemini, stream) => {
            let chunk = format!(
                r#"{{"candidates":[{{"content":{{"parts":[{{"functionCall":{{"name":"f"}},"thoughtSignature":"{signature}"}}]}},"finishReason":"STOP"}}],"modelVersion":"some-model","usageMetadata":{{"promptTokenCount":1,"candidatesTokenCount":1}}}}"#
            );
            if stream {
                ("text/event-stream", format!("data: {chunk}\n\n"))
            } else {
                ("application/json", chunk)
            }
        }
        (Speech::Chat, _) => unreachable!("it has no signed thinking"),
    };
    let length = body.len();
    Fault::Raw(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    ))
}

/// What the provider says of a signature that is not its own.
fn unverified(speech: Speech) -> &'static str {
    match speech {
        Speech::Messages => {
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"messages.1.content.0: Invalid `signature` in `thinking` block"}}"#
        }
        Speech::Responses => {
            r#"{"error":{"message":"The encrypted content gAAA...DQ== could not be verified.","type":"invalid_request_error","param":null,"code":"invalid_encrypted_content"}}"#
        }
        _ => r#"{"error":{"code":400,"message":"Corrupted thought signature.","status":"INVALID_ARGUMENT"}}"#,
    }
}

fn refuses(speech: Speech) -> Fault {
    let json = ("content-type".to_owned(), "application/json".to_owned());
    Fault::Status { status: 400, headers: vec![json], body: Some(unverified(speech).to_owned()) }
}

fn fails() -> Fault {
    Fault::Status { status: 503, headers: Vec::new(), body: None }
}

async fn ask(gateway: &Gateway, speech: Speech, stream: bool, body: &str) -> Answer {
    let headers = speech.headers(KEY);
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    client::post(gateway.addr(), &speech.path(MODEL, stream), &headers, body.as_bytes()).await
}

fn bodies(provider: &Provider) -> Vec<String> {
    let text = |body: &[u8]| String::from_utf8(body.to_vec()).expect("text");
    provider.requests().iter().map(|request| text(&request.body)).collect()
}

/// A gateway before two providers, of which the first has signed `sig-of-first`.
async fn after_a_signed_answer(speech: Speech, stream: bool, second_more: &str) -> (Gateway, [Provider; 2]) {
    let (first, second) = (provider().await, provider().await);
    let text = key()
        + &channel("first", speech.kind(), &first, "priority = 0")
        + &channel("second", speech.kind(), &second, &format!("priority = 1\n{second_more}"));
    let gateway = Gateway::start(&text).await;
    first.script(Selector::Any, vec![signed(speech, "sig-of-first", stream)]);
    let answer = speech.ask(gateway.addr(), MODEL, stream).await;
    assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{speech:?} {}", answer.text());
    assert!(answer.text().contains("sig-of-first"), "{speech:?} {}", answer.text());
    gateway.log.line().await;
    (gateway, [first, second])
}

#[tokio::test]
async fn a_conversation_that_leaves_its_signer_leaves_its_thinking_behind() {
    for speech in SPEECHES {
        for stream in [true, false] {
            let context = format!("{speech:?} stream={stream}");
            let (gateway, [first, second]) = after_a_signed_answer(speech, stream, "").await;
            let (body, without) = conversation(speech, "sig-of-first", stream);
            let answer = ask(&gateway, speech, stream, &body).await;
            assert_eq!(answer.status, 200, "{context} {}", answer.text());
            // At home nothing is touched.
            assert_eq!(bodies(&first)[1], body, "{context}");
            assert_eq!(gateway.log.lines(2).await[1]["thinking_stripped"], 0, "{context}");
            first.script_forever(Selector::Any, fails());
            let answer = ask(&gateway, speech, stream, &body).await;
            assert_eq!(answer.status, 200, "{context} {}", answer.text());
            assert_eq!(
                (bodies(&first)[2].as_str(), bodies(&second)),
                (body.as_str(), vec![without]),
                "{context}"
            );
            let line = gateway.log.lines(3).await.remove(2);
            assert_eq!(
                (&line["thinking_stripped"], &line["channel"]),
                (&json!(1), &json!("second")),
                "{context}"
            );
            let counted = gateway.count("tollgate_thinking_stripped_total{channel=\"second\"}").await;
            assert_eq!(counted, 1, "{context}");
            // A signature nobody gave is nobody's: it is the provider's to judge.
            let (unknown, _) = conversation(speech, "sig-of-nobody", stream);
            ask(&gateway, speech, stream, &unknown).await;
            assert_eq!(bodies(&second)[1], unknown, "{context}");
        }
    }
}

#[tokio::test]
async fn another_name_and_no_thinking_go_together() {
    for speech in [Speech::Messages, Speech::Responses] {
        let map = format!("model_map = {{ {MODEL} = \"other\" }}");
        let (gateway, [first, second]) = after_a_signed_answer(speech, false, &map).await;
        first.script_forever(Selector::Any, fails());
        let (body, without) = conversation(speech, "sig-of-first", false);
        let answer = ask(&gateway, speech, false, &body).await;
        assert_eq!(answer.status, 200, "{speech:?} {}", answer.text());
        assert_eq!(bodies(&second), [without.replacen(MODEL, "other", 1)], "{speech:?}");
    }
}

#[tokio::test]
async fn who_refuses_foreign_thinking_is_passed_over() {
    for speech in SPEECHES {
        let (gateway, [first, second]) =
            after_a_signed_answer(speech, true, "foreign_thinking = \"refuse\"").await;
        let (body, _) = conversation(speech, "sig-of-first", true);
        first.script_forever(Selector::Any, fails());
        let answer = ask(&gateway, speech, true, &body).await;
        assert_eq!(answer.status, 503, "{speech:?} {}", answer.text());
        assert_eq!(second.request_count(), 0, "{speech:?}");
        // What nobody signed may go there.
        let answer = speech.ask(gateway.addr(), MODEL, true).await;
        assert_eq!((answer.status, second.request_count()), (200, 1), "{speech:?} {}", answer.text());
    }
}

#[tokio::test]
async fn where_nobody_takes_the_thinking_the_client_is_told_what_to_do() {
    for speech in SPEECHES {
        let (gateway, [_first, second]) = after_a_signed_answer(speech, false, "").await;
        let only = channel("second", speech.kind(), &second, "foreign_thinking = \"refuse\"");
        gateway.reload("", &(key() + &only)).expect("it is good");
        let (body, _) = conversation(speech, "sig-of-first", false);
        let answer = ask(&gateway, speech, false, &body).await;
        assert_eq!((answer.status, second.request_count()), (400, 0), "{speech:?} {}", answer.text());
        let error: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let message = error["error"]["message"].as_str().expect("a message");
        assert!(message.contains("another AI provider signed"), "{speech:?} {message}");
        let line = gateway.log.lines(2).await.remove(1);
        assert_eq!((&line["code"], &line["attempts"]), (&json!("invalid_request"), &json!([])), "{speech:?}");
    }
}

/// Another family's signature as a client of this protocol carries it after an answer that was translated.
fn sealed(speech: Speech) -> &'static str {
    match speech {
        Speech::Messages => "tollgate.01.g.c2ln",
        Speech::Responses => "tollgate.01.a.c2ln",
        _ => "dG9sbGdhdGUuMDEuYS5jMmxu",
    }
}

#[tokio::test]
async fn what_came_with_a_translated_answer_is_foreign_to_every_channel_of_the_clients_protocol() {
    for speech in SPEECHES {
        let (first, second) = (provider().await, provider().await);
        let text = key()
            + &channel("first", speech.kind(), &first, "priority = 0\nforeign_thinking = \"refuse\"")
            + &channel("second", speech.kind(), &second, "priority = 1");
        let gateway = Gateway::start(&text).await;
        let (body, without) = conversation(speech, sealed(speech), false);
        let answer = ask(&gateway, speech, false, &body).await;
        assert_eq!(answer.status, 200, "{speech:?} {}", answer.text());
        assert_eq!((first.request_count(), bodies(&second)), (0, vec![without]), "{speech:?}");
        assert_eq!(gateway.log.line().await["thinking_stripped"], 1, "{speech:?}");
    }
}

#[tokio::test]
async fn a_seal_of_a_gateway_behind_this_one_goes_back_to_it() {
    for speech in SPEECHES {
        let behind = provider().await;
        let gateway = Gateway::start(&(key() + &channel("behind", speech.kind(), &behind, ""))).await;
        behind.script(Selector::Any, vec![signed(speech, sealed(speech), false)]);
        speech.ask(gateway.addr(), MODEL, false).await;
        gateway.log.line().await;
        let (body, _) = conversation(speech, sealed(speech), false);
        let answer = ask(&gateway, speech, false, &body).await;
        assert_eq!((answer.status, bodies(&behind)[1].as_str()), (200, body.as_str()), "{speech:?}");
    }
}

#[tokio::test]
async fn what_a_provider_cannot_verify_is_sent_once_more_without_it() {
    for speech in SPEECHES {
        for stream in [true, false] {
            let context = format!("{speech:?} stream={stream}");
            let (first, second) = (provider().await, provider().await);
            let text = key()
                + &channel("first", speech.kind(), &first, "priority = 0")
                + &channel("second", speech.kind(), &second, "priority = 1");
            let gateway = Gateway::start(&text).await;
            let (body, without) = conversation(speech, "sig-of-nobody", stream);
            first.script(Selector::Any, vec![refuses(speech)]);
            let answer = ask(&gateway, speech, stream, &body).await;
            assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{context} {}", answer.text());
            assert_eq!(bodies(&first), [body.clone(), without.clone()], "{context}");
            let line = gateway.log.line().await;
            let attempts = line["attempts"].as_array().expect("a list");
            assert_eq!(attempts.len(), 2, "{context} {line}");
            assert_eq!(
                (&attempts[0]["status"], &attempts[0]["reason"], &attempts[1]["channel"]),
                (&json!(400), &json!("unverified_thinking"), &json!("first")),
                "{context}"
            );
            assert_eq!((&line["thinking_stripped"], &line["code"]), (&json!(1), &Value::Null), "{context}");
            // Once: who refuses it again is believed, and nobody else is asked.
            first.script(Selector::Any, vec![refuses(speech), refuses(speech)]);
            let answer = ask(&gateway, speech, stream, &body).await;
            assert_eq!((answer.status, answer.text()), (400, unverified(speech).to_owned()), "{context}");
            assert_eq!((first.request_count(), second.request_count()), (4, 0), "{context}");
            // It says nothing about the channel.
            assert_eq!(gateway.count("tollgate_channel_up{channel=\"first\"}").await, 1, "{context}");
            assert_eq!(gateway.count("tollgate_leases_open").await, 0, "{context}");
        }
    }
}

#[tokio::test]
async fn who_does_not_strip_passes_the_providers_own_word_on() {
    for speech in SPEECHES {
        let only = provider().await;
        let text = key() + &channel("only", speech.kind(), &only, "foreign_thinking = \"refuse\"");
        let gateway = Gateway::start(&text).await;
        only.script(Selector::Any, vec![refuses(speech)]);
        let (body, _) = conversation(speech, "sig-of-nobody", false);
        let answer = ask(&gateway, speech, false, &body).await;
        assert_eq!((answer.status, answer.text()), (400, unverified(speech).to_owned()), "{speech:?}");
        assert_eq!(bodies(&only), [body], "{speech:?}");
    }
}

#[tokio::test]
async fn two_accounts_at_one_provider_verify_each_others_signatures() {
    for speech in SPEECHES {
        let upstream = provider().await;
        let text = key()
            + &channel("first", speech.kind(), &upstream, "priority = 0")
            + &channel("second", speech.kind(), &upstream, "priority = 1");
        let gateway = Gateway::start(&text).await;
        upstream.script(Selector::Any, vec![signed(speech, "sig-of-first", true)]);
        speech.ask(gateway.addr(), MODEL, true).await;
        gateway.log.line().await;
        upstream.script_forever(Selector::Credential(credential("first")), fails());
        let (body, _) = conversation(speech, "sig-of-first", true);
        let answer = ask(&gateway, speech, true, &body).await;
        assert_eq!(answer.status, 200, "{speech:?} {}", answer.text());
        assert_eq!(bodies(&upstream)[1..], [body.clone(), body], "{speech:?}");
    }
}

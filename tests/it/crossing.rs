//! A client of one protocol before a channel of another: every pair, whole and streamed, and what becomes of errors,
//! breaks, counts and what cannot be carried.
//!
//! What a provider is sent is judged by the strict fake, which refuses what the real one would.

use crate::support::client::{self, Answer, Ended};
use crate::support::speech::{MODEL, Speech};
use crate::support::{Gateway, KEY, channel, key, provider};
use serde_json::{Value, json};
use tollgate_loadtest::{Cut, Fault, Provider, Selector};

impl Speech {
    /// The channel's `protocols`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Responses => "responses",
            Self::Messages => "anthropic",
            Self::Gemini => "gemini",
        }
    }

    /// Where a channel that speaks it is asked.
    fn upstream_path(self, stream: bool) -> String {
        self.path("there", stream)
    }

    fn others(self) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |other| *other != self)
    }
}

/// A channel that speaks this protocol only, with another name for the model.
fn at(speech: Speech, provider: &Provider, more: &str) -> String {
    let lines = format!(
        "protocols = [\"{}\"]\nmodels = [\"{MODEL}\"]\nmodel_map = {{ \"{MODEL}\" = \"there\" }}\n{more}",
        speech.word()
    );
    channel(speech.word(), speech.kind(), provider, &lines)
}

/// The text of an answer in this protocol, whole or streamed.
fn said(speech: Speech, answer: &Answer, stream: bool) -> String {
    let chunks = if stream { events(answer) } else { vec![answer.json()] };
    let texts = chunks.iter().map(|chunk| match (speech, stream) {
        (Speech::Chat, false) => text(&chunk["choices"][0]["message"]["content"]),
        (Speech::Chat, true) => text(&chunk["choices"][0]["delta"]["content"]),
        (Speech::Responses, false) => text(&chunk["output"][0]["content"][0]["text"]),
        (Speech::Responses, true) if chunk["type"] == "response.output_text.delta" => text(&chunk["delta"]),
        (Speech::Messages, false) => text(&chunk["content"][0]["text"]),
        (Speech::Messages, true) => text(&chunk["delta"]["text"]),
        (Speech::Gemini, _) => text(&chunk["candidates"][0]["content"]["parts"][0]["text"]),
        (Speech::Responses, true) => String::new(),
    });
    texts.collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn events(answer: &Answer) -> Vec<Value> {
    let text = answer.text();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter_map(|data| serde_json::from_str(data).ok()).collect()
}

/// Input and output tokens as this protocol counts them, at the end of an answer.
fn usage(speech: Speech, answer: &Answer, stream: bool) -> (u64, u64) {
    let chunks = if stream { events(answer) } else { vec![answer.json()] };
    let last = |path: &str| {
        let found = chunks.iter().rev().find_map(|chunk| chunk.pointer(path).and_then(Value::as_u64));
        found.unwrap_or_default()
    };
    match speech {
        Speech::Chat => (last("/usage/prompt_tokens"), last("/usage/completion_tokens")),
        Speech::Responses if stream => {
            (last("/response/usage/input_tokens"), last("/response/usage/output_tokens"))
        }
        Speech::Responses => (last("/usage/input_tokens"), last("/usage/output_tokens")),
        Speech::Messages => {
            let cached = last("/usage/cache_read_input_tokens") + last("/usage/cache_creation_input_tokens");
            (last("/usage/input_tokens") + cached, last("/usage/output_tokens"))
        }
        Speech::Gemini => (
            last("/usageMetadata/promptTokenCount"),
            last("/usageMetadata/candidatesTokenCount") + last("/usageMetadata/thoughtsTokenCount"),
        ),
    }
}

fn shown_model(speech: Speech, answer: &Answer, stream: bool) -> String {
    let chunks = if stream { events(answer) } else { vec![answer.json()] };
    let path = match (speech, stream) {
        (Speech::Chat, _) | (Speech::Messages | Speech::Responses, false) => "/model",
        (Speech::Messages, true) => "/message/model",
        (Speech::Responses, true) => "/response/model",
        (Speech::Gemini, _) => "/modelVersion",
    };
    chunks.iter().find_map(|chunk| chunk.pointer(path)).map(text).unwrap_or_default()
}

/// The last access line, as soon as there are so many.
async fn line(gateway: &Gateway, number: usize) -> Value {
    gateway.log.lines(number).await.remove(number - 1)
}

#[tokio::test]
async fn every_client_is_answered_by_every_channel_in_its_own_words() {
    for there in Speech::ALL {
        let upstream = provider().await;
        let gateway = Gateway::start(&(at(there, &upstream, "") + &key())).await;
        let mut lines = 0;
        for client in there.others() {
            for stream in [false, true] {
                let context = format!("{client:?} at {there:?}, stream {stream}");
                let answer = client.ask(gateway.addr(), MODEL, stream).await;
                assert_eq!(
                    (answer.status, answer.ended),
                    (200, Ended::Whole),
                    "{context}: {}",
                    answer.text()
                );
                assert_eq!(said(client, &answer, stream), tollgate_loadtest::full_text(4), "{context}");
                assert_eq!(shown_model(client, &answer, stream), MODEL, "{context}");
                let sent = upstream.requests().pop().expect("it was asked");
                assert_eq!(sent.target, there.upstream_path(stream), "{context}");
                assert_eq!(sent.header("user-agent"), None, "{context}");
                lines += 1;
                let line = line(&gateway, lines).await;
                let counted = (line["tokens"]["input"].as_u64(), line["tokens"]["output"].as_u64());
                assert!(counted.0 > Some(0) && counted.1 > Some(0), "{context}: {line}");
                let told = usage(client, &answer, stream);
                let detail = &line["tokens"];
                let total =
                    ["input", "cache_read", "cache_write"].map(|kind| detail[kind].as_u64().unwrap_or(0));
                assert_eq!(told, (total.iter().sum(), counted.1.unwrap_or(0)), "{context}: {line}");
                assert_eq!(
                    (&line["translated"], &line["end"]),
                    (&json!(there.word()), &json!("ok")),
                    "{context}"
                );
                assert_eq!(line["model_upstream"], "there", "{context}");
            }
        }
        let series = |client: Speech| {
            format!("tollgate_translations_total{{from=\"{}\",to=\"{}\"}}", client.word(), there.word())
        };
        for client in there.others() {
            assert_eq!(gateway.count(&series(client)).await, 2, "{client:?} {there:?}");
        }
    }
}

#[tokio::test]
async fn who_speaks_the_clients_protocol_comes_first_and_others_make_good_for_it() {
    let (own, other) = (provider().await, provider().await);
    let text = at(Speech::Chat, &other, "") + &at(Speech::Messages, &own, "") + &key();
    let gateway = Gateway::start(&text).await;
    for _ in 0..8 {
        assert_eq!(Speech::Messages.ask(gateway.addr(), MODEL, false).await.status, 200);
    }
    assert_eq!((own.request_count(), other.request_count()), (8, 0));
    for (fault, stream) in
        [(Fault::status(500), false), (Fault::StreamErrorFirst, true), (Fault::Reset, true)]
    {
        own.script(Selector::Any, vec![fault.clone()]);
        let before = other.request_count();
        let answer = Speech::Messages.ask(gateway.addr(), MODEL, stream).await;
        assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{fault:?}: {}", answer.text());
        assert_eq!(said(Speech::Messages, &answer, stream), tollgate_loadtest::full_text(4), "{fault:?}");
        assert_eq!(other.request_count(), before + 1, "{fault:?}");
    }
}

#[tokio::test]
async fn streams_are_collected_and_wholes_told_as_streams_where_a_channel_has_only_one_of_them() {
    for there in Speech::ALL {
        for (mode, asked) in [("require", true), ("forbid", false)] {
            let upstream = provider().await;
            let gateway =
                Gateway::start(&(at(there, &upstream, &format!("stream = \"{mode}\"")) + &key())).await;
            for client in Speech::ALL {
                for stream in [false, true] {
                    let context = format!("{client:?} at {there:?}, {mode}, stream {stream}");
                    let answer = client.ask(gateway.addr(), MODEL, stream).await;
                    assert_eq!(
                        (answer.status, answer.ended),
                        (200, Ended::Whole),
                        "{context}: {}",
                        answer.text()
                    );
                    assert_eq!(said(client, &answer, stream), tollgate_loadtest::full_text(4), "{context}");
                    let sent = upstream.requests().pop().expect("it was asked");
                    assert_eq!(sent.target, there.upstream_path(asked), "{context}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_collected_fails_as_a_whole() {
    let cuts = [
        Fault::Cut { after_events: 2, how: Cut::CleanEndWithoutTerminal },
        Fault::StreamErrorFirst,
        Fault::StreamErrorAfter { events: 2 },
        Fault::EmptyStream,
    ];
    for fault in cuts {
        let (first, second) = (provider().await, provider().await);
        let text = at(Speech::Chat, &first, "stream = \"require\"")
            + &channel("second", "gemini", &second, &format!("models = [\"{MODEL}\"]\npriority = 1"))
            + &key();
        let gateway = Gateway::start(&text).await;
        first.script(Selector::Any, vec![fault.clone()]);
        let answer = Speech::Messages.ask(gateway.addr(), MODEL, false).await;
        assert_eq!(answer.status, 200, "{fault:?}: {}", answer.text());
        let line = line(&gateway, 1).await;
        assert_eq!(line["attempts"].as_array().map(Vec::len), Some(2), "{fault:?}: {line}");
    }
}

#[tokio::test]
async fn a_stream_that_breaks_off_ends_in_an_error_of_the_clients_protocol() {
    for there in Speech::ALL {
        let upstream = provider().await;
        let gateway = Gateway::start(&(at(there, &upstream, "") + &key())).await;
        for client in there.others() {
            let fault = Fault::Cut { after_events: 3, how: Cut::CleanEndWithoutTerminal };
            upstream.script(Selector::Any, vec![fault]);
            let answer = client.ask(gateway.addr(), MODEL, true).await;
            let context = format!("{client:?} at {there:?}: {}", answer.text());
            assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{context}");
            let last = events(&answer).pop().unwrap_or_default();
            assert!(last["error"].is_object() || last["type"] == "error", "{context}");
            assert!(answer.text().contains("broke off"), "{context}");
        }
    }
}

#[tokio::test]
async fn an_error_about_the_request_is_told_with_its_words_in_the_clients_shape() {
    for there in Speech::ALL {
        let upstream = provider().await;
        let gateway = Gateway::start(&(at(there, &upstream, "") + &key())).await;
        for client in there.others() {
            for stream in [false, true] {
                upstream.script(Selector::Any, vec![Fault::status(400)]);
                let answer = client.ask(gateway.addr(), MODEL, stream).await;
                let direct = there.spoken_by(MODEL, stream, Fault::status(400)).await;
                let context = format!("{client:?} at {there:?}: {} for {}", answer.text(), direct.text());
                assert_eq!(
                    (answer.status, answer.header("content-type")),
                    (400, Some("application/json")),
                    "{context}"
                );
                let (told, words) = (answer.json(), text(&direct.json()["error"]["message"]));
                assert!(!words.is_empty() && text(&told["error"]["message"]).contains(&words), "{context}");
                match client {
                    Speech::Messages => assert_eq!(told["type"], "error", "{context}"),
                    Speech::Gemini => assert_eq!(told["error"]["code"], 400, "{context}"),
                    _ => assert!(told["error"]["type"].is_string(), "{context}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn what_is_lost_is_logged_told_where_the_operator_wants_it_and_refused_by_a_strict_key() {
    let upstream = provider().await;
    let strict = "[[key]]\nname = \"strict\"\nsecret = \"sk-strict-0123456789\"\nstrict_translation = true\n";
    let text = at(Speech::Messages, &upstream, "") + &key() + strict;
    let gateway = Gateway::with_server("loss_header = true", &text).await;
    let body = format!(r#"{{"model":"{MODEL}","seed":7,"messages":[{{"role":"user","content":"hi"}}]}}"#);
    let ask = async |key: &str| {
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str())];
        let request = client::request("POST", "/v1/chat/completions", &headers, body.as_bytes());
        client::once(gateway.addr(), &request).await
    };
    let answer = ask(KEY).await;
    assert_eq!((answer.status, answer.header("x-tollgate-losses")), (200, Some("seed: dropped")));
    assert_eq!(line(&gateway, 1).await["losses"], json!(["seed: dropped"]));
    let refused = ask("sk-strict-0123456789").await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "untranslatable_request"));
    assert!(refused.text().contains("seed"), "{}", refused.text());
    assert_eq!(upstream.request_count(), 1, "nothing was sent");
    let line = line(&gateway, 2).await;
    assert_eq!(
        (&line["bill"], &line["attempts"][0]["reason"]),
        (&json!("nothing_sent"), &json!("untranslatable"))
    );
    let lost = "tollgate_translation_losses_total{from=\"chat\",to=\"anthropic\"}";
    assert_eq!(gateway.count(lost).await, 1);
}

#[tokio::test]
async fn a_conversation_that_is_kept_at_a_provider_goes_where_it_is_kept_or_nowhere() {
    let (first, kept) = (provider().await, provider().await);
    let body = format!(r#"{{"model":"{MODEL}","previous_response_id":"resp_1","input":"go on"}}"#);
    let bearer = format!("Bearer {KEY}");
    let request =
        client::request("POST", "/v1/responses", &[("authorization", bearer.as_str())], body.as_bytes());
    let gateway = Gateway::start(&(at(Speech::Messages, &first, "") + &key())).await;
    let refused = client::once(gateway.addr(), &request).await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "untranslatable_request"));
    assert!(refused.text().contains("previous_response_id"), "{}", refused.text());
    let text = at(Speech::Messages, &first, "") + &at(Speech::Responses, &kept, "priority = 1") + &key();
    gateway.reload("", &text).expect("it is good");
    let answer = client::once(gateway.addr(), &request).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!((first.request_count(), kept.request_count()), (0, 1));
    let sent: Value = serde_json::from_slice(&kept.requests()[0].body).expect("JSON");
    assert_eq!(sent["previous_response_id"], "resp_1");
}

#[tokio::test]
async fn tokens_are_counted_by_whoever_can_and_else_estimated_and_marked() {
    for (there, counted) in
        [(Speech::Gemini, true), (Speech::Messages, true), (Speech::Responses, true), (Speech::Chat, false)]
    {
        let upstream = provider().await;
        let gateway = Gateway::start(&(at(there, &upstream, "") + &key())).await;
        for client in [Speech::Messages, Speech::Gemini].into_iter().filter(|client| *client != there) {
            let path = match client {
                Speech::Gemini => format!("/v1beta/models/{MODEL}:countTokens"),
                _ => "/v1/messages/count_tokens".to_owned(),
            };
            let body = client.body(MODEL, false).replace(r#""max_tokens":9,"#, "");
            let headers = client.headers(KEY);
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let answer =
                client::once(gateway.addr(), &client::request("POST", &path, &headers, body.as_bytes()))
                    .await;
            let context = format!("{client:?} at {there:?}: {}", answer.text());
            assert_eq!(answer.status, 200, "{context}");
            let field = if client == Speech::Gemini { "totalTokens" } else { "input_tokens" };
            assert!(answer.json()[field].as_u64() > Some(0), "{context}");
            let marked = answer.header("x-tollgate-estimated");
            assert_eq!(marked, (!counted).then_some("tokens"), "{context}");
        }
        assert_eq!(upstream.request_count() > 0, counted, "{there:?}");
    }
}

#[tokio::test]
async fn the_keys_cap_holds_in_every_protocol() {
    for there in Speech::ALL {
        let upstream = provider().await;
        let text = at(there, &upstream, "")
            + &format!("[[key]]\nname = \"alice\"\nsecret = \"{KEY}\"\nmax_output_tokens = 40\n");
        let gateway = Gateway::start(&text).await;
        for client in there.others() {
            assert_eq!(client.ask(gateway.addr(), MODEL, false).await.status, 200);
            let sent: Value =
                serde_json::from_slice(&upstream.requests().pop().expect("asked").body).expect("JSON");
            let cap = [
                "/max_tokens",
                "/max_completion_tokens",
                "/max_output_tokens",
                "/generationConfig/maxOutputTokens",
            ]
            .into_iter()
            .find_map(|path| sent.pointer(path).and_then(Value::as_u64));
            assert!(cap.is_some_and(|cap| cap <= 40), "{client:?} at {there:?}: {sent}");
        }
    }
}

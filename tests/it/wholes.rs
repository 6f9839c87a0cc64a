//! Answers that are no streams, what is counted of every answer, and what a connection does after one.

use crate::support::client::{self, Connection, Ended};
use crate::support::speech::{MODEL, Speech};
use crate::support::{Gateway, KEY, channel, key, provider};
use serde_json::json;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tollgate_loadtest::{Cut, Fault, Provider, Selector, UsageNumbers};

async fn gateway(speech: Speech, upstream: &Provider, more: &str) -> Gateway {
    Gateway::start(&(channel("main", speech.kind(), upstream, more) + &key())).await
}

#[tokio::test]
async fn a_whole_answer_passes_byte_for_byte_however_it_is_framed() {
    for speech in Speech::ALL {
        for fault in [
            Fault::None,
            Fault::CloseDelimited,
            Fault::Informational,
            Fault::SplitEveryByte,
            Fault::BigEvent { bytes: 256 * 1024 },
        ] {
            let own = speech.spoken_by(MODEL, false, fault.clone()).await;
            let upstream = provider().await;
            let gateway = gateway(speech, &upstream, "").await;
            for h2 in [false, true] {
                upstream.script(Selector::Any, vec![fault.clone()]);
                let answer = if h2 {
                    speech.ask_h2(gateway.addr(), MODEL, false).await
                } else {
                    speech.ask(gateway.addr(), MODEL, false).await
                };
                let context = format!("{speech:?} h2={h2} {fault:?}");
                assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{context}");
                assert!(answer.body == own.body, "{context}: {}", answer.text());
                assert_eq!(answer.header("content-length"), own.header("content-length"), "{context}");
                for hidden in [
                    "server",
                    "via",
                    "set-cookie",
                    "alt-svc",
                    "openai-organization",
                    "anthropic-organization-id",
                ] {
                    assert_eq!(answer.header(hidden), None, "{context}");
                }
            }
        }
    }
}

#[tokio::test]
async fn every_operation_passes_byte_for_byte_but_for_the_models_name() {
    for (kind, path, body) in [
        ("openai", "/v1/completions", r#"{"model":"$","prompt":"hi"}"#),
        ("openai", "/v1/embeddings", r#"{"input":["a","b"],"model":"$","encoding_format":"base64"}"#),
        (
            "anthropic",
            "/v1/messages/count_tokens",
            r#"{"model":"$","messages":[{"role":"user","content":"a"}]}"#,
        ),
        ("gemini", "/v1beta/models/$:countTokens", r#"{"contents":[{"parts":[{"text":"a"}]}]}"#),
        (
            "gemini",
            "/v1beta/models/$:embedContent",
            r#"{"model":"models/$","content":{"parts":[{"text":"a"}]}}"#,
        ),
        (
            "gemini",
            "/v1beta/models/$:batchEmbedContents",
            r#"{"requests":[{"model":"models/$","content":{"parts":[{"text":"a"}]}},
                {"content":{"parts":[{"text":"\"model\":\"models/g\""}]},"model": "models/$"}]}"#,
        ),
        ("gemini", "/v1beta/models/$:streamGenerateContent", r#"{"contents":[{"parts":[{"text":"a"}]}]}"#),
    ] {
        for upstream_model in [MODEL, "upstream-x"] {
            let (upstream, direct) = (provider().await, provider().await);
            let map = format!("model_map = {{ {MODEL} = \"{upstream_model}\" }}");
            let gateway = Gateway::start(&(channel("main", kind, &upstream, &map) + &key())).await;
            let headers = match kind {
                "openai" => vec![("authorization", format!("Bearer {KEY}"))],
                "anthropic" => {
                    vec![("x-api-key", KEY.to_owned()), ("anthropic-version", "2023-06-01".to_owned())]
                }
                _ => vec![("x-goog-api-key", KEY.to_owned())],
            };
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let fill = |text: &str, model: &str| text.replace('$', model);
            let (own_path, own_body) = (fill(path, upstream_model), fill(body, upstream_model));
            let own = client::post(direct.addr(), &own_path, &headers, own_body.as_bytes()).await;
            let (path, body) = (fill(path, MODEL), fill(body, MODEL));
            let answer = client::post(gateway.addr(), &path, &headers, body.as_bytes()).await;
            assert_eq!((own.status, answer.status), (200, 200), "{path} {} {}", own.text(), answer.text());
            let sent = upstream.requests().remove(0);
            assert_eq!(sent.target, own_path);
            assert_eq!(sent.body, own_body.as_bytes(), "{path}");
            let shown = own.text().replace(&format!("\"{upstream_model}\""), &format!("\"{MODEL}\""));
            assert_eq!(answer.text(), shown, "{path}");
        }
    }
}

#[tokio::test]
async fn an_answer_the_provider_cut_never_ends_cleanly() {
    for speech in Speech::ALL {
        for fault in [
            Fault::CutBody { after_bytes: 20 },
            Fault::Cut { after_events: 1, how: Cut::Fin },
            Fault::Cut { after_events: 1, how: Cut::Reset },
            // Without a length only the end itself can lie.
            Fault::Raw(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n"
                    .to_owned(),
            ),
        ] {
            let upstream = provider().await;
            let gateway = gateway(speech, &upstream, "").await;
            for (at, h2) in [false, true].into_iter().enumerate() {
                upstream.script(Selector::Any, vec![fault.clone()]);
                let answer = if h2 {
                    speech.ask_h2(gateway.addr(), MODEL, false).await
                } else {
                    speech.ask(gateway.addr(), MODEL, false).await
                };
                let context = format!("{speech:?} h2={h2} {fault:?}");
                assert_eq!((answer.status, answer.ended), (200, Ended::Cut), "{context} {}", answer.text());
                let line = &gateway.log.lines(at + 1).await[at];
                assert_eq!(line["end"], "stream_truncated", "{context} {line}");
            }
            assert_eq!(upstream.request_count(), 2, "what began is not begun again");
        }
    }
}

/// All that comes, and whether the connection ended in peace.
async fn read_out(addr: SocketAddr, request: &[u8]) -> (String, bool) {
    let mut stream = TcpStream::connect(addr).await.expect("the gateway listens");
    stream.write_all(request).await.expect("it reads");
    let mut all = Vec::new();
    let ended = stream.read_to_end(&mut all).await.is_ok();
    (String::from_utf8_lossy(&all).into_owned(), ended)
}

#[tokio::test]
async fn a_client_that_knows_no_chunks_is_told_of_a_cut_by_a_reset() {
    let upstream = provider().await;
    let text = channel("main", "openai", &upstream, "") + &key();
    let gateway = Gateway::start(&text).await;
    let chat = Speech::Chat.request(KEY, MODEL, false);
    let chat = String::from_utf8(chat).expect("text").replace(" HTTP/1.1", " HTTP/1.0");
    let file = format!("GET /v1/files HTTP/1.0\r\nhost: a\r\nauthorization: Bearer {KEY}\r\n\r\n");
    let raw = |body: &str| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
        Fault::Raw(format!("{head}{body}"))
    };
    for request in [&chat, &file] {
        for (body, whole) in
            [("5\r\n{\"a\":\r\n1\r\n1\r\n1\r\n}\r\n0\r\n\r\n", true), ("5\r\n{\"a\":\r\n", false)]
        {
            upstream.script(Selector::Any, vec![raw(body)]);
            let (answer, ended) = read_out(gateway.addr(), request.as_bytes()).await;
            assert_eq!(ended, whole, "{answer}");
            // A reset may overtake what came before it.
            assert!(!whole || answer.starts_with("HTTP/1.") && answer.ends_with("{\"a\":1}"), "{answer}");
            let line = gateway.log.lines(upstream.request_count()).await.pop().expect("a line");
            assert_eq!(line["end"], if whole { "ok" } else { "stream_truncated" }, "{line}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_goes_silent_never_ends_cleanly() {
    for h2 in [false, true] {
        let upstream = provider().await;
        let gateway = gateway(Speech::Chat, &upstream, "idle_timeout = \"100ms\"").await;
        upstream.script(Selector::Any, vec![Fault::HoldMidStream { after_events: 1 }]);
        let answer = if h2 {
            Speech::Chat.ask_h2(gateway.addr(), MODEL, false).await
        } else {
            Speech::Chat.ask(gateway.addr(), MODEL, false).await
        };
        assert_eq!((answer.status, answer.ended), (200, Ended::Cut), "h2={h2}");
        let line = gateway.log.line().await;
        assert_eq!(
            (&line["end"], &line["code"]),
            (&json!("stream_idle_timeout"), &json!("stream_idle_timeout"))
        );
        upstream.wait_for_disconnects(1).await;
    }
}

#[tokio::test]
async fn a_cut_answer_that_was_held_to_be_renamed_is_an_error() {
    for speech in Speech::ALL {
        let upstream = provider().await;
        upstream.script(Selector::Any, vec![Fault::CutBody { after_bytes: 20 }]);
        let gateway = gateway(speech, &upstream, &format!("model_map = {{ {MODEL} = \"other\" }}")).await;
        let answer = speech.ask(gateway.addr(), MODEL, false).await;
        assert_eq!((answer.status, answer.ended), (502, Ended::Whole), "{speech:?}");
        assert_eq!(answer.code(), "upstream_unreachable", "{speech:?}");
        let line = gateway.log.line().await;
        assert_eq!(line["end"], "failed", "{speech:?}");
        // The provider had answered: it bills for that, and what is not counted is estimated.
        assert_eq!((&line["charged"], &line["usage_source"]), (&json!(true), &json!("estimated")), "{line}");
    }
}

#[tokio::test]
async fn tokens_are_counted_in_disjoint_types_for_every_dialect() {
    let usage = UsageNumbers { input: 1000, cache_read: 300, cache_write: 50, output: 200, reasoning: 80 };
    for speech in Speech::ALL {
        // Only Anthropic reports what it wrote to the cache.
        let written = if speech == Speech::Messages { 50 } else { 0 };
        for stream in [false, true] {
            let upstream = provider().await;
            upstream.script(Selector::Any, vec![Fault::Usage(usage)]);
            let gateway = gateway(speech, &upstream, "").await;
            assert_eq!(speech.ask(gateway.addr(), MODEL, stream).await.status, 200);
            let line = gateway.log.line().await;
            let expected = json!({
                "input": 700 - written, "output": 200, "cache_read": 300, "cache_write": written, "reasoning": 80
            });
            assert_eq!(line["tokens"], expected, "{speech:?} stream={stream}");
            assert_eq!(
                (&line["usage_source"], &line["charged"]),
                (&json!("reported"), &json!(true)),
                "{speech:?}"
            );
            let tokens = |kind: &str| {
                format!("tollgate_tokens_total{{channel=\"main\",model=\"_other\",type=\"{kind}\"}}")
            };
            assert_eq!(gateway.count(&tokens("output")).await, 200, "{}", gateway.metrics().await);
        }
    }
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    for speech in Speech::ALL {
        let upstream = provider().await;
        let gateway = gateway(speech, &upstream, "").await;
        let mut client = Connection::open(gateway.addr()).await;
        for stream in [false, true, true, false] {
            client.send(&speech.request(KEY, MODEL, stream)).await;
            let answer = client.answer().await.expect("an answer");
            assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{speech:?}");
        }
        assert_eq!(upstream.total_connections(), 1, "{speech:?}: the upstream connection is kept too");
    }
}

#[tokio::test]
async fn a_pipelined_request_does_not_abort_the_one_before() {
    for speech in Speech::ALL {
        let own = speech.spoken_by(MODEL, true, Fault::None).await;
        let upstream = provider().await;
        upstream.script(Selector::Any, vec![Fault::HoldMidStream { after_events: 2 }]);
        let gateway = gateway(speech, &upstream, "").await;
        let mut client = Connection::open(gateway.addr()).await;
        client.send(&speech.request(KEY, MODEL, true)).await;
        upstream.wait_for_holding(1).await;
        assert_eq!(client.head().await.expect("a head").status, 200);
        client.send(&speech.request(KEY, MODEL, false)).await;
        // A third, so that whatever looked at the second has looked.
        client.send(&speech.request(KEY, MODEL, true)).await;
        upstream.release();
        let mut first = Vec::new();
        while let Some(chunk) = client.chunk().await.filter(|chunk| !chunk.is_empty()) {
            first.extend_from_slice(&chunk);
        }
        assert_eq!(first, own.body, "{speech:?}");
        assert_eq!(client.answer().await.expect("the second").status, 200, "{speech:?}");
        let third = client.answer().await.expect("the third");
        assert_eq!((third.ended, third.body == own.body), (Ended::Whole, true), "{speech:?}");
        assert!(gateway.log.lines(3).await.iter().all(|line| line["end"] == "ok"), "{speech:?}");
    }
}

#[tokio::test]
async fn an_old_client_gets_its_answer_until_the_connection_closes() {
    for stream in [false, true] {
        let speech = Speech::Chat;
        let own = speech.spoken_by(MODEL, stream, Fault::None).await;
        let upstream = provider().await;
        let gateway = gateway(speech, &upstream, "").await;
        let request = String::from_utf8(speech.request(KEY, MODEL, stream)).expect("text");
        let old = request.replace("HTTP/1.1", "HTTP/1.0");
        let mut client = Connection::open(gateway.addr()).await;
        client.send(old.as_bytes()).await;
        let answer = client.answer().await.expect("an answer");
        assert_eq!((answer.status, answer.header("transfer-encoding")), (200, None), "stream={stream}");
        assert_eq!(answer.text(), own.text(), "stream={stream}");
        assert!(client.is_closed().await, "stream={stream}");
    }
}

#[tokio::test]
async fn a_client_that_asks_to_close_is_closed_after_its_answer() {
    let upstream = provider().await;
    let gateway = gateway(Speech::Chat, &upstream, "").await;
    let headers = [("authorization", "Bearer sk-test-alice-0123456789"), ("connection", "close")];
    let body = Speech::Chat.body(MODEL, true);
    let mut client = Connection::open(gateway.addr()).await;
    client.send(&client::request("POST", "/v1/chat/completions", &headers, body.as_bytes())).await;
    let answer = client.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.ended), (200, Ended::Whole));
    assert!(client.is_closed().await);
}

//! What each channel type is asked, where and as whom: the exact path, credential and body behind a running gateway.
//!
//! The addresses are those that the providers document; the fake stands at another host and understands all of them.

use crate::support::client::{self, Answer, Ended};
use crate::support::decide::Decides;
use crate::support::speech::{MODEL, Speech};
use crate::support::{Gateway, KEY, credential, key, repository};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use tollgate::config::{self, TextSource};
use tollgate::protocol::entry;
use tollgate::stage::rewrite::{Original, rewrite};
use tollgate_loadtest::{Options, Provider, Recorded};

/// A type, and where it is asked in what it speaks: the first is what others are translated into.
type Row = (&'static str, &'static [(Speech, &'static str, Form)]);

/// How the credential is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Bearer,
    XApiKey,
    ApiKey,
    None,
}
use Form::{ApiKey, Bearer, XApiKey};
use Speech::{Chat, Messages, Responses};

const TYPES: &[Row] = &[
    ("openai", &[(Chat, "/v1/chat/completions", Bearer), (Responses, "/v1/responses", Bearer)]),
    ("anthropic", &[(Messages, "/v1/messages", XApiKey)]),
    (
        "azure-openai",
        &[(Responses, "/openai/v1/responses", ApiKey), (Chat, "/openai/v1/chat/completions", ApiKey)],
    ),
    (
        "openrouter",
        &[
            (Chat, "/api/v1/chat/completions", Bearer),
            (Responses, "/api/v1/responses", Bearer),
            (Messages, "/api/v1/messages", Bearer),
        ],
    ),
    ("deepseek", &[(Chat, "/chat/completions", Bearer), (Messages, "/anthropic/v1/messages", XApiKey)]),
    ("moonshot", &[(Chat, "/v1/chat/completions", Bearer), (Messages, "/anthropic/v1/messages", Bearer)]),
    (
        "zhipu",
        &[(Chat, "/api/paas/v4/chat/completions", Bearer), (Messages, "/api/anthropic/v1/messages", Bearer)],
    ),
    (
        "z-ai",
        &[(Chat, "/api/paas/v4/chat/completions", Bearer), (Messages, "/api/anthropic/v1/messages", Bearer)],
    ),
    (
        "qwen",
        &[
            (Chat, "/compatible-mode/v1/chat/completions", Bearer),
            (Messages, "/apps/anthropic/v1/messages", XApiKey),
        ],
    ),
    (
        "doubao",
        &[
            (Chat, "/api/v3/chat/completions", Bearer),
            (Responses, "/api/v3/responses", Bearer),
            (Messages, "/api/compatible/v1/messages", Bearer),
        ],
    ),
    ("minimax", &[(Chat, "/v1/chat/completions", Bearer), (Messages, "/anthropic/v1/messages", Bearer)]),
    ("siliconflow", &[(Chat, "/v1/chat/completions", Bearer), (Messages, "/v1/messages", Bearer)]),
    ("xai", &[(Responses, "/v1/responses", Bearer), (Chat, "/v1/chat/completions", Bearer)]),
    ("mistral", &[(Chat, "/v1/chat/completions", Bearer)]),
    ("groq", &[(Chat, "/openai/v1/chat/completions", Bearer), (Responses, "/openai/v1/responses", Bearer)]),
    ("cohere", &[(Chat, "/compatibility/v1/chat/completions", Bearer)]),
    ("jina", &[]),
    (
        "ollama",
        &[
            (Chat, "/v1/chat/completions", Bearer),
            (Responses, "/v1/responses", Bearer),
            (Messages, "/v1/messages", Bearer),
        ],
    ),
    (
        "vllm",
        &[
            (Chat, "/v1/chat/completions", Bearer),
            (Responses, "/v1/responses", Bearer),
            (Messages, "/v1/messages", Bearer),
        ],
    ),
    (
        "sglang",
        &[
            (Chat, "/v1/chat/completions", Bearer),
            (Responses, "/v1/responses", Bearer),
            (Messages, "/v1/messages", Bearer),
        ],
    ),
];

/// Types that have tests of their own: Gemini's address names the model, and the token of Claude Code goes to one
/// host only.
const APART: [&str; 2] = ["gemini", "claude-code"];

/// Where the operations without a protocol are asked, of those that a type has.
const OPERATIONS: &[(&str, &[(&str, &str)])] = &[
    ("openai", &[("/v1/embeddings", "/v1/embeddings"), ("/v2/rerank", "/v2/rerank")]),
    ("azure-openai", &[("/v1/embeddings", "/openai/v1/embeddings")]),
    ("openrouter", &[("/v1/embeddings", "/api/v1/embeddings")]),
    (
        "zhipu",
        &[
            ("/v1/embeddings", "/api/paas/v4/embeddings"),
            ("/v1/rerank", "/api/paas/v4/rerank"),
            ("/v1/moderations", "/api/paas/v4/moderations"),
        ],
    ),
    ("qwen", &[("/v1/embeddings", "/compatible-mode/v1/embeddings")]),
    ("doubao", &[("/v1/embeddings", "/api/v3/embeddings")]),
    ("siliconflow", &[("/v1/embeddings", "/v1/embeddings"), ("/v2/rerank", "/v1/rerank")]),
    ("mistral", &[("/v1/embeddings", "/v1/embeddings"), ("/v1/moderations", "/v1/moderations")]),
    (
        "cohere",
        &[
            ("/v1/embeddings", "/compatibility/v1/embeddings"),
            ("/v2/rerank", "/v2/rerank"),
            ("/v1/rerank", "/v1/rerank"),
        ],
    ),
    ("jina", &[("/v1/embeddings", "/v1/embeddings"), ("/v1/rerank", "/v1/rerank")]),
    ("ollama", &[("/v1/embeddings", "/v1/embeddings")]),
    (
        "vllm",
        &[("/v1/embeddings", "/v1/embeddings"), ("/v1/rerank", "/v1/rerank"), ("/v2/rerank", "/v2/rerank")],
    ),
    ("sglang", &[("/v1/embeddings", "/v1/embeddings"), ("/v1/rerank", "/v1/rerank")]),
    // Nothing of this kind.
    ("deepseek", &[]),
    ("moonshot", &[]),
    ("z-ai", &[]),
    ("minimax", &[]),
    ("xai", &[]),
    ("groq", &[]),
];

async fn compatible() -> Provider {
    let options = Options { compatible: true, ..Options::default() };
    Provider::start(options).await.expect("a loopback port")
}

/// A channel of this type at the fake; `path` is what its base URL has behind the host.
fn channel(kind: &str, upstream: &Provider, (path, more): (&str, &str)) -> String {
    let (base, key) = (upstream.base_url(), credential(kind));
    format!(
        "[[channel]]\nname = \"{kind}\"\ntype = \"{kind}\"\nbase_url = \"{base}{path}\"\n\
         model_map = {{ \"{MODEL}\" = \"there\" }}\n{more}\napi_keys = [\"{key}\"]\n"
    )
}

/// The form and the value of the only credential that was sent.
fn presented(sent: &Recorded) -> (Form, String) {
    let forms = [("authorization", Bearer), ("x-api-key", XApiKey), ("api-key", ApiKey)];
    let mut found = forms.into_iter().filter_map(|(name, form)| Some((form, sent.header(name)?.to_owned())));
    let first = found.next().unwrap_or((Form::None, String::new()));
    assert_eq!(found.next(), None, "one credential is enough");
    first
}

fn expected(form: Form, kind: &str) -> (Form, String) {
    let text = credential(kind);
    (form, if form == Bearer { format!("Bearer {text}") } else { text })
}

fn types() -> Vec<String> {
    let schema: serde_json::Value = serde_json::from_str(&config::schema()).expect("it is JSON");
    let words = schema["$defs"]["Channel"]["properties"]["type"]["enum"].as_array().expect("an enum");
    words.iter().filter_map(|word| word.as_str().map(str::to_owned)).collect()
}

#[test]
fn every_type_has_its_row_here() {
    let mut rows: Vec<&str> = TYPES.iter().map(|(kind, _)| *kind).chain(APART).collect();
    let mut types = types();
    rows.sort_unstable();
    types.sort_unstable();
    assert_eq!(rows, types);
}

#[tokio::test]
async fn every_type_is_asked_where_its_provider_documents_it_and_with_its_credential() {
    for (kind, speaks) in TYPES {
        let upstream = compatible().await;
        let gateway = Gateway::start(&(channel(kind, &upstream, ("", "")) + &key())).await;
        let Some((first, ..)) = speaks.first() else { continue };
        for client in Speech::ALL {
            for stream in [false, true] {
                let context = format!("{client:?} at {kind}, stream {stream}");
                let answer = client.ask(gateway.addr(), MODEL, stream).await;
                let ended = (answer.status, answer.ended);
                assert_eq!(ended, (200, Ended::Whole), "{context}: {}", answer.text());
                let relayed = speaks.iter().find(|(spoken, ..)| *spoken == client);
                let into = relayed.or(speaks.iter().find(|(spoken, ..)| spoken == first));
                let (_, target, form) = into.expect("it speaks something");
                let sent = upstream.requests().pop().expect("it was asked");
                assert_eq!(sent.target, *target, "{context}");
                assert_eq!(presented(&sent), expected(*form, kind), "{context}");
                assert_eq!(sent.header("host"), Some(upstream.addr().to_string().as_str()), "{context}");
                if relayed.is_some() {
                    let body = String::from_utf8_lossy(&sent.body).into_owned();
                    assert_eq!(body, client.body("there", stream), "{context}");
                }
            }
        }
    }
}

#[tokio::test]
async fn the_other_operations_are_asked_where_they_are_and_refused_clearly_where_they_are_not() {
    let bodies = BTreeMap::from([
        ("/v1/embeddings", r#"{"input":"a","model":"$"}"#),
        ("/v1/rerank", r#"{"query":"q","documents":["a"],"model":"$"}"#),
        ("/v2/rerank", r#"{"query":"q","documents":["a"],"model":"$"}"#),
        ("/v1/moderations", r#"{"input":"a","model":"$"}"#),
    ]);
    for (kind, has) in OPERATIONS {
        let upstream = compatible().await;
        let gateway = Gateway::start(&(channel(kind, &upstream, ("", "")) + &key())).await;
        for (path, target) in *has {
            let answer = ask(&gateway, path, &bodies[path].replace('$', MODEL)).await;
            assert_eq!(answer.status, 200, "{kind} {path}: {}", answer.text());
            let sent = upstream.requests().pop().expect("it was asked");
            assert_eq!(sent.target, *target, "{kind} {path}");
            assert_eq!(
                String::from_utf8_lossy(&sent.body),
                bodies[path].replace('$', "there"),
                "{kind} {path}"
            );
        }
        let before = upstream.request_count();
        if !has.iter().any(|(path, _)| *path == "/v1/embeddings") {
            let answer = ask(&gateway, "/v1/embeddings", &bodies["/v1/embeddings"].replace('$', MODEL)).await;
            assert_eq!((answer.status, answer.code().as_str()), (400, "untranslatable_request"), "{kind}");
            assert!(answer.text().contains("does not offer this (embeddings)"), "{}", answer.text());
            assert_eq!(upstream.request_count(), before, "{kind}");
        }
    }
}

async fn ask(gateway: &Gateway, path: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {KEY}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    client::post(gateway.addr(), path, &headers, body.as_bytes()).await
}

#[tokio::test]
async fn tokens_are_counted_where_that_is_documented_and_estimated_elsewhere() {
    for (kind, counted) in [("anthropic", true), ("vllm", true), ("deepseek", false), ("ollama", false)] {
        let upstream = compatible().await;
        let gateway = Gateway::start(&(channel(kind, &upstream, ("", "")) + &key())).await;
        let headers =
            [("x-api-key", KEY), ("anthropic-version", "2023-06-01"), ("content-type", "application/json")];
        let body = Messages.body(MODEL, false).replace(r#""max_tokens":9,"#, "");
        let answer =
            client::post(gateway.addr(), "/v1/messages/count_tokens", &headers, body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{kind}: {}", answer.text());
        assert_eq!(answer.header("x-tollgate-estimated").is_none(), counted, "{kind}");
        assert_eq!(upstream.request_count(), usize::from(counted), "{kind}");
    }
}

#[tokio::test]
async fn azures_dated_api_has_deployments_in_the_path_and_its_version_in_the_query() {
    let upstream = compatible().await;
    let more = "api_version = \"2024-10-21\"";
    let text = channel("azure-openai", &upstream, ("/openai/", more)).replace("there", "gpt 4/o");
    let gateway = Gateway::start(&(text + &key())).await;
    for (path, body, target) in [
        (
            "/v1/chat/completions",
            Chat.body(MODEL, false),
            "/openai/deployments/gpt%204%2Fo/chat/completions?api-version=2024-10-21",
        ),
        (
            "/v1/chat/completions?api-version=2023-05-15&x=1",
            Chat.body(MODEL, false),
            "/openai/deployments/gpt%204%2Fo/chat/completions?x=1&api-version=2024-10-21",
        ),
        (
            "/v1/embeddings",
            format!(r#"{{"input":"a","model":"{MODEL}"}}"#),
            "/openai/deployments/gpt%204%2Fo/embeddings?api-version=2024-10-21",
        ),
        ("/v1/responses", Responses.body(MODEL, false), "/openai/responses?api-version=2024-10-21"),
    ] {
        let answer = ask(&gateway, path, &body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let sent = upstream.requests().pop().expect("it was asked");
        assert_eq!(sent.target, target, "{path}");
        assert_eq!(presented(&sent), expected(ApiKey, "azure-openai"), "{path}");
    }
    // A file goes through as a tunnel, to the same place.
    let request = client::request("GET", "/v1/files", &[("authorization", &format!("Bearer {KEY}"))], b"");
    assert_eq!(client::once(gateway.addr(), &request).await.status, 200);
    let sent = upstream.requests().pop().expect("it was asked");
    assert_eq!(sent.target, "/openai/files?api-version=2024-10-21");
    assert_eq!(presented(&sent), expected(ApiKey, "azure-openai"));
}

#[tokio::test]
async fn azures_models_and_no_others_are_capped_by_the_newer_field_wherever_they_are() {
    for (kind, field) in [("azure-openai", "max_completion_tokens"), ("groq", "max_tokens")] {
        let upstream = compatible().await;
        let keys = format!("{}max_output_tokens = 7\n", key());
        let gateway = Gateway::start(&(channel(kind, &upstream, ("", "")) + &keys)).await;
        assert_eq!(Chat.ask(gateway.addr(), MODEL, false).await.status, 200);
        let sent = upstream.requests().pop().expect("it was asked");
        let body: serde_json::Value = serde_json::from_slice(&sent.body).expect("JSON");
        assert_eq!(body[field], 7, "{kind}: {body}");
    }
}

#[tokio::test]
async fn who_refuses_stream_options_is_sent_none_unless_the_operator_says_so() {
    let plain =
        format!(r#"{{"model":"{MODEL}","stream":true,"messages":[{{"role":"user","content":"hi"}}]}}"#);
    for (kind, more, asked) in [
        ("openai", "", true),
        ("mistral", "", false),
        ("cohere", "", false),
        ("mistral", "include_usage = true", true),
        ("openai", "include_usage = false", false),
    ] {
        let upstream = compatible().await;
        let gateway = Gateway::start(&(channel(kind, &upstream, ("", more)) + &key())).await;
        assert_eq!(ask(&gateway, "/v1/chat/completions", &plain).await.status, 200, "{kind}");
        assert_eq!(Messages.ask(gateway.addr(), MODEL, true).await.status, 200, "{kind}");
        for sent in upstream.requests() {
            let body = String::from_utf8_lossy(&sent.body).into_owned();
            assert_eq!(body.contains("stream_options"), asked, "{kind} {more}: {body}");
        }
    }
}

#[tokio::test]
async fn a_server_of_ones_own_needs_no_credential_and_is_sent_none() {
    for kind in ["ollama", "vllm", "sglang"] {
        let upstream = compatible().await;
        let text = channel(kind, &upstream, ("/v1", ""));
        let text = text.split("api_keys").next().expect("the channel").to_owned();
        let gateway = Gateway::start(&(text + &key())).await;
        for client in [Chat, Messages] {
            assert_eq!(client.ask(gateway.addr(), MODEL, false).await.status, 200, "{kind}");
            let sent = upstream.requests().pop().expect("it was asked");
            assert_eq!(presented(&sent), (Form::None, String::new()), "{kind}");
        }
    }
}

/// What loading this channel says: problems, or what is warned of.
fn said(channel: &str) -> Result<String, String> {
    let text = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\n[[channel]]\nname = \"c\"\napi_keys = [\"sk-up-0123456789\"]\n{channel}\n{}",
        key()
    );
    let source = TextSource(&text);
    let loaded = config::load(Path::new("t.toml"), &source).map_err(|problems| problems.to_string())?;
    Ok(loaded.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

#[test]
fn what_a_type_cannot_be_told_is_said_with_its_way_out() {
    for (channel, words) in [
        ("type = \"azure-openai\"", "base_url: is needed: type azure-openai has no address of its own"),
        (
            "type = \"azure-openai\"\nbase_url = \"https://r.openai.azure.com/openai/deployments/d\"",
            "names a deployment (leave that off",
        ),
        (
            "type = \"azure-openai\"\nbase_url = \"https://r.openai.azure.com/openai/v1\"\napi_version = \"2024-10-21\"",
            "api_version: is a date, and base_url names the v1 API, which has none",
        ),
        ("type = \"openai\"\napi_version = \"2024-10-21\"", "api_version: means nothing to type openai"),
        ("type = \"jina\"\nprotocols = [\"chat\"]", "is not spoken by type jina"),
        (
            "type = \"zhipu\"\nbase_url = \"https://open.bigmodel.cn/api/coding/paas/v4\"\nprotocols = [\"anthropic\"]",
            "is not where base_url leads",
        ),
    ] {
        let problems = said(channel).expect_err(channel);
        assert!(problems.contains(words), "{channel}:\n{problems}");
    }
}

#[test]
fn the_token_of_claude_code_goes_to_its_own_address_and_nowhere_else() {
    let warned = said("type = \"claude-code\"\nbase_url = \"https://proxy.example/v1\"").expect("it loads");
    assert!(warned.contains("channel.c.base_url: is not used"), "{warned}");
    let decides = claude_code("base_url = \"https://proxy.example/v1\"");
    let channel = &decides.live.snapshot.channels[0];
    assert_eq!(channel.endpoint.base_url(), "https://api.anthropic.com");
    assert!(channel.serves("claude-opus-5-5") && channel.serves("claude-haiku-5-5"));
    assert!(!channel.serves("gpt-4.1"));
    assert!(claude_code("models = [\"x\"]").live.snapshot.channels[0].serves("x"));
}

fn claude_code(more: &str) -> Decides {
    Decides::new(&format!(
        "[[channel]]\nname = \"max\"\ntype = \"claude-code\"\napi_keys = [\"sk-ant-oat01-0123456789\"]\nmodel_map = {{ m = \"claude-opus-5-5\" }}\n{more}\n"
    ))
}

#[test]
fn a_request_with_the_token_of_claude_code_is_the_clients_own_but_for_the_credential_and_one_beta() {
    let decides = claude_code("models = [\"m\"]");
    let attempt = decides.attempt(None);
    let body =
        Bytes::from_static(br#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#);
    for (betas, sent) in [
        (&[][..], "oauth-2025-04-20"),
        (&["claude-code-20250219"], "claude-code-20250219,oauth-2025-04-20"),
        (&["a, b", "c"], "a,b,c,oauth-2025-04-20"),
        (&["oauth-2025-04-20,a"], "oauth-2025-04-20,a"),
    ] {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-api-key", KEY),
            ("anthropic-version", "2023-06-01"),
            ("user-agent", "curl/8"),
            ("x-app", "cli"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        for beta in betas {
            headers.append("anthropic-beta", HeaderValue::from_static(beta));
        }
        let entry =
            entry::entry(&Method::POST, "/v1/messages", Some("beta=true"), &headers).expect("an address");
        let original = Original {
            method: &Method::POST,
            entry: &entry,
            headers: &headers,
            body: &body,
            model: None,
            stripped: &[],
            capped: &[],
            ask_usage: None,
            requested: "m",
        };
        let outgoing = rewrite(&original, &attempt);
        assert_eq!(outgoing.target, "/v1/messages?beta=true");
        assert_eq!(outgoing.body.concat(), body);
        let length = body.len().to_string();
        let expected = BTreeMap::from([
            ("accept-encoding", "identity"),
            ("anthropic-beta", sent),
            ("anthropic-version", "2023-06-01"),
            ("authorization", "Bearer sk-ant-oat01-0123456789"),
            ("content-length", &length),
            ("host", "api.anthropic.com"),
            ("user-agent", "curl/8"),
            ("x-app", "cli"),
        ]);
        let found: BTreeMap<&str, &str> = outgoing
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().expect("ASCII")))
            .collect();
        assert_eq!(found, expected, "{betas:?}");
        assert_eq!(outgoing.headers.len(), expected.len(), "{betas:?}");
    }
}

#[test]
fn the_dump_says_where_each_protocol_is() {
    let decides = Decides::new(
        "[[channel]]\nname = \"d\"\ntype = \"deepseek\"\napi_keys = [\"sk-up-0123456789\"]\nmodels = [\"m\"]\n",
    );
    let dump = config::redacted(&decides.live.snapshot);
    assert_eq!(
        dump["channel"][0]["addresses"],
        json!({ "chat": "https://api.deepseek.com", "anthropic": "https://api.deepseek.com/anthropic/v1" }),
        "{dump}"
    );
}

#[test]
fn the_documents_say_of_each_type_where_its_protocols_are() {
    let page = std::fs::read_to_string(repository("docs/channels.md")).expect("it is there");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .skip_while(|line| *line != "<!-- table: types -->")
        .skip(3)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    let listed: Vec<String> = rows.iter().map(|row| row[1].trim_matches('`').to_owned()).collect();
    assert_eq!(listed, types());
    for row in rows {
        let kind = row[1].trim_matches('`');
        let base = if kind == "azure-openai" { "base_url = \"https://r.openai.azure.com\"\n" } else { "" };
        let decides = Decides::new(&format!(
            "[[channel]]\nname = \"c\"\ntype = \"{kind}\"\napi_keys = [\"sk-up-0123456789\"]\n{base}"
        ));
        let channel = &decides.live.snapshot.channels[0];
        let places = channel
            .protocols
            .iter()
            .map(|protocol| format!("`{}` `{}`", protocol.word(), channel.address_of(*protocol)));
        let places: Vec<String> = places.collect();
        let expected = if places.is_empty() { "–".to_owned() } else { places.join(", ") };
        assert_eq!(row[2], expected, "{kind}");
    }
}

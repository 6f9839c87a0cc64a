//! What each channel type is asked, where and as whom: the exact path, credential and body behind a running gateway.
//!
//! The addresses are those that the providers document; the fake stands at another host and understands all of them.

mod azure;
mod claude_code;
mod operations;
mod sites;

use crate::support::client::{self, Answer, Ended};
use crate::support::decide::Decides;
use crate::support::speech::{MODEL, Speech};
use crate::support::{Gateway, KEY, credential, key, repository};
use serde_json::json;
use std::path::Path;
use tollgate::config::{self, TextSource};
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
    (
        "deepseek",
        &[
            (Chat, "/chat/completions", Bearer),
            (Messages, "/anthropic/v1/messages", XApiKey),
            (Responses, "/responses", Bearer),
        ],
    ),
    (
        "moonshot",
        &[
            (Chat, "/v1/chat/completions", Bearer),
            (Messages, "/anthropic/v1/messages", Bearer),
            (Responses, "/v1/responses", Bearer),
        ],
    ),
    (
        "zhipu",
        &[
            (Chat, "/api/paas/v4/chat/completions", Bearer),
            (Messages, "/api/anthropic/v1/messages", Bearer),
            (Responses, "/api/v1/responses", Bearer),
        ],
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
    (
        "minimax",
        &[
            (Chat, "/v1/chat/completions", Bearer),
            (Messages, "/anthropic/v1/messages", Bearer),
            (Responses, "/v1/responses", Bearer),
        ],
    ),
    ("siliconflow", &[(Chat, "/v1/chat/completions", Bearer), (Messages, "/v1/messages", Bearer)]),
    ("xai", &[(Responses, "/v1/responses", Bearer), (Chat, "/v1/chat/completions", Bearer)]),
    ("mistral", &[(Chat, "/v1/chat/completions", Bearer), (Responses, "/v1/responses", Bearer)]),
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

/// Types that have tests of their own: Gemini's address names the model, the token of Claude Code goes to one host only,
/// and clouds ask for more than a key (`clouds`).
const APART: [&str; 5] = ["gemini", "claude-code", "vertex", "bedrock", "bedrock-mantle"];

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

async fn ask(gateway: &Gateway, path: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {KEY}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    client::post(gateway.addr(), path, &headers, body.as_bytes()).await
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
fn the_dump_says_where_each_protocol_is() {
    let decides = Decides::new(
        "[[channel]]\nname = \"d\"\ntype = \"deepseek\"\napi_keys = [\"sk-up-0123456789\"]\nmodels = [\"m\"]\n",
    );
    let dump = config::redacted(&decides.live.snapshot);
    assert_eq!(
        dump["channel"][0]["addresses"],
        json!({
            "chat": "https://api.deepseek.com",
            "anthropic": "https://api.deepseek.com/anthropic/v1",
            "responses": "https://api.deepseek.com",
        }),
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
        let more = match kind {
            "azure-openai" => "base_url = \"https://r.openai.azure.com\"\n",
            "vertex" => {
                "project = \"p\"\nlocation = \"global\"\nallow_link_local = true\nprotocols = [\"gemini\", \"anthropic\", \"chat\"]\n"
            }
            "bedrock" | "bedrock-mantle" => {
                "region = \"us-east-1\"\nprotocols = [\"anthropic\", \"chat\", \"responses\"]\n"
            }
            _ => "",
        };
        let key = if kind == "vertex" { "metadata" } else { "sk-up-0123456789" };
        let decides = Decides::new(&format!(
            "[[channel]]\nname = \"c\"\ntype = \"{kind}\"\napi_keys = [\"{key}\"]\n{more}"
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

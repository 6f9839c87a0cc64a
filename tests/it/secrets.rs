//! Secrets planted everywhere, and nothing of them in anything we write.

use crate::support::ask::{Speaks, key_named};
use crate::support::client::{self, Answer};
use crate::support::process::{Run, tollgate, tollgate_with};
use crate::support::provider;
use std::collections::BTreeMap;
use tollgate_loadtest::{Fault, Provider, Selector};

/// Every planted secret; the middle word is in nothing else.
const CLIENT_KEY: &str = "sk-canary-client-0123456789-9f3a";
const WRONG_KEY: &str = "sk-canary-wrong-0123456789-1c7d";
const MALFORMED_KEY: &str = "canary-malformed-0123456789";
const CHANNEL_KEY: &str = "sk-canary-channel-0123456789-77aa";
const SECOND_KEY: &str = "sk-canary-second-0123456789-88bb";
const ADMIN_TOKEN: &str = "canary-admin-token-0123456789";
const COOKIE: &str = "canary-cookie-0123456789";
const HEADER: &str = "canary-header-0123456789";
const SET_HEADER: &str = "canary-set-header-0123456789";
const PROMPT: &str = "canary-prompt-0123456789";
const ARGUMENT: &str = "canary-argument-0123456789";
const ANSWER: &str = "canary-answer-0123456789";
const QUERY: &str = "canary-query-0123456789";

const EVERYWHERE: [&str; 13] = [
    CLIENT_KEY,
    WRONG_KEY,
    MALFORMED_KEY,
    CHANNEL_KEY,
    SECOND_KEY,
    ADMIN_TOKEN,
    COOKIE,
    HEADER,
    SET_HEADER,
    PROMPT,
    ARGUMENT,
    ANSWER,
    QUERY,
];

/// Everything that was written, by where.
type Written = BTreeMap<String, String>;

fn check(written: &Written, secrets: &[&str]) {
    for (place, text) in written {
        for secret in secrets {
            let at = text
                .find(secret)
                .map(|at| text[at.saturating_sub(120)..].chars().take(300).collect::<String>());
            assert_eq!(at, None, "{secret} in {place}");
        }
    }
}

fn configuration(upstream: &Provider) -> String {
    let base = upstream.base_url();
    let mut text = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\nadmin_token = \"{ADMIN_TOKEN}\"\n\
         [log]\nlevel = \"trace\"\nlabels = [\"x-team\"]\n[trace]\nclaude_code_trace_enabled = true\n"
    );
    for (name, kind, credential) in [
        ("one", "openai", CHANNEL_KEY),
        ("two", "openai", SECOND_KEY),
        ("claude", "anthropic", CHANNEL_KEY),
        ("gemini", "gemini", CHANNEL_KEY),
    ] {
        text += &format!(
            "[[channel]]\nname = \"{name}\"\ntype = \"{kind}\"\nbase_url = \"{base}\"\napi_keys = [\"{credential}\"]\n\
             request_headers = {{ set = {{ \"x-set\" = \"{SET_HEADER}\" }} }}\n"
        );
    }
    text + &key_named("alice", CLIENT_KEY, "")
}

/// The question with a secret in every place a client can put one.
fn question(speaks: Speaks, key: &str, stream: bool) -> Vec<u8> {
    let (bearer, cookie) = (format!("Bearer {key}"), format!("session={COOKIE}"));
    let agent = "client/1.0";
    let mut headers = vec![
        ("authorization", bearer.as_str()),
        ("cookie", cookie.as_str()),
        ("x-unknown-secret", HEADER),
        ("user-agent", agent),
        ("x-team", "search"),
    ];
    if speaks == Speaks::Anthropic {
        headers.push(("anthropic-version", "2023-06-01"));
    }
    let messages = format!(
        r#"[{{"role":"user","content":"{PROMPT}"}},{{"role":"assistant","content":"ok"}},{{"role":"user","content":"{ARGUMENT}"}}]"#
    );
    let body = match speaks {
        Speaks::OpenAi => {
            format!(r#"{{"model":"m","stream":{stream},"user":"{PROMPT}","messages":{messages}}}"#)
        }
        Speaks::Anthropic => {
            format!(r#"{{"model":"m","stream":{stream},"max_tokens":9,"messages":{messages}}}"#)
        }
        Speaks::Gemini => format!(r#"{{"contents":[{{"role":"user","parts":[{{"text":"{PROMPT}"}}]}}]}}"#),
    };
    client::request("POST", &speaks.path("m", stream), &headers, body.as_bytes())
}

/// Faults whose text repeats what a careless provider would repeat: the credential, the prompt.
fn echoing(status: u16, credential: &str) -> Fault {
    let body = format!(
        r#"{{"error":{{"message":"Incorrect API key provided: {credential}, Bearer {credential}.","type":"x","code":null}}}}"#
    );
    Fault::Status { status, headers: vec![("x-echo".to_owned(), "echo".to_owned())], body: Some(body) }
}

fn said(text: &str) -> Fault {
    let body = format!(
        r#"{{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}}}"#
    );
    Fault::Raw(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nset-cookie: {COOKIE}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// Sends everything through everything; the bodies of the answers we authored, by what they answered.
async fn drive(run: &Run, upstream: &Provider) -> Written {
    let mut authored = Written::new();
    let mut keep = |what: String, answer: &Answer| {
        authored.insert(what, format!("{:?}\n{}", answer.headers, answer.text()));
    };
    for speaks in Speaks::ALL {
        for stream in [false, true] {
            let answer = client::once(run.addr, &question(speaks, CLIENT_KEY, stream)).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        for key in [WRONG_KEY, MALFORMED_KEY] {
            keep(format!("{speaks:?} {key}"), &client::once(run.addr, &question(speaks, key, false)).await);
        }
    }
    upstream.script(Selector::Any, vec![said(ANSWER)]);
    client::once(run.addr, &question(Speaks::OpenAi, CLIENT_KEY, false)).await;
    for path in [
        format!("/v1beta/models/m:generateContent?key={CLIENT_KEY}"),
        format!("/v1beta/models/m:generateContent?key={WRONG_KEY}&%6bey={CLIENT_KEY}"),
        format!("/v1/chat/completions?key={CLIENT_KEY}&secret={QUERY}"),
        format!("/nowhere?key={CLIENT_KEY}&secret={QUERY}"),
    ] {
        let answer = client::post(run.addr, &path, &[], b"{\"contents\":[]}").await;
        if answer.status != 200 {
            keep(format!("POST {}", path.split('?').next().unwrap_or_default()), &answer);
        }
    }
    drive_faults(run, upstream, &mut keep).await;
    authored
}

async fn drive_faults(run: &Run, upstream: &Provider, keep: &mut impl FnMut(String, &Answer)) {
    let broken = [
        Fault::Reset,
        Fault::Garbage,
        Fault::StreamErrorFirst,
        Fault::Cut { after_events: 2, how: tollgate_loadtest::Cut::Fin },
        Fault::CutBody { after_bytes: 3 },
        Fault::Raw(format!("HTTP/1.1 200 {CHANNEL_KEY}\r\nbroken {CHANNEL_KEY}\r\n\r\n")),
    ];
    for fault in broken {
        upstream.script_forever(Selector::Any, fault);
        ask_all(run, keep).await;
        upstream.clear_scripts();
    }
    for status in [500, 503, 402, 404, 400, 422, 429, 403, 401] {
        for credential in [CHANNEL_KEY, SECOND_KEY] {
            upstream.script_forever(Selector::Credential(credential.to_owned()), echoing(status, credential));
        }
        ask_all(run, keep).await;
        upstream.clear_scripts();
    }
    // A head that is no HTTP, with credentials in it.
    let garbage =
        format!("POST /v1/messages HTTP/1.1\r\nx-api-key: {CLIENT_KEY}\r\nbad header {WRONG_KEY}\r\n\r\n");
    let mut connection = client::Connection::open(run.addr).await;
    connection.send_anyway(garbage.as_bytes()).await;
    if let Some(answer) = connection.answer().await {
        keep("garbage head".to_owned(), &answer);
    }
}

async fn ask_all(run: &Run, keep: &mut impl FnMut(String, &Answer)) {
    for speaks in Speaks::ALL {
        for stream in [false, true] {
            let answer = client::once(run.addr, &question(speaks, CLIENT_KEY, stream)).await;
            keep(
                format!("{speaks:?} {stream} {}", answer.header("x-request-id").unwrap_or_default()),
                &answer,
            );
        }
    }
}

/// Every view of the admin listener and what the commands print.
async fn views(run: &Run, config: &str) -> Written {
    let mut written = Written::new();
    for path in [
        "/metrics",
        "/",
        "/readyz",
        "/api/status?detail=1",
        "/api/exchanges?after=0",
        "/api/channels",
        "/api/keys",
        "/api/models",
        "/api/config",
        "/api/exchanges?limit=1000",
        "/api/explain?key=alice&model=m",
        "/api/unheard-of",
    ] {
        let bearer = format!("Bearer {ADMIN_TOKEN}");
        let request =
            client::request("GET", path, &[("authorization", &bearer), ("connection", "close")], b"");
        written.insert(path.to_owned(), client::once(run.admin, &request).await.text());
        written.insert(format!("{path} without the token"), client::get(run.admin, path).await.text());
    }
    let admin = run.admin_url();
    let token = [("TOLLGATE_ADMIN_TOKEN", ADMIN_TOKEN)];
    for arguments in [
        vec!["check", "-c", config, "--dump"],
        vec!["keys", "list", "-c", config],
        vec!["models", "-c", config],
        vec!["explain", "-c", config, "--key", "alice", "--model", "m"],
        vec!["status", "--admin", &admin],
        vec!["keys", "list", "--admin", &admin, "--format", "json"],
        vec!["reload", "--admin", &admin],
    ] {
        let done = tollgate_with(&arguments, &token, "");
        written.insert(arguments.join(" "), done.stdout + &done.stderr);
    }
    written
}

#[tokio::test]
async fn no_secret_is_in_any_log_metric_view_or_error_at_the_most_talkative_level() {
    let upstream = provider().await;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("tollgate.toml");
    std::fs::write(&path, configuration(&upstream)).expect("it is written");
    let config = path.to_str().expect("a plain path");
    let mut run = Run::start(&path).await;
    let authored = drive(&run, &upstream).await;
    let mut written = views(&run, config).await;
    // A bad configuration is complained about without what stands in it.
    let bad =
        configuration(&upstream).replace("api_keys = [", "api_kesy = [") + "[[key]]\nname = \"alice\"\n";
    std::fs::write(&path, bad).expect("it is written");
    let done = tollgate(&["check", "-c", config]);
    assert_eq!(done.code, Some(1));
    written.insert("check of a bad file".to_owned(), done.stdout + &done.stderr);
    run.process.signal("HUP");
    run.process.stderr.line("configuration refused").await;
    run.process.signal("TERM");
    assert_eq!(run.process.ended().await, Some(0));
    let (stdout, stderr) = (run.process.stdout.text(), run.process.stderr.text());
    assert!(stdout.lines().count() > 40 && stdout.contains("\"key_last4\":\"9f3a\""), "the log was written");
    assert!(stdout.contains("\"labels\":{\"x-team\":\"search\"}"), "a label is there");
    written.insert("standard output".to_owned(), stdout);
    written.insert("standard error".to_owned(), stderr);
    check(&written, &EVERYWHERE);
    check(&authored, &EVERYWHERE);
}

//! `vertex`: tokens that are issued, and the paths and bodies of Google's cloud.

use super::{BETAS, claude_code, claude_codes};
use crate::egress::{Kind, Proxy};
use crate::support::client::{self, Ended};
use crate::support::cloud::{Came, Reply, behind, serve};
use crate::support::process::tollgate;
use crate::support::speech::Speech;
use crate::support::{Gateway, KEY, StillWorld, channel, key, provider, repository};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tollgate::config::{self, FsSource};
use tollgate_loadtest::{Fault, Provider, Selector};

const CLAUDE: &str = "claude-sonnet-5@20260101";
const PROJECT: &str = "/v1/projects/tests-only/locations/europe-west1";

/// Google, as far as it is asked here.
struct Google {
    addr: SocketAddr,
    upstream: Arc<Provider>,
    at: Arc<At>,
    dir: tempfile::TempDir,
}

#[derive(Default)]
struct At {
    /// Where tokens are issued, by its own account.
    token_uri: Mutex<String>,
    /// What the next requests for a token are answered instead.
    refusals: Mutex<Vec<Reply>>,
    /// How many tokens were asked for.
    asked: tokio::sync::watch::Sender<usize>,
    /// The tokens that are good.
    good: Mutex<Vec<String>>,
    /// Whether what comes with a good token is refused with its headers.
    repeats: AtomicBool,
    came: Mutex<Vec<Came>>,
}

impl Google {
    async fn start() -> Self {
        let (upstream, at) = (Arc::new(provider().await), Arc::<At>::default());
        let (behind, front) = (Arc::clone(&upstream), Arc::clone(&at));
        let addr = serve(move |came| {
            let (upstream, at) = (Arc::clone(&behind), Arc::clone(&front));
            Box::pin(async move { at.answer(came, upstream.addr()).await })
        })
        .await;
        *at.token_uri.lock().expect("nobody panics") = format!("http://{addr}/token");
        let dir = tempfile::tempdir().expect("a directory");
        let mut account = service_account();
        account["token_uri"] = json!(format!("http://{addr}/token"));
        std::fs::write(dir.path().join("sa.json"), account.to_string()).expect("it is written");
        Self { addr, upstream, at, dir }
    }

    fn file(&self) -> String {
        format!("{{ file = \"{}\" }}", self.dir.path().join("sa.json").display())
    }

    fn channel(&self, more: &str) -> String {
        let (addr, file) = (self.addr, self.file());
        format!(
            "[[channel]]\nname = \"vertex\"\ntype = \"vertex\"\nbase_url = \"http://{addr}\"\nlocation = \"europe-west1\"\n\
             api_keys = [{file}]\n{more}\n"
        )
    }

    fn claude(&self) -> String {
        self.channel(&format!(
            "models = [\"claude-sonnet-5\"]\nmodel_map = {{ \"claude-sonnet-5\" = \"{CLAUDE}\" }}"
        ))
    }

    fn asked(&self) -> usize {
        *self.at.asked.borrow()
    }

    fn last(&self) -> Came {
        self.at.came.lock().expect("nobody panics").last().cloned().expect("it was asked")
    }

    fn refuse(&self, replies: &[Reply]) {
        self.at.refusals.lock().expect("nobody panics").extend_from_slice(replies);
    }
}

fn service_account() -> Value {
    let text = std::fs::read_to_string(repository("tests/fixtures/cloud/service-account.json"))
        .expect("it is there");
    serde_json::from_str(&text).expect("JSON")
}

impl At {
    async fn answer(&self, came: Came, upstream: SocketAddr) -> Reply {
        if came.target == "/token" {
            return self.token(&came);
        }
        self.came.lock().expect("nobody panics").push(came.clone());
        let bearer =
            came.header("authorization").and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        if !self.good.lock().expect("nobody panics").iter().any(|good| good == bearer) {
            let words = format!("no such token: {bearer}");
            let error = json!({ "error": { "code": 401, "message": words, "status": "UNAUTHENTICATED" } });
            return Reply::json(401, &error);
        }
        if self.repeats.load(Ordering::Relaxed) {
            let words = format!("a proxy between says: bad request with {:?}", came.headers);
            let error = json!({ "type": "invalid_request_error", "message": words });
            return Reply::json(400, &json!({ "type": "error", "error": error }));
        }
        match front(&came, upstream).await {
            Ok(reply) => reply,
            Err(why) => Reply::json(
                400,
                &json!({ "error": { "code": 400, "message": why, "status": "INVALID_ARGUMENT" } }),
            ),
        }
    }

    fn token(&self, came: &Came) -> Reply {
        self.asked.send_modify(|asked| *asked += 1);
        if let Some(refusal) = self.refusals.lock().expect("nobody panics").pop() {
            return refusal;
        }
        assert_eq!(came.method, "POST");
        assert_eq!(came.header("content-type"), Some("application/x-www-form-urlencoded"));
        let body = came.text();
        let assertion = body
            .strip_prefix("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=")
            .unwrap_or_else(|| panic!("{body}"));
        let claims = verified(assertion);
        assert_eq!(claims["aud"], *self.token_uri.lock().expect("nobody panics"));
        assert_eq!(claims["scope"], "https://www.googleapis.com/auth/cloud-platform");
        let token = format!("ya29.issued-{}", *self.asked.borrow());
        self.good.lock().expect("nobody panics").push(token.clone());
        Reply::json(200, &json!({ "access_token": token, "expires_in": 3599, "token_type": "Bearer" }))
    }
}

/// The claims, if the account's key signed them.
fn verified(assertion: &str) -> Value {
    let pem = service_account()["private_key"].as_str().expect("a key").to_owned();
    let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let pair = RsaKeyPair::from_pkcs8(&STANDARD.decode(text).expect("base64")).expect("a key");
    let (signed, signature) = assertion.rsplit_once('.').expect("three parts");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64");
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref());
    public.verify(signed.as_bytes(), &signature).expect("the account's own signature");
    let claims = signed.split('.').nth(1).expect("claims");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).expect("base64")).expect("JSON")
}

/// What a request means behind the front; else why it is refused.
async fn front(came: &Came, upstream: SocketAddr) -> Result<Reply, String> {
    let path = came.target.strip_prefix(PROJECT).ok_or_else(|| format!("no such place: {}", came.target))?;
    for stray in ["x-api-key", "x-goog-api-key", "anthropic-version"] {
        if came.header(stray).is_some() {
            return Err(format!("{stray} means nothing here"));
        }
    }
    let mut body = came.json();
    if path == "/endpoints/openapi/chat/completions" {
        let model = body["model"].as_str().unwrap_or_default();
        if !model.starts_with("google/") {
            return Err(format!("{model} has no publisher"));
        }
        return Ok(behind(upstream, "/v1/chat/completions", &[("authorization", "Bearer k")], &body).await);
    }
    if let Some(verb) = path.strip_prefix("/publishers/google/models/") {
        if body.get("generateContentRequest").is_some() {
            return Err("Unknown name \"generateContentRequest\"".to_owned());
        }
        let path = format!("/v1beta/models/{verb}");
        return Ok(behind(upstream, &path, &[("x-goog-api-key", "k")], &body).await);
    }
    let model =
        path.strip_prefix("/publishers/anthropic/models/").ok_or_else(|| format!("no such place: {path}"))?;
    let (model, verb) = model.rsplit_once(':').ok_or("no verb")?;
    let said = body.as_object_mut().and_then(|body| body.remove("anthropic_version"));
    if said != Some(json!("vertex-2023-10-16")) {
        return Err(format!("anthropic_version: {said:?}"));
    }
    let headers = [
        ("x-api-key", "k"),
        ("anthropic-version", "2023-06-01"),
        ("anthropic-beta", came.header("anthropic-beta").unwrap_or("none")),
    ];
    if model == "count-tokens" && verb == "rawPredict" {
        if body["model"] != CLAUDE {
            return Err(format!("model: {}", body["model"]));
        }
        return Ok(behind(upstream, "/v1/messages/count_tokens", &headers, &body).await);
    }
    if body.get("model").is_some() {
        return Err("model: Extra inputs are not permitted".to_owned());
    }
    let stream = body.get("stream").and_then(Value::as_bool).unwrap_or_default();
    if model != CLAUDE || verb != if stream { "streamRawPredict" } else { "rawPredict" } {
        return Err(format!("{model}:{verb}, stream {stream}"));
    }
    body["model"] = json!(model);
    Ok(behind(upstream, "/v1/messages", &headers, &body).await)
}

#[tokio::test]
async fn claude_is_asked_in_its_own_words_and_only_the_model_stands_elsewhere() {
    let google = Google::start().await;
    let gateway = Gateway::start(&(google.claude() + &key())).await;
    for stream in [false, true] {
        let answer = claude_code(gateway.addr(), "claude-sonnet-5", stream).await;
        assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{}", answer.text());
        assert!(
            answer.text().contains("claude-sonnet-5\""),
            "under the name it was asked by: {}",
            answer.text()
        );
        let came = google.last();
        let verb = if stream { "streamRawPredict" } else { "rawPredict" };
        assert_eq!(came.target, format!("{PROJECT}/publishers/anthropic/models/{CLAUDE}:{verb}"));
        let model = "\"model\":\"claude-sonnet-5\"";
        let version = "\"anthropic_version\":\"vertex-2023-10-16\"";
        assert_eq!(came.text(), claude_codes("claude-sonnet-5", stream).replacen(model, version, 1));
        assert_eq!(came.header("anthropic-beta"), Some(BETAS));
        assert_eq!(came.header("authorization"), Some("Bearer ya29.issued-1"));
    }
    let line = &gateway.log.lines(2).await[1];
    assert!(line["tokens"]["output"].as_u64() > Some(0), "{line}");
}

#[tokio::test]
async fn whoever_asks_reaches_each_of_its_protocols() {
    let google = Google::start().await;
    let gemini =
        google.channel("models = [\"gemini-3-pro\"]").replace("\"vertex\"\ntype", "\"gemini\"\ntype");
    let chat = "models = [\"gemini-chat\"]\nprotocols = [\"chat\"]\nmodel_map = { gemini-chat = \"google/gemini-3-pro\" }";
    let chat = google.channel(chat).replace("\"vertex\"\ntype", "\"chat\"\ntype");
    let gateway = Gateway::start(&(google.claude() + &gemini + &chat + &key())).await;
    for (model, path) in [
        ("claude-sonnet-5", "/publishers/anthropic/models/"),
        ("gemini-3-pro", "/publishers/google/models/gemini-3-pro:"),
        ("gemini-chat", "/endpoints/openapi/chat/completions"),
    ] {
        for client in Speech::ALL {
            for stream in [false, true] {
                let answer = client.ask(gateway.addr(), model, stream).await;
                let context = format!("{client:?} {model} {stream}: {}", answer.text());
                assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{context}");
                assert!(google.last().target.starts_with(&format!("{PROJECT}{path}")), "{context}");
            }
        }
    }
    assert_eq!(google.asked(), 1, "one account, one token");
}

#[tokio::test]
async fn tokens_of_a_request_are_counted_there() {
    let google = Google::start().await;
    let gemini =
        google.channel("models = [\"gemini-3-pro\"]").replace("\"vertex\"\ntype", "\"gemini\"\ntype");
    let gateway = Gateway::start(&(google.claude() + &gemini + &key())).await;
    let count = "/v1/messages/count_tokens?beta=true";
    for (model, path) in [
        ("claude-sonnet-5", "/publishers/anthropic/models/count-tokens:rawPredict"),
        // Through translation: what Gemini's own API wraps is not wrapped here.
        ("gemini-3-pro", "/publishers/google/models/gemini-3-pro:countTokens"),
    ] {
        let body =
            format!("{{\"model\":\"{model}\",\"messages\":[{{\"role\":\"user\",\"content\":\"hi\"}}]}}");
        let headers =
            [("x-api-key", KEY), ("anthropic-version", "2023-06-01"), ("content-type", "application/json")];
        let answer = client::post(gateway.addr(), count, &headers, body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{model}: {}", answer.text());
        assert_eq!(answer.header("x-tollgate-estimated"), None, "{model}");
        assert_eq!(google.last().target, format!("{PROJECT}{path}"));
    }
}

#[tokio::test]
async fn a_token_is_asked_for_once_kept_over_reloads_and_renewed_before_its_end() {
    let (google, world) = (Google::start().await, StillWorld::new());
    let text = google.claude() + &key();
    let gateway = Gateway::in_world("", &text, Arc::<StillWorld>::clone(&world)).await;
    let mut under_way = tokio::task::JoinSet::new();
    let addr = gateway.addr();
    for _ in 0..8 {
        under_way.spawn(async move { claude_code(addr, "claude-sonnet-5", false).await.status });
    }
    while let Some(status) = under_way.join_next().await {
        assert_eq!(status.expect("it ends"), 200);
    }
    gateway.reload("", &(text.clone() + "[log]\nlabels = [\"x-team\"]\n")).expect("it loads");
    assert_eq!(claude_code(addr, "claude-sonnet-5", false).await.status, 200);
    assert_eq!(google.asked(), 1);
    // Four minutes before its end: this request still goes with the old one, and another is on its way.
    world.advance(Duration::from_secs(3599 - 230));
    assert_eq!(claude_code(addr, "claude-sonnet-5", false).await.status, 200);
    assert_eq!(google.last().header("authorization"), Some("Bearer ya29.issued-1"));
    google.at.asked.subscribe().wait_for(|asked| *asked == 2).await.expect("it is renewed");
    // Past the end of the first: nothing is waited for.
    world.advance(Duration::from_secs(300));
    assert_eq!(claude_code(addr, "claude-sonnet-5", false).await.status, 200);
    assert_eq!(google.last().header("authorization"), Some("Bearer ya29.issued-2"));
    // Past the end of the second, after a silence: a request waits for the third.
    world.advance(Duration::from_secs(7200));
    assert_eq!(claude_code(addr, "claude-sonnet-5", false).await.status, 200);
    assert_eq!(google.last().header("authorization"), Some("Bearer ya29.issued-3"));
    assert_eq!(google.asked(), 3);
}

#[tokio::test]
async fn a_token_that_is_refused_is_replaced_within_the_attempt_and_nobody_reads_it() {
    let google = Google::start().await;
    let gateway = Gateway::start(&(google.claude() + &key())).await;
    assert_eq!(claude_code(gateway.addr(), "claude-sonnet-5", false).await.status, 200);
    google.at.good.lock().expect("nobody panics").clear();
    assert_eq!(claude_code(gateway.addr(), "claude-sonnet-5", true).await.status, 200);
    assert_eq!(google.asked(), 2);
    // One that was issued just now and is refused all the same is the credential's failure.
    google.at.good.lock().expect("nobody panics").clear();
    google.refuse(&[Reply::json(
        200,
        &json!({ "access_token": "ya29.never-good-at-all", "expires_in": 3599 }),
    )]);
    let answer = claude_code(gateway.addr(), "claude-sonnet-5", false).await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unauthorized"), "{}", answer.text());
    let log = gateway.log.lines(3).await;
    assert_eq!(log[2]["attempts"][0]["reason"], "unauthorized", "{}", log[2]);
    assert!(log[2].to_string().contains("no such token: …"), "{}", log[2]);
    assert!(!gateway.log.text().contains("ya29"), "{}", gateway.log.text());
}

#[tokio::test]
async fn what_a_provider_repeats_of_a_request_has_no_token_whoever_reads_it() {
    let google = Google::start().await;
    google.at.repeats.store(true, Ordering::Relaxed);
    let gateway = Gateway::start(&(google.claude() + &key())).await;
    for client in Speech::ALL {
        for stream in [false, true] {
            let answer = client.ask(gateway.addr(), "claude-sonnet-5", stream).await;
            let text = answer.text();
            assert_eq!((answer.status, answer.ended), (400, Ended::Whole), "{client:?} {stream}: {text}");
            assert!(text.contains("a proxy between says"), "{client:?} {stream}: {text}");
            assert!(!text.contains("ya29"), "{client:?} {stream}: {text}");
        }
    }
    assert!(!gateway.log.text().contains("ya29"), "{}", gateway.log.text());
}

#[tokio::test]
async fn without_a_token_the_credential_rests_and_another_channel_answers() {
    let refused =
        Reply::json(400, &json!({ "error": "invalid_grant", "error_description": "Invalid JWT Signature." }));
    let failed = Reply { status: 503, headers: Vec::new(), body: b"busy".to_vec(), cut: false };
    for (replies, reason, asked) in
        [(vec![refused], "unauthorized", 1), (vec![failed.clone(), failed.clone(), failed], "no_token", 3)]
    {
        let google = Google::start().await;
        google.refuse(&replies);
        let second = provider().await;
        let other =
            channel("anthropic", "anthropic", &second, "priority = 1\nmodels = [\"claude-sonnet-5\"]");
        let gateway = Gateway::start(&(google.claude() + &other + &key())).await;
        for _ in 0..2 {
            let answer = claude_code(gateway.addr(), "claude-sonnet-5", true).await;
            assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{}", answer.text());
        }
        let lines = gateway.log.lines(2).await;
        let attempts = lines[0]["attempts"].as_array().expect("attempts");
        assert_eq!((attempts.len(), &attempts[0]["reason"]), (2, &json!(reason)), "{}", lines[0]);
        assert_eq!(lines[1]["attempts"].as_array().map(Vec::len), Some(1), "it rests: {}", lines[1]);
        assert_eq!(google.asked(), asked);
        assert_eq!(google.upstream.request_count(), 0);
        assert_eq!(
            String::from_utf8_lossy(&second.requests()[0].body),
            claude_codes("claude-sonnet-5", true)
        );
    }
}

#[tokio::test]
async fn a_failure_there_leads_to_anthropic_and_one_at_anthropic_leads_there() {
    for cloud_first in [true, false] {
        let google = Google::start().await;
        let second = provider().await;
        let (first, last) = if cloud_first { (0, 1) } else { (1, 0) };
        let other = format!("priority = {last}\nmodels = [\"claude-sonnet-5\"]");
        let text = google.claude()
            + &format!("priority = {first}\n")
            + &channel("anthropic", "anthropic", &second, &other);
        let gateway = Gateway::start(&(text + &key())).await;
        let failing = if cloud_first { &*google.upstream } else { &second };
        failing.script_forever(Selector::Any, Fault::Status { status: 529, headers: Vec::new(), body: None });
        let answer = claude_code(gateway.addr(), "claude-sonnet-5", true).await;
        assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{}", answer.text());
        assert!(answer.text().contains("message_stop"), "{}", answer.text());
    }
}

#[tokio::test]
async fn tokens_are_fetched_through_the_channels_own_proxy() {
    let google = Google::start().await;
    let issuer = "http://issuer.invalid/token";
    issuer.clone_into(&mut google.at.token_uri.lock().expect("nobody panics"));
    let mut account = service_account();
    account["token_uri"] = json!(issuer);
    std::fs::write(google.dir.path().join("sa.json"), account.to_string()).expect("it is written");
    let proxy = Proxy::start(Kind::Http, google.addr).await;
    let text = google.claude().replace(&format!("http://{}", google.addr), "http://provider.invalid");
    let text = format!("{text}egress_proxy = \"http://{}\"\n{}", proxy.addr, key());
    let gateway = Gateway::start(&text).await;
    assert_eq!(claude_code(gateway.addr(), "claude-sonnet-5", true).await.status, 200);
    assert_eq!(proxy.asked(), ["issuer.invalid:80", "provider.invalid:80"]);
}

/// What loading this channel says.
fn said(dir: &std::path::Path, credential: &str, more: &str) -> String {
    std::fs::write(dir.join("sa.json"), credential).expect("it is written");
    let text = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\n[[channel]]\nname = \"c\"\ntype = \"vertex\"\n{more}\n{}",
        key()
    );
    std::fs::write(dir.join("t.toml"), text).expect("it is written");
    match config::load(&dir.join("t.toml"), &FsSource) {
        Ok(loaded) => config::redacted(&loaded.snapshot).to_string(),
        Err(problems) => problems.to_string(),
    }
}

/// Whether what loading says has these words, and nothing of the credential.
fn holds(credential: &str, channel: &str, words: &str) {
    let dir = tempfile::tempdir().expect("a directory");
    let said = said(dir.path(), credential, channel);
    assert!(said.contains(words), "{channel}:\n{said}\n{words}");
    assert!(!said.contains("secret") && !said.contains("BEGIN"), "{said}");
}

const USUAL: &str = "location = \"global\"\nmodels = [\"gemini-3\"]\napi_keys = [{ file = \"sa.json\" }]";
const MACHINES: &str = "location = \"global\"\nmodels = [\"gemini-3\"]\napi_keys = [\"metadata\"]";

#[test]
fn what_is_wrong_with_a_credential_is_said_and_nothing_of_it() {
    let with = |name: &str, value: &str| {
        let mut account = service_account();
        account[name] = json!(value);
        account.to_string()
    };
    let not_json = "api_keys[0]: file `sa.json` is not valid JSON (line 1, column 13)";
    holds("{\"type\":\"serv", USUAL, not_json);
    holds("AIzaSy-secret", USUAL, "file `sa.json` is not valid JSON");
    let no_key = "file `sa.json` has a \"private_key\" that is no RSA key in PEM (PKCS#8)";
    holds(&with("private_key", "secret"), USUAL, no_key);
    let banned = "has a \"token_uri\" that leads to a link-local or metadata address";
    holds(&with("token_uri", "http://169.254.169.254/token"), USUAL, banned);
    let no_address = "has a \"token_uri\" that must begin with https:// or http://";
    holds(&with("token_uri", "ftp://x"), USUAL, no_address);
    let banned = "asks a link-local or metadata address (if that is meant, set allow_link_local = true)";
    holds("", &format!("{MACHINES}\nproject = \"p\""), banned);
    holds("", &format!("{MACHINES}\nallow_link_local = true"), "project: is needed");
    holds("", &format!("{MACHINES}\nallow_link_local = true\nproject = \"p\""), "/projects/p/");
}

#[test]
fn where_a_channel_is_follows_from_its_location_and_project() {
    let good = service_account().to_string();
    let without = |line: &str| USUAL.replace(line, "");
    for (channel, words) in [
        (without("location = \"global\"\n"), "location: is needed (for example global"),
        (USUAL.replace("global", "a/b"), "location: is no such name"),
        (without("models = [\"gemini-3\"]\n"), "protocols: is needed (Claude is asked for at one address"),
        (USUAL.replace("\"gemini-3\"", "\"gemini-3\", \"claude-x\""), "protocols: is needed"),
        (
            USUAL.to_owned(),
            "https://aiplatform.googleapis.com/v1/projects/tests-only/locations/global/publishers/google",
        ),
        (
            USUAL.replace("global", "eu"),
            "https://aiplatform.eu.rep.googleapis.com/v1/projects/tests-only/locations/eu/",
        ),
        (
            USUAL.replace("global", "us-east5"),
            "https://us-east5-aiplatform.googleapis.com/v1/projects/tests-only/",
        ),
        (format!("{USUAL}\nproject = \"another\""), "/projects/another/"),
        (
            format!("{USUAL}\nbase_url = \"https://proxy.example/google/v1\""),
            "https://proxy.example/google/v1/projects/",
        ),
        (format!("{USUAL}\napi_version = \"2024-10-21\""), "api_version: means nothing to type vertex"),
    ] {
        holds(&good, &channel, words);
    }
    let text = "[[channel]]\nname = \"c\"\ntype = \"openai\"\nlocation = \"global\"\napi_keys = [\"sk-0123456789\"]\n";
    let said = config::load(std::path::Path::new("t.toml"), &config::TextSource(text));
    let said = said.map(|_| ()).expect_err("it is refused").to_string();
    assert!(said.contains("location: means nothing to type openai"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trial_tells_a_token_that_is_not_issued_from_a_key_that_is_refused() {
    let google = Google::start().await;
    let path = google.dir.path().join("t.toml");
    let server = "[server]\nlisten = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n";
    std::fs::write(&path, server.to_owned() + &google.claude() + &key()).expect("it is written");
    let run = || {
        let path = path.display().to_string();
        let run = move || tollgate(&["channels", "test", "vertex", "--format", "json", "-c", &path]);
        async { tokio::task::spawn_blocking(run).await.expect("it ends") }
    };
    for (replies, result, detail) in [
        (vec![], "ok", ""),
        (
            vec![Reply::json(
                401,
                &json!({ "error": "invalid_client", "error_description": "The account was deleted." }),
            )],
            "token",
            "no access token: status 401: invalid_client: The account was deleted.",
        ),
        (vec![Reply::json(200, &json!({ "access_token": "ya29.strange" }))], "key", "no such token: …"),
    ] {
        google.refuse(&replies);
        let run = run().await;
        let rows: Value =
            serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run:?}"));
        assert_eq!(rows[0]["result"], result, "{rows}");
        assert!(rows[0]["detail"].as_str().is_some_and(|said| said.contains(detail)), "{rows}");
        assert_eq!(rows[0]["credential"], "4567", "{rows}");
        assert!(!run.stdout.contains("ya29"), "{rows}");
    }
}

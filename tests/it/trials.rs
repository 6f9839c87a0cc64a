//! `tollgate channels test` and `list`: each thing that can be wrong with a channel has its word.

use crate::support::process::{Done, tollgate};
use crate::support::speech::Speech;
use crate::support::tls::{Authority, Front};
use crate::support::{channel, credential, key};
use serde_json::Value;
use std::collections::BTreeMap;
use tollgate_loadtest::{Fault, Options, Provider, ReservedPort, Selector};

const SERVER: &str = "[server]\nlisten = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n";

struct House {
    dir: tempfile::TempDir,
}

impl House {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("t.toml"), SERVER.to_owned() + text + &key()).expect("it is written");
        Self { dir }
    }

    /// Runs a command with this configuration; the fake goes on meanwhile.
    async fn run(&self, arguments: &[&str]) -> Done {
        let path = self.dir.path().join("t.toml").display().to_string();
        let mut all: Vec<String> = arguments.iter().map(|one| (*one).to_owned()).collect();
        all.extend(["-c".to_owned(), path]);
        let run = tokio::task::spawn_blocking(move || {
            tollgate(&all.iter().map(String::as_str).collect::<Vec<_>>())
        });
        run.await.expect("it ends")
    }
}

async fn provider(options: Options) -> Provider {
    Provider::start(options).await.expect("a loopback port")
}

fn at(name: &str, base: &str, more: &str) -> String {
    let key = credential(name);
    format!(
        "[[channel]]\nname = \"{name}\"\ntype = \"openai\"\nbase_url = \"{base}\"\napi_keys = [\"{key}\"]\n{more}\n"
    )
}

fn rows(run: &Done) -> Vec<Value> {
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run:?}"))
}

/// What a channel is called in these tests says what is to come of it, up to a number.
fn expected(name: &str) -> &str {
    name.trim_end_matches(|character: char| character.is_ascii_digit())
}

/// A provider whose every answer is this one.
async fn answering(fault: Fault) -> Provider {
    let provider = provider(Options::default()).await;
    provider.script_forever(Selector::Any, fault);
    provider
}

fn status(status: u16, body: &str) -> Fault {
    Fault::Status { status, headers: Vec::new(), body: Some(body.to_owned()) }
}

fn page(status: u16) -> Fault {
    let headers = vec![("content-type".to_owned(), "text/html".to_owned())];
    Fault::Status { status, headers, body: Some("<html>Welcome</html>".to_owned()) }
}

const M: &str = "models = [\"m\"]";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_keeps_a_channel_from_being_reached_has_its_word() {
    let good = provider(Options::default()).await;
    let keys = provider(Options { keys: vec!["sk-another".to_owned()], ..Options::default() }).await;
    let models = provider(Options { models: vec!["known".to_owned()], ..Options::default() }).await;
    let closed = ReservedPort::new().expect("a port");
    let strange =
        Front::start(&Authority::new().issue(&["localhost"]), None, &["http/1.1"], good.addr()).await;
    let through = format!("{M}\negress_proxy = \"{}\"", good.base_url());
    let through_nobody = format!("{M}\negress_proxy = \"http://{}\"", closed.addr());
    let text = at("ok1", &good.base_url(), M)
        + &at("ok2", &good.base_url(), "models = [\"gpt-*\"]")
        + &at("dns", "http://nowhere.invalid", M)
        + &at("connect", &format!("http://{}", closed.addr()), M)
        + &at("tls1", &format!("https://{}", good.addr()), M)
        + &at("tls2", &format!("https://{}", strange.addr), M)
        + &at("path", &format!("{}/wrong", good.base_url()), M)
        + &at("key", &keys.base_url(), M)
        + &at("model", &models.base_url(), M)
        + &at("proxy1", "http://provider.invalid", &through)
        + &at("proxy2", "http://provider.invalid", &through_nobody)
        + &at("off", &good.base_url(), "enabled = false");
    let house = House::new(&text);
    let run = house.run(&["channels", "test", "--all", "--format", "json"]).await;
    assert_eq!(run.code, Some(1), "{run:?}");
    let rows = rows(&run);
    let names: Vec<&str> = rows.iter().filter_map(|row| row["channel"].as_str()).collect();
    assert_eq!(names[..3], ["ok1", "ok2", "dns"], "in the order of the file");
    assert_eq!(rows.len(), 11, "what is off is left out");
    for row in &rows {
        let expected = expected(row["channel"].as_str().unwrap_or_default());
        assert_eq!(row["result"], expected, "{row}");
        assert_eq!(row["what_to_do"].is_null(), expected == "ok", "{row}");
        assert_eq!(row["detail"] == "", expected == "ok", "{row}");
        assert_eq!(row["credential"], "6789", "{row}");
    }
    assert!(rows[0]["first_ms"].is_u64() && rows[0]["status"] == 200, "{}", rows[0]);
    assert_eq!((&rows[0]["model"], &rows[1]["model"]), (&Value::from("m"), &Value::Null));
    let progress = run.stderr.lines().filter(|line| line.contains("/11 ")).count();
    assert_eq!(progress, 11, "{}", run.stderr);
    assert!(run.stderr.contains("9 of 11 do not answer as they should"), "{}", run.stderr);
    assert!(!(run.stdout + &run.stderr).contains("sk-upstream"), "no credential is shown");
    let asked: Vec<String> =
        good.requests().iter().map(|one| format!("{} {}", one.method, one.target)).collect();
    assert!(asked.contains(&"POST /v1/chat/completions".to_owned()), "{asked:?}");
    assert!(asked.contains(&"GET /v1/models".to_owned()), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_provider_answers_has_its_word() {
    let answers = [
        ("key1", Fault::status(401)),
        ("key2", Fault::status(403)),
        ("quota1", Fault::status(402)),
        ("quota2", status(429, r#"{"error":{"code":"insufficient_quota","message":"m"}}"#)),
        ("rate_limit", Fault::status(429)),
        ("provider1", Fault::status(500)),
        ("provider2", Fault::status(503)),
        ("provider3", Fault::Garbage),
        ("provider4", Fault::EmptyStream),
        ("provider5", Fault::Reset),
        (
            "model1",
            status(404, r#"{"error":{"code":"model_not_found","message":"The model m does not exist"}}"#),
        ),
        ("model2", status(404, r#"{"error":{"code":"DeploymentNotFound","message":"no such deployment"}}"#)),
        ("path1", status(404, r#"{"error":"unmatched route, my friend"}"#)),
        ("path2", page(404)),
        ("path3", page(200)),
        ("path4", page(302)),
        ("path5", Fault::status(405)),
        ("refused1", status(400, r#"{"error":{"message":"User location is not supported"}}"#)),
        ("refused2", status(400, r#"{"error":{"message":"messages must not be empty"}}"#)),
        ("quota3", status(200, r#"{"error":{"code":"insufficient_quota","message":"m"}}"#)),
        ("slow1", Fault::Hang),
        ("slow2", Fault::HangAfterHead),
    ];
    let mut text = String::new();
    let mut upstreams = Vec::new();
    for (name, fault) in answers.clone() {
        let upstream = answering(fault).await;
        text += &at(name, &upstream.base_url(), &format!("{M}\nfirst_byte_timeout = \"500ms\""));
        upstreams.push(upstream);
    }
    let house = House::new(&text);
    let run = house.run(&["channels", "test", "--all", "--format", "json"]).await;
    let rows = rows(&run);
    assert_eq!((run.code, rows.len()), (Some(1), answers.len()), "{run:?}");
    for row in &rows {
        assert_eq!(row["result"], expected(row["channel"].as_str().unwrap_or_default()), "{row}");
        assert!(row["what_to_do"].is_string(), "{row}");
    }
    let detail = |name: &str| rows.iter().find(|row| row["channel"] == name).map(|row| row["detail"].clone());
    assert!(detail("model2").is_some_and(|words| words.to_string().contains("no such deployment")));
    // Each was asked once, and not again.
    assert!(upstreams.iter().all(|upstream| upstream.request_count() <= 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_are_tried_at_once_and_an_address_of_several_is_one_of_them() {
    // Nobody answers before all were asked: one after another they would all be slow.
    let held = || async {
        let provider = provider(Options { compatible: true, ..Options::default() }).await;
        provider.script_forever(Selector::Any, Fault::HoldFirstByte);
        provider
    };
    let upstreams = [held().await, held().await];
    let addresses = format!("\"{}\", \"{}\"", upstreams[0].base_url(), upstreams[1].base_url());
    let text = format!(
        "[[channel]]\nname = \"local\"\ntype = \"vllm\"\nbase_urls = [{addresses}]\nmodels = [\"m\"]\n\
         [[channel]]\nname = \"locality\"\ntype = \"vllm\"\nbase_url = \"http://nowhere.invalid\"\n"
    );
    let house = House::new(&text);
    let arguments = ["channels", "test", "local", "--format", "json"];
    let both_asked = async {
        for upstream in &upstreams {
            upstream.wait_for_holding(1).await;
        }
        for upstream in &upstreams {
            upstream.release();
        }
    };
    let (run, ()) = tokio::join!(house.run(&arguments), both_asked);
    assert_eq!(run.code, Some(0), "{run:?}");
    let names: Vec<String> = upstreams.iter().map(|upstream| format!("local@{}", upstream.addr())).collect();
    let found: Vec<Value> = rows(&run).iter().map(|row| row["channel"].clone()).collect();
    assert_eq!(found, names);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_channel_is_asked_in_what_it_speaks_first_with_each_of_its_credentials() {
    let upstream = provider(Options::default()).await;
    let two = "api_keys = [\"sk-first-0123456789\", \"sk-second-9876543210\"]";
    for speech in Speech::ALL {
        let protocols =
            BTreeMap::from([("openai", "chat"), ("anthropic", "anthropic"), ("gemini", "gemini")]);
        let word = if speech == Speech::Responses { "responses" } else { protocols[speech.kind()] };
        let lines =
            format!("protocols = [\"{word}\"]\nmodels = [\"here\"]\nmodel_map = {{ here = \"there\" }}");
        let text = channel("c", speech.kind(), &upstream, &lines);
        let text: Vec<&str> =
            text.lines().map(|line| if line.starts_with("api_keys") { two } else { line }).collect();
        let house = House::new(&(text.join("\n") + "\n"));
        let run = house.run(&["channels", "test", "c", "--format", "json"]).await;
        assert_eq!(run.code, Some(0), "{speech:?}: {run:?}");
        let credentials: Vec<Value> = rows(&run).iter().map(|row| row["credential"].clone()).collect();
        assert_eq!(credentials, ["6789", "3210"], "{speech:?}");
        let sent = upstream.requests();
        assert!(sent.iter().rev().take(2).all(|one| one.target == speech.path("there", true)), "{speech:?}");
    }
    let before = upstream.request_count();
    let house = House::new(&at("c", &upstream.base_url(), ""));
    let late =
        house.run(&["channels", "test", "c", "--model", "x", "--slow", "0s", "--format", "json"]).await;
    assert_eq!((late.code, &rows(&late)[0]["result"]), (Some(1), &Value::from("slow")), "{late:?}");
    let text = house.run(&["channels", "test", "c"]).await;
    assert_eq!(text.code, Some(0), "{text:?}");
    assert!(text.stdout.starts_with("channel  credential  model  result"), "{}", text.stdout);
    assert_eq!(upstream.request_count(), before + 2);
    for (arguments, code) in [(&["channels", "test"][..], 2), (&["channels", "test", "nobody"], 1)] {
        assert_eq!(house.run(arguments).await.code, Some(code), "{arguments:?}");
    }
    let list = house.run(&["channels", "list", "--format", "json"]).await;
    let row = &rows(&list)[0];
    let shown = (&row["channel"], &row["type"], &row["protocols"]);
    assert_eq!(shown, (&Value::from("c"), &Value::from("openai"), &Value::from("chat,responses")), "{row}");
}

//! Commands: what they print where, and the exit code they end with.

use crate::support::ask::{Speaks, channels, key_named};
use crate::support::process::{Process, Run, tollgate, tollgate_with};
use crate::support::{KEY, provider, repository};
use serde_json::{Value, json};
use tollgate_loadtest::Provider;

const SERVER: &str = "[server]\nlisten = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n";

/// A configuration file with a key whose profile maps, and its path.
fn file(upstream: &Provider) -> (tempfile::TempDir, String) {
    let text = SERVER.to_owned()
        + &channels(upstream, "[\"m\", \"small-*\"]")
        + "[[profile]]\nname = \"economy\"\nmappings = [{ from = \"big\", to = \"m\" }]\n"
        + &key_named("alice", KEY, "owner = \"al\"\nprofiles = [\"economy\"]\nactive_profile = \"economy\"")
        + &key_named("narrow", "sk-narrow-0123456789", "models = [\"m\"]");
    written(&text)
}

fn written(text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("tollgate.toml");
    std::fs::write(&path, text).expect("it is written");
    let path = path.to_str().expect("a plain path").to_owned();
    (dir, path)
}

fn json_of(arguments: &[&str]) -> Value {
    let done = tollgate(arguments);
    assert_eq!(done.code, Some(0), "{arguments:?}: {done:?}");
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}", done.stdout))
}

#[tokio::test]
async fn exit_codes_say_done_failed_or_wrongly_called() {
    let upstream = provider().await;
    let (_good_dir, good) = file(&upstream);
    let (_bad_dir, bad) = written("[[key]]\nname = \"k\"\nsceret = \"sk-k-0123456789\"\n");
    let cases: &[(&[&str], i32)] = &[
        (&["check", "-c", &good], 0),
        (&["validate", "-c", &good], 0),
        (&["-t", "-c", &good], 0),
        (&["check", "-c", &bad], 1),
        (&["-t", "-c", &bad], 1),
        (&["run", "-c", &bad], 1),
        (&["check", "-c", "/nowhere/tollgate.toml"], 1),
        (&["status", "--admin", "http://127.0.0.1:9"], 1),
        (&["reload", "--admin", "http://127.0.0.1:9"], 1),
        (&["explain", "-c", &good, "--key", "nobody", "--model", "m"], 1),
        (&["models", "-c", &good, "--key", "nobody"], 1),
        (&["--help"], 0),
        (&["version"], 0),
        (&["--version"], 0),
        (&[], 2),
        (&["-c", &good], 2),
        (&["unheard-of"], 2),
        (&["explain"], 2),
        (&["keys"], 2),
        (&["status", "--format", "xml"], 2),
    ];
    for (arguments, code) in cases {
        let done = tollgate(arguments);
        assert_eq!(done.code, Some(*code), "{arguments:?}: {done:?}");
        if *code != 0 {
            assert!(done.stdout.is_empty() && !done.stderr.is_empty(), "{arguments:?}: {done:?}");
        }
    }
}

#[tokio::test]
async fn check_names_file_line_path_and_a_suggestion_and_dumps_without_secrets() {
    let upstream = provider().await;
    let (_dir, bad) = written("[[key]]\nname = \"k\"\nsceret = \"sk-canary-0123456789\"\n");
    let done = tollgate(&["check", "-c", &bad]);
    assert!(done.stderr.contains(&format!("{bad}:3: key.k.sceret: ")), "{}", done.stderr);
    assert!(done.stderr.contains("did you mean `secret`?"), "{}", done.stderr);
    let (_dir, good) = file(&upstream);
    let done = tollgate(&["check", "-c", &good, "--dump"]);
    let dumped: Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert_eq!(dumped["hash"].as_str().map(str::len), Some(64), "{dumped}");
    for text in [&done.stdout, &done.stderr, &tollgate(&["check", "-c", &good]).stderr] {
        assert!(!text.contains(KEY) && !text.contains("sk-upstream-"), "{text}");
    }
    assert!(done.stderr.is_empty() || done.stderr.contains("warning"), "{}", done.stderr);
}

#[tokio::test]
async fn a_new_key_is_shown_once_with_lines_that_let_it_in() {
    let upstream = provider().await;
    let made = tollgate(&["keys", "new", "--name", "carol \"c\"", "--group", "team"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let secret = made.stdout.lines().next().and_then(|line| line.strip_prefix("# ")).expect("the key");
    assert!(secret.starts_with("sk-") && secret.len() >= 35, "{secret}");
    assert!(!made.stderr.contains(secret), "data goes to standard output only");
    let group = "[[group]]\nname = \"team\"\n";
    let (_dir, path) = written(&(SERVER.to_owned() + &channels(&upstream, "[\"m\"]") + group + &made.stdout));
    let run = Run::start(path.as_ref()).await;
    assert_eq!(Speaks::OpenAi.ask(run.addr, secret, "m").await.status, 200);
    let hashed = tollgate_with(&["keys", "hash"], &[], &format!("{secret}\n"));
    assert_eq!(hashed.code, Some(0));
    assert!(made.stdout.contains(&format!("hash = \"{}\"", hashed.stdout.trim())), "{hashed:?}");
    for wrong in ["", "no-prefix", "sk-with space"] {
        let refused = tollgate_with(&["keys", "hash"], &[], wrong);
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""), "{wrong}");
    }
    let row = json_of(&["keys", "new", "--name", "x", "--format", "json"]);
    assert!(
        row["key"].as_str().is_some_and(|key| row["last4"].as_str().is_some_and(|last| key.ends_with(last)))
    );
}

#[tokio::test]
async fn keys_and_models_are_listed_from_the_file_and_from_a_running_gateway() {
    let upstream = provider().await;
    let (_dir, path) = file(&upstream);
    let run = Run::start(path.as_ref()).await;
    let admin = run.admin_url();
    for place in [["-c", path.as_str()], ["--admin", admin.as_str()]] {
        let keys = json_of(&["keys", "list", place[0], place[1], "--format", "json"]);
        assert_eq!((keys[0]["key"].as_str(), keys[0]["owner"].as_str()), (Some("alice"), Some("al")));
        let table = tollgate(&["keys", "list", place[0], place[1]]).stdout;
        assert!(table.contains("alice") && table.contains("6789") && !table.contains(KEY), "{table}");
        let models = json_of(&["models", "--key", "alice", place[0], place[1], "--format", "json"]);
        assert_eq!(models, json!([{ "key": "alice", "models": ["big", "m"] }]));
        let text = tollgate(&["models", place[0], place[1]]).stdout;
        assert_eq!(text, "alice:\n  big\n  m\nnarrow:\n  m\n");
    }
}

#[tokio::test]
async fn explain_tells_who_would_serve_a_request_and_why() {
    let upstream = provider().await;
    let (dir, path) = file(&upstream);
    let run = Run::start(path.as_ref()).await;
    let admin = run.admin_url();
    let told = json_of(&["explain", "-c", &path, "--key", "alice", "--model", "big", "--format", "json"]);
    assert_eq!((told["profile"].as_str(), told["model"].as_str()), (Some("economy"), Some("m")));
    assert_eq!(told["refusal"], Value::Null);
    let first = &told["candidates"][0];
    assert_eq!((first["channel"].as_str(), first["eligible"].as_bool()), (Some("openai"), Some(true)));
    for field in ["model_upstream", "protocol", "priority", "weight", "reason"] {
        assert!(!first[field].is_null(), "{field}: {first}");
    }
    assert_eq!(told["candidates"].as_array().map(Vec::len), Some(3), "every channel is named");
    let asked = ["explain", "--admin", &admin, "--key", "alice", "--model", "big", "--format", "json"];
    assert_eq!(json_of(&asked), told, "a running gateway says the same");
    let refused = json_of(&["explain", "-c", &path, "--key", "narrow", "--model", "big", "--format", "json"]);
    assert_eq!(refused["refusal"]["code"], "model_not_allowed");
    let body = dir.path().join("request.json");
    let request = r#"{"stream":true,  "model":"big","messages":[]}"#;
    std::fs::write(&body, request).expect("it is written");
    let body = body.to_str().expect("a plain path");
    for place in [["-c", path.as_str()], ["--admin", admin.as_str()]] {
        let told = json_of(&[
            "explain",
            place[0],
            place[1],
            "--key",
            "alice",
            "--request",
            body,
            "--format",
            "json",
        ]);
        assert_eq!(
            told["rewritten"],
            r#"{"stream":true,"stream_options":{"include_usage":true},  "model":"m","messages":[]}"#,
            "{place:?}"
        );
        assert_eq!(told["rewritten_bytes"], serde_json::json!({ "from": 14, "to": 30 }), "{place:?}");
        let text = tollgate(&["explain", place[0], place[1], "--key", "alice", "--request", body]).stdout;
        assert!(text.contains("big -> m") && text.contains("eligible"), "{text}");
    }
    assert_eq!(upstream.request_count(), 0, "nothing is sent");
}

#[test]
fn explain_shows_what_a_channel_of_another_protocol_would_get_and_what_is_lost() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("tollgate.toml");
    let text = "[[channel]]\nname = \"there\"\ntype = \"anthropic\"\napi_keys = [\"sk-there\"]\n\
                [[key]]\nname = \"alice\"\nsecret = \"sk-alice-0123456789\"\n";
    std::fs::write(&config, text).expect("it is written");
    let body = dir.path().join("request.json");
    let paths = [config.to_str().expect("plain"), body.to_str().expect("plain")];
    let asked = ["explain", "-c", paths[0], "--key", "alice", "--request", paths[1]];
    let told = |request: &str| {
        std::fs::write(&body, request).expect("it is written");
        json_of(&[&asked[..], &["--format", "json"]].concat())
    };
    let chat = r#"{"model":"claude-sonnet-4-5","seed":7,"max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#;
    let explained = told(chat);
    let first = &explained["candidates"][0];
    assert_eq!((&first["protocol"], &first["translated"]), (&"anthropic".into(), &true.into()));
    assert_eq!(explained["losses"], serde_json::json!(["seed: dropped"]));
    let rewritten: Value =
        serde_json::from_str(explained["rewritten"].as_str().expect("text")).expect("JSON");
    assert_eq!((&rewritten["max_tokens"], &rewritten["messages"][0]["role"]), (&9.into(), &"user".into()));
    let text = tollgate(&asked).stdout;
    assert!(text.contains("lost     seed: dropped") && text.contains("\nbody     {"), "{text}");
    let refused = told(r#"{"model":"claude-sonnet-4-5","n":3,"messages":[{"role":"user","content":"hi"}]}"#);
    assert_eq!(refused["refusal"]["code"], "untranslatable_request", "{refused}");
}

#[tokio::test]
async fn status_says_how_a_running_gateway_is_and_ready_says_it_by_exit_code() {
    let upstream = provider().await;
    let (_dir, path) = file(&upstream);
    let run = Run::start(path.as_ref()).await;
    let admin = run.admin_url();
    let status = json_of(&["status", "--admin", &admin, "--format", "json"]);
    assert_eq!((status["keys"].as_u64(), status["channels"]["usable"].as_u64()), (Some(2), Some(3)));
    let text = tollgate(&["status", "--admin", &admin]).stdout;
    assert!(text.contains("3/3 channels usable") && text.contains("healthy"), "{text}");
    let ready = tollgate(&["status", "--ready", "--admin", &admin]);
    assert_eq!((ready.code, ready.stdout.as_str()), (Some(0), "ready\n"));
    let bare = admin.trim_start_matches("http://");
    assert_eq!(tollgate(&["status", "--ready", "--admin", bare]).code, Some(0), "without http://");
}

#[test]
fn a_running_gateway_is_looked_for_where_its_file_says_even_a_broken_one() {
    let check = |name: &str, text: &str, address: &str| {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("it is written");
        let done = tollgate(&["status", "-c", path.to_str().expect("a plain path")]);
        assert_eq!(done.code, Some(1));
        assert!(done.stderr.contains(&format!("http://{address}: ")), "{name}: {}", done.stderr);
    };
    let channel = "[[channel]]\nname = \"c\"\ntype = \"openai\"\napi_keys = [\"sk-c-0123456789\"]\n";
    let sound = channel.to_owned() + &key_named("k", KEY, "");
    check("t.toml", &format!("[server]\nadmin = \"127.0.0.1:1\"\n{sound}"), "127.0.0.1:1");
    check(
        "t.toml",
        &format!("[server]\nadmin = \"0.0.0.0:1\"\nadmin_token = \"{KEY}\"\n{sound}"),
        "127.0.0.1:1",
    );
    let absent = "[[key]]\nname = \"k\"\nsecret = { env = \"TOLLGATE_TEST_NOT_SET\" }\n";
    check("t.toml", &format!("[server]\nadmin = \"127.0.0.1:2\"\n{absent}"), "127.0.0.1:2");
    check("t.yaml", "server:\n  admin: 127.0.0.1:3\nunheard: of\n", "127.0.0.1:3");
}

#[tokio::test]
async fn the_admin_token_is_taken_from_the_environment() {
    let upstream = provider().await;
    let text = format!("{SERVER}admin_token = \"a-long-admin-token\"\n");
    let (_dir, path) = written(&(text + &channels(&upstream, "[\"m\"]") + &key_named("k", KEY, "")));
    let run = Run::start(path.as_ref()).await;
    let arguments = ["status", "--admin", &run.admin_url()];
    let refused = tollgate(&arguments);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""));
    assert!(refused.stderr.contains("token"), "{}", refused.stderr);
    let token = [("TOLLGATE_ADMIN_TOKEN", "a-long-admin-token")];
    assert_eq!(tollgate_with(&arguments, &token, "").code, Some(0));
    let reload = ["reload", "--admin", &run.admin_url()];
    assert_eq!(tollgate(&reload).code, Some(1));
    assert_eq!(tollgate_with(&reload, &token, "").code, Some(0));
}

#[test]
fn the_schema_and_the_version_are_what_is_published() {
    let published = std::fs::read_to_string(repository("conf/schema.json")).expect("it is there");
    assert_eq!(tollgate(&["schema"]).stdout, published);
    assert_eq!(tollgate(&["version"]).stdout, format!("tollgate {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(json_of(&["version", "--format", "json"])["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn every_command_has_its_manual_page_and_every_shell_its_completions() {
    let help = tollgate(&["--help"]).stdout;
    let (_, commands) = help.split_once("Commands:\n").expect("the help lists commands");
    let commands = commands.lines().map_while(|line| line.split_whitespace().next());
    let commands: Vec<&str> = commands.collect();
    assert!(commands.contains(&"explain"), "{commands:?}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = tollgate(&["completions", shell]);
        assert_eq!(script.code, Some(0), "{shell}: {}", script.stderr);
        for command in &commands {
            assert!(script.stdout.contains(command), "{shell} completes {command}");
        }
    }
    let program = tollgate(&["man"]);
    assert!(program.stdout.contains(".TH tollgate 1"), "{}", program.stdout);
    for command in commands {
        let page = tollgate(&["man", command]);
        assert!(page.stdout.contains(&format!(".TH tollgate-{command} 1")), "{command}: {}", page.stdout);
        assert!(
            program.stdout.contains(&format!("tollgate\\-{command}(1)")),
            "the program's page names {command}"
        );
    }
    assert_eq!(tollgate(&["man", "unheard-of"]).code, Some(1));
    assert_eq!(tollgate(&["completions", "csh"]).code, Some(2));
}

#[test]
fn the_demo_talks_to_itself_once_and_exits() {
    let done = tollgate(&["demo", "--once", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    for said in [
        "A streamed OpenAI chat",
        "A Claude-style message",
        "claude-sonnet-4-5",
        "sk-demo-",
        "curl http://127.0.0.1:",
        "/metrics",
    ] {
        assert!(done.stdout.contains(said), "{said}: {}", done.stdout);
    }
}

#[tokio::test]
async fn the_demo_stays_up_with_what_it_printed_until_it_is_interrupted() {
    let mut demo = Process::start(&["demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    demo.stdout.line("Press Ctrl-C").await;
    let text = demo.stdout.text();
    let after = |before: &str, end: char| {
        let rest = text.split(before).nth(1).unwrap_or_else(|| panic!("no {before}: {text}"));
        rest.split(end).next().unwrap_or_default().to_owned()
    };
    let addr = after("curl http://", '/').parse().expect("an address");
    let admin = after("metrics  http://", '/').parse().expect("an address");
    let answer = Speaks::OpenAi.ask(addr, &after("The key is ", '\n'), "gpt-4.1-mini").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let metrics = crate::support::client::get(admin, "/metrics").await;
    assert!(
        metrics.status == 200
            && metrics.text().contains("tollgate_requests_total{api=\"chat\",code=\"200\"} ")
    );
    demo.signal("INT");
    assert_eq!(demo.ended().await, Some(0));
}

#[tokio::test]
async fn the_mock_serves_every_dialect() {
    let mock = Process::start(&["mock", "--listen", "127.0.0.1:0"]);
    let line = mock.stdout.line("fake provider: ").await;
    let addr = line.trim_start_matches("fake provider: http://").parse().expect("an address");
    let answer = Speaks::OpenAi.ask(addr, "sk-any", "gpt-4.1").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = Speaks::Anthropic.body("claude", false);
    let headers = [("x-api-key", "sk-any"), ("anthropic-version", "2023-06-01")];
    let answer = crate::support::client::post(addr, "/v1/messages", &headers, body.as_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

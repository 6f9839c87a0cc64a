//! `deploy/smoke`: goes through against a gateway that works, and stops with the right name for whatever does not.

use crate::support::ask::{Speaks, channels, key_named};
use crate::support::process::other;
use crate::support::{Gateway, KEY, provider, repository};
use serde_json::Value;
use std::net::SocketAddr;
use std::process::Command;
use tollgate_loadtest::{Cut, Fault, Provider, Selector};

const MODEL: &str = "gpt-4.1";

/// What it says; `None`: there is no Python.
async fn smoke(base_url: String, more: &[&str]) -> Option<Value> {
    let mut command = Command::new("python3");
    command.arg(repository("deploy/smoke")).args([
        "--base-url",
        &base_url,
        "--model",
        MODEL,
        "--format",
        "json",
    ]);
    // What makes the fake provider call a tool; it sends its events as fast as it can.
    command.args(["--tool-prompt", r#"[[call look {"at":"gate 1"}]]"#, "--may-come-at-once"]);
    command.args(more).env_remove("TOLLGATE_KEY");
    let ran = tokio::task::spawn_blocking(move || other(&mut command)).await.expect("it runs")?;
    let told = String::from_utf8_lossy(&ran.stdout).into_owned();
    let told: Value = serde_json::from_str(&told)
        .unwrap_or_else(|error| panic!("{error}: {told}{}", String::from_utf8_lossy(&ran.stderr)));
    assert_eq!(ran.status.code(), Some(i32::from(told["ok"] != true)), "{told}");
    Some(told)
}

fn at(addr: SocketAddr) -> String {
    format!("http://{addr}/v1")
}

fn last(told: &Value) -> (&str, &str) {
    let step = told["steps"].as_array().and_then(|steps| steps.last()).expect("it took a step");
    (step["step"].as_str().unwrap_or_default(), step["cause"].as_str().unwrap_or_default())
}

async fn house(server: &str, limits: &str) -> (Provider, Gateway) {
    let upstream = provider().await;
    let text = channels(&upstream, &format!("[\"{MODEL}\"]")) + &key_named("alice", KEY, limits);
    let gateway = Gateway::with_server(server, &text).await;
    (upstream, gateway)
}

#[tokio::test]
async fn the_smoke_script_goes_through_in_every_dialect() {
    let (_upstream, gateway) = house("", "").await;
    for speaks in Speaks::ALL {
        let Some(told) = smoke(at(gateway.addr()), &["--key", KEY, "--dialect", speaks.word()]).await else {
            return;
        };
        assert_eq!(told["ok"], true, "{speaks:?}: {told:#}");
        let steps: Vec<&str> = told["steps"]
            .as_array()
            .expect("steps")
            .iter()
            .filter_map(|step| step["step"].as_str())
            .collect();
        assert_eq!(steps, ["way", "models", "plain", "stream", "long context", "tools", "failures"]);
    }
}

#[tokio::test]
async fn the_smoke_script_names_what_is_wrong_at_the_gateway() {
    for (server, limits, arguments, step, cause) in [
        ("", "", ["--key", "sk-nobody-0123456789"], "models", "key"),
        ("", "enabled = false", ["--key", KEY], "models", "key"),
        ("", "models = [\"other\"]", ["--key", KEY], "plain", "permission"),
        ("", "stream = false", ["--key", KEY], "stream", "permission"),
        ("", "limits = { rpm = 2 }", ["--key", KEY], "long context", "limit"),
        ("", "quota = { requests = 1, per = \"total\" }", ["--key", KEY], "stream", "quota"),
        ("limits = { body_bytes = \"64KiB\" }", "", ["--key", KEY], "long context", "body_limit"),
    ] {
        let (_upstream, gateway) = house(server, limits).await;
        let Some(told) = smoke(at(gateway.addr()), &arguments).await else { return };
        assert_eq!(last(&told), (step, cause), "{limits}: {told:#}");
        let said = told.to_string();
        assert!(!said.contains(arguments[1]), "the key is shown nowhere: {said}");
        assert!(told["steps"][0]["ok"] == true && said.contains("req_"), "{said}");
    }
}

#[tokio::test]
async fn the_smoke_script_names_what_is_wrong_behind_the_gateway() {
    let status = |status| Fault::Status { status, headers: Vec::new(), body: None };
    for (faults, step, cause) in [
        (vec![status(500); 3], "plain", "provider"),
        (vec![status(401); 3], "plain", "provider"),
        (
            vec![Fault::None, Fault::Cut { after_events: 2, how: Cut::CleanEndWithoutTerminal }],
            "stream",
            "cut",
        ),
    ] {
        let (upstream, gateway) = house("", "").await;
        upstream.script(Selector::Any, faults);
        let Some(told) = smoke(at(gateway.addr()), &["--key", KEY]).await else { return };
        assert_eq!(last(&told), (step, cause), "{told:#}");
    }
}

#[tokio::test]
async fn the_smoke_script_names_what_is_wrong_on_the_way() {
    let (_upstream, gateway) = house("", "").await;
    let addr = gateway.addr();
    let closed =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("it is bound");
    for (base, step, cause) in [
        (format!("http://{closed}"), "way", "connect"),
        (format!("https://{addr}"), "way", "tls"),
        (format!("http://{addr}/nowhere"), "models", "base_url"),
        // The admin listener is no API.
        (format!("http://{}", gateway.running.admin), "models", "not_the_gateway"),
    ] {
        let Some(told) = smoke(base.clone(), &["--key", KEY]).await else { return };
        assert_eq!(last(&told), (step, cause), "{base}: {told:#}");
    }
}

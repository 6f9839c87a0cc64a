//! Was it charged? Line, admin call and command say the same of every way an exchange can end.

use super::LEDGER;
use crate::support::ask::{Speaks, channels, key_named};
use crate::support::client;
use crate::support::process::tollgate;
use crate::support::{Gateway, KEY, channel, provider};
use serde_json::Value;
use tollgate_loadtest::{Cut, Fault, Provider, Selector};

/// What is asked of which model with which key, which fault the provider has, and what is said of it.
struct Case {
    key: &'static str,
    model: &'static str,
    stream: bool,
    fault: Option<Fault>,
    bill: &'static str,
    said: &'static str,
}

fn cases() -> [Case; 7] {
    let plain = || Case { key: KEY, model: "m", stream: false, fault: None, bill: "", said: "" };
    let status = |status| Some(Fault::Status { status, headers: Vec::new(), body: None });
    [
        Case {
            bill: "reported",
            said: "yes: 0.000212 USD by the provider's own count, billed by the provider behind channel openai, booked on key alice and group default",
            ..plain()
        },
        Case {
            model: "free",
            bill: "unknown",
            said: "yes, how much is not known, since the model has no price; billed",
            ..plain()
        },
        Case {
            key: "sk-nobody-0123456789",
            bill: "nothing_sent",
            said: "no: nothing was sent to a provider",
            ..plain()
        },
        Case {
            key: "sk-narrow-0123456789",
            bill: "nothing_sent",
            said: "no: nothing was sent to a provider",
            ..plain()
        },
        Case {
            model: "gone",
            bill: "nothing_sent",
            said: "no: no connection came about, nothing was sent",
            ..plain()
        },
        Case {
            fault: status(400),
            bill: "not_billed",
            said: "no: it was sent, and providers do not bill what came of it",
            ..plain()
        },
        Case {
            stream: true,
            fault: Some(Fault::Cut { after_events: 3, how: Cut::Fin }),
            bill: "estimated",
            said: "USD by our estimate, billed by the provider behind channel openai",
            ..plain()
        },
    ]
}

/// A provider that is there, and one whose port nobody listens on any more.
async fn gateway(upstream: &Provider) -> Gateway {
    let gone = { provider().await };
    let gone = channel("gone", "openai", &gone, "models = [\"gone\"]");
    let text = channels(upstream, "[\"m\", \"free\"]")
        + &gone
        + &key_named("alice", KEY, "owner = \"al\"")
        + &key_named("narrow", "sk-narrow-0123456789", "models = [\"other\"]")
        + "[[price]]\nmodel = \"m\"\ninput = 1\noutput = 10\n";
    Gateway::start(&(LEDGER.to_owned() + &text)).await
}

#[tokio::test]
async fn every_exchange_says_whether_anybody_was_charged() {
    let upstream = provider().await;
    let gateway = gateway(&upstream).await;
    let admin = format!("http://{}", gateway.running.admin);
    for (number, case) in cases().into_iter().enumerate() {
        upstream.script(Selector::Any, case.fault.clone().into_iter().collect());
        client::once(gateway.addr(), &Speaks::OpenAi.request(case.key, case.model, case.stream, &[])).await;
        upstream.clear_scripts();
        let line = gateway.log.lines(number + 1).await.pop().expect("a line");
        assert_eq!(line["bill"], case.bill, "{number}: {line}");
        let id = line["request_id"].as_str().expect("an id").to_owned();
        let shown = client::get(gateway.running.admin, &format!("/api/exchanges/{id}")).await.json();
        assert_eq!(shown, line, "{number}");
        let (admin, id) = (admin.clone(), id.clone());
        let said = tokio::task::spawn_blocking(move || tollgate(&["lookup", &id, "--admin", &admin])).await;
        let said = said.expect("it runs");
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{number}");
        let charged =
            said.stdout.lines().find_map(|line| line.strip_prefix("charged    ")).unwrap_or_default();
        assert!(charged.contains(case.said), "{number}: {}", said.stdout);
        assert!(!said.stdout.contains("sk-"), "{number}: {}", said.stdout);
    }
}

#[tokio::test]
async fn a_lookup_tells_the_whole_story_and_json_is_the_access_line() {
    let upstream = provider().await;
    let text = channel("first", "openai", &upstream, "")
        + &channel("second", "openai", &upstream, "priority = 1\nmodel_map = { m = \"m-2\" }")
        + &key_named("alice", KEY, "owner = \"al\"\nproject = \"search\"")
        + "[[price]]\nmodel = \"m-2\"\ninput = 1\noutput = 10\n";
    let gateway = Gateway::start(&(LEDGER.to_owned() + &text)).await;
    let body = "{\"error\":{\"message\":\"out \\u001b[2J of order\"}}".to_owned();
    let fault = Fault::Status { status: 500, headers: Vec::new(), body: Some(body) };
    upstream.script(Selector::Any, vec![fault]);
    assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, 200);
    let line = gateway.log.line().await;
    let (id, admin) =
        (line["request_id"].as_str().expect("an id").to_owned(), gateway.running.admin.to_string());
    let told = tokio::task::spawn_blocking(move || {
        let text = tollgate(&["lookup", &id, "--admin", &admin]);
        (text, tollgate(&["lookup", &id, "--admin", &admin, "--format", "json"]))
    });
    let (text, json) = told.await.expect("it runs");
    assert_eq!(serde_json::from_str::<Value>(&json.stdout).expect("JSON"), line);
    let ms = |value: &Value| value.to_string();
    let expected = [
        format!("{}   {}   took {} ms", line["request_id"].as_str().unwrap_or_default(), line["ts"].as_str().unwrap_or_default(), ms(&line["duration_ms"])),
        "asked by   key alice (…6789), group default, owner al, project search".to_owned(),
        "asked for  m (chat)".to_owned(),
        "answered   200, end: ok".to_owned(),
        format!("attempt 1  first as m: 500, upstream_error (server_error), {} ms", ms(&line["attempts"][0]["ms"])),
        format!("attempt 2  second as m-2: 200, {} ms", ms(&line["attempts"][1]["ms"])),
        format!("it said    {}", line["upstream_error"].as_str().unwrap_or_default().replace('\u{1b}', "\u{fffd}")),
        "used       input 32, output 17 (5 of it reasoning), cache read 10, cache written 0: by the provider's own count".to_owned(),
        "charged    yes: 0.000212 USD by the provider's own count, billed by the provider behind channel second, booked on key alice and group default".to_owned(),
    ];
    assert_eq!(text.stdout.lines().collect::<Vec<_>>(), expected);
}

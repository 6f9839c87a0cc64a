//! What providers keep of responses: shown, streamed again, cancelled and deleted where it was made, for the key that made it.

use crate::support::ask::key_named;
use crate::support::client::{self, Answer, Ended};
use crate::support::{Gateway, channel, credential, key, provider};
use serde_json::json;
use std::net::SocketAddr;
use tollgate_loadtest::{Cut, Fault, Provider, Selector};

const BEARER: (&str, &str) = ("authorization", "Bearer sk-test-alice-0123456789");
const BOB: (&str, &str) = ("authorization", "Bearer sk-test-bob-0123456789");

async fn call(addr: SocketAddr, method: &str, path: &str, key: (&str, &str)) -> Answer {
    client::once(addr, &client::request(method, path, &[key], b"")).await
}

async fn ask(gateway: &Gateway, body: &serde_json::Value) -> Answer {
    let answer = client::post(gateway.addr(), "/v1/responses", &[BEARER], body.to_string().as_bytes()).await;
    assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{}", answer.text());
    answer
}

/// Every call about a kept response: method and what follows `responses/`; the last one forgets it.
const CALLS: [(&str, &str); 6] = [
    ("GET", "resp_fake"),
    ("GET", "resp_fake?include%5B%5D=a&stream=false"),
    ("GET", "resp_fake?stream=true&starting_after=3"),
    ("GET", "resp_fake/input_items?limit=2"),
    ("POST", "resp_fake/cancel"),
    ("DELETE", "resp_fake"),
];

#[tokio::test]
async fn a_kept_response_is_asked_for_where_it_was_made_byte_for_byte() {
    for (map, stream) in [("", false), ("", true), ("model_map = { m = \"theirs\" }", false)] {
        let (first, second) = (provider().await, provider().await);
        let text = channel("first", "openai", &first, "priority = 1")
            + &channel("second", "openai", &second, &format!("priority = 2\n{map}"))
            + &key()
            + &key_named("bob", "sk-test-bob-0123456789", "");
        let gateway = Gateway::start(&text).await;
        first.script(Selector::Any, vec![Fault::status(503)]);
        ask(&gateway, &json!({ "model": "m", "input": "hi", "stream": stream })).await;
        let asked_first = first.request_count();
        gateway.reload("", &format!("{text}\n# another configuration\n")).expect("it is right");
        for (method, rest) in CALLS {
            let path = format!("/v1/responses/{rest}");
            let others = call(gateway.addr(), method, &path, BOB).await;
            assert_eq!((others.status, others.code()), (404, "task_not_found".to_owned()), "{path}");
            let bearer = format!("Bearer {}", credential("second"));
            let before = second.request_count();
            // A deletion can be seen once only.
            let own = if method == "DELETE" {
                None
            } else {
                Some(call(second.addr(), method, &path, ("authorization", &bearer)).await)
            };
            let answer = call(gateway.addr(), method, &path, BEARER).await;
            assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{path}: {}", answer.text());
            let shown = own.map_or_else(
                || json!({ "deleted": true, "id": "resp_fake", "object": "response" }).to_string(),
                |own| own.text(),
            );
            assert_eq!(answer.text(), shown.replace("theirs", "m"), "{path}");
            let sent = second.requests().pop().expect("a request");
            assert_eq!((sent.method.as_str(), sent.target.as_str()), (method, path.as_str()));
            assert_eq!(second.request_count() - before, if method == "DELETE" { 1 } else { 2 });
        }
        // The provider's own word.
        let gone = call(gateway.addr(), "GET", "/v1/responses/resp_fake", BEARER).await;
        assert_eq!((gone.status, gone.json()["error"]["code"].is_null()), (404, true), "{}", gone.text());
        assert_eq!(first.request_count(), asked_first, "nobody else was asked");
        for line in gateway.log.lines(14).await.iter().skip(1).filter(|line| line["status"] == 200) {
            assert_eq!(
                (&line["charged"], &line["usage_source"], &line["cost_usd"]),
                (&json!(false), &json!("none"), &json!(0)),
                "{line}"
            );
        }
    }
}

/// Ten times a token of prompt for one of answer.
const PRICE: &str = "[[price]]\nmodel = \"m\"\ninput = 1\ncache_read = 0.5\noutput = 10\n";

/// `input`, `cache_read`, `output`, what it costs and who says so, of each line.
fn booked(lines: &[serde_json::Value]) -> Vec<(u64, u64, u64, serde_json::Value, String)> {
    let of = |line: &serde_json::Value| {
        let tokens = |kind: &str| line["tokens"][kind].as_u64().expect("a number");
        let source = line["usage_source"].as_str().expect("a word").to_owned();
        (tokens("input"), tokens("cache_read"), tokens("output"), line["cost_usd"].clone(), source)
    };
    lines.iter().map(of).collect()
}

#[tokio::test]
async fn what_a_response_in_the_background_used_is_booked_at_the_first_look_at_it_and_once() {
    let upstream = provider().await;
    let quota = "quota = { tokens = 59, requests = 9, per = \"total\" }\nlimits = { tpm = 1000 }\n";
    let text =
        channel("main", "openai", &upstream, "model_map = { m = \"theirs\" }") + PRICE + &key() + quota;
    let world = crate::support::StillWorld::new();
    let gateway = Gateway::in_world("", &text, world).await;
    let left = async || gateway.count("tollgate_key_limit_remaining{key=\"alice\",limit=\"tpm\"}").await;
    let look = async |rest: &str| {
        let answer = call(gateway.addr(), "GET", &format!("/v1/responses/resp_fake{rest}"), BEARER).await;
        assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{}", answer.text());
        answer
    };
    let body = json!({ "model": "m", "input": "hi", "background": true });
    let made = ask(&gateway, &body).await;
    assert_eq!((&made.json()["status"], &made.json()["model"]), (&json!("queued"), &json!("m")));
    gateway.log.line().await;
    assert_eq!(left().await, 1000 - 11, "a byte of four is a token, until its provider says otherwise");
    look("/input_items").await;
    assert_eq!(look("").await.json()["status"], "in_progress");
    gateway.log.lines(3).await;
    assert_eq!(left().await, 1000 - 11);
    assert_eq!(look("").await.json()["status"], "completed");
    gateway.log.lines(4).await;
    assert_eq!(left().await, 1000 - 59, "all that its provider counts");
    look("").await;
    look("?stream=true").await;
    let lines = gateway.log.lines(6).await;
    assert_eq!(left().await, 1000 - 59);
    let nothing = (0, 0, 0, json!(0), "none".to_owned());
    assert_eq!(
        booked(&lines),
        [
            (11, 0, 0, json!(0.000_011), "estimated".to_owned()),
            nothing.clone(),
            nothing.clone(),
            // 42 of prompt, 10 of it from the cache, but for the 11; and the answer.
            (21, 10, 17, json!(0.000_196), "reported".to_owned()),
            nothing.clone(),
            nothing,
        ]
    );
    assert_eq!((&lines[3]["model_upstream"], &lines[3]["bill"]), (&json!("theirs"), &json!("reported")));
    assert_eq!((&lines[3]["model_requested"], &lines[2]["bill"]), (&json!("m"), &json!("not_billed")));
    // The quota counts it, and keeps nobody from looking.
    let refused = client::post(gateway.addr(), "/v1/responses", &[BEARER], body.to_string().as_bytes()).await;
    assert_eq!((refused.status, refused.code()), (429, "insufficient_quota".to_owned()));
    assert_eq!(look("").await.json()["status"], "completed");
    assert_eq!(gateway.count("tollgate_leases_open").await, 0);
}

#[tokio::test]
async fn a_look_is_no_request_of_a_quota_and_streams_of_it_are_booked_as_far_as_they_were_seen() {
    let upstream = provider().await;
    let quota = "quota = { requests = 2, per = \"total\" }\n";
    let text = channel("main", "openai", &upstream, "") + PRICE + &key() + quota;
    let gateway = Gateway::start(&text).await;
    let body = json!({ "model": "m", "input": "hi", "background": true });
    let stream = "/v1/responses/resp_fake?stream=true";
    ask(&gateway, &body).await;
    // It breaks off on its way here, then it comes whole.
    upstream.script(Selector::Any, vec![Fault::Cut { after_events: 6, how: Cut::Fin }]);
    for _ in 0..3 {
        call(gateway.addr(), "GET", stream, BEARER).await;
    }
    let lines = gateway.log.lines(4).await;
    let seen = booked(&lines);
    assert_eq!((&lines[1]["end"], seen[1].4.as_str()), (&json!("stream_truncated"), "estimated"));
    assert!(seen[1].2 > 0, "{}", lines[1]);
    assert_eq!(seen[1].2 + seen[2].2, 17, "{} {}", lines[1], lines[2]);
    assert_eq!(seen[3].4, "none");
    // One that is streamed while it is made is counted by who makes it.
    let streamed = json!({ "model": "m", "input": "hi", "background": true, "stream": true });
    ask(&gateway, &streamed).await;
    call(gateway.addr(), "GET", stream, BEARER).await;
    let lines = gateway.log.lines(6).await;
    assert_eq!((booked(&lines)[4].2, booked(&lines)[5].4.as_str()), (17, "none"));
    let refused = client::post(gateway.addr(), "/v1/responses", &[BEARER], body.to_string().as_bytes()).await;
    assert_eq!(refused.status, 429, "two were made");
}

#[tokio::test]
async fn what_is_not_known_is_an_honest_404_and_nobody_is_asked() {
    let upstream = provider().await;
    let gateway = Gateway::start(&(channel("main", "openai", &upstream, "") + &key())).await;
    for (method, rest) in CALLS {
        let answer = call(gateway.addr(), method, &format!("/v1/responses/{rest}"), BEARER).await;
        assert_eq!((answer.status, answer.code()), (404, "task_not_found".to_owned()), "{rest}");
        assert!(answer.text().contains("last started"), "{}", answer.text());
    }
    assert_eq!(call(gateway.addr(), "POST", "/v1/responses/resp_1", BEARER).await.status, 405);
    assert_eq!(call(gateway.addr(), "GET", "/v1/responses/resp_1/cancel", BEARER).await.status, 405);
    assert_eq!(upstream.request_count(), 0);
}

#[tokio::test]
async fn a_conversation_goes_on_where_its_last_response_is_kept() {
    let upstream = provider().await;
    let base = upstream.base_url();
    let (a, b) = ("sk-upstream-a-0123456789", "sk-upstream-b-0123456789");
    let one = format!(
        "[[channel]]\nname = \"one\"\ntype = \"openai\"\nbase_url = \"{base}\"\napi_keys = [\"{a}\", \"{b}\"]\n"
    );
    let text = one + &channel("two", "openai", &upstream, "weight = 3") + &key();
    let gateway = Gateway::start(&text).await;
    ask(&gateway, &json!({ "model": "m", "input": "hi" })).await;
    let with = |at: usize| upstream.requests()[at].header("authorization").map(str::to_owned);
    let first = with(0);
    for turn in 1..9 {
        ask(&gateway, &json!({ "model": "m", "input": "go on", "previous_response_id": "resp_fake" })).await;
        assert_eq!(with(turn), first);
    }
    let mut others = std::collections::HashSet::new();
    for turn in 9..17 {
        ask(&gateway, &json!({ "model": "m", "input": "hi" })).await;
        others.insert(with(turn));
    }
    assert!(others.len() > 1, "who goes on from nothing goes anywhere");
}

#[tokio::test]
async fn tokens_are_counted_and_conversations_made_shorter_by_who_speaks_responses() {
    let (speaks, other) = (provider().await, provider().await);
    let of = |provider: &Provider, name: &str, protocol: &str| {
        channel(
            name,
            "openai",
            provider,
            &format!(
                "protocols = [\"{protocol}\"]\nmodels = [\"{name}\"]\nmodel_map = {{ {name} = \"theirs\" }}"
            ),
        )
    };
    let text = of(&speaks, "good", "responses") + &of(&other, "chat-only", "chat") + &key();
    let gateway = Gateway::start(&text).await;
    let post = async |path: &str, model: &str| {
        let body = json!({ "model": model, "input": "hi" }).to_string();
        client::post(gateway.addr(), path, &[BEARER], body.as_bytes()).await
    };
    let count = post("/v1/responses/input_tokens", "good").await;
    assert_eq!(count.json(), json!({ "object": "response.input_tokens", "input_tokens": 42 }));
    let compact = post("/v1/responses/compact", "good").await;
    assert_eq!((compact.status, &compact.json()["object"]), (200, &json!("response.compaction")));
    let targets: Vec<_> = speaks.requests().into_iter().map(|sent| sent.target).collect();
    assert_eq!(targets, ["/v1/responses/input_tokens", "/v1/responses/compact"]);
    assert!(speaks.requests().iter().all(|sent| String::from_utf8_lossy(&sent.body).contains("theirs")));
    let lines = gateway.log.lines(2).await;
    assert_eq!((&lines[0]["charged"], &lines[1]["charged"]), (&json!(false), &json!(true)));
    assert_eq!((&lines[1]["tokens"]["input"], &lines[1]["usage_source"]), (&json!(32), &json!("reported")));
    // Who does not speak it: a count is estimated, and nothing else can be.
    let estimated = post("/v1/responses/input_tokens", "chat-only").await;
    assert_eq!((estimated.status, estimated.header("x-tollgate-estimated")), (200, Some("tokens")));
    assert_eq!(estimated.json()["object"], "response.input_tokens");
    let refused = post("/v1/responses/compact", "chat-only").await;
    assert_eq!((refused.status, refused.code()), (400, "untranslatable_request".to_owned()));
    assert_eq!(other.request_count(), 0);
}

//! Model lists: exactly what this key can use, each of which then works.

use crate::support::ask::{Speaks, channels, key_named};
use crate::support::client::{self, Answer};
use crate::support::{Gateway, KEY, channel, provider};
use tollgate_loadtest::Provider;

const NARROW: &str = "sk-narrow-0123456789";
const TEAM: &str = "sk-team-0123456789";

fn configuration(upstream: &Provider) -> String {
    let profile = "[[profile]]\nname = \"economy\"\nmappings = [\n{ from = \"big\", to = \"both\" },\n\
                   { from = \"dangling\", to = \"nowhere\" },\n{ from_regex = \"huge-.*\", to = \"both\" },\n]\n";
    channels(upstream, "[\"both\"]")
        + &channel(
            "oa",
            "openai",
            upstream,
            "models = [\"gpt-a\"]\nmodel_map = { \"gpt-a\" = \"gpt-a-2025\" }",
        )
        + &channel("an", "anthropic", upstream, "models = [\"claude-a\"]")
        + &channel("ge", "gemini", upstream, "models = [\"gemini-a\"]")
        + &channel(
            "wild",
            "openai",
            upstream,
            "models = [\"wild-*\"]\nmodel_map = { \"wild-known\" = \"w1\" }",
        )
        + &channel("off", "openai", upstream, "models = [\"switched-off\"]\nenabled = false")
        + &channel("empty", "openai", upstream, "models = [\"weightless\"]\nweight = 0")
        + &channel("team", "openai", upstream, "models = [\"team-only\"]\ngroups = [\"team\"]")
        + "[[group]]\nname = \"team\"\n"
        + profile
        + &key_named("alice", KEY, "profiles = [\"economy\"]\nactive_profile = \"economy\"")
        + &key_named("narrow", NARROW, "models = [\"claude-*\", \"gpt-a\"]")
        + &key_named("team", TEAM, "group = \"team\"")
}

async fn list(gateway: &Gateway, path: &str, secret: &str) -> Answer {
    let versioned = path.starts_with("/anthropic");
    let headers = [("x-api-key", secret), ("anthropic-version", "2023-06-01")];
    let request = client::request("GET", path, if versioned { &headers } else { &headers[..1] }, b"");
    client::once(gateway.addr(), &request).await
}

fn names(speaks: Speaks, answer: &Answer) -> Vec<String> {
    let json = answer.json();
    let (rows, name) = if speaks == Speaks::Gemini { ("models", "name") } else { ("data", "id") };
    let rows = json[rows].as_array().unwrap_or_else(|| panic!("{json}"));
    let name = |row: &serde_json::Value| {
        row[name].as_str().map(|name| name.trim_start_matches("models/").to_owned())
    };
    rows.iter().filter_map(name).collect()
}

/// Of every channel: one that speaks another protocol is asked through translation.
const ALL: [&str; 6] = ["big", "both", "claude-a", "gemini-a", "gpt-a", "wild-known"];

#[tokio::test]
async fn each_key_sees_exactly_what_it_can_use_in_every_dialect_and_each_name_works() {
    let upstream = provider().await;
    let gateway = Gateway::start(&configuration(&upstream)).await;
    let cases: &[(Speaks, &str, &str, &[&str])] = &[
        (Speaks::OpenAi, "/v1/models", KEY, &ALL),
        (Speaks::OpenAi, "/api/v1/models", NARROW, &["claude-a", "gpt-a"]),
        (
            Speaks::OpenAi,
            "/openai/v1/models",
            TEAM,
            &["both", "claude-a", "gemini-a", "gpt-a", "team-only", "wild-known"],
        ),
        (Speaks::Anthropic, "/anthropic/v1/models", KEY, &ALL),
        (Speaks::Anthropic, "/anthropic/v1/models", NARROW, &["claude-a", "gpt-a"]),
        (Speaks::Gemini, "/v1beta/models", KEY, &ALL),
        (Speaks::Gemini, "/v1beta/models", NARROW, &["claude-a", "gpt-a"]),
    ];
    for (speaks, path, secret, expected) in cases {
        let answer = list(&gateway, path, secret).await;
        assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")), "{path}");
        assert_eq!(names(*speaks, &answer), *expected, "{path} {secret}");
        for name in *expected {
            let one = list(&gateway, &format!("{path}/{name}"), secret).await;
            assert_eq!(one.status, 200, "{path}/{name}");
            let field = if *speaks == Speaks::Gemini { "name" } else { "id" };
            assert!(one.json()[field].as_str().is_some_and(|shown| shown.ends_with(name)), "{}", one.text());
            let used = speaks.ask(gateway.addr(), secret, name).await;
            assert_eq!(used.status, 200, "{speaks:?} {name}: {}", used.text());
        }
    }
}

#[tokio::test]
async fn names_that_are_not_listed_are_not_found_and_those_a_pattern_serves_are() {
    let upstream = provider().await;
    let gateway = Gateway::start(&configuration(&upstream)).await;
    for (name, secret, status) in [
        ("unheard-of", KEY, 404),
        ("claude-a", KEY, 200),
        ("switched-off", KEY, 404),
        ("dangling", KEY, 404),
        ("both", NARROW, 404),
        ("wild-anything", KEY, 200),
        ("huge-one", KEY, 200),
    ] {
        let answer = list(&gateway, &format!("/v1/models/{name}"), secret).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        if status == 404 {
            assert_eq!(
                (answer.code().as_str(), answer.header("x-should-retry")),
                ("model_not_found", Some("false"))
            );
            assert!(answer.text().contains(name), "{}", answer.text());
        }
        let asked = Speaks::OpenAi.ask(gateway.addr(), secret, name).await;
        assert_eq!(asked.status == 200, status == 200, "{name}: {}", asked.text());
    }
}

#[tokio::test]
async fn lists_have_the_shape_the_sdks_parse_and_need_a_key() {
    let upstream = provider().await;
    let gateway = Gateway::start(&configuration(&upstream)).await;
    let openai = list(&gateway, "/v1/models", KEY).await.json();
    assert_eq!((&openai["object"], &openai["data"][0]["object"]), (&"list".into(), &"model".into()));
    assert!(openai["data"][0]["created"].is_u64() && openai["data"][0]["owned_by"].is_string());
    let anthropic = list(&gateway, "/anthropic/v1/models", KEY).await.json();
    assert_eq!((&anthropic["has_more"], &anthropic["first_id"]), (&false.into(), &"big".into()));
    assert_eq!(anthropic["last_id"], "wild-known");
    for field in ["type", "id", "display_name", "created_at"] {
        assert!(anthropic["data"][0][field].is_string(), "{field}");
    }
    let gemini = list(&gateway, "/v1beta/models", KEY).await.json();
    assert!(gemini["models"][0]["supportedGenerationMethods"].is_array());
    for path in ["/v1/models", "/anthropic/v1/models", "/v1beta/models"] {
        let refused = client::get(gateway.addr(), path).await;
        assert_eq!((refused.status, refused.code().as_str()), (401, "missing_api_key"), "{path}");
    }
    let wrong = client::once(gateway.addr(), &client::request("DELETE", "/v1/models", &[], b"")).await;
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("GET")));
    assert_eq!(upstream.total_connections(), 0, "we know them ourselves");
}

#[tokio::test]
async fn a_list_follows_the_configuration() {
    let upstream = provider().await;
    let gateway = Gateway::start(&(channels(&upstream, "[\"a\"]") + &key_named("k", KEY, ""))).await;
    assert_eq!(names(Speaks::OpenAi, &list(&gateway, "/v1/models", KEY).await), ["a"]);
    gateway
        .reload("", &(channels(&upstream, "[\"a\", \"b\"]") + &key_named("k", KEY, "")))
        .expect("it loads");
    assert_eq!(names(Speaks::OpenAi, &list(&gateway, "/v1/models", KEY).await), ["a", "b"]);
}

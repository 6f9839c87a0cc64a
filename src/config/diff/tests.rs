//! What is said of two configurations, case by case.

use super::*;
use crate::config::redacted;
use crate::config::testing::Memory;

const BASE: &str = r#"
[[channel]]
name = "main"
type = "openai"
api_keys = ["sk-up-first-0123456789"]
models = ["a", "b"]
weight = 3

[[channel]]
name = "backup"
type = "anthropic"
api_keys = ["sk-up-second-0123456789"]
priority = 10

[[group]]
name = "team"
limits = { rpm = 100 }

[[profile]]
name = "economy"
mappings = [{ from = "x", to = "a" }]

[[key]]
name = "alice"
secret = "sk-alice-0123456789-last"
group = "team"

[[price]]
model = "a"
input = 1.0
output = 2.0

[[price]]
model = "a*"
input = 3.0
output = 4.0
"#;

fn snapshot(text: &str) -> Snapshot {
    let loaded = Memory::with(&[("t.toml", text)]).load("t.toml");
    loaded.unwrap_or_else(|problems| panic!("{problems}\n{text}")).snapshot
}

fn edited(edits: &[(&str, &str)]) -> String {
    let mut text = BASE.to_owned();
    for (from, to) in edits {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    text
}

#[test]
fn every_kind_of_change_is_a_line() {
    for (edits, said) in [
        (&[][..], &[][..]),
        (&[("weight = 3", "weight = 3 # the same")], &[]),
        (&[("weight = 3", "weight = 5")], &["channel main: weight 3 → 5"]),
        (&[("models = [\"a\", \"b\"]", "models = [\"a\", \"c\"]")], &["channel main: models +c -b"]),
        (
            &[("models = [\"a\", \"b\"]", "models = [\"b\", \"a\"]")],
            &["channel main: models in another order"],
        ),
        (&[("models = [\"a\", \"b\"]\n", "")], &["channel main: models a b → not set"]),
        (
            &[("weight = 3", "weight = 0\nbalance = \"least_busy\"\nidle_timeout = \"7s\"")],
            &["channel main: balance weighted → least_busy, idle_timeout 2m → 7s, weight 3 → 0"],
        ),
        (&[("sk-up-first-0123456789", "sk-up-first-0123459999")], &["channel main: api_keys +…9999 -…6789"]),
        (&[("sk-up-first-0123456789", "sk-up-other-0123456789")], &["channel main: api_keys replaced"]),
        (&[("sk-alice-0123456789-last", "sk-alice-9876543210-last")], &["key alice: secret replaced"]),
        (
            &[(
                "[[group]]",
                "[[channel]]\nname = \"new\"\ntype = \"gemini\"\napi_keys = [\"sk-n-01234567890\"]\n[[group]]",
            )],
            &["channel new: added (type gemini, priority 0, weight 1)"],
        ),
        (
            &[(
                "limits = { rpm = 100 }",
                "limits = { rpm = 200, burst = 5 }\nquota = { usd = 9.5, per = \"day\" }",
            )],
            &[
                "group team: limits.burst 100 → 5, limits.count_tokens_burst 1000 → 2000, limits.count_tokens_rpm 1000 → 2000, \
                 limits.polls_burst 1000 → 2000, limits.polls_rpm 1000 → 2000, limits.rpm 100 → 200, quota.per not set → day, quota.usd not set → 9.5",
            ],
        ),
        (
            &[("{ from = \"x\", to = \"a\" }", "{ from = \"x\", to = \"b\" }")],
            &["profile economy: mappings +{from x, to b} -{from x, to a}"],
        ),
        (&[("input = 3.0", "input = 5.0")], &["price a*: usd_per_million.input 3 → 5"]),
        (&[("model = \"a\"", "model = \"z*\"")], &["price z*: added", "price a: removed"]),
        (
            &[
                ("\"a\"\ninput", "\"A\"\ninput"),
                ("\"a*\"", "\"a\""),
                ("\"A\"", "\"a*\""),
                ("input = 1.0\noutput = 2.0", "input = 3.0\noutput = 4.0"),
                (
                    "input = 3.0\noutput = 4.0\n\n[[price]]\nmodel = \"a\"\ninput = 3.0\noutput = 4.0",
                    "input = 3.0\noutput = 4.0\n\n[[price]]\nmodel = \"a\"\ninput = 1.0\noutput = 2.0",
                ),
            ],
            &["prices: in another order"],
        ),
        (
            &[(
                "[[channel]]",
                "[server]\ntrusted_proxies = [\"10.0.0.0/8\"]\ntimeouts = { header = \"5s\" }\n[log]\nlevel = \"debug\"\n[[channel]]",
            )],
            &["server: timeouts.header 10s → 5s, trusted_proxies +10.0.0.0/8", "log: level info → debug"],
        ),
    ] {
        let changes = changes(&snapshot(BASE), &snapshot(&edited(edits)));
        assert_eq!(changes.lines(), said, "{edits:?}");
        assert_eq!((changes.count(), changes.is_empty()), (said.len(), said.is_empty()));
    }
}

#[test]
fn trees_differ_as_their_snapshots_do_but_for_secrets_that_look_the_same() {
    let (before, after) =
        (snapshot(BASE), snapshot(&edited(&[("weight = 3", "weight = 5"), ("rpm = 100", "rpm = 9")])));
    assert_eq!(differences(&redacted(&before), &redacted(&after)), changes(&before, &after));
    let other = snapshot(&edited(&[("sk-up-first-0123456789", "sk-up-other-0123456789")]));
    assert!(differences(&redacted(&before), &redacted(&other)).is_empty());
}

#[test]
fn no_secret_is_in_a_list_of_changes() {
    let more = "[server]\nadmin_token = \"hunter2-admin-token-1\"\n[fleet]\nredis = \"redis://:hunter2-redis@h:6379/0\"\n";
    let set = "request_headers = { set = { x-org = \"hunter2-header\" } }\negress_proxy = \"http://u:hunter2-proxy@p:3128\"\nweight = 3";
    let before = edited(&[("\n[[channel]]", &format!("\n{more}[[channel]]")), ("weight = 3", set)]);
    let after = before.replace("hunter2", "hunter3").replace("sk-up-first", "sk-up-third");
    let changes = changes(&snapshot(&before), &snapshot(&after));
    let said = changes.lines().join("\n") + &changes.value().to_string();
    for secret in ["hunter", "sk-up", "first", "third"] {
        assert!(!said.contains(secret), "{secret}: {said}");
    }
    assert_eq!(
        changes.lines(),
        [
            "server: admin_token replaced",
            "fleet: redis replaced",
            "channel main: api_keys replaced, request_headers.set replaced, egress_proxy replaced",
        ]
    );
}

#[test]
fn the_list_has_a_bound_and_says_what_it_leaves_out() {
    let keys = |count: usize, rpm: u32| {
        let key = |at| {
            format!(
                "[[key]]\nname = \"k{at}\"\nsecret = \"sk-key-{at}-0123456789\"\nlimits = {{ rpm = {rpm} }}\n"
            )
        };
        BASE.to_owned() + &(0..count).map(key).collect::<String>()
    };
    let changes = changes(&snapshot(&keys(150, 5)), &snapshot(&keys(150, 6)));
    assert_eq!((changes.count(), changes.lines().len()), (150, CHANGES_MAX + 1));
    assert_eq!(changes.lines()[CHANGES_MAX], "… and 50 more");
    assert_eq!(changes.value()["more"], 50);
    let map = |suffix: &str| {
        let pairs = (0..60).map(|at| format!("m{at} = \"{}{suffix}\"", "x".repeat(500)));
        edited(&[("weight = 3", &format!("model_map = {{ {} }}", pairs.collect::<Vec<_>>().join(", ")))])
    };
    let long = super::changes(&snapshot(&map("1")), &snapshot(&map("2"))).lines().remove(0);
    assert!(long.ends_with("… and 36 more") && long.len() < 6_000, "{long}");
}

#[test]
#[cfg(feature = "otlp")]
fn where_traces_go_is_a_change_and_so_is_with_which_secret() {
    let with = |endpoint: &str, token: &str| {
        let headers = format!("headers = {{ x-api-key = \"{token}\" }}");
        snapshot(&format!("{BASE}\n[otlp]\nendpoint = \"{endpoint}\"\n{headers}\n"))
    };
    let (here, there) = ("http://127.0.0.1:4318", "http://127.0.0.2:4318");
    let (token, same_end, other_end) =
        ("tok-first-0123456789", "tok-other-0123456789", "tok-first-0123459999");
    let before = with(here, token);
    for (after, said) in [
        (with(here, token), &[][..]),
        (with(there, token), &["otlp: endpoint http://127.0.0.1:4318 → http://127.0.0.2:4318"]),
        (with(here, same_end), &["otlp: headers replaced"]),
        (with(here, other_end), &["otlp: headers.x-api-key …6789 → …9999"]),
    ] {
        let changes = changes(&before, &after);
        assert_eq!(changes.lines(), said);
        assert_eq!(changes.count(), said.len());
    }
    assert_eq!(changes(&snapshot(BASE), &before).count(), 1);
    assert_eq!(differences(&redacted(&before), &redacted(&with(there, token))).count(), 1);
}

#[test]
fn a_clouds_secret_under_the_same_name_is_a_change() {
    let with = |key: &str| {
        let channel =
            "[[channel]]\nname = \"aws\"\ntype = \"bedrock\"\nregion = \"us-east-1\"\nmodels = [\"m\"]";
        snapshot(&format!("{BASE}\n{channel}\napi_keys = [\"{key}\"]\n"))
    };
    let before = with("AKIAEXAMPLE0001:mistyped-secret");
    assert_eq!(changes(&before, &with("AKIAEXAMPLE0001:secret")).lines(), ["channel aws: api_keys replaced"]);
    assert!(changes(&before, &with("AKIAEXAMPLE0001:mistyped-secret")).is_empty());
}

#[test]
fn of_a_key_every_setting_that_differs_is_told_and_what_there_is_no_room_for_is_counted() {
    let key = "[[key]]\nname = \"bob\"\nsecret = \"sk-bob-0123456789-last\"\n";
    let before = format!("{BASE}{key}");
    for line in [
        "last4 = \"abcd\"",
        "owner = \"a\"",
        "project = \"a\"",
        "group = \"team\"",
        "groups = [\"default\", \"team\"]",
        "profiles = [\"economy\"]",
        "profiles = [\"economy\"]\nactive_profile = \"economy\"",
        "models = [\"a\"]",
        "allowed_ips = [\"10.0.0.0/8\"]",
        "expires = \"2099-06-30T00:00:00Z\"",
        "enabled = false",
        "stream = false",
        "strict_translation = true",
        "body_bytes = 10",
        "max_output_tokens = 10",
        "limits = { rpm = 1 }",
        "limits = { polls_rpm = 1 }",
        "model_limits = [{ model = \"a\", rpm = 1 }]",
        "quota = { usd = 1, per = \"day\" }",
    ] {
        let changes = changes(&snapshot(&before), &snapshot(&format!("{before}{line}\n")));
        assert_eq!(changes.count(), 1, "{line}: {:?}", changes.lines());
        let told = changes.lines().concat();
        assert!(told.contains("bob"), "{line}: {told}");
    }
    let many = |rpm: u64| {
        let key = |n| {
            format!("[[key]]\nname = \"k{n}\"\nsecret = \"sk-k{n}-0123456789\"\nlimits = {{ rpm = {rpm} }}\n")
        };
        (0..2 * CHANGES_MAX).map(key).fold(BASE.to_owned(), |text, key| text + &key)
    };
    let changes = changes(&snapshot(&many(1)), &snapshot(&many(2)));
    assert_eq!((changes.rows.len(), changes.more), (CHANGES_MAX, CHANGES_MAX));
}

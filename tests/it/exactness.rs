//! The law of the relay: for any JSON with the model anywhere, every byte but the model's arrives unchanged, and comes
//! back unchanged. Of a stream the usage is asked for, and what that adds to the answer does not come back.

use crate::support::client;
use crate::support::{Gateway, KEY, channel, key, provider};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::Value;
use std::fmt::Write as _;
use tollgate_loadtest::Provider;

const MAPPED_KEY: &str = "sk-test-mapped-0123456789";
/// The provider's name for every model of [`MAPPED_KEY`].
const UPSTREAM_MODEL: &str = "up/ström \"model\"";
const CASES: u32 = 96;

#[derive(Debug, Clone)]
struct Case {
    before: Vec<Value>,
    after: Vec<Value>,
    model: String,
    /// Which of the model's characters are written as escapes.
    escaped: u64,
    space: &'static str,
    key: &'static str,
    stream: bool,
    mapped: bool,
}

impl Case {
    /// The body with this token for the model, as the client sends it or as the provider gets it.
    fn body(&self, model: &str, arrived: bool) -> String {
        let space = self.space;
        let member = |key: &str, value: &str| format!("{key}{space}:{space}{value}");
        let field = |side: &'static str| {
            move |(at, value): (usize, &Value)| {
                member(&Value::from(format!("x \\\"{side}{at}")).to_string(), &value.to_string())
            }
        };
        let mut members: Vec<String> = self.before.iter().enumerate().map(field("model")).collect();
        members.push(member(self.key, model));
        members.extend(self.after.iter().enumerate().map(field("é")));
        members.push(member("\"messages\"", "[{\"role\":\"user\",\"content\":\"\\ud83c\\udf0f/\\/\"}]"));
        if self.stream {
            let asked = if arrived { ",\"stream_options\":{\"include_usage\":true}" } else { "" };
            members.push(member("\"stream\"", "true") + asked);
        }
        format!("{space}{{{space}{}{space}}}{space}", members.join(&format!("{space},{space}")))
    }

    fn token(&self) -> String {
        let mut token = "\"".to_owned();
        for (at, unit) in self.model.chars().enumerate() {
            if self.escaped >> (at % 64) & 1 == 1 {
                let mut units = [0; 2];
                for unit in unit.encode_utf16(&mut units) {
                    write!(token, "\\u{unit:04x}").expect("memory");
                }
            } else {
                token.push(unit);
            }
        }
        token + "\""
    }
}

fn json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![Just("model".to_owned()), Just("\"model\":\"x\"".to_owned()), any::<String>()];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((text.clone(), inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn case() -> impl Strategy<Value = Case> {
    (
        (prop::collection::vec(json(), 0..4), prop::collection::vec(json(), 0..4)),
        // Without what JSON must escape: `token` writes the other characters as they are.
        "[^\"\\\\\\p{Cc}]{1,20}",
        any::<u64>(),
        prop_oneof![Just(""), Just(" "), Just("\r\n\t")],
        prop_oneof![Just("\"model\""), Just("\"mod\\u0065l\""), Just("\"\\u006dodel\"")],
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|((before, after), model, escaped, space, key, stream, mapped)| Case {
            before,
            after,
            model,
            escaped,
            space,
            key,
            stream,
            mapped,
        })
}

async fn check(
    gateway: &Gateway,
    upstream: &Provider,
    direct: &Provider,
    case: &Case,
) -> Result<(), TestCaseError> {
    let quoted = |name: &str| Value::from(name).to_string();
    let sent = case.body(&case.token(), false);
    let model = if case.mapped { quoted(UPSTREAM_MODEL) } else { case.token() };
    let expected = case.body(&model, true);
    let bearer = format!("Bearer {}", if case.mapped { MAPPED_KEY } else { KEY });
    let headers = [("authorization", bearer.as_str())];
    let path = "/v1/chat/completions";
    let answer = client::post(gateway.addr(), path, &headers, sent.as_bytes()).await;
    prop_assert_eq!(answer.status, 200, "{}", answer.text());
    let arrived = upstream.requests().pop().map(|request| request.body.to_vec()).unwrap_or_default();
    prop_assert_eq!(String::from_utf8_lossy(&arrived), expected.as_str());
    let said = client::post(direct.addr(), path, &headers, expected.as_bytes()).await.text();
    let said: String =
        said.split_inclusive("\n\n").filter(|event| !event.contains("\"choices\":[],\"usage\":{")).collect();
    let shown = if case.mapped { said.replace(&quoted(UPSTREAM_MODEL), &quoted(&case.model)) } else { said };
    prop_assert_eq!(answer.text(), shown);
    Ok(())
}

#[test]
fn every_byte_but_the_models_passes_unchanged_both_ways() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (gateway, upstream, direct) = runtime.block_on(async {
        let (upstream, direct) = (provider().await, provider().await);
        let text = channel("main", "openai", &upstream, "")
            + &key()
            + &format!(
                "[[key]]\nname = \"mapped\"\nsecret = \"{MAPPED_KEY}\"\nprofiles = [\"all\"]\nactive_profile = \"all\"\n\
                 [[profile]]\nname = \"all\"\nmappings = [{{ from_regex = \"(?s).*\", to = '{UPSTREAM_MODEL}' }}]\n"
            );
        (Gateway::start(&text).await, upstream, direct)
    });
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&case(), |case| runtime.block_on(check(&gateway, &upstream, &direct, &case)));
    if let Err(failed) = outcome {
        panic!("{failed}");
    }
    runtime.block_on(async {
        let lines = gateway.log.lines(CASES as usize).await;
        assert!(lines.iter().all(|line| line["end"] == "ok" && line["attempts"][0]["status"] == 200));
        assert!(
            lines.iter().all(|line| line["usage_source"] == "reported" && line["tokens"]["output"] == 17)
        );
        assert!(lines.iter().all(|line| line["usage_asked"] == line["stream"]));
    });
}

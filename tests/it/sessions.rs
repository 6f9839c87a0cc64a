//! Sessions: one trace in every view, and one channel and credential as long as they serve.

use crate::support::ask::Speaks;
use crate::support::decide::{Decides, SECOND, line, place};
use crate::support::{Gateway, KEY, channel, client, key, provider};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use tollgate::failure::FailureKind;
use tollgate::stage::choose::Followed;
use tollgate::state::health::Why;
use tollgate_loadtest::{Fault, Provider, Selector};

const QUICK: Duration = Duration::from_millis(300);

fn pair(more: (&str, &str)) -> String {
    line("a", &["sk-a-1", "sk-a-2"], more.0) + &line("b", &["sk-b-1", "sk-b-2"], more.1)
}

fn rest(decides: &Decides, index: usize, seconds: u64) {
    decides.live.channel(index).health.rest.begin(decides.now, Duration::from_secs(seconds), Why::Asked);
}

#[test]
fn replicas_agree_on_sessions_nobody_has_seen_and_share_them_by_weight() {
    let (one, other) = (pair(("weight = 70", "weight = 30")), pair(("weight = 30", "weight = 70")));
    // The same channels in another order of the file.
    let other = other.replace("\"a\"", "\"x\"").replace("\"b\"", "\"a\"").replace("\"x\"", "\"b\"");
    let other = other.replace("sk-a", "sk-x").replace("sk-b", "sk-a").replace("sk-x", "sk-b");
    let (one, other) = (Decides::new(&one), Decides::new(&other));
    let mut counts: HashMap<String, usize> = HashMap::new();
    for session in 0..2_000 {
        let trace = format!("session-{session}");
        let (at, followed) = one.serve("alice", Some(&trace));
        assert_eq!(other.serve("alice", Some(&trace)), (at.clone(), Some(Followed::New)), "{trace}");
        assert_eq!(followed, Some(Followed::New));
        *counts.entry(at).or_default() += 1;
    }
    for (at, share) in [("a/0", 700), ("a/1", 700), ("b/0", 300), ("b/1", 300)] {
        assert!(counts[at].abs_diff(share) <= 70, "{counts:?}");
    }
}

#[test]
fn a_session_keeps_its_place_moves_when_it_must_and_stays_where_it_moved() {
    let mut decides = Decides::new(&pair(("", "")));
    let (first, _) = decides.serve("alice", Some("s"));
    for _ in 0..20 {
        decides.now += 600 * SECOND;
        assert_eq!(decides.serve("alice", Some("s")), (first.clone(), Some(Followed::Kept)));
    }
    let mut plan = decides.plan("alice", Some("s"));
    let attempt = decides.next(&mut plan);
    decides.failed(&mut plan, &attempt, FailureKind::Overloaded, QUICK);
    let second = decides.next(&mut plan);
    assert_ne!(second.channel.id, attempt.channel.id);
    assert_eq!(second.followed, Some(Followed::Moved));
    decides.answered(&plan, &second, QUICK);
    let second = place(&second);
    assert_eq!(decides.serve("alice", Some("s")), (second.clone(), Some(Followed::Kept)));
    let index = usize::from(second.starts_with('b'));
    rest(&decides, index, 60);
    let (third, followed) = decides.serve("alice", Some("s"));
    assert_eq!((third[..1] == first[..1], followed), (true, Some(Followed::Moved)));
    decides.now += 3_600 * SECOND;
    assert_eq!(decides.serve("alice", Some("s")), (first, Some(Followed::New)), "forgotten after an hour");
}

#[test]
fn an_attempt_that_fails_is_not_remembered_and_a_refused_credential_is_forgotten() {
    let decides = Decides::new(&pair(("", "")));
    let mut plan = decides.plan("alice", Some("s"));
    let attempt = decides.next(&mut plan);
    decides.failed(&mut plan, &attempt, FailureKind::Reset, QUICK);
    assert_eq!(decides.plan("alice", Some("s")).preference().session.and_then(|session| session.place), None);

    let (first, _) = decides.serve("alice", Some("s"));
    let mut plan = decides.plan("alice", Some("s"));
    let attempt = decides.next(&mut plan);
    decides.failed(&mut plan, &attempt, FailureKind::Unauthorized, QUICK);
    assert_eq!(decides.plan("alice", Some("s")).preference().session.and_then(|session| session.place), None);
    // The session's channel has another credential.
    let attempt = decides.next(&mut plan);
    assert_eq!((place(&attempt)[..1] == first[..1], attempt.followed), (true, Some(Followed::Kept)));
    decides.answered(&plan, &attempt, QUICK);
    assert_eq!(decides.serve("alice", Some("s")).0, place(&attempt));
}

#[test]
fn a_session_at_a_backup_stays_while_its_cache_is_warm_and_not_for_good() {
    let text = pair(("priority = 0", "priority = 1"));
    let at_backup = |idle: u64| {
        let mut decides = Decides::new(&text);
        rest(&decides, 0, 10);
        assert_eq!(&decides.serve("alice", Some("s")).0[..1], "b");
        decides.now += idle * SECOND;
        decides
    };
    assert_eq!(at_backup(299).serve("alice", Some("s")).1, Some(Followed::Kept));
    let mut decides = at_backup(301);
    let (back, followed) = decides.serve("alice", Some("s"));
    assert_eq!((&back[..1], followed), ("a", Some(Followed::Moved)));
    decides.now += SECOND;
    assert_eq!(decides.serve("alice", Some("s")), (back, Some(Followed::Kept)));

    let mut busy = at_backup(100);
    let mut minutes = 0;
    while &busy.serve("alice", Some("s")).0[..1] == "b" {
        busy.now += 60 * SECOND;
        minutes += 1;
    }
    assert!((28..=30).contains(&minutes), "{minutes}");
    // A new session never begins at the backup.
    assert!((0..100).all(|other| busy.serve("alice", Some(&other.to_string())).0.starts_with('a')));
}

#[test]
fn a_hot_session_spills_over_and_goes_on_where_it_was() {
    for remembered in [false, true] {
        let decides = Decides::new(&pair(("", "")));
        let (home, _) = Decides::new(&pair(("", ""))).serve("alice", Some("hot"));
        if remembered {
            decides.serve("alice", Some("hot"));
        }
        let mut held: Vec<_> = (0..200)
            .map(|_| {
                let mut plan = decides.plan("alice", Some("hot"));
                let attempt = decides.next(&mut plan);
                decides.answered(&plan, &attempt, QUICK);
                attempt
            })
            .collect();
        assert!(
            held[..8].iter().all(|attempt| place(attempt) == home),
            "what a tool sends at once stays together"
        );
        let at_home = held.iter().filter(|attempt| place(attempt)[..1] == home[..1]).count();
        assert!((100..=134).contains(&at_home), "{at_home} of 200");
        let spilled = held.iter().filter(|attempt| attempt.followed == Some(Followed::Spilled)).count();
        assert_eq!(spilled, 200 - at_home);
        held.clear();
        assert_eq!(decides.serve("alice", Some("hot")), (home, Some(Followed::Kept)));
    }
}

#[test]
fn no_key_steers_another_ones_session() {
    let (home, _) = Decides::new(&pair(("", ""))).serve("bob", Some("s"));
    let mut decides = Decides::new(&pair(("", "")));
    // Alice pushes her session of the same name to where Bob's would not go.
    rest(&decides, usize::from(home.starts_with('b')), 1);
    let (away, _) = decides.serve("alice", Some("s"));
    assert_ne!(away[..1], home[..1]);
    decides.now += 2 * SECOND;
    assert_eq!(decides.serve("alice", Some("s")), (away, Some(Followed::Kept)));
    assert_eq!(decides.serve("bob", Some("s")), (home, Some(Followed::New)));
}

fn messages(headers: &[(&str, &str)], path: &str, body: &str) -> Vec<u8> {
    let bearer = format!("Bearer {KEY}");
    let mut all = vec![("authorization", bearer.as_str()), ("anthropic-version", "2023-06-01")];
    all.extend_from_slice(headers);
    client::request("POST", path, &all, body.as_bytes())
}

const UUID: &str = "0f3c9d1e-0000-4000-8000-1234567890ab";

/// What Claude Code sends of one session: messages with its id in header and body, older ones in the body only,
/// and token counts in the header only.
fn claude_code() -> Vec<Vec<u8>> {
    let user = format!(r#"{{\"device_id\":\"ab\",\"account_uuid\":\"\",\"session_id\":\"{UUID}\"}}"#);
    let body = |user: &str, stream: bool| {
        format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}],"metadata":{{"user_id":"{user}"}},"max_tokens":9,"stream":{stream}}}"#
        )
    };
    let old = format!("user_ab_account__session_{UUID}");
    let header = [("x-claude-code-session-id", UUID)];
    let count = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
    vec![
        messages(&header, "/v1/messages?beta=true", &body(&user, true)),
        messages(&[], "/v1/messages", &body(&user, false)),
        messages(&[], "/v1/messages", &body(&old, true)),
        messages(&header, "/v1/messages/count_tokens?beta=true", count),
    ]
}

fn anthropic(name: &str, provider: &Provider) -> String {
    channel(name, "anthropic", provider, "")
}

const CLAUDE_CODE: &str = "[trace]\nclaude_code_trace_enabled = true\n";

#[tokio::test]
async fn all_exchanges_of_a_session_are_one_trace_at_one_channel() {
    let providers = [provider().await, provider().await];
    let text = anthropic("a", &providers[0]) + &anthropic("b", &providers[1]) + &key() + CLAUDE_CODE;
    let gateways = [Gateway::start(&text).await, Gateway::start(&text).await];
    for gateway in &gateways {
        for request in claude_code() {
            let answer = client::once(gateway.addr(), &request).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let lines = gateway.log.lines(4).await;
        let (id, trace) = (&lines[3]["request_id"], Value::from(UUID));
        assert!(
            lines.iter().all(|line| line["trace_id"] == trace && line["session_id"] == trace),
            "{lines:?}"
        );
        let shown = client::get(gateway.running.admin, &format!("/api/exchanges?trace={UUID}")).await.json();
        assert_eq!(shown.as_array().map(Vec::len), Some(4), "{shown}");
        let looked_up = format!("/api/exchanges/{}", id.as_str().expect("an id"));
        assert_eq!(client::get(gateway.running.admin, &looked_up).await.json()["trace_id"], trace);
        let none = client::get(gateway.running.admin, "/api/exchanges?trace=other").await.json();
        assert_eq!(none.as_array().map(Vec::len), Some(0));
        assert_eq!(gateway.count("tollgate_sticky_total{result=\"new\"}").await, 1);
        assert_eq!(gateway.count("tollgate_sticky_total{result=\"kept\"}").await, 3);
    }
    let counts = providers.each_ref().map(Provider::request_count);
    assert!(counts == [8, 0] || counts == [0, 8], "the gateways agree: {counts:?}");
}

#[tokio::test]
async fn a_session_moves_with_a_failover_and_stays() {
    let providers = [provider().await, provider().await];
    let text = anthropic("a", &providers[0]) + &anthropic("b", &providers[1]) + &key() + CLAUDE_CODE;
    let gateway = Gateway::start(&text).await;
    let request = &claude_code()[0];
    assert_eq!(client::once(gateway.addr(), request).await.status, 200);
    let home = usize::from(providers[0].request_count() == 0);
    let overloaded = Fault::Status { status: 529, headers: Vec::new(), body: None };
    providers[home].script(Selector::Any, vec![overloaded]);
    for _ in 0..5 {
        assert_eq!(client::once(gateway.addr(), request).await.status, 200);
    }
    assert_eq!((providers[home].request_count(), providers[1 - home].request_count()), (2, 5));
    for (result, count) in [("new", 1), ("moved", 1), ("kept", 4)] {
        let series = format!("tollgate_sticky_total{{result=\"{result}\"}}");
        assert_eq!(gateway.count(&series).await, count, "{result}");
    }
    // An answer that is the client's own fault is no reason to stay or to go.
    let bad = Fault::Status { status: 400, headers: Vec::new(), body: None };
    providers[1 - home].script(Selector::Any, vec![bad]);
    assert_eq!(client::once(gateway.addr(), request).await.status, 400);
    assert_eq!(gateway.count("tollgate_sticky_total{result=\"kept\"}").await, 4);
}

#[tokio::test]
async fn without_a_known_trace_or_with_the_switch_off_nothing_sticks() {
    for (trace, traced) in
        [("", false), ("[trace]\nclaude_code_trace_enabled = true\nsticky = false\n", true)]
    {
        let providers = [provider().await, provider().await];
        let text = anthropic("a", &providers[0]) + &anthropic("b", &providers[1]) + &key() + trace;
        let gateway = Gateway::start(&text).await;
        for _ in 0..5 {
            for request in claude_code() {
                assert_eq!(client::once(gateway.addr(), &request).await.status, 200);
            }
        }
        let counts = providers.each_ref().map(Provider::request_count);
        assert!(counts.iter().all(|count| count.abs_diff(10) <= 1), "{trace} {counts:?}");
        let lines = gateway.log.lines(20).await;
        assert!(lines.iter().all(|line| line["trace_id"].is_null() != traced), "{trace}");
        for result in ["new", "moved", "kept"] {
            let series = format!("tollgate_sticky_total{{result=\"{result}\"}}");
            assert_eq!(gateway.count(&series).await, 0, "{trace} {result}");
        }
    }
}

/// Headers, more of the body, the trace.
type Row = (&'static [(&'static str, &'static str)], &'static str, &'static str);

const TURN: &str = r#"{"request_kind":"turn","session_id":"of-turn","thread_id":"t","sandbox":"none"}"#;

#[tokio::test]
async fn each_tools_session_id_is_found_where_it_says() {
    let provider = provider().await;
    let switches =
        "[trace]\ncodex_trace_enabled = true\nopencode_trace_enabled = true\nheaders = [\"x-job\"]\n";
    let gateway = Gateway::start(&(channel("a", "openai", &provider, "") + &key() + switches)).await;
    let bearer = format!("Bearer {KEY}");
    let responses = |keyed: &str| format!(r#"{{"model":"m","input":"hi"{keyed}}}"#);
    let rows: [Row; 6] = [
        (&[("x-job", "job"), ("session-id", "s")], "", "job"),
        (&[("session-id", "s"), ("thread-id", "t")], r#","prompt_cache_key":"k""#, "s"),
        (&[("x-codex-turn-metadata", TURN), ("thread-id", "t")], "", "of-turn"),
        (&[], r#","prompt_cache_key":"k""#, "k"),
        (&[("x-session-affinity", "ses_1"), ("x-session-id", "ses_1")], "", "ses_1"),
        (&[("x-session-affinity", "ses_2")], "", "ses_2"),
    ];
    let mut expected = HashSet::new();
    for (headers, keyed, trace) in rows {
        let mut all = vec![("authorization", bearer.as_str())];
        all.extend_from_slice(headers);
        let answer = client::post(gateway.addr(), "/v1/responses", &all, responses(keyed).as_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        expected.insert(trace.to_owned());
    }
    assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, 200);
    let lines = gateway.log.lines(7).await;
    let traces: HashSet<_> =
        lines.iter().filter_map(|line| line["trace_id"].as_str().map(str::to_owned)).collect();
    assert_eq!(traces, expected);
}

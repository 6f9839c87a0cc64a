//! The pure steps of one exchange, ready to be done again and again.

use crate::given::{EVENT, body, configuration, in_force, limited};
use bytes::Bytes;
use http::Method;
use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tollgate::config::snapshot::Key;
use tollgate::id::{ChannelId, ExchangeId, GroupId, KeyId};
use tollgate::limit::Amount;
use tollgate::limit::quota::Spent;
use tollgate::protocol::fields::{Fields, names};
use tollgate::protocol::http1::HeadReader;
use tollgate::protocol::http1::request::RequestHead;
use tollgate::protocol::inspect::inspect;
use tollgate::protocol::key_forms;
use tollgate::protocol::observe::{StreamObserver, answer};
use tollgate::protocol::splice::{Edit, splice};
use tollgate::protocol::{Dialect, Operation, entry};
use tollgate::record::{
    AttemptRecord, Cost, End, KeyFacts, Labels, Losses, Over, Overhead, Path, Record, Text,
};
use tollgate::stage::choose::Preference;
use tollgate::stage::plan::{Attempt, Next};
use tollgate::stage::rewrite::{Original, rewrite};
use tollgate::stage::route::{Wanted, route};
use tollgate::stage::{admit, identify};
use tollgate::state::quotas::QuotaHold;
use tollgate::state::sticky::Session;
use tollgate::state::{Live, Registry};
use tollgate::telemetry::access::Line;
use tollgate::telemetry::{Metrics, access};
use tollgate::usage::{Usage, UsageSource};

/// A step: its name, how often it is done, and the doing.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) rounds: u32,
    pub(crate) work: Box<dyn FnMut()>,
}

fn step(name: &'static str, rounds: u32, work: impl FnMut() + 'static) -> Step {
    Step { name, rounds, work: Box::new(work) }
}

/// All of them, in the order of an exchange.
pub(crate) fn all() -> Vec<Step> {
    vec![
        asked(),
        answered(),
        inspecting("inspect 600 B", 600, 100),
        inspecting("inspect 100 KiB", 100 * 1024, 5),
        identifying(),
        limiting(),
        routing("route, 10 channels", false),
        routing("route, 10 channels, a session", true),
        rewriting(),
        splicing(),
        observing("observe 8 events", None),
        observing("observe 8 events, another name shown", Some("gpt-4.1")),
        observing_whole(),
        line(),
        metrics(),
        own("own work of the load test's chat", (1, "rpm = 1000000000, concurrency = 1000")),
        own(
            "own work, more limits, a choice",
            (2, "rpm = 1000000000, tpm = 1000000000000, concurrency = 1000"),
        ),
    ]
}

/// A client's head as it comes, taken apart.
fn asked() -> Step {
    let mut head = b"POST /v1/chat/completions HTTP/1.1\r\n".to_vec();
    client_headers("sk-client-000000-0123456789").write(&mut head);
    head.extend_from_slice(b"\r\n");
    let head = Bytes::from(head);
    step("read a client's head", 100, move || {
        let mut reader = RequestHead::default();
        reader.read(black_box(&head)).expect("fit").expect("whole");
        black_box(reader.parts(&head).expect("a head"));
    })
}

/// A provider's head as it comes, and without what is nobody's business.
fn answered() -> Step {
    step("read a provider's head and hide", 100, move || {
        let read = HeadReader::default().read(black_box(ANSWER)).expect("sound").expect("whole");
        let mut headers = read.1.headers;
        key_forms::hide(&mut headers, &[names::CONTENT_LENGTH]);
        black_box(headers);
    })
}

/// What a large provider sends, in short.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\n\
    date: Sun, 22 Nov 2026 12:00:00 GMT\r\n\
    content-type: application/json\r\n\
    content-length: 1024\r\n\
    connection: keep-alive\r\n\
    server: cloudflare\r\n\
    openai-organization: org-0123456789\r\n\
    openai-processing-ms: 417\r\n\
    openai-version: 2020-10-01\r\n\
    x-ratelimit-limit-requests: 10000\r\n\
    x-request-id: req_0123456789abcdef\r\n\
    \r\n";

fn inspecting(name: &'static str, bytes: usize, rounds: u32) -> Step {
    let body = body(bytes);
    step(name, rounds, move || {
        black_box(inspect(Operation::ChatCompletions, black_box(&body)).expect("valid"));
    })
}

/// The head's credential, its digest, one look among 10,000, and whether the key may be used now.
fn identifying() -> Step {
    let live = in_force(&Registry::default(), &configuration(10_000, 1));
    let headers = client_headers("sk-client-004321-0123456789");
    step("identify, 10,000 keys", 100, move || {
        let key = identify::identify(&live.snapshot, black_box(&headers), None).expect("known");
        identify::vouch(&key, IpAddr::from([127, 0, 0, 1]), NOW_UNIX).expect("it may");
    })
}

/// The gates of key, group and the key's rule for the model with every limit set, and the quotas of key and group.
fn limiting() -> Step {
    let registry = Registry::default();
    let live = in_force(&registry, &limited());
    let mut now = 1_000_000_000;
    step("admit, reserve, settle", 100, move || {
        now += 1_000;
        let key = &live.snapshot.keys[0];
        let quotas = live.quotas().of_key(key);
        assert!(quotas.iter().all(|named| named.quota.spent(black_box(NOW_UNIX)).is_none()), "there is room");
        let mut permit = admit::admit(&live, &registry, key, None, now).expect("room");
        let amount = Amount { input: 1_000, output: 500 };
        let charge =
            admit::reserve(&live, key, &mut permit, (black_box("gpt-4.1"), amount), now).expect("room");
        let expected = Spent { nano_usd: 5_000, tokens: 1_500, requests: 1 };
        let mut hold = QuotaHold::take(quotas, expected, NOW_UNIX, 0).expect("room");
        charge.settle(Amount { input: 900, output: 100 });
        hold.settle(Spent { nano_usd: 1, tokens: 1, requests: 0 });
        drop(permit);
    })
}

fn routing(name: &'static str, in_session: bool) -> Step {
    let registry = Registry::default();
    let live = in_force(&registry, &configuration(1, 10));
    step(name, 100, move || {
        black_box(first_attempt(&live, &registry, in_session));
    })
}

fn first_attempt(live: &Live, registry: &Registry, in_session: bool) -> Attempt {
    let key = &live.snapshot.keys[0];
    let session = in_session.then(|| registry.sticky().session(&key.id, "one-session", "gpt-4.1", NOW));
    attempt_of(live, registry, key, session)
}

fn attempt_of(live: &Live, registry: &Registry, key: &Arc<Key>, session: Option<Session>) -> Attempt {
    let wanted = Wanted {
        operation: Operation::ChatCompletions,
        dialect: Dialect::OpenAi,
        model: Some(black_box("gpt-4.1")),
        stream: true,
    };
    let mut plan = route(live, key, wanted).expect("served");
    plan.prefer(Preference { stream: true, session, keeper: None });
    match plan.next(live, registry, NOW) {
        Next::Attempt(attempt) => *attempt,
        other => panic!("no attempt, but {other:?}"),
    }
}

/// The request for one attempt, under the provider's name for the model.
fn rewriting() -> Step {
    let registry = Registry::default();
    let mut attempt = first_attempt(&in_force(&registry, &configuration(1, 1)), &registry, false);
    attempt.model_upstream = "gpt-4.1-2025-04-14".into();
    let headers = client_headers("sk-client-000000-0123456789");
    let body = Bytes::from(body(600));
    let entry = entry::entry(&Method::POST, "/v1/chat/completions", None, &headers).expect("an address");
    let inspection = inspect(entry.operation, &body).expect("valid");
    step("rewrite 600 B", 100, move || {
        let original = Original {
            method: &Method::POST,
            entry: &entry,
            headers: black_box(&headers),
            body: &body,
            model: inspection.model.as_ref(),
            stripped: &[],
            capped: &[],
            ask_usage: inspection.ask_usage.as_ref(),
            stream: false,
            task: None,
            requested: "gpt-4.1",
        };
        black_box(rewrite(&original, &attempt));
    })
}

fn splicing() -> Step {
    let body = Bytes::from(body(100 * 1024));
    let at = inspect(Operation::ChatCompletions, &body).expect("valid").model.expect("there").at;
    step("splice 100 KiB", 100, move || {
        black_box(splice(black_box(&body), &[Edit::text(black_box(at.clone()), "gpt-4.1-2025-04-14")]));
    })
}

fn observing(name: &'static str, rename: Option<&'static str>) -> Step {
    let event = Bytes::from_static(EVENT);
    let mut out = Vec::with_capacity(4);
    step(name, 20, move || {
        let mut observer = StreamObserver::new(Operation::ChatCompletions, rename);
        for _ in 0..8 {
            out.clear();
            black_box(observer.feed(black_box(&event), &mut out));
        }
    })
}

fn observing_whole() -> Step {
    let body = answer_of(1024);
    step("observe a whole answer of 1 KiB", 100, move || {
        black_box(answer(Operation::ChatCompletions, black_box(&body)));
    })
}

fn line() -> Step {
    let record = record();
    let mut spare = Line::default();
    step("access line", 100, move || {
        spare = access::line_in(black_box(&record), std::mem::take(&mut spare));
    })
}

fn metrics() -> Step {
    let record = record();
    let metrics = Metrics::new("0.0.0", "bench").expect("the table is sound");
    metrics.configure((&["k"], &["default"]), &["gpt-4.1-2025-04-14"], &["c"]);
    step("metrics of one exchange", 100, move || metrics.report(black_box(&record)))
}

/// All that a small chat needs of ours beside reading and rewriting it: whose it is among 10,000, the limits of its key,
/// which of the channels gets it, the metrics and the log line.
fn own(name: &'static str, (channels, limits): (usize, &str)) -> Step {
    let registry = Registry::default();
    let key = "[[key]]\nname = \"limited\"\nsecret = \"sk-limited-0123456789\"\n";
    let text = configuration(10_000, channels) + key + &format!("limits = {{ {limits} }}\n");
    let live = in_force(&registry, &text);
    let headers = client_headers("sk-limited-0123456789");
    let record = record();
    let metrics = Metrics::new("0.0.0", "bench").expect("the table is sound");
    metrics.configure((&["k"], &["default"]), &["gpt-4.1-2025-04-14"], &["c"]);
    let (mut now, mut spare) = (NOW, Line::default());
    step(name, 100, move || {
        now += 1_000;
        let key = identify::identify(&live.snapshot, black_box(&headers), None).expect("known");
        identify::vouch(&key, IpAddr::from([127, 0, 0, 1]), NOW_UNIX).expect("it may");
        let mut permit = admit::admit(&live, &registry, &key, None, now).expect("room");
        black_box(attempt_of(&live, &registry, &key, None));
        let amount = Amount { input: 1_000, output: 500 };
        let charge = admit::reserve(&live, &key, &mut permit, ("gpt-4.1", amount), now).expect("room");
        charge.settle(Amount { input: 900, output: 100 });
        drop(permit);
        metrics.report(black_box(&record));
        spare = access::line_in(black_box(&record), std::mem::take(&mut spare));
    })
}

fn client_headers(secret: &str) -> Fields {
    let mut headers = Fields::default();
    for (name, value) in [
        ("host", "localhost:8080"),
        ("authorization", &format!("Bearer {secret}")),
        ("content-type", "application/json"),
        ("content-length", "600"),
        ("accept", "application/json"),
        ("accept-encoding", "gzip, deflate"),
        ("user-agent", "OpenAI/Python 2.7.1"),
        ("x-stainless-lang", "python"),
    ] {
        headers.append(name, value);
    }
    headers
}

/// A streamed chat under another name, answered at the first attempt.
fn record() -> Record {
    let model = || Some(Text::new("gpt-4.1-2025-04-14"));
    Record {
        ts_unix_ms: NOW_UNIX * 1_000,
        request_id: ExchangeId::new("req_0123456789abcdef0123456789"),
        trace_id: None,
        client_ip: IpAddr::from([127, 0, 0, 1]),
        user_agent: Some(Text::new("OpenAI/Python 2.7.1")),
        dialect: Dialect::OpenAi,
        operation: Some(Operation::ChatCompletions),
        path: Path::received("/v1/chat/completions"),
        key: Some(KeyFacts {
            id: KeyId::new("k"),
            last4: Text::new("6789"),
            owner: None,
            project: None,
            group: GroupId::new("default"),
            profile: None,
        }),
        model_requested: Some(Text::new("gpt-4.1")),
        model_upstream: model(),
        channel: Some(ChannelId::new("c")),
        span: None,
        attempts: vec![AttemptRecord {
            began: Duration::ZERO,
            channel: ChannelId::new("c"),
            model_upstream: model(),
            status: Some(200),
            failure: None,
            took: Duration::from_micros(1_230_500),
            over: Over::Kept,
            connect: None,
            thinking_stripped: 0,
            usage_asked: true,
            translated: None,
        }],
        stream: true,
        status: 200,
        code: None,
        limit_hit: None,
        bytes_in: 600,
        bytes_out: 9_000,
        duration: Duration::from_micros(1_234_567),
        ttfb: Some(Duration::from_micros(345_600)),
        overhead: Overhead { request: Duration::from_micros(12), response: Duration::from_micros(3) },
        queued: None,
        usage: Usage { input: 100, output: 20, ..Usage::default() },
        usage_source: UsageSource::Reported,
        cost: Cost::Known(1_234_500),
        charged: true,
        output_cap: None,
        session_id: None,
        labels: Labels::default(),
        end: End::Ok,
        upstream_error: None,
        losses: Losses::default(),
        sample_rate: 1_000_000,
    }
}

const NOW: u64 = 1_000_000_000;
const NOW_UNIX: u64 = 1_800_000_000;

/// A whole answer to a chat, so many bytes of it, as OpenAI writes one.
fn answer_of(bytes: usize) -> Vec<u8> {
    let frame = |text: &str| {
        format!(
            r#"{{"id":"chatcmpl-0123456789","object":"chat.completion","created":1760000000,"model":"gpt-4.1-2025-04-14","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":150,"completion_tokens":200,"total_tokens":350,"prompt_tokens_details":{{"cached_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":0}}}}}}"#
        )
    };
    let text = "x".repeat(bytes.saturating_sub(frame("").len()));
    frame(&text).into_bytes()
}

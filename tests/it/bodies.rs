//! A request body reaches the last candidate as the client wrote it, whatever its size, framing and form; and what may
//! not come in is refused before anything is sent.

use crate::support::client::{self, Connection};
use crate::support::{Gateway, KEY, channel, key, provider};
use sha2::{Digest as _, Sha256};
use std::io::Write as _;
use tollgate_loadtest::{Fault, Options, Provider, ReservedPort, Selector};

const CHAT: &str = "/v1/chat/completions";
const BEARER: (&str, &str) = ("authorization", "Bearer sk-test-alice-0123456789");
const KIB: usize = 1024;
const MIB: usize = 1024 * 1024;

/// A body in the parts a splice sees.
struct Parts {
    before: String,
    model: &'static str,
    after: String,
}

impl Parts {
    fn bytes(&self) -> Vec<u8> {
        self.with(self.model)
    }

    fn with(&self, model: &str) -> Vec<u8> {
        [&self.before, model, &self.after].concat().into_bytes()
    }
}

/// Where the model stands and how it is written; `PAD` is where text makes up the size.
const SHAPES: &[(&str, &str, &str)] = &[
    (r#"{"model":"#, r#""asked""#, r#","messages":[{"role":"user","content":"PAD"}]}"#),
    (
        r#"{ "messages" : [{"role":"user","content":"PAD"}] , "model" :	"#,
        r#""asked""#,
        r#" , "x_more": {"model":"decoy"}, "temperature":1.0e0}"#,
    ),
    (
        r#"{"x":[{"model":"decoy"}],"messages":[{"role":"user","content":"PAD \"model\":\"decoy\" 你好\\"}],"model":"#,
        r#""asked""#,
        "\r\n}\r\n",
    ),
    (r#"{"messages":[{"role":"user","content":"PAD"}],"mod\u0065l":"#, r#""asked""#, "}"),
    (r#"{"messages":[{"role":"user","content":"PAD"}],"model":"#, r#""\u0061sked""#, "}"),
];

fn parts(shape: &(&str, &'static str, &str), size: usize) -> Parts {
    let (before, model, after) = shape;
    let fixed = before.len() + model.len() + after.len() - "PAD".len();
    let pad: String = "0123456789abcdef".chars().cycle().take(size.saturating_sub(fixed)).collect();
    let parts = Parts { before: before.replace("PAD", &pad), model, after: after.replace("PAD", &pad) };
    assert_eq!(parts.bytes().len(), size, "the shape is larger than {size}");
    parts
}

/// How a body is sent.
#[derive(Debug, Clone, Copy)]
enum Way {
    Length,
    Chunked(usize),
    H2,
}

async fn send(gateway: &Gateway, way: Way, body: &[u8]) -> client::Answer {
    match way {
        Way::Length => client::post(gateway.addr(), CHAT, &[BEARER], body).await,
        Way::Chunked(piece) => {
            client::once(gateway.addr(), &client::chunked(CHAT, &[BEARER], body, piece)).await
        }
        Way::H2 => client::post_h2(gateway.addr(), CHAT, &[BEARER], body).await,
    }
}

/// Two candidates that refuse in ways that make no channel rest, then one that answers.
struct House {
    refusing: [Provider; 2],
    last: Provider,
    gateway: Gateway,
}

impl House {
    async fn build(mapped: bool) -> Self {
        let (one, two, last) = (provider().await, provider().await, provider().await);
        let forbidden = Fault::Status { status: 403, headers: Vec::new(), body: None };
        one.script_forever(Selector::Any, forbidden.clone());
        two.script_forever(Selector::Any, forbidden);
        let map = if mapped { "model_map = { asked = \"up/strëam\" }" } else { "" };
        // Each exchange is sent three times, which the budget for retries would not grant for long.
        let text = format!("[upstream]\nretry_budget = 2.0\n{}", key())
            + &channel("one", "openai", &one, &format!("priority = 0\n{map}"))
            + &channel("two", "openai", &two, &format!("priority = 1\n{map}"))
            + &channel("last", "openai", &last, &format!("priority = 2\n{map}"));
        Self { refusing: [one, two], last, gateway: Gateway::start(&text).await }
    }

    async fn check(&self, way: Way, parts: &Parts, mapped: bool) {
        let (before, sent) = (self.last.request_count(), parts.bytes());
        let answer = send(&self.gateway, way, &sent).await;
        assert_eq!(answer.status, 200, "{way:?} {} bytes: {}", sent.len(), answer.text());
        let expected = if mapped { parts.with("\"up/strëam\"") } else { sent };
        let digest: [u8; 32] = Sha256::digest(&expected).into();
        for provider in self.refusing.iter().chain([&self.last]) {
            assert_eq!(provider.request_count(), before + 1, "{way:?}");
            let requests = provider.requests();
            let arrived = requests.last().expect("a request");
            assert_eq!(arrived.body_len, expected.len(), "{way:?}");
            assert!(arrived.body_sha256 == digest, "{way:?} {} bytes differ", expected.len());
        }
    }
}

#[tokio::test]
async fn every_form_and_framing_reaches_the_last_candidate_byte_for_byte() {
    for mapped in [false, true] {
        let house = House::build(mapped).await;
        for size in [2 * KIB, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1] {
            for shape in SHAPES {
                let parts = parts(shape, size);
                for way in [Way::Length, Way::Chunked(5_000), Way::H2] {
                    house.check(way, &parts, mapped).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn five_mebibytes_reach_the_last_candidate_byte_for_byte() {
    for mapped in [false, true] {
        let house = House::build(mapped).await;
        for way in [Way::Length, Way::Chunked(100_000), Way::H2] {
            house.check(way, &parts(&SHAPES[2], 5 * MIB), mapped).await;
        }
    }
}

#[tokio::test]
async fn a_body_of_no_declared_length_takes_no_more_of_the_budget_than_it_has_bytes() {
    let upstream = provider().await;
    let text = channel("main", "openai", &upstream, "") + &key();
    let gateway = Gateway::with_server("[server.limits]\nbuffered_body_bytes = \"64MiB\"", &text).await;
    upstream.script(Selector::Any, vec![Fault::HoldFirstByte]);
    let body = parts(&SHAPES[0], 5 * MIB).bytes();
    let mut first = Connection::open(gateway.addr()).await;
    first.send(&client::chunked(CHAT, &[BEARER], &body, 100_000)).await;
    upstream.wait_for_holding(1).await;
    for way in [Way::Chunked(100_000), Way::H2] {
        let second = send(&gateway, way, &body).await;
        assert_eq!(second.status, 200, "{way:?}: {}", second.text());
    }
    gateway.count_reaches("tollgate_buffered_body_bytes", 5 * MIB as u64).await;
    upstream.release();
    assert_eq!(first.answer().await.map(|answer| answer.status), Some(200));
}

#[tokio::test]
async fn thirty_two_mebibytes_reach_the_last_candidate_byte_for_byte() {
    let house = House::build(true).await;
    for way in [Way::Length, Way::Chunked(MIB), Way::H2] {
        house.check(way, &parts(&SHAPES[2], 32 * MIB), true).await;
    }
}

#[tokio::test]
async fn a_large_body_survives_a_refused_connection_a_reset_and_an_early_answer() {
    let (reserved, early, last) = (ReservedPort::new().expect("a port"), provider().await, provider().await);
    let resets = provider().await;
    early.script(Selector::Any, vec![Fault::EarlyStatus { status: 429 }]);
    resets.script(Selector::Any, vec![Fault::Reset]);
    let text = format!(
        "[upstream]\nattempts = 4\n{}[[channel]]\nname = \"none\"\ntype = \"openai\"\nbase_url = \"http://{}\"\napi_keys = [\"sk-none\"]\npriority = 0\n",
        key(),
        reserved.addr()
    ) + &channel("early", "openai", &early, "priority = 1")
        + &channel("resets", "openai", &resets, "priority = 2")
        + &channel("last", "openai", &last, "priority = 3");
    let gateway = Gateway::start(&text).await;
    let body = parts(&SHAPES[1], 5 * MIB).bytes();
    let answer = send(&gateway, Way::Length, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(last.requests()[0].body[..] == body[..]);
    let line = gateway.log.line().await;
    let statuses: Vec<_> =
        line["attempts"].as_array().expect("attempts").iter().map(|attempt| &attempt["status"]).collect();
    assert_eq!(format!("{statuses:?}"), "[Null, Number(429), Null, Number(200)]");
    assert_eq!(gateway.count("tollgate_buffered_body_bytes").await, 0);
}

#[tokio::test]
async fn compressed_bodies_go_up_decoded() {
    let upstream = provider().await;
    let gateway = Gateway::start(&(channel("main", "openai", &upstream, "") + &key())).await;
    let body = parts(&SHAPES[2], 100 * KIB).bytes();
    for (at, coding) in ["gzip", "br", "zstd", "deflate", "GZIP", "identity"].into_iter().enumerate() {
        let coded = encode(coding, &body);
        let headers = [BEARER, ("content-encoding", coding)];
        let answer = client::post(gateway.addr(), CHAT, &headers, &coded).await;
        assert_eq!(answer.status, 200, "{coding}: {}", answer.text());
        let sent = &upstream.requests()[at];
        assert!(sent.body[..] == body[..], "{coding}");
        assert_eq!(sent.header("content-encoding"), None, "{coding}");
        assert_eq!(gateway.log.lines(at + 1).await[at]["bytes_in"], coded.len(), "{coding}");
    }
    let answer = client::post(gateway.addr(), CHAT, &[BEARER, ("content-encoding", "compress")], &body).await;
    assert_eq!((answer.status, answer.code().as_str()), (415, "unsupported_content_encoding"));
}

#[tokio::test]
async fn a_bomb_is_refused_and_leaves_nothing_behind() {
    let upstream = provider().await;
    let server = "[server.limits]\nbody_bytes = \"1MiB\"\n";
    let gateway = Gateway::with_server(server, &(channel("main", "openai", &upstream, "") + &key())).await;
    let body = parts(&SHAPES[0], 20 * MIB).bytes();
    for coding in ["gzip", "br", "zstd", "deflate"] {
        let headers = [BEARER, ("content-encoding", coding)];
        let answer = client::post(gateway.addr(), CHAT, &headers, &encode(coding, &body)).await;
        assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"), "{coding}");
    }
    assert_eq!(upstream.request_count(), 0);
    assert_eq!(gateway.count("tollgate_buffered_body_bytes").await, 0);
}

fn encode(coding: &str, body: &[u8]) -> Vec<u8> {
    let level = flate2::Compression::default();
    match coding {
        "gzip" | "GZIP" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(body).expect("memory");
            encoder.finish().expect("memory")
        }
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(body).expect("memory");
            encoder.finish().expect("memory")
        }
        "br" => {
            let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 3, 20);
            encoder.write_all(body).expect("memory");
            encoder.into_inner()
        }
        "zstd" => zstd::encode_all(body, 3).expect("memory"),
        _ => body.to_vec(),
    }
}

#[tokio::test]
async fn an_expectation_is_met_or_refused() {
    let upstream = provider().await;
    let gateway = Gateway::start(&(channel("main", "openai", &upstream, "") + &key())).await;
    let body = parts(&SHAPES[0], 2 * KIB).bytes();
    let request = client::request("POST", CHAT, &[BEARER, ("expect", "100-continue")], &body);
    let (head, rest) = request.split_at(request.len() - body.len());
    let mut connection = Connection::open(gateway.addr()).await;
    connection.send(head).await;
    assert_eq!(connection.interim().await, 100);
    connection.send(rest).await;
    assert_eq!(connection.answer().await.expect("an answer").status, 200);
    assert_eq!(upstream.requests()[0].header("expect"), None);

    let request = client::request("POST", CHAT, &[BEARER, ("expect", "200-ok")], &body);
    let answer = client::once(gateway.addr(), &request).await;
    assert_eq!((answer.status, answer.code().as_str()), (417, "expectation_failed"));

    // Whoever is refused is not told to go on.
    let request = client::request(
        "POST",
        CHAT,
        &[("authorization", "Bearer sk-unknown-0123456789"), ("expect", "100-continue")],
        &body,
    );
    let mut connection = Connection::open(gateway.addr()).await;
    connection.send(&request[..request.len() - body.len()]).await;
    assert_eq!(connection.interim().await, 401);
}

#[tokio::test]
async fn a_body_over_a_limit_is_refused_declared_or_not() {
    let upstream = provider().await;
    let text = channel("main", "openai", &upstream, "")
        + &key()
        + "[[key]]\nname = \"small\"\nsecret = \"sk-test-small-0123456789\"\nbody_bytes = \"1KiB\"\n";
    let gateway = Gateway::with_server("[server.limits]\nbody_bytes = \"100KiB\"\n", &text).await;
    let small = ("authorization", "Bearer sk-test-small-0123456789");
    for (key, limit) in [(BEARER, 100 * KIB), (small, KIB)] {
        for (size, status) in [(limit, 200), (limit + 1, 413)] {
            let body = parts(&SHAPES[0], size).bytes();
            for (way, request) in [
                ("declared", client::request("POST", CHAT, &[key], &body)),
                ("chunked", client::chunked(CHAT, &[key], &body, 1000)),
            ] {
                let answer = client::once(gateway.addr(), &request).await;
                assert_eq!(answer.status, status, "{way} {size}: {}", answer.text());
                if status == 413 {
                    assert_eq!(answer.code(), "body_too_large");
                    assert_eq!(answer.header("x-should-retry"), Some("false"));
                }
            }
            let answer = client::post_h2(gateway.addr(), CHAT, &[key], &body).await;
            assert_eq!(answer.status, status, "h2 {size}: {}", answer.text());
        }
    }
    assert_eq!(gateway.count("tollgate_buffered_body_bytes").await, 0);
    assert_eq!(gateway.count("tollgate_leases_open").await, 0);
}

#[tokio::test]
async fn the_memory_of_all_bodies_together_is_bounded() {
    let upstream = provider().await;
    let server = "[server.limits]\nbuffered_body_bytes = \"64KiB\"\n";
    let text = channel("main", "openai", &upstream, "") + &key();
    let gateway = Gateway::with_server(server, &text).await;
    let body = parts(&SHAPES[0], 40 * KIB).bytes();

    // One that holds its 40 KiB while it waits for its answer.
    upstream.script(Selector::Any, vec![Fault::HoldFirstByte]);
    let mut first = Connection::open(gateway.addr()).await;
    first.send(&client::request("POST", CHAT, &[BEARER], &body)).await;
    upstream.wait_for_holding(1).await;
    assert_eq!(gateway.count("tollgate_buffered_body_bytes").await, 40 * 1024);
    for request in
        [client::request("POST", CHAT, &[BEARER], &body), client::chunked(CHAT, &[BEARER], &body, 999)]
    {
        let answer = client::once(gateway.addr(), &request).await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "gateway_overloaded"));
        assert!(answer.header("retry-after").is_some() && answer.header("retry-after-ms").is_some());
    }
    upstream.release();
    assert_eq!(first.answer().await.expect("an answer").status, 200);
    assert_eq!(send(&gateway, Way::Length, &body).await.status, 200);
    assert_eq!(gateway.count("tollgate_buffered_body_bytes").await, 0);

    // One that could never fit is not asked to come again.
    let body = parts(&SHAPES[0], 65 * KIB).bytes();
    for way in [Way::Length, Way::Chunked(1000)] {
        let answer = send(&gateway, way, &body).await;
        assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"), "{way:?}");
    }
}

#[tokio::test]
async fn a_body_is_let_go_when_its_answer_begins() {
    let upstream = provider().await;
    let gateway = Gateway::start(&(channel("main", "openai", &upstream, "") + &key())).await;
    upstream.script(Selector::Any, vec![Fault::HoldMidStream { after_events: 2 }]);
    let body = format!(
        r#"{{"model":"m","stream":true,"messages":[{{"role":"user","content":"{}"}}]}}"#,
        "x".repeat(KIB)
    );
    let mut client = Connection::open(gateway.addr()).await;
    client.send(&client::request("POST", CHAT, &[BEARER], body.as_bytes())).await;
    assert_eq!(client.head().await.expect("a head").status, 200);
    assert!(client.chunk().await.is_some_and(|chunk| !chunk.is_empty()));
    assert_eq!(gateway.count("tollgate_active_streams").await, 1);
    assert_eq!(gateway.count("tollgate_buffered_body_bytes").await, 0);
    assert!(gateway.count("tollgate_leases_open").await > 0);
    upstream.release();
    while client.chunk().await.is_some_and(|chunk| !chunk.is_empty()) {}
    assert_eq!(gateway.log.line().await["end"], "ok");
    assert_eq!(gateway.count("tollgate_leases_open").await, 0);
}

#[tokio::test]
async fn a_body_that_stops_arriving_is_not_waited_for() {
    let upstream = provider().await;
    let text = channel("main", "openai", &upstream, "") + &key();
    let gateway = Gateway::with_server("[server.timeouts]\nbody_idle = \"100ms\"\n", &text).await;
    let body = parts(&SHAPES[0], 2 * KIB).bytes();
    for request in
        [client::request("POST", CHAT, &[BEARER], &body), client::chunked(CHAT, &[BEARER], &body, 100)]
    {
        let mut client = Connection::open(gateway.addr()).await;
        client.send(&request[..request.len() - 50]).await;
        let answer = client.answer().await.expect("an answer");
        assert_eq!((answer.status, answer.code().as_str()), (408, "request_timeout"));
        assert_eq!((answer.header("connection"), answer.header("x-should-retry")), (Some("close"), None));
        assert!(client.is_closed().await);
    }
    assert_eq!(upstream.request_count(), 0);
    assert_eq!(gateway.count("tollgate_leases_open").await, 0);
}

#[tokio::test]
async fn what_is_no_request_is_refused_with_what_is_wrong() {
    let upstream = provider().await;
    let gateway = Gateway::start(&(channel("main", "openai", &upstream, "") + &key())).await;
    for (body, word) in [
        ("", "empty"),
        ("   ", "empty"),
        ("hello", "not a JSON object"),
        ("[1]", "not a JSON object"),
        (r#"{"model":"a","#, "ends before"),
        (r#"{"model":"a"} x"#, "not valid JSON"),
        (r#"{"model":"a","model":"b"}"#, "twice"),
        (r#"{"model":"a","mod\u0065l":"b"}"#, "twice"),
        (r#"{"messages":[]}"#, "missing"),
        (r#"{"model":7}"#, "string"),
        (r#"{"model":""}"#, "empty"),
        (r#"{"model":"a","stream":"yes"}"#, "stream"),
    ] {
        for way in [Way::Length, Way::Chunked(7), Way::H2] {
            let answer = send(&gateway, way, body.as_bytes()).await;
            assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"), "{way:?} {body}");
            assert!(answer.text().contains(word), "{body}: {}", answer.text());
            assert_eq!(answer.header("x-should-retry"), Some("false"), "{body}");
        }
    }
    let broken = client::once(
        gateway.addr(),
        format!(
            "POST {CHAT} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n{{}}\r\n0\r\n\r\n"
        )
        .as_bytes(),
    )
    .await;
    assert_eq!((broken.status, broken.code().as_str()), (400, "invalid_request"));
    assert_eq!(upstream.request_count(), 0);
}

#[tokio::test]
async fn a_fake_with_a_prefix_and_no_version_is_reached_by_its_documented_address() {
    let upstream = Provider::start(Options { prefix: "/openai".to_owned(), ..Options::default() })
        .await
        .expect("a port");
    for base in ["/openai", "/openai/", "/openai/v1", "/openai/v1/"] {
        let text = key()
            + &format!(
                "[[channel]]\nname = \"main\"\ntype = \"openai\"\nbase_url = \"{}{base}\"\napi_keys = [\"sk-up\"]\n",
                upstream.base_url()
            );
        let gateway = Gateway::start(&text).await;
        let body = parts(&SHAPES[0], KIB).bytes();
        assert_eq!(send(&gateway, Way::Length, &body).await.status, 200, "{base}");
    }
}

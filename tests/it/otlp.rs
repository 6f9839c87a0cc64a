//! Traces and metrics as a collector gets them, and what becomes of exchanges while there is none.

mod collector;

use self::collector::{Collector, Manner, attributes};
use crate::support::client::{self, Answer};
use crate::support::{Gateway, KEY, channel, key, provider};
use tollgate_loadtest::{Fault, Provider, ReservedPort, Selector};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const PROMPT: &str = "a-secret-prompt-of-the-client";

async fn ask(gateway: &Gateway, more: &[(&str, &str)], stream: bool) -> Answer {
    let bearer = format!("Bearer {KEY}");
    let mut headers = vec![("authorization", &*bearer)];
    headers.extend_from_slice(more);
    let body = format!(
        r#"{{"model":"gpt-4.1","stream":{stream},"messages":[{{"role":"user","content":"{PROMPT}"}}]}}"#
    );
    client::post(gateway.addr(), "/v1/chat/completions", &headers, body.as_bytes()).await
}

async fn house(section: &str) -> (Provider, Gateway) {
    let upstream = provider().await;
    let text = section.to_owned() + &channel("main", "openai", &upstream, "") + &key();
    (upstream, Gateway::start(&text).await)
}

/// The parts of the header that a provider was sent: trace, span, flags.
fn told(provider: &Provider, request: usize) -> (String, String, String) {
    let requests = provider.requests();
    let header = requests[request].header("traceparent").expect("it is told its parent").to_owned();
    assert_eq!(requests[request].header_count("traceparent"), 1);
    let parts: Vec<&str> = header.split('-').collect();
    assert_eq!((parts.len(), parts[0]), (4, "00"), "{header}");
    (parts[1].to_owned(), parts[2].to_owned(), parts[3].to_owned())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

#[tokio::test]
async fn an_exchange_that_fails_over_is_one_trace_in_which_each_provider_knows_its_own_span() {
    let collector = Collector::start(Manner::Takes).await;
    let (bad, good) = (provider().await, provider().await);
    bad.script(Selector::Any, vec![Fault::status(500)]);
    let text = collector.section("resource = { \"deployment.environment.name\" = \"test\" }")
        + "[trace]\nheaders = [\"x-session\"]\n"
        + &channel("first", "openai", &bad, "")
        + &channel("second", "openai", &good, "priority = 1")
        + &key();
    let gateway = Gateway::start(&text).await;
    let headers = [("traceparent", PARENT), ("tracestate", "foo=1,bar=2"), ("x-session", "talk-7")];
    let answer = ask(&gateway, &headers, true).await;
    assert_eq!(answer.status, 200, "{}", answer.text());

    let spans = collector.spans(3).await;
    let [server, first, second] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(hex(&server.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex(&server.parent_span_id), "b7ad6b7169203331");
    assert_eq!((server.kind, first.kind, second.kind), (2, 3, 3));
    for (provider, span) in [(&bad, first), (&good, second)] {
        let (trace, parent, flags) = told(provider, 0);
        assert_eq!((trace, parent, flags.as_str()), (hex(&span.trace_id), hex(&span.span_id), "01"));
        assert_eq!(provider.requests()[0].header("tracestate"), Some("foo=1,bar=2"));
        assert_eq!((&span.parent_span_id, &span.trace_id), (&server.span_id, &server.trace_id));
        assert_eq!(span.trace_state, "foo=1,bar=2");
        assert!(span.start_time_unix_nano >= server.start_time_unix_nano);
        assert!(span.end_time_unix_nano <= server.end_time_unix_nano + 1_000_000, "{span:?} {server:?}");
    }
    let (failed, answered) = (attributes(&first.attributes), attributes(&second.attributes));
    assert_eq!((&*failed["error.type"], &*failed["http.response.status_code"]), ("upstream_error", "500"));
    assert_eq!(answered["gen_ai.provider.name"], "openai");
    assert_eq!(answered["server.port"], good.addr().port().to_string());
    assert!(answered.contains_key("gen_ai.usage.output_tokens"));
    assert_eq!(attributes(&server.attributes)["gen_ai.conversation.id"], "talk-7");

    let line = gateway.log.line().await;
    assert_eq!(line["span"]["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(
        (&line["span"]["span_id"], &line["span"]["sampled"]),
        (&hex(&server.span_id).into(), &true.into())
    );
    let got = collector.got();
    assert_eq!(got.resources[0]["service.name"], "tollgate");
    assert_eq!(got.resources[0]["deployment.environment.name"], "test");
    let text = String::from_utf8_lossy(&got.bytes);
    for secret in [PROMPT, KEY, "sk-upstream"] {
        assert!(!text.contains(secret), "{secret} went to the collector");
    }
}

#[tokio::test]
async fn the_answer_s_attempt_says_which_model_worked_and_why_it_stopped_whatever_became_of_it() {
    let collector = Collector::start(Manner::Takes).await;
    // Relayed, renamed, and translated both ways of each: whole and as a stream.
    for (kind, more, finish) in [
        ("openai", "", "stop"),
        ("openai", "model_map = { \"gpt-4.1\" = \"gpt-4.1-mini\" }", "stop"),
        ("anthropic", "", "end_turn"),
    ] {
        let upstream = provider().await;
        let text = collector.section("") + &channel("main", kind, &upstream, more) + &key();
        let gateway = Gateway::start(&text).await;
        for stream in [false, true] {
            let before = collector.got().spans.len();
            let answer = ask(&gateway, &[("traceparent", PARENT)], stream).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let spans = collector.spans(before + 2).await;
            let told = attributes(&spans[before + 1].attributes);
            let model = &told["gen_ai.request.model"];
            assert_eq!(&told["gen_ai.response.model"], model, "{kind} {more} {stream}");
            assert_eq!(told["gen_ai.response.finish_reasons"], finish, "{kind} {more} {stream}");
            assert!(!attributes(&spans[before].attributes).contains_key("gen_ai.response.model"));
        }
    }
}

#[tokio::test]
async fn what_cannot_be_understood_begins_a_new_trace() {
    let collector = Collector::start(Manner::Takes).await;
    let (upstream, gateway) = house(&collector.section("")).await;
    let wrong = "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01";
    for headers in [&[][..], &[("traceparent", wrong), ("tracestate", "foo=1")]] {
        assert_eq!(ask(&gateway, headers, false).await.status, 200);
    }
    let spans = collector.spans(4).await;
    let servers: Vec<_> = spans.iter().filter(|span| span.kind == 2).collect();
    assert_eq!(servers.len(), 2);
    assert_ne!(servers[0].trace_id, servers[1].trace_id);
    for (request, server) in servers.iter().enumerate() {
        let (trace, _, flags) = told(&upstream, request);
        assert!(server.parent_span_id.is_empty() && server.trace_state.is_empty(), "{server:?}");
        assert_eq!((trace, flags.as_str()), (hex(&server.trace_id), "03"));
        assert_eq!(upstream.requests()[request].header("tracestate"), None);
        assert_ne!(hex(&server.trace_id), "0af7651916cd43dd8448eb211c80319c");
    }
}

#[tokio::test]
async fn without_traces_the_headers_pass_as_they_came() {
    let collector = Collector::start(Manner::Takes).await;
    for section in [String::new(), collector.section("traces = false\ninterval = \"1ms\"")] {
        let (upstream, gateway) = house(&section).await;
        let odd = [("traceparent", "not-one"), ("tracestate", "FOO=1")];
        assert_eq!(ask(&gateway, &odd, false).await.status, 200);
        let requests = upstream.requests();
        assert_eq!(requests[0].header("traceparent"), Some("not-one"));
        assert_eq!(requests[0].header("tracestate"), Some("FOO=1"));
        assert!(gateway.log.line().await["span"].is_null());
    }
    let got = collector.once(|got| !got.points.is_empty()).await;
    assert!(got.spans.is_empty());
}

#[tokio::test]
async fn what_nobody_records_is_passed_on_and_not_sent() {
    let collector = Collector::start(Manner::Takes).await;
    let (upstream, gateway) = house(&collector.section("sample_ratio = 0.0\nmetrics = false")).await;
    assert_eq!(ask(&gateway, &[], false).await.status, 200);
    assert_eq!(ask(&gateway, &[("traceparent", PARENT)], false).await.status, 200);
    let spans = collector.spans(2).await;
    assert_eq!((spans.len(), hex(&spans[0].trace_id)), (2, "0af7651916cd43dd8448eb211c80319c".to_owned()));
    assert_eq!(told(&upstream, 0).2, "02", "a new trace, drawn at random and not recorded");
    let unrecorded = format!("{}0", &PARENT[..PARENT.len() - 1]);
    assert_eq!(ask(&gateway, &[("traceparent", &unrecorded)], false).await.status, 200);
    assert_eq!((told(&upstream, 2).0, told(&upstream, 2).2), (hex(&spans[0].trace_id), "00".to_owned()));
    gateway.running.drain().await;
    assert_eq!(collector.got().spans.len(), 2);
}

#[tokio::test]
async fn a_channel_that_removes_or_sets_the_header_has_its_way() {
    let collector = Collector::start(Manner::Takes).await;
    for (more, expected) in [
        ("request_headers = { remove = [\"traceparent\", \"tracestate\"] }", None),
        ("request_headers = { set = { traceparent = \"mine\" } }", Some("mine")),
    ] {
        let upstream = provider().await;
        let text = collector.section("") + &channel("main", "openai", &upstream, more) + &key();
        let gateway = Gateway::start(&text).await;
        assert_eq!(ask(&gateway, &[("traceparent", PARENT)], false).await.status, 200);
        assert_eq!(upstream.requests()[0].header("traceparent"), expected);
    }
}

#[tokio::test]
async fn files_and_translated_requests_carry_the_trace_too() {
    let collector = Collector::start(Manner::Takes).await;
    let upstream = provider().await;
    let text = collector.section("") + &channel("main", "anthropic", &upstream, "") + &key();
    let gateway = Gateway::start(&text).await;
    assert_eq!(ask(&gateway, &[("traceparent", PARENT)], false).await.status, 200);
    assert_eq!(told(&upstream, 0).1, hex(&collector.spans(2).await[1].span_id));

    let (upstream, gateway) = house(&collector.section("")).await;
    let bearer = format!("Bearer {KEY}");
    let request = format!(
        "GET /v1/files/file-1 HTTP/1.1\r\nhost: a\r\nauthorization: {bearer}\r\ntraceparent: {PARENT}\r\n\r\n"
    );
    let mut connection = client::Connection::open(gateway.addr()).await;
    connection.send(request.as_bytes()).await;
    connection.answer().await.expect("an answer");
    let spans = collector.spans(4).await;
    let file = spans.iter().find(|span| span.name == "GET /v1/files").expect("the file's span");
    let attempt = spans.iter().find(|span| span.parent_span_id == file.span_id).expect("its attempt's");
    assert_eq!(told(&upstream, 0).1, hex(&attempt.span_id));
}

#[tokio::test]
async fn refusals_are_spans_without_attempts() {
    let collector = Collector::start(Manner::Takes).await;
    let (_upstream, gateway) = house(&collector.section("")).await;
    let headers = [("authorization", "Bearer sk-nobody-0123456789abcdef"), ("traceparent", PARENT)];
    let answer = client::post(gateway.addr(), "/v1/chat/completions", &headers, b"{}").await;
    assert_eq!(answer.status, 401);
    let spans = collector.spans(1).await;
    let told = attributes(&spans[0].attributes);
    assert_eq!((&*told["error.type"], &*told["http.response.status_code"]), ("invalid_api_key", "401"));
    assert_eq!((told["tollgate.attempts"].as_str(), &spans[0].status), ("0", &None));
}

#[tokio::test]
async fn metrics_say_all_that_happened_and_headers_and_names_are_the_operators() {
    let collector = Collector::start(Manner::Takes).await;
    let more = "interval = \"1ms\"\nsemconv = \"1.36\"\nservice_name = \"edge-1\"\n\
                headers = { authorization = \"Bearer of-the-collector\", \"x-tenant\" = \"t1\" }";
    let (_upstream, gateway) = house(&collector.section(more)).await;
    for _ in 0..3 {
        assert_eq!(ask(&gateway, &[], false).await.status, 200);
    }
    let is_counted = |got: &collector::Got| {
        got.points.get("http.server.request.duration").is_some_and(|points| points[0].count == 3)
    };
    let got = collector.once(is_counted).await;
    let tokens = &got.points["gen_ai.client.token.usage"];
    assert_eq!(tokens.len(), 2);
    for point in tokens {
        let told = attributes(&point.attributes);
        assert_eq!(
            (point.count, &*told["gen_ai.system"], &*told["gen_ai.request.model"]),
            (3, "openai", "gpt-4.1")
        );
    }
    let attempts = &got.points["gen_ai.client.operation.duration"];
    assert_eq!((attempts.len(), attempts[0].count), (1, 3));
    assert_eq!(got.resources[0]["service.name"], "edge-1");
    for head in &got.heads {
        assert_eq!(head["authorization"], "Bearer of-the-collector");
        assert_eq!(head["x-tenant"], "t1");
        assert!(head["user-agent"].to_str().expect("text").starts_with("OTel-OTLP-Exporter-Tollgate/"));
    }
    assert_eq!(got.connections, 1, "one connection serves every export");
    gateway.count_reaches("tollgate_otlp_dropped_total{reason=\"refused\",signal=\"traces\"}", 0).await;
}

#[tokio::test]
async fn a_collector_that_says_no_costs_no_exchange_and_what_it_misses_is_counted() {
    let collector = Collector::start(Manner::Says(400)).await;
    let (_upstream, gateway) = house(&collector.section("metrics = false")).await;
    assert_eq!(ask(&gateway, &[], false).await.status, 200);
    gateway.count_reaches("tollgate_otlp_dropped_total{reason=\"refused\",signal=\"traces\"}", 2).await;
    assert_eq!(collector.got().requests, 1, "what is refused is not sent again");
    collector.becomes(Manner::Says(503));
    assert_eq!(ask(&gateway, &[], false).await.status, 200);
    gateway.count_reaches("tollgate_otlp_dropped_total{reason=\"unreachable\",signal=\"traces\"}", 2).await;
    assert_eq!(collector.got().requests, 6, "what may go better is sent five times in all");
    collector.becomes(Manner::Takes);
    assert_eq!(ask(&gateway, &[], false).await.status, 200);
    assert_eq!(collector.spans(2).await.len(), 2);
    gateway.count_reaches("tollgate_otlp_exported_total{signal=\"traces\"}", 2).await;
}

#[tokio::test]
async fn while_the_collector_hangs_or_is_gone_exchanges_go_on_and_the_process_leaves() {
    let hanging = Collector::start(Manner::Hangs).await;
    let nobody = ReservedPort::new().expect("a port");
    let gone = format!("[otlp]\nendpoint = \"http://{}\"\ndelay = \"1ms\"\n", nobody.addr());
    for section in [hanging.section(""), gone] {
        let (_upstream, gateway) = house(&section).await;
        for _ in 0..50 {
            assert_eq!(ask(&gateway, &[], false).await.status, 200);
        }
        assert!(gateway.running.drain().await, "everything under way ended by itself");
    }
    assert!(hanging.got().requests >= 1);
}

#[tokio::test]
async fn an_ending_process_sends_what_it_has_gathered() {
    let collector = Collector::start(Manner::Takes).await;
    let section = collector.section("interval = \"1h\"").replace("1ms", "1h");
    let (_upstream, gateway) = house(&section).await;
    assert_eq!(ask(&gateway, &[], false).await.status, 200);
    assert_eq!(gateway.log.lines(1).await.len(), 1);
    gateway.running.drain().await;
    let got = collector.got();
    assert_eq!((got.spans.len(), got.points.len()), (2, 3));
}

#[tokio::test]
async fn a_reload_switches_it_on_moves_it_and_switches_it_off() {
    let (one, other) = (Collector::start(Manner::Takes).await, Collector::start(Manner::Takes).await);
    let upstream = provider().await;
    let rest = channel("main", "openai", &upstream, "") + &key();
    let gateway = Gateway::start(&rest).await;
    assert_eq!(ask(&gateway, &[("traceparent", PARENT)], false).await.status, 200);
    assert_eq!(upstream.requests()[0].header("traceparent"), Some(PARENT));
    for collector in [&one, &other] {
        gateway.reload("", &(collector.section("") + &rest)).expect("it is taken");
        // The exporter takes up its settings by itself; what ends before that is not its to send.
        while collector.got().spans.is_empty() {
            assert_eq!(ask(&gateway, &[("traceparent", PARENT)], false).await.status, 200);
        }
    }
    gateway.reload("", &rest).expect("it is taken");
    let before = upstream.request_count();
    assert_eq!(ask(&gateway, &[("traceparent", PARENT)], false).await.status, 200);
    assert_eq!(upstream.requests()[before].header("traceparent"), Some(PARENT));
}

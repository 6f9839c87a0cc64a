//! What is written is what OpenTelemetry's own project reads: its crate is the oracle.

use super::*;
use crate::code::Code;
use crate::id::ChannelId;
use crate::protocol::trace_context::{Sampling, TraceContext};
use crate::record::tests::sample;
use crate::record::{End, Record, Span};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::{HistogramDataPoint, metric::Data};
use opentelemetry_proto::tonic::trace::v1::Span as Theirs;
use std::collections::BTreeMap;
use std::sync::Arc;

const START_NANOS: u64 = 1_763_683_200_123_000_000;

fn peer() -> Peer {
    Peer { kind: "xai", host: Arc::from("api.x.ai"), port: 443 }
}

fn traced() -> Record {
    let context = TraceContext { trace: 0xabc, parent: 0xdef, flags: 1, state: Some("foo=1".into()) };
    let span = Span::begin(Some(context), Sampling::of(0.0), [77, 0, 0]);
    Record { span: Some(Box::new(span)), ..sample() }
}

fn values(attributes: &[KeyValue]) -> BTreeMap<&str, String> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref().and_then(|value| value.value.clone()) {
        Some(Value::StringValue(text)) => text,
        Some(Value::BoolValue(flag)) => flag.to_string(),
        Some(Value::IntValue(whole)) => whole.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::ArrayValue(list)) => format!("{} of them", list.values.len()),
        other => panic!("{}: {other:?}", attribute.key),
    };
    let values: BTreeMap<&str, String> =
        attributes.iter().map(|attribute| (attribute.key.as_str(), text(attribute))).collect();
    assert_eq!(values.len(), attributes.len(), "no attribute is there twice: {attributes:?}");
    values
}

/// The spans of a record, as they are read; every byte of them must have been understood.
fn read(record: &Record, convention: Convention) -> Vec<Theirs> {
    let origin = Origin::new(convention, &[("service.name".to_owned(), "edge".to_owned())], "instance-1");
    let body = origin.traces(spans(record, convention, |_: &ChannelId| Some(Box::leak(Box::new(peer())))));
    let message = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
    assert_eq!(message.encoded_len(), body.len(), "nothing was passed over as unknown");
    let [of_resource] = &message.resource_spans[..] else { panic!("one resource") };
    let resource = of_resource.resource.as_ref().unwrap();
    let resource = values(&resource.attributes);
    assert_eq!(resource["service.name"], "edge");
    assert_eq!(resource["service.instance.id"], "instance-1");
    assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
    let [of_scope] = &of_resource.scope_spans[..] else { panic!("one scope") };
    assert_eq!(of_scope.scope.as_ref().unwrap().name, "tollgate");
    assert_eq!(of_scope.schema_url, convention.schema_url());
    of_scope.spans.clone()
}

#[test]
fn an_exchange_is_a_server_span_with_a_client_span_for_each_attempt() {
    let record = traced();
    let spans = read(&record, Convention::V1_41);
    let [server, first, second] = &spans[..] else { panic!("{spans:?}") };
    let place = record.span.as_ref().unwrap();
    for span in &spans {
        assert_eq!(span.trace_id, 0xabc_u128.to_be_bytes());
        assert_eq!(span.trace_state, "foo=1");
    }
    assert_eq!((server.kind, server.name.as_str()), (2, "POST /v1/chat/completions"));
    assert_eq!(server.span_id, 77_u64.to_be_bytes());
    assert_eq!(server.parent_span_id, 0xdef_u64.to_be_bytes());
    assert_eq!(server.flags, 0x301, "sampled, and its parent is in another program");
    assert_eq!(server.start_time_unix_nano, START_NANOS);
    assert_eq!(server.end_time_unix_nano, START_NANOS + 1_234_567_000);
    assert_eq!(server.status, None);
    for (at, span) in [first, second].into_iter().enumerate() {
        assert_eq!((span.kind, &span.parent_span_id), (3, &server.span_id));
        assert_eq!(span.span_id, place.of_attempt(at).to_be_bytes());
        assert_eq!(span.flags, 0x101, "its parent is here");
    }
    assert_eq!((first.name.as_str(), second.name.as_str()), ("chat gpt-4.1", "chat gpt-4.1-2025-04-14"));
    assert_eq!(first.start_time_unix_nano, START_NANOS + 400_000);
    assert_eq!(second.end_time_unix_nano, START_NANOS + 4_000_000 + 1_230_500_000);
    assert_eq!((first.status.as_ref().map(|status| status.code), &second.status), (Some(2), &None));
}

#[test]
fn the_attributes_are_those_of_the_conventions() {
    let spans = read(&traced(), Convention::V1_41);
    let server = values(&spans[0].attributes);
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/v1/chat/completions"),
        ("http.response.status_code", "200"),
        ("url.path", "/v1/chat/completions"),
        ("url.scheme", "http"),
        ("client.address", "10.0.0.7"),
        ("network.protocol.version", "1.1"),
        ("user_agent.original", "OpenAI/Python 3.52.0"),
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.request.model", "gpt-4.1"),
        ("gen_ai.conversation.id", "5f0c"),
        ("session.id", "5f0c"),
        ("tollgate.request_id", "req_01"),
        ("tollgate.key", "alice-laptop"),
        ("tollgate.group", "team-a"),
        ("tollgate.end", "ok"),
        ("tollgate.attempts", "2"),
    ] {
        assert_eq!(server.get(name).map(String::as_str), Some(value), "{name}");
    }
    let failed = values(&spans[1].attributes);
    assert_eq!(failed["error.type"], "upstream_unreachable");
    assert!(!failed.contains_key("gen_ai.usage.input_tokens"));
    let answered = values(&spans[2].attributes);
    for (name, value) in [
        ("gen_ai.provider.name", "x_ai"),
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.request.model", "gpt-4.1-2025-04-14"),
        ("gen_ai.request.stream", "true"),
        ("gen_ai.response.time_to_first_chunk", "0.3416"),
        ("gen_ai.usage.input_tokens", "155"),
        ("gen_ai.usage.output_tokens", "20"),
        ("gen_ai.usage.cache_read.input_tokens", "50"),
        ("gen_ai.usage.cache_creation.input_tokens", "5"),
        ("gen_ai.usage.reasoning.output_tokens", "7"),
        ("server.address", "api.x.ai"),
        ("server.port", "443"),
        ("http.request.resend_count", "1"),
        ("http.response.status_code", "200"),
        ("tollgate.channel", "second"),
        ("tollgate.cost_usd", "0.0012345"),
    ] {
        assert_eq!(answered.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(!answered.contains_key("error.type") && !answered.contains_key("gen_ai.system"));
}

#[test]
fn the_older_version_has_the_older_names_and_none_of_the_newer() {
    let spans = read(&traced(), Convention::V1_36);
    let answered = values(&spans[2].attributes);
    assert_eq!(answered["gen_ai.system"], "xai");
    assert_eq!(answered["gen_ai.usage.input_tokens"], "155");
    for name in ["gen_ai.provider.name", "gen_ai.request.stream", "gen_ai.usage.cache_read.input_tokens"] {
        assert!(!answered.contains_key(name), "{name}");
    }
}

#[test]
fn errors_are_told_as_the_conventions_want_it() {
    for (status, code, end, error, server_failed) in [
        (200, None, End::Ok, None, false),
        (400, None, End::Ok, Some("400"), false),
        (429, Some(Code::RateLimitExceeded), End::Refused, Some("rate_limit_exceeded"), false),
        (502, Some(Code::UpstreamError), End::Failed, Some("upstream_error"), true),
        (200, Some(Code::StreamTruncated), End::StreamTruncated, Some("stream_truncated"), true),
        (499, None, End::ClientClosed, Some("client_closed"), true),
        (503, Some(Code::GatewayOverloaded), End::Refused, Some("gateway_overloaded"), true),
    ] {
        let record = Record { status, code, end, ..traced() };
        let spans = read(&record, Convention::V1_41);
        let attributes = values(&spans[0].attributes);
        assert_eq!(attributes.get("error.type").map(String::as_str), error, "{status} {end:?}");
        assert_eq!(
            spans[0].status.as_ref().is_some_and(|status| status.code == 2),
            server_failed,
            "{status} {end:?}"
        );
    }
}

#[test]
fn what_is_not_recorded_has_no_spans() {
    let none = |record: &Record| spans(record, Convention::V1_41, |_| None).is_empty();
    assert!(none(&sample()));
    let span = Span::begin(None, Sampling::of(0.0), [1, 2, 3]);
    assert!(none(&Record { span: Some(Box::new(span)), ..sample() }));
}

fn points(histograms: &Histograms, name: &str) -> Vec<HistogramDataPoint> {
    let body = Origin::new(Convention::V1_41, &[], "i").metrics(histograms, 2_000);
    let message = ExportMetricsServiceRequest::decode(body.as_slice()).unwrap();
    assert_eq!(message.encoded_len(), body.len(), "nothing was passed over as unknown");
    let metrics = &message.resource_metrics[0].scope_metrics[0].metrics;
    let found = metrics.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("{name}"));
    let Some(Data::Histogram(histogram)) = &found.data else { panic!("{name} is a histogram") };
    assert_eq!(histogram.aggregation_temporality, 2);
    histogram.data_points.clone()
}

#[test]
fn histograms_count_what_happened_since_the_beginning() {
    let mut histograms = Histograms::new(Convention::V1_41, 1_000);
    assert!(histograms.is_empty());
    let known = peer();
    histograms.count(&sample(), |_| Some(&known));
    histograms.count(&sample(), |_| Some(&known));
    let tokens = points(&histograms, "gen_ai.client.token.usage");
    assert_eq!(tokens.len(), 2, "input and output");
    for point in &tokens {
        let attributes = values(&point.attributes);
        let sum = if attributes["gen_ai.token.type"] == "input" { 310.0 } else { 40.0 };
        assert_eq!((point.count, point.sum), (2, Some(sum)));
        assert_eq!(attributes["gen_ai.provider.name"], "x_ai");
        assert_eq!(attributes["gen_ai.request.model"], "gpt-4.1-2025-04-14");
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (1_000_000_000, 2_000_000_000));
        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
        assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
        let at = point.bucket_counts.iter().position(|count| *count > 0).unwrap();
        let value = sum / 2.0;
        assert!(value <= point.explicit_bounds[at] && value > point.explicit_bounds[at - 1]);
        assert_eq!((point.min, point.max), (Some(value), Some(value)));
    }
    let attempts = points(&histograms, "gen_ai.client.operation.duration");
    let errors: Vec<_> =
        attempts.iter().filter_map(|point| values(&point.attributes).get("error.type").cloned()).collect();
    assert_eq!((attempts.len(), errors), (2, vec!["upstream_unreachable".to_owned()]));
    let exchanges = points(&histograms, "http.server.request.duration");
    assert_eq!((exchanges.len(), exchanges[0].count), (1, 2));
    assert_eq!(values(&exchanges[0].attributes)["http.route"], "/v1/chat/completions");
}

#[test]
fn a_value_on_a_bound_is_in_the_bucket_below_it() {
    let mut histograms = Histograms::new(Convention::V1_41, 0);
    let record = Record { duration: std::time::Duration::from_secs(10), ..sample() };
    histograms.count(&record, |_| None);
    let point = &points(&histograms, "http.server.request.duration")[0];
    assert_eq!(point.bucket_counts[13], 1, "{:?}", point.bucket_counts);
    let mut longer = Histograms::new(Convention::V1_41, 0);
    longer.count(&Record { duration: std::time::Duration::from_secs(11), ..sample() }, |_| None);
    assert_eq!(points(&longer, "http.server.request.duration")[0].bucket_counts[14], 1);
}

#[test]
fn series_past_the_bound_are_one() {
    let mut histograms = Histograms::new(Convention::V1_41, 0);
    for number in 0..SERIES_MAX + 50 {
        let mut record = sample();
        record.attempts.truncate(1);
        record.attempts[0].model_upstream = Some(crate::record::Text::new(&format!("model-{number}")));
        histograms.count(&record, |_| None);
    }
    let points = points(&histograms, "gen_ai.client.operation.duration");
    assert_eq!(points.len(), SERIES_MAX);
    let rest: Vec<_> = points
        .iter()
        .filter(|point| values(&point.attributes).contains_key("otel.metric.overflow"))
        .collect();
    assert_eq!((rest.len(), rest[0].count), (1, 51));
}

#[test]
fn what_a_collector_did_not_take_is_understood() {
    let answer = |count, words: &str| {
        let partial = ExportTracePartialSuccess { rejected_spans: count, error_message: words.to_owned() };
        ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec()
    };
    let told = rejected(&answer(3, "too old")).unwrap();
    assert_eq!((told.count, told.message.as_str()), (3, "too old"));
    assert!(rejected(&answer(0, "")).is_none());
    assert!(rejected(b"").is_none() && rejected(b"<html>").is_none());
}

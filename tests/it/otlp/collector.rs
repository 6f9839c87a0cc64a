//! A collector of OTLP over HTTP that takes nothing on trust: what is sent must be what the specification has.

use http::HeaderMap;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::{HistogramDataPoint, metric::Data};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How it answers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Manner {
    /// Takes everything.
    Takes,
    /// This status, and that it may be tried again at once.
    Says(u16),
    /// Reads, and never answers.
    Hangs,
}

/// Everything it was sent.
#[derive(Debug, Default, Clone)]
pub(super) struct Got {
    pub(super) spans: Vec<Span>,
    /// The last message of metrics: each says all.
    pub(super) points: BTreeMap<String, Vec<HistogramDataPoint>>,
    pub(super) resources: Vec<BTreeMap<String, String>>,
    pub(super) heads: Vec<HeaderMap>,
    pub(super) bytes: Vec<u8>,
    /// Requests, taken or not.
    pub(super) requests: usize,
    pub(super) connections: usize,
}

/// A listening collector.
pub(super) struct Collector {
    pub(super) port: u16,
    manner: Arc<Mutex<Manner>>,
    got: watch::Sender<Got>,
}

impl Collector {
    pub(super) async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let port = listener.local_addr().expect("it is bound").port();
        let manner = Arc::new(Mutex::new(manner));
        let got = watch::Sender::new(Got::default());
        let (own_manner, own_got) = (Arc::clone(&manner), got.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                own_got.send_modify(|got| got.connections += 1);
                tokio::spawn(serve(stream, Arc::clone(&own_manner), own_got.clone()));
            }
        });
        Self { port, manner, got }
    }

    /// What a configuration says of it; `more` are further lines.
    pub(super) fn section(&self, more: &str) -> String {
        format!("[otlp]\nendpoint = \"http://127.0.0.1:{}\"\ndelay = \"1ms\"\n{more}\n", self.port)
    }

    pub(super) fn becomes(&self, manner: Manner) {
        *self.manner.lock().unwrap_or_else(PoisonError::into_inner) = manner;
    }

    pub(super) fn got(&self) -> Got {
        self.got.borrow().clone()
    }

    /// What it has once that is so.
    pub(super) async fn once(&self, is: impl Fn(&Got) -> bool) -> Got {
        self.got.subscribe().wait_for(|got| is(got)).await.expect("it outlives the test").clone()
    }

    /// So many spans, in the order of their beginning.
    pub(super) async fn spans(&self, count: usize) -> Vec<Span> {
        let mut spans = self.once(|got| got.spans.len() >= count).await.spans;
        spans.sort_by_key(|span| (span.start_time_unix_nano, span.kind));
        spans
    }
}

async fn serve(mut stream: TcpStream, manner: Arc<Mutex<Manner>>, got: watch::Sender<Got>) {
    let mut read = Vec::new();
    while let Some((path, headers, body)) = request(&mut stream, &mut read).await {
        let manner = *manner.lock().unwrap_or_else(PoisonError::into_inner);
        got.send_modify(|got| got.requests += 1);
        let answer = match manner {
            Manner::Hangs => std::future::pending().await,
            Manner::Says(status) => {
                format!("HTTP/1.1 {status} No\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n")
            }
            Manner::Takes => {
                got.send_modify(|got| take(got, &path, headers, &body));
                "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n"
                    .to_owned()
            }
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn request(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<(String, HeaderMap, Vec<u8>)> {
    loop {
        let mut lines = [httparse::EMPTY_HEADER; 32];
        let mut head = httparse::Request::new(&mut lines);
        if let Ok(httparse::Status::Complete(begin)) = head.parse(read) {
            assert_eq!((head.method, head.version), (Some("POST"), Some(1)));
            let path = head.path.expect("a path").to_owned();
            let headers: HeaderMap = head
                .headers
                .iter()
                .map(|line| {
                    let name = line.name.parse::<http::HeaderName>().expect("a name");
                    (name, http::HeaderValue::from_bytes(line.value).expect("a value"))
                })
                .collect();
            let length: usize = headers["content-length"].to_str().ok()?.parse().ok()?;
            if read.len() >= begin + length {
                let body = read[begin..begin + length].to_vec();
                read.drain(..begin + length);
                return Some((path, headers, body));
            }
        }
        if stream.read_buf(read).await.ok()? == 0 {
            return None;
        }
    }
}

fn take(got: &mut Got, path: &str, headers: HeaderMap, body: &[u8]) {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    match path {
        "/v1/traces" => take_traces(got, body),
        "/v1/metrics" => take_metrics(got, body),
        other => panic!("{other} is no path of OTLP"),
    }
    got.heads.push(headers);
    got.bytes.extend_from_slice(body);
}

fn take_traces(got: &mut Got, body: &[u8]) {
    let message = ExportTraceServiceRequest::decode(body).expect("it is protobuf");
    assert_eq!(message.encoded_len(), body.len(), "every field of it is known");
    for of_resource in message.resource_spans {
        got.resources.push(attributes(&of_resource.resource.expect("a resource").attributes));
        for span in of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans) {
            assert!(span.trace_id.len() == 16 && span.trace_id.iter().any(|byte| *byte > 0), "{span:?}");
            assert!(span.span_id.len() == 8 && span.span_id.iter().any(|byte| *byte > 0), "{span:?}");
            assert!(matches!(span.parent_span_id.len(), 0 | 8) && !span.name.is_empty(), "{span:?}");
            assert!(span.end_time_unix_nano >= span.start_time_unix_nano, "{span:?}");
            assert!(!attributes(&span.attributes).is_empty());
            got.spans.push(span);
        }
    }
}

fn take_metrics(got: &mut Got, body: &[u8]) {
    let message = ExportMetricsServiceRequest::decode(body).expect("it is protobuf");
    assert_eq!(message.encoded_len(), body.len(), "every field of it is known");
    for of_resource in message.resource_metrics {
        got.resources.push(attributes(&of_resource.resource.expect("a resource").attributes));
        for metric in of_resource.scope_metrics.into_iter().flat_map(|of_scope| of_scope.metrics) {
            let Some(Data::Histogram(histogram)) = metric.data else {
                panic!("{} is a histogram", metric.name)
            };
            for point in &histogram.data_points {
                assert!(point.time_unix_nano >= point.start_time_unix_nano, "{point:?}");
                assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count, "{point:?}");
                assert!(!attributes(&point.attributes).is_empty());
            }
            got.points.insert(metric.name, histogram.data_points);
        }
    }
}

/// By name; none may be there twice.
pub(super) fn attributes(listed: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        Value::BoolValue(flag) => flag.to_string(),
        Value::IntValue(whole) => whole.to_string(),
        Value::DoubleValue(number) => number.to_string(),
        Value::ArrayValue(list) => {
            let words = list.values.iter().map(|value| match &value.value {
                Some(Value::StringValue(text)) => text.as_str(),
                other => panic!("{other:?}"),
            });
            words.collect::<Vec<_>>().join(",")
        }
        other => panic!("{other:?}"),
    };
    let by_name: BTreeMap<String, String> = listed
        .iter()
        .map(|attribute| {
            let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
            (attribute.key.clone(), text(value.expect("an attribute has a value")))
        })
        .collect();
    assert_eq!(by_name.len(), listed.len(), "{listed:?}");
    by_name
}

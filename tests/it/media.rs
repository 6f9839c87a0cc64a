//! Pictures, sound, moderations and rerank: byte for byte both ways, forms and all, whatever their size.

mod limits;
mod troubles;

use crate::support::client::{self, Answer, Connection, Ended};
use crate::support::{Gateway, KEY, channel, key, provider};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tollgate_loadtest::{Fault, Provider, Selector};

const BEARER: (&str, &str) = ("authorization", "Bearer sk-test-alice-0123456789");
const FORM: (&str, &str) = ("content-type", "multipart/form-data; boundary=\"a boundary'7\"");
const JSON: (&str, &str) = ("content-type", "application/json");
const MODEL: &str = "some-model";

/// One operation as a client asks for it; `$` is the model.
#[derive(Debug, Clone)]
struct Asked {
    path: &'static str,
    content_type: (&'static str, &'static str),
    body: Vec<u8>,
}

impl Asked {
    fn json(path: &'static str, body: &str) -> Self {
        Self { path, content_type: JSON, body: body.as_bytes().to_vec() }
    }

    /// A form with a file of this many bytes behind its first fields, and the model behind that.
    fn form(path: &'static str, fields: &[(&str, &str)], file: usize) -> Self {
        let name = if path.contains("images") { "image" } else { "file" };
        let mut body = Vec::new();
        let mut field = |name: &str, value: &[u8]| {
            let head = format!("--a boundary'7\r\ncontent-disposition: form-data; {name}\r\n\r\n");
            body.extend([head.as_bytes(), value, b"\r\n"].concat());
        };
        for (name, value) in fields {
            field(&format!("name=\"{name}\""), value.as_bytes());
        }
        // Nothing in a file counts, whatever it looks like.
        let decoy =
            b"\r\n--a boundar\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\ndecoy\r\n\0\xff";
        let content: Vec<u8> = decoy.iter().copied().cycle().take(file).collect();
        field(&format!("name=\"{name}\"; filename=\"a;b.bin\"\r\ncontent-type: application/x-any"), &content);
        field("name=\"model\"", b"$");
        field("name=\"user\"", b"\xe6\xa8\xa1");
        body.extend(b"--a boundary'7--\r\n");
        Self { path, content_type: FORM, body }
    }

    /// The bytes for this model.
    fn of(&self, model: &str) -> Vec<u8> {
        let from = self.body.iter().rposition(|byte| *byte == b'$').expect("a place for the model");
        [&self.body[..from], model.as_bytes(), &self.body[from + 1..]].concat()
    }

    fn headers(&self) -> [(&'static str, &'static str); 2] {
        [BEARER, self.content_type]
    }

    async fn ask(&self, addr: std::net::SocketAddr, model: &str) -> Answer {
        client::post(addr, self.path, &self.headers(), &self.of(model)).await
    }

    async fn ask_h2(&self, addr: std::net::SocketAddr, model: &str) -> Answer {
        client::post_h2(addr, self.path, &self.headers(), &self.of(model)).await
    }
}

const SPEECH: &str = r#"{"input":"hi","voice":"alloy","model":"$"}"#;
const SPEECH_EVENTS: &str = r#"{"stream_format":"sse","input":"hi","voice":"alloy","model":"$"}"#;
const PICTURE: &str = r#"{"prompt":"a","n":1,"model":"$"}"#;
const PICTURE_EVENTS: &str = r#"{"prompt":"a","stream":true,"partial_images":2,"model":"$"}"#;

/// Every operation, with an answer that is whole.
fn wholes() -> Vec<Asked> {
    vec![
        Asked::json("/v1/moderations", r#"{"input":["a","b"],"model":"$"}"#),
        Asked::json("/v1/rerank", r#"{"query":"q","documents":["a","b"],"model":"$"}"#),
        Asked::json("/v2/rerank", r#"{"query":"q","documents":["a"],"model":"$"}"#),
        Asked::json("/v1/images/generations", PICTURE),
        Asked::json("/v1/images/generations", r#"{"prompt":"a","response_format":"url","model":"$"}"#),
        Asked::form("/v1/images/edits", &[("prompt", "a $ b")], 3_000),
        Asked::form("/v1/images/variations", &[], 3_000),
        Asked::json("/v1/audio/speech", SPEECH),
        Asked::form("/v1/audio/transcriptions", &[("language", "en")], 3_000),
        Asked::form("/v1/audio/transcriptions", &[("response_format", "vtt")], 10),
        Asked::form("/v1/audio/translations", &[("response_format", "verbose_json")], 3_000),
    ]
}

/// The same with streams of events.
fn streams() -> Vec<Asked> {
    vec![
        Asked::json("/v1/images/generations", PICTURE_EVENTS),
        Asked::form("/v1/images/edits", &[("stream", "true"), ("prompt", "a")], 3_000),
        Asked::json("/v1/audio/speech", SPEECH_EVENTS),
        Asked::form("/v1/audio/transcriptions", &[("stream", "True")], 3_000),
    ]
}

async fn gateway(upstream: &Provider, more: &str) -> Gateway {
    Gateway::start(&(channel("main", "openai", upstream, more) + &key())).await
}

/// What a provider itself answers.
async fn said(asked: &Asked, model: &str, fault: Fault) -> Answer {
    let direct = provider().await;
    direct.script(Selector::Any, vec![fault]);
    asked.ask(direct.addr(), model).await
}

#[tokio::test]
async fn every_operation_passes_byte_for_byte_but_for_the_models_name() {
    for asked in wholes().into_iter().chain(streams()) {
        for upstream_model in [MODEL, "up/strëam"] {
            let upstream = provider().await;
            let map = format!("model_map = {{ {MODEL} = \"{upstream_model}\" }}");
            let gateway = gateway(&upstream, &map).await;
            let own = said(&asked, upstream_model, Fault::None).await;
            assert_eq!(own.status, 200, "{}: {}", asked.path, own.text());
            for h2 in [false, true] {
                let answer = if h2 {
                    asked.ask_h2(gateway.addr(), MODEL).await
                } else {
                    asked.ask(gateway.addr(), MODEL).await
                };
                let context = format!("{} {upstream_model} h2={h2}", asked.path);
                assert_eq!(
                    (answer.status, answer.ended),
                    (200, Ended::Whole),
                    "{context}: {}",
                    answer.text()
                );
                let named = own.text().replace(upstream_model, MODEL);
                let expected =
                    if own.text().contains(upstream_model) { named.into() } else { own.body.clone() };
                assert!(answer.body == expected, "{context}: {}", answer.text());
                assert_eq!(answer.header("content-type"), own.header("content-type"), "{context}");
                let arrived = upstream.requests().pop().expect("a request");
                assert_eq!((arrived.target.as_str(), arrived.method.as_str()), (asked.path, "POST"));
                assert!(arrived.body == asked.of(upstream_model), "{context}");
                assert_eq!(arrived.header("content-type"), Some(asked.content_type.1), "{context}");
                let length = asked.of(upstream_model).len().to_string();
                assert_eq!(arrived.header("content-length"), Some(length.as_str()), "{context}");
            }
        }
    }
}

#[tokio::test]
async fn a_form_with_a_large_file_reaches_the_last_candidate_byte_for_byte() {
    let (one, last) = (provider().await, provider().await);
    one.script_forever(Selector::Any, Fault::status(403));
    let map = format!("model_map = {{ {MODEL} = \"other\" }}");
    let text = channel("one", "openai", &one, "priority = 0")
        + &channel("last", "openai", &last, &format!("priority = 1\n{map}"))
        + &key();
    let gateway = Gateway::start(&text).await;
    let asked = Asked::form("/v1/audio/transcriptions", &[("language", "en")], 25 << 20);
    for h2 in [false, true] {
        let answer = if h2 {
            asked.ask_h2(gateway.addr(), MODEL).await
        } else {
            asked.ask(gateway.addr(), MODEL).await
        };
        assert_eq!(answer.status, 200, "h2={h2}: {}", answer.text());
        for (provider, model) in [(&one, MODEL), (&last, "other")] {
            let (arrived, expected) = (provider.requests().pop().expect("a request"), asked.of(model));
            assert_eq!(arrived.body_len, expected.len(), "h2={h2}");
            let digest: [u8; 32] = Sha256::digest(&expected).into();
            assert!(arrived.body_sha256 == digest, "h2={h2} differs");
        }
    }
}

#[tokio::test]
async fn a_compressed_form_arrives_decoded() {
    let upstream = provider().await;
    let gateway = gateway(&upstream, "").await;
    let asked = Asked::form("/v1/images/variations", &[], 100_000);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, &asked.of(MODEL)).expect("memory");
    let body = encoder.finish().expect("memory");
    let headers = [BEARER, FORM, ("content-encoding", "gzip")];
    let answer = client::post(gateway.addr(), asked.path, &headers, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(upstream.requests().remove(0).body == asked.of(MODEL));
}

#[tokio::test]
async fn an_answer_of_many_megabytes_passes_and_its_count_is_read() {
    let fault = Fault::BigEvent { bytes: 6 << 20 };
    for asked in [
        Asked::json("/v1/images/generations", PICTURE),
        Asked::json("/v1/images/generations", PICTURE_EVENTS),
        Asked::form("/v1/images/edits", &[("prompt", "a")], 100),
        Asked::json("/v1/audio/speech", SPEECH),
    ] {
        for map in ["", "model_map = { some-model = \"other\" }"] {
            let upstream = provider().await;
            let gateway = gateway(&upstream, map).await;
            let own = said(&asked, MODEL, fault.clone()).await;
            upstream.script(Selector::Any, vec![fault.clone()]);
            let answer = asked.ask(gateway.addr(), MODEL).await;
            assert!(answer.body == own.body && own.body.len() >= 6 << 20, "{asked:?} differs");
            let line = gateway.log.line().await;
            let counted = !asked.path.contains("speech");
            assert_eq!(line["usage_source"], if counted { "reported" } else { "none" }, "{line}");
            assert_eq!(line["tokens"]["output"], if counted { 17 } else { 0 }, "{line}");
        }
    }
}

#[tokio::test]
async fn speech_is_heard_while_it_is_made() {
    let upstream = provider().await;
    upstream.script(Selector::Any, vec![Fault::HoldMidStream { after_events: 1 }]);
    let gateway = gateway(&upstream, "").await;
    let asked = Asked::json("/v1/audio/speech", SPEECH);
    let mut connection = Connection::open(gateway.addr()).await;
    connection.send(&client::request("POST", asked.path, &asked.headers(), &asked.of(MODEL))).await;
    let head = connection.head().await.expect("a head");
    assert_eq!((head.status, head.header("content-type")), (200, Some("audio/mpeg")));
    let first = connection.bytes(2_048).await;
    upstream.wait_for_holding(1).await;
    upstream.release();
    let rest = connection.bytes(2_048).await;
    let own = said(&asked, MODEL, Fault::None).await;
    assert!([first, rest].concat() == own.body);
}

#[tokio::test]
async fn what_was_used_is_counted_where_it_is_reported_and_unknown_where_it_is_not() {
    let reported = |tokens: [u64; 2], detail: Value, cost: Value| ("reported", tokens, detail, cost, true);
    let none =
        |charged: bool| ("none", [0, 0], json!({}), if charged { json!(null) } else { json!(0) }, charged);
    for (asked, model, expected) in [
        (&wholes()[0], MODEL, none(false)),
        (&wholes()[1], MODEL, reported([42, 0], json!({}), json!(0.000_042))),
        (&wholes()[2], MODEL, reported([0, 0], json!({}), json!(0))),
        (&wholes()[3], MODEL, reported([42, 17], json!({ "input_image": 10 }), json!(0.000_076))),
        (&streams()[0], MODEL, reported([42, 17], json!({ "input_image": 10 }), json!(0.000_076))),
        (&wholes()[7], MODEL, none(true)),
        (&streams()[2], MODEL, reported([42, 17], json!({}), json!(0.000_076))),
        (&wholes()[8], MODEL, reported([42, 17], json!({ "input_audio": 42 }), json!(0.000_076))),
        (&streams()[3], MODEL, reported([42, 17], json!({ "input_audio": 42 }), json!(0.000_076))),
        (&wholes()[9], MODEL, none(true)),
        (&wholes()[8], "whisper-x", reported([0, 0], json!({ "audio_seconds": 9 }), json!(0.000_9))),
    ] {
        let upstream = provider().await;
        let prices = "[[price]]\nmodel = \"*\"\ninput = 1\noutput = 2\naudio_second = 0.1\n";
        let text = channel("main", "openai", &upstream, "") + &key() + prices;
        let gateway = Gateway::start(&text).await;
        assert_eq!(asked.ask(gateway.addr(), model).await.status, 200);
        let line = gateway.log.line().await;
        let (source, [input, output], detail, cost, charged) = expected;
        assert_eq!(line["usage_source"], source, "{line}");
        assert_eq!(
            (&line["tokens"]["input"], &line["tokens"]["output"]),
            (&json!(input), &json!(output)),
            "{line}"
        );
        assert_eq!(
            line["usage_detail"].as_object().cloned().unwrap_or_default(),
            *detail.as_object().expect("one")
        );
        assert_eq!((line["cost_usd"].as_f64(), &line["charged"]), (cost.as_f64(), &json!(charged)), "{line}");
        let missing = gateway.count("tollgate_usage_missing_total{channel=\"main\"}").await;
        assert_eq!(missing, u64::from(source == "none" && charged), "{line}");
    }
}

#[tokio::test]
async fn pictures_and_sound_have_words_of_their_own() {
    for (asked, api) in [
        (&wholes()[0], "moderations"),
        (&wholes()[2], "rerank"),
        (&wholes()[5], "images"),
        (&wholes()[8], "audio"),
    ] {
        let upstream = provider().await;
        let gateway = gateway(&upstream, "").await;
        assert_eq!(asked.ask(gateway.addr(), MODEL).await.status, 200);
        let line = gateway.log.line().await;
        assert_eq!((&line["entry"], &line["path"]), (&json!("openai"), &json!(asked.path)));
        let series = format!("tollgate_requests_total{{api=\"{api}\",code=\"200\"}}");
        assert_eq!(gateway.count(&series).await, 1, "{}", gateway.metrics().await);
    }
}

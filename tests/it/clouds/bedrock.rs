//! `bedrock` and `bedrock-mantle`: requests that are signed, and streams that come in frames.

use super::{BETAS, claude_code, claude_codes};
use crate::support::client::{self, Ended};
use crate::support::cloud::{Came, Reply, behind, serve};
use crate::support::process::tollgate;
use crate::support::speech::Speech;
use crate::support::{Gateway, KEY, StillWorld, channel, key, provider};
use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tollgate::config::{self, TextSource};
use tollgate_loadtest::{Fault, Provider, Selector};

const CLAUDE: &str = "us.anthropic.claude-sonnet-5-20260101-v1:0";
const ID: &str = "AKIAEXAMPLE0001";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYSECRETKEY";
const SESSION: &str = "IQoJb3JpZ2luX2VjSESSION//////////wEaCXVzLWVhc3QtMSJH==";
const API_KEY: &str = "ABSKQmVkcm9ja0FQSUtleS1zZWNyZXQ=";

/// AWS, as far as it is asked here.
struct Aws {
    addr: SocketAddr,
    upstream: Arc<Provider>,
    at: Arc<At>,
}

struct At {
    came: Mutex<Vec<Came>>,
    /// What the next request is answered instead.
    instead: Mutex<Vec<Reply>>,
    /// What becomes of the frames of a stream.
    spoils: Mutex<Option<Spoils>>,
    service: &'static str,
}

/// How a stream goes wrong.
#[derive(Debug, Clone, Copy)]
enum Spoils {
    /// This exception comes behind so many events, and nothing more.
    Exception(&'static str, usize),
    /// A bit of the frame behind so many events is another.
    Bit(usize),
    /// The frame behind so many events is cut.
    Cut(usize),
}

impl Aws {
    async fn start(service: &'static str) -> Self {
        let upstream = Arc::new(provider().await);
        let (came, instead, spoils) = Default::default();
        let at = Arc::new(At { came, instead, spoils, service });
        let (behind, front) = (Arc::clone(&upstream), Arc::clone(&at));
        let addr = serve(move |came| {
            let (upstream, at) = (Arc::clone(&behind), Arc::clone(&front));
            Box::pin(async move { at.answer(came, upstream.addr()).await })
        })
        .await;
        Self { addr, upstream, at }
    }

    fn channel(&self, key: &str, more: &str) -> String {
        let (kind, addr) = (self.at.service, self.addr);
        format!(
            "[[channel]]\nname = \"{kind}\"\ntype = \"{kind}\"\nbase_url = \"http://{addr}\"\nregion = \"us-east-1\"\n\
             api_keys = [\"{key}\"]\n{more}\n"
        )
    }

    fn claude(&self) -> String {
        let map =
            format!("models = [\"claude-sonnet-5\"]\nmodel_map = {{ \"claude-sonnet-5\" = \"{CLAUDE}\" }}");
        self.channel(&format!("{ID}:{SECRET}"), &map)
    }

    fn last(&self) -> Came {
        self.at.came.lock().expect("nobody panics").last().cloned().expect("it was asked")
    }

    fn instead(&self, exception: &str, status: u16, message: &str) {
        self.at.instead.lock().expect("nobody panics").push(refusal(exception, status, message));
    }
}

fn refusal(exception: &str, status: u16, message: &str) -> Reply {
    let mut reply = Reply::json(status, &json!({ "message": message }));
    let kind = format!("{exception}:http://internal.amazon.com/coral/com.amazon.bedrock/");
    reply.headers.push(("x-amzn-ErrorType".to_owned(), kind));
    reply
}

impl At {
    async fn answer(&self, came: Came, upstream: SocketAddr) -> Reply {
        self.came.lock().expect("nobody panics").push(came.clone());
        if let Some(reply) = self.instead.lock().expect("nobody panics").pop() {
            return reply;
        }
        if let Err((exception, why)) = self.proved(&came) {
            return refusal(exception, 403, &why);
        }
        let front = if self.service == "bedrock" {
            self.runtime(&came, upstream).await
        } else {
            mantle(&came, upstream).await
        };
        front.unwrap_or_else(|why| refusal("ValidationException", 400, &why))
    }

    /// Whether who asks has proved it.
    fn proved(&self, came: &Came) -> Result<(), (&'static str, String)> {
        if self.service == "bedrock-mantle" && came.header("x-api-key") == Some(API_KEY) {
            let wrong = ("AccessDeniedException", "x-api-key means nothing here".to_owned());
            return came.target.starts_with("/anthropic/").then_some(()).ok_or(wrong);
        }
        let authorization = came.header("authorization").unwrap_or_default();
        if let Some(bearer) = authorization.strip_prefix("Bearer ") {
            let said = || ("UnrecognizedClientException", format!("no such key: {bearer}"));
            return (bearer == API_KEY).then_some(()).ok_or_else(said);
        }
        let expected = signature(came, self.service);
        if authorization != expected {
            let token = came.header("x-amz-security-token").unwrap_or_default();
            let said = format!(
                "The request signature we calculated does not match; {token}\n{authorization}\n{expected}"
            );
            return Err(("InvalidSignatureException", said));
        }
        Ok(())
    }

    async fn runtime(&self, came: &Came, upstream: SocketAddr) -> Result<Reply, String> {
        if let Some(path) = came.target.strip_prefix("/openai/v1/") {
            let path = format!("/v1/{path}");
            return Ok(behind(upstream, &path, &[("authorization", "Bearer k")], &came.json()).await);
        }
        let path =
            came.target.strip_prefix("/model/").ok_or_else(|| format!("no such place: {}", came.target))?;
        let (model, verb) = path.split_once('/').ok_or("no verb")?;
        let stream = match verb {
            "invoke" => false,
            "invoke-with-response-stream" => true,
            other => return Err(format!("no such verb: {other}")),
        };
        if model != CLAUDE.replace(':', "%3A") {
            return Err("The provided model identifier is invalid.".to_owned());
        }
        for stray in ["anthropic-version", "anthropic-beta", "x-api-key"] {
            if came.header(stray).is_some() {
                return Err(format!("{stray} means nothing here"));
            }
        }
        let mut body = came.json();
        let object = body.as_object_mut().ok_or("no object")?;
        for stray in ["model", "stream"] {
            if object.contains_key(stray) {
                return Err(format!("{stray}: Extra inputs are not permitted"));
            }
        }
        let said = object.remove("anthropic_version");
        if said != Some(json!("bedrock-2023-05-31")) {
            return Err(format!("anthropic_version: {said:?}"));
        }
        let betas = object.remove("anthropic_beta");
        if betas.as_ref().is_some_and(|betas| !betas.is_array()) {
            return Err("anthropic_beta: Input should be a valid list".to_owned());
        }
        (body["model"], body["stream"]) = (json!(CLAUDE), json!(stream));
        let headers = [("x-api-key", "k"), ("anthropic-version", "2023-06-01")];
        let reply = behind(upstream, "/v1/messages", &headers, &body).await;
        Ok(if stream && reply.status == 200 { self.framed(&reply) } else { reply })
    }

    /// A stream in frames.
    fn framed(&self, reply: &Reply) -> Reply {
        let spoils = *self.spoils.lock().expect("nobody panics");
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        let events =
            text.split("\n\n").filter_map(|event| event.lines().find_map(|line| line.strip_prefix("data: ")));
        let mut body = Vec::new();
        for (at, event) in events.enumerate() {
            let payload = json!({ "bytes": STANDARD.encode(event), "p": "abcdefgh" }).to_string();
            let mut frame = frame(&[(":event-type", "chunk"), (":message-type", "event")], &payload);
            match spoils {
                Some(Spoils::Exception(exception, behind)) if at == behind => {
                    let headers = [(":exception-type", exception), (":message-type", "exception")];
                    body.extend(self::frame(&headers, r#"{"message":"not now"}"#));
                    break;
                }
                Some(Spoils::Bit(behind)) if at == behind => frame[20] ^= 1,
                Some(Spoils::Cut(behind)) if at == behind => {
                    body.extend_from_slice(&frame[..frame.len() / 2]);
                    break;
                }
                _ => {}
            }
            body.extend(frame);
        }
        let headers = vec![("content-type".to_owned(), "application/vnd.amazon.eventstream".to_owned())];
        Reply { status: 200, headers, body, cut: false }
    }
}

fn frame(headers: &[(&str, &str)], payload: &str) -> Vec<u8> {
    let mut message = Message::new(payload.as_bytes().to_vec());
    for (name, value) in headers {
        let value = HeaderValue::String((*value).to_owned().into());
        message = message.add_header(Header::new((*name).to_owned(), value));
    }
    let mut out = Vec::new();
    write_message_to(&message, &mut out).expect("it fits");
    out
}

async fn mantle(came: &Came, upstream: SocketAddr) -> Result<Reply, String> {
    let body = came.json();
    if let Some(path) = came.target.strip_prefix("/anthropic") {
        if came.header("anthropic-version") != Some("2023-06-01") {
            return Err("anthropic-version is needed".to_owned());
        }
        let headers = [("x-api-key", "k"), ("anthropic-version", "2023-06-01")];
        return Ok(behind(upstream, path, &headers, &body).await);
    }
    Ok(behind(upstream, &came.target, &[("authorization", "Bearer k")], &body).await)
}

/// The header that says who asks, as AWS documents it, worked out here once more and without its library.
fn signature(came: &Came, service: &str) -> String {
    let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    let date = came.header("x-amz-date").unwrap_or_default();
    let mut headers: Vec<(&str, &str)> = ["content-type", "host", "x-amz-date", "x-amz-security-token"]
        .into_iter()
        .filter_map(|name| Some((name, came.header(name)?)))
        .collect();
    headers.sort_unstable();
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let lines = headers.iter().fold(String::new(), |all, (name, value)| all + name + ":" + value + "\n");
    let (path, query) = came.target.split_once('?').unwrap_or((&came.target, ""));
    // What was encoded once is encoded once more.
    let path = path.replace('%', "%25");
    let hash = hex(&Sha256::digest(&came.body));
    let canonical = format!("{}\n{path}\n{query}\n{lines}\n{names}\n{hash}", came.method);
    let day = date.get(..8).unwrap_or_default();
    let scope = format!("{day}/us-east-1/{service}/aws4_request");
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(canonical.as_bytes())));
    let mac = |key: &[u8], text: &str| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
    };
    let key = ["us-east-1", service, "aws4_request"]
        .iter()
        .fold(mac(format!("AWS4{SECRET}").as_bytes(), day), |key, part| mac(&key, part));
    let signature = hex(&mac(&key, &text));
    format!("AWS4-HMAC-SHA256 Credential={ID}/{scope}, SignedHeaders={names}, Signature={signature}")
}

#[tokio::test]
async fn claude_is_invoked_with_a_signature_and_its_frames_are_its_own_stream() {
    for credential in [format!("{ID}:{SECRET}"), format!("{ID}:{SECRET}:{SESSION}"), API_KEY.to_owned()] {
        let aws = Aws::start("bedrock").await;
        let text = aws.claude().replace(&format!("{ID}:{SECRET}"), &credential);
        let world = StillWorld::new();
        let gateway = Gateway::in_world("", &(text + &key()), Arc::<StillWorld>::clone(&world)).await;
        for stream in [false, true] {
            let answer = claude_code(gateway.addr(), "claude-sonnet-5", stream).await;
            assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{}", answer.text());
            let came = aws.last();
            let verb = if stream { "invoke-with-response-stream" } else { "invoke" };
            let model = "us.anthropic.claude-sonnet-5-20260101-v1%3A0";
            assert_eq!(came.target, format!("/model/{model}/{verb}"));
            let betas = json!(BETAS.split(',').collect::<Vec<_>>());
            let version = format!("\"anthropic_version\":\"bedrock-2023-05-31\",\"anthropic_beta\":{betas}");
            let body = claude_codes("claude-sonnet-5", stream).replacen(
                "\"model\":\"claude-sonnet-5\"",
                &version,
                1,
            );
            assert_eq!(came.text(), body.replace(&format!(",\"stream\":{stream}"), ""));
            if stream {
                assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"));
                let direct = Speech::Messages.spoken_by("claude-sonnet-5", true, Fault::None).await;
                let events = |text: &str| {
                    text.lines()
                        .filter(|line| line.starts_with("event: "))
                        .map(str::to_owned)
                        .collect::<Vec<_>>()
                };
                assert_eq!(events(&answer.text()), events(&direct.text()));
                assert!(answer.text().contains("\"claude-sonnet-5\""), "{}", answer.text());
            }
            // What is signed is signed for its moment.
            world.advance(Duration::from_secs(86_400));
        }
        let lines = gateway.log.lines(2).await;
        assert!(lines[1]["tokens"]["output"].as_u64() > Some(0), "{}", lines[1]);
    }
}

#[tokio::test]
async fn whoever_asks_reaches_each_of_its_protocols() {
    for service in ["bedrock", "bedrock-mantle"] {
        let aws = Aws::start(service).await;
        let others = aws
            .channel(API_KEY, "models = [\"openai.gpt-oss\"]")
            .replace(&format!("name = \"{service}"), "name = \"others");
        let responses = aws
            .channel(&format!("{ID}:{SECRET}"), "models = [\"openai.gpt-6\"]\nprotocols = [\"responses\"]")
            .replace(&format!("name = \"{service}"), "name = \"responses");
        let keyed = aws
            .claude()
            .replace(&format!("{ID}:{SECRET}"), API_KEY)
            .replace(&format!("name = \"{service}"), "name = \"keyed")
            .replace("claude-sonnet-5\"", "claude-keyed\"");
        let gateway = Gateway::start(&(aws.claude() + &keyed + &others + &responses + &key())).await;
        let (claude, root) = match service {
            "bedrock" => ("/model/us.anthropic.claude-sonnet-5-20260101-v1%3A0/invoke", "/openai/v1"),
            _ => ("/anthropic/v1/messages", "/v1"),
        };
        for (model, path) in [
            ("claude-sonnet-5", claude.to_owned()),
            ("claude-keyed", claude.to_owned()),
            ("openai.gpt-oss", format!("{root}/chat/completions")),
            ("openai.gpt-6", format!("{root}/responses")),
        ] {
            for client in Speech::ALL {
                for stream in [false, true] {
                    let answer = client.ask(gateway.addr(), model, stream).await;
                    let context = format!("{service} {client:?} {model} {stream}: {}", answer.text());
                    assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{context}");
                    assert!(aws.last().target.starts_with(&path), "{context}");
                }
            }
        }
    }
}

#[tokio::test]
async fn what_the_provider_says_is_somebodys_and_nobody_reads_a_secret() {
    for (exception, status, message, reason) in [
        ("ThrottlingException", 429, "Too many requests", "rate_limited"),
        ("ServiceQuotaExceededException", 400, "quota", "rate_limited"),
        ("AccessDeniedException", 403, "no", "forbidden"),
        (
            "UnrecognizedClientException",
            403,
            "The security token included in the request is invalid.",
            "unauthorized",
        ),
        ("ExpiredTokenException", 403, SESSION, "unauthorized"),
        ("ModelErrorException", 424, "x", "server_error"),
        ("ModelTimeoutException", 408, "x", "server_error"),
        ("ServiceUnavailableException", 503, "x", "overloaded"),
        ("InternalServerException", 500, "x", "server_error"),
        ("ResourceNotFoundException", 404, "x", "model_refused"),
        ("ValidationException", 400, "The provided model identifier is invalid.", "model_refused"),
        (
            "ValidationException",
            400,
            "Invocation of model ID x with on-demand throughput isn\u{2019}t supported.",
            "model_refused",
        ),
    ] {
        let aws = Aws::start("bedrock").await;
        let second = provider().await;
        let other =
            channel("anthropic", "anthropic", &second, "priority = 1\nmodels = [\"claude-sonnet-5\"]");
        let text = aws.claude().replace(SECRET, &format!("{SECRET}:{SESSION}"));
        let gateway = Gateway::start(&(text + &other + &key())).await;
        aws.instead(exception, status, message);
        let answer = claude_code(gateway.addr(), "claude-sonnet-5", true).await;
        assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{exception}: {}", answer.text());
        let line = gateway.log.line().await;
        assert_eq!(line["attempts"][0]["reason"], reason, "{exception}: {line}");
        assert!(
            !gateway.log.text().contains("SESSION") && !gateway.log.text().contains("SECRETKEY"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn of_a_secret_that_a_long_refusal_repeats_no_part_is_logged() {
    let token = format!("IQoJb3JpZ2lu{}", "LONGTOKEN/".repeat(40));
    for before in [900, 1_000] {
        let aws = Aws::start("bedrock").await;
        let text = aws.claude().replace(SECRET, &format!("{SECRET}:{token}"));
        let gateway = Gateway::start(&(text + &key())).await;
        // As where the canonical request is quoted: the token of its headers stands across the place where a log's text ends.
        let said = format!("{}\nx-amz-security-token:{token}\n", "the canonical string ".repeat(before / 21));
        aws.instead("InvalidSignatureException", 403, &said);
        let answer = claude_code(gateway.addr(), "claude-sonnet-5", true).await;
        assert_eq!(answer.status, 502, "{}", answer.text());
        let line = gateway.log.line().await;
        assert!(line.to_string().contains("the canonical string"), "{line}");
        let log = gateway.log.text();
        assert!(!log.contains("IQoJ") && !log.contains("LONGTOKEN"), "{before}: {line}");
    }
}

#[tokio::test]
async fn a_mended_secret_is_used_at_once_though_its_id_is_the_same() {
    let aws = Aws::start("bedrock").await;
    let gateway = Gateway::start(&(aws.claude().replace(SECRET, "mistyped") + &key())).await;
    for status in [502, 503] {
        let answer = claude_code(gateway.addr(), "claude-sonnet-5", true).await;
        assert_eq!(answer.status, status, "it is refused, then it rests: {}", answer.text());
    }
    gateway.reload("", &(aws.claude() + &key())).expect("it loads");
    let answer = claude_code(gateway.addr(), "claude-sonnet-5", true).await;
    assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{}", answer.text());
}

#[tokio::test]
async fn what_is_the_clients_to_see_is_in_its_own_words() {
    let aws = Aws::start("bedrock").await;
    let gateway = Gateway::start(&(aws.claude() + &key())).await;
    for client in [Speech::Messages, Speech::Chat] {
        aws.instead("ValidationException", 400, "messages: at least one message is required");
        let answer = client.ask(gateway.addr(), "claude-sonnet-5", false).await;
        assert_eq!((answer.status, answer.ended), (400, Ended::Whole), "{}", answer.text());
        let error = &answer.json()["error"];
        assert_eq!(error["message"], "messages: at least one message is required", "{}", answer.text());
        assert_eq!(error["type"], "invalid_request_error", "{}", answer.text());
    }
}

#[tokio::test]
async fn a_stream_that_goes_wrong_before_its_first_event_is_answered_by_another() {
    for (spoils, reason) in [
        (Spoils::Exception("throttlingException", 0), "rate_limited"),
        (Spoils::Exception("serviceUnavailableException", 0), "overloaded"),
        (Spoils::Exception("modelStreamErrorException", 0), "stream_error"),
        (Spoils::Bit(0), "garbage"),
        (Spoils::Cut(0), "garbage"),
    ] {
        let aws = Aws::start("bedrock").await;
        *aws.at.spoils.lock().expect("nobody panics") = Some(spoils);
        let second = provider().await;
        let other =
            channel("anthropic", "anthropic", &second, "priority = 1\nmodels = [\"claude-sonnet-5\"]");
        let gateway = Gateway::start(&(aws.claude() + &other + &key())).await;
        let answer = claude_code(gateway.addr(), "claude-sonnet-5", true).await;
        assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{spoils:?}: {}", answer.text());
        assert!(answer.text().contains("message_stop"), "{spoils:?}");
        assert_eq!(second.request_count(), 1, "{spoils:?}");
        let line = gateway.log.line().await;
        assert_eq!(line["attempts"][0]["reason"], reason, "{spoils:?}: {line}");
    }
}

#[tokio::test]
async fn a_stream_that_goes_wrong_later_never_looks_finished() {
    for (spoils, end, words) in [
        (Spoils::Exception("modelStreamErrorException", 4), "failed", "modelStreamErrorException: not now"),
        (Spoils::Bit(4), "stream_truncated", "broke off before its end"),
        (Spoils::Cut(4), "stream_truncated", "broke off before its end"),
    ] {
        let aws = Aws::start("bedrock").await;
        *aws.at.spoils.lock().expect("nobody panics") = Some(spoils);
        let gateway = Gateway::start(&(aws.claude() + &key())).await;
        let answer = claude_code(gateway.addr(), "claude-sonnet-5", true).await;
        let text = answer.text();
        assert!(text.contains("content_block_delta") && !text.contains("message_stop"), "{spoils:?}: {text}");
        assert_eq!(text.matches("event: error").count(), 1, "{spoils:?}: {text}");
        assert!(text.contains(words), "{spoils:?}: {text}");
        let line = gateway.log.line().await;
        assert_eq!(line["end"], end, "{spoils:?}: {line}");
    }
}

#[tokio::test]
async fn a_failure_at_anthropic_leads_there() {
    let aws = Aws::start("bedrock").await;
    let first = provider().await;
    let other = channel("anthropic", "anthropic", &first, "priority = -1\nmodels = [\"claude-sonnet-5\"]");
    let gateway = Gateway::start(&(aws.claude() + &other + &key())).await;
    first.script_forever(Selector::Any, Fault::Status { status: 529, headers: Vec::new(), body: None });
    let answer = claude_code(gateway.addr(), "claude-sonnet-5", true).await;
    assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{}", answer.text());
    assert!(answer.text().contains("message_stop"), "{}", answer.text());
    assert_eq!(aws.upstream.request_count(), 1);
}

/// Anthropic says that signatures are good at all that serve Claude.
#[tokio::test]
async fn what_claude_has_thought_at_one_cloud_goes_on_at_another_and_not_at_another_provider() {
    let (first, second) = (Aws::start("bedrock").await, Aws::start("bedrock-mantle").await);
    let third = provider().await;
    let text = first.claude()
        + &second.claude()
        + "priority = 1\n"
        + &channel("other", "anthropic", &third, "priority = 2\nmodels = [\"claude-sonnet-5\"]")
        + &key();
    let gateway = Gateway::start(&text).await;
    let thought = json!({ "type": "thinking", "thinking": "hm", "signature": "sig-of-claude" });
    let answer = json!({
        "id": "m", "type": "message", "role": "assistant", "model": CLAUDE, "stop_reason": "end_turn",
        "content": [thought, { "type": "text", "text": "a" }], "usage": { "input_tokens": 1, "output_tokens": 1 },
    });
    first.at.instead.lock().expect("nobody panics").push(Reply::json(200, &answer));
    let answer = claude_code(gateway.addr(), "claude-sonnet-5", false).await;
    assert!(answer.text().contains("sig-of-claude"), "{}", answer.text());
    gateway.log.line().await;
    first.instead("ServiceUnavailableException", 503, "not now");
    let turns = json!({ "model": "claude-sonnet-5", "max_tokens": 9, "messages": [
        { "role": "user", "content": "hi" },
        { "role": "assistant", "content": [thought, { "type": "text", "text": "a" }] },
        { "role": "user", "content": "on" },
    ] });
    let headers = [("x-api-key", KEY), ("anthropic-version", "2023-06-01")];
    let ask =
        async || client::post(gateway.addr(), "/v1/messages", &headers, turns.to_string().as_bytes()).await;
    let answer = ask().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(second.last().json()["messages"], turns["messages"]);
    assert_eq!(gateway.log.lines(2).await[1]["thinking_stripped"], 0);
    // What is no Claude, as far as anybody knows, is sent none of it.
    let only = channel("other", "anthropic", &third, "models = [\"claude-sonnet-5\"]") + &key();
    gateway.reload("", &only).expect("it is right");
    assert_eq!(ask().await.status, 200);
    let sent: Value = serde_json::from_slice(&third.requests()[0].body).expect("JSON");
    assert_eq!(sent["messages"][1]["content"], json!([{ "type": "text", "text": "a" }]));
    assert_eq!(gateway.log.lines(3).await[2]["thinking_stripped"], 1);
}

/// What loading this channel says.
fn said(channel: &str) -> String {
    let text = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\n[[channel]]\nname = \"c\"\ntype = \"bedrock\"\n{channel}\n{}",
        key()
    );
    match config::load(std::path::Path::new("t.toml"), &TextSource(&text)) {
        Ok(loaded) => config::redacted(&loaded.snapshot).to_string(),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn what_is_wrong_with_a_channel_is_said_with_its_way_out() {
    for (channel, words) in [
        (
            "models = [\"claude-x\"]\napi_keys = [\"ABSKkey-0123456789\"]",
            "region: is needed (for example us-east-1)",
        ),
        ("region = \"us-east-1\"\napi_keys = [\"ABSKkey-0123456789\"]", "protocols: is needed"),
        (
            "region = \"us-east-1\"\nlocation = \"x\"\nmodels = [\"claude-x\"]\napi_keys = [\"ABSKkey-0123456789\"]",
            "location: means nothing to type bedrock",
        ),
        (
            "region = \"us-east-1\"\nmodels = [\"claude-x\"]\napi_keys = [\"A:secret-text:b:c\"]",
            "api_keys[0]: has more than two colons (a key of Bedrock's, ID:SECRET",
        ),
        (
            "region = \"eu-west-3\"\nmodels = [\"claude-x\"]\napi_keys = [\"AKIAEXAMPLE0001:secret-text\"]",
            "https://bedrock-runtime.eu-west-3.amazonaws.com",
        ),
    ] {
        let said = said(channel);
        assert!(said.contains(words), "{channel}:\n{said}");
        assert!(!said.contains("secret-text"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trial_says_whether_the_key_or_the_model_is_wrong() {
    let aws = Aws::start("bedrock").await;
    let dir = tempfile::tempdir().expect("a directory");
    for (text, result) in [
        (aws.claude(), "ok"),
        (aws.claude().replace(SECRET, "another-secret"), "key"),
        (aws.claude().replace(CLAUDE, "anthropic.claude-unknown"), "model"),
    ] {
        let path = dir.path().join("t.toml");
        let server = "[server]\nlisten = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n";
        std::fs::write(&path, server.to_owned() + &text + &key()).expect("it is written");
        let path = path.display().to_string();
        let run = move || tollgate(&["channels", "test", "bedrock", "--format", "json", "-c", &path]);
        let run = tokio::task::spawn_blocking(run).await.expect("it ends");
        let rows: Value =
            serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run:?}"));
        assert_eq!(rows[0]["result"], result, "{rows}");
        assert_eq!(rows[0]["credential"], "0001", "{rows}");
    }
}

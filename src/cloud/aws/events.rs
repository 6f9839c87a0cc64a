//! AWS's event stream (`application/vnd.amazon.eventstream`) as the server-sent events of Anthropic's that it carries.
//!
//! As documented at <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ResponseStream.html>; the frames are
//! read, and their checksums looked at, by AWS's own library.
//! Invariants: what is held is at most one frame, and a frame has a bound; an exception becomes the error event that
//! Anthropic would have sent; a frame that is damaged ends the stream.

use aws_smithy_eventstream::frame::read_message_from;
use aws_smithy_types::event_stream::Message;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::json;
use std::borrow::Cow;

/// A stream being read.
#[derive(Debug, Default)]
pub struct Events {
    held: BytesMut,
}

impl Events {
    /// Takes more, and writes what is whole of it; the error says what is wrong with the stream.
    pub fn feed(&mut self, chunk: &[u8], out: &mut BytesMut) -> Result<(), &'static str> {
        self.held.extend_from_slice(chunk);
        while let Some((length, _)) = self.held.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            if length > FRAME_BYTES_MAX {
                return Err("a frame of an event stream that is too long");
            }
            if length < FRAME_BYTES_MIN {
                return Err("a frame of an event stream that is too short");
            }
            if self.held.len() < length {
                return Ok(());
            }
            let frame = self.held.split_to(length).freeze();
            let message = read_message_from(frame).map_err(|_| "a damaged frame of an event stream")?;
            write(&message, out)?;
        }
        Ok(())
    }

    /// Whether everything that came was whole.
    pub fn is_between(&self) -> bool {
        self.held.is_empty()
    }
}

/// The text of a header.
fn header<'a>(message: &'a Message, name: &str) -> &'a str {
    let found = message.headers().iter().find(|header| header.name().as_str() == name);
    found.and_then(|header| header.value().as_string().ok()).map_or("", |value| value.as_str())
}

fn write(message: &Message, out: &mut BytesMut) -> Result<(), &'static str> {
    let payload = message.payload();
    match header(message, ":message-type") {
        "event" if header(message, ":event-type") == "chunk" => chunk(payload, out),
        // One that is not known is passed over, as AWS's own clients do.
        "event" => Ok(()),
        "exception" => {
            error(header(message, ":exception-type"), &said(payload), out);
            Ok(())
        }
        "error" => {
            error(header(message, ":error-code"), header(message, ":error-message"), out);
            Ok(())
        }
        _ => Err("a frame of an event stream of no known kind"),
    }
}

/// An event of Anthropic's, as it stands there.
fn chunk(payload: &Bytes, out: &mut BytesMut) -> Result<(), &'static str> {
    #[derive(Deserialize)]
    struct Part<'a> {
        #[serde(borrow)]
        bytes: Cow<'a, str>,
    }
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
    }
    let wrong = "an event of an event stream that is none";
    let part: Part<'_> = serde_json::from_slice(payload).map_err(|_| wrong)?;
    let event = STANDARD.decode(part.bytes.as_bytes()).map_err(|_| wrong)?;
    let kind: Kind<'_> = serde_json::from_slice(&event).map_err(|_| wrong)?;
    if kind.kind.contains(['\r', '\n']) {
        return Err(wrong);
    }
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(kind.kind.as_bytes());
    // JSON may stand in several lines, which an event says one by one.
    for line in event.split(|byte| matches!(byte, b'\r' | b'\n')).filter(|line| !line.is_empty()) {
        out.extend_from_slice(b"\ndata: ");
        out.extend_from_slice(line);
    }
    out.extend_from_slice(b"\n\n");
    Ok(())
}

/// The message of an exception.
fn said(payload: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Exception {
        #[serde(alias = "Message")]
        message: Option<String>,
    }
    let exception: Option<Exception> = serde_json::from_slice(payload).ok();
    exception.and_then(|exception| exception.message).unwrap_or_default()
}

fn error(exception: &str, message: &str, out: &mut BytesMut) {
    let kind = kind(exception);
    let event =
        json!({ "type": "error", "error": { "type": kind, "message": format!("{exception}: {message}") } });
    out.extend_from_slice(format!("event: error\ndata: {event}\n\n").as_bytes());
}

/// Anthropic's word for an exception of Bedrock's.
pub fn kind(exception: &str) -> &'static str {
    let is = |word: &str| exception.eq_ignore_ascii_case(word);
    match () {
        () if is("throttlingException") || is("ModelNotReadyException") => "rate_limit_error",
        () if is("serviceUnavailableException") => "overloaded_error",
        () if is("validationException") => "invalid_request_error",
        () if is("accessDeniedException") => "permission_error",
        () if is("resourceNotFoundException") => "not_found_error",
        () if is("modelTimeoutException") => "timeout_error",
        () => "api_error",
    }
}

/// Prelude, its checksum, and that of the frame.
const FRAME_BYTES_MIN: usize = 16;
/// As much as AWS allows: 16 MiB of payload and 128 KiB of headers.
const FRAME_BYTES_MAX: usize = (16 << 20) + (128 << 10) + FRAME_BYTES_MIN;

#[cfg(test)]
mod tests {
    use super::*;
    use aws_smithy_eventstream::frame::write_message_to;
    use aws_smithy_types::event_stream::{Header, HeaderValue};

    fn frame(headers: &[(&str, &str)], payload: &str) -> Vec<u8> {
        let mut message = Message::new(Bytes::copy_from_slice(payload.as_bytes()));
        for (name, value) in headers {
            let value = HeaderValue::String((*value).to_owned().into());
            message = message.add_header(Header::new((*name).to_owned(), value));
        }
        let mut out = Vec::new();
        write_message_to(&message, &mut out).unwrap();
        out
    }

    fn event(json: &str) -> Vec<u8> {
        let payload = json!({ "bytes": STANDARD.encode(json), "p": "abcd" }).to_string();
        let headers =
            [(":event-type", "chunk"), (":content-type", "application/json"), (":message-type", "event")];
        frame(&headers, &payload)
    }

    #[test]
    fn events_come_out_whole_wherever_the_bytes_part() {
        let start = r#"{"type":"message_start","message":{"id":"msg_1"}}"#;
        let stop = r#"{"type":"message_stop"}"#;
        let other = frame(&[(":event-type", "metadata"), (":message-type", "event")], "{}");
        let bytes = [event(start), other, event("{\n\"type\":\"ping\"}"), event(stop)].concat();
        let expected = format!(
            "event: message_start\ndata: {start}\n\nevent: ping\ndata: {{\ndata: \"type\":\"ping\"}}\n\nevent: message_stop\ndata: {stop}\n\n"
        );
        for size in [1, 7, 100, bytes.len()] {
            let (mut events, mut out) = (Events::default(), BytesMut::new());
            for piece in bytes.chunks(size) {
                events.feed(piece, &mut out).unwrap();
            }
            assert_eq!(out, expected.as_bytes(), "{size}");
            assert!(events.is_between());
        }
    }

    #[test]
    fn exceptions_are_the_errors_that_anthropic_would_have_sent() {
        for (exception, kind) in [
            ("throttlingException", "rate_limit_error"),
            ("serviceUnavailableException", "overloaded_error"),
            ("validationException", "invalid_request_error"),
            ("modelTimeoutException", "timeout_error"),
            ("modelStreamErrorException", "api_error"),
            ("internalServerException", "api_error"),
        ] {
            let headers = [(":message-type", "exception"), (":exception-type", exception)];
            let mut out = BytesMut::new();
            Events::default().feed(&frame(&headers, r#"{"message":"m"}"#), &mut out).unwrap();
            let said = format!(
                "event: error\ndata: {{\"error\":{{\"message\":\"{exception}: m\",\"type\":\"{kind}\"}},\"type\":\"error\"}}\n\n"
            );
            assert_eq!(String::from_utf8_lossy(&out), said);
        }
        let headers = [(":message-type", "error"), (":error-code", "X"), (":error-message", "m")];
        let mut out = BytesMut::new();
        Events::default().feed(&frame(&headers, ""), &mut out).unwrap();
        assert!(String::from_utf8_lossy(&out).contains("\"message\":\"X: m\""));
    }

    #[test]
    fn what_is_damaged_or_no_event_is_an_error_and_holds_nothing() {
        let good = event(r#"{"type":"ping"}"#);
        for at in [5, 9, 20, good.len() - 20, good.len() - 1] {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            let mut out = BytesMut::new();
            let done = Events::default().feed(&bytes, &mut out);
            assert!(done.is_err() && out.is_empty(), "{at}");
        }
        let (mut events, mut out) = (Events::default(), BytesMut::new());
        assert!(events.feed(&[0xff; 12], &mut out).is_err());
        assert!(Events::default().feed(&[0; 4], &mut out).is_err());
        assert!(Events::default().feed(&event("no json"), &mut out).is_err());
        let mut cut = Events::default();
        cut.feed(&good[..good.len() - 1], &mut out).unwrap();
        assert!(!cut.is_between() && out.is_empty());
    }
}

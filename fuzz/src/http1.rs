//! Answers over HTTP/1.1: read alike however they are cut, never past their end; and requests as an independent parser
//! reads them.

use crate::heads;
use bytes::{Bytes, BytesMut};
use http::Method;
use tollgate::protocol::http1::{self, BodyReader, Framing, HEAD_BYTES_MAX, HeadReader, Step};

/// The first byte chooses the cuts; its highest bit, whether the rest is a request's head instead.
///
/// # Panics
///
/// Where a promise is broken.
pub fn run(input: &[u8]) {
    let Some((seed, bytes)) = input.split_first() else { return };
    if seed & 0x80 == 0x80 {
        return request(bytes);
    }
    let whole = answer(&[Bytes::copy_from_slice(bytes)]);
    assert_eq!(whole, answer(&crate::pieces(bytes, *seed)), "a cut changes the answer");
    assert!(whole.body.len() <= bytes.len());
    if whole.framing == Some(Framing::Chunked) && whole.end == "ended" {
        assert_eq!(chunks(&bytes[whole.head..]), Some(whole.body.clone()), "other chunks");
    }
    if let Some(Framing::Length(length)) = whole.framing {
        assert!(whole.body.len() as u64 <= length, "past its end");
    }
    assert!(whole.framing != Some(Framing::Empty) || whole.body.is_empty());
}

#[derive(Debug, PartialEq, Eq, Default)]
struct Read {
    head: usize,
    framing: Option<Framing>,
    body: Vec<u8>,
    end: String,
    left: usize,
}

fn answer(chunks: &[Bytes]) -> Read {
    let (mut reader, mut inbox, mut read) = (HeadReader::default(), BytesMut::new(), Read::default());
    let mut body: Option<BodyReader> = None;
    for chunk in chunks {
        inbox.extend_from_slice(chunk);
        if body.is_none() {
            match reader.read(&inbox) {
                Ok(None) => {
                    assert!(inbox.len() <= HEAD_BYTES_MAX, "a head without end is kept");
                    continue;
                }
                Ok(Some((end, head))) => {
                    drop(inbox.split_to(end));
                    (read.head, read.framing) = (end, Some(head.framing));
                    body = Some(BodyReader::new(head.framing));
                }
                // How much of a head was there when it was found wrong is a matter of the cuts.
                Err(garbled) => return Read { end: garbled.0.to_owned(), ..read },
            }
        }
        if let Some(body) = &mut body
            && let Some(end) = drain(body, &mut inbox, &mut read.body)
            && end != "ended"
        {
            return Read { end, ..read };
        }
    }
    let ended = body.as_ref().is_some_and(BodyReader::is_ended);
    Read { end: if ended { "ended" } else { "open" }.to_owned(), left: inbox.len(), ..read }
}

fn drain(reader: &mut BodyReader, inbox: &mut BytesMut, body: &mut Vec<u8>) -> Option<String> {
    loop {
        match reader.next(inbox) {
            Ok(Step::Data(data)) => {
                assert!(!data.is_empty(), "data is never empty");
                body.extend_from_slice(&data);
            }
            Ok(Step::More) => return None,
            Ok(Step::End) => return Some("ended".to_owned()),
            Err(garbled) => return Some(garbled.0.to_owned()),
        }
    }
}

/// A reader of chunks that knows nothing of cuts and bounds.
fn chunks(mut input: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = input.windows(2).position(|pair| pair == b"\r\n")?;
        let size = input[..line].split(|byte| *byte == b';').next()?;
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        input = &input[line + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(input.get(..size)?);
        input = input.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

fn request(bytes: &[u8]) {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Ok(target) = std::str::from_utf8(line) else { return };
    if !http1::is_sound_target(target) || target.is_empty() {
        return;
    }
    let headers = heads::headers(&bytes[line.len()..]);
    let mut out = Vec::new();
    http1::write_request_head(&Method::POST, target, &headers, &mut out);
    let mut slots = vec![httparse::EMPTY_HEADER; 512];
    let mut parsed = httparse::Request::new(&mut slots);
    let status = parsed.parse(&out);
    if !target.is_ascii() {
        return;
    }
    assert_eq!(status, Ok(httparse::Status::Complete(out.len())), "{target}");
    assert_eq!((parsed.method, parsed.path, parsed.version), (Some("POST"), Some(target), Some(1)));
    assert_eq!(parsed.headers.len(), headers.len(), "a header became two, or none");
}

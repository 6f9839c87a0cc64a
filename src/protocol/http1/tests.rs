//! Answers of providers that mean well, and of providers that do not.

use super::head::HEADERS_MAX;
use super::*;
use bytes::BytesMut;
use proptest::prelude::*;

const OK: &str = "HTTP/1.1 200 OK\r\n";

fn head(bytes: &[u8]) -> Result<Head, Garbled> {
    let read = HeadReader::default().read(bytes)?;
    read.map(|(_, head)| head).ok_or(Garbled("it has no end"))
}

fn read(text: &str) -> Result<Head, Garbled> {
    head(text.as_bytes())
}

#[test]
fn framing_is_read_or_refused() {
    for (lines, framing) in [
        ("content-length: 5\r\n", Some(Framing::Length(5))),
        ("Content-Length: 0\r\n", Some(Framing::Empty)),
        ("transfer-encoding: Chunked\r\n", Some(Framing::Chunked)),
        ("", Some(Framing::UntilClose)),
        ("content-length: 5\r\ncontent-length: 5\r\n", None),
        ("content-length: 5\r\ncontent-length: 6\r\n", None),
        ("content-length: 5, 5\r\n", None),
        ("content-length: -5\r\n", None),
        ("content-length: +5\r\n", None),
        ("content-length: 0x5\r\n", None),
        ("content-length: \r\n", None),
        ("content-length: 99999999999999999999\r\n", None),
        ("content-length: 5\r\ntransfer-encoding: chunked\r\n", None),
        ("transfer-encoding: gzip, chunked\r\n", None),
        ("transfer-encoding: identity\r\n", None),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", None),
        ("transfer-encoding: chunked, identity\r\n", None),
    ] {
        let head = read(&format!("{OK}{lines}\r\n"));
        assert_eq!(head.ok().map(|head| head.framing), framing, "{lines:?}");
    }
}

#[test]
fn statuses_without_a_body_have_none_whatever_they_say() {
    for (status, framing) in [(100, Framing::Empty), (204, Framing::Empty), (304, Framing::Empty)] {
        let head = read(&format!("HTTP/1.1 {status} x\r\ncontent-length: 7\r\n\r\n"));
        assert_eq!(head.map(|head| head.framing), Ok(framing), "{status}");
    }
    assert!(read("HTTP/1.1 204 x\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
}

#[test]
fn a_connection_serves_again_only_where_both_sides_know_the_end() {
    for (text, persistent) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: x, Close\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive\r\n\r\n", false),
    ] {
        assert_eq!(read(text).map(|head| head.persistent), Ok(persistent), "{text:?}");
    }
}

#[test]
fn heads_that_could_be_read_in_two_ways_are_refused() {
    let many = "x: y\r\n".repeat(HEADERS_MAX + 1);
    for text in [
        "HTTP/1.1 200 OK\r\nfolded: a\r\n b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nname : a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nna\0me: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nname: a\0b\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nnoname\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 999 OK\r\n\r\n",
        "HTTP/1.1 99 OK\r\n\r\n",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        &format!("{OK}{many}\r\n"),
    ] {
        assert!(read(text).is_err(), "{text:?}");
    }
    let obs = head(b"HTTP/1.1 200 \xe9\r\nx: caf\xe9\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(obs.map(|head| head.headers.get("x").map(<[u8]>::to_vec)), Ok(Some(b"caf\xe9".to_vec())));
}

#[test]
fn the_end_of_a_head_is_found_wherever_the_input_is_cut() {
    let text = format!("{OK}a: b\r\ncontent-length: 2\r\n\r\nhi");
    for cut in 1..text.len() {
        let mut reader = HeadReader::default();
        let first = reader.read(&text.as_bytes()[..cut]).expect("sound so far");
        let whole = (text.len() - 2, head(text.as_bytes()).expect("sound"));
        assert_eq!(whole.1.headers, Fields::of(&[("a", "b"), ("content-length", "2")]));
        assert_eq!(first, (cut >= whole.0).then_some(whole.clone()), "{cut}");
        if first.is_none() {
            assert_eq!(reader.read(text.as_bytes()), Ok(Some(whole)), "{cut}");
        }
    }
}

#[test]
fn what_is_no_head_is_known_early() {
    for text in ["SSH-2.0-x\r\n", "\r\nHTTP/1.1 200 OK\r\n\r\n", "HTTP/2", "h", "HTTP/1.1 200 OK\nx: y\n\n"] {
        assert!(HeadReader::default().read(text.as_bytes()).is_err(), "{text:?}");
    }
    let endless = format!("{OK}x: {}", "y".repeat(HEAD_BYTES_MAX));
    assert!(HeadReader::default().read(endless.as_bytes()).is_err());
    let mut reader = HeadReader::default();
    for length in 1..HEAD_BYTES_MAX {
        assert_eq!(reader.read(&endless.as_bytes()[..length]), Ok(None));
    }
    assert!(reader.read(&endless.as_bytes()[..HEAD_BYTES_MAX]).is_err());
}

/// The body, and what is left of the input behind it; `None` for one that has not ended.
fn body(framing: Framing, pieces: &[&[u8]]) -> Result<(Vec<u8>, Option<Vec<u8>>), Garbled> {
    let mut reader = BodyReader::new(framing);
    let (mut input, mut body) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        while let Step::Data(data) = reader.next(&mut input)? {
            body.extend_from_slice(&data);
        }
    }
    Ok((body, reader.is_ended().then(|| input.to_vec())))
}

#[test]
fn chunked_bodies_are_read_wherever_they_are_cut() {
    let text = b"4\r\nWiki\r\n5;a=b;c=\"d\"\r\npedia\r\nA\r\n in\r\n\r\nch!\r\n0\r\nx-sum: 1\r\n\r\nHTTP/1.1";
    let whole = (b"Wikipedia in\r\n\r\nch!".to_vec(), Some(b"HTTP/1.1".to_vec()));
    assert_eq!(body(Framing::Chunked, &[text]), Ok(whole.clone()));
    for cut in 0..text.len() {
        assert_eq!(body(Framing::Chunked, &[&text[..cut], &text[cut..]]), Ok(whole.clone()), "{cut}");
    }
    let bytes: Vec<&[u8]> = text.chunks(1).collect();
    assert_eq!(body(Framing::Chunked, &bytes), Ok(whole));
}

#[test]
fn broken_chunks_are_refused() {
    let long = format!("4;{}\r\nWiki\r\n0\r\n\r\n", "x".repeat(300));
    let trailer = format!("0\r\nx: {}\r\n\r\n", "y".repeat(9_000));
    for text in [
        "\r\n",
        "g\r\n",
        "-4\r\nWiki\r\n",
        "0x4\r\nWiki\r\n",
        "4 \r\nWiki\r\n",
        "4\nWiki\r\n",
        "4\r\nWiki5\r\n",
        "4\r\nWiki\n5\r\n",
        "4\r\nWikipedia\r\n",
        "4\r\r\n",
        "fffffffffffff\r\n",
        "4;a\n\r\nWiki",
        "0\r\nx\n\r\n",
        &long,
        &trailer,
    ] {
        assert!(body(Framing::Chunked, &[text.as_bytes()]).is_err(), "{text:?}");
    }
}

#[test]
fn what_came_before_broken_framing_is_given_out_and_nothing_after_it() {
    for cut in [5, 12, 14, 18] {
        let text = b"E\r\ndata: [DONE]\n\n\r\n0\n\n5\r\nagain\r\n0\r\n\r\n";
        let mut reader = BodyReader::new(Framing::Chunked);
        let (mut input, mut body, mut broken) = (BytesMut::new(), Vec::new(), 0);
        for piece in [&text[..cut], &text[cut..]] {
            input.extend_from_slice(piece);
            loop {
                match reader.next(&mut input) {
                    Ok(Step::Data(data)) => body.extend_from_slice(&data),
                    Ok(_) => break,
                    Err(_) if broken == 2 => break,
                    Err(_) => broken += 1,
                }
            }
        }
        assert_eq!((body.as_slice(), broken), (&b"data: [DONE]\n\n"[..], 2), "{cut}");
    }
    // The content of a chunk is never taken for framing.
    let mut reader = BodyReader::new(Framing::Chunked);
    let mut input = BytesMut::from(&b"5\r\n0\r\n\r\n\r\nZ"[..]);
    assert_eq!(reader.next(&mut input), Ok(Step::Data(b"0\r\n\r\n"[..].into())));
    assert!(reader.next(&mut input).is_err() && reader.next(&mut input).is_err());
}

#[test]
fn counted_and_open_bodies_end_where_they_should() {
    let hi = |left: &[u8]| (b"hi".to_vec(), Some(left.to_vec()));
    assert_eq!(body(Framing::Length(2), &[b"hi"]), Ok(hi(b"")));
    assert_eq!(body(Framing::Length(2), &[b"h", b"i!"]), Ok(hi(b"!")));
    assert_eq!(body(Framing::Length(3), &[b"hi"]), Ok((b"hi".to_vec(), None)));
    assert_eq!(body(Framing::UntilClose, &[b"h", b"i"]), Ok((b"hi".to_vec(), None)));
    assert_eq!(body(Framing::Empty, &[b"hi"]), Ok((Vec::new(), Some(b"hi".to_vec()))));
}

#[test]
fn a_request_is_written_as_it_is_given() {
    let headers = Fields::of(&[("host", "a.example"), ("x-a", "1"), ("x-a", "2")]);
    let mut out = Vec::new();
    write_request_head(&Method::POST, "/v1/x?y=z", &headers, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "POST /v1/x?y=z HTTP/1.1\r\nhost: a.example\r\nx-a: 1\r\nx-a: 2\r\n\r\n"
    );
    for (target, sound) in [("/v1/x?y=%20", true), ("/é", true), ("/a b", false), ("/a\r\n", false)] {
        assert_eq!(is_sound_target(target), sound, "{target:?}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_cutting_changes_nothing(
        bytes in prop::collection::vec(prop::sample::select(b"0123aAfF;\r\n\r\n x:".to_vec()), 0..80), cut in 0usize..80
    ) {
        let cut = cut.min(bytes.len());
        let whole = body(Framing::Chunked, &[&bytes]);
        prop_assert_eq!(body(Framing::Chunked, &[&bytes[..cut], &bytes[cut..]]), whole);
        drop(head(&bytes));
    }
}

proptest! {
    #[test]
    fn what_is_sound_has_the_parts_that_another_parser_finds_and_what_is_not_it_refuses_too(
        status in "HTTP/1\\.[01] [0-9]{2,4}( [ -~\u{e9}\t]{0,6})?",
        fields in prop::collection::vec("[A-Za-z0-9_ -]{0,9}:?[ \t]{0,2}[!-~\u{e9}\u{7f}\u{1}]{0,4}[ \t]{0,2}", 0..5),
    ) {
        let text = [&[status], fields.as_slice()].concat().join("\r\n") + "\r\n\r\n";
        let mut slots = [httparse::EMPTY_HEADER; 16];
        let mut oracle = httparse::Response::new(&mut slots);
        let parsed = oracle.parse(text.as_bytes());
        match HeadReader::default().read(text.as_bytes()) {
            Ok(Some((end, head))) => {
                prop_assert_eq!(parsed, Ok(httparse::Status::Complete(end)));
                prop_assert_eq!(oracle.code, Some(head.status.as_u16()));
                let found = oracle.headers.iter().map(|field| (field.name.to_ascii_lowercase(), field.value));
                let read = head.headers.iter();
                prop_assert!(found.eq(read.map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value))));
            }
            // Both stop at the end of the first of several heads that the fields may make of one.
            Ok(None) => prop_assert!(false, "it has an end"),
            Err(_) => {
                let is_ours = oracle.code.is_some_and(|code| !(100..600).contains(&code))
                    || oracle.headers.iter().any(|field| is_framing(field.name) || field.value.contains(&0x7f));
                prop_assert!(is_ours || parsed.is_err(), "{:?}", text);
            }
        }
    }
}

fn is_framing(name: &str) -> bool {
    ["content-length", "transfer-encoding"].iter().any(|framing| name.eq_ignore_ascii_case(framing))
}

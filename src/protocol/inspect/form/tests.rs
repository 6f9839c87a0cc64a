//! Forms as clients send them, and as someone would who wants two parsers to disagree.

use super::super::multipart::{Dashes, Parts};
use super::super::read;
use super::*;
use crate::code::Code;
use crate::protocol::fields::Fields;
use crate::protocol::splice::splice;
use bytes::Bytes;
use proptest::prelude::*;

const EDITS: Operation = Operation::ImageEdits;
const TYPE: &str = "multipart/form-data; boundary=xyz";
const MODEL: &str = "--xyz\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n";
const FILE: &str = "--xyz\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n\u{89}PNG\r\n\r\n--xy\n--xy\r\n\r\n";

fn asked(operation: Operation, content_type: &str, body: &[u8]) -> Result<Inspection, Refusal> {
    read(operation, &Fields::of(&[("content-type", content_type)]), body).map(|inspection| *inspection)
}

fn refused(content_type: &str, body: &str) -> String {
    let refusal = asked(EDITS, content_type, body.as_bytes()).expect_err(body);
    assert_eq!(refusal.code, Code::InvalidRequest);
    refusal.message
}

#[test]
fn the_model_is_found_before_and_behind_a_file_and_only_its_bytes_change() {
    let stream = "--xyz\r\nContent-Disposition: form-data; name=stream\r\n\r\nTrue\r\n";
    let end = "--xyz--\r\n";
    for (parts, streams) in [
        (vec![MODEL, FILE], false),
        (vec![FILE, MODEL], false),
        (vec![FILE, MODEL, stream, FILE], true),
        (vec![stream, MODEL], true),
        (vec![MODEL], false),
    ] {
        let body = format!("{}{end}", parts.concat());
        let found = asked(EDITS, TYPE, body.as_bytes()).unwrap();
        let model = found.model.unwrap();
        assert_eq!(
            (model.name.as_str(), &body[model.at.clone()], found.stream),
            ("m", "m", streams),
            "{body}"
        );
        let edited = splice(&Bytes::from(body.clone()), &[model.edit("other-model")]).concat();
        assert_eq!(edited, body.replace("\r\nm\r\n", "\r\nother-model\r\n").into_bytes());
    }
    // What cannot be streamed is not.
    let body = format!("{stream}{MODEL}{end}");
    assert!(!asked(Operation::Translations, TYPE, body.as_bytes()).unwrap().stream);
    assert!(asked(Operation::Transcriptions, TYPE, body.as_bytes()).unwrap().stream);
}

#[test]
fn a_large_file_costs_what_its_text_does() {
    let body = [FILE.replace("PNG", &"\0".repeat(25 << 20)).as_str(), MODEL, "--xyz--"].concat();
    let found = asked(EDITS, TYPE, body.as_bytes()).unwrap();
    assert_eq!(found.text_bytes, Some(FILE_WEIGHT + 1));
    assert_eq!(&body[found.model.unwrap().at], "m");
}

#[test]
fn content_types_are_read_as_everybody_reads_them() {
    let body = format!("{MODEL}--xyz--\r\n");
    for good in [
        TYPE,
        "Multipart/Form-Data;BOUNDARY=xyz",
        "multipart/form-data; charset=utf-8; boundary=\"xyz\"",
        "multipart/form-data ; boundary=xyz ; a=\"b;c\"",
    ] {
        assert!(asked(EDITS, good, body.as_bytes()).is_ok(), "{good}");
    }
    for (bad, says) in [
        ("multipart/form-data", "names no boundary"),
        ("multipart/form-data; boundary=", "no value"),
        ("multipart/form-data; boundary=\"\"", "is none"),
        ("multipart/form-data; boundary=\"xyz", "not closed"),
        ("multipart/form-data; boundary=xyz; boundary=abc", "two boundaries"),
        ("multipart/form-data; boundary=xyz; Boundary=xyz", "two boundaries"),
        ("multipart/form-data; boundary=\"xyz \"", "is none"),
        ("multipart/form-data; boundary=\"x\\yz\"", "is none"),
        ("multipart/form-data; boundary=x yz", "half a quote"),
        ("multipart/form-data; boundary=\"xyz\"z", "follows a quote"),
        ("multipart/form-data; boundary", "no value"),
        ("multipart/mixed; boundary=xyz", "Send it as multipart/form-data"),
        ("text/plain", "Send it as multipart/form-data"),
        ("", "Send it as multipart/form-data"),
    ] {
        let message = refused(bad, &body);
        assert!(message.contains(says), "{bad}: {message}");
    }
    let long = format!("multipart/form-data; boundary={}", "x".repeat(71));
    assert!(refused(&long, &body).contains("is none"));
    let other = "multipart/form-data; boundary=abc";
    let two = Fields::of(&[("content-type", TYPE), ("content-type", other)]);
    assert!(read(EDITS, &two, body.as_bytes()).is_err());
}

#[test]
fn an_edit_may_be_json_and_a_transcription_may_not() {
    let body = br#"{"model":"m","images":[{"image_url":"u"}],"stream":true}"#;
    let found = asked(EDITS, "application/json; charset=utf-8", body).unwrap();
    assert_eq!((found.model.unwrap().name.as_str(), found.stream), ("m", true));
    assert!(asked(Operation::Transcriptions, "application/json", body).is_err());
    assert!(asked(Operation::Moderations, "application/json", br#"{"model":"m"}"#).is_ok());
}

#[test]
fn a_form_two_parsers_could_read_differently_is_refused() {
    let part = |headers: &str| format!("--xyz\r\n{headers}\r\n\r\nx\r\n{MODEL}--xyz--\r\n");
    let named = |name: &str, value: &str| {
        format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let end = "--xyz--\r\n";
    for (body, says) in [
        (String::new(), "does not begin"),
        (format!("\r\n{MODEL}{end}"), "does not begin"),
        (format!("preamble\r\n{MODEL}{end}"), "does not begin"),
        (MODEL.to_owned(), "before its last boundary"),
        (format!("{MODEL}--xy"), "before its last boundary"),
        (format!("{MODEL}{end}more"), "follows its end"),
        (format!("{MODEL}{end}{MODEL}{end}"), "follows its end"),
        (MODEL.replacen("--xyz", "--xyz ", 1) + end, "on the same line"),
        (format!("{MODEL}--xyzz\r\n"), "on the same line"),
        (format!("{}{end}", MODEL.replace("m\r\n", "m\n")), "broken line end"),
        (format!("{}{end}", MODEL.replace("m\r\n", "m\r")), "broken line end"),
        (
            format!("--xyz\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n{MODEL}{end}"),
            "broken line end",
        ),
        (format!("{MODEL}{MODEL}{end}"), "two `model` parts"),
        (
            format!("{MODEL}{}{}{end}", named("stream", "true"), named("stream", "false")),
            "two `stream` parts",
        ),
        (format!("{MODEL}{}{end}", named("stream", "1")), "`stream` must be"),
        (end.to_owned(), "`model` is missing"),
        (format!("{FILE}{end}"), "`model` is missing"),
        (format!("{}{end}", named("Model", "m")), "`model` is missing"),
        (format!("{}{end}", named("model", "")), "`model` is empty"),
        (format!("{}{end}", named("model", "a\r\nb")), "plain text"),
        (format!("{}{end}", named("model", "a\0")), "plain text"),
        (format!("{}{end}", named("model", &"m".repeat(2_000))), "plain text"),
        (format!("{}{end}", named("model\"; filename=\"f", "m")), "plain text"),
        (part("Content-Disposition: form-data; name=\"mod%65l\""), "has an escape"),
        (part("Content-Disposition: form-data; name=\"mod\\el\""), "has an escape"),
        (part("Content-Disposition: form-data; name=\"a\"; name=\"model\""), "two names"),
        (part("Content-Disposition: form-data; name*=utf-8''model"), "is encoded"),
        (part("Content-Disposition: form-data; filename=\"a\\\"; name=\"model\""), "escaped quote"),
        (part("Content-Disposition: form-data; name=\"a\" name=\"model\""), "follows a quote"),
        (part("Content-Disposition: form-data; name=a\"b"), "half a quote"),
        (
            part("Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=model"),
            "two `content",
        ),
        (part("Content-Disposition: form-data; name=a;\r\n x:y; name=model"), "no name, or is folded"),
        (part("Content-Disposition : form-data; name=model"), "no name, or is folded"),
        (part("Content-Disposition: attachment; name=a"), "not `form-data`"),
        (part("Content-Disposition: form-data"), "has no name"),
        (part("Content-Type: text/plain"), "has no name"),
        (part("Content-Disposition: form-data; name=a\nContent-Type: b"), "control character"),
        (part("nonsense"), "no colon"),
        (part(&format!("X: {}\r\nContent-Disposition: form-data; name=a", "x".repeat(9_000))), "do not end"),
        (format!("{}{end}", named("a", "b").repeat(129)), "too many parts"),
    ] {
        let message = refused(TYPE, &body);
        assert!(message.contains(says), "{body:?}: {message}");
    }
    let encoded = MODEL.replace("\r\n\r\n", "\r\nContent-Transfer-Encoding: base64\r\n\r\n");
    assert!(refused(TYPE, &format!("{encoded}{end}")).contains("plain text"));
    let as_is = MODEL.replace("\r\n\r\n", "\r\nContent-Transfer-Encoding: 8BIT\r\n\r\n");
    assert!(asked(EDITS, TYPE, format!("{as_is}{end}").as_bytes()).is_ok());
    assert!(
        asked(EDITS, TYPE, b"--xyz\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n\xff\r\n--xyz--")
            .is_err()
    );
}

#[derive(Debug, Clone)]
struct Sent {
    name: String,
    file: Option<String>,
    content: Vec<u8>,
}

fn sent() -> impl Strategy<Value = Sent> {
    let odd = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        Just(b"\r\n--xy\r\n--\r\n".to_vec()),
        Just(b"x--xyz\r\n-".to_vec()),
        Just(b"Content-Disposition: form-data; name=\"model\"\r\n\r\nno".to_vec()),
    ];
    let name = prop_oneof![Just("model[]".to_owned()), Just(" model".to_owned()), "[a-z;=é]{1,8}"];
    (name, prop::option::of("[a-z;= é.]{0,8}"), odd).prop_map(|(name, file, content)| Sent {
        name,
        file,
        content,
    })
}

fn form(parts: &[Sent]) -> Vec<u8> {
    let mut body = Vec::new();
    for part in parts {
        let file = part.file.as_ref().map(|file| format!("; filename=\"{file}\"\r\nContent-Type: a/b"));
        let head = format!(
            "--xyz\r\nContent-Disposition: form-data; name=\"{}\"{}\r\n\r\n",
            part.name,
            file.unwrap_or_default()
        );
        body.extend([head.as_bytes(), &part.content, b"\r\n"].concat());
    }
    body.extend(b"--xyz--\r\n");
    body
}

/// A part: its name, whether it is a file, its content.
type Read = (String, bool, Vec<u8>);

/// What another parser reads.
fn read_by_multer(body: &[u8]) -> Option<Vec<Read>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut parsed = multer::Multipart::with_reader(body, "xyz");
        let mut parts = Vec::new();
        while let Some(field) = parsed.next_field().await.ok()? {
            let (name, is_file) = (field.name()?.to_owned(), field.file_name().is_some());
            parts.push((name, is_file, field.bytes().await.ok()?.to_vec()));
        }
        Some(parts)
    })
}

fn read_by_us(body: &[u8]) -> Result<Vec<Read>, &'static str> {
    let dashes = Dashes::of(TYPE).unwrap()?;
    let parts: Result<Vec<_>, _> = Parts::new(body, &dashes)?.collect();
    Ok(parts?.into_iter().map(|part| (part.name.to_owned(), part.is_file, body[part.at].to_vec())).collect())
}

proptest! {
    #[test]
    fn every_part_is_where_it_was_put_and_another_parser_agrees(mut parts in prop::collection::vec(sent(), 0..6), at in 0usize..6) {
        let model = Sent { name: "model".to_owned(), file: None, content: b"m-1".to_vec() };
        parts.insert(at.min(parts.len()), model);
        let body = form(&parts);
        let whole: Vec<_> =
            parts.iter().map(|part| (part.name.clone(), part.file.is_some(), part.content.clone())).collect();
        // Contents that hold the boundary make another form, or none.
        prop_assume!(parts.iter().all(|part| memchr::memmem::find(&part.content, b"--xyz").is_none_or(|at| at == 1)));
        prop_assert_eq!(read_by_us(&body), Ok(whole.clone()));
        prop_assert_eq!(read_by_multer(&body), Some(whole));
        let found = asked(EDITS, TYPE, &body).unwrap().model.unwrap();
        prop_assert_eq!(&body[found.at], b"m-1");
    }

    #[test]
    fn what_is_broken_is_refused_or_read_as_the_other_parser_reads_it(
        parts in prop::collection::vec(sent(), 1..4), at in any::<prop::sample::Index>(), byte in prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'"'), Just(b'-'), Just(b';'), any::<u8>()]
    ) {
        let mut body = form(&parts);
        let at = at.index(body.len());
        body[at] = byte;
        if let (Ok(ours), Some(theirs)) = (read_by_us(&body), read_by_multer(&body)) {
            let names = |parts: &[Read]| -> Vec<_> { parts.iter().map(|part| (part.0.clone(), part.2.clone())).collect() };
            prop_assert_eq!(names(&ours), names(&theirs));
        }
    }
}

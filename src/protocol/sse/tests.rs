//! Events, and that no cut changes them.

use super::*;
use proptest::prelude::*;

/// Name, data, the event's bytes, and where it ends in the stream.
type Seen = (String, String, Vec<u8>, usize);

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn scan(chunks: &[&[u8]]) -> (Vec<Seen>, Option<(String, String)>, bool) {
    let mut scanner = Scanner::new();
    let mut seen = Vec::new();
    let mut before = 0;
    for chunk in chunks {
        let mut from = 0;
        while let Some(found) = scanner.next(chunk, from) {
            let event = found.event;
            assert!(found.early.is_empty() || from == 0);
            seen.push((text(event.name), text(event.data), event.raw.to_vec(), before + found.end));
            from = found.end;
        }
        before += chunk.len();
    }
    let boundary = scanner.at_boundary();
    (seen, scanner.rest().map(|event| (text(event.name), text(event.data))), boundary)
}

#[test]
fn events_are_read_as_the_standard_says() {
    let check = |stream: &str, events: &[(&str, &str)], rest: Option<(&str, &str)>| {
        let (seen, left, _) = scan(&[stream.as_bytes()]);
        let seen: Vec<(&str, &str)> = seen.iter().map(|(name, data, ..)| (&**name, &**data)).collect();
        assert_eq!(seen, events, "{stream:?}");
        assert_eq!(left.as_ref().map(|(name, data)| (&**name, &**data)), rest, "{stream:?}");
    };
    check("", &[], None);
    check("data: a\n\n", &[("", "a")], None);
    check("data:a\r\n\r\nx", &[("", "a")], Some(("", "")));
    check("data: a\r\rdata: b\r\r", &[("", "a")], Some(("", "b")));
    check("event: e\ndata:  a\n\n", &[("e", " a")], None);
    check("data: a\ndata: b\ndata\ndata: c\n\n", &[("", "a\nb\n\nc")], None);
    check(": comment\n\n:\n\ndata: a\n\n", &[("", ""), ("", ""), ("", "a")], None);
    check("\u{feff}data: a\n\n\u{feff}data: b\n\n", &[("", "a"), ("", "")], None);
    check("dataset: a\nid: 1\nretry: 5\ndata: b\n\n", &[("", "b")], None);
    check("event: a\nevent: b\ndata: c\n\n", &[("b", "c")], None);
    check("data: a\n\ndata: [DONE]", &[("", "a")], Some(("", "[DONE]")));
    check("\n\ndata: a\n\n", &[("", ""), ("", ""), ("", "a")], None);
    check("data\n\n", &[("", "")], None);
}

#[test]
fn a_boundary_is_where_everything_before_is_complete() {
    for (stream, boundary) in [
        ("", true),
        ("data: a\n\n", true),
        ("data: a\n", false),
        ("data: a", false),
        ("data: a\r\n\r", false),
        ("data: a\r\n\r\n", true),
        (": ping\n\n", true),
    ] {
        assert_eq!(scan(&[stream.as_bytes()]).2, boundary, "{stream:?}");
    }
}

#[test]
fn an_event_past_the_bound_keeps_its_name_and_the_next_is_read_again() {
    let long = format!(
        "event: big\ndata: {{\"type\":\"big\",\"x\":\"{}\",\"usage\":[1]}}\n\n",
        "y".repeat(EVENT_BYTES_MAX)
    );
    let stream = format!("data: a\n\n{long}data: b\n\n");
    for size in [stream.len(), 64 * 1024, 1000, 7] {
        let chunks: Vec<&[u8]> = stream.as_bytes().chunks(size).collect();
        let (seen, rest, _) = scan(&chunks);
        let names: Vec<&str> = seen.iter().map(|(name, ..)| &**name).collect();
        assert_eq!(names, ["", "big", ""], "{size}");
        assert!(seen[1].1.starts_with("{\"type\":\"big\"") && seen[1].2.len() <= 256, "{size}");
        assert_eq!(seen[1].3, 9 + long.len(), "{size}");
        assert_eq!((&*seen[2].1, rest), ("b", None), "{size}");
    }
}

#[test]
fn too_many_lines_are_not_kept() {
    let mut scanner = Scanner::new();
    let stream = format!("{}\n", "data:\n".repeat(5000));
    let found = scanner.next(stream.as_bytes(), 0).unwrap();
    assert!(!found.event.whole && found.event.data.len() < 5000);
    assert_eq!(found.end, stream.len());
}

#[test]
fn a_part_of_the_data_is_found_in_the_bytes() {
    let mut scanner = Scanner::new();
    let stream = b"event: e\r\ndata: abc\r\ndata:def\r\n\r\n";
    let event = scanner.next(stream, 0).unwrap().event;
    assert_eq!(event.data, b"abc\ndef");
    for (range, expected) in
        [(0..3, Some(&b"abc"[..])), (1..2, Some(b"b")), (4..7, Some(b"def")), (2..5, None)]
    {
        assert_eq!(event.range_in_raw(range.clone()).map(|raw| &event.raw[raw]), expected, "{range:?}");
    }
    assert_eq!(event.range_in_raw(5..90), None);
}

proptest! {
    #[test]
    fn no_cut_changes_the_events(
        lines in prop::collection::vec(
            ("(data: ?|event: ?|: |id: |\u{feff}|)[a-z模 ]{0,6}", prop_oneof![Just("\n"), Just("\r\n"), Just("\r")]),
            0..14,
        ),
        sizes in prop::collection::vec(1usize..9, 1..8),
    ) {
        let stream: String = lines.iter().flat_map(|(line, end)| [line.as_str(), *end]).collect();
        let stream = stream.as_bytes();
        let mut chunks = Vec::new();
        let mut rest = stream;
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, after) = rest.split_at((*size).min(rest.len()));
            chunks.push(chunk);
            rest = after;
        }
        let whole = scan(&[stream]);
        prop_assert_eq!(&scan(&chunks), &whole);
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(&scan(&bytes), &whole);
        let together: Vec<u8> = whole.0.iter().flat_map(|(_, _, raw, _)| raw.clone()).collect();
        prop_assert_eq!(&stream[..together.len()], &together[..]);
    }
}

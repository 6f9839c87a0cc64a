//! Server-sent events: what the scanner finds is what the standard's own rules find, however the stream is cut.

use tollgate::protocol::sse::Scanner;

/// The first byte chooses the cuts.
///
/// # Panics
///
/// Where a promise is broken.
pub fn run(input: &[u8]) {
    let Some((seed, stream)) = input.split_first() else { return };
    let whole = found(std::iter::once(stream));
    let pieces = crate::pieces(stream, *seed);
    assert_eq!(whole, found(pieces.iter().map(|piece| &piece[..])), "a cut changes the events");
    if whole.iter().all(|event| event.whole) {
        let found: Vec<_> = whole.into_iter().filter(|event| !event.data.is_empty()).collect();
        assert_eq!(found, by_the_standard(stream), "the standard finds other events");
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// The offset behind it in the stream.
    end: usize,
    name: Vec<u8>,
    data: Vec<u8>,
    whole: bool,
}

fn found<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Vec<Seen> {
    let mut scanner = Scanner::new();
    let (mut seen, mut before) = (Vec::new(), 0);
    for chunk in chunks {
        let mut from = 0;
        while let Some(found) = scanner.next(chunk, from) {
            assert!(found.end > from || !found.early.is_empty(), "every event has bytes of its own");
            from = found.end;
            let event = found.event;
            let (name, data) = (event.name.to_vec(), event.data.to_vec());
            seen.push(Seen { end: before + from, name, data, whole: event.whole });
        }
        before += chunk.len();
    }
    if let Some(event) = scanner.rest() {
        let (name, data) = (event.name.to_vec(), event.data.to_vec());
        seen.push(Seen { end: before, name, data, whole: event.whole });
    }
    seen
}

/// The events that have data, line by line as section 9.2.6 of HTML interprets a stream.
fn by_the_standard(stream: &[u8]) -> Vec<Seen> {
    let bom = if stream.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let (mut at, mut seen) = (bom, Vec::new());
    let (mut name, mut data, mut has_data) = (Vec::new(), Vec::new(), false);
    while at < stream.len() {
        let length = stream[at..].iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let line = &stream[at..at + length.unwrap_or(stream.len() - at)];
        at += line.len();
        at += match &stream[at..] {
            [b'\r', b'\n', ..] => 2,
            [_, ..] => 1,
            [] => 0,
        };
        if line.is_empty() {
            let event = Seen {
                end: at,
                name: std::mem::take(&mut name),
                data: std::mem::take(&mut data),
                whole: true,
            };
            has_data = false;
            seen.push(event);
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"event" => name = value.to_vec(),
            b"data" => {
                if has_data {
                    data.push(b'\n');
                }
                has_data = true;
                data.extend_from_slice(value);
            }
            _ => {}
        }
    }
    // Without its blank line it is no event by the standard; we look at it, since some providers leave it out.
    seen.push(Seen { end: at, name, data, whole: true });
    seen.retain(|event| !event.data.is_empty());
    seen
}

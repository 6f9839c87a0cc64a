//! Heads of requests: fit only where an independent parser reads the same head, with one host and one framing, however the
//! input is cut.

use tollgate::protocol::http1::Framing;
use tollgate::protocol::http1::request::{RequestHead, Unfit};

/// The first byte chooses the cuts.
///
/// # Panics
///
/// Where a promise is broken.
pub fn run(input: &[u8]) {
    let Some((seed, bytes)) = input.split_first() else { return };
    let whole = RequestHead::default().read(bytes);
    let cut = in_pieces(bytes, *seed);
    // Which of several faults is found first is a matter of the cuts.
    assert!(whole == cut || whole.is_err() && cut.is_err(), "a cut changes the head: {whole:?} {cut:?}");
    if let Ok(Some((end, framing))) = whole {
        assert!(end <= bytes.len());
        is_understood(&bytes[..end], framing);
    }
}

fn in_pieces(bytes: &[u8], seed: u8) -> Result<Option<(usize, Framing)>, Unfit> {
    let (mut reader, mut read) = (RequestHead::default(), 0);
    for piece in crate::pieces(bytes, seed) {
        read += piece.len();
        let known = reader.read(&bytes[..read])?;
        if known.is_some() {
            return Ok(known);
        }
    }
    Ok(None)
}

fn is_understood(head: &[u8], framing: Framing) {
    let mut slots = vec![httparse::EMPTY_HEADER; 256];
    let mut parsed = httparse::Request::new(&mut slots);
    assert_eq!(
        parsed.parse(head),
        Ok(httparse::Status::Complete(head.len())),
        "another parser reads no such head"
    );
    let values = |name: &str| -> Vec<&[u8]> {
        let named = parsed.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| header.value).collect()
    };
    let (lengths, codings, hosts) = (values("content-length"), values("transfer-encoding"), values("host"));
    assert!(lengths.len() + codings.len() <= 1, "two framings");
    assert!(hosts.len() <= 1 && (parsed.version == Some(0) || hosts.len() == 1), "not one host");
    let disguised = |name: &str| {
        let plain = name.to_ascii_lowercase().replace('_', "-");
        name.contains('_')
            && matches!(&*plain, "content-length" | "transfer-encoding" | "host" | "authorization")
    };
    assert!(!parsed.headers.iter().any(|header| disguised(header.name)), "a name that is read in two ways");
    let told = match (lengths.first(), codings.first()) {
        (Some(length), _) => match std::str::from_utf8(length).ok().and_then(|digits| digits.parse().ok()) {
            Some(0) => Some(Framing::Empty),
            length => length.map(Framing::Length),
        },
        (_, Some(coding)) => coding.eq_ignore_ascii_case(b"chunked").then_some(Framing::Chunked),
        _ => Some(Framing::Empty),
    };
    assert_eq!(told, Some(framing), "another framing");
}

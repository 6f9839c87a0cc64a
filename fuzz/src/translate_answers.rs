//! Whole answers of one protocol as those of the others: an error, or valid JSON in which the others read the same texts; and
//! told as a stream they say the same.

use bytes::BytesMut;
use tollgate::translate::unified::{Answer, Content, Request};
use tollgate::translate::{self, Aggregate, Back, Client, Encoder, Protocol};

/// The first byte chooses the provider's protocol.
///
/// # Panics
///
/// Where a promise is broken.
pub fn run(input: &[u8]) {
    let Some((provider, body)) = crate::protocol(input) else { return };
    let Ok(answer) = translate::answer(provider, body, &Back::default()) else { return };
    let mut aggregate = Aggregate::default();
    translate::events(&answer, &mut |event| aggregate.event(event));
    assert_eq!(aggregate.finish().map(|told| said(&told)).ok(), Some(said(&answer)));
    for protocol in Protocol::ALL {
        let client = client(protocol);
        let (written, _) = translate::answer_body(&answer, &client);
        let read = translate::answer(protocol, &written, &Back::default());
        let read = read.ok().map(|read| said(&read));
        assert_eq!(read, Some(said(&answer)), "{}", String::from_utf8_lossy(&written));
        let (mut encoder, mut out) = (Encoder::new(&client), BytesMut::new());
        translate::events(&answer, &mut |event| encoder.event(&event, &mut out));
        assert!(!out.is_empty());
    }
}

/// A client of that protocol.
pub(crate) fn client(protocol: Protocol) -> Client {
    let mut request = Request::new(protocol);
    request.stream_usage = true;
    Client::of(&request, "0a1b", 1_763_000_000)
}

/// What everybody can say.
pub(crate) fn said(answer: &Answer<'_>) -> String {
    let text = |content: &Content<'_>| match content {
        Content::Text { text, .. } | Content::Refusal(text) => text.to_string(),
        _ => String::new(),
    };
    // Anthropic has no refusal of its own, and whoever has one says it after the texts.
    let is_text = |content: &&Content<'_>| matches!(content, Content::Text { .. });
    let contents = || answer.parts.iter().map(|part| &part.content);
    let first = contents().filter(is_text).map(text);
    first.chain(contents().filter(|content| !is_text(content)).map(text)).collect()
}

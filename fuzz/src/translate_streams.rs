//! Streams of one protocol as those of the others: however one is cut, the same comes out; what ends whole is whole to whoever
//! reads it, and says the same.

use crate::translate_answers::{client, said};
use bytes::BytesMut;
use tollgate::translate::{Aggregate, Back, Decoder, Ending, Protocol, Translator};

/// The first byte chooses the provider's protocol, the second the client's and the cuts.
///
/// # Panics
///
/// Where a promise is broken.
pub fn run(input: &[u8]) {
    let Some((provider, rest)) = crate::protocol(input) else { return };
    let Some((seed, stream)) = rest.split_first() else { return };
    let to = Protocol::ALL[usize::from(seed >> 6)];
    let (ending, whole) = translated(provider, to, std::iter::once(stream));
    let pieces = crate::pieces(stream, *seed);
    let cut = translated(provider, to, pieces.iter().map(|piece| &**piece));
    assert_eq!(cut, (ending, whole.clone()), "a cut changes what comes out");
    let told = aggregated(provider, stream);
    if ending == Ending::Whole {
        let heard = aggregated(to, &whole);
        assert_eq!(heard, told, "{}", String::from_utf8_lossy(&whole));
    }
}

fn translated<'c>(
    provider: Protocol,
    to: Protocol,
    chunks: impl Iterator<Item = &'c [u8]>,
) -> (Ending, BytesMut) {
    let mut translator = Translator::new(provider, &Back::default(), &client(to));
    let mut out = BytesMut::new();
    chunks.for_each(|chunk| translator.feed(chunk, &mut out));
    let ending = translator.finish(&mut out);
    (ending, out)
}

fn aggregated(protocol: Protocol, stream: &[u8]) -> Option<String> {
    let (mut decoder, mut aggregate) = (Decoder::new(protocol, &Back::default()), Aggregate::default());
    decoder.feed(stream, &mut |event| aggregate.event(event));
    let ending = decoder.finish(&mut |event| aggregate.event(event));
    aggregate.finish().ok().filter(|_| ending == Ending::Whole).map(|answer| said(&answer))
}

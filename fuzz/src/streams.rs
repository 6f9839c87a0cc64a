//! Observers of streams: however one is cut, the same bytes go on, the same was used and the same is known of its end;
//! and nothing goes on that did not come in.

use bytes::Bytes;
use tollgate::protocol::observe::{Phase, Progress, StreamObserver};
use tollgate::usage::Usage;

/// The first byte chooses the operation, the second the cuts and whether the model has another name.
///
/// # Panics
///
/// Where a promise is broken.
pub fn run(input: &[u8]) {
    let Some((operation, rest)) = crate::operation(input) else { return };
    let Some((seed, stream)) = rest.split_first() else { return };
    let rename = (seed & 1 == 1).then_some("another-name");
    let hides = seed & 2 == 2;
    let observer = || StreamObserver::new(operation, rename).hiding_usage(hides);
    let whole = watched(observer(), &[Bytes::copy_from_slice(stream)]);
    let pieces = watched(observer(), &crate::pieces(stream, *seed));
    assert_eq!(whole, pieces, "a cut changes what is seen");
    if rename.is_none() && !hides {
        assert!(stream.starts_with(&whole.out), "nothing goes on that did not come in");
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Watched {
    out: Vec<u8>,
    phase: Phase,
    usage: Option<Usage>,
    unreported: u64,
    error: Option<Vec<u8>>,
    at_boundary: bool,
}

fn watched(mut observer: StreamObserver, chunks: &[Bytes]) -> Watched {
    let (mut out, mut error) = (Vec::new(), None);
    for chunk in chunks {
        match observer.feed(chunk, &mut out) {
            Progress::Going => {}
            Progress::ErrorFirst(words) => error = Some(words),
            Progress::Terminal => break,
        }
    }
    if let Progress::ErrorFirst(words) = observer.finish(&mut out) {
        error = Some(words);
    }
    Watched {
        out: out.concat(),
        phase: observer.phase(),
        usage: observer.usage(),
        unreported: observer.unreported(),
        error,
        at_boundary: observer.at_boundary(),
    }
}

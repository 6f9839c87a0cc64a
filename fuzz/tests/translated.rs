//! What a translated stream holds while it passes: the same however long it is, except where the client's protocol repeats
//! the answer at its end.

#![cfg(test)]

use bytes::BytesMut;
use peak_alloc::PeakAlloc;
use tollgate::translate::unified::{Event, Opened, Request};
use tollgate::translate::{Back, Client, Encoder, Ending, Protocol, Translator};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const EVENTS: usize = 25_000;
const TEXT: &str = "a word or two, ";
/// What is held of a stream, whatever it says: an unfinished event, the names of its tools.
const HELD: usize = 32 << 10;

fn client(protocol: Protocol) -> Client {
    let mut request = Request::new(protocol);
    request.stream_usage = true;
    Client::of(&request, "0a1b", 1_763_000_000)
}

/// The beginning of a stream of that protocol, and one event of its text.
fn pieces(protocol: Protocol) -> [BytesMut; 2] {
    let mut encoder = Encoder::new(&client(protocol));
    let (mut begins, mut goes_on) = (BytesMut::new(), BytesMut::new());
    encoder.event(&Event::Start { id: "i".into(), model: "m".into() }, &mut begins);
    encoder.event(&Event::Open(Opened::Text), &mut begins);
    encoder.event(&Event::Text(TEXT.into()), &mut goes_on);
    [begins, goes_on]
}

#[test]
fn memory_does_not_grow_with_a_stream() {
    for provider in Protocol::ALL {
        let [begins, goes_on] = pieces(provider);
        for to in Protocol::ALL.into_iter().filter(|to| *to != provider) {
            let mut out = BytesMut::with_capacity(64 << 10);
            let before = MEMORY.current_usage();
            let mut translator = Translator::new(provider, &Back::default(), &client(to));
            translator.feed(&begins, &mut out);
            MEMORY.reset_peak_usage();
            let mut said = 0;
            for _ in 0..EVENTS {
                out.clear();
                translator.feed(&goes_on, &mut out);
                said += out.len();
            }
            let held = MEMORY.peak_usage().saturating_sub(before);
            let repeated = if to == Protocol::Responses { 2 * EVENTS * TEXT.len() } else { 0 };
            assert!(held <= HELD + repeated, "{} to {}: {held} bytes", provider.word(), to.word());
            assert!(said > EVENTS * TEXT.len(), "it says what it is told");
            assert_eq!(translator.finish(&mut out), Ending::Cut);
        }
    }
}

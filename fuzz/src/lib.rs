//! Fuzz targets: what reads the bytes of strangers, as plain functions, each with what must be true of the result.
//!
//! A target panics where a promise is broken: the reader itself panicked, two cuts of the same input were read
//! differently, or an independent reader (the oracle) disagrees. `cargo fuzz` drives them by coverage; the tests of this
//! crate run the same functions over the seeds and over mutations of them that follow from a fixed number.
//! Invariant: a target is deterministic and its cost grows with its input, so that any input is a test case.

pub mod addresses;
pub mod answers;
pub mod bodies;
pub mod codings;
pub mod configuration;
pub mod events;
pub mod heads;
pub mod http1;
pub mod keys;
pub mod requests;
pub mod sockets;
pub mod streams;
pub mod translate_answers;
pub mod translate_errors;
pub mod translate_requests;
pub mod translate_seals;
pub mod translate_streams;

use bytes::Bytes;
use tollgate::protocol::Operation;
use tollgate::translate::Protocol;

/// One target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, which is also its folder of seeds and its program under `cargo fuzz`.
    pub name: &'static str,
    /// Reads one input, and panics where a promise is broken.
    pub run: fn(&[u8]),
    /// How many mutations of each seed the tests try: what a second or so takes without optimisation.
    pub mutations: usize,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "addresses", run: addresses::run, mutations: 20 },
    Target { name: "answers", run: answers::run, mutations: 1000 },
    Target { name: "bodies", run: bodies::run, mutations: 2000 },
    Target { name: "codings", run: codings::run, mutations: 1000 },
    Target { name: "configuration", run: configuration::run, mutations: 30 },
    Target { name: "events", run: events::run, mutations: 2000 },
    Target { name: "heads", run: heads::run, mutations: 3000 },
    Target { name: "http1", run: http1::run, mutations: 3000 },
    Target { name: "keys", run: keys::run, mutations: 5000 },
    Target { name: "requests", run: requests::run, mutations: 3000 },
    Target { name: "sockets", run: sockets::run, mutations: 2000 },
    Target { name: "streams", run: streams::run, mutations: 300 },
    Target { name: "translate_answers", run: translate_answers::run, mutations: 300 },
    Target { name: "translate_errors", run: translate_errors::run, mutations: 1000 },
    Target { name: "translate_requests", run: translate_requests::run, mutations: 60 },
    Target { name: "translate_seals", run: translate_seals::run, mutations: 300 },
    Target { name: "translate_streams", run: translate_streams::run, mutations: 200 },
];

/// What has a body that is read here, in a fixed order: the first byte of an input chooses one.
const OPERATIONS: [Operation; 10] = [
    Operation::ChatCompletions,
    Operation::Completions,
    Operation::Responses,
    Operation::Embeddings,
    Operation::Messages,
    Operation::CountTokens,
    Operation::GenerateContent,
    Operation::StreamGenerateContent,
    Operation::GeminiCountTokens,
    Operation::EmbedContent,
];

/// The operation of this number, and the rest of the input.
fn operation(input: &[u8]) -> Option<(Operation, &[u8])> {
    let (first, rest) = input.split_first()?;
    Some((OPERATIONS[usize::from(*first) % OPERATIONS.len()], rest))
}

/// The protocol of this number, and the rest of the input.
fn protocol(input: &[u8]) -> Option<(Protocol, &[u8])> {
    let (first, rest) = input.split_first()?;
    Some((Protocol::ALL[usize::from(*first) % Protocol::ALL.len()], rest))
}

/// The same bytes in pieces of lengths that follow from a number: mostly short ones, now and then an empty one.
fn pieces(bytes: &[u8], seed: u8) -> Vec<Bytes> {
    let (mut left, mut number) = (bytes, u32::from(seed).wrapping_mul(2_654_435_761) | 1);
    let mut pieces = Vec::new();
    while !left.is_empty() {
        number ^= number << 13;
        number ^= number >> 17;
        number ^= number << 5;
        let length = if number % 5 == 0 { number >> 8 & 63 } else { number >> 8 & 3 };
        let (piece, rest) = left.split_at((length as usize).min(left.len()));
        pieces.push(Bytes::copy_from_slice(piece));
        left = rest;
    }
    pieces
}

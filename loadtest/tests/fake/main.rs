//! Tests of the fake provider, driven with raw sockets: what it promises must hold on the wire, not in a client library.
#![expect(clippy::expect_used, clippy::panic, reason = "a helper of a test fails the test it helps")]

mod answers;
mod client;
mod faults;
mod http2;
mod odd;
mod refusals;
mod service;
mod tools;
mod videos;

//! The product as its users meet it: the real gateway on real sockets, before a scripted fake provider.
//!
//! One binary, so that Pingora is linked once. Tests wait for events, never for time; every address is
//! ephemeral and every test has its own gateway and providers, so all of them run in parallel.
#![expect(clippy::expect_used, clippy::panic, reason = "a test's helper fails the test")]

mod support;

mod architecture;
mod docs;
mod heads;
mod process;
mod relay;

//! A fake provider: one server that answers like `OpenAI`, Anthropic and Gemini, strictly, and fails on demand.
//!
//! It exists because a gateway can only be trusted against an upstream that is as strict as the real one, records
//! the bytes that really arrived, and can break in every way the wire allows (reset, half a chunk, garbage). So it
//! speaks HTTP/1.1 on raw sockets, and is used by the gateway's tests, by `tollgate mock` and `tollgate demo`, and as
//! the target of load tests.
//!
//! Invariants: an unfaulted answer depends only on the request and [`Options`], never on time or chance, except for the
//! running number in `x-request-id` and in file ids.
//! Tests wait by event; the only sleeps are the pace of a stream, and the moment a connection with unread bytes lingers so
//! that its last answer is not lost. Everything kept has a bound.
//!
//! A request's way through the files: `http` reads it, `route` says what it is, `strict` and `body` refuse what the
//! real provider would refuse (and, loudly, what a gateway must never let through), `record` keeps it, `script` says
//! whether a fault is due, `openai`, `anthropic` and `gemini` write the answer from a `story`, `deliver` turns answer
//! and fault into steps, and `exchange` walks the steps. `server` is what the users of the fake hold.

mod answers;
mod anthropic;
mod api;
mod body;
mod control;
mod deliver;
mod errors;
mod exchange;
mod faults;
mod files;
mod gemini;
mod http;
mod openai;
mod options;
mod record;
mod reply;
mod route;
mod script;
mod server;
mod story;
mod strict;

pub use faults::{Cut, Fault, UsageNumbers};
pub use http::Framing;
pub use options::Options;
pub use record::{RECORDED_BYTES_MAX, RECORDED_MAX, Recorded};
pub use script::Selector;
pub use server::{Provider, ReservedPort, serve_forever};
pub use story::full_text;

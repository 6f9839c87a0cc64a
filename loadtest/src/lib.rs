//! A fake provider: one server that answers like `OpenAI`, Anthropic and Gemini, strictly, and fails on demand.
//!
//! It exists because a gateway can only be trusted against an upstream that is as strict as the real one, records
//! the bytes that really arrived, and can break in every way the wire allows (reset, half a chunk, garbage). So it
//! speaks HTTP/1.1 on raw sockets, and on the same port HTTP/2 to who begins with its preface; it is used by the gateway's tests, by `tollgate mock` and `tollgate demo`, and as
//! the target of load tests.
//!
//! Invariants: an unfaulted answer depends only on the request and [`Options`], never on time or chance, except for the
//! running number in `x-request-id` and in file ids.
//! Tests wait by event; the only sleeps are the pace of a stream, and the moment a connection with unread bytes lingers so
//! that its last answer is not lost. Everything kept has a bound.
//!
//! A request's way through the files: `connection` accepts it, `http` reads it (`over_http2` where it comes in HTTP/2),
//! `route` says what it is, `strict` and `body` refuse what the real provider would refuse (and, loudly, what a gateway
//! must never let through), `conversation` judges its tools and finds what the user orders of the model, `record` keeps it, `script`
//! says whether a fault is due, `openai`, `anthropic` and `gemini`
//! write the answer from a `story`: all that is `exchange`, one for both protocols. `deliver` turns answer and fault
//! into steps (with `shape` for bodies, `head` and `malformed`), `walk` walks them, and `over_http1` and `over_http2` put
//! them on the wire. A WebSocket goes its own way behind the judgement of its head (`socket`, `realtime`). `server` is what the users of the fake hold.

mod answers;
mod anthropic;
mod api;
mod body;
mod connection;
mod control;
mod conversation;
mod deliver;
mod errors;
mod exchange;
mod faults;
mod files;
mod form;
mod gemini;
mod head;
mod http;
mod jobs;
mod kept;
mod malformed;
mod media;
mod openai;
mod options;
mod over_http1;
mod over_http2;
mod realtime;
mod record;
mod reply;
mod route;
mod script;
mod server;
mod shape;
mod socket;
mod story;
mod strict;
mod videos;
mod walk;

pub use faults::{ABSURD_RETRY_AFTER, Cut, DripFrom, Early, Fault, Malformed, Then, UsageNumbers};
pub use http::Framing;
pub use options::Options;
pub use record::{Counts, Outcome, Protocol, RECORDED_BYTES_MAX, RECORDED_MAX, Recorded, Sent};
pub use script::Selector;
pub use server::{Provider, ReservedPort, serve_forever};
pub use story::full_text;

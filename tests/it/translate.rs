//! Translation between protocols, case by case and as laws.
//!
//! The cases are folders in `tests/fixtures/translate/<protocol>/<case>/`: what a client or a provider of that
//! protocol sends (`request.json`, `response.json`, `stream.sse`, `error.json`), and beside it what becomes of it in
//! each other protocol (`request.anthropic.json` …). The listing is the list of tests; `UPDATE=1` writes what is
//! expected anew, to be read by eye before it is kept.

mod cases;
mod counts;
mod fixture;
mod laws;
mod model;
mod streams;
mod traps;

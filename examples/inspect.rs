//! The codecs as a library: what a request's address and body ask for, and another model in the same bytes.
//!
//! `cargo run --example inspect`. Nothing here needs a runtime, a configuration or a socket.
#![expect(clippy::print_stdout, reason = "an example shows what it did")]

use bytes::Bytes;
use http::Method;
use tollgate::protocol::fields::Fields;
use tollgate::protocol::{entry, inspect, splice};
use tollgate::refusal::Refusal;

fn main() -> Result<(), Refusal> {
    // A slip in the address (`/v1` twice), a nested `model`, spaces and an unknown field.
    let path = "/v1/v1/chat/completions";
    let body = Bytes::from_static(
        br#"{"messages":[{"role":"user","content":"hi"}], "metadata": {"model":"not me"}, "x": 1e3, "model" : "fast" }"#,
    );

    let entry = entry::entry(&Method::POST, path, None, &Fields::default())?;
    println!(
        "{path}: {:?} for {} clients, understood as a {:?}",
        entry.operation,
        entry.dialect.word(),
        entry.fixup
    );

    let asked = inspect::inspect(entry.operation, &body)?;
    println!("model {:?}, stream {}", asked.model, asked.stream);

    // Three slices: what was before, the new name, what was after. Nothing is copied or reformatted.
    if let Some(model) = asked.model {
        let pieces = splice::splice(&body, &[splice::Edit::text(model.at.clone(), "gpt-4.1-mini")]);
        println!("content-length {}", splice::concat_len(&pieces));
        println!("{}", String::from_utf8_lossy(&pieces.concat()));
    }
    Ok(())
}

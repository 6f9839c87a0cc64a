//! A gateway inside your own program: a configuration as text, one exchange through it, and a clean end.
//!
//! `cargo run --example embed`. It needs no network: the provider is the fake one that the tests use.

use std::path::Path;
use std::sync::Arc;
use tollgate::app;
use tollgate::config::{self, TextSource};
use tollgate::telemetry::{Access, Metrics};
use tollgate::world::System;
use tollgate_loadtest::{Options, Provider};

type Failed = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let provider = Provider::start(Options::default()).await?;
    // The same settings as in a file, checked by the same code. Port 0 takes a free one.
    let text = format!(
        r#"
        [server]
        listen = ["127.0.0.1:0"]
        admin = "127.0.0.1:0"

        [[channel]]
        name = "main"
        type = "openai"
        base_url = "{}/v1"
        api_keys = ["sk-the-providers-key"]

        [[key]]
        name = "my-program"
        secret = "{KEY}"
        "#,
        provider.base_url()
    );
    let loaded =
        config::load(Path::new("embedded.toml"), &TextSource(&text)).map_err(|found| found.to_string())?;
    let metrics = Metrics::new("my-program", "unknown")?;
    let gateway = app::start(loaded, None, Access::off(), metrics, Arc::new(System::start())).await?;
    let address = gateway.public[0];

    // `ureq` waits for its answer, so it does so where waiting is allowed.
    let answer = tokio::task::spawn_blocking(move || chat(&format!("http://{address}/v1"))).await??;
    println(&answer);

    // Takes no new connections and waits for what is under way.
    gateway.drain().await;
    Ok(())
}

fn chat(base: &str) -> Result<String, ureq::Error> {
    let body = r#"{"model":"gpt-4.1-mini","messages":[{"role":"user","content":"hi"}]}"#;
    ureq::post(format!("{base}/chat/completions"))
        .header("authorization", format!("Bearer {KEY}"))
        .header("content-type", "application/json")
        .send(body)?
        .body_mut()
        .read_to_string()
}

#[expect(clippy::print_stdout, reason = "an example shows what it did")]
fn println(text: &str) {
    println!("{text}");
}

/// A gateway that others can reach gets one from `tollgate keys new`.
const KEY: &str = "sk-my-program-0123456789abcdef";

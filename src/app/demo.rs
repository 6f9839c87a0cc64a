//! `tollgate demo` and `tollgate mock`: something to try without a file, a network or a provider's key.
//!
//! Invariant: the demo is the real gateway on a real configuration, loaded by the same code; only the
//! provider behind it is the fake one. Everything stays on loopback.

use crate::app::{self, Running};
use crate::config::{self, Loaded, TextSource};
use crate::telemetry::Access;
use crate::world::System;
use http::Response;
use std::io::{self, BufRead as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tollgate_loadtest::{Options, Provider};

/// Starts everything, sends two exchanges through it and shows them; stays up unless `once`.
pub fn demo(once: bool, listen: SocketAddr, admin: SocketAddr) -> Result<(), String> {
    runtime()?.block_on(async {
        let key = new_key()?;
        let pace = Duration::from_millis(40);
        let provider = Provider::start(Options { pace, chunks: CHUNKS, ..Options::default() });
        let provider = provider.await.map_err(|error| format!("cannot start the fake provider: {error}"))?;
        let text = configuration(&key, &provider.base_url(), free(listen), free(admin));
        let running = start(&text).await?;
        let base = format!("http://{}", running.public[0]);
        let shown = {
            let (base, key) = (base.clone(), key.clone());
            tokio::task::spawn_blocking(move || show(&base, &key)).await
        };
        shown.map_err(|error| error.to_string())??;
        say(&invitation(&base, &running.admin.to_string(), &key))?;
        if !once {
            say("\nPress Ctrl-C to stop.")?;
            tokio::signal::ctrl_c().await.map_err(|error| format!("cannot wait for Ctrl-C: {error}"))?;
        }
        tokio::select! {
            _ = running.drain() => Ok(()),
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    })
}

/// The fake provider alone, until it is interrupted.
pub fn mock(listen: SocketAddr, pace: Duration) -> Result<(), String> {
    runtime()?.block_on(async {
        let options = Options { listen, pace, record_bodies: false, ..Options::default() };
        let provider =
            Provider::start(options).await.map_err(|error| format!("cannot listen on {listen}: {error}"))?;
        let url = provider.base_url();
        say(&format!(
            "fake provider: {url}\n  OpenAI     {url}/v1\n  Anthropic  {url}\n  Gemini     {url}/v1beta\n\
             any key is accepted; POST {url}/__fake/script scripts faults"
        ))?;
        tokio::select! {
            () = provider.run() => Ok(()),
            ended = tokio::signal::ctrl_c() => ended.map_err(|error| error.to_string()),
        }
    })
}

/// Threads for a command of its own.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let built = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    built.map_err(|error| format!("cannot start the threads: {error}"))
}

async fn start(text: &str) -> Result<Running, String> {
    let loaded: Loaded = config::load(Path::new("demo.toml"), &TextSource(text))
        .map_err(|problems| format!("the demo's configuration has problems:\n{problems}"))?;
    let metrics = app::run::metrics()?;
    let world = Arc::new(System::start());
    app::start(loaded, None, Access::off(), metrics, world).await.map_err(|error| error.to_string())
}

/// The address, or a free port where somebody else has it.
fn free(wanted: SocketAddr) -> SocketAddr {
    let taken =
        std::net::TcpListener::bind(wanted).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse);
    if taken { SocketAddr::new(wanted.ip(), 0) } else { wanted }
}

fn new_key() -> Result<String, String> {
    let mut random = [0u8; 8];
    getrandom::fill(&mut random).map_err(|error| format!("the system gives no randomness: {error}"))?;
    Ok(format!("sk-demo-{:016x}", u64::from_le_bytes(random)))
}

fn configuration(key: &str, provider: &str, listen: SocketAddr, admin: SocketAddr) -> String {
    format!(
        r#"[server]
listen = ["{listen}"]
admin = "{admin}"

[[channel]]
name = "fake-openai"
type = "openai"
base_url = "{provider}/v1"
api_keys = ["sk-fake-provider-openai"]
models = ["gpt-4.1-mini", "deepseek-chat"]

[[channel]]
name = "fake-anthropic"
type = "anthropic"
base_url = "{provider}"
api_keys = ["sk-fake-provider-anthropic"]
models = ["claude-haiku-4-5"]

[[profile]]
name = "economy"
mappings = [{{ from = "claude-sonnet-4-5", to = "claude-haiku-4-5" }}]

[[key]]
name = "demo"
secret = "{key}"
profiles = ["economy"]
active_profile = "economy"
limits = {{ rpm = 600, concurrency = 32 }}
"#
    )
}

/// Sends a streamed chat and a Claude-style message through the gateway and prints what comes back.
fn show(base: &str, key: &str) -> Result<(), String> {
    say("1. A streamed OpenAI chat (gpt-4.1-mini):\n")?;
    let body = r#"{"model":"gpt-4.1-mini","stream":true,"messages":[{"role":"user","content":"Say hello"}]}"#;
    let answer =
        post(&format!("{base}/v1/chat/completions"), ("authorization", &format!("Bearer {key}")), body)?;
    let id = header(&answer, "x-request-id");
    for line in io::BufReader::new(answer.into_body().into_reader()).lines() {
        let line = line.map_err(|error| format!("the stream broke off: {error}"))?;
        let event: serde_json::Value =
            line.strip_prefix("data: ").and_then(|data| serde_json::from_str(data).ok()).unwrap_or_default();
        if let Some(text) = event["choices"][0]["delta"]["content"].as_str() {
            write_out(text)?;
        }
    }
    say(&format!("\n   ({id})\n"))?;
    say(
        "2. A Claude-style message (claude-sonnet-4-5, which the key's profile maps to claude-haiku-4-5):\n",
    )?;
    let body = r#"{"model":"claude-sonnet-4-5","max_tokens":256,"messages":[{"role":"user","content":"Say hello"}]}"#;
    let mut answer = post(&format!("{base}/v1/messages"), ("x-api-key", key), body)?;
    let id = header(&answer, "request-id");
    let text =
        answer.body_mut().read_to_string().map_err(|error| format!("the answer broke off: {error}"))?;
    let message: serde_json::Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let said = message["content"][0]["text"].as_str().unwrap_or_default();
    let usage = &message["usage"];
    say(&format!(
        "{said}\n   ({id}; shown as {}, {} tokens in, {} out)\n",
        message["model"], usage["input_tokens"], usage["output_tokens"]
    ))
}

fn post(url: &str, auth: (&str, &str), body: &str) -> Result<Response<ureq::Body>, String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(30)))
        .proxy(None)
        .build()
        .into();
    let request = agent.post(url).header(auth.0, auth.1).header("content-type", "application/json");
    let request =
        if auth.0 == "x-api-key" { request.header("anthropic-version", "2023-06-01") } else { request };
    let mut answer = request.send(body).map_err(|error| format!("{url}: {error}"))?;
    if answer.status().is_success() {
        return Ok(answer);
    }
    let said = answer.body_mut().read_to_string().unwrap_or_default();
    Err(format!("{url} answered {}: {said}", answer.status()))
}

fn header(answer: &Response<ureq::Body>, name: &str) -> String {
    answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("no id").to_owned()
}

fn invitation(base: &str, admin: &str, key: &str) -> String {
    format!(
        r#"Your turn. The key is {key}

  curl {base}/v1/chat/completions -H "Authorization: Bearer {key}" -H "content-type: application/json" \
    -d '{{"model":"gpt-4.1-mini","stream":true,"messages":[{{"role":"user","content":"hi"}}]}}'

  curl {base}/v1/messages -H "x-api-key: {key}" -H "anthropic-version: 2023-06-01" -H "content-type: application/json" \
    -d '{{"model":"claude-sonnet-4-5","max_tokens":64,"messages":[{{"role":"user","content":"hi"}}]}}'

  ANTHROPIC_BASE_URL={base} ANTHROPIC_AUTH_TOKEN={key} claude

  status   http://{admin}/
  metrics  http://{admin}/metrics"#
    )
}

fn say(text: &str) -> Result<(), String> {
    write_out(&format!("{text}\n"))
}

fn write_out(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| format!("cannot write: {error}"))
}

/// Long enough to see that it streams.
const CHUNKS: usize = 12;

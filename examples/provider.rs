//! A provider that costs next to nothing, for `loadtest/run`: it throws bodies away and answers with a kibibyte, or with a
//! stream of so many events, each of them a chunk and a write of its own.
//!
//! `cargo run --release --example provider -- 127.0.0.1:0 [EVENTS [WAIT_MS [PACE_MS]]]` says its address and serves until it is
//! killed. `WAIT_MS` pass before each answer, `PACE_MS` before each event. The fake provider of the tests reads and checks every
//! byte, which takes more time than forwarding it.

use memchr::memmem;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What is answered.
struct Story {
    whole: Vec<u8>,
    events: usize,
    wait: Duration,
    pace: Duration,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let mut words = std::env::args().skip(1);
    let listener = TcpListener::bind(words.next().unwrap_or_else(|| "127.0.0.1:0".to_owned())).await?;
    let events = words.next().and_then(|word| word.parse().ok()).unwrap_or(100);
    let mut pause = || Duration::from_millis(words.next().and_then(|word| word.parse().ok()).unwrap_or(0));
    let (wait, pace) = (pause(), pause());
    writeln!(io::stdout(), "listen={}", listener.local_addr()?)?;
    let story = Arc::new(Story { whole: whole(), events, wait, pace });
    loop {
        let (client, _) = listener.accept().await?;
        client.set_nodelay(true)?;
        let story = Arc::clone(&story);
        tokio::spawn(async move { serve(client, &story).await });
    }
}

/// A client that leaves is no error of ours.
async fn serve(mut client: TcpStream, story: &Story) -> io::Result<()> {
    let mut held = Vec::with_capacity(64 << 10);
    let mut block = vec![0; 256 << 10];
    while let Some(mut left) = head(&mut client, &mut held).await? {
        let taken = left.min(held.len());
        let mut streams = memmem::find(&held[..taken], STREAM).is_some();
        held.drain(..taken);
        left -= taken;
        while left > 0 {
            let most = left.min(block.len());
            let read = client.read(&mut block[..most]).await?;
            if read == 0 {
                return Ok(());
            }
            streams |= left < MARKED_BYTES_MAX && memmem::find(&block[..read], STREAM).is_some();
            left -= read;
        }
        if !story.wait.is_zero() {
            tokio::time::sleep(story.wait).await;
        }
        if streams { say(&mut client, story).await? } else { client.write_all(&story.whole).await? }
    }
    Ok(())
}

/// The length of the next request's body; `None`: there is no next.
async fn head(client: &mut TcpStream, held: &mut Vec<u8>) -> io::Result<Option<usize>> {
    loop {
        if let Some(end) = memmem::find(held, b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&held[..end]).to_ascii_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
            held.drain(..end + 4);
            return Ok(Some(length));
        }
        if client.read_buf(held).await? == 0 {
            return Ok(None);
        }
    }
}

async fn say(client: &mut TcpStream, story: &Story) -> io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    client.write_all(head.as_bytes()).await?;
    let chunk = |event: &str| format!("{:x}\r\n{event}\r\n", event.len());
    let delta = chunk(DELTA);
    for _ in 0..story.events {
        if !story.pace.is_zero() {
            tokio::time::sleep(story.pace).await;
        }
        client.write_all(delta.as_bytes()).await?;
        // Others get their turn, so that what follows is a packet of its own.
        tokio::task::yield_now().await;
    }
    let last = chunk(LAST) + &chunk("data: [DONE]\n\n") + "0\r\n\r\n";
    client.write_all(last.as_bytes()).await
}

/// Head and body of an answer whose body has a kibibyte.
fn whole() -> Vec<u8> {
    let frame = |text: &str| {
        format!(
            r#"{{"id":"chatcmpl-1","object":"chat.completion","created":1760000000,"model":"gpt-4.1-2025-04-14","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":150,"completion_tokens":200,"total_tokens":350,"prompt_tokens_details":{{"cached_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":0}}}}}}"#
        )
    };
    let body = frame(&"x".repeat(1024 - frame("").len()));
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_1\r\nopenai-processing-ms: 1\r\n\
         openai-version: 2020-10-01\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    (head + &body).into_bytes()
}

/// Only small requests ask for streams here.
const MARKED_BYTES_MAX: usize = 16 << 10;
const STREAM: &[u8] = b"\"stream\":true";
const DELTA: &str = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1760000000,\"model\":\"gpt-4.1-2025-04-14\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" hello\"},\"finish_reason\":null}]}\n\n";
const LAST: &str = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1760000000,\"model\":\"gpt-4.1-2025-04-14\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":150,\"completion_tokens\":100,\"total_tokens\":250}}\n\n";

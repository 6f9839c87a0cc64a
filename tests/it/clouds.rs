//! Models at clouds: who asks is proved, the protocol is the model's own.
//!
//! No real cloud was asked: the fronts here take what the clouds' documents and Anthropic's own clients for them say, and
//! nothing else; behind them is the fake provider.

mod bedrock;
mod vertex;

use crate::support::KEY;
use crate::support::client::{self, Answer};
use std::net::SocketAddr;

/// The body of a request as Claude Code sends it, but for its length.
fn claude_codes(model: &str, stream: bool) -> String {
    format!(
        "{{\"model\":\"{model}\",\"messages\":[{{\"role\":\"user\",\"content\":[{{\"type\":\"text\",\"text\":\"hi \\u00e9\",\
         \"cache_control\":{{\"type\":\"ephemeral\"}}}}]}}],\"system\":[{{\"type\":\"text\",\"text\":\"You are\"}}],\
         \"tools\":[{{\"name\":\"Bash\",\"input_schema\":{{\"type\":\"object\",\"properties\":{{\"model\":{{\"type\":\"string\"}}}}}}}}],\
         \"metadata\":{{\"user_id\":\"user_1_account__session_1\"}},\"max_tokens\":32000,\"temperature\":1,\"stream\":{stream}}}"
    )
}

const BETAS: &str = "claude-code-20250219,interleaved-thinking-2025-05-14";

/// Claude Code's request, with its headers.
async fn claude_code(gateway: SocketAddr, model: &str, stream: bool) -> Answer {
    let headers = [
        ("authorization", &*format!("Bearer {KEY}")),
        ("content-type", "application/json"),
        ("anthropic-version", "2023-06-01"),
        ("anthropic-beta", BETAS),
        ("anthropic-dangerous-direct-browser-access", "true"),
        ("x-app", "cli"),
        ("user-agent", "claude-cli/2.0.0 (external, cli)"),
    ];
    client::post(gateway, "/v1/messages?beta=true", &headers, claude_codes(model, stream).as_bytes()).await
}

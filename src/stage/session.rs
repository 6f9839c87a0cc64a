//! Which session of the client's tool a request belongs to, so that its exchanges can be read together.
//!
//! Invariant: only what the configuration looks for counts; what is found is bounded where it is recorded.

use crate::config::snapshot::{Tool, Trace};
use crate::protocol::inspect::Sessions;
use http::HeaderMap;

/// The session id, by the operator's headers first, then by the tools that are switched on.
pub fn find(trace: &Trace, headers: &HeaderMap, body: &Sessions) -> Option<String> {
    let header = |name: &str| {
        let value = headers.get(name)?.to_str().ok()?.trim();
        (!value.is_empty()).then(|| value.to_owned())
    };
    let configured = trace.headers.iter().find_map(|name| header(name));
    let claude = || {
        trace
            .tools
            .contains(&Tool::ClaudeCode)
            .then(|| header("x-claude-code-session-id").or_else(|| body.claude_code.clone()))
    };
    let codex = || {
        trace.tools.contains(&Tool::Codex).then(|| {
            header("session-id").or_else(|| header("session_id")).or_else(|| body.prompt_cache_key.clone())
        })
    };
    configured.or_else(|| claude().flatten()).or_else(|| codex().flatten())
}

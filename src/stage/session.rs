//! Which session of the client's tool a request belongs to, so that its exchanges can be read together and find
//! the same prompt cache.
//!
//! Invariant: only what the configuration looks for counts; an id is bounded and printable, or it is not there.

use crate::config::snapshot::{Tool, Trace};
use crate::protocol::fields::Fields;
use crate::protocol::inspect::{self, Sessions, Turn};

/// The session id, by the operator's headers first, then by the tools that are switched on.
pub fn find(trace: &Trace, headers: &Fields, body: &Sessions) -> Option<String> {
    let configured = trace.headers.iter().map(String::as_str);
    first(headers, configured).or_else(|| trace.tools.iter().find_map(|tool| of_tool(*tool, headers, body)))
}

fn of_tool(tool: Tool, headers: &Fields, body: &Sessions) -> Option<String> {
    match tool {
        Tool::ClaudeCode => first(headers, CLAUDE_CODE).or_else(|| body.claude_code.clone()),
        Tool::Codex => codex(headers, body),
        Tool::Opencode => first(headers, OPENCODE),
    }
}

/// A session has threads (its subagents'): a thread's id counts only where no session is named.
fn codex(headers: &Fields, body: &Sessions) -> Option<String> {
    let turn = || {
        let metadata = headers.text("x-codex-turn-metadata")?;
        inspect::codex_turn(metadata)
    };
    first(headers, CODEX).or_else(|| {
        let Turn { session, thread } = turn().unwrap_or_default();
        session.or_else(|| first(headers, ["thread-id"])).or(thread).or_else(|| body.prompt_cache_key.clone())
    })
}

/// The first of these headers that holds an id.
fn first<'a>(headers: &Fields, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    names.into_iter().find_map(|name| inspect::session_id(headers.text(name)?))
}

const CLAUDE_CODE: [&str; 1] = ["x-claude-code-session-id"];
const CODEX: [&str; 2] = ["session-id", "session_id"];
/// The last is what it sends to providers of its own family.
const OPENCODE: [&str; 3] = ["x-session-id", "x-session-affinity", "x-opencode-session"];

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> Fields {
        Fields::of(pairs)
    }

    fn trace(tools: &[Tool]) -> Trace {
        Trace { tools: tools.to_vec(), sticky: true, headers: vec!["x-own".to_owned(), "x-other".to_owned()] }
    }

    const ALL: [Tool; 3] = [Tool::ClaudeCode, Tool::Codex, Tool::Opencode];

    #[test]
    fn each_tool_counts_only_where_it_is_switched_on_and_the_operators_headers_always() {
        let body = Sessions { claude_code: Some("b1".to_owned()), prompt_cache_key: Some("b2".to_owned()) };
        let none = Sessions::default();
        let turn = r#"{"request_kind":"turn","session_id":"s","thread_id":"t","workspaces":{"/a":{}}}"#;
        let thread = r#"{"thread_id":"t","turn_id":"u"}"#;
        let long = "x".repeat(200);
        for (tools, sent, body, found) in [
            (&ALL[..], &[("x-own", "o"), ("x-claude-code-session-id", "c")][..], &body, Some("o")),
            (&[], &[("x-other", "o")], &body, Some("o")),
            (
                &[],
                &[("x-claude-code-session-id", "c"), ("session-id", "s"), ("x-session-id", "x")],
                &body,
                None,
            ),
            (&ALL[..1], &[("x-claude-code-session-id", "c")], &body, Some("c")),
            (&ALL[..1], &[("session-id", "s")], &body, Some("b1")),
            (&ALL[..1], &[("session-id", "s"), ("x-session-id", "x")], &none, None),
            (&ALL[1..2], &[("session-id", "s"), ("thread-id", "t")], &body, Some("s")),
            (&ALL[1..2], &[("session_id", "s"), ("thread-id", "t")], &body, Some("s")),
            (&ALL[1..2], &[("x-codex-turn-metadata", turn), ("thread-id", "h")], &body, Some("s")),
            (&ALL[1..2], &[("x-codex-turn-metadata", thread), ("thread-id", "h")], &body, Some("h")),
            (&ALL[1..2], &[("x-codex-turn-metadata", thread)], &body, Some("t")),
            (&ALL[1..2], &[("x-codex-turn-metadata", "{no json")], &body, Some("b2")),
            (&ALL[1..2], &[("x-codex-turn-metadata", r#"{"session_id":7}"#)], &none, None),
            (&ALL[2..], &[("x-session-id", "x"), ("x-session-affinity", "y")], &body, Some("x")),
            (&ALL[2..], &[("x-session-affinity", "y")], &body, Some("y")),
            (&ALL[2..], &[("x-opencode-session", "z")], &body, Some("z")),
            (&ALL[2..], &[("x-session-id", " "), ("x-session-affinity", &long)], &body, None),
        ] {
            assert_eq!(find(&trace(tools), &headers(sent), body).as_deref(), found, "{tools:?} {sent:?}");
        }
    }
}

//! The token of `claude setup-token`: to its own address only, and with nothing made up.

use super::said;
use crate::support::KEY;
use crate::support::decide::Decides;
use bytes::Bytes;
use http::Method;
use std::collections::BTreeMap;
use tollgate::protocol::entry;
use tollgate::protocol::fields::Fields;
use tollgate::stage::rewrite::{Original, rewrite};

#[test]
fn the_token_of_claude_code_goes_to_its_own_address_and_nowhere_else() {
    let warned = said("type = \"claude-code\"\nbase_url = \"https://proxy.example/v1\"").expect("it loads");
    assert!(warned.contains("channel.c.base_url: is not used"), "{warned}");
    let decides = claude_code("base_url = \"https://proxy.example/v1\"");
    let channel = &decides.live.snapshot.channels[0];
    assert_eq!(channel.endpoint.base_url(), "https://api.anthropic.com");
    assert!(channel.serves("claude-opus-5-5") && channel.serves("claude-haiku-5-5"));
    assert!(!channel.serves("gpt-4.1"));
    assert!(claude_code("models = [\"x\"]").live.snapshot.channels[0].serves("x"));
}

fn claude_code(more: &str) -> Decides {
    Decides::new(&format!(
        "[[channel]]\nname = \"max\"\ntype = \"claude-code\"\napi_keys = [\"sk-ant-oat01-0123456789\"]\nmodel_map = {{ m = \"claude-opus-5-5\" }}\n{more}\n"
    ))
}

#[test]
fn a_request_with_the_token_of_claude_code_is_the_clients_own_but_for_the_credential_and_one_beta() {
    let decides = claude_code("models = [\"m\"]");
    let attempt = decides.attempt(None);
    let body =
        Bytes::from_static(br#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#);
    for (betas, sent) in [
        (&[][..], "oauth-2025-04-20"),
        (&["claude-code-20250219"], "claude-code-20250219,oauth-2025-04-20"),
        (&["a, b", "c"], "a,b,c,oauth-2025-04-20"),
        (&["oauth-2025-04-20,a"], "oauth-2025-04-20,a"),
    ] {
        let mut headers = Fields::of(&[
            ("x-api-key", KEY),
            ("anthropic-version", "2023-06-01"),
            ("user-agent", "curl/8"),
            ("x-app", "cli"),
        ]);
        for beta in betas {
            headers.append("anthropic-beta", beta);
        }
        let entry =
            entry::entry(&Method::POST, "/v1/messages", Some("beta=true"), &headers).expect("an address");
        let original = Original {
            method: &Method::POST,
            entry: &entry,
            headers: &headers,
            body: &body,
            model: None,
            stripped: &[],
            capped: &[],
            ask_usage: None,
            task: None,
            requested: "m",
            stream: false,
        };
        let outgoing = rewrite(&original, &attempt);
        assert_eq!(outgoing.target, "/v1/messages?beta=true");
        assert_eq!(outgoing.body.concat(), body);
        let length = body.len().to_string();
        let expected = BTreeMap::from([
            ("accept-encoding", "identity"),
            ("anthropic-beta", sent),
            ("anthropic-version", "2023-06-01"),
            ("authorization", "Bearer sk-ant-oat01-0123456789"),
            ("content-length", &length),
            ("host", "api.anthropic.com"),
            ("user-agent", "curl/8"),
            ("x-app", "cli"),
        ]);
        let found: BTreeMap<&str, &str> = outgoing
            .headers
            .iter()
            .map(|(name, value)| {
                (str::from_utf8(name).expect("ASCII"), str::from_utf8(value).expect("ASCII"))
            })
            .collect();
        assert_eq!(found, expected, "{betas:?}");
        assert_eq!(outgoing.headers.len(), expected.len(), "{betas:?}");
    }
}

//! Requests of one protocol as those of the others: refused or valid JSON that the other side can read again, and the same
//! bytes each time.

use serde::de::IgnoredAny;
use tollgate::translate::{self, Asked, Protocol, Target};

/// The first byte chooses the client's protocol.
///
/// # Panics
///
/// Where a promise is broken.
pub fn run(input: &[u8]) {
    let Some((source, body)) = crate::protocol(input) else { return };
    let asked = Asked { model: "gemini-2.5-pro", stream: body.len() % 2 == 0 };
    let Ok(request) = translate::request(source, body, &asked) else { return };
    for protocol in Protocol::ALL {
        for model in ["gpt-5.1", "claude-sonnet-4-5", "claude-opus-4-8", "gemini-2.5-pro", "gemini-3-pro"] {
            let target =
                Target { protocol, model, stream: request.stream, max_tokens: None, include_usage: true };
            match translate::outgoing(&request, &target, "0a1b") {
                Ok(outgoing) => {
                    let written = String::from_utf8_lossy(&outgoing.body);
                    assert!(serde_json::from_str::<IgnoredAny>(&written).is_ok(), "{written}");
                    assert!(!written.contains('\n'), "{written}");
                    assert!(translate::request(protocol, &outgoing.body, &asked).is_ok(), "{written}");
                    let again = translate::outgoing(&request, &target, "0a1b").map(|again| again.body);
                    assert_eq!(again.ok(), Some(outgoing.body), "the same request gives the same bytes");
                }
                Err(refusal) => assert!(refusal.param.is_some(), "{}", refusal.message),
            }
            if let Some(Ok((body, _))) = translate::count_request(&request, &target) {
                assert!(serde_json::from_slice::<IgnoredAny>(&body).is_ok());
            }
        }
    }
}

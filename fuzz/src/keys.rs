//! Keys in every place of a head: only well-formed ones that were really sent, and never repeated in what is said.

use crate::heads;
use tollgate::protocol::fields::Named;
use tollgate::protocol::key_forms::{self, Presented};

/// Lines of a head, as they stand in a request.
///
/// # Panics
///
/// Where a promise is broken.
pub fn run(input: &[u8]) {
    let headers = heads::headers(input);
    let query = headers.text("x-fuzz-query");
    let mut keys = Vec::new();
    let presented = key_forms::presented(&headers, query, |key| {
        keys.push(key.to_owned());
        None::<()>
    });
    match presented {
        Presented::Known(()) => unreachable!("nobody knows any"),
        Presented::Unknown => {
            assert!(!keys.is_empty() && keys.len() <= 8);
            let sent = String::from_utf8_lossy(input);
            for key in &keys {
                assert!(key.starts_with("sk-") && key.len() > 3 && key.len() <= 512, "{key}");
                assert!(key.bytes().all(|byte| byte.is_ascii_graphic()) && sent.contains(key), "{key}");
            }
        }
        Presented::Malformed(words) => assert!(!words.is_empty()),
        Presented::Missing => {
            assert!(!headers.has("authorization") && !headers.has("x-api-key"));
        }
    }
    for name in key_forms::CREDENTIAL_HEADERS {
        assert!(key_forms::is_stripped(Named::of(name.as_bytes())), "{name} goes to a provider");
    }
    assert!(key_forms::nominated(&headers).len() <= 32);
}

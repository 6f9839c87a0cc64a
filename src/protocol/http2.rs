//! An HTTP/2 request's head as the library hands it over, held against the rules that HTTP/1.1 heads are held against
//! byte by byte ([`http1::request`](super::http1::request)).
//!
//! The library refuses what is malformed (pseudo-headers, connection-specific headers, bytes that no name or value has);
//! this is the rest. Invariant: what one protocol refuses the other does not let pass.

use super::http1::request::{HEADERS_MAX, NAME_BYTES_MAX, TARGET_BYTES_MAX, VALUE_BYTES_MAX, is_disguised};
use crate::code::Code;
use crate::protocol::fields::Fields;
use crate::refusal::Refusal;
use http::Uri;

/// Whether the head may be made something of.
pub fn check(uri: &Uri, headers: &Fields) -> Result<(), Refusal> {
    if uri.path().len() + uri.query().map_or(0, str::len) >= TARGET_BYTES_MAX {
        let message = format!("The address is over the limit of {TARGET_BYTES_MAX} bytes.");
        return Err(Refusal::new(Code::UriTooLong, message));
    }
    let is_long =
        headers.iter().any(|(name, value)| name.len() > NAME_BYTES_MAX || value.len() > VALUE_BYTES_MAX);
    if headers.len() > HEADERS_MAX || is_long {
        let message = format!(
            "The request has more than {HEADERS_MAX} headers, or one that is over the limit of {VALUE_BYTES_MAX} bytes."
        );
        return Err(Refusal::new(Code::HeaderTooLarge, message));
    }
    if headers.iter().any(|(name, _)| is_disguised(name)) {
        let message = "A header's name has '_' where its real name has '-'. Some programs take the one for the other, so it is refused.";
        return Err(Refusal::new(Code::InvalidRequest, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_of_the_other_protocol() {
        let checked = |path: usize, count: usize, value: usize, name: &'static str| {
            let uri: Uri = format!("http://a/{}", "p".repeat(path - 1)).parse().expect("a target");
            let mut headers = Fields::default();
            for _ in 0..count {
                headers.append(name, "v".repeat(value));
            }
            check(&uri, &headers).map_err(|refusal| refusal.code)
        };
        assert_eq!(checked(TARGET_BYTES_MAX - 1, HEADERS_MAX, 1, "session_id"), Ok(()));
        assert_eq!(checked(1, 1, VALUE_BYTES_MAX, "a"), Ok(()));
        assert_eq!(checked(TARGET_BYTES_MAX + 1, 0, 0, "a"), Err(Code::UriTooLong));
        assert_eq!(checked(1, HEADERS_MAX + 1, 1, "a"), Err(Code::HeaderTooLarge));
        assert_eq!(checked(1, 1, VALUE_BYTES_MAX + 1, "a"), Err(Code::HeaderTooLarge));
        assert_eq!(checked(1, 1, 1, "content_length"), Err(Code::InvalidRequest));
    }
}

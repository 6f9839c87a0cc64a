//! What a provider's error status means here, and what of its text may go into our log.

use crate::cloud::aws::events;
use crate::failure::{FailureKind, Sent};
use crate::protocol::fields::Fields;
use crate::protocol::observe::Fault;
use crate::protocol::{Dialect, observe};
use crate::secret::Secret;
use bytes::{Bytes, BytesMut};
use serde_json::json;

/// The failure behind a status of 300 or more; `None`: it is about the request itself, the client's to see.
/// `mapped`: the name the model was sent under, where that is another than it was asked for.
pub fn failure_kind(dialect: Dialect, status: u16, body: &[u8], mapped: Option<&str>) -> Option<FailureKind> {
    if let Some(fault) = observe::operator_fault(dialect, status, body, mapped) {
        return Some(match fault {
            Fault::Credential => FailureKind::Unauthorized,
            Fault::Unpaid => FailureKind::Unpaid,
            Fault::Model => FailureKind::ModelRefused,
            Fault::Request => FailureKind::Unaffordable,
            Fault::Place => FailureKind::Refused,
        });
    }
    match status {
        401 => Some(FailureKind::Unauthorized),
        403 => Some(FailureKind::Forbidden),
        429 => Some(FailureKind::RateLimited),
        503 | 529 => Some(FailureKind::Overloaded),
        // A timeout on the provider's side is its trouble, and a redirect is never followed.
        408 | 300..=399 | 500.. => Some(FailureKind::ServerError),
        _ => None,
    }
}

/// AWS's word for what went wrong, which stands in a header of its own and in nobody else's; those that are not told apart
/// here are one.
pub fn exception(headers: &Fields) -> Option<&'static str> {
    let said = headers.text("x-amzn-errortype")?;
    // A namespace may follow it.
    let said = said.split(':').next().unwrap_or_default();
    let known = EXCEPTIONS.iter().copied().find(|known| known.eq_ignore_ascii_case(said));
    Some(known.unwrap_or("Exception"))
}

const EXCEPTIONS: [&str; 12] = [
    "AccessDeniedException",
    "ExpiredTokenException",
    "IncompleteSignatureException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "ModelErrorException",
    "ModelTimeoutException",
    "ResourceNotFoundException",
    "ServiceQuotaExceededException",
    "ThrottlingException",
    "UnrecognizedClientException",
    "ValidationException",
];

/// The failure behind an exception of AWS's; `None`: it is about the request itself. As listed at
/// <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html#API_runtime_InvokeModel_Errors> and
/// <https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html>.
pub fn aws_failure_kind(exception: &str, status: u16, body: &[u8]) -> Option<FailureKind> {
    let says = |words: &str| memchr::memmem::find(body, words.as_bytes()).is_some();
    match exception {
        "ExpiredTokenException"
        | "IncompleteSignatureException"
        | "InvalidSignatureException"
        | "MissingAuthenticationTokenException"
        | "UnrecognizedClientException" => Some(FailureKind::Unauthorized),
        "ModelErrorException" | "ModelTimeoutException" => Some(FailureKind::ServerError),
        "ResourceNotFoundException" => Some(FailureKind::ModelRefused),
        "ServiceQuotaExceededException" | "ThrottlingException" => Some(FailureKind::RateLimited),
        // Nothing in these words is the client's.
        "ValidationException" if says(r#""message":"The provided model identifier is invalid"#) => {
            Some(FailureKind::ModelRefused)
        }
        "ValidationException" if says(r#""message":"Invocation of model ID "#) => {
            Some(FailureKind::ModelRefused)
        }
        _ => match status {
            424 => Some(FailureKind::ServerError),
            _ => failure_kind(Dialect::Anthropic, status, body, None),
        },
    }
}

/// An exception of AWS's as Anthropic's clients read it.
pub fn in_anthropics_words(exception: &str, body: &[u8], secrets: &[Secret]) -> Bytes {
    let said: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let message = said["message"].as_str().or(said["Message"].as_str());
    let message = message.map_or_else(|| detail(body, secrets), str::to_owned);
    let kind = events::kind(exception);
    json!({ "type": "error", "error": { "type": kind, "message": message } }).to_string().into()
}

/// The failure behind a stream whose first event is an error: what the same error would have been as a status.
pub fn stream_failure_kind(dialect: Dialect, event: &[u8], mapped: Option<&str>) -> FailureKind {
    let implied = observe::implied_status(event);
    match failure_kind(dialect, implied.unwrap_or(400), event, mapped) {
        None if implied.is_some() => FailureKind::StreamRefused,
        None | Some(FailureKind::ServerError) => FailureKind::StreamError,
        Some(kind) => kind,
    }
}

/// Whether a provider that answers so can have begun: a refusal has not, a breakdown may have.
pub fn progress(kind: FailureKind) -> Sent {
    if matches!(kind, FailureKind::ServerError | FailureKind::StreamError) {
        Sent::MaybeBegun
    } else {
        Sent::NotBegun
    }
}

/// Takes our secrets out of an error that is the client's to see, where a provider repeats what it was
/// given. The length stays, since it was declared; every other byte too.
pub fn mask(held: &mut Vec<Bytes>, secrets: &[Secret]) {
    let mut body = BytesMut::from(held.concat().as_slice());
    let mut is_masked = false;
    for secret in secrets.iter().map(|secret| secret.expose().as_bytes()).filter(|it| !it.is_empty()) {
        let found: Vec<usize> = memchr::memmem::find_iter(&body, secret).collect();
        is_masked |= !found.is_empty();
        for at in found {
            body[at..at + secret.len()].fill(b'*');
        }
    }
    if is_masked {
        *held = vec![body.freeze()];
    }
}

/// The provider's words for the operator's log: bounded, our secrets taken out.
pub fn detail(body: &[u8], secrets: &[Secret]) -> String {
    excerpt(body, DETAIL_BYTES_MAX, secrets)
}

/// The same of so many bytes, and of what it takes to know a secret that crosses the cut for what it is.
pub fn excerpt(body: &[u8], bytes_max: usize, secrets: &[Secret]) -> String {
    let secrets = || secrets.iter().map(Secret::expose).filter(|secret| !secret.is_empty());
    let mut end = body.len().min(bytes_max);
    while let Some(later) = secrets().find_map(|secret| crossing(body, end, secret.as_bytes())) {
        end = later;
    }
    let said = String::from_utf8_lossy(&body[..end]).into_owned();
    secrets().fold(said, |said, secret| said.replace(secret, "…"))
}

/// Where a secret ends that begins before this place and ends behind it.
fn crossing(body: &[u8], at: usize, secret: &[u8]) -> Option<usize> {
    let from = (at + 1).saturating_sub(secret.len());
    let to = (at + secret.len() - 1).min(body.len());
    let found = memchr::memmem::find(body.get(from..to)?, secret)?;
    Some(from + found + secret.len())
}

/// A provider's words as text, bounded.
pub fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(DETAIL_BYTES_MAX)]).into_owned()
}

const DETAIL_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_the_clients_the_channels_or_the_operators() {
        for (status, body, kind) in [
            (400, "{}", None),
            (404, "{}", None),
            (413, "", None),
            (422, "", None),
            (302, "", Some(FailureKind::ServerError)),
            (401, "", Some(FailureKind::Unauthorized)),
            (402, "", Some(FailureKind::Unpaid)),
            (404, r#"{"error":{"code":"DeploymentNotFound"}}"#, Some(FailureKind::ModelRefused)),
            (
                402,
                r#"{"error":{"message":"More credits are required to run this request."}}"#,
                Some(FailureKind::Unaffordable),
            ),
            (400, r#"{"error":{"message":"User location is not supported"}}"#, Some(FailureKind::Refused)),
            (403, "", Some(FailureKind::Forbidden)),
            (429, "{}", Some(FailureKind::RateLimited)),
            (429, r#"{"error":{"code":"insufficient_quota"}}"#, Some(FailureKind::Unpaid)),
            (500, "", Some(FailureKind::ServerError)),
            (503, "", Some(FailureKind::Overloaded)),
            (529, "", Some(FailureKind::Overloaded)),
        ] {
            assert_eq!(failure_kind(Dialect::OpenAi, status, body.as_bytes(), None), kind, "{status} {body}");
        }
    }

    #[test]
    fn an_error_inside_a_stream_means_what_it_would_have_meant_before() {
        for (dialect, event, kind) in [
            (Dialect::OpenAi, r#"{"error":{"message":"x","code":429}}"#, FailureKind::RateLimited),
            (Dialect::OpenAi, r#"{"error":{"message":"x","code":"400"}}"#, FailureKind::StreamRefused),
            (
                Dialect::OpenAi,
                r#"{"error":{"type":"invalid_request_error","code":"context_length_exceeded"}}"#,
                FailureKind::StreamRefused,
            ),
            (Dialect::OpenAi, r#"{"error":{"code":"insufficient_quota"}}"#, FailureKind::Unpaid),
            (Dialect::OpenAi, r#"{"error":{"message":"busy"}}"#, FailureKind::StreamError),
            (Dialect::OpenAi, r#"{"error":"busy"}"#, FailureKind::StreamError),
            (
                Dialect::OpenAi,
                r#"{"type":"response.failed","response":{"error":{"code":"rate_limit_exceeded"}}}"#,
                FailureKind::RateLimited,
            ),
            (
                Dialect::OpenAi,
                r#"{"type":"error","code":"server_error","message":"m"}"#,
                FailureKind::StreamError,
            ),
            (
                Dialect::Anthropic,
                r#"{"type":"error","error":{"type":"overloaded_error"}}"#,
                FailureKind::Overloaded,
            ),
            (
                Dialect::Anthropic,
                r#"{"type":"error","error":{"type":"authentication_error"}}"#,
                FailureKind::Unauthorized,
            ),
            (Dialect::Gemini, r#"{"error":{"code":503,"status":"UNAVAILABLE"}}"#, FailureKind::Overloaded),
            (
                Dialect::Gemini,
                r#"[{"error":{"code":400,"status":"INVALID_ARGUMENT"}}]"#,
                FailureKind::StreamRefused,
            ),
        ] {
            assert_eq!(stream_failure_kind(dialect, event.as_bytes(), None), kind, "{event}");
        }
    }

    #[test]
    fn geminis_wrong_key_puts_the_credential_away_but_not_at_a_clients_word() {
        let reason = |reason: &str| {
            format!(r#"{{"error":{{"message":"API_KEY_INVALID","details":[{{"reason":"{reason}"}}]}}}}"#)
        };
        let judged = |dialect, reason: String| failure_kind(dialect, 400, reason.as_bytes(), None);
        let gemini = Dialect::Gemini;
        assert_eq!(judged(gemini, reason("API_KEY_INVALID")), Some(FailureKind::Unauthorized));
        assert_eq!(judged(gemini, reason("FIELD_INVALID")), None);
        assert_eq!(judged(Dialect::OpenAi, reason("API_KEY_INVALID")), None);
    }

    #[test]
    fn a_credential_that_is_repeated_to_the_client_is_masked_wherever_the_chunks_part() {
        let secret = [Secret::new("sk-upstream-0123456789")];
        for cut in 0..30 {
            let body = Bytes::from_static(b"bad sk-upstream-0123456789 key");
            let mut held = vec![body.slice(..cut), body.slice(cut..)];
            mask(&mut held, &secret);
            assert_eq!(held.concat(), b"bad ********************** key");
        }
        let mut held = vec![Bytes::from_static(b"not a"), Bytes::from_static(b" word")];
        mask(&mut held, &secret);
        assert_eq!(held.len(), 2);
    }

    #[test]
    fn a_credential_a_provider_echoes_is_taken_out() {
        let secret = [Secret::new("sk-upstream-0123456789")];
        assert_eq!(detail(b"bad key sk-upstream-0123456789!", &secret), "bad key …!");
    }

    #[test]
    fn of_a_secret_that_crosses_the_cut_nothing_is_left() {
        // The second crosses the cut only where the first has moved it.
        let secrets =
            [Secret::new("sk-upstream-0123456789"), Secret::new("6789-and-its-other-half"), Secret::new("")];
        for before in DETAIL_BYTES_MAX - 60..DETAIL_BYTES_MAX + 10 {
            for echoed in [
                "sk-upstream-0123456789",
                "6789-and-its-other-half",
                "sk-upstream-0123456789-and-its-other-half",
            ] {
                let body = "x".repeat(before) + echoed + &"y".repeat(100);
                let said = detail(body.as_bytes(), &secrets);
                let rest = said.trim_start_matches('x');
                let left = rest.trim_end_matches('y').trim_end_matches("-and-its-other-half");
                assert!(left.is_empty() || left == "…", "{before} {echoed}: {rest}");
            }
        }
        assert_eq!(detail(b"sk-upstream-01", &secrets), "sk-upstream-01", "the body ends there");
    }
}

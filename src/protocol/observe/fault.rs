//! Whose fault a provider's 4xx is: the client's, who shall read it, or the operator's, who must act.
//!
//! Invariant: only closed words and the beginnings of known messages count. A message may repeat what the
//! client sent, and nobody may talk a channel out of service by asking for it.

use super::read::object;
use crate::protocol::Dialect;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Whether a 4xx means that the operator must act (billing, deployment, a model mapped to a name the
/// provider does not know). `mapped`: the model was sent under another name than it was asked for.
pub fn is_operator_fault(dialect: Dialect, status: u16, body: &[u8], mapped: bool) -> bool {
    match status {
        402 => return true,
        400..=499 => {}
        _ => return false,
    }
    let Some(error) = ErrorWords::of(body) else { return false };
    let account = error.words.iter().any(|word| ACCOUNT_WORDS.contains(&word.as_str()));
    let gemini = dialect == Dialect::Gemini
        && error.reasons.iter().any(|word| GOOGLE_REASONS.contains(&word.as_str()));
    let said = MESSAGES.iter().any(|start| begins(&error.message, start));
    account || gemini || said || (mapped && error.is_unknown_model(status))
}

/// Whether an answer refuses the conversation for thinking whose signature the provider cannot verify. Who
/// asks for such a refusal gets one more try without the thinking, and nothing of anybody else's.
pub fn is_unverified_thinking(status: u16, body: &[u8]) -> bool {
    if status != 400 {
        return false;
    }
    let Some(error) = ErrorWords::of(body) else { return false };
    // Anthropic names the block first: `messages.3.content.0: `.
    let message = match error.message.split_once(": ") {
        Some((place, rest)) if place.starts_with("messages.") && !place.contains(' ') => rest,
        _ => &error.message,
    };
    let said = UNVERIFIED.iter().any(|start| begins(message, start));
    let field = message.strip_prefix("Invalid value at 'contents[");
    let undecodable = field.is_some_and(|rest| {
        rest.split_once('\'').is_some_and(|(path, why)| {
            let signature = path.ends_with("thought_signature") || path.ends_with("thoughtSignature");
            signature && why.starts_with(" (TYPE_BYTES)")
        })
    });
    said || undecodable || error.words.iter().any(|word| word == "invalid_encrypted_content")
}

struct ErrorWords {
    /// `code`, `type` and `status`.
    words: Vec<String>,
    /// Google's `details[].reason`.
    reasons: Vec<String>,
    message: String,
}

impl ErrorWords {
    /// Reads `{"error":{…}}`, or a flat error as some providers send it, or Google's array of one.
    fn of(body: &[u8]) -> Option<Self> {
        let list: Vec<&RawValue> = serde_json::from_slice(body).unwrap_or_default();
        let body = list.first().map_or(body, |first| first.get().as_bytes());
        let outer = object::<Outer<'_>>(body)?;
        let error = outer.error.map_or(body, |error| error.get().as_bytes());
        let error = object::<Error<'_>>(error)?;
        let words = [error.code, error.kind, error.status].into_iter().filter_map(text).collect();
        let details: Vec<&RawValue> =
            error.details.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
        let reasons = details
            .iter()
            .filter_map(|raw| object::<Detail<'_>>(raw.get().as_bytes()))
            .filter_map(|detail| text(detail.reason))
            .collect();
        Some(Self { words, reasons, message: text(error.message).unwrap_or_default() })
    }

    fn is_unknown_model(&self, status: u16) -> bool {
        let word = |list: &[&str]| self.words.iter().any(|word| list.contains(&word.as_str()));
        let missing = status == 404 && word(&["not_found_error", "NOT_FOUND", "not_found"]);
        missing
            || word(&["model_not_found", "invalid_model", "ModelNotFound"])
            || ["model not exist", "model not found", "unknown model"]
                .iter()
                .any(|start| begins(&self.message, start))
    }
}

#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Error<'a> {
    #[serde(borrow)]
    code: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    details: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Detail<'a> {
    #[serde(borrow)]
    reason: Option<&'a RawValue>,
}

fn text(raw: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(raw?.get()).ok()
}

fn begins(message: &str, start: &str) -> bool {
    message.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start))
}

/// What providers call an account or a deployment that cannot be used.
const ACCOUNT_WORDS: [&str; 11] = [
    "insufficient_quota",
    "insufficient_balance",
    "insufficient_user_quota",
    "billing_hard_limit_reached",
    "billing_not_active",
    "billing_error",
    "account_deactivated",
    "access_terminated",
    "exceeded_current_quota_error",
    "Arrearage",
    "DeploymentNotFound",
];

/// Google answers 400 to a key it does not know, so these are not left to the status.
const GOOGLE_REASONS: [&str; 6] = [
    "API_KEY_INVALID",
    "API_KEY_EXPIRED",
    "API_KEY_SERVICE_BLOCKED",
    "BILLING_DISABLED",
    "CONSUMER_SUSPENDED",
    "SERVICE_DISABLED",
];

/// How the messages begin of providers that have no word for it.
const MESSAGES: [&str; 5] = [
    "your credit balance is too low",
    "credit balance is too low",
    "insufficient balance",
    "you exceeded your current quota",
    "user location is not supported",
];

/// How the messages begin of providers that cannot verify a signature: Anthropic's, OpenAI's and those of
/// who serves their protocols, Google's.
const UNVERIFIED: [&str; 10] = [
    "invalid `signature` in `thinking` block",
    "invalid signature in thinking block",
    "invalid `data` in `redacted_thinking` block",
    "`thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified",
    "the encrypted content ",
    "reasoning `encrypted_content` was not issued to this caller",
    "corrupted thought signature",
    "invalid thought signature",
    "thought signature is not valid",
    "unable to submit request because thought signature is not valid",
];

#[cfg(test)]
mod tests {
    use super::*;

    use Dialect::{Anthropic, Gemini, OpenAi};

    /// Dialect, status, body, whether the model was mapped, and whose fault it is.
    const ANSWERS: &[(Dialect, u16, &str, bool, bool)] = &[
        (OpenAi, 402, "anything", false, true),
        (OpenAi, 429, r#"{"error":{"code":"insufficient_quota","type":"insufficient_quota"}}"#, false, true),
        (OpenAi, 400, r#"{"error":{"code":"billing_hard_limit_reached"}}"#, false, true),
        (OpenAi, 403, r#"{"error":{"type":"billing_not_active"}}"#, false, true),
        (OpenAi, 404, r#"{"error":{"code":"DeploymentNotFound"}}"#, false, true),
        (OpenAi, 400, r#"{"code":"Arrearage","message":"Access denied"}"#, false, true),
        (OpenAi, 404, r#"{"error":{"code":"model_not_found"}}"#, false, false),
        (OpenAi, 404, r#"{"error":{"code":"model_not_found"}}"#, true, true),
        (
            OpenAi,
            400,
            r#"{"error":{"message":"Model Not Exist","type":"invalid_request_error"}}"#,
            true,
            true,
        ),
        (
            OpenAi,
            400,
            r#"{"error":{"message":"Model Not Exist","type":"invalid_request_error"}}"#,
            false,
            false,
        ),
        (OpenAi, 400, r#"{"error":{"message":"bad tool","type":"invalid_request_error"}}"#, true, false),
        (OpenAi, 400, r#"{"error":{"message":"you said: credit balance is too low"}}"#, false, false),
        (OpenAi, 400, r#"{"error":{"message":"insufficient_quota"}}"#, false, false),
        (OpenAi, 404, "<html>not found</html>", true, false),
        (OpenAi, 404, "", true, false),
        (OpenAi, 500, r#"{"error":{"code":"insufficient_quota"}}"#, false, false),
        (
            Anthropic,
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the API."}}"#,
            false,
            true,
        ),
        (
            Anthropic,
            404,
            r#"{"type":"error","error":{"type":"not_found_error","message":"model: x"}}"#,
            true,
            true,
        ),
        (
            Anthropic,
            404,
            r#"{"type":"error","error":{"type":"not_found_error","message":"model: x"}}"#,
            false,
            false,
        ),
        (Anthropic, 413, r#"{"type":"error","error":{"type":"request_too_large"}}"#, true, false),
        (
            Gemini,
            400,
            r#"{"error":{"code":400,"status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}"#,
            false,
            true,
        ),
        (Gemini, 403, r#"[{"error":{"details":[{"reason":"BILLING_DISABLED"}]}}]"#, false, true),
        (
            Gemini,
            400,
            r#"{"error":{"message":"User location is not supported for the API use."}}"#,
            false,
            true,
        ),
        (Gemini, 404, r#"{"error":{"code":404,"status":"NOT_FOUND"}}"#, true, true),
        (Gemini, 404, r#"{"error":{"code":404,"status":"NOT_FOUND"}}"#, false, false),
        (Gemini, 400, r#"{"error":{"code":400,"status":"INVALID_ARGUMENT"}}"#, true, false),
    ];

    #[test]
    fn the_operators_faults_are_told_from_the_clients() {
        for (dialect, status, body, mapped, fault) in ANSWERS {
            assert_eq!(
                is_operator_fault(*dialect, *status, body.as_bytes(), *mapped),
                *fault,
                "{status} {body} {mapped}"
            );
        }
    }

    /// What providers say when they cannot verify a signature, and what they say of something else.
    const SIGNATURES: &[(u16, &str, bool)] = &[
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"messages.1.content.0: Invalid `signature` in `thinking` block"},"request_id":"req_1"}"#,
            true,
        ),
        (
            400,
            r#"{"error":{"message":"messages.12.content.3: Invalid `data` in `redacted_thinking` block"}}"#,
            true,
        ),
        (
            400,
            r#"{"error":{"message":"messages.5.content.1: `thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified. These blocks must remain as they were in the original response."}}"#,
            true,
        ),
        (
            400,
            r#"{"error":{"message":"The encrypted content gAAA...DQ== could not be verified.","type":"invalid_request_error","param":null,"code":"invalid_encrypted_content"}}"#,
            true,
        ),
        (400, r#"{"error":{"message":"something new","code":"invalid_encrypted_content"}}"#, true),
        (
            400,
            r#"{"error":{"message":"The encrypted content for item rs_0 could not be verified. Reason: Encrypted content organization_id did not match the target organization."}}"#,
            true,
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"Corrupted thought signature.","status":"INVALID_ARGUMENT"}}"#,
            true,
        ),
        (
            400,
            r#"[{"error":{"code":400,"message":"Invalid thought signature.","status":"INVALID_ARGUMENT"}}]"#,
            true,
        ),
        (
            400,
            r#"{"error":{"message":"Invalid value at 'contents[1].parts[0].thought_signature' (TYPE_BYTES), Base64 decoding failed for \"msg\""}}"#,
            true,
        ),
        (
            400,
            r#"{"error":{"message":"Invalid value at 'contents[1].parts[0].text' (TYPE_STRING), 5"}}"#,
            false,
        ),
        (400, r#"{"error":{"message":"messages.1.content.0: Input should be an object"}}"#, false),
        (400, r#"{"error":{"message":"you said: Invalid `signature` in `thinking` block"}}"#, false),
        (422, r#"{"error":{"code":"invalid_encrypted_content"}}"#, false),
        (400, "Corrupted thought signature.", false),
    ];

    #[test]
    fn a_signature_that_cannot_be_verified_is_told_from_other_refusals() {
        for (status, body, unverified) in SIGNATURES {
            assert_eq!(is_unverified_thinking(*status, body.as_bytes()), *unverified, "{status} {body}");
        }
    }
}

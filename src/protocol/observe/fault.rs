//! Whose fault a provider's 4xx is: the client's, who shall read it, or the operator's, who must act.
//!
//! One table of signs, each with where its wording was seen. A sign is a closed word of an error's `code`, `type` or
//! `status`, a Google `reason`, or the beginning of a message of a provider that has no word for it.
//! Invariants: a sign inside a message never counts, since a message may repeat what the client sent: nobody may talk
//! a channel out of service by asking for it. What depends on the size of one request is that request's own fault
//! ([`Fault::Request`]), however much it sounds like billing.

mod table;

use self::table::{Row, STATUSES, Sign, TABLE};
use super::read::object;
use crate::protocol::Dialect;
use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

/// What the operator must mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The credential: unknown, blocked, its account closed.
    Credential,
    /// The balance or quota of the credential's account.
    Unpaid,
    /// The model's name at this provider, or the account's right to it.
    Model,
    /// Nothing but this: the account cannot pay for a request as large as this one.
    Request,
    /// Where the gateway stands: the provider serves nobody there.
    Place,
}

/// The operator's fault behind a 4xx; `None`: it is about the request, the client's to see. `mapped`: the name the
/// model was sent under, where that is another than it was asked for.
pub fn operator_fault(dialect: Dialect, status: u16, body: &[u8], mapped: Option<&str>) -> Option<Fault> {
    if !(400..500).contains(&status) {
        return None;
    }
    let error = ErrorWords::of(body);
    let row = error.as_ref().and_then(|error| {
        let holds = |row: &&Row| row.when.holds((dialect, status), mapped, &error.message);
        TABLE.iter().filter(holds).find(|row| error.shows(row.sign))
    });
    // 402 has no other meaning, whatever words come with it.
    row.map(|row| row.fault).or((status == 402).then_some(Fault::Unpaid))
}

/// The status a provider would have answered with, had it known before its stream began: what the event that is an
/// error says by its number or its word. `None`: it does not say.
pub fn implied_status(event: &[u8]) -> Option<u16> {
    let error = ErrorWords::of(event)?;
    let mut numbers = error.words.iter().filter_map(|word| word.parse().ok());
    let number = numbers.find(|number| (400..600).contains(number));
    let word = || STATUSES.iter().find(|(word, _)| error.words.iter().any(|said| said == word));
    number.or_else(|| word().map(|(_, status)| *status))
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

/// Whether an answer refuses the member by which usage is asked for. It may do so in any words (Mistral's and
/// vLLM's "Extra inputs are not permitted", OpenAI's "Unknown parameter"), but names the member; who asks for
/// such a refusal gets one more try without what we added.
pub fn is_usage_refused(status: u16, body: &[u8]) -> bool {
    matches!(status, 400 | 422) && memmem::find(body, b"stream_options").is_some()
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
        let mut body = body;
        // `response.failed` has its error one level down.
        if let Some(response) = object::<Outer<'_>>(body)?.response {
            body = response.get().as_bytes();
        }
        let error = object::<Outer<'_>>(body)?.error.map_or(body, |error| error.get().as_bytes());
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

    fn shows(&self, sign: Sign) -> bool {
        match sign {
            Sign::Word(word) => self.words.iter().any(|said| said == word),
            Sign::Reason(reason) => self.reasons.iter().any(|said| said == reason),
            Sign::Begins(start) => begins(&self.message, start),
        }
    }
}

#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
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

/// A string, or a whole number as its digits: some providers' codes are numbers.
fn text(raw: Option<&RawValue>) -> Option<String> {
    let raw = raw?.get();
    let number = || serde_json::from_str::<u64>(raw).ok().map(|number| number.to_string());
    serde_json::from_str(raw).ok().or_else(number)
}

fn begins(message: &str, start: &str) -> bool {
    message.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start))
}

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
mod tests;

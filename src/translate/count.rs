//! Counting the tokens of a request without sending it: three of the protocols can, each in its own words.

use super::json::{Text, message, object};
use super::loss::{Loss, Losses};
use super::unified::{Protocol, Request};
use super::{Target, anthropic, gemini, responses};
use crate::refusal::Refusal;
use bytes::BytesMut;

/// The body of a request that counts, and what of the original it leaves out; `None` where the protocol has none, so
/// that the count is an estimate.
///
/// The addresses: `messages/count_tokens`, `responses/input_tokens`, `models/{model}:countTokens`.
pub fn count_request(
    request: &Request<'_>,
    target: &Target<'_>,
) -> Option<Result<(BytesMut, Vec<Loss>), Refusal>> {
    let mut losses = Losses::new(request.source);
    let mut out = BytesMut::new();
    match target.protocol {
        Protocol::Chat => return None,
        Protocol::Anthropic => anthropic::encode::count(request, target, &mut losses, &mut out),
        Protocol::Responses => responses::encode::count(request, target, &mut losses, &mut out),
        Protocol::Gemini => gemini::encode::count(request, target, &mut losses, &mut out),
    }
    Some(match losses.refused() {
        Some(refusal) => Err(*refusal),
        None => Ok((out, losses.into_list())),
    })
}

message! { Count { input["input_tokens"]: u64, total["totalTokens"]: u64 } }

/// The tokens a provider counted.
pub fn count_answer(body: &[u8]) -> Option<u64> {
    let count: Count<'_> = serde_json::from_slice(body).ok()?;
    count.input.or(count.total)
}

/// The answer in the client's words; chat completions has none.
pub fn count_body(client: Protocol, tokens: u64) -> BytesMut {
    let mut out = BytesMut::new();
    object(&mut out, |body| match client {
        Protocol::Anthropic => {
            body.number("input_tokens", tokens);
        }
        Protocol::Responses | Protocol::Chat => {
            body.text("object", "response.input_tokens").number("input_tokens", tokens);
        }
        Protocol::Gemini => {
            body.number("totalTokens", tokens);
        }
    });
    out
}

/// The request within a request to count tokens, where the protocol wraps it (Gemini's `generateContentRequest`).
pub(super) fn unwrapped(protocol: Protocol, body: &[u8]) -> Option<&[u8]> {
    message! {
        Wrapped {
            inner["generateContentRequest", "generate_content_request"]: &'a serde_json::value::RawValue,
            model: Text<'a>,
        }
    }
    (protocol == Protocol::Gemini).then_some(())?;
    let wrapped: Wrapped<'_> = serde_json::from_slice(body).ok()?;
    wrapped.inner.map(|inner| inner.get().as_bytes())
}

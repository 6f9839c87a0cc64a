//! Providers' own words, and whose fault they are.

use super::*;

use Dialect::{Anthropic, Gemini, OpenAi};
use Fault::{Credential, Model, Place, Request, Unpaid};

/// What a mapped model was sent as.
const SENT: &str = "m-1";

/// Dialect, status, body, whether the model was mapped, and whose fault it is.
const ANSWERS: &[(Dialect, u16, &str, bool, Option<Fault>)] = &[
    (OpenAi, 402, "anything", false, Some(Unpaid)),
    (
        OpenAi,
        429,
        r#"{"error":{"message":"You exceeded your current quota, please check your plan","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
        false,
        Some(Unpaid),
    ),
    (OpenAi, 400, r#"{"error":{"code":"billing_hard_limit_reached"}}"#, false, Some(Unpaid)),
    (OpenAi, 403, r#"{"error":{"type":"billing_not_active"}}"#, false, Some(Unpaid)),
    (OpenAi, 401, r#"{"error":{"code":"account_deactivated"}}"#, false, Some(Credential)),
    // Azure
    (
        OpenAi,
        404,
        r#"{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}"#,
        false,
        Some(Model),
    ),
    // Alibaba
    (OpenAi, 400, r#"{"code":"Arrearage","message":"Access denied"}"#, false, Some(Unpaid)),
    (OpenAi, 400, r#"{"error":{"code":"Arrearage","type":"Arrearage"}}"#, false, Some(Unpaid)),
    // DeepSeek
    (
        OpenAi,
        402,
        r#"{"error":{"message":"Insufficient Balance","type":"unknown_error","param":null,"code":"invalid_request_error"}}"#,
        false,
        Some(Unpaid),
    ),
    (
        OpenAi,
        400,
        r#"{"error":{"message":"Model Not Exist","type":"invalid_request_error"}}"#,
        true,
        Some(Model),
    ),
    (OpenAi, 400, r#"{"error":{"message":"Model Not Exist","type":"invalid_request_error"}}"#, false, None),
    // Moonshot
    (
        OpenAi,
        429,
        r#"{"error":{"message":"Your account org-1 <ak-1> is suspended due to insufficient balance","type":"exceeded_current_quota_error"}}"#,
        false,
        Some(Unpaid),
    ),
    (OpenAi, 429, r#"{"error":{"message":"max RPM: 3","type":"rate_limit_reached_error"}}"#, false, None),
    (
        OpenAi,
        404,
        r#"{"error":{"message":"Not found the model m-1 or Permission denied","type":"resource_not_found_error"}}"#,
        true,
        Some(Model),
    ),
    // Zhipu, in both dialects
    (
        OpenAi,
        429,
        r#"{"error":{"code":"1113","message":"余额不足或无可用资源包,请充值。"}}"#,
        false,
        Some(Unpaid),
    ),
    (OpenAi, 429, r#"{"error":{"code":"1302","message":"rate"}}"#, false, None),
    (
        Anthropic,
        400,
        r#"{"type":"error","error":{"type":"invalid_request_error","code":"1211","message":"[1211][…]"}}"#,
        true,
        Some(Model),
    ),
    // OpenRouter
    (
        OpenAi,
        402,
        r#"{"error":{"message":"Insufficient credits. Add more","code":402}}"#,
        false,
        Some(Unpaid),
    ),
    (
        OpenAi,
        402,
        r#"{"error":{"message":"This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only afford 30104.","code":402}}"#,
        false,
        Some(Request),
    ),
    (
        OpenAi,
        404,
        r#"{"error":{"message":"No endpoints found for m-1:free.","code":404}}"#,
        true,
        Some(Model),
    ),
    (
        OpenAi,
        404,
        r#"{"error":{"message":"No endpoints found that support tool use.","code":404}}"#,
        true,
        None,
    ),
    // SiliconFlow
    (
        OpenAi,
        403,
        r#"{"code":30011,"message":"The selected model requires paid balance.","data":null}"#,
        false,
        Some(Model),
    ),
    (OpenAi, 400, r#"{"code":20012,"message":"Model does not exist.","data":null}"#, true, Some(Model)),
    (OpenAi, 400, r#"{"code":20012,"message":"Model does not exist.","data":null}"#, false, None),
    // One API
    (OpenAi, 403, r#"{"error":{"code":"insufficient_user_quota"}}"#, false, Some(Unpaid)),
    (OpenAi, 404, r#"{"error":{"code":"model_not_found"}}"#, false, None),
    (OpenAi, 404, r#"{"error":{"code":"model_not_found"}}"#, true, Some(Model)),
    (OpenAi, 400, r#"{"error":{"message":"bad tool","type":"invalid_request_error"}}"#, true, None),
    (OpenAi, 400, r#"{"error":{"message":"you said: credit balance is too low"}}"#, false, None),
    (OpenAi, 400, r#"{"error":{"message":"insufficient_quota"}}"#, false, None),
    (OpenAi, 400, r#"{"error":{"message":"1113","param":"30011"}}"#, false, None),
    (OpenAi, 404, "<html>not found</html>", true, None),
    (OpenAi, 404, "", true, None),
    (OpenAi, 500, r#"{"error":{"code":"insufficient_quota"}}"#, false, None),
    (
        Anthropic,
        400,
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}"#,
        false,
        Some(Unpaid),
    ),
    (
        Anthropic,
        400,
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"You have reached your specified API usage limits. You will regain access on 2026-04-01 at 00:00 UTC."}}"#,
        false,
        Some(Unpaid),
    ),
    (
        Anthropic,
        400,
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"This organization has been disabled."}}"#,
        false,
        Some(Credential),
    ),
    (
        Anthropic,
        429,
        r#"{"type":"error","error":{"type":"rate_limit_error","message":"Extra usage is required for long context requests."}}"#,
        false,
        Some(Request),
    ),
    (
        Anthropic,
        402,
        r#"{"type":"error","error":{"type":"billing_error","message":"x"}}"#,
        false,
        Some(Unpaid),
    ),
    (
        Anthropic,
        404,
        r#"{"type":"error","error":{"type":"not_found_error","message":"model: m-1"}}"#,
        true,
        Some(Model),
    ),
    (
        Anthropic,
        404,
        r#"{"type":"error","error":{"type":"not_found_error","message":"model: x"}}"#,
        false,
        None,
    ),
    (Anthropic, 413, r#"{"type":"error","error":{"type":"request_too_large"}}"#, true, None),
    (
        Gemini,
        400,
        r#"{"error":{"code":400,"status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}"#,
        false,
        Some(Credential),
    ),
    (OpenAi, 400, r#"{"error":{"code":400,"details":[{"reason":"API_KEY_INVALID"}]}}"#, false, None),
    (Gemini, 403, r#"[{"error":{"details":[{"reason":"BILLING_DISABLED"}]}}]"#, false, Some(Unpaid)),
    (
        Gemini,
        403,
        r#"{"error":{"code":403,"details":[{"reason":"SERVICE_DISABLED"}]}}"#,
        false,
        Some(Credential),
    ),
    (
        Gemini,
        429,
        r#"{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details.","status":"RESOURCE_EXHAUSTED"}}"#,
        false,
        None,
    ),
    (
        Gemini,
        429,
        r#"{"error":{"code":429,"message":"Your prepayment credits are depleted.","status":"RESOURCE_EXHAUSTED"}}"#,
        false,
        Some(Unpaid),
    ),
    (
        Gemini,
        400,
        r#"{"error":{"message":"User location is not supported for the API use."}}"#,
        false,
        Some(Place),
    ),
    (
        Gemini,
        404,
        r#"{"error":{"code":404,"message":"models/m-1 is not found for API version v1beta","status":"NOT_FOUND"}}"#,
        true,
        Some(Model),
    ),
    // Something else that the client named.
    (
        Gemini,
        404,
        r#"{"error":{"code":404,"message":"cachedContents/1 not found","status":"NOT_FOUND"}}"#,
        true,
        None,
    ),
    (
        Anthropic,
        404,
        r#"{"type":"error","error":{"type":"not_found_error","message":"File not found: file_1"}}"#,
        true,
        None,
    ),
    (
        OpenAi,
        429,
        r#"{"error":{"message":"Request too large for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, Requested 36278. The input or output tokens must be reduced in order to run successfully.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#,
        false,
        Some(Request),
    ),
    // The provider's own word about the request's size, which is the client's to see.
    (OpenAi, 413, r#"{"error":{"message":"Request too large for model x"}}"#, false, None),
    (Gemini, 404, r#"{"error":{"code":404,"status":"NOT_FOUND"}}"#, false, None),
    (Gemini, 400, r#"{"error":{"code":400,"status":"INVALID_ARGUMENT"}}"#, true, None),
];

#[test]
fn the_operators_faults_are_told_from_the_clients() {
    for (dialect, status, body, mapped, fault) in ANSWERS {
        assert_eq!(
            operator_fault(*dialect, *status, body.as_bytes(), mapped.then_some(SENT)),
            *fault,
            "{dialect:?} {status} {body} {mapped}"
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
    (400, r#"{"error":{"message":"Invalid value at 'contents[1].parts[0].text' (TYPE_STRING), 5"}}"#, false),
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

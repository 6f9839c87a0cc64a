//! The providers' published error shapes, for whole answers and inside streams.

use crate::api::{Api, Operation};
use crate::reply::{Reply, named_event};
use crate::story::{fill, quote};
use bytes::Bytes;

/// Why a request was refused.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) api: Api,
    pub(crate) status: u16,
    pub(crate) message: String,
    /// `OpenAI`'s `code` or Google's `reason`, where it is not the usual one for the status.
    pub(crate) code: Option<&'static str>,
}

impl Refused {
    pub(crate) fn new(api: Api, status: u16, message: String) -> Self {
        Self { api, status, message, code: None }
    }

    pub(crate) fn with_code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// A 400 of this API.
    pub(crate) fn bad(api: Api, message: impl Into<String>) -> Self {
        Self::new(api, 400, message.into())
    }

    /// What a model nobody knows gets.
    pub(crate) fn no_such_model(api: Api, model: &str) -> Self {
        let message = match api {
            Api::OpenAi => format!("The model `{model}` does not exist or you do not have access to it."),
            Api::Anthropic => format!("model: {model}"),
            Api::Gemini => {
                format!("models/{model} is not found for API version v1beta, or is not supported.")
            }
        };
        let refused = Self::new(api, 404, message);
        if api == Api::OpenAi { refused.with_code("model_not_found") } else { refused }
    }

    pub(crate) fn reply(&self, request_id: &str) -> Reply {
        let body = match self.api {
            Api::OpenAi => openai(self.status, &self.message, self.code),
            Api::Anthropic => anthropic(self.status, &self.message, request_id),
            Api::Gemini => gemini(self.status, &self.message, self.code),
        };
        let mut reply = Reply::json(self.status, body);
        if self.status == 405 {
            reply.headers.push(("allow".to_owned(), "GET, POST, DELETE".to_owned()));
        }
        reply
    }
}

/// The answer a provider gives for a status that was asked for by a script.
pub(crate) fn published(api: Api, status: u16, request_id: &str) -> Reply {
    let message = match (status, api) {
        (400, _) => "The request is invalid.",
        (401, Api::Anthropic) => "invalid x-api-key",
        (401, _) => {
            "Incorrect API key provided: sk-fake. You can find your API key in your account settings."
        }
        (402, _) => "Your credit balance is too low to access the API.",
        (403, _) => "You do not have permission to use this resource.",
        (404, _) => "The requested resource was not found.",
        (413, _) => "Request exceeds the maximum size",
        (429, _) => "Rate limit reached. Please try again later.",
        (503, _) => "The model is overloaded. Please try again later.",
        (529, _) => "Overloaded",
        _ => "The server had an error while processing your request. Sorry about that!",
    };
    let code = match (api, status) {
        (Api::OpenAi, 404) => Some("model_not_found"),
        (Api::OpenAi, 503) => Some("server_is_overloaded"),
        _ => None,
    };
    Refused { api, status, message: message.to_owned(), code }.reply(request_id)
}

/// The in-band error of a stream. `events` is how many went before it.
pub(crate) fn in_band(api: Api, operation: &Operation, events: usize, request_id: &str) -> Bytes {
    const MESSAGE: &str = "The server had an error while processing your request. Sorry about that!";
    match (api, operation) {
        (Api::Anthropic, _) => named_event("error", &anthropic(529, "Overloaded", request_id)),
        (Api::OpenAi, Operation::Responses) if events == 0 => named_event(
            "error",
            &fill(
                r#"{"type":"error","code":"server_error","message":$message,"param":null,"sequence_number":0}"#,
                &[("message", &quote(MESSAGE))],
            ),
        ),
        (Api::OpenAi, Operation::Responses) => named_event(
            "response.failed",
            &fill(
                r#"{"type":"response.failed","sequence_number":$number,"response":{"id":"resp_fake","object":"response","created_at":1760000000,"status":"failed","error":{"code":"server_error","message":$message},"incomplete_details":null,"instructions":null,"metadata":{},"model":"","output":[],"parallel_tool_calls":true,"temperature":1.0,"tool_choice":"auto","tools":[],"top_p":1.0,"usage":null}}"#,
                &[("number", &events.to_string()), ("message", &quote(MESSAGE))],
            ),
        ),
        (Api::OpenAi, _) => format!("data: {}\n\n", openai(500, MESSAGE, None)).into(),
        (Api::Gemini, Operation::StreamGenerate(false)) => {
            let before = if events == 0 { "[" } else { ",\r\n" };
            format!("{before}{}]", gemini(503, "The model is overloaded.", None)).into()
        }
        (Api::Gemini, _) => format!("data: {}\r\n\r\n", gemini(503, "The model is overloaded.", None)).into(),
    }
}

fn openai(status: u16, message: &str, code: Option<&str>) -> String {
    let (kind, usual_code) = match status {
        401 => ("invalid_request_error", Some("invalid_api_key")),
        402 => ("insufficient_quota", Some("insufficient_quota")),
        403 => ("request_forbidden", Some("unsupported_country_region_territory")),
        429 => ("requests", Some("rate_limit_exceeded")),
        500.. => ("server_error", None),
        _ => ("invalid_request_error", None),
    };
    let code = code.or(usual_code).map_or_else(|| "null".to_owned(), quote);
    fill(
        r#"{"error":{"message":$message,"type":"$kind","param":null,"code":$code}}"#,
        &[("message", &quote(message)), ("kind", kind), ("code", &code)],
    )
}

fn anthropic(status: u16, message: &str, request_id: &str) -> String {
    let kind = match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    fill(
        r#"{"type":"error","error":{"type":"$kind","message":$message},"request_id":"$id"}"#,
        &[("kind", kind), ("message", &quote(message)), ("id", request_id)],
    )
}

fn gemini(status: u16, message: &str, reason: Option<&str>) -> String {
    let word = match status {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        501 => "UNIMPLEMENTED",
        503 | 529 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        500.. => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    };
    let details = reason.map_or_else(String::new, |reason| fill(
        r#","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"$reason","domain":"googleapis.com","metadata":{"service":"generativelanguage.googleapis.com"}}]"#,
        &[("reason", reason)],
    ));
    fill(
        r#"{"error":{"code":$code,"message":$message,"status":"$word"$details}}"#,
        &[("code", &status.to_string()), ("message", &quote(message)), ("word", word), ("details", &details)],
    )
}

//! The closed list of words for what went wrong, with the status each has on the wire.
//!
//! One word serves the client's error body, the metric label, the access log and the table in the docs, so
//! that support gets from a user's screenshot to one row.
//! Invariant: a word, once published, keeps its meaning and its status (contract 4).

/// Why an exchange did not end with the provider's own answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// No key in any of the accepted places.
    MissingApiKey,
    /// A key that cannot be one of ours by its form.
    MalformedApiKey,
    /// A well-formed key that is not in the table.
    InvalidApiKey,
    /// The key's `expires` has passed.
    ExpiredApiKey,
    /// The key has `enabled = false`.
    DisabledApiKey,
    /// The client's address is not in the key's `allowed_ips`.
    IpNotAllowed,
    /// The key's `models` does not list the model.
    ModelNotAllowed,
    /// The key has `stream = false` and the request asks for a stream.
    StreamNotAllowed,
    /// A page of an origin that may not call opens a WebSocket.
    OriginNotAllowed,
    /// No operation at this address.
    UnknownEndpoint,
    /// No channel of the key's group serves the model.
    ModelNotFound,
    /// No task of this id was made with this key, or what made it is gone.
    TaskNotFound,
    /// The operation exists, with another method.
    MethodNotAllowed,
    /// The request cannot be understood.
    InvalidRequest,
    /// Head or body came too slowly.
    RequestTimeout,
    /// The body is over a limit.
    BodyTooLarge,
    /// The target is over a limit; over HTTP/1.1 that is said without a body.
    UriTooLong,
    /// The head is over a limit; the same.
    HeaderTooLarge,
    /// `Expect` asks for something other than `100-continue`.
    ExpectationFailed,
    /// The request body is encoded in a way we cannot read.
    UnsupportedContentEncoding,
    /// The only reachable channels speak another protocol.
    UntranslatableRequest,
    /// A quota is used up.
    InsufficientQuota,
    /// A rate limit was hit.
    RateLimitExceeded,
    /// Too many exchanges at once.
    ConcurrencyLimitExceeded,
    /// Our own protection: buffers or connections are used up.
    GatewayOverloaded,
    /// The model's channels are known, and all are cooling or off.
    NoChannelAvailable,
    /// The provider refused our credential.
    UpstreamUnauthorized,
    /// Every candidate said 429.
    UpstreamRateLimited,
    /// An operator's fault that only the provider saw (billing, deployment, mapped model).
    UpstreamRefused,
    /// The provider's 503 or 529.
    UpstreamOverloaded,
    /// An upgrade on an operation that has none here.
    WebsocketNotAvailable,
    /// Something else than an upgrade where there is nothing else.
    WebsocketRequired,
    /// Another 5xx, an answer that is not HTTP, or a stream without an event.
    UpstreamError,
    /// DNS, connect, TLS, or closed before a byte of the answer.
    UpstreamUnreachable,
    /// Connect, first byte or idle timeout before anything went down.
    UpstreamTimeout,
    /// A stream that ended without its terminal event, after content.
    StreamTruncated,
    /// A stream that went silent after content.
    StreamIdleTimeout,
}

impl Code {
    /// Every code, for tables and tests.
    pub const ALL: [Self; 37] = [
        Self::MissingApiKey,
        Self::MalformedApiKey,
        Self::InvalidApiKey,
        Self::ExpiredApiKey,
        Self::DisabledApiKey,
        Self::IpNotAllowed,
        Self::ModelNotAllowed,
        Self::StreamNotAllowed,
        Self::OriginNotAllowed,
        Self::UnknownEndpoint,
        Self::ModelNotFound,
        Self::TaskNotFound,
        Self::MethodNotAllowed,
        Self::InvalidRequest,
        Self::RequestTimeout,
        Self::BodyTooLarge,
        Self::UriTooLong,
        Self::HeaderTooLarge,
        Self::ExpectationFailed,
        Self::UnsupportedContentEncoding,
        Self::UntranslatableRequest,
        Self::InsufficientQuota,
        Self::RateLimitExceeded,
        Self::ConcurrencyLimitExceeded,
        Self::GatewayOverloaded,
        Self::NoChannelAvailable,
        Self::UpstreamUnauthorized,
        Self::UpstreamRateLimited,
        Self::UpstreamRefused,
        Self::UpstreamOverloaded,
        Self::WebsocketNotAvailable,
        Self::WebsocketRequired,
        Self::UpstreamError,
        Self::UpstreamUnreachable,
        Self::UpstreamTimeout,
        Self::StreamTruncated,
        Self::StreamIdleTimeout,
    ];

    /// The stable word, as in the error body, the metrics and the log.
    pub fn word(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status of an answer with this code (Anthropic has another for a used-up quota); for the in-stream
    /// codes, what a log reader sees.
    pub fn status(self) -> u16 {
        self.row().1
    }

    fn row(self) -> (&'static str, u16) {
        match self {
            Self::MissingApiKey => ("missing_api_key", 401),
            Self::MalformedApiKey => ("malformed_api_key", 401),
            Self::InvalidApiKey => ("invalid_api_key", 401),
            Self::ExpiredApiKey => ("expired_api_key", 401),
            Self::DisabledApiKey => ("disabled_api_key", 401),
            Self::IpNotAllowed => ("ip_not_allowed", 403),
            Self::ModelNotAllowed => ("model_not_allowed", 403),
            Self::StreamNotAllowed => ("stream_not_allowed", 403),
            Self::OriginNotAllowed => ("origin_not_allowed", 403),
            Self::UnknownEndpoint => ("unknown_endpoint", 404),
            Self::ModelNotFound => ("model_not_found", 404),
            Self::TaskNotFound => ("task_not_found", 404),
            Self::MethodNotAllowed => ("method_not_allowed", 405),
            Self::InvalidRequest => ("invalid_request", 400),
            Self::RequestTimeout => ("request_timeout", 408),
            Self::BodyTooLarge => ("body_too_large", 413),
            Self::UriTooLong => ("uri_too_long", 414),
            Self::HeaderTooLarge => ("header_too_large", 431),
            Self::ExpectationFailed => ("expectation_failed", 417),
            Self::UnsupportedContentEncoding => ("unsupported_content_encoding", 415),
            Self::UntranslatableRequest => ("untranslatable_request", 400),
            Self::InsufficientQuota => ("insufficient_quota", 429),
            Self::RateLimitExceeded => ("rate_limit_exceeded", 429),
            Self::ConcurrencyLimitExceeded => ("concurrency_limit_exceeded", 429),
            Self::GatewayOverloaded => ("gateway_overloaded", 503),
            Self::NoChannelAvailable => ("no_channel_available", 503),
            Self::UpstreamUnauthorized => ("upstream_unauthorized", 502),
            Self::UpstreamRateLimited => ("upstream_rate_limited", 429),
            Self::UpstreamRefused => ("upstream_refused", 502),
            Self::UpstreamOverloaded => ("upstream_overloaded", 503),
            Self::WebsocketNotAvailable => ("websocket_not_available", 426),
            Self::WebsocketRequired => ("websocket_required", 426),
            Self::UpstreamError => ("upstream_error", 502),
            Self::UpstreamUnreachable => ("upstream_unreachable", 502),
            Self::UpstreamTimeout => ("upstream_timeout", 504),
            Self::StreamTruncated => ("stream_truncated", 502),
            Self::StreamIdleTimeout => ("stream_idle_timeout", 504),
        }
    }

    /// Whether an attempt at an upstream went wrong (the client's own retry policy then applies).
    pub fn is_upstream(self) -> bool {
        matches!(
            self,
            Self::UpstreamUnauthorized
                | Self::UpstreamRateLimited
                | Self::UpstreamRefused
                | Self::UpstreamOverloaded
                | Self::UpstreamError
                | Self::UpstreamUnreachable
                | Self::UpstreamTimeout
                | Self::StreamTruncated
                | Self::StreamIdleTimeout
        )
    }

    /// Whether the same request can never succeed as things stand, so that clients are told not to repeat it.
    pub fn is_permanent(self) -> bool {
        let is_fault = (400..500).contains(&self.status()) && !matches!(self.status(), 408 | 429);
        self == Self::InsufficientQuota || (!self.is_upstream() && is_fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_unique_and_permanence_follows_the_status() {
        let words: std::collections::HashSet<_> = Code::ALL.iter().map(|code| code.word()).collect();
        assert_eq!(words.len(), Code::ALL.len());
        assert!(Code::InvalidApiKey.is_permanent());
        assert!(Code::InsufficientQuota.is_permanent(), "a quota does not come back by asking");
        assert!(!Code::RateLimitExceeded.is_permanent());
        assert!(!Code::RequestTimeout.is_permanent());
        assert!(!Code::UpstreamUnauthorized.is_permanent());
    }
}

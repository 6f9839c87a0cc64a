//! Channels and how they are reached, as written.

use super::{Limits, List, SecretText, Wait};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Defaults for reaching channels.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Upstream {
    /// For TCP and TLS; 3s if absent.
    pub(in super::super) connect_timeout: Option<Wait>,
    /// Streams: from sending the request to the first real event; 60s if absent.
    pub(in super::super) first_byte_timeout: Option<Wait>,
    /// Other answers: until their first byte; 600s if absent.
    pub(in super::super) response_timeout: Option<Wait>,
    /// Between bytes of an answer; 120s if absent.
    pub(in super::super) idle_timeout: Option<Wait>,
    /// How many channels one exchange may try; 3 if absent.
    #[schemars(range(min = 1, max = 10))]
    pub(in super::super) attempts: Option<u32>,
    /// Retries may be at most this fraction of the recent traffic of the same channels; 0.2 if absent.
    #[schemars(range(min = 0.0, max = 10.0))]
    pub(in super::super) retry_budget: Option<f64>,
    /// How one of several channels of the best priority is chosen; weighted if absent.
    #[schemars(extend("enum" = ["weighted", "least_latency", "least_busy"]))]
    pub(in super::super) balance: Option<String>,
    /// How many exchanges may wait for a place when every channel is full; 0 if absent: they are refused.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub(in super::super) queue: Option<u32>,
    /// How long one waits there; 10s if absent.
    pub(in super::super) queue_timeout: Option<Wait>,
    /// How long a stream is silent before the client gets a keep-alive; 0s: none; 15s if absent.
    pub(in super::super) ping_interval: Option<Wait>,
    /// Whether keep-alives go out before the first event too, which commits to status 200; false if absent.
    pub(in super::super) ping_before_first_event: Option<bool>,
    /// What becomes of the provider's answer when the client leaves; cancel if absent.
    #[schemars(extend("enum" = ["cancel", "drain"]))]
    pub(in super::super) on_client_abort: Option<String>,
    /// What becomes of thinking that another provider signed; strip if absent.
    #[schemars(extend("enum" = ["strip", "refuse"]))]
    pub(in super::super) foreign_thinking: Option<String>,
    /// Whether a stream is asked for its usage where the client did not ask and the protocol wants that; true if absent.
    pub(in super::super) include_usage: Option<bool>,
    /// HTTP towards the provider; auto: what TLS agrees on, 1.1 without; auto if absent.
    #[schemars(extend("enum" = ["auto", "1.1", "2"]))]
    pub(in super::super) http_version: Option<String>,
}

/// An account at a provider.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Channel {
    /// Its name, in logs and metrics.
    pub(in super::super) name: String,
    /// What it speaks, how the credential is sent, and the default base URL.
    #[serde(rename = "type")]
    #[schemars(extend("enum" = super::super::compile::kinds::names()))]
    pub(in super::super) kind: String,
    /// Where it is reached; the provider's own address if absent.
    pub(in super::super) base_url: Option<String>,
    /// Where it is reached, of several servers that are the same: each is a channel `name@host:port` of its own.
    pub(in super::super) base_urls: Option<List<String>>,
    /// Of Azure's API: a date for the one with deployments in the path, or preview; absent: the v1 API.
    pub(in super::super) api_version: Option<String>,
    /// The protocols it speaks; whoever speaks none of them is translated into the first. By `type` if absent.
    #[schemars(extend("items" = { "type": "string", "enum": ["chat", "responses", "anthropic", "gemini"] }))]
    pub(in super::super) protocols: Option<List<String>>,
    /// Whether it is asked for streams: any, as the client asks; require, always; forbid, never; any if absent.
    #[schemars(extend("enum" = ["any", "require", "forbid"]))]
    pub(in super::super) stream: Option<String>,
    /// The provider's keys. An enabled channel needs at least one, unless it is a server of one's own.
    pub(in super::super) api_keys: Option<List<SecretText>>,
    /// What it serves: names, or patterns with `*`; absent: everything.
    pub(in super::super) models: Option<List<String>>,
    /// A model's name here, and its name at the provider.
    #[serde(default)]
    pub(in super::super) model_map: BTreeMap<String, String>,
    /// Lower first; 0 if absent.
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    pub(in super::super) priority: Option<i32>,
    /// Its share among channels of one priority; 1 if absent; 0: no new exchanges.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub(in super::super) weight: Option<u32>,
    /// On trial: the share of exchanges, such as 5%, that go to it before all others and fail over to them; absent: none.
    #[schemars(extend("pattern" = "^[0-9]{1,3}([.][0-9]{1,4})?%$"))]
    pub(in super::super) canary: Option<String>,
    /// The groups that may use it; absent: every group.
    pub(in super::super) groups: Option<List<String>>,
    /// Whether it is used; true if absent.
    pub(in super::super) enabled: Option<bool>,
    /// Past these it is passed over.
    #[serde(default)]
    pub(in super::super) limits: Limits,
    /// Past these one of its `api_keys` is passed over; each has them for itself.
    #[serde(default)]
    pub(in super::super) credential_limits: Limits,
    /// Headers of the requests to it.
    #[serde(default)]
    pub(in super::super) request_headers: RequestHeaders,
    /// For TCP and TLS; as in `[upstream]` if absent.
    pub(in super::super) connect_timeout: Option<Wait>,
    /// Streams: from sending the request to the first real event; as in `[upstream]` if absent.
    pub(in super::super) first_byte_timeout: Option<Wait>,
    /// Other answers: until their first byte; as in `[upstream]` if absent.
    pub(in super::super) response_timeout: Option<Wait>,
    /// Between bytes of an answer; as in `[upstream]` if absent.
    pub(in super::super) idle_timeout: Option<Wait>,
    /// How one of several channels of the best priority is chosen; as in `[upstream]` if absent.
    #[schemars(extend("enum" = ["weighted", "least_latency", "least_busy"]))]
    pub(in super::super) balance: Option<String>,
    /// How many exchanges may wait for a place when every channel is full; as in `[upstream]` if absent.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub(in super::super) queue: Option<u32>,
    /// How long one waits there; as in `[upstream]` if absent.
    pub(in super::super) queue_timeout: Option<Wait>,
    /// How long a stream is silent before the client gets a keep-alive; 0s: none; as in `[upstream]` if absent.
    pub(in super::super) ping_interval: Option<Wait>,
    /// Whether keep-alives go out before the first event too, which commits to status 200; as in `[upstream]` if absent.
    pub(in super::super) ping_before_first_event: Option<bool>,
    /// What becomes of the provider's answer when the client leaves; as in `[upstream]` if absent.
    #[schemars(extend("enum" = ["cancel", "drain"]))]
    pub(in super::super) on_client_abort: Option<String>,
    /// What becomes of thinking that another provider signed; as in `[upstream]` if absent.
    #[schemars(extend("enum" = ["strip", "refuse"]))]
    pub(in super::super) foreign_thinking: Option<String>,
    /// Whether a stream is asked for its usage where the client did not ask and the protocol wants that; as in `[upstream]` if absent.
    pub(in super::super) include_usage: Option<bool>,
    /// HTTP towards the provider; auto: what TLS agrees on, 1.1 without; as in `[upstream]` if absent.
    #[schemars(extend("enum" = ["auto", "1.1", "2"]))]
    pub(in super::super) http_version: Option<String>,
    /// The file with the authorities that its server's certificate must come from, PEM; the system's if absent.
    pub(in super::super) ca: Option<String>,
    /// The file with the certificate shown to it where it asks, and the chain, PEM.
    pub(in super::super) client_cert: Option<String>,
    /// The file with the private key of `client_cert`, PEM.
    pub(in super::super) client_key: Option<String>,
    /// The proxy its connections go through: http://, socks5:// or socks5h://, a login in it; none if absent.
    pub(in super::super) egress_proxy: Option<SecretText>,
    /// Lifts the ban on link-local and metadata addresses; false if absent.
    pub(in super::super) allow_link_local: Option<bool>,
}

/// Headers of the requests to a channel.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct RequestHeaders {
    /// Set on every request.
    #[serde(default)]
    pub(in super::super) set: BTreeMap<String, String>,
    /// Taken off every request.
    pub(in super::super) remove: Option<List<String>>,
}

//! Channels and how they are reached, as written.

use super::{Limits, List, SecretText, Wait};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Defaults for reaching channels.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Upstream {
    /// For TCP and TLS. Where the name has several addresses (at most three are tried), the first has half of the time, the next half of what is left, and the last the rest.
    #[schemars(extend("x-default" = "`\"3s\"`"))]
    pub(in super::super) connect_timeout: Option<Wait>,
    /// Streams: from the request having been sent to the first real event, the wait for the head included. A provider that takes nothing of a request for that long, or less than 1 KiB a second for 30 s, has failed too (send timeout).
    #[schemars(extend("x-default" = "`\"60s\"`"))]
    pub(in super::super) first_byte_timeout: Option<Wait>,
    /// Other answers: from the request having been sent to the first byte of their body, for which `idle_timeout` waits at least after the head.
    #[schemars(extend("x-default" = "`\"600s\"`"))]
    pub(in super::super) response_timeout: Option<Wait>,
    /// Between bytes of an answer. How long it takes in all is not limited.
    #[schemars(extend("x-default" = "`\"120s\"`"))]
    pub(in super::super) idle_timeout: Option<Wait>,
    /// How many attempts one exchange may take.
    #[schemars(range(min = 1, max = 10))]
    #[schemars(extend("x-default" = "`3`"))]
    pub(in super::super) attempts: Option<u32>,
    /// Second and further attempts may be at most this fraction of the recent exchanges of the same channels, but 10 a second in any case. Past it the first failure is the answer.
    #[schemars(range(min = 0.0, max = 10.0))]
    #[schemars(extend("x-default" = "`0.2`"))]
    pub(in super::super) retry_budget: Option<f64>,
    /// How one of several channels of the best priority is chosen; where they differ, the first in the file decides. [Choosing a channel](#choosing-a-channel)
    #[schemars(extend("enum" = ["weighted", "least_latency", "least_busy"]))]
    #[schemars(extend("x-default" = "`\"weighted\"`"))]
    pub(in super::super) balance: Option<String>,
    /// How many exchanges may wait for a place when every channel that could serve them is full, first come, first served; 0: they are refused at once. [Queues](#queues)
    #[schemars(range(min = 0, max = 1_000_000))]
    #[schemars(extend("x-type" = "number", "x-default" = "`0`"))]
    pub(in super::super) queue: Option<u32>,
    /// How long one waits there, all its waits together.
    #[schemars(extend("x-default" = "`\"10s\"`"))]
    pub(in super::super) queue_timeout: Option<Wait>,
    /// Silence of a stream after which the client gets a keep-alive, between two events: a comment (OpenAI), `event: ping` (Anthropic), a blank line (Gemini). `"0s"`: none.
    #[schemars(extend("x-default" = "`\"15s\"`"))]
    pub(in super::super) ping_interval: Option<Wait>,
    /// Whether keep-alives go out before the first event too. The first one commits to status 200: other channels are still tried, but what then remains of an error is told inside the stream, where not every client looks for it. [Decision 0008](decisions/0008-keep-alives.md)
    #[schemars(extend("x-default" = "`false`"))]
    pub(in super::super) ping_before_first_event: Option<bool>,
    /// When the client leaves: `cancel` drops the provider's answer, so that it stops; `drain` reads it to its end for its usage, for 15 minutes at most, and holds the slots of the channel for that, not those of the key and its group. Neither asks another channel.
    #[schemars(extend("enum" = ["cancel", "drain"]))]
    #[schemars(extend("x-default" = "`\"cancel\"`"))]
    pub(in super::super) on_client_abort: Option<String>,
    /// Thinking in the conversation that another provider signed, and this one would refuse: cut out of the request, or the channel is passed over.
    #[schemars(extend("enum" = ["strip", "refuse"]))]
    #[schemars(extend("x-default" = "`\"strip\"`"))]
    pub(in super::super) foreign_thinking: Option<String>,
    /// Whether the stream of a chat or text completion is asked for its usage (`stream_options.include_usage`) where the client did not ask; the extra chunk is kept from such a client. `false` for a server that refuses the member: its streams are then [estimated](operations.md#usage).
    #[schemars(extend("x-default" = "`true`"))]
    pub(in super::super) include_usage: Option<bool>,
    /// HTTP towards the provider. `auto`: what TLS agrees on, 1.1 without TLS; `2` without TLS is by prior knowledge.
    #[schemars(extend("enum" = ["auto", "1.1", "2"]))]
    #[schemars(extend("x-default" = "`\"auto\"`"))]
    pub(in super::super) http_version: Option<String>,
}

/// An account at a provider.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Channel {
    /// In logs and metrics; also the name its counters go by.
    pub(in super::super) name: String,
    /// What it speaks and where, and how the credential is sent: `openai`, `anthropic`, `gemini`, `claude-code`, `azure-openai`, `deepseek`, `ollama` …
    #[serde(rename = "type")]
    #[schemars(extend("enum" = super::super::compile::kinds::names()))]
    #[schemars(extend("x-type" = "[one of these](channels.md)"))]
    pub(in super::super) kind: String,
    /// `https://x`, `https://x/`, `https://x/v1` and `https://x/prefix` all lead to [the documented paths](channels.md#base_url). Without a user, a query or a fragment.
    #[schemars(extend("x-type" = "URL", "x-default" = "the provider's own"))]
    pub(in super::super) base_url: Option<String>,
    /// Several servers that are the same, instead of `base_url`: each is a channel `name@host:port` [of its own](channels.md#several-servers).
    #[schemars(extend("x-type" = "list of URLs"))]
    pub(in super::super) base_urls: Option<List<String>>,
    /// Of [Azure](channels.md#azure) only.
    #[schemars(extend("x-type" = "date, `preview`, `latest`", "x-default" = "the v1 API"))]
    pub(in super::super) api_version: Option<String>,
    /// Of [`vertex`](channels.md#google-vertex-ai) only: the project that pays.
    #[schemars(extend("x-default" = "that of the first credential"))]
    pub(in super::super) project: Option<String>,
    /// Of `vertex`: `global`, a multi-region (`us`, `eu`) or a region.
    pub(in super::super) location: Option<String>,
    /// Of [Bedrock](channels.md#amazon-bedrock), `bedrock` and `bedrock-mantle`, only: the region of AWS.
    pub(in super::super) region: Option<String>,
    /// What it speaks. A client of another protocol is [translated](translation.md) into the first. `openai`: `["chat", "responses"]`, at OpenAI itself `["responses", "chat"]`; write `["chat"]` for a compatible server without responses.
    #[schemars(extend("items" = { "type": "string", "enum": ["chat", "responses", "anthropic", "gemini"] }))]
    #[schemars(extend("x-type" = "list of `chat`, `responses`, `anthropic`, `gemini`", "x-default" = "by `type`"))]
    pub(in super::super) protocols: Option<List<String>>,
    /// Whether it is asked for streams. `require`: it has no other answers, so a client that wants a whole one gets the stream collected. `forbid`: it has none, so a client that streams gets the whole answer told as events.
    #[schemars(extend("enum" = ["any", "require", "forbid"]))]
    #[schemars(extend("x-default" = "`\"any\"`"))]
    pub(in super::super) stream: Option<String>,
    /// The provider's keys, used in turn; one that is refused or limited rests while the others go on.
    #[schemars(extend("x-type" = "list of secrets", "x-default" = "at least one, if enabled, but for `ollama`, `vllm` and `sglang`"))]
    pub(in super::super) api_keys: Option<List<SecretText>>,
    /// What it serves.
    #[schemars(extend("x-type" = "list of names and patterns", "x-default" = "every model; of `claude-code` the current ones"))]
    pub(in super::super) models: Option<List<String>>,
    /// Name here = name at the provider. Clients see the name they asked for.
    #[serde(default)]
    #[schemars(extend("x-type" = "table of names"))]
    pub(in super::super) model_map: BTreeMap<String, String>,
    /// Lower first.
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    #[schemars(extend("x-type" = "−1,000,000 to 1,000,000", "x-default" = "`0`"))]
    pub(in super::super) priority: Option<i32>,
    /// Its share among channels of one priority; 0: no new exchanges, running ones finish.
    #[schemars(range(min = 0, max = 1_000_000))]
    #[schemars(extend("x-default" = "`1`"))]
    pub(in super::super) weight: Option<u32>,
    /// The share of exchanges that go to it before all others, [on trial](routing.md#trying-a-channel-with-a-share-of-the-traffic), and fail over to them.
    #[schemars(extend("pattern" = "^[0-9]{1,3}([.][0-9]{1,4})?%$"))]
    #[schemars(extend("x-type" = "share, such as `5%`", "x-default" = "none"))]
    pub(in super::super) canary: Option<String>,
    /// Whose keys may use it.
    #[schemars(extend("x-type" = "list of group names", "x-default" = "every group"))]
    pub(in super::super) groups: Option<List<String>>,
    /// Off: not asked, and its secrets may be missing.
    #[schemars(extend("x-default" = "`true`"))]
    pub(in super::super) enabled: Option<bool>,
    /// Past these it is passed over; [limits](#limits).
    #[serde(default)]
    pub(in super::super) limits: Limits,
    /// Past these one of its `api_keys` is passed over; each key has them for itself.
    #[serde(default)]
    pub(in super::super) credential_limits: Limits,
    /// Headers of the requests to it: [below](#request-headers).
    #[serde(default)]
    pub(in super::super) request_headers: RequestHeaders,
    /// For TCP and TLS.
    #[schemars(extend("x-default" = "as in `[upstream]`"))]
    pub(in super::super) connect_timeout: Option<Wait>,
    /// Streams: from sending the request to the first real event.
    #[schemars(extend("x-default" = "as in `[upstream]`"))]
    pub(in super::super) first_byte_timeout: Option<Wait>,
    /// Other answers: until their first byte.
    #[schemars(extend("x-default" = "as in `[upstream]`"))]
    pub(in super::super) response_timeout: Option<Wait>,
    /// Between bytes of an answer.
    #[schemars(extend("x-default" = "as in `[upstream]`"))]
    pub(in super::super) idle_timeout: Option<Wait>,
    /// How one of several channels of the best priority is chosen.
    #[schemars(extend("enum" = ["weighted", "least_latency", "least_busy"]))]
    #[schemars(extend("x-default" = "as in `[upstream]`"))]
    pub(in super::super) balance: Option<String>,
    /// How many exchanges may wait for a place when every channel is full.
    #[schemars(range(min = 0, max = 1_000_000))]
    #[schemars(extend("x-type" = "number", "x-default" = "as in `[upstream]`"))]
    pub(in super::super) queue: Option<u32>,
    /// How long one waits there.
    #[schemars(extend("x-default" = "as in `[upstream]`"))]
    pub(in super::super) queue_timeout: Option<Wait>,
    /// How long a stream is silent before the client gets a keep-alive; 0s: none.
    #[schemars(extend("x-default" = "as in `[upstream]`"))]
    pub(in super::super) ping_interval: Option<Wait>,
    /// Whether keep-alives go out before the first event too, which commits to status 200.
    #[schemars(extend("x-default" = "as in `[upstream]`"))]
    pub(in super::super) ping_before_first_event: Option<bool>,
    /// What becomes of the provider's answer when the client leaves.
    #[schemars(extend("enum" = ["cancel", "drain"]))]
    #[schemars(extend("x-default" = "as in `[upstream]`"))]
    pub(in super::super) on_client_abort: Option<String>,
    /// What becomes of thinking that another provider signed.
    #[schemars(extend("enum" = ["strip", "refuse"]))]
    #[schemars(extend("x-default" = "as in `[upstream]`"))]
    pub(in super::super) foreign_thinking: Option<String>,
    /// Whether a stream is asked for its usage where the client did not ask and the protocol wants that.
    #[schemars(extend("x-default" = "as in `[upstream]`"))]
    pub(in super::super) include_usage: Option<bool>,
    /// HTTP towards the provider; auto: what TLS agrees on, 1.1 without.
    #[schemars(extend("enum" = ["auto", "1.1", "2"]))]
    #[schemars(extend("x-default" = "as in `[upstream]`"))]
    pub(in super::super) http_version: Option<String>,
    /// Whom its server's certificate must come from, PEM: these authorities *instead of* the system's. [Below](#tls-towards-a-channel).
    #[schemars(extend("x-type" = "path", "x-default" = "the system's"))]
    pub(in super::super) ca: Option<String>,
    /// The certificate shown where the server asks for one, and its chain, PEM. Needs `client_key`.
    #[schemars(extend("x-type" = "path"))]
    pub(in super::super) client_cert: Option<String>,
    /// The private key of `client_cert`: PKCS#8, PKCS#1 or SEC1, without a passphrase.
    #[schemars(extend("x-type" = "path"))]
    pub(in super::super) client_key: Option<String>,
    /// The proxy its connections go through. [Below](#egress-proxy).
    pub(in super::super) egress_proxy: Option<SecretText>,
    /// Lifts the ban on link-local and cloud metadata addresses, written in `base_url` or behind its name.
    #[schemars(extend("x-default" = "`false`"))]
    pub(in super::super) allow_link_local: Option<bool>,
}

/// Headers of the requests to a channel.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct RequestHeaders {
    /// Set on every request to the channel. Not for credentials, and not for what frames a message (`content-length`, `host` …).
    #[serde(default)]
    #[schemars(extend("x-type" = "table of text"))]
    pub(in super::super) set: BTreeMap<String, String>,
    /// Taken off every request to the channel.
    #[schemars(extend("x-type" = "list of header names"))]
    pub(in super::super) remove: Option<List<String>>,
}

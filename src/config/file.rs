//! What the operator may write, as types: the published JSON Schema is generated from them.
//!
//! Invariant: the only place of the configuration where `Option` means "not written". Values that are text
//! with a meaning (durations, sizes, addresses) stay text here, so that `super::compile` can report all
//! that is wrong with them at once. The doc comments are the descriptions in the published schema and the rows of
//! docs/configuration.md, with links relative to that page; `x-type` and `x-default` say what the types do not
//! (`super::reference`).

mod channel;
mod history;
mod limits;
mod otlp;
mod price;
mod quota;
mod tls;

pub(super) use self::channel::{Channel, Upstream};
pub(super) use self::history::History;
pub(super) use self::limits::{Limits, ModelLimit};
pub(super) use self::otlp::Otlp;
pub(super) use self::price::Price;
pub(super) use self::quota::{Project, Quota};
pub(super) use self::tls::TlsListener;

use schemars::JsonSchema;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

/// A list in which an item that was refused is `None`, so that the others keep their positions.
pub(super) type List<T> = Vec<Option<T>>;

/// The items that were not refused, with their positions.
pub(super) fn present<T>(list: &[Option<T>]) -> impl Iterator<Item = (usize, &T)> {
    list.iter().enumerate().filter_map(|(index, item)| item.as_ref().map(|item| (index, item)))
}

/// A Tollgate configuration file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Tollgate configuration", rename = "Configuration")]
pub(super) struct File {
    /// Where the schema is; for editors only.
    #[serde(rename = "$schema")]
    pub(super) _schema: Option<String>,
    /// More files with channels, groups, profiles, projects, keys and prices. `[server]`, `[upstream]`, `[trace]`, `[log]`, `[ledger]`, `[history]`, `[fleet]` and `[otlp]` may stand in the first file only. Up to 4 deep, 10,000 files.
    #[schemars(extend("x-type" = "list of paths and patterns"))]
    pub(super) include: Option<List<String>>,
    /// Listeners and the bounds of the edge: [below](#server).
    pub(super) server: Option<Server>,
    /// Defaults for reaching channels: [below](#upstream).
    pub(super) upstream: Option<Upstream>,
    /// Where session ids are looked for: [below](#trace).
    pub(super) trace: Option<Trace>,
    /// The log: [below](#log).
    pub(super) log: Option<Log>,
    /// Where usage is kept beyond the end of the process: [below](#ledger).
    #[schemars(extend("x-default" = "no ledger"))]
    pub(super) ledger: Option<Ledger>,
    /// The last good configurations, to go back to: [below](#history).
    #[schemars(extend("x-default" = "no history"))]
    pub(super) history: Option<History>,
    /// Limits shared by several replicas: [below](#fleet).
    pub(super) fleet: Option<Fleet>,
    /// Traces and metrics for OpenTelemetry: [below](#otlp).
    pub(super) otlp: Option<Otlp>,
    /// Accounts at providers: [below](#channels).
    #[serde(default)]
    pub(super) channel: List<Channel>,
    /// Named lists of model mappings: [below](#profiles).
    #[serde(default)]
    pub(super) profile: List<Profile>,
    /// Keys that share channels and limits. The group `default` exists without being written: [below](#groups).
    #[serde(default)]
    pub(super) group: List<Group>,
    /// Quotas of what keys name as their `project`; a project without one is not written here: [below](#quotas).
    #[serde(default)]
    pub(super) project: List<Project>,
    /// The credentials clients use: [below](#keys).
    #[serde(default, rename = "key")]
    #[schemars(with = "List<Key>", extend("x-default" = "at least one"))]
    pub(super) _key: Later,
    /// What models cost, instead of the built-in prices; the first that matches counts: [below](#prices).
    #[serde(default)]
    pub(super) price: List<Price>,
}

/// What is read later, each on its own, because there may be very many.
#[derive(Debug, Default)]
pub(super) struct Later;

impl<'de> Deserialize<'de> for Later {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|IgnoredAny| Self)
    }
}

/// A length of time.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("examples" = ["10s", "1m 30s"]))]
pub(super) struct Wait(pub(super) String);

/// A number of bytes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline, extend("examples" = ["64MiB"]))]
pub(super) enum Size {
    /// Bytes.
    Bytes(#[schemars(range(min = 0))] i64),
    /// A number with a unit: B, KB, MB, GB, KiB, MiB, GiB.
    Text(String),
}

/// A secret: where it is found, or the text itself (which `check` warns about).
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline, extend("examples" = [{"env": "OPENAI_API_KEY"}]))]
pub(super) enum SecretText {
    /// The secret itself.
    Inline(String),
    /// Where it is found.
    Reference(SecretReference),
}

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// Where a secret is found: one of the three.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SecretReference {
    /// The environment variable that holds it. The process's environment is read at the start; a reload sees the same one.
    #[schemars(extend("x-type" = "name"))]
    pub(super) env: Option<String>,
    /// The file that holds it; a line break at its end does not count. The file is watched: a rotated secret takes effect by itself.
    #[schemars(extend("x-type" = "path"))]
    pub(super) file: Option<String>,
    /// The credential of that name that systemd gives the service (`LoadCredential=`, `SetCredentialEncrypted=`): a file in `$CREDENTIALS_DIRECTORY` that only the service can read.
    #[schemars(extend("x-type" = "name"))]
    pub(super) credential: Option<String>,
}

/// Listeners and the bounds of the edge.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    /// For clients, without TLS: HTTP/1.1 and HTTP/2 with prior knowledge. With a `tls` listener the default is none, and `[]` may be written. **restart**
    #[schemars(extend("x-type" = "list of addresses", "x-default" = "`[\"0.0.0.0:8080\"]`"))]
    pub(super) listen: Option<List<String>>,
    /// [Listeners with TLS](#servertls). To add, remove or move one takes a **restart**; everything else of them is reloaded.
    #[serde(default)]
    pub(super) tls: List<TlsListener>,
    /// Metrics, health, status, reload. **restart**
    #[schemars(extend("x-type" = "address", "x-default" = "`\"127.0.0.1:9090\"`"))]
    pub(super) admin: Option<String>,
    /// What admin calls must send as `Authorization: Bearer …`, except `/metrics`, `/livez`, `/readyz`, `/healthz`. Required where `admin` is not a loopback address.
    pub(super) admin_token: Option<SecretText>,
    /// Threads that serve; 0: one per core. A connection stays on the one that had the fewest when it came. **restart**
    #[schemars(range(min = 0, max = 1024))]
    #[schemars(extend("x-default" = "`0`"))]
    pub(super) threads: Option<u32>,
    /// Peers whose `X-Forwarded-For` is believed.
    #[schemars(extend("x-type" = "list of networks", "x-default" = "`[]`"))]
    pub(super) trusted_proxies: Option<List<String>>,
    /// Browser origins that may call, such as `https://chat.example.com`; `*`: any.
    #[schemars(extend("x-type" = "list of origins", "x-default" = "`[]`"))]
    pub(super) cors_origins: Option<List<String>>,
    /// Whether answers say in the header `x-tollgate-losses` what of the request [translation](translation.md) could not carry.
    #[schemars(extend("x-default" = "`false`"))]
    pub(super) loss_header: Option<bool>,
    /// How long the edge waits: [below](#servertimeouts).
    pub(super) timeouts: Option<ServerTimeouts>,
    /// How much the edge holds: [below](#serverlimits).
    pub(super) limits: Option<ServerLimits>,
    /// Another place for [`[trace]`](#trace).
    pub(super) trace: Option<Trace>,
}

/// How long the edge waits.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ServerTimeouts {
    /// HTTP/1.1: from the first byte of a request's head to its last; then a plain 408 and a close. Also how long a new connection may send nothing. Over TLS, for either HTTP: from the connection to the end of the first head, the handshake included.
    #[schemars(extend("x-default" = "`\"10s\"`"))]
    pub(super) header: Option<Wait>,
    /// The longest silence within a request body; then 408. Less than 1 KiB a second, over 10 s of waiting for it, is too slow as well.
    #[schemars(extend("x-default" = "`\"30s\"`"))]
    pub(super) body_idle: Option<Wait>,
    /// The longest time a client may take nothing of what is sent to it, or less than 512 bytes a second; then the connection is closed. A stream that has nothing to say does not count.
    #[schemars(extend("x-default" = "`\"60s\"`"))]
    pub(super) write_idle: Option<Wait>,
    /// A keep-alive connection without a request. For HTTP/2 the value at the start counts.
    #[schemars(extend("x-default" = "`\"75s\"`"))]
    pub(super) idle: Option<Wait>,
    /// A connection that is older is told to end (`connection: close`, GOAWAY) and serves what it has begun; so is one of HTTP/1.1 with its 10,000th request.
    #[schemars(extend("x-default" = "`\"1h\"`"))]
    pub(super) age: Option<Wait>,
    /// When told to stop: between readiness 503 and closing the listeners.
    #[schemars(extend("x-type" = "duration, may be 0", "x-default" = "`\"0s\"`"))]
    pub(super) drain_delay: Option<Wait>,
    /// After that: the longest wait for running exchanges, which are then [ended honestly](operations.md#drain).
    #[schemars(extend("x-type" = "duration, may be 0", "x-default" = "`\"600s\"`"))]
    pub(super) drain: Option<Wait>,
}

/// How much the edge holds.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ServerLimits {
    /// Client connections at once; more are answered with 503 and closed. With `exchanges` at most 90 % of the file descriptors the process may open: half for each, and what one leaves for the other.
    #[schemars(range(min = 1, max = 10_000_000))]
    #[schemars(extend("x-default" = "`65536`"))]
    pub(super) connections: Option<u32>,
    /// The same for one address (of IPv6, one /64); 0: no limit. Behind a proxy all clients have the proxy's address.
    #[schemars(range(min = 0, max = 10_000_000))]
    #[schemars(extend("x-default" = "`0`"))]
    pub(super) connections_per_ip: Option<u32>,
    /// Requests under way at once that need a provider, as far as there are descriptors (`connections`); more get 503 `gateway_overloaded` with `retry-after`, before their body is read.
    #[schemars(range(min = 1, max = 10_000_000))]
    #[schemars(extend("x-default" = "`65536`"))]
    pub(super) exchanges: Option<u32>,
    /// HTTP/1.1: a request's head; then a plain 431 and a close. HTTP/2 heads are limited to 64 KiB. Beside that, a target may have 8 KiB (414), a header 16 KiB, and a request 128 headers (431).
    #[schemars(extend("x-default" = "`\"64KiB\"`"))]
    pub(super) header_bytes: Option<Size>,
    /// One request body, sent or decoded; then 413. A key may set less. Tunnels (files) are not limited.
    #[schemars(extend("x-default" = "`\"64MiB\"`"))]
    pub(super) body_bytes: Option<Size>,
    /// All request bodies that are held, together; past it 503 with `retry-after`.
    #[schemars(extend("x-default" = "`\"1GiB\"`"))]
    pub(super) buffered_body_bytes: Option<Size>,
}

/// Where session ids are looked for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Trace {
    /// Claude Code's session counts: its header `x-claude-code-session-id`, else the one in the body's `metadata`.
    #[schemars(extend("x-default" = "`false`"))]
    pub(super) claude_code_trace_enabled: Option<bool>,
    /// Codex's session counts: its header `session-id` or `session_id`, else the one in `x-codex-turn-metadata`, else its thread's, else the body's `prompt_cache_key`.
    #[schemars(extend("x-default" = "`false`"))]
    pub(super) codex_trace_enabled: Option<bool>,
    /// opencode's session counts: its header `x-session-id`, `x-session-affinity` or `x-opencode-session`.
    #[schemars(extend("x-default" = "`false`"))]
    pub(super) opencode_trace_enabled: Option<bool>,
    /// More request headers that carry a session id, asked first, in order; at most 16, none that holds credentials.
    #[schemars(extend("x-type" = "list of header names", "x-default" = "`[]`"))]
    pub(super) headers: Option<List<String>>,
    /// Whether the exchanges of a trace prefer the channel and the credential that last served it, for its prompt cache. [Sessions](#sessions)
    #[schemars(extend("x-default" = "`true`"))]
    pub(super) sticky: Option<bool>,
}

/// The log.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    /// Request headers copied into the access line (team, task, ticket …); at most 16, none that holds credentials.
    #[schemars(extend("x-type" = "list of header names", "x-default" = "`[]`"))]
    pub(super) labels: Option<List<String>>,
    /// How much the process says on standard error.
    #[schemars(extend("enum" = ["error", "warn", "info", "debug", "trace"]))]
    #[schemars(extend("x-default" = "`\"info\"`"))]
    pub(super) level: Option<String>,
    /// Where [access lines](operations.md#access-log) go; a file is made where there is none, its directory must exist.
    #[schemars(extend("x-type" = "`stdout`, `stderr`, `off`, or a path", "x-default" = "`\"stdout\"`"))]
    pub(super) access: Option<String>,
    /// The part of the successful exchanges that is [written](operations.md#sampling); what was refused, failed or slow always is. `0`: no successes.
    #[schemars(range(min = 0.0, max = 1.0))]
    #[schemars(extend("x-type" = "0 to 1", "x-default" = "`1`"))]
    pub(super) sample_successes: Option<f64>,
    /// With `sample_successes`: an answer whose first byte took longer is always written.
    #[schemars(extend("x-default" = "`\"10s\"`"))]
    pub(super) slow: Option<Wait>,
}

/// Where usage is kept beyond the end of the process.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Ledger {
    /// The file, an SQLite database; it is made where there is none, its directory too. On a local disk. One for each gateway; two processes may share it while one takes the other's place.
    #[schemars(extend("x-type" = "path"))]
    pub(super) path: String,
    /// How long single exchanges are kept. Sums by the hour are kept for good.
    #[schemars(extend("x-type" = "duration, `\"1h\"`–`\"3650d\"`", "x-default" = "`\"90d\"`"))]
    pub(super) retention: Option<Wait>,
}

/// Limits shared by several replicas.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Fleet {
    /// `redis://[user:password@]host[:port][/database]`, `rediss://` with TLS, verified against the system's certificates (`SSL_CERT_FILE` names others). Without a password in it the text may stand here.
    #[schemars(extend("x-default" = "required"))]
    pub(super) redis: Option<SecretText>,
    /// While the store is out of reach: each replica counts its share; whatever has a limit gets 503 `gateway_overloaded`; limits do not count.
    #[schemars(extend("enum" = ["local", "deny", "allow"]))]
    #[schemars(extend("x-default" = "`local`"))]
    pub(super) on_error: Option<String>,
    /// What its keys begin with: fleets with different prefixes share nothing. At most 64 visible characters.
    #[schemars(extend("x-default" = "`\"tollgate:\"`"))]
    pub(super) prefix: Option<String>,
    /// How many there are at the least: a share is no larger than one part of so many. Those that live are counted anyway; it matters to one that starts while the store is away.
    #[schemars(range(min = 1, max = 10_000))]
    #[schemars(extend("x-default" = "`1`"))]
    pub(super) replicas: Option<u32>,
    /// How long an answer may take before the store counts as out of reach.
    #[schemars(extend("x-type" = "duration, up to 5s", "x-default" = "`\"100ms\"`"))]
    pub(super) timeout: Option<Wait>,
}

/// A named list of model mappings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Profile {
    /// Its name.
    pub(super) name: String,
    /// In order.
    #[serde(default)]
    pub(super) mappings: List<Mapping>,
}

/// One mapping: `from` or `from_regex`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Mapping {
    /// The requested model, exactly.
    #[schemars(extend("x-type" = "name", "x-default" = "this or `from_regex`"))]
    pub(super) from: Option<String>,
    /// Must match the whole requested model.
    #[schemars(extend("x-type" = "regular expression", "x-default" = "this or `from`"))]
    pub(super) from_regex: Option<String>,
    /// The model it is sent as; a channel's `model_map` comes after it.
    #[schemars(extend("x-type" = "name"))]
    pub(super) to: String,
}

/// Keys that share channels and limits.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Group {
    /// Its name.
    pub(super) name: String,
    /// Over all its keys together; [limits](#limits).
    #[serde(default)]
    pub(super) limits: Limits,
    /// What all its keys together may spend; [quotas](#quotas).
    #[schemars(extend("x-default" = "no quota"))]
    pub(super) quota: Option<Quota>,
}

/// A credential clients use: `hash` or `secret`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Key {
    /// In logs and metrics; also the name its counters go by.
    pub(super) name: String,
    /// What `printf %s "$KEY" | sha256sum` prints, or `tollgate keys hash`.
    #[schemars(extend("x-type" = "`sha256:…`", "x-default" = "this or `secret`"))]
    pub(super) hash: Option<String>,
    /// The key itself, beginning with `sk-`.
    #[schemars(extend("x-default" = "this or `hash`"))]
    pub(super) secret: Option<SecretText>,
    /// Shown in logs; the whole key never is.
    #[schemars(extend("x-type" = "up to 4 characters", "x-default" = "of `secret`"))]
    pub(super) last4: Option<String>,
    /// In the access log.
    pub(super) owner: Option<String>,
    /// In the access log; where a `[[project]]` has this name, its [quota](#quotas) counts.
    pub(super) project: Option<String>,
    /// Whose channels it reaches, and who bears its cost.
    #[schemars(extend("x-type" = "group name", "x-default" = "`\"default\"`"))]
    pub(super) group: Option<String>,
    /// Instead of `group`: several, in order. [Several groups](#several-groups)
    #[schemars(extend("x-type" = "list of group names"))]
    pub(super) groups: Option<List<String>>,
    /// The profiles it may use.
    #[schemars(extend("x-type" = "list of profile names"))]
    pub(super) profiles: Option<List<String>>,
    /// The one that counts; absent: no mapping.
    #[schemars(extend("x-type" = "one of `profiles`"))]
    pub(super) active_profile: Option<String>,
    /// What the client may ask for.
    #[schemars(extend("x-type" = "list of names and patterns", "x-default" = "all that its group reaches"))]
    pub(super) models: Option<List<String>>,
    /// Where it may be used from.
    #[schemars(extend("x-type" = "list of networks and addresses", "x-default" = "anywhere"))]
    pub(super) allowed_ips: Option<List<String>>,
    /// `2027-06-30T00:00:00Z`
    #[schemars(extend("format" = "date-time", "examples" = ["2027-06-30T00:00:00Z"]))]
    #[schemars(extend("x-type" = "date with time and offset", "x-default" = "never"))]
    pub(super) expires: Option<String>,
    /// Whether it works.
    #[schemars(extend("x-default" = "`true`"))]
    pub(super) enabled: Option<bool>,
    /// Whether it may ask for streams.
    #[schemars(extend("x-default" = "`true`"))]
    pub(super) stream: Option<bool>,
    /// Whether a request that would lose something in [translation](translation.md) is refused (`untranslatable_request`, naming the field) instead of sent without it.
    #[schemars(extend("x-default" = "`false`"))]
    pub(super) strict_translation: Option<bool>,
    /// A smaller limit for its request bodies.
    #[schemars(extend("x-default" = "the server's"))]
    pub(super) body_bytes: Option<Size>,
    /// The most tokens that one of its answers may have; a client that asks for more, or does not say, gets this. [Answers' length](#answers-length)
    #[schemars(range(min = 1, max = 1_000_000_000))]
    #[schemars(extend("x-default" = "no cap"))]
    pub(super) max_output_tokens: Option<u64>,
    /// Its limits: [below](#limits).
    #[serde(default)]
    pub(super) limits: Limits,
    /// Limits for some models, beside `limits`; the first that matches the requested name counts.
    #[serde(default)]
    pub(super) model_limits: List<ModelLimit>,
    /// What it may spend; [quotas](#quotas).
    #[schemars(extend("x-default" = "no quota"))]
    pub(super) quota: Option<Quota>,
}

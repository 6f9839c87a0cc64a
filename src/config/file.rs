//! What the operator may write, as types: the published JSON Schema is generated from them.
//!
//! Invariant: the only place of the configuration where `Option` means "not written". Values that are text
//! with a meaning (durations, sizes, addresses) stay text here, so that `super::compile` can report all
//! that is wrong with them at once. The doc comments are the descriptions in the published schema.

mod channel;
mod history;
mod otlp;
mod price;
mod quota;
mod tls;

pub(super) use self::channel::{Channel, Upstream};
pub(super) use self::history::History;
pub(super) use self::otlp::Otlp;
pub(super) use self::price::Price;
pub(super) use self::quota::{Project, Quota};
pub(super) use self::tls::TlsListener;

use schemars::JsonSchema;
use serde::Deserialize;

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
    /// Where the schema is; for editors, of no meaning to the gateway.
    #[serde(rename = "$schema")]
    pub(super) _schema: Option<String>,
    /// Further files with channels, groups, profiles, projects, keys and prices: paths and patterns with `*`, relative to this file.
    pub(super) include: Option<List<String>>,
    /// Listeners and the bounds of the edge.
    pub(super) server: Option<Server>,
    /// Defaults for reaching channels.
    pub(super) upstream: Option<Upstream>,
    /// Where session ids are looked for.
    pub(super) trace: Option<Trace>,
    /// The log.
    pub(super) log: Option<Log>,
    /// Where usage is kept beyond the end of the process; absent: nowhere.
    pub(super) ledger: Option<Ledger>,
    /// Where the last good configurations are kept, to go back to; absent: nowhere.
    pub(super) history: Option<History>,
    /// Limits shared by several replicas; absent: this process counts alone.
    pub(super) fleet: Option<Fleet>,
    /// Traces and metrics for OpenTelemetry; absent: none.
    pub(super) otlp: Option<Otlp>,
    /// Accounts at providers.
    #[serde(default)]
    pub(super) channel: List<Channel>,
    /// Named lists of model mappings.
    #[serde(default)]
    pub(super) profile: List<Profile>,
    /// Keys that share channels and limits. The group `default` exists without being written.
    #[serde(default)]
    pub(super) group: List<Group>,
    /// Quotas of what keys name as their `project`; a project without one is not written here.
    #[serde(default)]
    pub(super) project: List<Project>,
    /// The credentials clients use.
    #[serde(default)]
    pub(super) key: List<Key>,
    /// What models cost, instead of the built-in prices; the first that matches counts.
    #[serde(default)]
    pub(super) price: List<Price>,
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
    /// In this environment variable.
    pub(super) env: Option<String>,
    /// In this file, relative to the file that names it; a line break at its end does not count.
    pub(super) file: Option<String>,
    /// In the credential of this name that systemd gives the service (`LoadCredential=`), read as a file is.
    pub(super) credential: Option<String>,
}

/// Listeners and the bounds of the edge.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    /// Addresses for clients; `0.0.0.0:8080` if absent and there is no `tls`. Changing it takes a restart.
    pub(super) listen: Option<List<String>>,
    /// Addresses for clients over TLS. What changes at an address that stays takes effect by reload.
    #[serde(default)]
    pub(super) tls: List<TlsListener>,
    /// Metrics, health, reload, drain; `127.0.0.1:9090` if absent. Changing it takes a restart.
    pub(super) admin: Option<String>,
    /// What admin calls must carry; required where `admin` is not a loopback address.
    pub(super) admin_token: Option<SecretText>,
    /// Worker threads; 0 or absent: one per core. Changing it takes a restart.
    #[schemars(range(min = 0, max = 1024))]
    pub(super) threads: Option<u32>,
    /// Peers whose `X-Forwarded-For` is believed; none if absent.
    pub(super) trusted_proxies: Option<List<String>>,
    /// Browser origins that may call; none if absent.
    pub(super) cors_origins: Option<List<String>>,
    /// Whether answers say in `x-tollgate-losses` what of the request translation could not carry; false if absent.
    pub(super) loss_header: Option<bool>,
    /// How long the edge waits.
    pub(super) timeouts: Option<ServerTimeouts>,
    /// How much the edge holds.
    pub(super) limits: Option<ServerLimits>,
    /// Another place for `[trace]`.
    pub(super) trace: Option<Trace>,
}

/// How long the edge waits.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ServerTimeouts {
    /// For the whole request head; 10s if absent.
    pub(super) header: Option<Wait>,
    /// Between two reads of a request body; 30s if absent.
    pub(super) body_idle: Option<Wait>,
    /// For a client to take what is sent to it; 60s if absent.
    pub(super) write_idle: Option<Wait>,
    /// For the next request of a connection; 75s if absent.
    pub(super) idle: Option<Wait>,
    /// For a connection in all, before it is told to end; 1h if absent.
    pub(super) age: Option<Wait>,
    /// Between readiness 503 and closing the listeners; 0s if absent.
    pub(super) drain_delay: Option<Wait>,
    /// For what is in flight when draining; 600s if absent.
    pub(super) drain: Option<Wait>,
}

/// How much the edge holds.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ServerLimits {
    /// Connections at once; 65536 if absent.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub(super) connections: Option<u32>,
    /// Connections of one address at once; 0 or absent: no limit.
    #[schemars(range(min = 0, max = 10_000_000))]
    pub(super) connections_per_ip: Option<u32>,
    /// Requests under way at once that need a provider; 65536 if absent.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub(super) exchanges: Option<u32>,
    /// A request head; 64KiB if absent.
    pub(super) header_bytes: Option<Size>,
    /// A request body; 64MiB if absent.
    pub(super) body_bytes: Option<Size>,
    /// All buffered bodies together; 1GiB if absent.
    pub(super) buffered_body_bytes: Option<Size>,
}

/// Where session ids are looked for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Trace {
    /// Claude Code's session ids count; false if absent.
    pub(super) claude_code_trace_enabled: Option<bool>,
    /// Codex's session ids and `prompt_cache_key` count; false if absent.
    pub(super) codex_trace_enabled: Option<bool>,
    /// opencode's session headers count; false if absent.
    pub(super) opencode_trace_enabled: Option<bool>,
    /// Further request headers that carry a session id, in order.
    pub(super) headers: Option<List<String>>,
    /// Whether the exchanges of a trace prefer the channel that last served it; true if absent.
    pub(super) sticky: Option<bool>,
}

/// The log.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    /// Request headers copied into the access line (team, task, ticket …).
    pub(super) labels: Option<List<String>>,
    /// How much is logged; info if absent.
    #[schemars(extend("enum" = ["error", "warn", "info", "debug", "trace"]))]
    pub(super) level: Option<String>,
    /// Where access lines go: stdout, stderr, off, or a path; stdout if absent.
    pub(super) access: Option<String>,
    /// The part of the successful exchanges that is written; what was refused, failed or slow always is; 1 if absent.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(super) sample_successes: Option<f64>,
    /// Of `sample_successes`: an answer whose first byte took longer is always written; 10s if absent.
    pub(super) slow: Option<Wait>,
}

/// Where usage is kept beyond the end of the process.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Ledger {
    /// The file, which is made where it is not there; one for every gateway.
    pub(super) path: String,
    /// How long single exchanges are kept, at least an hour; 90 days if absent. Sums are kept for good.
    pub(super) retention: Option<Wait>,
}

/// Limits shared by several replicas.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Fleet {
    /// The Redis or Valkey that counts for all of them: `redis://[user:password@]host[:port][/database]`, `rediss://` with TLS.
    pub(super) redis: Option<SecretText>,
    /// What counts while it is out of reach: each replica by its share, nobody passes a limit, or everybody does; local if absent.
    #[schemars(extend("enum" = ["local", "deny", "allow"]))]
    pub(super) on_error: Option<String>,
    /// What the names of its keys begin with; `tollgate:` if absent.
    pub(super) prefix: Option<String>,
    /// How many replicas there are at the least; counted if absent.
    #[schemars(range(min = 1, max = 10_000))]
    pub(super) replicas: Option<u32>,
    /// How long an answer may take before the store counts as out of reach; 100ms if absent.
    pub(super) timeout: Option<Wait>,
}

/// Limits; what is absent is unlimited.
#[derive(Debug, Default, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Requests per minute, refilled evenly.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub(super) rpm: Option<u64>,
    /// How many requests may come at once; `rpm` if absent.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub(super) burst: Option<u64>,
    /// Tokens per minute, input and output together, refilled evenly.
    #[schemars(range(min = 1, max = 1_000_000_000_000u64))]
    pub(super) tpm: Option<u64>,
    /// How many tokens may be spent at once; `tpm` if absent.
    #[schemars(range(min = 1, max = 1_000_000_000_000u64))]
    pub(super) tpm_burst: Option<u64>,
    /// Tokens of input per minute, read from a cache or not.
    #[schemars(range(min = 1, max = 1_000_000_000_000u64))]
    pub(super) input_tpm: Option<u64>,
    /// How many tokens of input may be spent at once; `input_tpm` if absent.
    #[schemars(range(min = 1, max = 1_000_000_000_000u64))]
    pub(super) input_tpm_burst: Option<u64>,
    /// Tokens of output per minute, reasoning included.
    #[schemars(range(min = 1, max = 1_000_000_000_000u64))]
    pub(super) output_tpm: Option<u64>,
    /// How many tokens of output may be spent at once; `output_tpm` if absent.
    #[schemars(range(min = 1, max = 1_000_000_000_000u64))]
    pub(super) output_tpm_burst: Option<u64>,
    /// Exchanges at once.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub(super) concurrency: Option<u32>,
    /// Of keys and groups: requests for pictures per minute, refilled evenly; they count in `rpm` too.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub(super) images_rpm: Option<u64>,
    /// How many requests for pictures may come at once; `images_rpm` if absent.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub(super) images_burst: Option<u64>,
    /// Of keys and groups: requests for speech and of transcriptions per minute, refilled evenly; they count in `rpm` too.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub(super) audio_rpm: Option<u64>,
    /// How many requests for speech and of transcriptions may come at once; `audio_rpm` if absent.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub(super) audio_burst: Option<u64>,
    /// Of keys and groups: counts of tokens per minute, refilled evenly; they count nowhere else. Ten times `rpm` if absent.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub(super) count_tokens_rpm: Option<u64>,
    /// How many counts of tokens may come at once; `count_tokens_rpm` if absent.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub(super) count_tokens_burst: Option<u64>,
}

/// A named list of model mappings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Profile {
    /// Its name.
    pub(super) name: String,
    /// The first that matches counts; there is no chaining.
    #[serde(default)]
    pub(super) mappings: List<Mapping>,
}

/// One mapping: `from` or `from_regex`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Mapping {
    /// The requested model, exactly.
    pub(super) from: Option<String>,
    /// A regular expression that must match the whole requested model.
    pub(super) from_regex: Option<String>,
    /// The model it is sent as.
    pub(super) to: String,
}

/// Keys that share channels and limits.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Group {
    /// Its name.
    pub(super) name: String,
    /// Over all its keys together.
    #[serde(default)]
    pub(super) limits: Limits,
    /// How much all its keys together may spend.
    pub(super) quota: Option<Quota>,
}

/// A credential clients use: `hash` or `secret`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Key {
    /// Its name, in logs and metrics.
    pub(super) name: String,
    /// `sha256:` and what `printf %s "$KEY" | sha256sum` prints.
    pub(super) hash: Option<String>,
    /// The key itself, or where it is found.
    pub(super) secret: Option<SecretText>,
    /// Its last four characters, shown in logs.
    pub(super) last4: Option<String>,
    /// Who holds it.
    pub(super) owner: Option<String>,
    /// What it is for; where there is a `[[project]]` of that name, its quota counts.
    pub(super) project: Option<String>,
    /// Its group; `default` if absent.
    pub(super) group: Option<String>,
    /// Instead of `group`: its groups in order. The first that can serve an exchange bears it.
    pub(super) groups: Option<List<String>>,
    /// The profiles it may use.
    pub(super) profiles: Option<List<String>>,
    /// The one of its profiles that counts; absent: no mapping.
    pub(super) active_profile: Option<String>,
    /// What the client may ask for: names, or patterns with `*`; absent: all that its group reaches.
    pub(super) models: Option<List<String>>,
    /// Where it may be used from: networks or addresses; absent: anywhere.
    pub(super) allowed_ips: Option<List<String>>,
    /// When it stops working.
    #[schemars(extend("format" = "date-time", "examples" = ["2027-06-30T00:00:00Z"]))]
    pub(super) expires: Option<String>,
    /// Whether it works; true if absent.
    pub(super) enabled: Option<bool>,
    /// Whether it may ask for streams; true if absent.
    pub(super) stream: Option<bool>,
    /// Whether what would lose something in translation is refused; false if absent.
    pub(super) strict_translation: Option<bool>,
    /// A smaller limit for its request bodies than the server's.
    pub(super) body_bytes: Option<Size>,
    /// The most tokens that one of its answers may have; a client that asks for more, or does not say, gets this.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub(super) max_output_tokens: Option<u64>,
    /// Its limits.
    #[serde(default)]
    pub(super) limits: Limits,
    /// Its limits for some models; the first that matches counts, beside `limits`.
    #[serde(default)]
    pub(super) model_limits: List<ModelLimit>,
    /// How much it may spend.
    pub(super) quota: Option<Quota>,
}

/// Limits of a key for some models.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelLimit {
    /// The model as the client asks for it: a name, or a pattern with `*`.
    pub(super) model: String,
    /// Requests per minute, refilled evenly.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub(super) rpm: Option<u64>,
    /// How many requests may come at once; `rpm` if absent.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub(super) burst: Option<u64>,
    /// Tokens per minute, input and output together, refilled evenly.
    #[schemars(range(min = 1, max = 1_000_000_000_000u64))]
    pub(super) tpm: Option<u64>,
    /// How many tokens may be spent at once; `tpm` if absent.
    #[schemars(range(min = 1, max = 1_000_000_000_000u64))]
    pub(super) tpm_burst: Option<u64>,
    /// Tokens of input per minute, read from a cache or not.
    #[schemars(range(min = 1, max = 1_000_000_000_000u64))]
    pub(super) input_tpm: Option<u64>,
    /// How many tokens of input may be spent at once; `input_tpm` if absent.
    #[schemars(range(min = 1, max = 1_000_000_000_000u64))]
    pub(super) input_tpm_burst: Option<u64>,
    /// Tokens of output per minute, reasoning included.
    #[schemars(range(min = 1, max = 1_000_000_000_000u64))]
    pub(super) output_tpm: Option<u64>,
    /// How many tokens of output may be spent at once; `output_tpm` if absent.
    #[schemars(range(min = 1, max = 1_000_000_000_000u64))]
    pub(super) output_tpm_burst: Option<u64>,
    /// Exchanges at once.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub(super) concurrency: Option<u32>,
}

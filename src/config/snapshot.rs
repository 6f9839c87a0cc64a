//! The compiled configuration: what an exchange reads, immutable, without a string left to parse.
//!
//! Invariant: a `Snapshot` that exists is right. Regexes are compiled, references resolved, secrets read,
//! addresses taken apart; no `Option` in it means "not decided yet". Indexes (`Key::index`,
//! `Channel::index`, `Group::index`) are positions in this snapshot's own tables and mean nothing in
//! another one; what survives a reload is kept elsewhere under the *name*.

mod channel;
mod egress;
mod history;
mod identity;
mod key;
mod otlp;
mod place;
mod prices;
mod quota;
mod tls;

pub use self::channel::{
    Balance, Canary, Channel, ClientAbort, Conduct, Endpoint, ForeignThinking, HttpVersion, Maker, Streams,
    UpstreamTimeouts,
};

pub use self::egress::{EgressProxy, ProxyProtocol};
pub use self::history::{History, LogSampling};
pub use self::identity::{Aws, Google, Identity};
pub use self::key::Key;
pub use self::otlp::{Convention, Otlp};
pub use self::place::{CredentialForm, Naming, Place, Places};
pub use self::prices::{PriceRule, Prices};
pub use self::quota::{Per, Project, Quota};
pub use self::tls::{ChannelTls, TlsFiles, TlsListener};

use crate::aside;
use crate::id::{GroupId, ProfileId};
use crate::protocol::Medium;
use crate::secret::{KeyDigest, Secret};
use crate::spread::{Map, Set};
use ipnet::IpNet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// One generation of the configuration.
#[derive(Debug)]
pub struct Snapshot {
    /// SHA-256 over every file read, shown as `config_info{hash}` so that drift between replicas is visible.
    pub hash: String,
    /// Listeners and the bounds of the edge.
    pub server: Server,
    /// Where session ids are looked for.
    pub trace: Trace,
    /// The access log.
    pub log: Log,
    /// Where usage is kept; `None`: nowhere.
    pub ledger: Option<Ledger>,
    /// Where the last good configurations are kept; `None`: nowhere.
    pub history: Option<History>,
    /// Where replicas count their limits together.
    pub fleet: Option<Fleet>,
    /// Where traces and metrics go; `None`: nowhere.
    pub otlp: Option<Arc<Otlp>>,
    /// How many channels one exchange may try.
    pub attempts: usize,
    /// Retries per thousand exchanges of recent traffic.
    pub retry_budget_permille: u32,
    /// Keys by position; `Key::index` is the place here.
    pub keys: Vec<Arc<Key>>,
    /// Groups by position; `Group::index` is the place here.
    pub groups: Vec<Arc<Group>>,
    /// Projects that have a quota.
    pub projects: Vec<Project>,
    /// Channels in file order; `Channel::index` is the place here. Disabled ones are listed too.
    pub channels: Vec<Arc<Channel>>,
    /// What models cost.
    pub prices: Prices,
    /// Profiles by name.
    pub profiles: Map<ProfileId, Arc<Profile>>,
    /// Position in `keys` by the digest of the credential.
    pub key_by_digest: Map<KeyDigest, usize>,
}

/// Whoever lets go of it last may be a thread that serves, and a hundred thousand keys are not let go of in no time.
impl Drop for Snapshot {
    fn drop(&mut self) {
        if self.keys.len() >= ASIDE_KEYS_MIN {
            aside::let_go((std::mem::take(&mut self.keys), std::mem::take(&mut self.key_by_digest)));
        }
    }
}

/// Fewer are gone sooner than a thread is made.
pub(crate) const ASIDE_KEYS_MIN: usize = 1_000;

impl Snapshot {
    /// The key with this credential.
    pub fn key(&self, digest: &KeyDigest) -> Option<&Arc<Key>> {
        self.key_by_digest.get(digest).map(|index| &self.keys[*index])
    }

    /// The key with this name.
    pub fn key_named(&self, name: &str) -> Option<&Arc<Key>> {
        self.keys.iter().find(|key| key.id.as_str() == name)
    }
}

/// `[fleet]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    /// The store's address, with its password.
    pub redis: Secret,
    /// Who counts while the store is out of reach.
    pub on_error: OnError,
    /// What the names of its keys begin with.
    pub prefix: String,
    /// How many replicas there are at the least.
    pub replicas: u32,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// What happens to limits while the store is out of reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// Each replica counts its share.
    Local,
    /// Nobody passes.
    Deny,
    /// Everybody passes.
    Allow,
}

impl OnError {
    /// Its name in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Deny => "deny",
            Self::Allow => "allow",
        }
    }
}

/// `[server]` and its tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Public listeners without TLS; empty only where there are some with it.
    pub listen: Vec<SocketAddr>,
    /// Public listeners with TLS.
    pub tls: Vec<TlsListener>,
    /// The admin listener.
    pub admin: SocketAddr,
    /// Required for admin calls where set, except `/metrics`, `/livez`, `/readyz`.
    pub admin_token: Option<Secret>,
    /// Worker threads, already resolved (never 0).
    pub threads: usize,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Browser origins that may call.
    pub cors_origins: Vec<String>,
    /// Whether answers say what of the request translation could not carry.
    pub loss_header: bool,
    /// `[server.timeouts]`.
    pub timeouts: ServerTimeouts,
    /// `[server.limits]`.
    pub limits: ServerLimits,
}

/// `[server.timeouts]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTimeouts {
    /// The whole request head.
    pub header: Duration,
    /// Between two reads of a request body.
    pub body_idle: Duration,
    /// Between two writes that a client takes.
    pub write_idle: Duration,
    /// Keep-alive.
    pub idle: Duration,
    /// How old a connection may get before it is told to end.
    pub age: Duration,
    /// Between readiness 503 and closing the listeners.
    pub drain_delay: Duration,
    /// The longest a draining process waits for what is in flight.
    pub drain: Duration,
}

/// `[server.limits]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections at once.
    pub connections: usize,
    /// Connections of one address at once; 0: no limit.
    pub connections_per_ip: usize,
    /// Requests under way at once that need a provider.
    pub exchanges: usize,
    /// A request head.
    pub header_bytes: usize,
    /// A request body.
    pub body_bytes: usize,
    /// All buffered bodies together.
    pub buffered_body_bytes: usize,
}

impl ServerLimits {
    /// The connections of clients and the exchanges that there can be of these, where one descriptor for each comes to no more
    /// than this: half for each, and what one does not want for the other. Of either so many are there already, which counts
    /// where a reload gives to one side what the other has not let go yet.
    pub fn within(&self, descriptors: usize, (open, under_way): (usize, usize)) -> (usize, usize) {
        let half = descriptors / 2;
        let exchanges = self.exchanges.min(descriptors - self.connections.min(half));
        let connections = self.connections.min(descriptors - self.exchanges.min(descriptors - half));
        (
            connections.min(descriptors.saturating_sub(under_way)),
            exchanges.min(descriptors.saturating_sub(open)),
        )
    }
}

/// `[trace]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trace {
    /// The tools whose own session ids count.
    pub tools: Vec<Tool>,
    /// Exchanges of a trace prefer the channel and credential that last served it.
    pub sticky: bool,
    /// Further headers, lower case, in order; they always count.
    pub headers: Vec<String>,
}

/// A client that names its sessions in a way of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// Its session header and `metadata.user_id`.
    ClaudeCode,
    /// Its session headers and `prompt_cache_key`.
    Codex,
    /// Its session headers.
    Opencode,
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Request headers copied into the access line, lower case.
    pub labels: Vec<String>,
    /// error, warn, info, debug or trace.
    pub level: String,
    /// Where access lines go.
    pub access: AccessTarget,
    /// Which successes are written; `None`: all.
    pub sampling: Option<LogSampling>,
}

/// Where access lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessTarget {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Nowhere.
    Off,
    /// A file, reopened on USR1.
    File(PathBuf),
}

/// `[ledger]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// The file.
    pub path: PathBuf,
    /// How long single exchanges are kept.
    pub retention: Duration,
}

/// Keys that share channels and limits.
#[derive(Debug)]
pub struct Group {
    /// Its name.
    pub id: GroupId,
    /// Position in [`Snapshot::groups`].
    pub index: usize,
    /// Limits over all its keys together.
    pub limits: Limits,
    /// The quota of all its keys together.
    pub quota: Option<Quota>,
}

/// A named list of model mappings.
#[derive(Debug)]
pub struct Profile {
    /// Its name.
    pub id: ProfileId,
    /// First match wins, no chaining.
    pub mappings: Vec<Mapping>,
}

impl Profile {
    /// What the requested model is called for this profile's keys; `None`: no mapping matches.
    pub fn map(&self, requested: &str) -> Option<&Mapping> {
        self.mappings.iter().find(|mapping| mapping.from.matches(requested))
    }
}

/// One rule of a profile.
#[derive(Debug)]
pub struct Mapping {
    /// What it applies to.
    pub from: MappingFrom,
    /// The model's name from there on.
    pub to: String,
}

/// What a mapping applies to.
#[derive(Debug)]
pub enum MappingFrom {
    /// This name.
    Exact(String),
    /// Names this regex matches as a whole (compiled anchored).
    Regex(regex::Regex),
}

impl MappingFrom {
    /// Whether the rule applies.
    pub fn matches(&self, requested: &str) -> bool {
        match self {
            Self::Exact(name) => name == requested,
            Self::Regex(regex) => regex.is_match(requested),
        }
    }
}

/// Limits as configured; `None`: none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// Requests per minute, with how many may come at once.
    pub rpm: Option<Rate>,
    /// Tokens per minute, input and output together, with how many may be spent at once.
    pub tpm: Option<Rate>,
    /// The same for input alone.
    pub input_tpm: Option<Rate>,
    /// The same for output alone.
    pub output_tpm: Option<Rate>,
    /// Exchanges at once.
    pub concurrency: Option<u32>,
    /// Requests per minute for each of [`Medium::ALL`]: of keys and groups.
    pub media: [Option<Rate>; Medium::ALL.len()],
}

/// A rate with its burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Refilled evenly over a minute.
    pub per_minute: u64,
    /// How many a rested bucket admits at once.
    pub burst: u64,
}

/// Limits of a key for some models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelLimit {
    /// The models as the client asks for them: exact or with `*`; also the counter's name.
    pub model: String,
    /// The compiled form of `model`.
    pub pattern: Pattern,
    /// The limits.
    pub limits: Limits,
}

/// A name, or a name with `*` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// This name.
    Exact(String),
    /// Literal parts between stars, in order; the first is a prefix, the last a suffix.
    Glob(Vec<String>),
}

impl Pattern {
    /// Reads a pattern; every `*` stands for any run of characters.
    pub fn new(text: &str) -> Self {
        if text.contains('*') {
            Self::Glob(text.split('*').map(str::to_owned).collect())
        } else {
            Self::Exact(text.to_owned())
        }
    }

    /// Whether the name fits. Linear in the name's length times the number of stars.
    pub fn matches(&self, name: &str) -> bool {
        let parts = match self {
            Self::Exact(exact) => return exact == name,
            Self::Glob(parts) => parts,
        };
        let (Some((first, rest)), Some(last)) = (parts.split_first(), parts.last()) else { return false };
        let Some(mut tail) = name.strip_prefix(first.as_str()) else { return false };
        let middle = rest.len().saturating_sub(1);
        for part in &rest[..middle] {
            let Some(at) = tail.find(part.as_str()) else { return false };
            tail = &tail[at + part.len()..];
        }
        tail.ends_with(last.as_str())
    }
}

/// Names and patterns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Patterns {
    exact: Set<String>,
    globs: Vec<Pattern>,
    listed: Vec<String>,
}

impl Patterns {
    /// Compiles a list.
    pub fn new<T: AsRef<str>>(texts: &[T]) -> Self {
        let mut patterns = Self::default();
        for text in texts {
            let text = text.as_ref();
            patterns.listed.push(text.to_owned());
            match Pattern::new(text) {
                Pattern::Exact(name) => {
                    patterns.exact.insert(name);
                }
                glob @ Pattern::Glob(_) => patterns.globs.push(glob),
            }
        }
        patterns
    }

    /// Whether the name is listed or fits a pattern.
    pub fn matches(&self, name: &str) -> bool {
        self.exact.contains(name) || self.globs.iter().any(|glob| glob.matches(name))
    }

    /// The list as written.
    pub fn listed(&self) -> &[String] {
        &self.listed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_written() {
        for (pattern, name, fits) in [
            ("gpt-4.1", "gpt-4.1", true),
            ("gpt-4.1", "gpt-4.1-mini", false),
            ("*", "anything", true),
            ("claude-*", "claude-sonnet-4-5", true),
            ("claude-*", "xclaude-sonnet", false),
            ("*-mini", "gpt-4.1-mini", true),
            ("a*a", "a", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "acb", false),
            ("a**c", "abc", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(name), fits, "{pattern} {name}");
            assert_eq!(Patterns::new(&[pattern]).matches(name), fits, "{pattern} {name}");
        }
    }
}

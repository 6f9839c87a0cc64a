//! The fake providers of a run and the configuration that puts the gateway in front of them.

use crate::question::Dialect;
use crate::random::Random;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::sleep;
use tollgate_loadtest::{Options, Outcome, Provider, Recorded, ReservedPort};

/// The models clients ask for; some channels know the second by another name.
pub(crate) const MODELS: [&str; 2] = ["plain-model", "mapped-model"];
/// Pieces of text in an answer.
pub(crate) const CHUNKS: usize = 6;

/// The types of channels. Each has its own groups and keys: an answer that was translated could not be held against what the
/// provider sent, nor its request found there.
const KINDS: [&str; 3] = ["openai", "anthropic", "gemini"];

/// Keys of the gateway, alike but for the channels they reach.
#[derive(Debug)]
pub(crate) struct Key {
    secrets: [&'static str; 3],
    more: &'static str,
}

macro_rules! key {
    ($secret:literal, $more:literal) => {
        Key {
            secrets: [
                concat!($secret, "-openai"),
                concat!($secret, "-anthropic"),
                concat!($secret, "-gemini"),
            ],
            more: $more,
        }
    };
}

/// The first is what most clients have.
pub(crate) const KEYS: [Key; 4] = [
    key!("sk-chaos-free-0123456789", "limits = { rpm = 10000000, concurrency = 10000 }"),
    key!("sk-chaos-slow-0123456789", "limits = { rpm = 300, burst = 5 }"),
    key!("sk-chaos-narrow-01234567", "limits = { concurrency = 2 }"),
    key!("sk-chaos-whole-012345678", "stream = false"),
];

/// A provider of so many pieces at this pace, that keeps no bodies.
pub(crate) fn options(chunks: usize, pace: Duration) -> Options {
    Options { chunks, pace, record_bodies: false, ..Options::default() }
}

impl Key {
    /// The one of these clients.
    pub(crate) fn of(&self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::OpenAi => self.secrets[0],
            Dialect::Anthropic => self.secrets[1],
            Dialect::Gemini => self.secrets[2],
        }
    }
}
/// A key the gateway does not know.
pub(crate) const WRONG_KEY: &str = "sk-chaos-wrong-012345678";

/// One provider and the channel before it.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) channel: String,
    kind: &'static str,
    http2: bool,
    pub(crate) provider: Arc<Provider>,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) sites: Vec<Site>,
    /// A channel whose provider refuses every connection.
    dead: ReservedPort,
}

/// The channel that leads nowhere.
pub(crate) const DEAD: &str = "openai-dead";

impl Fleet {
    pub(crate) async fn start() -> io::Result<Self> {
        let mut sites = Vec::new();
        for kind in KINDS {
            for (word, http2) in [("one", false), ("two", true), ("three", false)] {
                let provider = Arc::new(Provider::start(options(CHUNKS, Duration::ZERO)).await?);
                sites.push(Site { channel: format!("{kind}-{word}"), kind, http2, provider });
            }
        }
        Ok(Self { sites, dead: ReservedPort::new()? })
    }

    /// A configuration, different with each generation in what does not need a restart.
    pub(crate) fn configuration(&self, generation: u64, random: &mut Random) -> String {
        let mut text = HEAD.to_owned();
        let models = MODELS.map(|model| format!("\"{model}\"")).join(", ");
        for (at, site) in self.sites.iter().enumerate() {
            let (name, kind, base) = (&site.channel, site.kind, site.provider.base_url());
            // One credential is new in each generation, the other stays.
            let keys =
                format!("\"sk-up-{name}-stays-0123456789\", \"sk-up-{name}-g{generation}-0123456789\"");
            let weight = random.between(1, 4);
            let balance = random.pick(&["weighted", "least_latency", "least_busy"]);
            let ping = random.pick(&["0s", "100ms", "250ms"]);
            let abort = random.pick(&["cancel", "cancel", "drain"]);
            let early = at % 3 == 2 && *ping != "0s" && random.one_in(2);
            let version = if site.http2 { "2" } else { "auto" };
            let map = if at % 3 == 1 { "model_map = { \"mapped-model\" = \"inner-model\" }\n" } else { "" };
            // Writing into a String cannot fail.
            write!(
                text,
                "[[channel]]\nname = \"{name}\"\ngroups = [\"{kind}\"]\ntype = \"{kind}\"\nbase_url = \"{base}\"\napi_keys = [{keys}]\n\
                 models = [{models}]\nweight = {weight}\nbalance = \"{balance}\"\nping_interval = \"{ping}\"\n\
                 on_client_abort = \"{abort}\"\nping_before_first_event = {early}\nhttp_version = \"{version}\"\n{map}"
            )
            .unwrap_or_default();
        }
        let dead = self.dead.addr();
        write!(
            text,
            "[[channel]]\nname = \"{DEAD}\"\ngroups = [\"openai\"]\ntype = \"openai\"\nbase_url = \"http://{dead}\"\n\
             api_keys = [\"sk-up-dead-0123456789\"]\nmodels = [{models}]\n"
        )
        .unwrap_or_default();
        for (place, kind) in KINDS.iter().enumerate() {
            writeln!(text, "[[group]]\nname = \"{kind}\"").unwrap_or_default();
            for (at, key) in KEYS.iter().enumerate() {
                let (secret, more) = (key.secrets[place], key.more);
                write!(
                    text,
                    "[[key]]\nname = \"key-{at}-{kind}\"\ngroup = \"{kind}\"\nsecret = \"{secret}\"\n{more}\n"
                )
                .unwrap_or_default();
            }
        }
        text
    }

    /// Lets nothing fail and nothing wait any more.
    pub(crate) fn calm(&self) {
        for site in &self.sites {
            site.provider.clear_scripts();
            site.provider.release_many(site.provider.holding());
        }
    }

    pub(crate) fn open_connections(&self) -> usize {
        self.sites.iter().map(|site| site.provider.open_connections()).sum()
    }
}

/// What a provider saw of one request.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    /// The exchange it belongs to.
    pub(crate) exchange: u64,
    pub(crate) connection: u64,
    pub(crate) status: Option<u16>,
    pub(crate) outcome: Outcome,
}

/// What every provider saw, by its running number: the fake keeps the last ones only.
#[derive(Debug, Default)]
pub(crate) struct Arrivals(Mutex<HashMap<String, BTreeMap<usize, Arrival>>>);

impl Arrivals {
    /// Reads what is new, again and again; aborted by its owner.
    pub(crate) async fn collect(&self, fleet: &Fleet) {
        loop {
            self.look(fleet);
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Reads what is new or was not settled yet.
    pub(crate) fn look(&self, fleet: &Fleet) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for site in &fleet.sites {
            let known = all.entry(site.channel.clone()).or_default();
            for recorded in site.provider.requests() {
                let settled =
                    known.get(&recorded.number).is_some_and(|known| known.outcome != Outcome::Answering);
                if !settled {
                    known.insert(recorded.number, Arrival::of(&recorded));
                }
            }
        }
    }

    pub(crate) fn take(&self) -> HashMap<String, BTreeMap<usize, Arrival>> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Arrival {
    fn of(recorded: &Recorded) -> Self {
        let number = recorded.header(crate::question::NUMBER).and_then(|number| number.parse().ok());
        Self {
            exchange: number.unwrap_or_default(),
            connection: recorded.connection,
            status: recorded.sent.status,
            outcome: recorded.outcome,
        }
    }
}

/// Timeouts short enough that silence is met often.
const HEAD: &str = r#"
[server]
listen = ["127.0.0.1:0"]
admin = "127.0.0.1:0"
threads = 2
[server.timeouts]
header = "3s"
body_idle = "2s"
idle = "10s"
[upstream]
connect_timeout = "1s"
first_byte_timeout = "800ms"
response_timeout = "1s"
idle_timeout = "700ms"
attempts = 3
include_usage = false
queue = 20
queue_timeout = "500ms"
[trace]
headers = ["x-session-id"]
sticky = true
[log]
access = "access.log"
labels = ["x-chaos"]
level = "info"
"#;

//! The store over the wire: one multiplexed connection, four scripts, and what can go wrong in one closed list.
//!
//! The names of the store's keys carry the layout's version ([`LAYOUT`]), so that replicas of two programs count
//! apart rather than wrongly while an upgrade rolls. A script is sent by its digest, and whole where the store has
//! never seen it (redis's own `EVALSHA`, `NOSCRIPT`, `SCRIPT LOAD`).

use crate::config::snapshot::Fleet;
use crate::limit::{allot, lease::Answer};
use crate::state::lending::{Kind, Question};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError, Script, ServerErrorKind};
use std::time::Duration;
use tokio::time::timeout;

/// How the store's data is laid out: another layout gets another number.
const LAYOUT: &str = "v1";

/// Why the store did not answer, for people and as a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    Timeout,
    Unreachable,
    Denied,
    ReadOnly,
    Full,
    Loading,
    Other,
}

impl Trouble {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Denied => "denied",
            Self::ReadOnly => "read_only",
            Self::Full => "out_of_memory",
            Self::Loading => "loading",
            Self::Other => "other",
        }
    }

    fn of(error: &RedisError) -> Self {
        match (error.kind(), error.code()) {
            _ if error.is_timeout() => Self::Timeout,
            (ErrorKind::AuthenticationFailed | ErrorKind::Server(ServerErrorKind::NoPerm), _)
            | (_, Some("NOAUTH" | "WRONGPASS" | "NOPERM")) => Self::Denied,
            (ErrorKind::Server(ServerErrorKind::ReadOnly), _) | (_, Some("READONLY")) => Self::ReadOnly,
            (ErrorKind::Server(ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown), _) => {
                Self::Loading
            }
            (_, Some("OOM")) => Self::Full,
            // What a script ran into is told in the words of its error.
            _ if error.detail().is_some_and(|detail| detail.contains("READONLY")) => Self::ReadOnly,
            _ if error.detail().is_some_and(|detail| detail.contains("OOM")) => Self::Full,
            _ if error.is_io_error() || error.is_connection_dropped() || error.is_unrecoverable_error() => {
                Self::Unreachable
            }
            _ => Self::Other,
        }
    }
}

/// What went wrong, with the store's own words.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) trouble: Trouble,
    pub(super) detail: String,
}

impl Lost {
    fn in_time(limit: Duration) -> Self {
        let detail = format!("no answer within {} ms", limit.as_millis());
        Self { trouble: Trouble::Timeout, detail }
    }
}

impl From<RedisError> for Lost {
    fn from(error: RedisError) -> Self {
        let detail = error.to_string().chars().filter(|c| !c.is_control()).take(DETAIL_CHARS_MAX).collect();
        Self { trouble: Trouble::of(&error), detail }
    }
}

/// An open connection; clones share it.
#[derive(Clone)]
pub(super) struct Store {
    connection: MultiplexedConnection,
    scripts: &'static Scripts,
    prefix: String,
    id: String,
    limit: Duration,
}

struct Scripts {
    rate: Script,
    slots: Script,
    quota: Script,
    replicas: Script,
}

/// What is said with each question about a quota.
#[derive(Debug)]
pub(super) struct Told {
    /// Who asks.
    pub(super) process: String,
    /// The ledger that knows of earlier processes.
    pub(super) books: String,
    /// How long the window's count is of use; `None`: for good.
    pub(super) keep: Option<Duration>,
    /// Whether it says nothing more.
    pub(super) leaves: bool,
}

fn scripts() -> &'static Scripts {
    static SCRIPTS: std::sync::OnceLock<Scripts> = std::sync::OnceLock::new();
    SCRIPTS.get_or_init(|| Scripts {
        rate: Script::new(include_str!("scripts/rate.lua")),
        slots: Script::new(include_str!("scripts/slots.lua")),
        quota: Script::new(include_str!("scripts/quota.lua")),
        replicas: Script::new(include_str!("scripts/replicas.lua")),
    })
}

impl Store {
    /// Connects and says that this replica lives; with how many do.
    pub(super) async fn open(fleet: &Fleet, id: &str) -> Result<(Self, u64), Lost> {
        let limit = fleet.timeout.max(CONNECT_MIN);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limit))
            .set_response_timeout(Some(fleet.timeout));
        let client = Client::open(fleet.redis.expose())?;
        let opening = timeout(limit, client.get_multiplexed_async_connection_with_config(&config));
        let connection = opening.await.map_err(|_| Lost::in_time(limit))??;
        let (prefix, id) = (fleet.prefix.clone(), id.to_owned());
        let store = Self { connection, scripts: scripts(), prefix, id, limit: fleet.timeout };
        let replicas = store.live(REPLICA_HOLD).await?;
        Ok((store, replicas))
    }

    /// Says for how long this replica is known to live, and learns how many do.
    pub(super) async fn live(&self, hold: Duration) -> Result<u64, Lost> {
        let mut connection = self.connection.clone();
        let mut script = self.scripts.replicas.key(format!("{}{LAYOUT}:replicas", self.prefix));
        script.arg(&self.id).arg(millis(hold));
        self.bounded(script.invoke_async(&mut connection)).await
    }

    /// Asks about one limit; `None`: a later question of this replica has been answered already.
    pub(super) async fn ask(
        &self,
        kind: Kind,
        name: &str,
        question: Question,
    ) -> Result<Option<Answer>, Lost> {
        let Question { shape, call, known } = question;
        let mut connection = self.connection.clone();
        let key = format!("{}{LAYOUT}:{}:{name}", self.prefix, kind.word());
        // The store's hold outlasts the replica's by the most two clocks can drift apart meanwhile, and more.
        let ttl = millis(hold(kind)) + millis(hold(kind)) / 10;
        let mut script = match kind {
            Kind::Concurrency => self.scripts.slots.key(key),
            _ => self.scripts.rate.key(key),
        };
        script.arg(&self.id).arg(call.seq).arg(call.keep);
        if kind != Kind::Concurrency {
            script.arg(call.total).arg(call.unconfirmed).arg(known);
        }
        script.arg(call.need).arg(call.least).arg(call.extra).arg(shape.burst);
        if kind != Kind::Concurrency {
            script.arg(shape.per_minute);
        }
        script.arg(ttl);
        let said: Vec<i64> = self.bounded(script.invoke_async(&mut connection)).await?;
        let number = |value: i64| u64::try_from(value).unwrap_or(0);
        Ok(match said[..] {
            [1, granted, free, wait] => Some(Answer {
                granted: number(granted),
                free: number(free),
                wait: Duration::from_micros(number(wait)),
            }),
            _ => None,
        })
    }

    /// Asks about one window of a quota; `None`: a later question of this process has been answered already.
    pub(super) async fn ask_quota(
        &self,
        name: &str,
        told: &Told,
        call: allot::Call,
    ) -> Result<Option<allot::Answer>, Lost> {
        let mut connection = self.connection.clone();
        let mut script = self.scripts.quota.key(format!("{}{LAYOUT}:quota:{name}", self.prefix));
        script.arg(&told.process).arg(call.seq).arg(&told.books);
        script.arg(millis(QUOTA_HOLD) + millis(QUOTA_HOLD) / 10);
        script.arg(told.keep.map_or(0, millis)).arg(u8::from(told.leaves));
        for at in 0..3 {
            script.arg(call.settled[at]).arg(call.top[at]).arg(call.base[at]).arg(call.known[at]);
            script.arg(call.need[at]).arg(call.least[at]).arg(call.extra[at]);
            script.arg(call.limits[at].map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX)));
        }
        let said: Vec<i64> = self.bounded(script.invoke_async(&mut connection)).await?;
        let parts = |said: &[i64]| [0, 1, 2].map(|at| u64::try_from(said[at]).unwrap_or(0));
        Ok(match &said[..] {
            [1, parts_of @ ..] if parts_of.len() == 9 => Some(allot::Answer {
                granted: parts(&parts_of[..3]),
                held: parts(&parts_of[3..6]),
                settled: parts(&parts_of[6..]),
            }),
            _ => None,
        })
    }

    async fn bounded<T>(&self, asked: impl Future<Output = redis::RedisResult<T>>) -> Result<T, Lost> {
        Ok(timeout(self.limit, asked).await.map_err(|_| Lost::in_time(self.limit))??)
    }
}

/// How long what is held may be spent without word to the store. Slots outlast a hanging store for a while, as what
/// holds them goes on meanwhile; it is also how long those of a replica that died are missing.
pub(super) fn hold(kind: Kind) -> Duration {
    if kind == Kind::Concurrency { SLOTS_HOLD } else { RATE_HOLD }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

const RATE_HOLD: Duration = Duration::from_millis(2_500);
const SLOTS_HOLD: Duration = Duration::from_secs(5);
/// The same of quotas: as they last for days, what a replica that died had reserved can be missing for a while, and what a
/// hanging store forgets cannot be refused any more.
pub(super) const QUOTA_HOLD: Duration = Duration::from_secs(10);
/// How long a replica that died still counts as one of so many.
pub(super) const REPLICA_HOLD: Duration = Duration::from_secs(10);
/// A connection with TLS takes several round trips.
const CONNECT_MIN: Duration = Duration::from_secs(1);
/// Of the store's words, so many are logged.
const DETAIL_CHARS_MAX: usize = 200;

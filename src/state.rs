//! What survives a reload: limit counters, exchanges in flight and waiting, channel health, buffered bytes,
//! and which provider signed what.
//!
//! Two halves. The [`Registry`] lives as long as the process and keeps every counter under the operator's
//! *name* for the thing. A [`Live`] joins one snapshot with the registry's counters, by position, so that an
//! exchange finds everything with one load and no lookup.
//! Invariants: a reload never resets a counter of a name that stays; what an exchange holds (slots, leases,
//! bytes) is given back when its guard is dropped, in every way an exchange can end.

pub mod bodies;
pub mod budgets;
pub mod charge;
pub mod gate;
pub mod health;
pub mod lending;
pub mod lessons;
pub mod permit;
pub mod queue;
pub mod quotas;
pub mod refused;
pub mod responses;
pub mod signers;
pub mod sticky;

use crate::aside;
use crate::balance::rendezvous;
use crate::config::Snapshot;
use crate::config::snapshot::{ASIDE_KEYS_MIN, Channel, Limits, ModelLimit};
use crate::id::{ChannelId, GroupId, KeyId};
use crate::limit::Nanos;
use crate::limit::quota::Spent;
use crate::protocol::Protocol;
use crate::protocol::task::Account;
use crate::secret::{KeyDigest, Secret};
use bodies::Bodies;
use budgets::Budgets;
use dashmap::DashMap;
use gate::Gate;
use health::{ChannelHealth, Rest};
use lending::Lender;
use lessons::Lessons;
use queue::Queue;
use quotas::{BoundQuotas, QuotaScope, Quotas};
use responses::Responses;
use signers::{Signer, Signers};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use sticky::Sticky;

/// Every counter of the process, by name.
#[derive(Debug, Default)]
pub struct Registry {
    gates: DashMap<GateName, Arc<Gate>>,
    health: DashMap<ChannelId, Arc<ChannelHealth>>,
    credentials: DashMap<(ChannelId, KeyDigest), Arc<Rest>>,
    unasked: DashMap<(ChannelId, Signer), Arc<Rest>>,
    budgets: Budgets,
    queues: DashMap<ChannelId, Arc<Queue>>,
    turn: AtomicU64,
    draw: AtomicU64,
    leases: Arc<AtomicI64>,
    streams: Arc<AtomicI64>,
    bodies: Arc<Bodies>,
    signers: Signers,
    sticky: Sticky,
    responses: Responses,
    lessons: Lessons,
    lender: Arc<Lender>,
    quotas: Quotas,
}

impl Registry {
    /// Joins a snapshot with the counters of its names; those of names that are gone are let go (an exchange
    /// that still holds one keeps it alive until it ends).
    pub fn bind(&self, snapshot: Arc<Snapshot>, now: Nanos) -> Live {
        self.bodies.configure(snapshot.server.limits.buffered_body_bytes);
        let mut kept = HashSet::new();
        let mut gate = |name: GateName, limits: &Limits| {
            let gate = Arc::clone(&self.gates.entry(name.clone()).or_default());
            if snapshot.fleet.is_some() {
                gate.share(&self.lender, || name.to_string());
            }
            gate.configure(limits, now);
            kept.insert(name);
            gate
        };
        let keys = snapshot.keys.iter().map(|key| KeyState {
            gate: gate(GateName::Key(key.id.clone()), &key.limits),
            models: key
                .model_limits
                .iter()
                .map(|rule| gate(GateName::KeyModel(key.id.clone(), rule.model.clone()), &rule.limits))
                .collect(),
        });
        let keys: Vec<_> = keys.collect();
        let groups =
            snapshot.groups.iter().map(|group| gate(GateName::Group(group.id.clone()), &group.limits));
        let groups: Vec<_> = groups.collect();
        let channels = snapshot.channels.iter().map(|channel| ChannelState {
            mark: rendezvous::mark([channel.id.as_str().as_bytes()]),
            accounts: channel.credentials.iter().map(|secret| account(channel, secret)).collect(),
            credential_marks: channel.credentials.iter().map(|secret| secret.digest().mark()).collect(),
            gate: gate(GateName::Channel(channel.id.clone()), &channel.limits),
            health: Arc::clone(&self.health.entry(channel.id.clone()).or_default()),
            signers: Protocol::ALL.map(|protocol| Signer::of(channel, protocol)),
            usage_unasked: Arc::clone(
                &self.unasked.entry((channel.id.clone(), Signer::of(channel, Protocol::Chat))).or_default(),
            ),
            credentials: channel
                .whole_credentials()
                .map(|whole| Arc::clone(&self.credentials.entry((channel.id.clone(), whole)).or_default()))
                .collect(),
            credential_gates: channel
                .credentials
                .iter()
                .map(|secret| {
                    let name = GateName::Credential(channel.id.clone(), secret.digest());
                    gate(name, &channel.credential_limits)
                })
                .collect(),
            queue: Arc::clone(&self.queues.entry(channel.id.clone()).or_default()),
        });
        let channels: Vec<_> = channels.collect();
        self.gates.retain(|name, _| kept.contains(name));
        self.let_go(&snapshot);
        // Who waits may find more room than before.
        for channel in &channels {
            channel.queue.wake();
        }
        let quotas = self.quotas.bind(&snapshot, &self.lender);
        Live { snapshot, keys, groups, channels, quotas }
    }

    /// Forgets what belongs to channels and credentials that are gone.
    fn let_go(&self, snapshot: &Snapshot) {
        let known: HashSet<_> = snapshot.channels.iter().map(|channel| &channel.id).collect();
        self.health.retain(|name, _| known.contains(name));
        self.queues.retain(|name, _| known.contains(name));
        let signed = |channel: &Arc<Channel>| (channel.id.clone(), Signer::of(channel, Protocol::Chat));
        let signed: HashSet<_> = snapshot.channels.iter().map(signed).collect();
        self.unasked.retain(|name, _| signed.contains(name));
        let held = snapshot
            .channels
            .iter()
            .flat_map(|channel| channel.whole_credentials().map(|whole| (channel.id.clone(), whole)));
        let held: HashSet<_> = held.collect();
        self.credentials.retain(|name, _| held.contains(name));
    }

    /// The next turn of the weighted choice.
    pub fn turn(&self) -> u64 {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// The number of the next draw for a canary.
    pub fn draw(&self) -> u64 {
        self.draw.fetch_add(1, Ordering::Relaxed)
    }

    /// The retry budgets.
    pub fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// The counter of open leases, shared by every permit.
    pub fn leases(&self) -> &Arc<AtomicI64> {
        &self.leases
    }

    /// The counter of streams being relayed.
    pub fn streams(&self) -> &Arc<AtomicI64> {
        &self.streams
    }

    /// Which provider signed what.
    pub fn signers(&self) -> &Signers {
        &self.signers
    }

    /// Which channel last served which session.
    pub fn sticky(&self) -> &Sticky {
        &self.sticky
    }

    /// Which account keeps which response.
    pub fn responses(&self) -> &Responses {
        &self.responses
    }

    /// What exchanges with each model usually cost.
    pub fn lessons(&self) -> &Lessons {
        &self.lessons
    }

    /// Which limits are shared with other replicas, and how the store stands.
    pub fn lender(&self) -> &Arc<Lender> {
        &self.lender
    }

    /// How the fleet counts has changed, or how many it is: each limit's own count takes its new share.
    pub fn reshare(&self, now: Nanos) {
        for gate in &self.gates {
            gate.reshare(now);
        }
    }

    /// The store is back: what was spent meanwhile will be told.
    pub fn rejoin(&self, now: Nanos, unix: u64) {
        for gate in &self.gates {
            gate.rejoin(now);
        }
        self.quotas.rejoin(unix);
    }

    /// Books what this scope is known to have spent in the window that began then, as far as it is more than what is
    /// known here: for what an earlier process has written down. `false`: the scope has no quota, or no window of it
    /// begins then. Called with what [`Live::quota_windows`] lists, best before that `Live` is the one in force.
    pub fn resume_quota(&self, scope: &QuotaScope, window_start_unix: u64, spent: Spent) -> bool {
        self.quotas.resume(scope, window_start_unix, spent)
    }

    /// The budget of buffered request bodies.
    pub fn bodies(&self) -> &Arc<Bodies> {
        &self.bodies
    }
}

/// One snapshot with its counters; positions are the snapshot's own.
#[derive(Debug)]
pub struct Live {
    /// The configuration of every exchange that began with this.
    pub snapshot: Arc<Snapshot>,
    keys: Vec<KeyState>,
    groups: Vec<Arc<Gate>>,
    channels: Vec<ChannelState>,
    quotas: BoundQuotas,
}

/// As with the snapshot itself: not on a thread that serves.
impl Drop for Live {
    fn drop(&mut self) {
        if self.keys.len() >= ASIDE_KEYS_MIN {
            aside::let_go(std::mem::take(&mut self.keys));
        }
    }
}

impl Live {
    /// The counters of the key at this position of the snapshot.
    pub fn key(&self, index: usize) -> &KeyState {
        &self.keys[index]
    }

    /// The counters of the group at this position of the snapshot.
    pub fn group(&self, index: usize) -> &Arc<Gate> {
        &self.groups[index]
    }

    /// The quotas.
    pub fn quotas(&self) -> &BoundQuotas {
        &self.quotas
    }

    /// The window of every quota that this moment lies in: who has it, and when it began. What counts in it are the
    /// exchanges that began (`Record::ts_unix_ms`) since then.
    pub fn quota_windows(&self, now_unix: u64) -> Vec<(QuotaScope, u64)> {
        let window =
            |named: &Arc<quotas::NamedQuota>| (named.scope.clone(), named.quota.window_start(now_unix));
        self.quotas.all().iter().map(window).collect()
    }

    /// The counters of the channel at this position of the snapshot.
    pub fn channel(&self, index: usize) -> &ChannelState {
        &self.channels[index]
    }
}

/// The counters of one key.
#[derive(Debug)]
pub struct KeyState {
    /// Over all it does.
    pub gate: Arc<Gate>,
    models: Vec<Arc<Gate>>,
}

impl KeyState {
    /// The counters for one model, where the key has limits for it; first rule that fits.
    pub fn model(&self, rules: &[ModelLimit], requested: &str) -> Option<&Arc<Gate>> {
        let at = rules.iter().position(|rule| rule.pattern.matches(requested))?;
        self.models.get(at)
    }
}

/// The counters of one channel.
#[derive(Debug)]
pub struct ChannelState {
    /// Its own limits, and how many attempts are under way.
    pub gate: Arc<Gate>,
    /// Whether it rests, and how it has been doing.
    pub health: Arc<ChannelHealth>,
    /// Whose signatures it verifies, by the protocol.
    signers: [Signer; 4],
    /// Whether its streams are left unasked for their usage, because its provider refuses to be asked.
    pub usage_unasked: Arc<Rest>,
    /// Whether each of its credentials rests, in the snapshot's order.
    pub credentials: Vec<Arc<Rest>>,
    /// Its name as a number, the same at every replica.
    pub mark: u64,
    /// The same of each of its credentials, in the snapshot's order.
    pub credential_marks: Vec<u64>,
    /// What ids of tasks call each of its credentials at this channel, in the same order.
    pub accounts: Vec<Account>,
    /// The limits of each of its credentials, in the same order.
    pub credential_gates: Vec<Arc<Gate>>,
    /// Who waits for a place.
    pub queue: Arc<Queue>,
}

impl ChannelState {
    /// Whose signatures it verifies in this protocol.
    pub fn signer(&self, protocol: Protocol) -> &Signer {
        &self.signers[protocol as usize]
    }
}

/// The same at every replica, and nothing that the channel's name or the credential could be guessed by.
fn account(channel: &Channel, secret: &Secret) -> Account {
    let signed = secret.sign([ACCOUNT, channel.id.as_str().as_bytes()]);
    std::array::from_fn(|at| signed[at])
}

const ACCOUNT: &[u8] = b"tollgate: an account that tasks are made by, 1";

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum GateName {
    Key(KeyId),
    KeyModel(KeyId, String),
    Group(GroupId),
    Channel(ChannelId),
    Credential(ChannelId, KeyDigest),
}

/// A name in one word of the store's.
fn plain(name: &str) -> String {
    name.replace('%', "%25").replace(':', "%3A")
}

/// As the store knows it: the same at every replica, in one word without a `:` that a name brought along.
impl std::fmt::Display for GateName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Key(key) => write!(f, "key:{}", plain(key.as_str())),
            Self::KeyModel(key, model) => write!(f, "model:{}:{}", plain(key.as_str()), plain(model)),
            Self::Group(group) => write!(f, "group:{}", plain(group.as_str())),
            Self::Channel(channel) => write!(f, "channel:{}", plain(channel.as_str())),
            // Not the whole digest: enough to tell credentials apart, too little to find one by.
            Self::Credential(channel, digest) => {
                write!(f, "credential:{}:{:016x}", plain(channel.as_str()), digest.mark())
            }
        }
    }
}

//! Quotas by the operator's name for who has them: a key, a group, a project.
//!
//! Invariants: a reload keeps what was spent under a name whose quota stays, whatever its amount and period; an
//! exchange is let in by all the quotas of its key or by none, and settles where it reserved.

mod shared;

pub use shared::{Barred, Window};

use super::lending::{Lender, Loan, Mode};
use crate::config::Snapshot;
use crate::config::snapshot::{Key, Per, Quota as Configured};
use crate::id::{GroupId, KeyId};
use crate::limit::Nanos;
use crate::limit::calendar::Period;
use crate::limit::quota::{Held, Measure, Quota, Spent, Standing};
use dashmap::DashMap;
use shared::Shared;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

/// Who has a quota.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum QuotaScope {
    /// One key.
    Key(KeyId),
    /// All keys of a group.
    Group(GroupId),
    /// All keys of a project.
    Project(String),
}

impl QuotaScope {
    /// Its word in metrics and views.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::Group(_) => "group",
            Self::Project(_) => "project",
        }
    }

    /// The name within it.
    pub fn name(&self) -> &str {
        match self {
            Self::Key(id) => id.as_str(),
            Self::Group(id) => id.as_str(),
            Self::Project(name) => name,
        }
    }
}

/// As the store knows it, without a `:` that a name brought along.
impl std::fmt::Display for QuotaScope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.word(), super::plain(self.name()))
    }
}

/// A quota and who has it.
#[derive(Debug)]
pub struct NamedQuota {
    /// Who.
    pub scope: QuotaScope,
    /// Its counters.
    pub quota: Quota,
    /// There once it was shared.
    fleet: OnceLock<Box<Shared>>,
}

impl NamedQuota {
    /// The first measure of which everything is spent, whatever is reserved.
    pub fn spent(self: &Arc<Self>, unix: u64) -> Option<Measure> {
        match self.shared() {
            None => self.quota.spent(unix),
            // Where nobody can count, what comes later decides.
            Some((_, Mode::Deny | Mode::Allow)) => None,
            Some((shared, _)) => shared.window(self, unix).spent(),
        }
    }

    /// How it stands, as far as this replica knows what the others have spent.
    pub fn standing(self: &Arc<Self>, unix: u64) -> Standing {
        let mut standing = self.quota.standing(unix);
        if let Some((shared, _)) = self.shared() {
            shared.window(self, unix).complete(&mut standing);
        }
        standing
    }

    fn reserve(self: &Arc<Self>, expected: Spent, began_unix: u64, now: Nanos) -> Result<Kept, Barred> {
        let Some((shared, mode)) = self.shared() else {
            let held = self.quota.reserve(expected, began_unix).map_err(Barred::UsedUp)?;
            return Ok(Kept { held: Some(held), window: None });
        };
        let window = shared.window(self, began_unix);
        let held = window.reserve(mode, expected, now)?;
        Ok(Kept { held: Some(held), window: Some(window) })
    }

    /// The fleet's part of it, where there is a fleet.
    fn shared(&self) -> Option<(&Shared, Mode)> {
        let shared = self.fleet.get()?;
        match shared.lender.mode() {
            Mode::Off => None,
            mode => Some((shared, mode)),
        }
    }

    /// The store is back: it hears of each window anew, and says what the others have spent.
    fn rejoin(self: &Arc<Self>, unix: u64) {
        let Some(shared) = self.fleet.get() else { return };
        shared.window(self, unix).rejoin();
        let now = self.quota.window_start(unix);
        for start in self.quota.windows().filter(|start| *start != now) {
            shared.window(self, start).rejoin();
        }
    }
}

/// The quotas of one snapshot, bound to their counters.
#[derive(Debug, Default)]
pub struct BoundQuotas {
    all: Vec<Arc<NamedQuota>>,
    /// By the position of the key and of its group among those of the key.
    of_keys: Vec<Vec<Vec<Arc<NamedQuota>>>>,
}

impl BoundQuotas {
    /// Every one: of keys, of groups, of projects, each in the order of the files.
    pub fn all(&self) -> &[Arc<NamedQuota>] {
        &self.all
    }

    /// Those that the exchanges of the key in this group count against: its own, the group's, its project's.
    pub fn of_key(&self, key: &Key) -> &[Arc<NamedQuota>] {
        &self.of_keys[key.index][key.place]
    }
}

/// Every quota of the process, by who has it.
#[derive(Debug, Default)]
pub struct Quotas(DashMap<QuotaScope, Arc<NamedQuota>>);

impl Quotas {
    /// Joins a snapshot's quotas with their counters; those of names that have none any more are let go.
    pub fn bind(&self, snapshot: &Snapshot, lender: &Arc<Lender>) -> BoundQuotas {
        let keys = snapshot.keys.iter().map(|key| (QuotaScope::Key(key.id.clone()), key.quota));
        let groups = snapshot.groups.iter().map(|group| (QuotaScope::Group(group.id.clone()), group.quota));
        let projects = snapshot
            .projects
            .iter()
            .map(|project| (QuotaScope::Project(project.name.clone()), Some(project.quota)));
        let given = keys.chain(groups).chain(projects);
        let all: Vec<_> = given.filter_map(|(scope, quota)| Some(self.configure(&scope, quota?))).collect();
        for named in all.iter().filter(|_| snapshot.fleet.is_some()) {
            named.fleet.get_or_init(|| Box::new(Shared::new(lender)));
        }
        let by_scope: HashMap<&QuotaScope, &Arc<NamedQuota>> =
            all.iter().map(|named| (&named.scope, named)).collect();
        let of_key = |key: &Arc<Key>| {
            let scopes = [
                Some(QuotaScope::Key(key.id.clone())),
                Some(QuotaScope::Group(key.group.id.clone())),
                key.project.clone().map(QuotaScope::Project),
            ];
            scopes
                .into_iter()
                .flatten()
                .filter_map(|scope| by_scope.get(&scope).map(|it| Arc::clone(it)))
                .collect()
        };
        let of_keys = snapshot.keys.iter().map(|key| key.in_groups().map(of_key).collect()).collect();
        let kept: HashSet<&QuotaScope> = by_scope.into_keys().collect();
        self.0.retain(|scope, _| kept.contains(scope));
        BoundQuotas { all, of_keys }
    }

    /// Books what is known to have been spent in a window, as far as it is more than what is known here.
    pub fn resume(&self, scope: &QuotaScope, window_start_unix: u64, spent: Spent) -> bool {
        self.0.get(scope).is_some_and(|named| named.quota.resume(window_start_unix, spent))
    }

    /// The store is back.
    pub fn rejoin(&self, unix: u64) {
        for named in &self.0 {
            named.rejoin(unix);
        }
    }

    fn configure(&self, scope: &QuotaScope, configured: Configured) -> Arc<NamedQuota> {
        let fresh = || {
            let (scope, fleet) = (scope.clone(), OnceLock::new());
            Arc::new(NamedQuota { scope, quota: Quota::default(), fleet })
        };
        let named = Arc::clone(&self.0.entry(scope.clone()).or_insert_with(fresh));
        let period = match configured.per {
            Per::Day => Period::Day,
            Per::Week => Period::Week,
            Per::Month => Period::Month,
            Per::Total => Period::Total,
        };
        named.quota.configure([configured.nano_usd, configured.tokens, configured.requests], period);
        named
    }
}

/// What an exchange holds of the quotas of its key; given back when dropped.
#[derive(Debug, Default)]
pub struct QuotaHold(Vec<Kept>);

/// Its part of one quota.
#[derive(Debug)]
struct Kept {
    /// There until it is settled or given back.
    held: Option<Held>,
    /// The fleet's, where it decided.
    window: Option<Arc<Window>>,
}

impl QuotaHold {
    /// Takes what an exchange that began then is expected to spend of all these quotas, or of none; says which one
    /// does not let it in, by its position.
    pub fn take(
        quotas: &[Arc<NamedQuota>],
        expected: Spent,
        began_unix: u64,
        now: Nanos,
    ) -> Result<Self, (usize, Barred)> {
        let mut hold = Self(Vec::with_capacity(quotas.len()));
        for (at, named) in quotas.iter().enumerate() {
            match named.reserve(expected, began_unix, now) {
                Ok(kept) => hold.0.push(kept),
                Err(barred) => {
                    if barred == Barred::Ask {
                        // It comes back for it in a moment: nobody else is told.
                        hold.0.iter_mut().for_each(|kept| kept.window = None);
                    }
                    return Err((at, barred));
                }
            }
        }
        Ok(hold)
    }

    /// A place to settle at, for an exchange of which nobody knows yet whether it spends anything.
    pub fn open(quotas: &[Arc<NamedQuota>], began_unix: u64) -> Self {
        let open = |named: &Arc<NamedQuota>| Kept {
            held: Some(named.quota.window(began_unix).charge(Spent::default())),
            window: named.shared().map(|(shared, _)| shared.window(named, began_unix)),
        };
        Self(quotas.iter().map(open).collect())
    }

    /// What all these quotas lack of this at the fleet's store.
    pub fn loan(quotas: &[Arc<NamedQuota>], expected: Spent, began_unix: u64, now: Nanos) -> Loan {
        let mut loan = Loan::default();
        for named in quotas {
            if let Some((shared, Mode::Shared)) = named.shared() {
                loan.add_quota(&shared.window(named, began_unix), expected, now);
            }
        }
        loan
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts what is known by now in the place of what was expected.
    pub fn revise(&mut self, known: Spent) {
        for kept in &mut self.0 {
            if let Some(held) = &mut kept.held {
                held.revise(known);
            }
            kept.tell();
        }
    }

    /// It has spent this much.
    pub fn settle(&mut self, spent: Spent) {
        for mut kept in self.0.drain(..) {
            if let Some(held) = kept.held.take() {
                held.settle(spent);
            }
        }
    }
}

impl Kept {
    fn tell(&self) {
        if let Some(window) = &self.window {
            window.changed();
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        drop(self.held.take());
        self.tell();
    }
}

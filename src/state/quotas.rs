//! Quotas by the operator's name for who has them: a key, a group, a project.
//!
//! Invariants: a reload keeps what was spent under a name whose quota stays, whatever its amount and period; an
//! exchange is let in by all the quotas of its key or by none, and settles where it reserved.

use crate::config::Snapshot;
use crate::config::snapshot::{Key, Per, Quota as Configured};
use crate::id::{GroupId, KeyId};
use crate::limit::calendar::Period;
use crate::limit::quota::{Held, Quota, Spent, UsedUp};
use dashmap::DashMap;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

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

/// A quota and who has it.
#[derive(Debug)]
pub struct NamedQuota {
    /// Who.
    pub scope: QuotaScope,
    /// Its counters.
    pub quota: Quota,
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
    pub fn bind(&self, snapshot: &Snapshot) -> BoundQuotas {
        let keys = snapshot.keys.iter().map(|key| (QuotaScope::Key(key.id.clone()), key.quota));
        let groups = snapshot.groups.iter().map(|group| (QuotaScope::Group(group.id.clone()), group.quota));
        let projects = snapshot
            .projects
            .iter()
            .map(|project| (QuotaScope::Project(project.name.clone()), Some(project.quota)));
        let given = keys.chain(groups).chain(projects);
        let all: Vec<_> = given.filter_map(|(scope, quota)| Some(self.configure(&scope, quota?))).collect();
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

    fn configure(&self, scope: &QuotaScope, configured: Configured) -> Arc<NamedQuota> {
        let fresh = || Arc::new(NamedQuota { scope: scope.clone(), quota: Quota::default() });
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
pub struct QuotaHold(Vec<Held>);

impl QuotaHold {
    /// Takes what an exchange that began then is expected to spend of all these quotas, or of none; says which one
    /// is used up, by its position.
    pub fn take(
        quotas: &[Arc<NamedQuota>],
        expected: Spent,
        began_unix: u64,
    ) -> Result<Self, (usize, UsedUp)> {
        let take = |(at, named): (usize, &Arc<NamedQuota>)| {
            named.quota.reserve(expected, began_unix).map_err(|used_up| (at, used_up))
        };
        quotas.iter().enumerate().map(take).collect::<Result<_, _>>().map(Self)
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts what is known by now in the place of what was expected.
    pub fn revise(&mut self, known: Spent) {
        for held in &mut self.0 {
            held.revise(known);
        }
    }

    /// It has spent this much.
    pub fn settle(&mut self, spent: Spent) {
        for held in self.0.drain(..) {
            held.settle(spent);
        }
    }
}

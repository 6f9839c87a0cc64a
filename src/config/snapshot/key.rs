//! A key as exchanges find it.
//!
//! Invariant: what it refers to is resolved; two that mean the same are the same field by field, but for their positions.

use super::{Group, Limits, ModelLimit, Patterns, Profile, Quota};
use crate::id::{KeyId, ProfileId};
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;

/// A credential we issued, in one of its groups.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "settings, each a fact of its own")]
pub struct Key {
    /// Its name.
    pub id: KeyId,
    /// Position in [`Snapshot::keys`](super::Snapshot::keys).
    pub index: usize,
    /// The last four characters, where the operator gave them or the secret itself.
    pub last4: String,
    /// Who holds it, for reports.
    pub owner: Option<String>,
    /// What it is for, for reports; where there is a [`Project`](super::Project) of that name, its quota counts.
    pub project: Option<String>,
    /// The group that bears its cost.
    pub group: Arc<Group>,
    /// Which of its groups that is: 0 is the first.
    pub place: usize,
    /// The same key in its other groups, in order; only the first has them.
    pub fallbacks: Vec<Arc<Key>>,
    /// The profiles it may use.
    pub profiles: Vec<ProfileId>,
    /// The active profile.
    pub profile: Option<Arc<Profile>>,
    /// What the client may ask for; `None`: all that the group reaches.
    pub models: Option<Patterns>,
    /// Where it may be used from; empty: anywhere.
    pub allowed_ips: Vec<IpNet>,
    /// Seconds since the Unix epoch after which it is refused.
    pub expires_unix: Option<u64>,
    /// `false`: refused.
    pub enabled: bool,
    /// `false`: streams are refused.
    pub stream: bool,
    /// Whether what would lose something in translation is refused.
    pub strict_translation: bool,
    /// A smaller body limit than the server's.
    pub body_bytes: Option<usize>,
    /// The most tokens that one of its answers may have.
    pub max_output_tokens: Option<u64>,
    /// Its limits.
    pub limits: Limits,
    /// Its limits for some models, first match wins.
    pub model_limits: Vec<ModelLimit>,
    /// Its quota.
    pub quota: Option<Quota>,
}

impl Key {
    /// The key in each of its groups, in order.
    pub fn in_groups(self: &Arc<Self>) -> impl Iterator<Item = &Arc<Self>> {
        std::iter::once(self).chain(&self.fallbacks)
    }

    /// Whether another configuration means the same by it, as far as `super::redact` shows it: every field but the positions.
    pub(in crate::config) fn means(&self, other: &Self) -> bool {
        // Every field by its name, so that none that is new is forgotten.
        let Self {
            id,
            index: _,
            last4,
            owner,
            project,
            group,
            place,
            fallbacks,
            profiles,
            profile,
            models,
            allowed_ips,
            expires_unix,
            enabled,
            stream,
            strict_translation,
            body_bytes,
            max_output_tokens,
            limits,
            model_limits,
            quota,
        } = self;
        let active = |profile: &Option<Arc<Profile>>| profile.as_ref().map(|profile| profile.id.clone());
        let groups =
            |fallbacks: &[Arc<Self>]| fallbacks.iter().map(|key| key.group.id.clone()).collect::<Vec<_>>();
        *id == other.id
            && *last4 == other.last4
            && *owner == other.owner
            && *project == other.project
            && group.id == other.group.id
            && *place == other.place
            && groups(fallbacks) == groups(&other.fallbacks)
            && *profiles == other.profiles
            && active(profile) == active(&other.profile)
            && models.as_ref().map(Patterns::listed) == other.models.as_ref().map(Patterns::listed)
            && *allowed_ips == other.allowed_ips
            && *expires_unix == other.expires_unix
            && (*enabled, *stream, *strict_translation)
                == (other.enabled, other.stream, other.strict_translation)
            && *body_bytes == other.body_bytes
            && *max_output_tokens == other.max_output_tokens
            && *limits == other.limits
            && *model_limits == other.model_limits
            && *quota == other.quota
    }

    /// Whether a client at this address may use it.
    pub fn allows_ip(&self, ip: IpAddr) -> bool {
        self.allowed_ips.is_empty() || self.allowed_ips.iter().any(|net| net.contains(&ip))
    }
}

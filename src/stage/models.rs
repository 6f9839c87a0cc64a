//! Which models a key can use: exactly those that would be served if it asked for them now.
//!
//! Invariant: a name is listed only if routing it finds a channel, which by translation speaks every dialect, so that
//! what a client offers its user also works. Channels that list their models by pattern only add the names
//! their `model_map` and the key's profile spell out.

use crate::config::snapshot::{Key, MappingFrom, Patterns};
use crate::stage::route::{mapped, reachable};
use crate::state::Live;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The names, sorted.
pub fn usable(live: &Live, key: &Arc<Key>) -> Vec<String> {
    let mut names = BTreeSet::new();
    for channel in key.in_groups().flat_map(|key| reachable(live, key)) {
        let listed = channel.models.iter().flat_map(Patterns::listed);
        names.extend(listed.chain(channel.model_map.keys()).filter(|name| !name.contains('*')).cloned());
    }
    for mapping in key.profile.iter().flat_map(|profile| &profile.mappings) {
        if let MappingFrom::Exact(from) = &mapping.from {
            names.insert(from.clone());
        }
    }
    names.into_iter().filter(|name| is_usable(live, key, name)).collect()
}

/// Whether this key can use this model now.
pub fn is_usable(live: &Live, key: &Arc<Key>, requested: &str) -> bool {
    let allowed = key.models.as_ref().is_none_or(|models| models.matches(requested));
    let model = mapped(key, requested);
    let serves = |key: &Arc<Key>| {
        reachable(live, key).any(|channel| channel.open_to(&key.group.id) && channel.serves(model))
    };
    allowed && key.in_groups().any(serves)
}

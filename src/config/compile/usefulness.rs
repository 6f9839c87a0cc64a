//! What is written and can have no effect: warnings, since an operator may be half way to something.

use super::keys::Keys;
use super::{At, Compiler, entries};
use crate::config::file::{File, present};
use crate::config::problem::{Problem, shown};
use crate::config::snapshot::{Channel, Key, MappingFrom, Pattern, Profile};
use crate::id::{GroupId, ProfileId};
use std::collections::HashMap;
use std::sync::Arc;

impl Compiler<'_, '_> {
    /// Warns about channels without traffic and names that nothing serves.
    pub(super) fn look_for_the_useless(&mut self, files: &[File], keys: &Keys) {
        if !self.channels.iter().any(|channel| channel.enabled && channel.weight > 0) {
            let sheet = &self.sheets[0];
            let what = "no channel can take traffic: none is enabled with a weight above 0";
            self.findings.warning(0, || Problem::of_file(&sheet.path, what));
        }
        self.mapping_targets(files);
        self.key_models(keys);
    }

    fn mapping_targets(&mut self, files: &[File]) {
        for (at, profile) in entries(files, ("profile", |file| &file.profile)) {
            for (index, mapping) in present(&profile.mappings) {
                if !self.channels.iter().any(|channel| channel.serves(&mapping.to)) {
                    let at = at.key("mappings").item(index).key("to");
                    self.warning(&at, format!("no channel serves {}", shown(&mapping.to)), None);
                }
            }
        }
    }

    fn key_models(&mut self, keys: &Keys) {
        // Thousands of keys share a few lists: what was found out once is not looked for again.
        let mut known: HashMap<(GroupId, Option<ProfileId>, String), bool> = HashMap::new();
        for (at, position, models) in &keys.choosy {
            let key = &keys.listed[*position];
            for (index, model) in present(models) {
                let profile = key.profile.as_ref().map(|profile| profile.id.clone());
                let question = (key.group.id.clone(), profile, model.clone());
                let reachable = *known.entry(question).or_insert_with(|| self.reachable(key, model));
                if !reachable {
                    self.unreachable(&at.item(index), model, &key.group.id);
                }
            }
        }
    }

    fn unreachable(&mut self, at: &At, model: &str, group: &GroupId) {
        let what = format!("no channel of group {} serves {}", shown(group.as_str()), shown(model));
        self.warning(at, what, None);
    }

    fn reachable(&self, key: &Key, model: &str) -> bool {
        let pattern = Pattern::new(model);
        let mapped = key.profile.as_ref().is_some_and(|profile| maps(profile, &pattern));
        let open = |channel: &&Arc<Channel>| {
            channel.groups.as_ref().is_none_or(|groups| groups.contains(&key.group.id))
        };
        mapped || self.channels.iter().filter(open).any(|channel| serves_some(channel, model))
    }
}

/// Whether the profile may map a name that fits; a regex against a pattern gets the benefit of the doubt.
fn maps(profile: &Profile, pattern: &Pattern) -> bool {
    profile.mappings.iter().any(|mapping| match (&mapping.from, pattern) {
        (MappingFrom::Exact(name), pattern) => pattern.matches(name),
        (from @ MappingFrom::Regex(_), Pattern::Exact(name)) => from.matches(name),
        (MappingFrom::Regex(_), Pattern::Glob(_)) => true,
    })
}

/// Whether the channel serves a name that fits the text, itself a name or a pattern.
fn serves_some(channel: &Channel, text: &str) -> bool {
    let Some(models) = &channel.models else { return true };
    models.matches(text) || models.listed().iter().any(|listed| intersect(listed.as_bytes(), text.as_bytes()))
}

/// Whether a name exists that fits both patterns. Position by position; rows are positions in `one`.
fn intersect(one: &[u8], other: &[u8]) -> bool {
    let mut row = vec![false; other.len() + 1];
    row[0] = true;
    for at in 0..=one.len() {
        let mut next = vec![false; other.len() + 1];
        for to in 0..=other.len() {
            if !row[to] {
                continue;
            }
            if other.get(to) == Some(&b'*') {
                row[to + 1] = true;
            }
            match (one.get(at), other.get(to)) {
                (Some(b'*'), right) => {
                    next[to] = true;
                    if right.is_some() {
                        row[to + 1] = true;
                    }
                }
                (Some(_), Some(b'*')) => next[to] = true,
                (Some(left), Some(right)) if left == right => next[to + 1] = true,
                _ => {}
            }
        }
        if at == one.len() {
            return row[other.len()];
        }
        row = next;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_intersect_where_one_name_fits_both() {
        for (one, other, expected) in [
            ("claude-*", "claude-*", true),
            ("claude-*", "claude-sonnet-*", true),
            ("*-mini", "gpt-*", true),
            ("gpt-*", "claude-*", false),
            ("a*b", "a", false),
            ("a*b", "ab", true),
            ("a*b", "*c", false),
            ("*", "", true),
            ("a", "a", true),
            ("a", "b", false),
            ("a*", "*b*c", true),
        ] {
            assert_eq!(intersect(one.as_bytes(), other.as_bytes()), expected, "{one} {other}");
            assert_eq!(intersect(other.as_bytes(), one.as_bytes()), expected, "{other} {one}");
        }
    }
}

//! Keys: digest, group, profile, limits.
//!
//! Invariant: two names never share a credential, and a key's text is forgotten once its digest is known.

use super::at::Spot;
use super::secrets::Found;
use super::{At, Compiler, DEFAULT_GROUP, examples, units};
use crate::config::file::{Key as Written, Limits as WrittenLimits, List, present};
use crate::config::node::{Node, Sheet, Value};
use crate::config::problem::{Problem, did_you_mean, shown};
use crate::config::snapshot::{Group, Key, Limits, ModelLimit, Pattern, Patterns, Profile};
use crate::id::{KeyId, ProfileId};
use crate::secret::{KeyDigest, last4};
use crate::spread::Map;
use std::collections::hash_map::Entry;
use std::sync::Arc;

/// The compiled keys.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pub(super) listed: Vec<Arc<Key>>,
    pub(super) by_digest: Map<KeyDigest, usize>,
    pub(super) example: Option<Problem>,
    /// What those that say so may be asked for: where that stands, whose it is, and the list as written.
    pub(super) choosy: Vec<(At, usize, List<String>)>,
}

/// The keys over all files, each read when it is its turn: as types all of them at once are a hundred megabytes.
fn written_keys(sheets: &[Sheet]) -> impl Iterator<Item = (At, &Node)> {
    sheets.iter().enumerate().flat_map(|(file, sheet)| {
        let items = listed(sheet).iter().enumerate().filter(|(_, item)| item.fits());
        items.map(move |(index, item)| (At::section(file, "key").item(index), item))
    })
}

fn listed(sheet: &Sheet) -> &[Node] {
    match sheet.root.get("key").filter(|entry| entry.node.fits()).map(|entry| &entry.node.value) {
        Some(Value::List(items)) => items,
        _ => &[],
    }
}

impl Compiler<'_, '_> {
    /// Compiles every key.
    pub(super) fn keys(&mut self) -> Keys {
        let count = self.sheets.iter().map(|sheet| listed(sheet).len()).sum();
        let mut keys = Keys::default();
        let (mut first, mut first_by_digest) = (Map::default(), Map::default());
        keys.listed.reserve(count);
        keys.by_digest.reserve(count);
        first.reserve(count);
        first_by_digest.reserve(count);
        for (at, node) in written_keys(self.sheets) {
            let Ok(mut written) = node.typed::<Written>() else {
                let sheet = &self.sheets[at.file];
                self.findings.problem(at.file, || Problem::of_types(sheet));
                continue;
            };
            self.name(&at, &written.name, &mut first);
            let (digest, tail) = self.credential(&at, &written);
            if let Some(digest) = digest {
                self.one_name(&at, digest, &mut first_by_digest);
                self.note_example(&at, digest, &mut keys);
                keys.by_digest.insert(digest, keys.listed.len());
            }
            let key = self.key(&at, &written, (keys.listed.len(), tail));
            let others = self.other_groups(&at, &written);
            if key.is_some()
                && let Some(models) = written.models.take()
            {
                keys.choosy.push((at.key("models"), keys.listed.len(), models));
            }
            keys.listed.extend(key.map(|key| Arc::new(in_all_groups(key, others))));
        }
        if !self.incomplete && count == 0 {
            let sheet = &self.sheets[0];
            let what = "no key at all: nobody could use the gateway";
            let hint = "add a [[key]]; `tollgate keys new` makes one".to_owned();
            self.findings.problem(0, || Problem::of_file(&sheet.path, what).hint(Some(hint)));
        }
        keys
    }

    fn one_name(&mut self, at: &At, digest: KeyDigest, first: &mut Map<KeyDigest, Spot>) {
        match first.entry(digest) {
            Entry::Vacant(entry) => {
                entry.insert(at.spot());
            }
            Entry::Occupied(entry) => {
                let other = entry.get().at();
                let sheet = &self.sheets[other.file];
                let name = sheet.root.dotted(&other.steps());
                self.problem(at, format!("has the same secret as {name}"), None);
            }
        }
    }

    fn note_example(&mut self, at: &At, digest: KeyDigest, keys: &mut Keys) {
        if !examples::is_example(&digest) {
            return;
        }
        let what = "is a published example key: everybody knows it, and `run` refuses it";
        let hint = "`tollgate keys new` makes one of your own".to_owned();
        let sheet = &self.sheets[at.file];
        let problem = || Problem::at_steps(sheet, &at.steps(), what).hint(Some(hint.clone()));
        keys.example.get_or_insert_with(problem);
        self.findings.warning(at.file, problem);
    }

    fn key(&mut self, at: &At, written: &Written, (index, tail): (usize, String)) -> Option<Key> {
        let group = match present(written.groups.as_deref().unwrap_or_default()).next() {
            Some((index, name)) => self.group(&at.key("groups").item(index), name),
            None => self.group(&at.key("group"), written.group.as_deref().unwrap_or(DEFAULT_GROUP)),
        };
        let (profiles, profile) = self.key_profiles(at, written);
        let models = self.texts(&at.key("models"), written.models.as_ref(), "all that the group reaches");
        let models = models.map(|texts| texts.into_iter().map(|(_, text)| text).collect::<Vec<_>>());
        let nets = self.texts(&at.key("allowed_ips"), written.allowed_ips.as_ref(), "any address");
        let allowed_ips = self.networks(&at.key("allowed_ips"), &nets.unwrap_or_default());
        let expires_unix = written
            .expires
            .as_deref()
            .and_then(|text| self.checked(&at.key("expires"), units::instant(text)));
        let body_bytes = self.size(&at.key("body_bytes"), written.body_bytes.as_ref());
        let limits = self.senders_limits(&at.key("limits"), &written.limits);
        let model_limits = self.model_limits(&at.key("model_limits"), written);
        let quota = self.quota(&at.key("quota"), written.quota.as_ref());
        Some(Key {
            id: KeyId::new(&written.name),
            index,
            last4: self.shown_tail(at, written).unwrap_or(tail),
            owner: written.owner.clone(),
            project: written.project.clone(),
            group: group?,
            place: 0,
            fallbacks: Vec::new(),
            profiles,
            profile,
            models: models.map(|texts| Patterns::new(&texts)),
            allowed_ips,
            expires_unix,
            enabled: written.enabled.unwrap_or(true),
            stream: written.stream.unwrap_or(true),
            strict_translation: written.strict_translation.unwrap_or(false),
            body_bytes,
            max_output_tokens: written.max_output_tokens,
            limits,
            model_limits,
            quota,
        })
    }

    /// The groups after the first.
    fn other_groups(&mut self, at: &At, written: &Written) -> Vec<Arc<Group>> {
        let at_list = at.key("groups");
        let listed = self.texts(&at_list, written.groups.as_ref(), "the group `default`").unwrap_or_default();
        if written.groups.is_some() && written.group.is_some() {
            let hint = "`groups` alone says all, its first is what `group` would be".to_owned();
            self.problem(&at_list, "stands beside `group`", Some(hint));
        }
        if listed.len() > GROUPS_OF_KEY_MAX {
            self.problem(&at_list, format!("has more than {GROUPS_OF_KEY_MAX} groups"), None);
        }
        let mut groups = Vec::new();
        for (position, (index, name)) in listed.iter().enumerate() {
            if listed[..position].iter().any(|(_, other)| other == name) {
                self.problem(&at_list.item(*index), "is listed twice", None);
            } else if position > 0 {
                groups.extend(self.group(&at_list.item(*index), name));
            }
        }
        groups
    }

    /// The digest and what may be shown of the key.
    fn credential(&mut self, at: &At, written: &Written) -> (Option<KeyDigest>, String) {
        match (&written.hash, &written.secret) {
            (Some(hash), None) => {
                let digest = KeyDigest::parse(hash);
                if digest.is_none() {
                    let hint = "printf %s \"$KEY\" | sha256sum".to_owned();
                    self.problem(&at.key("hash"), "must be `sha256:` and 64 hexadecimal digits", Some(hint));
                }
                (digest, String::new())
            }
            (None, Some(secret)) => {
                let at = at.key("secret");
                match self.secret(&at, secret) {
                    Found::Secret(secret) if !secret.expose().starts_with(KEY_PREFIX) => {
                        self.problem(&at, format!("must begin with `{KEY_PREFIX}`"), None);
                        (None, String::new())
                    }
                    Found::Secret(secret) => (Some(secret.digest()), last4(secret.expose())),
                    Found::Missing(what) if written.enabled == Some(false) => {
                        self.warning(&at, what, None);
                        (None, String::new())
                    }
                    Found::Missing(what) => {
                        self.problem(&at, what, None);
                        (None, String::new())
                    }
                    Found::Refused => (None, String::new()),
                }
            }
            _ => {
                self.problem(at, "must have one of `hash` and `secret`", None);
                (None, String::new())
            }
        }
    }

    fn shown_tail(&mut self, at: &At, written: &Written) -> Option<String> {
        let tail = written.last4.as_ref()?;
        if tail.chars().count() > 4 || !tail.bytes().all(|byte| byte.is_ascii_graphic()) {
            self.problem(
                &at.key("last4"),
                "must be the key's last four characters, since logs show it",
                None,
            );
        }
        Some(tail.clone())
    }

    fn key_profiles(&mut self, at: &At, written: &Written) -> (Vec<ProfileId>, Option<Arc<Profile>>) {
        let mut profiles = Vec::new();
        let at_list = at.key("profiles");
        for (index, name) in present(written.profiles.as_deref().unwrap_or_default()) {
            profiles.extend(self.profile(&at_list.item(index), name).map(|profile| profile.id.clone()));
        }
        let Some(active) = &written.active_profile else { return (profiles, None) };
        let at = at.key("active_profile");
        let listed = written.profiles.iter().flatten().flatten().any(|name| name == active);
        if !listed {
            let hint = did_you_mean(active, profiles.iter().map(ProfileId::as_str));
            let hint = hint.or_else(|| Some("add it to `profiles`".to_owned()));
            self.problem(&at, format!("{} is not one of the key's `profiles`", shown(active)), hint);
            return (profiles, None);
        }
        let profile = self.profiles.get(&ProfileId::new(active)).map(Arc::clone);
        (profiles, profile)
    }

    fn model_limits(&mut self, at: &At, written: &Written) -> Vec<ModelLimit> {
        let mut limits: Vec<ModelLimit> = Vec::new();
        for (index, entry) in present(&written.model_limits) {
            let at = at.item(index);
            let of_entry = WrittenLimits {
                rpm: entry.rpm,
                burst: entry.burst,
                tpm: entry.tpm,
                tpm_burst: entry.tpm_burst,
                input_tpm: entry.input_tpm,
                input_tpm_burst: entry.input_tpm_burst,
                output_tpm: entry.output_tpm,
                output_tpm_burst: entry.output_tpm_burst,
                concurrency: entry.concurrency,
                ..WrittenLimits::default()
            };
            let compiled = self.limits(&at, &of_entry);
            if entry.model.trim().is_empty() {
                self.problem(&at.key("model"), "is empty", None);
            } else if compiled == Limits::default() {
                self.problem(
                    &at,
                    "limits nothing: give `rpm`, `tpm`, `input_tpm`, `output_tpm` or `concurrency`",
                    None,
                );
            } else if limits.iter().any(|other| other.model == entry.model) {
                self.problem(&at.key("model"), "is limited twice", None);
            }
            let pattern = Pattern::new(&entry.model);
            limits.push(ModelLimit { model: entry.model.clone(), pattern, limits: compiled });
        }
        limits
    }
}

fn in_all_groups(key: Key, others: Vec<Arc<Group>>) -> Key {
    let in_group = |(place, group)| Arc::new(Key { group, place, ..key.clone() });
    let fallbacks = (1..).zip(others).map(in_group).collect();
    Key { fallbacks, ..key }
}

/// More than a person can follow; each is asked in turn while the client waits.
const GROUPS_OF_KEY_MAX: usize = 16;
/// What keys we issue begin with.
const KEY_PREFIX: &str = "sk-";

//! What differs between two configurations, in the operator's words: what every reload says, and every comparison.
//!
//! Pure: two snapshots, or two trees that [`super::redacted`] made, give a list. Invariants: a secret is never in it, only
//! that it was replaced; the list has a bound and says how much it leaves out; the same two give the same list.

mod text;

use super::redact;
use super::snapshot::{Channel, Key, Otlp, Snapshot};
use crate::spread;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Read with the eye; who changes more reads the files.
const CHANGES_MAX: usize = 100;

/// Of one thing.
const SETTINGS_MAX: usize = 24;

/// What differs, in the order of the reference: the process first, then channels, profiles, groups, projects, keys, prices.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    rows: Vec<Change>,
    more: usize,
}

/// One thing that is new, gone or otherwise.
#[derive(Debug, Clone, PartialEq)]
struct Change {
    /// `channel`, `key`, `server` …
    what: &'static str,
    /// Its name, where there are several.
    name: Option<String>,
    kind: Kind,
    settings: Vec<Setting>,
    /// How many settings are not listed.
    more: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Added,
    Removed,
    Changed,
    /// The same things in another order, which decides where the first that fits counts.
    Reordered,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
            Self::Reordered => "reordered",
        }
    }
}

/// One setting, by its dotted name within the thing; `Null` is "not set".
#[derive(Debug, Clone, PartialEq)]
struct Setting {
    name: String,
    before: Value,
    after: Value,
    /// A secret that is another one now, though what may be shown of it is the same.
    is_secret: bool,
}

impl Changes {
    /// Whether nothing differs that has a meaning.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many things differ, listed or not.
    pub fn count(&self) -> usize {
        self.rows.len() + self.more
    }

    /// A line for each, the last one says how many are left out.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.rows.iter().map(text::line).collect();
        if self.more > 0 {
            lines.push(format!("… and {} more", self.more));
        }
        lines
    }

    /// For programs.
    pub fn value(&self) -> Value {
        let setting = |setting: &Setting| {
            let (before, after) = (text::bounded(&setting.before), text::bounded(&setting.after));
            json!({ "setting": setting.name, "before": before, "after": after, "secret": setting.is_secret })
        };
        let row = |row: &Change| {
            json!({
                "what": row.what,
                "name": row.name,
                "change": row.kind.word(),
                "settings": row.settings.iter().map(setting).collect::<Vec<_>>(),
                "more_settings": row.more,
                "text": text::line(row),
            })
        };
        json!({
            "count": self.count(),
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
            "more": self.more,
        })
    }

    /// Takes another one; it is only made while there is room for it.
    fn push(&mut self, change: impl FnOnce() -> Change) {
        if self.is_full() {
            self.more += 1;
        } else {
            self.rows.push(change());
        }
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= CHANGES_MAX
    }
}

/// What `after` has otherwise than `before`, secrets included.
pub fn changes(before: &Snapshot, after: &Snapshot) -> Changes {
    let mut changes = Changes::default();
    let secrets = |section: &'static str| match section {
        "server" if before.server.admin_token != after.server.admin_token => vec!["admin_token"],
        "fleet" if before.fleet.as_ref().map(|it| &it.redis) != after.fleet.as_ref().map(|it| &it.redis) => {
            vec!["redis"]
        }
        "otlp" if is_only_replaced(before, after) => vec!["headers"],
        _ => Vec::new(),
    };
    sections(&mut changes, &redact::process(before), &redact::process(after), secrets);
    let digests = (digests(before), digests(after));
    let is_replaced =
        |one: &Arc<Key>, other: &Arc<Key>| digests.0.get(one.index) != digests.1.get(other.index);
    let key_secrets =
        |one: &Arc<Key>, other: &Arc<Key>| is_replaced(one, other).then_some("secret").into_iter().collect();
    let is_same_key = |one: &Arc<Key>, other: &Arc<Key>| one.means(other) && !is_replaced(one, other);
    let show = |it: &Arc<Channel>| redact::channel(it);
    list(
        &mut changes,
        "channel",
        (&before.channels, &after.channels),
        (channel_name, show, channel_secrets),
        None,
    );
    list(
        &mut changes,
        "profile",
        (&profiles(before), &profiles(after)),
        (name_of, Value::clone, no_secrets),
        None,
    );
    let groups = |of: &Snapshot| of.groups.iter().map(|it| redact::group(it)).collect::<Vec<_>>();
    list(&mut changes, "group", (&groups(before), &groups(after)), (name_of, Value::clone, no_secrets), None);
    let projects = |of: &Snapshot| of.projects.iter().map(redact::project).collect::<Vec<_>>();
    list(
        &mut changes,
        "project",
        (&projects(before), &projects(after)),
        (name_of, Value::clone, no_secrets),
        None,
    );
    // One at a time: a hundred thousand keys as trees would be half a gigabyte.
    let is_same: Option<IsSame<'_, _>> = Some(&is_same_key);
    list(&mut changes, "key", (&before.keys, &after.keys), (key_name, redact::key, key_secrets), is_same);
    let prices = |of: &Snapshot| of.prices.rules().iter().map(redact::price).collect::<Vec<_>>();
    list(&mut changes, "price", (&prices(before), &prices(after)), (name_of, Value::clone, no_secrets), None);
    changes
}

/// What one redacted tree has otherwise than another: secrets are compared by what is shown of them.
pub fn differences(before: &Value, after: &Value) -> Changes {
    let mut changes = Changes::default();
    sections(&mut changes, before, after, |_| Vec::new());
    let rows = |tree: &Value, what: &str| tree[what].as_array().cloned().unwrap_or_default();
    for what in ["channel", "profile", "group", "project", "key", "price"] {
        list(
            &mut changes,
            what,
            (&rows(before, what), &rows(after, what)),
            (name_of, Value::clone, no_secrets),
            None,
        );
    }
    changes
}

fn profiles(snapshot: &Snapshot) -> Vec<Value> {
    let mut profiles: Vec<_> = snapshot.profiles.values().collect();
    profiles.sort_by(|one, other| one.id.cmp(&other.id));
    profiles.into_iter().map(|it| redact::profile(it)).collect()
}

/// By the key's position.
fn digests(snapshot: &Snapshot) -> Vec<Option<crate::secret::KeyDigest>> {
    let mut digests = vec![None; snapshot.keys.len()];
    for (digest, index) in &snapshot.key_by_digest {
        digests[*index] = Some(*digest);
    }
    digests
}

fn key_name(key: &Arc<Key>) -> Cow<'_, str> {
    key.id.as_str().into()
}

fn channel_name(channel: &Arc<Channel>) -> Cow<'_, str> {
    channel.id.as_str().into()
}

fn no_secrets(_: &Value, _: &Value) -> Vec<&'static str> {
    Vec::new()
}

/// Whether the collector's headers look the same and are others.
fn is_only_replaced(before: &Snapshot, after: &Snapshot) -> bool {
    let (Some(one), Some(other)) = (&before.otlp, &after.otlp) else { return false };
    let shown = |otlp: &Otlp| -> Vec<_> {
        otlp.headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    };
    one.headers != other.headers && shown(one) == shown(other)
}

/// Of what is shown with its end, or not at all.
fn channel_secrets(one: &Arc<Channel>, other: &Arc<Channel>) -> Vec<&'static str> {
    let settings = [
        ("api_keys", one.whole_credentials().ne(other.whole_credentials())),
        ("request_headers.set", one.set_headers != other.set_headers),
        ("egress_proxy", one.egress_proxy != other.egress_proxy),
    ];
    settings.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

/// By what a row of a tree is called; a price by what it is for.
fn name_of(row: &Value) -> Cow<'_, str> {
    let text = |field: &str| row[field].as_str();
    let model = text("model").unwrap_or_default();
    match (text("name"), text("channel")) {
        (Some(name), _) => name.into(),
        (None, Some(channel)) => format!("{model} at {channel}").into(),
        (None, None) => model.into(),
    }
}

/// The parts of which there is one.
fn sections(
    changes: &mut Changes,
    before: &Value,
    after: &Value,
    secrets: impl Fn(&'static str) -> Vec<&'static str>,
) {
    for what in SECTIONS {
        let (settings, more) = settings(&before[what], &after[what], &secrets(what));
        if !settings.is_empty() {
            changes.push(|| Change { what, name: None, kind: Kind::Changed, settings, more });
        }
    }
}

/// Whether two things show the same, where that can be told without showing them: of a hundred thousand, few differ.
type IsSame<'a, T> = &'a dyn Fn(&T, &T) -> bool;

/// The parts of which there are several, each with a name; of several with one name the first ones go together.
fn list<T>(
    changes: &mut Changes,
    what: &'static str,
    (before, after): (&[T], &[T]),
    (name, show, secrets): (
        impl Fn(&T) -> Cow<'_, str>,
        impl Fn(&T) -> Value,
        impl Fn(&T, &T) -> Vec<&'static str>,
    ),
    is_same: Option<IsSame<'_, T>>,
) {
    let (old, new) = (numbered(before, &name), numbered(after, &name));
    let by_name = by_name(&old);
    let called = |label: &Label<'_>| Some(label.0.clone().into_owned());
    for (label, thing) in &new {
        let Some(former) = by_name.get(label) else {
            let added = || facts(what, &show(thing));
            changes.push(|| Change {
                what,
                name: called(label),
                kind: Kind::Added,
                settings: added(),
                more: 0,
            });
            continue;
        };
        if let Some(is_same) = is_same {
            if is_same(former, thing) {
                continue;
            }
            if changes.is_full() {
                changes.more += 1;
                continue;
            }
        }
        let (settings, more) = settings(&show(former), &show(thing), &secrets(former, thing));
        if !settings.is_empty() {
            changes.push(|| Change { what, name: called(label), kind: Kind::Changed, settings, more });
        }
    }
    let now = self::by_name(&new);
    for (label, _) in old.iter().filter(|(label, _)| !now.contains_key(label)) {
        let settings = Vec::new();
        changes.push(|| Change { what, name: called(label), kind: Kind::Removed, settings, more: 0 });
    }
    let kept_before = old.iter().map(|it| &it.0).filter(|label| now.contains_key(label));
    let kept_now = new.iter().map(|it| &it.0).filter(|label| by_name.contains_key(label));
    if ORDERED.contains(&what) && kept_before.ne(kept_now) {
        let settings = Vec::new();
        changes.push(|| Change { what, name: None, kind: Kind::Reordered, settings, more: 0 });
    }
}

/// A name, and which of those with this name it is.
type Label<'a> = (Cow<'a, str>, usize);

fn by_name<'a, T>(numbered: &'a [(Label<'a>, &'a T)]) -> spread::Map<&'a Label<'a>, &'a T> {
    numbered.iter().map(|(label, thing)| (label, *thing)).collect()
}

fn numbered<'a, T>(things: &'a [T], name: &impl Fn(&T) -> Cow<'_, str>) -> Vec<(Label<'a>, &'a T)> {
    let mut seen: spread::Map<Cow<'a, str>, usize> = spread::Map::default();
    let label = |thing: &'a T| {
        let name = name(thing);
        let count = seen.entry(name.clone()).or_default();
        *count += 1;
        ((name, *count), thing)
    };
    things.iter().map(label).collect()
}

/// What is said of a thing that is new.
fn facts(what: &str, tree: &Value) -> Vec<Setting> {
    let told: &[&str] = match what {
        "channel" => &["type", "priority", "weight", "canary"],
        "key" => &["group"],
        _ => &[],
    };
    let fact = |name: &&str| Setting {
        name: (*name).to_owned(),
        before: Value::Null,
        after: tree[*name].clone(),
        is_secret: false,
    };
    told.iter().filter(|name| !tree[**name].is_null()).map(fact).collect()
}

/// The settings that differ, and how many more there are than are listed.
fn settings(before: &Value, after: &Value, replaced: &[&'static str]) -> (Vec<Setting>, usize) {
    if before == after && replaced.is_empty() {
        return (Vec::new(), 0);
    }
    let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
    flatten("", before, &mut old);
    flatten("", after, &mut new);
    let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let value =
        |of: &BTreeMap<String, &Value>, name: &String| of.get(name).map_or(Value::Null, |it| (*it).clone());
    let mut settings: Vec<Setting> = names
        .into_iter()
        .map(|name| Setting {
            name: name.clone(),
            before: value(&old, name),
            after: value(&new, name),
            is_secret: false,
        })
        .filter(|setting| setting.before != setting.after)
        .collect();
    for name in replaced {
        if !settings.iter().any(|setting| setting.name == *name) {
            let (name, before, after) = ((*name).to_owned(), Value::Null, Value::Null);
            settings.push(Setting { name, before, after, is_secret: true });
        }
    }
    let more = settings.len().saturating_sub(SETTINGS_MAX);
    settings.truncate(SETTINGS_MAX);
    (settings, more)
}

/// Every value by its dotted name; lists are values, what is not set has none.
fn flatten<'a>(prefix: &str, value: &'a Value, into: &mut BTreeMap<String, &'a Value>) {
    let table: &Map<String, Value> = match value {
        Value::Null => return,
        Value::Object(table) => table,
        _ => {
            into.insert(prefix.to_owned(), value);
            return;
        }
    };
    for (name, value) in table {
        // As it is written: these two are tables in the snapshot only.
        let inner =
            if prefix.is_empty() && matches!(name.as_str(), "conduct" | "timeouts") && !is_server(table) {
                String::new()
            } else if prefix.is_empty() {
                name.clone()
            } else {
                format!("{prefix}.{name}")
            };
        flatten(&inner, value, into);
    }
}

/// `[server.timeouts]` is written as a table.
fn is_server(table: &Map<String, Value>) -> bool {
    table.contains_key("listen")
}

const SECTIONS: [&str; 8] = ["server", "upstream", "trace", "log", "ledger", "history", "fleet", "otlp"];

/// Where the first that fits counts.
const ORDERED: [&str; 2] = ["channel", "price"];

#[cfg(test)]
mod tests;

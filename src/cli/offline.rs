//! Commands that read the configuration and answer from it: nothing needs to run.

use super::cells::Column;
use super::rows::table_or_json;
use super::{Failed, complain, print};
use crate::config::{self, FsSource, Loaded};
use crate::secret::{KeyDigest, last4};
use crate::stage::models;
use crate::state::{Live, Registry};
use serde_json::{Value, json};
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

pub(super) fn check(config: &Path, dump: bool) -> Result<(), Failed> {
    let loaded = load(config)?;
    for warning in &loaded.warnings {
        complain(&format!("warning: {warning}"));
    }
    if dump {
        return print(&format!("{:#}", config::redacted(&loaded.snapshot)));
    }
    let snapshot = &loaded.snapshot;
    let (keys, channels) = (snapshot.keys.len(), snapshot.channels.len());
    print(&format!("{}: ok ({}, {})", config.display(), counted(channels, "channel"), counted(keys, "key")))
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn load(config: &Path) -> Result<Loaded, Failed> {
    config::load(config, &FsSource).map_err(|problems| format!("the configuration has problems:\n{problems}"))
}

pub(super) fn live(config: &Path) -> Result<Live, Failed> {
    Ok(Registry::default().bind(Arc::new(load(config)?.snapshot), NOW))
}

pub(super) fn new_key(name: &str, group: Option<&str>, as_json: bool) -> Result<(), Failed> {
    let mut random = [0u8; 32];
    getrandom::fill(&mut random).map_err(|error| format!("the system gives no randomness: {error}"))?;
    let text: String = random.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect();
    let key = format!("sk-{text}");
    let (hash, last4) = (KeyDigest::of(&key), last4(&key));
    if as_json {
        let row =
            json!({ "name": name, "key": key, "hash": hash.to_string(), "last4": last4, "group": group });
        return print(&row.to_string());
    }
    let group = group.map_or(String::new(), |group| format!("group = {}\n", json!(group)));
    complain("the key is shown this once; give it to its user and put these lines into the configuration");
    print(&format!(
        "# {key}\n[[key]]\nname = {}\nhash = \"{hash}\"\nlast4 = \"{last4}\"\n{group}",
        json!(name)
    ))
}

pub(super) fn hash_key() -> Result<(), Failed> {
    let mut text = String::new();
    std::io::stdin()
        .take(KEY_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|error| format!("cannot read the key from standard input: {error}"))?;
    let key = text.trim_end_matches(['\n', '\r']);
    if !key.starts_with("sk-") || key.contains(char::is_whitespace) {
        return Err("a key begins with 'sk-' and has no spaces; nothing was hashed".to_owned());
    }
    print(&KeyDigest::of(key).to_string())
}

pub(super) fn list_keys(config: &Path, as_json: bool) -> Result<(), Failed> {
    let loaded = load(config)?;
    let rows: Vec<Value> = loaded
        .snapshot
        .keys
        .iter()
        .map(|key| {
            json!({
                "key": key.id.as_str(),
                "last4": key.last4,
                "group": key.group.id.as_str(),
                "profile": key.profile.as_ref().map(|profile| profile.id.as_str()),
                "owner": key.owner,
                "enabled": key.enabled,
            })
        })
        .collect();
    print(&table_or_json(&rows, &KEY_COLUMNS, as_json))
}

pub(super) fn models(config: &Path, key: Option<&str>, as_json: bool) -> Result<(), Failed> {
    let live = live(config)?;
    let keys = live.snapshot.keys.iter().filter(|found| key.is_none_or(|name| found.id.as_str() == name));
    let rows: Vec<Value> =
        keys.map(|key| json!({ "key": key.id.as_str(), "models": models::usable(&live, key) })).collect();
    if rows.is_empty() {
        return Err("no key of that name is configured".to_owned());
    }
    print(&model_rows(&rows, as_json))
}

/// Keys with their models: a line each, or JSON.
pub(super) fn model_rows(rows: &[Value], as_json: bool) -> String {
    if as_json {
        return format!("{:#}", json!(rows));
    }
    let mut lines = Vec::new();
    for row in rows {
        let models = row["models"].as_array().map(Vec::as_slice).unwrap_or_default();
        let names = models.iter().filter_map(Value::as_str).map(|model| format!("  {model}"));
        lines.push(format!("{}:", row["key"].as_str().unwrap_or_default()));
        lines.extend(names);
    }
    lines.join("\n")
}

pub(super) fn version(as_json: bool) -> Result<(), Failed> {
    let version = env!("CARGO_PKG_VERSION");
    print(&if as_json { json!({ "version": version }).to_string() } else { format!("tollgate {version}") })
}

/// What is shown of keys.
pub(super) const KEY_COLUMNS: [Column; 6] = [
    Column::name("key", 0),
    Column::id("last4", 4),
    Column::name("group", 2),
    Column::name("profile", 3),
    Column::name("owner", 5),
    Column::id("enabled", 0),
];

/// Nothing has happened yet where nothing runs: counters are fresh at any time.
pub(super) const NOW: u64 = 1_000_000_000;
const KEY_BYTES_MAX: u64 = 4096;
/// Crockford's base 32: nothing that is mistaken for something else when read aloud.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

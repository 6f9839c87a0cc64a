//! A configuration of ours while it is drawn up from another's.
//!
//! Invariants: names are unique and of the form ours have; a group that is named exists; there is a channel and a key.

use super::{Kind, Remark};
use crate::secret::{KeyDigest, last4};
use std::collections::{BTreeMap, BTreeSet};

/// The configuration.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// What `[upstream]` says, by setting, as TOML.
    pub(super) upstream: BTreeMap<&'static str, String>,
    pub(super) channels: Vec<Channel>,
    pub(super) profiles: Vec<Profile>,
    pub(super) groups: BTreeMap<String, Group>,
    pub(super) keys: Vec<Key>,
    pub(super) prices: Vec<Price>,
    pub(super) remarks: Vec<Remark>,
    names: BTreeSet<(What, String)>,
}

/// What has names of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    Channel,
    Key,
    Profile,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Channel {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) base_url: Option<String>,
    pub(super) api_keys: Vec<Credential>,
    /// None: everything.
    pub(super) models: Vec<String>,
    pub(super) model_map: BTreeMap<String, String>,
    /// The smaller the earlier, from any number on.
    pub(super) priority: i64,
    pub(super) weight: Option<u64>,
    pub(super) groups: BTreeSet<String>,
    pub(super) disabled: bool,
    pub(super) limits: Limits,
    pub(super) set_headers: BTreeMap<String, String>,
    pub(super) remove_headers: BTreeSet<String>,
    /// `require` or `forbid`.
    pub(super) stream: Option<&'static str>,
    /// Other settings, as TOML.
    pub(super) settings: BTreeMap<&'static str, String>,
}

impl Channel {
    /// Sets a header of its requests; `false`: it may not be set, or it is none.
    pub(super) fn set_header(&mut self, name: &str, value: &str) -> bool {
        let is_good = is_own_header(name) && value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if is_good {
            self.set_headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        is_good
    }

    /// Takes one off.
    pub(super) fn remove_header(&mut self, name: &str) -> bool {
        let is_good = is_own_header(name);
        if is_good {
            self.remove_headers.insert(name.to_ascii_lowercase());
        }
        is_good
    }
}

/// Whether a name is one, and neither a credential's nor the connection's.
fn is_own_header(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let lower = name.to_ascii_lowercase();
    !name.is_empty() && name.bytes().all(is_token) && !RESERVED.contains(&lower.as_str())
}

/// What the gateway itself sets.
const RESERVED: [&str; 21] = [
    "accept-encoding",
    "api-key",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "sec-websocket-protocol",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-api-key",
    "x-goog-api-key",
];

/// A provider's key: in a variable, or itself.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credential {
    Variable(String),
    Text(String),
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "{name}"),
            Self::Text(_) => f.write_str("…"),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Limits {
    pub(super) rpm: Option<u64>,
    pub(super) tpm: Option<u64>,
    pub(super) concurrency: Option<u64>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Profile {
    pub(super) name: String,
    /// From and to; whether from is a regular expression.
    pub(super) mappings: Vec<(String, bool, String)>,
}

#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) quota: Option<Quota>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Quota {
    pub(super) usd: Option<f64>,
    pub(super) tokens: Option<u64>,
    pub(super) requests: Option<u64>,
    pub(super) per: &'static str,
}

#[derive(Debug, Default)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) secret: KeySecret,
    pub(super) owner: Option<String>,
    pub(super) project: Option<String>,
    pub(super) group: Option<String>,
    pub(super) profiles: Vec<String>,
    pub(super) active_profile: Option<String>,
    pub(super) models: Vec<String>,
    pub(super) allowed_ips: Vec<String>,
    /// In Unix seconds.
    pub(super) expires: Option<u64>,
    pub(super) disabled: bool,
    pub(super) limits: Limits,
    pub(super) quota: Option<Quota>,
}

/// How a key is known: its digest and its end, or the variable it is in.
#[derive(Debug)]
pub(super) enum KeySecret {
    Digest(String, String),
    Variable(String),
}

impl Default for KeySecret {
    fn default() -> Self {
        Self::Variable(FIRST_KEY.to_owned())
    }
}

impl KeySecret {
    /// Of the key's text.
    pub(super) fn of(text: &str) -> Self {
        Self::Digest(KeyDigest::of(text).to_string(), last4(text))
    }
}

/// USD per million tokens, by our words for them.
#[derive(Debug, PartialEq)]
pub(super) struct Price {
    pub(super) model: String,
    pub(super) channel: Option<String>,
    pub(super) rates: BTreeMap<&'static str, f64>,
}

impl Draft {
    /// Notes what nothing here does.
    pub(super) fn lost(&mut self, at: impl Into<String>, what: impl Into<String>) {
        self.remark(Kind::Lost, at.into(), what.into());
    }

    /// Notes what is here in another way.
    pub(super) fn changed(&mut self, at: impl Into<String>, what: impl Into<String>) {
        self.remark(Kind::Changed, at.into(), what.into());
    }

    /// Notes what is left to do.
    pub(super) fn left_to_do(&mut self, at: impl Into<String>, what: impl Into<String>) {
        self.remark(Kind::Todo, at.into(), what.into());
    }

    fn remark(&mut self, kind: Kind, at: String, what: String) {
        let remark = Remark { kind, at, what };
        if !self.remarks.contains(&remark) {
            self.remarks.push(remark);
        }
    }

    /// A name like this one that is free, in the form ours have.
    pub(super) fn name(&mut self, what: What, like: &str) -> String {
        let plain: String = like.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let plain: String = plain.trim().chars().take(NAME_CHARS_MAX).collect();
        let plain = match plain.trim() {
            "" => "unnamed".to_owned(),
            named => named.to_owned(),
        };
        let mut name = plain.clone();
        let mut number = 2;
        while !self.names.insert((what, name.clone())) {
            name = format!("{plain}-{number}");
            number += 1;
        }
        name
    }

    /// A profile with these mappings, under a name like this one; the same mappings are one profile.
    pub(super) fn profile(&mut self, like: &str, mappings: Vec<(String, bool, String)>) -> String {
        if let Some(same) = self.profiles.iter().find(|profile| profile.mappings == mappings) {
            return same.name.clone();
        }
        let name = self.name(What::Profile, like);
        self.profiles.push(Profile { name: name.clone(), mappings });
        name
    }

    /// Adds what a configuration cannot do without, and makes numbers of ours of theirs.
    pub(super) fn complete(&mut self) {
        let named = self.channels.iter().flat_map(|channel| &channel.groups);
        let named: Vec<String> =
            named.chain(self.keys.iter().filter_map(|key| key.group.as_ref())).cloned().collect();
        for name in named {
            self.groups.entry(name).or_default();
        }
        let first = self.channels.iter().map(|channel| channel.priority).min().unwrap_or(0);
        for channel in &mut self.channels {
            channel.priority -= first;
        }
        let weights: BTreeSet<u64> =
            self.channels.iter().map(|channel| channel.weight.unwrap_or(1)).collect();
        if weights.len() == 1 {
            self.channels.iter_mut().for_each(|channel| channel.weight = None);
        }
        if self
            .channels
            .iter()
            .any(|channel| channel.api_keys.iter().any(|key| matches!(key, Credential::Text(_))))
        {
            let what = "the providers' keys stand in the result as they stood in the source: keep it from others, or move \
                        them into variables or files ({ env = \"…\" }, { file = \"…\" })";
            self.changed("credentials", what);
        }
        self.once_each_key();
        if self.keys.is_empty() {
            let name = self.name(What::Key, "first");
            self.keys.push(Key { name, ..Key::default() });
            let what = format!(
                "there is no key for clients in the source: `tollgate keys new` makes one; put it into {FIRST_KEY}"
            );
            self.left_to_do("keys", what);
        }
        for variable in self.variables() {
            self.left_to_do(variable, "a variable that has to be set where the gateway runs");
        }
    }

    /// The same key under two names would be refused.
    fn once_each_key(&mut self) {
        let mut seen = BTreeSet::new();
        for key in std::mem::take(&mut self.keys) {
            let is_new = match &key.secret {
                KeySecret::Digest(digest, _) => seen.insert(digest.clone()),
                KeySecret::Variable(_) => true,
            };
            if is_new {
                self.keys.push(key);
            } else {
                self.lost(key.name, "the same key as one before it");
            }
        }
    }

    /// The variables that the result names.
    fn variables(&self) -> BTreeSet<String> {
        let credentials =
            self.channels.iter().filter(|channel| !channel.disabled).flat_map(|channel| &channel.api_keys);
        let of_channels = credentials.filter_map(|credential| match credential {
            Credential::Variable(name) => Some(name.clone()),
            Credential::Text(_) => None,
        });
        let of_keys = self.keys.iter().filter_map(|key| match &key.secret {
            KeySecret::Variable(name) => Some(name.clone()),
            KeySecret::Digest(..) => None,
        });
        of_channels.chain(of_keys).collect()
    }
}

/// A variable's name made of any name.
pub(super) fn variable(name: &str) -> String {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    let plain = plain.trim_matches('_');
    format!("{}_API_KEY", if plain.is_empty() { "CHANNEL" } else { plain })
}

/// Where the first key is looked for where the source has none.
const FIRST_KEY: &str = "TOLLGATE_KEY";
/// Ours may be twice as long: room for what makes one unique.
const NAME_CHARS_MAX: usize = 60;

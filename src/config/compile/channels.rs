//! Channels: endpoint, credentials, headers, deadlines.

use super::clouds::Account;
use super::kinds::{self, Kind, Quirk};
use super::secrets::Found;
use super::server::SECRET_HEADERS;
use super::upstream::Upstream;
use super::{At, Compiler, entries};
use crate::config::file::{Channel as Written, File, Limits as WrittenLimits, present};
use crate::config::problem::shown;
use crate::config::snapshot::{Canary, Channel, Limits, Patterns, Streams, UpstreamTimeouts};
use crate::id::{ChannelId, GroupId};
use crate::protocol::Medium;
use crate::secret::Secret;
use crate::spread::Map;
use http::{HeaderName, HeaderValue};
use std::collections::HashSet;
use std::sync::Arc;

impl Compiler<'_, '_> {
    /// Compiles every channel.
    pub(super) fn channels(&mut self, files: &[File], upstream: &Upstream) {
        let mut first = Map::default();
        for (at, written) in entries(files, ("channel", |file| &file.channel)) {
            self.name(&at, &written.name, &mut first);
            for mut channel in self.at_every_site(&at, written, upstream).unwrap_or_default() {
                if channel.id.as_str() != written.name {
                    self.name(&at, channel.id.as_str(), &mut first);
                }
                channel.index = self.channels.len();
                self.channels.push(Arc::new(channel));
            }
        }
    }

    /// What counts requests of one kind is for those who send them.
    fn channel_limits(&mut self, at: &At, written: &WrittenLimits) -> Limits {
        let limits = self.limits(at, written);
        for (medium, _) in Medium::ALL.into_iter().zip(limits.media).filter(|(_, rate)| rate.is_some()) {
            self.problem(&at.key(medium.limit()), "is a limit of keys and groups", None);
        }
        limits
    }

    /// The channel, once for each of its addresses.
    fn at_every_site(&mut self, at: &At, written: &Written, defaults: &Upstream) -> Option<Vec<Channel>> {
        let kind = kinds::kind(&written.kind)?; // the schema knows no other
        let enabled = written.enabled.unwrap_or(true);
        let (credentials, accounts) = self.credentials(at, written, (kind, enabled));
        let models = self.models(at, written, kind);
        self.model_map(at, written, models.as_ref());
        let groups = self.allowed_groups(at, written);
        let limits = self.channel_limits(&at.key("limits"), &written.limits);
        let credential_limits = self.channel_limits(&at.key("credential_limits"), &written.credential_limits);
        let (set_headers, remove_headers) = self.headers(&at.key("request_headers"), written);
        let timeouts = self.channel_timeouts(at, written, &defaults.timeouts);
        let mut conduct = self.conduct(at, &written.into(), &defaults.conduct);
        conduct.include_usage &= written.include_usage.is_some() || !kind.has(Quirk::NoStreamOptions);
        let located = self.located(at, written, (kind, &accounts)).ok()?;
        let sites = self.sites(at, written, (kind, located.as_ref()));
        let site = sites.first()?.clone();
        let tls = self.channel_tls(at, written, sites.iter().any(|site| site.endpoint.tls));
        let allow_link_local = written.allow_link_local.unwrap_or(false);
        let egress_proxy = self.egress_proxy(at, written.egress_proxy.as_ref(), (enabled, allow_link_local));
        let canary = self.canary(at, written);
        let mut channel = Channel {
            id: ChannelId::new(&written.name),
            index: 0,
            kind: kind.name,
            dialect: kind.dialect,
            counting: site.counting,
            protocols: site.protocols,
            operations: kind.operations,
            places: site.places,
            maker: site.maker,
            streams: match written.stream.as_deref() {
                Some("require") => Streams::Require,
                Some("forbid") => Streams::Forbid,
                _ => Streams::Any,
            },
            endpoint: site.endpoint,
            tls,
            credentials,
            identities: Vec::new(),
            models,
            model_map: written.model_map.iter().map(|(from, to)| (from.clone(), to.into())).collect(),
            priority: written.priority.unwrap_or(0),
            weight: written.weight.unwrap_or(1),
            canary,
            groups,
            enabled,
            allow_link_local,
            egress_proxy: egress_proxy.map(Arc::new),
            limits,
            credential_limits,
            set_headers,
            remove_headers,
            timeouts,
            conduct,
        };
        channel.identities = self.identities(accounts, (&channel, located.as_ref()));
        Some(sites.into_iter().map(|site| site.of(&channel)).collect())
    }

    fn canary(&mut self, at: &At, written: &Written) -> Option<Canary> {
        let at = at.key("canary");
        let text = written.canary.as_deref()?;
        let percent = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
        let Some(percent) = percent.filter(|percent| (0.0..=100.0).contains(percent)) else {
            let hint = "write for example canary = \"5%\"".to_owned();
            self.problem(&at, format!("{} is no share between 0% and 100%", shown(text)), Some(hint));
            return None;
        };
        if written.weight == Some(0) {
            self.problem(&at, "has no effect: `weight = 0` takes no exchanges", None);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and a million"
        )]
        let share_ppm = (percent * 1e4).round() as u32;
        Some(Canary { channel: ChannelId::new(&written.name), share_ppm })
    }

    /// What it serves: what is written, else what its type is known for.
    fn models(&mut self, at: &At, written: &Written, kind: &Kind) -> Option<Patterns> {
        let written = self.texts(&at.key("models"), written.models.as_ref(), "every model");
        let written =
            written.map(|texts| Patterns::new(&texts.into_iter().map(|(_, text)| text).collect::<Vec<_>>()));
        written.or_else(|| (!kind.models.is_empty()).then(|| Patterns::new(kind.models)))
    }

    /// The provider's keys. What a channel that is switched off lacks does not matter yet; a server that asks for
    /// none is sent none.
    fn credentials(
        &mut self,
        at: &At,
        written: &Written,
        (kind, enabled): (&Kind, bool),
    ) -> (Vec<Secret>, Vec<(At, Account)>) {
        let at = at.key("api_keys");
        let listed = written.api_keys.as_deref().unwrap_or_default();
        if kind.has(Quirk::Keyless) && listed.is_empty() {
            return (vec![Secret::new("")], Vec::new());
        }
        if enabled && listed.is_empty() {
            let hint = "for example api_keys = [{ env = \"OPENAI_API_KEY\" }]".to_owned();
            self.problem(&at, "an enabled channel needs at least one key of its provider", Some(hint));
        }
        let (mut credentials, mut accounts): (Vec<Secret>, Vec<_>) = (Vec::new(), Vec::new());
        for (index, text) in present(listed) {
            let at = at.item(index);
            let (found, account) = match kind.cloud {
                Some(cloud) => self.account(&at, text, cloud),
                None => (self.secret(&at, text), None),
            };
            match found {
                Found::Secret(secret) if credentials.contains(&secret) => {
                    self.warning(&at, "is the same key as one before it", None);
                }
                Found::Secret(secret) => {
                    credentials.push(secret);
                    accounts.extend(account.map(|account| (at, account)));
                }
                Found::Missing(what) if enabled => self.problem(&at, what, None),
                Found::Missing(_) | Found::Refused => {}
            }
        }
        (credentials, accounts)
    }

    fn model_map(&mut self, at: &At, written: &Written, models: Option<&Patterns>) {
        let at = at.key("model_map");
        for (here, there) in &written.model_map {
            let at = at.named(here);
            if there.trim().is_empty() || here.trim().is_empty() {
                self.problem(&at, "maps from or to an empty name", None);
            } else if models.is_some_and(|models| !models.matches(here)) {
                self.warning(&at, "is never used: `models` does not list this name", None);
            }
        }
    }

    fn allowed_groups(&mut self, at: &At, written: &Written) -> Option<HashSet<GroupId>> {
        let at = at.key("groups");
        let texts = self.texts(&at, written.groups.as_ref(), "every group")?;
        let group =
            |(index, name): (usize, &str)| self.group(&at.item(index), name).map(|group| group.id.clone());
        Some(texts.into_iter().filter_map(group).collect())
    }

    fn headers(&mut self, at: &At, written: &Written) -> (Vec<(String, Secret)>, Vec<String>) {
        let at_set = at.key("set");
        let mut set = Vec::new();
        for (name, value) in &written.request_headers.set {
            let at = at_set.named(name);
            let Some(name) = self.header_name(&at, name) else { continue };
            match HeaderValue::from_str(value) {
                Ok(_) => set.push((name, Secret::new(value))),
                Err(_) => self.problem(&at, "has a value that a header cannot carry", None),
            }
        }
        let at_remove = at.key("remove");
        let remove = present(written.request_headers.remove.as_deref().unwrap_or_default());
        let remove =
            remove.filter_map(|(index, name)| self.header_name(&at_remove.item(index), name)).collect();
        (set, remove)
    }

    fn header_name(&mut self, at: &At, text: &str) -> Option<String> {
        let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
            self.problem(at, format!("{} is no header name", shown(text)), None);
            return None;
        };
        if SECRET_HEADERS.contains(&name.as_str()) {
            self.problem(
                at,
                "is how credentials travel",
                Some("give the provider's key in `api_keys`".to_owned()),
            );
        } else if OURS.contains(&name.as_str()) {
            self.problem(at, "belongs to the connection and is set by the gateway", None);
        }
        Some(name.as_str().to_owned())
    }

    fn channel_timeouts(
        &mut self,
        at: &At,
        written: &Written,
        defaults: &UpstreamTimeouts,
    ) -> UpstreamTimeouts {
        let (connect, first_byte) = (written.connect_timeout.as_ref(), written.first_byte_timeout.as_ref());
        let (response, idle) = (written.response_timeout.as_ref(), written.idle_timeout.as_ref());
        UpstreamTimeouts {
            connect: self.wait(&at.key("connect_timeout"), connect, defaults.connect),
            first_byte: self.wait(&at.key("first_byte_timeout"), first_byte, defaults.first_byte),
            response: self.wait(&at.key("response_timeout"), response, defaults.response),
            idle: self.wait(&at.key("idle_timeout"), idle, defaults.idle),
        }
    }
}

/// Headers that frame the message or belong to one hop.
const OURS: [&str; 13] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

//! Channels: endpoint, credentials, headers, deadlines.

use super::secrets::Found;
use super::server::SECRET_HEADERS;
use super::upstream::Upstream;
use super::{At, Compiler, address, entries, kinds};
use crate::config::file::{Channel as Written, File, Limits as WrittenLimits, present};
use crate::config::problem::shown;
use crate::config::snapshot::{Channel, Endpoint, Limits, Patterns, Streams, UpstreamTimeouts};
use crate::id::{ChannelId, GroupId};
use crate::protocol::{Medium, Protocol};
use crate::secret::Secret;
use http::{HeaderName, HeaderValue};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

impl Compiler<'_, '_> {
    /// Compiles every channel.
    pub(super) fn channels(&mut self, files: &[File], upstream: &Upstream) {
        let mut first = HashMap::new();
        for (at, written) in entries(files, ("channel", |file| &file.channel)) {
            self.name(&at, &written.name, &mut first);
            if let Some(channel) = self.channel(&at, written, upstream) {
                self.channels.push(Arc::new(channel));
            }
        }
    }

    /// What counts requests of one kind is for those who send them.
    fn channel_limits(&mut self, at: &At, written: WrittenLimits) -> Limits {
        let limits = self.limits(at, written);
        for (medium, _) in Medium::ALL.into_iter().zip(limits.media).filter(|(_, rate)| rate.is_some()) {
            self.problem(&at.key(medium.limit()), "is a limit of keys and groups", None);
        }
        limits
    }

    fn channel(&mut self, at: &At, written: &Written, defaults: &Upstream) -> Option<Channel> {
        let enabled = written.enabled.unwrap_or(true);
        let credentials = self.credentials(at, written, enabled);
        let models = self.texts(&at.key("models"), written.models.as_ref(), "every model");
        let models = models.map(|texts| texts.into_iter().map(|(_, text)| text).collect::<Vec<_>>());
        self.model_map(at, written);
        let groups = self.allowed_groups(at, written);
        let limits = self.channel_limits(&at.key("limits"), written.limits);
        let credential_limits = self.channel_limits(&at.key("credential_limits"), written.credential_limits);
        let (set_headers, remove_headers) = self.headers(&at.key("request_headers"), written);
        let timeouts = self.channel_timeouts(at, written, &defaults.timeouts);
        let conduct = self.conduct(at, &written.into(), &defaults.conduct);
        let kind = kinds::kind(&written.kind)?; // the schema knows no other
        let endpoint = self.endpoint(at, written, kind.base_url)?;
        let tls = self.channel_tls(at, written, endpoint.tls);
        let protocols = self.protocols(at, written, kind, &endpoint);
        Some(Channel {
            id: ChannelId::new(&written.name),
            index: self.channels.len(),
            kind: kind.name,
            dialect: kind.dialect,
            protocols,
            streams: match written.stream.as_deref() {
                Some("require") => Streams::Require,
                Some("forbid") => Streams::Forbid,
                _ => Streams::Any,
            },
            endpoint,
            tls,
            credentials,
            models: models.map(|texts| Patterns::new(&texts)),
            model_map: written.model_map.clone().into_iter().collect(),
            priority: written.priority.unwrap_or(0),
            weight: written.weight.unwrap_or(1),
            groups,
            enabled,
            allow_link_local: written.allow_link_local.unwrap_or(false),
            limits,
            credential_limits,
            set_headers,
            remove_headers,
            timeouts,
            conduct,
        })
    }

    /// What it speaks: of its type's protocols those that are written, in that order; words that are not known the
    /// schema has refused.
    fn protocols(
        &mut self,
        at: &At,
        written: &Written,
        kind: &kinds::Kind,
        endpoint: &Endpoint,
    ) -> Vec<Protocol> {
        let at = at.key("protocols");
        let Some(listed) = &written.protocols else {
            let mut protocols = kind.protocols.to_vec();
            // There responses carry what chat completions cannot: thinking that is given back, beside tools.
            protocols.sort_by_key(|protocol| *protocol != Protocol::Responses || !endpoint.is_openais_own());
            return protocols;
        };
        let mut protocols = Vec::new();
        for (index, word) in present(listed) {
            let at = at.item(index);
            match Protocol::named(word) {
                Some(protocol) if protocols.contains(&protocol) => self.problem(&at, "is there twice", None),
                Some(protocol) if !kind.protocols.contains(&protocol) => {
                    let known: Vec<_> = kind.protocols.iter().map(|protocol| protocol.word()).collect();
                    let hint = format!("channels of this type speak {}", known.join(" and "));
                    self.problem(&at, format!("is not spoken by type {}", kind.name), Some(hint));
                }
                Some(protocol) => protocols.push(protocol),
                None => {}
            }
        }
        if protocols.is_empty() {
            self.problem(&at, "must name a protocol", Some("leave it out for those of its type".to_owned()));
        }
        protocols
    }

    fn endpoint(&mut self, at: &At, written: &Written, default: &str) -> Option<Endpoint> {
        let at = at.key("base_url");
        let endpoint = match address::endpoint(written.base_url.as_deref().unwrap_or(default)) {
            Ok(endpoint) => endpoint,
            Err((what, hint)) => {
                self.problem(&at, what, hint.map(str::to_owned));
                return None;
            }
        };
        if address::is_banned(&endpoint.host) && written.allow_link_local != Some(true) {
            let what = "points at a link-local or metadata address";
            let hint = "if that is meant, set allow_link_local = true".to_owned();
            self.problem(&at, what, Some(hint));
        }
        Some(endpoint)
    }

    /// The provider's keys. What a channel that is switched off lacks does not matter yet.
    fn credentials(&mut self, at: &At, written: &Written, enabled: bool) -> Vec<Secret> {
        let at = at.key("api_keys");
        let listed = written.api_keys.as_deref().unwrap_or_default();
        if enabled && listed.is_empty() {
            let hint = "for example api_keys = [{ env = \"OPENAI_API_KEY\" }]".to_owned();
            self.problem(&at, "an enabled channel needs at least one key of its provider", Some(hint));
        }
        let mut credentials: Vec<Secret> = Vec::new();
        for (index, text) in present(listed) {
            let at = at.item(index);
            match self.secret(&at, text) {
                Found::Secret(secret) if credentials.contains(&secret) => {
                    self.warning(&at, "is the same key as one before it", None);
                }
                Found::Secret(secret) => credentials.push(secret),
                Found::Missing(what) if enabled => self.problem(&at, what, None),
                Found::Missing(_) | Found::Refused => {}
            }
        }
        credentials
    }

    fn model_map(&mut self, at: &At, written: &Written) {
        let at = at.key("model_map");
        let models = written
            .models
            .as_ref()
            .map(|models| Patterns::new(&present(models).map(|(_, text)| text.as_str()).collect::<Vec<_>>()));
        for (here, there) in &written.model_map {
            let at = at.key(here);
            if there.trim().is_empty() || here.trim().is_empty() {
                self.problem(&at, "maps from or to an empty name", None);
            } else if models.as_ref().is_some_and(|models| !models.matches(here)) {
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

    fn headers(&mut self, at: &At, written: &Written) -> (Vec<(HeaderName, HeaderValue)>, Vec<HeaderName>) {
        let at_set = at.key("set");
        let mut set = Vec::new();
        for (name, value) in &written.request_headers.set {
            let at = at_set.key(name);
            let Some(name) = self.header_name(&at, name) else { continue };
            match HeaderValue::from_str(value) {
                Ok(mut value) => {
                    value.set_sensitive(true); // it may be a secret, so `Debug` must not show it
                    set.push((name, value));
                }
                Err(_) => self.problem(&at, "has a value that a header cannot carry", None),
            }
        }
        let at_remove = at.key("remove");
        let remove = present(written.request_headers.remove.as_deref().unwrap_or_default());
        let remove =
            remove.filter_map(|(index, name)| self.header_name(&at_remove.item(index), name)).collect();
        (set, remove)
    }

    fn header_name(&mut self, at: &At, text: &str) -> Option<HeaderName> {
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
        Some(name)
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

//! Channels: endpoint, credentials, headers, deadlines.

use super::kinds::{self, Kind, Quirk};
use super::secrets::Found;
use super::server::SECRET_HEADERS;
use super::upstream::Upstream;
use super::{At, Compiler, address, entries, places};
use crate::config::file::{Channel as Written, File, Limits as WrittenLimits, present};
use crate::config::problem::shown;
use crate::config::snapshot::{Channel, Endpoint, Limits, Patterns, Places, Streams, UpstreamTimeouts};
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
        let kind = kinds::kind(&written.kind)?; // the schema knows no other
        let enabled = written.enabled.unwrap_or(true);
        let credentials = self.credentials(at, written, (kind, enabled));
        let models = self.models(at, written, kind);
        self.model_map(at, written, models.as_ref());
        let groups = self.allowed_groups(at, written);
        let limits = self.channel_limits(&at.key("limits"), written.limits);
        let credential_limits = self.channel_limits(&at.key("credential_limits"), written.credential_limits);
        let (set_headers, remove_headers) = self.headers(&at.key("request_headers"), written);
        let timeouts = self.channel_timeouts(at, written, &defaults.timeouts);
        let mut conduct = self.conduct(at, &written.into(), &defaults.conduct);
        conduct.include_usage &= written.include_usage.is_some() || !kind.has(Quirk::NoStreamOptions);
        let endpoint = self.endpoint(at, written, kind)?;
        let tls = self.channel_tls(at, written, endpoint.tls);
        let allow_link_local = written.allow_link_local.unwrap_or(false);
        let egress_proxy = self.egress_proxy(at, written.egress_proxy.as_ref(), (enabled, allow_link_local));
        let places = self.places(at, written, kind, &endpoint);
        let openais_models = kind.has(Quirk::OpenAisModels) || endpoint.is_openais_own();
        let protocols = self.protocols(at, written, kind, (&places, openais_models));
        Some(Channel {
            id: ChannelId::new(&written.name),
            index: self.channels.len(),
            kind: kind.name,
            dialect: kind.dialect,
            counting: protocols
                .iter()
                .copied()
                .filter(|one| kind.speaks(*one).is_some_and(|row| row.counts))
                .collect(),
            protocols,
            operations: kind.operations,
            places,
            openais_models,
            streams: match written.stream.as_deref() {
                Some("require") => Streams::Require,
                Some("forbid") => Streams::Forbid,
                _ => Streams::Any,
            },
            endpoint,
            tls,
            credentials,
            models,
            model_map: written.model_map.clone().into_iter().collect(),
            priority: written.priority.unwrap_or(0),
            weight: written.weight.unwrap_or(1),
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
        })
    }

    /// What it speaks: of its type's protocols those that are written, in that order; words that are not known the
    /// schema has refused.
    fn protocols(
        &mut self,
        at: &At,
        written: &Written,
        kind: &Kind,
        (places, openais_models): (&Places, bool),
    ) -> Vec<Protocol> {
        let at = at.key("protocols");
        let known: Vec<Protocol> = places.spoken.iter().map(|(protocol, _)| *protocol).collect();
        let Some(listed) = &written.protocols else {
            let mut protocols = known;
            // There responses carry what chat completions cannot: thinking that is given back, beside tools.
            protocols.sort_by_key(|protocol| *protocol != Protocol::Responses || !openais_models);
            return protocols;
        };
        let mut protocols = Vec::new();
        for (index, word) in present(listed) {
            let at = at.item(index);
            match Protocol::named(word) {
                Some(protocol) if protocols.contains(&protocol) => self.problem(&at, "is there twice", None),
                Some(protocol) if known.contains(&protocol) => protocols.push(protocol),
                Some(protocol) if kind.speaks(protocol).is_some() => {
                    let hint =
                        "with the host alone, all of the type's protocols are where its provider has them";
                    self.problem(&at, "is not where base_url leads", Some(hint.to_owned()));
                }
                Some(_) => {
                    let words: Vec<_> = kind.speaks.iter().map(|speaks| speaks.protocol.word()).collect();
                    let hint = match words[..] {
                        [] => "leave it out".to_owned(),
                        _ => format!("channels of this type speak {}", words.join(" and ")),
                    };
                    self.problem(&at, format!("is not spoken by type {}", kind.name), Some(hint));
                }
                None => {}
            }
        }
        if protocols.is_empty() {
            self.problem(&at, "must name a protocol", Some("leave it out for those of its type".to_owned()));
        }
        protocols
    }

    fn endpoint(&mut self, at: &At, written: &Written, kind: &Kind) -> Option<Endpoint> {
        let at = at.key("base_url");
        let mut url = written.base_url.as_deref();
        if kind.has(Quirk::OwnAddressOnly) && url.take().is_some() {
            let own = kind.origin.unwrap_or_default();
            let hint = format!("this type's credential goes to {own} and nowhere else; leave it out");
            self.warning(&at, "is not used", Some(hint));
        }
        let Some(url) = url.or(kind.origin) else {
            let hint = "for example https://my-resource.openai.azure.com".to_owned();
            self.problem(&at, format!("is needed: type {} has no address of its own", kind.name), Some(hint));
            return None;
        };
        let endpoint = match address::endpoint(url) {
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

    /// Where at the endpoint it is asked for what.
    fn places(&mut self, at: &At, written: &Written, kind: &Kind, endpoint: &Endpoint) -> Places {
        let mut places = places::places(kind, endpoint);
        let with_versions = kind.has(Quirk::ApiVersion);
        if with_versions && endpoint.base_path.contains("/deployments") {
            let hint = "leave that off: a deployment is named by the model, or by what model_map makes of it";
            self.problem(&at.key("base_url"), "names a deployment", Some(hint.to_owned()));
        }
        if let Some(version) = written.api_version.as_deref() {
            let at = at.key("api_version");
            if !with_versions {
                self.problem(&at, format!("means nothing to type {}", kind.name), None);
            } else if let Err(what) =
                places::with_api_version(&mut places, version, endpoint.version.is_some())
            {
                self.problem(&at, what, None);
            }
        }
        places
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
    fn credentials(&mut self, at: &At, written: &Written, (kind, enabled): (&Kind, bool)) -> Vec<Secret> {
        let at = at.key("api_keys");
        let listed = written.api_keys.as_deref().unwrap_or_default();
        if kind.has(Quirk::Keyless) && listed.is_empty() {
            return vec![Secret::new("")];
        }
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

    fn model_map(&mut self, at: &At, written: &Written, models: Option<&Patterns>) {
        let at = at.key("model_map");
        for (here, there) in &written.model_map {
            let at = at.key(here);
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

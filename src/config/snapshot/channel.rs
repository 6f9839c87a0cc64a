//! Channels of a snapshot: where they are, what they serve, and how they are used.

use super::{ChannelTls, EgressProxy, Identity, Limits, Patterns, Place, Places};
use crate::id::{ChannelId, GroupId};
use crate::protocol::fields::{Fields, names};
use crate::protocol::{Dialect, Operation, Protocol};
use crate::secret::{KeyDigest, Secret};
use crate::spread::Map;
use smol_str::SmolStr;
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// One account at one provider.
#[derive(Debug, Clone)]
pub struct Channel {
    /// Its name.
    pub id: ChannelId,
    /// Position in `Snapshot::channels`.
    pub index: usize,
    /// The `type` as written, a row of the channel-type table.
    pub kind: &'static str,
    /// The family of its errors and of its operations without a protocol.
    pub dialect: Dialect,
    /// What it speaks. Whoever speaks none of them is translated into the first.
    pub protocols: Vec<Protocol>,
    /// Those of them in which it counts the tokens of a request without answering it.
    pub counting: Vec<Protocol>,
    /// The operations without a protocol that it has; `None`: all of its dialect.
    pub operations: Option<&'static [Operation]>,
    /// Where it is asked for what.
    pub places: Places,
    /// Whose models it serves.
    pub maker: Maker,
    /// Whether it is asked for streams.
    pub streams: Streams,
    /// Where it is reached.
    pub endpoint: Endpoint,
    /// How its connections are secured, where the endpoint has TLS.
    pub tls: ChannelTls,
    /// The provider's keys, never empty for an enabled channel.
    pub credentials: Vec<Secret>,
    /// What stands behind each of them, where that is more than the text of a header.
    pub identities: Vec<Identity>,
    /// What it serves; `None`: every model.
    pub models: Option<Patterns>,
    /// Name here → name at the provider.
    pub model_map: Map<String, SmolStr>,
    /// Lower first.
    pub priority: i32,
    /// Share within one priority; 0: no new exchanges.
    pub weight: u32,
    /// The share of exchanges that it gets on trial; `None`: it is none.
    pub canary: Option<Canary>,
    /// Who may use it; `None`: every group.
    pub groups: Option<HashSet<GroupId>>,
    /// `false`: listed, never used.
    pub enabled: bool,
    /// Whether it may point (or resolve) at link-local and metadata addresses.
    pub allow_link_local: bool,
    /// What its connections go through.
    pub egress_proxy: Option<Arc<EgressProxy>>,
    /// Its own limits: past them it is passed over.
    pub limits: Limits,
    /// The limits of each of its credentials: past them that credential is passed over.
    pub credential_limits: Limits,
    /// Headers set on every request to it; names lower case.
    pub set_headers: Vec<(String, Secret)>,
    /// Headers taken off every request to it.
    pub remove_headers: Vec<String>,
    /// Its deadlines.
    pub timeouts: UpstreamTimeouts,
    /// How it is used.
    pub conduct: Conduct,
}

/// A channel on trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// The channel as written, of which this may be one address.
    pub channel: ChannelId,
    /// Of a million exchanges.
    pub share_ppm: u32,
}

impl Canary {
    /// As it is written: `5%`.
    pub fn percent(&self) -> String {
        format!("{}%", f64::from(self.share_ppm) / 1e4)
    }
}

/// Whose models a channel serves, as far as they are asked otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// OpenAI's own, here or there; they want `max_completion_tokens`.
    OpenAi,
    /// Anybody's, by whatever protocol.
    Any,
}

impl Channel {
    /// Where it is asked for this, and in which form it is told who pays.
    pub fn place_of(&self, operation: Operation) -> &Place {
        self.places.of(operation)
    }

    /// Where its connections are opened to: the provider, or the proxy before it.
    pub fn dialed(&self) -> (&str, u16) {
        let direct = (self.endpoint.host.as_str(), self.endpoint.port);
        self.egress_proxy.as_ref().map_or(direct, |proxy| (&proxy.host, proxy.port))
    }

    /// What stands behind a credential, where that is more than the text of a header.
    pub fn identity(&self, credential: &Secret) -> Option<&Identity> {
        let at = self.credentials.iter().position(|known| known == credential)?;
        self.identities.get(at)
    }

    /// Its credentials as they were written: one that was mended is another, though its name is the same.
    pub fn whole_credentials(&self) -> impl Iterator<Item = KeyDigest> {
        let whole = move |(at, credential): (usize, &Secret)| {
            self.identities.get(at).map_or_else(|| credential.digest(), Identity::whole)
        };
        self.credentials.iter().enumerate().map(whole)
    }

    /// Every host that connections are opened to on its behalf.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        let issuers = self.identities.iter().filter_map(Identity::issuer);
        issuers.chain([self]).map(|channel| channel.dialed().0)
    }

    /// Whether it has this operation, which belongs to no protocol, in this dialect.
    pub fn offers(&self, dialect: Dialect, operation: Operation) -> bool {
        dialect == self.dialect && self.operations.is_none_or(|known| known.contains(&operation))
    }

    /// Where it is asked in a protocol that it speaks.
    pub fn address_of(&self, protocol: Protocol) -> String {
        self.address(self.place_of(protocol.operation(false)))
    }

    /// Where it is asked first of all, by which lists of providers know it.
    pub fn main_address(&self) -> String {
        self.protocols
            .first()
            .map_or_else(|| self.address(&self.places.other), |first| self.address_of(*first))
    }

    fn address(&self, place: &Place) -> String {
        let (base_path, version) = (place.base_path.clone(), place.version.clone());
        Endpoint { base_path, version, ..self.endpoint.clone() }.base_url()
    }

    /// Whether the configuration lets it take new exchanges.
    pub fn is_in_service(&self) -> bool {
        self.enabled && self.weight > 0 && self.canary.as_ref().is_none_or(|canary| canary.share_ppm > 0)
    }

    /// The share of exchanges that it gets on trial.
    pub fn canary_share(&self) -> Option<f64> {
        self.canary.as_ref().map(|canary| f64::from(canary.share_ppm) / 1e6)
    }

    /// Whether it takes new exchanges of this group at all.
    pub fn open_to(&self, group: &GroupId) -> bool {
        self.is_in_service() && self.groups.as_ref().is_none_or(|groups| groups.contains(group))
    }

    /// Whether it serves the model, by the name used here.
    pub fn serves(&self, model: &str) -> bool {
        self.models.as_ref().is_none_or(|models| models.matches(model))
    }

    /// What may be shown of the credential at this position: its last four characters, with the position where
    /// these are too few to show or not its own.
    pub fn credential_label(&self, index: usize) -> String {
        let last4 = self.credentials.get(index).map(Secret::last4).unwrap_or_default();
        let same = self.credentials.iter().filter(|other| other.last4() == last4).count();
        if last4.is_empty() || same > 1 { format!("{last4}#{}", index + 1) } else { last4 }
    }

    /// Every name of a model at the provider that the configuration spells out.
    pub fn spelled_out(&self) -> impl Iterator<Item = &str> {
        let listed = self.models.iter().flat_map(Patterns::listed).filter(|name| !name.contains('*'));
        listed.map(|name| self.upstream_model(name)).chain(self.model_map.values().map(SmolStr::as_str))
    }

    /// The model's name at the provider.
    pub fn upstream_model<'a>(&'a self, model: &'a str) -> &'a str {
        self.model_map.get(model).map_or(model, SmolStr::as_str)
    }

    /// The same of a name that is at hand as it is kept.
    pub fn upstream_name(&self, model: &SmolStr) -> SmolStr {
        self.model_map.get(model.as_str()).unwrap_or(model).clone()
    }
}

/// Where a channel is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// TLS or not.
    pub tls: bool,
    /// Host name or address literal, without brackets.
    pub host: String,
    /// The address, where that is a literal: nobody has to be asked for it.
    pub literal: Option<Arc<[IpAddr]>>,
    /// Port.
    pub port: u16,
    /// `host` with the port where it is not the scheme's own: the `Host` header.
    pub authority: String,
    /// What every request to it says: that, and that the answer shall be plain text.
    pub fields: Fields,
    /// What the base URL's path puts before the operation's own path: no trailing slash, no version.
    pub base_path: String,
    /// The API version the base URL names (`v1`, `v1beta`); `None`: the operation's usual one.
    pub version: Option<String>,
}

impl Endpoint {
    /// The [`Endpoint::literal`] of this host.
    pub fn literal_of(host: &str) -> Option<Arc<[IpAddr]>> {
        host.parse::<IpAddr>().ok().map(|address| Arc::from([address]))
    }

    /// The [`Endpoint::fields`] of this authority.
    pub fn fields_of(authority: &str) -> Fields {
        // Usage is read and models are renamed in the answer, so it has to come as plain text.
        Fields::of(&[(names::HOST, authority), (names::ACCEPT_ENCODING, "identity")])
    }

    /// The base URL, in the one form of all it can be written in.
    pub fn base_url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        let version = self.version.as_ref().filter(|version| !version.is_empty());
        let version = version.map(|version| format!("/{version}")).unwrap_or_default();
        format!("{scheme}://{}{}{version}", self.authority, self.base_path)
    }

    /// Whether it is OpenAI itself or OpenAI's models at Azure, not one who imitates it.
    pub fn is_openais_own(&self) -> bool {
        let host = self.host.trim_end_matches('.').to_ascii_lowercase();
        OPENAIS_OWN.iter().any(|own| host == own[1..] || host.ends_with(own))
    }
}

const OPENAIS_OWN: [&str; 2] = [".openai.com", ".openai.azure.com"];

/// Deadlines of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTimeouts {
    /// TCP and TLS.
    pub connect: Duration,
    /// Streams: from sending the request to the first real event.
    pub first_byte: Duration,
    /// Non-stream answers: until their first byte.
    pub response: Duration,
    /// Between bytes of a response.
    pub idle: Duration,
}

/// How a channel is used, beside where it is and how long it is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conduct {
    /// How one of several channels is chosen; the first in the file speaks for a priority.
    pub balance: Balance,
    /// How many exchanges may wait for a place; 0: they are refused.
    pub queue: usize,
    /// How long one waits there.
    pub queue_timeout: Duration,
    /// Silence of a stream before the client gets a keep-alive; zero: none.
    pub ping_interval: Duration,
    /// Whether keep-alives go out before the first event too, which commits to status 200.
    pub ping_before_first_event: bool,
    /// What becomes of the provider's answer when the client leaves.
    pub on_client_abort: ClientAbort,
    /// What becomes of thinking that another provider signed.
    pub foreign_thinking: ForeignThinking,
    /// Whether a stream is asked for its usage where the client did not ask and the protocol wants that.
    pub include_usage: bool,
    /// HTTP towards the provider.
    pub http_version: HttpVersion,
}

/// Whether a channel is asked for streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    /// As the client asks.
    Any,
    /// Always: it has no other answers.
    Require,
    /// Never: it has none.
    Forbid,
}

impl Streams {
    /// The word in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Require => "require",
            Self::Forbid => "forbid",
        }
    }

    /// What it is asked for where the client asks for this.
    pub fn asked(self, stream: bool) -> bool {
        match self {
            Self::Any => stream,
            Self::Require => true,
            Self::Forbid => false,
        }
    }
}

/// How one of several channels of the best priority is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// In proportion to the weights.
    Weighted,
    /// The quicker of two taken at random, by the time to its first byte and what it has in flight.
    LeastLatency,
    /// The one of two taken at random with less in flight for its weight.
    LeastBusy,
}

/// What becomes of the provider's answer when the client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAbort {
    /// It is dropped, so that the provider stops.
    Cancel,
    /// It is read to its end, for its usage.
    Drain,
}

/// What becomes of thinking that another provider signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForeignThinking {
    /// Its blocks are cut out of the request.
    Strip,
    /// The channel is passed over.
    Refuse,
}

/// HTTP towards the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    /// What TLS agrees on; HTTP/1.1 without TLS.
    Auto,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only; without TLS by prior knowledge.
    Http2,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openai_is_known_by_its_hosts() {
        for (host, own) in [
            ("api.openai.com", true),
            ("EU.API.openai.com.", true),
            ("acme.openai.azure.com", true),
            ("api.notopenai.com", false),
            ("api.openai.com.example.com", false),
            ("127.0.0.1", false),
        ] {
            let endpoint = Endpoint {
                tls: true,
                host: host.to_owned(),
                literal: Endpoint::literal_of(host),
                port: 443,
                authority: host.to_owned(),
                fields: Endpoint::fields_of(host),
                base_path: String::new(),
                version: None,
            };
            assert_eq!(endpoint.is_openais_own(), own, "{host}");
        }
    }
}

//! Where a channel is: each of its addresses, and what it is asked for there in which protocols.
//!
//! Invariant: with `base_urls` every address is a channel of its own, named after it, so that one server that is down,
//! slow or full is nobody else's trouble; what else is written of the channel holds for each.

use super::clouds::Located;
use super::kinds::{Kind, Of, Quirk, Speaks};
use super::{At, Compiler, address, places};
use crate::config::file::{Channel as Written, present};
use crate::config::snapshot::{Channel, Endpoint, Maker, Places};
use crate::protocol::Protocol;
use std::collections::HashSet;

/// One address of a channel.
#[derive(Debug, Clone)]
pub(super) struct Site {
    /// What is put behind the channel's name; `None`: it has one address.
    name: Option<String>,
    pub(super) endpoint: Endpoint,
    pub(super) places: Places,
    pub(super) protocols: Vec<Protocol>,
    /// Those of the protocols in which tokens are counted.
    pub(super) counting: Vec<Protocol>,
    pub(super) maker: Maker,
}

impl Site {
    /// The channel at this address.
    pub(super) fn of(self, channel: &Channel) -> Channel {
        Channel {
            id: self.name.map_or_else(|| channel.id.clone(), |name| channel.id.at(&name)),
            endpoint: self.endpoint,
            places: self.places,
            protocols: self.protocols,
            counting: self.counting,
            maker: self.maker,
            ..channel.clone()
        }
    }
}

/// What was written of a channel, and of which type it is.
#[derive(Clone, Copy)]
struct Told<'a> {
    at: &'a At,
    written: &'a Written,
    kind: &'static Kind,
    located: Option<&'a Located>,
}

impl Compiler<'_, '_> {
    /// Every address of a channel that leads anywhere; those that do not are reported.
    pub(super) fn sites(
        &mut self,
        at: &At,
        written: &Written,
        (kind, located): (&'static Kind, Option<&Located>),
    ) -> Vec<Site> {
        let told = Told { at, written, kind, located };
        if written.api_version.is_some() && !kind.has(Quirk::ApiVersion) {
            let what = format!("means nothing to type {}", kind.name);
            self.problem(&at.key("api_version"), what, None);
        }
        let protocols = self.protocols(told);
        let asked = protocols.as_deref();
        let Some(listed) = &written.base_urls else {
            let site = self.site(&at.key("base_url"), written.base_url.as_deref(), (told, asked));
            return site.into_iter().collect();
        };
        let at = at.key("base_urls");
        if written.base_url.is_some() {
            let hint = "write all addresses into base_urls".to_owned();
            self.problem(&at, "is there beside base_url", Some(hint));
        }
        if listed.is_empty() {
            self.problem(&at, "is empty", Some("leave it out for the type's own address".to_owned()));
        }
        let mut known = HashSet::new();
        let mut sites = Vec::new();
        for (index, url) in present(listed) {
            let at = at.item(index);
            let Some(site) = self.site(&at, Some(url), (told, asked)) else { continue };
            let name = format!("{}{}", site.endpoint.authority, site.endpoint.base_path);
            if known.insert(name.clone()) {
                sites.push(Site { name: Some(name), ..site });
            } else {
                self.problem(&at, "leads to the same address as one before it", None);
            }
        }
        sites
    }

    fn site(
        &mut self,
        at: &At,
        url: Option<&str>,
        (told, asked): (Told<'_>, Option<&[Protocol]>),
    ) -> Option<Site> {
        let kind = told.kind;
        let endpoint = self.endpoint(at, url, told)?;
        let places = self.places(at, &endpoint, told);
        let is_openais = kind.has(Quirk::OpenAisModels) || endpoint.is_openais_own();
        let maker = if is_openais { Maker::OpenAi } else { Maker::Any };
        let protocols = match asked {
            Some(asked) => {
                self.are_spoken(asked, &places, told);
                asked.to_vec()
            }
            None => self.by_default(&places, maker, told),
        };
        let counts = |protocol: &Protocol| kind.speaks(*protocol).is_some_and(|row| row.counts);
        let counting = protocols.iter().copied().filter(counts).collect();
        Some(Site { name: None, endpoint, places, protocols, counting, maker })
    }

    /// What it is to speak, in that order, where that is written; words that are not known the schema has refused.
    fn protocols(&mut self, told: Told<'_>) -> Option<Vec<Protocol>> {
        let Told { at, written, kind, .. } = told;
        let at = at.key("protocols");
        let listed = written.protocols.as_ref()?;
        let mut protocols = Vec::new();
        for (index, word) in present(listed) {
            let at = at.item(index);
            match Protocol::named(word) {
                Some(protocol) if protocols.contains(&protocol) => self.problem(&at, "is there twice", None),
                Some(protocol) if kind.speaks(protocol).is_some() => protocols.push(protocol),
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
        Some(protocols)
    }

    /// Reports what is asked for and not behind this address.
    fn are_spoken(&mut self, asked: &[Protocol], places: &Places, told: Told<'_>) {
        for protocol in asked.iter().filter(|protocol| !places.speak(**protocol)) {
            let hint = "with the host alone, all of the type's protocols are where its provider has them";
            let what = format!("{} is not where base_url leads", protocol.word());
            self.problem(&told.at.key("protocols"), what, Some(hint.to_owned()));
        }
    }

    fn endpoint(&mut self, at: &At, url: Option<&str>, told: Told<'_>) -> Option<Endpoint> {
        let kind = told.kind;
        let mut url = url;
        if kind.has(Quirk::OwnAddressOnly) && url.take().is_some() {
            let own = kind.origin.unwrap_or_default();
            let hint = format!("this type's credential goes to {own} and nowhere else; leave it out");
            self.warning(at, "is not used", Some(hint));
        }
        let own = told.located.map(Located::origin);
        let Some(url) = url.or(own.as_deref()).or(kind.origin) else {
            let hint = "for example https://my-resource.openai.azure.com".to_owned();
            self.problem(at, format!("is needed: type {} has no address of its own", kind.name), Some(hint));
            return None;
        };
        let endpoint = match address::endpoint(url) {
            Ok(endpoint) => endpoint,
            Err((what, hint)) => {
                self.problem(at, what, hint.map(str::to_owned));
                return None;
            }
        };
        if address::is_banned(&endpoint.host) && told.written.allow_link_local != Some(true) {
            let what = "points at a link-local or metadata address";
            let hint = "if that is meant, set allow_link_local = true".to_owned();
            self.problem(at, what, Some(hint));
        }
        Some(endpoint)
    }

    /// Where at the endpoint it is asked for what.
    fn places(&mut self, at: &At, endpoint: &Endpoint, told: Told<'_>) -> Places {
        let mut places = places::places(told.kind, endpoint);
        if let Some(located) = told.located {
            located.fill(&mut places);
        }
        if !told.kind.has(Quirk::ApiVersion) {
            return places;
        }
        if endpoint.base_path.contains("/deployments") {
            let hint = "leave that off: a deployment is named by the model, or by what model_map makes of it";
            self.problem(at, "names a deployment", Some(hint.to_owned()));
        }
        if let Some(version) = told.written.api_version.as_deref()
            && let Err(what) = places::with_api_version(&mut places, version, endpoint.version.is_some())
        {
            self.problem(&told.at.key("api_version"), what, None);
        }
        places
    }

    /// What a channel speaks where nobody says it: at a cloud its models do.
    fn by_default(&mut self, places: &Places, maker: Maker, told: Told<'_>) -> Vec<Protocol> {
        let kind = told.kind;
        let parts = kind.speaks.iter().any(|row| row.of == Of::Claude);
        let Some(of) = (if parts { whose(told.written) } else { Some(Of::All) }) else {
            let hint = "Claude is asked for at one address and the others at another: say which protocol is \
                        spoken, or list the models, Claude in a channel of its own";
            self.problem(&told.at.key("protocols"), "is needed", Some(hint.to_owned()));
            return Vec::new();
        };
        let is_spoken = |row: &&Speaks| row.of == Of::All || row.of == of;
        let spoken = kind.speaks.iter().filter(|row| is_spoken(row) && places.speak(row.protocol));
        let mut protocols: Vec<Protocol> = spoken.map(|speaks| speaks.protocol).collect();
        // There responses carry what chat completions cannot: thinking that is given back, beside tools.
        protocols.sort_by_key(|protocol| *protocol != Protocol::Responses || maker != Maker::OpenAi);
        protocols
    }
}

/// Whose the listed models are, by their names at the provider; `None`: there are none, or of both kinds.
fn whose(written: &Written) -> Option<Of> {
    let listed = present(written.models.as_deref().unwrap_or_default());
    let mut claude = listed.map(|(_, name)| written.model_map.get(name).unwrap_or(name).contains("claude"));
    let first = claude.next()?;
    claude.all(|another| another == first).then_some(if first { Of::Claude } else { Of::Others })
}

//! From a channel type's roots and the base URL that was written to the places where the channel is asked.
//!
//! People write the host, the address the provider documents for one of its protocols, or where a proxy mounts it;
//! each of them says where the other protocols are, with one exception: a path of the operator's own that ends with a
//! version is where the first protocol is, and says nothing of others.
//! Invariant: what is written is used; a version that is written holds for the root it belongs to and no other.

use super::kinds::{Kind, Root};
use crate::config::snapshot::{CredentialForm, Endpoint, Naming, Place, Places};

/// The places of a channel of this type at this endpoint.
pub(super) fn places(kind: &Kind, endpoint: &Endpoint) -> Places {
    let base = Base::of(kind, endpoint);
    let credential = kind.speaks.first().map_or(CredentialForm::Bearer, |speaks| speaks.credential);
    let spoken = kind.speaks.iter().filter_map(|speaks| {
        let place = base.place(speaks.root, speaks.credential)?;
        Some((speaks.protocol, Place { naming: speaks.naming, ..place }))
    });
    // Where only the first protocol is known, what belongs to none is looked for beside it.
    let first = kind.speaks.first().map_or(kind.other, |speaks| speaks.root);
    let other = base.place(kind.other, credential).or_else(|| base.place(first, credential));
    let rerank = kind.rerank.and_then(|root| {
        let place = base.place(root, credential)?;
        // It has versions of its own, and the client says which.
        Some(Place { version: root.version.map(str::to_owned), ..place })
    });
    let other = other.unwrap_or_else(|| placed(&endpoint.base_path, endpoint.version.as_deref(), credential));
    Places { spoken: spoken.collect(), rerank, other }
}

/// What the written path means.
enum Base<'a> {
    /// All roots are behind this prefix; the version that was written is that of this path.
    Prefix { prefix: &'a str, of: &'a str, version: Option<&'a str> },
    /// It is the first root itself.
    First { root: Root, path: &'a str, version: &'a str },
}

impl<'a> Base<'a> {
    fn of(kind: &Kind, endpoint: &'a Endpoint) -> Self {
        let (path, version) = (endpoint.base_path.as_str(), endpoint.version.as_deref());
        let roots = || kind.speaks.iter().map(|speaks| speaks.root).chain([kind.other]).chain(kind.rerank);
        let ending = roots().filter(|root| path.ends_with(root.path)).max_by_key(|root| root.path.len());
        match (ending, version) {
            (Some(Root { path: of, .. }), version) => {
                Self::Prefix { prefix: &path[..path.len() - of.len()], of, version }
            }
            (None, None) => Self::Prefix { prefix: path, of: "", version: None },
            // A version at the host itself, of a provider whose versions are deeper: nobody has documented that.
            (None, Some(version)) => {
                let root = kind.speaks.first().map_or(kind.other, |speaks| speaks.root);
                Self::First { root, path, version }
            }
        }
    }

    fn place(&self, root: Root, credential: CredentialForm) -> Option<Place> {
        match self {
            Self::Prefix { prefix, of, version } => {
                let written = version.filter(|_| *of == root.path);
                Some(placed(&format!("{prefix}{}", root.path), written.or(root.version), credential))
            }
            Self::First { root: first, path, version } if *first == root => {
                Some(placed(path, Some(version), credential))
            }
            Self::First { .. } => None,
        }
    }
}

fn placed(base_path: &str, version: Option<&str>, credential: CredentialForm) -> Place {
    Place {
        base_path: base_path.to_owned(),
        version: version.map(str::to_owned),
        api_version: None,
        naming: Naming::InBody,
        credential,
    }
}

/// What Azure's `api_version` makes of the places; the error says what is wrong with it.
pub(super) fn with_api_version(places: &mut Places, written: &str, has_v1: bool) -> Result<(), &'static str> {
    let naming = match written {
        "preview" | "latest" => Naming::InBody,
        date if is_date(date) && has_v1 => {
            return Err("is a date, and base_url names the v1 API, which has none");
        }
        date if is_date(date) => Naming::Deployment,
        _ => return Err("must be a date such as 2024-10-21 or 2025-04-01-preview, or preview or latest"),
    };
    for place in places.spoken.iter_mut().map(|(_, place)| place).chain([&mut places.other]) {
        place.api_version = Some(written.to_owned());
        place.naming = naming;
        if naming == Naming::Deployment {
            place.version = Some(String::new());
        }
    }
    Ok(())
}

/// `2024-10-21`, `2025-04-01-preview`.
fn is_date(text: &str) -> bool {
    let text = text.strip_suffix("-preview").unwrap_or(text);
    let digits = |part: &str, count: usize| part.len() == count && part.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = text.split('-').collect();
    matches!(parts[..], [year, month, day] if digits(year, 4) && digits(month, 2) && digits(day, 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::compile::{address, kinds};
    use crate::protocol::Operation;

    /// Where a type's chat and messages are, and rerank, at a base URL.
    fn found(kind: &str, url: &str) -> [Option<String>; 3] {
        let places = places(kinds::kind(kind).unwrap(), &address::endpoint(url).unwrap());
        let shown =
            |place: &Place| format!("{}/{}", place.base_path, place.version.as_deref().unwrap_or("*"));
        let spoken = |operation: Operation| {
            let found = places.spoken.iter().find(|(protocol, _)| Some(*protocol) == operation.protocol());
            found.map(|(_, place)| shown(place))
        };
        let rerank = Some(shown(places.of(Operation::Rerank)));
        [spoken(Operation::ChatCompletions), spoken(Operation::Messages), rerank]
    }

    #[test]
    fn every_documented_form_of_a_base_url_leads_to_all_of_the_providers_addresses() {
        let all: &[(&str, &[&str], &str, &str)] = &[
            ("deepseek", &["", "/", "/anthropic", "/anthropic/v1"], "/", "/anthropic/v1"),
            ("deepseek", &["/v1", "/v1/"], "/v1", "/anthropic/v1"),
            ("moonshot", &["", "/v1", "/anthropic"], "/v1", "/anthropic/v1"),
            ("zhipu", &["", "/api/paas/v4", "/api/anthropic"], "/api/paas/v4", "/api/anthropic/v1"),
            ("z-ai", &["/api/paas/v4/", "/api/anthropic/"], "/api/paas/v4", "/api/anthropic/v1"),
            (
                "qwen",
                &["", "/compatible-mode/v1", "/apps/anthropic"],
                "/compatible-mode/v1",
                "/apps/anthropic/v1",
            ),
            ("doubao", &["", "/api/v3", "/api", "/api/compatible"], "/api/v3", "/api/compatible/v1"),
            ("minimax", &["", "/v1", "/anthropic"], "/v1", "/anthropic/v1"),
            ("siliconflow", &["", "/v1"], "/v1", "/v1"),
            ("openrouter", &["", "/api", "/api/v1"], "/api/v1", "/api/v1"),
            ("vllm", &["", "/v1"], "/v1", "/v1"),
            // A proxy that mounts the provider.
            (
                "deepseek",
                &["/team/deepseek", "/team/deepseek/anthropic"],
                "/team/deepseek/",
                "/team/deepseek/anthropic/v1",
            ),
            ("zhipu", &["/glm", "/glm/api/paas/v4"], "/glm/api/paas/v4", "/glm/api/anthropic/v1"),
        ];
        for (kind, paths, chat, messages) in all {
            for path in *paths {
                let [at_chat, at_messages, _] = found(kind, &format!("https://x.example{path}"));
                let at = (at_chat.as_deref(), at_messages.as_deref());
                assert_eq!(at, (Some(*chat), Some(*messages)), "{kind} {path}");
            }
        }
    }

    #[test]
    fn a_path_of_ones_own_with_a_version_is_where_the_first_protocol_is_and_no_other() {
        for (kind, path) in
            [("zhipu", "/api/coding/paas/v4"), ("doubao", "/api/coding/v3"), ("qwen", "/x/v1")]
        {
            let [chat, messages, rerank] = found(kind, &format!("https://x.example{path}"));
            assert_eq!(
                (chat.as_deref(), messages, rerank.as_deref()),
                (Some(path), None, Some(path)),
                "{kind}"
            );
        }
    }

    #[test]
    fn rerank_has_versions_of_its_own_where_the_client_may_say() {
        for (kind, path, rerank) in [
            ("cohere", "", "/*"),
            ("cohere", "/compatibility/v1", "/*"),
            ("vllm", "/v1", "/*"),
            ("jina", "/v1", "/v1"),
            ("jina", "", "/v1"),
            ("openai", "", "/*"),
            ("openai", "/v1", "/v1"),
            ("siliconflow", "", "/v1"),
        ] {
            assert_eq!(
                found(kind, &format!("https://x.example{path}"))[2].as_deref(),
                Some(rerank),
                "{kind} {path}"
            );
        }
    }

    #[test]
    fn azures_versions_are_dates_or_words() {
        let azure = kinds::kind("azure-openai").unwrap();
        for (written, path, naming) in [
            ("2024-10-21", "", Ok(Naming::Deployment)),
            ("2025-04-01-preview", "/openai", Ok(Naming::Deployment)),
            ("preview", "/openai/v1", Ok(Naming::InBody)),
            ("latest", "", Ok(Naming::InBody)),
            ("2024-10-21", "/openai/v1", Err(())),
            ("v1", "", Err(())),
            ("24-10-21", "", Err(())),
        ] {
            let endpoint = address::endpoint(&format!("https://r.openai.azure.com{path}")).unwrap();
            let mut places = places(azure, &endpoint);
            let done = with_api_version(&mut places, written, endpoint.version.is_some());
            let chat = places.of(Operation::ChatCompletions);
            assert_eq!(done.map(|()| chat.naming).map_err(|_| ()), naming, "{written} {path}");
            assert_eq!(chat.base_path, "/openai");
        }
    }
}

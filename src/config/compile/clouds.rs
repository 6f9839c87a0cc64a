//! Channels at clouds: the operator's project and region, and credentials that are more than the text of a header.
//!
//! Invariants: a message names where a credential is from and what is wrong with it, never a word of it; tokens are
//! fetched only from an address that a channel may have.

use super::kinds::{Cloud, Kind};
use super::secrets::{Found, SECRET_BYTES_MAX, from};
use super::{At, Compiler, address};
use crate::cloud::{aws, google};
use crate::config::file::{Channel as Written, SecretText};
use crate::config::snapshot::{Aws, Channel, ChannelTls, Google, HttpVersion, Identity, Places};
use crate::secret::{KeyDigest, Secret};
use std::sync::Arc;

/// What a credential turned out to be.
pub(super) struct Account {
    who: Who,
    /// Of all of it, as it was written.
    whole: KeyDigest,
}

enum Who {
    Google(google::Account),
    Aws(aws::Account),
}

impl Account {
    fn name(&self) -> &Secret {
        match &self.who {
            Who::Google(account) => &account.name,
            Who::Aws(account) => account.name(),
        }
    }

    fn project(&self) -> Option<&str> {
        match &self.who {
            Who::Google(account) => account.project.as_deref(),
            Who::Aws(_) => None,
        }
    }
}

/// What is missing has been reported.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said;

/// Where the operator's account is.
pub(super) struct Located {
    cloud: Cloud,
    project: String,
    /// Of AWS the region.
    location: String,
}

impl Located {
    /// The provider's address for it.
    pub(super) fn origin(&self) -> String {
        match (self.cloud, self.location.as_str()) {
            (Cloud::Aws { origin, .. }, region) => origin.replace("{region}", region),
            (Cloud::Google, "global") => "https://aiplatform.googleapis.com".to_owned(),
            // https://cloud.google.com/vertex-ai/generative-ai/docs/learn/locations: two that are many regions.
            (Cloud::Google, many @ ("us" | "eu")) => format!("https://aiplatform.{many}.rep.googleapis.com"),
            (Cloud::Google, region) => format!("https://{region}-aiplatform.googleapis.com"),
        }
    }

    /// Puts it where a type's paths leave it open.
    pub(super) fn fill(&self, places: &mut Places) {
        for place in places.spoken.iter_mut().map(|(_, place)| place).chain([&mut places.other]) {
            let path = place.base_path.replace("{project}", &self.project);
            place.base_path = path.replace("{location}", &self.location);
        }
    }
}

impl Compiler<'_, '_> {
    /// A credential of this cloud's, and what stands for it.
    pub(super) fn account(
        &mut self,
        at: &At,
        written: &SecretText,
        cloud: Cloud,
    ) -> (Found, Option<Account>) {
        let is_google = cloud == Cloud::Google;
        if is_google && matches!(written, SecretText::Inline(word) if word == google::MACHINE) {
            let whole = KeyDigest::of(google::MACHINE);
            let account = Account { who: Who::Google(google::Account::of_machine()), whole };
            return (Found::Secret(account.name().clone()), Some(account));
        }
        let text = match self.text(at, written) {
            Ok(text) => text,
            Err(found) => return (found, None),
        };
        let read = match text.len() {
            0 => Err("is empty".to_owned()),
            1..=SECRET_BYTES_MAX if is_google => google::Account::parse(&text).map(Who::Google),
            1..=SECRET_BYTES_MAX => aws::Account::parse(&text).map(Who::Aws),
            _ => Err("is longer than 16 KiB".to_owned()),
        };
        match read {
            Ok(who) => {
                let account = Account { who, whole: KeyDigest::of(&text) };
                self.reads.count(account.whole.to_string().as_bytes());
                (Found::Secret(account.name().clone()), Some(account))
            }
            Err(what) => {
                let hint = if is_google { GOOGLES } else { AWSS };
                self.problem(at, format!("{}{what}", from(written)), Some(hint.to_owned()));
                (Found::Refused, None)
            }
        }
    }

    /// Where the account is, of a type that asks for it.
    pub(super) fn located(
        &mut self,
        at: &At,
        written: &Written,
        (kind, accounts): (&Kind, &[(At, Account)]),
    ) -> Result<Option<Located>, Said> {
        let known: &[&str] = match kind.cloud {
            None => &[],
            Some(Cloud::Google) => &["project", "location"],
            Some(Cloud::Aws { .. }) => &["region"],
        };
        let settings =
            [("project", &written.project), ("location", &written.location), ("region", &written.region)];
        for (name, _) in settings.iter().filter(|(name, said)| said.is_some() && !known.contains(name)) {
            self.problem(&at.key(name), format!("means nothing to type {}", kind.name), None);
        }
        let Some(cloud) = kind.cloud else { return Ok(None) };
        if let Cloud::Aws { .. } = cloud {
            let region = written.region.as_deref();
            let location = self.name_of_cloud(at, ("region", region, "for example us-east-1"));
            let location = location.ok_or(Said)?;
            return Ok(Some(Located { cloud, project: String::new(), location }));
        }
        let own = accounts.first().and_then(|(_, account)| account.project());
        let project = written.project.as_deref().or(own);
        if project.is_none() && accounts.is_empty() && written.api_keys.is_some() {
            // Whatever is wrong with the credentials has been said, and one of them may have a project.
            return Err(Said);
        }
        let project = self.name_of_cloud(at, ("project", project, "the id of the project that pays"));
        let location = written.location.as_deref();
        let location = self.name_of_cloud(at, ("location", location, "for example global or europe-west1"));
        let (project, location) = (project.ok_or(Said)?, location.ok_or(Said)?);
        Ok(Some(Located { cloud, project, location }))
    }

    /// A name that goes into an address.
    fn name_of_cloud(
        &mut self,
        at: &At,
        (name, said, hint): (&'static str, Option<&str>, &str),
    ) -> Option<String> {
        let is_sound = |text: &&str| {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            // Projects of a domain have it before their name.
            let plain = |byte: u8| plain(byte) || (name == "project" && matches!(byte, b'.' | b':'));
            !text.is_empty()
                && text.len() <= NAME_BYTES_MAX
                && text.bytes().all(plain)
                && !text.contains("..")
        };
        let Some(said) = said else {
            self.problem(&at.key(name), "is needed", Some(hint.to_owned()));
            return None;
        };
        let sound = Some(said).filter(is_sound).map(str::to_owned);
        if sound.is_none() {
            self.problem(&at.key(name), "is no such name", Some(hint.to_owned()));
        }
        sound
    }

    /// What asks for a channel's credentials; those that cannot are reported.
    pub(super) fn identities(
        &mut self,
        accounts: Vec<(At, Account)>,
        (channel, located): (&Channel, Option<&Located>),
    ) -> Vec<Identity> {
        let identity = |(at, Account { who, whole })| match (who, located?.cloud) {
            (Who::Google(account), _) => self.google(&at, (account, whole), channel),
            (Who::Aws(account), Cloud::Aws { service, .. }) => {
                let scope = aws::Scope { region: located?.location.clone(), service };
                Some(Identity::Aws(Arc::new(Aws { account, scope, whole })))
            }
            (Who::Aws(_), Cloud::Google) => None,
        };
        accounts.into_iter().filter_map(identity).collect()
    }

    fn google(
        &mut self,
        at: &At,
        (account, whole): (google::Account, KeyDigest),
        channel: &Channel,
    ) -> Option<Identity> {
        let endpoint = match address::endpoint(&account.token_uri) {
            Ok(endpoint) => endpoint,
            Err((what, _)) => {
                self.problem(at, format!("has a \"token_uri\" that {what}"), None);
                return None;
            }
        };
        if address::is_banned(&endpoint.host) && !channel.allow_link_local {
            let what = if account.is_machine() { "asks" } else { "has a \"token_uri\" that leads to" };
            let hint = "if that is meant, set allow_link_local = true".to_owned();
            self.problem(at, format!("{what} a link-local or metadata address"), Some(hint));
            return None;
        }
        let target = endpoint.version.as_ref().map(|version| format!("/{version}")).unwrap_or_default();
        let target = format!("{}{target}", endpoint.base_path);
        let target = if target.is_empty() { "/".to_owned() } else { target };
        let digest = KeyDigest::of(&format!("{}\n{}", account.token_uri, account.name.expose()));
        let mut issuer = Channel {
            endpoint,
            credentials: Vec::new(),
            tls: ChannelTls::default(),
            set_headers: Vec::new(),
            ..channel.clone()
        };
        issuer.conduct.http_version = HttpVersion::Auto;
        // The machine's own service is nowhere but beside the machine.
        issuer.egress_proxy = issuer.egress_proxy.filter(|_| !account.is_machine());
        Some(Identity::Google(Arc::new(Google { account, issuer, target, digest, whole })))
    }
}

const GOOGLES: &str =
    "the JSON of a service account, of `gcloud auth application-default login`, or \"metadata\"";
const AWSS: &str =
    "a key of Bedrock's, ID:SECRET or ID:SECRET:SESSION, or the JSON of credential_process or aws sts";
/// Google's projects have 30 bytes, with a domain's name before them more.
const NAME_BYTES_MAX: usize = 100;

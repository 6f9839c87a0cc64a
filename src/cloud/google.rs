//! Google's credentials, and what is exchanged for the access tokens that its APIs take.
//!
//! As documented at <https://developers.google.com/identity/protocols/oauth2/service-account> (service accounts),
//! <https://developers.google.com/identity/protocols/oauth2/web-server> (refresh tokens) and
//! <https://cloud.google.com/compute/docs/access/authenticate-workloads> (the metadata server).
//! Invariant: a private key never leaves; what it signs is good for an hour and for one address.

use crate::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::Method;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// Who asks Google.
#[derive(Debug, Clone)]
pub struct Account {
    /// Where its tokens are issued.
    pub token_uri: String,
    /// The project it belongs to, where it says so.
    pub project: Option<String>,
    /// What may be shown of it stands for it wherever credentials are told apart.
    pub name: Secret,
    proof: Proof,
}

#[derive(Debug, Clone)]
enum Proof {
    Service { email: String, key_id: Option<String>, key: Arc<RsaKeyPair> },
    User { client_id: String, client_secret: Secret, refresh_token: Secret },
    Machine,
}

/// What is asked of who issues tokens.
#[derive(Debug)]
pub struct Grant {
    /// The method.
    pub method: Method,
    /// A header that has to be there.
    pub header: (&'static str, &'static str),
    /// The body: empty with `GET`. It holds a secret.
    pub body: Secret,
}

/// A token that was issued.
#[derive(Debug, Clone)]
pub struct Issued {
    /// It.
    pub token: Secret,
    /// How long it is good for.
    pub lifetime: Duration,
}

/// Google's own JSON; what else is in it does not matter here.
#[derive(Deserialize)]
struct Written {
    #[serde(rename = "type")]
    kind: Option<String>,
    project_id: Option<String>,
    quota_project_id: Option<String>,
    private_key_id: Option<String>,
    private_key: Option<String>,
    client_email: Option<String>,
    token_uri: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    refresh_token: Option<String>,
}

impl Account {
    /// The machine's own, from Google's metadata server.
    pub fn of_machine() -> Self {
        let name = Secret::new(MACHINE);
        Self { token_uri: METADATA.to_owned(), project: None, name, proof: Proof::Machine }
    }

    /// Reads the JSON of a service account or of `gcloud auth application-default login`; the error says what is
    /// wrong with it and nothing of what stands there.
    pub fn parse(json: &str) -> Result<Self, String> {
        let written: Written = serde_json::from_str(json).map_err(|error| {
            let place = format!("(line {}, column {})", error.line(), error.column());
            match error.classify() {
                serde_json::error::Category::Data => format!("is no credential of Google's {place}"),
                _ => format!("is not valid JSON {place}"),
            }
        })?;
        match written.kind.as_deref() {
            Some("service_account") => Self::service(written),
            Some("authorized_user") => Self::user(written),
            Some(_) => Err("has a \"type\" other than service_account and authorized_user".to_owned()),
            None => Err("has no \"type\"".to_owned()),
        }
    }

    fn service(written: Written) -> Result<Self, String> {
        let email = there(written.client_email, "client_email")?;
        let pem = there(written.private_key, "private_key")?;
        let token_uri = there(written.token_uri, "token_uri")?;
        let key = key(&pem)?;
        let key_id = written.private_key_id.filter(|id| !id.is_empty());
        let name = Secret::new(&format!("{email}/{}", key_id.as_deref().unwrap_or_default()));
        let proof = Proof::Service { email, key_id, key: Arc::new(key) };
        Ok(Self { token_uri, project: written.project_id, name, proof })
    }

    fn user(written: Written) -> Result<Self, String> {
        let client_id = there(written.client_id, "client_id")?;
        let client_secret = Secret::new(&there(written.client_secret, "client_secret")?);
        let refresh_token = Secret::new(&there(written.refresh_token, "refresh_token")?);
        let token_uri = written.token_uri.unwrap_or_else(|| TOKEN_URI.to_owned());
        let name = refresh_token.clone();
        let proof = Proof::User { client_id, client_secret, refresh_token };
        Ok(Self { token_uri, project: written.quota_project_id, name, proof })
    }

    /// Whether it is the machine's own.
    pub fn is_machine(&self) -> bool {
        matches!(self.proof, Proof::Machine)
    }

    /// What is asked for a token at this second; `None`: the key does not sign.
    pub fn grant(&self, unix: u64) -> Option<Grant> {
        let form = |body: String| Grant { method: Method::POST, header: FORM, body: Secret::new(&body) };
        Some(match &self.proof {
            Proof::Machine => Grant { method: Method::GET, header: FLAVOR, body: Secret::new("") },
            Proof::User { client_id, client_secret, refresh_token } => form(encoded(&[
                ("grant_type", "refresh_token"),
                ("client_id", client_id),
                ("client_secret", client_secret.expose()),
                ("refresh_token", refresh_token.expose()),
            ])),
            Proof::Service { email, key_id, key } => {
                let assertion = assertion((email, key_id.as_deref(), key), &self.token_uri, unix)?;
                form(encoded(&[("grant_type", JWT_BEARER), ("assertion", &assertion)]))
            }
        })
    }
}

/// The token in an answer of who issues them; else what it says instead.
pub fn issued(body: &[u8]) -> Result<Issued, String> {
    #[derive(Deserialize)]
    struct Answer {
        access_token: Option<String>,
        expires_in: Option<u64>,
        error: Option<String>,
        error_description: Option<String>,
    }
    let answer: Answer = serde_json::from_slice(body).map_err(|_| "what came is no token".to_owned())?;
    let Some(token) = answer.access_token.filter(|token| is_sendable(token)) else {
        let said = [answer.error, answer.error_description];
        let said = said.into_iter().flatten().collect::<Vec<_>>().join(": ");
        return Err(if said.is_empty() { "what came is no token".to_owned() } else { said });
    };
    let lifetime = answer.expires_in.map_or(LIFETIME_UNKNOWN, Duration::from_secs).min(LIFETIME_MAX);
    Ok(Issued { token: Secret::new(&token), lifetime })
}

fn is_sendable(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}

fn there(value: Option<String>, name: &str) -> Result<String, String> {
    value.filter(|value| !value.is_empty()).ok_or_else(|| format!("has no {name:?}"))
}

/// The key between the lines of PEM, PKCS#8 as Google writes it.
fn key(pem: &str) -> Result<RsaKeyPair, String> {
    let wrong = "has a \"private_key\" that is no RSA key in PEM (PKCS#8)";
    let (_, rest) = pem.split_once("-----BEGIN PRIVATE KEY-----").ok_or(wrong)?;
    let (text, _) = rest.split_once("-----END PRIVATE KEY-----").ok_or(wrong)?;
    let text: String = text.split_ascii_whitespace().collect();
    let der = STANDARD.decode(text).map_err(|_| wrong)?;
    RsaKeyPair::from_pkcs8(&der).map_err(|why| format!("{wrong}: {why}"))
}

/// A JSON web token (RFC 7523), signed with RS256.
fn assertion(
    (email, key_id, key): (&str, Option<&str>, &RsaKeyPair),
    audience: &str,
    unix: u64,
) -> Option<String> {
    let mut head = json!({ "alg": "RS256", "typ": "JWT" });
    if let Some(id) = key_id {
        head["kid"] = json!(id);
    }
    let expires = unix + ASSERTED_SECONDS;
    let claims = json!({ "iss": email, "scope": SCOPE, "aud": audience, "iat": unix, "exp": expires });
    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let mut text = format!("{}.{}", part(&head), part(&claims));
    let mut signature = vec![0; key.public().modulus_len()];
    // Its randomness blinds the computation; the signature is the same each time.
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).ok()?;
    text.push('.');
    text.push_str(&URL_SAFE_NO_PAD.encode(signature));
    Some(text)
}

/// As a form's body.
fn encoded(fields: &[(&str, &str)]) -> String {
    let byte = |byte: u8| match byte {
        b'-' | b'.' | b'_' | b'~' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    let field =
        |(name, value): &(&str, &str)| format!("{name}={}", value.bytes().map(byte).collect::<String>());
    fields.iter().map(field).collect::<Vec<_>>().join("&")
}

/// What is written in place of a credential where the machine's own is meant.
pub const MACHINE: &str = "metadata";
const METADATA: &str =
    "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token";
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const FLAVOR: (&str, &str) = ("metadata-flavor", "Google");
/// The longest Google takes.
const ASSERTED_SECONDS: u64 = 3600;
/// A token that does not say how long it is good for is used as long as one can count on.
const LIFETIME_UNKNOWN: Duration = Duration::from_secs(300);
/// Google's last an hour, twelve where an organisation allows it; a longer one is a mistake.
const LIFETIME_MAX: Duration = Duration::from_secs(12 * 3600);

#[cfg(test)]
mod tests;

//! AWS's credentials, and the signature that its APIs take (Signature Version 4).
//!
//! As documented at <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html> and, of API keys,
//! <https://docs.aws.amazon.com/bedrock/latest/userguide/api-keys-use.html>; the signing itself is AWS's own library.
//! Invariant: a body is hashed piece by piece where it lies; nothing of it is copied.

pub mod events;

use crate::secret::Secret;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::time::{Duration, UNIX_EPOCH};

/// Who asks AWS.
#[derive(Debug, Clone)]
pub enum Account {
    /// A key of Bedrock's own, which is sent as it is.
    ApiKey(Secret),
    /// Keys of IAM's, which sign.
    Keys {
        /// The access key's id, which is no secret and tells accounts apart.
        id: Secret,
        /// What signs.
        secret: Secret,
        /// What belongs to keys that end.
        session: Option<Secret>,
    },
}

/// What is signed.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// The method.
    pub method: &'a str,
    /// The `Host` header.
    pub authority: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// The `Content-Type` header, where there is one.
    pub content_type: Option<&'a str>,
    /// The body.
    pub body: &'a [Bytes],
    /// Whether a key goes into Anthropic's own header.
    pub anthropics: bool,
}

/// Where it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// `us-east-1`.
    pub region: String,
    /// The name the service signs under.
    pub service: &'static str,
}

impl Account {
    /// Reads a key of Bedrock's own, `ID:SECRET` or `ID:SECRET:SESSION`, or the JSON that `credential_process` and `aws sts`
    /// write; the error says what is wrong with it and nothing of what stands there.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.starts_with('{') {
            return Self::of_json(text);
        }
        let parts: Vec<&str> = text.split(':').collect();
        match parts[..] {
            [key] => sound(key, "").map(Self::ApiKey),
            [id, secret] => Self::keys(id, secret, None),
            [id, secret, session] => Self::keys(id, secret, Some(session)),
            _ => Err("has more than two colons".to_owned()),
        }
    }

    fn of_json(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Written {
            credentials: Option<Box<Written>>,
            access_key_id: Option<String>,
            secret_access_key: Option<String>,
            session_token: Option<String>,
        }
        let written: Written = serde_json::from_str(text).map_err(|error| {
            format!("is no credential of AWS's (line {}, column {})", error.line(), error.column())
        })?;
        // `aws sts` has them one level down.
        let written = match written.credentials {
            Some(inner) => *inner,
            None => written,
        };
        let there = |value: Option<String>, name: &str| value.ok_or_else(|| format!("has no {name:?}"));
        let id = there(written.access_key_id, "AccessKeyId")?;
        let secret = there(written.secret_access_key, "SecretAccessKey")?;
        Self::keys(&id, &secret, written.session_token.as_deref())
    }

    fn keys(id: &str, secret: &str, session: Option<&str>) -> Result<Self, String> {
        if !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err("has an access key id that is none".to_owned());
        }
        Ok(Self::Keys {
            id: sound(id, "access key id")?,
            secret: sound(secret, "secret access key")?,
            session: session.map(|session| sound(session, "session token")).transpose()?,
        })
    }

    /// What stands for it wherever credentials are told apart.
    pub fn name(&self) -> &Secret {
        match self {
            Self::ApiKey(key) => key,
            Self::Keys { id, .. } => id,
        }
    }

    /// What of it must be in nothing that is told.
    pub fn secrets(&self) -> Vec<Secret> {
        match self {
            Self::ApiKey(key) => vec![key.clone()],
            Self::Keys { secret, session, .. } => session.iter().chain([secret]).cloned().collect(),
        }
    }

    /// The headers that say who asks; `None`: it cannot be signed.
    pub fn sign(&self, signed: &Signed<'_>, scope: &Scope, unix: u64) -> Option<Vec<(String, Secret)>> {
        let (id, secret, session) = match self {
            Self::ApiKey(key) => {
                return Some(vec![if signed.anthropics {
                    ("x-api-key".to_owned(), key.clone())
                } else {
                    ("authorization".to_owned(), Secret::new(&format!("Bearer {}", key.expose())))
                }]);
            }
            Self::Keys { id, secret, session } => (id, secret, session),
        };
        let session = session.as_ref().map(|session| session.expose().to_owned());
        let credentials = Credentials::new(id.expose(), secret.expose(), session, None, "tollgate");
        let identity = credentials.into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&scope.region)
            .name(scope.service)
            .time(UNIX_EPOCH + Duration::from_secs(unix))
            .settings(SigningSettings::default())
            .build()
            .ok()?
            .into();
        // Only what no proxy changes.
        let headers = [("host", Some(signed.authority)), ("content-type", signed.content_type)];
        let headers = headers.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let address = format!("https://{}{}", signed.authority, signed.target);
        let body = SignableBody::Precomputed(digest(signed.body));
        let request = SignableRequest::new(signed.method, address, headers, body).ok()?;
        let (instructions, _) = sign(request, &params).ok()?.into_parts();
        let header = |(name, value): (&str, &str)| (name.to_owned(), Secret::new(value));
        Some(instructions.headers().map(header).collect())
    }
}

fn sound(text: &str, name: &str) -> Result<Secret, String> {
    match text {
        "" if name.is_empty() => Err("is empty".to_owned()),
        "" => Err(format!("has an empty {name}")),
        _ if text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Secret::new(text)),
        _ => Err("contains characters that a header cannot carry".to_owned()),
    }
}

/// SHA-256 of the pieces together, in hexadecimal digits.
fn digest(body: &[Bytes]) -> String {
    let mut hash = Sha256::new();
    for piece in body {
        hash.update(piece);
    }
    hash.finalize().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests;

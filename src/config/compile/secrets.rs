//! Secrets: from where they are found into custody.
//!
//! Invariant: messages name the variable, the file or the credential, never the value.

use super::{At, Compiler};
use crate::config::file::{SecretReference, SecretText};
use crate::config::problem::shown;
use crate::secret::Secret;
use std::path::Path;

/// What looking for a secret found.
#[derive(Debug)]
pub(super) enum Found {
    /// It.
    Secret(Secret),
    /// Nothing at the place named; the caller decides whether that matters.
    Missing(String),
    /// Something that cannot be one; it was reported.
    Refused,
}

/// A secret itself written where its variable's name belongs must not be repeated in a message.
fn is_variable_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// One name in systemd's directory: nothing that leads out of it, and no secret.
fn is_credential_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(['.', '~'])
        && !name.starts_with("sk-")
        && !name.contains(['/', ':'])
}

/// Where a secret is found.
enum Place<'a> {
    Variable(&'a str),
    File(&'a str),
    Credential(&'a str),
}

/// Where systemd says that it put the credentials of the service.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// Longer than any credential that fits into a request head.
pub(super) const SECRET_BYTES_MAX: usize = 16 << 10;

/// Where it is from, at the beginning of a message about it.
pub(super) fn from(written: &SecretText) -> String {
    match written {
        SecretText::Inline(_) => String::new(),
        SecretText::Reference(SecretReference { env: Some(name), .. }) => {
            format!("environment variable {} ", shown(name))
        }
        SecretText::Reference(SecretReference { credential: Some(name), .. }) => {
            format!("credential {} ", shown(name))
        }
        SecretText::Reference(reference) => {
            format!("file {} ", shown(reference.file.as_deref().unwrap_or_default()))
        }
    }
}

/// What a secret may be made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One word.
    Word,
    /// A header's whole value, such as `Bearer …`: words with spaces between them.
    Value,
}

impl Compiler<'_, '_> {
    /// Looks for a secret.
    pub(super) fn secret(&mut self, at: &At, written: &SecretText) -> Found {
        self.secret_of(at, written, Form::Word)
    }

    /// Looks for a secret of this form.
    pub(super) fn secret_of(&mut self, at: &At, written: &SecretText, form: Form) -> Found {
        match self.text(at, written) {
            Ok(text) => self.custody_of(at, written, (&text, form)),
            Err(found) => found,
        }
    }

    /// What stands where a secret is, whatever it is.
    pub(super) fn text(&mut self, at: &At, written: &SecretText) -> Result<String, Found> {
        let text = match written {
            SecretText::Inline(text) => {
                self.warn_inline(at);
                Ok(text.clone())
            }
            SecretText::Reference(reference) => match self.place(at, reference) {
                Some(Place::Variable(name)) => self.variable(name),
                Some(Place::File(path)) => self.secret_file(at, path),
                Some(Place::Credential(name)) => self.service_credential(name),
                None => return Err(Found::Refused),
            },
        };
        text.map_err(Found::Missing)
    }

    /// Where a reference points; what points nowhere is reported.
    fn place<'a>(&mut self, at: &At, reference: &'a SecretReference) -> Option<Place<'a>> {
        let (field, what, hint) = match (&reference.env, &reference.file, &reference.credential) {
            (Some(name), None, None) if is_variable_name(name) => return Some(Place::Variable(name)),
            (None, Some(path), None) if !path.is_empty() && !path.starts_with("sk-") => {
                return Some(Place::File(path));
            }
            (None, None, Some(name)) if is_credential_name(name) => return Some(Place::Credential(name)),
            (Some(_), None, None) => {
                ("env", "must be the name of an environment variable", Some("letters, digits and `_`"))
            }
            (None, Some(_), None) => ("file", "must be the path of a file", None),
            (None, None, Some(_)) => {
                let hint = "the name behind `LoadCredential=`, without a path";
                ("credential", "must be the name of a credential", Some(hint))
            }
            _ => {
                let what = "must name one of `env`, `file` and `credential`";
                self.problem(at, what, Some("for example { env = \"OPENAI_API_KEY\" }".to_owned()));
                return None;
            }
        };
        self.problem(&at.key(field), what, hint.map(str::to_owned));
        None
    }

    fn service_credential(&mut self, name: &str) -> Result<String, String> {
        let directory = self.reads.source.env(CREDENTIALS).filter(|directory| !directory.is_empty());
        let missing = |why: &str| format!("credential {} {why}", shown(name));
        let directory = directory
            .ok_or_else(|| missing("was not given: systemd did not start this (LoadCredential=)"))?;
        let bytes = self.reads.file(&Path::new(&directory).join(name));
        let bytes = bytes.map_err(|error| missing(&format!("cannot be read: {error}")))?;
        let text = String::from_utf8(bytes).map_err(|_| missing("is not text"))?;
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }

    fn variable(&self, name: &str) -> Result<String, String> {
        self.reads.source.env(name).ok_or_else(|| format!("environment variable {} is not set", shown(name)))
    }

    fn secret_file(&mut self, at: &At, path: &str) -> Result<String, String> {
        let base = self.sheets[at.file].path.parent().unwrap_or(Path::new(""));
        let bytes = self
            .reads
            .file(&base.join(path))
            .map_err(|error| format!("file {} cannot be read: {error}", shown(path)))?;
        let text = String::from_utf8(bytes).map_err(|_| format!("file {} is not text", shown(path)))?;
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// A secret is one word of visible ASCII, since it travels in a header.
    pub(super) fn custody(&mut self, at: &At, written: &SecretText, text: &str) -> Found {
        self.custody_of(at, written, (text, Form::Word))
    }

    pub(super) fn custody_of(&mut self, at: &At, written: &SecretText, (text, form): (&str, Form)) -> Found {
        let from = from(written);
        let wrong = if text.is_empty() {
            Some("is empty")
        } else if text.len() > SECRET_BYTES_MAX {
            Some("is longer than 16 KiB")
        } else if text.contains(|c: char| c.is_whitespace() && (c != ' ' || form == Form::Word)) {
            Some("contains white space")
        } else if text.trim() != text || !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            Some("contains characters that a header cannot carry")
        } else {
            None
        };
        if let Some(wrong) = wrong {
            self.problem(at, format!("{from}{wrong}"), None);
            return Found::Refused;
        }
        let secret = Secret::new(text);
        self.reads.count(secret.digest().to_string().as_bytes());
        Found::Secret(secret)
    }

    fn warn_inline(&mut self, at: &At) {
        let sheet = &self.sheets[at.file];
        let source = self.reads.source;
        self.findings.warning(at.file, || {
            let what = if source.is_world_readable(&sheet.path) {
                "the secret is written into a file that every user of this machine can read"
            } else {
                "the secret is written into the configuration"
            };
            let hint = "better { env = \"…\" }, { file = \"…\" } or { credential = \"…\" }".to_owned();
            crate::config::Problem::at_steps(sheet, &at.steps(), what).hint(Some(hint))
        });
    }
}

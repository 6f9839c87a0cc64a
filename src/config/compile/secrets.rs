//! Secrets: from where they are found into custody.
//!
//! Invariant: messages name the variable or the file, never the value.

use super::{At, Compiler};
use crate::config::file::SecretText;
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

/// Longer than any credential that fits into a request head.
const SECRET_BYTES_MAX: usize = 16 << 10;

impl Compiler<'_, '_> {
    /// Looks for a secret.
    pub(super) fn secret(&mut self, at: &At, written: &SecretText) -> Found {
        let text = match written {
            SecretText::Inline(text) => {
                self.warn_inline(at);
                Ok(text.clone())
            }
            SecretText::Reference(reference) => match (&reference.env, &reference.file) {
                (Some(name), None) if !is_variable_name(name) => {
                    let what = "must be the name of an environment variable";
                    self.problem(&at.key("env"), what, Some("letters, digits and `_`".to_owned()));
                    return Found::Refused;
                }
                (None, Some(path)) if path.is_empty() || path.starts_with("sk-") => {
                    self.problem(&at.key("file"), "must be the path of a file", None);
                    return Found::Refused;
                }
                (Some(name), None) => self.variable(name),
                (None, Some(path)) => self.secret_file(at, path),
                _ => {
                    let what = "must name one of `env` and `file`";
                    self.problem(at, what, Some("for example { env = \"OPENAI_API_KEY\" }".to_owned()));
                    return Found::Refused;
                }
            },
        };
        match text {
            Err(missing) => Found::Missing(missing),
            Ok(text) => self.custody(at, written, &text),
        }
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
        let from = match written {
            SecretText::Inline(_) => String::new(),
            SecretText::Reference(reference) => match (&reference.env, &reference.file) {
                (Some(name), _) => format!("environment variable {} ", shown(name)),
                (_, path) => format!("file {} ", shown(path.as_deref().unwrap_or_default())),
            },
        };
        let wrong = if text.is_empty() {
            Some("is empty")
        } else if text.len() > SECRET_BYTES_MAX {
            Some("is longer than 16 KiB")
        } else if text.contains(char::is_whitespace) {
            Some("contains white space")
        } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
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
            let hint = "better { env = \"…\" } or { file = \"…\" }".to_owned();
            crate::config::Problem::at_steps(sheet, &at.steps, what).hint(Some(hint))
        });
    }
}

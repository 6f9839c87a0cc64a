//! Other gateways' configurations as ours: text in, our TOML and a list of remarks out.
//!
//! What is read: LiteLLM's `config.yaml`, rows of the tables of one-api and New API as JSON, AxonHub's backup. Each format
//! has one file here, with where it was looked up; all of them fill one draft, which alone is written.
//! Invariants: nothing of the source goes away silently: what has no equivalent here, or another meaning, is a remark that
//! names its place there; what is written passes `tollgate check` once the variables it names are set; a remark never holds
//! a secret.

mod axonhub;
mod draft;
mod litellm;
mod one_api;
mod providers;
mod read;
mod write;

use serde_json::{Value, json};

/// Whose configuration it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// LiteLLM's proxy: `config.yaml`.
    LiteLlm,
    /// one-api or New API: rows of their tables as JSON.
    OneApi,
    /// AxonHub: a backup.
    AxonHub,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Our configuration, TOML.
    pub config: String,
    /// What the operator has to know.
    pub remarks: Vec<Remark>,
}

/// One thing that is not here as it was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// How much of it is here.
    pub kind: Kind,
    /// Where it stands in the source.
    pub at: String,
    /// What became of it, or what to do.
    pub what: String,
}

/// How much of something is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Nothing works before somebody does this.
    Todo,
    /// It has no equivalent.
    Lost,
    /// It is here in another way.
    Changed,
}

impl Kind {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Todo => "to do",
            Self::Lost => "not carried over",
            Self::Changed => "changed",
        }
    }
}

impl Remark {
    /// As a program reads it.
    pub fn as_json(&self) -> Value {
        json!({ "kind": self.kind.word(), "at": self.at, "what": self.what })
    }
}

impl std::fmt::Display for Remark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}: {}", self.kind.word(), self.at, self.what)
    }
}

/// Turns a configuration into ours, or says why it is none of theirs.
pub fn import(origin: Origin, text: &str) -> Result<Imported, String> {
    let mut draft = match origin {
        Origin::LiteLlm => litellm::read(text)?,
        Origin::OneApi => one_api::read(text)?,
        Origin::AxonHub => axonhub::read(text)?,
    };
    draft.complete();
    let config = write::written(&draft);
    let mut remarks = draft.remarks;
    remarks.sort_by_key(|remark| remark.kind);
    Ok(Imported { config, remarks })
}

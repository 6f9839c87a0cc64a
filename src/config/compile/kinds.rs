//! The channel types: adding a provider that speaks known protocols is adding a row.
//!
//! A row says what the provider documents, and where (the page is named at the row); what it does not document is not
//! there, so that it is answered here with a clear refusal or a translation, and not there with a 404.

mod rows;

use crate::config::snapshot::{CredentialForm, Naming};
use crate::protocol::{Dialect, Operation, Protocol};

/// One channel type.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) struct Kind {
    /// The word in `type = "…"`.
    pub(in crate::config) name: &'static str,
    /// The family of its errors and of its operations without a protocol.
    pub(in crate::config) dialect: Dialect,
    /// The base URL, unless the operator says otherwise; `None`: the operator has to.
    pub(in crate::config) origin: Option<&'static str>,
    /// What it speaks of what can be translated; others are translated into the first.
    pub(in crate::config) speaks: &'static [Speaks],
    /// Where operations without a protocol are.
    pub(in crate::config) other: Root,
    /// Those it has; `None`: all of its dialect.
    pub(in crate::config) operations: Option<&'static [Operation]>,
    /// Where rerank is, if elsewhere.
    pub(in crate::config) rerank: Option<Root>,
    /// Whose projects, regions and credentials it has.
    pub(in crate::config) cloud: Option<Cloud>,
    /// In what it differs.
    pub(in crate::config) quirks: &'static [Quirk],
    /// What it serves where the operator does not say; empty: everything.
    pub(in crate::config) models: &'static [&'static str],
}

/// A protocol of a channel type.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) struct Speaks {
    pub(in crate::config) protocol: Protocol,
    pub(in crate::config) root: Root,
    pub(in crate::config) credential: CredentialForm,
    /// Whether it counts the tokens of a request without answering it.
    pub(in crate::config) counts: bool,
    /// How its path names the model.
    pub(in crate::config) naming: Naming,
    /// Of which of its models its provider has it.
    pub(in crate::config) of: Of,
}

/// Of which models a provider has a protocol: what of it is spoken where the operator does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Of {
    /// All of them.
    All,
    /// Some, and nobody can tell which: it is spoken where the operator says so.
    Some,
    /// Claude, by its name.
    Claude,
    /// All but Claude.
    Others,
}

/// A cloud: where a request goes depends on where the operator's account is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Cloud {
    /// Projects, locations, and tokens that are issued.
    Google,
    /// Regions, and requests that are signed in the name of this service.
    Aws {
        /// The name.
        service: &'static str,
        /// Its hosts, with the region left open.
        origin: &'static str,
    },
}

/// What stands before an operation's own path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) struct Root {
    /// Without the version and a trailing slash.
    pub(in crate::config) path: &'static str,
    /// `None`: the operation's usual one; empty: none.
    pub(in crate::config) version: Option<&'static str>,
}

/// In what a type differs from what its protocols would have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Quirk {
    /// Refuses `stream_options`, and says its usage all the same.
    NoStreamOptions,
    /// Needs no credential: a server of one's own.
    Keyless,
    /// Serves OpenAI's own models, which want `max_completion_tokens`.
    OpenAisModels,
    /// Has an `api_version`.
    ApiVersion,
    /// Its credential may go to its own address and to no other.
    OwnAddressOnly,
}

impl Kind {
    pub(in crate::config) fn has(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }

    /// The protocol's row.
    pub(in crate::config) fn speaks(&self, protocol: Protocol) -> Option<&'static Speaks> {
        self.speaks.iter().find(|speaks| speaks.protocol == protocol)
    }
}

/// The row of a type.
pub(in crate::config) fn kind(name: &str) -> Option<&'static Kind> {
    rows::KINDS.iter().find(|kind| kind.name == name)
}

/// Every type's word.
pub(in crate::config) fn names() -> Vec<&'static str> {
    rows::KINDS.iter().map(|kind| kind.name).collect()
}

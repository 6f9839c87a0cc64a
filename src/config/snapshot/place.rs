//! Where at a channel's host something is asked for, and in which form its credential goes there.
//!
//! Invariant: all places of a channel are at its one endpoint, so they share its connections.

use crate::protocol::{Operation, Protocol};

/// The places of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// By protocol.
    pub spoken: Vec<(Protocol, Place)>,
    /// Of rerank, where it is not where the others are.
    pub rerank: Option<Place>,
    /// Of what belongs to no protocol: embeddings, pictures, sound, files.
    pub other: Place,
}

impl Places {
    /// Whether this protocol has a place.
    pub fn speak(&self, protocol: Protocol) -> bool {
        self.spoken.iter().any(|(spoken, _)| *spoken == protocol)
    }

    /// Where this operation is asked for.
    pub fn of(&self, operation: Operation) -> &Place {
        let of =
            |protocol| self.spoken.iter().find(|(spoken, _)| *spoken == protocol).map(|(_, place)| place);
        let place = match operation.belongs_to() {
            Some(protocol) => of(protocol),
            None if operation == Operation::Rerank => self.rerank.as_ref(),
            None => None,
        };
        place.unwrap_or(&self.other)
    }
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What stands before the version and the operation's own path: no trailing slash.
    pub base_path: String,
    /// The API version (`v1`, `v4`); empty: none stands in the path; `None`: the operation's usual one.
    pub version: Option<String>,
    /// Azure's `api-version`, which goes into the query.
    pub api_version: Option<String>,
    /// How the path names the model.
    pub naming: Naming,
    /// How the credential is sent.
    pub credential: CredentialForm,
}

/// How a path names the model, beside those that have it in the operation's own part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// Not at all: the body does.
    InBody,
    /// `deployments/{model}` before the operation: Azure's dated API.
    Deployment,
    /// As Gemini's own, at Google's cloud, which counts what stands in the body itself.
    Publisher,
    /// `models/{model}:rawPredict`: Anthropic's protocol at Google, whose body says the version in the model's place.
    RawPredict,
    /// `model/{model}/invoke`: Anthropic's protocol at AWS, whose body says the version in the model's place.
    Invoke,
}

/// How a credential is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialForm {
    /// `Authorization: Bearer …`.
    Bearer,
    /// `x-api-key: …`, Anthropic's.
    XApiKey,
    /// `x-goog-api-key: …`, Gemini's.
    XGoogApiKey,
    /// `api-key: …`, Azure's.
    ApiKey,
    /// The token of `claude setup-token`: `Authorization: Bearer …`, and the beta that lets it in.
    ClaudeToken,
    /// What an [`super::Identity`] makes of it when the request is sent.
    Identity,
}

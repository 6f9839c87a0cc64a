//! Anthropic's models at a cloud: the same protocol, with the model in the path and the version in the body.
//!
//! What goes where is what Anthropic's own clients for the clouds do (`lib/vertex` and `lib/bedrock` of `anthropic` of `PyPI`).
//! Invariant: of the body only the members change that stand elsewhere there; an answer is Anthropic's own.

use crate::config::snapshot::{Channel, Naming};
use crate::protocol::Operation;
use crate::protocol::entry;
use crate::protocol::fields::{Fields, printable};
use crate::protocol::inspect::{Envelope, envelope, unwrapped_count};
use crate::protocol::splice::{Edit, Pieces, splice};
use bytes::Bytes;
use smallvec::smallvec;

/// A request that a cloud wants otherwise than its protocol's own provider.
#[derive(Debug, Clone, Copy)]
pub enum Hosted {
    /// Of Anthropic's, at Google.
    RawPredict {
        /// Whether tokens are counted and nothing is answered.
        counts: bool,
    },
    /// To count tokens, of Gemini's, at Google.
    Counted,
    /// Of Anthropic's, at AWS, which counts no tokens.
    Invoke,
}

impl Hosted {
    /// `None`: it is an ordinary one.
    pub fn of(channel: &Channel, operation: Operation) -> Option<Self> {
        match channel.place_of(operation).naming {
            Naming::RawPredict => Some(Self::RawPredict { counts: operation.counts() }),
            Naming::Publisher => operation.counts().then_some(Self::Counted),
            Naming::Invoke => Some(Self::Invoke),
            Naming::InBody | Naming::Deployment => None,
        }
    }

    /// Whether the path names the model, and not the body.
    pub fn says_model(self) -> bool {
        !matches!(self, Self::RawPredict { counts: true })
    }

    /// What changes in the body.
    pub fn edits(self, headers: &Fields, body: &[u8]) -> Vec<Edit> {
        match self {
            Self::Invoke => {
                let betas = betas(headers);
                envelope(body, &Envelope { version: BEDROCK_VERSION, model: false, stream: false, betas })
            }
            Self::RawPredict { counts } => {
                let envelope_of =
                    |model| Envelope { version: VERTEX_VERSION, model, stream: true, betas: Vec::new() };
                envelope(body, &envelope_of(counts))
            }
            Self::Counted => {
                let inner = unwrapped_count(body);
                inner.map(|inner| Edit { at: 0..body.len(), with: inner }).into_iter().collect()
            }
        }
    }

    /// The path, where it is another; what the client's query says (`beta=true`) is said by headers there.
    pub fn target(self, base_path: &str, model: &str, stream: bool) -> Option<String> {
        let verb = if stream { "streamRawPredict" } else { "rawPredict" };
        match self {
            Self::Counted => None,
            Self::Invoke => {
                let verb = if stream { "invoke-with-response-stream" } else { "invoke" };
                Some(format!("{base_path}/model/{}/{verb}", entry::encoded(model)))
            }
            Self::RawPredict { counts: true } => Some(format!("{base_path}/models/count-tokens:rawPredict")),
            Self::RawPredict { counts: false } => {
                // Its models have `@` before their date, which is no less a part of a path than a letter.
                let model = entry::encoded(model).replace("%40", "@");
                Some(format!("{base_path}/models/{model}:{verb}"))
            }
        }
    }
}

/// A body as it goes to this channel.
pub fn body(channel: &Channel, operation: Operation, (headers, body): (&Fields, Bytes)) -> Pieces {
    let Some(hosted) = Hosted::of(channel, operation) else { return smallvec![body] };
    splice(&body, &hosted.edits(headers, &body))
}

/// Takes off what the body says now.
pub fn clean(headers: &mut Fields, channel: &Channel, operation: Operation) {
    let hosted = Hosted::of(channel, operation);
    if matches!(hosted, Some(Hosted::RawPredict { .. } | Hosted::Invoke)) {
        headers.remove("anthropic-version");
    }
    if let Some(Hosted::Invoke) = hosted {
        headers.remove("anthropic-beta");
    }
}

/// The betas that a client asks for.
fn betas(headers: &Fields) -> Vec<&str> {
    let lines = headers.all("anthropic-beta").filter_map(printable);
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|beta| !beta.is_empty()).collect()
}

/// The one version there is.
const VERTEX_VERSION: &str = "vertex-2023-10-16";
const BEDROCK_VERSION: &str = "bedrock-2023-05-31";

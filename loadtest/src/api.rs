//! The providers and what they can be asked for: the words every other file uses.
//!
//! Invariant: an `Operation` says all that its answer's form depends on, except whether a body asks for a stream.

/// Whose API a request speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Api {
    OpenAi,
    Anthropic,
    Gemini,
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    Chat,
    Completions,
    Responses,
    Embeddings,
    Moderations,
    Models,
    Model(String),
    FileCreate,
    FileList,
    FileGet(String),
    FileContent(String),
    FileDelete(String),
    Messages,
    CountTokens,
    Generate,
    /// The flag: as server-sent events (else as a JSON array).
    StreamGenerate(bool),
    GeminiCount,
    EmbedContent,
    BatchEmbedContents,
}

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
    /// The flag: Cohere's second version.
    Rerank(bool),
    ImageGenerations,
    ImageEdits,
    ImageVariations,
    Speech,
    Transcriptions,
    Translations,
    Models,
    Model(String),
    FileCreate,
    FileList,
    FileGet(String),
    FileContent(String),
    FileDelete(String),
    /// `responses/compact`.
    Compact,
    /// A response that is kept, by its id.
    Kept(KeptCall, String),
    /// Films, which are tasks.
    Video(VideoCall),
    /// A WebSocket.
    Realtime,
    /// Work that is done later, by the word for its kind; the flag: a new one.
    Job(&'static str, bool),
    /// `responses/input_tokens`.
    CountInput,
    Messages,
    CountTokens,
    Generate,
    /// The flag: as server-sent events (else as a JSON array).
    StreamGenerate(bool),
    GeminiCount,
    EmbedContent,
    BatchEmbedContents,
}

/// What is asked of responses that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum KeptCall {
    /// The flag: as a stream.
    Show(bool),
    Delete,
    Cancel,
    InputItems,
}

/// What is asked of films.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum VideoCall {
    Create,
    List,
    Get(String),
    Delete(String),
    Content(String),
    Remix(String),
    Edit,
    Extend,
}

impl Operation {
    /// Whether its body may be JSON, and whether it may be a multipart form.
    pub(crate) fn takes(&self) -> (bool, bool) {
        match self {
            Self::Video(_) => (true, true),
            _ => (!self.takes_form(), self.takes_form()),
        }
    }

    /// Whether its body is a multipart form.
    pub(crate) fn takes_form(&self) -> bool {
        matches!(
            self,
            Self::FileCreate
                | Self::ImageEdits
                | Self::ImageVariations
                | Self::Transcriptions
                | Self::Translations
        )
    }
}

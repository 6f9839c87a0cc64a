//! The wire formats, as pure functions over bytes: no sockets, no clocks, no configuration.
//!
//! Read in the order of the sentence: [`entry`] (which address means what), [`key_forms`] (where a key may
//! stand), [`encoding`] (compressed bodies), [`inspect`] (what the body asks for), [`splice`] (another model
//! name in the same bytes), [`sse`] and [`observe`] (what an answer says while it passes), [`render`] (an
//! answer of our own in the caller's dialect).
//! Invariant: nothing here allocates in proportion to a body, except where a compressed one is decoded.

/// The family of addresses, error shapes and credential forms a client speaks; contract.md's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `/v1/chat/completions` and its siblings; `{"error":{…}}`.
    OpenAi,
    /// `/v1/messages`; `{"type":"error",…}`.
    Anthropic,
    /// `/v1beta/models/{model}:generateContent`; `{"error":{"status",…}}`.
    Gemini,
}

impl Dialect {
    /// The word in the access log's `entry`.
    pub fn word(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
        }
    }
}

/// What the client asks for. The path decides it, never the key's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `POST chat/completions`.
    ChatCompletions,
    /// `POST completions`.
    Completions,
    /// `POST responses`.
    Responses,
    /// `POST embeddings`.
    Embeddings,
    /// `POST messages`.
    Messages,
    /// `POST messages/count_tokens`.
    CountTokens,
    /// `POST {model}:generateContent`.
    GenerateContent,
    /// `POST {model}:streamGenerateContent`.
    StreamGenerateContent,
    /// `GET models`: answered by us.
    ListModels,
    /// `GET models/{id}`: answered by us.
    GetModel,
    /// `files` and below: relayed as a tunnel, never buffered.
    Files,
    /// `HEAD` on any base: answered by us, without a key.
    Probe,
}

impl Operation {
    /// The `api` label in the metrics.
    pub fn api(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat",
            Self::Completions => "completions",
            Self::Responses => "responses",
            Self::Embeddings => "embeddings",
            Self::Messages => "messages",
            Self::CountTokens => "count_tokens",
            Self::GenerateContent | Self::StreamGenerateContent => "generate_content",
            Self::ListModels | Self::GetModel => "models",
            Self::Files => "files",
            Self::Probe => "probe",
        }
    }

    /// Whether repeating it after the provider may have begun could create a thing twice.
    pub fn creates(self) -> bool {
        matches!(self, Self::Files)
    }

    /// Whether its body is read, inspected and replayed (an exchange), as opposed to a tunnel or a local answer.
    pub fn is_exchange(self) -> bool {
        !matches!(self, Self::ListModels | Self::GetModel | Self::Files | Self::Probe)
    }
}

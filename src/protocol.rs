//! The wire formats, as pure functions over bytes: no sockets, no clocks, no configuration.
//!
//! Read in the order of the sentence: [`entry`] (which address means what), [`key_forms`] (where a key may
//! stand), [`encoding`] (compressed bodies), [`inspect`] (what the body asks for), [`signed`] (which thinking in
//! it a provider signed), [`splice`] (other values in the same bytes), [`sse`] and [`observe`] (what an answer says while it passes), [`render`] (an
//! answer of our own in the caller's dialect).
//! Invariant: nothing here allocates in proportion to a body, except where a compressed one is decoded.

pub mod encoding;
pub mod entry;
pub mod http1;
pub mod inspect;
pub mod key_forms;
pub mod observe;
pub mod render;
pub mod signed;
pub mod splice;
pub mod sse;

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

    /// The dialect of that word.
    pub fn named(word: &str) -> Option<Self> {
        [Self::OpenAi, Self::Anthropic, Self::Gemini].into_iter().find(|dialect| dialect.word() == word)
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
    /// `POST {model}:countTokens`.
    GeminiCountTokens,
    /// `POST {model}:embedContent`.
    EmbedContent,
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
            Self::Embeddings | Self::EmbedContent => "embeddings",
            Self::Messages => "messages",
            Self::CountTokens | Self::GeminiCountTokens => "count_tokens",
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

    /// Whether it goes through as it comes, unread.
    pub fn is_tunnel(self) -> bool {
        self == Self::Files
    }

    /// The shape its answers have, whole or streamed.
    pub fn grammar(self) -> Grammar {
        match self {
            Self::Responses => Grammar::Responses,
            Self::Messages | Self::CountTokens => Grammar::Messages,
            Self::GenerateContent
            | Self::StreamGenerateContent
            | Self::GeminiCountTokens
            | Self::EmbedContent => Grammar::Gemini,
            Self::ChatCompletions
            | Self::Completions
            | Self::Embeddings
            | Self::ListModels
            | Self::GetModel
            | Self::Files
            | Self::Probe => Grammar::Chat,
        }
    }

    /// Whether an answer says how many tokens were used; counting tokens uses none.
    pub fn has_usage(self) -> bool {
        self.is_exchange() && !matches!(self, Self::CountTokens | Self::GeminiCountTokens)
    }
}

/// The four shapes of answers and streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Grammar {
    /// Chunks with `choices`, then `data: [DONE]`.
    Chat,
    /// Named events up to `response.completed`.
    Responses,
    /// Named events up to `message_stop`.
    Messages,
    /// Chunks with `candidates`; no terminal event.
    Gemini,
}

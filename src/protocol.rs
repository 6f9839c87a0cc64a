//! The wire formats, as pure functions over bytes: no sockets, no clocks, no configuration.
//!
//! Read in the order of the sentence: [`entry`] (which address means what), [`key_forms`] (where a key may
//! stand), [`encoding`] (compressed bodies), [`inspect`] (what the body asks for), [`signed`] (which thinking in
//! it a provider signed), [`splice`] (other values in the same bytes), [`plain`] (how far a string needs no escape), [`sse`], [`skim`] and [`observe`] (what an answer says while it passes), [`render`] (an
//! answer of our own in the caller's dialect). What repeats the path's model in its body is [`batch`]'s. Where both sides talk on, [`websocket`] and [`realtime`].
//! Invariant: nothing here allocates in proportion to a body, except where a compressed one is decoded.

pub mod batch;
pub mod encoding;
pub mod entry;
pub mod fields;
pub mod http1;
pub mod http2;
pub mod inspect;
pub mod key_forms;
pub mod observe;
pub mod parts;
pub mod plain;
pub mod realtime;
pub mod render;
pub mod signed;
pub mod skim;
pub mod splice;
pub mod sse;
pub mod task;
pub mod trace_context;
pub mod websocket;

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

    /// What its clients ask for most: an answer in text.
    pub fn operation(self) -> Operation {
        match self {
            Self::OpenAi => Operation::ChatCompletions,
            Self::Anthropic => Operation::Messages,
            Self::Gemini => Operation::GenerateContent,
        }
    }

    /// The dialect of that word.
    pub fn named(word: &str) -> Option<Self> {
        [Self::OpenAi, Self::Anthropic, Self::Gemini].into_iter().find(|dialect| dialect.word() == word)
    }
}

/// The shape of requests, answers and streams that generate text: what a channel speaks, and what translation
/// reads and writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// OpenAI's `chat/completions`.
    Chat,
    /// OpenAI's `responses`.
    Responses,
    /// Anthropic's `messages`.
    Anthropic,
    /// Gemini's `generateContent`.
    Gemini,
}

impl Protocol {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Chat, Self::Responses, Self::Anthropic, Self::Gemini];

    /// Its word in the configuration, in logs and in names of files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Responses => "responses",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
        }
    }

    /// The protocol of that word.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.word() == word)
    }

    /// The family its addresses, errors and credentials are of.
    pub fn dialect(self) -> Dialect {
        match self {
            Self::Chat | Self::Responses => Dialect::OpenAi,
            Self::Anthropic => Dialect::Anthropic,
            Self::Gemini => Dialect::Gemini,
        }
    }

    /// Whether those who speak it can count the tokens of a request without answering it.
    pub fn can_count(self) -> bool {
        self != Self::Chat
    }

    /// What is asked of a provider that speaks it, for an answer.
    pub fn operation(self, stream: bool) -> Operation {
        match self {
            Self::Chat => Operation::ChatCompletions,
            Self::Responses => Operation::Responses,
            Self::Anthropic => Operation::Messages,
            Self::Gemini if stream => Operation::StreamGenerateContent,
            Self::Gemini => Operation::GenerateContent,
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
    /// `POST responses/input_tokens`.
    CountResponse,
    /// `POST responses/compact`: a conversation made shorter.
    Compact,
    /// `responses/{id}` and below: a response that its provider keeps.
    Response,
    /// `POST embeddings`.
    Embeddings,
    /// `POST moderations`.
    Moderations,
    /// `POST rerank`, as Jina and Cohere have it.
    Rerank,
    /// `POST images/generations`.
    ImageGenerations,
    /// `POST images/edits`: a form, or JSON.
    ImageEdits,
    /// `POST images/variations`: a form.
    ImageVariations,
    /// `POST audio/speech`: its answer is sound.
    Speech,
    /// `POST audio/transcriptions`: a form.
    Transcriptions,
    /// `POST audio/translations`: a form.
    Translations,
    /// `POST videos`: a form, or JSON; its answer is a task.
    Videos,
    /// `POST videos/{id}/remix`, `videos/edits`, `videos/extensions`: another one out of one that was made.
    VideoRemix,
    /// `GET` and `DELETE videos/{id}`.
    Video,
    /// `GET videos/{id}/content`: what was made.
    VideoContent,
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
    /// `POST {model}:batchEmbedContents`: several at once.
    BatchEmbedContents,
    /// `GET models`: answered by us.
    ListModels,
    /// `GET models/{id}`: answered by us.
    GetModel,
    /// `files` and below: relayed as a tunnel, never buffered.
    Files,
    /// `uploads` and below: a file in parts.
    Uploads,
    /// `batches` and below.
    Batches,
    /// `fine_tuning/jobs` and below.
    FineTuning,
    /// `GET realtime`: a WebSocket.
    Realtime,
    /// `messages/batches` and below: Anthropic's.
    MessageBatches,
    /// `HEAD` on any base: answered by us, without a key.
    Probe,
}

impl Operation {
    /// The `api` label in the metrics.
    pub fn api(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat",
            Self::Completions => "completions",
            Self::Responses | Self::Compact | Self::Response => "responses",
            Self::Embeddings | Self::EmbedContent | Self::BatchEmbedContents => "embeddings",
            Self::Moderations => "moderations",
            Self::Rerank => "rerank",
            Self::ImageGenerations | Self::ImageEdits | Self::ImageVariations => "images",
            Self::Speech | Self::Transcriptions | Self::Translations => "audio",
            Self::Videos | Self::VideoRemix | Self::Video | Self::VideoContent => "videos",
            Self::Messages => "messages",
            Self::CountResponse | Self::CountTokens | Self::GeminiCountTokens => "count_tokens",
            Self::GenerateContent | Self::StreamGenerateContent => "generate_content",
            Self::ListModels | Self::GetModel => "models",
            Self::Files | Self::Uploads => "files",
            Self::Batches | Self::MessageBatches => "batches",
            Self::FineTuning => "fine_tuning",
            Self::Realtime => "realtime",
            Self::Probe => "probe",
        }
    }

    /// Its documented path, for traces: one for every address that means it.
    pub fn route(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Responses => "/v1/responses",
            Self::CountResponse => "/v1/responses/input_tokens",
            Self::Compact => "/v1/responses/compact",
            Self::Response => "/v1/responses/{id}",
            Self::Realtime => "/v1/realtime",
            Self::Embeddings => "/v1/embeddings",
            Self::Moderations => "/v1/moderations",
            Self::Rerank => "/v1/rerank",
            Self::ImageGenerations => "/v1/images/generations",
            Self::ImageEdits => "/v1/images/edits",
            Self::ImageVariations => "/v1/images/variations",
            Self::Speech => "/v1/audio/speech",
            Self::Transcriptions => "/v1/audio/transcriptions",
            Self::Translations => "/v1/audio/translations",
            Self::Messages => "/v1/messages",
            Self::CountTokens => "/v1/messages/count_tokens",
            Self::GenerateContent => "/v1beta/models/{model}:generateContent",
            Self::StreamGenerateContent => "/v1beta/models/{model}:streamGenerateContent",
            Self::GeminiCountTokens => "/v1beta/models/{model}:countTokens",
            Self::EmbedContent => "/v1beta/models/{model}:embedContent",
            Self::BatchEmbedContents => "/v1beta/models/{model}:batchEmbedContents",
            Self::ListModels => "/v1/models",
            Self::GetModel => "/v1/models/{model}",
            Self::Files => "/v1/files",
            Self::Uploads => "/v1/uploads",
            Self::Batches => "/v1/batches",
            Self::FineTuning => "/v1/fine_tuning/jobs",
            Self::MessageBatches => "/v1/messages/batches",
            Self::Videos => "/v1/videos",
            Self::VideoRemix => "/v1/videos/{id}/remix",
            Self::Video => "/v1/videos/{id}",
            Self::VideoContent => "/v1/videos/{id}/content",
            Self::Probe => "/",
        }
    }

    /// The protocol it is written in, where others can carry it.
    pub fn protocol(self) -> Option<Protocol> {
        match self {
            Self::ChatCompletions => Some(Protocol::Chat),
            Self::Responses | Self::CountResponse => Some(Protocol::Responses),
            Self::Messages | Self::CountTokens => Some(Protocol::Anthropic),
            Self::GenerateContent | Self::StreamGenerateContent | Self::GeminiCountTokens => {
                Some(Protocol::Gemini)
            }
            _ => None,
        }
    }

    /// The protocol whose speakers have it, though others may not be able to carry it.
    pub fn belongs_to(self) -> Option<Protocol> {
        match self {
            Self::Compact | Self::Response => Some(Protocol::Responses),
            _ => self.protocol(),
        }
    }

    /// Whether it only counts the tokens of a request.
    pub fn counts(self) -> bool {
        matches!(self, Self::CountResponse | Self::CountTokens | Self::GeminiCountTokens)
    }

    /// Whether repeating it after the provider may have begun could create a thing twice.
    pub fn creates(self) -> bool {
        self.is_tunnel() || matches!(self.medium(), Some(Medium::Images | Medium::Videos))
    }

    /// What it makes or reads beside text, or does instead, which keys and groups may have a rate of its own for.
    pub fn medium(self) -> Option<Medium> {
        match self {
            Self::ImageGenerations | Self::ImageEdits | Self::ImageVariations => Some(Medium::Images),
            Self::Speech | Self::Transcriptions | Self::Translations => Some(Medium::Audio),
            Self::Videos | Self::VideoRemix => Some(Medium::Videos),
            Self::Video | Self::VideoContent | Self::Response => Some(Medium::Polls),
            _ if self.counts() => Some(Medium::Counts),
            _ => None,
        }
    }

    /// Whether its body is a form with files (`multipart/form-data`), of which the model is a part.
    pub fn takes_form(self) -> bool {
        matches!(
            self,
            Self::ImageEdits
                | Self::ImageVariations
                | Self::Transcriptions
                | Self::Translations
                | Self::Videos
                | Self::VideoRemix
        )
    }

    /// Whether its body may be JSON.
    pub fn takes_json(self) -> bool {
        !self.takes_form() || matches!(self, Self::ImageEdits | Self::Videos | Self::VideoRemix)
    }

    /// Whether its body is read, inspected and replayed (an exchange), as opposed to a tunnel or a local answer.
    pub fn is_exchange(self) -> bool {
        !self.is_tunnel() && !matches!(self, Self::ListModels | Self::GetModel | Self::Probe)
    }

    /// Whether it goes through as it comes, unread.
    pub fn is_tunnel(self) -> bool {
        matches!(self, Self::Files | Self::Uploads | Self::Batches | Self::FineTuning | Self::MessageBatches)
    }

    /// Whether it is about what was made before, and so for the channel and the credential that made it alone.
    pub fn is_of_task(self) -> bool {
        matches!(self, Self::VideoRemix | Self::Video | Self::VideoContent | Self::Response)
    }

    /// Whether its answer tells of tasks, by ids that are shown as ours.
    pub fn tells_of_tasks(self) -> bool {
        matches!(self, Self::Videos | Self::VideoRemix | Self::Video)
    }

    /// Whether a provider does work for it, and bills for it, that nobody here sees.
    pub fn works_unseen(self) -> bool {
        matches!(self, Self::Batches | Self::FineTuning | Self::MessageBatches)
    }

    /// The shape its answers have, whole or streamed.
    pub fn grammar(self) -> Grammar {
        match self {
            Self::Responses | Self::CountResponse | Self::Compact | Self::Response => Grammar::Responses,
            Self::Messages | Self::CountTokens | Self::MessageBatches => Grammar::Messages,
            Self::GenerateContent
            | Self::StreamGenerateContent
            | Self::GeminiCountTokens
            | Self::EmbedContent
            | Self::BatchEmbedContents => Grammar::Gemini,
            Self::ImageGenerations
            | Self::ImageEdits
            | Self::ImageVariations
            | Self::Speech
            | Self::Transcriptions
            | Self::Translations
            | Self::Realtime
            | Self::Videos
            | Self::VideoRemix
            | Self::Video
            | Self::VideoContent => Grammar::Media,
            Self::ChatCompletions
            | Self::Completions
            | Self::Embeddings
            | Self::Moderations
            | Self::Rerank
            | Self::ListModels
            | Self::GetModel
            | Self::Files
            | Self::Uploads
            | Self::Batches
            | Self::FineTuning
            | Self::Probe => Grammar::Chat,
        }
    }

    /// Whether it uses anything that is billed; counting tokens, moderations and looking after tasks are free.
    pub fn has_usage(self) -> bool {
        self.is_exchange()
            && !self.counts()
            && self != Self::Moderations
            && self.medium() != Some(Medium::Polls)
    }

    /// Whether what nobody counted can be estimated from the bytes: of text, not of pictures and sound, nor where
    /// searches are billed.
    pub fn is_estimated(self) -> bool {
        self.has_usage() && self.medium().is_none() && !matches!(self, Self::Rerank | Self::Realtime)
    }
}

/// What is made or read beside text, or done instead, for rates of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Medium {
    /// Pictures.
    Images,
    /// Sound.
    Audio,
    /// Tokens, counted and not spent: programs ask for a dozen counts at once, and they cost nobody anything.
    Counts,
    /// Films, which are tasks.
    Videos,
    /// Looking after tasks: programs ask every second whether one is done, and that costs nobody anything.
    Polls,
}

impl Medium {
    /// Every one, in the order of its number.
    pub const ALL: [Self; 5] = [Self::Images, Self::Audio, Self::Counts, Self::Videos, Self::Polls];

    /// Whether it counts at its own rate alone: neither as a request nor at once.
    pub fn is_apart(self) -> bool {
        matches!(self, Self::Counts | Self::Polls)
    }

    /// The limit of its requests per minute, as it is written and shown.
    pub fn limit(self) -> &'static str {
        match self {
            Self::Images => "images_rpm",
            Self::Audio => "audio_rpm",
            Self::Counts => "count_tokens_rpm",
            Self::Videos => "videos_rpm",
            Self::Polls => "polls_rpm",
        }
    }

    /// How many may come at once, as it is written.
    pub fn burst(self) -> &'static str {
        match self {
            Self::Images => "images_burst",
            Self::Audio => "audio_burst",
            Self::Counts => "count_tokens_burst",
            Self::Videos => "videos_burst",
            Self::Polls => "polls_burst",
        }
    }

    /// The same limit at a group.
    pub fn group_limit(self) -> &'static str {
        match self {
            Self::Images => "group_images_rpm",
            Self::Audio => "group_audio_rpm",
            Self::Counts => "group_count_tokens_rpm",
            Self::Videos => "group_videos_rpm",
            Self::Polls => "group_polls_rpm",
        }
    }

    /// What a request of it is called.
    pub fn requests(self) -> &'static str {
        match self {
            Self::Images => "image requests",
            Self::Audio => "audio requests",
            Self::Counts => "token counts",
            Self::Videos => "video requests",
            Self::Polls => "requests about tasks",
        }
    }
}

/// The five shapes of answers and streams.
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
    /// Pictures, sound and films: whole, or in named events up to `….done` or `….completed`.
    Media,
}

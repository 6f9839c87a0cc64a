//! What is asked for.

use super::super::json::{Raw, Text};
use super::super::loss::Losses;
use super::{Protocol, Turn};

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub struct Request<'a> {
    /// The protocol it was read from: whose spelling losses are told in, and whose shape its answer shall have.
    pub source: Protocol,
    /// The model as the client named it.
    pub model: Text<'a>,
    /// The conversation, instructions included.
    pub turns: Vec<Turn<'a>>,
    /// Tools the model may use.
    pub tools: Vec<Tool<'a>>,
    /// Whether it must.
    pub choice: Option<Choice<'a>>,
    /// Whether it may call several at once.
    pub parallel: Option<bool>,
    /// The form of the answer.
    pub format: Format<'a>,
    /// How much to say.
    pub verbosity: Option<Verbosity>,
    /// How much to think.
    pub reasoning: Reasoning,
    /// How tokens are drawn.
    pub sampling: Sampling<'a>,
    /// Where to stop.
    pub stops: Vec<Text<'a>>,
    /// The longest answer, in tokens.
    pub max_tokens: Option<u64>,
    /// Whether to tell probabilities.
    pub logprobs: Option<Logprobs>,
    /// Whether the answer shall be streamed.
    pub stream: bool,
    /// Whether a stream shall end with the usage, where the protocol leaves the choice.
    pub stream_usage: bool,
    /// How the client takes calls of tools of free text.
    pub free_calls: FreeCalls,
    /// Who the end user is, in a word the provider cannot read.
    pub user: Option<Text<'a>>,
    /// Labels of the client's own.
    pub metadata: Vec<(Text<'a>, Text<'a>)>,
    /// How fast, at which price.
    pub tier: Option<Tier>,
    /// How the prompt shall be cached.
    pub cache: Cache<'a>,
    /// What needs a provider of its own protocol.
    pub needs: Vec<Need>,
    /// Namespaces of tools, whose names begin with one of these.
    pub namespaces: Vec<String>,
    /// What an answer of the responses protocol repeats: members as they are written, each after a comma.
    pub echo: String,
    /// What was lost in reading it.
    pub losses: Losses,
}

impl<'a> Request<'a> {
    /// An empty one.
    pub fn new(source: Protocol) -> Self {
        Self {
            source,
            model: Text::default(),
            turns: Vec::new(),
            tools: Vec::new(),
            choice: None,
            parallel: None,
            format: Format::Text,
            verbosity: None,
            reasoning: Reasoning::default(),
            sampling: Sampling::default(),
            stops: Vec::new(),
            max_tokens: None,
            logprobs: None,
            stream: false,
            stream_usage: false,
            free_calls: FreeCalls::Custom,
            user: None,
            metadata: Vec::new(),
            tier: None,
            cache: Cache::default(),
            needs: Vec::new(),
            namespaces: Vec::new(),
            echo: String::new(),
            losses: Losses::new(source),
        }
    }

    /// The tool of that name.
    pub(in crate::translate) fn tool(&self, name: &str) -> Option<&Tool<'a>> {
        self.tools.iter().find(|tool| &*tool.name == name)
    }
}

/// How a client of chat completions is told a call of a tool that takes free text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FreeCalls {
    /// As the official API does.
    Custom,
    /// As the call of a function whose arguments are the text itself.
    Function,
}

/// A tool.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool<'a> {
    /// Its name; of a provider's own tool, its type.
    pub name: Text<'a>,
    /// What it is for.
    pub description: Option<Text<'a>>,
    /// What it takes.
    pub kind: ToolKind<'a>,
    /// Whether the prompt shall be cached up to here.
    pub cache: Option<super::Keep>,
}

/// What a tool takes.
#[derive(Debug, Clone, PartialEq)]
pub enum ToolKind<'a> {
    /// Parameters of a JSON schema; none where it takes nothing.
    Function {
        /// The schema.
        parameters: Option<Raw<'a>>,
        /// Whether calls shall hold to it exactly.
        strict: Option<bool>,
    },
    /// Free text, perhaps of a grammar.
    Free {
        /// The grammar as OpenAI writes it.
        grammar: Option<Raw<'a>>,
    },
    /// A search of the web, which the provider does by itself.
    Search(Box<Search<'a>>),
    /// A tool of the provider's own, which only that one has.
    Own,
}

/// How to search the web.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Search<'a> {
    /// Only within these domains.
    pub allowed: Vec<Text<'a>>,
    /// Not within these.
    pub blocked: Vec<Text<'a>>,
    /// At most so often.
    pub uses: Option<u64>,
    /// How much of what is found is read: `low`, `medium` or `high`.
    pub size: Option<Text<'a>>,
    /// Where the user is: city, region, country, time zone.
    pub place: [Option<Text<'a>>; 4],
}

/// Whether the model must use a tool.
#[derive(Debug, Clone, PartialEq)]
pub enum Choice<'a> {
    /// As it likes.
    Auto,
    /// It must not.
    None,
    /// It must use one.
    Required,
    /// It must use this one.
    Named(Text<'a>),
    /// Only these.
    Among {
        /// Their names.
        names: Vec<Text<'a>>,
        /// Whether it must use one of them.
        required: bool,
    },
}

/// The form of the answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Format<'a> {
    /// Text.
    #[default]
    Text,
    /// Any JSON object.
    Json,
    /// JSON of a schema.
    Schema {
        /// The schema's name.
        name: Option<Text<'a>>,
        /// What it is for.
        description: Option<Text<'a>>,
        /// The schema.
        schema: Raw<'a>,
        /// Whether the answer shall hold to it exactly.
        strict: Option<bool>,
    },
}

/// How much to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// Little.
    Low,
    /// As usual.
    Medium,
    /// Much.
    High,
}

/// How much to think.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Reasoning {
    /// Whether, and within which bounds; `None`: as the model does by itself.
    pub thinking: Option<Thinking>,
    /// How hard.
    pub effort: Option<Effort>,
    /// What of it to show; `None`: what the protocol shows by itself.
    pub show: Option<Show>,
}

/// Whether to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thinking {
    /// Not at all.
    Off,
    /// As much as the model thinks fit.
    Adaptive,
    /// At most so many tokens.
    Budget(u64),
}

/// How hard to think, from little to much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the words of the providers")]
pub enum Effort {
    Minimal,
    Low,
    Medium,
    High,
    XHigh,
    Max,
}

/// What to show of the thinking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// Nothing.
    Nothing,
    /// A summary, however long.
    Auto,
    /// A short summary.
    Concise,
    /// A long summary.
    Detailed,
}

/// How tokens are drawn.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sampling<'a> {
    /// 0 to 2, at Anthropic to 1.
    pub temperature: Option<f64>,
    /// 0 to 1.
    pub top_p: Option<f64>,
    /// From how many candidates.
    pub top_k: Option<u64>,
    /// -2 to 2.
    pub frequency_penalty: Option<f64>,
    /// -2 to 2.
    pub presence_penalty: Option<f64>,
    /// For answers that can be repeated.
    pub seed: Option<i64>,
    /// Tokens made likelier or less likely, as OpenAI writes it.
    pub logit_bias: Option<Raw<'a>>,
}

/// Which probabilities to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logprobs {
    /// Of how many candidates beside the chosen token.
    pub top: Option<u64>,
}

/// How fast, at which price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// The account's choice.
    Auto,
    /// The usual.
    Standard,
    /// Slower and cheaper.
    Flex,
    /// Faster and dearer.
    Priority,
}

/// How the prompt shall be cached, beside the parts that say so.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cache<'a> {
    /// Requests of one key share a cache.
    pub key: Option<Text<'a>>,
    /// How long.
    pub keep: Option<super::Keep>,
}

/// What only a provider of the request's own protocol can do, so that translating it would be another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// `previous_response_id`.
    PreviousResponse,
    /// `conversation`.
    Conversation,
    /// `background`.
    Background,
    /// `store`, said to be true.
    Store,
    /// `prompt`: a template kept at the provider.
    Prompt,
    /// An item that is named by its id, or a compacted conversation.
    Item,
    /// `cachedContent`.
    CachedContent,
    /// An answer that is sound or a picture.
    Media,
    /// More than one answer.
    Answers,
}

impl Need {
    /// The request's member that says so.
    pub fn field(self, source: Protocol) -> &'static str {
        match (self, source) {
            (Self::PreviousResponse, _) => "previous_response_id",
            (Self::Conversation, _) => "conversation",
            (Self::Background, _) => "background",
            (Self::Store, _) => "store",
            (Self::Prompt, _) => "prompt",
            (Self::Item, _) => "input",
            (Self::CachedContent, _) => "cachedContent",
            (Self::Media, Protocol::Gemini) => "generationConfig.responseModalities",
            (Self::Media, _) => "modalities",
            (Self::Answers, Protocol::Gemini) => "generationConfig.candidateCount",
            (Self::Answers, _) => "n",
        }
    }

    /// Whether it is about things a provider keeps.
    pub fn is_stored(self) -> bool {
        !matches!(self, Self::Media | Self::Answers)
    }
}

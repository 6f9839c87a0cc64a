//! The neutral model: what a conversation, an answer and a stream say, whichever protocol they were written in.
//!
//! It is a model of its own: nothing of a protocol's spelling is in it, and what only one protocol has is either a
//! thing of the model (a signature with its signer) or a [`Loss`](super::Loss).
//! Invariants of what a decoder gives: turns alternate freely, but a model's turn holds everything the model said
//! until somebody else spoke; a [`Part::place`] says where it was written and is no part of what it says.

mod answer;
mod event;
mod request;

pub use self::answer::{Answer, Stop};
pub use self::event::{Event, Opened};
pub use self::request::{
    Cache, Choice, Effort, Format, FreeCalls, Logprobs, Need, Reasoning, Request, Sampling, Search, Show,
    Thinking, Tier, Tool, ToolKind, Verbosity,
};

pub use crate::protocol::Protocol;

use super::json::{Raw, Text};

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Instructions of whoever runs the program.
    System,
    /// Instructions of whoever wrote it; where a protocol has no such role, they are the system's.
    Developer,
    /// The user, and the tools, whose results are parts of a user's turn.
    User,
    /// The model.
    Model,
}

/// What one speaker says until another does.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn<'a> {
    /// Who.
    pub role: Role,
    /// What.
    pub parts: Vec<Part<'a>>,
    /// The speaker's name, where there are several of a role.
    pub name: Option<Text<'a>>,
}

/// One thing that is said.
#[derive(Debug, Clone, PartialEq)]
pub struct Part<'a> {
    /// What it is.
    pub content: Content<'a>,
    /// Whether the prompt shall be cached up to here.
    pub cache: Option<Keep>,
    /// Where it was written.
    pub place: Place,
}

impl<'a> Part<'a> {
    /// A part that was written nowhere.
    pub fn new(content: Content<'a>) -> Self {
        Self { content, cache: None, place: Place::default() }
    }

    /// A text.
    pub fn text(text: impl Into<Text<'a>>) -> Self {
        Self::new(Content::Text { text: text.into(), citations: Vec::new() })
    }
}

/// How long a cached prompt is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Some minutes, the usual.
    Minutes,
    /// An hour, or longer.
    Hour,
}

/// Where a part stands in the request it was read from. Two places are always equal: a model that was written and
/// read again is the same model.
#[derive(Debug, Clone, Copy, Default)]
pub struct Place {
    pub(super) list: List,
    pub(super) item: u32,
    pub(super) part: Option<u32>,
}

/// The lists parts stand in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum List {
    /// Messages, input items, contents; and within them the list of parts.
    #[default]
    Turns,
    /// Instructions that have a member of their own.
    Instructions,
    /// A message's tool calls, where they have a list of their own.
    Calls,
}

impl PartialEq for Place {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// What a part can be.
#[derive(Debug, Clone, PartialEq)]
pub enum Content<'a> {
    /// Text, and what it rests on.
    Text {
        /// The text.
        text: Text<'a>,
        /// Where it is from.
        citations: Vec<Citation<'a>>,
    },
    /// The model declined, in these words.
    Refusal(Text<'a>),
    /// A picture.
    Image(Media<'a>),
    /// Sound.
    Audio(Media<'a>),
    /// Film.
    Video(Media<'a>),
    /// A file to read: a PDF, a text.
    Document {
        /// The file.
        media: Media<'a>,
        /// Words of the user about it.
        context: Option<Text<'a>>,
        /// Whether the answer shall cite it.
        cited: bool,
    },
    /// The model wants a tool to be used.
    Call(Call<'a>),
    /// What came of it.
    Outcome(Outcome<'a>),
    /// What the model thought. Without text where its provider hides it; a signature without text that follows other
    /// things belongs to what comes next.
    Reasoning {
        /// The thoughts.
        text: Text<'a>,
        /// What its provider wants back.
        signature: Option<Signature<'a>>,
    },
}

/// Something that is no text.
#[derive(Debug, Clone, PartialEq)]
pub struct Media<'a> {
    /// Its bytes, or where they are.
    pub source: Source<'a>,
    /// Its type (`image/png`), where that is said.
    pub mime: Option<Text<'a>>,
    /// Its file's name or title.
    pub name: Option<Text<'a>>,
    /// How closely to look, in OpenAI's words.
    pub detail: Option<Text<'a>>,
}

/// Where the bytes of something are.
#[derive(Debug, Clone, PartialEq)]
pub enum Source<'a> {
    /// Here, in base64.
    Base64(Text<'a>),
    /// Here, as plain text.
    Plain(Text<'a>),
    /// At an address anybody can read.
    Url(Text<'a>),
    /// At the provider, which knows it by this id.
    File(Text<'a>),
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq)]
pub struct Call<'a> {
    /// What its result refers to.
    pub id: Text<'a>,
    /// The tool.
    pub name: Text<'a>,
    /// What it is called with.
    pub input: Input<'a>,
}

/// What a tool is called with.
#[derive(Debug, Clone, PartialEq)]
pub enum Input<'a> {
    /// A JSON object.
    Json(Raw<'a>),
    /// Free text: of a tool that takes it, or what a model wrote where an object was due.
    Text {
        /// The text.
        text: Text<'a>,
        /// Whether the tool takes text.
        free: bool,
    },
}

/// The result of a tool.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome<'a> {
    /// The call it is of.
    pub id: Text<'a>,
    /// The tool, as far as it is known.
    pub name: Option<Text<'a>>,
    /// Texts, pictures and documents.
    pub parts: Vec<Part<'a>>,
    /// Whether the tool failed.
    pub error: bool,
    /// Whether it answers a call with free text.
    pub free: bool,
}

/// What a provider verifies of the thinking it gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Signature<'a> {
    /// Who can verify it.
    pub signer: Signer,
    /// The signature, or thinking that is hidden in it.
    pub data: Text<'a>,
}

/// The families that sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// OpenAI: encrypted reasoning.
    OpenAi,
    /// Anthropic: the signature of a thinking block.
    Anthropic,
    /// Anthropic: a redacted block, which is nothing but its data.
    Redacted,
    /// Gemini: a thought's signature.
    Gemini,
}

/// What a text rests on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Citation<'a> {
    /// The source's address.
    pub url: Option<Text<'a>>,
    /// The source's title.
    pub title: Option<Text<'a>>,
    /// The words of the source.
    pub quote: Option<Text<'a>>,
    /// Which characters of the part it is about; all of them where it is not said.
    pub span: Option<(u64, u64)>,
    /// The whole citation as Anthropic writes it.
    pub anthropic: Option<Raw<'a>>,
}

impl Citation<'_> {
    /// The same with a life of its own.
    pub fn into_owned(self) -> Citation<'static> {
        Citation {
            url: self.url.map(Text::into_owned),
            title: self.title.map(Text::into_owned),
            quote: self.quote.map(Text::into_owned),
            span: self.span,
            anthropic: self.anthropic.map(Raw::into_owned),
        }
    }
}

impl Media<'_> {
    /// The same with a life of its own.
    pub fn into_owned(self) -> Media<'static> {
        let source = match self.source {
            Source::Base64(data) => Source::Base64(data.into_owned()),
            Source::Plain(text) => Source::Plain(text.into_owned()),
            Source::Url(url) => Source::Url(url.into_owned()),
            Source::File(id) => Source::File(id.into_owned()),
        };
        Media {
            source,
            mime: self.mime.map(Text::into_owned),
            name: self.name.map(Text::into_owned),
            detail: self.detail.map(Text::into_owned),
        }
    }
}

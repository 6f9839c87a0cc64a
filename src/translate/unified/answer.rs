//! What is answered, whole.

use super::super::json::{Raw, Text};
use super::Part;
use crate::usage::Usage;

/// One answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer<'a> {
    /// The provider's id of it.
    pub id: Text<'a>,
    /// The model as the provider named it.
    pub model: Text<'a>,
    /// What the model said.
    pub parts: Vec<Part<'a>>,
    /// Why it stopped.
    pub stop: Stop<'a>,
    /// What it used, where that is said.
    pub usage: Option<Usage>,
    /// The probabilities of its tokens, as OpenAI's chat writes the list.
    pub logprobs: Option<Raw<'a>>,
}

/// Why a model stopped.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Stop<'a> {
    /// It had said everything.
    #[default]
    End,
    /// The longest answer was reached.
    MaxTokens,
    /// A stop sequence; this one, where that is said.
    Sequence(Option<Text<'a>>),
    /// It wants a tool to be used.
    ToolUse,
    /// It declined, or a filter did for it.
    Refusal,
    /// The provider's own tools take long: send the answer back and it goes on.
    Pause,
    /// The context is full.
    ContextFull,
}

impl Stop<'_> {
    /// The same with a life of its own.
    pub fn into_owned(self) -> Stop<'static> {
        match self {
            Self::Sequence(text) => Stop::Sequence(text.map(Text::into_owned)),
            Self::End => Stop::End,
            Self::MaxTokens => Stop::MaxTokens,
            Self::ToolUse => Stop::ToolUse,
            Self::Refusal => Stop::Refusal,
            Self::Pause => Stop::Pause,
            Self::ContextFull => Stop::ContextFull,
        }
    }
}

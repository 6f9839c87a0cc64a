//! What a stream says, piece by piece.
//!
//! Invariant of what a decoder gives: one [`Event::Start`] first, one part open at a time, every part closed, then one
//! [`Event::Stop`] and [`Event::End`]; or an [`Event::Error`] anywhere, after which nothing comes.

use super::super::fault::Fault;
use super::super::json::{Raw, Text};
use super::{Citation, Media, Signature, Stop};
use crate::usage::Usage;

/// One piece.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<'a> {
    /// The answer begins.
    Start {
        /// The provider's id of it.
        id: Text<'a>,
        /// The model as the provider named it.
        model: Text<'a>,
    },
    /// A part begins.
    Open(Opened<'a>),
    /// More text of the open part; of a call, of its input.
    Text(Text<'a>),
    /// The signature of the open reasoning.
    Sign(Signature<'a>),
    /// What the open text rests on.
    Cite(Citation<'a>),
    /// The probabilities of the tokens of the text that follows, as OpenAI's chat writes the list.
    Logprobs(Raw<'a>),
    /// The open part is whole.
    Close,
    /// Everything counted so far.
    Usage(Usage),
    /// Why the model stopped.
    Stop(Stop<'a>),
    /// The stream broke off.
    Error(Fault<'a>),
    /// The stream is over as it should be.
    End,
}

/// What a part is that begins.
#[derive(Debug, Clone, PartialEq)]
pub enum Opened<'a> {
    /// Text.
    Text,
    /// The words of declining.
    Refusal,
    /// Thoughts.
    Reasoning,
    /// A call; its input follows as JSON, or as free text.
    Call {
        /// What its result refers to.
        id: Text<'a>,
        /// The tool.
        name: Text<'a>,
        /// Whether its input is free text.
        free: bool,
    },
    /// A picture, which is whole at once.
    Image(Media<'a>),
}

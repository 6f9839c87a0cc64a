//! How a channel can answer a request: with the client's own bytes, or through translation.
//!
//! Invariants: who speaks the client's protocol, in its own words, and may stream as it asks, is relayed and never translated; what no
//! protocol of translation carries (embeddings, pictures, sound, files) is relayed or not served at all.

use crate::config::snapshot::Channel;
use crate::protocol::inspect::Wording;
use crate::protocol::{Dialect, Operation, Protocol};

/// How.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The channel speaks as the client does: its bytes go there.
    Relay,
    /// The request is written anew, and the answer read and written anew.
    Translate(Into),
}

/// What a request is translated into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Into {
    /// What the channel is asked in.
    pub protocol: Protocol,
    /// Whether it is asked for a stream.
    pub stream: bool,
}

/// What is asked for, as far as it decides the way.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// By which address.
    pub dialect: Dialect,
    /// What is to be done.
    pub operation: Operation,
    /// Whether the client asks for a stream.
    pub stream: bool,
    /// In whose words.
    pub wording: Wording,
}

/// The way at this channel, where there is one.
pub fn way(question: Question, channel: &Channel) -> Option<Way> {
    let Question { dialect, operation, stream, wording } = question;
    let Some(protocol) = operation.protocol() else {
        let has = |protocol| channel.protocols.contains(&protocol);
        let offered = operation.belongs_to().map_or_else(|| channel.offers(dialect, operation), has);
        return offered.then_some(Way::Relay);
    };
    let asked = !operation.counts() && channel.streams.asked(stream);
    let can = |protocol| !operation.counts() || channel.counting.contains(&protocol);
    if channel.protocols.contains(&protocol) && can(protocol) {
        let as_asked = operation.counts() || (asked == stream && wording == Wording::Own);
        return Some(if as_asked { Way::Relay } else { Way::Translate(Into { protocol, stream: asked }) });
    }
    let protocol = *channel.protocols.first()?;
    can(protocol).then_some(Way::Translate(Into { protocol, stream: asked }))
}

/// The protocol a channel would be asked in, for those who ask why.
pub fn spoken(question: Question, channel: &Channel) -> Option<Protocol> {
    match way(question, channel)? {
        Way::Relay => question.operation.protocol(),
        Way::Translate(into) => Some(into.protocol),
    }
}

//! A stream on its way: the provider's events watched, and passed on as they are or translated.
//!
//! Invariants: what is watched is the provider's own stream, whatever becomes of it; of a translated one whole events
//! go out, and how it ended is the translator's to say as well as the observer's.

use crate::protocol::observe::{Phase, Progress, StreamObserver, Told};
use crate::protocol::signed::SignatureDigest;
use crate::stage::translated::Translation;
use crate::translate::{Ending, Loss, Translator};
use crate::usage::Usage;
use bytes::{Bytes, BytesMut};

/// A stream being passed on.
#[derive(Debug)]
pub struct Passing {
    observer: StreamObserver,
    translated: Option<Translated>,
}

#[derive(Debug)]
struct Translated {
    translator: Translator,
    /// What the observer would let pass.
    unseen: Vec<Bytes>,
    out: BytesMut,
    ended: Option<Ending>,
    /// Whether the client gets events; else one array.
    events: bool,
}

impl Translated {
    fn release(&mut self, out: &mut Vec<Bytes>) {
        self.unseen.clear();
        if !self.out.is_empty() {
            out.push(self.out.split().freeze());
        }
    }
}

impl Passing {
    /// A stream that passes as it comes, but for what the observer changes.
    pub fn relayed(observer: StreamObserver) -> Self {
        Self { observer, translated: None }
    }

    /// A stream that is written anew.
    pub fn translated(observer: StreamObserver, translation: &Translation) -> Self {
        let Translation { into, back, client, .. } = translation;
        let translated = Translated {
            translator: Translator::new(into.protocol, back, client),
            unseen: Vec::new(),
            out: BytesMut::new(),
            ended: None,
            events: client.sse,
        };
        Self { observer, translated: Some(translated) }
    }

    /// Takes the next bytes and pushes what may go to the client.
    pub fn feed(&mut self, chunk: &Bytes, out: &mut Vec<Bytes>) -> Progress {
        let Some(translated) = &mut self.translated else { return self.observer.feed(chunk, out) };
        let progress = self.observer.feed(chunk, &mut translated.unseen);
        if !matches!(progress, Progress::ErrorFirst(_)) {
            translated.translator.feed(chunk, &mut translated.out);
        }
        translated.release(out);
        progress
    }

    /// The provider has ended: pushes what was held.
    pub fn finish(&mut self, out: &mut Vec<Bytes>) -> Progress {
        let Some(translated) = &mut self.translated else { return self.observer.finish(out) };
        let progress = self.observer.finish(&mut translated.unseen);
        if !matches!(progress, Progress::ErrorFirst(_)) && translated.ended.is_none() {
            translated.ended = Some(translated.translator.finish(&mut translated.out));
        }
        translated.release(out);
        progress
    }

    /// How far the stream has got.
    pub fn phase(&self) -> Phase {
        match (self.observer.phase(), self.translated.as_ref().and_then(|translated| translated.ended)) {
            (_, Some(Ending::Failed)) => Phase::Failed,
            (_, Some(Ending::Whole)) => Phase::Terminal,
            (Phase::Terminal, Some(Ending::Cut)) => Phase::Content,
            (phase, _) => phase,
        }
    }

    /// Whether the last byte that went out ended an event, so that one of ours may follow.
    pub fn at_boundary(&self) -> bool {
        self.translated.is_some() || self.observer.at_boundary()
    }

    /// Whether the client gets events, so that one of ours may be among them.
    pub fn is_events(&self) -> bool {
        self.translated.as_ref().is_none_or(|translated| translated.events)
    }

    /// Whether nothing more will go out.
    pub fn is_over(&self) -> bool {
        self.observer.is_over()
    }

    /// The counts the provider has given so far.
    pub fn usage(&self) -> Option<Usage> {
        self.observer.usage()
    }

    /// How many bytes of text the counts so far do not cover.
    pub fn unreported(&self) -> u64 {
        self.observer.unreported()
    }

    /// The id of the response, where it is the provider's own and known.
    pub fn response(&self) -> Option<&str> {
        self.observer.response().filter(|_| self.translated.is_none())
    }

    /// What the answer has said of itself, where a trace wants it.
    pub fn told(&self) -> Option<&Told> {
        self.observer.told()
    }

    /// The signatures of the thinking the provider has given so far.
    pub fn signatures(&self) -> &[SignatureDigest] {
        self.observer.signatures()
    }

    /// What of the answer could not be carried over so far.
    pub fn losses(&self) -> &[Loss] {
        self.translated.as_ref().map_or(&[], |translated| translated.translator.losses())
    }
}

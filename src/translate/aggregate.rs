//! An answer out of its events, and the events of an answer.
//!
//! Invariant: telling an answer and collecting what is told gives the same answer.

use super::json::Text;
use super::logprobs::joined;
use super::unified::{Answer, Call, Content, Event, Input, Media, Opened, Part, Signature, Source};
use super::words;

/// Adds an event to an answer.
pub(super) fn add(answer: &mut Answer<'static>, event: Event<'_>) {
    match event {
        Event::Start { id, model } => {
            answer.id = id.into_owned();
            answer.model = model.into_owned();
        }
        Event::Open(opened) => answer.parts.push(Part::new(begun(opened))),
        Event::Text(text) => more(answer, &text),
        Event::Sign(signature) => {
            let owned = Signature { signer: signature.signer, data: signature.data.into_owned() };
            if let Some(Content::Reasoning { signature, .. }) = last(answer) {
                *signature = Some(owned);
            }
        }
        Event::Cite(citation) => {
            if let Some(Content::Text { citations, .. }) = last(answer) {
                citations.push(citation.into_owned());
            }
        }
        Event::Logprobs(raw) => answer.logprobs = Some(joined(answer.logprobs.take(), &raw)),
        Event::Close => closed(answer),
        Event::Usage(usage) => answer.usage = Some(usage),
        Event::Stop(stop) => answer.stop = stop.into_owned(),
        Event::Error(_) | Event::End => {}
    }
}

fn last<'p>(answer: &'p mut Answer<'static>) -> Option<&'p mut Content<'static>> {
    answer.parts.last_mut().map(|part| &mut part.content)
}

fn begun(opened: Opened<'_>) -> Content<'static> {
    match opened {
        Opened::Text => Content::Text { text: Text::default(), citations: Vec::new() },
        Opened::Refusal => Content::Refusal(Text::default()),
        Opened::Reasoning => Content::Reasoning { text: Text::default(), signature: None },
        Opened::Call { id, name, free } => Content::Call(Call {
            id: id.into_owned(),
            name: name.into_owned(),
            input: Input::Text { text: Text::default(), free },
        }),
        Opened::Image(media) => Content::Image(media.into_owned()),
    }
}

fn more(answer: &mut Answer<'static>, more: &str) {
    if let Some(
        Content::Text { text, .. }
        | Content::Refusal(text)
        | Content::Reasoning { text, .. }
        | Content::Call(Call { input: Input::Text { text, .. }, .. }),
    ) = last(answer)
    {
        text.push(more);
    }
}

/// A call's input was text while it came; it is an object now.
fn closed(answer: &mut Answer<'static>) {
    if let Some(Content::Call(Call { input, .. })) = last(answer)
        && let Input::Text { text, free: false } = input
    {
        *input = words::arguments(std::mem::take(text));
    }
}

/// How much of an event is kept.
pub(super) fn size(event: &Event<'_>) -> usize {
    match event {
        Event::Text(text) => text.len(),
        Event::Sign(signature) => signature.data.len(),
        Event::Logprobs(raw) => raw.json().len(),
        Event::Open(Opened::Image(Media { source: Source::Base64(data), .. })) => data.len(),
        Event::Open(_) | Event::Cite(_) => PART_BYTES,
        _ => 0,
    }
}

/// What a part costs beside its text.
const PART_BYTES: usize = 256;

/// Tells the parts of an answer.
pub(super) fn tell(answer: &Answer<'_>, sink: &mut dyn FnMut(Event<'_>)) {
    let mut logprobs = answer.logprobs.as_ref();
    for part in &answer.parts {
        let (opened, text) = match &part.content {
            Content::Text { text, .. } => (Opened::Text, text.borrowed()),
            Content::Refusal(text) => (Opened::Refusal, text.borrowed()),
            Content::Reasoning { text, .. } => (Opened::Reasoning, text.borrowed()),
            Content::Call(Call { id, name, input }) => {
                let (text, free) = match input {
                    Input::Json(raw) => (raw.json().into(), false),
                    Input::Text { text, free } => (text.borrowed(), *free),
                };
                (Opened::Call { id: id.borrowed(), name: name.borrowed(), free }, text)
            }
            Content::Image(media) => (Opened::Image(media.clone()), Text::default()),
            _ => continue,
        };
        sink(Event::Open(opened));
        if matches!(part.content, Content::Text { .. })
            && let Some(told) = logprobs.take()
        {
            sink(Event::Logprobs(told.clone()));
        }
        if !text.is_empty() {
            sink(Event::Text(text));
        }
        match &part.content {
            Content::Reasoning { signature: Some(signature), .. } => sink(Event::Sign(signature.clone())),
            Content::Text { citations, .. } => {
                for citation in citations {
                    sink(Event::Cite(citation.clone()));
                }
            }
            _ => {}
        }
        sink(Event::Close);
    }
}

//! Input items as turns. What the model said in several items is one turn.

use super::super::json::{Many, Text};
use super::super::loss::Lost;
use super::super::signature::opened;
use super::super::unified::{
    Call, Citation, Content, Input, Keep, List, Media, Need, Outcome, Part, Place, Request, Role, Signature,
    Signer, Source, Turn,
};
use super::super::words;
use super::{Annotation, Item, Piece, spaced};

/// Reads them.
pub(super) fn read<'a>(input: Many<'a, Item<'a>>, request: &mut Request<'a>) {
    match input {
        Many::Text(text) => {
            let place = Place { list: List::Turns, item: 0, part: None };
            let parts = vec![Part { place, ..Part::text(text) }];
            request.turns.push(Turn { role: Role::User, parts, name: None });
        }
        Many::List(items) => (0..).zip(items).for_each(|(at, one)| item(at, one, request)),
    }
}

fn item<'a>(item: u32, mut of: Item<'a>, request: &mut Request<'a>) {
    let place = Place { list: List::Turns, item, part: None };
    for name in &of.unknown {
        request.losses.part(place, &format!(".{}", &**name), Lost::Dropped, "not known to the gateway");
    }
    let kind = of.kind.take();
    match kind.as_deref().unwrap_or("message") {
        "message" => message(item, of, request),
        "function_call" | "custom_tool_call" => {
            let part = Part { place, ..Part::new(Content::Call(call(of))) };
            add(Role::Model, vec![part], request);
        }
        "function_call_output" | "custom_tool_call_output" => outcome(place, of, request),
        "reasoning" => {
            let part = Part { place, ..Part::new(reasoning(of)) };
            add(Role::Model, vec![part], request);
        }
        "item_reference" | "compaction" | "compaction_trigger" => request.needs.push(Need::Item),
        _ => request.losses.part(place, "", Lost::Dropped, "of one of OpenAI's own tools"),
    }
}

/// Adds to what the same side said before.
fn add<'a>(role: Role, parts: Vec<Part<'a>>, request: &mut Request<'a>) {
    match request.turns.last_mut() {
        Some(turn) if turn.role == role && role == Role::Model => turn.parts.extend(parts),
        _ => request.turns.push(Turn { role, parts, name: None }),
    }
}

fn message<'a>(item: u32, of: Item<'a>, request: &mut Request<'a>) {
    let role = match of.role.as_deref() {
        Some("system") => Role::System,
        Some("developer") => Role::Developer,
        Some("assistant") => Role::Model,
        _ => Role::User,
    };
    let parts = pieces(item, of.content.unwrap_or_default(), request);
    add(role, parts, request);
}

fn pieces<'a>(item: u32, content: Many<'a, Piece<'a>>, request: &mut Request<'a>) -> Vec<Part<'a>> {
    let place = |part| Place { list: List::Turns, item, part };
    match content {
        Many::Text(text) if text.is_empty() => Vec::new(),
        Many::Text(text) => vec![Part { place: place(None), ..Part::text(text) }],
        Many::List(list) => {
            (0..).zip(list).filter_map(|(at, one)| piece(place(Some(at)), one, request)).collect()
        }
    }
}

fn piece<'a>(place: Place, mut of: Piece<'a>, request: &mut Request<'a>) -> Option<Part<'a>> {
    let cache = of.prompt_cache_breakpoint.take().map(|point| match point.ttl.as_deref() {
        Some("12h") => Keep::Hour,
        _ => Keep::Minutes,
    });
    let content = if let Some(text) = of.text {
        Content::Text { text, citations: cited(of.annotations) }
    } else if let Some(text) = of.refusal {
        Content::Refusal(text)
    } else if let Some(audio) = of.input_audio {
        let mime = audio.format.map(|format| Text::from(format!("audio/{}", &*format)));
        Content::Audio(Media::bytes(mime, audio.data.unwrap_or_default()))
    } else if of.kind.as_deref() == Some("input_image") {
        let media = match (of.image_url, of.file_id) {
            (Some(url), _) => Media::at(url),
            (None, id) => Media::of(Source::File(id.unwrap_or_default())),
        };
        Content::Image(Media { detail: of.detail.filter(|detail| &**detail != "auto"), ..media })
    } else if of.kind.as_deref() == Some("input_file") {
        let media = match (of.file_data, of.file_url, of.file_id) {
            (Some(data), _, _) if !data.starts_with("data:") => Media::bytes(None, data),
            (Some(data), _, _) => Media::at(data),
            (None, Some(url), _) => Media::of(Source::Url(url)),
            (None, None, id) => Media::of(Source::File(id.unwrap_or_default())),
        };
        let media = Media { name: of.filename, ..media };
        Content::Document { media, context: None, cited: false }
    } else {
        request.losses.part(place, "", Lost::Dropped, "of a type the gateway does not know");
        return None;
    };
    Some(Part { content, cache, place })
}

/// What a text of an answer cites.
pub(super) fn cited(annotations: Option<Vec<Annotation<'_>>>) -> Vec<Citation<'_>> {
    annotations.into_iter().flatten().filter_map(citation).collect()
}

pub(super) fn citation(of: Annotation<'_>) -> Option<Citation<'_>> {
    let title = of.title.or(of.filename);
    (of.url.is_some() || title.is_some()).then_some(())?;
    Some(Citation { url: of.url, title, span: of.start_index.zip(of.end_index), ..Citation::default() })
}

/// A call.
pub(super) fn call(of: Item<'_>) -> Call<'_> {
    let id = of.call_id.or(of.id).unwrap_or_default();
    let name = of.name.unwrap_or_default();
    let name = match of.namespace {
        Some(space) if !space.is_empty() => spaced(&space, &name).into(),
        _ => name,
    };
    let input = match of.input {
        Some(text) => Input::Text { text, free: true },
        None => words::arguments(of.arguments.unwrap_or_default()),
    };
    Call { id, name, input }
}

fn outcome<'a>(place: Place, of: Item<'a>, request: &mut Request<'a>) {
    let id = of.call_id.unwrap_or_default();
    let parts = pieces(place.item, of.output.unwrap_or_default(), request);
    let calls =
        request.turns.iter().rev().flat_map(|turn| &turn.parts).filter_map(|part| match &part.content {
            Content::Call(call) => Some(call),
            _ => None,
        });
    let called = calls.into_iter().find(|call| call.id == id);
    let name = called.map(|call| call.name.clone()).or(of.name);
    let free = called.is_some_and(|call| matches!(call.input, Input::Text { free: true, .. }));
    let outcome = Outcome { id, name, parts, error: false, free };
    let part = Part { place, ..Part::new(Content::Outcome(outcome)) };
    match request.turns.last_mut() {
        Some(turn) if turn.role == Role::User && holds_outcomes(turn) => turn.parts.push(part),
        _ => request.turns.push(Turn { role: Role::User, parts: vec![part], name: None }),
    }
}

fn holds_outcomes(turn: &Turn<'_>) -> bool {
    !turn.parts.is_empty() && turn.parts.iter().all(|part| matches!(part.content, Content::Outcome(_)))
}

/// A reasoning item: its summary, or its thoughts where those are open; and what is encrypted of it.
pub(super) fn reasoning(of: Item<'_>) -> Content<'_> {
    let summary = of.summary.unwrap_or_default();
    let pieces = match of.content {
        Some(Many::List(thoughts)) if summary.is_empty() => thoughts,
        _ => summary,
    };
    let mut texts = pieces.into_iter().filter_map(|piece| piece.text);
    let mut text = texts.next().unwrap_or_default();
    for more in texts {
        text.push(PARAGRAPH);
        text.push(&more);
    }
    let signature = of.encrypted_content.and_then(|encrypted| signed(of.id.as_deref(), encrypted));
    Content::Reasoning { text, signature }
}

/// Between the parts of a summary.
pub(super) const PARAGRAPH: &str = "\n\n";

/// OpenAI verifies that what is encrypted comes back under the id it was given: both are the signature.
pub(super) fn signed<'a>(id: Option<&str>, encrypted: Text<'a>) -> Option<Signature<'a>> {
    let signature = opened(encrypted, Signer::OpenAi)?;
    if signature.signer != Signer::OpenAi {
        return Some(signature);
    }
    let data = if is_whole(&signature.data) {
        signature.data
    } else {
        format!("{}:{}", id.unwrap_or_default(), &*signature.data).into()
    };
    Some(Signature { signer: Signer::OpenAi, data })
}

/// What came back through another protocol has its id already.
fn is_whole(data: &str) -> bool {
    data.starts_with("rs_") && data.contains(':')
}

/// The id and what is encrypted.
pub(super) fn parts_of(signature: &str) -> (&str, &str) {
    signature.split_once(':').unwrap_or(("", signature))
}

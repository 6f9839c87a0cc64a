//! The messages of a chat as turns.

use super::super::json::{Many, Raw, Text};
use super::super::loss::Lost;
use super::super::unified::{
    Call, Citation, Content, Input, Keep, List, Media, Outcome, Part, Place, Request, Role, Source, Turn,
};
use super::super::words;
use super::{Annotation, Message, Piece, ToolCall};

/// Reads them.
pub(super) fn read<'a>(messages: Vec<Message<'a>>, request: &mut Request<'a>) {
    for (item, message) in (0..).zip(messages) {
        request.losses.unknown(&format!("messages[{item}]"), message.unknown.iter().map(|name| &**name));
        if message.audio.is_some() {
            request.losses.dropped(format!("messages[{item}].audio"), "sound kept at another provider");
        }
        match message.role.as_deref().unwrap_or("user") {
            "system" => add(Role::System, item, message, request),
            "developer" => add(Role::Developer, item, message, request),
            "assistant" => assistant(item, message, request),
            "tool" | "function" => outcome(item, message, request),
            _ => add(Role::User, item, message, request),
        }
    }
}

fn add<'a>(role: Role, item: u32, mut message: Message<'a>, request: &mut Request<'a>) {
    let name = message.name.take();
    let parts = pieces(item, message.content.take(), request);
    request.turns.push(Turn { role, parts, name });
}

fn place(item: u32, part: u32) -> Place {
    Place { list: List::Turns, item, part: Some(part) }
}

fn pieces<'a>(item: u32, content: Option<Many<'a, Piece<'a>>>, request: &mut Request<'a>) -> Vec<Part<'a>> {
    let whole = Place { list: List::Turns, item, part: None };
    match content {
        None => Vec::new(),
        Some(Many::Text(text)) if text.is_empty() => Vec::new(),
        Some(Many::Text(text)) => vec![Part { place: whole, ..Part::text(text) }],
        Some(Many::List(list)) => {
            (0..).zip(list).filter_map(|(at, one)| piece(place(item, at), one, request)).collect()
        }
    }
}

fn piece<'a>(place: Place, mut of: Piece<'a>, request: &mut Request<'a>) -> Option<Part<'a>> {
    let cache = of.prompt_cache_breakpoint.take().map(|point| match point.ttl.as_deref() {
        Some("12h") => Keep::Hour,
        _ => Keep::Minutes,
    });
    let cache = cache.or(of.cache_control.take().map(|_| Keep::Minutes));
    let content = if let Some(text) = of.text {
        Content::Text { text, citations: Vec::new() }
    } else if let Some(text) = of.refusal {
        Content::Refusal(text)
    } else if let Some(image) = of.image_url {
        Content::Image(image_at(image))
    } else if let Some(audio) = of.input_audio {
        let mime = audio.format.map(|format| Text::from(format!("audio/{}", &*format)));
        Content::Audio(Media::bytes(mime, audio.data.unwrap_or_default()))
    } else if let Some(file) = of.file {
        document(file)
    } else {
        request.losses.part(place, "", Lost::Dropped, "of a type the gateway does not know");
        return None;
    };
    Some(Part { content, cache, place })
}

fn image_at<'a>(image: Many<'a, super::ImageUrl<'a>>) -> Media<'a> {
    match image {
        Many::Text(url) => Media::at(url),
        Many::List(list) => {
            let image = list.into_iter().next().unwrap_or_default();
            Media { detail: image.detail, ..Media::at(image.url.unwrap_or_default()) }
        }
    }
}

fn document(file: super::Attached<'_>) -> Content<'_> {
    let mut media = match (file.file_data, file.file_id) {
        (Some(data), _) => Media::at(data),
        (None, id) => Media::of(Source::File(id.unwrap_or_default())),
    };
    // The official API takes base64 without its type too.
    if let Source::Url(data) = &media.source
        && !data.contains("://")
    {
        media.source = Source::Base64(data.clone());
    }
    media.name = file.filename;
    Content::Document { media, context: None, cited: false }
}

fn assistant<'a>(item: u32, mut message: Message<'a>, request: &mut Request<'a>) {
    let mut parts = Vec::new();
    if let Some(text) =
        message.reasoning_content.take().or(message.reasoning.take()).filter(|text| !text.is_empty())
    {
        parts.push(Part::new(Content::Reasoning { text, signature: None }));
    }
    let said = pieces(item, message.content.take(), request);
    parts.extend(said);
    if let Some(text) = message.refusal.take().filter(|text| !text.is_empty()) {
        parts.push(Part::new(Content::Refusal(text)));
    }
    if let Some(Content::Text { citations, .. }) = parts.last_mut().map(|part| &mut part.content) {
        *citations = cited(message.annotations.take());
    }
    let calls = message.tool_calls.take().unwrap_or_default();
    for (at, of) in (0..).zip(calls) {
        let place = Place { list: List::Calls, item, part: Some(at) };
        parts.push(Part { place, ..Part::new(Content::Call(call(of))) });
    }
    if let Some(of) = message.function_call.take() {
        // The old form has no ids: its result is the next message of that function.
        let name = of.name.clone().unwrap_or_default();
        let of = ToolCall { id: Some(name), function: Some(of), ..ToolCall::default() };
        parts.push(Part::new(Content::Call(call(of))));
    }
    request.turns.push(Turn { role: Role::Model, parts, name: message.name.take() });
}

/// Citations of an answer of one text.
pub(super) fn cited(annotations: Option<Vec<Annotation<'_>>>) -> Vec<Citation<'_>> {
    let read = |annotation: Annotation<'_>| {
        let of = annotation.url_citation?;
        let (url, title) = (of.url.map(Text::into_owned), of.title.map(Text::into_owned));
        Some(Citation { url, title, span: of.start_index.zip(of.end_index), ..Citation::default() })
    };
    annotations.into_iter().flatten().filter_map(read).collect()
}

/// A call of a message.
pub(super) fn call(of: ToolCall<'_>) -> Call<'_> {
    let id = of.id.unwrap_or_default();
    match (of.function, of.custom) {
        (Some(function), _) => {
            Call { id, name: function.name.unwrap_or_default(), input: input(function.arguments) }
        }
        (None, Some(custom)) => {
            let text = custom.input.unwrap_or_default();
            Call { id, name: custom.name.unwrap_or_default(), input: Input::Text { text, free: true } }
        }
        (None, None) => Call { id, name: Text::default(), input: Input::Json(Raw::known("{}")) },
    }
}

/// A text with JSON in it; some providers send the object itself.
fn input(arguments: Option<Raw<'_>>) -> Input<'_> {
    match arguments {
        None => Input::Json(Raw::known("{}")),
        Some(raw) if raw.is_object() => Input::Json(raw),
        Some(raw) => words::arguments(raw.text().map(Text::into_owned).unwrap_or_default()),
    }
}

/// A tool's message. Several in a row answer the calls of one turn.
fn outcome<'a>(item: u32, mut message: Message<'a>, request: &mut Request<'a>) {
    let id = message.tool_call_id.take().or_else(|| message.name.clone()).unwrap_or_default();
    let parts = pieces(item, message.content.take(), request);
    let outcome = Outcome { id, name: message.name.take(), parts, error: false, free: false };
    let place = Place { list: List::Turns, item, part: None };
    let part = Part { place, ..Part::new(Content::Outcome(outcome)) };
    match request.turns.last_mut() {
        Some(turn) if is_outcomes(turn) => turn.parts.push(part),
        _ => request.turns.push(Turn { role: Role::User, parts: vec![part], name: None }),
    }
}

fn is_outcomes(turn: &Turn<'_>) -> bool {
    let is_outcome = |part: &Part<'_>| matches!(part.content, Content::Outcome(_));
    turn.role == Role::User && !turn.parts.is_empty() && turn.parts.iter().all(is_outcome)
}

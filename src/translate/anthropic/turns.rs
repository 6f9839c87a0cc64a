//! Messages as turns.

use super::super::json::{Many, Raw, Text};
use super::super::loss::Lost;
use super::super::signature::opened;
use super::super::unified::{
    Call, Content, Input, List, Media, Outcome, Part, Place, Request, Role, Signature, Signer, Source, Turn,
};
use super::decode::keep;
use super::{Block, Message, citations, is_on};

/// Reads them.
pub(super) fn read<'a>(messages: Vec<Message<'a>>, request: &mut Request<'a>) {
    for (item, message) in (0..).zip(messages) {
        request.losses.unknown(&format!("messages[{item}]"), message.unknown.iter().map(|name| &**name));
        let role = match message.role.as_deref() {
            Some("assistant") => Role::Model,
            Some("system") => Role::System,
            _ => Role::User,
        };
        let place = |part| Place { list: List::Turns, item, part };
        let parts = match message.content.unwrap_or_default() {
            Many::Text(text) => self::text(text, place(None)),
            Many::List(blocks) => {
                let blocks = (0..).zip(blocks);
                blocks.filter_map(|(at, block)| part(block, place(Some(at)), request)).collect()
            }
        };
        // What one side says in several messages is one turn to Anthropic.
        match request.turns.last_mut() {
            Some(turn) if turn.role == role && role == Role::Model => turn.parts.extend(parts),
            _ => request.turns.push(Turn { role, parts, name: None }),
        }
    }
}

/// A message that is one text.
pub(super) fn text(text: Text<'_>, place: Place) -> Vec<Part<'_>> {
    if text.is_empty() { Vec::new() } else { vec![Part { place, ..Part::text(text) }] }
}

/// A block.
pub(super) fn part<'a>(mut block: Block<'a>, place: Place, request: &mut Request<'a>) -> Option<Part<'a>> {
    let cache = block.cache_control.as_ref().map(keep);
    for name in &block.unknown {
        request.losses.part(place, &format!(".{}", &**name), Lost::Dropped, "not known to the gateway");
    }
    let content = match block.kind.take().as_deref() {
        Some("text") | None => {
            let citations = citations(block.citations.as_ref());
            Content::Text { text: block.text.unwrap_or_default(), citations }
        }
        Some("image") => Content::Image(media(source(block.source))),
        Some("document") => return Some(document(block, cache, place, request)),
        Some("search_result") => search_result(block, place, request),
        Some("thinking") => Content::Reasoning {
            text: block.thinking.unwrap_or_default(),
            signature: block.signature.and_then(|signature| opened(signature, Signer::Anthropic)),
        },
        Some("redacted_thinking") => Content::Reasoning {
            text: Text::default(),
            signature: Some(Signature { signer: Signer::Redacted, data: block.data.unwrap_or_default() }),
        },
        Some("tool_use") => Content::Call(call(block)),
        Some("tool_result") => outcome(block, place, request),
        Some(_) => {
            request.losses.part(place, "", Lost::Dropped, "of one of Anthropic's own tools");
            return None;
        }
    };
    Some(Part { content, cache, place })
}

pub(super) fn call(block: Block<'_>) -> Call<'_> {
    let input = Input::Json(block.input.filter(Raw::is_object).unwrap_or(Raw::known("{}")));
    Call { id: block.id.unwrap_or_default(), name: block.name.unwrap_or_default(), input }
}

fn outcome<'a>(block: Block<'a>, place: Place, request: &mut Request<'a>) -> Content<'a> {
    let id = block.tool_use_id.unwrap_or_default();
    let parts = match block.content.unwrap_or_default() {
        Many::Text(text) => self::text(text, place),
        Many::List(blocks) => blocks.into_iter().filter_map(|block| part(block, place, request)).collect(),
    };
    let calls =
        request.turns.iter().rev().flat_map(|turn| &turn.parts).filter_map(|part| match &part.content {
            Content::Call(call) => Some(call),
            _ => None,
        });
    let name = calls.into_iter().find(|call| call.id == id).map(|call| call.name.clone());
    Content::Outcome(Outcome { id, name, parts, error: block.is_error.unwrap_or(false), free: false })
}

fn source<'a>(of: Option<Many<'a, super::Source<'a>>>) -> super::Source<'a> {
    match of {
        Some(Many::List(list)) => list.into_iter().next().unwrap_or_default(),
        _ => super::Source::default(),
    }
}

fn media(source: super::Source<'_>) -> Media<'_> {
    let mime = source.media_type;
    let from = match source.kind.as_deref() {
        Some("url") => Source::Url(source.url.unwrap_or_default()),
        Some("file") => Source::File(source.file_id.unwrap_or_default()),
        Some("text") => Source::Plain(source.data.unwrap_or_default()),
        _ => Source::Base64(source.data.unwrap_or_default()),
    };
    Media { mime, ..Media::of(from) }
}

fn document<'a>(
    block: Block<'a>,
    cache: Option<super::super::unified::Keep>,
    place: Place,
    request: &mut Request<'a>,
) -> Part<'a> {
    let cited = is_on(block.citations.as_ref(), "enabled");
    let mut source = source(block.source);
    if source.kind.as_deref() == Some("content") {
        request.losses.part(place, ".source", Lost::Approximated, "a document of blocks: as one text");
        let text = plain(source.content.take().unwrap_or_default());
        source = super::Source { kind: Some("text".into()), data: Some(text), ..super::Source::default() };
    }
    let media = Media { name: block.title, ..media(source) };
    let content = Content::Document { media, context: block.context, cited };
    Part { content, cache, place }
}

/// The texts of blocks as one.
fn plain<'a>(content: Many<'a, Block<'a>>) -> Text<'a> {
    match content {
        Many::Text(text) => text,
        Many::List(blocks) => {
            let texts: Vec<String> =
                blocks.into_iter().filter_map(|block| block.text).map(Text::into_string).collect();
            texts.join("\n").into()
        }
    }
}

/// What a search of the client's own found.
fn search_result<'a>(block: Block<'a>, place: Place, request: &mut Request<'a>) -> Content<'a> {
    request.losses.part(place, "", Lost::Approximated, "a search result: as a document");
    let media =
        Media { name: block.title, ..Media::of(Source::Plain(plain(block.content.unwrap_or_default()))) };
    let from = match block.source {
        Some(Many::Text(source)) => Some(format!("Source: {}", &*source).into()),
        _ => None,
    };
    Content::Document { media, context: from, cited: false }
}

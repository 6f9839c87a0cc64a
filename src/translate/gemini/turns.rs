//! Contents as turns.
//!
//! A function's response may name its call by the function alone; so every call gets an id, and a response that of the
//! first call of its function that has none yet.

use super::super::json::{Many, Members, Raw, Text};
use super::super::loss::Lost;
use super::super::media::by_kind;
use super::super::signature::opened_with;
use super::super::unified::{
    Call, Content, Input, List, Media, Outcome, Part, Place, Request, Role, Signer, Source, Turn,
};
use super::{Blob, ContentOf, FunctionResponse, Piece, UNSIGNED};
use std::collections::{HashMap, HashSet, VecDeque};

/// Reads them.
pub(super) fn read<'a>(contents: Many<'a, ContentOf<'a>>, request: &mut Request<'a>) {
    let contents = match contents {
        Many::List(contents) => contents,
        Many::Text(text) => {
            let piece = Piece { text: Some(text), ..Piece::default() };
            vec![ContentOf { parts: Some(Many::List(vec![piece])), ..ContentOf::default() }]
        }
    };
    let mut ids = Ids::default();
    for (item, content) in (0..).zip(contents) {
        let role = if content.role.as_deref() == Some("model") { Role::Model } else { Role::User };
        let mut parts = Vec::new();
        for (at, mut piece) in (0..).zip(pieces(content.parts)) {
            ids.give(&mut piece);
            let place = Place { list: List::Turns, item, part: Some(at) };
            add(piece, place, &mut parts, request);
        }
        match request.turns.last_mut() {
            Some(turn) if turn.role == role && role == Role::Model => turn.parts.extend(parts),
            _ => request.turns.push(Turn { role, parts, name: None }),
        }
    }
}

/// Ids of calls that have none.
#[derive(Debug, Default)]
struct Ids {
    given: usize,
    /// By function, the ids of the calls in their order.
    open: HashMap<String, VecDeque<String>>,
    /// Those whose response named them.
    answered: HashSet<String>,
}

impl Ids {
    fn give(&mut self, piece: &mut Piece<'_>) {
        if let Some(call) = &mut piece.call {
            let id = call.id.get_or_insert_with(|| {
                self.given += 1;
                format!("call_{}", self.given).into()
            });
            let name = call.name.as_deref().unwrap_or_default().to_owned();
            self.open.entry(name).or_default().push_back((**id).to_owned());
        }
        let Some(response) = &mut piece.response else { return };
        if let Some(id) = &response.id {
            self.answered.insert((**id).to_owned());
            return;
        }
        let name = response.name.as_deref().unwrap_or_default();
        let mut found = None;
        while let Some(id) = self.open.get_mut(name).and_then(VecDeque::pop_front) {
            if !self.answered.contains(&id) {
                found = Some(id);
                break;
            }
        }
        response.id = Some(found.unwrap_or_else(|| name.to_owned()).into());
    }
}

pub(super) fn pieces<'a>(parts: Option<Many<'a, Piece<'a>>>) -> Vec<Piece<'a>> {
    match parts {
        None => Vec::new(),
        Some(Many::List(pieces)) => pieces,
        Some(Many::Text(text)) => vec![Piece { text: Some(text), ..Piece::default() }],
    }
}

/// Adds a part to those before it. A signature goes before what it is the signature of; where thoughts stand there,
/// it is theirs.
pub(super) fn add<'a>(piece: Piece<'a>, place: Place, parts: &mut Vec<Part<'a>>, request: &mut Request<'a>) {
    for name in &piece.unknown {
        request.losses.part(place, &format!(".{}", &**name), Lost::Dropped, "not known to the gateway");
    }
    let is_own = piece.code.is_some() || piece.result.is_some();
    let is_known = is_own || piece.text.is_some() || piece.call.is_some() || piece.response.is_some();
    if is_own || !(is_known || piece.inline.is_some() || piece.file.is_some()) {
        request.losses.part(place, "", Lost::Dropped, "of one of Google's own tools");
        return;
    }
    read_into(piece, place, parts);
}

/// A part of a request or an answer.
pub(super) fn read_into<'a>(mut piece: Piece<'a>, place: Place, parts: &mut Vec<Part<'a>>) {
    let signature = piece.signature.take().filter(|of| &**of != UNSIGNED);
    let signature = signature.and_then(|of| opened_with(of, Signer::Gemini));
    let is_thought = piece.thought == Some(true);
    if let Some((signature, brought)) = signature {
        match parts.last_mut().map(|part| &mut part.content) {
            Some(Content::Reasoning { text, signature: of @ None }) if !is_thought => {
                *of = Some(signature);
                if !brought.is_empty() {
                    *text = brought;
                }
            }
            _ if is_thought => {
                let text = piece.text.take().unwrap_or_default();
                let content = Content::Reasoning { text, signature: Some(signature) };
                parts.push(Part { place, ..Part::new(content) });
                return;
            }
            _ => {
                let content = Content::Reasoning { text: brought, signature: Some(signature) };
                parts.push(Part { place, ..Part::new(content) });
            }
        }
    }
    // Thoughts that came in several pieces are one: what is signed is all of them.
    if let (true, Some(more)) = (is_thought, &piece.text)
        && let Some(Content::Reasoning { text, signature: None }) =
            parts.last_mut().map(|part| &mut part.content)
    {
        text.push(more);
        return;
    }
    if let Some(content) = content(piece, is_thought) {
        parts.push(Part { place, ..Part::new(content) });
    }
}

fn content(piece: Piece<'_>, is_thought: bool) -> Option<Content<'_>> {
    if let Some(text) = piece.text {
        if text.is_empty() {
            return None;
        }
        return Some(if is_thought {
            Content::Reasoning { text, signature: None }
        } else {
            Content::Text { text, citations: Vec::new() }
        });
    }
    if let Some(of) = piece.call {
        let input = Input::Json(of.args.filter(Raw::is_object).unwrap_or(Raw::known("{}")));
        return Some(Content::Call(Call {
            id: of.id.unwrap_or_default(),
            name: of.name.unwrap_or_default(),
            input,
        }));
    }
    if let Some(of) = piece.response {
        return Some(Content::Outcome(outcome(of)));
    }
    piece.inline.or(piece.file).map(|blob| by_kind(media(blob)))
}

fn media(blob: Blob<'_>) -> Media<'_> {
    let source = match (blob.data, blob.uri) {
        (Some(data), _) => Source::Base64(data),
        (None, Some(uri)) if is_public(&uri) => Source::Url(uri),
        (None, uri) => Source::File(uri.unwrap_or_default()),
    };
    Media { source, mime: blob.mime, name: blob.name, detail: None }
}

/// Google's own files are read by Google alone.
fn is_public(uri: &str) -> bool {
    let is_web = uri.starts_with("https://") || uri.starts_with("http://");
    is_web && !uri.contains("generativelanguage.googleapis.com/")
}

/// What a function gave back: `output`, `result` or `error`, or anything.
fn outcome(of: FunctionResponse<'_>) -> Outcome<'_> {
    let mut parts = Vec::new();
    let mut error = false;
    if let Some(response) = &of.response {
        let members = Members::of(response);
        let only = match &*members.0 {
            [(key, value)] if matches!(&**key, "output" | "result" | "content" | "error") => {
                error = &**key == "error";
                Some(value)
            }
            _ => None,
        };
        let shown = only.map_or(response.json(), Raw::json);
        let text = only.and_then(Raw::text).map(Text::into_string);
        let text = text.unwrap_or_else(|| if shown == "{}" { String::new() } else { shown.to_owned() });
        if !text.is_empty() {
            parts.push(Part::text(text));
        }
    }
    for piece in of.parts.into_iter().flatten() {
        parts.extend(content(piece, false).map(Part::new));
    }
    Outcome { id: of.id.unwrap_or_default(), name: of.name, parts, error, free: false }
}

//! A chat completion written in the words of responses, wholly or as far as its tools go.
//!
//! Cursor sends such, and expects every call of a tool as one of a function: of a tool that takes free text, with the text
//! itself as the `arguments`, and sends it back so (github.com/BerriAI/litellm/pull/34029,
//! github.com/icebear0828/codex-proxy/pull/708). Read here, it is a request like any other.
//! Invariant: tools may be spelled either way, one by one; a call of a tool that takes free text has free text.

use super::super::free::unwrapped;
use super::super::json::{Raw, Text, message};
use super::super::unified::{Call, Content, FreeCalls, Input, Protocol, Request, Tool, ToolKind};
use super::super::{responses, unreadable, words};
use super::{Custom, Function, StreamOptions, decode};
use crate::protocol::inspect::Wording;
use crate::refusal::Refusal;

message! {
    Spelled {
        tools: Vec<AnyTool<'a>>,
        stream_options: StreamOptions<'a>,
    }
}

message! {
    AnyTool {
        kind["type"]: Text<'a>,
        name: Text<'a>,
        description: Text<'a>,
        parameters: Raw<'a>,
        strict: bool,
        format: Raw<'a>,
        function: Function<'a>,
        custom: Custom<'a>,
    }
}

/// Reads it.
pub(in crate::translate) fn request(body: &[u8], wording: Wording) -> Result<Request<'_>, Refusal> {
    let spelled: Spelled<'_> = serde_json::from_slice(body).map_err(|error| unreadable(&error))?;
    let mut request = if wording == Wording::Responses {
        let request = responses::decode::request(body)?;
        let asked = spelled.stream_options.and_then(|options| options.include_usage);
        Request { source: Protocol::Chat, stream_usage: asked.unwrap_or(false), ..request }
    } else {
        decode::request(body)?
    };
    for (at, written) in spelled.tools.into_iter().flatten().enumerate() {
        if let (Some(known), Some(tool)) = (request.tools.get_mut(at), tool(written)) {
            *known = tool;
        }
    }
    let free: Vec<String> =
        request.tools.iter().filter(|tool| is_free(tool)).map(|tool| (*tool.name).to_owned()).collect();
    for part in request.turns.iter_mut().flat_map(|turn| &mut turn.parts) {
        if let Content::Call(call) = &mut part.content
            && free.iter().any(|name| **name == *call.name)
        {
            set_free(call);
        }
    }
    request.free_calls = FreeCalls::Function;
    Ok(request)
}

fn is_free(tool: &Tool<'_>) -> bool {
    matches!(tool.kind, ToolKind::Free { .. })
}

/// A function or a tool of free text, in either spelling; others are read right already.
fn tool(of: AnyTool<'_>) -> Option<Tool<'_>> {
    let (kind, cache) = (of.kind.unwrap_or_default(), None);
    match (&*kind, of.function, of.custom) {
        ("function", Some(function), _) => Some(decode::function(function)),
        ("custom", _, Some(custom)) => {
            let kind = ToolKind::Free { grammar: custom.format };
            Some(Tool { name: custom.name.unwrap_or_default(), description: custom.description, kind, cache })
        }
        ("function", None, _) => {
            let parameters = of.parameters.filter(|schema| !words::takes_nothing(schema));
            let kind = ToolKind::Function { parameters, strict: of.strict };
            Some(Tool { name: of.name?, description: of.description, kind, cache })
        }
        ("custom", _, None) => {
            let kind = ToolKind::Free { grammar: of.format };
            Some(Tool { name: of.name?, description: of.description, kind, cache })
        }
        _ => None,
    }
}

/// The text comes as it was sent, or as the `input` of a function.
fn set_free(call: &mut Call<'_>) {
    let text = match std::mem::replace(&mut call.input, Input::Json(Raw::known("{}"))) {
        Input::Text { text, .. } => text,
        Input::Json(raw) => unwrapped(Text::from(raw.cow().into_owned())),
    };
    call.input = Input::Text { text, free: true };
}

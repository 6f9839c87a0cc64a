//! What the writers of requests ask of a conversation.

use super::json::{Members, Object, Raw, Text, object};
use super::loss::{Field, Losses};
use super::unified::{Choice, Content, Format, Part, Protocol, Request, Role, Source, Tool, ToolKind, Turn};
use bytes::BytesMut;
use std::borrow::Cow;
use std::collections::HashSet;

/// The texts of parts, in their order; what is empty is left out.
pub(super) fn texts<'p>(parts: &'p [Part<'_>]) -> impl Iterator<Item = &'p str> {
    let text = |part: &'p Part<'_>| match &part.content {
        Content::Text { text, .. } | Content::Refusal(text) => Some(&**text),
        Content::Document { media, .. } => match &media.source {
            Source::Plain(text) => Some(&**text),
            _ => None,
        },
        _ => None,
    };
    parts.iter().filter_map(text).filter(|text| !text.is_empty())
}

/// Whether [`texts`] has it.
pub(super) fn is_text(part: &Part<'_>) -> bool {
    match &part.content {
        Content::Text { .. } | Content::Refusal(_) => true,
        Content::Document { media, .. } => matches!(media.source, Source::Plain(_)),
        _ => false,
    }
}

/// The first turn of the round of tools under way: the turns after the user's last words.
pub(super) fn thoughts_from(turns: &[Turn<'_>]) -> usize {
    let speaks = |turn: &Turn<'_>| {
        turn.role == Role::User && turn.parts.iter().any(|part| !matches!(part.content, Content::Outcome(_)))
    };
    turns.iter().rposition(speaks).map_or(0, |last| last + 1)
}

/// Free text as the input of a function.
pub(super) fn as_input(text: &str) -> String {
    let mut out = BytesMut::new();
    object(&mut out, |input: &mut Object<'_>| {
        input.text(FREE_INPUT_NAME, text);
    });
    String::from_utf8_lossy(&out).into_owned()
}

/// The parameter that stands for free text.
pub(super) const FREE_INPUT_NAME: &str = "input";
/// The schema of a tool that takes free text.
pub(super) const FREE_INPUT: Raw<'static> = Raw::known(
    "{\"type\":\"object\",\"properties\":{\"input\":{\"type\":\"string\"}},\"required\":[\"input\"],\
     \"additionalProperties\":false}",
);

/// The tools that are functions, or can be; of those, the ones that may be used. The others are lost, but for a search
/// of the web, which every writer sees to by itself.
pub(super) fn tools<'r, 'a>(request: &'r Request<'a>, losses: &mut Losses) -> Vec<&'r Tool<'a>> {
    let mut kept = Vec::with_capacity(request.tools.len());
    let allowed = allowed(request);
    for (at, tool) in request.tools.iter().enumerate() {
        match &tool.kind {
            ToolKind::Own => {
                losses.dropped(
                    format!("{}[{at}]", Field::Tools.spelled(request.source)),
                    "a provider's own tool",
                );
                continue;
            }
            ToolKind::Search(_) => continue,
            ToolKind::Free { grammar } => {
                let why =
                    if grammar.is_some() { "as a function; its grammar is lost" } else { "as a function" };
                losses.approximated(format!("tools[{at}]"), why);
            }
            ToolKind::Function { strict: Some(true), .. } if request.source != Protocol::Responses => {
                losses.approximated(
                    format!("tools[{at}].strict"),
                    "held to as well as the model does by itself",
                );
            }
            ToolKind::Function { .. } => {}
        }
        if allowed.as_ref().is_none_or(|names| names.contains(&*tool.name)) {
            kept.push(tool);
        }
    }
    kept
}

/// Where only some tools may be used, only those are sent.
pub(super) fn allowed<'r>(request: &'r Request<'_>) -> Option<HashSet<&'r str>> {
    match &request.choice {
        Some(Choice::Among { names, .. }) => Some(names.iter().map(|name| &**name).collect()),
        _ => None,
    }
}

/// The choice among the tools that are sent.
pub(super) fn choice<'a>(request: &Request<'a>) -> Option<Choice<'a>> {
    match &request.choice {
        Some(Choice::Among { required: false, .. }) => Some(Choice::Auto),
        Some(Choice::Among { required: true, .. }) => Some(Choice::Required),
        other => other.clone(),
    }
}

/// What a tool is for; one that takes text of a grammar tells it there.
pub(super) fn description<'t>(tool: &'t Tool<'_>) -> Option<Cow<'t, str>> {
    let said = tool.description.as_deref();
    let ToolKind::Free { grammar: Some(grammar) } = &tool.kind else { return said.map(Cow::Borrowed) };
    let members = Members::of(grammar);
    // Chat completions has the grammar in an object of its own.
    let inner = members.find("grammar").map(Members::of);
    let of = inner.as_ref().unwrap_or(&members);
    let text = |name: &str| of.find(name).and_then(Raw::text).map(Text::into_string);
    let Some(definition) = text("definition") else { return said.map(Cow::Borrowed) };
    let syntax = text("syntax").unwrap_or_default();
    let (said, gap) = (said.unwrap_or_default(), if said.is_some() { "\n\n" } else { "" });
    Some(Cow::Owned(format!("{said}{gap}The input is a text of this {syntax} grammar:\n{definition}")))
}

/// Whether the model must call a tool.
pub(super) fn is_forced(request: &Request<'_>) -> bool {
    matches!(request.choice, Some(Choice::Required | Choice::Named(_) | Choice::Among { required: true, .. }))
}

/// The words that ask for JSON where a protocol or a model has no setting for it.
pub(super) fn asked_for_json(format: &Format<'_>) -> Option<String> {
    match format {
        Format::Text => None,
        Format::Json => Some("Answer with one JSON object and nothing else.".to_owned()),
        Format::Schema { schema, .. } => Some(format!(
            "Answer with JSON that matches this JSON schema, and nothing else:\n{}",
            schema.json()
        )),
    }
}

//! A request of Anthropic's messages, read.

use super::super::json::{Many, Text};
use super::super::unified::{
    Choice, Format, Keep, List, Place, Protocol, Reasoning, Request, Role, Sampling, Search, Show, Thinking,
    Tier, Tool, ToolKind, Turn,
};
use super::super::{search, unreadable, words};
use super::{Body, CacheControl, ToolChoice, ToolDef, turns};
use crate::refusal::Refusal;

/// Reads it.
pub(in crate::translate) fn request(body: &[u8]) -> Result<Request<'_>, Refusal> {
    let mut body: Body<'_> = serde_json::from_slice(body).map_err(|error| unreadable(&error))?;
    let mut request = Request::new(Protocol::Anthropic);
    request.losses.unknown("", body.unknown.iter().map(|name| &**name));
    request.model = body.model.take().unwrap_or_default();
    system(body.system.take(), &mut request);
    turns::read(body.messages.take().unwrap_or_default(), &mut request);
    let defs = body.tools.take().unwrap_or_default();
    for (at, def) in defs.iter().enumerate().filter(|(_, def)| is_function(def)) {
        request.losses.unknown(&format!("tools[{at}]"), def.unknown.iter().map(|name| &**name));
    }
    request.tools = defs.into_iter().map(tool).collect();
    if let Some(of) = body.tool_choice.take() {
        request.parallel = of.disable_parallel_tool_use.map(|disabled| !disabled);
        request.choice = choice(of);
    }
    let output = body.output_config.take().unwrap_or_default();
    if let Some(schema) = output.format.or(body.output_format.take()).and_then(|format| format.schema) {
        request.format = Format::Schema { name: None, description: None, schema, strict: Some(true) };
    }
    request.reasoning = reasoning(&body, output.effort.as_deref());
    request.sampling = Sampling {
        temperature: body.temperature,
        top_p: body.top_p,
        top_k: body.top_k,
        ..Sampling::default()
    };
    request.stops = body.stop_sequences.take().unwrap_or_default();
    request.max_tokens = body.max_tokens;
    request.stream = body.stream.unwrap_or(false);
    request.stream_usage = true;
    request.user = body.metadata.take().and_then(|of| of.user_id);
    request.tier = body.service_tier.as_deref().and_then(tier);
    request.cache.keep = body.cache_control.take().map(|of| keep(&of));
    Ok(request)
}

fn tier(word: &str) -> Option<Tier> {
    match word {
        "auto" => Some(Tier::Auto),
        "standard_only" => Some(Tier::Standard),
        _ => None,
    }
}

pub(super) fn keep(of: &CacheControl<'_>) -> Keep {
    if of.ttl.as_deref() == Some("1h") { Keep::Hour } else { Keep::Minutes }
}

fn system<'a>(system: Option<Many<'a, super::Block<'a>>>, request: &mut Request<'a>) {
    let place = |at| Place { list: List::Instructions, item: 0, part: at };
    let parts = match system {
        None => return,
        Some(Many::Text(text)) if text.is_empty() => return,
        Some(Many::Text(text)) => turns::text(text, place(None)),
        Some(Many::List(blocks)) => {
            let blocks = (0..).zip(blocks);
            blocks.filter_map(|(at, block)| turns::part(block, place(Some(at)), request)).collect()
        }
    };
    if !parts.is_empty() {
        request.turns.push(Turn { role: Role::System, parts, name: None });
    }
}

fn is_function(def: &ToolDef<'_>) -> bool {
    def.kind.as_deref().is_none_or(|kind| kind == "custom")
}

fn tool(def: ToolDef<'_>) -> Tool<'_> {
    let cache = def.cache_control.as_ref().map(keep);
    match def.kind {
        Some(kind) if kind.starts_with("web_search_20") => search::tool(Search {
            allowed: def.allowed_domains.unwrap_or_default(),
            blocked: def.blocked_domains.unwrap_or_default(),
            uses: def.max_uses,
            size: None,
            place: search::place(def.user_location),
        }),
        Some(kind) if &*kind != "custom" => {
            Tool { name: def.name.unwrap_or(kind), description: None, kind: ToolKind::Own, cache }
        }
        _ => Tool {
            name: def.name.unwrap_or_default(),
            description: def.description,
            kind: ToolKind::Function {
                parameters: def.input_schema.filter(|schema| !words::takes_nothing(schema)),
                strict: def.strict,
            },
            cache,
        },
    }
}

fn choice(of: ToolChoice<'_>) -> Option<Choice<'_>> {
    Some(match (of.kind.as_deref()?, of.name) {
        ("auto", _) => Choice::Auto,
        ("none", _) => Choice::None,
        ("any", _) => Choice::Required,
        ("tool", name) => Choice::Named(name.unwrap_or_else(|| Text::from(""))),
        _ => return None,
    })
}

fn reasoning(body: &Body<'_>, effort: Option<&str>) -> Reasoning {
    let of = body.thinking.as_ref();
    let thinking = of.and_then(|of| match of.kind.as_deref()? {
        "disabled" => Some(Thinking::Off),
        "adaptive" => Some(Thinking::Adaptive),
        "enabled" => Some(Thinking::Budget(of.budget_tokens.unwrap_or(1024))),
        _ => None,
    });
    let show = of.and_then(|of| match of.display.as_deref()? {
        "omitted" => Some(Show::Nothing),
        "summarized" => Some(Show::Auto),
        _ => None,
    });
    Reasoning { thinking, effort: effort.and_then(words::effort), show }
}

//! A request of generateContent, read. The model and whether it streams are in its address.

use super::super::json::{Many, Members, Raw, Text};
use super::super::unified::{
    Choice, Effort, Format, List, Logprobs, Need, Place, Protocol, Reasoning, Request, Role, Sampling,
    Search, Show, Thinking, Tier, Tool, ToolKind, Turn,
};
use super::super::{Asked, search, unreadable, words};
use super::{Body, Calling, Config, Declaration, ThinkingConfig, ToolSet, turns};
use crate::refusal::Refusal;

/// Reads it.
pub(in crate::translate) fn request<'a>(body: &'a [u8], asked: &Asked<'a>) -> Result<Request<'a>, Refusal> {
    let mut body: Body<'_> = serde_json::from_slice(body).map_err(|error| unreadable(&error))?;
    let mut request = Request::new(Protocol::Gemini);
    request.losses.unknown("", body.unknown.iter().map(|name| &**name));
    request.model = asked.model.into();
    request.stream = asked.stream;
    request.stream_usage = true;
    if let Some(system) = body.system.take() {
        let place = |part| Place { list: List::Instructions, item: 0, part: Some(part) };
        let pieces = match system {
            Many::List(contents) => {
                contents.into_iter().flat_map(|content| turns::pieces(content.parts)).collect()
            }
            Many::Text(text) => turns::pieces(Some(Many::Text(text))),
        };
        let mut parts = Vec::new();
        for (at, piece) in (0..).zip(pieces) {
            turns::add(piece, place(at), &mut parts, &mut request);
        }
        if !parts.is_empty() {
            request.turns.push(Turn { role: Role::System, parts, name: None });
        }
    }
    turns::read(body.contents.take().unwrap_or_default(), &mut request);
    tools(body.tools.take().unwrap_or_default(), &mut request);
    request.choice = body.tool_config.take().and_then(|config| config.calling).and_then(choice);
    request.metadata = words::metadata(body.labels.take());
    request.tier = body.tier.as_deref().and_then(tier);
    if body.cached.is_some() {
        request.needs.push(Need::CachedContent);
    }
    if body.store == Some(true) {
        request.losses.dropped("store", "nothing is kept");
    }
    config(body.config.take().unwrap_or_default(), &mut request);
    Ok(request)
}

fn tier(word: &str) -> Option<Tier> {
    Some(match word.to_ascii_lowercase().as_str() {
        "standard" => Tier::Standard,
        "flex" => Tier::Flex,
        "priority" => Tier::Priority,
        _ => return None,
    })
}

fn tools<'a>(sets: Many<'a, ToolSet<'a>>, request: &mut Request<'a>) {
    let Many::List(sets) = sets else { return };
    for set in sets {
        request.tools.extend(set.functions.into_iter().flatten().map(function));
        if let Some(of) = set.search.or(set.retrieval) {
            request.tools.push(search::tool(searched(&of)));
        }
        for own in set.unknown {
            request.tools.push(Tool { name: own, description: None, kind: ToolKind::Own, cache: None });
        }
    }
}

/// Vertex AI takes domains to leave out.
fn searched(of: &Raw<'_>) -> Search<'static> {
    let members = Members::of(of);
    let blocked = members.find("excludeDomains").or(members.find("exclude_domains"));
    let blocked: Vec<Text<'_>> = blocked.and_then(Raw::read).unwrap_or_default();
    Search { blocked: blocked.into_iter().map(Text::into_owned).collect(), ..Search::default() }
}

fn function(of: Declaration<'_>) -> Tool<'_> {
    let parameters =
        of.json_schema.or(of.parameters.map(|schema| super::super::schema::from_google(&schema)));
    Tool {
        name: of.name.unwrap_or_default(),
        description: of.description,
        kind: ToolKind::Function {
            parameters: parameters.filter(|schema| !words::takes_nothing(schema)),
            strict: None,
        },
        cache: None,
    }
}

fn choice(of: Calling<'_>) -> Option<Choice<'_>> {
    let names = of.allowed.unwrap_or_default();
    Some(match (of.mode.as_deref().unwrap_or("AUTO"), names.len()) {
        ("ANY" | "any", 0) => Choice::Required,
        ("ANY" | "any", 1) => Choice::Named(names.into_iter().next()?),
        ("ANY" | "any", _) => Choice::Among { names, required: true },
        ("NONE" | "none", _) => Choice::None,
        (_, 0) => Choice::Auto,
        _ => Choice::Among { names, required: false },
    })
}

fn config<'a>(of: Config<'a>, request: &mut Request<'a>) {
    request.losses.unknown("generationConfig", of.unknown.iter().map(|name| &**name));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, which saturates")]
    let top_k = of.top_k.map(|top_k| top_k as u64);
    request.sampling = Sampling {
        temperature: of.temperature,
        top_p: of.top_p,
        top_k,
        frequency_penalty: of.frequency_penalty,
        presence_penalty: of.presence_penalty,
        seed: of.seed,
        logit_bias: None,
    };
    request.max_tokens = of.max_tokens;
    request.stops = of.stops.unwrap_or_default();
    request.logprobs = of.told.unwrap_or(false).then_some(Logprobs { top: of.logprobs });
    if of.candidates.is_some_and(|candidates| candidates > 1) {
        request.needs.push(Need::Answers);
    }
    let is_text = |word: &str| word.eq_ignore_ascii_case("text");
    if of.modalities.iter().flatten().any(|modality| !is_text(modality)) {
        request.needs.push(Need::Media);
    }
    let schema = of.json_schema.or(of.schema.map(|schema| super::super::schema::from_google(&schema)));
    request.format = format(of.mime.as_deref(), schema);
    request.reasoning = of.thinking.map(|of| thinking(&of)).unwrap_or_default();
}

fn format<'a>(mime: Option<&str>, schema: Option<Raw<'a>>) -> Format<'a> {
    match (mime, schema) {
        (_, Some(schema)) => Format::Schema { name: None, description: None, schema, strict: Some(true) },
        (Some("application/json"), None) => Format::Json,
        _ => Format::Text,
    }
}

fn thinking(of: &ThinkingConfig<'_>) -> Reasoning {
    let thinking = of.budget.map(|tokens| match u64::try_from(tokens) {
        Ok(0) => Thinking::Off,
        Ok(tokens) => Thinking::Budget(tokens),
        Err(_) => Thinking::Adaptive,
    });
    let effort = of.level.as_deref().and_then(|level| match level.to_ascii_lowercase().as_str() {
        "minimal" => Some(Effort::Minimal),
        "low" => Some(Effort::Low),
        "medium" => Some(Effort::Medium),
        "high" => Some(Effort::High),
        "xhigh" => Some(Effort::XHigh),
        _ => None,
    });
    let show = of.show.map(|show| if show { Show::Auto } else { Show::Nothing });
    Reasoning { thinking, effort, show }
}

//! A request of chat completions, read.

use super::super::json::{Members, Raw, Text};
use super::super::unified::{
    Choice, Format, Keep, Logprobs, Need, Protocol, Request, Sampling, Search, Tier, Tool, ToolKind,
};
use super::super::{search, unreadable, words};
use super::{Body, Custom, Function, ResponseFormat, ToolDef, turns};
use crate::refusal::Refusal;

/// Reads it.
pub(in crate::translate) fn request(body: &[u8]) -> Result<Request<'_>, Refusal> {
    let mut body: Body<'_> = serde_json::from_slice(body).map_err(|error| unreadable(&error))?;
    let mut request = Request::new(Protocol::Chat);
    request.losses.unknown("", body.unknown.iter().map(|name| &**name));
    request.model = body.model.take().unwrap_or_default();
    turns::read(body.messages.take().unwrap_or_default(), &mut request);
    tools(&mut body, &mut request);
    request.format = format(body.response_format.take());
    request.verbosity = body.verbosity.as_deref().and_then(words::verbosity);
    request.reasoning = words::effort_or_off(body.reasoning_effort.as_deref());
    request.sampling = Sampling {
        temperature: body.temperature,
        top_p: body.top_p,
        top_k: body.top_k,
        frequency_penalty: body.frequency_penalty,
        presence_penalty: body.presence_penalty,
        seed: body.seed,
        logit_bias: body.logit_bias.take().filter(Raw::is_object),
    };
    request.stops = words::list(body.stop.take());
    request.max_tokens = body.max_completion_tokens.or(body.max_tokens);
    let told = body.logprobs.unwrap_or(false);
    request.logprobs = told.then_some(Logprobs { top: body.top_logprobs });
    request.stream = body.stream.unwrap_or(false);
    request.stream_usage =
        body.stream_options.as_ref().and_then(|options| options.include_usage).unwrap_or(false);
    request.user = body.safety_identifier.take().or(body.user.take());
    request.metadata = words::metadata(body.metadata.take());
    request.tier = body.service_tier.as_deref().and_then(tier);
    request.cache.key = body.prompt_cache_key.take();
    request.cache.keep = body.prompt_cache_retention.as_deref().map(keep);
    rest(&body, &mut request);
    Ok(request)
}

fn rest(body: &Body<'_>, request: &mut Request<'_>) {
    if body.store == Some(true) {
        request.losses.dropped("store", "nothing is kept");
    }
    if body.n.is_some_and(|n| n > 1) {
        request.needs.push(Need::Answers);
    }
    if body.modalities.iter().flatten().any(|modality| &**modality != "text") {
        request.needs.push(Need::Media);
    }
}

fn keep(retention: &str) -> Keep {
    if retention == "24h" { Keep::Hour } else { Keep::Minutes }
}

pub(in crate::translate) fn tier(word: &str) -> Option<Tier> {
    Some(match word {
        "auto" => Tier::Auto,
        "default" => Tier::Standard,
        "flex" => Tier::Flex,
        "priority" | "fast" | "scale" | "ultrafast" => Tier::Priority,
        _ => return None,
    })
}

fn tools<'a>(body: &mut Body<'a>, request: &mut Request<'a>) {
    let defs = body.tools.take().unwrap_or_default();
    request.tools = defs.into_iter().map(tool).collect();
    request.tools.extend(body.functions.take().unwrap_or_default().into_iter().map(function));
    if let Some(of) = body.web_search_options.take() {
        let (size, place) = (of.search_context_size, search::place(of.user_location));
        request.tools.push(search::tool(Search { size, place, ..Search::default() }));
    }
    request.choice = body.tool_choice.as_ref().or(body.function_call.as_ref()).and_then(choice);
    request.parallel = body.parallel_tool_calls;
}

fn tool(def: ToolDef<'_>) -> Tool<'_> {
    match (def.function, def.custom) {
        (Some(of), _) => function(of),
        (None, Some(of)) => custom(of),
        (None, None) => {
            Tool { name: def.kind.unwrap_or_default(), description: None, kind: ToolKind::Own, cache: None }
        }
    }
}

pub(super) fn function(of: Function<'_>) -> Tool<'_> {
    Tool {
        name: of.name.unwrap_or_default(),
        description: of.description,
        kind: ToolKind::Function {
            parameters: of.parameters.filter(|schema| !words::takes_nothing(schema)),
            strict: of.strict,
        },
        cache: None,
    }
}

fn custom(of: Custom<'_>) -> Tool<'_> {
    Tool {
        name: of.name.unwrap_or_default(),
        description: of.description,
        kind: ToolKind::Free { grammar: of.format },
        cache: None,
    }
}

/// A word, or an object of the kinds `function`, `custom` and `allowed_tools`, or the old `{"name"}`.
fn choice<'a>(raw: &Raw<'a>) -> Option<Choice<'a>> {
    if let Some(word) = raw.text() {
        return words::choice(&word);
    }
    let members = Members::of(raw);
    let name = |object: &Raw<'_>| Members::of(object).find("name").and_then(Raw::text).map(Text::into_owned);
    if let Some(allowed) = members.find("allowed_tools") {
        let allowed = Members::of(allowed);
        let tools: Vec<Raw<'_>> = allowed.find("tools").and_then(Raw::read).unwrap_or_default();
        let names = tools.iter().filter_map(|tool| {
            let members = Members::of(tool);
            members.find("function").or(members.find("custom")).and_then(name)
        });
        let required = allowed.find("mode").and_then(Raw::text).as_deref() == Some("required");
        return Some(Choice::Among { names: names.collect(), required });
    }
    let named = members.find("function").or(members.find("custom"));
    named.and_then(name).or_else(|| name(raw)).map(Choice::Named)
}

fn format(of: Option<ResponseFormat<'_>>) -> Format<'_> {
    let Some(of) = of else { return Format::Text };
    match (of.kind.as_deref(), of.json_schema) {
        (Some("json_object"), _) | (Some("json_schema"), None) => Format::Json,
        (Some("json_schema"), Some(schema)) => Format::Schema {
            name: schema.name,
            description: schema.description,
            schema: schema.schema.unwrap_or(Raw::known("{}")),
            strict: schema.strict,
        },
        _ => Format::Text,
    }
}

//! A request of generateContent, written.

use super::super::json::{Object, Raw, object};
use super::super::loss::{Field, Losses, Lost};
use super::super::names::tool_name;
use super::super::unified::{
    Choice, Effort, Format, Protocol, Request, Role, Show, Thinking, Tier, ToolKind, Turn,
};
use super::super::{Target, prompt, schema, search, words};
use super::{contents, has_levels};
use bytes::BytesMut;

/// Writes it.
pub(in crate::translate) fn request(
    request: &Request<'_>,
    target: &Target<'_>,
    losses: &mut Losses,
    out: &mut BytesMut,
) {
    object(out, |body| {
        conversation(request, target, body, losses);
        config(request, target, body, losses);
        labels(request, body);
        lost(request, losses);
    });
}

/// What the body of a request to count tokens has.
pub(in crate::translate) fn count(
    request: &Request<'_>,
    target: &Target<'_>,
    losses: &mut Losses,
    out: &mut BytesMut,
) {
    object(out, |body| {
        body.object("generateContentRequest", |inner| {
            inner.pieces("model", &["models/", target.model]);
            conversation(request, target, inner, losses);
        });
    });
}

fn conversation(request: &Request<'_>, target: &Target<'_>, body: &mut Object<'_>, losses: &mut Losses) {
    let is_system = |turn: &Turn<'_>| matches!(turn.role, Role::System | Role::Developer);
    let leading = request.turns.iter().take_while(|turn| is_system(turn)).count();
    let (system, rest) = request.turns.split_at(leading);
    let texts: Vec<&str> = system.iter().flat_map(|turn| prompt::texts(&turn.parts)).collect();
    if !texts.is_empty() {
        body.object("systemInstruction", |of| {
            of.array("parts", |parts| {
                for text in texts {
                    parts.object(|part| {
                        part.text("text", text);
                    });
                }
            });
        });
    }
    body.array("contents", |list| contents::write(rest, target.model, list, losses));
    tools(request, body, losses);
}

fn tools(request: &Request<'_>, body: &mut Object<'_>, losses: &mut Losses) {
    let tools = prompt::tools(request, losses);
    if search::gemini(request, !tools.is_empty(), losses) {
        body.array("tools", |sets| {
            sets.object(|set| {
                set.object("googleSearch", |_| {});
            });
        });
    }
    if tools.is_empty() {
        return;
    }
    body.array("tools", |sets| {
        sets.object(|set| {
            set.array("functionDeclarations", |list| {
                for tool in tools {
                    list.object(|of| {
                        of.text("name", &tool_name(&tool.name, Protocol::Gemini));
                        of.some("description", prompt::description(tool).as_deref());
                        match &tool.kind {
                            ToolKind::Function { parameters: Some(parameters), .. } => {
                                let field = format!("tools.{}.parameters", &*tool.name);
                                of.value("parameters", |out| schema::google(parameters, &field, losses, out));
                            }
                            ToolKind::Free { .. } => {
                                let mut none = Losses::new(Protocol::Gemini);
                                of.value("parameters", |out| {
                                    schema::google(&prompt::FREE_INPUT, "", &mut none, out);
                                });
                            }
                            _ => {}
                        }
                    });
                }
            });
        });
    });
    if request.parallel == Some(false) {
        losses.field(Field::Parallel, Lost::Dropped, "Gemini may call several");
    }
    let Some(choice) = prompt::choice(request) else { return };
    body.object("toolConfig", |config| {
        config.object("functionCallingConfig", |of| match &choice {
            Choice::Auto => {
                of.text("mode", "AUTO");
            }
            Choice::None => {
                of.text("mode", "NONE");
            }
            Choice::Required | Choice::Among { .. } => {
                of.text("mode", "ANY");
            }
            Choice::Named(name) => {
                of.text("mode", "ANY").array("allowedFunctionNames", |names| {
                    names.text(&tool_name(name, Protocol::Gemini));
                });
            }
        });
    });
}

fn config(request: &Request<'_>, target: &Target<'_>, body: &mut Object<'_>, losses: &mut Losses) {
    let mut written = BytesMut::new();
    object(&mut written, |config| {
        let sampling = &request.sampling;
        config.some_float("temperature", sampling.temperature).some_float("topP", sampling.top_p);
        config.some_number("topK", sampling.top_k).some_number("maxOutputTokens", request.max_tokens);
        config.some_float("presencePenalty", sampling.presence_penalty);
        config.some_float("frequencyPenalty", sampling.frequency_penalty);
        match sampling.seed.map(i32::try_from) {
            Some(Ok(seed)) => {
                config.raw("seed", &Raw::from_number(i64::from(seed)));
            }
            Some(Err(_)) => losses.field(Field::Seed, Lost::Dropped, "Gemini takes seeds of 32 bits"),
            None => {}
        }
        stops(request, config, losses);
        if let Some(told) = request.logprobs {
            config.flag("responseLogprobs", true).some_number("logprobs", told.top);
        }
        format(request, config, losses);
        thinking(request, target.model, config, losses);
    });
    if written.len() > "{}".len() {
        body.value("generationConfig", |out| out.extend_from_slice(&written));
    }
}

/// As many as Google takes.
const STOPS_MAX: usize = 5;

fn stops(request: &Request<'_>, config: &mut Object<'_>, losses: &mut Losses) {
    if request.stops.is_empty() {
        return;
    }
    if request.stops.len() > STOPS_MAX {
        losses.field(Field::Stops, Lost::Approximated, "Gemini takes five");
    }
    config.array("stopSequences", |list| {
        request.stops.iter().take(STOPS_MAX).for_each(|stop| list.text(stop));
    });
}

fn format(request: &Request<'_>, config: &mut Object<'_>, losses: &mut Losses) {
    match &request.format {
        Format::Text => {}
        Format::Json => {
            config.text("responseMimeType", "application/json");
        }
        Format::Schema { schema, .. } => {
            config.text("responseMimeType", "application/json");
            let field = Field::Format.spelled(request.source);
            config.value("responseSchema", |out| schema::google(schema, field, losses, out));
        }
    }
}

fn thinking(request: &Request<'_>, model: &str, config: &mut Object<'_>, losses: &mut Losses) {
    let asked = request.reasoning;
    let show = match asked.show {
        Some(show) => Some(show != Show::Nothing),
        None => matches!(asked.thinking, Some(Thinking::Adaptive | Thinking::Budget(_))).then_some(true),
    };
    if asked.thinking.is_none() && asked.effort.is_none() && show.is_none() {
        return;
    }
    config.object("thinkingConfig", |of| {
        if has_levels(model) {
            of.some("thinkingLevel", level(request, losses));
        } else {
            let budget = match (asked.thinking, asked.effort) {
                (Some(Thinking::Off), _) => Some(0),
                (Some(Thinking::Budget(tokens)), _) => i64::try_from(tokens.min(BUDGET_TOKENS_MAX)).ok(),
                (_, Some(effort)) => {
                    losses.field(Field::Effort, Lost::Approximated, "as a budget of tokens");
                    i64::try_from(words::budget_of(effort).min(BUDGET_TOKENS_MAX)).ok()
                }
                (Some(Thinking::Adaptive), None) => Some(-1),
                (None, None) => None,
            };
            if let Some(budget) = budget {
                of.raw("thinkingBudget", &Raw::from_number(budget));
            }
        }
        of.some_flag("includeThoughts", show);
    });
}

/// The most that every thinking model of 2.5 takes.
const BUDGET_TOKENS_MAX: u64 = 24_576;

fn level(request: &Request<'_>, losses: &mut Losses) -> Option<&'static str> {
    let asked = request.reasoning;
    let effort = match (asked.thinking, asked.effort) {
        (Some(Thinking::Off), _) => {
            losses.field(Field::Thinking, Lost::Approximated, "the model thinks a little at least");
            Effort::Minimal
        }
        (_, Some(effort)) => effort,
        (Some(Thinking::Budget(tokens)), None) => {
            losses.field(Field::Budget, Lost::Approximated, "as a level");
            words::effort_of(tokens)
        }
        _ => return None,
    };
    Some(match effort {
        Effort::Minimal => "MINIMAL",
        Effort::Low => "LOW",
        Effort::Medium => "MEDIUM",
        Effort::High | Effort::XHigh | Effort::Max => "HIGH",
    })
}

fn labels(request: &Request<'_>, body: &mut Object<'_>) {
    if !request.metadata.is_empty() {
        body.object("labels", |labels| {
            for (key, value) in &request.metadata {
                labels.text(key, value);
            }
        });
    }
    match request.tier {
        Some(Tier::Flex) => {
            body.text("serviceTier", "flex");
        }
        Some(Tier::Priority) => {
            body.text("serviceTier", "priority");
        }
        Some(Tier::Standard) => {
            body.text("serviceTier", "standard");
        }
        Some(Tier::Auto) | None => {}
    }
}

fn lost(request: &Request<'_>, losses: &mut Losses) {
    let bias = request.sampling.logit_bias.as_ref().is_some_and(|bias| bias.json() != "{}");
    for (is_there, field) in [
        (request.verbosity.is_some(), Field::Verbosity),
        (bias, Field::LogitBias),
        (request.user.is_some() && request.source != Protocol::Anthropic, Field::User),
    ] {
        if is_there {
            losses.field(field, Lost::Dropped, "Gemini has none");
        }
    }
}

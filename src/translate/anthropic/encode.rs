//! A request of Anthropic's messages, written.

use super::super::json::{Array, Object, object};
use super::super::loss::{Field, Losses, Lost};
use super::super::names::tool_name;
use super::super::unified::{
    Choice, Content, Format, Keep, Part, Protocol, Request, Role, Show, Thinking, Tier, Tool, ToolKind, Turn,
};
use super::super::{Target, prompt, schema, search, words};
use super::blocks::{self, cache_control};
use super::model::{Model, Style, Thought};
use bytes::BytesMut;

/// Writes it.
pub(in crate::translate) fn request(
    request: &Request<'_>,
    target: &Target<'_>,
    losses: &mut Losses,
    out: &mut BytesMut,
) {
    let model = Model::named(target.model);
    let thought = Thought::of(request, target, model, losses);
    object(out, |body| {
        body.text("model", target.model).number("max_tokens", thought.max_tokens);
        conversation(request, (model, thought.is_on()), body, losses);
        tools(request, body, losses);
        thinking(&thought, body);
        output(request, model, &thought, body);
        sampling(request, model, &thought, body, losses);
        settings(request, body, losses);
        if target.stream {
            body.flag("stream", true);
        }
    });
}

/// What the body of a request to count tokens has.
pub(in crate::translate) fn count(
    request: &Request<'_>,
    target: &Target<'_>,
    losses: &mut Losses,
    out: &mut BytesMut,
) {
    let model = Model::named(target.model);
    object(out, |body| {
        body.text("model", target.model);
        let thought = Thought::of(request, target, model, losses);
        conversation(request, (model, thought.is_on()), body, losses);
        tools(request, body, losses);
        thinking(&thought, body);
    });
}

/// Whoever asked for a cache in another protocol's way gets its marks here: after the tools, the instructions and the
/// last message.
fn marks(request: &Request<'_>) -> Option<Keep> {
    let asked = request.source != Protocol::Anthropic && request.cache.key.is_some();
    request.cache.keep.or(asked.then_some(Keep::Minutes))
}

fn conversation(
    request: &Request<'_>,
    (model, thinks): (Model, bool),
    body: &mut Object<'_>,
    losses: &mut Losses,
) {
    let is_system = |turn: &Turn<'_>| matches!(turn.role, Role::System | Role::Developer);
    let leading = request.turns.iter().take_while(|turn| is_system(turn)).count();
    let (system, rest) = request.turns.split_at(leading);
    let json = prompt::asked_for_json(&request.format).filter(|_| !is_native(&request.format, model));
    if json.is_some() {
        losses.field(Field::Format, Lost::Approximated, "asked for in words");
    }
    let mut parts: Vec<&Part<'_>> = system.iter().flat_map(|turn| &turn.parts).collect();
    let json = json.map(Part::text);
    parts.extend(&json);
    parts.retain(|part| matches!(&part.content, Content::Text { text, .. } if !text.trim().is_empty()));
    if !parts.is_empty() {
        blocks::system(&parts, marks(request), body);
    }
    let groups = blocks::Group::of(rest, losses);
    body.array("messages", |messages| {
        let begins = groups.first().is_none_or(|group| group.role == Role::User);
        if !begins {
            losses.conversation("the conversation begins with the model: a user's turn goes before it");
            messages.object(|message| {
                message.text("role", "user").text("content", "(The conversation goes on.)");
            });
        }
        let last_user = groups.iter().rposition(|group| group.role == Role::User);
        for (at, group) in groups.iter().enumerate() {
            let mark = marks(request).filter(|_| Some(at) == last_user);
            let is_last = at + 1 == groups.len();
            messages.object(|message| group.write(is_last, mark, message, losses));
        }
        // An answer that was begun is not gone on with while the model thinks, nor by the models that think by themselves.
        let begun = groups.last().is_some_and(|group| group.role == Role::Model);
        if begun && (thinks || model.style == Style::Adaptive) {
            losses.conversation("the conversation ends with the model: a user's turn follows");
            messages.object(|message| {
                message.text("role", "user").text("content", "(Go on.)");
            });
        }
    });
}

fn is_native(format: &Format<'_>, model: Model) -> bool {
    model.has_formats && matches!(format, Format::Schema { .. })
}

fn tools(request: &Request<'_>, body: &mut Object<'_>, losses: &mut Losses) {
    let tools = prompt::tools(request, losses);
    let searched = search::asked(request);
    if tools.is_empty() && searched.is_none() {
        return;
    }
    let last = tools.len().saturating_sub(1);
    body.array("tools", |list| {
        // First, so that the mark for the cache stays at the last one.
        if let Some((_, search)) = searched {
            list.object(|of| search::anthropic(search, request, of, losses));
        }
        for (at, tool) in tools.iter().enumerate() {
            let mark =
                tool.cache.or(marks(request).filter(|_| at == last && request.source != Protocol::Anthropic));
            self::tool(tool, mark, list);
        }
    });
    let parallel = request.parallel == Some(false);
    let choice = prompt::choice(request).or(parallel.then_some(Choice::Auto));
    let Some(choice) = choice else { return };
    body.object("tool_choice", |of| {
        match &choice {
            Choice::Auto => of.text("type", "auto"),
            Choice::None => of.text("type", "none"),
            Choice::Required | Choice::Among { .. } => of.text("type", "any"),
            Choice::Named(name) => {
                of.text("type", "tool").text("name", &tool_name(name, Protocol::Anthropic))
            }
        };
        if choice != Choice::None {
            of.some_flag("disable_parallel_tool_use", request.parallel.map(|parallel| !parallel));
        }
    });
}

fn tool(tool: &Tool<'_>, mark: Option<Keep>, list: &mut Array<'_>) {
    list.object(|of| {
        of.text("name", &tool_name(&tool.name, Protocol::Anthropic));
        of.some("description", prompt::description(tool).as_deref());
        match &tool.kind {
            ToolKind::Function { parameters: Some(parameters), .. } => {
                of.value("input_schema", |out| schema::with_type(parameters, out));
            }
            ToolKind::Free { .. } => {
                of.raw("input_schema", &prompt::FREE_INPUT);
            }
            _ => {
                of.raw("input_schema", &words::NO_PARAMETERS);
            }
        }
        cache_control(mark, of);
    });
}

fn thinking(thought: &Thought, body: &mut Object<'_>) {
    let Some(thinking) = thought.thinking else { return };
    body.object("thinking", |of| {
        match thinking {
            Thinking::Off => of.text("type", "disabled"),
            Thinking::Adaptive => of.text("type", "adaptive"),
            Thinking::Budget(tokens) => of.text("type", "enabled").number("budget_tokens", tokens),
        };
        match thought.show {
            Some(Show::Nothing) => of.text("display", "omitted"),
            Some(_) if thinking == Thinking::Adaptive => of.text("display", "summarized"),
            _ => of,
        };
    });
}

fn output(request: &Request<'_>, model: Model, thought: &Thought, body: &mut Object<'_>) {
    let native = is_native(&request.format, model).then_some(&request.format);
    if thought.effort.is_none() && native.is_none() {
        return;
    }
    body.object("output_config", |of| {
        of.some("effort", thought.effort.map(words::effort_word));
        if let Some(Format::Schema { schema, .. }) = native {
            of.object("format", |format| {
                format.text("type", "json_schema").value("schema", |out| schema::closed(schema, out));
            });
        }
    });
}

fn sampling(
    request: &Request<'_>,
    model: Model,
    thought: &Thought,
    body: &mut Object<'_>,
    losses: &mut Losses,
) {
    let of = &request.sampling;
    let is_set =
        |value: Option<f64>, usual: f64| value.is_some_and(|value| (value - usual).abs() > f64::EPSILON);
    let thinks = thought.is_on();
    let mut drop = |is_there: bool, field: Field, why: &'static str| {
        if is_there {
            losses.field(field, Lost::Dropped, why);
        }
        !is_there
    };
    drop(is_set(of.frequency_penalty, 0.0), Field::FrequencyPenalty, NONE);
    drop(is_set(of.presence_penalty, 0.0), Field::PresencePenalty, NONE);
    drop(of.seed.is_some(), Field::Seed, NONE);
    drop(of.logit_bias.as_ref().is_some_and(|bias| bias.json() != "{}"), Field::LogitBias, NONE);
    drop(request.logprobs.is_some(), Field::Logprobs, NONE);
    if drop(thinks && is_set(of.temperature, 1.0), Field::Temperature, THINKS) && !thinks {
        body.some_float("temperature", of.temperature.map(|temperature| temperature.clamp(0.0, 1.0)));
    }
    let both = model.one_of_sampling && of.temperature.is_some();
    let excluded = thinks && of.top_p.is_some_and(|top_p| top_p < 0.95);
    if drop(excluded, Field::TopP, THINKS)
        && drop(both && is_set(of.top_p, 1.0), Field::TopP, ONE_OF)
        && !both
    {
        body.some_float("top_p", of.top_p);
    }
    if drop(thinks && of.top_k.is_some(), Field::TopK, THINKS) {
        body.some_number("top_k", of.top_k);
    }
    if of.temperature.is_some_and(|temperature| temperature > 1.0) && !thinks {
        losses.field(Field::Temperature, Lost::Approximated, "1 is the most");
    }
    stops(request, body, losses);
}

const NONE: &str = "Anthropic has none";
const THINKS: &str = "not while the model thinks";
const ONE_OF: &str = "the model takes a temperature or it";

fn stops(request: &Request<'_>, body: &mut Object<'_>, losses: &mut Losses) {
    let (kept, blank): (Vec<&str>, Vec<&str>) =
        request.stops.iter().map(|stop| &**stop).partition(|stop| !stop.trim().is_empty());
    if !blank.is_empty() {
        losses.field(Field::Stops, Lost::Dropped, "Anthropic stops at no blank text");
    }
    if !kept.is_empty() {
        body.array("stop_sequences", |list| kept.iter().for_each(|stop| list.text(stop)));
    }
}

fn settings(request: &Request<'_>, body: &mut Object<'_>, losses: &mut Losses) {
    if let Some(user) = &request.user {
        body.object("metadata", |metadata| {
            metadata.text("user_id", user);
        });
    }
    if !request.metadata.is_empty() {
        losses.field(Field::Metadata, Lost::Dropped, NONE);
    }
    if request.verbosity.is_some() {
        losses.field(Field::Verbosity, Lost::Dropped, NONE);
    }
    match request.tier {
        None => {}
        Some(Tier::Standard) => {
            body.text("service_tier", "standard_only");
        }
        Some(Tier::Auto | Tier::Priority) => {
            body.text("service_tier", "auto");
        }
        Some(Tier::Flex) => losses.field(Field::Tier, Lost::Dropped, NONE),
    }
}

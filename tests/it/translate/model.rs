//! Requests and answers of the neutral model, drawn at random: of each protocol, what that protocol can say.

use super::fixture::ID;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use tollgate::translate::unified::{
    Answer, Cache, Call, Choice, Content, Effort, Format, Input, Keep, Logprobs, Media, Outcome, Part,
    Reasoning, Request, Role, Sampling, Show, Signature, Signer, Source, Stop, Thinking, Tier, Tool,
    ToolKind, Turn, Verbosity,
};
use tollgate::translate::{Protocol, Raw};
use tollgate::usage::Usage;

/// The channel's models.
pub(crate) fn model(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Chat | Protocol::Responses => "gpt-5.1",
        Protocol::Anthropic => "claude-sonnet-4-5",
        Protocol::Gemini => "gemini-3-pro",
    }
}

fn raw(json: &str) -> Raw<'static> {
    let raw: Raw<'_> = serde_json::from_str(json).expect("JSON");
    raw.into_owned()
}

fn words() -> impl Strategy<Value = String> {
    "[a-zé😀\"\\\\\n\t<&]{0,9}[a-z]"
}

fn input() -> impl Strategy<Value = Input<'static>> {
    words().prop_map(|text| Input::Json(raw(&serde_json::json!({ "city": text }).to_string())))
}

fn image(protocol: Protocol) -> impl Strategy<Value = Content<'static>> {
    let detail = matches!(protocol, Protocol::Chat | Protocol::Responses);
    (any::<bool>(), any::<bool>()).prop_map(move |(inline, close)| {
        let url = Source::Url("https://example.com/a.png".into());
        let source = if inline { Source::Base64("iVBORw0KGgo=".into()) } else { url };
        let typed = inline || protocol == Protocol::Gemini;
        Content::Image(Media {
            source,
            mime: typed.then(|| "image/png".into()),
            name: None,
            detail: (detail && close).then(|| "high".into()),
        })
    })
}

fn document(protocol: Protocol) -> Content<'static> {
    let media = Media {
        source: Source::Base64("JVBERi0xLjQK".into()),
        mime: Some("application/pdf".into()),
        name: (protocol != Protocol::Gemini).then(|| "a.pdf".into()),
        detail: None,
    };
    Content::Document { media, context: None, cited: false }
}

fn text(text: String) -> Content<'static> {
    Content::Text { text: text.into(), citations: Vec::new() }
}

fn said(protocol: Protocol) -> impl Strategy<Value = Vec<Part<'static>>> {
    let content = prop_oneof![
        3 => words().prop_map(text),
        1 => image(protocol),
        1 => Just(document(protocol)),
    ];
    let keeps = of(prop_oneof![Just(Keep::Minutes), Just(Keep::Hour)]);
    vec((content, keeps), 1..4).prop_map(move |parts| {
        let part = |(content, cache)| Part {
            cache: if protocol == Protocol::Anthropic { cache } else { None },
            ..Part::new(content)
        };
        parts.into_iter().map(part).collect()
    })
}

fn signature(protocol: Protocol) -> Option<Signature<'static>> {
    let (signer, data) = match protocol {
        Protocol::Chat => return None,
        Protocol::Responses => (Signer::OpenAi, "rs_1:gAAAA"),
        Protocol::Anthropic => (Signer::Anthropic, "EqQBCgI="),
        Protocol::Gemini => (Signer::Gemini, "CiQBVKhc"),
    };
    Some(Signature { signer, data: data.into() })
}

/// What the model thought, said and called, before the ids are given.
type Spoken = (Option<String>, Option<String>, Vec<Input<'static>>);

fn spoken() -> impl Strategy<Value = Spoken> {
    (of(words()), of(words()), vec(input(), 0..3))
}

/// A round of a conversation: what the user says, what the model does, how the tools fare.
fn round(protocol: Protocol) -> impl Strategy<Value = (Vec<Part<'static>>, Spoken, (bool, String, bool))> {
    (said(protocol), spoken(), (any::<bool>(), words(), any::<bool>()))
}

fn model_parts(protocol: Protocol, (thought, text, calls): Spoken, ids: &mut u32) -> Vec<Part<'static>> {
    let mut parts = Vec::new();
    let text = text.or_else(|| calls.is_empty().then(|| "Yes".to_owned()));
    if let (Some(thought), Some(signature)) = (thought, signature(protocol)) {
        let signature = Some(signature);
        parts.push(Part::new(Content::Reasoning { text: thought.into(), signature }));
    }
    parts.extend(text.map(Part::text));
    for input in calls {
        *ids += 1;
        let call = Call { id: format!("call_{ids}").into(), name: "get_weather".into(), input };
        parts.push(Part::new(Content::Call(call)));
    }
    parts
}

fn outcomes(
    protocol: Protocol,
    calls: &[Part<'static>],
    (error, text, shown): (bool, String, bool),
) -> Vec<Part<'static>> {
    let flagged = matches!(protocol, Protocol::Anthropic | Protocol::Gemini);
    let shows = shown && protocol != Protocol::Chat;
    let of_call = |part: &Part<'static>| {
        let Content::Call(call) = &part.content else { return None };
        let mut parts = vec![Part::text(text.clone())];
        if shows {
            let media = Media {
                source: Source::Base64("iVBORw0KGgo=".into()),
                mime: Some("image/png".into()),
                name: None,
                detail: None,
            };
            parts.push(Part::new(Content::Image(media)));
        }
        let (id, name) = (call.id.clone(), Some(call.name.clone()));
        Some(Part::new(Content::Outcome(Outcome { id, name, parts, error: flagged && error, free: false })))
    };
    calls.iter().filter_map(of_call).collect()
}

fn turns(protocol: Protocol) -> impl Strategy<Value = Vec<Turn<'static>>> {
    (of(words()), vec(round(protocol), 0..3), said(protocol)).prop_map(move |(system, rounds, last)| {
        let turn = |role, parts| Turn { role, parts, name: None };
        let mut ids = 0;
        let mut turns: Vec<Turn<'static>> = Vec::new();
        turns.extend(system.map(|text| turn(Role::System, vec![Part::text(text)])));
        for (said, spoken, fared) in rounds {
            // Where a side may not speak twice in a row, what it says after the results of its tools is left out.
            let answered = turns.last().is_some_and(|turn| turn.role == Role::User);
            if !answered {
                turns.push(turn(Role::User, said));
            }
            let parts = model_parts(protocol, spoken, &mut ids);
            let fared = outcomes(protocol, &parts, fared);
            turns.push(turn(Role::Model, parts));
            if !fared.is_empty() {
                turns.push(turn(Role::User, fared));
            }
        }
        if turns.last().is_none_or(|turn| turn.role != Role::User) {
            turns.push(turn(Role::User, last));
        }
        turns
    })
}

fn tools(protocol: Protocol) -> impl Strategy<Value = Vec<Tool<'static>>> {
    let strict = matches!(protocol, Protocol::Responses);
    vec((of(words()), any::<bool>(), any::<bool>()), 0..3).prop_map(move |defs| {
        let tool = |(at, (description, takes, holds)): (usize, (Option<String>, bool, bool))| Tool {
            name: format!("tool_{at}").into(),
            description: description.map(Into::into),
            kind: ToolKind::Function {
                parameters: takes.then(|| {
                    raw(r#"{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}"#)
                }),
                strict: strict.then_some(holds),
            },
            cache: None,
        };
        defs.into_iter().enumerate().map(tool).collect()
    })
}

fn choice() -> impl Strategy<Value = Option<Choice<'static>>> {
    of(prop_oneof![
        Just(Choice::Auto),
        Just(Choice::None),
        Just(Choice::Required),
        Just(Choice::Named("tool_0".into()))
    ])
}

fn format(protocol: Protocol) -> impl Strategy<Value = Format<'static>> {
    let named = matches!(protocol, Protocol::Chat | Protocol::Responses);
    let closed = if protocol == Protocol::Gemini { "" } else { ",\"additionalProperties\":false" };
    let schema = format!(
        "{{\"type\":\"object\",\"properties\":{{\"a\":{{\"type\":\"string\"}}}},\"required\":[\"a\"]{closed}}}"
    );
    let schema = Format::Schema {
        name: named.then(|| "thing".into()),
        description: None,
        schema: raw(&schema),
        strict: Some(true),
    };
    let json = if protocol == Protocol::Anthropic { Format::Text } else { Format::Json };
    prop_oneof![Just(Format::Text), Just(json), Just(schema)]
}

fn reasoning(protocol: Protocol) -> BoxedStrategy<Reasoning> {
    let off = Reasoning { thinking: Some(Thinking::Off), ..Reasoning::default() };
    let effort = |effort, show| Reasoning { thinking: None, effort: Some(effort), show };
    match protocol {
        Protocol::Chat => {
            prop_oneof![Just(Reasoning::default()), Just(off), Just(effort(Effort::XHigh, None))].boxed()
        }
        Protocol::Responses => {
            let shown = effort(Effort::Minimal, Some(Show::Detailed));
            prop_oneof![Just(Reasoning::default()), Just(off), Just(shown)].boxed()
        }
        Protocol::Anthropic => {
            let budget = Reasoning { thinking: Some(Thinking::Budget(2048)), ..Reasoning::default() };
            prop_oneof![Just(Reasoning::default()), Just(off), Just(budget)].boxed()
        }
        Protocol::Gemini => {
            let shown = effort(Effort::Low, Some(Show::Auto));
            prop_oneof![
                Just(Reasoning::default()),
                Just(shown),
                Just(effort(Effort::High, Some(Show::Nothing)))
            ]
            .boxed()
        }
    }
}

/// Numbers that are written as they are read.
fn quarter(most: u8) -> impl Strategy<Value = Option<f64>> {
    of((0..=most * 4).prop_map(|fourths| f64::from(fourths) / 4.0))
}

fn sampling(protocol: Protocol) -> impl Strategy<Value = Sampling<'static>> {
    let most = if protocol == Protocol::Anthropic { 1 } else { 2 };
    (quarter(most), quarter(1), of(1_u64..50), quarter(2), of(any::<i32>())).prop_map(
        move |(temperature, top_p, top_k, penalty, seed)| {
            let penalized = matches!(protocol, Protocol::Chat | Protocol::Gemini);
            let is_anthropic = protocol == Protocol::Anthropic;
            Sampling {
                temperature,
                top_p: top_p.filter(|_| !is_anthropic || temperature.is_none()),
                top_k: top_k.filter(|_| matches!(protocol, Protocol::Anthropic | Protocol::Gemini)),
                frequency_penalty: penalty.filter(|_| penalized),
                presence_penalty: penalty.filter(|_| penalized),
                seed: seed.filter(|_| penalized).map(i64::from),
                logit_bias: None,
            }
        },
    )
}

fn tier(protocol: Protocol) -> impl Strategy<Value = Option<Tier>> {
    let tiers = match protocol {
        Protocol::Chat | Protocol::Responses => vec![Tier::Auto, Tier::Standard, Tier::Flex, Tier::Priority],
        Protocol::Anthropic => vec![Tier::Auto, Tier::Standard],
        Protocol::Gemini => vec![Tier::Standard, Tier::Flex, Tier::Priority],
    };
    of(proptest::sample::select(tiers))
}

type Settings =
    (Option<u64>, Option<bool>, bool, Option<String>, Option<Keep>, Option<Verbosity>, Vec<String>);

fn settings() -> impl Strategy<Value = Settings> {
    (
        of(4096_u64..60_000),
        of(any::<bool>()),
        any::<bool>(),
        of("[a-z]{1,20}"),
        of(Just(Keep::Hour)),
        of(prop_oneof![Just(Verbosity::Low), Just(Verbosity::High)]),
        vec("[a-z]{1,5}", 0..4),
    )
}

/// Requests that a protocol can say.
pub(crate) fn request(protocol: Protocol) -> impl Strategy<Value = Request<'static>> {
    let head = (turns(protocol), tools(protocol), choice(), format(protocol));
    let tail = (reasoning(protocol), sampling(protocol), tier(protocol), settings());
    (head, tail).prop_map(move |((turns, tools, choice, format), (reasoning, sampling, tier, settings))| {
        let mut request = Request::new(protocol);
        let (max_tokens, parallel, stream, word, keep, verbosity, stops) = settings;
        request.model = model(protocol).into();
        request.turns = turns;
        request.choice = choice.filter(|_| !tools.is_empty());
        request.tools = tools;
        request.format = format;
        (request.reasoning, request.sampling, request.tier) = (reasoning, sampling, tier);
        (request.max_tokens, request.stream) = (max_tokens, stream);
        request.stream_usage = stream || protocol != Protocol::Chat;
        let is_openai = matches!(protocol, Protocol::Chat | Protocol::Responses);
        request.parallel = parallel.filter(|_| is_openai && !request.tools.is_empty());
        request.verbosity = verbosity.filter(|_| is_openai);
        request.user = word.clone().filter(|_| protocol != Protocol::Gemini).map(Into::into);
        if is_openai {
            request.cache = Cache { key: word.clone().map(Into::into), keep };
        }
        if matches!(protocol, Protocol::Responses | Protocol::Gemini) {
            request.metadata = word.iter().map(|word| ("label".into(), word.clone().into())).collect();
        }
        if protocol != Protocol::Responses {
            request.stops = stops.into_iter().map(Into::into).collect();
        }
        if protocol != Protocol::Anthropic && stream {
            request.logprobs = Some(Logprobs { top: Some(2) });
        }
        if protocol == Protocol::Anthropic {
            anthropic(&mut request);
        }
        request
    })
}

/// What Anthropic demands, and what its thinking excludes.
fn anthropic(request: &mut Request<'static>) {
    request.max_tokens = Some(request.max_tokens.unwrap_or(8000));
    let forced = matches!(request.choice, Some(Choice::Required | Choice::Named(_)));
    let goes_on = request
        .turns
        .last()
        .is_some_and(|turn| turn.parts.iter().any(|part| !matches!(part.content, Content::Outcome(_))));
    if matches!(request.reasoning.thinking, Some(Thinking::Budget(_))) {
        if forced || !goes_on {
            request.reasoning = Reasoning::default();
        } else {
            request.sampling = Sampling::default();
        }
    }
}

/// Answers that a protocol can give.
pub(crate) fn answer(protocol: Protocol) -> impl Strategy<Value = Answer<'static>> {
    let counts = (0_u64..9999, 0_u64..9999, 0_u64..999, 0_u64..999, 0_u64..99, 0_u64..99);
    (spoken(), any::<bool>(), counts).prop_map(
        move |(spoken, cut, (input, output, read, write, thought, hour))| {
            let (thoughts, text, calls) = spoken;
            let called = !calls.is_empty();
            let mut ids = 0;
            let mut parts = Vec::new();
            if let Some(thoughts) = thoughts {
                let content = Content::Reasoning { text: thoughts.into(), signature: signature(protocol) };
                parts.push(Part::new(content));
            }
            parts.extend(model_parts(protocol, (None, text, calls), &mut ids));
            let is_anthropic = protocol == Protocol::Anthropic;
            let writes = protocol != Protocol::Gemini;
            let cache_write = if writes { write } else { 0 };
            let usage = Usage {
                input,
                output: output + thought,
                cache_read: read,
                cache_write,
                reasoning: thought,
                cache_write_1h: if is_anthropic { hour.min(cache_write) } else { 0 },
                web_searches: if is_anthropic { hour } else { 0 },
                ..Usage::default()
            };
            let stop = match (called, cut) {
                (_, true) => Stop::MaxTokens,
                (true, false) => Stop::ToolUse,
                (false, false) => Stop::End,
            };
            Answer { id: ID.into(), model: "fast".into(), parts, stop, usage: Some(usage), logprobs: None }
        },
    )
}

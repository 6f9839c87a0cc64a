//! `OpenAI`'s answers: chat and text completions, embeddings, moderations, models. Responses have a file of their own.
//!
//! The templates are the published formats, key by key in the published order, with every field the official SDKs'
//! types require.

pub(crate) mod media;
pub(crate) mod responses;

use crate::body::{Facts, Vectors};
use crate::conversation::Call;
use crate::reply::{Reply, Sse};
use crate::story::{Story, fill, fragments, quote};

/// How many embeddings one answer may hold.
const EMBEDDINGS_MAX: usize = 2048;

const USAGE: &str = r#"{"prompt_tokens":$input,"completion_tokens":$output,"total_tokens":$total,"prompt_tokens_details":{"cached_tokens":$cache_read,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":$reasoning,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}"#;

pub(crate) fn chat(story: &Story) -> Reply {
    let template = format!(
        r#"{{"id":"chatcmpl-fake","object":"chat.completion","created":1760000000,"model":$model,"choices":[{{"index":0,"message":{{"role":"assistant",$thoughts"content":$content,$calls"refusal":null,"annotations":[]}},"logprobs":null,"finish_reason":$finish}}],"usage":{USAGE},"service_tier":"default","system_fingerprint":"fp_fake"}}"#
    );
    let thoughts = story.thinking();
    let thoughts =
        thoughts.map_or_else(String::new, |(text, _)| format!(r#""reasoning_content":{},"#, quote(&text)));
    let calls: Vec<String> = story.calls.iter().map(|call| tool_call(call, &call.arguments, "")).collect();
    let calls =
        if calls.is_empty() { String::new() } else { format!(r#""tool_calls":[{}],"#, calls.join(",")) };
    let content = if story.calls.is_empty() { quote(&story.pieces.concat()) } else { "null".to_owned() };
    let more = [
        ("thoughts", thoughts.as_str()),
        ("content", &content),
        ("calls", &calls),
        ("finish", finish(story)),
    ];
    Reply::json(200, story.tell_all_with(&template, &more))
}

fn finish(story: &Story) -> &'static str {
    if story.calls.is_empty() { r#""stop""# } else { r#""tool_calls""# }
}

/// A call with the beginning of its arguments; `index` is its place where it is part of a stream.
fn tool_call(call: &Call, arguments: &str, index: &str) -> String {
    let values = [
        ("index", index),
        ("id", &quote(&format!("call_fake_{}", call.number))),
        ("name", &quote(&call.name)),
        ("arguments", &quote(arguments)),
    ];
    fill(r#"{$index"id":$id,"type":"function","function":{"name":$name,"arguments":$arguments}}"#, &values)
}

pub(crate) fn chat_stream(story: &Story) -> Reply {
    let mut sse = Sse::default();
    let usage = story.include_usage.then_some("null");
    let mut choice = |delta: &str, finish: &str| {
        let choices = r#"[{"index":0,"delta":$delta,"logprobs":null,"finish_reason":$finish}]"#;
        let more = [("delta", delta), ("finish", finish)];
        sse.data(&story.tell_with(&chat_chunk(choices, usage), "", &more));
    };
    let first = if story.calls.is_empty() { r#""""# } else { "null" };
    choice(&format!(r#"{{"role":"assistant","content":{first},"refusal":null}}"#), "null");
    for thought in &story.thoughts {
        choice(&format!(r#"{{"reasoning_content":{}}}"#, quote(thought)), "null");
    }
    for piece in &story.pieces {
        choice(&format!(r#"{{"content":{}}}"#, quote(piece)), "null");
    }
    for (at, call) in story.calls.iter().enumerate() {
        let opened = tool_call(call, "", &format!(r#""index":{at},"#));
        choice(&format!(r#"{{"tool_calls":[{opened}]}}"#), "null");
        for fragment in fragments(&call.arguments) {
            let arguments = quote(&fragment);
            let delta =
                format!(r#"{{"tool_calls":[{{"index":{at},"function":{{"arguments":{arguments}}}}}]}}"#);
            choice(&delta, "null");
        }
    }
    choice("{}", finish(story));
    if story.include_usage {
        sse.data(&story.tell(&chat_chunk("[]", Some(USAGE)), ""));
    }
    sse.data("[DONE]");
    sse.reply()
}

fn chat_chunk(choices: &str, usage: Option<&str>) -> String {
    let usage = usage.map_or_else(String::new, |usage| format!(r#","usage":{usage}"#));
    format!(
        r#"{{"id":"chatcmpl-fake","object":"chat.completion.chunk","created":1760000000,"model":$model,"service_tier":"default","system_fingerprint":"fp_fake","choices":{choices}{usage}}}"#
    )
}

pub(crate) fn completion(story: &Story) -> Reply {
    let choices = r#"[{"text":$text,"index":0,"logprobs":null,"finish_reason":"stop"}]"#;
    Reply::json(200, story.tell_all(&text_completion(choices, Some(USAGE))))
}

pub(crate) fn completion_stream(story: &Story) -> Reply {
    let mut sse = Sse::default();
    let empty = story.include_usage.then_some("null");
    for piece in &story.pieces {
        let choices = r#"[{"text":$text,"index":0,"logprobs":null,"finish_reason":null}]"#;
        sse.data(&story.tell(&text_completion(choices, empty), piece));
    }
    let choices = r#"[{"text":"","index":0,"logprobs":null,"finish_reason":"stop"}]"#;
    sse.data(&story.tell(&text_completion(choices, empty), ""));
    if story.include_usage {
        sse.data(&story.tell(&text_completion("[]", Some(USAGE)), ""));
    }
    sse.data("[DONE]");
    sse.reply()
}

fn text_completion(choices: &str, usage: Option<&str>) -> String {
    let usage = usage.map_or_else(String::new, |usage| format!(r#","usage":{usage}"#));
    format!(
        r#"{{"id":"cmpl-fake","object":"text_completion","created":1760000000,"model":$model,"choices":{choices}{usage}}}"#
    )
}

/// One embedding of four numbers per input; as base64 where asked for, which is what the official SDKs do.
pub(crate) fn embeddings(story: &Story, facts: &Facts) -> Reply {
    /// 0.5, -0.25, 0.125, 1.0 as little-endian 32-bit floats.
    const BASE64: &str = r#""AAAAPwAAgL4AAAA+AACAPw==""#;
    let vector = match facts.vectors {
        Vectors::Base64 => BASE64,
        Vectors::Numbers => "[0.5,-0.25,0.125,1.0]",
    };
    let item = |index| format!(r#"{{"object":"embedding","index":{index},"embedding":{vector}}}"#);
    let items: Vec<String> = (0..facts.inputs.min(EMBEDDINGS_MAX)).map(item).collect();
    let items = items.join(",");
    let template = format!(
        r#"{{"object":"list","data":[{items}],"model":$model,"usage":{{"prompt_tokens":$input,"total_tokens":$input}}}}"#
    );
    Reply::json(200, story.tell(&template, ""))
}

pub(crate) fn moderations(story: &Story, facts: &Facts) -> Reply {
    const CATEGORIES: &[&str] = &[
        "harassment",
        "harassment/threatening",
        "hate",
        "hate/threatening",
        "illicit",
        "illicit/violent",
        "self-harm",
        "self-harm/instructions",
        "self-harm/intent",
        "sexual",
        "sexual/minors",
        "violence",
        "violence/graphic",
    ];
    let each = |value: &str| {
        let pairs: Vec<String> = CATEGORIES.iter().map(|name| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", pairs.join(","))
    };
    let (flags, scores, types) = (each("false"), each("0.0"), each("[]"));
    let result = format!(
        r#"{{"flagged":false,"categories":{flags},"category_scores":{scores},"category_applied_input_types":{types}}}"#
    );
    let results = vec![result; facts.inputs.min(EMBEDDINGS_MAX)].join(",");
    Reply::json(200, story.tell(&format!(r#"{{"id":"modr-fake","model":$model,"results":[{results}]}}"#), ""))
}

const MODEL: &str = r#"{"id":$model,"object":"model","created":1760000000,"owned_by":"fake"}"#;

pub(crate) fn models(models: &[String]) -> Reply {
    let list: Vec<String> = models.iter().map(|model| fill(MODEL, &[("model", &quote(model))])).collect();
    Reply::json(200, format!(r#"{{"object":"list","data":[{}]}}"#, list.join(",")))
}

pub(crate) fn model(model: &str) -> Reply {
    Reply::json(200, fill(MODEL, &[("model", &quote(model))]))
}

//! Gemini's answers: generated content whole, as server-sent events (with CRLF line ends, as the real one sends them)
//! or as a JSON array that grows; token counts, embeddings, models.

use crate::body::Facts;
use crate::conversation::Call;
use crate::reply::{EVENT_STREAM, JSON, Reply};
use crate::story::{Story, fill, quote};
use bytes::Bytes;

/// How many embeddings one answer may hold.
const EMBEDDINGS_MAX: usize = 100;
const VECTOR: &str = r#"{"values":[0.5,-0.25,0.125,1.0]}"#;
const MODEL: &str = r#"{"name":$name,"baseModelId":"","version":"001","displayName":$model,"description":"A fake model","inputTokenLimit":1048576,"outputTokenLimit":65536,"supportedGenerationMethods":["generateContent","countTokens"],"temperature":1,"topP":0.95,"topK":64}"#;

pub(crate) fn content(story: &Story) -> Reply {
    let signature = story.thinking().map(|(_, signature)| signature);
    let mut parts: Vec<String> = story.thinking().iter().map(|(text, _)| thought(text)).collect();
    match story.calls.as_slice() {
        [] => parts.push(text(&story.pieces.concat(), signature.as_deref())),
        calls => parts.extend(function_calls(calls, signature.as_deref())),
    }
    Reply::json(200, tell(story, Chunk::Last, &parts.join(",")))
}

fn text(text: &str, signature: Option<&str>) -> String {
    format!(r#"{{"text":{}{}}}"#, quote(text), signed(signature))
}

fn thought(text: &str) -> String {
    format!(r#"{{"text":{},"thought":true}}"#, quote(text))
}

/// Of several calls the first one has the signature.
fn function_calls(calls: &[Call], signature: Option<&str>) -> Vec<String> {
    let part = |(at, call): (usize, &Call)| {
        let signed = signed(signature.filter(|_| at == 0));
        format!(r#"{{"functionCall":{{"name":{},"args":{}}}{signed}}}"#, quote(&call.name), call.arguments)
    };
    calls.iter().enumerate().map(part).collect()
}

fn signed(signature: Option<&str>) -> String {
    signature.map_or_else(String::new, |signature| format!(r#","thoughtSignature":{}"#, quote(signature)))
}

pub(crate) fn stream(story: &Story, sse: bool) -> Reply {
    let parts = parts(story);
    if sse {
        let list = parts.iter().map(|part| Bytes::from(format!("data: {part}\r\n\r\n"))).collect();
        return Reply::events(EVENT_STREAM, list);
    }
    let end = parts.len().saturating_sub(1);
    let element = |(at, part): (usize, &String)| {
        let before = if at == 0 { "[" } else { ",\r\n" };
        Bytes::from(format!("{before}{part}{}", if at == end { "]" } else { "" }))
    };
    Reply::events(JSON, parts.iter().enumerate().map(element).collect())
}

/// Every piece in a response of its own; the last says why it stopped, after calls and thinking without a word.
fn parts(story: &Story) -> Vec<String> {
    let signature = story.thinking().map(|(_, signature)| signature);
    let mut pieces: Vec<String> = story.thoughts.iter().map(|piece| thought(piece)).collect();
    pieces.extend(story.pieces.iter().map(|piece| text(piece, None)));
    pieces.extend(function_calls(&story.calls, signature.as_deref()));
    match (story.calls.is_empty(), &signature) {
        (true, Some(signature)) => pieces.push(text("", Some(signature))),
        (true, None) if !pieces.is_empty() => {}
        _ => pieces.push(text("", None)),
    }
    let last = pieces.len().saturating_sub(1);
    let chunk = |at| if at == last { Chunk::Last } else { Chunk::Middle };
    pieces.iter().enumerate().map(|(at, part)| tell(story, chunk(at), part)).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Chunk {
    Middle,
    Last,
}

/// One response with these parts.
fn tell(story: &Story, chunk: Chunk, parts: &str) -> String {
    let (finish, usage) = match chunk {
        Chunk::Middle => (
            "",
            r#"{"promptTokenCount":$input,"totalTokenCount":$input,"promptTokensDetails":[{"modality":"TEXT","tokenCount":$input}]}"#,
        ),
        Chunk::Last => (
            r#","finishReason":"STOP""#,
            r#"{"promptTokenCount":$input,"candidatesTokenCount":$plain_output,"totalTokenCount":$total,"cachedContentTokenCount":$cache_read,"promptTokensDetails":[{"modality":"TEXT","tokenCount":$input}],"thoughtsTokenCount":$reasoning}"#,
        ),
    };
    let template = format!(
        r#"{{"candidates":[{{"content":{{"parts":[$parts],"role":"model"}}{finish},"index":0}}],"usageMetadata":{usage},"modelVersion":$model,"responseId":"fake"}}"#
    );
    story.tell_with(&template, "", &[("parts", parts)])
}

pub(crate) fn count(story: &Story) -> Reply {
    let template =
        r#"{"totalTokens":$input,"promptTokensDetails":[{"modality":"TEXT","tokenCount":$input}]}"#;
    Reply::json(200, story.tell(template, ""))
}

pub(crate) fn embedding() -> Reply {
    Reply::json(200, format!(r#"{{"embedding":{VECTOR}}}"#))
}

pub(crate) fn embeddings(facts: &Facts) -> Reply {
    let list = vec![VECTOR; facts.inputs.min(EMBEDDINGS_MAX)];
    Reply::json(200, format!(r#"{{"embeddings":[{}]}}"#, list.join(",")))
}

pub(crate) fn models(models: &[String]) -> Reply {
    let list: Vec<String> = models.iter().map(|model| describe(model)).collect();
    Reply::json(200, format!(r#"{{"models":[{}]}}"#, list.join(",")))
}

pub(crate) fn model(model: &str) -> Reply {
    Reply::json(200, describe(model))
}

fn describe(model: &str) -> String {
    fill(MODEL, &[("name", &quote(&format!("models/{model}"))), ("model", &quote(model))])
}

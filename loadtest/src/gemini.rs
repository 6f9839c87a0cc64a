//! Gemini's answers: generated content whole, as server-sent events (with CRLF line ends, as the real one sends them)
//! or as a JSON array that grows; token counts, embeddings, models.

use crate::body::Facts;
use crate::reply::{EVENT_STREAM, JSON, Reply};
use crate::story::{Story, fill, quote};
use bytes::Bytes;

/// How many embeddings one answer may hold.
const EMBEDDINGS_MAX: usize = 100;
const VECTOR: &str = r#"{"values":[0.5,-0.25,0.125,1.0]}"#;
const MODEL: &str = r#"{"name":$name,"baseModelId":"","version":"001","displayName":$model,"description":"A fake model","inputTokenLimit":1048576,"outputTokenLimit":65536,"supportedGenerationMethods":["generateContent","countTokens"],"temperature":1,"topP":0.95,"topK":64}"#;

pub(crate) fn content(story: &Story) -> Reply {
    Reply::json(200, story.tell_all(&response(Part::Last)))
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

/// Every piece of text in a response of its own; the last says why it stopped.
fn parts(story: &Story) -> Vec<String> {
    let (last, before) = match story.pieces.split_last() {
        Some((last, before)) => (last.as_str(), before),
        None => ("", [].as_slice()),
    };
    let mut parts: Vec<String> =
        before.iter().map(|piece| story.tell(&response(Part::Middle), piece)).collect();
    parts.push(story.tell(&response(Part::Last), last));
    parts
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Middle,
    Last,
}

fn response(part: Part) -> String {
    let (finish, usage) = match part {
        Part::Middle => (
            "",
            r#"{"promptTokenCount":$input,"totalTokenCount":$input,"promptTokensDetails":[{"modality":"TEXT","tokenCount":$input}]}"#,
        ),
        Part::Last => (
            r#","finishReason":"STOP""#,
            r#"{"promptTokenCount":$input,"candidatesTokenCount":$plain_output,"totalTokenCount":$total,"cachedContentTokenCount":$cache_read,"promptTokensDetails":[{"modality":"TEXT","tokenCount":$input}],"thoughtsTokenCount":$reasoning}"#,
        ),
    };
    format!(
        r#"{{"candidates":[{{"content":{{"parts":[{{"text":$text}}],"role":"model"}}{finish},"index":0}}],"usageMetadata":{usage},"modelVersion":$model,"responseId":"fake"}}"#
    )
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

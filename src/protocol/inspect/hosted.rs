//! The members of an Anthropic request that a cloud has elsewhere: the model and the stream in the path, the version
//! and the betas in the body.
//!
//! As documented at <https://platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai> and done by Anthropic's
//! own clients. Invariant: nothing else of the body is touched, and what was JSON stays JSON.

use super::members::walk;
use super::{Edit, fields};
use bytes::Bytes;
use serde_json::json;
use std::ops::Range;

/// What the body has to say there.
#[derive(Debug, Clone)]
pub struct Envelope<'a> {
    /// Its `anthropic_version`.
    pub version: &'static str,
    /// Whether the body names the model all the same.
    pub model: bool,
    /// Whether the body says all the same that a stream is asked for.
    pub stream: bool,
    /// Its `anthropic_beta`, unless the client has put one there; none: nothing.
    pub betas: Vec<&'a str>,
}

/// The edits that make a body of Anthropic's own API one for the cloud, in order; none where it is no object.
pub fn envelope(body: &[u8], wanted: &Envelope<'_>) -> Vec<Edit> {
    let mut seen = Seen::default();
    let walked = walk(body, |key, value| {
        let member = offset(key.written, body)..offset(value, body) + value.len();
        match &*key.name()? {
            b"model" if !wanted.model => seen.model = Some(member.clone()),
            b"stream" if !wanted.stream => return seen.goes(member),
            b"anthropic_version" => return seen.goes(member),
            b"anthropic_beta" => seen.has_betas = true,
            _ => {}
        }
        seen.stays(member)
    });
    if walked.is_none() {
        return Vec::new();
    }
    seen.end();
    let mut said = format!("\"anthropic_version\":\"{}\"", wanted.version);
    if !wanted.betas.is_empty() && !seen.has_betas {
        said.push_str(",\"anthropic_beta\":");
        said.push_str(&json!(wanted.betas).to_string());
    }
    let inside = memchr::memchr(b'{', body).unwrap_or_default() + 1;
    let comma = if seen.model.is_none() && seen.kept_until.is_some() { "," } else { "" };
    let (at, with) = (seen.model.unwrap_or(inside..inside), said + comma);
    let place = seen.removed.partition_point(|removed| removed.start < at.start);
    let mut edits: Vec<Edit> = seen.removed.into_iter().map(Edit::remove).collect();
    edits.insert(place, Edit { at, with: Bytes::from(with) });
    edits
}

/// What Gemini's own API wraps to have it counted, as Google's cloud has it counted: the members themselves.
/// `None`: it is not wrapped. As documented at
/// <https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.publishers.models/countTokens>.
pub fn unwrapped_count(body: &[u8]) -> Option<Bytes> {
    let [camel, snake] = fields(body, ["generateContentRequest", "generate_content_request"])?;
    let inner = camel.or(snake)?.get().as_bytes();
    let names = [
        "contents",
        "systemInstruction",
        "system_instruction",
        "tools",
        "generationConfig",
        "generation_config",
    ];
    let mut out = vec![b'{'];
    for (name, value) in names.iter().zip(fields(inner, names)?) {
        let Some(value) = value else { continue };
        if out.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(format!("\"{name}\":").as_bytes());
        out.extend_from_slice(value.get().as_bytes());
    }
    out.push(b'}');
    Some(out.into())
}

/// What was seen of the members, and what goes: a run of those that go has one range, with the comma that goes with it.
#[derive(Debug, Default)]
struct Seen {
    model: Option<Range<usize>>,
    has_betas: bool,
    kept_until: Option<usize>,
    going: Option<Range<usize>>,
    removed: Vec<Range<usize>>,
}

impl Seen {
    #[expect(clippy::unnecessary_wraps, reason = "what a visitor answers")]
    fn goes(&mut self, member: Range<usize>) -> Option<()> {
        let start = self.going.take().map_or(member.start, |run| run.start);
        self.going = Some(start..member.end);
        Some(())
    }

    #[expect(clippy::unnecessary_wraps, reason = "what a visitor answers")]
    fn stays(&mut self, member: Range<usize>) -> Option<()> {
        self.removed.extend(self.going.take().map(|run| run.start..member.start));
        self.kept_until = Some(member.end);
        Some(())
    }

    fn end(&mut self) {
        let Some(run) = self.going.take() else { return };
        self.removed.push(self.kept_until.unwrap_or(run.start)..run.end);
    }
}

fn offset(part: &[u8], whole: &[u8]) -> usize {
    part.as_ptr().addr().saturating_sub(whole.as_ptr().addr())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::splice::splice;
    use serde_json::Value;

    fn made(body: &str, wanted: &Envelope<'_>) -> String {
        let body = Bytes::copy_from_slice(body.as_bytes());
        String::from_utf8(splice(&body, &envelope(&body, wanted)).concat()).unwrap()
    }

    #[test]
    fn the_version_stands_in_the_models_place_and_every_other_byte_is_the_clients() {
        let vertex = Envelope { version: "v", model: false, stream: true, betas: Vec::new() };
        let counts = Envelope { model: true, ..vertex.clone() };
        let bedrock = Envelope { stream: false, ..vertex.clone() };
        let betas = Envelope { betas: vec!["a", "b"], ..bedrock.clone() };
        for (wanted, body, expected) in [
            (&vertex, r#"{"model":"m","stream":true}"#, r#"{"anthropic_version":"v","stream":true}"#),
            (
                &vertex,
                " { \"x\" : [ \"model\" ] ,\n\"model\" : \"m\" } ",
                " { \"x\" : [ \"model\" ] ,\n\"anthropic_version\":\"v\" } ",
            ),
            (
                &vertex,
                r#"{"mod\u0065l":"m","x":{"model":1}}"#,
                r#"{"anthropic_version":"v","x":{"model":1}}"#,
            ),
            (&vertex, r#"{"anthropic_version":"own","model":"m"}"#, r#"{"anthropic_version":"v"}"#),
            (&counts, r#"{"model":"m"}"#, r#"{"anthropic_version":"v","model":"m"}"#),
            (&counts, "{}", r#"{"anthropic_version":"v"}"#),
            (&bedrock, r#"{"model":"m","stream":true,"x":1}"#, r#"{"anthropic_version":"v","x":1}"#),
            (&bedrock, r#"{"x":1,"model":"m", "stream" : true }"#, r#"{"x":1,"anthropic_version":"v" }"#),
            (&bedrock, r#"{"stream":true,"model":"m"}"#, r#"{"anthropic_version":"v"}"#),
            (
                &bedrock,
                r#"{"x":1,"stream":true,"anthropic_version":"own","model":"m"}"#,
                r#"{"x":1,"anthropic_version":"v"}"#,
            ),
            (
                &bedrock,
                r#"{"model":"m","x":1,"stream":true,"anthropic_version":"own"}"#,
                r#"{"anthropic_version":"v","x":1}"#,
            ),
            (&betas, r#"{"model":"m"}"#, r#"{"anthropic_version":"v","anthropic_beta":["a","b"]}"#),
            (
                &betas,
                r#"{"anthropic_beta":["c"],"model":"m"}"#,
                r#"{"anthropic_beta":["c"],"anthropic_version":"v"}"#,
            ),
            (&betas, "[]", "[]"),
        ] {
            let made = made(body, wanted);
            assert_eq!(made, expected, "{body}");
            serde_json::from_str::<Value>(&made).unwrap();
        }
    }

    #[test]
    fn a_count_that_is_wrapped_is_unwrapped_to_what_the_cloud_knows() {
        let wrapped =
            br#"{"generateContentRequest":{"model":"models/m","contents":[1],"toolConfig":{},"tools":[]}}"#;
        assert_eq!(unwrapped_count(wrapped).unwrap(), r#"{"contents":[1],"tools":[]}"#);
        assert_eq!(unwrapped_count(br#"{"contents":[1]}"#), None);
    }
}

//! `OpenAI`'s Responses API: one JSON object, or the long sequence of named, numbered events.
//!
//! Invariant: `sequence_number` is the index of the event in the stream, whatever its kind.

use crate::reply::{Reply, Sse};
use crate::story::{Story, fill};

const USAGE: &str = r#"{"input_tokens":$input,"input_tokens_details":{"cached_tokens":$cache_read,"cache_write_tokens":0},"output_tokens":$output,"output_tokens_details":{"reasoning_tokens":$reasoning},"total_tokens":$total}"#;
const PART: &str = r#"{"type":"output_text","annotations":[],"logprobs":[],"text":$text}"#;
const EMPTY_PART: &str = r#"{"type":"output_text","annotations":[],"logprobs":[],"text":""}"#;

/// The answer of `responses/input_tokens`.
pub(crate) fn count(story: &Story) -> Reply {
    Reply::json(200, story.tell(r#"{"object":"response.input_tokens","input_tokens":$input}"#, ""))
}

pub(crate) fn whole(story: &Story) -> Reply {
    let output = format!("[{}]", item("completed", &format!("[{PART}]")));
    Reply::json(200, story.tell_all(&response("completed", &output, USAGE)))
}

pub(crate) fn stream(story: &Story) -> Reply {
    let mut events = Numbered { story, sse: Sse::default() };
    let running = response("in_progress", "[]", "null");
    events.add("response.created", &format!(r#""response":{running}"#), "");
    events.add("response.in_progress", &format!(r#""response":{running}"#), "");
    let opened = item("in_progress", "[]");
    events.add("response.output_item.added", &format!(r#""output_index":0,"item":{opened}"#), "");
    events.add("response.content_part.added", &at(&format!(r#""part":{EMPTY_PART}"#)), "");
    for piece in &story.pieces {
        events.add("response.output_text.delta", &at(r#""delta":$text,"logprobs":[]"#), piece);
    }
    let text = story.pieces.concat();
    let closed = item("completed", &format!("[{PART}]"));
    events.add("response.output_text.done", &at(r#""text":$text,"logprobs":[]"#), &text);
    events.add("response.content_part.done", &at(&format!(r#""part":{PART}"#)), &text);
    events.add("response.output_item.done", &format!(r#""output_index":0,"item":{closed}"#), &text);
    let done = response("completed", &format!("[{closed}]"), USAGE);
    events.add("response.completed", &format!(r#""response":{done}"#), &text);
    events.sse.reply()
}

struct Numbered<'a> {
    story: &'a Story,
    sse: Sse,
}

impl Numbered<'_> {
    fn add(&mut self, name: &str, fields: &str, piece: &str) {
        let number = self.sse.len().to_string();
        let beginning =
            fill(r#"{"type":"$name","sequence_number":$number,"#, &[("name", name), ("number", &number)]);
        self.sse.named(name, &self.story.tell(&format!("{beginning}{fields}}}"), piece));
    }
}

/// Fields of an event about the one part of the one item.
fn at(fields: &str) -> String {
    format!(r#""item_id":"msg_fake","output_index":0,"content_index":0,{fields}"#)
}

fn item(status: &str, content: &str) -> String {
    format!(
        r#"{{"id":"msg_fake","type":"message","status":"{status}","role":"assistant","content":{content}}}"#
    )
}

fn response(status: &str, output: &str, usage: &str) -> String {
    format!(
        r#"{{"id":"resp_fake","object":"response","created_at":1760000000,"status":"{status}","background":false,"error":null,"incomplete_details":null,"instructions":null,"max_output_tokens":null,"max_tool_calls":null,"model":$model,"output":{output},"parallel_tool_calls":true,"previous_response_id":null,"prompt_cache_key":null,"reasoning":{{"effort":null,"summary":null}},"safety_identifier":null,"service_tier":"default","store":true,"temperature":1.0,"text":{{"format":{{"type":"text"}},"verbosity":"medium"}},"tool_choice":"auto","tools":[],"top_logprobs":0,"top_p":1.0,"truncation":"disabled","usage":{usage},"user":null,"metadata":{{}}}}"#
    )
}

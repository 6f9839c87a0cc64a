//! `OpenAI`'s Responses API: one JSON object, or the long sequence of named, numbered events.
//!
//! Invariant: `sequence_number` is the index of the event in the stream, whatever its kind.

use crate::conversation::Call;
use crate::reply::{Reply, Sse};
use crate::story::{Story, fill, fragments, quote};

const USAGE: &str = r#"{"input_tokens":$input,"input_tokens_details":{"cached_tokens":$cache_read,"cache_write_tokens":0},"output_tokens":$output,"output_tokens_details":{"reasoning_tokens":$reasoning},"total_tokens":$total}"#;
/// The answer of `responses/input_tokens`.
pub(crate) fn count(story: &Story) -> Reply {
    Reply::json(200, story.tell(r#"{"object":"response.input_tokens","input_tokens":$input}"#, ""))
}

/// A conversation made shorter.
pub(crate) fn compacted(story: &Story) -> Reply {
    let template = format!(
        r#"{{"id":"resp_compact","object":"response.compaction","created_at":1760000000,"output":[{{"id":"cmp_fake","type":"compaction","encrypted_content":"sealed"}}],"usage":{USAGE}}}"#
    );
    Reply::json(200, story.tell(&template, ""))
}

/// One that was told to stop.
pub(crate) fn cancelled(model: &str) -> Reply {
    Reply::json(200, fill(&response("cancelled", "[]", "null"), &[("model", &quote(model))]))
}

/// One that is made in the background, and not done.
pub(crate) fn under_way(model: &str, status: &str) -> Reply {
    let body = fill(&response(status, "[]", "null"), &[("model", &quote(model))]);
    Reply::json(200, body.replace(r#""background":false"#, r#""background":true"#))
}

pub(crate) fn whole(story: &Story) -> Reply {
    let items = items(story, "completed");
    let template = response("completed", "$items", USAGE);
    Reply::json(200, story.tell_all_with(&template, &[("items", &list(&items))]))
}

/// The items of the whole answer: what was thought, then what is called, else what is said.
fn items(story: &Story, status: &str) -> Vec<String> {
    let thought = story.thinking().map(|(text, signature)| reasoning(&summary(&text), &quote(&signature)));
    let calls = story.calls.iter().map(|call| function_call(call, status, &call.arguments));
    let said =
        story.calls.is_empty().then(|| message(status, &format!("[{}]", part(&story.pieces.concat()))));
    thought.into_iter().chain(calls).chain(said).collect()
}

fn list(items: &[String]) -> String {
    format!("[{}]", items.join(","))
}

fn part(text: &str) -> String {
    fill(r#"{"type":"output_text","annotations":[],"logprobs":[],"text":$text}"#, &[("text", &quote(text))])
}

fn summary(text: &str) -> String {
    fill(r#"[{"type":"summary_text","text":$text}]"#, &[("text", &quote(text))])
}

fn reasoning(summary: &str, sealed: &str) -> String {
    format!(r#"{{"id":"rs_fake","type":"reasoning","summary":{summary},"encrypted_content":{sealed}}}"#)
}

fn message(status: &str, content: &str) -> String {
    format!(
        r#"{{"id":"msg_fake","type":"message","status":"{status}","role":"assistant","content":{content}}}"#
    )
}

fn function_call(call: &Call, status: &str, arguments: &str) -> String {
    let (number, name, arguments) = (call.number, quote(&call.name), quote(arguments));
    format!(
        r#"{{"id":"fc_fake_{number}","type":"function_call","status":"{status}","arguments":{arguments},"call_id":"call_fake_{number}","name":{name}}}"#
    )
}

pub(crate) fn stream(story: &Story) -> Reply {
    let mut events = Numbered { story, sse: Sse::default(), items: 0 };
    let running = response("in_progress", "[]", "null");
    events.add("response.created", &format!(r#""response":{running}"#), &[]);
    events.add("response.in_progress", &format!(r#""response":{running}"#), &[]);
    events.thinks();
    for call in &story.calls {
        events.calls(call);
    }
    if story.calls.is_empty() {
        events.says();
    }
    let done = response("completed", "$items", USAGE);
    let output = list(&items(story, "completed"));
    events.add("response.completed", &format!(r#""response":{done}"#), &[("items", &output)]);
    events.sse.reply()
}

struct Numbered<'a> {
    story: &'a Story,
    sse: Sse,
    /// How many items were closed.
    items: usize,
}

impl Numbered<'_> {
    fn add(&mut self, name: &str, fields: &str, values: &[(&str, &str)]) {
        let (number, item) = (self.sse.len().to_string(), self.items.to_string());
        let template = format!(r#"{{"type":"$name","sequence_number":$number,{fields}}}"#);
        let mut all = vec![("name", name), ("number", &number), ("at", &item)];
        all.extend_from_slice(values);
        self.sse.named(name, &self.story.tell_with(&template, "", &all));
    }

    fn item(&mut self, event: &str, item: &str) {
        self.add(event, r#""output_index":$at,"item":$item"#, &[("item", item)]);
        self.items += usize::from(event == "response.output_item.done");
    }

    fn thinks(&mut self) {
        const AT: &str = r#""item_id":"rs_fake","output_index":$at,"summary_index":0"#;
        let Some((text, signature)) = self.story.thinking() else { return };
        let whole = quote(&text);
        self.item("response.output_item.added", &reasoning("[]", "null"));
        let part = |of: &str| format!(r#"{AT},"part":{{"type":"summary_text","text":{of}}}"#);
        self.add("response.reasoning_summary_part.added", &part(r#""""#), &[]);
        for piece in &self.story.thoughts {
            let delta = format!(r#"{AT},"delta":$piece"#);
            self.add("response.reasoning_summary_text.delta", &delta, &[("piece", &quote(piece))]);
        }
        let done = format!(r#"{AT},"text":$piece"#);
        self.add("response.reasoning_summary_text.done", &done, &[("piece", &whole)]);
        self.add("response.reasoning_summary_part.done", &part("$piece"), &[("piece", &whole)]);
        self.item("response.output_item.done", &reasoning(&summary(&text), &quote(&signature)));
    }

    fn calls(&mut self, call: &Call) {
        let at = format!(r#""item_id":"fc_fake_{}","output_index":$at"#, call.number);
        self.item("response.output_item.added", &function_call(call, "in_progress", ""));
        for fragment in fragments(&call.arguments) {
            let delta = format!(r#"{at},"delta":$piece"#);
            self.add("response.function_call_arguments.delta", &delta, &[("piece", &quote(&fragment))]);
        }
        let done = format!(r#"{at},"arguments":$piece"#);
        self.add("response.function_call_arguments.done", &done, &[("piece", &quote(&call.arguments))]);
        self.item("response.output_item.done", &function_call(call, "completed", &call.arguments));
    }

    fn says(&mut self) {
        const AT: &str = r#""item_id":"msg_fake","output_index":$at,"content_index":0"#;
        let text = self.story.pieces.concat();
        let (whole, closed) = (quote(&text), part(&text));
        self.item("response.output_item.added", &message("in_progress", "[]"));
        let part_event = format!(r#"{AT},"part":$part"#);
        self.add("response.content_part.added", &part_event, &[("part", &part(""))]);
        for piece in &self.story.pieces {
            let delta = format!(r#"{AT},"delta":$piece,"logprobs":[]"#);
            self.add("response.output_text.delta", &delta, &[("piece", &quote(piece))]);
        }
        let done = format!(r#"{AT},"text":$piece,"logprobs":[]"#);
        self.add("response.output_text.done", &done, &[("piece", &whole)]);
        self.add("response.content_part.done", &part_event, &[("part", &closed)]);
        self.item("response.output_item.done", &message("completed", &format!("[{closed}]")));
    }
}

fn response(status: &str, output: &str, usage: &str) -> String {
    format!(
        r#"{{"id":"resp_fake","object":"response","created_at":1760000000,"status":"{status}","background":false,"error":null,"incomplete_details":null,"instructions":null,"max_output_tokens":null,"max_tool_calls":null,"model":$model,"output":{output},"parallel_tool_calls":true,"previous_response_id":null,"prompt_cache_key":null,"reasoning":{{"effort":null,"summary":null}},"safety_identifier":null,"service_tier":"default","store":true,"temperature":1.0,"text":{{"format":{{"type":"text"}},"verbosity":"medium"}},"tool_choice":"auto","tools":[],"top_logprobs":0,"top_p":1.0,"truncation":"disabled","usage":{usage},"user":null,"metadata":{{}}}}"#
    )
}

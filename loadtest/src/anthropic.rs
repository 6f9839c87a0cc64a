//! Anthropic's answers: messages, token counts, models.

use crate::conversation::Call;
use crate::reply::{Reply, Sse};
use crate::story::{Story, fill, fragments, quote};

const MESSAGE_STARTS: &str = r#"{"type":"message_start","message":{"id":"msg_fake","type":"message","role":"assistant","model":$model,"content":[],"stop_reason":null,"stop_sequence":null,"stop_details":null,"container":null,"usage":{"input_tokens":$plain_input,"cache_creation_input_tokens":$cache_write,"cache_read_input_tokens":$cache_read,"cache_creation":{"ephemeral_5m_input_tokens":$cache_write,"ephemeral_1h_input_tokens":0},"output_tokens":1,"service_tier":"standard","inference_geo":null,"server_tool_use":null}}}"#;
const MESSAGE: &str = r#"{"id":"msg_fake","type":"message","role":"assistant","model":$model,"content":[$content],"stop_reason":$stop,"stop_sequence":null,"stop_details":null,"container":null,"usage":{"input_tokens":$plain_input,"cache_creation_input_tokens":$cache_write,"cache_read_input_tokens":$cache_read,"cache_creation":{"ephemeral_5m_input_tokens":$cache_write,"ephemeral_1h_input_tokens":0},"output_tokens":$output,"output_tokens_details":{"thinking_tokens":$reasoning},"service_tier":"standard","inference_geo":null,"server_tool_use":null}}"#;
const MODEL: &str = r#"{"type":"model","id":$model,"display_name":$model,"created_at":"2025-10-09T08:53:20Z","lifecycle":"active","deprecated_at":null,"capabilities":null,"line":null,"max_input_tokens":200000,"max_tokens":64000}"#;

pub(crate) fn message(story: &Story) -> Reply {
    let thought = story.thinking().map(|(text, signature)| {
        let values = [("thinking", quote(&text)), ("signature", quote(&signature))];
        let values = values.each_ref().map(|(name, value)| (*name, value.as_str()));
        fill(r#"{"type":"thinking","thinking":$thinking,"signature":$signature}"#, &values)
    });
    let calls = story.calls.iter().map(|call| tool_use(call, &call.arguments));
    let said = story.calls.is_empty().then(|| {
        let text = quote(&story.pieces.concat());
        fill(r#"{"type":"text","text":$text,"citations":null}"#, &[("text", &text)])
    });
    let content: Vec<String> = thought.into_iter().chain(calls).chain(said).collect();
    let more = [("content", content.join(",")), ("stop", stop_reason(story).to_owned())];
    let more = more.each_ref().map(|(name, value)| (*name, value.as_str()));
    Reply::json(200, story.tell_with(MESSAGE, "", &more))
}

fn stop_reason(story: &Story) -> &'static str {
    if story.calls.is_empty() { r#""end_turn""# } else { r#""tool_use""# }
}

fn tool_use(call: &Call, input: &str) -> String {
    let id = quote(&format!("toolu_fake_{}", call.number));
    let values = [("id", id.as_str()), ("name", &quote(&call.name)), ("input", input)];
    fill(r#"{"type":"tool_use","id":$id,"name":$name,"input":$input,"caller":{"type":"direct"}}"#, &values)
}

pub(crate) fn stream(story: &Story) -> Reply {
    let mut blocks = Blocks::default();
    blocks.sse.named("message_start", &story.tell(MESSAGE_STARTS, ""));
    if let Some((_, signature)) = story.thinking() {
        let thoughts = story.thoughts.iter().map(|piece| delta("thinking_delta", "thinking", piece));
        let signed = delta("signature_delta", "signature", &signature);
        blocks.add(r#"{"type":"thinking","thinking":"","signature":""}"#, thoughts.chain([signed]));
    }
    for call in &story.calls {
        let pieces = [String::new()].into_iter().chain(fragments(&call.arguments));
        let deltas = pieces.map(|piece| delta("input_json_delta", "partial_json", &piece));
        blocks.add(&tool_use(call, "{}"), deltas);
    }
    if story.calls.is_empty() {
        let deltas = story.pieces.iter().map(|piece| delta("text_delta", "text", piece));
        blocks.add(r#"{"type":"text","text":""}"#, deltas);
    }
    let ended = r#"{"type":"message_delta","delta":{"stop_reason":$stop,"stop_sequence":null,"stop_details":null,"container":null},"usage":{"input_tokens":$plain_input,"cache_creation_input_tokens":$cache_write,"cache_read_input_tokens":$cache_read,"output_tokens":$output,"output_tokens_details":{"thinking_tokens":$reasoning},"server_tool_use":null}}"#;
    blocks.sse.named("message_delta", &story.tell_with(ended, "", &[("stop", stop_reason(story))]));
    blocks.sse.named("message_stop", r#"{"type":"message_stop"}"#);
    blocks.sse.reply()
}

fn delta(kind: &str, member: &str, piece: &str) -> String {
    format!(r#"{{"type":"{kind}","{member}":{}}}"#, quote(piece))
}

/// The blocks of a streamed message, numbered.
#[derive(Default)]
struct Blocks {
    sse: Sse,
    count: usize,
}

impl Blocks {
    fn add(&mut self, block: &str, deltas: impl Iterator<Item = String>) {
        let index = self.count;
        let start = format!(r#"{{"type":"content_block_start","index":{index},"content_block":{block}}}"#);
        self.sse.named("content_block_start", &start);
        if index == 0 {
            self.sse.named("ping", PING);
        }
        for delta in deltas {
            let event = format!(r#"{{"type":"content_block_delta","index":{index},"delta":{delta}}}"#);
            self.sse.named("content_block_delta", &event);
        }
        self.sse.named("content_block_stop", &format!(r#"{{"type":"content_block_stop","index":{index}}}"#));
        self.count += 1;
    }
}

/// The data of the keep-alive event.
pub(crate) const PING: &str = r#"{"type":"ping"}"#;

pub(crate) fn count_tokens(story: &Story) -> Reply {
    Reply::json(200, story.tell(r#"{"input_tokens":$input}"#, ""))
}

pub(crate) fn models(models: &[String]) -> Reply {
    let list: Vec<String> = models.iter().map(|model| describe(model)).collect();
    let edge = |model: Option<&String>| model.map_or_else(|| "null".to_owned(), |model| quote(model));
    Reply::json(
        200,
        fill(
            r#"{"data":[$list],"has_more":false,"first_id":$first,"last_id":$last}"#,
            &[("list", &list.join(",")), ("first", &edge(models.first())), ("last", &edge(models.last()))],
        ),
    )
}

pub(crate) fn model(model: &str) -> Reply {
    Reply::json(200, describe(model))
}

fn describe(model: &str) -> String {
    fill(MODEL, &[("model", &quote(model))])
}

//! Anthropic's answers: messages, token counts, models.

use crate::reply::{Reply, Sse};
use crate::story::{Story, fill, quote};

const MESSAGE_STARTS: &str = r#"{"type":"message_start","message":{"id":"msg_fake","type":"message","role":"assistant","model":$model,"content":[],"stop_reason":null,"stop_sequence":null,"stop_details":null,"container":null,"usage":{"input_tokens":$plain_input,"cache_creation_input_tokens":$cache_write,"cache_read_input_tokens":$cache_read,"cache_creation":{"ephemeral_5m_input_tokens":$cache_write,"ephemeral_1h_input_tokens":0},"output_tokens":1,"service_tier":"standard","inference_geo":null,"server_tool_use":null}}}"#;
const MESSAGE: &str = r#"{"id":"msg_fake","type":"message","role":"assistant","model":$model,"content":[{"type":"text","text":$text,"citations":null}],"stop_reason":"end_turn","stop_sequence":null,"stop_details":null,"container":null,"usage":{"input_tokens":$plain_input,"cache_creation_input_tokens":$cache_write,"cache_read_input_tokens":$cache_read,"cache_creation":{"ephemeral_5m_input_tokens":$cache_write,"ephemeral_1h_input_tokens":0},"output_tokens":$output,"output_tokens_details":{"thinking_tokens":$reasoning},"service_tier":"standard","inference_geo":null,"server_tool_use":null}}"#;
const MODEL: &str = r#"{"type":"model","id":$model,"display_name":$model,"created_at":"2025-10-09T08:53:20Z","lifecycle":"active","deprecated_at":null,"capabilities":null,"line":null,"max_input_tokens":200000,"max_tokens":64000}"#;

pub(crate) fn message(story: &Story) -> Reply {
    Reply::json(200, story.tell_all(MESSAGE))
}

pub(crate) fn stream(story: &Story) -> Reply {
    let mut sse = Sse::default();
    sse.named("message_start", &story.tell(MESSAGE_STARTS, ""));
    sse.named(
        "content_block_start",
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
    );
    sse.named("ping", PING);
    for piece in &story.pieces {
        let delta = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":$text}}"#;
        sse.named("content_block_delta", &story.tell(delta, piece));
    }
    sse.named("content_block_stop", r#"{"type":"content_block_stop","index":0}"#);
    let delta = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null,"stop_details":null,"container":null},"usage":{"input_tokens":$plain_input,"cache_creation_input_tokens":$cache_write,"cache_read_input_tokens":$cache_read,"output_tokens":$output,"output_tokens_details":{"thinking_tokens":$reasoning},"server_tool_use":null}}"#;
    sse.named("message_delta", &story.tell(delta, ""));
    sse.named("message_stop", r#"{"type":"message_stop"}"#);
    sse.reply()
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

//! OpenAI's responses: what their bodies hold, and the codecs that read and write them.

pub(super) mod answer;
pub(super) mod decode;
pub(super) mod encode;
mod items;
pub(super) mod listen;
mod output;
pub(super) mod speak;
mod turns;

use super::json::{Many, Raw, Text, message};

message! {
    Body {
        model: Text<'a>,
        input: Many<'a, Item<'a>>,
        instructions: Text<'a>,
        max_output_tokens: u64,
        max_tool_calls: u64,
        temperature: f64,
        top_p: f64,
        top_logprobs: u64,
        tools: &'a serde_json::value::RawValue,
        tool_choice: Raw<'a>,
        parallel_tool_calls: bool,
        text: &'a serde_json::value::RawValue,
        reasoning: Raw<'a>,
        stream: bool,
        stream_options: Raw<'a>,
        include: Vec<Text<'a>>,
        user: Text<'a>,
        safety_identifier: Text<'a>,
        metadata: Raw<'a>,
        service_tier: Text<'a>,
        store: bool,
        background: bool,
        previous_response_id: Text<'a>,
        conversation: Raw<'a>,
        prompt: Raw<'a>,
        prompt_cache_key: Text<'a>,
        prompt_cache_retention: Text<'a>,
        truncation: Text<'a>,
        client_metadata: Raw<'a>,
    }
}

message! {
    Item {
        kind["type"]: Text<'a>,
        id: Text<'a>,
        role: Text<'a>,
        content: Many<'a, Piece<'a>>,
        status: Text<'a>,
        phase: Text<'a>,
        call_id: Text<'a>,
        name: Text<'a>,
        namespace: Text<'a>,
        arguments: Text<'a>,
        input: Text<'a>,
        output: Many<'a, Piece<'a>>,
        summary: Vec<Piece<'a>>,
        encrypted_content: Text<'a>,
        result: Text<'a>,
    }
}

message! {
    Piece {
        kind["type"]: Text<'a>,
        text: Text<'a>,
        refusal: Text<'a>,
        image_url: Text<'a>,
        detail: Text<'a>,
        file_id: Text<'a>,
        file_data: Text<'a>,
        file_url: Text<'a>,
        filename: Text<'a>,
        input_audio: super::chat::InputAudio<'a>,
        annotations: Vec<Annotation<'a>>,
        logprobs: Raw<'a>,
        prompt_cache_breakpoint: super::chat::Breakpoint<'a>,
    }
}

message! {
    Annotation {
        kind["type"]: Text<'a>,
        url: Text<'a>,
        title: Text<'a>,
        start_index: u64,
        end_index: u64,
        filename: Text<'a>,
        file_id: Text<'a>,
    }
}

message! {
    ToolDef {
        kind["type"]: Text<'a>,
        name: Text<'a>,
        description: Text<'a>,
        parameters: Raw<'a>,
        strict: bool,
        format: Raw<'a>,
        tools: Vec<ToolDef<'a>>,
        filters: Filters<'a>,
        search_context_size: Text<'a>,
        user_location: super::search::Where<'a>,
    }
}

message! { Filters { allowed_domains: Vec<Text<'a>>, blocked_domains: Vec<Text<'a>> } }
message! { TextConfig { format: TextFormat<'a>, verbosity: Text<'a> } }

message! {
    TextFormat {
        kind["type"]: Text<'a>,
        name: Text<'a>,
        description: Text<'a>,
        schema: Raw<'a>,
        strict: bool,
    }
}

message! { ReasoningConfig { effort: Text<'a>, summary: Text<'a>, generate_summary: Text<'a> } }

/// A tool of a namespace, under one name.
fn spaced(namespace: &str, name: &str) -> String {
    format!("{}__{name}", namespace.trim_end_matches('_'))
}

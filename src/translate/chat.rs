//! OpenAI's chat completions, and the many providers that speak them: what bodies hold, and their codecs.

pub(super) mod answer;
pub(super) mod decode;
pub(super) mod encode;
pub(super) mod listen;
pub(super) mod mixed;
pub(super) mod speak;
mod turns;

use super::json::{Many, Raw, Text, message};

message! {
    Body {
        model: Text<'a>,
        messages: Vec<Message<'a>>,
        max_tokens: u64,
        max_completion_tokens: u64,
        temperature: f64,
        top_p: f64,
        top_k: u64,
        n: u64,
        stream: bool,
        stream_options: StreamOptions<'a>,
        stop: Many<'a, Text<'a>>,
        presence_penalty: f64,
        frequency_penalty: f64,
        logit_bias: Raw<'a>,
        logprobs: bool,
        top_logprobs: u64,
        user: Text<'a>,
        safety_identifier: Text<'a>,
        seed: i64,
        tools: Vec<ToolDef<'a>>,
        functions: Vec<Function<'a>>,
        tool_choice: Raw<'a>,
        function_call: Raw<'a>,
        parallel_tool_calls: bool,
        response_format: ResponseFormat<'a>,
        reasoning_effort: Text<'a>,
        verbosity: Text<'a>,
        metadata: super::json::Members<'a>,
        store: bool,
        service_tier: Text<'a>,
        modalities: Vec<Text<'a>>,
        prompt_cache_key: Text<'a>,
        prompt_cache_retention: Text<'a>,
        web_search_options: SearchOptions<'a>,
    }
}

message! { SearchOptions { search_context_size: Text<'a>, user_location: super::search::Where<'a> } }
message! { StreamOptions { include_usage: bool, include_obfuscation: bool } }

message! {
    Message {
        role: Text<'a>,
        content: Many<'a, Piece<'a>>,
        name: Text<'a>,
        tool_calls: Vec<ToolCall<'a>>,
        tool_call_id: Text<'a>,
        function_call: Function<'a>,
        refusal: Text<'a>,
        reasoning_content: Text<'a>,
        reasoning: Text<'a>,
        annotations: Vec<Annotation<'a>>,
        audio: Raw<'a>,
    }
}

message! {
    Piece {
        kind["type"]: Text<'a>,
        text: Text<'a>,
        refusal: Text<'a>,
        image_url: Many<'a, ImageUrl<'a>>,
        input_audio: InputAudio<'a>,
        file: Attached<'a>,
        prompt_cache_breakpoint: Breakpoint<'a>,
        cache_control: Raw<'a>,
    }
}

message! { ImageUrl { url: Text<'a>, detail: Text<'a> } }
message! { InputAudio { data: Text<'a>, format: Text<'a> } }
message! { Attached { file_data: Text<'a>, file_id: Text<'a>, filename: Text<'a> } }
message! { Breakpoint { mode: Text<'a>, ttl: Text<'a> } }

message! {
    ToolCall {
        index: u64,
        id: Text<'a>,
        kind["type"]: Text<'a>,
        function: Function<'a>,
        custom: Custom<'a>,
    }
}

message! {
    Function {
        name: Text<'a>,
        description: Text<'a>,
        parameters: Raw<'a>,
        strict: bool,
        arguments: Raw<'a>,
    }
}

message! { Custom { name: Text<'a>, description: Text<'a>, format: Raw<'a>, input: Text<'a> } }

message! {
    ToolDef {
        kind["type"]: Text<'a>,
        function: Function<'a>,
        custom: Custom<'a>,
    }
}

message! { ResponseFormat { kind["type"]: Text<'a>, json_schema: JsonSchema<'a> } }

message! {
    JsonSchema { name: Text<'a>, description: Text<'a>, schema: Raw<'a>, strict: bool }
}

message! { Annotation { kind["type"]: Text<'a>, url_citation: UrlCitation<'a> } }

message! {
    UrlCitation { url: Text<'a>, title: Text<'a>, start_index: u64, end_index: u64 }
}

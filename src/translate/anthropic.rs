//! Anthropic's messages: what their bodies hold, and the codecs that read and write them.

pub(super) mod answer;
mod blocks;
pub(super) mod decode;
pub(super) mod encode;
pub(super) mod listen;
mod model;
pub(super) mod speak;
mod turns;

use super::json::{Many, Members, Raw, Text, message};

message! {
    Body {
        model: Text<'a>,
        messages: Vec<Message<'a>>,
        system: Many<'a, Block<'a>>,
        max_tokens: u64,
        metadata: Metadata<'a>,
        stop_sequences: Vec<Text<'a>>,
        stream: bool,
        temperature: f64,
        top_p: f64,
        top_k: u64,
        tools: Vec<ToolDef<'a>>,
        tool_choice: ToolChoice<'a>,
        thinking: ThinkingConfig<'a>,
        output_config: OutputConfig<'a>,
        output_format: OutputFormat<'a>,
        cache_control: CacheControl<'a>,
        service_tier: Text<'a>,
    }
}

message! { Metadata { user_id: Text<'a> } }
message! { CacheControl { kind["type"]: Text<'a>, ttl: Text<'a> } }
message! { Message { role: Text<'a>, content: Many<'a, Block<'a>> } }

message! {
    Block {
        kind["type"]: Text<'a>,
        text: Text<'a>,
        citations: Raw<'a>,
        cache_control: CacheControl<'a>,
        source: Many<'a, Source<'a>>,
        id: Text<'a>,
        name: Text<'a>,
        input: Raw<'a>,
        tool_use_id: Text<'a>,
        content: Many<'a, Block<'a>>,
        is_error: bool,
        thinking: Text<'a>,
        signature: Text<'a>,
        data: Text<'a>,
        title: Text<'a>,
        context: Text<'a>,
        caller: Raw<'a>,
    }
}

message! {
    Source {
        kind["type"]: Text<'a>,
        media_type: Text<'a>,
        data: Text<'a>,
        url: Text<'a>,
        file_id: Text<'a>,
        content: Many<'a, Block<'a>>,
    }
}

message! {
    ToolDef {
        kind["type"]: Text<'a>,
        name: Text<'a>,
        description: Text<'a>,
        input_schema: Raw<'a>,
        cache_control: CacheControl<'a>,
        strict: bool,
        eager_input_streaming: bool,
        max_uses: u64,
        allowed_domains: Vec<Text<'a>>,
        blocked_domains: Vec<Text<'a>>,
        user_location: super::search::Where<'a>,
    }
}

message! { ToolChoice { kind["type"]: Text<'a>, name: Text<'a>, disable_parallel_tool_use: bool } }
message! { ThinkingConfig { kind["type"]: Text<'a>, budget_tokens: u64, display: Text<'a> } }
message! { OutputConfig { effort: Text<'a>, format: OutputFormat<'a> } }
message! { OutputFormat { kind["type"]: Text<'a>, schema: Raw<'a> } }

message! {
    Reference {
        kind["type"]: Text<'a>,
        url: Text<'a>,
        source: Text<'a>,
        title: Text<'a>,
        document_title: Text<'a>,
        cited_text: Text<'a>,
    }
}

/// Anthropic's own member of a list of citations.
fn citations<'a>(raw: Option<&'a Raw<'_>>) -> Vec<super::unified::Citation<'static>> {
    let listed: Vec<Raw<'a>> = raw.and_then(Raw::read).unwrap_or_default();
    listed.iter().filter_map(citation).collect()
}

fn citation(raw: &Raw<'_>) -> Option<super::unified::Citation<'static>> {
    let of: Reference<'_> = raw.read()?;
    let owned = |text: Option<Text<'_>>| text.map(Text::into_owned);
    Some(super::unified::Citation {
        url: owned(of.url.or(of.source)),
        title: owned(of.title.or(of.document_title)),
        quote: owned(of.cited_text),
        span: None,
        anthropic: Some(raw.clone().into_owned()),
    })
}

/// Whether an object has a member that is true.
fn is_on(raw: Option<&Raw<'_>>, member: &str) -> bool {
    raw.is_some_and(|raw| Members::of(raw).find(member).is_some_and(|value| value.json() == "true"))
}

//! Counted tokens in each protocol's own members; reading them is what the observer of answers does too.
//!
//! Invariant: what one protocol includes and another counts apart is added or taken away, so that the total stays.

use super::json::Object;
use crate::usage::Usage;

/// Chat completions: the prompt with what the cache gave and took.
pub(super) fn chat(usage: &Usage, of: &mut Object<'_>) {
    of.number("prompt_tokens", usage.input_total());
    of.number("completion_tokens", usage.output);
    of.number("total_tokens", usage.total());
    of.object("prompt_tokens_details", |details| {
        details.number("cached_tokens", usage.cache_read);
        if usage.cache_write > 0 {
            details.number("cache_write_tokens", usage.cache_write);
        }
        details.number("audio_tokens", usage.media.input_audio + usage.media.cache_read_audio);
    });
    of.object("completion_tokens_details", |details| {
        details.number("reasoning_tokens", usage.reasoning);
        details.number("audio_tokens", usage.media.output_audio);
    });
}

/// Responses: the same under other names.
pub(super) fn responses(usage: &Usage, of: &mut Object<'_>) {
    of.number("input_tokens", usage.input_total());
    of.object("input_tokens_details", |details| {
        details.number("cached_tokens", usage.cache_read);
        details.number("cache_write_tokens", usage.cache_write);
    });
    of.number("output_tokens", usage.output);
    of.object("output_tokens_details", |details| {
        details.number("reasoning_tokens", usage.reasoning);
    });
    of.number("total_tokens", usage.total());
}

/// Anthropic's messages: the prompt without what the cache gave and took.
pub(super) fn anthropic(usage: &Usage, of: &mut Object<'_>) {
    of.number("input_tokens", usage.input);
    of.number("cache_creation_input_tokens", usage.cache_write);
    of.number("cache_read_input_tokens", usage.cache_read);
    if usage.cache_write > 0 {
        of.object("cache_creation", |kept| {
            kept.number("ephemeral_5m_input_tokens", usage.cache_write.saturating_sub(usage.cache_write_1h));
            kept.number("ephemeral_1h_input_tokens", usage.cache_write_1h);
        });
    }
    anthropic_output(usage, of);
}

/// What of it the end of a stream says.
pub(super) fn anthropic_output(usage: &Usage, of: &mut Object<'_>) {
    of.number("output_tokens", usage.output);
    if usage.reasoning > 0 {
        of.object("output_tokens_details", |details| {
            details.number("thinking_tokens", usage.reasoning);
        });
    }
    if usage.web_searches > 0 {
        of.object("server_tool_use", |tools| {
            tools.number("web_search_requests", usage.web_searches).number("web_fetch_requests", 0);
        });
    }
}

/// Gemini: the prompt with what the cache gave, the answer without its thoughts.
pub(super) fn gemini(usage: &Usage, of: &mut Object<'_>) {
    of.number("promptTokenCount", usage.input_total());
    if usage.cache_read > 0 {
        of.number("cachedContentTokenCount", usage.cache_read);
    }
    of.number("candidatesTokenCount", usage.output.saturating_sub(usage.reasoning));
    if usage.reasoning > 0 {
        of.number("thoughtsTokenCount", usage.reasoning);
    }
    of.number("totalTokenCount", usage.total());
}

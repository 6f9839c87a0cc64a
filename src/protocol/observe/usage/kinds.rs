//! What providers count beside the tokens everybody counts: media, kept caches, searches.

use super::*;

fn of(grammar: Grammar) -> Operation {
    match grammar {
        Grammar::Chat => Operation::ChatCompletions,
        Grammar::Responses => Operation::Responses,
        Grammar::Messages => Operation::Messages,
        Grammar::Gemini => Operation::GenerateContent,
        Grammar::Media => Operation::Transcriptions,
    }
}

#[test]
fn what_has_a_price_of_its_own_is_counted_as_part_of_its_type() {
    use Grammar::{Chat, Gemini, Messages, Responses};
    for (grammar, steps, expected) in [
        (
            Messages,
            vec![
                r#"{"input_tokens":10,"output_tokens":1,"cache_creation_input_tokens":900,"cache_creation":{"ephemeral_5m_input_tokens":300,"ephemeral_1h_input_tokens":600}}"#,
                r#"{"output_tokens":20,"server_tool_use":{"web_search_requests":2}}"#,
            ],
            vec![("cache_write_1h", 600), ("web_searches", 2)],
        ),
        (
            Messages,
            vec![
                r#"{"input_tokens":1,"output_tokens":1,"cache_creation_input_tokens":5,"cache_creation":{"ephemeral_1h_input_tokens":9},"server_tool_use":null}"#,
            ],
            vec![("cache_write_1h", 5)],
        ),
        (
            Chat,
            vec![
                r#"{"prompt_tokens":100,"completion_tokens":50,"prompt_tokens_details":{"cached_tokens":60,"audio_tokens":45},"completion_tokens_details":{"audio_tokens":30,"image_tokens":99}}"#,
            ],
            vec![("input_audio", 40), ("cache_read_audio", 5), ("output_audio", 30), ("output_image", 50)],
        ),
        (
            Responses,
            vec![r#"{"input_tokens":100,"output_tokens":5,"input_tokens_details":{"image_tokens":70}}"#],
            vec![("input_image", 70)],
        ),
        (
            Gemini,
            vec![
                r#"{"promptTokenCount":100,"cachedContentTokenCount":30,"candidatesTokenCount":1290,"promptTokensDetails":[{"modality":"TEXT","tokenCount":20},{"modality":"AUDIO","tokenCount":50},{"modality":"VIDEO","tokenCount":30}],"cacheTokensDetails":[{"modality":"AUDIO","tokenCount":10}],"candidatesTokensDetails":[{"modality":"IMAGE","tokenCount":1290}]}"#,
            ],
            vec![("input_audio", 40), ("input_video", 30), ("cache_read_audio", 10), ("output_image", 1290)],
        ),
        (
            Gemini,
            vec![
                r#"{"promptTokenCount":9,"promptTokensDetails":{"modality":"AUDIO"},"candidatesTokensDetails":[{"modality":7}]}"#,
            ],
            vec![],
        ),
    ] {
        let mut tally = Tally::new(of(grammar));
        for step in &steps {
            tally.add(Some(step.as_bytes()));
        }
        let usage = tally.usage().unwrap();
        let counted: Vec<_> = usage.apart().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, expected, "{steps:?}");
    }
}

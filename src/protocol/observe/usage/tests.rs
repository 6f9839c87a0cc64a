//! Counts as providers write them, and the disjoint types they become.

use super::*;

fn check(grammar: Grammar, steps: &[&str], expected: Option<[u64; 5]>) {
    let mut tally = Tally::new(grammar);
    for step in steps {
        tally.add(Some(serde_json::from_str(step).unwrap()));
    }
    let counts = tally.usage().map(|usage| usage.by_type().map(|(_, count)| count));
    assert_eq!(counts, expected, "{steps:?}");
}

// The expected counts: input, output, cache_read, cache_write, reasoning.

#[test]
fn chat_counts_become_disjoint() {
    use Grammar::Chat;
    check(Chat, &[r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}"#], Some([10, 5, 0, 0, 0]));
    check(Chat, &[r#"{"prompt_tokens":10}"#], Some([10, 0, 0, 0, 0]));
    check(
        Chat,
        &[
            r#"{"prompt_tokens":100,"completion_tokens":50,"prompt_tokens_details":{"cached_tokens":60,"cache_write_tokens":10},"completion_tokens_details":{"reasoning_tokens":20}}"#,
        ],
        Some([30, 50, 60, 10, 20]),
    );
    check(
        Chat,
        &[
            r#"{"prompt_tokens":100,"completion_tokens":5,"prompt_cache_hit_tokens":64,"prompt_cache_miss_tokens":36}"#,
        ],
        Some([36, 5, 64, 0, 0]),
    );
    check(
        Chat,
        &[r#"{"prompt_tokens":100,"completion_tokens":5,"cached_tokens":64}"#],
        Some([36, 5, 64, 0, 0]),
    );
    check(
        Chat,
        &[
            r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":35,"completion_tokens_details":{"reasoning_tokens":20}}"#,
        ],
        Some([10, 25, 0, 0, 20]),
    );
    check(
        Chat,
        &[
            r#"{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":9},"completion_tokens_details":{"reasoning_tokens":7}}"#,
        ],
        Some([0, 1, 5, 0, 1]),
    );
    check(
        Chat,
        &[r#"{"prompt_tokens":1,"completion_tokens":1}"#, r#"{"prompt_tokens":2,"completion_tokens":3}"#],
        Some([2, 3, 0, 0, 0]),
    );
    check(
        Chat,
        &[r#"{"prompt_tokens":1,"completion_tokens":1,"prompt_tokens_details":null}"#, "{}"],
        Some([1, 1, 0, 0, 0]),
    );
    for nothing in
        ["{}", "[1,2,3]", "7", "\"x\"", "null", r#"{"prompt_tokens":-1}"#, r#"{"prompt_tokens":"9"}"#]
    {
        check(Chat, &[nothing], None);
    }
}

#[test]
fn the_other_protocols_counts_become_disjoint() {
    use Grammar::{Chat, Gemini, Messages, Responses};
    check(
        Responses,
        &[
            r#"{"input_tokens":100,"input_tokens_details":{"cached_tokens":40,"cache_write_tokens":5},"output_tokens":30,"output_tokens_details":{"reasoning_tokens":12},"total_tokens":130}"#,
        ],
        Some([55, 30, 40, 5, 12]),
    );
    check(
        Messages,
        &[
            r#"{"input_tokens":10,"cache_creation_input_tokens":3,"cache_read_input_tokens":7,"output_tokens":1}"#,
            r#"{"output_tokens":20,"output_tokens_details":{"thinking_tokens":8}}"#,
        ],
        Some([10, 20, 7, 3, 8]),
    );
    check(
        Messages,
        &[
            r#"{"input_tokens":0,"output_tokens":0}"#,
            r#"{"input_tokens":9,"cache_read_input_tokens":4,"output_tokens":2}"#,
        ],
        Some([9, 2, 4, 0, 0]),
    );
    check(
        Gemini,
        &[
            r#"{"promptTokenCount":100,"cachedContentTokenCount":30,"toolUsePromptTokenCount":5,"candidatesTokenCount":20,"thoughtsTokenCount":7}"#,
        ],
        Some([75, 27, 30, 0, 7]),
    );
    check(Gemini, &[r#"{"promptTokenCount":4}"#], Some([4, 0, 0, 0, 0]));
    let most = format!(
        r#"{{"prompt_tokens":{0},"completion_tokens":{0},"completion_tokens_details":{{"reasoning_tokens":{0}}}}}"#,
        u64::MAX
    );
    check(Chat, &[&most], Some([u64::MAX, u64::MAX, 0, 0, u64::MAX]));
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
        let mut tally = Tally::new(grammar);
        for step in &steps {
            tally.add(Some(serde_json::from_str(step).unwrap()));
        }
        let usage = tally.usage().unwrap();
        let counted: Vec<_> = usage.apart().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, expected, "{steps:?}");
    }
}

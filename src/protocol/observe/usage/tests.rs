//! Counts as providers write them, and the disjoint types they become.

use super::*;

fn check(grammar: Grammar, steps: &[&str], expected: Option<[u64; 5]>) {
    let mut tally = Tally::new(match grammar {
        Grammar::Chat => Operation::ChatCompletions,
        Grammar::Responses => Operation::Responses,
        Grammar::Messages => Operation::Messages,
        Grammar::Gemini => Operation::GenerateContent,
        Grammar::Media => Operation::Transcriptions,
    });
    for step in steps {
        tally.add(Some(step.as_bytes()));
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
        r#"{{"prompt_tokens":{TOKENS_MAX},"completion_tokens":{TOKENS_MAX},"completion_tokens_details":{{"reasoning_tokens":{TOKENS_MAX}}}}}"#
    );
    check(Chat, &[&most], Some([TOKENS_MAX, TOKENS_MAX, 0, 0, TOKENS_MAX]));
}

#[test]
fn reasoning_beside_the_completion_is_found_by_the_total() {
    for (counts, expected) in [
        (r#""total_tokens":15"#, [10, 5, 0, 0, 0]),
        (r#""total_tokens":35"#, [10, 25, 0, 0, 20]),
        (r#""total_tokens":7"#, [10, 5, 0, 0, 0]),
        (r#""total_tokens":35,"completion_tokens_details":{"reasoning_tokens":20}"#, [10, 25, 0, 0, 20]),
        (r#""total_tokens":35,"completion_tokens_details":{"reasoning_tokens":3}"#, [10, 5, 0, 0, 3]),
        (r#""total_tokens":15,"completion_tokens_details":{"reasoning_tokens":3}"#, [10, 5, 0, 0, 3]),
        // What is read from a cache may be counted beside the prompt: that is no output.
        (r#""total_tokens":35,"prompt_tokens_details":{"cached_tokens":0}"#, [10, 5, 0, 0, 0]),
        (r#""total_tokens":99999999999999999999"#, [10, 5, 0, 0, 0]),
    ] {
        let usage = format!(r#"{{"prompt_tokens":10,"completion_tokens":5,{counts}}}"#);
        check(Grammar::Chat, &[&usage], Some(expected));
    }
}

#[test]
fn counts_that_cannot_be_are_as_if_they_were_not_there() {
    use Grammar::{Chat, Gemini, Messages, Responses};
    for absurd in
        ["-1", "1.5", "1e3", "\"9\"", "null", "true", "[]", "{}", "1000000001", "18446744073709551616"]
    {
        let with = |text: &str| text.replace('@', absurd);
        let good = r#"{"prompt_tokens":7,"completion_tokens":3}"#;
        let bad = with(r#"{"prompt_tokens":@,"completion_tokens":@,"total_tokens":@}"#);
        check(Chat, &[&bad], None);
        check(Chat, &[good, &bad], Some([7, 3, 0, 0, 0]));
        check(Chat, &[&bad, good], Some([7, 3, 0, 0, 0]));
        let half = with(r#"{"prompt_tokens":@,"completion_tokens":9}"#);
        check(Chat, &[good, &half], Some([7, 9, 0, 0, 0]));
        let within = with(
            r#"{"prompt_tokens":7,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":@},"completion_tokens_details":@}"#,
        );
        check(Chat, &[&within], Some([7, 3, 0, 0, 0]));
        let responses = with(r#"{"input_tokens":7,"output_tokens":@,"output_tokens_details":@}"#);
        check(Responses, &[&responses], Some([7, 0, 0, 0, 0]));
        let delta = with(r#"{"output_tokens":@,"input_tokens":@,"cache_read_input_tokens":@}"#);
        check(Messages, &[r#"{"input_tokens":7,"output_tokens":1}"#, &delta], Some([7, 1, 0, 0, 0]));
        let gemini = with(r#"{"promptTokenCount":7,"candidatesTokenCount":@,"thoughtsTokenCount":2}"#);
        check(Gemini, &[&gemini], Some([7, 2, 0, 0, 2]));
    }
}

#[test]
fn a_later_count_of_nothing_takes_nothing_back() {
    use Grammar::{Gemini, Messages};
    let start = r#"{"input_tokens":7,"cache_read_input_tokens":5,"output_tokens":1}"#;
    for (delta, expected) in [
        (r#"{"output_tokens":9}"#, [7, 9, 5, 0, 0]),
        (r#"{"input_tokens":0,"cache_read_input_tokens":0,"output_tokens":9}"#, [7, 9, 5, 0, 0]),
        (r#"{"input_tokens":0,"cache_read_input_tokens":12,"output_tokens":9}"#, [0, 9, 12, 0, 0]),
        (r#"{"input_tokens":0,"output_tokens":9}"#, [7, 9, 5, 0, 0]),
        (r#"{"input_tokens":8,"output_tokens":0}"#, [8, 1, 5, 0, 0]),
    ] {
        check(Messages, &[start, delta], Some(expected));
    }
    let last = r#"{"promptTokenCount":7,"totalTokenCount":7}"#;
    let full = r#"{"promptTokenCount":7,"candidatesTokenCount":4,"thoughtsTokenCount":2}"#;
    check(Gemini, &[last, full, last], Some([7, 6, 0, 0, 2]));
}

#[test]
fn text_is_unreported_until_output_is_counted() {
    let mut tally = Tally::new(Operation::Messages);
    let mut steps = Vec::new();
    for (said, counted) in [
        ("", r#"{"input_tokens":7,"output_tokens":1}"#),
        (r#"{"text":"abcd"}"#, "{}"),
        (r#"{"text":"ef"}"#, r#"{"input_tokens":7}"#),
        (r#"{"text":"g"}"#, r#"{"output_tokens":3}"#),
        (r#"{"thinking":"h"}"#, "null"),
    ] {
        tally.said(said.as_bytes(), 0);
        tally.add(Some(counted.as_bytes()));
        steps.push(tally.unreported());
    }
    assert_eq!(steps, [0, 4, 6, 0, 1]);
}

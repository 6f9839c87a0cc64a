//! Both ways into a body find the same.

use super::*;
use proptest::prelude::*;

fn shown(peek: &Peek<'_>) -> Vec<Option<String>> {
    let fields = [
        peek.model,
        peek.stream,
        peek.max_tokens,
        peek.max_completion_tokens,
        peek.max_output_tokens,
        peek.generation_config,
        peek.metadata,
        peek.prompt_cache_key,
        peek.background,
        peek.stream_format,
        peek.stream_options,
    ];
    fields.iter().map(|field| field.map(|raw| raw.get().to_owned())).collect()
}

const NAMES: [&str; 16] = [
    "model",
    "stream",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "generationConfig",
    "generation_config",
    "metadata",
    "prompt_cache_key",
    "background",
    "stream_format",
    "stream_options",
    "mod\\u0065l",
    "messages",
    "Model",
    "max\\u005ftokens",
];

proptest! {
    #[test]
    fn the_walk_finds_what_serde_finds(
        members in prop::collection::vec((prop::sample::select(&NAMES[..]), prop::sample::select(
            &["null", "true", "\"m\"", " 5 ", "{\"a\":[\"}\"]}", "\"a\\\"b\"", "[]", "1e3"][..]
        )), 0..8)
    ) {
        let members: Vec<String> = members.into_iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        let json = format!("{{{}}}", members.join(","));
        let walked = Peek::walked(&json, blocks::read).map(|peek| shown(&peek));
        prop_assert_eq!(walked, serde_json::from_str::<Peek<'_>>(&json).ok().map(|peek| shown(&peek)), "{}", json);
    }
}

#[test]
fn what_is_wrong_is_told_by_serde() {
    for (json, says) in [
        ("{\"model\":\"a\",\"model\":\"b\"}", "duplicate field `model`"),
        ("{\"model\":\"a\"", "EOF"),
        ("{\"model\":\"a\"} x", "trailing characters at line 1 column 15"),
    ] {
        let error = Peek::of(json).expect_err("it is wrong").to_string();
        assert!(error.contains(says), "{error}");
    }
}

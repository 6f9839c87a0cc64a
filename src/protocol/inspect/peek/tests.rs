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
    fields.iter().map(|field| field.map(str::to_owned)).collect()
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
        let by_serde = serde_json::from_str::<Peek<'_>>(&json).ok().map(|peek| shown(&peek));
        // As it is, and with so much space behind it that it is no small object.
        for json in [&json, &format!("{json}{}", " ".repeat(4_000))] {
            let walked = Peek::walked(json.as_bytes()).map(|(peek, _)| shown(&peek));
            prop_assert_eq!(&walked, &by_serde, "{}", json);
        }
    }
}

#[test]
fn a_field_that_is_looked_at_is_sound_or_left_to_serde() {
    let long = format!("\"{}\"", "x".repeat(100));
    for (value, is_sound) in [
        ("\"\"", true),
        ("\"m\"", true),
        ("\"é模\"", true),
        (long.as_str(), true),
        ("\"a\\\\\"", true),
        ("\"\\u00e9\"", true),
        ("{\"a\":[1]}", true),
        ("-1.5e3", true),
        ("false", true),
        ("\"a\\qb\"", false),
        ("\"\\u00g9\"", false),
        ("{\"a\":01}", false),
        ("[1,]", false),
        ("01", false),
        ("nul", false),
    ] {
        for name in &NAMES[..12] {
            let json = format!("{{\"{name}\":{value}}}");
            assert_eq!(serde_json::from_str::<Peek<'_>>(&json).is_ok(), is_sound, "{json}");
            let walked = Peek::walked(json.as_bytes()).map(|(peek, _)| shown(&peek));
            let found = walked.map(|shown| shown.into_iter().flatten().collect());
            assert_eq!(found, is_sound.then(|| vec![value.to_owned()]), "{json}");
        }
    }
    assert!(Peek::walked(b"{\"model\":\"\xff\"}").is_none());
}

#[test]
fn what_is_wrong_is_told_by_serde() {
    for (json, says) in [
        ("{\"model\":\"a\",\"model\":\"b\"}", "duplicate field `model`"),
        ("{\"model\":\"a\"", "EOF"),
        ("{\"model\":\"a\"} x", "trailing characters at line 1 column 15"),
    ] {
        let Err(Odd::Json(error)) = Peek::of(json.as_bytes()) else { panic!("{json}") };
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn what_is_no_text_is_told_wherever_it_stands() {
    for at in ["", &"x".repeat(3_000)] {
        for (bytes, is_text) in
            [(&b"\xc3\xa9"[..], true), (b"\xff", false), (b"\xc0\xa2", false), (b"\xed\xa0\x80", false)]
        {
            let json = [b"{\"model\":\"a\",\"messages\":\"", at.as_bytes(), bytes, b"\"}"].concat();
            let found = Peek::of(&json);
            assert_eq!(found.is_ok(), is_text, "{bytes:?}");
            assert!(is_text || matches!(found, Err(Odd::Text)), "{bytes:?}");
        }
    }
}

#[test]
fn fields_are_those_of_the_first_level_that_are_not_null() {
    let found = |json: &'static str| {
        fields(json.as_bytes(), ["a", "b"]).map(|found| found.map(|raw| raw.map(RawValue::get)))
    };
    assert_eq!(found(r#"{"c":{"a":1},"b":[2, 3],"\u0061":"x"}"#), Some([Some("\"x\""), Some("[2, 3]")]));
    assert_eq!(found(r#"{"a":null}"#), Some([None, None]));
    for odd in [r#"{"a":1,"a":2}"#, r#"{"a":null,"a":2}"#, "[1]", r#"{"a":1"#, ""] {
        assert_eq!(found(odd), None, "{odd}");
    }
}

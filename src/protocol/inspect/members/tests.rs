//! Objects as they are and as they are broken, by every reader of blocks.

use super::super::blocks::readers;
use super::*;
use proptest::prelude::*;
use serde_json::value::RawValue;

type Members = Vec<(String, String)>;

fn walked(json: &str, reader: Reader) -> Option<Members> {
    let mut members = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("it is");
    walk(json.as_bytes(), reader, &mut |key, value| {
        members.push((text(key), text(value)));
        Some(())
    })?;
    Some(members)
}

/// By all readers, which must agree.
fn by_all(json: &str) -> Option<Members> {
    let mut all = readers().into_iter().map(|(name, reader)| (name, walked(json, reader)));
    let (_, first) = all.next().expect("there is one");
    for (name, other) in all {
        assert_eq!(first, other, "{name}: {json:?}");
    }
    first
}

#[test]
fn members_are_found_with_their_keys_and_values_as_they_stand() {
    let long = format!(r#"{{"a":"{}","b":1}}"#, r#"\\\"x{[,:"#.repeat(40));
    for (json, expected) in [
        ("{}", vec![]),
        (" \n\t\r{ } \n", vec![]),
        (r#"{"a":1}"#, vec![(r#""a""#, "1")]),
        (
            r#" { "a" : -1.5e9 , "b":true,"c" :null} "#,
            vec![(r#""a""#, "-1.5e9"), (r#""b""#, "true"), (r#""c""#, "null")],
        ),
        (r#"{"":"","\"":"\\"}"#, vec![(r#""""#, r#""""#), (r#""\"""#, r#""\\""#)]),
        (
            r#"{"a":[1,{"b":"]"}],"c":{"d":[[]]}}"#,
            vec![(r#""a""#, r#"[1,{"b":"]"}]"#), (r#""c""#, r#"{"d":[[]]}"#)],
        ),
        (r#"{"a":1,"a":2}"#, vec![(r#""a""#, "1"), (r#""a""#, "2")]),
        (&long, vec![(r#""a""#, &long[5..long.len() - 7]), (r#""b""#, "1")]),
    ] {
        let expected = expected.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        assert_eq!(by_all(json), Some(expected), "{json}");
    }
}

#[test]
fn long_texts_are_passed_over_and_what_stands_between_and_behind_them_is_not() {
    let text = r#"a \"quoted\" [{ word\n"#.repeat(BATCH * BLOCK / 8);
    for shift in (0..2 * BLOCK).step_by(7) {
        let space = " ".repeat(shift);
        let deep = format!(r#"[{{"text":{space}"{text}"}},"{text}"]"#);
        let json = format!(r#"{{"top":"{text}","deep":{deep},"model":"m"}}"#);
        let found = by_all(&json).expect("it is an object");
        let found: Vec<_> = found.iter().map(|(key, value)| (&**key, &**value)).collect();
        let top = format!("\"{text}\"");
        assert_eq!(found, [(r#""top""#, &*top), (r#""deep""#, &*deep), (r#""model""#, r#""m""#)]);
        for (sound, broken) in
            [("\"},\"", "\"],\""), ("\"},\"", "\",\""), ("n\"}", "\n\"}"), ("n\"]", "n]"), ("n\"]", "\t\"]")]
        {
            assert_eq!(by_all(&json.replace(sound, broken)), None, "{broken:?}, {shift}");
        }
    }
}

#[test]
fn what_decides_where_a_member_begins_and_ends_must_be_right() {
    for json in [
        "",
        " ",
        "1",
        "[]",
        "\"a\"",
        "{",
        "}",
        "{]",
        "{}{}",
        "{}x",
        "x{}",
        "{},",
        "{1:2}",
        "{a:1}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,\"a\":1}",
        "{\"a\":1 2}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":1,,\"b\":2}",
        "{\"a\"::1}",
        "{\"a\" 1}",
        "{\"a\":\"b\" \"c\"}",
        "{\"a\":\"b\":1}",
        "{\"a\":\"b\"1}",
        "{\"a\":{}{}}",
        "{\"a\":{}1}",
        "{\"a\":1{}}",
        "{\"a\":1\"b\"}",
        "{\"a\":[}",
        "{\"a\":[}]",
        "{\"a\":{]}}",
        "{\"a\":[[]}",
        "{\"a\":]}",
        "{\"a\":\"b}",
        "{\"a\":\"b\\\"}",
        "{\"a\":\"\n\"}",
        "{\"a\":nul}",
        "{\"a\":01}",
        "{\"a\":+1}",
        "{\"a\":True}",
        "{\"a\":[\"\u{1}\"]}",
        "{\"a\":1}}",
        "{\"a\":1}\0",
        "{'a':1}",
    ] {
        assert_eq!(by_all(json), None, "{json:?}");
    }
}

#[test]
fn the_visitor_ends_the_walk() {
    let mut seen = 0;
    let walked = walk(br#"{"a":1,"b":2,"#, super::super::blocks::read, &mut |_, _| {
        seen += 1;
        None
    });
    assert_eq!((walked, seen), (None, 1));
}

/// JSON with everything that could be mistaken: escapes, brackets in strings, whitespace, depth.
fn value() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        Just(String::new()),
        r#"([a-z{}\[\],:é模 ]|\\\\|\\"|\\n|\\u0041){0,90}"#,
        r#"(\\\\){0,70}(\\")?"#,
    ];
    let text = text.prop_map(|text| format!("\"{text}\""));
    let scalar = prop_oneof![
        text.clone(),
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i32>().prop_map(|number| number.to_string()),
    ];
    let space = || prop_oneof![8 => Just(""), 1 => Just(" \n\t\r"), 1 => Just("                                                              ")];
    scalar.prop_recursive(5, 40, 6, move |inner| {
        let array =
            (prop::collection::vec((inner.clone(), space()), 0..5), space()).prop_map(|(items, space)| {
                let items: Vec<String> =
                    items.into_iter().map(|(item, space)| format!("{space}{item}{space}")).collect();
                format!("[{space}{}]", items.join(","))
            });
        let object = (prop::collection::vec((text.clone(), inner, space()), 0..5), space()).prop_map(
            |(items, space)| {
                let items: Vec<String> = items
                    .into_iter()
                    .map(|(key, item, space)| format!("{space}{key}{space}:{space}{item}"))
                    .collect();
                format!("{{{space}{}{space}}}", items.join(","))
            },
        );
        prop_oneof![array, object]
    })
}

/// What serde makes of an object: every member as it stands.
fn by_serde(json: &str) -> Option<Members> {
    struct All(Members);
    impl<'de> serde::Deserialize<'de> for All {
        fn deserialize<D: serde::Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = All;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<M: serde::de::MapAccess<'de>>(self, mut map: M) -> Result<All, M::Error> {
                    let mut members = Vec::new();
                    while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
                        members.push((key, value.get().to_owned()));
                    }
                    Ok(All(members))
                }
            }
            json.deserialize_map(Visitor)
        }
    }
    serde_json::from_str::<All>(json).ok().map(|all| all.0)
}

fn decoded(members: Members) -> Members {
    members.into_iter().map(|(key, value)| (serde_json::from_str(&key).expect("a key"), value)).collect()
}

proptest! {
    #[test]
    fn what_serde_takes_is_walked_to_the_same_members(json in value()) {
        prop_assert_eq!(by_all(&json).map(decoded), by_serde(&json));
    }

    #[test]
    fn what_is_broken_is_refused_or_read_as_serde_would(
        json in value(), at in any::<prop::sample::Index>(),
        with in prop_oneof![Just(""), Just("\""), Just("\\"), Just("{"), Just("]"), Just(","), Just(":"), Just(" "), Just("\u{1}")],
    ) {
        let at = json.floor_char_boundary(at.index(json.len()));
        let next = json.ceil_char_boundary(at + 1);
        let broken = format!("{}{with}{}", &json[..at], &json[next..]);
        let walked = by_all(&broken);
        if let Some(expected) = by_serde(&broken) {
            prop_assert_eq!(walked.map(decoded), Some(expected), "{}", broken);
        } else if let Some(members) = walked {
            // What is wrong is wrong inside of one member, which begins and ends where it did.
            prop_assert!(members.iter().any(|(key, value)| {
                serde_json::from_str::<String>(key).is_err() || serde_json::from_str::<&RawValue>(value).is_err()
            }), "{}", broken);
        }
    }
}

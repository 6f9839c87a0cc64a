//! Objects as they are and as they are broken, by every reader of blocks.

use super::super::blocks::readers;
use super::*;
use proptest::prelude::*;
use serde_json::value::RawValue;

type Members = Vec<(String, String)>;
type Pieces = Vec<(Vec<u8>, Vec<u8>)>;

/// The members, a byte at a time: what the walk has to say of any bytes.
fn plainly(json: &[u8]) -> Option<Pieces> {
    let mut rest = json;
    let mut members = Vec::new();
    takes(&mut rest, b"{")?;
    if takes(&mut rest, b"}").is_none() {
        loop {
            let key = value(&mut rest).filter(|key| key[0] == b'"')?;
            takes(&mut rest, b":")?;
            members.push((key, value(&mut rest)?));
            if takes(&mut rest, b",").is_none() {
                takes(&mut rest, b"}")?;
                break;
            }
        }
    }
    skip_space(&mut rest);
    rest.is_empty().then_some(members)
}

fn skip_space(rest: &mut &[u8]) {
    while let [b' ' | b'\t' | b'\n' | b'\r', behind @ ..] = rest {
        *rest = behind;
    }
}

fn takes(rest: &mut &[u8], what: &[u8]) -> Option<()> {
    skip_space(rest);
    rest.strip_prefix(what).map(|behind| *rest = behind)
}

fn value(rest: &mut &[u8]) -> Option<Vec<u8>> {
    skip_space(rest);
    let text = *rest;
    let (mut open, mut inside, mut escaped) = (Vec::new(), false, false);
    for (at, byte) in text.iter().enumerate() {
        let is_escaped = std::mem::take(&mut escaped);
        match byte {
            0..b' ' if inside => return None,
            // Also outside of a string, where it ends up as a value that is none.
            b'\\' => escaped = !is_escaped,
            b'"' if !is_escaped => inside = !inside,
            b'{' | b'[' if !inside => open.push(byte + 2),
            b'}' | b']' if !inside => drop(open.pop().filter(|opened| opened == byte)?),
            _ => {}
        }
        if !inside && open.is_empty() && matches!(text[0], b'"' | b'{' | b'[') {
            *rest = &text[at + 1..];
            return Some(text[..=at].to_vec());
        }
        let ends = |byte: &u8| b",}]{[\" \t\n\r".contains(byte);
        if !matches!(text[0], b'"' | b'{' | b'[') && text.get(at + 1).is_none_or(ends) {
            *rest = &text[at + 1..];
            let scalar = std::str::from_utf8(&text[..=at]).ok()?;
            return serde_json::from_str::<&RawValue>(scalar).ok().map(|_| scalar.as_bytes().to_vec());
        }
    }
    None
}

/// By all readers, which must say what a byte at a time says.
fn pieces_by_all(json: &[u8]) -> Option<Pieces> {
    let expected = plainly(json);
    for (name, reader) in readers() {
        let mut members = Vec::new();
        let walked = walk_by(json, reader, |key, value| {
            assert!(key.escaped || !key.written.contains(&b'\\'), "{name}");
            members.push((key.written.to_vec(), value.to_vec()));
            Some(())
        });
        let found = walked.map(|walked| (walked == Walked::Ascii, members));
        let expected = expected.clone().map(|members| (json.is_ascii(), members));
        assert_eq!(found, expected, "{name}: {:?}", String::from_utf8_lossy(json));
    }
    expected
}

fn by_all(json: &str) -> Option<Members> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it is");
    let members = pieces_by_all(json.as_bytes())?;
    Some(members.into_iter().map(|(key, value)| (text(key), text(value))).collect())
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
    let walked = walk(br#"{"a":1,"b":2,"#, |_, _| {
        seen += 1;
        None
    });
    assert_eq!((walked, seen), (None, 1));
}

/// JSON with everything that could be mistaken: escapes, brackets in strings, whitespace, depth.
fn any_value() -> impl Strategy<Value = String> {
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

/// What decides where members begin and end, in any order, and bytes that are no text.
fn anything() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => prop::sample::select(&["\"", "\\", "{", "}", "[", "]", ",", ":", " ", "\n", "\u{1}", "\u{1f}", "\u{7f}", "é"][..]),
        3 => prop::sample::select(&["\"a\":", "\"a\\\"\":1,", "[[", "{\"b\":{", "]}", "\\\\", "\\u0041", "[\\\"]"][..]),
        2 => prop::sample::select(&["0", "12", "01", "-1.5e+9", "1e", "null", "true", "nul", "abcdefgh", "                  "][..]),
    ];
    let bytes = prop_oneof![9 => piece.prop_map(|piece| piece.as_bytes().to_vec()), 1 => any::<u8>().prop_map(|byte| vec![byte])];
    let inner = prop::collection::vec(bytes, 0..60).prop_map(|pieces| pieces.concat());
    (inner, 0..4).prop_map(|(inner, around)| match around {
        0 => inner,
        1 => [b"{", &inner[..], b"}"].concat(),
        2 => [b"{\"a\":[", &inner[..], b"],\"b\":1}"].concat(),
        _ => [b"{\"a\":\"", &inner[..], b"\"}"].concat(),
    })
}

#[test]
fn what_is_nested_deep_is_walked_to_its_end() {
    for depth in [1, 62, 63, 64, 65, 127, 128, 129, 300] {
        let (opens, closes): (String, String) = ("[".repeat(depth), "]".repeat(depth));
        let (json, crossed) =
            (format!("{{\"a\":{opens}{closes}}}"), format!("{{\"a\":{opens}{{{closes}}}}}"));
        assert_eq!(by_all(&json), Some(vec![("\"a\"".to_owned(), opens.clone() + &closes)]), "{depth}");
        assert_eq!(by_all(&crossed), None, "{depth}");
        assert_eq!(by_all(&format!("{{\"a\":{opens}}}")), None, "{depth}");
        // Of all brackets one is of the other kind, wherever it stands.
        for at in 0..depth {
            let mut other = closes.clone();
            other.replace_range(at..=at, "}");
            assert_eq!(by_all(&format!("{{\"a\":{opens}{other}}}")), None, "{at} of {depth}");
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_walked_as_a_byte_at_a_time(json in anything()) {
        pieces_by_all(&json);
    }

    #[test]
    fn spoiled_objects_are_walked_as_a_byte_at_a_time(
        json in any_value(), at in any::<prop::sample::Index>(), byte in prop_oneof![any::<u8>(), Just(b'\\'), Just(b'"')], cut: bool,
    ) {
        let mut json = json.into_bytes();
        let at = at.index(json.len());
        json[at] = byte;
        json.truncate(if cut { at } else { json.len() });
        pieces_by_all(&json);
    }

    #[test]
    fn what_serde_takes_is_walked_to_the_same_members(json in any_value()) {
        prop_assert_eq!(by_all(&json).map(decoded), by_serde(&json));
    }

    #[test]
    fn what_is_broken_is_refused_or_read_as_serde_would(
        json in any_value(), at in any::<prop::sample::Index>(),
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

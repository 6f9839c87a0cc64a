//! What becomes of schemas, case by case.

use super::super::json::Raw;
use super::super::loss::Losses;
use super::super::unified::Protocol;
use super::*;

fn raw(text: &str) -> Raw<'static> {
    Raw::object(text.to_owned().into()).unwrap()
}

fn written(write: impl FnOnce(&mut BytesMut)) -> String {
    let mut out = BytesMut::new();
    write(&mut out);
    String::from_utf8(out.to_vec()).unwrap()
}

#[test]
fn gemini_gets_what_it_takes_and_the_rest_is_said() {
    for (given, expected, lost) in [
        (
            r#"{"$schema":"x","type":"object","properties":{"b":{"type":"string"},"a":{"type":"integer"}},"required":["b","zz"],"additionalProperties":false}"#,
            r#"{"type":"object","properties":{"b":{"type":"string"},"a":{"type":"integer"}},"required":["b"]}"#,
            false,
        ),
        (
            r##"{"type":"object","properties":{"n":{"$ref":"#/$defs/N"}},"$defs":{"N":{"type":["string","null"],"minLength":1}}}"##,
            r#"{"type":"object","properties":{"n":{"type":"string","minLength":1,"nullable":true}}}"#,
            false,
        ),
        (
            r#"{"type":"object","properties":{"e":{"type":"integer","enum":[1,2]},"f":{"type":"string","format":"uri"},"c":{"const":"x"}}}"#,
            r#"{"type":"object","properties":{"e":{"type":"integer"},"f":{"type":"string"},"c":{"type":"string","enum":["x"]}}}"#,
            true,
        ),
        (
            r#"{"type":"object","properties":{"u":{"oneOf":[{"type":"string"},{"type":"array"}]},"o":{"anyOf":[{"type":"number","exclusiveMinimum":0},{"type":"null"}]}}}"#,
            r#"{"type":"object","properties":{"u":{"anyOf":[{"type":"string"},{"type":"array","items":{"type":"string"}}]},"o":{"type":"number","nullable":true}}}"#,
            true,
        ),
        (
            r#"{"type":"object","properties":{"x":true,"t":{"type":["string","integer"]},"m":{"allOf":[{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]},{"properties":{"b":{"type":"boolean"}}}]}}}"#,
            r#"{"type":"object","properties":{"x":{"type":"string"},"t":{"anyOf":[{"type":"string"},{"type":"integer"}]},"m":{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"boolean"}},"required":["a"]}}}"#,
            true,
        ),
    ] {
        let mut losses = Losses::new(Protocol::Chat);
        assert_eq!(written(|out| google(&raw(given), "tools[0]", &mut losses, out)), expected);
        assert_eq!(!losses.list().is_empty(), lost, "{given}");
    }
}

#[test]
fn a_schema_that_refers_to_itself_ends() {
    let tree = r##"{"type":"object","properties":{"c":{"$ref":"#/$defs/T"}},"$defs":{"T":{"type":"object","properties":{"c":{"$ref":"#/$defs/T"}}}}}"##;
    let mut losses = Losses::new(Protocol::Chat);
    let text = written(|out| google(&raw(tree), "tools[0]", &mut losses, out));
    assert!(text.len() < 2000 && !losses.list().is_empty(), "{text}");
    let twice = tree.replace(
        r##""properties":{"c":{"$ref":"#/$defs/T"}}}}"##,
        r##""properties":{"a":{"$ref":"#/$defs/T"},"b":{"$ref":"#/$defs/T"}}}}"##,
    );
    assert_ne!(twice, tree);
    let text = written(|out| google(&raw(&twice), "tools[0]", &mut losses, out));
    assert!(text.len() < 1_000_000, "{}", text.len());
}

#[test]
fn anthropic_gets_an_object_and_closed_answers() {
    assert_eq!(
        written(|out| with_type(&raw(r#"{"properties":{}}"#), out)),
        r#"{"type":"object","properties":{}}"#
    );
    assert_eq!(
        written(|out| with_type(&raw(r#"{"type":"object","anyOf":[{}]}"#), out)),
        r#"{"type":"object"}"#
    );
    assert_eq!(
        written(|out| closed(
            &raw(r#"{"type":"object","properties":{"a":{"type":"integer","minimum":1}},"required":["a"]}"#),
            out
        )),
        r#"{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"additionalProperties":false}"#
    );
}

#[test]
fn a_schema_of_googles_is_a_json_schema_afterwards() {
    assert_eq!(
        from_google(&raw(r#"{"type":"OBJECT","properties":{"a":{"type":"STRING","nullable":true,"maxLength":"5"}},"propertyOrdering":["a"]}"#)).json(),
        r#"{"type":"object","properties":{"a":{"type":["string","null"],"maxLength":5}}}"#
    );
}

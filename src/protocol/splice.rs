//! Another model name in the same bytes.
//!
//! Invariant: every byte outside the replaced token is the byte that was sent, and none of them is copied.

use bytes::Bytes;
use std::ops::Range;

/// The body with another string where the model's stood: before, new value, after.
pub fn splice(body: &Bytes, at: &Range<usize>, model: &str) -> [Bytes; 3] {
    let end = at.end.min(body.len());
    let start = at.start.min(end);
    [body.slice(..start), json_string(model), body.slice(end..)]
}

/// How many bytes the pieces hold together: the new `content-length`.
pub fn concat_len(pieces: &[Bytes]) -> usize {
    pieces.iter().map(Bytes::len).sum()
}

/// The text as a JSON string token, quotes included.
pub fn json_string(text: &str) -> Bytes {
    Bytes::from(serde_json::Value::from(text).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Operation;
    use crate::protocol::inspect::inspect;
    use proptest::prelude::*;
    use serde_json::Value;

    fn joined(pieces: &[Bytes]) -> Vec<u8> {
        pieces.concat()
    }

    #[test]
    fn a_range_past_the_end_changes_nothing_before_it() {
        let body = Bytes::from_static(b"{}");
        let pieces = splice(&body, &(5..9), "m");
        assert_eq!(joined(&pieces), b"{}\"m\"");
        assert_eq!(concat_len(&pieces), 5);
    }

    /// JSON of any shape, with keys and strings that look like the thing sought.
    fn json() -> impl Strategy<Value = Value> {
        let text = prop_oneof![Just("model".to_owned()), Just("\"model\":\"x\"".to_owned()), any::<String>()];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            text.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((text.clone(), inner), 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    /// Fields around the model's own, none of them one that is inspected.
    fn fields() -> impl Strategy<Value = Vec<(String, Value)>> {
        prop::collection::vec(("[a-z\\\\\"é ]{0,3}0", json()), 0..4)
    }

    fn body(before: &[(String, Value)], token: &str, after: &[(String, Value)], space: &str) -> String {
        let field =
            |(key, value): &(String, Value)| format!("{}{space}:{space}{value}", Value::from(key.as_str()));
        let mut all: Vec<String> = before.iter().map(field).collect();
        all.push(token.to_owned());
        all.extend(after.iter().map(field));
        format!("{space}{{{space}{}{space}}}{space}", all.join(&format!("{space},{space}")))
    }

    proptest! {
        #[test]
        fn only_the_models_value_differs(
            (before, after) in (fields(), fields()),
            requested in ".{1,20}",
            upstream in ".*",
            key in prop_oneof![Just("\"model\""), Just("\"mod\\u0065l\""), Just("\"\\u006dodel\"")],
            space in prop_oneof![Just(""), Just(" "), Just("\r\n\t")],
        ) {
            let token = format!("{key}{space}:{space}{}", Value::from(requested.as_str()));
            let text = body(&before, &token, &after, space);
            let bytes = Bytes::from(text.clone());
            let model = inspect(Operation::ChatCompletions, &bytes).unwrap().model.unwrap();
            prop_assert_eq!(&model.name, &requested);
            let pieces = splice(&bytes, &model.at, &upstream);
            let spliced = joined(&pieces);
            prop_assert_eq!(spliced.len(), concat_len(&pieces));
            prop_assert!(spliced.starts_with(&text.as_bytes()[..model.at.start]));
            prop_assert!(spliced.ends_with(&text.as_bytes()[model.at.end..]));
            let mut expected: Value = serde_json::from_str(&text).unwrap();
            expected["model"] = Value::from(upstream);
            prop_assert_eq!(serde_json::from_slice::<Value>(&spliced).unwrap(), expected);
        }
    }
}

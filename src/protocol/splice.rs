//! Other values in the same bytes, or fewer of them.
//!
//! Invariant: every byte outside the edited ranges is the byte that was sent, and of a large body none is copied.

use super::plain::plain_len;
use bytes::Bytes;
use smallvec::{SmallVec, smallvec};
use std::ops::Range;

/// Edits of one body, in its order: seldom more than the model's name and the wish for the usage.
pub type Edits = SmallVec<[Edit; 2]>;
/// The pieces of a body: one, unless it is large.
pub type Pieces = SmallVec<[Bytes; 1]>;

/// A range of a body and what stands there instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// What goes.
    pub at: Range<usize>,
    /// What comes; empty: nothing.
    pub with: Bytes,
}

impl Edit {
    /// A text where another value stood.
    pub fn text(at: Range<usize>, text: &str) -> Self {
        Self { at, with: json_string(text) }
    }

    /// Nothing where something stood.
    pub fn remove(at: Range<usize>) -> Self {
        Self { at, with: Bytes::new() }
    }
}

/// Adds one edit to others that stand in order.
pub fn insert(edits: &mut Edits, edit: Edit) {
    let place = edits.partition_point(|other| other.at.start < edit.at.start);
    edits.insert(place, edit);
}

/// The body with these edits, which stand in its order; one that lies before the end of the one before it is
/// left out.
pub fn splice(body: &Bytes, edits: &[Edit]) -> Pieces {
    if edits.is_empty() || body.len() > COPIED_MAX { apart(body, edits) } else { together(body, edits) }
}

/// In pieces of the body and of the edits.
fn apart(body: &Bytes, edits: &[Edit]) -> Pieces {
    let mut pieces = Pieces::with_capacity(2 * edits.len() + 1);
    let mut push = |piece: Bytes| {
        if !piece.is_empty() {
            pieces.push(piece);
        }
    };
    each(body, edits, |kept, with| {
        push(body.slice(kept));
        push(with.clone());
    });
    pieces
}

/// In one piece.
fn together(body: &Bytes, edits: &[Edit]) -> Pieces {
    let with: usize = edits.iter().map(|edit| edit.with.len()).sum();
    let mut whole = Vec::with_capacity(body.len() + with);
    each(body, edits, |kept, with| {
        whole.extend_from_slice(&body[kept]);
        whole.extend_from_slice(with);
    });
    if whole.is_empty() { Pieces::new() } else { smallvec![whole.into()] }
}

/// Each range that is kept, and what follows it.
fn each(body: &Bytes, edits: &[Edit], mut tell: impl FnMut(Range<usize>, &Bytes)) {
    let mut from = 0;
    for edit in edits {
        let start = edit.at.start.min(body.len());
        if start >= from {
            tell(from..start, &edit.with);
            from = edit.at.end.clamp(start, body.len());
        }
    }
    tell(from..body.len(), &Bytes::new());
}

/// To copy so much costs less than to keep account of the pieces.
const COPIED_MAX: usize = 4 << 10;

/// How many bytes the pieces hold together: the new `content-length`.
pub fn concat_len(pieces: &[Bytes]) -> usize {
    pieces.iter().map(Bytes::len).sum()
}

/// The text as a JSON string token, quotes included.
pub fn json_string(text: &str) -> Bytes {
    // Models' names, most of the time, with nothing to escape in them.
    if plain_len(text.as_bytes()) == text.len() {
        let mut token = Vec::with_capacity(text.len() + 2);
        token.push(b'"');
        token.extend_from_slice(text.as_bytes());
        token.push(b'"');
        return token.into();
    }
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
        let pieces = splice(&body, &[Edit::text(5..9, "m")]);
        assert_eq!(joined(&pieces), b"{}\"m\"");
        assert_eq!(concat_len(&pieces), 5);
    }

    #[test]
    fn edits_stand_in_order_and_never_overlap() {
        let body = Bytes::from_static(b"0123456789");
        let edits = [
            Edit::remove(0..2),
            Edit::text(4..5, "x"),
            Edit::remove(3..9),
            Edit::remove(5..6),
            Edit { at: 8..10, with: Bytes::from_static(b"!") },
        ];
        assert_eq!(joined(&splice(&body, &edits)), b"23\"x\"67!");
        assert_eq!(*splice(&body, &[]), *std::slice::from_ref(&body));
        assert_eq!(joined(&splice(&body, &[Edit::remove(0..10)])), b"");
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
            let edits = [Edit::text(model.at.clone(), &upstream)];
            let pieces = apart(&bytes, &edits);
            let spliced = joined(&pieces);
            prop_assert_eq!(together(&bytes, &edits).concat(), &*spliced);
            prop_assert_eq!(spliced.len(), concat_len(&pieces));
            prop_assert!(spliced.starts_with(&text.as_bytes()[..model.at.start]));
            prop_assert!(spliced.ends_with(&text.as_bytes()[model.at.end..]));
            let mut expected: Value = serde_json::from_str(&text).unwrap();
            expected["model"] = Value::from(upstream);
            prop_assert_eq!(serde_json::from_slice::<Value>(&spliced).unwrap(), expected);
        }
    }
}

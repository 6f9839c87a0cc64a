//! The `usage` of a JSON object too large to be kept: an answer full of pictures, read while it passes.
//!
//! Invariants: what counts is the value at the object's own key, never text that looks the same in a string or deeper
//! down; however the bytes are cut into chunks, what is found is the same; and no more than [`USAGE_BYTES_MAX`] of
//! them are kept.

use memchr::memchr2;

/// Reads one object, of which the beginning may be preceded by other bytes (the name of an event).
#[derive(Debug, Default)]
pub struct Skim {
    depth: u32,
    text: Text,
    /// Whether the next string in the outermost object is a key.
    at_key: bool,
    /// The last key of the outermost object, or its beginning.
    key: Vec<u8>,
    reading_key: bool,
    /// The bytes of the value sought, so far.
    value: Option<Vec<u8>>,
    found: Option<Vec<u8>>,
}

/// Whether what comes next is part of a string.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Text {
    #[default]
    Outside,
    Inside,
    /// Behind a backslash.
    Escaped,
}

impl Skim {
    /// Reads on.
    pub fn feed(&mut self, chunk: &[u8]) {
        let mut at = 0;
        while let Some(&byte) = chunk.get(at) {
            if self.text == Text::Outside {
                self.structure(byte);
                at += 1;
            } else {
                at += self.string(&chunk[at..]);
            }
        }
    }

    /// The value of `usage`, where there was one and all of it was read.
    pub fn usage(&self) -> Option<&[u8]> {
        self.found.as_deref()
    }

    /// Reads a string up to its end or the chunk's; how many bytes that was.
    fn string(&mut self, rest: &[u8]) -> usize {
        let mut read = 0;
        while let Some(&byte) = rest.get(read) {
            if self.text == Text::Escaped {
                self.text = Text::Inside;
                read += 1;
                continue;
            }
            match byte {
                b'\\' => self.text = Text::Escaped,
                b'"' => {
                    self.keep(&rest[..=read]);
                    self.text = Text::Outside;
                    self.reading_key = false;
                    return read + 1;
                }
                _ => {
                    let next = memchr2(b'"', b'\\', &rest[read..]);
                    read = next.map_or(rest.len(), |next| read + next);
                    continue;
                }
            }
            read += 1;
        }
        self.keep(rest);
        rest.len()
    }

    fn structure(&mut self, byte: u8) {
        let closes = matches!(byte, b'}' | b']');
        if self.depth == 1 && (byte == b',' || closes) {
            self.found =
                self.value.take().filter(|value| value.len() <= USAGE_BYTES_MAX).or(self.found.take());
        }
        match byte {
            b'{' | b'[' if self.depth > 0 || byte == b'{' => {
                self.depth += 1;
                self.at_key |= self.depth == 1;
            }
            _ if closes => self.depth = self.depth.saturating_sub(1),
            b',' if self.depth == 1 => self.at_key = true,
            b':' if self.depth == 1 && self.value.is_none() => {
                self.value = (self.key == b"usage\"").then(Vec::new);
                return;
            }
            b'"' if self.depth > 0 => {
                self.text = Text::Inside;
                self.reading_key = self.depth == 1 && std::mem::take(&mut self.at_key);
                if self.reading_key {
                    self.key.clear();
                    return;
                }
            }
            _ => {}
        }
        self.keep(&[byte]);
    }

    /// Keeps bytes of a key, or of the value sought, as many as are of use.
    fn keep(&mut self, bytes: &[u8]) {
        let (place, most) = match &mut self.value {
            _ if self.reading_key => (&mut self.key, KEY_BYTES_MAX),
            Some(value) => (value, USAGE_BYTES_MAX + 1),
            None => return,
        };
        let room = most.saturating_sub(place.len());
        place.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// A usage with all its details is a tenth of that.
pub const USAGE_BYTES_MAX: usize = 4 * 1024;
/// Enough to tell one key from all others.
const KEY_BYTES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn skimmed(json: &str, cuts: usize) -> Option<String> {
        let mut skim = Skim::default();
        for chunk in json.as_bytes().chunks(cuts.max(1)) {
            skim.feed(chunk);
        }
        skim.usage().map(|found| String::from_utf8(found.to_vec()).unwrap())
    }

    #[test]
    fn the_objects_own_usage_is_found_and_nothing_that_looks_like_it() {
        let long = format!(r#"{{"usage":"{}"}}"#, "x".repeat(USAGE_BYTES_MAX));
        for (json, found) in [
            (r#"{"usage":{"a":1}}"#, Some(r#"{"a":1}"#)),
            (
                r#"{"data":[{"b64_json":"AA=="}],"usage":{"a":{"b":[1,"}"]}},"z":1}"#,
                Some(r#"{"a":{"b":[1,"}"]}}"#),
            ),
            ("event: x\ndata: {\"type\":\"x\",\"usage\" : {\"a\":1} }\n\n", Some(r#" {"a":1} "#)),
            (r#"{"usage":null}"#, Some("null")),
            (r#"{"usage":"a\"b"}"#, Some(r#""a\"b""#)),
            (r#"{"a":"\",\"usage\":{\"a\":1},\"b\":\""}"#, None),
            (r#"{"a":{"usage":{"a":1}}}"#, None),
            (r#"{"a":["usage",{"usage":1}]}"#, None),
            (r#"{"a":"usage"}"#, None),
            (r#"{"usages":1,"xusage":2,"usag":3}"#, None),
            (r#"{"usage":{"a":1"#, None),
            ("[\"usage\",1]", None),
            (long.as_str(), None),
            ("", None),
        ] {
            for cuts in [1, 2, 3, 7, json.len()] {
                assert_eq!(skimmed(json, cuts).as_deref(), found, "{json} in pieces of {cuts}");
            }
        }
    }

    proptest! {
        #[test]
        fn it_reads_what_a_json_parser_reads(
            before in prop::collection::btree_map("[a-z\"\\\\]{0,4}", ".{0,12}", 0..4), cuts in 1usize..9, after in ".{0,9}"
        ) {
            let mut object = serde_json::Map::new();
            for (key, text) in before.into_iter().filter(|(key, _)| key != "usage") {
                object.insert(key, serde_json::Value::from(text));
            }
            object.insert("usage".to_owned(), serde_json::json!({ "input_tokens": 7, "odd": after }));
            object.insert("zz".to_owned(), serde_json::json!([after, { "usage": 1 }]));
            let json = serde_json::Value::Object(object);
            let found = skimmed(&json.to_string(), cuts).unwrap();
            prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(&found).unwrap(), &json["usage"]);
        }
    }
}

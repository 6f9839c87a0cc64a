//! Objects of counts as nearly every provider writes them: names without escapes, whole numbers, objects of those; no space.
//!
//! A walk makes ready for whatever an object may hold; these few bytes are read before it is.
//! Invariant: what is read here, a walk reads in the same way; what is written in another way is not read here.

use crate::protocol::plain::plain_len;

/// Tells of each member by name and value. `None`: the object is written in another way, or the visitor said so.
#[inline]
pub(super) fn each<'a>(
    json: &'a [u8],
    mut visit: impl FnMut(&'a [u8], &'a [u8]) -> Option<()>,
) -> Option<()> {
    let mut rest = json.strip_prefix(b"{")?;
    loop {
        let member = member(rest, object)?;
        visit(member.name, member.value)?;
        match member.behind {
            [b',', behind @ ..] => rest = behind,
            b"}" => return Some(()),
            _ => return None,
        }
    }
}

struct Member<'a> {
    name: &'a [u8],
    value: &'a [u8],
    behind: &'a [u8],
}

/// The member at the beginning of a text; `object` tells how long a value is that is one.
#[inline]
fn member(text: &[u8], object: impl FnOnce(&[u8]) -> Option<usize>) -> Option<Member<'_>> {
    let text = text.strip_prefix(b"\"")?;
    let (name, text) = text.split_at_checked(plain_len(text))?;
    let text = text.strip_prefix(b"\":")?;
    let length = match text.first()? {
        b'1'..=b'9' => text.iter().take_while(|byte| byte.is_ascii_digit()).count(),
        b'0' => 1,
        b'{' => object(text)?,
        _ => text.starts_with(b"null").then_some(4)?,
    };
    let (value, behind) = text.split_at_checked(length)?;
    Some(Member { name, value, behind })
}

/// The length of an object in an object, which has numbers and nothing else.
fn object(text: &[u8]) -> Option<usize> {
    let mut rest = text.strip_prefix(b"{")?;
    loop {
        let member = member(rest, |_| None)?;
        match member.behind {
            [b',', behind @ ..] => rest = behind,
            [b'}', behind @ ..] => return Some(text.len() - behind.len()),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::inspect;
    use proptest::prelude::*;

    type Members = Vec<(Vec<u8>, Vec<u8>)>;

    fn plainly(json: &[u8]) -> Option<Members> {
        let mut members = Vec::new();
        each(json, |name, value| {
            members.push((name.to_vec(), value.to_vec()));
            Some(())
        })?;
        Some(members)
    }

    fn walked(json: &[u8]) -> Option<Members> {
        let mut members = Vec::new();
        inspect::each(json, |name, value| {
            members.push((name.to_vec(), value.to_vec()));
            Some(())
        })?;
        Some(members)
    }

    #[test]
    fn counts_are_read_as_providers_write_them_and_in_no_other_way() {
        for (json, read) in [
            (r#"{"a":1}"#, true),
            (r#"{"prompt_tokens":150,"details":{"cached_tokens":0,"x":null},"completion_tokens":0}"#, true),
            (r#"{"a":1} "#, false),
            (r#"{"a": 1}"#, false),
            ("{}", false),
            (r#"{"a":{}}"#, false),
            (r#"{"a":{"b":{"c":1}}}"#, false),
            (r#"{"a":"b"}"#, false),
            (r#"{"a":[1]}"#, false),
            (r#"{"a":-1}"#, false),
            (r#"{"a":1.5}"#, false),
            (r#"{"a":01}"#, false),
            (r#"{"\u0061":1}"#, false),
            (r#"{"a":1,}"#, false),
            (r#"{"a":1"#, false),
            (r#"{"a":nul}"#, false),
            (r#"{"a":nullx}"#, false),
        ] {
            assert_eq!(plainly(json.as_bytes()).is_some(), read, "{json}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_a_walk_reads(
            pieces in prop::collection::vec(prop::sample::select(&[
                "\"a\":1", "\"b\":{\"c\":2}", "\"d\":null", ",", ",", "{", "}", "\"", ":", "0", "12", "\\", " ", "\u{1}", "é", "\"e\":{\"f\":0,\"g\":", "}", "[", "]",
            ][..]), 0..9)
        ) {
            let json = format!("{{{}}}", pieces.concat());
            if let Some(members) = plainly(json.as_bytes()) {
                prop_assert_eq!(Some(members), walked(json.as_bytes()), "{}", json);
            }
        }
    }
}

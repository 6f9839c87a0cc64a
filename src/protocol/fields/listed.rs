//! Lists of names that are looked for among those that come.
//!
//! Most names that come are on no list, and a head has some twenty: so a list is not walked but looked into at a name's mark, where
//! few of its names stand, mostly none.
//! Invariant: every name of a list is found by its mark.

use super::Named;
use super::mark::{MARKS, mark};

/// A list of names.
#[derive(Debug)]
pub(in crate::protocol) struct Listed<const COUNT: usize> {
    names: [&'static str; COUNT],
    /// Of each mark the first name that has it, counted from one; 0: none.
    first: [u8; MARKS],
    /// Behind each name the next one of the same mark.
    next: [u8; COUNT],
}

impl<const COUNT: usize> Listed<COUNT> {
    /// These.
    #[expect(clippy::cast_possible_truncation, reason = "asserted")]
    pub(in crate::protocol) const fn of(names: [&'static str; COUNT]) -> Self {
        assert!(COUNT < 256, "the places have eight bits");
        let (mut first, mut next, mut at) = ([0; MARKS], [0; COUNT], 0);
        while at < COUNT {
            let mark = mark(names[at].as_bytes()) as usize % MARKS;
            next[at] = first[mark];
            at += 1;
            first[mark] = at as u8;
        }
        Self { names, first, next }
    }

    /// Whether a name is among them.
    #[inline]
    pub(in crate::protocol) fn has(&self, Named { name, mark }: Named<'_>) -> bool {
        let mut place = self.first[usize::from(mark) % MARKS];
        while let Some(at) = usize::from(place).checked_sub(1) {
            if self.names[at].as_bytes() == name {
                return true;
            }
            place = self.next[at];
        }
        false
    }
}

/// The names of two lists; `ALL` is how many they are together.
pub(in crate::protocol) const fn both<const ONE: usize, const OTHER: usize, const ALL: usize>(
    one: [&'static str; ONE],
    other: [&'static str; OTHER],
) -> [&'static str; ALL] {
    assert!(ONE + OTHER == ALL, "all have a place, and every place has one");
    let (mut all, mut at) = ([""; ALL], 0);
    while at < ALL {
        all[at] = if at < ONE { one[at] } else { other[at - ONE] };
        at += 1;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAMES: [&str; 6] = ["a", "te", "host", "content-length", "x-api-key", "x-bpi-key"];
    const LISTED: Listed<6> = Listed::of(NAMES);

    #[test]
    fn every_name_is_found_also_beside_others_of_its_mark() {
        assert_eq!(mark(b"x-api-key"), mark(b"x-bpi-key"), "they are alike to it");
        assert!(NAMES.iter().all(|name| LISTED.has(Named::of(name.as_bytes()))));
        assert!([&b"x-cpi-key"[..], b"", b"Host"].iter().all(|name| !LISTED.has(Named::of(name))));
    }

    proptest! {
        #[test]
        fn nothing_else_is(name in prop_oneof!["[a-z-]{0,16}", "x-[a-z]pi-key"]) {
            prop_assert_eq!(LISTED.has(Named::of(name.as_bytes())), NAMES.contains(&name.as_str()));
        }
    }
}

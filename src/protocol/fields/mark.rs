//! A number for each name, by which a head and a list tell most names apart without comparing them.
//!
//! Invariant: equal names have equal marks.

/// A name, with what a head knows of it already.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// As it is written here.
    pub name: &'a [u8],
    /// Its [`mark`].
    pub(super) mark: u8,
}

impl<'a> Named<'a> {
    /// A name that stands in no head.
    pub fn of(name: &'a [u8]) -> Self {
        Self { name, mark: mark(name) }
    }
}

/// A number for a name, by its length and its ends; few of a head have the same.
#[inline]
pub(super) const fn mark(name: &[u8]) -> u8 {
    let (Some(first), Some(last)) = (name.first(), name.last()) else { return 0 };
    let length = name.len().to_le_bytes()[0];
    length.wrapping_mul(7) ^ first.wrapping_mul(3) ^ last.wrapping_mul(11)
}

/// One of [`MARKS`] bits for a mark.
#[inline]
pub(super) const fn bit(mark: u8) -> u64 {
    1 << (mark as usize % MARKS)
}

/// So many bits tell of which marks a head has one.
pub(super) const MARKS: usize = 64;

//! Where something stands: a file and the way down its tree.
//!
//! Made for every value that is looked at, and told of hardly any: to make one allocates nothing.
//! Invariant: what stands deeper than `HOPS_MAX` is said to be at the nearest thing above it.

use crate::config::node::Step;
use std::sync::Arc;

/// A place in the configuration.
#[derive(Debug, Clone)]
pub(super) struct At {
    pub(super) file: usize,
    hops: [Hop; HOPS_MAX],
    len: usize,
    /// The last step, where the operator chose the word.
    named: Option<Arc<str>>,
}

#[derive(Debug, Clone, Copy)]
enum Hop {
    Key(&'static str),
    Index(usize),
}

/// `server.tls[0].certs[0].cert` is as deep as it goes.
const HOPS_MAX: usize = 6;

/// An entry of a section, to be remembered for each of very many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot {
    section: &'static str,
    file: u32,
    index: u32,
}

impl At {
    pub(super) fn section(file: usize, name: &'static str) -> Self {
        Self { file, hops: [Hop::Key(name); HOPS_MAX], len: 1, named: None }
    }

    pub(super) fn key(&self, key: &'static str) -> Self {
        self.hop(Hop::Key(key))
    }

    pub(super) fn item(&self, index: usize) -> Self {
        self.hop(Hop::Index(index))
    }

    /// Under a key that is no word of ours.
    pub(super) fn named(&self, key: &str) -> Self {
        Self { named: Some(Arc::from(key)), ..self.clone() }
    }

    fn hop(&self, hop: Hop) -> Self {
        let mut at = self.clone();
        if let Some(next) = at.hops.get_mut(at.len) {
            *next = hop;
            at.len += 1;
        }
        at
    }

    /// The entry of a section that it is in.
    pub(super) fn spot(&self) -> Spot {
        let number = |number| u32::try_from(number).unwrap_or(u32::MAX);
        let section = if let Hop::Key(key) = self.hops[0] { key } else { "" };
        let index = if let Hop::Index(index) = self.hops[1] { index } else { 0 };
        Spot { section, file: number(self.file), index: number(index) }
    }

    /// The way down.
    pub(super) fn steps(&self) -> Vec<Step<'_>> {
        let step = |hop: &Hop| match hop {
            Hop::Key(key) => Step::Key(key),
            Hop::Index(index) => Step::Index(*index),
        };
        self.hops[..self.len].iter().map(step).chain(self.named.as_deref().map(Step::Key)).collect()
    }
}

impl Spot {
    /// The same as a place.
    pub(super) fn at(self) -> At {
        At::section(self.file as usize, self.section).item(self.index as usize)
    }
}

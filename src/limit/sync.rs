//! The one place from which this room takes what threads share, so that `tests/loom` can put models in its place and
//! try every order in which threads may meet.
//!
//! Invariant: outside that crate (which alone is built with `--cfg loom`) these are the plain types, under their own
//! names; nothing is wrapped and nothing is paid for.

#[cfg(loom)]
pub(super) use crate::model::ArcSwap;
#[cfg(not(loom))]
pub(super) use arc_swap::ArcSwap;

#[cfg(loom)]
pub(super) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
#[cfg(not(loom))]
pub(super) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

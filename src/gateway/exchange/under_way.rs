//! How many exchanges, or streams, are under way.
//!
//! Invariant: a guard counts as long as it lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Counts the exchanges under way; a drain waits until there are none.
#[derive(Debug)]
pub struct UnderWay(Arc<AtomicI64>);

impl UnderWay {
    /// One more.
    pub fn new(counter: &Arc<AtomicI64>) -> Self {
        counter.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(counter))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

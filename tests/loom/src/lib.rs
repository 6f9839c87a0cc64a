//! The limit room of the gateway, its very files, over the atomics of [loom](https://docs.rs/loom): `tests/` holds models
//! that are run through every order in which their threads may meet (and every value that a weak memory may show them).
//! Without `--cfg loom` there is nothing here.
#![cfg(loom)]

pub mod model;

/// The gateway's sources.
#[path = "../../../src"]
mod gateway {
    pub mod limit;
}

pub use gateway::limit;

use loom::thread::{JoinHandle, spawn};
use std::sync::Arc;

/// Runs the model in every order in which its threads may meet, with as many changes between them as loom can do in seconds:
/// a thread may be interrupted so many times at any place, which is where faults are found; what waits or ends does not count.
pub fn model(interruptions: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(interruptions);
    builder.max_branches = 10_000;
    builder.check(run);
}

/// A thread of a model that uses what the others use.
pub fn with<S: Send + Sync + 'static, T: 'static>(
    shared: &Arc<S>,
    work: impl FnOnce(&S) -> T + 'static,
) -> JoinHandle<T> {
    let shared = Arc::clone(shared);
    spawn(move || work(&shared))
}

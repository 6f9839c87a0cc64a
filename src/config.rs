//! From what the operator wrote to what an exchange reads.

pub mod snapshot;

pub use snapshot::Snapshot;

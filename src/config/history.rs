//! The last good configurations: what is kept of each, which one a rollback means, and the way back into the files.
//!
//! Kept is what the files held, byte for byte: a secret that was written as a reference stays one, one that stands in a file
//! stands in the copy too, which nobody but its owner may read. Invariants: an entry is whole or absent; what a rollback
//! overwrites or removes was kept before; nothing but `disk` touches a file.

mod disk;
mod entry;
mod rollback;
mod store;

pub use entry::{Entry, Origin, SourceFile};
pub use rollback::{Rollback, Steps};
pub use store::History;

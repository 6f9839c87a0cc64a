//! From what the operator wrote to what an exchange reads.
//!
//! Read it in this order: [`source`] (the only door to files and environment), `node` (three syntaxes, one
//! tree with positions), [`mod@schema`] (what may be written where), `fit` (whether it is), `file` (the same as types), `compile`
//! (meaning, cross-references, secrets), [`snapshot`] (the result), with [`mod@load`] as the way through all of
//! them; beside it [`reload`] (when to go that way again), [`redact`] (the result without secrets) and [`diff`] (what two
//! results have otherwise).
//! Invariant: loading is whole or nothing, and a refused load names every problem it could find at once.

mod compile;
pub mod diff;
mod file;
mod fit;
pub mod history;
pub mod load;
mod node;
pub mod problem;
pub mod redact;
mod reference;
pub mod reload;
pub mod schema;
pub mod snapshot;
pub mod source;

pub use compile::address::is_link_local;
pub use compile::examples::EXAMPLE_KEY;
pub use diff::{Changes, changes, differences};
pub use load::{Loaded, admin_address, history_path, ledger_path, load, load_to_run, sources};
pub use node::yaml;
pub use problem::{Problem, Problems};
pub use redact::redacted;
pub use reference::reference;
pub use reload::Watcher;
pub use schema::schema;
pub use snapshot::Snapshot;
pub use source::{FsSource, Source, TextSource, Watched, is_same_file};

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

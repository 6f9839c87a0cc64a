//! The steps of an exchange's decision, in the order of the sentence: identify → admit → route → reserve →
//! rewrite. (Inspect is `protocol::inspect`, observe is `protocol::observe`.)
//!
//! Invariant: a step is a plain function over facts. It takes headers, a snapshot, counters and the time as
//! arguments, never a session, so the whole decision path is tested without a socket.

pub mod admit;
pub mod beside;
pub mod canary;
pub mod cap;
pub mod choose;
pub mod estimate;
pub mod explain;
pub mod foreign;
pub mod hosted;
pub mod identify;
pub mod models;
pub mod plan;
pub mod quota;
pub mod retry;
pub mod rewrite;
pub mod route;
pub mod session;
pub mod task;
pub mod translated;
pub mod trial;
pub mod unseen;
pub mod verdict;
pub mod way;

//! How a cloud is told who asks, where that is more than a key in a header.
//!
//! Invariants: time is an argument, nothing is sent from here, and nothing that is secret can be printed.

pub mod aws;
pub mod google;

//! Tollgate: an edge gateway for AI APIs.
//!
//! Read it in this order: the small facts at the bottom (`id` … `failure`), the wire formats (`protocol`),
//! the configuration (`config`).

pub mod code;
pub mod failure;
pub mod id;
pub mod protocol;
pub mod refusal;
pub mod secret;
pub mod usage;

pub mod config;

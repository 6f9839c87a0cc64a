//! Tollgate: an edge gateway for AI APIs.
//!
//! Read it from the top of the house: `gateway` is the page, the way of a request; `stage` its decisions;
//! `protocol` the wire formats; `config` what the operator wrote and what became of it; `state` what
//! survives a reload. `ARCHITECTURE.md` in `docs/` has the plan of the rooms.

pub mod cli;

pub mod app;

pub mod admin;
pub mod fleet;
pub mod gateway;
pub mod process;

pub mod spread;
pub mod stage;
pub mod state;

pub mod config;
pub mod import;
pub mod resolve;
pub mod telemetry;

pub mod balance;
pub mod ledger;
pub mod price;
pub mod protocol;
pub mod record;
pub mod translate;

pub mod aside;
pub mod cloud;
pub mod code;
pub mod failure;
pub mod id;
pub mod limit;
pub mod refusal;
pub mod secret;
pub mod tls;
pub mod usage;
pub mod world;

//! The product as its users meet it: the real gateway on real sockets, before a scripted fake provider.
//!
//! One binary, so that Pingora is linked once. Tests wait for events, never for time; every address is
//! ephemeral and every test has its own gateway and providers, so all of them run in parallel.
#![expect(clippy::expect_used, clippy::panic, reason = "a test's helper fails the test")]
#![expect(clippy::float_cmp, reason = "Prometheus has only floats, and counts are whole")]
#![expect(clippy::format_push_string, reason = "texts of a test are built to be read")]

mod support;

mod addresses;
mod admin;
mod architecture;
mod balances;
mod bodies;
mod burdens;
mod canary;
mod channel_types;
mod clients;
mod clouds;
mod commands;

mod crossing;
mod deploy;
mod docs;
mod draining;
mod edge;
mod egress;
mod exactness;
mod failover;
mod fleet;
mod gates;
mod groups;
mod heads;
mod health;
mod history;
mod hostile;
mod import;
mod last_word;
mod leaving;
mod ledger;
mod limits;
mod looks;
mod matrix;
mod media;
mod models;
mod odd_streams;
mod oracles;
#[cfg(feature = "otlp")]
mod otlp;
mod pressure;
mod prices;
mod process;
mod queries;
mod queues;
mod quotas;
mod realtime;
mod refusals;
mod relay;
mod reload;
mod responses;
mod rounds;
mod running;
mod sampling;
mod secrets;
mod sessions;
mod signatures;
mod smoke;
mod streams;
mod tls;
mod tokens;
mod translate;
mod trials;
mod tunnel;
mod untrusted;
mod upgrade;
mod usages;
mod videos;
mod waiting;
mod watching;
mod weights;
mod wholes;
mod wire;

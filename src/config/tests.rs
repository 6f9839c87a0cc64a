//! Loading as a whole: what is refused and how it is said, what the examples and the three syntaxes yield.

mod bad;
mod good;
mod otlp;
mod prices;
mod quotas;
mod tls;
mod watch;

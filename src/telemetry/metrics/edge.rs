//! What was turned away before it was a request. Invariant: every reason is of a closed list.

use super::Metrics;
use crate::tls::word::Word;

impl Metrics {
    /// A request's head was refused; `reason` is of a closed list.
    pub fn head_refused(&self, reason: &'static str) {
        self.families.heads_refused_total.with_label_values(&[reason]).inc();
    }

    /// A connection was not let in; `reason` is of a closed list.
    pub fn connection_refused(&self, reason: &'static str) {
        self.families.connections_refused_total.with_label_values(&[reason]).inc();
    }

    /// A handshake with a client came to nothing; `reason` is of the closed list of [`Word`].
    pub fn handshake_failed(&self, reason: Word) {
        self.families.tls_handshake_failures_total.with_label_values(&[reason.text()]).inc();
    }
}

/// Why a head is refused.
pub(super) const HEAD_REASONS: [&str; 7] =
    ["malformed", "framing", "host", "method", "target_too_long", "too_long", "slow"];
/// Why a connection is.
pub(super) const CONNECTION_REASONS: [&str; 2] = ["limit", "per_ip"];

//! `[otlp]`: where traces and metrics go.

use super::Channel;
use crate::protocol::trace_context::Sampling;
use crate::secret::Secret;
use http::HeaderName;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Traces and metrics for OpenTelemetry.
#[derive(Debug, Clone)]
pub struct Otlp {
    /// The collector, reached as providers are.
    pub collector: Arc<Channel>,
    /// Headers of every export.
    pub headers: Vec<(HeaderName, Secret)>,
    /// Whom we trust instead of the system's authorities.
    pub ca: Option<PathBuf>,
    /// How many traces are recorded; `None`: there are none.
    pub traces: Option<Sampling>,
    /// Whether metrics are sent.
    pub metrics: bool,
    /// Whose names are used.
    pub convention: Convention,
    /// What everything sent is of: the service's name and more, by name.
    pub resource: Vec<(String, String)>,
    /// How long one export may take.
    pub timeout: Duration,
    /// How long spans gather.
    pub delay: Duration,
    /// How often metrics are sent.
    pub interval: Duration,
}

/// What is the same goes on as it was over a reload.
impl PartialEq for Otlp {
    fn eq(&self, other: &Self) -> bool {
        let (ours, theirs) = (&self.collector, &other.collector);
        let sent = |otlp: &Self| (otlp.traces, otlp.metrics, otlp.convention);
        let times = |otlp: &Self| (otlp.timeout, otlp.delay, otlp.interval);
        ours.endpoint == theirs.endpoint
            && ours.tls.tls.digest() == theirs.tls.tls.digest()
            && ours.timeouts == theirs.timeouts
            && self.headers == other.headers
            && self.resource == other.resource
            && sent(self) == sent(other)
            && times(self) == times(other)
    }
}

/// A version of OpenTelemetry's semantic conventions for generative AI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Convention {
    /// The last with `gen_ai.system`.
    V1_36,
    /// With `gen_ai.provider.name`, and tokens of caches.
    V1_41,
}

impl Convention {
    /// The word in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::V1_36 => "1.36",
            Self::V1_41 => "1.41",
        }
    }
}

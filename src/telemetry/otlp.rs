//! Finished exchanges in the words of OpenTelemetry: spans, histograms, and both as messages of OTLP.
//!
//! Pure: records come in, bytes go out; who sends them is `app::otlp`. Names follow the semantic conventions for generative AI
//! and for HTTP, in one of two versions ([`Convention`]).
//! Invariants: an attribute is a fact of the `Record`, which has no place for a prompt, an answer or a credential; of
//! metrics there are at most [`SERIES_MAX`] series, then one for the rest.

mod attributes;
mod metrics;
mod spans;
mod wire;

pub use self::attributes::{Convention, Peer};
pub use self::metrics::{Histograms, SERIES_MAX};
pub use self::spans::{SpanMessage, spans};
pub use self::wire::Rejected;

use self::attributes::Attributes;
use self::wire::{
    ExportMetrics, ExportTraces, ResourceMetrics, ResourceSpans, Scope, ScopeMetrics, ScopeSpans,
};
use prost::Message as _;

/// What everything that is sent is of.
#[derive(Debug, Clone)]
pub struct Origin {
    convention: Convention,
    resource: wire::Resource,
    scope: Scope,
}

impl Origin {
    /// This program, with the attributes the operator gives it and the id of this process.
    pub fn new(convention: Convention, resource: &[(String, String)], instance: &str) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        let mut attributes = Attributes::default();
        for (name, value) in resource {
            attributes.owned(name.clone(), value);
        }
        for (name, value) in [("service.version", version), ("service.instance.id", instance)] {
            if !resource.iter().any(|(given, _)| given == name) {
                attributes.text(name, value);
            }
        }
        Self {
            convention,
            resource: wire::Resource { attributes: attributes.into_message() },
            scope: Scope { name: "tollgate".to_owned(), version: version.to_owned() },
        }
    }

    /// A batch of spans, as it is sent.
    pub fn traces(&self, spans: Vec<SpanMessage>) -> Vec<u8> {
        let schema_url = self.convention.schema_url().to_owned();
        let scope_spans = vec![ScopeSpans {
            scope: Some(self.scope.clone()),
            spans: spans.into_iter().map(|span| span.0).collect(),
            schema_url: schema_url.clone(),
        }];
        let resource_spans =
            vec![ResourceSpans { resource: Some(self.resource.clone()), scope_spans, schema_url }];
        ExportTraces { resource_spans }.encode_to_vec()
    }

    /// All that was counted until now, as it is sent.
    pub fn metrics(&self, histograms: &Histograms, now_unix_ms: u64) -> Vec<u8> {
        let schema_url = self.convention.schema_url().to_owned();
        let scope_metrics = vec![ScopeMetrics {
            scope: Some(self.scope.clone()),
            metrics: histograms.messages(now_unix_ms),
            schema_url: schema_url.clone(),
        }];
        let resource_metrics =
            vec![ResourceMetrics { resource: Some(self.resource.clone()), scope_metrics, schema_url }];
        ExportMetrics { resource_metrics }.encode_to_vec()
    }
}

/// What a collector says of a batch it took: how much of it it did not take after all.
pub fn rejected(answer: &[u8]) -> Option<Rejected> {
    let answer = wire::ExportAnswer::decode(answer).ok()?;
    answer.partial_success.filter(|rejected| rejected.count != 0 || !rejected.message.is_empty())
}

#[cfg(test)]
mod tests;

//! Traces and metrics for OpenTelemetry, as written.

use super::{SecretText, Wait};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Traces and metrics for OpenTelemetry, sent by OTLP over HTTP.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Otlp {
    /// The collector's address, without `/v1/traces`; `OTEL_EXPORTER_OTLP_ENDPOINT` if absent, else `http://localhost:4318`.
    pub(in super::super) endpoint: Option<String>,
    /// Headers of every export, such as the key of a service; those of `OTEL_EXPORTER_OTLP_HEADERS` count beside them.
    #[serde(default)]
    pub(in super::super) headers: BTreeMap<String, SecretText>,
    /// The file of the authorities that are trusted instead of the system's, PEM.
    pub(in super::super) ca: Option<String>,
    /// Whether spans are sent, and trace headers continued; true if absent.
    pub(in super::super) traces: Option<bool>,
    /// Whether metrics are sent; true if absent.
    pub(in super::super) metrics: Option<bool>,
    /// The share of the traces beginning here that is recorded; a client's own decision counts before it; 1 if absent.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(in super::super) sample_ratio: Option<f64>,
    /// The version of the semantic conventions whose names are used; 1.41 if absent.
    #[schemars(extend("enum" = ["1.36", "1.41"]))]
    pub(in super::super) semconv: Option<String>,
    /// What this is called there; `OTEL_SERVICE_NAME` if absent, else `tollgate`.
    pub(in super::super) service_name: Option<String>,
    /// Attributes of everything sent, such as `deployment.environment.name`; those of `OTEL_RESOURCE_ATTRIBUTES` count beside them.
    #[serde(default)]
    pub(in super::super) resource: BTreeMap<String, String>,
    /// How long one export may take; 10s if absent.
    pub(in super::super) timeout: Option<Wait>,
    /// How long spans gather before they are sent; 5s if absent.
    pub(in super::super) delay: Option<Wait>,
    /// How often metrics are sent; 60s if absent.
    pub(in super::super) interval: Option<Wait>,
}

//! Traces and metrics for OpenTelemetry, as written.

use super::{SecretText, Wait};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Traces and metrics for OpenTelemetry, sent by OTLP over HTTP.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Otlp {
    /// The collector's address; `/v1/traces` and `/v1/metrics` are put behind it.
    #[schemars(extend("x-type" = "URL", "x-default" = "`OTEL_EXPORTER_OTLP_ENDPOINT`, else `\"http://localhost:4318\"`"))]
    pub(in super::super) endpoint: Option<String>,
    /// Headers of every export, such as the key of a service; the whole value of the header. Those of `OTEL_EXPORTER_OTLP_HEADERS` count beside them. At most 16.
    #[serde(default)]
    #[schemars(extend("x-type" = "table of secrets"))]
    pub(in super::super) headers: BTreeMap<String, SecretText>,
    /// The authorities that are trusted instead, PEM.
    #[schemars(extend("x-type" = "path", "x-default" = "the system's"))]
    pub(in super::super) ca: Option<String>,
    /// Whether spans are sent, and `traceparent` continued.
    #[schemars(extend("x-default" = "`true`"))]
    pub(in super::super) traces: Option<bool>,
    /// Whether metrics are sent.
    #[schemars(extend("x-default" = "`true`"))]
    pub(in super::super) metrics: Option<bool>,
    /// The share of the traces beginning here that is recorded. A client that sends a `traceparent` has decided for itself.
    #[schemars(range(min = 0.0, max = 1.0))]
    #[schemars(extend("x-default" = "`1`"))]
    pub(in super::super) sample_ratio: Option<f64>,
    /// Whose names are used: `gen_ai.system` until 1.36, `gen_ai.provider.name` since.
    #[schemars(extend("enum" = ["1.36", "1.41"]))]
    #[schemars(extend("x-default" = "`\"1.41\"`"))]
    pub(in super::super) semconv: Option<String>,
    /// What this is called there.
    #[schemars(extend("x-default" = "`OTEL_SERVICE_NAME`, else `\"tollgate\"`"))]
    pub(in super::super) service_name: Option<String>,
    /// Attributes of everything that is sent. Those of `OTEL_RESOURCE_ATTRIBUTES` count beside them. At most 64.
    #[serde(default)]
    pub(in super::super) resource: BTreeMap<String, String>,
    /// How long one export may take.
    #[schemars(extend("x-default" = "`\"10s\"`"))]
    pub(in super::super) timeout: Option<Wait>,
    /// How long spans gather before they are sent; 512 are sent at once.
    #[schemars(extend("x-default" = "`\"5s\"`"))]
    pub(in super::super) delay: Option<Wait>,
    /// How often metrics are sent.
    #[schemars(extend("x-default" = "`\"60s\"`"))]
    pub(in super::super) interval: Option<Wait>,
}

//! `[otlp]`: where traces and metrics go, with what OpenTelemetry's own variables say where the file does not.
//!
//! Invariants: without the section nothing is sent, whatever the environment says; the collector is reached as a provider
//! is, and its address goes nowhere near a client; a header's value is a secret.

use super::secrets::{Form, Found};
use super::upstream::Upstream;
use super::{At, Compiler, address};
use crate::config::file::{Otlp as Written, SecretText};
use crate::config::problem::shown;
use crate::config::snapshot::{
    Channel, ChannelTls, Convention, CredentialForm, Endpoint, HttpVersion, Limits, Maker, Naming, Otlp,
    Place, Places, Streams,
};
use crate::id::ChannelId;
use crate::protocol::Dialect;
use crate::protocol::trace_context::Sampling;
use crate::secret::Secret;
use crate::spread::Map;
use crate::tls::ClientTls;
use http::HeaderName;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

impl Compiler<'_, '_> {
    /// What the entry file says about traces and metrics; `None`: none are sent.
    pub(super) fn otlp(&mut self, written: Option<&Written>, upstream: &Upstream) -> Option<Arc<Otlp>> {
        let written = written?;
        let at = At::section(0, "otlp");
        if !cfg!(feature = "otlp") {
            let hint = "build with the feature `otlp`, which is on unless it is switched off".to_owned();
            self.problem(&at, "this build of Tollgate sends no traces and metrics", Some(hint));
            return None;
        }
        let (traces, metrics) = (written.traces.unwrap_or(true), written.metrics.unwrap_or(true));
        if !traces && !metrics {
            let hint = "leave `[otlp]` out to send nothing".to_owned();
            self.problem(&at, "sends neither traces nor metrics", Some(hint));
        }
        if !traces && written.sample_ratio.is_some() {
            self.problem(&at.key("sample_ratio"), "has no effect without traces", None);
        }
        let headers = self.exported_headers(&at, written);
        let endpoint = self.collector_endpoint(&at, written);
        let roots = written.ca.as_ref().and_then(|path| self.trusted(&at.key("ca"), path));
        let timeout = self.wait(&at.key("timeout"), written.timeout.as_ref(), TIMEOUT);
        let endpoint = endpoint?;
        if written.ca.is_some() && !endpoint.tls {
            self.problem(&at.key("ca"), "has no effect, since `endpoint` is without TLS", None);
        }
        let tls = ChannelTls { tls: Arc::new(ClientTls::new(roots, None)), ca: None, client: None };
        Some(Arc::new(Otlp {
            collector: Arc::new(collector(endpoint, tls, (upstream, timeout))),
            headers,
            ca: written.ca.as_ref().map(|path| self.beside_the_entry(path)),
            traces: traces.then(|| Sampling::of(written.sample_ratio.unwrap_or(1.0))),
            metrics,
            convention: match written.semconv.as_deref() {
                Some("1.36") => Convention::V1_36,
                _ => Convention::V1_41,
            },
            resource: self.resource(&at, written),
            timeout,
            delay: self.wait(&at.key("delay"), written.delay.as_ref(), DELAY),
            interval: self.wait(&at.key("interval"), written.interval.as_ref(), INTERVAL),
        }))
    }

    /// What a variable says that is there and says anything.
    fn variable_of_otel(&self, name: &str) -> Option<String> {
        self.reads.source.env(name).filter(|value| !value.trim().is_empty())
    }

    fn collector_endpoint(&mut self, at: &At, written: &Written) -> Option<Endpoint> {
        let at = at.key("endpoint");
        let from_environment = self.variable_of_otel(ENDPOINT_VARIABLE);
        let (url, from) = match (&written.endpoint, &from_environment) {
            (Some(url), _) => (url.as_str(), ""),
            (None, Some(url)) => (url.as_str(), "in the environment variable OTEL_EXPORTER_OTLP_ENDPOINT: "),
            (None, None) => (ENDPOINT, ""),
        };
        self.reads.count(url.as_bytes());
        let path = url.trim_end_matches('/');
        let endpoint = if path.ends_with("/v1/traces") || path.ends_with("/v1/metrics") {
            Err(("names the path of one signal", Some("leave /v1/traces off: it is put behind the address")))
        } else {
            address::endpoint(url)
        };
        match endpoint {
            Ok(endpoint) if endpoint.port == GRPC_PORT => {
                let hint = "collectors take OTLP over HTTP on port 4318".to_owned();
                self.warning(
                    &at,
                    format!("{from}port {GRPC_PORT} is usually that of OTLP over gRPC"),
                    Some(hint),
                );
                Some(endpoint)
            }
            Ok(endpoint) => Some(endpoint),
            Err((what, hint)) => {
                self.problem(&at, format!("{from}{what}"), hint.map(str::to_owned));
                None
            }
        }
    }

    /// What the file says, and of what it does not name what the environment says.
    fn exported_headers(&mut self, at: &At, written: &Written) -> Vec<(HeaderName, Secret)> {
        let at = at.key("headers");
        let mut headers: BTreeMap<String, Secret> = BTreeMap::new();
        for (name, text) in &written.headers {
            let at = at.named(name);
            match self.secret_of(&at, text, Form::Value) {
                Found::Secret(secret) => drop(headers.insert(name.to_ascii_lowercase(), secret)),
                Found::Missing(what) => self.problem(&at, what, None),
                Found::Refused => {}
            }
        }
        let listed = self.variable_of_otel(HEADERS_VARIABLE).unwrap_or_default();
        for (name, value) in self.pairs(&at, HEADERS_VARIABLE, &listed) {
            let reference = SecretText::Reference(crate::config::file::SecretReference {
                env: Some(HEADERS_VARIABLE.to_owned()),
                file: None,
                credential: None,
            });
            if let Found::Secret(secret) = self.custody_of(&at, &reference, (&value, Form::Value)) {
                headers.entry(name.to_ascii_lowercase()).or_insert(secret);
            }
        }
        if headers.len() > HEADERS_MAX {
            self.problem(&at, format!("are {}; at most {HEADERS_MAX} are possible", headers.len()), None);
        }
        let mut known = Vec::new();
        for (name, value) in headers {
            match HeaderName::from_bytes(name.as_bytes()) {
                Ok(name) if OURS.contains(&name.as_str()) => {
                    self.problem(
                        &at,
                        format!("{name} belongs to the export and is set by the gateway"),
                        None,
                    );
                }
                Ok(name) => known.push((name, value)),
                Err(_) => self.problem(&at, format!("{} is no header name", shown(&name)), None),
            }
        }
        known
    }

    /// The service's name first, then everything else by name.
    fn resource(&mut self, at: &At, written: &Written) -> Vec<(String, String)> {
        let at_resource = at.key("resource");
        let listed = self.variable_of_otel(RESOURCE_VARIABLE).unwrap_or_default();
        let pairs = self.pairs(&at_resource, RESOURCE_VARIABLE, &listed);
        let mut attributes: BTreeMap<String, String> = pairs.into_iter().collect();
        attributes.extend(written.resource.clone());
        let named = written.service_name.clone().or_else(|| self.variable_of_otel(NAME_VARIABLE));
        let named =
            named.or_else(|| attributes.remove(SERVICE_NAME)).unwrap_or_else(|| "tollgate".to_owned());
        attributes.remove(SERVICE_NAME);
        for (name, value) in &attributes {
            self.reads.count(name.as_bytes());
            self.reads.count(value.as_bytes());
            if name.trim().is_empty() || name.len() + value.len() > ATTRIBUTE_BYTES_MAX {
                let what = format!("must have a name, and at most {ATTRIBUTE_BYTES_MAX} bytes with it");
                self.problem(&at_resource.named(name), what, None);
            }
        }
        self.reads.count(named.as_bytes());
        if attributes.len() > ATTRIBUTES_MAX {
            self.problem(&at_resource, format!("has more than {ATTRIBUTES_MAX} attributes"), None);
        }
        std::iter::once((SERVICE_NAME.to_owned(), named)).chain(attributes).collect()
    }

    /// `name=value,name=value` with percent-encoded values, as OpenTelemetry's variables are written.
    fn pairs(&mut self, at: &At, variable: &str, text: &str) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let taken =
                pair.split_once('=').and_then(|(name, value)| Some((name.trim(), decoded(value.trim())?)));
            match taken {
                Some((name, value)) if !name.is_empty() => pairs.push((name.to_owned(), value)),
                // Its text may hold a secret.
                _ => {
                    let what = format!("environment variable {variable} is not `name=value,name=value`");
                    self.problem(at, what, None);
                    return Vec::new();
                }
            }
        }
        pairs
    }
}

/// Without its percent signs; `None`: that is no text.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *first == b'%');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).ok()
}

/// The collector, as what connections are made to.
fn collector(endpoint: Endpoint, tls: ChannelTls, (upstream, timeout): (&Upstream, Duration)) -> Channel {
    let other = Place {
        base_path: endpoint.base_path.clone(),
        version: None,
        api_version: None,
        naming: Naming::InBody,
        credential: CredentialForm::Bearer,
    };
    let mut timeouts = upstream.timeouts.clone();
    timeouts.connect = timeouts.connect.min(timeout);
    let mut conduct = upstream.conduct.clone();
    conduct.http_version = HttpVersion::Http1;
    Channel {
        id: ChannelId::new("otlp"),
        index: 0,
        kind: "otlp",
        dialect: Dialect::OpenAi,
        protocols: Vec::new(),
        counting: Vec::new(),
        operations: Some(&[]),
        places: Places { spoken: Vec::new(), rerank: None, other },
        maker: Maker::Any,
        streams: Streams::Any,
        endpoint,
        tls,
        credentials: vec![Secret::new("")],
        identities: Vec::new(),
        models: None,
        model_map: Map::default(),
        priority: 0,
        weight: 0,
        canary: None,
        groups: None,
        enabled: true,
        // An agent on the machine itself is often there, and no client chooses this address.
        allow_link_local: true,
        egress_proxy: None,
        limits: Limits::default(),
        credential_limits: Limits::default(),
        set_headers: Vec::new(),
        remove_headers: Vec::new(),
        timeouts,
        conduct,
    }
}

const ENDPOINT: &str = "http://localhost:4318";
const ENDPOINT_VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const HEADERS_VARIABLE: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const RESOURCE_VARIABLE: &str = "OTEL_RESOURCE_ATTRIBUTES";
const NAME_VARIABLE: &str = "OTEL_SERVICE_NAME";
const SERVICE_NAME: &str = "service.name";
const GRPC_PORT: u16 = 4317;
/// What the message itself is made of.
const OURS: [&str; 6] =
    ["host", "content-type", "content-length", "content-encoding", "transfer-encoding", "connection"];
/// OpenTelemetry's own defaults, as its SDKs have them.
const TIMEOUT: Duration = Duration::from_secs(10);
const DELAY: Duration = Duration::from_secs(5);
const INTERVAL: Duration = Duration::from_secs(60);
/// A key and a tenant, and some more.
const HEADERS_MAX: usize = 16;
/// They go with every export.
const ATTRIBUTES_MAX: usize = 64;
const ATTRIBUTE_BYTES_MAX: usize = 1024;

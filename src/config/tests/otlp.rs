//! `[otlp]` in the configuration: the file before the environment, and nothing without the section.

use super::super::redacted;
use super::super::testing::Memory;
use crate::config::snapshot::Otlp;
use std::sync::Arc;

const REST: &str = "[[channel]]\nname = 'c'\ntype = 'openai'\napi_keys = [{ env = 'OPENAI_API_KEY' }]\n\
    [[key]]\nname = 'k'\nhash = 'sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'\n";

fn memory(section: &str, env: &[(&str, &str)]) -> Memory {
    let text = format!("{section}\n{REST}");
    let mut memory = Memory::with(&[("t.toml", &text)]);
    memory.env.extend(env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    memory
}

fn otlp(section: &str, env: &[(&str, &str)]) -> Option<Arc<Otlp>> {
    let loaded = memory(section, env).load("t.toml").unwrap_or_else(|problems| panic!("{problems}"));
    loaded.snapshot.otlp.clone()
}

fn refused(section: &str, env: &[(&str, &str)], expected: &str) {
    match memory(section, env).load("t.toml") {
        Ok(_) => panic!("should be refused: {section} {env:?}"),
        Err(problems) => assert_eq!(problems.to_string().trim_end(), expected, "{section} {env:?}"),
    }
}

const ENVIRONMENT: [(&str, &str); 4] = [
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://otlp.example.com:4318/otlp"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20dXNlcjpwYXNz, X-Tenant = t1"),
    ("OTEL_SERVICE_NAME", "from-the-environment"),
    ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,deployment.environment.name=prod,team=a%2Cb"),
];

#[test]
fn without_the_section_nothing_is_sent_whatever_the_environment_says() {
    assert!(otlp("", &ENVIRONMENT).is_none());
}

#[test]
#[cfg(not(feature = "otlp"))]
fn a_build_without_it_says_so() {
    let hint = "build with the feature `otlp`, which is on unless it is switched off";
    refused(
        "[otlp]",
        &[],
        &format!("t.toml:1: otlp: this build of Tollgate sends no traces and metrics ({hint})"),
    );
}

#[test]
#[cfg(feature = "otlp")]
fn the_file_counts_and_then_the_environment_and_then_what_everybody_has() {
    let plain = otlp("[otlp]", &[]).unwrap();
    let endpoint = &plain.collector.endpoint;
    assert_eq!((&*endpoint.host, endpoint.port, endpoint.tls), ("localhost", 4318, false));
    assert_eq!(plain.resource, [("service.name".to_owned(), "tollgate".to_owned())]);
    assert!(plain.metrics && plain.traces.is_some_and(|sampling| sampling.takes(u128::MAX)));

    let told = otlp("[otlp]", &ENVIRONMENT).unwrap();
    let endpoint = &told.collector.endpoint;
    assert_eq!((&*endpoint.host, endpoint.port, endpoint.tls), ("otlp.example.com", 4318, true));
    assert_eq!(endpoint.base_path, "/otlp");
    let headers: Vec<_> = told.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(headers, [("authorization", "Basic dXNlcjpwYXNz"), ("x-tenant", "t1")]);
    let resource: Vec<_> = told.resource.iter().map(|(name, value)| (&**name, &**value)).collect();
    let expected =
        [("service.name", "from-the-environment"), ("deployment.environment.name", "prod"), ("team", "a,b")];
    assert_eq!(resource, expected);

    let section = "[otlp]\nendpoint = 'http://collector:4318/'\nservice_name = 'mine'\n\
                   headers = { authorization = 'Bearer x-y' }\nresource = { team = 'c' }";
    let written = otlp(section, &ENVIRONMENT).unwrap();
    assert_eq!(written.collector.endpoint.host, "collector");
    assert_eq!(written.headers[0].1.expose(), "Bearer x-y");
    assert_eq!(written.resource[0].1, "mine");
    assert_eq!(written.resource[2], ("team".to_owned(), "c".to_owned()));
}

#[test]
#[cfg(feature = "otlp")]
fn what_has_no_effect_or_cannot_work_is_refused() {
    for (section, expected) in [
        (
            "[otlp]\nendpoint = 'http://c:4318/v1/traces'",
            "t.toml:2: otlp.endpoint: names the path of one signal (leave /v1/traces off: it is put behind the address)",
        ),
        (
            "[otlp]\nendpoint = 'collector:4318'",
            "t.toml:2: otlp.endpoint: must begin with https:// or http://",
        ),
        (
            "[otlp]\ntraces = false\nmetrics = false",
            "t.toml:1: otlp: sends neither traces nor metrics (leave `[otlp]` out to send nothing)",
        ),
        (
            "[otlp]\ntraces = false\nsample_ratio = 0.5",
            "t.toml:3: otlp.sample_ratio: has no effect without traces",
        ),
        (
            "[otlp]\nheaders = { authorization = { env = 'NOT_THERE' } }",
            "t.toml:2: otlp.headers.authorization: environment variable `NOT_THERE` is not set",
        ),
        (
            "[otlp]\nheaders = { Content-Type = 'text/plain' }",
            "t.toml:2: otlp.headers: content-type belongs to the export and is set by the gateway",
        ),
    ] {
        refused(section, &[], expected);
    }
    let wrong = [("OTEL_EXPORTER_OTLP_HEADERS", "a-secret-without-a-name")];
    let expected =
        "t.toml:1: otlp: environment variable OTEL_EXPORTER_OTLP_HEADERS is not `name=value,name=value`";
    match memory("[otlp]", &wrong).load("t.toml") {
        Ok(_) => panic!("should be refused"),
        Err(problems) => {
            let text = problems.to_string();
            assert!(
                text.contains("OTEL_EXPORTER_OTLP_HEADERS is not") && !text.contains("a-secret"),
                "{text} {expected}"
            );
        }
    }
}

#[test]
#[cfg(feature = "otlp")]
fn the_port_of_grpc_is_a_warning_and_no_header_is_shown() {
    let section =
        "[otlp]\nendpoint = 'http://c:4317'\nheaders = { authorization = 'Bearer hidden-0123456789' }";
    let loaded = memory(section, &[]).load("t.toml").unwrap();
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert!(warnings.iter().any(|warning| warning.contains("OTLP over gRPC")), "{warnings:?}");
    let shown = redacted(&loaded.snapshot);
    assert_eq!(shown["otlp"]["endpoint"], "http://c:4317");
    assert!(!shown.to_string().contains("hidden-"), "{}", shown["otlp"]);
    let again = memory(section, &[]).load("t.toml").unwrap();
    assert_eq!(loaded.snapshot.otlp, again.snapshot.otlp, "what is the same is the same");
}

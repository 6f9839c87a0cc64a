//! What the benchmarks are done on: a body, a configuration.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use tollgate::config::{self, TextSource};
use tollgate::state::{Live, Registry};

/// A body as coding agents send it: much escaped text, the model as the last key (the Python SDKs' order).
pub(crate) fn body(bytes: usize) -> Vec<u8> {
    let line = r#"fn main() {\n    println!(\"a \\\"quoted\\\" line\");\n}\n"#;
    let text = line.repeat(bytes / line.len() + 1);
    format!(
        r#"{{"messages":[{{"role":"user","content":"{}"}}],"stream":true,"model":"gpt-4.1"}}"#,
        &text[..bytes / line.len() * line.len()]
    )
    .into_bytes()
}

/// The piece of a stream in which most of its time goes.
pub(crate) const EVENT: &[u8] = b"data: {\"id\":\"chatcmpl-0123456789\",\"object\":\"chat.completion.chunk\",\"created\":1760000000,\"model\":\"gpt-4.1-2025-04-14\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" hello\"},\"finish_reason\":null}]}\n\n";

/// So many keys, and so many channels that all serve `gpt-4.1`.
pub(crate) fn configuration(keys: usize, channels: usize) -> String {
    let mut text = String::new();
    for channel in 0..channels {
        write!(
            text,
            "[[channel]]\nname = \"c{channel}\"\ntype = \"openai\"\n\
             api_keys = [\"sk-upstream-{channel:06}-0123\"]\nmodels = [\"gpt-4.1\", \"m{channel}\"]\n"
        )
        .expect("a text grows");
    }
    for key in 0..keys {
        writeln!(text, "[[key]]\nname = \"k{key}\"\nsecret = \"sk-client-{key:06}-0123456789\"")
            .expect("a text grows");
    }
    text
}

/// One key with every limit that one exchange can count against.
pub(crate) fn limited() -> String {
    let limits = "rpm = 1000000000, tpm = 1000000000000, concurrency = 1000";
    let quota =
        "quota = { usd = 100000000.0, tokens = 1000000000000000, requests = 1000000000000, per = \"month\" }";
    format!(
        "[[channel]]\nname = \"c\"\ntype = \"openai\"\napi_keys = [\"sk-upstream-0123456789\"]\n\
         [[group]]\nname = \"g\"\n{quota}\nlimits = {{ {limits} }}\n\
         [[key]]\nname = \"k\"\nsecret = \"sk-client-0123456789\"\ngroup = \"g\"\n{quota}\nlimits = {{ {limits} }}\n\
         model_limits = [{{ model = \"gpt-*\", {limits} }}]\n"
    )
}

/// A configuration in force.
pub(crate) fn in_force(registry: &Registry, text: &str) -> Live {
    let loaded = config::load(Path::new("bench.toml"), &TextSource(text)).expect("it loads");
    registry.bind(Arc::new(loaded.snapshot), 1)
}

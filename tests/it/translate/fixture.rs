//! The folders of cases, and what they are translated with.

use crate::support::repository;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tollgate::refusal::Refusal;
use tollgate::translate::unified::Request;
use tollgate::translate::{self, Asked, Back, Client, Outgoing, Protocol, Target};

/// What ids are made of in the cases.
pub(crate) const ID: &str = "0a1b2c3d4e5f";
/// When everything was asked.
pub(crate) const CREATED: u64 = 1_763_000_000;

/// One folder.
pub(crate) struct Case {
    pub(crate) protocol: Protocol,
    pub(crate) path: PathBuf,
    settings: Value,
}

impl Case {
    /// Every one, in order.
    pub(crate) fn all() -> Vec<Self> {
        let mut cases = Vec::new();
        for protocol in Protocol::ALL {
            let folder = repository("tests/fixtures/translate").join(protocol.word());
            let mut paths: Vec<PathBuf> = listing(&folder).filter(|path| path.is_dir()).collect();
            paths.sort();
            cases.extend(paths.into_iter().map(|path| {
                let settings = std::fs::read(path.join("case.json")).ok();
                let settings =
                    settings.map_or(Value::Null, |text| serde_json::from_slice(&text).expect("JSON"));
                Self { protocol, path, settings }
            }));
        }
        cases
    }

    /// `chat/parallel_calls`.
    pub(crate) fn name(&self) -> String {
        let name = self.path.file_name().expect("a folder has a name").to_string_lossy();
        format!("{}/{name}", self.protocol.word())
    }

    pub(crate) fn read(&self, file: &str) -> Option<Vec<u8>> {
        std::fs::read(self.path.join(file)).ok()
    }

    /// The protocols it is translated to.
    pub(crate) fn others(&self) -> impl Iterator<Item = Protocol> {
        let own = self.protocol;
        Protocol::ALL.into_iter().filter(move |other| *other != own)
    }

    /// What its request's address says.
    pub(crate) fn asked(&self) -> Asked<'_> {
        let stream = self.settings["stream"].as_bool().unwrap_or(false);
        Asked { model: self.settings["asked"].as_str().unwrap_or("gemini-2.5-pro"), stream }
    }

    /// The channel's model of that protocol.
    pub(crate) fn model(&self, target: Protocol) -> &str {
        let usual = match target {
            Protocol::Chat | Protocol::Responses => "gpt-5.1",
            Protocol::Anthropic => "claude-sonnet-4-5",
            Protocol::Gemini => "gemini-2.5-pro",
        };
        self.settings["models"][target.word()].as_str().unwrap_or(usual)
    }

    /// Writes a request of its protocol for that one.
    pub(crate) fn outgoing(&self, request: &Request<'_>, target: Protocol) -> Result<Outgoing, Refusal> {
        let target = Target {
            protocol: target,
            model: self.model(target),
            stream: request.stream,
            max_tokens: None,
            include_usage: true,
        };
        translate::outgoing(request, &target, ID)
    }

    /// A client of that protocol which gets the answer of this one's provider; `asked.<protocol>.json` is what it
    /// asked, where that matters.
    pub(crate) fn asker(&self, client: Protocol) -> (Client, Back) {
        let file = self.read(&format!("asked.{}.json", client.word()));
        let body = file.unwrap_or_else(|| plain(client).to_string().into_bytes());
        let asked = Asked { model: "gemini-2.5-pro", stream: true };
        let request = translate::request(client, &body, &asked).expect("a request that can be read");
        let outgoing = self.outgoing(&request, self.protocol).expect("a request that can be translated");
        (Client::of(&request, ID, CREATED), outgoing.back)
    }
}

/// The plainest request of a protocol, as a stream with its usage.
pub(crate) fn plain(protocol: Protocol) -> Value {
    match protocol {
        Protocol::Chat => json!({
            "model": "fast", "stream": true, "stream_options": {"include_usage": true},
            "messages": [{"role": "user", "content": "hi"}],
        }),
        Protocol::Responses => json!({"model": "fast", "stream": true, "input": "hi"}),
        Protocol::Anthropic => json!({
            "model": "fast", "stream": true, "max_tokens": 1000, "messages": [{"role": "user", "content": "hi"}],
        }),
        Protocol::Gemini => json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
    }
}

fn listing(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.expect("it can be listed").path())
}

/// Holds what came out against the file of that name, or writes it.
pub(crate) fn expect(case: &Case, file: &str, text: &str, wrong: &mut Vec<String>) {
    let path = case.path.join(file);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).expect("it is written");
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    if expected != text {
        wrong.push(format!("{}/{file}:\n--- expected\n{expected}\n--- came out\n{text}", case.name()));
    }
}

/// JSON for the eye, its members in the order they were written.
pub(crate) fn pretty(json: &[u8]) -> String {
    let text = std::str::from_utf8(json).expect("UTF-8");
    serde_json::from_str::<serde::de::IgnoredAny>(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let (mut out, mut depth, mut in_string, mut escaped) = (String::new(), 0_usize, false, false);
    let mut letters = text.chars().peekable();
    while let Some(c) = letters.next() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            out.push(c);
            continue;
        }
        match c {
            '{' | '[' => {
                out.push(c);
                if letters.peek().is_some_and(|next| matches!(next, '}' | ']')) {
                    out.extend(letters.next());
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth -= 1;
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_whitespace() => {}
            c => {
                in_string = c == '"';
                out.push(c);
            }
        }
    }
    out.push('\n');
    out
}

fn line(out: &mut String, depth: usize) {
    out.push('\n');
    out.push_str(&"  ".repeat(depth));
}

//! `[server]`, `[trace]`, `[log]` and `[ledger]`: the edge and what it writes.

use super::secrets::Found;
use super::{At, Compiler};
use crate::config::file::{
    File, History as WrittenHistory, Ledger as WrittenLedger, Log as WrittenLog, Server as Written,
    Trace as WrittenTrace, present,
};
use crate::config::problem::shown;
use crate::config::snapshot::{
    AccessTarget, History, Ledger, Log, LogSampling, Server, ServerLimits, ServerTimeouts, Tool, Trace,
};
use crate::secret::Secret;
use http::HeaderName;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Each label is copied into every access line.
const LABELS_MAX: usize = 16;

/// Each is looked up in every request.
const TRACE_HEADERS_MAX: usize = 16;

impl Compiler<'_, '_> {
    /// What the entry file says about the edge.
    pub(super) fn edge(&mut self, file: &File) -> (Server, Trace, Log) {
        let written = Written::default();
        let written = file.server.as_ref().unwrap_or(&written);
        let trace = match (&file.trace, &written.trace) {
            (Some(_), Some(_)) => {
                let what = "is `[trace]` by another name, and both are written";
                self.problem(&At::section(0, "server").key("trace"), what, Some("keep one".to_owned()));
                Trace::default()
            }
            (Some(trace), None) => self.trace(&At::section(0, "trace"), trace),
            (None, Some(trace)) => self.trace(&At::section(0, "server").key("trace"), trace),
            (None, None) => self.trace(&At::section(0, "trace"), &WrittenTrace::default()),
        };
        let log = self.log(file.log.as_ref());
        (self.server(written), trace, log)
    }

    fn server(&mut self, written: &Written) -> Server {
        let at = At::section(0, "server");
        let listen = self.listen(&at.key("listen"), written);
        let tls = self.tls_listeners(&at.key("tls"), &written.tls, &listen);
        let admin = written.admin.as_deref().and_then(|text| {
            let address = socket_address(text);
            self.checked(&at.key("admin"), address)
        });
        let admin = admin.unwrap_or(ADMIN);
        let admin_token = self.admin_token(&at, written, admin);
        let secured = tls.iter().map(|listener| listener.listen);
        if let Some(taken) = listen.iter().copied().chain(secured).find(|public| overlap(*public, admin)) {
            self.problem(
                &at.key("admin"),
                format!("needs an address of its own; {taken} is a public listener"),
                None,
            );
        }
        let proxies = present(written.trusted_proxies.as_deref().unwrap_or_default());
        let proxies: Vec<(usize, &str)> = proxies.map(|(index, text)| (index, text.as_str())).collect();
        Server {
            listen,
            tls,
            admin,
            admin_token,
            threads: match written.threads {
                Some(threads) if threads > 0 => usize::try_from(threads).unwrap_or(1),
                _ => self.reads.source.cores().max(1),
            },
            trusted_proxies: self.networks(&at.key("trusted_proxies"), &proxies),
            cors_origins: self.origins(&at.key("cors_origins"), written),
            loss_header: written.loss_header.unwrap_or(false),
            timeouts: self.timeouts(&at.key("timeouts"), written),
            limits: self.edge_limits(&at.key("limits"), written),
        }
    }

    fn listen(&mut self, at: &At, written: &Written) -> Vec<SocketAddr> {
        let has_tls = !written.tls.is_empty();
        let texts = match &written.listen {
            // As nginx: who says where to listen gets that and nothing else.
            None if has_tls => return Vec::new(),
            None => return vec![LISTEN],
            Some(none) if none.is_empty() && has_tls => return Vec::new(),
            listed => self.texts(at, listed.as_ref(), "0.0.0.0:8080").unwrap_or_default(),
        };
        let mut listen: Vec<SocketAddr> = Vec::new();
        for (index, text) in texts {
            listen.extend(self.free_address(&at.item(index), text, &listen));
        }
        listen
    }

    /// An address that nothing before it listens on.
    pub(super) fn free_address(&mut self, at: &At, text: &str, taken: &[SocketAddr]) -> Option<SocketAddr> {
        let address = self.checked(at, socket_address(text))?;
        if taken.iter().any(|other| overlap(*other, address)) {
            self.problem(at, format!("{address} is listened on already"), None);
        }
        Some(address)
    }

    fn admin_token(&mut self, at: &At, written: &Written, admin: SocketAddr) -> Option<Secret> {
        let at_token = at.key("admin_token");
        let Some(token) = &written.admin_token else {
            if !admin.ip().is_loopback() {
                let what =
                    format!("{admin} can be reached from other machines, so `admin_token` is required");
                self.problem(&at.key("admin"), what, None);
            }
            return None;
        };
        match self.secret(&at_token, token) {
            Found::Secret(secret) => Some(secret),
            Found::Refused => None,
            Found::Missing(what) => {
                self.problem(&at_token, what, None);
                None
            }
        }
    }

    fn origins(&mut self, at: &At, written: &Written) -> Vec<String> {
        let mut origins = Vec::new();
        for (index, text) in present(written.cors_origins.as_deref().unwrap_or_default()) {
            let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
            let plain =
                host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@', '*', ' ']));
            if text != "*" && !plain {
                let what = format!("{} is no origin", shown(text));
                let hint = "for example https://chat.example.com, without a path".to_owned();
                self.problem(&at.item(index), what, Some(hint));
            }
            origins.push(text.to_ascii_lowercase());
        }
        origins
    }

    fn timeouts(&mut self, at: &At, written: &Written) -> ServerTimeouts {
        let none = crate::config::file::ServerTimeouts::default();
        let written = written.timeouts.as_ref().unwrap_or(&none);
        let seconds = Duration::from_secs;
        ServerTimeouts {
            header: self.wait(&at.key("header"), written.header.as_ref(), seconds(10)),
            body_idle: self.wait(&at.key("body_idle"), written.body_idle.as_ref(), seconds(30)),
            write_idle: self.wait(&at.key("write_idle"), written.write_idle.as_ref(), seconds(60)),
            idle: self.wait(&at.key("idle"), written.idle.as_ref(), seconds(75)),
            age: self.wait(&at.key("age"), written.age.as_ref(), seconds(3600)),
            drain_delay: self.wait_or_none(&at.key("drain_delay"), written.drain_delay.as_ref(), seconds(0)),
            drain: self.wait_or_none(&at.key("drain"), written.drain.as_ref(), seconds(600)),
        }
    }

    fn edge_limits(&mut self, at: &At, written: &Written) -> ServerLimits {
        let none = crate::config::file::ServerLimits::default();
        let written = written.limits.as_ref().unwrap_or(&none);
        let count =
            |number: Option<u32>, default| usize::try_from(number.unwrap_or(default)).unwrap_or(usize::MAX);
        ServerLimits {
            connections: count(written.connections, 65_536),
            connections_per_ip: count(written.connections_per_ip, 0),
            exchanges: count(written.exchanges, 65_536),
            header_bytes: self
                .size(&at.key("header_bytes"), written.header_bytes.as_ref())
                .unwrap_or(64 << 10),
            body_bytes: self.size(&at.key("body_bytes"), written.body_bytes.as_ref()).unwrap_or(64 << 20),
            buffered_body_bytes: self
                .size(&at.key("buffered_body_bytes"), written.buffered_body_bytes.as_ref())
                .unwrap_or(1 << 30),
        }
    }

    fn trace(&mut self, at: &At, written: &WrittenTrace) -> Trace {
        let headers = present(written.headers.as_deref().unwrap_or_default());
        let headers: Vec<(usize, &str)> = headers.map(|(index, text)| (index, text.as_str())).collect();
        let tools = [
            (written.claude_code_trace_enabled, Tool::ClaudeCode),
            (written.codex_trace_enabled, Tool::Codex),
            (written.opencode_trace_enabled, Tool::Opencode),
        ];
        Trace {
            tools: tools.into_iter().filter(|(on, _)| *on == Some(true)).map(|(_, tool)| tool).collect(),
            sticky: written.sticky.unwrap_or(true),
            headers: self.logged_headers(&at.key("headers"), &headers, TRACE_HEADERS_MAX),
        }
    }

    fn log(&mut self, written: Option<&WrittenLog>) -> Log {
        let at = At::section(0, "log");
        let labels = present(written.and_then(|log| log.labels.as_deref()).unwrap_or_default());
        let labels: Vec<(usize, &str)> = labels.map(|(index, text)| (index, text.as_str())).collect();
        let level = written.and_then(|log| log.level.as_deref()).unwrap_or("info");
        let access = match written.and_then(|log| log.access.as_deref()).unwrap_or("stdout") {
            "stdout" => AccessTarget::Stdout,
            "stderr" => AccessTarget::Stderr,
            "off" => AccessTarget::Off,
            path => AccessTarget::File(self.access_path(&at.key("access"), path)),
        };
        Log {
            labels: self.logged_headers(&at.key("labels"), &labels, LABELS_MAX),
            level: level.to_owned(),
            access,
            sampling: self.sampling(&at, written),
        }
    }

    fn sampling(&mut self, at: &At, written: Option<&WrittenLog>) -> Option<LogSampling> {
        let written = written?;
        let slow = self.wait(&at.key("slow"), written.slow.as_ref(), SLOW);
        let part = written.sample_successes.unwrap_or(1.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and a million"
        )]
        let successes_ppm = (part * 1e6).round() as u32;
        if part > 0.0 && successes_ppm == 0 {
            let hint = "write 0 for none".to_owned();
            self.problem(&at.key("sample_successes"), "is less than one of a million", Some(hint));
        }
        let is_used = successes_ppm < 1_000_000;
        if written.slow.is_some() && !is_used {
            let hint = "give `sample_successes`, or leave it out".to_owned();
            self.problem(&at.key("slow"), "has no effect where every line is written", Some(hint));
        }
        is_used.then_some(LogSampling { successes_ppm, slow })
    }

    /// What the entry file says about the ledger.
    pub(super) fn ledger(&mut self, written: Option<&WrittenLedger>) -> Option<Ledger> {
        let written = written?;
        let at = At::section(0, "ledger");
        if written.path.trim().is_empty() || written.path.ends_with('/') {
            let hint = "leave `[ledger]` out to keep none".to_owned();
            self.problem(&at.key("path"), "must be the path of a file", Some(hint));
        }
        let retention = self.retention(&at.key("retention"), written.retention.as_ref());
        Some(Ledger { path: self.beside_the_entry(&written.path), retention })
    }

    /// What the entry file says about the history.
    pub(super) fn history(&mut self, written: Option<&WrittenHistory>) -> Option<History> {
        let written = written?;
        if written.path.trim().is_empty() {
            let hint = "leave `[history]` out to keep none".to_owned();
            let at = At::section(0, "history").key("path");
            self.problem(&at, "must be the path of a directory", Some(hint));
        }
        let keep = usize::try_from(written.keep.unwrap_or(HISTORY_KEPT)).unwrap_or(usize::MAX);
        Some(History { path: self.beside_the_entry(&written.path), keep })
    }

    pub(super) fn beside_the_entry(&self, path: &str) -> PathBuf {
        self.sheets[0].path.parent().unwrap_or(Path::new("")).join(path)
    }

    fn access_path(&mut self, at: &At, path: &str) -> PathBuf {
        // A slip such as "stdot" must not become a file in the working directory.
        if !path.contains('/') && !path.contains('.') {
            let what = format!("unknown value {}; one of stdout, stderr, off, or a path", shown(path));
            let hint = crate::config::problem::did_you_mean(path, ["stdout", "stderr", "off"]);
            self.problem(at, what, hint);
        }
        self.beside_the_entry(path)
    }

    /// Names of headers whose values are written down, so none that hold secrets.
    fn logged_headers(&mut self, at: &At, texts: &[(usize, &str)], max: usize) -> Vec<String> {
        if texts.len() > max {
            self.problem(at, format!("names {} headers; at most {max} are possible", texts.len()), None);
        }
        let mut names = Vec::new();
        for (index, text) in texts {
            match HeaderName::from_bytes(text.as_bytes()) {
                Err(_) => self.problem(&at.item(*index), format!("{} is no header name", shown(text)), None),
                Ok(name) if SECRET_HEADERS.contains(&name.as_str()) => {
                    self.problem(
                        &at.item(*index),
                        format!("{name} holds secrets and is never written down"),
                        None,
                    );
                }
                Ok(name) => names.push(name.as_str().to_owned()),
            }
        }
        names
    }
}

/// Headers that carry credentials.
pub(super) const SECRET_HEADERS: [&str; 8] = [
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "cookie",
    "set-cookie",
    "sec-websocket-protocol",
];

/// Longer than nearly every model thinks before it speaks.
const SLOW: Duration = Duration::from_secs(10);

/// A few weeks of edits, for most.
const HISTORY_KEPT: u32 = 20;

const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 8080);
const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9090);

fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "{} is no address with port; write for example \"0.0.0.0:8080\" or \"[::]:8080\"",
            shown(text)
        )
    })
}

/// Whether two listeners cannot both be bound. Port 0 means any free one.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let same_family = one.is_ipv4() == other.is_ipv4();
    let same_ip = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && same_family && same_ip
}

//! Commands that ask a running gateway, over its admin listener.

use super::cells::{Column, visible};
use super::offline::{KEY_COLUMNS, model_rows};
use super::rows::table_or_json;
use super::{DEFAULT_CONFIG, Failed, print};
use crate::config::snapshot::Server;
use crate::config::{self, FsSource};
use crate::protocol::Dialect;
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

pub(super) fn reload(admin: Option<&str>, config: Option<&Path>, as_json: bool) -> Result<(), Failed> {
    let (status, answer) = call(&Admin::find(admin, config)?, "POST", "/-/reload")?;
    if as_json && answer.is_object() {
        print(&format!("{answer:#}"))?;
    } else if status == 200 {
        print(&reloaded(&answer))?;
    }
    if status == 200 {
        return Ok(());
    }
    let problems = answer["problems"].as_array().cloned().unwrap_or_default();
    let lines: Vec<&str> = problems.iter().filter_map(Value::as_str).chain(answer.as_str()).collect();
    Err(format!("the configuration was refused, the last good one stays:\n{}", lines.join("\n")))
}

/// What a reload says: a heading, what changed, what is missing.
pub(super) fn reloaded(answer: &Value) -> String {
    let generation = &answer["generation"];
    let changes = change_lines(&answer["changes"]);
    let already = if answer["unchanged"] == true { " already" } else { "" };
    let changed = match (changes.is_empty(), &answer["generation"]) {
        (false, _) => "; it changed:",
        (true, first) if *first == 1 => "",
        (true, _) => "; it changed nothing but comments, layout or order",
    };
    let mut lines = vec![format!("reloaded: generation {generation} is in force{already}{changed}")];
    lines.extend(changes.into_iter().map(|line| format!("  {line}")));
    let restart: Vec<&str> =
        answer["needs_restart"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !restart.is_empty() {
        lines.push(format!("needs a restart: {}", restart.join(", ")));
    }
    lines.join("\n")
}

/// The lines of a list of changes as the gateway tells it.
pub(super) fn change_lines(changes: &Value) -> Vec<String> {
    let rows = changes["rows"].as_array().into_iter().flatten();
    let mut lines: Vec<String> = rows.filter_map(|row| row["text"].as_str()).map(visible).collect();
    if changes["more"].as_u64().is_some_and(|more| more > 0) {
        lines.push(format!("… and {} more", changes["more"]));
    }
    lines
}

pub(super) fn drain(admin: Option<&str>, config: Option<&Path>) -> Result<(), Failed> {
    let (status, answer) = call(&Admin::find(admin, config)?, "POST", "/-/drain")?;
    if status != 202 {
        expect_ok(status, &answer)?;
    }
    print(&format!("draining: {} in flight", answer["inflight"]))
}

pub(super) fn keys(url: &str, as_json: bool) -> Result<(), Failed> {
    let (status, answer) = call(&Admin::at(url), "GET", "/api/keys")?;
    expect_ok(status, &answer)?;
    let rows = answer.as_array().cloned().unwrap_or_default();
    let columns: Vec<Column> = KEY_COLUMNS.into_iter().chain([Column::number("inflight", 1)]).collect();
    print(&table_or_json(&rows, &columns, as_json))
}

pub(super) fn models(url: &str, key: Option<&str>, as_json: bool) -> Result<(), Failed> {
    let query = key.map_or(String::new(), |key| format!("?key={}", encoded(key)));
    let (status, answer) = call(&Admin::at(url), "GET", &format!("/api/models{query}"))?;
    expect_ok(status, &answer)?;
    print(&model_rows(&answer.as_array().cloned().unwrap_or_default(), as_json))
}

pub(super) fn explanation(
    url: &str,
    key: &str,
    model: &str,
    dialect: Option<Dialect>,
) -> Result<Value, Failed> {
    let dialect = dialect.map_or(String::new(), |dialect| format!("&dialect={}", dialect.word()));
    let path = format!("/api/explain?key={}&model={}{dialect}", encoded(key), encoded(model));
    let (status, answer) = call(&Admin::at(url), "GET", &path)?;
    expect_ok(status, &answer)?;
    Ok(answer)
}

/// Where to call and with what.
pub(super) struct Admin {
    url: String,
    token: Option<String>,
}

impl Admin {
    pub(super) fn at(url: &str) -> Self {
        let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        Self { url: url.trim_end_matches('/').to_owned(), token: std::env::var(TOKEN_VARIABLE).ok() }
    }

    /// The given address, else the one in the configuration, else the default. A configuration that was
    /// named but does not stand is said, not guessed around: it could be another gateway's address.
    pub(super) fn find(given: Option<&str>, config: Option<&Path>) -> Result<Self, Failed> {
        if let Some(url) = given {
            return Ok(Self::at(url));
        }
        let path = config.unwrap_or(Path::new(DEFAULT_CONFIG));
        let loaded = config::load(path, &FsSource);
        let server = loaded.as_ref().ok().map(|loaded| &loaded.snapshot.server);
        let address = server.map(|server| server.admin).or_else(|| config::admin_address(path, &FsSource));
        let admin = match (address, &loaded) {
            (Some(address), _) => Self::at(&reachable(address)),
            (None, Err(problems)) if config.is_some() || path.exists() => {
                return Err(format!("cannot tell the gateway's address (give --admin URL):\n{problems}"));
            }
            (None, _) => Self::at(DEFAULT_ADMIN),
        };
        Ok(match server {
            Some(server) => admin.with_token_of(server),
            None => admin,
        })
    }

    /// With a configuration's token, where the environment has none.
    pub(super) fn with_token_of(mut self, server: &Server) -> Self {
        let token = server.admin_token.as_ref().map(|token| token.expose().to_owned());
        self.token = self.token.or(token);
        self
    }

    /// Asks for a value.
    pub(super) fn get(&self, path: &str) -> Result<(u16, Value), Failed> {
        call(self, "GET", path)
    }

    /// Asks for something to be done.
    pub(super) fn post(&self, path: &str) -> Result<(u16, Value), Failed> {
        call(self, "POST", path)
    }

    /// Asks for a text as it is.
    pub(super) fn get_text(&self, path: &str) -> Result<(u16, String), Failed> {
        let mut response = send(self, "GET", path)?;
        Ok((response.status().as_u16(), text(self, path, &mut response)?))
    }
}

/// A listener on every address is called on loopback.
fn reachable(listener: SocketAddr) -> String {
    let ip = if listener.ip().is_unspecified() { IpAddr::from([127, 0, 0, 1]) } else { listener.ip() };
    SocketAddr::new(ip, listener.port()).to_string()
}

/// What came of asking.
pub(super) enum Asked {
    /// Status and text of the answer.
    Said(u16, String),
    /// No gateway answers, and where it was looked for.
    Nobody(Failed),
}

/// Asks for a text as it is: a number in it keeps its digits.
pub(super) fn ask(admin: Option<&str>, config: Option<&Path>, path: &str) -> Result<Asked, Failed> {
    let admin = Admin::find(admin, config)?;
    match send(&admin, "GET", path) {
        Ok(mut response) => {
            let status = response.status().as_u16();
            Ok(Asked::Said(status, text(&admin, path, &mut response)?))
        }
        Err(nobody) => Ok(Asked::Nobody(nobody)),
    }
}

fn call(admin: &Admin, method: &str, path: &str) -> Result<(u16, Value), Failed> {
    let mut response = send(admin, method, path)?;
    let status = response.status().as_u16();
    let text = text(admin, path, &mut response)?;
    Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text.trim().to_owned()))))
}

fn text(admin: &Admin, path: &str, response: &mut Response) -> Result<String, Failed> {
    response.body_mut().read_to_string().map_err(|error| format!("{}{path}: {error}", admin.url))
}

type Response = http::Response<ureq::Body>;

fn send(admin: &Admin, method: &str, path: &str) -> Result<Response, Failed> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(CALL_MAX))
        .http_status_as_error(false)
        .proxy(None)
        .build()
        .into();
    let url = format!("{}{path}", admin.url);
    let bearer = admin.token.as_ref().map(|token| format!("Bearer {token}"));
    let answered = if method == "POST" {
        let mut request = agent.post(&url);
        if let Some(bearer) = &bearer {
            request = request.header("authorization", bearer);
        }
        request.send_empty()
    } else {
        let mut request = agent.get(&url);
        if let Some(bearer) = &bearer {
            request = request.header("authorization", bearer);
        }
        request.call()
    };
    answered.map_err(|error| {
        format!("no gateway answers at {}: {error} (is it running? give --admin URL)", admin.url)
    })
}

pub(super) fn expect_ok(status: u16, answer: &Value) -> Result<(), Failed> {
    if status == 200 {
        return Ok(());
    }
    let said = answer["error"].as_str().or(answer.as_str()).unwrap_or_default();
    Err(format!("the gateway answered {status}: {said}"))
}

pub(super) fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

const DEFAULT_ADMIN: &str = "127.0.0.1:9090";
const TOKEN_VARIABLE: &str = "TOLLGATE_ADMIN_TOKEN";
const CALL_MAX: Duration = Duration::from_secs(30);

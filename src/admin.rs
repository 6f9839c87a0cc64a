//! The second listener: metrics, health, what is configured, what happened, and the order to reload.
//!
//! Invariants: nothing here holds a secret (the configuration is shown redacted); health says what is, without a
//! call to any provider; who may call is `door`'s to say.

mod books;
mod credentials;
mod detail;
mod door;
mod page;
mod quotas;
mod traffic;
mod views;

use crate::process::Shared;
use crate::process::reload::{Reloaded, Reloader};
use crate::protocol::{Dialect, entry};
use crate::stage::{explain, models};
use crate::telemetry::recent::RECENT_MAX;
use async_trait::async_trait;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Response};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use traffic::Window;

/// The admin application.
#[derive(Debug)]
pub struct Admin {
    shared: Shared,
    reloader: Option<Arc<Reloader>>,
    bound: Bound,
    started_unix_ms: u64,
}

/// Where the process really listens, whatever the configuration says since.
#[derive(Debug, Clone)]
pub struct Bound {
    /// For clients.
    pub public: Vec<SocketAddr>,
    /// For clients, over TLS.
    pub secured: Vec<SocketAddr>,
    /// For operators.
    pub admin: SocketAddr,
}

/// An answer: status, content type, body.
struct Page(u16, &'static str, String);

impl Page {
    fn json(status: u16, value: &Value) -> Self {
        Self(status, "application/json", format!("{value:#}\n"))
    }

    fn text(status: u16, text: &str) -> Self {
        Self(status, "text/plain; charset=utf-8", format!("{text}\n"))
    }

    fn into_response(self) -> Response<Vec<u8>> {
        let Self(status, content_type, body) = self;
        let mut response = Response::new(body.into_bytes());
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
        let length = HeaderValue::from(response.body().len());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(CONTENT_LENGTH, length);
        for (name, value) in page::SECURITY_HEADERS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if status == 401 {
            // For browsers, which ask their user then.
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(ASK_FOR_TOKEN));
        }
        response
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let head = session.req_header();
        let (method, uri) = (head.method.clone(), head.uri.clone());
        let refused = self.refuse(&method, uri.path(), &head.headers);
        let page = match refused {
            Some(page) => page,
            None if method == Method::POST => self.change(uri.path()).await,
            None if method == Method::GET || method == Method::HEAD => {
                self.look_up(uri.path(), uri.query().unwrap_or_default()).await
            }
            None => Page::text(405, "method not allowed"),
        };
        page.into_response()
    }
}

impl Admin {
    /// For a process on these addresses.
    pub fn new(shared: Shared, reloader: Option<Arc<Reloader>>, bound: Bound) -> Self {
        let started_unix_ms = shared.world.unix_ms();
        Self { shared, reloader, bound, started_unix_ms }
    }

    fn refuse(&self, method: &Method, path: &str, headers: &HeaderMap) -> Option<Page> {
        let live = self.shared.live.load();
        let token = live.snapshot.server.admin_token.as_ref();
        let is_open = matches!(path, "/metrics" | "/livez" | "/readyz" | "/healthz");
        Some(match door::refuse(token, is_open, method, headers)? {
            door::Refused::NoToken => Page::text(401, NO_TOKEN),
            door::Refused::Foreign => Page::text(403, FOREIGN),
        })
    }

    fn show(&self, path: &str, query: &str) -> Page {
        match path {
            "/metrics" => Page(200, "text/plain; version=0.0.4; charset=utf-8", views::metrics(&self.shared)),
            "/livez" => Page::text(200, "ok"),
            "/readyz" | "/healthz" => self.ready(),
            "/api" => Page::text(200, INDEX),
            "/api/status" => Page::json(200, &self.status(query)),
            "/api/config" => Page::json(200, &crate::config::redacted(&self.shared.live.load().snapshot)),
            "/api/channels" => Page::json(200, &json!(views::channel_rows(&self.shared, &self.window()))),
            "/api/keys" => Page::json(200, &json!(views::key_rows(&self.shared, &self.window()))),
            "/api/quotas" => Page::json(200, &views::quotas(&self.shared)),
            "/api/models" => self.models(query),
            "/api/explain" => self.explain(query),
            "/api/exchanges" if parameter(query, "after").is_some() => {
                let news = detail::News::look(&self.shared, self.started_unix_ms, query, RECENT_MAX);
                Page(200, "application/json", news.text())
            }
            "/api/exchanges" => Page::json(200, &views::exchanges(&self.shared, query)),
            _ => page::file(path).unwrap_or_else(|| Page::text(404, INDEX)),
        }
    }

    /// Where a file may have to be read for it.
    async fn look_up(&self, path: &str, query: &str) -> Page {
        match path.strip_prefix("/api/exchanges/") {
            Some(id) => books::exchange(&self.shared, id).await,
            None if path == "/api/usage" => books::usage(&self.shared, query).await,
            None => self.show(path, query),
        }
    }

    async fn change(&self, path: &str) -> Page {
        if path == "/-/drain" {
            self.shared.drain_asked.send_replace(true);
            let inflight = self.shared.under_way.load(Ordering::Acquire);
            return Page::json(202, &json!({ "draining": true, "inflight": inflight }));
        }
        if path != "/-/reload" {
            return Page::text(404, INDEX);
        }
        let Some(reloader) = self.reloader.clone() else {
            return Page::text(409, "this process was not started from a file; there is nothing to reload");
        };
        match reloader.reload_aside().await {
            Some(Ok(reloaded)) => {
                let mut answer = views::reload(&reloader.last());
                answer["unchanged"] = json!(matches!(reloaded, Reloaded::Unchanged));
                answer["hash"] = json!(self.shared.live.load().snapshot.hash);
                Page::json(200, &answer)
            }
            Some(Err(problems)) => {
                tracing::info!(file = %reloader.entry().display(), "reload refused");
                let lines: Vec<String> = problems.to_string().lines().map(str::to_owned).collect();
                Page::json(422, &json!({ "successful": false, "problems": lines }))
            }
            None => Page::text(500, "the reload was given up"),
        }
    }

    /// Ready: not told to stop, and at least one channel is in service. While all of them cool, requests get their 503 with
    /// the time to come back; without a replica that is ready they would get nothing.
    fn ready(&self) -> Page {
        if self.shared.draining.load(Ordering::Acquire) {
            return Page::text(503, "draining");
        }
        if views::channels_in_service(&self.shared) == 0 {
            return Page::text(503, "no channel is usable");
        }
        match views::usable_channels(&self.shared) {
            0 => Page::text(200, "ok, but every channel is cooling"),
            _ => Page::text(200, "ok"),
        }
    }

    fn status(&self, query: &str) -> Value {
        let reloader = self.reloader.as_deref();
        views::status(&self.shared, reloader, &self.bound, self.started_unix_ms, query)
    }

    fn window(&self) -> Window {
        Window::look(&self.shared, self.started_unix_ms)
    }

    fn models(&self, query: &str) -> Page {
        let live = self.shared.live.load();
        let named = parameter(query, "key");
        let keys =
            live.snapshot.keys.iter().filter(|key| named.as_ref().is_none_or(|name| key.id.as_str() == name));
        let rows: Vec<Value> =
            keys.map(|key| json!({ "key": key.id.as_str(), "models": models::usable(&live, key) })).collect();
        if rows.is_empty() {
            return Page::json(404, &json!({ "error": "no key of that name" }));
        }
        Page::json(200, &json!(rows))
    }

    fn explain(&self, query: &str) -> Page {
        let live = self.shared.live.load();
        let (Some(name), Some(model)) = (parameter(query, "key"), parameter(query, "model")) else {
            return Page::json(400, &json!({ "error": "give ?key=NAME&model=MODEL" }));
        };
        let Some(key) = live.snapshot.key_named(&name) else {
            return Page::json(404, &json!({ "error": "no key of that name" }));
        };
        let dialect = parameter(query, "dialect").and_then(|word| Dialect::named(&word));
        Page::json(200, &explain::explain(&live, key, &model, dialect, self.shared.world.now()))
    }
}

/// A parameter of the query, percent-decoded.
fn parameter(query: &str, name: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))?.1;
    entry::percent_decoded(&value.replace('+', " "))
}

const ASK_FOR_TOKEN: &str = "Basic realm=\"Tollgate: any name, and the admin token as the password\"";
const NO_TOKEN: &str = "the admin token is missing or wrong: send it as 'Authorization: Bearer …'";
const FOREIGN: &str = "this call came from another site's page and is refused";
const INDEX: &str = "Tollgate admin: / (status page) /metrics /livez /readyz /api/status /api/channels /api/keys /api/quotas /api/models \
                     /api/config /api/exchanges /api/exchanges/{id} /api/usage /api/explain?key=&model= \
                     and POST /-/reload /-/drain";

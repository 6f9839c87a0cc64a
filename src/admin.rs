//! The second listener: metrics, health, what is configured, what happened, and the order to reload.
//!
//! Invariants: nothing here holds a secret (the configuration is shown redacted); a call that changes
//! something is refused to a browser that was sent by another site; health says what is, without a call to
//! any provider.

mod books;
mod credentials;
mod quotas;
mod views;

use crate::process::Shared;
use crate::process::reload::Reloader;
use crate::protocol::{Dialect, entry};
use crate::secret::KeyDigest;
use crate::stage::{explain, models};
use async_trait::async_trait;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, ORIGIN};
use http::{HeaderMap, Method, Response};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

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
        let Page(status, content_type, body) = page;
        let mut response = Response::new(body.into_bytes());
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
        headers.insert(CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
        headers.insert("x-content-type-options", http::HeaderValue::from_static("nosniff"));
        let length = http::HeaderValue::from(response.body().len());
        response.headers_mut().insert(http::header::CONTENT_LENGTH, length);
        response
    }
}

impl Admin {
    /// For a process on these addresses.
    pub fn new(shared: Shared, reloader: Option<Arc<Reloader>>, bound: Bound) -> Self {
        let started_unix_ms = shared.world.unix_ms();
        Self { shared, reloader, bound, started_unix_ms }
    }

    /// Who may not: without the token where one is set, and any page of another site that wants a change.
    fn refuse(&self, method: &Method, path: &str, headers: &HeaderMap) -> Option<Page> {
        let live = self.shared.live.load();
        let token = live.snapshot.server.admin_token.as_ref();
        let is_open = matches!(path, "/metrics" | "/livez" | "/readyz" | "/healthz");
        if let Some(token) = token.filter(|_| !is_open) {
            let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
            let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
            // Digests of both are compared: how many characters agree takes no longer to find out.
            if KeyDigest::of(given) != token.digest() {
                return Some(Page::text(
                    401,
                    "the admin token is missing or wrong: send it as 'Authorization: Bearer …'",
                ));
            }
        }
        // A browser sends no token by itself, so one that is right proves that this is no foreign page's doing.
        let foreign = token.is_none() && !is_open && !is_own_site(headers);
        let posted = *method == Method::POST && !origin_fits(headers);
        (foreign || posted).then(|| Page::text(403, "this call came from another site's page and is refused"))
    }

    fn show(&self, path: &str, query: &str) -> Page {
        match path {
            "/metrics" => Page(200, "text/plain; version=0.0.4; charset=utf-8", views::metrics(&self.shared)),
            "/livez" => Page::text(200, "ok"),
            "/readyz" | "/healthz" => self.ready(),
            "/" | "/api" => Page::text(200, INDEX),
            "/api/status" => Page::json(200, &self.status()),
            "/api/config" => Page::json(200, &crate::config::redacted(&self.shared.live.load().snapshot)),
            "/api/channels" => Page::json(200, &views::channels(&self.shared)),
            "/api/keys" => Page::json(200, &views::keys(&self.shared)),
            "/api/quotas" => Page::json(200, &views::quotas(&self.shared)),
            "/api/models" => self.models(query),
            "/api/explain" => self.explain(query),
            "/api/exchanges" => Page::json(200, &views::exchanges(&self.shared, query)),
            _ => Page::text(404, INDEX),
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
        let reloaded =
            tokio::task::spawn_blocking(move || (reloader.reload().map(|_| reloader.last()), reloader));
        match reloaded.await {
            Ok((Ok(last), _)) => Page::json(200, &views::reload(&last)),
            Ok((Err(problems), reloader)) => {
                tracing::info!(file = %reloader.entry().display(), "reload refused");
                let lines: Vec<String> = problems.to_string().lines().map(str::to_owned).collect();
                Page::json(422, &json!({ "successful": false, "problems": lines }))
            }
            Err(_) => Page::text(500, "the reload was given up"),
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

    fn status(&self) -> Value {
        let last = self.reloader.as_ref().map(|reloader| reloader.last());
        views::status(&self.shared, last.as_ref(), self.started_unix_ms, &self.bound)
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

/// Whether this cannot be another site's page that had its name bound to this address: the host must be an
/// address or `localhost`, and an origin, where there is one, the same.
fn is_own_site(headers: &HeaderMap) -> bool {
    let Some(host) = header(headers, &HOST) else { return true };
    let name =
        host.rsplit_once(':').map_or(host, |(name, port)| if port.contains(']') { host } else { name });
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    (bare.parse::<IpAddr>().is_ok() || bare.eq_ignore_ascii_case("localhost")) && origin_fits(headers)
}

fn origin_fits(headers: &HeaderMap) -> bool {
    let Some(origin) = header(headers, &ORIGIN) else { return true };
    origin.split_once("://").map(|(_, from)| from) == header(headers, &HOST)
}

fn header<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// A parameter of the query, percent-decoded.
fn parameter(query: &str, name: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))?.1;
    entry::percent_decoded(&value.replace('+', " "))
}

const INDEX: &str = "Tollgate admin: /metrics /livez /readyz /api/status /api/channels /api/keys /api/quotas /api/models \
                     /api/config /api/exchanges /api/exchanges/{id} /api/usage /api/explain?key=&model= \
                     and POST /-/reload /-/drain";

//! Answers we know ourselves: model lists, `HEAD` probes, preflights of browsers.

use crate::code::Code;
use crate::config::snapshot::Key;
use crate::gateway::Gateway;
use crate::gateway::client::Client;
use crate::gateway::exchange::Exchange;
use crate::gateway::reply::{Sent, allowed_origin};
use crate::protocol::entry::Entry;
use crate::protocol::{Operation, render};
use crate::refusal::Refusal;
use crate::stage::models;
use crate::state::Live;
use http::Method;
use std::sync::Arc;

impl Gateway {
    /// Answers an operation that needs no provider.
    pub(super) async fn local(
        &self,
        client: &mut Client<'_>,
        exchange: &mut Exchange,
        entry: &Entry,
    ) -> Sent {
        if entry.operation == Operation::Probe {
            exchange.logged = false;
            let answer = render::Answer { status: 200, headers: Vec::new(), body: String::new() };
            return self.reply(client, exchange).whole(answer).await;
        }
        let answer = Self::identify(client, exchange, entry).and_then(|key| {
            let created = self.world.unix_ms() / 1000;
            models_answer(&exchange.live, &key, entry, created)
        });
        match answer {
            Ok(answer) => self.reply(client, exchange).whole(answer).await,
            Err(refusal) => self.reply(client, exchange).refuse(&refusal).await,
        }
    }

    /// Answers a browser's question whether it may call: yes for configured origins, else no word of it.
    pub(super) async fn preflight(&self, client: &mut Client<'_>, exchange: &mut Exchange) -> Sent {
        exchange.logged = false;
        let mut headers = Vec::new();
        if allowed_origin(&exchange.live.snapshot.server, client).is_some() {
            let asked = client.head().headers.text("access-control-request-headers");
            let asked = asked.unwrap_or("authorization, content-type");
            headers.push(("access-control-allow-headers", asked.to_owned()));
            headers.push(("access-control-allow-methods", "GET, HEAD, POST, DELETE, OPTIONS".to_owned()));
            headers.push(("access-control-max-age", "86400".to_owned()));
            // A page of the internet that calls a gateway in a private network asks for that too.
            if client.head().headers.has("access-control-request-private-network") {
                headers.push(("access-control-allow-private-network", "true".to_owned()));
            }
        }
        let answer = render::Answer { status: 204, headers, body: String::new() };
        self.reply(client, exchange).whole(answer).await
    }
}

/// Whether this is a browser's preflight.
pub fn is_preflight(client: &Client<'_>) -> bool {
    let head = client.head();
    head.method == Method::OPTIONS
        && head.headers.has("origin")
        && head.headers.has("access-control-request-method")
}

fn models_answer(
    live: &Live,
    key: &Arc<Key>,
    entry: &Entry,
    created: u64,
) -> Result<render::Answer, Refusal> {
    let dialect = entry.dialect;
    let body = match &entry.model {
        None => {
            let names = models::usable(live, key);
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            render::model_list(dialect, &names, created)
        }
        Some(name) if models::is_usable(live, key, name) => render::model(dialect, name, created),
        Some(name) => {
            let message = format!("The model {} does not exist here.", crate::refusal::quoted(name));
            return Err(Refusal::new(Code::ModelNotFound, message).param("model"));
        }
    };
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        // Clients keep such lists for days otherwise, past every change of the configuration.
        ("cache-control", "no-store".to_owned()),
    ];
    Ok(render::Answer { status: 200, headers, body })
}

//! A request straight from its connection, past Pingora's proxy pipeline.
//!
//! Invariant: one that the pipeline has to take is left untouched: nothing was read of it but its head, and nothing was
//! counted.

use crate::gateway::boxed::boxed;
use crate::gateway::client::Client;
use crate::gateway::reply::Sent;
use crate::gateway::{Gateway, guard};

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direct {
    /// It was answered whole, and its connection may carry another.
    Whole,
    /// Its connection, or its stream, ends without a word, or was a conversation that has ended.
    Broken,
    /// A tunnel: Pingora's pipeline moves its bytes.
    Tunnel,
}

impl Gateway {
    /// Answers a request whose head is there.
    pub async fn direct(&self, client: &mut Client<'_>) -> Direct {
        let entry = Self::asked(client);
        if entry.as_ref().is_ok_and(|entry| entry.operation.is_tunnel()) {
            return Direct::Tunnel;
        }
        let mut exchange = self.begin();
        Self::greet(client, &exchange);
        let sent = self.answer(client, &mut exchange, entry).await;
        if let Some(opened) = exchange.opened.take() {
            boxed(|| self.converse(client, &mut exchange, *opened)).await;
            self.close(client, &mut exchange);
            return Direct::Broken;
        }
        if sent == Sent::Broken {
            client.abandon();
            guard::cut(client);
        }
        self.close(client, &mut exchange);
        match sent {
            Sent::Whole => Direct::Whole,
            Sent::Broken => Direct::Broken,
        }
    }
}

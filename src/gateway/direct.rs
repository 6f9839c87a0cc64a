//! An exchange straight from Pingora's session, past its proxy pipeline.
//!
//! Invariant: a session that the pipeline has to take is handed back untouched: nothing was read of it but its head, and
//! nothing was counted.

use crate::gateway::reply::Sent;
use crate::gateway::{Gateway, guard};
use pingora::protocols::http::ServerSession;

/// What became of a session.
#[expect(missing_debug_implementations, reason = "Pingora's session has none")]
pub enum Direct {
    /// It was answered whole, and its connection may carry another.
    Whole(ServerSession),
    /// Its connection, or its stream, ends without a word.
    Broken,
    /// A tunnel: Pingora's pipeline moves its bytes.
    Tunnel(ServerSession),
}

impl Gateway {
    /// Answers a request whose head is there.
    pub async fn direct(&self, mut client: ServerSession) -> Direct {
        let entry = Self::asked(&client);
        if entry.as_ref().is_ok_and(|entry| entry.operation.is_tunnel()) {
            return Direct::Tunnel(client);
        }
        let mut exchange = self.begin();
        self.greet(&mut client, &mut exchange);
        let sent = self.answer(&mut client, &mut exchange, entry).await;
        if sent == Sent::Broken {
            guard::cut(&client);
        }
        self.close(&client, &mut exchange);
        match sent {
            Sent::Whole => Direct::Whole(client),
            Sent::Broken => Direct::Broken,
        }
    }
}

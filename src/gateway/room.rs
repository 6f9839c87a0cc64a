//! Whether one more request may begin. Invariant: who is turned away has cost a head, no body and no provider.

use crate::gateway::exchange::Exchange;
use crate::gateway::{Gateway, body};
use crate::refusal::Refusal;
use std::sync::atomic::Ordering;

impl Gateway {
    /// Whether so much is under way that one more would be too much; it counts itself.
    pub(super) fn check_room(&self, exchange: &Exchange) -> Result<(), Refusal> {
        let most = exchange.live.snapshot.server.limits.exchanges.min(self.under_way_max);
        let under_way = usize::try_from(self.under_way.load(Ordering::Relaxed)).unwrap_or(0);
        if under_way > most { Err(body::overloaded("Too many requests at once.")) } else { Ok(()) }
    }
}

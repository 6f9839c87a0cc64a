//! Waiting for a place at a full channel, with an eye on the client.
//!
//! Invariants: a client that leaves gives its place up at once; one that may be kept alive before the first event
//! is kept alive here too; the time waited is in the record however the wait ends.

use crate::gateway::Gateway;
use crate::gateway::client::Client;
use crate::gateway::exchange::{Accepted, Downstream, Exchange};
use crate::gateway::reply::elapsed;
use crate::gateway::waiting::Meanwhile;
use crate::stage::plan::Pause;
use std::pin::pin;
use std::time::Duration;

impl Gateway {
    /// Returns when it is worth asking the plan again; `false`: the client has left, or
    /// the process ends.
    pub(super) async fn queue(
        &self,
        client: &mut Client<'_>,
        exchange: &mut Exchange,
        accepted: &Accepted,
        pause: &Pause,
    ) -> bool {
        let began = self.world.now();
        let before = *exchange.record.queued.get_or_insert_default();
        let may_ping = exchange.downstream == Downstream::Opened
            || (pause.early_ping && accepted.inspection.stream && accepted.entry.streams_events());
        let ping = pause.ping.filter(|_| may_ping).map(|every| until_next(every, before));
        let wait = ping.map_or(pause.longest, |ping| ping.min(pause.longest));
        let mut reply = self.reply(client, exchange);
        let stays = match reply.meanwhile(pin!(pause.signal.woken()), Some(wait)).await {
            Meanwhile::Left | Meanwhile::Over => false,
            Meanwhile::Silent if ping == Some(wait) => reply.open_with_ping(accepted.entry.operation).await,
            Meanwhile::Silent | Meanwhile::Done(()) => true,
        };
        exchange.record.queued = Some(before + elapsed(began, self.world.now()));
        stays
    }
}

/// Until the next whole interval of a wait that has lasted so long: it is made of many short ones.
fn until_next(every: Duration, waited: Duration) -> Duration {
    let into = waited.as_nanos() % every.as_nanos().max(1);
    every.saturating_sub(Duration::from_nanos(u64::try_from(into).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_keep_their_interval_however_often_the_wait_is_broken() {
        let ms = Duration::from_millis;
        for (waited, next) in [(0, 100), (30, 70), (99, 1), (100, 100), (1_250, 50)] {
            assert_eq!(until_next(ms(100), ms(waited)), ms(next), "{waited}");
        }
    }
}

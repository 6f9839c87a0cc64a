//! What an exchange takes of its key's limits and quotas, and what it has spent of them in the end.
//!
//! Invariants: a refused exchange holds nothing; what the record says it cost is what every quota that counts it is
//! settled on, so that sums by key, by group and by project agree with the sums of the records. What was known before
//! the end of the answer is put in the place of the estimate, and settled once, with the record.

use crate::config::snapshot::Key;
use crate::gateway::Gateway;
use crate::gateway::exchange::Exchange;
use crate::limit::Amount;
use crate::limit::quota::{Measure, Spent};
use crate::protocol::Operation;
use crate::record::Text;
use crate::refusal::Refusal;
use crate::stage::admit;
use crate::stage::plan::Plan;
use crate::stage::quota;
use crate::stage::quota::When;
use crate::stage::task::Task;
use crate::state::permit::Permit;
use crate::state::quotas::QuotaHold;
use crate::state::responses::Tab;
use crate::usage::{Usage, UsageSource};
use std::sync::Arc;

impl Gateway {
    /// admit in one group: what the head is enough to decide.
    pub(super) async fn admit_in(
        &self,
        exchange: &Exchange,
        key: &Key,
        operation: Operation,
    ) -> Result<Permit, Refusal> {
        quota::check(&exchange.live, key, operation, self.when(exchange))?;
        self.admitted(&exchange.live, key, operation.medium()).await
    }

    /// reserve: what needs the model and the size of the request.
    pub(super) async fn reserve(
        &self,
        exchange: &mut Exchange,
        (key, plan): (&Key, &Plan),
        permit: &mut Permit,
        (operation, requested, amount): (Operation, &str, Amount),
    ) -> Result<(), Refusal> {
        let live = Arc::clone(&exchange.live);
        let held = self.held(exchange, key, (operation, plan, amount)).await;
        let held = held.inspect_err(|_| permit.refund())?;
        let charge = self.reserved(&live, key, permit, (requested, amount)).await?;
        if exchange.charges.is_empty() {
            // Its channel's comes beside it.
            exchange.charges = Vec::with_capacity(2);
        }
        exchange.charges.push(charge);
        exchange.quotas = held;
        Ok(())
    }

    /// settle: what it cost, at everything that counts it.
    pub(super) fn settle(&self, exchange: &mut Exchange) {
        exchange.price();
        exchange.settle();
        if let Some(key) = &exchange.key
            && exchange.record.cost.nanos().is_none()
            && exchange.live.quotas().of_key(key).iter().any(|named| named.quota.limits(Measure::Usd))
        {
            self.telemetry.metrics.quota_uncounted(key.id.as_str());
        }
        let spent = exchange.spent();
        exchange.quotas.settle(spent);
    }

    /// Somewhere to settle what a look at a response may show; whatever is left of limits and quotas, it may be looked at.
    pub(super) fn open_account(&self, exchange: &mut Exchange, key: &Key, (task, tab): (&Task, &Tab)) {
        let (live, now) = (Arc::clone(&exchange.live), self.world.now());
        exchange.charges.push(admit::account(&live, key, &tab.requested, now));
        exchange.charges.push(live.channel(task.channel.index).account(task.credential, now));
        let quotas = live.quotas().of_key(key);
        exchange.quotas = QuotaHold::open(quotas, self.when(exchange).began_unix);
    }

    pub(super) fn when(&self, exchange: &Exchange) -> When {
        let (began_unix, now) = (exchange.began_unix(), self.world.lately());
        When { began_unix, now_unix: exchange.unix_at(now), now }
    }
}

impl Exchange {
    /// Books what a look at a response has shown of what it used, and nobody had booked before.
    pub(super) fn book_rest(&mut self, tab: &Tab, rest: Option<Usage>, source: UsageSource) {
        let Some(rest) = rest else { return };
        let record = &mut self.record;
        (record.usage, record.usage_source, record.charged) = (rest, source, true);
        record.model_upstream = Some(Text::new(&tab.upstream));
    }

    /// What quotas count of it, as far as it is known: nothing of what nobody bills, and no dollars where the price or
    /// the count is not known.
    pub(super) fn spent(&self) -> Spent {
        let record = &self.record;
        let is_counted = record.usage_source != UsageSource::None;
        Spent {
            nano_usd: record.cost.nanos().unwrap_or(0),
            tokens: if is_counted { record.usage.total() } else { 0 },
            requests: u64::from(record.is_counted()),
        }
    }
}

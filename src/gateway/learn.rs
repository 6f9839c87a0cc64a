//! What passes between an exchange and those after it: where its session was served, how quick a channel is, what
//! such an exchange costs.

use crate::code::Code;
use crate::config::snapshot::Key;
use crate::failure::Sent::MaybeBegun;
use crate::failure::{Failure, FailureKind};
use crate::gateway::Gateway;
use crate::gateway::exchange::{Exchange, Tried};
use crate::limit::{Amount, Nanos};
use crate::protocol::Operation;
use crate::protocol::inspect::Inspection;
use crate::record::End;
use crate::stage::choose;
use crate::stage::estimate::{self, Size};
use crate::stage::plan::{Attempt, Plan};
use crate::stage::verdict;
use crate::state::sticky::Session;

impl Gateway {
    /// The session of an exchange, where it has one that channels are chosen by.
    pub(super) fn session(&self, exchange: &Exchange, key: &Key, model: &str) -> Option<Session> {
        let trace = exchange.record.trace_id.as_ref().filter(|_| exchange.live.snapshot.trace.sticky)?;
        Some(self.registry.sticky().session(&key.id, trace.as_str(), model, self.world.now()))
    }

    /// Says what the exchange is estimated to amount, and that its count shall make later estimates better.
    pub(super) fn expect(
        &self,
        exchange: &mut Exchange,
        (key, plan): (&Key, &mut Plan),
        (operation, body_bytes, inspection): (Operation, usize, &Inspection),
    ) -> Amount {
        let (lessons, model) = (self.registry.lessons(), &plan.model);
        let (max_tokens, max_output_tokens) = (inspection.max_tokens, key.max_output_tokens);
        let size = Size { body_bytes, max_tokens, max_output_tokens };
        let amount = estimate::tokens(operation, size, lessons.of(model));
        let capped = max_tokens.or(max_output_tokens).is_some();
        exchange.lesson = Some(lessons.lesson(model, body_bytes, capped));
        plan.expect(amount);
        amount
    }

    /// learn: what an attempt says of its channel to the next choice. An answer about the request itself (a
    /// provider's 4xx) is quick and says nothing.
    pub(super) fn learn(
        &self,
        exchange: &Exchange,
        plan: &Plan,
        attempt: &Attempt,
        (tried, now): (&Tried<'_>, Nanos),
    ) {
        let (live, by, at) = (&exchange.live, plan.preference(), (now, tried.took));
        if let Some(failure) = tried.failure {
            choose::failed(live, &self.registry, (attempt, failure), by, at);
        } else if tried.status.is_some_and(|status| matches!(status, 101 | 200..300)) {
            choose::answered(live, &self.registry, attempt, by, at);
            if let Some(followed) = attempt.followed {
                self.telemetry.metrics.followed(followed.word());
            }
        }
    }

    /// What the end of an answer says of its channel: one that broke off is a failure too, also where it was
    /// held and nothing of it was seen; a client that left says nothing.
    pub(super) fn judge_end(&self, exchange: &Exchange, attempt: &Attempt, now: Nanos) {
        let translated = exchange.record.attempts.last().and_then(|last| last.translated);
        if let Some(protocol) = translated.or_else(|| exchange.record.operation?.belongs_to()) {
            let signer = exchange.live.channel(attempt.channel.index).signer(protocol);
            self.registry.signers().learn(&exchange.signatures, signer, now);
        }
        let end = exchange.record.end;
        match end {
            // What broke off, or ended in an error of the provider's own.
            End::StreamTruncated | End::StreamIdleTimeout | End::Failed
                if end != End::Failed || exchange.record.code == Some(Code::UpstreamError) =>
            {
                let failure = Failure::new(FailureKind::Reset, MaybeBegun, end.word());
                verdict::note(&exchange.live, attempt, &failure, (now, self.jitter()));
            }
            End::ClientClosed | End::Drained => {}
            _ => {
                exchange.live.channel(attempt.channel.index).health.worked(None);
            }
        }
    }
}

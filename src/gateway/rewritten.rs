//! rewrite: what one attempt sends, and what is to be known when its answer is read.
//!
//! Invariant: what was put into a request, taken out of it or lost on its way is in the record of the attempt.

use crate::code::Code;
use crate::failure::Sent::NotBegun;
use crate::failure::{Failure, FailureKind};
use crate::gateway::Gateway;
use crate::gateway::client::Client;
use crate::gateway::exchange::{Accepted, Exchange, Tried};
use crate::gateway::reply::{Sent, elapsed};
use crate::protocol::observe::estimate;
use crate::protocol::parts::Parts;
use crate::protocol::render::Answer;
use crate::record::{End, Over};
use crate::refusal::Refusal;
use crate::stage::cap;
use crate::stage::foreign::Stripped;
use crate::stage::plan::Attempt;
use crate::stage::rewrite::{Outgoing, rewrite};
use crate::stage::translated::{self, Setting, Translation};
use crate::stage::way::{Question, Way, way};
use crate::translate::{self, Loss};

/// A request for one channel.
#[derive(Debug)]
pub struct Rewritten {
    /// What is sent.
    pub outgoing: Outgoing,
    /// Signed thinking that is not.
    pub stripped: Stripped,
    /// Whether it asks for the usage, which the client did not.
    pub asks_usage: bool,
    /// How the answer becomes the client's, where the channel speaks another protocol.
    pub translation: Option<Box<Translation>>,
}

impl Rewritten {
    /// The request as this attempt sends it; a refusal where it cannot be written for its channel.
    pub fn of(
        head: &Parts,
        exchange: &mut Exchange,
        accepted: &Accepted,
        attempt: &Attempt,
    ) -> Result<Self, Refusal> {
        let key = exchange.key.clone();
        let max = key.as_ref().and_then(|key| key.max_output_tokens);
        let capped = cap::edits(&accepted.inspection.output_cap, max, &attempt.channel);
        exchange.record.output_cap = max.filter(|_| !capped.is_empty());
        exchange.record.losses.clear();
        if let Some(Way::Translate(into)) = way(accepted.question(), &attempt.channel) {
            let original = accepted.original(head, (&[], &capped, None));
            let setting = Setting {
                id: exchange.record.request_id.unprefixed(),
                created: exchange.record.ts_unix_ms / 1000,
                stream: accepted.inspection.stream,
                wording: accepted.inspection.wording,
                requested: &accepted.requested,
                strict: key.is_some_and(|key| key.strict_translation),
            };
            let (mut outgoing, translation) = translated::translate(&original, attempt, into, setting)?;
            exchange.propagate(&mut outgoing.headers, &attempt.channel);
            exchange.lost(&translation.losses);
            let (stripped, translation) = (Stripped::default(), Some(Box::new(translation)));
            return Ok(Self { outgoing, stripped, asks_usage: false, translation });
        }
        let stripped = accepted.thinking.stripped(&exchange.live, &attempt.channel);
        let ask_usage = accepted.ask_usage(&exchange.live, &attempt.channel, exchange.attempt_began);
        let mut outgoing = rewrite(&accepted.original(head, (&stripped.edits, &capped, ask_usage)), attempt);
        exchange.propagate(&mut outgoing.headers, &attempt.channel);
        Ok(Self { outgoing, asks_usage: ask_usage.is_some(), stripped, translation: None })
    }
}

impl Gateway {
    /// Nobody is left to ask. What broke off is billed all the same, and nobody has counted it; tokens that nobody
    /// counts are estimated.
    pub(super) async fn exhausted(
        &self,
        client: &mut Client<'_>,
        exchange: &mut Exchange,
        accepted: &Accepted,
        refusal: &Refusal,
    ) -> Sent {
        let counts = accepted.entry.operation.counts() && accepted.plan.only_translates();
        let is_fit = !matches!(refusal.code, Code::InvalidRequest | Code::UntranslatableRequest);
        if let Some(protocol) = accepted.entry.operation.protocol().filter(|_| counts && is_fit) {
            let tokens = estimate::request_tokens(&accepted.body);
            let headers =
                vec![("content-type", JSON.to_owned()), ("x-tollgate-estimated", "tokens".to_owned())];
            let body = String::from_utf8_lossy(&translate::count_body(protocol, tokens)).into_owned();
            exchange.ended(End::Ok, None);
            return self.reply(client, exchange).whole(Answer { status: 200, headers, body }).await;
        }
        exchange.complete_usage(accepted.request_tokens);
        if accepted.plan.is_over_budget() {
            self.telemetry.metrics.retry_budget_exhausted();
        }
        self.reply(client, exchange).refuse(refusal).await
    }

    /// Books an attempt that could not be made, because the request cannot be written for its channel.
    pub(super) fn unwritten(&self, exchange: &mut Exchange, attempt: &Attempt) {
        let failure = Failure::new(FailureKind::Untranslatable, NotBegun, "");
        let tried = Tried {
            status: None,
            failure: Some(&failure),
            took: elapsed(exchange.attempt_began, self.world.now()),
            over: Over::New,
            connect: None,
            stripped: 0,
            usage_asked: false,
            translated: None,
        };
        exchange.attempted(attempt, tried);
    }
}

const JSON: &str = "application/json";

impl Exchange {
    /// Books what could not be carried over.
    pub(super) fn lost(&mut self, losses: &[Loss]) {
        for loss in losses {
            self.record.losses.push(&loss.field, loss.what.word());
        }
    }
}

impl Accepted {
    /// What of it decides how a channel can answer.
    pub fn question(&self) -> Question {
        let (dialect, operation) = (self.entry.dialect, self.entry.operation);
        let (stream, wording) = (self.inspection.stream, self.inspection.wording);
        Question { dialect, operation, stream, wording }
    }
}

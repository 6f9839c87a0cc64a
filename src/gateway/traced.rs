//! Traces that span programs: an exchange takes its place in the client's, and each attempt says so to its provider.
//!
//! Invariant: where no traces are configured nothing is read and nothing written, and the client's headers pass as others do.

use crate::config::snapshot::Channel;
use crate::gateway::client::Client;
use crate::gateway::exchange::Exchange;
use crate::protocol::fields::Fields;
use crate::protocol::observe::{Telling, Told};
use crate::protocol::trace_context::{self, TRACEPARENT, TRACESTATE};
use crate::record::{Answered, Span, Text};
use crate::world::World;

impl Exchange {
    /// Takes its place in the trace that the client names, or in one that begins here.
    pub(super) fn trace(&mut self, client: &Client<'_>, world: &dyn World) {
        let Some(sampling) = self.live.snapshot.otlp.as_ref().and_then(|otlp| otlp.traces) else { return };
        let head = client.head();
        let random = [world.random(), world.random(), world.random()];
        let span = Span {
            method: head.method.clone(),
            version: head.version,
            secured: client.is_secured(),
            ..Span::begin(trace_context::read(&head.headers), sampling, random)
        };
        self.record.span = Some(Box::new(span));
    }

    /// Who wants to know what the answer says of itself.
    pub(super) fn telling(&self) -> Telling {
        let is_recorded = self.record.span.as_ref().is_some_and(|span| span.is_sampled());
        if is_recorded { Telling::Trace } else { Telling::Nobody }
    }

    /// Keeps what the answer says of itself, for the trace.
    pub(super) fn told(&mut self, told: Option<&Told>) {
        let Some((span, told)) = self.record.span.as_mut().zip(told) else { return };
        span.answered = Answered {
            model: told.model.as_deref().map(Text::new),
            finishes: told.finishes.iter().map(|word| Text::new(word)).collect(),
        };
    }

    /// Names the attempt that is being made as the provider's parent; what the channel itself sets or removes stays so.
    pub(super) fn propagate(&self, headers: &mut Fields, channel: &Channel) {
        let Some(span) = &self.record.span else { return };
        let ours = |name: &str| {
            channel.remove_headers.iter().all(|removed| removed != name)
                && channel.set_headers.iter().all(|(set, _)| set != name)
        };
        let parent = span.traceparent(self.record.attempts.len());
        for (name, value) in [(TRACEPARENT, Some(&*parent)), (TRACESTATE, span.state.as_deref())] {
            match value {
                _ if !ours(name) => {}
                Some(value) => headers.set(name, value),
                None => headers.remove(name),
            }
        }
    }
}

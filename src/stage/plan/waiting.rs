//! Where an exchange waits while every candidate that could serve it is full.
//!
//! It has a ticket in the queue of each of them and tries again when it is woken: what happened meanwhile (a
//! rest, a failure, a longer limit) counts as at any other attempt. A queue takes it for at most the channel's
//! `queue_timeout`, all its waits together.
//! Invariants: it holds nothing at a channel while it waits; it stands only in queues of candidates that are full;
//! served or refused, it stands in none.

use super::{Next, Plan};
use crate::limit::Nanos;
use crate::state::queue::{Signal, Ticket};
use crate::state::{Live, Registry};
use std::sync::Arc;
use std::time::Duration;

/// How long to wait before the plan is asked again.
#[derive(Debug)]
pub struct Pause {
    /// Ends it early: it is this exchange's turn to try.
    pub signal: Arc<Signal>,
    /// The longest it may last.
    pub longest: Duration,
    /// How often a stream's client that may be kept alive is.
    pub ping: Option<Duration>,
    /// Whether it may be before it has heard anything.
    pub early_ping: bool,
}

/// The tickets of an exchange.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// There from the first wait on.
    signal: Option<Arc<Signal>>,
    /// By the channel's position.
    tickets: Vec<(usize, Ticket)>,
    /// Since when it waits, where it does.
    since: Option<Nanos>,
    /// How long it waited before.
    before: Duration,
}

impl Line {
    /// Its ticket at this channel, where it waits there.
    pub(super) fn ticket(&self, channel: usize) -> Option<&Ticket> {
        self.tickets.iter().find(|(index, _)| *index == channel).map(|(_, ticket)| ticket)
    }

    fn waited(&self, now: Nanos) -> Duration {
        self.before + Duration::from_nanos(self.since.map_or(0, |since| now.saturating_sub(since)))
    }

    /// Leaves every queue.
    fn leave(&mut self, now: Nanos) {
        self.before = self.waited(now);
        self.since = None;
        self.tickets.clear();
    }
}

impl Plan {
    /// The next attempt, or a wait for one; `None`: there is nothing to wait for, or no place, or it waited
    /// long enough.
    pub(super) fn next_or_wait(&mut self, live: &Live, registry: &Registry, now: Nanos) -> Option<Next> {
        if let Some(signal) = &self.line.signal {
            signal.clear();
        }
        loop {
            if let Some(next) = self.attempt(live, registry, now) {
                // Who only has to keep its distance keeps its tickets.
                if matches!(next, Next::Attempt(_)) {
                    self.line.leave(now);
                }
                return Some(next);
            }
            let joined = self.line_up(live, now);
            if self.line.tickets.is_empty() {
                self.line.leave(now);
                return None;
            }
            // A place that was given back before the ticket was drawn is announced to nobody.
            if !joined {
                return Some(Next::Queue(self.pause(live, now)));
            }
        }
    }

    /// Draws a ticket for each candidate that is full and has a place, and gives up those for others. Says
    /// whether there is a new one.
    fn line_up(&mut self, live: &Live, now: Nanos) -> bool {
        let mut before = std::mem::take(&mut self.line.tickets);
        let waited = self.line.waited(now);
        let mut joined = false;
        for channel in self.candidates.iter().filter(|channel| self.full.contains(&channel.index)) {
            // One that another exchange is probing is no place to wait at.
            let rests = live.channel(channel.index).health.at(now).is_some();
            if rests || waited >= channel.conduct.queue_timeout {
                continue;
            }
            if let Some(at) = before.iter().position(|(index, _)| *index == channel.index) {
                self.line.tickets.push(before.swap_remove(at));
                continue;
            }
            let signal = self.line.signal.get_or_insert_default();
            let queue = &live.channel(channel.index).queue;
            if let Some(ticket) = queue.join(channel.conduct.queue, signal) {
                self.line.since.get_or_insert(now);
                self.line.tickets.push((channel.index, ticket));
                joined = true;
            }
        }
        joined
    }

    /// Until something changes by itself: a rate has refilled, a rest is over, a queue has had it long enough.
    fn pause(&mut self, live: &Live, now: Nanos) -> Pause {
        let waited = self.line.waited(now);
        let conducts = self.candidates.iter().filter(|channel| self.line.ticket(channel.index).is_some());
        let conducts = conducts.map(|channel| &channel.conduct);
        let until_timeout = conducts.clone().map(|conduct| conduct.queue_timeout.saturating_sub(waited));
        let rests = self.rests(live, now).into_iter().map(|rest| rest.left);
        let longest = until_timeout.chain(rests).chain(self.free_in).min().unwrap_or_default();
        let pings = conducts.clone().map(|conduct| conduct.ping_interval);
        let ping = pings.filter(|interval| !interval.is_zero()).min();
        let early_ping = conducts.clone().all(|conduct| conduct.ping_before_first_event);
        let signal = self.line.signal.get_or_insert_default();
        Pause { signal: Arc::clone(signal), longest, ping, early_ping }
    }
}

//! The attempts in the access log against the requests the providers saw: each attempt is one request, unless there is
//! a reason, and each reason is counted.
//!
//! More requests than attempts: a kept connection that dies before a byte of an answer is replaced within the attempt.
//! Fewer: a connection that was refused, fell silent or died before the request was read never carried one.

use crate::books::{Balance, Books};
use crate::fleet::{Arrival, DEAD};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tollgate_loadtest::Outcome;

/// What one exchange did at one channel.
#[derive(Default)]
struct Meeting<'a> {
    attempts: Vec<(&'a Value, &'a Value)>,
    arrivals: Vec<(usize, &'a Arrival)>,
}

/// Attempts that no provider saw, of one channel.
#[derive(Default)]
struct Unseen {
    on_new_connections: usize,
}

/// Holds attempts and requests against each other.
pub(crate) fn providers(balance: &mut Balance, books: &Books) {
    let mut meetings: HashMap<(u64, &str), Meeting<'_>> = HashMap::new();
    for line in &books.lines {
        let number = line["labels"]["x-chaos"].as_str().and_then(|number| number.parse().ok());
        for attempt in line["attempts"].as_array().map_or(&[][..], Vec::as_slice) {
            let channel = attempt["channel"].as_str().unwrap_or_default();
            let meeting = meetings.entry((number.unwrap_or_default(), channel)).or_default();
            meeting.attempts.push((attempt, line));
        }
    }
    for (channel, arrivals) in &books.arrivals {
        for (at, arrival) in arrivals {
            meetings.entry((arrival.exchange, channel)).or_default().arrivals.push((*at, arrival));
        }
    }
    let doomed = doomed(books);
    let mut unseen: BTreeMap<&str, Unseen> = BTreeMap::new();
    for ((number, channel), meeting) in meetings {
        meet(balance, (number, channel, &doomed), meeting, unseen.entry(channel).or_default());
    }
    for (channel, counts) in &books.counts {
        let arrivals = books.arrivals.get(channel).map_or(0, BTreeMap::len);
        if arrivals != counts.requests {
            balance.differs(format!("{channel}: {} requests counted, {arrivals} read", counts.requests));
        }
        connections(
            balance,
            books,
            channel,
            unseen.get(channel.as_str()).map_or(0, |u| u.on_new_connections),
        );
    }
}

/// The arrivals whose answer may have been lost with their connection though it was handed to it: over HTTP/2 a fault of
/// one stream can end them all. By channel and running number: those on a connection that a fault cut off, and the last
/// ones of every connection.
fn doomed(books: &Books) -> BTreeSet<(&str, usize)> {
    let mut doomed = BTreeSet::new();
    for (channel, arrivals) in &books.arrivals {
        let mut connections: HashMap<u64, Vec<(usize, &Arrival)>> = HashMap::new();
        for (number, arrival) in arrivals {
            connections.entry(arrival.connection).or_default().push((*number, arrival));
        }
        for together in connections.values() {
            let cut_off = together.iter().any(|(_, arrival)| arrival.outcome == Outcome::Failed);
            let last = together.len().saturating_sub(LAST_TOGETHER);
            let from = if cut_off { 0 } else { last };
            doomed.extend(together[from..].iter().map(|(number, _)| (channel.as_str(), *number)));
        }
    }
    doomed
}

/// An attempt on a new connection that no provider saw has its connection there, or a request that broke off.
fn connections(balance: &mut Balance, books: &Books, channel: &str, unseen: usize) {
    let Some(counts) = books.counts.get(channel) else { return };
    let carried: BTreeSet<u64> = books
        .arrivals
        .get(channel)
        .into_iter()
        .flat_map(BTreeMap::values)
        .map(|arrival| arrival.connection)
        .collect();
    let bare = counts.total - carried.len().min(counts.total);
    if unseen > bare + counts.unfinished + counts.broken {
        balance.differs(format!(
            "{channel}: {unseen} attempts on new connections became no request, but only {bare} connections carried \
             none, {} requests broke off and {} broke HTTP",
            counts.unfinished, counts.broken
        ));
    }
}

fn meet(
    balance: &mut Balance,
    (number, channel, doomed): (u64, &str, &BTreeSet<(&str, usize)>),
    mut meeting: Meeting<'_>,
    unseen: &mut Unseen,
) {
    let is_lost = |(at, arrival): &&(usize, &Arrival)| {
        (arrival.status.is_none() && arrival.outcome != Outcome::Completed)
            || doomed.contains(&(channel, *at))
    };
    let lost = meeting.arrivals.iter().filter(is_lost).count();
    // Those with a status first: they can only be what the provider sent with it.
    meeting.attempts.sort_by_key(|(attempt, _)| attempt["status"].is_null());
    for (attempt, line) in &meeting.attempts {
        let status = attempt["status"].as_u64().and_then(|status| u16::try_from(status).ok());
        let same = meeting.arrivals.iter().position(|(_, arrival)| arrival.status == status);
        // Without a status at the provider the bytes were raw; without one here nobody waited for the head.
        let near =
            meeting.arrivals.iter().position(|(_, arrival)| status.is_none() || arrival.status.is_none());
        if let Some(found) = same.or(near) {
            meeting.arrivals.remove(found);
            balance.count("attempts the provider saw");
            continue;
        }
        let reason = attempt["reason"].as_str();
        let left = line["end"] == "client_closed";
        let explained = match reason {
            None => left && status.is_none(),
            Some("connect") => channel == DEAD || left || attempt["status"].is_null(),
            Some("reset" | "first_byte_timeout" | "send_timeout" | "connect_timeout") => status.is_none(),
            Some(_) => false,
        };
        if !explained {
            balance.differs(format!("{channel} never saw attempt {attempt} of exchange {number}: {line}"));
            continue;
        }
        balance.count(format!("attempts that became no request: {}", reason.unwrap_or("client left")));
        let settled = !left && attempt["reused"] == false && reason != Some("connect");
        unseen.on_new_connections += usize::from(settled && channel != DEAD);
    }
    // An attempt replaces two connections at the most.
    let replaced = lost.min(2 * meeting.attempts.len());
    for (extra, (_, arrival)) in meeting.arrivals.iter().enumerate() {
        if extra < replaced {
            balance.count("requests sent again because a kept connection had died");
        } else {
            balance.differs(format!(
                "{channel} saw a request of exchange {number} that is in no attempt: {arrival:?}, {:?}",
                meeting.attempts
            ));
        }
    }
}

/// As many streams of one connection as clients of one connection have at once, and their neighbours.
const LAST_TOGETHER: usize = 8;

//! What can be shown of the channels' credentials: which are used, which were put away, why and for how long.
//!
//! Invariant: a credential is named by its label (its last four characters or its place), never by itself.

use crate::config::snapshot::Channel;
use crate::limit::Nanos;
use crate::state::Live;
use crate::state::health::Resting;
use serde_json::{Value, json};

/// Every credential of a channel with its rest, if it has one.
fn rests<'a>(
    live: &'a Live,
    channel: &'a Channel,
    now: Nanos,
) -> impl Iterator<Item = (String, Option<Resting>)> + 'a {
    let rests = &live.channel(channel.index).credentials;
    rests.iter().enumerate().map(move |(at, rest)| (channel.credential_label(at), rest.at(now)))
}

/// Every credential of a channel, and whether it is used.
pub(super) fn used(live: &Live, channel: &Channel, now: Nanos) -> Vec<(String, bool)> {
    rests(live, channel, now).map(|(label, rest)| (label, rest.is_none())).collect()
}

/// Every credential of a channel and how it is.
pub(super) fn states(live: &Live, channel: &Channel, now: Nanos) -> Value {
    let rows = rests(live, channel, now).map(|(label, rest)| {
        json!({
            "credential": label,
            "state": rest.map_or("in use", |rest| rest.why.word()),
            "left_ms": rest.map(|rest| rest.left.as_millis()),
        })
    });
    rows.collect()
}

/// The models a channel's credentials are not asked for.
pub(super) fn refused_models(live: &Live, channel: &Channel, now: Nanos) -> Value {
    let refused = live.channel(channel.index).health.refused.all(now);
    let rows = refused.into_iter().filter_map(|refused| {
        let at = channel.credentials.iter().position(|one| one.digest() == refused.credential)?;
        let left_ms = refused.left.as_millis();
        Some(
            json!({ "credential": channel.credential_label(at), "model": refused.model, "left_ms": left_ms }),
        )
    });
    rows.collect()
}

/// Every credential of the configuration that is not used now.
pub(super) fn away(live: &Live, now: Nanos) -> Value {
    let channels = live.snapshot.channels.iter();
    let rows = channels.flat_map(|channel| {
        rests(live, channel, now).filter_map(|(label, rest)| {
            let (why, left) = rest.map(|rest| (rest.why.word(), rest.left.as_millis()))?;
            Some(json!({
                "channel": channel.id.as_str(),
                "credential": label,
                "reason": why,
                "left_ms": left,
            }))
        })
    });
    rows.collect()
}

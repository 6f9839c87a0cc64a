//! Which of the usable candidates is preferred, and what an attempt teaches the next choice.
//!
//! Without a session the tier's `balance` decides. A session's exchange goes where its last one was served, else where
//! the rendezvous hash says (decision 0007). Invariants: a canary that the exchange was drawn for comes first, then lower
//! priority numbers, whatever the weights; only a session with a warm cache stays at a lower tier than the best, and not for good; preference never brings back
//! what is not usable; an exchange without a session is chosen for as if there were none.

use super::plan::{Attempt, FEW, Turns};
use crate::balance;
use crate::balance::rendezvous;
use crate::balance::two::{Load, better_of_two};
use crate::code::Code;
use crate::config::snapshot::{Balance, Channel};
use crate::failure::{Failure, FailureKind};
use crate::limit::Nanos;
use crate::state::sticky::{Place, Remember, Session};
use crate::state::{ChannelState, Live, Registry};
use smallvec::{SmallVec, smallvec};
use std::sync::Arc;
use std::time::Duration;

/// What counts for the choice beside weights and priorities.
#[derive(Debug, Default)]
pub struct Preference {
    /// Whether the answer is a stream: its pace is measured apart.
    pub stream: bool,
    /// The session it belongs to, where one is known and `[trace] sticky` is on.
    pub session: Option<Session>,
    /// Who keeps what it goes on from: the marks of a channel and of one of its credentials.
    pub keeper: Option<(u64, u64)>,
}

/// How a session's exchange came to its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Followed {
    /// Where the session was served last.
    Kept,
    /// Elsewhere: the session's channel cannot serve, or a better tier is back.
    Moved,
    /// Elsewhere, because the session's channel has more than its share in flight; the session stays there.
    Spilled,
    /// Nothing was remembered.
    New,
}

impl Followed {
    /// The `result` label of `sticky_total`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Moved | Self::Spilled => "moved",
            Self::New => "new",
        }
    }
}

/// Whether it is no canary that the exchange was drawn for, priority, and whether it takes a translation: what is lost there
/// is not lost elsewhere.
type Rank = (bool, i32, bool);

/// A chosen channel, and how a session's exchange came to it.
pub(super) type Choice<'a> = (&'a Arc<Channel>, Option<Followed>);

/// What a choice is made from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) live: &'a Live,
    pub(super) registry: &'a Registry,
    /// All candidates, usable or not, in file order.
    pub(super) candidates: &'a [Arc<Channel>],
    /// Those that are asked through translation, by position: after the others of their priority.
    pub(super) translating: &'a [usize],
    /// The canaries it was drawn for, by position: before all others.
    pub(super) first: &'a [usize],
    pub(super) turns: Turns,
    pub(super) preference: &'a Preference,
    pub(super) now: Nanos,
}

impl Facts<'_> {
    fn state(&self, channel: &Channel) -> &ChannelState {
        self.live.channel(channel.index)
    }

    /// Who comes first: lower is better, and equals share by weight.
    fn rank(&self, channel: &Channel) -> Rank {
        let is_first = self.first.contains(&channel.index);
        (!is_first, channel.priority, self.translating.contains(&channel.index))
    }

    fn inflight(&self, channel: &Channel) -> u32 {
        self.state(channel).gate.slots.taken()
    }
}

/// One of the usable candidates.
pub(super) fn channel<'a>(usable: &[&'a Arc<Channel>], facts: Facts<'_>) -> Option<Choice<'a>> {
    // Nobody else knows what was said before.
    if let Some((keeper, _)) = facts.preference.keeper
        && let Some(kept) = usable.iter().copied().find(|channel| facts.state(channel).mark == keeper)
    {
        return Some((kept, None));
    }
    // Where there is no choice, none is made.
    if let ([only], None) = (usable, &facts.preference.session) {
        return Some((only, None));
    }
    let best = usable.iter().map(|channel| facts.rank(channel)).min()?;
    let tier = tier(usable, best, facts);
    match (facts.turns, &facts.preference.session) {
        (Turns::First, _) => Some((tier.first()?, None)),
        (Turns::Weighted, None) => Some((by_balance(&tier, facts)?, None)),
        (Turns::Weighted, Some(session)) => follow(usable, &tier, session, facts),
    }
}

fn tier<'a>(usable: &[&'a Arc<Channel>], rank: Rank, facts: Facts<'_>) -> SmallVec<[&'a Arc<Channel>; FEW]> {
    usable.iter().filter(|channel| facts.rank(channel) == rank).copied().collect()
}

/// The way the first channel of the tier says, resting or not: a tier has one way, not one that changes with
/// its members' health.
fn by_balance<'a>(tier: &[&'a Arc<Channel>], facts: Facts<'_>) -> Option<&'a Arc<Channel>> {
    let first = *tier.first()?;
    if tier.len() == 1 {
        return Some(first);
    }
    let speaker = facts.candidates.iter().find(|channel| facts.rank(channel) == facts.rank(first));
    let weights: SmallVec<[_; FEW]> = tier.iter().map(|channel| channel.weight).collect();
    let turn = facts.registry.turn();
    let load = |at: usize, pace| Load { inflight: facts.inflight(tier[at]), pace };
    let chosen = match speaker.unwrap_or(first).conduct.balance {
        Balance::Weighted => balance::pick(&weights, turn),
        Balance::LeastBusy => better_of_two(&weights, rendezvous::mix(turn), |at| load(at, None)),
        Balance::LeastLatency => better_of_two(&weights, rendezvous::mix(turn), |at| {
            let paces = &facts.state(tier[at]).health.paces;
            load(at, paces.of(facts.preference.stream).at(facts.now).map(|pace| pace.as_secs_f64()))
        }),
    };
    tier.get(chosen?).copied()
}

/// The session's channel while it is usable and has room, else the rendezvous hash's among those of the tier that
/// have room.
fn follow<'a>(
    usable: &[&'a Arc<Channel>],
    best: &[&'a Arc<Channel>],
    session: &Session,
    facts: Facts<'_>,
) -> Option<Choice<'a>> {
    let mark = |channel: &Channel| facts.state(channel).mark;
    let rank = facts.rank(best.first()?);
    let remembered = session.place.and_then(|place| {
        let channel = usable.iter().copied().find(|channel| mark(channel) == place.channel)?;
        (facts.rank(channel) == rank || may_stay(&place, facts.now)).then_some(channel)
    });
    if let Some(channel) = remembered
        && Room::of(&tier(usable, facts.rank(channel), facts), facts).at(channel)
    {
        return Some((channel, Some(Followed::Kept)));
    }
    let room = Room::of(best, facts);
    let roomy: SmallVec<[_; FEW]> = best.iter().copied().filter(|channel| room.at(channel)).collect();
    // Others count up and down meanwhile: where none seems to have room, all are as good.
    let among = if roomy.is_empty() { best } else { &roomy };
    let winner = rendezvous::winner(session.mark, among.iter().map(|c| (mark(c), c.weight)))?;
    let followed = match (session.place, remembered) {
        (None, _) => Followed::New,
        (Some(_), Some(_)) => Followed::Spilled,
        (Some(_), None) => Followed::Moved,
    };
    Some((among.get(winner)?, Some(followed)))
}

/// Whether a session may stay at a lower tier while the best one is usable.
fn may_stay(place: &Place, now: Nanos) -> bool {
    now.saturating_sub(place.used) < WARM && now.saturating_sub(place.since) < AWAY_MAX
}

/// What a tier has in flight, to hold each channel's part against.
struct Room<'a> {
    facts: Facts<'a>,
    inflight: u64,
    weight: u64,
}

impl<'a> Room<'a> {
    fn of(tier: &[&Arc<Channel>], facts: Facts<'a>) -> Self {
        let inflight = tier.iter().map(|channel| u64::from(facts.inflight(channel))).sum();
        let weight = tier.iter().map(|channel| u64::from(channel.weight)).sum();
        Self { facts, inflight, weight }
    }

    fn at(&self, channel: &Channel) -> bool {
        let own = u64::from(self.facts.inflight(channel));
        rendezvous::has_room(own, self.inflight, u64::from(channel.weight), self.weight)
    }
}

/// One of the usable credentials of a channel, by position: the session's, else the rendezvous hash's, without a
/// session the next in turn.
pub(super) fn credential(
    usable: &[usize],
    state: &ChannelState,
    preference: &Preference,
    turn: u64,
) -> Option<usize> {
    let mark = |at: usize| state.credential_marks.get(at).copied().unwrap_or_default();
    let keeper = preference.keeper.filter(|(channel, _)| *channel == state.mark);
    if let Some(kept) =
        keeper.and_then(|(_, credential)| usable.iter().copied().find(|at| mark(*at) == credential))
    {
        return Some(kept);
    }
    let Some(session) = &preference.session else {
        if let [only] = usable {
            return Some(*only);
        }
        let equal: SmallVec<[_; FEW]> = smallvec![1; usable.len()];
        return balance::pick(&equal, turn).map(|at| usable[at]);
    };
    let place = session.place.filter(|place| place.channel == state.mark);
    let kept = place.and_then(|place| usable.iter().copied().find(|at| mark(*at) == place.credential));
    kept.or_else(|| {
        let winner = rendezvous::winner(session.mark, usable.iter().map(|at| (mark(*at), 1)))?;
        usable.get(winner).copied()
    })
}

/// An attempt was answered well after so long: its channel's pace is known better, and its session stays there.
pub fn answered(live: &Live, registry: &Registry, attempt: &Attempt, by: &Preference, at: (Nanos, Duration)) {
    let (now, took) = at;
    let state = live.channel(attempt.channel.index);
    state.health.paces.of(by.stream).answered(took, now);
    let how = match attempt.followed {
        Some(Followed::Moved) => Remember::Instead,
        Some(Followed::Kept | Followed::New) => Remember::IfFree,
        Some(Followed::Spilled) | None => return,
    };
    if let (Some(session), Some(credential)) =
        (&by.session, state.credential_marks.get(attempt.credential_index))
    {
        registry.sticky().remember(session, (state.mark, *credential), now, how);
    }
}

/// An attempt failed after so long. A credential that is refused is no place to come back to.
pub fn failed(
    live: &Live,
    registry: &Registry,
    (attempt, failure): (&Attempt, &Failure),
    by: &Preference,
    (now, took): (Nanos, Duration),
) {
    let timed_out = failure.code() == Code::UpstreamTimeout;
    live.channel(attempt.channel.index).health.paces.of(by.stream).failed(took, timed_out, now);
    if let Some(session) = &by.session
        && matches!(failure.kind, FailureKind::Unauthorized | FailureKind::Forbidden)
    {
        registry.sticky().forget(session);
    }
}

/// Providers keep a prompt for five minutes after it was last used; after that moving costs nothing.
const WARM: Nanos = 300_000_000_000;
/// A session that never pauses goes back to the better tier after so long at a lower one.
const AWAY_MAX: Nanos = 1_800_000_000_000;

//! Access tokens: issued for a credential, kept while they are good, renewed before they end.
//!
//! They are fetched in the background, at the beginning, after a reload and before the end of the one that is held; a
//! request waits for one only where there is none. Kept for the process, so that a reload does not ask again.
//! Invariants: for one credential at most one is asked for at a time; an issuer that failed is left alone for a while, and so
//! is one that says nothing, whoever waits for it or has left; the way to it is the channel's own, with its proxy and its bans.

use crate::cloud::google::{self, Grant, Issued};
use crate::config::snapshot::{Google, Identity};
use crate::failure::{Failure, FailureKind, Sent};
use crate::gateway::forward::Link;
use crate::gateway::peer::Upstream;
use crate::gateway::wire::{Lost, Wire};
use crate::limit::Nanos;
use crate::protocol::fields::{Fields, names};
use crate::secret::{KeyDigest, Secret};
use crate::stage::rewrite::Outgoing;
use crate::state::Live;
use crate::world::World;
use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use dashmap::DashMap;
use smallvec::smallvec;
use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

/// The tokens of the process, by what they are kept under: as many as the configurations in use have credentials.
#[derive(Debug, Default)]
pub struct Tokens {
    held: DashMap<KeyDigest, Arc<Held>>,
}

/// What there is for one credential.
#[derive(Debug, Default)]
struct Held {
    token: ArcSwapOption<Token>,
    renewing: AtomicBool,
    /// Whose turn it is to ask, and why nobody should yet.
    turn: Arc<Mutex<Option<Rest>>>,
}

#[derive(Debug)]
struct Token {
    text: Secret,
    old_from: Nanos,
    good_until: Nanos,
}

#[derive(Debug)]
struct Rest {
    until: Nanos,
    failure: Failure,
}

impl Tokens {
    /// A token, and whether it had been kept.
    pub(super) async fn bearer(
        &self,
        upstream: &Upstream,
        google: &Arc<Google>,
    ) -> Result<(Secret, bool), Failure> {
        let held = Arc::clone(&self.held.entry(google.digest).or_default());
        let now = upstream.lately();
        let Some(token) = held.good(now) else {
            let issued =
                timeout(WAIT_MAX, held.issue(upstream.world(), None, fetched(upstream, google))).await;
            return issued.unwrap_or_else(|_| Err(no_token("nobody answered in time")));
        };
        if now >= token.old_from && !held.renewing.swap(true, Ordering::AcqRel) {
            let (upstream, google, old) = (upstream.clone(), Arc::clone(google), token.text.clone());
            tokio::spawn(async move {
                // What went wrong has been said, and the old one is good for a while.
                drop(held.issue(upstream.world(), Some(&old), fetched(&upstream, &google)).await);
                held.renewing.store(false, Ordering::Release);
            });
        }
        Ok((token.text.clone(), true))
    }

    /// Forgets a token that was refused, unless there is another by now.
    pub(super) fn forget(&self, google: &Google, refused: &Secret) {
        let Some(held) = self.held.get(&google.digest) else { return };
        if held.token.load().as_ref().is_some_and(|token| token.text == *refused) {
            held.token.store(None);
        }
    }
}

impl Held {
    fn good(&self, now: Nanos) -> Option<Arc<Token>> {
        self.token.load_full().filter(|token| token.good_until > now)
    }

    /// A token, another than the one given; asked for by one at a time. Who waits for it may leave: what comes of it is
    /// everybody's.
    async fn issue(
        self: &Arc<Self>,
        world: &Arc<dyn World>,
        other_than: Option<&Secret>,
        fetched: impl Future<Output = Result<Issued, Failure>> + Send + 'static,
    ) -> Result<(Secret, bool), Failure> {
        let mut turn = Arc::clone(&self.turn).lock_owned().await;
        let now = world.now();
        if let Some(token) = self.good(now).filter(|token| Some(&token.text) != other_than) {
            return Ok((token.text.clone(), true));
        }
        if let Some(rest) = turn.as_ref().filter(|rest| rest.until > now) {
            return Err(rest.failure.clone());
        }
        let (held, world) = (Arc::clone(self), Arc::clone(world));
        let asked = tokio::spawn(async move {
            let late = |_| Err(no_token("its issuer did not answer in time"));
            let fetched = timeout(FETCH_MAX, fetched).await.unwrap_or_else(late);
            held.keep(world.now(), fetched, &mut turn)
        });
        asked.await.unwrap_or_else(|_| Err(no_token("nobody answered in time")))
    }

    /// Keeps what came of asking.
    fn keep(
        &self,
        now: Nanos,
        fetched: Result<Issued, Failure>,
        turn: &mut Option<Rest>,
    ) -> Result<(Secret, bool), Failure> {
        match fetched {
            Ok(issued) => {
                let ahead = RENEWED_AHEAD.min(issued.lifetime / 2);
                let token = Token {
                    text: issued.token.clone(),
                    old_from: after(now, issued.lifetime.saturating_sub(ahead)),
                    good_until: after(now, issued.lifetime.saturating_sub(SPARED.min(ahead / 2))),
                };
                self.token.store(Some(Arc::new(token)));
                *turn = None;
                Ok((issued.token, false))
            }
            Err(failure) => {
                let until = after(now, LEFT_ALONE);
                *turn = Some(Rest { until, failure: failure.clone() });
                Err(failure)
            }
        }
    }
}

fn after(now: Nanos, wait: Duration) -> Nanos {
    now.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX))
}

/// Has a token for every credential that is in use before anybody asks for it; ends with the process.
pub async fn keep(upstream: Upstream, live: Arc<ArcSwap<Live>>, mut stopped: watch::Receiver<bool>) {
    let mut ticks = interval(KEPT_EVERY);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopped.changed() => return,
        }
        let snapshot = Arc::clone(&live.load().snapshot);
        let channels = snapshot.channels.iter().filter(|channel| channel.enabled);
        let used: Vec<Arc<Google>> = channels
            .flat_map(|channel| &channel.identities)
            .filter_map(|identity| match identity {
                Identity::Google(google) => Some(Arc::clone(google)),
                Identity::Aws(_) => None,
            })
            .collect();
        let known: HashSet<KeyDigest> = used.iter().map(|google| google.digest).collect();
        // Who still asks for one that goes here, in an exchange from before a reload, has it issued again.
        upstream.tokens().held.retain(|digest, _| known.contains(digest));
        let mut under_way = JoinSet::new();
        for google in used {
            let upstream = upstream.clone();
            under_way.spawn(async move { drop(upstream.tokens().bearer(&upstream, &google).await) });
        }
        while under_way.join_next().await.is_some() {}
    }
}

/// Asks for a token, again where that may help.
fn fetched(
    upstream: &Upstream,
    google: &Arc<Google>,
) -> impl Future<Output = Result<Issued, Failure>> + Send + 'static {
    let (upstream, google) = (upstream.clone(), Arc::clone(google));
    async move {
        let mut pause = PAUSE;
        for left in (0..FETCHES_MAX).rev() {
            match asked(&upstream, &google).await {
                Err(failure) => {
                    let (channel, account) = (google.issuer.id.as_str(), google.account.name.to_string());
                    tracing::warn!(channel, account, why = failure.detail, "no access token");
                    if failure.kind != FailureKind::NoToken || left == 0 {
                        return Err(failure);
                    }
                }
                issued => return issued,
            }
            sleep(pause).await;
            pause *= 2;
        }
        Err(no_token("nobody issued it"))
    }
}

async fn asked(upstream: &Upstream, google: &Google) -> Result<Issued, Failure> {
    let issuer = &google.issuer;
    let grant =
        google.account.grant(upstream.unix()).ok_or_else(|| no_token("the private key does not sign"))?;
    let outgoing = request(google, grant);
    let mut link = Link::default();
    let connected = upstream.connect((issuer, &google.account.name), &mut link).await;
    let wire = connected.map_err(|failure| no_token(&failure.detail))?;
    let answered = timeout(ANSWER_MAX, answer(wire, &outgoing)).await;
    let (status, body) = match answered {
        Ok(Ok(answer)) => answer,
        Ok(Err(lost)) => return Err(no_token(&lost.detail)),
        Err(_) => return Err(no_token("its issuer did not answer in time")),
    };
    google::issued(&body).map_err(|said| {
        let said: String = format!("status {status}: {said}").chars().take(SAID_CHARS_MAX).collect();
        let refused = (400..500).contains(&status) && !matches!(status, 408 | 429);
        let kind = if refused { FailureKind::Unauthorized } else { FailureKind::NoToken };
        Failure { kind, ..no_token(&said) }
    })
}

fn request(google: &Google, grant: Grant) -> Outgoing {
    let mut headers = Fields::of(&[grant.header]);
    headers.set(names::ACCEPT, "application/json");
    headers.set_number(names::CONTENT_LENGTH, grant.body.expose().len());
    headers.set(names::HOST, &google.issuer.endpoint.authority);
    let body = smallvec![Bytes::copy_from_slice(grant.body.expose().as_bytes())];
    Outgoing { method: grant.method, target: google.target.clone(), headers, body }
}

async fn answer(mut wire: Wire, outgoing: &Outgoing) -> Result<(u16, Vec<u8>), Lost> {
    wire.begin(outgoing)?;
    let head = match wire.sent_or_answered().await? {
        Some(head) => head,
        None => wire.head().await?,
    };
    let mut body = Vec::new();
    while let Some(chunk) = wire.read().await? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES_MAX {
            break;
        }
    }
    if wire.is_complete() {
        wire.release();
    }
    Ok((head.status.as_u16(), body))
}

fn no_token(why: &str) -> Failure {
    Failure::new(FailureKind::NoToken, Sent::NotBegun, format!("no access token: {why}"))
}

/// How long before its end another one is asked for: Google gives the same one until five minutes before.
const RENEWED_AHEAD: Duration = Duration::from_secs(240);
/// A token is not sent in its last moments: it has to be good when the provider looks at it.
const SPARED: Duration = Duration::from_secs(20);
/// How often it is looked whether one is missing or old.
const KEPT_EVERY: Duration = Duration::from_secs(5);
const FETCHES_MAX: usize = 3;
/// Before the second attempt; before each further one twice as long.
const PAUSE: Duration = Duration::from_millis(200);
/// After as many attempts an issuer gets so much rest.
const LEFT_ALONE: Duration = Duration::from_secs(10);
/// What a request waits for a token at most.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// The attempts together: who waited from their beginning still hears what came of them.
const FETCH_MAX: Duration = Duration::from_secs(9);
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Google's tokens have some hundred bytes, others a few thousand.
const ANSWER_BYTES_MAX: usize = 64 << 10;
const SAID_CHARS_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::guard::clock;
    use crate::world::System;
    use std::sync::atomic::AtomicUsize;

    /// An issuer that says nothing, and how often it was asked.
    fn silent(asked: &Arc<AtomicUsize>) -> impl Future<Output = Result<Issued, Failure>> + Send + 'static {
        let asked = Arc::clone(asked);
        async move {
            asked.fetch_add(1, Ordering::Relaxed);
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_issuer_that_says_nothing_is_left_alone_whoever_waited_for_it() {
        let world: Arc<dyn World> = Arc::new(System::start());
        for patience in [WAIT_MAX, Duration::from_secs(1)] {
            let (held, asked) = (Arc::new(Held::default()), Arc::default());
            let began = clock::now();
            let first = timeout(patience, held.issue(&world, None, silent(&asked))).await;
            assert_eq!(first.is_ok(), patience == WAIT_MAX, "who waits for long hears of it");
            // In its turn: the one that was begun for somebody who has left goes on.
            let second = timeout(WAIT_MAX, held.issue(&world, None, silent(&asked))).await;
            assert!(second.expect("in time").is_err());
            assert_eq!(began.elapsed().as_secs(), FETCH_MAX.as_secs());
            let third = held.issue(&world, None, silent(&asked)).await;
            assert_eq!(third.expect_err("at once").kind, FailureKind::NoToken);
            assert_eq!((began.elapsed().as_secs(), asked.load(Ordering::Relaxed)), (FETCH_MAX.as_secs(), 1));
        }
    }
}

//! What a channel's credentials are refused, model by model: by the provider's 403, which counts only when two
//! different keys have seen it, or because the provider does not serve the model at all.
//!
//! A 403 is as often about the one request as about the account. So the first one is only remembered, with the key
//! that saw it; another key's within `WINDOW` is what makes it the account's. No single client can switch
//! anything off. Invariants: at most `MARKS_MAX` models are remembered for a channel, and none longer than
//! `MODEL_BYTES_MAX`; mere suspicions make room first; a success forgets them.

use crate::id::KeyId;
use crate::limit::Nanos;
use crate::secret::{KeyDigest, Secret};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The refusals of one channel.
#[derive(Debug, Default)]
pub struct Refused {
    marks: Mutex<Vec<Mark>>,
    /// How many there are, so that the usual way (none) takes no lock.
    count: AtomicUsize,
}

#[derive(Debug)]
struct Mark {
    credential: KeyDigest,
    model: Box<str>,
    /// Who saw the first 403; `None`: it needs no second.
    seen_by: Option<KeyId>,
    /// When the suspicion is over.
    suspected_until: Nanos,
    /// When the rest is over; 0: it never began.
    rests_until: Nanos,
}

impl Mark {
    fn is_over(&self, now: Nanos) -> bool {
        self.rests_until <= now && self.suspected_until <= now
    }
}

/// A model that a credential is not asked for at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedModel {
    /// Whose.
    pub credential: KeyDigest,
    /// The model by the provider's name.
    pub model: String,
    /// How long still.
    pub left: Duration,
}

impl Refused {
    /// A 403 for this key. Says whether the credential rests for the model now: a different key saw one too.
    pub fn forbidden(&self, credential: &Secret, model: &str, key: &KeyId, now: Nanos) -> bool {
        self.mark(credential, model, now, |mark| {
            let confirmed =
                now < mark.suspected_until && mark.seen_by.as_ref().is_some_and(|first| first != key);
            if confirmed {
                mark.rests_until = after(now, REST);
            } else {
                mark.seen_by = Some(key.clone());
            }
            mark.suspected_until = after(now, WINDOW);
            confirmed
        })
    }

    /// The provider does not serve this model to this credential, whoever asks.
    pub fn not_served(&self, credential: &Secret, model: &str, now: Nanos) {
        self.mark(credential, model, now, |mark| {
            mark.rests_until = after(now, REST);
            true
        });
    }

    /// It was served after all.
    pub fn served(&self, credential: &Secret, model: &str) {
        if self.is_empty() {
            return;
        }
        let mut marks = self.lock();
        // The digest costs more than the look: most models have no mark.
        if marks.iter().any(|mark| *mark.model == *model) {
            let credential = credential.digest();
            marks.retain(|mark| *mark.model != *model || mark.credential != credential);
            self.count.store(marks.len(), Ordering::Release);
        }
    }

    /// How long the credential is still not asked for this model. What is over is forgotten on the way.
    pub fn at(&self, credential: &Secret, model: &str, now: Nanos) -> Option<Duration> {
        if self.is_empty() {
            return None;
        }
        let mut marks = self.lock();
        marks.retain(|mark| !mark.is_over(now));
        self.count.store(marks.len(), Ordering::Release);
        let mut resting =
            marks.iter().filter(|mark| *mark.model == *model && mark.rests_until > now).peekable();
        resting.peek()?;
        let credential = credential.digest();
        left(resting.find(|mark| mark.credential == credential)?.rests_until, now)
    }

    /// Everything that rests now.
    pub fn all(&self, now: Nanos) -> Vec<RefusedModel> {
        let resting = |mark: &Mark| {
            let (credential, model) = (mark.credential, mark.model.to_string());
            left(mark.rests_until, now).map(|left| RefusedModel { credential, model, left })
        };
        self.lock().iter().filter_map(resting).collect()
    }

    /// Whether nobody is refused anything.
    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Changes the mark of a credential and model, a fresh one where there is none.
    fn mark(
        &self,
        credential: &Secret,
        model: &str,
        now: Nanos,
        change: impl FnOnce(&mut Mark) -> bool,
    ) -> bool {
        if model.len() > MODEL_BYTES_MAX {
            return false;
        }
        let credential = credential.digest();
        let mut marks = self.lock();
        let known = marks.iter().position(|mark| mark.credential == credential && *mark.model == *model);
        let at = known.unwrap_or_else(|| {
            make_room(&mut marks, now);
            marks.push(Mark {
                credential,
                model: model.into(),
                seen_by: None,
                suspected_until: 0,
                rests_until: 0,
            });
            marks.len() - 1
        });
        let changed = marks.get_mut(at).is_some_and(change);
        self.count.store(marks.len(), Ordering::Release);
        changed
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Mark>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets what is over; where that is not enough, the suspicion that ends first, and only then a rest.
fn make_room(marks: &mut Vec<Mark>, now: Nanos) {
    marks.retain(|mark| !mark.is_over(now));
    if marks.len() < MARKS_MAX {
        return;
    }
    let first = (0..marks.len()).min_by_key(|at| (marks[*at].rests_until, marks[*at].suspected_until));
    if let Some(first) = first {
        marks.swap_remove(first);
    }
}

fn after(now: Nanos, length: Duration) -> Nanos {
    now.saturating_add(u64::try_from(length.as_nanos()).unwrap_or(u64::MAX))
}

fn left(until: Nanos, now: Nanos) -> Option<Duration> {
    let left = until.saturating_sub(now);
    (left > 0).then(|| Duration::from_nanos(left))
}

/// Models remembered for one channel: more than anybody configures for an account, and a page of memory.
const MARKS_MAX: usize = 128;
/// Longer names are not remembered; no provider has such.
const MODEL_BYTES_MAX: usize = 256;
/// Two keys' 403s within this time are about the account; further apart, they are two requests' own.
const WINDOW: Duration = Duration::from_secs(60);
/// How long a credential is not asked for the model: a granted right or a mended mapping is noticed in a minute.
const REST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    fn secret(name: &str) -> Secret {
        Secret::new(&format!("sk-upstream-{name}"))
    }

    fn key(name: &str) -> KeyId {
        KeyId::new(name)
    }

    #[test]
    fn one_key_alone_switches_nothing_off_and_two_do() {
        let (refused, credential) = (Refused::default(), secret("a"));
        for second in 0..600 {
            assert!(!refused.forbidden(&credential, "m", &key("alice"), second * SECOND));
            assert_eq!(refused.at(&credential, "m", second * SECOND), None);
        }
        assert!(refused.forbidden(&credential, "m", &key("bob"), 600 * SECOND));
        assert_eq!(refused.at(&credential, "m", 610 * SECOND), Some(Duration::from_secs(50)));
        assert_eq!(refused.at(&credential, "n", 610 * SECOND), None, "the other models go on");
        assert_eq!(refused.at(&secret("b"), "m", 610 * SECOND), None, "the other credentials go on");
        assert_eq!(refused.all(610 * SECOND).len(), 1);
        assert_eq!(refused.at(&credential, "m", 660 * SECOND), None, "it ends by itself");
        assert!(refused.is_empty(), "and leaves nothing behind");
    }

    #[test]
    fn two_keys_too_far_apart_or_with_a_success_between_them_are_two_requests() {
        let (refused, credential) = (Refused::default(), secret("a"));
        refused.forbidden(&credential, "m", &key("alice"), SECOND);
        assert!(!refused.forbidden(&credential, "m", &key("bob"), 61 * SECOND));
        refused.served(&credential, "m");
        assert!(!refused.forbidden(&credential, "m", &key("alice"), 62 * SECOND));
        assert!(refused.forbidden(&credential, "m", &key("bob"), 63 * SECOND));
        refused.served(&credential, "m");
        assert_eq!(refused.at(&credential, "m", 64 * SECOND), None);
        assert!(refused.is_empty());
    }

    #[test]
    fn a_model_that_is_not_served_rests_at_once() {
        let (refused, credential) = (Refused::default(), secret("a"));
        refused.not_served(&credential, "m", SECOND);
        assert_eq!(refused.at(&credential, "m", SECOND), Some(REST));
        refused.not_served(&credential, &"m".repeat(MODEL_BYTES_MAX + 1), SECOND);
        assert_eq!(refused.all(SECOND).len(), 1, "a name no provider has is not kept");
    }

    #[test]
    fn a_client_that_asks_for_a_thousand_models_pushes_out_suspicions_and_no_rest() {
        let (refused, credential) = (Refused::default(), secret("a"));
        refused.not_served(&credential, "m", SECOND);
        for model in 0..1_000 {
            refused.forbidden(&credential, &format!("model-{model}"), &key("mallory"), 2 * SECOND);
        }
        assert_eq!(refused.lock().len(), MARKS_MAX);
        assert!(refused.at(&credential, "m", 3 * SECOND).is_some());
        assert_eq!(refused.all(3 * SECOND).len(), 1);
        refused.forbidden(&credential, "later", &key("mallory"), 3_600 * SECOND);
        assert_eq!(refused.lock().len(), 1, "what is over makes room");
    }
}

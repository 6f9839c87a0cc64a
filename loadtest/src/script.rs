//! Which request gets which fault.
//!
//! Invariant: a fault is given to exactly one request. Scripts are asked in the order they were set; the first that
//! matches and has a fault left decides. A script that is used up falls away.

use crate::faults::Fault;
use serde::Deserialize;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// How many scripts may wait at once; more are dropped, oldest first.
const SCRIPTS_MAX: usize = 1024;

/// Which requests a script is for. As JSON: `"any"`, `{"model": "gpt-x"}`, `{"credential": "sk-1"}`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selector {
    /// Every request.
    Any,
    /// Requests for this model, in the path or in the body.
    Model(String),
    /// Requests with this credential, in whatever form it came.
    Credential(String),
}

/// What is known of a request when a fault is looked for. A stage that knows less leaves fields out.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Known<'a> {
    pub(crate) model: Option<&'a str>,
    pub(crate) credential: Option<&'a str>,
}

/// All scripts of one fake provider.
#[derive(Debug, Default)]
pub(crate) struct Scripts {
    list: Mutex<VecDeque<Script>>,
    /// Lets the load path pass without taking the lock.
    any: AtomicBool,
}

#[derive(Debug)]
struct Script {
    selector: Selector,
    faults: VecDeque<Fault>,
    forever: bool,
}

impl Scripts {
    pub(crate) fn add(&self, selector: Selector, faults: Vec<Fault>, forever: bool) {
        if faults.is_empty() {
            return;
        }
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if list.len() >= SCRIPTS_MAX {
            list.pop_front();
        }
        list.push_back(Script { selector, faults: faults.into(), forever });
        self.any.store(true, Ordering::Release);
    }

    pub(crate) fn clear(&self) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.any.store(false, Ordering::Release);
    }

    /// The next fault for such a request, if it is one that `wanted` accepts; only then it counts as used.
    pub(crate) fn take(&self, known: Known<'_>, wanted: impl Fn(&Fault) -> bool) -> Option<Fault> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let index = list.iter().position(|script| script.selector.matches(known))?;
        let script = list.get_mut(index)?;
        if !script.faults.front().is_some_and(&wanted) {
            return None;
        }
        let fault = script.faults.pop_front()?;
        if script.forever {
            script.faults.push_back(fault.clone());
        }
        if script.faults.is_empty() {
            list.remove(index);
        }
        self.any.store(!list.is_empty(), Ordering::Release);
        Some(fault)
    }
}

impl Selector {
    fn matches(&self, known: Known<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::Model(model) => known.model == Some(model),
            Self::Credential(credential) => known.credential == Some(credential),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_used_up_in_order_by_the_requests_they_are_for() {
        let scripts = Scripts::default();
        scripts.add(Selector::Model("a".into()), vec![Fault::Reset, Fault::Hang], false);
        scripts.add(Selector::Any, vec![Fault::Garbage], true);
        let take = |model| scripts.take(Known { model: Some(model), credential: None }, |_| true);
        assert_eq!(take("b"), Some(Fault::Garbage));
        assert_eq!(take("a"), Some(Fault::Reset));
        assert_eq!(take("a"), Some(Fault::Hang));
        assert_eq!(take("a"), Some(Fault::Garbage));
        scripts.clear();
        assert_eq!(take("a"), None);
    }

    #[test]
    fn a_fault_that_is_not_wanted_yet_stays() {
        let scripts = Scripts::default();
        scripts.add(Selector::Any, vec![Fault::Reset], false);
        assert_eq!(scripts.take(Known::default(), |fault| *fault == Fault::Refuse), None);
        assert_eq!(scripts.take(Known::default(), |_| true), Some(Fault::Reset));
    }
}

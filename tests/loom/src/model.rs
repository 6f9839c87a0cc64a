//! What loom has no model of: a pointer that is swapped whole, as `arc_swap` promises it.

use loom::sync::Mutex;
use std::ops::Deref;
use std::sync::Arc;

/// `arc_swap::ArcSwap` as far as the limits use it: each load and each exchange is one step.
#[derive(Debug, Default)]
pub struct ArcSwap<T>(Mutex<Arc<T>>);

impl<T> ArcSwap<T> {
    /// What it points to now.
    pub fn load(&self) -> impl Deref<Target = Arc<T>> + use<T> {
        Box::new(self.now())
    }

    /// Replaces it by what is made of it, made again where another was faster.
    pub fn rcu<R: Into<Arc<T>>>(&self, mut change: impl FnMut(&Arc<T>) -> R) -> Arc<T> {
        loop {
            let before = self.now();
            let new = change(&before).into();
            let mut place = self.lock();
            if Arc::ptr_eq(&place, &before) {
                *place = new;
                return before;
            }
        }
    }

    fn now(&self) -> Arc<T> {
        Arc::clone(&self.lock())
    }

    fn lock(&self) -> loom::sync::MutexGuard<'_, Arc<T>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

//! How many bytes of request bodies are held, over all exchanges together.
//!
//! Invariant: the sum never passes the configured budget; past it an exchange is refused, so that many
//! large prompts at once cost a 503, not the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The budget.
#[derive(Debug, Default)]
pub struct Bodies {
    held: AtomicUsize,
    limit: AtomicUsize,
}

impl Bodies {
    /// Sets the budget; what is held stays held.
    pub fn configure(&self, limit: usize) {
        self.limit.store(limit, Ordering::Release);
    }

    /// Bytes held now.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    /// An empty share that can grow.
    pub fn share(self: &Arc<Self>) -> Share {
        Share { bodies: Arc::clone(self), bytes: 0 }
    }
}

/// What one exchange holds; given back when dropped. The default one belongs to no budget and can hold
/// nothing.
#[derive(Debug, Default)]
pub struct Share {
    bodies: Arc<Bodies>,
    bytes: usize,
}

impl Share {
    /// Holds more; `false`: the budget is used up and nothing changed.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let limit = self.bodies.limit.load(Ordering::Acquire);
        let grown = self.bodies.held.fetch_update(Ordering::AcqRel, Ordering::Acquire, |held| {
            held.checked_add(bytes).filter(|held| *held <= limit)
        });
        if grown.is_ok() {
            self.bytes += bytes;
        }
        grown.is_ok()
    }

    /// Another one of the same budget, empty.
    #[must_use]
    pub fn sibling(&self) -> Self {
        self.bodies.share()
    }

    /// Gives back what it holds beyond this.
    pub fn shrink_to(&mut self, bytes: usize) {
        let back = self.bytes.saturating_sub(bytes);
        self.bodies.held.fetch_sub(back, Ordering::AcqRel);
        self.bytes -= back;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.bodies.held.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_holds_and_shares_come_back() {
        let bodies = Arc::new(Bodies::default());
        bodies.configure(100);
        let (mut one, mut two) = (bodies.share(), bodies.share());
        assert!(one.grow(60));
        assert!(!two.grow(41));
        assert!(two.grow(40));
        one.shrink_to(70);
        one.shrink_to(10);
        assert_eq!((bodies.held(), one.sibling().bytes), (50, 0));
        drop(one);
        assert_eq!(bodies.held(), 40);
        assert!(two.grow(60));
        drop(two);
        assert_eq!(bodies.held(), 0);
    }
}

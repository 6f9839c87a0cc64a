//! Who waits for a place at a full channel, first come, first served.
//!
//! Whoever wants a place takes it itself; the queue only says whose turn it is to try. A [`Ticket`] is a place
//! in it. Only the first may try, and only where nobody waits may a newcomer; the first is woken whenever
//! something was given back ([`Queue::wake`]), and whenever it has become the first.
//! Invariants: nobody overtakes who waits longer; no queue is longer than its places; no wake-up is lost, as
//! what was given back is seen either by the ticket's next try or by the wake that follows it; a ticket that
//! is dropped, however its exchange ended, makes way at once.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// The queue of one channel.
#[derive(Debug, Default)]
pub struct Queue {
    /// So that giving something back costs no lock where nobody waits.
    waiting: AtomicUsize,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    next: u64,
    /// By number, so that the first is the oldest and one in the middle leaves cheaply.
    places: BTreeMap<u64, Arc<Signal>>,
}

impl Queue {
    /// A place at the end; `None` where all are taken. Try again after this: what was given back before goes
    /// unsaid.
    pub fn join(self: &Arc<Self>, places: usize, signal: &Arc<Signal>) -> Option<Ticket> {
        let mut line = self.line();
        if line.places.len() >= places {
            return None;
        }
        let number = line.next;
        line.next += 1;
        line.places.insert(number, Arc::clone(signal));
        self.waiting.store(line.places.len(), Ordering::SeqCst);
        drop(line);
        // Either the try that follows sees what another gave back, or the other sees that somebody waits.
        fence(Ordering::SeqCst);
        Some(Ticket { queue: Arc::clone(self), number })
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Something was given back, or the limits have changed: the first may try.
    pub fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.waiting() == 0 {
            return;
        }
        let first = self.line().places.first_key_value().map(|(_, signal)| Arc::clone(signal));
        if let Some(signal) = first {
            signal.set();
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in a queue, given up when dropped.
#[derive(Debug)]
pub struct Ticket {
    queue: Arc<Queue>,
    number: u64,
}

impl Ticket {
    /// How many wait before it, counted up to [`AHEAD_MAX`]; 0: it is this one's turn.
    pub fn ahead(&self) -> usize {
        self.queue.line().places.range(..self.number).take(AHEAD_MAX).count()
    }
}

/// The place in a longer queue makes no difference to what is said of the wait, and is not worth the counting.
pub const AHEAD_MAX: usize = 256;

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut line = self.queue.line();
        line.places.remove(&self.number);
        self.queue.waiting.store(line.places.len(), Ordering::SeqCst);
        // The next may have been waiting for nothing but this one.
        let next = line.places.first_key_value().filter(|(number, _)| **number > self.number);
        let next = next.map(|(_, signal)| Arc::clone(signal));
        drop(line);
        if let Some(signal) = next {
            signal.set();
        }
    }
}

/// Wakes one exchange, whichever of the queues it stands in has something for it.
#[derive(Debug, Default)]
pub struct Signal {
    is_set: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Signal {
    /// Forgets what it was woken for; to be called before looking, so that what comes while looking counts.
    pub fn clear(&self) {
        self.is_set.swap(false, Ordering::SeqCst);
    }

    /// Returns once it was woken since it was last cleared.
    pub async fn woken(&self) {
        poll_fn(|context| {
            if self.is_set.load(Ordering::SeqCst) {
                return Poll::Ready(());
            }
            *self.waker() = Some(context.waker().clone());
            if self.is_set.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    pub(super) fn set(&self) {
        self.is_set.store(true, Ordering::SeqCst);
        let waker = self.waker().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::Slots;
    use std::sync::Condvar;
    use std::task::{Context, Wake};

    fn is_woken(signal: &Signal) -> bool {
        let mut woken = std::pin::pin!(signal.woken());
        woken.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn joined(queue: &Arc<Queue>, places: usize) -> (Arc<Signal>, Option<Ticket>) {
        let signal = Arc::new(Signal::default());
        let ticket = queue.join(places, &signal);
        (signal, ticket)
    }

    #[test]
    fn only_the_first_is_woken_and_who_leaves_makes_way() {
        let queue = Arc::new(Queue::default());
        queue.wake();
        let (one, first) = joined(&queue, 3);
        let (two, second) = joined(&queue, 3);
        let (three, third) = joined(&queue, 3);
        assert!(joined(&queue, 3).1.is_none(), "three places");
        let (first, second, third) = (first.unwrap(), second.unwrap(), third.unwrap());
        queue.wake();
        assert_eq!([&one, &two, &three].map(|signal| is_woken(signal)), [true, false, false]);
        assert_eq!([&first, &second, &third].map(Ticket::ahead), [0, 1, 2]);
        one.clear();
        assert!(!is_woken(&one));
        drop(second);
        assert_eq!([&one, &three].map(|signal| is_woken(signal)), [false, false], "not the first has left");
        drop(first);
        assert!(is_woken(&three) && third.ahead() == 0);
        assert_eq!(queue.waiting(), 1);
        drop(third);
        assert_eq!(queue.waiting(), 0);
    }

    #[test]
    fn a_wake_before_the_wait_is_not_lost() {
        let queue = Arc::new(Queue::default());
        let (signal, _ticket) = joined(&queue, 1);
        signal.clear();
        queue.wake();
        assert!(is_woken(&signal));
    }

    /// Parks a thread until its waker is called.
    #[derive(Default)]
    struct Parked(Mutex<bool>, Condvar);

    impl Wake for Parked {
        fn wake(self: Arc<Self>) {
            *self.0.lock().unwrap() = true;
            self.1.notify_one();
        }
    }

    fn wait_for(signal: &Signal) {
        let parked = Arc::new(Parked::default());
        let waker = Waker::from(Arc::clone(&parked));
        let mut woken = std::pin::pin!(signal.woken());
        while woken.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            let called = parked.0.lock().unwrap();
            *parked.1.wait_while(called, |called| !*called).unwrap() = false;
        }
    }

    /// Without an end to waiting, a lost wake-up would hang this test.
    #[test]
    fn sixty_four_threads_share_two_slots_and_everybody_gets_one() {
        let (queue, slots) = (Arc::new(Queue::default()), Slots::default());
        slots.configure(Some(2));
        let busy = AtomicUsize::new(0);
        let take = || {
            let signal = Arc::new(Signal::default());
            let mut ticket = None;
            loop {
                signal.clear();
                let may = ticket.as_ref().map_or_else(|| queue.waiting(), Ticket::ahead) == 0;
                if may && slots.take().is_ok() {
                    return;
                }
                match ticket {
                    None => ticket = queue.join(64, &signal),
                    Some(_) => wait_for(&signal),
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..64 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        take();
                        assert!(busy.fetch_add(1, Ordering::SeqCst) < 2);
                        busy.fetch_sub(1, Ordering::SeqCst);
                        slots.release();
                        queue.wake();
                    }
                });
            }
        });
        assert_eq!((queue.waiting(), slots.taken()), (0, 0));
    }
}

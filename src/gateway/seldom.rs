//! A wait beside a task's work that is looked at only when it has rung.
//!
//! Whatever wakes a task, all that it waits for is looked at, also the end of the process and the age of a connection, which come once. A look at
//! these is a walk through lists and timers that all requests would pay for.
//! Invariant: what rings is looked at by the next poll of the task, whichever task that is by then.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Whom a wait wakes: a note that it has rung, and then the task.
#[derive(Debug)]
struct Bell {
    rung: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Bell {
    fn hang(&self, task: &Waker) {
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task.clone());
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.store(true, Ordering::SeqCst);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

/// Waits for this, at the cost of one look at a flag whenever it has not rung.
pub async fn seldom<T>(wait: impl Future<Output = T>) -> T {
    let mut wait = pin!(wait);
    let bell = Arc::new(Bell { rung: AtomicBool::new(true), task: Mutex::default() });
    let rings = Waker::from(Arc::clone(&bell));
    let mut hung: Option<Waker> = None;
    poll_fn(|context| {
        let task = context.waker();
        if !hung.as_ref().is_some_and(|hung| hung.will_wake(task)) {
            bell.hang(task);
            hung = Some(task.clone());
        }
        if !bell.rung.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        // Before the look: what rings meanwhile is looked at once more.
        bell.rung.store(false, Ordering::SeqCst);
        wait.as_mut().poll(&mut Context::from_waker(&rings))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn it_is_looked_at_when_it_rings_and_at_no_other_time() {
        let (tell, told) = oneshot::channel();
        let looks = AtomicU32::new(0);
        let mut told = pin!(told);
        let mut wait = pin!(seldom(poll_fn(|context| {
            looks.fetch_add(1, Ordering::Relaxed);
            told.as_mut().poll(context)
        })));
        for _ in 0..3 {
            assert!(poll_fn(|context| Poll::Ready(wait.as_mut().poll(context))).await.is_pending());
        }
        assert_eq!(looks.load(Ordering::Relaxed), 1);
        tell.send(7).unwrap();
        assert_eq!(wait.await, Ok(7));
        assert_eq!(looks.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn it_wakes_the_task_that_waits_now() {
        let (tell, told) = oneshot::channel::<()>();
        let mut wait = Box::pin(seldom(told));
        assert!(poll_fn(|context| Poll::Ready(wait.as_mut().poll(context))).await.is_pending());
        let waits = tokio::spawn(wait);
        tokio::task::yield_now().await;
        tell.send(()).unwrap();
        assert_eq!(waits.await.unwrap(), Ok(()));
    }
}

//! The end of a process: it stops being asked, serves what it has, and leaves when nothing is under way.
//!
//! Invariants: nothing that was accepted is dropped before the deadline, but for connections on which nothing is asked; at the
//! deadline every exchange gets its honest end (a stream its dialect's error event, a whole that has begun an abort, anything
//! else a 503) and its record; what was booked, logged and borrowed is written and given back before the process leaves.

use crate::app::Running;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Why a process stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// It was told to: who sends it traffic has to find out first.
    Told,
    /// Another process has its listeners and serves already.
    Replaced,
}

impl Running {
    /// Drains and leaves, as told to stop.
    pub async fn drain(&self) -> bool {
        self.leave(Leaving::Told).await
    }

    /// Takes no new connections, ends idle ones, and waits for what is under way, at the longest until the
    /// drain deadline. `true`: everything ended by itself.
    pub async fn leave(&self, why: Leaving) -> bool {
        let timeouts = self.shared.live.load().snapshot.server.timeouts.clone();
        self.shared.draining.store(true, Ordering::Release);
        if why == Leaving::Told {
            sleep(timeouts.drain_delay).await;
        }
        self.held.close();
        self.stop.send_replace(true);
        if why == Leaving::Replaced {
            self.stop_admin.send_replace(true);
        }
        let busy = self.shared.under_way.load(Ordering::Acquire) > 0;
        // A client that is about to use its connection learns with the answer that it was the last one.
        drop(timeout(LAST_REQUEST_WAIT, self.no_connection()).await);
        for app in self.lanes.apps() {
            app.clean_up().await;
        }
        let whole = timeout(timeouts.drain, self.nothing_under_way()).await.is_ok();
        self.cut().await;
        // What an exchange wrote last may still be on its way to the wire.
        let flush = if busy { FLUSH_MAX } else { FAREWELL_MAX };
        drop(timeout(flush, self.no_connection()).await);
        #[cfg(feature = "otlp")]
        self.exporter.leave().await;
        self.fleet.leave().await;
        let telemetry = Arc::clone(&self.shared.telemetry);
        let written = tokio::task::spawn_blocking(move || telemetry.stop()).await;
        whole && written.unwrap_or(false)
    }

    /// Ends what is under way, honestly.
    pub async fn cut(&self) {
        let left = self.shared.under_way.load(Ordering::Acquire);
        if left > 0 {
            tracing::warn!(exchanges = left, "ending what is still under way");
        }
        self.shared.draining.store(true, Ordering::Release);
        self.shared.over.send_replace(true);
        drop(timeout(CUT_MAX, self.nothing_under_way()).await);
    }

    async fn nothing_under_way(&self) {
        while self.shared.under_way.load(Ordering::Acquire) > 0 {
            sleep(LOOK).await;
        }
    }

    async fn no_connection(&self) {
        while self.connections.open() > 0 {
            sleep(LOOK).await;
        }
    }
}

/// A connection that is kept open gets this long for one more request, which is answered with its end.
const LAST_REQUEST_WAIT: Duration = Duration::from_millis(500);
/// The longest that the ends of what is under way are waited for: a client that reads slowly gets two seconds.
const CUT_MAX: Duration = Duration::from_secs(3);
/// The longest a process waits for what it has written to be on its way, where it has written at all.
const FLUSH_MAX: Duration = Duration::from_secs(10);
/// The longest it waits for connections that nothing was asked on.
const FAREWELL_MAX: Duration = Duration::from_millis(300);
/// How often a draining process looks whether it may leave.
const LOOK: Duration = Duration::from_millis(10);

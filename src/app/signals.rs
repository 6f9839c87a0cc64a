//! What the signals say: HUP reloads, USR1 reopens the log, QUIT hands over to a new process, TERM drains, INT leaves.
//!
//! Invariants: a handover that comes to nothing leaves everything as it was; a second TERM, or INT, ends a drain within a
//! few seconds, with an honest end for what is under way; INT alone waits for nothing.

use crate::app::Running;
use crate::app::drain::Leaving;
use crate::app::notify::Notify;
use crate::app::upgrade;
use std::future::pending;
use std::path::{Path, PathBuf};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

/// The signals of this process.
pub(super) struct Signals {
    hangup: Signal,
    reopen: Signal,
    quit: Signal,
    terminate: Signal,
    interrupt: Signal,
}

/// A handover under way; its process id once the new process serves.
type Handover = JoinHandle<Result<i32, String>>;

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            reopen: signal(SignalKind::user_defined1())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Told to stop before there is anything to stop.
    pub(super) async fn stopped(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Does what they say until one of them says to leave.
    pub(super) async fn obey(mut self, running: &Running, config: &Path, notify: &Notify) {
        let mut asked = running.shared.drain_asked.subscribe();
        let mut handover: Option<Handover> = None;
        let why = loop {
            tokio::select! {
                _ = self.hangup.recv() => reload(running, notify),
                _ = self.reopen.recv() => running.shared.telemetry.access().reopen(),
                _ = self.interrupt.recv() => {
                    tracing::info!("interrupted: leaving at once");
                    notify.stopping();
                    running.shared.telemetry.stop();
                    return;
                }
                _ = self.terminate.recv() => break Leaving::Told,
                Ok(_) = asked.wait_for(|asked| *asked) => break Leaving::Told,
                _ = self.quit.recv() => begin(&mut handover, running, config, notify),
                ended = ended(&mut handover) => {
                    handover = None;
                    match ended {
                        Ok(pid) => {
                            tracing::info!(pid, "the new process serves: draining");
                            break Leaving::Replaced;
                        }
                        Err(problem) => tracing::error!(problem, "nothing was handed over; this process goes on"),
                    }
                }
            }
        };
        self.drain(running, why, notify).await;
    }

    async fn drain(mut self, running: &Running, why: Leaving, notify: &Notify) {
        if why == Leaving::Told {
            notify.stopping();
            tracing::info!("told to stop: draining");
        }
        let mut leaving = std::pin::pin!(running.leave(why));
        loop {
            tokio::select! {
                whole = &mut leaving => {
                    tracing::info!(whole, "drained");
                    break;
                }
                _ = self.reopen.recv() => running.shared.telemetry.access().reopen(),
                _ = self.terminate.recv() => {
                    tracing::warn!("told to stop again: leaving at once");
                    running.cut().await;
                    break;
                }
                _ = self.interrupt.recv() => {
                    tracing::warn!("interrupted: leaving at once");
                    break;
                }
            }
        }
        running.shared.telemetry.stop();
    }
}

fn reload(running: &Running, notify: &Notify) {
    let Some(reloader) = running.reloader.clone() else { return };
    let notify = notify.clone();
    notify.reloading();
    tokio::spawn(async move {
        match reloader.reload_aside().await {
            Some(Ok(_)) => notify.ready("serving"),
            Some(Err(_)) | None => notify.ready("serving; the last reload was refused"),
        }
    });
}

/// Begins to hand over, where that is not under way already. Under a service manager nobody else can start a process that
/// belongs to the service, so that this one does.
fn begin(handover: &mut Option<Handover>, running: &Running, config: &Path, notify: &Notify) {
    if handover.is_some() {
        return;
    }
    let (config, notify): (PathBuf, Notify) = (config.to_owned(), notify.clone());
    match running.held.copies() {
        Ok(copies) => {
            let ledger = running.shared.telemetry.ledger();
            *handover = Some(tokio::spawn(async move {
                // The next one's quotas go on from what the file has.
                drop(tokio::task::spawn_blocking(move || ledger.map(|ledger| ledger.flush())).await);
                upgrade::hand_over(&config, &copies, &notify).await
            }));
        }
        Err(error) => tracing::error!(%error, "the listeners cannot be handed over"),
    }
}

async fn ended(handover: &mut Option<Handover>) -> Result<i32, String> {
    match handover {
        Some(handover) => handover.await.unwrap_or_else(|error| Err(error.to_string())),
        None => pending().await,
    }
}

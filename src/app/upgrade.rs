//! A new process takes over from an old one without a closed port: `run --upgrade` waits, QUIT hands over.
//!
//! The new one waits on a socket in a directory of its own (`place`). The old one connects, sends its listening sockets and
//! goes on serving; the new one starts on them and says that it is ready; only then does the old one stop accepting and
//! drain. A client finds the same queue of connections all the time.
//! Invariants: until the word "ready" the old one serves as if nothing had happened, whatever becomes of the new one; only
//! processes of the same user talk to each other; every wait is bounded.

mod message;
mod place;

use crate::app::listeners::Listening;
use crate::app::notify::Notify;
use crate::app::upgrade::message::{receive, send};
use crate::app::upgrade::place::Place;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{sleep, timeout};

/// What the old process has handed over, and the line to it.
#[derive(Debug)]
pub(super) struct TakenOver {
    listening: Vec<Listening>,
    old: UnixStream,
}

/// Waits for a process to hand its listeners over.
pub(super) async fn take_over(config: &Path) -> Result<TakenOver, String> {
    let place = Place::of(config)?;
    let _claim = place.claim()?;
    let waiting = UnixListener::bind(place.socket())
        .map_err(|error| format!("cannot wait at {}: {error}", place.socket().display()))?;
    tracing::info!("waiting for the running process to hand over: send it QUIT");
    let taken = timeout(QUIT_WAIT, async {
        loop {
            let (mut old, _) = waiting.accept().await.map_err(|error| error.to_string())?;
            if !is_ours(&old) {
                tracing::warn!("a process of another user wants to hand over, and is not listened to");
                continue;
            }
            // One that gave up before it said anything.
            if let Some(listening) = timeout(MESSAGE_WAIT, receive(&mut old)).await.ok().flatten() {
                return Ok(TakenOver { listening, old });
            }
        }
    });
    let taken = taken.await.unwrap_or_else(|_| {
        Err(format!(
            "no process has handed over within {} s: send QUIT to the running one",
            QUIT_WAIT.as_secs()
        ))
    });
    place.leave();
    taken
}

impl TakenOver {
    /// What was handed over.
    pub(super) fn listening(&mut self) -> Vec<Listening> {
        std::mem::take(&mut self.listening)
    }

    /// Tells the old process that this one serves. An error: it has given up waiting and serves itself.
    pub(super) async fn ready(mut self) -> Result<(), String> {
        // Where it is gone meanwhile there is nobody to serve but us.
        drop(self.old.write_all(READY).await);
        let mut answer = Vec::new();
        drop(timeout(MESSAGE_WAIT, self.old.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)).await);
        if answer == LATE {
            return Err("the running process has given up waiting for this one and goes on".to_owned());
        }
        Ok(())
    }
}

/// Hands the listeners to a new process and waits until it serves; its process id. Where none is there yet and a service
/// manager listens, one is started with the same command line.
pub(super) async fn hand_over(
    config: &Path,
    listening: &[Listening],
    notify: &Notify,
) -> Result<i32, String> {
    let place = Place::of(config)?;
    let mut new = reach(&place, notify.is_heard()).await?;
    let pid = new.peer_cred().ok().and_then(|peer| peer.pid()).unwrap_or_default();
    tracing::info!(pid, "handing the listeners over");
    send(&new, listening)
        .await
        .map_err(|error| format!("the listeners could not be handed over: {error}"))?;
    let outcome = is_ready(&mut new).await;
    if outcome.is_ok() {
        // Before it hears that it has taken over, since it then says that it is ready, which only the main process may.
        notify.replaced_by(pid);
    }
    // One that is gone serves nobody, so that it need not be told.
    drop(new.write_all(if outcome.is_ok() { TAKEN } else { LATE }).await);
    outcome.map(|()| pid)
}

async fn is_ready(new: &mut UnixStream) -> Result<(), String> {
    let mut answer = vec![0; READY.len()];
    match timeout(READY_WAIT, new.read_exact(&mut answer)).await {
        Ok(Ok(_)) if answer == READY => Ok(()),
        Ok(_) => Err("the new process ended before it was ready, see its messages".to_owned()),
        Err(_) => Err(format!("the new process was not ready within {} s", READY_WAIT.as_secs())),
    }
}

/// The line to the new process, once it is there.
async fn reach(place: &Place, start: bool) -> Result<UnixStream, String> {
    if let Some(new) = place.connect().await {
        return Ok(new);
    }
    let mut child = if start { Some(successor()?) } else { None };
    let looking = async {
        loop {
            if let Some(new) = place.connect().await {
                return Ok(new);
            }
            if let Some(status) = child.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
                return Err(format!(
                    "the new process ended before it took over ({status}), see its messages"
                ));
            }
            sleep(LOOK).await;
        }
    };
    let nobody = "no new process takes over: start one with `tollgate run --upgrade` and the same -c";
    timeout(SHOW_UP_WAIT, looking).await.unwrap_or_else(|_| Err(nobody.to_owned()))
}

/// Starts the program that now stands where this one was started from, with the same words.
fn successor() -> Result<Child, String> {
    let mut words = std::env::args_os();
    let program = words.next().ok_or("it is not known what this program is called")?;
    Command::new(&program)
        .args(words.filter(|word| word != UPGRADE_FLAG))
        .arg(UPGRADE_FLAG)
        // It names this process; the next one feeds the watchdog itself.
        .env_remove("WATCHDOG_PID")
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", program.display()))
}

/// Whether the process at the other end runs as the same user.
fn is_ours(other: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    other.peer_cred().is_ok_and(|peer| peer.uid() == own)
}

const UPGRADE_FLAG: &str = "--upgrade";
const READY: &[u8] = b"ready\n";
const TAKEN: &[u8] = b"taken\n";
const LATE: &[u8] = b"late\n";
const ANSWER_BYTES_MAX: u64 = 16;
/// How long a new process waits for the word to the old one.
const QUIT_WAIT: Duration = Duration::from_secs(120);
/// How long an old process waits for a new one to be started.
const SHOW_UP_WAIT: Duration = Duration::from_secs(30);
/// How long a new process may take to start: it opens its ledger and finds its fleet.
const READY_WAIT: Duration = Duration::from_secs(60);
/// Between two processes on one machine.
const MESSAGE_WAIT: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(50);

//! Work that nobody waits for at once: done in a thread of its own that lets those go first who serve requests.
//!
//! To read a large configuration, or to let go of one, takes a core for a good part of a second. Where the threads that
//! serve have no core to spare, each of their turns would wait for that; a thread of lower priority waits instead.
//! Invariant: what is to be let go is let go, if need be on the spot.

use std::io;
use std::thread::Builder;

/// A thread that gives way. What does not end by itself is the caller's to bound.
pub fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let give_way_and_work = move || {
        give_way();
        work();
    };
    Builder::new().name(name.to_owned()).spawn(give_way_and_work).map(drop)
}

/// Lets go of what is large: the last of those who hold it may be a thread that serves.
pub fn let_go(large: impl Send + 'static) {
    // Where there is no thread to be had, the closure is dropped here, with all it holds.
    thread("let-go", move || drop(large)).unwrap_or_default();
}

/// From here on the calling thread gets a tenth of what one that serves gets, where both want the same core.
///
/// Linux has priorities by the thread; elsewhere this would slow the process.
pub fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "a thread in the background has everybody's priority");
    }
}

/// A thread with 0 gets 9.3 times as much.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    fn nice() -> i32 {
        rustix::process::getpriority_process(None).unwrap_or(i32::MIN)
    }

    #[test]
    fn a_thread_aside_gives_way_and_nobody_else_does() {
        let before = nice();
        let (told, heard) = channel();
        thread("aside", move || told.send(nice()).unwrap()).unwrap();
        assert_eq!(heard.recv().unwrap(), NICE.max(before));
        assert_eq!(nice(), before);
    }

    #[test]
    fn what_is_let_go_of_is_let_go_of_elsewhere() {
        struct Told(std::sync::mpsc::Sender<std::thread::ThreadId>);
        impl Drop for Told {
            fn drop(&mut self) {
                self.0.send(std::thread::current().id()).unwrap();
            }
        }
        let (told, heard) = channel();
        let_go(Told(told));
        assert_ne!(heard.recv().unwrap(), std::thread::current().id());
    }
}

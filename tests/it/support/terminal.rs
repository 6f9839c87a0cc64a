//! A terminal for a program that looks whether it has one.

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// A program in a terminal of its own.
pub(crate) struct Terminal {
    child: Child,
    master: File,
    /// Held, so that the terminal outlives the program.
    peer: File,
    bytes: Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    pub(crate) fn start(mut command: Command, columns: u16, rows: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("it is ours");
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).expect("it has a size");
        let name = ptsname(&master, Vec::new()).expect("it has a name").into_string().expect("a plain one");
        let peer = OpenOptions::new().read(true).write(true).open(name).expect("it opens");
        let end = || peer.try_clone().expect("another descriptor");
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("the binary starts");
        let master = File::from(master);
        let mut reader = master.try_clone().expect("another descriptor");
        let (sender, bytes) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, master, peer, bytes, seen: String::new() }
    }

    /// What was written, once this is in it.
    pub(crate) fn until(&mut self, wanted: &str) -> &str {
        while !self.seen.contains(wanted) {
            match self.bytes.recv_timeout(PATIENCE) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("it never said {wanted}: {}", self.seen)
                }
            }
        }
        &self.seen
    }

    pub(crate) fn press(&mut self, keys: &[u8]) {
        self.master.write_all(keys).expect("it takes keys");
    }

    /// Whether it takes lines and shows what is typed, as a shell expects to find it.
    pub(crate) fn is_as_it_was(&self) -> bool {
        let modes = tcgetattr(&self.peer).expect("it is a terminal").local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    /// Its exit code.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        self.child.wait().expect("it was started").code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

const PATIENCE: Duration = Duration::from_secs(20);

//! The addresses a process listens on: opened, or taken over from the process before it, and handed on to the next.
//!
//! Invariants: a listener that was handed over and is not configured any more is closed; a descriptor kept to be handed
//! on is let go with the listeners themselves, so that an address is free when the process has left it.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Mutex, PoisonError};
use tokio::net::TcpListener;

/// A listening socket under the address that the configuration gives it, which need not be the one it got (port 0).
#[derive(Debug)]
pub struct Listening {
    /// As it is configured.
    pub configured: SocketAddr,
    /// The socket.
    pub socket: OwnedFd,
}

/// Where listeners come from.
#[derive(Debug, Default)]
pub struct Listeners {
    inherited: VecDeque<Listening>,
    open: Vec<Listening>,
}

impl Listeners {
    /// Takes what it can from these.
    pub fn inheriting(inherited: Vec<Listening>) -> Self {
        Self { inherited: inherited.into(), open: Vec::new() }
    }

    /// Listens on an address; port 0 takes a free one.
    pub(super) async fn listen(&mut self, configured: SocketAddr) -> io::Result<TcpListener> {
        let place = self.inherited.iter().position(|other| other.configured == configured);
        let opened = match place.and_then(|place| self.inherited.remove(place)) {
            Some(inherited) => adopt(inherited.socket),
            None => TcpListener::bind(configured).await,
        };
        let kept = opened.and_then(|listener| {
            let socket = listener.as_fd().try_clone_to_owned()?;
            self.open.push(Listening { configured, socket });
            Ok(listener)
        });
        kept.map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {configured}: {error}")))
    }

    /// All are open that shall be; what was handed over and is not wanted is closed.
    pub(super) fn done(self) -> Held {
        Held(Mutex::new(self.open))
    }
}

fn adopt(socket: OwnedFd) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// The sockets a process listens on, for its successor.
#[derive(Debug)]
pub struct Held(Mutex<Vec<Listening>>);

impl Held {
    /// Descriptors of their own for the same sockets.
    pub(super) fn copies(&self) -> io::Result<Vec<Listening>> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let copy =
            |one: &Listening| Ok(Listening { configured: one.configured, socket: one.socket.try_clone()? });
        held.iter().map(copy).collect()
    }

    /// Lets go of all of them.
    pub(super) fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

//! What an old process tells a new one: one line of addresses, with the sockets that listen on them.
//!
//! The line is `tollgate-listeners 1`, then the configured addresses, in the order of the descriptors.
//! Invariant: a message that is not understood whole is none, and its descriptors are closed.

use crate::app::listeners::Listening;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// Sends the listeners, in one message.
pub(super) async fn send(to: &UnixStream, listening: &[Listening]) -> io::Result<()> {
    if listening.len() > LISTENERS_MAX {
        let what = format!("{} listeners are more than the {LISTENERS_MAX} of one message", listening.len());
        return Err(io::Error::other(what));
    }
    let addresses = listening.iter().map(|one| one.configured.to_string());
    let words: Vec<String> = std::iter::once(GREETING.to_owned()).chain(addresses).collect();
    let line = words.join(" ") + "\n";
    let sockets: Vec<BorrowedFd<'_>> = listening.iter().map(|one| one.socket.as_fd()).collect();
    let sent = to.async_io(Interest::WRITABLE, || {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LISTENERS_MAX))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&sockets));
        Ok(sendmsg(to, &[IoSlice::new(line.as_bytes())], &mut ancillary, SendFlags::NOSIGNAL)?)
    });
    if sent.await? == line.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Receives them; `None`: that was no message of ours.
pub(super) async fn receive(from: &mut UnixStream) -> Option<Vec<Listening>> {
    let mut line = Vec::new();
    let mut sockets = Vec::new();
    while !line.ends_with(b"\n") {
        let mut piece = vec![0; LINE_BYTES_MAX];
        let read = from.async_io(Interest::READABLE, || piece_of(from, &mut piece, &mut sockets));
        let read = read.await.ok().filter(|read| *read > 0)?;
        line.extend_from_slice(&piece[..read]);
        if line.len() > LINE_BYTES_MAX {
            return None;
        }
    }
    listening(std::str::from_utf8(&line).ok()?, sockets)
}

fn piece_of(from: &UnixStream, piece: &mut [u8], sockets: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LISTENERS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(from, &mut [IoSliceMut::new(piece)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            sockets.extend(received);
        }
    }
    Ok(received.bytes)
}

/// The sockets with the addresses the line gives them.
fn listening(line: &str, sockets: Vec<OwnedFd>) -> Option<Vec<Listening>> {
    let addresses: Vec<SocketAddr> = line
        .strip_prefix(GREETING)?
        .split_whitespace()
        .map(|word| word.parse().ok())
        .collect::<Option<_>>()?;
    if addresses.len() != sockets.len() {
        return None;
    }
    let pairs = addresses.into_iter().zip(sockets);
    Some(pairs.map(|(configured, socket)| Listening { configured, socket }).collect())
}

/// Says whose message it is and in which version.
const GREETING: &str = "tollgate-listeners 1";
/// The kernel passes 253 descriptors at once; nobody listens on so many addresses.
const LISTENERS_MAX: usize = 128;
/// So many addresses at their longest.
const LINE_BYTES_MAX: usize = 16 << 10;

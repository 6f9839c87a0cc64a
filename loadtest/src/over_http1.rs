//! Answers over HTTP/1.1: requests of one connection one after the other, each answer written as its steps say.
//!
//! Invariants: an answer without a fault is one write. What is counted as sent is the body without its chunks.

use crate::deliver::{End, Unit};
use crate::exchange::{self, Judged, Shared};
use crate::head::{AnswerHead, Transfer};
use crate::http::{Head, Left, Trouble, Wire};
use crate::realtime;
use crate::record::Sent;
use crate::reply::{Body, Events, LAST_CHUNK, chunk, chunk_with};
use crate::walk::{Delivery, walk};
use bytes::Bytes;
use std::time::Duration;

/// How long a connection with unread bytes stays open after its last answer, so that the answer is not lost to a reset.
const LINGER: Duration = Duration::from_secs(1);
/// What the chunks carry besides their size where that is asked for.
const EXTENSIONS: &str = ";fake=1;quoted=\"a b\"";
const EARLY_HINTS: &[u8] = b"HTTP/1.1 103 Early Hints\r\nlink: </fake>; rel=preconnect\r\n\r\n";

/// Serves one connection until either side closes it.
pub(crate) async fn serve(shared: &Shared, mut wire: Wire, connection: u64) {
    loop {
        match one(shared, &mut wire, connection).await {
            Ok(End::KeepAlive | End::Drain) => {}
            Ok(End::Reset | End::LeaveWithReset) => return wire.reset(),
            Ok(End::Linger) => {
                wire.finish().await;
                return tokio::time::sleep(LINGER).await;
            }
            Ok(End::Close | End::Leave | End::Refuse | End::Unspeakable) => return wire.finish().await,
            Err(Trouble::Gone) => return,
            Err(Trouble::Broken(status, why)) => {
                shared.log.count(|counts| counts.broken += 1);
                return refuse_broken(&mut wire, status, why).await;
            }
        }
    }
}

/// One request and its answer.
async fn one(shared: &Shared, wire: &mut Wire, connection: u64) -> Result<End, Trouble> {
    let head = wire.head().await?;
    let judged = exchange::judge(shared, &head);
    if let Judged::Socket(opening) = &judged {
        return realtime::talk(shared, wire, &head, opening, connection).await;
    }
    let body = match judged.body_bytes() {
        Some(bytes) => wire.beginning(&head, bytes).await,
        None => wire.body(&head).await,
    };
    if matches!(
        (&body, &judged),
        (Err(Trouble::Gone), Judged::Good(..) | Judged::Refused(_) | Judged::Early(..))
    ) {
        shared.log.count(|counts| counts.unfinished += 1);
    }
    let decision = exchange::decide(shared, &head, &judged, &body?, connection);
    let mut answer = OnWire { wire, transfer: Transfer::UntilClose };
    let end = walk(shared, &mut answer, decision).await.map_err(|_| Trouble::Gone)?;
    let unread = judged.body_bytes().is_some();
    if end == End::Drain { drain(wire, &head, unread).await } else { Ok(end) }
}

/// Reads the body that was answered without being read.
async fn drain(wire: &mut Wire, head: &Head, unread: bool) -> Result<End, Trouble> {
    if !unread {
        // The fault became due between the look at the head and the look at the whole request.
        wire.start_reading();
        return Ok(End::KeepAlive);
    }
    if head.expects_continue {
        // A peer that was never told to go on may send the body or leave it out.
        return Ok(End::Linger);
    }
    wire.start_reading();
    wire.body(head).await.map(|_| End::KeepAlive)
}

/// Tells a peer that broke HTTP what was wrong, in plain words, and closes.
async fn refuse_broken(wire: &mut Wire, status: u16, why: &str) {
    let length = why.len();
    let text = format!(
        "HTTP/1.1 {status} Refused\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{why}"
    );
    if wire.send(text.as_bytes(), &mut 0).await.is_ok() {
        wire.finish().await;
        tokio::time::sleep(LINGER).await;
    }
}

/// One answer on its way.
struct OnWire<'a> {
    wire: &'a mut Wire,
    /// How the body is framed, once the head is sent.
    transfer: Transfer,
}

impl Delivery for OnWire<'_> {
    async fn informational(&mut self) -> Result<(), Left> {
        self.wire.send(EARLY_HINTS, &mut 0).await
    }

    async fn whole(&mut self, head: &AnswerHead, body: &Body, sent: &mut Sent) -> Result<(), Left> {
        let mut out = head.text().into_bytes();
        let head_length = out.len();
        out.extend_from_slice(match body {
            Body::Whole(bytes) => bytes,
            Body::Events(events) => &events.framed,
        });
        let mut written = 0;
        let result = self.wire.send(&out, &mut written).await;
        let written = written.saturating_sub(head_length);
        match body {
            Body::Whole(_) => sent.bytes = written,
            Body::Events(events) => (sent.bytes, sent.events) = progress(events, written),
        }
        result
    }

    async fn head(&mut self, head: &AnswerHead) -> Result<(), Left> {
        self.transfer = head.transfer;
        self.wire.send(head.text().as_bytes(), &mut 0).await
    }

    fn head_pieces(&mut self, head: &AnswerHead) -> Vec<Bytes> {
        let text = Bytes::from(head.text());
        (0..text.len()).map(|at| text.slice(at..=at)).collect()
    }

    async fn head_piece(&mut self, head: &AnswerHead, piece: &Bytes) -> Result<(), Left> {
        self.transfer = head.transfer;
        self.wire.send(piece, &mut 0).await
    }

    async fn unit(&mut self, unit: &Unit, sent: &mut Sent) -> Result<(), Left> {
        let (framed, before, after) = match self.transfer {
            Transfer::Chunked => framed(unit, ""),
            Transfer::ChunkedWithExtensions => framed(unit, EXTENSIONS),
            Transfer::Length(_) | Transfer::UntilClose => (unit.bytes.clone(), 0, 0),
        };
        let mut written = 0;
        let result = self.wire.send(&framed, &mut written).await;
        sent.bytes += written.min(framed.len() - after).saturating_sub(before);
        result
    }

    async fn finish(&mut self, trailers: &[(&str, &str)]) -> Result<(), Left> {
        if !self.transfer.is_chunked() {
            return Ok(());
        }
        if trailers.is_empty() {
            return self.wire.send(LAST_CHUNK, &mut 0).await;
        }
        let mut last = String::from("0\r\n");
        for (name, value) in trailers {
            last.extend([name, ": ", value, "\r\n"]);
        }
        last.push_str("\r\n");
        self.wire.send(last.as_bytes(), &mut 0).await
    }

    async fn raw(&mut self, bytes: &Bytes, sent: &mut Sent) -> Result<(), Left> {
        let mut written = 0;
        let result = self.wire.send(bytes, &mut written).await;
        sent.bytes += written;
        result
    }

    async fn gone(&mut self) -> Left {
        self.wire.gone().await
    }

    fn stop_reading(&mut self) {
        self.wire.stop_reading();
    }
}

/// A chunk, and how many of its bytes come before and after the unit.
fn framed(unit: &Unit, extensions: &str) -> (Bytes, usize, usize) {
    let bytes = if extensions.is_empty() { chunk(&unit.bytes) } else { chunk_with(&unit.bytes, extensions) };
    let before = bytes.len() - unit.bytes.len() - 2;
    (bytes, before, 2)
}

/// How many bytes and whole events are in so much of the chunked body.
fn progress(events: &Events, written: usize) -> (usize, usize) {
    if written == events.framed.len() {
        return (events.list.iter().map(Bytes::len).sum(), events.list.len());
    }
    let (mut bytes, mut whole, mut left) = (0, 0, written);
    for event in &events.list {
        let before = format!("{:x}\r\n", event.len()).len();
        bytes += left.saturating_sub(before).min(event.len());
        if left < before + event.len() {
            break;
        }
        whole += 1;
        left = left.saturating_sub(before + event.len() + 2);
    }
    (bytes, whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Reply;

    #[test]
    fn progress_counts_whole_events_and_no_chunk_framing() {
        let list = vec![Bytes::from_static(b"0123456789abcdef"), Bytes::from_static(b"xy")];
        let Body::Events(events) = Reply::events("", list).body else { unreachable!("made of events") };
        // "10 CRLF" + 16 + CRLF, "2 CRLF" + 2 + CRLF, "0 CRLF CRLF".
        for (written, expected) in [
            (0, (0, 0)),
            (4, (0, 0)),
            (5, (1, 0)),
            (19, (15, 0)),
            (20, (16, 1)),
            (25, (16, 1)),
            (26, (17, 1)),
            (27, (18, 2)),
            (34, (18, 2)),
        ] {
            assert_eq!(progress(&events, written), expected, "{written}");
        }
    }
}

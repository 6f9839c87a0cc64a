//! A stream of events on its way to the client.
//!
//! Invariants: nothing is appended after the terminal event; keep-alives and our own error event come at an
//! event's boundary only; a stream that did not end honestly says so, and no terminal event is made up.

use super::{Chunk, Relayed};
use crate::code::Code;
use crate::gateway::exchange::{Downstream, UnderWay};
use crate::gateway::forward::{self, Answer, Passing, Reading};
use crate::gateway::reply::{Reply, Sent};
use crate::protocol::fields::names::CACHE_CONTROL;
use crate::protocol::observe::{Phase, Progress};
use crate::protocol::{Operation, render};
use crate::record::End;
use bytes::{Buf as _, Bytes};

/// What the end of the upstream's bytes means for the stream.
enum Ending {
    Honest,
    OwnError,
    Truncated,
    Idle,
    /// The process ends.
    Over,
    /// The client left.
    Left,
}

/// Makes one piece of several small ones, which an event is when another model's name is put into it: each would be a chunk and
/// a packet of its own.
fn join(out: &mut Vec<Bytes>) {
    if out.len() > 1 && out.iter().map(Bytes::len).sum::<usize>() <= JOINED_BYTES_MAX {
        let joined = out.concat().into();
        out.clear();
        out.push(joined);
    }
}

/// Copying so much costs less than sending twice.
const JOINED_BYTES_MAX: usize = 32 << 10;

impl Reply<'_> {
    pub(super) async fn relay_events(&mut self, mut answer: Box<Answer>, relayed: Relayed<'_>) -> Sent {
        let _streaming = UnderWay::new(relayed.streams);
        let reading = std::mem::replace(&mut answer.reading, Reading::Whole);
        let Reading::Events(mut observer) = reading else { return Sent::Broken };
        let mut head = self.client_head(&mut answer.head, None);
        head.headers.set(CACHE_CONTROL, "no-cache, no-transform");
        head.headers.set("x-accel-buffering", "no");
        // The first event is known already, and what it says is booked whoever reads it.
        self.observed(&observer, &relayed);
        relayed.remember(observer.response());
        if !self.write_head(head).await && !self.wants_rest(&relayed.channel) {
            self.observed(&observer, &relayed);
            return self.client_left();
        }
        let mut out = std::mem::take(&mut answer.held);
        if self.exchange.downstream == Downstream::Opened {
            // Behind a keep-alive of ours it would not stand at the beginning, where alone it means nothing.
            skip_bom(&mut out);
        }
        let ending = self.pass_on(&mut answer, &relayed, &mut observer, &mut out).await;
        self.observed(&observer, &relayed);
        self.exchange.lost(observer.losses());
        for piece in out {
            if !self.deliver(piece, &relayed.channel).await {
                return self.client_left();
            }
        }
        // What is left of a stream that said its last word is read for the sake of its connection; any other
        // is let go at once, so that its provider stops.
        let has_ended = matches!(ending, Ending::Honest | Ending::OwnError);
        let answer = Some(answer).filter(|_| has_ended);
        let sent = self.end_stream(ending, &observer, relayed.operation).await;
        if let Some(answer) = answer {
            forward::recycle(answer);
        }
        sent
    }

    /// Passes events on until there are no more; what is left in `out` goes before the end.
    async fn pass_on(
        &mut self,
        answer: &mut Answer,
        relayed: &Relayed<'_>,
        observer: &mut Passing,
        out: &mut Vec<Bytes>,
    ) -> Ending {
        let mut silence = relayed.silence();
        // The first event may have been the last.
        let mut over = observer.is_over();
        loop {
            if over {
                // Many clients go on at the last event, before the end of the answer.
                self.observed(observer, relayed);
                self.exchange.nearly_sent();
            }
            join(out);
            for piece in out.drain(..) {
                if !self.deliver(piece, &relayed.channel).await {
                    return Ending::Left;
                }
            }
            if over {
                return ending(observer, &Chunk::End, out);
            }
            let satisfied = matches!(observer.phase(), Phase::Terminal | Phase::Failed);
            match self.next_chunk(answer, relayed, &mut silence, satisfied).await {
                Chunk::Bytes(chunk) => over = observer.feed(&chunk, out) == Progress::Terminal,
                // Nothing stands inside an event, nor after the last word, be it an end or an error.
                Chunk::Silent
                    if observer.at_boundary()
                        && observer.is_events()
                        && observer.phase() == Phase::Content =>
                {
                    out.push(Bytes::from_static(render::ping(relayed.operation)));
                }
                Chunk::Silent => {}
                // It has the whole answer (Gemini's has no word for the end but the end itself), or the error.
                Chunk::ClientGone if observer.phase() == Phase::Failed => return Ending::OwnError,
                Chunk::ClientGone if satisfied => return Ending::Honest,
                Chunk::ClientGone => return Ending::Left,
                ended => return ending(observer, &ended, out),
            }
        }
    }

    /// Ends a stream: with nothing where it ended honestly, else with one error event of its dialect.
    async fn end_stream(&mut self, ending: Ending, observer: &Passing, operation: Operation) -> Sent {
        let (end, code, message) = match ending {
            Ending::Left => return self.client_left(),
            Ending::Honest => {
                self.exchange.ended(End::Ok, None);
                return self.write_last(Bytes::new()).await;
            }
            Ending::OwnError => {
                self.exchange.ended(End::Failed, Some(Code::UpstreamError));
                return self.write_last(Bytes::new()).await;
            }
            Ending::Truncated => (
                End::StreamTruncated,
                Code::StreamTruncated,
                "The AI provider's stream broke off before its end; the answer above is incomplete.",
            ),
            Ending::Idle => (
                End::StreamIdleTimeout,
                Code::StreamIdleTimeout,
                "The AI provider's stream went silent (idle timeout); the answer above is incomplete.",
            ),
            Ending::Over => (
                End::Drained,
                Code::StreamTruncated,
                "This gateway is shutting down; the answer above is incomplete. Send the request again.",
            ),
        };
        if !observer.is_events() {
            return self.cut(end, Some(code));
        }
        self.exchange.ended(end, Some(code));
        let event = render::stream_error(operation, code, message, self.exchange.id());
        if !observer.at_boundary() && !self.write(Bytes::from_static(render::EVENT_BREAK)).await {
            return self.client_left();
        }
        if !self.write(event).await {
            return self.client_left();
        }
        self.write_last(Bytes::new()).await
    }
}

/// Takes off the byte order mark that a stream may begin with.
fn skip_bom(pieces: &mut [Bytes]) {
    let begins = pieces.iter().flatten().take(BOM.len());
    if !begins.eq(BOM) {
        return;
    }
    let mut left = BOM.len();
    for piece in pieces {
        let here = left.min(piece.len());
        piece.advance(here);
        left -= here;
    }
}

const BOM: &[u8] = "\u{feff}".as_bytes();

fn ending(observer: &mut Passing, ended: &Chunk, out: &mut Vec<Bytes>) -> Ending {
    drop(observer.finish(out));
    match (observer.phase(), ended) {
        (Phase::Terminal, _) => Ending::Honest,
        (Phase::Failed, _) => Ending::OwnError,
        (_, Chunk::Idle) => Ending::Idle,
        (_, Chunk::Over) => Ending::Over,
        _ => Ending::Truncated,
    }
}

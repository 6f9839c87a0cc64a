//! The end of a conversation, said to both sides and booked.
//!
//! Invariants: a conversation that did not end by itself tells its client why, in an event of the API's own and in the close frame,
//! where a frame can still stand; a client that is gone costs its provider's connection at once; the end takes a bounded time.

use super::talk::{Talk, Why};
use crate::code::Code;
use crate::gateway::realtime::line::Line;
use crate::protocol::realtime;
use crate::protocol::websocket::{Opcode, close, close_payload, write_frame};
use crate::record::End;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

/// What is said of an end.
struct Farewell {
    /// How it is booked.
    end: End,
    code: Option<Code>,
    /// What the client is told, before the close frame.
    event: Option<String>,
    /// The codes of the close frames.
    to_client: u16,
    to_provider: u16,
}

impl Farewell {
    fn of(why: &Why, provider_closed: Option<u16>) -> Self {
        let ok = Self {
            end: End::Ok,
            code: None,
            event: None,
            to_client: close::NORMAL,
            to_provider: close::NORMAL,
        };
        let broken = |message: &str, to_provider| Self {
            end: End::StreamTruncated,
            code: Some(Code::StreamTruncated),
            event: Some(message.to_owned()),
            to_client: close::INTERNAL,
            to_provider,
        };
        match why {
            Why::Closed if provider_closed.is_some_and(close::is_failure) => {
                Self { end: End::Failed, code: Some(Code::UpstreamError), ..ok }
            }
            Why::Closed => ok,
            Why::ClientGone => Self { end: End::ClientClosed, to_provider: close::GOING_AWAY, ..ok },
            Why::ProviderGone => broken(CUT, close::NORMAL),
            Why::ProviderBreach(breach) => broken(GARBLED, breach.close_code()),
            Why::ProviderSilent => Self {
                end: End::StreamIdleTimeout,
                code: Some(Code::StreamIdleTimeout),
                ..broken(SILENT, close::GOING_AWAY)
            },
            Why::ClientBreach(breach) => Self {
                end: End::Refused,
                code: Some(Code::InvalidRequest),
                event: None,
                to_client: breach.close_code(),
                to_provider: close::GOING_AWAY,
            },
            Why::Refused(refusal) => Self {
                end: End::Refused,
                code: Some(refusal.code),
                event: Some(refusal.message.clone()),
                to_client: close::POLICY,
                to_provider: close::NORMAL,
            },
            Why::Over => Self {
                end: End::Drained,
                code: Some(Code::StreamTruncated),
                event: None,
                to_client: close::GOING_AWAY,
                to_provider: close::GOING_AWAY,
            },
        }
    }

    /// The words in the close frame to the client.
    fn reason(&self, why: &Why) -> &'static str {
        match why {
            Why::ClientBreach(breach) => breach.words(),
            Why::Over => SHUTTING_DOWN,
            _ => self.code.map_or("", Code::word),
        }
    }
}

impl Talk<'_> {
    /// Says the end to both sides, books it, and lets the connections go.
    pub(super) async fn end(mut self, why: Why) {
        self.books.close();
        let farewell = Farewell::of(&why, self.books.provider_closed);
        self.say(&farewell, &why);
        let limit = if let Why::Refused(refusal) = &why { refusal.limit } else { None };
        let exchange = &mut *self.books.exchange;
        // What was counted is settled; what is left of it was never spent.
        exchange.charges.clear();
        exchange.ended(farewell.end, farewell.code);
        exchange.record.limit_hit = limit;
        // The provider first: it works as long as it hears nothing.
        let wait = if matches!(why, Why::ClientGone) { AT_ONCE } else { WRITE_WAIT };
        drop(timeout(wait, farewell_to(&mut self.provider)).await);
        drop(self.provider);
        if !matches!(why, Why::ClientGone) {
            drop(timeout(WRITE_WAIT, farewell_to(&mut self.client)).await);
            linger(&mut self.client).await;
        }
    }

    fn say(&mut self, farewell: &Farewell, why: &Why) {
        if self.up.at_boundary() && !self.client.closing {
            let mut frame = Vec::new();
            let payload = close_payload(farewell.to_provider, "");
            write_frame(Opcode::Close, &payload, Some(self.books.mask()), &mut frame);
            self.provider.send(&frame);
        }
        // Behind a close frame, or within another frame, nothing would be understood.
        if self.provider.closing || !self.down.at_boundary() {
            return;
        }
        let mut frames = Vec::new();
        if let (Some(message), Some(code)) = (&farewell.event, farewell.code)
            && self.down.between_messages()
        {
            let id = self.books.exchange.record.request_id.as_str();
            write_frame(Opcode::Text, &realtime::error(code, message, (None, None), id), None, &mut frames);
        }
        let payload = close_payload(farewell.to_client, farewell.reason(why));
        write_frame(Opcode::Close, &payload, None, &mut frames);
        self.books.exchange.record.bytes_out += frames.len() as u64;
        self.client.send(&frames);
    }
}

/// Writes what is left, and says that nothing more comes.
async fn farewell_to<S: AsyncRead + AsyncWrite + Unpin>(line: &mut Line<S>) {
    let written = poll_fn(|context| line.poll_write(context)).await;
    if written.is_ok() {
        // A side that is gone needs no goodbye.
        drop(poll_fn(|context| line.poll_shutdown(context)).await);
    }
}

/// Reads what the client still sends, so that it hears the end and not a reset, which would take the last words along.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Line<S>) {
    let mut block = vec![0; LINGER_BLOCK];
    let mut left = LINGER_BYTES_MAX;
    let ended = poll_fn(|context| {
        loop {
            match client.poll_read(context, &mut block) {
                Poll::Ready(Ok(read @ 1..)) if read <= left => left -= read,
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    });
    drop(timeout(LINGER_WAIT, ended).await);
}

const CUT: &str = "The connection to the AI provider broke off. Open the session again.";
const GARBLED: &str = "The AI provider sent something that cannot be understood. Open the session again.";
const SILENT: &str = "The AI provider has gone silent (idle timeout). Open the session again.";
const SHUTTING_DOWN: &str = "This gateway is shutting down. Open the session again.";
/// How long a side may take for the last words; together with the wait below it is less than a process waits at its end.
const WRITE_WAIT: Duration = Duration::from_millis(800);
/// The same for a provider whose client is gone.
const AT_ONCE: Duration = Duration::from_millis(100);
const LINGER_WAIT: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 1 << 20;
const LINGER_BLOCK: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::websocket::Breach;

    #[test]
    fn every_end_is_told_to_the_client_in_a_code_of_its_own() {
        let refusal = crate::refusal::Refusal::new(Code::InsufficientQuota, "used up");
        for (why, closed, end, code, to_client) in [
            (Why::Closed, Some(1000), End::Ok, None, 1000),
            (Why::Closed, Some(1011), End::Failed, Some(Code::UpstreamError), 1000),
            (Why::ClientGone, None, End::ClientClosed, None, 1000),
            (Why::ProviderGone, None, End::StreamTruncated, Some(Code::StreamTruncated), 1011),
            (
                Why::ProviderBreach(Breach::Masked),
                None,
                End::StreamTruncated,
                Some(Code::StreamTruncated),
                1011,
            ),
            (Why::ProviderSilent, None, End::StreamIdleTimeout, Some(Code::StreamIdleTimeout), 1011),
            (Why::ClientBreach(Breach::Unmasked), None, End::Refused, Some(Code::InvalidRequest), 1002),
            (Why::ClientBreach(Breach::TooLong), None, End::Refused, Some(Code::InvalidRequest), 1009),
            (Why::Refused(refusal), None, End::Refused, Some(Code::InsufficientQuota), 1008),
            (Why::Over, None, End::Drained, Some(Code::StreamTruncated), 1001),
        ] {
            let farewell = Farewell::of(&why, closed);
            assert_eq!((farewell.end, farewell.code, farewell.to_client), (end, code, to_client), "{why:?}");
        }
    }
}

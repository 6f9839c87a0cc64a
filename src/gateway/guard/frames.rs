//! Frames of HTTP/2 that cost the sender nothing and move nothing on, counted.
//!
//! The HTTP/2 library bounds what a connection may hold (header lists, CONTINUATION, resets before and after a stream was
//! accepted, tiny DATA frames) and answers each PING and SETTINGS; how many of those come it leaves open.
//! Invariant: a frame's payload is skipped, never kept.

use super::clock::now;
use std::time::Duration;
use tokio::time::Instant;

/// Where one connection's input stands.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; FRAME_HEAD],
    /// Bytes of `head` that are there.
    filled: usize,
    /// Of the current frame's payload.
    left: usize,
    /// Idle frames since `since`.
    idle: u32,
    since: Option<Instant>,
}

impl Frames {
    /// Looks at what came; `false`: it is a flood.
    pub(super) fn pass(&mut self, mut input: &[u8]) -> bool {
        while !input.is_empty() {
            let payload = self.left.min(input.len());
            self.left -= payload;
            input = &input[payload..];
            let more = (FRAME_HEAD - self.filled).min(input.len());
            if self.left > 0 || more == 0 {
                continue;
            }
            self.head[self.filled..self.filled + more].copy_from_slice(&input[..more]);
            self.filled += more;
            input = &input[more..];
            if self.filled == FRAME_HEAD {
                self.filled = 0;
                let [one, two, three, kind, ..] = self.head;
                self.left = usize::from(one) << 16 | usize::from(two) << 8 | usize::from(three);
                if !matches!(kind, DATA | HEADERS | RST_STREAM | WINDOW_UPDATE | CONTINUATION)
                    && self.is_one_too_many()
                {
                    return false;
                }
            }
        }
        true
    }

    fn is_one_too_many(&mut self) -> bool {
        let now = now();
        if self.since.is_none_or(|since| now.saturating_duration_since(since) > WINDOW) {
            (self.since, self.idle) = (Some(now), 0);
        }
        self.idle += 1;
        self.idle > IDLE_FRAMES_MAX
    }
}

const FRAME_HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
/// PING, SETTINGS, PRIORITY and what nobody knows, in one window. Clients that measure the line send a few a second.
const IDLE_FRAMES_MAX: u32 = 1_000;
const WINDOW: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).expect("it is short").to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, 0, 0, 0, 0, 0];
        frame.resize(frame.len() + payload, 6);
        frame
    }

    #[tokio::test(start_paused = true)]
    async fn pings_are_counted_however_they_are_cut_and_data_is_not() {
        let most = usize::try_from(IDLE_FRAMES_MAX).expect("it is small");
        for cut in [1, 7, 9, 17, 4096] {
            let mut frames = Frames::default();
            let data: Vec<u8> = frame(DATA, 300).repeat(3 * most);
            assert!(data.chunks(cut).all(|piece| frames.pass(piece)), "{cut}");
            let pings = frame(6, 8).repeat(most);
            assert!(pings.chunks(cut).all(|piece| frames.pass(piece)), "{cut}");
            assert!(!frames.pass(&frame(4, 0)), "{cut}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_at_a_time_are_welcome_for_ever() {
        let mut frames = Frames::default();
        for _ in 0..100 {
            assert!(frames.pass(&frame(6, 8).repeat(900)));
            tokio::time::advance(Duration::from_secs(11)).await;
        }
    }
}

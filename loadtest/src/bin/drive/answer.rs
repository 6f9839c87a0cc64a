//! What a client got, before anybody judges it, and how it behaves while it gets it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What came of one request.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// 0: no head came.
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) ended: Ended,
    /// Whether the whole head of the request was handed to the kernel.
    pub(crate) asked: bool,
    /// Whether the connection had served before.
    pub(crate) reused: bool,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Ended {
    /// As its framing says.
    Whole,
    /// The gateway broke it off.
    Cut,
    /// We left.
    Left(How),
    /// Nothing came of it.
    #[default]
    Nothing,
    /// It did not end in time.
    Never,
}

/// How a client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Fin,
    Reset,
}

/// How a client behaves in one exchange.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Manner {
    pub(crate) leave: Option<(When, How)>,
    /// A pause before every read, for clients that are slow.
    pub(crate) slow: Option<Duration>,
    /// Counts the bytes of the body as they come; such a client has all the time there is.
    pub(crate) counter: Option<&'static AtomicUsize>,
}

/// When it leaves, if the answer is not whole before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// In the middle of sending the request's head.
    InHead,
    /// In the middle of sending its body.
    InBody,
    /// So long after the request was sent.
    After(Duration),
    /// When so many bytes of the body have come.
    AtByte(usize),
}

impl Manner {
    pub(crate) fn leaves_at(&self, when: When) -> Option<How> {
        self.leave.filter(|(at, _)| *at == when).map(|(_, how)| how)
    }

    /// How long it stays at the most, and how it leaves then.
    pub(crate) fn patience(&self) -> (Duration, Ended) {
        match self.leave {
            Some((When::After(time), how)) => (time, Ended::Left(how)),
            _ if self.counter.is_some() => (PATIENCE * 20, Ended::Never),
            _ => (PATIENCE, Ended::Never),
        }
    }

    /// Says that so many bytes of the body have come.
    pub(crate) fn got(&self, bytes: usize) {
        if let Some(counter) = self.counter {
            counter.fetch_add(bytes, Ordering::AcqRel);
        }
    }

    /// Whether so much of the body is enough.
    pub(crate) fn has_enough(&self, bytes: usize) -> Option<How> {
        match self.leave {
            Some((When::AtByte(at), how)) if bytes >= at => Some(how),
            _ => None,
        }
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn is_events(&self) -> bool {
        self.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"))
    }
}

/// Longer than every timeout of the gateway together, and than a streamed response of which every byte waits for its release
/// (95 s without a gateway): an answer that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(180);

//! Reading a request body: bounded by the exchange's limit, by the budget of all exchanges, and in time.
//!
//! Invariant: no byte is allocated that the budget did not grant, spare room and what a body inflates to included; what was
//! promised by `Content-Length` but never sent costs nothing.

use crate::code::Code;
use crate::config::snapshot::{Key, Server};
use crate::gateway::Stop;
use crate::gateway::client::Client;
use crate::gateway::guard::{BodyFault, Pace, Rate, Read};
use crate::protocol::encoding::{self, Room};
use crate::protocol::fields::names::{CONTENT_ENCODING, CONTENT_LENGTH, EXPECT};
use crate::protocol::fields::{Fields, digits, printable};
use crate::refusal::Refusal;
use crate::state::bodies::Share;
use bytes::Bytes;
use http::Version;
use std::pin::pin;
use std::time::Duration;

/// How much may be read, how slowly.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The most bytes, sent or decoded.
    pub bytes: usize,
    /// How slowly they may come.
    pub rate: Rate,
}

impl Bounds {
    /// The smallest of the limits. A body that could never fit into the budget of all exchanges is too large,
    /// not early.
    pub fn of(key: &Key, server: &Server) -> Self {
        let limits = &server.limits;
        let bytes =
            key.body_bytes.unwrap_or(usize::MAX).min(limits.body_bytes).min(limits.buffered_body_bytes);
        Self { bytes, rate: Rate::of_bodies(server.timeouts.body_idle) }
    }
}

/// Reads it whole and decodes it; also says how many bytes were sent.
pub async fn read(client: &mut Client<'_>, bounds: Bounds, share: &mut Share) -> Result<(Bytes, u64), Stop> {
    let declared = declared_length(&client.head().headers);
    if declared.is_some_and(|length| length > bounds.bytes) {
        return Err(too_large(bounds.bytes).into());
    }
    go_ahead(client).await?;
    let body = gather(client, bounds, declared, share).await?;
    let sent = body.len() as u64;
    let Some(coding) = client.head().headers.get(CONTENT_ENCODING) else {
        return Ok((body, sent));
    };
    let coding = printable(coding).unwrap_or("?").to_owned();
    let mut inflated = share.sibling();
    // Inflating is work for a thread of its own: other exchanges share this one.
    let decoding = tokio::task::spawn_blocking(move || {
        let room = &mut Room { limit: bounds.bytes, grant: &mut |more| inflated.grow(more) };
        let decoded = encoding::decode_within(&coding, &body, room)?;
        inflated.shrink_to(decoded.capacity());
        Ok::<_, Refusal>((decoded, inflated))
    });
    let (decoded, inflated) = decoding.await.map_err(|_| Stop::ClientGone)??;
    *share = inflated;
    Ok((decoded.into(), sent))
}

/// Reads it as it was sent.
async fn gather(
    client: &mut Client<'_>,
    bounds: Bounds,
    declared: Option<usize>,
    share: &mut Share,
) -> Result<Bytes, Stop> {
    let mut body = Vec::new();
    let mut pace = Pace::default();
    loop {
        let read = next(client, &bounds.rate, &mut pace, &mut body).await?;
        let piece = match read {
            Read::End => return Ok(whole(body, share)),
            Read::Filled(read) => {
                pace.moved(read);
                continue;
            }
            Read::Whole(whole) if body.is_empty() && whole.len() <= bounds.bytes => {
                let granted = share.grow(whole.len());
                return if granted { Ok(whole) } else { Err(encoding::overloaded().into()) };
            }
            Read::NoRoom => Bytes::new(),
            Read::Piece(piece) | Read::Whole(piece) => piece,
        };
        pace.moved(piece.len());
        if body.len() + piece.len() > bounds.bytes {
            return Err(too_large(bounds.bytes).into());
        }
        let more = if piece.is_empty() { left_of(declared, body.len()).min(FIRST_CAPACITY) } else { 0 };
        if !make_room(&mut body, (piece.len(), more), (declared, bounds.bytes), share) {
            return Err(encoding::overloaded().into());
        }
        body.extend_from_slice(&piece);
    }
}

fn left_of(declared: Option<usize>, has: usize) -> usize {
    declared.map_or(FIRST_CAPACITY, |declared| declared.saturating_sub(has))
}

/// Answers `Expect: 100-continue`, refuses any other expectation.
pub async fn go_ahead(client: &mut Client<'_>) -> Result<(), Stop> {
    let head = client.head();
    if !head.headers.has(EXPECT) {
        return Ok(());
    }
    if !head.headers.all(EXPECT).all(|expect| expect.eq_ignore_ascii_case(b"100-continue")) {
        let message = "The only expectation this gateway can meet is 'Expect: 100-continue'.";
        return Err(Refusal::new(Code::ExpectationFailed, message).into());
    }
    if head.version < Version::HTTP_11 {
        return Ok(()); // which has no such answers (RFC 9110 section 10.1.1)
    }
    client.go_on().await.map_err(|_| Stop::ClientGone)
}

async fn next(
    client: &mut Client<'_>,
    rate: &Rate,
    pace: &mut Pace,
    into: &mut Vec<u8>,
) -> Result<Read, Stop> {
    match pace.within(rate, pin!(client.read(into))).await {
        Some(Ok(read)) => Ok(read),
        Some(Err(fault)) => Err(unreadable(fault).map_or(Stop::ClientGone, Stop::Refused)),
        None => Err(too_slow().into()),
    }
}

/// What to say of a body that cannot be read on; `None`: there is nobody to say it to.
pub(super) fn unreadable(fault: BodyFault) -> Option<Refusal> {
    let broken = "The request body's chunked framing is broken.";
    match fault {
        BodyFault::Slow => Some(too_slow()),
        BodyFault::Broken => Some(Refusal::new(Code::InvalidRequest, broken)),
        BodyFault::Gone => None,
    }
}

fn too_slow() -> Refusal {
    let message = "The request body arrived too slowly or not at all. Send it again on a new connection.";
    Refusal::new(Code::RequestTimeout, message)
}

/// What has come, and no spare room: it is held as long as the exchange goes on.
fn whole(mut body: Vec<u8>, share: &mut Share) -> Bytes {
    body.shrink_to_fit();
    share.shrink_to(body.capacity());
    body.into()
}

/// Makes room for what has come, and for so much more where nothing has; ample room where that is granted.
fn make_room(
    body: &mut Vec<u8>,
    (piece, more): (usize, usize),
    (declared, bytes_max): (Option<usize>, usize),
    share: &mut Share,
) -> bool {
    let (has, came) = (body.capacity(), body.len() + piece);
    let needed = came + more;
    if has >= needed {
        return true;
    }
    let ample = ample(came, declared, bytes_max).max(needed.min(came + 1));
    let granted = [ample, needed].into_iter().find(|wanted| share.grow(wanted - has));
    if let Some(wanted) = granted {
        body.reserve_exact(wanted - body.len());
    }
    granted.is_some()
}

/// Room for a body of which so much has come. Each growth copies that, so that steps are large; those to a declared length are
/// counted back from it, so that the last one, too, copies a small part only. Where none was declared steps are smaller, since
/// most of one may be in vain.
fn ample(came: usize, declared: Option<usize>, bytes_max: usize) -> usize {
    let Some(declared) = declared else {
        return came.saturating_mul(STEP_TIMES_UNDECLARED).max(FIRST_CAPACITY).min(bytes_max);
    };
    let most = came.saturating_mul(STEP_TIMES_MAX).max(FIRST_CAPACITY);
    let mut ample = declared;
    while ample > most {
        ample = ample.div_ceil(STEP_TIMES_MAX);
    }
    ample
}

/// The declared length, where it is a number.
pub fn declared_length(headers: &Fields) -> Option<usize> {
    headers.get(CONTENT_LENGTH).and_then(digits).and_then(|length| usize::try_from(length).ok())
}

fn too_large(limit: usize) -> Refusal {
    Refusal::new(
        Code::BodyTooLarge,
        format!("The request body is over the limit of {limit} bytes. Send fewer or smaller attachments."),
    )
}

/// There is no room for it now.
pub(super) fn overloaded(what: &str) -> Refusal {
    Refusal::new(Code::GatewayOverloaded, format!("{what} Try again in a moment."))
        .retry_after(OVERLOADED_WAIT)
}

/// Small, because who sends one byte of a large body has it granted; the rest comes in steps.
const FIRST_CAPACITY: usize = 16 * 1024;
/// How much more than has come a step makes room for. What comes in one piece with the head, 16 KiB, is enough for 256 KiB to be
/// the next one.
const STEP_TIMES_MAX: usize = 20;
const STEP_TIMES_UNDECLARED: usize = 4;
const OVERLOADED_WAIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::bodies::Bodies;
    use std::sync::Arc;

    /// How much was copied on the way to the whole, in how many steps, where pieces come as room is made for them.
    fn grown(first: usize, declared: usize) -> (usize, usize) {
        let (mut came, mut copied, mut steps) = (first, 0, 0);
        while came < declared {
            let room = ample(came, Some(declared), usize::MAX);
            assert!(came < room && room <= declared, "{came}, {room} of {declared}");
            assert!(room <= (came * STEP_TIMES_MAX).max(FIRST_CAPACITY), "{came}, {room} of {declared}");
            (came, copied, steps) = (room, copied + came, steps + 1);
        }
        (copied, steps)
    }

    #[test]
    fn a_declared_body_is_copied_in_a_small_part_only() {
        for declared in (16_500..9 << 20).step_by(7_919) {
            let (copied, steps) = grown(1, declared);
            assert!(copied <= declared / 19 + steps, "{copied} of {declared}");
            assert!(steps <= 5, "{steps}: {declared}");
        }
        assert_eq!(grown(16_100, 256 << 10), (16_100, 1), "what comes with the head is enough for that");
        assert_eq!(grown(16_100, 2 << 20).1, 2);
    }

    #[test]
    fn nothing_is_made_ready_that_was_not_granted() {
        let bodies = Arc::new(Bodies::default());
        bodies.configure(50_000);
        let (mut share, mut body) = (bodies.share(), Vec::new());
        let of = (Some(90_000), 1 << 20);
        assert!(make_room(&mut body, (10_000, 0), of, &mut share));
        assert_eq!((body.capacity(), bodies.held()), (10_000, 10_000), "ample room was not to be had");
        body.resize(10_000, 0);
        assert!(make_room(&mut body, (0, FIRST_CAPACITY), of, &mut share));
        assert_eq!((body.capacity(), bodies.held()), (26_384, 26_384), "nor here");
        body.resize(26_384, 0);
        assert!(!make_room(&mut body, (30_000, 0), of, &mut share));
        assert_eq!((body.capacity(), bodies.held()), (26_384, 26_384));
        bodies.configure(90_000);
        assert!(make_room(&mut body, (1, 0), of, &mut share));
        assert_eq!((body.capacity(), bodies.held()), (90_000, 90_000));
    }

    #[test]
    fn an_undeclared_body_never_gets_room_past_the_limit() {
        assert_eq!(ample(1, None, 1_000), 1_000);
        assert_eq!(ample(1, None, 1 << 20), FIRST_CAPACITY);
        assert_eq!(ample(300_000, None, 1 << 20), 1 << 20);
        assert_eq!(ample(100_000, None, 1 << 20), 400_000);
    }
}

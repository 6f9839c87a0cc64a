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
use crate::protocol::fields::{Fields, printable};
use crate::refusal::Refusal;
use crate::state::bodies::Share;
use bytes::Bytes;
use http::Version;
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
        let more =
            if piece.is_empty() { left_of(declared, body.len()).min(FIRST_CAPACITY) } else { piece.len() };
        if !make_room(&mut body, more, (declared, bounds.bytes), share) {
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
    match pace.within(rate, client.read(into)).await {
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

/// Grows manyfold, where that is granted, since each step copies all that has come so far: never past what was declared, and
/// where nothing was, never past the limit and in smaller steps, of which most may be in vain.
fn make_room(
    body: &mut Vec<u8>,
    more: usize,
    (declared, bytes_max): (Option<usize>, usize),
    share: &mut Share,
) -> bool {
    let (has, needed) = (body.capacity(), body.len() + more);
    if has >= needed {
        return true;
    }
    let (times, most) = declared.map_or((4, bytes_max), |declared| (16, declared));
    let ample = has.saturating_mul(times).max(FIRST_CAPACITY).min(most).max(needed);
    let granted = [ample, needed].into_iter().find(|wanted| share.grow(wanted - has));
    if let Some(wanted) = granted {
        body.reserve_exact(wanted - body.len());
    }
    granted.is_some()
}

/// The declared length, where it is a number.
pub fn declared_length(headers: &Fields) -> Option<usize> {
    headers.text(CONTENT_LENGTH)?.trim().parse().ok()
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
const OVERLOADED_WAIT: Duration = Duration::from_secs(1);

//! W3C Trace Context: where a request stands in a trace that spans programs.
//!
//! Read as <https://www.w3.org/TR/trace-context-2/> has it, for our own use of the headers alone: what cannot be understood
//! begins a new trace, and a `tracestate` is nothing without its `traceparent`.
//! Invariant: what is read is valid, and a state is no longer than [`STATE_BYTES_MAX`].

use crate::protocol::fields::{Fields, printable};

/// What a client says of the trace that it is part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace, never 0.
    pub trace: u128,
    /// The client's span, never 0.
    pub parent: u64,
    /// [`SAMPLED`] and [`RANDOM`]; other bits mean nothing yet and are not passed on.
    pub flags: u8,
    /// What other tracing systems on the way keep there.
    pub state: Option<Box<str>>,
}

/// Somebody on the way records the trace.
pub const SAMPLED: u8 = 0x01;
/// The end of the trace's id was drawn at random.
pub const RANDOM: u8 = 0x02;

/// The header of the ids.
pub const TRACEPARENT: &str = "traceparent";
/// The header of what other tracing systems keep.
pub const TRACESTATE: &str = "tracestate";

/// How many traces that begin here are recorded: one below which half of a trace's id must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling(u64);

impl Sampling {
    /// This share of them, from 0 to 1.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded from 0 to 2^63")]
    #[expect(clippy::cast_precision_loss, reason = "2^63 is a power of two")]
    pub fn of(ratio: f64) -> Self {
        Self((ratio.clamp(0.0, 1.0) * ALL as f64) as u64)
    }

    /// The share.
    #[expect(clippy::cast_precision_loss, reason = "shown, with more digits than were written")]
    pub fn ratio(self) -> f64 {
        self.0 as f64 / ALL as f64
    }

    /// Whether this one is: every program that is asked the same says the same.
    #[expect(clippy::cast_possible_truncation, reason = "the half that everybody looks at")]
    pub fn takes(self, trace: u128) -> bool {
        (trace as u64) >> 1 < self.0
    }
}

/// Half of an id has 64 bits, of which the last does not count, as in OpenTelemetry's own libraries.
const ALL: u64 = 1 << 63;

/// What these headers say; `None`: nothing that can be gone on from.
pub fn read(headers: &Fields) -> Option<TraceContext> {
    let mut values = headers.all(TRACEPARENT);
    let value = values.next().filter(|_| values.next().is_none())?;
    let (trace, parent, flags) = traceparent(value.trim_ascii())?;
    Some(TraceContext { trace, parent, flags, state: state(headers) })
}

/// The header of a span.
pub fn written(trace: u128, span: u64, flags: u8) -> String {
    format!("00-{trace:032x}-{span:016x}-{flags:02x}")
}

fn traceparent(text: &[u8]) -> Option<(u128, u64, u8)> {
    let (known, rest) = text.split_at_checked(KNOWN_BYTES)?;
    let at = |from: usize, digits: usize| hex(&known[from..from + digits]);
    let dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
    let version = at(0, 2)?;
    // A later version may have more to say, behind another dash.
    let ends = rest.is_empty() || (version > 0 && rest[0] == b'-');
    let (trace, parent, flags) = (at(3, 32)?, at(36, 16)?, at(53, 2)?);
    if !dashes || !ends || version == FORBIDDEN_VERSION || trace == 0 || parent == 0 {
        return None;
    }
    let flags = u8::try_from(flags).ok()? & (SAMPLED | RANDOM);
    Some((trace, u64::try_from(parent).ok()?, flags))
}

/// Lower-case digits only.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

/// All the members, in order; one that is wrong makes all of them nothing.
fn state(headers: &Fields) -> Option<Box<str>> {
    let mut members = Vec::new();
    for value in headers.all(TRACESTATE) {
        let line = printable(value)?;
        let listed = line.split(',').map(|member| member.trim_matches([' ', '\t']));
        for member in listed.filter(|member| !member.is_empty()) {
            if !is_member(member) || members.len() == STATE_MEMBERS_MAX {
                return None;
            }
            members.push(member);
        }
    }
    let members = fitting(members);
    (!members.is_empty()).then(|| members.join(",").into())
}

/// Where they are too long, long ones go first, then the oldest.
fn fitting(mut members: Vec<&str>) -> Vec<&str> {
    let bytes =
        |members: &[&str]| members.iter().map(|member| member.len() + 1).sum::<usize>().saturating_sub(1);
    while bytes(&members) > STATE_BYTES_MAX {
        let long = members.iter().rposition(|member| member.len() > LONG_MEMBER_BYTES);
        members.remove(long.unwrap_or(members.len() - 1));
    }
    members
}

fn is_member(member: &str) -> bool {
    let Some((key, value)) = member.split_once('=') else { return false };
    let in_key = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(&byte);
    let begins = key.bytes().next().is_some_and(|first| first.is_ascii_lowercase() || first.is_ascii_digit());
    let in_value = |byte: u8| (0x20..=0x7e).contains(&byte) && byte != b'=';
    begins
        && key.len() <= KEY_BYTES_MAX
        && key.bytes().all(in_key)
        && (1..=VALUE_BYTES_MAX).contains(&value.len())
        && value.bytes().all(in_value)
}

/// Version, trace, parent and flags, with their dashes.
const KNOWN_BYTES: usize = 55;
const FORBIDDEN_VERSION: u128 = 0xff;
/// As the specification has it, and so are the others.
const STATE_MEMBERS_MAX: usize = 32;
const KEY_BYTES_MAX: usize = 256;
const VALUE_BYTES_MAX: usize = 256;
/// The least that must be passed on, and so the most: it goes to every provider with every request.
pub const STATE_BYTES_MAX: usize = 512;
const LONG_MEMBER_BYTES: usize = 128;

#[cfg(test)]
mod tests;

//! What has to come of every fault: the contract's two tables ("Answers we author", "Streams: what the client must
//! see") in rows. It says what is promised, not how a gateway gets there.
//!
//! Invariant: the match is exhaustive, so a fault the fake learns tomorrow has to be given a row.

use crate::support::speech::Speech;
use tollgate_loadtest::{Cut, DripFrom, Early, Fault, Malformed, Then, UsageNumbers};

/// What a client sees of an upstream with a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sees {
    /// The provider's own bytes, to their honest end.
    Own,
    /// The normal answer's bytes: what the fault put after them is dropped.
    Good,
    /// The provider's own bytes, the last of which say that it failed.
    OwnError,
    /// The provider's word about the request: its status and its bytes, nobody else is asked.
    Word,
    /// Another candidate's answer, else an error of ours. The attempt's status and code.
    Next(Option<u16>, &'static str),
    /// The bytes so far, then one error event (a stream) or an aborted connection (a whole).
    Cut,
    /// The same, because nothing more came for too long.
    Idle,
}

/// How the odd upstream is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) speech: Speech,
    pub(super) stream: bool,
    /// HTTP/2 towards the provider.
    pub(super) http2: bool,
}

/// How long the gateway waits for an upstream; short where waiting is all there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    Default,
    /// Nothing comes at all.
    Brief,
    /// Something comes first, and a busy machine may take a while to bring it.
    Short,
}

impl Patience {
    /// Further lines of a channel.
    pub(super) fn lines(self) -> String {
        let all = |time| {
            format!(
                "first_byte_timeout = \"{time}\"\nresponse_timeout = \"{time}\"\nidle_timeout = \"{time}\"\n"
            )
        };
        match self {
            Self::Default => String::new(),
            Self::Brief => all("150ms"),
            Self::Short => all("600ms"),
        }
    }
}

const UNREACHABLE: Sees = Sees::Next(None, "upstream_unreachable");
const NOT_HTTP: Sees = Sees::Next(None, "upstream_error");
const SILENT: Sees = Sees::Next(None, "upstream_timeout");
const SILENT_STREAM: Sees = Sees::Next(Some(200), "upstream_timeout");
const FAILED: Sees = Sees::Next(Some(500), "upstream_error");
/// 200, and no event.
const NO_STREAM: Sees = Sees::Next(Some(200), "upstream_error");

/// A row.
pub(super) fn sees(fault: &Fault, asked: Asked, rename: bool) -> Sees {
    let named = matches!(asked.speech, Speech::Chat | Speech::Responses);
    if rename && named && *fault == Fault::status(404) {
        // The operator named a model that the provider does not have, and says so; the others' words may mean
        // anything that the client named.
        return Sees::Next(Some(404), "upstream_refused");
    }
    let grammar_of_http1 = matches!(fault, Fault::Garbage | Fault::Raw(_) | Fault::Malformed(_));
    if asked.http2 && grammar_of_http1 {
        // Over HTTP/2 the fake can only reset the stream.
        return UNREACHABLE;
    }
    let (stream, whole) = row(fault, asked.speech);
    match whole {
        _ if asked.stream => stream,
        // A whole that is held to be renamed has shown nothing yet when it breaks.
        Sees::Cut if rename => Sees::Next(Some(200), "upstream_unreachable"),
        Sees::Idle if rename => Sees::Next(Some(200), "upstream_timeout"),
        whole => whole,
    }
}

/// For a stream, and for an answer that is none.
fn row(fault: &Fault, speech: Speech) -> (Sees, Sees) {
    let both = |sees| (sees, sees);
    match fault {
        Fault::None
        | Fault::Informational
        | Fault::PingsThenStream { .. }
        | Fault::LeadingComments
        | Fault::LeadThen { then: Then::Stream, .. }
        | Fault::CommentsBetween
        | Fault::Crlf
        | Fault::BigEvent { .. }
        | Fault::SplitEveryByte
        | Fault::Pieces { .. }
        | Fault::ChunkExtensions
        | Fault::Trailers
        | Fault::Http10KeepAlive
        | Fault::CloseAfterAnswer
        | Fault::ResetAfterAnswer
        | Fault::CloseDelimited
        | Fault::TerminalWithoutBlankLine { .. }
        | Fault::Usage(_) => both(Sees::Own),
        // A reason to finish is not the end of Gemini's stream: more may follow, and passes.
        Fault::AfterTerminal(_) if speech == Speech::Gemini => both(Sees::Own),
        Fault::AfterTerminal(_)
        | Fault::ErrorAfterTerminal
        | Fault::ResetAfterTerminal
        | Fault::HangAfterTerminal => both(Sees::Good),
        Fault::Status { status, .. }
        | Fault::EarlyStatus { status }
        | Fault::EarlyStatusThen { status, .. } => both(of_status(*status)),
        Fault::Refuse | Fault::Reset | Fault::CloseSilently => both(UNREACHABLE),
        Fault::Raw(text) if text.is_empty() => both(UNREACHABLE),
        // What came before the broken framing counts.
        Fault::Malformed(
            Malformed::BadChunkSize | Malformed::ChunkSizeOverflow | Malformed::ChunkWithoutLineEnd,
        ) => both(Sees::Cut),
        Fault::CutBody { .. } => (NO_STREAM, Sees::Cut),
        Fault::Malformed(_) | Fault::Garbage | Fault::Raw(_) => both(NOT_HTTP),
        Fault::SilentOnAccept | Fault::StopReading { .. } | Fault::Hang | Fault::HoldFirstByte => {
            both(SILENT)
        }
        Fault::Drip { from: DripFrom::Head, .. } => both(SILENT),
        Fault::HangAfterHead
        | Fault::HoldEveryEvent
        | Fault::HoldMidStream { after_events: 0 }
        | Fault::Drip { from: DripFrom::Body, every_ms: None }
        | Fault::LeadThen { then: Then::Silence, .. } => (SILENT_STREAM, Sees::Idle),
        // Too slow for the first event; but between the bytes of a whole there is never a long silence.
        Fault::Drip { from: DripFrom::Body, every_ms: Some(_) } => (SILENT_STREAM, Sees::Own),
        Fault::HoldMidStream { .. } => both(Sees::Idle),
        Fault::StreamErrorFirst | Fault::LeadThen { then: Then::Error, .. } => {
            (Sees::Next(Some(200), speech.error_first()), FAILED)
        }
        Fault::EmptyStream | Fault::LeadThen { then: Then::Nothing, .. } => both(NO_STREAM),
        Fault::StreamErrorAfter { .. } => (Sees::OwnError, FAILED),
        Fault::Cut { after_events, how } | Fault::CutInEvent { after_events, how } => {
            (cut_stream(*after_events > 0), cut_whole(*how))
        }
        // Such a cut is inside the first event; the others are in a table of their own.
        Fault::CutChunked { how, .. } => (NO_STREAM, cut_whole(*how)),
    }
}

fn cut_stream(after_content: bool) -> Sees {
    if after_content { Sees::Cut } else { NO_STREAM }
}

/// Of an answer that is no stream only HTTP can say that it was cut.
fn cut_whole(how: Cut) -> Sees {
    if how == Cut::CleanEndWithoutTerminal { Sees::Own } else { Sees::Cut }
}

fn of_status(status: u16) -> Sees {
    let code = match status {
        401 | 403 => "upstream_unauthorized",
        402 => "upstream_refused",
        429 => "upstream_rate_limited",
        503 | 529 => "upstream_overloaded",
        408 | 300..=399 | 500.. => "upstream_error",
        _ => return Sees::Word,
    };
    Sees::Next(Some(status), code)
}

/// The status of our own answer with this code.
pub(super) fn status_of(code: &str) -> u16 {
    match code {
        "upstream_unauthorized" | "upstream_refused" | "upstream_error" | "upstream_unreachable" => 502,
        "upstream_rate_limited" => 429,
        "upstream_overloaded" => 503,
        "upstream_timeout" => 504,
        other => panic!("no row for {other}"),
    }
}

/// Whether the upstream is silent at some time, so that only the gateway's patience ends it.
pub(super) fn patience(fault: &Fault) -> Patience {
    match fault {
        Fault::SilentOnAccept
        | Fault::StopReading { .. }
        | Fault::Hang
        | Fault::HoldFirstByte
        | Fault::Drip { from: DripFrom::Head, every_ms: None } => Patience::Brief,
        // This one gets through, however long the machine makes it take.
        Fault::Drip { from: DripFrom::Body, every_ms: Some(SWIFT_MS) } => Patience::Default,
        Fault::HangAfterHead
        | Fault::HoldEveryEvent
        | Fault::HoldMidStream { .. }
        | Fault::HangAfterTerminal
        | Fault::Drip { .. }
        | Fault::LeadThen { then: Then::Silence, .. } => Patience::Short,
        _ => Patience::Default,
    }
}

/// The fault by which the fake itself says, with an honest end, the bytes that come before this one's end.
pub(super) fn so_far(fault: &Fault, stream: bool) -> Fault {
    let how = Cut::CleanEndWithoutTerminal;
    let nothing = Fault::CutChunked { after_bytes: 0, how };
    match fault {
        Fault::Cut { after_events, .. } => Fault::Cut { after_events: *after_events, how },
        Fault::CutInEvent { after_events, .. } => Fault::CutInEvent { after_events: *after_events, how },
        Fault::CutChunked { after_bytes, .. } | Fault::CutBody { after_bytes } => {
            Fault::CutChunked { after_bytes: *after_bytes, how }
        }
        Fault::TerminalWithoutBlankLine { .. } => Fault::TerminalWithoutBlankLine { how },
        Fault::HoldMidStream { after_events } if stream || *after_events > 0 => {
            Fault::Cut { after_events: *after_events, how }
        }
        Fault::HoldMidStream { .. }
        | Fault::HangAfterHead
        | Fault::HoldEveryEvent
        | Fault::LeadThen { then: Then::Silence, .. }
        | Fault::Drip { every_ms: None, .. } => nothing,
        Fault::Malformed(Malformed::ChunkWithoutLineEnd) if !stream => Fault::None,
        Fault::Malformed(Malformed::ChunkWithoutLineEnd) => Fault::Cut { after_events: 2, how },
        Fault::Malformed(_) => Fault::Cut { after_events: 1, how },
        // Only how the bytes come is odd.
        Fault::Drip { .. } | Fault::ChunkExtensions => Fault::None,
        other => other.clone(),
    }
}

/// How much of the request an upstream with this fault has to have seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    Nothing,
    Beginning,
    Whole,
}

pub(super) fn reads(fault: &Fault) -> Reads {
    match fault {
        Fault::Refuse | Fault::SilentOnAccept => Reads::Nothing,
        Fault::StopReading { .. } | Fault::EarlyStatus { .. } | Fault::EarlyStatusThen { .. } => {
            Reads::Beginning
        }
        _ => Reads::Whole,
    }
}

/// Every fault, with the parameters that matter.
pub(super) fn faults(stream: bool, http2: bool) -> Vec<Fault> {
    let statuses = [302, 304, 400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504, 529];
    let mut all: Vec<Fault> = statuses.map(Fault::status).into_iter().collect();
    all.push(Fault::status_with(429, &[("retry-after", "7")]));
    all.extend(Malformed::ALL.map(Fault::Malformed));
    for then in [Early::StopReading, Early::Drain, Early::Close, Early::Reset] {
        all.extend([400, 503].map(|status| Fault::EarlyStatusThen { status, then }));
    }
    for how in [Cut::Fin, Cut::Reset, Cut::CleanEndWithoutTerminal] {
        all.extend([0, 1, 2, 99].map(|after_events| Fault::Cut { after_events, how }));
        all.extend([0, 2, 99].map(|after_events| Fault::CutInEvent { after_events, how }));
        all.extend([0, 20].map(|after_bytes| Fault::CutChunked { after_bytes, how }));
        all.push(Fault::TerminalWithoutBlankLine { how });
    }
    for then in [Then::Stream, Then::Error, Then::Nothing, Then::Silence] {
        all.push(Fault::LeadThen { pings: 2, comments: 2, then });
    }
    all.extend([0, 2].map(|after_events| Fault::HoldMidStream { after_events }));
    all.extend([1, 7, 4096].map(|bytes| Fault::Pieces { bytes }));
    all.extend([0, 20].map(|after_bytes| Fault::CutBody { after_bytes }));
    all.extend(
        ["", "HTTP/1.1", "HTTP/1.1 99 No\r\n\r\n", "<html></html>"].map(|raw| Fault::Raw(raw.to_owned())),
    );
    all.extend(["garbage", ": late\n\n", "data: late\n\n"].map(|late| Fault::AfterTerminal(late.to_owned())));
    for from in [DripFrom::Head, DripFrom::Body] {
        all.push(Fault::Drip { from, every_ms: None });
    }
    if !http2 {
        // There a head is one step.
        all.push(Fault::Drip { from: DripFrom::Head, every_ms: Some(20) });
    }
    // The first event never comes in time; a whole is there as soon as anything of it is.
    all.push(Fault::Drip { from: DripFrom::Body, every_ms: Some(if stream { 20 } else { SWIFT_MS }) });
    all.extend([
        Fault::None,
        Fault::Refuse,
        Fault::SilentOnAccept,
        Fault::StopReading { after_bytes: 10 },
        Fault::Reset,
        Fault::CloseSilently,
        Fault::Hang,
        Fault::HangAfterHead,
        Fault::HoldFirstByte,
        Fault::HoldEveryEvent,
        Fault::StreamErrorFirst,
        Fault::StreamErrorAfter { events: 2 },
        Fault::EarlyStatus { status: 400 },
        Fault::EarlyStatus { status: 503 },
        Fault::Garbage,
        Fault::ErrorAfterTerminal,
        Fault::ResetAfterTerminal,
        Fault::HangAfterTerminal,
        Fault::Informational,
        Fault::EmptyStream,
        Fault::PingsThenStream { pings: 3 },
        Fault::LeadingComments,
        Fault::CommentsBetween,
        Fault::Crlf,
        Fault::BigEvent { bytes: 256 * 1024 },
        Fault::SplitEveryByte,
        Fault::ChunkExtensions,
        Fault::Trailers,
        Fault::Http10KeepAlive,
        Fault::CloseAfterAnswer,
        Fault::ResetAfterAnswer,
        Fault::CloseDelimited,
        Fault::Usage(UsageNumbers::default()),
    ]);
    all
}

/// Between the bytes of an answer that is slow, and never silent.
const SWIFT_MS: u64 = 1;

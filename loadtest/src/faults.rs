//! The ways an answer can go wrong, as data: what a test or a shell script asks for, not how it is done.
//!
//! As JSON (control address) a fault is its name in `snake_case`, with its fields in an object:
//! `"reset"`, `{"status": {"status": 429, "headers": [["retry-after", "2"]]}}`, `{"cut": {"after_events": 2, "how": "fin"}}`.
//!
//! Over HTTP/2 every fault acts on its stream: a close or reset after the head, or in the middle of the body, is
//! `RST_STREAM(INTERNAL_ERROR)`; `Reset` before the head too; `Refuse` is `RST_STREAM(REFUSED_STREAM)` where it was not
//! already met as the connection was accepted. `CloseSilently`, `CloseAfterAnswer` and `ResetAfterAnswer` are about the
//! connection and send `GOAWAY`: the first ends every stream of the connection, the others let them finish. What is
//! only a matter of HTTP/1.1's grammar (`Garbage`, `Raw`, `Malformed`) cannot be said in HTTP/2 and is
//! `RST_STREAM(PROTOCOL_ERROR)`; chunk extensions, HTTP/1.0 and an end at the close are a normal answer there.

use serde::Deserialize;

/// One way for the next answer to go wrong (or merely to be unusual).
///
/// Faults that speak of events act on streams. On an answer that is no stream, the holding and cutting ones act at the
/// middle of the body, the error events become a status 500, and the others leave the answer as it is.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// No fault: a placeholder, so that "the second request fails" can be written.
    None,
    /// An answer with this status. Without a body it has the provider's published error shape for that status.
    Status {
        /// The HTTP status; the phrase follows from it.
        status: u16,
        /// Headers added to the answer; `content-type` replaces the one that would be sent.
        #[serde(default)]
        headers: Vec<(String, String)>,
        /// The body, word for word.
        #[serde(default)]
        body: Option<String>,
    },
    /// Close the connection as soon as it is accepted, without a byte. Only `Selector::Any` can match so early; other
    /// selectors close as soon as they can tell, which may be after the request was read.
    Refuse,
    /// Accept the connection, then neither read nor write; ends when the peer leaves. As with `Refuse`, only
    /// `Selector::Any` can match so early; others stop reading as soon as they can tell.
    SilentOnAccept,
    /// Stop reading after this many bytes of the request body (transfer coding included) and never answer: a half-open
    /// peer. What the kernel, or an HTTP/2 window of 1 MiB, takes in meanwhile is not read. Ends when the peer leaves.
    StopReading {
        /// How many bytes are read at least; fewer where the body is shorter.
        after_bytes: usize,
    },
    /// Read the request, then reset the connection (RST).
    Reset,
    /// Read the request, then close (FIN) without a byte.
    CloseSilently,
    /// Read the request and never answer; ends when the peer leaves.
    Hang,
    /// Send the head of the answer and nothing after it; ends when the peer leaves.
    HangAfterHead,
    /// Wait for `release` before the head.
    HoldFirstByte,
    /// Send the head and some events, then wait for `release`.
    HoldMidStream {
        /// How many events go out before the wait; 0 holds right after the head.
        after_events: usize,
    },
    /// Wait for `release` before every event.
    HoldEveryEvent,
    /// One byte at a time, with a wait before each.
    Drip {
        /// Where it begins. The head of an HTTP/2 answer is one step.
        from: DripFrom,
        /// The wait in milliseconds; without it, for `release`.
        #[serde(default)]
        every_ms: Option<u64>,
    },
    /// 200 and an event stream whose first event is the provider's in-band error.
    StreamErrorFirst,
    /// Some good events, then the provider's in-band error, then a clean end.
    StreamErrorAfter {
        /// How many good events go out first.
        events: usize,
    },
    /// Some events, never the terminal one, and then the end.
    Cut {
        /// How many events go out first; never as many as would reach the terminal one.
        after_events: usize,
        /// How it ends.
        how: Cut,
    },
    /// Some events and the first half of the next, which may be the terminal one, and then the end.
    CutInEvent {
        /// How many whole events go out first.
        after_events: usize,
        /// How it ends.
        how: Cut,
    },
    /// This much of the body in chunks, whether it is a stream or not, and then the end.
    CutChunked {
        /// How many bytes of the body are sent; always fewer than there are.
        after_bytes: usize,
        /// How it ends.
        how: Cut,
    },
    /// A `content-length` larger than what is sent, then FIN.
    CutBody {
        /// How many bytes of the body are sent; always fewer than there are.
        after_bytes: usize,
    },
    /// Answer with the provider's error before the body is read, leave the body unread, close. A `Selector::Model`
    /// can tell only where the path names the model; elsewhere the body is read first.
    EarlyStatus {
        /// The HTTP status.
        status: u16,
    },
    /// The same without `connection: close`, and with another end.
    EarlyStatusThen {
        /// The HTTP status.
        status: u16,
        /// What becomes of the connection and of the body that is still on its way.
        then: Early,
    },
    /// The normal answer, written in a way that a strict reader refuses.
    Malformed(Malformed),
    /// Bytes that are no HTTP, then FIN.
    Garbage,
    /// These bytes as the whole answer, head included, then FIN.
    Raw(String),
    /// The normal stream, and these raw bytes after its terminal event.
    AfterTerminal(String),
    /// The normal stream, and the provider's in-band error after its terminal event.
    ErrorAfterTerminal,
    /// The normal stream whose terminal event lacks the blank line at its end, and then the end.
    TerminalWithoutBlankLine {
        /// How it ends; `CleanEndWithoutTerminal` is a proper last chunk here too.
        how: Cut,
    },
    /// The normal stream up to its terminal event, then a reset instead of the end.
    ResetAfterTerminal,
    /// The normal stream up to its terminal event, then silence; ends when the peer leaves.
    HangAfterTerminal,
    /// 103 Early Hints, then the normal answer.
    Informational,
    /// 200, an event stream, a clean end and no event.
    EmptyStream,
    /// The provider's keep-alive (Anthropic `ping` events, comments elsewhere), then the normal stream.
    PingsThenStream {
        /// How many pings.
        pings: usize,
    },
    /// Comment lines, one of them empty, before the first event.
    LeadingComments,
    /// Pings and comments, and then what `then` says.
    LeadThen {
        /// How many of the provider's pings come first.
        pings: usize,
        /// How many comments come after them.
        comments: usize,
        /// What follows.
        then: Then,
    },
    /// The normal stream with comments between its events, and as the first line of every event.
    CommentsBetween,
    /// The normal stream with CRLF line ends.
    Crlf,
    /// The normal stream whose text is one event of about this many bytes.
    BigEvent {
        /// Length of the text.
        bytes: usize,
    },
    /// Every byte of the body in a write (and on streams a chunk) of its own.
    SplitEveryByte,
    /// The body in pieces of this many bytes, each in a write (and on streams a chunk) of its own.
    Pieces {
        /// Length of a piece; 0 counts as 1.
        bytes: usize,
    },
    /// The normal answer in chunks that carry extensions.
    ChunkExtensions,
    /// The normal answer in chunks, with trailers.
    Trailers,
    /// The normal answer as HTTP/1.0 with a `content-length` and `connection: keep-alive`.
    Http10KeepAlive,
    /// The normal answer without `connection: close`, then FIN all the same: what makes a pooled connection stale.
    CloseAfterAnswer,
    /// The same with a reset.
    ResetAfterAnswer,
    /// Neither `content-length` nor chunks: the body ends when the connection does.
    CloseDelimited,
    /// The normal answer with these token counts.
    Usage(UsageNumbers),
}

impl Fault {
    /// An answer with this status, in the provider's error shape.
    pub fn status(status: u16) -> Self {
        Self::Status { status, headers: Vec::new(), body: None }
    }

    /// A status that says when to come back: `("retry-after", "2")`, a date, `("retry-after-ms", "1500")`.
    pub fn status_with(status: u16, headers: &[(&str, &str)]) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self::Status { status, headers, body: None }
    }
}

/// Values of `retry-after` that mean nothing, or nothing that can be meant; also for `retry-after-ms`, where none of
/// them is better.
pub const ABSURD_RETRY_AFTER: &[&str] = &[
    "",
    "-1",
    "soon",
    "1e9",
    "NaN",
    "0x10",
    "1, 2",
    "99999999999999999999",
    "Fri, 31 Feb 2026 25:61:61 GMT",
    "Thu, 01 Jan 1970 00:00:00 GMT",
    "Fri, 31 Dec 9999 23:59:59 GMT",
];

/// Where dripping begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DripFrom {
    /// With the first byte of the head.
    Head,
    /// With the first byte of the body.
    Body,
}

/// What follows an answer that came before the request body was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Early {
    /// The connection stays open and nothing more is read; ends when the peer leaves.
    StopReading,
    /// The rest of the body is read and dropped, and the connection goes on.
    Drain,
    /// The connection closes at once; where bytes are unread the kernel makes that a reset.
    Close,
    /// The connection is reset.
    Reset,
}

/// What follows leading pings and comments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// The normal stream.
    Stream,
    /// The provider's in-band error, and a clean end.
    Error,
    /// A clean end.
    Nothing,
    /// Silence; ends when the peer leaves.
    Silence,
}

/// Ways to write an answer that a strict reader refuses. The connection stays open where the answer has an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Malformed {
    /// `content-length` and `transfer-encoding: chunked`.
    LengthAndChunked,
    /// Two `content-length` headers that differ.
    TwoLengths,
    /// One `content-length` with a list.
    LengthList,
    /// A negative `content-length`.
    NegativeLength,
    /// A `content-length` with a plus sign.
    SignedLength,
    /// A `content-length` that fits in no integer.
    OverflowingLength,
    /// A `transfer-encoding` other than chunked, then FIN.
    OtherCoding,
    /// A list of transfer codings.
    CodingList,
    /// A header line that goes on in the next.
    ObsFold,
    /// Head lines that end in a bare LF.
    BareLineFeed,
    /// A NUL in a header value.
    NulInHeader,
    /// A head of more than 64 KiB, with an end.
    LongHead,
    /// Header lines without end.
    EndlessHead,
    /// Informational answers (103) without end.
    EndlessInformational,
    /// A 101 that nobody asked for, then silence.
    SwitchingProtocols,
    /// A chunk size that is no number.
    BadChunkSize,
    /// A chunk size that fits in no integer.
    ChunkSizeOverflow,
    /// A chunk that is longer than it says.
    ChunkWithoutLineEnd,
}

impl Malformed {
    /// All of them, for tables.
    pub const ALL: [Self; 18] = [
        Self::LengthAndChunked,
        Self::TwoLengths,
        Self::LengthList,
        Self::NegativeLength,
        Self::SignedLength,
        Self::OverflowingLength,
        Self::OtherCoding,
        Self::CodingList,
        Self::ObsFold,
        Self::BareLineFeed,
        Self::NulInHeader,
        Self::LongHead,
        Self::EndlessHead,
        Self::EndlessInformational,
        Self::SwitchingProtocols,
        Self::BadChunkSize,
        Self::ChunkSizeOverflow,
        Self::ChunkWithoutLineEnd,
    ];
}

/// How a cut stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// An unfinished chunked body, then FIN.
    Fin,
    /// An unfinished chunked body, then RST.
    Reset,
    /// A proper last chunk: HTTP says all is well, only the terminal event is missing.
    CleanEndWithoutTerminal,
}

/// Token counts of an answer, in the way they add up, not in the way one provider reports them.
///
/// `OpenAI` and Gemini report `input` whole and `cache_read` as a part of it; Anthropic reports `input` without
/// `cache_read` and `cache_write`. `reasoning` is a part of `output`; Gemini reports the two apart. `cache_write` is
/// reported by Anthropic only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UsageNumbers {
    /// All input tokens, cached ones included.
    pub input: u64,
    /// Input tokens read from the cache.
    pub cache_read: u64,
    /// Input tokens written to the cache.
    pub cache_write: u64,
    /// All output tokens, reasoning included.
    pub output: u64,
    /// Output tokens spent on reasoning.
    pub reasoning: u64,
}

impl Default for UsageNumbers {
    /// What every unfaulted answer reports; tests may rely on the numbers.
    fn default() -> Self {
        Self { input: 42, cache_read: 10, cache_write: 7, output: 17, reasoning: 5 }
    }
}

//! The ways an answer can go wrong, as data: what a test or a shell script asks for, not how it is done.
//!
//! As JSON (control address) a fault is its name in `snake_case`, with its fields in an object:
//! `"reset"`, `{"status": {"status": 429, "headers": [["retry-after", "2"]]}}`, `{"cut": {"after_events": 2, "how": "fin"}}`.

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
    /// Bytes that are no HTTP, then FIN.
    Garbage,
    /// These bytes as the whole answer, head included, then FIN.
    Raw(String),
    /// The normal stream, and these raw bytes after its terminal event.
    AfterTerminal(String),
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
    /// The normal stream with CRLF line ends.
    Crlf,
    /// The normal stream whose text is one event of about this many bytes.
    BigEvent {
        /// Length of the text.
        bytes: usize,
    },
    /// Every byte of the body in a write (and on streams a chunk) of its own.
    SplitEveryByte,
    /// Neither `content-length` nor chunks: the body ends when the connection does.
    CloseDelimited,
    /// The normal answer with these token counts.
    Usage(UsageNumbers),
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

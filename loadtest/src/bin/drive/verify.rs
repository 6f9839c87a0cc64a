//! Whether an answer is what the provider said, to the byte or the event, or ends as an answer that is not may end.

use crate::answer::{Answer, Ended, Manner};
use crate::events::{Event, events};
use crate::http1;
use crate::question::{Dialect, Operation, Question};
use crate::weather;
use std::collections::HashMap;
use std::io;
use tollgate_loadtest::{Options, Provider, Selector};

/// What a client may conclude from an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All of the provider's answer and nothing else.
    Whole,
    /// A stream's beginning and one error event, with this code (`None`: the provider's own without one).
    StreamError(Option<String>),
    /// A whole's beginning and then a broken connection.
    Aborted,
    /// A whole's beginning and a clean end: right only if the provider ended it so.
    CleanPrefix,
    /// An error in the dialect's shape.
    Refused(Refused),
    /// Nothing at all came.
    Nothing,
    /// We left, and what had come until then was right.
    Left,
    /// What must never be.
    Wrong(String),
}

/// An error as the client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: Option<String>,
    /// Whether it says when to come back, in both headers.
    pub(crate) says_when: bool,
}

/// A right answer.
#[derive(Debug)]
struct Reference {
    bytes: Vec<u8>,
    events: Vec<Event>,
    /// The same under the provider's name for the model: what is no JSON cannot be renamed.
    unnamed: Vec<u8>,
}

/// The right answers to every question; faults that change the text make several.
#[derive(Debug)]
pub(crate) struct References(HashMap<(Operation, &'static str), Vec<Reference>>);

impl References {
    /// Asks a fake provider directly.
    pub(crate) async fn fetch(models: &[&'static str], chunks: usize) -> io::Result<Self> {
        let provider = Provider::start(Options { chunks, ..Options::default() }).await?;
        let mut all = HashMap::new();
        for operation in Operation::ALL {
            for model in models {
                let mut known = Vec::new();
                for fault in weather::texts() {
                    provider.script(Selector::Any, vec![fault]);
                    known.push(Reference::fetch(&provider, operation, model).await?);
                }
                all.insert((operation, *model), known);
            }
        }
        Ok(Self(all))
    }

    /// What an answer is.
    pub(crate) fn judge(&self, question: &Question, answer: &Answer) -> Verdict {
        let operation = question.operation;
        let known = self.0.get(&(operation, question.model)).map_or(&[][..], Vec::as_slice);
        match (answer.ended, answer.status) {
            (Ended::Never, _) => Verdict::Wrong("no end in 180 s".to_owned()),
            (Ended::Nothing, _) => Verdict::Nothing,
            (_, 200) if operation.is_events() && answer.is_events() => stream(known, answer),
            (_, 200) => whole(operation, known, answer),
            (Ended::Left(_), _) => Verdict::Left,
            (Ended::Cut, status) => Verdict::Wrong(format!("an error {status} that breaks off")),
            (Ended::Whole, _) => refusal(operation.dialect(), answer),
        }
    }
}

impl Reference {
    async fn fetch(provider: &Provider, operation: Operation, model: &'static str) -> io::Result<Self> {
        let question = Question { number: 0, operation, model, key: "sk-reference", session: 0, length: 10 };
        let connection = http1::Connection::open(provider.addr()).await?;
        let (answer, _) = connection.ask(&question, Manner::default()).await;
        if (answer.status, answer.ended) != (200, Ended::Whole) {
            let said = String::from_utf8_lossy(&answer.body).into_owned();
            return Err(io::Error::other(format!("no reference for {operation:?}: {said}")));
        }
        let text = String::from_utf8_lossy(&answer.body);
        let unnamed = text.replace(MAPPED.0, MAPPED.1).into_bytes();
        Ok(Self { events: spoken(&answer.body), unnamed, bytes: answer.body })
    }

    /// Whether a whole body is a beginning of this.
    fn begins_with(&self, body: &[u8]) -> bool {
        self.bytes.starts_with(body) || self.unnamed.starts_with(body)
    }
}

/// The events without keep-alives, which may come or not.
fn spoken(body: &[u8]) -> Vec<Event> {
    let mut events = events(body);
    events.retain(|event| !event.is_ping());
    events
}

fn stream(known: &[Reference], answer: &Answer) -> Verdict {
    let mut seen = spoken(&answer.body);
    if known.iter().any(|reference| reference.events == seen) {
        return match answer.ended {
            Ended::Cut => Verdict::Wrong("a whole stream whose end breaks off".to_owned()),
            Ended::Left(_) => Verdict::Left,
            _ => Verdict::Whole,
        };
    }
    if let Some(verdict) = late(known, &seen).filter(|_| answer.ended != Ended::Cut) {
        return if answer.ended == Ended::Whole { verdict } else { Verdict::Left };
    }
    let errors = seen.iter().filter(|event| event.error().is_some()).count();
    let begins = |seen: &[Event]| known.iter().any(|reference| is_beginning(&reference.events, seen));
    if matches!(answer.ended, Ended::Left(_)) {
        // The last event may be torn, and the error event may be the last.
        seen.pop();
        return if begins(&seen) { Verdict::Left } else { wrong("a stream that was left", &answer.body) };
    }
    let last = seen.pop().and_then(|event| event.error());
    match (last, errors, answer.ended) {
        (Some(code), 1, Ended::Whole) if begins(&seen) => Verdict::StreamError(code),
        (_, errors, ended) => {
            wrong(&format!("a stream with {errors} error events that ends as {ended:?}"), &answer.body)
        }
    }
}

/// Gemini has no word for the end: what comes after the last event passes, and an error there is an error.
fn late(known: &[Reference], seen: &[Event]) -> Option<Verdict> {
    let (last, before) = seen.split_last()?;
    let finished = before.last().is_some_and(|event| event.data.contains("\"finishReason\""));
    let all = known.iter().any(|reference| reference.events == before);
    (finished && all).then(|| last.error().map_or(Verdict::Whole, Verdict::StreamError))
}

/// Whether these are the first events, the terminal one not among them; the last may be torn.
fn is_beginning(all: &[Event], seen: &[Event]) -> bool {
    let Some((last, before)) = seen.split_last() else { return true };
    if seen.len() >= all.len() && all.get(before.len()) == Some(last) {
        return false;
    }
    let torn = last.data.trim_end_matches('\u{fffd}');
    all.starts_with(before) && all.get(before.len()).is_some_and(|whole| whole.data.starts_with(torn))
}

fn whole(operation: Operation, known: &[Reference], answer: &Answer) -> Verdict {
    let body = answer.body.as_slice();
    let same = known.iter().any(|reference| reference.bytes == body);
    let begins = weather::RAW_BODY.as_bytes().starts_with(body)
        || known.iter().any(|reference| reference.begins_with(body));
    // An array that grows is no stream of events: what a provider appends to it belongs to it.
    let goes_on = operation == Operation::GenerateArray
        && known.iter().any(|reference| {
            let all = body.starts_with(&reference.bytes) || body.starts_with(&reference.unnamed);
            all || has_error_element(reference, body)
        });
    match answer.ended {
        Ended::Whole if same || goes_on => Verdict::Whole,
        Ended::Whole if begins => Verdict::CleanPrefix,
        Ended::Cut if begins || goes_on => Verdict::Aborted,
        Ended::Left(_) if begins || goes_on => Verdict::Left,
        ended => wrong(&format!("a whole that ends as {ended:?}"), body),
    }
}

/// Whether an array is a beginning of the right one with the provider's error as its last element.
fn has_error_element(reference: &Reference, body: &[u8]) -> bool {
    let at = body.windows(ERROR_ELEMENT.len()).rposition(|window| window == ERROR_ELEMENT);
    let at = at.or(body.starts_with(ERROR_ALONE).then_some(0));
    at.is_some_and(|at| body.ends_with(b"}]") && reference.begins_with(&body[..at]))
}

fn refusal(dialect: Dialect, answer: &Answer) -> Verdict {
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(&answer.body) else {
        return wrong(&format!("an error {} that is no JSON", answer.status), &answer.body);
    };
    let error = &json["error"];
    let shaped = match dialect {
        Dialect::OpenAi => error["type"].is_string(),
        Dialect::Anthropic => json["type"] == "error" && error["type"].is_string(),
        Dialect::Gemini => error["status"].is_string() && error["code"] == answer.status,
    };
    if !shaped || !error["message"].is_string() {
        return wrong(&format!("an error {} of another dialect", answer.status), &answer.body);
    }
    let code = error["details"][0]["reason"].as_str().or(error["code"].as_str()).map(str::to_owned);
    let says_when = answer.header("retry-after").is_some() && answer.header("retry-after-ms").is_some();
    Verdict::Refused(Refused { code, says_when })
}

fn wrong(what: &str, body: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(body);
    let end: String = text.chars().rev().take(SHOWN).collect::<Vec<_>>().into_iter().rev().collect();
    Verdict::Wrong(format!("{what}; the last of its {} bytes: {end:?}", body.len()))
}

const SHOWN: usize = 300;
const ERROR_ALONE: &[u8] = b"[{\"error\":";
const ERROR_ELEMENT: &[u8] = b",\r\n{\"error\":";
/// The model that some channels know by another name.
const MAPPED: (&str, &str) = ("mapped-model", "inner-model");

//! Whole answers of a channel that speaks another protocol, written anew for the client: answers, streams that are
//! collected for a client that does not stream, answers told as a stream, counts and errors.
//!
//! Invariant: nothing has gone down yet, so that what cannot be read is a failure that another candidate may make
//! good.

use super::{Answer, Outcome, Reading, Target};
use crate::failure::{Failure, FailureKind, Sent};
use crate::gateway::guard::clock::within;
use crate::gateway::peer::Upstream;
use crate::gateway::status;
use crate::gateway::wire::AnswerHead;
use crate::protocol::fields::{Fields, names};
use crate::protocol::observe::{self, AnswerFacts, Phase, Progress, StreamObserver, Telling, Told};
use crate::stage::translated::Translation;
use crate::translate::{self, Aggregate, Decoder, Encoder, Ending, Fault, Loss, unified};
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use std::pin::pin;
use std::time::Duration;

/// An answer of ours made of the provider's.
#[derive(Debug)]
pub struct Made {
    /// All of it.
    pub body: Bytes,
    /// What the provider's says.
    pub facts: AnswerFacts,
    /// What of it could not be carried over.
    pub losses: Vec<Loss>,
    /// What it says of itself, where a trace wants it.
    pub told: Option<Told>,
}

/// Writes a held answer anew.
pub(super) fn held(outcome: Outcome, target: &Target<'_>, translation: &Translation) -> Outcome {
    let Outcome::Answered(mut answer) = outcome else { return outcome };
    let status = answer.head.status.as_u16();
    let Reading::Held(seen) = &mut answer.reading else {
        return unreadable(status, "an answer too long to hold");
    };
    let body = seen.take().unwrap_or_default();
    let made = if translation.counts { counted(&body, translation) } else { read(&body, translation) };
    match made {
        Ok((out, losses)) => {
            let facts = observe::answer(target.reads(), &body);
            let told = (target.telling == Telling::Trace).then(|| observe::told(target.reads(), &body));
            answered(answer, translation, Made { body: out.freeze(), facts, losses, told })
        }
        Err(fault) => {
            let said = status::excerpt(&body, WORDS_MAX, target.secrets);
            unreadable(status, &format!("{}: {said}", &*fault.message))
        }
    }
}

type Written = Result<(BytesMut, Vec<Loss>), Fault<'static>>;

fn counted(body: &[u8], translation: &Translation) -> Written {
    let tokens = translate::count_answer(body).ok_or_else(|| Fault::new(502, "no count"))?;
    Ok((translate::count_body(translation.client.protocol, tokens), Vec::new()))
}

fn read(body: &[u8], translation: &Translation) -> Written {
    let answer = translate::answer(translation.into.protocol, body, &translation.back)?;
    Ok(write(&answer, translation))
}

/// As the client asked: whole, or told as the events a stream would have had.
fn write(answer: &unified::Answer<'_>, translation: &Translation) -> (BytesMut, Vec<Loss>) {
    if !translation.stream {
        return translate::answer_body(answer, &translation.client);
    }
    let (mut encoder, mut out) = (Encoder::new(&translation.client), BytesMut::new());
    translate::events(answer, &mut |event| encoder.event(&event, &mut out));
    (out, encoder.losses().to_vec())
}

fn answered(mut answer: Box<Answer>, translation: &Translation, made: Made) -> Outcome {
    answer.head = head(&answer.head, translation);
    answer.reading = Reading::Made(Box::new(made));
    Outcome::Answered(answer)
}

/// The head of an answer of ours: of the provider's only its status and when to come back.
pub(super) fn head(provider: &AnswerHead, translation: &Translation) -> AnswerHead {
    let is_events = translation.stream && translation.client.sse && provider.status.is_success();
    let content_type = if is_events { "text/event-stream; charset=utf-8" } else { "application/json" };
    let mut headers = Fields::of(&[(names::CONTENT_TYPE, content_type)]);
    if let Some(wait) = provider.headers.get(names::RETRY_AFTER) {
        headers.set(names::RETRY_AFTER, wait);
    }
    AnswerHead { status: provider.status, headers }
}

/// Writes an error anew that is the client's to see.
pub(super) fn error(
    mut answer: Box<Answer>,
    body: &[u8],
    target: &Target<'_>,
    translation: &Translation,
) -> Outcome {
    let mut held = vec![Bytes::copy_from_slice(body)];
    status::mask(&mut held, target.secrets);
    let fault = Fault::read(answer.head.status.as_u16(), &held.concat());
    let protocol = translation.client.protocol;
    answer.head.status =
        StatusCode::from_u16(fault.client_status(protocol)).unwrap_or(StatusCode::BAD_GATEWAY);
    let body = fault.body(protocol, &format!("req_{}", translation.client.id)).freeze();
    // Where a keep-alive has opened the stream, what is told is taken from here.
    answer.held = vec![body.clone()];
    let made = Made { body, facts: AnswerFacts::default(), losses: Vec::new(), told: None };
    answered(answer, translation, made)
}

/// Collects a stream for a client that does not stream.
pub(super) async fn collected(
    upstream: &Upstream,
    mut answer: Box<Answer>,
    target: &Target<'_>,
    translation: &Translation,
) -> Outcome {
    let mut collector = Collector::new(target, translation);
    let status = answer.head.status.as_u16();
    let mut share = target.bodies.share();
    let mut wait = Duration::from_nanos(answer.deadline.saturating_sub(upstream.lately()));
    loop {
        let chunk = match within(wait, pin!(answer.wire.read())).await {
            Ok(Ok(Some(chunk))) if share.grow(chunk.len()) => chunk,
            Ok(Ok(Some(_))) => return unreadable(status, "an answer too long to hold"),
            Ok(Ok(None)) => break,
            Ok(Err(lost)) => return failed(status, FailureKind::Reset, &lost.detail),
            Err(_) if collector.has_begun() => {
                return failed(status, FailureKind::IdleTimeout, "the answer went silent (idle_timeout)");
            }
            Err(_) => {
                return failed(status, FailureKind::FirstByteTimeout, "no event within first_byte_timeout");
            }
        };
        if let Some(words) = collector.feed(&chunk) {
            return refused(status, &words, target);
        }
        if collector.is_over() {
            break;
        }
        if collector.has_begun() {
            wait = target.channel.timeouts.idle;
        }
    }
    match collector.finish() {
        Ok((whole, facts, told)) => {
            let (out, losses) = write(&whole, translation);
            answered(answer, translation, Made { body: out.freeze(), facts, losses, told })
        }
        Err(NotWhole::Cut) => failed(status, FailureKind::Reset, "the stream broke off before its end"),
        Err(NotWhole::Error(words)) => refused(status, &words, target),
    }
}

/// A stream on its way to become a whole.
struct Collector {
    observer: StreamObserver,
    decoder: Decoder,
    aggregate: Aggregate,
    /// What would pass; nobody sees it.
    unseen: Vec<Bytes>,
}

/// Why there is no whole.
enum NotWhole {
    Cut,
    Error(Vec<u8>),
}

impl Collector {
    fn new(target: &Target<'_>, translation: &Translation) -> Self {
        Self {
            observer: StreamObserver::new(target.reads(), None).telling(target.telling),
            decoder: Decoder::new(translation.into.protocol, &translation.back),
            aggregate: Aggregate::default(),
            unseen: Vec::new(),
        }
    }

    /// Takes more; what the provider said where its first event is an error.
    fn feed(&mut self, chunk: &Bytes) -> Option<Vec<u8>> {
        let progress = self.observer.feed(chunk, &mut self.unseen);
        self.unseen.clear();
        if let Progress::ErrorFirst(words) = progress {
            return Some(words);
        }
        let aggregate = &mut self.aggregate;
        self.decoder.feed(chunk, &mut |event| aggregate.event(event));
        None
    }

    fn has_begun(&self) -> bool {
        self.observer.phase() != Phase::Waiting
    }

    fn is_over(&self) -> bool {
        self.observer.is_over() || self.decoder.is_over()
    }

    fn finish(mut self) -> Result<(unified::Answer<'static>, AnswerFacts, Option<Told>), NotWhole> {
        if let Progress::ErrorFirst(words) = self.observer.finish(&mut self.unseen) {
            return Err(NotWhole::Error(words));
        }
        let aggregate = &mut self.aggregate;
        let ending = self.decoder.finish(&mut |event| aggregate.event(event));
        let whole =
            self.aggregate.finish().map_err(|fault| NotWhole::Error(fault.message.as_bytes().to_vec()))?;
        if ending == Ending::Cut {
            return Err(NotWhole::Cut);
        }
        let facts = AnswerFacts {
            response: None,
            usage: self.observer.usage(),
            unreported: self.observer.unreported(),
            signatures: self.observer.signatures().to_vec(),
            ..AnswerFacts::default()
        };
        Ok((whole, facts, self.observer.told().cloned()))
    }
}

fn refused(status: u16, words: &[u8], target: &Target<'_>) -> Outcome {
    let kind = status::stream_failure_kind(target.dialect(), words, target.mapped());
    let detail = status::detail(words, target.secrets);
    Outcome::Failed(Failure { status: Some(status), ..Failure::new(kind, status::progress(kind), detail) })
}

fn unreadable(status: u16, detail: &str) -> Outcome {
    failed(status, FailureKind::Garbage, detail)
}

fn failed(status: u16, kind: FailureKind, detail: &str) -> Outcome {
    Outcome::Failed(Failure { status: Some(status), ..Failure::new(kind, Sent::MaybeBegun, detail) })
}

/// Enough of an answer that cannot be read to see what it is.
const WORDS_MAX: usize = 512;

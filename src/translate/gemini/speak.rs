//! A stream of generateContent, spoken: as events (`alt=sse`), or as one JSON array. A call is said when it is whole,
//! since the protocol has no pieces of one.

use super::super::fault::Fault;
use super::super::json::{Object, Raw, object};
use super::super::loss::Losses;
use super::super::unified::{Call, Citation, Event, Input, Opened, Protocol, Signature, Source, Stop};
use super::super::{Client, logprobs, stream, usage, words};
use super::answer::{called, carried, grounding, stop_word, tail};
use crate::usage::Usage;
use bytes::BytesMut;

/// The input of one call; more than a model says in one.
const CALL_BYTES_MAX: usize = 8 << 20;
/// The thoughts that go along under a seal; past that they go without their signature.
const THOUGHTS_BYTES_MAX: usize = 1 << 20;
/// More than any answer cites.
const CITATIONS_MAX: usize = 1024;

/// What was said so far.
#[derive(Debug)]
pub(in crate::translate) struct Speaker {
    client: Client,
    part: Part,
    pending: Option<String>,
    /// What the open thinking says, as far as it goes along with its signature.
    thoughts: String,
    /// The probabilities of the tokens of the text that comes next.
    told: Option<Raw<'static>>,
    citations: Vec<Citation<'static>>,
    usage: Option<Usage>,
    stop: Stop<'static>,
    begun: bool,
    over: bool,
}

#[derive(Debug)]
enum Part {
    None,
    Text,
    Thought,
    Call { id: String, name: String, input: String, free: bool },
}

impl Speaker {
    pub(in crate::translate) fn new(client: &Client) -> Self {
        Self {
            client: client.clone(),
            part: Part::None,
            pending: None,
            thoughts: String::new(),
            told: None,
            citations: Vec::new(),
            usage: None,
            stop: Stop::End,
            begun: false,
            over: false,
        }
    }

    pub(in crate::translate) fn event(&mut self, event: &Event<'_>, losses: &mut Losses, out: &mut BytesMut) {
        if self.over {
            return;
        }
        match event {
            Event::Start { .. } => {}
            Event::Open(opened) => self.open(opened, out),
            Event::Text(text) => self.text(text, out),
            Event::Sign(signature) => self.sign(signature, losses, out),
            Event::Cite(citation) => {
                if self.citations.len() < CITATIONS_MAX {
                    self.citations.push(citation.clone().into_owned());
                }
            }
            Event::Logprobs(told) => self.told = Some(logprobs::joined(self.told.take(), told)),
            Event::Close => self.close(out),
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Stop(stop) => self.stop = stop.clone().into_owned(),
            Event::Error(fault) => self.fail(fault, out),
            Event::End => self.end(losses, out),
        }
    }

    fn open(&mut self, opened: &Opened<'_>, out: &mut BytesMut) {
        self.part = match opened {
            Opened::Text | Opened::Refusal => Part::Text,
            Opened::Reasoning => {
                self.thoughts.clear();
                Part::Thought
            }
            Opened::Call { id, name, free } => Part::Call {
                id: (**id).to_owned(),
                name: (**name).to_owned(),
                input: String::new(),
                free: *free,
            },
            Opened::Image(media) => {
                if let Source::Base64(data) = &media.source {
                    self.say(out, |part| {
                        part.object("inlineData", |inline| {
                            inline.text("mimeType", media.mime_or("image/png")).text("data", data);
                        });
                    });
                }
                Part::None
            }
        };
    }

    fn sign(&mut self, signature: &Signature<'_>, losses: &mut Losses, out: &mut BytesMut) {
        let thoughts = std::mem::take(&mut self.thoughts);
        let is_whole = thoughts.len() <= THOUGHTS_BYTES_MAX;
        if !is_whole {
            losses.dropped("signature", "more thoughts than are carried with it");
        }
        let carried = is_whole.then(|| carried(&thoughts, signature)).flatten();
        if let Some(earlier) = std::mem::replace(&mut self.pending, carried) {
            self.say(out, |part| {
                part.text("text", "").text("thoughtSignature", &earlier);
            });
        }
    }

    fn text(&mut self, text: &str, out: &mut BytesMut) {
        match &mut self.part {
            Part::None => {}
            Part::Text => {
                let signature = self.pending.take();
                self.say(out, |part| {
                    part.text("text", text).some("thoughtSignature", signature.as_deref());
                });
            }
            Part::Thought => {
                if self.thoughts.len() <= THOUGHTS_BYTES_MAX {
                    self.thoughts.push_str(text);
                }
                self.say(out, |part| {
                    part.text("text", text).flag("thought", true);
                });
            }
            Part::Call { input, .. } => {
                input.push_str(text);
                if input.len() > CALL_BYTES_MAX {
                    self.fail(&Fault::new(502, "The AI provider's call of a tool is too long."), out);
                }
            }
        }
    }

    fn close(&mut self, out: &mut BytesMut) {
        let Part::Call { id, name, input, free } = std::mem::replace(&mut self.part, Part::None) else {
            return;
        };
        let input =
            if free { Input::Text { text: input.into(), free } } else { words::arguments(input.into()) };
        let call = Call { id: id.into(), name: name.into(), input };
        let signature = self.pending.take();
        self.say(out, |part| {
            called(&call, part);
            part.some("thoughtSignature", signature.as_deref());
        });
    }

    fn say(&mut self, out: &mut BytesMut, write: impl FnOnce(&mut Object<'_>)) {
        let client = self.client.clone();
        let told = if matches!(self.part, Part::Text) { self.told.take() } else { None };
        self.chunk(out, |chunk| {
            chunk.array("candidates", |list| {
                list.object(|candidate| {
                    candidate.object("content", |content| {
                        content.array("parts", |parts| parts.object(write)).text("role", "model");
                    });
                    candidate.number("index", 0);
                    if let Some(told) = &told {
                        logprobs::google(told, candidate);
                    }
                });
            });
            tail(&client, chunk);
        });
    }

    fn end(&mut self, losses: &mut Losses, out: &mut BytesMut) {
        let (client, signature) = (self.client.clone(), self.pending.take());
        let (stop, usage) = (stop_word(&self.stop), self.usage.unwrap_or_default());
        let (citations, told) = (std::mem::take(&mut self.citations), self.told.take());
        self.chunk(out, |chunk| {
            chunk.array("candidates", |list| {
                list.object(|candidate| {
                    candidate.object("content", |content| {
                        content.array("parts", |parts| {
                            parts.object(|part| {
                                part.text("text", "").some("thoughtSignature", signature.as_deref());
                            });
                        });
                        content.text("role", "model");
                    });
                    candidate.text("finishReason", stop).number("index", 0);
                    grounding(&citations.iter().collect::<Vec<_>>(), candidate, losses);
                    if let Some(told) = &told {
                        logprobs::google(told, candidate);
                    }
                });
            });
            chunk.object("usageMetadata", |of| usage::gemini(&usage, of));
            tail(&client, chunk);
        });
        self.finish(out);
    }

    fn fail(&mut self, fault: &Fault<'_>, out: &mut BytesMut) {
        let id = std::sync::Arc::clone(&self.client.id);
        self.chunk(out, |body| fault.members(Protocol::Gemini, &id, body));
        self.finish(out);
    }

    fn finish(&mut self, out: &mut BytesMut) {
        self.over = true;
        if !self.client.sse {
            out.extend_from_slice(b"]");
        }
    }

    fn chunk(&mut self, out: &mut BytesMut, write: impl FnOnce(&mut Object<'_>)) {
        let first = !std::mem::replace(&mut self.begun, true);
        if self.client.sse {
            return stream::sse(out, None, write);
        }
        out.extend_from_slice(if first { b"[" } else { b",\r\n" });
        object(out, write);
    }
}

//! A stream of chat completions, spoken: chunks of one shape, the usage in one of its own, `[DONE]`.

use super::super::json::{Object, Raw, array, more};
use super::super::loss::Losses;
use super::super::unified::{Event, FreeCalls, Opened, Stop};
use super::super::{Client, logprobs, stream, usage};
use super::answer::{annotation, stop_word};
use crate::usage::Usage;
use bytes::BytesMut;

/// What was said so far.
#[derive(Debug)]
pub(in crate::translate) struct Speaker {
    client: Client,
    /// What every chunk of the answer begins with, up to its one choice.
    head: Box<[u8]>,
    part: Part,
    calls: u64,
    /// How many characters of text.
    characters: usize,
    part_from: usize,
    /// The probabilities of the tokens of the text that comes next.
    told: Option<Raw<'static>>,
    usage: Option<Usage>,
    begun: bool,
}

/// The part that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    None,
    Text,
    Refusal,
    Reasoning,
    Call { free: bool, said: bool },
}

impl Speaker {
    pub(in crate::translate) fn new(client: &Client) -> Self {
        Self {
            client: client.clone(),
            head: begun(client),
            part: Part::None,
            calls: 0,
            characters: 0,
            part_from: 0,
            told: None,
            usage: None,
            begun: false,
        }
    }

    pub(in crate::translate) fn event(&mut self, event: &Event<'_>, losses: &mut Losses, out: &mut BytesMut) {
        match event {
            Event::Start { .. } => self.begin(out),
            Event::Open(opened) => self.open(opened, losses, out),
            Event::Text(text) => self.text(text, out),
            Event::Sign(_) => {
                losses.dropped("signature", "chat completions has no place for signed thinking");
            }
            Event::Cite(citation) => {
                let at = (self.part_from, self.characters);
                let mut list = BytesMut::new();
                array(&mut list, |list| annotation(citation, at, list, losses));
                if list.len() > "[]".len() {
                    self.delta(out, |delta| {
                        delta.value("annotations", |out| out.extend_from_slice(&list));
                    });
                }
            }
            Event::Logprobs(told) => self.told = Some(logprobs::joined(self.told.take(), told)),
            Event::Close => {
                self.tell("", out);
                // Clients read the arguments of a call that takes nothing, too.
                if self.part == (Part::Call { free: false, said: false }) {
                    self.text("{}", out);
                }
                self.part = Part::None;
            }
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Stop(stop) => self.stop(stop, out),
            Event::Error(fault) => stream::sse(out, None, |body| {
                body.object("error", |error| fault.openai(error));
            }),
            Event::End => self.end(out),
        }
    }

    fn begin(&mut self, out: &mut BytesMut) {
        self.begun = true;
        self.delta(out, |delta| {
            delta.text("role", "assistant").text("content", "").null("refusal");
        });
    }

    fn open(&mut self, opened: &Opened<'_>, losses: &mut Losses, out: &mut BytesMut) {
        self.part_from = self.characters;
        self.part = match opened {
            Opened::Text => Part::Text,
            Opened::Refusal => Part::Refusal,
            Opened::Reasoning => Part::Reasoning,
            Opened::Call { free, .. } => Part::Call { free: *free, said: false },
            Opened::Image(_) => {
                losses.dropped("content", "chat completions answers in text alone");
                Part::None
            }
        };
        let Opened::Call { id, name, free } = opened else { return };
        self.calls += 1;
        let (index, (kind, input)) = (self.calls - 1, self.words(*free));
        self.delta(out, |delta| {
            delta.array("tool_calls", |list| {
                list.object(|call| {
                    call.number("index", index).text("id", id).text("type", kind).object(kind, |of| {
                        of.text("name", name).text(input, "");
                    });
                });
            });
        });
    }

    /// What a call and its input are called.
    fn words(&self, free: bool) -> (&'static str, &'static str) {
        if free && self.client.free_calls == FreeCalls::Custom {
            ("custom", "input")
        } else {
            ("function", "arguments")
        }
    }

    fn text(&mut self, text: &str, out: &mut BytesMut) {
        match self.part {
            Part::None => {}
            Part::Text => {
                self.characters += text.chars().count();
                if self.told.is_some() {
                    return self.tell(text, out);
                }
                self.delta(out, |delta| {
                    delta.text("content", text);
                });
            }
            Part::Refusal => self.delta(out, |delta| {
                delta.text("refusal", text);
            }),
            Part::Reasoning => self.delta(out, |delta| {
                delta.text("reasoning_content", text);
            }),
            Part::Call { free, .. } => {
                self.part = Part::Call { free, said: true };
                let (index, (kind, input)) = (self.calls - 1, self.words(free));
                self.delta(out, |delta| {
                    delta.array("tool_calls", |list| {
                        list.object(|call| {
                            call.number("index", index).object(kind, |of| {
                                of.text(input, text);
                            });
                        });
                    });
                });
            }
        }
    }

    /// More text, and how probable its tokens were.
    fn tell(&mut self, text: &str, out: &mut BytesMut) {
        let Some(told) = self.told.take() else { return };
        self.chunk(out, |choice| {
            choice.object("delta", |delta| {
                delta.text("content", text);
            });
            choice.object("logprobs", |of| {
                of.array("content", |list| logprobs::openai(&told, list)).null("refusal");
            });
            choice.null("finish_reason");
        });
    }

    fn stop(&mut self, stop: &Stop<'_>, out: &mut BytesMut) {
        self.chunk(out, |choice| {
            choice.object("delta", |_| {}).null("logprobs").text("finish_reason", stop_word(stop));
        });
    }

    fn end(&mut self, out: &mut BytesMut) {
        if self.client.stream_usage {
            let usage = self.usage.unwrap_or_default();
            let client = &self.client;
            stream::sse(out, None, |chunk| {
                head(client, chunk);
                chunk.array("choices", |_| {}).object("usage", |of| usage::chat(&usage, of));
            });
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn delta(&self, out: &mut BytesMut, write: impl FnOnce(&mut Object<'_>)) {
        self.chunk(out, |choice| {
            choice.object("delta", write).null("logprobs").null("finish_reason");
        });
    }

    fn chunk(&self, out: &mut BytesMut, write: impl FnOnce(&mut Object<'_>)) {
        out.extend_from_slice(&self.head);
        more(out, write);
        let end: &[u8] = if self.client.stream_usage { b"}],\"usage\":null}\n\n" } else { b"}]}\n\n" };
        out.extend_from_slice(end);
    }
}

fn begun(client: &Client) -> Box<[u8]> {
    let mut out = BytesMut::new();
    stream::sse(&mut out, None, |chunk| head(client, chunk));
    let head = out.strip_suffix(b"}\n\n").unwrap_or_default();
    [head, b",\"choices\":[{\"index\":0"].concat().into()
}

fn head(client: &Client, chunk: &mut Object<'_>) {
    chunk.pieces("id", &["chatcmpl-", &client.id]).text("object", "chat.completion.chunk");
    chunk.number("created", client.created).text("model", &client.model);
}

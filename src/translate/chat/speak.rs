//! A stream of chat completions, spoken: chunks of one shape, the usage in one of its own, `[DONE]`.

use super::super::json::{Object, array, object};
use super::super::loss::Losses;
use super::super::unified::{Event, Opened, Stop};
use super::super::{Client, stream, usage};
use super::answer::{annotation, stop_word};
use crate::usage::Usage;
use bytes::BytesMut;

/// What was said so far.
#[derive(Debug)]
pub(in crate::translate) struct Speaker {
    client: Client,
    part: Part,
    calls: u64,
    /// How many characters of text.
    characters: usize,
    part_from: usize,
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
            part: Part::None,
            calls: 0,
            characters: 0,
            part_from: 0,
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
            Event::Logprobs(raw) => self.chunk(out, |choice| {
                choice.object("delta", |_| {}).object("logprobs", |told| {
                    told.raw("content", raw).null("refusal");
                });
                choice.null("finish_reason");
            }),
            Event::Close => {
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
        let (index, kind) = (self.calls - 1, if *free { "custom" } else { "function" });
        self.delta(out, |delta| {
            delta.array("tool_calls", |list| {
                list.object(|call| {
                    call.number("index", index).text("id", id).text("type", kind).object(kind, |of| {
                        of.text("name", name).text(if *free { "input" } else { "arguments" }, "");
                    });
                });
            });
        });
    }

    fn text(&mut self, text: &str, out: &mut BytesMut) {
        match self.part {
            Part::None => {}
            Part::Text => {
                self.characters += text.chars().count();
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
                let (index, kind) = (self.calls - 1, if free { "custom" } else { "function" });
                self.delta(out, |delta| {
                    delta.array("tool_calls", |list| {
                        list.object(|call| {
                            call.number("index", index).object(kind, |of| {
                                of.text(if free { "input" } else { "arguments" }, text);
                            });
                        });
                    });
                });
            }
        }
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
        stream::sse(out, None, |chunk| {
            head(&self.client, chunk);
            chunk.value("choices", |out| {
                out.extend_from_slice(b"[");
                object(out, |choice| {
                    choice.number("index", 0);
                    write(choice);
                });
                out.extend_from_slice(b"]");
            });
            if self.client.stream_usage {
                chunk.null("usage");
            }
        });
    }
}

fn head(client: &Client, chunk: &mut Object<'_>) {
    chunk.pieces("id", &["chatcmpl-", &client.id]).text("object", "chat.completion.chunk");
    chunk.number("created", client.created).text("model", &client.model);
}

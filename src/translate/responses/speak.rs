//! A stream of responses, spoken: numbered events, items with a beginning and an end, and the whole response again
//! at the end.
//!
//! The protocol repeats what it said: each part when it is done, everything in `response.completed`. So it is kept,
//! up to [`REPEATED_BYTES_MAX`].

use super::super::fault::Fault;
use super::super::json::{Array, Object, Raw, array, more, number, object};
use super::super::loss::Losses;
use super::super::unified::{Citation, Event, Opened, Signature, Signer, Stop};
use super::super::{Client, logprobs, stream};
use super::output::{Called, Envelope, annotation, image, item_id, message, output_text, reasoning};
use super::turns::parts_of;
use crate::usage::Usage;
use bytes::BytesMut;

/// Everything a model can say in its longest answer, several times over; pictures are the largest things said.
pub(super) const REPEATED_BYTES_MAX: usize = 32 << 20;

/// What was said so far.
#[derive(Debug)]
pub(in crate::translate) struct Speaker {
    client: Client,
    sequence: u64,
    index: u64,
    part: Part,
    item: String,
    text: String,
    citations: Vec<Citation<'static>>,
    signature: Option<Signature<'static>>,
    /// The probabilities of the tokens of the text that comes next, and of all of the part's.
    told: [Option<Raw<'static>>; 2],
    /// Calls: id and name.
    called: (String, String),
    /// The items that are done, as they stand in the list.
    output: BytesMut,
    usage: Option<Usage>,
    stop: Stop<'static>,
    over: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    None,
    Text,
    Refusal,
    /// Whether its summary has begun.
    Reasoning {
        begun: bool,
    },
    Call {
        free: bool,
    },
}

impl Speaker {
    pub(in crate::translate) fn new(client: &Client) -> Self {
        Self {
            client: client.clone(),
            sequence: 0,
            index: 0,
            part: Part::None,
            item: String::new(),
            text: String::new(),
            citations: Vec::new(),
            signature: None,
            told: [None, None],
            called: Default::default(),
            output: BytesMut::new(),
            usage: None,
            stop: Stop::End,
            over: false,
        }
    }

    pub(in crate::translate) fn event(&mut self, event: &Event<'_>, losses: &mut Losses, out: &mut BytesMut) {
        if self.over {
            return;
        }
        match event {
            Event::Start { .. } => {
                let envelope = |of: &mut Object<'_>, client: &Client| {
                    of.object("response", |response| Envelope::begun(client).write(response, |_| {}));
                };
                let client = self.client.clone();
                self.say("response.created", out, |of| envelope(of, &client));
                self.say("response.in_progress", out, |of| envelope(of, &client));
            }
            Event::Open(opened) => self.open(opened, out),
            Event::Text(text) => self.add(text, out),
            Event::Logprobs(told) => {
                self.told = std::mem::take(&mut self.told).map(|before| Some(logprobs::joined(before, told)));
            }
            Event::Sign(signature) => {
                let signature =
                    Signature { signer: signature.signer, data: signature.data.clone().into_owned() };
                self.signature = Some(signature);
            }
            Event::Cite(citation) => self.cite(citation, losses, out),
            Event::Close => self.close(losses, out),
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Stop(stop) => self.stop = stop.clone().into_owned(),
            Event::Error(fault) => self.fail(fault, out),
            Event::End => self.end(out),
        }
        let told: usize = self.told.iter().flatten().map(|told| told.json().len()).sum();
        if self.output.len() + self.text.len() + told > REPEATED_BYTES_MAX {
            self.fail(
                &Fault::new(502, "The AI provider's answer is too long to be repeated at its end."),
                out,
            );
        }
    }

    fn open(&mut self, opened: &Opened<'_>, out: &mut BytesMut) {
        self.text.clear();
        self.citations.clear();
        self.signature = None;
        self.told = [None, None];
        let (part, kind) = match opened {
            Opened::Text => (Part::Text, "msg"),
            Opened::Refusal => (Part::Refusal, "msg"),
            Opened::Reasoning => (Part::Reasoning { begun: false }, "rs"),
            Opened::Call { free: true, .. } => (Part::Call { free: true }, "ctc"),
            Opened::Call { .. } => (Part::Call { free: false }, "fc"),
            Opened::Image(_) => (Part::None, "ig"),
        };
        self.part = part;
        self.item = item_id(&self.client, kind, self.index);
        let item = self.item.clone();
        match opened {
            Opened::Text | Opened::Refusal => {
                self.added(out, |of| message(&item, "in_progress", |_| {}, of));
                let is_text = part == Part::Text;
                self.at("response.content_part.added", out, |of| {
                    of.number("content_index", 0).object("part", |part| {
                        if is_text {
                            let none = &mut Losses::new(super::super::unified::Protocol::Responses);
                            output_text("", &[], None, part, none);
                        } else {
                            part.text("type", "refusal").text("refusal", "");
                        }
                    });
                });
            }
            // Whether it goes under an id of its own is known once it is signed.
            Opened::Reasoning => {}
            Opened::Call { id, name, free } => {
                self.called = ((**id).to_owned(), (**name).to_owned());
                let client = self.client.clone();
                let call = Called { item: &item, id, name, free: *free };
                self.added(out, |of| call.write(&client, "in_progress", "", of));
            }
            Opened::Image(media) => {
                self.added(out, |of| {
                    of.text("id", &item).text("type", "image_generation_call").text("status", "in_progress");
                    of.null("result");
                });
                self.finish(out, |of| image(&item, media, of));
            }
        }
    }

    fn think(&mut self, out: &mut BytesMut) {
        if self.part != (Part::Reasoning { begun: false }) {
            return;
        }
        self.part = Part::Reasoning { begun: true };
        let item = self.item.clone();
        self.added(out, |of| reasoning(&item, "", None, of));
        self.at("response.reasoning_summary_part.added", out, |of| {
            of.number("summary_index", 0).object("part", |part| {
                part.text("type", "summary_text").text("text", "");
            });
        });
    }

    fn add(&mut self, text: &str, out: &mut BytesMut) {
        self.text.push_str(text);
        match self.part {
            Part::None => {}
            Part::Text => {
                let told = self.told[0].take();
                self.at("response.output_text.delta", out, |of| {
                    of.number("content_index", 0).text("delta", text).array("logprobs", |list| {
                        if let Some(told) = &told {
                            logprobs::openai(told, list);
                        }
                    });
                });
            }
            Part::Refusal => self.at("response.refusal.delta", out, |of| {
                of.number("content_index", 0).text("delta", text);
            }),
            Part::Reasoning { .. } => {
                self.think(out);
                self.at("response.reasoning_summary_text.delta", out, |of| {
                    of.number("summary_index", 0).text("delta", text);
                });
            }
            Part::Call { free } => {
                let name = if free {
                    "response.custom_tool_call_input.delta"
                } else {
                    "response.function_call_arguments.delta"
                };
                self.at(name, out, |of| {
                    of.text("delta", text);
                });
            }
        }
    }

    fn cite(&mut self, citation: &Citation<'_>, losses: &mut Losses, out: &mut BytesMut) {
        let mut list = BytesMut::new();
        array(&mut list, |list| annotation(citation, self.text.chars().count(), list, losses));
        let written = list.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or_default();
        if written.is_empty() {
            return;
        }
        let at = u64::try_from(self.citations.len()).unwrap_or(0);
        self.at("response.output_text.annotation.added", out, |of| {
            of.number("content_index", 0).number("annotation_index", at);
            of.value("annotation", |out| out.extend_from_slice(written));
        });
        self.citations.push(citation.clone().into_owned());
    }

    fn close(&mut self, losses: &mut Losses, out: &mut BytesMut) {
        let (text, item) = (std::mem::take(&mut self.text), self.item.clone());
        match std::mem::replace(&mut self.part, Part::None) {
            Part::None => {}
            Part::Text => {
                let citations = std::mem::take(&mut self.citations);
                let told = std::mem::take(&mut self.told)[1].take();
                self.at("response.output_text.done", out, |of| {
                    of.number("content_index", 0).text("text", &text).array("logprobs", |list| {
                        if let Some(told) = &told {
                            logprobs::openai(told, list);
                        }
                    });
                });
                self.part_done(out, |part| output_text(&text, &citations, told.as_ref(), part, losses));
                let mut none = losses.clone();
                self.finish(out, |of| {
                    let part = |list: &mut Array<'_>| {
                        list.object(|part| output_text(&text, &citations, told.as_ref(), part, &mut none));
                    };
                    message(&item, "completed", part, of);
                });
            }
            Part::Refusal => {
                self.at("response.refusal.done", out, |of| {
                    of.number("content_index", 0).text("refusal", &text);
                });
                let refusal = |part: &mut Object<'_>| {
                    part.text("type", "refusal").text("refusal", &text);
                };
                self.part_done(out, refusal);
                self.finish(out, |of| message(&item, "completed", |list| list.object(refusal), of));
            }
            Part::Reasoning { begun } => self.thought(&text, begun, out),
            Part::Call { free } => self.called(&text, free, out),
        }
    }

    fn thought(&mut self, text: &str, begun: bool, out: &mut BytesMut) {
        let signature = self.signature.take();
        if !begun && signature.is_none() {
            return;
        }
        if begun {
            self.at("response.reasoning_summary_text.done", out, |of| {
                of.number("summary_index", 0).text("text", text);
            });
            self.at("response.reasoning_summary_part.done", out, |of| {
                of.number("summary_index", 0).object("part", |part| {
                    part.text("type", "summary_text").text("text", text);
                });
            });
        } else {
            if let Some(Signature { signer: Signer::OpenAi, data }) = &signature {
                parts_of(data).0.clone_into(&mut self.item);
            }
            let item = self.item.clone();
            self.added(out, |of| reasoning(&item, "", None, of));
        }
        let item = self.item.clone();
        self.finish(out, |of| reasoning(&item, text, signature.as_ref(), of));
    }

    fn called(&mut self, text: &str, free: bool, out: &mut BytesMut) {
        // A call without arguments has an empty object of them.
        let text = if text.is_empty() && !free { "{}" } else { text };
        let (name, member) = if free {
            ("response.custom_tool_call_input.done", "input")
        } else {
            ("response.function_call_arguments.done", "arguments")
        };
        let ((id, tool), item, client) =
            (std::mem::take(&mut self.called), self.item.clone(), self.client.clone());
        self.at(name, out, |of| {
            of.text(member, text);
        });
        let call = Called { item: &item, id: &id, name: &tool, free };
        self.finish(out, |of| call.write(&client, "completed", text, of));
    }

    fn fail(&mut self, fault: &Fault<'_>, out: &mut BytesMut) {
        let client = self.client.clone();
        let code = match fault.openai_code() {
            // What Codex acts upon.
            Some(
                code @ ("rate_limit_exceeded"
                | "insufficient_quota"
                | "context_length_exceeded"
                | "server_is_overloaded"),
            ) => code,
            _ if (400..500).contains(&fault.status) => "invalid_prompt",
            _ => "server_error",
        };
        let done = self.output.split();
        let error = Some((code, &*fault.message));
        let envelope = Envelope { client: &client, status: "failed", reason: None, usage: self.usage, error };
        self.say("response.failed", out, |of| {
            of.object("response", |response| envelope.write(response, |list| list.members(&done)));
        });
        self.say("error", out, |of| {
            of.text_or_null("code", fault.openai_code()).text("message", &fault.message);
            of.text_or_null("param", fault.param.as_deref()).object("error", |error| fault.openai(error));
        });
        self.over = true;
    }

    fn end(&mut self, out: &mut BytesMut) {
        let (client, done) = (self.client.clone(), self.output.split());
        let envelope = Envelope::stopped(&client, &self.stop, self.usage);
        let completed = envelope.status == "completed";
        let name = if completed { "response.completed" } else { "response.incomplete" };
        self.say(name, out, |of| {
            of.object("response", |response| envelope.write(response, |list| list.members(&done)));
        });
        self.over = true;
    }

    fn added(&mut self, out: &mut BytesMut, item: impl FnOnce(&mut Object<'_>)) {
        let index = self.index;
        self.say("response.output_item.added", out, |of| {
            of.number("output_index", index).object("item", item);
        });
    }

    fn part_done(&mut self, out: &mut BytesMut, part: impl FnOnce(&mut Object<'_>)) {
        self.at("response.content_part.done", out, |of| {
            of.number("content_index", 0).object("part", part);
        });
    }

    /// The item is done: it is said, and kept for the end.
    fn finish(&mut self, out: &mut BytesMut, item: impl FnOnce(&mut Object<'_>)) {
        let from = self.output.len() + 1;
        self.output.extend_from_slice(b",");
        object(&mut self.output, item);
        let index = self.index;
        let kept = std::mem::take(&mut self.output);
        self.say("response.output_item.done", out, |of| {
            of.number("output_index", index);
            of.value("item", |out| out.extend_from_slice(kept.get(from..).unwrap_or_default()));
        });
        self.output = kept;
        self.index += 1;
    }

    /// An event about the open item.
    fn at(&mut self, name: &str, out: &mut BytesMut, write: impl FnOnce(&mut Object<'_>)) {
        // Most of a stream is these, so they are written in large pieces.
        for piece in ["event: ", name, "\ndata: {\"type\":\"", name, "\",\"sequence_number\":"] {
            out.extend_from_slice(piece.as_bytes());
        }
        number(out, self.sequence);
        self.sequence += 1;
        out.extend_from_slice(b",\"output_index\":");
        number(out, self.index);
        more(out, |of| {
            of.text("item_id", &self.item);
            write(of);
        });
        out.extend_from_slice(b"}\n\n");
    }

    fn say(&mut self, name: &str, out: &mut BytesMut, write: impl FnOnce(&mut Object<'_>)) {
        let sequence = self.sequence;
        self.sequence += 1;
        stream::sse(out, Some(name), |event| {
            event.text("type", name).number("sequence_number", sequence);
            write(event);
        });
    }
}

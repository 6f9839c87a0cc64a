//! A stream of Anthropic's messages, spoken: blocks one after the other, each with its index, then why it stopped
//! and what it used.

use super::super::json::{Object, Raw, more, number};
use super::super::loss::Losses;
use super::super::names::{call_id, tool_name};
use super::super::unified::{Event, Opened, Protocol, Signature, Signer, Stop};
use super::super::{Client, free, prompt, stream, usage};
use super::answer::{self, carried, citation, is_cited, stopped};
use crate::usage::Usage;
use bytes::BytesMut;

/// What was said so far.
#[derive(Debug)]
pub(in crate::translate) struct Speaker {
    client: Client,
    index: u64,
    part: Part,
    stop: Stop<'static>,
    usage: Option<Usage>,
    begun: bool,
    /// A signature of thinking that shows nothing, after something was said: it waits for what follows, since a message
    /// that ends in thinking is refused when it comes back, and shown as empty by clients that show its last block.
    held: Option<Signature<'static>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    None,
    Text,
    /// Its block begins once it is known whether it is redacted.
    Thinking {
        begun: bool,
        signed: bool,
    },
    Call,
    /// A call with free text, which goes as the member of an object.
    Free {
        begun: bool,
    },
}

impl Speaker {
    pub(in crate::translate) fn new(client: &Client) -> Self {
        Self {
            client: client.clone(),
            index: 0,
            part: Part::None,
            stop: Stop::End,
            usage: None,
            begun: false,
            held: None,
        }
    }

    pub(in crate::translate) fn event(&mut self, event: &Event<'_>, losses: &mut Losses, out: &mut BytesMut) {
        match event {
            // The usage of the prompt is part of the first event; where a provider counts first, it is there.
            Event::Start { .. } => {}
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Error(fault) => stream::sse(out, Some("error"), |body| {
                fault.members(Protocol::Anthropic, &self.client.id, body);
            }),
            Event::Logprobs(_) => losses.dropped("logprobs", "Anthropic has none"),
            Event::Open(opened) => {
                self.begin(out);
                self.sign_held(out);
                self.open(opened, losses, out);
            }
            Event::Text(text) => {
                self.sign_held(out);
                self.text(text, out);
            }
            Event::Sign(signature) => {
                if signature.signer == Signer::Redacted {
                    self.part = Part::None;
                    self.block(out, |block| {
                        block.text("type", "redacted_thinking").text("data", &signature.data);
                    });
                    self.end_block(out);
                } else if self.index > 0 && matches!(self.part, Part::Thinking { begun: false, .. }) {
                    let data = signature.data.clone().into_owned();
                    self.held = Some(Signature { signer: signature.signer, data });
                } else {
                    self.sign(signature, out);
                }
            }
            Event::Cite(of) if !is_cited(of) => {
                losses.dropped("citations", "Anthropic cites addresses, and what it was shown");
            }
            Event::Cite(of) => {
                let raw = citation(of);
                self.delta(out, "citations_delta", |delta| {
                    delta.raw("citation", &raw);
                });
            }
            Event::Close => self.close(out),
            Event::Stop(stop) => self.stop = stop.clone().into_owned(),
            Event::End => {
                self.begin(out);
                if self.held.take().is_some() {
                    losses.dropped("signature", answer::LAST);
                }
                self.end(out);
            }
        }
    }

    fn begin(&mut self, out: &mut BytesMut) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        let counted = self.usage.unwrap_or_default();
        let client = &self.client;
        stream::sse(out, Some("message_start"), |event| {
            event.text("type", "message_start").object("message", |message| {
                message.pieces("id", &["msg_", &client.id]).text("type", "message").text("role", "assistant");
                message.text("model", &client.model).array("content", |_| {});
                message.null("stop_reason").null("stop_sequence");
                message.object("usage", |of| usage::anthropic(&counted, of));
            });
        });
    }

    fn open(&mut self, opened: &Opened<'_>, losses: &mut Losses, out: &mut BytesMut) {
        match opened {
            Opened::Text | Opened::Refusal => {
                self.part = Part::Text;
                self.block(out, |block| {
                    block.text("type", "text").text("text", "");
                });
            }
            Opened::Reasoning => self.part = Part::Thinking { begun: false, signed: false },
            Opened::Call { id, name, free } => {
                self.part = if *free { Part::Free { begun: false } } else { Part::Call };
                let (id, name) = (call_id(id, Protocol::Anthropic), tool_name(name, Protocol::Anthropic));
                self.block(out, |block| {
                    block
                        .text("type", "tool_use")
                        .text("id", &id)
                        .text("name", &name)
                        .object("input", |_| {});
                });
            }
            Opened::Image(_) => {
                losses.dropped("content", "Anthropic answers in text alone");
                self.part = Part::None;
            }
        }
    }

    fn think(&mut self, out: &mut BytesMut) {
        if let Part::Thinking { begun: false, signed } = self.part {
            self.part = Part::Thinking { begun: true, signed };
            self.block(out, |block| {
                block.text("type", "thinking").text("thinking", "").text("signature", "");
            });
        }
    }

    fn sign(&mut self, signature: &Signature<'_>, out: &mut BytesMut) {
        self.think(out);
        let carried = carried(signature);
        self.delta(out, "signature_delta", |delta| {
            delta.text("signature", &carried);
        });
        self.part = Part::Thinking { begun: true, signed: true };
    }

    /// Something follows: what was held goes before it, as a block of its own.
    fn sign_held(&mut self, out: &mut BytesMut) {
        let Some(signature) = self.held.take() else { return };
        let part = std::mem::replace(&mut self.part, Part::Thinking { begun: false, signed: false });
        self.sign(&signature, out);
        self.end_block(out);
        self.part = part;
    }

    fn text(&mut self, text: &str, out: &mut BytesMut) {
        match self.part {
            Part::None => {}
            Part::Text => self.delta(out, "text_delta", |delta| {
                delta.text("text", text);
            }),
            Part::Thinking { .. } => {
                self.think(out);
                self.delta(out, "thinking_delta", |delta| {
                    delta.text("thinking", text);
                });
            }
            Part::Call => self.delta(out, "input_json_delta", |delta| {
                delta.text("partial_json", text);
            }),
            Part::Free { begun } => {
                self.part = Part::Free { begun: true };
                let opening = if begun { "" } else { free::OPENING };
                let escaped = Raw::string(text);
                let inner = escaped.json().get(1..escaped.json().len() - 1).unwrap_or_default();
                self.delta(out, "input_json_delta", |delta| {
                    delta.pieces("partial_json", &[opening, inner]);
                });
            }
        }
    }

    fn close(&mut self, out: &mut BytesMut) {
        match std::mem::replace(&mut self.part, Part::None) {
            Part::None => return,
            Part::Thinking { signed: false, begun } => {
                if !begun {
                    // Thinking that shows nothing and is signed by nobody is nothing.
                    return;
                }
                self.delta(out, "signature_delta", |delta| {
                    delta.text("signature", "");
                });
            }
            Part::Free { begun } => {
                let rest = if begun { "\"}".to_owned() } else { prompt::as_input("") };
                self.delta(out, "input_json_delta", |delta| {
                    delta.text("partial_json", &rest);
                });
            }
            Part::Thinking { .. } | Part::Text | Part::Call => {}
        }
        self.end_block(out);
    }

    fn end(&mut self, out: &mut BytesMut) {
        let (stop, counted) = (&self.stop, self.usage.unwrap_or_default());
        stream::sse(out, Some("message_delta"), |event| {
            event.text("type", "message_delta").object("delta", |delta| stopped(stop, delta));
            event.object("usage", |of| usage::anthropic(&counted, of));
        });
        stream::sse(out, Some("message_stop"), |event| {
            event.text("type", "message_stop");
        });
    }

    fn block(&self, out: &mut BytesMut, write: impl FnOnce(&mut Object<'_>)) {
        stream::sse(out, Some("content_block_start"), |event| {
            event
                .text("type", "content_block_start")
                .number("index", self.index)
                .object("content_block", write);
        });
    }

    fn delta(&self, out: &mut BytesMut, kind: &str, write: impl FnOnce(&mut Object<'_>)) {
        // Most of a stream is these, so they are written in large pieces.
        out.extend_from_slice(
            b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":",
        );
        number(out, self.index);
        out.extend_from_slice(b",\"delta\":{\"type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\"");
        more(out, write);
        out.extend_from_slice(b"}}\n\n");
    }

    fn end_block(&mut self, out: &mut BytesMut) {
        stream::sse(out, Some("content_block_stop"), |event| {
            event.text("type", "content_block_stop").number("index", self.index);
        });
        self.index += 1;
    }
}

//! A realtime session as `OpenAI` holds it: events over a WebSocket, with the usage at the end of every answer.
//!
//! What goes wrong is ordered by who asks: the word in a response's `instructions` says how that answer shall break (see
//! [`Talk::answer`]), so that a test needs no clock and no script to hit one answer of many.
//! Invariants: an event of a kind that does not exist is answered with an error event; what the client says is recorded, an
//! event a line, before it is answered.

use crate::api::Api;
use crate::deliver::End;
use crate::errors::Refused;
use crate::exchange::Shared;
use crate::http::{Head, Left, Trouble, Wire};
use crate::record::{Outcome, Recorded, Sent};
use crate::route::split_target;
use crate::socket::{self, CLOSE, Frames, PING, PONG, Said, TEXT};
use bytes::Bytes;
use serde_json::{Value, json};

/// What is known of a session before it begins.
#[derive(Debug)]
pub(crate) struct Opening {
    /// Empty where the session is for transcription.
    pub(crate) model: String,
    key: String,
    protocol: Option<String>,
}

/// Refuses what is no handshake, or one of a session that cannot be.
pub(crate) fn check(head: &Head) -> Result<Opening, Refused> {
    let bad = |message: &str| Err(Refused::bad(Api::OpenAi, message));
    let is = |name, word: &str| {
        let mut words = head.all(name).flat_map(|value| value.split(','));
        words.any(|value| value.trim().eq_ignore_ascii_case(word))
    };
    if !is("upgrade", "websocket") || !is("connection", "upgrade") || !is("sec-websocket-version", "13") {
        return bad("You must use the websocket protocol to access this endpoint");
    }
    let keys: Vec<&str> = head.all("sec-websocket-key").collect();
    let [key] = keys.as_slice() else { return bad("exactly one sec-websocket-key is needed") };
    let (_, query) = split_target(&head.target);
    let is_transcription = query.split('&').any(|pair| pair == "intent=transcription");
    let models: Vec<&str> = query.split('&').filter_map(|pair| pair.strip_prefix("model=")).collect();
    let model = match (models.as_slice(), is_transcription) {
        ([], true) => String::new(),
        (_, true) => return bad("You must not provide a model parameter for transcription sessions"),
        ([model], false) if *model == "missing-model" => {
            return Err(Refused::no_such_model(Api::OpenAi, model));
        }
        ([model], false) => (*model).to_owned(),
        _ => return bad("exactly one model parameter is needed"),
    };
    let named = head.all("sec-websocket-protocol").flat_map(|value| value.split(','));
    let named: Vec<&str> = named.map(str::trim).filter(|name| !name.is_empty()).collect();
    if named.iter().any(|name| name.contains("insecure") || name.contains("organization")) {
        return bad("leak: a credential in sec-websocket-protocol");
    }
    let protocol = named.into_iter().find(|name| *name == "realtime").map(str::to_owned);
    Ok(Opening { model, key: (*key).to_owned(), protocol })
}

/// Takes the handshake and talks to the end.
pub(crate) async fn talk(
    shared: &Shared,
    wire: &mut Wire,
    head: &Head,
    opening: &Opening,
    connection: u64,
) -> Result<End, Trouble> {
    let number = shared.log.add(Recorded::new(head, &Bytes::new(), connection));
    let proof = socket::proof(&opening.key);
    let protocol = opening.protocol.iter().map(|name| format!("sec-websocket-protocol: {name}\r\n"));
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
         sec-websocket-accept: {proof}\r\nx-request-id: req_fake_socket\r\n{}\r\n",
        protocol.collect::<String>()
    );
    let sent = Sent { status: Some(101), ..Sent::default() };
    let mut talk = Talk { shared, wire, number, opening, transcribes: None, events: 0, sent };
    let end = match talk.wire.send(answer.as_bytes(), &mut 0).await {
        Ok(()) => talk.hold().await,
        Err(left) => Err(left),
    };
    let (outcome, end) = match end {
        Ok(end @ End::Close) => (Outcome::Completed, end),
        Ok(end) => (Outcome::Failed, end),
        Err(Left::Reset) => (Outcome::Reset, End::Close),
        Err(_) => (Outcome::Closed, End::Close),
    };
    let sent = talk.sent;
    shared.log.settle(Some(number), sent, outcome);
    Ok(end)
}

struct Talk<'a> {
    shared: &'a Shared,
    wire: &'a mut Wire,
    number: usize,
    opening: &'a Opening,
    transcribes: Option<String>,
    events: usize,
    sent: Sent,
}

impl Talk<'_> {
    async fn hold(&mut self) -> Result<End, Left> {
        let mut frames = Frames::default();
        let kind = if self.opening.model.is_empty() { "transcription" } else { "realtime" };
        let session = self.session(&json!({ "type": kind }));
        self.event(json!({ "type": "session.created", "session": session })).await?;
        loop {
            let bytes = self.wire.bytes().await?;
            frames.push(&bytes);
            loop {
                match frames.next() {
                    Ok(None) => break,
                    Ok(Some(Said::Control(PING, payload))) => self.frame(true, PONG, &payload).await?,
                    Ok(Some(Said::Control(CLOSE, payload))) => {
                        self.frame(true, CLOSE, &payload).await?;
                        return Ok(End::Close);
                    }
                    Ok(Some(Said::Control(..))) => {}
                    Ok(Some(Said::Message(TEXT, text))) => {
                        self.shared.log.heard(self.number, &text);
                        if let Some(end) = self.hear(&text).await? {
                            return Ok(end);
                        }
                    }
                    Ok(Some(Said::Message(..))) => self.error("Binary messages are not supported.").await?,
                    Err(why) => {
                        let payload = [&1002u16.to_be_bytes()[..], why.as_bytes()].concat();
                        self.frame(true, CLOSE, &payload).await?;
                        return Ok(End::Linger);
                    }
                }
            }
        }
    }

    /// One event of the client's; `Some`: it was the last.
    async fn hear(&mut self, text: &[u8]) -> Result<Option<End>, Left> {
        let Ok(event) = serde_json::from_slice::<Value>(text) else {
            self.error("The event is not JSON.").await?;
            return Ok(None);
        };
        match event["type"].as_str().unwrap_or_default() {
            "session.update" | "transcription_session.update" => self.update(&event["session"]).await?,
            "response.create" => return self.answer(&event["response"]).await,
            "input_audio_buffer.append" | "input_audio_buffer.clear" => {}
            "input_audio_buffer.commit" => self.commit().await?,
            "conversation.item.create" => {
                self.event(json!({ "type": "conversation.item.added", "item": event["item"] })).await?;
            }
            other => self.error(&format!("Invalid value: '{other}'.")).await?,
        }
        Ok(None)
    }

    async fn update(&mut self, session: &Value) -> Result<(), Left> {
        if session["model"].as_str().is_some_and(|model| model != self.opening.model) {
            return self.error("Cannot update a session's model.").await;
        }
        let flat = &session["input_audio_transcription"]["model"];
        let deep = &session["audio"]["input"]["transcription"]["model"];
        self.transcribes = deep.as_str().or(flat.as_str()).map(str::to_owned).or(self.transcribes.take());
        let session = self.session(session);
        self.event(json!({ "type": "session.updated", "session": session })).await
    }

    async fn commit(&mut self) -> Result<(), Left> {
        self.event(json!({ "type": "input_audio_buffer.committed", "item_id": "item_1" })).await?;
        if self.transcribes.is_none() {
            return Ok(());
        }
        let usage = json!({
            "type": "tokens", "total_tokens": 9, "input_tokens": 6, "output_tokens": 3,
            "input_token_details": { "text_tokens": 0, "audio_tokens": 6 },
        });
        let kind = "conversation.item.input_audio_transcription.completed";
        self.event(json!({ "type": kind, "item_id": "item_1", "transcript": "hello", "usage": usage })).await
    }

    /// Answers as ordered: `cut` ends the connection within the answer, `cut-frame` within a frame, `cut-long` within a long one, `reset` with a reset;
    /// `close` is an end in good form, with an internal error; `masked` a frame no server may send; `fragments` the end of the
    /// answer in pieces with a ping between them; `large` one that is too long to be read on its way; `hold` waits for `release`;
    /// `silent` never answers.
    async fn answer(&mut self, response: &Value) -> Result<Option<End>, Left> {
        let order = response["instructions"].as_str().unwrap_or_default();
        self.event(json!({ "type": "response.created", "response": { "status": "in_progress" } })).await?;
        if order == "silent" {
            return Ok(None);
        }
        self.event(json!({ "type": "response.output_text.delta", "delta": "Hello" })).await?;
        let done =
            json!({ "type": "response.done", "event_id": "event_done", "response": Self::done(order) });
        let text = done.to_string();
        match order {
            "cut" => return Ok(Some(End::Leave)),
            "reset" => return Ok(Some(End::LeaveWithReset)),
            "cut-long" => {
                let delta = json!({ "type": "response.output_text.delta", "delta": "y".repeat(600 * 1024) });
                let whole = socket::frame(true, TEXT, delta.to_string().as_bytes());
                self.raw(&whole[..whole.len() / 2]).await?;
                return Ok(Some(End::Leave));
            }
            "cut-frame" => {
                let whole = socket::frame(true, TEXT, text.as_bytes());
                self.raw(&whole[..whole.len() / 2]).await?;
                return Ok(Some(End::Leave));
            }
            "close" => {
                self.frame(true, CLOSE, &[&1011u16.to_be_bytes()[..], b"internal"].concat()).await?;
                return Ok(Some(End::Linger));
            }
            "masked" => {
                self.raw(&[0x81, 0x82, 1, 2, 3, 4, b'x', b'y']).await?;
                return Ok(Some(End::Linger));
            }
            "fragments" => {
                let (first, rest) = text.as_bytes().split_at(text.len() / 3);
                let (second, third) = rest.split_at(rest.len() / 2);
                self.frame(false, TEXT, first).await?;
                self.frame(true, PING, b"between").await?;
                self.frame(false, 0, second).await?;
                self.frame(true, 0, third).await?;
                return Ok(None);
            }
            "hold" => self.shared.released().await,
            _ => {}
        }
        self.frame(true, TEXT, text.as_bytes()).await?;
        self.sent.events += 1;
        Ok(None)
    }

    fn done(order: &str) -> Value {
        let text = if order == "large" { "y".repeat(300 * 1024) } else { "Hello".to_owned() };
        json!({
            "object": "realtime.response", "status": "completed", "output": [{ "text": text }],
            "usage": {
                "total_tokens": 30, "input_tokens": 20, "output_tokens": 10,
                "input_token_details": {
                    "text_tokens": 8, "audio_tokens": 12, "cached_tokens": 5,
                    "cached_tokens_details": { "text_tokens": 1, "audio_tokens": 4 },
                },
                "output_token_details": { "text_tokens": 4, "audio_tokens": 6 },
            },
        })
    }

    /// The session as it is, with what the client said of it.
    fn session(&self, said: &Value) -> Value {
        let mut session = if said.is_object() { said.clone() } else { json!({}) };
        session["id"] = json!("sess_fake");
        session["object"] = json!("realtime.session");
        if !self.opening.model.is_empty() {
            session["model"] = json!(self.opening.model);
        }
        session
    }

    async fn error(&mut self, message: &str) -> Result<(), Left> {
        let error = json!({ "type": "invalid_request_error", "code": "invalid_value", "message": message });
        self.event(json!({ "type": "error", "error": error })).await
    }

    async fn event(&mut self, mut event: Value) -> Result<(), Left> {
        self.events += 1;
        event["event_id"] = json!(format!("event_{}", self.events));
        self.frame(true, TEXT, event.to_string().as_bytes()).await?;
        self.sent.events += 1;
        Ok(())
    }

    async fn frame(&mut self, fin: bool, opcode: u8, payload: &[u8]) -> Result<(), Left> {
        self.raw(&socket::frame(fin, opcode, payload)).await
    }

    async fn raw(&mut self, bytes: &[u8]) -> Result<(), Left> {
        let mut written = 0;
        let result = self.wire.send(bytes, &mut written).await;
        self.sent.bytes += written;
        result
    }
}

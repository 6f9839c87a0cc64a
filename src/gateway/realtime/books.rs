//! What is read of a conversation on its way: which models it names, and what it costs.
//!
//! Invariants: what the provider counts is settled when it says so, once, before the client sees it; the provider's names of models
//! are not shown to the client, nor the client's to the provider; a session goes on past an answer only while a quota is left; of an
//! answer whose count never came what passed of it is estimated when the session ends.

use crate::code::Code;
use crate::config::snapshot::{Channel, Key};
use crate::gateway::Gateway;
use crate::gateway::exchange::Exchange;
use crate::gateway::realtime::talk::PING;
use crate::limit::Amount;
use crate::protocol::realtime::{self, Event, Kind, Named, Piece, Role};
use crate::protocol::websocket::passage::{Fate, Glance, Reader};
use crate::protocol::websocket::{Opcode, close, frames};
use crate::record::{Cost, End};
use crate::refusal::{Refusal, quoted};
use crate::stage::plan::Attempt;
use crate::stage::{admit, beside, quota};
use crate::usage::{Media, Usage, UsageSource};
use smol_str::SmolStr;
use std::sync::Arc;
use std::time::Duration;

/// The books of one conversation.
pub(super) struct Books<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) exchange: &'a mut Exchange,
    pub(super) channel: Arc<Channel>,
    /// After which silence a side is asked whether it is there, and after which it is not.
    pub(super) patience: (Option<Duration>, Duration),
    /// Events of ours that wait to be told to the client.
    pub(super) says: Vec<Vec<u8>>,
    /// Why it must not go on.
    pub(super) refused: Option<Refusal>,
    /// The code the provider closed with.
    pub(super) provider_closed: Option<u16>,
    key: Option<Arc<Key>>,
    requested: SmolStr,
    upstream: String,
    /// Models beside it: the provider's names, and the client's for them.
    beside: Vec<(String, String)>,
    /// What writes down what the user says, by the provider's name.
    transcribes: Option<String>,
    /// The answers that have begun and are not counted.
    open: Open,
}

/// What passed of answers that are under way.
#[derive(Debug, Default)]
struct Open {
    answers: u32,
    text_tokens: u64,
    sound_bytes: u64,
}

impl<'a> Books<'a> {
    pub(super) fn new(
        gateway: &'a Gateway,
        exchange: &'a mut Exchange,
        attempt: &Attempt,
        requested: SmolStr,
    ) -> Self {
        let channel = Arc::clone(&attempt.channel);
        let idle = channel.timeouts.idle;
        let ping = channel.conduct.ping_interval;
        Self {
            patience: ((!ping.is_zero()).then(|| ping.min(idle / 2)), idle),
            says: Vec::new(),
            refused: None,
            provider_closed: None,
            key: exchange.key.clone(),
            requested,
            upstream: attempt.model_upstream.as_str().to_owned(),
            beside: Vec::new(),
            transcribes: None,
            open: Open::default(),
            gateway,
            exchange,
            channel,
        }
    }

    /// The client was gone before a word was said.
    pub(super) fn nobody_there(self) {
        self.exchange.charges.clear();
        self.exchange.ended(End::ClientClosed, None);
    }

    /// What a frame of ours to the provider is masked with.
    pub(super) fn mask(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.gateway.world.random().to_le_bytes();
        [a, b, c, d]
    }

    /// Tells the client of an event of its own that went no further.
    fn refuse_event(&mut self, refusal: &Refusal, param: Option<&str>, about: Option<&str>) -> Fate {
        if self.says.len() < SAYS_MAX {
            let id = self.exchange.record.request_id.as_str();
            self.says.push(realtime::error(refusal.code, &refusal.message, (param, about), id));
        }
        Fate::Drop
    }

    /// What the client says that is read.
    fn asked(&mut self, text: &[u8]) -> Fate {
        let Some(event) = realtime::event(text) else {
            let refusal =
                Refusal::new(Code::InvalidRequest, "The event is not JSON, or says something twice.");
            return self.refuse_event(&refusal, None, None);
        };
        if event.kind == Kind::Create
            && let Err(refusal) = self.may_go_on()
        {
            return self.refuse_event(&refusal, None, event.id.as_deref());
        }
        if !matches!(event.kind, Kind::Create | Kind::Update) {
            return Fate::Pass;
        }
        let mut names = Vec::new();
        for named in &event.models {
            match self.name_upstream(named) {
                Ok(name) => names.push(name),
                Err(refusal) => {
                    return self.refuse_event(&refusal, Some(named.role.param()), event.id.as_deref());
                }
            }
        }
        respelt(text, &event, &names)
    }

    fn name_upstream(&mut self, named: &Named) -> Result<String, Refusal> {
        if named.name == self.requested {
            if named.role == Role::Transcribes {
                self.transcribes = Some(self.upstream.clone());
            }
            return Ok(self.upstream.clone());
        }
        if named.role == Role::Answers {
            let message = format!(
                "This session was opened with the model {}. Open another one for {}.",
                quoted(&self.requested),
                quoted(&named.name)
            );
            return Err(Refusal::new(Code::InvalidRequest, message));
        }
        let Some(key) = &self.key else { return Ok(named.name.clone()) };
        let upstream = beside::model(key, &self.channel, &named.name)?.to_owned();
        self.transcribes = Some(upstream.clone());
        self.beside.retain(|(known, _)| *known != upstream);
        if upstream != named.name && self.beside.len() < BESIDE_MAX {
            self.beside.push((upstream.clone(), named.name.clone()));
        }
        Ok(upstream)
    }

    /// Whether a further answer may be asked for.
    fn may_go_on(&mut self) -> Result<(), Refusal> {
        let Some(key) = &self.key else { return Ok(()) };
        let now = self.gateway.world.now();
        admit::has_tokens(&self.exchange.live, key, &self.requested, now)?;
        quota::left(&self.exchange.live, key, self.gateway.when(self.exchange))
    }

    /// What the provider says that is read.
    fn told(&mut self, text: &[u8]) -> Fate {
        let Some(event) = realtime::event(text) else { return Fate::Pass };
        self.passes(event.piece);
        match event.kind {
            Kind::Session => {
                let transcribes = event.models.iter().rfind(|named| named.role == Role::Transcribes);
                if let Some(named) = transcribes {
                    self.transcribes = Some(named.name.clone());
                }
            }
            Kind::Done => {
                let upstream = self.upstream.clone();
                self.open.answers = self.open.answers.saturating_sub(1);
                if self.open.answers == 0 {
                    self.open = Open::default();
                }
                self.used(event.usage, (&upstream, UsageSource::Reported));
            }
            Kind::Transcribed => {
                let model = self.transcribes.clone().unwrap_or_else(|| self.upstream.clone());
                self.used(event.usage, (&model, UsageSource::Reported));
            }
            Kind::Update | Kind::Create | Kind::Other => return Fate::Pass,
        }
        let names: Vec<String> = event.models.iter().map(|named| self.name_shown(named).to_owned()).collect();
        respelt(text, &event, &names)
    }

    fn name_shown<'n>(&'n self, named: &'n Named) -> &'n str {
        if named.role == Role::Answers {
            let renamed = self.upstream != self.requested;
            return if renamed { &self.requested } else { &named.name };
        }
        if named.name == self.upstream {
            return &self.requested;
        }
        let shown = self.beside.iter().find(|(upstream, _)| *upstream == named.name);
        shown.map_or(&named.name, |(_, shown)| shown)
    }

    /// A piece of an answer passes.
    fn passes(&mut self, piece: Option<Piece>) {
        match piece {
            Some(Piece::Begins) => {
                self.exchange.record.charged = true;
                self.open.answers = self.open.answers.saturating_add(1);
            }
            Some(Piece::Text) => self.open.text_tokens = self.open.text_tokens.saturating_add(1),
            Some(Piece::Sound(bytes)) => self.open.sound_bytes = self.open.sound_bytes.saturating_add(bytes),
            None => {}
        }
    }

    /// The session is over: whoever broke off, the provider bills what it had said.
    pub(super) fn close(&mut self) {
        let Open { answers, text_tokens, sound_bytes } = std::mem::take(&mut self.open);
        if answers == 0 {
            return;
        }
        let output_audio = realtime::sound_tokens(sound_bytes);
        let output = text_tokens.saturating_add(output_audio);
        let usage = Usage { output, media: Media { output_audio, ..Media::default() }, ..Usage::default() };
        let upstream = self.upstream.clone();
        self.used(Some(usage), (&upstream, UsageSource::Estimated));
    }

    /// Settles what an answer, or something written down, has cost, and who says so.
    fn used(&mut self, usage: Option<Usage>, (model, source): (&str, UsageSource)) {
        let (now, unix) = (self.gateway.world.now(), self.gateway.world.unix_ms() / 1_000);
        let exchange = &mut *self.exchange;
        exchange.record.charged = true;
        if let Some(usage) = usage {
            exchange.record.usage = exchange.record.usage.plus(&usage);
            exchange.record.usage_source = source;
            let price = exchange.live.snapshot.prices.find(&self.channel.id, model);
            let cost = price.and_then(|price| price.cost(&usage, unix));
            exchange.spoken = Some(together(exchange.spoken, cost));
            let amount = Amount { input: usage.input_total(), output: usage.output };
            for charge in &mut exchange.charges {
                charge.settle_so_far(amount, now);
            }
        }
        exchange.price();
        let spent = exchange.spent();
        exchange.quotas.revise(spent);
        let Some(key) = &self.key else { return };
        if let Err(refusal) = quota::left(&exchange.live, key, self.gateway.when(exchange)) {
            self.refused = Some(refusal);
        }
    }
}

/// What is known of two costs: what has no price takes nothing from what has one.
fn together(before: Option<Cost>, cost: Option<u64>) -> Cost {
    match (before.and_then(Cost::nanos), cost) {
        (Some(before), Some(cost)) => Cost::Known(before.saturating_add(cost)),
        (None, Some(known)) | (Some(known), None) => Cost::Known(known),
        (None, None) => Cost::NoPrice,
    }
}

/// The event under other names for its models, where they differ.
fn respelt(text: &[u8], event: &Event, names: &[String]) -> Fate {
    let pairs = event.models.iter().zip(names.iter().map(String::as_str));
    let differ: Vec<_> = pairs.filter(|(named, name)| named.name != *name).collect();
    if differ.is_empty() {
        return Fate::Pass;
    }
    Fate::Replace(realtime::renamed(text, differ.into_iter()))
}

/// Reads what the client says.
pub(super) struct FromClient<'a, 'b> {
    pub(super) books: &'a mut Books<'b>,
    pub(super) closing: &'a mut bool,
}

impl Reader for FromClient<'_, '_> {
    fn glance(&self, beginning: &[u8]) -> Glance {
        realtime::glance(beginning, true)
    }

    fn passes(&mut self, _beginning: &[u8], _bytes: u64) {}

    fn text(&mut self, text: &[u8]) -> Fate {
        self.books.asked(text)
    }

    fn control(&mut self, opcode: Opcode, payload: &[u8]) -> Fate {
        *self.closing |= opcode == Opcode::Close;
        control(opcode, payload)
    }

    fn mask(&mut self) -> Option<[u8; 4]> {
        Some(self.books.mask())
    }

    fn unread(&mut self) {
        self.books.gateway.telemetry.metrics.realtime_unread();
    }
}

/// Reads what the provider says.
pub(super) struct FromProvider<'a, 'b> {
    pub(super) books: &'a mut Books<'b>,
    pub(super) closing: &'a mut bool,
}

impl Reader for FromProvider<'_, '_> {
    fn glance(&self, beginning: &[u8]) -> Glance {
        realtime::glance(beginning, false)
    }

    fn passes(&mut self, beginning: &[u8], bytes: u64) {
        self.books.passes(realtime::piece(beginning, bytes));
    }

    fn text(&mut self, text: &[u8]) -> Fate {
        self.books.told(text)
    }

    fn control(&mut self, opcode: Opcode, payload: &[u8]) -> Fate {
        if opcode == Opcode::Close {
            *self.closing = true;
            self.books.provider_closed = Some(frames::close_code(payload).unwrap_or(close::NORMAL));
        }
        control(opcode, payload)
    }

    fn mask(&mut self) -> Option<[u8; 4]> {
        None
    }

    fn unread(&mut self) {
        self.books.gateway.telemetry.metrics.realtime_unread();
    }
}

/// The answer to a ping of ours is for us.
fn control(opcode: Opcode, payload: &[u8]) -> Fate {
    if opcode == Opcode::Pong && payload == PING { Fate::Drop } else { Fate::Pass }
}

/// A client that is told more at once does not listen.
const SAYS_MAX: usize = 16;
/// More models than one session uses beside its own.
const BESIDE_MAX: usize = 8;

//! What a request gets: judged, recorded, matched with a fault, answered. One way for both protocols, without sockets.
//!
//! Invariants: a request is recorded before its answer begins. A request the real provider would refuse is refused
//! before any fault is looked for, so a leak is never hidden by a script.

use crate::answers::Answers;
use crate::api::{Api, KeptCall, Operation};
use crate::body::{self, Made};
use crate::control::{self, Order};
use crate::deliver::{self, Frame, Plan};
use crate::errors::Refused;
use crate::faults::Fault;
use crate::http::Head;
use crate::jobs;
use crate::kept::Kept;
use crate::media;
use crate::openai::responses;
use crate::options::Options;
use crate::realtime::{self, Opening};
use crate::record::{Log, Protocol, Recorded};
use crate::reply::{Body, Reply};
use crate::route::{self, Route};
use crate::script::{Known, Scripts};
use crate::strict;
use crate::videos::{self, Videos};
use bytes::Bytes;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// What all connections of one fake provider share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) log: Log,
    pub(crate) scripts: Scripts,
    options: Options,
    answers: Answers,
    videos: Videos,
    kept: Kept,
    /// One permit lets one hold go on.
    gate: Semaphore,
    answered: AtomicU64,
    connected: AtomicU64,
}

impl Shared {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            log: Log::new(options.record_bodies),
            scripts: Scripts::default(),
            answers: Answers::new(options.models.clone(), options.chunks),
            videos: Videos::default(),
            kept: Kept::default(),
            gate: Semaphore::new(0),
            answered: AtomicU64::new(0),
            connected: AtomicU64::new(0),
            options,
        }
    }

    pub(crate) fn release(&self, count: usize) {
        let room = Semaphore::MAX_PERMITS - self.gate.available_permits();
        self.gate.add_permits(count.min(room));
    }

    /// Returns when a `release` is for the caller.
    pub(crate) async fn released(&self) {
        if let Ok(permit) = self.gate.acquire().await {
            permit.forget();
        }
    }

    pub(crate) fn next_connection(&self) -> u64 {
        self.connected.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn next_request_id(&self) -> String {
        format!("req_fake_{:08}", self.answered.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// A head, before its body is read.
#[derive(Debug)]
pub(crate) enum Judged {
    /// For the control address.
    Control,
    /// For the provider, with its credential.
    Good(Route, String),
    Refused(Refused),
    /// A handshake that is taken: a conversation follows.
    Socket(Opening),
    /// For the provider, and it gets this fault before the body is read.
    Early(Route, Fault),
}

/// What is done about a request.
#[derive(Debug)]
pub(crate) struct Decision {
    /// The number it is settled by.
    pub(crate) record: Option<usize>,
    pub(crate) plan: Plan,
}

impl Judged {
    /// How much of the body is read before the answer.
    pub(crate) fn body_bytes(&self) -> Option<usize> {
        match self {
            Self::Early(_, Fault::StopReading { after_bytes }) => Some(*after_bytes),
            Self::Early(..) => Some(0),
            _ => None,
        }
    }
}

/// Judges a head, and finds a fault that must act before the body is read.
pub(crate) fn judge(shared: &Shared, head: &Head) -> Judged {
    if head.target.starts_with(control::PREFIX) {
        return Judged::Control;
    }
    let route = match route::route(head, &shared.options) {
        Ok(route) => route,
        Err(refused) => return Judged::Refused(refused),
    };
    let credential = match strict::check_head(head, &route, &shared.options) {
        Ok(credential) => credential,
        Err(refused) => return Judged::Refused(refused),
    };
    if route.operation == Operation::Realtime {
        return match realtime::check(head) {
            Ok(opening) => {
                let known = Known { model: Some(&opening.model), credential: Some(&credential) };
                let fault = shared.scripts.take(known, |_| true);
                fault.map_or(Judged::Socket(opening), |fault| Judged::Early(route, fault))
            }
            Err(refused) => Judged::Refused(refused),
        };
    }
    let known = Known { model: route.model.as_deref(), credential: Some(&credential) };
    match shared.scripts.take(known, acts_before_body) {
        Some(fault) => Judged::Early(route, fault),
        None => Judged::Good(route, credential),
    }
}

fn acts_before_body(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::EarlyStatus { .. }
            | Fault::EarlyStatusThen { .. }
            | Fault::StopReading { .. }
            | Fault::SilentOnAccept
            | Fault::Refuse
    )
}

/// Records a request with its body, or what of it was read, and decides its answer.
pub(crate) fn decide(
    shared: &Shared,
    head: &Head,
    judged: &Judged,
    body: &Bytes,
    connection: u64,
) -> Decision {
    let record = || Some(shared.log.add(Recorded::new(head, body, connection)));
    let refusal = |record, refused: &Refused| {
        let plan = plain(shared, head, |id| refused.reply(id));
        Decision { record, plan }
    };
    match judged {
        Judged::Control => {
            Decision { record: None, plan: plain(shared, head, |_| control_reply(shared, head, body)) }
        }
        Judged::Refused(refused) => refusal(record(), refused),
        Judged::Socket(_) => {
            refusal(record(), &Refused::bad(Api::OpenAi, "a WebSocket is opened over HTTP/1.1"))
        }
        Judged::Early(route, fault) => {
            let nothing = Reply::json(200, Bytes::new());
            Decision { record: record(), plan: planned(shared, head, route, (&nothing, fault)) }
        }
        Judged::Good(route, credential) => {
            let record = record();
            match respond(shared, head, (route, credential), body) {
                Ok((reply, fault)) => {
                    Decision { record, plan: planned(shared, head, route, (&reply, &fault)) }
                }
                Err(refused) => refusal(record, &refused),
            }
        }
    }
}

/// The answer to a complete request, and the fault that is due.
fn respond(
    shared: &Shared,
    head: &Head,
    (route, credential): (&Route, &str),
    body: &Bytes,
) -> Result<(Reply, Fault), Refused> {
    let content_type = head.first("content-type").unwrap_or_default();
    let facts = match &route.operation {
        Operation::FileCreate | Operation::Job(..) | Operation::Kept(..) => body::Facts::default(),
        Operation::Video(call) if head.method == "POST" => videos::check(call, content_type, body)?,
        operation if operation.takes_form() => media::check_form(operation, content_type, body)?,
        _ if head.method == "POST" => body::check(route, body)?,
        _ => body::Facts::default(),
    };
    let known =
        Known { model: (!facts.model.is_empty()).then_some(&facts.model), credential: Some(credential) };
    let fault = shared.scripts.take(known, |_| true).unwrap_or(Fault::None);
    let reply = match &route.operation {
        Operation::FileCreate
        | Operation::FileList
        | Operation::FileGet(_)
        | Operation::FileContent(_)
        | Operation::FileDelete(_) => shared.answers.files(&route.operation, content_type, body)?,
        Operation::Kept(call, id) => {
            let streams = route::split_target(&head.target).1.split('&').any(|pair| pair == "stream=true");
            let call = if *call == KeptCall::Show(false) { KeptCall::Show(streams) } else { *call };
            shared.kept.answer(&shared.answers, (call, id.as_str()), credential)?
        }
        Operation::Video(call) => {
            shared.answers.check_model(route.api, &facts.model)?;
            shared.videos.answer(call, (head, credential), body)?
        }
        Operation::Responses if facts.made == Made::InBackground => {
            shared.answers.check_model(route.api, &facts.model)?;
            responses::under_way(&facts.model, "queued")
        }
        Operation::Job(kind, made) => jobs::answer(route, kind, *made, body)?,
        _ => shared.answers.find(route, &facts, &fault)?,
    };
    if route.operation == Operation::Responses {
        shared.kept.learn(credential, &facts.model, facts.made == Made::InBackground);
    }
    Ok((reply, fault))
}

/// The plan of an answer as the provider gives it, and a fault makes it.
fn planned(shared: &Shared, head: &Head, route: &Route, (reply, fault): (&Reply, &Fault)) -> Plan {
    let frame = Frame {
        api: route.api,
        operation: &route.operation,
        request_id: &shared.next_request_id(),
        close: head.close || matches!(fault, Fault::EarlyStatus { .. }),
        pace: shared.options.pace,
        http2: head.protocol == Protocol::Http2,
    };
    deliver::plan(reply, fault, &frame)
}

/// The plan of an answer without a fault and without a route: refusals, control.
fn plain(shared: &Shared, head: &Head, reply: impl FnOnce(&str) -> Reply) -> Plan {
    let request_id = &shared.next_request_id();
    let frame = Frame {
        api: Api::OpenAi,
        operation: &Operation::Models,
        request_id,
        close: head.close,
        pace: Duration::ZERO,
        http2: head.protocol == Protocol::Http2,
    };
    let mut reply = reply(request_id);
    if head.method == "HEAD" {
        reply.body = Body::Whole(Bytes::new());
    }
    deliver::plan(&reply, &Fault::None, &frame)
}

fn control_reply(shared: &Shared, head: &Head, body: &[u8]) -> Reply {
    match control::read(head, body) {
        Err(reply) => return reply,
        Ok(Order::Requests) => return control::show(&shared.log.requests()),
        Ok(Order::Counts) => return control::show_counts(&shared.log.counts()),
        Ok(Order::Script(script)) => shared.scripts.add(script.selector, script.faults, script.forever),
        Ok(Order::Release(count)) => shared.release(count),
        Ok(Order::Clear) => shared.scripts.clear(),
    }
    control::done()
}

//! One connection: requests one after the other, each read, judged, recorded, matched with a fault and answered.
//!
//! Invariants: a request is recorded before its answer begins. A request the real provider would refuse is refused
//! before any fault is looked for, so a leak is never hidden by a script. A peer that leaves while it is being
//! answered is counted, whatever we were doing: writing, pacing, holding, hanging.

use crate::answers::Answers;
use crate::api::{Api, Operation};
use crate::body;
use crate::control::{self, Order};
use crate::deliver::{self, End, Frame, Plan, Step};
use crate::errors::Refused;
use crate::faults::Fault;
use crate::http::{Head, Left, Trouble, Wire};
use crate::options::Options;
use crate::record::{Log, Recorded};
use crate::reply::{Body, Reply};
use crate::route::{self, Route};
use crate::script::{Known, Scripts};
use crate::strict;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// How long a connection with unread bytes stays open after its last answer, so that the answer is not lost to a reset.
const LINGER: Duration = Duration::from_secs(1);

/// What all connections of one fake provider share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) log: Log,
    pub(crate) scripts: Scripts,
    options: Options,
    answers: Answers,
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

    fn next_request_id(&self) -> String {
        format!("req_fake_{:08}", self.answered.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// Serves one connection until either side closes it.
pub(crate) async fn serve(shared: Arc<Shared>, stream: TcpStream) {
    let _open = Open::new(&shared.log);
    let number = shared.connected.fetch_add(1, Ordering::Relaxed) + 1;
    if shared.scripts.take(Known::default(), |fault| *fault == Fault::Refuse).is_some() {
        return;
    }
    // Every event must leave when it is written; where the option fails the peer is gone already.
    stream.set_nodelay(true).unwrap_or_default();
    let mut wire = Wire::new(stream);
    loop {
        match one(&shared, &mut wire, number).await {
            Ok(End::KeepAlive) => {}
            Ok(End::Close) => return wire.finish().await,
            Ok(End::Reset) => return wire.reset(),
            Err(Trouble::Gone) => return,
            Err(Trouble::Broken(status, why)) => return refuse_broken(&mut wire, status, why).await,
        }
    }
}

/// One request and its answer.
async fn one(shared: &Shared, wire: &mut Wire, connection: u64) -> Result<End, Trouble> {
    let head = wire.head().await?;
    if head.target.starts_with(control::PREFIX) {
        let body = wire.body(&head).await?;
        return answer_plainly(shared, wire, &head, |_| control_reply(shared, &head, &body)).await;
    }
    let judged = judge(shared, &head);
    if let Ok((route, credential)) = &judged
        && let Some(fault) = early_fault(shared, route, credential)
    {
        shared.log.add(Recorded::new(&head, &Bytes::new(), connection));
        return answer_early(shared, wire, route, &fault).await;
    }
    let body = wire.body(&head).await?;
    shared.log.add(Recorded::new(&head, &body, connection));
    let (route, credential) = match judged {
        Ok(judged) => judged,
        Err(refused) => {
            return answer_plainly(shared, wire, &head, |id| refused.reply(id)).await;
        }
    };
    match respond(shared, &head, &route, &credential, &body) {
        Ok((_, fault @ Fault::EarlyStatus { .. })) => answer_early(shared, wire, &route, &fault).await,
        Ok((reply, fault)) => answer(shared, wire, (&head, &route), &reply, &fault).await,
        Err(refused) => answer_plainly(shared, wire, &head, |id| refused.reply(id)).await,
    }
}

fn judge(shared: &Shared, head: &Head) -> Result<(Route, String), Refused> {
    let route = route::route(head, &shared.options.prefix)?;
    let credential = strict::check_head(head, &route, &shared.options.keys)?;
    Ok((route, credential))
}

/// A fault that must act before the body is read.
fn early_fault(shared: &Shared, route: &Route, credential: &str) -> Option<Fault> {
    let known = Known { model: route.model.as_deref(), credential: Some(credential) };
    shared.scripts.take(known, |fault| matches!(fault, Fault::EarlyStatus { .. } | Fault::Refuse))
}

/// The answer to a complete request, and the fault that is due.
fn respond(
    shared: &Shared,
    head: &Head,
    route: &Route,
    credential: &str,
    body: &Bytes,
) -> Result<(Reply, Fault), Refused> {
    let json = head.method == "POST" && route.operation != Operation::FileCreate;
    let facts = if json { body::check(route, body)? } else { body::Facts::default() };
    let known =
        Known { model: (!facts.model.is_empty()).then_some(&facts.model), credential: Some(credential) };
    let fault = shared.scripts.take(known, |_| true).unwrap_or(Fault::None);
    let content_type = head.first("content-type").unwrap_or_default();
    let reply = match &route.operation {
        Operation::FileCreate
        | Operation::FileList
        | Operation::FileGet(_)
        | Operation::FileContent(_)
        | Operation::FileDelete(_) => shared.answers.files(&route.operation, content_type, body)?,
        _ => shared.answers.find(route, &facts, &fault)?,
    };
    Ok((reply, fault))
}

/// Answers as the provider does, unless a fault is due.
async fn answer(
    shared: &Shared,
    wire: &mut Wire,
    asked: (&Head, &Route),
    reply: &Reply,
    fault: &Fault,
) -> Result<End, Trouble> {
    let (head, route) = asked;
    let request_id = shared.next_request_id();
    let frame = Frame {
        api: route.api,
        operation: &route.operation,
        request_id: &request_id,
        close: head.close,
        paced: !shared.options.pace.is_zero(),
    };
    walk(shared, wire, deliver::plan(reply, fault, &frame)).await.map_err(|Left| Trouble::Gone)
}

/// Answers without a fault and without a route: refusals, control.
async fn answer_plainly(
    shared: &Shared,
    wire: &mut Wire,
    head: &Head,
    reply: impl FnOnce(&str) -> Reply,
) -> Result<End, Trouble> {
    let request_id = shared.next_request_id();
    let (api, operation) = (Api::OpenAi, &Operation::Models);
    let frame = Frame { api, operation, request_id: &request_id, close: head.close, paced: false };
    let mut reply = reply(&request_id);
    if head.method == "HEAD" {
        reply.body = Body::Whole(Bytes::new());
    }
    let plan = deliver::plan(&reply, &Fault::None, &frame);
    walk(shared, wire, plan).await.map_err(|Left| Trouble::Gone)
}

/// Answers with the body still on its way, and leaves it unread.
async fn answer_early(
    shared: &Shared,
    wire: &mut Wire,
    route: &Route,
    fault: &Fault,
) -> Result<End, Trouble> {
    if *fault == Fault::Refuse {
        return Ok(End::Close);
    }
    let request_id = shared.next_request_id();
    let frame = Frame {
        api: route.api,
        operation: &route.operation,
        request_id: &request_id,
        close: true,
        paced: false,
    };
    let plan = deliver::plan(&Reply::json(200, Bytes::new()), fault, &frame);
    walk(shared, wire, plan).await.map_err(|Left| Trouble::Gone)?;
    wire.finish().await;
    tokio::time::sleep(LINGER).await;
    Ok(End::Close)
}

/// Tells a peer that broke HTTP what was wrong, in plain words, and closes.
async fn refuse_broken(wire: &mut Wire, status: u16, why: &str) {
    let length = why.len();
    let text = format!(
        "HTTP/1.1 {status} Refused\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{why}"
    );
    if wire.send(text.as_bytes()).await.is_ok() {
        wire.finish().await;
        tokio::time::sleep(LINGER).await;
    }
}

fn control_reply(shared: &Shared, head: &Head, body: &[u8]) -> Reply {
    match control::read(head, body) {
        Err(reply) => return reply,
        Ok(Order::Requests) => return control::show(&shared.log.requests()),
        Ok(Order::Script(script)) => shared.scripts.add(script.selector, script.faults, script.forever),
        Ok(Order::Release(count)) => shared.release(count),
        Ok(Order::Clear) => shared.scripts.clear(),
    }
    control::done()
}

/// Walks the steps of an answer; counts a peer that left before the end.
async fn walk(shared: &Shared, wire: &mut Wire, plan: Plan) -> Result<End, Left> {
    for step in plan.steps {
        let done = match step {
            Step::Send(bytes) => wire.send(&bytes).await,
            Step::Pace => pause(wire, shared.options.pace).await,
            Step::Hold => hold(shared, wire).await,
            Step::Stall => {
                let _holding = Holding::new(&shared.log);
                wire.gone().await;
                Err(Left)
            }
        };
        if done.is_err() {
            shared.log.count(|counts| counts.disconnects += 1);
            return Err(Left);
        }
    }
    Ok(plan.end)
}

async fn pause(wire: &mut Wire, pace: Duration) -> Result<(), Left> {
    tokio::select! {
        () = wire.gone() => Err(Left),
        () = tokio::time::sleep(pace) => Ok(()),
    }
}

async fn hold(shared: &Shared, wire: &mut Wire) -> Result<(), Left> {
    let _holding = Holding::new(&shared.log);
    tokio::select! {
        biased;
        () = wire.gone() => Err(Left),
        permit = shared.gate.acquire() => {
            if let Ok(permit) = permit {
                permit.forget();
            }
            Ok(())
        }
    }
}

/// Counts an open connection for as long as it lives.
struct Open<'a>(&'a Log);

impl<'a> Open<'a> {
    fn new(log: &'a Log) -> Self {
        log.count(|counts| {
            counts.open += 1;
            counts.total += 1;
        });
        Self(log)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.count(|counts| counts.open -= 1);
    }
}

/// Counts an answer that waits for as long as it does.
struct Holding<'a>(&'a Log);

impl<'a> Holding<'a> {
    fn new(log: &'a Log) -> Self {
        log.count(|counts| counts.holding += 1);
        Self(log)
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.0.count(|counts| counts.holding -= 1);
    }
}

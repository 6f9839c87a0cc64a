//! Exchanges about what was made before: looked for by its id, asked for where it lives, and shown under that id again.
//!
//! Such an exchange has one channel and one credential ([`crate::stage::task`]). Invariants: one that only looks after a task
//! (asks whether it is done, downloads, deletes) counts at a rate of its own and is asked whatever rests; one that makes
//! another task counts like one that makes the first; the provider's id is in nothing that the client gets.

use crate::code::Code;
use crate::config::snapshot::Key;
use crate::gateway::bearer::Bearer;
use crate::gateway::client::Client;
use crate::gateway::exchange::{Accepted, Exchange};
use crate::gateway::forward::Answer;
use crate::gateway::relay::Keeping;
use crate::gateway::{Gateway, Stop, body};
use crate::limit::Amount;
use crate::protocol::entry::{self, Entry};
use crate::protocol::fields::names;
use crate::protocol::inspect::{self, Inspection};
use crate::protocol::observe::estimate;
use crate::protocol::splice::Edit;
use crate::protocol::{Medium, Operation, task as ids};
use crate::record::Text;
use crate::refusal::Refusal;
use crate::stage::plan::{Attempt, Plan};
use crate::stage::task::{self, Binding, Task};
use crate::stage::{foreign, route};
use crate::state::Live;
use crate::state::responses::{Keeper, Tab};
use bytes::Bytes;
use smol_str::SmolStr;
use std::sync::Arc;

/// What an exchange about a task knows of it.
#[derive(Debug)]
pub struct OfTask {
    /// The task.
    pub task: Task,
    /// What names it by its provider's id in the body, where the body names it.
    pub edit: Option<Edit>,
}

impl OfTask {
    /// Puts our id into an error of the provider's that is the client's to see.
    pub(super) fn show_in(&self, answer: &mut Answer) {
        if !answer.complete {
            return;
        }
        let shown = ids::with_id(&answer.held.concat(), &self.task.made.upstream, &self.task.id);
        if answer.head.headers.has(names::CONTENT_LENGTH) {
            answer.head.headers.set_number(names::CONTENT_LENGTH, shown.len());
        }
        answer.held = vec![shown.into()];
    }
}

impl Gateway {
    /// admit → inspect → route → reserve, for what is about a task.
    pub(super) async fn accept_task(
        &self,
        client: &mut Client<'_>,
        exchange: &mut Exchange,
        mut entry: Entry,
    ) -> Result<Box<Accepted>, Stop> {
        let key = Self::identify(client, exchange, &entry)?;
        let live = Arc::clone(&exchange.live);
        let bearer = self.admit(exchange, &key, entry.operation).await?;
        let mut share = self.registry.bodies().share();
        let bounds = body::Bounds::of(&key, &live.snapshot.server);
        let (mut body, received) = body::read(client, bounds, &mut share).await?;
        exchange.record.bytes_in = received;
        let mut inspection: Box<Inspection> = Box::default();
        if entry.operation == Operation::VideoRemix {
            inspection = inspect::read(entry.operation, &client.head().headers, &body)?;
        } else {
            body = Bytes::new();
        }
        let of = if entry.operation == Operation::Response {
            inspection.stream = streams(&key, &entry)?;
            exchange.record.stream = inspection.stream;
            let (id, part) = in_path(&entry);
            let mut task = task::response(&live, self.registry.responses(), &key, id)?;
            // Its input says nothing of what was made of it.
            task.tab = task.tab.filter(|_| part != Some("input_items"));
            OfTask { task, edit: None }
        } else {
            named(&live, &key, &mut entry, &inspection)?
        };
        let requested = SmolStr::new(&of.task.made.model);
        if !requested.is_empty() {
            exchange.record.model_requested = Some(Text::of(&requested));
        }
        let plan = self.bear_task(exchange, bearer, &entry, &of.task).await?;
        if let Some(tab) = &of.task.tab {
            exchange.record.model_requested = Some(Text::new(&tab.requested));
            let bearing = exchange.key.clone().unwrap_or(key);
            self.open_account(exchange, &bearing, (&of.task, tab));
        }
        let thinking = foreign::read(self.registry.signers(), entry.operation, &body, self.world.now());
        let (others, usage_refused_by) = (Vec::new(), Vec::new());
        let request_tokens = estimate::tokens_of(entry.operation, &body);
        let task = Some(of);
        Ok(Box::new(Accepted {
            entry,
            body,
            inspection,
            requested,
            plan,
            others,
            thinking,
            usage_refused_by,
            task,
            share,
            request_tokens,
        }))
    }

    /// The attempt that needs no choice: the one that looks after a task.
    pub(super) fn first(&self, exchange: &Exchange, accepted: &mut Accepted) -> Option<Box<Attempt>> {
        if accepted.entry.operation.medium() != Some(Medium::Polls) {
            return None;
        }
        accepted.plan.regardless(&exchange.live, &self.registry, self.world.now())
    }

    /// What remembers the response that this attempt may be answered with.
    pub(super) fn keeping(
        &self,
        exchange: &Exchange,
        accepted: &Accepted,
        attempt: &Attempt,
    ) -> Option<Keeping<'_>> {
        let key = exchange.key.as_ref().filter(|_| accepted.entry.operation == Operation::Responses)?;
        let accounts = &exchange.live.channel(attempt.channel.index).accounts;
        let account = *accounts.get(attempt.credential_index)?;
        let (background, upstream) = (accepted.inspection.background, &attempt.model_upstream);
        let tab = background.then(|| Arc::new(Tab::new(&accepted.requested, upstream)));
        let keeper = Keeper { account, rename: accepted.rename(attempt).map(Arc::from), tab };
        Some(Keeping { responses: self.registry.responses(), key: key.id.clone(), keeper })
    }

    /// route → reserve: at the first of the key's groups that may have it made there.
    async fn bear_task(
        &self,
        exchange: &mut Exchange,
        mut bearer: Bearer,
        entry: &Entry,
        task: &Task,
    ) -> Result<Box<Plan>, Refusal> {
        let live = Arc::clone(&exchange.live);
        let makes = entry.operation.creates();
        while makes && !task.channel.open_to(&bearer.key.group.id) {
            bearer.permit.refund();
            if bearer.others.is_empty() {
                return Err(closed());
            }
            bearer = self.admit_next(exchange, bearer.others, entry.operation).await?;
        }
        let Bearer { key, mut permit, .. } = bearer;
        let requested = &task.made.model;
        let names = (SmolStr::new(route::mapped(&key, requested)), SmolStr::new(requested));
        let mut plan = Box::new(Plan::of_task(task, names, live.snapshot.attempts));
        plan.asked_by(&key.id);
        if makes {
            route::allowed(&key, requested).inspect_err(|_| permit.refund())?;
            let size = (entry.operation, requested.as_str(), Amount::default());
            self.reserve(exchange, (&key, &plan), &mut permit, size).await?;
        }
        exchange.identified(key);
        exchange.admitted = Some(permit);
        Ok(plan)
    }
}

impl Accepted {
    /// What the ids in its answer are bound to, where it tells of tasks.
    pub fn binding(&self, exchange: &Exchange, attempt: &Attempt) -> Option<Binding> {
        let key = exchange.key.as_ref().filter(|_| self.entry.operation.tells_of_tasks())?;
        let renamed = self.rename(attempt).is_some();
        Binding::of(&exchange.live, key, attempt, (&self.requested, renamed))
    }
}

/// The task that a request names, in its path or in its body; the path is the provider's from here on.
fn named(live: &Live, key: &Key, entry: &mut Entry, inspection: &Inspection) -> Result<OfTask, Refusal> {
    let (first, rest) = in_path(entry);
    if entry.operation == Operation::VideoRemix && rest.is_none() {
        let source = inspection.source.as_ref().ok_or_else(no_source)?;
        let task = task::find(live, key, &source.name)?;
        let edit = Some(source.edit(&task.made.upstream));
        return Ok(OfTask { task, edit });
    }
    let task = task::find(live, key, first)?;
    let rest = rest.map(|rest| format!("/{rest}")).unwrap_or_default();
    entry.tail = format!("/{}{rest}", entry::encoded(&task.made.upstream));
    Ok(OfTask { task, edit: None })
}

/// The id in the path, and what follows it.
fn in_path(entry: &Entry) -> (&str, Option<&str>) {
    let mut segments = entry.tail.splitn(3, '/').skip(1);
    (segments.next().unwrap_or_default(), segments.next())
}

/// Whether what is kept shall come as a stream once more, and may.
fn streams(key: &Key, entry: &Entry) -> Result<bool, Refusal> {
    let stream = entry.query.iter().flat_map(|query| query.split('&')).any(|pair| pair == "stream=true");
    if stream {
        route::may_stream(key)?;
    }
    Ok(stream)
}

fn no_source() -> Refusal {
    let message = "`video.id` is missing. Name a video that was made with this API key by its id; one that is sent along \
        belongs to no account yet.";
    Refusal::new(Code::InvalidRequest, message).param("video")
}

fn closed() -> Refusal {
    let message = "The account at the AI provider that has this video takes nothing new for this API key at the moment. Make \
        one anew, or tell the operator.";
    Refusal::new(Code::NoChannelAvailable, message)
}

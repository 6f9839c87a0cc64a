//! Whose a task is, and where it lives: the id that a client holds says it, and proves it (decision 0021).
//!
//! Invariants: what was made with one key is nobody else's, whatever ids others make up; a task is asked for at the channel
//! and with the credential that made it, or not at all; nothing is remembered here, so that every replica knows the same,
//! before and after a restart.

use crate::code::Code;
use crate::config::snapshot::{Channel, Key};
use crate::protocol::task::{Account, Made, Tag, TaskId};
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::stage::plan::Attempt;
use crate::state::Live;
use crate::state::responses::{Responses, Tab};
use std::sync::Arc;

/// A task that was found by its id.
#[derive(Debug)]
pub struct Task {
    /// What made it.
    pub channel: Arc<Channel>,
    /// The credential it was made with, by position.
    pub credential: usize,
    /// What it is, and how it is called there.
    pub made: Made,
    /// Its id, as the client has it.
    pub id: String,
    /// What is still to be booked of it.
    pub tab: Option<Arc<Tab>>,
}

/// The task of this key with this id.
pub fn find(live: &Live, key: &Key, id: &str) -> Result<Task, Refusal> {
    let task = TaskId::read(id).ok_or_else(unknown)?;
    let (channel, credential) = holder(live, task.account).ok_or_else(homeless)?;
    let secret = &channel.credentials[credential];
    if !secret.has_signed(
        signed(live, key, (secret, &task.account), &task.made).iter().map(Vec::as_slice),
        &task.tag,
    ) {
        return Err(unknown());
    }
    Ok(Task { channel: Arc::clone(channel), credential, made: task.made, id: id.to_owned(), tab: None })
}

/// The response of this key with this id, which its provider keeps.
pub fn response(live: &Live, kept: &Responses, key: &Key, id: &str) -> Result<Task, Refusal> {
    let keeper = kept.keeper(&key.id, id).ok_or_else(not_kept)?;
    let (channel, credential) = holder(live, keeper.account).ok_or_else(homeless)?;
    let (renamed, model) = (keeper.rename.is_some(), keeper.rename.as_deref().unwrap_or_default().to_owned());
    let made = Made { model, renamed, upstream: id.to_owned() };
    let tab = keeper.tab.filter(|tab| !tab.is_closed());
    Ok(Task { channel: Arc::clone(channel), credential, made, id: id.to_owned(), tab })
}

/// Who keeps the response that this key's conversation goes on from: its channel and credential, by their marks.
pub fn keeper(live: &Live, kept: &Responses, key: &Key, previous: &str) -> Option<(u64, u64)> {
    let (channel, credential) = holder(live, kept.keeper(&key.id, previous)?.account)?;
    let state = live.channel(channel.index);
    Some((state.mark, *state.credential_marks.get(credential)?))
}

/// What an answer's ids are bound to: the account that gave it, and the key that asked.
#[derive(Debug)]
pub struct Binding {
    account: Account,
    secret: Secret,
    key: Vec<Vec<u8>>,
    model: String,
    renamed: bool,
}

impl Binding {
    /// For the answer to this attempt; the model by the client's name, and whether the provider has another one.
    pub fn of(live: &Live, key: &Key, attempt: &Attempt, (model, renamed): (&str, bool)) -> Option<Self> {
        let account = *live.channel(attempt.channel.index).accounts.get(attempt.credential_index)?;
        let secret = attempt.credential.clone();
        let model = if model.len() <= MODEL_BYTES_MAX { model } else { "" }.to_owned();
        let renamed = renamed && !model.is_empty();
        Some(Self { account, key: whose(live, key, (&secret, &account)), secret, model, renamed })
    }

    /// The id that a client gets for this one of the provider's.
    pub fn id(&self, upstream: &str) -> Option<String> {
        let made = Made { model: self.model.clone(), renamed: self.renamed, upstream: upstream.to_owned() };
        let parts = self.key.iter().map(Vec::as_slice).chain(made.parts());
        let signed = self.secret.sign(parts);
        let tag: Tag = std::array::from_fn(|at| signed[at]);
        TaskId { account: self.account, made, tag }.text()
    }
}

/// Everything that a tag covers.
fn signed(live: &Live, key: &Key, by: (&Secret, &Account), made: &Made) -> Vec<Vec<u8>> {
    let mut parts = whose(live, key, by);
    parts.extend(made.parts().map(<[u8]>::to_vec));
    parts
}

/// The key by its name, so that its tasks outlive its secret. Where there is no credential to sign with, its digest has to
/// be what others do not know, and they do not.
fn whose(live: &Live, key: &Key, (secret, account): (&Secret, &Account)) -> Vec<Vec<u8>> {
    let mut parts = vec![TASK.to_vec(), account.to_vec(), key.id.as_str().as_bytes().to_vec()];
    if secret.expose().is_empty() {
        let digests = &live.snapshot.key_by_digest;
        let digest =
            digests.iter().find(|(_, index)| **index == key.index).map(|(digest, _)| digest.to_string());
        parts.push(digest.unwrap_or_default().into_bytes());
    }
    parts
}

fn holder(live: &Live, account: Account) -> Option<(&Arc<Channel>, usize)> {
    live.snapshot.channels.iter().filter(|channel| channel.enabled).find_map(|channel| {
        let accounts = &live.channel(channel.index).accounts;
        accounts.iter().position(|other| *other == account).map(|credential| (channel, credential))
    })
}

/// An id that proves nothing, or that was given to another key, which is not told apart.
fn unknown() -> Refusal {
    let message = "There is no task with this id for this API key. Use the id as it was given in the answer that made it, with \
        the API key that asked for it.";
    Refusal::new(Code::TaskNotFound, message)
}

/// Nobody else could know it, so nobody else is asked.
fn homeless() -> Refusal {
    let message = "The account at the AI provider that this task was made with is not in use here any more, or the id is not \
        as it was given. Make it anew, or tell the operator.";
    Refusal::new(Code::TaskNotFound, message)
}

/// It may be anybody's, or older than what is remembered.
fn not_kept() -> Refusal {
    let message = "No response with this id is known here for this API key: it was made with another one, without `store`, \
        through another gateway, or before this one was last started. Send the whole conversation instead.";
    Refusal::new(Code::TaskNotFound, message)
}

const TASK: &[u8] = b"tollgate: a task of a key, 1";
/// As long as an id can tell; no model's name is.
const MODEL_BYTES_MAX: usize = 255;

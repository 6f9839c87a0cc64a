//! The request as one channel gets it: the client's bytes with another model name, without thinking that
//! another provider signed and with the usage asked for, the channel's address and credential, and nothing
//! that identifies the client to the provider.
//!
//! Invariants: of the body only the model's bytes, the blocks that are cut out, `include_usage`, the cap on the
//! answer and the id of a task differ;
//! every credential form of the client is gone; unknown headers pass in their order; the length is exact.

use crate::config::snapshot::{Channel, CredentialForm, Naming};
use crate::protocol::batch;
use crate::protocol::entry::{self, Entry};
use crate::protocol::fields::{Fields, names};
use crate::protocol::inspect::ModelField;
use crate::protocol::key_forms;
use crate::protocol::splice::{self, Edit, Edits, Pieces, splice};
use crate::protocol::websocket::handshake;
use crate::protocol::{Medium, Operation, Protocol};
use crate::secret::Secret;
use crate::stage::hosted::{self, Hosted};
use crate::stage::plan::Attempt;
use bytes::Bytes;
use http::Method;
use std::borrow::Cow;

/// A request ready to be sent.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// Every header, framing included.
    pub headers: Fields,
    /// The body in pieces of the client's own bytes.
    pub body: Pieces,
}

/// What of the client's request goes into an attempt.
#[derive(Debug, Clone, Copy)]
pub struct Original<'a> {
    /// The method.
    pub method: &'a Method,
    /// What the address means.
    pub entry: &'a Entry,
    /// The head.
    pub headers: &'a Fields,
    /// The body, decoded.
    pub body: &'a Bytes,
    /// The model's value in the body, where it stands there.
    pub model: Option<&'a ModelField>,
    /// What this channel is not sent of the body, in its order.
    pub stripped: &'a [Edit],
    /// What holds its answer to the key's cap.
    pub capped: &'a [Edit],
    /// What asks this channel for the usage, where it has to be asked for.
    pub ask_usage: Option<&'a Edit>,
    /// What names a task by its provider's id.
    pub task: Option<&'a Edit>,
    /// The model by the client's name.
    pub requested: &'a str,
    /// Whether a stream is asked for.
    pub stream: bool,
}

/// Writes the request for one attempt.
pub fn rewrite(original: &Original<'_>, attempt: &Attempt) -> Outgoing {
    let channel = &attempt.channel;
    let mut edits: Edits = original.stripped.iter().cloned().collect();
    let hosted = Hosted::of(channel, original.entry.operation);
    let is_renamed = attempt.model_upstream != original.requested;
    let model = original.model.filter(|_| is_renamed);
    let model = model.filter(|_| !hosted.is_some_and(Hosted::says_model));
    let batch = if is_renamed { repeated(original) } else { Vec::new() };
    for field in model.into_iter().chain(&batch) {
        // Gemini's bodies may repeat the path's model, with the path's prefix.
        let name = attempt.model_upstream.as_str();
        let is_prefixed = field.name.starts_with(RESOURCE);
        let edit = if is_prefixed { field.edit(&[RESOURCE, name].concat()) } else { field.edit(name) };
        splice::insert(&mut edits, edit);
    }
    for edit in original.capped.iter().chain(original.ask_usage).chain(original.task) {
        splice::insert(&mut edits, edit.clone());
    }
    for edit in hosted.iter().flat_map(|hosted| hosted.edits(original.headers, original.body)) {
        splice::insert(&mut edits, edit);
    }
    let body = splice(original.body, &edits);
    let length: usize = body.iter().map(Bytes::len).sum();
    let mut headers = forwarded(original.headers, channel);
    if length > 0 || original.method == Method::POST {
        headers.set_number(names::CONTENT_LENGTH, length);
    }
    address(&mut headers, channel, original.entry.operation, &attempt.credential);
    if original.entry.operation == Operation::Realtime {
        handshake::ask(&mut headers, original.headers);
    }
    Outgoing {
        method: original.method.clone(),
        target: target(original.entry, channel, (&attempt.model_upstream, original.stream)),
        headers,
        body,
    }
}

/// Where each request of a batch names the path's model once more.
fn repeated(original: &Original<'_>) -> Vec<ModelField> {
    let is_batch = original.entry.operation == Operation::BatchEmbedContents;
    if is_batch { batch::models(original.body) } else { Vec::new() }
}

/// Path and query at this channel.
pub fn target(entry: &Entry, channel: &Channel, (model, stream): (&str, bool)) -> String {
    let place = channel.place_of(entry.operation);
    if let (Operation::Realtime, Some(requested)) = (entry.operation, &entry.model) {
        let name = if place.naming == Naming::Deployment { "deployment" } else { "model" };
        let query = entry::realtime_query(entry.query.as_deref(), (requested, model), name);
        // Its model stands in the query now, under the provider's name.
        return target(&Entry { query, model: None, ..entry.clone() }, channel, (model, stream));
    }
    let hosted = Hosted::of(channel, entry.operation);
    if let Some(target) = hosted.and_then(|hosted| hosted.target(&place.base_path, model, stream)) {
        return target;
    }
    let deployed = place.naming == Naming::Deployment && has_deployment(entry.operation);
    let base_path = if deployed {
        Cow::from(format!("{}/deployments/{}", place.base_path, entry::encoded(model)))
    } else {
        Cow::from(&place.base_path)
    };
    let Some(version) = &place.api_version else {
        return entry::upstream_path(entry, &base_path, place.version.as_deref(), model);
    };
    let others = entry.query.iter().flat_map(|query| query.split('&'));
    let others = others.filter(|pair| !pair.starts_with(API_VERSION)).map(str::to_owned);
    let query: Vec<String> = others.chain([format!("{API_VERSION}{version}")]).collect();
    let entry = Entry { query: Some(query.join("&")), ..entry.clone() };
    entry::upstream_path(&entry, &base_path, place.version.as_deref(), model)
}

/// Azure's dated API has responses, realtime, files, jobs, films and models beside its deployments.
fn has_deployment(operation: Operation) -> bool {
    use Operation::{GetModel, ListModels, Realtime};
    let is_task = matches!(operation.medium(), Some(Medium::Videos | Medium::Polls));
    let is_responses = operation.belongs_to() == Some(Protocol::Responses);
    !operation.is_tunnel()
        && !is_task
        && !is_responses
        && !matches!(operation, ListModels | GetModel | Realtime)
}

const API_VERSION: &str = "api-version=";

/// The client's headers without what is never passed on, and with the channel's own changes.
pub fn forwarded(headers: &Fields, channel: &Channel) -> Fields {
    let nominated = key_forms::nominated(headers);
    let mut kept = Fields::with_capacity(headers.len() + FIELDS_ADDED, headers.bytes_at_most() + BYTES_ADDED);
    kept.extend_from(headers, |named, _| {
        !key_forms::is_stripped(named)
            && !nominated.iter().any(|nominated| nominated == named.name)
            && !channel.remove_headers.iter().any(|removed| removed.as_bytes() == named.name)
    });
    for (name, value) in &channel.set_headers {
        kept.replace(name, value.expose());
    }
    kept
}

/// Says where it goes and who pays: `Host`, the channel's credential, and plain text back.
pub fn address(headers: &mut Fields, channel: &Channel, operation: Operation, credential: &Secret) {
    headers.set_all(&channel.endpoint.fields);
    let form = channel.place_of(operation).credential;
    let (name, scheme) = match form {
        CredentialForm::Bearer | CredentialForm::ClaudeToken => (names::AUTHORIZATION, "Bearer "),
        CredentialForm::XApiKey => ("x-api-key", ""),
        CredentialForm::XGoogApiKey => ("x-goog-api-key", ""),
        CredentialForm::ApiKey => ("api-key", ""),
        CredentialForm::Identity => return hosted::clean(headers, channel, operation),
    };
    let text = credential.expose();
    if !text.is_empty() {
        headers.set_joined(name, (scheme, text));
    }
    if form == CredentialForm::ClaudeToken {
        with_beta(headers, OAUTH_BETA);
    }
}

/// Asks for a beta of Anthropic's beside those that the client asks for.
fn with_beta(headers: &mut Fields, beta: &str) {
    let mut betas: Vec<&[u8]> = headers.words(ANTHROPIC_BETA).filter(|one| !one.is_empty()).collect();
    if !betas.contains(&beta.as_bytes()) {
        betas.push(beta.as_bytes());
    }
    let betas = betas.join(&b',');
    headers.set(ANTHROPIC_BETA, betas);
}

const ANTHROPIC_BETA: &str = "anthropic-beta";
/// What lets the token of `claude setup-token` in.
const OAUTH_BETA: &str = "oauth-2025-04-20";
const RESOURCE: &str = "models/";
/// Host, length, encoding, credential, and what the channel sets.
const FIELDS_ADDED: usize = 8;
const BYTES_ADDED: usize = 320;

//! `OpenAI`'s responses as they are kept: shown again, streamed again, cancelled, deleted.
//!
//! Every response has the same id here, so what is kept of an account is the model that its last one was made with. One that is
//! made in the background is queued, then in progress at the first look, then done.
//! Invariants: what one credential made no other finds; at most [`ACCOUNTS_MAX`] accounts are kept.

use crate::answers::Answers;
use crate::api::{Api, KeptCall, Operation};
use crate::body::Facts;
use crate::errors::Refused;
use crate::faults::Fault;
use crate::openai::responses;
use crate::reply::Reply;
use crate::route::Route;
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// How many accounts are kept.
const ACCOUNTS_MAX: usize = 4_096;

/// The responses of one fake provider.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    models: Mutex<HashMap<String, Last>>,
}

/// The last response of an account.
#[derive(Debug, Clone)]
struct Last {
    model: String,
    /// Whether it is still being made.
    is_under_way: bool,
}

impl Kept {
    /// This credential made one with this model.
    pub(crate) fn learn(&self, credential: &str, model: &str, is_under_way: bool) {
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        if models.len() < ACCOUNTS_MAX {
            models.insert(credential.to_owned(), Last { model: model.to_owned(), is_under_way });
        }
    }

    /// Answers any of the calls.
    pub(crate) fn answer(
        &self,
        answers: &Answers,
        (call, id): (KeptCall, &str),
        credential: &str,
    ) -> Result<Reply, Refused> {
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = || Refused::new(Api::OpenAi, 404, format!("Response with id '{id}' not found."));
        let last = models.get_mut(credential).filter(|_| id == "resp_fake").ok_or_else(missing)?;
        let model = last.model.clone();
        match call {
            KeptCall::Show(false) if std::mem::take(&mut last.is_under_way) => {
                Ok(responses::under_way(&model, "in_progress"))
            }
            KeptCall::Show(stream) => {
                let route = Route { api: Api::OpenAi, operation: Operation::Responses, model: None };
                answers.find(&route, &Facts { model, stream, ..Facts::default() }, &Fault::None)
            }
            KeptCall::Delete => {
                models.remove(credential);
                Ok(Reply::json(200, json!({ "id": id, "object": "response", "deleted": true }).to_string()))
            }
            KeptCall::Cancel => Ok(responses::cancelled(&model)),
            KeptCall::InputItems => {
                let content = json!([{ "type": "input_text", "text": "hi" }]);
                let item = json!({ "id": "msg_in", "type": "message", "role": "user", "content": content });
                let list = json!({
                    "object": "list", "data": [item], "first_id": "msg_in", "last_id": "msg_in", "has_more": false,
                });
                Ok(Reply::json(200, list.to_string()))
            }
        }
    }
}

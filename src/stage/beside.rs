//! A model that is used beside the one a conversation was opened with: what writes down what the user says.
//!
//! Invariant: it is one that the key may use and that the channel serves, under the name the operator gave it, as if it had been
//! asked for by itself.

use crate::code::Code;
use crate::config::snapshot::{Channel, Key};
use crate::refusal::{Refusal, quoted};
use crate::stage::route;

/// Its name at the channel.
pub fn model<'a>(key: &'a Key, channel: &'a Channel, requested: &'a str) -> Result<&'a str, Refusal> {
    if key.models.as_ref().is_some_and(|models| !models.matches(requested)) {
        let message = format!("This API key may not use the model {}.", quoted(requested));
        return Err(Refusal::new(Code::ModelNotAllowed, message));
    }
    let mapped = route::mapped(key, requested);
    if !channel.serves(mapped) {
        let message = format!("The model {} is not served within this session.", quoted(requested));
        return Err(Refusal::new(Code::ModelNotFound, message));
    }
    Ok(channel.upstream_model(mapped))
}

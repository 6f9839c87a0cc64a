//! Work that a provider does later and that passes nobody's eyes here: batches and fine-tuning.
//!
//! Invariant: what a key is held to by its models, tokens or quotas cannot be gone past by such work: a key that is
//! held to any of them may not ask for it. Rates of requests and slots count its requests like any other.

use crate::code::Code;
use crate::config::snapshot::{Key, Limits};
use crate::protocol::Operation;
use crate::refusal::Refusal;
use crate::state::Live;

/// Refuses work that would go past what the key is held to.
pub fn check(live: &Live, key: &Key, operation: Operation) -> Result<(), Refusal> {
    if !operation.works_unseen() {
        return Ok(());
    }
    let counts_tokens =
        |limits: &Limits| limits.tpm.is_some() || limits.input_tpm.is_some() || limits.output_tpm.is_some();
    let bound = if key.models.is_some() || !key.model_limits.is_empty() {
        "some models"
    } else if counts_tokens(&key.limits) || counts_tokens(&key.group.limits) {
        "a rate of tokens"
    } else if !live.quotas().of_key(key).is_empty() {
        "a quota"
    } else if key.max_output_tokens.is_some() {
        "answers of a length"
    } else {
        return Ok(());
    };
    Err(Refusal::new(
        Code::ModelNotAllowed,
        format!(
            "This API key is held to {bound}, and {} would go past that unseen. Send the requests one by one, or ask \
             the operator for a key without that limit.",
            if operation == Operation::FineTuning { "fine-tuning" } else { "a batch" }
        ),
    ))
}

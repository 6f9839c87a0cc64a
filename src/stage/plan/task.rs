//! A plan for what lives in one account: at the channel and with the credential that made it, and nowhere else.

use super::{Attempt, Plan, Turns};
use crate::limit::Nanos;
use crate::stage::task::Task;
use crate::state::{Live, Registry};
use smallvec::smallvec;
use smol_str::SmolStr;
use std::sync::Arc;

impl Plan {
    /// For an exchange about this task; the model after the profile's mapping, and by the client's name.
    pub fn of_task(task: &Task, model: (SmolStr, SmolStr), attempts: usize) -> Self {
        let plan = Self::new(model, smallvec![Arc::clone(&task.channel)], Turns::First, attempts);
        Self { only: Some(task.credential), ..plan }
    }

    /// Its one attempt, whatever rests or is full: nobody else knows the task, and looking after it is what its provider
    /// expects, whatever it says of other requests.
    pub fn regardless(&mut self, live: &Live, registry: &Registry, now: Nanos) -> Option<Box<Attempt>> {
        let channel = Arc::clone(self.candidates.first()?);
        let credential_index = self.only?;
        self.retries.pay(live, registry, &self.candidates, now);
        self.retries.made();
        self.attempts_left = 0;
        Some(Box::new(Attempt {
            credential: channel.credentials.get(credential_index)?.clone(),
            credential_index,
            model_upstream: SmolStr::default(),
            channel,
            followed: None,
            slot: None,
            charge: None,
            probe: None,
            asked_by: self.asked_by.clone(),
        }))
    }
}

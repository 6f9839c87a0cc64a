//! `tollgate channels test`: every credential of the channels named, tried out at once.
//!
//! Invariant: so many are under way at once and no more; the rows come in the order of the configuration.

use crate::app::demo::runtime;
use crate::app::descriptors;
use crate::config::Snapshot;
use crate::config::snapshot::Channel;
use crate::gateway::peer::Upstream;
use crate::gateway::trial::{Trial, Verdict, trial};
use crate::resolve::Resolver;
use crate::stage::trial::{a_model, question};
use crate::world::System;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// One credential of a channel, and what came of it.
#[derive(Debug)]
pub struct Row {
    /// The channel's name.
    pub channel: String,
    /// What may be shown of the credential.
    pub credential: String,
    /// The model that was asked, by its name here; `None`: the list of models was asked for.
    pub model: Option<String>,
    /// What came of it.
    pub trial: Trial,
}

impl Row {
    /// Whether the channel answers with it.
    pub fn is_ok(&self) -> bool {
        self.trial.verdict == Verdict::Ok
    }
}

/// Tries these channels; `progress` hears of each row as it comes, and of how many there will be.
pub fn trials(
    snapshot: &Snapshot,
    channels: &[Arc<Channel>],
    (model, slow): (Option<&str>, Duration),
    mut progress: impl FnMut(&Row, usize),
) -> Result<Vec<Row>, String> {
    runtime()?.block_on(async {
        let resolver = Arc::new(Resolver::default());
        resolver.follow(snapshot.channels.iter().flat_map(|channel| channel.hosts()));
        let upstream =
            Upstream::new(resolver, Arc::new(System::start()), Arc::default(), descriptors::kept(1));
        let places = Arc::new(Semaphore::new(AT_ONCE_MAX));
        let mut under_way = JoinSet::new();
        for channel in channels {
            let model = model.map(str::to_owned).or_else(|| a_model(channel));
            for at in 0..channel.credentials.len() {
                let (channel, model, upstream) = (Arc::clone(channel), model.clone(), upstream.clone());
                let (places, number) = (Arc::clone(&places), under_way.len());
                under_way.spawn(async move {
                    let _place = places.acquire().await;
                    let credential = &channel.credentials[at];
                    let question = question(&channel, credential, model.as_deref());
                    let trial = trial(&upstream, (&channel, credential), &question, slow).await;
                    let (name, credential) = (channel.id.as_str().to_owned(), channel.credential_label(at));
                    (number, Row { channel: name, credential, model, trial })
                });
            }
        }
        let all = under_way.len();
        let mut rows = Vec::with_capacity(all);
        while let Some(ended) = under_way.join_next().await {
            let (number, row) = ended.map_err(|error| format!("a trial broke off: {error}"))?;
            progress(&row, all);
            rows.push((number, row));
        }
        rows.sort_by_key(|(number, _)| *number);
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    })
}

/// As many connections as nobody minds.
const AT_ONCE_MAX: usize = 16;

//! Decisions without sockets: a configuration with its counters, asked which channel it would take.

use std::sync::Arc;
use std::time::Duration;
use tollgate::config::{self, FsSource};
use tollgate::failure::{Failure, FailureKind, Sent};
use tollgate::id::KeyId;
use tollgate::protocol::{Dialect, Operation};
use tollgate::stage::canary;
use tollgate::stage::choose::{self, Followed, Preference};
use tollgate::stage::plan::{Attempt, Next, Plan};
use tollgate::stage::route::{self, Wanted};
use tollgate::state::{Live, Registry};

/// A second, and when every test begins.
pub(crate) const SECOND: u64 = 1_000_000_000;

/// A gateway that decides and sends nothing.
pub(crate) struct Decides {
    pub(crate) registry: Registry,
    pub(crate) live: Live,
    pub(crate) now: u64,
}

impl Decides {
    pub(crate) fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("tollgate.toml");
        std::fs::write(&file, format!("{text}{}", super::key())).expect("it is written");
        let loaded = config::load(&file, &FsSource).unwrap_or_else(|problems| panic!("{problems}"));
        let registry = Registry::default();
        let live = registry.bind(Arc::new(loaded.snapshot), SECOND);
        Self { registry, live, now: SECOND }
    }

    /// A plan for the model `m` of this session, under the name of this key.
    pub(crate) fn plan(&self, key: &str, trace: Option<&str>) -> Plan {
        let alice = self.live.snapshot.key_named("alice").expect("it is configured");
        let wanted = Wanted {
            dialect: Dialect::OpenAi,
            operation: Operation::ChatCompletions,
            model: Some("m"),
            stream: true,
        };
        let mut plan = route::route(&self.live, alice, wanted).expect("a plan");
        let remembered = |trace| self.registry.sticky().session(&KeyId::new(key), trace, "m", self.now);
        plan.prefer(Preference { stream: true, session: trace.map(remembered), keeper: None });
        canary::draw(&mut plan, &self.registry);
        *plan
    }

    pub(crate) fn next(&self, plan: &mut Plan) -> Attempt {
        match plan.next(&self.live, &self.registry, self.now) {
            Next::Attempt(attempt) => *attempt,
            other => panic!("{other:?}"),
        }
    }

    /// The first attempt of an exchange; its slot is held as long as it lives.
    pub(crate) fn attempt(&self, trace: Option<&str>) -> Attempt {
        self.next(&mut self.plan("alice", trace))
    }

    /// Books an attempt as answered after so long.
    pub(crate) fn answered(&self, plan: &Plan, attempt: &Attempt, took: Duration) {
        choose::answered(&self.live, &self.registry, attempt, plan.preference(), (self.now, took));
    }

    /// Books an attempt as failed, as the gateway does.
    pub(crate) fn failed(&self, plan: &mut Plan, attempt: &Attempt, kind: FailureKind, took: Duration) {
        let failure = Failure::new(kind, Sent::NotBegun, "");
        let (by, at) = (plan.preference(), (self.now, took));
        choose::failed(&self.live, &self.registry, (attempt, &failure), by, at);
        plan.failed(&self.live, attempt, failure, (self.now, 0));
    }

    /// A whole exchange that is answered well; at which channel and credential, and how it came there.
    pub(crate) fn serve(&self, key: &str, trace: Option<&str>) -> (String, Option<Followed>) {
        let mut plan = self.plan(key, trace);
        let attempt = self.next(&mut plan);
        self.answered(&plan, &attempt, Duration::from_millis(300));
        (place(&attempt), attempt.followed)
    }
}

/// `channel/credential`.
pub(crate) fn place(attempt: &Attempt) -> String {
    format!("{}/{}", attempt.channel.id, attempt.credential_index)
}

/// A channel that is never asked.
pub(crate) fn line(name: &str, keys: &[&str], more: &str) -> String {
    let keys: Vec<String> = keys.iter().map(|key| format!("\"{key}\"")).collect();
    let keys = keys.join(", ");
    format!("[[channel]]\nname = \"{name}\"\ntype = \"openai\"\napi_keys = [{keys}]\n{more}\n")
}

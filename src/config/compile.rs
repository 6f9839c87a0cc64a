//! From what was written to what it means: references resolved, secrets read, text taken apart.
//!
//! Invariant: every problem is noted and compiling goes on, so that one load reports them all; the snapshot
//! that comes out is only used if none was noted. No secret's value reaches a message.

pub(super) mod address;
mod at;
mod channels;
mod clouds;
mod egress;
pub(super) mod examples;
mod fleet;
mod keys;
pub(super) mod kinds;
mod otlp;
mod places;
mod prices;
mod profiles;
mod quotas;
mod secrets;
mod server;
mod sites;
mod tls;
mod units;
mod upstream;
mod usefulness;

use self::at::{At, Spot};
use super::file::{File, Limits as WrittenLimits, present};
use super::node::{NAME_CHARS_MAX, Sheet, Value};
use super::problem::{Findings, Problem, did_you_mean, shown};
use super::snapshot::{Channel, Group, Limits, Profile, Quota, Rate, Snapshot};
use super::source::Reads;
use crate::id::{GroupId, ProfileId};
use crate::protocol::Medium;
use crate::spread::Map;
use std::sync::Arc;

/// What was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input<'a> {
    /// The trees, for the places of problems.
    pub(super) sheets: &'a [Sheet],
    /// The same files as types, by the same positions.
    pub(super) files: &'a [File],
    /// Whether a file could not be read.
    pub(super) incomplete: bool,
}

/// What compiling yields beside its findings.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) snapshot: Snapshot,
    pub(super) example_key: Option<Problem>,
}

/// Compiles files in reading order, the entry file first (there is at least that one).
pub(super) fn compile(
    Input { sheets, files, incomplete }: Input<'_>,
    reads: &mut Reads<'_>,
    findings: &mut Findings,
) -> Compiled {
    let mut compiler = Compiler {
        sheets,
        incomplete,
        reads,
        findings,
        group_index: Map::default(),
        groups: Vec::new(),
        profiles: Map::default(),
        channels: Vec::new(),
    };
    let (server, trace, log) = compiler.edge(&files[0]);
    let ledger = compiler.ledger(files[0].ledger.as_ref());
    let history = compiler.history(files[0].history.as_ref());
    let fleet = compiler.fleet(files[0].fleet.as_ref());
    let upstream = compiler.upstream(files[0].upstream.as_ref());
    let otlp = compiler.otlp(files[0].otlp.as_ref(), &upstream);
    compiler.groups(files);
    compiler.profiles(files);
    compiler.channels(files, &upstream);
    let keys = compiler.keys();
    let projects = compiler.projects(files, &keys.listed);
    compiler.quotas_kept(&keys.listed, &projects, ledger.is_some() || fleet.is_some());
    let prices = compiler.prices(files);
    compiler.look_for_the_useless(files, &keys);
    let snapshot = Snapshot {
        hash: compiler.reads.hash(),
        server,
        trace,
        log,
        ledger,
        history,
        fleet,
        otlp,
        attempts: upstream.attempts,
        retry_budget_permille: upstream.retry_budget_permille,
        keys: keys.listed,
        groups: compiler.groups,
        projects,
        channels: compiler.channels,
        prices,
        profiles: compiler.profiles,
        key_by_digest: keys.by_digest,
    };
    Compiled { snapshot, example_key: keys.example }
}

struct Compiler<'a, 'r> {
    sheets: &'a [Sheet],
    /// References that lead nowhere and missing keys are not reported then.
    incomplete: bool,
    reads: &'a mut Reads<'r>,
    findings: &'a mut Findings,
    group_index: Map<GroupId, usize>,
    groups: Vec<Arc<Group>>,
    profiles: Map<ProfileId, Arc<Profile>>,
    channels: Vec<Arc<Channel>>,
}

/// A kind of entry: what it is called, and where a file has it.
type Section<T> = (&'static str, fn(&File) -> &[Option<T>]);

/// The entries of one kind over all files, with their places.
fn entries<'a, T: 'a>(files: &'a [File], (section, of): Section<T>) -> impl Iterator<Item = (At, &'a T)> {
    files.iter().enumerate().flat_map(move |(file, written)| {
        present(of(written)).map(move |(index, entry)| (At::section(file, section).item(index), entry))
    })
}

impl Compiler<'_, '_> {
    fn problem(&mut self, at: &At, what: impl Into<String>, hint: Option<String>) {
        let sheet = &self.sheets[at.file];
        self.findings.problem(at.file, || Problem::at_steps(sheet, &at.steps(), what).hint(hint));
    }

    fn warning(&mut self, at: &At, what: impl Into<String>, hint: Option<String>) {
        let sheet = &self.sheets[at.file];
        self.findings.warning(at.file, || Problem::at_steps(sheet, &at.steps(), what).hint(hint));
    }

    /// A reference that leads nowhere, as far as everything was read.
    fn dangling(&mut self, at: &At, what: String, hint: Option<String>) {
        if !self.incomplete {
            self.problem(at, what, hint);
        }
    }

    /// Whether a table has no other keys than these. What did not fit has been reported, and was written.
    fn says_only(&self, at: &At, keys: &[&str]) -> bool {
        let root = &self.sheets[at.file].root;
        let entry =
            at.steps().into_iter().try_fold(root, |node, step| node.down(step).map(|(_, below)| below));
        let Some(Value::Table(entries)) = entry.map(|node| &node.value) else { return false };
        entries.iter().all(|entry| keys.contains(&&*entry.key))
    }

    /// Notes a problem with text and goes on without the value.
    fn checked<T>(&mut self, at: &At, result: Result<T, String>) -> Option<T> {
        result.map_err(|what| self.problem(at, what, None)).ok()
    }

    /// A name that may be a metric label and is the only one of its kind.
    fn name(&mut self, at: &At, name: &str, first: &mut Map<String, Spot>) {
        let at = at.key("name");
        if name.is_empty() || name.trim() != name || name.contains(char::is_control) {
            self.problem(
                &at,
                "must be a word: not empty, no white space at its ends, no control characters",
                None,
            );
        } else if name.chars().count() > NAME_CHARS_MAX {
            self.problem(&at, format!("is longer than {NAME_CHARS_MAX} characters"), None);
        } else if let Some(first) = first.get(name) {
            let first = first.at();
            let sheet = &self.sheets[first.file];
            let line = sheet.root.locate(&first.key("name").steps()).line();
            let what = format!("is given twice; the first is at {}:{line}", sheet.path.display());
            self.problem(&at, what, None);
        } else {
            first.insert(name.to_owned(), at.spot());
        }
    }

    /// Every text of a list; an empty list is a problem, since leaving it out means something else.
    fn texts<'a>(
        &mut self,
        at: &At,
        list: Option<&'a Vec<Option<String>>>,
        absent_means: &str,
    ) -> Option<Vec<(usize, &'a str)>> {
        let list = list?;
        if list.is_empty() {
            self.problem(at, "is empty", Some(format!("leave it out for {absent_means}")));
        }
        let texts: Vec<(usize, &str)> = present(list).map(|(index, text)| (index, text.as_str())).collect();
        for (index, text) in &texts {
            if text.trim().is_empty() {
                self.problem(&at.item(*index), "is empty", None);
            }
        }
        Some(texts)
    }

    fn groups(&mut self, files: &[File]) {
        let mut first = Map::default();
        for (at, group) in entries(files, ("group", |file| &file.group)) {
            self.name(&at, &group.name, &mut first);
            let limits = self.senders_limits(&at.key("limits"), &group.limits);
            let quota = self.quota(&at.key("quota"), group.quota.as_ref());
            self.add_group(GroupId::new(&group.name), limits, quota);
        }
        if !self.group_index.contains_key(DEFAULT_GROUP) {
            self.add_group(GroupId::new(DEFAULT_GROUP), Limits::default(), None);
        }
    }

    fn add_group(&mut self, id: GroupId, limits: Limits, quota: Option<Quota>) {
        let index = self.groups.len();
        self.group_index.insert(id.clone(), index);
        self.groups.push(Arc::new(Group { id, index, limits, quota }));
    }

    /// The group a reference means.
    fn group(&mut self, at: &At, name: &str) -> Option<Arc<Group>> {
        if let Some(index) = self.group_index.get(name) {
            return Some(Arc::clone(&self.groups[*index]));
        }
        let hint = did_you_mean(name, self.groups.iter().map(|group| group.id.as_str()));
        let hint = hint.or_else(|| Some("declare it with `[[group]]`".to_owned()));
        self.dangling(at, format!("there is no group {}", shown(name)), hint);
        None
    }

    fn limits(&mut self, at: &At, written: &WrittenLimits) -> Limits {
        let mut rate = |per_minute: Option<u64>, burst: Option<u64>, of: (&'static str, &str)| {
            if burst.is_some() && per_minute.is_none() {
                self.problem(&at.key(of.0), format!("limits nothing without `{}`", of.1), None);
            }
            per_minute.map(|per_minute| Rate { per_minute, burst: burst.unwrap_or(per_minute) })
        };
        Limits {
            rpm: rate(written.rpm, written.burst, ("burst", "rpm")),
            tpm: rate(written.tpm, written.tpm_burst, ("tpm_burst", "tpm")),
            input_tpm: rate(written.input_tpm, written.input_tpm_burst, ("input_tpm_burst", "input_tpm")),
            output_tpm: rate(
                written.output_tpm,
                written.output_tpm_burst,
                ("output_tpm_burst", "output_tpm"),
            ),
            concurrency: written.concurrency,
            media: [
                rate(written.images_rpm, written.images_burst, ("images_burst", "images_rpm")),
                rate(written.audio_rpm, written.audio_burst, ("audio_burst", "audio_rpm")),
                rate(
                    written.count_tokens_rpm,
                    written.count_tokens_burst,
                    ("count_tokens_burst", "count_tokens_rpm"),
                ),
                rate(written.videos_rpm, written.videos_burst, ("videos_burst", "videos_rpm")),
                rate(written.polls_rpm, written.polls_burst, ("polls_burst", "polls_rpm")),
            ],
        }
    }

    /// The limits of who sends requests: without rates of their own, counts of tokens and requests about tasks come ten
    /// times as often.
    fn senders_limits(&mut self, at: &At, written: &WrittenLimits) -> Limits {
        let mut limits = self.limits(at, written);
        let often = limits.rpm.map(|rpm| rpm.per_minute.saturating_mul(APART_PER_REQUEST));
        for medium in Medium::ALL.into_iter().filter(|medium| medium.is_apart()) {
            let rate = &mut limits.media[medium as usize];
            *rate = rate.or(often.map(|per_minute| Rate { per_minute, burst: per_minute }));
        }
        limits
    }
}

/// A program counts the tokens of a dozen parts of its prompt where it sends a request or two, and asks every second
/// whether its one film is done.
const APART_PER_REQUEST: u64 = 10;

/// Exists without being declared.
const DEFAULT_GROUP: &str = "default";

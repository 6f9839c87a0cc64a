//! Quotas, and the projects that have one.
//!
//! Invariant: a quota bounds something, by the amount that was written; money is read as prices are.

use super::{At, Compiler, entries};
use crate::config::file::{File, Project as WrittenProject, Quota as Written};
use crate::config::problem::{Problem, did_you_mean};
use crate::config::snapshot::{Key, Per, Project, Quota};
use crate::price::decimal;
use crate::spread::Map;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Compiler<'_, '_> {
    /// Compiles a quota; what is wrong with it has been said where there is none.
    pub(super) fn quota(&mut self, at: &At, written: Option<&Written>) -> Option<Quota> {
        let written = written?;
        let nano_usd = written.usd.map(|usd| decimal::amount(&usd.to_string()).map_err(str::to_owned));
        let nano_usd = nano_usd.map(|usd| self.checked(&at.key("usd"), usd));
        if self.says_only(at, &["per"]) {
            self.problem(at, "bounds nothing: give `usd`, `tokens` or `requests`", None);
        }
        // A word that is none has been refused with the schema.
        let per = Per::ALL.into_iter().find(|per| per.word() == written.per)?;
        Some(Quota { nano_usd: nano_usd.flatten(), tokens: written.tokens, requests: written.requests, per })
    }

    /// Compiles every project, and warns about one that no key names.
    pub(super) fn projects(&mut self, files: &[File], keys: &[Arc<Key>]) -> Vec<Project> {
        let named: BTreeSet<&str> = keys.iter().filter_map(|key| key.project.as_deref()).collect();
        let mut first = Map::default();
        let mut projects = Vec::new();
        for (at, written) in entries(files, ("project", |file| &file.project)) {
            self.name(&at, &written.name, &mut first);
            if !named.contains(written.name.as_str()) {
                self.unused_project(&at, written, &named);
            }
            let quota = self.quota(&at.key("quota"), Some(&written.quota));
            projects.extend(quota.map(|quota| Project { name: written.name.clone(), quota }));
        }
        projects
    }

    /// Warns where nothing outlives the process that a quota could go on from.
    pub(super) fn quotas_kept(&mut self, keys: &[Arc<Key>], projects: &[Project], is_kept: bool) {
        let of_keys = keys.iter().filter(|key| key.quota.is_some()).count();
        let of_groups = self.groups.iter().filter(|group| group.quota.is_some()).count();
        if !is_kept && of_keys + of_groups + projects.len() > 0 {
            let sheet = &self.sheets[0];
            let what = "quotas begin anew with each start: nothing keeps what was spent";
            let hint = Some("add `[ledger]` with a `path`".to_owned());
            self.findings.warning(0, || Problem::of_file(&sheet.path, what).hint(hint));
        }
    }

    fn unused_project(&mut self, at: &At, written: &WrittenProject, named: &BTreeSet<&str>) {
        let hint = did_you_mean(&written.name, named.iter().copied());
        self.warning(&at.key("name"), "is the `project` of no key", hint);
    }
}

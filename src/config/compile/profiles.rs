//! Profiles: mappings with their regexes compiled.
//!
//! Invariant: a regex matches whole names only and has a bounded size; a bad one refuses the load.

use super::{At, Compiler, entries};
use crate::config::file::{File, Mapping as Written, present};
use crate::config::problem::{did_you_mean, shown};
use crate::config::snapshot::{Mapping, MappingFrom, Profile};
use crate::id::ProfileId;
use crate::spread::Map;
use regex::{Regex, RegexBuilder};
use std::sync::Arc;

/// A compiled regex's memory; hundreds of times what a model name's pattern needs.
const REGEX_BYTES_MAX: usize = 1 << 20;

impl Compiler<'_, '_> {
    /// Compiles every profile.
    pub(super) fn profiles(&mut self, files: &[File]) {
        let mut first = Map::default();
        for (at, written) in entries(files, ("profile", |file| &file.profile)) {
            self.name(&at, &written.name, &mut first);
            let at = at.key("mappings");
            let mappings = present(&written.mappings)
                .filter_map(|(index, mapping)| self.mapping(&at.item(index), mapping))
                .collect();
            let id = ProfileId::new(&written.name);
            self.profiles.insert(id.clone(), Arc::new(Profile { id, mappings }));
        }
    }

    fn mapping(&mut self, at: &At, written: &Written) -> Option<Mapping> {
        if written.to.trim().is_empty() {
            self.problem(&at.key("to"), "is empty", None);
        }
        let from = match (&written.from, &written.from_regex) {
            (Some(name), None) => MappingFrom::Exact(name.clone()),
            (None, Some(pattern)) => {
                let regex = whole(pattern);
                MappingFrom::Regex(self.checked(&at.key("from_regex"), regex)?)
            }
            _ => {
                self.problem(at, "must have one of `from` and `from_regex`", None);
                return None;
            }
        };
        Some(Mapping { from, to: written.to.clone() })
    }

    /// The profile a reference means.
    pub(super) fn profile(&mut self, at: &At, name: &str) -> Option<Arc<Profile>> {
        if let Some(profile) = self.profiles.get(&ProfileId::new(name)) {
            return Some(Arc::clone(profile));
        }
        let hint = did_you_mean(name, self.profiles.keys().map(ProfileId::as_str));
        let hint = hint.or_else(|| Some("declare it with `[[profile]]`".to_owned()));
        self.dangling(at, format!("there is no profile {}", shown(name)), hint);
        None
    }
}

fn whole(pattern: &str) -> Result<Regex, String> {
    let build = |text: &str| RegexBuilder::new(text).size_limit(REGEX_BYTES_MAX).build();
    // First as written: a stray parenthesis must not find its partner in our own group.
    build(pattern).and_then(|_| build(&format!("^(?:{pattern})$"))).map_err(|error| {
        let text = error.to_string();
        let why = text.lines().rev().find_map(|line| line.trim().strip_prefix("error: ").map(str::to_owned));
        format!(
            "is no regular expression: {}",
            why.unwrap_or_else(|| "it is too large once compiled".to_owned())
        )
    })
}

//! What is wrong with a configuration, for the operator who has to mend it.
//!
//! Invariant: a problem says where, what and, where it is known, how to mend it; it never holds a secret's
//! value, nor any value that could be one put in the wrong place. [`Problems`] is never empty.

use super::node::{Place, Sheet, Step};
use super::source::Watched;
use std::fmt;
use std::path::PathBuf;

/// One thing wrong at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was named.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: Option<usize>,
    /// The column in characters, from 1.
    pub column: Option<usize>,
    /// The dotted path: `channel.openai-main.base_url`; empty for a whole file.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// How to mend it.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem with a file as a whole.
    pub(super) fn of_file(file: &std::path::Path, what: impl Into<String>) -> Self {
        let file = file.to_owned();
        Self { file, line: None, column: None, path: String::new(), what: what.into(), hint: None }
    }

    /// A problem at a place that has no dotted path, as in a file that cannot be parsed.
    pub(super) fn at_place(file: &std::path::Path, place: Place, what: impl Into<String>) -> Self {
        Self { line: Some(place.line()), column: Some(place.column()), ..Self::of_file(file, what) }
    }

    /// A problem with what stands under `steps`, or would stand there.
    pub(super) fn at_steps(sheet: &Sheet, steps: &[Step<'_>], what: impl Into<String>) -> Self {
        let path = sheet.root.dotted(steps);
        Self { path, ..Self::at_place(&sheet.path, sheet.root.locate(steps), what) }
    }

    /// The schema was generated from the types, so this is a fault of ours; to go on with nothing of the file would be worse.
    /// serde's own message could hold a secret.
    pub(super) fn of_types(sheet: &Sheet) -> Self {
        Self::of_file(&sheet.path, "does not fit the configuration's types although it fits the schema")
    }

    /// Adds how to mend it.
    #[must_use]
    pub(super) fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.what)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

/// Why a configuration was refused.
#[derive(Debug, Clone)]
pub struct Problems {
    listed: Vec<Problem>,
    unlisted: usize,
    watched: Watched,
}

impl Problems {
    /// A single reason.
    pub(super) fn one(problem: Problem, watched: Watched) -> Self {
        Self { listed: vec![problem], unlisted: 0, watched }
    }

    /// Every problem listed, by file and line.
    pub fn listed(&self) -> &[Problem] {
        &self.listed
    }

    /// What was read on the way: watching it tells when to try again.
    pub fn watched(&self) -> &Watched {
        &self.watched
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.listed.iter().enumerate() {
            let end_of_last = if index == 0 { "" } else { "\n" };
            write!(f, "{end_of_last}{problem}")?;
        }
        if self.unlisted > 0 {
            write!(f, "\n… and {} more", self.unlisted)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Enough to mend a file by, and no flood when one mistake is in each of 100,000 keys.
const PROBLEMS_MAX: usize = 500;

/// Problems and warnings while they are found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    problems: Bounded,
    warnings: Bounded,
}

#[derive(Debug, Default)]
struct Bounded {
    /// With the position of the file in reading order, so that the list can be sorted the way it is read.
    listed: Vec<(usize, Problem)>,
    unlisted: usize,
}

impl Bounded {
    fn push(&mut self, file: usize, problem: impl FnOnce() -> Problem) {
        if self.listed.len() < PROBLEMS_MAX {
            self.listed.push((file, problem()));
        } else {
            self.unlisted += 1;
        }
    }

    fn sorted(mut self) -> Vec<Problem> {
        self.listed.sort_by_key(|(file, problem)| (*file, problem.line, problem.column));
        self.listed.into_iter().map(|(_, problem)| problem).collect()
    }
}

impl Findings {
    /// Notes what refuses the configuration. `problem` is only built while there is room for it.
    pub(super) fn problem(&mut self, file: usize, problem: impl FnOnce() -> Problem) {
        self.problems.push(file, problem);
    }

    /// Notes what the operator should know.
    pub(super) fn warning(&mut self, file: usize, warning: impl FnOnce() -> Problem) {
        self.warnings.push(file, warning);
    }

    /// What was read and the warnings, or why there is no configuration.
    pub(super) fn finish(self, watched: Watched) -> Result<(Watched, Vec<Problem>), Problems> {
        if self.problems.listed.is_empty() {
            return Ok((watched, self.warnings.sorted()));
        }
        Err(self.refuse(watched))
    }

    /// Why there is no configuration; called once a problem was found.
    pub(super) fn refuse(self, watched: Watched) -> Problems {
        let unlisted = self.problems.unlisted;
        Problems { listed: self.problems.sorted(), unlisted, watched }
    }
}

/// A value as a message may show it: bounded and on one line. Never for what may be a secret.
pub(super) fn shown(text: &str) -> String {
    let kept: String = text.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect();
    let cut = if text.chars().count() > SHOWN_CHARS_MAX { "…" } else { "" };
    format!("`{kept}{cut}`")
}

/// Long enough for every real name.
const SHOWN_CHARS_MAX: usize = 80;

/// "did you mean `…`?", where one of the known words is close enough to be meant.
pub(super) fn did_you_mean<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    if written.chars().count() > SHOWN_CHARS_MAX {
        return None;
    }
    let distance_max = (written.chars().count() / 3).max(1);
    let nearest = known
        .into_iter()
        .filter(|word| written.len() > 4 || word.chars().next() == written.chars().next())
        .map(|word| (strsim::damerau_levenshtein(written, word), word))
        .min()?;
    (nearest.0 <= distance_max).then(|| format!("did you mean `{}`?", nearest.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suggestion_is_close_to_what_was_written_or_absent() {
        for (written, known, expected) in [
            ("base_ur", &["base_url", "models"][..], Some("did you mean `base_url`?")),
            ("modles", &["base_url", "models"], Some("did you mean `models`?")),
            ("quota", &["base_url", "models"], None),
            ("tpm", &["rpm"], None), // another limit, not a slip of the finger
            ("rmp", &["rpm"], Some("did you mean `rpm`?")),
        ] {
            assert_eq!(did_you_mean(written, known.iter().copied()).as_deref(), expected, "{written}");
        }
    }
}

//! How the price list says which names it means.
//!
//! Invariant: letter case does not count, as at the source; a regex is searched for, the others are texts.

use regex::{Regex, RegexBuilder};
use std::sync::OnceLock;

/// One way for a name to be meant.
#[derive(Debug)]
pub(super) enum Clause {
    Is(&'static str),
    Begins(&'static str),
    Ends(&'static str),
    Contains(&'static str),
    Regex(Late),
}

/// A regex that is compiled when it is first asked: of the list's hundreds, few ever are. Of one that is none nothing is meant.
#[derive(Debug)]
pub(super) struct Late {
    text: &'static str,
    compiled: OnceLock<Option<Regex>>,
}

impl Late {
    fn regex(&self) -> Option<&Regex> {
        self.compiled.get_or_init(|| regex(self.text)).as_ref()
    }
}

impl Clause {
    /// Whether it is one: a regex need not be.
    #[cfg(test)]
    pub(super) fn is_sound(&self) -> bool {
        if let Self::Regex(late) = self { late.regex().is_some() } else { true }
    }

    /// Whether the name (or address), in lower case, is meant.
    pub(super) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Is(text) => name == *text,
            Self::Begins(text) => name.starts_with(*text),
            Self::Ends(text) => name.ends_with(*text),
            Self::Contains(text) => name.contains(*text),
            Self::Regex(late) => late.regex().is_some_and(|regex| regex.is_match(name)),
        }
    }

    fn parse(word: &'static str) -> Option<Self> {
        let mut chars = word.chars();
        let sign = chars.next()?;
        let text = chars.as_str();
        match sign {
            _ if text.is_empty() => None,
            '=' => Some(Self::Is(text)),
            '^' => Some(Self::Begins(text)),
            '$' => Some(Self::Ends(text)),
            '~' => Some(Self::Contains(text)),
            '/' => Some(Self::Regex(Late { text, compiled: OnceLock::new() })),
            _ => None,
        }
    }
}

/// Clauses, one of which must match, by words.
pub(super) fn clauses(text: &'static str) -> Option<Vec<Clause>> {
    text.split_whitespace().map(Clause::parse).collect()
}

/// A regex of the list, bounded like one of the operator's. Names and addresses are ASCII, and without Unicode's tables
/// most compile ten times as fast; the few that could match half a character need them.
fn regex(text: &str) -> Option<Regex> {
    let build = |unicode| RegexBuilder::new(text).unicode(unicode).size_limit(REGEX_BYTES_MAX).build().ok();
    build(false).or_else(|| build(true))
}

/// A compiled regex's memory; hundreds of times what the list's own need.
const REGEX_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clause_matches_as_its_sign_says() {
        for (word, name, fits) in [
            ("=gpt-4.1", "gpt-4.1", true),
            ("=gpt-4.1", "gpt-4.1-mini", false),
            ("^claude-2", "claude-2.1", true),
            ("^claude-2", "x-claude-2", false),
            ("$flash", "gemini-2.0-flash", true),
            ("$flash", "gemini-2.0-flash-lite", false),
            ("~claude", "anthropic.claude-v2", true),
            ("~claude", "gpt", false),
            (r"/^o[134]", "o3-mini", true),
            (r"/^o[134]", "go3", false),
        ] {
            assert_eq!(Clause::parse(word).unwrap().matches(name), fits, "{word} {name}");
        }
        for word in ["", "=", "gpt", "?gpt"] {
            assert!(Clause::parse(word).is_none(), "{word}");
        }
        let none = Clause::parse("/(").unwrap();
        assert!(!none.is_sound() && !none.matches("("));
    }
}

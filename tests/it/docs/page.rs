//! A document, taken apart as far as the tests ask: fenced blocks, tables, links, headings.

use crate::support::repository;
use std::collections::BTreeSet;
use std::path::Path;

/// One Markdown file.
pub(crate) struct Page {
    /// In the repository.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A fenced block.
pub(crate) struct Block {
    /// The comment right above it; empty: none.
    pub(crate) mark: String,
    pub(crate) text: String,
    /// Where it begins.
    pub(crate) line: usize,
}

/// A file of the repository.
pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The README, the changelog and everything in docs.
pub(crate) fn pages() -> Vec<Page> {
    let mut pages = Vec::from(["README.md", "README.zh.md", "CHANGELOG.md"].map(Page::read));
    for folder in ["docs", "docs/clients", "docs/decisions", "docs/zh"] {
        let mut names: Vec<String> = std::fs::read_dir(repository(folder))
            .expect("the documents are in the repository")
            .map(|entry| entry.expect("it can be listed").file_name().to_string_lossy().into_owned())
            .filter(|name| Path::new(name).extension().is_some_and(|end| end == "md"))
            .collect();
        names.sort();
        pages.extend(names.iter().map(|name| Page::read(&format!("{folder}/{name}"))));
    }
    pages
}

impl Page {
    pub(crate) fn read(path: &str) -> Self {
        Self { path: path.to_owned(), text: read(path) }
    }

    /// Every fenced block of a language.
    pub(crate) fn blocks(&self, language: &str) -> Vec<Block> {
        let (open, lines) = (format!("```{language}"), self.text.lines().collect::<Vec<_>>());
        let begins = (0..lines.len()).filter(|at| lines[*at] == open);
        let block = |at: usize| {
            let inside: Vec<&str> =
                lines[at + 1..].iter().take_while(|line| **line != "```").copied().collect();
            let mark = at.checked_sub(1).and_then(|above| comment(lines[above])).unwrap_or_default();
            Block { mark: mark.to_owned(), text: inside.join("\n") + "\n", line: at + 1 }
        };
        begins.map(block).collect()
    }

    /// The tables that stand below a comment that begins so, by the rest of the comment.
    pub(crate) fn tables(&self, begin: &str) -> Vec<(String, Vec<Vec<String>>)> {
        let lines: Vec<&str> = self.text.lines().collect();
        let named = lines.iter().enumerate().filter_map(|(at, line)| {
            let name = comment(line)?.strip_prefix(begin)?;
            Some((name.to_owned(), rows(&lines[at + 1..])))
        });
        named.collect()
    }

    /// The table below `<!-- table: name -->`.
    pub(crate) fn table(&self, name: &str) -> Vec<Vec<String>> {
        let mut tables = self.tables("table: ").into_iter();
        let found = tables.find(|(own, _)| own == name);
        found.unwrap_or_else(|| panic!("{} has a table '{name}'", self.path)).1
    }

    /// The first table below a heading.
    pub(crate) fn rows_below(&self, heading: &str) -> Vec<Vec<String>> {
        let lines: Vec<&str> = self.text.lines().collect();
        let begin = lines.iter().position(|line| *line == heading);
        let begin = begin.unwrap_or_else(|| panic!("{} has {heading}", self.path));
        let table = lines[begin..].iter().position(|line| line.starts_with('|'));
        rows(&lines[begin + table.unwrap_or_else(|| panic!("{heading} has a table"))..])
    }

    /// The targets of its links inside the repository.
    pub(crate) fn links(&self) -> Vec<String> {
        let targets = self.text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        targets.filter(|target| !target.contains("://")).map(str::to_owned).collect()
    }

    /// What a link to one of its headings ends with.
    pub(crate) fn anchors(&self) -> BTreeSet<String> {
        let headings = self.text.lines().filter(|line| line.starts_with('#'));
        headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
    }
}

/// What stands in `<!-- … -->`.
fn comment(line: &str) -> Option<&str> {
    line.strip_prefix("<!-- ")?.strip_suffix(" -->")
}

/// The rows of the table that begins here, head and rule left out.
fn rows(lines: &[&str]) -> Vec<Vec<String>> {
    let table = lines.iter().take_while(|line| line.starts_with('|')).skip(2);
    table.map(|line| cells(line)).collect()
}

fn cells(line: &str) -> Vec<String> {
    let line = line.trim().trim_matches('|').replace("\\|", "\u{0}");
    line.split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect()
}

/// As GitHub makes it: small letters, spaces to dashes, of the rest only letters, digits, `-` and `_`.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}

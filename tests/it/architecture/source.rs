//! Rust files as the architecture sees them: code without comments and texts, production apart from tests.
//!
//! Invariant: taking comments and texts out keeps every line break, so a line's number stays its number. Tests
//! stand last in a file (a rule of the house), so `#[cfg(test)] mod … {` ends the production part.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// One file.
pub(super) struct Source {
    /// From the folder that was read, with `/`.
    pub(super) path: String,
    /// As it was written.
    pub(super) text: String,
    /// The code that ships; empty for a file of tests.
    pub(super) production: String,
    /// The code that only tests run.
    pub(super) tests: String,
}

/// Every `.rs` file below a folder of the repository, sorted.
pub(super) fn sources(folder: &str) -> Vec<Source> {
    let root = crate::support::repository(folder);
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    paths.sort();
    let mut sources: Vec<Source> = paths.iter().map(|path| read(&root, path)).collect();
    let test_modules: HashSet<String> = sources.iter().flat_map(test_modules).collect();
    for source in &mut sources {
        let module = source.path.trim_end_matches(".rs");
        if test_modules.iter().any(|test| module == test || module.starts_with(&format!("{test}/"))) {
            source.tests = std::mem::take(&mut source.production) + &source.tests;
        }
    }
    sources
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder is in the repository") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

fn read(root: &Path, path: &Path) -> Source {
    let text = std::fs::read_to_string(path).expect("a Rust file is text");
    let code = code(&text);
    let inline = code.find("#[cfg(test)]\nmod ").filter(|at| {
        let line = code[at + "#[cfg(test)]\n".len()..].lines().next().unwrap_or_default();
        line.trim_end().ends_with('{')
    });
    let (production, tests) = code.split_at(inline.unwrap_or(code.len()));
    let (production, tests) = (production.to_owned(), tests.to_owned());
    let path = path.strip_prefix(root).expect("it was found there").to_string_lossy().replace('\\', "/");
    Source { path, text, production, tests }
}

/// The modules a file declares for tests only, as paths without `.rs`.
fn test_modules(source: &Source) -> Vec<String> {
    let folder = match source.path.trim_end_matches(".rs") {
        "lib" | "main" => String::new(),
        module => format!("{module}/"),
    };
    let lines: Vec<&str> = source.production.lines().collect();
    let declared = lines.windows(2).filter(|pair| pair[0].trim() == "#[cfg(test)]").filter_map(|pair| {
        let (_, name) = pair[1].trim().strip_suffix(';')?.split_once("mod ")?;
        Some(format!("{folder}{name}"))
    });
    declared.collect()
}

/// The text with comments and the insides of strings and characters blanked.
pub(super) fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = skipped(&bytes[at..], at > 0 && is_word(bytes[at - 1]));
        if end == 0 {
            out.push(bytes[at]);
            at += 1;
        } else {
            out.extend(bytes[at..at + end].iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }));
            at += end;
        }
    }
    String::from_utf8(out).expect("only whole comments and texts were blanked")
}

/// How many bytes of a comment or literal begin here; 0: code.
fn skipped(rest: &[u8], in_word: bool) -> usize {
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment(rest),
        [b'"', ..] => 1 + quoted(&rest[1..]),
        [b'\'', ..] => character(rest),
        [b'r', b'"' | b'#', ..] if !in_word => raw(rest, 1),
        [b'b', b'r', b'"' | b'#', ..] if !in_word => raw(rest, 2),
        _ => 0,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at + 1 < rest.len() {
        match &rest[at..at + 2] {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The length of a text after its opening quote, closing quote included.
fn quoted(rest: &[u8]) -> usize {
    let mut at = 0;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// A character, as opposed to a lifetime.
fn character(rest: &[u8]) -> usize {
    match rest {
        [_, b'\\', _, tail @ ..] => {
            3 + tail.iter().position(|byte| *byte == b'\'').map_or(0, |quote| quote + 1)
        }
        [_, _, b'\'', ..] => 3,
        [_, first, ..] if *first >= 0x80 => {
            rest.iter().skip(1).take(5).position(|byte| *byte == b'\'').map_or(0, |quote| quote + 2)
        }
        _ => 0,
    }
}

/// A raw text; 0 for a raw identifier.
fn raw(rest: &[u8], prefix: usize) -> usize {
    let hashes = rest[prefix..].iter().take_while(|byte| **byte == b'#').count();
    let begin = prefix + hashes;
    if rest.get(begin) != Some(&b'"') {
        return 0;
    }
    let close = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    let inside = &rest[begin + 1..];
    let end = inside.windows(close.len()).position(|window| window == close).unwrap_or(inside.len());
    (begin + 1 + end + close.len()).min(rest.len())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[test]
fn comments_and_texts_are_no_code_and_everything_else_is() {
    for (written, seen) in [
        ("a // crate::b\nc", "a c"),
        ("a /* x /* y */ z */ b", "a b"),
        (r#"f("crate::b \" x") + 1"#, "f( ) + 1"),
        (r##"f(r#"a " b"#) + r"c" + br"d";"##, "f( ) + + ;"),
        ("let x: &'a str = 'b';", "let x: &'a str = ;"),
        (r"if c == '\'' || c == '\u{1f}' {", "if c == || c == {"),
        ("if c == 'ä' {", "if c == {"),
        ("let r#type = bar", "let r#type = bar"),
        ("for r in 0..1", "for r in 0..1"),
    ] {
        let code = code(written);
        assert_eq!(code.split_whitespace().collect::<Vec<_>>().join(" "), seen, "{written}");
        assert_eq!((code.len(), code.lines().count()), (written.len(), written.lines().count()), "{written}");
    }
}

//! The house stands as `docs/ARCHITECTURE.md` draws it: arrows, absences and sizes are read from the code and held
//! against the tables of the page, in both directions, so that neither can change alone.

mod source;

use self::source::{Source, code, sources};
use std::collections::{BTreeMap, BTreeSet};

/// A room of the table.
#[derive(Debug)]
struct Room {
    level: u32,
    may_name: BTreeSet<String>,
}

#[test]
fn rooms_name_only_the_rooms_they_may_and_every_arrow_of_the_table_is_used() {
    let rooms = rooms();
    let used = arrows(&rooms);
    let mut wrong = Vec::new();
    for (room, named) in &used {
        let Some(row) = rooms.get(room) else {
            wrong.push(format!("src/{room}.rs is no room of the table"));
            continue;
        };
        for (other, place) in named {
            if !row.may_name.contains(other) {
                wrong.push(format!("{place}: {room} names {other}, which the table does not allow"));
            }
        }
        for other in row.may_name.iter().filter(|other| !named.contains_key(*other)) {
            wrong.push(format!("{room} may name {other} and does not: take the arrow out of the table"));
        }
    }
    wrong.extend(
        rooms.keys().filter(|room| !used.contains_key(*room)).map(|room| format!("there is no room {room}")),
    );
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_arrow_points_down_so_there_is_no_circle() {
    let rooms = rooms();
    let mut wrong = Vec::new();
    for (name, room) in &rooms {
        for other in &room.may_name {
            match rooms.get(other) {
                None => wrong.push(format!("{name} may name {other}, which is no room")),
                Some(below) if below.level >= room.level => {
                    wrong.push(format!("{name} ({}) may name {other} ({})", room.level, below.level));
                }
                Some(_) => {}
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_outside_is_named_only_where_the_table_says() {
    let sources = sources("src");
    let mut wrong = Vec::new();
    let rows = rows("outside");
    assert!(rows.len() >= 10, "the table has its rows");
    for row in rows {
        let what = row[0].trim_matches('`').to_owned();
        let places = words(&row[1]);
        assert!(!row[2].is_empty(), "{what} is named there for a reason");
        let named: Vec<&Source> = sources.iter().filter(|source| names(source, &what)).collect();
        for source in &named {
            if !places.iter().any(|place| is_in(&source.path, place)) {
                wrong.push(format!("src/{} names {what}", source.path));
            }
        }
        for place in places {
            if !named.iter().any(|source| is_in(&source.path, &place)) {
                wrong.push(format!("{place} may name {what} and does not: take it out of the table"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_file_says_first_why_it_exists() {
    let mut mute = Vec::new();
    for folder in ["src", "tests", "loadtest"] {
        for source in sources(folder) {
            let first = source.text.lines().next().unwrap_or_default();
            if first.strip_prefix("//! ").is_none_or(|words| words.split(' ').count() < 3) {
                mute.push(format!("{folder}/{}", source.path));
            }
        }
    }
    assert!(mute.is_empty(), "\n{}", mute.join("\n"));
}

#[test]
fn files_and_functions_fit_the_head_of_a_reader() {
    let mut large = Vec::new();
    for source in sources("src") {
        let lines = source.production.trim_end().lines().count();
        if lines > FILE_LINES_MAX {
            large.push(format!("src/{}: {lines} lines", source.path));
        }
        for (name, line, lines) in functions(&source.production) {
            if lines > FUNCTION_LINES_MAX {
                large.push(format!("src/{}:{line}: {name} has {lines} lines", source.path));
            }
        }
    }
    assert!(large.is_empty(), "\n{}", large.join("\n"));
}

#[test]
fn no_test_waits_for_time_to_pass() {
    let mut sleeping = Vec::new();
    for (folder, all_tests) in [("src", false), ("tests", true), ("loadtest/tests", true)] {
        for source in sources(folder) {
            let production = if all_tests { source.production.as_str() } else { "" };
            if production.contains("sleep(") || source.tests.contains("sleep(") {
                sleeping.push(format!("{folder}/{}", source.path));
            }
        }
    }
    assert!(sleeping.is_empty(), "wait for an event instead:\n{}", sleeping.join("\n"));
}

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// The rows between `<!-- name -->` and `<!-- end of name -->`, head and rule left out, as trimmed cells.
fn rows(name: &str) -> Vec<Vec<String>> {
    let page = std::fs::read_to_string(crate::support::repository("docs/ARCHITECTURE.md"))
        .expect("the page is in the repository");
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let table = page.split_once(&begin).and_then(|(_, rest)| rest.split_once(&end));
    let (table, _) = table.unwrap_or_else(|| panic!("the page has a table '{name}'"));
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    table.lines().skip(2).map(cells).collect()
}

/// The words in backticks of a cell.
fn words(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn rooms() -> BTreeMap<String, Room> {
    let rooms: BTreeMap<String, Room> = rows("rooms")
        .iter()
        .map(|row| {
            let level = row[0].parse().expect("a level is a number");
            let may_name = words(&row[3]).into_iter().collect();
            (row[1].trim_matches('`').to_owned(), Room { level, may_name })
        })
        .collect();
    assert!(rooms.len() >= 20, "the table has its rows");
    rooms
}

/// Room by room, the other rooms that its production code names, each with a place.
fn arrows(rooms: &BTreeMap<String, Room>) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut arrows: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for source in sources("src") {
        let room = room_of(&source.path);
        if room == "lib" {
            continue;
        }
        let named = arrows.entry(room.to_owned()).or_default();
        let own = if room == "main" { "tollgate" } else { "crate" };
        for (other, line) in paths_from(&source.production, own) {
            if other != room && (rooms.contains_key(&other) || room == "main") {
                named.entry(other).or_insert_with(|| format!("src/{}:{line}", source.path));
            }
        }
    }
    arrows
}

fn room_of(path: &str) -> &str {
    path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
}

/// The first segments after `crate::`, with their lines; `crate::{a::b, c}` names two.
fn paths_from(code: &str, own: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (at, rest) in after(code, &format!("{own}::")) {
        let line = line_of(code, at);
        match rest.strip_prefix('{') {
            Some(group) => found.extend(in_braces(group).into_iter().map(|name| (name, line))),
            None => found.push((word(rest).to_owned(), line)),
        }
    }
    found
}

/// What follows each occurrence of `what` that does not stand inside a longer word, with its place.
fn after<'a>(code: &'a str, what: &str) -> Vec<(usize, &'a str)> {
    let whole = |at: &usize| !code[..*at].ends_with(is_word);
    code.match_indices(what)
        .map(|(at, _)| at)
        .filter(whole)
        .map(|at| (at, &code[at + what.len()..]))
        .collect()
}

fn word(text: &str) -> &str {
    text.split(|c| !is_word(c)).next().unwrap_or_default()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// The first segment of every path in a group, after its opening brace.
fn in_braces(rest: &str) -> Vec<String> {
    let (mut depth, mut at_start, mut names) = (1, true, Vec::new());
    for token in rest.split_inclusive(|c: char| !is_word(c)) {
        let name = word(token);
        if at_start && depth == 1 && !name.is_empty() {
            names.push(name.to_owned());
            at_start = false;
        }
        match &token[name.len()..] {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," if depth == 1 => at_start = true,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

/// Whether the production code of a file names a thing of the outside.
fn names(source: &Source, what: &str) -> bool {
    after(&source.production, what).into_iter().any(|(_, rest)| match what {
        "pingora" | "redis" | "tokio" => rest[word(rest).len()..].starts_with("::"),
        "std::net" => {
            let listed = rest.strip_prefix("::{").and_then(|group| group.split('}').next());
            let listed = listed.unwrap_or_else(|| word(rest.trim_start_matches(':')));
            listed.split(',').any(|name| !ADDRESSES.contains(&name.trim()))
        }
        _ => !rest.starts_with(is_word),
    })
}

/// What `std::net` has that is a value and no socket.
const ADDRESSES: [&str; 5] = ["", "IpAddr", "Ipv4Addr", "Ipv6Addr", "SocketAddr"];

/// A place is a file, or a room with everything below it.
fn is_in(path: &str, place: &str) -> bool {
    let below = |path: &str| path.strip_prefix(place).is_some_and(|rest| rest.starts_with('/'));
    path == place || room_of(path) == place || below(path)
}

/// Name, line and length of every function with a body.
fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for (at, rest) in after(code, "fn ") {
        let Some(open) = body_of(rest) else { continue };
        let mut depth = 0;
        let closed = rest.bytes().enumerate().skip(open).find(|(_, byte)| {
            depth += i32::from(*byte == b'{') - i32::from(*byte == b'}');
            depth == 0
        });
        let end = closed.map_or(rest.len(), |(end, _)| end);
        found.push((word(rest).to_owned(), line_of(code, at), line_of(&rest[..end], end)));
    }
    found
}

/// Where the body begins; a `;` before it ends a declaration, unless it stands in `[T; N]`.
fn body_of(rest: &str) -> Option<usize> {
    let mut brackets = 0;
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            b'[' => brackets += 1,
            b']' => brackets -= 1,
            b'{' => return Some(at),
            b';' if brackets == 0 => return None,
            _ => {}
        }
    }
    None
}

#[test]
fn the_readers_of_code_see_what_is_there() {
    let text = "use crate::{a, b::{c, d}, e as f};\nlet x = crate::g::H; // crate::no\n";
    let named: Vec<String> = paths_from(&code(text), "crate").into_iter().map(|(name, _)| name).collect();
    assert_eq!(named, ["a", "b", "e", "g"]);
    let text = "trait T { fn none(&self); }\nfn two(at: [u8; 2]) {\n    \"{\";\n}\n";
    assert_eq!(functions(&code(text)), [("two".to_owned(), 2, 3)]);
    let source = |production: &str| Source {
        path: "x.rs".to_owned(),
        text: String::new(),
        production: production.to_owned(),
        tests: String::new(),
    };
    assert!(!names(&source("use std::net::{IpAddr, SocketAddr};"), "std::net"));
    assert!(names(&source("use std::net::{IpAddr, TcpStream};"), "std::net"));
    assert!(names(&source("pingora_proxy::x"), "pingora"));
}

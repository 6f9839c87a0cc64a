//! What is plain is read as all of TOML is, places included; and what is not is left alone.

use super::super::{Node, Value, toml};
use super::parse;
use proptest::prelude::*;

/// Everything of a tree: values, places, order.
fn told(node: &Node) -> String {
    let value = match &node.value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => format!("{flag}"),
        Value::Integer(number) => format!("{number}"),
        Value::Float(number) => format!("{number:?}"),
        Value::Text(text) => format!("text {text:?}"),
        Value::Date(text) => format!("date {text}"),
        Value::List(items) => format!("{:?}", items.iter().map(told).collect::<Vec<_>>()),
        Value::Table(entries) => {
            let entry =
                |entry: &super::Entry| format!("{} {:?} {}", entry.key, entry.place, told(&entry.node));
            format!("{:#?}", entries.iter().map(entry).collect::<Vec<_>>())
        }
    };
    format!("{:?} {value}", node.place)
}

/// What is answered is right. Whether there was an answer.
fn agrees(text: &str) -> bool {
    let Some(plain) = parse(text) else { return false };
    match toml::parse(text) {
        Ok(whole) => assert_eq!(told(&plain), told(&whole), "{text}"),
        Err(fault) => panic!("no mistake was seen in {text:?}: {fault:?}"),
    }
    true
}

#[test]
fn what_configurations_are_made_of_is_plain() {
    for text in [
        "a = 1",
        "# only a comment",
        "\n\n  a = 1 # and more\n\tb= -2\nc =0.50\n",
        "[server]\nlisten = [\"127.0.0.1:0\"]\n[server.limits]\nconnections = 1\n[log]\n[server.timeouts]\nidle = '1s'",
        "[[key]]\nname = \"k1\"\nlimits = { rpm = 1, \"a.b\" = 'c' }\n[key.quota]\nusd = 1.5\n[[key]]\nname = 'k\\2'\n[key.quota]\nper = \"day\"",
        "[[key]]\n[[key.model_limits]]\nmodel = \"a\"\n[[key.model_limits]]\nmodel = \"b\"\n[[key]]\n[[key.model_limits]]",
        "expires = 2027-06-30T00:00:00Z\nmodels = [\n  \"a\",\n  \"ü\", \"b\",\n]\nnone = []\nempty = {}",
        "name = \"Jürgen\" # ä\nafter = [\"ß\", 'x', { a = true }]\n\"schlüssel\" = { \"ö\" = 1, b = false }",
    ] {
        assert!(agrees(text), "{text}");
    }
    for file in ["tollgate.toml", "minimal.toml"] {
        if let Ok(text) = std::fs::read_to_string(std::path::Path::new("conf").join(file)) {
            agrees(&text);
        }
    }
}

#[test]
fn mistakes_and_what_is_rare_are_left_to_the_one_that_knows_all_of_toml() {
    for text in [
        "a = 1\na = 2",
        "a = \"x\\n\"",
        "a.b = 1",
        "[a]\n[a]",
        "a = {}\n[a.b]",
        "a = [{}]\n[[a]]",
        "[a.b]\n[a]",
        "[a]\nb = 1\n[a.b]",
        "[[a]]\n[a]",
        "[a]\n[[a]]",
        "a = 01",
        "a = +1",
        "a = 1_000",
        "a = 99999999999999999999",
        "a = 1.\n",
        "a = .5",
        "a = 1e3",
        "a = \"\"\"x\"\"\"",
        "a = 'x\n'",
        "a = \"x\u{1}\"",
        "a = 1\r\n",
        "a = 2027-02-31T00:00:00Z",
        "a = 2027-06-30",
        "a = 1 b = 2",
        "a = [1,,2]",
        "a = {b = 1,}",
        "a = {b = 1, b = 2}",
        "[ a ]",
        "[a]]",
        "[[a]",
        "[]",
        "= 1",
        "a",
        "a =",
        "a = truer",
        "[[[[[[[[[[",
    ] {
        assert!(parse(text).is_none(), "{text}");
    }
    let deep = format!("a = {}{}", "[".repeat(40), "]".repeat(40));
    assert!(parse(&deep).is_none());
}

/// Pieces that meet in configurations, and in mistakes.
const PIECES: [&str; 44] = [
    "a",
    "b",
    "key",
    "name",
    "\"q\"",
    "'l'",
    " = ",
    "=",
    "\n",
    "\n\n",
    " ",
    "\t",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    ",",
    ", ",
    ".",
    "#",
    "# c",
    "1",
    "-2",
    "0.5",
    "00",
    "true",
    "false",
    "2027-06-30T00:00:00Z",
    "\"",
    "'",
    "\\",
    "ü",
    "\"ß\"",
    "\r\n",
    "\n[[key]]\n",
    "\n[key.b]\n",
    "\n[a]\n",
    "\n[[key.a]]\n",
    "\na = 1\n",
    "\nb = { a = 1 }\n",
    "\nname = 'x'\n",
    "\u{7f}",
];

proptest! {
    #[test]
    fn whatever_is_answered_is_what_all_of_toml_says(at in prop::collection::vec(0..PIECES.len(), 0..24)) {
        let text: String = at.into_iter().map(|at| PIECES[at]).collect();
        agrees(&text);
    }

    #[test]
    fn a_slip_in_a_sound_file_is_read_right_or_not_at_all(at in 0..SOUND.len(), piece in 0..PIECES.len(), cut in 0..3usize) {
        let from = (0..=at).rev().find(|at| SOUND.is_char_boundary(*at)).unwrap_or_default();
        let to = (from + cut..=SOUND.len()).find(|at| SOUND.is_char_boundary(*at)).unwrap_or(SOUND.len());
        agrees(&format!("{}{}{}", &SOUND[..from], PIECES[piece], &SOUND[to..]));
    }
}

const SOUND: &str = r#"include = ["keys/*.toml"] # more
[server]
listen = ["127.0.0.1:0"]
[server.limits]
connections = 20000
[[channel]]
name = "c0" # Zürich
api_keys = [{ env = "KEY" }, "sk-x"]
models = ["gpt-4.1",
  "o3"]
model_map = { "gpt-4.1" = "gpt-4.1-2025", x = 'y' }
[channel.limits]
rpm = 10
[[key]]
name = "Jürgen"
limits = { rpm = 100, concurrency = 3 }
expires = 2027-06-30T00:00:00Z
[[key.model_limits]]
model = "o3"
rpm = 1
[[key]]
name = "k"
enabled = false
quota = { usd = 1.5, per = "day" }
"#;

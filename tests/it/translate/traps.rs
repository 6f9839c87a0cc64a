//! The tables of docs/translation.md, held against the cases: every trap has its cases, and what the cases lose is what the
//! document says is lost.

use super::fixture::Case;
use crate::support::repository;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use tollgate::translate::Protocol;

const BEGINS: &str = "<!-- losses: written by UPDATE=1 -->\n";
const ENDS: &str = "<!-- end of losses -->\n";

fn document() -> String {
    std::fs::read_to_string(repository("docs/translation.md")).expect("it can be read")
}

#[test]
fn every_trap_that_is_named_has_its_cases() {
    let known: BTreeSet<String> = Case::all().iter().map(Case::name).collect();
    let text = document();
    let (_, traps) = text.split_once("## The traps").expect("the section is there");
    let traps = traps.split("\n## ").next().unwrap_or_default();
    let mut named = 0;
    for row in traps.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| trap")) {
        let cases: Vec<&str> = row.split('`').skip(1).step_by(2).filter(|word| word.contains('/')).collect();
        assert!(!cases.is_empty(), "no case: {row}");
        for case in cases {
            assert!(known.contains(case), "{case} is no case: {row}");
            named += 1;
        }
    }
    assert!(named >= 60, "{named} cases are named");
}

/// By reason and what becomes of it: the members as each client writes them, and the channels' protocols.
type Losses = BTreeMap<(String, String), (BTreeSet<String>, BTreeSet<&'static str>)>;

fn losses() -> Losses {
    let mut losses = Losses::new();
    for case in Case::all() {
        for target in case.others() {
            let Some(file) = case.read(&format!("request.{}.json", target.word())) else { continue };
            let text = String::from_utf8(file).expect("UTF-8");
            for line in text.lines() {
                let Some((what, rest)) = line.strip_prefix("// ").and_then(|line| line.split_once(' '))
                else {
                    continue;
                };
                let Some((member, why)) = rest.split_once(": ") else { continue };
                if !matches!(what, "dropped" | "approximated") || why == "not known to the gateway" {
                    continue;
                }
                let (members, channels) = losses.entry((why.to_owned(), what.to_owned())).or_default();
                members.insert(plain(member));
                channels.insert(target.word());
            }
        }
    }
    losses
}

/// A member without its numbers, and without the names of a case's tools.
fn plain(member: &str) -> String {
    let mut kept = String::new();
    let mut inside = false;
    for c in member.chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            _ if inside => continue,
            _ => {}
        }
        kept.push(c);
    }
    match kept.strip_prefix("tools.").and_then(|rest| rest.split_once(".parameters")) {
        Some(_) => "tools[].parameters".to_owned(),
        None => kept,
    }
}

fn table() -> String {
    let mut table = String::from("| what | becomes | since | at a channel of |\n|---|---|---|---|\n");
    for ((why, what), (members, channels)) in losses() {
        let members: Vec<String> = members.into_iter().map(|member| format!("`{member}`")).collect();
        let all = channels.len() == Protocol::ALL.len();
        let channels =
            if all { "any".to_owned() } else { channels.into_iter().collect::<Vec<_>>().join(", ") };
        let _infallible = writeln!(table, "| {} | {what} | {why} | {channels} |", members.join(", "));
    }
    table
}

#[test]
fn what_the_cases_lose_is_what_the_document_says() {
    let text = document();
    let (before, rest) = text.split_once(BEGINS).expect("the table is there");
    let (said, after) = rest.split_once(ENDS).expect("it ends");
    let table = table();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(repository("docs/translation.md"), [before, BEGINS, &table, ENDS, after].concat())
            .expect("it is written");
        return;
    }
    assert_eq!(said, table, "UPDATE=1 writes it anew");
}

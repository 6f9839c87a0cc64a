//! Quotas in the configuration: money to the digit, and what bounds nothing.

use super::super::testing::Memory;
use super::super::{Loaded, redacted};
use crate::config::snapshot::{Per, Quota};

const HASH: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// A file of nine lines: a channel, and a key with this line and in this project; then more.
fn text(of_key: &str, more: &str) -> String {
    format!(
        "[[channel]]\nname = 'c'\ntype = 'openai'\napi_keys = [{{ env = 'OPENAI_API_KEY' }}]\n\
         [[key]]\nname = 'k'\nhash = '{HASH}'\nproject = 'search'\n{of_key}\n{more}"
    )
}

fn load(of_key: &str, more: &str) -> Loaded {
    let text = text(of_key, more);
    Memory::with(&[("t.toml", &text)]).load("t.toml").unwrap_or_else(|problems| panic!("{problems}"))
}

fn refused(of_key: &str, more: &str, expected: &str) {
    let text = text(of_key, more);
    match Memory::with(&[("t.toml", &text)]).load("t.toml") {
        Ok(_) => panic!("should be refused: {text}"),
        Err(problems) => assert_eq!(problems.to_string().trim_end(), expected, "{text}"),
    }
}

#[test]
fn amounts_are_kept_to_the_digit_at_keys_groups_and_projects() {
    for (written, nano_usd) in [
        ("50.0", 50_000_000_000),
        ("0.000000001", 1),
        ("0.1", 100_000_000),
        ("999999.123456789", 999_999_123_456_789),
        ("100000000", 100_000_000_000_000_000),
    ] {
        let quota = format!("quota = {{ usd = {written}, tokens = 7, per = 'month' }}");
        let loaded = load(
            &quota,
            &format!(
                "[[group]]\nname = 'default'\n{quota}\n[[project]]\nname = 'search'\n{quota}\n[ledger]\npath = 'l.db'\n"
            ),
        );
        let expected = Quota { nano_usd: Some(nano_usd), tokens: Some(7), requests: None, per: Per::Month };
        let snapshot = &loaded.snapshot;
        let found = [snapshot.keys[0].quota, snapshot.groups[0].quota, Some(snapshot.projects[0].quota)];
        assert_eq!(found, [Some(expected); 3], "{written}");
        let shown = redacted(snapshot);
        assert_eq!(shown["key"][0]["quota"]["usd"], written.trim_end_matches(".0"));
        assert_eq!(
            (&shown["group"][0]["quota"], &shown["project"][0]["quota"]),
            (&shown["key"][0]["quota"], &shown["key"][0]["quota"])
        );
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    }
}

#[test]
fn a_quota_that_bounds_nothing_or_cannot_be_read_exactly_is_refused() {
    for (quota, expected) in [
        ("{ per = 'day' }", "t.toml:9: key.k.quota: bounds nothing: give `usd`, `tokens` or `requests`"),
        ("{ usd = 5 }", "t.toml:9: key.k.quota: `per` is missing"),
        ("{ usd = 0, per = 'day' }", "t.toml:9: key.k.quota.usd: must be more than 0"),
        ("{ usd = -1, per = 'day' }", "t.toml:9: key.k.quota.usd: must be a number from 0 to 100000000"),
        (
            "{ usd = 0.0000000001, per = 'day' }",
            "t.toml:9: key.k.quota.usd: has more than nine digits after the point",
        ),
        (
            "{ usd = 12345678.12345678, per = 'day' }",
            "t.toml:9: key.k.quota.usd: has more than fifteen digits",
        ),
        (
            "{ usd = 100000001, per = 'day' }",
            "t.toml:9: key.k.quota.usd: must be a number from 0 to 100000000",
        ),
        ("{ tokens = 0, per = 'day' }", "t.toml:9: key.k.quota.tokens: must be at least 1"),
        (
            "{ requests = 1.5, per = 'day' }",
            "t.toml:9: key.k.quota.requests: expected a whole number, found a decimal number",
        ),
        (
            "{ requests = 1, per = 'mont' }",
            "t.toml:9: key.k.quota.per: unknown value `mont`; one of day, week, month, total (did you mean `month`?)",
        ),
        ("{ dollars = 1, per = 'day' }", "t.toml:9: key.k.quota.dollars: unknown key"),
    ] {
        refused(&format!("quota = {quota}"), "", expected);
    }
    refused("", "[[project]]\nname = 'search'\n", "t.toml:10: project.search: `quota` is missing");
    let twice = "[[project]]\nname = 'search'\nquota = { requests = 1, per = 'day' }\n".repeat(2);
    refused("", &twice, "t.toml:14: project.search.name: is given twice; the first is at t.toml:11");
}

#[test]
fn a_project_that_no_key_names_is_told_of_and_a_label_without_a_quota_is_not() {
    let loaded = load("", "");
    assert!(loaded.warnings.is_empty() && loaded.snapshot.projects.is_empty());
    let project = "[[project]]\nname = 'serach'\nquota = { requests = 1, per = 'day' }\n";
    let loaded = load("", &format!("{project}[ledger]\npath = 'l.db'\n"));
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        ["t.toml:11: project.serach.name: is the `project` of no key (did you mean `search`?)"]
    );
}

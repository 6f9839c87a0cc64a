//! What operators look at asks for what there is: every expression of the board, of the rules and of the documents
//! parses, names only metrics that we export, only labels that they have, and only words that exist. A board that shows
//! "no data" for a renamed metric is found here, not at night.

mod labels;

use crate::support::process::other;
use crate::support::{repository, yaml};
use labels::{Known, Labels};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;
use tollgate::code::Code;

const RULES: [&str; 2] = ["deploy/prometheus/recording.yml", "deploy/prometheus/alerts.yml"];

/// Rows that the board has, in their order.
const ROWS: [&str; 6] =
    ["Overview", "Channels", "Keys and limits", "Tokens and cost", "Proxy", "Runtime and config"];

fn read(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every rule, with the file it stands in.
fn rules() -> Vec<Value> {
    let files = RULES.iter().flat_map(|path| {
        let documents = yaml::documents(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        documents.into_iter().flat_map(|file| list(&file["groups"]))
    });
    files.flat_map(|group| list(&group["rules"])).collect()
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("{value} is a list")).clone()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is text"))
}

/// What can be asked for: the exported metrics, and what the recording rules make of them.
fn known() -> Known {
    let mut known = Known::exported();
    for rule in rules().iter().filter(|rule| !rule["record"].is_null()) {
        let labels = known.labels(text(&rule["expr"])).unwrap_or_else(|why| panic!("{rule}: {why}"));
        known.add(text(&rule["record"]), labels);
    }
    known
}

/// Whatever stands for a label in a text that is filled in: `{{ $labels.name }}`, `{{name}}`.
fn placeholders(template: &str) -> BTreeSet<String> {
    let inside = template.split("{{").skip(1).filter_map(|rest| rest.split("}}").next());
    let words = inside.filter_map(|inside| {
        let word = inside.split('|').next().unwrap_or_default().trim();
        if word.starts_with("$value") { None } else { Some(word.trim_start_matches("$labels.").to_owned()) }
    });
    words.collect()
}

fn missing(template: &str, labels: &Labels) -> Vec<String> {
    placeholders(template).into_iter().filter(|name| !labels.contains(name)).collect()
}

#[test]
fn every_rule_asks_for_what_is_exported() {
    let known = known();
    let mut alerts = BTreeSet::new();
    for rule in rules() {
        let labels = known.labels(text(&rule["expr"])).unwrap_or_else(|why| panic!("{rule}: {why}"));
        if rule["alert"].is_null() {
            continue;
        }
        let name = text(&rule["alert"]).to_owned();
        for said in ["summary", "action"] {
            let template = text(&rule["annotations"][said]);
            assert_eq!(missing(template, &labels), Vec::<String>::new(), "{name}: {template}");
        }
        assert!(matches!(text(&rule["labels"]["severity"]), "page" | "ticket" | "info"), "{name}");
        assert!(alerts.insert(name.clone()), "{name} stands twice");
    }
    assert!(alerts.len() >= 28, "{alerts:?}");
    let cases = read("deploy/prometheus/tests.yml");
    for name in alerts {
        assert!(cases.contains(&format!("alertname=\"{name}\"")), "{name} has a case in tests.yml");
    }
}

#[test]
fn every_query_of_the_board_asks_for_what_is_exported() {
    let known = known();
    let board: Value = serde_json::from_str(&read("deploy/grafana/tollgate.json")).expect("it is JSON");
    let panels = list(&board["panels"]);
    let rows: Vec<&str> =
        panels.iter().filter(|panel| panel["type"] == "row").map(|row| text(&row["title"])).collect();
    assert_eq!(rows, ROWS);
    let mut seen = 0;
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let title = text(&panel["title"]);
        for target in list(&panel["targets"]) {
            let query = text(&target["expr"]);
            let labels = known.labels(&plain(query)).unwrap_or_else(|why| panic!("{title}: {query}: {why}"));
            let legend = text(&target["legendFormat"]);
            assert_eq!(missing(legend, &labels), Vec::<String>::new(), "{title}: {legend} of {labels:?}");
            seen += 1;
        }
    }
    for annotation in list(&board["annotations"]["list"]) {
        let query = text(&annotation["expr"]);
        known.labels(&plain(query)).unwrap_or_else(|why| panic!("{query}: {why}"));
    }
    assert!(seen >= 95, "the board has {seen} queries");
}

/// A query with Grafana's variables filled in.
fn plain(query: &str) -> String {
    query
        .replace("$__rate_interval", "5m")
        .replace("$__range", "1h")
        .replace("$job", ".*")
        .replace("$instance", ".*")
}

#[test]
fn no_metric_is_forgotten_on_the_board() {
    let shown = read("deploy/grafana/tollgate.json") + &RULES.map(read).concat();
    let forgotten: Vec<&str> = tollgate::telemetry::metrics::TABLE
        .iter()
        .map(|metric| metric.name)
        .filter(|name| !shown.contains(&format!("{name}{{")) && !shown.contains(&format!("{name}_bucket{{")))
        .collect();
    assert_eq!(forgotten, Vec::<&str>::new(), "neither on the board nor in a rule");
}

#[test]
fn every_query_of_the_documents_asks_for_what_is_exported() {
    let known = known();
    let page = read("docs/metrics.md");
    let (_, table) = page.split_once("## Questions and queries").expect("there are queries");
    let mut seen = 0;
    for line in table.lines().filter(|line| line.starts_with('|')) {
        let queries = line.replace("\\|", "\u{0}");
        for query in queries.split('`').skip(1).step_by(2) {
            let query = query.replace('\u{0}', "|");
            if query.contains("tollgate_") {
                known.labels(&query).unwrap_or_else(|why| panic!("{query}: {why}"));
                seen += 1;
            }
        }
    }
    assert!(seen >= 15, "docs/metrics.md has {seen} queries");
}

#[test]
fn a_query_for_what_is_not_there_is_found() {
    let known = known();
    for (query, why) in [
        ("tollgate_no_such_total", "tollgate_no_such_total"),
        ("sum by (channel) (tollgate_requests_total)", "channel"),
        ("tollgate_requests_total{channel=\"a\"}", "channel"),
        ("rate(tollgate_overhead_seconds[5m])", "tollgate_overhead_seconds"),
        ("tollgate_errors_total{code=~\"upstream_error|no_such_code\"}", "no_such_code"),
        ("sum by (job) (up) / on (key) sum by (job) (up)", "key"),
        ("histogram_quantile(0.9, sum by (phase) (rate(tollgate_overhead_seconds_bucket[5m])))", "le"),
        ("sum(", "invalid"),
    ] {
        let said = known.labels(query).expect_err(query);
        assert!(said.contains(why), "{query}: {said}");
    }
    assert!(Code::ALL.iter().any(|code| code.word() == "upstream_error"));
}

/// Runs promtool, where it is installed.
fn promtool(arguments: &[&str]) {
    let folder = repository("deploy/prometheus");
    let Some(output) = other(Command::new("promtool").args(arguments).current_dir(folder)) else { return };
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
}

#[test]
fn promtool_likes_the_rules_and_their_cases_hold() {
    promtool(&["check", "rules", "recording.yml", "alerts.yml"]);
    promtool(&["test", "rules", "tests.yml"]);
}

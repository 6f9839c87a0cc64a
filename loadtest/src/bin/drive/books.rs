//! The books of a run held against each other: what the clients saw, what the access log and the metrics say, what
//! arrived at the providers. Every exchange must stand in each of them once.

use crate::answer::{Ended, How};
use crate::clients::Sighting;
use crate::fleet::Arrival;
use crate::gateway::Metrics;
use crate::verify::Verdict;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use tollgate_loadtest::Counts;

/// Everything that was written down.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) seen: Vec<Sighting>,
    pub(crate) lines: Vec<Value>,
    pub(crate) metrics: Metrics,
    /// By channel, what arrived, and what the provider counted.
    pub(crate) arrivals: HashMap<String, BTreeMap<usize, Arrival>>,
    pub(crate) counts: BTreeMap<String, Counts>,
}

/// What does not agree, in words; and what did, in numbers.
#[derive(Debug, Default)]
pub(crate) struct Balance {
    pub(crate) differences: Vec<String>,
    pub(crate) table: BTreeMap<String, usize>,
}

impl Balance {
    pub(crate) fn differs(&mut self, what: String) {
        self.differences.push(what);
    }

    pub(crate) fn count(&mut self, what: impl Into<String>) {
        *self.table.entry(what.into()).or_default() += 1;
    }
}

/// Holds all books against each other.
pub(crate) fn balance(books: &Books) -> Balance {
    let mut balance = Balance::default();
    let mut by_number: HashMap<u64, Vec<&Value>> = HashMap::new();
    for line in &books.lines {
        let number = line["labels"]["x-chaos"].as_str().and_then(|number| number.parse().ok());
        match number {
            Some(number) => by_number.entry(number).or_default().push(line),
            None => balance.differs(format!("a line without a number: {line}")),
        }
    }
    for sighting in &books.seen {
        let lines = by_number.remove(&sighting.question.number).unwrap_or_default();
        clients(&mut balance, sighting, &lines);
    }
    for (number, lines) in by_number {
        balance.differs(format!("exchange {number} is in the log, but nobody asked: {lines:?}"));
    }
    counters(&mut balance, books);
    crate::attempts::providers(&mut balance, books);
    balance
}

/// What a client saw, and the line of its exchange.
fn clients(balance: &mut Balance, sighting: &Sighting, lines: &[&Value]) {
    let what = || format!("{sighting:?} against {lines:?}");
    match &sighting.verdict {
        Verdict::Wrong(why) => balance.differs(format!("{why}: {}", what())),
        verdict => balance.count(format!("client: {}", word(verdict, sighting))),
    }
    match lines {
        [line] => {
            if let Some(why) = contradiction(sighting, line) {
                balance.differs(format!("{why}: {}", what()));
            }
        }
        [] if may_be_unseen(sighting) => balance.count("exchanges that never reached the gateway"),
        _ => balance.differs(format!("{} lines for {}", lines.len(), what())),
    }
}

fn word(verdict: &Verdict, sighting: &Sighting) -> String {
    match verdict {
        Verdict::Whole if sighting.question.operation.is_events() => "whole stream".to_owned(),
        Verdict::Whole => "whole answer".to_owned(),
        Verdict::StreamError(code) => {
            format!("stream ended by an error: {}", code.as_deref().unwrap_or("the provider's"))
        }
        Verdict::Aborted => "whole broken off".to_owned(),
        Verdict::CleanPrefix => "whole the provider ended early".to_owned(),
        Verdict::Refused(refused) => {
            format!("{} {}", sighting.status, refused.code.as_deref().unwrap_or("the provider's"))
        }
        Verdict::Nothing => "no answer".to_owned(),
        Verdict::Left => "left".to_owned(),
        Verdict::Wrong(_) => "wrong".to_owned(),
    }
}

/// Whether the request may have been lost before the gateway read its head: nothing of an answer was seen, and the
/// client took it back, or asked on a connection that was being closed for want of requests.
fn may_be_unseen(sighting: &Sighting) -> bool {
    if sighting.status != 0 {
        return false;
    }
    match sighting.ended {
        Ended::Left(how) => !sighting.asked || how == How::Reset || sighting.reused,
        Ended::Nothing => sighting.reused,
        _ => false,
    }
}

/// In what a line contradicts what the client saw.
fn contradiction(sighting: &Sighting, line: &Value) -> Option<&'static str> {
    let (end, code) = (line["end"].as_str().unwrap_or_default(), line["code"].as_str());
    if sighting.status != 0 && line["status"] != sighting.status {
        return Some("another status");
    }
    if sighting.request_id.as_deref().is_some_and(|id| line["request_id"] != id) {
        return Some("another request id");
    }
    if sighting.status != 0 && sighting.request_id.is_none() {
        return Some("an answer without a request id");
    }
    let agrees = match &sighting.verdict {
        Verdict::Whole | Verdict::CleanPrefix => end == "ok" && code.is_none(),
        Verdict::StreamError(said) => {
            let ours = said.is_some() && said.as_deref() == code && end != "ok";
            // The provider's own: `response.failed` is the terminal event of its grammar too.
            let own = said.as_deref() == Some("server_error") || said.is_none();
            ours || (own && matches!((end, code), ("failed", Some("upstream_error")) | ("ok", None)))
        }
        Verdict::Aborted => matches!(end, "stream_truncated" | "stream_idle_timeout"),
        Verdict::Refused(refused) => match code {
            Some(ours) => {
                let waits = matches!(sighting.status, 429 | 503);
                refused.code.as_deref() == Some(ours) && end != "ok" && (!waits || refused.says_when)
            }
            None => end == "ok" && (400..500).contains(&sighting.status),
        },
        Verdict::Nothing => false,
        Verdict::Left => true,
        Verdict::Wrong(_) => return None,
    };
    (!agrees).then_some("another end")
}

/// The counters are sums over the lines.
fn counters(balance: &mut Balance, books: &Books) {
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    let mut add = |series: String| *sums.entry(series).or_default() += 1.0;
    for line in &books.lines {
        let text = |name: &str| line[name].as_str().unwrap_or_default();
        add(format!("tollgate_requests_total{{api=\"{}\",code=\"{}\"}}", text("api"), line["status"]));
        if let Some(code) = line["code"].as_str() {
            add(format!("tollgate_errors_total{{code=\"{code}\"}}"));
        }
        if let Some(key) = line["key"].as_str() {
            add(format!("tollgate_key_requests_total{{key=\"{key}\"}}"));
        }
        let side = match text("end") {
            "stream_truncated" | "stream_idle_timeout" => Some("upstream"),
            "client_closed" => Some("client"),
            _ => None,
        };
        if let Some(side) = side.filter(|_| line["stream"] == true) {
            add(format!("tollgate_stream_aborts_total{{side=\"{side}\"}}"));
        }
        let attempts = line["attempts"].as_array().map_or(&[][..], Vec::as_slice);
        for (at, attempt) in attempts.iter().enumerate() {
            let channel = attempt["channel"].as_str().unwrap_or_default();
            let status = attempt["status"].as_u64().map_or("none".to_owned(), |status| status.to_string());
            let model = attempt["model_upstream"].as_str().unwrap_or_default();
            add(format!(
                "tollgate_upstream_requests_total{{channel=\"{channel}\",code=\"{status}\",model=\"{model}\"}}"
            ));
            if attempt["reused"] == true {
                add(format!("tollgate_upstream_reused_total{{channel=\"{channel}\"}}"));
            }
            if let Some(reason) = attempt["reason"].as_str().filter(|_| at + 1 < attempts.len()) {
                add(format!("tollgate_failovers_total{{reason=\"{reason}\"}}"));
            }
        }
    }
    compare(balance, &sums, &books.metrics);
}

const COUNTED: [&str; 7] = [
    "tollgate_requests_total",
    "tollgate_errors_total",
    "tollgate_key_requests_total",
    "tollgate_stream_aborts_total",
    "tollgate_upstream_requests_total",
    "tollgate_upstream_reused_total",
    "tollgate_failovers_total",
];

fn compare(balance: &mut Balance, sums: &BTreeMap<String, f64>, metrics: &Metrics) {
    let counted = |series: &str| COUNTED.contains(&series.split('{').next().unwrap_or_default());
    let shown = metrics.iter().filter(|(series, _)| counted(series));
    let mut both: BTreeMap<&String, (f64, f64)> = BTreeMap::new();
    shown.for_each(|(series, value)| both.entry(series).or_default().0 = *value);
    for (series, value) in sums {
        both.entry(series).or_default().1 = *value;
    }
    for (series, (metric, log)) in both {
        if (metric - log).abs() > 0.5 {
            balance.differs(format!("{series}: {metric} in the metrics, {log} in the access log"));
        } else {
            balance.count("metric series that agree with the log");
        }
    }
}

//! Which labels the result of an expression can have, and whether it asks for what there is.

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{
    self, AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, VectorMatchCardinality, VectorSelector,
};
use std::collections::{BTreeMap, BTreeSet};
use tollgate::code::Code;
use tollgate::telemetry::metrics::TABLE;

pub(super) type Labels = BTreeSet<String>;

/// The `process_*` set, as `prometheus::process_collector` has it on Linux.
const PROCESS: [&str; 7] = [
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_max_fds",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
];

/// What can be asked for.
pub(super) struct Known {
    metrics: BTreeMap<String, Labels>,
}

impl Known {
    /// What a scrape brings.
    pub(super) fn exported() -> Self {
        let mut known = Self { metrics: BTreeMap::new() };
        for metric in TABLE {
            let with = |more: &[&str]| target(metric.labels.iter().chain(more));
            if metric.kind == "histogram" {
                known.add(&format!("{}_bucket", metric.name), with(&["le"]));
                known.add(&format!("{}_sum", metric.name), with(&[]));
                known.add(&format!("{}_count", metric.name), with(&[]));
            } else {
                known.add(metric.name, with(&[]));
            }
        }
        for name in PROCESS.iter().chain(&["up"]) {
            known.add(name, target([].iter()));
        }
        known
    }

    pub(super) fn add(&mut self, name: &str, labels: Labels) {
        self.metrics.insert(name.to_owned(), labels);
    }

    /// The labels that the result of a query can have.
    pub(super) fn labels(&self, query: &str) -> Result<Labels, String> {
        self.of(&parser::parse(query).map_err(|error| format!("invalid: {error}"))?)
    }

    fn of(&self, expression: &Expr) -> Result<Labels, String> {
        match expression {
            Expr::VectorSelector(selector) => self.selected(selector),
            Expr::MatrixSelector(selector) => self.selected(&selector.vs),
            Expr::Paren(inner) => self.of(&inner.expr),
            Expr::Unary(inner) => self.of(&inner.expr),
            Expr::Subquery(inner) => self.of(&inner.expr),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) => Ok(Labels::new()),
            Expr::Aggregate(aggregate) => self.aggregated(aggregate),
            Expr::Call(call) => self.called(call),
            Expr::Binary(binary) => self.joined(binary),
            Expr::Extension(_) => Err("an extension".to_owned()),
        }
    }

    fn selected(&self, selector: &VectorSelector) -> Result<Labels, String> {
        let name = selector.name.as_deref().ok_or("a selector without a name")?;
        let labels = self.metrics.get(name).ok_or_else(|| format!("{name} is not exported"))?;
        for matcher in &selector.matchers.matchers {
            within(labels, std::iter::once(matcher.name.as_str()))?;
            if name == "tollgate_errors_total" && matcher.name == "code" {
                words(matcher)?;
            }
        }
        Ok(labels.clone())
    }

    fn aggregated(&self, aggregate: &AggregateExpr) -> Result<Labels, String> {
        if let Some(parameter) = &aggregate.param {
            self.of(parameter)?;
        }
        let inner = self.of(&aggregate.expr)?;
        let keeps = matches!(aggregate.op.to_string().as_str(), "topk" | "bottomk");
        match &aggregate.modifier {
            None if keeps => Ok(inner),
            None => Ok(Labels::new()),
            Some(LabelModifier::Include(by)) => {
                within(&inner, by.labels.iter().map(String::as_str))?;
                Ok(if keeps { inner } else { by.labels.iter().cloned().collect() })
            }
            Some(LabelModifier::Exclude(without)) => {
                within(&inner, without.labels.iter().map(String::as_str))?;
                Ok(inner.into_iter().filter(|label| !without.labels.contains(label)).collect())
            }
        }
    }

    fn called(&self, call: &Call) -> Result<Labels, String> {
        let mut labels = Labels::new();
        for argument in &call.args.args {
            labels.extend(self.of(argument)?);
        }
        if call.func.name == "histogram_quantile" && !labels.remove("le") {
            return Err("a quantile needs le".to_owned());
        }
        Ok(labels)
    }

    fn joined(&self, binary: &BinaryExpr) -> Result<Labels, String> {
        let (left, right) = (self.of(&binary.lhs)?, self.of(&binary.rhs)?);
        let is_number = |side: &Expr| matches!(side, Expr::NumberLiteral(_));
        if is_number(&binary.rhs) {
            return Ok(left);
        }
        let Some(modifier) = &binary.modifier else { return Ok(left.into_iter().chain(right).collect()) };
        if let Some(LabelModifier::Include(on) | LabelModifier::Exclude(on)) = &modifier.matching {
            for side in [&left, &right] {
                within(side, on.labels.iter().map(String::as_str))?;
            }
        }
        let taken = match &modifier.card {
            VectorMatchCardinality::ManyToOne(taken) | VectorMatchCardinality::OneToMany(taken) => {
                taken.labels.clone()
            }
            _ => Vec::new(),
        };
        within(&right, taken.iter().map(String::as_str))?;
        Ok(left.into_iter().chain(right).chain(taken).collect())
    }
}

/// Labels of our own, and those that Prometheus gives every target.
fn target<'a>(own: impl Iterator<Item = &'a &'a str>) -> Labels {
    own.map(|label| (*label).to_owned()).chain(["job".to_owned(), "instance".to_owned()]).collect()
}

fn within<'a>(labels: &Labels, mut names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    names.find(|name| !labels.contains(*name)).map_or(Ok(()), |name| Err(format!("there is no label {name}")))
}

/// Every alternative of a matcher finds a code of ours.
fn words(matcher: &Matcher) -> Result<(), String> {
    let found = |pattern: &str| {
        let pattern = regex::Regex::new(&format!("^(?:{pattern})$")).map_err(|error| error.to_string())?;
        Ok::<bool, String>(Code::ALL.iter().any(|code| pattern.is_match(code.word())))
    };
    let alternatives: Vec<&str> = match matcher.op {
        MatchOp::Equal | MatchOp::NotEqual => vec![&matcher.value],
        MatchOp::Re(_) | MatchOp::NotRe(_) => matcher.value.split('|').collect(),
    };
    for word in alternatives {
        if !found(word)? {
            return Err(format!("no code is {word}"));
        }
    }
    Ok(())
}

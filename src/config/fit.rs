//! Files held against the schema: everything that may not be written is found at once.
//!
//! serde stops at the first unknown or ill-typed field; an operator wants all of them. So the tree is held against the
//! schema that `super::file`'s types generate, each misfit is noted and marked, and the rest goes on to be compiled, so
//! that one load reports as much as it can. The schema is taken apart once; a hundred thousand keys are held against it.
//! Invariant: what is not marked deserializes into `File`, and only what was reported is marked.

use super::node::{Entry, Node, Place, Sheet, Step, Value};
use super::problem::{Findings, Problem, did_you_mean, shown};
use super::schema::generated;
use crate::spread::Map;
use serde_json::Value as Json;

/// The schema, ready to hold files against.
#[derive(Debug)]
pub(super) struct Schema {
    root: Shape,
    rules: Vec<Rule>,
}

/// What may stand somewhere.
#[derive(Debug, Default)]
struct Shape {
    /// Positions in [`Schema::rules`], of which one must fit.
    alternatives: Vec<usize>,
    example: Option<String>,
}

/// One way in which a value fits.
#[derive(Debug, Default)]
struct Rule {
    kind: Kind,
    /// Whether a date will do as well.
    is_date: bool,
    words: Option<Vec<String>>,
    whole: (Option<i64>, Option<i64>),
    fraction: (Option<f64>, Option<f64>),
    items: Shape,
    known: Map<String, Shape>,
    other: Option<Shape>,
    required: Vec<String>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing is.
    #[default]
    None,
    Boolean,
    Integer,
    Number,
    Text,
    List,
    Table,
}

impl Schema {
    /// Generates it.
    pub(super) fn new() -> Self {
        let generated = generated();
        let mut reading = Reading { generated: &generated, known: Map::default(), rules: Vec::new() };
        let root = reading.shape(&generated);
        Self { root, rules: reading.rules }
    }

    /// Marks what of a file does not fit and reports it.
    pub(super) fn fit(&self, (file, sheet): (usize, &Sheet), findings: &mut Findings) {
        let mut fitting = Fitting { schema: self, sheet, file, steps: Vec::new(), findings };
        if !fitting.node(&sheet.root, &self.root) {
            sheet.root.refuse();
        }
    }
}

/// A schema that is being taken apart.
struct Reading<'a> {
    generated: &'a Json,
    /// Definitions that have a rule.
    known: Map<&'a str, usize>,
    rules: Vec<Rule>,
}

impl<'a> Reading<'a> {
    fn shape(&mut self, schema: &'a Json) -> Shape {
        let alternatives = match schema.get("anyOf").and_then(Json::as_array) {
            Some(alternatives) => alternatives.iter().map(|schema| self.rule(schema)).collect(),
            None => vec![self.rule(schema)],
        };
        let example = schema.get("examples").and_then(|examples| examples.get(0));
        Shape { alternatives, example: example.map(|example| format!("for example {example}")) }
    }

    fn rule(&mut self, schema: &'a Json) -> usize {
        let target = schema.get("$ref").and_then(Json::as_str).and_then(|text| text.strip_prefix('#'));
        if let Some(index) = target.and_then(|target| self.known.get(target)) {
            return *index;
        }
        let schema = target.and_then(|pointer| self.generated.pointer(pointer)).unwrap_or(schema);
        let index = self.rules.len();
        self.rules.push(Rule::default());
        // Before what is in it, which may name it again.
        self.known.extend(target.map(|target| (target, index)));
        self.rules[index] = self.read(schema);
        index
    }

    fn read(&mut self, schema: &'a Json) -> Rule {
        let texts = |name| {
            let list = schema.get(name).and_then(Json::as_array)?;
            Some(list.iter().filter_map(Json::as_str).map(str::to_owned).collect::<Vec<_>>())
        };
        let whole = |name| schema.get(name).and_then(Json::as_i64);
        let fraction = |name| schema.get(name).and_then(Json::as_f64);
        let known = schema.get("properties").and_then(Json::as_object).into_iter().flatten();
        Rule {
            kind: match schema.get("type").and_then(Json::as_str) {
                Some("boolean") => Kind::Boolean,
                Some("integer") => Kind::Integer,
                Some("number") => Kind::Number,
                Some("string") => Kind::Text,
                Some("array") => Kind::List,
                Some("object") => Kind::Table,
                _ => Kind::None,
            },
            is_date: schema.get("format").is_some_and(|format| format == "date-time"),
            words: texts("enum"),
            whole: (whole("minimum"), whole("maximum")),
            fraction: (fraction("minimum"), fraction("maximum")),
            items: schema.get("items").map(|items| self.shape(items)).unwrap_or_default(),
            known: known.map(|(name, schema)| (name.clone(), self.shape(schema))).collect(),
            other: schema
                .get("additionalProperties")
                .filter(|schema| schema.is_object())
                .map(|schema| self.shape(schema)),
            required: texts("required").unwrap_or_default(),
        }
    }
}

impl Rule {
    /// Whether the value is of its kind.
    fn is_for(&self, value: &Value) -> bool {
        match value {
            Value::Null => false,
            Value::Bool(_) => self.kind == Kind::Boolean,
            Value::Integer(_) => matches!(self.kind, Kind::Integer | Kind::Number),
            Value::Float(_) => self.kind == Kind::Number,
            Value::Text(_) => self.kind == Kind::Text,
            Value::Date(_) => self.kind == Kind::Text && self.is_date,
            Value::List(_) => self.kind == Kind::List,
            Value::Table(_) => self.kind == Kind::Table,
        }
    }

    /// Its kind, for "expected …".
    fn kind(&self) -> &'static str {
        match self.kind {
            Kind::Boolean => "true or false",
            Kind::Integer => "a whole number",
            Kind::Number => "a number",
            Kind::List => "a list",
            Kind::Table => "a table",
            Kind::Text | Kind::None if self.is_date => "a date with time and offset",
            Kind::Text | Kind::None => "a string",
        }
    }
}

struct Fitting<'a> {
    schema: &'a Schema,
    sheet: &'a Sheet,
    file: usize,
    steps: Vec<Step<'a>>,
    findings: &'a mut Findings,
}

impl<'a> Fitting<'a> {
    fn report(&mut self, place: Place, what: impl Into<String>, hint: Option<String>) {
        let Self { sheet, steps, .. } = self;
        let path = || sheet.root.dotted(steps);
        let problem = || Problem { path: path(), ..Problem::at_place(&sheet.path, place, what) }.hint(hint);
        self.findings.problem(self.file, problem);
    }

    /// Whether it fits; what does not is reported.
    fn node(&mut self, node: &'a Node, shape: &'a Shape) -> bool {
        if matches!(node.value, Value::Null) {
            self.report(node.place, "has no value; write one or remove the line", None);
            return false;
        }
        let rules = &self.schema.rules;
        let mut alternatives = shape.alternatives.iter().map(|index| &rules[*index]);
        let Some(rule) = alternatives.find(|rule| rule.is_for(&node.value)) else {
            let expected: Vec<&str> = shape.alternatives.iter().map(|index| rules[*index].kind()).collect();
            let what = format!("expected {}, found {}", expected.join(" or "), node.kind());
            self.report(node.place, what, self.example(shape, node));
            return false;
        };
        match &node.value {
            Value::Null => false,
            Value::Bool(_) | Value::Date(_) => true,
            // Where fractions are taken, so are whole numbers; what is out of an `i32` is out of every bound.
            Value::Integer(number) if rule.kind == Kind::Number => {
                let clamped = i32::try_from(*number).unwrap_or(if *number < 0 { i32::MIN } else { i32::MAX });
                self.fraction(f64::from(clamped), node.place, rule)
            }
            Value::Integer(number) => self.integer(*number, node.place, rule),
            Value::Float(number) => self.fraction(*number, node.place, rule),
            Value::Text(text) => self.text(text, node.place, rule),
            Value::List(items) => {
                self.list(items, rule);
                true
            }
            Value::Table(entries) => self.table(node, entries, rule),
        }
    }

    /// A hint for a value of the wrong kind.
    fn example(&self, shape: &Shape, node: &Node) -> Option<String> {
        if let ([Step::Key(section)], Value::Table(_)) = (self.steps.as_slice(), &node.value) {
            return Some(format!("in TOML each entry begins with `[[{section}]]`"));
        }
        shape.example.clone()
    }

    fn integer(&mut self, number: i64, place: Place, rule: &Rule) -> bool {
        let (min, max) = (rule.whole.0.unwrap_or(i64::MIN), rule.whole.1.unwrap_or(i64::MAX));
        if number < min {
            self.report(place, format!("must be at least {min}"), None);
        } else if number > max {
            self.report(place, format!("must be at most {max}"), None);
        }
        (min..=max).contains(&number)
    }

    fn fraction(&mut self, number: f64, place: Place, rule: &Rule) -> bool {
        let (min, max) = (rule.fraction.0.unwrap_or(f64::MIN), rule.fraction.1.unwrap_or(f64::MAX));
        let fits = (min..=max).contains(&number);
        if !fits {
            self.report(place, format!("must be a number from {min} to {max}"), None);
        }
        fits
    }

    fn text(&mut self, text: &str, place: Place, rule: &Rule) -> bool {
        let Some(words) = &rule.words else { return true };
        let fits = words.iter().any(|word| word == text);
        if !fits {
            let what = format!("unknown value {}; one of {}", shown(text), words.join(", "));
            self.report(place, what, did_you_mean(text, words.iter().map(String::as_str)));
        }
        fits
    }

    fn list(&mut self, items: &'a [Node], rule: &'a Rule) {
        for (index, item) in items.iter().enumerate() {
            self.below(Step::Index(index), item, &rule.items);
        }
    }

    /// Marks what stands a step further down, where it does not fit.
    fn below(&mut self, step: Step<'a>, node: &'a Node, shape: &'a Shape) {
        self.steps.push(step);
        if !self.node(node, shape) {
            node.refuse();
        }
        self.steps.pop();
    }

    fn table(&mut self, node: &'a Node, entries: &'a [Entry], rule: &'a Rule) -> bool {
        for entry in entries {
            if let Some(shape) = rule.known.get(&*entry.key).or(rule.other.as_ref()) {
                self.below(Step::Key(&entry.key), &entry.node, shape);
            } else {
                self.steps.push(Step::Key(&entry.key));
                let words = rule.known.keys().map(String::as_str);
                self.report(entry.place, "unknown key", did_you_mean(&entry.key, words));
                self.steps.pop();
                entry.node.refuse();
            }
        }
        let mut complete = true;
        for key in &rule.required {
            let written = node.get(key);
            complete &= written.is_some_and(|entry| entry.node.fits());
            if written.is_none() {
                self.report(node.place, format!("`{key}` is missing"), None);
            }
        }
        complete
    }
}

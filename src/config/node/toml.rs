//! All of TOML to the tree, and what is wrong with it. The parser bounds its own depth and refuses duplicate keys.

use super::{Entry, Fault, Lines, Node, Value};
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Reads a TOML document.
pub(super) fn parse(text: &str) -> Result<Node, Fault> {
    let lines = Lines::new(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    let offset = |error: &toml::de::Error| error.span().map_or(text.len(), |span| span.start);
    // The first one is the mistake; those after it are what the parser makes of the rest.
    if let Some(error) = errors.iter().min_by_key(|error| offset(error)) {
        let what = format!("is not valid TOML: {}", error.message());
        return Err(Fault::new(lines.place(offset(error)), what));
    }
    let place = lines.place(0);
    Ok(Node::new(place, table_value(table.into_inner(), &lines)?))
}

fn node(spanned: Spanned<DeValue<'_>>, lines: &Lines<'_>) -> Result<Node, Fault> {
    let place = lines.place(spanned.span().start);
    let value = match spanned.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => return Err(Fault::new(place, "is a number too large")),
        },
        DeValue::Float(number) => match number.as_str().parse() {
            Ok(number) => Value::Float(number),
            Err(_) => return Err(Fault::new(place, "is not a number")),
        },
        DeValue::Boolean(flag) => Value::Bool(flag),
        DeValue::Datetime(date) => Value::Date(date.to_string()),
        DeValue::Array(items) => {
            Value::List(items.into_iter().map(|item| node(item, lines)).collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => table_value(table, lines)?,
    };
    Ok(Node::new(place, value))
}

fn table_value(table: DeTable<'_>, lines: &Lines<'_>) -> Result<Value, Fault> {
    let mut entries = Vec::with_capacity(table.len());
    for (key, value) in table {
        let place = lines.place(key.span().start);
        entries.push(Entry { key: Arc::from(&*key.into_inner()), place, node: node(value, lines)? });
    }
    entries.sort_by_key(|entry| entry.place);
    Ok(Value::Table(entries))
}

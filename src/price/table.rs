//! The price list that comes with the program: `table.tsv`, kept by others and written by `update`.
//!
//! A provider is known by its address. Where it is, its prices count, and those it says it resells; a model it
//! does not list has no price. Behind any other address (a relay, a server of one's own) the list price of the
//! model's maker stands in, if the name is one maker's only.
//! The prices of a provider are read when one of them is first asked for: most are of providers that nobody here uses.
//! Invariant: the file that is built in parses whole, which a test proves; a bad line would be no price.

use super::clause::{Clause, clauses};
use super::{Case, DAY_SECONDS, Price, Rate, Rates, Unit, When};
use std::sync::{Arc, LazyLock, OnceLock};

const TEXT: &str = include_str!("table.tsv");

/// Read once, at the first look.
static BUILT_IN: LazyLock<Table> = LazyLock::new(|| {
    Table::read(TEXT).unwrap_or_else(|problem| {
        tracing::error!(problem, "the built-in prices could not be read: only [[price]] counts");
        Table::default()
    })
});

/// Prices by provider and model.
#[derive(Debug, Default)]
pub struct Table {
    providers: Vec<Provider>,
}

/// A provider of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seller(usize);

#[derive(Debug)]
struct Provider {
    id: &'static str,
    /// Its base URLs.
    addresses: Vec<Clause>,
    /// Whose prices count where it has none of its own.
    resells: Vec<&'static str>,
    /// Names of models it makes itself.
    makes: Vec<Clause>,
    /// The lines of its models as they stand.
    lines: Vec<&'static str>,
    models: OnceLock<Vec<Model>>,
}

#[derive(Debug)]
struct Model {
    names: Vec<Clause>,
    price: Arc<Price>,
}

impl Table {
    /// The one that comes with the program.
    pub fn built_in() -> &'static Self {
        &BUILT_IN
    }

    /// Who sells at this base URL, by the list.
    pub fn seller(&self, base_url: &str) -> Option<Seller> {
        let base_url = base_url.to_ascii_lowercase();
        let at = |provider: &Provider| provider.addresses.iter().any(|address| address.matches(&base_url));
        self.providers.iter().position(at).map(Seller)
    }

    /// A seller's name in the list.
    pub fn name(&self, seller: Seller) -> &str {
        self.providers.get(seller.0).map_or("", |provider| provider.id)
    }

    /// What the seller takes for a model; without one the price of its only maker.
    pub fn price(&self, seller: Option<Seller>, model: &str) -> Option<&Arc<Price>> {
        let model = model.to_ascii_lowercase();
        let Some(Seller(index)) = seller else { return self.only_makers_price(&model) };
        let provider = self.providers.get(index)?;
        let others = provider.resells.iter().filter_map(|id| self.provider(id));
        std::iter::once(provider).chain(others).find_map(|provider| provider.price(&model))
    }

    fn only_makers_price(&self, model: &str) -> Option<&Arc<Price>> {
        let makes = |provider: &&Provider| provider.makes.iter().any(|name| name.matches(model));
        let mut makers = self.providers.iter().filter(makes);
        let only = makers.next().filter(|_| makers.next().is_none());
        only.and_then(|maker| maker.price(model))
    }

    fn provider(&self, id: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.id == id)
    }

    /// Reads who there is; their models are read when they are asked for.
    fn read(text: &'static str) -> Result<Self, String> {
        let mut table = Self::default();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
            table.line(line).ok_or_else(|| format!("line {}: {line}", index + 1))?;
        }
        Ok(table)
    }

    fn line(&mut self, line: &'static str) -> Option<()> {
        if line.starts_with("model\t") {
            self.providers.last_mut()?.lines.push(line);
            return Some(());
        }
        let cells: Vec<&'static str> = line.split('\t').collect();
        let &["provider", id, addresses, resells, makes] = cells.as_slice() else { return None };
        self.providers.push(Provider {
            id,
            addresses: clauses(addresses)?,
            resells: resells.split_whitespace().collect(),
            makes: clauses(makes)?,
            lines: Vec::new(),
            models: OnceLock::new(),
        });
        Some(())
    }
}

impl Model {
    fn read(line: &'static str) -> Option<Self> {
        let mut cells = line.split('\t').skip(2);
        let names = clauses(cells.next()?)?;
        let cases: Vec<Case> = cells.map(case).collect::<Option<_>>()?;
        (!cases.is_empty()).then(|| Self { names, price: Arc::new(Price { cases }) })
    }
}

impl Provider {
    fn price(&self, model: &str) -> Option<&Arc<Price>> {
        let fits = |listed: &&Model| listed.names.iter().any(|name| name.matches(model));
        self.models().iter().find(fits).map(|model| &model.price)
    }

    fn models(&self) -> &[Model] {
        self.models.get_or_init(|| self.lines.iter().filter_map(|line| Model::read(line)).collect())
    }
}

/// `always input=1>200000:2 output=3`
fn case(cell: &str) -> Option<Case> {
    let (when, prices) = cell.split_once(' ')?;
    let mut listed = Vec::new();
    for word in prices.split(' ') {
        let (unit, steps) = word.split_once('=')?;
        let unit = Unit::ALL.into_iter().find(|known| known.word() == unit)?;
        for step in steps.split('>') {
            let (above, rate) = step.split_once(':').unwrap_or(("0", step));
            listed.push((above.parse::<u64>().ok()?, unit, Rate::parse(rate).ok()?));
        }
    }
    Some(Case { when: self::when(when)?, bands: bands(listed) })
}

/// One set of rates per step: each keeps what it does not say from the one before.
fn bands(mut listed: Vec<(u64, Unit, Rate)>) -> Vec<(u64, Rates)> {
    listed.sort_by_key(|(above, ..)| *above);
    let mut bands = vec![(0, Rates::default())];
    for (above, unit, rate) in listed {
        let last = bands.last().copied().unwrap_or_default();
        if above > last.0 {
            bands.push((above, last.1));
        }
        if let Some((_, rates)) = bands.last_mut() {
            rates.set(unit, rate);
        }
    }
    bands
}

/// `always`, `from:2026-03-13` or `daily:00:30:00-16:30:00`
fn when(word: &str) -> Option<When> {
    match word.split_once(':') {
        None => (word == "always").then_some(When::Always),
        Some(("from", date)) => {
            let parsed = humantime::parse_rfc3339(&format!("{date}T00:00:00Z")).ok()?;
            Some(When::From(parsed.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs()))
        }
        Some(("daily", times)) => {
            let (start, end) = times.split_once('-')?;
            Some(When::Daily(second_of_day(start)?, second_of_day(end)?))
        }
        Some(_) => None,
    }
}

fn second_of_day(text: &str) -> Option<u64> {
    let numbers = text.split(':').map(|part| part.parse().ok()).collect::<Option<Vec<u64>>>()?;
    let &[hours, minutes, seconds] = numbers.as_slice() else { return None };
    Some(hours * 3600 + minutes * 60 + seconds).filter(|second| *second <= DAY_SECONDS)
}

#[cfg(test)]
mod tests;

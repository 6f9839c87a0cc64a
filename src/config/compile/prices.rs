//! The operator's own prices, and which models have none at all.
//!
//! Invariant: a price is the decimal that was written, or refused. What a float prints is the shortest decimal
//! that means it, and within `Rate`'s bounds that is the one it was read from.

use super::{At, Compiler, entries};
use crate::config::file::{File, Price as Written};
use crate::config::problem::{did_you_mean, shown};
use crate::config::snapshot::{Channel, Patterns, PriceRule, Prices};
use crate::id::ChannelId;
use crate::price::{Rate, Rates, Unit};
use std::collections::HashMap;
use std::sync::Arc;

impl Compiler<'_, '_> {
    /// Compiles every price and looks for models without one.
    pub(super) fn prices(&mut self, files: &[File]) -> Prices {
        let mut rules: Vec<PriceRule> = Vec::new();
        for (at, written) in entries(files, ("price", |file| &file.price)) {
            let Some(rule) = self.price(&at, written) else { continue };
            let covers =
                |other: &ChannelId| rule.channel.as_ref().is_some_and(|it| it.is_called(other.as_str()));
            let shadows =
                |other: &PriceRule| other.model == rule.model && other.channel.as_ref().is_none_or(covers);
            if rules.iter().any(shadows) {
                self.warning(&at.key("model"), "is never used: one before it has the same model", None);
            }
            rules.push(rule);
        }
        let prices = Prices::new(rules, &self.channels);
        self.look_for_the_unpriced(files, &prices);
        prices
    }

    fn price(&mut self, at: &At, written: &Written) -> Option<PriceRule> {
        if written.model.trim().is_empty() {
            self.problem(&at.key("model"), "is empty", None);
        }
        let channel = match &written.channel {
            Some(name) => Some(self.priced_channel(&at.key("channel"), name)?),
            None => None,
        };
        let mut rates = Rates::default();
        for (unit, number) in written.written() {
            let rate = rate(unit, number).map_err(str::to_owned);
            if let Some(rate) = self.checked(&at.key(unit.word()), rate) {
                rates.set(unit, rate);
            }
        }
        if self.says_only(at, &["model", "channel"]) {
            let hint = "for example input = 0.27 and output = 1.10".to_owned();
            self.problem(at, "says no price", Some(hint));
        }
        Some(PriceRule::new(&written.model, channel, rates))
    }

    fn priced_channel(&mut self, at: &At, name: &str) -> Option<ChannelId> {
        if self.channels.iter().any(|channel| channel.id.is_called(name)) {
            return Some(ChannelId::new(name));
        }
        let hint = did_you_mean(name, self.channels.iter().map(|channel| channel.id.as_str()));
        self.dangling(at, format!("there is no channel {}", shown(name)), hint);
        None
    }

    /// Warns about models that the operator spells out and whose cost will not be known.
    fn look_for_the_unpriced(&mut self, files: &[File], prices: &Prices) {
        let channels = self.channels.clone();
        let enabled = || channels.iter().filter(|channel| channel.enabled);
        // A name of its own comes before that of one address of another.
        let by_name: HashMap<&str, &Arc<Channel>> = enabled()
            .map(|channel| (channel.id.without_site(), channel))
            .chain(enabled().map(|channel| (channel.id.as_str(), channel)))
            .collect();
        for (at, written) in entries(files, ("channel", |file| &file.channel)) {
            let channel = by_name.get(written.name.as_str()).filter(|_| written.models.is_some());
            let Some(channel) = channel else { continue };
            let listed = channel.models.as_ref().map(Patterns::listed).unwrap_or_default();
            let unpriced: Vec<&String> = listed
                .iter()
                .filter(|model| !model.contains('*'))
                .filter(|model| prices.find(&channel.id, channel.upstream_model(model)).is_none())
                .collect();
            if !unpriced.is_empty() {
                self.unpriced(&at.key("models"), &unpriced);
            }
        }
    }

    fn unpriced(&mut self, at: &At, models: &[&String]) {
        let mut named: Vec<String> =
            models.iter().take(UNPRICED_SHOWN_MAX).map(|model| shown(model)).collect();
        let more = models.len() - named.len();
        if more > 0 {
            named.push(format!("{more} more"));
        }
        let what = format!("no price is known for {}: their cost will be null", named.join(", "));
        self.warning(at, what, Some("give them a `[[price]]`".to_owned()));
    }
}

/// A list of local models may be long; a few names say which it is.
const UNPRICED_SHOWN_MAX: usize = 5;

fn rate(unit: Unit, number: f64) -> Result<Rate, &'static str> {
    let rate = Rate::parse(&number.to_string())?;
    if matches!(unit, Unit::WebSearch | Unit::AudioSecond | Unit::VideoSecond | Unit::Request) {
        rate.per_thousand()
    } else {
        Ok(rate)
    }
}

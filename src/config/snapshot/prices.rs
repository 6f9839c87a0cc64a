//! Which price counts for what a channel answers.
//!
//! A price belongs to a model at a channel, under the name the provider knows. In this order: the operator's own
//! prices by that name, then by the name the model has here (`model_map`); the built-in list by that name, then by
//! the name here. Never by the name the client asked for: what a mapping made of it is what was sold.
//! Invariant: where names here of one upstream model lead to different prices, there is none: no guess.

use super::{Channel, Pattern};
use crate::id::ChannelId;
use crate::price::table::{Seller, Table};
use crate::price::{Price, Rates};
use crate::spread::Map;
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::Arc;

/// Prices by channel and model.
#[derive(Debug, Default)]
pub struct Prices {
    rules: Vec<PriceRule>,
    channels: Map<ChannelId, Shelf>,
}

/// One `[[price]]`.
#[derive(Debug, Clone)]
pub struct PriceRule {
    /// The model as written: a name, or one with `*`.
    pub model: String,
    /// Only at this channel, at all of its addresses.
    pub channel: Option<ChannelId>,
    /// What it says.
    pub rates: Rates,
    pattern: Pattern,
    price: Arc<Price>,
}

impl PriceRule {
    /// Compiles one.
    pub fn new(model: &str, channel: Option<ChannelId>, rates: Rates) -> Self {
        let (pattern, price) = (Pattern::new(model), Price::flat(rates));
        Self { model: model.to_owned(), channel, rates, pattern, price }
    }
}

/// One channel's.
#[derive(Debug)]
struct Shelf {
    seller: Option<Seller>,
    /// What a model of the provider's is called here, where it is called otherwise.
    names_here: Map<String, Vec<String>>,
    /// Of the names the configuration spells out.
    configured: Map<String, Option<Arc<Price>>>,
    /// Of other names that were asked for: read by every thread at once, and seldom added to. Clients choose them.
    seen: ArcSwap<HashMap<String, Option<Arc<Price>>>>,
}

/// Names come from clients where a channel serves patterns; past this many they are looked up each time.
const SEEN_MAX: usize = 1_024;

impl Prices {
    /// Finds the price of every configured name.
    pub fn new(rules: Vec<PriceRule>, channels: &[Arc<Channel>]) -> Self {
        let mut prices = Self { rules, channels: Map::default() };
        for channel in channels {
            let mut shelf = Shelf::of(channel);
            for name in channel.spelled_out() {
                let found = prices.look_up(&channel.id, &shelf, name);
                shelf.configured.insert(name.to_owned(), found);
            }
            prices.channels.insert(channel.id.clone(), shelf);
        }
        prices
    }

    /// The operator's own, in order.
    pub fn rules(&self) -> &[PriceRule] {
        &self.rules
    }

    /// The price of a model, by its provider's name, at a channel.
    pub fn find(&self, channel: &ChannelId, model: &str) -> Option<Arc<Price>> {
        let shelf = self.channels.get(channel)?;
        if let Some(known) = shelf.configured.get(model) {
            return known.clone();
        }
        if let Some(known) = shelf.seen.load().get(model) {
            return known.clone();
        }
        let found = self.look_up(channel, shelf, model);
        if shelf.seen.load().len() < SEEN_MAX {
            shelf.seen.rcu(|seen| {
                let mut seen = HashMap::clone(seen);
                // Others may have come in between.
                if seen.len() < SEEN_MAX {
                    seen.insert(model.to_owned(), found.clone());
                }
                seen
            });
        }
        found
    }

    fn look_up(&self, channel: &ChannelId, shelf: &Shelf, model: &str) -> Option<Arc<Price>> {
        let here = shelf.names_here.get(model).map(Vec::as_slice).unwrap_or_default();
        let own = |name: &str| self.rule(channel, name).map(|rule| &rule.price);
        let listed = |name: &str| Table::built_in().price(shelf.seller, name);
        own(model)
            .or_else(|| only(here, own))
            .or_else(|| listed(model))
            .or_else(|| only(here, listed))
            .map(Arc::clone)
    }

    fn rule(&self, channel: &ChannelId, model: &str) -> Option<&PriceRule> {
        let here =
            |rule: &&PriceRule| rule.channel.as_ref().is_none_or(|only| channel.is_called(only.as_str()));
        self.rules.iter().filter(here).find(|rule| rule.pattern.matches(model))
    }
}

impl Shelf {
    fn of(channel: &Channel) -> Self {
        let mut names_here: Map<String, Vec<String>> = Map::default();
        for (here, there) in &channel.model_map {
            names_here.entry(there.to_string()).or_default().push(here.clone());
        }
        let seller = Table::built_in().seller(&channel.main_address());
        Self { seller, names_here, configured: Map::default(), seen: ArcSwap::default() }
    }
}

/// The price all names with one agree on.
fn only<'a>(names: &[String], price: impl Fn(&str) -> Option<&'a Arc<Price>>) -> Option<&'a Arc<Price>> {
    let mut found = names.iter().filter_map(|name| price(name));
    let first = found.next()?;
    found.all(|other| other == first).then_some(first)
}

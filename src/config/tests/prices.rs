//! Prices in the configuration: whose counts, and what is no price.

use super::super::testing::Memory;
use super::super::{Loaded, redacted};
use crate::id::ChannelId;
use crate::usage::Usage;

const KEY: &str =
    "[[key]]\nname = 'k'\nhash = 'sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'\n";

fn channel(name: &str, more: &str) -> String {
    format!(
        "[[channel]]\nname = '{name}'\ntype = 'openai'\napi_keys = [{{ env = 'OPENAI_API_KEY' }}]\n{more}\n"
    )
}

fn load(text: &str) -> Loaded {
    let text = format!("{KEY}{text}");
    Memory::with(&[("t.toml", &text)]).load("t.toml").unwrap_or_else(|problems| panic!("{problems}"))
}

/// Nano-dollars of a thousand tokens of input.
fn thousand(loaded: &Loaded, channel: &str, model: &str) -> Option<u64> {
    let price = loaded.snapshot.prices.find(&ChannelId::new(channel), model)?;
    price.cost(&Usage { input: 1_000, ..Usage::default() }, 0)
}

fn warnings(loaded: &Loaded) -> Vec<String> {
    loaded.warnings.iter().map(ToString::to_string).collect()
}

/// A whole file after a sound key and channel (7 lines), with one problem.
fn refused(text: &str, expected: &str) {
    let text = format!("{KEY}{}{text}", channel("main", ""));
    match Memory::with(&[("t.toml", &text)]).load("t.toml") {
        Ok(_) => panic!("should be refused: {text}"),
        Err(problems) => assert_eq!(problems.to_string().trim_end(), expected, "{text}"),
    }
}

#[test]
fn the_first_price_that_matches_the_model_and_the_channel_counts_before_the_list() {
    let prices = "[[price]]\nmodel = 'gpt-4.1'\nchannel = 'cheap'\ninput = 0.5\n\
                  [[price]]\nmodel = 'gpt-*'\ninput = 9\n[[price]]\nmodel = 'gpt-4o'\ninput = 7\n";
    let loaded = load(&(channel("main", "") + &channel("cheap", "") + prices));
    for (at, model, expected) in [
        ("cheap", "gpt-4.1", Some(500_000)),
        ("main", "gpt-4.1", Some(9_000_000)),
        ("main", "gpt-4o", Some(9_000_000)),
        ("main", "o3-mini", Some(1_100_000)),
        ("main", "nobody-knows", None),
        ("no-channel", "gpt-4.1", None),
    ] {
        // The second time from memory.
        assert_eq!(thousand(&loaded, at, model), expected, "{model} at {at}");
        assert_eq!(thousand(&loaded, at, model), expected, "{model} at {at}");
    }
}

#[test]
fn a_price_is_found_by_the_providers_name_then_by_the_name_here_and_never_by_a_guess() {
    let map = "model_map = { 'gpt-4.1' = 'deployment-7', 'gpt-4.1-mini' = 'gpt-4o-mini', 'gpt-4o' = 'two', 'o3-mini' = 'two' }";
    let text = channel("main", map) + "[[price]]\nmodel = 'our-*'\ninput = 4\n";
    let loaded = load(&text);
    for (model, expected) in [
        ("deployment-7", Some(2_000_000)),
        ("gpt-4o-mini", Some(150_000)),
        ("two", None),
        ("our-own", Some(4_000_000)),
    ] {
        assert_eq!(thousand(&loaded, "main", model), expected, "{model}");
    }
}

#[test]
fn decimals_stay_what_was_written_in_every_syntax() {
    let toml = channel("main", "")
        + "[[price]]\nmodel = 'm'\ninput = 0.000000001\noutput = 99999.123456789\ncache_read = 0\n";
    let loaded = load(&toml);
    let shown = redacted(&loaded.snapshot)["price"].clone();
    let expected = serde_json::json!([{
        "model": "m",
        "channel": null,
        "usd_per_million": { "input": "0.000000001", "output": "99999.123456789", "cache_read": "0" },
    }]);
    assert_eq!(shown, expected);
    for (name, text) in [
        (
            "t.json",
            r#"{"price":[{"model":"m","input":0.27,"web_search":10}],"channel":[{"name":"c","type":"openai","api_keys":[{"env":"OPENAI_API_KEY"}]}],"key":[{"name":"k","secret":"sk-client-0123456789"}]}"#,
        ),
        (
            "t.yaml",
            "price: [{model: m, input: 0.27, web_search: 10}]\nchannel: [{name: c, type: openai, api_keys: [{env: OPENAI_API_KEY}]}]\nkey: [{name: k, secret: sk-client-0123456789}]\n",
        ),
    ] {
        let loaded = Memory::with(&[(name, text)]).load(name).unwrap_or_else(|problems| panic!("{problems}"));
        let shown = &redacted(&loaded.snapshot)["price"][0]["usd_per_million"];
        assert_eq!(shown, &serde_json::json!({ "input": "0.27", "web_search": "10000" }), "{name}");
    }
}

#[test]
fn what_is_no_price_is_refused_with_its_place() {
    refused(
        "[[price]]\nmodel = 'm'\n",
        "t.toml:9: price[0]: says no price (for example input = 0.27 and output = 1.10)",
    );
    refused("[[price]]\ninput = 1\n", "t.toml:9: price[0]: `model` is missing");
    refused("[[price]]\nmodel = ''\ninput = 1\n", "t.toml:10: price[0].model: is empty");
    let out_of_range = "must be a number from 0 to 100000";
    for number in ["-0.1", "100000.1", "nan", "inf", "-inf", "1e300"] {
        refused(
            &format!("[[price]]\nmodel = 'm'\ninput = {number}\n"),
            &format!("t.toml:11: price[0].input: {out_of_range}"),
        );
    }
    refused(
        "[[price]]\nmodel = 'm'\noutput = 0.0000000001\n",
        "t.toml:11: price[0].output: has more than nine digits after the point",
    );
    refused(
        "[[price]]\nmodel = 'm'\ninput = '0.27'\n",
        "t.toml:11: price[0].input: expected a number, found a string",
    );
    refused(
        "[[price]]\nmodel = 'm'\nchannel = 'mian'\ninput = 1\n",
        "t.toml:11: price[0].channel: there is no channel `mian` (did you mean `main`?)",
    );
}

#[test]
fn models_without_a_price_and_prices_without_effect_are_warned_about() {
    let loaded = load(
        &(channel(
            "main",
            "models = ['gpt-4.1', 'house-model', 'house-*', 'other']\nmodel_map = { 'other' = 'gpt-4o' }",
        ) + &channel("off", "enabled = false\nmodels = ['nobody-knows']")),
    );
    assert_eq!(
        warnings(&loaded),
        [
            "t.toml:8: channel.main.models: no price is known for `house-model`: their cost will be null (give them a `[[price]]`)"
        ]
    );
    let many: Vec<String> = (0..9).map(|index| format!("'local-{index}'")).collect();
    let loaded = load(&channel("main", &format!("models = [{}]", many.join(", "))));
    assert!(warnings(&loaded)[0].contains("`local-4`, 4 more:"), "{:?}", loaded.warnings);
    let twice = "[[price]]\nmodel = 'm'\ninput = 1\n[[price]]\nmodel = 'm'\nchannel = 'main'\ninput = 2\n";
    let loaded = load(&(channel("main", "") + twice));
    assert_eq!(
        warnings(&loaded),
        ["t.toml:13: price[1].model: is never used: one before it has the same model"]
    );
}

//! The list as committed: its shape, prices as their providers publish them, and whose price is taken.

use super::*;
use crate::usage::Usage;

/// 2026-08-21 12:00 UTC.
const NOON: u64 = 1_787_313_600;
const MTOK: u64 = 1_000_000;

const OPENAI: &str = "https://api.openai.com/v1";
const ANTHROPIC: &str = "https://api.anthropic.com";
const GOOGLE: &str = "https://generativelanguage.googleapis.com";
const OWN: &str = "http://127.0.0.1:11434/v1";

fn find(base_url: &str, model: &str) -> Option<Arc<Price>> {
    let table = Table::built_in();
    table.price(table.seller(base_url), model).map(Arc::clone)
}

/// Input, output, cache read: of a million tokens each (or as many as stay in the smallest band), in micro-dollars.
fn micros(price: &Price, tokens: u64, at: u64) -> [Option<u64>; 3] {
    let none = Usage::default();
    [Usage { input: tokens, ..none }, Usage { output: tokens, ..none }, Usage { cache_read: tokens, ..none }]
        .map(|usage| price.cost(&usage, at).map(|nanos| nanos / 1_000))
}

/// The whole list, or the first line that is none of it.
fn parse(text: &'static str) -> Result<Table, String> {
    let table = Table::read(text)?;
    for provider in &table.providers {
        let is_sound = |clauses: &[Clause]| clauses.iter().all(Clause::is_sound);
        if !is_sound(&provider.addresses) || !is_sound(&provider.makes) {
            return Err(provider.id.to_owned());
        }
        let bad = |line: &&&'static str| Model::read(line).is_none_or(|model| !is_sound(&model.names));
        if let Some(line) = provider.lines.iter().find(bad) {
            return Err((*line).to_owned());
        }
    }
    Ok(table)
}

#[test]
fn the_list_parses_whole_and_has_its_source_its_licence_and_its_bounds() {
    let table = parse(TEXT).unwrap();
    let models: usize = table.providers.iter().map(|provider| provider.models().len()).sum();
    assert!(table.providers.len() >= 30 && models >= 1_000, "{} {models}", table.providers.len());
    assert!(TEXT.len() < 400_000, "the list has grown to {} bytes", TEXT.len());
    for said in ["github.com/pydantic/genai-prices", "# Commit: ", "MIT License", "Pydantic Services"] {
        assert!(TEXT.contains(said), "{said}");
    }
    for provider in &table.providers {
        for other in &provider.resells {
            assert!(table.provider(other).is_some(), "{} resells {other}", provider.id);
        }
    }
    for line in TEXT.lines().filter(|line| line.starts_with("model\t")) {
        assert!(line.contains('=') && !line.contains("=0 "), "a price of nothing is no price: {line}");
    }
}

#[test]
fn known_models_have_their_published_prices() {
    for (base_url, model, expected) in [
        (OPENAI, "gpt-4.1", [2_000_000, 8_000_000, 500_000]),
        (OPENAI, "gpt-4.1-2025-04-14", [2_000_000, 8_000_000, 500_000]),
        (OPENAI, "gpt-4.1-mini", [400_000, 1_600_000, 100_000]),
        (OPENAI, "gpt-4o-mini", [150_000, 600_000, 75_000]),
        (ANTHROPIC, "claude-haiku-4-5", [1_000_000, 5_000_000, 100_000]),
        (ANTHROPIC, "claude-haiku-4-5-20251001", [1_000_000, 5_000_000, 100_000]),
        (ANTHROPIC, "claude-opus-4-5", [5_000_000, 25_000_000, 500_000]),
        (GOOGLE, "gemini-2.5-flash", [300_000, 2_500_000, 30_000]),
        ("https://api.deepseek.com", "deepseek-chat", [270_000, 1_100_000, 70_000]),
        ("https://api.deepseek.com/anthropic", "deepseek-chat", [270_000, 1_100_000, 70_000]),
        ("https://openrouter.ai/api/v1", "openai/gpt-4.1-mini", [400_000, 1_600_000, 100_000]),
    ] {
        let price = find(base_url, model).unwrap_or_else(|| panic!("no price of {model} at {base_url}"));
        assert_eq!(micros(&price, MTOK, NOON), expected.map(Some), "{model} at {base_url}");
    }
}

#[test]
fn hours_of_the_day_sizes_and_cache_writes_have_their_prices() {
    let deepseek = find("https://api.deepseek.com", "deepseek-chat").unwrap();
    assert_eq!(micros(&deepseek, MTOK, NOON + 5 * 3600)[0], Some(135_000), "17:00 UTC is cheaper");
    for (base_url, model, small, large) in [
        (GOOGLE, "gemini-2.5-pro", [250_000, 0, 25_000], [2_500_000, 10_000_000, 250_000]),
        (ANTHROPIC, "claude-sonnet-4-5", [600_000, 0, 60_000], [6_000_000, 15_000_000, 600_000]),
    ] {
        let price = find(base_url, model).unwrap();
        let [input, _, read] = micros(&price, 200_000, NOON);
        assert_eq!([input, read], [Some(small[0]), Some(small[2])], "{model}");
        assert_eq!(micros(&price, MTOK, NOON), large.map(Some), "{model}");
    }
    let claude = find(ANTHROPIC, "claude-haiku-4-5").unwrap();
    let writes = Usage { cache_write: 1_000, cache_write_1h: 600, ..Usage::default() };
    assert_eq!(claude.cost(&writes, NOON), Some(400 * 1_250 + 600 * 2_000));
}

#[test]
fn a_known_address_has_its_own_prices_and_those_it_resells_and_no_others() {
    let table = Table::built_in();
    for (base_url, seller) in [
        (OPENAI, Some("openai")),
        (ANTHROPIC, Some("anthropic")),
        (GOOGLE, Some("google")),
        ("https://acme.openai.azure.com", Some("azure")),
        ("https://api.moonshot.cn/v1", Some("moonshotai")),
        ("https://open.bigmodel.cn/api/paas/v4", Some("zhipuai")),
        (OWN, None),
        ("https://relay.example/https://api.openai.com/v1", None),
    ] {
        assert_eq!(table.seller(base_url).map(|seller| table.name(seller)), seller, "{base_url}");
    }
    assert_eq!(find("https://acme.openai.azure.com", "gpt-4.1"), find(OPENAI, "gpt-4.1"));
    assert_eq!(find(OPENAI, "claude-haiku-4-5"), None);
    assert_eq!(find(OPENAI, "no-such-model"), None);
}

#[test]
fn elsewhere_the_only_makers_price_stands_in() {
    assert_eq!(find(OWN, "gpt-4.1"), find(OPENAI, "gpt-4.1"));
    assert_eq!(find(OWN, "GPT-4.1"), find(OPENAI, "gpt-4.1"), "letter case does not count");
    assert_eq!(find(OWN, "claude-haiku-4-5"), find(ANTHROPIC, "claude-haiku-4-5"));
    assert_eq!(find(OWN, "gemini-2.5-pro"), find(GOOGLE, "gemini-2.5-pro"));
    assert!(find(OWN, "deepseek-chat").is_some());
    for nobodys in ["llama3", "gpt-unheard-of", "m", "", "claude-gemini"] {
        assert_eq!(find(OWN, nobodys), None, "{nobodys}");
    }
}

#[test]
fn a_line_that_is_not_understood_is_no_table() {
    let provider = "provider\tp\t^https://p\t\t^m\n";
    assert!(parse(format!("# head\n{provider}model\tm\t=m\talways input=1").leak()).is_ok());
    for line in [
        "model\tm\t=m",
        "model\tm\t=m\talways",
        "model\tm\t=m\talways input",
        "model\tm\t=m\talways input=x",
        "model\tm\t=m\talways input=-1",
        "model\tm\t=m\talways colour=1",
        "model\tm\tm\talways input=1",
        "model\tm\t=m\tsometimes input=1",
        "model\tm\t=m\tfrom:2026-13-01 input=1",
        "model\tm\t=m\tdaily:1-2 input=1",
        "maker\tm",
        "",
    ] {
        assert!(parse(format!("{provider}{line}\n").leak()).is_err(), "{line:?}");
    }
    assert!(parse("model\tm\t=m\talways input=1").is_err(), "a model belongs to a provider");
}

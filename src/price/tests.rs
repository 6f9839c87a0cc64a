//! Amounts: each published by hand, and what holds for all of them.

use super::*;
use crate::usage::Media;
use proptest::prelude::*;
use std::collections::HashSet;

fn rates(listed: &[(Unit, &str)]) -> Rates {
    let mut rates = Rates::default();
    for (unit, rate) in listed {
        rates.set(*unit, Rate::parse(rate).unwrap());
    }
    rates
}

fn claude() -> Rates {
    rates(&[
        (Unit::Input, "3"),
        (Unit::Output, "15"),
        (Unit::CacheRead, "0.3"),
        (Unit::CacheWrite, "3.75"),
        (Unit::CacheWrite1h, "6"),
        (Unit::WebSearch, "10000"),
    ])
}

#[test]
fn what_is_expected_is_the_dearest_that_text_can_turn_out_to_be() {
    let of = |listed: &[(Unit, &str)]| Price::flat(rates(listed)).expected(1_000, 100, 0);
    let plain = [(Unit::Input, "1"), (Unit::Output, "5")];
    assert_eq!(of(&plain), Some(1_500_000));
    assert_eq!(
        of(&[plain[0], plain[1], (Unit::CacheRead, "0.1"), (Unit::CacheWrite, "1.25")]),
        Some(1_750_000)
    );
    assert_eq!(of(&[plain[0], plain[1], (Unit::CacheWrite, "0.5")]), Some(1_500_000));
    assert_eq!(of(&[plain[0], plain[1], (Unit::Reasoning, "7")]), Some(1_700_000));
    assert_eq!(of(&plain[..1]), None, "nobody knows what writing costs");
}

#[test]
fn every_part_is_priced_once_by_its_own_rate_or_by_that_of_what_it_is_a_kind_of() {
    let plain = rates(&[(Unit::Input, "1"), (Unit::Output, "10")]);
    let none = Usage::default();
    let audio = Media { input_audio: 40, output_audio: 5, ..Media::default() };
    for (name, rates, usage, nanos) in [
        ("text", claude(), Usage { input: 1_000, output: 100, ..none }, Some(3_000_000 + 1_500_000)),
        ("cache read", claude(), Usage { cache_read: 1_000, ..none }, Some(300_000)),
        ("minutes", claude(), Usage { cache_write: 1_000, ..none }, Some(3_750_000)),
        ("an hour", claude(), Usage { cache_write: 1_000, cache_write_1h: 1_000, ..none }, Some(6_000_000)),
        (
            "both",
            claude(),
            Usage { cache_write: 1_000, cache_write_1h: 400, ..none },
            Some(2_250_000 + 2_400_000),
        ),
        (
            "more than the whole",
            claude(),
            Usage { cache_write: 10, cache_write_1h: 400, ..none },
            Some(60_000),
        ),
        ("searches", claude(), Usage { web_searches: 3, ..none }, Some(30_000_000)),
        ("reasoning is output", plain, Usage { output: 100, reasoning: 60, ..none }, Some(1_000_000)),
        ("cached input as input", plain, Usage { cache_read: 5, cache_write: 5, ..none }, Some(10_000)),
        ("sound as text", plain, Usage { input: 100, output: 10, media: audio, ..none }, Some(200_000)),
        ("a search without a fee", plain, Usage { web_searches: 3, ..none }, Some(0)),
        ("nothing", plain, none, Some(0)),
        (
            "reasoning apart",
            rates(&[(Unit::Input, "2"), (Unit::Output, "8"), (Unit::Reasoning, "3")]),
            Usage { output: 100, reasoning: 60, ..none },
            Some(40 * 8_000 + 60 * 3_000),
        ),
        (
            "sound apart",
            rates(&[
                (Unit::Input, "1"),
                (Unit::InputAudio, "7"),
                (Unit::Output, "2"),
                (Unit::OutputAudio, "9"),
            ]),
            Usage { input: 100, output: 10, media: audio, ..none },
            Some(60 * 1_000 + 40 * 7_000 + 5 * 2_000 + 5 * 9_000),
        ),
        (
            "a fee for asking",
            rates(&[(Unit::Input, "1"), (Unit::Output, "1"), (Unit::Request, "12000")]),
            Usage { input: 1, ..none },
            Some(12_000_000 + 1_000),
        ),
        (
            "no rate for what was used",
            rates(&[(Unit::Input, "1")]),
            Usage { input: 1, output: 1, ..none },
            None,
        ),
        (
            "no rate for what was not used",
            rates(&[(Unit::Input, "1")]),
            Usage { input: 1, ..none },
            Some(1_000),
        ),
    ] {
        assert_eq!(rates.amount(&usage), nanos, "{name}");
    }
}

#[test]
fn an_amount_is_rounded_once_and_half_up() {
    // 0.0028 dollars per million are 2.8 nano-dollars a token.
    let cheap = rates(&[(Unit::Input, "0.0004"), (Unit::Output, "0.0001")]);
    for (input, output, nanos) in [(1, 0, 0), (1, 1, 1), (1, 2, 1), (3, 2, 1), (3, 3, 2), (10, 0, 4)] {
        let usage = Usage { input, output, ..Usage::default() };
        assert_eq!(cheap.amount(&usage), Some(nanos), "{input} {output}");
    }
}

#[test]
fn the_size_of_the_whole_prompt_decides_the_band_and_its_edge_belongs_to_the_smaller() {
    let price = Price {
        cases: vec![Case {
            when: When::Always,
            bands: vec![
                (0, rates(&[(Unit::Input, "1"), (Unit::Output, "10")])),
                (200_000, rates(&[(Unit::Input, "2"), (Unit::Output, "15")])),
            ],
        }],
    };
    let usage = |input, cache_read, output| Usage { input, output, cache_read, ..Usage::default() };
    assert_eq!(price.cost(&usage(200_000, 0, 10), 0), Some(200_000_000 + 100_000));
    assert_eq!(price.cost(&usage(200_001, 0, 10), 0), Some(400_002_000 + 150_000));
    assert_eq!(price.cost(&usage(100_000, 100_001, 10), 0), Some(400_002_000 + 150_000));
    assert_eq!(price.cost(&usage(0, 0, 300_000), 0), Some(3_000_000_000), "the answer does not count");
}

#[test]
fn the_last_case_that_applies_counts_and_the_first_where_none_does() {
    let of = |when, rate| Case { when, bands: vec![(0, rates(&[(Unit::Input, rate)]))] };
    let usage = Usage { input: 1, ..Usage::default() };
    let dated = Price { cases: vec![of(When::Always, "1"), of(When::From(1_000), "2")] };
    let daily = Price { cases: vec![of(When::Always, "1"), of(When::Daily(1_800, 59_400), "2")] };
    let later = Price { cases: vec![of(When::From(1_000), "1"), of(When::From(2_000), "2")] };
    for (price, at, nanos) in [
        (&dated, 999, 1_000),
        (&dated, 1_000, 2_000),
        (&daily, 10 * DAY_SECONDS + 1_799, 1_000),
        (&daily, 10 * DAY_SECONDS + 1_800, 2_000),
        (&daily, 59_399, 2_000),
        (&daily, 59_400, 1_000),
        (&later, 0, 1_000),
        (&later, 1_500, 1_000),
        (&later, 2_500, 2_000),
    ] {
        assert_eq!(price.cost(&usage, at), Some(nanos), "{price:?} at {at}");
    }
}

#[test]
fn units_stand_at_their_number() {
    for (index, unit) in Unit::ALL.into_iter().enumerate() {
        assert_eq!(unit as usize, index, "{}", unit.word());
    }
}

fn any_usage() -> impl Strategy<Value = Usage> {
    proptest::array::uniform17(prop_oneof![0_u64..1_000_000, any::<u64>()]).prop_map(|n| Usage {
        input: n[0],
        output: n[1],
        cache_read: n[2],
        cache_write: n[3],
        reasoning: n[4],
        cache_write_1h: n[5],
        web_searches: n[6],
        media: Media {
            input_audio: n[7],
            input_image: n[8],
            input_video: n[9],
            cache_read_audio: n[10],
            cache_read_image: n[11],
            output_audio: n[12],
            output_image: n[13],
            output_video: n[14],
        },
        audio_seconds: n[15],
        video_seconds: n[16],
    })
}

proptest! {
    #[test]
    fn the_parts_are_the_whole_and_nothing_overflows(usage in any_usage(), nanos in 0_u64..=100_000_000_000_000) {
        let whole: u128 = [usage.input, usage.output, usage.cache_read, usage.cache_write, usage.web_searches, usage.audio_seconds, usage.video_seconds]
            .into_iter().map(u128::from).sum();
        let mut seen: Vec<Unit> = Vec::new();
        let mut sum = 0_u128;
        each_part(&usage, |unit, count| {
            seen.push(unit);
            sum += if unit == Unit::Request { 0 } else { u128::from(count) };
        });
        let told: HashSet<Unit> = seen.iter().copied().collect();
        prop_assert_eq!((sum, seen.len()), (whole, told.len()));
        prop_assert!(told.contains(&Unit::Request));
        // One rate for everything: the amount follows from the whole alone.
        let rate = Rate::parse(&decimal::usd(nanos)).unwrap();
        let mut same = Rates::default();
        for unit in [Unit::Input, Unit::Output, Unit::WebSearch, Unit::AudioSecond, Unit::VideoSecond] {
            same.set(unit, rate);
        }
        let exact = (whole * u128::from(nanos) + 500_000) / 1_000_000;
        prop_assert_eq!(same.amount(&usage), Some(u64::try_from(exact).unwrap_or(u64::MAX)));
    }

    #[test]
    fn more_of_anything_never_costs_less(usage in any_usage(), more in 0_u64..1_000) {
        let dearer = Usage { input: usage.input.saturating_add(more), ..usage };
        prop_assert!(claude().amount(&dearer) >= claude().amount(&usage));
    }
}

//! `base_urls`: several servers of one channel, each with a health, limits and a name of its own.

use super::{compatible, said};
use crate::support::decide::Decides;
use crate::support::speech::Speech;
use crate::support::{Gateway, StillWorld, key};
use std::collections::BTreeSet;
use tollgate::config;
use tollgate::id::ChannelId;
use tollgate_loadtest::{Fault, Provider, ReservedPort, Selector};

/// A channel of vLLM's with these addresses.
fn local(addresses: &[String], more: &str) -> String {
    let addresses: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    let addresses = addresses.join(", ");
    format!("[[channel]]\nname = \"local\"\ntype = \"vllm\"\nbase_urls = [{addresses}]\n{more}\n")
}

fn named(upstream: &Provider) -> String {
    format!("local@{}", upstream.addr())
}

#[tokio::test]
async fn every_address_serves_under_a_name_of_its_own() {
    let (one, two) = (compatible().await, compatible().await);
    let addresses = [one.base_url(), format!("{}/v1/", two.base_url())];
    let text = local(&addresses, "balance = \"least_busy\"\nlimits = { rpm = 2 }") + &key();
    let gateway = Gateway::start(&text).await;
    for _ in 0..4 {
        assert_eq!(Speech::ask_plainly(gateway.addr()).await, 200);
    }
    // Two a minute are each address's own.
    assert_eq!(Speech::ask_plainly(gateway.addr()).await, 503);
    assert_eq!((one.request_count(), two.request_count()), (2, 2));
    assert!(one.requests().iter().chain(&two.requests()).all(|sent| sent.target == "/v1/chat/completions"));
    let lines = gateway.log.lines(5).await;
    let channels: BTreeSet<&str> = lines[..4].iter().filter_map(|line| line["channel"].as_str()).collect();
    let expected = [named(&one), named(&two)];
    assert_eq!(channels, expected.iter().map(String::as_str).collect());
    let labelled = format!("tollgate_upstream_requests_total{{channel=\"{}\",code=\"200\"", named(&one));
    assert!(gateway.metrics().await.contains(&labelled));
}

#[tokio::test]
async fn what_is_wrong_with_one_address_is_nobody_elses_trouble() {
    let up = compatible().await;
    let down = ReservedPort::new().expect("a port");
    let broken = compatible().await;
    broken.script_forever(Selector::Any, Fault::status(500));
    let addresses = [format!("http://{}", down.addr()), broken.base_url(), up.base_url()];
    // Time stands still, so that a breaker which opens stays open.
    let gateway = Gateway::in_world("", &(local(&addresses, "") + &key()), StillWorld::new()).await;
    for _ in 0..12 {
        assert_eq!(Speech::ask_plainly(gateway.addr()).await, 200);
    }
    assert_eq!(up.request_count(), 12);
    // Three failures in a row open a breaker: then it is left alone, and only it.
    assert!(broken.request_count() <= 3, "{}", broken.request_count());
    assert_eq!(gateway.metric(&format!("tollgate_channel_up{{channel=\"{}\"}}", named(&up))).await, 1.0);
}

#[test]
fn the_dump_shows_each_address_and_a_counter_keeps_its_name_wherever_in_the_list_it_is() {
    let names = |addresses: &[&str]| {
        let addresses: Vec<String> = addresses.iter().map(|&address| address.to_owned()).collect();
        let decides = Decides::new(&local(&addresses, "weight = 3"));
        let dump = config::redacted(&decides.live.snapshot);
        let channels = dump["channel"].as_array().expect("a list").clone();
        assert!(channels.iter().all(|channel| channel["weight"] == 3), "{dump}");
        channels.iter().filter_map(|one| one["name"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(
        names(&["http://gpu-1:8000/v1", "http://gpu-2:8000"]),
        ["local@gpu-1:8000", "local@gpu-2:8000"]
    );
    assert_eq!(names(&["https://gpu-2/llm", "http://[::1]:8000"]), ["local@gpu-2/llm", "local@[::1]:8000"]);
    // One address in the list is one of several all the same: a second one changes no name.
    assert_eq!(names(&["http://gpu-2:8000"]), ["local@gpu-2:8000"]);
}

#[test]
fn addresses_that_make_no_sense_are_refused_where_they_stand() {
    for (lines, words) in [
        ("base_urls = []", "channel.c.base_urls: is empty"),
        (
            "base_url = \"http://a\"\nbase_urls = [\"http://b\"]",
            "channel.c.base_urls: is there beside base_url",
        ),
        ("base_urls = [\"http://a:8000\", \"ftp://b\"]", "channel.c.base_urls[1]: must begin with"),
        (
            "base_urls = [\"http://a:8000\", \"http://A:8000/v1/\"]",
            "channel.c.base_urls[1]: leads to the same address as one before it",
        ),
        ("base_urls = [\"http://169.254.169.254\"]", "channel.c.base_urls[0]: points at a link-local"),
        (
            "base_urls = [\"http://a\"]\n[[channel]]\nname = \"c@a\"\ntype = \"vllm\"",
            "channel.c@a.name: is given twice",
        ),
    ] {
        let problems = said(&format!("type = \"vllm\"\n{lines}")).expect_err(lines);
        assert!(problems.contains(words), "{lines}:\n{problems}");
    }
}

#[test]
fn a_price_of_the_channel_is_the_price_at_each_of_its_addresses() {
    let addresses = ["http://gpu-1:8000".to_owned(), "http://gpu-2:8000".to_owned()];
    let price = |channel: &str, input: u32| {
        format!("[[price]]\nmodel = \"m\"\nchannel = \"{channel}\"\ninput = {input}\noutput = {input}\n")
    };
    let text = local(&addresses, "models = [\"m\"]") + &price("local@gpu-2:8000", 2) + &price("local", 1);
    let decides = Decides::new(&text);
    let prices = &decides.live.snapshot.prices;
    let of = |channel: &str| prices.find(&ChannelId::new(channel), "m").expect("it has a price");
    assert_ne!(of("local@gpu-1:8000"), of("local@gpu-2:8000"));
    assert_eq!(
        of("local@gpu-1:8000"),
        Decides::new(&(local(&addresses[..1], "models = [\"m\"]") + &price("local", 1)))
            .live
            .snapshot
            .prices
            .find(&ChannelId::new("local@gpu-1:8000"), "m")
            .expect("it has a price")
    );
    let problems = said(&format!("type = \"vllm\"\n{}", price("loc", 1))).expect_err("no such channel");
    assert!(problems.contains("there is no channel `loc`"), "{problems}");
}

#[test]
fn where_the_host_is_named_all_of_its_settings_hold_for_each() {
    let upstream = "https://dashscope.aliyuncs.com";
    let text = format!(
        "[[channel]]\nname = \"q\"\ntype = \"qwen\"\napi_keys = [\"sk-up-0123456789\"]\nmodels = [\"m\"]\n\
         protocols = [\"responses\"]\nbase_urls = [\"{upstream}\", \"https://dashscope-intl.aliyuncs.com\"]\n"
    );
    let decides = Decides::new(&text);
    let at: Vec<String> =
        decides.live.snapshot.channels.iter().map(|channel| channel.main_address()).collect();
    let path = "/compatible-mode/v1";
    assert_eq!(at, [format!("{upstream}{path}"), format!("https://dashscope-intl.aliyuncs.com{path}")]);
}

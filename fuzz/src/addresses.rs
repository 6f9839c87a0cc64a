//! Base URLs and networks in a configuration: what is taken is what other readers of the same notation understand.

use http::Uri;
use ipnet::IpNet;
use serde_json::json;
use std::net::IpAddr;
use std::path::Path;
use tollgate::config::{self, Loaded, TextSource, is_link_local};

/// The first byte chooses whether the rest is a URL or a network.
///
/// # Panics
///
/// Where a promise is broken.
pub fn run(input: &[u8]) {
    let Some((first, text)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    if first % 2 == 0 { url(text) } else { network(text) }
}

fn url(text: &str) {
    let Some(loaded) = load(text, "127.0.0.1") else { return };
    let endpoint = &loaded.snapshot.channels[0].endpoint;
    let odd = |c: char| c.is_whitespace() || c.is_control() || "/@?#[]\\".contains(c);
    assert!(!endpoint.host.is_empty() && !endpoint.host.contains(odd), "{text}: {endpoint:?}");
    assert!(endpoint.host.parse().map_or(true, |ip: IpAddr| !is_link_local(ip)), "{text}: {endpoint:?}");
    let uri = Uri::try_from(text.trim()).ok();
    let authority = uri.as_ref().and_then(Uri::authority);
    let Some(authority) = authority else { return };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    assert!(
        host.trim_end_matches('.').eq_ignore_ascii_case(endpoint.host.trim_end_matches('.')),
        "{text}: {endpoint:?}"
    );
    let usual = if endpoint.tls { 443 } else { 80 };
    assert_eq!(endpoint.port, authority.port_u16().unwrap_or(usual), "{text}");
    assert_eq!(endpoint.tls, uri.as_ref().and_then(Uri::scheme_str) == Some("https"), "{text}");
}

fn network(text: &str) {
    let loaded = load("https://api.example.com/v1", text);
    let oracle = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    if let Some(loaded) = loaded {
        let nets = &loaded.snapshot.keys[0].allowed_ips;
        assert_eq!(
            nets.iter().map(IpNet::trunc).collect::<Vec<_>>(),
            oracle.iter().map(IpNet::trunc).collect::<Vec<_>>()
        );
    }
}

fn load(url: &str, net: &str) -> Option<Loaded> {
    let text = json!({
        "channel": [{ "name": "c", "type": "openai", "base_url": url, "api_keys": ["sk-upstream-0123456789"] }],
        "key": [{ "name": "k", "secret": "sk-client-0123456789", "allowed_ips": [net] }],
    });
    config::load(Path::new("fuzz.json"), &TextSource(&text.to_string())).ok()
}

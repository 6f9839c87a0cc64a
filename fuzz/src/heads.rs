//! Addresses and heads of requests: no spelling of a path reaches a place it does not show, and no client says where it
//! comes from unless a proxy that is trusted says so.

use http::{HeaderName, HeaderValue, Method, Uri};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr};
use tollgate::protocol::entry;
use tollgate::protocol::fields::Fields;
use tollgate::stage::identify::client_ip;

/// `METHOD target`, then header lines.
///
/// # Panics
///
/// Where a promise is broken.
pub fn run(input: &[u8]) {
    let line = input.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let headers = headers(&input[line.len()..]);
    let mut words = line.splitn(2, |byte| *byte == b' ');
    let method = Method::from_bytes(words.next().unwrap_or_default()).unwrap_or(Method::POST);
    let target = words.next().unwrap_or_default();
    where_from(&headers);
    let Ok(uri) = Uri::try_from(target) else { return };
    match entry::entry(&method, uri.path(), uri.query(), &headers) {
        Ok(entry) => leads_where_it_shows(&entry),
        Err(refusal) => assert!((400..=405).contains(&refusal.code.status()), "{}", refusal.message),
    }
    assert!(entry::percent_decoded(uri.path()).is_none_or(|text| text.len() <= uri.path().len()));
}

fn leads_where_it_shows(entry: &entry::Entry) {
    let target = entry::upstream_path(entry, "/base", None, "a/../b?c#d e");
    let path = target.split('?').next().unwrap_or_default();
    assert!(path.starts_with("/base/") && !path.contains("//"), "{target}");
    let steps_aside = |segment: &str| {
        let plain = segment.replace("%2e", ".").replace("%2E", ".");
        matches!(plain.as_str(), "." | "..")
    };
    assert!(!path.split('/').any(steps_aside), "{target}");
    assert!(target.bytes().all(|byte| byte > b' ' && byte != 0x7f && byte != b'#'), "{target}");
    let query = entry.query.as_deref().unwrap_or_default();
    assert!(!query.split('&').any(|pair| pair.starts_with("key=")), "a key goes to a provider: {query}");
}

fn where_from(headers: &Fields) {
    let peer = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    assert_eq!(client_ip(peer, headers, &[]), peer, "nobody is trusted");
    let trusted = [IpNet::from(peer)];
    let _told = client_ip(peer, headers, &trusted);
    let stranger = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    assert_eq!(client_ip(stranger, headers, &trusted), stranger, "a stranger is not believed");
}

/// The lines that are headers.
pub(crate) fn headers(lines: &[u8]) -> Fields {
    let mut headers = Fields::default();
    for line in lines.split(|byte| *byte == b'\n').take(LINES_MAX) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name.as_str(), value.as_bytes());
        }
    }
    headers
}

/// More than a head may have.
const LINES_MAX: usize = 256;

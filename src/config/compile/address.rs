//! Base URLs, and the addresses a channel may not point at.
//!
//! Invariant: an [`Endpoint`] has a host. Link-local and metadata addresses are what a stolen configuration
//! right would be used for; the ban is checked here on what is written, and again by whoever connects on what
//! a name resolves to ([`is_link_local`]). A base URL may hold a password by mistake, so it is never shown.

use super::super::snapshot::Endpoint;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address only means something on this machine's link, or serves a cloud's metadata.
pub fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_link_local_v4(v4),
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local() || v6 == AWS_METADATA || embedded_v4(&v6).is_some_and(is_link_local_v4)
        }
    }
}

fn is_link_local_v4(address: Ipv4Addr) -> bool {
    address.is_link_local() || METADATA_V4.contains(&address)
}

/// The IPv4 address that a mapped, compatible or NAT64 address leads to.
fn embedded_v4(address: &Ipv6Addr) -> Option<Ipv4Addr> {
    let octets = address.octets();
    let nat64 = octets[..12] == [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0];
    if nat64 {
        return Some(Ipv4Addr::new(octets[12], octets[13], octets[14], octets[15]));
    }
    address.to_ipv4()
}

const AWS_METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254);

/// Alibaba's, Oracle's and Azure's, which lie outside 169.254.0.0/16.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192), Ipv4Addr::new(168, 63, 129, 16)];

const METADATA_NAMES: [&str; 6] = [
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "instance-data",
    "instance-data.ec2.internal",
    "metadata.azure.internal",
];

/// Whether a host, as written, is banned unless the ban is lifted.
pub(super) fn is_banned(host: &str) -> bool {
    host.parse().map_or_else(|_| METADATA_NAMES.contains(&host), is_link_local)
}

/// Why a base URL is refused, with a hint.
pub(super) type Refused = (&'static str, Option<&'static str>);

/// Takes a base URL apart.
pub(super) fn endpoint(url: &str) -> Result<Endpoint, Refused> {
    let (tls, rest) = match url.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
        _ => return Err(("must begin with https:// or http://", None)),
    };
    if rest.contains(['?', '#']) {
        return Err(("may not have a query or a fragment", None));
    }
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    if authority.contains('@') {
        return Err(("may not hold a user or a password", Some("credentials belong into `api_keys`")));
    }
    let (host, port) = host_and_port(authority, tls)?;
    let (base_path, version) = path_and_version(path)?;
    let usual = if tls { 443 } else { 80 };
    let shown_host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    let authority = if port == usual { shown_host } else { format!("{shown_host}:{port}") };
    let fields = Endpoint::fields_of(&authority);
    let literal = Endpoint::literal_of(&host);
    Ok(Endpoint { tls, host, literal, port, authority, fields, base_path, version })
}

/// Host, without brackets, and port; the scheme's own where none is written.
pub(super) fn host_and_port(authority: &str, tls: bool) -> Result<(String, u16), Refused> {
    let (host, port) = if let Some(bracketed) = authority.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']').ok_or(("has a bracket that is not closed", None))?;
        let v6: Ipv6Addr = host.parse().map_err(|_| ("has no IPv6 address in its brackets", None))?;
        let port = match rest.strip_prefix(':') {
            None if !rest.is_empty() => return Err(("has something between the address and the path", None)),
            port => port,
        };
        (v6.to_string(), port)
    } else {
        let (host, port) =
            authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
        (host_name(host, tls)?, port)
    };
    let port = match port {
        None => {
            if tls {
                443
            } else {
                80
            }
        }
        Some(port) => port
            .parse()
            .ok()
            .filter(|port| *port > 0)
            .ok_or(("has a port that is no number from 1 to 65535", None))?,
    };
    Ok((host, port))
}

fn host_name(host: &str, tls: bool) -> Result<String, Refused> {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if host.is_empty() {
        let what = if tls { "points at an https host with an empty server name" } else { "has no host" };
        return Err((what, Some("for example https://api.example.com/v1")));
    }
    if host.parse::<Ipv4Addr>().is_ok() {
        return Ok(host);
    }
    if !host.is_ascii() {
        return Err(("has a host beyond ASCII", Some("write it in its xn-- form")));
    }
    let good_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if host.len() > 253 || !host.split('.').all(good_label) {
        return Err(("has a host that is no name", None));
    }
    // Resolvers read 0xa9fea9fe or 2852039166 as an IPv4 address, past every ban on what is written.
    let last = host.rsplit('.').next().unwrap_or_default();
    let hex =
        last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if hex || last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(("has a host that is neither a name nor a dotted IPv4 address", None));
    }
    Ok(host)
}

/// What stands before the operation's own path, and the API version if the URL ends with one.
fn path_and_version(path: &str) -> Result<(String, Option<String>), Refused> {
    let mut segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    if !segments.iter().all(|segment| segment.bytes().all(is_path_byte))
        || segments.iter().any(|s| matches!(*s, "." | ".."))
    {
        return Err(("has a path with characters that belong percent-encoded, or dots", None));
    }
    let joined = segments.join("/");
    if OPERATIONS.iter().any(|operation| joined.ends_with(operation)) {
        return Err(("ends with an operation's path", Some("leave that off: the gateway adds it")));
    }
    let version = segments.pop_if(|last| is_version(last)).map(str::to_owned);
    let base = segments.join("/");
    Ok((if base.is_empty() { base } else { format!("/{base}") }, version))
}

const OPERATIONS: [&str; 13] = [
    "chat/completions",
    "v1/completions",
    "v1/responses",
    "v1/embeddings",
    "v1/moderations",
    "v1/rerank",
    "v2/rerank",
    "images/generations",
    "images/edits",
    "audio/speech",
    "audio/transcriptions",
    "audio/translations",
    "v1/messages",
];

fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%".contains(&byte)
}

/// `v1`, `v1beta`, `v2alpha1`.
fn is_version(segment: &str) -> bool {
    let Some(rest) = segment.strip_prefix('v') else { return false };
    let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    let stage = after.trim_end_matches(|c: char| c.is_ascii_digit());
    after.len() < rest.len() && matches!(stage, "" | "alpha" | "beta")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls_are_taken_apart_into_the_documented_parts() {
        for (url, authority, port, base_path, version) in [
            ("https://x.example", "x.example", 443, "", None),
            ("https://x.example/", "x.example", 443, "", None),
            ("https://x.example/v1", "x.example", 443, "", Some("v1")),
            ("https://x.example/v1/", "x.example", 443, "", Some("v1")),
            ("https://x.example//v1//", "x.example", 443, "", Some("v1")),
            ("https://x.example/anthropic", "x.example", 443, "/anthropic", None),
            ("https://x.example/api/v1", "x.example", 443, "/api", Some("v1")),
            ("https://x.example/api/paas/v4", "x.example", 443, "/api/paas", Some("v4")),
            ("https://x.example/v1beta", "x.example", 443, "", Some("v1beta")),
            ("https://x.example/v1/openai", "x.example", 443, "/v1/openai", None),
            ("https://x.example/video", "x.example", 443, "/video", None),
            ("HTTPS://X.Example.:8443/v1", "x.example:8443", 8443, "", Some("v1")),
            ("http://127.0.0.1:11434", "127.0.0.1:11434", 11434, "", None),
            ("http://[::1]:80/v1", "[::1]", 80, "", Some("v1")),
            ("https://localhost:443", "localhost", 443, "", None),
        ] {
            let endpoint = endpoint(url).unwrap();
            let parts = (endpoint.authority.as_str(), endpoint.port, endpoint.base_path.as_str());
            assert_eq!(parts, (authority, port, base_path), "{url}");
            assert_eq!(endpoint.version.as_deref(), version, "{url}");
        }
    }

    #[test]
    fn base_urls_that_lead_nowhere_or_hide_something_are_refused() {
        for (url, what) in [
            ("https:///v1", "points at an https host with an empty server name"),
            ("https://:443/v1", "points at an https host with an empty server name"),
            ("https://./v1", "points at an https host with an empty server name"),
            ("http://", "has no host"),
            ("ftp://x", "must begin with https:// or http://"),
            ("api.openai.com", "must begin with https:// or http://"),
            ("https://user:pw@x", "may not hold a user or a password"),
            ("https://x/v1?key=1", "may not have a query or a fragment"),
            ("https://x:0", "has a port that is no number from 1 to 65535"),
            ("https://x:99999", "has a port that is no number from 1 to 65535"),
            ("https://a b", "has a host that is no name"),
            ("https://0xa9fea9fe", "has a host that is neither a name nor a dotted IPv4 address"),
            ("https://2852039166/", "has a host that is neither a name nor a dotted IPv4 address"),
            ("https://[::1", "has a bracket that is not closed"),
            ("https://x/../y", "has a path with characters that belong percent-encoded, or dots"),
            ("https://x/a b", "has a path with characters that belong percent-encoded, or dots"),
            ("https://x/v1/chat/completions", "ends with an operation's path"),
        ] {
            assert_eq!(endpoint(url).unwrap_err().0, what, "{url}");
        }
    }

    #[test]
    fn link_local_and_metadata_addresses_are_banned_in_every_spelling() {
        for (host, banned) in [
            ("169.254.169.254", true),
            ("fe80::1", true),
            ("fd00:ec2::254", true),
            ("::ffff:169.254.169.254", true),
            ("64:ff9b::a9fe:a9fe", true),
            ("100.100.100.200", true),
            ("metadata.google.internal", true),
            ("127.0.0.1", false),
            ("10.0.0.1", false),
            ("::1", false),
            ("api.openai.com", false),
        ] {
            assert_eq!(is_banned(host), banned, "{host}");
        }
    }
}

//! Who may call: with the token where one is set, and no page of another site.
//!
//! The token is sent as `Authorization: Bearer …`. A browser that opens the status page cannot do that, so for reading it may
//! also be the password of Basic, for which a browser asks its user. Invariant: what changes something wants Bearer, which no
//! browser sends by itself.

use crate::secret::{KeyDigest, Secret};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::{HeaderMap, Method};
use std::net::IpAddr;

/// Why a call is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The token is missing or wrong.
    NoToken,
    /// Another site's page makes the call.
    Foreign,
}

/// `token`: the one that is wanted here, if any; `is_open`: everybody may read this.
pub(super) fn refuse(
    token: Option<&Secret>,
    is_open: bool,
    method: &Method,
    headers: &HeaderMap,
) -> Option<Refused> {
    // Digests of both are compared: how many characters agree takes no longer to find out.
    if let Some(token) = token.filter(|_| !is_open)
        && given(method, headers).is_none_or(|given| KeyDigest::of(&given) != token.digest())
    {
        return Some(Refused::NoToken);
    }
    // Another site's page can have no answer to Basic that is for this name, and reads no answer without our leave.
    let foreign = token.is_none() && !is_open && !is_own_site(headers);
    let posted = *method == Method::POST && !origin_fits(headers);
    (foreign || posted).then_some(Refused::Foreign)
}

fn given(method: &Method, headers: &HeaderMap) -> Option<String> {
    let value = header(headers, &AUTHORIZATION)?;
    if let Some(bearer) = value.strip_prefix("Bearer ") {
        return Some(bearer.to_owned());
    }
    let reads = method == Method::GET || method == Method::HEAD;
    let basic = value.strip_prefix("Basic ").filter(|_| reads)?;
    let pair = String::from_utf8(decoded(basic.trim())?).ok()?;
    pair.split_once(':').map(|(_, password)| password.to_owned())
}

/// Base64 as RFC 7617 has it; `None`: it is none.
fn decoded(text: &str) -> Option<Vec<u8>> {
    (text.len() <= CREDENTIALS_MAX).then(|| STANDARD.decode(text).ok()).flatten()
}

/// Longer than any token.
const CREDENTIALS_MAX: usize = 4_096;

/// Whether this cannot be another site's page that had its name bound to this address: the host must be an
/// address or `localhost`, and an origin, where there is one, the same.
fn is_own_site(headers: &HeaderMap) -> bool {
    let Some(host) = header(headers, &HOST) else { return true };
    let name =
        host.rsplit_once(':').map_or(host, |(name, port)| if port.contains(']') { host } else { name });
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    (bare.parse::<IpAddr>().is_ok() || bare.eq_ignore_ascii_case("localhost")) && origin_fits(headers)
}

fn origin_fits(headers: &HeaderMap) -> bool {
    let Some(origin) = header(headers, &ORIGIN) else { return true };
    origin.split_once("://").map(|(_, from)| from) == header(headers, &HOST)
}

fn header<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_and_nothing_else() {
        for (text, bytes) in [
            ("", Some("")),
            ("Og==", Some(":")),
            ("YTpi", Some("a:b")),
            ("YTpiYw==", Some("a:bc")),
            ("YTpiYw", None),
            ("w7w6w6Q=", Some("ü:ä")),
            ("YTpi!", None),
            ("Y", None),
            ("YTp i", None),
        ] {
            assert_eq!(decoded(text), bytes.map(|bytes| bytes.as_bytes().to_vec()), "{text}");
        }
        assert_eq!(decoded(&"YTpi".repeat(CREDENTIALS_MAX)), None);
    }
}

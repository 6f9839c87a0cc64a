//! `egress_proxy`: the address of a proxy, and the login in it.
//!
//! Invariant: no message repeats what may hold a password.

use super::secrets::Found;
use super::{At, Compiler, address};
use crate::config::file::SecretText;
use crate::config::snapshot::{EgressProxy, ProxyProtocol};
use crate::protocol::entry;
use crate::secret::Secret;

impl Compiler<'_, '_> {
    /// The proxy as written; what a channel that is switched off lacks does not matter yet.
    pub(super) fn egress_proxy(
        &mut self,
        at: &At,
        written: Option<&SecretText>,
        (enabled, allow_link_local): (bool, bool),
    ) -> Option<EgressProxy> {
        let (at, written) = (at.key("egress_proxy"), written?);
        let found = match written {
            // An address without a password is no secret.
            SecretText::Inline(text) if !text.contains('@') => self.custody(&at, written, text),
            _ => self.secret(&at, written),
        };
        let text = match found {
            Found::Secret(text) => text,
            Found::Missing(what) if enabled => {
                self.problem(&at, what, None);
                return None;
            }
            Found::Missing(_) | Found::Refused => return None,
        };
        match proxy(text.expose()) {
            Ok(proxy) if address::is_banned(&proxy.host) && !allow_link_local => {
                let hint = "if that is meant, set allow_link_local = true".to_owned();
                self.problem(&at, "points at a link-local or metadata address", Some(hint));
                None
            }
            Ok(proxy) => Some(proxy),
            Err((what, hint)) => {
                self.problem(&at, what, hint.or(Some(EXAMPLE)).map(str::to_owned));
                None
            }
        }
    }
}

const EXAMPLE: &str = "for example http://proxy.internal:3128 or socks5://user:password@proxy.internal:1080";
/// What fits into a login of SOCKS.
const LOGIN_BYTES_MAX: usize = 255;

fn proxy(text: &str) -> Result<EgressProxy, address::Refused> {
    let (speaks, rest) = match text.split_once("://") {
        Some(("http", rest)) => (ProxyProtocol::Http, rest),
        Some(("socks5" | "socks5h", rest)) => (ProxyProtocol::Socks5, rest),
        _ => return Err(("must begin with http://, socks5:// or socks5h://", None)),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (login, authority) = rest.rsplit_once('@').map_or((None, rest), |(login, rest)| (Some(login), rest));
    if authority.contains(['/', '?', '#']) {
        return Err(("has something behind the port", None));
    }
    let written_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if !written_port {
        return Err(("has no port", None));
    }
    let (host, port) = address::host_and_port(authority, false)?;
    let login = login.map(logged_in).transpose()?;
    Ok(EgressProxy { speaks, host, port, login })
}

/// User and password, in a URL's own encoding.
fn logged_in(text: &str) -> Result<(Secret, Secret), address::Refused> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let decoded = |text: &str| {
        let decoded = entry::percent_decoded(text)?;
        let sound = decoded.len() <= LOGIN_BYTES_MAX && !decoded.contains(char::is_control);
        sound.then(|| Secret::new(&decoded))
    };
    let wrong = ("has a login that cannot be sent", Some("what is not a letter or a digit, percent-encoded"));
    match (decoded(user), decoded(password)) {
        // A user of Basic has no colon: it would end there.
        (Some(user), Some(password)) if !user.expose().is_empty() && !user.expose().contains(':') => {
            Ok((user, password))
        }
        _ => Err(wrong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_people_write_are_understood() {
        for (text, speaks, host, port, login) in [
            ("http://proxy:3128", ProxyProtocol::Http, "proxy", 3128, None),
            ("http://proxy:3128/", ProxyProtocol::Http, "proxy", 3128, None),
            ("http://u:p@10.0.0.1:80", ProxyProtocol::Http, "10.0.0.1", 80, Some(("u", "p"))),
            ("socks5://[::1]:1080", ProxyProtocol::Socks5, "::1", 1080, None),
            ("socks5h://u%40x:p%3A%2F@proxy:1", ProxyProtocol::Socks5, "proxy", 1, Some(("u@x", "p:/"))),
            ("socks5://u@proxy:1080", ProxyProtocol::Socks5, "proxy", 1080, Some(("u", ""))),
        ] {
            let proxy = proxy(text).unwrap();
            let found = proxy.login.as_ref().map(|(user, password)| (user.expose(), password.expose()));
            let parts = (proxy.speaks, proxy.host.as_str(), proxy.port, found);
            assert_eq!(parts, (speaks, host, port, login), "{text}");
            assert!(!proxy.shown().contains("p%3A"), "{}", proxy.shown());
        }
    }

    #[test]
    fn others_are_refused() {
        for (text, what) in [
            ("proxy:3128", "must begin with http://, socks5:// or socks5h://"),
            ("https://proxy:3128", "must begin with http://, socks5:// or socks5h://"),
            ("socks4://proxy:1080", "must begin with http://, socks5:// or socks5h://"),
            ("http://proxy", "has no port"),
            ("http://[::1]", "has no port"),
            ("http://proxy:3128/path", "has something behind the port"),
            ("http://:3128", "has no host"),
            ("http://proxy:0", "has a port that is no number from 1 to 65535"),
            ("http://u%ff:p@proxy:1", "has a login that cannot be sent"),
            ("http://u%3A:p@proxy:1", "has a login that cannot be sent"),
            ("http://u%0A:p@proxy:1", "has a login that cannot be sent"),
            ("http://:p@proxy:1", "has a login that cannot be sent"),
        ] {
            assert_eq!(proxy(text).unwrap_err().0, what, "{text}");
        }
    }
}

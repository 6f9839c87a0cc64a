//! Where a key may stand, and which headers never pass through.
//!
//! Invariant: a value that is found wrong is never repeated in what is said about it. Every place a key may
//! stand in is also a place that is stripped before the upstream, whether or not the key there was used.

use crate::protocol::fields::{Fields, Listed, Named, both, names, printable};

/// What a request presents as its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presented<T> {
    /// Nothing in any place.
    Missing,
    /// Something in some place, and nowhere a key; says what is wrong with its form.
    Malformed(&'static str),
    /// Well-formed keys that nobody knows.
    Unknown,
    /// A key, as who knows it knows it.
    Known(T),
}

/// The first of the keys of a request that somebody knows, in the order: `Authorization`, `x-api-key`, `x-goog-api-key`, `api-key`,
/// `?key=`, `Sec-WebSocket-Protocol`; each of them may be several between commas. `query_key` is the entry's, which is set for
/// Gemini's paths and for a WebSocket's only.
pub fn presented<'a, T>(
    headers: &'a Fields,
    query_key: Option<&'a str>,
    know: impl FnMut(&str) -> Option<T>,
) -> Presented<T> {
    let mut search = Search { know, known: None, asked: [""; KEYS_MAX], keys: 0, wrong: None };
    headers.all(names::AUTHORIZATION).for_each(|value| search.line(bearer(value)));
    for name in KEY_HEADERS {
        headers.all(name).for_each(|value| search.line(ascii(value)));
    }
    if let Some(key) = query_key {
        search.line(Ok(key));
    }
    let socket = headers.all(names::SEC_WEBSOCKET_PROTOCOL).flat_map(subprotocols);
    socket.for_each(|form| search.take(form));
    match search {
        Search { known: Some(known), .. } => Presented::Known(known),
        Search { keys: 1.., .. } => Presented::Unknown,
        Search { wrong: Some(problem), .. } => Presented::Malformed(problem),
        Search { .. } => Presented::Missing,
    }
}

/// A look at all places.
struct Search<'a, K, T> {
    know: K,
    known: Option<T>,
    /// What was asked about.
    asked: [&'a str; KEYS_MAX],
    /// How many of those there are.
    keys: usize,
    /// What was wrong first.
    wrong: Option<&'static str>,
}

impl<'a, T, K: FnMut(&str) -> Option<T>> Search<'a, K, T> {
    /// The keys of a line: programs that take several for one provider have them between commas, and some send the whole
    /// line.
    fn line(&mut self, line: Result<&'a str, &'static str>) {
        // As a whole first: somebody's key may have a comma in it.
        self.take(line.and_then(check_form));
        if self.known.is_none()
            && let Some(listed) = line.ok().filter(|line| memchr::memchr(b',', line.as_bytes()).is_some())
        {
            let pieces = listed.split(',').map(str::trim).filter(|piece| !piece.is_empty());
            pieces.for_each(|piece| self.take(check_form(piece)));
        }
    }

    fn take(&mut self, form: Result<&'a str, &'static str>) {
        match form {
            Ok(key) if self.known.is_none() => {
                // Many programs send the same one in two places.
                let is_new = !self.asked[..self.keys].contains(&key);
                if let Some(place) = self.asked.get_mut(self.keys).filter(|_| is_new) {
                    (*place, self.keys) = (key, self.keys + 1);
                    self.known = (self.know)(key);
                }
            }
            Ok(_) => {}
            Err(problem) => self.wrong = self.wrong.or(Some(problem)),
        }
    }
}

/// Headers a key may stand in; all are stripped before the upstream.
pub const CREDENTIAL_HEADERS: [&str; 5] =
    ["authorization", "x-api-key", "x-goog-api-key", "api-key", "sec-websocket-protocol"];

/// How subprotocols of a WebSocket begin that say who pays: the key, and whose account at the provider.
pub const SOCKET_CREDENTIALS: [&str; 3] =
    ["openai-insecure-api-key.", "openai-organization.", "openai-project."];

/// Request headers that never go to an upstream. `accept-encoding`, `content-encoding`, `content-length` and
/// `host` are set anew by who forwards.
#[inline]
pub fn is_stripped(named: Named<'_>) -> bool {
    let name = named.name;
    STRIPPED.has(named)
        || match name.first() {
            Some(b'p') => name.starts_with(b"proxy-"),
            Some(b'x') => name.starts_with(b"x-forwarded-"),
            _ => false,
        }
}

const STRIPPED: Listed<23> = Listed::of(both(CREDENTIAL_HEADERS, STRIPPED_BESIDE));
const STRIPPED_BESIDE: [&str; 18] = both(
    OF_CONNECTION,
    [
        "cookie",
        "forwarded",
        "x-real-ip",
        "via",
        "openai-organization",
        "openai-project",
        "expect",
        "host",
        "content-length",
        "content-encoding",
        "accept-encoding",
    ],
);
/// Of one connection, with those that begin with `proxy-`.
const OF_CONNECTION: [&str; 7] =
    ["connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings"];

/// The headers a message's own `Connection` names as its business only.
pub fn nominated(headers: &Fields) -> Vec<Vec<u8>> {
    // Nearly every message names none.
    if headers.all(names::CONNECTION).all(is_of_connection) {
        return Vec::new();
    }
    let named = headers.words(names::CONNECTION).filter(|name| !name.is_empty());
    // What it says of the connection itself is stripped everywhere.
    let named = named.filter(|name| !is_of_connection(name)).map(<[u8]>::to_ascii_lowercase);
    named.take(NOMINATED_MAX).collect()
}

fn is_of_connection(word: &[u8]) -> bool {
    word == b"keep-alive"
        || [&b"keep-alive"[..], b"close", b"upgrade"].iter().any(|known| word.eq_ignore_ascii_case(known))
}

/// Response headers of a provider that never reach a client: they describe the operator's account, the
/// provider's own edge, or one connection, or are orders to a proxy before us (`x-accel-redirect`) or to a browser about
/// our own origin (`clear-site-data`). `retry-after` is not among them; who relays decides.
#[inline]
pub fn is_hidden(named: Named<'_>) -> bool {
    let name = named.name;
    HIDDEN.has(named)
        || match name.first() {
            Some(b'a') => name.starts_with(b"anthropic-ratelimit-") || name.starts_with(b"access-control-"),
            Some(b'c') => name.starts_with(b"cf-"),
            Some(b'p') => name.starts_with(b"proxy-"),
            Some(b'r') => name.starts_with(b"ratelimit"),
            Some(b'x') => name.starts_with(b"x-ratelimit-") || name.starts_with(b"x-accel-"),
            _ => false,
        }
}

/// Takes off a provider's headers what is nobody's business, and what comes under these names too.
pub fn hide(headers: &mut Fields, others: &[&str]) {
    let nominated = nominated(headers);
    headers.retain(|named, _| {
        !is_hidden(named)
            && others.iter().all(|other| other.as_bytes() != named.name)
            && nominated.iter().all(|other| other != named.name)
    });
}

const HIDDEN: Listed<30> = Listed::of(both(
    OF_CONNECTION,
    [
        "set-cookie",
        "set-cookie2",
        "location",
        "refresh",
        "clear-site-data",
        "service-worker-allowed",
        "public-key-pins",
        "expect-ct",
        "reporting-endpoints",
        "openai-organization",
        "openai-project",
        "anthropic-organization-id",
        "server",
        "x-powered-by",
        "x-sendfile",
        "alt-svc",
        "strict-transport-security",
        "www-authenticate",
        "report-to",
        "nel",
        "via",
        "x-request-id",
        "request-id",
    ],
));

fn bearer(value: &[u8]) -> Result<&str, &'static str> {
    let text = ascii(value)?;
    let (scheme, key) = word(text);
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err("The Authorization header must be `Bearer sk-…`.");
    }
    let key = key.trim_start_matches(' ');
    let is_said_twice = key.get(..6).is_some_and(|begins| begins.eq_ignore_ascii_case("bearer"));
    if is_said_twice && matches!(key.as_bytes().get(6), None | Some(b' ')) {
        return Err("The Authorization header says `Bearer` twice; the client adds the word itself.");
    }
    Ok(key)
}

/// What stands before the first blank, and what behind it.
fn word(text: &str) -> (&str, &str) {
    memchr::memchr(b' ', text.as_bytes()).map_or((text, ""), |blank| (&text[..blank], &text[blank + 1..]))
}

/// Browsers cannot set headers on a WebSocket, so the key rides in a subprotocol's name.
fn subprotocols(value: &[u8]) -> impl Iterator<Item = Result<&str, &'static str>> {
    let list = printable(value).unwrap_or_default();
    list.split(',').filter_map(|name| name.trim().strip_prefix(SOCKET_CREDENTIALS[0])).map(check_form)
}

fn ascii(value: &[u8]) -> Result<&str, &'static str> {
    printable(value).ok_or(NOT_PRINTABLE)
}

fn check_form(key: &str) -> Result<&str, &'static str> {
    if key.is_empty() {
        return Err("The key is empty.");
    }
    if key.len() > KEY_BYTES_MAX {
        return Err("The key is too long to be one of ours.");
    }
    // Every byte is looked at, so that the compiler can look at many at once.
    if key.bytes().fold(false, |odd, byte| odd | !byte.is_ascii_graphic()) {
        let is_broken = key.bytes().any(|byte| byte.is_ascii_whitespace());
        return Err(if is_broken { BROKEN } else { NOT_PRINTABLE });
    }
    match key.strip_prefix("sk-") {
        None => Err("Keys begin with `sk-`; this one does not. Copy the whole key."),
        Some("") => Err("There is nothing after `sk-`. Copy the whole key."),
        Some(_) => Ok(key),
    }
}

const KEY_HEADERS: [&str; 3] = ["x-api-key", "x-goog-api-key", "api-key"];
const BROKEN: &str = "The key has a space or a line break in it; copy it again without.";
const NOT_PRINTABLE: &str = "The key has characters in it that are not printable ASCII; copy it again.";
/// Longer than any key anyone issues, short enough to hash without a thought.
const KEY_BYTES_MAX: usize = 512;
/// Each is looked up, once; those that list keys between commas seldom have more than a few.
const KEYS_MAX: usize = 8;
/// More names than any honest `Connection` lists.
const NOMINATED_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out where nobody knows any, and what was asked about.
    fn asked(headers: &Fields, query: Option<&str>) -> (Presented<()>, Vec<String>) {
        let mut asked = Vec::new();
        let presented = presented(headers, query, |key| {
            asked.push(key.to_owned());
            None
        });
        assert_eq!(presented == Presented::Unknown, !asked.is_empty());
        (presented, asked)
    }

    #[test]
    fn keys_are_found_in_every_place_and_in_order() {
        let check = |lines: &[(&'static str, &str)], query: Option<&str>, keys: &[&str]| {
            let headers = Fields::of(lines);
            assert_eq!(asked(&headers, query).1, keys, "{lines:?} {query:?}");
            // Of those that somebody knows the first counts, and nobody is asked about the rest.
            for (at, wanted) in keys.iter().enumerate() {
                let mut before = 0;
                let known = presented(&headers, query, |key| {
                    before += 1;
                    (key == *wanted).then_some(at)
                });
                let first = keys.iter().position(|key| key == wanted).unwrap();
                assert_eq!((known, before), (Presented::Known(at), first + 1), "{lines:?} {query:?}");
            }
        };
        check(&[], None, &[]);
        check(&[("authorization", "Bearer sk-a")], None, &["sk-a"]);
        check(&[("authorization", "bearer  sk-a")], None, &["sk-a"]);
        check(&[("x-api-key", "sk-a")], None, &["sk-a"]);
        check(&[("x-goog-api-key", "sk-a")], None, &["sk-a"]);
        check(&[("api-key", "sk-a")], None, &["sk-a"]);
        check(&[], Some("sk-a"), &["sk-a"]);
        check(&[("sec-websocket-protocol", "realtime, openai-insecure-api-key.sk-a")], None, &["sk-a"]);
        check(&[("sec-websocket-protocol", "realtime")], None, &[]);
        let all = [
            ("sec-websocket-protocol", "openai-insecure-api-key.sk-6"),
            ("api-key", "sk-4"),
            ("x-goog-api-key", "sk-3"),
            ("x-api-key", "sk-2"),
            ("authorization", "Bearer sk-1"),
        ];
        check(&all, Some("sk-5"), &["sk-1", "sk-2", "sk-3", "sk-4", "sk-5", "sk-6"]);
        check(&[("authorization", "Bearer sk-a"), ("x-api-key", "sk-a")], None, &["sk-a"]);
        check(&[("x-api-key", "sk-a"), ("x-api-key", "sk-b")], None, &["sk-a", "sk-b"]);
        check(&[("authorization", "Bearer sk-a,sk-b")], None, &["sk-a,sk-b", "sk-a", "sk-b"]);
        check(&[("x-api-key", "sk-a, sk-b ,, other,")], Some("sk-c"), &["sk-a", "sk-b", "sk-c"]);
        check(&[("authorization", "Basic abc"), ("x-api-key", "sk-a")], None, &["sk-a"]);
        check(&[("authorization", "Bearer "), ("x-api-key", "sk-a")], None, &["sk-a"]);
        assert_eq!(asked(&Fields::default(), None).0, Presented::Missing);
    }

    #[test]
    fn a_wrong_form_is_named_without_its_value() {
        let long = format!("sk-{}", "q".repeat(600));
        for (name, value, problem) in [
            ("authorization", "Bearer", "empty"),
            ("authorization", "Bearer ", "empty"),
            ("authorization", "", "must be `Bearer"),
            ("authorization", "sk-qqqq", "must be `Bearer"),
            ("authorization", "Basic qqqq", "must be `Bearer"),
            ("authorization", "Bearer Bearer sk-qqqq", "twice"),
            ("authorization", "Bearer bearer", "twice"),
            ("authorization", "Bearer qqqq", "begin with `sk-`"),
            ("authorization", "Bearer sk-qq qq", "space"),
            ("authorization", "Bearer sk-qq\tqq", "space"),
            ("authorization", "Bearer sk-qqé", "printable"),
            ("x-api-key", "", "empty"),
            ("x-api-key", "Bearer sk-qqqq", "space"),
            ("x-api-key", "SK-qqqq", "begin with `sk-`"),
            ("x-api-key", "sk-", "nothing after"),
            ("x-goog-api-key", "AIzaqqqq", "begin with `sk-`"),
            ("api-key", &long, "too long"),
            ("sec-websocket-protocol", "openai-insecure-api-key.qqqq", "begin with `sk-`"),
        ] {
            match asked(&Fields::of(&[(name, value)]), None).0 {
                Presented::Malformed(said) => {
                    assert!(said.contains(problem), "{name}: {value}: {said}");
                    assert!(!said.contains("qq"), "{said}");
                }
                other => panic!("{name}: {value}: {other:?}"),
            }
        }
        for query in ["sk-a\nb", "sk-\u{1}"] {
            assert!(matches!(asked(&Fields::default(), Some(query)).0, Presented::Malformed(_)));
        }
    }

    #[test]
    fn no_more_keys_are_asked_about_than_anyone_presents() {
        let mut many = Fields::default();
        for number in 0..50 {
            many.append("x-api-key", format!("sk-{number}"));
        }
        assert_eq!(asked(&many, None).1.len(), KEYS_MAX);
    }

    #[test]
    fn headers_pass_unless_they_are_listed() {
        for header in CREDENTIAL_HEADERS {
            assert!(is_stripped(Named::of(header.as_bytes())), "{header}");
        }
        for (header, stripped, hidden) in [
            ("cookie", true, false),
            ("x-forwarded-for", true, false),
            ("x-forwarded-proto", true, false),
            ("x-real-ip", true, false),
            ("forwarded", true, false),
            ("via", true, true),
            ("openai-organization", true, true),
            ("openai-project", true, true),
            ("proxy-authorization", true, true),
            ("proxy-connection", true, true),
            ("te", true, true),
            ("trailer", true, true),
            ("upgrade", true, true),
            ("connection", true, true),
            ("keep-alive", true, true),
            ("transfer-encoding", true, true),
            ("expect", true, false),
            ("host", true, false),
            ("content-length", true, false),
            ("content-encoding", true, false),
            ("accept-encoding", true, false),
            ("anthropic-beta", false, false),
            ("anthropic-version", false, false),
            ("openai-beta", false, false),
            ("x-stainless-os", false, false),
            ("user-agent", false, false),
            ("content-type", false, false),
            ("set-cookie", false, true),
            ("x-ratelimit-limit-tokens", false, true),
            ("anthropic-ratelimit-requests-limit", false, true),
            ("anthropic-organization-id", false, true),
            ("cf-ray", false, true),
            ("ratelimit-policy", false, true),
            ("x-proxy", false, false),
            ("rate", false, false),
            ("server", false, true),
            ("x-powered-by", false, true),
            ("x-accel-redirect", false, true),
            ("x-accel-buffering", false, true),
            ("x-sendfile", false, true),
            ("alt-svc", false, true),
            ("strict-transport-security", false, true),
            ("www-authenticate", false, true),
            ("x-request-id", false, true),
            ("request-id", false, true),
            ("set-cookie2", false, true),
            ("location", false, true),
            ("refresh", false, true),
            ("clear-site-data", false, true),
            ("service-worker-allowed", false, true),
            ("public-key-pins", false, true),
            ("expect-ct", false, true),
            ("reporting-endpoints", false, true),
            ("report-to", false, true),
            ("nel", false, true),
            ("access-control-allow-origin", false, true),
            ("http2-settings", true, true),
            ("retry-after", false, false),
            ("openai-processing-ms", false, false),
        ] {
            assert_eq!(is_stripped(Named::of(header.as_bytes())), stripped, "stripped {header}");
            assert_eq!(is_hidden(Named::of(header.as_bytes())), hidden, "hidden {header}");
        }
    }

    #[test]
    fn only_what_is_the_message_s_own_business_is_nominated() {
        let fields = [("connection", "close, X-Internal"), ("connection", "keep-alive, x-two,")];
        assert_eq!(nominated(&Fields::of(&fields)), [b"x-internal".to_vec(), b"x-two".to_vec()]);
        for none in ["keep-alive", "Keep-Alive", "CLOSE", "upgrade", "", "keep-alive, close"] {
            assert!(nominated(&Fields::of(&[("connection", none)])).is_empty(), "{none}");
        }
        let mixed = [("connection", "keep-alive"), ("connection", "x-a")];
        assert_eq!(nominated(&Fields::of(&mixed)), [b"x-a".to_vec()]);
    }

    #[test]
    fn what_is_hidden_or_nominated_goes_and_what_is_named_beside_it() {
        let mut headers = Fields::of(&[
            ("content-type", "application/json"),
            ("server", "s"),
            ("connection", "X-Own"),
            ("content-length", "7"),
            ("x-own", "1"),
            ("date", "d"),
        ]);
        hide(&mut headers, &["content-length", "retry-after"]);
        assert_eq!(headers, Fields::of(&[("content-type", "application/json"), ("date", "d")]));
    }
}

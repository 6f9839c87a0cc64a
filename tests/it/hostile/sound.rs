//! Requests that look odd and are served: exactly one reaches the provider, and it is framed without doubt.

use super::{Row, row};

pub(super) const ROWS: &[Row] = &[
    row("as clients send it", "POST {P} HTTP/1.1|{H}{F}", 200),
    row(
        "names in capitals",
        "POST {P} HTTP/1.1|HOST: t|AUTHORIZATION: Bearer {K}|CONTENT-TYPE: {T}|CONTENT-LENGTH: {L}||{B}",
        200,
    ),
    row(
        "no blanks before values",
        "POST {P} HTTP/1.1|Host:t|Authorization:Bearer {K}|Content-Type:{T}|Content-Length:{L}||{B}",
        200,
    ),
    row(
        "blanks and tabs around values",
        "POST {P} HTTP/1.1|Host: \tt\t |{A}Content-Length: \t{L}\t ||{B}",
        200,
    ),
    row("a length with zeros before it", "POST {P} HTTP/1.1|{H}Content-Length: 000{L}||{B}", 200),
    row("an empty line before it", "|POST {P} HTTP/1.1|{H}{F}", 200),
    row("an absolute target", "POST http://t{P} HTTP/1.1|{H}{F}", 200),
    row("an absolute target in another case", "POST HTTP://t{P} HTTP/1.1|{H}{F}", 200),
    row("an absolute https target", "POST https://t{P} HTTP/1.1|{H}{F}", 200),
    row("a host with a port", "POST {P} HTTP/1.1|Host: t:8080|{A}{F}", 200),
    row("a host that is an IPv6 address", "POST {P} HTTP/1.1|Host: [2001:db8::1]:443|{A}{F}", 200),
    row("a host with an underscore", "POST {P} HTTP/1.1|Host: a_b|{A}{F}", 200),
    row("HTTP/1.0 without a host", "POST {P} HTTP/1.0|{A}{F}", 200),
    row("HTTP/1.0 that stays", "POST {P} HTTP/1.0|{H}Connection: keep-alive|{F}", 200),
    row("chunked in capitals", "POST {P} HTTP/1.1|{H}Transfer-Encoding: CHUNKED||{C}", 200),
    row("a header without a value", "POST {P} HTTP/1.1|{H}X-A:|{F}", 200),
    row("a value of Latin letters", "POST {P} HTTP/1.1|{H}X-A: é|{F}", 200),
    row("a session by the name Codex gives it", "POST {P} HTTP/1.1|{H}session_id: a|{F}", 200),
    row(
        "an upgrade to h2c",
        "POST {P} HTTP/1.1|{H}Connection: Upgrade, HTTP2-Settings|Upgrade: h2c|HTTP2-Settings: AAMAAABk|{F}",
        200,
    ),
    row("a Connection that names the key", "POST {P} HTTP/1.1|{H}Connection: authorization|{F}", 200),
    row(
        "a Connection that names anything",
        "POST {P} HTTP/1.1|{H}Connection: x-a, keep-alive|X-A: b|{F}",
        200,
    ),
    row("two Authorizations", "POST {P} HTTP/1.1|{H}Authorization: Bearer sk-other-0123456789|{F}", 200),
    row("two keys in two places", "POST {P} HTTP/1.1|{H}x-api-key: sk-other-0123456789|{F}", 200),
    row(
        "a cookie and a proxy's credential",
        "POST {P} HTTP/1.1|{H}Cookie: a=b|Proxy-Authorization: Basic YTpi|{F}",
        200,
    ),
    row(
        "who was forwarded",
        "POST {P} HTTP/1.1|{H}X-Forwarded-For: 10.0.0.1|X-Forwarded-Host: evil|Forwarded: for=a|{F}",
        200,
    ),
    row("a TE of its own", "POST {P} HTTP/1.1|{H}TE: trailers, chunked|{F}", 200),
    row("a Trailer announced", "POST {P} HTTP/1.1|{H}Trailer: X-A|Transfer-Encoding: chunked||{C}", 200),
    row("an expectation", "POST {P} HTTP/1.1|{H}Expect: 100-continue|{F}", 200),
    row("an expectation in capitals", "POST {P} HTTP/1.1|{H}Expect: 100-CONTINUE|{F}", 200),
    row("an expectation in HTTP/1.0", "POST {P} HTTP/1.0|{H}Expect: 100-continue|{F}", 200),
];

/// Served by nobody, and said in the dialect of who asked: the head was understood.
pub(super) const REFUSED: &[Row] = &[
    row("another expectation", "POST {P} HTTP/1.1|{H}Expect: 200-ok|{F}", 417),
    row("two expectations", "POST {P} HTTP/1.1|{H}Expect: 100-continue|Expect: gold|{F}", 417),
    row("a list of expectations", "POST {P} HTTP/1.1|{H}Expect: 100-continue, gold|{F}", 417),
    row("no key", "POST {P} HTTP/1.1|Host: t|{F}", 401),
    row("a key that is none", "POST {P} HTTP/1.1|Host: t|Authorization: Basic YTpi|{F}", 401),
    row("a method nobody knows", "BREW {P} HTTP/1.1|{H}{F}", 405),
    row("a method in small letters", "post {P} HTTP/1.1|{H}{F}", 405),
    row("a path that climbs", "POST {P}/../../admin HTTP/1.1|{H}{F}", 404),
    row("a path that climbs in percent signs", "POST {P}/%2e%2e/%2e%2e HTTP/1.1|{H}{F}", 404),
];

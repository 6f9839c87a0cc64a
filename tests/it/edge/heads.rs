//! Heads of HTTP/2 requests that are none.

/// What a head may not be, as the fields behind or in place of the usual ones.
pub(super) const MALFORMED: &[(&str, &[(&str, &str)])] = &[
    ("Connection", &[("connection", "close")]),
    ("Transfer-Encoding", &[("transfer-encoding", "chunked")]),
    ("Keep-Alive", &[("keep-alive", "1")]),
    ("Upgrade", &[("upgrade", "websocket")]),
    ("Proxy-Connection", &[("proxy-connection", "keep-alive")]),
    ("TE that is not trailers", &[("te", "gzip")]),
    ("capitals", &[("X-A", "b")]),
    ("a colon in a name", &[("x:a", "b")]),
    ("a blank in a name", &[("x a", "b")]),
    ("a line end in a name", &[("x\r\na", "b")]),
    ("an empty name", &[("", "b")]),
    ("a line end in a value", &[("x-a", "b\r\ncontent-length: 0")]),
    ("a line feed in a value", &[("x-a", "b\nc")]),
    ("a NUL in a value", &[("x-a", "b\0c")]),
    ("a pseudo-header behind a header", &[(":path", "/v1/models")]),
    ("a second method behind a header", &[(":method", "GET")]),
    ("a pseudo-header nobody knows", &[(":protocol-x", "a")]),
    ("a pseudo-header of answers", &[(":status", "200")]),
    ("a length in letters", &[("content-length", "abc")]),
    ("two lengths", &[("content-length", "57"), ("content-length", "0")]),
    ("a length with a sign", &[("content-length", "+57")]),
    ("another host", &[("host", "evil")]),
    ("two hosts", &[("host", "a"), ("host", "a")]),
];

/// Heads of their own.
pub(super) const OTHERS: &[(&str, &[(&str, &str)])] = &[
    ("no method", &[(":scheme", "http"), (":path", "/v1/models"), (":authority", "a")]),
    ("no path", &[(":method", "GET"), (":scheme", "http"), (":authority", "a")]),
    ("no scheme", &[(":method", "GET"), (":path", "/v1/models"), (":authority", "a")]),
    ("no authority", &[(":method", "GET"), (":scheme", "http"), (":path", "/v1/models")]),
    ("an empty path", &[(":method", "GET"), (":scheme", "http"), (":path", ""), (":authority", "a")]),
    (
        "two paths",
        &[(":method", "GET"), (":scheme", "http"), (":path", "/a"), (":path", "/b"), (":authority", "a")],
    ),
    (
        "two methods",
        &[(":method", "GET"), (":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")],
    ),
    (
        "a request in a path",
        &[(":method", "GET"), (":scheme", "http"), (":path", "/ HTTP/1.1\r\nx: y\r\n"), (":authority", "a")],
    ),
    (
        "a blank in a path",
        &[(":method", "GET"), (":scheme", "http"), (":path", "/v1/models x"), (":authority", "a")],
    ),
    (
        "a path that is absolute",
        &[(":method", "GET"), (":scheme", "http"), (":path", "http://evil/v1/models"), (":authority", "a")],
    ),
    (
        "a line end in a method",
        &[(":method", "GET / HTTP/1.1\r\nx: y"), (":scheme", "http"), (":path", "/"), (":authority", "a")],
    ),
    (
        "a line end in an authority",
        &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a\r\nx: y")],
    ),
    (
        "a user in an authority",
        &[(":method", "GET"), (":scheme", "http"), (":path", "/v1/models"), (":authority", "u@a")],
    ),
    ("CONNECT", &[(":method", "CONNECT"), (":authority", "a:443")]),
    (
        "CONNECT with a protocol",
        &[
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":path", "/v1/realtime"),
            (":authority", "a"),
        ],
    ),
    ("TRACE", &[(":method", "TRACE"), (":scheme", "http"), (":path", "/v1/models"), (":authority", "a")]),
    ("*", &[(":method", "OPTIONS"), (":scheme", "http"), (":path", "*"), (":authority", "a")]),
];

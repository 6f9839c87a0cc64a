//! Channels behind an operator's proxy: HTTP CONNECT and SOCKS5, with and without a login, for http and https providers.
//!
//! The providers' names lead nowhere here (`.invalid`), so that only the proxy can have found them.

use crate::support::client::{self, Ended};
use crate::support::speech::{MODEL, Speech};
use crate::support::tls::{Authority, Files, Front};
use crate::support::{Gateway, KEY, key, provider};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// How a proxy behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Http,
    /// With the login `u@x` / `p:w`.
    HttpLogin,
    Socks5,
    Socks5Login,
    /// Answers CONNECT with this.
    Says(&'static str),
    /// It does not look at the login.
    HttpAnyLogin,
    /// Answers a request of SOCKS with this code.
    Refuses(u8),
    /// Asks for a login, and refuses whatever it is.
    RefusesLogin,
    /// Takes the connection and says nothing.
    Silent,
}

/// A proxy that leads every name to one address.
pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
    /// The names and ports it was asked for.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub(crate) async fn start(kind: Kind, to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it has an address");
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(serve(kind, tcp, to, Arc::clone(&noted)));
            }
        });
        Self { addr, asked }
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("nobody panics").clone()
    }
}

async fn serve(kind: Kind, mut tcp: TcpStream, to: SocketAddr, asked: Arc<Mutex<Vec<String>>>) -> Option<()> {
    let name = match kind {
        Kind::Socks5 | Kind::Socks5Login | Kind::Refuses(_) | Kind::RefusesLogin => {
            socks5(kind, &mut tcp).await?
        }
        _ => http(kind, &mut tcp).await?,
    };
    asked.lock().expect("nobody panics").push(name);
    match kind {
        Kind::Says(words) => {
            tcp.write_all(words.as_bytes()).await.ok()?;
            return None;
        }
        Kind::Refuses(code) => {
            tcp.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0]).await.ok()?;
            return None;
        }
        Kind::Silent => {
            // Until the other side leaves.
            tcp.read_u8().await.ok()?;
            return None;
        }
        Kind::Http | Kind::HttpLogin | Kind::HttpAnyLogin => {
            tcp.write_all(b"HTTP/1.1 200 OK\r\nvia: x\r\n\r\n").await.ok()?;
        }
        Kind::Socks5 | Kind::Socks5Login | Kind::RefusesLogin => {
            tcp.write_all(&[5, 0, 0, 3, 2, b'a', b'b', 0, 1]).await.ok()?;
        }
    }
    let mut upstream = TcpStream::connect(to).await.ok()?;
    tokio::io::copy_bidirectional(&mut tcp, &mut upstream).await.ok()?;
    None
}

async fn http(kind: Kind, tcp: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let login = if kind == Kind::HttpLogin { "Proxy-Authorization: Basic dUB4OnA6dw==\r\n" } else { "" };
    let name = head.strip_prefix("CONNECT ")?.split(' ').next()?.to_owned();
    let expected = format!("CONNECT {name} HTTP/1.1\r\nHost: {name}\r\n{login}\r\n");
    assert!(kind == Kind::HttpAnyLogin || head == expected, "{head}");
    Some(name)
}

async fn socks5(kind: Kind, tcp: &mut TcpStream) -> Option<String> {
    let mut methods = [0; 3];
    tcp.read_exact(&mut methods).await.ok()?;
    if matches!(kind, Kind::Socks5Login | Kind::RefusesLogin) {
        assert_eq!((methods, tcp.read_u8().await.ok()?), ([5, 2, 0], 2));
        tcp.write_all(&[5, 2]).await.ok()?;
        let mut login = [0; 9];
        tcp.read_exact(&mut login).await.ok()?;
        assert_eq!(&login, b"\x01\x03u@x\x03p:w");
        tcp.write_all(&[1, u8::from(kind == Kind::RefusesLogin)]).await.ok()?;
    } else {
        assert_eq!(methods, [5, 1, 0]);
        tcp.write_all(&[5, 0]).await.ok()?;
    }
    let mut head = [0; 5];
    tcp.read_exact(&mut head).await.ok()?;
    assert_eq!(head[..4], [5, 1, 0, 3], "by name");
    let mut name = vec![0; usize::from(head[4])];
    tcp.read_exact(&mut name).await.ok()?;
    let port = tcp.read_u16().await.ok()?;
    Some(format!("{}:{port}", String::from_utf8(name).ok()?))
}

fn channel(name: &str, base: &str, proxy: &str, more: &str) -> String {
    format!(
        "[[channel]]\nname = \"{name}\"\ntype = \"openai\"\nbase_url = \"{base}\"\n\
         api_keys = [\"sk-upstream-0123456789\"]\negress_proxy = \"{proxy}\"\n{more}\n"
    )
}

#[tokio::test]
async fn every_kind_of_proxy_leads_to_http_and_https_providers_and_learns_only_the_name() {
    let (authority, files) = (Authority::new(), Files::new());
    let ca = format!("ca = \"{}\"", files.put("ca.pem", &authority.pem()));
    for (kind, scheme, login) in [
        (Kind::Http, "http", ""),
        (Kind::HttpLogin, "http", "u%40x:p%3Aw@"),
        (Kind::Socks5, "socks5", ""),
        (Kind::Socks5Login, "socks5h", "u%40x:p%3Aw@"),
    ] {
        for (tls, protocols) in [(false, &[][..]), (true, &["http/1.1"]), (true, &["h2", "http/1.1"])] {
            let upstream = provider().await;
            let front =
                Front::start(&authority.issue(&["provider.invalid"]), None, protocols, upstream.addr()).await;
            let proxy = Proxy::start(kind, if tls { front.addr } else { upstream.addr() }).await;
            let (base, port, more) = if tls {
                ("https://provider.invalid", 443, ca.as_str())
            } else {
                ("http://provider.invalid", 80, "")
            };
            let through = format!("{scheme}://{login}{}", proxy.addr);
            let gateway = Gateway::start(&(channel("c", base, &through, more) + &key())).await;
            let context = format!("{kind:?} {base} {protocols:?}");
            for stream in [false, true] {
                let answer = Speech::Chat.ask(gateway.addr(), MODEL, stream).await;
                let ended = (answer.status, answer.ended);
                assert_eq!(ended, (200, Ended::Whole), "{context}: {}", answer.text());
            }
            let sent = upstream.requests();
            assert_eq!(sent[0].header("host"), Some("provider.invalid"), "{context}");
            assert!(sent.iter().all(|one| one.header("proxy-authorization").is_none()), "{context}");
            // The second request used the connection of the first.
            assert_eq!(proxy.asked(), [format!("provider.invalid:{port}")], "{context}");
            // What streams through unread goes the same way, on a connection of its own.
            let bearer = format!("Bearer {KEY}");
            let files = client::request("GET", "/v1/files", &[("authorization", &bearer)], b"");
            let answer = client::once(gateway.addr(), &files).await;
            assert_eq!(answer.status, 200, "{context}: {} {}", answer.text(), gateway.log.text());
            assert_eq!(proxy.asked().len(), 2, "{context}");
        }
    }
}

#[tokio::test]
async fn what_a_proxy_refuses_is_named_for_the_operator_and_fails_over() {
    for (kind, scheme, words) in [
        (
            Kind::Says("HTTP/1.1 407 No\r\n\r\n"),
            "http",
            "the egress proxy wants a login, or another one (407)",
        ),
        (Kind::Says("HTTP/1.1 403 No\r\n\r\n"), "http", "the egress proxy answered CONNECT with 403"),
        (Kind::Says("HTTP/1.1 200 OK\r\n\r\nmore"), "http", "the egress proxy sent more than its answer"),
        (Kind::Says("SSH-2.0-x\r\n\r\n"), "http", "the egress proxy does not speak HTTP"),
        (Kind::Says(""), "http", "the egress proxy closed the connection instead of an answer"),
        (Kind::Refuses(2), "socks5", "the egress proxy does not allow this connection"),
        (Kind::Refuses(4), "socks5", "the egress proxy cannot reach the provider's host, or find its name"),
        (Kind::Refuses(5), "socks5", "the egress proxy was refused by the provider's host"),
    ] {
        let upstream = provider().await;
        let proxy = Proxy::start(kind, upstream.addr()).await;
        let through = format!("{scheme}://{}", proxy.addr);
        let other = crate::support::channel("other", "openai", &upstream, "priority = 1");
        let text = channel("c", "http://provider.invalid", &through, "") + &other + &key();
        let gateway = Gateway::start(&text).await;
        let answer = Speech::Chat.ask(gateway.addr(), MODEL, false).await;
        assert_eq!(answer.status, 200, "{kind:?}: {}", answer.text());
        assert_eq!(proxy.asked(), ["provider.invalid:80"], "{kind:?}");
        let gateway = Gateway::start(&(channel("c", "http://provider.invalid", &through, "") + &key())).await;
        let answer = Speech::Chat.ask(gateway.addr(), MODEL, false).await;
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"), "{kind:?}");
        let bearer = format!("Bearer {KEY}");
        let files = client::request("GET", "/v1/files", &[("authorization", &bearer)], b"");
        let answer = client::once(gateway.addr(), &files).await;
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"), "{kind:?}");
        for line in gateway.log.lines(2).await {
            assert_eq!(line["upstream_error"], words, "{kind:?}");
            assert_eq!(line["attempts"][0]["code"], "upstream_unreachable", "{kind:?}");
        }
    }
}

#[tokio::test]
async fn a_refused_login_is_named_and_a_proxy_that_says_nothing_is_not_waited_for() {
    let upstream = provider().await;
    for (kind, address, code, words) in [
        (
            Kind::RefusesLogin,
            "socks5://u%40x:p%3Aw@",
            "upstream_unreachable",
            "the egress proxy refuses the user and the password",
        ),
        (Kind::Silent, "http://", "upstream_timeout", ""),
    ] {
        let proxy = Proxy::start(kind, upstream.addr()).await;
        let through = format!("{address}{}", proxy.addr);
        let text = channel("c", "http://provider.invalid", &through, "connect_timeout = \"300ms\"") + &key();
        let gateway = Gateway::start(&text).await;
        let answer = Speech::Chat.ask(gateway.addr(), MODEL, false).await;
        assert_eq!(answer.code(), code, "{kind:?}: {}", answer.text());
        let line = gateway.log.line().await;
        let said = line["upstream_error"].as_str().unwrap_or_default();
        assert!(said.contains(words), "{kind:?}: {said}");
        assert!(!gateway.log.text().contains("p:w") && !gateway.log.text().contains("p%3Aw"), "{kind:?}");
        assert_eq!(upstream.request_count(), 0, "{kind:?}");
    }
}

#[tokio::test]
async fn connections_through_a_proxy_are_kept_for_the_same_proxy_and_the_same_login() {
    let upstream = provider().await;
    let proxy = Proxy::start(Kind::HttpAnyLogin, upstream.addr()).await;
    let other = Proxy::start(Kind::HttpAnyLogin, upstream.addr()).await;
    let at = |login: &str, proxy: &Proxy| {
        channel("c", "http://provider.invalid", &format!("http://{login}{}", proxy.addr), "") + &key()
    };
    let gateway = Gateway::start(&at("alice:a@", &proxy)).await;
    for (text, asked) in [
        (at("alice:a@", &proxy), (1, 0)),
        (at("bob:b@", &proxy), (2, 0)),
        (at("bob:b@", &other), (2, 1)),
        (at("", &other), (2, 2)),
        // Its first connection is still there.
        (at("alice:a@", &proxy), (2, 2)),
    ] {
        gateway.reload("", &text).expect("it loads");
        assert_eq!(Speech::ask_plainly(gateway.addr()).await, 200);
        assert_eq!((proxy.asked().len(), other.asked().len()), asked);
    }
    assert_eq!(upstream.total_connections(), 4);
}

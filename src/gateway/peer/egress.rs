//! The way through an operator's proxy: HTTP CONNECT or SOCKS5, before the first byte for the provider.
//!
//! Invariants: the proxy learns the provider's name and port, and its own login where there is one, and nothing else;
//! what it says is bounded; a proxy that says more than its answer is not trusted with a connection.

use crate::config::snapshot::{Channel, EgressProxy, ProxyProtocol};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pingora::{BError, Error, ErrorType};
use std::io;
use std::net::IpAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The connection to the channel's provider behind this one, which ends at its proxy where it has one.
pub(in crate::gateway) async fn through(mut tcp: TcpStream, channel: &Channel) -> Result<TcpStream, BError> {
    let Some(proxy) = &channel.egress_proxy else { return Ok(tcp) };
    let target = (channel.endpoint.host.as_str(), channel.endpoint.port);
    let asked = match proxy.speaks {
        ProxyProtocol::Http => connect(&mut tcp, proxy, target).await,
        ProxyProtocol::Socks5 => socks5(&mut tcp, proxy, target).await,
    };
    match asked {
        Ok(()) => Ok(tcp),
        Err(Refused::Broken(error)) => {
            Error::e_explain(ErrorType::ConnectProxyFailure, format!("the egress proxy broke off: {error}"))
        }
        Err(Refused::Said(why)) => {
            Error::e_explain(ErrorType::ConnectProxyFailure, format!("the egress proxy {why}"))
        }
    }
}

/// Why there is no connection.
enum Refused {
    /// The connection to the proxy ended.
    Broken(io::Error),
    /// It said no.
    Said(String),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

async fn connect(tcp: &mut TcpStream, proxy: &EgressProxy, (host, port): (&str, u16)) -> Result<(), Refused> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let login = proxy.login.as_ref().map(|(user, password)| {
        let pair = format!("{}:{}", user.expose(), password.expose());
        format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(pair))
    });
    let login = login.unwrap_or_default();
    let request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{login}\r\n");
    tcp.write_all(request.as_bytes()).await?;
    let mut answer = Vec::with_capacity(512);
    let end = loop {
        if let Some(at) = memchr::memmem::find(&answer, b"\r\n\r\n") {
            break at + 4;
        }
        if answer.len() > ANSWER_BYTES_MAX {
            return Err(Refused::Said("answers CONNECT without end".to_owned()));
        }
        if tcp.read_buf(&mut answer).await? == 0 {
            return Err(Refused::Said("closed the connection instead of an answer".to_owned()));
        }
    };
    let mut headers = [httparse::EMPTY_HEADER; ANSWER_HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let parsed = head.parse(&answer[..end]);
    match (parsed, head.code) {
        (Ok(_), Some(200..=299)) if answer.len() == end => Ok(()),
        (Ok(_), Some(200..=299)) => Err(Refused::Said("sent more than its answer".to_owned())),
        (Ok(_), Some(407)) => Err(Refused::Said("wants a login, or another one (407)".to_owned())),
        (Ok(_), Some(status)) => Err(Refused::Said(format!("answered CONNECT with {status}"))),
        _ => Err(Refused::Said("does not speak HTTP".to_owned())),
    }
}

/// RFC 1928, and RFC 1929 for the login.
async fn socks5(tcp: &mut TcpStream, proxy: &EgressProxy, (host, port): (&str, u16)) -> Result<(), Refused> {
    let greeting: &[u8] = if proxy.login.is_some() { &[5, 2, NO_LOGIN, LOGIN] } else { &[5, 1, NO_LOGIN] };
    tcp.write_all(greeting).await?;
    let mut chosen = [0; 2];
    tcp.read_exact(&mut chosen).await?;
    match (chosen, &proxy.login) {
        ([5, NO_LOGIN], _) => {}
        ([5, LOGIN], Some((user, password))) => {
            let mut login = vec![1];
            pushed(&mut login, user.expose())?;
            pushed(&mut login, password.expose())?;
            tcp.write_all(&login).await?;
            let mut answer = [0; 2];
            tcp.read_exact(&mut answer).await?;
            if answer[1] != 0 {
                return Err(Refused::Said("refuses the user and the password".to_owned()));
            }
        }
        ([5, _], _) => return Err(Refused::Said("wants a login, or another kind of one".to_owned())),
        _ => return Err(Refused::Said("does not speak SOCKS5".to_owned())),
    }
    tcp.write_all(&socks5_request(host, port)?).await?;
    let mut head = [0; 4];
    tcp.read_exact(&mut head).await?;
    if head[0] != 5 || head[1] != 0 {
        return Err(Refused::Said(socks5_refusal(head[1]).to_owned()));
    }
    // Where the proxy connected from, which nobody needs, and its port.
    let address = match head[3] {
        1 => 4,
        4 => 16,
        3 => usize::from(tcp.read_u8().await?),
        _ => return Err(Refused::Said("does not speak SOCKS5".to_owned())),
    };
    let mut rest = [0; 255 + 2];
    tcp.read_exact(&mut rest[..address + 2]).await?;
    Ok(())
}

fn socks5_request(host: &str, port: u16) -> Result<Vec<u8>, Refused> {
    let mut request = vec![5, 1, 0];
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(1);
            request.extend(address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(4);
            request.extend(address.octets());
        }
        Err(_) => {
            request.push(3);
            pushed(&mut request, host)?;
        }
    }
    request.extend(port.to_be_bytes());
    Ok(request)
}

/// A text with its length before it.
fn pushed(into: &mut Vec<u8>, text: &str) -> Result<(), Refused> {
    let length = u8::try_from(text.len());
    into.push(length.map_err(|_| Refused::Said("cannot be told so long a name".to_owned()))?);
    into.extend(text.as_bytes());
    Ok(())
}

fn socks5_refusal(code: u8) -> &'static str {
    match code {
        2 => "does not allow this connection",
        3 => "cannot reach the provider's network",
        4 => "cannot reach the provider's host, or find its name",
        5 => "was refused by the provider's host",
        6 => "gave up on the way to the provider",
        _ => "failed to connect",
    }
}

const NO_LOGIN: u8 = 0;
const LOGIN: u8 = 2;
/// Of the answer to CONNECT, which has no body; Squid's have some hundreds.
const ANSWER_BYTES_MAX: usize = 8 << 10;
const ANSWER_HEADERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socks_is_asked_by_name_or_by_address() {
        let bytes = |host| socks5_request(host, 443).ok().unwrap();
        assert_eq!(bytes("ab"), [5, 1, 0, 3, 2, b'a', b'b', 1, 187]);
        assert_eq!(bytes("10.0.0.1"), [5, 1, 0, 1, 10, 0, 0, 1, 1, 187]);
        assert_eq!(bytes("::1")[..5], [5, 1, 0, 4, 0]);
        assert!(socks5_request(&"x".repeat(256), 1).is_err());
    }
}

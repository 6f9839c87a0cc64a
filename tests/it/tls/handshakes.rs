//! Handshakes that come to nothing, each told apart, and those that need a certificate of the client's.

use super::House;
use crate::support::client::{self, Connection};
use crate::support::speech::{MODEL, Speech};
use crate::support::tls::{Authority, Client};
use crate::support::{Gateway, KEY};
use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};
use std::io::ErrorKind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_nothing_older() {
    let house = House::new("").await;
    for version in [&TLS12, &TLS13] {
        let client = Client::with(&house.authority, "gateway.test", None, &[version]);
        let stream = client.connect(house.addr()).await.expect("it is accepted");
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
    }
    for older in [1_u8, 2] {
        let mut tcp = TcpStream::connect(house.addr()).await.expect("it listens");
        tcp.write_all(&hello(older)).await.expect("it is read");
        let mut alert = Vec::new();
        drop(tcp.read_to_end(&mut alert).await);
        // A record with an alert: fatal, handshake_failure.
        assert_eq!((alert.first(), alert.get(5..7)), (Some(&0x15), Some(&[2, 40][..])), "{alert:?}");
    }
    house.gateway.count_reaches("tollgate_tls_handshake_failures_total{reason=\"version\"}", 2).await;
}

/// A `ClientHello` of TLS 1.0 (1) or 1.1 (2), as those versions had it.
fn hello(minor: u8) -> Vec<u8> {
    let mut hello = vec![3, minor];
    hello.extend_from_slice(&[7; 32]); // random
    hello.push(0); // no session
    hello.extend_from_slice(&[0, 4, 0xc0, 0x13, 0x00, 0x2f]); // two suites of the time
    hello.extend_from_slice(&[1, 0]); // no compression
    let length = u8::try_from(hello.len()).expect("it is short");
    let mut record = vec![0x16, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.append(&mut hello);
    record
}

#[tokio::test]
async fn what_is_no_tls_is_closed_and_plain_http_is_told_so() {
    let house = House::new("").await;
    let answer = client::get(house.addr(), "/v1/models").await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("https://"), "{}", answer.text());
    let request = Speech::Chat.request(KEY, MODEL, false);
    assert_eq!(client::once(house.addr(), &request).await.status, 400);
    let mut tcp = TcpStream::connect(house.addr()).await.expect("it listens");
    tcp.write_all(b"\x00\x01\x02 something else entirely").await.expect("it is read");
    let mut alert = Vec::new();
    drop(tcp.read_to_end(&mut alert).await);
    assert!(alert.is_empty() || alert[0] == 0x15, "{alert:?}");
    house.gateway.count_reaches("tollgate_tls_handshake_failures_total{reason=\"not_tls\"}", 3).await;
    assert_eq!(house.upstream.request_count(), 0);
    assert_eq!(house.gateway.running.connections.open(), 0);
}

#[tokio::test]
async fn failures_are_counted_by_what_they_were_and_a_look_at_the_port_is_none() {
    let house = House::new("").await;
    drop(TcpStream::connect(house.addr()).await.expect("it listens"));
    let stranger = Client::new(&Authority::new(), "gateway.test");
    stranger.connect(house.addr()).await.expect_err("it does not trust our certificate");
    house
        .gateway
        .count_reaches("tollgate_tls_handshake_failures_total{reason=\"refused_by_client\"}", 1)
        .await;
    let insisting = house.client().offering(&["imap"]);
    insisting.connect(house.addr()).await.expect_err("there is no mail here");
    house.gateway.count_reaches("tollgate_tls_handshake_failures_total{reason=\"alpn\"}", 1).await;
    let mut leaver = TcpStream::connect(house.addr()).await.expect("it listens");
    leaver.write_all(&[0x16, 3, 1, 0, 200, 1]).await.expect("it is read");
    drop(leaver);
    house.gateway.count_reaches("tollgate_tls_handshake_failures_total{reason=\"closed\"}", 1).await;
    assert_eq!(house.failures("timeout").await + house.failures("other").await, 0);
}

#[tokio::test]
async fn a_slow_handshake_is_closed_by_the_deadline_of_the_head() {
    let house = House::with("timeouts = { header = \"100ms\" }", |_, _| String::new()).await;
    for begun in [&[][..], &[0x16], &[0x16, 3, 1, 0, 200, 1]] {
        let mut connection = Connection::open(house.addr()).await;
        connection.send_anyway(begun).await;
        assert!(connection.is_closed().await, "{begun:?}");
    }
    house.gateway.count_reaches("tollgate_tls_handshake_failures_total{reason=\"timeout\"}", 3).await;
    while house.gateway.running.connections.open() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_head_that_does_not_come_after_the_handshake_ends_by_the_same_deadline() {
    let house = House::with("timeouts = { header = \"300ms\" }", |_, _| String::new()).await;
    // Nothing at all, over either HTTP: a silent close. A head that was begun: 408.
    for offered in [&[][..], &["h2"]] {
        let client = house.client().offering(offered);
        let mut stream = client.connect(house.addr()).await.expect("it is accepted");
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest).await;
        assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == ErrorKind::UnexpectedEof));
        assert!(!rest.starts_with(b"HTTP/"), "{rest:?}");
    }
    let mut connection = Connection::over(house.client().connect(house.addr()).await.expect("accepted"));
    connection.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n").await;
    assert_eq!(connection.answer().await.expect("an answer before the close").status, 408);
    assert!(connection.is_closed().await);
}

#[tokio::test]
async fn the_caps_count_connections_with_tls_too() {
    let house = House::with("limits = { connections_per_ip = 1 }", |_, _| String::new()).await;
    let mut kept = Connection::over(house.client().connect(house.addr()).await.expect("accepted"));
    kept.send(&Speech::Chat.request(KEY, MODEL, false)).await;
    assert_eq!(kept.answer().await.expect("an answer").status, 200);
    house.client().connect(house.addr()).await.expect_err("one too many");
    let mut plain = Connection::open(house.gateway.addr()).await;
    assert_eq!(plain.answer().await.expect("without TLS it is said").status, 503);
    drop(kept);
    while house.gateway.running.connections.open() > 0 {
        tokio::task::yield_now().await;
    }
    house.client().connect(house.addr()).await.expect("there is room again");
}

#[tokio::test]
async fn only_clients_with_a_certificate_of_the_authority_get_in() {
    let members = Authority::new();
    let member = members.issue(&["member"]);
    let ca = members.pem();
    let house =
        House::with("", |_, files| format!("client_ca = \"{}\"", files.put("members.pem", &ca))).await;
    let own = |issued| Client::with(&house.authority, "gateway.test", issued, &[&TLS13, &TLS12]);
    let stranger = Authority::new().issue(&["member"]);
    let expired = members.issue_until(&["member"], 2001);
    for (issued, reason) in [
        (None, "no_client_certificate"),
        (Some(&stranger), "bad_client_certificate"),
        (Some(&expired), "bad_client_certificate"),
    ] {
        let before = house.failures(reason).await;
        // With TLS 1.3 the refusal comes when the client believes it is in.
        if let Ok(mut stream) = own(issued).connect(house.addr()).await {
            drop(stream.write_all(&Speech::Chat.request(KEY, MODEL, false)).await);
            stream.read_u8().await.expect_err("it is refused");
        }
        house
            .gateway
            .count_reaches(
                &format!("tollgate_tls_handshake_failures_total{{reason=\"{reason}\"}}"),
                before + 1,
            )
            .await;
    }
    assert_eq!(house.upstream.request_count(), 0);
    let mut connection =
        Connection::over(own(Some(&member)).connect(house.addr()).await.expect("a member gets in"));
    connection.send(&Speech::Chat.request(KEY, MODEL, false)).await;
    assert_eq!(connection.answer().await.expect("an answer").status, 200);
}

#[tokio::test]
async fn sessions_are_resumed_but_never_at_a_listener_with_other_authorities() {
    let members = Authority::new();
    let (ca, member) = (members.pem(), members.issue(&["member"]));
    let house = House::with("", |authority, files| {
        let pair = files.pair("members-only", &authority.issue(&["gateway.test"])).replace(", key", "\nkey");
        let ca = files.put("members.pem", &ca);
        format!("[[server.tls]]\nlisten = \"127.0.0.1:0\"\n{pair}\nclient_ca = \"{ca}\"")
    })
    .await;
    let (open, closed) = (house.gateway.running.secured[0], house.gateway.running.secured[1]);
    for version in [&TLS13, &TLS12] {
        let client = Client::with(&house.authority, "gateway.test", None, &[version]);
        assert_eq!(kind(&house.gateway, &client, open).await, Some(HandshakeKind::Full));
        assert_eq!(kind(&house.gateway, &client, open).await, Some(HandshakeKind::Resumed), "{version:?}");
        assert_eq!(kind(&house.gateway, &client, closed).await, None, "a ticket is no certificate");
        let member = Client::with(&house.authority, "gateway.test", Some(&member), &[version]);
        assert_eq!(kind(&house.gateway, &member, closed).await, Some(HandshakeKind::Full));
        assert_eq!(kind(&house.gateway, &member, closed).await, Some(HandshakeKind::Resumed));
    }
}

/// How one request's handshake went; `None`: it was refused.
async fn kind(gateway: &Gateway, client: &Client, addr: std::net::SocketAddr) -> Option<HandshakeKind> {
    let stream = client.connect(addr).await.ok()?;
    let kind = stream.get_ref().1.handshake_kind();
    let mut connection = Connection::over(stream);
    connection.send_anyway(&Speech::Chat.request(KEY, MODEL, false)).await;
    // The tickets of TLS 1.3 come with the answer.
    let answer = connection.answer().await?;
    assert_eq!(answer.status, 200, "{}", gateway.log.text());
    kind
}

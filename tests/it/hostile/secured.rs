//! The same over TLS, where HTTP/1.1 was agreed on by ALPN and where nothing was: what is read of a record is held against
//! the same rules.

use super::{House, Way, chunks, fields, framing, lines, refuses};
use crate::support::client::Connection;
use crate::support::tls::{Authority, Client, Files};
use crate::support::{Gateway, channel, key, provider};
use tokio_rustls::client::TlsStream;

/// A gateway with a TLS listener, and clients with and without ALPN.
async fn house() -> (House, [Client; 2], Files) {
    let (authority, files, upstream) = (Authority::new(), Files::new(), provider().await);
    let listener = files.listener(&authority.issue(&["gateway.test"]), "");
    let text = listener + &channel("main", "openai", &upstream, "") + &key();
    let gateway = Gateway::with_server("", &text).await;
    let client = Client::new(&authority, "gateway.test");
    (House { upstream, gateway }, [client.clone(), client.offering(&["http/1.1"])], files)
}

async fn open(house: &House, client: &Client) -> Connection<TlsStream<tokio::net::TcpStream>> {
    Connection::over(client.connect(house.gateway.running.secured[0]).await.expect("a handshake"))
}

#[tokio::test]
async fn a_head_that_is_not_fit_is_refused_over_tls_as_well() {
    let (house, clients, _files) = house().await;
    let mut refused = 0;
    for row in lines::ROWS.iter().chain(fields::ROWS).chain(framing::ROWS) {
        for (client, way) in clients.iter().zip([Way::Exchange, Way::Tunnel]) {
            let connection = open(&house, client).await;
            refuses(connection, (way, row.name), &way.bytes(row.bytes), row.status).await;
            refused += 1;
        }
    }
    house.is_quiet();
    let mut counted = 0;
    for reason in ["malformed", "framing", "host", "method"] {
        let series = format!("tollgate_heads_refused_total{{reason=\"{reason}\"}}");
        counted += house.gateway.count(&series).await;
    }
    assert_eq!(counted, refused, "each is counted");
}

#[tokio::test]
async fn it_is_refused_behind_a_request_that_was_served_and_in_another_record() {
    let (house, clients, _files) = house().await;
    let before = Way::Exchange.bytes("POST {P} HTTP/1.1|{H}{F}");
    for (at, row) in lines::ROWS.iter().chain(fields::ROWS).chain(framing::ROWS).enumerate() {
        let mut connection = open(&house, &clients[at % 2]).await;
        let request = [&before[..], &Way::Exchange.bytes(row.bytes)].concat();
        let cut = (at * 37) % request.len();
        connection.send(&request[..cut]).await;
        connection.send_anyway(&request[cut..]).await;
        connection.send_anyway(&before).await;
        assert_eq!(connection.answer().await.expect("an answer").status, 200, "{}", row.name);
        assert_eq!(connection.answer().await.map(|answer| answer.status), Some(row.status), "{}", row.name);
        assert!(connection.is_closed().await, "{}", row.name);
        assert_eq!(house.upstream.request_count(), at + 1, "{}", row.name);
    }
}

#[tokio::test]
async fn a_body_whose_framing_is_broken_is_refused_over_tls_as_well() {
    let (house, clients, _files) = house().await;
    for row in chunks::BROKEN {
        for (client, way) in clients.iter().zip([Way::Exchange, Way::Tunnel]) {
            let text = format!("POST {{P}} HTTP/1.1|{{H}}Transfer-Encoding: chunked||{}", row.bytes);
            refuses(open(&house, client).await, (way, row.name), &way.bytes(&text), row.status).await;
        }
    }
    assert_eq!(house.upstream.counts().completed, 0);
}

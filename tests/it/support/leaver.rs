//! A client that leaves in the middle, in every way there is.

use super::KEY;
use super::client::{self, Connection};
use super::speech::{MODEL, Speech};
use bytes::Bytes;
use std::net::SocketAddr;

/// How a client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Fin,
    Rst,
    H2Reset,
    H2Gone,
}

impl Way {
    pub(crate) const ALL: [Self; 4] = [Self::Fin, Self::Rst, Self::H2Reset, Self::H2Gone];

    fn is_http1(self) -> bool {
        matches!(self, Self::Fin | Self::Rst)
    }
}

/// A request under way on a connection of its own.
pub(crate) enum Leaver {
    H1(Connection),
    H2 {
        driving: tokio::task::JoinHandle<()>,
        sending: h2::SendStream<Bytes>,
        response: h2::client::ResponseFuture,
    },
}

impl Leaver {
    /// Asks for a stream, and sends all of the body but its last `held_back` bytes.
    pub(crate) async fn begin(way: Way, addr: SocketAddr, speech: Speech, held_back: usize) -> Self {
        Self::send(way, addr, (speech, true), &speech.body(MODEL, true), held_back).await
    }

    /// Asks with this body.
    pub(crate) async fn ask(way: Way, addr: SocketAddr, speech: Speech, stream: bool, body: &str) -> Self {
        Self::send(way, addr, (speech, stream), body, 0).await
    }

    async fn send(
        way: Way,
        addr: SocketAddr,
        (speech, stream): (Speech, bool),
        body: &str,
        held_back: usize,
    ) -> Self {
        let (path, headers) = (speech.path(MODEL, stream), speech.headers(KEY));
        if way.is_http1() {
            let mut connection = Connection::open(addr).await;
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let request = client::request("POST", &path, &headers, body.as_bytes());
            connection.send(&request[..request.len() - held_back]).await;
            return Self::H1(connection);
        }
        let socket = tokio::net::TcpStream::connect(addr).await.expect("the gateway listens");
        let (client, connection) = h2::client::handshake(socket).await.expect("HTTP/2 is spoken");
        let driving = tokio::spawn(async move { drop(connection.await) });
        let mut client = client.ready().await.expect("a stream is free");
        let mut request =
            http::Request::post(format!("http://test{path}")).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let body = Bytes::copy_from_slice(body.as_bytes());
        let (response, mut sending) =
            client.send_request(request.body(()).expect("a request"), false).expect("it is sent");
        sending.send_data(body.slice(..body.len() - held_back), held_back == 0).expect("it is sent");
        Self::H2 { driving, sending, response }
    }

    /// Reads until something of the body is there.
    pub(crate) async fn read_some(&mut self) {
        match self {
            Self::H1(connection) => {
                assert_eq!(connection.head().await.expect("a head").status, 200);
                assert!(connection.chunk().await.is_some_and(|chunk| !chunk.is_empty()));
            }
            Self::H2 { response, .. } => {
                let response = response.await.expect("a head");
                assert_eq!(response.status(), 200);
                let mut body = response.into_body();
                assert!(body.data().await.is_some_and(|data| data.is_ok_and(|data| !data.is_empty())));
                // Dropping the body would reset the stream already; how to leave is the caller's to say.
                tokio::spawn(async move { while body.data().await.is_some_and(|data| data.is_ok()) {} });
            }
        }
    }

    pub(crate) fn leave(self, way: Way) {
        match (self, way) {
            (Self::H1(connection), Way::Rst) => connection.reset(),
            (Self::H1(connection), _) => drop(connection),
            (Self::H2 { mut sending, driving, .. }, Way::H2Reset) => {
                sending.send_reset(h2::Reason::CANCEL);
                // The connection stays, and goes on being driven.
                drop(driving);
            }
            (Self::H2 { driving, .. }, _) => driving.abort(),
        }
    }
}

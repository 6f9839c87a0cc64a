//! Certificates that are renewed while connections are open.

use super::House;
use crate::support::KEY;
use crate::support::client::Connection;
use crate::support::process::until;
use crate::support::speech::{MODEL, Speech};
use crate::support::tls::{Authority, Client, agreed};
use rustls::HandshakeKind;
use rustls::pki_types::CertificateDer;
use tollgate_loadtest::{Fault, Selector};

impl House {
    async fn shown(&self, authority: &Authority) -> Option<CertificateDer<'static>> {
        let stream = Client::new(authority, "gateway.test").connect(self.addr()).await.ok()?;
        agreed(&stream).1.pop()
    }

    fn reload(&self) -> Result<(), String> {
        let reloader = self.gateway.running.reloader.as_ref().expect("it was started from a file");
        reloader.reload().map(drop).map_err(|problems| problems.to_string())
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_noticed_and_no_connection_or_stream_is_dropped() {
    let house = House::new("").await;
    house.upstream.script(Selector::Any, vec![Fault::HoldMidStream { after_events: 1 }]);
    let mut streaming = Connection::over(house.client().connect(house.addr()).await.expect("accepted"));
    streaming.send(&Speech::Chat.request(KEY, MODEL, true)).await;
    assert_eq!(streaming.head().await.expect("a head").status, 200);
    house.upstream.wait_for_holding(1).await;
    let mut kept = Connection::over(house.client().connect(house.addr()).await.expect("accepted"));
    kept.send(&Speech::Chat.request(KEY, MODEL, false)).await;
    assert_eq!(kept.answer().await.expect("an answer").status, 200);

    // As certbot's hook does it: two files, one after the other, and nobody is told.
    let renewed = house.authority.issue_until(&["gateway.test"], 2096);
    house.files.pair("server", &renewed);
    until("the renewed certificate is shown", || async {
        house.shown(&house.authority).await == Some(renewed.der())
    })
    .await;
    let series =
        "tollgate_certificate_expiry_timestamp_seconds{listener=\"127.0.0.1:0\",name=\"gateway.test\"}";
    assert_eq!(house.gateway.metric(series).await, 3_976_214_400.0);

    house.upstream.release();
    streaming.chunks_until("data: [DONE]\n\n").await;
    kept.send(&Speech::Chat.request(KEY, MODEL, false)).await;
    assert_eq!(kept.answer().await.expect("the connection is kept").status, 200);
}

#[tokio::test]
async fn a_bad_renewal_keeps_the_old_certificate_and_is_reported() {
    let house = House::new("").await;
    let old = house.shown(&house.authority).await.expect("it is served");
    let other = house.authority.issue(&["gateway.test"]);
    let good = std::fs::read_to_string(house.files.path("server.pem")).expect("it is there");
    let key = std::fs::read_to_string(house.files.path("server.key")).expect("it is there");
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    for (name, bad, back, said) in [
        ("server.pem", other.cert.as_str(), &good, "server.key` does not belong to the certificate"),
        ("server.pem", "no certificate at all", &good, "holds no certificate"),
        ("server.pem", "", &good, "holds no certificate"),
        ("server.key", other.key.as_str(), &key, "does not belong to the certificate"),
        ("server.key", "", &key, "holds no private key"),
        ("server.key", encrypted.as_str(), &key, "is encrypted"),
    ] {
        house.files.put(name, bad);
        let refused = house.reload().expect_err(said);
        assert!(refused.contains(said), "{said}: {refused}");
        assert!(refused.contains("server.tls[0]."), "its place: {refused}");
        assert_eq!(house.shown(&house.authority).await, Some(old.clone()), "{said}");
        assert_eq!(house.gateway.metric("tollgate_config_last_reload_successful").await, 0.0);
        house.files.put(name, back);
        house.reload().expect("as it was");
    }
    std::fs::remove_file(house.files.path("server.pem")).expect("it is there");
    assert!(house.reload().expect_err("it is gone").contains("cannot be read"));
    assert_eq!(house.shown(&house.authority).await, Some(old));
}

#[tokio::test]
async fn certificates_are_added_and_clients_shut_out_by_reload_while_addresses_take_a_restart() {
    let house = House::new("").await;
    let config = std::fs::read_to_string(&house.gateway.config).expect("it is there");
    let (head, rest) = config.split_once("[[channel]]").expect("it has a channel");
    let write = |tls: &str| {
        house.files.put("unused", "");
        let next = house.gateway.config.with_extension("next");
        std::fs::write(&next, format!("{head}{tls}\n[[channel]]{rest}")).expect("it is written");
        std::fs::rename(&next, &house.gateway.config).expect("it takes its place");
        house.reload()
    };
    let further = house.authority.issue(&["further.test"]);
    write(&format!("certs = [{{ {} }}]", house.files.pair("further", &further))).expect("it loads");
    let stream = Client::new(&house.authority, "further.test").connect(house.addr()).await;
    assert_eq!(agreed(&stream.expect("its certificate is there")).1, [further.der()]);

    let client = house.client();
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let stream = client.connect(house.addr()).await.expect("accepted");
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(expected));
        let mut connection = Connection::over(stream);
        connection.send(&Speech::Chat.request(KEY, MODEL, false)).await;
        assert_eq!(connection.answer().await.expect("an answer").status, 200);
    }
    let members = Authority::new();
    write(&format!("client_ca = \"{}\"", house.files.put("members.pem", &members.pem()))).expect("it loads");
    // The session of before, when nobody had to show anything, opens nothing now.
    if let Ok(stream) = client.connect(house.addr()).await {
        let mut connection = Connection::over(stream);
        connection.send_anyway(&Speech::Chat.request(KEY, MODEL, false)).await;
        assert!(connection.answer().await.is_none(), "it is shut out");
    }

    let pair =
        house.files.pair("server", &house.authority.issue(&["gateway.test"])).replace(", key", "\nkey");
    write(&format!("[[server.tls]]\nlisten = \"127.0.0.2:0\"\n{pair}")).expect("it loads");
    let reloader = house.gateway.running.reloader.as_ref().expect("it was started from a file");
    assert_eq!(reloader.last().needs_restart, ["server.tls"]);
    assert!(house.shown(&house.authority).await.is_some(), "the listener that is there serves on");
}

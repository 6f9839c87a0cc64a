//! What is served over TLS: both HTTPs, streams, the certificate that fits.

use super::House;
use crate::support::client::{self, Connection, Ended};
use crate::support::speech::{MODEL, Speech};
use crate::support::tls::{Authority, Client, Files, agreed};
use crate::support::{Gateway, KEY, provider};
use tollgate_loadtest::{Fault, Selector};

#[tokio::test]
async fn http_1_and_http_2_are_served_as_the_client_prefers_and_without_a_preference_http_1() {
    let house = House::new("").await;
    for (offered, spoken) in [
        (&["h2", "http/1.1"][..], Some("h2")),
        (&["http/1.1", "h2"], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&["h2"], Some("h2")),
        (&["spdy/3", "http/1.1"], Some("http/1.1")),
        (&[], None),
    ] {
        let stream = house.client().offering(offered).connect(house.addr()).await.expect("it is accepted");
        assert_eq!(agreed(&stream).0.as_deref(), spoken, "{offered:?}");
        let answer = if spoken == Some("h2") {
            let request = http::Request::post("https://gateway.test/v1/chat/completions")
                .header("content-type", "application/json")
                .header("authorization", format!("Bearer {KEY}"));
            client::over_h2(stream, request, &[], Speech::Chat.body(MODEL, false).as_bytes()).await
        } else {
            let mut connection = Connection::over(stream);
            connection.send(&Speech::Chat.request(KEY, MODEL, false)).await;
            connection.answer().await.expect("an answer")
        };
        assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{offered:?}");
    }
    let lines = house.gateway.log.lines(6).await;
    assert!(lines.iter().all(|line| line["client_ip"] == "127.0.0.1"), "{lines:?}");
}

#[tokio::test]
async fn a_stream_comes_event_by_event_and_byte_by_byte_the_same_over_either_http() {
    let house = House::new("").await;
    for speech in [Speech::Chat, Speech::Responses] {
        let direct = speech.spoken_by(MODEL, true, Fault::None).await;
        let mut connection = Connection::over(house.client().connect(house.addr()).await.expect("accepted"));
        for _ in 0..2 {
            connection.send(&speech.request(KEY, MODEL, true)).await;
            let answer = connection.answer().await.expect("an answer on the kept connection");
            assert_eq!((answer.status, answer.text()), (200, direct.text()));
        }
        let stream = house.client().offering(&["h2"]).connect(house.addr()).await.expect("accepted");
        let request = http::Request::post(format!("https://gateway.test{}", speech.path(MODEL, true)))
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {KEY}"));
        let answer = client::over_h2(stream, request, &[], speech.body(MODEL, true).as_bytes()).await;
        assert_eq!((answer.status, answer.text()), (200, direct.text()));
    }
}

#[tokio::test]
async fn an_event_is_seen_before_the_next_one_is_there() {
    let house = House::new("").await;
    house.upstream.script(Selector::Any, vec![Fault::HoldEveryEvent]);
    let mut connection = Connection::over(house.client().connect(house.addr()).await.expect("accepted"));
    connection.send(&Speech::Chat.request(KEY, MODEL, true)).await;
    house.upstream.release_many(2);
    assert_eq!(connection.head().await.expect("a head").status, 200);
    connection.chunks_until("\n\n").await;
    house.upstream.release_many(1000);
    connection.chunks_until("data: [DONE]\n\n").await;
}

#[tokio::test]
async fn a_prompt_of_megabytes_arrives_whole() {
    let house = House::new("").await;
    let body = format!(
        r#"{{"model":"{MODEL}","messages":[{{"role":"user","content":"{}"}}]}}"#,
        "word ".repeat(700_000)
    );
    let bearer = format!("Bearer {KEY}");
    let headers = [("authorization", bearer.as_str())];
    let request = client::request("POST", "/v1/chat/completions", &headers, body.as_bytes());
    let mut connection = Connection::over(house.client().connect(house.addr()).await.expect("accepted"));
    connection.send(&request).await;
    assert_eq!(connection.answer().await.expect("an answer").status, 200);
    assert_eq!(house.upstream.requests()[0].body, body.as_bytes());
}

#[tokio::test]
async fn the_certificate_is_chosen_by_the_name_that_is_asked_for() {
    let (authority, files, upstream) = (Authority::new(), Files::new(), provider().await);
    let first = authority.issue(&["first.test", "127.0.0.1"]);
    let second = authority.issue(&["Second.test", "shared.test"]);
    let wild = authority.issue(&["*.wild.test"]);
    let exact = authority.issue(&["exact.wild.test", "shared.test"]);
    let certs = [("second", &second), ("wild", &wild), ("exact", &exact)];
    let certs: Vec<String> =
        certs.iter().map(|(name, issued)| format!("{{ {} }}", files.pair(name, issued))).collect();
    let listener = files.listener(&first, &format!("certs = [{}]", certs.join(", ")));
    let gateway = Gateway::start(&(listener + &super::rest(&upstream))).await;
    for (name, expected) in [
        ("first.test", &first),
        ("second.test", &second),
        ("SECOND.test", &second),
        ("shared.test", &second),
        ("any.wild.test", &wild),
        ("exact.wild.test", &exact),
        ("127.0.0.1", &first),
    ] {
        let stream = Client::new(&authority, name).connect(gateway.running.secured[0]).await;
        let stream = stream.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(agreed(&stream).1, [expected.der()], "{name}");
    }
    // A name of nobody gets the first certificate, which such a client refuses.
    for name in ["unknown.test", "two.levels.wild.test", "wild.test"] {
        let refused = Client::new(&authority, name).connect(gateway.running.secured[0]).await;
        let error = refused.expect_err(name).to_string();
        assert!(error.contains("not valid for name") && error.contains("first.test"), "{name}: {error}");
    }
}

#[tokio::test]
async fn expiry_is_a_metric_of_each_certificate() {
    let (authority, files, upstream) = (Authority::new(), Files::new(), provider().await);
    let second = files.pair("second", &authority.issue_until(&["second.test"], 2098));
    // Two for one name: the one that ends first counts.
    let again = files.pair("again", &authority.issue_until(&["second.test"], 2097));
    let listener = files
        .listener(&authority.issue(&["first.test"]), &format!("certs = [{{ {second} }}, {{ {again} }}]"));
    let gateway = Gateway::start(&(listener + &super::rest(&upstream))).await;
    for (name, expiry) in [("first.test", 4_070_908_800.0), ("second.test", 4_007_836_800.0)] {
        let series = format!(
            "tollgate_certificate_expiry_timestamp_seconds{{listener=\"127.0.0.1:0\",name=\"{name}\"}}"
        );
        assert_eq!(gateway.metric(&series).await, expiry, "{name}");
    }
}

#[tokio::test]
async fn a_listener_with_tls_may_be_the_only_one() {
    let (authority, files, upstream) = (Authority::new(), Files::new(), provider().await);
    let listener = files.listener(&authority.issue(&["gateway.test"]), "");
    let dir = tempfile::tempdir().expect("a temporary directory");
    for listen in ["", "listen = []\n"] {
        let config = dir.path().join("tollgate.toml");
        let text = format!("[server]\nadmin = \"127.0.0.1:0\"\n{listen}{listener}{}", super::rest(&upstream));
        std::fs::write(&config, text).expect("it is written");
        let loaded = tollgate::config::load(&config, &tollgate::config::FsSource);
        let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
        assert!(loaded.snapshot.server.listen.is_empty());
        assert_eq!(loaded.snapshot.server.tls.len(), 1);
    }
}

//! How providers are reached: whom we trust, what we show, and what connections are shared.

use crate::support::speech::Speech;
use crate::support::tls::{Authority, Files, Front, Issued};
use crate::support::{Gateway, key, provider};
use tollgate_loadtest::Provider;

/// A channel whose server is behind TLS on this machine; `host` is what the certificate must be for.
fn channel(name: &str, host: &str, front: &Front, more: &str) -> String {
    let port = front.addr.port();
    format!(
        "[[channel]]\nname = \"{name}\"\ntype = \"openai\"\nbase_url = \"https://{host}:{port}\"\n\
         api_keys = [\"sk-upstream-0123456789\"]\nmodels = [\"{name}\"]\n{more}\n"
    )
}

struct House {
    authority: Authority,
    files: Files,
    upstream: Provider,
}

impl House {
    async fn new() -> Self {
        Self { authority: Authority::new(), files: Files::new(), upstream: provider().await }
    }

    async fn front(&self, names: &[&str], clients: Option<&Authority>, protocols: &[&str]) -> Front {
        Front::start(&self.authority.issue(names), clients, protocols, self.upstream.addr()).await
    }

    fn ca(&self) -> String {
        format!("ca = \"{}\"", self.files.put("ca.pem", &self.authority.pem()))
    }
}

async fn ask(gateway: &Gateway, model: &str) -> u16 {
    Speech::Chat.ask(gateway.addr(), model, false).await.status
}

#[tokio::test]
async fn a_server_is_verified_by_the_channels_authority_and_by_its_name_or_address() {
    let house = House::new().await;
    let (good, wrong) = (
        house.front(&["localhost", "127.0.0.1"], None, &[]).await,
        house.front(&["other.test"], None, &[]).await,
    );
    let stranger = House::new().await;
    let text = channel("by-name", "localhost", &good, &house.ca())
        + &channel("by-address", "127.0.0.1", &good, &house.ca())
        + &channel("system", "localhost", &good, "")
        + &channel("stranger", "localhost", &good, &stranger.ca())
        + &channel("wrong-name", "localhost", &wrong, &house.ca())
        + &channel("wrong-address", "127.0.0.1", &wrong, &house.ca());
    let gateway = Gateway::start(&(text + &key())).await;
    for (model, status) in [
        ("by-name", 200),
        ("by-address", 200),
        ("system", 502),
        ("stranger", 502),
        ("wrong-name", 502),
        ("wrong-address", 502),
    ] {
        let answer = Speech::Chat.ask(gateway.addr(), model, false).await;
        assert_eq!(answer.status, status, "{model}: {}", answer.text());
        assert!(status == 200 || answer.code() == "upstream_unreachable", "{model}");
    }
    assert_eq!(house.upstream.request_count(), 2, "nothing is sent to a server that is not verified");
    let seen = good.seen();
    assert_eq!(seen.iter().map(|one| one.name.as_deref()).collect::<Vec<_>>(), [Some("localhost"), None]);
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_it_is_asked_for_and_sessions_are_resumed_with_it() {
    let (house, members) = (House::new().await, Authority::new());
    let member = members.issue(&["gateway"]);
    let own =
        house.files.pair("own", &member).replace("cert =", "client_cert =").replace(", key", "\nclient_key");
    // A server that closes after each answer, so that every request has a connection of its own.
    let front = house.front(&["localhost"], Some(&members), &["http/1.1"]).await;
    let text = channel("with", "localhost", &front, &format!("{}\n{own}", house.ca()))
        + &channel("without", "localhost", &front, &house.ca());
    let gateway = Gateway::start(&(text + &key())).await;
    assert_eq!(ask(&gateway, "without").await, 502);
    assert_eq!(ask(&gateway, "with").await, 200);
    let seen = front.seen();
    assert_eq!((seen.len(), seen[0].client.clone(), seen[0].resumed), (1, Some(member.der()), false));
    // What the pool holds is used up by several at once, so the others need connections of their own.
    house.upstream.script(
        tollgate_loadtest::Selector::Any,
        vec![tollgate_loadtest::Fault::HoldFirstByte, tollgate_loadtest::Fault::HoldFirstByte],
    );
    let (first, second, ()) = tokio::join!(ask(&gateway, "with"), ask(&gateway, "with"), async {
        house.upstream.wait_for_holding(2).await;
        house.upstream.release_many(2);
    });
    assert_eq!((first, second), (200, 200));
    let seen = front.seen();
    assert_eq!(seen.len(), 2, "one was kept, one is new");
    assert!(seen[1].resumed, "a session is resumed under the channel's own settings");
    assert_eq!(seen[1].client, Some(member.der()));
    let expiry = "tollgate_certificate_expiry_timestamp_seconds{listener=\"upstream\",name=\"with\"}";
    assert_eq!(gateway.metric(expiry).await, 4_070_908_800.0);
}

#[tokio::test]
async fn http_2_is_spoken_where_the_server_offers_it_and_the_channel_allows_it() {
    let house = House::new().await;
    let both = house.front(&["localhost"], None, &["h2", "http/1.1"]).await;
    let old = house.front(&["localhost"], None, &["http/1.1"]).await;
    let silent = house.front(&["localhost"], None, &[]).await;
    let (ca, mut text) = (house.ca(), key());
    for (name, front, version) in [
        ("both-auto", &both, "auto"),
        ("both-1", &both, "1.1"),
        ("both-2", &both, "2"),
        ("old-auto", &old, "auto"),
        ("silent-auto", &silent, "auto"),
        ("silent-2", &silent, "2"),
    ] {
        text += &channel(name, "localhost", front, &format!("{ca}\nhttp_version = \"{version}\""));
    }
    let gateway = Gateway::start(&text).await;
    for (model, status) in [
        ("both-auto", 200),
        ("both-1", 200),
        ("both-2", 200),
        ("old-auto", 200),
        ("silent-auto", 200),
        ("silent-2", 502),
    ] {
        for _ in 0..2 {
            assert_eq!(ask(&gateway, model).await, status, "{model}");
        }
    }
    let spoken = |front: &Front| -> Vec<Option<String>> {
        front.seen().into_iter().map(|seen| seen.protocol).collect()
    };
    let (h1, h2) = (Some("http/1.1".to_owned()), Some("h2".to_owned()));
    // One connection each: the second request found it in the pool.
    assert_eq!(spoken(&both), [h2.clone(), h1.clone(), h2]);
    assert_eq!(spoken(&old), [h1]);
}

#[tokio::test]
async fn connections_are_not_shared_across_settings_and_outlive_a_reload_that_keeps_them() {
    let (house, members) = (House::new().await, Authority::new());
    let front = house.front(&["localhost"], None, &["http/1.1"]).await;
    let own = |issued: &Issued| {
        let pair = house.files.pair("own", issued);
        pair.replace("cert =", "client_cert =").replace(", key", "\nclient_key")
    };
    let text = |more: &str| channel("one", "localhost", &front, &format!("{}\n{more}", house.ca())) + &key();
    let gateway = Gateway::start(&text("")).await;
    assert_eq!(ask(&gateway, "one").await, 200);
    gateway.reload("", &text("priority = 1")).expect("it loads");
    assert_eq!(ask(&gateway, "one").await, 200);
    assert_eq!(front.seen().len(), 1, "a reload of something else keeps the connection");
    let first = own(&members.issue(&["first"]));
    gateway.reload("", &text(&first)).expect("it loads");
    assert_eq!(ask(&gateway, "one").await, 200);
    assert_eq!(front.seen().len(), 2, "other settings, another connection");
    assert!(!front.seen()[1].resumed, "nor is the session of before");
    own(&members.issue(&["second"]));
    gateway.reload("", &text(&first)).expect("it loads");
    assert_eq!(ask(&gateway, "one").await, 200);
    assert_eq!(front.seen().len(), 3, "a renewed certificate, another connection");
    // An authority that is not trusted any more: what was connected before must not serve on.
    let stranger = House::new().await;
    gateway.reload("", &(channel("one", "localhost", &front, &stranger.ca()) + &key())).expect("it loads");
    assert_eq!(ask(&gateway, "one").await, 502);
}

#[tokio::test]
async fn files_are_tunnelled_under_the_same_settings() {
    let (house, members) = (House::new().await, Authority::new());
    let member = members.issue(&["gateway"]);
    let own =
        house.files.pair("own", &member).replace("cert =", "client_cert =").replace(", key", "\nclient_key");
    let front = house.front(&["localhost"], Some(&members), &["http/1.1"]).await;
    let list = |gateway: &Gateway| {
        let (addr, bearer) = (gateway.addr(), format!("Bearer {}", crate::support::KEY));
        async move {
            let headers = [("authorization", bearer.as_str())];
            crate::support::client::once(
                addr,
                &crate::support::client::request("GET", "/v1/files", &headers, b""),
            )
            .await
            .status
        }
    };
    let with = format!("{}\n{own}", house.ca());
    let gateway = Gateway::start(&(channel("one", "localhost", &front, &with) + &key())).await;
    assert_eq!(list(&gateway).await, 200);
    assert_eq!(front.seen()[0].client, Some(member.der()));
    for (more, what) in [(house.ca(), "no certificate"), (own, "no authority")] {
        let gateway = Gateway::start(&(channel("one", "localhost", &front, &more) + &key())).await;
        assert_eq!(list(&gateway).await, 502, "{what}");
    }
    assert_eq!(front.seen().len(), 1);
}

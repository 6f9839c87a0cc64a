//! The client leaves, in every phase and in every way: the upstream is let go, nothing is tried again, and nobody is
//! blamed. And a client that is refused while it is still sending gets to read why.

use crate::support::client::{self, Connection, Ended};
use crate::support::leaver::{Leaver, Way};
use crate::support::speech::{MODEL, Speech};
use crate::support::{Gateway, KEY, channel, key, provider};
use serde_json::{Value, json};
use tollgate_loadtest::{Fault, Provider, Selector};

struct House {
    first: Provider,
    second: Provider,
    gateway: Gateway,
}

impl House {
    async fn build(speech: Speech) -> Self {
        let (first, second) = (provider().await, provider().await);
        let text = key()
            + &channel("first", speech.kind(), &first, "priority = 0")
            + &channel("second", speech.kind(), &second, "priority = 1");
        Self { first, second, gateway: Gateway::start(&text).await }
    }

    /// What has to be true after a client left.
    async fn check_left(&self, context: &str) {
        let line = self.gateway.log.line().await;
        assert_eq!(
            (&line["end"], &line["code"]),
            (&json!("client_closed"), &Value::Null),
            "{context} {line}"
        );
        assert_eq!(self.second.request_count(), 0, "{context}");
        assert_eq!(self.gateway.count("tollgate_leases_open").await, 0, "{context}");
        assert_eq!(self.gateway.count("tollgate_buffered_body_bytes").await, 0, "{context}");
        assert_eq!(self.gateway.count("tollgate_inflight_requests").await, 0, "{context}");
        // Not held against the channel: it is asked first the next time, too.
        let before = self.first.request_count();
        assert_eq!(Speech::ask_plainly(self.gateway.addr()).await, 200, "{context}");
        assert_eq!(self.first.request_count(), before + 1, "{context}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_it_sends_is_noticed() {
    for way in Way::ALL {
        let house = House::build(Speech::Chat).await;
        let client = Leaver::begin(way, house.gateway.addr(), Speech::Chat, 10).await;
        // The head has arrived once its lease is taken.
        house.gateway.count_reaches("tollgate_inflight_requests", 1).await;
        client.leave(way);
        house.check_left(&format!("{way:?}")).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_it_is_queued_gives_its_place_up() {
    for way in Way::ALL {
        let upstream = provider().await;
        upstream.script(Selector::Any, vec![Fault::HoldFirstByte]);
        let full = "limits = { concurrency = 1 }\nqueue = 1\nqueue_timeout = \"600s\"";
        let gateway = Gateway::start(&(channel("main", "openai", &upstream, full) + &key())).await;
        let mut running = Connection::open(gateway.addr()).await;
        running.send(&Speech::Chat.request(KEY, MODEL, true)).await;
        upstream.wait_for_holding(1).await;
        let client = Leaver::begin(way, gateway.addr(), Speech::Chat, 0).await;
        gateway.count_reaches("tollgate_queued_requests{channel=\"main\"}", 1).await;
        client.leave(way);
        gateway.count_reaches("tollgate_queued_requests{channel=\"main\"}", 0).await;
        let line = gateway.log.line().await;
        assert_eq!((&line["end"], &line["attempts"]), (&json!("client_closed"), &json!([])), "{way:?}");
        upstream.release();
        assert_eq!(running.answer().await.expect("an answer").status, 200, "{way:?}");
        assert_eq!(upstream.request_count(), 1, "{way:?}");
        gateway.log.lines(2).await;
        assert_eq!(gateway.count("tollgate_leases_open").await, 0, "{way:?}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_it_waits_for_the_head_lets_the_upstream_go() {
    for way in Way::ALL {
        let house = House::build(Speech::Chat).await;
        house.first.script(Selector::Any, vec![Fault::HoldFirstByte]);
        let client = Leaver::begin(way, house.gateway.addr(), Speech::Chat, 0).await;
        house.first.wait_for_holding(1).await;
        client.leave(way);
        house.first.wait_for_disconnects(1).await;
        house.check_left(&format!("{way:?}")).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_the_first_event_lets_the_upstream_go() {
    for way in Way::ALL {
        let house = House::build(Speech::Chat).await;
        house.first.script(Selector::Any, vec![Fault::HoldMidStream { after_events: 0 }]);
        let client = Leaver::begin(way, house.gateway.addr(), Speech::Chat, 0).await;
        house.first.wait_for_holding(1).await;
        client.leave(way);
        house.first.wait_for_disconnects(1).await;
        house.check_left(&format!("{way:?}")).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_mid_stream_lets_the_upstream_go() {
    for speech in [Speech::Chat, Speech::Messages] {
        for way in Way::ALL {
            let house = House::build(speech).await;
            house.first.script(Selector::Any, vec![Fault::HoldMidStream { after_events: 2 }]);
            let mut client = Leaver::begin(way, house.gateway.addr(), speech, 0).await;
            house.first.wait_for_holding(1).await;
            client.read_some().await;
            client.leave(way);
            house.first.wait_for_disconnects(1).await;
            let line = house.gateway.log.line().await;
            assert_eq!((&line["end"], &line["status"]), (&json!("client_closed"), &json!(200)), "{way:?}");
            assert_eq!(line["attempts"].as_array().map(Vec::len), Some(1), "{way:?}");
            assert_eq!(house.second.request_count(), 0, "{way:?}");
            assert_eq!(house.gateway.count("tollgate_leases_open").await, 0, "{way:?}");
            assert_eq!(house.gateway.count("tollgate_active_streams").await, 0, "{way:?}");
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_a_whole_answer_lets_the_upstream_go() {
    for map in ["", "model_map = { some-model = \"other\" }"] {
        for reset in [false, true] {
            let upstream = provider().await;
            let gateway = Gateway::start(&(channel("main", "openai", &upstream, map) + &key())).await;
            upstream.script(Selector::Any, vec![Fault::HoldMidStream { after_events: 1 }]);
            let mut client = Connection::open(gateway.addr()).await;
            client.send(&Speech::Chat.request(KEY, MODEL, false)).await;
            upstream.wait_for_holding(1).await;
            if reset {
                client.reset();
            } else {
                drop(client);
            }
            upstream.wait_for_disconnects(1).await;
            assert_eq!(gateway.log.line().await["end"], "client_closed", "{map} {reset}");
            assert_eq!(gateway.count("tollgate_leases_open").await, 0, "{map} {reset}");
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_between_attempts_ends_them() {
    // The first candidate fails only after the client has gone: nobody else is asked.
    for way in Way::ALL {
        let house = House::build(Speech::Chat).await;
        house.first.script(Selector::Any, vec![Fault::HoldFirstByte]);
        house.second.script(Selector::Any, vec![Fault::HoldFirstByte]);
        let client = Leaver::begin(way, house.gateway.addr(), Speech::Chat, 0).await;
        house.first.wait_for_holding(1).await;
        client.leave(way);
        assert_eq!(house.gateway.log.line().await["end"], "client_closed", "{way:?}");
        house.first.release();
        assert_eq!(house.second.request_count(), 0, "{way:?}");
        assert_eq!(house.gateway.log.line().await["attempts"].as_array().map(Vec::len), Some(1), "{way:?}");
    }
}

#[tokio::test]
async fn a_refused_client_reads_the_whole_answer_however_much_it_still_sends() {
    let upstream = provider().await;
    let gateway = Gateway::start(&(channel("main", "openai", &upstream, "") + &key())).await;
    let wrong = [("authorization", "Bearer sk-unknown-0123456789")];
    for size in [100 * 1024, 1024 * 1024, 8 * 1024 * 1024] {
        let body = vec![b'x'; size];
        for request in [
            client::request("POST", "/v1/chat/completions", &wrong, &body),
            client::chunked("/v1/chat/completions", &wrong, &body, 10_000),
            client::request("POST", "/v1/files", &wrong, &body),
        ] {
            let answer = client::once(gateway.addr(), &request).await;
            assert_eq!((answer.status, answer.ended), (401, Ended::Whole), "{size}");
            assert_eq!(answer.code(), "invalid_api_key", "{size}");
            if size > 256 * 1024 {
                assert_eq!(answer.header("connection"), Some("close"), "nobody reads all of that: {size}");
            }
        }
        let answer = client::post_h2(gateway.addr(), "/v1/chat/completions", &wrong, &body).await;
        assert_eq!((answer.status, answer.ended), (401, Ended::Whole), "{size}");
    }
    assert_eq!(upstream.request_count(), 0);
}

#[tokio::test]
async fn a_small_unread_body_leaves_the_connection_usable() {
    let upstream = provider().await;
    let gateway = Gateway::start(&(channel("main", "openai", &upstream, "") + &key())).await;
    let wrong = [("authorization", "Bearer sk-unknown-0123456789")];
    let mut connection = Connection::open(gateway.addr()).await;
    for size in [10, 100 * 1024, 256 * 1024] {
        let request = client::request("POST", "/v1/chat/completions", &wrong, &vec![b'x'; size]);
        // The answer comes before the body was sent.
        let (first, rest) = request.split_at(request.len() - size + 5);
        connection.send(first).await;
        assert_eq!(connection.answer().await.expect("an answer").status, 401, "{size}");
        connection.send(rest).await;
        connection.send(&Speech::Chat.request(KEY, MODEL, false)).await;
        let answer = connection.answer().await;
        assert_eq!(answer.map(|answer| answer.status), Some(200), "{size} {}", gateway.log.text());
    }
}

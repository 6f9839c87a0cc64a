//! The client leaves at any moment, in every way, whatever HTTP its provider speaks: the provider is let go at once,
//! nobody else is asked, and nobody is blamed.

use super::{Blackhole, House, Puppet, VERSIONS, begin_stream, channel_at, own_stream};
use crate::support::client::Connection;
use crate::support::leaver::{Leaver, Way};
use crate::support::speech::{MODEL, Speech};
use crate::support::{Gateway, KEY, channel, key, provider};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tollgate::world::{System, World as _};
use tollgate_loadtest::{Fault, Selector, Then};

/// How far an answer has got when its client leaves.
#[derive(Debug, Clone)]
struct Moment {
    fault: Fault,
    stream: bool,
    /// Whether the client has seen something of the answer.
    seen: bool,
    map: &'static str,
}

const MAP: &str = "model_map = { some-model = \"other\" }";

fn moments() -> Vec<Moment> {
    let moment = |fault, stream, seen| Moment { fault, stream, seen, map: "" };
    let silence = Fault::LeadThen { pings: 1, comments: 1, then: Then::Silence };
    vec![
        // Before the head, of a stream and of a whole.
        moment(Fault::Hang, true, false),
        moment(Fault::Hang, false, false),
        // Between the head and the first event.
        moment(Fault::HangAfterHead, true, false),
        moment(silence, true, false),
        moment(Fault::HoldMidStream { after_events: 2 }, true, true),
        moment(Fault::HoldMidStream { after_events: 1 }, false, false),
        Moment { map: MAP, ..moment(Fault::HoldMidStream { after_events: 2 }, true, true) },
        Moment { map: MAP, ..moment(Fault::HoldMidStream { after_events: 1 }, false, false) },
    ]
}

/// Every way once, on one gateway: four in a row, and three failures in a row would have made the channel rest.
async fn check(speech: Speech, moment: &Moment, version: &str) {
    let house = House::build(speech, &format!("{version}\n{}", moment.map)).await;
    let clock = System::start();
    for (at, way) in Way::ALL.into_iter().enumerate() {
        let context = format!("{speech:?} {moment:?} {version} {way:?}");
        house.first.script(Selector::Any, vec![moment.fault.clone()]);
        let body = speech.body(MODEL, moment.stream);
        let mut client = Leaver::ask(way, house.gateway.addr(), speech, moment.stream, &body).await;
        house.first.wait_for_holding(1).await;
        if moment.seen {
            client.read_some().await;
        }
        let left = clock.now();
        client.leave(way);
        house.first.wait_for_aborted(at + 1).await;
        let dropped = Duration::from_nanos(clock.now() - left);
        // What the same way there and back takes on this machine now: to be looked at, and to be seen by the test.
        let asked = clock.now();
        house.gateway.metrics().await;
        let busy = Duration::from_nanos(clock.now() - asked);
        assert!(dropped < DROPPED_WITHIN + busy * BUSY_ALLOWANCE, "{context}: {dropped:?}, {busy:?}");
        let line = house.check_left(at, &context).await;
        let status = if moment.seen || house.first.requests()[at].sent.status.is_some() && !moment.stream {
            // A whole is passed on as it comes, and only one that is held back has not begun.
            if moment.map.is_empty() || moment.stream { 200 } else { 499 }
        } else {
            499
        };
        assert_eq!(line["status"], status, "{context} {line}");
        if speech == Speech::Messages && moment.seen {
            // Its first event tells what was read.
            assert_eq!(
                (&line["usage_source"], &line["charged"]),
                (&json!("reported"), &json!(true)),
                "{line}"
            );
            assert_eq!(line["tokens"]["cache_read"], 10, "{context} {line}");
        }
    }
    check_health(speech, &house).await;
}

/// The streak is where it was: two failures more are still too few for a rest.
async fn check_health(speech: Speech, house: &House) {
    house.first.script(Selector::Any, vec![Fault::status(500), Fault::status(500)]);
    let before = house.first.request_count();
    for _ in 0..3 {
        assert_eq!(speech.ask(house.gateway.addr(), MODEL, false).await.status, 200);
    }
    assert_eq!((house.first.request_count() - before, house.second.request_count()), (3, 2));
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_http1_provider_with_it() {
    for moment in moments() {
        check(Speech::Chat, &moment, VERSIONS[0]).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_http2_provider_with_it() {
    for moment in moments() {
        check(Speech::Chat, &moment, VERSIONS[1]).await;
    }
}

#[tokio::test]
async fn what_a_stream_has_reported_until_its_client_left_is_booked() {
    let moment =
        Moment { fault: Fault::HoldMidStream { after_events: 2 }, stream: true, seen: true, map: "" };
    for speech in [Speech::Messages, Speech::Responses, Speech::Gemini] {
        for version in VERSIONS {
            check(speech, &moment, version).await;
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_its_request_goes_up_resets_it() {
    let house = House::build(Speech::Chat, VERSIONS[1]).await;
    for (at, way) in Way::ALL.into_iter().enumerate() {
        house.first.script(Selector::Any, vec![Fault::StopReading { after_bytes: 1000 }]);
        let client = Leaver::ask(way, house.gateway.addr(), Speech::Chat, true, &large_body()).await;
        house.first.wait_for_holding(1).await;
        client.leave(way);
        house.first.wait_for_disconnects(at + 1).await;
        house.check_left(at, &format!("{way:?}")).await;
        house.first.wait_for(|counts| counts.holding == 0).await;
    }
    check_health(Speech::Chat, &house).await;
}

/// It was told of the failure, and leaves because of it.
#[tokio::test]
async fn a_client_that_leaves_after_its_providers_own_error_leaves_a_failure() {
    for (speech, error) in [
        (Speech::Chat, "data: {\"error\":{\"message\":\"overloaded\"}}\n\n"),
        (
            Speech::Messages,
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"o\"}}\n\n",
        ),
    ] {
        for drain in ["", "on_client_abort = \"drain\""] {
            let (first, (said, _)) = (Puppet::new().await, own_stream(speech, 2).await);
            let gateway = Gateway::start(&(key() + &first.channel("first", speech, drain))).await;
            let mut client = Connection::open(gateway.addr()).await;
            client.send(&speech.request(KEY, MODEL, true)).await;
            let mut upstream = first.request().await;
            begin_stream(&mut upstream, &format!("{said}{error}")).await;
            assert_eq!(client.head().await.expect("a head").status, 200);
            client.chunks_until(error).await;
            drop(client);
            let line = gateway.log.line().await;
            let booked = (&line["end"], &line["code"]);
            assert_eq!(booked, (&json!("failed"), &json!("upstream_error")), "{speech:?} {drain} {line}");
        }
    }
}

/// What the kernel had taken in still arrives, and then the request ends in its middle: nobody begins with that.
#[tokio::test]
async fn a_client_that_leaves_while_its_request_goes_up_cuts_it() {
    for way in Way::ALL {
        let (first, second) = (Puppet::new().await, provider().await);
        let text = key()
            + &first.channel("first", Speech::Chat, "priority = 0")
            + &channel("second", "openai", &second, "priority = 1");
        let gateway = Gateway::start(&text).await;
        let body = large_body();
        let client = Leaver::ask(way, gateway.addr(), Speech::Chat, true, &body).await;
        let (mut upstream, _) = first.0.accept().await.expect("the gateway connects");
        let mut some = [0; 1000];
        upstream.read_exact(&mut some).await.expect("the beginning");
        client.leave(way);
        let line = gateway.log.line().await;
        assert_eq!((&line["end"], &line["code"]), (&json!("client_closed"), &Value::Null), "{way:?} {line}");
        assert_eq!(line["attempts"].as_array().map(Vec::len), Some(1), "{way:?} {line}");
        gateway.count_reaches("tollgate_leases_open", 0).await;
        gateway.count_reaches("tollgate_buffered_body_bytes", 0).await;
        let mut rest = Vec::new();
        drop(upstream.read_to_end(&mut rest).await);
        assert!(rest.len() < body.len() - some.len(), "{way:?}");
        assert_eq!(second.total_connections(), 0, "{way:?}");
    }
}

/// More than the kernels on the way take in.
fn large_body() -> String {
    let text = "x".repeat(24 * 1024 * 1024);
    format!(r#"{{"model":"{MODEL}","stream":true,"messages":[{{"role":"user","content":"{text}"}}]}}"#)
}

#[tokio::test]
async fn a_client_that_leaves_while_its_provider_is_being_connected_to_ends_the_attempt() {
    for version in VERSIONS {
        let (hole, second) = (Blackhole::new().await, provider().await);
        let text = key()
            + &channel_at(
                "first",
                Speech::Chat,
                &format!("http://{}", hole.addr()),
                &format!("priority = 0\nconnect_timeout = \"600s\"\n{version}"),
            )
            + &channel("second", "openai", &second, "priority = 1");
        let gateway = Gateway::start(&text).await;
        for (at, way) in Way::ALL.into_iter().enumerate() {
            let client = Leaver::begin(way, gateway.addr(), Speech::Chat, 0).await;
            while hole.connecting() == 0 {
                tokio::task::yield_now().await;
            }
            client.leave(way);
            let line = gateway.log.lines(at + 1).await.remove(at);
            assert_eq!((&line["end"], &line["status"]), (&json!("client_closed"), &json!(499)), "{line}");
            assert_eq!(line["attempts"].as_array().map(Vec::len), Some(1), "{version} {way:?}");
            assert_eq!(hole.connecting(), 0, "{version} {way:?}");
            assert_eq!(second.total_connections(), 0, "{version} {way:?}");
            gateway.count_reaches("tollgate_leases_open", 0).await;
        }
    }
}

/// The failure and the leaving are seen at the same moment: nobody is asked for a client that is not there.
#[tokio::test]
async fn a_failure_that_meets_a_client_that_has_left_leads_to_no_other_attempt() {
    for way in [Way::Fin, Way::Rst] {
        let (first, second) = (Puppet::new().await, provider().await);
        let text = key()
            + &first.channel("first", Speech::Chat, "priority = 0")
            + &channel("second", "openai", &second, "priority = 1");
        let gateway = Gateway::start(&text).await;
        // A connection to the second is kept, so that a request there would not take a moment.
        let warming = tokio::spawn(async move {
            super::answer(&mut first.request().await, 500, "{}").await;
            first
        });
        assert_eq!(Speech::Chat.ask(gateway.addr(), MODEL, true).await.status, 200);
        let first = warming.await.expect("it answered");
        assert_eq!(second.request_count(), 1);

        let client = Leaver::begin(way, gateway.addr(), Speech::Chat, 0).await;
        let upstream = first.request().await;
        // Nothing else runs between these two.
        client.leave(way);
        let said = upstream.try_write(b"HTTP/1.1 500 Error\r\ncontent-length: 0\r\n\r\n");
        assert!(said.is_ok_and(|said| said > 0));
        let line = gateway.log.lines(2).await.remove(1);
        assert_eq!((&line["end"], &line["code"]), (&json!("client_closed"), &Value::Null), "{way:?} {line}");
        assert_eq!(line["attempts"].as_array().map(Vec::len), Some(1), "{way:?} {line}");
        assert_eq!(second.request_count(), 1, "{way:?}");
    }
}

#[tokio::test]
async fn a_client_that_reads_nothing_and_leaves_is_noticed() {
    for version in VERSIONS {
        let house = House::build(Speech::Chat, version).await;
        for (at, way) in Way::ALL.into_iter().enumerate() {
            house.first.script(Selector::Any, vec![Fault::BigEvent { bytes: 32 * 1024 * 1024 }]);
            let mut client = Leaver::begin(way, house.gateway.addr(), Speech::Chat, 0).await;
            if let Leaver::H1(connection) = &mut client {
                assert_eq!(connection.head().await.expect("a head").status, 200);
            } else {
                house.first.wait_for_requests(at + 1).await;
            }
            client.leave(way);
            house.first.wait_for_aborted(at + 1).await;
            house.check_left(at, &format!("{version} {way:?}")).await;
        }
    }
}

/// What is promised, of each way to leave.
const DROPPED_WITHIN: Duration = Duration::from_millis(250);
/// So many times what a request to the same process takes meanwhile: a few milliseconds, unless the machine is busy.
const BUSY_ALLOWANCE: u32 = 10;

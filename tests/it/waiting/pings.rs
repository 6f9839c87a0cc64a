//! A stream that is silent is kept alive, between two events and in the words of its dialect.

use super::{Puppet, VERSIONS, after_pings, begin_stream, error_event, gateway, own_stream, ping};
use crate::support::client::Ended;
use crate::support::speech::{MODEL, Speech};
use crate::support::{Gateway, key, provider};
use std::time::Duration;
use tollgate_loadtest::{Fault, Options, Provider, Selector};

const FAST: &str = "ping_interval = \"50ms\"";

async fn ask(speech: Speech, gateway: &Gateway, h2: bool) -> crate::support::client::Answer {
    if h2 {
        speech.ask_h2(gateway.addr(), MODEL, true).await
    } else {
        speech.ask(gateway.addr(), MODEL, true).await
    }
}

#[tokio::test]
async fn silence_between_two_events_is_filled_with_pings_and_nothing_else_changes() {
    for speech in Speech::ALL {
        let (said, rest) = own_stream(speech, 2).await;
        for version in VERSIONS {
            let upstream = provider().await;
            let gateway = gateway(speech, &upstream, &format!("{FAST}\n{version}")).await;
            upstream.script(Selector::Any, vec![Fault::HoldMidStream { after_events: 2 }]);
            let mut client = crate::support::client::Connection::open(gateway.addr()).await;
            client.send(&speech.request(crate::support::KEY, MODEL, true)).await;
            assert_eq!(client.head().await.expect("a head").status, 200);
            let wanted = format!("{said}{0}{0}", ping(speech));
            let mut seen = String::new();
            while seen.len() < wanted.len() {
                seen += &String::from_utf8_lossy(&client.chunk().await.expect("no cut"));
            }
            upstream.release();
            while let Some(chunk) = client.chunk().await.filter(|chunk| !chunk.is_empty()) {
                seen += &String::from_utf8_lossy(&chunk);
            }
            let context = format!("{speech:?} {version} {seen}");
            let (pings, left) = after_pings(speech, seen.strip_prefix(&said).expect(&context));
            assert!(pings >= 2, "{context}");
            assert_eq!(left, rest, "{context}");
            let line = gateway.log.line().await;
            assert_eq!((&line["end"], &line["tokens"]["output"]), (&"ok".into(), &17.into()), "{context}");
        }
    }
}

/// Pings are ours: the provider's silence goes on, and ends the stream in time.
#[tokio::test]
async fn a_ping_does_not_put_off_the_idle_timeout() {
    for speech in Speech::ALL {
        let (said, _) = own_stream(speech, 2).await;
        for h2 in [false, true] {
            let upstream = provider().await;
            let gateway = gateway(speech, &upstream, &format!("{FAST}\nidle_timeout = \"500ms\"")).await;
            upstream.script(Selector::Any, vec![Fault::HoldMidStream { after_events: 2 }]);
            let answer = ask(speech, &gateway, h2).await;
            let (text, context) = (answer.text(), format!("{speech:?} h2={h2}"));
            let (pings, event) = after_pings(speech, text.strip_prefix(&said).expect(&context));
            // Nine fit into the time; a busy machine may be late with some.
            assert!((1..=9).contains(&pings), "{context} {pings}");
            assert_eq!(error_event(speech, event, &context), "stream_idle_timeout", "{context}");
            assert_eq!(answer.ended, Ended::Whole, "{context}");
            upstream.wait_for_aborted(1).await;
        }
    }
}

/// Where a ping would stand inside an event there is none, whatever part of the event has come.
#[tokio::test]
async fn a_stream_that_is_silent_inside_an_event_gets_no_ping() {
    let whole = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    for part in [
        "data: {\"cho",
        "data: {\"choices\":[]}",
        "data: {\"choices\":[]}\n",
        "da",
        ": com",
        ": comment\n",
        "id: 1\r\n",
    ] {
        let puppet = Puppet::new().await;
        let more = format!("{FAST}\nidle_timeout = \"300ms\"");
        let gateway = Gateway::start(&(puppet.channel("main", Speech::Chat, &more) + &key())).await;
        let asking = tokio::spawn(async move { (ask(Speech::Chat, &gateway, false).await, gateway) });
        let mut upstream = puppet.request().await;
        begin_stream(&mut upstream, &format!("{whole}{part}")).await;
        let (answer, _gateway) = asking.await.expect("an answer");
        let text = answer.text();
        let rest = text.strip_prefix(whole).and_then(|rest| rest.strip_prefix(part));
        let event =
            rest.and_then(|rest| rest.strip_prefix("\n\n")).unwrap_or_else(|| panic!("{part:?} {text}"));
        assert_eq!(error_event(Speech::Chat, event, part), "stream_idle_timeout", "{text}");
    }
}

/// An event that is held back until it is whole has not begun for the client: there a ping may stand.
#[tokio::test]
async fn an_event_that_is_held_back_leaves_room_for_pings() {
    let whole = "data: {\"model\":\"some-model\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    let puppet = Puppet::new().await;
    let more = format!("{FAST}\nidle_timeout = \"300ms\"\nmodel_map = {{ some-model = \"some-model-2\" }}");
    let gateway = Gateway::start(&(puppet.channel("main", Speech::Chat, &more) + &key())).await;
    let asking = tokio::spawn(async move { (ask(Speech::Chat, &gateway, false).await, gateway) });
    let mut upstream = puppet.request().await;
    begin_stream(&mut upstream, &format!("{whole}data: {{\"mod")).await;
    let text = asking.await.expect("an answer").0.text();
    let (pings, _) = after_pings(Speech::Chat, text.strip_prefix(whole).expect("the first event"));
    assert!(pings >= 1, "{text}");
}

#[tokio::test]
async fn a_stream_that_speaks_in_time_gets_no_ping() {
    for speech in [Speech::Chat, Speech::Gemini] {
        // Longer in all than the interval, and never silent for as long.
        let options = Options { pace: Duration::from_millis(20), chunks: 60, ..Options::default() };
        let upstream = Provider::start(options).await.expect("a port");
        let gateway = gateway(speech, &upstream, "ping_interval = \"800ms\"").await;
        let answer = ask(speech, &gateway, false).await;
        let own = ask_directly(speech, &upstream).await;
        assert_eq!((answer.status, answer.text()), (200, own), "{speech:?}");
    }
}

async fn ask_directly(speech: Speech, upstream: &Provider) -> String {
    let request = speech.request("sk-direct", MODEL, true);
    crate::support::client::once(upstream.addr(), &request).await.text()
}

#[tokio::test]
async fn without_an_interval_and_without_asking_for_more_nothing_is_added() {
    for speech in Speech::ALL {
        let (said, _) = own_stream(speech, 2).await;
        // Off.
        let upstream = provider().await;
        let gateway_off =
            gateway(speech, &upstream, "ping_interval = \"0s\"\nidle_timeout = \"300ms\"").await;
        upstream.script(Selector::Any, vec![Fault::HoldMidStream { after_events: 2 }]);
        let text = ask(speech, &gateway_off, false).await.text();
        let event = text.strip_prefix(&said).expect("its beginning");
        assert_eq!(error_event(speech, event, "off"), "stream_idle_timeout", "{speech:?}");
        // Before the first event there is none unless it is asked for.
        for fault in [Fault::Hang, Fault::HangAfterHead] {
            upstream.clear_scripts();
            upstream.script(Selector::Any, vec![fault]);
            let more = format!("{FAST}\nfirst_byte_timeout = \"300ms\"");
            let gateway = gateway(speech, &upstream, &more).await;
            let answer = ask(speech, &gateway, false).await;
            assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"), "{speech:?}");
        }
    }
}

#[tokio::test]
async fn nothing_is_added_after_the_end() {
    for speech in Speech::ALL {
        let own = own_stream(speech, 100).await.0;
        let upstream = provider().await;
        let gateway = gateway(speech, &upstream, &format!("{FAST}\nidle_timeout = \"300ms\"")).await;
        upstream.script(Selector::Any, vec![Fault::HangAfterTerminal]);
        assert_eq!(ask(speech, &gateway, false).await.text(), own, "{speech:?}");
        assert_eq!(gateway.log.line().await["end"], "ok", "{speech:?}");
    }
}

/// The provider's own error was its last word, too.
#[tokio::test]
async fn nothing_is_added_after_the_providers_own_error() {
    let events =
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"error\":{\"message\":\"b\"}}\n\n";
    let puppet = Puppet::new().await;
    let more = format!("{FAST}\nidle_timeout = \"300ms\"");
    let gateway = Gateway::start(&(puppet.channel("main", Speech::Chat, &more) + &key())).await;
    let asking = tokio::spawn(async move { (ask(Speech::Chat, &gateway, false).await, gateway) });
    let mut upstream = puppet.request().await;
    begin_stream(&mut upstream, events).await;
    let (answer, gateway) = asking.await.expect("an answer");
    assert_eq!((answer.ended, answer.text().as_str()), (Ended::Whole, events));
    assert_eq!(gateway.log.line().await["end"], "failed");
}

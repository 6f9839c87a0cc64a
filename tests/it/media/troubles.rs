//! What is refused, what fails over, and what an answer that breaks looks like.

use super::*;
use crate::support::ask::key_named;
use tollgate_loadtest::Cut;

#[tokio::test]
async fn what_may_not_come_in_is_refused_before_anything_is_sent() {
    let upstream = provider().await;
    let more = "models = [\"some-model\", \"whisper-*\"]\nstream = false\nbody_bytes = \"64KiB\"";
    let text = channel("main", "openai", &upstream, "") + &key() + more;
    let gateway = Gateway::start(&text).await;
    let form = Asked::form("/v1/audio/transcriptions", &[], 100);
    let without_model = |asked: &Asked| {
        let body = String::from_utf8_lossy(&asked.of("m")).replace("\"model\"\r\n\r\nm", "\"x\"\r\n\r\nm");
        Asked { body: body.into_bytes(), ..asked.clone() }
    };
    let raw = |asked: &Asked, content_type: &'static str, model: &str| {
        let body = asked.of(model);
        Asked { content_type: ("content-type", content_type), body, ..asked.clone() }
    };
    for (asked, status, code, param) in [
        (without_model(&form), 400, "invalid_request", Some("model")),
        (Asked::json("/v1/images/generations", r#"{"prompt":"$"}"#), 400, "invalid_request", Some("model")),
        (Asked::json("/v1/moderations", r#"{"input":"$"}"#), 400, "invalid_request", Some("model")),
        (Asked::form("/v1/audio/translations", &[("model", "a")], 9), 400, "invalid_request", Some("model")),
        (raw(&form, "application/json", MODEL), 400, "invalid_request", None),
        (raw(&form, "multipart/form-data", MODEL), 400, "invalid_request", None),
        (raw(&form, "multipart/form-data; boundary=other", MODEL), 400, "invalid_request", None),
        (raw(&form, FORM.1, "gpt-9"), 403, "model_not_allowed", Some("model")),
        (raw(&streams()[3], FORM.1, MODEL), 403, "stream_not_allowed", Some("stream")),
        (raw(&streams()[2], JSON.1, MODEL), 403, "stream_not_allowed", Some("stream")),
        (raw(&Asked::form("/v1/images/edits", &[], 70_000), FORM.1, MODEL), 413, "body_too_large", None),
    ] {
        let answer = client::post(gateway.addr(), asked.path, &asked.headers(), &asked.body).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{}: {}",
            asked.path,
            answer.text()
        );
        assert_eq!(answer.json()["error"]["param"].as_str(), param, "{}", answer.text());
    }
    assert_eq!(upstream.request_count(), 0);
    let get =
        client::once(gateway.addr(), &client::request("GET", "/v1/images/generations", &[BEARER], b"")).await;
    assert_eq!((get.status, get.code().as_str()), (405, "method_not_allowed"));
}

#[tokio::test]
async fn the_providers_word_about_a_form_is_the_clients_to_see() {
    let upstream = provider().await;
    let gateway = gateway(&upstream, "").await;
    let no_prompt = Asked::form("/v1/images/edits", &[], 100);
    let answer = no_prompt.ask(gateway.addr(), MODEL).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("Missing required parameter: 'prompt'"), "{}", answer.text());
}

#[tokio::test]
async fn sound_is_asked_for_again_and_a_picture_only_where_none_can_have_begun() {
    let (picture, speech) = (&wholes()[3], &wholes()[7]);
    let (edit, transcript) = (&wholes()[5], &wholes()[8]);
    for (asked, fault, answered) in [
        (picture, Fault::status(429), true),
        (picture, Fault::status(503), true),
        (picture, Fault::Reset, false),
        (picture, Fault::status(500), false),
        (edit, Fault::status(401), true),
        (edit, Fault::Reset, false),
        (&streams()[0], Fault::StreamErrorFirst, false),
        (speech, Fault::Reset, true),
        (speech, Fault::status(500), true),
        (transcript, Fault::Reset, true),
        (transcript, Fault::Hang, true),
        (&streams()[3], Fault::StreamErrorFirst, true),
        (&wholes()[0], Fault::Reset, true),
        (&wholes()[1], Fault::status(500), true),
    ] {
        let (one, other) = (provider().await, provider().await);
        one.script(Selector::Any, vec![fault.clone()]);
        // Only what hangs needs a short wait.
        let patience = if fault == Fault::Hang { "response_timeout = \"150ms\"" } else { "" };
        let text = channel("one", "openai", &one, &format!("priority = 0\n{patience}"))
            + &channel("other", "openai", &other, "priority = 1")
            + &key();
        let gateway = Gateway::start(&text).await;
        let answer = asked.ask(gateway.addr(), MODEL).await;
        let context = format!("{} {fault:?}: {}", asked.path, answer.text());
        assert_eq!(
            (answer.status == 200, other.request_count()),
            (answered, usize::from(answered)),
            "{context}"
        );
        if answered {
            assert!(other.requests().remove(0).body == asked.of(MODEL), "{context}");
        }
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_last_word_or_with_an_error() {
    let dropped = [Fault::ResetAfterTerminal, Fault::AfterTerminal("data: late\n\n".to_owned())];
    for asked in streams() {
        let own = said(&asked, MODEL, Fault::None).await.text();
        let is_picture = asked.path.contains("images");
        for fault in
            [Fault::LeadingComments, Fault::SplitEveryByte, Fault::CloseAfterAnswer].iter().chain(&dropped)
        {
            // More pictures may follow one that is complete.
            let late = is_picture && matches!(fault, Fault::AfterTerminal(_));
            let comments = *fault == Fault::LeadingComments;
            let answer = broken(&asked, fault.clone()).await.0;
            assert_eq!((answer.status, answer.ended), (200, Ended::Whole), "{} {fault:?}", asked.path);
            let expected = if late { format!("{own}data: late\n\n") } else { own.clone() };
            assert!(
                if comments { answer.text().ends_with(&own) } else { answer.text() == expected },
                "{} {fault:?}",
                asked.path
            );
        }
        for (fault, end) in [
            (Fault::Cut { after_events: 1, how: Cut::Fin }, "stream_truncated"),
            (Fault::Cut { after_events: 1, how: Cut::CleanEndWithoutTerminal }, "stream_truncated"),
            (Fault::HoldMidStream { after_events: 1 }, "stream_idle_timeout"),
        ] {
            let (answer, line) = broken(&asked, fault.clone()).await;
            let first = own.split_inclusive("\n\n").next().expect("an event");
            let rest = answer.text().strip_prefix(first).expect("what came").to_owned();
            let error: Value =
                serde_json::from_str(rest.trim().trim_start_matches("data: ")).expect("one event");
            assert_eq!(error["error"]["code"], end, "{} {fault:?}", asked.path);
            assert_eq!((&line["end"], &line["charged"]), (&json!(end), &json!(true)), "{line}");
        }
    }
}

/// The answer of an upstream with this fault, and its line.
async fn broken(asked: &Asked, fault: Fault) -> (Answer, Value) {
    let upstream = provider().await;
    let holds = matches!(fault, Fault::HoldMidStream { .. });
    upstream.script(Selector::Any, vec![fault]);
    let gateway = gateway(&upstream, if holds { "idle_timeout = \"300ms\"" } else { "" }).await;
    let answer = asked.ask(gateway.addr(), MODEL).await;
    (answer, gateway.log.line().await)
}

#[tokio::test]
async fn a_whole_that_breaks_off_never_looks_finished() {
    for asked in [&wholes()[3], &wholes()[5], &wholes()[7], &wholes()[8]] {
        let (answer, line) = broken(asked, Fault::CutBody { after_bytes: 20 }).await;
        assert_eq!((answer.status, answer.ended, answer.body.len()), (200, Ended::Cut, 20), "{}", asked.path);
        assert_eq!((&line["end"], &line["charged"]), (&json!("stream_truncated"), &json!(true)), "{line}");
    }
}

#[tokio::test]
async fn a_channel_of_another_protocol_is_not_asked() {
    let upstream = provider().await;
    let gateway =
        Gateway::start(&(channel("main", "anthropic", &upstream, "") + &key_named("alice", KEY, ""))).await;
    let answer = wholes()[8].ask(gateway.addr(), MODEL).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "untranslatable_request"));
    assert_eq!(upstream.request_count(), 0);
}

//! Laws of the codecs, held for whatever the neutral model can say and for broken bytes.

use super::fixture::{CREATED, Case, ID};
use super::model;
use bytes::BytesMut;
use proptest::prelude::*;
use tollgate::translate::unified::{Answer, Request};
use tollgate::translate::{
    self, Aggregate, Asked, Back, Client, Decoder, Encoder, Ending, Fault, Protocol, Target, events,
};

fn cases() -> ProptestConfig {
    ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() }
}

fn written_and_read(request: &Request<'_>, protocol: Protocol) -> Result<(), TestCaseError> {
    let model = model::model(protocol);
    let target = Target { protocol, model, stream: request.stream, max_tokens: None, include_usage: true };
    let outgoing = translate::outgoing(request, &target, ID).expect("it can be written");
    let asked = Asked { model, stream: request.stream };
    let mut back = translate::request(protocol, &outgoing.body, &asked).expect("it can be read");
    back.echo.clear();
    prop_assert_eq!(&back, request, "{}", String::from_utf8_lossy(&outgoing.body));
    prop_assert_eq!(back.losses.list(), &[]);
    prop_assert_eq!(outgoing.losses, &[]);
    let again = translate::outgoing(request, &target, ID).expect("it can be written");
    prop_assert_eq!(again.body, outgoing.body, "the same request gives the same bytes");
    Ok(())
}

fn named(answer: Answer<'_>) -> Answer<'_> {
    Answer { id: ID.into(), model: "fast".into(), ..answer }
}

fn answered_and_read(answer: &Answer<'_>, protocol: Protocol) -> Result<(), TestCaseError> {
    let client = client(protocol);
    let (body, losses) = translate::answer_body(answer, &client);
    let back = translate::answer(protocol, &body, &Back::default()).expect("it can be read");
    prop_assert_eq!(&named(back), answer, "{}", String::from_utf8_lossy(&body));
    prop_assert_eq!(losses, &[]);
    let (mut encoder, mut out) = (Encoder::new(&client), BytesMut::new());
    events(answer, &mut |event| encoder.event(&event, &mut out));
    let (mut decoder, mut aggregate) = (Decoder::new(protocol, &Back::default()), Aggregate::default());
    decoder.feed(&out, &mut |event| aggregate.event(event));
    prop_assert_eq!(decoder.finish(&mut |event| aggregate.event(event)), Ending::Whole);
    let streamed = named(aggregate.finish().expect("no error"));
    prop_assert_eq!(&streamed, answer, "{}", String::from_utf8_lossy(&out));
    Ok(())
}

fn client(protocol: Protocol) -> Client {
    let mut request = Request::new(protocol);
    request.model = "fast".into();
    request.stream_usage = true;
    Client::of(&request, ID, CREATED)
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_chat_request_written_and_read_is_the_same(request in model::request(Protocol::Chat)) {
        written_and_read(&request, Protocol::Chat)?;
    }

    #[test]
    fn a_responses_request_written_and_read_is_the_same(request in model::request(Protocol::Responses)) {
        written_and_read(&request, Protocol::Responses)?;
    }

    #[test]
    fn an_anthropic_request_written_and_read_is_the_same(request in model::request(Protocol::Anthropic)) {
        written_and_read(&request, Protocol::Anthropic)?;
    }

    #[test]
    fn a_gemini_request_written_and_read_is_the_same(request in model::request(Protocol::Gemini)) {
        written_and_read(&request, Protocol::Gemini)?;
    }

    #[test]
    fn a_chat_answer_whole_and_streamed_is_the_same(answer in model::answer(Protocol::Chat)) {
        answered_and_read(&answer, Protocol::Chat)?;
    }

    #[test]
    fn a_responses_answer_whole_and_streamed_is_the_same(answer in model::answer(Protocol::Responses)) {
        answered_and_read(&answer, Protocol::Responses)?;
    }

    #[test]
    fn an_anthropic_answer_whole_and_streamed_is_the_same(answer in model::answer(Protocol::Anthropic)) {
        answered_and_read(&answer, Protocol::Anthropic)?;
    }

    #[test]
    fn a_gemini_answer_whole_and_streamed_is_the_same(answer in model::answer(Protocol::Gemini)) {
        answered_and_read(&answer, Protocol::Gemini)?;
    }

    #[test]
    fn a_request_of_any_protocol_can_be_written_for_any_other(
        chat in model::request(Protocol::Chat),
        anthropic in model::request(Protocol::Anthropic),
        gemini in model::request(Protocol::Gemini),
        responses in model::request(Protocol::Responses),
    ) {
        for request in [&chat, &anthropic, &gemini, &responses] {
            for protocol in Protocol::ALL {
                let model = model::model(protocol);
                let target = Target { protocol, model, stream: false, max_tokens: None, include_usage: true };
                match translate::outgoing(request, &target, ID) {
                    Ok(outgoing) => {
                        let asked = Asked { model, stream: false };
                        let back = translate::request(protocol, &outgoing.body, &asked);
                        prop_assert!(back.is_ok(), "{}", String::from_utf8_lossy(&outgoing.body));
                    }
                    Err(refusal) => prop_assert!(refusal.param.is_some()),
                }
            }
        }
    }
}

/// Every file of the cases with bytes changed, cut out and doubled.
fn broken(body: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for at in (0..body.len()).step_by(11) {
        all.push(body[..at].to_vec());
        let mut changed = body.to_vec();
        changed[at] = b"{}[]\",:0n\\"[at % 10];
        all.push(changed);
        let mut doubled = body.to_vec();
        doubled.splice(at..at, body[at..body.len().min(at + 20)].iter().copied());
        all.push(doubled);
    }
    all
}

#[test]
fn broken_bodies_are_refused_or_read_and_never_panic() {
    for case in Case::all() {
        for body in case.read("request.json").iter().flat_map(|body| broken(body)) {
            for protocol in Protocol::ALL {
                if let Ok(request) = translate::request(protocol, &body, &case.asked()) {
                    for target in Protocol::ALL {
                        let outgoing = case.outgoing(&request, target);
                        if let Ok(outgoing) = outgoing {
                            let valid = serde_json::from_slice::<serde::de::IgnoredAny>(&outgoing.body);
                            assert!(valid.is_ok(), "{}", String::from_utf8_lossy(&outgoing.body));
                        }
                    }
                }
            }
        }
        for body in case.read("response.json").iter().flat_map(|body| broken(body)) {
            for protocol in Protocol::ALL {
                if let Ok(answer) = translate::answer(protocol, &body, &Back::default()) {
                    for other in Protocol::ALL {
                        let (body, _) = translate::answer_body(&answer, &client(other));
                        assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok());
                    }
                }
                assert_ne!(Fault::read(0, &body).status, 0);
            }
        }
    }
}

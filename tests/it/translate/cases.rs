//! Every folder's request, answer, stream and error in each other protocol.

use super::fixture::{Case, expect, pretty};
use bytes::BytesMut;
use serde_json::Value;
use tollgate::translate::{self, Fault, Loss, Translator};

#[test]
fn every_request_becomes_what_is_expected_in_each_other_protocol() {
    let (mut wrong, mut forms) = (Vec::new(), 0);
    for case in Case::all() {
        let Some(body) = case.read("request.json") else { continue };
        let request = translate::request(case.protocol, &body, &case.asked())
            .unwrap_or_else(|refusal| panic!("{}: {}", case.name(), refusal.message));
        for target in case.others() {
            let (file, text) = match case.outgoing(&request, target) {
                Ok(outgoing) => {
                    let text = pretty(&outgoing.body) + &listed(&outgoing.losses);
                    (format!("request.{}.json", target.word()), text)
                }
                Err(refusal) => (
                    format!("request.{}.json", target.word()),
                    format!("// refused ({}): {}\n", refusal.param.unwrap_or("-"), refusal.message),
                ),
            };
            expect(&case, &file, &text, &mut wrong);
            forms += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(forms >= 600, "{forms} forms of requests");
}

#[test]
fn every_answer_becomes_what_is_expected_in_each_other_protocol() {
    let (mut wrong, mut forms) = (Vec::new(), 0);
    for case in Case::all() {
        let Some(body) = case.read("response.json") else { continue };
        for other in case.others() {
            let (client, back) = case.asker(other);
            let text = match translate::answer(case.protocol, &body, &back) {
                Ok(answer) => {
                    let (body, losses) = translate::answer_body(&answer, &client);
                    pretty(&body) + &listed(&losses)
                }
                Err(fault) => pretty(&fault.body(other, super::fixture::ID)) + &status(&fault, other),
            };
            expect(&case, &format!("response.{}.json", other.word()), &text, &mut wrong);
            forms += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(forms >= 200, "{forms} forms of answers");
}

#[test]
fn every_stream_becomes_what_is_expected_in_each_other_protocol() {
    let (mut wrong, mut forms) = (Vec::new(), 0);
    for case in Case::all() {
        let Some(body) = case.read("stream.sse") else { continue };
        for other in case.others() {
            let (client, back) = case.asker(other);
            let mut translator = Translator::new(case.protocol, &back, &client);
            let mut out = BytesMut::new();
            translator.feed(&body, &mut out);
            let ending = translator.finish(&mut out);
            let mut text = String::from_utf8(out.to_vec()).expect("UTF-8");
            text += &listed(translator.losses());
            text += &format!("// {ending:?}\n");
            expect(&case, &format!("stream.{}.sse", other.word()), &text, &mut wrong);
            forms += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(forms >= 250, "{forms} forms of streams");
}

#[test]
fn every_error_becomes_what_is_expected_in_each_other_protocol() {
    let (mut wrong, mut forms) = (Vec::new(), 0);
    for case in Case::all() {
        let Some(file) = case.read("error.json") else { continue };
        let file: Value = serde_json::from_slice(&file).expect("JSON");
        let code = u16::try_from(file["status"].as_u64().expect("a status")).expect("of 16 bits");
        let body = file["body"].as_str().map_or_else(|| file["body"].to_string(), str::to_owned);
        let fault = Fault::read(code, body.as_bytes());
        for other in case.others() {
            let text = pretty(&fault.body(other, super::fixture::ID)) + &status(&fault, other);
            expect(&case, &format!("error.{}.json", other.word()), &text, &mut wrong);
            forms += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(forms >= 120, "{forms} forms of errors");
}

fn listed(losses: &[Loss]) -> String {
    let line = |loss: &Loss| format!("// {} {}: {}\n", loss.what.word(), loss.field, loss.why);
    losses.iter().map(line).collect::<Vec<_>>().concat()
}

fn status(fault: &Fault<'_>, client: translate::Protocol) -> String {
    format!("// status {}\n", fault.client_status(client))
}

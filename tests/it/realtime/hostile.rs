//! Clients that break the protocol, and such that take nothing: told what was wrong where it can be said, at nobody else's cost.

use super::{closed, gateway, heard, open};
use crate::support::provider;
use crate::support::socket::Said;
use serde_json::json;
use tollgate::protocol::websocket::Opcode;

#[tokio::test]
async fn frames_against_the_rules_end_the_session_with_the_code_for_it() {
    let upstream = provider().await;
    let gateway = gateway(&upstream, "").await;
    let cases: &[(&str, &[u8], u16)] = &[
        ("unmasked", &[0x81, 2, b'{', b'}'], 1002),
        ("a reserved bit", &[0xc1, 0x80, 0, 0, 0, 0], 1002),
        ("a reserved opcode", &[0x83, 0x80, 0, 0, 0, 0], 1002),
        ("a control frame that is too long", &[0x89, 0xfe, 0, 126], 1002),
        ("a control frame in fragments", &[0x09, 0x80, 0, 0, 0, 0], 1002),
        ("more of nothing", &[0x80, 0x80, 0, 0, 0, 0], 1002),
        ("a new message within another", &[0x01, 0x80, 0, 0, 0, 0, 0x81, 0x80, 0, 0, 0, 0], 1002),
        ("a length in too many bytes", &[0x81, 0xfe, 0, 5, 0, 0, 0, 0], 1002),
        ("a length without end", &[0x82, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1002),
        ("a message that is too long", &[0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], 1009),
        ("half a close code", &[0x88, 0x81, 0, 0, 0, 0, 3], 1002),
        ("a close code that may not be sent", &[0x88, 0x82, 0, 0, 0, 0, 3, 0xed], 1002),
    ];
    for (at, (what, bytes, code)) in cases.iter().enumerate() {
        let mut socket = open(&gateway).await;
        socket.bytes(bytes).await;
        let said = socket.rest().await;
        assert_eq!(closed(&said).0, *code, "{what}: {said:?}");
        let line = gateway.log.lines(at + 1).await.remove(at);
        assert_eq!(
            (&line["end"], &line["code"]),
            (&json!("refused"), &json!("invalid_request")),
            "{what} {line}"
        );
        assert_eq!(line["channel"], "main", "{what}");
    }
    upstream.wait_for_all_settled().await;
    assert!(upstream.requests().iter().all(|request| request.body.is_empty()), "nothing of it went up");
    assert_eq!(gateway.count("tollgate_leases_open").await, 0);
    assert_eq!(
        gateway.count("tollgate_channel_up{channel=\"main\"}").await,
        1,
        "it was not the channel's fault"
    );
}

/// Whatever is sent in one-byte pieces is the same.
#[tokio::test]
async fn frames_in_any_pieces_and_fragments_are_understood() {
    let upstream = provider().await;
    let gateway = gateway(&upstream, "").await;
    let mut socket = open(&gateway).await;
    let event = json!({ "type": "response.create", "response": { "instructions": "plain" } }).to_string();
    let (first, rest) = event.as_bytes().split_at(9);
    let mut bytes = Vec::new();
    for (at, piece) in [first, b"", rest].into_iter().enumerate() {
        let mut frame = Vec::new();
        tollgate::protocol::websocket::write_frame(Opcode::Text, piece, Some([5, 6, 7, 8]), &mut frame);
        frame[0] = [0x01, 0x00, 0x80][at];
        bytes.extend(frame);
        tollgate::protocol::websocket::write_frame(
            Opcode::Ping,
            &[b'p', b'0' + u8::try_from(at).expect("a digit")],
            Some([9; 4]),
            &mut bytes,
        );
    }
    for byte in bytes {
        socket.bytes(&[byte]).await;
    }
    let mut said = Vec::new();
    while said.len() < 6 {
        said.push(socket.next().await);
    }
    let pongs = said.iter().filter(|said| matches!(said, Said::Pong(payload) if payload[0] == b'p')).count();
    assert_eq!(pongs, 3, "{said:?}");
    assert_eq!(heard(&upstream)[0].to_string(), event);
    socket.close().await;
}

#[tokio::test]
async fn what_is_no_json_or_says_something_twice_goes_no_further_where_it_would_be_read() {
    let upstream = provider().await;
    let gateway = gateway(&upstream, "").await;
    let mut socket = open(&gateway).await;
    for text in [
        r#"{"type":"session.update","session":{"model":"a","model":"b"}}"#,
        r#"{"type":"session.update","session":{},"session":{}}"#,
        r#"{"session":{},"#,
    ] {
        socket.frame(Opcode::Text, text.as_bytes()).await;
        let error = socket.event().await;
        assert_eq!(error["error"]["code"], "invalid_request", "{text}");
    }
    assert!(heard(&upstream).is_empty());
    // What nobody here reads is the provider's to judge.
    socket.frame(Opcode::Text, b"no json").await;
    assert_eq!(socket.event().await["error"]["code"], "invalid_value");
    socket.close().await;
}

/// What a client sends faster than its provider takes it does not pile up here; nor what it does not read.
#[tokio::test]
async fn a_flood_of_refused_events_is_answered_with_few() {
    let upstream = provider().await;
    let gateway = gateway(&upstream, "").await;
    let mut socket = open(&gateway).await;
    let refused = json!({ "type": "session.update", "session": { "model": "other" } });
    for _ in 0..500 {
        socket.send(&refused).await;
    }
    let said = socket.close().await;
    assert_eq!(closed(&said).0, 1000);
    assert!(heard(&upstream).is_empty());
    assert_eq!(gateway.log.line().await["end"], "ok");
}

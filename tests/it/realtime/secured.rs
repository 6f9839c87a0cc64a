//! Sessions over TLS on both sides: as browsers and SDKs open them, at a provider that would rather speak HTTP/2.

use super::{BEARER, TARGET, closed};
use crate::support::client::Connection;
use crate::support::socket::{Said, Socket, handshake};
use crate::support::speech::Speech;
use crate::support::tls::{Authority, Client, Files, Front, agreed};
use crate::support::{Gateway, key, provider};
use serde_json::json;
use tollgate::protocol::websocket::Opcode;

/// The model that the channel below serves, realtime and not.
const MODEL: &str = "gpt-realtime";

#[tokio::test]
async fn a_session_is_held_over_tls_on_both_sides_beside_http_2() {
    let (authority, files, upstream) = (Authority::new(), Files::new(), provider().await);
    let front =
        Front::start(&authority.issue(&["localhost"]), None, &["h2", "http/1.1"], upstream.addr()).await;
    let ca = files.put("ca.pem", &authority.pem());
    let text = files.listener(&authority.issue(&["gateway.test"]), "")
        + &format!(
            "[[channel]]\nname = \"main\"\ntype = \"openai\"\nbase_url = \"https://localhost:{}/v1\"\n\
             api_keys = [\"sk-upstream-0123456789\"]\nca = \"{ca}\"\n",
            front.addr.port()
        )
        + &key();
    let gateway = Gateway::start(&text).await;
    let addr = gateway.running.secured[0];
    let spoken = || front.seen().into_iter().filter_map(|seen| seen.protocol).collect::<Vec<_>>();
    // What is kept to the provider afterwards speaks HTTP/2, which has no such upgrade.
    assert_eq!(Speech::Chat.ask(gateway.addr(), MODEL, false).await.status, 200);
    assert_eq!(spoken(), ["h2"]);
    let client = Client::new(&authority, "gateway.test");
    for (offered, chosen) in [(&["http/1.1"][..], Some("http/1.1")), (&[], None)] {
        let stream = client.clone().offering(offered).connect(addr).await.expect("it is accepted");
        assert_eq!(agreed(&stream).0.as_deref(), chosen);
        let mut connection = Connection::over(stream);
        connection.send(&handshake(TARGET, &[BEARER])).await;
        let mut socket = Socket::opened(connection).await.unwrap_or_else(|no| panic!("{no:?}"));
        assert_eq!(socket.event().await["type"], "session.created");
        socket.answered().await;
        // More than a TLS record and a buffer hold.
        socket.send(&json!({ "type": "input_audio_buffer.append", "audio": "A".repeat(300_000) })).await;
        socket.answered().await;
        socket.frame(Opcode::Ping, b"are you there").await;
        assert_eq!(socket.next().await, Said::Pong(b"are you there".to_vec()));
        assert_eq!(closed(&socket.close().await), (1000, "done"));
    }
    assert_eq!(spoken(), ["h2", "http/1.1", "http/1.1"]);
    let lines = gateway.log.lines(3).await;
    for line in &lines[1..] {
        assert_eq!(
            (&line["end"], &line["status"], &line["tokens"]["output"]),
            (&json!("ok"), &json!(101), &json!(20))
        );
        assert_eq!(line["client_ip"], "127.0.0.1", "{line}");
    }
    // And the kept one still serves.
    assert_eq!(Speech::Chat.ask(gateway.addr(), MODEL, false).await.status, 200);
    assert_eq!(front.seen().len(), 3);
}

#[tokio::test]
async fn a_provider_that_breaks_off_over_tls_is_told_and_one_that_is_not_verified_is_not_asked() {
    let (authority, files, upstream) = (Authority::new(), Files::new(), provider().await);
    let front = Front::start(&authority.issue(&["localhost"]), None, &[], upstream.addr()).await;
    let channel = |name: &str, ca: &str| {
        let base = format!("https://localhost:{}/v1", front.addr.port());
        format!(
            "[[channel]]\nname = \"{name}\"\ntype = \"openai\"\nbase_url = \"{base}\"\napi_keys = [\"sk-x\"]\nmodels = [\"{name}\"]\n{ca}\n"
        )
    };
    let ca = format!("ca = \"{}\"", files.put("ca.pem", &authority.pem()));
    let text = files.listener(&authority.issue(&["gateway.test"]), "")
        + &channel("known", &ca)
        + &channel("stranger", "")
        + &key();
    let gateway = Gateway::start(&text).await;
    let open = async |model: &str| {
        let client = Client::new(&authority, "gateway.test").offering(&["http/1.1"]);
        let mut connection =
            Connection::over(client.connect(gateway.running.secured[0]).await.expect("it is accepted"));
        connection.send(&handshake(&format!("/v1/realtime?model={model}"), &[BEARER])).await;
        Socket::opened(connection).await
    };
    let Err(refused) = open("stranger").await else { panic!("nobody verified it") };
    assert_eq!((refused.status, refused.code()), (502, "upstream_unreachable".to_owned()));
    let Ok(mut socket) = open("known").await else { panic!("it is known") };
    socket.event().await;
    socket.send(&super::ordered("cut")).await;
    socket.event_of("response.output_text.delta").await;
    let said = socket.rest().await;
    assert_eq!(closed(&said), (1011, "stream_truncated"), "{said:?}");
    let line = gateway.log.lines(2).await.remove(1);
    assert_eq!(line["end"], "stream_truncated", "{line}");
    assert_eq!(gateway.count("tollgate_leases_open").await, 0);
}

//! Requests made to hurt, through the whole gateway: each gets its clear answer, nothing of one is kept, and the next client is
//! served. What each costs is measured in `fuzz/tests/hostile.rs`, on the readers alone.

use crate::support::client::{self, Connection};
use crate::support::{Gateway, KEY, channel, key, provider};
use tollgate_loadtest::Provider;

const CHAT: &str = "/v1/chat/completions";
const BEARER: (&str, &str) = ("authorization", "Bearer sk-test-alice-0123456789");
const SOUND: &[u8] = br#"{"model":"m","messages":[{"role":"user","content":"a"}]}"#;
/// The fake's own word.
const THEIRS: &str = "could not parse the JSON";
const MIB: usize = 1 << 20;

async fn house() -> (Provider, Gateway) {
    let upstream = provider().await;
    let server = "[server.limits]\nbody_bytes = \"16MiB\"\n";
    let gateway = Gateway::with_server(server, &(channel("main", "openai", &upstream, "") + &key())).await;
    (upstream, gateway)
}

#[tokio::test]
async fn bodies_made_to_hurt_get_a_clear_answer_and_leave_nothing_behind() {
    let (upstream, gateway) = house().await;
    let keys = (0..1_000_000).map(|key| format!("\"{key}\":0,")).collect::<Vec<_>>().concat();
    let nested = ["[".repeat(MIB), "]".repeat(MIB)].concat();
    // Whether a sound one is too much is for the provider to say, and the fake's strict reader does.
    let rows: [(&str, Vec<u8>, u16, &str); 9] = [
        ("10 MB of brackets", b"[".repeat(10_000_000), 400, "not a JSON object"),
        ("brackets within", [b"{\"model\":".to_vec(), b"[".repeat(10_000_000)].concat(), 400, "ends before"),
        ("objects without end", "{\"a\":".repeat(MIB).into_bytes(), 400, "ends before"),
        ("a million keys", format!("{{{keys}\"model\":\"m\"}}").into_bytes(), 400, THEIRS),
        (
            "a million models",
            format!("{{{}\"a\":0}}", "\"model\":\"m\",".repeat(MIB)).into_bytes(),
            400,
            "twice",
        ),
        (
            "deep and sound",
            format!(
                "{{\"a\":{nested},\"model\":\"m\",\"messages\":[{{\"role\":\"user\",\"content\":\"a\"}}]}}"
            )
            .into_bytes(),
            200,
            "",
        ),
        (
            "no UTF-8",
            [b"{\"model\":\"m\",\"a\":\"", &b"\xff".repeat(MIB)[..], b"\"}"].concat(),
            400,
            "not UTF-8",
        ),
        ("a byte order mark", b"\xef\xbb\xbf{\"model\":\"m\"}".to_vec(), 400, "byte order mark"),
        ("over the limit", vec![b' '; 17 * MIB], 413, "over the limit"),
    ];
    for (name, body, status, word) in rows {
        let before = upstream.request_count();
        // What is refused early may close while the rest is still on its way.
        let mut client = Connection::open(gateway.addr()).await;
        client.send_anyway(&client::request("POST", CHAT, &[BEARER], &body)).await;
        let answer = client.answer().await.unwrap_or_else(|| panic!("{name}: no answer"));
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        assert!(answer.text().contains(word), "{name}: {}", answer.text());
        assert_eq!(upstream.request_count() - before, usize::from(status == 200 || word == THEIRS), "{name}");
        gateway.count_reaches("tollgate_buffered_body_bytes", 0).await;
    }
    let polite = client::post(gateway.addr(), CHAT, &[BEARER], SOUND).await;
    assert_eq!(polite.status, 200);
}

#[tokio::test]
async fn keys_made_to_hurt_are_refused_without_being_repeated() {
    let (upstream, gateway) = house().await;
    let long = format!("sk-{}", "q".repeat(4_000));
    let mut cut = KEY.to_owned();
    cut.pop();
    let rows = [
        (long.as_str(), "malformed_api_key"),
        ("sk-", "malformed_api_key"),
        ("sk-\u{e9}\u{e9}", "malformed_api_key"),
        ("Bearer sk-a", "malformed_api_key"),
        ("sk-a\tb", "malformed_api_key"),
        (&format!("{KEY}x"), "invalid_api_key"),
        (&cut, "invalid_api_key"),
    ];
    for (value, code) in rows {
        let answer = client::post(gateway.addr(), CHAT, &[("x-api-key", value)], b"{\"model\":\"m\"}").await;
        assert_eq!((answer.status, answer.code().as_str()), (401, code), "{}", answer.text());
        assert!(!answer.text().contains(value) || value == "sk-", "{}", answer.text());
    }
    assert_eq!(upstream.request_count(), 0);
}

//! Clients that are slow, idle or many: each is let go in its time, and the others do not notice.

use crate::support::ask::{Speaks, channels};
use crate::support::client::{self, Connection, Ended};
use crate::support::process::{Process, Run};
use crate::support::speech::{MODEL, Speech};
use crate::support::{Gateway, KEY, channel, key, provider};
use std::process::Command;
use tollgate_loadtest::{Fault, Provider, Selector};

mod frames;
mod heads;

async fn house(server: &str) -> (Provider, Gateway) {
    let upstream = provider().await;
    let gateway = Gateway::with_server(server, &(channel("main", "openai", &upstream, "") + &key())).await;
    (upstream, gateway)
}

/// More than the system's buffers take.
fn large() -> Fault {
    let body = "x".repeat(24 << 20);
    Fault::Raw(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ))
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed_without_a_word() {
    let (_upstream, gateway) = house("timeouts = { idle = \"100ms\" }").await;
    for addr in [gateway.addr(), gateway.addr()] {
        let mut connection = Connection::open(addr).await;
        connection.send(&Speech::Chat.request(KEY, MODEL, false)).await;
        assert_eq!(connection.answer().await.expect("an answer").status, 200);
        assert!(connection.is_closed().await);
    }
    // An empty line is no request.
    let mut connection = Connection::open(gateway.addr()).await;
    connection.send(&Speech::Chat.request(KEY, MODEL, false)).await;
    connection.send(b"\r\n").await;
    assert_eq!(connection.answer().await.expect("an answer").status, 200);
    assert!(connection.is_closed().await);
    assert_eq!(gateway.count("tollgate_heads_refused_total{reason=\"slow\"}").await, 0);
}

#[tokio::test]
async fn an_old_connection_is_told_to_end_and_ends_with_a_whole_answer() {
    let (_upstream, gateway) = house("timeouts = { age = \"200ms\" }").await;
    let mut connection = Connection::open(gateway.addr()).await;
    let mut served = 0;
    loop {
        connection.send(&Speech::Chat.request(KEY, MODEL, false)).await;
        let answer = connection.answer().await.expect("an answer");
        assert_eq!((answer.status, answer.ended), (200, Ended::Whole));
        served += 1;
        if answer.header("connection") == Some("close") {
            break;
        }
    }
    assert!(served > 1, "a young one goes on");
    assert!(connection.is_closed().await);
}

#[tokio::test]
async fn heads_that_come_in_drops_end_in_their_time_on_every_listener_and_are_counted() {
    let (upstream, gateway) = house("timeouts = { header = \"100ms\" }").await;
    let mut slow = Vec::new();
    for begun in
        ["G", "PRI * HT", "GET / HTTP/1.1\r\nhost: a\r\nx: ", "POST /v1/chat/completions HTTP/1.1\r\n"]
    {
        let mut connection = Connection::open(gateway.addr()).await;
        connection.send(begun.as_bytes()).await;
        slow.push(connection);
    }
    // A second one behind one that was served has its own time.
    let mut second = Connection::open(gateway.addr()).await;
    second.send(&[&Speech::Chat.request(KEY, MODEL, false)[..], b"GET /"].concat()).await;
    assert_eq!(second.answer().await.expect("an answer").status, 200);
    slow.push(second);
    for mut connection in slow {
        assert_eq!(connection.answer().await.expect("it is told").status, 408);
        assert!(connection.is_closed().await);
    }
    assert_eq!(gateway.count("tollgate_heads_refused_total{reason=\"slow\"}").await, 5);
    assert_eq!(upstream.request_count(), 1);
}

#[tokio::test]
async fn slow_heads_at_the_admin_listener_do_not_keep_health_checks_away() {
    let (_upstream, gateway) = house("").await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut connection = Connection::open(gateway.running.admin).await;
        connection.send(b"GET /livez HTTP/1.1\r\nx: ").await;
        slow.push(connection);
    }
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(client::get(gateway.running.admin, path).await.status, 200, "{path}");
    }
    // One that goes on is served, and so is the next on the same connection.
    let mut polite = slow.pop().expect("there are many");
    polite.send(b"y\r\nhost: localhost\r\n\r\nGET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    for _ in 0..2 {
        assert_eq!(polite.answer().await.expect("an answer").status, 200);
    }
}

#[tokio::test]
async fn an_upload_that_stops_is_ended_with_408_in_a_tunnel_too() {
    for way in ["declared", "chunked"] {
        let (upstream, gateway) = house("timeouts = { body_idle = \"100ms\" }").await;
        let framing = if way == "declared" {
            "content-length: 100\r\n\r\nhalf"
        } else {
            "transfer-encoding: chunked\r\n\r\n64\r\nhalf"
        };
        let request = format!(
            "POST /v1/files HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\ncontent-type: multipart/form-data; boundary=b\r\n{framing}"
        );
        let mut connection = Connection::open(gateway.addr()).await;
        connection.send(request.as_bytes()).await;
        let answer = connection.answer().await.expect("an answer");
        assert_eq!((answer.status, answer.code().as_str()), (408, "request_timeout"), "{way}");
        assert!(connection.is_closed().await, "{way}");
        let line = gateway.log.line().await;
        assert_eq!((&line["status"], &line["code"]), (&408.into(), &"request_timeout".into()), "{way}");
        assert_eq!(upstream.counts().completed, 0, "{way}");
    }
}

#[tokio::test]
async fn who_takes_nothing_of_an_answer_is_gone_and_a_slow_provider_is_not() {
    let (upstream, gateway) = house("timeouts = { write_idle = \"300ms\" }").await;
    upstream.script(Selector::Any, vec![large(), Fault::HoldFirstByte]);
    let mut slow = Connection::open(gateway.addr()).await;
    slow.send(&Speech::Chat.request(KEY, MODEL, false)).await;
    let line = gateway.log.line().await;
    assert_eq!(line["end"], "client_closed", "{line}");
    assert_eq!(gateway.count("tollgate_channel_inflight{channel=\"main\"}").await, 0);
    // One that waits for its provider, longer than that, is not slow.
    let mut polite = Connection::open(gateway.addr()).await;
    polite.send(&Speech::Chat.request(KEY, MODEL, false)).await;
    upstream.wait_for_holding(1).await;
    let mut idle = Connection::open(gateway.addr()).await;
    upstream.script(Selector::Any, vec![large()]);
    idle.send(&Speech::Chat.request(KEY, MODEL, false)).await;
    gateway.log.lines(2).await;
    upstream.release();
    let answer = polite.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.ended), (200, Ended::Whole));
    drop((slow, idle));
}

#[tokio::test]
async fn past_the_limit_of_exchanges_others_are_told_when_to_come_back_and_operators_see_everything() {
    let upstream = provider().await;
    let text = channels(&upstream, "[\"m\"]") + &key();
    let gateway = Gateway::with_server("limits = { exchanges = 1 }", &text).await;
    upstream.script(Selector::Any, vec![Fault::HoldFirstByte]);
    let mut held = Connection::open(gateway.addr()).await;
    held.send(&Speaks::OpenAi.request(KEY, "m", false, &[])).await;
    upstream.wait_for_holding(1).await;
    for speaks in Speaks::ALL {
        let mut connection = Connection::open(gateway.addr()).await;
        connection.send(&speaks.request(KEY, "m", false, &[])).await;
        let answer = connection.answer().await.expect("an answer");
        assert_eq!((answer.status, answer.code().as_str()), (503, "gateway_overloaded"), "{speaks:?}");
        assert_eq!(
            (answer.header("retry-after"), answer.header("x-should-retry")),
            (Some("1"), None),
            "{speaks:?}"
        );
    }
    let bearer = format!("Bearer {KEY}");
    let upload = client::post(gateway.addr(), "/v1/files", &[("authorization", &bearer)], b"{}").await;
    assert_eq!(upload.status, 503, "a tunnel needs a provider too");
    let models = format!("GET /v1/models HTTP/1.1\r\nhost: a\r\nauthorization: {bearer}\r\n\r\n");
    assert_eq!(client::once(gateway.addr(), models.as_bytes()).await.status, 200, "this needs none");
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(client::get(gateway.running.admin, path).await.status, 200, "{path}");
    }
    upstream.release();
    assert_eq!(held.answer().await.expect("an answer").status, 200);
    gateway.log.lines(6).await;
    assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, 200, "there is room again");
    assert_eq!(gateway.count("tollgate_errors_total{code=\"gateway_overloaded\"}").await, 4);
}

#[tokio::test]
async fn who_is_turned_away_and_asks_again_at_once_is_heard_ever_later_and_served_when_there_is_room() {
    let (upstream, gateway) = house("limits = { exchanges = 1 }").await;
    upstream.script(Selector::Any, vec![Fault::HoldFirstByte]);
    let request = Speech::Chat.request(KEY, MODEL, false);
    let mut held = Connection::open(gateway.addr()).await;
    held.send(&request).await;
    upstream.wait_for_holding(1).await;
    let now = || gateway.running.shared.world.now() / 1_000_000;
    let (mut hasty, began) = (Connection::open(gateway.addr()).await, now());
    // All at once; between two of them there is a pause of 50, 100 and 200 ms.
    hasty.send(&request.repeat(4)).await;
    for least in [0, 50, 150, 350] {
        let answer = hasty.answer().await.expect("an answer");
        assert_eq!((answer.status, answer.header("connection")), (503, Some("keep-alive")));
        assert!(now() - began >= least, "{} ms", now() - began);
    }
    let mut other = Connection::open(gateway.addr()).await;
    other.send(&Speech::Chat.request(KEY, MODEL, false)).await;
    assert_eq!(other.answer().await.expect("an answer").status, 503, "many refusals take no place");
    gateway.log.lines(5).await;
    upstream.release();
    assert_eq!(held.answer().await.expect("an answer").status, 200);
    hasty.send(&request).await;
    assert_eq!(hasty.answer().await.expect("an answer").status, 200);
    assert_eq!(gateway.log.lines(7).await.iter().filter(|line| line["status"] == 503).count(), 5);
    assert_eq!(gateway.count("tollgate_errors_total{code=\"gateway_overloaded\"}").await, 5);
}

#[tokio::test]
async fn past_the_limit_of_connections_the_next_is_told_and_closed() {
    let (upstream, gateway) = house("limits = { connections = 3, connections_per_ip = 2 }").await;
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut connection = Connection::open(gateway.addr()).await;
        connection.send(&Speech::Chat.request(KEY, MODEL, false)).await;
        assert_eq!(connection.answer().await.expect("an answer").status, 200);
        kept.push(connection);
    }
    let mut third = Connection::open(gateway.addr()).await;
    let answer = third.answer().await.expect("it is told");
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert!(third.is_closed().await);
    assert_eq!(gateway.count("tollgate_connections_refused_total{reason=\"per_ip\"}").await, 1);
    gateway.reload("limits = { connections = 2 }", "").expect_err("a configuration needs a key");
    gateway
        .reload("limits = { connections = 2 }", &(channel("main", "openai", &upstream, "") + &key()))
        .expect("it loads");
    assert_eq!(Connection::open(gateway.addr()).await.answer().await.expect("it is told").status, 503);
    assert_eq!(gateway.count("tollgate_connections_refused_total{reason=\"limit\"}").await, 1);
    kept.pop();
    while gateway.running.connections.open() > 1 {
        tokio::task::yield_now().await;
    }
    let mut again = Connection::open(gateway.addr()).await;
    again.send(&Speech::Chat.request(KEY, MODEL, false)).await;
    assert_eq!(again.answer().await.expect("there is room").status, 200);
}

/// A configuration in a directory of its own.
fn written(upstream: &Provider) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("tollgate.toml");
    let text = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n[log]\naccess = \"off\"\n{}{}",
        channel("main", "openai", upstream, ""),
        key()
    );
    std::fs::write(&path, text).expect("it is written");
    (dir, path)
}

#[tokio::test]
async fn few_file_descriptors_are_shared_so_that_exchanges_and_operators_get_theirs() {
    let upstream = provider().await;
    let (_dir, config) = written(&upstream);
    let run = Run::start_with(Process::start_limited("128:256", &config)).await;
    run.process.stderr.line("the limit of open files allows fewer").await;
    // 90 of 256, the hard limit.
    let (mut kept, mut refused) = (Vec::new(), 0);
    for _ in 0..300 {
        let mut connection = Connection::open(run.addr).await;
        connection.send_anyway(b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        match connection.head().await.map(|answer| answer.status) {
            Some(200) => kept.push(connection),
            _ => refused += 1,
        }
    }
    assert_eq!((kept.len(), refused), (90, 210));
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(client::get(run.admin, path).await.status, 200, "{path}");
    }
    let busy = kept.first_mut().expect("they are kept");
    busy.send(&Speech::Chat.request(KEY, MODEL, false)).await;
    assert_eq!(busy.answer().await.expect("an answer").status, 200);
}

#[tokio::test]
async fn without_file_descriptors_the_gateway_waits_and_goes_on_when_there_are_some() {
    let upstream = provider().await;
    let (_dir, config) = written(&upstream);
    let run = Run::start_with(Process::start_limited("1024:1024", &config)).await;
    let limit = |files: &str| {
        let set = Command::new("prlimit")
            .args(["--pid", &run.process.id().to_string(), &format!("--nofile={files}")])
            .status();
        assert!(set.expect("prlimit is there").success());
    };
    limit("4:1024");
    let mut waiting = Vec::new();
    for _ in 0..20 {
        waiting.push(Connection::open(run.addr).await);
    }
    run.process.stderr.line("cannot accept a connection").await;
    limit("1024:1024");
    for connection in &mut waiting {
        connection.send(&Speech::Chat.request(KEY, MODEL, false)).await;
        assert_eq!(connection.answer().await.expect("an answer").status, 200);
    }
    let said = run.process.stderr.text().matches("cannot accept a connection").count();
    assert_eq!(said, 1, "once for all the time it lasted");
}

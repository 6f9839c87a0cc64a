//! The admin listener: what it shows, to whom, and the metrics' promise.

use crate::support::ask::{Speaks, channels, key_named};
use crate::support::client::{self, Answer, Connection};
use crate::support::{Gateway, KEY, channel, key, provider};
use std::io::Write as _;
use std::process::{Command, Stdio};
use tollgate_loadtest::{Fault, Provider, Selector};

async fn call(gateway: &Gateway, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let own = gateway.running.admin.to_string();
    let host = headers.iter().find(|(name, _)| *name == "host").map_or(own.as_str(), |(_, value)| value);
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: 0\r\n");
    for (name, value) in headers.iter().filter(|(name, _)| *name != "host") {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    client::once(gateway.running.admin, (request + "\r\n").as_bytes()).await
}

async fn simple(server: &str) -> (Provider, Gateway) {
    let upstream = provider().await;
    let gateway = Gateway::with_server(server, &(channels(&upstream, "[\"m\"]") + &key())).await;
    (upstream, gateway)
}

#[tokio::test]
async fn every_view_answers() {
    let (_upstream, gateway) = simple("").await;
    assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, 200);
    let line = gateway.log.line().await;
    let id = line["request_id"].as_str().expect("an id").to_owned();
    for path in ["/metrics", "/livez", "/readyz", "/", "/api"] {
        let answer = call(&gateway, "GET", path, &[]).await;
        assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")), "{path}");
    }
    let json = |path: String| {
        let gateway = &gateway;
        async move {
            let answer = call(gateway, "GET", &path, &[]).await;
            assert_eq!(
                (answer.status, answer.header("content-type")),
                (200, Some("application/json")),
                "{path}"
            );
            answer.json()
        }
    };
    assert_eq!(json("/api/status".into()).await["keys"], 1);
    let channels = json("/api/channels".into()).await;
    assert_eq!((channels.as_array().map(Vec::len), &channels[0]["up"]), (Some(3), &true.into()));
    assert_eq!(json("/api/keys".into()).await[0]["last4"], "6789");
    assert_eq!(json("/api/models?key=alice".into()).await[0]["models"][0], "m");
    assert!(json("/api/config".into()).await["hash"].is_string());
    assert_eq!(json("/api/exchanges".into()).await, serde_json::json!([line]));
    assert_eq!(json(format!("/api/exchanges/{id}")).await, line, "what happened is what was logged");
    assert_eq!(json("/api/explain?key=alice&model=m".into()).await["candidates"][0]["eligible"], true);
    for (path, status) in [
        ("/api/exchanges/req_unknown", 404),
        ("/api/explain?key=nobody&model=m", 404),
        ("/api/explain", 400),
        ("/nowhere", 404),
    ] {
        assert_eq!(call(&gateway, "GET", path, &[]).await.status, status, "{path}");
    }
    assert_eq!(call(&gateway, "DELETE", "/api/keys", &[]).await.status, 405);
    assert_eq!(call(&gateway, "POST", "/-/unheard-of", &[]).await.status, 404);
}

#[tokio::test]
async fn a_head_request_gets_a_head_and_the_connection_goes_on() {
    let (_upstream, gateway) = simple("").await;
    let mut connection = Connection::open(gateway.running.admin).await;
    connection.send(b"HEAD /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(connection.head().await.expect("an answer").status, 200);
    connection.send(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(connection.answer().await.expect("an answer").text(), "ok\n");
}

#[tokio::test]
async fn a_token_that_is_set_is_asked_for_everywhere_but_for_metrics_and_health() {
    let (_upstream, gateway) = simple("admin_token = \"a-long-admin-token\"\n").await;
    let right = [("authorization", "Bearer a-long-admin-token")];
    let wrong = [("authorization", "Bearer a-long-admin-tokem")];
    for (method, path, open) in [
        ("GET", "/metrics", true),
        ("GET", "/livez", true),
        ("GET", "/readyz", true),
        ("GET", "/", false),
        ("GET", "/page.js", false),
        ("GET", "/api/status", false),
        ("GET", "/api/status?detail=1", false),
        ("GET", "/api/channels", false),
        ("GET", "/api/keys", false),
        ("GET", "/api/config", false),
        ("GET", "/api/exchanges", false),
        ("GET", "/api/explain?key=alice&model=m", false),
        ("POST", "/-/reload", false),
        ("GET", "/unheard-of", false),
    ] {
        for headers in [&[][..], &wrong[..], &[("authorization", "Basic eDp5")][..]] {
            let status = call(&gateway, method, path, headers).await.status;
            assert_eq!(status == 401, !open, "{method} {path}: {status}");
        }
        assert_ne!(call(&gateway, method, path, &right).await.status, 401, "{path}");
    }
}

#[tokio::test]
async fn a_browser_may_give_the_token_as_a_password_to_read_but_not_to_change() {
    let (_upstream, gateway) = simple("admin_token = \"a-long-admin-token\"\n").await;
    // Any name, and the token: "operator:a-long-admin-token"; then without its last character.
    let right = [("authorization", "Basic b3BlcmF0b3I6YS1sb25nLWFkbWluLXRva2Vu")];
    let wrong = [("authorization", "Basic b3BlcmF0b3I6YS1sb25nLWFkbWluLXRva2U=")];
    for path in ["/", "/page.js", "/api/status?detail=1", "/api/keys"] {
        let asked = call(&gateway, "GET", path, &[]).await;
        let challenge = asked.header("www-authenticate").unwrap_or_default();
        assert_eq!((asked.status, challenge.starts_with("Basic ")), (401, true), "{path}");
        assert_eq!(call(&gateway, "GET", path, &wrong).await.status, 401, "{path}");
        assert_eq!(call(&gateway, "GET", path, &right).await.status, 200, "{path}");
    }
    for path in ["/-/reload", "/-/drain"] {
        assert_eq!(
            call(&gateway, "POST", path, &right).await.status,
            401,
            "a browser sends it by itself: {path}"
        );
    }
}

#[tokio::test]
async fn the_page_and_its_files_come_from_here_alone_and_nothing_else_runs_in_them() {
    let (_upstream, gateway) = simple("").await;
    let page = call(&gateway, "GET", "/", &[]).await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    for file in ["page.css", "page.js", "words.js", "icon.svg"] {
        assert!(page.text().contains(&format!("\"{file}\"")), "{file} is named by the page");
        assert_eq!(call(&gateway, "GET", &format!("/{file}"), &[]).await.status, 200, "{file}");
    }
    for path in ["/", "/page.js", "/api/status", "/nowhere"] {
        let answer = call(&gateway, "GET", path, &[]).await;
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{path}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
}

#[tokio::test]
async fn status_in_detail_has_all_that_the_page_shows_and_no_secret() {
    let upstream = provider().await;
    let text = channel("first", "openai", &upstream, "models = [\"m\"]\npriority = 0")
        + &channel("second", "openai", &upstream, "models = [\"m\"]\npriority = 1")
        + "[trace]\nheaders = [\"x-session\"]\n"
        + &key_named("busy", KEY, "limits = { rpm = 60 }\nquota = { usd = 5.0, per = \"day\" }")
        + &key_named("idle", "sk-idle-0123456789", "");
    let gateway = Gateway::start(&text).await;
    upstream.script(Selector::Any, vec![Fault::Status { status: 500, headers: Vec::new(), body: None }]);
    for headers in [&[("x-session", "s-1")][..], &[("x-session", "s-1")], &[]] {
        let request = Speaks::OpenAi.request(KEY, "m", true, headers);
        assert_eq!(client::once(gateway.addr(), &request).await.status, 200);
    }
    gateway.log.lines(3).await;
    let answer = call(&gateway, "GET", "/api/status?detail=1", &[]).await;
    let (status, detail) = (answer.json(), answer.json()["detail"].clone());
    let traffic = &status["traffic"];
    assert_eq!(
        (&traffic["exchanges"], &traffic["success"], &traffic["failed_over"]),
        (&3.into(), &1.0.into(), &1.into())
    );
    assert!(traffic["first_token_ms"]["p50"].as_f64().is_some_and(|ms| ms > 0.0), "{traffic}");
    // The session that moved stays where it moved to.
    let (first, second) = (&detail["channels"][0], &detail["channels"][1]);
    assert_eq!((&first["recent"]["attempts"], &first["recent"]["failed"]), (&2.into(), &1.into()), "{first}");
    assert_eq!(
        (&first["last_error"]["status"], &first["breaker"]),
        (&500.into(), &"closed".into()),
        "{first}"
    );
    assert_eq!((&second["recent"]["attempts"], &second["last_error"]), (&2.into(), &serde_json::Value::Null));
    assert_eq!(
        (&detail["keys"][0]["key"], &detail["keys"][0]["recent"]["exchanges"]),
        (&"busy".into(), &3.into())
    );
    assert_eq!(detail["keys"][1]["recent"], serde_json::Value::Null);
    let session = &detail["sessions"]["rows"][0];
    assert_eq!((&detail["sessions"]["count"], &session["trace_id"]), (&1.into(), &"s-1".into()));
    assert_eq!((&session["exchanges"], &session["key"]), (&2.into(), &"busy".into()));
    assert_eq!(detail["exchanges"]["rows"].as_array().map(Vec::len), Some(3));
    assert!(!answer.text().contains(KEY) && !answer.text().contains("sk-upstream"), "{}", answer.text());
    assert!(call(&gateway, "GET", "/api/status", &[]).await.json()["detail"].is_null());
}

#[tokio::test]
async fn who_asks_what_came_since_gets_each_exchange_once_as_it_was_logged() {
    let (_upstream, gateway) = simple("").await;
    let news = async |after: u64, more: &str| {
        call(&gateway, "GET", &format!("/api/exchanges?after={after}{more}"), &[]).await
    };
    let none = news(0, "").await.json();
    assert_eq!(none["rows"], serde_json::json!([]));
    for _ in 0..3 {
        assert_eq!(Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await.status, 200);
    }
    let logged = gateway.log.lines(3).await;
    let next = none["next"].as_u64().expect("a number");
    let some = news(next, "").await;
    assert_eq!(some.json()["rows"], logged.iter().rev().cloned().collect::<serde_json::Value>());
    let (ts, end) = (some.text().find("\"ts\""), some.text().find("\"end\""));
    assert!(ts < end, "in the order of the log");
    let last = some.json()["next"].as_u64().expect("a number");
    assert_eq!(news(last, "").await.json()["rows"], serde_json::json!([]));
    let cut = news(next, "&limit=1").await.json();
    assert_eq!((&cut["missed"], cut["rows"].as_array().map(Vec::len)), (&2.into(), Some(1)));
    let from_another_process = news(1, "").await.json();
    assert_eq!(
        (&from_another_process["missed"], from_another_process["rows"].as_array().map(Vec::len)),
        (&0.into(), Some(3))
    );
}

#[tokio::test]
async fn a_page_of_another_site_can_change_nothing() {
    let (_upstream, gateway) = simple("").await;
    let own = gateway.running.admin.to_string();
    let local = format!("localhost:{}", gateway.running.admin.port());
    let own_origin = format!("http://{own}");
    let cases: &[(&[(&str, &str)], u16)] = &[
        (&[], 200),
        (&[("host", &local)], 200),
        (&[("origin", &own_origin)], 200),
        (&[("origin", "https://evil.example")], 403),
        (&[("origin", "null")], 403),
        (&[("host", "evil.example")], 403),
        (&[("host", "127.0.0.1.evil.example:80"), ("origin", "http://127.0.0.1.evil.example:80")], 403),
        (&[("host", &local), ("origin", &own_origin)], 403),
    ];
    for (headers, status) in cases {
        let answer = call(&gateway, "POST", "/-/reload", headers).await;
        assert_eq!(answer.status, *status, "{headers:?}: {}", answer.text());
    }
    assert_eq!(call(&gateway, "GET", "/-/reload", &[]).await.status, 404, "a GET changes nothing");
}

#[tokio::test]
async fn readiness_turns_bad_when_no_channel_is_usable_and_good_again() {
    let upstream = provider().await;
    let text = |enabled: bool| {
        channel("only", "openai", &upstream, &format!("models = [\"m\"]\nenabled = {enabled}")) + &key()
    };
    let gateway = Gateway::start(&text(true)).await;
    let ready = async || call(&gateway, "GET", "/readyz", &[]).await.status;
    assert_eq!(ready().await, 200);
    gateway.reload("", &text(false)).expect("it loads");
    assert_eq!(ready().await, 503);
    assert_eq!(gateway.metric("tollgate_channel_up{channel=\"only\"}").await, 0.0);
    gateway.reload("", &text(true)).expect("it loads");
    assert_eq!(ready().await, 200);
    upstream.script(Selector::Any, vec![Fault::Status { status: 401, headers: Vec::new(), body: None }]);
    let answer = Speaks::OpenAi.ask(gateway.addr(), KEY, "m").await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unauthorized"));
    assert_eq!(ready().await, 503, "its only credential was put away");
    assert_eq!(call(&gateway, "GET", "/livez", &[]).await.status, 200);
}

/// The families of contract 7 that this version has, with the labels it promises.
const FAMILIES: &[(&str, &[&str])] = &[
    ("requests_total", &["api", "code"]),
    ("request_duration_seconds_bucket", &["api", "stream"]),
    ("inflight_requests", &[]),
    ("active_streams", &[]),
    ("overhead_seconds_bucket", &["phase"]),
    ("time_to_first_byte_seconds_bucket", &["channel", "model"]),
    ("stream_aborts_total", &["side"]),
    ("upstream_requests_total", &["channel", "model", "code"]),
    ("upstream_duration_seconds_bucket", &["channel"]),
    ("upstream_connect_seconds_bucket", &["channel"]),
    ("upstream_reused_total", &["channel"]),
    ("errors_total", &["code"]),
    ("failovers_total", &["reason"]),
    ("channel_up", &["channel"]),
    ("channel_inflight", &["channel"]),
    ("tokens_total", &["channel", "model", "type"]),
    ("cost_usd_total", &["channel", "model"]),
    ("group_cost_usd_total", &["group"]),
    ("usage_missing_total", &["channel"]),
    ("key_requests_total", &["key"]),
    ("key_tokens_total", &["key", "type"]),
    ("key_limit", &["key", "limit"]),
    ("key_limit_remaining", &["key", "limit"]),
    ("ratelimit_rejections_total", &["key", "limit"]),
    ("key_inflight", &["key"]),
    ("config_last_reload_successful", &[]),
    ("config_last_reload_success_timestamp_seconds", &[]),
    ("config_reloads_total", &["result"]),
    ("config_info", &["hash"]),
    ("leases_open", &[]),
    ("buffered_body_bytes", &[]),
    ("base_url_fixups_total", &["kind"]),
    ("accesslog_dropped_total", &[]),
    ("accesslog_write_errors_total", &[]),
    ("accesslog_up", &[]),
    ("build_info", &["version", "revision"]),
];

/// Traffic of every sort: good, renamed, failed over, cut, refused, limited.
async fn traffic(gateway: &Gateway, upstream: &Provider) -> usize {
    let ask = async |stream: bool, model: &str| {
        client::once(gateway.addr(), &Speaks::OpenAi.request(KEY, model, stream, &[])).await
    };
    for stream in [false, true, false] {
        assert_eq!(ask(stream, "m").await.status, 200);
    }
    upstream.script(Selector::Any, vec![Fault::Status { status: 500, headers: Vec::new(), body: None }]);
    assert_eq!(ask(false, "m").await.status, 200, "failed over");
    upstream.script(Selector::Any, vec![Fault::Cut { after_events: 2, how: tollgate_loadtest::Cut::Fin }]);
    ask(true, "m").await;
    let body = b"{\"data\":[]}".to_vec();
    let raw = String::from_utf8(
        [&b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n"[..], &body]
            .concat(),
    );
    upstream.script(Selector::Any, vec![Fault::Raw(raw.expect("text"))]);
    assert_eq!(ask(false, "m").await.status, 200, "without usage");
    assert_eq!(ask(false, "unheard-of").await.status, 404);
    let request = client::request(
        "POST",
        "/chat/completions",
        &[("x-api-key", KEY)],
        Speaks::OpenAi.body("m", false).as_bytes(),
    );
    assert_eq!(client::once(gateway.addr(), &request).await.status, 200);
    let once = Speaks::OpenAi.request("sk-once-0123456789", "m", false, &[]);
    assert_eq!(client::once(gateway.addr(), &once).await.status, 200);
    assert_eq!(client::once(gateway.addr(), &once).await.status, 429);
    10
}

#[tokio::test]
async fn every_promised_family_is_there_after_traffic_with_its_labels_and_no_others() {
    let upstream = provider().await;
    let text = channel("first", "openai", &upstream, "models = [\"m\"]")
        + &channel("second", "openai", &upstream, "models = [\"m\"]")
        + &key()
        + &key_named("once", "sk-once-0123456789", "limits = { rpm = 1 }")
        + "[[price]]\nmodel = \"m\"\ninput = 1\noutput = 2\n";
    let gateway = Gateway::start(&text).await;
    let lines = traffic(&gateway, &upstream).await;
    gateway.log.lines(lines).await;
    let metrics = gateway.metrics().await;
    for (family, labels) in FAMILIES {
        let name = format!("tollgate_{family}");
        let series = metrics
            .lines()
            .find(|line| line.strip_prefix(&name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        let series = series.unwrap_or_else(|| panic!("no {name}"));
        let inside =
            series.split_once('{').map_or("", |(_, rest)| rest.split('}').next().unwrap_or_default());
        let mut found: Vec<&str> = inside.split("\",").filter_map(|pair| pair.split('=').next()).collect();
        found.retain(|label| !label.is_empty() && *label != "le");
        let (mut found, mut expected) = (found, labels.to_vec());
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{series}");
    }
    assert!(metrics.contains("\nprocess_resident_memory_bytes "), "the process_* set");
    check_values(&gateway).await;
    lint(&metrics);
}

async fn check_values(gateway: &Gateway) {
    for (series, value) in [
        ("requests_total{api=\"chat\",code=\"200\"}", 8.0),
        ("requests_total{api=\"chat\",code=\"404\"}", 1.0),
        ("requests_total{api=\"chat\",code=\"429\"}", 1.0),
        ("key_requests_total{key=\"alice\"}", 8.0),
        ("key_requests_total{key=\"once\"}", 2.0),
        ("key_limit{key=\"once\",limit=\"rpm\"}", 1.0),
        ("key_limit_remaining{key=\"once\",limit=\"rpm\"}", 0.0),
        ("ratelimit_rejections_total{key=\"once\",limit=\"rpm\"}", 1.0),
        ("errors_total{code=\"model_not_found\"}", 1.0),
        ("errors_total{code=\"stream_truncated\"}", 1.0),
        ("stream_aborts_total{side=\"upstream\"}", 1.0),
        ("base_url_fixups_total{kind=\"missing_version\"}", 1.0),
        ("leases_open", 0.0),
    ] {
        assert_eq!(gateway.metric(&format!("tollgate_{series}")).await, value, "{series}");
    }
}

/// `promtool check metrics` where it is installed.
fn lint(metrics: &str) {
    let started = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = started else {
        return drop(writeln!(std::io::stderr(), "skipped: promtool is not installed"));
    };
    let mut stdin = promtool.stdin.take().expect("it is piped");
    stdin.write_all(metrics.as_bytes()).expect("it reads");
    drop(stdin);
    let done = promtool.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&done.stderr).into_owned() + &String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.trim().is_empty(), "{said}");
}

//! The binary as an operator runs it: files edited under it, signals, the reload command, the drain.

use crate::support::ask::{Speaks, channels, key_named};
use crate::support::client::{self, Connection, Ended};
use crate::support::process::{Run, tollgate, until};
use crate::support::{KEY, provider, repository};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tollgate_loadtest::{Fault, Provider, Selector};

const BOB: &str = "sk-bob-0123456789";

/// The ways a file comes to have another content.
#[derive(Debug, Clone, Copy)]
enum Write {
    InPlace,
    RenameOver,
    SymlinkSwap,
}

/// A configuration file in a directory of its own.
struct File {
    dir: tempfile::TempDir,
    write: Write,
    generation: usize,
}

impl File {
    fn new(write: Write, text: &str) -> Self {
        let mut file = Self { dir: tempfile::tempdir().expect("a directory"), write, generation: 0 };
        file.set(text);
        if matches!(write, Write::SymlinkSwap) {
            symlink("..data/tollgate.toml", file.path()).expect("a symlink");
        }
        file
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("tollgate.toml")
    }

    /// Changes the content, the way it is changed.
    fn set(&mut self, text: &str) {
        let text = format!("[server]\nlisten = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n{text}");
        let dir = self.dir.path();
        self.generation += 1;
        match self.write {
            Write::InPlace => std::fs::write(self.path(), text).expect("it is written"),
            Write::RenameOver => {
                std::fs::write(dir.join(".new"), text).expect("it is written");
                std::fs::rename(dir.join(".new"), self.path()).expect("it is renamed");
            }
            Write::SymlinkSwap => {
                let real = format!("..{}", self.generation);
                std::fs::create_dir(dir.join(&real)).expect("a directory");
                std::fs::write(dir.join(&real).join("tollgate.toml"), text).expect("it is written");
                symlink(&real, dir.join("..data_tmp")).expect("a symlink");
                std::fs::rename(dir.join("..data_tmp"), dir.join("..data")).expect("it is renamed");
            }
        }
    }
}

/// Alice's profile maps `asked` to this model; Bob is there or not.
fn configuration(upstream: &Provider, to: &str, bob: bool) -> String {
    let profile =
        format!("[[profile]]\nname = \"{to}\"\nmappings = [{{ from = \"asked\", to = \"{to}\" }}]\n");
    let alice = format!("profiles = [\"{to}\"]\nactive_profile = \"{to}\"");
    let bob = if bob { key_named("bob", BOB, "") } else { String::new() };
    channels(upstream, "[\"one\", \"two\", \"asked\"]") + &profile + &key_named("alice", KEY, &alice) + &bob
}

/// The status Bob gets; Alice, whose key stays, is served every time.
async fn status_of_bob(run: &Run) -> u16 {
    assert_eq!(Speaks::OpenAi.ask(run.addr, KEY, "asked").await.status, 200);
    Speaks::OpenAi.ask(run.addr, BOB, "one").await.status
}

/// Whether Alice's `asked` goes up as this model now.
async fn maps_to(run: &Run, upstream: &Provider, model: &str) -> bool {
    assert_eq!(Speaks::OpenAi.ask(run.addr, KEY, "asked").await.status, 200);
    let sent = upstream.requests().pop().expect("a request");
    let body: serde_json::Value = serde_json::from_slice(&sent.body).expect("JSON");
    body["model"] == model
}

async fn follows_its_file(write: Write) {
    let upstream = provider().await;
    let mut file = File::new(write, &configuration(&upstream, "one", false));
    let run = Run::start(&file.path()).await;
    assert!(maps_to(&run, &upstream, "one").await);
    assert_eq!(status_of_bob(&run).await, 401);
    file.set(&configuration(&upstream, "one", true));
    until("bob is let in", || async { status_of_bob(&run).await == 200 }).await;
    file.set(&configuration(&upstream, "two", true));
    until("the profile maps differently", || maps_to(&run, &upstream, "two")).await;
    file.set(&configuration(&upstream, "two", false));
    until("bob is refused", || async { status_of_bob(&run).await == 401 }).await;
    file.set("[[key]]\nname = \"half\nwri");
    until("the half-written file is refused", || async { metric(&run).await == 0 }).await;
    assert!(maps_to(&run, &upstream, "two").await, "the old one serves");
    let status = client::get(run.admin, "/api/status").await.text();
    assert!(status.contains("tollgate.toml:5: is not valid TOML: invalid basic string"), "{status}");
    file.set(&configuration(&upstream, "one", true));
    until("a good file is taken again", || async { status_of_bob(&run).await == 200 }).await;
    assert_eq!(metric(&run).await, 1);
}

async fn metric(run: &Run) -> u64 {
    let text = client::get(run.admin, "/metrics").await.text();
    let line = text.lines().find_map(|line| line.strip_prefix("tollgate_config_last_reload_successful "));
    line.and_then(|value| value.parse().ok()).expect("the metric is there")
}

#[tokio::test]
async fn a_running_gateway_follows_a_file_written_in_place() {
    follows_its_file(Write::InPlace).await;
}

#[tokio::test]
async fn a_running_gateway_follows_a_file_renamed_over() {
    follows_its_file(Write::RenameOver).await;
}

#[tokio::test]
async fn a_running_gateway_follows_a_swapped_symlink() {
    follows_its_file(Write::SymlinkSwap).await;
}

#[tokio::test]
async fn each_way_to_ask_for_a_reload_makes_the_file_effective() {
    let upstream = provider().await;
    let mut file = File::new(Write::InPlace, &configuration(&upstream, "one", false));
    let run = Run::start(&file.path()).await;
    file.set(&configuration(&upstream, "one", true));
    run.process.signal("HUP");
    until("the signal is obeyed", || async { status_of_bob(&run).await == 200 }).await;
    file.set(&configuration(&upstream, "one", false));
    let host = format!("host: {}", run.admin);
    let post = format!("POST /-/reload HTTP/1.1\r\n{host}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let answer = client::once(run.admin, post.as_bytes()).await;
    assert_eq!((answer.status, status_of_bob(&run).await), (200, 401), "at once: {}", answer.text());
    file.set(&configuration(&upstream, "one", true));
    let done = tollgate(&["reload", "--admin", &run.admin_url()]);
    assert_eq!((done.code, status_of_bob(&run).await), (Some(0), 200), "at once: {done:?}");
    assert!(done.stdout.contains("is in force"), "{done:?}");
    file.set(&(configuration(&upstream, "one", true) + "[[key]]\nnaem = \"x\"\n"));
    let done = tollgate(&["reload", "--admin", &run.admin_url()]);
    assert_eq!((done.code, done.stdout.as_str()), (Some(1), ""));
    for said in ["tollgate.toml:", "naem", "did you mean `name`?", "the last good one stays"] {
        assert!(done.stderr.contains(said), "{said}: {}", done.stderr);
    }
    assert_eq!(status_of_bob(&run).await, 200);
    let done = tollgate(&["status", "--admin", &run.admin_url()]);
    assert!(done.code == Some(0) && done.stdout.contains("REFUSED"), "{done:?}");
}

#[tokio::test]
async fn a_gateway_told_to_stop_lets_a_stream_finish_and_exits_cleanly() {
    let upstream = provider().await;
    let file = File::new(Write::InPlace, &configuration(&upstream, "one", false));
    let mut run = Run::start(&file.path()).await;
    upstream.script(Selector::Any, vec![Fault::HoldMidStream { after_events: 2 }]);
    let mut streaming = Connection::open(run.addr).await;
    streaming.send(&Speaks::OpenAi.request(KEY, "one", true, &[])).await;
    assert_eq!(streaming.head().await.expect("an answer").status, 200);
    upstream.wait_for_holding(1).await;
    let mut idle = Connection::open(run.addr).await;
    idle.send(&Speaks::OpenAi.request(KEY, "one", false, &[])).await;
    assert_eq!(idle.answer().await.expect("an answer").status, 200);
    run.process.signal("TERM");
    until("not ready", || async { client::get(run.admin, "/readyz").await.status == 503 }).await;
    assert_eq!(client::get(run.admin, "/livez").await.status, 200);
    assert!(idle.is_closed().await, "an idle connection is closed");
    until("no new connection", || async { tokio::net::TcpStream::connect(run.addr).await.is_err() }).await;
    upstream.release();
    let rest = streaming.chunks_until("data: [DONE]\n\n").await;
    assert!(rest.ends_with("data: [DONE]\n\n"));
    assert!(streaming.chunk().await.is_some_and(|last| last.is_empty()), "it ends whole");
    assert_eq!(run.process.ended().await, Some(0));
    assert_eq!(run.process.stdout.text().lines().count(), 2, "both lines are written");
}

#[tokio::test]
async fn a_gateway_told_to_stop_twice_ends_its_streams_honestly_and_leaves() {
    let upstream = provider().await;
    let file = File::new(Write::InPlace, &configuration(&upstream, "one", false));
    let mut run = Run::start(&file.path()).await;
    upstream.script(Selector::Any, vec![Fault::HoldMidStream { after_events: 2 }]);
    let mut streaming = Connection::open(run.addr).await;
    streaming.send(&Speaks::OpenAi.request(KEY, "one", true, &[])).await;
    assert_eq!(streaming.head().await.expect("an answer").status, 200);
    upstream.wait_for_holding(1).await;
    run.process.signal("TERM");
    run.process.stderr.line("told to stop: draining").await;
    run.process.signal("TERM");
    assert!(streaming.chunks_until("shutting down").await.contains("stream_truncated"));
    assert_eq!(run.process.ended().await, Some(0));
    let line: serde_json::Value = serde_json::from_str(&run.process.stdout.text()).expect("one line");
    assert_eq!(line["end"], "drained");
}

#[tokio::test]
async fn a_gateway_drains_and_leaves_when_an_operator_asks_but_not_for_a_page_of_another_site() {
    let upstream = provider().await;
    let file = File::new(Write::InPlace, &configuration(&upstream, "one", false));
    let mut run = Run::start(&file.path()).await;
    for foreign in ["origin: https://evil.example\r\nhost: 127.0.0.1", "host: evil.example"] {
        let post =
            format!("POST /-/drain HTTP/1.1\r\n{foreign}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        assert_eq!(client::once(run.admin, post.as_bytes()).await.status, 403, "{foreign}");
    }
    assert_eq!(client::get(run.admin, "/readyz").await.status, 200);
    let done = tollgate(&["drain", "--admin", &run.admin_url()]);
    assert_eq!((done.code, done.stdout.as_str()), (Some(0), "draining: 0 in flight\n"), "{done:?}");
    assert_eq!(run.process.ended().await, Some(0));
}

#[tokio::test]
async fn an_interrupted_gateway_leaves_at_once() {
    let upstream = provider().await;
    let file = File::new(Write::InPlace, &configuration(&upstream, "one", false));
    let mut run = Run::start(&file.path()).await;
    upstream.script(Selector::Any, vec![Fault::HoldFirstByte]);
    let mut waiting = Connection::open(run.addr).await;
    waiting.send(&Speaks::OpenAi.request(KEY, "one", false, &[])).await;
    upstream.wait_for_holding(1).await;
    run.process.signal("INT");
    assert_eq!(run.process.ended().await, Some(0));
    assert!(waiting.answer().await.is_none_or(|answer| answer.ended == Ended::Cut));
}

#[tokio::test]
async fn the_access_log_goes_where_it_is_told_and_is_reopened() {
    let upstream = provider().await;
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("access.log");
    let to = format!("[log]\naccess = \"{}\"\n", log.display());
    let file = File::new(Write::InPlace, &(to + &configuration(&upstream, "one", false)));
    let run = Run::start(&file.path()).await;
    let lines = |path: &Path| std::fs::read_to_string(path).map_or(0, |text| text.lines().count());
    assert_eq!(Speaks::OpenAi.ask(run.addr, KEY, "one").await.status, 200);
    until("the line is written", || async { lines(&log) == 1 }).await;
    let moved = dir.path().join("access.log.1");
    std::fs::rename(&log, &moved).expect("it is moved");
    run.process.signal("USR1");
    until("the log is opened anew", || async { log.exists() }).await;
    assert_eq!(Speaks::OpenAi.ask(run.addr, KEY, "one").await.status, 200);
    until("the next line is in the new file", || async { lines(&log) == 1 }).await;
    assert_eq!((lines(&moved), run.process.stdout.text().as_str()), (1, ""));
}

#[tokio::test]
async fn a_gateway_that_cannot_start_says_why_and_fails() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = taken.local_addr().expect("it is bound");
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("t.toml");
    let channel = "[[channel]]\nname = \"c\"\ntype = \"openai\"\napi_keys = [\"sk-c-0123456789\"]\n";
    let key = key_named("k", KEY, "");
    let server = format!("[server]\nlisten = [\"{address}\"]\nadmin = \"127.0.0.1:0\"\n");
    std::fs::write(&path, server + channel + &key).expect("it is written");
    let text = path.to_str().expect("a plain path");
    let done = tollgate(&["run", "-c", text]);
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains(&format!("cannot listen on {address}")), "{}", done.stderr);
    let minimal = repository("conf/minimal.toml");
    let minimal = minimal.to_str().expect("a plain path");
    let environment = [("OPENAI_API_KEY", "sk-provider-0123456789")];
    let done = crate::support::process::tollgate_with(&["run", "-c", minimal], &environment, "");
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("published") && done.stderr.contains("keys new"), "{}", done.stderr);
    let done = crate::support::process::tollgate_with(&["check", "-c", minimal], &environment, "");
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stderr.contains("warning"), "{}", done.stderr);
}

//! One binary takes the place of another under its clients: nothing is refused, nothing is cut, and a new one that does
//! not start changes nothing.

use crate::support::ask::{Speaks, channels, key_named};
use crate::support::client::{self, Connection};
use crate::support::process::{Process, Run, until};
use crate::support::socket::Socket;
use crate::support::{KEY, provider};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use tollgate_loadtest::{Fault, Provider, Selector};

/// A configuration and a place to meet, in a directory of their own.
struct House {
    dir: tempfile::TempDir,
    upstream: Provider,
}

impl House {
    async fn build() -> Self {
        let house = Self { dir: tempfile::tempdir().expect("a directory"), upstream: provider().await };
        house.configure("127.0.0.1:0");
        house
    }

    fn configure(&self, listen: &str) {
        let server =
            format!("[server]\nlisten = [{listen:?}]\nadmin = \"127.0.0.1:0\"\n[ledger]\npath = \"l.db\"\n");
        let text = server + &channels(&self.upstream, "[\"m\"]") + &key_named("alice", KEY, "");
        std::fs::write(self.config(), text).expect("it is written");
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("tollgate.toml")
    }

    fn run(&self, more: &[&str], environment: &[(&str, &std::ffi::OsStr)]) -> Process {
        let config = self.config();
        let mut arguments = vec!["run", "-c", config.to_str().expect("a plain path")];
        arguments.extend_from_slice(more);
        let meeting = self.dir.path().join("run");
        let mut all = vec![("RUNTIME_DIRECTORY", meeting.as_os_str())];
        all.extend_from_slice(environment);
        Process::start_with(&arguments, &all)
    }
}

/// Asks without a pause until it is told to stop; how often it was served.
async fn keep_asking(addr: std::net::SocketAddr, stop: &AtomicBool) -> usize {
    let mut served = 0;
    while !stop.load(Ordering::Relaxed) {
        assert_eq!(Speaks::OpenAi.ask(addr, KEY, "m").await.status, 200, "after {served}");
        served += 1;
    }
    served
}

#[tokio::test]
async fn a_new_process_takes_over_and_nobody_notices() {
    for quit_first in [false, true] {
        let house = House::build().await;
        let mut old = Run::start_with(house.run(&[], &[])).await;
        house.upstream.script(Selector::Any, vec![Fault::HoldMidStream { after_events: 2 }]);
        let mut streaming = Connection::open(old.addr).await;
        streaming.send(&Speaks::OpenAi.request(KEY, "m", true, &[])).await;
        assert_eq!(streaming.head().await.expect("an answer").status, 200);
        house.upstream.wait_for_holding(1).await;
        let (addr, admin, stop) = (old.addr, old.admin, AtomicBool::new(false));
        let upgrade = async {
            if quit_first {
                old.process.signal("QUIT");
            }
            let new = house.run(&["--upgrade"], &[]);
            if !quit_first {
                new.stderr.line("waiting for the running process").await;
                assert_eq!(client::get(admin, "/readyz").await.status, 200, "nothing has happened yet");
                old.process.signal("QUIT");
            }
            let new = Run::start_with(new).await;
            assert_eq!((new.addr, new.admin), (addr, admin), "the same sockets");
            old.process.stderr.line("the new process serves: draining").await;
            house.upstream.release();
            assert!(streaming.chunks_until("data: [DONE]\n\n").await.ends_with("data: [DONE]\n\n"));
            assert!(streaming.chunk().await.is_some_and(|last| last.is_empty()), "it ends whole");
            assert_eq!(old.process.ended().await, Some(0));
            until("the new one is asked", || async { !new.process.stdout.text().is_empty() }).await;
            stop.store(true, Ordering::Relaxed);
            new
        };
        let (mut new, served) = tokio::join!(upgrade, keep_asking(addr, &stop));
        assert_eq!(client::get(admin, "/readyz").await.status, 200);
        new.process.signal("TERM");
        assert_eq!(new.process.ended().await, Some(0));
        let lines = |process: &Process| process.stdout.text().lines().count();
        assert_eq!(lines(&old.process) + lines(&new.process), served + 1, "every exchange is in one log");
    }
}

#[tokio::test]
async fn a_session_goes_on_and_a_video_is_found_by_the_next_process_by_another_and_after_a_restart() {
    let house = House::build().await;
    let mut old = Run::start_with(house.run(&[], &[])).await;
    let bearer = format!("Bearer {KEY}");
    let headers = [("authorization", bearer.as_str())];
    let mut socket = Socket::open(old.addr, "/v1/realtime?model=m", &headers).await.expect("it opens");
    assert_eq!(socket.event().await["type"], "session.created");
    let film = br#"{"model":"m","prompt":"bytes=4096 of a cat"}"#;
    let made = client::post(old.addr, "/v1/videos", &headers, film).await.json();
    let path = format!("/v1/videos/{}", made["id"].as_str().expect("an id"));
    let is_found = async |addr| {
        let polled = client::once(addr, &client::request("GET", &path, &headers, b"")).await;
        assert_eq!((polled.status, &polled.json()["id"]), (200, &made["id"]), "{}", polled.text());
    };
    let new = house.run(&["--upgrade"], &[]);
    new.stderr.line("waiting for the running process").await;
    old.process.signal("QUIT");
    let mut new = Run::start_with(new).await;
    old.process.stderr.line("the new process serves: draining").await;
    // The old one may still take a connection that came before it stopped listening.
    until("the new one is asked", || async {
        is_found(new.addr).await;
        new.process.stdout.text().contains("/v1/videos/")
    })
    .await;
    // What began with the old one stays there, and is counted there.
    socket.answered().await;
    socket.close().await;
    assert_eq!(old.process.ended().await, Some(0));
    assert!(old.process.stdout.text().contains("\"path\":\"/v1/realtime\""), "{}", old.process.stdout.text());
    // Another replica of the same configuration, beside it.
    let elsewhere = tempfile::tempdir().expect("a directory");
    let config = elsewhere.path().join("tollgate.toml");
    std::fs::copy(house.config(), &config).expect("it is copied");
    let replica = Run::start(&config).await;
    is_found(replica.addr).await;
    new.process.signal("TERM");
    assert_eq!(new.process.ended().await, Some(0));
    let after = Run::start_with(house.run(&[], &[])).await;
    is_found(after.addr).await;
    let film =
        client::once(after.addr, &client::request("GET", &format!("{path}/content"), &headers, b"")).await;
    assert_eq!((film.status, film.body.len()), (200, 4096));
}

#[tokio::test]
async fn a_new_process_that_cannot_start_leaves_the_old_one_serving() {
    let house = House::build().await;
    let mut old = Run::start_with(house.run(&[], &[])).await;
    // An address for documentation, which no machine has.
    house.configure("192.0.2.1:8080");
    let mut new = house.run(&["--upgrade"], &[]);
    new.stderr.line("waiting for the running process").await;
    old.process.signal("QUIT");
    assert_eq!(new.ended().await, Some(1));
    assert!(new.stderr.rest().await.contains("cannot listen on 192.0.2.1:8080"));
    let said = old.process.stderr.line("nothing was handed over").await;
    assert!(said.contains("ended before it was ready"), "{said}");
    assert_eq!(Speaks::OpenAi.ask(old.addr, KEY, "m").await.status, 200);
    assert_eq!(client::get(old.admin, "/readyz").await.status, 200);
    old.process.signal("TERM");
    assert_eq!(old.process.ended().await, Some(0));
}

#[tokio::test]
async fn only_one_process_waits_and_only_where_nobody_else_can_enter() {
    let house = House::build().await;
    let first = house.run(&["--upgrade"], &[]);
    first.stderr.line("waiting for the running process").await;
    let meeting = house.dir.path().join("run/upgrade");
    assert_eq!(meeting.metadata().expect("it is there").permissions().mode() & 0o777, 0o700);
    let mut second = house.run(&["--upgrade"], &[]);
    assert_eq!(second.ended().await, Some(1));
    assert!(second.stderr.rest().await.contains("another process waits already"));
    std::fs::set_permissions(&meeting, PermissionsExt::from_mode(0o755)).expect("it is ours");
    let mut third = house.run(&["--upgrade"], &[]);
    assert_eq!(third.ended().await, Some(1));
    assert!(third.stderr.rest().await.contains("nobody else may enter"));
}

/// A word that takes longer does not come.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// What the service manager hears.
struct Manager {
    socket: tokio::net::UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn listening(house: &House) -> Self {
        let path = house.dir.path().join("notify");
        Self { socket: tokio::net::UnixDatagram::bind(&path).expect("it is free"), path }
    }

    /// The next message that is not only a sign of life.
    async fn hears(&self) -> String {
        let mut buffer = [0; 4096];
        loop {
            let heard = tokio::time::timeout(PATIENCE, self.socket.recv(&mut buffer)).await;
            let length = heard.expect("nothing is said").expect("a message");
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text != "WATCHDOG=1" {
                return text;
            }
        }
    }
}

#[tokio::test]
async fn a_service_manager_hears_of_everything_and_its_quit_starts_the_next_process() {
    let house = House::build().await;
    let manager = Manager::listening(&house);
    let told = [("NOTIFY_SOCKET", manager.path.as_os_str()), ("WATCHDOG_USEC", "60000000".as_ref())];
    let mut old = Run::start_with(house.run(&[], &told)).await;
    assert!(manager.hears().await.starts_with("READY=1\n"));
    let mut sign = [0; 64];
    let length = manager.socket.recv(&mut sign).await.expect("a sign of life");
    assert_eq!(&sign[..length], b"WATCHDOG=1");
    old.process.signal("HUP");
    let reloading = manager.hears().await;
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert!(manager.hears().await.starts_with("READY=1\n"));
    old.process.signal("QUIT");
    let main = manager.hears().await;
    let pid: u32 = main.strip_prefix("MAINPID=").expect("another process").parse().expect("a number");
    assert_ne!(pid, old.process.id());
    assert!(manager.hears().await.starts_with("READY=1\n"), "the new one");
    assert_eq!(Speaks::OpenAi.ask(old.addr, KEY, "m").await.status, 200);
    let drained = "drained whole=true";
    assert!(old.process.stderr.says(drained).await, "{}", old.process.stderr.text());
    let kill = std::process::Command::new("sh").args(["-c", &format!("kill -TERM {pid}")]).status();
    assert!(kill.expect("a shell").success());
    assert!(manager.hears().await.starts_with("STOPPING=1\n"));
    // Both write to the same pipes, so this is the end of both.
    assert_eq!(old.process.ended().await, Some(0));
}

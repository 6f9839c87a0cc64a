//! `tollgate top` and `tollgate logs tail`: what they show, of what, how wide, and that the terminal is given back.

use crate::support::ask::{Speaks, channels, key_named};
use crate::support::process::{self, Process, Run, tollgate, tollgate_with};
use crate::support::terminal::Terminal;
use crate::support::{KEY, client, provider};
use serde_json::Value;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use tollgate_loadtest::Provider;

const BOB: &str = "sk-test-bob-0123456789";

/// A gateway with two keys and a log file.
struct Watched {
    run: Run,
    log: PathBuf,
    _upstream: Provider,
    _dir: tempfile::TempDir,
}

impl Watched {
    async fn start() -> Self {
        let upstream = provider().await;
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("access.log");
        let text = format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n[log]\naccess = \"{}\"\n{}{}{}",
            log.display(),
            channels(&upstream, "[\"m\"]"),
            key_named("alice", KEY, "limits = { rpm = 1000 }"),
            key_named("bob", BOB, ""),
        );
        let config = dir.path().join("tollgate.toml");
        std::fs::write(&config, text).expect("it is written");
        Self { run: Run::start(&config).await, log, _upstream: upstream, _dir: dir }
    }

    /// Asks, and says the exchange's id.
    async fn ask(&self, key: &str, model: &str) -> String {
        let answer = client::once(self.run.addr, &Speaks::OpenAi.request(key, model, true, &[])).await;
        let id = answer.header("x-request-id").expect("every answer has its id").to_owned();
        let path = format!("/api/exchanges/{id}");
        // Told once it is recorded, which is after the client has its last byte.
        process::until("the exchange is recorded", || async {
            client::get(self.run.admin, &path).await.status == 200
        })
        .await;
        id
    }
}

fn no_wider(text: &str, columns: usize) {
    for line in text.lines() {
        assert!(line.chars().count() <= columns, "{}: {line}", line.chars().count());
    }
}

#[tokio::test]
async fn top_shows_what_happens_as_wide_as_it_is_told_and_without_colour_where_nobody_looks() {
    let watched = Watched::start().await;
    let good = watched.ask(KEY, "m").await;
    watched.ask(BOB, "unheard-of").await;
    let admin = watched.run.admin_url();
    for columns in ["80", "120"] {
        let done = tollgate_with(&["top", "--once", "--admin", &admin], &[("COLUMNS", columns)], "");
        assert_eq!(done.code, Some(0), "{done:?}");
        no_wider(&done.stdout, columns.parse().expect("a number"));
        for said in [
            "ready",
            "CHANNEL",
            "openai",
            "healthy",
            "alice",
            "bob",
            "rpm",
            "404     model_not_",
            "2 exchanges, 1 refused",
        ] {
            assert!(done.stdout.contains(said), "{said} in\n{}", done.stdout);
        }
        assert!(!done.stdout.contains('\u{1b}'), "{}", done.stdout);
    }
    let wide = tollgate_with(&["top", "--once", "--admin", &admin], &[("COLUMNS", "160")], "").stdout;
    assert!(wide.contains(&good), "{wide}");
    let json = tollgate(&["top", "--once", "--format", "json", "--admin", &admin]).stdout;
    let told: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(
        (&told["traffic"]["exchanges"], told["detail"]["keys"].as_array().map(Vec::len)),
        (&2.into(), Some(2))
    );
}

#[tokio::test]
async fn every_other_view_fits_a_terminal_too_and_has_colour_there_alone() {
    let watched = Watched::start().await;
    let id = watched.ask(KEY, "m").await;
    let (admin, config) = (watched.run.admin_url(), watched.log.with_file_name("tollgate.toml"));
    let config = config.to_str().expect("a plain path");
    // What each ends with on a terminal of 60 columns, and the code before what it colours.
    let views: [(&[&str], &str, &str); 6] = [
        (&["status"], "healthy", "\u{1b}[32mhealthy"),
        (&["explain", "--key", "alice", "--model", "m"], "eligible", "\u{1b}[32meligible"),
        (&["lookup", &id], "no price", "\u{1b}[32m200, end: ok"),
        (&["keys", "list"], "bob", "\u{1b}[2mkey"),
        (&["channels", "list", "-c", config], "http://", "\u{1b}[2mchannel"),
        (&["models"], "  m", "alice:"),
    ];
    for (view, said, coloured) in views {
        let arguments =
            if view.contains(&"-c") { view.to_vec() } else { [view, &["--admin", &admin]].concat() };
        let whole = tollgate(&arguments);
        assert_eq!(whole.code, Some(0), "{whole:?}");
        assert!(whole.stdout.contains(said) && !whole.stdout.contains('\u{1b}'), "{}", whole.stdout);
        for columns in ["40", "60", "100"] {
            no_wider(
                &tollgate_with(&arguments, &[("COLUMNS", columns)], "").stdout,
                columns.parse().expect("it is"),
            );
        }
        let mut command = process::command(&arguments);
        command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
        let mut terminal = Terminal::start(command, 60, 24);
        assert_eq!(terminal.ended(), Some(0));
        terminal.until(coloured);
    }
}

#[tokio::test]
async fn top_in_a_pipe_looks_again_and_again_until_nobody_reads() {
    let watched = Watched::start().await;
    let top = Process::start(&[
        "top",
        "--interval",
        "200ms",
        "--format",
        "json",
        "--admin",
        &watched.run.admin_url(),
    ]);
    top.stdout.line("\"exchanges\":0").await;
    watched.ask(KEY, "m").await;
    top.stdout.line("\"exchanges\":1").await;
}

#[tokio::test]
async fn top_takes_the_terminal_and_gives_it_back() {
    let watched = Watched::start().await;
    watched.ask(KEY, "m").await;
    let admin = watched.run.admin_url();
    for (quiet, key) in [(false, &b"q"[..]), (true, &[3])] {
        let mut command = process::command(&["top", "--admin", &admin]);
        command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
        if quiet {
            command.env("NO_COLOR", "1");
        }
        let mut terminal = Terminal::start(command, 80, 24);
        let shown = terminal.until("alice").to_owned();
        assert!(shown.contains("\u{1b}[?1049h"), "a screen of its own: {shown:?}");
        assert_eq!(
            shown.contains("\u{1b}[32m"),
            !quiet,
            "colour on a terminal unless NO_COLOR is set: {shown:?}"
        );
        assert!(!terminal.is_as_it_was(), "keys act at once");
        terminal.press(key);
        assert_eq!(terminal.ended(), Some(0));
        terminal.until("\u{1b}[?25h\u{1b}[?1049l");
        assert!(terminal.is_as_it_was());
    }
}

#[tokio::test]
async fn tail_begins_with_the_last_ones_and_shows_each_that_comes_once() {
    let watched = Watched::start().await;
    let (first, second) = (watched.ask(KEY, "m").await, watched.ask(BOB, "m").await);
    let admin = watched.run.admin_url();
    let tail = Process::start(&["logs", "tail", "-n", "1", "--admin", &admin]);
    tail.stdout.line(&second).await;
    let third = watched.ask(KEY, "unheard-of").await;
    let line = tail.stdout.line(&third).await;
    for said in ["404  model_not_found", "alice", "unheard-of"] {
        assert!(line.contains(said), "{said} in {line}");
    }
    let text = tail.stdout.text();
    assert!(!text.contains(&first), "{text}");
    assert_eq!(text.matches(&second).count(), 1, "{text}");
}

#[tokio::test]
async fn tail_filters_and_prints_lines_for_programs_as_they_were_logged() {
    let watched = Watched::start().await;
    let ids =
        [watched.ask(KEY, "m").await, watched.ask(BOB, "m").await, watched.ask(BOB, "unheard-of").await];
    let admin = watched.run.admin_url();
    let logged = tollgate(&["logs", "tail", "--no-follow", "--format", "json", "--admin", &admin]).stdout;
    process::until("the log has three lines", || async {
        std::fs::read_to_string(&watched.log).is_ok_and(|text| text.lines().count() == 3)
    })
    .await;
    assert_eq!(logged, std::fs::read_to_string(&watched.log).expect("it is there"), "the same bytes");
    let log = watched.log.to_str().expect("a plain path");
    for (filter, fitting) in [
        (&["--key", "alice"][..], &[0][..]),
        (&["--key", "bob", "--status", "4xx"], &[2]),
        (&["--status", "200"], &[0, 1]),
        (&["--channel", "openai"], &[0, 1]),
        (&["--channel", "anthropic"], &[]),
        (&["--id", &ids[1]], &[1]),
        (&["--problems"], &[2]),
        (&["-n", "2"], &[1, 2]),
    ] {
        for place in [["--admin", admin.as_str()], ["--file", log]] {
            let arguments = [&["logs", "tail", "--no-follow", "--format", "json"], filter, &place].concat();
            let done = tollgate(&arguments);
            assert_eq!(done.code, Some(0), "{done:?}");
            let line = |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["request_id"].clone();
            let shown: Vec<Value> = done.stdout.lines().map(line).collect();
            let expected: Vec<Value> = fitting.iter().map(|at| ids[*at].as_str().into()).collect();
            assert_eq!(shown, expected, "{arguments:?}");
        }
    }
    for columns in ["80", "120"] {
        let done =
            tollgate_with(&["logs", "tail", "--no-follow", "--admin", &admin], &[("COLUMNS", columns)], "");
        no_wider(&done.stdout, columns.parse().expect("a number"));
        assert!(done.stdout.starts_with("UTC ") && done.stdout.contains(&ids[2]), "{}", done.stdout);
    }
}

/// An access line as far as a tail looks at it.
fn line(id: &str) -> String {
    format!(
        "{{\"ts\":\"2026-01-31T15:04:05.678Z\",\"request_id\":\"{id}\",\"status\":200,\"end\":\"ok\",\"attempts\":[]}}\n"
    )
}

fn append(path: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).expect("it opens");
    file.write_all(text.as_bytes()).expect("it is written");
}

#[tokio::test]
async fn tail_follows_a_file_through_a_rotation_and_takes_no_half_lines() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("access.log");
    append(&path, &(line("req_old") + "a message that is no access line\n" + &line("req_1")));
    let name = path.to_str().expect("a plain path");
    let tail = Process::start(&["logs", "tail", "--file", name, "-n", "1"]);
    tail.stdout.line("req_1").await;
    let second = line("req_2");
    append(&path, &second[..40]);
    append(&path, &second[40..]);
    tail.stdout.line("req_2").await;
    let renamed = dir.path().join("access.log.1");
    std::fs::rename(&path, &renamed).expect("it is renamed");
    append(&renamed, &line("req_3"));
    append(&path, &line("req_4"));
    tail.stdout.line("req_4").await;
    std::fs::write(&path, line("req_5")).expect("cut down and begun anew");
    // Of the same length as before: another one makes it longer than what was read.
    append(&path, &line("req_6"));
    tail.stdout.line("req_6").await;
    let text = tail.stdout.text();
    for id in ["req_1", "req_2", "req_3", "req_4"] {
        assert_eq!(text.matches(id).count(), 1, "{id} in {text}");
    }
    assert!(!text.contains("req_old") && !text.contains("message"), "{text}");
}

#[test]
fn tail_reads_a_pipe_to_its_end() {
    let input = "tollgate is up\n".to_owned() + &line("req_1") + &line("req_2");
    let done = tollgate_with(&["logs", "tail", "--file", "-", "--id", "req_2"], &[("COLUMNS", "80")], &input);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(done.stdout.lines().count(), 2, "a heading and a line: {}", done.stdout);
    assert!(done.stdout.contains("15:04:05  200"), "{}", done.stdout);
}

#[test]
fn where_nobody_answers_they_fail_at_once_and_say_how_they_are_called() {
    for (arguments, code) in [
        (&["top", "--admin", "http://127.0.0.1:9"][..], 1),
        (&["logs", "tail", "--admin", "http://127.0.0.1:9"], 1),
        (&["logs", "tail", "--file", "/nowhere/access.log"], 1),
        (&["logs", "tail", "--status", "ok"], 2),
        (&["logs", "tail", "--file", "x", "--admin", "y"], 2),
        (&["top", "--interval", "1ms"], 2),
        (&["logs"], 2),
    ] {
        let done = tollgate(arguments);
        assert_eq!(done.code, Some(code), "{arguments:?}: {done:?}");
        assert!(done.stdout.is_empty() && !done.stderr.is_empty(), "{arguments:?}: {done:?}");
    }
}

//! Kept configurations and the way back to them: what is kept, who may read it, and that no edit is ever lost.

use crate::support::ask::{channels, key_named};
use crate::support::process::{Done, folder, other, skipped, tollgate, tollgate_with};
use crate::support::{Gateway, KEY, client, provider};
use serde_json::Value;
use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tollgate_loadtest::Provider;

const BOB: &str = "sk-bob-0123456789";
const HISTORY: &str = "[history]\npath = \"var/history\"\n";

/// A gateway that keeps what was in force, beside its file.
struct Kept {
    gateway: Gateway,
    _upstream: Provider,
    base: String,
}

impl Kept {
    async fn start(more: &str) -> Self {
        let upstream = provider().await;
        let base = HISTORY.to_owned() + &channels(&upstream, "[\"m\"]") + &key_named("alice", KEY, "");
        let gateway = Gateway::start(&(base.clone() + more)).await;
        Self { gateway, _upstream: upstream, base }
    }

    fn reload(&self, more: &str) {
        self.gateway.reload("", &(self.base.clone() + more)).expect("it loads");
    }

    fn file(&self) -> &Path {
        &self.gateway.config
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.file().with_file_name(name)
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.file()).expect("it is there")
    }

    /// `tollgate config …` with this gateway.
    fn config(&self, arguments: &[&str]) -> Done {
        let admin = format!("http://{}", self.gateway.running.admin);
        let all = [&["config"], arguments, &["-c", self.file().to_str().expect("a plain path")]].concat();
        let all = if arguments[0] == "rollback" { [&all[..], &["--admin", &admin]].concat() } else { all };
        tollgate(&all)
    }

    fn listed(&self) -> Vec<Value> {
        let done = self.config(&["history", "--format", "json"]);
        assert_eq!(done.code, Some(0), "{done:?}");
        serde_json::from_str(&done.stdout).expect("JSON")
    }

    fn kept(&self, number: u64) -> Value {
        let path = self.beside("var/history").join(format!("{number:06}.json"));
        serde_json::from_slice(&std::fs::read(path).expect("it is kept")).expect("JSON")
    }

    async fn status(&self) -> Value {
        client::get(self.gateway.running.admin, "/api/status").await.json()["config"].clone()
    }
}

fn numbers(listed: &[Value]) -> Vec<(u64, &str, bool)> {
    let row = |row: &'_ Value| (row["number"].as_u64(), row["good"].as_bool());
    let row = |it| (row(it).0.unwrap_or(0), it["origin"].as_str().unwrap_or(""), row(it).1.unwrap_or(false));
    listed.iter().map(row).collect()
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("it has one")).expect("it is made");
    let next = path.with_extension("next");
    std::fs::write(&next, text).expect("it is written");
    std::fs::rename(&next, path).expect("it takes its place");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_edit_is_kept_and_rolled_back_and_every_rollback_can_be_rolled_back() {
    let kept = Kept::start("").await;
    let first = kept.text();
    let bob = key_named("bob", BOB, "");
    kept.reload(&bob);
    let second = kept.text();
    assert_eq!(numbers(&kept.listed()), [(2, "reload", true), (1, "start", true)]);
    assert_eq!(kept.status().await["history"]["number"], 2);
    let broken = second.clone() + "[[key]]\nnaem = \"x\"\n# half an hour's work\n";
    write(kept.file(), &broken);

    let done = kept.config(&["rollback"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    for said in ["back to entry 2 of ", "what stood in the files is entry 3", "is in force"] {
        assert!(done.stdout.contains(said), "{said}: {}", done.stdout);
    }
    assert_eq!(kept.text(), second);
    let entry = kept.kept(3);
    assert_eq!((&entry["files"][0]["text"], &entry["good"]), (&broken.into(), &false.into()));
    let status = kept.status().await;
    assert_eq!((&status["reload"]["successful"], &status["history"]["number"]), (&true.into(), &2.into()));

    let done = kept.config(&["rollback"]);
    assert!(done.stdout.contains("it changed:\n    key bob: removed"), "{done:?}");
    assert_eq!(kept.text(), first);
    let done = kept.config(&["rollback"]);
    assert!(done.stdout.contains("key bob: added"), "{done:?}");
    assert_eq!(kept.text(), second);
    let listed = kept.listed();
    let expected = [
        (5, "reload", true),
        (4, "reload", true),
        (3, "set aside", false),
        (2, "reload", true),
        (1, "start", true),
    ];
    assert_eq!(numbers(&listed), expected);
    assert_eq!((&listed[0]["same_as"], &listed[0]["in_files"]), (&2.into(), &true.into()));
    assert_eq!(listed[3]["changes"], serde_json::json!(["key bob: added (group default)"]));
    let text = kept.config(&["history"]).stdout;
    for said in ["CHANGED", "set aside", "the same as 2", "files", "refused"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let narrow = tollgate_with(
        &["config", "history", "-c", kept.file().to_str().expect("plain")],
        &[("COLUMNS", "40")],
        "",
    );
    assert!(narrow.stdout.lines().all(|line| line.chars().count() <= 40), "{}", narrow.stdout);
    assert_eq!(
        kept.config(&["rollback", "5"]).stdout.lines().last(),
        Some("  the files hold it already; nothing was done")
    );
    assert_eq!(kept.config(&["rollback", "99"]).code, Some(1));
    assert_eq!(kept.config(&["rollback", "x"]).code, Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn included_files_come_back_and_those_that_were_not_there_go() {
    let kept = Kept::start("").await;
    let include = |text: &str| format!("include = [\"keys.d/*.toml\"]\n{text}");
    let (one, two) = (kept.beside("keys.d/one.toml"), kept.beside("keys.d/two.toml"));
    write(&one, &key_named("one", "sk-one-0123456789", ""));
    write(kept.file(), &include(&kept.text()));
    let reload = || kept.gateway.running.reloader.as_ref().expect("from a file").reload().map(|_| ());
    assert!(reload().is_ok());
    write(&one, &key_named("one", "sk-one-0123456789", "limits = { rpm = 5 }"));
    write(&two, &key_named("two", "sk-two-0123456789", ""));
    write(&kept.beside("keys.d/notes.txt"), "not ours");
    assert!(reload().is_ok());
    assert_eq!(kept.kept(3)["files"].as_array().map(Vec::len), Some(3));

    let dry = kept.config(&["rollback", "2", "--dry-run"]);
    for said in [
        "would go back to entry 2",
        "key one: limits.burst 5 → not set",
        "key two: removed",
        "remove ",
        "write ",
    ] {
        assert!(dry.stdout.contains(said), "{said}: {dry:?}");
    }
    assert!(two.exists());
    let done = kept.config(&["rollback", "2"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(!two.exists() && kept.beside("keys.d/notes.txt").exists());
    assert!(!std::fs::read_to_string(&one).expect("it is there").contains("rpm"));
    assert_eq!(kept.config(&["rollback", "3"]).code, Some(0));
    assert!(std::fs::read_to_string(&two).expect("it is back").contains("sk-two"));
    let diff = kept.config(&["diff", "2", "3"]).stdout;
    for said in
        ["from entry 2 ", " to entry 3 ", "  key two: added (group default)", "  file keys.d/two.toml: added"]
    {
        assert!(diff.contains(said), "{said}: {diff}");
    }
    let hidden = std::fs::read_dir(two.parent().expect("a directory")).expect("it is listed").count();
    assert_eq!(hidden, 3, "no temporary file is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_gateway_refuses_is_put_back_file_by_file() {
    let kept = Kept::start("").await;
    let secret = kept.beside("secret");
    write(&secret, "sk-from-a-file-0123456789");
    let with_file = "[[key]]\nname = \"f\"\nsecret = { file = \"secret\" }\n";
    kept.reload(with_file);
    kept.reload("");
    let now = kept.text();
    std::fs::remove_file(&secret).expect("it was there");
    let done = kept.config(&["rollback", "2"]);
    assert_eq!(done.code, Some(1), "{done:?}");
    for said in ["the gateway refused it, the files are as they were", "key.f.secret"] {
        assert!(done.stderr.contains(said), "{said}: {}", done.stderr);
    }
    assert_eq!(kept.text(), now);
    assert_eq!(kept.status().await["reload"]["successful"], true);
    assert!(!kept.kept(2).to_string().contains("sk-from-a-file"), "a reference stays one");
}

#[tokio::test]
async fn without_a_gateway_the_files_are_put_back_and_their_mode_and_links_stay() {
    let kept = Kept::start("").await;
    kept.reload(&key_named("bob", BOB, ""));
    let (config, real) = (kept.file(), kept.beside("real.toml"));
    std::fs::rename(config, &real).expect("it is moved");
    symlink("real.toml", config).expect("a link");
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).expect("a mode");
    write(&kept.beside("broken"), "[history]\npath = \"var/history\"\nbroken = [");
    std::fs::copy(kept.beside("broken"), &real).expect("a broken file");
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).expect("a mode");
    let name = config.to_str().expect("a plain path");
    let done = tollgate(&["config", "rollback", "-c", name]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stdout.contains("nothing was reloaded"), "{done:?}");
    assert!(config.is_symlink() && kept.text().contains(BOB));
    let metadata = std::fs::metadata(&real).expect("it is there");
    assert_eq!(metadata.mode() & 0o7777, 0o640);
    let directory = std::fs::metadata(kept.beside("var/history")).expect("it is there");
    assert_eq!(directory.mode() & 0o7777, 0o700);
    for entry in std::fs::read_dir(kept.beside("var/history")).expect("it is listed") {
        let metadata = entry.and_then(|entry| entry.metadata()).expect("it is there");
        assert_eq!(metadata.mode() & 0o7777, 0o600);
    }
    let aside = kept.kept(3);
    assert!(aside["files"][0]["text"].as_str().is_some_and(|text| text.ends_with("broken = [")), "{aside}");
    let out = kept.beside("out");
    let to = out.to_str().expect("a plain path");
    let output = ["config", "rollback", "1", "--output", to, "-c", name];
    assert_eq!(tollgate(&output).code, Some(0));
    assert!(!std::fs::read_to_string(out.join("tollgate.toml")).expect("it is written").contains(BOB));
    assert_eq!(tollgate(&output).code, Some(1), "nothing is overwritten");
    let refused = tollgate(&["config", "rollback", "3", "-c", name]);
    assert_eq!(refused.code, Some(1), "what never stood is not put back blindly: {refused:?}");
}

#[tokio::test]
async fn a_step_that_fails_changes_nothing() {
    let kept = Kept::start("").await;
    write(&kept.beside("more/one.toml"), &key_named("one", "sk-one-0123456789", ""));
    write(kept.file(), &format!("include = [\"more/one.toml\"]\n{}", kept.text()));
    assert!(kept.gateway.running.reloader.as_ref().expect("from a file").reload().is_ok());
    kept.reload("");
    let now = kept.text();
    std::fs::remove_dir_all(kept.beside("more")).expect("it was there");
    std::fs::write(kept.beside("more"), "in the way").expect("it is written");
    let done = tollgate(&["config", "rollback", "2", "-c", kept.file().to_str().expect("plain")]);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert_eq!(kept.text(), now, "{}", done.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_files_are_compared_with_what_runs_and_nothing_changes() {
    let kept = Kept::start("").await;
    let admin = format!("http://{}", kept.gateway.running.admin);
    let name = kept.file().to_str().expect("a plain path").to_owned();
    let compare = |more: &[&str]| {
        tollgate(&[&["check", "--against-running", "--admin", &admin, "-c", &name], more].concat())
    };
    let done = compare(&[]);
    assert_eq!((done.code, done.stdout.trim()), (Some(0), "the gateway runs this configuration"), "{done:?}");
    let away = kept.beside("away");
    std::fs::create_dir(&away).expect("a directory");
    let edited = |text: &str| {
        let path = away.join("tollgate.toml");
        write(&path, text);
        tollgate(&["check", "--against-running", "--admin", &admin, "-c", path.to_str().expect("plain")])
    };
    let now = kept.text();
    let done = edited(&now.replace("var/history", "../var/history"));
    assert_eq!(done.code, Some(3), "another directory is a difference: {done:?}");
    let absolute = kept.beside("var/history").display().to_string();
    let done = edited(&(now.replace("var/history", &absolute) + "# said\n"));
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stdout.contains("the gateway runs these settings"), "{done:?}");
    let other = now.replace("127.0.0.1:0\"]", "127.0.0.9:0\"]").replace("var/history", &absolute);
    let done = edited(&(other + &key_named("bob", BOB, "")));
    assert_eq!(done.code, Some(3), "{done:?}");
    for said in
        ["server: listen +127.0.0.9:0 -127.0.0.1:0", "key bob: added", "needs a restart: server.listen"]
    {
        assert!(done.stdout.contains(said), "{said}: {}", done.stdout);
    }
    assert_eq!(edited("[[key]]\nnaem = 1\n").code, Some(1));
    assert_eq!(kept.status().await["reload"]["generation"], 1);
    let json: Value = serde_json::from_str(&compare(&["--format", "json"]).stdout).expect("JSON");
    assert_eq!((&json["same"], &json["same_bytes"]), (&true.into(), &true.into()));
    assert_eq!(tollgate(&["check", "--against-running", "--dump"]).code, Some(2));
    assert_eq!(tollgate(&["check", "--admin", "x"]).code, Some(2));
    assert_eq!(
        tollgate(&["check", "--against-running", "--admin", "http://127.0.0.1:9", "-c", &name]).code,
        Some(1)
    );
}

/// A command that finds a directory read-only: by a mount, as a `ConfigMap` is, or by its mode, which root does not heed
/// unless that right is taken from it.
fn where_nobody_may_write(directory: &Path, by_mount: bool, command: &[&str]) -> Option<Output> {
    let quoted = |text: &str| format!("'{text}'");
    let place = quoted(directory.to_str().expect("a plain path"));
    let arguments: Vec<String> = command.iter().map(|argument| quoted(argument)).collect();
    let run = format!("exec {}/tollgate {}", folder().display(), arguments.join(" "));
    let mount = format!("mount --bind {place} {place} && mount -o remount,ro,bind {place} || exit 77\n{run}");
    let mut shell = if by_mount {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "sh", "-c", &mount]);
        unshare
    } else if std::fs::write(directory.join("probe"), "").is_ok() {
        std::fs::remove_file(directory.join("probe")).expect("it is there");
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--bounding-set=-dac_override", "--inh-caps=-dac_override", "sh", "-c", &run]);
        setpriv
    } else {
        let mut shell = Command::new("sh");
        shell.args(["-c", &run]);
        shell
    };
    let done = other(shell.env_remove("TOLLGATE_ADMIN_TOKEN"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    if done.status.code() == Some(77) || said.starts_with("unshare:") {
        skipped(&format!("a directory that is mounted read-only: {said}"));
        return None;
    }
    Some(done)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_nobody_may_write_is_left_alone_and_its_files_go_elsewhere() {
    let away = tempfile::tempdir().expect("a directory");
    let history = format!("[history]\npath = \"{}\"\n", away.path().join("history").display());
    let upstream = provider().await;
    let base = history + &channels(&upstream, "[\"m\"]") + &key_named("alice", KEY, "");
    let gateway = Gateway::start(&base).await;
    gateway.reload("", &(base.clone() + &key_named("bob", BOB, ""))).expect("it loads");
    let (directory, now) = (gateway.config.parent().expect("it has one"), std::fs::read(&gateway.config));
    let file = gateway.config.to_str().expect("a plain path");
    let admin = format!("http://{}", gateway.running.admin);
    let listed =
        || std::fs::read_dir(directory).expect("it is listed").map(|entry| entry.expect("one").file_name());
    let before: BTreeSet<_> = listed().collect();
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o555)).expect("a mode");
    for (by_mount, hint) in [(true, "the file system is read-only"), (false, "a user who may write")] {
        let back = ["config", "rollback", "1", "-c", file, "--admin", &admin];
        let Some(done) = where_nobody_may_write(directory, by_mount, &back) else { continue };
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(1), "{said}");
        for word in ["cannot write", hint, "--output DIR", "nothing was changed"] {
            assert!(said.contains(word), "{word}: {said}");
        }
        let out = away.path().join(format!("out-{by_mount}"));
        let output = ["config", "rollback", "1", "-c", file, "--output", out.to_str().expect("plain")];
        let done = where_nobody_may_write(directory, by_mount, &output).expect("it went a moment ago");
        assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
        let written = std::fs::read_to_string(out.join("tollgate.toml")).expect("it is written");
        assert!(written.contains("alice") && !written.contains("bob"), "{written}");
    }
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    assert_eq!(std::fs::read(&gateway.config).ok(), now.ok(), "the file is as it was");
    assert_eq!(listed().collect::<BTreeSet<_>>(), before, "and nothing lies beside it");
    let status = client::get(gateway.running.admin, "/api/status").await.json();
    assert_eq!((&status["config"]["reload"]["generation"], &status["keys"]), (&2.into(), &2.into()));
}

#[tokio::test]
async fn the_oldest_go_and_the_same_is_kept_once() {
    let kept = Kept::start("").await;
    let text = |at: u32| {
        kept.base.replace("path = \"var/history\"", "path = \"var/history\"\nkeep = 3")
            + &key_named("k", BOB, &format!("limits = {{ rpm = {at} }}"))
    };
    for at in 1..=6 {
        kept.gateway.reload("", &text(at)).expect("it loads");
        let reloader = kept.gateway.running.reloader.as_ref().expect("from a file");
        assert!(reloader.reload().is_ok(), "once more changes nothing");
    }
    assert_eq!(numbers(&kept.listed()), [(7, "reload", true), (6, "reload", true), (5, "reload", true)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_rollback_says_it_has_kept_is_there_afterwards() {
    for (keep, by_hand) in [(3, true), (3, false), (1, false)] {
        let kept = Kept::start("").await;
        let text = |at: u32| {
            kept.base.replace("path = \"var/history\"", &format!("path = \"var/history\"\nkeep = {keep}"))
                + &key_named("k", BOB, &format!("limits = {{ rpm = {at} }}"))
        };
        let in_force = |at| {
            kept.gateway.reload("", &text(at)).expect("it loads");
            kept.text()
        };
        let texts = [1, 2, 3].map(in_force);
        if by_hand {
            // As the oldest that is kept has it; no reload was asked for.
            write(kept.file(), &texts[0]);
        }
        let before = kept.text();
        let done = kept.config(&["rollback", "3"]);
        assert_eq!(done.code, Some(0), "{done:?}");
        assert_eq!(kept.text(), texts[1], "{done:?}");
        let said =
            done.stdout.lines().find_map(|line| line.split("what stood in the files is entry ").nth(1));
        let number = said.and_then(|number| number.parse().ok()).expect("a number");
        assert_eq!(kept.kept(number)["files"][0]["text"], before.as_str(), "keep={keep}: {done:?}");
    }
}

#[tokio::test]
async fn a_history_that_cannot_be_written_holds_nothing_up_and_is_said() {
    let upstream = provider().await;
    let base = channels(&upstream, "[\"m\"]") + &key_named("alice", KEY, "");
    let gateway = Gateway::start(&base).await;
    std::fs::write(gateway.config.with_file_name("taken"), "").expect("it is written");
    let history = "[history]\npath = \"taken\"\n";
    gateway.reload("", &(history.to_owned() + &base)).expect("it loads");
    let status = client::get(gateway.running.admin, "/api/status").await.json();
    let told = &status["config"]["history"];
    assert!(told["problem"].as_str().is_some_and(|why| why.contains("taken")), "{told}");
    let none = tollgate(&["config", "history", "-c", gateway.config.to_str().expect("plain")]);
    assert_eq!(none.code, Some(1), "{none:?}");
    gateway.reload("", &base).expect("it loads");
    let none = tollgate(&["config", "history", "-c", gateway.config.to_str().expect("plain")]);
    assert!(none.code == Some(1) && none.stderr.contains("[history]"), "{none:?}");
}

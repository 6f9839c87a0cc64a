//! The binary itself, as a process of its own.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// The binary: where nextest moved it, else where cargo built it.
fn binary() -> PathBuf {
    std::env::var_os("NEXTEST_BIN_EXE_tollgate")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_tollgate")), PathBuf::from)
}

/// Says what is not tested on this machine, and why.
#[expect(clippy::print_stdout, reason = "what was not tested is said")]
pub(crate) fn skipped(why: &str) {
    println!("skipped: {why}");
}

/// Runs another program, where it is installed.
pub(crate) fn other(command: &mut Command) -> Option<Output> {
    match command.output() {
        Ok(output) => Some(output),
        Err(problem) => {
            skipped(&format!("{} cannot be started ({problem})", command.get_program().display()));
            None
        }
    }
}

/// Where it stands, for a shell's `PATH`.
pub(crate) fn folder() -> PathBuf {
    binary().parent().map(Path::to_owned).unwrap_or_default()
}

/// The binary with these arguments, away from what the environment says.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
    for variable in ["TOLLGATE_ADMIN_TOKEN", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "RUST_LOG", "COLUMNS"] {
        command.env_remove(variable);
    }
    command
}

/// What a command that ends by itself did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command to its end.
pub(crate) fn tollgate(arguments: &[&str]) -> Done {
    tollgate_with(arguments, &[], "")
}

/// The same with an environment and something on standard input.
pub(crate) fn tollgate_with(arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Done {
    let mut child = command(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    // A command that reads nothing may be gone already.
    drop(stdin.write_all(input.as_bytes()));
    drop(stdin);
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Done { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// A process that stays up until it is told, or dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) stdout: Lines,
    pub(crate) stderr: Lines,
}

impl Process {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::spawned(command(arguments))
    }

    /// The same with an environment.
    pub(crate) fn start_with(arguments: &[&str], environment: &[(&str, &std::ffi::OsStr)]) -> Self {
        let mut command = command(arguments);
        command.envs(environment.iter().copied());
        Self::spawned(command)
    }

    /// `tollgate run` with a limit on the size of every file it writes, which takes the place of a full disk. The
    /// signal that comes with a write past it is ignored, so that the write fails, as it does on a full disk.
    pub(crate) fn start_with_files_up_to(bytes: usize, config: &Path) -> Self {
        let mut limited = Command::new("sh");
        let script = format!("trap '' XFSZ; exec prlimit --fsize={bytes}:unlimited -- \"$@\"");
        limited.args(["-c", &script, "sh"]).arg(binary()).args(["run", "-c"]).arg(config);
        Self::spawned(limited)
    }

    /// `tollgate run` that may open so many files, `soft:hard`.
    pub(crate) fn start_limited(files: &str, config: &Path) -> Self {
        let mut limited = Command::new("prlimit");
        limited.arg(format!("--nofile={files}")).arg("--").arg(binary()).args(["run", "-c"]).arg(config);
        Self::spawned(limited)
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The disk has room again.
    pub(crate) fn lift_file_limit(&self) {
        let pid = self.child.id().to_string();
        let lifted = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited:unlimited"]).status();
        assert!(lifted.expect("prlimit is there").success());
    }

    fn spawned(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stdout = Lines::of(child.stdout.take().expect("it is piped"));
        let stderr = Lines::of(child.stderr.take().expect("it is piped"));
        Self { child, stdout, stderr }
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success(), "{kill}");
    }

    /// Its exit code, once it has ended.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        self.stdout.closed().await;
        self.child.wait().expect("it was started").code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What a process writes, line by line; waiting for a line is an event.
#[derive(Clone)]
pub(crate) struct Lines {
    text: Arc<Mutex<String>>,
    state: watch::Receiver<(usize, bool)>,
}

impl Lines {
    pub(crate) fn of(pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let (grown, state) = watch::channel((0, false));
        let kept = Arc::clone(&text);
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push_str(&line);
                kept.push('\n');
                drop(kept);
                grown.send_modify(|(lines, _)| *lines += 1);
            }
            grown.send_modify(|(_, closed)| *closed = true);
        });
        Self { text, state }
    }

    /// Everything so far.
    pub(crate) fn text(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first line with this in it, once it is there.
    pub(crate) async fn line(&self, wanted: &str) -> String {
        let mut state = self.state.clone();
        loop {
            let closed = state.borrow_and_update().1;
            let found = self.text().lines().find(|line| line.contains(wanted)).map(str::to_owned);
            if let Some(line) = found {
                return line;
            }
            assert!(!closed, "it ended without saying {wanted}: {}", self.text());
            let _changed = tokio::time::timeout(PATIENCE, state.changed())
                .await
                .unwrap_or_else(|_| panic!("nothing said {wanted}: {}", self.text()));
        }
    }

    /// Whether it says this before it ends.
    pub(crate) async fn says(&self, wanted: &str) -> bool {
        let mut state = self.state.clone();
        loop {
            let closed = state.borrow_and_update().1;
            if self.text().contains(wanted) {
                return true;
            }
            if closed || tokio::time::timeout(PATIENCE, state.changed()).await.is_err() {
                return false;
            }
        }
    }

    /// Waits until there is more than when it was called.
    pub(crate) async fn grown(&self) {
        let mut state = self.state.clone();
        state.mark_unchanged();
        tokio::time::timeout(PATIENCE, state.changed())
            .await
            .unwrap_or_else(|_| panic!("nothing more came"))
            .expect("the reader outlives the pipe");
    }

    /// Everything, once nothing more can come.
    pub(crate) async fn rest(&self) -> String {
        self.closed().await;
        self.text()
    }

    async fn closed(&self) {
        let mut state = self.state.clone();
        tokio::time::timeout(PATIENCE, state.wait_for(|(_, closed)| *closed))
            .await
            .unwrap_or_else(|_| panic!("it does not end: {}", self.text()))
            .expect("the reader outlives the pipe");
    }
}

/// `tollgate run` on a configuration of its own.
pub(crate) struct Run {
    pub(crate) process: Process,
    pub(crate) addr: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Run {
    /// Starts it on this file, whose addresses have port 0, and waits until it is up.
    pub(crate) async fn start(config: &Path) -> Self {
        Self::start_with(Process::start(&["run", "-c", config.to_str().expect("a plain path")])).await
    }

    /// The same with a process that was started in another way.
    pub(crate) async fn start_with(process: Process) -> Self {
        let line = process.stderr.line("tollgate is up").await;
        let address = |name: &str| {
            let value = line.split(name).nth(1).unwrap_or_else(|| panic!("no {name} in {line}"));
            let value = value.trim_start_matches('"');
            let end = value.find(['"', ' ']).unwrap_or(value.len());
            value[..end].parse().unwrap_or_else(|error| panic!("{name} in {line}: {error}"))
        };
        let (addr, admin) = (address("listen="), address("admin="));
        Self { process, addr, admin }
    }

    /// `http://…` of the admin listener.
    pub(crate) fn admin_url(&self) -> String {
        format!("http://{}", self.admin)
    }
}

/// Asks again and again until it is so; bounded, and below the file watch's own slow poll.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let waiting = async { while !is_so().await {} };
    tokio::time::timeout(NOTICED_MAX, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// The promise is one second; a loaded machine gets a few, but never the five of the poll.
const NOTICED_MAX: Duration = Duration::from_secs(4);
/// A test that waits longer for a process fails.
const PATIENCE: Duration = Duration::from_secs(20);

//! A Redis or Valkey of one test's own, on a port of its own; where the machine has none the test is skipped, aloud.

use super::process::Lines;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

/// A running server that ends with the test.
pub(crate) struct Redis {
    child: Child,
    port: u16,
    program: &'static str,
    arguments: Vec<String>,
}

impl Redis {
    /// Starts one; `None`: there is none on this machine, which is said.
    pub(crate) async fn start() -> Option<Self> {
        Self::with(&[]).await
    }

    /// Starts one with further arguments.
    #[expect(clippy::print_stdout, reason = "what was not tested is said")]
    pub(crate) async fn with(arguments: &[&str]) -> Option<Self> {
        let runs = |program: &&'static str| {
            // One that lacks its libraries is as good as none, and would be waited for without end.
            Command::new(program).arg("--version").output().is_ok_and(|said| said.status.success())
        };
        let Some(program) = ["redis-server", "valkey-server"].into_iter().find(runs) else {
            println!("skipped: there is neither redis-server nor valkey-server in PATH");
            return None;
        };
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        loop {
            // The server takes no port 0; who loses the race for a free one tries another.
            let port =
                TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
            if let Some(child) = launched(program, port, &arguments).await {
                return Some(Self { child, port, program, arguments });
            }
        }
    }

    /// Its address for `[fleet]`.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it ran");
        self.child.wait().expect("it ran");
    }

    /// Starts it again where it was, without its data.
    pub(crate) async fn restart(&mut self) {
        self.child =
            launched(self.program, self.port, &self.arguments).await.expect("its port is still free");
    }

    /// Sends it a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success(), "{kill}");
    }

    /// A connection of the test's own.
    pub(crate) async fn connection(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.url()).expect("an address");
        client.get_multiplexed_async_connection().await.expect("it answers")
    }

    /// Sends one command, in words.
    pub(crate) async fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(word);
        }
        command.query_async(&mut self.connection().await).await.expect("it understands")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

async fn launched(program: &str, port: u16, more: &[String]) -> Option<Child> {
    let port = port.to_string();
    let mut child = Command::new(program)
        .args([
            "--port",
            &port,
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--daemonize",
            "no",
        ])
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it is there");
    let said = Lines::of(child.stdout.take().expect("it is piped"));
    if said.says("Ready to accept connections").await {
        return Some(child);
    }
    drop(child.kill());
    drop(child.wait());
    None
}

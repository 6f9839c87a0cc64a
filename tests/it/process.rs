//! The program as a process of its own: what it says on its streams.

use crate::support::key;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

/// A program that ends with the test, however the test ends.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // Both fail only where it has ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn messages_that_go_to_no_terminal_have_no_colours() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = dir.path().join("tollgate.toml");
    let server = "[server]\nlisten = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n[log]\naccess = \"off\"\n";
    let channel = "[[channel]]\nname = \"a\"\ntype = \"openai\"\nbase_url = \"http://127.0.0.1:9/v1\"\napi_keys = [\"sk-up\"]\n";
    std::fs::write(&config, format!("{server}{channel}{}", key())).expect("the configuration is written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(["run", "-c"]).arg(&config).env_remove("NO_COLOR").stderr(Stdio::piped());
    let mut program = Ended(command.spawn().expect("the program starts"));
    let said = BufReader::new(program.0.stderr.take().expect("it was asked for"));
    let up = said.lines().map_while(Result::ok).find(|line| line.contains("tollgate is up"));
    let up = up.expect("it starts");
    assert!(up.contains("listen=\"127.0.0.1:") && !up.contains('\u{1b}'), "{up:?}");
}

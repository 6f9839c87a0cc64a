//! Drives a real gateway between fake providers and clients of its own: `loadtest/chaos`, `loadtest/streams`,
//! `loadtest/fleet`, `loadtest/lifecycle` and `deploy/release/train`.
//!
//! `chaos` lets everything fail and then holds all books against each other; `streams` opens as many streams at once as
//! the machine's file limit allows and counts every event; `fleet` lets three gateways share a limit;
//! `lifecycle` reloads, upgrades and drains one under load; `train` asks what a release is trained on.
//! Invariants: what is decided by chance follows from the seed; the exit code is 0 only where nothing differs.

mod answer;
mod arguments;
mod attempts;
mod books;
mod chaos;
mod clients;
mod events;
mod fleet;
mod gateway;
mod http1;
mod http2;
mod lifecycle;
mod question;
mod random;
mod replicas;
mod streams;
mod train;
mod verify;
mod weather;

use arguments::{Arguments, Command};
use std::io::{self, Write as _};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(usage) => return fail(&usage, 2),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = runtime.and_then(|runtime| {
        runtime.block_on(async {
            match arguments.command {
                Command::Chaos => chaos::run(&arguments).await.map(|report| show(&arguments, &report)),
                Command::Streams => streams::run(&arguments).await.map(Ok),
                Command::Fleet => replicas::run(&arguments).await.map(Ok),
                Command::Lifecycle => lifecycle::run(&arguments).await,
                Command::Train => train::run(&arguments).await.map(Ok),
            }
        })
    });
    match done {
        Ok(Ok(text)) => write!(io::stdout(), "{text}").map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS),
        Ok(Err(text)) => fail(&text, 1),
        Err(error) => fail(&error.to_string(), 1),
    }
}

fn fail(text: &str, code: u8) -> ExitCode {
    // Where standard error is gone the code still says it.
    writeln!(io::stderr(), "{text}").unwrap_or_default();
    ExitCode::from(code)
}

/// Adds a line.
fn line(text: &mut String, words: std::fmt::Arguments<'_>) {
    text.push_str(&words.to_string());
    text.push('\n');
}

/// The report; an error where something differs.
fn show(arguments: &Arguments, report: &chaos::Report) -> Result<String, String> {
    let mut text = format!(
        "chaos: {} s, seed {}, {} clients: {} exchanges, {} reloads\n",
        arguments.seconds, arguments.seed, arguments.clients, report.exchanges, report.reloads
    );
    for (what, count) in &report.balance.table {
        line(&mut text, format_args!("{count:>9}  {what}"));
    }
    let set: usize = report.faults.values().sum();
    let kinds = report.faults.len();
    line(&mut text, format_args!("{set:>9}  faults set, of {kinds} kinds"));
    let (idle, after) = (report.idle, report.after);
    line(
        &mut text,
        format_args!(
            "memory {} KiB idle after the warm-up, {} KiB at the end; descriptors {} and {}; {:.1} s of CPU",
            idle.rss_kib, after.rss_kib, idle.descriptors, after.descriptors, after.cpu_seconds
        ),
    );
    let differences = &report.balance.differences;
    if differences.is_empty() {
        std::fs::remove_dir_all(&report.directory).unwrap_or_default();
        return Ok(text + "everything is accounted for\n");
    }
    for difference in differences.iter().take(SHOWN_MAX) {
        line(&mut text, format_args!("DIFFERENCE  {difference}"));
    }
    Err(text
        + &format!(
            "{} differences; log and configuration: {}",
            differences.len(),
            report.directory.display()
        ))
}

/// More of them say no more.
const SHOWN_MAX: usize = 20;

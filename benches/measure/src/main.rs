//! How many instructions the pure steps take, held against the committed figures of `figures.tsv`: a step that takes
//! over 5 % more fails the command. Instructions do not jitter as times do, so this can be a gate on any machine.
//!
//! `make instructions`; with `UPDATE=1` in the environment the figures are written anew. `instructions --timed` says instead
//! how long each step takes: for people, as times are no gate. The
//! counting is valgrind's: this program runs itself under callgrind, which counts within one function and writes down
//! what it has at each return from it. Without valgrind, or on another kind of processor than the figures are of, it says so
//! and passes; with another compiler it compares and does not fail, because no change of ours is to blame.
#![expect(clippy::expect_used, clippy::panic, reason = "a benchmark's set-up fails the benchmark")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its output is what it is for")]

mod given;
mod steps;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use tollgate::world::{System, World as _};

/// The allocator of the program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    if std::env::args().any(|word| word == COUNTED) {
        steps::all().iter_mut().for_each(run);
        return ExitCode::SUCCESS;
    }
    if std::env::args().any(|word| word == TIMED) {
        let world = System::start();
        for mut step in steps::all() {
            time(&mut step, &world);
        }
        return ExitCode::SUCCESS;
    }
    if let Some(why) = why_not() {
        println!("instructions: skipped, {why}");
        return ExitCode::SUCCESS;
    }
    let counted = count();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(figures(), written(&counted)).expect("the figures can be written");
    }
    compare(&counted)
}

/// Warm first: what a first round allocates and looks up is not what the thousandth costs.
fn run(step: &mut steps::Step) {
    println!("{}\t{}", step.name, step.rounds);
    (0..3).for_each(|_| (step.work)());
    counted_rounds_of_a_step(&mut step.work, step.rounds);
}

/// The time of one round, warm: the median of many batches, as another program may have the processor during some.
fn time(step: &mut steps::Step, world: &System) {
    let batch = |_| {
        let began = world.now();
        (0..step.rounds).for_each(|_| (step.work)());
        world.now().saturating_sub(began) / u64::from(step.rounds)
    };
    let mut batches: Vec<u64> = (0..BATCHES).map(batch).collect();
    batches.sort_unstable();
    println!("{:>9} ns  {}", batches[batches.len() / 2], step.name);
}

/// The function that callgrind looks for by its name.
#[inline(never)]
fn counted_rounds_of_a_step(work: &mut dyn FnMut(), rounds: u32) {
    (0..rounds).for_each(|_| work());
    std::hint::black_box(());
}

/// Why nothing is counted here.
fn why_not() -> Option<&'static str> {
    if !cfg!(target_arch = "x86_64") {
        return Some("the figures are of x86_64");
    }
    #[cfg(target_arch = "x86_64")]
    if !std::is_x86_feature_detected!("avx2") {
        return Some("the figures are of a processor with AVX2");
    }
    let found =
        Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success());
    (!found).then_some("valgrind is not installed (Debian: apt-get install valgrind)")
}

/// Runs this program under callgrind; instructions per round by step.
fn count() -> Vec<(String, u64)> {
    let folder = std::env::temp_dir().join(format!("tollgate-instructions-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the counts");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*counted_rounds_of_a_step*"])
        .arg("--dump-after=instructions::counted_rounds_of_a_step")
        .arg(format!("--callgrind-out-file={}", folder.join("out").display()))
        .arg(std::env::current_exe().expect("a program"))
        .arg(COUNTED)
        .output()
        .expect("valgrind runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let steps: Vec<(&str, u64)> = said
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(name, rounds)| (name, rounds.parse().expect("a number")))
        .collect();
    let counted = steps.iter().zip(1..).map(|((name, rounds), number)| {
        let summary = summary(&folder.join(format!("out.{number}")));
        ((*name).to_owned(), summary / rounds)
    });
    let counted = counted.collect();
    drop(std::fs::remove_dir_all(&folder));
    counted
}

/// The sum of one of callgrind's files.
fn summary(file: &Path) -> u64 {
    let text =
        std::fs::read_to_string(file).unwrap_or_else(|problem| panic!("{}: {problem}", file.display()));
    let totals =
        text.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
    totals.and_then(|total| total.trim().parse().ok()).expect("a sum")
}

fn compare(counted: &[(String, u64)]) -> ExitCode {
    let committed = std::fs::read_to_string(figures()).expect("the committed figures");
    let same_compiler = committed.lines().any(|line| line.strip_prefix("# ") == Some(&compiler()));
    let known: BTreeMap<&str, u64> = committed
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter_map(|(name, count)| Some((name, count.parse().ok()?)))
        .collect();
    let mut failed = Vec::new();
    for (name, count) in counted {
        let Some(before) = known.get(name.as_str()) else {
            println!("{count:>9}  {name}: no figure is committed");
            failed.push(name);
            continue;
        };
        let percent =
            i128::from(count.wrapping_sub(*before).cast_signed()) * 1_000 / i128::from((*before).max(1));
        println!(
            "{count:>9}  {name}: {}{}.{} %",
            if percent < 0 { "-" } else { "+" },
            percent.abs() / 10,
            percent.abs() % 10
        );
        if percent > REGRESSION_PER_MILLE_MAX {
            failed.push(name);
        }
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    if !same_compiler {
        println!(
            "instructions: not held against the figures, which are of another compiler than {}",
            compiler()
        );
        return ExitCode::SUCCESS;
    }
    eprintln!(
        "instructions: over 5 % more than committed: {failed:?}. Mend it, or say in the commit why it is worth it, with"
    );
    eprintln!("UPDATE=1 make instructions");
    ExitCode::FAILURE
}

fn written(counted: &[(String, u64)]) -> String {
    let head = format!(
        "# Instructions per step, x86_64 with AVX2. `benches/measure/src/main.rs` says how.\n# {}\n",
        compiler()
    );
    counted.iter().fold(head, |text, (name, count)| text + name + "\t" + &count.to_string() + "\n")
}

fn figures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("figures.tsv")
}

fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

const COUNTED: &str = "--counted";
const TIMED: &str = "--timed";
const BATCHES: u32 = 1_001;
const REGRESSION_PER_MILLE_MAX: i128 = 50;

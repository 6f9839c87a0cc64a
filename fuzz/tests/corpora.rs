//! Every target over its seeds and over mutations of them that follow from a fixed number: what `cargo fuzz` does by coverage
//! and for hours, in seconds and on any compiler.
//!
//! `TOLLGATE_FUZZ_ROUNDS=1000 cargo test --release -p tollgate-fuzz --test corpora` tries a thousand times as many.

#![cfg(test)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use tollgate_fuzz::TARGETS;

/// A small generator; the same numbers for ever.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap_or(usize::MAX)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.next() % bound.max(1)
    }
}

/// Words that mean something to one reader or another.
const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n\n",
    b"\r",
    b"\0",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"model",
    b"\"model\":",
    b"\"stream\":true",
    b"null",
    b"1e999",
    b"-0",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"data:",
    b"event:",
    b"[DONE]",
    b"message_stop",
    b"\"usage\":",
    b"sk-",
    b"Bearer ",
    b"Bearer",
    b"key=",
    b"%2e",
    b"%2F",
    b"..",
    b"//",
    b"@",
    b"#",
    b"?",
    b"chunked",
    b"content-length: 5\r\n",
    b"transfer-encoding: chunked\r\n",
    b"host: b\r\n",
    b" HTTP/1.1\r\n",
    b"content_length: 5\r\n",
    b"0\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b"HTTP/1.1 ",
    b"HTTP/1.0 ",
    b"169.254.169.254",
    b"::1",
    b"/0",
    b"/129",
    b"18446744073709551616",
    b"\xc0\x80",
    b"\x1f\x8b\x08",
];

fn mutated(seed: &[u8], others: &[Vec<u8>], numbers: &mut Numbers) -> Vec<u8> {
    let mut input = seed.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(input.len() + 1);
        match numbers.below(8) {
            0 if !input.is_empty() => {
                let at = numbers.below(input.len());
                input[at] ^= 1 << numbers.below(8);
            }
            1 if !input.is_empty() => {
                let at = numbers.below(input.len());
                input[at] = u8::try_from(numbers.below(256)).unwrap_or(0);
            }
            2 => input.truncate(at),
            3 => {
                let end = (at + numbers.below(16)).min(input.len());
                drop(input.drain(at..end));
            }
            4 => {
                let end = (at + numbers.below(64)).min(input.len());
                let again = input[at..end].to_vec();
                drop(input.splice(at..at, again));
            }
            5 => {
                let other = &others[numbers.below(others.len())];
                let from = numbers.below(other.len() + 1);
                let end = (from + numbers.below(64)).min(other.len());
                drop(input.splice(at..at, other[from..end].iter().copied()));
            }
            _ => drop(input.splice(at..at, WORDS[numbers.below(WORDS.len())].iter().copied())),
        }
    }
    input
}

fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).expect("a readable seed"))).collect()
}

/// The last words of a panic.
fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

fn check(target: &str) {
    let target = TARGETS.iter().find(|known| known.name == target).expect("a target of this name");
    let rounds: usize =
        std::env::var("TOLLGATE_FUZZ_ROUNDS").map_or(1, |rounds| rounds.parse().expect("a number"));
    let seeds = seeds(target.name);
    assert!(seeds.len() >= 5, "{} has hardly any seeds", target.name);
    let others: Vec<_> = seeds.iter().map(|(_, bytes)| bytes.clone()).collect();
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    let attempt = |from: &Path, input: &[u8]| {
        let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(input))) else { return };
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{}", target.name));
        fs::write(&kept, input).expect("a writable folder");
        let (from, kept) = (from.display(), kept.display());
        panic!("{} from {from}, kept as {kept}: {}", target.name, words(&*panic));
    };
    for (path, seed) in &seeds {
        attempt(path, seed);
        for _ in 0..target.mutations * rounds {
            attempt(path, &mutated(seed, &others, &mut numbers));
        }
    }
}

/// One test for each, so that they run at once and a failure has a name.
macro_rules! targets {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            check(stringify!($name));
        })*

        #[test]
        fn every_target_is_tested_has_a_program_and_seeds_of_its_own() {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
            for name in names {
                let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fuzz_targets/{name}.rs"));
                let program = fs::read_to_string(program).expect("a program");
                assert!(program.contains(&format!("tollgate_fuzz::{name}::run")), "{name}");
            }
        }
    };
}

targets!(
    addresses,
    answers,
    bodies,
    codings,
    configuration,
    events,
    heads,
    http1,
    keys,
    requests,
    sockets,
    streams,
    translate_answers,
    translate_errors,
    translate_requests,
    translate_seals,
    translate_streams,
);

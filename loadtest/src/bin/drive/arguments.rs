//! What was typed.

use std::path::PathBuf;

/// A run's parameters.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) command: Command,
    pub(crate) binary: PathBuf,
    pub(crate) seconds: u64,
    pub(crate) seed: u64,
    pub(crate) clients: u64,
    /// Seconds without a request, in the middle and at the end, before it is measured what is held; 0: no rests.
    pub(crate) rest: u64,
    /// Streams at once; 0: as many as there are descriptors for.
    pub(crate) streams: usize,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    Chaos,
    Streams,
    Fleet,
    Lifecycle,
    Train,
}

/// How it is called.
pub(crate) const USAGE: &str = "usage: drive chaos [--seconds 120] [--seed 1] [--clients 64] [--rest 0] [--binary PATH]\n       \
     drive streams [--streams N] [--binary PATH]\n       \
     drive fleet [--seconds 60] [--clients 16] [--binary PATH]\n       \
     drive lifecycle [--seconds 60] [--clients 16] [--binary PATH]\n       \
     drive train [--binary PATH]";

impl Arguments {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let command = match words.next().as_deref() {
            Some("chaos") => Command::Chaos,
            Some("streams") => Command::Streams,
            Some("fleet") => Command::Fleet,
            Some("lifecycle") => Command::Lifecycle,
            Some("train") => Command::Train,
            _ => return Err(USAGE.to_owned()),
        };
        let binary = PathBuf::from("target/release/tollgate");
        let (seconds, clients) = match command {
            Command::Fleet | Command::Lifecycle => (60, 16),
            Command::Chaos | Command::Streams | Command::Train => (120, 64),
        };
        let mut parsed = Self { command, binary, seconds, seed: 1, clients, rest: 0, streams: 0 };
        while let Some(word) = words.next() {
            let value = words.next().ok_or(USAGE)?;
            let number = || value.parse::<u64>().map_err(|_| format!("{word} {value}: a number is needed"));
            match word.as_str() {
                "--binary" => parsed.binary = value.into(),
                "--seconds" => parsed.seconds = number()?,
                "--seed" => parsed.seed = number()?,
                "--rest" => parsed.rest = number()?,
                "--clients" => parsed.clients = number()?.clamp(1, 10_000),
                "--streams" => {
                    parsed.streams = usize::try_from(number()?).map_err(|error| error.to_string())?;
                }
                _ => return Err(USAGE.to_owned()),
            }
        }
        Ok(parsed)
    }
}

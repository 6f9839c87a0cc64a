//! The terminal, where there is one: how wide it is, whether it wants colour, and a screen that is given back as it was.
//!
//! Invariant: nothing but text goes to what is no terminal; whatever way a live view ends by, the terminal's settings and
//! its screen are what they were.

use super::Failed;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::ops::ControlFlow;
use std::time::Duration;

/// Where the data goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terminal {
    /// Columns, where that is known.
    pub(super) width: Option<usize>,
    /// Lines, of a terminal.
    pub(super) height: Option<usize>,
    /// Whether colour is wanted: a terminal that is not dumb, and no `NO_COLOR`.
    pub(super) colour: bool,
    /// Whether it is one at all.
    pub(super) is_one: bool,
}

impl Terminal {
    /// Standard output as it is now; the size may change at any time.
    pub(super) fn look() -> Self {
        let out = io::stdout();
        let is_one = out.is_terminal();
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let size = if is_one { tcgetwinsize(&out).ok() } else { None };
        let known = |count: u16| (count > 0).then_some(usize::from(count));
        let said =
            variable("COLUMNS").and_then(|columns| columns.parse().ok()).filter(|columns| *columns > 0);
        let dumb = variable("TERM").as_deref() == Some("dumb");
        Self {
            width: size.and_then(|size| known(size.ws_col)).or(said),
            height: size.and_then(|size| known(size.ws_row)),
            colour: is_one && !dumb && variable("NO_COLOR").is_none(),
            is_one,
        }
    }

    /// How wide a line may be: what goes to no terminal is cut nowhere.
    pub(super) fn room(&self) -> usize {
        self.width.unwrap_or(usize::MAX)
    }
}

/// Writes data; `Break`: nobody reads any more.
pub(super) fn put(text: &str) -> Result<ControlFlow<()>, Failed> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(format!("cannot write: {error}")),
    }
}

/// Nothing for so long.
pub(super) fn rest(length: Duration) {
    std::thread::sleep(length);
}

/// A screen of its own, with keys that act at once.
#[derive(Debug)]
pub(super) struct Screen {
    before: Termios,
}

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Woken {
    /// The time is over, another size, or any other key.
    Again,
    /// `q`, Escape, Ctrl-C or Ctrl-D.
    Quit,
}

impl Screen {
    /// `None`: there is no terminal to read keys from.
    pub(super) fn enter() -> Option<Self> {
        let before = tcgetattr(io::stdin()).ok()?;
        let mut keys = before.clone();
        // Ctrl-C comes as a key as well, so that the screen is given back whichever way it is left.
        keys.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        keys.special_codes[SpecialCodeIndex::VMIN] = 0;
        keys.special_codes[SpecialCodeIndex::VTIME] = TICK_TENTHS;
        tcsetattr(io::stdin(), OptionalActions::Now, &keys).ok()?;
        drop(put("\u{1b}[?1049h\u{1b}[?25l"));
        Some(Self { before })
    }

    /// Draws from the top, over what was there.
    pub(super) fn draw(lines: &[String]) -> Result<ControlFlow<()>, Failed> {
        put(&format!("\u{1b}[H{}\u{1b}[K\u{1b}[J", lines.join("\u{1b}[K\r\n")))
    }

    /// Until a key, another size, or so long.
    pub(super) fn wait(length: Duration) -> Woken {
        let size = Terminal::look();
        let tick = Duration::from_millis(u64::from(TICK_TENTHS) * 100);
        for _ in 0..length.as_millis().div_ceil(tick.as_millis()).max(1) {
            let mut key = [0; 8];
            match io::stdin().lock().read(&mut key) {
                Ok(0) if Terminal::look() == size => {}
                Ok(1) if matches!(key[0], b'q' | b'Q' | CTRL_C | CTRL_D | ESCAPE) => return Woken::Quit,
                Ok(_) => return Woken::Again,
                Err(_) => return Woken::Quit,
            }
        }
        Woken::Again
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        drop(put("\u{1b}[?25h\u{1b}[?1049l"));
        let _restored = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const ESCAPE: u8 = 27;
/// A key is seen at once; a new size after so long.
const TICK_TENTHS: u8 = 2;

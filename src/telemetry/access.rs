//! The access log: one JSON line per exchange, written by a thread of its own.
//!
//! Invariant: a caller never waits for a disk. Lines go through a queue of [`ACCESS_QUEUE_MAX`]; what does not
//! fit, or cannot be written, is counted and gone. A disk error never ends the thread: it is said at once, in the log and as a
//! metric, tried again every second, and lines already in the buffer survive until the target takes them.

mod line;
mod sink;

pub use line::{Line, line, line_in};
pub use sink::{Sink, file, stderr, stdout};

use crate::record::Record;
use arc_swap::ArcSwapOption;
use crossbeam_queue::ArrayQueue;
use prometheus::{Gauge, IntCounter};
use std::io::{self, BufWriter, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// A third of a second at 50,000 requests a second; some 22 MB of lines as most are.
pub const ACCESS_QUEUE_MAX: usize = 16_384;

/// What a thousand lines have left is kept while more come: as many gather in one [`PAUSE`] at 100,000 requests a second.
const SPARE_MAX: usize = 1_024;

/// One write per 128 KiB under load; when the queue is idle everything is written at once anyway.
const BUFFER_BYTES_MAX: usize = 128 * 1024;

/// How long lines gather after one was written: a person who reads along does not notice.
const PAUSE: Duration = Duration::from_millis(10);

/// How soon a target that took nothing is tried again where no line comes.
const RETRY: Duration = Duration::from_secs(1);

/// A target that takes nothing for this long is given up at shutdown.
const STOP_WAIT_MAX: Duration = Duration::from_secs(5);

/// The sending side of the access log.
#[derive(Debug)]
pub struct Access(Option<Writer>);

/// What it says of itself.
#[derive(Debug, Clone)]
pub struct Counts {
    /// Lines that were lost.
    pub dropped: IntCounter,
    /// Writes that failed.
    pub errors: IntCounter,
    /// 1: the target took the last one.
    pub up: Gauge,
}

#[derive(Debug)]
struct Writer {
    /// `None` once stopped: the thread ends when it has emptied a queue that nobody can add to.
    queue: ArcSwapOption<SyncSender<Line>>,
    /// Room of lines that were written, for those to come.
    spare: Arc<ArrayQueue<Line>>,
    /// A flag, because the order must get through a full queue.
    reopen: Arc<AtomicBool>,
    dropped: IntCounter,
    stopped: Mutex<Receiver<()>>,
}

impl Access {
    /// No access log (`access = "off"`).
    pub fn off() -> Self {
        Self(None)
    }

    /// Starts the writing thread.
    pub fn start(sink: Box<dyn Sink>, counts: Counts) -> io::Result<Self> {
        Self::start_with_queue(sink, counts, ACCESS_QUEUE_MAX)
    }

    fn start_with_queue(sink: Box<dyn Sink>, counts: Counts, lines_max: usize) -> io::Result<Self> {
        let (queue, lines) = sync_channel(lines_max);
        let (done, stopped) = sync_channel::<()>(1);
        let reopen = Arc::new(AtomicBool::new(false));
        let dropped = counts.dropped.clone();
        let spare = Arc::new(ArrayQueue::new(SPARE_MAX));
        let mut thread =
            Thread { lines, spare: Arc::clone(&spare), reopen: Arc::clone(&reopen), counts, failing: false };
        thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            thread.run(BufWriter::with_capacity(BUFFER_BYTES_MAX, sink));
            drop(done); // tells a waiting `stop`
        })?;
        let queue = ArcSwapOption::from_pointee(queue);
        Ok(Self(Some(Writer { queue, spare, reopen, dropped, stopped: Mutex::new(stopped) })))
    }

    /// Whether there is anything to render a line for.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Renders a record's line.
    pub fn render(&self, record: &Record) -> Line {
        let spare = self.0.as_ref().and_then(|writer| writer.spare.pop());
        line_in(record, spare.unwrap_or_default())
    }

    /// Hands over a rendered line; never waits. Gives it back where it was stopped: there may be another one in its place.
    pub fn send(&self, line: Line) -> Option<Line> {
        let writer = self.0.as_ref()?;
        match writer.enqueue(line) {
            Ok(()) => None,
            Err(TrySendError::Disconnected(line)) => Some(line),
            Err(TrySendError::Full(_)) => {
                writer.dropped.inc();
                None
            }
        }
    }

    /// Counts a line that nobody took.
    pub fn lose(&self) {
        if let Some(writer) = &self.0 {
            writer.dropped.inc();
        }
    }

    /// Opens the file again under its name (logrotate moved it away). Takes effect before the next line.
    pub fn reopen(&self) {
        if let Some(writer) = &self.0 {
            writer.reopen.store(true, Ordering::Release);
            // An empty line makes an idle thread look at the flag; where the queue is full it looks anyway.
            drop(writer.enqueue(Line::default()));
        }
    }

    /// Writes what is queued and ends the thread; `false` where the target did not take it in time. To be
    /// called once the last exchange has been reported, or another log is in its place: later lines are given back.
    pub fn stop(&self) -> bool {
        let Some(writer) = &self.0 else { return true };
        drop(writer.queue.swap(None));
        let stopped = writer.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(stopped.recv_timeout(STOP_WAIT_MAX), Err(RecvTimeoutError::Disconnected))
    }
}

impl Writer {
    fn enqueue(&self, line: Line) -> Result<(), TrySendError<Line>> {
        match &*self.queue.load() {
            Some(queue) => queue.try_send(line),
            None => Err(TrySendError::Disconnected(line)),
        }
    }
}

/// The writing side.
struct Thread {
    lines: Receiver<Line>,
    spare: Arc<ArrayQueue<Line>>,
    reopen: Arc<AtomicBool>,
    counts: Counts,
    /// Whether the target did not take the last write.
    failing: bool,
}

impl Thread {
    fn run(&mut self, mut out: BufWriter<Box<dyn Sink>>) {
        while let Some(first) = self.next(&mut out) {
            let mut next = Some(first);
            // Where one line was, more will follow: each that found the thread waiting would have to wake it, which is the most
            // expensive thing a request's thread can do. So they gather.
            while let Some(line) = next {
                self.handle(line, &mut out);
                while let Ok(line) = self.lines.try_recv() {
                    self.handle(line, &mut out);
                }
                // What is buffered becomes visible. What the target does not take stays buffered for the next
                // line's attempt; once the buffer is full, lines are lost and counted.
                self.flush(&mut out);
                thread::sleep(PAUSE);
                next = self.lines.try_recv().ok();
            }
            // Nobody seems to need it for a while.
            while self.spare.pop().is_some() {}
        }
        if let Err(problem) = out.flush() {
            self.lose_buffered(out.buffer(), &problem);
        }
    }

    /// The next line; while the target takes nothing it is tried again where none comes. `None`: there are no more.
    fn next(&mut self, out: &mut BufWriter<Box<dyn Sink>>) -> Option<Line> {
        loop {
            if !self.failing {
                return self.lines.recv().ok();
            }
            match self.lines.recv_timeout(RETRY) {
                Ok(line) => return Some(line),
                Err(RecvTimeoutError::Timeout) => self.flush(out),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Says when the target begins and ceases to fail, once each. While it fails there is always something in the buffer.
    fn flush(&mut self, out: &mut BufWriter<Box<dyn Sink>>) {
        match out.flush() {
            Ok(()) if self.failing => {
                self.failing = false;
                self.counts.up.set(1.0);
                tracing::info!(lost = self.counts.dropped.get(), "the access log is written again");
            }
            Ok(()) => {}
            Err(problem) => self.failed(&problem),
        }
    }

    fn failed(&mut self, problem: &io::Error) {
        self.counts.up.set(0.0);
        self.counts.errors.inc();
        if !self.failing {
            tracing::error!(%problem, "the access log takes no lines: they wait in memory, up to 128 KiB, then they are lost");
        }
        self.failing = true;
    }

    fn handle(&mut self, line: Line, out: &mut BufWriter<Box<dyn Sink>>) {
        if self.reopen.swap(false, Ordering::AcqRel) {
            reopen(out);
        }
        if let Err(problem) = out.write_all(&line) {
            self.counts.dropped.inc();
            self.failed(&problem);
        }
        if line::is_usual(&line) {
            drop(self.spare.push(line));
        }
    }

    fn lose_buffered(&self, buffered: &[u8], problem: &io::Error) {
        let lines = memchr::memchr_iter(b'\n', buffered).count();
        self.counts.dropped.inc_by(u64::try_from(lines).unwrap_or(u64::MAX));
        tracing::error!(%problem, lines, "the last access lines could not be written");
    }
}

/// What is buffered belongs to the old file; where that takes no more, it goes to the new one.
fn reopen(out: &mut BufWriter<Box<dyn Sink>>) {
    if let Err(problem) = out.flush() {
        tracing::warn!(%problem, "the old access log takes no more, its last lines go to the new one");
    }
    if let Err(problem) = out.get_mut().reopen() {
        tracing::error!(%problem, "the access log cannot be opened again, the old file stays in use");
    }
}

#[cfg(test)]
pub(crate) mod tests;

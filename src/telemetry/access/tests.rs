//! The access log against targets in memory: nothing here waits for time to pass.

use super::*;
use std::sync::mpsc::Sender;
use std::sync::{Condvar, MutexGuard};

/// A target in memory that can be told to fail or to stand still.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<(Mutex<Inside>, Condvar)>);

#[derive(Default)]
struct Inside {
    /// One buffer per opening.
    files: Vec<Vec<u8>>,
    failing: bool,
    standing: bool,
    arrived: Option<Sender<()>>,
}

impl Memory {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Inside)) {
        change(&mut self.inside());
        self.0.1.notify_all();
    }

    /// What was written since the last opening.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.inside().files.last().cloned().unwrap_or_default()).unwrap()
    }
}

impl io::Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut inside = self.inside();
        if let Some(arrived) = inside.arrived.take() {
            drop(arrived);
        }
        inside = self.0.1.wait_while(inside, |inside| inside.standing).unwrap();
        if inside.failing {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "disk full"));
        }
        if inside.files.is_empty() {
            inside.files.push(Vec::new());
        }
        inside.files.last_mut().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Memory {
    fn reopen(&mut self) -> io::Result<()> {
        self.inside().files.push(Vec::new());
        Ok(())
    }
}

fn counts() -> Counts {
    let counter = |name: &str| IntCounter::new(name, "counted").unwrap();
    let up = Gauge::new("up", "whether it writes").unwrap();
    up.set(1.0);
    Counts { dropped: counter("dropped"), errors: counter("errors"), up }
}

fn started(memory: &Memory, lines_max: usize) -> (Access, IntCounter) {
    let counts = counts();
    let access = Access::start_with_queue(Box::new(memory.clone()), counts.clone(), lines_max).unwrap();
    (access, counts.dropped)
}

#[test]
fn a_full_disk_is_said_at_once_and_its_end_too_without_a_line_that_asks() {
    let memory = Memory::default();
    memory.change(|inside| inside.failing = true);
    let counts = counts();
    let access = Access::start_with_queue(Box::new(memory.clone()), counts.clone(), 1_000).unwrap();
    access.send(Line::from(b"kept\n".to_vec()));
    while counts.errors.get() == 0 {
        thread::yield_now();
    }
    assert_eq!((counts.up.get(), counts.dropped.get()), (0.0, 0), "it fails, and nothing is lost yet");
    memory.change(|inside| inside.failing = false);
    while counts.up.get() < 1.0 {
        thread::yield_now();
    }
    assert_eq!(memory.text(), "kept\n", "tried again by itself");
    assert!(access.stop());
}

#[test]
fn stop_writes_everything_that_was_queued_and_gives_back_what_comes_after() {
    let memory = Memory::default();
    let (access, dropped) = started(&memory, 1_000);
    let lines: Vec<String> = (0..500).map(|number| format!("line {number}\n")).collect();
    for line in &lines {
        access.send(Line::from(line.clone().into_bytes()));
    }
    assert!(access.stop());
    assert_eq!(memory.text(), lines.concat());
    assert_eq!(dropped.get(), 0);
    let late = access.send(Line::from(b"late\n".to_vec()));
    assert_eq!(late.as_deref(), Some(&b"late\n"[..]));
    assert_eq!(dropped.get(), 0);
    access.lose();
    assert_eq!(dropped.get(), 1);
    assert!(access.stop(), "a second stop has nothing to wait for");
}

#[test]
fn a_standing_target_loses_lines_and_holds_nobody_up() {
    let memory = Memory::default();
    let (arrived, writing) = std::sync::mpsc::channel();
    memory.change(|inside| {
        inside.standing = true;
        inside.arrived = Some(arrived);
    });
    let (access, dropped) = started(&memory, 4);
    access.send(Line::from(b"first\n".to_vec()));
    assert!(writing.recv().is_err(), "the thread is inside the target's write");
    for number in 0..10 {
        access.send(Line::from(format!("{number}\n").into_bytes()));
    }
    assert_eq!(dropped.get(), 6, "four were queued");
    memory.change(|inside| inside.standing = false);
    assert!(access.stop());
    assert_eq!(memory.text(), "first\n0\n1\n2\n3\n");
}

#[test]
fn a_full_disk_counts_lines_and_the_thread_goes_on_when_there_is_room_again() {
    let memory = Memory::default();
    let (arrived, writing) = std::sync::mpsc::channel();
    memory.change(|inside| {
        inside.failing = true;
        inside.arrived = Some(arrived);
    });
    let (access, dropped) = started(&memory, 1_000);
    access.send(Line::from(b"kept\n".to_vec()));
    assert!(writing.recv().is_err());
    memory.change(|inside| inside.failing = false);
    access.send(Line::from(b"after\n".to_vec()));
    assert!(access.stop());
    assert_eq!(memory.text(), "kept\nafter\n", "a buffered line survives the error");
    assert_eq!(dropped.get(), 0);
}

#[test]
fn lines_past_the_buffer_of_a_full_disk_are_counted() {
    let memory = Memory::default();
    memory.change(|inside| inside.failing = true);
    let (access, dropped) = started(&memory, 1_000);
    let line = [vec![b'x'; BUFFER_BYTES_MAX / 2 - 1], vec![b'\n']].concat();
    for _ in 0..5 {
        access.send(Line::from(line.clone()));
    }
    assert!(access.stop());
    assert_eq!(dropped.get(), 5);
    assert_eq!(memory.text(), "");
}

#[test]
fn reopen_puts_the_next_line_into_the_new_file_and_the_earlier_ones_into_the_old() {
    let memory = Memory::default();
    let (access, _) = started(&memory, 1_000);
    access.send(Line::from(b"old\n".to_vec()));
    let old = {
        assert!(access.stop());
        memory.text()
    };
    assert_eq!(old, "old\n");

    let (access, _) = started(&memory, 1_000);
    access.reopen();
    access.send(Line::from(b"new\n".to_vec()));
    assert!(access.stop());
    assert_eq!(memory.text(), "new\n");
    assert_eq!(memory.inside().files[0], b"old\n");
}

#[test]
fn a_log_that_is_off_takes_every_call() {
    let access = Access::off();
    access.send(Line::from(b"nowhere\n".to_vec()));
    access.reopen();
    assert!(access.stop() && !access.is_on());
}

#[test]
fn a_line_is_rendered_into_what_another_has_left() {
    let (access, _) = started(&Memory::default(), 8);
    let record = small();
    let left = line(&record);
    let place = left.as_ptr();
    let spare = &access.0.as_ref().unwrap().spare;
    spare.push(left).unwrap();
    let rendered = access.render(&record);
    assert_eq!((rendered.as_ptr(), spare.len()), (place, 0));
    assert_eq!(*rendered, *line(&record));
    assert_eq!(*access.render(&record), *rendered, "or into new room");
}

/// Whose line has the usual length.
fn small() -> Record {
    Record { attempts: Vec::new(), upstream_error: None, ..crate::record::tests::sample() }
}

#[test]
fn the_room_of_written_lines_is_kept_while_more_come() {
    let (queue, lines) = sync_channel(8);
    let spare = Arc::new(ArrayQueue::new(2));
    let (memory, counts) = (Memory::default(), counts());
    let reopen = Arc::default();
    let mut thread = Thread { lines, spare: Arc::clone(&spare), reopen, counts, failing: false };
    let usual = || line(&small());
    let mut out = BufWriter::new(Box::new(memory.clone()) as Box<dyn Sink>);
    thread.handle(Line::from(b"of no use\n".to_vec()), &mut out);
    assert_eq!(spare.len(), 0);
    (0..3).for_each(|_| thread.handle(usual(), &mut out));
    assert_eq!(spare.len(), 2, "and no more than there is a place for");
    queue.send(usual()).unwrap();
    drop(queue);
    thread.run(out);
    assert_eq!(spare.len(), 0, "nobody needed it");
    assert_eq!(memory.text().lines().count(), 5);
}

//! WebSocket frames and the events in them: read alike however they are cut, passed on byte for byte, never held past the bound.

use bytes::Bytes;
use tollgate::protocol::realtime;
use tollgate::protocol::websocket::passage::{Fate, Glance, HELD_MAX, Passage, Reader};
use tollgate::protocol::websocket::{Breach, Opcode, Writer};

/// The first byte chooses the cuts; its highest bit, whose frames they are.
///
/// # Panics
///
/// Where a promise is broken.
pub fn run(input: &[u8]) {
    let Some((seed, bytes)) = input.split_first() else { return };
    let writer = if seed & 0x80 == 0 { Writer::Client } else { Writer::Server };
    let whole = passed(writer, &[Bytes::copy_from_slice(bytes)]);
    let cut = passed(writer, &crate::pieces(bytes, *seed));
    let told = |passed: &Passed| (passed.texts.clone(), passed.controls, passed.broke);
    assert_eq!(told(&whole), told(&cut), "a cut changes what is read");
    // How much of a message that has not ended is on its way is a matter of the cuts; and control frames overtake it.
    let alike = whole.out.starts_with(&cut.out) || cut.out.starts_with(&whole.out);
    assert!(alike || whole.controls > 0, "a cut changes what passes");
    // A control frame may overtake a text that is held.
    assert!(whole.controls > 0 || bytes.starts_with(&whole.out), "something else goes on");
    assert!(whole.out.len() <= bytes.len(), "more goes on than came");
    assert!(whole.broke.is_some() || bytes.len() - whole.out.len() <= HELD_MAX + 256, "too much is held");
    event(bytes);
}

/// What is decided at the beginning of an event is true of all of it.
fn event(text: &[u8]) {
    let half = realtime::glance(&text[..text.len() / 2], true);
    assert!(half == Glance::Unknown || half == realtime::glance(text, true), "the beginning was misread");
    let Some(event) = realtime::event(text) else { return };
    let renamed = realtime::renamed(text, event.models.iter().map(|named| (named, named.name.as_str())));
    let again = realtime::event(&renamed);
    assert!(again.is_some(), "the same event under the same names is none");
    let Some(again) = again else { return };
    let names =
        |event: &realtime::Event| event.models.iter().map(|named| named.name.clone()).collect::<Vec<_>>();
    assert_eq!((again.kind, again.usage, names(&again)), (event.kind, event.usage, names(&event)));
}

#[derive(Debug, PartialEq, Eq)]
struct Passed {
    out: Vec<u8>,
    texts: Vec<Vec<u8>>,
    controls: usize,
    broke: Option<Breach>,
}

fn passed(writer: Writer, pieces: &[Bytes]) -> Passed {
    let mut passage = Passage::new(writer, 1 << 20);
    let mut reader = Ear { client: writer == Writer::Client, texts: Vec::new(), controls: 0 };
    let (mut out, mut broke) = (Vec::new(), None);
    for piece in pieces {
        if let Err(breach) = passage.feed(piece, &mut reader, &mut out) {
            broke = Some(breach);
            break;
        }
    }
    if broke.is_some() {
        // How much of a broken message had gone on is a matter of the cuts.
        out.clear();
    }
    Passed { out, texts: reader.texts, controls: reader.controls, broke }
}

struct Ear {
    client: bool,
    texts: Vec<Vec<u8>>,
    controls: usize,
}

impl Reader for Ear {
    fn glance(&self, beginning: &[u8]) -> Glance {
        realtime::glance(beginning, self.client)
    }

    fn passes(&mut self, beginning: &[u8], bytes: u64) {
        realtime::piece(beginning, bytes);
    }

    fn text(&mut self, text: &[u8]) -> Fate {
        event(text);
        self.texts.push(text.to_vec());
        Fate::Pass
    }

    fn control(&mut self, _: Opcode, _: &[u8]) -> Fate {
        self.controls += 1;
        Fate::Pass
    }

    fn mask(&mut self) -> Option<[u8; 4]> {
        None
    }

    fn unread(&mut self) {}
}

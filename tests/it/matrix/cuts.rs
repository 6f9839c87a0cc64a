//! A stream cut at every byte that matters, and delivered in pieces of every size: where it was cut decides what the
//! client sees, how it was cut into pieces never does.

use super::house::{ANY_MODEL, Cell, House, Place, Plot, Words};
use super::table::{Asked, Sees};
use crate::support::speech::Speech;
use tollgate_loadtest::{Cut, Fault};

const NO_EVENT: Sees = Sees::Next(Some(200), "upstream_error");

/// Where the events of a stream end.
fn ends(stream: &str) -> Vec<usize> {
    let blank = if stream.contains("\r\n\r\n") { "\r\n\r\n" } else { "\n\n" };
    stream.match_indices(blank).map(|(at, _)| at + blank.len()).collect()
}

/// What a cut after so many bytes has to come to: the terminal event counts without its blank line, another event
/// only with it.
fn of_cut(after_bytes: usize, stream: &str) -> Sees {
    let ends = ends(stream);
    let last = stream.trim_end().len();
    match after_bytes {
        _ if after_bytes < ends[0] => NO_EVENT,
        _ if after_bytes >= last => Sees::Own,
        _ => Sees::Cut,
    }
}

/// Every byte of the first event and of the last, and some around the end of each.
fn positions(stream: &str) -> Vec<usize> {
    let ends = ends(stream);
    let last_begins = ends[ends.len() - 2];
    let near = |at: usize| {
        let an_end = ends.iter().any(|end| at.abs_diff(*end) <= 5);
        at <= ends[0] + 3 || an_end || (at >= last_begins && (stream.len() - at) <= 100)
    };
    (0..stream.len()).filter(|at| near(*at)).collect()
}

async fn cut_everywhere(speech: Speech, rename: bool) {
    let mut words = Words::new().await;
    let own = words.of(speech, true, &Fault::None).await.text();
    assert!(own.contains(ANY_MODEL) && ends(&own).len() > 3);
    let ways = [Cut::Fin, Cut::Reset, Cut::CleanEndWithoutTerminal];
    let positions = positions(&own).into_iter().enumerate();
    let cells: Vec<Cell> = positions
        .map(|(number, after_bytes)| Cell {
            number,
            fault: Fault::CutChunked { after_bytes, how: ways[number % ways.len()] },
            sees: of_cut(after_bytes, &own),
        })
        .collect();
    let asked = Asked { speech, stream: true, http2: false };
    let plot = Plot { asked, place: Place::Only, client_http2: false, rename };
    let mut wrong = Vec::new();
    for cells in cells.chunks(HOUSE_CELLS_MAX) {
        wrong.extend(House::build(plot, cells).await.run(cells, &mut words).await);
    }
    assert!(wrong.is_empty(), "{} cells are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// So many cells before a gateway; each has a connection that is kept.
const HOUSE_CELLS_MAX: usize = 200;

#[tokio::test]
async fn a_stream_cut_at_any_byte() {
    for speech in Speech::ALL {
        cut_everywhere(speech, false).await;
    }
}

#[tokio::test]
async fn a_renamed_stream_cut_at_any_byte() {
    for speech in Speech::ALL {
        cut_everywhere(speech, true).await;
    }
}

#[tokio::test]
async fn a_stream_in_pieces_of_any_size() {
    let mut words = Words::new().await;
    let mut wrong = Vec::new();
    for speech in Speech::ALL {
        let sizes = (1..=32).chain([63, 64, 65, 100, 127, 255, 500, 1000, 4095, 16 * 1024]);
        let cells: Vec<Cell> = sizes
            .enumerate()
            .map(|(number, bytes)| Cell { number, fault: Fault::Pieces { bytes }, sees: Sees::Own })
            .collect();
        for (http2, rename) in [(false, false), (false, true), (true, true)] {
            let asked = Asked { speech, stream: true, http2 };
            let plot = Plot { asked, place: Place::Only, client_http2: false, rename };
            wrong.extend(House::build(plot, &cells).await.run(&cells, &mut words).await);
        }
    }
    assert!(wrong.is_empty(), "{} cells are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

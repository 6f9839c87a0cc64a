//! The fault matrix: every way the fake provider can go wrong, in every dialect, streamed or not, at every place in the
//! order of candidates, over both HTTPs: what the client sees, what every upstream saw, what was recorded.
//!
//! The rows are in `matrix/table.rs`. A house is one gateway that all faults of one plot are asked of; a failing cell
//! says which it is.

mod check;
mod cuts;
mod house;
mod large;
mod table;

use self::house::{Cell, House, Place, Plot, Words};
use self::table::{Asked, faults, sees};
use crate::support::speech::Speech;

/// All faults on this plot.
fn cells(asked: Asked, rename: bool) -> Vec<Cell> {
    let faults = faults(asked.stream, asked.http2).into_iter().enumerate();
    faults.map(|(number, fault)| Cell { number, sees: sees(&fault, asked, rename), fault }).collect()
}

async fn all_faults(plots: impl IntoIterator<Item = Plot>) {
    let mut words = Words::new().await;
    let mut wrong = Vec::new();
    for plot in plots {
        let cells = cells(plot.asked, plot.rename);
        let house = House::build(plot, &cells).await;
        wrong.extend(house.run(&cells, &mut words).await);
    }
    assert!(wrong.is_empty(), "{} cells are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

async fn every_place(speech: Speech, http2: bool) {
    let plot = |place, stream| Plot {
        asked: Asked { speech, stream, http2 },
        place,
        client_http2: false,
        rename: false,
    };
    all_faults(Place::ALL.into_iter().flat_map(|place| [plot(place, true), plot(place, false)])).await;
}

#[tokio::test]
async fn every_fault_of_a_chat() {
    every_place(Speech::Chat, false).await;
}

#[tokio::test]
async fn every_fault_of_a_chat_over_http2() {
    every_place(Speech::Chat, true).await;
}

#[tokio::test]
async fn every_fault_of_a_response() {
    every_place(Speech::Responses, false).await;
}

#[tokio::test]
async fn every_fault_of_a_response_over_http2() {
    every_place(Speech::Responses, true).await;
}

#[tokio::test]
async fn every_fault_of_a_message() {
    every_place(Speech::Messages, false).await;
}

#[tokio::test]
async fn every_fault_of_a_message_over_http2() {
    every_place(Speech::Messages, true).await;
}

#[tokio::test]
async fn every_fault_of_a_gemini_generation() {
    every_place(Speech::Gemini, false).await;
}

#[tokio::test]
async fn every_fault_of_a_gemini_generation_over_http2() {
    every_place(Speech::Gemini, true).await;
}

/// The client's HTTP/2 and the renamed model meet everything where they matter: at the only candidate.
async fn only(speech: Speech, client_http2: bool, rename: bool) {
    let plot = |stream, http2, place| {
        let asked = Asked { speech, stream, http2 };
        Plot { asked, place, client_http2, rename }
    };
    let (only, first) = (Place::Only, Place::FirstOfThree);
    all_faults([
        plot(true, false, only),
        plot(false, false, only),
        plot(true, true, only),
        plot(false, false, first),
    ])
    .await;
}

#[tokio::test]
async fn every_fault_before_a_client_that_speaks_http2() {
    only(Speech::Chat, true, false).await;
    only(Speech::Messages, true, false).await;
}

#[tokio::test]
async fn every_fault_where_the_model_has_another_name() {
    for speech in Speech::ALL {
        only(speech, false, true).await;
    }
}

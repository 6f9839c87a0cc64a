//! What goes wrong at the providers, and when: every fault there is, by a schedule that a seed decides.

use crate::random::Random;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;
use tollgate_loadtest::{
    ABSURD_RETRY_AFTER, Cut, DripFrom, Early, Fault, Malformed, Provider, Selector, Then, UsageNumbers,
};

/// The body of a raw answer that promises more than it has.
pub(crate) const RAW_BODY: &str = "{\"raw\":";
const BIG_EVENT: usize = 200_000;

/// The faults that change what an answer says; the first changes nothing.
pub(crate) fn texts() -> Vec<Fault> {
    let usage = UsageNumbers { input: 1000, cache_read: 300, cache_write: 20, output: 77, reasoning: 70 };
    vec![Fault::None, Fault::BigEvent { bytes: BIG_EVENT }, Fault::Usage(usage)]
}

/// Every fault, its numbers drawn.
pub(crate) fn faults(random: &mut Random) -> Vec<Fault> {
    let mut small = |high| usize::try_from(random.between(0, high)).unwrap_or_default();
    let (events, bytes) = (small(6), small(900));
    let hows = [Cut::Fin, Cut::Reset, Cut::CleanEndWithoutTerminal];
    let mut list = texts();
    list.extend([400, 402, 403, 404, 413, 422, 429, 500, 502, 503, 529].map(Fault::status));
    list.push(Fault::status_with(429, &[("retry-after", "1")]));
    list.push(Fault::status_with(503, &[("retry-after-ms", "300")]));
    list.push(Fault::status_with(429, &[("retry-after", *random.pick::<&str>(ABSURD_RETRY_AFTER))]));
    for how in hows {
        list.push(Fault::Cut { after_events: events, how });
        list.push(Fault::CutInEvent { after_events: events, how });
        list.push(Fault::CutChunked { after_bytes: bytes, how });
        list.push(Fault::TerminalWithoutBlankLine { how });
    }
    for then in [Early::StopReading, Early::Drain, Early::Close, Early::Reset] {
        let status = *random.pick(&[400, 413, 429, 503]);
        list.push(Fault::EarlyStatusThen { status, then });
    }
    for then in [Then::Stream, Then::Error, Then::Nothing, Then::Silence] {
        list.push(Fault::LeadThen { pings: events, comments: events, then });
    }
    for from in [DripFrom::Head, DripFrom::Body] {
        list.push(Fault::Drip { from, every_ms: Some(1) });
        list.push(Fault::Drip { from, every_ms: None });
    }
    list.push(Fault::Malformed(*random.pick(&Malformed::ALL)));
    list.push(Fault::Malformed(*random.pick(&Malformed::ALL)));
    list.extend([
        Fault::Refuse,
        Fault::SilentOnAccept,
        Fault::StopReading { after_bytes: bytes * 10 },
        Fault::Reset,
        Fault::CloseSilently,
        Fault::Hang,
        Fault::HangAfterHead,
        Fault::HoldFirstByte,
        Fault::HoldMidStream { after_events: events },
        Fault::HoldEveryEvent,
        Fault::StreamErrorFirst,
        Fault::StreamErrorAfter { events: events + 1 },
        Fault::CutBody { after_bytes: bytes },
        Fault::EarlyStatus { status: 413 },
        Fault::Garbage,
        Fault::Raw(format!("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{RAW_BODY}")),
        Fault::AfterTerminal("data: {\"late\":1}\n\n".to_owned()),
        Fault::ErrorAfterTerminal,
        Fault::ResetAfterTerminal,
        Fault::HangAfterTerminal,
        Fault::Informational,
        Fault::EmptyStream,
        Fault::PingsThenStream { pings: events },
        Fault::LeadingComments,
        Fault::CommentsBetween,
        Fault::Crlf,
        Fault::SplitEveryByte,
        Fault::Pieces { bytes: bytes / 10 },
        Fault::ChunkExtensions,
        Fault::Trailers,
        Fault::Http10KeepAlive,
        Fault::CloseAfterAnswer,
        Fault::ResetAfterAnswer,
        Fault::CloseDelimited,
    ]);
    list
}

/// A fault's name without its numbers.
pub(crate) fn name(fault: &Fault) -> String {
    let text = format!("{fault:?}");
    text.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
}

/// How many of the faults that were set leave the provider deaf. It may then wait for ever though the gateway has left:
/// behind a full window the end of a connection does not arrive, and one whose answer was whole is kept for reuse.
pub(crate) fn deaf(tally: &Tally) -> usize {
    ["StopReading", "EarlyStatusThen"].iter().filter_map(|name| tally.get(*name)).sum()
}

/// How often each fault was set.
pub(crate) type Tally = BTreeMap<String, usize>;

/// Lets one provider flap until it is told to stop: calm for a while, then a storm of faults.
pub(crate) async fn flap(
    provider: Arc<Provider>,
    mut random: Random,
    mut stop: watch::Receiver<bool>,
) -> Tally {
    let mut tally = Tally::new();
    loop {
        let storm = async {
            sleep(Duration::from_millis(random.between(CALM_MS.0, CALM_MS.1))).await;
            for _ in 0..random.between(1, 12) {
                let list = faults(&mut random);
                // A 401 puts a credential away for long: rarely, so that there is something left to fail.
                let rare = random.one_in(60);
                let fault = if rare { Fault::status(401) } else { random.pick(&list).clone() };
                let times = random.between(1, 3);
                *tally.entry(name(&fault)).or_default() += usize::try_from(times).unwrap_or(1);
                (0..times).for_each(|_| provider.script(Selector::Any, vec![fault.clone()]));
                sleep(Duration::from_millis(random.between(5, 120))).await;
            }
            provider.clear_scripts();
        };
        tokio::select! {
            () = storm => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    provider.clear_scripts();
    tally
}

/// Lets held answers go on, again and again; aborted by its owner.
pub(crate) async fn release(provider: Arc<Provider>) {
    loop {
        sleep(Duration::from_millis(20)).await;
        // No more than are waiting: what nobody takes would be there for later holds.
        provider.release_many(provider.holding());
    }
}

const CALM_MS: (u64, u64) = (50, 1500);

//! Walks the steps of an answer over either protocol: the waits, the count of what was sent, the outcome.
//!
//! Invariant: a peer that leaves while it is being answered is noticed whatever we were doing (writing, pacing,
//! holding, hanging), and every decision is settled exactly once.

use crate::deliver::{End, Step, Unit, Wait};
use crate::exchange::{Decision, Shared};
use crate::head::AnswerHead;
use crate::http::Left;
use crate::record::{Log, Outcome, Sent};
use crate::reply::Body;
use bytes::Bytes;
use std::future::Future;
use std::pin::pin;

/// One answer on its way in one protocol.
pub(crate) trait Delivery: Send {
    /// 103 Early Hints.
    fn informational(&mut self) -> impl Future<Output = Result<(), Left>> + Send;

    /// Head, body and end in as few writes as the protocol allows.
    fn whole(
        &mut self,
        head: &AnswerHead,
        body: &Body,
        sent: &mut Sent,
    ) -> impl Future<Output = Result<(), Left>> + Send;

    fn head(&mut self, head: &AnswerHead) -> impl Future<Output = Result<(), Left>> + Send;

    /// The head in the smallest pieces the protocol knows; the caller waits before each. Gives how many there are.
    fn head_pieces(&mut self, head: &AnswerHead) -> Vec<Bytes>;

    /// One of these pieces.
    fn head_piece(
        &mut self,
        head: &AnswerHead,
        piece: &Bytes,
    ) -> impl Future<Output = Result<(), Left>> + Send;

    fn unit(&mut self, unit: &Unit, sent: &mut Sent) -> impl Future<Output = Result<(), Left>> + Send;

    /// The end of the body.
    fn finish(&mut self, trailers: &[(&str, &str)]) -> impl Future<Output = Result<(), Left>> + Send;

    /// Bytes as they are.
    fn raw(&mut self, bytes: &Bytes, sent: &mut Sent) -> impl Future<Output = Result<(), Left>> + Send;

    /// Returns when the peer has left.
    fn gone(&mut self) -> impl Future<Output = Left> + Send;

    /// From now on nothing of the peer is read.
    fn stop_reading(&mut self);
}

/// How many bytes an endless answer has after all.
const ENDLESS_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Answers, and settles what became of it.
pub(crate) async fn walk<D: Delivery>(
    shared: &Shared,
    delivery: &mut D,
    decision: Decision,
) -> Result<End, Left> {
    let mut sent = Sent::default();
    if decision.plan.deaf {
        delivery.stop_reading();
    }
    let mut result = Ok(());
    for step in &decision.plan.steps {
        result = take(shared, delivery, step, &mut sent).await;
        if result.is_err() {
            break;
        }
    }
    let outcome = match result {
        _ if sent.finished => Outcome::Completed,
        Ok(()) | Err(Left::Ours) => Outcome::Failed,
        Err(Left::Closed) => Outcome::Closed,
        Err(Left::Reset) => Outcome::Reset,
    };
    shared.log.settle(decision.record, sent, outcome);
    result.map(|()| decision.plan.end)
}

async fn take<D: Delivery>(
    shared: &Shared,
    delivery: &mut D,
    step: &Step,
    sent: &mut Sent,
) -> Result<(), Left> {
    match step {
        Step::Whole(head, body) => {
            sent.status = Some(head.status);
            delivery.whole(head, body, sent).await?;
            sent.finished = true;
        }
        Step::Informational => delivery.informational().await?,
        Step::Head(head) => {
            delivery.head(head).await?;
            sent.status = Some(head.status);
        }
        Step::DripHead(head, wait) => {
            for piece in delivery.head_pieces(head) {
                pause(shared, delivery, *wait).await?;
                delivery.head_piece(head, &piece).await?;
            }
            sent.status = Some(head.status);
        }
        Step::Unit(unit) => {
            delivery.unit(unit, sent).await?;
            sent.events += unit.events;
        }
        Step::Finish(trailers) => {
            delivery.finish(trailers).await?;
            sent.finished = true;
        }
        Step::Raw(bytes) => delivery.raw(bytes, sent).await?,
        Step::RawWithoutEnd(bytes) => {
            while sent.bytes < ENDLESS_BYTES_MAX {
                delivery.raw(bytes, sent).await?;
            }
        }
        Step::Wait(wait) => pause(shared, delivery, *wait).await?,
    }
    Ok(())
}

async fn pause<D: Delivery>(shared: &Shared, delivery: &mut D, wait: Wait) -> Result<(), Left> {
    match wait {
        Wait::Time(time) => tokio::select! {
            left = delivery.gone() => Err(left),
            () = tokio::time::sleep(time) => Ok(()),
        },
        Wait::Release => {
            let mut released = pin!(shared.released());
            // In the queue before it is counted: who waits for the count and then releases means this one too.
            tokio::select! {
                biased;
                left = delivery.gone() => return Err(left),
                () = &mut released => return Ok(()),
                () = std::future::ready(()) => {}
            }
            let _holding = Holding::new(&shared.log);
            tokio::select! {
                biased;
                left = delivery.gone() => Err(left),
                () = released => Ok(()),
            }
        }
        Wait::Forever => {
            let _holding = Holding::new(&shared.log);
            Err(delivery.gone().await)
        }
    }
}

/// Counts an answer that waits for as long as it does.
pub(crate) struct Holding<'a>(&'a Log);

impl<'a> Holding<'a> {
    pub(crate) fn new(log: &'a Log) -> Self {
        log.count(|counts| counts.holding += 1);
        Self(log)
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.0.count(|counts| counts.holding -= 1);
    }
}

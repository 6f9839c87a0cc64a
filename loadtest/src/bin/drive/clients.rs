//! The clients of a run: what they ask, how they behave, and what they saw.

use crate::answer::{Answer, Ended, How, Manner, When};
use crate::fleet::{KEYS, MODELS, WRONG_KEY};
use crate::question::{Operation, Question};
use crate::random::Random;
use crate::verify::{References, Verdict};
use crate::{http1, http2};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// What one client saw of one exchange.
#[derive(Debug)]
pub(crate) struct Sighting {
    pub(crate) question: Question,
    pub(crate) reused: bool,
    pub(crate) asked: bool,
    pub(crate) status: u16,
    pub(crate) request_id: Option<String>,
    pub(crate) ended: Ended,
    pub(crate) verdict: Verdict,
}

/// What all clients share.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) gateway: SocketAddr,
    pub(crate) references: References,
    pub(crate) numbers: AtomicU64,
    pub(crate) seed: u64,
}

/// Lets so many clients ask until they are told to stop, and gives what they saw.
pub(crate) async fn run(
    world: &Arc<World>,
    count: u64,
    turn: u64,
    stop: &watch::Receiver<bool>,
) -> Vec<Sighting> {
    let mut clients = JoinSet::new();
    for at in 0..count {
        let random = Random::new(world.seed, (turn << 32) + at);
        let (world, stop) = (Arc::clone(world), stop.clone());
        if at % 4 == 3 {
            clients.spawn(multiplexed(world, random, stop));
        } else {
            clients.spawn(kept(world, random, stop));
        }
    }
    clients.join_all().await.into_iter().flatten().collect()
}

/// One exchange after the other on one HTTP/1.1 connection, and a new one where that is gone.
async fn kept(world: Arc<World>, mut random: Random, stop: watch::Receiver<bool>) -> Vec<Sighting> {
    let mut seen = Vec::new();
    let mut connection = None;
    while !*stop.borrow() {
        let Some(open) = (match connection.take() {
            Some(open) => Some(open),
            None => http1::Connection::open(world.gateway).await.ok(),
        }) else {
            continue;
        };
        let question = world.question(&mut random);
        let (answer, rest) = open.ask(&question, manner(&mut random)).await;
        seen.push(world.sighted(question, &answer));
        // Some clients never keep a connection.
        connection = rest.filter(|_| !random.one_in(8));
        think(&mut random).await;
    }
    seen
}

/// Several exchanges at once on one HTTP/2 connection.
async fn multiplexed(world: Arc<World>, mut random: Random, stop: watch::Receiver<bool>) -> Vec<Sighting> {
    let mut seen = Vec::new();
    while !*stop.borrow() {
        let Ok((connection, _driving)) = http2::Connection::open(world.gateway).await else { continue };
        for _ in 0..random.between(1, 20) {
            let mut exchanges = JoinSet::new();
            for _ in 0..random.between(1, 4) {
                let (world, connection) = (Arc::clone(&world), connection.clone());
                let (question, mut manner) = (world.question(&mut random), manner(&mut random));
                manner.leave = manner.leave.map(|(when, _)| (when, http2::LEAVES));
                exchanges.spawn(async move {
                    let answer = connection.ask(&question, manner).await;
                    world.sighted(question, &answer)
                });
            }
            let together = exchanges.join_all().await;
            let lost = together.iter().any(|sighting| sighting.ended == Ended::Nothing);
            seen.extend(together);
            if lost || *stop.borrow() {
                break;
            }
            think(&mut random).await;
        }
    }
    seen
}

async fn think(random: &mut Random) {
    sleep(Duration::from_millis(random.between(0, 60))).await;
}

impl World {
    fn question(&self, random: &mut Random) -> Question {
        let stream = random.one_in(2);
        let operation = *random.pick(if stream { &Operation::STREAMS } else { &Operation::ALL });
        let key = match random.between(0, 19) {
            0 => WRONG_KEY,
            at @ 1..=3 => KEYS[usize::try_from(at).unwrap_or(0)].of(operation.dialect()),
            _ => KEYS[0].of(operation.dialect()),
        };
        let model = if random.one_in(40) { "unknown-model" } else { *random.pick(&MODELS) };
        let length =
            if random.one_in(12) { random.between(50_000, 300_000) } else { random.between(5, 2000) };
        Question {
            number: self.numbers.fetch_add(1, Ordering::Relaxed) + 1,
            operation,
            model,
            key,
            session: random.between(1, 200),
            length: usize::try_from(length).unwrap_or_default(),
        }
    }

    fn sighted(&self, question: Question, answer: &Answer) -> Sighting {
        Sighting {
            reused: answer.reused,
            asked: answer.asked,
            status: answer.status,
            request_id: answer.header("x-request-id").map(str::to_owned),
            ended: answer.ended,
            verdict: self.references.judge(&question, answer),
            question,
        }
    }
}

fn manner(random: &mut Random) -> Manner {
    let how = *random.pick(&[How::Fin, How::Reset]);
    let when = match random.between(0, 40) {
        0 => Some(When::InHead),
        1 => Some(When::InBody),
        2..=4 => Some(When::After(Duration::from_millis(random.between(0, 900)))),
        5..=7 => Some(When::AtByte(usize::try_from(random.between(1, 4000)).unwrap_or(1))),
        _ => None,
    };
    let slow = random.one_in(12).then(|| Duration::from_millis(random.between(1, 15)));
    Manner { leave: when.map(|when| (when, how)), slow, counter: None }
}

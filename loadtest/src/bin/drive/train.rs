//! The traffic that a release is trained on (`deploy/release/train`): every operation in every dialect, relayed and translated,
//! over HTTP/1.1 and HTTP/2, most of them small, some long, a few refused, with reloads and scrapes in between.
//!
//! What is asked follows from constants alone, so that two runs count nearly the same. Invariant: whatever a provider of
//! its own dialect is asked is answered whole and with 200; a run where that is not so trains nothing.

use crate::answer::{Answer, Ended, Manner};
use crate::arguments::Arguments;
use crate::fleet::{WRONG_KEY, options};
use crate::gateway::Gateway;
use crate::question::{Dialect, Operation, Question};
use crate::{http1, http2};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::task::JoinSet;
use tollgate_loadtest::Provider;

/// Runs it and says what was asked.
pub(crate) async fn run(arguments: &Arguments) -> io::Result<String> {
    let whole = Provider::start(options(CHUNKS, Duration::ZERO)).await?;
    let paced = Provider::start(options(CHUNKS, PACE)).await?;
    let directory = std::env::temp_dir().join(format!("tollgate-train-{}", std::process::id()));
    let mut gateway =
        Gateway::start(&arguments.binary, &directory, &configuration(&whole, &paced, 1)).await?;
    let (mut asked, mut refused) = (0, 0);
    for turn in 1..=TURNS {
        let mut clients = JoinSet::new();
        for group in GROUPS {
            for at in 0..CLIENTS {
                let client = Client { gateway: gateway.public, group, at };
                clients.spawn(async move {
                    if at % 4 == 3 { client.multiplexed().await } else { client.kept().await }
                });
            }
        }
        while let Some(done) = clients.join_next().await {
            let (all, not) = done.map_err(io::Error::other)??;
            (asked, refused) = (asked + all, refused + not);
        }
        gateway.metrics().await?;
        let status = gateway.reload(&configuration(&whole, &paced, 1 + turn)).await?;
        if status != 200 {
            return Err(io::Error::other(format!("a reload got {status}")));
        }
    }
    let code = gateway.stop().await?;
    if code != Some(0) {
        return Err(io::Error::other(format!("the gateway ended with {code:?}: {}", directory.display())));
    }
    std::fs::remove_dir_all(&directory)?;
    Ok(format!("train: {asked} exchanges, {refused} of them refused\n"))
}

/// One client of one group of channels.
#[derive(Debug, Clone, Copy)]
struct Client {
    gateway: SocketAddr,
    group: Dialect,
    at: usize,
}

impl Client {
    /// One exchange after the other on a kept connection; how many, and how many were refused.
    async fn kept(self) -> io::Result<(usize, usize)> {
        let (mut connection, mut counts) = (None, (0, 0));
        for question in self.questions() {
            let open = match connection.take() {
                Some(open) => open,
                None => http1::Connection::open(self.gateway).await?,
            };
            let (answer, rest) = open.ask(&question, Manner::default()).await;
            self.judge(&question, &answer, &mut counts)?;
            connection = rest;
        }
        Ok(counts)
    }

    /// The same on one HTTP/2 connection.
    async fn multiplexed(self) -> io::Result<(usize, usize)> {
        let (connection, _driving) = http2::Connection::open(self.gateway).await?;
        let mut counts = (0, 0);
        for question in self.questions() {
            let answer = connection.ask(&question, Manner::default()).await;
            self.judge(&question, &answer, &mut counts)?;
        }
        Ok(counts)
    }

    /// What it asks. What most people ask most of the time comes most often: a compiler takes for hot what the bulk of
    /// all counts is made of.
    fn questions(self) -> Vec<Question> {
        let mut all = Vec::new();
        for operation in Operation::ALL {
            let usual = USUAL.contains(&operation);
            let times = match (usual, operation.dialect() == self.group) {
                (true, true) if operation.is_events() => STREAMS,
                (true, true) => WHOLE,
                (true, false) => TRANSLATED,
                (false, _) => RARE,
            };
            all.extend((0..times).map(|turn| self.question(operation, turn, LENGTHS[turn % LENGTHS.len()])));
            all.push(self.question(operation, 1, LONG));
        }
        let first = all[0].clone();
        all.push(Question { key: WRONG_KEY, ..first.clone() });
        all.push(Question { model: "unknown-model", ..first });
        all
    }

    fn question(self, operation: Operation, turn: usize, length: usize) -> Question {
        let (model, key) = (MODELS[turn % MODELS.len()], KEYS[place(self.group)]);
        Question { number: 0, operation, model, key, session: self.at as u64, length }
    }

    /// Counts an answer; an error where one that must be good is not.
    fn judge(self, question: &Question, answer: &Answer, counts: &mut (usize, usize)) -> io::Result<()> {
        let good = answer.status == 200 && answer.ended == Ended::Whole;
        let may_fail = question.operation.dialect() != self.group
            || question.key == WRONG_KEY
            || !MODELS.contains(&question.model);
        if !good && !may_fail {
            let text = String::from_utf8_lossy(&answer.body).chars().take(300).collect::<String>();
            let (operation, status) = (question.operation, answer.status);
            return Err(io::Error::other(format!("{operation:?} got {status}, {:?}: {text}", answer.ended)));
        }
        counts.0 += 1;
        counts.1 += usize::from(!good);
        Ok(())
    }
}

fn place(dialect: Dialect) -> usize {
    GROUPS.iter().position(|group| *group == dialect).unwrap_or_default()
}

/// Each group has one channel over HTTP/1.1 that answers at once, and one over HTTP/2 that takes its time.
fn configuration(whole: &Provider, paced: &Provider, weight: usize) -> String {
    let groups = GROUPS.map(|group| {
        let (kind, secret) = (KINDS[place(group)], KEYS[place(group)]);
        let channels = [channel(kind, ("whole", whole), "auto"), channel(kind, ("paced", paced), "2")];
        format!(
            "[[group]]\nname = \"{kind}\"\n[[key]]\nname = \"{kind}\"\ngroup = \"{kind}\"\nsecret = \"{secret}\"\n\
             limits = {{ rpm = 100000000, tpm = 100000000000, concurrency = 10000 }}\n{}",
            channels.map(|channel| format!("{channel}weight = {weight}\n")).concat()
        )
    });
    HEAD.to_owned() + &groups.concat()
}

fn channel(kind: &str, (name, provider): (&str, &Provider), version: &str) -> String {
    let (base, [plain, mapped]) = (provider.base_url(), MODELS);
    format!(
        "[[channel]]\nname = \"{kind}-{name}\"\ngroups = [\"{kind}\"]\ntype = \"{kind}\"\nbase_url = \"{base}\"\n\
         api_keys = [\"sk-up-{kind}-{name}-0123456789\"]\nmodels = [\"{plain}\", \"{mapped}\"]\n\
         http_version = \"{version}\"\nmodel_map = {{ \"{mapped}\" = \"inner-model\" }}\n"
    )
}

const HEAD: &str = "[server]\nlisten = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\nthreads = 2\n[log]\naccess = \"access.log\"\n";
const GROUPS: [Dialect; 3] = [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini];
const KINDS: [&str; 3] = ["openai", "anthropic", "gemini"];
const KEYS: [&str; 3] =
    ["sk-train-openai-0123456789", "sk-train-anthropic-0123456", "sk-train-gemini-0123456789"];
/// The second has another name upstream.
const MODELS: [&str; 2] = ["plain-model", "mapped-model"];
/// Asked often, the others rarely.
const USUAL: [Operation; 8] = [
    Operation::Chat,
    Operation::ChatStream,
    Operation::Responses,
    Operation::ResponsesStream,
    Operation::Messages,
    Operation::MessagesStream,
    Operation::Generate,
    Operation::GenerateStream,
];
/// How often: a stream's events make up for its number.
const WHOLE: usize = 300;
const STREAMS: usize = 30;
const TRANSLATED: usize = 12;
const RARE: usize = 3;
/// Of the texts that are asked; and of a coding agent's.
const LENGTHS: [usize; 6] = [600, 40, 300, 600, 2_000, 600];
const LONG: usize = 30_000;
const CLIENTS: usize = 8;
const TURNS: usize = 3;
const CHUNKS: usize = 12;
const PACE: Duration = Duration::from_millis(1);

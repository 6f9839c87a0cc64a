//! One gateway before three providers, and what every cell asks of them.
//!
//! Invariants: every cell has a model, channels and credentials of its own, so that no cell's failures rest another's
//! channels and no connection is shared; what the client should see is learnt from the fake itself.

use super::check;
use super::table::{Asked, Patience, Sees, patience, so_far};
use crate::support::client::{Answer, Ended};
use crate::support::speech::Speech;
use crate::support::{Gateway, KEY, channel, client, credential, key, provider};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tollgate_loadtest::{Fault, Outcome, Provider, Recorded, Selector};

/// Which of the candidates is the odd one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Only,
    FirstOfThree,
    SecondOfThree,
    LastOfThree,
}

impl Place {
    pub(super) const ALL: [Self; 4] =
        [Self::Only, Self::FirstOfThree, Self::SecondOfThree, Self::LastOfThree];

    /// Who stands behind the candidates, in order.
    pub(super) fn roles(self) -> &'static [Role] {
        match self {
            Self::Only => &[Role::Odd],
            Self::FirstOfThree => &[Role::Odd, Role::Good, Role::Good],
            Self::SecondOfThree => &[Role::Bad, Role::Odd, Role::Good],
            Self::LastOfThree => &[Role::Bad, Role::Bad, Role::Odd],
        }
    }
}

/// What an upstream does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It answers 500.
    Bad,
    /// It has the cell's fault.
    Odd,
    Good,
}

/// What all cells of a house have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plot {
    pub(super) asked: Asked,
    pub(super) place: Place,
    /// HTTP/2 of the client.
    pub(super) client_http2: bool,
    /// The providers know the model by another name.
    pub(super) rename: bool,
}

/// One question with one fault.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    pub(super) number: usize,
    pub(super) fault: Fault,
    pub(super) sees: Sees,
}

/// As long as every cell's name of the model, so that positions in bytes stay the same.
pub(super) const ANY_MODEL: &str = "m-0000";

impl Cell {
    pub(super) fn model(&self) -> String {
        format!("m-{:04}", self.number + 1)
    }

    pub(super) fn model_upstream(&self, rename: bool) -> String {
        let letter = if rename { 'u' } else { 'm' };
        format!("{letter}-{:04}", self.number + 1)
    }

    pub(super) fn channel(&self, at: usize) -> String {
        format!("c{}-{at}", self.number)
    }

    /// The providers' words with this cell's model.
    pub(super) fn shown(&self, own: &[u8]) -> String {
        let quoted = |model: &str| format!("\"{model}\"");
        let model = self.model();
        let mut shown = String::from_utf8_lossy(own).replace(&quoted(ANY_MODEL), &quoted(&model));
        // Or the cut is inside it.
        let cut =
            (1..=ANY_MODEL.len()).find(|length| shown.ends_with(&format!("\"{}", &ANY_MODEL[..*length])));
        if let Some(length) = cut {
            shown.replace_range(shown.len() - length.., &model[..length]);
        }
        shown
    }
}

/// What one cell left behind.
pub(super) struct Traces<'a> {
    pub(super) answer: &'a Answer,
    pub(super) line: &'a Value,
    /// What the upstream of each candidate saw of this cell.
    pub(super) seen: Vec<Vec<Recorded>>,
    /// What the provider with this fault says itself, up to where it breaks.
    pub(super) own: Answer,
    /// What the good one says.
    pub(super) good: Answer,
}

/// The providers' own words, asked once for every fault.
pub(super) struct Words {
    direct: Provider,
    known: HashMap<String, Answer>,
}

impl Words {
    pub(super) async fn new() -> Self {
        Self { direct: provider().await, known: HashMap::new() }
    }

    pub(super) async fn of(&mut self, speech: Speech, stream: bool, fault: &Fault) -> Answer {
        let key = format!("{speech:?} {stream} {fault:?}");
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        self.direct.script(Selector::Any, vec![fault.clone()]);
        let request = speech.request("sk-direct", ANY_MODEL, stream);
        let answer = client::once(self.direct.addr(), &request).await;
        self.known.insert(key, answer.clone());
        answer
    }
}

pub(super) struct House {
    pub(super) plot: Plot,
    pub(super) gateway: Gateway,
    bad: Provider,
    odd: Arc<Provider>,
    good: Provider,
}

impl House {
    pub(super) async fn build(plot: Plot, cells: &[Cell]) -> Self {
        let (bad, odd, good) = (provider().await, Arc::new(provider().await), provider().await);
        bad.script_forever(Selector::Any, Fault::status(500));
        let mut text = key();
        for cell in cells {
            let model = cell.model();
            let map = format!("model_map = {{ \"{model}\" = \"{}\" }}", cell.model_upstream(plot.rename));
            for (at, role) in plot.place.roles().iter().enumerate() {
                let (provider, waits) = match role {
                    Role::Bad => (&bad, Patience::Default),
                    Role::Odd => (&*odd, patience(&cell.fault)),
                    Role::Good => (&good, Patience::Default),
                };
                let version = if plot.asked.http2 { "2" } else { "1.1" };
                let lines = format!(
                    "priority = {at}\nhttp_version = \"{version}\"\nmodels = [\"{model}\"]\n{map}\n{}",
                    waits.lines()
                );
                text += &channel(&cell.channel(at), plot.asked.speech.kind(), provider, &lines);
            }
        }
        let gateway = Gateway::with_server("", &text).await;
        Self { plot, gateway, bad, odd, good }
    }

    /// Asks every cell's question; gives the answers in the cells' order.
    pub(super) async fn ask(&self, cells: &[Cell]) -> Vec<Answer> {
        let mut answers: Vec<Option<Answer>> = cells.iter().map(|_| None).collect();
        let mut waiting = JoinSet::new();
        for (at, cell) in cells.iter().enumerate() {
            let at_once = matches!(cell.fault, Fault::Refuse | Fault::SilentOnAccept);
            if patience(&cell.fault) == Patience::Default || at_once {
                // These two act on whoever connects next.
                let anybody = if at_once { Selector::Any } else { self.selector(cell) };
                self.odd.script(anybody, vec![cell.fault.clone()]);
                answers[at] = Some(question(self, cell).await);
                continue;
            }
            // Where all there is to do is wait, a few wait together.
            if waiting.len() >= WAITING_MAX
                && let Some(Ok((at, answer))) = waiting.join_next().await
            {
                answers[at] = Some(answer);
            }
            self.odd.script(self.selector(cell), vec![cell.fault.clone()]);
            let question = question(self, cell);
            waiting.spawn(async move { (at, question.await) });
        }
        while let Some(Ok((at, answer))) = waiting.join_next().await {
            answers[at] = Some(answer);
        }
        answers.into_iter().map(|answer| answer.expect("every cell was asked")).collect()
    }

    /// Returns once every upstream that would be silent for ever has been let go.
    async fn silent_ones_are_let_go(&self, cells: &[Cell]) {
        let at = self.odd_at();
        let silent = cells.iter().filter(|cell| check::is_given_up(cell));
        let silent: Vec<_> = silent.map(|cell| credential(&cell.channel(at))).collect();
        loop {
            let aborted = self.odd.counts().aborted;
            let seen = by_credential(&self.odd);
            let answering = |credential| {
                let requests = seen.get(credential).into_iter().flatten();
                requests.into_iter().any(|request| request.outcome == Outcome::Answering)
            };
            if !silent.iter().any(answering) {
                return;
            }
            self.odd.wait_for_aborted(aborted + 1).await;
        }
    }

    fn odd_at(&self) -> usize {
        self.plot.place.roles().iter().position(|role| *role == Role::Odd).expect("there is one")
    }

    fn selector(&self, cell: &Cell) -> Selector {
        Selector::Credential(credential(&cell.channel(self.odd_at())))
    }

    /// Asks everything, waits until all is quiet, and checks every cell and the sums; the cells that are wrong.
    pub(super) async fn run(&self, cells: &[Cell], words: &mut Words) -> Vec<String> {
        let answers = self.ask(cells).await;
        let lines = self.gateway.log.lines(cells.len()).await;
        let by_model: HashMap<&str, &Value> =
            lines.iter().filter_map(|line| Some((line["model_requested"].as_str()?, line))).collect();
        drop(timeout(HANGS, self.silent_ones_are_let_go(cells)).await);
        let requests = [Role::Bad, Role::Odd, Role::Good].map(|role| by_credential(self.provider(role)));
        let mut wrong = Vec::new();
        for (cell, answer) in cells.iter().zip(&answers) {
            let Asked { speech, stream, .. } = self.plot.asked;
            let roles = self.plot.place.roles().iter().enumerate();
            let seen = roles.map(|(at, role)| {
                let credential = credential(&cell.channel(at));
                requests[*role as usize].get(&credential).cloned().unwrap_or_default()
            });
            let shown = !matches!(cell.sees, Sees::Next(..) | Sees::Good);
            let own = if shown { so_far(&cell.fault, stream) } else { Fault::None };
            let traces = Traces {
                answer,
                line: by_model.get(cell.model().as_str()).copied().unwrap_or(&Value::Null),
                seen: seen.collect(),
                own: words.of(speech, stream, &own).await,
                good: words.of(speech, stream, &Fault::None).await,
            };
            if let Err(why) = check::cell(self.plot, cell, &traces) {
                let Plot { asked, place, client_http2, rename } = self.plot;
                let down = if client_http2 { "HTTP/2" } else { "HTTP/1.1" };
                let fault = format!("{:?}", cell.fault);
                let fault = &fault[..fault.len().min(120)];
                wrong.push(format!("{asked:?} {place:?} client={down} rename={rename} {fault}: {why}"));
            }
        }
        wrong.extend(check::sums(self, &lines, cells).await);
        wrong
    }

    fn provider(&self, role: Role) -> &Provider {
        match role {
            Role::Bad => &self.bad,
            Role::Odd => &self.odd,
            Role::Good => &self.good,
        }
    }
}

fn question(house: &House, cell: &Cell) -> impl Future<Output = Answer> + Send + 'static {
    let (speech, stream, addr) = (house.plot.asked.speech, house.plot.asked.stream, house.gateway.addr());
    let (model, http2) = (cell.model(), house.plot.client_http2);
    async move {
        let answer = async {
            if http2 {
                return speech.ask_h2(addr, &model, stream).await;
            }
            client::once(addr, &speech.request(KEY, &model, stream)).await
        };
        // A cell that hangs is to be told like any other.
        let nothing = Answer { status: 0, headers: Vec::new(), body: Vec::new(), ended: Ended::Cut };
        timeout(HANGS, answer).await.unwrap_or(nothing)
    }
}

fn by_credential(provider: &Provider) -> HashMap<String, Vec<Recorded>> {
    let mut sorted: HashMap<String, Vec<Recorded>> = HashMap::new();
    for request in provider.requests() {
        let bearer = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let forms = [bearer, request.header("x-api-key"), request.header("x-goog-api-key")];
        let credential = forms.into_iter().flatten().next().unwrap_or_default().to_owned();
        sorted.entry(credential).or_default().push(request);
    }
    sorted
}

/// How many questions wait at the same time; few, so that a busy machine still serves each in time.
const WAITING_MAX: usize = 8;
/// Only what is wrong takes so long.
const HANGS: Duration = Duration::from_secs(20);

//! Conversations put into the order every provider takes: each call with its result right after it.
//!
//! Programs that cut, merge or resume conversations leave calls without results and results without calls, and put
//! other things between them; all four providers refuse that, each in other words.
//! Invariants: a conversation that is in order stays as it is; nothing the user or a tool said is lost.

use super::json::Text;
use super::loss::Lost;
use super::unified::{Content, Input, Outcome, Part, Request, Role, Turn};
use std::collections::{HashMap, HashSet, VecDeque};

/// Mends a conversation.
pub(super) fn mend(request: &mut Request<'_>) {
    name_outcomes(&mut request.turns);
    somebody_asks(request);
    if is_in_order(&request.turns) {
        return;
    }
    let turns = std::mem::take(&mut request.turns);
    let mut kept: Vec<Turn<'_>> = Vec::with_capacity(turns.len());
    let mut outcomes = gathered(&turns);
    for turn in turns {
        match turn.role {
            Role::Model => {
                let answered = answers(&turn, &mut outcomes, request);
                kept.push(turn);
                kept.extend(answered);
            }
            _ => kept.extend(without_outcomes(turn, &mut outcomes, request)),
        }
    }
    request.turns = kept;
    for part in outcomes.into_values().flatten() {
        request.losses.part(part.place, "", Lost::Dropped, "a second result of one call");
    }
}

/// Instructions alone, and a last turn of the user's in which nothing is said, are conversations to chat completions
/// only: the others refuse them, or go on with what the model said before.
fn somebody_asks(request: &mut Request<'_>) {
    let is_instruction = |turn: &Turn<'_>| matches!(turn.role, Role::System | Role::Developer);
    let alone = request.turns.iter().all(is_instruction);
    let Some(last) = request.turns.last_mut() else { return };
    if alone {
        last.role = Role::User;
        request.losses.conversation("instructions alone: the last of them as the user's");
    } else if last.role == Role::User && last.parts.iter().all(is_blank) {
        last.parts = vec![Part::text("(The message is empty.)")];
        request.losses.conversation("the last message is empty: it says so");
    }
}

fn is_blank(part: &Part<'_>) -> bool {
    matches!(&part.content, Content::Text { text, .. } if text.trim().is_empty())
}

/// Says of each result which tool it is of: the one of the latest call with its id.
fn name_outcomes(turns: &mut [Turn<'_>]) {
    let mut called = HashMap::new();
    for part in turns.iter_mut().flat_map(|turn| &mut turn.parts) {
        match &mut part.content {
            Content::Call(call) => {
                let free = matches!(call.input, Input::Text { free: true, .. });
                called.insert((*call.id).to_owned(), (call.name.clone(), free));
            }
            Content::Outcome(outcome) => {
                if let Some((name, free)) = called.get(&*outcome.id) {
                    outcome.name.get_or_insert_with(|| name.clone());
                    outcome.free = *free;
                }
            }
            _ => {}
        }
    }
}

/// Whether every turn of calls is followed by exactly their results.
fn is_in_order(turns: &[Turn<'_>]) -> bool {
    let mut open: HashSet<&str> = HashSet::new();
    for turn in turns {
        let mut before_others = true;
        for part in &turn.parts {
            match &part.content {
                Content::Outcome(outcome) if !before_others || !open.remove(&*outcome.id) => return false,
                Content::Outcome(_) => {}
                _ => before_others = false,
            }
        }
        if !open.is_empty() {
            return false;
        }
        open = turn.parts.iter().filter_map(call_id).collect();
    }
    open.is_empty()
}

fn call_id<'p>(part: &'p Part<'_>) -> Option<&'p str> {
    match &part.content {
        Content::Call(call) => Some(&*call.id),
        _ => None,
    }
}

/// Results by their call, those that have one; an id may come again in a later turn.
type Outcomes<'a> = HashMap<String, VecDeque<Part<'a>>>;

fn gathered<'a>(turns: &[Turn<'a>]) -> Outcomes<'a> {
    let mut called = HashSet::new();
    let mut found = Outcomes::new();
    for part in turns.iter().flat_map(|turn| &turn.parts) {
        if let Some(id) = call_id(part) {
            called.insert(id);
        }
        if let Content::Outcome(outcome) = &part.content
            && called.contains(&*outcome.id)
        {
            found.entry((*outcome.id).to_owned()).or_default().push_back(part.clone());
        }
    }
    found
}

/// The turn that answers a model's calls.
fn answers<'a>(turn: &Turn<'a>, outcomes: &mut Outcomes<'a>, request: &mut Request<'a>) -> Option<Turn<'a>> {
    let mut parts = Vec::new();
    for part in &turn.parts {
        let Content::Call(call) = &part.content else { continue };
        if let Some(found) = outcomes.get_mut(&*call.id).and_then(VecDeque::pop_front) {
            parts.push(found);
            continue;
        }
        request.losses.part(part.place, "", Lost::Approximated, "a call without a result: it says so");
        let free = matches!(&call.input, Input::Text { free: true, .. });
        let outcome = Outcome {
            id: call.id.clone(),
            name: Some(call.name.clone()),
            parts: vec![Part::text(UNANSWERED)],
            error: true,
            free,
        };
        parts.push(Part { place: part.place, ..Part::new(Content::Outcome(outcome)) });
    }
    (!parts.is_empty()).then_some(Turn { role: Role::User, parts, name: None })
}

const UNANSWERED: &str = "The call was interrupted and has no result.";

/// A turn without the results that stand elsewhere now; those of no call become text.
fn without_outcomes<'a>(
    mut turn: Turn<'a>,
    outcomes: &mut Outcomes<'a>,
    request: &mut Request<'a>,
) -> Option<Turn<'a>> {
    let had = turn.parts.len();
    let mut parts = Vec::with_capacity(had);
    for part in turn.parts {
        let Content::Outcome(outcome) = part.content else {
            parts.push(part);
            continue;
        };
        if outcomes.contains_key(&*outcome.id) {
            continue;
        }
        request.losses.part(part.place, "", Lost::Approximated, "a result without a call: as text");
        let name = outcome.name.as_deref().unwrap_or(&outcome.id);
        parts.push(Part::text(Text::from(format!("Result of the tool call {name}:"))));
        parts.extend(outcome.parts);
    }
    turn.parts = parts;
    (had == 0 || !turn.parts.is_empty()).then_some(turn)
}

//! What is known of Anthropic's models by their names, and what thinking a request can have at one.
//!
//! Invariants: a budget is at least 1,024 tokens and less than the longest answer; what thinking excludes (a forced
//! tool, a temperature) is decided here.

use super::super::loss::{Field, Losses, Lost};
use super::super::unified::{Content, Effort, Part, Request, Role, Show, Signer, Thinking};
use super::super::{Target, prompt, words};

/// What a model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) style: Style,
    /// Whether it holds to a schema by itself.
    pub(super) has_formats: bool,
    /// Whether it takes a temperature or `top_p`, not both.
    pub(super) one_of_sampling: bool,
    /// The longest answer it is asked for where the client says nothing.
    output_tokens: u64,
}

/// How a model's thinking is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    None,
    Budget,
    Adaptive,
}

impl Model {
    /// Who serves a model that is none of Anthropic's takes what the older of these took.
    pub(super) fn named(name: &str) -> Self {
        let Some(version) = version(name) else {
            return Self {
                style: Style::Budget,
                has_formats: false,
                one_of_sampling: false,
                output_tokens: 8192,
            };
        };
        let is_opus = name.contains("opus");
        let (style, output_tokens) = match version {
            (..=2, _) | (3, 0) => (Style::None, 4096),
            (3, 1..=5) => (Style::None, 8192),
            (3, _) => (Style::Budget, 32_000),
            (4, ..=5) => (Style::Budget, if is_opus && version < (4, 5) { 16_000 } else { 32_000 }),
            _ => (Style::Adaptive, 32_000),
        };
        Self {
            style,
            has_formats: version >= (4, 5) || (is_opus && version >= (4, 1)),
            one_of_sampling: version >= (4, 0),
            output_tokens,
        }
    }
}

/// The numbers in a name: `claude-opus-4-8`, `claude-3-5-sonnet-20241022`, `anthropic/claude-sonnet-4.5`.
fn version(name: &str) -> Option<(u32, u32)> {
    let (_, rest) = name.split_once("claude")?;
    let mut numbers = rest.split(['-', '.', '@', ':', '_', '[']).skip_while(|word| !is_number(word));
    let major = numbers.next().and_then(|word| word.parse().ok()).unwrap_or(NEWEST);
    let minor = numbers.next().filter(|word| is_number(word)).and_then(|word| word.parse().ok());
    Some((major, minor.unwrap_or(0)))
}

/// A date is none.
fn is_number(word: &str) -> bool {
    matches!(word.len(), 1 | 2) && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// A name without a number is of a model nobody knew when this was written.
const NEWEST: u32 = 99;

/// The thinking of a request, and its longest answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Thought {
    pub(super) thinking: Option<Thinking>,
    pub(super) effort: Option<Effort>,
    pub(super) show: Option<Show>,
    pub(super) max_tokens: u64,
}

impl Thought {
    pub(super) fn is_on(&self) -> bool {
        matches!(self.thinking, Some(Thinking::Adaptive | Thinking::Budget(_)))
    }

    pub(super) fn of(request: &Request<'_>, target: &Target<'_>, model: Model, losses: &mut Losses) -> Self {
        let asked = request.reasoning;
        let supplied = target.max_tokens.unwrap_or(model.output_tokens);
        let mut thought = Self {
            thinking: None,
            effort: None,
            show: asked.show,
            max_tokens: request.max_tokens.unwrap_or(supplied).max(1),
        };
        let wants = match asked.thinking {
            Some(Thinking::Off) => {
                thought.thinking = (model.style != Style::None).then_some(Thinking::Off);
                return thought;
            }
            None if asked.effort.is_none() => return thought,
            wanted => wanted,
        };
        if let Some(why) = excluded(request, model) {
            losses.field(Field::Thinking, Lost::Dropped, why);
            return thought;
        }
        match model.style {
            Style::None => {}
            Style::Adaptive => {
                thought.thinking = Some(Thinking::Adaptive);
                thought.effort = asked.effort;
                if let (Some(Thinking::Budget(tokens)), None) = (wants, asked.effort) {
                    losses.field(Field::Budget, Lost::Approximated, "as an effort");
                    thought.effort = Some(words::effort_of(tokens));
                }
                if thought.effort == Some(Effort::Minimal) {
                    thought.effort = Some(Effort::Low);
                }
            }
            Style::Budget => thought.within(wants, request, losses),
        }
        thought
    }

    fn within(&mut self, wants: Option<Thinking>, request: &Request<'_>, losses: &mut Losses) {
        let budget = if let Some(Thinking::Budget(tokens)) = wants {
            tokens
        } else {
            losses.field(Field::Effort, Lost::Approximated, "as a budget of tokens");
            words::budget_of(request.reasoning.effort.unwrap_or(Effort::Medium))
        };
        let budget = budget.max(BUDGET_TOKENS_MIN);
        if request.max_tokens.is_none() {
            self.max_tokens = self.max_tokens.max(budget + ANSWER_TOKENS);
        }
        if self.max_tokens <= BUDGET_TOKENS_MIN {
            losses.field(Field::Thinking, Lost::Dropped, "the longest answer leaves no room for it");
            return;
        }
        self.thinking = Some(Thinking::Budget(budget.min(self.max_tokens - 1)));
    }
}

/// The least Anthropic takes.
const BUDGET_TOKENS_MIN: u64 = 1024;
/// What is left for the answer where the client says nothing.
const ANSWER_TOKENS: u64 = 8192;

/// Why a request cannot have thinking.
fn excluded(request: &Request<'_>, model: Model) -> Option<&'static str> {
    if model.style == Style::None {
        Some("the model has none")
    } else if prompt::is_forced(request) {
        Some("Anthropic does not think where a tool must be used")
    } else if model.style == Style::Budget && !goes_on(request) {
        Some("the round of tools under way has no thinking to go on from")
    } else {
        None
    }
}

/// With a budget, the model's turns since the user last spoke must begin with thinking of Anthropic's.
fn goes_on(request: &Request<'_>) -> bool {
    let from = prompt::thoughts_from(&request.turns);
    let is_signed = |part: &Part<'_>| match &part.content {
        Content::Reasoning { signature: Some(signature), .. } => {
            matches!(signature.signer, Signer::Anthropic | Signer::Redacted)
        }
        _ => false,
    };
    let model = request.turns.get(from..).unwrap_or_default().iter().find(|turn| turn.role == Role::Model);
    model.is_none_or(|turn| turn.parts.iter().any(is_signed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_how_a_model_thinks() {
        for (name, style, formats) in [
            ("claude-3-haiku-20240307", Style::None, false),
            ("claude-3-5-sonnet-20241022", Style::None, false),
            ("claude-3-7-sonnet-latest", Style::Budget, false),
            ("claude-sonnet-4-20250514", Style::Budget, false),
            ("claude-opus-4-1-20250805", Style::Budget, true),
            ("anthropic/claude-sonnet-4.5", Style::Budget, true),
            ("claude-haiku-4-5-20251001", Style::Budget, true),
            ("claude-opus-4-6", Style::Adaptive, true),
            ("claude-opus-4-8[1m]", Style::Adaptive, true),
            ("claude-sonnet-5", Style::Adaptive, true),
            ("claude-fable", Style::Adaptive, true),
            ("deepseek-chat", Style::Budget, false),
        ] {
            let model = Model::named(name);
            assert_eq!((model.style, model.has_formats), (style, formats), "{name}");
        }
    }
}

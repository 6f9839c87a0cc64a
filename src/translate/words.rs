//! Small things several protocols write alike.

use super::json::{Many, Members, Raw, Text};
use super::unified::{Choice, Effort, Reasoning, Thinking, Verbosity};

/// Whether a schema is that of a tool without parameters.
pub(super) fn takes_nothing(schema: &Raw<'_>) -> bool {
    let members = Members::of(schema);
    let empty = |value: &Raw<'_>| matches!(value.json(), "{}" | "[]" | "false" | "null");
    let is_object = |value: &Raw<'_>| value.text().is_some_and(|kind| kind.eq_ignore_ascii_case("object"));
    members.0.iter().all(|(key, value)| match &**key {
        "type" => is_object(value),
        "properties" | "required" | "additionalProperties" => empty(value),
        "$schema" | "title" => true,
        _ => false,
    })
}

/// What every provider takes for a tool without parameters, where it wants a schema.
pub(super) const NO_PARAMETERS: Raw<'static> = Raw::known("{\"type\":\"object\",\"properties\":{}}");

pub(super) fn verbosity(word: &str) -> Option<Verbosity> {
    Some(match word {
        "low" => Verbosity::Low,
        "medium" => Verbosity::Medium,
        "high" => Verbosity::High,
        _ => return None,
    })
}

pub(super) fn verbosity_word(verbosity: Verbosity) -> &'static str {
    match verbosity {
        Verbosity::Low => "low",
        Verbosity::Medium => "medium",
        Verbosity::High => "high",
    }
}

pub(super) fn effort(word: &str) -> Option<Effort> {
    Some(match word {
        "minimal" => Effort::Minimal,
        "low" => Effort::Low,
        "medium" => Effort::Medium,
        "high" => Effort::High,
        "xhigh" => Effort::XHigh,
        "max" => Effort::Max,
        _ => return None,
    })
}

pub(super) fn effort_word(effort: Effort) -> &'static str {
    match effort {
        Effort::Minimal => "minimal",
        Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::XHigh => "xhigh",
        Effort::Max => "max",
    }
}

/// OpenAI's word, which may be `none`.
pub(super) fn effort_or_off(word: Option<&str>) -> Reasoning {
    match word {
        Some("none") => Reasoning { thinking: Some(Thinking::Off), ..Reasoning::default() },
        Some(word) => Reasoning { effort: effort(word), ..Reasoning::default() },
        None => Reasoning::default(),
    }
}

/// OpenAI's word for it: a budget is the effort nearest to it.
pub(super) fn openai_effort(reasoning: &Reasoning) -> Option<&'static str> {
    match (reasoning.thinking, reasoning.effort) {
        (Some(Thinking::Off), _) => Some("none"),
        (_, Some(effort)) => Some(effort_word(effort)),
        (Some(Thinking::Budget(tokens)), None) => Some(effort_word(effort_of(tokens))),
        (Some(Thinking::Adaptive) | None, None) => None,
    }
}

/// The effort a budget stands for.
pub(super) fn effort_of(tokens: u64) -> Effort {
    match tokens {
        0..=512 => Effort::Minimal,
        513..=4096 => Effort::Low,
        4097..=12288 => Effort::Medium,
        _ => Effort::High,
    }
}

/// The budget an effort stands for; [`effort_of`] it is that effort, up to `high`.
pub(super) fn budget_of(effort: Effort) -> u64 {
    match effort {
        Effort::Minimal => 512,
        Effort::Low => 2048,
        Effort::Medium => 8192,
        Effort::High => 16384,
        Effort::XHigh => 24576,
        Effort::Max => 32768,
    }
}

pub(super) fn choice(word: &str) -> Option<Choice<'static>> {
    Some(match word {
        "auto" => Choice::Auto,
        "none" => Choice::None,
        "required" => Choice::Required,
        _ => return None,
    })
}

/// One text or several.
pub(super) fn list<'a>(many: Option<Many<'a, Text<'a>>>) -> Vec<Text<'a>> {
    match many {
        None => Vec::new(),
        Some(Many::Text(one)) => vec![one],
        Some(Many::List(list)) => list,
    }
}

/// Labels, whose values are texts.
pub(super) fn metadata<'a>(members: Option<Members<'a>>) -> Vec<(Text<'a>, Text<'a>)> {
    let text = |value: Raw<'a>| {
        let text = value.text().map(Text::into_owned);
        text.unwrap_or_else(|| value.json().to_owned().into())
    };
    members.unwrap_or_default().0.into_iter().map(|(key, value)| (key, text(value))).collect()
}

/// An object in the text of a call's arguments; what is empty takes nothing.
pub(super) fn arguments(text: Text<'_>) -> super::unified::Input<'_> {
    use super::unified::Input;
    if text.trim().is_empty() {
        return Input::Json(Raw::known("{}"));
    }
    match Raw::object(text) {
        Ok(raw) => Input::Json(raw),
        Err(text) => Input::Text { text, free: false },
    }
}

/// Which characters of a text a citation is about, where its part begins and ends there.
pub(super) fn span(citation: &super::unified::Citation<'_>, (start, end): (usize, usize)) -> (u64, u64) {
    let (start, end) = (u64::try_from(start).unwrap_or(0), u64::try_from(end).unwrap_or(0));
    match citation.span {
        Some((from, to)) => (start.saturating_add(from), start.saturating_add(to)),
        None => (start, end),
    }
}

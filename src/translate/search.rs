//! Searching the web: the one tool of the providers' own that three of them have alike, and chat completions as a setting.
//!
//! What it found stays where it was found: an answer carries its citations, and nothing of the search itself.

use super::json::{Array, Object, Text, message};
use super::loss::{Field, Losses};
use super::prompt;
use super::unified::{Request, Search, Tool, ToolKind};

message! {
    Where {
        kind["type"]: Text<'a>,
        city: Text<'a>,
        region: Text<'a>,
        country: Text<'a>,
        timezone: Text<'a>,
        approximate: Box<Where<'a>>,
    }
}

/// Where a user is: city, region, country and time zone.
pub(super) fn place(of: Option<Where<'_>>) -> [Option<Text<'_>>; 4] {
    let of = of.unwrap_or_default();
    match of.approximate {
        Some(inner) => [inner.city, inner.region, inner.country, inner.timezone],
        None => [of.city, of.region, of.country, of.timezone],
    }
}

/// As a tool of a request.
pub(super) fn tool(search: Search<'_>) -> Tool<'_> {
    let kind = ToolKind::Search(Box::new(search));
    Tool { name: NAME.into(), description: None, kind, cache: None }
}

/// What it is called where it is asked for by name.
pub(super) const NAME: &str = "web_search";

/// The search a request has, where it may be used, and its place among the tools.
pub(super) fn asked<'r, 'a>(request: &'r Request<'a>) -> Option<(usize, &'r Search<'a>)> {
    // Gemini's names are of functions alone.
    let allowed = prompt::allowed(request).filter(|_| request.source != super::Protocol::Gemini);
    request.tools.iter().enumerate().find_map(|(at, tool)| match &tool.kind {
        ToolKind::Search(search) if allowed.as_ref().is_none_or(|names| names.contains(NAME)) => {
            Some((at, &**search))
        }
        _ => None,
    })
}

/// Says that a request's search is not carried over.
pub(super) fn lose(request: &Request<'_>, losses: &mut Losses, why: &'static str) {
    if let Some((at, _)) = asked(request) {
        losses.dropped(field(request, at, ""), why);
    }
}

/// Says which of these settings are not.
pub(super) fn lose_settings(
    request: &Request<'_>,
    at: usize,
    settings: &[(bool, &str)],
    losses: &mut Losses,
) {
    for (_, name) in settings.iter().filter(|(is_there, _)| *is_there) {
        losses.dropped(field(request, at, name), "the other side's search has none");
    }
}

fn field(request: &Request<'_>, at: usize, of: &str) -> String {
    if request.source == super::Protocol::Chat {
        return format!("web_search_options{of}");
    }
    format!("{}[{at}]{of}", Field::Tools.spelled(request.source))
}

/// For OpenAI's responses.
pub(super) fn responses(
    search: &Search<'_>,
    request: &Request<'_>,
    tool: &mut Object<'_>,
    losses: &mut Losses,
) {
    tool.text("type", NAME);
    if !search.allowed.is_empty() {
        tool.object("filters", |filters| {
            filters.array("allowed_domains", |list| texts(&search.allowed, list));
        });
    }
    tool.some("search_context_size", search.size.as_deref());
    location(search, tool);
    if let Some((at, _)) = asked(request) {
        lose_settings(request, at, &[(!search.blocked.is_empty(), ".blocked_domains")], losses);
    }
}

/// For Anthropic's messages, which take one list of domains.
pub(super) fn anthropic(
    search: &Search<'_>,
    request: &Request<'_>,
    tool: &mut Object<'_>,
    losses: &mut Losses,
) {
    tool.text("type", "web_search_20250305").text("name", NAME).some_number("max_uses", search.uses);
    if !search.allowed.is_empty() {
        tool.array("allowed_domains", |list| texts(&search.allowed, list));
    } else if !search.blocked.is_empty() {
        tool.array("blocked_domains", |list| texts(&search.blocked, list));
    }
    location(search, tool);
    if let Some((at, _)) = asked(request) {
        lose_settings(request, at, &[(search.size.is_some(), ".search_context_size")], losses);
    }
}

/// For Gemini, whose search has no settings, and which does not search beside functions.
pub(super) fn gemini(request: &Request<'_>, functions: bool, losses: &mut Losses) -> bool {
    let Some((at, search)) = asked(request) else { return false };
    if functions {
        lose(request, losses, "Gemini does not search where there are functions");
        return false;
    }
    let settings = [
        (!search.allowed.is_empty(), ".allowed_domains"),
        (!search.blocked.is_empty(), ".blocked_domains"),
        (search.uses.is_some(), ".max_uses"),
        (search.size.is_some(), ".search_context_size"),
        (search.place.iter().any(Option::is_some), ".user_location"),
    ];
    lose_settings(request, at, &settings, losses);
    true
}

/// For chat completions, where a model either searches or does not: OpenAI names those that do so.
pub(super) fn chat(request: &Request<'_>, model: &str, body: &mut Object<'_>, losses: &mut Losses) {
    let Some((at, search)) = asked(request) else { return };
    if !model.contains("search") {
        return lose(request, losses, "chat completions has no search but that of models named for it");
    }
    body.object("web_search_options", |of| {
        of.some("search_context_size", search.size.as_deref());
        if search.place.iter().any(Option::is_some) {
            of.object("user_location", |place| {
                place.text("type", "approximate").object("approximate", |of| members(search, of));
            });
        }
    });
    let settings = [
        (!search.allowed.is_empty(), ".allowed_domains"),
        (!search.blocked.is_empty(), ".blocked_domains"),
        (search.uses.is_some(), ".max_uses"),
    ];
    lose_settings(request, at, &settings, losses);
}

fn location(search: &Search<'_>, tool: &mut Object<'_>) {
    if search.place.iter().any(Option::is_some) {
        tool.object("user_location", |place| {
            place.text("type", "approximate");
            members(search, place);
        });
    }
}

fn members(search: &Search<'_>, place: &mut Object<'_>) {
    let [city, region, country, timezone] = &search.place;
    place.some("city", city.as_deref()).some("region", region.as_deref());
    place.some("country", country.as_deref()).some("timezone", timezone.as_deref());
}

fn texts(all: &[Text<'_>], list: &mut Array<'_>) {
    for text in all {
        list.text(text);
    }
}

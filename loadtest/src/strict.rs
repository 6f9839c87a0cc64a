//! What a head may carry: exactly one credential of the right form, and nothing a gateway must keep to itself.
//!
//! Invariant: a leak is loud. A second credential, a cookie, the client's address, a hop-by-hop header: each is a 400
//! in the provider's shape that names the header (never its value), and is recorded like any other request.

use crate::api::{Api, Operation};
use crate::errors::Refused;
use crate::http::{Framing, Head};
use crate::options::Options;
use crate::route::{Route, split_target};

/// Headers that end at a gateway. `x-forwarded-*` and `proxy-*` are refused by their beginning.
const FORBIDDEN: &[&str] = &[
    "cookie",
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "openai-organization",
    "openai-project",
    "te",
    "trailer",
    "upgrade",
    "keep-alive",
    "http2-settings",
];
const FORBIDDEN_BEGINNINGS: &[&str] = &["x-forwarded-", "proxy-", "sec-websocket-"];
/// What only a handshake may have; it may not ask for an extension.
const HANDSHAKE: &[&str] =
    &["upgrade", "sec-websocket-key", "sec-websocket-version", "sec-websocket-protocol"];
/// Header names that carry a credential.
const CREDENTIALS: &[&str] = &["authorization", "x-api-key", "x-goog-api-key", "api-key"];
/// Versions of the Anthropic API that exist; the newest is what the official SDKs send since 2.11 (Python).
const ANTHROPIC_VERSIONS: &[&str] = &["2023-01-01", "2023-06-01", "2026-10-21"];
/// Query parameters Google knows for what is served here.
const GOOGLE_PARAMETERS: &[&str] = &["key", "alt", "$alt", "pageSize", "pageToken", "prettyPrint"];

/// Refuses what must not be in a head; gives the credential otherwise.
pub(crate) fn check_head(head: &Head, route: &Route, options: &Options) -> Result<String, Refused> {
    let (api, keys) = (route.api, &options.keys);
    let is_socket = route.operation == Operation::Realtime;
    if let Some(name) = forbidden(head, is_socket) {
        return Err(Refused::bad(api, format!("leak: the header {name} must not reach a provider")));
    }
    check_framing(head, route)?;
    if api == Api::Gemini {
        check_google_parameters(head)?;
    }
    let credential = match credentials(head).as_slice() {
        [] if options.compatible => "none".to_owned(),
        [("api-key", key)] if options.compatible => (*key).to_owned(),
        found => credential(found, api)?,
    };
    if credential.is_empty() || !(keys.is_empty() || keys.contains(&credential)) {
        return Err(wrong_key(api));
    }
    if api == Api::Anthropic {
        check_anthropic_version(head)?;
    }
    Ok(credential)
}

fn forbidden(head: &Head, is_socket: bool) -> Option<String> {
    let mut names = head.headers.iter().map(|(name, _)| name.to_ascii_lowercase());
    names.find(|name| {
        let forbidden = FORBIDDEN.contains(&name.as_str())
            || FORBIDDEN_BEGINNINGS.iter().any(|beginning| name.starts_with(beginning));
        forbidden && !(is_socket && HANDSHAKE.contains(&name.as_str()))
    })
}

fn check_framing(head: &Head, route: &Route) -> Result<(), Refused> {
    let api = route.api;
    if head.method != "POST" {
        let empty = matches!(head.framing, Framing::None | Framing::ContentLength(0));
        return if empty { Ok(()) } else { Err(Refused::bad(api, "a GET or DELETE has no body")) };
    }
    if head.framing == Framing::None {
        return Err(Refused::new(api, 411, "a POST needs content-length or chunks".to_owned()));
    }
    if let Some(coding) = head.all("content-encoding").find(|coding| !coding.eq_ignore_ascii_case("identity"))
    {
        return Err(Refused::new(api, 415, format!("content-encoding {coding} is not understood")));
    }
    if matches!(route.operation, Operation::Kept(..)) {
        return Ok(());
    }
    let types: Vec<&str> = head.all("content-type").collect();
    let (json, form) = route.operation.takes();
    let wanted = [(json, "application/json"), (form, "multipart/form-data")];
    let wanted: Vec<&str> =
        wanted.into_iter().filter(|(taken, _)| *taken).map(|(_, wanted)| wanted).collect();
    match types.as_slice() {
        [one] if wanted.iter().any(|wanted| one.to_ascii_lowercase().starts_with(wanted)) => Ok(()),
        _ => {
            let wanted = wanted.join(" or ");
            Err(Refused::new(api, 415, format!("exactly one content-type, {wanted}, is needed")))
        }
    }
}

fn check_google_parameters(head: &Head) -> Result<(), Refused> {
    let (_, query) = split_target(&head.target);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let name = pair.split('=').next().unwrap_or_default();
        if !GOOGLE_PARAMETERS.contains(&name) {
            return Err(Refused::bad(
                Api::Gemini,
                format!("Unknown name \"{name}\": Cannot bind query parameter."),
            ));
        }
    }
    Ok(())
}

/// Where credentials stand, and which.
fn credentials(head: &Head) -> Vec<(&str, &str)> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    for name in CREDENTIALS {
        found.extend(head.all(name).map(|value| (*name, value)));
    }
    let (_, query) = split_target(&head.target);
    found.extend(query.split('&').filter_map(|pair| pair.strip_prefix("key=")).map(|value| ("key=", value)));
    found
}

fn credential(found: &[(&str, &str)], api: Api) -> Result<String, Refused> {
    match found {
        [] => Err(no_key(api)),
        [("authorization", value)] if api != Api::Gemini => match value.split_once(' ') {
            Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => Ok(key.trim().to_owned()),
            _ => Err(no_key(api)),
        },
        [("x-api-key", key)] if api == Api::Anthropic => Ok((*key).to_owned()),
        [("x-goog-api-key" | "key=", key)] if api == Api::Gemini => Ok((*key).to_owned()),
        [(name, _)] => Err(Refused::new(api, 401, format!("{name} is no credential of this provider"))),
        several => {
            let names: Vec<&str> = several.iter().map(|(name, _)| *name).collect();
            Err(Refused::bad(api, format!("leak: more than one credential: {}", names.join(", "))))
        }
    }
}

fn no_key(api: Api) -> Refused {
    match api {
        Api::OpenAi => {
            let message =
                "You didn't provide an API key. Provide it in an Authorization header using Bearer auth.";
            Refused::new(api, 401, message.to_owned())
        }
        Api::Anthropic => Refused::new(api, 401, "x-api-key header is required".to_owned()),
        Api::Gemini => {
            let message =
                "Method doesn't allow unregistered callers. Please use API Key or other form of identity.";
            Refused::new(api, 403, message.to_owned())
        }
    }
}

fn wrong_key(api: Api) -> Refused {
    match api {
        Api::OpenAi => Refused::new(api, 401, "Incorrect API key provided.".to_owned()),
        Api::Anthropic => Refused::new(api, 401, "invalid x-api-key".to_owned()),
        Api::Gemini => {
            Refused::bad(api, "API key not valid. Please pass a valid API key.").with_code("API_KEY_INVALID")
        }
    }
}

fn check_anthropic_version(head: &Head) -> Result<(), Refused> {
    let versions: Vec<&str> = head.all("anthropic-version").collect();
    match versions.as_slice() {
        [one] if ANTHROPIC_VERSIONS.contains(one) => Ok(()),
        [] => Err(Refused::bad(Api::Anthropic, "anthropic-version: header is required")),
        [other] => Err(Refused::bad(
            Api::Anthropic,
            format!("anthropic-version: \"{other}\" is not a valid version"),
        )),
        _ => Err(Refused::bad(Api::Anthropic, "anthropic-version: more than one header")),
    }
}

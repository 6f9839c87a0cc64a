//! What a request is, from its method and target alone: provider, operation, and the model where the path names it.
//!
//! Invariant: paths are matched exactly. A doubled slash, a doubled or missing version, a trailing slash: 404, as the
//! real providers answer, so that a gateway that builds a wrong address learns it.

use crate::api::{Api, KeptCall, Operation, VideoCall};
use crate::errors::Refused;
use crate::http::Head;
use crate::options::Options;

/// The answer of this file.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) api: Api,
    pub(crate) operation: Operation,
    /// The model, where the path names it.
    pub(crate) model: Option<String>,
}

/// Finds out what a request is.
pub(crate) fn route(head: &Head, options: &Options) -> Result<Route, Refused> {
    let (whole_path, query) = split_target(&head.target);
    if options.compatible {
        return compatible(head, whole_path);
    }
    let prefix = options.prefix.as_str();
    let unknown = |api| Err(Refused::new(api, 404, format!("Unknown path: {} {}", head.method, head.target)));
    let Some(path) = whole_path.strip_prefix(prefix).filter(|path| path.starts_with('/')) else {
        return unknown(speaker(head, whole_path));
    };
    let api = speaker(head, path);
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    if parts.iter().any(|part| part.is_empty()) {
        return unknown(api);
    }
    if let (Api::Gemini, ["v1beta" | "v1", "models", name_and_verb]) = (api, parts.as_slice()) {
        return gemini(head, name_and_verb, query);
    }
    let Some(allowed) = operations(api, &parts) else { return unknown(api) };
    match allowed.into_iter().find(|(method, _)| *method == head.method) {
        Some((_, operation)) => Ok(Route { api, operation, model: None }),
        None => Err(wrong_method(api, head)),
    }
}

/// An operation of OpenAI's or Anthropic's behind any path and version; those who imitate them choose their own.
fn compatible(head: &Head, path: &str) -> Result<Route, Refused> {
    let api = if path.contains("/messages") { Api::Anthropic } else { Api::OpenAi };
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let found = (0..parts.len()).find_map(|start| {
        let with_version: Vec<&str> = ["v1"].iter().chain(&parts[start..]).copied().collect();
        operations(api, &with_version)
    });
    match found.and_then(|allowed| allowed.into_iter().find(|(method, _)| *method == head.method)) {
        Some((_, operation)) => Ok(Route { api, operation, model: None }),
        None => Err(Refused::new(api, 404, format!("Unknown path: {} {}", head.method, head.target))),
    }
}

/// The path and the query of a target.
pub(crate) fn split_target(target: &str) -> (&str, &str) {
    target.split_once('?').unwrap_or((target, ""))
}

/// Whose API is meant. `/v1/models` exists at all three: `anthropic-version` and Google's key forms decide.
fn speaker(head: &Head, path: &str) -> Api {
    let (_, query) = split_target(&head.target);
    let google_key =
        head.first("x-goog-api-key").is_some() || query.split('&').any(|pair| pair.starts_with("key="));
    let models = path.starts_with("/v1/models");
    if path.starts_with("/v1beta") || (models && (path.contains(':') || google_key)) {
        Api::Gemini
    } else if path.starts_with("/v1/messages") || head.first("anthropic-version").is_some() {
        Api::Anthropic
    } else {
        Api::OpenAi
    }
}

type Allowed = Vec<(&'static str, Operation)>;

fn operations(api: Api, parts: &[&str]) -> Option<Allowed> {
    use Operation as Op;
    let allowed = match (api, parts) {
        (Api::OpenAi, ["v1", "chat", "completions"]) => vec![("POST", Op::Chat)],
        (Api::OpenAi, ["v1", "completions"]) => vec![("POST", Op::Completions)],
        (Api::OpenAi, ["v1", "responses"]) => vec![("POST", Op::Responses)],
        (Api::OpenAi, ["v1", "responses", "input_tokens"]) => vec![("POST", Op::CountInput)],
        (Api::OpenAi, ["v1", "responses", "compact"]) => vec![("POST", Op::Compact)],
        (Api::OpenAi, ["v1", "responses", id, rest @ ..]) => kept(id, rest)?,
        (Api::OpenAi, ["v1", "realtime"]) => vec![("GET", Op::Realtime)],
        (Api::OpenAi, ["v1", "embeddings"]) => vec![("POST", Op::Embeddings)],
        (Api::OpenAi, ["v1", "moderations"]) => vec![("POST", Op::Moderations)],
        (Api::OpenAi, ["v1", "rerank"]) => vec![("POST", Op::Rerank(false))],
        (Api::OpenAi, ["v2", "rerank"]) => vec![("POST", Op::Rerank(true))],
        (Api::OpenAi, ["v1", "images", "generations"]) => vec![("POST", Op::ImageGenerations)],
        (Api::OpenAi, ["v1", "images", "edits"]) => vec![("POST", Op::ImageEdits)],
        (Api::OpenAi, ["v1", "images", "variations"]) => vec![("POST", Op::ImageVariations)],
        (Api::OpenAi, ["v1", "audio", "speech"]) => vec![("POST", Op::Speech)],
        (Api::OpenAi, ["v1", "audio", "transcriptions"]) => vec![("POST", Op::Transcriptions)],
        (Api::OpenAi, ["v1", "audio", "translations"]) => vec![("POST", Op::Translations)],
        (Api::OpenAi, ["v1", "files"]) => vec![("POST", Op::FileCreate), ("GET", Op::FileList)],
        (Api::OpenAi, ["v1", "files", id]) => {
            vec![("GET", Op::FileGet((*id).to_owned())), ("DELETE", Op::FileDelete((*id).to_owned()))]
        }
        (Api::OpenAi, ["v1", "videos", rest @ ..]) => videos(rest)?,
        (Api::OpenAi, ["v1", "batches", rest @ ..]) => jobs("batch", rest),
        (Api::OpenAi, ["v1", "uploads", rest @ ..]) => jobs("upload", rest),
        (Api::OpenAi, ["v1", "fine_tuning", "jobs", rest @ ..]) => jobs("fine_tuning.job", rest),
        (Api::Anthropic, ["v1", "messages", "batches", rest @ ..]) => jobs("message_batch", rest),
        (Api::OpenAi, ["v1", "files", id, "content"]) => vec![("GET", Op::FileContent((*id).to_owned()))],
        (Api::Anthropic, ["v1", "messages"]) => vec![("POST", Op::Messages)],
        (Api::Anthropic, ["v1", "messages", "count_tokens"]) => vec![("POST", Op::CountTokens)],
        (Api::Gemini, ["v1beta" | "v1", "models"]) | (_, ["v1", "models"]) => vec![("GET", Op::Models)],
        (Api::OpenAi | Api::Anthropic, ["v1", "models", id]) => vec![("GET", Op::Model((*id).to_owned()))],
        _ => return None,
    };
    Some(allowed)
}

fn kept(id: &str, rest: &[&str]) -> Option<Allowed> {
    let call = |method, call| (method, Operation::Kept(call, id.to_owned()));
    Some(match rest {
        [] => vec![call("GET", KeptCall::Show(false)), call("DELETE", KeptCall::Delete)],
        ["cancel"] => vec![call("POST", KeptCall::Cancel)],
        ["input_items"] => vec![call("GET", KeptCall::InputItems)],
        _ => return None,
    })
}

fn videos(rest: &[&str]) -> Option<Allowed> {
    let call = |method, call| (method, Operation::Video(call));
    let allowed = match rest {
        [] => vec![call("POST", VideoCall::Create), call("GET", VideoCall::List)],
        ["edits"] => vec![call("POST", VideoCall::Edit)],
        ["extensions"] => vec![call("POST", VideoCall::Extend)],
        [id] => {
            let id = (*id).to_owned();
            vec![call("GET", VideoCall::Get(id.clone())), call("DELETE", VideoCall::Delete(id))]
        }
        [id, "content"] => vec![call("GET", VideoCall::Content((*id).to_owned()))],
        [id, "remix"] => vec![call("POST", VideoCall::Remix((*id).to_owned()))],
        _ => return None,
    };
    Some(allowed)
}

/// A job is made by a POST to the list; what is below it shows or changes it.
fn jobs(kind: &'static str, rest: &[&str]) -> Allowed {
    let made = rest.is_empty();
    vec![
        ("POST", Operation::Job(kind, made)),
        ("GET", Operation::Job(kind, false)),
        ("DELETE", Operation::Job(kind, false)),
    ]
}

/// `models/{name}` and `models/{name}:{verb}`.
fn gemini(head: &Head, name_and_verb: &str, query: &str) -> Result<Route, Refused> {
    let (name, verb) = name_and_verb.rsplit_once(':').unwrap_or((name_and_verb, ""));
    let (method, operation) = match verb {
        "" if !name_and_verb.contains(':') => ("GET", Operation::Model(name.to_owned())),
        "generateContent" => ("POST", Operation::Generate),
        "streamGenerateContent" => {
            ("POST", Operation::StreamGenerate(query.split('&').any(|pair| pair == "alt=sse")))
        }
        "countTokens" => ("POST", Operation::GeminiCount),
        "embedContent" => ("POST", Operation::EmbedContent),
        "batchEmbedContents" => ("POST", Operation::BatchEmbedContents),
        _ => return Err(Refused::new(Api::Gemini, 404, format!("Unknown method: {name_and_verb}"))),
    };
    if name.is_empty() {
        return Err(Refused::new(Api::Gemini, 404, "The path names no model".to_owned()));
    }
    if method != head.method {
        return Err(wrong_method(Api::Gemini, head));
    }
    let model = matches!(method, "POST").then(|| name.to_owned());
    Ok(Route { api: Api::Gemini, operation, model })
}

fn wrong_method(api: Api, head: &Head) -> Refused {
    Refused::new(api, 405, format!("Method {} is not allowed for {}", head.method, head.target))
}

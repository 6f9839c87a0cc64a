//! A path taken apart: mount, versions, and the words of the operation.
//!
//! Invariant: words are compared as they were sent. What is decoded (a model's name) or kept (the tail of a
//! file's path) holds no dot segment and no control character.

use super::query::decoded;
use super::{Dialect, Operation};
use http::Method;

/// The first segment, where it is one of the words that choose a family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mount {
    Root,
    Api,
    OpenAi,
    Anthropic,
    Gemini,
}

/// A path of which no part is a trick.
#[derive(Debug)]
pub(super) struct Address<'a> {
    mount: Mount,
    versions: Vec<&'static str>,
    rest: Vec<&'a str>,
    extra_slashes: bool,
}

/// What an address asks for, before its method is checked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) dialect: Dialect,
    pub(super) operation: Operation,
    pub(super) model: Option<String>,
    pub(super) version: Option<&'static str>,
    pub(super) tail: String,
    pub(super) fixup: Option<&'static str>,
}

impl Target {
    pub(super) fn new(dialect: Dialect, operation: Operation) -> Self {
        Self { dialect, operation, model: None, version: None, tail: String::new(), fixup: None }
    }
}

impl<'a> Address<'a> {
    /// Takes a path apart; `None` for one that no client of ours has a reason to send.
    pub(super) fn of(path: &'a str) -> Option<Self> {
        let body = path.strip_prefix('/')?;
        let mut segments: Vec<&str> = body.split('/').collect();
        let sent = segments.len();
        segments.retain(|segment| !segment.is_empty());
        let extra_slashes = sent != segments.len() && !body.is_empty();
        if segments.iter().any(|segment| is_dots(segment)) {
            return None;
        }
        let mut rest = segments.as_slice();
        let mount = match rest.first() {
            Some(&"api") => Mount::Api,
            Some(&"openai") => Mount::OpenAi,
            Some(&"anthropic") => Mount::Anthropic,
            Some(&"gemini") => Mount::Gemini,
            _ => Mount::Root,
        };
        if mount != Mount::Root {
            rest = &rest[1..];
        }
        let mut versions = Vec::new();
        while let Some(version) = rest.first().and_then(|segment| version(segment)) {
            versions.push(version);
            rest = &rest[1..];
        }
        let rest = rest.to_vec();
        (versions.len() <= VERSIONS_MAX).then_some(Self { mount, versions, rest, extra_slashes })
    }

    /// Whether this is below the realtime API's address, where sessions are made that go around a gateway.
    pub(super) fn is_below_realtime(&self) -> bool {
        matches!(self.rest.as_slice(), ["realtime", _, ..])
    }

    /// Whether this is something a user may have typed as a base URL.
    pub(super) fn is_base(&self) -> bool {
        self.rest.is_empty()
    }

    /// The family of its answers; `marked`: what the headers say of the client.
    pub(super) fn dialect(&self, marked: Option<Dialect>) -> Dialect {
        let by_mount = match self.mount {
            Mount::OpenAi => Some(Dialect::OpenAi),
            Mount::Anthropic => Some(Dialect::Anthropic),
            Mount::Gemini => Some(Dialect::Gemini),
            Mount::Root | Mount::Api => None,
        };
        let by_version = self.versions.contains(&"v1beta").then_some(Dialect::Gemini);
        let by_words = match self.rest.first() {
            Some(&"messages") => Some(Dialect::Anthropic),
            Some(first) if OPENAI_WORDS.contains(first) => Some(Dialect::OpenAi),
            Some(&"models") if self.looks_like_verb() => Some(Dialect::Gemini),
            _ => None,
        };
        let by_header = marked.filter(|dialect| self.offers(*dialect));
        by_words.or(by_mount).or(by_version).or(by_header).unwrap_or(Dialect::OpenAi)
    }

    /// The operation at this address; `None` where there is none.
    pub(super) fn target(&self, method: &Method, marked: Option<Dialect>) -> Option<Target> {
        let mut target = match self.rest.as_slice() {
            ["models", id @ ..] => self.models(id, method, marked)?,
            ["files", tail @ ..] if marked != Some(Dialect::Anthropic) => {
                self.kept(Operation::Files, tail)?
            }
            ["uploads", tail @ ..] => self.kept(Operation::Uploads, tail)?,
            ["batches", tail @ ..] => self.kept(Operation::Batches, tail)?,
            ["fine_tuning", "jobs", tail @ ..] => self.kept(Operation::FineTuning, tail)?,
            ["responses", id] if !matches!(*id, "input_tokens" | "compact" | "responses") => {
                self.kept(Operation::Response, &[*id])?
            }
            ["responses", tail @ ..] if matches!(tail, [_, "cancel" | "input_items"]) => {
                self.kept(Operation::Response, tail)?
            }
            ["videos", tail @ ..] if !tail.is_empty() => self.video(tail)?,
            ["messages", "batches", tail @ ..] => self.kept(Operation::MessageBatches, tail)?,
            _ => self.plain()?,
        };
        if target.dialect == Dialect::Gemini {
            target.version = Some(self.versions.last().copied().unwrap_or("v1beta"));
        } else if self.versions.last() == Some(&RERANK_V2) {
            target.version = Some(RERANK_V2);
        }
        target.fixup = target.fixup.or_else(|| self.fixup());
        Some(target)
    }

    /// Operations that are words and nothing more, also with the words doubled.
    fn plain(&self) -> Option<Target> {
        let whole = |words: &[&str]| OPERATIONS.iter().find(|(row, ..)| *row == words);
        let (row, fixup) = match whole(&self.rest) {
            Some(row) => (row, None),
            None => (self.doubled()?, Some("double_operation")),
        };
        let (_, operation, dialect) = *row;
        self.offers(dialect).then(|| Target { fixup, ..Target::new(dialect, operation) })
    }

    /// `chat/completions` + `/chat/completions`, or `messages` + `/v1/messages/count_tokens`: an endpoint
    /// was pasted where the base URL belongs and the client added its own path.
    fn doubled(&self) -> Option<&'static Row> {
        OPERATIONS.iter().find_map(|(pasted, ..)| {
            let added = self.rest.strip_prefix(*pasted)?;
            let added = added.strip_prefix(&["v1"]).unwrap_or(added);
            OPERATIONS.iter().find(|(row, ..)| *row == added && row.starts_with(pasted))
        })
    }

    /// What lives in one account.
    fn kept(&self, operation: Operation, tail: &[&str]) -> Option<Target> {
        let messages = operation == Operation::MessageBatches;
        let dialect = if messages { Dialect::Anthropic } else { Dialect::OpenAi };
        if !self.offers(dialect) || !tail.iter().all(|segment| is_plain(segment)) {
            return None;
        }
        let tail = tail.iter().flat_map(|segment| ["/", segment]).collect();
        Some(Target { tail, ..Target::new(dialect, operation) })
    }

    /// A video that was made, and what is made of it.
    fn video(&self, tail: &[&str]) -> Option<Target> {
        let operation = match tail {
            ["edits" | "extensions"] | [_, "remix"] => Operation::VideoRemix,
            ["videos"] => return self.plain(),
            ["characters", ..] => return None,
            [_] => Operation::Video,
            [_, "content"] => Operation::VideoContent,
            _ => return None,
        };
        self.kept(operation, tail)
    }

    /// `models` and below: three dialects share the word.
    fn models(&self, id: &[&str], method: &Method, marked: Option<Dialect>) -> Option<Target> {
        let gemini_only = self.mount == Mount::Gemini || self.versions.last() == Some(&"v1beta");
        let asks_verb = method != Method::GET || gemini_only || self.has_known_verb();
        if asks_verb && self.has_verb() {
            if let Some((model, operation)) = verb_of(id) {
                let model = Some(model_name(&model)?);
                let target = Target { model, ..Target::new(Dialect::Gemini, operation) };
                return self.offers(Dialect::Gemini).then_some(target);
            }
            if method != Method::GET {
                return None;
            }
        }
        let dialect = match self.mount {
            _ if gemini_only => Dialect::Gemini,
            Mount::OpenAi => Dialect::OpenAi,
            Mount::Anthropic => Dialect::Anthropic,
            _ => marked.filter(|dialect| self.offers(*dialect)).unwrap_or(Dialect::OpenAi),
        };
        if !self.offers(dialect) {
            return None;
        }
        if id.is_empty() {
            return Some(Target::new(dialect, Operation::ListModels));
        }
        let model = Some(model_name(&id.join("/"))?);
        Some(Target { model, ..Target::new(dialect, Operation::GetModel) })
    }

    fn has_verb(&self) -> bool {
        self.rest.last().is_some_and(|last| last.contains(':'))
    }

    fn has_known_verb(&self) -> bool {
        verb_of(&self.rest).is_some()
    }

    /// `batchGenerateContent` too, but not the tags and owners OpenAI-side names have after a colon.
    fn looks_like_verb(&self) -> bool {
        let after = self.rest.last().and_then(|last| last.rsplit_once(':')).map_or("", |(_, verb)| verb);
        self.has_known_verb()
            || (after.starts_with(|first: char| first.is_ascii_lowercase())
                && after.bytes().all(|byte| byte.is_ascii_alphabetic())
                && after.bytes().any(|byte| byte.is_ascii_uppercase()))
    }

    /// Whether this mount and these versions lead to the dialect's operations.
    fn offers(&self, dialect: Dialect) -> bool {
        match dialect {
            Dialect::Gemini => matches!(self.mount, Mount::Root | Mount::Gemini),
            Dialect::OpenAi => {
                matches!(self.mount, Mount::Root | Mount::Api | Mount::OpenAi) && self.only_v1()
            }
            Dialect::Anthropic => {
                matches!(self.mount, Mount::Root | Mount::Api | Mount::Anthropic) && self.only_v1()
            }
        }
    }

    fn only_v1(&self) -> bool {
        let is_rerank = self.rest.as_slice() == ["rerank"];
        self.versions.iter().all(|version| *version == "v1" || (is_rerank && *version == RERANK_V2))
    }

    fn fixup(&self) -> Option<&'static str> {
        match self.versions.len() {
            0 => Some("missing_version"),
            1 if self.extra_slashes => Some("double_slash"),
            1 => None,
            _ => Some("double_version"),
        }
    }
}

/// What nearly all requests ask for, by the whole of its path as every SDK writes it.
pub(super) fn usual(path: &str) -> Option<Target> {
    let (dialect, operation) = match path.strip_prefix("/v1/")? {
        "chat/completions" => (Dialect::OpenAi, Operation::ChatCompletions),
        "responses" => (Dialect::OpenAi, Operation::Responses),
        "embeddings" => (Dialect::OpenAi, Operation::Embeddings),
        "messages" => (Dialect::Anthropic, Operation::Messages),
        "messages/count_tokens" => (Dialect::Anthropic, Operation::CountTokens),
        _ => return None,
    };
    Some(Target::new(dialect, operation))
}

/// The dialect of a path, also of one that cannot be taken apart.
pub(super) fn dialect_of(path: &str, marked: Option<Dialect>) -> Dialect {
    match (Address::of(path), marked) {
        (Some(address), _) => address.dialect(marked),
        (None, Some(Dialect::Anthropic)) => Dialect::Anthropic,
        (None, _) if path.contains("/messages") => Dialect::Anthropic,
        (None, _) if path.contains("/v1beta") || path.starts_with("/gemini") => Dialect::Gemini,
        (None, _) => marked.unwrap_or(Dialect::OpenAi),
    }
}

/// The model part and the operation of `{model}:{verb}`, split at the last colon.
fn verb_of(id: &[&str]) -> Option<(String, Operation)> {
    let (last, before) = id.split_last()?;
    let (name, verb) = last.rsplit_once(':')?;
    let operation = match verb {
        "generateContent" => Operation::GenerateContent,
        "streamGenerateContent" => Operation::StreamGenerateContent,
        "countTokens" => Operation::GeminiCountTokens,
        "embedContent" => Operation::EmbedContent,
        "batchEmbedContents" => Operation::BatchEmbedContents,
        _ => return None,
    };
    let mut parts = before.to_vec();
    parts.push(name);
    Some((parts.join("/"), operation))
}

/// A model's name out of a path, or `None` where it would be read as more than a name further on.
fn model_name(raw: &str) -> Option<String> {
    let name = decoded(raw)?;
    let sound = !name.is_empty()
        && !name.chars().any(char::is_control)
        && !name.split(['/', '\\']).any(|part| matches!(part, "" | "." | ".."));
    sound.then_some(name)
}

fn version(segment: &str) -> Option<&'static str> {
    match segment {
        "v1" => Some("v1"),
        "v1beta" => Some("v1beta"),
        "v2" => Some("v2"),
        _ => None,
    }
}

/// `.` and `..`, also escaped: a proxy behind us may resolve them.
fn is_dots(segment: &str) -> bool {
    let mut rest = segment;
    let mut dots = 0;
    while let Some(after) =
        rest.strip_prefix('.').or_else(|| rest.strip_prefix("%2e")).or_else(|| rest.strip_prefix("%2E"))
    {
        (rest, dots) = (after, dots + 1);
    }
    rest.is_empty() && matches!(dots, 1 | 2)
}

fn is_plain(segment: &str) -> bool {
    segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~'))
}

/// Cohere's clients ask for its second version; nothing else has one.
const RERANK_V2: &str = "v2";
/// A version and its double; a third is nobody's slip.
const VERSIONS_MAX: usize = 2;

type Row = (&'static [&'static str], Operation, Dialect);

const OPERATIONS: [Row; 18] = [
    (&["chat", "completions"], Operation::ChatCompletions, Dialect::OpenAi),
    (&["completions"], Operation::Completions, Dialect::OpenAi),
    (&["responses"], Operation::Responses, Dialect::OpenAi),
    (&["responses", "input_tokens"], Operation::CountResponse, Dialect::OpenAi),
    (&["responses", "compact"], Operation::Compact, Dialect::OpenAi),
    (&["embeddings"], Operation::Embeddings, Dialect::OpenAi),
    (&["moderations"], Operation::Moderations, Dialect::OpenAi),
    (&["rerank"], Operation::Rerank, Dialect::OpenAi),
    (&["images", "generations"], Operation::ImageGenerations, Dialect::OpenAi),
    (&["images", "edits"], Operation::ImageEdits, Dialect::OpenAi),
    (&["images", "variations"], Operation::ImageVariations, Dialect::OpenAi),
    (&["audio", "speech"], Operation::Speech, Dialect::OpenAi),
    (&["audio", "transcriptions"], Operation::Transcriptions, Dialect::OpenAi),
    (&["audio", "translations"], Operation::Translations, Dialect::OpenAi),
    (&["videos"], Operation::Videos, Dialect::OpenAi),
    (&["realtime"], Operation::Realtime, Dialect::OpenAi),
    (&["messages"], Operation::Messages, Dialect::Anthropic),
    (&["messages", "count_tokens"], Operation::CountTokens, Dialect::Anthropic),
];

/// First words only OpenAI clients use, whether or not there is an operation behind them.
const OPENAI_WORDS: [&str; 13] = [
    "chat",
    "completions",
    "responses",
    "embeddings",
    "moderations",
    "images",
    "audio",
    "videos",
    "rerank",
    "realtime",
    "batches",
    "fine_tuning",
    "assistants",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_is_what_its_parts_say() {
        let mut found = 0;
        for (words, operation, _) in OPERATIONS {
            let path = format!("/v1/{}", words.join("/"));
            let Some(usual) = usual(&path) else { continue };
            found += 1;
            assert_eq!(usual.operation, operation);
            for method in [Method::GET, Method::HEAD, Method::POST] {
                for marked in [None, Some(Dialect::Anthropic), Some(Dialect::Gemini)] {
                    let parts = Address::of(&path).unwrap();
                    assert_eq!(parts.target(&method, marked).as_ref(), Some(&usual), "{method} {path}");
                    assert!(!parts.is_base());
                }
            }
        }
        assert_eq!(found, 5);
    }
}

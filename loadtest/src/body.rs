//! What a JSON request body must be, and the few facts an answer needs of it.
//!
//! One pass over the bytes, no tree of values: the fake is also what load tests aim at. Invariant: a body that is
//! accepted is one the real provider would not refuse for its outline (duplicate keys, required fields, their types,
//! roles, fields of another provider's API); of the inside of messages, `conversation` judges what belongs to tools.

use crate::api::{Api, Operation};
use crate::conversation::{self, Round};
use crate::errors::Refused;
use crate::route::Route;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// How many top-level keys a body may have.
const KEYS_MAX: usize = 256;

/// What an answer needs to know of a request body.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) model: String,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    pub(crate) made: Made,
    /// How many inputs an embedding request has.
    pub(crate) inputs: usize,
    pub(crate) vectors: Vectors,
    /// The form an answer is wanted in, where there are several.
    pub(crate) format: String,
    /// The digest of a file that was sent.
    pub(crate) digest: Option<String>,
    /// What the conversation orders of the answer.
    pub(crate) round: Round,
}

/// When a response is made.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Made {
    #[default]
    AtOnce,
    /// After its answer, which says so.
    InBackground,
}

/// How an embedding is written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vectors {
    #[default]
    Numbers,
    /// What the official SDKs ask for.
    Base64,
}

/// Judges a body.
pub(crate) fn check(route: &Route, body: &[u8]) -> Result<Facts, Refused> {
    let api = route.api;
    let fields: Fields<'_> = serde_json::from_slice(body).map_err(|error| {
        Refused::bad(api, format!("We could not parse the JSON body of your request: {error}"))
    })?;
    let judge = Judge { api, operation: &route.operation, fields };
    judge.foreign_fields()?;
    let mut facts = Facts { model: judge.model(route.model.as_deref())?, ..Facts::default() };
    match route.operation {
        Operation::Chat => {
            judge.conversation("messages", OPENAI_ROLES)?;
            judge.stream(&mut facts)?;
        }
        Operation::Completions => {
            facts.inputs = judge.text_or_list("prompt")?;
            judge.stream(&mut facts)?;
        }
        Operation::Responses => {
            judge.text_or_list("input")?;
            judge.stream(&mut facts)?;
            if judge.read("background", "a boolean")? == Some(true) && !facts.stream {
                facts.made = Made::InBackground;
            }
        }
        Operation::Embeddings | Operation::Moderations => {
            facts.inputs = judge.text_or_list("input")?;
            if judge.field("encoding_format").is_some_and(|value| value.get() == "\"base64\"") {
                facts.vectors = Vectors::Base64;
            }
        }
        Operation::Rerank(_) => {
            judge.text("query")?;
            facts.inputs = judge.list("documents")?.len();
        }
        Operation::ImageGenerations => {
            judge.text("prompt")?;
            judge.stream(&mut facts)?;
            facts.format = judge.read("response_format", "a string")?.unwrap_or_default();
        }
        Operation::Speech => {
            judge.text("input")?;
            judge.present("voice")?;
            let format: Option<String> = judge.read("stream_format", "a string")?;
            facts.stream = match format.as_deref() {
                Some("sse") => true,
                Some("audio") | None => false,
                Some(_) => return Err(judge.bad("stream_format: sse or audio is needed")),
            };
        }
        Operation::Messages | Operation::CountTokens => {
            judge.conversation("messages", ANTHROPIC_ROLES)?;
            if route.operation == Operation::Messages {
                judge.max_tokens()?;
                judge.stream(&mut facts)?;
            }
        }
        Operation::CountInput | Operation::Compact => {
            judge.text_or_list("input")?;
        }
        Operation::Generate | Operation::StreamGenerate(_) => judge.contents()?,
        Operation::GeminiCount => judge.counted()?,
        Operation::EmbedContent => judge.object("content")?,
        Operation::BatchEmbedContents => facts.inputs = judge.embeddings(route.model.as_deref())?,
        _ => {}
    }
    facts.round = conversation::read(api, &route.operation, body)?;
    Ok(facts)
}

/// One of a batch of embeddings.
#[derive(Deserialize)]
struct Embedded<'a> {
    model: String,
    #[serde(borrow)]
    content: &'a RawValue,
}

const OPENAI_ROLES: &[&str] = &["system", "developer", "user", "assistant", "tool", "function"];
const ANTHROPIC_ROLES: &[&str] = &["user", "assistant", "system"];
const GEMINI_ROLES: &[&str] = &["user", "model", "function"];

/// Top-level fields that belong to another API and that the real one refuses.
fn foreign(operation: &Operation) -> &'static [&'static str] {
    match operation {
        Operation::Chat => {
            &["input", "contents", "system", "generationConfig", "max_output_tokens", "instructions"]
        }
        Operation::Completions => &["messages", "input", "contents", "system"],
        Operation::Responses => &["messages", "contents", "system", "max_tokens", "max_completion_tokens"],
        Operation::CountInput => &["messages", "contents", "system", "stream", "max_output_tokens"],
        Operation::Messages => &[
            "input",
            "contents",
            "stream_options",
            "max_completion_tokens",
            "n",
            "response_format",
            "frequency_penalty",
            "presence_penalty",
            "reasoning_effort",
            "generationConfig",
            "parallel_tool_calls",
        ],
        Operation::CountTokens => &["input", "contents", "stream", "stream_options", "max_tokens"],
        Operation::Generate | Operation::StreamGenerate(_) => {
            &["messages", "input", "stream", "stream_options", "max_tokens", "system"]
        }
        _ => &[],
    }
}

/// A message of any API, as far as it is judged.
#[derive(Deserialize)]
struct Message<'a> {
    role: Option<String>,
    #[serde(borrow)]
    parts: Option<&'a RawValue>,
}

struct Judge<'a> {
    api: Api,
    operation: &'a Operation,
    fields: Fields<'a>,
}

impl<'a> Judge<'a> {
    fn field(&self, name: &str) -> Option<&'a RawValue> {
        self.fields.0.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    fn read<T: Deserialize<'a>>(&self, name: &str, what: &str) -> Result<Option<T>, Refused> {
        let Some(value) = self.field(name) else { return Ok(None) };
        match serde_json::from_str(value.get()) {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(self.bad(format!("{name}: {what} is needed"))),
        }
    }

    fn bad(&self, message: impl Into<String>) -> Refused {
        Refused::bad(self.api, message)
    }

    fn foreign_fields(&self) -> Result<(), Refused> {
        match foreign(self.operation).iter().find(|name| self.field(name).is_some()) {
            None => Ok(()),
            Some(name) => Err(self.bad(match self.api {
                Api::OpenAi => format!("Unrecognized request argument supplied: {name}"),
                Api::Anthropic => format!("{name}: Extra inputs are not permitted"),
                Api::Gemini => {
                    format!("Invalid JSON payload received. Unknown name \"{name}\": Cannot find field.")
                }
            })),
        }
    }

    fn model(&self, in_path: Option<&str>) -> Result<String, Refused> {
        if let Some(model) = in_path {
            return Ok(model.to_owned());
        }
        let model: Option<String> = self.read("model", "a string")?;
        match model {
            Some(model) if !model.is_empty() => Ok(model),
            None if *self.operation == Operation::Moderations => Ok("omni-moderation-latest".to_owned()),
            _ if self.api == Api::OpenAi => Err(self.bad("you must provide a model parameter")),
            _ => Err(self.bad("model: Field required")),
        }
    }

    fn stream(&self, facts: &mut Facts) -> Result<(), Refused> {
        let null_is_fine = self.api == Api::OpenAi;
        facts.stream = match self.field("stream") {
            Some(value) if null_is_fine && value.get() == "null" => false,
            _ => self.read("stream", "a boolean")?.unwrap_or(false),
        };
        let Some(options) = self.field("stream_options").filter(|value| value.get() != "null") else {
            return Ok(());
        };
        let Ok(options) = serde_json::from_str::<StreamOptions>(options.get()) else {
            return Err(self.bad("stream_options: an object is needed"));
        };
        if !facts.stream {
            return Err(self.bad("The 'stream_options' parameter is only allowed when 'stream' is enabled."));
        }
        if *self.operation == Operation::Responses && options.include_usage.is_some() {
            return Err(self.bad("Unknown parameter: 'stream_options.include_usage'."));
        }
        facts.include_usage = options.include_usage.unwrap_or(false);
        Ok(())
    }

    fn text(&self, name: &str) -> Result<(), Refused> {
        match self.read::<String>(name, "a string")? {
            Some(text) if !text.is_empty() => Ok(()),
            _ => Err(self.bad(format!("Missing required parameter: '{name}'."))),
        }
    }

    fn present(&self, name: &str) -> Result<(), Refused> {
        let missing = || self.bad(format!("Missing required parameter: '{name}'."));
        self.field(name).map(|_| ()).ok_or_else(missing)
    }

    fn max_tokens(&self) -> Result<(), Refused> {
        match self.read::<u64>("max_tokens", "a valid integer")? {
            None => Err(self.bad("max_tokens: Field required")),
            Some(0) => Err(self.bad("max_tokens: must be greater than or equal to 1")),
            Some(_) => Ok(()),
        }
    }

    fn list(&self, name: &str) -> Result<Vec<&'a RawValue>, Refused> {
        match self.read::<Vec<&RawValue>>(name, "an array")? {
            Some(list) if !list.is_empty() => Ok(list),
            Some(_) => Err(self.bad(format!("{name}: at least one item is required"))),
            None => Err(self.bad(format!("Missing required parameter: '{name}'."))),
        }
    }

    /// Each of a batch names the model of the path once more.
    fn embeddings(&self, in_path: Option<&str>) -> Result<usize, Refused> {
        let requests: Vec<Embedded<'_>> = self.read("requests", "an array of requests")?.unwrap_or_default();
        let expected = format!("models/{}", in_path.unwrap_or_default());
        for (at, request) in requests.iter().enumerate() {
            if request.model != expected {
                return Err(self.bad(format!("requests[{at}].model: {expected} is needed")));
            }
            if !request.content.get().starts_with('{') {
                return Err(self.bad(format!("requests[{at}].content: an object is required")));
            }
        }
        Ok(self.list("requests")?.len())
    }

    fn object(&self, name: &str) -> Result<(), Refused> {
        match self.field(name) {
            Some(value) if value.get().starts_with('{') => Ok(()),
            _ => Err(self.bad(format!("{name}: an object is required"))),
        }
    }

    /// How many inputs: one for a text or an array of token numbers, else one per item.
    fn text_or_list(&self, name: &str) -> Result<usize, Refused> {
        if self.field(name).is_some_and(|value| value.get().starts_with('"') && value.get().len() > 2) {
            return Ok(1);
        }
        let list = self.list(name)?;
        let numbers = list.iter().all(|item| item.get().starts_with(|c: char| c.is_ascii_digit()));
        Ok(if numbers { 1 } else { list.len() })
    }

    fn conversation(&self, name: &str, roles: &[&str]) -> Result<(), Refused> {
        for (at, item) in self.list(name)?.into_iter().enumerate() {
            let message = self.message(name, at, item)?;
            // Anthropic takes system messages in the course of a conversation; what comes before it is a field.
            let leading_system =
                self.api == Api::Anthropic && at == 0 && message.role.as_deref() == Some("system");
            match message.role.as_deref() {
                Some(role) if roles.contains(&role) && !leading_system => {}
                Some(role) => return Err(self.bad(format!("{name}.{at}: Unexpected role \"{role}\""))),
                None => return Err(self.bad(format!("{name}.{at}.role: Field required"))),
            }
        }
        Ok(())
    }

    /// `countTokens` takes contents, or a whole request that names its model.
    fn counted(&self) -> Result<(), Refused> {
        let Some(fields) = self.read::<Fields<'_>>("generateContentRequest", "an object")? else {
            return self.contents();
        };
        if self.field("contents").is_some() {
            return Err(self.bad("contents and generateContentRequest are mutually exclusive"));
        }
        let inner = Judge { api: self.api, operation: &Operation::Generate, fields };
        inner.text("model")?;
        inner.foreign_fields()?;
        inner.contents()
    }

    fn contents(&self) -> Result<(), Refused> {
        for (at, item) in self.list("contents")?.into_iter().enumerate() {
            let message = self.message("contents", at, item)?;
            if message.role.is_some_and(|role| !role.is_empty() && !GEMINI_ROLES.contains(&role.as_str())) {
                return Err(self.bad("Please use a valid role: user, model."));
            }
            if !message.parts.is_some_and(|parts| parts.get().starts_with('[') && parts.get().len() > 2) {
                return Err(self.bad(format!("contents[{at}].parts: must not be empty")));
            }
        }
        Ok(())
    }

    fn message(&self, name: &str, at: usize, item: &'a RawValue) -> Result<Message<'a>, Refused> {
        serde_json::from_str(item.get())
            .map_err(|_| self.bad(format!("{name}.{at}: a message object with a string role is needed")))
    }
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

/// The top level of a JSON object: every key once, values unread.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor).map(Fields)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields: Self::Value = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
            if fields.iter().any(|(known, _)| *known == key) {
                return Err(A::Error::custom(format!("duplicate key {key:?}")));
            }
            if fields.len() >= KEYS_MAX {
                return Err(A::Error::custom("more than 256 keys"));
            }
            fields.push((key, value));
        }
        Ok(fields)
    }
}

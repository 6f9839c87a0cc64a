//! The normal answer to every operation, prepared once per model and kept.
//!
//! Invariant: at most [`PREPARED_MAX`] answers are kept; past that they are made anew, with the same bytes.

use crate::api::{Api, Operation};
use crate::body::{Facts, Vectors};
use crate::errors::Refused;
use crate::faults::Fault;
use crate::files::Files;
use crate::openai::media;
use crate::reply::Reply;
use crate::route::Route;
use crate::story::Story;
use crate::{anthropic, gemini, openai};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// How many prepared answers are kept.
const PREPARED_MAX: usize = 256;
/// The most pieces of text in one answer.
const CHUNKS_MAX: usize = 100_000;
/// The longest text of a big event.
const BIG_EVENT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A model that never exists.
const MISSING_MODEL: &str = "missing-model";
/// What is listed where any model exists.
const EXAMPLE_MODELS: &[&str] = &["fake-large", "fake-small", "fake-embedding"];

/// Everything a fake provider has to say.
#[derive(Debug)]
pub(crate) struct Answers {
    models: Vec<String>,
    chunks: usize,
    files: Files,
    prepared: Mutex<HashMap<Key, Reply>>,
}

/// What a prepared answer depends on.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    operation: Operation,
    model: String,
    stream: bool,
    include_usage: bool,
}

impl Answers {
    pub(crate) fn new(models: Vec<String>, chunks: usize) -> Self {
        let (files, prepared) = (Files::default(), Mutex::default());
        Self { models, chunks: chunks.min(CHUNKS_MAX), files, prepared }
    }

    /// The answer to an operation that is not about files.
    pub(crate) fn find(&self, route: &Route, facts: &Facts, fault: &Fault) -> Result<Reply, Refused> {
        if let Some(listing) = self.listing(route)? {
            return Ok(listing);
        }
        self.check_model(route.api, &facts.model)?;
        // The number of inputs, and a fault that changes the text, make an answer unlike the others of its model.
        let unusual = facts.inputs > 1 || facts.vectors == Vectors::Base64;
        let unusual =
            unusual || facts.digest.is_some() || !facts.format.is_empty() || !facts.round.is_usual();
        let unique = unusual || matches!(fault, Fault::BigEvent { .. } | Fault::Usage(_));
        if unique {
            return Ok(answer(&route.operation, facts, &self.story(facts, fault)));
        }
        let operation = route.operation.clone();
        let (stream, include_usage) = (facts.stream, facts.include_usage);
        let key = Key { operation, model: facts.model.clone(), stream, include_usage };
        if let Some(reply) = self.prepared.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(reply.clone());
        }
        let reply = answer(&route.operation, facts, &self.story(facts, fault));
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if prepared.len() < PREPARED_MAX {
            prepared.insert(key, reply.clone());
        }
        Ok(reply)
    }

    /// Refuses a model that does not exist; no name is none.
    pub(crate) fn check_model(&self, api: Api, model: &str) -> Result<(), Refused> {
        if model.is_empty() || self.exists(model) { Ok(()) } else { Err(Refused::no_such_model(api, model)) }
    }

    /// The answer to an operation on files.
    pub(crate) fn files(
        &self,
        operation: &Operation,
        content_type: &str,
        body: &Bytes,
    ) -> Result<Reply, Refused> {
        self.files.answer(operation, content_type, body)
    }

    fn listing(&self, route: &Route) -> Result<Option<Reply>, Refused> {
        match (&route.operation, route.api) {
            (Operation::Models, Api::OpenAi) => Ok(Some(openai::models(&self.listed()))),
            (Operation::Models, Api::Anthropic) => Ok(Some(anthropic::models(&self.listed()))),
            (Operation::Models, Api::Gemini) => Ok(Some(gemini::models(&self.listed()))),
            (Operation::Model(model), api) if !self.exists(model) => Err(Refused::no_such_model(api, model)),
            (Operation::Model(model), Api::OpenAi) => Ok(Some(openai::model(model))),
            (Operation::Model(model), Api::Anthropic) => Ok(Some(anthropic::model(model))),
            (Operation::Model(model), Api::Gemini) => Ok(Some(gemini::model(model))),
            _ => Ok(None),
        }
    }

    fn listed(&self) -> Vec<String> {
        if self.models.is_empty() {
            return EXAMPLE_MODELS.iter().map(|model| (*model).to_owned()).collect();
        }
        self.models.clone()
    }

    fn exists(&self, model: &str) -> bool {
        model != MISSING_MODEL && (self.models.is_empty() || self.models.iter().any(|known| known == model))
    }

    fn story(&self, facts: &Facts, fault: &Fault) -> Story {
        let mut story = Story::new(&facts.model, self.chunks).with_round(&facts.round);
        story.include_usage = facts.include_usage;
        match fault {
            Fault::BigEvent { bytes } => story = story.with_big_event((*bytes).min(BIG_EVENT_BYTES_MAX)),
            Fault::Usage(numbers) => story.usage = *numbers,
            _ => {}
        }
        story
    }
}

fn answer(operation: &Operation, facts: &Facts, story: &Story) -> Reply {
    match operation {
        Operation::Chat if facts.stream => openai::chat_stream(story),
        Operation::Chat => openai::chat(story),
        Operation::Completions if facts.stream => openai::completion_stream(story),
        Operation::Completions => openai::completion(story),
        Operation::Responses if facts.stream => openai::responses::stream(story),
        Operation::Responses => openai::responses::whole(story),
        Operation::Compact => openai::responses::compacted(story),
        Operation::CountInput => openai::responses::count(story),
        Operation::Embeddings => openai::embeddings(story, facts),
        Operation::Moderations => openai::moderations(story, facts),
        Operation::Rerank(v2) => media::rerank(story, facts, *v2),
        Operation::ImageGenerations if facts.stream => media::image_stream(story, "image_generation"),
        Operation::ImageEdits if facts.stream => media::image_stream(story, "image_edit"),
        Operation::ImageGenerations | Operation::ImageEdits | Operation::ImageVariations => {
            media::images(story, facts)
        }
        Operation::Speech if facts.stream => media::speech_stream(story),
        Operation::Speech => media::speech(story),
        Operation::Transcriptions if facts.stream => media::transcript_stream(story),
        Operation::Transcriptions | Operation::Translations => media::transcript(story, facts),
        Operation::Messages if facts.stream => anthropic::stream(story),
        Operation::Messages => anthropic::message(story),
        Operation::CountTokens => anthropic::count_tokens(story),
        Operation::Generate => gemini::content(story),
        Operation::StreamGenerate(sse) => gemini::stream(story, *sse),
        Operation::GeminiCount => gemini::count(story),
        Operation::EmbedContent => gemini::embedding(),
        Operation::BatchEmbedContents => gemini::embeddings(facts),
        // Listings and files were answered before.
        _ => Reply::json(200, "{}"),
    }
}

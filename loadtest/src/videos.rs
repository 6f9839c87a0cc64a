//! `OpenAI`'s videos: tasks that are made now and done later, kept per account, their states told by how often they were asked.
//!
//! Invariants: a video is queued when it is made, in progress when it is asked for the first time and done at the second (one
//! whose prompt begins with `fail` has failed then), so that no test waits for time to pass; what one credential made
//! no other finds; at most [`VIDEOS_MAX`] are kept, and a film has at most [`FILM_BYTES_MAX`] bytes. A video object
//! carries `input_reference_sha256` besides the published fields, so a test compares uploads without a download.

use crate::api::{Api, VideoCall};
use crate::body::Facts;
use crate::errors::Refused;
use crate::form::Form;
use crate::http::Head;
use crate::reply::{Reply, hex};
use crate::route::split_target;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use std::sync::{Mutex, PoisonError};

/// How many videos are kept.
const VIDEOS_MAX: usize = 1_024;
/// How long a film may be; without `bytes=` in its prompt it has [`FILM_BYTES`].
const FILM_BYTES_MAX: usize = 64 * 1024 * 1024;
const FILM_BYTES: usize = 64 * 1024;
const CREATED: u64 = 1_760_000_000;

const SECONDS: &[&str] = &["4", "8", "12"];
const MORE_SECONDS: &[&str] = &["4", "8", "12", "16", "20"];
const SIZES: &[&str] = &["720x1280", "1280x720", "1024x1792", "1792x1024"];

/// The videos of one fake provider.
#[derive(Debug, Default)]
pub(crate) struct Videos {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    list: Vec<Video>,
    made: u64,
}

#[derive(Debug, Clone)]
struct Video {
    id: String,
    account: String,
    model: String,
    prompt: String,
    seconds: String,
    size: String,
    from: Option<String>,
    reference: Option<String>,
    asked: u32,
}

/// A request about videos, read.
#[derive(Debug, Default)]
struct Asked {
    fields: Map<String, Value>,
    reference: Option<Bytes>,
    video: Option<String>,
}

/// Judges the body of a request about videos, as far as that needs no video.
pub(crate) fn check(call: &VideoCall, content_type: &str, body: &Bytes) -> Result<Facts, Refused> {
    let asked = Asked::read(call, content_type, body)?;
    Ok(Facts { model: asked.model(call), ..Facts::default() })
}

impl Videos {
    /// Answers any of the calls.
    pub(crate) fn answer(
        &self,
        call: &VideoCall,
        (head, credential): (&Head, &str),
        body: &Bytes,
    ) -> Result<Reply, Refused> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let content_type = head.first("content-type").unwrap_or_default();
        match call {
            VideoCall::Create | VideoCall::Edit | VideoCall::Extend | VideoCall::Remix(_) => {
                let asked = Asked::read(call, content_type, body)?;
                kept.make(call, &asked, credential)
            }
            VideoCall::List => Ok(kept.list_all(credential)),
            VideoCall::Get(id) => {
                let video = kept.find(id, credential)?;
                video.asked += 1;
                Ok(Reply::json(200, video.describe()))
            }
            VideoCall::Content(id) => kept.find(id, credential)?.film(head),
            VideoCall::Delete(id) => {
                if !kept.find(id, credential)?.is_over() {
                    return Err(bad("Only a completed or failed video can be deleted."));
                }
                kept.list.retain(|video| video.id != *id);
                let gone = json!({ "id": id, "object": "video.deleted", "deleted": true });
                Ok(Reply::json(200, gone.to_string()))
            }
        }
    }
}

impl Kept {
    fn find(&mut self, id: &str, credential: &str) -> Result<&mut Video, Refused> {
        let missing = || Refused::new(Api::OpenAi, 404, format!("Video with id '{id}' not found."));
        let account = account(credential);
        self.list.iter_mut().find(|video| video.id == id && video.account == account).ok_or_else(missing)
    }

    fn make(&mut self, call: &VideoCall, asked: &Asked, credential: &str) -> Result<Reply, Refused> {
        if self.list.len() >= VIDEOS_MAX {
            return Err(bad("You have too many videos."));
        }
        let source = match call {
            VideoCall::Create => None,
            VideoCall::Remix(id) => Some(id.clone()),
            _ => asked.video.clone(),
        };
        let text = |name: &str| asked.fields.get(name).and_then(Value::as_str).map(str::to_owned);
        let mut video = Video {
            id: String::new(),
            account: account(credential),
            model: asked.model(call),
            prompt: text("prompt").unwrap_or_default(),
            seconds: text("seconds").unwrap_or_else(|| "4".to_owned()),
            size: text("size").unwrap_or_else(|| "720x1280".to_owned()),
            from: None,
            reference: asked.reference.as_ref().map(|bytes| hex(&Sha256::digest(bytes))),
            asked: 0,
        };
        if let Some(source) = source {
            let former = self.find(&source, credential)?;
            if former.status() != "completed" {
                return Err(bad(&format!("Video '{source}' is not completed yet.")));
            }
            video =
                Video { model: former.model.clone(), size: former.size.clone(), from: Some(source), ..video };
        }
        self.made += 1;
        let number = self.made;
        video.id = format!("video_{}{number:08x}", &video.account);
        self.list.push(video.clone());
        Ok(Reply::json(200, video.describe()))
    }

    fn list_all(&self, credential: &str) -> Reply {
        let account = account(credential);
        let own = self.list.iter().filter(|video| video.account == account);
        let own: Vec<Value> = own.filter_map(|video| serde_json::from_str(&video.describe()).ok()).collect();
        Reply::json(200, json!({ "object": "list", "data": own, "has_more": false }).to_string())
    }
}

impl Video {
    fn status(&self) -> &'static str {
        match self.asked {
            0 => "queued",
            1 => "in_progress",
            _ if self.prompt.starts_with("fail") => "failed",
            _ => "completed",
        }
    }

    fn is_over(&self) -> bool {
        self.asked > 1
    }

    fn describe(&self) -> String {
        let done = self.is_over().then_some(CREATED + 60);
        let error = (self.status() == "failed")
            .then(|| json!({ "code": "moderation_blocked", "message": "Your request was blocked." }));
        let mut object = json!({
            "id": self.id, "object": "video", "created_at": CREATED, "status": self.status(),
            "completed_at": done, "error": error, "expires_at": done.map(|done| done + 3_600),
            "model": self.model, "progress": self.asked.min(2) * 50,
            "prompt": self.prompt, "remixed_from_video_id": self.from, "seconds": self.seconds,
            "size": self.size,
        });
        if let Some(digest) = &self.reference {
            object["input_reference_sha256"] = json!(digest);
        }
        object.to_string()
    }

    /// What was made, or the part of it that is asked for.
    fn film(&self, head: &Head) -> Result<Reply, Refused> {
        if self.status() != "completed" {
            let message = "Video is not ready yet, use GET /v1/videos/{video_id} to check status.";
            return Err(Refused::new(Api::OpenAi, 404, message.to_owned()));
        }
        let (_, query) = split_target(&head.target);
        let variant = query.split('&').find_map(|pair| pair.strip_prefix("variant=")).unwrap_or("video");
        let content_type = match variant {
            "video" => "video/mp4",
            "thumbnail" => "image/webp",
            "spritesheet" => "image/jpeg",
            _ => return Err(bad(&format!("Invalid value: '{variant}'."))),
        };
        let film = self.bytes(variant);
        let Some(range) = head.first("range") else {
            let mut reply = Reply::whole(200, content_type, film);
            reply.headers.push(("accept-ranges".to_owned(), "bytes".to_owned()));
            return Ok(reply);
        };
        let total = film.len();
        let (from, to) = part(range, total).ok_or_else(|| {
            Refused::new(Api::OpenAi, 416, "The requested range cannot be satisfied.".to_owned())
        })?;
        let mut reply = Reply::whole(206, content_type, film.slice(from..=to));
        reply.headers.push(("content-range".to_owned(), format!("bytes {from}-{to}/{total}")));
        Ok(reply)
    }

    /// As many bytes as its prompt says, of every value, and never those of another film.
    fn bytes(&self, variant: &str) -> Bytes {
        let wanted = self.prompt.split_whitespace().find_map(|word| word.strip_prefix("bytes="));
        let length = wanted.and_then(|length| length.parse().ok()).unwrap_or(FILM_BYTES);
        let seed = Sha256::digest(format!("{} {variant}", self.id));
        let mut state = seed.iter().take(8).fold(1u64, |state, byte| (state << 8) | u64::from(*byte)) | 1;
        let mut film = Vec::with_capacity(length.min(FILM_BYTES_MAX) + 8);
        while film.len() < length.min(FILM_BYTES_MAX) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            film.extend(state.to_le_bytes());
        }
        film.truncate(length);
        film.into()
    }
}

impl Asked {
    fn read(call: &VideoCall, content_type: &str, body: &Bytes) -> Result<Self, Refused> {
        let asked = if content_type.starts_with("multipart/form-data") {
            Self::of_form(&Form::read(content_type, body)?)?
        } else {
            Self::of_json(body)?
        };
        let allowed: &[&str] = match call {
            VideoCall::Create => &["model", "prompt", "input_reference", "seconds", "size"],
            VideoCall::Extend => &["prompt", "seconds", "video"],
            VideoCall::Edit => &["prompt", "video"],
            _ => &["prompt"],
        };
        if let Some(other) = asked.fields.keys().find(|name| !allowed.contains(&name.as_str())) {
            return Err(bad(&format!("Unknown parameter: '{other}'.")));
        }
        asked.one_of("seconds", if *call == VideoCall::Extend { MORE_SECONDS } else { SECONDS })?;
        asked.one_of("size", SIZES)?;
        let missing = |name: &str| Err(bad(&format!("Missing required parameter: '{name}'.")));
        match asked.fields.get("prompt") {
            Some(Value::String(prompt)) if !prompt.is_empty() => {}
            _ => return missing("prompt"),
        }
        match call {
            VideoCall::Extend if !asked.fields.contains_key("seconds") => missing("seconds"),
            VideoCall::Extend | VideoCall::Edit if asked.video.is_none() => missing("video"),
            _ => Ok(asked),
        }
    }

    fn of_json(body: &Bytes) -> Result<Self, Refused> {
        let fields: Map<String, Value> = serde_json::from_slice(body)
            .map_err(|error| bad(&format!("We could not parse the JSON body: {error}")))?;
        let video = fields.get("video").map(|video| match video["id"].as_str() {
            Some(id) => Ok(id.to_owned()),
            None => Err(bad("video: an object with an id is needed")),
        });
        Ok(Self { video: video.transpose()?, fields, reference: None })
    }

    fn of_form(form: &Form) -> Result<Self, Refused> {
        let mut asked = Self::default();
        for name in form.names() {
            match name {
                "input_reference" => {
                    let (_, file) =
                        form.file(name).ok_or_else(|| bad("input_reference: a file is needed"))?;
                    asked.fields.insert(name.to_owned(), json!({}));
                    asked.reference = Some(file);
                }
                "video[id]" => {
                    asked.video = form.text(name)?.map(str::to_owned);
                    asked.fields.insert("video".to_owned(), json!({}));
                }
                name => {
                    asked.fields.insert(name.to_owned(), json!(form.text(name)?));
                }
            }
        }
        Ok(asked)
    }

    fn one_of(&self, name: &str, allowed: &[&str]) -> Result<(), Refused> {
        match self.fields.get(name) {
            None => Ok(()),
            Some(Value::String(text)) if allowed.contains(&text.as_str()) => Ok(()),
            Some(other) => {
                Err(bad(&format!("Invalid value: {other}. Supported values of {name}: {allowed:?}.")))
            }
        }
    }

    /// Only a new one names its model, and need not.
    fn model(&self, call: &VideoCall) -> String {
        if *call != VideoCall::Create {
            return String::new();
        }
        self.fields.get("model").and_then(Value::as_str).unwrap_or("sora-2").to_owned()
    }
}

/// One range of bytes, first and last.
fn part(range: &str, total: usize) -> Option<(usize, usize)> {
    let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
    let last = total.checked_sub(1)?;
    let (from, to) = match (from, to) {
        ("", tail) => (total.saturating_sub(tail.parse().ok()?), last),
        (from, "") => (from.parse().ok()?, last),
        (from, to) => (from.parse().ok()?, to.parse::<usize>().ok()?.min(last)),
    };
    (from <= to).then_some((from, to))
}

/// Whose a video is: not the credential itself, which ids would show.
fn account(credential: &str) -> String {
    hex(&Sha256::digest(credential)[..8])
}

fn bad(message: &str) -> Refused {
    Refused::bad(Api::OpenAi, message)
}

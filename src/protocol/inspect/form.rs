//! What a form asks for: the model and the wish for a stream are parts of it, before or after its files.
//!
//! Invariant: as for JSON, a field that is read and that stands twice is refused, because we would believe one and the
//! provider the other.

use super::multipart::{Dashes, Part, Parts};
use super::{Inspection, ModelField, Notation, Operation, invalid};
use crate::refusal::Refusal;

/// Reads a form by its `content-type`; `None`: it is none.
pub(super) fn inspect(
    operation: Operation,
    content_type: &str,
    body: &[u8],
) -> Option<Result<Inspection, Refusal>> {
    let dashes = Dashes::of(content_type)?;
    Some(dashes.map_err(broken).and_then(|dashes| read(operation, &dashes, body)))
}

fn read(operation: Operation, dashes: &Dashes, body: &[u8]) -> Result<Inspection, Refusal> {
    let remixes = operation == Operation::VideoRemix;
    let (mut model, mut source, mut stream, mut text_bytes) = (None, None, None, 0usize);
    for part in Parts::new(body, dashes).map_err(broken)? {
        let part = part.map_err(broken)?;
        text_bytes = text_bytes.saturating_add(weight(&part));
        match part.name {
            "video[id]" if remixes => once(&mut source, model_field(&part, body)?, "video")?,
            "model" if !remixes => once(&mut model, model_field(&part, body)?, "model")?,
            "stream" if streams(operation) => once(&mut stream, flag(&part, body)?, "stream")?,
            _ => {}
        }
    }
    if model.is_none() && !remixes {
        return Err(invalid("`model` is missing. Add a part of that name to the form.").param("model"));
    }
    let stream = stream.unwrap_or(false);
    Ok(Inspection { model, source, stream, text_bytes: Some(text_bytes), ..Inspection::default() })
}

/// What a part counts where tokens are estimated: a text by its length, a file like a picture, whatever its bytes.
fn weight(part: &Part<'_>) -> usize {
    if part.is_file { FILE_WEIGHT } else { part.at.len() }
}

fn streams(operation: Operation) -> bool {
    matches!(operation, Operation::ImageEdits | Operation::Transcriptions)
}

fn once<T>(place: &mut Option<T>, value: T, field: &'static str) -> Result<(), Refusal> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(invalid(format!("The form has two `{field}` parts. Send it once.")).param(field)),
    }
}

fn model_field(part: &Part<'_>, body: &[u8]) -> Result<ModelField, Refusal> {
    let name = text(part, body, "model")?;
    if name.is_empty() {
        return Err(invalid("`model` is empty. Name the model to use.").param("model"));
    }
    Ok(ModelField { name: name.into(), at: part.at.clone(), notation: Notation::Plain })
}

fn flag(part: &Part<'_>, body: &[u8]) -> Result<bool, Refusal> {
    let text = text(part, body, "stream")?;
    // `True` is what Python writes.
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(invalid("`stream` must be true or false.").param("stream")),
    }
}

/// A short text, as it stands.
fn text<'a>(part: &Part<'_>, body: &'a [u8], field: &'static str) -> Result<&'a str, Refusal> {
    let text = body.get(part.at.clone()).and_then(|bytes| std::str::from_utf8(bytes).ok());
    text.filter(|text| text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control))
        .filter(|_| part.is_plain && !part.is_file)
        .ok_or_else(|| {
            let message = format!("`{field}` must be a plain text of the form, in UTF-8 and on one line.");
            invalid(message).param(field)
        })
}

fn broken(what: &str) -> Refusal {
    invalid(format!("The body is not a valid form (multipart/form-data): {what}."))
}

/// No model's name is that long.
const TEXT_BYTES_MAX: usize = 1024;
/// As many bytes of text as make the tokens of a usual picture.
const FILE_WEIGHT: usize = 4 * 1024;

#[cfg(test)]
mod tests;

//! What the operations on pictures and sound must be asked with: the fields of their forms.
//!
//! Invariant: a form that is accepted is one the real provider would not refuse for what is missing in it.

use crate::api::{Api, Operation};
use crate::body::Facts;
use crate::errors::Refused;
use crate::form::Form;
use crate::reply::hex;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

/// Judges a form.
pub(crate) fn check_form(operation: &Operation, content_type: &str, body: &Bytes) -> Result<Facts, Refused> {
    let bad = |message: String| Refused::bad(Api::OpenAi, message);
    let form = Form::read(content_type, body)?;
    let model = form.text("model")?.filter(|model| !model.is_empty());
    let model = model.ok_or_else(|| bad("you must provide a model parameter".to_owned()))?.to_owned();
    let field = match operation {
        Operation::ImageEdits | Operation::ImageVariations => "image",
        _ => "file",
    };
    let (_, file) = form.file(field).ok_or_else(|| bad(format!("Missing required parameter: '{field}'.")))?;
    if file.is_empty() {
        return Err(bad(format!("{field}: the file is empty")));
    }
    if *operation == Operation::ImageEdits && form.text("prompt")?.is_none_or(str::is_empty) {
        return Err(bad("Missing required parameter: 'prompt'.".to_owned()));
    }
    let streams = matches!(operation, Operation::ImageEdits | Operation::Transcriptions);
    let stream = match form.text("stream")? {
        None | Some("false" | "False") => false,
        Some("true" | "True") => streams,
        Some(_) => return Err(bad("stream: a boolean is needed".to_owned())),
    };
    let format = form.text("response_format")?.unwrap_or_default().to_owned();
    let digest = Some(hex(&Sha256::digest(&file)));
    Ok(Facts { model, stream, format, digest, inputs: 1, ..Facts::default() })
}

//! Pictures, sound and files: the forms their bytes come in, and which a protocol takes.
//!
//! Invariant: base64 is never decoded, and never copied where the body's own bytes will do.

use super::json::{Object, Text};
use super::unified::{Content, Media, Source};
use std::borrow::Cow;

impl<'a> Media<'a> {
    /// What is at an address, which may hold the bytes itself (`data:image/png;base64,…`).
    pub(super) fn at(url: Text<'a>) -> Self {
        let Some((mime, start)) = in_data_url(&url) else {
            return Self { source: Source::Url(url), mime: None, name: None, detail: None };
        };
        let mime = (!mime.is_empty()).then(|| Text::from(mime.to_owned()));
        Self { source: Source::Base64(url.after(start)), mime, name: None, detail: None }
    }

    /// Bytes of a type.
    pub(super) fn bytes(mime: Option<Text<'a>>, base64: Text<'a>) -> Self {
        Self { source: Source::Base64(base64), mime, name: None, detail: None }
    }

    /// Something else that is somewhere.
    pub(super) fn of(source: Source<'a>) -> Self {
        Self { source, mime: None, name: None, detail: None }
    }

    /// A name with an ending, which tells OpenAI the type.
    pub(super) fn file_name(&self) -> Cow<'_, str> {
        match self.name.as_deref() {
            Some(name) if name.contains('.') => Cow::Borrowed(name),
            name => {
                let mime = self.mime_or("application/pdf");
                let known = ENDINGS.iter().find(|(_, of)| *of == mime);
                Cow::Owned(format!(
                    "{}.{}",
                    name.unwrap_or("document"),
                    known.map_or("txt", |(ending, _)| ending)
                ))
            }
        }
    }

    /// Its type, or the usual one of its kind.
    pub(super) fn mime_or<'m>(&'m self, usual: &'m str) -> &'m str {
        self.mime.as_deref().unwrap_or(usual)
    }

    /// The type its address's ending stands for.
    pub(super) fn guessed_mime(&self) -> Option<&'static str> {
        let (Source::Url(name) | Source::File(name)) = &self.source else { return None };
        if ["youtube.com/", "youtu.be/"].iter().any(|host| name.contains(host)) {
            return Some("video/mp4");
        }
        let path = name.split(['?', '#']).next().unwrap_or_default();
        let (_, ending) = path.rsplit_once('.')?;
        ENDINGS.iter().find(|(known, _)| ending.eq_ignore_ascii_case(known)).map(|(_, mime)| *mime)
    }

    /// Writes it as an address, the bytes within it; `false` where it has none.
    pub(super) fn write_url(&self, key: &str, usual: &str, object: &mut Object<'_>) -> bool {
        match &self.source {
            Source::Base64(data) => object.pieces(key, &["data:", self.mime_or(usual), ";base64,", data]),
            Source::Url(url) => object.text(key, url),
            Source::Plain(_) | Source::File(_) => return false,
        };
        true
    }
}

/// Type and beginning of the bytes.
fn in_data_url(url: &str) -> Option<(&str, usize)> {
    let rest = url.strip_prefix("data:")?;
    let comma = rest.get(..rest.len().min(HEAD_BYTES_MAX)).unwrap_or(rest).find(',')?;
    let mime = rest[..comma].strip_suffix(";base64")?;
    let mime = mime.split(';').next().unwrap_or_default();
    Some((mime, "data:".len() + comma + 1))
}

/// A type and its parameters are shorter.
const HEAD_BYTES_MAX: usize = 256;

const ENDINGS: [(&str, &str); 14] = [
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("heic", "image/heic"),
    ("pdf", "application/pdf"),
    ("txt", "text/plain"),
    ("mp3", "audio/mp3"),
    ("wav", "audio/wav"),
    ("ogg", "audio/ogg"),
    ("mp4", "video/mp4"),
    ("mov", "video/quicktime"),
    ("webm", "video/webm"),
];

/// What a type is a type of.
pub(super) fn kind(mime: &str) -> Kind {
    match mime.split('/').next() {
        Some("image") => Kind::Image,
        Some("audio") => Kind::Audio,
        Some("video") => Kind::Video,
        _ => Kind::Document,
    }
}

/// The kinds of media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Image,
    Audio,
    Video,
    Document,
}

/// What a file is by its type.
pub(super) fn by_kind(media: Media<'_>) -> Content<'_> {
    match media.mime.as_deref().or(media.guessed_mime()).map(kind) {
        Some(Kind::Image) => Content::Image(media),
        Some(Kind::Audio) => Content::Audio(media),
        Some(Kind::Video) => Content::Video(media),
        _ => Content::Document { media, context: None, cited: false },
    }
}

//! Multipart forms, read strictly: CRLF line ends, a closing boundary, nothing unnamed.
//!
//! Invariant: a form that is accepted has every byte of its parts where the client put it.

use crate::api::Api;
use crate::errors::Refused;
use bytes::Bytes;
use memchr::memmem;

/// How many parts a form may have.
const PARTS_MAX: usize = 128;

/// The parts of one form.
#[derive(Debug, Default)]
pub(crate) struct Form {
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    name: String,
    file_name: Option<String>,
    value: Bytes,
}

impl Form {
    /// Reads a form by its content type.
    pub(crate) fn read(content_type: &str, body: &Bytes) -> Result<Self, Refused> {
        let bad = || Refused::bad(Api::OpenAi, "The multipart form could not be read.");
        Self::parse(content_type, body).ok_or_else(bad)
    }

    /// The names of its parts, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|part| part.name.as_str())
    }

    /// The text of a field; `None` where it is not there.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, Refused> {
        let mut found = self.parts.iter().filter(|part| part.name == name);
        let Some(part) = found.next() else { return Ok(None) };
        let text = std::str::from_utf8(&part.value).ok().filter(|_| part.file_name.is_none());
        let bad = || Refused::bad(Api::OpenAi, format!("{name}: one plain text is needed"));
        text.filter(|_| found.next().is_none()).map(Some).ok_or_else(bad)
    }

    /// The first file under this name, or under it as a list.
    pub(crate) fn file(&self, name: &str) -> Option<(String, Bytes)> {
        let of = |part: &&Part| part.name.strip_suffix("[]").unwrap_or(&part.name) == name;
        let part = self.parts.iter().filter(|part| part.file_name.is_some()).find(of)?;
        Some((part.file_name.clone().unwrap_or_default(), part.value.clone()))
    }

    fn parse(content_type: &str, body: &Bytes) -> Option<Self> {
        let boundary = content_type.split(';').find_map(|part| part.trim().strip_prefix("boundary="))?;
        let opening = format!("--{}", boundary.trim_matches('"'));
        let between = format!("\r\n{opening}");
        let mut at = body.starts_with(opening.as_bytes()).then_some(opening.len())?;
        let mut form = Self::default();
        loop {
            let rest = body.get(at..)?;
            if rest.starts_with(b"--") {
                return matches!(rest, b"--" | b"--\r\n").then_some(form);
            }
            let head_end = memmem::find(rest, b"\r\n\r\n")?;
            let head = std::str::from_utf8(rest.get(..head_end)?.strip_prefix(b"\r\n")?).ok()?;
            let start = at + head_end + 4;
            let length = memmem::find(body.get(start..)?, between.as_bytes())?;
            if form.parts.len() >= PARTS_MAX {
                return None;
            }
            form.parts.push(Part::of(head, body.slice(start..start + length))?);
            at = start + length + between.len();
        }
    }
}

impl Part {
    fn of(head: &str, value: Bytes) -> Option<Self> {
        let line =
            head.split("\r\n").find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
        let name = parameter(line, "name")?.to_owned();
        Some(Self { name, file_name: parameter(line, "filename").map(str::to_owned), value })
    }
}

fn parameter<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let parts = line.split(';').map(str::trim);
    parts
        .filter_map(|part| part.split_once('='))
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value.trim_matches('"'))
}

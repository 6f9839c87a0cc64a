//! A form with files (`multipart/form-data`, RFC 7578) taken apart without copying any of it.
//!
//! Invariant: what is read here is what any parser at the provider reads. Where parsers differ (a preamble, a bare
//! line feed, a boundary with something behind it, an escaped quote, a folded header …) the form is refused. Numbers
//! of parts and lengths of headers are bounded; the contents of parts are only looked through for the boundary.

use memchr::memmem::{self, Finder};
use std::ops::Range;

/// What is wrong with a form, as the end of a sentence.
pub(super) type Wrong = &'static str;

/// What stands between the parts: two hyphens and the boundary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dashes(Vec<u8>);

impl Dashes {
    /// Out of a `content-type`; `None`: it is another type.
    pub(super) fn of(content_type: &str) -> Option<Result<Self, Wrong>> {
        let (essence, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        let is_form = essence.trim().eq_ignore_ascii_case("multipart/form-data");
        is_form.then(|| Self::among(parameters))
    }

    fn among(parameters: &str) -> Result<Self, Wrong> {
        let mut found = None;
        for parameter in Parameters(parameters) {
            let (name, value) = parameter?;
            if name.eq_ignore_ascii_case("boundary") && found.replace(value).is_some() {
                return Err("its content-type names two boundaries");
            }
        }
        let boundary = found.ok_or("its content-type names no boundary")?;
        let sound = (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len())
            && boundary.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte))
            && !boundary.ends_with(' ');
        sound.then(|| Self([b"--", boundary.as_bytes()].concat())).ok_or("its boundary is none")
    }
}

/// One part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// The field's name.
    pub(super) name: &'a str,
    /// Whether it is a file.
    pub(super) is_file: bool,
    /// Whether it is written as it is meant.
    pub(super) is_plain: bool,
    /// Where its content stands in the body.
    pub(super) at: Range<usize>,
}

/// The parts of a form, in order; what is wrong ends them.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    body: &'a [u8],
    finder: Finder<'a>,
    dashes: usize,
    /// Behind a boundary; `None`: at the end.
    at: Option<usize>,
    count: usize,
}

impl<'a> Parts<'a> {
    pub(super) fn new(body: &'a [u8], dashes: &'a Dashes) -> Result<Self, Wrong> {
        let finder = Finder::new(&dashes.0);
        if !body.starts_with(&dashes.0) {
            return Err("it does not begin with its boundary");
        }
        Ok(Self { body, finder, dashes: dashes.0.len(), at: Some(dashes.0.len()), count: 0 })
    }

    fn part(&mut self, at: usize) -> Result<Option<Part<'a>>, Wrong> {
        let rest = &self.body[at..];
        if let Some(epilogue) = rest.strip_prefix(b"--") {
            let is_empty = matches!(epilogue, b"" | b"\r\n");
            return if is_empty { Ok(None) } else { Err("something follows its end") };
        }
        if !rest.starts_with(b"\r\n") {
            return Err("something follows its boundary on the same line");
        }
        self.count += 1;
        if self.count > PARTS_MAX {
            return Err("it has too many parts");
        }
        let head = &rest[..rest.len().min(HEAD_BYTES_MAX)];
        // The line break before the first header is the boundary's own.
        let blank = memmem::find(head, b"\r\n\r\n").ok_or("the headers of a part do not end")?;
        let described = Described::of(&head[2.min(blank)..blank])?;
        let start = at + blank + 4;
        let end = self.end(start)?;
        self.at = Some(end + 2 + self.dashes);
        let Described { name, is_file, is_plain } = described;
        Ok(Some(Part { name: name.ok_or("a part has no name")?, is_file, is_plain, at: start..end }))
    }

    /// Where the content that starts there ends: before the line break that belongs to the next boundary.
    fn end(&self, start: usize) -> Result<usize, Wrong> {
        for found in self.finder.find_iter(&self.body[start..]) {
            match &self.body[start..start + found] {
                [.., b'\r', b'\n'] => return Ok(start + found - 2),
                [] | [.., b'\r' | b'\n'] => return Err("its boundary stands behind a broken line end"),
                _ => {}
            }
        }
        Err("it ends before its last boundary")
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Result<Part<'a>, Wrong>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at.take()?;
        self.part(at).transpose()
    }
}

/// What the headers of a part say.
#[derive(Default)]
struct Described<'a> {
    name: Option<&'a str>,
    is_file: bool,
    is_plain: bool,
}

impl<'a> Described<'a> {
    fn of(headers: &'a [u8]) -> Result<Self, Wrong> {
        let headers = std::str::from_utf8(headers).map_err(|_| "the headers of a part are not UTF-8")?;
        let mut described = Self { is_plain: true, ..Self::default() };
        let mut placed = false;
        for line in headers.split("\r\n") {
            if line.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
                return Err("a header of a part has a control character");
            }
            let (name, value) = line.split_once(':').ok_or("a header of a part has no colon")?;
            if !is_token(name) {
                return Err("a header of a part has no name, or is folded");
            }
            if name.eq_ignore_ascii_case("content-disposition") {
                if std::mem::replace(&mut placed, true) {
                    return Err("a part has two `content-disposition`s");
                }
                described.place(value)?;
            } else if name.eq_ignore_ascii_case("content-transfer-encoding") {
                let value = value.trim();
                described.is_plain &=
                    ["binary", "8bit", "7bit"].iter().any(|as_is| value.eq_ignore_ascii_case(as_is));
            }
        }
        Ok(described)
    }

    fn place(&mut self, value: &'a str) -> Result<(), Wrong> {
        let (kind, parameters) = value.split_once(';').unwrap_or((value, ""));
        if !kind.trim().eq_ignore_ascii_case("form-data") {
            return Err("a part is not `form-data`");
        }
        for parameter in Parameters(parameters) {
            let (parameter, value) = parameter?;
            match parameter.to_ascii_lowercase().as_str() {
                // Some parsers resolve escapes, others do not.
                "name" if value.contains(['\\', '%']) => return Err("the name of a part has an escape"),
                "name" if self.name.replace(value).is_some() => return Err("a part has two names"),
                "name*" => return Err("the name of a part is encoded"),
                "filename" | "filename*" => self.is_file = true,
                _ => {}
            }
        }
        Ok(())
    }
}

/// `; name=value` and `; name="value"`: names and values as they stand.
struct Parameters<'a>(&'a str);

impl<'a> Parameters<'a> {
    fn one(&mut self) -> Result<Option<(&'a str, &'a str)>, Wrong> {
        self.0 = self.0.trim_start_matches([' ', '\t']);
        if self.0.is_empty() {
            return Ok(None);
        }
        let (name, rest) = self.0.split_once('=').ok_or("a parameter of a header has no value")?;
        if !is_token(name) {
            return Err("a parameter of a header has no name");
        }
        let value = if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').ok_or("a quote in a header is not closed")?;
            let value = &quoted[..end];
            let escapes = value.bytes().rev().take_while(|byte| *byte == b'\\').count();
            if escapes % 2 == 1 {
                return Err("a name in a header has an escaped quote");
            }
            self.0 = &quoted[end + 1..];
            value
        } else {
            let end = rest.find(';').unwrap_or(rest.len());
            self.0 = &rest[end..];
            let value = rest[..end].trim_end_matches([' ', '\t']);
            if value.is_empty() || value.contains(['"', ' ', '\t']) {
                return Err("a parameter of a header has no value, or half a quote");
            }
            value
        };
        self.0 = self.0.trim_start_matches([' ', '\t']);
        match self.0.strip_prefix(';') {
            Some(rest) => self.0 = rest,
            None if self.0.is_empty() => {}
            None => return Err("something follows a quote in a header"),
        }
        Ok(Some((name, value)))
    }
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Result<(&'a str, &'a str), Wrong>;

    fn next(&mut self) -> Option<Self::Item> {
        let one = self.one().transpose();
        if matches!(one, Some(Err(_))) {
            self.0 = "";
        }
        one
    }
}

fn is_token(text: &str) -> bool {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(sound)
}

/// RFC 2046.
const BOUNDARY_BYTES_MAX: usize = 70;
/// Sixteen pictures and every option there is are not half as many.
const PARTS_MAX: usize = 128;
/// A name, the name of a file and a type.
const HEAD_BYTES_MAX: usize = 8 * 1024;

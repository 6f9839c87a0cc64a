//! JSON written straight into a buffer of bytes, member by member.
//!
//! Invariant: what is opened is closed, since a thing is written by a closure; text is escaped so that no byte of it
//! can end a line.

use super::Raw;
use bytes::{BufMut as _, BytesMut};
use std::fmt::Write as _;

/// Writes one object.
pub(in crate::translate) fn object(out: &mut BytesMut, write: impl FnOnce(&mut Object<'_>)) {
    out.put_u8(b'{');
    write(&mut Object { out, first: true });
    out.put_u8(b'}');
}

/// Writes members of an object of which the beginning, one member at least, is written already.
pub(in crate::translate) fn more(out: &mut BytesMut, write: impl FnOnce(&mut Object<'_>)) {
    write(&mut Object { out, first: false });
}

/// Writes one array.
pub(in crate::translate) fn array(out: &mut BytesMut, write: impl FnOnce(&mut Array<'_>)) {
    out.put_u8(b'[');
    write(&mut Array { out, first: true });
    out.put_u8(b']');
}

/// An object that is being written.
#[derive(Debug)]
pub(in crate::translate) struct Object<'b> {
    out: &'b mut BytesMut,
    first: bool,
}

impl Object<'_> {
    fn key(&mut self, key: &str) -> &mut BytesMut {
        self.out.reserve(key.len() + ",\"\":".len());
        comma(self.out, &mut self.first);
        text(self.out, &[key]);
        self.out.put_u8(b':');
        self.out
    }

    pub(in crate::translate) fn text(&mut self, key: &str, value: &str) -> &mut Self {
        text(self.key(key), &[value]);
        self
    }

    /// A text of several pieces, which are not joined elsewhere.
    pub(in crate::translate) fn pieces(&mut self, key: &str, pieces: &[&str]) -> &mut Self {
        text(self.key(key), pieces);
        self
    }

    pub(in crate::translate) fn some(&mut self, key: &str, value: Option<&str>) -> &mut Self {
        if let Some(value) = value {
            self.text(key, value);
        }
        self
    }

    pub(in crate::translate) fn text_or_null(&mut self, key: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.text(key, value),
            None => self.null(key),
        }
    }

    pub(in crate::translate) fn number(&mut self, key: &str, value: u64) -> &mut Self {
        number(self.key(key), value);
        self
    }

    pub(in crate::translate) fn some_number(&mut self, key: &str, value: Option<u64>) -> &mut Self {
        if let Some(value) = value {
            self.number(key, value);
        }
        self
    }

    pub(in crate::translate) fn some_float(&mut self, key: &str, value: Option<f64>) -> &mut Self {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            let _infallible = write!(self.key(key), "{value}");
        }
        self
    }

    pub(in crate::translate) fn flag(&mut self, key: &str, value: bool) -> &mut Self {
        self.key(key).extend_from_slice(if value { b"true" } else { b"false" });
        self
    }

    pub(in crate::translate) fn some_flag(&mut self, key: &str, value: Option<bool>) -> &mut Self {
        if let Some(value) = value {
            self.flag(key, value);
        }
        self
    }

    pub(in crate::translate) fn null(&mut self, key: &str) -> &mut Self {
        self.key(key).extend_from_slice(b"null");
        self
    }

    pub(in crate::translate) fn raw(&mut self, key: &str, value: &Raw<'_>) -> &mut Self {
        self.key(key).extend_from_slice(value.json().as_bytes());
        self
    }

    pub(in crate::translate) fn some_raw(&mut self, key: &str, value: Option<&Raw<'_>>) -> &mut Self {
        if let Some(value) = value {
            self.raw(key, value);
        }
        self
    }

    /// Members that are written already, each after a comma.
    pub(in crate::translate) fn members(&mut self, written: &[u8]) -> &mut Self {
        if let Some(rest) = written.strip_prefix(b",") {
            comma(self.out, &mut self.first);
            self.out.extend_from_slice(rest);
        }
        self
    }

    pub(in crate::translate) fn object(
        &mut self,
        key: &str,
        write: impl FnOnce(&mut Object<'_>),
    ) -> &mut Self {
        object(self.key(key), write);
        self
    }

    pub(in crate::translate) fn array(&mut self, key: &str, write: impl FnOnce(&mut Array<'_>)) -> &mut Self {
        array(self.key(key), write);
        self
    }

    /// A value somebody else writes.
    pub(in crate::translate) fn value(&mut self, key: &str, write: impl FnOnce(&mut BytesMut)) -> &mut Self {
        write(self.key(key));
        self
    }
}

/// An array that is being written.
#[derive(Debug)]
pub(in crate::translate) struct Array<'b> {
    out: &'b mut BytesMut,
    first: bool,
}

impl Array<'_> {
    fn next(&mut self) -> &mut BytesMut {
        comma(self.out, &mut self.first);
        self.out
    }

    /// Items that are written already, each after a comma.
    pub(in crate::translate) fn members(&mut self, written: &[u8]) {
        if let Some(rest) = written.strip_prefix(b",") {
            self.next().extend_from_slice(rest);
        }
    }

    pub(in crate::translate) fn text(&mut self, value: &str) {
        text(self.next(), &[value]);
    }

    pub(in crate::translate) fn number(&mut self, value: u64) {
        number(self.next(), value);
    }

    pub(in crate::translate) fn raw(&mut self, value: &Raw<'_>) {
        self.next().extend_from_slice(value.json().as_bytes());
    }

    pub(in crate::translate) fn object(&mut self, write: impl FnOnce(&mut Object<'_>)) {
        object(self.next(), write);
    }

    pub(in crate::translate) fn value(&mut self, write: impl FnOnce(&mut BytesMut)) {
        write(self.next());
    }
}

fn comma(out: &mut BytesMut, first: &mut bool) {
    if !std::mem::replace(first, false) {
        out.put_u8(b',');
    }
}

/// A JSON string.
pub(in crate::translate) fn text(out: &mut BytesMut, pieces: &[&str]) {
    out.put_u8(b'"');
    for piece in pieces {
        escaped(out, piece.as_bytes());
    }
    out.put_u8(b'"');
}

fn escaped(out: &mut BytesMut, bytes: &[u8]) {
    out.reserve(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| ESCAPES[usize::from(*byte)] != 0) {
        let (plain, from) = rest.split_at(at);
        out.extend_from_slice(plain);
        let byte = from.first().copied().unwrap_or_default();
        match ESCAPES[usize::from(byte)] {
            b'u' => {
                let _infallible = write!(out, "\\u{byte:04x}");
            }
            letter => out.extend_from_slice(&[b'\\', letter]),
        }
        rest = from.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

/// What follows the backslash, for the bytes that need one.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut control = 0;
    while control < 0x20 {
        table[control] = b'u';
        control += 1;
    }
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table[b'\n' as usize] = b'n';
    table[b'\r' as usize] = b'r';
    table[b'\t' as usize] = b't';
    table
};

pub(in crate::translate) fn number(out: &mut BytesMut, mut value: u64) {
    let mut digits = [0; 20];
    let mut from = digits.len();
    loop {
        from -= 1;
        // A digit is less than ten.
        digits[from] = b'0' + u8::try_from(value % 10).unwrap_or_default();
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(from..).unwrap_or_default());
}

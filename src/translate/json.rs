//! JSON as translation reads it: text borrowed from the body where it can be, values kept as they are written.
//!
//! Invariant: an object reads whatever a client or provider puts there; a `null` is an absent member, and a member
//! nobody knows is named, so that its loss can be said. A [`Raw`] is one valid JSON value on one line.

mod write;

pub(super) use self::write::{Array, Object, array, more, number, object};

use bytes::BytesMut;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

/// Text of a body, borrowed unless escapes had to be undone.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<'a>(Cow<'a, str>);

impl Text<'_> {
    /// The same with a life of its own.
    pub fn into_owned(self) -> Text<'static> {
        Text(Cow::Owned(self.0.into_owned()))
    }

    /// The same text, borrowed from this.
    pub fn borrowed(&self) -> Text<'_> {
        Text(Cow::Borrowed(&self.0))
    }

    /// As a string of its own.
    pub fn into_string(self) -> String {
        self.0.into_owned()
    }

    /// What comes from byte `at` on; the same bytes where they were borrowed.
    pub(super) fn after(self, at: usize) -> Self {
        match self.0 {
            Cow::Borrowed(text) => Text(Cow::Borrowed(text.get(at..).unwrap_or_default())),
            Cow::Owned(mut text) => {
                text.drain(..at.min(text.len()));
                Text(Cow::Owned(text))
            }
        }
    }

    /// Adds to its end.
    pub(super) fn push(&mut self, more: &str) {
        if self.0.is_empty() {
            self.0 = Cow::Owned(more.to_owned());
        } else {
            self.0.to_mut().push_str(more);
        }
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
            fn visit_string<E: Error>(self, text: String) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text)))
            }
        }
        deserializer.deserialize_str(Read)
    }
}

/// A JSON value as it was written, without line breaks between its tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct Raw<'a>(Cow<'a, str>);

impl<'a> Raw<'a> {
    /// A value of a body.
    pub(super) fn of(raw: &'a RawValue) -> Self {
        Self(on_one_line(Cow::Borrowed(raw.get())))
    }

    /// The value in a text that should be an object; the text itself where it is none.
    pub(super) fn object(text: Text<'a>) -> Result<Self, Text<'a>> {
        let is_object = text.trim_start().starts_with('{');
        let valid = is_object && serde_json::from_str::<IgnoredAny>(&text).is_ok();
        if valid { Ok(Self(on_one_line(text.0))) } else { Err(text) }
    }

    /// The value in a text that should be a list.
    pub(super) fn list(text: String) -> Option<Self> {
        let valid = text.starts_with('[') && serde_json::from_str::<IgnoredAny>(&text).is_ok();
        valid.then_some(Self(Cow::Owned(text)))
    }

    /// A list with the items of another at its end.
    pub(super) fn with_items(self, more: &Raw<'_>) -> Raw<'static> {
        let mut list = self.0.into_owned();
        let Some(items) = more.0.strip_prefix('[').filter(|items| *items != "]") else {
            return Raw(list.into());
        };
        if list.pop() == Some(']') && list != "[" {
            list.push(',');
        }
        list.push_str(items);
        Raw(list.into())
    }

    /// A string.
    pub(super) fn string(text: &str) -> Self {
        let mut out = BytesMut::new();
        write::text(&mut out, &[text]);
        Self(Cow::Owned(String::from_utf8_lossy(&out).into_owned()))
    }

    /// A number.
    pub(super) fn from_number(number: i64) -> Self {
        Self(Cow::Owned(number.to_string()))
    }

    /// A value that is known to be one.
    pub(super) const fn known(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// The same with a life of its own.
    pub fn into_owned(self) -> Raw<'static> {
        Raw(Cow::Owned(self.0.into_owned()))
    }

    /// The value as text.
    pub fn json(&self) -> &str {
        &self.0
    }

    pub(super) fn cow(self) -> Cow<'a, str> {
        self.0
    }

    /// Reads it as something.
    pub(super) fn read<'b, T: Deserialize<'b>>(&'b self) -> Option<T> {
        serde_json::from_str(&self.0).ok()
    }

    /// The text it is, where it is a string.
    pub(super) fn text(&self) -> Option<Text<'_>> {
        self.read()
    }

    pub(super) fn is_object(&self) -> bool {
        self.0.starts_with('{')
    }
}

impl fmt::Debug for Raw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&'de RawValue>::deserialize(deserializer).map(Raw::of)
    }
}

/// A line break may stand between tokens only, and would end the line of an event: it and the space around go.
fn on_one_line(text: Cow<'_, str>) -> Cow<'_, str> {
    let trimmed = match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) if text.trim().len() == text.len() => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    };
    if memchr::memchr2(b'\n', b'\r', trimmed.as_bytes()).is_none() {
        return trimmed;
    }
    let (mut kept, mut in_string, mut escaped) = (String::with_capacity(trimmed.len()), false, false);
    for c in trimmed.chars() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if c.is_ascii_whitespace() {
            continue;
        } else {
            in_string = c == '"';
        }
        kept.push(c);
    }
    Cow::Owned(kept)
}

/// A text, or a list, or one thing where a list is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Many<'a, T> {
    Text(Text<'a>),
    List(Vec<T>),
}

impl<T> Default for Many<'_, T> {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for Many<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read<'a, T>(PhantomData<(&'a (), T)>);
        impl<'de: 'a, 'a, T: Deserialize<'de>> Visitor<'de> for Read<'a, T> {
            type Value = Many<'a, T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Many::Text(Text(Cow::Borrowed(text))))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Many::Text(Text(Cow::Owned(text.to_owned()))))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Many::List(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
                let one =
                    DeserializeSeed::deserialize(PhantomData::<T>, MapAccessDeserializer::new(members))?;
                Ok(Many::List(vec![one]))
            }
        }
        deserializer.deserialize_any(Read(PhantomData))
    }
}

/// The members of an object in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Members<'a>(pub(super) Vec<(Text<'a>, Raw<'a>)>);

impl<'a> Members<'a> {
    pub(super) fn of(raw: &'a Raw<'_>) -> Self {
        raw.read().unwrap_or_default()
    }

    pub(super) fn find(&self, key: &str) -> Option<&Raw<'a>> {
        self.0.iter().rev().find(|(name, _)| &**name == key).map(|(_, value)| value)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Read)
    }
}

/// Declares an object of a protocol: every member may be missing or `null`, and the names of those nobody knows are
/// kept in `unknown`. A member's name stands in brackets where it is not the field's; of several any will do.
macro_rules! message {
    ($(#[$meta:meta])* $name:ident { $($field:ident $([$($key:literal),+])? : $type:ty),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        pub(in crate::translate) struct $name<'a> {
            $(pub(in crate::translate) $field: Option<$type>,)*
            pub(in crate::translate) unknown: Vec<$crate::translate::json::Text<'a>>,
        }

        impl<'a> serde::Deserialize<'a> for $name<'a> {
            fn deserialize<D: serde::Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
                struct Read;
                impl<'a> serde::de::Visitor<'a> for Read {
                    type Value = $name<'a>;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }
                    fn visit_map<A: serde::de::MapAccess<'a>>(self, mut map: A) -> Result<$name<'a>, A::Error> {
                        let mut read = $name::default();
                        while let Some(key) = map.next_key::<$crate::translate::json::Text<'a>>()? {
                            $(if $crate::translate::json::message!(@named key, $field $([$($key),+])?) {
                                read.$field = map.next_value()?;
                            } else)* {
                                let value: Option<serde::de::IgnoredAny> = map.next_value()?;
                                if value.is_some() {
                                    read.unknown.push(key);
                                }
                            }
                        }
                        Ok(read)
                    }
                }
                deserializer.deserialize_map(Read)
            }
        }
    };
    (@named $given:ident, $field:ident) => { &*$given == stringify!($field) };
    (@named $given:ident, $field:ident [$($key:literal),+]) => { $(&*$given == $key)||+ };
}
pub(super) use message;

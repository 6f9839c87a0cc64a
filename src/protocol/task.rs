//! Ids of tasks as clients hold them: the id itself says by which account the task was made and under which name it is known
//! there, and a tag binds it to the key that asked for it.
//!
//! An id is `video_` and, in base64url, a version, the account, flags, the length of the model's name, that name, the tag and the
//! provider's own id (decision 0021).
//! Invariants: what reads an id finds exactly what was written into it, and any other text is no id; nothing here says that
//! an id is genuine, which is its tag's to prove; its length is bounded.

use crate::protocol::inspect::{ModelField, Notation, fields, range_in};
use crate::protocol::splice::{self, Edit, Edits};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::value::RawValue;
use smol_str::SmolStr;

/// What a task's id says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskId {
    /// The account that made it: a channel with one of its credentials.
    pub account: Account,
    /// What it was made of, and how it is called there.
    pub made: Made,
    /// What proves the rest.
    pub tag: Tag,
}

/// A channel with one of its credentials, as ids name it.
pub type Account = [u8; 8];

/// What proves an id.
pub type Tag = [u8; 16];

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The model by the client's name; empty where that is too long to be told.
    pub model: String,
    /// Whether the provider has another name for it, which is not shown.
    pub renamed: bool,
    /// The provider's id.
    pub upstream: String,
}

impl Made {
    /// What a tag covers, beside whose it is.
    pub fn parts(&self) -> [&[u8]; 3] {
        let renamed: &[u8] = if self.renamed { &[1] } else { &[0] };
        [renamed, self.model.as_bytes(), self.upstream.as_bytes()]
    }
}

impl TaskId {
    /// Reads an id; `None`: it is none of ours.
    pub fn read(text: &str) -> Option<Self> {
        let coded = text.strip_prefix(PREFIX).filter(|_| text.len() <= ID_BYTES_MAX)?;
        let bytes = URL_SAFE_NO_PAD.decode(coded).ok()?;
        let (version, rest) = bytes.split_first()?;
        let (account, rest) = rest.split_first_chunk()?;
        let ([renamed, model], rest) = rest.split_first_chunk()?;
        let (model, rest) = rest.split_at_checked(usize::from(*model))?;
        let (tag, upstream) = rest.split_first_chunk()?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let made = Made { model: text(model)?, renamed: *renamed == 1, upstream: text(upstream)? };
        let sound = *version == VERSION && *renamed <= 1 && !made.upstream.is_empty();
        sound.then_some(Self { account: *account, made, tag: *tag })
    }

    /// Writes it; `None`: it would be too long.
    pub fn text(&self) -> Option<String> {
        let model = self.made.model.as_bytes();
        let mut bytes = vec![VERSION];
        bytes.extend(self.account);
        bytes.extend([u8::from(self.made.renamed), u8::try_from(model.len()).ok()?]);
        bytes.extend(model);
        bytes.extend(self.tag);
        bytes.extend(self.made.upstream.as_bytes());
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
        (text.len() <= ID_BYTES_MAX).then_some(text)
    }
}

/// What puts other ids of tasks into an answer.
pub fn ids(body: &[u8], shown: impl Fn(&str) -> Option<String>) -> Edits {
    let mut edits = Edits::new();
    for raw in fields(body, ANSWERED).into_iter().flatten().flatten() {
        let id: Option<String> = serde_json::from_str(raw.get()).ok();
        if let (Some(shown), Some(at)) = (id.and_then(|id| shown(&id)), range_in(raw.get(), body)) {
            splice::insert(&mut edits, Edit::text(at, &shown));
        }
    }
    edits
}

/// The same text with this id in the place of that, wherever it stands.
pub fn with_id(text: &[u8], theirs: &str, ours: &str) -> Vec<u8> {
    let mut shown = Vec::with_capacity(text.len() + ours.len());
    let mut from = 0;
    for at in memchr::memmem::find_iter(text, theirs) {
        shown.extend_from_slice(&text[from..at]);
        shown.extend_from_slice(ours.as_bytes());
        from = at + theirs.len();
    }
    shown.extend_from_slice(&text[from..]);
    shown
}

/// The id of the video that a body of JSON names: `{"video":{"id":"…"}}`.
pub fn source(body: &[u8]) -> Option<ModelField> {
    let [video] = fields(body, ["video"])?;
    let [id] = fields(video?.get().as_bytes(), ["id"])?;
    let name: SmolStr = id.map(RawValue::get).and_then(|text| serde_json::from_str(text).ok())?;
    let at = range_in(id?.get(), body)?;
    Some(ModelField { name, at, notation: Notation::Json })
}

/// Where an answer about a task has ids of tasks.
const ANSWERED: [&str; 2] = ["id", "remixed_from_video_id"];
/// What OpenAI's ids begin with: clients may tell things apart by that.
const PREFIX: &str = "video_";
const VERSION: u8 = 1;
/// Ids at providers have a tenth of it, and it has to pass in an address.
const ID_BYTES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::splice::splice;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn id(model: &str, renamed: bool, upstream: &str) -> TaskId {
        let made = Made { model: model.to_owned(), renamed, upstream: upstream.to_owned() };
        TaskId { account: *b"8 bytes!", made, tag: *b"sixteen bytes ok" }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(model in ".{0,40}", renamed: bool, upstream in ".{1,80}") {
            let id = id(&model, renamed, &upstream);
            if let Some(text) = id.text() {
                prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)));
                prop_assert_eq!(TaskId::read(&text), Some(id));
            }
        }

        #[test]
        fn no_text_is_read_that_would_be_written_otherwise(text in "video_[A-Za-z0-9_-]{0,90}") {
            if let Some(id) = TaskId::read(&text) {
                prop_assert_eq!(id.text(), Some(text));
            }
        }
    }

    #[test]
    fn what_is_no_id_of_ours_is_none() {
        let good = id("sora-2", false, "video_68d7").text().unwrap();
        assert!(TaskId::read(&good).is_some());
        let long = id("sora-2", false, &"x".repeat(900));
        assert_eq!(long.text(), None);
        assert_eq!(id(&"m".repeat(256), false, "x").text(), None);
        let cut = good.len() - 60;
        for other in
            ["", "video_", "video_68d7", &good[1..], &good[..cut], &format!("{good}="), &format!("{good} ")]
        {
            assert_eq!(TaskId::read(other), None, "{other}");
        }
    }

    #[test]
    fn only_the_ids_of_an_answer_are_others() {
        let shown = |id: &str| (id != "keep").then(|| format!("ours\"{id}"));
        for (body, expected) in [
            (
                r#"{"id":"v1","a":{"id":"x"},"remixed_from_video_id" : "v2"}"#,
                r#"{"id":"ours\"v1","a":{"id":"x"},"remixed_from_video_id" : "ours\"v2"}"#,
            ),
            (
                r#"{"remixed_from_video_id":null,"id":"v"}"#,
                r#"{"remixed_from_video_id":null,"id":"ours\"v"}"#,
            ),
            (r#"{"id":"keep"}"#, r#"{"id":"keep"}"#),
            (r#"{"id":7}"#, r#"{"id":7}"#),
            (r#"[{"id":"v"}]"#, r#"[{"id":"v"}]"#),
            ("no json", "no json"),
        ] {
            let body = Bytes::from_static(body.as_bytes());
            assert_eq!(splice(&body, &ids(&body, shown)).concat(), expected.as_bytes());
        }
        assert_eq!(with_id(b"a v1, v1", "v1", "ours"), b"a ours, ours");
        assert_eq!(with_id(b"none", "v1", "ours"), b"none");
    }

    #[test]
    fn the_video_a_body_names_is_found_where_it_stands() {
        let body = br#"{"prompt":"id","video":{ "id" : "v\u0031" },"id":"no"}"#;
        let found = source(body).unwrap();
        assert_eq!((found.name.as_str(), &body[found.at]), ("v1", &br#""v\u0031""#[..]));
        for other in [r#"{"video":"v"}"#, r#"{"video":{}}"#, r#"{"video":{"id":1}}"#, r#"{"id":"v"}"#, "[]"] {
            assert_eq!(source(other.as_bytes()), None, "{other}");
        }
    }
}

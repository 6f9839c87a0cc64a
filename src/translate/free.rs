//! Free text that a function's `input` carries, taken out of the JSON while it arrives.
//!
//! Invariant: however the JSON is cut, the text is the same; JSON of another shape comes out as it is, at its end.

use super::json::{Members, Raw, Text};
use super::prompt::FREE_INPUT_NAME;

/// Takes it out.
#[derive(Debug, Default)]
pub(super) struct Unwrap {
    state: State,
    /// What was read before the text, or an escape that is not whole.
    held: String,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Looking for `{"input":"`.
    #[default]
    Before,
    /// Within the text.
    Within,
    /// After its closing quote.
    After,
    /// It is of another shape: all of it is held.
    Other,
}

impl Unwrap {
    /// The free text in more of the JSON.
    pub(super) fn feed(&mut self, json: &str) -> String {
        let mut out = String::new();
        for c in json.chars() {
            match self.state {
                State::Before => self.before(c),
                State::Within => self.within(c, &mut out),
                State::After => {}
                State::Other => self.held.push(c),
            }
        }
        out
    }

    /// What is left when the JSON is whole.
    pub(super) fn rest(self) -> String {
        match self.state {
            State::Before | State::Other => unwrapped(self.held.into()).into_string(),
            State::Within | State::After => String::new(),
        }
    }

    fn before(&mut self, c: char) {
        if c.is_ascii_whitespace() {
            return;
        }
        self.held.push(c);
        let mut expected = OPENING.chars().peekable();
        for held in self.held.chars() {
            if expected.next() != Some(held) {
                self.state = State::Other;
                return;
            }
        }
        if expected.peek().is_none() {
            self.state = State::Within;
            self.held.clear();
        }
    }

    fn within(&mut self, c: char, out: &mut String) {
        if self.held.is_empty() {
            match c {
                '"' => self.state = State::After,
                '\\' => self.held.push(c),
                c => out.push(c),
            }
            return;
        }
        self.held.push(c);
        // `\n`, `\u00e9`, `\ud83d\ude00`: whole once it reads as a string.
        let text: Option<String> = serde_json::from_str(&format!("\"{}\"", self.held)).ok();
        match text {
            Some(text) => {
                out.push_str(&text);
                self.held.clear();
            }
            None if self.held.len() >= ESCAPE_BYTES_MAX => {
                out.push_str(&std::mem::take(&mut self.held));
            }
            None => {}
        }
    }
}

/// What stands before the text.
pub(super) const OPENING: &str = "{\"input\":\"";
/// A pair of surrogates.
const ESCAPE_BYTES_MAX: usize = 12;

/// The free text in the whole input of a function; the input itself where it is of another shape.
pub(super) fn unwrapped(json: Text<'_>) -> Text<'_> {
    let raw = match Raw::object(json) {
        Ok(raw) => raw,
        Err(text) => return text,
    };
    let members = Members::of(&raw);
    let text = members.find(FREE_INPUT_NAME).and_then(Raw::text).map(Text::into_owned);
    match text.filter(|_| members.0.len() == 1) {
        Some(text) => text,
        None => raw.json().to_owned().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_the_same_however_the_json_is_cut() {
        for (json, text) in [
            (r#"{"input":"*** Begin\n\"x\"\u00e9\ud83d\ude00\\ü"}"#, "*** Begin\n\"x\"é😀\\ü"),
            (r#"{ "input" : "" }"#, ""),
            (r#"{"other":1}"#, r#"{"other":1}"#),
            (r#"{"in"#, r#"{"in"#),
            ("", ""),
        ] {
            for at in (0..=json.len()).filter(|at| json.is_char_boundary(*at)) {
                let mut unwrap = Unwrap::default();
                let mut said = unwrap.feed(&json[..at]) + &unwrap.feed(&json[at..]);
                said += &unwrap.rest();
                assert_eq!(said, text, "{json} cut at {at}");
            }
        }
    }
}

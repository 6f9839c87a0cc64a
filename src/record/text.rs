//! Text that others wrote, made safe to keep: bounded by its type and without terminal control sequences.
//!
//! Invariant: no `Text<N>` is longer than N characters; an `Excerpt` shows no credential it was told about and
//! none whose form is known; a `Path` ends where the query began, because keys travel there.

use smol_str::SmolStr;
use std::fmt;

/// At most `CHARS_MAX` characters of somebody else's text; a cut is marked with `…`.
///
/// C0 controls stay (JSON escapes them), DEL and the C1 controls, which JSON lets through and terminals obey,
/// become U+FFFD. Names of models, tools and paths are short, most of them: up to 23 bytes lie in the record itself.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text<const CHARS_MAX: usize>(SmolStr);

impl<const CHARS_MAX: usize> Text<CHARS_MAX> {
    /// Keeps what fits.
    pub fn new(raw: &str) -> Self {
        if raw.len() <= CHARS_MAX && is_plain(raw.as_bytes()) {
            return Self(raw.into());
        }
        Self::mended(raw)
    }

    /// The same of a name that is at hand as it is kept.
    pub fn of(name: &SmolStr) -> Self {
        let is_kept = name.len() <= CHARS_MAX && is_plain(name.as_bytes());
        if is_kept { Self(name.clone()) } else { Self::mended(name) }
    }

    fn mended(raw: &str) -> Self {
        let shown = |c: char| if matches!(c, '\u{7f}'..='\u{9f}') { '\u{fffd}' } else { c };
        if raw.chars().nth(CHARS_MAX).is_none() {
            return Self(raw.chars().map(shown).collect());
        }
        let mut cut: String = raw.chars().take(CHARS_MAX.saturating_sub(1)).map(shown).collect();
        cut.push('…');
        Self(cut.into())
    }

    /// What was kept.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether each byte is a character below DEL. One more than DEL, and each byte of a longer character, has the highest bit.
#[inline]
fn is_plain(raw: &[u8]) -> bool {
    let odd = |word: [u8; 8]| {
        let word = u64::from_le_bytes(word);
        (word | word.wrapping_add(EACH)) & (EACH << 7)
    };
    let (words, rest) = raw.as_chunks();
    let all = words.iter().fold(0, |all, word| all | odd(*word));
    // The last word again, as far as it was not looked at.
    match raw.last_chunk() {
        Some(last) => all | odd(*last) == 0,
        None => rest.iter().all(|byte| *byte < 0x7f),
    }
}

const EACH: u64 = 0x0101_0101_0101_0101;

impl<const CHARS_MAX: usize> fmt::Display for Text<CHARS_MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<const CHARS_MAX: usize> fmt::Debug for Text<CHARS_MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// A request's path as it was received, without its query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Path(Text<1024>);

impl Path {
    /// Takes a request target: query and fragment go, as does the authority of an absolute form, which may
    /// hold a user's name and password.
    pub fn received(target: &str) -> Self {
        let target = if target.starts_with('/') { target } else { without_authority(target) };
        let end = memchr::memchr2(b'?', b'#', target.as_bytes()).unwrap_or(target.len());
        Self(Text::new(&target[..end]))
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

fn without_authority(target: &str) -> &str {
    match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => rest.find('/').map_or("/", |slash| &rest[slash..]),
        _ => target,
    }
}

/// What a provider wrote when it refused, as far as it may be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt(Text<1024>);

impl Excerpt {
    /// Keeps the text but for the credentials: `known` ones (what this attempt sent) wherever they stand, and
    /// whatever has the form of a provider's key, since some providers quote the key they were given.
    pub fn new(text: &str, known: &[&str]) -> Self {
        let mut shown: String = text.chars().take(EXCERPT_SCAN_CHARS_MAX).collect();
        let was_cut = shown.len() < text.len();
        for secret in known.iter().filter(|secret| !secret.is_empty()) {
            shown = shown.replace(secret, MASK);
        }
        if was_cut {
            // The cut may have gone through a credential: what could be its first half goes too.
            let doubtful = known.iter().map(|secret| secret.chars().count()).max().unwrap_or(0);
            let sure = shown.chars().count().saturating_sub(doubtful);
            shown = shown.chars().take(sure).collect();
            shown.truncate(shown.trim_end_matches(is_key_char).len());
        }
        Self(Text::new(&mask_key_forms(&shown)))
    }

    /// The excerpt.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// Replaces every word that looks like a credential, and the word after `Bearer`.
fn mask_key_forms(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut after_bearer = false;
    for piece in text.split_inclusive(|c: char| !is_key_char(c)) {
        let word = piece.trim_end_matches(|c: char| !is_key_char(c));
        let secret = word.len() >= KEY_CHARS_MIN && (after_bearer || has_key_prefix(word));
        out.push_str(if secret { MASK } else { word });
        out.push_str(&piece[word.len()..]);
        if !word.is_empty() {
            after_bearer = word.eq_ignore_ascii_case("bearer");
        }
    }
    out
}

fn is_key_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

fn has_key_prefix(word: &str) -> bool {
    KEY_PREFIXES.iter().any(|prefix| word.starts_with(prefix))
}

/// How the providers' keys begin: OpenAI and its compatibles, Anthropic (`sk-ant-`), Google, Groq, xAI, …
const KEY_PREFIXES: [&str; 9] = ["sk-", "sk_", "pk-", "AIza", "gsk_", "xai-", "fw_", "hf_", "nvapi-"];

/// Shorter words with such a beginning are prose (`sk-…`, an example).
const KEY_CHARS_MIN: usize = 12;

/// Four times what is kept, so that masking, which shortens, still leaves a full excerpt; a huge answer is not
/// scanned to its end.
const EXCERPT_SCAN_CHARS_MAX: usize = 4 * 1024;

const MASK: &str = "[credential]";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_to_its_type_and_cannot_steer_a_terminal() {
        for (raw, kept) in [
            ("short", "short"),
            ("12345678", "12345678"),
            ("123456789", "1234567…"),
            ("日本語日本語日本", "日本語日本語日本"),
            ("日本語日本語日本語", "日本語日本語日…"),
            ("a\u{9b}2J\u{7f}", "a\u{fffd}2J\u{fffd}"),
            ("tab\tnl\n", "tab\tnl\n"),
        ] {
            assert_eq!(Text::<8>::new(raw).as_str(), kept, "{raw:?}");
        }
    }

    #[test]
    fn every_character_is_shown_or_mended_wherever_it_stands() {
        let by_characters = |raw: &str| -> String {
            raw.chars().map(|c| if matches!(c, '\u{7f}'..='\u{9f}') { '\u{fffd}' } else { c }).collect()
        };
        for length in 0..40 {
            for at in 0..length {
                for odd in ['~', '\n', '\u{7f}', '\u{80}', '\u{9f}', '\u{a0}', 'é'] {
                    let raw: String = (0..length).map(|place| if place == at { odd } else { 'a' }).collect();
                    let kept = by_characters(&raw);
                    assert_eq!(Text::<128>::new(&raw).as_str(), kept, "{odd:?} at {at} of {length}");
                    assert_eq!(
                        Text::<128>::of(&SmolStr::new(&raw)).as_str(),
                        kept,
                        "{odd:?} at {at} of {length}"
                    );
                }
            }
        }
        for (length, kept) in [(128, "a".repeat(128)), (129, "a".repeat(127) + "…")] {
            let raw = "a".repeat(length);
            assert_eq!(Text::<128>::of(&SmolStr::new(&raw)).as_str(), kept);
            assert_eq!(Text::<128>::new(&raw).as_str(), kept);
        }
    }

    #[test]
    fn a_path_has_no_query_and_no_user_information() {
        for (target, kept) in [
            (
                "/v1beta/models/m:generateContent?key=sk-planted-0123456789",
                "/v1beta/models/m:generateContent",
            ),
            ("/v1/models", "/v1/models"),
            ("/a#sk-planted", "/a"),
            ("?key=sk-planted", ""),
            ("http://user:sk-planted@host/v1/models?x=1", "/v1/models"),
            ("http://user:sk-planted@host", "/"),
            ("/redirect/http://host/x", "/redirect/http://host/x"),
        ] {
            assert_eq!(Path::received(target).as_str(), kept, "{target}");
        }
        assert_eq!(Path::received(&"/x".repeat(5_000)).as_str().chars().count(), 1_024);
    }

    #[test]
    fn an_excerpt_keeps_the_provider_s_words_and_no_credential() {
        for (text, kept) in [
            ("Incorrect API key provided: opaque+planted/1.", "Incorrect API key provided: [credential]."),
            ("key sk-ant-api03-0123456789abcdef is bad", "key [credential] is bad"),
            ("AIzaSyA0123456789abcdef", "[credential]"),
            ("sent 'Authorization: Bearer 0123456789abcdefgh'", "sent 'Authorization: Bearer [credential]'"),
            ("use a key like sk-...", "use a key like sk-..."),
            ("request req_011CSHoEeqs5C35K2UUr6HTY failed", "request req_011CSHoEeqs5C35K2UUr6HTY failed"),
            ("余额不足: model 'm' (429)", "余额不足: model 'm' (429)"),
            ("", ""),
        ] {
            assert_eq!(Excerpt::new(text, &["opaque+planted/1", ""]).as_str(), kept, "{text}");
        }
    }

    #[test]
    fn a_credential_across_the_end_of_an_excerpt_does_not_show_its_beginning() {
        let text = format!("{}opaque+planted/1", "x".repeat(1_015));
        let kept = Excerpt::new(&text, &["opaque+planted/1"]);
        assert!(!kept.as_str().contains("opaq"), "{kept:?}");
        assert_eq!(kept.as_str().chars().count(), 1_024);
        let secret = "opaque+planted/".repeat(20);
        let flood = secret.repeat(40);
        let kept = Excerpt::new(&flood, &[secret.as_str()]);
        assert!(!kept.as_str().contains("opaque"), "{kept:?}");
    }
}

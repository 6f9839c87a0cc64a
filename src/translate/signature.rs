//! Signatures of thinking on their way through a client of another protocol.
//!
//! A provider verifies the thinking it gave, and some refuse a conversation that lacks it. A client carries back what
//! it was given in its own protocol's place for that, so a signature of another family goes there under a seal that
//! says whose it is, and is opened when it comes back.
//! Invariant: what is opened is what was sealed, byte for byte; anything else is the signature of the protocol it
//! stands in.

use super::json::Text;
use super::unified::{Protocol, Signature, Signer};
use crate::protocol::signed::{SEAL, SEAL_IN_BASE64};
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine as _, alphabet};

impl Signer {
    /// Whether a provider of that protocol can verify it.
    pub(super) fn is_of(self, target: Protocol) -> bool {
        match self {
            Self::OpenAi => target == Protocol::Responses,
            Self::Anthropic | Self::Redacted => target == Protocol::Anthropic,
            Self::Gemini => target == Protocol::Gemini,
        }
    }

    fn letter(self) -> char {
        match self {
            Self::OpenAi => 'o',
            Self::Anthropic => 'a',
            Self::Redacted => 'r',
            Self::Gemini => 'g',
        }
    }
}

/// The signature as a client carries it that does not carry what it signs: Gemini's drop thoughts and bring back the
/// marks. Anthropic wants the text as it was, so it goes under the seal as well.
pub(super) fn sealed_with(text: &str, signature: &Signature<'_>, client: Protocol) -> Option<String> {
    if client != Protocol::Gemini || signature.signer != Signer::Anthropic || text.is_empty() {
        return sealed(signature, client);
    }
    let length = signature.data.len();
    Some(STANDARD.encode(format!("{SEAL}{WITH_TEXT}.{length}.{}{text}", &*signature.data)))
}

/// What a client of that protocol carried, and the text that came with it.
pub(super) fn opened_with(text: Text<'_>, own: Signer) -> Option<(Signature<'_>, Text<'static>)> {
    if own == Signer::Gemini
        && text.starts_with(SEAL_IN_BASE64)
        && let Some(plain) = from_base64(&text)
        && let Some(rest) = plain.strip_prefix(SEAL).and_then(|rest| rest.strip_prefix(WITH_TEXT))
    {
        let (length, rest) = rest.strip_prefix('.')?.split_once('.')?;
        let (data, text) = rest.split_at_checked(length.parse().ok()?)?;
        return Some((
            Signature { signer: Signer::Anthropic, data: data.to_owned().into() },
            text.to_owned().into(),
        ));
    }
    Some((opened(text, own)?, Text::default()))
}

/// The signature as a client of that protocol carries it; `None` where it has no place for one.
pub(super) fn sealed(signature: &Signature<'_>, client: Protocol) -> Option<String> {
    let under_seal = || format!("{SEAL}{}.{}", signature.signer.letter(), &*signature.data);
    match client {
        Protocol::Chat => None,
        _ if signature.signer.is_of(client) => Some((*signature.data).to_owned()),
        Protocol::Responses | Protocol::Anthropic => Some(under_seal()),
        // Bytes there, which are base64 in JSON.
        Protocol::Gemini => Some(STANDARD.encode(under_seal())),
    }
}

/// What a client of that protocol carried; `own` is who signs in it.
pub(super) fn opened(text: Text<'_>, own: Signer) -> Option<Signature<'_>> {
    if text.is_empty() {
        return None;
    }
    if own == Signer::Gemini {
        let plain = text.starts_with(SEAL_IN_BASE64).then(|| from_base64(&text)).flatten();
        if let Some(found) = plain.and_then(|plain| unsealed(plain.into())) {
            return Some(found);
        }
    } else if text.starts_with(SEAL) {
        return unsealed(text);
    }
    Some(Signature { signer: own, data: text })
}

fn unsealed(text: Text<'_>) -> Option<Signature<'_>> {
    let rest = text.strip_prefix(SEAL)?;
    let signer = [Signer::OpenAi, Signer::Anthropic, Signer::Redacted, Signer::Gemini]
        .into_iter()
        .find(|signer| rest.starts_with(signer.letter()))?;
    rest.get(1..)?.starts_with('.').then_some(())?;
    Some(Signature { signer, data: text.after(SEAL.len() + 2) })
}

/// In the place of the signer's letter: Anthropic's, with its text behind it.
const WITH_TEXT: char = 't';

/// A text in base64, of either alphabet, with or without its padding.
pub(super) fn from_base64(text: &str) -> Option<String> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let text = text.replace('-', "+").replace('_', "/");
    String::from_utf8(LENIENT.decode(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_opened_is_what_was_sealed() {
        for (client, own) in [
            (Protocol::Responses, Signer::OpenAi),
            (Protocol::Anthropic, Signer::Anthropic),
            (Protocol::Gemini, Signer::Gemini),
        ] {
            for signer in [Signer::OpenAi, Signer::Anthropic, Signer::Redacted, Signer::Gemini] {
                for data in ["Eq8BCkYI+/==", "x", "xy", "rs_1:gAAAA-_é"] {
                    let signature = Signature { signer, data: data.into() };
                    let carried = sealed(&signature, client).unwrap();
                    let back = opened(carried.into(), own).unwrap();
                    if signer == Signer::Redacted && own == Signer::Anthropic {
                        assert_eq!(back.data, signature.data, "its block says that it is redacted");
                    } else {
                        assert_eq!(back, signature, "{client:?}");
                    }
                }
            }
        }
        assert_eq!(sealed(&Signature { signer: Signer::Gemini, data: "x".into() }, Protocol::Chat), None);
        assert_eq!(opened("".into(), Signer::Anthropic), None);
    }

    #[test]
    fn a_text_goes_along_where_the_client_would_drop_it() {
        let signature = Signature { signer: Signer::Anthropic, data: "EqQ.1=_é".into() };
        for text in ["Think: 思考.", ".", "12.x"] {
            let carried = sealed_with(text, &signature, Protocol::Gemini).unwrap();
            let (back, brought) = opened_with(carried.into(), Signer::Gemini).unwrap();
            assert_eq!((&back, &*brought), (&signature, text));
        }
        for (text, client, signer) in [
            ("", Protocol::Gemini, Signer::Anthropic),
            ("x", Protocol::Anthropic, Signer::Anthropic),
            ("x", Protocol::Responses, Signer::Anthropic),
            ("x", Protocol::Gemini, Signer::OpenAi),
        ] {
            let signature = Signature { signer, data: "s".into() };
            assert_eq!(
                sealed_with(text, &signature, client),
                sealed(&signature, client),
                "{client:?} {signer:?}"
            );
        }
        for broken in ["t", "t.", "t.9.x", "t.x.y", "t.-1.y", "t.1.é"] {
            let carried = STANDARD.encode(format!("{SEAL}{broken}"));
            assert_eq!(opened_with(carried.into(), Signer::Gemini), None, "{broken}");
        }
        let (own, text) = opened_with("Own".into(), Signer::Gemini).unwrap();
        assert_eq!((own.signer, &*own.data, &*text), (Signer::Gemini, "Own", ""));
    }

    #[test]
    fn base64_is_the_usual() {
        assert_eq!(STANDARD.encode(SEAL), SEAL_IN_BASE64);
        assert_eq!(from_base64("TWFueSBoYW5kcw==").as_deref(), Some("Many hands"));
        assert_eq!(from_base64("T!"), None);
    }
}

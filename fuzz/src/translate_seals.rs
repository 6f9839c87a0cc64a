//! Signatures on their way through a client of another protocol: what comes back is what was sent, byte for byte, and under a
//! seal wherever its signer is of another family.

use tollgate::translate::unified::{Answer, Content, Part, Signature, Signer};
use tollgate::translate::{self, Back, Protocol};

/// The first byte chooses the signer.
///
/// # Panics
///
/// Where a promise is broken.
pub fn run(input: &[u8]) {
    let Some((first, data)) = input.split_first() else { return };
    let Ok(data) = std::str::from_utf8(data) else { return };
    let signers = [Signer::OpenAi, Signer::Anthropic, Signer::Redacted, Signer::Gemini];
    let signer = signers[usize::from(*first) % signers.len()];
    // A provider's own signature that looks like a seal is read as one.
    if data.is_empty() || data.starts_with("tollgate.01.") || data.starts_with("dG9sbGdhdGUuMDEu") {
        return;
    }
    // OpenAI's is two: the id of its item, and what is encrypted.
    let data = if signer == Signer::OpenAi { format!("rs_{}:{data}", data.len()) } else { data.to_owned() };
    let signature = Signature { signer, data: data.into() };
    let content = Content::Reasoning { text: "hm".into(), signature: Some(signature.clone()) };
    let answer = Answer { parts: vec![Part::new(content)], ..Answer::default() };
    for protocol in [Protocol::Responses, Protocol::Anthropic, Protocol::Gemini] {
        let (written, _) = translate::answer_body(&answer, &crate::translate_answers::client(protocol));
        let own = matches!(
            (signer, protocol),
            (Signer::OpenAi, Protocol::Responses)
                | (Signer::Anthropic | Signer::Redacted, Protocol::Anthropic)
                | (Signer::Gemini, Protocol::Gemini)
        );
        let text = String::from_utf8_lossy(&written);
        assert_eq!(text.contains("tollgate.01.") || text.contains("dG9sbGdhdGUuMDEu"), !own, "{text}");
        let read = translate::answer(protocol, &written, &Back::default()).unwrap_or_default();
        let found = read.parts.iter().find_map(|part| match &part.content {
            Content::Reasoning { signature, .. } => signature.clone(),
            _ => None,
        });
        assert_eq!(found, Some(signature.clone()), "{text}");
    }
}

//! The handshake (RFC 6455 section 4): what a client must ask, what a provider is asked, and what makes its answer one.
//!
//! The client's key goes up as it is, so the provider's proof is the client's too. Extensions are not asked for: a compressed
//! message could not be read on its way.
//! Invariants: of the subprotocols that a client names, those that carry a credential or say whose account it is go no further;
//! an answer that does not prove that the provider has understood is no answer.

use crate::code::Code;
use crate::protocol::fields::names::{
    CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use crate::protocol::fields::{Fields, printable};
use crate::protocol::http1::Garbled;
use crate::protocol::key_forms::SOCKET_CREDENTIALS;
use crate::refusal::Refusal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{StatusCode, Version};

/// Whether a head asks for a WebSocket.
pub fn is_asked_for(headers: &Fields) -> bool {
    names(headers, UPGRADE, WEBSOCKET)
}

/// Refuses a request that is no handshake, and says what one would be.
pub fn check(version: Version, headers: &Fields) -> Result<(), Refusal> {
    if version != Version::HTTP_11 {
        return Err(required("WebSockets are taken over HTTP/1.1 only. Connect with HTTP/1.1"));
    }
    if !is_asked_for(headers) || !names(headers, CONNECTION, "upgrade") {
        return Err(required("There is a WebSocket at this address and nothing else. Open one"));
    }
    if single(headers, SEC_WEBSOCKET_VERSION) != Some(VERSION) {
        return Err(required("The only WebSocket version here is 13. Use it"));
    }
    let key = single(headers, SEC_WEBSOCKET_KEY).and_then(|key| STANDARD.decode(key).ok());
    if key.is_none_or(|key| key.len() != KEY_BYTES) {
        let message = "The WebSocket handshake needs one Sec-WebSocket-Key of 16 bytes in base64.";
        return Err(Refusal::new(Code::InvalidRequest, message));
    }
    Ok(())
}

fn required(message: &str) -> Refusal {
    Refusal::new(Code::WebsocketRequired, format!("{message}."))
        .header("upgrade", WEBSOCKET.to_owned())
        .header("sec-websocket-version", VERSION.to_owned())
}

/// Makes the headers that a provider gets ask for what the client's ask for.
pub fn ask(headers: &mut Fields, client: &Fields) {
    headers.remove(CONTENT_LENGTH);
    headers.remove(SEC_WEBSOCKET_EXTENSIONS);
    headers.set(UPGRADE, WEBSOCKET);
    headers.set(CONNECTION, "Upgrade");
    headers.set(SEC_WEBSOCKET_VERSION, VERSION);
    if let Some(key) = client.get(SEC_WEBSOCKET_KEY) {
        headers.set(SEC_WEBSOCKET_KEY, key);
    }
    let offered: Vec<&str> = offered(client).collect();
    if !offered.is_empty() {
        headers.set(SEC_WEBSOCKET_PROTOCOL, offered.join(", "));
    }
}

/// Whether an answer is the proof that was asked for with these headers.
pub fn check_answer(status: StatusCode, headers: &Fields, asked: &Fields) -> Result<(), Garbled> {
    if status != StatusCode::SWITCHING_PROTOCOLS {
        return Err(Garbled("it was asked for a WebSocket and answered without one"));
    }
    if !is_asked_for(headers) || !names(headers, CONNECTION, "upgrade") {
        return Err(Garbled("it switches to something else than a WebSocket"));
    }
    let key = asked.get(SEC_WEBSOCKET_KEY).unwrap_or_default();
    if single(headers, SEC_WEBSOCKET_ACCEPT) != Some(&*proof(key)) {
        return Err(Garbled("its Sec-WebSocket-Accept is not the answer to the key"));
    }
    if headers.has(SEC_WEBSOCKET_EXTENSIONS) {
        return Err(Garbled("it uses an extension that nobody asked for"));
    }
    match headers.get(SEC_WEBSOCKET_PROTOCOL).map(|value| printable(value).unwrap_or_default().trim()) {
        Some(chosen) if !offered(asked).any(|name| name == chosen) => {
            Err(Garbled("it chose a subprotocol that nobody asked for"))
        }
        _ => Ok(()),
    }
}

/// The subprotocol that the client is told, who would break off where it named some and none was chosen. A provider that chooses
/// none speaks its only one all the same.
pub fn chosen(answer: &Fields, client: &Fields) -> Option<String> {
    let own = answer.text(SEC_WEBSOCKET_PROTOCOL).or_else(|| offered(client).next());
    own.map(str::to_owned)
}

/// What the provider has to answer to a key (section 4.2.2).
pub fn proof(key: &[u8]) -> String {
    let mut digest = sha1_smol::Sha1::new();
    digest.update(key);
    digest.update(GUID);
    STANDARD.encode(digest.digest().bytes())
}

/// The subprotocols a client names that are no business between it and us.
fn offered(headers: &Fields) -> impl Iterator<Item = &str> {
    let values = headers.all(SEC_WEBSOCKET_PROTOCOL).filter_map(printable);
    let listed = values.flat_map(|value| value.split(',')).map(str::trim);
    let is_private = |name: &str| SOCKET_CREDENTIALS.iter().any(|prefix| name.starts_with(prefix));
    listed.filter(move |name| !name.is_empty() && !is_private(name)).take(SUBPROTOCOLS_MAX)
}

/// Whether a header that is a list has this word.
fn names(headers: &Fields, name: &str, word: &str) -> bool {
    headers.words(name).any(|one| one.eq_ignore_ascii_case(word.as_bytes()))
}

fn single<'a>(headers: &'a Fields, name: &'a str) -> Option<&'a str> {
    let mut values = headers.all(name);
    let first = printable(values.next()?)?;
    values.next().is_none().then_some(first.trim())
}

const WEBSOCKET: &str = "websocket";
const VERSION: &str = "13";
const KEY_BYTES: usize = 16;
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// More than any client names.
const SUBPROTOCOLS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> Fields {
        Fields::of(lines)
    }

    const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    const PROOF: (&str, &str) = ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    const UP: (&str, &str) = ("upgrade", "WebSocket");
    const ON: (&str, &str) = ("connection", "keep-alive, Upgrade");
    const OF: (&str, &str) = ("sec-websocket-version", "13");

    #[test]
    fn a_handshake_is_taken_and_what_is_none_is_told_what_one_would_be() {
        assert_eq!(check(Version::HTTP_11, &headers(&[KEY, UP, ON, OF])), Ok(()));
        for (version, lines, code) in [
            (Version::HTTP_2, &[KEY, UP, ON, OF][..], Code::WebsocketRequired),
            (Version::HTTP_10, &[KEY, UP, ON, OF], Code::WebsocketRequired),
            (Version::HTTP_11, &[], Code::WebsocketRequired),
            (Version::HTTP_11, &[KEY, UP, OF], Code::WebsocketRequired),
            (Version::HTTP_11, &[KEY, ON, OF], Code::WebsocketRequired),
            (Version::HTTP_11, &[KEY, UP, ON], Code::WebsocketRequired),
            (Version::HTTP_11, &[KEY, UP, ON, ("sec-websocket-version", "8")], Code::WebsocketRequired),
            (Version::HTTP_11, &[UP, ON, OF], Code::InvalidRequest),
            (Version::HTTP_11, &[UP, ON, OF, KEY, KEY], Code::InvalidRequest),
            (Version::HTTP_11, &[UP, ON, OF, ("sec-websocket-key", "dGhl")], Code::InvalidRequest),
            (Version::HTTP_11, &[UP, ON, OF, ("sec-websocket-key", "!")], Code::InvalidRequest),
        ] {
            let refused = check(version, &headers(lines)).unwrap_err();
            assert_eq!(refused.code, code, "{lines:?}");
        }
    }

    #[test]
    fn a_provider_is_asked_for_no_extension_and_told_no_key() {
        let all = "realtime, openai-insecure-api-key.sk-1 ,openai-organization.o,openai-project.p, openai-beta.realtime-v1";
        let client = headers(&[KEY, UP, ON, OF, ("sec-websocket-protocol", all)]);
        let mut asked = headers(&[KEY, ("sec-websocket-extensions", "permessage-deflate"), ("x-a", "b")]);
        ask(&mut asked, &client);
        assert_eq!(asked.text("sec-websocket-protocol"), Some("realtime, openai-beta.realtime-v1"));
        assert!(!asked.has("sec-websocket-extensions"));
        assert_eq!(asked.text("upgrade"), Some("websocket"));
        assert_eq!(asked.text("x-a"), Some("b"));
        let (none, own) =
            (Fields::default(), headers(&[("sec-websocket-protocol", "openai-beta.realtime-v1")]));
        assert_eq!(chosen(&none, &client).as_deref(), Some("realtime"));
        assert_eq!(chosen(&own, &client).as_deref(), Some("openai-beta.realtime-v1"));
        assert_eq!(
            chosen(&none, &headers(&[("sec-websocket-protocol", "openai-insecure-api-key.sk-1")])),
            None
        );
    }

    #[test]
    fn an_answer_without_the_proof_is_none() {
        let asked = headers(&[KEY, ("sec-websocket-protocol", "realtime")]);
        let switching = StatusCode::SWITCHING_PROTOCOLS;
        let check = |status, lines: &[(&'static str, &str)]| check_answer(status, &headers(lines), &asked);
        assert_eq!(check(switching, &[PROOF, UP, ON]), Ok(()));
        assert_eq!(check(switching, &[PROOF, UP, ON, ("sec-websocket-protocol", "realtime")]), Ok(()));
        for (status, lines) in [
            (StatusCode::OK, &[PROOF, UP, ON][..]),
            (switching, &[UP, ON]),
            (switching, &[PROOF, PROOF, UP, ON]),
            (switching, &[("sec-websocket-accept", "AAAA"), UP, ON]),
            (switching, &[PROOF, ON]),
            (switching, &[PROOF, UP]),
            (switching, &[PROOF, ("upgrade", "h2c"), ON]),
            (switching, &[PROOF, UP, ON, ("sec-websocket-extensions", "permessage-deflate")]),
            (switching, &[PROOF, UP, ON, ("sec-websocket-protocol", "other")]),
        ] {
            assert!(check(status, lines).is_err(), "{lines:?}");
        }
    }
}

//! Probabilities of tokens in each protocol's own list.
//!
//! The neutral model keeps them as chat completions writes them. Responses writes the same, with the bytes of every
//! token; Gemini has two lists, the chosen tokens and the likeliest at each place.
//! Invariant: what is written holds every member its protocol's types demand, whatever was read.

use super::json::{Array, Object, Raw, Text, array, message};
use bytes::BytesMut;

message! {
    Token {
        text["token"]: Text<'a>,
        logprob: Raw<'a>,
        bytes: Raw<'a>,
        top["top_logprobs"]: Vec<Token<'a>>,
    }
}

message! { Told { chosen["chosenCandidates"]: Vec<Chosen<'a>>, top["topCandidates"]: Vec<Top<'a>> } }
message! { Top { candidates: Vec<Chosen<'a>> } }
message! { Chosen { token: Text<'a>, id["tokenId"]: Raw<'a>, logprob["logProbability"]: Raw<'a> } }

/// The list as OpenAI's protocols write it.
pub(super) fn openai(told: &Raw<'_>, list: &mut Array<'_>) {
    for token in tokens(told) {
        list.object(|of| {
            self::token(&token, of);
            of.array("top_logprobs", |list| {
                for token in token.top.iter().flatten() {
                    list.object(|of| self::token(token, of));
                }
            });
        });
    }
}

fn tokens<'t>(told: &'t Raw<'_>) -> Vec<Token<'t>> {
    told.read().unwrap_or_default()
}

fn token(token: &Token<'_>, of: &mut Object<'_>) {
    let text = token.text.as_deref().unwrap_or_default();
    of.text("token", text).raw("logprob", token.logprob.as_ref().unwrap_or(&UNLIKELY));
    match &token.bytes {
        Some(bytes) => of.raw("bytes", bytes),
        None => of.array("bytes", |list| text.bytes().for_each(|byte| list.number(byte.into()))),
    };
}

/// What OpenAI writes for a token that is out of the question.
const UNLIKELY: Raw<'static> = Raw::known("-9999.0");

/// The lists as Gemini writes them.
pub(super) fn google(told: &Raw<'_>, candidate: &mut Object<'_>) {
    let tokens = tokens(told);
    let chosen = |token: &Token<'_>, of: &mut Object<'_>| {
        of.some("token", token.text.as_deref());
        of.raw("logProbability", token.logprob.as_ref().unwrap_or(&UNLIKELY));
    };
    candidate.object("logprobsResult", |of| {
        of.array("chosenCandidates", |list| {
            for token in &tokens {
                list.object(|of| chosen(token, of));
            }
        });
        if tokens.iter().any(|token| token.top.iter().flatten().next().is_some()) {
            of.array("topCandidates", |list| {
                for token in &tokens {
                    list.object(|of| {
                        of.array("candidates", |list| {
                            token.top.iter().flatten().for_each(|token| list.object(|of| chosen(token, of)));
                        });
                    });
                }
            });
        }
    });
}

/// Gemini's lists as one.
pub(super) fn from_google(raw: &Raw<'_>) -> Option<Raw<'static>> {
    let told: Told<'_> = raw.read()?;
    let mut top = told.top.unwrap_or_default().into_iter();
    let as_token = |of: Chosen<'_>| Token {
        text: of.token.map(Text::into_owned),
        logprob: of.logprob.map(Raw::into_owned),
        ..Token::default()
    };
    let tokens: Vec<Token<'static>> = told
        .chosen?
        .into_iter()
        .map(|chosen| {
            let others = top.next().and_then(|top| top.candidates).unwrap_or_default();
            Token { top: Some(others.into_iter().map(as_token).collect()), ..as_token(chosen) }
        })
        .collect();
    if tokens.is_empty() {
        return None;
    }
    let mut out = BytesMut::new();
    array(&mut out, |list| {
        for token in &tokens {
            list.object(|of| {
                self::token(token, of);
                of.array("top_logprobs", |list| {
                    token.top.iter().flatten().for_each(|token| list.object(|of| self::token(token, of)));
                });
            });
        }
    });
    Raw::list(String::from_utf8_lossy(&out).into_owned())
}

/// Two lists as one.
pub(super) fn joined(before: Option<Raw<'static>>, more: &Raw<'_>) -> Raw<'static> {
    match before {
        None => more.clone().into_owned(),
        Some(before) if before.json().len() > TOLD_BYTES_MAX => before,
        Some(before) => before.with_items(more),
    }
}

/// More than the tokens of the longest answer have, with twenty others each.
const TOLD_BYTES_MAX: usize = 16 << 20;

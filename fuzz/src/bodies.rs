//! Bodies of requests: what is read of one is what `serde_json` reads, and edits leave valid JSON that says the same
//! elsewhere.

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::collections::HashSet;
use tollgate::protocol::Operation;
use tollgate::protocol::inspect::{Inspection, inspect};
use tollgate::protocol::observe::estimate::request_tokens;
use tollgate::protocol::signed::Signed;
use tollgate::protocol::splice::{Edit, concat_len, splice};

/// The first byte chooses the operation.
///
/// # Panics
///
/// Where a promise is broken.
pub fn run(input: &[u8]) {
    let Some((operation, body)) = crate::operation(input) else { return };
    let body = Bytes::copy_from_slice(body);
    let oracle: Option<Value> = serde_json::from_slice(&body).ok();
    match inspect(operation, &body) {
        Ok(inspection) => {
            assert!(std::str::from_utf8(&body).is_ok(), "what is no text was taken for it");
            // What is wrong further down is left to the provider to judge; it must not hurt whoever reads it here.
            let _stripped = splice(&body, &Signed::find(operation, &body).without(&|_| true));
            if let Some(oracle) = &oracle {
                reads_the_same(operation, &inspection, &body, oracle);
                edits_keep_the_rest(operation, &inspection, &body, oracle);
            }
        }
        Err(refusal) => {
            assert_eq!(refusal.code.status(), 400, "{}", refusal.message);
            assert!(!oracle.is_some_and(|oracle| is_plain(&oracle, &body)), "{}", refusal.message);
        }
    }
    assert!(request_tokens(&body) <= body.len() as u64 + 64, "no estimate is larger than its text");
}

fn reads_the_same(operation: Operation, inspection: &Inspection, body: &Bytes, oracle: &Value) {
    assert!(oracle.is_object(), "only objects are requests");
    if let Some(model) = &inspection.model {
        assert_eq!(oracle["model"], model.name.as_str());
        let there: Option<String> = serde_json::from_slice(&body[model.at.clone()]).ok();
        assert_eq!(there.as_deref(), Some(model.name.as_str()));
    }
    let streams = match operation {
        Operation::StreamGenerateContent => true,
        Operation::ChatCompletions | Operation::Completions | Operation::Responses | Operation::Messages => {
            oracle["stream"] == true
        }
        _ => false,
    };
    assert_eq!(inspection.stream, streams);
}

fn edits_keep_the_rest(operation: Operation, inspection: &Inspection, body: &Bytes, oracle: &Value) {
    if let Some(model) = &inspection.model {
        let edited = edited(body, &[Edit::text(model.at.clone(), NAME)]);
        let mut expected = oracle.clone();
        expected["model"] = NAME.into();
        assert_eq!(edited, Some(expected));
    }
    if let Some(ask) = &inspection.ask_usage {
        let edited = edited(body, std::slice::from_ref(ask));
        assert!(edited.is_some_and(|edited| edited["stream_options"]["include_usage"] == true));
    }
    let signed = Signed::find(operation, body);
    let stripped = edited(body, &signed.without(&|_| true));
    assert!(stripped.is_some_and(|stripped| stripped["model"] == oracle["model"]));
    let untouched = splice(body, &signed.without(&|_| false));
    assert_eq!(concat_len(&untouched), body.len(), "who takes nothing away changes nothing");
}

/// What the body says with these edits; nothing, where it is no JSON any more.
fn edited(body: &Bytes, edits: &[Edit]) -> Option<Value> {
    serde_json::from_slice(&splice(body, edits).concat()).ok()
}

/// Whether there is nothing about it that could be refused: one key each, and only what every operation takes.
fn is_plain(oracle: &Value, body: &[u8]) -> bool {
    let Some(object) = oracle.as_object() else { return false };
    object.keys().all(|key| matches!(key.as_str(), "model" | "messages" | "input" | "stream" | "contents"))
        && oracle["model"].as_str().is_some_and(|model| !model.is_empty())
        && object.get("stream").is_none_or(Value::is_boolean)
        && serde_json::from_slice::<Once>(body).is_ok()
}

const NAME: &str = "another \"name\"\u{1f600}\n";

/// Any JSON in which no object has a key twice.
struct Once;

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Once {
    type Value = Self;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON without a key that is there twice")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(Self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        let mut seen = HashSet::new();
        while let Some((key, _)) = members.next_entry::<String, Self>()? {
            if !seen.insert(key) {
                return Err(serde::de::Error::custom("a key is there twice"));
            }
        }
        Ok(Self)
    }
}

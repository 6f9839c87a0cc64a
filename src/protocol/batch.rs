//! Batches of embeddings, as Gemini has them: each request in the body names the model of the path once more, and another name
//! there is refused by its provider.
//!
//! Invariants: what is found are JSON strings, in the order in which they stand; of a batch larger than any provider takes
//! nothing is, so that what is kept of it is bounded: it goes up as it came, to be refused.

use super::inspect::{ModelField, Notation, fields, range_in};
use serde::de::{Deserializer as _, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Where the requests of a batch name a model.
pub fn models(body: &[u8]) -> Vec<ModelField> {
    let Some([Some(requests)]) = fields(body, ["requests"]) else { return Vec::new() };
    let found = serde_json::Deserializer::from_str(requests.get()).deserialize_seq(Requests { body });
    found.unwrap_or_default()
}

/// Google takes a hundred.
const REQUESTS_MAX: usize = 1_000;

struct Requests<'a> {
    body: &'a [u8],
}

impl<'de> Visitor<'de> for Requests<'de> {
    type Value = Vec<ModelField>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("requests")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut requests: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        let mut seen = 0;
        while let Some(request) = requests.next_element::<&RawValue>()? {
            seen += 1;
            if seen > REQUESTS_MAX {
                return Err(A::Error::custom("more than anybody takes"));
            }
            let Some([Some(model)]) = fields(request.get().as_bytes(), ["model"]) else { continue };
            if let (Ok(name), Some(at)) =
                (serde_json::from_str(model.get()), range_in(model.get(), self.body))
            {
                found.push(ModelField { name, at, notation: Notation::Json });
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: &[&str]) {
        let found = models(body.as_bytes());
        let names: Vec<_> = found.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, expected, "{body}");
        for field in &found {
            let written: String = serde_json::from_str(&body[field.at.clone()]).unwrap();
            assert_eq!(written, field.name, "{body}");
        }
    }

    #[test]
    fn each_request_of_a_batch_names_its_model_and_nothing_else_does() {
        check(
            r#"{"requests": [{"model":"models/e","content":{"model":"no"}}, {"content":{},"model" : "models\/e"}]}"#,
            &["models/e", "models/e"],
        );
        check(r#"{"requests":[{"content":{}},{"model":null},{"model":7},7,"x",[]]}"#, &[]);
        // What stands there twice is nobody's to choose.
        check(r#"{"requests":[{"model":"a","model":"b"},{"model":"c"}]}"#, &["c"]);
        for odd in ["", "{}", "[]", r#"{"requests":{"model":"a"}}"#, r#"{"requests":"a"}"#] {
            check(odd, &[]);
        }
    }

    #[test]
    fn of_a_batch_that_nobody_takes_nothing_is_kept() {
        let of = |count: usize| format!(r#"{{"requests":[{}]}}"#, vec![r#"{"model":"e"}"#; count].join(","));
        assert_eq!(models(of(REQUESTS_MAX).as_bytes()).len(), REQUESTS_MAX);
        assert_eq!(models(of(REQUESTS_MAX + 1).as_bytes()), []);
    }
}

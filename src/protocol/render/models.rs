//! The models a key may use, as each dialect lists them.

use super::clock::rfc3339;
use crate::protocol::Dialect;
use serde_json::{Value, json};

/// The list, in the order given. `created_unix` stands for every model: nobody told us when it was made.
pub fn model_list(dialect: Dialect, names: &[&str], created_unix: u64) -> String {
    let items: Vec<Value> = names.iter().map(|name| item(dialect, name, created_unix)).collect();
    let list = match dialect {
        Dialect::OpenAi => json!({ "object": "list", "data": items }),
        Dialect::Anthropic => json!({
            "data": items,
            "has_more": false,
            "first_id": names.first(),
            "last_id": names.last(),
        }),
        Dialect::Gemini => json!({ "models": items }),
    };
    list.to_string()
}

/// One model.
pub fn model(dialect: Dialect, name: &str, created_unix: u64) -> String {
    item(dialect, name, created_unix).to_string()
}

fn item(dialect: Dialect, name: &str, created_unix: u64) -> Value {
    match dialect {
        Dialect::OpenAi => {
            json!({ "id": name, "object": "model", "created": created_unix, "owned_by": "tollgate" })
        }
        // Newer SDKs require `lifecycle`.
        Dialect::Anthropic => json!({
            "type": "model",
            "id": name,
            "display_name": name,
            "created_at": rfc3339(created_unix).text(),
            "lifecycle": "active",
        }),
        Dialect::Gemini => json!({
            "name": format!("models/{name}"),
            "displayName": name,
            "supportedGenerationMethods":
                ["generateContent", "streamGenerateContent", "countTokens", "embedContent"],
        }),
    }
}

//! Errors of providers in every dialect: a status that is one, a body that is JSON and is read as the same error.

use serde_json::Value;
use tollgate::translate::{Fault, Protocol};

/// The first byte chooses the status.
///
/// # Panics
///
/// Where a promise is broken.
pub fn run(input: &[u8]) {
    let Some((first, body)) = input.split_first() else { return };
    let status = [0, 400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504, 529, 200];
    let fault = Fault::read(status[usize::from(*first) % status.len()], body);
    assert!(!fault.message.is_empty(), "an error says something");
    for client in Protocol::ALL {
        let status = fault.client_status(client);
        assert!((400..600).contains(&status), "{status}");
        let written = fault.body(client, "0a1b");
        let value: Value = serde_json::from_slice(&written).unwrap_or_default();
        let message = value["error"]["message"].as_str();
        assert!(message.is_some_and(|message| message.ends_with(&*fault.message)), "{value}");
        let read = Fault::read(status, &written);
        assert!(read.message.ends_with(&*fault.message), "{}", String::from_utf8_lossy(&written));
        // Anthropic's word for an overload stands for a status of its own.
        let again = read.client_status(client);
        assert!(again == status || (status, again) == (503, 529), "{status} is {again}");
    }
}

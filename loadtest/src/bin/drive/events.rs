//! Server-sent events as a client reads them, by the WHATWG's rules.

/// One event: its name, where it has one, and its data.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) data: String,
}

/// The events of a body, comments and empty events left out. What stands after the last blank line counts as an event
/// too: a reader that is told of the end would otherwise miss a last event without its blank line.
pub(crate) fn events(body: &[u8]) -> Vec<Event> {
    let text = String::from_utf8_lossy(body).replace("\r\n", "\n");
    text.split("\n\n").filter_map(event).collect()
}

fn event(block: &str) -> Option<Event> {
    let mut event = Event::default();
    let mut data: Vec<&str> = Vec::new();
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut event.name),
            "data" => data.push(value),
            _ => {}
        }
    }
    event.data = data.join("\n");
    (!event.data.is_empty()).then_some(event)
}

impl Event {
    /// The provider's (or the gateway's) keep-alive.
    pub(crate) fn is_ping(&self) -> bool {
        self.name == "ping"
    }

    /// The error it tells, where it does: its code, where it says one.
    #[expect(clippy::option_option, reason = "no error, an error without a code, an error with one")]
    pub(crate) fn error(&self) -> Option<Option<String>> {
        let value: serde_json::Value = serde_json::from_str(&self.data).ok()?;
        let told = match value["type"].as_str() {
            Some("response.failed") => &value["response"]["error"],
            Some("error") | None => &value["error"],
            Some(_) => return None,
        };
        let plain = value["type"] == "error" && told.is_null();
        let error = if plain { &value } else { told };
        if error.is_null() {
            return None;
        }
        let code = error["details"][0]["reason"].as_str().or(error["code"].as_str());
        Some(code.map(str::to_owned))
    }
}

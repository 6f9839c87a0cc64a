//! What a client asks: the operations of every dialect, as the official SDKs send them.

/// Whose grammar it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Dialect {
    OpenAi,
    Anthropic,
    Gemini,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    Chat,
    ChatStream,
    Completion,
    CompletionStream,
    Responses,
    ResponsesStream,
    Embeddings,
    Messages,
    MessagesStream,
    CountTokens,
    Generate,
    GenerateStream,
    /// Gemini's stream without `alt=sse`: a JSON array that grows.
    GenerateArray,
}

impl Operation {
    pub(crate) const ALL: [Self; 13] = [
        Self::Chat,
        Self::ChatStream,
        Self::Completion,
        Self::CompletionStream,
        Self::Responses,
        Self::ResponsesStream,
        Self::Embeddings,
        Self::Messages,
        Self::MessagesStream,
        Self::CountTokens,
        Self::Generate,
        Self::GenerateStream,
        Self::GenerateArray,
    ];
    /// Those that answer with server-sent events; they are asked most.
    pub(crate) const STREAMS: [Self; 5] = [
        Self::ChatStream,
        Self::CompletionStream,
        Self::ResponsesStream,
        Self::MessagesStream,
        Self::GenerateStream,
    ];

    pub(crate) fn dialect(self) -> Dialect {
        match self {
            Self::Messages | Self::MessagesStream | Self::CountTokens => Dialect::Anthropic,
            Self::Generate | Self::GenerateStream | Self::GenerateArray => Dialect::Gemini,
            _ => Dialect::OpenAi,
        }
    }

    pub(crate) fn is_events(self) -> bool {
        Self::STREAMS.contains(&self)
    }

    pub(crate) fn path(self, model: &str) -> String {
        match self {
            Self::Chat | Self::ChatStream => "/v1/chat/completions".to_owned(),
            Self::Completion | Self::CompletionStream => "/v1/completions".to_owned(),
            Self::Responses | Self::ResponsesStream => "/v1/responses".to_owned(),
            Self::Embeddings => "/v1/embeddings".to_owned(),
            Self::Messages | Self::MessagesStream => "/v1/messages".to_owned(),
            Self::CountTokens => "/v1/messages/count_tokens".to_owned(),
            Self::Generate => format!("/v1beta/models/{model}:generateContent"),
            Self::GenerateStream => format!("/v1beta/models/{model}:streamGenerateContent?alt=sse"),
            Self::GenerateArray => format!("/v1beta/models/{model}:streamGenerateContent"),
        }
    }

    /// The body, with this text as what is asked.
    pub(crate) fn body(self, model: &str, text: &str) -> String {
        let stream = if self.is_events() { r#""stream":true,"# } else { "" };
        let messages = format!(r#""messages":[{{"role":"user","content":"{text}"}}]"#);
        match self {
            Self::Chat | Self::ChatStream => format!(r#"{{{messages},{stream}"model":"{model}"}}"#),
            Self::Completion | Self::CompletionStream => {
                format!(r#"{{"prompt":"{text}",{stream}"model":"{model}"}}"#)
            }
            Self::Responses | Self::ResponsesStream | Self::Embeddings => {
                format!(r#"{{"input":"{text}",{stream}"model":"{model}"}}"#)
            }
            Self::Messages | Self::MessagesStream => {
                format!(r#"{{"model":"{model}",{stream}"max_tokens":64,{messages}}}"#)
            }
            Self::CountTokens => format!(r#"{{"model":"{model}",{messages}}}"#),
            Self::Generate | Self::GenerateStream | Self::GenerateArray => {
                format!(r#"{{"contents":[{{"role":"user","parts":[{{"text":"{text}"}}]}}]}}"#)
            }
        }
    }
}

/// One request, ready to be sent by either protocol.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// The number it carries in `x-chaos`, through the gateway and to the provider.
    pub(crate) number: u64,
    pub(crate) operation: Operation,
    pub(crate) model: &'static str,
    pub(crate) key: &'static str,
    pub(crate) session: u64,
    /// Length of the text that is asked.
    pub(crate) length: usize,
}

impl Question {
    pub(crate) fn path(&self) -> String {
        self.operation.path(self.model)
    }

    pub(crate) fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            (NUMBER, self.number.to_string()),
            ("content-type", "application/json".to_owned()),
            ("x-session-id", format!("session-{}", self.session)),
        ];
        match self.operation.dialect() {
            Dialect::OpenAi => headers.push(("authorization", format!("Bearer {}", self.key))),
            Dialect::Anthropic => {
                headers.push(("x-api-key", self.key.to_owned()));
                headers.push(("anthropic-version", "2023-06-01".to_owned()));
            }
            Dialect::Gemini => headers.push(("x-goog-api-key", self.key.to_owned())),
        }
        headers
    }

    pub(crate) fn body(&self) -> String {
        self.operation.body(self.model, &"why? ".repeat(self.length / 5 + 1))
    }
}

/// The header an exchange is told apart by.
pub(crate) const NUMBER: &str = "x-chaos";

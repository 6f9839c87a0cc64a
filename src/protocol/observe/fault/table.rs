//! The signs of an operator's fault, each with where its wording was seen; to know another provider's is to add a row.
//!
//! Invariant: no row can be met by what a client wrote: a word is compared whole, a message only from its beginning.

use super::Fault;
use crate::protocol::Dialect;

/// A sign and what it means.
pub(super) struct Row {
    pub(super) sign: Sign,
    pub(super) when: When,
    pub(super) fault: Fault,
}

/// Where it stands.
#[derive(Clone, Copy)]
pub(super) enum Sign {
    /// Is the `code`, `type` or `status`; a number is compared as text.
    Word(&'static str),
    /// Is a Google `details[].reason`.
    Reason(&'static str),
    /// Begins the message, in any case.
    Begins(&'static str),
}

/// When it counts.
#[derive(Clone, Copy)]
pub(super) enum When {
    Always,
    Dialect(Dialect),
    /// Where the operator chose the model's name.
    Mapped,
    /// The same, with this status, and where the message names the model: it may be about something else that the
    /// client named (a file, a cache).
    Named(u16),
    /// With this status.
    With(u16),
}

impl When {
    pub(super) fn holds(
        self,
        (dialect, status): (Dialect, u16),
        mapped: Option<&str>,
        message: &str,
    ) -> bool {
        match self {
            Self::Always => true,
            Self::Dialect(only) => dialect == only,
            Self::Mapped => mapped.is_some(),
            Self::Named(only) => status == only && mapped.is_some_and(|model| message.contains(model)),
            Self::With(only) => status == only,
        }
    }
}

const fn row(sign: Sign, when: When, fault: Fault) -> Row {
    Row { sign, when, fault }
}

/// The first row that fits counts. "Type `openai`" stands for every provider that speaks so; a word that means
/// something else elsewhere is bound to its dialect.
pub(super) const TABLE: &[Row] = {
    use Dialect::{Anthropic, Gemini};
    use Fault::{Credential, Model, Place, Request, Unpaid};
    use Sign::{Begins, Reason, Word};
    use When::{Always, Mapped, Named, With};
    &[
        // OpenRouter, 402: github.com/QwenLM/qwen-code/issues/73, tailcallhq/forgecode/issues/571,
        // anomalyco/opencode/issues/12219. It depends on max_tokens: a smaller request is served.
        row(Begins("this request requires more credits, or fewer max_tokens"), Always, Request),
        row(Begins("more credits are required to run this request"), Always, Request),
        row(Begins("prompt tokens limit exceeded"), Always, Request),
        // OpenAI, 429: Aider-AI/aider/issues/1880, continuedev/continue/issues/10602. The account's rate is smaller
        // than this one request: it never fits, and others do.
        row(Begins("request too large for"), With(429), Request),
        // Anthropic, 429: anthropics/claude-code/issues/29584 and 64982. Long prompts only.
        row(Begins("extra usage is required for long context"), When::Dialect(Anthropic), Request),
        row(Begins("usage credits are required for long context"), When::Dialect(Anthropic), Request),
        // OpenAI, 429 and 400: platform.openai.com/docs/guides/error-codes, RamiAwar/dataline/issues/175.
        row(Word("insufficient_quota"), Always, Unpaid),
        row(Word("billing_hard_limit_reached"), Always, Unpaid),
        row(Word("billing_not_active"), Always, Unpaid),
        row(Word("account_deactivated"), Always, Credential),
        // Anthropic, 402 and 400: platform.claude.com/docs/en/api/errors, anthropics/claude-code/issues/66314, 38035
        // and 72457.
        row(Word("billing_error"), Always, Unpaid),
        row(Begins("your credit balance is too low"), Always, Unpaid),
        row(Begins("credit balance is too low"), Always, Unpaid),
        row(Begins("you have reached your specified api usage limits"), Always, Unpaid),
        row(Begins("this organization has been disabled"), Always, Credential),
        // Moonshot, 429 and 403: continuedev/continue/issues/11443, MoonshotAI/Kimi-K2/issues/5.
        row(Word("exceeded_current_quota_error"), Always, Unpaid),
        row(Word("access_terminated"), Always, Credential),
        // DeepSeek, 402: api-docs.deepseek.com/quick_start/error_codes, continuedev/continue/issues/8439.
        row(Word("insufficient_balance"), Always, Unpaid),
        row(Begins("insufficient balance"), Always, Unpaid),
        // Zhipu and Z.ai, 429, in either dialect: zai-org/GLM-5/issues/148, zhayujie/CowAgent/issues/2910.
        row(Word("1113"), Always, Unpaid),
        // Alibaba Model Studio, 400: QuantumNous/new-api/pull/1401.
        row(Word("Arrearage"), Always, Unpaid),
        // One API and its relatives, 403: docs.aihubmix.com/en/FAQs/HTTP-Codes, Wei-Shaw/sub2api/issues/890.
        row(Word("insufficient_user_quota"), Always, Unpaid),
        row(Word("INSUFFICIENT_BALANCE"), Always, Unpaid),
        // SiliconFlow, 403, of paid models only: FoundationAgents/OpenManus/issues/438.
        row(Word("30011"), Always, Model),
        // Azure, 404: MicrosoftDocs/azure-docs/issues/114013.
        row(Word("DeploymentNotFound"), Always, Model),
        // Google answers 400 to a key it does not know: cloud.google.com/apis/design/errors (ErrorInfo reasons).
        row(Reason("API_KEY_INVALID"), When::Dialect(Gemini), Credential),
        row(Reason("API_KEY_EXPIRED"), When::Dialect(Gemini), Credential),
        row(Reason("API_KEY_SERVICE_BLOCKED"), When::Dialect(Gemini), Credential),
        row(Reason("CONSUMER_SUSPENDED"), When::Dialect(Gemini), Credential),
        row(Reason("SERVICE_DISABLED"), When::Dialect(Gemini), Credential),
        row(Reason("BILLING_DISABLED"), When::Dialect(Gemini), Unpaid),
        // Gemini, 429: dyad-sh/dyad/issues/3626. ("You exceeded your current quota" is its ordinary rate limit:
        // agent0ai/agent-zero/issues/403.)
        row(Begins("your prepayment credits are depleted"), Always, Unpaid),
        // Gemini, 400: ai.google.dev/gemini-api/docs/troubleshooting.
        row(Begins("user location is not supported"), Always, Place),
        // A name the operator chose and nobody knows there. OpenAI and vLLM, 404; Anthropic and Gemini, 404;
        // Moonshot, 404: mozilla-ai/any-llm/issues/778; DeepSeek, 400; SiliconFlow, 400:
        // docs.siliconflow.com/en/faqs/error-code; Zhipu, 400: esengine/DeepSeek-Reasonix/issues/6858; OpenRouter, 404
        // and 400: langgenius/dify-official-plugins/issues/1531.
        row(Word("model_not_found"), Mapped, Model),
        row(Word("invalid_model"), Mapped, Model),
        row(Word("ModelNotFound"), Mapped, Model),
        row(Word("not_found_error"), Named(404), Model),
        row(Word("not_found"), Named(404), Model),
        row(Word("NOT_FOUND"), Named(404), Model),
        row(Word("NotFoundError"), Named(404), Model),
        row(Word("resource_not_found_error"), Named(404), Model),
        row(Word("20012"), Mapped, Model),
        row(Word("1211"), Mapped, Model),
        row(Begins("no endpoints found for"), Named(404), Model),
        row(Begins("model not exist"), Mapped, Model),
        row(Begins("model not found"), Mapped, Model),
        row(Begins("unknown model"), Mapped, Model),
    ]
};

/// The statuses that errors inside a stream stand for. Anthropic: platform.claude.com/docs/en/api/errors; Google:
/// google.rpc.Code in cloud.google.com/apis/design/errors; OpenAI: platform.openai.com/docs/guides/error-codes.
pub(super) const STATUSES: &[(&str, u16)] = &[
    ("invalid_request_error", 400),
    ("invalid_prompt", 400),
    ("context_length_exceeded", 400),
    ("content_filter", 400),
    ("INVALID_ARGUMENT", 400),
    ("FAILED_PRECONDITION", 400),
    ("OUT_OF_RANGE", 400),
    ("authentication_error", 401),
    ("UNAUTHENTICATED", 401),
    ("billing_error", 402),
    ("permission_error", 403),
    ("PERMISSION_DENIED", 403),
    ("not_found_error", 404),
    ("NOT_FOUND", 404),
    ("request_too_large", 413),
    ("rate_limit_error", 429),
    ("rate_limit_exceeded", 429),
    ("RESOURCE_EXHAUSTED", 429),
    ("api_error", 500),
    ("server_error", 500),
    ("INTERNAL", 500),
    ("UNAVAILABLE", 503),
    ("DEADLINE_EXCEEDED", 504),
    ("timeout_error", 504),
    ("overloaded_error", 529),
];

//! The table of channel types.

use super::{Cloud, Kind, Of, Quirk, Root, Speaks};
use crate::config::snapshot::CredentialForm::{
    self, ApiKey, Bearer, ClaudeToken, Identity, XApiKey, XGoogApiKey,
};
use crate::config::snapshot::Naming;
use crate::protocol::{Dialect, Operation as Op, Protocol};

/// In the order of the documentation.
pub(super) const KINDS: &[Kind] = &[
    // Anything compatible, too, so it has every operation, and chat completions come first: fewer have responses.
    // https://platform.openai.com/docs/api-reference
    Kind {
        name: "openai",
        origin: Some("https://api.openai.com/v1"),
        speaks: &[chat(USUAL), Speaks { counts: true, ..responses(USUAL) }],
        other: USUAL,
        operations: None,
        ..COMPATIBLE
    },
    // https://platform.claude.com/docs/en/api/overview
    Kind {
        name: "anthropic",
        dialect: Dialect::Anthropic,
        origin: Some("https://api.anthropic.com"),
        speaks: &[Speaks { counts: true, ..messages(USUAL, XApiKey) }],
        other: USUAL,
        operations: None,
        ..COMPATIBLE
    },
    // https://ai.google.dev/api
    Kind {
        name: "gemini",
        dialect: Dialect::Gemini,
        origin: Some("https://generativelanguage.googleapis.com"),
        speaks: &[Speaks { counts: true, ..spoken(Protocol::Gemini, USUAL, XGoogApiKey) }],
        other: USUAL,
        operations: None,
        ..COMPATIBLE
    },
    // https://code.claude.com/docs/en/authentication, https://platform.claude.com/docs/en/models/overview
    Kind {
        name: "claude-code",
        dialect: Dialect::Anthropic,
        origin: Some("https://api.anthropic.com"),
        speaks: &[Speaks { counts: true, ..messages(USUAL, ClaudeToken) }],
        other: USUAL,
        operations: None,
        quirks: &[Quirk::OwnAddressOnly],
        models: &[
            "claude-fable-5-1",
            "claude-opus-5-5",
            "claude-sonnet-5-5",
            "claude-haiku-5-5",
            "claude-opus-5",
            "claude-sonnet-5",
            "claude-haiku-4-5",
            "claude-haiku-4-5-20251001",
        ],
        ..COMPATIBLE
    },
    // https://learn.microsoft.com/azure/foundry/openai/api-version-lifecycle
    Kind {
        name: "azure-openai",
        speaks: &[
            Speaks { credential: ApiKey, ..chat(AZURE) },
            Speaks { credential: ApiKey, ..responses(AZURE) },
        ],
        other: AZURE,
        operations: Some(&[
            Op::Completions,
            Op::Embeddings,
            Op::ImageGenerations,
            Op::ImageEdits,
            Op::Speech,
            Op::Transcriptions,
            Op::Translations,
            Op::Videos,
            Op::Realtime,
            Op::Files,
            Op::Uploads,
            Op::Batches,
            Op::FineTuning,
        ]),
        quirks: &[Quirk::OpenAisModels, Quirk::ApiVersion],
        ..COMPATIBLE
    },
    // https://openrouter.ai/docs/api/api-reference, and openrouter 1.3 of PyPI, the provider's own client. Its batches
    // and videos are in a form of their own.
    Kind {
        name: "openrouter",
        origin: Some("https://openrouter.ai"),
        speaks: &[chat(OPENROUTER), responses(OPENROUTER), messages(OPENROUTER, Bearer)],
        other: OPENROUTER,
        operations: Some(&[Op::Completions, Op::Embeddings, Op::Rerank, Op::Speech, Op::Transcriptions]),
        ..COMPATIBLE
    },
    // https://api-docs.deepseek.com, …/guides/anthropic_api, …/guides/responses_api
    Kind {
        name: "deepseek",
        origin: Some("https://api.deepseek.com"),
        speaks: &[chat(root("", "")), messages(root("/anthropic", "v1"), XApiKey), responses(root("", ""))],
        other: root("", ""),
        ..COMPATIBLE
    },
    // https://platform.kimi.com/docs/api/overview, …/api/messages, …/api/responses, …/api/batch
    Kind {
        name: "moonshot",
        origin: Some("https://api.moonshot.cn"),
        speaks: &[chat(V1), messages(root("/anthropic", "v1"), Bearer), responses(V1)],
        operations: Some(&[Op::Files, Op::Batches]),
        ..COMPATIBLE
    },
    // https://docs.bigmodel.cn/cn/api/introduction, …/cn/guide/develop/claude/introduction,
    // …/cn/guide/develop/responses/introduction; fine-tuning as in zhipuai 2.1 of PyPI, its own client.
    Kind {
        name: "zhipu",
        origin: Some("https://open.bigmodel.cn"),
        speaks: &[chat(GLM), messages(root("/api/anthropic", "v1"), Bearer), responses(root("/api", "v1"))],
        other: GLM,
        operations: Some(&[
            Op::Embeddings,
            Op::Rerank,
            Op::Moderations,
            Op::ImageGenerations,
            Op::Speech,
            Op::Transcriptions,
            Op::Files,
            Op::Batches,
            Op::FineTuning,
        ]),
        ..COMPATIBLE
    },
    // https://docs.z.ai/api-reference/introduction, https://docs.z.ai/scenario-example/develop-tools/claude
    Kind {
        name: "z-ai",
        origin: Some("https://api.z.ai"),
        speaks: &[chat(GLM), messages(root("/api/anthropic", "v1"), Bearer)],
        other: GLM,
        operations: Some(&[Op::ImageGenerations, Op::Transcriptions]),
        ..COMPATIBLE
    },
    // https://help.aliyun.com/zh/model-studio/compatibility-of-openai-with-dashscope,
    // …/anthropic-api-messages, …/compatibility-with-openai-responses-api
    Kind {
        name: "qwen",
        origin: Some("https://dashscope.aliyuncs.com"),
        speaks: &[
            chat(DASHSCOPE),
            messages(root("/apps/anthropic", "v1"), XApiKey),
            Speaks { of: Of::Some, ..responses(DASHSCOPE) },
        ],
        other: DASHSCOPE,
        operations: Some(&[Op::Completions, Op::Embeddings, Op::Files, Op::Batches]),
        ..COMPATIBLE
    },
    // https://www.volcengine.com/docs/82379/1298459, …/2655179 and …/2160841 of messages
    Kind {
        name: "doubao",
        origin: Some("https://ark.cn-beijing.volces.com"),
        speaks: &[chat(ARK), responses(ARK), messages(root("/api/compatible", "v1"), Bearer)],
        other: ARK,
        operations: Some(&[Op::Embeddings, Op::ImageGenerations, Op::Files]),
        ..COMPATIBLE
    },
    // https://platform.minimax.io/docs/api-reference/text-openai-api, …/text-anthropic-api, …/responses-create
    Kind {
        name: "minimax",
        origin: Some("https://api.minimax.io"),
        speaks: &[chat(V1), messages(root("/anthropic", "v1"), Bearer), responses(V1)],
        ..COMPATIBLE
    },
    // https://docs.siliconflow.cn/cn/api-reference/chat-completions/chat-completions, …/messages
    Kind {
        name: "siliconflow",
        origin: Some("https://api.siliconflow.cn"),
        speaks: &[chat(V1), messages(V1, Bearer)],
        operations: Some(&[
            Op::Embeddings,
            Op::Rerank,
            Op::ImageGenerations,
            Op::Speech,
            Op::Transcriptions,
            Op::Files,
            Op::Batches,
        ]),
        ..COMPATIBLE
    },
    // https://docs.x.ai/developers/rest-api-reference: chat completions are called legacy, messages deprecated.
    Kind {
        name: "xai",
        origin: Some("https://api.x.ai"),
        speaks: &[responses(V1), chat(V1)],
        operations: Some(&[Op::ImageGenerations, Op::ImageEdits, Op::Files]),
        ..COMPATIBLE
    },
    // https://docs.mistral.ai/api: strict, "Extra inputs are not permitted"; responses and speech as in mistralai 3.7 of
    // PyPI, its own client.
    Kind {
        name: "mistral",
        origin: Some("https://api.mistral.ai"),
        speaks: &[chat(V1), responses(V1)],
        operations: Some(&[Op::Embeddings, Op::Moderations, Op::Speech, Op::Transcriptions, Op::Files]),
        quirks: &[Quirk::NoStreamOptions],
        ..COMPATIBLE
    },
    // https://console.groq.com/docs/api-reference, and groq 1.7 of PyPI, its own client
    Kind {
        name: "groq",
        origin: Some("https://api.groq.com"),
        speaks: &[chat(GROQ), responses(GROQ)],
        other: GROQ,
        operations: Some(&[
            Op::Embeddings,
            Op::Speech,
            Op::Transcriptions,
            Op::Translations,
            Op::Files,
            Op::Batches,
        ]),
        ..COMPATIBLE
    },
    // https://docs.cohere.com/docs/compatibility-api, https://docs.cohere.com/reference/rerank
    Kind {
        name: "cohere",
        origin: Some("https://api.cohere.ai"),
        speaks: &[chat(COHERE)],
        other: COHERE,
        operations: Some(&[Op::Embeddings, Op::Rerank, Op::Transcriptions]),
        rerank: Some(USUAL),
        quirks: &[Quirk::NoStreamOptions],
        ..COMPATIBLE
    },
    // https://jina.ai/embeddings, https://jina.ai/reranker
    Kind {
        name: "jina",
        origin: Some("https://api.jina.ai"),
        operations: Some(&[Op::Embeddings, Op::Rerank]),
        ..COMPATIBLE
    },
    // https://docs.ollama.com/api/openai-compatibility, https://docs.ollama.com/api/anthropic-compatibility
    Kind {
        name: "ollama",
        origin: Some("http://127.0.0.1:11434"),
        speaks: &[chat(V1), responses(V1), messages(V1, Bearer)],
        operations: Some(&[Op::Completions, Op::Embeddings]),
        quirks: &[Quirk::Keyless],
        ..COMPATIBLE
    },
    // https://docs.vllm.ai/en/stable/serving/online_serving.html
    Kind {
        name: "vllm",
        origin: Some("http://127.0.0.1:8000"),
        speaks: &[chat(V1), responses(V1), Speaks { counts: true, ..messages(V1, Bearer) }],
        operations: Some(&[
            Op::Completions,
            Op::Embeddings,
            Op::Rerank,
            Op::Transcriptions,
            Op::Translations,
        ]),
        rerank: Some(USUAL),
        quirks: &[Quirk::Keyless],
        ..COMPATIBLE
    },
    // https://docs.sglang.io/docs/basic_usage/openai_api, …/anthropic_api, …/native_api; films:
    // https://docs.sglang.io/docs/sglang-diffusion/api/openai_api
    Kind {
        name: "sglang",
        origin: Some("http://127.0.0.1:30000"),
        speaks: &[chat(V1), responses(V1), Speaks { counts: true, ..messages(V1, Bearer) }],
        operations: Some(&[Op::Completions, Op::Embeddings, Op::Rerank, Op::Videos]),
        quirks: &[Quirk::Keyless],
        ..COMPATIBLE
    },
    // https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference,
    // https://platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai,
    // https://cloud.google.com/vertex-ai/generative-ai/docs/migrate/openai/overview
    Kind {
        name: "vertex",
        dialect: Dialect::Gemini,
        speaks: &[
            Speaks {
                counts: true,
                naming: Naming::Publisher,
                of: Of::Others,
                ..spoken(Protocol::Gemini, VERTEX_GOOGLE, Identity)
            },
            Speaks {
                counts: true,
                naming: Naming::RawPredict,
                of: Of::Claude,
                ..messages(VERTEX_ANTHROPIC, Identity)
            },
            Speaks { of: Of::Some, ..spoken(Protocol::Chat, VERTEX_OPENAI, Identity) },
        ],
        cloud: Some(Cloud::Google),
        ..COMPATIBLE
    },
    // https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html,
    // https://platform.claude.com/docs/en/build-with-claude/claude-on-amazon-bedrock-legacy,
    // https://docs.aws.amazon.com/bedrock/latest/userguide/inference-responses-api.html of /openai/v1
    Kind {
        name: "bedrock",
        dialect: Dialect::Anthropic,
        speaks: &[
            Speaks { naming: Naming::Invoke, of: Of::Claude, ..messages(root("", ""), Identity) },
            Speaks { of: Of::Others, ..spoken(Protocol::Chat, GROQ, Identity) },
            Speaks { of: Of::Some, ..spoken(Protocol::Responses, GROQ, Identity) },
        ],
        cloud: Some(Cloud::Aws {
            service: "bedrock",
            origin: "https://bedrock-runtime.{region}.amazonaws.com",
        }),
        ..COMPATIBLE
    },
    // https://docs.aws.amazon.com/bedrock/latest/userguide/inference-messages-api.html, …/inference-responses-api.html;
    // what it signs as is said by Anthropic's own client (`lib/bedrock/_mantle.py` of anthropic of PyPI).
    Kind {
        name: "bedrock-mantle",
        dialect: Dialect::Anthropic,
        speaks: &[
            Speaks { counts: true, of: Of::Claude, ..messages(root("/anthropic", "v1"), Identity) },
            Speaks { of: Of::Others, ..spoken(Protocol::Chat, V1, Identity) },
            Speaks { of: Of::Some, ..spoken(Protocol::Responses, V1, Identity) },
        ],
        cloud: Some(Cloud::Aws {
            service: "bedrock-mantle",
            origin: "https://bedrock-mantle.{region}.api.aws",
        }),
        ..COMPATIBLE
    },
];

/// What most rows have in common: OpenAI's shapes, and nothing that is not named.
const COMPATIBLE: Kind = Kind {
    name: "",
    dialect: Dialect::OpenAi,
    origin: None,
    speaks: &[],
    other: V1,
    operations: Some(&[]),
    rerank: None,
    cloud: None,
    quirks: &[],
    models: &[],
};

/// Whatever version the operation usually has, or the client asked for where there are several.
const USUAL: Root = Root { path: "", version: None };
const V1: Root = root("", "v1");
const AZURE: Root = root("/openai", "v1");
const OPENROUTER: Root = root("/api", "v1");
const GLM: Root = root("/api/paas", "v4");
const DASHSCOPE: Root = root("/compatible-mode", "v1");
const ARK: Root = root("/api", "v3");
const GROQ: Root = root("/openai", "v1");
const COHERE: Root = root("/compatibility", "v1");
/// What stands in braces the operator says.
const VERTEX_GOOGLE: Root = root("/v1/projects/{project}/locations/{location}/publishers/google", "");
const VERTEX_ANTHROPIC: Root = root("/v1/projects/{project}/locations/{location}/publishers/anthropic", "");
const VERTEX_OPENAI: Root = root("/v1/projects/{project}/locations/{location}/endpoints/openapi", "");

const fn root(path: &'static str, version: &'static str) -> Root {
    Root { path, version: Some(version) }
}

const fn chat(root: Root) -> Speaks {
    spoken(Protocol::Chat, root, Bearer)
}

const fn responses(root: Root) -> Speaks {
    spoken(Protocol::Responses, root, Bearer)
}

const fn messages(root: Root, credential: CredentialForm) -> Speaks {
    spoken(Protocol::Anthropic, root, credential)
}

const fn spoken(protocol: Protocol, root: Root, credential: CredentialForm) -> Speaks {
    Speaks { protocol, root, credential, counts: false, naming: Naming::InBody, of: Of::All }
}

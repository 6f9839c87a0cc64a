//! Providers by the words that other gateways have for them, as channels of ours.
//!
//! A provider that speaks one of our types' dialects is that type at its own address; the rest have no row, and who names them
//! hears so. Addresses are the providers' own, as their documents give them for OpenAI's clients.

/// A provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Provider {
    /// Our type of channel.
    pub(super) kind: &'static str,
    /// Where it is; `None`: where the type is by itself.
    pub(super) base_url: Option<&'static str>,
    /// What comes after an address of the operator's own, where that has no path.
    pub(super) path: &'static str,
    /// The variable that usually has its key.
    pub(super) variable: &'static str,
    /// Whether it has an address of its own.
    pub(super) hosted: bool,
}

const fn at(
    kind: &'static str,
    base_url: &'static str,
    path: &'static str,
    variable: &'static str,
) -> Provider {
    Provider { kind, base_url: Some(base_url), path, variable, hosted: true }
}

const fn own(kind: &'static str, variable: &'static str) -> Provider {
    Provider { kind, base_url: None, path: "", variable, hosted: true }
}

/// One that everybody runs at an address of their own.
const ELSEWHERE: Provider =
    Provider { kind: "openai", base_url: None, path: "", variable: "OPENAI_API_KEY", hosted: false };

pub(super) const OPENAI: Provider = own("openai", "OPENAI_API_KEY");
pub(super) const ANTHROPIC: Provider = own("anthropic", "ANTHROPIC_API_KEY");
pub(super) const GEMINI: Provider = own("gemini", "GEMINI_API_KEY");
const DEEPSEEK: Provider = at("openai", "https://api.deepseek.com", "", "DEEPSEEK_API_KEY");
const OPENROUTER: Provider = at("openai", "https://openrouter.ai/api/v1", "", "OPENROUTER_API_KEY");
const MOONSHOT: Provider = at("openai", "https://api.moonshot.cn/v1", "", "MOONSHOT_API_KEY");
const ZHIPU: Provider = at("openai", "https://open.bigmodel.cn/api/paas/v4", "/api/paas/v4", "ZHIPU_API_KEY");
const ZAI: Provider = at("openai", "https://api.z.ai/api/paas/v4", "/api/paas/v4", "ZAI_API_KEY");
const QWEN: Provider = at(
    "openai",
    "https://dashscope.aliyuncs.com/compatible-mode/v1",
    "/compatible-mode/v1",
    "DASHSCOPE_API_KEY",
);
const ARK: Provider = at("openai", "https://ark.cn-beijing.volces.com/api/v3", "/api/v3", "ARK_API_KEY");
const MINIMAX: Provider = at("openai", "https://api.minimaxi.com/v1", "", "MINIMAX_API_KEY");
const SILICONFLOW: Provider = at("openai", "https://api.siliconflow.cn/v1", "", "SILICONFLOW_API_KEY");
const XAI: Provider = at("openai", "https://api.x.ai/v1", "", "XAI_API_KEY");
const MISTRAL: Provider = at("openai", "https://api.mistral.ai/v1", "", "MISTRAL_API_KEY");
const GROQ: Provider = at("openai", "https://api.groq.com/openai/v1", "", "GROQ_API_KEY");
const TOGETHER: Provider = at("openai", "https://api.together.xyz/v1", "", "TOGETHER_API_KEY");
const JINA: Provider = at("openai", "https://api.jina.ai/v1", "", "JINA_API_KEY");
const OLLAMA: Provider = at("openai", "http://localhost:11434/v1", "/v1", "OLLAMA_API_KEY");
const STEPFUN: Provider = at("openai", "https://api.stepfun.com/v1", "", "STEPFUN_API_KEY");
const BAICHUAN: Provider = at("openai", "https://api.baichuan-ai.com/v1", "", "BAICHUAN_API_KEY");
const LINGYI: Provider = at("openai", "https://api.lingyiwanwu.com/v1", "", "LINGYIWANWU_API_KEY");
const QIANFAN: Provider = at("openai", "https://qianfan.baidubce.com/v2", "/v2", "QIANFAN_API_KEY");
const GEMINI_OPENAI: Provider = own("gemini", "GEMINI_API_KEY");

/// By LiteLLM's word before the slash of `model`, or in `custom_llm_provider` (docs.litellm.ai/docs/providers).
pub(super) fn of_litellm(word: &str) -> Option<Provider> {
    let variable = |of: Provider, variable| Provider { variable, ..of };
    Some(match word {
        "openai" | "text-completion-openai" | "responses" => OPENAI,
        "anthropic" => ANTHROPIC,
        "gemini" => GEMINI,
        "deepseek" => DEEPSEEK,
        "openrouter" => OPENROUTER,
        "moonshot" => at("openai", "https://api.moonshot.ai/v1", "", "MOONSHOT_API_KEY"),
        "zai" => ZAI,
        "dashscope" => variable(QWEN, "DASHSCOPE_API_KEY"),
        "volcengine" => variable(ARK, "VOLCENGINE_API_KEY"),
        "minimax" => at("openai", "https://api.minimax.io/v1", "", "MINIMAX_API_KEY"),
        "siliconflow" => SILICONFLOW,
        "xai" => XAI,
        "mistral" => MISTRAL,
        "groq" => GROQ,
        "together_ai" => variable(TOGETHER, "TOGETHERAI_API_KEY"),
        "fireworks_ai" => at("openai", "https://api.fireworks.ai/inference/v1", "", "FIREWORKS_API_KEY"),
        "cerebras" => at("openai", "https://api.cerebras.ai/v1", "", "CEREBRAS_API_KEY"),
        "sambanova" => at("openai", "https://api.sambanova.ai/v1", "", "SAMBANOVA_API_KEY"),
        "nvidia_nim" => at("openai", "https://integrate.api.nvidia.com/v1", "", "NVIDIA_NIM_API_KEY"),
        "voyage" => at("openai", "https://api.voyageai.com/v1", "", "VOYAGE_API_KEY"),
        "jina_ai" => variable(JINA, "JINA_AI_API_KEY"),
        "ollama" | "ollama_chat" => OLLAMA,
        "hosted_vllm" | "vllm" | "openai_like" | "custom_openai" | "lm_studio" | "llamafile"
        | "litellm_proxy" | "xinference" => ELSEWHERE,
        _ => return None,
    })
}

/// By the number that one-api has for a type (relay/channeltype/define.go).
pub(super) fn of_one_api(number: i64) -> Option<Provider> {
    Some(match number {
        1 => OPENAI,
        14 => ANTHROPIC,
        16 => ZHIPU,
        17 | 49 => QWEN,
        20 => OPENROUTER,
        24 => GEMINI,
        25 => MOONSHOT,
        26 => BAICHUAN,
        27 => MINIMAX,
        28 => MISTRAL,
        29 => GROQ,
        30 => OLLAMA,
        31 => LINGYI,
        32 => STEPFUN,
        36 => DEEPSEEK,
        39 => TOGETHER,
        40 => ARK,
        44 => SILICONFLOW,
        45 => XAI,
        47 => QIANFAN,
        51 => GEMINI_OPENAI,
        // Resellers with OpenAI's API, and whatever is compatible with it.
        2 | 4 | 5 | 6 | 7 | 8 | 9 | 10 | 12 | 13 | 50 => ELSEWHERE,
        _ => return None,
    })
}

/// By the number that New API has for a type (constant/channel.go); the same as one-api's up to 25.
pub(super) fn of_new_api(number: i64) -> Option<Provider> {
    Some(match number {
        4 => OLLAMA,
        26 => ZHIPU,
        31 => LINGYI,
        35 => MINIMAX,
        38 => JINA,
        40 => SILICONFLOW,
        42 => MISTRAL,
        43 => DEEPSEEK,
        45 => ARK,
        46 => QIANFAN,
        47 => ELSEWHERE,
        48 => XAI,
        1..=3 | 5..=25 => return of_one_api(number),
        _ => return None,
    })
}

/// By AxonHub's word for a type (internal/ent/schema/channel.go).
pub(super) fn of_axonhub(word: &str) -> Option<Provider> {
    let anthropic = |base_url| at("anthropic", base_url, "", "ANTHROPIC_API_KEY");
    Some(match word {
        "openai" | "openai_responses" => OPENAI,
        "anthropic" | "claudecode" => ANTHROPIC,
        "gemini" | "gemini_openai" => GEMINI,
        "deepseek" => DEEPSEEK,
        "deepseek_anthropic" => anthropic("https://api.deepseek.com/anthropic"),
        "doubao" | "volcengine" => ARK,
        "moonshot" | "kimi" => MOONSHOT,
        "moonshot_anthropic" | "kimi_anthropic" => anthropic("https://api.moonshot.cn/anthropic"),
        "zhipu" => ZHIPU,
        "zhipu_anthropic" => anthropic("https://open.bigmodel.cn/api/anthropic"),
        "zai" => ZAI,
        "zai_anthropic" => anthropic("https://api.z.ai/api/anthropic"),
        "minimax" => MINIMAX,
        "minimax_anthropic" => anthropic("https://api.minimaxi.com/anthropic"),
        "openrouter" => OPENROUTER,
        "siliconflow" => SILICONFLOW,
        "xai" => XAI,
        "bailian" => QWEN,
        "jina" => JINA,
        "ollama" => OLLAMA,
        "groq" => GROQ,
        "mistral" => MISTRAL,
        "longcat_anthropic" | "doubao_anthropic" | "bailian_anthropic" | "xiaomi_anthropic" => {
            Provider { kind: "anthropic", ..ELSEWHERE }
        }
        "ppio" | "longcat" | "aihubmix" | "burncloud" | "vercel" | "modelscope" | "cerebras"
        | "fireworks" | "deepinfra" | "github" | "xiaomi" | "nanogpt" | "volcengine_coding" => ELSEWHERE,
        _ => return None,
    })
}

/// An address as ours are: without an operation's path, a query, or slashes at its end; with the provider's path where it has
/// none.
pub(super) fn base_url(written: &str, provider: Provider) -> Option<String> {
    let plain = written.trim().trim_end_matches('#').split(['?', '#']).next().unwrap_or_default();
    let mut url = plain.trim_end_matches('/').to_owned();
    for operation in ["/chat/completions", "/completions", "/responses", "/embeddings", "/messages"] {
        if let Some(cut) = url.strip_suffix(operation) {
            url.truncate(cut.trim_end_matches('/').len());
        }
    }
    // Google has OpenAI's API below its own version; ours is asked in Google's own.
    if let Some(at) = url.find("/v1beta").filter(|_| provider.kind == "gemini") {
        url.truncate(at);
    }
    let (scheme, rest) = url.split_once("://")?;
    let (has_path, has_host) = (rest.contains('/'), !rest.is_empty());
    if !(scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http")) || rest.contains('@') {
        return None;
    }
    if !has_path {
        url.push_str(provider.path);
    }
    has_host.then_some(url)
}

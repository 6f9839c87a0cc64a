//! Providers by the words that other gateways have for them, as channels of ours.
//!
//! Who has a type of channel here is that type, where and as its row says (`config/compile/kinds/rows.rs`); an address stands
//! here only of who has none and speaks OpenAI's protocol, or where it is another than the row's. Who is not known at all has
//! no row here either, and who names them hears so.

/// A provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Provider {
    /// Our type of channel.
    pub(super) kind: &'static str,
    /// Where it is; `None`: where the type is by itself.
    pub(super) base_url: Option<&'static str>,
    /// The variable that usually has its key.
    pub(super) variable: &'static str,
    /// Whether it has an address of its own.
    pub(super) hosted: bool,
    /// The one protocol of its type that is meant; `None`: all of them.
    pub(super) protocol: Option<&'static str>,
}

/// A type of its own.
const fn own(kind: &'static str, variable: &'static str) -> Provider {
    Provider { kind, base_url: None, variable, hosted: true, protocol: None }
}

/// None of its own: OpenAI's protocol at this address.
const fn at(base_url: &'static str, variable: &'static str) -> Provider {
    elsewhere(own("openai", variable), base_url)
}

/// The same provider in another part of the world.
const fn elsewhere(of: Provider, base_url: &'static str) -> Provider {
    Provider { base_url: Some(base_url), ..of }
}

/// One that everybody runs at an address of their own.
const ELSEWHERE: Provider = Provider { hosted: false, ..own("openai", "OPENAI_API_KEY") };

pub(super) const OPENAI: Provider = own("openai", "OPENAI_API_KEY");
pub(super) const AZURE: Provider = own("azure-openai", "AZURE_API_KEY");
const ANTHROPIC: Provider = own("anthropic", "ANTHROPIC_API_KEY");
const GEMINI: Provider = own("gemini", "GEMINI_API_KEY");
const DEEPSEEK: Provider = own("deepseek", "DEEPSEEK_API_KEY");
const OPENROUTER: Provider = own("openrouter", "OPENROUTER_API_KEY");
const MOONSHOT: Provider = own("moonshot", "MOONSHOT_API_KEY");
const ZHIPU: Provider = own("zhipu", "ZHIPU_API_KEY");
const ZAI: Provider = own("z-ai", "ZAI_API_KEY");
const QWEN: Provider = own("qwen", "DASHSCOPE_API_KEY");
const ARK: Provider = own("doubao", "ARK_API_KEY");
const MINIMAX: Provider = own("minimax", "MINIMAX_API_KEY");
/// The other gateways named here mean the one in China.
const MINIMAX_CN: Provider = elsewhere(MINIMAX, "https://api.minimaxi.com");
const SILICONFLOW: Provider = own("siliconflow", "SILICONFLOW_API_KEY");
const XAI: Provider = own("xai", "XAI_API_KEY");
const MISTRAL: Provider = own("mistral", "MISTRAL_API_KEY");
const GROQ: Provider = own("groq", "GROQ_API_KEY");
const COHERE: Provider = own("cohere", "COHERE_API_KEY");
const JINA: Provider = own("jina", "JINA_API_KEY");
const OLLAMA: Provider = own("ollama", "OLLAMA_API_KEY");
const VLLM: Provider = Provider { kind: "vllm", ..ELSEWHERE };
const TOGETHER: Provider = at("https://api.together.xyz/v1", "TOGETHER_API_KEY");
const STEPFUN: Provider = at("https://api.stepfun.com/v1", "STEPFUN_API_KEY");
const BAICHUAN: Provider = at("https://api.baichuan-ai.com/v1", "BAICHUAN_API_KEY");
const LINGYI: Provider = at("https://api.lingyiwanwu.com/v1", "LINGYIWANWU_API_KEY");
const QIANFAN: Provider = at("https://qianfan.baidubce.com/v2", "QIANFAN_API_KEY");

/// By LiteLLM's word before the slash of `model`, or in `custom_llm_provider` (docs.litellm.ai/docs/providers).
pub(super) fn of_litellm(word: &str) -> Option<Provider> {
    let variable = |of: Provider, variable| Provider { variable, ..of };
    Some(match word {
        "openai" | "text-completion-openai" | "responses" => OPENAI,
        "anthropic" => ANTHROPIC,
        "gemini" => GEMINI,
        "deepseek" => DEEPSEEK,
        "openrouter" => OPENROUTER,
        "moonshot" => elsewhere(MOONSHOT, "https://api.moonshot.ai"),
        "zai" => ZAI,
        "dashscope" => QWEN,
        "volcengine" => variable(ARK, "VOLCENGINE_API_KEY"),
        "minimax" => MINIMAX,
        "siliconflow" => SILICONFLOW,
        "xai" => XAI,
        "mistral" => MISTRAL,
        "groq" => GROQ,
        "together_ai" => variable(TOGETHER, "TOGETHERAI_API_KEY"),
        "fireworks_ai" => at("https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
        "cerebras" => at("https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
        "sambanova" => at("https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY"),
        "nvidia_nim" => at("https://integrate.api.nvidia.com/v1", "NVIDIA_NIM_API_KEY"),
        "voyage" => at("https://api.voyageai.com/v1", "VOYAGE_API_KEY"),
        "jina_ai" => variable(JINA, "JINA_AI_API_KEY"),
        "ollama" | "ollama_chat" => OLLAMA,
        "hosted_vllm" | "vllm" => VLLM,
        "cohere" | "cohere_chat" => COHERE,
        "openai_like" | "custom_openai" | "lm_studio" | "llamafile" | "litellm_proxy" | "xinference" => {
            ELSEWHERE
        }
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
        24 | 51 => GEMINI,
        25 => MOONSHOT,
        26 => BAICHUAN,
        27 => MINIMAX_CN,
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
        35 => MINIMAX_CN,
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
    let anthropic = |of: Provider| Provider { protocol: Some("anthropic"), ..of };
    Some(match word {
        "openai" | "openai_responses" => OPENAI,
        "anthropic" | "claudecode" => ANTHROPIC,
        "gemini" | "gemini_openai" => GEMINI,
        "deepseek" => DEEPSEEK,
        "deepseek_anthropic" => anthropic(DEEPSEEK),
        "doubao" | "volcengine" => ARK,
        "moonshot" | "kimi" => MOONSHOT,
        "moonshot_anthropic" | "kimi_anthropic" => anthropic(MOONSHOT),
        "zhipu" => ZHIPU,
        "zhipu_anthropic" => anthropic(ZHIPU),
        "zai" => ZAI,
        "zai_anthropic" => anthropic(ZAI),
        "minimax" => MINIMAX_CN,
        "minimax_anthropic" => anthropic(MINIMAX_CN),
        "openrouter" => OPENROUTER,
        "siliconflow" => SILICONFLOW,
        "xai" => XAI,
        "bailian" => QWEN,
        "jina" => JINA,
        "ollama" => OLLAMA,
        "groq" => GROQ,
        "mistral" => MISTRAL,
        "doubao_anthropic" => anthropic(ARK),
        "bailian_anthropic" => anthropic(QWEN),
        "longcat_anthropic" | "xiaomi_anthropic" => Provider { kind: "anthropic", ..ELSEWHERE },
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
    if !has_path && let Some((_, own)) = provider.base_url.and_then(|own| own.split_once("://")) {
        url.push_str(own.find('/').map_or("", |at| &own[at..]));
    }
    has_host.then_some(url)
}

/// A provider at an address of the operator's own, which may be one that its type knows nothing of: then it is of the
/// protocol that is meant, and nothing more.
pub(super) fn at_address(provider: Provider, url: Option<&str>) -> Provider {
    let path = |url: &str| {
        url.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map(|(_, path)| path.to_owned())
    };
    let is_known = url.and_then(path).is_none_or(|path| path.contains("anthropic"));
    match provider.protocol {
        Some(protocol) if !is_known => Provider { kind: protocol, protocol: None, ..provider },
        _ => provider,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use std::collections::BTreeSet;

    #[test]
    fn every_provider_is_a_type_of_channel_and_an_address_of_its_own_is_no_rows() {
        let schema: serde_json::Value = serde_json::from_str(&config::schema()).unwrap();
        let words = schema["$defs"]["Channel"]["properties"]["type"]["enum"].as_array().unwrap();
        let types: BTreeSet<&str> = words.iter().filter_map(serde_json::Value::as_str).collect();
        let numbers = (0..100).flat_map(|number| [of_one_api(number), of_new_api(number)]);
        let found =
            LITELLM.iter().map(|word| of_litellm(word)).chain(AXONHUB.iter().map(|word| of_axonhub(word)));
        for provider in numbers.chain(found).flatten() {
            assert!(types.contains(provider.kind), "{provider:?}");
            let elsewhere = ["minimax", "moonshot"].contains(&provider.kind);
            assert!(provider.base_url.is_none() || provider.kind == "openai" || elsewhere, "{provider:?}");
        }
    }

    const LITELLM: [&str; 10] = [
        "deepseek",
        "openrouter",
        "moonshot",
        "zai",
        "dashscope",
        "volcengine",
        "xai",
        "groq",
        "ollama",
        "hosted_vllm",
    ];
    const AXONHUB: [&str; 8] = [
        "deepseek_anthropic",
        "doubao",
        "kimi_anthropic",
        "zhipu",
        "minimax",
        "bailian_anthropic",
        "jina",
        "mistral",
    ];

    #[test]
    fn one_protocol_of_a_type_is_where_its_row_says_unless_the_address_is_another() {
        let deepseek = of_axonhub("deepseek_anthropic").unwrap();
        for (url, kind, protocol) in [
            (None, "deepseek", Some("anthropic")),
            (Some("https://api.deepseek.com/anthropic"), "deepseek", Some("anthropic")),
            (Some("https://proxy.example"), "deepseek", Some("anthropic")),
            (Some("https://api.example/coding"), "anthropic", None),
        ] {
            let provider = at_address(deepseek, url);
            assert_eq!((provider.kind, provider.protocol), (kind, protocol), "{url:?}");
        }
    }
}

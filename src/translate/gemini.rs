//! Gemini's generateContent. Members may be written in camel case or with underscores, as Google reads both.

pub(super) mod answer;
mod contents;
pub(super) mod decode;
pub(super) mod encode;
pub(super) mod listen;
pub(super) mod speak;
mod turns;

use super::json::{Many, Members, Raw, Text, message};

message! {
    Body {
        model: Text<'a>,
        contents: Many<'a, ContentOf<'a>>,
        system["systemInstruction", "system_instruction"]: Many<'a, ContentOf<'a>>,
        tools: Many<'a, ToolSet<'a>>,
        tool_config["toolConfig", "tool_config"]: ToolConfig<'a>,
        config["generationConfig", "generation_config"]: Config<'a>,
        cached["cachedContent", "cached_content"]: Text<'a>,
        labels: Members<'a>,
        tier["serviceTier", "service_tier"]: Text<'a>,
        store: bool,
        generate["generateContentRequest", "generate_content_request"]: Raw<'a>,
    }
}

message! { ContentOf { role: Text<'a>, parts: Many<'a, Piece<'a>> } }

message! {
    Piece {
        text: Text<'a>,
        thought: bool,
        signature["thoughtSignature", "thought_signature"]: Text<'a>,
        inline["inlineData", "inline_data"]: Blob<'a>,
        file["fileData", "file_data"]: Blob<'a>,
        call["functionCall", "function_call"]: FunctionCall<'a>,
        response["functionResponse", "function_response"]: FunctionResponse<'a>,
        code["executableCode", "executable_code"]: Raw<'a>,
        result["codeExecutionResult", "code_execution_result"]: Raw<'a>,
    }
}

message! {
    Blob {
        mime["mimeType", "mime_type"]: Text<'a>,
        data: Text<'a>,
        uri["fileUri", "file_uri"]: Text<'a>,
        name["displayName", "display_name"]: Text<'a>,
    }
}

message! { FunctionCall { id: Text<'a>, name: Text<'a>, args: Raw<'a> } }

message! {
    FunctionResponse {
        id: Text<'a>,
        name: Text<'a>,
        response: Raw<'a>,
        parts: Vec<Piece<'a>>,
    }
}

message! {
    ToolSet {
        functions["functionDeclarations", "function_declarations"]: Vec<Declaration<'a>>,
        search["googleSearch", "google_search"]: Raw<'a>,
        retrieval["googleSearchRetrieval", "google_search_retrieval"]: Raw<'a>,
    }
}

message! {
    Declaration {
        name: Text<'a>,
        description: Text<'a>,
        parameters: Raw<'a>,
        json_schema["parametersJsonSchema", "parameters_json_schema"]: Raw<'a>,
    }
}

message! {
    ToolConfig {
        calling["functionCallingConfig", "function_calling_config"]: Calling<'a>,
    }
}

message! {
    Calling {
        mode: Text<'a>,
        allowed["allowedFunctionNames", "allowed_function_names"]: Vec<Text<'a>>,
    }
}

message! {
    Config {
        temperature: f64,
        top_p["topP", "top_p"]: f64,
        top_k["topK", "top_k"]: f64,
        candidates["candidateCount", "candidate_count"]: u64,
        max_tokens["maxOutputTokens", "max_output_tokens"]: u64,
        stops["stopSequences", "stop_sequences"]: Vec<Text<'a>>,
        seed: i64,
        presence_penalty["presencePenalty", "presence_penalty"]: f64,
        frequency_penalty["frequencyPenalty", "frequency_penalty"]: f64,
        mime["responseMimeType", "response_mime_type"]: Text<'a>,
        schema["responseSchema", "response_schema"]: Raw<'a>,
        json_schema["responseJsonSchema", "response_json_schema"]: Raw<'a>,
        modalities["responseModalities", "response_modalities"]: Vec<Text<'a>>,
        told["responseLogprobs", "response_logprobs"]: bool,
        logprobs: u64,
        thinking["thinkingConfig", "thinking_config"]: ThinkingConfig<'a>,
    }
}

message! {
    ThinkingConfig {
        budget["thinkingBudget", "thinking_budget"]: i64,
        level["thinkingLevel", "thinking_level"]: Text<'a>,
        show["includeThoughts", "include_thoughts"]: bool,
    }
}

/// Whether a model thinks by levels, as those since Gemini 3 do; the others by budgets.
fn has_levels(model: &str) -> bool {
    let Some((_, rest)) = model.split_once("gemini-") else { return false };
    let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
    number.parse::<u32>().is_ok_and(|version| version >= 3)
}

/// What stands for a signature nobody made: Google's word for a call of another model's.
const UNSIGNED: &str = "skip_thought_signature_validator";

//! The table of addresses: one row per way a client, or a slip in its settings, writes one.

use super::*;

fn headers(lines: &[(&'static str, &'static str)]) -> Fields {
    Fields::of(lines)
}

fn read(method: &str, path: &str, lines: &[(&'static str, &'static str)]) -> Result<Entry, Refusal> {
    entry(&Method::from_bytes(method.as_bytes()).unwrap(), path, None, &headers(lines))
}

const ANTHROPIC: &[(&str, &str)] = &[("anthropic-version", "2023-06-01")];

/// Method, path, then: dialect and operation, the upstream's path at a bare base, the fix-up.
type Row = (&'static str, &'static str, &'static str, Operation, &'static str, Option<&'static str>);

#[rustfmt::skip]
const UNDERSTOOD: &[Row] = &[
    ("POST", "/v1/chat/completions", "openai", Operation::ChatCompletions, "/v1/chat/completions", None),
    ("POST", "/api/v1/chat/completions", "openai", Operation::ChatCompletions, "/v1/chat/completions", None),
    ("POST", "/openai/v1/chat/completions", "openai", Operation::ChatCompletions, "/v1/chat/completions", None),
    ("POST", "/v1/completions", "openai", Operation::Completions, "/v1/completions", None),
    ("POST", "/api/v1/completions", "openai", Operation::Completions, "/v1/completions", None),
    ("POST", "/v1/responses", "openai", Operation::Responses, "/v1/responses", None),
    ("POST", "/api/v1/responses", "openai", Operation::Responses, "/v1/responses", None),
    ("POST", "/openai/v1/responses", "openai", Operation::Responses, "/v1/responses", None),
    ("POST", "/v1/embeddings", "openai", Operation::Embeddings, "/v1/embeddings", None),
    ("POST", "/api/v1/embeddings", "openai", Operation::Embeddings, "/v1/embeddings", None),
    ("POST", "/v1/moderations", "openai", Operation::Moderations, "/v1/moderations", None),
    ("POST", "/v1/rerank", "openai", Operation::Rerank, "/v1/rerank", None),
    ("POST", "/v2/rerank", "openai", Operation::Rerank, "/v2/rerank", None),
    ("POST", "/api/v1/rerank", "openai", Operation::Rerank, "/v1/rerank", None),
    ("POST", "/v1/images/generations", "openai", Operation::ImageGenerations, "/v1/images/generations", None),
    ("POST", "/openai/v1/images/edits", "openai", Operation::ImageEdits, "/v1/images/edits", None),
    ("POST", "/v1/images/variations", "openai", Operation::ImageVariations, "/v1/images/variations", None),
    ("POST", "/v1/audio/speech", "openai", Operation::Speech, "/v1/audio/speech", None),
    ("POST", "/api/v1/audio/transcriptions", "openai", Operation::Transcriptions, "/v1/audio/transcriptions", None),
    ("POST", "/v1/audio/translations", "openai", Operation::Translations, "/v1/audio/translations", None),
    ("GET", "/v1/responses/resp_1", "openai", Operation::Response, "/v1/responses/resp_1", None),
    ("DELETE", "/api/v1/responses/resp_1", "openai", Operation::Response, "/v1/responses/resp_1", None),
    ("POST", "/v1/responses/resp_1/cancel", "openai", Operation::Response, "/v1/responses/resp_1/cancel", None),
    ("GET", "/v1/responses/resp_1/input_items", "openai", Operation::Response, "/v1/responses/resp_1/input_items", None),
    ("POST", "/v1/responses/input_tokens", "openai", Operation::CountResponse, "/v1/responses/input_tokens", None),
    ("POST", "/openai/v1/responses/compact", "openai", Operation::Compact, "/v1/responses/compact", None),
    ("POST", "/v1/videos", "openai", Operation::Videos, "/v1/videos", None),
    ("GET", "/v1/videos/video_1", "openai", Operation::Video, "/v1/videos/video_1", None),
    ("DELETE", "/api/v1/videos/video_1", "openai", Operation::Video, "/v1/videos/video_1", None),
    ("GET", "/openai/v1/videos/video_1/content", "openai", Operation::VideoContent, "/v1/videos/video_1/content", None),
    ("POST", "/v1/videos/video_1/remix", "openai", Operation::VideoRemix, "/v1/videos/video_1/remix", None),
    ("POST", "/v1/videos/edits", "openai", Operation::VideoRemix, "/v1/videos/edits", None),
    ("POST", "/v1/videos/extensions", "openai", Operation::VideoRemix, "/v1/videos/extensions", None),
    ("POST", "/v1/videos/videos", "openai", Operation::Videos, "/v1/videos", Some("double_operation")),
    ("GET", "/v1/models", "openai", Operation::ListModels, "/v1/models", None),
    ("GET", "/api/v1/models", "openai", Operation::ListModels, "/v1/models", None),
    ("GET", "/openai/v1/models", "openai", Operation::ListModels, "/v1/models", None),
    ("GET", "/v1/models/gpt-4.1", "openai", Operation::GetModel, "/v1/models", None),
    ("GET", "/v1/models/llama3:8b", "openai", Operation::GetModel, "/v1/models", None),
    ("GET", "/v1/models/ft:gpt-4o:org::id", "openai", Operation::GetModel, "/v1/models", None),
    ("GET", "/v1/models/deepseek/deepseek-chat", "openai", Operation::GetModel, "/v1/models", None),
    ("POST", "/v1/files", "openai", Operation::Files, "/v1/files", None),
    ("GET", "/v1/files", "openai", Operation::Files, "/v1/files", None),
    ("GET", "/v1/files/file-1", "openai", Operation::Files, "/v1/files/file-1", None),
    ("DELETE", "/api/v1/files/file-1", "openai", Operation::Files, "/v1/files/file-1", None),
    ("GET", "/v1/files/file-1/content", "openai", Operation::Files, "/v1/files/file-1/content", None),
    ("POST", "/v1/uploads/upload_1/parts", "openai", Operation::Uploads, "/v1/uploads/upload_1/parts", None),
    ("POST", "/v1/batches", "openai", Operation::Batches, "/v1/batches", None),
    ("POST", "/openai/v1/batches/batch_1/cancel", "openai", Operation::Batches, "/v1/batches/batch_1/cancel", None),
    ("GET", "/v1/fine_tuning/jobs", "openai", Operation::FineTuning, "/v1/fine_tuning/jobs", None),
    ("GET", "/v1/fine_tuning/jobs/ft-1/events", "openai", Operation::FineTuning, "/v1/fine_tuning/jobs/ft-1/events", None),
    ("POST", "/v1/messages/batches", "anthropic", Operation::MessageBatches, "/v1/messages/batches", None),
    ("GET", "/anthropic/v1/messages/batches/b_1/results", "anthropic", Operation::MessageBatches, "/v1/messages/batches/b_1/results", None),
    ("POST", "/v1/messages", "anthropic", Operation::Messages, "/v1/messages", None),
    ("POST", "/anthropic/v1/messages", "anthropic", Operation::Messages, "/v1/messages", None),
    ("POST", "/api/v1/messages", "anthropic", Operation::Messages, "/v1/messages", None),
    ("POST", "/v1/messages/count_tokens", "anthropic", Operation::CountTokens, "/v1/messages/count_tokens", None),
    ("POST", "/anthropic/v1/messages/count_tokens", "anthropic", Operation::CountTokens, "/v1/messages/count_tokens", None),
    ("GET", "/anthropic/v1/models", "anthropic", Operation::ListModels, "/v1/models", None),
    ("GET", "/anthropic/v1/models/claude", "anthropic", Operation::GetModel, "/v1/models", None),
    ("POST", "/v1beta/models/g:generateContent", "gemini", Operation::GenerateContent, "/v1beta/models/M:generateContent", None),
    ("POST", "/v1beta/models/g:streamGenerateContent", "gemini", Operation::StreamGenerateContent, "/v1beta/models/M:streamGenerateContent", None),
    ("POST", "/v1beta/models/g:countTokens", "gemini", Operation::GeminiCountTokens, "/v1beta/models/M:countTokens", None),
    ("POST", "/v1beta/models/g:embedContent", "gemini", Operation::EmbedContent, "/v1beta/models/M:embedContent", None),
    ("POST", "/v1beta/models/g:batchEmbedContents", "gemini", Operation::BatchEmbedContents, "/v1beta/models/M:batchEmbedContents", None),
    ("POST", "/v1/models/g:generateContent", "gemini", Operation::GenerateContent, "/v1/models/M:generateContent", None),
    ("POST", "/v1/models/g:streamGenerateContent", "gemini", Operation::StreamGenerateContent, "/v1/models/M:streamGenerateContent", None),
    ("POST", "/gemini/v1beta/models/g:generateContent", "gemini", Operation::GenerateContent, "/v1beta/models/M:generateContent", None),
    ("POST", "/gemini/v1/models/g:countTokens", "gemini", Operation::GeminiCountTokens, "/v1/models/M:countTokens", None),
    ("POST", "/v1beta/models/org/g:generateContent", "gemini", Operation::GenerateContent, "/v1beta/models/M:generateContent", None),
    ("GET", "/v1beta/models", "gemini", Operation::ListModels, "/v1beta/models", None),
    ("GET", "/gemini/v1beta/models", "gemini", Operation::ListModels, "/v1beta/models", None),
    ("GET", "/gemini/v1/models", "gemini", Operation::ListModels, "/v1/models", None),
    ("GET", "/v1beta/models/g", "gemini", Operation::GetModel, "/v1beta/models", None),
    ("POST", "//v1/messages", "anthropic", Operation::Messages, "/v1/messages", Some("double_slash")),
    ("POST", "/v1//messages", "anthropic", Operation::Messages, "/v1/messages", Some("double_slash")),
    ("POST", "/anthropic//v1/messages", "anthropic", Operation::Messages, "/v1/messages", Some("double_slash")),
    ("POST", "//v1//chat///completions//", "openai", Operation::ChatCompletions, "/v1/chat/completions", Some("double_slash")),
    ("POST", "/v1/chat/completions/", "openai", Operation::ChatCompletions, "/v1/chat/completions", Some("double_slash")),
    ("GET", "/v1/models/", "openai", Operation::ListModels, "/v1/models", Some("double_slash")),
    ("POST", "/v1beta//models/g:generateContent", "gemini", Operation::GenerateContent, "/v1beta/models/M:generateContent", Some("double_slash")),
    ("POST", "/v1/v1/chat/completions", "openai", Operation::ChatCompletions, "/v1/chat/completions", Some("double_version")),
    ("POST", "/v1/v1/messages", "anthropic", Operation::Messages, "/v1/messages", Some("double_version")),
    ("POST", "/api/v1/v1/messages", "anthropic", Operation::Messages, "/v1/messages", Some("double_version")),
    ("POST", "/api/v1/v1/chat/completions", "openai", Operation::ChatCompletions, "/v1/chat/completions", Some("double_version")),
    ("POST", "/anthropic/v1/v1/messages", "anthropic", Operation::Messages, "/v1/messages", Some("double_version")),
    ("GET", "/v1/v1/models", "openai", Operation::ListModels, "/v1/models", Some("double_version")),
    ("POST", "/v1/v1beta/models/g:generateContent", "gemini", Operation::GenerateContent, "/v1beta/models/M:generateContent", Some("double_version")),
    ("POST", "/v1beta/v1beta/models/g:generateContent", "gemini", Operation::GenerateContent, "/v1beta/models/M:generateContent", Some("double_version")),
    ("POST", "/chat/completions", "openai", Operation::ChatCompletions, "/v1/chat/completions", Some("missing_version")),
    ("POST", "/api/chat/completions", "openai", Operation::ChatCompletions, "/v1/chat/completions", Some("missing_version")),
    ("POST", "/openai/chat/completions", "openai", Operation::ChatCompletions, "/v1/chat/completions", Some("missing_version")),
    ("POST", "/responses", "openai", Operation::Responses, "/v1/responses", Some("missing_version")),
    ("POST", "/rerank", "openai", Operation::Rerank, "/v1/rerank", Some("missing_version")),
    ("POST", "/v1/v2/rerank", "openai", Operation::Rerank, "/v2/rerank", Some("double_version")),
    ("POST", "/audio/speech", "openai", Operation::Speech, "/v1/audio/speech", Some("missing_version")),
    ("POST", "/embeddings", "openai", Operation::Embeddings, "/v1/embeddings", Some("missing_version")),
    ("GET", "/models", "openai", Operation::ListModels, "/v1/models", Some("missing_version")),
    ("POST", "/messages", "anthropic", Operation::Messages, "/v1/messages", Some("missing_version")),
    ("POST", "/anthropic/messages", "anthropic", Operation::Messages, "/v1/messages", Some("missing_version")),
    ("POST", "/api/messages", "anthropic", Operation::Messages, "/v1/messages", Some("missing_version")),
    ("POST", "/messages/count_tokens", "anthropic", Operation::CountTokens, "/v1/messages/count_tokens", Some("missing_version")),
    ("GET", "/anthropic/models", "anthropic", Operation::ListModels, "/v1/models", Some("missing_version")),
    ("POST", "/models/g:generateContent", "gemini", Operation::GenerateContent, "/v1beta/models/M:generateContent", Some("missing_version")),
    ("POST", "/gemini/models/g:generateContent", "gemini", Operation::GenerateContent, "/v1beta/models/M:generateContent", Some("missing_version")),
    ("POST", "/v1/chat/completions/chat/completions", "openai", Operation::ChatCompletions, "/v1/chat/completions", Some("double_operation")),
    ("POST", "/chat/completions/chat/completions", "openai", Operation::ChatCompletions, "/v1/chat/completions", Some("double_operation")),
    ("POST", "/api/v1/chat/completions/chat/completions", "openai", Operation::ChatCompletions, "/v1/chat/completions", Some("double_operation")),
    ("POST", "/v1/chat/completions/v1/chat/completions", "openai", Operation::ChatCompletions, "/v1/chat/completions", Some("double_operation")),
    ("POST", "/v1/responses/responses", "openai", Operation::Responses, "/v1/responses", Some("double_operation")),
    ("POST", "/v1/messages/v1/messages", "anthropic", Operation::Messages, "/v1/messages", Some("double_operation")),
    ("POST", "/v1/messages/v1/messages/count_tokens", "anthropic", Operation::CountTokens, "/v1/messages/count_tokens", Some("double_operation")),
    ("POST", "/v1/messages/messages", "anthropic", Operation::Messages, "/v1/messages", Some("double_operation")),
    ("HEAD", "/", "openai", Operation::Probe, "/v1/models", None),
    ("HEAD", "/v1", "openai", Operation::Probe, "/v1/models", None),
    ("HEAD", "/v1/", "openai", Operation::Probe, "/v1/models", None),
    ("HEAD", "/api", "openai", Operation::Probe, "/v1/models", None),
    ("HEAD", "/api/v1", "openai", Operation::Probe, "/v1/models", None),
    ("HEAD", "/openai/v1", "openai", Operation::Probe, "/v1/models", None),
    ("HEAD", "/anthropic", "anthropic", Operation::Probe, "/v1/models", None),
    ("HEAD", "/anthropic/", "anthropic", Operation::Probe, "/v1/models", None),
    ("HEAD", "/anthropic/v1", "anthropic", Operation::Probe, "/v1/models", None),
    ("HEAD", "/v1beta", "gemini", Operation::Probe, "/v1/models", None),
    ("HEAD", "/gemini", "gemini", Operation::Probe, "/v1/models", None),
];

#[test]
fn every_spelling_leads_to_its_operation() {
    for (method, path, dialect, operation, upstream, fixup) in UNDERSTOOD {
        let entry = read(method, path, &[]).unwrap_or_else(|refusal| panic!("{method} {path}: {refusal:?}"));
        assert_eq!((entry.dialect.word(), entry.operation), (*dialect, *operation), "{method} {path}");
        assert_eq!(upstream_path(&entry, "", None, "M"), *upstream, "{method} {path}");
        assert_eq!(entry.fixup, *fixup, "{method} {path}");
        assert_eq!(dialect_of(path, &Fields::default()), entry.dialect, "{method} {path}");
    }
    assert!(UNDERSTOOD.len() >= 80);
}

#[test]
fn anthropic_version_decides_where_an_address_is_shared_and_nowhere_else() {
    for (method, path, dialect) in [
        ("GET", "/v1/models", "anthropic"),
        ("GET", "/models", "anthropic"),
        ("GET", "/api/v1/models", "anthropic"),
        ("GET", "/v1/models/claude-x", "anthropic"),
        ("GET", "/openai/v1/models", "openai"),
        ("GET", "/v1beta/models", "gemini"),
        ("POST", "/v1/chat/completions", "openai"),
        ("POST", "/v1/models/g:generateContent", "gemini"),
        ("HEAD", "/", "anthropic"),
    ] {
        assert_eq!(read(method, path, ANTHROPIC).unwrap().dialect.word(), dialect, "{method} {path}");
        assert_eq!(dialect_of(path, &headers(ANTHROPIC)).word(), dialect, "{method} {path}");
    }
}

#[test]
fn googles_sdk_is_known_where_an_address_is_shared_and_nowhere_else() {
    const GOOGLE: &[(&str, &str)] = &[("x-goog-api-client", "google-genai-sdk/3.4.0 gl-python/3.11.7")];
    for (method, path, dialect) in [
        ("GET", "/v1/models", "gemini"),
        ("GET", "/v1/models/gemini-x", "gemini"),
        ("GET", "/api/v1/models", "openai"),
        ("GET", "/openai/v1/models", "openai"),
        ("GET", "/anthropic/v1/models", "anthropic"),
        ("POST", "/v1/chat/completions", "openai"),
        ("POST", "/v1/messages", "anthropic"),
        ("GET", "/v1/files", "openai"),
        ("HEAD", "/", "gemini"),
    ] {
        assert_eq!(read(method, path, GOOGLE).unwrap().dialect.word(), dialect, "{method} {path}");
    }
    let entry = read("GET", "/v1/models", GOOGLE).unwrap();
    assert_eq!((entry.operation, entry.version), (Operation::ListModels, Some("v1")));
}

#[test]
fn the_keys_form_never_decides_the_dialect() {
    let forms = [("x-api-key", "sk-a"), ("x-goog-api-key", "sk-a"), ("authorization", "Bearer sk-a")];
    for form in forms {
        assert_eq!(read("GET", "/v1/models", &[form]).unwrap().dialect, Dialect::OpenAi);
        assert_eq!(read("POST", "/v1/messages", &[form]).unwrap().dialect, Dialect::Anthropic);
    }
}

#[test]
fn anything_else_is_a_404_that_names_the_right_base() {
    for (method, path, dialect) in [
        ("GET", "/", "openai"),
        ("POST", "/", "openai"),
        ("POST", "/v1", "openai"),
        ("POST", "/anthropic", "anthropic"),
        ("POST", "/v1/v1/v1/messages", "anthropic"),
        ("POST", "/v1/videos/characters", "openai"),
        ("GET", "/v1/videos/characters/char_1", "openai"),
        ("GET", "/v1/videos/video_1/content/x", "openai"),
        ("GET", "/v1/videos/video_1/x", "openai"),
        ("GET", "/v1/videos/a%2fb", "openai"),
        ("GET", "/anthropic/v1/videos/video_1", "openai"),
        ("POST", "/v1/images", "openai"),
        ("POST", "/v1/images/generations/x", "openai"),
        ("POST", "/v1/audio", "openai"),
        ("POST", "/v2/chat/completions", "openai"),
        ("POST", "/v2/embeddings", "openai"),
        ("POST", "/v3/rerank", "openai"),
        ("POST", "/v1beta/rerank", "openai"),
        ("POST", "/anthropic/v1/images/generations", "openai"),
        ("POST", "/v1/chat", "openai"),
        ("POST", "/v1/chat/completions/x", "openai"),
        ("POST", "/v1/chat/completions/messages", "openai"),
        ("GET", "/v1/responses/resp_1/x", "openai"),
        ("POST", "/v1/responses/resp_1/cancel/x", "openai"),
        ("POST", "/openai/v1/messages", "anthropic"),
        ("POST", "/anthropic/v1/chat/completions", "openai"),
        ("POST", "/gemini/v1/chat/completions", "openai"),
        ("POST", "/v1beta/chat/completions", "openai"),
        ("POST", "/v1beta/messages", "anthropic"),
        ("POST", "/v1beta/models/g:batchGenerateContent", "gemini"),
        ("POST", "/v1/models/g:batchGenerateContent", "gemini"),
        ("POST", "/v1beta/models/g:predict", "gemini"),
        ("POST", "/api/v1/models/g:generateContent", "gemini"),
        ("POST", "/v1beta/models/:generateContent", "gemini"),
        ("POST", "/v1beta/tunedModels/g:generateContent", "gemini"),
        ("GET", "/v2/models", "openai"),
        ("GET", "/admin", "openai"),
        ("GET", "/v1beta/x", "gemini"),
        ("GET", "/favicon.ico", "openai"),
        ("HEAD", "/nothing", "openai"),
        ("GET", "*", "openai"),
        ("GET", "", "openai"),
    ] {
        let refusal = read(method, path, &[]).expect_err(path);
        assert_eq!(refusal.code, Code::UnknownEndpoint, "{method} {path}");
        let base = if dialect == "openai" { "<this host>/v1," } else { "<this host>/," };
        assert!(refusal.message.contains(base), "{method} {path}: {}", refusal.message);
        assert_eq!(dialect_of(path, &Fields::default()).word(), dialect, "{method} {path}");
    }
    assert_eq!(read("GET", "/v1/files", ANTHROPIC).unwrap_err().code, Code::UnknownEndpoint);
}

#[test]
fn no_escape_or_dot_segment_reaches_another_operation() {
    for path in [
        "/v1/../v1/chat/completions",
        "/v1/./chat/completions",
        "/v1/%2e%2e/admin",
        "/v1/%2E./chat/completions",
        "/v1/chat%2fcompletions",
        "/v1/%63hat/completions",
        "/%761/chat/completions",
        "/v1/files/..",
        "/v1/files/../models",
        "/v1/files/%2e%2e/models",
        "/v1/files/a%2f..%2f..%2fmodels",
        "/v1/files/%252e%252e",
        "/v1/files/a\\..\\b",
        "/v1/files/a;b",
        "/v1/files/%00",
        "/v1beta/models/..%2f..%2fadmin:generateContent",
        "/v1beta/models/a%2f..%2fb:generateContent",
        "/v1beta/models/a%5c..%5cb:generateContent",
        "/v1beta/models/%2e%2e:generateContent",
        "/v1beta/models/../x:generateContent",
        "/v1beta/models/a%0d%0ab:generateContent",
        "/v1beta/models/a%zz:generateContent",
        "/v1beta/models/a%ff:generateContent",
        "/v1beta/models/a%3agenerateContent",
        "/v1/models/a%2f..",
    ] {
        for method in ["POST", "GET"] {
            let code = read(method, path, &[]).map(|entry| entry.operation).map_err(|refusal| refusal.code);
            let local = code == Ok(Operation::GetModel) || code == Err(Code::MethodNotAllowed);
            let escaped_colon = path.ends_with("a%3agenerateContent") && local;
            assert!(code == Err(Code::UnknownEndpoint) || escaped_colon, "{method} {path}: {code:?}");
        }
    }
}

#[test]
fn a_known_address_with_another_method_says_which_it_takes() {
    for (method, path, allow) in [
        ("GET", "/v1/chat/completions", "POST"),
        ("HEAD", "/v1/messages", "POST"),
        ("DELETE", "/v1/messages", "POST"),
        ("POST", "/v1/models", "GET"),
        ("POST", "/v1/models/gpt", "GET"),
        ("PUT", "/v1/files/f", "GET, POST, DELETE"),
        ("GET", "/v1beta/models/g:generateContent", "POST"),
        ("GET", "/v1/models/g:generateContent", "POST"),
        ("GET", "/v1/responses", "POST"),
    ] {
        let refusal = read(method, path, &[]).expect_err(path);
        assert_eq!(refusal.code, Code::MethodNotAllowed, "{method} {path}");
        assert_eq!(refusal.headers, [("allow", allow.to_owned())], "{method} {path}");
    }
}

#[test]
fn a_websocket_upgrade_is_told_to_post_instead() {
    for (path, upgrade) in [("/v1/responses", "websocket"), ("/responses", "h2c, WebSocket")] {
        let refusal = read("GET", path, &[("connection", "upgrade"), ("upgrade", upgrade)]).unwrap_err();
        assert_eq!(refusal.code, Code::WebsocketNotAvailable, "{path}");
    }
    assert_eq!(read("GET", "/v1/responses", &[("upgrade", "h2c")]).unwrap_err().code, Code::MethodNotAllowed);
}

#[test]
fn models_are_decoded_once_and_encoded_again() {
    for (path, model, upstream) in [
        ("/v1beta/models/gemini-2.5-pro:generateContent", "gemini-2.5-pro", "gemini-2.5-pro"),
        ("/v1beta/models/org%2Fg:generateContent", "org/g", "org%2Fg"),
        ("/v1beta/models/org/g:generateContent", "org/g", "org%2Fg"),
        ("/v1beta/models/a:b:generateContent", "a:b", "a%3Ab"),
        ("/v1beta/models/%E6%A8%A1:generateContent", "模", "%E6%A8%A1"),
        ("/v1beta/models/a%20:generateContent", "a ", "a%20"),
        ("/v1beta/models/a%3Fb%23c:generateContent", "a?b#c", "a%3Fb%23c"),
    ] {
        let entry = read("POST", path, &[]).unwrap();
        assert_eq!(entry.model.as_deref(), Some(model), "{path}");
        assert_eq!(
            upstream_path(&entry, "", None, model),
            format!("/v1beta/models/{upstream}:generateContent")
        );
    }
    let entry = read("GET", "/v1/models/org%2Fg", &[]).unwrap();
    assert_eq!(entry.model.as_deref(), Some("org/g"));
}

#[test]
fn the_upstreams_path_follows_the_channels_base_and_keeps_the_query() {
    let check = |path: &str, query: &str, base: &str, version: Option<&str>, expected: &str| {
        let entry = entry(&Method::POST, path, Some(query), &Fields::default()).unwrap();
        assert_eq!(upstream_path(&entry, base, version, "m"), expected);
    };
    check("/anthropic/v1/messages", "beta=true", "", None, "/v1/messages?beta=true");
    check("/v1/messages", "beta=true", "/anthropic/", None, "/anthropic/v1/messages?beta=true");
    check("/v1/chat/completions", "", "/api/paas", Some("v4"), "/api/paas/v4/chat/completions");
    check("/v1/chat/completions", "a=%2F&b", "/compat", Some(""), "/compat/chat/completions?a=%2F&b");
    let gemini = "/v1beta/models/g:streamGenerateContent";
    check(gemini, "key=sk-1&alt=sse", "", None, "/v1beta/models/m:streamGenerateContent?alt=sse");
    check(gemini, "alt=sse", "", Some("v1"), "/v1/models/m:streamGenerateContent?alt=sse");
}

#[test]
fn the_querys_key_counts_on_gemini_paths_and_goes_nowhere_from_any() {
    let gemini = entry(&Method::GET, "/v1beta/models", Some("key=sk-1"), &Fields::default()).unwrap();
    assert_eq!((gemini.query_key.as_deref(), gemini.query), (Some("sk-1"), None));
    let openai = entry(&Method::GET, "/v1/models", Some("key=sk-1&a=b"), &Fields::default()).unwrap();
    assert_eq!((openai.query_key, openai.query.as_deref()), (None, Some("a=b")));
}

#[test]
fn a_gemini_query_that_takes_an_answer_apart_is_refused() {
    for query in ["alt=sse&fields=candidates", "$fields=a", "%24callback=f", "callback=f"] {
        let path = "/v1beta/models/g:streamGenerateContent";
        let refusal = entry(&Method::POST, path, Some(query), &Fields::default()).unwrap_err();
        assert_eq!(refusal.code, Code::InvalidRequest, "{query}");
    }
    assert!(entry(&Method::POST, "/v1/responses", Some("fields=a"), &Fields::default()).is_ok());
}

#[test]
fn a_realtime_sessions_model_stands_in_the_query_and_goes_up_under_the_providers_name() {
    let realtime = |query: &str| entry(&Method::GET, "/v1/realtime", Some(query), &Fields::default());
    for (query, model, key, upstream) in [
        ("model=m", "m", None, Some("model=up%2Fs")),
        ("a=b%20c&%6dodel=m%2Fn&d", "m/n", None, Some("a=b%20c&model=up%2Fs&d")),
        ("key=sk-1&model=up%2Fs&api-key=x", "up/s", Some("sk-1"), Some("model=up%2Fs")),
        ("intent=transcription&model=m", "m", None, Some("intent=transcription")),
        ("intent=transcription", "gpt-4o-transcribe", None, Some("intent=transcription")),
    ] {
        let entry = realtime(query).unwrap();
        assert_eq!((entry.model.as_deref(), entry.query_key.as_deref()), (Some(model), key), "{query}");
        let sent = realtime_query(entry.query.as_deref(), (model, "up/s"), "model");
        assert_eq!(sent.as_deref(), upstream, "{query}");
    }
    assert_eq!(
        realtime_query(Some("a&model=m"), ("m", "m"), "deployment").as_deref(),
        Some("a&deployment=m")
    );
    for query in ["", "model", "model=", "model=%zz", "model=a&model=a", "call_id=rtc_1", "model=a&call_id=b"]
    {
        assert_eq!(realtime(query).unwrap_err().code, Code::InvalidRequest, "{query}");
    }
    for path in ["/v1/realtime/client_secrets", "/v1/realtime/sessions", "/v1/realtime/calls/rtc_1/accept"] {
        let refusal = entry(&Method::POST, path, None, &Fields::default()).unwrap_err();
        assert_eq!(refusal.code, Code::UnknownEndpoint);
        assert!(refusal.message.contains("/v1/realtime?model="), "{}", refusal.message);
    }
    assert_eq!(
        entry(&Method::POST, "/v1/realtime", Some("model=m"), &Fields::default()).unwrap_err().code,
        Code::MethodNotAllowed
    );
}

proptest::proptest! {
    #[test]
    fn no_path_panics_and_every_refusal_is_one_of_three(path in "/?(v1|v1beta|api|models|%2e|\\.\\.|files|:|/|[a-z%]){0,8}") {
        for method in [Method::GET, Method::POST, Method::HEAD] {
            if let Err(refusal) = entry(&method, &path, None, &Fields::default()) {
                let known = [Code::UnknownEndpoint, Code::MethodNotAllowed, Code::WebsocketNotAvailable];
                proptest::prop_assert!(known.contains(&refusal.code));
            }
        }
    }
}

//! Bodies as clients send them, and as someone would who wants two parsers to disagree.

use super::session::SESSION_BYTES_MAX;
use super::*;

const CHAT: Operation = Operation::ChatCompletions;

fn refused(operation: Operation, body: &[u8]) -> Refusal {
    let refusal = inspect(operation, body).expect_err(&String::from_utf8_lossy(&body[..body.len().min(80)]));
    assert_eq!(refusal.code, Code::InvalidRequest);
    refusal
}

#[test]
fn the_model_is_found_wherever_it_stands() {
    let check = |body: &str, name: &str, token: &str| {
        let model = inspect(CHAT, body.as_bytes()).unwrap().model.unwrap();
        assert_eq!(model.name, name, "{body}");
        assert_eq!(&body[model.at], token, "{body}");
    };
    check(r#"{"model":"m"}"#, "m", r#""m""#);
    check(r#" { "messages" : [] , "model" : "m" } "#, "m", r#""m""#);
    check(r#"{"tools":[{"model":"no"}],"model":"yes","x":{"model":"no"}}"#, "yes", r#""yes""#);
    check(r#"{"a":"\"model\":\"no\"","model":"yes"}"#, "yes", r#""yes""#);
    check(r#"{"mod\u0065l":"m"}"#, "m", r#""m""#);
    check(r#"{"model":"a\u002fb\"c"}"#, "a/b\"c", r#""a\u002fb\"c""#);
    check(r#"{"model":" m "}"#, " m ", r#"" m ""#);
    check("{\"model\":\"模型\"}", "模型", "\"模型\"");
    let late = format!(r#"{{"messages":["{}"],"model":"m"}}"#, "x".repeat(300_000));
    check(&late, "m", r#""m""#);
}

#[test]
fn a_body_two_parsers_could_read_differently_is_refused() {
    for (body, says) in [
        ("", "empty"),
        ("  \n", "empty"),
        ("\u{feff}{\"model\":\"m\"}", "byte order mark"),
        ("[1]", "not a JSON object"),
        (r#"["m",true]"#, "not a JSON object"),
        ("null", "not a JSON object"),
        ("hello", "not a JSON object"),
        (r#"{"model":"a","model":"b"}"#, "`model` appears twice"),
        (r#"{"model":"a","mod\u0065l":"b"}"#, "`model` appears twice"),
        (r#"{"model":"a","stream":true,"stream":false}"#, "`stream` appears twice"),
        (r#"{"model":"a","max_tokens":1,"max_tokens":9}"#, "`max_tokens` appears twice"),
        (r#"{"model":"a"} x"#, "not valid JSON"),
        (r#"{"model":"a"}{"model":"b"}"#, "not valid JSON"),
        (r#"{"model":"a",}"#, "not valid JSON"),
        (r"{'model':'a'}", "not valid JSON"),
        (r#"{"model":"a""#, "ends before"),
        (r#"{"model":"a","b":"#, "ends before"),
        ("{}", "`model` is missing"),
        (r#"{"model":null}"#, "`model` is missing"),
        (r#"{"x":{"model":"m"}}"#, "`model` is missing"),
        (r#"{"model":""}"#, "`model` is empty"),
        (r#"{"model":5}"#, "must be a string"),
        (r#"{"model":["m"]}"#, "must be a string"),
        (r#"{"model":"\ud800"}"#, "must be a string"),
        (r#"{"model":"m","stream":"true"}"#, "`stream` must be"),
        (r#"{"model":"m","stream":1}"#, "`stream` must be"),
    ] {
        let message = refused(CHAT, body.as_bytes()).message;
        assert!(message.contains(says), "{body}: {message}");
    }
    refused(CHAT, b"{\"model\":\"\xff\"}");
    refused(CHAT, b"{\"model\":\"m\",\"messages\":\"\xff\"}");
    refused(CHAT, b"{\"model\":\"m\",\"messages\":\"\xc0\x80\"}");
    refused(CHAT, b"{\"model\":\"m\",\"a\":\"\x01\"}");
    refused(Operation::GenerateContent, br#"{"generationConfig":{"maxOutputTokens":1,"maxOutputTokens":9}}"#);
    refused(Operation::GenerateContent, br#"{"generationConfig":{},"generation_config":{}}"#);
    refused(Operation::Messages, br#"{"model":"m","metadata":{"user_id":"a","user_id":"b"}}"#);
    refused(Operation::GenerateContent, b"[]");
}

#[test]
fn depth_and_size_cost_no_stack() {
    refused(CHAT, "[".repeat(10 << 20).as_bytes());
    refused(CHAT, format!("{{\"a\":{}", "[".repeat(10 << 20)).as_bytes());
    refused(CHAT, format!("{{\"model\":{}", "[".repeat(10 << 20)).as_bytes());
    let deep = format!(r#"{{"a":{}{},"model":"m"}}"#, "[".repeat(1 << 20), "]".repeat(1 << 20));
    assert_eq!(inspect(CHAT, deep.as_bytes()).unwrap().model.unwrap().name, "m");
}

#[test]
fn stream_and_limits_are_read_per_operation() {
    let check = |operation, body: &str, stream: bool, max_tokens: Option<u64>| {
        let found = inspect(operation, body.as_bytes()).unwrap();
        assert_eq!((found.stream, found.max_tokens), (stream, max_tokens), "{operation:?} {body}");
    };
    check(CHAT, r#"{"model":"m","stream":true,"max_tokens":5}"#, true, Some(5));
    check(CHAT, r#"{"model":"m","stream":null}"#, false, None);
    check(CHAT, r#"{"model":"m","max_tokens":5,"max_completion_tokens":9}"#, false, Some(9));
    check(CHAT, r#"{"model":"m","max_tokens":"5","max_completion_tokens":-1}"#, false, None);
    check(Operation::Responses, r#"{"model":"m","stream":true,"max_output_tokens":7}"#, true, Some(7));
    check(Operation::Messages, r#"{"model":"m","max_tokens":3,"stream":false}"#, false, Some(3));
    check(Operation::Embeddings, r#"{"model":"m","stream":true}"#, false, None);
    check(Operation::Embeddings, r#"{"model":"m","stream":"odd"}"#, false, None);
    check(Operation::CountTokens, r#"{"model":"m","stream":true}"#, false, None);
    check(Operation::GenerateContent, r#"{"stream":true}"#, false, None);
    let gemini = r#"{"contents":[],"generationConfig":{"maxOutputTokens":11}}"#;
    check(Operation::StreamGenerateContent, gemini, true, Some(11));
    check(Operation::GenerateContent, r#"{"generation_config":{"max_output_tokens":4}}"#, false, Some(4));
    check(Operation::GenerateContent, r#"{"generationConfig":[4]}"#, false, None);
}

#[test]
fn a_gemini_body_may_repeat_the_paths_model() {
    let body = br#"{"model":"models/e","content":{}}"#;
    let model = inspect(Operation::EmbedContent, body).unwrap().model.unwrap();
    assert_eq!((model.name.as_str(), &body[model.at]), ("models/e", &b"\"models/e\""[..]));
    assert_eq!(inspect(Operation::EmbedContent, b"{}").unwrap().model, None);
}

#[test]
fn operations_without_a_body_of_ours_are_not_read() {
    assert_eq!(*inspect(Operation::Files, b"--boundary").unwrap(), Inspection::default());
}

#[test]
fn sessions_are_found_in_both_forms_and_bounded() {
    let check = |body: String, claude_code: Option<&str>, cache_key: Option<&str>| {
        let session = inspect(Operation::Messages, body.as_bytes()).unwrap().session;
        let expected = Sessions {
            claude_code: claude_code.map(str::to_owned),
            prompt_cache_key: cache_key.map(str::to_owned),
        };
        assert_eq!(session, expected, "{body}");
    };
    let user =
        |id: &str| format!(r#"{{"model":"m","metadata":{{"user_id":{}}}}}"#, serde_json::Value::from(id));
    let uuid = "0d9c33b4-9e34-4e45-9b8b-2c8c1f0a4a11";
    check(
        user(&format!(r#"{{"device_id":"ab","account_uuid":"","session_id":"{uuid}"}}"#)),
        Some(uuid),
        None,
    );
    check(user(&format!("user_ab_account_{uuid}_session_{uuid}")), Some(uuid), None);
    check(user(&format!("user_ab_account__session_{uuid}")), Some(uuid), None);
    check(user("someone"), None, None);
    check(user("{broken"), None, None);
    check(user(r#"{"session_id":5}"#), None, None);
    check(user(r#"{"session_id":""}"#), None, None);
    check(user(r#"{"session_id":"a\nb"}"#), None, None);
    check(user(&format!("user_a_session_{}", "x".repeat(SESSION_BYTES_MAX + 1))), None, None);
    check(user(&format!("user_a_session_{}", "x".repeat(1 << 20))), None, None);
    check(r#"{"model":"m","metadata":"text"}"#.to_owned(), None, None);
    check(r#"{"model":"m","metadata":{"user_id":null}}"#.to_owned(), None, None);
    check(r#"{"model":"m","prompt_cache_key":"abc"}"#.to_owned(), None, Some("abc"));
    check(r#"{"model":"m","prompt_cache_key":7}"#.to_owned(), None, None);
    let openai = inspect(CHAT, user(&format!("user_ab_session_{uuid}")).as_bytes()).unwrap();
    assert_eq!(openai.session, Sessions::default(), "OpenAI's metadata is the user's own");
}

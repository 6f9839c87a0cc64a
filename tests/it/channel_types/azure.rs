//! Azure's dated API, whose paths name deployments.

use super::{ApiKey, Chat, Responses, ask, channel, compatible, expected, presented};
use crate::support::client;
use crate::support::speech::MODEL;
use crate::support::{Gateway, KEY, key};

#[tokio::test]
async fn azures_dated_api_has_deployments_in_the_path_and_its_version_in_the_query() {
    let upstream = compatible().await;
    let more = "api_version = \"2024-10-21\"";
    let text = channel("azure-openai", &upstream, ("/openai/", more)).replace("there", "gpt 4/o");
    let gateway = Gateway::start(&(text + &key())).await;
    for (path, body, target) in [
        (
            "/v1/chat/completions",
            Chat.body(MODEL, false),
            "/openai/deployments/gpt%204%2Fo/chat/completions?api-version=2024-10-21",
        ),
        (
            "/v1/chat/completions?api-version=2023-05-15&x=1",
            Chat.body(MODEL, false),
            "/openai/deployments/gpt%204%2Fo/chat/completions?x=1&api-version=2024-10-21",
        ),
        (
            "/v1/embeddings",
            format!(r#"{{"input":"a","model":"{MODEL}"}}"#),
            "/openai/deployments/gpt%204%2Fo/embeddings?api-version=2024-10-21",
        ),
        ("/v1/responses", Responses.body(MODEL, false), "/openai/responses?api-version=2024-10-21"),
    ] {
        let answer = ask(&gateway, path, &body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let sent = upstream.requests().pop().expect("it was asked");
        assert_eq!(sent.target, target, "{path}");
        assert_eq!(presented(&sent), expected(ApiKey, "azure-openai"), "{path}");
    }
    // A file goes through as a tunnel, to the same place.
    let request = client::request("GET", "/v1/files", &[("authorization", &format!("Bearer {KEY}"))], b"");
    assert_eq!(client::once(gateway.addr(), &request).await.status, 200);
    let sent = upstream.requests().pop().expect("it was asked");
    assert_eq!(sent.target, "/openai/files?api-version=2024-10-21");
    assert_eq!(presented(&sent), expected(ApiKey, "azure-openai"));
}

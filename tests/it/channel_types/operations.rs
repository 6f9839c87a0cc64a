//! The operations without a protocol: asked where a type has them, refused clearly where it does not.

use super::{ask, channel, compatible};
use crate::support::client;
use crate::support::speech::MODEL;
use crate::support::{Gateway, KEY, key};
use std::collections::BTreeMap;

/// Where the operations without a protocol are asked, of those that a type has.
const OPERATIONS: &[(&str, &[(&str, &str)])] = &[
    ("openai", &[("/v1/embeddings", "/v1/embeddings"), ("/v2/rerank", "/v2/rerank")]),
    ("azure-openai", &[("/v1/embeddings", "/openai/v1/embeddings")]),
    ("openrouter", &[("/v1/embeddings", "/api/v1/embeddings"), ("/v1/rerank", "/api/v1/rerank")]),
    (
        "zhipu",
        &[
            ("/v1/embeddings", "/api/paas/v4/embeddings"),
            ("/v1/rerank", "/api/paas/v4/rerank"),
            ("/v1/moderations", "/api/paas/v4/moderations"),
        ],
    ),
    ("qwen", &[("/v1/embeddings", "/compatible-mode/v1/embeddings")]),
    ("doubao", &[("/v1/embeddings", "/api/v3/embeddings")]),
    ("siliconflow", &[("/v1/embeddings", "/v1/embeddings"), ("/v2/rerank", "/v1/rerank")]),
    ("mistral", &[("/v1/embeddings", "/v1/embeddings"), ("/v1/moderations", "/v1/moderations")]),
    (
        "cohere",
        &[
            ("/v1/embeddings", "/compatibility/v1/embeddings"),
            ("/v2/rerank", "/v2/rerank"),
            ("/v1/rerank", "/v1/rerank"),
        ],
    ),
    ("jina", &[("/v1/embeddings", "/v1/embeddings"), ("/v1/rerank", "/v1/rerank")]),
    ("ollama", &[("/v1/embeddings", "/v1/embeddings")]),
    (
        "vllm",
        &[("/v1/embeddings", "/v1/embeddings"), ("/v1/rerank", "/v1/rerank"), ("/v2/rerank", "/v2/rerank")],
    ),
    ("sglang", &[("/v1/embeddings", "/v1/embeddings"), ("/v1/rerank", "/v1/rerank")]),
    ("groq", &[("/v1/embeddings", "/openai/v1/embeddings")]),
    // Nothing of this kind.
    ("deepseek", &[]),
    ("moonshot", &[]),
    ("z-ai", &[]),
    ("minimax", &[]),
    ("xai", &[]),
];

#[tokio::test]
async fn the_other_operations_are_asked_where_they_are_and_refused_clearly_where_they_are_not() {
    let bodies = BTreeMap::from([
        ("/v1/embeddings", r#"{"input":"a","model":"$"}"#),
        ("/v1/rerank", r#"{"query":"q","documents":["a"],"model":"$"}"#),
        ("/v2/rerank", r#"{"query":"q","documents":["a"],"model":"$"}"#),
        ("/v1/moderations", r#"{"input":"a","model":"$"}"#),
    ]);
    for (kind, has) in OPERATIONS {
        let upstream = compatible().await;
        let gateway = Gateway::start(&(channel(kind, &upstream, ("", "")) + &key())).await;
        for (path, target) in *has {
            let answer = ask(&gateway, path, &bodies[path].replace('$', MODEL)).await;
            assert_eq!(answer.status, 200, "{kind} {path}: {}", answer.text());
            let sent = upstream.requests().pop().expect("it was asked");
            assert_eq!(sent.target, *target, "{kind} {path}");
            assert_eq!(
                String::from_utf8_lossy(&sent.body),
                bodies[path].replace('$', "there"),
                "{kind} {path}"
            );
        }
        let before = upstream.request_count();
        if !has.iter().any(|(path, _)| *path == "/v1/embeddings") {
            let answer = ask(&gateway, "/v1/embeddings", &bodies["/v1/embeddings"].replace('$', MODEL)).await;
            assert_eq!((answer.status, answer.code().as_str()), (400, "untranslatable_request"), "{kind}");
            assert!(answer.text().contains("does not offer this (embeddings)"), "{}", answer.text());
            assert_eq!(upstream.request_count(), before, "{kind}");
        }
    }
}

/// Which of the operations on files and jobs a type has, and where; they go through unread.
const TUNNELS: &[(&str, &[(&str, &str)])] = &[
    (
        "azure-openai",
        &[
            ("files", "/openai/v1/files"),
            ("batches", "/openai/v1/batches"),
            ("fine_tuning/jobs", "/openai/v1/fine_tuning/jobs"),
        ],
    ),
    ("moonshot", &[("files", "/v1/files"), ("batches", "/v1/batches")]),
    (
        "zhipu",
        &[
            ("files", "/api/paas/v4/files"),
            ("batches", "/api/paas/v4/batches"),
            ("fine_tuning/jobs", "/api/paas/v4/fine_tuning/jobs"),
        ],
    ),
    ("qwen", &[("files", "/compatible-mode/v1/files"), ("batches", "/compatible-mode/v1/batches")]),
    ("doubao", &[("files", "/api/v3/files")]),
    ("siliconflow", &[("files", "/v1/files"), ("batches", "/v1/batches")]),
    ("xai", &[("files", "/v1/files")]),
    ("mistral", &[("files", "/v1/files")]),
    ("groq", &[("files", "/openai/v1/files"), ("batches", "/openai/v1/batches")]),
    ("deepseek", &[]),
    ("jina", &[]),
    ("ollama", &[]),
];

#[tokio::test]
async fn files_and_jobs_go_to_who_has_them_and_to_nobody_else() {
    for (kind, has) in TUNNELS {
        let upstream = compatible().await;
        let gateway = Gateway::start(&(channel(kind, &upstream, ("", "")) + &key())).await;
        for path in ["files", "batches", "fine_tuning/jobs"] {
            let before = upstream.request_count();
            let bearer = format!("Bearer {KEY}");
            let request = client::request("GET", &format!("/v1/{path}"), &[("authorization", &bearer)], b"");
            let answer = client::once(gateway.addr(), &request).await;
            let Some((_, target)) = has.iter().find(|(known, _)| known == &path) else {
                assert!((400..500).contains(&answer.status), "{kind} {path}: {}", answer.text());
                assert_eq!(upstream.request_count(), before, "{kind} {path}");
                continue;
            };
            assert_eq!(answer.status, 200, "{kind} {path}: {}", answer.text());
            assert_eq!(upstream.requests().pop().expect("it was asked").target, *target, "{kind} {path}");
        }
    }
}

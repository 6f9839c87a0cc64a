//! Videos as tasks: states, accounts, and what the real provider would refuse.

use crate::client::{ask, fake, get, post};

const KEY: &str = "authorization: Bearer sk-a\r\n";

#[tokio::test]
async fn a_video_is_made_told_by_its_polls_and_known_to_its_account_alone() {
    let fake = fake().await;
    let made = ask(&fake, &post("/v1/videos", KEY, r#"{"prompt":"bytes=10 a cat"}"#)).await.json();
    for (field, value) in [("status", "queued"), ("model", "sora-2"), ("seconds", "4")] {
        assert_eq!(made[field], value);
    }
    let id = made["id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/videos/{id}");
    let film = format!("{path}/content");
    let remix = || post(&format!("{path}/remix"), KEY, r#"{"prompt":"b"}"#);
    assert_eq!(ask(&fake, &get(&film, KEY)).await.status, 404, "not ready");
    assert_eq!(ask(&fake, &remix()).await.status, 400, "not completed");
    for status in ["in_progress", "completed", "completed"] {
        assert_eq!(ask(&fake, &get(&path, KEY)).await.json()["status"], status);
    }
    assert_eq!(
        ask(&fake, &get(&path, "authorization: Bearer sk-b\r\n")).await.status,
        404,
        "another account"
    );
    let whole = ask(&fake, &get(&film, KEY)).await;
    assert_eq!((whole.status, whole.body.len()), (200, 10));
    let part = ask(&fake, &get(&film, &format!("{KEY}range: bytes=2-4\r\n"))).await;
    assert_eq!((part.status, &part.body[..]), (206, &whole.body[2..5]));
    assert_eq!(ask(&fake, &remix()).await.json()["remixed_from_video_id"], id.as_str());
}

#[tokio::test]
async fn a_request_the_real_provider_would_refuse_is_refused() {
    let fake = fake().await;
    for (path, body) in [
        ("/v1/videos", r#"{"model":"sora-2"}"#),
        ("/v1/videos", r#"{"prompt":"a","seconds":4}"#),
        ("/v1/videos", r#"{"prompt":"a","seconds":"5"}"#),
        ("/v1/videos", r#"{"prompt":"a","size":"1x1"}"#),
        ("/v1/videos", r#"{"prompt":"a","stream":true}"#),
        ("/v1/videos/edits", r#"{"prompt":"a"}"#),
        ("/v1/videos/edits", r#"{"prompt":"a","video":"v"}"#),
        ("/v1/videos/extensions", r#"{"prompt":"a","video":{"id":"v"}}"#),
        ("/v1/videos", "prompt"),
    ] {
        assert_eq!(ask(&fake, &post(path, KEY, body)).await.status, 400, "{path} {body}");
    }
    let missing = ask(&fake, &post("/v1/videos/edits", KEY, r#"{"prompt":"a","video":{"id":"v"}}"#)).await;
    assert_eq!(missing.status, 404);
    assert_eq!(
        ask(&fake, &post("/v1/videos", KEY, r#"{"prompt":"a","model":"missing-model"}"#)).await.status,
        404
    );
}

//! Videos are tasks: made once, asked for many times, and always where they were made, whatever happened to the gateway since.

mod bounds;

use crate::support::ask::key_named;
use crate::support::client::{self, Answer, Ended};
use crate::support::{Gateway, KEY, channel, credential, key, provider};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::net::SocketAddr;
use tollgate_loadtest::{Fault, Provider, Selector};

const BEARER: (&str, &str) = ("authorization", "Bearer sk-test-alice-0123456789");
const BOB: (&str, &str) = ("authorization", "Bearer sk-test-bob-0123456789");
const FORM: (&str, &str) = ("content-type", "multipart/form-data; boundary=xYzZY");

/// A form of plain fields, and of a file.
fn form(fields: &[(&str, &str)], file: Option<&[u8]>) -> Vec<u8> {
    let mut form = Vec::new();
    let mut part = |head: String, value: &[u8]| {
        let head = format!("--xYzZY\r\ncontent-disposition: form-data; {head}\r\n\r\n");
        form.extend([head.as_bytes(), value, b"\r\n"].concat());
    };
    for (name, value) in fields {
        part(format!("name=\"{name}\""), value.as_bytes());
    }
    if let Some(file) = file {
        part("name=\"input_reference\"; filename=\"a.png\"\r\ncontent-type: image/png".to_owned(), file);
    }
    form.extend(b"--xYzZY--\r\n");
    form
}

/// Bytes of every value.
fn picture(size: usize) -> Vec<u8> {
    (0..size).map(|at| u8::try_from(at * 7 % 251).unwrap_or_default()).collect()
}

async fn call(addr: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: a\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    client::once(addr, format!("{request}\r\n").as_bytes()).await
}

async fn get(gateway: &Gateway, path: &str) -> Answer {
    call(gateway.addr(), "GET", path, &[BEARER]).await
}

async fn post(gateway: &Gateway, path: &str, body: &str) -> Answer {
    client::post(gateway.addr(), path, &[BEARER], body.as_bytes()).await
}

/// Makes a video; its id.
async fn make(gateway: &Gateway, prompt: &str) -> String {
    let answer =
        post(gateway, "/v1/videos", &json!({ "model": "sora-2", "prompt": prompt }).to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    id(&answer)
}

/// Makes one and asks until it is done; its id.
async fn finished(gateway: &Gateway, prompt: &str) -> String {
    let id = make(gateway, prompt).await;
    for status in ["in_progress", "completed"] {
        let answer = get(gateway, &format!("/v1/videos/{id}")).await;
        assert_eq!(answer.json()["status"], status, "{}", answer.text());
        assert_eq!(answer.json()["id"], id.as_str());
    }
    id
}

fn id(answer: &Answer) -> String {
    answer.json()["id"].as_str().unwrap_or_else(|| panic!("{}", answer.text())).to_owned()
}

/// What the provider itself says of all it has with this credential, oldest first.
async fn known(provider: &Provider, channel: &str) -> Vec<Value> {
    let bearer = format!("Bearer {}", credential(channel));
    let listed = call(provider.addr(), "GET", "/v1/videos", &[("authorization", &bearer)]).await;
    listed.json()["data"].as_array().cloned().unwrap_or_default()
}

/// How many requests of a gateway have arrived: all but those of [`known`].
fn arrived(provider: &Provider) -> usize {
    let lists = |target: &str| target == "/v1/videos";
    provider.requests().iter().filter(|sent| !(sent.method == "GET" && lists(&sent.target))).count()
}

fn is_not_found(answer: &Answer) {
    assert_eq!((answer.status, answer.code()), (404, "task_not_found".to_owned()), "{}", answer.text());
    assert_eq!(answer.header("x-should-retry"), Some("false"));
}

async fn house(more: &str) -> (Provider, Gateway) {
    let upstream = provider().await;
    let gateway = Gateway::start(&(channel("main", "openai", &upstream, more) + &key())).await;
    (upstream, gateway)
}

#[tokio::test]
async fn only_ids_and_the_models_name_differ_from_what_the_provider_says_and_gets() {
    let file = picture(300_000);
    let fields = |model| form(&[("prompt", "a cat"), ("model", model), ("seconds", "8")], Some(&file));
    let json = |model| format!(r#"{{ "prompt":"a \"model\"" , "model" :"{model}"}}"#).into_bytes();
    for (map, theirs) in
        [("", "sora-2"), ("model_map = { sora-2 = \"sora-2-2025-12-08\" }", "sora-2-2025-12-08")]
    {
        for h2 in [false, true] {
            for is_form in [false, true] {
                let (upstream, gateway) = house(map).await;
                let (kind, body, sent) = if is_form {
                    (FORM, fields("sora-2"), fields(theirs))
                } else {
                    (("content-type", "application/json"), json("sora-2"), json(theirs))
                };
                let made = if h2 {
                    client::post_h2(gateway.addr(), "/v1/videos", &[BEARER, kind], &body).await
                } else {
                    client::post(gateway.addr(), "/v1/videos", &[BEARER, kind], &body).await
                };
                assert_eq!((made.status, made.ended), (200, Ended::Whole), "{}", made.text());
                let arrived = upstream.requests().remove(0);
                assert_eq!((arrived.method.as_str(), arrived.target.as_str()), ("POST", "/v1/videos"));
                assert!(arrived.body == sent, "form={is_form} {theirs}");
                let ours = id(&made);
                let poll = format!("/v1/videos/{ours}");
                let polled = if h2 {
                    client::get_h2(gateway.addr(), &poll, &[BEARER]).await
                } else {
                    get(&gateway, &poll).await
                };
                // As it was when it was made, and as it is now.
                for (answer, asked) in [(made, 0), (polled, 1)] {
                    let mut said = known(&upstream, "main").await.remove(0);
                    let upstream_id = said["id"].as_str().expect("an id").to_owned();
                    assert_ne!(upstream_id, ours);
                    if asked == 0 {
                        (said["status"], said["progress"]) = (json!("queued"), json!(0));
                    }
                    assert_eq!(said["model"], theirs);
                    if is_form {
                        let digest = format!("{:x}", Sha256::digest(&file));
                        assert_eq!(said["input_reference_sha256"], digest);
                    }
                    let shown = said.to_string().replace(&upstream_id, &ours).replace(theirs, "sora-2");
                    assert_eq!(answer.text(), shown);
                    assert_eq!(answer.header("content-length"), Some(shown.len().to_string().as_str()));
                }
            }
        }
    }
}

#[tokio::test]
async fn a_film_comes_whole_in_parts_and_in_other_forms_without_being_held() {
    let upstream = provider().await;
    // Less than a film may be held of everything together.
    let server = "[server.limits]\nbuffered_body_bytes = \"1MiB\"\nbody_bytes = \"1MiB\"";
    let gateway = Gateway::with_server(server, &(channel("main", "openai", &upstream, "") + &key())).await;
    let ours = finished(&gateway, "bytes=12582912 of film").await;
    let theirs = known(&upstream, "main").await[0]["id"].as_str().expect("an id").to_owned();
    let bearer = format!("Bearer {}", credential("main"));
    for (query, range, status) in [
        ("", None, 200),
        ("?variant=thumbnail", None, 200),
        ("?variant=spritesheet&x=1", None, 200),
        ("", Some("bytes=1000-5000000"), 206),
        ("", Some("bytes=-7"), 206),
        ("", Some("bytes=99999999-"), 416),
        ("?variant=sound", None, 400),
    ] {
        let range: Vec<_> = range.map(|range| ("range", range)).into_iter().collect();
        let headers = |key: (&'static str, &str)| {
            [
                vec![(key.0, key.1.to_owned())],
                range.iter().map(|(name, range)| (*name, (*range).to_owned())).collect(),
            ]
            .concat()
        };
        let path = |id: &str| format!("/v1/videos/{id}/content{query}");
        let send = async |addr, key, id: &str, h2| {
            let headers = headers(key);
            let headers: Vec<(&str, &str)> =
                headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            if h2 {
                client::get_h2(addr, &path(id), &headers).await
            } else {
                call(addr, "GET", &path(id), &headers).await
            }
        };
        let own = send(upstream.addr(), ("authorization", &bearer), &theirs, false).await;
        assert_eq!(own.status, status, "{query} {range:?}");
        for h2 in [false, true] {
            let answer = send(gateway.addr(), BEARER, &ours, h2).await;
            assert_eq!((answer.status, answer.ended), (status, Ended::Whole), "{query} {range:?}");
            assert!(answer.body == own.body, "{query} {range:?} h2={h2} differs");
            for name in ["content-type", "content-length", "content-range", "accept-ranges"] {
                assert_eq!(answer.header(name), own.header(name), "{query} {range:?} {name}");
            }
        }
    }
    assert_eq!(gateway.count("tollgate_buffered_body_bytes").await, 0);
}

#[tokio::test]
async fn one_is_made_of_another_and_both_are_gone_when_they_are_deleted() {
    let (upstream, gateway) = house("model_map = { sora-2 = \"theirs\" }").await;
    let source = finished(&gateway, "a cat").await;
    let by_form = |body: Vec<u8>| (FORM, body);
    let by_json = |body: Value| (("content-type", "application/json"), body.to_string().into_bytes());
    let remix = format!("/v1/videos/{source}/remix");
    for (path, (kind, body)) in [
        (remix.as_str(), by_json(json!({ "prompt": "b" }))),
        (remix.as_str(), by_form(form(&[("prompt", "b")], None))),
        ("/v1/videos/edits", by_json(json!({ "prompt": "b", "video": { "id": source } }))),
        ("/v1/videos/edits", by_form(form(&[("prompt", "b"), ("video[id]", &source)], None))),
        (
            "/v1/videos/extensions",
            by_json(json!({ "video": { "id": source }, "prompt": "b", "seconds": "20" })),
        ),
    ] {
        let answer = client::post(gateway.addr(), path, &[BEARER, kind], &body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let said = known(&upstream, "main").await.pop().expect("a video");
        let (video, sent) =
            (answer.json(), upstream.requests().into_iter().rev().find(|sent| sent.method == "POST"));
        assert_eq!(video["remixed_from_video_id"], source.as_str());
        assert_eq!((&video["model"], &said["model"]), (&json!("sora-2"), &json!("theirs")));
        let theirs = said["remixed_from_video_id"].as_str().expect("an id").to_owned();
        let (sent, original) = (sent.expect("a request"), String::from_utf8_lossy(&body).into_owned());
        assert_eq!(String::from_utf8_lossy(&sent.body), original.replace(&source, &theirs));
        assert_eq!(sent.target, path.replace(&source, &theirs));
        let polled = get(&gateway, &format!("/v1/videos/{}", id(&answer))).await;
        assert_eq!((polled.status, &polled.json()["remixed_from_video_id"]), (200, &json!(source)));
    }
    let deleted = call(gateway.addr(), "DELETE", &format!("/v1/videos/{source}"), &[BEARER]).await;
    assert_eq!(deleted.json(), json!({ "id": source, "object": "video.deleted", "deleted": true }));
    // The provider's own word, with our id in it and its own in none.
    let gone = get(&gateway, &format!("/v1/videos/{source}")).await;
    assert_eq!(gone.status, 404);
    assert_eq!(gone.json()["error"]["message"], format!("Video with id '{source}' not found."));
    assert_eq!(gone.header("content-length"), Some(gone.body.len().to_string().as_str()));
}

#[tokio::test]
async fn another_key_a_changed_id_and_the_providers_own_reach_nothing() {
    let upstream = provider().await;
    let text =
        channel("main", "openai", &upstream, "") + &key() + &key_named("bob", "sk-test-bob-0123456789", "");
    let gateway = Gateway::start(&text).await;
    let ours = finished(&gateway, "a cat").await;
    let theirs = known(&upstream, "main").await[0]["id"].as_str().expect("an id").to_owned();
    let before = arrived(&upstream);
    let ways = |id: &str| {
        let of = |rest: &str| format!("/v1/videos/{id}{rest}");
        [("GET", of("")), ("DELETE", of("")), ("GET", of("/content")), ("POST", of("/remix"))]
    };
    for (method, path) in ways(&ours) {
        let body: &[u8] = if method == "POST" { br#"{"prompt":"b"}"# } else { b"" };
        is_not_found(&client::once(gateway.addr(), &client::request(method, &path, &[BOB], body)).await);
    }
    let edit = json!({ "prompt": "b", "video": { "id": ours } }).to_string();
    is_not_found(&client::post(gateway.addr(), "/v1/videos/edits", &[BOB], edit.as_bytes()).await);
    let mut others = vec![theirs, "video_x".to_owned(), ours[..ours.len() - 4].to_owned()];
    for at in ("video_".len()..ours.len()).step_by(5) {
        let other = if &ours[at..=at] == "A" { "B" } else { "A" };
        others.push([&ours[..at], other, &ours[at + 1..]].concat());
    }
    for other in &others {
        is_not_found(&get(&gateway, &format!("/v1/videos/{other}")).await);
        is_not_found(&get(&gateway, &format!("/v1/videos/{other}/content")).await);
    }
    assert_eq!(arrived(&upstream), before, "nothing was asked of the provider");
    assert_eq!(get(&gateway, &format!("/v1/videos/{ours}")).await.status, 200);
}

#[tokio::test]
async fn a_video_is_found_after_a_reload_a_restart_at_another_replica_and_with_the_keys_next_secret() {
    let (one, other) = (provider().await, provider().await);
    let two_keys = |first: &str, second: &str| {
        let base = one.base_url();
        format!(
            "[[channel]]\nname = \"one\"\ntype = \"openai\"\nbase_url = \"{base}\"\napi_keys = [\"{first}\", \"{second}\"]\n"
        )
    };
    let (a, b) = ("sk-upstream-a-0123456789", "sk-upstream-b-0123456789");
    let gateway = Gateway::start(&(two_keys(a, b) + &key())).await;
    let (first, second) = (finished(&gateway, "a").await, finished(&gateway, "b").await);
    let credentials: Vec<_> =
        one.requests().iter().map(|sent| sent.header("authorization").map(str::to_owned)).collect();
    assert_ne!(credentials[0], credentials[3], "the two were made with one credential each");
    // Everything moves: another channel comes first, the credentials change places, and the model goes elsewhere.
    let moved = channel("other", "openai", &other, "priority = -1") + &two_keys(b, a);
    let rotated = moved.clone() + &key_named("alice", "sk-next-alice-0123456789", "");
    gateway.reload("", &(moved.clone() + &key())).expect("it is right");
    let replica = Gateway::start(&(moved + &key())).await;
    let restarted = Gateway::start(&rotated).await;
    let next = ("authorization", "Bearer sk-next-alice-0123456789");
    for (gateway, key) in [(&gateway, BEARER), (&replica, BEARER), (&restarted, next)] {
        for (id, made_with) in [(&first, &credentials[0]), (&second, &credentials[3])] {
            let polled = call(gateway.addr(), "GET", &format!("/v1/videos/{id}"), &[key]).await;
            assert_eq!((polled.status, &polled.json()["id"]), (200, &json!(id)), "{}", polled.text());
            let last = one.requests().pop().expect("a request");
            assert_eq!(last.header("authorization"), made_with.as_deref());
            let film = call(gateway.addr(), "GET", &format!("/v1/videos/{id}/content"), &[key]).await;
            assert_eq!((film.status, film.body.len()), (200, 64 * 1024));
        }
    }
    assert_eq!(other.request_count(), 0);
}

#[tokio::test]
async fn without_its_channel_or_credential_a_video_is_looked_for_nowhere() {
    let (one, other) = (provider().await, provider().await);
    let second = channel("other", "openai", &other, "priority = 1");
    let gateway = Gateway::start(&(channel("one", "openai", &one, "") + &second + &key())).await;
    let ours = finished(&gateway, "a cat").await;
    let before = one.request_count();
    let renewed = channel("one", "openai", &one, "").replace("sk-upstream-one", "sk-upstream-new");
    let off = channel("one", "openai", &one, "enabled = false");
    for instead in [String::new(), renewed, off] {
        gateway.reload("", &(instead + &second + &key())).expect("it is right");
        for path in [format!("/v1/videos/{ours}"), format!("/v1/videos/{ours}/content")] {
            let answer = get(&gateway, &path).await;
            is_not_found(&answer);
            assert!(answer.text().contains("not in use here any more"), "{}", answer.text());
            assert!(!answer.text().contains("one"), "no channel's name: {}", answer.text());
        }
    }
    assert_eq!((one.request_count(), other.request_count()), (before, 0));
    // A channel that takes nothing new still gives what it has.
    gateway
        .reload("", &(channel("one", "openai", &one, "weight = 0") + &second + &key()))
        .expect("it is right");
    assert_eq!(get(&gateway, &format!("/v1/videos/{ours}")).await.status, 200);
    let remix = post(&gateway, &format!("/v1/videos/{ours}/remix"), r#"{"prompt":"b"}"#).await;
    assert_eq!((remix.status, remix.code()), (503, "no_channel_available".to_owned()));
    assert_eq!(other.request_count(), 0);
}

#[tokio::test]
async fn a_server_without_a_credential_binds_its_videos_to_keys_too() {
    let upstream = Provider::start(tollgate_loadtest::Options { compatible: true, ..Default::default() })
        .await
        .expect("a port");
    let base = upstream.base_url();
    let text = format!("[[channel]]\nname = \"own\"\ntype = \"sglang\"\nbase_url = \"{base}\"\n");
    let gateway = Gateway::start(&(text + &key() + &key_named("bob", "sk-test-bob-0123456789", ""))).await;
    let ours = finished(&gateway, "a cat").await;
    is_not_found(&call(gateway.addr(), "GET", &format!("/v1/videos/{ours}"), &[BOB]).await);
}

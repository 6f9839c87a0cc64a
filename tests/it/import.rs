//! `tollgate import`: files of other gateways as their programs write them, and what becomes of them.

use crate::docs::load::check;
use crate::support::ask::Speaks;
use crate::support::process::{tollgate, tollgate_with};
use crate::support::{Gateway, client, provider, repository};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tollgate::import::{Imported, Origin, import};

const ORIGINS: [(&str, Origin); 3] =
    [("litellm", Origin::LiteLlm), ("one-api", Origin::OneApi), ("axonhub", Origin::AxonHub)];

fn cases(folder: &str) -> Vec<PathBuf> {
    let listed =
        std::fs::read_dir(repository(&format!("tests/import/{folder}"))).expect("the cases are there");
    let path = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("it can be listed").path();
    let is_source = |path: &PathBuf| {
        path.extension().is_some_and(|end| ["yaml", "yml", "json"].iter().any(|own| end == *own))
    };
    let mut cases: Vec<PathBuf> = listed.map(path).filter(is_source).collect();
    cases.sort();
    cases
}

fn remarks(imported: &Imported) -> String {
    imported.remarks.iter().map(|remark| format!("{remark}\n")).collect::<Vec<_>>().concat()
}

/// Compares a file with what it should hold; with `UPDATE=1` makes it so.
fn expect(path: &Path, text: &str, wrong: &mut Vec<String>) {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, text).expect("it is written");
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    if expected != text {
        wrong.push(format!("{}:\n{text}", path.display()));
    }
}

#[test]
fn import_of_every_case_gives_what_stands_beside_it_and_passes_check() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (folder, origin) in ORIGINS {
        for case in cases(folder) {
            let text = std::fs::read_to_string(&case).expect("a case is text");
            let imported = import(origin, &text).unwrap_or_else(|why| panic!("{}: {why}", case.display()));
            expect(&case.with_extension("toml"), &imported.config, &mut wrong);
            expect(&case.with_extension("remarks"), &remarks(&imported), &mut wrong);
            // What a model costs that nobody knows is for `check` to say, and nothing of the import.
            let is_price = |why: &String| why.lines().all(|line| line.contains("no price is known"));
            if let Err(why) = check("entry.toml", &imported.config, "")
                .or_else(|why| if is_price(&why) { Ok(()) } else { Err(why) })
            {
                wrong.push(format!("{}:\n{why}\n{}", case.display(), imported.config));
            }
            seen += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(seen >= 6, "the cases are there: {seen}");
}

#[test]
fn no_remark_of_an_import_holds_a_secret() {
    for (folder, origin) in ORIGINS {
        for case in cases(folder) {
            let text = std::fs::read_to_string(&case).expect("a case is text");
            let said = remarks(&import(origin, &text).expect("it is read"));
            for secret in ["0123456789", "AKIA", "inline", "9876543210"] {
                assert!(!said.contains(secret), "{}: {said}", case.display());
            }
        }
    }
}

#[test]
fn import_writes_where_it_is_told_and_writes_nothing_over() {
    let dir = tempfile::tempdir().expect("a directory");
    let out = dir.path().join("tollgate.toml").to_string_lossy().into_owned();
    let source = repository("tests/import/litellm/no_key.yml").to_string_lossy().into_owned();
    let done = tollgate(&["import", "litellm", &source, "--output", &out]);
    assert_eq!((done.code, done.stdout.as_str()), (Some(0), ""), "{done:?}");
    assert!(done.stderr.contains("to do: "), "{}", done.stderr);
    let environment = [
        ("TOLLGATE_KEY", "sk-first-0123456789"),
        ("DEEPSEEK_API_KEY", "sk-a"),
        ("OPENROUTER_API_KEY", "sk-b"),
    ];
    let checked = tollgate_with(&["check", "-c", &out], &environment, "");
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let again = tollgate(&["import", "litellm", &source, "--output", &out]);
    assert_eq!(again.code, Some(1), "a file that is there stays: {again:?}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(&out).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "only its owner reads what may hold keys");
    }
}

#[test]
fn import_reads_standard_input_and_tells_a_program_everything_as_json() {
    let source = repository("tests/import/axonhub/backup.json");
    let text = std::fs::read_to_string(source).expect("a case is text");
    let done = tollgate_with(&["import", "axonhub", "-", "--format", "json"], &[], &text);
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{done:?}");
    let told: Value = serde_json::from_str(&done.stdout).expect("it is JSON");
    assert!(told["config"].as_str().is_some_and(|config| config.contains("[[channel]]")), "{told}");
    let kinds: Vec<&str> =
        told["remarks"].as_array().expect("a list").iter().filter_map(|one| one["kind"].as_str()).collect();
    assert!(kinds.contains(&"not carried over") && kinds.contains(&"changed"), "{kinds:?}");
}

#[test]
fn import_says_what_is_not_the_file_of_its_origin() {
    for (origin, text, why) in [
        ("litellm", "channels: []", "model_list"),
        ("litellm", "a: [", "is not valid YAML"),
        ("litellm", "model_list: []", "can be served"),
        ("one-api", "{\"data\":[]}", "channels"),
        ("one-api", "CREATE TABLE channels", "JSON"),
        ("axonhub", "[]", "channels"),
        ("axonhub", "{", "JSON"),
    ] {
        let done = tollgate_with(&["import", origin, "-"], &[], text);
        assert_eq!(done.code, Some(1), "{origin}: {text}");
        assert!(done.stderr.contains(why), "{origin}: {text}: {}", done.stderr);
    }
    assert_eq!(tollgate(&["import", "nginx", "-"]).code, Some(2));
    assert_eq!(tollgate(&["import", "litellm", "/nowhere/config.yaml"]).code, Some(1));
}

/// What each origin says of one account at `base`, and the key its user has.
fn sources(base: &str) -> [(Origin, String, &'static str); 3] {
    let litellm = format!(
        "model_list:\n  - model_name: fast\n    litellm_params: {{ model: openai/real, api_base: \"{base}\", api_key: sk-up-0123456789 }}\n\
         general_settings: {{ master_key: sk-of-litellm-0123456789 }}\n"
    );
    let one_api = json!([
        { "id": 1, "type": 50, "key": "sk-up-0123456789", "status": 1, "name": "c", "base_url": base, "models": "fast",
          "group": "default", "model_mapping": "{\"fast\":\"real\"}", "config": "" },
        { "id": 1, "user_id": 1, "key": "of-one-api-0123456789", "status": 1, "name": "t", "expired_time": -1,
          "remain_quota": 0, "unlimited_quota": true }
    ]);
    let axonhub = json!({ "version": "1.1",
        "channels": [{ "id": 1, "type": "openai", "base_url": base, "name": "c", "status": "enabled",
            "supported_models": ["real"], "credentials": { "apiKeys": ["sk-up-0123456789"] },
            "settings": { "modelMappings": [{ "from": "fast", "to": "real" }] } }],
        "api_keys": [{ "key": "ah-0123456789", "name": "k", "status": "enabled" }] });
    [
        (Origin::LiteLlm, litellm, "sk-of-litellm-0123456789"),
        (Origin::OneApi, one_api.to_string(), "sk-of-one-api-0123456789"),
        (Origin::AxonHub, axonhub.to_string(), "sk-ah-0123456789"),
    ]
}

#[tokio::test]
async fn users_go_on_with_their_keys_and_models_after_an_import() {
    for (origin, source, key) in sources("{BASE}") {
        let upstream = provider().await;
        let imported = import(origin, &source.replace("{BASE}", &upstream.base_url())).expect("it is read");
        let gateway = Gateway::start(&imported.config).await;
        let answer = Speaks::OpenAi.ask(gateway.addr(), key, "fast").await;
        assert_eq!(answer.status, 200, "{origin:?}: {}", answer.text());
        let sent = upstream.requests().pop().expect("it came");
        let body: Value = serde_json::from_slice(&sent.body).expect("it is JSON");
        assert_eq!(body["model"], "real", "{origin:?}");
        let bearer = sent.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        assert_eq!(bearer.map(|(_, value)| &value[..]), Some(&b"Bearer sk-up-0123456789"[..]), "{origin:?}");
        let other = client::get(gateway.addr(), "/v1/models").await;
        assert_eq!(other.status, 401, "{origin:?}");
    }
}

#[tokio::test]
async fn a_fallback_of_litellms_is_asked_when_the_first_model_fails() {
    let upstream = provider().await;
    let base = upstream.base_url();
    let source = format!(
        "model_list:\n\
         - {{ model_name: one, litellm_params: {{ model: openai/first, api_base: \"{base}\", api_key: sk-up-0123456789 }} }}\n\
         - {{ model_name: two, litellm_params: {{ model: openai/second, api_base: \"{base}\", api_key: sk-up-0123456789 }} }}\n\
         router_settings: {{ fallbacks: [{{ one: [two] }}] }}\ngeneral_settings: {{ master_key: sk-of-litellm-0123456789 }}\n"
    );
    let imported = import(Origin::LiteLlm, &source).expect("it is read");
    let gateway = Gateway::start(&imported.config).await;
    let down = tollgate_loadtest::Fault::Status { status: 503, headers: Vec::new(), body: None };
    upstream.script(tollgate_loadtest::Selector::Model("first".to_owned()), vec![down]);
    let answer = Speaks::OpenAi.ask(gateway.addr(), "sk-of-litellm-0123456789", "one").await;
    assert_eq!((answer.status, answer.json()["model"].as_str()), (200, Some("one")), "{}", answer.text());
    let models: Vec<Value> = upstream
        .requests()
        .iter()
        .map(|request| serde_json::from_slice::<Value>(&request.body).expect("it is JSON")["model"].clone())
        .collect();
    assert_eq!(models, ["first", "second"]);
}

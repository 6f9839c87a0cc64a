//! What a reader types or copies works: the quick start from its first line to its last, every command with its options,
//! every target of make, every question to the access log, every block of YAML and JSON.

use super::page::{Page, pages, read};
use crate::support::process::{folder, other, tollgate};
use crate::support::{Gateway, KEY, client, key, repository, yaml};
use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::process::{Command, Output};

/// The blocks that a page asks to be run, in order.
fn steps(path: &str) -> Vec<String> {
    let blocks = Page::read(path).blocks("sh").into_iter().filter(|block| block.mark == "run");
    blocks.map(|block| block.text).collect()
}

fn bash(script: &str, here: &std::path::Path) -> Output {
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", folder().display());
    let run = Command::new("bash").args(["-c", script]).current_dir(here).env("PATH", path).output();
    run.expect("there is a bash")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_quick_start_works_as_it_is_written() {
    let steps = steps("docs/quickstart.md");
    assert!(steps.len() >= 8, "{}", steps.len());
    let mut script = format!("set -euo pipefail\n{}", steps.concat());
    // Free ports, so that tests may run side by side; all are held until all are known, so that they differ.
    let held: Vec<TcpListener> =
        (0..3).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    for (written, free) in ["8080", "9090", "9100"].iter().zip(&held) {
        assert!(script.contains(&format!("127.0.0.1:{written}")));
        let port = free.local_addr().expect("it is bound").port();
        script = script.replace(&format!("127.0.0.1:{written}"), &format!("127.0.0.1:{port}"));
    }
    drop(held);
    let folder = tempfile::tempdir().expect("a directory");
    let run = bash(&script, folder.path());
    let said = text(&run.stdout);
    assert!(run.status.success(), "{said}\n{}", text(&run.stderr));
    for expected in [
        "tollgate.toml: ok (1 channel, 1 key)",
        "\"object\":\"chat.completion\"",
        "200\n200\n429\n",
        "rate_limit_exceeded",
        "charged    no: nothing was sent to a provider",
        "eligible",
        "tollgate_requests_total{api=\"chat\",code=\"429\"} 1",
        "reloaded: generation 2 is in force",
        "\"id\":\"gpt-4.1\"",
    ] {
        assert!(said.contains(expected), "{expected} is in:\n{said}");
    }
}

#[test]
fn a_page_in_chinese_has_the_same_blocks() {
    for (english, chinese) in [
        ("README.md", "README.zh.md"),
        ("docs/quickstart.md", "docs/zh/quickstart.md"),
        ("docs/clients/README.md", "docs/clients/README.zh.md"),
    ] {
        let (english, chinese) = (Page::read(english), Page::read(chinese));
        for language in ["sh", "powershell", "toml", "json", "python", "js"] {
            let of = |page: &Page| -> Vec<(String, String)> {
                page.blocks(language).into_iter().map(|block| (block.mark, block.text)).collect()
            };
            assert_eq!(of(&english), of(&chinese), "{}", chinese.path);
        }
    }
}

/// What a client is told to do with curl does what it says, at the addresses in the page.
#[tokio::test]
async fn what_the_clients_page_asks_of_the_gateway_is_answered() {
    let upstream = crate::support::provider().await;
    let models = "models = [\"gpt-4.1\", \"jina-reranker-v2-base-multilingual\"]";
    let text = crate::support::channel("main", "openai", &upstream, models) + &key();
    let gateway = Gateway::start(&text).await;
    let page = Page::read("docs/clients/README.md");
    let mut asked = 0;
    for block in page.blocks("sh").iter().filter(|block| block.text.contains("127.0.0.1:8080/v1")) {
        let script = block.text.replace("127.0.0.1:8080", &gateway.addr().to_string());
        let script = script.replace("curl ", "curl -fsS ");
        let script = format!("set -e; export TOLLGATE_KEY={KEY}\n{script}");
        let folder = tempfile::tempdir().expect("a directory");
        if !script.contains("curl") {
            continue;
        }
        let run = tokio::task::spawn_blocking(move || bash(&script, folder.path())).await.expect("it runs");
        assert!(run.status.success(), "{}:{}: {}", page.path, block.line, text_of(&run));
        asked += 1;
    }
    assert!(asked >= 2, "{asked}");
}

fn text_of(run: &Output) -> String {
    text(&run.stdout) + &text(&run.stderr)
}

/// The words of every call of a program in the shell blocks of all pages, with where it stands.
fn calls(program: &str) -> BTreeMap<Vec<String>, String> {
    let mut calls = BTreeMap::new();
    for page in pages() {
        for block in page.blocks("sh") {
            for line in block.text.replace("\\\n", " ").lines() {
                let line = line.split(" #").next().unwrap_or_default();
                for part in line.split(['|', ';', '&', '(', ')']).flat_map(|part| part.split('>')) {
                    let part = part.trim().trim_start_matches("sudo ").trim_start_matches("until ");
                    let words: Vec<String> = part.split_whitespace().map(str::to_owned).collect();
                    if words.first().is_some_and(|word| word == program) {
                        calls.insert(words[1..].to_vec(), format!("{}:{}", page.path, block.line));
                    }
                }
            }
        }
    }
    calls
}

#[test]
fn every_command_that_is_shown_exists_with_its_options() {
    let mut helps: BTreeMap<String, String> = BTreeMap::new();
    let shown = calls("tollgate");
    assert!(shown.len() >= 20, "{shown:?}");
    for (words, place) in shown {
        let named: Vec<&str> = words.iter().map(String::as_str).collect();
        let depth = if matches!(named[0], "keys" | "logs") { 2 } else { 1 };
        let command: Vec<&str> = named.iter().take(depth).copied().collect();
        let help = helps.entry(command.join(" ")).or_insert_with(|| {
            let done = tollgate(&[&command[..], &["--help"]].concat());
            assert_eq!(done.code, Some(0), "{place}: {words:?}: {}", done.stderr);
            done.stdout
        });
        for option in named.iter().filter(|word| word.starts_with('-')) {
            assert!(help.contains(*option), "{place}: {words:?}: {option}");
        }
    }
}

#[test]
fn every_target_of_make_and_every_script_that_is_shown_is_there() {
    let makefile = read("Makefile");
    for (words, place) in calls("make") {
        for target in words.iter().filter(|word| !word.contains('=')) {
            assert!(makefile.contains(&format!("\n{target}:")), "{place}: make {target}");
        }
    }
    for page in pages() {
        for block in page.blocks("sh") {
            for word in block.text.split_whitespace().filter(|word| word.starts_with("deploy/")) {
                assert!(repository(word).exists(), "{}:{}: {word}", page.path, block.line);
            }
        }
    }
}

#[tokio::test]
async fn every_question_to_the_access_log_has_an_answer() {
    let upstream = crate::support::provider().await;
    let gateway = Gateway::start(&(crate::support::channel("main", "openai", &upstream, "") + &key())).await;
    let bearer = format!("Bearer {KEY}");
    let body = br#"{"model":"gpt-4.1","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    for headers in [&[("authorization", &*bearer)][..], &[]] {
        client::post(gateway.addr(), "/v1/chat/completions", headers, body).await;
    }
    let lines: Vec<String> = gateway.log.lines(2).await.iter().map(ToString::to_string).collect();
    let folder = tempfile::tempdir().expect("a directory");
    std::fs::write(folder.path().join("access.log"), lines.join("\n") + "\n").expect("it is written");
    let page = Page::read("docs/operations.md");
    let blocks: String = page.blocks("sh").into_iter().map(|block| block.text).collect();
    let questions: Vec<&str> = blocks.lines().filter(|line| line.starts_with("jq ")).collect();
    assert!(questions.len() >= 5, "{questions:?}");
    if other(Command::new("jq").arg("--version")).is_none() {
        return;
    }
    for question in questions {
        let run = bash(question, folder.path());
        assert!(run.status.success(), "{question}: {}", text(&run.stderr));
    }
    let wrong = bash("jq -c 'select(.end != \"ok\") | .code' access.log", folder.path());
    assert_eq!(text(&wrong.stdout), "\"missing_api_key\"\n");
}

#[test]
fn every_block_of_yaml_and_json_is_one() {
    let mut seen = 0;
    for page in pages() {
        for block in page.blocks("yaml") {
            yaml::documents(&block.text).unwrap_or_else(|why| panic!("{}:{}: {why}", page.path, block.line));
            seen += 1;
        }
        for block in page.blocks("json") {
            let json = serde_json::from_str::<serde_json::Value>(&block.text);
            json.unwrap_or_else(|why| panic!("{}:{}: {why}", page.path, block.line));
            seen += 1;
        }
        for block in page.blocks("toml").iter().filter(|block| block.mark == "another program's") {
            let toml = block.text.parse::<toml::Table>();
            toml.unwrap_or_else(|why| panic!("{}:{}: {why}", page.path, block.line));
        }
    }
    assert!(seen >= 5, "{seen}");
}

#[test]
fn the_rotation_in_the_documents_is_the_one_that_is_installed() {
    let installed = read("deploy/systemd/tollgate.logrotate");
    let (_, rules) = installed.split_once("\n/var").expect("comments come first");
    assert!(read("docs/operations.md").contains(&format!("```text\n/var{rules}```")));
}

#[test]
fn every_end_of_an_exchange_is_explained_with_the_streams() {
    use tollgate::record::End;
    let rows = Page::read("docs/errors.md").rows_below("## What a stream shows");
    let named: BTreeSet<&str> = rows
        .iter()
        .flat_map(|row| row[2].split('`').skip(1).step_by(2))
        .filter(|word| *word != "attempts")
        .collect();
    let ends =
        [End::Ok, End::Failed, End::StreamTruncated, End::StreamIdleTimeout, End::ClientClosed, End::Drained];
    assert_eq!(named, ends.iter().map(|end| end.word()).collect());
}

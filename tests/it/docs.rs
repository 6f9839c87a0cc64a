//! The documents say what is: every configuration in them loads, every table equals the code, every link leads
//! somewhere. A document that drifts from the code fails here, whichever of the two was changed.

pub(crate) mod load;
pub(crate) mod page;
mod shown;

use self::load::check;
use self::page::{Block, Page, pages, read};
use crate::support::tls::{Authority, Files};
use crate::support::{Gateway, KEY, client, key, repository};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tollgate::code::Code;
use tollgate::telemetry::metrics::TABLE;

#[test]
fn every_file_in_conf_loads_without_a_word() {
    let mut seen = 0;
    for entry in std::fs::read_dir(repository("conf")).expect("conf is in the repository") {
        let path = entry.expect("it can be listed").path();
        let name = match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => "entry.toml",
            Some("yaml") => "entry.yaml",
            _ => continue,
        };
        let text = std::fs::read_to_string(&path).expect("an example is text");
        check(name, &text, "").unwrap_or_else(|why| panic!("{}:\n{why}", path.display()));
        seen += 1;
    }
    assert!(seen >= 3, "the examples are in conf");
}

#[test]
fn every_configuration_in_the_documents_loads() {
    let mut seen = 0;
    for page in pages() {
        for block in page.blocks("toml") {
            if block.mark == "another program's" {
                continue;
            }
            let text = complete(&block);
            check("entry.toml", &text, "")
                .unwrap_or_else(|why| panic!("{}:{}:\n{why}", page.path, block.line));
            seen += 1;
        }
    }
    assert!(seen >= 7, "the documents show configurations: {seen}");
}

/// A fragment gets what a configuration cannot do without.
fn complete(block: &Block) -> String {
    let mut text = block.text.clone();
    if block.mark == "fragment" {
        for (section, minimal) in [
            (
                "[[channel]]",
                "[[channel]]\nname = \"any\"\ntype = \"openai\"\napi_keys = [{ env = \"ANY\" }]\n",
            ),
            ("[[key]]", "[[key]]\nname = \"any\"\nsecret = { env = \"ANY_KEY\" }\n"),
        ] {
            if !text.contains(section) {
                text.push_str(minimal);
            }
        }
    }
    text
}

/// The rows are written from the schema; their order is the page's own, and a new setting comes last.
#[test]
fn the_reference_is_written_from_the_schema() {
    let path = "docs/configuration.md";
    let (page, reference) = (Page::read(path), tollgate::config::reference());
    let mut text = page.text.clone();
    for (name, rows) in page.tables("settings: ") {
        let mut left = reference.get(&name).unwrap_or_else(|| panic!("there is no {name}")).clone();
        let listed = rows.iter().filter_map(|row| left.remove(row[0].trim_matches('`')));
        let listed: Vec<String> = listed.collect();
        let written: String = listed.into_iter().chain(left.into_values()).map(|row| row + "\n").collect();
        let begin =
            format!("<!-- settings: {name} -->\n| key | type | default | meaning |\n|---|---|---|---|\n");
        let (before, behind) = text.split_once(&begin).unwrap_or_else(|| panic!("{name} has its head"));
        let end = behind.split_inclusive('\n').take_while(|line| line.starts_with('|')).map(str::len).sum();
        text = format!("{before}{begin}{written}{}", &behind[end..]);
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(repository(path), &text).expect("it can be written");
        return;
    }
    assert!(text == page.text, "{path} is out of date: run this test with UPDATE=1");
}

#[test]
fn the_reference_has_every_setting_and_no_other() {
    let page = Page::read("docs/configuration.md");
    let schema: serde_json::Value = serde_json::from_str(&read("conf/schema.json")).expect("it is JSON");
    let definitions = schema["$defs"].as_object().expect("the schema has definitions");
    let mut described: BTreeSet<String> = BTreeSet::new();
    for (name, rows) in page.tables("settings: ") {
        let schema = if name == "root" { &schema } else { &schema["$defs"][&name] };
        let properties = schema["properties"].as_object().unwrap_or_else(|| panic!("there is no {name}"));
        let declared: BTreeSet<&str> = properties.keys().map(String::as_str).collect();
        let listed: BTreeSet<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
        assert_eq!(listed, declared, "{name}");
        described.insert(name);
    }
    let declared: BTreeSet<String> = definitions
        .iter()
        .filter(|(_, definition)| definition.get("properties").is_some())
        .map(|(name, _)| name.clone())
        .chain(["root".to_owned()])
        .collect();
    assert_eq!(described, declared);
}

#[tokio::test]
async fn what_the_reference_marks_as_restart_is_what_a_reload_asks_one_for() {
    let text = key() + "[[channel]]\nname = \"c\"\ntype = \"openai\"\napi_keys = [\"sk-up-0123456789\"]\n";
    let gateway = Gateway::start(&text).await;
    let files = Files::new();
    let tls = files.listener(&Authority::new().issue(&["gateway.test"]), "");
    let other = format!(
        "{tls}[server]\nlisten = [\"127.0.0.2:0\"]\nadmin = \"127.0.0.3:0\"\nthreads = 1023\n[log]\naccess = \"off\"\n\
         level = \"error\"\n{text}"
    );
    std::fs::write(&gateway.config, other).expect("the configuration is written");
    let reloader = gateway.running.reloader.as_ref().expect("it was started from a file");
    assert!(reloader.reload().is_ok());
    let asked: BTreeSet<String> = reloader.last().needs_restart.into_iter().collect();
    let sections = [("Server", "server"), ("ServerTimeouts", "server.timeouts"), ("Log", "log")];
    let mut marked = BTreeSet::new();
    for (name, rows) in Page::read("docs/configuration.md").tables("settings: ") {
        for row in rows.iter().filter(|row| row[3].contains("**restart**")) {
            let section = sections.iter().find(|(table, _)| *table == name);
            let (_, section) = section.unwrap_or_else(|| panic!("{name} has settings that need a restart"));
            marked.insert(format!("{section}.{}", row[0].trim_matches('`')));
        }
    }
    assert_eq!(marked, asked);
}

#[test]
fn every_error_code_has_its_row_with_its_status() {
    let rows = Page::read("docs/errors.md").rows_below("## Error codes");
    let listed: BTreeSet<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    let declared: BTreeSet<&str> = Code::ALL.iter().map(|code| code.word()).collect();
    assert_eq!(listed, declared);
    assert_eq!(rows.len(), listed.len(), "each has one row");
    for code in Code::ALL {
        let row = rows.iter().find(|row| row[0].trim_matches('`') == code.word()).expect("it is listed");
        let in_stream = matches!(code, Code::StreamTruncated | Code::StreamIdleTimeout);
        let status = if in_stream { "in the stream".to_owned() } else { code.status().to_string() };
        assert_eq!(row[1], status, "{}", code.word());
        let again = match code.status() {
            _ if code.is_permanent() => "no",
            429 | 503 => "as told",
            _ => "yes",
        };
        assert_eq!(row[4], again, "{}", code.word());
        assert!(row.iter().all(|cell| !cell.is_empty()), "{}", code.word());
    }
}

#[tokio::test]
async fn the_fields_of_an_access_line_are_those_of_the_table() {
    let upstream = crate::support::provider().await;
    let text = crate::support::channel("main", "openai", &upstream, "") + &key();
    let gateway = Gateway::start(&text).await;
    let bearer = format!("Bearer {KEY}");
    let body = br#"{"model":"gpt-4.1","messages":[{"role":"user","content":"hi"}]}"#;
    let headers = [("authorization", &*bearer)];
    let answer = client::post(gateway.addr(), "/v1/chat/completions", &headers, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let line = gateway.log.line().await;
    let page = Page::read("docs/operations.md");
    let rows = page.table("access log");
    let listed: BTreeSet<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    assert_eq!(listed, names(&line));
    assert_eq!(rows.len(), listed.len(), "each has one row");
    for (field, inside) in [("tokens", &line["tokens"]), ("attempts", &line["attempts"][0])] {
        let row = rows.iter().find(|row| row[0].trim_matches('`') == field).expect("it is listed");
        for name in names(inside) {
            assert!(row[1].contains(&format!("`{name}`")), "{field} has {name}");
        }
    }
}

fn names(value: &serde_json::Value) -> BTreeSet<&str> {
    value.as_object().expect("it is an object").keys().map(String::as_str).collect()
}

#[tokio::test]
async fn every_admin_call_of_the_table_has_an_answer() {
    let upstream = crate::support::provider().await;
    let ledger = "[ledger]\npath = \"ledger.db\"\n".to_owned();
    let text = ledger + &crate::support::channel("main", "openai", &upstream, "") + &key();
    let gateway = Gateway::start(&text).await;
    let index = client::get(gateway.running.admin, "/api").await.text();
    for row in Page::read("docs/operations.md").table("admin") {
        let (method, path) = row[0].trim_matches('`').split_once(' ').expect("a method and a path");
        let shown = path.split('?').next().unwrap_or_default();
        assert!(shown == "/" || shown == "/healthz" || index.contains(shown), "{shown} is in {index}");
        if method == "GET" && !path.contains('{') {
            let path = path.replace("NAME", "alice").replace("MODEL", "gpt-4.1");
            assert_eq!(client::get(gateway.running.admin, &path).await.status, 200, "{path}");
        }
    }
}

#[test]
fn every_command_is_in_the_documents() {
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_tollgate")).arg("--help").output();
    let help = String::from_utf8(help.expect("the program starts").stdout).expect("its help is text");
    let (_, commands) = help.split_once("Commands:\n").expect("the help lists commands");
    let documents = read("docs/operations.md") + &read("README.md");
    let mut seen = 0;
    for line in commands.lines().take_while(|line| !line.is_empty()) {
        let command = line.split_whitespace().next().expect("a line has its command");
        assert!(documents.contains(&format!("`tollgate {command}")), "tollgate {command} is documented");
        seen += 1;
    }
    assert!(seen >= 10, "{help}");
}

#[test]
fn every_metric_the_documents_name_exists() {
    let declared: BTreeSet<&str> = TABLE.iter().map(|metric| metric.name).collect();
    for page in pages() {
        for word in page.text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            if word.starts_with("tollgate_") && word != "tollgate_" {
                let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
                let known = declared.contains(word) || family.is_some_and(|name| declared.contains(name));
                assert!(known, "{}: {word}", page.path);
            }
        }
    }
}

/// Read off the code's own words, so that one which is added there is missed here.
#[test]
fn the_values_of_the_label_api_are_those_of_the_code() {
    let code = read("src/protocol.rs");
    let (_, code) = code.split_once("pub fn api(self)").expect("it says each operation's word");
    let (code, _) = code.split_once("pub fn route").expect("another follows");
    let words: BTreeSet<&str> = code.split('"').skip(1).step_by(2).chain(["unknown"]).collect();
    let page = read("docs/metrics.md");
    let (_, page) = page.split_once("- **`api`** is ").expect("the page lists them");
    let (page, _) = page.split_once("\n- **").expect("another label follows");
    assert_eq!(page.split('`').skip(1).step_by(2).collect::<BTreeSet<_>>(), words);
}

#[test]
fn every_link_leads_somewhere() {
    let mut dead = Vec::new();
    for page in pages() {
        for target in page.links() {
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let here = Path::new(&page.path).parent().unwrap_or(Path::new(""));
            let file = if path.is_empty() { PathBuf::from(&page.path) } else { here.join(path) };
            let is_there = repository(&file.to_string_lossy()).exists();
            let has_anchor = anchor.is_empty()
                || (is_there && Page::read(&file.to_string_lossy()).anchors().contains(anchor));
            if !is_there || !has_anchor {
                dead.push(format!("{}: {target}", page.path));
            }
        }
    }
    assert!(dead.is_empty(), "\n{}", dead.join("\n"));
}

#[test]
fn the_index_names_every_page() {
    let index: BTreeSet<String> = Page::read("docs/README.md").links().into_iter().collect();
    for page in pages().iter().filter_map(|page| page.path.strip_prefix("docs/")) {
        assert!(page == "README.md" || index.contains(page), "docs/README.md leads to {page}");
    }
}

#[test]
fn the_changelog_has_this_version() {
    let heading = format!("\n## [{}]", env!("CARGO_PKG_VERSION"));
    assert!(read("CHANGELOG.md").contains(&heading), "{heading}");
}

#[test]
fn the_readme_names_the_rust_that_is_needed() {
    assert!(read("README.md").contains(&format!("({} or newer)", env!("CARGO_PKG_RUST_VERSION"))));
}

#[tokio::test]
async fn a_needed_restart_is_said_as_long_as_it_is_needed() {
    let text = key() + "[[channel]]\nname = \"c\"\ntype = \"openai\"\napi_keys = [\"sk-up-0123456789\"]\n";
    let gateway = Gateway::start(&text).await;
    let asked_after = |server: &str, text: &str| {
        assert_eq!(gateway.reload(server, text), Ok(()));
        let last = gateway.running.reloader.as_ref().map(|reloader| reloader.last().needs_restart);
        last.expect("it was started from a file")
    };
    assert_eq!(asked_after("threads = 1023", &text), ["server.threads"]);
    let another = text.clone() + "weight = 2\n";
    assert_eq!(
        asked_after("threads = 1023", &another),
        ["server.threads"],
        "another change does not mend it"
    );
    assert!(asked_after("", &another).is_empty(), "the file says again what runs");
}

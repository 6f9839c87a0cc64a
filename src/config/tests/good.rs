//! Configurations that stand: the published examples, the three syntaxes, defaults, warnings.

use super::super::testing::Memory;
use super::super::{EXAMPLE_KEY, FsSource, Loaded, Source, load, load_to_run, redacted, schema};
use crate::config::snapshot::{Balance, ClientAbort, Conduct, ForeignThinking, HttpVersion, Rate};
use crate::secret::KeyDigest;
use proptest::prelude::*;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

const MINIMAL: &str = "[[channel]]\nname = 'c'\ntype = 'openai'\napi_keys = [{ env = 'OPENAI_API_KEY' }]\n\
                       [[key]]\nname = 'k'\nsecret = 'sk-client-0123456789'\n";

fn stands(files: &[(&str, &str)]) -> Loaded {
    Memory::with(files).load(files[0].0).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The published directory with the environment it documents.
struct Published;

impl Source for Published {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        FsSource.read(path)
    }
    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        FsSource.glob(pattern)
    }
    fn env(&self, name: &str) -> Option<String> {
        let documented = ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"];
        documented.contains(&name).then(|| format!("sk-up-{name}"))
    }
    fn is_world_readable(&self, _path: &Path) -> bool {
        false
    }
    fn cores(&self) -> usize {
        1
    }
}

fn conf(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf").join(name)
}

#[test]
fn every_published_example_loads_and_run_refuses_its_key() {
    let mut seen = 0;
    for entry in std::fs::read_dir(conf("")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|name| name == "schema.json") || path.is_dir() {
            continue;
        }
        seen += 1;
        let loaded = load(&path, &Published).unwrap_or_else(|problems| panic!("{problems}"));
        let refusal = load_to_run(&path, &Published).expect_err("an example holds the example key");
        assert!(refusal.to_string().contains("published example key"), "{refusal}");
        let others: Vec<_> = loaded
            .warnings
            .iter()
            .filter(|it| {
                !it.what.contains("published example key") && !it.what.contains("the secret is written")
            })
            .collect();
        assert!(others.is_empty(), "{others:?}");
    }
    assert!(seen >= 3, "the examples are in conf/");
}

#[test]
fn the_published_schema_is_the_generated_one() {
    let path = conf("schema.json");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, schema()).unwrap();
    }
    let published = std::fs::read_to_string(path).unwrap_or_default();
    assert!(published == schema(), "conf/schema.json is out of date: run this test with UPDATE=1");
}

#[test]
fn what_is_not_written_has_the_documented_default() {
    let loaded = stands(&[("t.toml", MINIMAL)]);
    let snapshot = &loaded.snapshot;
    let server = &snapshot.server;
    assert_eq!(server.listen, ["0.0.0.0:8080".parse().unwrap()]);
    assert_eq!(server.admin, "127.0.0.1:9090".parse().unwrap());
    assert_eq!(server.threads, 4);
    let timeouts = &server.timeouts;
    let seconds = [timeouts.header, timeouts.body_idle, timeouts.write_idle, timeouts.idle, timeouts.age];
    assert_eq!(seconds.map(|wait| wait.as_secs()), [10, 30, 60, 75, 3600]);
    assert_eq!([timeouts.drain_delay, timeouts.drain].map(|wait| wait.as_secs()), [0, 600]);
    let limits = &server.limits;
    assert_eq!((limits.connections, limits.connections_per_ip, limits.exchanges), (65_536, 0, 65_536));
    let bytes = [limits.header_bytes, limits.body_bytes, limits.buffered_body_bytes];
    assert_eq!(bytes, [64 << 10, 64 << 20, 1 << 30]);
    assert_eq!(snapshot.attempts, 3);
    let channel = &snapshot.channels[0];
    assert_eq!((channel.priority, channel.weight, channel.enabled), (0, 1, true));
    assert_eq!(channel.endpoint.authority, "api.openai.com");
    assert_eq!(channel.endpoint.version.as_deref(), Some("v1"));
    let timeouts = &channel.timeouts;
    let waits = [timeouts.connect, timeouts.first_byte, timeouts.response, timeouts.idle];
    assert_eq!(waits, [3, 60, 600, 120].map(Duration::from_secs));
    let key = snapshot.key(&KeyDigest::of("sk-client-0123456789")).unwrap();
    assert_eq!((key.group.id.as_str(), key.last4.as_str()), ("default", "6789"));
    assert!(key.profile.is_none() && key.enabled && key.stream);
    assert!(
        loaded.warnings.iter().any(|warning| warning.what == "the secret is written into the configuration")
    );
}

#[test]
fn a_ledger_is_kept_beside_the_file_that_names_it_and_only_where_one_is_named() {
    assert_eq!(stands(&[("t.toml", MINIMAL)]).snapshot.ledger, None);
    for (written, path, days) in
        [("path = 'var/l.db'", "conf/var/l.db", 90), ("path = '/x/l.db'\nretention = '30d'", "/x/l.db", 30)]
    {
        let text = format!("[ledger]\n{written}\n{MINIMAL}");
        let loaded = stands(&[("conf/t.toml", &text)]);
        let ledger = loaded.snapshot.ledger.as_ref().unwrap();
        assert_eq!((ledger.path.as_path(), ledger.retention.as_secs()), (Path::new(path), days * 86_400));
        let dumped = redacted(&loaded.snapshot);
        let expected = serde_json::json!({ "path": path, "retention": format!("{days}d") });
        assert_eq!(dumped["ledger"], expected);
    }
}

const TWIN_TOML: &str = r#"
[server]
listen = ["127.0.0.1:0"]
limits = { body_bytes = 1048576, header_bytes = "32KiB" }
[server.trace]
claude_code_trace_enabled = true
[log]
labels = ["X-Team"]
[[channel]]
name = "c"
type = "anthropic"
base_url = "https://x.example/anthropic"
api_keys = [{ env = "OPENAI_API_KEY" }, "sk-inline-0123456789"]
models = ["claude-*"]
model_map = { "claude-x" = "claude-y" }
groups = ["g"]
idle_timeout = "1m 30s"
request_headers = { set = { "X-Org" = "ä" }, remove = ["x-in"] }
[[profile]]
name = "p"
mappings = [{ from_regex = "a|b\\d", to = "claude-x" }]
[[group]]
name = "g"
limits = { rpm = 10, burst = 3, concurrency = 2 }
[[key]]
name = "k"
secret = "sk-client-0123456789"
group = "g"
profiles = ["p"]
active_profile = "p"
allowed_ips = ["10.0.0.0/8", "::1"]
expires = 2027-06-30T00:00:00Z
model_limits = [{ model = "claude-*", rpm = 1 }]
"#;

const TWIN_YAML: &str = r#"
server:
  listen: ["127.0.0.1:0"]
  limits: { body_bytes: 1048576, header_bytes: 32KiB }
  trace: { claude_code_trace_enabled: true }
log:
  labels: [X-Team]
channel:
  - name: c
    type: anthropic
    base_url: https://x.example/anthropic
    api_keys: [{ env: OPENAI_API_KEY }, sk-inline-0123456789]
    models: ["claude-*"]
    model_map: { claude-x: claude-y }
    groups: &groups [g]
    idle_timeout: 1m 30s
    request_headers:
      set: { X-Org: ä }
      remove: [x-in]
profile:
  - name: p
    mappings: [{ from_regex: 'a|b\d', to: claude-x }]
group:
  - name: g
    limits: { rpm: 10, burst: 3, concurrency: 2 }
key:
  - name: k
    secret: sk-client-0123456789
    group: g
    profiles: [p]
    active_profile: p
    allowed_ips: [10.0.0.0/8, "::1"]
    expires: 2027-06-30T00:00:00Z
    model_limits:
      - model: claude-*
        rpm: 1
"#;

const TWIN_JSON: &str = r#"{
  "$schema": "./schema.json",
  "server": { "listen": ["127.0.0.1:0"], "limits": { "body_bytes": 1048576, "header_bytes": "32KiB" },
	"trace": { "claude_code_trace_enabled": true } },
  "log": { "labels": ["X-Team"] },
  "channel": [{ "name": "c", "type": "anthropic", "base_url": "https:\/\/x.example/anthropic",
    "api_keys": [{ "env": "OPENAI_API_KEY" }, "sk-inline-0123456789"], "models": ["claude-*"],
    "model_map": { "claude-x": "claude-y" }, "groups": ["g"], "idle_timeout": "1m 30s",
    "request_headers": { "set": { "X-Org": "\u00e4" }, "remove": ["x-in"] } }],
  "profile": [{ "name": "p", "mappings": [{ "from_regex": "a|b\\d", "to": "claude-x" }] }],
  "group": [{ "name": "g", "limits": { "rpm": 10, "burst": 3, "concurrency": 2 } }],
  "key": [{ "name": "k", "secret": "sk-client-0123456789", "group": "g", "profiles": ["p"],
    "active_profile": "p", "allowed_ips": ["10.0.0.0/8", "::1"], "expires": "2027-06-30T00:00:00Z",
    "model_limits": [{ "model": "claude-*", "rpm": 1 }] }]
}"#;

#[test]
fn the_three_syntaxes_say_the_same() {
    let dump = |name: &str, text: &str| {
        let mut dump = redacted(&stands(&[(name, text)]).snapshot);
        dump["hash"] = serde_json::Value::Null; // over the bytes, which differ
        dump
    };
    let toml = dump("t.toml", TWIN_TOML);
    assert_eq!(toml["key"][0]["expires_unix"], 1_814_313_600);
    assert_eq!(toml["trace"]["claude_code_trace_enabled"], true);
    assert_eq!(toml["channel"][0]["timeouts"]["idle_timeout"], "1m 30s");
    assert_eq!(toml, dump("t.yaml", TWIN_YAML));
    assert_eq!(toml, dump("t.json", TWIN_JSON));
}

#[test]
fn a_dump_holds_no_secret() {
    let loaded = stands(&[("t.toml", TWIN_TOML)]);
    let dump = redacted(&loaded.snapshot).to_string() + &format!("{loaded:?}");
    for secret in ["sk-up-openai-1234", "sk-inline-0123456789", "sk-client-0123456789", "ä", "\\xc3"] {
        assert!(!dump.contains(secret), "{secret} in {dump}");
    }
    assert!(dump.contains("…6789"));
}

#[test]
fn the_hash_follows_files_and_secrets() {
    let memory = Memory::with(&[("t.toml", MINIMAL)]);
    let hash = |memory: &Memory| memory.load("t.toml").unwrap().snapshot.hash.clone();
    let before = hash(&memory);
    assert_eq!(before, hash(&memory));
    let mut rotated = memory.clone();
    rotated.env.insert("OPENAI_API_KEY".to_owned(), "sk-up-rotated".to_owned());
    assert_ne!(before, hash(&rotated));
    let mut edited = memory.clone();
    edited.files.insert("t.toml".into(), format!("{MINIMAL}# a comment\n").into_bytes());
    assert_ne!(before, hash(&edited));
}

#[test]
fn included_files_are_relative_and_count_once() {
    let loaded = stands(&[
        ("conf/t.toml", "include = ['*.toml', 'd/k.toml', './d/k.toml']\n"),
        ("conf/c.toml", "[[channel]]\nname = 'c'\ntype = 'openai'\napi_keys = [{ file = 'c.key' }]\n"),
        ("conf/d/k.toml", "include = ['more.yaml']\n[[key]]\nname = 'k'\nsecret = { file = 'k.key' }\n"),
        ("conf/d/more.yaml", "group: [{ name: g }]\n"),
        ("conf/c.key", "sk-up-0123456789\n"),
        ("conf/d/k.key", "sk-client-0123456789\r\n"),
    ]);
    assert_eq!(loaded.snapshot.channels[0].credentials[0].expose(), "sk-up-0123456789");
    assert!(loaded.snapshot.key(&KeyDigest::of("sk-client-0123456789")).is_some());
    assert_eq!(loaded.snapshot.groups.len(), 2);
    assert_eq!(loaded.warnings, []);
    let watched: Vec<_> = loaded.watched.files.keys().map(|path| path.display().to_string()).collect();
    let expected =
        ["conf/c.key", "conf/c.toml", "conf/d/k.key", "conf/d/k.toml", "conf/d/more.yaml", "conf/t.toml"];
    assert_eq!(watched, expected);
    assert_eq!(loaded.watched.globs.len(), 1);
}

fn warns(text: &str, expected: &[&str]) {
    let mut memory = Memory::with(&[("t.toml", text)]);
    memory.world_readable = true;
    let loaded = memory.load("t.toml").unwrap_or_else(|problems| panic!("{problems}"));
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, expected, "{text}");
}

#[test]
fn what_has_no_effect_is_warned_about() {
    let key = "[[key]]\nname = 'k'\nhash = 'sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'\n";
    let channel = "[[channel]]\nname = 'c'\ntype = 'openai'\napi_keys = [{ env = 'OPENAI_API_KEY' }]\n";
    warns(&format!("{key}{channel}"), &[]);
    let quota = format!("{key}quota = {{ tokens = 1, per = 'day' }}\n{channel}");
    warns(
        &quota,
        &[
            "t.toml: quotas begin anew with each start: nothing keeps what was spent (add `[ledger]` with a `path`)",
        ],
    );
    warns(&format!("{quota}[ledger]\npath = 'ledger.db'\n"), &[]);
    warns(
        &format!("{key}{channel}weight = 0\n"),
        &["t.toml: no channel can take traffic: none is enabled with a weight above 0"],
    );
    warns(
        &format!(
            "{key}models = ['gpt-*', 'x-*']\n{channel}models = ['*-mini', 'gpt-4']\nmodel_map = {{ a = 'b' }}\n"
        ),
        &["t.toml:10: channel.c.model_map.a: is never used: `models` does not list this name"],
    );
    warns(
        &format!(
            "{key}models = ['x', 'gpt-4']\n{channel}models = ['gpt-4']\n[[profile]]\nname = 'p'\nmappings = [{{ from = 'a', to = 'b' }}]\n"
        ),
        &[
            "t.toml:4: key.k.models[0]: no channel of group `default` serves `x`",
            "t.toml:12: profile.p.mappings[0].to: no channel serves `b`",
        ],
    );
    warns(
        &format!("{channel}[[key]]\nname = 'k'\nsecret = '{EXAMPLE_KEY}'\n"),
        &[
            "t.toml:5: key.k: is a published example key: everybody knows it, and `run` refuses it \
         (`tollgate keys new` makes one of your own)",
            "t.toml:7: key.k.secret: the secret is written into a file that every user of this machine can read \
         (better { env = \"…\" }, { file = \"…\" } or { credential = \"…\" })",
        ],
    );
    warns(&format!("include = ['none/*.toml']\n{key}{channel}"), &["t.toml:1: include[0]: fits no file"]);
}

#[test]
fn a_secret_may_be_a_credential_of_the_service_and_is_watched() {
    let text = MINIMAL.replace("{ env = 'OPENAI_API_KEY' }", "{ credential = 'openai' }");
    let mut memory =
        Memory::with(&[("t.toml", &text), ("/run/credentials/t/openai", "sk-from-systemd-77\n")]);
    memory.env.insert("CREDENTIALS_DIRECTORY".to_owned(), "/run/credentials/t".to_owned());
    let loaded = memory.load("t.toml").unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.snapshot.channels[0].credentials[0].expose(), "sk-from-systemd-77");
    assert!(loaded.watched.files.contains_key(Path::new("/run/credentials/t/openai")));
}

#[test]
fn a_channel_that_is_off_may_lack_its_secrets() {
    let off = "[[channel]]\nname = 'off'\ntype = 'gemini'\nenabled = false\napi_keys = [{ env = 'NONE' }, { file = 'none' }]\n";
    let loaded = stands(&[("t.toml", &format!("{MINIMAL}{off}"))]);
    assert!(loaded.snapshot.channels[1].credentials.is_empty());
    assert!(loaded.watched.files.contains_key(Path::new("none")));
}

#[test]
fn a_hundred_thousand_keys_load() {
    let mut text = MINIMAL.to_owned();
    for index in 0..100_000 {
        write!(
            text,
            "[[key]]\nname = 'k{index}'\nhash = 'sha256:{index:064x}'\nmodels = ['gpt-*', 'm{index}']\n"
        )
        .unwrap();
    }
    let loaded = stands(&[("t.toml", &text)]);
    assert_eq!(loaded.snapshot.keys.len(), 100_001);
    let last = loaded.snapshot.key(&KeyDigest::parse(&format!("sha256:{:064x}", 99_999)).unwrap()).unwrap();
    assert_eq!(last.id.as_str(), "k99999");
}

proptest! {
    #[test]
    fn a_damaged_file_never_panics(
        which in 0..3usize,
        cut in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let (name, text) = [("t.toml", TWIN_TOML), ("t.yaml", TWIN_YAML), ("t.json", TWIN_JSON)][which];
        let mut bytes = text.as_bytes().to_vec();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len() * 2 + 1).max(1));
        let mut memory = Memory::with(&[]);
        memory.files.insert(name.into(), bytes);
        if let Err(problems) = memory.load(name) {
            prop_assert!(!problems.listed().is_empty());
            prop_assert!(!problems.to_string().contains("sk-up-openai-1234"));
            prop_assert!(!problems.to_string().contains("although it fits the schema"));
        }
    }
}

#[test]
fn a_channel_is_used_as_upstream_says_unless_it_says_otherwise() {
    let text = r#"
[upstream]
retry_budget = 1
balance = "least_busy"
queue = 7
ping_interval = "0s"
on_client_abort = "drain"
[[channel]]
name = "a"
type = "openai"
api_keys = [{ env = "OPENAI_API_KEY" }]
[[channel]]
name = "b"
type = "openai"
api_keys = [{ env = "OPENAI_API_KEY" }]
balance = "weighted"
queue = 0
queue_timeout = "1s"
ping_interval = "5s"
ping_before_first_event = true
on_client_abort = "cancel"
foreign_thinking = "refuse"
include_usage = false
http_version = "2"
limits = { tpm = 100 }
credential_limits = { rpm = 60, burst = 2, tpm = 9, tpm_burst = 1, concurrency = 3 }
[[key]]
name = "k"
hash = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"#;
    let snapshot = stands(&[("t.toml", text)]).snapshot;
    assert_eq!(snapshot.retry_budget_permille, 1_000);
    assert!(snapshot.trace.sticky && snapshot.trace.tools.is_empty());
    let seconds = Duration::from_secs;
    let inherited = Conduct {
        balance: Balance::LeastBusy,
        queue: 7,
        queue_timeout: seconds(10),
        ping_interval: seconds(0),
        ping_before_first_event: false,
        on_client_abort: ClientAbort::Drain,
        foreign_thinking: ForeignThinking::Strip,
        include_usage: true,
        http_version: HttpVersion::Auto,
    };
    let own = Conduct {
        balance: Balance::Weighted,
        queue: 0,
        queue_timeout: seconds(1),
        ping_interval: seconds(5),
        ping_before_first_event: true,
        on_client_abort: ClientAbort::Cancel,
        foreign_thinking: ForeignThinking::Refuse,
        include_usage: false,
        http_version: HttpVersion::Http2,
    };
    assert_eq!([&snapshot.channels[0].conduct, &snapshot.channels[1].conduct], [&inherited, &own]);
    let rate = |per_minute, burst| Some(Rate { per_minute, burst });
    assert_eq!(snapshot.channels[1].limits.tpm, rate(100, 100));
    let each = &snapshot.channels[1].credential_limits;
    assert_eq!((each.rpm, each.tpm, each.concurrency), (rate(60, 2), rate(9, 1), Some(3)));
}

#[test]
fn keys_groups_and_models_have_the_same_limits_each_with_its_burst() {
    let limits = "rpm = 6, burst = 2, tpm = 60, tpm_burst = 20, input_tpm = 50, output_tpm = 40, \
                  output_tpm_burst = 4, concurrency = 3";
    let text = format!(
        r#"
[[channel]]
name = "a"
type = "openai"
api_keys = [{{ env = "OPENAI_API_KEY" }}]
[[group]]
name = "g"
limits = {{ {limits} }}
[[key]]
name = "k"
hash = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
group = "g"
max_output_tokens = 4096
limits = {{ {limits} }}
model_limits = [{{ model = "m", {limits} }}, {{ model = "n", input_tpm = 1 }}]
"#
    );
    let snapshot = stands(&[("t.toml", &text)]).snapshot;
    let rate = |per_minute, burst| Some(Rate { per_minute, burst });
    let key = &snapshot.keys[0];
    assert_eq!(key.max_output_tokens, Some(4_096));
    for limits in [&key.limits, &key.group.limits, &key.model_limits[0].limits] {
        assert_eq!([limits.rpm, limits.tpm], [rate(6, 2), rate(60, 20)]);
        assert_eq!([limits.input_tpm, limits.output_tpm], [rate(50, 50), rate(40, 4)]);
        assert_eq!(limits.concurrency, Some(3));
    }
    let dump = redacted(&snapshot);
    assert_eq!(dump["key"][0]["max_output_tokens"], 4_096);
    assert_eq!(dump["key"][0]["limits"]["output_tpm_burst"], 4);
    assert_eq!(dump["group"][0]["limits"]["input_tpm_burst"], 50);
}

#[test]
fn a_fleet_is_what_is_written_and_what_it_does_not_do_is_said() {
    let rest = MINIMAL.replace(
        "secret = 'sk-client-0123456789'",
        "hash = 'sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'",
    );
    assert!(stands(&[("t.toml", MINIMAL)]).snapshot.fleet.is_none());
    warns(&format!("[fleet]\nredis = 'redis://127.0.0.1:6379/0'\n{rest}"), &[]);
    warns(
        &format!("[fleet]\nredis = 'rediss://u:p@h:1/2'\n{rest}"),
        &[
            "t.toml:2: fleet.redis: the secret is written into a file that every user of this machine can read (better { env = \"…\" }, { file = \"…\" } or { credential = \"…\" })",
        ],
    );
    warns(
        &format!("[fleet]\nreplicas = 3\n{rest}"),
        &[
            "t.toml:2: fleet.replicas: 3 replicas without a store: each counts for itself, so together they admit up to 3 times every limit (redis = \"redis://…\" lets them count together)",
        ],
    );
    warns(&format!("[fleet]\nredis = 'redis://h'\n{rest}quota = {{ usd = 1, per = 'day' }}\n"), &[]);
    let loaded = stands(&[(
        "t.toml",
        &format!(
            "[fleet]\nredis = 'redis://user:geheim@h:7/2'\non_error = 'deny'\nprefix = 'x:'\nreplicas = 4\ntimeout = '50ms'\n{rest}"
        ),
    )]);
    let shown = redacted(&loaded.snapshot)["fleet"].clone();
    assert!(!shown.to_string().contains("geheim"), "{shown}");
    assert_eq!(
        (&shown["on_error"], &shown["prefix"], &shown["replicas"], &shown["timeout"]),
        (&"deny".into(), &"x:".into(), &4.into(), &"50ms".into())
    );
}

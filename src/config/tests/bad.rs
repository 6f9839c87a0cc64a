//! Configurations that are refused, and the lines that say so.

use super::super::testing::Memory;

const KEY: &str =
    "[[key]]\nname = 'k'\nhash = 'sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'\n";
const CHANNEL: &str = "[[channel]]\nname = 'c'\ntype = 'openai'\napi_keys = [{ env = 'OPENAI_API_KEY' }]\n";

/// The lines of a refused load; the first file is the entry.
fn check(files: &[(&str, &str)], expected: &[&str]) {
    let problems = match Memory::with(files).load(files[0].0) {
        Ok(loaded) => panic!("should be refused: {files:?} {loaded:?}"),
        Err(problems) => problems.to_string(),
    };
    let lines: Vec<&str> = problems.lines().collect();
    assert_eq!(lines, expected, "{files:?}");
}

/// A whole file after a sound key and channel (7 lines), with one problem.
fn after_sound(text: &str, expected: &str) {
    check(&[("t.toml", &format!("{KEY}{CHANNEL}{text}"))], &[expected]);
}

/// More lines in a sound channel, which come to stand on line 8.
fn in_channel(text: &str, expected: &str) {
    after_sound(text, expected);
}

/// More lines in a sound key, which come to stand on line 8.
fn in_key(text: &str, expected: &str) {
    check(&[("t.toml", &format!("{CHANNEL}{KEY}{text}"))], &[expected]);
}

#[test]
fn files_that_are_no_configuration_are_refused_with_a_reason() {
    check(
        &[("t.toml", "")],
        &["t.toml:1: is empty; a configuration was expected (was it cut while being written?)"],
    );
    check(
        &[("t.toml", "x = \n")],
        &["t.toml:1: is not valid TOML: string values must be quoted, expected literal string"],
    );
    check(
        &[("t.toml", "[[key]]\nname = 'k")],
        &["t.toml:2: is not valid TOML: invalid literal string, expected `'`"],
    );
    check(
        &[("t.toml", "[server]\nadmin = 'a'\nadmin = 'b'\n")],
        &["t.toml:3: is not valid TOML: duplicate key"],
    );
    check(&[("t.yaml", "key:\n  - name: k\n    name: l\n")], &["t.yaml:3: duplicate key `name`"]);
    check(
        &[("t.yaml", "key:\n - [\n")],
        &["t.yaml:3: is not valid YAML: while parsing a node, did not find expected node content"],
    );
    check(&[("t.yaml", "a: 1\n---\nb: 2\n")], &["t.yaml:3: holds more than one YAML document"]);
    check(&[("t.yaml", "[a, b]\n")], &["t.yaml:1: expected a table, found a list"]);
    check(&[("t.json", "{\n  \"key\": [,]\n}")], &["t.json:2: is not valid JSON: expected value"]);
    check(&[("t.json", "{\n  \"key\": [],\n  \"key\": []\n}")], &["t.json:3: duplicate key `key`"]);
    check(&[("t.json", "{} x")], &["t.json:1: is not valid JSON: trailing characters"]);
    check(
        &[(
            "t.json",
            "{\"key\": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}",
        )],
        &["t.json:1: is nested too deeply"],
    );
}

#[test]
fn bytes_that_are_no_text_and_files_that_are_not_there_are_refused() {
    let mut memory = Memory::with(&[]);
    memory.files.insert("t.toml".into(), b"# fine\nx = '\xff'".to_vec());
    assert_eq!(memory.load("t.toml").unwrap_err().to_string(), "t.toml:2: is not valid UTF-8");
    assert_eq!(
        memory.load("absent.toml").unwrap_err().to_string(),
        "absent.toml: cannot be read: no such file"
    );
    let deep = format!("a: {}", "- ".repeat(100_000));
    let deep = deep.replacen("a: ", "a:\n ", 1);
    memory.files.insert("t.yaml".into(), deep.into_bytes());
    assert_eq!(memory.load("t.yaml").unwrap_err().to_string(), "t.yaml:2: is nested too deeply");
}

#[test]
fn unknown_keys_and_wrong_types_are_all_named_at_once() {
    let text = "colour = 1\n[server]\nlisten = '0.0.0.0:80'\n[server.limit]\n[[channel]]\nname = 'c'\ntype = 'opanai'\nbase_ur = 'x'\n\
                api_keys = [5]\nweight = -1\n[[channel]]\ntype = 'openai'\napi_keys = ['sk-0123456789']\nenabled = 'yes'\n[[key]]\nname = 'k'\n\
                hash = 5\nexpires = 2027-01-01T00:00:00Z\nowner = 2027-01-01T00:00:00Z\nlimits = { rpm = 1.5, quota = 1 }\n[group]\nname = 'g'\n";
    check(
        &[("t.toml", text)],
        &[
            "t.toml:1: colour: unknown key",
            "t.toml:3: server.listen: expected a list, found a string",
            "t.toml:4: server.limit: unknown key (did you mean `limits`?)",
            "t.toml:7: channel.c.type: unknown value `opanai`; one of openai, anthropic, gemini, claude-code, azure-openai, openrouter, deepseek, moonshot, zhipu, z-ai, qwen, doubao, minimax, siliconflow, xai, mistral, groq, cohere, jina, ollama, vllm, sglang, vertex, bedrock, bedrock-mantle (did you mean `openai`?)",
            "t.toml:8: channel.c.base_ur: unknown key (did you mean `base_url`?)",
            "t.toml:9: channel.c.api_keys[0]: expected a string or a table, found a whole number (for example {\"env\":\"OPENAI_API_KEY\"})",
            "t.toml:10: channel.c.weight: must be at least 0",
            "t.toml:11: channel[1]: `name` is missing",
            "t.toml:14: channel[1].enabled: expected true or false, found a string",
            "t.toml:15: key.k: must have one of `hash` and `secret`",
            "t.toml:17: key.k.hash: expected a string, found a whole number",
            "t.toml:19: key.k.owner: expected a string, found a date",
            "t.toml:20: key.k.limits.rpm: expected a whole number, found a decimal number",
            "t.toml:20: key.k.limits.quota: unknown key",
            "t.toml:21: group: expected a list, found a table (in TOML each entry begins with `[[group]]`)",
        ],
    );
}

#[test]
fn problems_of_several_files_come_together_in_reading_order() {
    check(
        &[
            (
                "conf/t.toml",
                "include = ['c.yaml', 'k.json', 'gone.toml']\n[[key]]\nname = 'k'\nsecret = 'sk-0123456789abc'\ngroup = 'team-b'\n",
            ),
            (
                "conf/c.yaml",
                "log: {}\nchannel:\n  - name: c\n    type: openai\n    api_keys: [{ env: NOPE }]\n    base_url: https:///v1\n    limits:\n",
            ),
            (
                "conf/k.json",
                "{\n \"key\": [\n  { \"name\": \"k\", \"secret\": \"sk-0123456789abc\", \"modells\": [] }\n ]\n}",
            ),
        ],
        &[
            "conf/c.yaml:1: log: only the entry file may have this; move it to conf/t.toml",
            "conf/c.yaml:5: channel.c.api_keys[0]: environment variable `NOPE` is not set",
            "conf/c.yaml:6: channel.c.base_url: points at an https host with an empty server name (for example https://api.example.com/v1)",
            "conf/c.yaml:7: channel.c.limits: has no value; write one or remove the line",
            "conf/k.json:3: key.k: has the same secret as key.k",
            "conf/k.json:3: key.k.name: is given twice; the first is at conf/t.toml:3",
            "conf/k.json:3: key.k.modells: unknown key (did you mean `models`?)",
            "conf/gone.toml: cannot be read: no such file",
        ],
    );
}

#[test]
fn references_that_lead_nowhere_are_named_with_the_nearest_name() {
    in_key(
        "group = 'teem'\n[[group]]\nname = 'team'\n",
        "t.toml:8: key.k.group: there is no group `teem` (did you mean `team`?)",
    );
    in_key(
        "groups = ['default', 'x']\n",
        "t.toml:8: key.k.groups[1]: there is no group `x` (declare it with `[[group]]`)",
    );
    in_key("groups = ['default', 'default']\n", "t.toml:8: key.k.groups[1]: is listed twice");
    in_key("groups = []\n", "t.toml:8: key.k.groups: is empty (leave it out for the group `default`)");
    in_key(
        "group = 'default'\ngroups = ['default']\n",
        "t.toml:9: key.k.groups: stands beside `group` (`groups` alone says all, its first is what `group` would be)",
    );
    in_key("group = 'x'\n", "t.toml:8: key.k.group: there is no group `x` (declare it with `[[group]]`)");
    in_channel(
        "groups = ['defualt']\n",
        "t.toml:8: channel.c.groups[0]: there is no group `defualt` (did you mean `default`?)",
    );
    in_key(
        "profiles = ['econmy']\n[[profile]]\nname = 'economy'\n",
        "t.toml:8: key.k.profiles[0]: there is no profile `econmy` (did you mean `economy`?)",
    );
    in_key(
        "active_profile = 'p'\n[[profile]]\nname = 'p'\n",
        "t.toml:8: key.k.active_profile: `p` is not one of the key's `profiles` (add it to `profiles`)",
    );
}

#[test]
fn names_are_given_once() {
    after_sound(CHANNEL, "t.toml:9: channel.c.name: is given twice; the first is at t.toml:5");
    after_sound(
        "[[group]]\nname = 'g'\n[[group]]\nname = 'g'\n",
        "t.toml:11: group.g.name: is given twice; the first is at t.toml:9",
    );
    after_sound(
        "[[profile]]\nname = 'p'\n[[profile]]\nname = 'p'\n",
        "t.toml:11: profile.p.name: is given twice; the first is at t.toml:9",
    );
    after_sound(
        "[[group]]\nname = ''\n",
        "t.toml:9: group[0].name: must be a word: not empty, no white space at its ends, no control characters",
    );
}

#[test]
fn secrets_are_found_and_well_formed() {
    check(
        &[("t.toml", CHANNEL)],
        &[
            "t.toml: no key at all: nobody could use the gateway (add a [[key]]; `tollgate keys new` makes one)",
        ],
    );
    after_sound("[[key]]\nname = 'l'\nsecret = 'abc'\n", "t.toml:10: key.l.secret: must begin with `sk-`");
    after_sound("[[key]]\nname = 'l'\nsecret = 'sk-a b'\n", "t.toml:10: key.l.secret: contains white space");
    after_sound("[[key]]\nname = 'l'\nsecret = ''\n", "t.toml:10: key.l.secret: is empty");
    after_sound(
        "[[key]]\nname = 'l'\nsecret = { env = 'EMPTY' }\n",
        "t.toml:10: key.l.secret: environment variable `EMPTY` is empty",
    );
    after_sound(
        "[[key]]\nname = 'l'\nsecret = { env = 'NONE' }\n",
        "t.toml:10: key.l.secret: environment variable `NONE` is not set",
    );
    after_sound(
        "[[key]]\nname = 'l'\nsecret = { file = 'none' }\n",
        "t.toml:10: key.l.secret: file `none` cannot be read: no such file",
    );
    after_sound(
        "[[key]]\nname = 'l'\nsecret = {}\n",
        "t.toml:10: key.l.secret: must name one of `env`, `file` and `credential` (for example { env = \"OPENAI_API_KEY\" })",
    );
    after_sound(
        "[[key]]\nname = 'l'\nsecret = { credential = 'none' }\n",
        "t.toml:10: key.l.secret: credential `none` was not given: systemd did not start this (LoadCredential=)",
    );
    for name in ["", "../k", ".k", "a/b", "sk-secret"] {
        after_sound(
            &format!("[[key]]\nname = 'l'\nsecret = {{ credential = '{name}' }}\n"),
            "t.toml:10: key.l.secret.credential: must be the name of a credential (the name behind `LoadCredential=`, without a path)",
        );
    }
    after_sound("[[key]]\nname = 'l'\n", "t.toml:8: key.l: must have one of `hash` and `secret`");
    after_sound(
        "[[key]]\nname = 'l'\nhash = 'sk-oops-0123456789'\n",
        "t.toml:10: key.l.hash: must be `sha256:` and 64 hexadecimal digits (printf %s \"$KEY\" | sha256sum)",
    );
    after_sound(&KEY.replace("'k'", "'l'"), "t.toml:8: key.l: has the same secret as key.k");
    in_key(
        "last4 = 'sk-the-whole-key'\n",
        "t.toml:8: key.k.last4: must be the key's last four characters, since logs show it",
    );
    after_sound(
        "[[channel]]\nname = 'd'\ntype = 'openai'\n",
        "t.toml:8: channel.d.api_keys: an enabled channel needs at least one key of its provider (for example api_keys = [{ env = \"OPENAI_API_KEY\" }])",
    );
    after_sound(
        "[server]\nadmin_token = { env = 'EMPTY' }\n",
        "t.toml:9: server.admin_token: environment variable `EMPTY` is empty",
    );
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    for (text, place) in [
        ("secret = { env = 'sk-oops-0123456789' }", "secret.env"),
        ("secret = { file = 'sk-oops-0123456789' }", "secret.file"),
        ("secret = 'sk-oops-0123456789 '", "secret"),
        ("hash = 'sk-oops-0123456789'", "hash"),
        ("hash = ''\nsecret = ['sk-oops-0123456789']", "secret"),
        ("hash = ''\nlast4 = 'sk-oops-0123456789'", "last4"),
        ("secret = 'sk-oops-0123456789", "TOML"),
    ] {
        let file = format!("{CHANNEL}[[key]]\nname = 'k'\n{text}\n");
        let lines = Memory::with(&[("t.toml", &file)]).load("t.toml").unwrap_err().to_string();
        assert!(lines.contains(place), "{lines}");
        assert!(!lines.contains("oops"), "{lines}");
    }
    let in_url = format!("{KEY}{CHANNEL}base_url = 'https://me:oops@x'\n");
    let lines = Memory::with(&[("t.toml", &in_url)]).load("t.toml").unwrap_err().to_string();
    assert_eq!(
        lines,
        "t.toml:8: channel.c.base_url: may not hold a user or a password (credentials belong into `api_keys`)"
    );
}

#[test]
fn limits_of_tokens_that_mean_nothing_are_refused() {
    for of in ["tpm", "input_tpm", "output_tpm"] {
        in_key(
            &format!("limits = {{ {of}_burst = 5 }}\n"),
            &format!("t.toml:8: key.k.limits.{of}_burst: limits nothing without `{of}`"),
        );
    }
    in_key("max_output_tokens = 0\n", "t.toml:8: key.k.max_output_tokens: must be at least 1");
}

#[test]
fn values_that_mean_nothing_are_refused() {
    in_channel(
        "connect_timeout = '3'\n",
        "t.toml:8: channel.c.connect_timeout: `3` is no duration; write for example \"10s\" or \"1m 30s\"",
    );
    in_channel("connect_timeout = '0s'\n", "t.toml:8: channel.c.connect_timeout: must be longer than 0s");
    in_channel(
        "idle_timeout = 3\n",
        "t.toml:8: channel.c.idle_timeout: expected a string, found a whole number (for example \"10s\")",
    );
    in_channel("models = []\n", "t.toml:8: channel.c.models: is empty (leave it out for every model)");
    in_channel(
        "base_url = 'http://169.254.169.254/v1'\n",
        "t.toml:8: channel.c.base_url: points at a link-local or metadata address (if that is meant, set allow_link_local = true)",
    );
    in_channel(
        "request_headers = { set = { Authorization = 'x' } }\n",
        "t.toml:8: channel.c.request_headers.set.Authorization: is how credentials travel (give the provider's key in `api_keys`)",
    );
    in_channel(
        "request_headers = { set = { Host = 'x' } }\n",
        "t.toml:8: channel.c.request_headers.set.Host: belongs to the connection and is set by the gateway",
    );
    in_channel(
        "request_headers = { remove = ['a b'] }\n",
        "t.toml:8: channel.c.request_headers.remove[0]: `a b` is no header name",
    );
    in_channel("limits = { burst = 5 }\n", "t.toml:8: channel.c.limits.burst: limits nothing without `rpm`");
    in_key(
        "allowed_ips = ['10.0.0.0/8', 'home']\n",
        "t.toml:8: key.k.allowed_ips[1]: `home` is no network; write for example \"10.0.0.0/8\" or \"192.0.2.7\"",
    );
    in_key("allowed_ips = []\n", "t.toml:8: key.k.allowed_ips: is empty (leave it out for any address)");
    in_key(
        "expires = '2027-06-30'\n",
        "t.toml:8: key.k.expires: `2027-06-30` is no date with time and offset; write for example 2027-06-30T00:00:00Z",
    );
    in_key(
        "body_bytes = '1 potato'\n",
        "t.toml:8: key.k.body_bytes: `1 potato` is no size; write for example \"64MiB\" or a number of bytes",
    );
    in_key("limits = { rpm = 0 }\n", "t.toml:8: key.k.limits.rpm: must be at least 1");
    in_key(
        "model_limits = [{ model = 'a' }]\n",
        "t.toml:8: key.k.model_limits[0]: limits nothing: give `rpm`, `tpm`, `input_tpm`, `output_tpm` or `concurrency`",
    );
    after_sound(
        "[[profile]]\nname = 'p'\nmappings = [{ from_regex = 'a(', to = 'b' }]\n",
        "t.toml:10: profile.p.mappings[0].from_regex: is no regular expression: unclosed group",
    );
    after_sound(
        "[[profile]]\nname = 'p'\nmappings = [{ from_regex = 'a)|(b', to = 'b' }]\n",
        "t.toml:10: profile.p.mappings[0].from_regex: is no regular expression: unopened group",
    );
    after_sound(
        "[[profile]]\nname = 'p'\nmappings = [{ from_regex = '(\\w{500}){500}', to = 'b' }]\n",
        "t.toml:10: profile.p.mappings[0].from_regex: is no regular expression: it is too large once compiled",
    );
    after_sound(
        "[[profile]]\nname = 'p'\nmappings = [{ to = 'b' }]\n",
        "t.toml:10: profile.p.mappings[0]: must have one of `from` and `from_regex`",
    );
    after_sound("[upstream]\nattempts = 11\n", "t.toml:9: upstream.attempts: must be at most 10");
    let budget = "t.toml:9: upstream.retry_budget: must be a number from 0 to 10";
    for number in ["11", "-1", "10.5", "1.5e300", "inf", "nan", "9999999999"] {
        after_sound(&format!("[upstream]\nretry_budget = {number}\n"), budget);
    }
}

#[test]
fn the_edge_is_checked() {
    after_sound(
        "[server]\nlisten = ['localhost:80']\n",
        "t.toml:9: server.listen[0]: `localhost:80` is no address with port; write for example \"0.0.0.0:8080\" or \"[::]:8080\"",
    );
    after_sound(
        "[server]\nlisten = ['127.0.0.1:80', '0.0.0.0:80']\n",
        "t.toml:9: server.listen[1]: 0.0.0.0:80 is listened on already",
    );
    after_sound(
        "[server]\nlisten = []\n",
        "t.toml:9: server.listen: is empty (leave it out for 0.0.0.0:8080)",
    );
    after_sound(
        "[server]\nadmin = '127.0.0.1:8080'\n",
        "t.toml:9: server.admin: needs an address of its own; 0.0.0.0:8080 is a public listener",
    );
    after_sound(
        "[server]\nadmin = '0.0.0.0:9090'\n",
        "t.toml:9: server.admin: 0.0.0.0:9090 can be reached from other machines, so `admin_token` is required",
    );
    after_sound(
        "[server]\ncors_origins = ['chat.example']\n",
        "t.toml:9: server.cors_origins[0]: `chat.example` is no origin (for example https://chat.example.com, without a path)",
    );
    after_sound(
        "[trace]\n[server.trace]\n",
        "t.toml:9: server.trace: is `[trace]` by another name, and both are written (keep one)",
    );
    after_sound(
        "[log]\nlabels = ['x-api-key']\n",
        "t.toml:9: log.labels[0]: x-api-key holds secrets and is never written down",
    );
    after_sound(
        "[log]\naccess = 'stdot'\n",
        "t.toml:9: log.access: unknown value `stdot`; one of stdout, stderr, off, or a path (did you mean `stdout`?)",
    );
    after_sound(
        "[ledger]\npath = ''\n",
        "t.toml:9: ledger.path: must be the path of a file (leave `[ledger]` out to keep none)",
    );
    after_sound(
        "[ledger]\npath = 'l.db'\nretention = '5m'\n",
        "t.toml:10: ledger.retention: is shorter than an hour",
    );
    after_sound(
        "[ledger]\npath = 'l.db'\nretention = '11years'\n",
        "t.toml:10: ledger.retention: is longer than 3650 days",
    );
    after_sound(
        "[ledger]\npath = 'l.db'\nretention = 'long'\n",
        "t.toml:10: ledger.retention: `long` is no duration; write for example \"90d\"",
    );
    after_sound(
        "[log]\nlevel = 'inof'\n",
        "t.toml:9: log.level: unknown value `inof`; one of error, warn, info, debug, trace (did you mean `info`?)",
    );
}

#[test]
fn includes_end_somewhere() {
    let chain: Vec<(String, String)> =
        (0..6).map(|at| (format!("{at}.toml"), format!("include = ['{}.toml']\n", at + 1))).collect();
    let files: Vec<(&str, &str)> = chain.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let lines = Memory::with(&files).load("0.toml").unwrap_err().to_string();
    assert!(lines.contains("4.toml:1: include[0]: includes more than 4 files deep"), "{lines}");
}

#[test]
fn a_mistake_in_every_key_does_not_flood_the_terminal() {
    let text: String = "[[key]]\nname = 'k'\nhash = 'x'\n".repeat(1_000);
    let problems = Memory::with(&[("t.toml", &text)]).load("t.toml").unwrap_err();
    assert_eq!(problems.listed().len(), 500);
    assert!(problems.to_string().ends_with("… and 1499 more"));
}

#[test]
fn a_fleet_s_store_is_an_address_and_its_password_is_never_repeated() {
    let rest = "[[channel]]\nname = 'c'\ntype = 'openai'\napi_keys = ['sk-0123456789']\n[[key]]\nname = 'k'\nsecret = 'sk-1123456789'\n";
    for (fleet, problem) in [
        ("", "t.toml:1: fleet: needs `redis` (redis = \"redis://127.0.0.1:6379/0\")"),
        ("replicas = 1", "t.toml:1: fleet: needs `redis` (redis = \"redis://127.0.0.1:6379/0\")"),
        ("redis = 'redis://h/x'", "t.toml:2: fleet.redis: `redis://h/x` is no address of a Redis"),
        ("redis = 'http://h'", "t.toml:2: fleet.redis: `http://h` is no address of a Redis"),
        ("redis = 'redis://u:geheim@h/x'", "t.toml:2: fleet.redis: the address is no address of a Redis"),
        ("redis = { env = 'NOPE' }", "t.toml:2: fleet.redis: environment variable `NOPE` is not set"),
        (
            "redis = 'redis://h'\nprefix = 'a b'",
            "t.toml:3: fleet.prefix: must be at most 64 visible ASCII characters",
        ),
        (
            "redis = 'redis://h'\ntimeout = '6s'",
            "t.toml:3: fleet.timeout: is longer than 5 s, which requests would wait",
        ),
        (
            "redis = 'redis://h'\non_error = 'open'",
            "t.toml:3: fleet.on_error: unknown value `open`; one of local, deny, allow",
        ),
    ] {
        let said = Memory::with(&[("t.toml", &format!("[fleet]\n{fleet}\n{rest}"))])
            .load("t.toml")
            .unwrap_err()
            .to_string();
        assert!(
            said.starts_with(problem) && !said.contains("geheim") && said.lines().count() == 1,
            "{fleet}: {said}"
        );
    }
}
